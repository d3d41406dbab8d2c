//! The calls that are drawn: each is made on the model and on SQLite, and both must say the same.

use std::sync::Arc;
use std::time::Duration;

use booking::{ConnectionId, Desired, Effect, EventId, PoisonClass, Position};
use calendar_sync::store::sqlite::{Place, SqliteStore};
use calendar_sync::store::{
    ADOPTED_REVISION, Adopted, AdoptedEvent, Batch, DeadRecord, EffectOrigin, Fence, JournalEntry,
    LaneLease, LogFacts, NewDeadLetter, NewEffect, Passed, Result, Resume, Stop, Store,
    StoredBooking,
};
use calendar_sync::trace_parent::TraceParent;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use simulate::store::{Look, ModelStore};
use uuid::Uuid;

use super::super::env::{
    Answered as _, HandClock, TOPIC, advance, booking, connection, content, hour, id,
    new_connection, open_gate, provider, token, uid,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const TITLES: [Option<&str>; 3] = [Some("Massage"), Some("Haircut"), None];

/// Whether both said the same.
pub(super) type Tried = std::result::Result<(), TestCaseError>;

/// How many numbers a call is given; any more are 0.
pub(super) const NUMBERS: usize = 16;

/// One call, drawn: what it is, and numbers that its arguments follow from.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) kind: u8,
    pub(super) numbers: [u8; NUMBERS],
}

/// A failure shows them: one line for each.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind, self.numbers)
    }
}

/// Takes a call's numbers one by one.
pub(super) struct Numbers<'c>(std::slice::Iter<'c, u8>);

impl Numbers<'_> {
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        self.0.next().copied().unwrap_or_default() % bound
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.below(u8::try_from(choices.len()).expect("a few")))]
    }

    pub(super) fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(super) fn rarely(&mut self) -> bool {
        self.below(8) == 7
    }

    pub(super) fn connection(&mut self) -> ConnectionId {
        connection(u128::from(1 + self.below(3)))
    }

    pub(super) fn time(&mut self) -> Duration {
        self.of(&[
            Duration::ZERO,
            Duration::from_secs(1),
            Duration::from_mins(10),
            Duration::from_hours(2),
        ])
    }

    pub(super) fn maybe_time(&mut self) -> Option<Duration> {
        let time = self.time();
        self.yes().then_some(time)
    }
}

/// Both stores, and the clock that both go by.
pub(super) struct Pair {
    pub(super) model: ModelStore,
    pub(super) sqlite: SqliteStore,
    clock: Arc<HandClock>,
}

/// What a store answered, as text; of errors only that it was one.
pub(super) fn said<T: std::fmt::Debug>(answer: Result<T>) -> String {
    answer.map_or_else(|_| "an error".to_owned(), |answer| format!("{answer:?}"))
}

/// Asks both the same, and expects one answer.
macro_rules! same {
    ($pair:expr, $store:ident => $asked:expr) => {{
        let $store: &dyn Store = &$pair.model;
        let modelled = said($asked.await);
        let $store: &dyn Store = &$pair.sqlite;
        let expected = said($asked.await);
        prop_assert_eq!(&modelled, &expected, "{}", stringify!($asked));
    }};
}

impl Pair {
    /// Two that are empty.
    pub(super) async fn new() -> Self {
        let clock = HandClock::new();
        let sqlite = SqliteStore::open(&Place::Memory, Arc::clone(&clock) as _).await.answered();
        Self { model: ModelStore::new(Arc::clone(&clock) as _), sqlite, clock }
    }

