//! Facts of the cursors and their fences (rules R1 to R3, R17), and of a database that fell back
//! (R18).

use std::collections::BTreeMap;
use std::time::Duration;

use booking::{IcalUid, Verb};
use calendar_sync::store::{
    Batch, Committed, Fence, Fenced, Finding, LaneLease, LogFacts, Passed, Resume, Stop,
    StoreError, Verify,
};

use super::env::{Answered as _, Env, LONG, TOPIC, advance, present, token, uid};

fn batch(fence: &Fence, from: i64, to: i64) -> Batch {
    Batch { advance: Some(advance(fence, from, to)), ..Batch::default() }
}

fn stop() -> Stop {
    Stop { kind: "truncated".to_owned(), found: "offset 7 is another record".to_owned() }
}

pub(crate) async fn an_installation_keeps_its_first_id(env: &Env) {
    let first = env.store.open(None, token(1)).await.answered();
    assert_eq!(first.id, token(1));
    assert_eq!(env.store.open(None, token(2)).await.answered(), first);
    assert_eq!(env.store.open(Some(token(1)), token(2)).await.answered(), first);
    let other = env.store.open(Some(token(3)), token(2)).await;
    assert!(matches!(other, Err(StoreError::Installation { .. })), "{other:?}");
}

pub(crate) async fn a_new_partition_begins_at_epoch_one_without_an_offset(env: &Env) {
    assert_eq!(env.store.cursor(TOPIC, 0).await.answered(), None);
    let cursors = env.store.fence(TOPIC, &[0], token(1)).await.answered();
    assert_eq!((cursors[0].fence.epoch, cursors[0].fence.token), (1, token(1)));
    assert_eq!((cursors[0].next_offset, cursors[0].witness), (None, None));
    assert_eq!((cursors[0].incarnation, &cursors[0].stop), (0, &None));
}

pub(crate) async fn each_fence_raises_the_epoch_and_answers_in_the_order_asked(env: &Env) {
    let first = env.store.fence(TOPIC, &[1, 0], token(1)).await.answered();
    let second = env.store.fence(TOPIC, &[2, 0, 1], token(2)).await.answered();
    let epochs = |cursors: &[calendar_sync::store::Cursor]| -> Vec<(i32, i64)> {
        cursors.iter().map(|cursor| (cursor.fence.partition, cursor.fence.epoch)).collect()
    };
    assert_eq!(epochs(&first), [(1, 1), (0, 1)]);
    assert_eq!(epochs(&second), [(2, 1), (0, 2), (1, 2)]);
    assert_eq!(epochs(&env.store.cursors().await.answered()), [(0, 2), (1, 2), (2, 1)]);
}

pub(crate) async fn two_fences_at_once_leave_one_owner(env: &Env) {
    let (one, other) = tokio::join!(env.fence(1), env.fence(2));
    let (last, first) = if one.epoch > other.epoch { (one, other) } else { (other, one) };
    assert_eq!((first.epoch, last.epoch), (1, 2));
    let refused = env.store.commit(&batch(&first, 0, 1)).await.answered();
    assert_eq!(refused, Committed::Foreign);
    assert_eq!(env.store.commit(&batch(&last, 0, 1)).await.answered(), Committed::Done);
}

pub(crate) async fn a_stale_owner_can_write_nothing(env: &Env) {
    let stale = env.fence(1).await;
    env.fence(2).await;
    let before = env.store.cursor(TOPIC, 0).await.answered();
    let refused = env.store.commit(&batch(&stale, 0, 1)).await.answered();
    assert_eq!(refused, Committed::Foreign);
    let facts = LogFacts { start: Some(0), ..LogFacts::default() };
    assert_eq!(env.store.note_log(&stale, &facts).await.answered(), Fenced::Refused);
    assert_eq!(env.store.stop(&stale, &stop()).await.answered(), Fenced::Refused);
    assert_eq!(env.store.cursor(TOPIC, 0).await.answered(), before);
}

