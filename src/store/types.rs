//! The words of the [`Store`](super::Store): plain data, no behaviour to speak of. Those of sending
//! stand in [`super::sending`].

use std::time::Duration;

use booking::{
    Booking, CalendarKind, ConnectionId, EventId, IcalUid, PoisonClass, Position, ProviderId,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Fill, NewEffect};

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The id that connection names derive from.
    pub id: Uuid,
    /// When the database was first opened.
    pub installed_at: DateTime<Utc>,
}

/// Whether a fenced write took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fenced {
    /// The fence was ours, and it was written.
    Written,
    /// Somebody else's by now: nothing was written.
    Refused,
}

/// The fence of a partition's cursor: whoever holds the latest may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Rises with every owner.
    pub epoch: i64,
    /// The owner's own random name.
    pub token: Uuid,
}

/// How far a partition was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The present owner.
    pub fence: Fence,
    /// The next offset to read; `None` until the start has been decided.
    pub next_offset: Option<i64>,
    /// Up to here the log holds nothing at `next_offset` or above that is ever delivered: markers of
    /// transactions, aborted records. The witness stays that of the record below `next_offset`.
    pub passed_to: Option<i64>,
    /// The record at `next_offset - 1`, if it was read by us.
    pub witness: Option<Witness>,
    /// The topic's id, as Kafka gave it.
    pub topic_id: Option<String>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The log end last seen.
    pub log_end: Option<i64>,
    /// Counts the accepted recreations of this partition's log.
    pub incarnation: i32,
    /// Up to here the log is read as by a database that lost its tail (rule R18); `i64::MAX`: up to
    /// the log end of the moment in which it is read on.
    pub recover_until: Option<i64>,
    /// Why nobody reads on, if so.
    pub stop: Option<Stop>,
    /// When the row was last written.
    pub updated_at: DateTime<Utc>,
}

impl Cursor {
    /// How far the log is dealt with: what was read, and what is never delivered after it.
    pub fn position(&self) -> Option<i64> {
        let next = self.next_offset?;
        Some(self.passed_to.map_or(next, |passed| passed.max(next)))
    }

    /// What [`Store::note_log`](super::Store::note_log) has stored of `facts`.
    pub fn note(&mut self, facts: LogFacts) {
        // As in an UPDATE, this sees the offset as it was.
        if let Some(Passed { from, to }) = facts.passed
            && self.next_offset == Some(from)
        {
            self.passed_to = self.passed_to.max(Some(to));
        }
        if facts.recover {
            let known = self.recover_until.filter(|until| *until != i64::MAX);
            self.recover_until = facts.log_end.map(|end| known.map_or(end, |it| it.max(end)));
        }
        self.next_offset = self.next_offset.or(facts.start);
        self.topic_id = facts.topic_id.or(self.topic_id.take());
        self.cluster_id = facts.cluster_id.or(self.cluster_id.take());
        self.log_end = facts.log_end.or(self.log_end);
    }
}

/// What a record was, to know it again (rule R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The record's timestamp, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// CRC-32 over its key and value.
    pub checksum: i64,
}

/// What the consumer knows of the log; a field that is `None` leaves what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFacts {
    /// Where to begin, for a cursor that has no offset yet.
    pub start: Option<i64>,
    /// The topic's id.
    pub topic_id: Option<String>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The log end, as a broker has just answered.
    pub log_end: Option<i64>,
    /// How long ago it was asked for.
    pub log_end_age: Duration,
    /// What was passed without a record.
    pub passed: Option<Passed>,
    /// The database has lost its tail: recover up to `log_end`, which must be given (rule R18).
    pub recover: bool,
}

/// Rule R18: what a database has lost besides its cursors' tails are stamps: calls that were made
/// and that it does not know of. So what owes something, or was changed within this time, is looked
/// at. The loss is noticed within a minute of a worker's running.
pub const LOST_STAMPS_WITHIN: Duration = Duration::from_hours(1);

/// A topic of which no cursor was touched for so long, while one of another topic was, is not read
/// any more: nothing waits for it.
pub const TOPIC_LEFT_AFTER: Duration = Duration::from_hours(1);

/// Offsets of which none is ever delivered, as Kafka's client has passed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The cursor's next offset. A cursor that stands elsewhere has passed nothing.
    pub from: i64,
    /// The first offset that is not passed.
    pub to: i64,
}

/// Why a partition is stopped, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// A short name: `truncated`, `recreated`, `lost_range`, `replaced`.
    pub kind: String,
    /// Exactly what was found.
    pub found: String,
}

/// What an operator decided about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Read on at `at`, in a log that is not the one that was read before: positions of before
    /// do not compare (the incarnation rises), the witness and the topic id are forgotten.
    Accept {
        /// The next offset to read; `None` keeps the stored one.
        at: Option<i64>,
    },
    /// Set the cursor, in the same log. Records below what a booking has seen do nothing.
    Set {
        /// The next offset to read.
        at: i64,
    },
}

/// What folding starts from.
#[derive(Debug, Clone, Default)]
pub struct States {
    /// The bookings found under an id or a UID, each once, in no particular order.
    pub bookings: Vec<StoredBooking>,
    /// The providers asked for and their destinations; `None`: no connection yet.
    pub destinations: Vec<(ProviderId, Option<ConnectionId>)>,
    /// Which of the UIDs have an event that was adopted, and where it stands: a booking that was
    /// never placed is placed there.
    pub adopted: Vec<(IcalUid, ConnectionId)>,
}

