//! Facts of the one commit of a batch: refused, unclear, too late, somebody else's (rules R3, R4).

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::consumer::Taken;
use calendar_sync::store::{Batch, Committed, NewConnection, StoredBooking};
use tokio_util::sync::CancellationToken;

use super::meddler::Meddling;
use super::world::{World, created, good, records, updated, written};
use crate::store_contract::env::{
    Answered as _, Env, booking, connection, new_connection, open_gate, uid,
};

/// Whether a batch would write this booking.
fn holds(batch: &Batch, name: &str) -> bool {
    batch.bookings.iter().any(|stored| stored.booking.id.as_str() == name)
}

fn refused() -> Meddling {
    Meddling::Answer(Committed::Refused { detail: "SQLSTATE 22000: too odd".to_owned() })
}

pub(crate) async fn what_the_database_refuses_is_bisected_down_to_the_record(env: &Env) {
    const RECORDS: usize = 256;
    let world = World::of(env);
    let mut log = world.log().await;
    let odd = [37, 200];
    world.store.meddle(move |batch| {
        let is_odd = odd.iter().any(|number| holds(batch, &format!("b-{number}")));
        if is_odd { refused() } else { Meddling::Pass }
    });
    assert_eq!(world.take(&mut log, good("b", RECORDS)).await, Taken::To(256));
    assert_eq!(world.cursor(&log).await, Some(256));
    let commits = world.store.commits();
    let done = commits.iter().filter(|(_, answer)| *answer == Some(Committed::Done));
    // For each odd record: its half and the other one on each level below, then the letter.
    let most = 1 + odd.len() * (2 * 8 + 1);
    assert!(commits.len() <= most, "{} commits, and at most {most} are needed", commits.len());
    let steps: Vec<_> = done.map(|(batch, _)| batch.advance.clone().unwrap()).collect();
    assert!(steps.windows(2).all(|pair| pair[0].to == pair[1].from), "{steps:?}");
    let letters = world.letters().await;
    assert_eq!(letters.len(), odd.len());
    for letter in &letters {
        assert_eq!(
            (letter.class.as_str(), &*letter.reason),
            ("refused", "SQLSTATE 22000: too odd")
        );
    }
    for number in 0..RECORDS {
        let title = world.title(&format!("b-{number}")).await;
        assert_eq!(title.is_none(), odd.contains(&number), "{number}");
    }
}

/// The other booking comes between reading and writing, so that only the database notices.
pub(crate) async fn a_uid_that_was_taken_meanwhile_is_found_by_bisecting(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    let stolen =
        |name: &str| encode(&OutgoingEvent { uid: Some(uid("theirs")), ..created(name, "x") });
    world.store.meanwhile(async |store| {
        let theirs =
            StoredBooking { booking: booking("theirs", 0, Some("kept")), placed: None, version: 0 };
        let batch = Batch { bookings: vec![theirs], ..Batch::default() };
        assert_eq!(store.commit(&batch).await.answered(), Committed::Done);
    });
    let mut values = good("b", 8);
    values[3] = stolen("thief");
    assert_eq!(world.take(&mut log, values).await, Taken::To(8));
    let commits = world.store.commits();
    assert!(matches!(commits[0].1, Some(Committed::Refused { .. })), "{:?}", commits[0].1);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].class, "uid_taken");
    for number in [0, 1, 2, 4, 5, 6, 7] {
        assert!(world.booking(&format!("b-{number}")).await.is_some(), "{number}");
    }
    assert_eq!(world.booking("theirs").await.unwrap().1, 1);
    assert_eq!(world.booking("thief").await, None);
}

pub(crate) async fn a_commit_that_reports_failure_and_succeeded_is_resolved_by_reading(env: &Env) {
    let world = World::of(env);
    env.connect(1).await;
    let mut log = world.log().await;
    world.store.meddle_with_the_next(vec![Meddling::LoseAfter]);
    let mut values = good("b", 3);
    values.push(Vec::new());
    assert_eq!(world.take(&mut log, values).await, Taken::To(4));
    let answers: Vec<_> = world.store.commits().into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [None, Some(Committed::Elsewhere { next_offset: Some(4) })]);
    assert_eq!(world.cursor(&log).await, Some(4));
    for number in 0..3 {
        let (booking, version) = world.booking(&format!("b-{number}")).await.unwrap();
        assert_eq!((booking.revision, version), (0, 1), "{number}");
    }
    assert_eq!(world.letters().await.len(), 1);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 3);
    assert_eq!(world.take(&mut log, good("c", 1)).await, Taken::To(5));
}

pub(crate) async fn half_of_a_batch_whose_commit_is_unclear_is_not_doubled_either(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    let mut known = HashSet::new();
    // Refuses what holds the odd record, and loses every other run's first answer.
    world.store.meddle(move |batch| {
        if holds(batch, "b-5") {
            return refused();
        }
        let first = known.insert(batch.advance.as_ref().map(|advance| advance.from));
        if first { Meddling::LoseAfter } else { Meddling::Pass }
    });
    assert_eq!(world.take(&mut log, good("b", 8)).await, Taken::To(8));
    assert_eq!(world.cursor(&log).await, Some(8));
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    for number in [0, 1, 2, 3, 4, 6, 7] {
        let (booking, version) = world.booking(&format!("b-{number}")).await.unwrap();
        assert_eq!((booking.revision, version), (0, 1), "{number}");
    }
}