pub(crate) async fn a_commit_moves_the_cursor_with_its_witness(env: &Env) {
    let fence = env.fence(1).await;
    for (from, to) in [(0, 5), (5, 9)] {
        let done = env.store.commit(&batch(&fence, from, to)).await.answered();
        assert_eq!(done, Committed::Done);
    }
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.next_offset, Some(9));
    assert_eq!(cursor.witness, Some(advance(&fence, 5, 9).witness));
    assert_eq!(cursor.log_end, Some(14));
    // Who fences next reads on from there.
    assert_eq!(env.store.fence(TOPIC, &[0], token(2)).await.answered()[0].next_offset, Some(9));
}

/// A database that fell back to a moment before the start of the partition was noted holds the
/// owner's fence still, and must not skip what lies before the owner's next batch.
pub(crate) async fn a_cursor_without_an_offset_takes_a_batch_from_the_start_alone(env: &Env) {
    let fence = env.fence(1).await;
    let skipping = env.store.commit(&batch(&fence, 3, 5)).await.answered();
    assert_eq!(skipping, Committed::Elsewhere { next_offset: None });
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.next_offset, cursor.witness, cursor.log_end), (None, None, None));
    assert_eq!(env.store.commit(&batch(&fence, 0, 5)).await.answered(), Committed::Done);
}

pub(crate) async fn a_commit_of_unknown_outcome_is_resolved_by_reading(env: &Env) {
    let fence = env.fence(1).await;
    assert_eq!(env.store.commit(&batch(&fence, 0, 4)).await.answered(), Committed::Done);
    let again = env.store.commit(&batch(&fence, 0, 4)).await.answered();
    assert_eq!(again, Committed::Elsewhere { next_offset: Some(4) });
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.next_offset, cursor.fence), (Some(4), fence));
}

pub(crate) async fn facts_of_the_log_are_noted_and_the_start_only_once(env: &Env) {
    let fence = env.fence(1).await;
    let facts = LogFacts {
        start: Some(7),
        topic_id: Some("topic".to_owned()),
        cluster_id: Some("cluster".to_owned()),
        log_end: Some(20),
        ..LogFacts::default()
    };
    assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
    let later = LogFacts { start: Some(1), log_end: Some(30), ..LogFacts::default() };
    assert_eq!(env.store.note_log(&fence, &later).await.answered(), Fenced::Written);
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.next_offset, cursor.log_end), (Some(7), Some(30)));
    assert_eq!(cursor.topic_id.as_deref(), Some("topic"));
    assert_eq!(cursor.cluster_id.as_deref(), Some("cluster"));
}

/// Markers of transactions and aborted records: the log is read, though no record says so.
pub(crate) async fn what_is_never_delivered_is_passed_under_the_fence(env: &Env) {
    let fence = env.fence(1).await;
    assert_eq!(env.store.commit(&batch(&fence, 0, 4)).await.answered(), Committed::Done);
    let pass = |from, to| {
        let passed = Some(Passed { from, to });
        let facts = LogFacts { passed, ..LogFacts::default() };
        let fence = fence.clone();
        async move {
            assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
            let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
            (cursor.next_offset, cursor.passed_to, cursor.position())
        }
    };
    assert_eq!(pass(4, 6).await, (Some(4), Some(6), Some(6)));
    assert_eq!(pass(4, 5).await, (Some(4), Some(6), Some(6)), "it never falls");
    assert_eq!(pass(3, 9).await, (Some(4), Some(6), Some(6)), "the cursor stands elsewhere");
    // The next batch begins at the cursor, as ever.
    assert_eq!(env.store.commit(&batch(&fence, 4, 8)).await.answered(), Committed::Done);
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.position(), Some(8));
    for how in [Resume::Set { at: 2 }, Resume::Accept { at: Some(2) }] {
        let fence = env.fence(2).await;
        let passed = cursor.next_offset.map(|from| Passed { from, to: 20 });
        let facts = LogFacts { passed, ..LogFacts::default() };
        assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
        assert!(env.store.resume(TOPIC, 0, how).await.answered());
        let resumed = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
        assert_eq!(resumed.position(), Some(2), "{how:?}");
    }
}

