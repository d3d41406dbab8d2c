//! The calendar, and the network before it: a request takes effect when it is delivered, not when
//! it is sent, and what it then answers may be heard by nobody.
//!
//! Google refuses a name that exists or ever existed, and remembers what was deleted. A CalDAV
//! server has one name for a booking, forgets what was deleted, gives the same content the same
//! ETag, and answers a write without one (RFC 4791 §5.3.4 lets it).

use booking::{CalendarKind, Verb};
use calendar_sync::calendar::Answer;

use crate::state::{GENERATIONS, Guard, Request, Slot, State};

/// What a delivered request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) answer: Answer,
    /// Whether the calendar is another one by it.
    pub(crate) is_effect: bool,
}

/// Where the event of a generation stands: CalDAV has one name for all of them.
fn place(kind: CalendarKind, generation: u8) -> usize {
    let at = match kind {
        CalendarKind::Google | CalendarKind::Microsoft => usize::from(generation),
        CalendarKind::Caldav => 0,
    };
    assert!(at < GENERATIONS, "the model has names for {GENERATIONS} generations");
    at
}

/// An answer with a status, as an adapter gives it.
pub(crate) fn status(status: u16, etag: Option<u8>) -> Answer {
    Answer::Status {
        status,
        reason: None,
        retry_after: None,
        etag: etag.map(|etag| etag.to_string()),
        provider_uid: None,
        server_id: None,
        message: String::new(),
    }
}

impl State {
    /// Reads one name.
    pub(crate) fn read(&self, kind: CalendarKind, booking: usize, generation: u8) -> Slot {
        self.calendar[booking][place(kind, generation)]
    }

    /// The live events of a booking: a revision and a content each.
    pub(crate) fn live(&self, booking: usize) -> impl Iterator<Item = (u8, u8)> {
        self.calendar[booking].iter().filter_map(|slot| match slot {
            Slot::Live { revision, content, .. } => Some((*revision, *content)),
            Slot::Unused | Slot::Tombstone { .. } => None,
        })
    }

    /// A request reaches the calendar.
    pub(crate) fn deliver(&mut self, kind: CalendarKind, request: &Request) -> Delivered {
        let slot = &mut self.calendar[request.booking][place(kind, request.generation)];
        let before = *slot;
        let answer = match kind {
            CalendarKind::Google => google(slot, request),
            CalendarKind::Caldav => caldav(slot, request),
            CalendarKind::Microsoft => unreachable!("the model has no Graph"),
        };
        Delivered { answer, is_effect: *slot != before }
    }
}

fn google(slot: &mut Slot, request: &Request) -> Answer {
    let Request { revision, guard, .. } = *request;
    let is_match = |etag: u8| guard == Guard::Nothing || guard == Guard::Match(etag);
    match (request.verb, *slot, request.content) {
        (Verb::Create, Slot::Unused, Some(content)) => {
            *slot = Slot::Live { revision, content, etag: 1 };
            status(200, Some(1))
        }
        (Verb::Create, _, _) => status(409, None),
        (Verb::Update | Verb::Delete, Slot::Unused, _) => status(404, None),
        (Verb::Delete, Slot::Tombstone { .. }, _) => status(410, None),
        (Verb::Update | Verb::Delete, Slot::Live { etag, .. } | Slot::Tombstone { etag }, _)
            if !is_match(etag) =>
        {
            status(412, None)
        }
        (Verb::Update, Slot::Live { etag, .. } | Slot::Tombstone { etag }, Some(content)) => {
            *slot = Slot::Live { revision, content, etag: etag + 1 };
            status(200, Some(etag + 1))
        }
        (Verb::Delete, Slot::Live { etag, .. }, _) => {
            *slot = Slot::Tombstone { etag: etag + 1 };
            status(204, None)
        }
        (Verb::Update, Slot::Live { .. } | Slot::Tombstone { .. }, None) => {
            unreachable!("an update has a content")
        }
    }
}

fn caldav(slot: &mut Slot, request: &Request) -> Answer {
    let Request { revision, guard, .. } = *request;
    let is_met = match (guard, *slot) {
        (Guard::Nothing, _) | (Guard::New, Slot::Unused) => true,
        (Guard::Match(wanted), Slot::Live { etag, .. }) => wanted == etag,
        (
            Guard::New | Guard::Match(_),
            Slot::Unused | Slot::Live { .. } | Slot::Tombstone { .. },
        ) => false,
    };
    match (request.verb, *slot, request.content) {
        (Verb::Delete, Slot::Unused | Slot::Tombstone { .. }, _) => status(404, None),
        (_, _, _) if !is_met => status(412, None),
        (Verb::Delete, Slot::Live { .. }, _) => {
            *slot = Slot::Unused;
            status(204, None)
        }
        (Verb::Create | Verb::Update, present, Some(content)) => {
            *slot = Slot::Live { revision, content, etag: revision + 1 };
            status(if present == Slot::Unused { 201 } else { 204 }, None)
        }
        (Verb::Create | Verb::Update, _, None) => unreachable!("what is put has a content"),
    }
}
