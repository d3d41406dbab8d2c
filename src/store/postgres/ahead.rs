//! A calendar that is ahead of the database (rule R7): wait for the log, then go on above it.

use std::time::Duration;

use booking::Booking;
use sqlx::{Postgres, Row as _, Transaction};

use super::rows::stored_booking;
use super::{PostgresStore, failed, seconds};
use crate::store::types::TOPIC_LEFT_AFTER;
use crate::store::{Fenced, Record, Result};

const OPERATION: &str = "settle a calendar that is ahead";

impl PostgresStore {
    /// Raises the booking's revision above `revision` once every cursor of a topic that is read has
    /// reached a log end that was asked for after the calendar was first seen to be ahead; puts the
    /// row off until then. When it was stamped does not count: a restored database may hold a stamp
    /// and log ends from before it was restored.
    pub(super) async fn settle_ahead(
        &self,
        record: &Record,
        revision: i64,
        after: Duration,
        error: &str,
    ) -> Result<Fenced> {
        // Bookings before effects (rule R16).
        const BOOKING: &str = "
            SELECT state, placed, version, ical_uid FROM bookings WHERE ical_uid = $1 FOR UPDATE";
        const HELD: &str = "
            WITH touched AS (
                SELECT topic, max(at) >= max(max(at)) OVER () - make_interval(secs => $4) AS is_read
                  FROM (SELECT topic, COALESCE(log_end_at, updated_at) AS at FROM cursors) AS c
                 GROUP BY topic)
            SELECT NOT EXISTS (SELECT 1 FROM cursors c
                                WHERE c.topic IN (SELECT topic FROM touched WHERE is_read)
                                  AND (c.next_offset IS NULL OR c.log_end IS NULL
                                       OR GREATEST(c.next_offset, c.passed_to) < c.log_end
                                       OR COALESCE(c.log_end_at < e.ahead_since, true)))
              FROM effects e
             WHERE e.connection_id = $1 AND e.ical_uid = $2
               AND CASE WHEN e.flight_verb IS NULL
                   THEN EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $3)
                   ELSE e.flight_token = $3 END
               FOR UPDATE OF e";
        let mut tx = self.begin(OPERATION).await?;
        self.at("ahead.booking").await;
        let row = sqlx::query(BOOKING)
            .bind(record.uid.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(failed(OPERATION))?;
        self.at("ahead.effect").await;
        let caught_up: Option<bool> = sqlx::query_scalar(HELD)
            .bind(record.lane.connection.0)
            .bind(record.uid.as_str())
            .bind(record.lane.token)
            .bind(seconds(TOPIC_LEFT_AFTER))
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed(OPERATION))?;
        match caught_up {
            None => return Ok(Fenced::Refused),
            Some(false) => put_off(&mut tx, record, after, error).await?,
            Some(true) => {
                self.at("ahead.raise").await;
                let mut booking = stored_booking(&row)?.booking;
                booking.revision = booking.revision.max(revision + 1);
                raise(&mut tx, record, &booking, row.get("version")).await?;
            }
        }
        self.at("ahead.commit").await;
        tx.commit().await.map_err(failed(OPERATION))?;
        Ok(Fenced::Written)
    }
}

async fn put_off(
    tx: &mut Transaction<'static, Postgres>,
    record: &Record,
    after: Duration,
    error: &str,
) -> Result<()> {
    const PUT_OFF: &str = "
        UPDATE effects
           SET not_before = clock_timestamp() + make_interval(secs => $3), last_error = $4,
               ahead_since = COALESCE(ahead_since, clock_timestamp()), updated_at = clock_timestamp()
         WHERE connection_id = $1 AND ical_uid = $2";
    sqlx::query(PUT_OFF)
        .bind(record.lane.connection.0)
        .bind(record.uid.as_str())
        .bind(seconds(after))
        .bind(error)
        .execute(&mut **tx)
        .await
        .map_err(failed(OPERATION))?;
    Ok(())
}

async fn raise(
    tx: &mut Transaction<'static, Postgres>,
    record: &Record,
    booking: &Booking,
    version: i64,
) -> Result<()> {
    const BOOKING: &str = "
        UPDATE bookings
           SET revision = $2, state = $3, version = $4, updated_at = clock_timestamp()
         WHERE ical_uid = $1";
    const EFFECT: &str = "
        UPDATE effects
           SET desired_revision = $3, not_before = clock_timestamp(), last_error = NULL,
               flight_token = NULL, flight_verb = NULL, flight_revision = NULL,
               flight_digest = NULL, flight_body = NULL, flight_at = NULL, ahead_since = NULL,
               updated_at = clock_timestamp()
         WHERE connection_id = $1 AND ical_uid = $2";
    let state = serde_json::to_string(booking).expect("plain data always has a JSON form");
    sqlx::query(BOOKING)
        .bind(record.uid.as_str())
        .bind(booking.revision)
        .bind(state)
        .bind(version + 1)
        .execute(&mut **tx)
        .await
        .map_err(failed(OPERATION))?;
    sqlx::query(EFFECT)
        .bind(record.lane.connection.0)
        .bind(record.uid.as_str())
        .bind(booking.revision)
        .execute(&mut **tx)
        .await
        .map_err(failed(OPERATION))?;
    Ok(())
}
