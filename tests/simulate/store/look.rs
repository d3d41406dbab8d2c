//! What an oracle may look at: the rows as they are, read only, without a copy.

use std::collections::BTreeMap;

use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::store::{
    ConnectionState, Cursor, DeadLetter, DeadState, JournalEntry, StoredBooking,
};
use uuid::Uuid;

use super::rows::{EventRow, Tables};
use super::{EffectRow, ModelStore};

/// The tables in one moment.
#[derive(Clone, Copy)]
pub struct Look<'t>(&'t Tables);

/// A connection and its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLook<'t> {
    /// The connection.
    pub id: ConnectionId,
    /// Whose it is.
    pub provider: ProviderId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// Active, parked or being removed.
    pub state: ConnectionState,
    /// Why it is parked.
    pub parked_reason: Option<&'t str>,
    /// Whether its provider's bookings go to it.
    pub is_destination: bool,
    /// Whether its credentials are there still.
    pub has_credentials: bool,
    /// Who holds its lane.
    pub token: Option<Uuid>,
    /// Until when, in microseconds.
    pub leased_until: Option<i64>,
}

/// A row of `external_calendar_events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLook<'t> {
    /// Its id.
    pub row: Uuid,
    /// The connection; `None`: not taken over.
    pub connection: Option<ConnectionId>,
    /// The event's name.
    pub external_id: &'t str,
    /// The booking's UID, where it is known.
    pub uid: Option<&'t IcalUid>,
    /// `CREATED`, `UPDATED`, `CANCELLED` or `FAILED`.
    pub sync_status: &'static str,
    /// Its generation; below 0: another row is the booking's.
    pub generation: i32,
    /// The revision acknowledged.
    pub applied_revision: i64,
    /// Whether it makes its owner busy.
    pub is_busy: bool,
    /// Why it failed.
    pub last_error: Option<&'t str>,
}

impl ModelStore {
    /// Looks at the rows. Nobody else comes in meanwhile: `look` must not call the store.
    pub fn look<T>(&self, look: impl FnOnce(Look<'_>) -> T) -> T {
        look(Look(&self.lock().tables))
    }
}

impl<'t> Look<'t> {
    /// The outbox, sorted by connection and UID.
    pub fn effects(self) -> impl Iterator<Item = (&'t IcalUid, ConnectionId, &'t EffectRow)> {
        let of = |(id, lane): (&'t ConnectionId, &'t BTreeMap<_, _>)| {
            let id = *id;
            lane.iter().map(move |(uid, row)| (uid, id, row))
        };
        self.0.effects.iter().flat_map(of)
    }

    /// One row of the outbox.
    pub fn effect(self, uid: &IcalUid, connection: ConnectionId) -> Option<&'t EffectRow> {
        self.0.effect(connection, uid)
    }

    /// The connections with their lanes, sorted by id.
    pub fn connections(self) -> impl Iterator<Item = ConnectionLook<'t>> {
        let tables = self.0;
        tables.connections.iter().map(move |(id, row)| {
            let lane = &tables.lanes[id];
            ConnectionLook {
                id: *id,
                provider: row.provider,
                kind: row.kind,
                state: row.state,
                parked_reason: row.parked_reason.as_deref(),
                is_destination: tables.providers.get(&row.provider) == Some(&Some(*id)),
                has_credentials: !row.sealed.is_empty(),
                token: lane.token,
                leased_until: lane.leased_until,
            }
        })
    }

    /// Each provider's destination.
    pub fn destinations(self) -> impl Iterator<Item = (ProviderId, Option<ConnectionId>)> {
        self.0.providers.iter().map(|(provider, destination)| (*provider, *destination))
    }

    /// The cursors, sorted by topic and partition.
    pub fn cursors(self) -> impl Iterator<Item = &'t Cursor> {
        self.0.cursors.values().flat_map(|topic| topic.values()).map(|row| &row.cursor)
    }

    /// The bookings, sorted by UID.
    pub fn bookings(self) -> impl Iterator<Item = &'t StoredBooking> {
        self.0.bookings.values().map(|row| &row.stored)
    }

    /// A booking, by the booking application's id.
    pub fn booking(self, id: &BookingId) -> Option<&'t StoredBooking> {
        Some(&self.0.bookings.get(self.0.booking_ids.get(id)?)?.stored)
    }

    /// The dead letters, oldest first.
    pub fn dead_letters(self) -> impl Iterator<Item = &'t DeadLetter> {
        self.0.dead_letters.values()
    }

    /// Those that wait for somebody.
    pub fn open_dead_letters(self) -> impl Iterator<Item = &'t DeadLetter> {
        self.dead_letters().filter(|letter| letter.state == DeadState::Open)
    }

    /// What became of each event, sorted by topic, incarnation, partition and offset.
    pub fn journal(self) -> impl Iterator<Item = &'t JournalEntry> {
        self.0.journal.values().flat_map(|topic| topic.values())
    }

    /// The rows of `external_calendar_events`: first those that are a connection's.
    pub fn events(self) -> impl Iterator<Item = EventLook<'t>> {
        let look = |connection, row: &'t EventRow| EventLook {
            row: row.id,
            connection,
            external_id: &row.external_id,
            uid: row.uid.as_ref(),
            sync_status: row.sync_status,
            generation: row.generation,
            applied_revision: row.applied_revision,
            is_busy: row.is_busy,
            last_error: row.last_error.as_deref(),
        };
        let mapped = self.0.events.iter().flat_map(move |(id, rows)| {
            let id = *id;
            rows.values().map(move |row| look(Some(id), row))
        });
        mapped.chain(self.0.legacy.values().map(move |row| look(None, row)))
    }
}
