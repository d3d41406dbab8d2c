//! How long a booking takes from its record to its calendar, while another tenant's flood is sent: in one
//! run beside the same without any flood, so that the figures can be compared. And the same on a
//! connection that is being filled with its provider's bookings of before.
//!
//! `TEST_POSTGRES_URL=… cargo bench --bench fairness -- [FLOOD] [BOOKINGS]`. On PostgreSQL with fsync and
//! our emulator of Google, one worker with the default settings; and once more without limits, so that the
//! flood is as fast as it can be.

mod database;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::content::Template;
use booking::{
    BookingId, CalendarKind, Change, ConnectionId, Details, EventId, IcalUid, ProviderId, Rules,
    Status,
};
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::calendar::{self, Account, Credentials};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::{Clock as _, Dice as _, Surroundings, SystemClock, SystemDice};
use calendar_sync::consumer::{BatchPlace, BatchSink as _, RawRecord, Taken};
use calendar_sync::emit::backoff::Backoff;
use calendar_sync::emit::drift::Policy;
use calendar_sync::emit::limits::{Limit, Limits, Rate};
use calendar_sync::emit::{Accounts, EmitOptions, Emitter, Opened, RepairOptions, Unopened};
use calendar_sync::emulator::GoogleEmulator;
use calendar_sync::emulator::google::Options;
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::postgres::PostgresStore;
use calendar_sync::store::{ConnectionRow, Fenced, Gate, LogFacts, NewConnection, Store};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use database::{Start, in_new_database, say, start};

const TOPIC: &str = "bookings";
const BATCH: usize = 1_000;
const TOKEN: &str = "a-token";
/// What is booked one by one.
const FRESH: &str = "Haircut";
/// How often it is looked whether a booking is there.
const LOOK: Duration = Duration::from_millis(1);
/// The longest that one may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// The first hour of all: 2030-01-01.
const BEGINNING_S: i64 = 1_893_456_000;
/// Whose flood it is, who would not notice, and who is connected after the bookings.
const BUSY: u128 = 1;
const OTHER: u128 = 2;
const LATE: u128 = 3;

fn main() {
    let Some(Start { words, url, runtime }) = start("fairness") else {
        return;
    };
    let number = |place: usize, default: usize| {
        words.get(place).map_or(default, |word| word.parse().expect("a number"))
    };
    let (flood, bookings) = (number(0, 100_000), number(1, 50));
    for (name, flood, limits) in [
        ("no flood", 0, default_limits()),
        ("a flood", flood, default_limits()),
        ("a flood without limits", flood, Limits::default()),
    ] {
        runtime.block_on(in_new_database(&url, async |store| {
            let mut bench = Bench::start(store, limits).await;
            bench.measure(name, flood, bookings).await;
        }));
    }
    runtime.block_on(in_new_database(&url, async |store| {
        let mut bench = Bench::start(store, default_limits()).await;
        bench.fill(flood, bookings).await;
    }));
}

/// What the settings say if nobody says otherwise.
fn default_limits() -> Limits {
    let google = Limit { connection: Rate::per_minute(600), application: Rate::per_minute(10_000) };
    Limits { google, ..Limits::default() }
}

struct Bench {
    google: GoogleEmulator,
    pipeline: Pipeline,
    place: BatchPlace,
    emitter: Arc<Emitter>,
    store: Arc<dyn Store>,
    clock: SystemClock,
    offset: i64,
}

impl Bench {
    async fn start(store: &PostgresStore, limits: Limits) -> Self {
        store.migrate().await.expect("it is migrated");
        let surroundings = Surroundings::real();
        store.open(None, SystemDice.token()).await.expect("the database is new");
        let options = Options {
            log_entries_max: 1_000,
            events_max: 1_000_000,
            ..Options::strict(Arc::clone(&surroundings.clock))
        };
        let google = GoogleEmulator::start(options).await.expect("a free port");
        google.add_account(TOKEN, "anna@example.com");
        for provider in [BUSY, OTHER, LATE] {
            google.create_calendar("anna@example.com", &calendar_of(provider));
            let new = connection(provider, &google.base_url());
            if provider != LATE {
                store.put_connection(&new).await.expect("it is connected");
            }
        }
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let wake = Arc::new(Notify::new());
        let schemas = Arc::new(NoRegistry);
        let pipeline = Pipeline::new(Arc::clone(&store), schemas, rules(), surroundings.clone())
            .waking(Arc::clone(&wake));
        let http = HttpOptions {
            call_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            proxy_from_environment: false,
            reach: Reach::Anywhere,
            clock: Arc::clone(&surroundings.clock),
        };
        let accounts = Arc::new(Bearer(Http::new(http).expect("these limits are sound")));
        let options = emit_options(limits);
        let emitter = Emitter::new(Arc::clone(&store), accounts, options, surroundings, wake);
        let place = place(store.as_ref()).await;
        let (emitter, clock) = (Arc::new(emitter), SystemClock::start());
        Self { google, pipeline, place, emitter, store, clock, offset: 0 }
    }

