//! The booking application: it makes, changes, hands over, cancels and rebooks, and publishes each
//! fact; its producer repeats and reorders some. What it knows is the truth that the calendars have
//! to show in the end.

use std::time::Duration;

use booking::content::Template;
use booking::{BookingId, Change, Details, EventId, IcalUid, ProviderId, Rules, Status};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::Clock as _;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::clock::beginning;
use crate::dice::Chance;
use crate::world::World;

/// The installation that connections' names derive from.
pub(crate) const INSTALLATION: Uuid = Uuid::from_u128(0x1257_a11a_7100);
/// The domain of UIDs that are derived.
const DOMAIN: &str = "example.com";

/// A provider.
pub(crate) fn provider(number: u64) -> ProviderId {
    ProviderId(Uuid::from_u128(0x0909_0000 + u128::from(number)))
}

/// What the service shows of a booking.
pub(crate) fn rules() -> Rules {
    let text = |text| Template::parse(text).expect("a template");
    Rules {
        uid_domain: DOMAIN.to_owned(),
        summary: text("{service_name}"),
        description: text("{description}"),
        location: text("{location}"),
        pending_is_tentative: false,
        horizon: beginning(),
    }
}

/// What is shown of a booking, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Whose calendar shows it.
    pub(crate) provider: ProviderId,
    /// The title.
    pub(crate) summary: String,
    /// First instant.
    pub(crate) start: DateTime<Utc>,
    /// First instant after it.
    pub(crate) end: DateTime<Utc>,
}

/// A booking, as the application has it.
#[derive(Debug)]
pub(crate) struct Booked {
    /// Its UID.
    pub(crate) uid: IcalUid,
    id: BookingId,
    provider: ProviderId,
    /// `None`: this producer counts no versions.
    sequence: Option<i64>,
    details: Details,
    is_made: bool,
    is_cancelled: bool,
    changes: u64,
    /// What it was when, by what was told.
    told: Vec<(Duration, Option<Shown>)>,
}

impl Booked {
    /// What a calendar should show.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let is_shown = self.is_made && !self.is_cancelled && self.details.status != Status::Pending;
        is_shown.then(|| Shown {
            provider: self.provider,
            summary: self.details.service_name.clone(),
            start: self.details.start,
            end: self.details.end,
        })
    }

    /// When it was first told that it is as it is now.
    pub(crate) fn told_at(&self) -> Duration {
        let now = self.shown();
        let first = self.told.iter().find(|(_, shown)| *shown == now);
        first.map_or(Duration::MAX, |(at, _)| *at)
    }
}

/// A record that waits in the producer.
struct Waiting {
    at: Duration,
    key: String,
    payload: Vec<u8>,
    is_sequenced: bool,
}

/// The application.
pub(crate) struct Story {
    /// Its bookings.
    pub(crate) bookings: Vec<Booked>,
    providers: u64,
    may_move: bool,
    dice: Chance,
    waiting: Vec<Waiting>,
    /// Those who waver: their dice, and the booking that was cancelled and may be made again.
    wavering: (Chance, Option<usize>),
}

/// The zones in which people speak of a booking.
const ZONES: [Tz; 2] = [Tz::UTC, Tz::Europe__Berlin];

fn details(dice: &mut Chance, texts: &mut Chance, name: &str) -> Details {
    // Around the end of March: days of 23 hours are among them.
    let start =
        beginning() + TimeDelta::hours(24 * 85 + i64::try_from(dice.below(200)).unwrap_or(0));
    Details {
        status: Status::Confirmed,
        start,
        end: start + TimeDelta::minutes(30),
        zone: *dice.pick(&ZONES),
        service_name: format!("{name} 1"),
        title: None,
        description: texts.hits(600).then(|| text(name, 1)),
        location: None,
        notes: None,
        customer_name: None,
        customer_email: None,
    }
}

/// What is said of a booking after so many changes.
fn text(name: &str, changes: u64) -> String {
    format!("Of {name} there is\nto be said, {changes} times:\n\nplease be there in time.")
}

impl Story {
    /// A story with nothing told yet.
    pub(crate) fn new(world: &World) -> Self {
        let mut dice = Chance::of(world.plan.seed, "story");
        let mut texts = Chance::of(world.plan.seed, "texts");
        let bookings = (0..world.plan.bookings)
            .map(|number| {
                let id = BookingId::parse(&format!("b{number}")).expect("an id");
                Booked {
                    uid: IcalUid::of_booking(&id, DOMAIN).expect("a UID"),
                    details: details(&mut dice, &mut texts, id.as_str()),
                    id,
                    provider: provider(dice.below(world.plan.providers)),
                    sequence: dice.hits(600).then_some(0),
                    is_made: false,
                    is_cancelled: false,
                    changes: 1,
                    told: vec![(Duration::ZERO, None)],
                }
            })
            .collect();
        let (providers, may_move) = (world.plan.providers, world.plan.features.moves);
        let wavering = (Chance::of(world.plan.seed, "wavering"), None);
        Self { bookings, providers, may_move, dice, waiting: Vec::new(), wavering }
    }

