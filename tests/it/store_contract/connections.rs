//! Facts of connections and destinations (rules R8, R17, R19, R21).

use std::time::Duration;

use booking::{CalendarKind, Verb};
use calendar_sync::store::{
    Committed, ConnectionState, Fenced, Fill, Fills, Finding, LaneLease, NewConnection,
    PutConnection, StoreError,
};

use super::env::{
    Answered as _, Env, LONG, SHORT, connection, content, hour, new_connection, not_applied,
    present, provider, token, uid,
};

pub(crate) async fn upcoming_bookings_become_due_once(env: &Env) {
    env.keep("a", 0, Some("Massage")).await;
    env.keep("b", 4, Some("Haircut")).await;
    let put = env.connect(1).await;
    assert_eq!(put, added(true, true, 2));
    let again = env.connect(1).await;
    assert_eq!(again, added(false, true, 0));
    let row = env.counted(1).await;
    assert_eq!((row.pending, row.live), (2, 0));
    assert_eq!(row.connection, env.row(1).await);
    assert!(row.connection.destination);
    let lane = env.lane(1).await;
    let mut due = env.due(&lane).await;
    due.sort_by(|one, other| one.uid.cmp(&other.uid));
    let owed: Vec<_> = due.into_iter().map(|row| (row.uid, row.desired_revision)).collect();
    assert_eq!(owed, [(uid("a"), 0), (uid("b"), 4)]);
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!((stored.placed, stored.version), (Some(connection(1)), 2));
}

/// R17: an id derives from what cannot change.
pub(crate) async fn an_id_that_comes_with_another_identity_is_refused(env: &Env) {
    env.connect(1).await;
    let before = env.row(1).await;
    let same = || NewConnection { sealed: vec![7], ..new_connection(1) };
    for other in [
        NewConnection { provider: provider(2), ..same() },
        NewConnection { kind: CalendarKind::Google, ..same() },
        NewConnection { subject: "somebody else".to_owned(), ..same() },
        NewConnection { calendar: "elsewhere".to_owned(), ..same() },
    ] {
        let refused = env.store.put_connection(&other).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent { .. })), "{refused:?}");
    }
    assert_eq!(env.row(1).await, before);
    let states = env.store.states(&[], &[provider(1), provider(2)]).await.answered();
    assert_eq!(states.destinations, [(provider(1), Some(connection(1))), (provider(2), None)]);
}

pub(crate) async fn bookings_before_the_horizon_stay_out(env: &Env) {
    env.keep("a", 0, Some("Massage")).await;
    let late = NewConnection { horizon: hour(11), ..new_connection(1) };
    assert_eq!(env.store.put_connection(&late).await.answered().bookings_due, 0);
    assert_eq!(env.stored("a").await.expect("it is stored").placed, None);
    // The horizon itself is inside: the booking ends at ten.
    let wide = NewConnection { horizon: hour(10), make_destination: true, ..new_connection(2) };
    assert_eq!(env.store.put_connection(&wide).await.answered().bookings_due, 1);
}

pub(crate) async fn bookings_that_are_not_shown_stay_out(env: &Env) {
    env.keep("a", 0, None).await;
    assert_eq!(env.connect(1).await.bookings_due, 0);
    assert_eq!(env.lease(1).await, None);
}

pub(crate) async fn a_second_connection_waits_until_it_is_made_the_destination(env: &Env) {
    env.keep("a", 0, Some("Massage")).await;
    env.connect(1).await;
    let put = env.connect(2).await;
    assert_eq!(put, added(true, false, 0));
    let second = NewConnection { make_destination: true, ..new_connection(2) };
    let put = env.store.put_connection(&second).await.answered();
    assert_eq!(put, added(false, true, 1));
    let rows = env.store.connections().await.answered();
    let destinations: Vec<_> =
        rows.iter().map(|row| (row.connection.id, row.connection.destination)).collect();
    assert_eq!(destinations, [(connection(1), false), (connection(2), true)]);
}

