//! What became of one booking: for those who ask.

use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::rows::inconsistent;
use super::{PostgresStore, failed};
use crate::store::{BookingStatus, ConnectionState, EffectStatus, Result, Standing};

impl PostgresStore {
    pub(super) async fn hasten_booking(
        &self,
        booking: &BookingId,
    ) -> Result<Option<BookingStatus>> {
        const BOOKING: &str = "
            SELECT ical_uid, provider_id, revision, shown_digest IS NOT NULL AS shown
              FROM bookings WHERE booking_id = $1";
        const HASTEN: &str = "
            WITH held AS (
                SELECT connection_id, ical_uid FROM effects
                 WHERE ical_uid = $1 AND due AND (filling OR not_before > clock_timestamp())
                 ORDER BY connection_id, ical_uid FOR UPDATE)
            UPDATE effects e
               SET not_before = LEAST(not_before, clock_timestamp()), filling = false,
                   updated_at = clock_timestamp()
              FROM held
             WHERE e.connection_id = held.connection_id AND e.ical_uid = held.ical_uid";
        const EFFECTS: &str = concat!(
            "
            SELECT ",
            effect_columns!(),
            ", c.provider_id, c.kind, c.state,
                   ",
            unadopted!(),
            " AS unadopted
              FROM effects e JOIN connections c USING (connection_id)
             WHERE e.ical_uid = $1 ORDER BY e.connection_id"
        );
        self.at("hasten.booking").await;
        let row = sqlx::query(BOOKING)
            .bind(booking.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a booking"))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let uid: &str = row.get("ical_uid");
        self.at("hasten.effects").await;
        sqlx::query(HASTEN)
            .bind(uid)
            .execute(&self.pool)
            .await
            .map_err(failed("end a booking's waiting"))?;
        self.at("hasten.status").await;
        let effects = sqlx::query(EFFECTS)
            .bind(uid)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read a booking's effects"))?;
        Ok(Some(BookingStatus {
            uid: IcalUid::parse(uid)
                .map_err(|error| inconsistent("bookings", "ical_uid", uid, error))?,
            provider: ProviderId(row.get("provider_id")),
            revision: row.get("revision"),
            is_shown: row.get("shown"),
            calendars: effects.iter().map(effect).collect::<Result<_>>()?,
        }))
    }
}

fn effect(row: &PgRow) -> Result<EffectStatus> {
    let id: uuid::Uuid = row.get("connection_id");
    let wrong = |column, detail: &str| inconsistent("connections", column, id, detail);
    let (kind, state): (&str, &str) = (row.get("kind"), row.get("state"));
    Ok(EffectStatus {
        connection: ConnectionId(id),
        provider: ProviderId(row.get("provider_id")),
        kind: CalendarKind::parse(kind).ok_or_else(|| wrong("kind", kind))?,
        connection_state: ConnectionState::parse(state).ok_or_else(|| wrong("state", state))?,
        is_wanted: row.get::<Option<Vec<u8>>, _>("desired_digest").is_some(),
        is_live: row.get::<Option<Vec<u8>>, _>("applied_digest").is_some(),
        applied_revision: row.get("applied_revision"),
        standing: Standing::of(row.get("due"), row.get("dead"), row.get("unadopted")),
        attempts: row.get("attempts"),
        last_error: row.get("last_error"),
    })
}
