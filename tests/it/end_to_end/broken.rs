//! L27: an impossible state is an error, never a quiet return.

use std::time::Duration;

use booking::{Content, Desired, Effect, Verb};
use calendar_sync::pipeline::redrive::RedriveError;
use calendar_sync::store::{Batch, Committed, InFlight, LaneLease, Stamp};
use uuid::Uuid;

use super::story::{Story, hour, provider};
use super::world::{Connected, World};

async fn lease(world: &World, host: &Connected) -> LaneLease {
    let (gate, token) = (&world.emit.gate, Uuid::from_u128(7));
    let lease = world.store.lease(gate, host.id, token, Duration::from_secs(2)).await;
    lease.expect("the store answers").expect("the lane has work")
}

/// The outbox asks for what no booking shows; a person asks for what is not there.
///
/// Fails with: `store/sqlite/lane.rs`, `read`: `.filter(|_| true)` for the comparison of the
/// digests.
pub(super) async fn an_impossible_state_is_told_and_holds_up_no_other(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let other = Content {
        summary: "what no event ever said".to_owned(),
        description: None,
        location: None,
        start: hour(1),
        end: hour(2),
        zone: chrono_tz::Tz::UTC,
        tentative: false,
    };
    let effect = Effect {
        uid: story.uid(),
        connection: host.id,
        revision: 7,
        desired: Desired::Present(other.digest()),
        verify: false,
    };
    let batch = Batch { effects: vec![effect.into()], ..Batch::default() };
    let committed = world.store.commit(&batch).await.expect("the store answers");
    assert_eq!(committed, Committed::Done);
    let mut healthy = Story::of("healthy", provider(1));
    world.tell([healthy.created()]).await;
    let lane = lease(world, &host).await;
    let due = world.store.due(&lane, 1).await.expect("the store answers");
    let again = world.store.due(&lane, 10).await.expect("the store answers");
    let uids: Vec<_> = due.iter().chain(&again).map(|owed| &owed.uid).collect();
    assert!(uids.iter().all(|uid| **uid == healthy.uid()) && !uids.is_empty(), "{uids:?}");
    assert_eq!(world.pending().await, 2, "and it is not taken for done");
    let missing = world.pipeline().redrive(4_711).await;
    assert!(matches!(missing, Err(RedriveError::Missing { id: 4_711 })), "{missing:?}");
}

/// What is stored as a call on its way is none of ours: it is neither sent nor taken for done.
///
/// Fails with: `emit/frozen.rs`, `parse`: `.or(Some(…))` with an empty `Frozen`.
pub(super) async fn a_call_that_is_not_ours_is_an_error(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let lane = lease(world, &host).await;
    let owed = world.store.due(&lane, 10).await.expect("the store answers").remove(0);
    let digest = owed.desired.as_ref().map(Content::digest);
    let in_flight =
        InFlight { verb: Verb::Create, revision: 0, digest, body: b"not a call".to_vec() };
    let stamp = Stamp { uid: story.uid(), desired_revision: 0, generation: 0, in_flight };
    let stamped = world.store.stamp(&lane, &[stamp]).await.expect("the store answers");
    assert_eq!(stamped, [story.uid()]);
    let worker = world.worker();
    // The lease runs out, the worker takes the call over and reads it back: it is not there.
    super::world::until("it was looked for", async || world.host.requests() >= 2).await;
    worker.stop().await;
    assert!(world.host.attempts().is_empty(), "nothing is sent");
    assert_eq!(world.pending().await, 1, "and nothing is taken for done");
    let rows = world.store.external_events(&story.uid()).await.expect("the store answers");
    assert!(rows.is_empty());
}
