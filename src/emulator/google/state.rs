//! Accounts, their tokens, and what their calendars hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest as _, Sha256};

use super::errors::ApiError;
use super::event::{Status, Stored};
use crate::emulator::oauth::{Dialect, Oauth};
use crate::emulator::tokens::Tokens;

/// What an insert does under an id that a live event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collisions {
    /// 409: "it is guaranteed that … the operation will only succeed if no existing entry has
    /// that ID" (the guide on versions of resources).
    #[default]
    Refused,
    /// It succeeds, and both are there: "we cannot guarantee that ID collisions will be detected
    /// at event creation time" (the reference of `events.insert`).
    Twins,
    /// It succeeds, and the later one is there.
    LastWins,
}

/// What an update of a deleted event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TombstoneUpdate {
    /// 403 (L15, and googleapis/google-api-python-client#846).
    #[default]
    Forbidden,
    /// It succeeds, and revives the event if its new status is not `cancelled` (reported in
    /// Stack Overflow 27542721).
    Revives,
}

/// What a `sequence` below the present one does on update and patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LowerSequence {
    /// 400, as is seen on insert and import.
    #[default]
    Refused,
    /// The rest of the update takes effect, and the sequence stays.
    Ignored,
}

/// The points on which Google's documents and the reports about it disagree. The default is the
/// documented behaviour, or the one that is harder on a client; tests run both.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    /// Of ids at insert.
    pub collisions: Collisions,
    /// Of deleted events.
    pub tombstone_update: TombstoneUpdate,
    /// Whether `sequence` is a fence.
    pub lower_sequence: LowerSequence,
    /// So many requests by the id of a new event find nothing (404), as replicas lag
    /// (Netflix/dispatch#165).
    pub missing_after_insert: u32,
    /// Deleted events "will eventually disappear", after this time; `None`: never.
    pub tombstones_kept: Option<Duration>,
    /// Of a deleted event only its id is shown: no more is guaranteed but to its organizer.
    pub bare_tombstones: bool,
    /// The first page of a list holds nothing, and a token for the next: a page "may be less than
    /// this value, or none at all, even if there are more events" (the reference of `maxResults`).
    pub empty_first_page: bool,
    /// Fields that the API does not know are ignored; else 400.
    pub unknown_fields_ignored: bool,
}

/// A calendar.
pub(super) struct Calendar {
    pub(super) id: String,
    pub(super) owner: String,
    /// Whether its account may write to it: its role is `owner`, else `reader`.
    pub(super) is_writable: bool,
    pub(super) summary: String,
    pub(super) zone: Tz,
    /// By id. More than one only under [`Collisions::Twins`]; the newest last.
    pub(super) events: BTreeMap<String, Vec<Stored>>,
    /// Counts writes.
    pub(super) changes: u64,
    /// Sync tokens of other epochs are dead.
    pub(super) epoch: u64,
}

impl Calendar {
    /// The event that a request by id means: the newest live one, else the newest.
    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Stored> {
        let twins = self.events.get_mut(id)?;
        let live = twins.iter().rposition(|event| event.status != Status::Cancelled);
        match live {
            Some(at) => twins.get_mut(at),
            None => twins.last_mut(),
        }
    }

    /// All events, deleted ones too.
    pub(super) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.events.values().flatten()
    }

    /// Forgets the tombstones for which this holds.
    pub(super) fn evict(&mut self, old: impl Fn(&Stored) -> bool) {
        for twins in self.events.values_mut() {
            twins.retain(|event| event.status != Status::Cancelled || !old(event));
        }
        self.events.retain(|_, twins| !twins.is_empty());
    }

    pub(super) fn sync_token(&self, changes: u64) -> String {
        format!("sync-{}-{changes}", self.epoch)
    }

    /// The change number of a sync token that is alive.
    pub(super) fn read_sync_token(&self, token: &str) -> Result<u64, ApiError> {
        let numbers = token.strip_prefix("sync-").and_then(|rest| rest.split_once('-'));
        let numbers = numbers.and_then(|(epoch, changes)| {
            Some((epoch.parse::<u64>().ok()?, changes.parse::<u64>().ok()?))
        });
        let (epoch, changes) =
            numbers.ok_or_else(|| ApiError::invalid("Invalid sync token value."))?;
        if epoch == self.epoch { Ok(changes) } else { Err(ApiError::full_sync_required()) }
    }
}

/// All that the emulator knows.
pub(super) struct State {
    pub(super) accounts: BTreeSet<String>,
    pub(super) tokens: Tokens,
    pub(super) oauth: Oauth,
    pub(super) calendars: BTreeMap<String, Calendar>,
    pub(super) switches: Switches,
    pub(super) events_max: usize,
    etag: u64,
    made: u64,
}

/// The stamp of one write.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) etag: u64,
    pub(super) at: DateTime<Utc>,
}

impl State {
    pub(super) fn new(switches: Switches, events_max: usize) -> Self {
        Self {
            accounts: BTreeSet::new(),
            tokens: Tokens::default(),
            oauth: Oauth::new(Dialect::Google),
            calendars: BTreeMap::new(),
            switches,
            events_max,
            etag: 0,
            made: 0,
        }
    }

    /// A new `ETag`: as with Google twice the microseconds, and never the same twice.
    pub(super) fn stamp(&mut self, now: DateTime<Utc>) -> Stamp {
        let time = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        self.etag = time.saturating_mul(2).max(self.etag + 2);
        Stamp { etag: self.etag, at: now }
    }

    /// An id for an event of which the client gave none.
    pub(super) fn make_id(&mut self, calendar: &str) -> String {
        self.made += 1;
        let hash = Sha256::digest(format!("{calendar} {}", self.made).as_bytes());
        BASE32HEX_NOPAD.encode(&hash[..16]).to_lowercase()
    }

    /// The id of a calendar of an account, under the name that a request gives it.
    pub(super) fn calendar_id(&self, account: &str, name: &str) -> Option<&str> {
        let id = if name == "primary" { account } else { name };
        let calendar = self.calendars.get(id).filter(|calendar| calendar.owner == account);
        calendar.map(|calendar| calendar.id.as_str())
    }

    /// A calendar of an account, under the name that the request gave it.
    pub(super) fn calendar(
        &mut self,
        account: &str,
        name: &str,
    ) -> Result<&mut Calendar, ApiError> {
        let id = if name == "primary" { account } else { name };
        let calendar = self.calendars.get_mut(id).filter(|calendar| calendar.owner == account);
        calendar.ok_or_else(ApiError::not_found)
    }

    pub(super) fn add_account(&mut self, account: &str) {
        self.accounts.insert(account.to_owned());
        self.oauth.add_user(account);
        self.add_calendar(account, account);
    }

    pub(super) fn add_calendar(&mut self, account: &str, id: &str) {
        let calendar = Calendar {
            id: id.to_owned(),
            owner: account.to_owned(),
            is_writable: true,
            summary: id.to_owned(),
            zone: Tz::UTC,
            events: BTreeMap::new(),
            changes: 0,
            epoch: 1,
        };
        self.calendars.entry(id.to_owned()).or_insert(calendar);
    }

    /// Forgets the tombstones whose time is over.
    pub(super) fn age(&mut self, now: DateTime<Utc>) {
        let Some(kept) = self.switches.tombstones_kept else {
            return;
        };
        for calendar in self.calendars.values_mut() {
            calendar.evict(|event| (now - event.updated).to_std().is_ok_and(|age| age >= kept));
        }
    }
}
