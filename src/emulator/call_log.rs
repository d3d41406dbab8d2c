//! Every call, what was answered, and what it did: so that effects are told from attempts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;

/// What a call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Make an event.
    Insert,
    /// Read an event.
    Get,
    /// Replace an event.
    Update,
    /// Merge into an event.
    Patch,
    /// Remove an event.
    Delete,
    /// Find events.
    List,
    /// Read a calendar.
    CalendarGet,
    /// Find calendars.
    CalendarList,
    /// Read what has changed since (Microsoft's `delta`; Google's is a [`Self::List`]).
    Changes,
    /// Read the account itself (Microsoft's `me`, Google's `userinfo`).
    Account,
    /// A person's browser asks for access: of an authorisation endpoint.
    Authorize,
    /// Ask for a code that a person enters elsewhere (RFC 8628).
    DeviceCode,
    /// Get or renew access: of a token endpoint.
    Token,
    /// Nothing that the emulator knows.
    Other,
}

/// What a call did to its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// A live event appeared: made, or revived.
    Created,
    /// A live event changed.
    Updated,
    /// A write was accepted that left every field as it was: only the `ETag` is new.
    Rewritten,
    /// A live event disappeared.
    Deleted,
}

impl Effect {
    /// Whether anyone who looks at the calendar could tell.
    pub fn is_mutation(self) -> bool {
        match self {
            Self::Created | Self::Updated | Self::Deleted => true,
            Self::Nothing | Self::Rewritten => false,
        }
    }
}

/// What the client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Not yet anything.
    Pending,
    /// A whole answer was handed to the connection.
    Status {
        /// The status code.
        status: u16,
        /// The API's word for a refusal.
        reason: Option<String>,
    },
    /// None, or half of one: the connection was cut, or the client left before.
    Lost,
}

/// The private properties of an event.
pub type Properties = BTreeMap<String, String>;

/// The property that counts a booking's revisions, as our adapter writes it.
pub const REVISION_PROPERTY: &str = "bookingRevision";

/// One call.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// From 1, in order of arrival.
    pub number: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// What it asked for.
    pub verb: Verb,
    /// The calendar's id, resolved where it can be.
    pub calendar: Option<String>,
    /// The event's id: from the path, from the body, or as the server made it.
    pub event: Option<String>,
    /// Whose token it carried.
    pub account: Option<String>,
    /// Its query, as sent.
    pub query: String,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `Prefer`, all of them as one list: Microsoft's.
    pub prefer: Option<String>,
    /// Its body.
    pub body: Bytes,
    /// What the client got.
    pub answered: Answered,
    /// What it did.
    pub effect: Effect,
    /// In which order it took effect, from 1; `None` while it has not been looked at. A delayed
    /// call has a higher one than calls that arrived after it.
    pub applied: Option<u64>,
    /// The event's private properties before.
    pub before: Option<Properties>,
    /// And after.
    pub after: Option<Properties>,
}

impl CallRecord {
    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A parameter of the query, decoded; the first of that name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Whether the client was told of a success.
    pub fn is_acknowledged(&self) -> bool {
        match &self.answered {
            Answered::Status { status, .. } => (200..300).contains(status),
            Answered::Pending | Answered::Lost => false,
        }
    }

    /// The revision that it left in the event.
    fn revision(&self) -> Option<i64> {
        revision(self.after.as_ref()?)
    }
}

/// The revision that an event's properties tell: in a property of its own; or in Microsoft's form,
/// whose ids end in the name, as such a one or within a marker that is one JSON text.
fn revision(properties: &Properties) -> Option<i64> {
    if let Some(revision) = properties.get(REVISION_PROPERTY) {
        return revision.parse().ok();
    }
    properties.iter().find_map(|(id, value)| {
        let (_, name) = id.split_once(" Name ")?;
        if name == REVISION_PROPERTY {
            return value.parse().ok();
        }
        let marker: Value = serde_json::from_str(value).ok()?;
        marker.get("revision")?.as_i64()
    })
}

/// Totals of one verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls.
    pub attempts: u64,
    /// Live events that appeared.
    pub created: u64,
    /// Live events that changed.
    pub updated: u64,
    /// Live events that disappeared.
    pub deleted: u64,
    /// Accepted writes without a difference.
    pub rewritten: u64,
    /// Answers that no client got.
    pub lost: u64,
    /// Answers other than 2xx and 3xx.
    pub refused: u64,
}

/// The calls up to a moment, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// The calls themselves.
    pub list: Vec<CallRecord>,
    /// How many older ones were forgotten, because the log is bounded.
    pub forgotten: u64,
}

impl Calls {
    /// Those that changed a calendar, in the order in which they did.
    pub fn mutations(&self) -> Vec<&CallRecord> {
        let mut found: Vec<_> = self.list.iter().filter(|call| call.effect.is_mutation()).collect();
        found.sort_by_key(|call| call.applied);
        found
    }

