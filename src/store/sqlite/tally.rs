//! Counting what is owed and what waits.

use std::time::Duration;

use ::booking::CalendarKind;
use chrono::DateTime;
use sqlx::SqlitePool;

use super::lane::let_through;
use super::row::{Values, list};
use super::{SqliteStore, fault};
use crate::store::{ConnectionState, Gate, Owing, PoolUse, Result, TALLY_MAX, Tally};

/// See [`crate::store::Store::tally`].
pub(super) async fn tally(store: &SqliteStore, gate: &Gate) -> Result<Tally> {
    let counted_at = DateTime::from_timestamp_micros(store.now()).unwrap_or_default();
    let mut owing = Vec::with_capacity(CalendarKind::ALL.len());
    for kind in CalendarKind::ALL {
        owing.push(count_owing(store, gate, kind).await?);
    }
    let (connections, letters) = (count_connections(store).await?, count_letters(store).await?);
    Ok(Tally { owing, connections, letters, counted_at })
}

async fn count_owing(store: &SqliteStore, gate: &Gate, kind: CalendarKind) -> Result<Owing> {
    const OPERATION: &str = "count what is owed";
    const OWED: &str = "
        SELECT COUNT(*) AS pending, COUNT(verify_at) AS open
          FROM (SELECT e.verify_at
                  FROM connections AS c JOIN effects AS e ON e.connection_id = c.connection_id
                 WHERE c.kind = ?1 AND c.state <> 'removed' AND e.due LIMIT ?2)";
    const SETTLED: &str = "
        SELECT COUNT(*) AS open
          FROM (SELECT 1 FROM connections AS c JOIN effects AS e ON e.connection_id = c.connection_id
                 WHERE c.kind = ?1 AND c.state <> 'removed'
                   AND e.verify_at IS NOT NULL AND NOT e.due AND NOT e.dead LIMIT ?2)";
    let counted = async |statement: &'static str| {
        sqlx::query(statement)
            .bind(kind.name())
            .bind(TALLY_MAX)
            .fetch_one(&store.read)
            .await
            .map_err(fault(OPERATION))
    };
    let (owed, settled) = (counted(OWED).await?, counted(SETTLED).await?);
    let owed = Values::of(&owed, "effects", "pending");
    let settled: i64 = Values::of(&settled, "effects", "open").get("open")?;
    let (sent, since) = read_sent(store, gate, kind).await?;
    let age = since.map_or(0, |since| store.now() - since);
    Ok(Owing {
        kind,
        pending: owed.get("pending")?,
        sent,
        oldest: Duration::from_micros(u64::try_from(age).unwrap_or_default()),
        open: owed.get::<i64>("open")? + settled,
    })
}

/// How many are sent, and since when the oldest of them has been owed.
async fn read_sent(
    store: &SqliteStore,
    gate: &Gate,
    kind: CalendarKind,
) -> Result<(i64, Option<i64>)> {
    const SENT: &str = concat!(
        "
        SELECT COUNT(*), MIN(since)
          FROM (SELECT COALESCE(e.published_at, e.not_before) AS since
                  FROM connections AS c JOIN effects AS e ON e.connection_id = c.connection_id
                 WHERE c.kind = ?1 AND e.due AND ?3 AND ",
        let_through!("?4", "?5"),
        "
                   AND NOT (c.state = 'removing' AND c.parked_reason IS NOT NULL)
                 LIMIT ?2)"
    );
    sqlx::query_as(SENT)
        .bind(kind.name())
        .bind(TALLY_MAX)
        .bind(gate.enabled)
        .bind(list(&gate.providers))
        .bind(list(&gate.connections))
        .fetch_one(&store.read)
        .await
        .map_err(fault("look for what has been owed longest"))
}

async fn count_connections(
    store: &SqliteStore,
) -> Result<Vec<(Option<CalendarKind>, Option<ConnectionState>, i64)>> {
    const COUNT: &str = "
        SELECT kind, state, COUNT(*) AS n FROM connections
         GROUP BY kind, state ORDER BY kind, state";
    let rows =
        sqlx::query(COUNT).fetch_all(&store.read).await.map_err(fault("count the connections"))?;
    let counted = |row| {
        let row = Values::of(row, "connections", "kind");
        let (kind, state): (&str, &str) = (row.get("kind")?, row.get("state")?);
        Ok((CalendarKind::parse(kind), ConnectionState::parse(state), row.get("n")?))
    };
    rows.iter().map(counted).collect()
}

async fn count_letters(store: &SqliteStore) -> Result<Vec<(String, i64)>> {
    const COUNT: &str = "
        SELECT class, COUNT(*) FROM (SELECT class FROM dead_letters WHERE state = 'open' LIMIT ?1)
         GROUP BY class ORDER BY class";
    sqlx::query_as(COUNT)
        .bind(TALLY_MAX)
        .fetch_all(&store.read)
        .await
        .map_err(fault("count the dead letters"))
}

/// See [`crate::store::Store::check`]. What its version is was looked at when it was opened.
pub(super) async fn check(store: &SqliteStore) -> Result<()> {
    const LOOK: &str = "SELECT COUNT(*) FROM installation";
    let looked = sqlx::query(LOOK).fetch_one(&store.read).await;
    looked.map(|_| ()).map_err(fault("look whether it answers"))
}

/// See [`crate::store::Store::pool`].
pub(super) fn pool(store: &SqliteStore) -> PoolUse {
    // In memory, both are the same one.
    let is_one = std::ptr::eq(store.write.options(), store.read.options());
    let pools = if is_one { &[&store.write][..] } else { &[&store.write, &store.read] };
    let add = |sum: PoolUse, pool: &&SqlitePool| {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(pool.size());
        PoolUse {
            idle: sum.idle + idle,
            used: sum.used + pool.size() - idle,
            max: sum.max + pool.options().get_max_connections(),
        }
    };
    pools.iter().fold(PoolUse::default(), add)
}