/// A booking as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBooking {
    /// Its state.
    pub booking: Booking,
    /// In whose calendar its event is, or is to be.
    pub placed: Option<ConnectionId>,
    /// Counts the writes of this row, from 1; 0: not stored yet.
    pub version: i64,
}

/// All that one batch of records does to the database.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The partition's advance; `None` when a dead letter is redriven.
    pub advance: Option<Advance>,
    /// The bookings that changed, `version` being the one that they were read at. Each once.
    pub bookings: Vec<StoredBooking>,
    /// The bookings that were read and did not change, and the versions that they were read at: that
    /// they need no change holds only of these. A database that fell back since has others.
    pub unchanged: Vec<(IcalUid, i64)>,
    /// The destinations that the plan was made from.
    pub destinations: Vec<(ProviderId, Option<ConnectionId>)>,
    /// What is owed now. At most one for each (UID, connection); the last wins.
    pub effects: Vec<NewEffect>,
    /// What became of each event.
    pub journal: Vec<JournalEntry>,
    /// What could not be understood.
    pub dead_letters: Vec<NewDeadLetter>,
}

/// A cursor's step from `from` to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Whose cursor.
    pub fence: Fence,
    /// The offset where the batch begins: the cursor must stand here.
    pub from: i64,
    /// The offset after its last record.
    pub to: i64,
    /// Its last record.
    pub witness: Witness,
    /// The log end, if known.
    pub log_end: Option<i64>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// All of it is stored.
    Done,
    /// The cursor is somebody else's.
    Foreign,
    /// The cursor is ours and stands elsewhere (at `to`: this commit had succeeded before).
    Elsewhere {
        /// Where it stands.
        next_offset: Option<i64>,
    },
    /// A booking or a destination changed since it was read: read again, fold again.
    Stale,
    /// The database refuses the content (SQLSTATE classes 22 and 23): bisect.
    Refused {
        /// What it says.
        detail: String,
    },
}

/// What became of one event, for those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The topic.
    pub topic: String,
    /// Where the record stands.
    pub position: Position,
    /// The event.
    pub event: EventId,
    /// The booking.
    pub uid: IcalUid,
    /// `BookingCreated`, ….
    pub kind: &'static str,
    /// [`booking::Decision::name`].
    pub decision: &'static str,
    /// The booking's revision afterwards.
    pub revision: i64,
}

/// Where a dead letter comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A record, kept whole.
    Record(DeadRecord),
    /// An effect that can never succeed.
    Effect {
        /// The booking.
        uid: IcalUid,
        /// The connection.
        connection: ConnectionId,
    },
}

/// A record, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRecord {
    /// The topic.
    pub topic: String,
    /// Where it stands.
    pub position: Position,
    /// Its timestamp, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record that could not be understood, to be stored with the batch that passes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Its kind.
    pub class: PoisonClass,
    /// For the person who has to mend it.
    pub reason: String,
    /// The record.
    pub record: DeadRecord,
}

/// The class name of an effect that is dead.
pub const EFFECT_REJECTED: &str = "effect_rejected";

/// A stored dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Rises with time.
    pub id: i64,
    /// [`PoisonClass::name`], or [`EFFECT_REJECTED`].
    pub class: String,
    /// For the person who has to mend it.
    pub reason: String,
    /// The whole of it.
    pub origin: Origin,
    /// Whether it still waits for somebody.
    pub state: DeadState,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadState {
    /// It waits.
    Open,
    /// Sent again, with success.
    Redriven,
    /// Given up.
    Discarded,
}

impl DeadState {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }

    /// Reads the name in the database.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Redriven, Self::Discarded].into_iter().find(|s| s.name() == name)
    }
}

/// A connection, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub provider: ProviderId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// The account.
    pub subject: String,
    /// The calendar.
    pub calendar: String,
    /// The API's address.
    pub base_url: String,
    /// Sealed credentials; empty once a removal is complete.
    pub sealed: Vec<u8>,
    /// Active, parked or being removed.
    pub state: ConnectionState,
    /// Why it is parked.
    pub parked_reason: Option<String>,
    /// So many times in a row its access could not be renewed, and is tried again by itself.
    pub renewal_failures: i32,
    /// Why, the last time.
    pub renewal_error: Option<String>,
    /// Whether its provider's bookings go to it.
    pub destination: bool,
    /// Why its sweep waits for a person (rule R20).
    pub halted: Option<String>,
}

/// A connection with its counts: all of its effects are read for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedConnection {
    /// The connection.
    pub connection: ConnectionRow,
    /// Effects that are due on it.
    pub pending: i64,
    /// Live events that it is known to hold.
    pub live: i64,
    /// What is otherwise in its calendar than we left it.
    pub drift: i64,
    /// What came of its last sweep.
    pub swept: Option<String>,
    /// Why something that is due on it has not gone through: of what waits longest for its next try.
    pub last_error: Option<String>,
    /// How far it is filled; `None`: there was nothing to fill it with.
    pub fill: Option<Fill>,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is sent to.
    Active,
    /// It waits for a person.
    Parked,
    /// Its events are being withdrawn; then its credentials go.
    Removing,
    /// Gone; its mapping stays for as long as an event may stand.
    Removed,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Parked, Self::Removing, Self::Removed];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Parked => "parked",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A moment `after` this one, both in microseconds; the end of time if there is none.
pub fn later(now: i64, after: Duration) -> i64 {
    now.saturating_add(i64::try_from(after.as_micros()).unwrap_or(i64::MAX))
}

/// A moment `before` this one, likewise.
pub fn earlier(now: i64, before: Duration) -> i64 {
    now.saturating_sub(i64::try_from(before.as_micros()).unwrap_or(i64::MAX))
}
