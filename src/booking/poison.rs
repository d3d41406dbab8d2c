//! Why a record can never become part of a booking: the class and reason of a dead letter (R4).

use std::fmt;

/// The kind of a dead letter. Operators filter and alert by its name; a released name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoisonClass {
    /// The bytes are no framing that we know, or not the Avro that they claim to be.
    Malformed,
    /// The writer's schema is not to be had; redrivable after an upgrade.
    UnknownSchema,
    /// The writer's schema cannot be resolved to ours.
    IncompatibleSchema,
    /// Well-formed Avro whose values break the contract (end before start, an unknown zone, …).
    Invalid,
    /// Longer than we accept.
    TooLarge,
    /// Its UID differs from the booking's first one.
    UidChanged,
    /// Its UID is another booking's.
    UidTaken,
    /// The same sequence as an earlier event, with other content.
    SequenceConflict,
    /// No sequence, and from another partition than the booking's: its order cannot be known (R6).
    MovedPartition,
    /// The database refuses its content.
    Refused,
}

impl PoisonClass {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::UnknownSchema,
        Self::IncompatibleSchema,
        Self::Invalid,
        Self::TooLarge,
        Self::UidChanged,
        Self::UidTaken,
        Self::SequenceConflict,
        Self::MovedPartition,
        Self::Refused,
    ];

    /// The name that operators see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSchema => "unknown_schema",
            Self::IncompatibleSchema => "incompatible_schema",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::UidChanged => "uid_changed",
            Self::UidTaken => "uid_taken",
            Self::SequenceConflict => "sequence_conflict",
            Self::MovedPartition => "moved_partition",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for PoisonClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A record that can never be read, and why. The reason names fields, never their contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {reason}")]
pub struct Poison {
    /// Its kind.
    pub class: PoisonClass,
    /// For the person who has to mend it.
    pub reason: String,
}

impl Poison {
    /// A dead letter's class and reason.
    pub fn new(class: PoisonClass, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into() }
    }
}