pub(crate) async fn a_new_destination_takes_the_bookings_from_the_former(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let first = env.lane(1).await;
    env.apply(&first, "a", 0, "Massage").await;
    let before = env.batch("a", 1, Some("Haircut")).await;
    let second = NewConnection { make_destination: true, ..new_connection(2) };
    assert_eq!(env.store.put_connection(&second).await.answered().bookings_due, 1);
    let leaves = env.owed(&first).await;
    assert_eq!((leaves.desired_revision, leaves.desired), (0, None));
    assert!(leaves.applied.is_some());
    let lane = env.lane(2).await;
    assert_eq!(lane.connection, connection(2));
    let comes = env.owed(&lane).await;
    assert_eq!((comes.desired_revision, comes.desired), (0, Some(content("Massage"))));
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!(stored.placed, Some(connection(2)));
    // What was folded from the former destination is folded again.
    assert_eq!(env.store.commit(&before).await.answered(), Committed::Stale);
}

pub(crate) async fn new_credentials_unpark_and_end_the_waiting(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", not_applied(LONG, false)).await, Fenced::Written);
    assert_eq!(env.park(&lane, "the token was revoked").await, Fenced::Written);
    assert_eq!(env.store.release(&lane, LONG, None).await.answered(), Fenced::Written);
    let renewed = NewConnection { sealed: vec![9], ..new_connection(1) };
    assert!(!env.store.put_connection(&renewed).await.answered().created);
    let row = env.row(1).await;
    assert_eq!((row.state, row.parked_reason), (ConnectionState::Active, None));
    assert_eq!(row.sealed, [9]);
    let lane = env.lane(2).await;
    assert_eq!(env.owed(&lane).await.uid, uid("a"));
}

pub(crate) async fn a_parked_connection_is_not_leased(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert_eq!(env.park(&lane, "the token was revoked").await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    let row = env.row(1).await;
    assert_eq!(row.state, ConnectionState::Parked);
    assert_eq!(row.parked_reason.as_deref(), Some("the token was revoked"));
    assert_eq!(env.lease(2).await, None);
    // Planning goes on: what comes now is due later.
    env.ask("b", 0, Some("Haircut")).await;
    assert_eq!(env.counted(1).await.pending, 2);
}

pub(crate) async fn only_the_holder_parks(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    let stranger = LaneLease { token: token(2), ..lane };
    assert_eq!(env.park(&stranger, "a mistake").await, Fenced::Refused);
    assert_eq!(env.state(1).await, ConnectionState::Active);
}

/// A drain that was shut out may still have calls on their way when its account is connected again: the
/// rest that it asks for is not of the new access.
pub(crate) async fn a_rest_from_before_new_credentials_is_over(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert_eq!(env.park(&lane, "the token was revoked").await, Fenced::Written);
    env.connect(1).await;
    assert_eq!(env.store.release(&lane, LONG, None).await.answered(), Fenced::Written);
    // The next rest is one again.
    let lane = env.lane(2).await;
    assert_eq!(env.store.release(&lane, LONG, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(3).await, None);
}

/// Whoever removed it meant it.
pub(crate) async fn what_is_removed_is_brought_back_only_on_purpose(env: &Env) {
    holding_one(env).await;
    let again = NewConnection { revives: false, sealed: vec![9], ..new_connection(1) };
    assert!(!env.store.put_connection(&again).await.answered().removed);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    assert_eq!(env.store.put_connection(&again).await.answered(), PutConnection::REMOVED);
    assert_eq!(env.state(1).await, ConnectionState::Removing);
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(env.store.put_connection(&again).await.answered(), PutConnection::REMOVED);
    let row = env.row(1).await;
    assert_eq!((row.state, row.destination), (ConnectionState::Removed, false));
    assert!(row.sealed.is_empty(), "its credentials stay gone");
    assert!(!env.connect(1).await.removed);
}

/// What adding a connection did, where it was not removed.
fn added(created: bool, destination: bool, bookings_due: u64) -> PutConnection {
    PutConnection { removed: false, created, destination, bookings_due }
}

/// Connection 1 holds a booking's event, and its lane is leased.
async fn holding_one(env: &Env) -> LaneLease {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    lane
}

pub(crate) async fn a_removal_fences_what_is_under_way(env: &Env) {
    let lane = holding_one(env).await;
    env.ask("b", 0, Some("Haircut")).await;
    assert!(env.stamp(&lane, "b", (Verb::Create, 0, 0)).await);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    assert_eq!(env.record(&lane, "b", present("b", 0, "Haircut")).await, Fenced::Refused);
    assert_eq!(env.store.renew(&lane, LONG).await.answered(), Fenced::Refused);
    assert!(!env.stamp(&lane, "a", (Verb::Update, 0, 0)).await);
    let destination = env.store.states(&[], &[provider(1)]).await.answered().destinations;
    assert_eq!(destination, [(provider(1), None)]);
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!((stored.placed, stored.version), (None, 2));
    // The next holder finds it in flight, and both to be withdrawn.
    let next = env.lane(2).await;
    let taken = env.store.take_over(&next, LONG).await.answered();
    assert_eq!(taken, calendar_sync::store::Taken::Over(1));
    let due = env.due(&next).await;
    let wanted: Vec<_> = due.iter().map(|row| (row.uid.clone(), row.desired.clone())).collect();
    assert_eq!(wanted, [(uid("b"), None), (uid("a"), None)]);
}

pub(crate) async fn credentials_die_last(env: &Env) {
    let lane = holding_one(env).await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let row = env.row(1).await;
    assert_eq!((row.state, row.destination), (ConnectionState::Removing, false));
    assert_eq!(row.sealed, new_connection(1).sealed);
    let lane = env.lane(2).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 0, 0)).await);
    // The attempt stays open for a while: the credentials stay with it.
    let absent = Finding::Absent { revision: 0 };
    let recorded = env.record_open(&lane, "a", absent, Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.state(1).await, ConnectionState::Removing);
    let lane = env.eventually("the verification's hour", || env.lease(3)).await;
    assert_eq!(env.record(&lane, "a", Finding::Verified).await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removed, 0));
}

