//! What is stored before it is sent: the exact body, and the times that it says.
//!
//! The times stand beside the body, so that an acknowledgement that comes after the booking has
//! moved on is recorded with what was acknowledged, and the body need not be read again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A body, frozen, and the times that it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The event's first instant.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
    /// The exact body.
    pub body: String,
}

impl Frozen {
    /// The bytes that are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data always has a JSON form")
    }

    /// Reads what was stored; `None` for what we did not write.
    pub fn parse(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }
}
