//! What a host does to her calendar behind our back, and what can be seen in it.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::MicrosoftEmulator;
use super::event::{Origin, Stored};
use super::html;
use super::ids::{self, Ids};
use super::prefer::Preferences;
use super::render::View;
use super::state::{Mailbox, State, Switches};
use super::times::Point;
use crate::emulator::call_log::Properties;
use crate::emulator::local_time::resolve;

/// Something that a host does to an event.
#[derive(Debug, Clone)]
pub enum ByHand {
    /// Gives it another title.
    Retitle(String),
    /// Writes into its body.
    Describe(String),
    /// Writes into its body, in HTML.
    Lay(String),
    /// Puts it into these categories, which is how Outlook colours.
    Recategorise(Vec<String>),
    /// Wants to be reminded so many minutes before.
    Remind(u32),
    /// Moves it in time.
    Move {
        /// Its new start.
        start: DateTime<Utc>,
        /// Its new end, after the start.
        end: DateTime<Utc>,
    },
    /// Makes it a whole day.
    AllDay,
    /// Invites these addresses to it, too.
    Invite(Vec<String>),
    /// Loses its extended properties, as some other client's copy would.
    StripProperties,
    /// Deletes it.
    Delete,
    /// Restores it from the bin: it has another mutable id then.
    Restore,
}

/// An event, as a person sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// Its immutable id, which is its name in the call log too.
    pub id: String,
    /// Its other id, which changes when it moves.
    pub mutable_id: String,
    /// The calendar in which it is.
    pub calendar: String,
    /// Its `ETag`, as it is now.
    pub etag: String,
    /// The UID that the calendar gives it.
    pub ical_uid: String,
    /// As its client gave it.
    pub transaction_id: Option<String>,
    /// Its title.
    pub subject: String,
    /// The text of its body.
    pub text: String,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
    /// The zone in which it is said; `None`: all day.
    pub zone: Option<Tz>,
    /// `showAs`.
    pub show_as: String,
    /// Its extended properties, by their ids.
    pub properties: Properties,
    /// All of it, as the API shows it to one who prefers immutable ids.
    pub resource: Value,
}

impl EventView {
    fn of(event: &Stored, mailbox: &Mailbox, switches: &Switches, now: DateTime<Utc>) -> Self {
        let preferences = Preferences { immutable_ids: true, ..Preferences::default() };
        let view = View { preferences: &preferences, expand: &[], select: None, switches, now };
        Self {
            id: event.ids.immutable.clone(),
            mutable_id: event.ids.mutable.clone(),
            calendar: event.calendar.clone(),
            etag: event.etag(switches, now),
            ical_uid: event.ical_uid.clone(),
            transaction_id: event.transaction_id.clone(),
            subject: event.text("subject").unwrap_or_default().to_owned(),
            text: html::to_text(&event.body),
            start: event.start.at,
            end: event.end.at,
            zone: (!event.all_day).then_some(event.start.zone),
            show_as: event.text("showAs").unwrap_or_default().to_owned(),
            properties: event.logged(),
            resource: view.event(event, mailbox),
        }
    }
}

impl Stored {
    fn change_by_hand(&mut self, change: ByHand) {
        let mut set = |name: &str, value: Value| {
            self.fields.insert(name.to_owned(), value);
        };
        match change {
            ByHand::Retitle(text) => set("subject", json!(text)),
            ByHand::Describe(text) => self.body = html::of_text(&text),
            ByHand::Lay(page) => self.body = html::of_html(&page),
            ByHand::Recategorise(names) => set("categories", json!(names)),
            ByHand::Remind(minutes) => {
                set("isReminderOn", json!(true));
                set("reminderMinutesBeforeStart", json!(minutes));
            }
            ByHand::Move { start, end } => {
                assert!(start < end, "an event ends after its start");
                self.start.at = start;
                self.end.at = end;
                self.all_day = false;
            }
            ByHand::AllDay => {
                let zone = self.start.zone;
                let day = self.start.at.with_timezone(&zone).date_naive();
                let midnight = day.and_time(chrono::NaiveTime::MIN);
                self.start = Point { at: resolve(midnight, zone), zone };
                self.end = Point { at: resolve(midnight + TimeDelta::days(1), zone), zone };
                self.all_day = true;
            }
            ByHand::Invite(addresses) => {
                let kept = self.fields.get("attendees").and_then(Value::as_array).cloned();
                let mut guests = kept.unwrap_or_default();
                guests.extend(addresses.into_iter().map(|address| {
                    json!({
                        "type": "required",
                        "status": {"response": "none", "time": "0001-01-01T00:00:00Z"},
                        "emailAddress": {"name": address, "address": address},
                    })
                }));
                self.fields.insert("attendees".to_owned(), json!(guests));
            }
            ByHand::StripProperties => self.properties.clear(),
            ByHand::Delete | ByHand::Restore => {}
        }
    }
}