/// Whoever has withdrawn the last event may not live to give the lane back.
pub(crate) async fn a_removal_ends_though_its_last_holder_is_gone(env: &Env) {
    let lane = holding_one(env).await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.lease_for(2, 10 * SHORT).await.expect("an event is due to go");
    assert!(env.stamp(&lane, "a", (Verb::Delete, 0, 0)).await);
    let recorded = env.record(&lane, "a", Finding::Absent { revision: 0 }).await;
    assert_eq!(recorded, Fenced::Written);
    let drained = || async {
        // As another worker does with any lane that it gets.
        if let Some(lane) = env.lease(3).await {
            assert_eq!(env.due(&lane).await, []);
            let released = env.store.release(&lane, Duration::ZERO, None).await;
            assert_eq!(released.answered(), Fenced::Written);
        }
        (env.state(1).await == ConnectionState::Removed).then_some(())
    };
    env.eventually("the removal's end", drained).await;
    assert!(env.row(1).await.sealed.is_empty());
    assert_eq!(env.lease(4).await, None);
}

pub(crate) async fn a_removal_with_nothing_to_withdraw_ends_at_once(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removed, 0));
}

/// L29: no cascade while an external event stands.
pub(crate) async fn a_removal_without_withdrawing_keeps_the_mapping(env: &Env) {
    let lane = holding_one(env).await;
    let before = env.store.external_events(&uid("a")).await.answered();
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removed, 0));
    assert_eq!(env.counted(1).await.live, 1);
    assert_eq!(env.store.external_events(&uid("a")).await.answered(), before);
    assert_eq!(before.len(), 1);
    assert_eq!(env.lease(2).await, None);
    assert_eq!(env.store.renew(&lane, LONG).await.answered(), Fenced::Refused);
    assert!(!env.store.remove_connection(connection(1), false).await.answered());
}

pub(crate) async fn a_withdrawal_of_what_was_refused_has_all_its_tries(env: &Env) {
    let lane = holding_one(env).await;
    env.ask("a", 1, Some("Haircut")).await;
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    assert_eq!(env.record(&lane, "a", not_applied(Duration::ZERO, true)).await, Fenced::Written);
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    let dead = Finding::Dead { error: "it is not accepted".to_owned(), unknown: false };
    assert_eq!(env.record(&lane, "a", dead).await, Fenced::Written);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.lane(2).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired, owed.rejections), (None, 0));
}

