//! Ingest against ingest: two partitions that carry the same bookings.

use std::slice::from_ref;

use booking::fold::fold;
use booking::{Arrival, Booking, BookingEvent, Position};
use calendar_sync::store::{Committed, Fence};

use super::schedule::race;
use super::world::{Ingested, World, account, cancelled, created, ingest, rules, uid, updated};

/// The owners of partitions 1 and 2.
async fn two_owners(world: &World) -> (Fence, Fence) {
    (world.fence(1).await, world.fence(2).await)
}

/// A booking after these events, each at the start of its partition.
fn folded(events: &[(i32, &BookingEvent)]) -> Booking {
    let mut booking = None;
    for (partition, event) in events {
        let position = Position { incarnation: 0, partition: *partition, offset: 0 };
        let arrival = Arrival::Log(position);
        booking = Some(fold(booking, event, arrival, &rules()).expect("it folds").0);
    }
    booking.expect("at least one event")
}

/// Races two events of one booking, which is there already if `there`: it ends as one of the two
/// serial orders would have it, and each write counts one version.
async fn two_events(fact: &str, there: bool, one: BookingEvent, other: BookingEvent) {
    let Some(world) = World::open(fact).await else { return };
    let first = created("a", 0);
    let before: Vec<_> = if there { vec![(9, &first)] } else { Vec::new() };
    let serial = |events: [(i32, &BookingEvent); 2]| folded(&[&before[..], &events[..]].concat());
    let orders = [serial([(1, &one), (2, &other)]), serial([(2, &other), (1, &one)])];
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        if there {
            world.take_in(from_ref(&first)).await;
        }
        two_owners(world).await
    };
    let then = async |world: &World, _: &_, a: Ingested, b: Ingested| {
        assert_eq!((&a.committed, &b.committed), (&Committed::Done, &Committed::Done));
        let stored = world.stored("a").await;
        assert!(orders.contains(&stored.booking), "{stored:?}, and not one of {orders:?}");
        assert_eq!(stored.version, i64::from(there) + a.written + b.written);
    };
    race(
        &world,
        fact,
        given,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.0, from_ref(&one)).await,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.1, from_ref(&other)).await,
        then,
    )
    .await;
    world.end().await;
}

/// Fails without `WHERE b.version = excluded.version - 1` in `write_bookings`.
#[tokio::test]
async fn no_update_of_a_booking_is_lost() {
    let fact = "no_update_of_a_booking_is_lost";
    two_events(fact, true, updated("a", 1), updated("a", 2)).await;
}

/// Fails without `WHERE b.version = excluded.version - 1` in `write_bookings`.
#[tokio::test]
async fn two_partitions_may_begin_one_booking() {
    let fact = "two_partitions_may_begin_one_booking";
    two_events(fact, false, created("a", 0), updated("a", 1)).await;
}

/// Fails without `WHERE b.version = excluded.version - 1` in `write_bookings`.
#[tokio::test]
async fn an_update_and_a_cancellation_cancel_in_either_order() {
    let fact = "an_update_and_a_cancellation_cancel_in_either_order";
    two_events(fact, true, updated("a", 1), cancelled("a", 2)).await;
}

/// Two batches that name the same bookings in opposite orders. Fails without
/// `WHERE b.version = excluded.version - 1` in `write_bookings`; without its sorting, as often as
/// both are in that statement at once ([`super::order`] holds them within it).
#[tokio::test]
async fn batches_lock_their_bookings_in_one_order() {
    let fact = "batches_lock_their_bookings_in_one_order";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        world.take_in(&[created("a", 0), created("b", 0)]).await;
        two_owners(world).await
    };
    let there = [updated("a", 1), updated("b", 1)];
    let back = [updated("b", 2), updated("a", 2)];
    let then = async |world: &World, _: &_, a: Ingested, b: Ingested| {
        assert_eq!((a.committed, b.committed), (Committed::Done, Committed::Done));
        for name in ["a", "b"] {
            let booking = world.stored(name).await.booking;
            assert_eq!(booking.content_at, Some(2), "the latest content stands");
        }
    };
    race(
        &world,
        fact,
        given,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.0, &there).await,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.1, &back).await,
        then,
    )
    .await;
    world.end().await;
}

/// One booking id with two UIDs: whoever comes second is told so when it folds again, and the
/// database's refusal is no verdict about the record. Fails when `write_bookings` answers a
/// violation of `bookings_booking_id_key` with `Refused`.
#[tokio::test]
async fn a_booking_id_that_was_taken_meanwhile_is_read_again() {
    let fact = "a_booking_id_that_was_taken_meanwhile_is_read_again";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| two_owners(world).await;
    let other = BookingEvent { uid: uid("another"), ..created("a", 1) };
    let then = async |_: &World, _: &_, a: Ingested, b: Ingested| {
        assert_eq!((&a.committed, &b.committed), (&Committed::Done, &Committed::Done));
        assert_eq!(a.written + b.written, 1, "one of them has it");
        assert_eq!([a.dead, b.dead].concat(), ["uid_changed"]);
    };
    race(
        &world,
        fact,
        given,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.0, &[created("a", 0)]).await,
        async |store, owners: &(Fence, Fence)| ingest(&store, &owners.1, from_ref(&other)).await,
        then,
    )
    .await;
    world.end().await;
}
