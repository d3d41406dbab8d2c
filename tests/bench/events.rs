//! The log that is taken in: what a busy booking application publishes, the same in every run.
//!
//! Of a hundred events about 40 create a booking, 38 change one, 12 cancel one and 10 repeat an
//! earlier record byte for byte. Changes and cancellations favour the bookings of late. Nine
//! providers in ten count a `sequence`, the tenth does not. Ids are random, so that every index is
//! written all over, as with UUIDs.

use std::fmt;

use booking::{
    BookingId, CalendarKind, Change, ConnectionId, Details, EventId, IcalUid, ProviderId, Status,
};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::consumer::RawRecord;
use calendar_sync::store::NewConnection;
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

/// How many providers there are, each with a calendar connected.
pub(crate) const PROVIDERS: u128 = 500;
/// How many bookings of late are favoured, and how many records of late are repeated.
const LATE: usize = 1_000;
const SEED: u64 = 7;
/// When the first event happened: 2030-01-01, so that every booking is an upcoming one.
const BEGINNING_S: i64 = 1_893_456_000;

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mix {
    pub(crate) created: usize,
    pub(crate) updated: usize,
    pub(crate) cancelled: usize,
    pub(crate) repeated: usize,
    bytes: usize,
}

impl Mix {
    pub(crate) fn events(&self) -> usize {
        self.created + self.updated + self.cancelled + self.repeated
    }

    /// The bookings that are shown in the end.
    pub(crate) fn live(&self) -> usize {
        self.created - self.cancelled
    }

    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.cancelled += other.cancelled;
        self.repeated += other.repeated;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.events();
        write!(f, "{all} events of {} bytes on average:", self.bytes / all.max(1))?;
        let kinds = [
            ("creates", self.created),
            ("updates", self.updated),
            ("cancels", self.cancelled),
            ("repeats", self.repeated),
        ];
        for (name, count) in kinds {
            write!(f, " {} % {name},", count * 100 / all.max(1))?;
        }
        write!(f, " of {PROVIDERS} providers")
    }
}

/// The records of each partition, and how many of each kind all of them are.
pub(crate) fn log(events: usize, partitions: usize) -> (Vec<Vec<RawRecord>>, Mix) {
    let mut mix = Mix::default();
    let of_partition = |partition| {
        let share = events / partitions + usize::from(partition < events % partitions);
        let mut writer = Writer::new(partition);
        (0..share).for_each(|_| writer.write_next());
        mix.add(writer.mix);
        writer.records
    };
    ((0..partitions).map(of_partition).collect(), mix)
}

/// A provider's calendar.
pub(crate) fn connection(provider: u128) -> NewConnection {
    NewConnection {
        id: ConnectionId(Uuid::from_u128(0xC0_0000 + provider)),
        provider: provider_id(provider),
        kind: CalendarKind::Google,
        subject: format!("subject-{provider}"),
        calendar: "primary".to_owned(),
        base_url: "https://calendar.example".to_owned(),
        sealed: vec![0; 64],
        make_destination: true,
        revives: true,
        horizon: horizon(),
    }
}

/// Before every booking.
pub(crate) fn horizon() -> DateTime<Utc> {
    DateTime::from_timestamp(BEGINNING_S - 86_400, 0).expect("a time of our days")
}

fn provider_id(provider: u128) -> ProviderId {
    // Spread, as random UUIDs are.
    ProviderId(Uuid::from_u128(provider.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)))
}

/// A booking as its application knows it.
struct Known {
    id: BookingId,
    provider: u128,
    sequence: i64,
    details: Details,
}

struct Writer {
    partition: i32,
    chance: StdRng,
    live: Vec<Known>,
    records: Vec<RawRecord>,
    mix: Mix,
}

impl Writer {
    fn new(partition: usize) -> Self {
        Self {
            partition: i32::try_from(partition).expect("few partitions"),
            chance: StdRng::seed_from_u64(SEED + partition as u64),
            live: Vec::new(),
            records: Vec::new(),
            mix: Mix::default(),
        }
    }

