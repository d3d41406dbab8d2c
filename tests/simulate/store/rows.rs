//! The tables, as plain rows: what `schema.sql` says of columns, keys and `due`. Times are
//! microseconds since 1970, as SQLite keeps them.

use std::collections::BTreeMap;

use booking::{Booking, BookingId, CalendarKind, ConnectionId, Digest, IcalUid, ProviderId, Verb};
use calendar_sync::store::{
    ConnectionState, Cursor, DeadLetter, DriftKind, EffectOrigin, JournalEntry, StoreError,
    StoredBooking,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Everything that is stored.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) installation: Option<InstallationRow>,
    pub(super) cursors: BTreeMap<String, BTreeMap<i32, CursorRow>>,
    /// Each provider and its destination.
    pub(super) providers: BTreeMap<ProviderId, Option<ConnectionId>>,
    pub(super) connections: BTreeMap<ConnectionId, StoredConnection>,
    pub(super) lanes: BTreeMap<ConnectionId, LaneRow>,
    pub(super) sweeps: BTreeMap<ConnectionId, SweepRow>,
    /// Until when each budget is used.
    pub(super) budgets: BTreeMap<String, i64>,
    /// By the event's name in the calendar.
    pub(super) drift: BTreeMap<ConnectionId, BTreeMap<String, DriftRow>>,
    pub(super) bookings: BTreeMap<IcalUid, BookingRow>,
    /// The unique key of a booking's id: whose UID it has.
    pub(super) booking_ids: BTreeMap<BookingId, IcalUid>,
    pub(super) effects: BTreeMap<ConnectionId, BTreeMap<IcalUid, EffectRow>>,
    /// The rows of `external_calendar_events` that are a connection's.
    pub(super) events: BTreeMap<ConnectionId, BTreeMap<IcalUid, EventRow>>,
    /// Those that are none's yet.
    pub(super) legacy: BTreeMap<Uuid, EventRow>,
    /// By topic, then incarnation, partition and offset.
    pub(super) journal: BTreeMap<String, BTreeMap<(i32, i32, i64), JournalEntry>>,
    pub(super) dead_letters: BTreeMap<i64, DeadLetter>,
    /// The last id that a dead letter was given.
    pub(super) last_letter: i64,
}

#[derive(Clone)]
pub(super) struct InstallationRow {
    pub(super) id: Uuid,
    pub(super) installed_at: i64,
    /// Which server answered last; `None`: nobody has looked yet.
    pub(super) incarnation: Option<u64>,
}

#[derive(Clone)]
pub(super) struct CursorRow {
    pub(super) cursor: Cursor,
    pub(super) log_end_at: Option<i64>,
}

#[derive(Clone)]
pub(super) struct StoredConnection {
    pub(super) provider: ProviderId,
    pub(super) kind: CalendarKind,
    pub(super) subject: String,
    pub(super) calendar: String,
    pub(super) base_url: String,
    pub(super) sealed: Vec<u8>,
    pub(super) state: ConnectionState,
    pub(super) parked_reason: Option<String>,
    pub(super) renewal_failures: i32,
    pub(super) renewal_error: Option<String>,
    /// When it was filled, and with how many.
    pub(super) fill: Option<(i64, i64)>,
}

impl StoredConnection {
    /// Access is as good as new, or is not asked for any more.
    pub(super) fn forget_failures(&mut self) {
        (self.renewal_failures, self.renewal_error) = (0, None);
    }
}

#[derive(Clone, Default)]
pub(super) struct LaneRow {
    pub(super) token: Option<Uuid>,
    pub(super) leased_until: Option<i64>,
    pub(super) rest_until: Option<i64>,
    pub(super) paced_until: Option<i64>,
}

/// How far the sweep of a connection is; as it is before there is one: the next one reads all.
#[derive(Clone, Default)]
pub(super) struct SweepRow {
    pub(super) due_at: Option<i64>,
    pub(super) since: Option<String>,
    pub(super) began_at: Option<i64>,
    pub(super) is_full: bool,
    pub(super) page: Option<String>,
    pub(super) pages: i32,
    pub(super) removals: i32,
    pub(super) failures: i32,
    pub(super) partial: i32,
    pub(super) excused: bool,
    pub(super) halted: Option<String>,
    pub(super) result: Option<String>,
}

#[derive(Clone)]
pub(super) struct DriftRow {
    pub(super) uid: Option<IcalUid>,
    pub(super) kind: DriftKind,
    pub(super) since: i64,
    pub(super) seen_at: i64,
}

#[derive(Clone)]
pub(super) struct BookingRow {
    pub(super) stored: StoredBooking,
    /// Of what it shows; follows from the state, and is kept because hashing is slow.
    pub(super) shown_digest: Option<Digest>,
}

impl BookingRow {
    pub(super) fn new(stored: StoredBooking) -> Self {
        let shown_digest = stored.booking.shown().map(booking::Content::digest);
        Self { stored, shown_digest }
    }

    pub(super) fn booking(&self) -> &Booking {
        &self.stored.booking
    }
}

