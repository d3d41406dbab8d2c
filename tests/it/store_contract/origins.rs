//! Facts of where an effect comes from: the traces of the events that asked for it while it was owed,
//! and when the oldest of them was published.

use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{
    Committed, EffectOrigin, Fenced, Finding, LaneLease, NewConnection, Owed, TRACES_MAX, Taken,
};
use calendar_sync::trace_parent::TraceParent;

use super::env::{
    Answered as _, Env, LONG, connection, content, new_connection, not_applied, present, unknown,
};

/// When the event of this number was published.
fn published_ms(number: u8) -> i64 {
    1_900_000_000_000 + i64::from(number)
}

fn trace(number: u8) -> TraceParent {
    let text = format!("00-{number:032x}-{number:016x}-01");
    TraceParent::parse(text.as_bytes()).expect("no number is zero")
}

/// Of one event.
fn origin(number: u8) -> EffectOrigin {
    EffectOrigin::new(Some(trace(number)), published_ms(number))
}

/// The event of this number asks for booking `a` at a revision.
async fn ask(env: &Env, number: u8, revision: i64, title: Option<&str>) {
    let mut batch = env.batch("a", revision, title).await;
    batch.effects[0].origin = origin(number);
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
}

/// Booking `a` is due by event 1 on connection 1, whose lane is leased.
async fn leased(env: &Env) -> LaneLease {
    env.connect(1).await;
    ask(env, 1, 0, Some("Massage")).await;
    env.lane(1).await
}

#[track_caller]
fn assert_origin(owed: &Owed, traces: &[u8], published: Option<u8>) {
    let traces: Vec<_> = traces.iter().copied().map(trace).collect();
    assert_eq!(owed.origin.traces(), traces);
    let at = |number| EffectOrigin::new(None, published_ms(number)).published_at;
    assert_eq!(owed.origin.published_at, published.and_then(at));
}

pub(crate) async fn what_is_owed_says_where_it_comes_from(env: &Env) {
    let lane = leased(env).await;
    assert_origin(&env.owed(&lane).await, &[1], Some(1));
    // So it does while it is in flight, and to whoever takes it over.
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", unknown(Duration::ZERO)).await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    let lane = env.lane(2).await;
    assert_eq!(env.store.take_over(&lane, LONG).await.answered(), Taken::Over(1));
    assert_origin(&env.owed(&lane).await, &[1], Some(1));
    assert_eq!(env.record(&lane, "a", not_applied(Duration::ZERO, true)).await, Fenced::Written);
    assert_origin(&env.owed(&lane).await, &[1], Some(1));
}

pub(crate) async fn what_is_asked_for_again_before_it_is_done_comes_from_both(env: &Env) {
    let lane = leased(env).await;
    ask(env, 3, 1, Some("Haircut")).await;
    assert_origin(&env.owed(&lane).await, &[3, 1], Some(1));
    // The oldest is the one that was published first, in whatever order they came.
    ask(env, 2, 2, Some("Shave")).await;
    assert_origin(&env.owed(&lane).await, &[2, 3, 1], Some(1));
    // A revision that is not newer asks for nothing.
    let mut late = env.batch("a", 2, Some("Shave")).await;
    late.effects[0].origin = origin(9);
    assert_eq!(env.store.commit(&late).await.answered(), Committed::Done);
    assert_origin(&env.owed(&lane).await, &[2, 3, 1], Some(1));
    // An event without a trace or a time takes nothing away.
    env.ask("a", 3, Some("Massage")).await;
    assert_origin(&env.owed(&lane).await, &[2, 3, 1], Some(1));
}

pub(crate) async fn an_event_of_before_is_the_oldest_though_it_comes_later(env: &Env) {
    env.connect(1).await;
    ask(env, 7, 0, Some("Massage")).await;
    ask(env, 5, 1, Some("Haircut")).await;
    assert_origin(&env.owed(&env.lane(1).await).await, &[5, 7], Some(5));
}

pub(crate) async fn the_newest_traces_are_kept_up_to_the_bound(env: &Env) {
    let lane = leased(env).await;
    let bound = u8::try_from(TRACES_MAX).expect("it is small");
    for number in 2..=bound + 2 {
        ask(env, number, i64::from(number), Some("Haircut")).await;
    }
    let newest: Vec<u8> = (3..=bound + 2).rev().collect();
    assert_eq!(newest.len(), TRACES_MAX);
    assert_origin(&env.owed(&lane).await, &newest, Some(1));
}

pub(crate) async fn what_is_done_is_forgotten_by_the_next_event(env: &Env) {
    let lane = leased(env).await;
    env.apply(&lane, "a", 0, "Massage").await;
    ask(env, 2, 1, Some("Haircut")).await;
    assert_origin(&env.owed(&lane).await, &[2], Some(2));
    // What came while the calendar was asked is still to be done, and so is the wait of the first.
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    ask(env, 3, 2, None).await;
    assert_origin(&env.owed(&lane).await, &[3, 2], Some(2));
}

