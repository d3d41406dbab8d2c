//! What a fact is given: a store, its time, and short words for what is done with it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use booking::{
    Booking, BookingId, CalendarKind, ConnectionId, Content, Desired, Effect, IcalUid, Position,
    ProviderId, Verb,
};
use calendar_sync::clock::Clock;
use calendar_sync::store::{
    Advance, Batch, Committed, ConnectionRow, ConnectionState, CountedConnection, Fence, Fenced,
    Finding, Gate, InFlight, LaneLease, NewConnection, Owed, PutConnection, Record, Result, Stamp,
    Store, StoredBooking, Witness,
};
use chrono::{DateTime, TimeZone as _, Utc};
use futures::future::BoxFuture;
use uuid::Uuid;

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_hours(1);
/// Short enough to be awaited.
pub(crate) const SHORT: Duration = Duration::from_millis(40);
/// The topic of every fact.
pub(crate) const TOPIC: &str = "bookings";
/// How often a condition is looked at before it is given up.
const LOOKS_MAX: u32 = 1_000;

/// A store, and what a fact needs beside it.
pub(crate) struct Env {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// How time passes for it.
    pub(crate) time: Time,
    /// What to clear away in the end.
    pub(crate) ending: BoxFuture<'static, ()>,
}

/// How time passes.
pub(crate) enum Time {
    /// By our hand.
    Given(Arc<HandClock>),
    /// By itself.
    Real,
}

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(Mutex<Duration>);

impl HandClock {
    /// A clock.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Duration::ZERO)))
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        *self.0.lock().expect("nobody panics while holding it") += time;
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        hour(0) + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().expect("nobody panics while holding it")
    }
}

/// An answer, where an error fails the test.
pub(crate) trait Answered<T> {
    /// The answer.
    fn answered(self) -> T;
}

impl<T> Answered<T> for Result<T> {
    #[track_caller]
    fn answered(self) -> T {
        self.expect("the store answers")
    }
}

/// An hour of the day on which everything takes place.
pub(crate) fn hour(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 6, 1, hour, 0, 0).single().expect("a time in UTC")
}

/// A random name, as the dice would give it.
pub(crate) fn token(number: u128) -> Uuid {
    Uuid::from_u128(0x7070_0000 + number)
}

/// A connection's id.
pub(crate) fn connection(number: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(number))
}

/// A provider's id.
pub(crate) fn provider(number: u128) -> ProviderId {
    ProviderId(Uuid::from_u128(0x0909_0000 + number))
}

/// A booking's UID.
pub(crate) fn uid(name: &str) -> IcalUid {
    IcalUid::parse(&format!("booking-{name}@example.com")).expect("a UID")
}

/// A booking's id.
pub(crate) fn id(name: &str) -> BookingId {
    BookingId::parse(name).expect("an id")
}

/// What is shown of a booking, from nine to ten.
pub(crate) fn content(title: &str) -> Content {
    Content {
        summary: title.to_owned(),
        description: None,
        location: Some("Room 1".to_owned()),
        start: hour(9),
        end: hour(10),
        zone: chrono_tz::Europe::Berlin,
        tentative: false,
    }
}

/// A booking of provider 1 at a revision; without a title it is cancelled.
pub(crate) fn booking(name: &str, revision: i64, title: Option<&str>) -> Booking {
    Booking {
        uid: uid(name),
        id: id(name),
        provider: provider(1),
        last: Position { incarnation: 0, partition: 0, offset: revision },
        version: None,
        created_at: Some(0),
        cancelled_at: title.is_none().then_some(1),
        seen: std::collections::VecDeque::new(),
        occurred_at: None,
        content: Some(content(title.unwrap_or("cancelled"))),
        content_at: Some(0),
        revision,
    }
}

/// What should be there.
pub(crate) fn desired(title: Option<&str>) -> Desired {
    title.map_or(Desired::Absent, |title| Desired::Present(content(title).digest()))
}