    /// A lane: mostly its holder's.
    pub(super) fn lane(&self, numbers: &mut Numbers<'_>) -> LaneLease {
        let connection = connection(u128::from(1 + numbers.below(2)));
        let held = |rows: Look<'_>| {
            rows.connections().find(|row| row.id == connection).and_then(|row| row.token)
        };
        let another = token(u128::from(1 + numbers.below(2)));
        let holder = self.model.look(held).filter(|_| !numbers.rarely());
        LaneLease { connection, token: holder.unwrap_or(another) }
    }

    /// A booking's name: mostly of one that has a call in flight on a lane.
    pub(super) fn name(&self, numbers: &mut Numbers<'_>, lane: &LaneLease) -> &'static str {
        let any = numbers.of(&NAMES);
        let flies = |name: &&&str| {
            self.model.look(|rows| {
                rows.effect(&uid(name), lane.connection).is_some_and(|row| row.flight.is_some())
            })
        };
        let found = NAMES.iter().find(flies).copied().filter(|_| !numbers.rarely());
        found.unwrap_or(any)
    }

    async fn fence(&self, numbers: &mut Numbers<'_>) -> Fence {
        let partition = i32::from(numbers.below(2));
        let stale = numbers.rarely();
        let cursor = self.sqlite.cursor(TOPIC, partition).await.answered();
        let nobody = Fence { topic: TOPIC.to_owned(), partition, epoch: 1, token: token(9) };
        let fence = cursor.map_or(nobody, |cursor| cursor.fence);
        Fence { epoch: fence.epoch - i64::from(stale), ..fence }
    }

    /// A connection to begin with: most calls say little without one.
    pub(super) async fn begin(&self) -> Tried {
        same!(self, store => store.put_connection(&new_connection(1)));
        Ok(())
    }

    /// Clears away.
    pub(super) async fn end(self) {
        self.sqlite.close().await;
    }

    /// Makes one call on both.
    pub(super) async fn call(&self, call: &Call) -> Tried {
        let mut numbers = Numbers(call.numbers.iter());
        match call.kind {
            0..=5 => self.clock.pass(numbers.time()),
            6..=15 => self.on_cursors(&mut numbers).await?,
            16..=33 => self.commit(&mut numbers).await?,
            34..=43 => self.on_connections(&mut numbers).await?,
            44..=55 => self.on_lanes(&mut numbers).await?,
            56..=75 => self.record(&mut numbers).await?,
            76..=113 => self.send(&mut numbers).await?,
            _ => self.beside(&mut numbers).await?,
        }
        Ok(())
    }

    async fn on_cursors(&self, numbers: &mut Numbers<'_>) -> Tried {
        let partition = i32::from(numbers.below(2));
        match numbers.below(10) {
            0..=2 => {
                let token = token(u128::from(numbers.below(3)));
                same!(self, store => store.fence(TOPIC, &[partition], token));
            }
            3..=7 => {
                let fence = self.fence(numbers).await;
                let at = self.sqlite.cursor(TOPIC, fence.partition).await.answered();
                let at = at.and_then(|cursor| cursor.next_offset).unwrap_or(3);
                let log_end = at + i64::from(numbers.below(3));
                let to = at + i64::from(numbers.below(4));
                let facts = LogFacts {
                    start: numbers.yes().then_some(3),
                    topic_id: numbers.yes().then(|| "topic".to_owned()),
                    cluster_id: None,
                    log_end: numbers.yes().then_some(log_end),
                    log_end_age: numbers.time(),
                    passed: numbers.yes().then_some(Passed { from: at, to }),
                    recover: numbers.rarely(),
                };
                same!(self, store => store.note_log(&fence, &facts));
            }
            8 => {
                let fence = self.fence(numbers).await;
                let stop = Stop { kind: "truncated".to_owned(), found: "another".to_owned() };
                same!(self, store => store.stop(&fence, &stop));
            }
            _ => {
                let at = i64::from(numbers.below(6));
                let how = match numbers.below(3) {
                    0 => Resume::Set { at },
                    1 => Resume::Accept { at: Some(at) },
                    _ => Resume::Accept { at: None },
                };
                same!(self, store => store.resume(TOPIC, partition, how));
            }
        }
        Ok(())
    }

    /// A batch as folding makes it from what is stored, and sometimes as it should not be.
    async fn batch(&self, numbers: &mut Numbers<'_>) -> Batch {
        let name = numbers.of(&NAMES);
        let stored = self.sqlite.states(&[(id(name), uid(name))], &[provider(1)]).await.answered();
        let before = stored.bookings.iter().find(|one| one.booking.uid == uid(name));
        let revision = before.map_or(-1, |one| one.booking.revision) + i64::from(numbers.below(3));
        let title = numbers.of(&TITLES);
        let mut next = booking(name, revision, title);
        let version = before.map_or(0, |one| one.version) + i64::from(numbers.rarely());
        if numbers.rarely() {
            next.id = id("a");
        }
        let target = numbers.connection();
        let digest = title.map(|title| content(title).digest());
        let trace = format!("00-{:032x}-{:016x}-01", numbers.below(9), 1);
        let trace = TraceParent::parse(trace.as_bytes());
        let origin = EffectOrigin::new(trace, i64::from(numbers.below(3)) * 1_000);
        let effect = |connection, desired, verify| NewEffect {
            effect: Effect { uid: uid(name), connection, revision, desired, verify },
            origin: origin.clone(),
        };
        let desired = digest.map_or(Desired::Absent, Desired::Present);
        let mut effects = vec![effect(target, desired, numbers.rarely())];
        if let Some(was) = before.and_then(|one| one.placed).filter(|was| *was != target) {
            effects.push(effect(was, Desired::Absent, false));
        }
        let seen = numbers.rarely().then(|| (uid(numbers.of(&NAMES)), i64::from(numbers.below(3))));
        Batch {
            bookings: vec![StoredBooking { booking: next, placed: Some(target), version }],
            unchanged: seen.into_iter().collect(),
            destinations: if numbers.yes() { stored.destinations } else { Vec::new() },
            effects,
            ..Batch::default()
        }
    }

    async fn commit(&self, numbers: &mut Numbers<'_>) -> Tried {
        let mut batch = self.batch(numbers).await;
        if numbers.yes() {
            let fence = self.fence(numbers).await;
            let at = self.sqlite.cursor(TOPIC, fence.partition).await.answered();
            let from = at.and_then(|cursor| cursor.next_offset).unwrap_or(2);
            let position = Position { incarnation: 0, partition: fence.partition, offset: from };
            batch.journal = vec![JournalEntry {
                topic: TOPIC.to_owned(),
                position,
                event: EventId(token(99)),
                uid: uid("a"),
                kind: "BookingCreated",
                decision: "visible",
                revision: 0,
            }];
            batch.dead_letters = vec![letter(position)];
            batch.advance = Some(advance(&fence, from + i64::from(numbers.rarely()), from + 2));
        }
        same!(self, store => store.commit(&batch));
        Ok(())
    }

    async fn on_connections(&self, numbers: &mut Numbers<'_>) -> Tried {
        match numbers.below(16) {
            0..=6 => {
                let mut new = new_connection(u128::from(1 + numbers.below(2)));
                new.make_destination = numbers.yes();
                if numbers.rarely() {
                    "another".clone_into(&mut new.subject);
                }
                if numbers.rarely() {
                    new.horizon = hour(11);
                }
                same!(self, store => store.put_connection(&new));
            }
            7..=9 => {
                let (connection, withdraw) = (numbers.connection(), numbers.yes());
                same!(self, store => store.remove_connection(connection, withdraw));
            }
            10 => {
                let lane = self.lane(numbers);
                let sealed = new_connection(1).sealed;
                same!(self, store => store.park(&lane, &sealed, "revoked"));
            }
            11 => {
                let (lane, others) = (self.lane(numbers), [vec![0, 1, 255], vec![8]]);
                let sealed = others[usize::from(numbers.yes())].clone();
                let to = others[usize::from(numbers.yes())].clone();
                if numbers.yes() {
                    same!(self, store => store.renew_credentials(&lane, &sealed, &to));
                } else {
                    same!(self, store => store.renewal_failed(&lane, &sealed, "no answer"));
                }
                let id = numbers.connection();
                same!(self, store => store.swap_credentials(id, &to, &sealed));
            }
            _ => {
                let connection = numbers.connection();
                let one = |numbers: &mut Numbers<'_>| {
                    let event = AdoptedEvent {
                        external_id: numbers.of(&["theirs1", "theirs2"]).to_owned(),
                        etag: None,
                        provider_uid: None,
                        digest: content(numbers.of(&["Massage", "Haircut"])).digest(),
                        revision: numbers.of(&[ADOPTED_REVISION, 1]),
                    };
                    Adopted {
                        row: Uuid::from_u128(7),
                        uid: uid(numbers.of(&NAMES)),
                        event: (!numbers.rarely()).then_some(event),
                    }
                };
                let adopted = [one(numbers), one(numbers)];
                same!(self, store => store.adopt(connection, &adopted));
            }
        }
        Ok(())
    }

    async fn beside(&self, numbers: &mut Numbers<'_>) -> Tried {
        let letter = i64::from(numbers.below(4));
        match numbers.below(6) {
            0 | 1 => same!(self, store => store.revive(letter)),
            2 => same!(self, store => store.discard(letter)),
            3 => {
                let batch = self.batch(numbers).await;
                same!(self, store => store.redrive(letter, &batch));
            }
            _ => {
                let booking = id(numbers.of(&NAMES));
                same!(self, store => store.hasten(&booking));
            }
        }
        Ok(())
    }

    /// Both hold the same, as far as anybody can see.
    pub(super) async fn look(&self) -> Tried {
        let names = NAMES.map(|name| (id(name), uid(name)));
        let states = async |store: &dyn Store| {
            let mut states = store.states(&names, &[provider(1), provider(2)]).await.answered();
            states.bookings.sort_by(|one, other| one.booking.uid.cmp(&other.booking.uid));
            states.adopted.sort();
            format!("{states:?}")
        };
        prop_assert_eq!(states(&self.model).await, states(&self.sqlite).await);
        same!(self, store => store.cursors());
        same!(self, store => store.connections());
        same!(self, store => store.dead_letters(0, 100));
        same!(self, store => store.backlog(&open_gate(), 100));
        same!(self, store => store.tally(&open_gate()));
        for name in &NAMES {
            same!(self, store => store.external_events(&uid(name)));
        }
        for number in [1, 2] {
            let lane = LaneLease { connection: connection(number), token: token(1) };
            same!(self, store => store.due(&lane, 100));
        }
        Ok(())
    }
}

fn letter(position: Position) -> NewDeadLetter {
    NewDeadLetter {
        class: PoisonClass::UnknownSchema,
        reason: "nobody knows it".to_owned(),
        record: DeadRecord {
            topic: TOPIC.to_owned(),
            position,
            timestamp_ms: 1,
            key: None,
            payload: Some(vec![0, 255]),
            headers: vec![("trace".to_owned(), None)],
        },
    }
}