    async fn measure(&mut self, name: &str, flood: usize, bookings: usize) {
        self.tell_many(BUSY, flood).await;
        let stop = CancellationToken::new();
        let mut sending = JoinSet::new();
        sending.spawn(Arc::clone(&self.emitter).run(stop.clone()));
        while flood > 0 && self.google.events(&calendar_of(BUSY)).is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        let began = self.clock.elapsed();
        let mut took = Vec::new();
        for number in 1..=bookings {
            took.push(self.one(OTHER, number).await);
        }
        let seconds = self.clock.elapsed().saturating_sub(began).as_secs_f64();
        let rows = self.store.connections().await.expect("PostgreSQL answers");
        let left: i64 = rows.iter().map(|row| row.pending).sum();
        stop.cancel();
        sending.join_all().await;
        let sent = self.google.events(&calendar_of(BUSY)).len();
        say(&format!(
            "{name:<24} │ {} │ of the flood {sent} sent in {seconds:.1} s, {left} left",
            spread(&mut took)
        ));
        assert!(flood == 0 || left > 0, "the flood has ended before: ask for a greater one");
        self.google.stop().await;
    }

    /// Connects a provider that has so many bookings, and tells of new ones while it is being filled.
    async fn fill(&mut self, upcoming: usize, bookings: usize) {
        self.tell_many(LATE, upcoming).await;
        let new = connection(LATE, &self.google.base_url());
        let began = self.clock.elapsed();
        let put = self.store.put_connection(&new).await.expect("it is connected");
        let connected = self.clock.elapsed().saturating_sub(began);
        assert_eq!(put.bookings_due, upcoming as u64);
        let stop = CancellationToken::new();
        let mut sending = JoinSet::new();
        sending.spawn(Arc::clone(&self.emitter).run(stop.clone()));
        while self.google.events(&calendar_of(LATE)).is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        let began = self.clock.elapsed();
        let mut took = Vec::new();
        for number in 1..=bookings {
            took.push(self.one(LATE, number).await);
        }
        let seconds = self.clock.elapsed().saturating_sub(began).as_secs_f64();
        let left = self.store.fills().await.expect("PostgreSQL answers").left;
        stop.cancel();
        sending.join_all().await;
        say(&format!(
            "its own fill             │ {} │ connected in {:.2} s, filled with {} in {seconds:.1} s, \
             {left} left",
            spread(&mut took),
            connected.as_secs_f64(),
            i64::try_from(upcoming).expect("few") - left,
        ));
        assert!(left > 0, "the fill has ended before: ask for a greater one");
        self.google.stop().await;
    }

    /// Tells of one booking, and waits until it is in its calendar, as the so many-th of its kind.
    async fn one(&mut self, provider: u128, number: usize) -> Duration {
        let began = self.clock.elapsed();
        self.tell_as(FRESH, provider, 1).await;
        let calendar = calendar_of(provider);
        let is_there = async {
            while self.fresh(&calendar) < number {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_there).await.expect("it is there within a minute");
        self.clock.elapsed().saturating_sub(began)
    }

    /// How many events of bookings that were told of one by one a calendar holds.
    fn fresh(&self, calendar: &str) -> usize {
        let events = self.google.events(calendar);
        events.iter().filter(|event| event.summary.contains(FRESH)).count()
    }

    async fn tell_many(&mut self, provider: u128, count: usize) {
        for chunk in 0..count.div_ceil(BATCH) {
            self.tell_as("Massage", provider, BATCH.min(count - chunk * BATCH)).await;
        }
    }

    /// Has so many new bookings of a provider folded.
    async fn tell_as(&mut self, service: &str, provider: u128, count: usize) {
        let first = self.offset;
        let records: Vec<_> =
            (first..).take(count).map(|at| record(at, service, provider)).collect();
        self.offset = first + i64::try_from(records.len()).expect("few");
        let taken = self.pipeline.take(&self.place, records, &CancellationToken::new()).await;
        assert_eq!(taken, Taken::To(self.offset));
        self.place.from = self.offset;
    }
}

/// A token, and nothing sealed.
struct Bearer(Http);

#[async_trait]
impl Accounts for Bearer {
    async fn open(&self, row: &ConnectionRow) -> Result<Opened, Unopened> {
        let account = Account {
            connection: row.id,
            base_url: row.base_url.clone(),
            calendar: row.calendar.clone(),
            credentials: Credentials::Bearer { token: SecretString::from(TOKEN) },
        };
        Ok(Opened::lasting(calendar::open(row.kind, account, &self.0)))
    }
}

fn calendar_of(provider: u128) -> String {
    format!("calendar-{provider}@example.com")
}

fn connection(provider: u128, base_url: &str) -> NewConnection {
    NewConnection {
        id: ConnectionId(Uuid::from_u128(0xC0_0000 + provider)),
        provider: ProviderId(Uuid::from_u128(provider)),
        kind: CalendarKind::Google,
        subject: format!("subject-{provider}"),
        calendar: calendar_of(provider),
        base_url: base_url.to_owned(),
        sealed: vec![0; 64],
        make_destination: true,
        revives: true,
        horizon: beginning(),
    }
}

fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(BEGINNING_S, 0).expect("a time of our days")
}

