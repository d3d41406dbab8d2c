//! What each call does.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::errors::{ApiError, resource};
use super::event::{Draft, Status, Stored, merge};
use super::query::{self, CalendarPage};
use super::routes::ApiRequest;
use super::state::{Calendar, Collisions, LowerSequence, Stamp, State, TombstoneUpdate};
use crate::emulator::call_log::{Effect, Verb};
use crate::emulator::life::Applied;
use crate::emulator::reply::Reply;
use crate::emulator::tokens::Power;

/// Taken on single events, and without a meaning here. A partial answer (`fields`) is whole.
const IGNORED: [&str; 12] = [
    "alt",
    "alwaysIncludeEmail",
    "conferenceDataVersion",
    "eventLabelVersion",
    "fields",
    "key",
    "maxAttendees",
    "prettyPrint",
    "quotaUser",
    "sendNotifications",
    "supportsAttachments",
    "timeZone",
];

impl State {
    /// Does what a request asks for, all of it or nothing.
    pub(super) fn apply_at(&mut self, request: &ApiRequest, now: DateTime<Utc>) -> Applied {
        self.age(now);
        match self.try_apply(request, now) {
            Ok(applied) => applied,
            Err(error) => Applied::nothing(error.into()),
        }
    }

    fn try_apply(&mut self, request: &ApiRequest, now: DateTime<Utc>) -> Result<Applied, ApiError> {
        let token = self.tokens.authenticate(request.header(AUTHORIZATION), now)?;
        let (account, access) = (token.account.clone(), token.access.clone());
        let Some(body) = &request.body else {
            return Err(ApiError::body_too_large());
        };
        let name = request.route.calendar.as_deref().unwrap_or_default();
        let id = request.route.event.as_deref().unwrap_or_default();
        // Which scopes each method accepts: the discovery document.
        let needed = match request.route.verb {
            Verb::CalendarList => Power::ListCalendars,
            Verb::CalendarGet => Power::ReadCalendar,
            Verb::List | Verb::Get => Power::ReadEvents,
            Verb::Insert | Verb::Update | Verb::Patch | Verb::Delete => Power::WriteEvents,
            Verb::Account => Power::KnowUser,
            // These are other providers', and the authorisation server's.
            Verb::Other | Verb::Changes | Verb::Authorize | Verb::DeviceCode | Verb::Token => {
                return Err(ApiError::not_found());
            }
        };
        let allowed = access.opens(needed);
        let is_write = needed == Power::WriteEvents;
        if !allowed && !is_write {
            return Err(ApiError::insufficient_scopes());
        }
        match request.route.verb {
            Verb::Account => {
                let known = self.oauth.user_info(&account);
                return Ok(Applied::nothing(resource(known)));
            }
            Verb::CalendarList => {
                return self.list_calendars(&account, &request.query).map(Applied::nothing);
            }
            Verb::CalendarGet => {
                let calendar = self.calendar(&account, name)?;
                return Ok(Applied::nothing(resource(calendar_resource(calendar))));
            }
            Verb::List => {
                let switches = self.switches.clone();
                let calendar = self.calendar(&account, name)?;
                return query::list(calendar, &request.query, &switches, now).map(Applied::nothing);
            }
            Verb::Get
            | Verb::Insert
            | Verb::Update
            | Verb::Patch
            | Verb::Delete
            | Verb::Other
            | Verb::Changes
            | Verb::Authorize
            | Verb::DeviceCode
            | Verb::Token => {}
        }
        let stamp = self.stamp(now);
        let is_writable = self.calendar(&account, name)?.is_writable;
        check_parameters(&request.query)?;
        if request.route.verb == Verb::Get {
            return self.get(&account, name, id, request);
        }
        if !allowed {
            return Err(ApiError::insufficient_scopes());
        }
        if !is_writable {
            return Err(ApiError::writer_access_required());
        }
        if request.route.verb == Verb::Delete {
            return self.delete(&account, name, id, request, stamp);
        }
        let body = parse_body(request.header(CONTENT_TYPE), body)?;
        if request.route.verb == Verb::Insert {
            return self.insert(&account, name, &body, stamp);
        }
        self.write(&account, name, id, request, &body, stamp)
    }