impl State {
    /// The account and number of an event that one of its ids names, deleted ones too.
    fn located(&self, event: &str) -> Option<(String, u64)> {
        let mut mailboxes = self.mailboxes.values();
        mailboxes.find_map(|mailbox| Some((mailbox.account.clone(), mailbox.number(event)?)))
    }
}

/// An event is meant by either of its ids.
impl MicrosoftEmulator {
    /// Changes an event as its host would, with a new `ETag`; no call is logged. `false`: there is
    /// no such event.
    pub fn change_by_hand(&self, event: &str, change: ByHand) -> bool {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let Some((account, number)) = state.located(event) else {
            return false;
        };
        let stamp = state.stamp(&account, now);
        let Some(mailbox) = state.mailboxes.get_mut(&account) else {
            return false;
        };
        if matches!(change, ByHand::Restore) {
            return mailbox.restore(number, stamp);
        }
        let Some(event) = mailbox.events.get_mut(&number) else {
            return false;
        };
        if matches!(change, ByHand::Delete) {
            mailbox.delete(number, stamp);
        } else {
            event.change_by_hand(change);
            event.touch(stamp);
        }
        true
    }

    /// Moves an event to another calendar of its mailbox: its mutable id is another one then.
    /// `false`: there is no such event, or no such calendar.
    pub fn move_to_calendar_by_hand(&self, event: &str, to: &str) -> bool {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let Some((account, number)) = state.located(event) else {
            return false;
        };
        let leaving = state.stamp(&account, now).changed;
        let stamp = state.stamp(&account, now);
        let Some(mailbox) = state.mailboxes.get_mut(&account) else {
            return false;
        };
        let is_elsewhere = mailbox.events.get(&number).is_some_and(|it| it.calendar != to);
        is_elsewhere
            && mailbox.calendars.contains_key(to)
            && mailbox.relocate(number, to, leaving, stamp)
    }

    /// Copies an event, extended properties and all but for its `transactionId`, ids and
    /// `iCalUId`; and says the copy's immutable id. `None`: there is no such event.
    pub fn copy_by_hand(&self, event: &str) -> Option<String> {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let (account, number) = state.located(event)?;
        let copy_number = state.make_number();
        let stamp = state.stamp(&account, now);
        let mailbox = state.mailboxes.get_mut(&account)?;
        let mut copy = mailbox.events.get(&number)?.clone();
        copy.number = copy_number;
        copy.ids = Ids::make(&account, copy_number, 0);
        copy.ical_uid = ids::ical_uid(&account, copy_number);
        copy.transaction_id = None;
        copy.created = now;
        copy.touch(stamp);
        copy.is_rewritten = false;
        let id = copy.ids.immutable.clone();
        mailbox.add(copy);
        Some(id)
    }

    /// Adds an event that is not ours, and says its immutable id. `None`: there is no such
    /// calendar.
    pub fn add_by_hand(
        &self,
        calendar: &str,
        subject: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Option<String> {
        assert!(start < end, "an event ends after its start");
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let account = state.holder_of(calendar)?.account.clone();
        let number = state.make_number();
        let stamp = state.stamp(&account, now);
        let origin = Origin { mailbox: &account, calendar, number, stamp };
        let point = |at| Point { at, zone: Tz::UTC };
        let mut event = Stored::blank(&origin, point(start), point(end));
        event.fields.insert("subject".to_owned(), json!(subject));
        let id = event.ids.immutable.clone();
        state.mailboxes.get_mut(&account)?.add(event);
        Some(id)
    }

    /// The live events of a calendar, in the order in which they were made.
    pub fn events(&self, calendar: &str) -> Vec<EventView> {
        self.views(calendar, |mailbox| mailbox.events.values().collect())
    }

    /// The deleted events of a calendar that the bin still holds.
    pub fn deleted_events(&self, calendar: &str) -> Vec<EventView> {
        self.views(calendar, |mailbox| mailbox.deleted.values().collect())
    }

    fn views(&self, calendar: &str, of: impl Fn(&Mailbox) -> Vec<&Stored>) -> Vec<EventView> {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let switches = state.switches.clone();
        let Some(mailbox) = state.holder_of(calendar) else {
            return Vec::new();
        };
        let mut found = of(mailbox);
        found.retain(|event| event.calendar == calendar);
        found.into_iter().map(|event| EventView::of(event, mailbox, &switches, now)).collect()
    }
}
