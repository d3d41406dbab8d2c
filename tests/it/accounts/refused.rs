//! A grant that is no good any more: parked, told, and drained once it is connected again (L7).

use booking::Verb as Does;
use calendar_sync::emulator::{Fault, Moment, Refusal, Rule, Verb};
use calendar_sync::store::ConnectionState;

use super::granted::{
    Good, connect_again, counted, granted, order, renewals, renewals_say, revoke, row, stories,
    tell_created,
};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{Connected, World, until};

pub(super) async fn parked(world: &World, host: &Connected) -> String {
    let worker = world.worker();
    until("it is parked", async || world.state(host).await == ConnectionState::Parked).await;
    worker.stop().await;
    row(world, host).await.parked_reason.expect("it says why")
}

/// L7: bookings must not silently fail to appear.
///
/// Fails with: `connection/refresh.rs`, `refused`: `later()` for `Denied::Refused { … }`.
pub(super) async fn who_revokes_access_is_parked_and_drained_once_reconnected(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    revoke(world, &host);
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let reason = parked(world, &host).await;
    assert!(reason.contains("invalid_grant") && reason.contains("connect the account"), "{reason}");
    assert_eq!(renewals(world).len(), 1);
    assert_eq!(counted(world, "calendar_sync_connections_parked_total"), 1);
    assert_eq!(counted(world, "calendar_sync_token_refreshes_total{outcome=\"refused\"}"), 1);
    // Ten updates later nobody has been asked again.
    let knocks = world.host.requests();
    for start in [10, 11, 12, 13, 14] {
        let moved: Vec<_> = stories.iter_mut().map(|story| story.moved(start)).collect();
        world.tell(moved).await;
    }
    let worker = world.worker();
    let lease = world.store.lease(&world.emit.gate, host.id, host.id.0, world.emit.lease).await;
    assert_eq!(lease.expect("the store answers"), None);
    worker.stop().await;
    assert_eq!((world.host.requests(), world.pending().await), (knocks, 2));

    connect_again(world, &host, "another refresh token").await;
    world.drain().await;
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(14); 2]);
    assert_eq!(world.host.verbs(), [Does::Create; 2], "one call for each booking");
    assert!(world.dead_letters().await.is_empty());
}

/// Whatever the token endpoint says: the calendar does not take what it gives.
///
/// Fails with: `emit/access.rs`, `shut_out`: `false` for `was_refused` (it is renewed for ever).
pub(super) async fn access_that_is_new_and_refused_parks(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let refuse = Fault::Refuse(Moment::BeforeApplying, Refusal::api(401, "authError", "No"));
    order(world, Rule::always(refuse).verb(Verb::Insert));
    let mut stories = stories(6);
    tell_created(world, &mut stories).await;
    let reason = parked(world, &host).await;
    assert!(reason.contains("401"), "{reason}");
    assert_eq!(renewals(world).len(), 1);
    assert_eq!(world.pending().await, 6, "all of it is owed");
}

/// Microsoft's `interaction_required`: only the account's owner can answer.
pub(super) async fn a_password_that_is_asked_for_again_parks(world: &mut World) {
    let host = granted(world, Good::None).await;
    let text = "AADSTS50076: Due to a configuration change, you must use multi-factor.";
    let said = renewals_say(world, Refusal::api(400, "interaction_required", text));
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    let reason = parked(world, &host).await;
    assert!(reason.contains("interaction_required"), "{reason}");
    assert!(!reason.contains("multi-factor"), "a description can hold anything: {reason}");
    assert_eq!(said.hits(), 1);
}

/// L17: 403 is no question of the token's age.
pub(super) async fn what_a_token_may_not_do_is_not_mended_by_another(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let reason = match &world.host {
        Host::Google(_) => "insufficientPermissions",
        Host::Microsoft(_) | Host::Caldav(_) => "ErrorAccessDenied",
    };
    let refuse = Fault::Refuse(Moment::BeforeApplying, Refusal::api(403, reason, "No"));
    order(world, Rule::always(refuse).verb(Verb::Insert));
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    parked(world, &host).await;
    assert!(renewals(world).is_empty());
}

fn share(world: &World, host: &Connected, is_writable: bool) {
    let calendar = &host.place.calendar;
    assert!(match &world.host {
        Host::Google(google) => google.share(calendar, is_writable),
        Host::Microsoft(graph) => graph.share(calendar, is_writable),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    });
}

/// L28: what only this calendar's owner can mend is told once, and no booking becomes a dead letter.
///
/// Fails with: `emit/outcome.rs`, `forbidden`: without `requiredAccessLevel`, `ErrorAccessDenied`.
pub(super) async fn a_calendar_that_became_read_only_parks_and_is_drained_once_opened(
    world: &mut World,
) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    share(world, &host, false);
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let reason = parked(world, &host).await;
    assert!(reason.contains("403"), "{reason}");
    assert_eq!(world.pending().await, 2, "all of it is owed");
    share(world, &host, true);
    connect_again(world, &host, "another refresh token").await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    assert!(world.dead_letters().await.is_empty());
}

/// L24: a calendar that is gone is not the same as events that are.
///
/// Fails with: `emit/call.rs`, `unread`: no `closed` for `Reading::CalendarGone`.
pub(super) async fn a_calendar_that_was_deleted_parks_and_nothing_is_given_up(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    assert!(match &world.host {
        Host::Google(google) => google.remove_calendar(&host.place.calendar),
        Host::Microsoft(graph) => graph.remove_calendar(&host.place.calendar),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    });
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let reason = parked(world, &host).await;
    assert!(reason.contains("the calendar is not there"), "{reason}");
    assert_eq!(world.pending().await, 2, "all of it is owed");
    assert!(world.dead_letters().await.is_empty());
}
