//! Calendars, and the only HTTP client: one adapter for each kind, all of one shape.
//!
//! An adapter names an external event, writes its body, makes one call and tells what was
//! answered. It decides nothing: what an answer means is [`crate::emit::outcome`]'s to say, and
//! it knows neither the store nor Kafka.

pub mod http;

pub mod ical;

pub mod zone;

pub mod notes;

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
use url::Url;

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

impl Account {
    /// `{base}/calendars/{calendar}`; ids are often mail addresses, and are percent-encoded.
    fn calendar_url(&self) -> Result<Url, Answer> {
        let unusable = || Answer::Lost {
            sent: false,
            message: "the API's address is not an http or https URL".to_owned(),
        };
        let mut url = Url::parse(&self.base_url).map_err(|_| unusable())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable());
        }
        url.path_segments_mut()
            .map_err(|()| unusable())?
            .pop_if_empty()
            .extend(["calendars", &self.calendar]);
        Ok(url)
    }
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

    /// That body, around what the host has put into the event which it will be sent to: the same bytes
    /// for the same arguments. Where an update leaves alone what it does not name, only her notes are in
    /// the way.
    fn keeping(&self, body: &[u8], hers: &Hers) -> Vec<u8> {
        let _: &Hers = hers;
        body.to_vec()
    }

    /// Makes one call, within the time-out of the client.
    async fn send(&self, call: &Call<'_>) -> Answer;

    /// Reads one event.
    async fn read(&self, name: Name<'_>) -> Reading;

    /// Reads an event with what it shows, and what its host has put into it. Without a content it is
    /// taken for another one than any booking shows.
    async fn inspect(&self, name: Name<'_>) -> Inspected {
        Inspected { reading: self.read(name).await, content: None, hers: None }
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

/// An event, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What there is.
    pub reading: Reading,
    /// What it shows, if it is one that we could have written: without the host's notes.
    pub content: Option<Content>,
    /// What the host has put in that an update of ours would write over. Its ETag is not to be
    /// remembered then: the next update has to read the event first.
    pub hers: Option<Hers>,
}

impl Inspected {
    /// What could not be looked into.
    fn unseen(reading: Reading) -> Self {
        Self { reading, content: None, hers: None }
    }
}

/// What a host has put into an event: for [`Calendar::keeping`], and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Hers(Put);

impl Hers {
    /// The whole object, which an update replaces.
    pub fn object(text: String) -> Self {
        Self(Put::Object(text))
    }

    /// Her notes beside our text, where an update leaves alone what it does not name.
    pub fn notes(notes: notes::Notes) -> Self {
        Self(Put::Notes(notes))
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Put {
    /// The whole object, which an update replaces.
    Object(String),
    /// Her notes beside our text.
    Notes(notes::Notes),
}

/// What is a host's is not logged.
impl std::fmt::Debug for Hers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hers")
    }
}

/// Opens the adapter of a kind on an account.
pub fn open(kind: CalendarKind, account: Account, http: &http::Http) -> Arc<dyn Calendar> {
    match kind {
        CalendarKind::Google => Arc::new(google::Google::new(account, http.clone())),
        CalendarKind::Caldav => Arc::new(caldav::Caldav::new(account, http.clone())),
        CalendarKind::Microsoft => Arc::new(microsoft::Microsoft::new(account, http.clone())),
    }
}
