//! Connections and destinations: adding, renewing, parking and removing (rules R8 and R17).

use ::booking::{CalendarKind, ConnectionId, Desired, Effect, ProviderId};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::Values;
use super::{SqliteStore, booking, fault};
use crate::store::{
    ConnectionRow, ConnectionState, CountedConnection, EffectOrigin, Fill, Fills, NewConnection,
    PutConnection, Result, StoreError, StoredBooking,
};

/// How many bookings are read at a time when a destination changes.
const PAGE: u32 = 500;

/// The columns of a [`ConnectionRow`], further ones, and what is to follow.
macro_rules! select_connections {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT c.*, s.halted, EXISTS (SELECT 1 FROM providers AS p
                                  WHERE p.destination = c.connection_id) AS destination",
            $more,
            " FROM connections AS c LEFT JOIN sweeps AS s USING (connection_id) ",
            $rest
        )
    };
}

/// See [`crate::store::Store::connections`].
pub(super) async fn connections(store: &SqliteStore) -> Result<Vec<CountedConnection>> {
    const LIST: &str = select_connections!(
        ", s.result AS swept,
           (SELECT COUNT(*) FROM drift AS d WHERE d.connection_id = c.connection_id) AS drift,
           (SELECT COUNT(*) FROM effects AS e
             WHERE e.connection_id = c.connection_id AND e.due) AS pending,
           (SELECT COUNT(*) FROM effects AS e
             WHERE e.connection_id = c.connection_id AND e.filling
               AND (e.due OR e.dead)) AS fill_left,
           (SELECT COUNT(*) FROM effects AS e
             WHERE e.connection_id = c.connection_id
               AND e.applied_digest IS NOT NULL) AS live,
           (SELECT e.last_error FROM effects AS e
             WHERE e.connection_id = c.connection_id AND e.due AND e.last_error IS NOT NULL
             ORDER BY e.not_before DESC, e.ical_uid DESC LIMIT 1) AS last_error",
        "ORDER BY c.provider_id, c.connection_id"
    );
    let rows =
        sqlx::query(LIST).fetch_all(&store.read).await.map_err(fault("list the connections"))?;
    let counted = |row| {
        let values = Values::of(row, "connections", "connection_id");
        let (pending, live) = (values.get("pending")?, values.get("live")?);
        let (drift, swept) = (values.get("drift")?, values.get("swept")?);
        let last_error = values.get("last_error")?;
        let (total, left) = (values.get("fill_total")?, values.get("fill_left")?);
        let since = values.time_maybe("fill_since")?;
        let fill = since.map(|since| Fill { since, total, left });
        let connection = read(row)?;
        Ok(CountedConnection { connection, pending, live, drift, swept, last_error, fill })
    };
    rows.iter().map(counted).collect()
}

