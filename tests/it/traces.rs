//! One booking is one trace, from whoever published it to the calendar's answer; and whatever becomes
//! of a collector, the work goes on as without one.

mod collector;

mod drains;

mod trouble;

mod work;

mod jaeger;

use std::time::Duration;

use calendar_sync::config::{OtlpProtocol, TelemetrySettings, TraceSampler};
use calendar_sync::emit::EmitOptions;
use calendar_sync::store::EffectOrigin;
use calendar_sync::telemetry::export::{Counters, Exporting};
use calendar_sync::telemetry::traces;
use calendar_sync::trace_parent::TraceParent;

use crate::end_to_end::host::{Trouble, UNAVAILABLE};
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{GROUP, PUBLISHED_MS, TOPIC, World, embedded, real};
use collector::{Collector, Manner, Seen, Spoken};

/// What OTLP calls the kinds of spans.
const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

/// The trace that begins where the event of this number is published, and the span that publishes it.
fn published(number: u8) -> TraceParent {
    let text = format!("00-{:032x}-{:016x}-01", 0xabc0_u128 + u128::from(number), number);
    TraceParent::parse(text.as_bytes()).expect("it is a trace")
}

fn trace_of(parent: TraceParent) -> String {
    format!("{:032x}", parent.trace)
}

/// Traces to a collector, all of them.
fn settings(endpoint: &str, spoken: Spoken) -> TelemetrySettings {
    TelemetrySettings {
        endpoint: Some(endpoint.parse().expect("a URL")),
        protocol: match spoken {
            Spoken::Grpc => OtlpProtocol::Grpc,
            Spoken::Http => OtlpProtocol::Http,
        },
        sampler: TraceSampler::ParentRatio,
        ratio: 1.0,
        service_name: "calendar-sync".to_owned(),
        attributes: vec![("k8s.pod.name".to_owned(), "calendar-sync-7f9c-x2x".to_owned())],
    }
}

/// A booking that tells of somebody whom no trace may tell of.
fn somebody() -> Story {
    let mut story = Story::of("a", provider(1));
    story.details.title = Some("Couples' therapy".to_owned());
    story.details.customer_name = Some("Ada Lovelace".to_owned());
    story.details.customer_email = Some("ada@example.org".to_owned());
    story
}

/// From now on a world's parts tell this collector of what they do.
fn trace(world: &mut World, collector: &Collector, spoken: Spoken) -> (Exporting, Counters) {
    let counters = Counters::default();
    let settings = settings(&collector.endpoint, spoken);
    let (tracer, exporting) = traces::start(&settings, &world.surroundings, counters.clone());
    world.tracer = tracer;
    (exporting.expect("there is a collector"), counters)
}

/// A world that tells a collector of its own, over HTTP, of all it does.
async fn traced(fact: &'static str) -> (World, Collector, Exporting) {
    let mut world = embedded(fact).await.expect("nothing is missing");
    let collector = Collector::start(Spoken::Http, Manner::Takes).await;
    let (exporting, _) = trace(&mut world, &collector, Spoken::Http);
    (world, collector, exporting)
}

/// The one span of that name below `parent`.
#[track_caller]
fn only<'s>(spans: &'s [Seen], name: &str, parent: &str) -> &'s Seen {
    let mut found = spans.iter().filter(|span| span.name == name && span.parent == parent);
    let one = found.next().unwrap_or_else(|| panic!("no {name} below {parent}: {}", told(spans)));
    assert!(found.next().is_none(), "one {name} below {parent}: {}", told(spans));
    one
}

/// The names of what a span is linked to.
fn linked(all: &[Seen], span: &Seen) -> Vec<String> {
    let of = |(trace, id): &(String, String)| {
        let found = all.iter().find(|span| span.trace == *trace && span.id == *id);
        found.unwrap_or_else(|| panic!("{id} is told of: {}", told(all))).name.clone()
    };
    span.links.iter().map(of).collect()
}

