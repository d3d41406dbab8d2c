//! A calendar that is ahead of the database (rule R7): wait for the log, then go on above it.

use std::time::Duration;

use ::booking::Booking;
use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, booking, fault};
use crate::store::types::TOPIC_LEFT_AFTER;
use crate::store::{Fenced, Record, Result, later};

const OPERATION: &str = "settle a calendar that is ahead";

/// Raises the booking's revision above `revision` once every cursor of a topic that is read has
/// reached a log end that was asked for after the calendar was first seen to be ahead; puts the row
/// off until then. When it was stamped does not count: a restored database may hold a stamp and log
/// ends from before it was restored.
pub(super) async fn settle(
    store: &SqliteStore,
    record: &Record,
    revision: i64,
    after: Duration,
    error: &str,
) -> Result<Fenced> {
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    match caught_up(&mut tx, record).await.map_err(fault(OPERATION))? {
        None => return Ok(Fenced::Refused),
        Some(false) => put_off(&mut tx, record, (after, error), now).await,
        Some(true) => {
            let mut stored = booking::of_uid(&mut tx, &record.uid).await?;
            stored.revision = stored.revision.max(revision + 1);
            raise(&mut tx, record, &stored, now).await
        }
    }
    .map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Fenced::Written)
}

async fn caught_up(conn: &mut SqliteConnection, record: &Record) -> sqlx::Result<Option<bool>> {
    const HELD: &str = "
        WITH touched AS (
            SELECT topic, max(at) >= max(max(at)) OVER () - ?4 AS is_read
              FROM (SELECT topic, COALESCE(log_end_at, updated_at) AS at FROM cursors)
             GROUP BY topic)
        SELECT NOT EXISTS (SELECT 1 FROM cursors AS c
                            WHERE c.topic IN (SELECT topic FROM touched WHERE is_read)
                              AND (c.next_offset IS NULL OR c.log_end IS NULL
                                   OR MAX(c.next_offset, COALESCE(c.passed_to, c.next_offset))
                                        < c.log_end
                                   OR COALESCE(c.log_end_at < e.ahead_since, TRUE)))
          FROM effects AS e
         WHERE e.connection_id = ?1 AND e.ical_uid = ?2
           AND CASE WHEN e.flight_verb IS NULL
               THEN EXISTS (SELECT 1 FROM lanes WHERE connection_id = ?1 AND token = ?3)
               ELSE e.flight_token = ?3 END";
    sqlx::query_scalar(HELD)
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .bind(record.lane.token.to_string())
        .bind(later(0, TOPIC_LEFT_AFTER))
        .fetch_optional(conn)
        .await
}

async fn put_off(
    conn: &mut SqliteConnection,
    record: &Record,
    (after, error): (Duration, &str),
    now: i64,
) -> sqlx::Result<()> {
    const PUT_OFF: &str = "
        UPDATE effects
           SET not_before = ?4, last_error = ?5, ahead_since = COALESCE(ahead_since, ?3),
               updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    sqlx::query(PUT_OFF)
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .bind(now)
        .bind(later(now, after))
        .bind(error.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

async fn raise(
    conn: &mut SqliteConnection,
    record: &Record,
    booking: &Booking,
    now: i64,
) -> sqlx::Result<()> {
    const BOOKING: &str = "
        UPDATE bookings SET revision = ?2, state = ?3, version = version + 1, updated_at = ?4
         WHERE ical_uid = ?1";
    const EFFECT: &str = "
        UPDATE effects
           SET desired_revision = ?4, not_before = ?3, last_error = NULL,
               flight_token = NULL, flight_verb = NULL, flight_revision = NULL,
               flight_digest = NULL, flight_body = NULL, flight_at = NULL, ahead_since = NULL, updated_at = ?3
         WHERE connection_id = ?1 AND ical_uid = ?2";
    let state = serde_json::to_string(booking).expect("a booking always has a JSON form");
    sqlx::query(BOOKING)
        .bind(record.uid.to_string())
        .bind(booking.revision)
        .bind(state)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query(EFFECT)
        .bind(record.lane.connection.to_string())
        .bind(record.uid.to_string())
        .bind(now)
        .bind(booking.revision)
        .execute(conn)
        .await?;
    Ok(())
}
