//! What is asked of a calendar, or for access to it, for no event in particular.

use calendar_sync::emit::drift::Policy;

use super::collector::Seen;
use super::{CLIENT, nothing_of_anybody_is_told, told, traced};
use crate::accounts::granted::{Good, granted, stories, tell_created};
use crate::end_to_end::repair::{sweep, swept};
use crate::end_to_end::world::until;

/// Fails with: `emit/lane.rs`, `drain_lane`: `None` for the drain's scope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_and_sweeps_are_told_of_below_their_drain() {
    let fact = "renewals_and_sweeps_are_told_of_below_their_drain";
    let (mut world, collector, exporting) = traced(fact).await;
    sweep(&mut world, Policy::Report);
    let host = granted(&mut world, Good::For(-600, -300)).await;
    tell_created(&mut world, &mut stories(1)).await;
    let worker = world.worker();
    until("it is sent, and was swept", async || {
        world.pending().await == 0 && swept(&world, &host).await.is_some()
    })
    .await;
    worker.stop().await;
    exporting.end().await;
    let spans = collector.spans();
    for (verb, outcome, name) in [("renew", "granted", "POST"), ("list", "page", "GET")] {
        let asked = |span: &&Seen| {
            let said = |attribute| span.attributes.get(attribute).map(String::as_str);
            said("calendar_sync.verb") == Some(verb)
                && said("calendar_sync.outcome") == Some(outcome)
        };
        let made = spans.iter().find(asked);
        let made = made.unwrap_or_else(|| panic!("no {verb} has {outcome}: {}", told(&spans)));
        assert_eq!((made.name.as_str(), made.kind), (name, CLIENT));
        assert_eq!(made.says("http.response.status_code"), "200");
        let drain = spans.iter().find(|span| span.id == made.parent);
        let drain = drain.unwrap_or_else(|| panic!("below a drain: {}", told(&spans)));
        assert_eq!((drain.name.as_str(), &drain.trace), ("drain google", &made.trace));
        assert!(drain.times.0 <= made.times.0 && made.times.1 <= drain.times.1);
    }
    nothing_of_anybody_is_told(&spans);
    world.end().await;
}
