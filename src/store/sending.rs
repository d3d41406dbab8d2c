//! The words of sending: what a lane is, what it owes, and what became of a call.

use booking::{BookingId, CalendarKind, ConnectionId, Content, Digest, IcalUid, ProviderId, Verb};
use chrono::{DateTime, Utc};
use uuid::Uuid;

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
pub(super) fn backlog_share(limit: u32) -> u32 {
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
    /// The ETag last seen.
    pub etag: Option<String>,
    /// What was sent and is not settled.
    pub in_flight: Option<InFlight>,
    /// Attempts since the last success: what backoff counts.
    pub attempts: i32,
    /// Rejections since the desired state last changed: what a dead letter counts.
    pub rejections: i32,
    /// An open attempt is to be verified by now (rule R14).
    pub verify: Option<Verify>,
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
    pub verify_after: Option<std::time::Duration>,
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
        after: std::time::Duration,
        /// Why.
        error: String,
        /// Whether the calendar refused it for good, as far as one can tell.
        rejected: bool,
    },
    /// Not known: it stays in flight, to be read back after `after`.
    Unknown {
        /// How long to wait.
        after: std::time::Duration,
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
        after: std::time::Duration,
        /// For people.
        error: String,
    },
    /// A verification found all as it should be. The next one is `Record::verify_after`, if any.
    Verified,
    /// A verification found that the calendar does not hold what was applied: forget that it
    /// does, so that the lane puts it right. `present` tells what it holds in fact.
    Differs {
        /// (revision, digest) of what is there; `None`: nothing.
        present: Option<(i64, Digest)>,
        /// Its ETag.
        etag: Option<String>,
        /// Whether this generation is settled absent, and a new one is to be opened.
        gone: bool,
    },
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
    /// The ETag last seen.
    pub etag: Option<String>,
    /// Its times.
    pub start: DateTime<Utc>,
    /// See `start`.
    pub end: DateTime<Utc>,
    /// Whether it makes its owner busy: a live booking does.
    pub is_busy: bool,
}
