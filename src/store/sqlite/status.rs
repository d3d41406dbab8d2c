//! What became of one booking: for those who ask.

use ::booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use sqlx::sqlite::SqliteRow;

use super::row::Values;
use super::{SqliteStore, fault};
use crate::store::{BookingStatus, ConnectionState, EffectStatus, Result, Standing};

/// See [`crate::store::Store::hasten`].
pub(super) async fn hasten(
    store: &SqliteStore,
    booking: &BookingId,
) -> Result<Option<BookingStatus>> {
    const OPERATION: &str = "end a booking's waiting";
    const BOOKING: &str = "
        SELECT ical_uid, provider_id, revision, shown FROM bookings WHERE booking_id = ?1";
    const HASTEN: &str = "
        UPDATE effects SET not_before = MIN(not_before, ?2), filling = FALSE, updated_at = ?2
         WHERE ical_uid = ?1 AND due AND (filling OR not_before > ?2)";
    const EFFECTS: &str = concat!(
        "
        SELECT e.*, c.provider_id, c.kind, c.state,
               ",
        unadopted!(),
        " AS unadopted
          FROM effects AS e JOIN connections AS c ON c.connection_id = e.connection_id
         WHERE e.ical_uid = ?1 ORDER BY e.connection_id"
    );
    let mut tx = store.begin(OPERATION).await?;
    let row = sqlx::query(BOOKING)
        .bind(booking.to_string())
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let row = Values::of(&row, "bookings", "ical_uid");
    let uid = row.parsed("ical_uid", |text| IcalUid::parse(text).ok())?;
    sqlx::query(HASTEN)
        .bind(uid.to_string())
        .bind(store.now())
        .execute(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    let effects = sqlx::query(EFFECTS)
        .bind(uid.to_string())
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Some(BookingStatus {
        uid,
        provider: ProviderId(row.uuid("provider_id")?),
        revision: row.get("revision")?,
        is_shown: row.get("shown")?,
        calendars: effects.iter().map(effect).collect::<Result<_>>()?,
    }))
}

fn effect(row: &SqliteRow) -> Result<EffectStatus> {
    let row = Values::of(row, "effects", "ical_uid");
    Ok(EffectStatus {
        connection: ConnectionId(row.uuid("connection_id")?),
        provider: ProviderId(row.uuid("provider_id")?),
        kind: row.parsed("kind", CalendarKind::parse)?,
        connection_state: row.parsed("state", ConnectionState::parse)?,
        is_wanted: row.get::<Option<String>>("desired_digest")?.is_some(),
        is_live: row.get::<Option<String>>("applied_digest")?.is_some(),
        applied_revision: row.get("applied_revision")?,
        standing: Standing::of(row.get("due")?, row.get("dead")?, row.get("unadopted")?),
        attempts: row.get("attempts")?,
        last_error: row.get("last_error")?,
    })
}
