//! A history of bookings as a booking application would tell it, and the state that it ends in.
//!
//! It knows nothing of how the service folds or names anything: what is shown in the end follows
//! from what was meant, fact by fact, before the facts are shuffled and repeated.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The domain of UIDs that the service derives; it is told so by its settings.
pub(crate) const UID_DOMAIN: &str = "kill.example";
/// The title's template; the description and the place are the booking's own.
pub(crate) const TITLE_TEMPLATE: &str = "{service_name}: {title}";

const ZONES: [Tz; 8] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::Europe__Dublin,
    Tz::America__New_York,
    Tz::America__St_Johns,
    Tz::Asia__Tokyo,
    Tz::Asia__Kathmandu,
    Tz::Australia__Lord_Howe,
];
const SERVICES: [&str; 4] = ["Haircut", "Physiotherapy", "Réflexologie", "鍼灸"];
const TITLES: [&str; 4] =
    ["first visit", "check-up; with, commas", "Größe 38 \\ 40", "🧘 follow-up"];
const PLACES: [&str; 3] = ["Room 1", "Hauptstraße 5, 10115 Berlin", "2nd floor; left"];

/// What a calendar shows of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) summary: String,
    pub(crate) description: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    pub(crate) zone: Tz,
}

/// How a booking is meant to end.
#[derive(Debug, Clone)]
pub(crate) struct Intended {
    /// Its UID in every calendar.
    pub(crate) uid: String,
    /// Whose calendar shows it, by the provider's place in the list, and what; or none does.
    pub(crate) live: Option<(usize, Shown)>,
}

/// The whole of it.
pub(crate) struct History {
    /// Lines of JSON as `publish` takes them, in the order of the log.
    pub(crate) records: Vec<Value>,
    /// Every booking's end.
    pub(crate) intended: Vec<Intended>,
    /// How many facts there are of each sort.
    pub(crate) tally: BTreeMap<&'static str, usize>,
}

/// A booking while its life is told.
struct Life<'a> {
    dice: &'a mut StdRng,
    providers: &'a [Uuid],
    id: String,
    uid: Option<String>,
    sequence: Option<i64>,
    provider: usize,
    service: &'static str,
    title: String,
    shown: Shown,
    facts: Vec<Fact>,
}

struct Fact {
    sort: &'static str,
    record: Value,
    live: Option<(usize, Shown)>,
}

/// A history of exactly `count` records, the same for the same seed.
pub(crate) fn history(seed: u64, count: usize, providers: &[Uuid]) -> History {
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut told, mut intended, mut tally) = (Vec::new(), Vec::new(), BTreeMap::new());
    while told.len() < count {
        let mut life = Life::begin(&mut dice, providers, intended.len());
        life.live();
        let uid = life.uid.clone().unwrap_or_else(|| format!("booking-{}@{UID_DOMAIN}", life.id));
        let sequenced = life.sequence.is_some();
        let mut facts = life.facts;
        facts.truncate(count - told.len());
        let end = facts.last().expect("a life has a beginning").live.clone();
        intended.push(Intended { uid, live: end });
        for fact in &facts {
            *tally.entry(fact.sort).or_default() += 1;
        }
        let room = count - told.len() - facts.len();
        told.extend(tell(&mut dice, facts, sequenced, room, &mut tally));
    }
    told.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    History { records: told.into_iter().map(|(_, record)| record).collect(), intended, tally }
}

/// Gives each fact its moment (0 to about 2; only the order counts). Facts with a sequence may
/// change places with their neighbour; any fact may come again, if there is room.
fn tell(
    dice: &mut StdRng,
    facts: Vec<Fact>,
    sequenced: bool,
    room: usize,
    tally: &mut BTreeMap<&'static str, usize>,
) -> Vec<(f64, Value)> {
    let mut at = dice.random_range(0.0..1.0);
    let mut told = Vec::with_capacity(facts.len());
    for fact in facts {
        told.push((at, fact.record));
        // Some follow at once, and are one call if nobody was quick; most find the last one sent.
        at += if dice.random_bool(0.3) {
            dice.random_range(0.000_1..0.002)
        } else {
            dice.random_range(0.05..0.6)
        };
    }
    if sequenced && told.len() > 1 && dice.random_bool(0.25) {
        let first = dice.random_range(0..told.len() - 1);
        let earlier = told[first].0;
        told[first].0 = told[first + 1].0;
        told[first + 1].0 = earlier;
        *tally.entry("out of order").or_default() += 1;
    }
    let mut repeats = Vec::new();
    for (at, record) in &told {
        if repeats.len() < room && dice.random_bool(0.06) {
            repeats.push((at + dice.random_range(0.000_1..0.2), record.clone()));
            *tally.entry("repeated").or_default() += 1;
        }
    }
    told.extend(repeats);
    told
}