    /// In the order of their ids; a page token is the last id of the page before.
    fn list_calendars(&self, account: &str, query: &str) -> Result<Reply, ApiError> {
        let CalendarPage { results_max, after } = CalendarPage::parse(query)?;
        let own = self.calendars.values().filter(|calendar| calendar.owner == account);
        let mut rest = own.filter(|calendar| after.as_ref().is_none_or(|id| calendar.id > *id));
        let page: Vec<_> = rest.by_ref().take(results_max).collect();
        let items: Vec<Value> = page
            .iter()
            .map(|calendar| {
                let mut entry = calendar_resource(calendar);
                entry["kind"] = json!("calendar#calendarListEntry");
                entry["accessRole"] = json!(if calendar.is_writable { "owner" } else { "reader" });
                if calendar.id == account {
                    entry["primary"] = json!(true);
                }
                entry
            })
            .collect();
        let mut answer = json!({
            "kind": "calendar#calendarList",
            "etag": "\"calendars\"",
            "items": items,
        });
        match page.last().filter(|_| rest.next().is_some()) {
            Some(last) => answer["nextPageToken"] = json!(last.id),
            None => answer["nextSyncToken"] = json!("calendars"),
        }
        Ok(resource(answer))
    }

    fn get(
        &mut self,
        account: &str,
        name: &str,
        id: &str,
        request: &ApiRequest,
    ) -> Result<Applied, ApiError> {
        let bare = self.switches.bare_tombstones;
        let calendar = self.calendar(account, name)?;
        let calendar_id = calendar.id.clone();
        let event = present(calendar, id)?;
        if request.header(IF_NONE_MATCH) == Some(event.etag().as_str()) {
            let etag = Some(event.etag());
            return Ok(Applied::nothing(Reply { status: 304, etag, ..Reply::no_content() }));
        }
        Ok(Applied::nothing(resource(event.render(&calendar_id, bare))))
    }

