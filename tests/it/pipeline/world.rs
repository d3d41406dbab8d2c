//! A pipeline over a store that can be meddled with, logs to take records from, and events to put
//! in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use booking::content::{Rules, Template};
use booking::{Booking, BookingId, Change, Details, EventId, IcalUid, Status};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::{Dice, Surroundings, SystemClock, SystemDice};
use calendar_sync::consumer::{BatchPlace, BatchSink as _, RawRecord, Taken};
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::{NoRegistry, Schemas};
use calendar_sync::store::{DeadLetter, Fence, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::meddler::Meddler;
use crate::store_contract::env::{Answered as _, Env, TOPIC, hour, provider};

/// The longest that taking a batch is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The domain of UIDs that are derived.
pub(crate) const DOMAIN: &str = "example.com";

/// Dice that make every wait short, and count them.
#[derive(Default)]
pub(crate) struct Hurried {
    pub(crate) waits: AtomicU32,
}

impl Dice for Hurried {
    fn token(&self) -> Uuid {
        SystemDice.token()
    }

    fn unit(&self) -> f64 {
        self.waits.fetch_add(1, Ordering::SeqCst);
        0.001
    }
}

/// A pipeline and its store.
pub(crate) struct World {
    pub(crate) store: Arc<Meddler>,
    pub(crate) pipeline: Pipeline,
    pub(crate) dice: Arc<Hurried>,
}

/// One partition of a topic, as its owner reads it.
pub(crate) struct Log {
    pub(crate) fence: Fence,
    /// The next offset.
    pub(crate) at: i64,
}

impl World {
    /// Without a registry.
    pub(crate) fn of(env: &Env) -> Self {
        Self::with(env, Arc::new(NoRegistry))
    }

    /// With the schemas from somewhere.
    pub(crate) fn with(env: &Env, schemas: Arc<dyn Schemas>) -> Self {
        let store = Arc::new(Meddler::over(Arc::clone(&env.store)));
        let dice = Arc::new(Hurried::default());
        let surroundings =
            Surroundings::new(Arc::new(SystemClock::start()), Arc::clone(&dice) as _);
        let text = |text| Template::parse(text).unwrap();
        let rules = Rules {
            uid_domain: DOMAIN.to_owned(),
            summary: text("{service_name}: {title}"),
            description: text("{description}"),
            location: text("{location}"),
            pending_is_tentative: false,
            horizon: hour(0),
        };
        let pipeline = Pipeline::new(Arc::clone(&store) as _, schemas, rules, surroundings);
        Self { store, pipeline, dice }
    }

    /// Owns partition 0 of the facts' topic, from its cursor on.
    pub(crate) async fn log(&self) -> Log {
        self.log_of(TOPIC, 0).await
    }

    /// Owns a partition, from its cursor on.
    pub(crate) async fn log_of(&self, topic: &str, partition: i32) -> Log {
        let cursors = self.store.fence(topic, &[partition], SystemDice.token()).await.answered();
        let cursor = cursors[0].clone();
        Log { fence: cursor.fence, at: cursor.next_offset.unwrap_or(0) }
    }

    /// Takes these values as the next records of a log.
    pub(crate) async fn take(&self, log: &mut Log, values: Vec<Vec<u8>>) -> Taken {
        self.take_records(log, records(log, values)).await
    }

    /// Takes records, in one batch.
    pub(crate) async fn take_records(&self, log: &mut Log, records: Vec<RawRecord>) -> Taken {
        let never = CancellationToken::new();
        let taken = self.take_until(log, records, &never);
        let taken = tokio::time::timeout(PATIENCE, taken).await.expect("a batch is taken");
        if let Taken::To(next) = taken {
            log.at = next;
        }
        taken
    }

    /// Takes records, in one batch, until told to stop.
    pub(crate) async fn take_until(
        &self,
        log: &Log,
        records: Vec<RawRecord>,
        stop: &CancellationToken,
    ) -> Taken {
        let place = BatchPlace {
            fence: log.fence.clone(),
            incarnation: 0,
            from: log.at,
            log_end: records.last().map(|record| record.offset + 1),
            recover_until: None,
            gathered_for: Duration::ZERO,
        };
        self.pipeline.take(&place, records, stop).await
    }

    /// Where a log's cursor stands.
    pub(crate) async fn cursor(&self, log: &Log) -> Option<i64> {
        let cursor = self.store.cursor(&log.fence.topic, log.fence.partition).await.answered();
        cursor.expect("it was fenced").next_offset
    }

    /// A booking's state and how often it was written.
    pub(crate) async fn booking(&self, name: &str) -> Option<(Booking, i64)> {
        let id = BookingId::parse(name).unwrap();
        let uid = IcalUid::of_booking(&id, DOMAIN).unwrap();
        let found = self.store.states(&[(id, uid)], &[]).await.answered().bookings;
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|stored| (stored.booking, stored.version))
    }

    /// What a calendar would show as a booking's title.
    pub(crate) async fn title(&self, name: &str) -> Option<String> {
        let (booking, _) = self.booking(name).await?;
        booking.shown().map(|content| content.summary.clone())
    }

    /// Every dead letter.
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        self.store.dead_letters(0, 1_000).await.answered()
    }
}