impl<'a> Life<'a> {
    fn begin(dice: &'a mut StdRng, providers: &'a [Uuid], number: usize) -> Self {
        let uid = dice.random_bool(0.2).then(|| format!("own-{number}@booking.example"));
        let sequence = dice.random_bool(0.7).then_some(0);
        let provider = dice.random_range(0..providers.len());
        let service = SERVICES.choose(dice).expect("there are some");
        let start = Utc.with_ymd_and_hms(2032, 1, 1, 0, 0, 0).single().expect("a time in UTC");
        let mut life = Self {
            id: format!("bk-{number}"),
            uid,
            sequence,
            provider,
            service,
            title: String::new(),
            shown: Shown {
                summary: String::new(),
                description: None,
                location: None,
                start,
                end: start,
                zone: *ZONES.choose(dice).expect("there are some"),
            },
            facts: Vec::new(),
            dice,
            providers,
        };
        life.retitle();
        life.reschedule();
        life.describe();
        life.note("created", "BookingCreated", "CONFIRMED");
        life
    }

    /// What happens after the booking was made.
    fn live(&mut self) {
        while self.dice.random_bool(0.6) {
            let is_live = self.facts.last().is_some_and(|fact| fact.live.is_some());
            if !is_live && !self.reappear() {
                return;
            }
            match self.dice.random_range(0..100) {
                0..34 => {
                    self.reschedule();
                    self.note("moved", "BookingUpdated", "CONFIRMED");
                }
                34..52 => {
                    self.retitle();
                    self.note("retitled", "BookingUpdated", "CONFIRMED");
                }
                52..64 => {
                    self.describe();
                    self.note("described anew", "BookingUpdated", "COMPLETED");
                }
                64..82 => self.hand_over(),
                82..86 => self.note("withdrawn", "BookingUpdated", "PENDING"),
                _ => self.note("cancelled", "BookingCancelled", ""),
            }
        }
    }

    /// A booking that is shown nowhere comes back, if it can. `false`: this is its end.
    fn reappear(&mut self) -> bool {
        let was = self.facts.last().map(|fact| fact.sort);
        match was {
            Some("withdrawn") => self.note("confirmed", "BookingUpdated", "CONFIRMED"),
            // Without a sequence nothing tells a rebooking from a late Created.
            _ if self.sequence.is_none() => return false,
            _ => {
                self.reschedule();
                self.note("rebooked", "BookingCreated", "CONFIRMED");
            }
        }
        true
    }

    /// To another provider, and most of the time back again.
    fn hand_over(&mut self) {
        let home = self.provider;
        let others = self.providers.len() - 1;
        self.provider = (home + 1 + self.dice.random_range(0..others)) % self.providers.len();
        self.note("handed over", "BookingUpdated", "CONFIRMED");
        if self.dice.random_bool(0.6) {
            self.provider = home;
            self.note("handed back", "BookingUpdated", "CONFIRMED");
        }
    }

    fn retitle(&mut self) {
        let title = TITLES.choose(self.dice).expect("there are some");
        self.title = format!("{title} {}", self.dice.random_range(0..1_000_000));
        self.shown.summary = format!("{}: {}", self.service, self.title);
    }

    fn reschedule(&mut self) {
        let first = Utc.with_ymd_and_hms(2032, 1, 1, 0, 0, 0).single().expect("a time in UTC");
        let quarters = self.dice.random_range(0..4 * 24 * 330);
        self.shown.start = first + TimeDelta::minutes(15 * quarters);
        let minutes = 15 * self.dice.random_range(1..13);
        self.shown.end = self.shown.start + TimeDelta::minutes(minutes);
    }

    fn describe(&mut self) {
        let number: u32 = self.dice.random();
        let text = format!(
            "Bring your card, no. {number};\nthe door is \\ on the left. {}",
            "…".repeat(40)
        );
        self.shown.description = self.dice.random_bool(0.5).then_some(text);
        let place = PLACES.choose(self.dice).expect("there are some");
        self.shown.location = self.dice.random_bool(0.6).then(|| (*place).to_owned());
    }

    /// Tells the booking as it is now.
    fn note(&mut self, sort: &'static str, kind: &str, status: &str) {
        let number = i64::try_from(self.facts.len()).expect("a short life");
        let occurred = self.shown.start - TimeDelta::days(400) + TimeDelta::minutes(number);
        let mut record = Map::new();
        let mut say = |name: &str, value: Value| record.insert(name.to_owned(), value);
        say("type", json!(kind));
        say("event_id", json!(Uuid::from_u128(self.dice.random())));
        say("booking_id", json!(self.id));
        say("provider_id", json!(self.providers[self.provider]));
        say("occurred_at", json!(rfc3339(occurred)));
        if let Some(uid) = &self.uid {
            say("ical_uid", json!(uid));
        }
        if let Some(sequence) = self.sequence {
            say("sequence", json!(sequence));
            self.sequence = Some(sequence + self.dice.random_range(1..4));
        }
        if !status.is_empty() {
            say("status", json!(status));
            say("start_time", json!(rfc3339(self.shown.start)));
            say("end_time", json!(rfc3339(self.shown.end)));
            say("time_zone", json!(self.shown.zone.name()));
            say("service_name", json!(self.service));
            say("title", json!(self.title));
            say("description", json!(self.shown.description));
            say("location", json!(self.shown.location));
        }
        let live = matches!(status, "CONFIRMED" | "COMPLETED");
        let live = live.then(|| (self.provider, self.shown.clone()));
        self.facts.push(Fact { sort, record: Value::Object(record), live });
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
