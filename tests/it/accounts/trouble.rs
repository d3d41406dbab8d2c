//! Token endpoints that are away or talk nonsense, and settings that are wrong: a delay, and nobody's
//! work but the operator's.

use std::time::Duration;

use booking::Verb as Does;
use calendar_sync::connection::Kept;
use calendar_sync::connection::kept::Grant;
use calendar_sync::emulator::{Fault, Moment, Refusal, Rule, Verb};
use calendar_sync::store::ConnectionState;
use chrono::TimeDelta;

use super::granted::{
    Good, SECRET, counted, granted, order, renewals, renewals_say, row, set_secret, stored,
    stories, tell_created,
};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{Connected, World, sealer, until};

/// Waits until access could not be renewed so often.
async fn fails(world: &World, host: &Connected, times: i32) {
    until("it could not be renewed", async || row(world, host).await.renewal_failures >= times)
        .await;
}

/// One slip of an operator's is no reason to ask every host for her consent.
///
/// Fails with: `connection/accounts.rs`, `renew`: `Unrenewed::Person` for `Unrenewed::Process`.
pub(super) async fn a_wrong_client_secret_parks_nobody_and_is_told(world: &mut World) {
    let host = granted(world, Good::None).await;
    set_secret(&world.host, "another one");
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    let worker = world.worker();
    fails(world, &host, 3).await;
    let told = row(world, &host).await;
    assert_eq!(told.state, ConnectionState::Active);
    let error = told.renewal_error.expect("it is told");
    assert!(error.contains("invalid_client") && error.contains("client_id"), "{error}");
    assert!(counted(world, "calendar_sync_token_refreshes_total{outcome=\"misconfigured\"}") >= 3);
    assert_eq!(counted(world, "calendar_sync_connections_parked_total"), 0);
    assert_eq!(world.pending().await, 2);
    set_secret(&world.host, SECRET);
    until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    let told = row(world, &host).await;
    assert_eq!((told.renewal_failures, told.renewal_error), (0, None));
}

/// A grant is good for the client that it was given to alone (RFC 6749 §6): a slip in the settings is told,
/// nobody is asked, and all goes on once it is mended.
///
/// Fails with: `connection/token_endpoint.rs`, `refresh`: without the look at `grant.client`; and without
/// `client: Some(…)` in what it answers.
pub(super) async fn a_client_that_access_was_not_granted_to_parks_nobody(world: &mut World) {
    let host = granted(world, Good::None).await;
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    world.drain().await;
    forget_access(world, &host).await;
    let ours = change_client(world, "another-client");
    let asked = renewals(world).len();
    let moved: Vec<_> = stories.iter_mut().map(|story| story.moved(10)).collect();
    world.tell(moved).await;
    let worker = world.worker();
    fails(world, &host, 1).await;
    worker.stop().await;
    let told = row(world, &host).await;
    let error = told.renewal_error.expect("it is told");
    assert!(error.contains(&ours) && error.contains("another-client"), "{error}");
    assert_eq!(told.state, ConnectionState::Active);
    assert_eq!(renewals(world).len(), asked, "what cannot be is not asked for");
    change_client(world, &ours);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(10); 2]);
    assert_eq!(renewals(world).len(), asked + 1);
}

/// What it was renewed to is gone, and by what it is renewed is not.
async fn forget_access(world: &World, host: &Connected) {
    let former = row(world, host).await.sealed;
    let grant = Grant { access: None, ..stored(world, host).await };
    let dice = world.surroundings.dice.as_ref();
    let without = sealer().seal(host.id, &Kept::Grant(grant), dice).expect("it is sealed");
    let swapped = world.store.swap_credentials(host.id, &former, &without).await;
    assert!(swapped.expect("the store answers"), "nobody else changes them");
}

/// Sets another client, which the provider knows as well; answers the one before.
fn change_client(world: &mut World, id: &str) -> String {
    let client = match &world.host {
        Host::Google(google) => {
            google.set_client(id, Some(SECRET));
            &mut world.oauth.google
        }
        Host::Microsoft(graph) => {
            graph.set_client(id, Some(SECRET));
            &mut world.oauth.microsoft
        }
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    };
    std::mem::replace(&mut client.as_mut().expect("it was set up").id, id.to_owned())
}

