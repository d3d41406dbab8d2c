//! Flags and allowlists: they gate the sending, never the planning (rule R8).

use booking::Verb;
use calendar_sync::store::Gate;

use super::story::{Story, hour, provider};
use super::world::World;

/// `CALENDAR_SYNC_ENABLED`: consume and fold, emit nothing, lose nothing, catch up when on.
///
/// Fails with: `store/sqlite/lane.rs`, `lease`: `if false {` for `if !gate.enabled {`.
pub(super) async fn nothing_is_sent_while_sync_is_off_and_all_of_it_once_it_is_on(
    world: &mut World,
) {
    let host = world.connect(1).await;
    world.emit.gate.enabled = false;
    let worker = world.worker();
    let mut stories: Vec<_> =
        (0..5).map(|number| Story::of(&format!("b{number}"), provider(1))).collect();
    for story in &mut stories {
        world.tell([story.created()]).await;
    }
    world.tell([stories[0].moved(11), stories[1].cancelled()]).await;
    let gate = world.emit.gate.clone();
    let lease = world.store.lease(&gate, host.id, host.id.0, world.emit.lease).await;
    assert_eq!(lease.expect("the store answers"), None, "no lane is to be had");
    worker.stop().await;
    assert_eq!((world.host.requests(), world.pending().await), (0, 4));

    world.emit.gate.enabled = true;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9), hour(9), hour(9), hour(11)]);
    assert_eq!(world.host.verbs(), [Verb::Create; 4]);
}

/// `CALENDAR_ALLOWLIST_PROVIDER_IDS` and `CALENDAR_ALLOWLIST_CONNECTION_IDS`: with both, both must
/// match; empty allows all.
pub(super) async fn only_what_is_on_both_allowlists_is_sent(world: &mut World) {
    let mut hosts = Vec::new();
    for number in 1..=4 {
        hosts.push(world.connect(number).await);
        let mut story = Story::of(&format!("b{number}"), provider(number));
        world.tell([story.created()]).await;
    }
    let ids = |numbers: &[usize]| numbers.iter().map(|at| hosts[*at].id.0).collect::<Vec<_>>();
    let providers =
        |numbers: &[usize]| numbers.iter().map(|at| hosts[*at].provider.0).collect::<Vec<_>>();
    let steps = [
        (providers(&[0, 1]), ids(&[1, 2]), vec![1]),
        (providers(&[0]), Vec::new(), vec![0, 1]),
        (Vec::new(), ids(&[2]), vec![0, 1, 2]),
        (Vec::new(), Vec::new(), vec![0, 1, 2, 3]),
    ];
    for (providers, connections, sent) in steps {
        world.emit.gate = Gate { enabled: true, providers, connections };
        let worker = world.worker();
        let gate = world.emit.gate.clone();
        super::world::until("what may be sent is sent", async || {
            world.store.backlog(&gate, 10).await.expect("the store answers") == 0
        })
        .await;
        worker.stop().await;
        for (at, host) in hosts.iter().enumerate() {
            let expected = usize::from(sent.contains(&at));
            assert_eq!(world.attempts_on(host).len(), expected, "connection {at} of {sent:?}");
        }
    }
}
