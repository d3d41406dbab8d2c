//! The words of sending: what a lane is, what it owes, and what became of a call.

use std::time::Duration;

use booking::{BookingId, CalendarKind, ConnectionId, Content, Digest, IcalUid, ProviderId, Verb};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ConnectionState, DriftKind, EffectOrigin, Fenced, StoreError};

/// What the flags and allowlists let through (rule R8). Read at every claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// `CALENDAR_SYNC_ENABLED`: off sends nothing, and loses nothing.
    pub enabled: bool,
    /// `CALENDAR_ALLOWLIST_PROVIDER_IDS`; empty allows all.
    pub providers: Vec<Uuid>,
    /// `CALENDAR_ALLOWLIST_CONNECTION_IDS`; empty allows all.
    pub connections: Vec<Uuid>,
}

/// A backlog's limit is this many connections' shares: none alone reaches it.
const BACKLOG_SHARES: u32 = 4;

/// How many effects of one connection count towards a backlog that is counted up to `limit`.
pub fn backlog_share(limit: u32) -> u32 {
    limit.div_ceil(BACKLOG_SHARES)
}

/// A leased connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneLease {
    /// The connection.
    pub connection: ConnectionId,
    /// The holder's random name: every write of this holder carries it.
    pub token: Uuid,
}

/// What a lane found in flight from an earlier holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Restamped: this many.
    Over(u64),
    /// The lane is not ours.
    Refused,
}

/// One row of the outbox: what a connection's calendar should hold of a booking, what it is known
/// to hold, and what is on its way (rule R9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The booking.
    pub uid: IcalUid,
    /// The connection.
    pub connection: ConnectionId,
    /// The booking application's id.
    pub booking: BookingId,
    /// Whose booking it is now.
    pub provider: ProviderId,
    /// The revision that is wanted.
    pub desired_revision: i64,
    /// What is wanted: `None` means no event. Its digest is the row's desired digest.
    pub desired: Option<Content>,
    /// What the calendar has acknowledged: (revision, digest); `None`: no event.
    pub applied: Option<(i64, Digest)>,
    /// How many times the external event had to be made anew.
    pub generation: i32,
    /// A delete was meant for this generation: it is never updated again (rule R12).
    pub burned: bool,
    /// The ETag last seen, if nothing of the host's was in the event that an update would write over:
    /// else it is read before it is changed.
    pub etag: Option<String>,
    /// The name of an event that stood before us: that of generation 0.
    pub adopted_id: Option<String>,
    /// The name of this generation's event as `external_calendar_events` says it, if it stands there:
    /// what its calendar has told of it.
    pub server_id: Option<String>,
    /// What was sent and is not settled.
    pub in_flight: Option<InFlight>,
    /// Attempts since the last success: what backoff counts.
    pub attempts: i32,
    /// Rejections since the desired state last changed: what a dead letter counts.
    pub rejections: i32,
    /// An open attempt is to be verified by now (rule R14).
    pub verify: Option<Verify>,
    /// Where it came from: of what is settled, and is to be verified, where that came from.
    pub origin: EffectOrigin,
}

/// A call that was meant, stored before it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// What it does.
    pub verb: Verb,
    /// The revision that it carries.
    pub revision: i64,
    /// The digest of its content; `None` for a delete.
    pub digest: Option<Digest>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// The verification that open attempts ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// The lowest generation that has an open attempt.
    pub from_generation: i32,
    /// Whether an open attempt was a delete.
    pub deletes: bool,
    /// How many verifications there were.
    pub stage: i32,
    /// Whether its hour has come.
    pub is_due: bool,
    /// What is known to be otherwise with the event since it was last acknowledged or listed.
    pub drift: Option<DriftKind>,
}

/// What is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The row, with the lane's connection.
    pub uid: IcalUid,
    /// The desired revision that this was decided from.
    pub desired_revision: i64,
    /// The generation that it acts on (one above the row's if that is burned or settled absent).
    pub generation: i32,
    /// The call.
    pub in_flight: InFlight,
}

/// What became of an attempt, or of reading one back. Written under the row's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The lane that holds the row.
    pub lane: LaneLease,
    /// The row.
    pub uid: IcalUid,
    /// What is now known.
    pub finding: Finding,
    /// Leaves the attempt open: verify it after so long (rule R14).
    pub verify_after: Option<Duration>,
}

