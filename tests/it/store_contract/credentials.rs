//! Credentials that change in the running (rule R10): only the lane's holder renews them, and only those
//! that it has renewed them from.

use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{ConnectionState, Fenced, LaneLease, NewConnection};

use super::env::{
    Answered as _, Env, LONG, SHORT, connection, new_connection, open_gate, present, token,
};

/// What connection 1 is opened by.
fn first() -> Vec<u8> {
    new_connection(1).sealed
}

/// Connection 1 with something due, and its lane.
async fn held(env: &Env) -> LaneLease {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    env.lane(1).await
}

async fn renew(env: &Env, lane: &LaneLease, from: &[u8], to: &[u8]) -> Fenced {
    env.store.renew_credentials(lane, from, to).await.answered()
}

async fn fails(env: &Env, lane: &LaneLease, sealed: &[u8]) -> Option<u32> {
    env.store.renewal_failed(lane, sealed, "it does not answer").await.answered()
}

/// A worker that was thought dead comes back with what it was given long ago.
pub(crate) async fn a_stale_token_renews_nothing(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let former = env.lease_for(1, SHORT).await.expect("something is due");
    let holder = env.eventually("the lease runs out", || env.lease(2)).await;
    assert_eq!(renew(env, &former, &first(), &[7]).await, Fenced::Refused);
    assert_eq!(fails(env, &former, &first()).await, None);
    assert_eq!(env.row(1).await.sealed, first());
    assert_eq!(renew(env, &holder, &first(), &[8]).await, Fenced::Written);
    assert_eq!(renew(env, &former, &[8], &[7]).await, Fenced::Refused, "whatever it knows");
    assert_eq!(env.row(1).await.sealed, [8]);
}

/// What the calendar is told meanwhile goes on: only the bytes are others.
pub(crate) async fn renewed_credentials_change_nothing_else(env: &Env) {
    let lane = held(env).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Written);
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
    let row = env.row(1).await;
    assert_eq!((row.sealed, row.state), (vec![8], ConnectionState::Active));
    assert_eq!(env.counted(1).await.live, 1);
}

/// A refresh that was on its way when the account was connected again is of before.
pub(crate) async fn who_has_connected_again_is_not_overwritten(env: &Env) {
    let lane = held(env).await;
    let again = NewConnection { sealed: vec![9], ..new_connection(1) };
    assert!(!env.store.put_connection(&again).await.answered().created);
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Refused);
    assert_eq!(fails(env, &lane, &first()).await, None);
    assert_eq!(env.row(1).await.sealed, [9]);
    assert_eq!(renew(env, &lane, &[9], &[10]).await, Fenced::Written, "the lane is ours still");
}

/// Whoever finds the former credentials refused knows nothing of the new ones.
pub(crate) async fn who_has_connected_again_is_not_parked(env: &Env) {
    let lane = held(env).await;
    let again = NewConnection { sealed: vec![9], ..new_connection(1) };
    assert!(!env.store.put_connection(&again).await.answered().created);
    let parked = env.store.park(&lane, &first(), "they were revoked").await.answered();
    assert_eq!(parked, Fenced::Refused);
    assert_eq!(env.state(1).await, ConnectionState::Active);
    let parked = env.store.park(&lane, &[9], "they were revoked").await.answered();
    assert_eq!(parked, Fenced::Written);
    assert_eq!(env.state(1).await, ConnectionState::Parked);
}

/// It is told, and waits by itself: no person is asked.
pub(crate) async fn failed_renewals_are_counted_until_one_succeeds(env: &Env) {
    let lane = held(env).await;
    for count in 1..=3 {
        assert_eq!(fails(env, &lane, &first()).await, Some(count));
    }
    let row = env.row(1).await;
    assert_eq!((row.state, row.renewal_failures), (ConnectionState::Active, 3));
    assert_eq!(row.renewal_error.as_deref(), Some("it does not answer"));
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Written);
    let row = env.row(1).await;
    assert_eq!((row.renewal_failures, row.renewal_error), (0, None));
    assert_eq!(fails(env, &lane, &[8]).await, Some(1), "from the start");
    env.connect(1).await;
    let row = env.row(1).await;
    assert_eq!((row.renewal_failures, row.renewal_error), (0, None), "it was connected again");
}

/// What is parked waits for a person, and says why by that alone.
pub(crate) async fn who_is_parked_is_not_tried_again(env: &Env) {
    let lane = held(env).await;
    assert_eq!(fails(env, &lane, &first()).await, Some(1));
    let parked = env.store.park(&lane, &first(), "it was revoked").await.answered();
    assert_eq!(parked, Fenced::Written);
    let row = env.row(1).await;
    assert_eq!((row.renewal_failures, row.renewal_error), (0, None));
    assert_eq!(row.parked_reason.as_deref(), Some("it was revoked"));
}

/// The reading of the topic is not held up by a token endpoint that is away.
pub(crate) async fn a_calendar_whose_access_is_not_renewed_is_no_backlog(env: &Env) {
    let lane = held(env).await;
    let count = || async { env.store.backlog(&open_gate(), 100).await.answered() };
    assert_eq!(count().await, 1);
    assert_eq!(fails(env, &lane, &first()).await, Some(1));
    assert_eq!(count().await, 0);
    assert_eq!(env.counted(1).await.pending, 1, "it is owed");
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Written);
    assert_eq!(count().await, 1);
}

/// An operator seals anew, without a pause: whoever holds the lane.
pub(crate) async fn what_is_sealed_anew_is_swapped_once_and_keeps_the_lane(env: &Env) {
    let lane = held(env).await;
    let id = connection(1);
    assert!(env.store.swap_credentials(id, &first(), &[8]).await.answered());
    assert!(!env.store.swap_credentials(id, &first(), &[9]).await.answered());
    assert_eq!(env.row(1).await.sealed, [8]);
    assert_eq!(renew(env, &lane, &first(), &[9]).await, Fenced::Refused, "from what was before");
    assert_eq!(renew(env, &lane, &[8], &[9]).await, Fenced::Written);
    assert!(!env.store.swap_credentials(connection(7), &[8], &[9]).await.answered());
}

/// L10: what is gone does not come back by a late answer.
pub(crate) async fn a_removed_connection_gets_no_credentials_any_more(env: &Env) {
    let lane = held(env).await;
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Refused);
    let stranger = LaneLease { token: token(9), ..lane };
    assert_eq!(renew(env, &stranger, &[], &[8]).await, Fenced::Refused);
    assert!(!env.store.swap_credentials(connection(1), &[], &[8]).await.answered());
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removed, 0));
}

/// Events are being withdrawn for as long as that takes, with access that is renewed.
pub(crate) async fn a_connection_that_is_being_removed_is_renewed(env: &Env) {
    let lane = held(env).await;
    env.apply(&lane, "a", 0, "Massage").await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.lease_for(2, LONG).await.expect("an event is due to go");
    assert_eq!(renew(env, &lane, &first(), &[8]).await, Fenced::Written);
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed), (ConnectionState::Removing, vec![8]));
}
