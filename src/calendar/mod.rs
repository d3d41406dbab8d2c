//! Calendars, and the only HTTP client: one adapter for each kind, all of one shape.
//!
//! An adapter names an external event, writes its body, makes one call and tells what was
//! answered. It decides nothing: what an answer means is [`crate::emit::outcome`]'s to say, and
//! it knows neither the store nor Kafka.

pub mod http;

pub mod ical;

pub mod zone;

pub mod listing;

pub mod discovery;

pub mod caldav;

pub mod google;

pub mod microsoft;

pub use listing::{Listed, ListedEvent, Listing, Next, Page};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker, Verb};
use secrecy::SecretString;

/// What proves that we may write to a calendar.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// RFC 7617.
    Basic {
        /// The account.
        username: String,
        /// Its (app) password.
        password: SecretString,
    },
    /// RFC 6750.
    Bearer {
        /// The access token.
        token: SecretString,
    },
}

/// One calendar of one account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The connection: part of every name that we give (rule R11).
    pub connection: ConnectionId,
    /// The API's address, as what stands before `/calendars/…`: for Graph it ends in `/me`, or in
    /// `/users/` and the user's id; unused by CalDAV.
    pub base_url: String,
    /// The calendar: Google's or Graph's calendar id, or the URL of a CalDAV collection.
    pub calendar: String,
    /// What proves that we may.
    pub credentials: Credentials,
}

/// How an external event is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The name that we gave it, from [`Calendar::external_id`]; or that of an event which stood
    /// before us.
    pub given: &'a str,
    /// The id under which the calendar keeps it, where the calendar makes its ids itself and has told
    /// this one: a shorter way to the event than its name.
    pub server_id: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// A name, with no id known.
    pub fn given(given: &'a str) -> Self {
        Self { given, server_id: None }
    }
}

/// Under which condition a call may take effect (rule R11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Only if nothing has that name yet.
    New,
    /// Only if it still has this ETag.
    Match(String),
    /// Nothing to compare with: the server gives no strong ETag.
    Unconditional,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// What it does.
    pub verb: Verb,
    /// The external event.
    pub name: Name<'a>,
    /// When it may take effect.
    pub condition: Condition,
    /// The exact bytes, from [`Calendar::body`]; empty for a delete.
    pub body: &'a [u8],
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer, whole and within its bounds.
    Status {
        /// The status code.
        status: u16,
        /// The provider's own word for it: Google's `errors[0].reason`, a DAV precondition's name.
        reason: Option<String>,
        /// `Retry-After`, seconds or a date, as time from now.
        retry_after: Option<Duration>,
        /// The event's ETag, if the answer gives a strong one.
        etag: Option<String>,
        /// The UID that the calendar itself gives the event (L3).
        provider_uid: Option<String>,
        /// The event's id, where the calendar makes its ids itself (L14).
        server_id: Option<String>,
        /// A short text for people: never a body's content, never a token.
        message: String,
    },
    /// No answer, or half of one.
    Lost {
        /// `false` only where it is certain that no byte reached the calendar (refused
        /// connection, unknown host).
        sent: bool,
        /// What happened.
        message: String,
    },
}

/// What a calendar holds under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A live event.
    Live {
        /// Our marker in it, if it is there and whole.
        marker: Option<Marker>,
        /// Its strong ETag, if it has one.
        etag: Option<String>,
        /// The UID that the calendar itself gives it.
        provider_uid: Option<String>,
        /// Its id, where the calendar makes its ids itself.
        server_id: Option<String>,
    },
    /// A deleted event that the calendar remembers (Google's `cancelled`, or 410).
    Tombstone,
    /// Nothing: an explicit 404 for the event, while the calendar itself answers (L24).
    Absent,
    /// The calendar itself is not there.
    CalendarGone {
        /// What it said.
        message: String,
    },
    /// It could not be read.
    Failed(Answer),
}

/// A kind of calendar, opened on one account.
#[async_trait]
pub trait Calendar: Send + Sync + 'static {
    /// Its kind.
    fn kind(&self) -> CalendarKind;

    /// The name of a booking's event in this calendar: chosen by us, derived from what cannot
    /// change, and with the word `booking` in it where it is the event's id too. CalDAV ignores the
    /// generation: one href for ever.
    fn external_id(&self, uid: &IcalUid, generation: i32) -> String;

    /// The body of an event: the same bytes for the same arguments. `external_id` is its name.
    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8>;

    /// Makes one call, within the time-out of the client.
    async fn send(&self, call: &Call<'_>) -> Answer;

    /// Reads one event.
    async fn read(&self, name: Name<'_>) -> Reading;

    /// Reads an event that we did not write. Without a content it is taken for another one than
    /// any booking shows.
    async fn inspect(&self, name: Name<'_>) -> Inspected {
        Inspected { reading: self.read(name).await, content: None }
    }

    /// Whether [`Calendar::inspect`] tells what an event shows: then one without a content shows
    /// something that we do not write.
    fn tells_content(&self) -> bool {
        false
    }

    /// Lists our events: one page a call, in at most [`http::READ_CALLS_MAX`] requests.
    async fn list(&self, listing: Listing<'_>) -> Listed {
        let Listing { since: _, page: _ } = listing;
        Listed::Unsupported
    }
}

/// An event that we did not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What there is.
    pub reading: Reading,
    /// What it shows, if it is one that we could have written.
    pub content: Option<Content>,
}

/// Opens the adapter of a kind on an account.
pub fn open(kind: CalendarKind, account: Account, http: &http::Http) -> Arc<dyn Calendar> {
    match kind {
        CalendarKind::Google => Arc::new(google::Google::new(account, http.clone())),
        CalendarKind::Caldav => Arc::new(caldav::Caldav::new(account, http.clone())),
        CalendarKind::Microsoft => Arc::new(microsoft::Microsoft::new(account, http.clone())),
    }
}
