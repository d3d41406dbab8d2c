//! What the calendars hold against what they should, and the figures of the whole day: from the
//! calendars' own content and call log and from the generator's list, never from the worker.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::day::{Appointment, Day};
use crate::emulator::call_log::Effect;
use crate::emulator::google::EventView;
use crate::emulator::{Answered, Calls, Verb};

/// The private property by which an event in a calendar names its booking.
const UID_PROPERTY: &str = "bookingUid";

/// One calendar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CalendarReport {
    /// How many events it should hold.
    pub(super) expected: usize,
    /// How many it holds.
    pub(super) held: usize,
    /// How many are missing, wrong in some field, or too many.
    pub(super) differing: usize,
}

/// All calendars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// One for each provider.
    pub(super) calendars: Vec<CalendarReport>,
    /// Expected events that are nowhere, or wrong.
    pub(super) lost: usize,
    /// Live events beyond those that a booking should have.
    pub(super) surplus: usize,
    /// What differs, in words.
    pub(super) differences: Vec<String>,
}

impl Comparison {
    /// Of all calendars with what they should hold after this wave; `held` reads the live events
    /// of an account's calendar.
    pub(super) fn of(day: &Day, wave: usize, held: impl Fn(&str) -> Vec<EventView>) -> Self {
        let mut found = Self::default();
        let mut all_held: Vec<BTreeMap<String, Vec<EventView>>> = Vec::new();
        for provider in &day.providers {
            let mut by_uid = BTreeMap::<String, Vec<EventView>>::new();
            let events = held(provider.account);
            found
                .calendars
                .push(CalendarReport { held: events.len(), ..CalendarReport::default() });
            for event in events {
                let uid = event.properties.get(UID_PROPERTY).cloned().unwrap_or_default();
                by_uid.entry(uid).or_default().push(event);
            }
            all_held.push(by_uid);
        }
        for booking in &day.bookings {
            let Some(wanted) = &booking.after[wave] else { continue };
            let report = &mut found.calendars[wanted.provider];
            report.expected += 1;
            let events =
                all_held[wanted.provider].get_mut(&booking.uid).filter(|all| !all.is_empty());
            let differs = match events {
                None => Some("it is not there".to_owned()),
                // Taken out: what is left in the end should not be there.
                Some(events) => difference(wanted, &events.swap_remove(0)),
            };
            if let Some(how) = differs {
                report.differing += 1;
                found.lost += 1;
                let account = day.providers[wanted.provider].account;
                found.differences.push(format!("{account}: {}: {how}", booking.uid));
            }
        }
        for (provider, by_uid) in all_held.into_iter().enumerate() {
            for event in by_uid.into_values().flatten() {
                found.surplus += 1;
                found.calendars[provider].differing += 1;
                let account = day.providers[provider].account;
                found.differences.push(format!("{account}: {} is one too many", event.id));
            }
        }
        found
    }

    /// Whether every calendar holds what it should, and nothing else.
    pub(super) fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// How many events are as they should be.
    pub(super) fn right(&self) -> usize {
        self.expected() - self.lost
    }

    /// How many events there should be.
    pub(super) fn expected(&self) -> usize {
        self.calendars.iter().map(|calendar| calendar.expected).sum()
    }
}

/// The first field in which an event is not as it should be.
fn difference(wanted: &Appointment, event: &EventView) -> Option<String> {
    let text = |name: &str| event.resource.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = if wanted.tentative { "tentative" } else { "confirmed" };
    let zone = wanted.zone.name().to_owned();
    [
        ("title", Some(event.summary.clone()), Some(wanted.summary.clone())),
        ("description", text("description"), wanted.description.clone()),
        ("location", text("location"), wanted.location.clone()),
        ("start", Some(event.start.to_rfc3339()), Some(wanted.start.to_rfc3339())),
        ("end", Some(event.end.to_rfc3339()), Some(wanted.end.to_rfc3339())),
        ("time zone", event.zone.map(|zone| zone.name().to_owned()), Some(zone)),
        ("status", text("status"), Some(status.to_owned())),
    ]
    .into_iter()
    .find(|(_, is, should)| is != should)
    .map(|(field, is, should)| format!("its {field} is {is:?}, and should be {should:?}"))
}

/// What the calls did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// All calls.
    pub(super) attempts: usize,
    /// Events that appeared.
    pub(super) created: usize,
    /// Events that changed.
    pub(super) updated: usize,
    /// Events that disappeared.
    pub(super) deleted: usize,
    /// Changes whose client was never told.
    pub(super) lost_answers: usize,
    /// Changes that were answered, and not with success.
    pub(super) refused: usize,
    /// Calls that wait for their answer.
    pub(super) unanswered: usize,
}