/// What became of a record of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// The row was ours, and it was written.
    Written,
    /// It was written, and the effect is a dead letter by it.
    Died,
    /// Somebody else's by now: nothing was written.
    Refused,
}

impl From<Recorded> for Fenced {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Written | Recorded::Died => Self::Written,
            Recorded::Refused => Self::Refused,
        }
    }
}

impl From<Fenced> for Recorded {
    fn from(fenced: Fenced) -> Self {
        match fenced {
            Fenced::Written => Self::Written,
            Fenced::Refused => Self::Refused,
        }
    }
}

/// What is known after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The calendar holds this: acknowledged, or read back. Settles what is in flight.
    Present {
        /// The revision in the event's marker.
        revision: i64,
        /// The digest in the event's marker.
        digest: Digest,
        /// Its ETag, if it has a strong one.
        etag: Option<String>,
        /// Its external name.
        external_id: String,
        /// The UID that the calendar itself shows (L3).
        provider_uid: Option<String>,
        /// Its times, as the row of `external_calendar_events` says them.
        start: DateTime<Utc>,
        /// See `start`.
        end: DateTime<Utc>,
    },
    /// The calendar holds nothing under this generation's name: deleted by us. Settles what is in
    /// flight, and burns the generation.
    Absent {
        /// The revision that asked for it.
        revision: i64,
    },
    /// This generation was settled absent though it was not we who deleted it (rule R12): what is
    /// wanted is to be made anew, in the next one. Settles what is in flight.
    Gone,
    /// Surely not applied: nothing is in flight any more. Due again after `after`.
    NotApplied {
        /// How long to wait.
        after: Duration,
        /// Why.
        error: String,
        /// Whether the calendar refused it for good, as far as one can tell.
        rejected: bool,
    },
    /// Not known: it stays in flight, to be read back after `after`.
    Unknown {
        /// How long to wait.
        after: Duration,
        /// Why.
        error: String,
        /// Whether the calendar refused it for good, as far as one can tell.
        rejected: bool,
    },
    /// Too many rejections: a dead letter; sent again only by a new revision or a person.
    Dead {
        /// Why.
        error: String,
        /// Whether it may have been applied all the same.
        unknown: bool,
    },
    /// The calendar holds a later revision than the database knows of (rule R7). Waits until every
    /// cursor has reached a log end that was asked for after this was first found; then the booking's
    /// revision continues above `revision`, and nothing is in flight any more.
    Ahead {
        /// The revision in the event's marker.
        revision: i64,
        /// How long to wait before looking again.
        after: Duration,
        /// For people.
        error: String,
    },
    /// A verification found all as it should be, or as the host has left it: what she deleted by hand
    /// stays booked, and her busy. The next one is `Record::verify_after`, if any.
    Verified,
    /// A verification could not be made: it stands as it is, until `Record::verify_after` from now.
    Unverified,
    /// A verification found that the calendar does not hold what was applied: forget that it
    /// does, so that the lane puts it right. `present` tells what it holds in fact.
    Differs {
        /// (revision, digest) of what is there; `None`: nothing.
        present: Option<(i64, Digest)>,
        /// Its ETag.
        etag: Option<String>,
        /// So many generations are behind: settled absent, or forgotten by the database. `present` is
        /// about the one after them.
        passed: i32,
    },
}

impl Finding {
    /// Whether it comes from reading back what was settled, with nothing in flight.
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Verified | Self::Unverified | Self::Differs { .. } => true,
            Self::Present { .. }
            | Self::Absent { .. }
            | Self::Gone
            | Self::NotApplied { .. }
            | Self::Unknown { .. }
            | Self::Ahead { .. }
            | Self::Dead { .. } => false,
        }
    }
}

/// A row of `external_calendar_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalEvent {
    /// Whose calendar.
    pub provider: ProviderId,
    /// The connection.
    pub connection: ConnectionId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// The event's name there.
    pub external_id: String,
    /// The booking's UID.
    pub uid: IcalUid,
    /// The UID that the calendar itself shows.
    pub provider_uid: Option<String>,
    /// `CREATED`, `UPDATED`, `CANCELLED` or `FAILED`.
    pub sync_status: String,
    /// How many times it had to be made anew.
    pub generation: i32,
    /// The revision acknowledged.
    pub applied_revision: i64,
    /// The ETag last seen, if nothing of the host's was in the event that an update would write over:
    /// else it is read before it is changed.
    pub etag: Option<String>,
    /// Its times.
    pub start: DateTime<Utc>,
    /// See `start`.
    pub end: DateTime<Utc>,
    /// Whether it makes its owner busy: a live booking does.
    pub is_busy: bool,
}