    /// Those that changed one event.
    pub fn mutations_of(&self, calendar: &str, event: &str) -> Vec<&CallRecord> {
        let mut found = self.mutations();
        found.retain(|call| {
            call.calendar.as_deref() == Some(calendar) && call.event.as_deref() == Some(event)
        });
        found
    }

    /// How many calls asked for this.
    pub fn attempts(&self, verb: Verb) -> usize {
        self.list.iter().filter(|call| call.verb == verb).count()
    }

    /// Totals by verb.
    pub fn tally(&self) -> BTreeMap<Verb, Tally> {
        let mut tallies = BTreeMap::<Verb, Tally>::new();
        for call in &self.list {
            let tally = tallies.entry(call.verb).or_default();
            tally.attempts += 1;
            match call.effect {
                Effect::Nothing => {}
                Effect::Created => tally.created += 1,
                Effect::Updated => tally.updated += 1,
                Effect::Deleted => tally.deleted += 1,
                Effect::Rewritten => tally.rewritten += 1,
            }
            match &call.answered {
                Answered::Pending => {}
                Answered::Status { status, .. } => tally.refused += u64::from(*status >= 400),
                Answered::Lost => tally.lost += 1,
            }
        }
        tallies
    }

    /// Calls that changed a calendar without their client being told: the hard ones.
    pub fn applied_but_lost(&self) -> usize {
        let unknown = |call: &&CallRecord| call.answered == Answered::Lost;
        self.mutations().into_iter().filter(unknown).count()
    }

    /// How often an event got a revision below one that had been acknowledged for it: what the
    /// promise says never to happen.
    pub fn out_of_order(&self) -> usize {
        let mut acknowledged = BTreeMap::new();
        let mut backwards = 0;
        for call in self.mutations() {
            let Some(revision) = call.revision() else {
                continue;
            };
            let event = (call.calendar.as_deref(), call.event.as_deref());
            let highest = acknowledged.get(&event).copied();
            if highest.is_some_and(|highest| revision < highest) {
                backwards += 1;
            } else if call.is_acknowledged() {
                acknowledged.insert(event, revision);
            }
        }
        backwards
    }
}

/// The most bytes of bodies that the log remembers.
pub const LOG_BODIES_BYTES_MAX: usize = 64 << 20;

struct Entries {
    calls: VecDeque<CallRecord>,
    bodies_bytes: usize,
    arrived: u64,
    applied: u64,
}

/// The log, bounded: the oldest calls are forgotten first.
pub(super) struct CallLog {
    entries: Mutex<Entries>,
    entries_max: usize,
    changes: watch::Sender<u64>,
}

impl CallLog {
    pub(super) fn new(entries_max: usize) -> Self {
        let entries = Entries { calls: VecDeque::new(), bodies_bytes: 0, arrived: 0, applied: 0 };
        Self { entries: Mutex::new(entries), entries_max, changes: watch::Sender::new(0) }
    }

    /// Writes a call down, and gives it its number.
    pub(super) fn arrive(&self, mut call: CallRecord) -> u64 {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.arrived += 1;
        call.number = entries.arrived;
        entries.bodies_bytes += call.body.len();
        while entries.calls.len() >= self.entries_max.max(1)
            || entries.bodies_bytes > LOG_BODIES_BYTES_MAX
        {
            let Some(oldest) = entries.calls.pop_front() else {
                break;
            };
            entries.bodies_bytes -= oldest.body.len();
        }
        entries.calls.push_back(call);
        let number = entries.arrived;
        drop(entries);
        self.changes.send_modify(|changes| *changes += 1);
        number
    }

    /// Notes what a call did. The caller holds the state's lock, so that the order is the true one.
    pub(super) fn applied(&self, number: u64, note: impl FnOnce(&mut CallRecord)) {
        self.change(number, |call, applied| {
            *applied += 1;
            call.applied = Some(*applied);
            note(call);
        });
    }

    /// Notes what the client got, once.
    pub(super) fn answered(&self, number: u64, answered: Answered) {
        self.change(number, |call, _| {
            if call.answered == Answered::Pending {
                call.answered = answered;
            }
        });
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut CallRecord, &mut u64)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { calls, applied, .. } = &mut *entries;
        if let Ok(at) = calls.binary_search_by_key(&number, |call| call.number) {
            change(&mut calls[at], applied);
        }
        drop(entries);
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn snapshot(&self) -> Calls {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = entries.arrived - entries.calls.len() as u64;
        Calls { list: entries.calls.iter().cloned().collect(), forgotten }
    }

    /// Returns once the calls fulfil `condition`.
    pub(super) async fn wait_for(&self, condition: impl Fn(&Calls) -> bool) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if condition(&self.snapshot()) {
                return;
            }
            // The sender lives in `self`, so the channel cannot close under us.
            changes.changed().await.expect("the log stands");
        }
    }
}