pub(crate) async fn what_is_removed_is_not_parked(env: &Env) {
    for withdraw in [false, true] {
        env.connect(1).await;
        env.ask(if withdraw { "b" } else { "a" }, 0, Some("Massage")).await;
        let lane = env.lane(1).await;
        assert_eq!(env.park(&lane, "it was revoked").await, Fenced::Written);
        assert!(env.store.remove_connection(connection(1), withdraw).await.answered());
        let row = env.row(1).await;
        assert_eq!((row.state, row.parked_reason), (ConnectionState::Removed, None));
    }
}

pub(crate) async fn a_removed_connection_can_come_back(env: &Env) {
    holding_one(env).await;
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    let put = env.connect(1).await;
    assert_eq!((put.created, put.destination), (false, true));
    assert_eq!(env.state(1).await, ConnectionState::Active);
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!(stored.placed, Some(connection(1)));
    // The calendar holds what is wanted still: nothing is sent.
    assert_eq!(env.lease(2).await, None);
    assert_eq!(env.counted(1).await.pending, 0);
}

/// Of bookings that are due on a removed connection, nothing was planned since: the row of one
/// that was cancelled asks for what the booking shows no more.
pub(crate) async fn what_ended_while_a_connection_was_removed_is_due_no_more(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    env.ask("b", 0, Some("Haircut")).await;
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    env.keep("a", 1, None).await;
    assert_eq!(env.connect(1).await.bookings_due, 1);
    let lane = env.lane(2).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.uid, owed.desired), (uid("b"), Some(content("Haircut"))));
}

pub(crate) async fn what_ended_while_a_connection_was_removed_leaves_it(env: &Env) {
    holding_one(env).await;
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    env.keep("a", 1, None).await;
    assert_eq!(env.connect(1).await.bookings_due, 0);
    let lane = env.lane(2).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.desired), (1, None));
    assert!(owed.applied.is_some());
}

pub(crate) async fn what_another_took_meanwhile_is_not_asked_for_twice(env: &Env) {
    let lane = holding_one(env).await;
    env.ask("b", 0, Some("Haircut")).await;
    assert!(env.stamp(&lane, "b", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "b", not_applied(LONG, true)).await, Fenced::Written);
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(env.connect(2).await.bookings_due, 2);
    assert!(!env.connect(1).await.destination);
    // It leaves the one, and was never on it in the case of the other.
    let first = env.lane(3).await;
    assert_eq!(first.connection, connection(1));
    let owed = env.owed(&first).await;
    assert_eq!((owed.uid, owed.desired), (uid("a"), None));
    // Made the destination again, it gets them back, with all their tries.
    let again = NewConnection { make_destination: true, ..new_connection(1) };
    assert_eq!(env.store.put_connection(&again).await.answered().bookings_due, 2);
    let owed = env.owed(&first).await;
    assert_eq!((owed.uid, owed.desired), (uid("b"), Some(content("Haircut"))));
    assert_eq!(owed.rejections, 0);
}

pub(crate) async fn what_waited_for_a_removed_connection_is_due_as_it_is_now(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let dead = Finding::Dead { error: "it is not accepted".to_owned(), unknown: false };
    assert_eq!(env.record(&lane, "a", dead).await, Fenced::Written);
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    env.keep("a", 3, Some("Haircut")).await;
    assert_eq!(env.connect(1).await.bookings_due, 1);
    let lane = env.lane(2).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.desired), (3, Some(content("Haircut"))));
}

pub(crate) async fn an_unknown_connection_cannot_be_removed(env: &Env) {
    assert!(!env.store.remove_connection(connection(7), true).await.answered());
    assert_eq!(env.store.connection(connection(7)).await.answered(), None);
}

