//! A collector that is down, silent, out of order or no collector at all: nobody waits for it.

use std::time::Duration;

use calendar_sync::telemetry::export::{BATCH_MAX, END_MAX, QUEUE_MAX};
use calendar_sync::telemetry::tracer::{NewSpan, SpanKind};

use super::collector::{Collector, Manner, Spoken};
use super::{published, trace};
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{World, embedded, until};

/// So many bookings are worked on meanwhile.
const BOOKINGS: u8 = 12;

/// What everything that is not waited for may take beside: the machine may be busy.
const AIR: Duration = Duration::from_secs(5);

/// How long something takes.
async fn timed(world: &World, what: impl Future<Output = ()>) -> Duration {
    let clock = &world.surroundings.clock;
    let before = clock.elapsed();
    what.await;
    clock.elapsed().saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_work_goes_on_and_what_is_lost_is_counted() {
    goes_on_and_counts(Manner::Down).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_fails_stops_nothing_and_what_is_lost_is_counted() {
    goes_on_and_counts(Manner::Failing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_talks_nonsense_stops_nothing_and_what_is_lost_is_counted() {
    goes_on_and_counts(Manner::Nonsense).await;
}

async fn goes_on_and_counts(manner: Manner) {
    for spoken in [Spoken::Http, Spoken::Grpc] {
        let mut world = embedded("a_collector_in_trouble").await.expect("nothing is missing");
        let collector = Collector::start(spoken, manner).await;
        let (exporting, counters) = trace(&mut world, &collector, spoken);
        let host = world.connect(1).await;
        for number in 1..=BOOKINGS {
            let mut story = Story::of(&format!("b{number}"), provider(1));
            world.publish_from(published(number), story.created());
        }
        world.read(5).await;
        world.drain().await;
        assert_eq!(world.shown(&host).await.len(), usize::from(BOOKINGS), "{manner:?} {spoken:?}");
        // Each booking has a span for its record, for its steps, and for its call.
        let least = 5 * u64::from(BOOKINGS);
        until("what is lost is counted", async || {
            counters.failures() > 0 && counters.dropped() >= least
        })
        .await;
        let ended = timed(&world, exporting.end()).await;
        assert!(ended < END_MAX + AIR, "{manner:?} {spoken:?}: {ended:?}");
        assert_eq!(collector.spans().len(), 0, "{manner:?} {spoken:?}");
        world.end().await;
    }
}

/// Nothing is waited for where spans end: not even for room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_collector_holds_up_neither_the_work_nor_the_end() {
    for spoken in [Spoken::Http, Spoken::Grpc] {
        let mut world = embedded("a_silent_collector").await.expect("nothing is missing");
        let collector = Collector::start(spoken, Manner::Silent).await;
        let (exporting, counters) = trace(&mut world, &collector, spoken);
        let host = world.connect(1).await;
        let many = async {
            for _ in 0..QUEUE_MAX + 2 * BATCH_MAX {
                drop(world.tracer.begin(NewSpan::new("one of many", SpanKind::Internal)));
            }
        };
        let begun = timed(&world, many).await;
        assert!(begun < AIR, "{begun:?}");
        assert!(counters.dropped() > 0, "the queue is full");
        let mut story = Story::of("a", provider(1));
        world.publish_from(published(1), story.created());
        world.read(5).await;
        world.drain().await;
        assert_eq!(world.shown(&host).await.len(), 1);
        let ended = timed(&world, exporting.end()).await;
        assert!(ended < END_MAX + AIR, "{ended:?}");
        // What ends afterwards finds nobody, and is counted as well.
        let dropped = counters.dropped();
        drop(world.tracer.begin(NewSpan::new("a late one", SpanKind::Internal)));
        assert_eq!(counters.dropped(), dropped + 1);
        world.end().await;
    }
}