/// These values, as the next records of a log.
pub(crate) fn records(log: &Log, values: Vec<Vec<u8>>) -> Vec<RawRecord> {
    let record = |(offset, value)| record(log.fence.partition, offset, value);
    (log.at..).zip(values).map(record).collect()
}

/// A record with all that a record can have.
pub(crate) fn record(partition: i32, offset: i64, value: Vec<u8>) -> RawRecord {
    RawRecord {
        partition,
        offset,
        timestamp_ms: 1_900_000_000_000 + offset,
        key: Some(vec![0, 255, b'k']),
        payload: Some(value),
        headers: vec![
            ("trace".to_owned(), Some(vec![0, 159])),
            ("trace".to_owned(), None),
            (String::new(), Some(Vec::new())),
        ],
    }
}

/// A whole booking of provider 1, from nine to ten.
pub(crate) fn details(title: &str) -> Details {
    Details {
        status: Status::Confirmed,
        start: hour(9),
        end: hour(10),
        zone: chrono_tz::Europe::Berlin,
        service_name: "Massage".to_owned(),
        title: Some(title.to_owned()),
        description: None,
        location: None,
        notes: None,
        customer_name: None,
        customer_email: None,
    }
}

/// An event without a sequence. The same event has the same id.
pub(crate) fn event(booking: &str, change: Change) -> OutgoingEvent {
    let told = format!("{booking} {change:?}");
    OutgoingEvent {
        id: EventId(Uuid::new_v5(&Uuid::NAMESPACE_OID, told.as_bytes())),
        booking: BookingId::parse(booking).unwrap(),
        uid: None,
        provider: provider(1),
        sequence: None,
        occurred_at: hour(1),
        change,
    }
}

/// A booking is made.
pub(crate) fn created(booking: &str, title: &str) -> OutgoingEvent {
    event(booking, Change::Created(details(title)))
}

/// A booking changes.
pub(crate) fn updated(booking: &str, title: &str) -> OutgoingEvent {
    event(booking, Change::Updated(details(title)))
}

/// A booking is cancelled.
pub(crate) fn cancelled(booking: &str) -> OutgoingEvent {
    event(booking, Change::Cancelled { reason: None })
}

/// The same event, with a sequence.
pub(crate) fn sequenced(event: OutgoingEvent, sequence: i64) -> OutgoingEvent {
    OutgoingEvent { sequence: Some(sequence), ..event }
}

/// The events' records.
pub(crate) fn written<'a>(events: impl IntoIterator<Item = &'a OutgoingEvent>) -> Vec<Vec<u8>> {
    events.into_iter().map(encode).collect()
}

/// Good events, each of a booking of its own: `name-0`, `name-1`, ….
pub(crate) fn good(name: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| encode(&created(&format!("{name}-{number}"), "good"))).collect()
}
