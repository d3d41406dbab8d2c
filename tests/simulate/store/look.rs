//! What an oracle may look at: the rows as they are, read only, without a copy.

use std::collections::BTreeMap;

use booking::{ConnectionId, IcalUid};
use calendar_sync::store::{ConnectionState, Cursor, DeadLetter, DeadState};
use chrono::{DateTime, Utc};
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
    /// Active, parked or being removed.
    pub state: ConnectionState,
    /// Why it is parked.
    pub parked_reason: Option<&'t str>,
    /// Who holds its lane.
    pub token: Option<Uuid>,
    /// Why its sweep waits for a person.
    pub halted: Option<&'t str>,
}

/// A row of `external_calendar_events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLook<'t> {
    /// The connection; `None`: not taken over.
    pub connection: Option<ConnectionId>,
    /// The event's name.
    pub external_id: &'t str,
    /// The booking's UID, where it is known.
    pub uid: Option<&'t IcalUid>,
    /// `CREATED`, `UPDATED`, `CANCELLED` or `FAILED`.
    pub sync_status: &'static str,
    /// Whether it makes its owner busy.
    pub is_busy: bool,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
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
        tables.connections.iter().map(move |(id, row)| ConnectionLook {
            id: *id,
            state: row.state,
            parked_reason: row.parked_reason.as_deref(),
            token: tables.lanes[id].token,
            halted: tables.sweeps.get(id).and_then(|row| row.halted.as_deref()),
        })
    }

    /// The cursors, sorted by topic and partition.
    pub fn cursors(self) -> impl Iterator<Item = &'t Cursor> {
        self.0.cursors.values().flat_map(|topic| topic.values()).map(|row| &row.cursor)
    }

    /// The dead letters that wait for somebody, oldest first.
    pub fn open_dead_letters(self) -> impl Iterator<Item = &'t DeadLetter> {
        self.0.dead_letters.values().filter(|letter| letter.state == DeadState::Open)
    }

    /// The rows of `external_calendar_events`: first those that are a connection's.
    pub fn events(self) -> impl Iterator<Item = EventLook<'t>> {
        let look = |connection, row: &'t EventRow| EventLook {
            connection,
            external_id: &row.external_id,
            uid: row.uid.as_ref(),
            sync_status: row.sync_status,
            is_busy: row.is_busy,
            start: row.start,
            end: row.end,
        };
        let mapped = self.0.events.iter().flat_map(move |(id, rows)| {
            let id = *id;
            rows.values().map(move |row| look(Some(id), row))
        });
        mapped.chain(self.0.legacy.values().map(move |row| look(None, row)))
    }
}
