//! In whose calendar a booking stands.

use booking::Verb;
use calendar_sync::store::ConnectionState;

use super::story::{Story, hour, provider};
use super::world::World;

/// L4: a change of host changes no UID.
///
/// Fails with: `booking/decode/values.rs`: the provider's id in the domain that
/// `IcalUid::of_booking` is given.
pub(super) async fn a_booking_that_changes_hands_keeps_its_uid(world: &mut World) {
    let (anna, bert) = (world.connect(1).await, world.connect(2).await);
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.drain().await;
    world.tell([story.given_to(provider(2))]).await;
    world.drain().await;
    assert!(world.dead_letters().await.is_empty());
    let rows = world.store.external_events(&story.uid()).await.expect("the store answers");
    assert_eq!(rows.len(), 2, "one UID in both calendars: {rows:?}");
    assert!(world.shown(&anna).await.is_empty());
    assert_eq!(world.starts(&bert).await, [hour(9)]);
}

/// L11: A→B→A.
///
/// Fails with: `booking/plan.rs`, `plan`: `placed.filter(|_| false)` for the former place.
pub(super) async fn a_booking_given_away_and_back_stands_in_one_calendar_each_time(
    world: &mut World,
) {
    let (anna, bert) = (world.connect(1).await, world.connect(2).await);
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.drain().await;
    assert_eq!(world.starts(&anna).await, [hour(9)]);
    for start in [10, 11] {
        story.given_to(provider(2));
        world.tell([story.moved(start)]).await;
        world.drain().await;
        assert!(world.shown(&anna).await.is_empty());
        assert_eq!(world.starts(&bert).await, [hour(start)]);

        world.tell([story.given_to(provider(1))]).await;
        world.drain().await;
        assert_eq!(world.starts(&anna).await, [hour(start)]);
        assert!(world.shown(&bert).await.is_empty());
    }
    let mut verbs = world.host.verbs();
    verbs.sort_unstable_by_key(|verb| verb.name());
    assert_eq!(verbs, [vec![Verb::Create; 5], vec![Verb::Delete; 4]].concat());

    // There and back before a send: whatever is asked of the other calendar, nothing happens in it.
    let writes = world.host.writes().len();
    world.tell([story.given_to(provider(2)), story.given_to(provider(1))]).await;
    world.drain().await;
    assert_eq!(world.starts(&anna).await, [hour(11)]);
    assert!(world.shown(&bert).await.is_empty());
    let later = world.host.writes().split_off(writes);
    assert!(later.iter().all(|write| write.verb == Verb::Update), "{later:?}");
}

/// L12: an explicit destination.
///
/// Fails with: `pipeline/fold_batch.rs`, `plan_all`: `destinations.values().copied().flatten().max()`
/// for the destination of the booking's provider.
pub(super) async fn no_other_calendar_is_ever_called(world: &mut World) {
    let anna = world.connect(1).await;
    let annas_other = world.connect(1).await;
    let (bert, idle) = (world.connect(2).await, world.connect(3).await);
    let (mut one, mut two) = (Story::of("one", provider(1)), Story::of("two", provider(2)));
    two.details.start = hour(8);
    world.tell([one.created(), two.created()]).await;
    world.drain().await;
    world.tell([one.moved(11), two.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.starts(&anna).await, [hour(11)]);
    let attempts = |connected| world.attempts_on(connected).len();
    assert_eq!((attempts(&anna), attempts(&bert)), (2, 2));
    assert_eq!((attempts(&annas_other), attempts(&idle)), (0, 0));
}

/// Rule R8: a connection that comes later finds the upcoming bookings due, once.
pub(super) async fn a_connection_added_later_finds_the_upcoming_bookings_due_once(
    world: &mut World,
) {
    let anna = world.prepare(1).await;
    let mut upcoming = Story::of("upcoming", provider(1));
    let mut cancelled = Story::of("cancelled", provider(1));
    let mut others = Story::of("others", provider(2));
    let mut past = Story::of("past", provider(1));
    past.details.start = "2001-02-03T09:00:00Z".parse().expect("a time");
    past.details.end = "2001-02-03T10:00:00Z".parse().expect("a time");
    let first = [upcoming.created(), cancelled.created(), others.created(), past.created()];
    world.tell(first).await;
    world.tell([upcoming.moved(11), cancelled.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.host.requests(), 0);

    let put = world.put(&anna).await;
    assert_eq!((put.created, put.destination, put.bookings_due), (true, true, 1));
    let again = world.put(&anna).await;
    assert_eq!((again.created, again.bookings_due), (false, 0));
    world.drain().await;
    world.put(&anna).await;
    world.drain().await;
    assert_eq!(world.starts(&anna).await, [hour(11)]);
    assert_eq!(world.host.verbs(), [Verb::Create]);
}

/// A removal takes its events with it, and its credentials last.
pub(super) async fn a_removed_connection_withdraws_its_events(world: &mut World) {
    let anna = world.connect(1).await;
    let (mut one, mut two) = (Story::of("one", provider(1)), Story::of("two", provider(1)));
    world.tell([one.created(), two.created()]).await;
    world.drain().await;
    assert_eq!(world.shown(&anna).await.len(), 2);
    let removed = world.store.remove_connection(anna.id, true).await;
    assert!(removed.expect("the store answers"));
    assert_eq!(world.state(&anna).await, ConnectionState::Removing);
    world.tell([one.moved(11)]).await;
    world.drain().await;
    assert!(world.shown(&anna).await.is_empty());
    assert_eq!(world.state(&anna).await, ConnectionState::Removed);
    let row = world.store.connection(anna.id).await.expect("the store answers");
    assert!(row.expect("its row stays").sealed.is_empty(), "its credentials are gone");

    // The same account again: what is upcoming comes back, under the same connection.
    let put = world.put(&anna).await;
    assert_eq!(put.bookings_due, 2);
    world.drain().await;
    assert_eq!(world.starts(&anna).await, [hour(9), hour(11)]);
}
