//! Events that come twice, late, or in another order.

use booking::Verb;
use calendar_sync::cli::encode::OutgoingEvent;

use super::host::Trouble;
use super::story::{Story, hour, provider};
use super::world::World;

/// L2: Created delivered many times, confirmations replayed.
///
/// Fails with: `booking/fold.rs`, `repeated`: `if below {` for
/// `if below || booking.seen.contains(&event.id) {`.
pub(super) async fn a_creation_told_many_times_is_one_event(world: &mut World) {
    let host = world.connect(1).await;
    let mut counted = Story::of("counted", provider(1));
    let mut plain = Story::unsequenced("plain", provider(1));
    let first = [counted.created(), plain.created()];
    for _ in 0..3 {
        world.tell(first.clone()).await;
        world.tell(first.clone().into_iter().chain(first.clone())).await;
        world.drain().await;
    }
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Create]);

    let moved = [counted.moved(11), plain.moved(12)];
    world.tell(moved.clone()).await;
    world.drain().await;
    // The confirmation of before, once more: it is older than what stands.
    world.tell(first.into_iter().chain(moved)).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(11), hour(12)]);
    assert_eq!(world.host.writes().len(), 4);
    assert!(world.dead_letters().await.is_empty());
}

/// Every order of these.
fn permutations(events: &[OutgoingEvent]) -> Vec<Vec<OutgoingEvent>> {
    let [first, rest @ ..] = events else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for at in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(at, first.clone());
            all.push(longer);
        }
    }
    all
}

/// L5: fold by booking.
///
/// Fails with: `booking/fold.rs`, `take_content`: `if false {` for the comparison of the event's
/// sequence with `content_at`.
pub(super) async fn every_order_of_a_bookings_events_ends_in_the_same_calendar(world: &mut World) {
    let host = world.connect(1).await;
    let mut number = 0;
    let mut tell_all = async |world: &mut World, is_cancelled: bool| {
        let mut stories = Vec::new();
        for _ in 0..24 {
            number += 1;
            let mut story = Story::of(&format!("b{number}"), provider(1));
            let mut events = vec![story.created(), story.moved(10), story.moved(11)];
            if is_cancelled {
                events.push(story.cancelled());
            } else {
                "Last".clone_into(&mut story.details.service_name);
                events.push(story.moved(12));
            }
            stories.push(permutations(&events));
        }
        // Each booking in its own order, one event of each after the other, sent in between.
        for step in 0..4 {
            let events = stories.iter().enumerate().map(|(order, all)| all[order][step].clone());
            world.tell(events.collect::<Vec<_>>()).await;
            world.drain().await;
        }
    };
    tell_all(world, false).await;
    let shown = world.shown(&host).await;
    assert_eq!(shown.len(), 24);
    for event in &shown {
        assert_eq!((event.start, event.summary.as_str()), (hour(12), "Booking: Last"));
    }
    tell_all(world, true).await;
    assert_eq!(world.shown(&host).await.len(), 24, "those that were cancelled are not there");
}

/// L21: a late Created after Cancelled.
///
/// Fails with: `booking/fold.rs`, `take_sequenced`: `booking.cancelled_at = None;` for what a
/// Created does to `created_at`.
pub(super) async fn a_creation_that_comes_after_the_cancellation_does_nothing(world: &mut World) {
    let host = world.connect(1).await;
    let mut counted = Story::of("counted", provider(1));
    let mut plain = Story::unsequenced("plain", provider(1));
    world.tell([counted.created(), plain.created()]).await;
    world.drain().await;
    // The application confirmed it again before it was cancelled; that comes last.
    let late = [counted.created(), plain.created()];
    world.tell([counted.cancelled(), plain.cancelled()]).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    world.tell(late).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Create, Verb::Delete, Verb::Delete]);

    // A new booking of what was cancelled is no late one.
    world.tell([counted.created()]).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// L25: work is keyed by (UID, revision), whatever is on its way.
///
/// Fails with: `store/sqlite/booking.rs`, `ask`: `WHERE flight_verb IS NULL AND
/// excluded.desired_revision > desired_revision`.
pub(super) async fn a_second_reschedule_at_once_is_not_dropped(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let held = world.host.order(1, Trouble::AnswerHeld);
    world.tell([story.moved(11)]).await;
    let worker = world.worker();
    held.wait_held().await;
    world.tell([story.moved(12)]).await;
    held.withdraw();
    worker.stop().await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(12)]);
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update, Verb::Update]);
}

/// Fails with: `store/sqlite/schema.sql`, `due`: `(desired_revision IS NOT applied_revision)`
/// without asking whether anything is desired.
pub(super) async fn a_booking_that_comes_and_goes_before_a_send_is_no_call(world: &mut World) {
    world.connect(1).await;
    let mut together = Story::of("together", provider(1));
    let mut apart = Story::of("apart", provider(1));
    world.tell([together.created(), together.cancelled(), apart.created()]).await;
    world.tell([apart.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.host.requests(), 0);
}

/// Coalescing: what is desired is sent, not how it came to be.
pub(super) async fn ten_updates_before_a_send_are_one_call(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    for start in 10..20 {
        world.tell([story.moved(start)]).await;
    }
    world.drain().await;
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update]);
    assert_eq!(world.attempts_on(&host).len(), 2);
    let event = world.only(&host).await;
    assert_eq!((event.start, event.revision), (hour(19), 10));
}

/// Rule R22, L30.
///
/// Fails with: `booking/fold.rs`, `repeated`: `if booking.seen.contains(&event.id) {` for
/// `if below || booking.seen.contains(&event.id) {`.
pub(super) async fn a_log_read_again_from_its_start_makes_no_call(world: &mut World) {
    let host = world.connect(1).await;
    let mut counted = Story::of("counted", provider(1));
    let mut gone = Story::of("gone", provider(1));
    // More events than a booking remembers the ids of.
    let mut plain = Story::unsequenced("plain", provider(1));
    world.tell([counted.created(), gone.created(), plain.created()]).await;
    world.tell([counted.moved(11), gone.cancelled()]).await;
    for count in 0..70 {
        let event = plain.moved(10 + count % 3);
        world.publish([event]);
    }
    world.tell([plain.moved(20)]).await;
    world.drain().await;
    let (before, requests) = (world.starts(&host).await, world.host.requests());
    assert_eq!(before, [hour(11), hour(20)]);
    for batch_max in [1_000, 7] {
        world.rewind().await;
        world.read(batch_max).await;
        world.drain().await;
    }
    assert_eq!(world.host.requests(), requests, "no call, not even a reading one");
    assert_eq!(world.starts(&host).await, before);
    assert!(world.dead_letters().await.is_empty());
}

/// L30: dedupe by offset after a topic is recreated drops everything.
///
/// Fails with: `booking/vocabulary.rs`, `comparable`: without asking for the incarnation.
pub(super) async fn events_of_a_topic_made_anew_are_not_taken_for_repeats(world: &mut World) {
    let host = world.connect(1).await;
    let mut counted = Story::of("counted", provider(1));
    let mut plain = Story::unsequenced("plain", provider(1));
    world.tell([counted.created(), plain.created(), counted.moved(10), plain.moved(11)]).await;
    world.drain().await;
    world.recreate_topic().await;
    world.tell([counted.moved(14), plain.moved(15)]).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(14), hour(15)]);
}
