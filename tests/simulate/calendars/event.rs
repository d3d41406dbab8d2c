//! What stands in a simulated calendar, as the oracle sees it, and what stood there before.

use std::collections::BTreeMap;
use std::time::Duration;

/// How each note of a host's begins: one word, and no other like it.
pub(super) const NOTED: &str = "noted-by-hand-";

/// The service's marker as texts, as it stands in an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    /// The booking's iCal UID.
    pub uid: String,
    /// The connection.
    pub connection: String,
    /// The revision.
    pub revision: i64,
    /// The digest of the content.
    pub digest: String,
    /// What tells our words in the text, if it is there.
    pub text: Option<String>,
}

/// Who did something to a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The service, by the request of this number.
    Request(u64),
    /// The host, by hand.
    Host,
    /// The server, of its own accord.
    Server,
}

/// An event, of the service's making or of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Google's id, CalDAV's href, Graph's `transactionId`; a name of the server's own for what
    /// the host made.
    pub name: String,
    /// The id of the server's making, under which Graph keeps it; `None` where its name is its id.
    pub server_id: Option<String>,
    /// The UID that the calendar itself gives it: Google's `iCalUID`, Graph's `iCalUId`; with
    /// CalDAV the UID in the text.
    pub provider_uid: String,
    /// Our marker, whole or not at all.
    pub marker: Option<Marker>,
    /// Its title.
    pub summary: String,
    /// Its text: the service's words, and the host's notes before and after them.
    pub description: Option<String>,
    /// Its place.
    pub location: Option<String>,
    /// First instant: RFC 3339, in UTC.
    pub start: String,
    /// First instant after it: RFC 3339, in UTC.
    pub end: String,
    /// Whether it is shown as not yet confirmed.
    pub tentative: bool,
    /// The ETag that reading it gives; `None` where the server gives none.
    pub etag: Option<String>,
    /// Who made it.
    pub made_by: By,
    /// Of which event the host made it as a copy.
    pub copy_of: Option<String>,
    /// When a request wrote it last.
    pub written_at: Option<Duration>,
    /// When the host touched it last.
    pub touched_by_host_at: Option<Duration>,
    /// What the host noted on it, where the service writes nothing (colour, reminders, a property
    /// of another application's). A merging update leaves it; CalDAV's PUT, which replaces the
    /// whole event, takes it away unless it has it too.
    pub host_note: Option<String>,
}

impl Event {
    /// An event that shows nothing yet.
    pub(super) fn blank(name: &str, provider_uid: String, made_by: By) -> Self {
        Self {
            name: name.to_owned(),
            server_id: None,
            provider_uid,
            marker: None,
            summary: String::new(),
            description: None,
            location: None,
            start: String::new(),
            end: String::new(),
            tentative: false,
            etag: None,
            made_by,
            copy_of: None,
            written_at: None,
            touched_by_host_at: None,
            host_note: None,
        }
    }

    /// Whether it has the `transactionId` of its POST. A copy in Graph has the name in it, as all of our
    /// properties, and not this.
    pub(super) fn is_posted(&self) -> bool {
        self.copy_of.is_none()
    }

    /// What the calendar calls it.
    pub fn id(&self) -> &str {
        self.server_id.as_deref().unwrap_or(&self.name)
    }

    /// What of it the service writes and a host may change. Her notes are none of it.
    pub fn shown(&self) -> (&str, String, Option<&str>, &str, &str, bool) {
        let words = self.description.as_deref().unwrap_or_default().split_whitespace();
        let ours: Vec<&str> = words.filter(|word| !word.starts_with(NOTED)).collect();
        let texts = (ours.join(" "), self.location.as_deref());
        (&self.summary, texts.0, texts.1, &self.start, &self.end, self.tentative)
    }

    /// What the host has noted beside our text and elsewhere, and how often each stands there.
    pub fn noted(&self) -> BTreeMap<&str, usize> {
        let texts = [self.description.as_deref(), self.host_note.as_deref()];
        let words = texts.into_iter().flatten().flat_map(str::split_whitespace);
        let mut noted = BTreeMap::new();
        for note in words.filter(|word| word.starts_with(NOTED)) {
            *noted.entry(note).or_default() += 1;
        }
        noted
    }
}

/// What stood under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stood {
    /// Nothing that a reader could see.
    Nothing,
    /// A deleted event that readers are told of (Google's `cancelled`).
    Tombstone,
    /// A live event.
    Live(Box<Event>),
}

impl Stood {
    /// Whether an event stood there.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// The revision in our marker, if there is one.
    pub fn revision(&self) -> Option<i64> {
        match self {
            Self::Live(event) => event.marker.as_ref().map(|marker| marker.revision),
            Self::Nothing | Self::Tombstone => None,
        }
    }
}

/// One change of what a calendar holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Duration,
    /// Whose.
    pub by: By,
    /// Of the event of this name. Two events can have one name, where the server lets them
    /// ([`super::switches::Collisions::Twins`], [`super::switches::Microsoft::remembers_for`]).
    pub name: String,
    /// What the calendar calls it: [`Event::id`].
    pub id: String,
    /// What stood there.
    pub before: Stood,
    /// What stands there since.
    pub after: Stood,
}

impl Change {
    /// Whether the host has noted something of her own, and nothing else.
    pub fn is_note(&self) -> bool {
        match (&self.before, &self.after) {
            (Stood::Live(before), Stood::Live(after)) => {
                self.by == By::Host
                    && before.shown() == after.shown()
                    && before.marker == after.marker
            }
            (_, _) => false,
        }
    }

    /// Whether there is an event since, and there was none.
    pub fn makes(&self) -> bool {
        !self.before.is_live() && self.after.is_live()
    }
}
