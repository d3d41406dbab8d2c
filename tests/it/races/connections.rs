//! Ingest against a change of connections, and such changes against each other (rule R8). That
//! what is shown is desired at the destination and nowhere else is looked at after every schedule.

use booking::BookingEvent;
use calendar_sync::store::postgres::PostgresStore;
use calendar_sync::store::{
    Committed, DriftKind, Fence, Fenced, Finding, FoundDrift, LaneLease, NewConnection,
    PutConnection, Result, Store as _, SweepStep, SweptPage,
};

use super::schedule::race;
use super::world::{
    Ingested, LONG, World, account, cancelled, connection, created, hour, ingest, moved, provider,
    record, updated,
};

/// What changes a connection.
#[derive(Debug, Clone)]
enum Change {
    Put(NewConnection),
    Remove { number: u128, withdraw: bool },
}

impl Change {
    async fn make(&self, store: &PostgresStore) -> Result<Changed> {
        Ok(match self {
            Self::Put(new) => Changed::Put(store.put_connection(new).await?),
            Self::Remove { number, withdraw } => {
                Changed::Removed(store.remove_connection(connection(*number), *withdraw).await?)
            }
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Changed {
    Put(PutConnection),
    Removed(bool),
}

/// Races events against a change, beside `before`.
async fn events_against(
    fact: &str,
    before: (&[NewConnection], &[BookingEvent]),
    events: &[BookingEvent],
    change: Change,
) {
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        for new in before.0 {
            world.connect(new).await;
        }
        if !before.1.is_empty() {
            world.take_in(before.1).await;
        }
        world.fence(1).await
    };
    let then = async |world: &World, _: &_, a: Ingested, b: Changed| {
        assert_eq!(a.committed, Committed::Done);
        assert_ne!(b, Changed::Removed(false));
        let last = events.last().expect("an event");
        let booking = world.stored(last.booking.as_str()).await.booking;
        assert_eq!(booking.version.map(|version| version.sequence), last.sequence);
    };
    race(
        &world,
        fact,
        given,
        async |store, fence: &Fence| ingest(&store, fence, events).await,
        async |store, _: &Fence| change.make(&store).await,
        then,
    )
    .await;
    world.end().await;
}

/// Two changes, while a booking is there.
async fn two_changes(fact: &str, before: &[NewConnection], one: Change, other: Change) {
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        for new in before {
            world.connect(new).await;
        }
        world.take_in(&[created("a", 0), created("b", 0)]).await;
    };
    race(
        &world,
        fact,
        given,
        async |store, (): &()| one.make(&store).await,
        async |store, (): &()| other.make(&store).await,
        async |world: &World, (): &(), _, _| {
            const IDLE: &str = "
                SELECT count(*) FROM connections JOIN providers USING (provider_id)
                 WHERE state = 'active' AND destination IS NULL";
            assert_eq!(world.number(IDLE).await, 0, "who is connected last is the destination");
        },
    )
    .await;
    world.end().await;
}

/// The phantom: a booking that is not there yet when the connection looks for what is upcoming.
/// Fails without `FOR SHARE` in `lock_providers`.
#[tokio::test]
async fn a_first_connection_misses_no_booking() {
    let fact = "a_first_connection_misses_no_booking";
    let put = Change::Put(account(1));
    events_against(fact, (&[], &[created("a", 0)]), &[created("b", 0)], put).await;
}

/// Fails without the `INSERT` of providers in `destinations_stand`.
#[tokio::test]
async fn nor_does_it_where_its_provider_is_new() {
    let fact = "nor_does_it_where_its_provider_is_new";
    events_against(fact, (&[], &[]), &[created("b", 0)], Change::Put(account(1))).await;
}

/// Fails without `FOR SHARE` in `lock_providers`.
#[tokio::test]
async fn another_destination_takes_every_booking() {
    let fact = "another_destination_takes_every_booking";
    let before = (&[account(1)][..], &[created("a", 0)][..]);
    let events = [created("b", 0), updated("a", 1)];
    events_against(fact, before, &events, Change::Put(account(2))).await;
}

/// Fails without `WHERE b.version = excluded.version - 1` in `write_bookings`.
#[tokio::test]
async fn another_destination_takes_no_cancelled_booking() {
    let fact = "another_destination_takes_no_cancelled_booking";
    let before = (&[account(1)][..], &[created("a", 0)][..]);
    events_against(fact, before, &[cancelled("a", 1)], Change::Put(account(2))).await;
}

/// Fails without `FOR SHARE` in `lock_providers`.
#[tokio::test]
async fn nothing_new_is_desired_on_a_connection_that_is_withdrawn() {
    let fact = "nothing_new_is_desired_on_a_connection_that_is_withdrawn";
    let before = (&[account(1)][..], &[created("a", 0)][..]);
    let remove = Change::Remove { number: 1, withdraw: true };
    events_against(fact, before, &[created("b", 0)], remove).await;
}

/// Fails without `FOR SHARE` in `lock_providers`.
#[tokio::test]
async fn nothing_is_placed_on_a_connection_that_is_removed() {
    let fact = "nothing_is_placed_on_a_connection_that_is_removed";
    let before = (&[account(1)][..], &[created("a", 0)][..]);
    let remove = Change::Remove { number: 1, withdraw: false };
    events_against(fact, before, &[created("b", 0)], remove).await;
}

/// A booking that goes to another provider holds only the new one's row. Fails without
/// `version = version + 1` in the statement `PLACE` of `place`.
#[tokio::test]
async fn a_booking_leaves_its_provider_while_the_destination_changes() {
    let fact = "a_booking_leaves_its_provider_while_the_destination_changes";
    let theirs = NewConnection { provider: provider(2), ..account(3) };
    let before = (&[account(1), theirs][..], &[created("a", 0), created("b", 0)][..]);
    let events = [moved("b", 1), moved("a", 1)];
    events_against(fact, before, &events, Change::Put(account(2))).await;
}

/// Fails without `version = version + 1` in the statement `UNPLACE` of `take_down`.
#[tokio::test]
async fn a_booking_leaves_its_provider_while_the_connection_is_withdrawn() {
    let fact = "a_booking_leaves_its_provider_while_the_connection_is_withdrawn";
    let theirs = NewConnection { provider: provider(2), ..account(3) };
    let before = (&[account(1), theirs][..], &[created("a", 0), created("b", 0)][..]);
    let events = [moved("b", 1), moved("a", 1)];
    let remove = Change::Remove { number: 1, withdraw: true };
    events_against(fact, before, &events, remove).await;
}

/// Fails without what `place` withdraws where bookings were placed (its `UNION ALL`).
#[tokio::test]
async fn of_two_accounts_one_is_the_destination() {
    let fact = "of_two_accounts_one_is_the_destination";
    two_changes(fact, &[], Change::Put(account(1)), Change::Put(account(2))).await;
}

/// Fails without `WHERE destination = $1` in the statement `NO_DESTINATION` of `take_down`.
#[tokio::test]
async fn a_destination_changes_while_the_former_is_withdrawn() {
    let fact = "a_destination_changes_while_the_former_is_withdrawn";
    let remove = Change::Remove { number: 1, withdraw: true };
    two_changes(fact, &[account(1)], Change::Put(account(2)), remove).await;
}

/// Fails without `FOR UPDATE` in `lock_provider`.
#[tokio::test]
async fn a_connection_is_renewed_while_it_is_withdrawn() {
    let fact = "a_connection_is_renewed_while_it_is_withdrawn";
    let remove = Change::Remove { number: 1, withdraw: true };
    two_changes(fact, &[account(1)], Change::Put(account(1)), remove).await;
}

/// A renewal wakes what waits on the connection; bookings are locked before effects all the same
/// (rule R16). Fails when the statement `AWAKE` runs before `appoint`.
#[tokio::test]
async fn a_renewal_does_not_deadlock_with_a_booking_that_leaves() {
    let fact = "a_renewal_does_not_deadlock_with_a_booking_that_leaves";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        world.connect(&NewConnection { provider: provider(2), ..account(3) }).await;
        world.take_in(&[created("a", 0)]).await;
        // The calendar asks to be left alone for an hour: the effect waits.
        let lane = world.stamped(connection(1)).await;
        let error = "too many requests".to_owned();
        let later = Finding::NotApplied { after: LONG, error, rejected: false };
        let recorded = record(&world.store, &lane, "a", later).await;
        assert_eq!(recorded.expect("it answers"), Fenced::Written);
        // Another destination, whose horizon leaves the booking where it is.
        world.connect(&NewConnection { horizon: hour(12), ..account(2) }).await;
        world.fence(1).await
    };
    race(
        &world,
        fact,
        given,
        async |store, fence: &Fence| ingest(&store, fence, &[moved("a", 1)]).await,
        async |store, _: &Fence| store.put_connection(&account(1)).await,
        async |_: &World, _: &Fence, a: Ingested, _| assert_eq!(a.committed, Committed::Done),
    )
    .await;
    world.end().await;
}

/// A removed account comes back while a booking that it was asked for changes. Fails without
/// `let_go` where it leaves the provider, or ends.
#[tokio::test]
async fn a_removed_account_comes_back_while_its_bookings_change() {
    let fact = "a_removed_account_comes_back_while_its_bookings_change";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        world.connect(&NewConnection { provider: provider(2), ..account(3) }).await;
        world.take_in(&[created("a", 0), created("b", 0), created("c", 0)]).await;
        let removed = world.store.remove_connection(connection(1), false).await;
        assert!(removed.expect("it answers"));
        world.fence(1).await
    };
    let events = [moved("c", 1), cancelled("b", 1), updated("a", 1)];
    race(
        &world,
        fact,
        given,
        async |store, fence: &Fence| ingest(&store, fence, &events).await,
        async |store, _: &Fence| store.put_connection(&account(1)).await,
        async |_: &World, _: &Fence, a: Ingested, _| assert_eq!(a.committed, Committed::Done),
    )
    .await;
    world.end().await;
}

