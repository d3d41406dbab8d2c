//! Mailboxes, their tokens, and what their calendars hold.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::errors::ApiError;
use super::event::{KEYS_PER_WRITE, Stamp, Stored};
use super::ids::{self, Ids};
pub(super) use super::switches::Switches;
use crate::emulator::oauth::{Dialect, Oauth};
use crate::emulator::tokens::Tokens;

/// How many `transactionId`s a mailbox remembers: the oldest is forgotten first.
const TRANSACTIONS_MAX: usize = 100_000;

/// A calendar.
pub(super) struct Calendar {
    pub(super) id: String,
    pub(super) name: String,
    /// Whether the account may write to it.
    pub(super) can_edit: bool,
    /// Delta tokens of other epochs are dead.
    pub(super) epoch: u64,
}

/// An event is no longer in a calendar.
pub(super) struct Removal {
    pub(super) calendar: String,
    pub(super) ids: Ids,
    pub(super) changed: u64,
}

/// A `transactionId` that is remembered (B2).
pub(super) struct Posted {
    pub(super) at: DateTime<Utc>,
    digest: [u8; 32],
    calendar: String,
    pub(super) number: u64,
    /// What the answer said.
    pub(super) event: Stored,
}

impl Posted {
    pub(super) fn new(at: DateTime<Utc>, body: &[u8], event: &Stored) -> Self {
        let digest = Sha256::digest(body).into();
        let (calendar, number) = (event.calendar.clone(), event.number);
        Self { at, digest, calendar, number, event: event.clone() }
    }

    /// Whether a POST is the one that it was.
    pub(super) fn is_of(&self, body: &[u8], calendar: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(body).into();
        self.digest == digest && self.calendar == calendar
    }
}

/// A mailbox.
pub(super) struct Mailbox {
    pub(super) account: String,
    pub(super) user_id: String,
    /// By id.
    pub(super) calendars: BTreeMap<String, Calendar>,
    pub(super) default_calendar: String,
    /// The live ones, by number: in the order in which they were made.
    pub(super) events: BTreeMap<u64, Stored>,
    /// Those in the bin; the oldest is forgotten first.
    pub(super) deleted: BTreeMap<u64, Stored>,
    /// Both ids of each event, deleted ones too.
    numbers: BTreeMap<String, u64>,
    /// What has left a calendar; the oldest is forgotten first.
    pub(super) removals: VecDeque<Removal>,
    /// Delta tokens from before this change are dead: what has left since is forgotten.
    pub(super) floor: u64,
    pub(super) transactions: BTreeMap<String, Posted>,
    transactions_in_order: VecDeque<String>,
    /// Counts writes.
    pub(super) changes: u64,
    events_max: usize,
}

