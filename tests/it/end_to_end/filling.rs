//! A connection that is made after the bookings is filled with the upcoming ones (rules R8 and R21).

use std::collections::BTreeSet;
use std::time::Duration;

use calendar_sync::emit::EmitOptions;
use calendar_sync::emit::limits::{Limit, Limits, Rate};
use calendar_sync::store::{Fill, PutConnection};
use chrono::TimeDelta;

use super::asked::Port;
use super::story::{Story, provider};
use super::world::{Connected, World, until};

const UPCOMING: usize = 300;
const PAST: usize = 20;
const CANCELLED: usize = 5;

/// Upcoming ones that are booked, and ones that nobody is to see.
async fn booked(world: &mut World, upcoming: usize) {
    let stories = |name: &'static str, count: usize| {
        (0..count).map(move |each| Story::of(&format!("{name}{each}"), provider(1)))
    };
    let mut events: Vec<_> =
        stories("upcoming", upcoming).map(|mut story| story.created()).collect();
    let over = world.rules.horizon - TimeDelta::hours(2);
    for mut story in stories("past", PAST) {
        (story.details.start, story.details.end) = (over, over + TimeDelta::hours(1));
        events.push(story.created());
    }
    for mut story in stories("cancelled", CANCELLED) {
        events.extend([story.created(), story.cancelled()]);
    }
    world.tell(events).await;
}

/// How many a connection is filled with, and how many are left.
async fn filling(world: &World, host: &Connected) -> Option<(i64, i64)> {
    let rows = world.store.connections().await.expect("the store answers");
    let row = rows.into_iter().find(|row| row.connection.id == host.id)?;
    row.fill.map(|Fill { total, left, .. }| (total, left))
}

/// A worker is killed in the midst of it, and the account is connected again.
///
/// Fails with: `store/…/connection.rs`: without the horizon.
pub(super) async fn a_connection_is_filled_with_the_upcoming_bookings_once(world: &mut World) {
    // As short as there can be: whoever recovers waits for the end of a lease.
    let call_timeout = Duration::from_millis(900);
    let lease = call_timeout * 2 + Duration::from_millis(200);
    world.emit = EmitOptions { lease, call_timeout, ..world.emit.clone() };
    booked(world, UPCOMING).await;
    let host = world.prepare(1).await;
    let put = world.put(&host).await;
    let all = PutConnection {
        removed: false,
        created: true,
        destination: true,
        bookings_due: UPCOMING as u64,
    };
    assert_eq!((put, filling(world, &host).await), (all, Some((300, 300))));

    let port = Port::open(world).await;
    port.refresh(world).await;
    assert_eq!(port.count("calendar_sync_connections_filling").await, 1);
    assert_eq!(port.count("calendar_sync_fill_events_left").await, 300);
    let worker = world.worker();
    until("it has begun", async || world.shown(&host).await.len() > 40).await;
    worker.kill().await;
    let (total, left) = filling(world, &host).await.expect("it is being filled");
    assert!(total == 300 && (1..300).contains(&left), "{left} of {total} are left");
    let again = world.put(&host).await;
    assert_eq!((again.created, again.bookings_due), (false, 0));
    let worker = world.worker();
    until("it is filled", async || world.pending().await == 0).await;
    worker.stop().await;

    let shown = world.shown(&host).await;
    let names: BTreeSet<_> = shown.iter().map(|event| event.id.clone()).collect();
    assert_eq!((shown.len(), names.len()), (UPCOMING, UPCOMING), "each once");
    assert_eq!(filling(world, &host).await, Some((300, 0)));
    port.refresh(world).await;
    assert_eq!(port.count("calendar_sync_connections_filling").await, 0);
    port.close().await;
    let requests = world.host.requests();
    assert_eq!(world.put(&host).await.bookings_due, 0);
    world.drain().await;
    assert_eq!(world.host.requests(), requests, "nothing is filled again");
}

/// Whoever books now does not wait for what was booked before.
///
/// Fails with: `store/…/lane.rs`, `due`: without `filling`; `emit/lane.rs`: `options.claim_batch` for
/// the limit.
pub(super) async fn a_booking_made_meanwhile_goes_before_the_fill(world: &mut World) {
    /// In a second's time.
    const AT_ONCE: usize = 10;
    booked(world, 100).await;
    let limit = Limit { connection: Rate::per_minute(610), application: None };
    world.emit.limits = Limits { google: limit, microsoft: limit, caldav: limit };
    world.emit.claim_batch = 64;
    let host = world.connect(1).await;
    let worker = world.worker();
    until("the burst is over", async || world.attempts_on(&host).len() > AT_ONCE).await;
    let mut fresh = Story::of("fresh", provider(1));
    "Haircut".clone_into(&mut fresh.details.service_name);
    world.tell([fresh.created()]).await;
    let before = world.attempts_on(&host).len();
    let its_place = || {
        let attempts = world.attempts_on(&host);
        attempts.iter().position(|write| write.body.contains("Haircut"))
    };
    until("it is sent", async || its_place().is_some()).await;
    let meanwhile = its_place().unwrap_or_default().saturating_sub(before);
    // What had been taken up before it.
    assert!(meanwhile <= AT_ONCE, "{meanwhile} of the fill were sent first");
    let (_, left) = filling(world, &host).await.expect("it is being filled");
    assert!(left > 40, "the fill goes on: {left} are left");
    worker.stop().await;
}
