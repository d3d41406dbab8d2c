//! `events.list`: filters, pages and sync tokens.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::errors::{ApiError, resource};
use super::event::{Status, Stored};
use super::state::{Calendar, Switches};
use super::times::parse_parameter;
use crate::emulator::reply::{Content, Reply};

/// How many events a page has, unless the client says.
const RESULTS_DEFAULT: usize = 250;
/// How many it may ask for.
const RESULTS_MAX: usize = 2_500;
/// The same of a page of calendars.
const CALENDARS_DEFAULT: usize = 100;
const CALENDARS_MAX: usize = 250;

/// Taken and without a meaning here: they shape the answer's text or its guests.
const IGNORED: [&str; 9] = [
    "alt",
    "alwaysIncludeEmail",
    "eventTypes",
    "key",
    "maxAttendees",
    "prettyPrint",
    "quotaUser",
    "showHiddenInvitations",
    "timeZone",
];

/// What `syncToken` refuses beside it, says the reference of `events.list`.
const NOT_WITH_SYNC: [&str; 8] = [
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMax",
    "timeMin",
    "updatedMin",
];

/// What a list has, and `fields` can choose from.
const FIELDS: [&str; 11] = [
    "accessRole",
    "defaultReminders",
    "description",
    "etag",
    "items",
    "kind",
    "nextPageToken",
    "nextSyncToken",
    "summary",
    "timeZone",
    "updated",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Id,
    StartTime,
    Updated,
}

/// A query, checked.
struct ListQuery {
    show_deleted: bool,
    private: Vec<(String, String)>,
    shared: Vec<(String, String)>,
    ical_uid: Option<String>,
    text: Option<String>,
    time_min: Option<DateTime<Utc>>,
    time_max: Option<DateTime<Utc>>,
    updated_min: Option<DateTime<Utc>>,
    order: Order,
    /// What of the list is answered; `None`: all.
    fields: Option<Vec<String>>,
    results_max: usize,
    changed_after: Option<u64>,
    page_after: Option<String>,
    /// The calendar's change number when the first page was made: the sync token's.
    as_of: u64,
    /// Whether its last page gives a sync token.
    gives_token: bool,
    /// All but the page token, to know a page token of another query.
    fingerprint: u32,
}

fn flag(name: &str, value: &str) -> Result<bool, ApiError> {
    value.parse().map_err(|_| ApiError::bad_request(&format!("Invalid value for: {name}")))
}

fn pair(name: &str, value: &str) -> Result<(String, String), ApiError> {
    let pair = value.split_once('=').filter(|(key, _)| !key.is_empty());
    let pair = pair.map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| ApiError::bad_request(&format!("Invalid value for: {name}")))
}

/// A partial answer: the named fields of the list. One that reaches into them is answered whole.
fn chosen(value: &str) -> Result<Option<Vec<String>>, ApiError> {
    if value.contains(['/', '(', '*']) {
        return Ok(None);
    }
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| !FIELDS.contains(&name.as_str())) {
        None => Ok(Some(names)),
        Some(name) => {
            let message = format!("Invalid field selection {name}");
            Err(ApiError::new(400, "invalidParameter", &message))
        }
    }
}

