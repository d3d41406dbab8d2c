//! Taking over what the booking application has put into calendars itself.

use std::collections::BTreeSet;

use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::store::{
    ADOPTED_REVISION, Adopted, AdoptedEvent, ConnectionState, LegacyEvent, Result,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Tx;
use super::rows::{EffectRow, EventRow, StoredConnection, Tables};

/// A row that the booking application has written.
#[derive(Debug, Clone)]
pub struct LegacyRow {
    /// Its id.
    pub row: Uuid,
    /// Whose calendar.
    pub provider: ProviderId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// The event's name there.
    pub external_id: String,
    /// The booking's UID, where it is known.
    pub uid: Option<IcalUid>,
    /// The booking, where it is known.
    pub booking: Option<BookingId>,
    /// `CREATED`, `UPDATED`, `CANCELLED` or `FAILED`.
    pub sync_status: &'static str,
    /// Its times.
    pub start: DateTime<Utc>,
    /// See `start`.
    pub end: DateTime<Utc>,
}

/// Puts a row in, as the booking application did before we were there.
pub(super) fn put_legacy(tx: &mut Tx<'_>, row: &LegacyRow) {
    let event = EventRow {
        id: row.row,
        provider: row.provider,
        kind: row.kind,
        external_id: row.external_id.clone(),
        uid: row.uid.clone(),
        booking: row.booking.clone(),
        provider_uid: None,
        start: row.start,
        end: row.end,
        is_busy: row.sync_status != "CANCELLED",
        checksum: None,
        sync_status: row.sync_status,
        last_error: None,
        generation: 0,
        applied_revision: 0,
        etag: None,
    };
    tx.tables.legacy.insert(row.row, event);
    tx.commit();
}

/// Whether nothing is sent on a connection before `adopt` was run. What is being removed only
/// withdraws what we know of.
pub(super) fn is_unadopted(tables: &Tables, connection: &StoredConnection) -> bool {
    connection.state != ConnectionState::Removing
        && tables.legacy.values().any(|row| {
            row.sync_status != "CANCELLED"
                && row.generation >= 0
                && row.provider == connection.provider
                && row.kind == connection.kind
        })
}

/// See [`calendar_sync::store::Store::legacy_events`].
pub(super) fn legacy_events(
    tables: &Tables,
    provider: ProviderId,
    kind: CalendarKind,
    after: Uuid,
    limit: u32,
) -> Vec<LegacyEvent> {
    let rows = tables.legacy.values().filter(|row| {
        row.generation >= 0 && row.provider == provider && row.kind == kind && row.id > after
    });
    let legacy = |row: &EventRow| LegacyEvent {
        row: row.id,
        external_id: row.external_id.clone(),
        uid: row.uid.clone(),
        booking: row.booking.clone(),
        is_cancelled: row.sync_status == "CANCELLED",
    };
    rows.take(limit as usize).map(legacy).collect()
}

/// See [`calendar_sync::store::Store::adopt`].
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    connection: ConnectionId,
    adopted: &[Adopted],
) -> Result<Vec<Uuid>> {
    let mut named = BTreeSet::new();
    let is_written = |one: &Adopted| one.event.is_some() || tx.tables.legacy.contains_key(&one.row);
    if adopted.iter().filter(|one| named.insert(&one.uid)).any(is_written) {
        tx.tables.refers("external_calendar_events", "connection_id", connection)?;
    }
    let mut taken = BTreeSet::new();
    let mut duplicates = Vec::new();
    for one in adopted {
        let is_first = taken.insert(&one.uid) && !is_mapped(tx.tables, connection, &one.uid);
        if is_first {
            if let Some(event) = &one.event {
                known(tx, connection, &one.uid, event);
            }
            map(tx.tables, connection, one);
        } else {
            refuse(tx.tables, one.row);
            duplicates.push(one.row);
        }
    }
    tx.commit();
    Ok(duplicates)
}

fn is_mapped(tables: &Tables, connection: ConnectionId, uid: &IcalUid) -> bool {
    tables.events.get(&connection).is_some_and(|rows| rows.contains_key(uid))
}

/// What the calendar holds is applied, and for the time being what is wanted: but for a booking
/// that the log has cancelled or placed elsewhere already.
fn known(tx: &mut Tx<'_>, connection: ConnectionId, uid: &IcalUid, event: &AdoptedEvent) {
    let past = tx.tables.bookings.get(uid).filter(|row| {
        row.shown_digest.is_none() || row.stored.placed.is_some_and(|placed| placed != connection)
    });
    let past = past.map(|row| row.booking().revision);
    let now = tx.now;
    let rows = tx.tables.effects.entry(connection).or_default();
    let Some(row) = rows.get_mut(uid) else {
        let mut row = match past {
            Some(revision) => EffectRow::new(revision, None, tx.now),
            None => EffectRow::new(event.revision, Some(event.digest), tx.now),
        };
        row.applied_revision = Some(event.revision);
        stands(&mut row, event);
        rows.insert(uid.clone(), row);
        return;
    };
    let is_open =
        row.applied_digest.is_none() && row.flight.is_none() && row.generation == 0 && !row.burned;
    if !is_open {
        return;
    }
    row.asked_by_none();
    let shows_it = event.revision == ADOPTED_REVISION && row.desired_digest == Some(event.digest);
    row.applied_revision = Some(if shows_it { row.desired_revision } else { event.revision });
    row.updated_at = now;
    stands(row, event);
}

/// What is there, and under which name.
fn stands(row: &mut EffectRow, event: &AdoptedEvent) {
    row.applied_digest = Some(event.digest);
    row.etag.clone_from(&event.etag);
    row.adopted_id = Some(event.external_id.clone());
}

/// The row is the connection's.
fn map(tables: &mut Tables, connection: ConnectionId, one: &Adopted) {
    let Some(mut row) = tables.legacy.remove(&one.row) else {
        return;
    };
    let event = one.event.as_ref();
    row.uid = Some(one.uid.clone());
    row.etag = event.and_then(|event| event.etag.clone());
    row.provider_uid = event.and_then(|event| event.provider_uid.clone());
    row.applied_revision = event.map_or(0, |event| event.revision);
    tables.events.entry(connection).or_default().insert(one.uid.clone(), row);
}

/// Another row is the booking's.
fn refuse(tables: &mut Tables, id: Uuid) {
    let mapped = tables.events.values_mut().flat_map(|rows| rows.values_mut());
    if let Some(row) = tables.legacy.values_mut().chain(mapped).find(|row| row.id == id) {
        (row.sync_status, row.generation) = ("FAILED", -1);
        let reason = "another row is this booking's: this event is not kept in step";
        row.last_error = Some(reason.to_owned());
    }
}
