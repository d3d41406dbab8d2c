//! Google Calendar v3, as its server behaves (A1 to A13 of PROVIDERS.md).
//!
//! A body is the event as the service inserts it: `id`, `status`, `summary`, `description`,
//! `location`, `start` and `end` with `dateTime` and `timeZone`, and the marker as
//! `bookingUid`, `bookingConnection`, `bookingRevision`, `bookingDigest` and `bookingText` among
//! `extendedProperties.private`. An update is a PATCH, which merges.

use chrono::DateTime;

use super::event::{By, Event, Marker, Stood};
use super::json::{self, Fields, Malformed};
use super::shelf::{Kept, Shelf};
use super::switches::{self, Collisions, MissingFor, TombstoneUpdate};
use super::{Ask, Said};

const UID: &str = "bookingUid";
const CONNECTION: &str = "bookingConnection";
const REVISION: &str = "bookingRevision";
const DIGEST: &str = "bookingDigest";
const TEXT: &str = "bookingText";

/// Google's server, without the events.
#[derive(Debug, Clone)]
pub(super) struct Google {
    pub(super) switches: switches::Google,
}

/// What a body says of an event's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Live,
    Cancelled,
}

impl Google {
    /// Forgets what was deleted long ago (A3).
    pub(super) fn age(&self, shelf: &mut Shelf) {
        if let Some(kept_for) = self.switches.tombstones_kept_for
            && let Some(until) = shelf.now().checked_sub(kept_for)
        {
            shelf.forget(By::Server, until);
        }
    }

    pub(super) fn answer(&self, shelf: &mut Shelf, request: u64, ask: &Ask) -> Said {
        let by = By::Request(request);
        match ask {
            Ask::Create { name, body } => self.insert(shelf, by, name, body),
            Ask::Update { name, if_match, body } => {
                self.patch(shelf, by, name, if_match.as_deref(), body)
            }
            Ask::Delete { name, if_match } => self.delete(shelf, by, name, if_match.as_deref()),
            Ask::Read { name } => self.read(shelf, name),
        }
    }

    fn insert(&self, shelf: &mut Shelf, by: By, name: &str, body: &[u8]) -> Said {
        let mut event = Event::blank(name, format!("{name}@google.com"), by);
        let status = match json::object(body).and_then(|body| merge(&mut event, &body)) {
            Ok(status) => status,
            Err(Malformed) => return Said::refused(400, "invalid"),
        };
        let has_times = !event.start.is_empty() && !event.end.is_empty();
        if !is_event_id(name) || !has_times || status == Some(Status::Cancelled) {
            return Said::refused(400, "invalid");
        }
        if !json::is_after(&event.end, &event.start) {
            return Said::refused(400, "timeRangeEmpty");
        }
        let Some(first) = shelf.find(name) else {
            if shelf.find_deleted(name).is_some() {
                return Said::refused(409, "duplicate");
            }
            shelf.add(by, event, body);
            return written(shelf, name);
        };
        let age = shelf.now().saturating_sub(first.made_at);
        let id = first.id;
        match self.switches.collisions {
            Collisions::Overwritten(within) if age < within => shelf.rewrite(id, by, event, body),
            Collisions::Same(within) if age < within => {}
            Collisions::Twins(within) if age < within => {
                shelf.add(by, event, body);
            }
            Collisions::Refused
            | Collisions::Overwritten(_)
            | Collisions::Same(_)
            | Collisions::Twins(_) => return Said::refused(409, "duplicate"),
        }
        written(shelf, name)
    }

    fn patch(
        &self,
        shelf: &mut Shelf,
        by: By,
        name: &str,
        if_match: Option<&str>,
        body: &[u8],
    ) -> Said {
        let Some(kept) = self.find(shelf, name) else {
            return Said::refused(404, "notFound");
        };
        let is_deleted = kept.deleted_at.is_some();
        if is_deleted && self.switches.tombstone_update == TombstoneUpdate::Forbidden {
            return Said::refused(403, "forbidden");
        }
        if !meets(if_match, kept) {
            return Said::refused(412, "conditionNotMet");
        }
        let (id, mut event) = (kept.id, kept.event.clone());
        let status = match json::object(body).and_then(|body| merge(&mut event, &body)) {
            Ok(status) => status,
            Err(Malformed) => return Said::refused(400, "invalid"),
        };
        if !json::is_after(&event.end, &event.start) {
            return Said::refused(400, "timeRangeEmpty");
        }
        let is_deleted = status.map_or(is_deleted, |status| status == Status::Cancelled);
        let deleted_at = is_deleted.then(|| shelf.now());
        shelf.change(id, by, |kept| {
            (kept.event, kept.deleted_at) = (event, deleted_at);
        });
        written(shelf, name)
    }

