//! What a person does while access is being renewed.

use booking::Verb as Does;
use calendar_sync::connection::Sealer;
use calendar_sync::emulator::{Fault, Moment, Rule, Verb};
use calendar_sync::store::ConnectionState;
use secrecy::ExposeSecret as _;

use super::granted::{
    Good, REFRESH_TOKEN, connect_again, granted, order, renewals, renewed_by, row, stored, stories,
    tell_created,
};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{World, sealer};

/// The former grant is refused when there is a new one already: that is nobody's work any more.
///
/// Fails with: any store's `park`: without its condition on `sealed`.
pub(super) async fn who_connects_again_while_access_is_renewed_is_not_parked(world: &mut World) {
    let host = granted(world, Good::None).await;
    match &world.host {
        Host::Google(google) => assert!(google.revoke_grant(REFRESH_TOKEN)),
        Host::Microsoft(graph) => assert!(graph.revoke_grant(REFRESH_TOKEN)),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
    let held = Fault::Hold(Moment::BeforeApplying);
    let held = order(world, Rule::next(1, held).verb(Verb::Token));
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let worker = world.worker();
    held.wait_held(1).await;
    connect_again(world, &host, "another refresh token").await;
    held.withdraw();
    crate::end_to_end::world::until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    let used: Vec<_> = renewals(world).iter().map(renewed_by).collect();
    assert_eq!(used, [REFRESH_TOKEN, "another refresh token"]);
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    assert_eq!(world.host.verbs(), [Does::Create; 2]);
}

/// Only the bytes are others: what was granted meanwhile counts.
///
/// Fails with: `emit/access.rs`, `store_renewed`: `break` for `from = now.sealed` (access is renewed
/// once more, and a rotated refresh token is lost).
pub(super) async fn what_is_sealed_anew_while_access_is_renewed_keeps_the_new_access(
    world: &mut World,
) {
    let host = granted(world, Good::None).await;
    let held = Fault::Hold(Moment::AfterApplying);
    let held = order(world, Rule::next(1, held).verb(Verb::Token));
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let worker = world.worker();
    held.wait_held(1).await;
    // By the same key, as a rotation to a key that this worker does not have yet would stop it.
    let former = row(world, &host).await.sealed;
    let sealer: Sealer = sealer();
    let kept = sealer.open(host.id, &former).expect("it opens");
    let dice = world.surroundings.dice.as_ref();
    let anew = sealer.seal(host.id, &kept, dice).expect("it is sealed");
    let swapped = world.store.swap_credentials(host.id, &former, &anew).await;
    assert!(swapped.expect("the store answers"));
    held.withdraw();
    crate::end_to_end::world::until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(renewals(world).len(), 1);
    let access = stored(world, &host).await.access.expect("it was kept");
    assert!(access.token.expose_secret().contains("emulated"));
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
}