pub(crate) async fn a_database_that_is_away_is_waited_for(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    world.store.meddle_with_the_next(vec![Meddling::LoseBefore; 5]);
    world.store.states_lost.store(4, Ordering::SeqCst);
    assert_eq!(world.take(&mut log, good("b", 2)).await, Taken::To(2));
    assert_eq!(world.store.commits().len(), 6);
    assert_eq!(world.dice.waits.load(Ordering::SeqCst), 9, "one wait for each failure");
    assert_eq!(world.letters().await, []);
    for number in 0..2 {
        assert_eq!(world.booking(&format!("b-{number}")).await.unwrap().1, 1);
    }
}

pub(crate) async fn a_stop_ends_the_waiting_and_nothing_is_committed(env: &Env) {
    let world = World::of(env);
    let log = world.log().await;
    let stop = CancellationToken::new();
    let (at_stop, mut tries) = (stop.clone(), 0);
    world.store.meddle(move |_| {
        tries += 1;
        if tries == 3 {
            at_stop.cancel();
        }
        Meddling::LoseBefore
    });
    let taken = world.take_until(&log, records(&log, good("b", 2)), &stop).await;
    assert_eq!(taken, Taken::Stopped);
    assert_eq!(world.store.commits().len(), 3);
    assert_eq!(world.cursor(&log).await, None);
    assert_eq!(world.booking("b-0").await, None);
}

pub(crate) async fn another_owner_ends_it_and_nothing_is_committed(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    assert_eq!(world.take(&mut log, good("a", 1)).await, Taken::To(1));
    let mut next = world.log().await;
    let mut values = good("b", 2);
    values.push(Vec::new());
    assert_eq!(world.take(&mut log, values.clone()).await, Taken::Foreign);
    assert_eq!(world.cursor(&next).await, Some(1));
    assert_eq!(world.booking("b-0").await, None);
    assert_eq!(world.letters().await, []);
    // The same for a letter alone, and when the fence changes in the midst of trouble.
    assert_eq!(world.take(&mut log, vec![Vec::new()]).await, Taken::Foreign);
    assert_eq!(world.take(&mut next, values).await, Taken::To(4));
    world.store.meddle_with_the_next(vec![Meddling::LoseBefore]);
    let topic = next.fence.topic.clone();
    world.store.meanwhile(async move |store| {
        drop(store.fence(&topic, &[0], uuid::Uuid::max()).await.answered());
    });
    assert_eq!(world.take(&mut next, good("c", 1)).await, Taken::Foreign);
    assert_eq!(world.booking("c-0").await, None);
}

pub(crate) async fn a_booking_that_changed_meanwhile_is_folded_again(env: &Env) {
    let world = World::of(env);
    env.connect(1).await;
    let mut log = world.log().await;
    assert_eq!(world.take(&mut log, written(&[created("b", "first")])).await, Taken::To(1));
    world.store.commits();
    let state = env.stored("b").await.unwrap();
    world.store.meanwhile(async move |store| {
        // As if a dead letter of this booking were redriven just now.
        let mut meanwhile = state;
        meanwhile.booking.revision += 1;
        let batch = Batch { bookings: vec![meanwhile], ..Batch::default() };
        assert_eq!(store.commit(&batch).await.answered(), Committed::Done);
    });
    assert_eq!(world.take(&mut log, written(&[updated("b", "second")])).await, Taken::To(2));
    let answers: Vec<_> = world.store.commits().into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [Some(Committed::Stale), Some(Committed::Done)]);
    let (booking, version) = world.booking("b").await.unwrap();
    assert_eq!((booking.revision, version), (2, 3));
    assert_eq!(world.title("b").await.as_deref(), Some("Massage: second"));
    assert_eq!(world.dice.waits.load(Ordering::SeqCst), 0, "it is tried again at once");
}

pub(crate) async fn a_destination_that_changed_meanwhile_is_planned_for_again(env: &Env) {
    let world = World::of(env);
    env.connect(1).await;
    let mut log = world.log().await;
    world.store.meanwhile(async |store| {
        let other = NewConnection { make_destination: true, ..new_connection(2) };
        assert!(store.put_connection(&other).await.answered().destination);
    });
    assert_eq!(world.take(&mut log, written(&[created("b", "first")])).await, Taken::To(1));
    let commits = world.store.commits();
    assert_eq!(commits[0].1, Some(Committed::Stale));
    let to: Vec<_> = commits[1].0.effects.iter().map(|new| new.effect.connection).collect();
    assert_eq!(to, [connection(2)]);
}

pub(crate) async fn what_stays_stale_for_long_is_waited_for(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    world.store.meddle_with_the_next(vec![Meddling::Answer(Committed::Stale); 30]);
    assert_eq!(world.take(&mut log, good("b", 1)).await, Taken::To(1));
    assert_eq!(world.store.commits().len(), 31);
    assert_eq!(world.dice.waits.load(Ordering::SeqCst), 3, "a wait after every ninth try");
}
