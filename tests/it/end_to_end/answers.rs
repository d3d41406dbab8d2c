//! Answers that are lost, late or worse: what was done stays done once.

use std::time::Duration;

use booking::{Digest, Verb};
use calendar_sync::emit::EmitOptions;
use calendar_sync::store::{Fenced, Finding, Record, Recorded};
use uuid::Uuid;

use super::host::{EVERY, Host, INVALID, Trouble, UNAVAILABLE};
use super::story::{Story, hour, provider};
use super::world::{Connected, PATIENCE, World, until};
use crate::wait::found;

/// Again and again, so that one of them comes after the late call, whenever that lands.
pub(super) const VERIFY_SOON: [Duration; 100] = [Duration::from_millis(300); 100];

/// For a worker that is killed while a call of it is on its way: its lease must not last.
fn briefly(options: &EmitOptions) -> EmitOptions {
    EmitOptions {
        lease: Duration::from_secs(2),
        call_timeout: Duration::from_millis(900),
        ..options.clone()
    }
}

/// L1: applied, the answer lost, the worker gone.
///
/// Fails with: `calendar/google.rs`, `insert_of`: without the line `"id": external_id`.
pub(super) async fn an_event_whose_answer_was_lost_with_its_worker_is_there_once(
    world: &mut World,
) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let held = world.host.order(1, Trouble::AnswerHeld);
    let worker = world.worker_with(briefly(&world.emit));
    held.wait_held().await;
    worker.kill().await;
    assert_eq!(world.pending().await, 1, "nothing was recorded");
    held.withdraw();
    world.drain().await;
    assert_eq!(world.only(&host).await.start, hour(9));
    assert_eq!(world.host.verbs(), [Verb::Create]);
}

/// L18: the rerun of an interrupted upload finds its own event (412, or Google's 409).
///
/// Fails with: `emit/outcome.rs`, `conflict`: `self.rejected(false)` for `self.unknown(false)`.
pub(super) async fn a_create_that_finds_its_own_event_adopts_it(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let made = world.only(&host).await;

    world.lose_database().await;
    world.put(&host).await;
    world.read(1_000).await;
    world.drain().await;
    let creates = world.host.attempts().iter().filter(|write| write.verb == Verb::Create).count();
    assert_eq!(creates, 2, "the second one was refused");
    assert_eq!(world.host.verbs(), [Verb::Create]);
    let adopted = world.only(&host).await;
    assert_eq!((&adopted.id, &adopted.etag), (&made.id, &made.etag));
    assert_eq!(world.mapped(&story).await.external_id, made.id);

    world.tell([story.moved(11)]).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
}

/// L23: cancel is retried like create.
///
/// Fails with: `emit/decide.rs`, `settle`: `Settled::Absent` for what is returned where
/// `flight.digest` is none (a deletion of which nobody knows is taken for done).
pub(super) async fn a_cancellation_that_fails_is_tried_until_the_event_is_gone(world: &mut World) {
    let (host, mut story) = world.one_sent().await;

    let trouble = world.host.order(3, UNAVAILABLE);
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(trouble.hits(), 3);
    assert!(world.shown(&host).await.is_empty(), "it is gone");
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete]);
    let row = world.mapped(&story).await;
    assert_eq!((row.sync_status.as_str(), row.is_busy), ("CANCELLED", false));
    assert!(world.dead_letters().await.is_empty());
}

/// L26: only what was acknowledged is recorded as applied.
///
/// Fails with: `emit/call.rs`, `send`: `acknowledged(flight, frozen, external_id, None, None)` for
/// `self.unknown(…)` under `Outcome::Unknown { open: true, … }`.
pub(super) async fn a_create_that_failed_is_tried_again(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let outage = world.host.order(EVERY, UNAVAILABLE);
    let worker = world.worker();
    until("it has failed twice", async || outage.hits() >= 2 || world.pending().await == 0).await;
    let rows = world.store.external_events(&story.uid()).await.expect("the store answers");
    assert!(rows.is_empty(), "nothing is said to be there: {rows:?}");
    assert_eq!(world.pending().await, 1);
    let refusal = world.host.order(1, INVALID);
    outage.withdraw();
    until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(refusal.hits(), 1);
    assert_eq!(world.only(&host).await.start, hour(9));
    assert_eq!(world.host.verbs(), [Verb::Create]);
    assert_eq!(world.mapped(&story).await.sync_status, "CREATED");
}

/// Every write is applied and its answer lost, for all that a booking goes through.
pub(super) async fn lost_answers_are_read_back_not_repeated(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.host.finds_at_once();
    let lost = world.host.order(EVERY, Trouble::AnswerLost);
    for event in [story.created(), story.moved(11), story.cancelled()] {
        world.tell([event]).await;
        world.drain().await;
    }
    assert_eq!(lost.hits(), 3);
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update, Verb::Delete]);
    assert!(world.shown(&host).await.is_empty());
}

