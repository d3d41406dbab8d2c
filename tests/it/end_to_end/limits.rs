//! How often calendars are asked (L16), and that nobody waits for another's flood.

use std::time::Duration;

use calendar_sync::emit::EmitOptions;
use calendar_sync::emit::limits::{Limit, Limits, Rate};

use super::story::{Story, provider};
use super::world::{PATIENCE, World, until};

/// In a second's time, what a pace may be ahead, so many requests are used.
const BURST: usize = 20;
/// What a request beyond those waits for: a twentieth of a second.
const EACH: Duration = Duration::from_millis(50);

/// 20 requests a second.
fn rate() -> Option<Rate> {
    Rate::per_minute(1_220)
}

/// The same for each kind of calendar.
fn all(limit: Limit) -> Limits {
    Limits { google: limit, microsoft: limit, caldav: limit }
}

/// New bookings of a provider.
fn bookings(number: u128, name: &str, count: usize) -> Vec<Story> {
    (0..count).map(|each| Story::of(&format!("{name}{each}"), provider(number))).collect()
}

async fn tell(world: &mut World, stories: &mut [Story]) {
    let events: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(events).await;
}

/// The least time that so many requests of one pace take.
fn least(requests: usize) -> Duration {
    EACH * u32::try_from(requests - BURST).expect("a few")
}

/// Fails with: `emit/limits.rs`, `Pace::take`: `Duration::ZERO` for what is returned.
pub(super) async fn a_connection_is_asked_no_faster_than_its_limit(world: &mut World) {
    world.emit.limits = all(Limit { connection: rate(), application: None });
    let (slow, other) = (world.connect(1).await, world.connect(2).await);
    tell(world, &mut bookings(1, "a", BURST + 10)).await;
    let started = world.surroundings.clock.elapsed();
    let passed = |world: &World| world.surroundings.clock.elapsed().saturating_sub(started);
    let worker = world.worker();
    until("the first is being sent", async || !world.attempts_on(&slow).is_empty()).await;
    tell(world, &mut bookings(2, "b", 1)).await;
    until("the other's is there", async || world.shown(&other).await.len() == 1).await;
    until("all are there", async || world.pending().await == 0).await;
    assert!(passed(world) >= least(BURST + 10), "{:?}", passed(world));
    worker.stop().await;
    assert_eq!(world.attempts_on(&slow).len(), BURST + 10, "each once");
    // What was used ahead of time is not there for whoever comes next.
    tell(world, &mut bookings(1, "c", BURST)).await;
    world.drain().await;
    assert!(passed(world) >= least(BURST * 2 + 10), "{:?}", passed(world));
}

/// Within a burst a lane does not rest: whoever looks for work finds it.
///
/// Fails with: `emit/limits.rs`, `Pace::closed_for`: without `saturating_sub(BURST)`.
pub(super) async fn a_booking_that_follows_another_is_sent_at_once(world: &mut World) {
    // Two a second, and a worker that looks once: a lane that rested would not be looked at again.
    let limit = Limit { connection: Rate::per_minute(122), application: None };
    world.emit = EmitOptions { limits: all(limit), idle: PATIENCE * 2, ..world.emit.clone() };
    let host = world.connect(1).await;
    for (name, count) in [("a", 1), ("b", 2)] {
        tell(world, &mut bookings(1, name, 1)).await;
        let worker = world.worker();
        until("it is there", async || world.shown(&host).await.len() == count).await;
        worker.stop().await;
    }
}

/// Fails with: `emit/limits.rs`, `Hands::take`: `Ok(true)` at once.
pub(super) async fn all_workers_share_one_budget(world: &mut World) {
    world.emit.limits = all(Limit { connection: None, application: rate() });
    for number in [1, 2] {
        world.connect(number).await;
    }
    for (number, name) in [(1, "a"), (2, "b")] {
        tell(world, &mut bookings(number, name, BURST)).await;
    }
    let started = world.surroundings.clock.elapsed();
    let passed = |world: &World| world.surroundings.clock.elapsed().saturating_sub(started);
    let workers = [world.worker(), world.worker()];
    until("all are there", async || world.pending().await == 0).await;
    // What each has in its hand was drawn, and may be left.
    assert!(passed(world) >= least(BURST * 2 - 4), "{:?}", passed(world));
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(world.host.writes().len(), BURST * 2, "each once");
}

/// A budget that is used up for long holds up no lane: what was not sent is sent once it is there.
pub(super) async fn what_no_budget_is_left_for_is_sent_later(world: &mut World) {
    let host = world.connect(1).await;
    tell(world, &mut bookings(1, "a", 3)).await;
    // One request in a minute: the first uses what there is of it for longer than is waited.
    let limit = Limit { connection: None, application: Rate::per_minute(1) };
    let stingy = EmitOptions { limits: all(limit), ..world.emit.clone() };
    let worker = world.worker_with(stingy);
    until("the first is there", async || world.shown(&host).await.len() == 1).await;
    worker.stop().await;
    assert_eq!((world.attempts_on(&host).len(), world.pending().await), (1, 2));
    let requests = world.host.requests();
    world.drain().await;
    assert_eq!(world.shown(&host).await.len(), 3);
    // Nothing was in flight that would have to be read back first.
    assert_eq!(world.host.requests() - requests, 2);
}

/// A tenant with much to send gets no more than its share of what all may.
///
/// Fails with: `emit/mod.rs`, `run`: `Semaphore::new(1)`.
pub(super) async fn one_tenants_flood_is_nobody_elses_wait(world: &mut World) {
    const FLOOD: usize = 200;
    world.emit.limits = all(Limit { connection: None, application: rate() });
    let (busy, other) = (world.connect(1).await, world.connect(2).await);
    tell(world, &mut bookings(1, "a", FLOOD)).await;
    let worker = world.worker();
    until("the flood has begun", async || world.attempts_on(&busy).len() > BURST).await;
    tell(world, &mut bookings(2, "b", 1)).await;
    let before = world.attempts_on(&busy).len();
    until("the other's is there", async || world.shown(&other).await.len() == 1).await;
    let meanwhile = world.attempts_on(&busy).len() - before;
    // Those who had asked before, and what was sent until it was looked.
    assert!(meanwhile < BURST, "{meanwhile} of the flood were sent first");
    assert!(world.pending().await > 0, "the flood goes on");
    worker.stop().await;
}
