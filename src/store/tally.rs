//! The words of counting: what is owed, and what waits for people, all in all.

use std::time::Duration;

use booking::CalendarKind;
use chrono::{DateTime, Utc};

use super::ConnectionState;

/// Rows are counted up to here; more is as bad.
pub const TALLY_MAX: u32 = 100_000;

/// What is owed, and what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// What each kind of calendar is owed: of all kinds, in the order of [`CalendarKind::ALL`].
    pub owing: Vec<Owing>,
    /// How many connections there are of each kind and state of which there are any, sorted by their
    /// names. `None`: a word of a newer version, which this one does not know.
    pub connections: Vec<(Option<CalendarKind>, Option<ConnectionState>, i64)>,
    /// How many dead letters are open of each class of which there are any, sorted by its name; up to
    /// [`TALLY_MAX`] in all.
    pub letters: Vec<(String, i64)>,
    /// When all this was counted, by the store's clock.
    pub counted_at: DateTime<Utc>,
}

/// What is owed to calendars of one kind that are not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owing {
    /// The kind.
    pub kind: CalendarKind,
    /// Effects that are due, whether or not their hour has come; up to [`TALLY_MAX`].
    pub pending: i64,
    /// Those of them that are sent: whose connection the gate lets through, and waits for no person (as a
    /// parked one does, and one whose removal is stuck) and for no `adopt`. Up to [`TALLY_MAX`].
    pub sent: i64,
    /// For how long the oldest of those that are sent has been owed. Since the event was published that asked for it, or, of
    /// what none has asked for, since it could be sent. Zero: there is none. Of more than [`TALLY_MAX`], as many
    /// are looked at, whichever come first: then there may be an older one.
    pub oldest: Duration,
    /// Events that are to be verified: a call about them may still take effect. Up to [`TALLY_MAX`] of
    /// those that owe nothing, and of the others.
    pub open: i64,
}

/// The connections to the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Open, and used by nobody.
    pub idle: u32,
    /// In use.
    pub used: u32,
    /// How many there may be.
    pub max: u32,
}
