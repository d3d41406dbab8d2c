//! A database that lost its tail (rules R7 and R18): the calendars remember what it forgot.

use calendar_sync::store::{Fenced, LogFacts};

use super::story::{Story, hour, provider};
use super::world::{Connected, TOPIC, World, until};

/// The database is lost, its connections are there again, and the consumer has noticed: up to the
/// log end of this moment the log is read with care.
async fn lose_and_notice(world: &mut World, connections: &[&Connected]) {
    world.lose_database().await;
    for connected in connections {
        world.put(connected).await;
    }
    let token = world.surroundings.dice.token();
    let cursors = world.store.fence(TOPIC, &[0], token).await.expect("the store answers");
    let log_end = i64::try_from(world.log_end()).ok();
    let facts = LogFacts { start: Some(0), log_end, recover: true, ..LogFacts::default() };
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