/// How many a connection is filled with, and how many are left.
async fn filling(env: &Env, number: u128) -> Option<(i64, i64)> {
    let fill = env.counted(number).await.fill;
    fill.map(|Fill { total, left, .. }| (total, left))
}

async fn left(env: &Env) -> (i64, i64) {
    let Fills { connections, left } = env.store.fills().await.answered();
    (connections, left)
}

/// The names of what is due, in its order.
async fn in_order(env: &Env, lane: &LaneLease) -> Vec<booking::IcalUid> {
    env.due(lane).await.into_iter().map(|owed| owed.uid).collect()
}

pub(crate) async fn a_fill_is_seen_until_it_is_done(env: &Env) {
    env.connect(2).await;
    assert_eq!((filling(env, 2).await, left(env).await), (None, (0, 0)), "there was nothing");
    for name in ["a", "b", "c"] {
        env.keep(name, 0, Some("Massage")).await;
    }
    env.keep("d", 0, None).await;
    let new = NewConnection { make_destination: true, ..new_connection(1) };
    let _ = env.store.put_connection(&new).await.answered();
    assert_eq!((filling(env, 1).await, left(env).await), (Some((3, 3)), (1, 3)));
    let since = env.counted(1).await.fill.expect("it is being filled").since;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    assert_eq!(filling(env, 1).await, Some((3, 2)));
    // To connect again fills nothing again.
    env.connect(1).await;
    assert_eq!((filling(env, 1).await, env.counted(1).await.pending), (Some((3, 2)), 2));
    // What an event asks for is no matter of the fill any more, though it is due still.
    env.ask("b", 1, Some("Haircut")).await;
    assert_eq!((filling(env, 1).await, env.counted(1).await.pending), (Some((3, 1)), 2));
    env.apply(&lane, "c", 0, "Massage").await;
    assert_eq!((filling(env, 1).await, left(env).await), (Some((3, 0)), (0, 0)));
    assert_eq!(env.counted(1).await.fill.expect("it is told still").since, since);
}

pub(crate) async fn what_an_event_asks_for_goes_before_a_fill(env: &Env) {
    for name in ["a", "b", "c", "d"] {
        env.keep(name, 0, Some("Massage")).await;
    }
    env.connect(1).await;
    env.ask("z", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert_eq!(in_order(env, &lane).await, ["z", "a", "b", "c", "d"].map(uid));
    // What somebody asks about does too, and what is in flight is settled first.
    let hastened = env.store.hasten(&super::env::id("c")).await.answered();
    assert!(hastened.is_some());
    assert!(env.stamp(&lane, "d", (Verb::Create, 0, 0)).await);
    let order = in_order(env, &lane).await;
    assert_eq!((&order[0], &order[3..]), (&uid("d"), &["a", "b"].map(uid)[..]), "{order:?}");
    // A limit takes from the end.
    let first = env.store.due(&lane, 3).await.answered();
    assert!(first.iter().all(|owed| ![uid("a"), uid("b")].contains(&owed.uid)), "{first:?}");
}

pub(crate) async fn what_stands_already_is_not_filled_again(env: &Env) {
    for name in ["a", "b"] {
        env.keep(name, 0, Some("Massage")).await;
    }
    env.connect(1).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    // It is removed, its events stay, and it is added again.
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    env.connect(1).await;
    assert_eq!((filling(env, 1).await, env.counted(1).await.pending), (Some((1, 1)), 1));
    // Another takes all of it, and this one is to let go of what stands.
    let other = NewConnection { make_destination: true, ..new_connection(2) };
    assert_eq!(env.store.put_connection(&other).await.answered().bookings_due, 2);
    assert_eq!((filling(env, 1).await, env.counted(1).await.pending), (Some((1, 0)), 1));
    assert_eq!((filling(env, 2).await, left(env).await), (Some((2, 2)), (1, 2)));
}

pub(crate) async fn a_removal_forgets_its_fill(env: &Env) {
    env.keep("a", 0, Some("Massage")).await;
    env.connect(1).await;
    assert_eq!(filling(env, 1).await, Some((1, 1)));
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    assert_eq!((filling(env, 1).await, left(env).await), (None, (0, 0)));
}