impl ListQuery {
    fn parse(text: &str, calendar: &Calendar) -> Result<Self, ApiError> {
        let mut query = Self {
            show_deleted: false,
            private: Vec::new(),
            shared: Vec::new(),
            ical_uid: None,
            text: None,
            time_min: None,
            time_max: None,
            updated_min: None,
            order: Order::Id,
            fields: None,
            results_max: RESULTS_DEFAULT,
            changed_after: None,
            page_after: None,
            as_of: calendar.changes,
            gives_token: true,
            fingerprint: 0,
        };
        let mut given = BTreeMap::<String, String>::new();
        let mut page_token = None;
        let mut canonical = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "privateExtendedProperty" => query.private.push(pair(&name, &value)?),
                "sharedExtendedProperty" => query.shared.push(pair(&name, &value)?),
                "pageToken" => {
                    page_token = Some(value.into_owned());
                    continue;
                }
                _ => {}
            }
            canonical.push(format!("{name}={value}"));
            given.insert(name.into_owned(), value.into_owned());
        }
        canonical.sort_unstable();
        query.fingerprint = crc32fast::hash(canonical.join("&").as_bytes());
        for (name, value) in &given {
            query.take(name, value)?;
        }
        query.gives_token = !NOT_WITH_SYNC.iter().any(|name| given.contains_key(*name));
        query.check(&given)?;
        if let Some(token) = given.get("syncToken") {
            if !query.gives_token || given.get("showDeleted").is_some_and(|value| value == "false")
            {
                return Err(ApiError::bad_request(
                    "Sync token cannot be used with the other parameters of the request.",
                ));
            }
            query.changed_after = Some(calendar.read_sync_token(token)?);
        }
        if let Some(token) = page_token {
            let wrong = || ApiError::invalid("Invalid page token value.");
            let mut parts = token.splitn(3, '.');
            let mut number = || parts.next()?.parse::<u64>().ok();
            let fingerprint = number().ok_or_else(wrong)?;
            query.as_of = number().ok_or_else(wrong)?;
            if fingerprint != u64::from(query.fingerprint) {
                return Err(wrong());
            }
            query.page_after = Some(parts.next().ok_or_else(wrong)?.to_owned());
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let wrong = || ApiError::bad_request(&format!("Invalid value for: {name}"));
        match name {
            "privateExtendedProperty" | "sharedExtendedProperty" | "syncToken" => {}
            "showDeleted" => self.show_deleted = flag(name, value)?,
            "singleEvents" => {
                flag(name, value)?;
            }
            "iCalUID" => self.ical_uid = Some(value.to_owned()),
            "q" => self.text = Some(value.to_lowercase()),
            "timeMin" => self.time_min = Some(parse_parameter(name, value)?),
            "timeMax" => self.time_max = Some(parse_parameter(name, value)?),
            "updatedMin" => self.updated_min = Some(parse_parameter(name, value)?),
            "maxResults" => {
                let count = value.parse::<usize>().ok().filter(|count| *count > 0);
                self.results_max = count.ok_or_else(wrong)?.min(RESULTS_MAX);
            }
            "fields" => self.fields = chosen(value)?,
            "orderBy" => {
                self.order = match value {
                    "startTime" => Order::StartTime,
                    "updated" => Order::Updated,
                    _ => return Err(wrong()),
                };
            }
            _ if IGNORED.contains(&name) => {}
            _ => {
                let message = format!("Unknown name \"{name}\": Cannot bind query parameter.");
                return Err(ApiError::bad_request(&message));
            }
        }
        Ok(())
    }

    fn check(&self, given: &BTreeMap<String, String>) -> Result<(), ApiError> {
        if self.order == Order::StartTime
            && given.get("singleEvents").is_none_or(|value| value != "true")
        {
            let message = "The requested ordering is not available for the particular query.";
            return Err(ApiError::bad_request(message));
        }
        match (self.time_min, self.time_max) {
            (Some(min), Some(max)) if max <= min => Err(ApiError::time_range_empty()),
            _ => Ok(()),
        }
    }

    fn wants(&self, event: &Stored, calendar: &Calendar, switches: &Switches) -> bool {
        let cancelled = event.status == Status::Cancelled;
        if cancelled
            && !self.show_deleted
            && self.changed_after.is_none()
            && self.updated_min.is_none()
        {
            return false;
        }
        let bare = cancelled && switches.bare_tombstones;
        let has = |scope: &str, wanted: &[(String, String)]| {
            let properties = event.properties(scope);
            wanted.iter().all(|(key, value)| !bare && properties.get(key) == Some(value))
        };
        let says = |text: &String| {
            ["summary", "description", "location"].iter().any(|name| {
                let field = event.fields.get(*name).and_then(Value::as_str);
                field.is_some_and(|field| field.to_lowercase().contains(text))
            })
        };
        let zone = calendar.zone;
        self.changed_after.is_none_or(|change| event.changed > change)
            && self.ical_uid.as_ref().is_none_or(|uid| *uid == event.ical_uid)
            && self.time_min.is_none_or(|min| event.end.instant(zone) > min)
            && self.time_max.is_none_or(|max| event.start.instant(zone) < max)
            && self.updated_min.is_none_or(|min| event.updated >= min)
            && self.text.as_ref().is_none_or(says)
            && has("private", &self.private)
            && has("shared", &self.shared)
    }

    /// Where an event stands in the answer: keys compare as texts.
    fn key(&self, event: &Stored, twin: usize, calendar: &Calendar) -> String {
        // Seconds since the year 0 have no sign, so that their digits compare.
        let digits = |at: DateTime<Utc>| at.timestamp_micros() + 62_200_000_000_000_000;
        let id = &event.id;
        match self.order {
            Order::Id => format!("{id}~{twin}"),
            Order::StartTime => {
                format!("{:020}{id}~{twin}", digits(event.start.instant(calendar.zone)))
            }
            Order::Updated => format!("{:020}{id}~{twin}", digits(event.updated)),
        }
    }
}

