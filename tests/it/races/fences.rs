//! The fence of a partition against a commit under the former one (rules R1 and R3).

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::{Committed, Cursor, Fence, Store as _};
use uuid::Uuid;

use super::schedule::race;
use super::world::{Ingested, TOPIC, World, account, created, ingest};

/// Fails without `AND token = $3` in `advance_cursor`.
#[tokio::test]
async fn after_a_fence_nothing_is_committed_under_the_former_token() {
    let fact = "after_a_fence_nothing_is_committed_under_the_former_token";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        (world.fence(1).await, SystemDice.token())
    };
    let then = async |world: &World, given: &(Fence, Uuid), a: Ingested, b: Vec<Cursor>| {
        let stands = world.store.cursor(TOPIC, 1).await.expect("it answers").expect("it is there");
        assert_eq!(stands.fence, b[0].fence);
        assert_eq!((stands.fence.token, stands.fence.epoch), (given.1, given.0.epoch + 1));
        // What the new owner read as the cursor is all that the former one ever commits.
        assert_eq!(stands.next_offset, b[0].next_offset);
        match b[0].next_offset {
            Some(0) => assert_eq!(a.committed, Committed::Foreign),
            Some(_) | None => assert_eq!(a.committed, Committed::Done),
        }
        let bookings = world.number("SELECT count(*) FROM bookings").await;
        assert_eq!(bookings, i64::from(a.committed == Committed::Done));
    };
    race(
        &world,
        fact,
        given,
        async |store, given: &(Fence, Uuid)| ingest(&store, &given.0, &[created("a", 0)]).await,
        async |store, given: &(Fence, Uuid)| store.fence(TOPIC, &[1], given.1).await,
        then,
    )
    .await;
    world.end().await;
}

/// A partition that has an owner and one that is new, named in opposite orders. Fails when the
/// statement `FENCE` sets `epoch = excluded.epoch + 1`.
#[tokio::test]
async fn every_fence_has_an_epoch_of_its_own() {
    let fact = "every_fence_has_an_epoch_of_its_own";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| world.fence(1).await;
    let then = async |world: &World, first: &Fence, a: Vec<Cursor>, b: Vec<Cursor>| {
        for (a, b, before) in [(&a[0], &b[1], first.epoch), (&a[1], &b[0], 0)] {
            let mut epochs = [a.fence.epoch, b.fence.epoch];
            epochs.sort_unstable();
            assert_eq!(epochs, [before + 1, before + 2]);
            let last = if a.fence.epoch > b.fence.epoch { a } else { b };
            let stands = world.store.cursor(TOPIC, last.fence.partition).await;
            assert_eq!(stands.expect("it answers").expect("it is there").fence, last.fence);
        }
    };
    race(
        &world,
        fact,
        given,
        async |store, _: &Fence| store.fence(TOPIC, &[1, 2], SystemDice.token()).await,
        async |store, _: &Fence| store.fence(TOPIC, &[2, 1], SystemDice.token()).await,
        then,
    )
    .await;
    world.end().await;
}
