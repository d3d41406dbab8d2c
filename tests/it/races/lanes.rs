//! Who holds a lane, and what a former holder can still do: nothing (rule R10).

use calendar_sync::store::{LaneLease, Store as _, Taken};
use uuid::Uuid;

use super::schedule::race;
use super::world::{
    LONG, World, account, connection, created, ingest, lease, lease_anew, send, stamps, succeed,
    updated,
};

/// Connection 1, on which a new booking's event is due.
async fn due(world: &World) {
    world.connect(&account(1)).await;
    world.take_in(&[created("a", 0)]).await;
}

/// Whatever is in flight is the holder's: the next one's, or, while the lane was kept, still the
/// former one's.
async fn the_holder_has_it(world: &World, former: &LaneLease, next: Option<&(LaneLease, u64)>) {
    let holder = next.map_or(former, |(next, _)| next);
    assert_eq!(world.holder(connection(1)).await, Some(holder.token));
    let row = world.effect(connection(1), "a").await;
    if row.in_flight {
        assert_eq!(row.flight_token, Some(holder.token), "{row:?}");
    }
}

/// Fails without the look at `leased_until` in `lease_between`.
#[tokio::test]
async fn a_lane_has_one_holder() {
    let fact = "a_lane_has_one_holder";
    let Some(world) = World::open(fact).await else { return };
    let then = async |world: &World, (): &(), a: Option<LaneLease>, b: Option<LaneLease>| {
        let holders: Vec<Uuid> = [a, b].into_iter().flatten().map(|lane| lane.token).collect();
        assert_eq!(holders.len(), 1, "{holders:?}");
        assert_eq!(world.holder(connection(1)).await, Some(holders[0]));
    };
    race(
        &world,
        fact,
        due,
        async |store, (): &()| lease(&store, connection(1)).await,
        async |store, (): &()| lease(&store, connection(1)).await,
        then,
    )
    .await;
    world.end().await;
}

/// Fails without `FOR SHARE`, or without the token, in `hold_lane`.
#[tokio::test]
async fn a_former_holder_stamps_nothing() {
    let fact = "a_former_holder_stamps_nothing";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        due(world).await;
        let lane = world.lease(connection(1)).await;
        let wanted = stamps(&world.store.due(&lane, 10).await.expect("it answers"));
        (lane, wanted)
    };
    let then = async |world: &World, given: &(LaneLease, _), stamped: Vec<_>, next: Option<_>| {
        the_holder_has_it(world, &given.0, next.as_ref()).await;
        let row = world.effect(connection(1), "a").await;
        assert_eq!(row.in_flight, !stamped.is_empty(), "what was stamped was taken over");
    };
    race(
        &world,
        fact,
        given,
        async |store, given: &(LaneLease, Vec<_>)| store.stamp(&given.0, &given.1).await,
        async |store, _: &_| succeed(&store, connection(1)).await,
        then,
    )
    .await;
    world.end().await;
}

/// Fails without `FOR SHARE`, or without the token, in `hold_lane`.
#[tokio::test]
async fn a_former_holder_takes_nothing_over() {
    let fact = "a_former_holder_takes_nothing_over";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        due(world).await;
        world.stamped(connection(1)).await;
        lease_anew(&world.store, connection(1)).await.expect("it answers").expect("it ran out")
    };
    let then = async |world: &World, former: &LaneLease, taken: Taken, next: Option<_>| {
        the_holder_has_it(world, former, next.as_ref()).await;
        assert!(matches!(taken, Taken::Over(1) | Taken::Refused), "{taken:?}");
    };
    race(
        &world,
        fact,
        given,
        async |store, lane: &LaneLease| store.take_over(lane, LONG).await,
        async |store, _: &_| succeed(&store, connection(1)).await,
        then,
    )
    .await;
    world.end().await;
}

/// The stamp's own trigger holds it to what is desired at that moment. Fails without
/// `e.desired_revision = w.desired` in `stamp_flights`.
#[tokio::test]
async fn a_stamp_is_for_the_revision_that_is_desired() {
    let fact = "a_stamp_is_for_the_revision_that_is_desired";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        due(world).await;
        (world.lease(connection(1)).await, world.fence(1).await)
    };
    let then = async |world: &World, _: &_, _: Vec<_>, _: _| {
        let row = world.effect(connection(1), "a").await;
        assert!(row.due, "the new revision is owed");
        assert_eq!(row.desired.0, 1);
    };
    race(
        &world,
        fact,
        given,
        async |store, given: &(LaneLease, _)| send(&store, &given.0).await,
        async |store, given: &(_, _)| ingest(&store, &given.1, &[updated("a", 1)]).await,
        then,
    )
    .await;
    world.end().await;
}

/// A new destination withdraws the event here without a new revision. Fails without the look at
/// `e.desired_digest` in `stamp_flights`.
#[tokio::test]
async fn a_stamp_is_for_the_content_that_is_desired() {
    let fact = "a_stamp_is_for_the_content_that_is_desired";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        due(world).await;
        world.lease(connection(1)).await
    };
    let then = async |world: &World, _: &_, stamped: Vec<_>, _: _| {
        let row = world.effect(connection(1), "a").await;
        assert_eq!(row.due, !stamped.is_empty(), "what was never there need not be removed");
    };
    race(
        &world,
        fact,
        given,
        async |store, lane: &LaneLease| send(&store, lane).await,
        async |store, _: &_| store.put_connection(&account(2)).await,
        then,
    )
    .await;
    world.end().await;
}

/// Fails without the statement `FENCE_LANE` in `take_down`.
#[tokio::test]
async fn a_removal_ends_a_lease() {
    let fact = "a_removal_ends_a_lease";
    for withdraw in [false, true] {
        let Some(world) = World::open(fact).await else { return };
        let then = async |world: &World, (): &(), leased: Option<LaneLease>, removed: bool| {
            assert!(removed);
            if let Some(lane) = leased {
                // Nothing was sent yet, so that nothing is left to be withdrawn.
                assert_eq!(send(&world.store, &lane).await.expect("it answers"), []);
            }
            assert_eq!(world.holder(connection(1)).await, None);
        };
        race(
            &world,
            fact,
            due,
            async |store, (): &()| lease(&store, connection(1)).await,
            async |store, (): &()| store.remove_connection(connection(1), withdraw).await,
            then,
        )
        .await;
        world.end().await;
    }
}

/// Fails without the statement `FENCE_LANE` in `take_down`, or when it comes after
/// `FENCE_FLIGHTS`.
#[tokio::test]
async fn a_removal_fences_what_is_stamped_meanwhile() {
    let fact = "a_removal_fences_what_is_stamped_meanwhile";
    for withdraw in [false, true] {
        let Some(world) = World::open(fact).await else { return };
        let given = async |world: &World| {
            due(world).await;
            world.lease(connection(1)).await
        };
        let then = async |world: &World, lane: &LaneLease, _: Vec<_>, removed: bool| {
            assert!(removed);
            let row = world.effect(connection(1), "a").await;
            assert_ne!(row.flight_token, Some(lane.token));
            assert_eq!(row.desired.1.is_none(), withdraw);
        };
        race(
            &world,
            fact,
            given,
            async |store, lane: &LaneLease| send(&store, lane).await,
            async |store, _: &_| store.remove_connection(connection(1), withdraw).await,
            then,
        )
        .await;
        world.end().await;
    }
}