/// The query of `calendarList.list`.
pub(super) struct CalendarPage {
    pub(super) results_max: usize,
    pub(super) after: Option<String>,
}

impl CalendarPage {
    /// `fields` is not obeyed: an entry is answered whole, as are all calendars, hidden ones or not.
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut page = Self { results_max: CALENDARS_DEFAULT, after: None };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = || ApiError::bad_request(&format!("Invalid value for: {name}"));
            match name.as_ref() {
                "maxResults" => {
                    let count = value.parse::<usize>().ok().filter(|count| *count > 0);
                    page.results_max = count.ok_or_else(wrong)?.min(CALENDARS_MAX);
                }
                "pageToken" => page.after = Some(value.into_owned()),
                "fields" | "minAccessRole" | "showDeleted" | "showHidden" | "alt"
                | "prettyPrint" => {}
                _ => {
                    let message = format!("Unknown name \"{name}\": Cannot bind query parameter.");
                    return Err(ApiError::bad_request(&message));
                }
            }
        }
        Ok(page)
    }
}

/// Answers `events.list`.
pub(super) fn list(
    calendar: &Calendar,
    query: &str,
    switches: &Switches,
    now: DateTime<Utc>,
) -> Result<Reply, ApiError> {
    let query = ListQuery::parse(query, calendar)?;
    let mut found = BTreeMap::new();
    for twins in calendar.events.values() {
        for (twin, event) in twins.iter().enumerate() {
            let key = query.key(event, twin, calendar);
            let new = query.page_after.as_ref().is_none_or(|after| key > *after);
            if new && query.wants(event, calendar, switches) {
                found.insert(key, event);
            }
        }
    }
    let starved = switches.empty_first_page && query.page_after.is_none();
    let count = if starved { 0 } else { query.results_max };
    let more = starved || found.len() > count;
    let page: Vec<_> = found.into_iter().take(count).collect();
    let items: Vec<Value> = page
        .iter()
        .map(|(_, event)| event.render(&calendar.id, switches.bare_tombstones))
        .collect();
    let mut answer = json!({
        "kind": "calendar#events",
        "etag": format!("\"p{}\"", calendar.changes),
        "summary": calendar.summary,
        "description": "",
        "updated": now.to_rfc3339_opts(SecondsFormat::Millis, true),
        "timeZone": calendar.zone.name(),
        "accessRole": "owner",
        "defaultReminders": [],
        "items": items,
    });
    if more {
        // Every key is above the empty one.
        let key = page.last().map_or("", |(key, _)| key);
        answer["nextPageToken"] = json!(format!("{}.{}.{key}", query.fingerprint, query.as_of));
    } else if query.gives_token {
        answer["nextSyncToken"] = json!(calendar.sync_token(query.as_of));
    }
    let mut reply = resource(answer);
    if let (Content::Json(_, Value::Object(answer)), Some(fields)) =
        (&mut reply.body, &query.fields)
    {
        answer.retain(|name, _| fields.contains(name));
    }
    Ok(reply)
}