    fn write_next(&mut self) {
        match self.chance.random_range(0..100) {
            40..78 if !self.live.is_empty() => self.update(),
            78..90 if !self.live.is_empty() => self.cancel(),
            90..100 if !self.records.is_empty() => self.repeat(),
            _ => self.create(),
        }
    }

    fn create(&mut self) {
        let provider = self.chance.random_range(0..PROVIDERS);
        let name = format!("bk-{:016x}", self.chance.random::<u64>());
        let id = BookingId::parse(&name).expect("it is short");
        let details = self.details();
        let known = Known { id, provider, sequence: 0, details: details.clone() };
        self.append(&known, Change::Created(details));
        self.live.push(known);
        self.mix.created += 1;
    }

    fn update(&mut self) {
        let mut known = self.take_live();
        known.sequence += 1;
        let moved = TimeDelta::minutes(self.chance.random_range(-96..96) * 15 + 1);
        known.details.start += moved;
        known.details.end += moved;
        self.append(&known, Change::Updated(known.details.clone()));
        self.live.push(known);
        self.mix.updated += 1;
    }

    fn cancel(&mut self) {
        let mut known = self.take_live();
        known.sequence += 1;
        self.append(&known, Change::Cancelled { reason: Some("the customer is ill".to_owned()) });
        self.mix.cancelled += 1;
    }

    fn repeat(&mut self) {
        let late = self.records.len().min(LATE);
        let again = self.records.len() - 1 - self.chance.random_range(0..late);
        let RawRecord { key, payload, .. } = self.records[again].clone();
        self.push(key, payload);
        self.mix.repeated += 1;
    }

    /// Two in three of late, the others of any time.
    fn take_live(&mut self) -> Known {
        let from = match self.chance.random_range(0..3) {
            0 => self.live.len(),
            _ => self.live.len().min(LATE),
        };
        let index = self.live.len() - 1 - self.chance.random_range(0..from);
        self.live.swap_remove(index)
    }

    fn append(&mut self, known: &Known, change: Change) {
        let event = OutgoingEvent {
            id: EventId(uuid::Builder::from_random_bytes(self.chance.random()).into_uuid()),
            uid: IcalUid::parse(&format!("{}@clinic.example", known.id)).ok(),
            booking: known.id.clone(),
            provider: provider_id(known.provider),
            sequence: (!known.provider.is_multiple_of(10)).then_some(known.sequence),
            occurred_at: known.details.start - TimeDelta::days(3),
            change,
        };
        self.push(Some(known.id.as_str().as_bytes().to_vec()), Some(encode(&event)));
    }

    fn push(&mut self, key: Option<Vec<u8>>, payload: Option<Vec<u8>>) {
        self.mix.bytes += payload.as_ref().map_or(0, Vec::len);
        let offset = self.records.len().cast_signed() as i64;
        self.records.push(RawRecord {
            partition: self.partition,
            offset,
            timestamp_ms: BEGINNING_S * 1_000 + offset,
            key,
            payload,
            headers: Vec::new(),
        });
    }

    fn details(&mut self) -> Details {
        const SERVICES: [&str; 4] =
            ["Physiotherapy, 60 min", "First consultation", "Haircut and colour", "Massage – back"];
        let quarter = TimeDelta::minutes(self.chance.random_range(0..34_560) * 15);
        let start = horizon() + TimeDelta::days(30) + quarter;
        let customer = self.chance.random_range(0..100_000);
        Details {
            status: Status::Confirmed,
            start,
            end: start + TimeDelta::minutes(self.chance.random_range(1..8) * 15),
            zone: chrono_tz::Europe::Berlin,
            service_name: SERVICES[self.chance.random_range(0..SERVICES.len())].to_owned(),
            title: Some(format!("Visit of customer {customer}")),
            description: Some("Please bring the letter of referral; ring twice.".to_owned()),
            location: Some(format!("Room {}, Hauptstraße 5", customer % 12)),
            notes: None,
            customer_name: Some(format!("Ada Nwosu {customer}")),
            customer_email: Some(format!("ada.nwosu.{customer}@mail.example")),
        }
    }
}
