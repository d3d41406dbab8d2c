//! The service broken on purpose, one way at a time: a harness that cannot see these is blind.

use clap::ValueEnum;

use crate::store::Broken;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Variant {
    /// Nothing.
    Whole,
    /// Any owner may write a cursor.
    NoOwnerEpoch,
    /// Any holder may write a row.
    NoToken,
    /// Updates carry no condition.
    NoIfMatch,
    /// Every create makes an event of its own, as if the calendar chose the name.
    UnnamedCreates,
    /// A call without an answer counts as not applied.
    UnknownTakenForFailed,
    /// A call without an answer counts as applied.
    UnknownTakenForApplied,
    /// Kafka's offset is the cursor, and is committed before the database.
    OffsetCommittedBeforeTheDatabase,
    /// Nothing but event ids tells a repeat.
    DedupeByEventIdAlone,
    /// One 404 without more opens a new generation.
    ANewGenerationOnOneBare404,
    /// Deletes carry no condition.
    DeleteWithoutCondition,
    /// What the flags do not let through is not planned.
    FlagsGatedAtPlanning,
    /// A row that is settled is deleted.
    RowsDeletedAtRecord,
    /// A copy that the host made in Graph is taken for the event that it is one of.
    CopiesTakenForOurs,
    /// What a listing does not show is gone, and is not read.
    AListingTakenForTheTruth,
    /// A sweep removes whatever carries our marker.
    SweepRemovesCopies,
    /// An update does not look at what the host has noted.
    NotesWrittenOver,
}

impl Variant {
    /// All that are broken.
    pub fn broken() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied().filter(|variant| *variant != Self::Whole)
    }

    /// What of it is the database's.
    pub fn store(self) -> Broken {
        Broken {
            no_owner_epoch: self == Self::NoOwnerEpoch,
            no_token: self == Self::NoToken,
            rows_deleted_at_record: self == Self::RowsDeletedAtRecord,
            missing_taken_for_gone: self == Self::AListingTakenForTheTruth,
        }
    }
}
