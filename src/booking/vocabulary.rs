//! The ids of the domain, each a type of its own, parsed once at the border.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Longer than we store.
    #[error("it has {len} bytes, and {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A character outside visible ASCII: it would not survive every calendar and every log line.
    #[error("it has a character that is not visible ASCII")]
    NotGraphic,
}

fn graphic(text: &str, max: usize) -> Result<String, IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        len if len > max => Err(IdError::TooLong { len, max }),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(IdError::NotGraphic),
        _ => Ok(text.to_owned()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The longest that we accept, in bytes.
            pub const LEN_MAX: usize = $max;

            /// Reads an id: 1 to [`Self::LEN_MAX`] visible ASCII characters.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                graphic(text, Self::LEN_MAX).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// The booking application's own id of a booking; also the record key on the topic.
    BookingId,
    200
);
text_id!(
    /// The iCalendar UID of a booking (RFC 5545 §3.8.4.7): its name in every calendar, for ever.
    /// Depends on nothing that can change (rule R5).
    IcalUid,
    255
);
uuid_id!(
    /// One fact on the log, as its producer named it.
    EventId
);
uuid_id!(
    /// Whose calendar a booking belongs in.
    ProviderId
);
uuid_id!(
    /// A provider's authorised calendar account, and one calendar in it (rules R11 and R17).
    ConnectionId
);

impl IcalUid {
    /// The UID of a booking whose producer gives none: `booking-{booking_id}@{domain}`.
    pub fn of_booking(booking: &BookingId, domain: &str) -> Result<Self, IdError> {
        Self::parse(&format!("booking-{booking}@{domain}"))
    }
}

/// Where in the log a record stands. Offsets compare within one partition of one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Counts how often an operator accepted another log in this partition, from 0. Those of
    /// different partitions do not compare.
    pub incarnation: i32,
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

impl Position {
    /// Whether both stand in one sequence of records, so that their offsets compare.
    pub fn comparable(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.partition == other.partition
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// A kind of calendar; its name stands in `external_calendar_events.calendar_provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalendarKind {
    /// Google Calendar.
    Google,
    /// Microsoft 365, through Graph.
    Microsoft,
    /// Any CalDAV server.
    Caldav,
}

impl CalendarKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Google, Self::Microsoft, Self::Caldav];

    /// The name in the database, the settings and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Caldav => "caldav",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for CalendarKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done to an external event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Make it, under a name that is new.
    Create,
    /// Change it in place.
    Update,
    /// Remove it.
    Delete,
}

impl Verb {
    /// The name in the database and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete].into_iter().find(|verb| verb.name() == name)
    }
}
