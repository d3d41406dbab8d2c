//! Calendars that are pure state machines, with the semantics of Google Calendar, Microsoft Graph
//! and CalDAV servers, as far as PROVIDERS.md knows them.
//!
//! They are the truth that the oracle is told, so they share no code with the service: they read
//! the bodies that arrive themselves. Time is an argument. Chance is drawn when a calendar is made
//! ([`Switches::draw`]), and none after. What a network does to a request, and a token, limit or
//! failing machine to its answer, is no calendar's doing, and none of theirs.

mod caldav;

pub mod event;

mod google;

pub mod host;

mod icalendar;

mod json;

pub mod listing;

mod microsoft;

mod shelf;

pub mod switches;

use std::time::Duration;

pub use event::{By, Change, Event, Marker, Stood};
pub use host::Deed;
pub use listing::{ListAsk, ListSaid};
use shelf::{Etags, Shelf};
pub use switches::Switches;
use switches::{EtagForm, EtagSource};

/// The kinds of calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Google Calendar v3.
    Google,
    /// Microsoft Graph.
    Microsoft,
    /// A CalDAV server.
    Caldav,
}

/// What is asked of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Google: an insert with this id. Graph: a POST with this `transactionId`. CalDAV: a PUT with
    /// `If-None-Match: *`.
    Create {
        /// The event's name.
        name: String,
        /// The event.
        body: Vec<u8>,
    },
    /// Google: a PATCH. Graph: a PATCH of the event that is found under the name (without its
    /// `transactionId`, which cannot change). CalDAV: a PUT, with `If-Match` or without a
    /// condition.
    Update {
        /// The event's name.
        name: String,
        /// The ETag that it must have.
        if_match: Option<String>,
        /// The event.
        body: Vec<u8>,
    },
    /// A DELETE.
    Delete {
        /// The event's name.
        name: String,
        /// The ETag that it must have.
        if_match: Option<String>,
    },
    /// Google and CalDAV: a GET. Graph: a GET of an id, or the search for a name.
    Read {
        /// The event's name, or its id.
        name: String,
    },
}

impl Ask {
    /// The event's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Create { name, .. }
            | Self::Update { name, .. }
            | Self::Delete { name, .. }
            | Self::Read { name } => name,
        }
    }
}

/// What a calendar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A write took effect.
    Done {
        /// 2xx.
        status: u16,
        /// The ETag, if the answer gives one; weak ones as they are.
        etag: Option<String>,
        /// The UID that the calendar itself gives the event, if the answer says it.
        provider_uid: Option<String>,
        /// The event's id, where the server makes it.
        server_id: Option<String>,
        /// The event that the answer shows, if it shows one.
        shows: Option<Answered>,
    },
    /// It did not take effect; or it did, and the server says so
    /// ([`switches::Caldav::fails_after_storing`] alone).
    Refused {
        /// 4xx, or 500.
        status: u16,
        /// Google's reason, Graph's code, or the name of a `WebDAV` precondition.
        reason: Option<&'static str>,
    },
    /// A read: a live event.
    Live {
        /// Our marker in it.
        body_marker: Option<Marker>,
        /// Its ETag; weak ones as they are.
        etag: Option<String>,
        /// The UID that the calendar itself gives it.
        provider_uid: Option<String>,
        /// All that a reader sees.
        event: Box<Event>,
        /// The object as it stands there (CalDAV).
        text: Option<String>,
    },
    /// A read: deleted, and remembered (Google).
    Tombstone,
    /// A read: nothing, and the calendar itself is there.
    Absent,
}

/// What the answer to a write shows of the event, as it is by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its title.
    pub title: String,
    /// How long after it was made it was changed last.
    pub changed_after: Duration,
}

impl Said {
    fn done(status: u16, event: Option<&Event>) -> Self {
        let etag = event.and_then(|event| event.etag.clone());
        let changed_after = Duration::ZERO;
        let shows = event.map(|event| Answered { title: event.summary.clone(), changed_after });
        Self::Done {
            status,
            etag,
            provider_uid: event.map(|event| event.provider_uid.clone()),
            server_id: event.and_then(|event| event.server_id.clone()),
            shows,
        }
    }

    /// The same, of an event that was changed so long after it was made.
    fn changed(mut self, after: Duration) -> Self {
        if let Self::Done { shows: Some(shows), .. } = &mut self {
            shows.changed_after = after;
        }
        self
    }

    /// A write whose answer shows nothing.
    fn bare_done(status: u16) -> Self {
        Self::Done { status, etag: None, provider_uid: None, server_id: None, shows: None }
    }

