//! What a host does to the calendar by hand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::event::{By, Event, NOTED};
use super::shelf::Kept;
use super::switches::CopyUid;
use super::{Calendar, Server, icalendar, json};

/// What a host does. Where two live events have one name, it is done to the older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Deletes the event.
    Delete {
        /// Which.
        name: String,
    },
    /// Gives the event another title, other times, or both.
    Edit {
        /// Which.
        name: String,
        /// Whether its title becomes `By hand`, and a number.
        title: bool,
        /// Whether it starts and ends an hour later.
        time: bool,
    },
    /// Notes something on it: see [`Event::host_note`].
    Annotate {
        /// On which.
        name: String,
    },
    /// Writes a note into its text, before or after what stands there.
    Note {
        /// Of which.
        name: String,
        /// Whether it comes first.
        first: bool,
    },
    /// Takes our marker out of it, as a client does that does not keep what it does not know.
    StripMarker {
        /// Of which.
        name: String,
    },
    /// Copies the event, with our marker, under a name of the server's own.
    Copy {
        /// Which.
        name: String,
    },
    /// Deletes the oldest copy of it.
    DeleteCopy {
        /// Of which.
        name: String,
    },
    /// Takes the event that was deleted last back out of the bin.
    Restore {
        /// Which.
        name: String,
    },
    /// Makes an event that has nothing to do with us.
    Add,
    /// Empties the bin: what was deleted is not remembered any more.
    EvictTombstones,
    /// Deletes whatever a request has made.
    DeleteAll,
}

impl Calendar {
    /// A host does something by hand, at this time since the beginning. `false`: there is nothing
    /// to do it to.
    pub fn host(&mut self, at: Duration, deed: &Deed) -> bool {
        self.advance(at);
        match deed {
            Deed::Delete { name } => self.delete_by_hand(name),
            Deed::Edit { name, title, time } => self.edit_by_hand(name, *title, *time),
            Deed::Annotate { name } => {
                let note = format!("{NOTED}{}", self.shelf.number());
                self.change_by_hand(name, |Kept { event, text, .. }| {
                    *text = icalendar::with(text, icalendar::HOST_NOTE, &note);
                    event.host_note = Some(note);
                })
            }
            Deed::Note { name, first } => {
                let note = format!("{NOTED}{}", self.shelf.number());
                self.change_by_hand(name, |Kept { event, text, .. }| {
                    let description = match event.description.take() {
                        None => note,
                        Some(there) if *first => format!("{note}\n{there}"),
                        Some(there) => format!("{there}\n\n{note}"),
                    };
                    *text = icalendar::with(text, "DESCRIPTION", &description);
                    event.description = Some(description);
                })
            }
            Deed::StripMarker { name } => {
                self.change_by_hand(name, |Kept { event, text, .. }| {
                    *text = icalendar::without(text, icalendar::OURS);
                    event.marker = None;
                })
            }
            Deed::Copy { name } => self.copy_by_hand(name),
            Deed::DeleteCopy { name } => {
                let is_copy = |event: &&Event| event.copy_of.as_ref() == Some(name);
                let copy = self.live().into_iter().find(is_copy).map(|copy| copy.name.clone());
                copy.is_some_and(|copy| self.delete_by_hand(&copy))
            }
            Deed::Restore { name } => self.restore_by_hand(name),
            Deed::Add => {
                self.add_by_hand();
                true
            }
            Deed::EvictTombstones => self.shelf.forget(By::Host, at),
            Deed::DeleteAll => {
                let is_made = |kept: &&Kept| matches!(kept.event.made_by, By::Request(_));
                let made: Vec<u64> =
                    self.shelf.live().filter(is_made).map(|kept| kept.id).collect();
                for id in &made {
                    self.shelf.delete(*id, By::Host);
                }
                !made.is_empty()
            }
        }
    }

    fn delete_by_hand(&mut self, name: &str) -> bool {
        let Some(id) = self.shelf.find(name).map(|kept| kept.id) else {
            return false;
        };
        self.shelf.delete(id, By::Host);
        true
    }

    fn edit_by_hand(&mut self, name: &str, title: bool, time: bool) -> bool {
        let summary = format!("By hand {}", self.shelf.number());
        self.change_by_hand(name, |Kept { event, .. }| {
            if title {
                event.summary = summary;
            }
            if time {
                event.start = an_hour_later(&event.start);
                event.end = an_hour_later(&event.end);
            }
        })
    }

    /// The object of CalDAV with what is the host's own in it; of the rest, the event alone tells.
    fn change_by_hand(&mut self, name: &str, what: impl FnOnce(&mut Kept)) -> bool {
        let Some(id) = self.shelf.find(name).map(|kept| kept.id) else {
            return false;
        };
        self.shelf.change(id, By::Host, what);
        true
    }

    fn copy_by_hand(&mut self, name: &str) -> bool {
        let Some(Kept { event, text, .. }) = self.shelf.find(name).cloned() else {
            return false;
        };
        let mut copy = self.unnamed();
        let (own_name, own_uid) = (copy.name.clone(), copy.provider_uid.clone());
        copy = Event { made_by: By::Host, copy_of: Some(event.name.clone()), ..event };
        copy.name = own_name;
        copy.written_at = None;
        let keeps_uid = match &self.server {
            Server::Caldav(server) => server.switches.copies == CopyUid::Same,
            Server::Google(_) | Server::Microsoft(_) => false,
        };
        if !keeps_uid {
            // With CalDAV the marker's UID is the event's.
            if let (Server::Caldav(_), Some(marker)) = (&self.server, &mut copy.marker) {
                marker.uid.clone_from(&own_uid);
            }
            copy.provider_uid = own_uid;
        }
        self.shelf.add(By::Host, copy, &text);
        true
    }

    fn restore_by_hand(&mut self, name: &str) -> bool {
        if self.shelf.find(name).is_some() {
            return false;
        }
        let Some(id) = self.shelf.find_deleted(name).map(|kept| kept.id) else {
            return false;
        };
        self.shelf.change(id, By::Host, |kept| kept.deleted_at = None);
        true
    }

    fn add_by_hand(&mut self) {
        let mut event = self.unnamed();
        "Lunch".clone_into(&mut event.summary);
        "2026-03-02T12:00:00Z".clone_into(&mut event.start);
        "2026-03-02T13:00:00Z".clone_into(&mut event.end);
        self.shelf.add(By::Host, event, b"");
    }

    /// An event of the host's, with a name and a UID of the server's own.
    fn unnamed(&mut self) -> Event {
        let number = self.shelf.number();
        let (name, uid) = match &self.server {
            Server::Google(_) => {
                let name = format!("handmade{number}");
                let uid = format!("{name}@google.com");
                (name, uid)
            }
            Server::Microsoft(_) => (format!("by-hand-{number}"), format!("04000000{number:08X}")),
            Server::Caldav(_) => {
                (format!("by-hand-{number}.ics"), format!("by-hand-{number}@host.example"))
            }
        };
        Event::blank(&name, uid, By::Host)
    }
}

fn an_hour_later(at: &str) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(at) else { unreachable!("a time that we wrote") };
    json::utc(at.to_utc() + TimeDelta::hours(1))
}