impl Totals {
    /// Of these calls.
    pub(super) fn of(calls: &Calls) -> Self {
        let mut totals = Self { attempts: calls.list.len(), ..Self::default() };
        for call in &calls.list {
            match call.effect {
                Effect::Nothing | Effect::Rewritten => {}
                Effect::Created => totals.created += 1,
                Effect::Updated => totals.updated += 1,
                Effect::Deleted => totals.deleted += 1,
            }
            match &call.answered {
                Answered::Pending => totals.unanswered += 1,
                // A reading that finds nothing is no refusal.
                Answered::Status { status, .. } => {
                    totals.refused += usize::from(*status >= 400 && call.verb != Verb::Get);
                }
                Answered::Lost => totals.lost_answers += usize::from(call.effect.is_mutation()),
            }
        }
        totals
    }
}

/// Events that appeared more often than their bookings' histories can need.
fn surplus_creates(calls: &Calls, day: &Day) -> usize {
    let mut created = BTreeMap::<&str, usize>::new();
    for call in calls.list.iter().filter(|call| call.effect == Effect::Created) {
        let uid = call.after.as_ref().and_then(|after| after.get(UID_PROPERTY));
        *created.entry(uid.map(String::as_str).unwrap_or_default()).or_default() += 1;
    }
    let needed: BTreeMap<_, _> =
        day.bookings.iter().map(|booking| (booking.uid.as_str(), booking.creates_max)).collect();
    let beyond = |(uid, count): (&str, usize)| {
        count.saturating_sub(needed.get(uid).copied().unwrap_or_default())
    };
    created.into_iter().map(beyond).sum()
}

/// The figures of the whole day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) events: usize,
    pub(super) bookings: usize,
    pub(super) totals: Totals,
    pub(super) worker_kills: usize,
    pub(super) dead_letters: usize,
    pub(super) duplicates: usize,
    pub(super) lost: usize,
    pub(super) out_of_order: usize,
    pub(super) equal: bool,
    pub(super) seconds: f64,
    /// What else went wrong.
    pub(super) troubles: Vec<String>,
}

impl Figures {
    /// At the end of the day.
    pub(super) fn new(calls: &Calls, day: &Day, compared: &Comparison) -> Self {
        Self {
            events: day.records(),
            bookings: day.bookings.len(),
            totals: Totals::of(calls),
            worker_kills: 0,
            dead_letters: 0,
            duplicates: compared.surplus + surplus_creates(calls, day),
            lost: compared.lost,
            out_of_order: calls.out_of_order(),
            equal: compared.is_equal() && calls.forgotten == 0,
            seconds: 0.0,
            troubles: Vec::new(),
        }
    }

    /// What is not as it should be, in words.
    pub(super) fn wrong(&self, day: &Day) -> Vec<String> {
        let counted = [
            (self.lost, "events lost"),
            (self.duplicates, "duplicates"),
            (self.out_of_order, "changes out of order"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut wrong = self.troubles.clone();
        wrong.extend(counted.map(|(count, what)| format!("{count} {what}")));
        if !self.equal {
            wrong.push("the calendars differ from what they should hold".to_owned());
        }
        if self.dead_letters != day.poison {
            wrong.push(format!("{} dead letters instead of {}", self.dead_letters, day.poison));
        }
        wrong
    }

    /// The one object of `--json`, on one line.
    pub(super) fn to_json(&self) -> String {
        let Totals { attempts, created, updated, deleted, lost_answers, .. } = self.totals;
        let printed = Printed {
            events: self.events,
            bookings: self.bookings,
            effects: Effects { create: created, update: updated, delete: deleted },
            attempts,
            lost_answers,
            worker_kills: self.worker_kills,
            dead_letters: self.dead_letters,
            duplicates: self.duplicates,
            lost: self.lost,
            out_of_order: self.out_of_order,
            calendars_equal_expected: self.equal,
            seconds: (self.seconds * 10.0).round() / 10.0,
        };
        serde_json::to_string(&printed).expect("plain data always has a JSON form")
    }
}

/// The figures as `--json` prints them, in this order.
#[derive(Serialize)]
struct Printed {
    events: usize,
    bookings: usize,
    effects: Effects,
    attempts: usize,
    lost_answers: usize,
    worker_kills: usize,
    dead_letters: usize,
    duplicates: usize,
    lost: usize,
    out_of_order: usize,
    calendars_equal_expected: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct Effects {
    create: usize,
    update: usize,
    delete: usize,
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
