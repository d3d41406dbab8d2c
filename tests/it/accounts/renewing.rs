//! Access is renewed before it expires, and once when it is refused, by one worker of all.

use std::time::Duration;

use booking::Verb as Does;
use calendar_sync::emulator::{Fault, Moment, Rotation, Rule, Verb};
use calendar_sync::store::ConnectionState;
use secrecy::ExposeSecret as _;

use super::granted::{
    Good, REFRESH_TOKEN, access_token, counted, granted, make_due, order, refused, renewals,
    renewed_by, stored, stories, switch, tell_created,
};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{World, until};

/// Nothing is asked for that is there.
pub(super) async fn access_that_is_good_is_not_renewed(world: &mut World) {
    let host = granted(world, Good::For(600, 900)).await;
    let mut stories = stories(3);
    tell_created(world, &mut stories).await;
    world.drain().await;
    world.tell([stories[0].moved(11)]).await;
    world.drain().await;
    assert!(renewals(world).is_empty());
    assert_eq!(world.starts(&host).await, [hour(9), hour(9), hour(11)]);
}

/// Fails with: `emit/access.rs`, `is_to_be_renewed`: `false`.
pub(super) async fn access_that_has_expired_is_renewed_before_it_is_used(world: &mut World) {
    is_renewed_unrefused(world, Good::For(-600, -300)).await;
}

/// Fails with: `emit/access.rs`, `is_to_be_renewed`: `it.expires_at` for `it.refresh_at` (it is then
/// used for as long as it lasts).
pub(super) async fn access_is_renewed_a_while_before_it_expires(world: &mut World) {
    is_renewed_unrefused(world, Good::For(-1, 120)).await;
}

/// As an application that imports what it has may leave it.
pub(super) async fn a_grant_without_access_is_renewed_first(world: &mut World) {
    is_renewed_unrefused(world, Good::None).await;
}

async fn is_renewed_unrefused(world: &mut World, good: Good) {
    let host = granted(world, good).await;
    let mut stories = stories(3);
    tell_created(world, &mut stories).await;
    world.drain().await;
    assert_eq!((renewals(world).len(), refused(world)), (1, 0));
    assert_eq!(world.starts(&host).await, [hour(9); 3]);
    let access = stored(world, &host).await.access.expect("it was renewed");
    assert_ne!(access.token.expose_secret(), access_token(&host));
    let lifetime = access.lifetime.expect("it was told");
    let left = lifetime.expires_at - world.surroundings.clock.now();
    assert!(left > chrono::TimeDelta::minutes(50), "{left}");
    assert_eq!(lifetime.expires_at - lifetime.refresh_at, chrono::TimeDelta::minutes(5));
    assert_eq!(counted(world, "calendar_sync_token_refreshes_total{outcome=\"granted\"}"), 1);
    // By the next worker as well.
    world.tell([stories[0].moved(11)]).await;
    world.drain().await;
    assert_eq!(renewals(world).len(), 1);
}

/// The calendar says 401 where nobody expects it: its provider has ended the token early.
///
/// Fails with: `emit/access.rs`, `shut_out`: `Renewed::Lasting` for what is renewed (it is parked); or
/// without `if edition < present` (it is parked by the second call that was made with the old token).
pub(super) async fn access_that_is_refused_in_mid_flight_is_renewed_once(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let mut stories = stories(12);
    tell_created(world, &mut stories[..2]).await;
    world.drain().await;
    end_access(world, &access_token(&host));
    tell_created(world, &mut stories[2..]).await;
    world.drain().await;
    assert_eq!(renewals(world).len(), 1);
    let several = 1..=world.emit.lane_concurrency;
    assert!(several.contains(&refused(world)), "those under way: {}", refused(world));
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(9); 12]);
    assert_eq!(world.host.verbs(), [Does::Create; 12]);
    assert!(world.dead_letters().await.is_empty());
}

/// The provider ends an access token before its time.
fn end_access(world: &World, token: &str) {
    let known = match &world.host {
        Host::Google(google) => google.revoke_token(token),
        Host::Microsoft(graph) => graph.revoke_token(token),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    };
    assert!(known);
}

