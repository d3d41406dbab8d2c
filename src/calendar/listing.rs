//! What a calendar tells of all of our events in it, page by page (rule R20).

use booking::Marker;

use super::Answer;

/// Which page of a calendar's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing<'a> {
    /// Only what has changed since then; `None`: all that there is.
    pub since: Option<&'a str>,
    /// Where to read on; `None`: at the first page.
    pub page: Option<&'a str>,
}

/// What a calendar answers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A page.
    Page(Page),
    /// It does not know any more since when, or where to read on: all has to be read, from the first
    /// page.
    Expired {
        /// What it said.
        message: String,
    },
    /// This adapter cannot list events.
    Unsupported,
    /// The calendar itself is not there.
    CalendarGone {
        /// What it said.
        message: String,
    },
    /// It could not be read.
    Failed(Answer),
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Live events that carry our marker, of this connection.
    pub events: Vec<ListedEvent>,
    /// Names under which no event of ours stands any more, whoever's they were: it was deleted; or, where
    /// only changes are told, it does not carry our marker.
    pub deleted: Vec<String>,
    /// What follows.
    pub next: Next,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another one.
    Page(String),
    /// None.
    End {
        /// Since when to ask the next time; `None`: only all can be asked for.
        since: Option<String>,
    },
}

/// An event that carries our marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEvent {
    /// What the calendar calls it.
    pub id: String,
    /// The name that it was given, if it tells: the same as `id` but where the calendar makes its
    /// ids itself.
    pub given: Option<String>,
    /// Its marker.
    pub marker: Marker,
    /// Its strong ETag, if it has one.
    pub etag: Option<String>,
    /// Whether it shows something else than its marker says; `None`: that cannot be told.
    pub differs: Option<bool>,
}
