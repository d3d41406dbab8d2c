//! Taking over what the booking application has put into calendars itself.

use std::collections::HashSet;

use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::rows::{bytes, inconsistent};
use super::{PostgresStore, failed};
use crate::store::{ADOPTED_REVISION, Adopted, LegacyEvent, Result};

const OPERATION: &str = "adopt events";

impl PostgresStore {
    pub(super) async fn read_legacy(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        const READ: &str = "
            SELECT id, external_event_id, ical_uid, booking_id::text AS booking_id, sync_status
              FROM external_calendar_events
             WHERE connection_id IS NULL AND generation >= 0 AND provider_id = $1
               AND calendar_provider = $2 AND id > $3
             ORDER BY id LIMIT $4";
        let rows = sqlx::query(READ)
            .bind(provider.0)
            .bind(kind.name())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read the booking application's events"))?;
        rows.iter().map(legacy).collect()
    }

    /// The effects first, then the rows, as everywhere (rule R16).
    pub(super) async fn adopt_events(
        &self,
        connection: ConnectionId,
        adopted: &[Adopted],
    ) -> Result<Vec<Uuid>> {
        const MAPPED: &str = "
            SELECT ical_uid FROM external_calendar_events
             WHERE connection_id = $1 AND ical_uid = ANY($2)";
        const DUPLICATES: &str = "
            UPDATE external_calendar_events
               SET sync_status = 'FAILED', generation = -1, updated_at = clock_timestamp(),
                   last_error = 'another row is this booking''s: this event is not kept in step'
             WHERE id = ANY($1)";
        let mut tx = self.begin(OPERATION).await?;
        let mapped: Vec<String> = sqlx::query_scalar(MAPPED)
            .bind(connection.0)
            .bind(adopted.iter().map(|one| one.uid.as_str()).collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(OPERATION))?;
        let mut taken: HashSet<&str> = mapped.iter().map(String::as_str).collect();
        let (first, duplicates): (Vec<&Adopted>, Vec<&Adopted>) =
            adopted.iter().partition(|one| taken.insert(one.uid.as_str()));
        known(&mut tx, connection, &first).await?;
        map(&mut tx, connection, &first).await?;
        let duplicates: Vec<Uuid> = duplicates.iter().map(|one| one.row).collect();
        sqlx::query(DUPLICATES)
            .bind(&duplicates)
            .execute(&mut *tx)
            .await
            .map_err(failed(OPERATION))?;
        tx.commit().await.map_err(failed(OPERATION))?;
        Ok(duplicates)
    }
}

/// What the calendar holds is applied, and for the time being what is wanted: but for a booking
/// that the log has cancelled or placed elsewhere already.
async fn known(
    tx: &mut Transaction<'static, Postgres>,
    connection: ConnectionId,
    adopted: &[&Adopted],
) -> Result<()> {
    const KNOWN: &str = concat!(
        "
        INSERT INTO effects AS e (connection_id, ical_uid, desired_revision, desired_digest,
                                  applied_revision, applied_digest, etag, adopted_id)
        SELECT $1, u, CASE WHEN past THEN revision ELSE r END, CASE WHEN past THEN NULL ELSE d END,
               r, d, t, x
          FROM (SELECT w.u, w.d, w.r, w.t, w.x, b.revision,
                       b.ical_uid IS NOT NULL
                       AND (b.shown_digest IS NULL OR b.placed <> $1) IS TRUE AS past
                  FROM UNNEST($2::text[], $3::bytea[], $4::bigint[], $5::text[], $7::text[])
                       AS w (u, d, r, t, x)
                  LEFT JOIN bookings b ON b.ical_uid = w.u) AS found
         ORDER BY u
        ON CONFLICT (connection_id, ical_uid) DO UPDATE
           SET applied_digest = excluded.applied_digest, etag = excluded.etag,
               adopted_id = excluded.adopted_id,
               applied_revision = CASE
                    WHEN excluded.applied_revision = $6
                         AND e.desired_digest = excluded.applied_digest
                    THEN e.desired_revision ELSE excluded.applied_revision END,
               updated_at = clock_timestamp(),
               ",
        asked_by_none!("e."),
        "
         WHERE e.applied_digest IS NULL AND e.flight_verb IS NULL AND e.generation = 0
           AND NOT e.burned"
    );
    let events: Vec<_> =
        adopted.iter().filter_map(|one| Some((one, one.event.as_ref()?))).collect();
    sqlx::query(KNOWN)
        .bind(connection.0)
        .bind(events.iter().map(|(one, _)| one.uid.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|(_, event)| bytes(event.digest)).collect::<Vec<_>>())
        .bind(events.iter().map(|(_, event)| event.revision).collect::<Vec<_>>())
        .bind(events.iter().map(|(_, event)| event.etag.as_deref()).collect::<Vec<_>>())
        .bind(ADOPTED_REVISION)
        .bind(events.iter().map(|(_, event)| event.external_id.as_str()).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await
        .map_err(failed(OPERATION))?;
    Ok(())
}

/// The rows are the connection's.
async fn map(
    tx: &mut Transaction<'static, Postgres>,
    connection: ConnectionId,
    adopted: &[&Adopted],
) -> Result<()> {
    const MAP: &str = "
        UPDATE external_calendar_events x
           SET connection_id = $1, ical_uid = w.u, etag = w.t, provider_uid = w.p,
               applied_revision = COALESCE(w.r, 0), updated_at = clock_timestamp()
          FROM UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
               AS w (id, u, t, p, r)
         WHERE x.id = w.id AND x.connection_id IS NULL";
    let events = || adopted.iter().map(|one| one.event.as_ref());
    sqlx::query(MAP)
        .bind(connection.0)
        .bind(adopted.iter().map(|one| one.row).collect::<Vec<_>>())
        .bind(adopted.iter().map(|one| one.uid.as_str()).collect::<Vec<_>>())
        .bind(events().map(|event| event?.etag.as_deref()).collect::<Vec<_>>())
        .bind(events().map(|event| event?.provider_uid.as_deref()).collect::<Vec<_>>())
        .bind(events().map(|event| Some(event?.revision)).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await
        .map_err(failed(OPERATION))?;
    Ok(())
}

fn legacy(row: &PgRow) -> Result<LegacyEvent> {
    let id: Uuid = row.get("id");
    let wrong =
        |column, detail: String| inconsistent("external_calendar_events", column, id, detail);
    let (uid, booking): (Option<&str>, Option<&str>) = (row.get("ical_uid"), row.get("booking_id"));
    Ok(LegacyEvent {
        row: id,
        external_id: row.get("external_event_id"),
        uid: uid
            .filter(|uid| !uid.is_empty())
            .map(IcalUid::parse)
            .transpose()
            .map_err(|error| wrong("ical_uid", error.to_string()))?,
        booking: booking
            .map(BookingId::parse)
            .transpose()
            .map_err(|error| wrong("booking_id", error.to_string()))?,
        is_cancelled: row.get::<&str, _>("sync_status") == "CANCELLED",
    })
}
