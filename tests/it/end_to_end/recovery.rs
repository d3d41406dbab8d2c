//! A database that lost its tail (rules R7 and R18): the calendars remember what it forgot.

use std::sync::Arc;

use booking::{BookingId, CalendarKind, Verb};
use calendar_sync::store::{Fenced, LogFacts};

use super::story::{Story, hour, provider};
use super::world::{Connected, TOPIC, World, until};

/// The database is lost, and its connections are there again.
async fn lose(world: &mut World, connections: &[&Connected]) {
    world.lose_database().await;
    for connected in connections {
        world.put(connected).await;
    }
}

/// The database is lost, and the consumer has noticed.
pub(super) async fn lose_and_notice(world: &mut World, connections: &[&Connected]) {
    lose(world, connections).await;
    notice(world).await;
}

/// The consumer has noticed: up to the log end of this moment the log is read with care.
async fn notice(world: &World) {
    note(world, true).await;
}

/// This happens in a database that has read and sent all, and then it falls back to where it stands
/// now; the consumer has noticed.
async fn forget(world: &mut World, connected: &Connected, happens: impl AsyncFnOnce(&mut World)) {
    let before = Arc::clone(&world.store);
    lose(world, &[connected]).await;
    world.read(1_000).await;
    world.drain().await;
    happens(world).await;
    world.store = before;
    notice(world).await;
}

async fn note(world: &World, recover: bool) {
    let token = world.surroundings.dice.token();
    let cursors = world.store.fence(TOPIC, &[0], token).await.expect("the store answers");
    let log_end = i64::try_from(world.log_end()).ok();
    let facts = LogFacts { start: Some(0), log_end, recover, ..LogFacts::default() };
    let noted = world.store.note_log(&cursors[0].fence, &facts).await;
    assert_eq!(noted.expect("the store answers"), Fenced::Written);
}

/// Reads the log and lets a worker send until a calendar has these starts.
async fn until_starts(world: &World, connected: &Connected, hours: &[u32]) {
    let hours: Vec<_> = hours.iter().map(|at| hour(*at)).collect();
    let worker = world.worker();
    until("the calendar is right", async || world.starts(connected).await == hours).await;
    worker.stop().await;
}

/// The booking is cancelled while its event stands, and that is removed.
async fn cancelled_and_gone(world: &mut World, connected: &Connected, story: &mut Story) {
    world.tell([story.cancelled()]).await;
    assert_eq!(world.starts(connected).await, [hour(9)]);
    until_starts(world, connected, &[]).await;
}

/// Created and cancelled in one run would cancel out, were it not for what the calendar holds.
///
/// Fails with: `pipeline.rs`, `try_run`: `let recovering = false;`.
pub(super) async fn an_event_that_was_cancelled_meanwhile_is_not_left_behind(world: &mut World) {
    for batch_max in [1_000, 1] {
        let host = world.connect(1 + batch_max as u128).await;
        let mut story = Story::of(&format!("a{batch_max}"), host.provider);
        world.tell([story.created()]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await.len(), 1);
        world.publish([story.cancelled()]);
        lose_and_notice(world, &[&host]).await;
        world.read(batch_max).await;
        until_starts(world, &host, &[]).await;
    }
}

/// Given away in the run that was lost: the former calendar is looked into as well.
///
/// Fails with: `pipeline/fold_batch.rs`, `look_everywhere`: without `further`.
pub(super) async fn an_event_that_was_given_away_meanwhile_is_not_left_behind(world: &mut World) {
    let (anna, bert) = (world.connect(1).await, world.connect(2).await);
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.drain().await;
    world.publish([story.given_to(provider(2))]);
    lose_and_notice(world, &[&anna, &bert]).await;
    world.read(1_000).await;
    until_starts(world, &anna, &[]).await;
    until_starts(world, &bert, &[9]).await;
}

/// Cancelled in a later run than the one that recovers, while it waits to be sent again.
///
/// Fails with: `pipeline/fold_batch.rs`, `look_everywhere`: `effect.verify = effect.desired ==
/// Desired::Absent;`.
pub(super) async fn what_is_cancelled_before_it_is_sent_again_is_not_left_behind(
    world: &mut World,
) {
    let (host, mut story) = world.one_sent().await;
    lose_and_notice(world, &[&host]).await;
    world.read(1_000).await;
    cancelled_and_gone(world, &host, &mut story).await;
}

