//! An event: the fields that a client may write, and the resource that it reads.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::times::{Point, check_range};
use crate::emulator::call_log::Properties;

/// How long a key of an extended property may be; a longer one is dropped without a word.
const PROPERTY_KEY_LEN_MAX: usize = 44;
/// How long its value may be; a longer one is cut without a word.
const PROPERTY_VALUE_LEN_MAX: usize = 1_024;
/// How many of them an event may have.
const PROPERTIES_MAX: usize = 300;

const TEXTS: [&str; 5] = ["summary", "description", "location", "colorId", "eventLabelId"];
const FLAGS: [&str; 4] =
    ["anyoneCanAddSelf", "guestsCanInviteOthers", "guestsCanModify", "guestsCanSeeOtherGuests"];
const LISTS: [&str; 3] = ["attendees", "attachments", "recurrence"];
const OBJECTS: [&str; 9] = [
    "birthdayProperties",
    "conferenceData",
    "focusTimeProperties",
    "gadget",
    "originalStartTime",
    "outOfOfficeProperties",
    "reminders",
    "source",
    "workingLocationProperties",
];
/// What the server writes: taken from a client that sends back what it read, and ignored.
const READ_ONLY: [&str; 15] = [
    "attendeesOmitted",
    "created",
    "creator",
    "endTimeUnspecified",
    "etag",
    "eventType",
    "hangoutLink",
    "htmlLink",
    "iCalUID",
    "id",
    "kind",
    "locked",
    "organizer",
    "privateCopy",
    "recurringEventId",
];

/// `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    Tentative,
    Cancelled,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Tentative => "tentative",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Tentative, Self::Cancelled]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// What a client wrote, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) status: Option<Status>,
    pub(super) sequence: Option<i64>,
    pub(super) start: Point,
    pub(super) end: Point,
    /// The rest, as it is shown.
    pub(super) fields: Map<String, Value>,
}

/// A stored event.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) ical_uid: String,
    pub(super) creator: String,
    pub(super) status: Status,
    pub(super) sequence: i64,
    pub(super) start: Point,
    pub(super) end: Point,
    pub(super) fields: Map<String, Value>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
    pub(super) etag: u64,
    /// The calendar's change number of its last write.
    pub(super) changed: u64,
    /// How many requests by its id still find nothing.
    pub(super) missing: u32,
}

impl Draft {
    /// Checks a whole event, as insert and update take it.
    pub(super) fn parse(
        body: &Map<String, Value>,
        zone: Tz,
        ignore_unknown: bool,
    ) -> Result<Self, ApiError> {
        let mut draft = Map::new();
        let mut status = None;
        let mut sequence = None;
        for (name, value) in body {
            let name = name.as_str();
            match (name, value) {
                (_, Value::Null) | ("start" | "end" | "updated", _) => {}
                ("status", value) => {
                    let parsed = value.as_str().and_then(Status::parse);
                    status = Some(parsed.ok_or_else(|| invalid_value(name))?);
                }
                ("sequence", value) => {
                    let number = value.as_i64().filter(|number| *number >= 0);
                    let number = number.filter(|number| i32::try_from(*number).is_ok());
                    sequence = Some(number.ok_or_else(|| invalid_value(name))?);
                }
                ("extendedProperties", value) => {
                    let properties = extended_properties(value)?;
                    if !properties.is_empty() {
                        draft.insert(name.to_owned(), Value::Object(properties));
                    }
                }
                (name, value) => {
                    if let Some(value) = plain_field(name, value, ignore_unknown)? {
                        draft.insert(name.to_owned(), value);
                    }
                }
            }
        }
        let point = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Err(ApiError::required(&format!("Missing {name} time."))),
            Some(value) => Point::parse(value, name, zone),
        };
        let (start, end) = (point("start")?, point("end")?);
        check_range(start, end, zone)?;
        Ok(Self { status, sequence, start, end, fields: draft })
    }
}

fn invalid_value(name: &str) -> ApiError {
    ApiError::invalid(&format!("Invalid value for: {name}"))
}