    fn refused(status: u16, reason: &'static str) -> Self {
        Self::Refused { status, reason: Some(reason) }
    }

    fn bare(status: u16) -> Self {
        Self::Refused { status, reason: None }
    }

    fn live(event: &Event) -> Self {
        Self::read(event, None)
    }

    /// The same, of a server that gives the object.
    fn object(event: &Event, object: &[u8]) -> Self {
        Self::read(event, String::from_utf8(object.to_vec()).ok())
    }

    fn read(event: &Event, text: Option<String>) -> Self {
        Self::Live {
            body_marker: event.marker.clone(),
            etag: event.etag.clone(),
            provider_uid: Some(event.provider_uid.clone()),
            event: Box::new(event.clone()),
            text,
        }
    }
}

/// One calendar of one account.
#[derive(Debug, Clone)]
pub struct Calendar {
    server: Server,
    shelf: Shelf,
    listing: switches::Listing,
}

#[derive(Debug, Clone)]
enum Server {
    Google(google::Google),
    Microsoft(microsoft::Microsoft),
    Caldav(caldav::Caldav),
}

impl Calendar {
    /// An empty one.
    pub fn new(kind: Kind, switches: Switches) -> Self {
        let Switches { google, microsoft, caldav, listing } = switches;
        match kind {
            Kind::Google => Self {
                server: Server::Google(google::Google { switches: google }),
                shelf: Shelf::new(Etags::Google, true),
                listing,
            },
            Kind::Microsoft => Self {
                shelf: Shelf::new(Etags::Microsoft { bumps: microsoft.etag_bumps.clone() }, false),
                server: Server::Microsoft(microsoft::Microsoft::new(microsoft)),
                listing,
            },
            Kind::Caldav => {
                let etags = match (caldav.etags, caldav.etags_from) {
                    (EtagForm::None, _) => Etags::None,
                    (form, EtagSource::Count) => Etags::Counted { weak: form == EtagForm::Weak },
                    (form, EtagSource::Content) => Etags::Derived { weak: form == EtagForm::Weak },
                };
                let server = Server::Caldav(caldav::Caldav::new(caldav));
                Self { server, shelf: Shelf::new(etags, false), listing }
            }
        }
    }

    /// The same as one of several, by its number.
    #[must_use]
    pub fn numbered(mut self, number: usize) -> Self {
        self.shelf.calendar = number;
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.server {
            Server::Google(_) => Kind::Google,
            Server::Microsoft(_) => Kind::Microsoft,
            Server::Caldav(_) => Kind::Caldav,
        }
    }

    /// One request arrives at the server, at this time since the beginning, which no request or
    /// deed before exceeds. `request` numbers it, for the history.
    pub fn answer(&mut self, at: Duration, request: u64, ask: &Ask) -> Said {
        self.advance(at);
        match &mut self.server {
            Server::Google(server) => server.answer(&mut self.shelf, request, ask),
            Server::Microsoft(server) => server.answer(&mut self.shelf, request, ask),
            Server::Caldav(server) => server.answer(&mut self.shelf, request, ask),
        }
    }

    /// A page of its events is asked for: see [`listing`].
    pub fn list(&mut self, at: Duration, ask: &ListAsk) -> ListSaid {
        self.advance(at);
        listing::answer(&self.listing, &self.shelf, ask)
    }

    /// Whether it lists its events at all.
    pub fn is_listed(&self) -> bool {
        self.listing.is_supported
    }

    /// Whether it tells of what was deleted, and forgets that after a time (Google).
    pub fn forgets_deleted(&self) -> bool {
        match &self.server {
            Server::Google(server) => server.switches.tombstones_kept_for.is_some(),
            Server::Microsoft(_) | Server::Caldav(_) => false,
        }
    }

    /// Every live event, of the service's and of the host's making, in the order in which they were
    /// made.
    pub fn live(&self) -> Vec<&Event> {
        self.shelf.live().map(|kept| &kept.event).collect()
    }

    /// The bytes of a live CalDAV event, as a GET gives them.
    pub fn text(&self, name: &str) -> Option<&[u8]> {
        self.shelf.find(name).map(|kept| kept.text.as_slice())
    }

    /// What has changed, in order.
    pub fn history(&self) -> &[Change] {
        self.shelf.history()
    }

    fn advance(&mut self, at: Duration) {
        self.shelf.advance(at);
        match &self.server {
            Server::Google(server) => server.age(&mut self.shelf),
            Server::Caldav(server) => server.age(&mut self.shelf),
            Server::Microsoft(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
