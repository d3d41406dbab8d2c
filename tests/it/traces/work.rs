//! The service's own program, with OpenTelemetry's own variables.

use booking::CalendarKind;
use calendar_sync::cli::encode::encode;
use calendar_sync::trace_parent::{HEADER, TraceParent};
use chrono::{DateTime, Utc};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use super::collector::{Collector, Manner, Spoken};
use super::{only, published, somebody, trace_of};
use crate::broker::Broker;
use crate::end_to_end::host::Trouble;
use crate::end_to_end::world::{KEY, PATIENCE, Parts, World, until};
use crate::process::Worker;

/// What the worker is called in its traces.
pub(super) const SERVICE: &str = "bookings-to-calendars";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_tells_all_of_a_booking_before_it_ends() {
    let fact = "run_tells_all_of_a_booking_before_it_ends";
    let collector = Collector::start(Spoken::Grpc, Manner::Takes).await;
    let booking = OneBooking { parts: Parts::Real, ..embedded(fact, &collector, Spoken::Grpc) };
    let Some(Worked { log, .. }) = booking.is_worked_on().await else { return };
    let spans = collector.trace(&trace_of(published(1)));
    let process = spans.iter().find(|span| span.name.starts_with("process "));
    let process = process.unwrap_or_else(|| panic!("it is told of: {log}"));
    assert_eq!(process.parent, format!("{:016x}", 1));
    assert_eq!(process.says("messaging.destination.partition.id"), "0");
    let send = only(&spans, "send google", &process.id);
    let record = only(&spans, "record", &send.id);
    assert_eq!(record.says("calendar_sync.finding"), "present");
    assert_eq!(process.resource["service.name"], SERVICE);
    assert_eq!(process.resource["k8s.pod.name"], "a pod, or two");
    assert!(!log.contains("traces_not_exported"), "{log}");
}

/// OpenTelemetry's own variables are obeyed where they can be, and never keep a worker from its work. From
/// each line of the log there is a way to the trace that it was said in.
///
/// Fails with: `Cargo.toml`: `opentelemetry-otlp` without `gzip-http` or `gzip-tonic`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_takes_the_exporters_own_variables() {
    let fact = "run_takes_the_exporters_own_variables";
    for spoken in [Spoken::Http, Spoken::Grpc] {
        for (compression, used) in [("gzip", "gzip"), ("as small as can be", "")] {
            let collector = Collector::start(spoken, Manner::Takes).await;
            let booking = OneBooking {
                sampler: "parentbased_always_on",
                given: &[("OTEL_EXPORTER_OTLP_COMPRESSION", compression), ("LOG_FORMAT", "json")],
                ..embedded(fact, &collector, spoken)
            };
            let Worked { log, .. } = booking.is_worked_on().await.expect("nothing is missing");
            let spans = collector.trace(&trace_of(published(1)));
            assert!(spans.iter().any(|span| span.name == "record"), "{compression}: {log}");
            assert_eq!(collector.encoding(), used, "{spoken:?}");
            let line = log.lines().find(|line| line.contains("drained a lane"));
            let line = line.expect("it is logged");
            let line: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
            let named = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let drain = collector.trace(&named("trace_id"));
            assert!(drain.iter().any(|span| span.id == named("span_id")), "{line}: {drain:?}");
        }
    }
}

/// Fails with `work.rs`: `exporting.end()` without its time-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_ends_in_time_though_its_collector_is_silent() {
    let fact = "run_ends_in_time_though_its_collector_is_silent";
    for spoken in [Spoken::Http, Spoken::Grpc] {
        let collector = Collector::start(spoken, Manner::Silent).await;
        let worked = embedded(fact, &collector, spoken).is_worked_on().await;
        let Worked { log, .. } = worked.expect("nothing is missing");
        assert!(log.contains("traces_not_exported"), "{log}");
    }
}

/// What is to be worked on, and who is told of it.
pub(super) struct OneBooking<'a> {
    pub(super) parts: Parts,
    pub(super) kind: CalendarKind,
    pub(super) fact: &'static str,
    /// The span that publishes it.
    pub(super) published: TraceParent,
    /// What happens to its first write.
    pub(super) trouble: Option<Trouble>,
    /// Takes traces.
    pub(super) endpoint: &'a str,
    pub(super) spoken: Spoken,
    /// Of those that begin with the worker.
    pub(super) sampler: &'a str,
    /// Further variables.
    pub(super) given: &'a [(&'a str, &'a str)],
}

/// What has come of it.
pub(super) struct Worked {
    pub(super) topic: String,
    /// When publishing began, and when the broker had the record.
    pub(super) published: (DateTime<Utc>, DateTime<Utc>),
    /// The worker's.
    pub(super) log: String,
}

/// One that came from elsewhere, and nothing else is recorded.
fn embedded<'a>(fact: &'static str, collector: &'a Collector, spoken: Spoken) -> OneBooking<'a> {
    OneBooking {
        parts: Parts::Embedded,
        kind: CalendarKind::Google,
        fact,
        published: published(1),
        trouble: None,
        endpoint: &collector.endpoint,
        spoken,
        sampler: "parentbased_always_off",
        given: &[],
    }
}

impl OneBooking<'_> {
    /// A worker reads it, sends it, and ends as it should.
    pub(super) async fn is_worked_on(&self) -> Option<Worked> {
        let world = World::for_processes(self.parts, self.kind, self.fact).await?;
        let broker = Broker::of(&world)?;
        let topic = format!("bookings-{}", world.surroundings.dice.token().simple());
        broker.create(std::slice::from_ref(&topic), 1).await;
        let host = world.connect(1).await;
        let _met = self.trouble.map(|trouble| world.host.order(1, trouble));
        let worker = self.worker(&world, &broker, &topic);
        let clock = &world.surroundings.clock;
        let began = clock.now();
        self.publish(&broker, &topic).await;
        let published = (began, clock.now());
        until("it is applied", async || {
            world.pending().await == 0 && world.shown(&host).await.len() == 1
        })
        .await;
        worker.terminate();
        let (status, log) = worker.ended(PATIENCE).await;
        assert!(status.success(), "{log}");
        broker.end(std::slice::from_ref(&topic)).await;
        world.end().await;
        Some(Worked { topic, published, log })
    }

    fn worker(&self, world: &World, broker: &Broker, topic: &str) -> Worker {
        let ours = [
            ("DATABASE_URL", world.url.as_deref().expect("others find it")),
            ("SECRETS_KEY", KEY),
            ("CALENDAR_SYNC_ENABLED", "true"),
            ("KAFKA_BROKERS", &broker.bootstrap),
            ("KAFKA_TOPIC", topic),
            ("KAFKA_GROUP", topic),
            ("INGEST_LINGER_MS", "0"),
            ("EMIT_IDLE_MS", "20"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.spoken.word()),
            ("OTEL_TRACES_SAMPLER", self.sampler),
            ("OTEL_SERVICE_NAME", SERVICE),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=a%20pod%2C%20or%20two"),
        ];
        Worker::start(ours.into_iter().chain(self.given.iter().copied()))
    }

    async fn publish(&self, broker: &Broker, topic: &str) {
        let event = somebody().created();
        let (payload, parent) = (encode(&event), self.published.to_string());
        let headers = OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&parent) });
        let record =
            FutureRecord::to(topic).key(event.booking.as_str()).payload(&payload).headers(headers);
        broker.producer.send(record, PATIENCE).await.expect("the broker takes a record");
    }
}
