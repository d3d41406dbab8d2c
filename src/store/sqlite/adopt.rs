//! Taking over what the booking application has put into calendars itself.

use std::collections::HashSet;

use ::booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::row::Values;
use super::{SqliteStore, fault};
use crate::store::{ADOPTED_REVISION, Adopted, AdoptedEvent, LegacyEvent, Result};

/// See [`crate::store::Store::legacy_events`].
pub(super) async fn legacy_events(
    store: &SqliteStore,
    provider: ProviderId,
    kind: CalendarKind,
    after: Uuid,
    limit: u32,
) -> Result<Vec<LegacyEvent>> {
    const READ: &str = "
        SELECT id, external_event_id, ical_uid, booking_id, sync_status
          FROM external_calendar_events
         WHERE connection_id IS NULL AND generation >= 0 AND provider_id = ?1
           AND calendar_provider = ?2 AND id > ?3
         ORDER BY id LIMIT ?4";
    let rows = sqlx::query(READ)
        .bind(provider.to_string())
        .bind(kind.name())
        .bind(after.to_string())
        .bind(limit)
        .fetch_all(&store.read)
        .await
        .map_err(fault("read the booking application's events"))?;
    rows.iter().map(legacy).collect()
}

fn legacy(row: &SqliteRow) -> Result<LegacyEvent> {
    let row = Values::of(row, "external_calendar_events", "id");
    Ok(LegacyEvent {
        row: row.uuid("id")?,
        external_id: row.get("external_event_id")?,
        uid: match row.get::<Option<&str>>("ical_uid")? {
            None | Some("") => None,
            Some(_) => row.parsed_maybe("ical_uid", |text| IcalUid::parse(text).ok())?,
        },
        booking: row.parsed_maybe("booking_id", |text| BookingId::parse(text).ok())?,
        is_cancelled: row.get::<&str>("sync_status")? == "CANCELLED",
    })
}

/// See [`crate::store::Store::adopt`].
pub(super) async fn adopt(
    store: &SqliteStore,
    connection: ConnectionId,
    adopted: &[Adopted],
) -> Result<Vec<Uuid>> {
    const OPERATION: &str = "adopt events";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    let mut taken = HashSet::new();
    let mut duplicates = Vec::new();
    for one in adopted {
        let is_first = taken.insert(&one.uid)
            && !is_mapped(&mut tx, connection, &one.uid).await.map_err(fault(OPERATION))?;
        if is_first {
            if let Some(event) = &one.event {
                known(&mut tx, connection, &one.uid, event, now).await.map_err(fault(OPERATION))?;
            }
            map(&mut tx, connection, one).await.map_err(fault(OPERATION))?;
        } else {
            refuse(&mut tx, one.row).await.map_err(fault(OPERATION))?;
            duplicates.push(one.row);
        }
    }
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(duplicates)
}

async fn is_mapped(
    conn: &mut SqliteConnection,
    connection: ConnectionId,
    uid: &IcalUid,
) -> sqlx::Result<bool> {
    const MAPPED: &str =
        "SELECT 1 FROM external_calendar_events WHERE connection_id = ?1 AND ical_uid = ?2";
    let row = sqlx::query(MAPPED)
        .bind(connection.to_string())
        .bind(uid.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

async fn known(
    conn: &mut SqliteConnection,
    connection: ConnectionId,
    uid: &IcalUid,
    event: &AdoptedEvent,
    now: i64,
) -> sqlx::Result<()> {
    const KNOWN: &str = concat!(
        "
        INSERT INTO effects (connection_id, ical_uid, desired_revision, desired_digest,
                             applied_revision, applied_digest, etag, adopted_id, not_before,
                             updated_at)
        SELECT ?1, ?2, CASE WHEN past THEN revision ELSE ?3 END,
               CASE WHEN past THEN NULL ELSE ?4 END, ?3, ?4, ?5, ?6, ?7, ?7
          FROM (SELECT b.revision,
                       b.ical_uid IS NOT NULL
                       AND (NOT b.shown OR (b.placed <> ?1) IS TRUE) AS past
                  FROM (SELECT 1) LEFT JOIN bookings AS b ON b.ical_uid = ?2)
         WHERE TRUE
        ON CONFLICT (ical_uid, connection_id) DO UPDATE
           SET applied_digest = excluded.applied_digest, etag = excluded.etag,
               adopted_id = excluded.adopted_id,
               applied_revision = CASE
                    WHEN excluded.applied_revision = ?8
                         AND desired_digest = excluded.applied_digest
                    THEN desired_revision ELSE excluded.applied_revision END,
               updated_at = excluded.updated_at,
               ",
        asked_by_none!(""),
        "
         WHERE applied_digest IS NULL AND flight_verb IS NULL AND generation = 0 AND NOT burned"
    );
    sqlx::query(KNOWN)
        .bind(connection.to_string())
        .bind(uid.to_string())
        .bind(event.revision)
        .bind(event.digest.to_string())
        .bind(event.etag.clone())
        .bind(event.external_id.clone())
        .bind(now)
        .bind(ADOPTED_REVISION)
        .execute(conn)
        .await?;
    Ok(())
}

async fn map(
    conn: &mut SqliteConnection,
    connection: ConnectionId,
    one: &Adopted,
) -> sqlx::Result<()> {
    const MAP: &str = "
        UPDATE external_calendar_events
           SET connection_id = ?2, ical_uid = ?3, etag = ?4, provider_uid = ?5,
               applied_revision = ?6
         WHERE id = ?1 AND connection_id IS NULL";
    let event = one.event.as_ref();
    sqlx::query(MAP)
        .bind(one.row.to_string())
        .bind(connection.to_string())
        .bind(one.uid.to_string())
        .bind(event.and_then(|event| event.etag.clone()))
        .bind(event.and_then(|event| event.provider_uid.clone()))
        .bind(event.map_or(0, |event| event.revision))
        .execute(conn)
        .await?;
    Ok(())
}

async fn refuse(conn: &mut SqliteConnection, row: Uuid) -> sqlx::Result<()> {
    const REFUSE: &str = "
        UPDATE external_calendar_events
           SET sync_status = 'FAILED', generation = -1,
               last_error = 'another row is this booking''s: this event is not kept in step'
         WHERE id = ?1";
    sqlx::query(REFUSE).bind(row.to_string()).execute(conn).await?;
    Ok(())
}