/// R18.
pub(crate) async fn a_recovery_reaches_to_the_log_end_of_its_moment(env: &Env) {
    let fence = env.fence(1).await;
    let noted = |log_end, recover| {
        let facts = LogFacts { log_end: Some(log_end), recover, ..LogFacts::default() };
        let fence = fence.clone();
        async move {
            assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
            let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
            cursor.recover_until
        }
    };
    assert_eq!(noted(10, false).await, None);
    assert_eq!(noted(20, true).await, Some(20));
    assert_eq!(noted(30, false).await, Some(20), "what comes later is read as usual");
    assert_eq!(noted(15, true).await, Some(20));
}

/// Bookings `settled` and `owed`, on a lane whose lease is given back: one stands in the calendar,
/// in its second generation, and is to be verified for the second time; the other is to be sent.
async fn settled_and_owed(env: &Env) {
    env.connect(1).await;
    env.ask("settled", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "settled", (Verb::Create, 0, 1)).await);
    for finding in [present("settled", 0, "Massage"), Finding::Verified] {
        let recorded = env.record_open(&lane, "settled", finding, Some(LONG * 9)).await;
        assert_eq!(recorded, Fenced::Written);
    }
    env.ask("owed", 0, Some("Massage")).await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
}

/// What a lane is to look at or to send, and how it is to be verified.
async fn looked_at(env: &Env, lane: &LaneLease) -> BTreeMap<IcalUid, Option<Verify>> {
    env.due(lane).await.into_iter().map(|owed| (owed.uid, owed.verify)).collect()
}

/// From the first name that its event can have, now, and for as long as after any open attempt. Without
/// an ETag to guard it, it may have been deleted, too.
fn anew(deletes: bool) -> Verify {
    Verify { from_generation: 0, deletes, stage: 0, is_due: true, drift: None }
}

/// A tail that is lost lies in the log up to this end.
fn fell_back() -> LogFacts {
    LogFacts { log_end: Some(4), recover: true, ..LogFacts::default() }
}

/// Rule R18: a database that fell back has lost stamps, and does not know of the calls.
pub(crate) async fn what_may_have_lost_its_stamp_is_looked_at(env: &Env) {
    settled_and_owed(env).await;
    let lane = env.eventually("the rest is over", || env.lease(2)).await;
    let (stale, fence) = (env.fence(1).await, env.fence(2).await);
    let as_ever = LogFacts { recover: false, ..fell_back() };
    for (fence, facts, noted) in
        [(&fence, as_ever, Fenced::Written), (&stale, fell_back(), Fenced::Refused)]
    {
        assert_eq!(env.store.note_log(fence, &facts).await.answered(), noted);
        assert_eq!(looked_at(env, &lane).await, BTreeMap::from([(uid("owed"), None)]));
    }
    assert_eq!(env.store.note_log(&fence, &fell_back()).await.answered(), Fenced::Written);
    let both =
        BTreeMap::from([(uid("owed"), Some(anew(true))), (uid("settled"), Some(anew(false)))]);
    assert_eq!(looked_at(env, &lane).await, both);
}

/// What was settled before any stamp can have been lost is left alone; what is owed never is.
/// `ages` lets hours pass.
pub(crate) async fn what_was_settled_long_ago_is_not_looked_at(
    env: &Env,
    ages: impl AsyncFnOnce(),
) {
    settled_and_owed(env).await;
    ages().await;
    let fence = env.fence(1).await;
    assert_eq!(env.store.note_log(&fence, &fell_back()).await.answered(), Fenced::Written);
    let lane = env.lane(2).await;
    assert_eq!(looked_at(env, &lane).await, BTreeMap::from([(uid("owed"), Some(anew(true)))]));
}

/// Rule R18, while a worker runs. `falls_back` makes the database another one than it was.
pub(crate) async fn a_database_that_fell_back_is_noticed_once_and_read_from_with_care(
    env: &Env,
    falls_back: impl AsyncFnOnce(),
) {
    let _ = env.store.open(None, token(1)).await.answered();
    let fence = env.fence(2).await;
    assert!(!env.store.notice_server().await.answered(), "it is the one that it was");
    falls_back().await;
    assert!(env.store.notice_server().await.answered());
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.recover_until, cursor.fence.epoch), (Some(i64::MAX), 2));
    let as_ever = LogFacts { recover: false, ..fell_back() };
    assert_eq!(env.store.note_log(&fence, &as_ever).await.answered(), Fenced::Refused);
    assert!(!env.store.notice_server().await.answered(), "it is noticed once");
    // With care up to the log end of the moment in which it is read on.
    let fence = env.fence(3).await;
    assert_eq!(env.store.note_log(&fence, &fell_back()).await.answered(), Fenced::Written);
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.recover_until, Some(4));
}