/// The log is read as far as ever, and what was stamped since the moment to which the database fell
/// back is forgotten.
///
/// Fails with: `store/sqlite/cursor.rs` and `store/postgres/cursor.rs`, `note_log`: without `LOOK`.
pub(super) async fn a_call_that_the_database_has_forgotten_is_not_left_behind(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    forget(world, &host, async |_| {}).await;
    cancelled_and_gone(world, &host, &mut story).await;
}

/// The calendar shows what became of a cancellation and a rebooking in one; the database that fell
/// back is told of the cancellation alone, and finds the calendar ahead while its delete is on its
/// way. That delete has burned the generation (rule R12), whatever is wanted by then.
///
/// Fails with: `emit/lane.rs`, `flight`: `let Some(content) = &owed.desired`; `store/*/lane.rs`,
/// `STAMP`: without `burned AND … = 'delete'`.
pub(super) async fn an_event_that_was_rebooked_meanwhile_is_deleted_and_made_anew(
    world: &mut World,
) {
    let (host, mut story) = world.one_sent().await;
    forget(world, &host, async |world| {
        world.tell([story.cancelled(), story.rebooked(11)]).await;
        world.drain().await;
        assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update]);
    })
    .await;
    world.read_to(2, 1).await;
    is_ahead_then_caught_up(world).await;
    assert_eq!(world.only(&host).await.start, hour(11));
    let verbs = [Verb::Create, Verb::Update, Verb::Delete, Verb::Create];
    assert_eq!(world.host.verbs(), verbs);
    assert_eq!(world.mapped(&story).await.generation, 1);
}

/// The database that fell back knows of the first generation alone, and is told that the booking was
/// cancelled: the event of the next one is the booking's, neither deleted nor left behind.
///
/// Fails with: `emit/verify.rs`, `verify`: without `last_used`.
pub(super) async fn an_event_of_a_generation_that_was_forgotten_is_taken_over(world: &mut World) {
    if world.host.kind() == CalendarKind::Caldav {
        // One name for all generations: see the fact before.
        return;
    }
    let (host, mut story) = world.one_sent().await;
    let events = [story.cancelled(), story.rebooked(11)];
    forget(world, &host, async |world| {
        for event in events {
            world.tell([event]).await;
            world.drain().await;
        }
    })
    .await;
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete, Verb::Create]);
    let rebooked = world.only(&host).await;

    world.read_to(2, 1).await;
    is_ahead_then_caught_up(world).await;
    let there = world.only(&host).await;
    assert_eq!((there.id, there.start), (rebooked.id, hour(11)));
    assert_eq!(world.mapped(&story).await.generation, 1);
}

/// The calendar is found ahead of what was read; then the rest of the log is read, and all of it sent.
pub(super) async fn is_ahead_then_caught_up(world: &mut World) {
    let worker = world.worker();
    until("the calendar is found ahead", async || is_ahead(world).await).await;
    world.read(1).await;
    // The log end is asked for once more: what it was before the calendar was seen does not count.
    note(world, false).await;
    until("nothing is owed", async || {
        // Who asks about the booking ends its waiting for the log.
        is_ahead(world).await;
        world.pending().await == 0
    })
    .await;
    worker.stop().await;
}

/// Whether booking `a` waits for the log; asking ends its backoff.
async fn is_ahead(world: &World) -> bool {
    let id = BookingId::parse("a").expect("a booking's id");
    let status = world.store.hasten(&id).await.expect("the store answers").expect("it is stored");
    let error = status.calendars[0].last_error.as_deref();
    error.is_some_and(|error| error.starts_with("the calendar is ahead"))
}

/// What stands as it should is adopted, not doubled and not removed.
///
/// Fails with: `emit/decide.rs`, `settle`: `Settled::Gone` for an event with our marker.
pub(super) async fn an_event_that_is_still_wanted_is_adopted(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created(), story.moved(11)]).await;
    world.drain().await;
    let before = world.only(&host).await;
    lose_and_notice(world, &[&host]).await;
    world.read(1).await;
    world.drain().await;
    let after = world.only(&host).await;
    assert_eq!((&after.id, &after.etag), (&before.id, &before.etag));
}