/// As an application that imports what it has may leave it.
pub(super) async fn access_whose_end_nobody_told_is_used_until_it_is_refused(world: &mut World) {
    let host = granted(world, Good::Untold).await;
    let mut stories = stories(2);
    tell_created(world, &mut stories[..1]).await;
    world.drain().await;
    assert!(renewals(world).is_empty());
    end_access(world, &access_token(&host));
    tell_created(world, &mut stories[1..]).await;
    world.drain().await;
    assert_eq!((renewals(world).len(), refused(world)), (1, 1));
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    assert!(stored(world, &host).await.access.expect("it was renewed").lifetime.is_some());
}

/// A call without an answer is read back, and its reading is what is refused.
pub(super) async fn what_is_to_be_read_is_read_by_new_access(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let lost = Fault::HangUp(Moment::AfterApplying);
    let lost = order(world, Rule::next(1, lost).verb(Verb::Insert));
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    world.emit.backoff.delay_min = Duration::from_millis(50);
    let worker = world.worker();
    until("its answer was lost", async || lost.hits() == 1).await;
    end_access(world, &access_token(&host));
    until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.only(&host).await.start, hour(9));
    assert_eq!(world.host.verbs(), [Does::Create]);
}

/// Whatever the provider does with the former one: only the newest is used.
///
/// Fails with: `connection/token_endpoint.rs`, `refresh`: `grant.refresh_token.clone()` alone.
pub(super) async fn a_renewed_refresh_token_is_kept_over_a_restart(world: &mut World) {
    let host = granted(world, Good::None).await;
    switch(world, |it| it.rotation = Rotation::FormerEnds);
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    world.drain().await;
    for start in 10..13 {
        make_due(world, &host).await;
        world.tell([stories[0].moved(start)]).await;
        world.drain().await;
    }
    let used: Vec<_> = renewals(world).iter().map(renewed_by).collect();
    assert_eq!((used.len(), used[0].as_str()), (4, REFRESH_TOKEN));
    let mut distinct = used.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "each was used once: {used:?}");
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(12)]);
    assert_eq!(refused(world), 0);
}

/// Between the endpoint's answer and the store. What it was renewed by is good still: Google gives no
/// other one, and Microsoft does not revoke the former.
pub(super) async fn a_worker_that_dies_before_new_access_is_stored_costs_a_moment(
    world: &mut World,
) {
    // Long enough for the worker to be killed before it gives up by itself.
    (world.emit.call_timeout, world.emit.lease) = (Duration::from_secs(4), Duration::from_secs(9));
    let host = granted(world, Good::None).await;
    let held = Fault::Hold(Moment::AfterApplying);
    let held = order(world, Rule::next(1, held).verb(Verb::Token));
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let worker = world.worker();
    held.wait_held(1).await;
    worker.kill().await;
    held.withdraw();
    assert!(stored(world, &host).await.access.is_none(), "nothing was stored");
    world.drain().await;
    let used: Vec<_> = renewals(world).iter().map(renewed_by).collect();
    assert_eq!(used, [REFRESH_TOKEN; 2]);
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    assert_eq!(world.host.verbs(), [Does::Create; 2]);
}

/// Rule R10: the lane's holder is the one who renews.
pub(super) async fn two_workers_renew_once(world: &mut World) {
    let host = granted(world, Good::For(-600, -300)).await;
    let slow = Fault::Latency(Moment::BeforeApplying, Duration::from_millis(300));
    order(world, Rule::next(1, slow).verb(Verb::Token));
    let mut stories = stories(8);
    tell_created(world, &mut stories).await;
    let workers = [world.worker(), world.worker(), world.worker()];
    until("nothing is owed", async || world.pending().await == 0).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!((renewals(world).len(), refused(world)), (1, 0));
    assert_eq!(world.starts(&host).await, [hour(9); 8]);
    assert_eq!(world.host.verbs(), [Does::Create; 8]);
}