    fn insert(
        &mut self,
        account: &str,
        name: &str,
        body: &Map<String, Value>,
        stamp: Stamp,
    ) -> Result<Applied, ApiError> {
        let switches = self.switches.clone();
        let events_max = self.events_max;
        let made = self.make_id(name);
        let calendar = self.calendar(account, name)?;
        let text = |field: &str| match body.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::invalid(&format!("Invalid value for: {field}"))),
        };
        let (id, ical_uid) = (text("id")?, text("iCalUID")?);
        if id.is_some() && ical_uid.is_some() {
            let message = "Only one of id and iCalUID may be given at event creation.";
            return Err(ApiError::bad_request(message));
        }
        if id.as_deref().is_some_and(|id| !is_event_id(id)) {
            return Err(ApiError::invalid("Invalid resource id value."));
        }
        let draft = Draft::parse(body, calendar.zone, switches.unknown_fields_ignored)?;
        let status = draft.status.unwrap_or(Status::Confirmed);
        if status == Status::Cancelled {
            return Err(ApiError::invalid("Invalid value for: status"));
        }
        let id = id.unwrap_or(made);
        let known_uid = ical_uid.as_ref().is_some_and(|uid| {
            calendar.all().any(|it| it.ical_uid == *uid && it.status != Status::Cancelled)
        });
        collide(calendar, &id, known_uid, switches.collisions)?;
        if calendar.events.len() >= events_max {
            return Err(ApiError::calendar_full());
        }
        calendar.changes += 1;
        let event = Stored {
            ical_uid: ical_uid.unwrap_or_else(|| format!("{id}@google.com")),
            id: id.clone(),
            creator: account.to_owned(),
            status,
            sequence: draft.sequence.unwrap_or_default(),
            start: draft.start,
            end: draft.end,
            fields: draft.fields,
            created: stamp.at,
            updated: stamp.at,
            etag: stamp.etag,
            changed: calendar.changes,
            missing: switches.missing_after_insert,
        };
        let applied = Applied {
            reply: resource(event.render(&calendar.id, false)),
            effect: Effect::Created,
            event: Some(id.clone()),
            before: None,
            after: Some(event.properties("private")),
        };
        calendar.events.entry(id).or_default().push(event);
        Ok(applied)
    }

    /// PUT and PATCH.
    fn write(
        &mut self,
        account: &str,
        name: &str,
        id: &str,
        request: &ApiRequest,
        body: &Map<String, Value>,
        stamp: Stamp,
    ) -> Result<Applied, ApiError> {
        let switches = self.switches.clone();
        let calendar = self.calendar(account, name)?;
        let (zone, calendar_id, change) =
            (calendar.zone, calendar.id.clone(), calendar.changes + 1);
        let event = present(calendar, id)?;
        if event.status == Status::Cancelled
            && switches.tombstone_update == TombstoneUpdate::Forbidden
        {
            return Err(ApiError::forbidden());
        }
        check_if_match(event, request.header(IF_MATCH))?;
        for (field, own) in [("id", &event.id), ("iCalUID", &event.ical_uid)] {
            if body.get(field).is_some_and(|given| given.as_str() != Some(own)) {
                return Err(ApiError::invalid(&format!("Invalid value for: {field}")));
            }
        }
        let draft = if request.route.verb == Verb::Patch {
            let mut whole = event.writable();
            merge(&mut whole, body);
            Draft::parse(&whole, zone, switches.unknown_fields_ignored)?
        } else {
            Draft::parse(body, zone, switches.unknown_fields_ignored)?
        };
        let mut next = event.clone();
        next.take(&draft);
        next.status = draft.status.unwrap_or(Status::Confirmed);
        next.sequence = next_sequence(event, &draft, switches.lower_sequence)?;
        let effect = match (event.status, next.status) {
            (Status::Cancelled, Status::Cancelled) => Effect::Nothing,
            (Status::Cancelled, Status::Confirmed | Status::Tentative) => Effect::Created,
            (Status::Confirmed | Status::Tentative, Status::Cancelled) => Effect::Deleted,
            (Status::Confirmed | Status::Tentative, Status::Confirmed | Status::Tentative) => {
                if next.looks_like(event) {
                    Effect::Rewritten
                } else {
                    Effect::Updated
                }
            }
        };
        next.touch(stamp, change);
        let before = event.properties("private");
        let after = next.properties("private");
        let reply = resource(next.render(&calendar_id, switches.bare_tombstones));
        *event = next;
        calendar.changes = change;
        Ok(Applied {
            reply,
            effect,
            event: Some(id.to_owned()),
            before: Some(before),
            after: Some(after),
        })
    }

    fn delete(
        &mut self,
        account: &str,
        name: &str,
        id: &str,
        request: &ApiRequest,
        stamp: Stamp,
    ) -> Result<Applied, ApiError> {
        let calendar = self.calendar(account, name)?;
        let change = calendar.changes + 1;
        let event = present(calendar, id)?;
        if event.status == Status::Cancelled {
            return Err(ApiError::deleted());
        }
        check_if_match(event, request.header(IF_MATCH))?;
        event.status = Status::Cancelled;
        event.touch(stamp, change);
        let before = event.properties("private");
        calendar.changes = change;
        Ok(Applied {
            reply: Reply::no_content(),
            effect: Effect::Deleted,
            event: Some(id.to_owned()),
            before: Some(before),
            after: None,
        })
    }
}

impl Stored {
    /// Marks a write.
    pub(super) fn touch(&mut self, stamp: Stamp, change: u64) {
        self.etag = stamp.etag;
        self.updated = stamp.at;
        self.changed = change;
    }
}