    fn delete(&self, shelf: &mut Shelf, by: By, name: &str, if_match: Option<&str>) -> Said {
        let Some(kept) = self.find(shelf, name) else {
            return Said::refused(404, "notFound");
        };
        if kept.deleted_at.is_some() {
            return Said::refused(410, "deleted");
        }
        if !meets(if_match, kept) {
            return Said::refused(412, "conditionNotMet");
        }
        let id = kept.id;
        shelf.delete(id, by);
        Said::bare_done(204)
    }

    fn read(&self, shelf: &Shelf, name: &str) -> Said {
        if self.is_missing(shelf, name) {
            return Said::Absent;
        }
        match shelf.stood(name, shelf.now().saturating_sub(self.switches.reads_lag)) {
            Stood::Nothing => Said::Absent,
            Stood::Tombstone => Said::Tombstone,
            Stood::Live(event) => Said::live(&event),
        }
    }

    /// What a write by id finds, tombstones included.
    fn find<'a>(&self, shelf: &'a Shelf, name: &str) -> Option<&'a Kept> {
        if self.switches.missing_for == MissingFor::All && self.is_missing(shelf, name) {
            return None;
        }
        shelf.find(name).or_else(|| shelf.find_deleted(name))
    }

    fn is_missing(&self, shelf: &Shelf, name: &str) -> bool {
        let made = shelf.find(name).or_else(|| shelf.find_deleted(name));
        made.is_some_and(|kept| {
            shelf.now().saturating_sub(kept.made_at) < self.switches.missing_after_insert
        })
    }
}

fn written(shelf: &Shelf, name: &str) -> Said {
    let kept = shelf.find(name).or_else(|| shelf.find_deleted(name));
    Said::done(200, kept.map(|kept| &kept.event))
}

fn meets(if_match: Option<&str>, kept: &Kept) -> bool {
    if_match.is_none_or(|wanted| wanted == "*" || kept.event.etag.as_deref() == Some(wanted))
}

/// `^[a-v0-9]{5,1024}$` (A1).
fn is_event_id(id: &str) -> bool {
    (5..=1024).contains(&id.len())
        && id.bytes().all(|byte| matches!(byte, b'a'..=b'v' | b'0'..=b'9'))
}

fn merge(event: &mut Event, body: &Fields) -> Result<Option<Status>, Malformed> {
    if json::text(body, "id")?.is_some_and(|id| id != event.name) {
        return Err(Malformed);
    }
    if body.contains_key("summary") {
        event.summary = json::text(body, "summary")?.unwrap_or_default();
    }
    json::merge(&mut event.description, body, "description")?;
    json::merge(&mut event.location, body, "location")?;
    if let Some(start) = time(body, "start")? {
        event.start = start;
    }
    if let Some(end) = time(body, "end")? {
        event.end = end;
    }
    merge_marker(event, body)?;
    let status = json::text(body, "status")?;
    event.tentative = match status.as_deref() {
        Some("tentative") => true,
        Some("confirmed") => false,
        Some("cancelled") => return Ok(Some(Status::Cancelled)),
        Some(_) => return Err(Malformed),
        None => return Ok(None),
    };
    Ok(Some(Status::Live))
}

/// `dateTime` with an offset; a `date` beside it is `null`.
fn time(body: &Fields, key: &str) -> Result<Option<String>, Malformed> {
    let Some(time) = json::fields(body, key)? else {
        return Ok(None);
    };
    if json::text(time, "date")?.is_some() {
        return Err(Malformed);
    }
    let text = json::text(time, "dateTime")?.ok_or(Malformed)?;
    let at = DateTime::parse_from_rfc3339(&text).map_err(|_| Malformed)?;
    Ok(Some(json::utc(at.to_utc())))
}

/// Private properties merge one by one.
fn merge_marker(event: &mut Event, body: &Fields) -> Result<(), Malformed> {
    let Some(extended) = json::fields(body, "extendedProperties")? else {
        return Ok(());
    };
    let Some(private) = json::fields(extended, "private")? else {
        return Ok(());
    };
    let now = event.marker.take();
    let property = |key: &str, value: fn(&Marker) -> Option<String>| {
        let mut property = now.as_ref().and_then(value);
        json::merge(&mut property, private, key).map(|()| property)
    };
    event.marker = json::marker(
        property(UID, |marker| Some(marker.uid.clone()))?,
        property(CONNECTION, |marker| Some(marker.connection.clone()))?,
        property(REVISION, |marker| Some(marker.revision.to_string()))?,
        property(DIGEST, |marker| Some(marker.digest.clone()))?,
        property(TEXT, |marker| marker.text.clone())?,
    );
    Ok(())
}