fn rules() -> Rules {
    let template = |text| Template::parse(text).expect("a template");
    Rules {
        uid_domain: "bookings.example".to_owned(),
        summary: template("Booking: {service_name}"),
        description: template("{description}"),
        location: template("{location}"),
        pending_is_tentative: false,
        horizon: beginning(),
    }
}

/// The middle, nearly the end and the end of what took so long.
fn spread(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let (median, most, longest) = (at(50), at(95), at(100));
    format!("median {median:>7.1} ms, 95 % {most:>7.1} ms, longest {longest:>7.1} ms")
}

fn record(offset: i64, service: &str, provider: u128) -> RawRecord {
    let name = format!("bk-{offset}");
    let start = beginning() + TimeDelta::hours(24 + offset % 8_000);
    let details = Details {
        status: Status::Confirmed,
        start,
        end: start + TimeDelta::hours(1),
        zone: chrono_tz::Tz::Europe__Berlin,
        service_name: service.to_owned(),
        title: None,
        description: Some("Please come five minutes early.".to_owned()),
        location: Some("Room 1".to_owned()),
        notes: None,
        customer_name: None,
        customer_email: None,
    };
    let event = OutgoingEvent {
        id: EventId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())),
        booking: BookingId::parse(&name).expect("it is short"),
        uid: IcalUid::parse(&format!("{name}@clinic.example")).ok(),
        provider: ProviderId(Uuid::from_u128(provider)),
        sequence: Some(1),
        occurred_at: beginning(),
        change: Change::Created(details),
    };
    RawRecord {
        partition: 0,
        offset,
        timestamp_ms: BEGINNING_S * 1_000 + offset,
        key: Some(name.into_bytes()),
        payload: Some(encode(&event)),
        headers: Vec::new(),
    }
}

async fn place(store: &dyn Store) -> BatchPlace {
    let cursors = store.fence(TOPIC, &[0], SystemDice.token()).await.expect("it is fenced");
    let fence = cursors.into_iter().next().expect("one was asked for").fence;
    let facts = LogFacts { start: Some(0), ..LogFacts::default() };
    let noted = store.note_log(&fence, &facts).await.expect("it is noted");
    assert_eq!(noted, Fenced::Written);
    BatchPlace {
        fence,
        incarnation: 0,
        from: 0,
        log_end: None,
        recover_until: None,
        gathered_for: Duration::ZERO,
    }
}

/// The defaults of the settings.
fn emit_options(limits: Limits) -> EmitOptions {
    EmitOptions {
        gate: Gate { enabled: true, providers: Vec::new(), connections: Vec::new() },
        lanes_max: 16,
        lane_concurrency: 8,
        claim_batch: 64,
        lease: Duration::from_mins(1),
        call_timeout: Duration::from_secs(20),
        idle: Duration::from_millis(500),
        backoff: Backoff {
            delay_min: Duration::from_millis(500),
            delay_max: Duration::from_mins(15),
        },
        rejections_max: 8,
        verify_after: vec![Duration::from_hours(1), Duration::from_hours(24)],
        repair: RepairOptions {
            policy: Policy::Report,
            interval: Some(Duration::from_hours(6)),
            halt_share: 20,
            listing_lag: Duration::from_mins(5),
        },
        limits,
    }
}