/// A field without a meaning to the emulator: checked, and shown unless it is the default.
fn plain_field(name: &str, value: &Value, ignore_unknown: bool) -> Result<Option<Value>, ApiError> {
    let one_of = |names: &[&str]| match value.as_str() {
        Some(text) if names.contains(&text) => Ok((text != names[0]).then(|| value.clone())),
        Some(_) | None => Err(invalid_value(name)),
    };
    let checked = match name {
        // The default is not shown.
        "transparency" => return one_of(&["opaque", "transparent"]),
        "visibility" => return one_of(&["default", "public", "private", "confidential"]),
        _ if TEXTS.contains(&name) => value.is_string(),
        _ if FLAGS.contains(&name) => value.is_boolean(),
        _ if LISTS.contains(&name) => value.is_array(),
        _ if OBJECTS.contains(&name) => value.is_object(),
        _ if READ_ONLY.contains(&name) || ignore_unknown => return Ok(None),
        _ => {
            return Err(ApiError::bad_request(&format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
            )));
        }
    };
    if checked { Ok(Some(value.clone())) } else { Err(invalid_value(name)) }
}

/// `{private: {k: v}, shared: {k: v}}`, of strings only.
fn extended_properties(value: &Value) -> Result<Map<String, Value>, ApiError> {
    let wrong = || invalid_value("extendedProperties");
    let mut kept = Map::new();
    for (scope, properties) in value.as_object().ok_or_else(wrong)? {
        if !matches!(scope.as_str(), "private" | "shared") {
            return Err(wrong());
        }
        if properties.is_null() {
            continue;
        }
        let mut strings = Map::new();
        for (key, value) in properties.as_object().ok_or_else(wrong)? {
            match value {
                Value::String(text) if key.chars().count() <= PROPERTY_KEY_LEN_MAX => {
                    let text: String = text.chars().take(PROPERTY_VALUE_LEN_MAX).collect();
                    strings.insert(key.clone(), Value::String(text));
                }
                Value::Null | Value::String(_) => {}
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(wrong());
                }
            }
        }
        if strings.len() > PROPERTIES_MAX {
            return Err(wrong());
        }
        if !strings.is_empty() {
            kept.insert(scope.clone(), Value::Object(strings));
        }
    }
    Ok(kept)
}

impl Stored {
    /// Takes over what a client wrote, but for status and sequence.
    pub(super) fn take(&mut self, draft: &Draft) {
        self.start = draft.start;
        self.end = draft.end;
        self.fields.clone_from(&draft.fields);
    }

    /// Whether the visible content of two states is the same.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.sequence == other.sequence
            && self.start == other.start
            && self.end == other.end
            && self.fields == other.fields
    }

    /// What PATCH merges into: what a client may write.
    pub(super) fn writable(&self) -> Map<String, Value> {
        let mut body = self.fields.clone();
        body.insert("status".to_owned(), json!(self.status.name()));
        body.insert("start".to_owned(), self.start.render());
        body.insert("end".to_owned(), self.end.render());
        body
    }

    /// The properties of a scope, `private` or `shared`.
    pub(super) fn properties(&self, scope: &str) -> Properties {
        let found = self.fields.get("extendedProperties").and_then(|all| all.get(scope));
        let pairs = found.and_then(Value::as_object).into_iter().flatten();
        pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The quoted digits of its `ETag`.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.etag)
    }

    /// The resource. `bare`: of a deleted one only what is always there.
    pub(super) fn render(&self, calendar: &str, bare: bool) -> Value {
        if bare && self.status == Status::Cancelled {
            return json!({
                "kind": "calendar#event",
                "etag": self.etag(),
                "id": self.id,
                "status": self.status.name(),
            });
        }
        let mut resource = self.writable();
        let link = BASE64URL_NOPAD.encode(format!("{} {calendar}", self.id).as_bytes());
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let known = json!({
            "kind": "calendar#event",
            "etag": self.etag(),
            "id": self.id,
            "htmlLink": format!("https://www.google.com/calendar/event?eid={link}"),
            "created": time(self.created),
            "updated": time(self.updated),
            "creator": {"email": self.creator, "self": self.creator == calendar},
            "organizer": {"email": calendar, "self": true},
            "iCalUID": self.ical_uid,
            "sequence": self.sequence,
            "eventType": "default",
        });
        if let Value::Object(known) = known {
            resource.extend(known);
        }
        resource.entry("reminders").or_insert_with(|| json!({"useDefault": true}));
        Value::Object(resource)
    }
}

/// Merges as PATCH does: objects into objects, `null` removes, all else replaces.
pub(super) fn merge(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (base.get_mut(name), value) {
            (_, Value::Null) => {
                base.remove(name);
            }
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (Some(_) | None, value) => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}