fn calendar_resource(calendar: &Calendar) -> Value {
    json!({
        "kind": "calendar#calendar",
        "etag": format!("\"c{}\"", calendar.epoch),
        "id": calendar.id,
        "summary": calendar.summary,
        "timeZone": calendar.zone.name(),
    })
}

/// The event that a request by id finds, tombstones included.
fn present<'a>(calendar: &'a mut Calendar, id: &str) -> Result<&'a mut Stored, ApiError> {
    let event = calendar.find_mut(id).ok_or_else(ApiError::not_found)?;
    if event.missing > 0 {
        event.missing -= 1;
        return Err(ApiError::not_found());
    }
    Ok(event)
}

/// Whether an insert under this id may go on; makes room where the later one wins.
fn collide(
    calendar: &mut Calendar,
    id: &str,
    known_uid: bool,
    collisions: Collisions,
) -> Result<(), ApiError> {
    let Some(existing) = calendar.find_mut(id) else {
        return if known_uid { Err(ApiError::duplicate()) } else { Ok(()) };
    };
    match collisions {
        Collisions::Refused => Err(ApiError::duplicate()),
        // What is not detected is a race; a tombstone is no racer.
        Collisions::Twins | Collisions::LastWins if existing.status == Status::Cancelled => {
            Err(ApiError::duplicate())
        }
        Collisions::Twins => Ok(()),
        Collisions::LastWins => {
            calendar.events.remove(id);
            Ok(())
        }
    }
}

/// `^[a-v0-9]{5,1024}$`.
fn is_event_id(id: &str) -> bool {
    (5..=1024).contains(&id.len())
        && id.bytes().all(|byte| matches!(byte, b'a'..=b'v' | b'0'..=b'9'))
}

/// `If-Match`: `*`, or a list of tags of which one is the event's. A weak one never matches.
fn check_if_match(event: &Stored, header: Option<&str>) -> Result<(), ApiError> {
    let Some(header) = header else {
        return Ok(());
    };
    let own = event.etag();
    if header.trim() == "*" || header.split(',').any(|tag| tag.trim() == own) {
        return Ok(());
    }
    Err(ApiError::condition_not_met())
}

/// The given one, never below the present one; else the present one, and one more if it moved.
fn next_sequence(event: &Stored, draft: &Draft, lower: LowerSequence) -> Result<i64, ApiError> {
    match draft.sequence {
        None => {
            let moved = event.start.render() != draft.start.render()
                || event.end.render() != draft.end.render();
            Ok(event.sequence + i64::from(moved))
        }
        Some(given) if given >= event.sequence => Ok(given),
        Some(_) if lower == LowerSequence::Ignored => Ok(event.sequence),
        Some(_) => Err(ApiError::invalid(
            "Invalid sequence value. The specified sequence number is below the current \
             sequence number of the resource. Re-fetch the resource and use its sequence number \
             on the following request.",
        )),
    }
}

/// The query of a call on one event.
fn check_parameters(query: &str) -> Result<(), ApiError> {
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "sendUpdates" if matches!(value.as_ref(), "all" | "externalOnly" | "none") => {}
            "sendUpdates" => {
                let message = format!(
                    "Invalid string value: '{value}'. Allowed values: [all, externalOnly, none]"
                );
                return Err(ApiError::new(400, "invalidParameter", &message));
            }
            name if IGNORED.contains(&name) => {}
            name => {
                let message = format!("Unknown name \"{name}\": Cannot bind query parameter.");
                return Err(ApiError::bad_request(&message));
            }
        }
    }
    Ok(())
}

fn parse_body(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let message = format!("Unsupported content with type: {kind}");
        return Err(ApiError::new(400, "badContent", &message));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) | Err(_) => Err(ApiError::new(400, "parseError", "Parse Error")),
    }
}
