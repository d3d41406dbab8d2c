//! The demo's day: what a booking application publishes, and what the calendars should hold in
//! the end.
//!
//! This is the oracle that the service is judged by, so it knows nothing of the service: it
//! imports neither `booking` nor anything that folds, plans or sends. It tells each booking's
//! story in the order in which it happens, writes down what that leaves, and only then lets the
//! records be repeated and put out of order.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use uuid::Uuid;

use super::story::{STORIES, Teller};

/// In so many waves the day is published; before each next one the calendars have caught up.
pub const WAVES: usize = 3;

/// How many bookings the day has: some of every story for every provider.
pub const BOOKINGS: usize = 320;

/// Somebody who can be booked, with a calendar.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The id in the booking application.
    pub id: Uuid,
    /// Whose calendar it is.
    pub name: &'static str,
    /// The account's address, which is also the id of its primary calendar.
    pub account: &'static str,
    /// Where the appointments take place.
    pub zone: Tz,
}

const PROVIDERS: [(&str, &str, Tz); 8] = [
    ("Anna Weber", "anna@example.com", Tz::Europe__Berlin),
    ("Brooklyn Barbers", "barbers@example.com", Tz::America__New_York),
    ("Chitra Nair", "chitra@example.com", Tz::Asia__Kolkata),
    ("Darling Dental", "dental@example.com", Tz::Australia__Sydney),
    ("Estúdio Lua", "estudio@example.com", Tz::America__Sao_Paulo),
    ("Fjord Physio", "fjord@example.com", Tz::America__Nuuk),
    ("Himal Yoga", "himal@example.com", Tz::Asia__Kathmandu),
    ("Lord Howe Divers", "divers@example.com", Tz::Australia__Lord_Howe),
];

/// An event as a calendar should hold it, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointment {
    /// In whose calendar: a place in [`Day::providers`].
    pub provider: usize,
    /// Its title.
    pub summary: String,
    /// Its text.
    pub description: Option<String>,
    /// Its place.
    pub location: Option<String>,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
    /// The zone in which it is said.
    pub zone: Tz,
    /// Whether it is not yet confirmed.
    pub tentative: bool,
}

/// What should become of one booking.
#[derive(Debug, Clone)]
pub struct Intended {
    /// Its iCalendar UID.
    pub uid: String,
    /// What should be held after each wave; `None`: nothing, anywhere.
    pub after: [Option<Appointment>; WAVES],
    /// How often an event for it may appear in a calendar: first, rebooked, handed over.
    pub creates_max: usize,
}

/// One record for the topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its key: the booking's id.
    pub key: String,
    /// Its value.
    pub payload: Payload,
}

/// The value of a record.
#[derive(Debug, Clone)]
pub enum Payload {
    /// An event, in the field names of the contract, times as RFC 3339 has them.
    Event(Value),
    /// The first half of the event's encoding: nobody can read it.
    CutShort(Value),
    /// Null.
    Tombstone,
}

/// A day.
#[derive(Debug)]
pub struct Day {
    /// Who can be booked.
    pub providers: Vec<Provider>,
    /// What should become of each booking.
    pub bookings: Vec<Intended>,
    /// The records, in the order in which they are published.
    pub waves: [Vec<Record>; WAVES],
    /// How many of them can never be read.
    pub poison: usize,
}

impl Day {
    /// The day of this seed; the same for the same `now`, from which on the appointments lie.
    /// `uid_domain` is the domain of the UID of a booking whose events give none.
    pub fn new(seed: u64, now: DateTime<Utc>, uid_domain: &str) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let providers = providers(&mut dice);
        let mut bookings = Vec::with_capacity(BOOKINGS);
        let mut steps: [Vec<(String, Vec<Value>)>; WAVES] = Default::default();
        for number in 0..BOOKINGS {
            // Every provider lives through every story.
            let (provider, story) = (number % providers.len(), number / providers.len());
            let mut teller = Teller::new(&mut dice, &providers, provider, number, now);
            STORIES[story % STORIES.len()](&mut teller);
            let told = teller.end(uid_domain);
            for (wave, values) in steps.iter_mut().zip(told.steps) {
                wave.push((told.key.clone(), values));
            }
            bookings.push(told.intended);
        }
        let mut waves = steps.map(|steps| mixed(&mut dice, steps));
        let poison = spoil(&mut dice, &mut waves[0]);
        Self { providers, bookings, waves, poison }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.waves.iter().map(Vec::len).sum()
    }
}

fn providers(dice: &mut StdRng) -> Vec<Provider> {
    let provider = |(name, account, zone)| Provider { id: uuid(dice), name, account, zone };
    PROVIDERS.into_iter().map(provider).collect()
}

/// A random id.
pub(super) fn uuid(dice: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(dice.random()).into_uuid()
}

/// All bookings' records in one sequence, each booking's in their own order.
fn mixed(dice: &mut StdRng, steps: Vec<(String, Vec<Value>)>) -> Vec<Record> {
    let mut turns: Vec<usize> = Vec::new();
    let mut queues = Vec::with_capacity(steps.len());
    for (index, (key, values)) in steps.into_iter().enumerate() {
        turns.extend(std::iter::repeat_n(index, values.len()));
        queues.push((key, values.into_iter()));
    }
    turns.shuffle(dice);
    let next = |turn: usize| {
        let (key, values) = &mut queues[turn];
        Some(Record { key: key.clone(), payload: Payload::Event(values.next()?) })
    };
    turns.into_iter().filter_map(next).collect()
}

/// Puts in a record that nobody can read, and one that says nothing; answers how many of the
/// former.
fn spoil(dice: &mut StdRng, wave: &mut Vec<Record>) -> usize {
    let events = wave.iter().find_map(|record| match &record.payload {
        Payload::Event(value) => Some(value.clone()),
        Payload::CutShort(_) | Payload::Tombstone => None,
    });
    let Some(event) = events else {
        return 0;
    };
    for payload in [Payload::CutShort(event), Payload::Tombstone] {
        let at = dice.random_range(0..=wave.len());
        wave.insert(at, Record { key: format!("stray-{at}"), payload });
    }
    1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn day(seed: u64) -> Day {
        Day::new(seed, DateTime::from_timestamp(1_800_000_000, 0).unwrap(), "example.invalid")
    }

    #[test]
    fn the_same_seed_is_the_same_day() {
        let (one, same, other) = (day(1), day(1), day(2));
        assert_eq!(format!("{one:?}"), format!("{same:?}"));
        assert_ne!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn every_wave_changes_every_calendar() {
        let day = day(3);
        let shown = |wave: usize, provider: usize| -> HashSet<_> {
            let held = day.bookings.iter().filter_map(|booking| {
                let found = booking.after[wave].as_ref()?;
                (found.provider == provider).then(|| format!("{} {found:?}", booking.uid))
            });
            held.collect()
        };
        for provider in 0..day.providers.len() {
            assert!(shown(0, provider).len() > 20);
            let changes =
                |wave| shown(wave, provider).difference(&shown(wave + 1, provider)).count();
            assert!(changes(0) > 8, "provider {provider}");
            assert!(changes(1) > 1, "provider {provider}");
        }
    }

    #[test]
    fn appointments_lie_ahead_and_have_names_of_their_own() {
        let day = day(4);
        let uids: HashSet<_> = day.bookings.iter().map(|booking| &booking.uid).collect();
        assert_eq!(uids.len(), BOOKINGS);
        for held in day.bookings.iter().flat_map(|booking| booking.after.iter().flatten()) {
            assert!(held.start.timestamp() > 1_800_000_000 && held.end > held.start, "{held:?}");
        }
    }
}