/// A booking that was made and cancelled, and whose create, without an answer, lands after that.
async fn with_a_late_create(world: &mut World) -> (Connected, Story) {
    let host = world.connect(1).await;
    world.emit.verify_after = VERIFY_SOON.to_vec();
    let mut story = Story::of("a", provider(1));
    let late = world.host.order(1, Trouble::Late);
    world.tell([story.created()]).await;
    world.drain().await;
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete]);
    world.host.land(&host.place, &late);
    until("it has landed", async || !world.shown(&host).await.is_empty()).await;
    (host, story)
}

/// Rule R14, the moment that the promise names: an attempt without an answer can still land.
///
/// Fails with: `emit/decide.rs`, `verified`: `Verified::Stands` for what is live and should not be.
pub(super) async fn a_create_that_lands_after_its_event_was_deleted_is_found_and_removed(
    world: &mut World,
) {
    let (host, _) = with_a_late_create(world).await;
    let worker = world.worker();
    until("it is removed", async || world.shown(&host).await.is_empty()).await;
    worker.stop().await;
}

/// Rule R12: one bare 404 can be transient, also to a delete.
///
/// Fails with: `emit/call.rs`, `read_back`: `Next::Record(…, None)` under `Settled::Absent`.
pub(super) async fn an_event_that_is_not_found_for_a_moment_is_deleted_all_the_same(
    world: &mut World,
) {
    world.emit.verify_after = VERIFY_SOON.to_vec();
    let (host, mut story) = world.one_sent().await;
    let hidden = world.host.hide(&host.place, &world.only(&host).await.id);
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert!(hidden.hits() >= 2, "its delete and its reading are answered with 404");
    hidden.withdraw();
    assert_eq!(world.starts(&host).await, [hour(9)], "nobody has removed it");
    let worker = world.worker();
    until("it is removed", async || world.shown(&host).await.is_empty()).await;
    worker.stop().await;
}

/// Rule R12: the late create is found, and before it is removed the booking is wanted again.
///
/// Fails with: `store/sqlite/lane.rs`, `STAMP`: without `OR (burned AND ?6 = 'delete')`.
pub(super) async fn a_late_create_that_was_found_makes_room_for_a_booking_made_again(
    world: &mut World,
) {
    let (host, mut story) = with_a_late_create(world).await;
    find_the_late_create(world, &host).await;
    world.tell([story.rebooked(11)]).await;
    world.drain().await;
    let shown = world.only(&host).await;
    assert_eq!((shown.start, shown.revision), (hour(11), 2));
}

/// A holder verifies, writes down what it has found, and goes.
async fn find_the_late_create(world: &World, host: &Connected) {
    let leased = found(PATIENCE, async || {
        let (gate, token) = (&world.emit.gate, Uuid::from_u128(7));
        world.store.lease(gate, host.id, token, Duration::from_secs(9)).await.expect("it answers")
    });
    let lane = leased.await.expect("a verification is due");
    let due = world.store.due(&lane, 1).await.expect("the store answers");
    let [owed] = due.as_slice() else { panic!("one row: {due:?}") };
    let there = world.only(host).await;
    let present = Some((there.revision, Digest([0; 16])));
    let finding = Finding::Differs { present, etag: Some(there.etag), passed: 0 };
    let record = Record { lane: lane.clone(), uid: owed.uid.clone(), finding, verify_after: None };
    let recorded = world.store.record(&record).await.expect("the store answers");
    assert_eq!(recorded, Recorded::Written);
    let released =
        world.store.release(&lane, Duration::ZERO, None).await.expect("the store answers");
    assert_eq!(released, Fenced::Written);
}

/// L15: a deleted Google id is a tombstone, and Graph's are never used again; CalDAV revives in place.
///
/// Fails with: `emit/decide.rs`, `settle`: `Settled::SendAgain { verb: Verb::Update, condition:
/// Condition::Unconditional }` for `Settled::Gone`.
pub(super) async fn an_event_deleted_by_hand_comes_back_with_the_next_update(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let first = world.only(&host).await;
    world.host.delete_by_hand(&host.place, &first.id).await;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    let second = world.only(&host).await;
    assert_eq!((second.start, second.revision), (hour(11), 1));
    let row = world.mapped(&story).await;
    assert_eq!(row.external_id, second.id);
    match &world.host {
        Host::Google(_) | Host::Microsoft(_) => {
            assert_ne!(second.id, first.id);
            assert_eq!(row.generation, 1);
        }
        Host::Caldav(_) => assert_eq!(second.id, first.id),
    }
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
}