    /// One thing happens to one booking.
    pub(crate) fn go_on(&mut self, world: &World) {
        let at = usize::try_from(self.dice.below(self.bookings.len() as u64)).unwrap_or_default();
        let change = {
            let (dice, booked) = (&mut self.dice, &mut self.bookings[at]);
            if !booked.is_made {
                world.count("created");
                booked.is_made = true;
                if dice.hits(100) {
                    booked.details.status = Status::Pending;
                }
                Change::Created(booked.details.clone())
            } else if booked.is_cancelled && booked.sequence.is_some() && dice.hits(500) {
                world.count("rebooked");
                booked.is_cancelled = false;
                booked.change(dice);
                Change::Created(booked.details.clone())
            } else if booked.is_cancelled {
                return;
            } else if dice.hits(280) {
                world.count("cancelled");
                booked.is_cancelled = true;
                Change::Cancelled { reason: None }
            } else {
                if self.may_move && dice.hits(300) {
                    world.count("handed over");
                    booked.provider = provider(dice.below(self.providers));
                }
                world.count("updated");
                booked.details.status = Status::Confirmed;
                booked.change(dice);
                Change::Updated(booked.details.clone())
            }
        };
        self.publish(world, at, change);
    }

    /// Somebody cancels a booking, and soon makes it again. What a call of before may then meet is the
    /// event of the same name.
    pub(crate) fn waver(&mut self, world: &World) {
        let (dice, cancelled) = &mut self.wavering;
        let again = cancelled.take().filter(|at| self.bookings[*at].is_cancelled);
        let live = |at: &usize| {
            let booked = &self.bookings[*at];
            booked.is_made && !booked.is_cancelled && booked.sequence.is_some()
        };
        let live: Vec<usize> = (0..self.bookings.len()).filter(live).collect();
        let (at, change) = match again {
            Some(at) => {
                let booked = &mut self.bookings[at];
                booked.is_cancelled = false;
                booked.change(dice);
                (at, Change::Created(booked.details.clone()))
            }
            None if live.is_empty() => return,
            None => {
                let at = *dice.pick(&live);
                *cancelled = Some(at);
                self.bookings[at].is_cancelled = true;
                (at, Change::Cancelled { reason: None })
            }
        };
        world.count("wavered");
        self.publish(world, at, change);
    }

    /// Publishes every booking as it is now: some facts are not in the log any more.
    pub(crate) fn publish_all_anew(&mut self, world: &World) {
        // A repetition of what the log has lost would be the newest fact in it: nothing but a
        // sequence tells.
        self.waiting.retain(|waiting| waiting.is_sequenced);
        for at in 0..self.bookings.len() {
            let booked = &self.bookings[at];
            if !booked.is_made {
                continue;
            }
            let change = if booked.is_cancelled {
                Change::Cancelled { reason: None }
            } else {
                Change::Created(booked.details.clone())
            };
            self.publish(world, at, change);
        }
    }

    fn publish(&mut self, world: &World, at: usize, change: Change) {
        let booked = &mut self.bookings[at];
        booked.told.push((world.elapsed(), booked.shown()));
        if let Some(sequence) = &mut booked.sequence {
            *sequence += 1;
        }
        let event = OutgoingEvent {
            id: EventId(self.dice.uuid()),
            booking: booked.id.clone(),
            uid: None,
            provider: booked.provider,
            sequence: booked.sequence,
            occurred_at: world.clock.now(),
            change,
        };
        let (key, payload) = (booked.id.to_string(), encode(&event));
        world.say(|| {
            let (name, sequence) = (event.change.name(), event.sequence);
            let shown = booked.shown().map(|shown| shown.summary);
            format!(
                "{name} of {key}, sequence {sequence:?}, provider {}: {shown:?}",
                event.provider
            )
        });
        let (repeats, reorders, later) = world.chance("producer", |dice, rates| {
            let repeats = dice.hits(rates.producer_repeats);
            let reorders = dice.hits(rates.producer_reorders) && event.sequence.is_some();
            (repeats, reorders, dice.time(Duration::from_mins(4)))
        });
        let at = world.elapsed() + later;
        if repeats || reorders {
            world.count(if reorders { "reordered" } else { "repeated" });
            let is_sequenced = event.sequence.is_some();
            let (key, payload) = (key.clone(), payload.clone());
            self.waiting.push(Waiting { at, key, payload, is_sequenced });
        }
        if !reorders {
            append(world, &key, payload);
        }
    }

    /// Publishes what has waited long enough.
    pub(crate) fn publish_waiting(&mut self, world: &World) {
        let now = world.elapsed();
        let is_due = |waiting: &Waiting| waiting.at <= now || world.is_calm();
        for waiting in self.waiting.extract_if(.., |it| is_due(it)).collect::<Vec<_>>() {
            append(world, &waiting.key, waiting.payload);
        }
    }
}

impl Booked {
    fn change(&mut self, dice: &mut Chance) {
        self.changes += 1;
        self.details.service_name = format!("{} {}", self.id, self.changes);
        if let Some(description) = &mut self.details.description {
            *description = text(self.id.as_str(), self.changes);
        }
        if dice.hits(500) {
            let by = TimeDelta::minutes(15 * i64::try_from(dice.between(1, 8)).unwrap_or(1));
            self.details.start += by;
            self.details.end += by;
        }
    }
}

/// Adds a record to the topic, and now and then something that is no event.
fn append(world: &World, key: &str, payload: Vec<u8>) {
    let timestamp = world.clock.now().timestamp_millis();
    if world.chance("producer", |dice, rates| dice.hits(rates.garbage)) {
        let garbage = world.chance("producer", |dice, _| {
            dice.pick(&[None, Some(vec![0xc3, 0x01, 7]), Some(b"garbage".to_vec())]).clone()
        });
        world.count("garbage");
        world.log.append(key, garbage, timestamp);
        if world.chance("producer", |dice, _| dice.hits(500)) {
            world.log.append_marker(world.log.partition_of(key));
        }
    }
    let (partition, offset) = world.log.append(key, Some(payload), timestamp);
    world.say(|| format!("record of {key} at {partition}@{offset}"));
}