/// What has changed in time is not late because it had changed before.
pub(crate) async fn what_comes_while_the_calendar_is_asked_waits_since_then(env: &Env) {
    // Long ago, by whichever clock.
    let ask = async |revision, title| {
        let mut batch = env.batch("a", revision, title).await;
        batch.effects[0].origin = EffectOrigin::new(None, 1_000 + revision);
        assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    };
    let at = |ms| EffectOrigin::new(None, ms).published_at;
    env.connect(1).await;
    ask(0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    ask(1, Some("Haircut")).await;
    assert_eq!(env.owed(&lane).await.origin.published_at, at(1_000));
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
    let stamped = env.owed(&lane).await.origin.published_at;
    assert!(stamped > at(1_001), "{stamped:?}");
    // It is not so for what is still to be done.
    ask(2, None).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 2, 0)).await);
    assert_eq!(env.record(&lane, "a", not_applied(Duration::ZERO, false)).await, Fenced::Written);
    assert_eq!(env.owed(&lane).await.origin.published_at, at(1_002));
    assert!(env.stamp(&lane, "a", (Verb::Delete, 2, 0)).await);
    ask(3, Some("Shave")).await;
    let deleted = env.record(&lane, "a", Finding::Absent { revision: 2 }).await;
    assert_eq!(deleted, Fenced::Written);
    let stamped = env.owed(&lane).await.origin.published_at;
    assert!(stamped > at(1_003), "{stamped:?}");
}

/// Once all is done, it says when that was asked for.
pub(crate) async fn what_is_done_says_since_when_it_was_owed(env: &Env) {
    env.connect(1).await;
    let mut batch = env.batch("a", 0, Some("Massage")).await;
    batch.effects[0].origin = EffectOrigin::new(None, 1_000);
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let done = present("a", 0, "Massage");
    let recorded = env.record_open(&lane, "a", done, Some(Duration::ZERO)).await;
    assert_eq!(recorded, Fenced::Written);
    let settled = env.eventually("its hour", || async { env.due(&lane).await.pop() }).await;
    assert_eq!(settled.origin.published_at, EffectOrigin::new(None, 1_000).published_at);
}

pub(crate) async fn what_no_event_asked_for_has_no_origin(env: &Env) {
    // A connection is filled.
    env.keep("a", 0, Some("Massage")).await;
    env.connect(1).await;
    let lane = env.lane(1).await;
    assert_origin(&env.owed(&lane).await, &[], None);
    // What an event asks for of that is the event's.
    ask(env, 1, 1, Some("Haircut")).await;
    assert_origin(&env.owed(&lane).await, &[1], Some(1));
    // A verification goes on with what was done; a repair is nobody's.
    assert!(env.stamp(&lane, "a", (Verb::Create, 1, 0)).await);
    let done = present("a", 1, "Haircut");
    let recorded = env.record_open(&lane, "a", done, Some(Duration::ZERO)).await;
    assert_eq!(recorded, Fenced::Written);
    let to_verify = env.eventually("its hour", || async { env.due(&lane).await.pop() }).await;
    assert_origin(&to_verify, &[1], Some(1));
    let lost = Finding::Differs { present: None, etag: None, passed: 0 };
    assert_eq!(env.record(&lane, "a", lost).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_origin(&owed, &[], None);
    assert_eq!((owed.applied, owed.desired), (None, Some(content("Haircut"))));
}

pub(crate) async fn what_another_destination_asks_for_comes_from_no_event(env: &Env) {
    let lane = leased(env).await;
    env.apply(&lane, "a", 0, "Massage").await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    let other = NewConnection { make_destination: true, ..new_connection(2) };
    assert_eq!(env.store.put_connection(&other).await.answered().bookings_due, 1);
    for number in [1, 2] {
        let lane = env.lane(number).await;
        let owed = env.owed(&lane).await;
        assert_eq!(owed.desired.is_some(), lane.connection == connection(2));
        assert_origin(&owed, &[], None);
    }
}

pub(crate) async fn a_withdrawal_comes_from_no_event_unless_one_waits(env: &Env) {
    let lane = leased(env).await;
    env.apply(&lane, "a", 0, "Massage").await;
    let mut batch = env.batch("b", 0, Some("Haircut")).await;
    batch.effects[0].origin = origin(2);
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    assert!(env.stamp(&lane, "b", (Verb::Create, 0, 0)).await);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.lane(2).await;
    let due = env.due(&lane).await;
    let [in_flight, standing] = due.as_slice() else { panic!("two are withdrawn: {due:?}") };
    assert_origin(in_flight, &[2], Some(2));
    assert_origin(standing, &[], None);
}

pub(crate) async fn what_is_removed_as_it_stands_keeps_its_origin(env: &Env) {
    let lane = leased(env).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let done = present("a", 0, "Massage");
    let recorded = env.record_open(&lane, "a", done, Some(Duration::ZERO)).await;
    assert_eq!(recorded, Fenced::Written);
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    let settled = env.eventually("its hour", || async { env.due(&lane).await.pop() }).await;
    assert_origin(&settled, &[1], Some(1));
}

pub(crate) async fn a_dead_effect_keeps_its_origin_for_whoever_revives_it(env: &Env) {
    let lane = leased(env).await;
    let die = || async {
        assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
        let dead = Finding::Dead { error: "no".to_owned(), unknown: false };
        assert_eq!(env.record(&lane, "a", dead).await, Fenced::Written);
        assert_eq!(env.due(&lane).await, []);
    };
    die().await;
    let letters = env.store.dead_letters(0, 10).await.answered();
    assert!(env.store.revive(letters[0].id).await.answered());
    assert_origin(&env.owed(&lane).await, &[1], Some(1));
    // The next revision has nothing to do with what died.
    die().await;
    ask(env, 2, 1, Some("Haircut")).await;
    assert_origin(&env.owed(&lane).await, &[2], Some(2));
}
