//! What became of an attempt, written only under the row's token (rule R15), and the rows of
//! `external_calendar_events` that go with it.

use std::time::Duration;

use ::booking::{CalendarKind, ConnectionId, Digest, IcalUid, ProviderId};
use chrono::SecondsFormat;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::row::Values;
use super::{SqliteStore, ahead, connection, dead_letter, fault};
use crate::store::{ExternalEvent, Finding, Record, Recorded, Result, later};

/// Nothing is in flight any more.
macro_rules! settle {
    ($rest:expr) => {
        concat!(
            "UPDATE effects
                SET flight_token = NULL, flight_verb = NULL, flight_revision = NULL,
                    flight_digest = NULL, flight_body = NULL, flight_at = NULL, ahead_since = NULL,
                    updated_at = ?3, ",
            $rest,
            " WHERE connection_id = ?1 AND ical_uid = ?2"
        )
    };
}

/// See [`crate::store::Store::record`].
pub(super) async fn record(store: &SqliteStore, record: &Record) -> Result<Recorded> {
    const OPERATION: &str = "record what became of an attempt";
    if let Finding::Ahead { revision, after, error } = &record.finding {
        return Ok(ahead::settle(store, record, *revision, *after, error).await?.into());
    }
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_held(&mut tx, record).await.map_err(fault(OPERATION))? {
        return Ok(Recorded::Refused);
    }
    // The verification first: it asks what was in flight.
    schedule(&mut tx, record, now).await.map_err(fault(OPERATION))?;
    let recorded = find(&mut tx, record, now).await.map_err(fault(OPERATION))?;
    let connection = record.lane.connection;
    connection::finish_removal(&mut tx, connection, now).await.map_err(fault(OPERATION))?;
    crate::crash::point!("r15.record_written");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(recorded)
}

