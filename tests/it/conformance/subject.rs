//! What the kit demands of a provider: all that the author of an adapter has to write for it.

use std::sync::Arc;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content};
use calendar_sync::calendar::http::Http;
use calendar_sync::calendar::{self, Account, Calendar};
use chrono::{DateTime, Utc};

use crate::end_to_end::host::{Asked, Place, Shown, Trouble};

/// A provider, with calendars to be had: an emulator of it or a real server, and another way into its
/// calendars than the adapter's.
#[async_trait]
pub(crate) trait Subject: Send + Sync {
    /// Of which kind its calendars are.
    fn kind(&self) -> CalendarKind;

    /// A new, empty calendar of a new account.
    async fn new_calendar(&self) -> Place;

    /// The adapter, opened on a calendar.
    fn open(&self, place: &Place, connection: ConnectionId, http: &Http) -> Arc<dyn Calendar> {
        let account = Account {
            connection,
            base_url: place.base_url.clone(),
            calendar: place.calendar.clone(),
            credentials: place.credentials.clone(),
        };
        calendar::open(self.kind(), account, http)
    }

    /// What stands in a calendar: all of it, whoever put it there.
    async fn shown(&self, place: &Place) -> Vec<Shown>;

    /// What requests have changed in a calendar so far, in the order in which they came.
    fn effects(&self, place: &Place) -> Vec<Effect>;

    /// When each request came that was to change something, whatever became of it.
    fn attempts(&self, place: &Place) -> Vec<Attempt>;

    /// What a host sees of a content, as far as this provider can keep it.
    fn kept(&self, content: &Content) -> Content;

    /// A host deletes an event.
    async fn delete_by_hand(&self, place: &Place, id: &str);

    /// A host gives an event another title, and moves it.
    async fn edit_by_hand(&self, place: &Place, id: &str, title: &str, start: DateTime<Utc>);

    /// A host copies an event, as her client does it; answers the copy's id.
    async fn copy_by_hand(&self, place: &Place, id: &str) -> String;

    /// Orders trouble for the next `count` of what is asked of a calendar.
    fn order(&self, place: &Place, count: u32, asked: Asked, trouble: Trouble) -> Box<dyn Order>;

    /// Whoever reads an event is told that there is none, until that is withdrawn.
    fn lag(&self, place: &Place) -> Box<dyn Order>;

    /// The calendar forgets what it remembers of deleted events, as it may at any time.
    fn forget(&self, place: &Place);

    /// What a 403 can say here, and what that means.
    fn forbidden(&self) -> Vec<(&'static str, Means)>;

    /// The word that comes with a status, where the API has one.
    fn word(&self, status: u16) -> &'static str;

    /// Whether a create changes nothing where its name is taken. Where it does, what stands there has to
    /// be looked at beforehand, and what is overwritten all the same to be put right.
    fn refuses_taken_names(&self) -> bool {
        true
    }
}

/// Something that a request has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    /// The event.
    pub(crate) id: String,
    /// The revision that it shows since; `None`: it is gone.
    pub(crate) revision: Option<i64>,
}

/// A request that was to change something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// When it came.
    pub(crate) at: DateTime<Utc>,
    /// Whether the calendar has looked at it.
    pub(crate) landed: bool,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// To wait a little.
    Wait,
    /// To wait for hours.
    WaitLong,
    /// That a person has to see to the account.
    Park,
    /// That this event is not wanted.
    Refuse,
}

/// Trouble that was ordered.
#[async_trait]
pub(crate) trait Order: Send + Sync {
    /// How many requests it has met.
    fn hits(&self) -> u64;

    /// Ends it, and lets go what it holds.
    fn withdraw(&self);

    /// Returns once it holds a request.
    async fn wait_held(&self);
}