/// See [`crate::store::Store::connection`].
pub(super) async fn connection(
    store: &SqliteStore,
    id: ConnectionId,
) -> Result<Option<ConnectionRow>> {
    const READ: &str = select_connections!("", "WHERE c.connection_id = ?1");
    let row = sqlx::query(READ)
        .bind(id.to_string())
        .fetch_optional(&store.read)
        .await
        .map_err(fault("read a connection"))?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<ConnectionRow> {
    let row = Values::of(row, "connections", "connection_id");
    Ok(ConnectionRow {
        id: ConnectionId(row.uuid("connection_id")?),
        provider: ProviderId(row.uuid("provider_id")?),
        kind: row.parsed("kind", CalendarKind::parse)?,
        subject: row.get("subject")?,
        calendar: row.get("calendar")?,
        base_url: row.get("base_url")?,
        sealed: row.get("sealed")?,
        state: row.parsed("state", ConnectionState::parse)?,
        parked_reason: row.get("parked_reason")?,
        renewal_failures: row.get("renewal_failures")?,
        renewal_error: row.get("renewal_error")?,
        destination: row.get("destination")?,
        halted: row.get("halted")?,
    })
}

/// See [`crate::store::Store::put_connection`].
pub(super) async fn put_connection(
    store: &SqliteStore,
    new: &NewConnection,
) -> Result<PutConnection> {
    const OPERATION: &str = "put a connection";
    const DESTINATION: &str = "UPDATE providers SET destination = ?2 WHERE provider_id = ?1";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    booking::add_provider(&mut tx, new.provider).await.map_err(fault(OPERATION))?;
    let created = insert(&mut tx, new, now).await.map_err(fault(OPERATION))?;
    if !created {
        let before = same_identity(&mut tx, new).await?;
        if new.is_refused_by(Some(before)) {
            return Ok(PutConnection::REMOVED);
        }
        renew(&mut tx, new, now).await.map_err(fault(OPERATION))?;
        if before == ConnectionState::Removed {
            let_go(&mut tx, new.id, now).await.map_err(fault(OPERATION))?;
        }
    }
    let id = new.id.to_string();
    let former = booking::destination(&mut tx, new.provider).await.map_err(fault(OPERATION))?;
    let changes = match &former {
        None => true,
        Some(former) => *former != id && new.make_destination,
    };
    let mut bookings_due = 0;
    if changes {
        sqlx::query(DESTINATION)
            .bind(new.provider.to_string())
            .bind(id.clone())
            .execute(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
        bookings_due = fill(&mut tx, new, now).await?;
        begin_fill(&mut tx, new.id, now).await.map_err(fault(OPERATION))?;
    }
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(PutConnection {
        removed: false,
        created,
        destination: changes || former.is_some_and(|former| former == id),
        bookings_due,
    })
}

/// Adds the connection and its lane; `false` if it is there.
async fn insert(conn: &mut SqliteConnection, new: &NewConnection, now: i64) -> sqlx::Result<bool> {
    const CONNECTION: &str = "
        INSERT INTO connections (connection_id, provider_id, kind, subject, calendar, base_url,
                                 sealed, state, created_at, updated_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'active', ?8, ?8)
        ON CONFLICT (connection_id) DO NOTHING";
    const LANE: &str = "
        INSERT INTO lanes (connection_id) VALUES (?1)
        ON CONFLICT (connection_id) DO UPDATE SET rest_until = ?2";
    let done = sqlx::query(CONNECTION)
        .bind(new.id.to_string())
        .bind(new.provider.to_string())
        .bind(new.kind.name())
        .bind(new.subject.clone())
        .bind(new.calendar.clone())
        .bind(new.base_url.clone())
        .bind(new.sealed.clone())
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query(LANE).bind(new.id.to_string()).bind(now).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Rule R17: the id derives from these, so another value under it is a mistake of ours. Answers
/// the connection's state.
async fn same_identity(
    conn: &mut SqliteConnection,
    new: &NewConnection,
) -> Result<ConnectionState> {
    const READ: &str = select_connections!("", "WHERE c.connection_id = ?1");
    let row = sqlx::query(READ)
        .bind(new.id.to_string())
        .fetch_one(conn)
        .await
        .map_err(fault("put a connection"))?;
    let stored = read(&row)?;
    let column = match &stored {
        stored if stored.provider != new.provider => "provider_id",
        stored if stored.kind != new.kind => "kind",
        stored if stored.subject != new.subject => "subject",
        stored if stored.calendar != new.calendar => "calendar",
        _ => return Ok(stored.state),
    };
    Err(StoreError::Inconsistent {
        table: "connections",
        column,
        key: new.id.to_string(),
        detail: "it differs from what the same id is being given now".to_owned(),
    })
}

/// New credentials: the connection is active again, and what waited need not wait any longer.
async fn renew(conn: &mut SqliteConnection, new: &NewConnection, now: i64) -> sqlx::Result<()> {
    const CONNECTION: &str = "
        UPDATE connections
           SET sealed = ?2, base_url = ?3, state = 'active', parked_reason = NULL,
               renewal_failures = 0, renewal_error = NULL, updated_at = ?4
         WHERE connection_id = ?1";
    const EFFECTS: &str = "
        UPDATE effects SET not_before = ?2, updated_at = ?2
         WHERE connection_id = ?1 AND not_before > ?2";
    sqlx::query(CONNECTION)
        .bind(new.id.to_string())
        .bind(new.sealed.clone())
        .bind(new.base_url.clone())
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query(EFFECTS).bind(new.id.to_string()).bind(now).execute(conn).await?;
    Ok(())
}

/// Nothing was planned for a connection while it was removed: what its rows ask for is of before.
/// Whatever is not placed on it is to be absent from it, before anything is placed anew.
async fn let_go(conn: &mut SqliteConnection, id: ConnectionId, now: i64) -> sqlx::Result<()> {
    const LET_GO: &str = concat!(
        "
        UPDATE effects
           SET desired_digest = NULL, desired_revision = MAX(desired_revision, b.revision),
               dead = FALSE, rejections = 0, not_before = ?2, updated_at = ?2,
               ",
        asked_by_none!("effects."),
        "
          FROM (SELECT ical_uid AS uid, revision, placed, shown FROM bookings
                 WHERE placed IS NOT ?1) AS b
         WHERE connection_id = ?1 AND ical_uid = b.uid
           AND NOT (adopted_id IS NOT NULL AND b.placed IS NULL AND b.shown)"
    );
    sqlx::query(LET_GO).bind(id.to_string()).bind(now).execute(conn).await?;
    Ok(())
}

/// Rule R8: the provider's upcoming bookings become due at their new destination, and due to be
/// absent where they were. Answers how many.
async fn fill(conn: &mut SqliteConnection, new: &NewConnection, now: i64) -> Result<u64> {
    const OPERATION: &str = "move a provider's bookings";
    const UPCOMING: &str = "
        SELECT ical_uid, placed, version, state FROM bookings
         WHERE provider_id = ?1 AND shown AND ends_at >= ?2 AND ical_uid > ?3
         ORDER BY ical_uid LIMIT ?4";
    let mut bookings_due = 0;
    let mut after = String::new();
    loop {
        let rows = sqlx::query(UPCOMING)
            .bind(new.provider.to_string())
            .bind(new.horizon.timestamp_micros())
            .bind(after)
            .bind(PAGE)
            .fetch_all(&mut *conn)
            .await
            .map_err(fault(OPERATION))?;
        let bookings = rows.iter().map(booking::read).collect::<Result<Vec<_>>>()?;
        for stored in &bookings {
            let placed = place(conn, stored, new.id, now).await.map_err(fault(OPERATION))?;
            bookings_due += u64::from(placed);
        }
        match bookings.last() {
            Some(last) => after = last.booking.uid.to_string(),
            None => return Ok(bookings_due),
        }
    }
}

/// What stands already is not to be filled.
async fn begin_fill(conn: &mut SqliteConnection, id: ConnectionId, now: i64) -> sqlx::Result<()> {
    const BEGIN: &str = "
        UPDATE connections
           SET fill_total = fill.total, fill_since = CASE WHEN fill.total > 0 THEN ?2 END
          FROM (SELECT COUNT(*) AS total FROM effects
                 WHERE connection_id = ?1 AND filling AND (due OR dead)) AS fill
         WHERE connection_id = ?1";
    sqlx::query(BEGIN).bind(id.to_string()).bind(now).execute(conn).await?;
    Ok(())
}

/// See [`crate::store::Store::fills`].
pub(super) async fn fills(store: &SqliteStore) -> Result<Fills> {
    const FILLS: &str = "
        SELECT COUNT(DISTINCT connection_id) AS connections, COUNT(*) AS left
          FROM effects WHERE filling AND (due OR dead)";
    let row = sqlx::query(FILLS)
        .fetch_one(&store.read)
        .await
        .map_err(fault("count what is left to fill"))?;
    let row = Values::of(&row, "effects", "filling");
    Ok(Fills { connections: row.get("connections")?, left: row.get("left")? })
}

/// Places one booking on a connection, if it shows anything.
async fn place(
    conn: &mut SqliteConnection,
    stored: &StoredBooking,
    target: ConnectionId,
    now: i64,
) -> sqlx::Result<bool> {
    const PLACED: &str = "
        UPDATE bookings SET placed = ?2, version = version + 1, updated_at = ?3
         WHERE ical_uid = ?1 AND placed IS NOT ?2";
    const FILL: &str = "
        UPDATE effects SET filling = due AND connection_id = ?2
         WHERE ical_uid = ?1 AND (connection_id = ?2 OR connection_id = ?3)";
    let state = &stored.booking;
    let Some(digest) = booking::shown_digest(state) else {
        return Ok(false);
    };
    let wanted = [
        stored.placed.filter(|was| *was != target).map(|was| (was, Desired::Absent)),
        Some((target, Desired::Present(digest))),
    ];
    for (connection, desired) in wanted.into_iter().flatten() {
        let revision = state.revision;
        let effect =
            Effect { uid: state.uid.clone(), connection, revision, desired, verify: false };
        booking::ask(conn, &effect, &EffectOrigin::default(), now).await?;
    }
    sqlx::query(FILL)
        .bind(state.uid.to_string())
        .bind(target.to_string())
        .bind(stored.placed.map(|was| was.to_string()))
        .execute(&mut *conn)
        .await?;
    sqlx::query(PLACED)
        .bind(state.uid.to_string())
        .bind(target.to_string())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(true)
}

/// See [`crate::store::Store::remove_connection`]. `false` also where it is removed already.
pub(super) async fn remove_connection(
    store: &SqliteStore,
    id: ConnectionId,
    withdraw: bool,
) -> Result<bool> {
    const OPERATION: &str = "remove a connection";
    const STATE: &str = "
        UPDATE connections
           SET state = 'removing', parked_reason = NULL, renewal_failures = 0, renewal_error = NULL,
               fill_since = NULL, fill_total = 0, updated_at = ?2
         WHERE connection_id = ?1 AND state <> 'removed'";
    // Each ends what would go on by itself. No holder has the nil token: what is in flight is the
    // next holder's to take over.
    const FENCE: [&str; 7] = [
        "UPDATE providers SET destination = NULL WHERE destination = ?1",
        "UPDATE lanes SET token = NULL, leased_until = NULL WHERE connection_id = ?1",
        // Of the calendar as it was: whoever connects the account again begins anew. But the hour stays:
        // what is still to be withdrawn then is swept without waiting for another effect.
        "UPDATE sweeps
            SET since = NULL, began_at = NULL, is_full = TRUE, page = NULL, pages = 0, removals = 0,
                failures = 0, partial = 0, excused = FALSE, halted = NULL, result = NULL,
                result_at = NULL
          WHERE connection_id = ?1",
        "DELETE FROM drift WHERE connection_id = ?1",
        "UPDATE bookings SET placed = NULL, version = version + 1, updated_at = ?2
          WHERE placed = ?1",
        "UPDATE effects SET flight_token = '00000000-0000-0000-0000-000000000000'
          WHERE connection_id = ?1 AND flight_verb IS NOT NULL",
        "UPDATE effects SET filling = FALSE WHERE connection_id = ?1 AND filling",
    ];
    const WITHDRAW: &str = concat!(
        "
        UPDATE effects SET desired_digest = NULL, dead = FALSE, rejections = 0, not_before = ?2,
               updated_at = ?2,
               ",
        asked_by_none!("effects."),
        "
         WHERE connection_id = ?1
           AND EXISTS (SELECT 1 FROM bookings AS b WHERE b.ical_uid = effects.ical_uid)"
    );
    const FORGET: &str = "
        UPDATE connections SET state = 'removed', sealed = x'', updated_at = ?2
         WHERE connection_id = ?1";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    let run = |statement| sqlx::query(statement).bind(id.to_string()).bind(now);
    let done = run(STATE).execute(&mut *tx).await.map_err(fault(OPERATION))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let last = if withdraw { WITHDRAW } else { FORGET };
    for statement in FENCE.into_iter().chain([last]) {
        run(statement).execute(&mut *tx).await.map_err(fault(OPERATION))?;
    }
    finish_removal(&mut tx, id, now).await.map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(true)
}

/// Rule R17: a removal is complete, and its credentials go, once nothing is due, applied or open.
pub(super) async fn finish_removal(
    conn: &mut SqliteConnection,
    id: ConnectionId,
    now: i64,
) -> sqlx::Result<()> {
    const FINISH: &str = "
        UPDATE connections SET state = 'removed', sealed = x'', updated_at = ?2
         WHERE connection_id = ?1 AND state = 'removing'
           AND NOT EXISTS (SELECT 1 FROM effects AS e
                            WHERE e.connection_id = ?1
                              AND EXISTS (SELECT 1 FROM bookings AS b
                                           WHERE b.ical_uid = e.ical_uid)
                              AND (e.due OR e.dead OR e.applied_digest IS NOT NULL
                                   OR e.flight_verb IS NOT NULL OR e.verify_at IS NOT NULL))";
    sqlx::query(FINISH).bind(id.to_string()).bind(now).execute(conn).await?;
    Ok(())
}
