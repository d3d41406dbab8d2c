//! An event: what a client may write of it, and what is kept.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::fields::{READ_ONLY, check};
use super::html;
use super::ids::{self, Ids};
use super::property::Properties;
use super::state::Switches;
use super::times::Point;
use crate::emulator::call_log;

/// How many keys each write of an event sets aside, for changes of the server's own.
pub(super) const KEYS_PER_WRITE: u64 = 16;
/// The longest subject or place, in UTF-16 units.
const LINE_LEN_MAX: usize = 255;

/// A stored event.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// The server's own, over all mailboxes.
    pub(super) number: u64,
    pub(super) calendar: String,
    pub(super) ids: Ids,
    /// How often it has moved.
    pub(super) moves: u64,
    pub(super) ical_uid: String,
    pub(super) transaction_id: Option<String>,
    pub(super) start: Point,
    pub(super) end: Point,
    pub(super) all_day: bool,
    /// The zones in which it was made.
    pub(super) original_zones: (String, String),
    /// A page, or nothing.
    pub(super) body: String,
    /// The rest of what a client wrote, as it is shown.
    pub(super) fields: Map<String, Value>,
    pub(super) properties: Properties,
    pub(super) created: DateTime<Utc>,
    /// When it was written last.
    pub(super) modified: DateTime<Utc>,
    /// The change key of its last write.
    pub(super) key: u64,
    /// The mailbox's change number of its last write.
    pub(super) changed: u64,
    /// Whether it has been changed since it was made.
    pub(super) is_rewritten: bool,
    /// Whether a conflict has been told of since its last write.
    pub(super) has_conflicted: bool,
}

/// The stamp of one write.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) key: u64,
    pub(super) changed: u64,
    pub(super) at: DateTime<Utc>,
}

/// What a new event is, beside its content.
pub(super) struct Origin<'a> {
    pub(super) mailbox: &'a str,
    pub(super) calendar: &'a str,
    pub(super) number: u64,
    pub(super) stamp: Stamp,
}

impl Stored {
    /// A new event from the body of a POST.
    pub(super) fn make(
        origin: &Origin<'_>,
        body: &Map<String, Value>,
        ignore_unknown: bool,
    ) -> Result<Self, ApiError> {
        let body = check(body, ignore_unknown)?;
        let (Some(start), Some(end)) = (point(&body, "start")?, point(&body, "end")?) else {
            return Err(ApiError::property());
        };
        let mut event = Self::blank(origin, start, end);
        event.transaction_id =
            body.get("transactionId").and_then(Value::as_str).map(ToOwned::to_owned);
        event.take(&body)?;
        Ok(event)
    }

    /// An event that shows nothing yet but its time.
    pub(super) fn blank(origin: &Origin<'_>, start: Point, end: Point) -> Self {
        let exchange = |point: Point| super::zones::exchange_name(point.zone).to_owned();
        Self {
            number: origin.number,
            calendar: origin.calendar.to_owned(),
            ids: Ids::make(origin.mailbox, origin.number, 0),
            moves: 0,
            ical_uid: ids::ical_uid(origin.mailbox, origin.number),
            transaction_id: None,
            start,
            end,
            all_day: false,
            original_zones: (exchange(start), exchange(end)),
            body: String::new(),
            fields: Map::new(),
            properties: Properties::default(),
            created: origin.stamp.at,
            modified: origin.stamp.at,
            key: origin.stamp.key,
            changed: origin.stamp.changed,
            is_rewritten: false,
            has_conflicted: false,
        }
    }

    /// What it becomes by the body of a PATCH.
    pub(super) fn patched(
        &self,
        body: &Map<String, Value>,
        ignore_unknown: bool,
    ) -> Result<Self, ApiError> {
        if body.contains_key("transactionId") {
            return Err(ApiError::immutable_transaction_id());
        }
        let body = check(body, ignore_unknown)?;
        let mut next = self.clone();
        next.start = point(&body, "start")?.unwrap_or(next.start);
        next.end = point(&body, "end")?.unwrap_or(next.end);
        next.take(&body)?;
        Ok(next)
    }

    /// Takes over all but the times.
    fn take(&mut self, body: &Map<String, Value>) -> Result<(), ApiError> {
        for (name, value) in body {
            match (name.as_str(), value) {
                ("start" | "end" | "transactionId", _) => {}
                (name, _) if READ_ONLY.contains(&name) => {}
                ("isAllDay", value) => self.all_day = value.as_bool().unwrap_or_default(),
                ("body", value) => self.body = page(value),
                ("singleValueExtendedProperties", Value::Array(given)) => {
                    self.properties.merge(given)?;
                }
                ("singleValueExtendedProperties", _) => {}
                (name @ ("isReminderOn" | "reminderMinutesBeforeStart"), Value::Null) => {
                    self.fields.remove(name);
                }
                (name, Value::Null) => self.forget(name),
                ("location", value) => {
                    let location = located(value);
                    self.fields.insert("locations".to_owned(), json!([location]));
                    self.fields.insert("location".to_owned(), location);
                }
                ("locations", Value::Array(places)) => {
                    let places: Vec<Value> = places.iter().map(located).collect();
                    if let Some(first) = places.first().filter(|_| !body.contains_key("location")) {
                        self.fields.insert("location".to_owned(), first.clone());
                    }
                    self.fields.insert("locations".to_owned(), Value::Array(places));
                }
                ("attendees", Value::Array(guests)) => {
                    let guests = guests.iter().map(invited).collect();
                    self.fields.insert("attendees".to_owned(), Value::Array(guests));
                }
                (name, value) => {
                    self.fields.insert(name.to_owned(), value.clone());
                }
            }
        }
        self.check_lines()?;
        self.check_range()
    }

