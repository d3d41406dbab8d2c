//! Facts of reading in other batches, and of reading again (rules R5, R6 and R22).

use booking::Booking;
use calendar_sync::cli::encode::OutgoingEvent;
use calendar_sync::consumer::Taken;
use calendar_sync::store::{Batch, Committed, Resume};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::world::{World, cancelled, created, records, sequenced, updated, written};
use crate::store_contract::env::{Answered as _, Env, TOPIC, id, open_gate, provider, uid};

/// How many logs are tried, each in several batchings.
const LOGS: u64 = 6;
const BOOKINGS: u32 = 5;
const RECORDS: usize = 60;

/// A log of a few bookings whose names begin with `prefix`: good events, repeated and late ones,
/// conflicts, tombstones' like and poison. The same seed gives the same log.
fn random_log(seed: u64, prefix: &str) -> Vec<Vec<u8>> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut events: Vec<OutgoingEvent> = Vec::new();
    let mut values = Vec::new();
    for _ in 0..RECORDS {
        let name = format!("{prefix}-{}", dice.random_range(0..BOOKINGS));
        let title = format!("title {}", dice.random_range(0..4));
        let event = match dice.random_range(0..10) {
            0..=2 => created(&name, &title),
            3..=6 => updated(&name, &title),
            7 => cancelled(&name),
            8 if !events.is_empty() => events[dice.random_range(0..events.len())].clone(),
            _ => {
                values.push(vec![0; dice.random_range(0..4)]);
                continue;
            }
        };
        // The bookings with even numbers are counted by their producer.
        let counted = name.ends_with(['0', '2', '4']) && event.sequence.is_none();
        let event = if counted { sequenced(event, dice.random_range(0..12)) } else { event };
        values.extend(written([&event]));
        events.push(event);
    }
    values
}

/// The bookings that a log came to, with their names' prefix taken off, and its dead letters.
async fn outcome(world: &World, prefix: &str, known: usize) -> (Vec<Option<Booking>>, Vec<String>) {
    let mut bookings = Vec::new();
    for number in 0..BOOKINGS {
        let found = world.booking(&format!("{prefix}-{number}")).await;
        bookings.push(found.map(|(booking, _)| {
            let text = serde_json::to_string(&booking).unwrap();
            let mut same: Booking = serde_json::from_str(&text.replace(prefix, "p")).unwrap();
            // Made from the booking's name.
            same.seen = (0..same.seen.len()).map(|_| booking::EventId(uuid::Uuid::nil())).collect();
            same
        }));
    }
    let letters = world.letters().await.split_off(known).into_iter();
    let said = |letter: calendar_sync::store::DeadLetter| {
        format!("{}: {}", letter.class, letter.reason.replace(prefix, "p"))
    };
    (bookings, letters.map(said).collect())
}

/// Rules R3 and R18: the answer to a commit is lost, the states are read again, and then the database
/// falls back: what was read has the event, and what is committed to has it not.
///
/// Fails with: `pipeline/fold_batch.rs`, `plan_all`: without `batch.unchanged.push(…)`.
pub(crate) async fn what_was_read_before_the_database_fell_back_is_not_committed(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    let all = records(&log, written([&created("a", "Massage"), &updated("a", "Haircut")]));
    assert_eq!(world.take_records(&mut log, all.clone()).await, Taken::To(2));
    assert!(env.store.resume(TOPIC, 0, Resume::Set { at: 0 }).await.answered());
    let mut log = world.log().await;
    world.store.commits();
    // Another state of the booking than the one that was read.
    world.store.meanwhile(async |store| {
        let names = [(id("a"), uid("a"))];
        let mut stored = store.states(&names, &[]).await.answered().bookings;
        stored[0].booking.provider = provider(9);
        let batch = Batch { bookings: stored, ..Batch::default() };
        assert_eq!(store.commit(&batch).await.answered(), Committed::Done);
    });
    assert_eq!(world.take_records(&mut log, all).await, Taken::To(2));
    let commits = world.store.commits();
    let answers: Vec<_> = commits.iter().map(|(_, answer)| answer.clone()).collect();
    assert_eq!(answers, [Some(Committed::Stale), Some(Committed::Done)]);
    let read: Vec<_> = commits.into_iter().map(|(batch, _)| batch.unchanged).collect();
    assert_eq!(read, [[(uid("a"), 1)], [(uid("a"), 2)]]);
}

/// Each batching is a log and a set of bookings of its own.
pub(crate) async fn any_batching_ends_in_the_same_bookings(env: &Env) {
    let world = World::of(env);
    for seed in 0..LOGS {
        let mut first = None;
        for batching in 0..4 {
            let prefix = format!("s{seed}b{batching}");
            let mut log = world.log_of(&prefix, 0).await;
            let known = world.letters().await.len();
            let mut left = records(&log, random_log(seed, &prefix));
            let mut dice = StdRng::seed_from_u64(seed * 100 + batching);
            while !left.is_empty() {
                let len = match batching {
                    0 => left.len(),
                    1 => 1,
                    _ => dice.random_range(1..=left.len().min(20)),
                };
                let rest = left.split_off(len);
                let to = left[len - 1].offset + 1;
                assert_eq!(world.take_records(&mut log, left).await, Taken::To(to));
                left = rest;
            }
            let found = outcome(&world, &prefix, known).await;
            let first = first.get_or_insert_with(|| found.clone());
            assert_eq!(*first, found, "seed {seed}, batching {batching}");
        }
    }
}

pub(crate) async fn a_replay_from_the_beginning_changes_nothing(env: &Env) {
    for seed in 100..100 + LOGS {
        let prefix = format!("s{seed}");
        let world = World::of(env);
        env.connect(1).await;
        let mut log = world.log_of(&prefix, 0).await;
        let all = records(&log, random_log(seed, &prefix));
        let end = i64::try_from(all.len()).unwrap();
        assert_eq!(world.take_records(&mut log, all.clone()).await, Taken::To(end));
        let before = (outcome(&world, &prefix, 0).await.0, world.cursor(&log).await);
        let due = env.store.backlog(&open_gate(), 1_000).await.answered();
        world.store.commits();

        assert!(env.store.resume(&prefix, 0, Resume::Set { at: 0 }).await.answered());
        let mut log = world.log_of(&prefix, 0).await;
        assert_eq!(log.at, 0);
        for batch in all.chunks(7) {
            let to = batch[batch.len() - 1].offset + 1;
            assert_eq!(world.take_records(&mut log, batch.to_vec()).await, Taken::To(to));
        }
        let mut journalled = 0;
        for (batch, _) in world.store.commits() {
            assert_eq!(batch.bookings, [], "seed {seed}");
            assert_eq!(batch.effects, [], "seed {seed}");
            // What repeats an event id did not move its booking's position the first time either.
            let again: Vec<_> = batch.journal.iter().map(|entry| entry.decision).collect();
            assert_eq!(again, vec!["repeated"; again.len()], "seed {seed}");
            journalled += again.len();
        }
        assert!(journalled <= RECORDS / 10, "seed {seed}: {journalled} entries");
        let after = (outcome(&world, &prefix, 0).await.0, world.cursor(&log).await);
        assert_eq!(before, after, "seed {seed}");
        assert_eq!(env.store.backlog(&open_gate(), 1_000).await.answered(), due);
    }
}