/// What connection 1 should hold of a booking.
pub(crate) fn effect(name: &str, revision: i64, title: Option<&str>) -> Effect {
    let (uid, desired) = (uid(name), desired(title));
    Effect { uid, connection: connection(1), revision, desired, verify: false }
}

/// A partition's step.
pub(crate) fn advance(fence: &Fence, from: i64, to: i64) -> Advance {
    let witness = Witness { timestamp_ms: 1_000 + to, checksum: 0xffff_fff0 + to };
    Advance { fence: fence.clone(), from, to, witness, log_end: Some(to + 5) }
}

/// A gate that lets all through.
pub(crate) fn open_gate() -> Gate {
    Gate { enabled: true, providers: Vec::new(), connections: Vec::new() }
}

/// A connection of provider 1, with all that it needs.
pub(crate) fn new_connection(number: u128) -> NewConnection {
    NewConnection {
        id: connection(number),
        provider: provider(1),
        kind: CalendarKind::Caldav,
        subject: format!("host-{number}"),
        calendar: format!("https://dav.example.com/host/{number}/"),
        base_url: "https://dav.example.com/".to_owned(),
        sealed: vec![0, 1, 255],
        make_destination: false,
        revives: true,
        horizon: hour(0),
    }
}

/// The calendar acknowledged this title, at this revision.
pub(crate) fn present(name: &str, revision: i64, title: &str) -> Finding {
    Finding::Present {
        revision,
        digest: content(title).digest(),
        etag: Some(format!("\"{revision}\"")),
        external_id: format!("booking-{name}.ics"),
        provider_uid: Some(uid(name).to_string()),
        start: hour(9),
        end: hour(10),
    }
}

/// Surely not applied; due again after so long.
pub(crate) fn not_applied(after: Duration, rejected: bool) -> Finding {
    Finding::NotApplied { after, error: "the calendar said no".to_owned(), rejected }
}

/// Nobody knows; to be read back after so long.
pub(crate) fn unknown(after: Duration) -> Finding {
    Finding::Unknown { after, error: "no answer".to_owned(), rejected: false }
}

impl Env {
    /// Clears away.
    pub(crate) async fn end(self) {
        drop(self.store);
        self.ending.await;
    }

