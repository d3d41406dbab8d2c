//! How often calendars are asked.

use super::reader::Reader;
use super::table::{Key, number};

/// How often each kind of calendar is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Google.
    pub google: PerMinute,
    /// Microsoft Graph.
    pub microsoft: PerMinute,
    /// CalDAV.
    pub caldav: PerMinute,
}

/// Requests in a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerMinute {
    /// By one connection.
    pub connection: u32,
    /// By all of them, in all processes.
    pub application: u32,
}

impl LimitSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut limit = |connection, application| PerMinute {
            connection: reader.number32(connection),
            application: reader.number32(application),
        };
        Self {
            google: limit("limits.google_per_connection", "limits.google_per_application"),
            microsoft: limit("limits.microsoft_per_connection", "limits.microsoft_per_application"),
            caldav: limit("limits.caldav_per_connection", "limits.caldav_per_application"),
        }
    }
}

/// The settings.
pub(super) const LIMITS: &[Key] = &[
    number(
        "limits.google_per_connection",
        (0, 1_000_000),
        "600",
        "What one Google calendar is asked in a minute, in Google's quota units; 0: no limit. Google \
         allows 600 for each user of a project.",
    ),
    number(
        "limits.google_per_application",
        (0, 10_000_000),
        "10000",
        "What all of Google is asked in a minute, by all processes together. Google allows a project \
         10000.",
    ),
    number(
        "limits.microsoft_per_connection",
        (0, 1_000_000),
        "1000",
        "What one Microsoft mailbox is asked in a minute; 0: no limit. Microsoft allows 10000 in ten \
         minutes, and 4 calls at once.",
    ),
    number(
        "limits.microsoft_per_application",
        (0, 10_000_000),
        "0",
        "What all of Microsoft Graph is asked in a minute, by all processes together.",
    ),
    number(
        "limits.caldav_per_connection",
        (0, 1_000_000),
        "600",
        "What one CalDAV calendar is asked in a minute; 0: no limit.",
    ),
    number(
        "limits.caldav_per_application",
        (0, 10_000_000),
        "0",
        "What all CalDAV servers together are asked in a minute.",
    ),
];
