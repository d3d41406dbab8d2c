//! Adding a connection, or renewing one.

use booking::{CalendarKind, ConnectionId, ProviderId};
use chrono::{DateTime, Utc};

use super::ConnectionState;

/// A connection to be stored. Its credentials are sealed already: the store never sees a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConnection {
    /// Derived from what cannot change (rule R17).
    pub id: ConnectionId,
    /// Whose it is.
    pub provider: ProviderId,
    /// What kind of calendar.
    pub kind: CalendarKind,
    /// The immutable subject of the account.
    pub subject: String,
    /// The calendar: a collection URL, or a calendar id.
    pub calendar: String,
    /// The API's address.
    pub base_url: String,
    /// Sealed credentials.
    pub sealed: Vec<u8>,
    /// Take the provider's bookings from now on, even if another connection does so far.
    pub make_destination: bool,
    /// Whether one that was removed, or is being removed, is brought back.
    pub revives: bool,
    /// Upcoming bookings that end at or after this become due (rule R21).
    pub horizon: DateTime<Utc>,
}

/// What adding a connection did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutConnection {
    /// Nothing was written: it is removed, or being removed, and was not to be brought back.
    pub removed: bool,
    /// `false`: it was there, and its credentials are renewed.
    pub created: bool,
    /// Whether it is its provider's destination now.
    pub destination: bool,
    /// How many bookings became due on it.
    pub bookings_due: u64,
}

impl PutConnection {
    /// What a removal meanwhile leaves undone.
    pub const REMOVED: Self =
        Self { removed: true, created: false, destination: false, bookings_due: 0 };
}

impl NewConnection {
    /// Whether it stays removed, if that is its state.
    pub fn is_refused_by(&self, state: Option<ConnectionState>) -> bool {
        match state {
            Some(ConnectionState::Removing | ConnectionState::Removed) => !self.revives,
            Some(ConnectionState::Active | ConnectionState::Parked) | None => false,
        }
    }
}