    /// Lets time pass until `look` finds something.
    pub(crate) async fn eventually<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        for _ in 0..LOOKS_MAX {
            if let Some(found) = look().await {
                return found;
            }
            match &self.time {
                Time::Given(clock) => clock.pass(SHORT / 4),
                Time::Real => tokio::time::sleep(SHORT / 4).await,
            }
        }
        panic!("never: {what}");
    }

    /// Adds a connection of provider 1.
    pub(crate) async fn connect(&self, number: u128) -> PutConnection {
        self.store.put_connection(&new_connection(number)).await.answered()
    }

    /// A connection as it is stored.
    pub(crate) async fn row(&self, number: u128) -> ConnectionRow {
        self.store.connection(connection(number)).await.answered().expect("it was added")
    }

    /// Parks a lane's connection, whatever its credentials are now.
    pub(crate) async fn park(&self, lane: &LaneLease, reason: &str) -> Fenced {
        let row = self.store.connection(lane.connection).await.answered().expect("it was added");
        self.store.park(lane, &row.sealed, reason).await.answered()
    }

    /// A connection with its counts.
    pub(crate) async fn counted(&self, number: u128) -> CountedConnection {
        let mut all = self.store.connections().await.answered();
        all.retain(|counted| counted.connection.id == connection(number));
        all.pop().expect("it was added")
    }

    /// A connection's state.
    pub(crate) async fn state(&self, number: u128) -> ConnectionState {
        self.row(number).await.state
    }

    /// A booking as it is stored.
    pub(crate) async fn stored(&self, name: &str) -> Option<StoredBooking> {
        let names = [(id(name), uid(name))];
        self.store.states(&names, &[]).await.answered().bookings.pop()
    }

    /// The batch that brings a booking to a revision, placed on connection 1, with its effect.
    pub(crate) async fn batch(&self, name: &str, revision: i64, title: Option<&str>) -> Batch {
        let version = self.stored(name).await.map_or(0, |stored| stored.version);
        let booking = booking(name, revision, title);
        Batch {
            bookings: vec![StoredBooking { booking, placed: Some(connection(1)), version }],
            effects: vec![effect(name, revision, title).into()],
            ..Batch::default()
        }
    }

    /// Commits that batch.
    pub(crate) async fn ask(&self, name: &str, revision: i64, title: Option<&str>) {
        let batch = self.batch(name, revision, title).await;
        assert_eq!(self.store.commit(&batch).await.answered(), Committed::Done);
    }

    /// Stores a booking of provider 1 that no calendar is asked to show.
    pub(crate) async fn keep(&self, name: &str, revision: i64, title: Option<&str>) {
        let mut batch = self.batch(name, revision, title).await;
        batch.effects.clear();
        batch.bookings[0].placed = None;
        assert_eq!(self.store.commit(&batch).await.answered(), Committed::Done);
    }

    /// Owns partition 0.
    pub(crate) async fn fence(&self, number: u128) -> Fence {
        let cursors = self.store.fence(TOPIC, &[0], token(number)).await.answered();
        cursors[0].fence.clone()
    }

    /// Leases any lane for a long time.
    pub(crate) async fn lease(&self, number: u128) -> Option<LaneLease> {
        self.lease_for(number, LONG).await
    }

    /// Leases any lane.
    pub(crate) async fn lease_for(&self, number: u128, lease: Duration) -> Option<LaneLease> {
        self.store.lease(&open_gate(), connection(0), token(number), lease).await.answered()
    }

    /// Leases the lane that has work.
    pub(crate) async fn lane(&self, number: u128) -> LaneLease {
        self.lease(number).await.expect("a lane has work")
    }

    /// What is due on a lane.
    pub(crate) async fn due(&self, lane: &LaneLease) -> Vec<Owed> {
        self.store.due(lane, 100).await.answered()
    }

    /// The one row that is due on a lane.
    pub(crate) async fn owed(&self, lane: &LaneLease) -> Owed {
        let mut due = self.due(lane).await;
        assert_eq!(due.len(), 1, "one row is due: {due:?}");
        due.remove(0)
    }

    /// Stamps a call about a booking, in the row's generation; tells whether it was stored.
    pub(crate) async fn stamp(
        &self,
        lane: &LaneLease,
        name: &str,
        (verb, revision, generation): (Verb, i64, i32),
    ) -> bool {
        let in_flight = InFlight {
            verb,
            revision,
            digest: (verb != Verb::Delete).then(|| content("sent").digest()),
            body: format!("{} {name} {revision}", verb.name()).into_bytes(),
        };
        let stamp = Stamp { uid: uid(name), desired_revision: revision, generation, in_flight };
        let stored = self.store.stamp(lane, &[stamp]).await.answered();
        stored == [uid(name)]
    }

    /// Records a finding.
    pub(crate) async fn record(&self, lane: &LaneLease, name: &str, finding: Finding) -> Fenced {
        self.record_open(lane, name, finding, None).await
    }

    /// Records a finding, and when the row is to be verified.
    pub(crate) async fn record_open(
        &self,
        lane: &LaneLease,
        name: &str,
        finding: Finding,
        verify_after: Option<Duration>,
    ) -> Fenced {
        let record = Record { lane: lane.clone(), uid: uid(name), finding, verify_after };
        self.store.record(&record).await.answered().into()
    }

    /// Sends what is wanted of a booking, with success: from the stamp to the record.
    pub(crate) async fn apply(&self, lane: &LaneLease, name: &str, revision: i64, title: &str) {
        assert!(self.stamp(lane, name, (Verb::Create, revision, 0)).await, "it is stamped");
        let recorded = self.record(lane, name, present(name, revision, title)).await;
        assert_eq!(recorded, Fenced::Written);
    }
}