/// One row of the outbox, with all of its columns.
#[expect(clippy::struct_excessive_bools, reason = "they are columns of a table")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// The revision that is wanted.
    pub desired_revision: i64,
    /// `None`: no event is wanted.
    pub desired_digest: Option<Digest>,
    /// The revision that was acknowledged last.
    pub applied_revision: Option<i64>,
    /// `None`: no event is known to be there.
    pub applied_digest: Option<Digest>,
    /// How many times the event had to be made anew.
    pub generation: i32,
    /// A delete was meant for this generation.
    pub burned: bool,
    /// The ETag last seen.
    pub etag: Option<String>,
    /// The name of an event that stood before us: generation 0.
    pub adopted_id: Option<String>,
    /// What was sent and is not settled.
    pub flight: Option<Flight>,
    /// When the calendar was first seen to be ahead.
    pub ahead_since: Option<i64>,
    /// When it may be sent.
    pub not_before: i64,
    /// Attempts since the last success.
    pub attempts: i32,
    /// Rejections since the desired state changed.
    pub rejections: i32,
    /// Whether it waits for a person or a new revision.
    pub dead: bool,
    /// What the calendar said last, if it was no success.
    pub last_error: Option<String>,
    /// When an open attempt is verified.
    pub verify_at: Option<i64>,
    /// The lowest generation that has an open attempt.
    pub verify_from_generation: Option<i32>,
    /// Whether an open attempt was a delete.
    pub verify_deletes: bool,
    /// How many verifications there were.
    pub verify_stage: i32,
    /// Whether it became due without an event: what events ask for goes first.
    pub filling: bool,
    /// When it was changed last.
    pub updated_at: i64,
    /// When the calendar was last known to hold the event: acknowledged, or listed.
    pub seen_at: Option<i64>,
    /// When the calendar last told of its deletion.
    pub gone_at: Option<i64>,
    /// Where it came from.
    pub origin: EffectOrigin,
}

/// The columns `flight_…` of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// Whose it is.
    pub token: Uuid,
    /// What it does.
    pub verb: Verb,
    /// The revision that it carries.
    pub revision: i64,
    /// The digest of its content; `None` for a delete.
    pub digest: Option<Digest>,
    /// The exact body.
    pub body: Vec<u8>,
    /// When it was stamped.
    pub at: i64,
}

impl EffectRow {
    /// A row with the defaults of the schema.
    pub(super) fn new(desired_revision: i64, desired_digest: Option<Digest>, now: i64) -> Self {
        Self {
            desired_revision,
            desired_digest,
            applied_revision: None,
            applied_digest: None,
            generation: 0,
            burned: false,
            etag: None,
            adopted_id: None,
            flight: None,
            ahead_since: None,
            not_before: now,
            attempts: 0,
            rejections: 0,
            dead: false,
            last_error: None,
            verify_at: None,
            verify_from_generation: None,
            verify_deletes: false,
            verify_stage: 0,
            filling: false,
            updated_at: now,
            seen_at: None,
            gone_at: None,
            origin: EffectOrigin::default(),
        }
    }

    /// Rule R9: the generated column.
    pub fn due(&self) -> bool {
        !self.dead
            && (self.flight.is_some()
                || self.desired_digest != self.applied_digest
                || (self.desired_digest.is_some()
                    && Some(self.desired_revision) != self.applied_revision))
    }

    /// Whether a call is owed, and its hour has come.
    pub(super) fn is_due_at(&self, now: i64) -> bool {
        self.not_before <= now && self.due()
    }

    /// Whether an open attempt is to be verified, with nothing owed before it.
    pub(super) fn is_verified_at(&self, now: i64) -> bool {
        self.verify_at.is_some_and(|at| at <= now) && !self.dead && !self.due()
    }

    /// The verb in flight.
    pub(super) fn flies(&self, verb: Verb) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.verb == verb)
    }

    /// Before something else than an event makes it due: what is owed already is still its events'.
    pub(super) fn asked_by_none(&mut self) {
        if !self.due() {
            self.origin = EffectOrigin::default();
        }
    }

    /// Nothing is in flight any more.
    pub(super) fn settle(&mut self) {
        self.flight = None;
        self.ahead_since = None;
    }
}

/// A row of `external_calendar_events`.
#[derive(Clone)]
pub(super) struct EventRow {
    pub(super) id: Uuid,
    pub(super) provider: ProviderId,
    pub(super) kind: CalendarKind,
    pub(super) external_id: String,
    pub(super) uid: Option<IcalUid>,
    pub(super) booking: Option<BookingId>,
    pub(super) provider_uid: Option<String>,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    pub(super) is_busy: bool,
    pub(super) checksum: Option<Digest>,
    pub(super) sync_status: &'static str,
    pub(super) last_error: Option<String>,
    pub(super) generation: i32,
    pub(super) applied_revision: i64,
    pub(super) etag: Option<String>,
}

impl Tables {
    /// A row of the outbox.
    pub(super) fn effect(&self, connection: ConnectionId, uid: &IcalUid) -> Option<&EffectRow> {
        self.effects.get(&connection)?.get(uid)
    }

    /// A row of the outbox, to be changed.
    pub(super) fn effect_mut(
        &mut self,
        connection: ConnectionId,
        uid: &IcalUid,
    ) -> Option<&mut EffectRow> {
        self.effects.get_mut(&connection)?.get_mut(uid)
    }

    /// The rows of one lane, sorted by UID.
    pub(super) fn lane_effects(
        &self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = (&IcalUid, &EffectRow)> {
        self.effects.get(&connection).into_iter().flatten()
    }

    /// The rows of one lane, to be changed.
    pub(super) fn lane_effects_mut(
        &mut self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = (&IcalUid, &mut EffectRow)> {
        self.effects.get_mut(&connection).into_iter().flatten()
    }

    /// Whether a connection is there, as a foreign key asks.
    pub(super) fn refers(
        &self,
        table: &'static str,
        column: &'static str,
        connection: ConnectionId,
    ) -> Result<(), StoreError> {
        if self.connections.contains_key(&connection) {
            return Ok(());
        }
        let detail = "there is no such connection".to_owned();
        Err(StoreError::Inconsistent { table, column, key: connection.to_string(), detail })
    }
}

/// A stored time.
pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).expect("it was a time when it was stored")
}
