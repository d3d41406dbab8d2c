//! A fact from the log, parsed: nothing in here can be half there.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::vocabulary::{BookingId, EventId, IcalUid, ProviderId};

/// One event of one booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingEvent {
    /// The producer's name for this fact; a repeat has the same.
    pub id: EventId,
    /// The booking it is about.
    pub booking: BookingId,
    /// The booking's UID: the event's own, or the one derived from the booking id.
    pub uid: IcalUid,
    /// Whose booking it is.
    pub provider: ProviderId,
    /// The booking's own version, where its producer counts one.
    pub sequence: Option<i64>,
    /// When it happened, by the producer's clock. Never used for ordering.
    pub occurred_at: DateTime<Utc>,
    /// What happened.
    pub change: Change,
}

/// What happened to a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `BookingCreated`: the whole booking, new or rebooked.
    Created(Details),
    /// `BookingUpdated`: the whole booking as it is now.
    Updated(Details),
    /// `BookingCancelled`.
    Cancelled {
        /// The producer's words for why, if it gave any.
        reason: Option<String>,
    },
}

impl Change {
    /// The record's name in the contract.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "BookingCreated",
            Self::Updated(_) => "BookingUpdated",
            Self::Cancelled { .. } => "BookingCancelled",
        }
    }
}

/// A whole booking, as Created and Updated carry it. `end` is after `start`, texts have no NUL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// How far along the booking is.
    pub status: Status,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
    /// The IANA zone in which people speak of it.
    pub zone: Tz,
    /// What was booked.
    pub service_name: String,
    /// The booking application's own title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Where it takes place.
    pub location: Option<String>,
    /// Internal notes: shown in a calendar only if a template asks for them.
    pub notes: Option<String>,
    /// The customer's name: shown only if a template asks for it.
    pub customer_name: Option<String>,
    /// The customer's address: shown only if a template asks for it.
    pub customer_email: Option<String>,
}

/// How far along a booking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Asked for, not confirmed: not put in a calendar unless configured as tentative.
    Pending,
    /// It stands.
    Confirmed,
    /// It took place; the calendar keeps it.
    Completed,
    /// The customer did not come; the calendar keeps it.
    NoShow,
}

impl Status {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Completed => "COMPLETED",
            Self::NoShow => "NO_SHOW",
        }
    }

    /// Reads the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "PENDING" => Some(Self::Pending),
            "CONFIRMED" => Some(Self::Confirmed),
            "COMPLETED" => Some(Self::Completed),
            "NO_SHOW" => Some(Self::NoShow),
            _ => None,
        }
    }
}