/// An attempt's finding needs the attempt, under our token; a verification's needs the lane.
async fn is_held(conn: &mut SqliteConnection, record: &Record) -> sqlx::Result<bool> {
    const FLIGHT: &str = "
        SELECT 1 FROM effects
         WHERE connection_id = ?1 AND ical_uid = ?2 AND flight_token = ?3
           AND flight_verb IS NOT NULL";
    const LANE: &str = "
        SELECT 1 FROM effects AS e JOIN lanes AS l USING (connection_id)
         WHERE e.connection_id = ?1 AND e.ical_uid = ?2 AND l.token = ?3
           AND e.flight_verb IS NULL";
    let row = sqlx::query(if record.finding.is_verification() { LANE } else { FLIGHT })
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .bind(record.lane.token.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// A statement about the record's row: `?1` its connection, `?2` its UID, `?3` the hour.
fn on_row(
    statement: &'static str,
    record: &Record,
    now: i64,
) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(statement)
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .bind(now)
}

/// Rule R14: when the row is read again. An open attempt never puts off what another one asked
/// for; a verification has answered what was asked, and says itself what comes next.
async fn schedule(conn: &mut SqliteConnection, record: &Record, now: i64) -> sqlx::Result<()> {
    const OPEN: &str = "
        UPDATE effects
           SET verify_stage = 0, verify_at = MIN(COALESCE(verify_at, ?4), ?4),
               verify_from_generation =
                   MIN(COALESCE(verify_from_generation, generation), generation),
               verify_deletes = verify_deletes OR flight_verb IS 'delete', updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    const NEXT: &str = "
        UPDATE effects
           SET verify_at = ?4,
               verify_from_generation =
                   MIN(COALESCE(verify_from_generation, generation), generation),
               verify_deletes = verify_deletes OR flight_verb IS 'delete',
               verify_stage = verify_stage + 1, ahead_since = NULL, updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    const LATER: &str = "
        UPDATE effects SET verify_at = COALESCE(?4, verify_at), updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    const DONE: &str = "
        UPDATE effects
           SET verify_at = NULL, verify_from_generation = NULL, verify_deletes = FALSE,
               verify_stage = 0, ahead_since = NULL, updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    let at = record.verify_after.map(|after| later(now, after));
    if record.finding == Finding::Unverified {
        on_row(LATER, record, now).bind(at).execute(conn).await?;
        return Ok(());
    }
    let query = match (record.finding.is_verification(), at) {
        (false, None) => return Ok(()),
        (false, Some(at)) => on_row(OPEN, record, now).bind(at),
        (true, Some(at)) => on_row(NEXT, record, now).bind(at),
        (true, None) => on_row(DONE, record, now),
    };
    query.execute(conn).await?;
    Ok(())
}

/// Writes the finding itself.
async fn find(conn: &mut SqliteConnection, record: &Record, now: i64) -> sqlx::Result<Recorded> {
    match &record.finding {
        Finding::Present { .. } => present(conn, record, now).await?,
        Finding::Absent { revision } => absent(conn, record, *revision, now).await?,
        Finding::Gone => gone(conn, record, now).await?,
        Finding::NotApplied { after, error, rejected } => {
            const NOT_APPLIED: &str = settle!(
                "not_before = ?4, last_error = ?5, rejections = rejections + ?6,
                 burned = burned AND flight_verb <> 'delete'"
            );
            put_off(conn, NOT_APPLIED, record, (*after, error, *rejected), now).await?;
        }
        Finding::Unknown { after, error, rejected } => {
            const UNKNOWN: &str = "
                UPDATE effects
                   SET not_before = ?4, last_error = ?5, rejections = rejections + ?6,
                       attempts = attempts + 1,
                       updated_at = ?3
                 WHERE connection_id = ?1 AND ical_uid = ?2";
            put_off(conn, UNKNOWN, record, (*after, error, *rejected), now).await?;
        }
        Finding::Dead { error, unknown } => {
            return dead(conn, record, error, *unknown, now).await;
        }
        Finding::Ahead { .. } => unreachable!("settled in a transaction of its own"),
        Finding::Verified | Finding::Unverified => {}
        Finding::Differs { present, etag, passed } => {
            differs(conn, record, (*present, etag.as_deref(), *passed), now).await?;
        }
    }
    Ok(Recorded::Written)
}

/// The calendar holds it: applied, with the row that operators look at.
async fn present(conn: &mut SqliteConnection, record: &Record, now: i64) -> sqlx::Result<()> {
    const PRESENT: &str = settle!(concat!(
        "applied_revision = ?4, applied_digest = ?5, etag = ?6, attempts = 0, rejections = 0,
         last_error = NULL, not_before = ?3, dead = FALSE, filling = FALSE, seen_at = ?3, ",
        waits_since_stamped!("(desired_revision <> ?4 OR desired_digest IS NOT ?5)")
    ));
    const EVENT: &str = "
        INSERT INTO external_calendar_events
               (id, provider_id, connection_id, calendar_provider, external_event_id, ical_uid,
                booking_id, provider_uid, start_time, end_time, is_busy, checksum, sync_status,
                generation, applied_revision, etag, created_at, updated_at)
        SELECT ?4, c.provider_id, c.connection_id, c.kind, ?5, b.ical_uid, b.booking_id, ?6, ?7,
               ?8, TRUE, e.applied_digest, 'CREATED', e.generation, e.applied_revision, e.etag,
               strftime('%Y-%m-%dT%H:%M:%fZ', ?3 / 1e6, 'unixepoch'),
               strftime('%Y-%m-%dT%H:%M:%fZ', ?3 / 1e6, 'unixepoch')
          FROM effects AS e
          JOIN connections AS c ON c.connection_id = e.connection_id
          JOIN bookings AS b ON b.ical_uid = e.ical_uid
         WHERE e.connection_id = ?1 AND e.ical_uid = ?2
        ON CONFLICT (connection_id, ical_uid) DO UPDATE
           SET external_event_id = excluded.external_event_id,
               provider_uid = COALESCE(excluded.provider_uid, provider_uid), start_time = excluded.start_time,
               end_time = excluded.end_time, is_busy = TRUE, checksum = excluded.checksum,
               sync_status = CASE WHEN external_event_id = excluded.external_event_id
                                   AND sync_status <> 'CANCELLED' THEN 'UPDATED'
                             ELSE 'CREATED' END, last_error = NULL, generation = excluded.generation,
               applied_revision = excluded.applied_revision, etag = excluded.etag,
               updated_at = excluded.updated_at";
    let Finding::Present { revision, digest, etag, external_id, provider_uid, start, end } =
        &record.finding
    else {
        unreachable!("the caller tells the findings apart");
    };
    on_row(PRESENT, record, now)
        .bind(*revision)
        .bind(digest.to_string())
        .bind(etag.clone())
        .execute(&mut *conn)
        .await?;
    // The row's id follows from its key: chance has no place in here.
    let id = Uuid::new_v5(&record.lane.connection.0, record.uid.as_str().as_bytes());
    on_row(EVENT, record, now)
        .bind(id.to_string())
        .bind(external_id.clone())
        .bind(provider_uid.clone())
        .bind(start.to_rfc3339_opts(SecondsFormat::Millis, true))
        .bind(end.to_rfc3339_opts(SecondsFormat::Millis, true))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deleted, by us.
async fn absent(
    conn: &mut SqliteConnection,
    record: &Record,
    revision: i64,
    now: i64,
) -> sqlx::Result<()> {
    const ABSENT: &str = settle!(concat!(
        "applied_revision = ?4, applied_digest = NULL, etag = NULL, burned = TRUE, attempts = 0,
         rejections = 0, last_error = NULL, not_before = ?3, filling = FALSE, ",
        waits_since_stamped!("desired_digest IS NOT NULL AND desired_revision > ?4")
    ));
    on_row(ABSENT, record, now).bind(revision).execute(&mut *conn).await?;
    cancelled(conn, record, Some(revision), now).await
}

/// Nothing stands in the calendar any more: it makes nobody busy.
async fn cancelled(
    conn: &mut SqliteConnection,
    record: &Record,
    revision: Option<i64>,
    now: i64,
) -> sqlx::Result<()> {
    const EVENT: &str = "
        UPDATE external_calendar_events
           SET sync_status = 'CANCELLED', is_busy = FALSE, etag = NULL, last_error = NULL,
               applied_revision = COALESCE(?4, applied_revision),
               updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', ?3 / 1e6, 'unixepoch')
         WHERE connection_id = ?1 AND ical_uid = ?2";
    on_row(EVENT, record, now).bind(revision).execute(conn).await?;
    Ok(())
}

/// Rule R12: settled absent, though not by us: the next generation is open.
async fn gone(conn: &mut SqliteConnection, record: &Record, now: i64) -> sqlx::Result<()> {
    const GONE: &str = settle!(
        "applied_digest = NULL, etag = NULL, generation = generation + 1, burned = FALSE,
         not_before = ?3"
    );
    on_row(GONE, record, now).execute(&mut *conn).await?;
    cancelled(conn, record, None, now).await
}

/// To be tried, or read back, later.
async fn put_off(
    conn: &mut SqliteConnection,
    statement: &'static str,
    record: &Record,
    (after, error, rejected): (Duration, &String, bool),
    now: i64,
) -> sqlx::Result<()> {
    on_row(statement, record, now)
        .bind(later(now, after))
        .bind(error.clone())
        .bind(rejected)
        .execute(conn)
        .await?;
    Ok(())
}

/// Waits for a new revision or a person. What may have been applied stays in flight. What came to
/// be desired while this attempt was on its way has its own try (rule R13): where it has to be
/// settled first, `rejections`, which count from that change, give it further ones.
async fn dead(
    conn: &mut SqliteConnection,
    record: &Record,
    error: &str,
    unknown: bool,
    now: i64,
) -> sqlx::Result<Recorded> {
    const SETTLED: &str = settle!(
        "dead = (desired_revision = flight_revision AND (desired_digest IS NULL) = (flight_verb = 'delete')),
         last_error = ?4"
    );
    const OPEN: &str = "
        UPDATE effects
           SET dead = (rejections > 0 OR (desired_revision = flight_revision
                                          AND (desired_digest IS NULL) = (flight_verb = 'delete'))),
               rejections = rejections + 1, last_error = ?4, updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    const IS_DEAD: &str = "SELECT dead FROM effects WHERE connection_id = ?1 AND ical_uid = ?2";
    const EVENT: &str = "
        UPDATE external_calendar_events
           SET sync_status = 'FAILED', last_error = ?4,
               updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', ?3 / 1e6, 'unixepoch')
         WHERE connection_id = ?1 AND ical_uid = ?2";
    let statement = if unknown { OPEN } else { SETTLED };
    on_row(statement, record, now).bind(error.to_owned()).execute(&mut *conn).await?;
    let is_dead: bool = sqlx::query_scalar(IS_DEAD)
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .fetch_one(&mut *conn)
        .await?;
    if !is_dead {
        return Ok(Recorded::Written);
    }
    on_row(EVENT, record, now).bind(error.to_owned()).execute(&mut *conn).await?;
    dead_letter::insert_effect(conn, &record.uid, record.lane.connection, error, now).await?;
    Ok(Recorded::Died)
}

/// What is known to be there is something else than was thought.
async fn differs(
    conn: &mut SqliteConnection,
    record: &Record,
    (present, etag, passed): (Option<(i64, Digest)>, Option<&str>, i32),
    now: i64,
) -> sqlx::Result<()> {
    const DIFFERS: &str = concat!(
        "
        UPDATE effects
           SET applied_revision = COALESCE(?4, applied_revision), applied_digest = ?5, etag = ?6,
               generation = generation + ?7, burned = burned AND ?7 = 0, not_before = ?3, updated_at = ?3,
               ",
        asked_by_none!("effects."),
        "
         WHERE connection_id = ?1 AND ical_uid = ?2"
    );
    on_row(DIFFERS, record, now)
        .bind(present.map(|(revision, _)| revision))
        .bind(present.map(|(_, digest)| digest.to_string()))
        .bind(etag.map(ToOwned::to_owned))
        .bind(passed)
        .execute(&mut *conn)
        .await?;
    if present.is_none() {
        cancelled(conn, record, None, now).await?;
    }
    Ok(())
}

/// See [`crate::store::Store::external_events`].
pub(super) async fn external_events(
    store: &SqliteStore,
    uid: &IcalUid,
) -> Result<Vec<ExternalEvent>> {
    const READ: &str = "
        SELECT * FROM external_calendar_events
         WHERE ical_uid = ?1 AND connection_id IS NOT NULL ORDER BY connection_id";
    let rows = sqlx::query(READ)
        .bind(uid.to_string())
        .fetch_all(&store.read)
        .await
        .map_err(fault("read the external events of a booking"))?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<ExternalEvent> {
    let row = Values::of(row, "external_calendar_events", "id");
    Ok(ExternalEvent {
        provider: ProviderId(row.uuid("provider_id")?),
        connection: ConnectionId(row.uuid("connection_id")?),
        kind: row.parsed("calendar_provider", CalendarKind::parse)?,
        external_id: row.get("external_event_id")?,
        uid: row.parsed("ical_uid", |text| IcalUid::parse(text).ok())?,
        provider_uid: row.get("provider_uid")?,
        sync_status: row.get("sync_status")?,
        generation: row.get("generation")?,
        applied_revision: row.get("applied_revision")?,
        etag: row.get("etag")?,
        start: row.parsed("start_time", |text| text.parse().ok())?,
        end: row.parsed("end_time", |text| text.parse().ok())?,
        is_busy: row.get("is_busy")?,
    })
}
