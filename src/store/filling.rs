//! The words of filling: how far a connection is with the bookings that were there before it.

use chrono::{DateTime, Utc};

/// How far a connection is filled with the bookings that were there before it was the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// When it was made the destination.
    pub since: DateTime<Utc>,
    /// How many became due then.
    pub total: i64,
    /// How many of them are due still. What an event has asked for since is none of them.
    pub left: i64,
}

/// How much is left to fill, all in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fills {
    /// Connections that are not filled yet.
    pub connections: i64,
    /// Events that they lack.
    pub left: i64,
}
