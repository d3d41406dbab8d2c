//! Microsoft Graph, as its server behaves (B1 to B10 of PROVIDERS.md).
//!
//! A body is a Graph event: `subject`, `body.content`, `location.displayName`, `start` and `end`
//! with `dateTime` (local, without an offset) and `timeZone` (`UTC` or an IANA name), `showAs`,
//! and `singleValueExtendedProperties` with the marker in the one whose id ends in ` Name bookingMarker`:
//! a JSON text of `uid`, `connection`, `revision` (a number), `digest` and `text`. A POST has the
//! event's name as `transactionId` too; a PATCH must not (B4).
//!
//! Graph's own ids are of the server's making. What is asked for is such an id, or a name, which stands
//! for the value of a property that the service derives it from and is searched for.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveDateTime;
use serde_json::Value;

use super::event::{By, Event, Marker};
use super::json::{self, Fields, Malformed};
use super::shelf::{Kept, Shelf};
use super::switches::{self, AfterDelete, Duplicate, SecondDelete};
use super::{Ask, Said};

/// How the id of our extended property ends: `String {GUID} Name bookingMarker`.
const PROPERTY: &str = " Name bookingMarker";

/// Graph's server, without the events.
#[derive(Debug, Clone)]
pub(super) struct Microsoft {
    pub(super) switches: switches::Microsoft,
    posted: Vec<Posted>,
    /// The writes after which a conflict was already told of.
    conflicts: BTreeSet<u64>,
}

/// A `transactionId` that is remembered (B2).
#[derive(Debug, Clone)]
struct Posted {
    name: String,
    at: Duration,
    body: Vec<u8>,
    id: u64,
    /// What the answer said.
    event: Event,
}

impl Microsoft {
    pub(super) fn new(switches: switches::Microsoft) -> Self {
        Self { switches, posted: Vec::new(), conflicts: BTreeSet::new() }
    }

    pub(super) fn answer(&mut self, shelf: &mut Shelf, request: u64, ask: &Ask) -> Said {
        let by = By::Request(request);
        match ask {
            Ask::Create { name, body } => self.post(shelf, by, name, body),
            Ask::Update { name, if_match, body } => {
                self.patch(shelf, by, name, if_match.as_deref(), body)
            }
            Ask::Delete { name, if_match } => self.delete(shelf, by, name, if_match.as_deref()),
            Ask::Read { name } => {
                self.find(shelf, name).map_or(Said::Absent, |kept| Said::live(&kept.event))
            }
        }
    }

    fn post(&mut self, shelf: &mut Shelf, by: By, name: &str, body: &[u8]) -> Said {
        if let Some(said) = self.repeated(shelf, name, body) {
            return said;
        }
        let id = shelf.number();
        let mut event = Event::blank(name, format!("040000008200E00074C5B7101A82E008{id:08X}"), by);
        let merged = json::object(body).and_then(|body| {
            let own = json::text(&body, "transactionId")?;
            merge(&mut event, &body)?;
            Ok(own)
        });
        if merged != Ok(Some(name.to_owned())) || !json::is_after(&event.end, &event.start) {
            return Said::refused(400, "ErrorInvalidRequest");
        }
        let id = shelf.add(by, event, body);
        let Some(made) = shelf.live().find(|kept| kept.id == id) else {
            unreachable!("what was added is there")
        };
        let event = made.event.clone();
        self.posted.retain(|posted| posted.name != name);
        let (name, at, body) = (name.to_owned(), shelf.now(), body.to_vec());
        self.posted.push(Posted { name, at, body, id, event: event.clone() });
        Said::done(201, Some(&event))
    }

    /// What a POST is told whose `transactionId` is remembered.
    fn repeated(&self, shelf: &Shelf, name: &str, body: &[u8]) -> Option<Said> {
        let posted = self.posted.iter().find(|posted| posted.name == name)?;
        let age = shelf.now().saturating_sub(posted.at);
        if self.switches.remembers_for.is_some_and(|time| age >= time) {
            return None;
        }
        let live = shelf.live().find(|kept| kept.id == posted.id);
        match (live, self.switches.after_delete) {
            (None, AfterDelete::MakesNew) => None,
            _ if posted.body != body => {
                let status = match self.switches.duplicate {
                    Duplicate::Status400 => 400,
                    Duplicate::Status409 => 409,
                };
                Some(Said::refused(status, "ErrorDuplicateTransactionId"))
            }
            (Some(live), _) => {
                Some(Said::done(201, Some(&live.event)).changed(live.changed_after()))
            }
            (None, AfterDelete::AnswersWithDeleted) => Some(Said::done(201, Some(&posted.event))),
        }
    }

    fn patch(
        &mut self,
        shelf: &mut Shelf,
        by: By,
        name: &str,
        if_match: Option<&str>,
        body: &[u8],
    ) -> Said {
        let Some(kept) = self.find(shelf, name) else {
            return Said::refused(404, "ErrorItemNotFound");
        };
        let (id, mut event) = (kept.id, kept.event.clone());
        let Ok(fields) = json::object(body) else {
            return Said::refused(400, "ErrorInvalidRequest");
        };
        let immutable = fields.contains_key("transactionId");
        if immutable
            || merge(&mut event, &fields).is_err()
            || !json::is_after(&event.end, &event.start)
        {
            return Said::refused(400, "ErrorInvalidRequest");
        }
        if self.conflicts(shelf, id, if_match) {
            return Said::refused(412, "ErrorIrresolvableConflict");
        }
        shelf.rewrite(id, by, event, body);
        Said::done(200, shelf.live().find(|kept| kept.id == id).map(|kept| &kept.event))
    }