/// A worker that was started without it, beside others that have it.
pub(super) async fn a_client_that_is_not_set_parks_nobody(world: &mut World) {
    let host = granted(world, Good::None).await;
    let (google, microsoft) = (world.oauth.google.take(), world.oauth.microsoft.take());
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    let worker = world.worker();
    fails(world, &host, 1).await;
    worker.stop().await;
    assert!(renewals(world).is_empty());
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    (world.oauth.google, world.oauth.microsoft) = (google, microsoft);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// Each in turn, and the last try is answered.
///
/// Fails with: `connection/refresh.rs`, `answered`: `Denied::Refused` for `Read::Nothing`.
pub(super) async fn a_token_endpoint_in_trouble_costs_a_delay(world: &mut World) {
    let host = granted(world, Good::None).await;
    let before = |refusal| Fault::Refuse(Moment::BeforeApplying, refusal);
    let long = Refusal { message: "x".repeat(200_000), ..Refusal::proxy_error(200) };
    let troubles = [
        before(Refusal::api(503, "temporarily_unavailable", "AADSTS90033: A transient error")),
        before(Refusal::api(400, "temporarily_unavailable", "AADSTS90033: A transient error")),
        before(Refusal::proxy_error(502)),
        before(Refusal::proxy_error(200)),
        before(Refusal::proxy_error(403)),
        before(Refusal::too_many_requests(None)),
        before(long),
        Fault::HangUp(Moment::BeforeApplying),
        Fault::HangUp(Moment::AfterApplying),
        Fault::Truncate,
    ];
    let count = troubles.len();
    for trouble in troubles {
        order(world, Rule::next(1, trouble).verb(Verb::Token));
    }
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    world.drain().await;
    assert_eq!(renewals(world).len(), count + 1);
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(row(world, &host).await.renewal_failures, 0);
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    assert_eq!(world.host.verbs(), [Does::Create; 2]);
    assert!(world.dead_letters().await.is_empty());
    let later = counted(world, "calendar_sync_token_refreshes_total{outcome=\"later\"}");
    assert_eq!(later, u64::try_from(count).expect("a small number"));
}

/// Fails with: `emit/access.rs`, `renew_access`: `rest: pause`.
pub(super) async fn a_pause_that_the_token_endpoint_asks_for_is_obeyed(world: &mut World) {
    let host = granted(world, Good::None).await;
    let refuse = Fault::Refuse(Moment::BeforeApplying, Refusal::too_many_requests(Some(2)));
    order(world, Rule::next(1, refuse).verb(Verb::Token));
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    world.drain().await;
    let asked = renewals(world);
    assert_eq!(asked.len(), 2);
    let waited = asked[1].at - asked[0].at;
    assert!(waited >= TimeDelta::seconds(2), "{waited}");
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// It is renewed some minutes early, so that a token endpoint may be away for some minutes.
pub(super) async fn what_is_good_still_is_used_while_it_cannot_be_renewed(world: &mut World) {
    let host = granted(world, Good::For(-1, 240)).await;
    let away = renewals_say(world, Refusal::proxy_error(503));
    let mut stories = stories(3);
    tell_created(world, &mut stories).await;
    world.drain().await;
    assert!(away.hits() >= 1);
    assert_eq!(world.starts(&host).await, [hour(9); 3]);
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert!(row(world, &host).await.renewal_failures >= 1, "it is told");
}

/// Whether it was renewed, nobody knows: what it was to be renewed by is tried again.
pub(super) async fn an_answer_that_was_lost_is_asked_for_again(world: &mut World) {
    let host = granted(world, Good::None).await;
    let lost = Fault::HangUp(Moment::AfterApplying);
    order(world, Rule::next(3, lost).verb(Verb::Token));
    world.emit.backoff.delay_max = Duration::from_millis(50);
    let mut stories = stories(1);
    tell_created(world, &mut stories).await;
    world.drain().await;
    let used: Vec<_> = renewals(world).iter().map(super::granted::renewed_by).collect();
    assert_eq!(used, [super::granted::REFRESH_TOKEN; 4]);
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(9)]);
}