/// The revision of an event that stood before us: it carries no marker, and its content alone
/// tells whether it is what a booking shows.
pub const ADOPTED_REVISION: i64 = -1;

/// An event that the booking application has put into a calendar itself, and that no connection
/// has taken over yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyEvent {
    /// The row's id.
    pub row: Uuid,
    /// The event's name in its calendar; `local-…` where there never was one.
    pub external_id: String,
    /// The booking's UID, where it is known.
    pub uid: Option<IcalUid>,
    /// The booking, where it is known.
    pub booking: Option<BookingId>,
    /// Whether its event is gone already.
    pub is_cancelled: bool,
}

/// A row that a connection takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The row's id.
    pub row: Uuid,
    /// The booking's UID.
    pub uid: IcalUid,
    /// What the calendar holds; `None`: no event, so that one is made once the log asks for it.
    pub event: Option<AdoptedEvent>,
}

/// An event that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedEvent {
    /// Its name.
    pub external_id: String,
    /// Its ETag.
    pub etag: Option<String>,
    /// The UID that the calendar gives it.
    pub provider_uid: Option<String>,
    /// What it shows.
    pub digest: Digest,
    /// The revision in its marker, if it is ours already; else [`ADOPTED_REVISION`].
    pub revision: i64,
}

/// What became of a booking, for those who ask where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingStatus {
    /// Its UID.
    pub uid: IcalUid,
    /// Whose it is.
    pub provider: ProviderId,
    /// Its revision.
    pub revision: i64,
    /// Whether a calendar should show it.
    pub is_shown: bool,
    /// What it is owed on each connection that it ever was in, sorted by id.
    pub calendars: Vec<EffectStatus>,
}

/// Whether a call is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// None: the calendar has acknowledged what is wanted.
    Settled,
    /// One is.
    Due,
    /// One is, and nothing is sent on its connection before `adopt` was run.
    Unadopted,
    /// One is, and waits for a person or for the next revision: a dead letter.
    Dead,
}

impl Standing {
    /// Of a row of the outbox.
    pub fn of(is_due: bool, is_dead: bool, is_unadopted: bool) -> Self {
        match (is_due, is_dead, is_unadopted) {
            (_, true, _) => Self::Dead,
            (true, false, true) => Self::Unadopted,
            (true, false, false) => Self::Due,
            (false, false, _) => Self::Settled,
        }
    }
}

/// How far one connection is with one booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectStatus {
    /// The connection.
    pub connection: ConnectionId,
    /// Whose it is: not the booking's provider any more, once that has changed hands.
    pub provider: ProviderId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// Whether it is sent to.
    pub connection_state: ConnectionState,
    /// Whether the event should stand there.
    pub is_wanted: bool,
    /// Whether the calendar has acknowledged that it does.
    pub is_live: bool,
    /// The revision acknowledged last.
    pub applied_revision: Option<i64>,
    /// Whether a call is owed.
    pub standing: Standing,
    /// Attempts since the last success.
    pub attempts: i32,
    /// What the calendar said last, if it was no success.
    pub last_error: Option<String>,
}

/// How long a row of the outbox that cannot be read is left alone.
pub const UNREADABLE_DELAY: Duration = Duration::from_mins(15);

/// Tells of a row of the outbox that cannot be read, and is set aside.
pub(super) fn log_unreadable(uid: &str, error: &StoreError) {
    tracing::error!(
        booking.uid = uid,
        error_code = "row_unreadable",
        error = error as &dyn std::error::Error,
        "an effect cannot be read, and waits; the others go on"
    );
}

/// Some time of a budget: a pace that goes on by itself, and is used up to an hour, ahead of the clock
/// by some time at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The budget's name. It begins when it is first drawn from.
    pub budget: &'static str,
    /// How much is used.
    pub time: Duration,
    /// So far ahead of the clock it may be used at once. At least `time`.
    pub ahead_max: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// More than all of that together: what is used further ahead is a clock that was set back, and
    /// counts for nothing.
    pub believed_max: Duration,
}