    fn forget(&mut self, name: &str) {
        self.fields.remove(name);
        if name == "location" {
            self.fields.remove("locations");
        }
    }

    /// Exchange keeps so much of a title (Exchange Web Services, `Subject`) and of a place ([MS-OXCICAL],
    /// LOCATION); what Graph says to more is not established.
    fn check_lines(&self) -> Result<(), ApiError> {
        let place = self.fields.get("location").and_then(|place| place["displayName"].as_str());
        let lines = [self.text("subject"), place].into_iter().flatten();
        let is_too_long = |line: &str| line.encode_utf16().count() > LINE_LEN_MAX;
        if lines.into_iter().any(is_too_long) { Err(ApiError::property()) } else { Ok(()) }
    }

    /// The end not before the start; a whole day from midnight to midnight, in one zone.
    fn check_range(&self) -> Result<(), ApiError> {
        let (start, end) = (self.start, self.end);
        let is_day =
            start.is_midnight() && end.is_midnight() && start.zone == end.zone && start.at < end.at;
        if end.at < start.at || (self.all_day && !is_day) {
            return Err(ApiError::property());
        }
        Ok(())
    }

    /// A field that is a text, where a client has set it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let default = match name {
            "showAs" => Some("busy"),
            "importance" | "sensitivity" => Some("normal"),
            _ => None,
        };
        self.fields.get(name).and_then(Value::as_str).or(default)
    }

    /// Whether the content of two states is the same.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.start == other.start
            && self.end == other.end
            && self.all_day == other.all_day
            && self.body == other.body
            && self.fields == other.fields
            && self.properties == other.properties
            && self.calendar == other.calendar
    }

    /// The extended properties, for the call log.
    pub(super) fn logged(&self) -> call_log::Properties {
        self.properties.texts()
    }

    /// Marks a write.
    pub(super) fn touch(&mut self, stamp: Stamp) {
        self.key = stamp.key;
        self.changed = stamp.changed;
        self.modified = stamp.at;
        self.is_rewritten = true;
        self.has_conflicted = false;
    }

    /// How long ago it was written.
    pub(super) fn age(&self, now: DateTime<Utc>) -> std::time::Duration {
        (now - self.modified).to_std().unwrap_or_default()
    }

    /// Its change key, which the server may have changed of its own accord since (B7).
    pub(super) fn change_key(&self, switches: &Switches, now: DateTime<Utc>) -> String {
        let age = self.age(now);
        let bumps = switches.change_key_bumps.iter().filter(|after| age >= **after).count();
        let bumps = u64::try_from(bumps).unwrap_or_default().min(KEYS_PER_WRITE - 1);
        ids::change_key(self.key + bumps)
    }

    pub(super) fn etag(&self, switches: &Switches, now: DateTime<Utc>) -> String {
        format!("W/\"{}\"", self.change_key(switches, now))
    }
}

/// A time of a body whose fields are of their types.
fn point(body: &Map<String, Value>, name: &str) -> Result<Option<Point>, ApiError> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Object(fields)) => Point::parse(fields, name).map(Some),
        Some(_) => Err(ApiError::property()),
    }
}

/// The page that an `itemBody` becomes.
fn page(body: &Value) -> String {
    let content = body.get("content").and_then(Value::as_str).unwrap_or_default();
    if body.get("contentType").and_then(Value::as_str) == Some("html") {
        html::of_html(content)
    } else {
        html::of_text(content)
    }
}

/// A place, with what the server adds to it.
fn located(place: &Value) -> Value {
    let mut whole = json!({"locationType": "default", "uniqueIdType": "private"});
    if let (Some(whole), Some(given)) = (whole.as_object_mut(), place.as_object()) {
        if let Some(name) = given.get("displayName").filter(|name| name.is_string()) {
            whole.insert("uniqueId".to_owned(), name.clone());
        }
        let given = given.iter().filter(|(_, value)| !value.is_null());
        whole.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    }
    whole
}

/// A guest, with what the server adds to her.
fn invited(guest: &Value) -> Value {
    let status = json!({"response": "none", "time": "0001-01-01T00:00:00Z"});
    let mut whole = json!({"type": "required", "status": status});
    if let (Some(whole), Some(given)) = (whole.as_object_mut(), guest.as_object()) {
        let given = given.iter().filter(|(_, value)| !value.is_null());
        whole.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    }
    whole
}
