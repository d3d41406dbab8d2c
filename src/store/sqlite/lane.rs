//! Lanes: one worker at a time for each connection, what it has to do, and what it is about to do
//! (rules R10 and R14).

use std::time::Duration;

use ::booking::{BookingId, ConnectionId, Digest, IcalUid, ProviderId, Verb};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::row::{Values, list};
use super::sweep::row_drift;
use super::{SqliteStore, booking, connection, fault, fenced};
use crate::store::sending::backlog_share;
use crate::store::{
    DriftKind, EffectOrigin, Fenced, Gate, InFlight, LaneLease, Owed, Result, Stamp, StoreError,
    Taken, UNREADABLE_DELAY, Verify, later, log_unreadable,
};

/// SQL: whether effects go to the connection `c`: it is there, waits for no person and for no `adopt`, and is
/// of the gate's lists, which are these parameters. Whether the gate is open at all is not asked.
macro_rules! let_through {
    ($providers:literal, $connections:literal) => {
        concat!(
            "(c.state IN ('active', 'removing')
              AND (",
            $providers,
            " = '[]' OR c.provider_id IN (SELECT value FROM json_each(",
            $providers,
            ")))
              AND (",
            $connections,
            " = '[]' OR c.connection_id IN (SELECT value FROM json_each(",
            $connections,
            ")))
              AND NOT ",
            unadopted!(),
            ")"
        )
    };
}

pub(super) use let_through;

/// See [`crate::store::Store::lease`].
pub(super) async fn lease(
    store: &SqliteStore,
    gate: &Gate,
    from: ConnectionId,
    token: Uuid,
    lease: Duration,
) -> Result<Option<LaneLease>> {
    const OPERATION: &str = "lease a lane";
    const FIND: &str = concat!(
        "
        SELECT c.connection_id FROM connections AS c JOIN lanes AS l USING (connection_id)
         WHERE ",
        let_through!("?2", "?3"),
        "
           AND (l.token IS NULL OR l.leased_until <= ?4)
           AND (l.rest_until IS NULL OR l.rest_until <= ?4)
           AND (EXISTS (SELECT 1 FROM effects AS e
                         WHERE e.connection_id = c.connection_id AND e.due
                           AND e.not_before <= ?4)
                OR EXISTS (SELECT 1 FROM effects AS e
                            WHERE e.connection_id = c.connection_id AND NOT e.due AND NOT e.dead
                              AND e.verify_at <= ?4)
                OR (c.state = 'active'
                    AND EXISTS (SELECT 1 FROM sweeps AS s
                                 WHERE s.connection_id = c.connection_id AND s.halted IS NULL
                                   AND s.due_at <= ?4)))
         ORDER BY c.connection_id < ?1, c.connection_id
         LIMIT 1"
    );
    const TAKE: &str = "
        UPDATE lanes SET token = ?2, leased_until = ?3, rest_until = NULL
         WHERE connection_id = ?1";
    if !gate.enabled {
        return Ok(None);
    }
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    let row = sqlx::query(FIND)
        .bind(from.to_string())
        .bind(list(&gate.providers))
        .bind(list(&gate.connections))
        .bind(now)
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let id = Values::of(&row, "connections", "connection_id").uuid("connection_id")?;
    sqlx::query(TAKE)
        .bind(id.to_string())
        .bind(token.to_string())
        .bind(later(now, lease))
        .execute(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Some(LaneLease { connection: ConnectionId(id), token }))
}

/// See [`crate::store::Store::renew`].
pub(super) async fn renew(
    store: &SqliteStore,
    lane: &LaneLease,
    lease: Duration,
) -> Result<Fenced> {
    const RENEW: &str =
        "UPDATE lanes SET leased_until = ?3 WHERE connection_id = ?1 AND token = ?2";
    let done = sqlx::query(RENEW)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(later(store.now(), lease))
        .execute(&store.write)
        .await
        .map_err(fault("renew a lease"))?;
    Ok(fenced(done.rows_affected()))
}

/// See [`crate::store::Store::pace`].
pub(super) async fn pace(store: &SqliteStore, lane: &LaneLease) -> Result<Option<Duration>> {
    const PACE: &str = "
        SELECT COALESCE(paced_until - ?3, 0) AS ahead
          FROM lanes WHERE connection_id = ?1 AND token = ?2";
    let row = sqlx::query(PACE)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(store.now())
        .fetch_optional(&store.read)
        .await
        .map_err(fault("read a pace"))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let ahead = Values::of(&row, "lanes", "paced_until").get::<i64>("ahead")?;
    Ok(Some(Duration::from_micros(u64::try_from(ahead).unwrap_or_default())))
}

/// See [`crate::store::Store::release`].
pub(super) async fn release(
    store: &SqliteStore,
    lane: &LaneLease,
    rest: Duration,
    ahead: Option<Duration>,
) -> Result<Fenced> {
    const OPERATION: &str = "release a lane";
    const RELEASE: &str = "
        UPDATE lanes SET token = NULL, leased_until = NULL,
               rest_until = CASE WHEN rest_until IS NULL THEN ?3 END,
               paced_until = COALESCE(?4, paced_until)
         WHERE connection_id = ?1 AND token = ?2";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    let done = sqlx::query(RELEASE)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind((!rest.is_zero()).then(|| later(now, rest)))
        .bind(ahead.map(|ahead| later(now, ahead)))
        .execute(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    if done.rows_affected() == 0 {
        return Ok(Fenced::Refused);
    }
    connection::finish_removal(&mut tx, lane.connection, now).await.map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Fenced::Written)
}

/// Whether the lane is ours; with `at`: and its lease lasts at that moment.
pub(super) async fn is_ours(
    conn: &mut SqliteConnection,
    lane: &LaneLease,
    at: Option<i64>,
) -> sqlx::Result<bool> {
    const OURS: &str = "
        SELECT 1 FROM lanes
         WHERE connection_id = ?1 AND token = ?2 AND (?3 IS NULL OR leased_until > ?3)";
    let row = sqlx::query(OURS)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(at)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// See [`crate::store::Store::take_over`].
pub(super) async fn take_over(
    store: &SqliteStore,
    lane: &LaneLease,
    verify_after: Duration,
) -> Result<Taken> {
    const OPERATION: &str = "take over what is in flight";
    // In an UPDATE every right-hand side sees the row as it was; MIN of a NULL is NULL.
    const RESTAMP: &str = "
        UPDATE effects
           SET flight_token = ?2, verify_stage = 0,
               verify_at = MIN(COALESCE(verify_at, ?4), ?4),
               verify_from_generation =
                   MIN(COALESCE(verify_from_generation, generation), generation),
               verify_deletes = verify_deletes OR flight_verb = 'delete', updated_at = ?3
         WHERE connection_id = ?1 AND flight_verb IS NOT NULL AND flight_token IS NOT ?2";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_ours(&mut tx, lane, None).await.map_err(fault(OPERATION))? {
        return Ok(Taken::Refused);
    }
    let done = sqlx::query(RESTAMP)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(now)
        .bind(later(now, verify_after))
        .execute(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    crate::crash::point!("r10.restamped");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Taken::Over(done.rows_affected()))
}

/// See [`crate::store::Store::due`].
pub(super) async fn due(store: &SqliteStore, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
    const DUE: &str = concat!(
        "
        SELECT e.*, COALESCE(e.verify_at <= ?2, FALSE) AS verify_is_due, ",
        row_drift!(),
        " AS drift,
               b.booking_id, b.provider_id, b.state, x.external_event_id
          FROM effects AS e JOIN bookings AS b ON b.ical_uid = e.ical_uid
          LEFT JOIN external_calendar_events AS x
                 ON x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                AND x.generation = e.generation AND x.sync_status <> 'CANCELLED'
         WHERE e.connection_id = ?1
           AND ((e.due AND e.not_before <= ?2)
                OR (NOT e.due AND NOT e.dead AND e.verify_at <= ?2))
         ORDER BY e.flight_verb IS NULL, e.filling, e.not_before, e.ical_uid
         LIMIT ?3"
    );
    let rows = sqlx::query(DUE)
        .bind(lane.connection.to_string())
        .bind(store.now())
        .bind(limit)
        .fetch_all(&store.read)
        .await
        .map_err(fault("read what is due"))?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        match read(row) {
            Ok(owed) => due.push(owed),
            Err(error) => set_aside(store, lane, row.get("ical_uid"), &error).await?,
        }
    }
    Ok(due)
}

/// A row that cannot be read holds up no other one.
async fn set_aside(
    store: &SqliteStore,
    lane: &LaneLease,
    uid: &str,
    error: &StoreError,
) -> Result<()> {
    const SET_ASIDE: &str = "
        UPDATE effects
           SET not_before = ?4, verify_at = CASE WHEN verify_at IS NOT NULL THEN ?4 END,
               last_error = ?5, updated_at = ?6
         WHERE connection_id = ?1 AND ical_uid = ?2
           AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = ?1 AND token = ?3)";
    log_unreadable(uid, error);
    let now = store.now();
    sqlx::query(SET_ASIDE)
        .bind(lane.connection.to_string())
        .bind(uid)
        .bind(lane.token.to_string())
        .bind(later(now, UNREADABLE_DELAY))
        .bind(error.to_string())
        .bind(now)
        .execute(&store.write)
        .await
        .map_err(fault("set a row aside"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Owed> {
    let row = Values::of(row, "effects", "ical_uid");
    let desired_revision = row.get("desired_revision")?;
    let desired = match row.parsed_maybe("desired_digest", Digest::parse)? {
        None => None,
        Some(digest) => {
            let shown = booking::read_state(&row)?.shown().cloned();
            let wanted = shown.filter(|content| content.digest() == digest);
            Some(wanted.ok_or_else(|| {
                let detail = format!("{digest} is not what the booking shows");
                row.inconsistent("desired_digest", detail)
            })?)
        }
    };
    let applied = row.parsed_maybe("applied_digest", Digest::parse)?;
    Ok(Owed {
        uid: row.parsed("ical_uid", |text| IcalUid::parse(text).ok())?,
        connection: ConnectionId(row.uuid("connection_id")?),
        booking: row.parsed("booking_id", |text| BookingId::parse(text).ok())?,
        provider: ProviderId(row.uuid("provider_id")?),
        desired_revision,
        desired,
        applied: row.get::<Option<i64>>("applied_revision")?.zip(applied),
        generation: row.get("generation")?,
        burned: row.get("burned")?,
        etag: row.get("etag")?,
        adopted_id: row.get("adopted_id")?,
        server_id: row.get("external_event_id")?,
        in_flight: read_flight(&row)?,
        attempts: row.get("attempts")?,
        rejections: row.get("rejections")?,
        verify: read_verify(&row)?,
        origin: read_origin(&row)?,
    })
}

fn read_flight(row: &Values<'_>) -> Result<Option<InFlight>> {
    let Some(verb) = row.parsed_maybe("flight_verb", Verb::parse)? else {
        return Ok(None);
    };
    Ok(Some(InFlight {
        verb,
        revision: row.get("flight_revision")?,
        digest: row.parsed_maybe("flight_digest", Digest::parse)?,
        body: row.get("flight_body")?,
    }))
}

fn read_origin(row: &Values<'_>) -> Result<EffectOrigin> {
    let published_at = row.get::<Option<i64>>("published_at")?;
    let published_at = published_at.and_then(chrono::DateTime::from_timestamp_micros);
    Ok(EffectOrigin::read(row.get("trace")?, published_at))
}

fn read_verify(row: &Values<'_>) -> Result<Option<Verify>> {
    if row.get::<Option<i64>>("verify_at")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Verify {
        from_generation: row.get("verify_from_generation")?,
        deletes: row.get("verify_deletes")?,
        stage: row.get("verify_stage")?,
        is_due: row.get("verify_is_due")?,
        drift: row.parsed_maybe("drift", DriftKind::parse)?,
    }))
}

/// See [`crate::store::Store::stamp`].
pub(super) async fn stamp(
    store: &SqliteStore,
    lane: &LaneLease,
    stamps: &[Stamp],
) -> Result<Vec<IcalUid>> {
    const OPERATION: &str = "stamp what will be sent";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_ours(&mut tx, lane, Some(now)).await.map_err(fault(OPERATION))? {
        return Ok(Vec::new());
    }
    let mut stored = Vec::with_capacity(stamps.len());
    for stamp in stamps {
        if stamp_one(&mut tx, lane, stamp, now).await.map_err(fault(OPERATION))? {
            stored.push(stamp.uid.clone());
        }
    }
    crate::crash::point!("r10.stamp_written");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(stored)
}

/// What is in flight under our own token may be sent again; a generation never falls. A new
/// destination withdraws an event without a new revision: a revision alone does not tell that an
/// event is wanted still. What was meant to be deleted is, whatever is wanted by now (rule R12).
async fn stamp_one(
    conn: &mut SqliteConnection,
    lane: &LaneLease,
    stamp: &Stamp,
    now: i64,
) -> sqlx::Result<bool> {
    const STAMP: &str = "
        UPDATE effects
           SET flight_token = ?3, flight_verb = ?6, flight_revision = ?7, flight_digest = ?8,
               flight_body = ?9, flight_at = ?10, attempts = attempts + 1, generation = ?5,
               burned = (?6 = 'delete') OR (burned AND ?5 = generation), updated_at = ?10
         WHERE connection_id = ?1 AND ical_uid = ?2 AND NOT dead AND desired_revision = ?4
           AND ((desired_digest IS NULL) = (?6 = 'delete') OR (burned AND ?6 = 'delete'))
           AND generation <= ?5 AND (flight_verb IS NULL OR flight_token = ?3)";
    let flight = &stamp.in_flight;
    let done = sqlx::query(STAMP)
        .bind(lane.connection.to_string())
        .bind(stamp.uid.to_string())
        .bind(lane.token.to_string())
        .bind(stamp.desired_revision)
        .bind(stamp.generation)
        .bind(flight.verb.name())
        .bind(flight.revision)
        .bind(flight.digest.map(|digest| digest.to_string()))
        .bind(flight.body.clone())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// See [`crate::store::Store::backlog`].
pub(super) async fn backlog(store: &SqliteStore, gate: &Gate, limit: u32) -> Result<u32> {
    const COUNT: &str = concat!(
        "
        SELECT MIN(?3, COALESCE(SUM(MIN(?4, (
                   SELECT COUNT(*) FROM effects AS e
                    WHERE e.connection_id = c.connection_id AND e.due AND e.not_before <= ?5))), 0))
          FROM connections AS c
         WHERE c.renewal_failures = 0
           AND NOT EXISTS (SELECT 1 FROM effects AS e
                            WHERE e.connection_id = c.connection_id AND e.due
                              AND e.not_before > ?5)
           AND ",
        let_through!("?1", "?2")
    );
    if !gate.enabled {
        return Ok(0);
    }
    sqlx::query_scalar(COUNT)
        .bind(list(&gate.providers))
        .bind(list(&gate.connections))
        .bind(limit)
        .bind(backlog_share(limit))
        .bind(store.now())
        .fetch_one(&store.read)
        .await
        .map_err(fault("count the backlog"))
}
