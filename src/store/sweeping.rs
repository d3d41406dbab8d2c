//! The words of repair (rule R20): how far the sweep of a connection is, what it knows of the rows that
//! it comes by, and what it leaves for people.

use std::time::Duration;

use booking::{ConnectionId, Digest, IcalUid};
use chrono::{DateTime, Utc};

use super::LaneLease;

/// What a calendar shows otherwise than we left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftKind {
    /// The host has deleted the event, as far as the calendar tells.
    Deleted,
    /// The host has changed what we wrote.
    Edited,
    /// Our marker is not in the event that stands under our name.
    Unmarked,
    /// The event is gone, and nobody deleted it.
    Lost,
    /// An event with our marker under a name that we never gave: a copy, as a host makes one.
    Copy,
    /// An event of ours, by its name too, of a booking that the database does not know.
    Orphan,
    /// An event of ours under a name that is not its booking's any more, which could not be removed.
    Extra,
}

impl DriftKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Deleted,
        Self::Edited,
        Self::Unmarked,
        Self::Lost,
        Self::Copy,
        Self::Orphan,
        Self::Extra,
    ];

    /// The name in the database and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Edited => "edited",
            Self::Unmarked => "unmarked",
            Self::Lost => "lost",
            Self::Copy => "copy",
            Self::Orphan => "orphan",
            Self::Extra => "extra",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is about the event of a row: at most one such drift is kept for a row. The others are
    /// about an event beside it.
    pub fn is_of_a_row(self) -> bool {
        match self {
            Self::Deleted | Self::Edited | Self::Unmarked | Self::Lost => true,
            Self::Copy | Self::Orphan | Self::Extra => false,
        }
    }
}

/// SQL: the kinds of drift that are about a row's own event ([`DriftKind::is_of_a_row`]).
macro_rules! of_a_row {
    () => {
        "('deleted', 'edited', 'unmarked', 'lost')"
    };
}

pub(super) use of_a_row;

/// So many drifts of one connection are kept; what is beyond is no news, as it would be again and again.
pub const DRIFT_MAX: u32 = 1_000;

/// A verification that a sweep has asked for is the last one of its row: none follows from it.
pub const LAST_STAGE: i32 = 1_000;

/// How far the sweep of a connection is. The default: none was ever planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Whether its hour has come; `None`: it has no hour.
    pub is_due: Option<bool>,
    /// Where the calendar's changes were read to.
    pub since: Option<String>,
    /// So many sweeps in a row have read changes alone.
    pub partial: i32,
    /// What is under way.
    pub progress: Option<SweepProgress>,
    /// A person has seen to a halt: this sweep does not halt again.
    pub is_excused: bool,
    /// Why it waits for a person.
    pub halted: Option<String>,
}

/// A sweep under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepProgress {
    /// Whether it reads all that there is, not only what has changed.
    pub is_full: bool,
    /// Where to read on; `None`: at the first page.
    pub page: Option<String>,
    /// Pages that were dealt with.
    pub pages: i32,
    /// Events that it has removed.
    pub removals: i32,
    /// So many times in a row the page could not be read.
    pub failures: i32,
}

/// A step from one sweep to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepStep {
    /// Its hour is `after` from now, `None`: never. What is under way stays.
    Plan {
        /// How long to wait.
        after: Option<Duration>,
        /// What to tell people; `None` leaves what was told last.
        result: Option<String>,
    },
    /// The page could not be read: it is tried again.
    PutOff {
        /// How long to wait.
        after: Duration,
        /// What to tell people.
        result: String,
    },
    /// Begins anew. `full`: where the changes were read to is forgotten.
    Begin {
        /// Whether all is read.
        full: bool,
        /// What to tell people; `None` leaves what was told last.
        result: Option<String>,
    },
    /// All was read.
    End {
        /// Where the calendar's changes were read to.
        since: Option<String>,
        /// The next one is so much later.
        after: Duration,
        /// Whether what was known as drift is verified too.
        verify_drift: bool,
        /// What to tell people.
        result: String,
    },
    /// It waits for a person. What it has read is forgotten.
    Halt {
        /// Why.
        reason: String,
    },
}

/// A row of the outbox, as a sweep has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptRow {
    /// The booking.
    pub uid: IcalUid,
    /// The generation of its event.
    pub generation: i32,
    /// The name of an event that stood before us: that of generation 0.
    pub adopted_id: Option<String>,
    /// What the calendar calls the event of this generation.
    pub server_id: Option<String>,
    /// What the calendar has acknowledged.
    pub applied: Option<(i64, Digest)>,
    /// Whether an event is wanted.
    pub is_wanted: bool,
    /// Whether its event has ended: then nothing of it matters any more.
    pub has_ended: bool,
    /// What is known to be otherwise with its event.
    pub drift: Option<DriftKind>,
}

impl SweptRow {
    /// Whether its event is one that stood before us, under a name that we have not given.
    pub fn stood_before_us(&self) -> bool {
        self.adopted_id.is_some() && self.generation == 0
    }
}

/// What one page of a listing says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptPage {
    /// Rows whose event was seen under its name.
    pub seen: Vec<IcalUid>,
    /// Rows whose event is to be read by its name.
    pub verify: Vec<IcalUid>,
    /// Rows whose event was told to be deleted.
    pub gone: Vec<IcalUid>,
    /// Events beside those of the rows.
    pub found: Vec<FoundDrift>,
    /// Names under which nothing stands any more beside the rows' events.
    pub vanished: Vec<String>,
    /// How many of them were removed by the sweep.
    pub removals: i32,
    /// Where to read on; `None`: this was the last page, and it is read again if nothing follows.
    pub next: Option<String>,
}

/// An event beside those of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDrift {
    /// Its name in the calendar.
    pub external_id: String,
    /// The booking that its marker names, if it can be told.
    pub uid: Option<IcalUid>,
    /// What it is.
    pub kind: DriftKind,
}

/// What a calendar is known to hold of events that have not ended, and what of them a sweep did not
/// find. What is known to be deleted counts in neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Live events that we know of.
    pub known: u64,
    /// Those that are not there.
    pub missing: u64,
}

/// What a verification says of a row's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftNote {
    /// The lane that holds the row.
    pub lane: LaneLease,
    /// The row.
    pub uid: IcalUid,
    /// The event's name.
    pub external_id: String,
    /// What is otherwise; `None`: nothing.
    pub kind: Option<DriftKind>,
}

/// Something otherwise than we left it, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// In whose calendar.
    pub connection: ConnectionId,
    /// The event's name there.
    pub external_id: String,
    /// The booking, if it is known.
    pub uid: Option<IcalUid>,
    /// What it is.
    pub kind: DriftKind,
    /// Since when it is known.
    pub since: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_and_the_words_agree_on_what_is_about_a_row() {
        let of_a_row = DriftKind::ALL.into_iter().filter(|kind| kind.is_of_a_row());
        let names: Vec<String> = of_a_row.map(|kind| format!("'{}'", kind.name())).collect();
        assert_eq!(of_a_row!(), format!("({})", names.join(", ")));
    }
}