fn told(spans: &[Seen]) -> String {
    let line = |span: &Seen| format!("{} {} below {}\n", span.name, span.id, span.parent);
    spans.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_is_one_trace_over_http() {
    let world = embedded("a_booking_is_one_trace_over_http").await;
    a_booking_is_one_trace(world, Spoken::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_is_one_trace_over_grpc() {
    let world = real("a_booking_is_one_trace_over_grpc").await;
    a_booking_is_one_trace(world, Spoken::Grpc).await;
}

async fn a_booking_is_one_trace(world: Option<World>, spoken: Spoken) {
    let Some(mut world) = world else { return };
    let collector = Collector::start(spoken, Manner::Takes).await;
    let (exporting, counters) = trace(&mut world, &collector, spoken);
    world.connect(1).await;
    world.publish_from(published(1), somebody().created());
    world.read(10).await;
    world.drain().await;
    exporting.end().await;
    assert_eq!((counters.dropped(), counters.failures()), (0, 0));

    let spans = collector.trace(&trace_of(published(1)));
    let process = is_told_of_its_reading(&spans, TOPIC, GROUP, &format!("{:016x}", 1));
    let kind = world.host.kind().name();
    is_told_of_its_call(&spans, &collector.spans(), process, kind);
    let all = collector.spans();
    let batch = only(&all, &format!("poll {TOPIC}"), "");
    assert_eq!(batch.says("messaging.batch.message_count"), "1");
    assert_eq!(batch.links, [(process.trace.clone(), process.id.clone())]);
    assert_eq!(process.links, [(batch.trace.clone(), batch.id.clone())]);
    for (name, value) in [
        ("service.name", "calendar-sync"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.pod.name", "calendar-sync-7f9c-x2x"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(process.resource.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(process.resource["service.instance.id"].len(), 36);
    nothing_of_anybody_is_told(&all);
    world.end().await;
}

/// Below the span that published it, the record's own; and below that its steps.
#[track_caller]
fn is_told_of_its_reading<'s>(
    spans: &'s [Seen],
    topic: &str,
    group: &str,
    publish: &str,
) -> &'s Seen {
    let process = only(spans, &format!("process {topic}"), publish);
    assert_eq!(process.kind, CONSUMER);
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", topic),
        ("messaging.destination.partition.id", "0"),
        ("messaging.kafka.offset", "0"),
        ("messaging.consumer.group.name", group),
        ("calendar_sync.booking_id", "a"),
        ("calendar_sync.decision", "visible"),
    ] {
        assert_eq!(process.says(name), value, "{name}");
    }
    let poll = only(spans, &format!("poll {topic}"), &process.id);
    let fold = only(spans, "fold", &process.id);
    let commit = only(spans, &format!("commit {topic}"), &process.id);
    assert_eq!((poll.kind, fold.kind, commit.kind), (CLIENT, INTERNAL, CLIENT));
    for of_kafka in [poll, commit] {
        assert_eq!(of_kafka.says("messaging.destination.partition.id"), "0");
    }
    assert!(poll.times.1 <= fold.times.0 && fold.times.1 <= commit.times.0, "one after the other");
    assert!(commit.times.1 <= process.times.1);
    process
}

/// Below the record's own span: the wait for its turn in its lane, then the effect's, each attempt, and
/// what was recorded.
#[track_caller]
fn is_told_of_its_call(spans: &[Seen], all: &[Seen], process: &Seen, kind: &str) {
    let send = only(spans, &format!("send {kind}"), &process.id);
    assert_eq!(send.says("calendar_sync.verb"), "create");
    let lane = only(spans, "lane", &process.id);
    let record = only(spans, "record", &send.id);
    assert_eq!(record.says("calendar_sync.finding"), "present");
    let attempts: Vec<&Seen> =
        spans.iter().filter(|span| span.parent == send.id && span.kind == CLIENT).collect();
    let made = attempts.last().expect("the calendar was asked");
    for (name, value) in [
        ("calendar_sync.verb", "create"),
        ("calendar_sync.outcome", "applied"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(made.says(name), value, "{name}");
    }
    assert!(["200", "201"].contains(&made.says("http.response.status_code")), "{made:?}");
    assert!(["POST", "PUT"].contains(&made.name.as_str()), "{made:?}");
    assert_eq!(made.says("http.request.method"), made.name);
    assert!(lane.times.1 <= made.times.0 && made.times.1 <= record.times.0, "in this order");
    assert!(send.times.0 <= made.times.0 && record.times.1 <= send.times.1, "within it");
    // What serves many is a trace of its own.
    assert_eq!(linked(all, send), [format!("drain {kind}")]);
    assert_eq!(linked(all, lane), [format!("drain {kind}")]);
}

/// Neither what a calendar shows, nor whose it is, nor what opens it, nor where an event is.
#[track_caller]
fn nothing_of_anybody_is_told(spans: &[Seen]) {
    for span in spans {
        for word in [
            "therapy",
            "Lovelace",
            "Ada",
            "ada@",
            "example.org",
            "Massage",
            "Bearer",
            "Basic",
            "token",
            "password",
            "/calendars",
            "/events",
            ".ics",
            "http://",
        ] {
            assert!(!span.whole.contains(word), "{word} is in {}", span.whole);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_that_coalesce_are_linked() {
    let (mut world, collector, exporting) = traced("updates_that_coalesce_are_linked").await;
    world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.publish_from(published(1), story.created());
    world.read(10).await;
    world.publish_from(published(2), story.moved(11));
    world.publish_from(published(3), story.moved(12));
    world.read(10).await;
    world.drain().await;
    exporting.end().await;
    let process = |number: u8| {
        let spans = collector.trace(&trace_of(published(number)));
        only(&spans, &format!("process {TOPIC}"), &format!("{number:016x}")).clone()
    };
    let (first, second, third) = (process(1), process(2), process(3));
    let all = collector.spans();
    let sent: Vec<&Seen> = all.iter().filter(|span| span.name == "send google").collect();
    let [send] = sent.as_slice() else { panic!("one call: {}", told(&all)) };
    assert_eq!((&send.trace, &send.parent), (&third.trace, &third.id), "the newest goes on");
    let others = [&second, &first].map(|span| (span.trace.clone(), span.id.clone()));
    assert_eq!(send.links[..2], others);
    assert_eq!(linked(&all, send)[2..], ["drain google"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_again_by_another_worker_is_in_the_same_trace() {
    let fact = "what_is_tried_again_by_another_worker_is_in_the_same_trace";
    let (mut world, collector, exporting) = traced(fact).await;
    world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.publish_from(published(1), story.created());
    world.read(10).await;
    // It takes effect, and whoever has sent it does not live to see the answer.
    let held = world.host.order(1, Trouble::AnswerHeld);
    let first = world.worker_with(EmitOptions {
        lease: Duration::from_secs(2),
        call_timeout: Duration::from_millis(900),
        ..world.emit.clone()
    });
    held.wait_held().await;
    first.kill().await;
    held.withdraw();
    world.drain().await;
    exporting.end().await;
    let spans = collector.trace(&trace_of(published(1)));
    let process = only(&spans, &format!("process {TOPIC}"), &format!("{:016x}", 1));
    let send = only(&spans, "send google", &process.id);
    let settle = only(&spans, "settle google", &process.id);
    assert!(send.times.0 < settle.times.0);
    let record = only(&spans, "record", &settle.id);
    assert_eq!(record.says("calendar_sync.finding"), "present");
    let read = spans.iter().find(|span| span.parent == settle.id && span.kind == CLIENT);
    let read = read.expect("it was read back");
    assert_eq!(
        (read.says("calendar_sync.verb"), read.says("calendar_sync.outcome")),
        ("read", "live")
    );
    assert!(spans.iter().all(|span| span.name != "record" || span.parent != send.id));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_says_what_came_of_it() {
    let (mut world, collector, exporting) = traced("each_attempt_says_what_came_of_it").await;
    world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    let _out_of_order = world.host.order(1, UNAVAILABLE);
    world.publish_from(published(1), story.created());
    world.read(10).await;
    world.drain().await;
    exporting.end().await;
    let spans = collector.trace(&trace_of(published(1)));
    let posts: Vec<&Seen> = spans.iter().filter(|span| span.name == "POST").collect();
    let said: Vec<_> = posts
        .iter()
        .map(|post| (post.says("http.response.status_code"), post.says("calendar_sync.outcome")))
        .collect();
    assert_eq!(said.first(), Some(&("503", "unknown")), "{}", told(&spans));
    assert_eq!(said.last().map(|(_, outcome)| *outcome), Some("applied"), "{}", told(&spans));
    assert_eq!(posts[0].says("error.type"), "503");
    world.end().await;
}

/// What the booking service does not record is not recorded here, and its trace goes on all the same:
/// whoever comes after may have another mind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recorded_is_passed_on() {
    let (mut world, collector, exporting) = traced("what_is_not_recorded_is_passed_on").await;
    let unrecorded = TraceParent { flags: 0, ..published(1) };
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.publish_from(unrecorded, story.created());
    world.read(10).await;
    let lease = world.store.lease(
        &world.emit.gate,
        host.id,
        world.surroundings.dice.token(),
        Duration::from_secs(30),
    );
    let lease = lease.await.expect("the store answers").expect("the lane has work");
    let due = world.store.due(&lease, 10).await.expect("the store answers");
    let from = EffectOrigin::new(Some(unrecorded), PUBLISHED_MS);
    assert_eq!(due[0].origin, from, "as it came");
    let rest = Duration::ZERO;
    let _released = world.store.release(&lease, rest, None).await.expect("the store answers");
    world.drain().await;
    exporting.end().await;
    assert_eq!(told(&collector.trace(&trace_of(unrecorded))), "");
    let drains: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(drains.contains(&"drain google".to_owned()), "{drains:?}");
    world.end().await;
}