/// A sweep of the connection that is connected again: what it writes down, and its first plan.
/// Fails with the foreign keys of `sweeps` and `drift` to `connections`: each waits for the other.
#[tokio::test]
async fn a_sweep_and_a_renewal_of_its_connection_do_not_wait_for_each_other() {
    let fact = "a_sweep_and_a_renewal_of_its_connection_do_not_wait_for_each_other";
    let Some(world) = World::open(fact).await else { return };
    let plan = SweepStep::Plan { after: Some(LONG), result: None };
    let found = FoundDrift { external_id: "copy".to_owned(), uid: None, kind: DriftKind::Copy };
    let page = SweptPage { found: vec![found], ..SweptPage::default() };
    for is_begun in [false, true] {
        let given = async |world: &World| {
            world.connect(&account(1)).await;
            world.take_in(&[created("a", 0)]).await;
            let lane = world.lease(connection(1)).await;
            if is_begun {
                let begin = SweepStep::Begin { full: true, result: None };
                for step in [&plan, &begin] {
                    let stepped = world.store.step_sweep(&lane, step).await;
                    assert_eq!(stepped.expect("it answers"), Fenced::Written);
                }
            }
            lane
        };
        let sweep = async |store: PostgresStore, lane: &LaneLease| {
            if is_begun {
                return Ok(store.sweep_page(lane, &page).await?.is_some());
            }
            Ok(store.step_sweep(lane, &plan).await? == Fenced::Written)
        };
        race(
            &world,
            fact,
            given,
            sweep,
            async |store, _: &LaneLease| store.put_connection(&account(1)).await,
            async |_: &World, _: &LaneLease, swept, _| assert!(swept, "the lane is still ours"),
        )
        .await;
    }
    world.end().await;
}
