//! Counting what is owed and what waits: bounded, and by the indexes that sending goes by.

use std::time::Duration;

use booking::CalendarKind;
use sqlx::Row as _;

use super::rows::inconsistent;
use super::{PostgresStore, failed};
use crate::store::{ConnectionState, Owing, PoolUse, Result, TALLY_MAX, Tally};

impl PostgresStore {
    pub(super) async fn read_tally(&self) -> Result<Tally> {
        Ok(Tally {
            owing: self.count_owing().await?,
            connections: self.count_connections().await?,
            letters: self.count_letters().await?,
        })
    }

    async fn count_owing(&self) -> Result<Vec<Owing>> {
        const OWING: &str = "
            SELECT owed.pending, owed.age, owed.open + settled.open AS open
              FROM UNNEST($1::text[]) WITH ORDINALITY AS k (kind, place)
             CROSS JOIN LATERAL (
                SELECT count(*) AS pending, count(verify_at) AS open,
                       GREATEST(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 AS age
                  FROM (SELECT e.verify_at,
                               CASE WHEN c.state <> 'parked'
                                    THEN COALESCE(e.published_at, e.not_before) END AS since
                          FROM connections c JOIN effects e USING (connection_id)
                         WHERE c.kind = k.kind AND c.state <> 'removed' AND e.due
                         LIMIT $2) AS due) AS owed
             CROSS JOIN LATERAL (
                SELECT count(*) AS open
                  FROM (SELECT 1 FROM connections c JOIN effects e USING (connection_id)
                         WHERE c.kind = k.kind AND c.state <> 'removed'
                           AND e.verify_at IS NOT NULL AND NOT e.due AND NOT e.dead
                         LIMIT $2) AS verified) AS settled
             ORDER BY k.place";
        let rows = sqlx::query(OWING)
            .bind(CalendarKind::ALL.map(CalendarKind::name).as_slice())
            .bind(i64::from(TALLY_MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count what is owed"))?;
        let owing = |(kind, row): (CalendarKind, &sqlx::postgres::PgRow)| Owing {
            kind,
            pending: row.get("pending"),
            oldest: Duration::try_from_secs_f64(row.get("age")).unwrap_or_default(),
            open: row.get("open"),
        };
        Ok(CalendarKind::ALL.into_iter().zip(&rows).map(owing).collect())
    }

    async fn count_connections(&self) -> Result<Vec<(CalendarKind, ConnectionState, i64)>> {
        const COUNT: &str = "
            SELECT kind, state, count(*) AS n FROM connections
             GROUP BY kind, state ORDER BY kind COLLATE \"C\", state COLLATE \"C\"";
        let rows = sqlx::query(COUNT)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count the connections"))?;
        let counted = |row: &sqlx::postgres::PgRow| {
            let (kind, state): (&str, &str) = (row.get("kind"), row.get("state"));
            let wrong = |column| inconsistent("connections", column, "a group", "no such word");
            Ok((
                CalendarKind::parse(kind).ok_or_else(|| wrong("kind"))?,
                ConnectionState::parse(state).ok_or_else(|| wrong("state"))?,
                row.get("n"),
            ))
        };
        rows.iter().map(counted).collect()
    }

    async fn count_letters(&self) -> Result<Vec<(String, i64)>> {
        const COUNT: &str = "
            SELECT class, count(*) AS n
              FROM (SELECT class FROM dead_letters WHERE state = 'open' LIMIT $1) AS open
             GROUP BY class ORDER BY class COLLATE \"C\"";
        sqlx::query_as(COUNT)
            .bind(i64::from(TALLY_MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count the dead letters"))
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let (size, max) = (self.pool.size(), self.pool.options().get_max_connections());
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX).min(size);
        PoolUse { idle, used: size - idle, max }
    }
}
