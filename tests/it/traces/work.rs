//! The service's own program, with OpenTelemetry's own variables.

use booking::CalendarKind;
use calendar_sync::cli::encode::encode;
use calendar_sync::trace_parent::HEADER;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use super::collector::{Collector, Manner, Spoken};
use super::{only, published, trace_of};
use crate::broker::Broker;
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{KEY, PATIENCE, Parts, World, until};
use crate::process::Worker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_tells_all_of_a_booking_before_it_ends() {
    let fact = "run_tells_all_of_a_booking_before_it_ends";
    let collector = Collector::start(Spoken::Grpc, Manner::Takes).await;
    let Some(log) = one_booking(Parts::Real, fact, &collector, Spoken::Grpc, &[]).await else {
        return;
    };
    let spans = collector.trace(&trace_of(published(1)));
    let process = spans.iter().find(|span| span.name.starts_with("process "));
    let process = process.unwrap_or_else(|| panic!("it is told of: {log}"));
    assert_eq!(process.parent, format!("{:016x}", 1));
    assert_eq!(process.says("messaging.destination.partition.id"), "0");
    let send = only(&spans, "send google", &process.id);
    let record = only(&spans, "record", &send.id);
    assert_eq!(record.says("calendar_sync.finding"), "present");
    assert_eq!(process.resource["service.name"], "bookings-to-calendars");
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
            let given = &[
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
                ("LOG_FORMAT", "json"),
            ];
            let log = one_booking(Parts::Embedded, fact, &collector, spoken, given).await;
            let log = log.expect("nothing is missing");
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
        let log = one_booking(Parts::Embedded, fact, &collector, spoken, &[]).await;
        let log = log.expect("nothing is missing");
        assert!(log.contains("traces_not_exported"), "{log}");
    }
}

/// A worker reads one booking, sends it, and ends as it should. Answers its log.
async fn one_booking(
    parts: Parts,
    fact: &'static str,
    collector: &Collector,
    spoken: Spoken,
    given: &[(&'static str, &'static str)],
) -> Option<String> {
    let world = World::for_processes(parts, CalendarKind::Google, fact).await?;
    let broker = Broker::of(&world)?;
    let topic = format!("bookings-{}", world.surroundings.dice.token().simple());
    broker.create(std::slice::from_ref(&topic), 1).await;
    let host = world.connect(1).await;
    let url = world.url.clone().expect("others find it");
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("SECRETS_KEY", KEY),
        ("CALENDAR_SYNC_ENABLED", "true"),
        ("KAFKA_BROKERS", &broker.bootstrap),
        ("KAFKA_TOPIC", &topic),
        ("KAFKA_GROUP", &topic),
        ("INGEST_LINGER_MS", "0"),
        ("EMIT_IDLE_MS", "20"),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", spoken.word()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ("OTEL_SERVICE_NAME", "bookings-to-calendars"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=a%20pod%2C%20or%20two"),
    ];
    let worker = Worker::start(variables.into_iter().chain(given.iter().copied()));
    let event = Story::of("a", provider(1)).created();
    let (payload, parent) = (encode(&event), published(1).to_string());
    let headers = OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&parent) });
    let record =
        FutureRecord::to(&topic).key(event.booking.as_str()).payload(&payload).headers(headers);
    broker.producer.send(record, PATIENCE).await.expect("the broker takes a record");
    until("it is applied", async || {
        world.pending().await == 0 && world.shown(&host).await.len() == 1
    })
    .await;
    worker.terminate();
    let (status, log) = worker.ended(PATIENCE).await;
    assert!(status.success(), "{log}");
    broker.end(&[topic]).await;
    world.end().await;
    Some(log)
}
