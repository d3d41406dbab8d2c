//! What a host does to her calendar behind our back, and what can be seen in it.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::GoogleEmulator;
use super::event::{Status, Stored};
use super::state::Calendar;
use super::times::{Point, day_after};
use crate::emulator::call_log::Properties;

/// Something that a host does to an event.
#[derive(Debug, Clone)]
pub enum ByHand {
    /// Gives it another title.
    Retitle(String),
    /// Writes into its description.
    Describe(String),
    /// Gives it a colour, `1` to `11`.
    Colour(String),
    /// Wants to be reminded so many minutes before.
    Remind(u32),
    /// Moves it.
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
    /// Loses its private properties, as some other client's copy would.
    StripProperties,
    /// Deletes it.
    Delete,
    /// Restores it from the bin.
    Restore,
}

/// An event, as a person sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// Its `ETag`, quotes included.
    pub etag: String,
    /// The UID that the calendar gives it.
    pub ical_uid: String,
    /// `SEQUENCE`.
    pub sequence: i64,
    /// Its title.
    pub summary: String,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
    /// The zone in which it is said; `None`: all day.
    pub zone: Option<Tz>,
    /// Whether it is shown as not yet confirmed.
    pub tentative: bool,
    /// Its private properties.
    pub properties: Properties,
    /// All of it, as the API shows it.
    pub resource: Value,
}

impl EventView {
    fn of(event: &Stored, calendar: &Calendar) -> Self {
        let summary = event.fields.get("summary").and_then(Value::as_str).unwrap_or_default();
        Self {
            id: event.id.clone(),
            etag: event.etag(),
            ical_uid: event.ical_uid.clone(),
            sequence: event.sequence,
            summary: summary.to_owned(),
            start: event.start.instant(calendar.zone),
            end: event.end.instant(calendar.zone),
            zone: event.start.zone(),
            tentative: event.status == Status::Tentative,
            properties: event.properties("private"),
            resource: event.render(&calendar.id, false),
        }
    }
}

impl Stored {
    fn change_by_hand(&mut self, change: ByHand) {
        let mut set = |name: &str, value: Value| {
            self.fields.insert(name.to_owned(), value);
        };
        match change {
            ByHand::Retitle(text) => set("summary", json!(text)),
            ByHand::Describe(text) => set("description", json!(text)),
            ByHand::Colour(id) => set("colorId", json!(id)),
            ByHand::Remind(minutes) => {
                let overrides = [json!({"method": "popup", "minutes": minutes})];
                set("reminders", json!({"useDefault": false, "overrides": overrides}));
            }
            ByHand::Move { start, end } => {
                assert!(start < end, "an event ends after its start");
                let zone = self.start.zone().unwrap_or(Tz::UTC);
                self.start = Point::Instant { at: start, zone };
                self.end = Point::Instant { at: end, zone };
                self.sequence += 1;
            }
            ByHand::AllDay => {
                let zone = self.start.zone().unwrap_or(Tz::UTC);
                let day = self.start.instant(zone).with_timezone(&zone).date_naive();
                self.start = Point::Day(day);
                self.end = Point::Day(day_after(day));
                self.sequence += 1;
            }
            ByHand::Invite(addresses) => {
                let kept = self.fields.get("attendees").and_then(Value::as_array).cloned();
                let mut guests = kept.unwrap_or_default();
                guests.extend(
                    addresses
                        .into_iter()
                        .map(|email| json!({"email": email, "responseStatus": "needsAction"})),
                );
                self.fields.insert("attendees".to_owned(), json!(guests));
            }
            ByHand::StripProperties => {
                self.fields.remove("extendedProperties");
            }
            ByHand::Delete => self.status = Status::Cancelled,
            ByHand::Restore => self.status = Status::Confirmed,
        }
    }
}

