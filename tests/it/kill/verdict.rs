//! What the calendars hold against what was meant, and whether any of them went backwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::held::Held;
use super::history::Intended;
use super::proxy::{Exchange, Kind};

/// The most complaints that are kept in words.
const COMPLAINTS_MAX: usize = 20;

/// All zeros is as promised.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Bookings that should be shown and are not, where they should be.
    pub(crate) lost: usize,
    /// Bookings with more than one live event, wherever.
    pub(crate) doubled: usize,
    /// Live events where there should be none.
    pub(crate) left_behind: usize,
    /// Bookings that are shown where they should be, with other content.
    pub(crate) differing: usize,
    /// Events that a calendar showed in a lower revision than one that it had shown before.
    pub(crate) out_of_order: usize,
    /// The first of these, in words.
    pub(crate) complaints: Vec<String>,
}

impl Verdict {
    /// Whether all is as promised.
    pub(crate) fn is_clean(&self) -> bool {
        let wrong = [self.lost, self.doubled, self.left_behind, self.differing, self.out_of_order];
        wrong == [0; 5] && self.complaints.is_empty()
    }

    fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint());
        }
    }

    /// Compares every booking with every event of it.
    pub(crate) fn on_content(&mut self, intended: &[Intended], held: &[Held]) {
        let mut by_uid: HashMap<&str, Vec<&Held>> = HashMap::new();
        for event in held {
            by_uid.entry(&event.uid).or_default().push(event);
        }
        for booking in intended {
            let events = by_uid.remove(booking.uid.as_str()).unwrap_or_default();
            self.on_booking(booking, &events);
        }
        for (uid, events) in by_uid {
            self.left_behind += events.len();
            self.complain(|| format!("events of no booking, {uid:?}: {events:?}"));
        }
    }

    fn on_booking(&mut self, booking: &Intended, events: &[&Held]) {
        if events.len() > 1 {
            self.doubled += 1;
            self.complain(|| format!("doubled: {booking:?}: {}", names(events)));
        }
        let home = booking.live.as_ref().map(|(calendar, _)| *calendar);
        let elsewhere = events.iter().filter(|event| Some(event.calendar) != home).count();
        if elsewhere > 0 {
            self.left_behind += elsewhere;
            self.complain(|| format!("left behind: {booking:?}: {}", names(events)));
        }
        let Some((calendar, shown)) = &booking.live else {
            return;
        };
        match events.iter().find(|event| event.calendar == *calendar) {
            None => {
                self.lost += 1;
                self.complain(|| format!("lost: {booking:?}"));
            }
            Some(event) if event.shown != *shown => {
                self.differing += 1;
                self.complain(|| format!("differs: {booking:?}: {event:?}"));
            }
            Some(_) => {}
        }
    }

    /// What one event showed, call by call, never has a lower revision than before.
    pub(crate) fn on_order(&mut self, exchanges: &[Exchange]) {
        let mut highest: HashMap<&str, (i64, i64)> = HashMap::new();
        for exchange in exchanges.iter().filter(|exchange| exchange.is_applied()) {
            let Some(revision) = exchange.revision else {
                continue;
            };
            let before = highest.insert(&exchange.url, revision);
            if before.is_some_and(|(marker, sequence)| revision.0 < marker || revision.1 < sequence)
            {
                self.out_of_order += 1;
                self.complain(|| format!("backwards from {before:?}: {exchange:?}"));
            }
        }
    }
}

fn names(events: &[&Held]) -> String {
    let name = |event: &&Held| format!("{} in calendar {}", event.name, event.calendar);
    events.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// How many calls of each method each kind of calendar got, and how many of them changed
/// something, or were never answered.
#[derive(Default)]
pub(crate) struct Traffic(BTreeMap<(&'static str, String), [usize; 3]>);

impl Traffic {
    pub(crate) fn of(exchanges: &[Exchange]) -> Self {
        let mut traffic = Self::default();
        for exchange in exchanges {
            let kind = match exchange.kind {
                Kind::Caldav => "CalDAV",
                Kind::Google => "Google",
            };
            let counts = traffic.0.entry((kind, exchange.method.to_string())).or_default();
            counts[0] += 1;
            counts[1] += usize::from(exchange.is_applied() && exchange.changes());
            counts[2] += usize::from(!exchange.answered);
        }
        traffic
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, method), [calls, applied, unanswered]) in &self.0 {
            write!(f, "\n  {kind} {method:<8} {calls:>5} calls")?;
            if *applied > 0 {
                write!(f, ", {applied} applied")?;
            }
            if *unanswered > 0 {
                write!(f, ", {unanswered} without an answer")?;
            }
        }
        Ok(())
    }
}

/// How often a CalDAV event was written again in a revision that it already had.
pub(crate) fn rewritten(exchanges: &[Exchange]) -> usize {
    let mut shown: HashMap<&str, Option<(i64, i64)>> = HashMap::new();
    let applied = exchanges.iter().filter(|one| one.is_applied() && one.changes());
    applied
        .filter(|exchange| {
            let before = shown.insert(&exchange.url, exchange.revision).flatten();
            exchange.revision.is_some() && before == exchange.revision
        })
        .count()
}