/// Rule R18: whoever was refused fences again at once.
pub(crate) async fn a_fence_after_the_database_fell_back_reads_with_care(
    env: &Env,
    falls_back: impl AsyncFnOnce(),
) {
    let _ = env.store.open(None, token(1)).await.answered();
    env.fence(2).await;
    falls_back().await;
    let fenced = env.store.fence(TOPIC, &[0], token(3)).await.answered();
    assert_eq!((fenced[0].recover_until, fenced[0].fence.epoch), (Some(i64::MAX), 3));
    assert!(!env.store.notice_server().await.answered(), "it is noticed once");
}

pub(crate) async fn a_stop_is_seen_until_an_operator_answers(env: &Env) {
    let fence = env.fence(1).await;
    assert_eq!(env.store.stop(&fence, &stop()).await.answered(), Fenced::Written);
    // A new owner finds it too.
    let found = env.store.fence(TOPIC, &[0], token(2)).await.answered();
    assert_eq!(found[0].stop, Some(stop()));
    assert!(env.store.resume(TOPIC, 0, Resume::Set { at: 3 }).await.answered());
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.stop, cursor.next_offset), (None, Some(3)));
}

/// A cursor at offset 4 of a known topic.
async fn read_to_four(env: &Env) -> Fence {
    let fence = env.fence(1).await;
    let facts = LogFacts {
        topic_id: Some("topic".to_owned()),
        cluster_id: Some("cluster".to_owned()),
        log_end: Some(4),
        recover: true,
        ..LogFacts::default()
    };
    assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
    assert_eq!(env.store.commit(&batch(&fence, 0, 4)).await.answered(), Committed::Done);
    fence
}

pub(crate) async fn an_accepted_log_is_another_incarnation(env: &Env) {
    read_to_four(env).await;
    assert!(env.store.resume(TOPIC, 0, Resume::Accept { at: Some(1) }).await.answered());
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.incarnation, cursor.next_offset), (1, Some(1)));
    // Nothing of the former log is held against the new one, on whatever cluster it is.
    assert_eq!((cursor.witness, cursor.topic_id, cursor.cluster_id), (None, None, None));
    assert_eq!((cursor.log_end, cursor.recover_until), (None, None));
    assert!(env.store.resume(TOPIC, 0, Resume::Accept { at: None }).await.answered());
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.incarnation, cursor.next_offset), (2, Some(1)));
}

pub(crate) async fn a_cursor_that_is_set_stays_in_the_same_log(env: &Env) {
    read_to_four(env).await;
    assert!(env.store.resume(TOPIC, 0, Resume::Set { at: 2 }).await.answered());
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!((cursor.incarnation, cursor.next_offset), (0, Some(2)));
    assert_eq!(cursor.topic_id.as_deref(), Some("topic"));
    assert_eq!(cursor.witness, None, "the record before offset 2 is not the one that was read");
}

pub(crate) async fn resuming_fences_the_owner(env: &Env) {
    let fence = read_to_four(env).await;
    for how in [Resume::Set { at: 4 }, Resume::Accept { at: Some(4) }] {
        assert!(env.store.resume(TOPIC, 0, how).await.answered());
        let refused = env.store.commit(&batch(&fence, 4, 5)).await.answered();
        assert_eq!(refused, Committed::Foreign, "{how:?}");
    }
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.fence.epoch, fence.epoch + 2);
}

pub(crate) async fn a_partition_without_a_cursor_cannot_be_resumed(env: &Env) {
    assert!(!env.store.resume(TOPIC, 9, Resume::Set { at: 0 }).await.answered());
    assert_eq!(env.store.cursor(TOPIC, 9).await.answered(), None);
}