impl Mailbox {
    fn new(account: &str, events_max: usize) -> Self {
        let default_calendar = ids::of_calendar(account, DEFAULT_NAME);
        let mut mailbox = Self {
            account: account.to_owned(),
            user_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, account.as_bytes()).to_string(),
            calendars: BTreeMap::new(),
            default_calendar,
            events: BTreeMap::new(),
            deleted: BTreeMap::new(),
            numbers: BTreeMap::new(),
            removals: VecDeque::new(),
            floor: 0,
            transactions: BTreeMap::new(),
            transactions_in_order: VecDeque::new(),
            changes: 0,
            events_max,
        };
        mailbox.add_calendar(DEFAULT_NAME);
        mailbox
    }

    /// Adds a calendar, unless there is one of this name; and says its id.
    pub(super) fn add_calendar(&mut self, name: &str) -> String {
        let id = ids::of_calendar(&self.account, name);
        let calendar = Calendar { id: id.clone(), name: name.to_owned(), can_edit: true, epoch: 1 };
        self.calendars.entry(id.clone()).or_insert(calendar);
        id
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= self.events_max
    }

    /// The number of the event that one of its ids names, deleted ones too.
    pub(super) fn number(&self, id: &str) -> Option<u64> {
        self.numbers.get(id).copied()
    }

    /// The live event that one of its ids names.
    pub(super) fn find(&self, id: &str) -> Option<&Stored> {
        self.events.get(&self.number(id)?)
    }

    pub(super) fn add(&mut self, event: Stored) {
        self.numbers.insert(event.ids.mutable.clone(), event.number);
        self.numbers.insert(event.ids.immutable.clone(), event.number);
        self.events.insert(event.number, event);
    }

    /// Puts an event into the bin.
    pub(super) fn delete(&mut self, number: u64, stamp: Stamp) {
        let Some(mut event) = self.events.remove(&number) else {
            return;
        };
        self.leaves(&event, stamp.changed);
        event.touch(stamp);
        self.deleted.insert(number, event);
        while self.deleted.len() > self.events_max
            && let Some((number, gone)) = self.deleted.pop_first()
        {
            self.numbers.retain(|_, of| *of != number);
            drop(gone);
        }
    }

    /// Takes an event out of the bin, under another mutable id. `false`: it is not there.
    pub(super) fn restore(&mut self, number: u64, stamp: Stamp) -> bool {
        let Some(event) = self.deleted.remove(&number) else {
            return false;
        };
        let calendar = event.calendar.clone();
        self.arrives(event, &calendar, stamp);
        true
    }

    /// Moves an event to another calendar, under another mutable id. `false`: it is not there.
    pub(super) fn relocate(&mut self, number: u64, to: &str, leaving: u64, stamp: Stamp) -> bool {
        let Some(event) = self.events.remove(&number) else {
            return false;
        };
        self.leaves(&event, leaving);
        self.arrives(event, to, stamp);
        true
    }

    fn leaves(&mut self, event: &Stored, changed: u64) {
        let (calendar, ids) = (event.calendar.clone(), event.ids.clone());
        self.removals.push_back(Removal { calendar, ids, changed });
        while self.removals.len() > self.events_max
            && let Some(forgotten) = self.removals.pop_front()
        {
            self.floor = self.floor.max(forgotten.changed);
        }
    }

    fn arrives(&mut self, mut event: Stored, calendar: &str, stamp: Stamp) {
        self.numbers.remove(&event.ids.mutable);
        calendar.clone_into(&mut event.calendar);
        event.moves += 1;
        event.ids = Ids::make(&self.account, event.number, event.moves);
        event.touch(stamp);
        self.add(event);
    }

    /// Forgets a calendar's events without a trace.
    pub(super) fn empty(&mut self, calendar: &str) {
        self.events.retain(|_, event| event.calendar != calendar);
        self.deleted.retain(|_, event| event.calendar != calendar);
        self.removals.retain(|removal| removal.calendar != calendar);
        let (events, deleted) = (&self.events, &self.deleted);
        self.numbers
            .retain(|_, number| events.contains_key(number) || deleted.contains_key(number));
    }

    pub(super) fn forget_transactions(&mut self) {
        self.transactions.clear();
        self.transactions_in_order.clear();
    }

    /// Remembers a `transactionId`.
    pub(super) fn remember(&mut self, transaction_id: &str, posted: Posted) {
        if self.transactions.insert(transaction_id.to_owned(), posted).is_none() {
            self.transactions_in_order.push_back(transaction_id.to_owned());
        }
        while self.transactions_in_order.len() > TRANSACTIONS_MAX
            && let Some(oldest) = self.transactions_in_order.pop_front()
        {
            self.transactions.remove(&oldest);
        }
    }
}

/// What Outlook calls the calendar that every mailbox has.
const DEFAULT_NAME: &str = "Calendar";

/// All that the emulator knows.
pub(super) struct State {
    pub(super) tokens: Tokens,
    pub(super) oauth: Oauth,
    /// By account.
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
    pub(super) switches: Switches,
    events_max: usize,
    made: u64,
    keys: u64,
}

impl State {
    pub(super) fn new(switches: Switches, events_max: usize) -> Self {
        Self {
            tokens: Tokens::default(),
            oauth: Oauth::new(Dialect::Microsoft),
            mailboxes: BTreeMap::new(),
            switches,
            events_max,
            made: 0,
            keys: 0,
        }
    }

    /// Adds a mailbox, unless it is there; and says the id of its default calendar.
    pub(super) fn add_account(&mut self, account: &str) -> String {
        self.oauth.add_user(account);
        let new = || Mailbox::new(account, self.events_max);
        let mailbox = self.mailboxes.entry(account.to_owned()).or_insert_with(new);
        mailbox.default_calendar.clone()
    }

    /// The mailbox that a name in a path means: an address, or a user's id.
    pub(super) fn account_of(&self, name: &str) -> Result<&str, ApiError> {
        let is_named = |mailbox: &&Mailbox| {
            mailbox.account.eq_ignore_ascii_case(name) || mailbox.user_id.eq_ignore_ascii_case(name)
        };
        let found = self.mailboxes.values().find(is_named);
        found.map(|it| it.account.as_str()).ok_or_else(|| ApiError::invalid_user(name))
    }

    /// The mailbox that holds a calendar.
    pub(super) fn holder_of(&mut self, calendar: &str) -> Option<&mut Mailbox> {
        self.mailboxes.values_mut().find(|mailbox| mailbox.calendars.contains_key(calendar))
    }

    /// A number for an event.
    pub(super) fn make_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// A stamp for a write in a mailbox, which counts it.
    pub(super) fn stamp(&mut self, account: &str, at: DateTime<Utc>) -> Stamp {
        self.keys += KEYS_PER_WRITE;
        let changed = self.mailboxes.get_mut(account).map_or(0, |mailbox| {
            mailbox.changes += 1;
            mailbox.changes
        });
        Stamp { key: self.keys, changed, at }
    }
}