    fn delete(&mut self, shelf: &mut Shelf, by: By, name: &str, if_match: Option<&str>) -> Said {
        let Some(id) = self.find(shelf, name).map(|kept| kept.id) else {
            let was_there = shelf.was_deleted(name);
            return match self.switches.second_delete {
                SecondDelete::CannotDelete if was_there => {
                    Said::refused(403, "ErrorCannotDeleteObject")
                }
                SecondDelete::CannotDelete | SecondDelete::NotFound => {
                    Said::refused(404, "ErrorItemNotFound")
                }
            };
        };
        if self.conflicts(shelf, id, if_match) {
            return Said::refused(412, "ErrorIrresolvableConflict");
        }
        shelf.delete(id, by);
        Said::bare_done(204)
    }

    /// By its id; else what the adapter makes of the search for a name, which finds a host's copies as
    /// well: the oldest event that was posted, with our marker, and whose indexing is done.
    fn find<'a>(&self, shelf: &'a Shelf, name: &str) -> Option<&'a Kept> {
        let is_its = |kept: &&Kept| kept.event.server_id.as_deref() == Some(name);
        let now = shelf.now();
        let carries = |event: &Event| event.name == name || event.copy_of.as_deref() == Some(name);
        let is_named = |kept: &&Kept| {
            carries(&kept.event)
                && (kept.event.is_posted() || self.switches.takes_copies)
                && kept.event.marker.is_some()
                && now.saturating_sub(kept.made_at) >= self.switches.lookup_lags
        };
        shelf.live().find(is_its).or_else(|| shelf.live().find(is_named))
    }

    /// Whether the condition fails; or the server, busy with the write before, says that it does.
    fn conflicts(&mut self, shelf: &Shelf, id: u64, if_match: Option<&str>) -> bool {
        let Some(kept) = shelf.live().find(|kept| kept.id == id) else {
            unreachable!("what was found is there")
        };
        let is_busy = kept.age(shelf.now()) < self.switches.conflicts_for;
        if is_busy && self.conflicts.insert(kept.write) {
            return true;
        }
        if_match.is_some_and(|wanted| wanted != "*" && kept.event.etag.as_deref() != Some(wanted))
    }
}

fn merge(event: &mut Event, body: &Fields) -> Result<(), Malformed> {
    if body.contains_key("subject") {
        event.summary = json::text(body, "subject")?.unwrap_or_default();
    }
    for (slot, outer, inner) in [
        (&mut event.description, "body", "content"),
        (&mut event.location, "location", "displayName"),
    ] {
        if body.contains_key(outer) {
            let text = json::fields(body, outer)?.map_or(Ok(None), |it| json::text(it, inner))?;
            *slot = text.filter(|text| !text.is_empty());
        }
    }
    if let Some(start) = time(body, "start")? {
        event.start = start;
    }
    if let Some(end) = time(body, "end")? {
        event.end = end;
    }
    if let Some(shown) = json::text(body, "showAs")? {
        event.tentative = match shown.as_str() {
            "tentative" => true,
            "free" | "busy" | "oof" | "workingElsewhere" | "unknown" => false,
            _ => return Err(Malformed),
        };
    }
    if let Some(marker) = marker(body)? {
        event.marker = Some(marker);
    }
    Ok(())
}

/// `dateTimeTimeZone` (B10).
fn time(body: &Fields, key: &str) -> Result<Option<String>, Malformed> {
    let Some(time) = json::fields(body, key)? else {
        return Ok(None);
    };
    let text = json::text(time, "dateTime")?.ok_or(Malformed)?;
    let zone = json::text(time, "timeZone")?.ok_or(Malformed)?;
    let local = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f");
    json::utc_of(local.map_err(|_| Malformed)?, &zone).map(Some)
}

/// Extended properties merge one by one; a marker that is none is not read as one.
fn marker(body: &Fields) -> Result<Option<Marker>, Malformed> {
    let properties = match body.get("singleValueExtendedProperties") {
        None | Some(Value::Null) => return Ok(None),
        Some(properties) => properties.as_array().ok_or(Malformed)?,
    };
    for property in properties {
        let property = property.as_object().ok_or(Malformed)?;
        let id = json::text(property, "id")?.ok_or(Malformed)?;
        let value = json::text(property, "value")?.ok_or(Malformed)?;
        if !id.ends_with(PROPERTY) {
            continue;
        }
        let Ok(texts) = json::object(value.as_bytes()) else {
            return Ok(None);
        };
        let revision = texts.get("revision").and_then(Value::as_i64).map(|it| it.to_string());
        return Ok(json::marker(
            json::text(&texts, "uid")?,
            json::text(&texts, "connection")?,
            revision,
            json::text(&texts, "digest")?,
            json::text(&texts, "text")?,
        ));
    }
    Ok(None)
}