impl GoogleEmulator {
    /// Changes an event as its host would, with a new `ETag`; no call is logged. `false`: there is
    /// no such event.
    pub fn change_by_hand(&self, calendar: &str, event: &str, change: ByHand) -> bool {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let stamp = state.stamp(now);
        let Some(calendar) = state.calendars.get_mut(calendar) else {
            return false;
        };
        let number = calendar.changes + 1;
        let Some(stored) = calendar.find_mut(event) else {
            return false;
        };
        stored.change_by_hand(change);
        stored.touch(stamp, number);
        calendar.changes = number;
        true
    }

    /// Copies an event, private properties and all, under an id of the server's, which is
    /// returned: an extra that carries our marker. `None`: there is no such event.
    pub fn copy_by_hand(&self, calendar: &str, event: &str) -> Option<String> {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let stamp = state.stamp(now);
        let id = state.make_id(calendar);
        let calendar = state.calendars.get_mut(calendar)?;
        let mut copy = calendar.find_mut(event)?.clone();
        calendar.changes += 1;
        copy.id.clone_from(&id);
        copy.ical_uid = format!("{id}@google.com");
        copy.status = Status::Confirmed;
        copy.created = now;
        copy.touch(stamp, calendar.changes);
        calendar.events.insert(id.clone(), vec![copy]);
        Some(id)
    }

    /// Moves an event to another calendar, under its id; a tombstone stays behind. `false`: there
    /// is no such event, or no such calendar.
    pub fn move_to_calendar_by_hand(&self, calendar: &str, event: &str, to: &str) -> bool {
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let (stamp, arrived) = (state.stamp(now), state.stamp(now));
        if calendar == to || !state.calendars.contains_key(to) {
            return false;
        }
        let Some(from) = state.calendars.get_mut(calendar) else {
            return false;
        };
        let change = from.changes + 1;
        let Some(left) = from.find_mut(event).filter(|event| event.status != Status::Cancelled)
        else {
            return false;
        };
        let mut moved = left.clone();
        left.status = Status::Cancelled;
        left.touch(stamp, change);
        from.changes = change;
        let Some(to) = state.calendars.get_mut(to) else {
            return false;
        };
        to.changes += 1;
        moved.touch(arrived, to.changes);
        to.events.insert(moved.id.clone(), vec![moved]);
        true
    }

    /// Adds an event that is not ours, and returns its id. `None`: there is no such calendar.
    pub fn add_by_hand(
        &self,
        calendar: &str,
        summary: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Option<String> {
        assert!(start < end, "an event ends after its start");
        let now = self.0.core.clock.now();
        let mut state = self.0.core.state();
        let stamp = state.stamp(now);
        let id = state.make_id(calendar);
        let calendar = state.calendars.get_mut(calendar)?;
        calendar.changes += 1;
        let zone = calendar.zone;
        let event = Stored {
            id: id.clone(),
            ical_uid: format!("{id}@google.com"),
            creator: calendar.owner.clone(),
            status: Status::Confirmed,
            sequence: 0,
            start: Point::Instant { at: start, zone },
            end: Point::Instant { at: end, zone },
            fields: [("summary".to_owned(), json!(summary))].into_iter().collect(),
            created: now,
            updated: now,
            etag: stamp.etag,
            changed: calendar.changes,
            missing: 0,
        };
        calendar.events.insert(id.clone(), vec![event]);
        Some(id)
    }

    /// The live events of a calendar, in order of their ids.
    pub fn events(&self, calendar: &str) -> Vec<EventView> {
        self.view(calendar, |status| status != Status::Cancelled)
    }

    /// The deleted events that a calendar remembers.
    pub fn tombstones(&self, calendar: &str) -> Vec<EventView> {
        self.view(calendar, |status| status == Status::Cancelled)
    }

    fn view(&self, calendar: &str, wanted: impl Fn(Status) -> bool) -> Vec<EventView> {
        let state = self.0.core.state();
        let Some(calendar) = state.calendars.get(calendar) else {
            return Vec::new();
        };
        let found = calendar.all().filter(|event| wanted(event.status));
        found.map(|event| EventView::of(event, calendar)).collect()
    }
}
