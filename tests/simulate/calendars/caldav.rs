//! A CalDAV server (section C of PROVIDERS.md, and its table of what was measured): one resource
//! for each event, which a PUT replaces whole.

use super::event::{By, Event};
use super::icalendar;
use super::shelf::{Kept, Shelf};
use super::switches::{self, Deletion, Invalid, Missing, Overwrite, Trash, UidConflict};
use super::{Ask, Said};

/// The server, without the events.
#[derive(Debug, Clone)]
pub(super) struct Caldav {
    pub(super) switches: switches::Caldav,
    /// So many PUTs were stored.
    stored: u64,
}

/// Under which condition a PUT takes effect.
#[derive(Debug, Clone, Copy)]
enum Condition<'a> {
    /// `If-None-Match: *`.
    New,
    /// `If-Match`.
    Match(&'a str),
    Nothing,
}

impl Caldav {
    pub(super) fn new(switches: switches::Caldav) -> Self {
        Self { switches, stored: 0 }
    }

    /// Empties the bin of what has lain there long enough.
    pub(super) fn age(&self, shelf: &mut Shelf) {
        if let Some(until) = shelf.now().checked_sub(self.switches.trash.kept_for()) {
            shelf.forget(By::Server, until);
        }
    }

    pub(super) fn answer(&mut self, shelf: &mut Shelf, request: u64, ask: &Ask) -> Said {
        let by = By::Request(request);
        match ask {
            Ask::Create { name, body } => self.put(shelf, by, name, Condition::New, body),
            Ask::Update { name, if_match, body } => {
                let condition = if_match.as_deref().map_or(Condition::Nothing, Condition::Match);
                self.put(shelf, by, name, condition, body)
            }
            Ask::Delete { name, if_match } => self.delete(shelf, by, name, if_match.as_deref()),
            Ask::Read { name } => {
                shelf.find(name).map_or(Said::Absent, |kept| Said::object(&kept.event, &kept.text))
            }
        }
    }

    fn put(
        &mut self,
        shelf: &mut Shelf,
        by: By,
        name: &str,
        condition: Condition<'_>,
        body: &[u8],
    ) -> Said {
        let Some(text) = icalendar::read(body) else {
            return match self.switches.invalid {
                Invalid::Status400 => Said::bare(400),
                Invalid::Status412 => Said::refused(412, "valid-calendar-data"),
            };
        };
        let present = shelf.find(name);
        if let Some(said) = self.fails(condition, present) {
            return said;
        }
        let had = present.map(|kept| kept.event.provider_uid.as_str());
        let takes = had != Some(text.uid.as_str());
        let is_taken = |kept: &Kept| kept.event.provider_uid == text.uid && kept.event.name != name;
        if takes
            && shelf.live().any(is_taken)
            && let Some(said) = self.conflict()
        {
            return said;
        }
        if let (None, Trash::RefusesPut { status, .. }) = (present, self.switches.trash)
            && shelf.find_deleted(name).is_some()
        {
            return Said::bare(status);
        }
        let mut event = Event { provider_uid: text.uid, ..Event::blank(name, String::new(), by) };
        event.marker = text.marker;
        event.summary = text.summary;
        event.description = text.description;
        event.location = text.location;
        event.start = text.start;
        event.end = text.end;
        event.tentative = text.tentative;
        event.host_note = text.host_note;
        let status = match present.map(|kept| (kept.id, kept.event.clone())) {
            None => {
                shelf.add(by, event, body);
                201
            }
            Some((id, before)) => {
                event.made_by = before.made_by;
                event.copy_of = before.copy_of;
                event.touched_by_host_at = before.touched_by_host_at;
                shelf.rewrite(id, by, event, body);
                204
            }
        };
        self.stored += 1;
        if self.switches.fails_after_storing.is_some_and(|every| self.stored.is_multiple_of(every))
        {
            return Said::bare(500);
        }
        let etag = shelf.find(name).and_then(|kept| kept.event.etag.clone());
        let etag = etag.filter(|_| self.switches.etag_on_put);
        Said::Done { status, etag, provider_uid: None, server_id: None, shows: None }
    }

    /// What is said where the condition does not hold.
    fn fails(&self, condition: Condition<'_>, present: Option<&Kept>) -> Option<Said> {
        match (condition, present) {
            (Condition::New, Some(_)) if self.switches.obeys_if_none_match => Some(Said::bare(412)),
            (Condition::Match(wanted), Some(kept)) if matches(wanted, kept) => None,
            (Condition::Match(_), _) => Some(Said::bare(412)),
            (Condition::Nothing, Some(_)) => match self.switches.overwrite {
                Overwrite::Accepted => None,
                Overwrite::Refused => Some(Said::bare(409)),
            },
            (Condition::New | Condition::Nothing, _) => None,
        }
    }

    fn conflict(&self) -> Option<Said> {
        match self.switches.uid_conflict {
            UidConflict::Status409 => Some(Said::refused(409, "no-uid-conflict")),
            UidConflict::Status412 => Some(Said::refused(412, "no-uid-conflict")),
            UidConflict::Status403 => Some(Said::refused(403, "unique-scheduling-object-resource")),
            UidConflict::Status400 => Some(Said::bare(400)),
            UidConflict::Accepted => None,
        }
    }

    fn delete(&self, shelf: &mut Shelf, by: By, name: &str, if_match: Option<&str>) -> Said {
        let Some(kept) = shelf.find(name) else {
            return match (if_match, self.switches.missing) {
                (Some(_), Missing::ConditionFailed) => Said::bare(412),
                (Some(_), Missing::NotFound) | (None, _) => Said::bare(404),
            };
        };
        if if_match.is_some_and(|wanted| !matches(wanted, kept)) {
            return Said::bare(412);
        }
        let id = kept.id;
        if matches!(self.switches.trash, Trash::RefusesDelete { .. })
            && shelf.find_deleted(name).is_some()
        {
            return Said::bare(403);
        }
        shelf.delete(id, by);
        let status = match self.switches.deletion {
            Deletion::NoContent => 204,
            Deletion::MultiStatus => 200,
        };
        Said::bare_done(status)
    }
}

/// Strong comparison (RFC 9110 §13.1.1): a weak tag matches nothing.
fn matches(wanted: &str, kept: &Kept) -> bool {
    let is_weak = wanted.starts_with("W/");
    wanted == "*" || (!is_weak && kept.event.etag.as_deref() == Some(wanted))
}
