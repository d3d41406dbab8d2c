//! What is told, in which words.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU128;

use ::booking::Verb;
use serde_json::json;

use super::classic::classic;
use super::table::ALL;
use super::*;
use crate::consumer::status::Waiting;
use crate::consumer::{PartitionStatus, Phase};
use crate::emit::Renewal;
use crate::emit::meter::Guarded;
use crate::store::{ConnectionState, DriftKind, Owing};

fn three_runs() -> Metrics {
    let metrics = Metrics::default();
    for (applied, failed, ms) in [(2, 0, 3), (0, 1, 80), (5, 0, 400_000)] {
        metrics.ran(Run { applied, failed, duration: Duration::from_millis(ms) });
    }
    metrics
}

/// In which each metric has something to tell.
fn full() -> Metrics {
    let metrics = three_runs();
    let kind = CalendarKind::Google;
    metrics.noticed(Notice::Drift(DriftKind::Copy));
    metrics.noticed(Notice::Drift(DriftKind::Copy));
    metrics.noticed(Notice::Repair(DriftKind::Lost));
    metrics.noticed(Notice::Halted);
    metrics.noticed(Notice::Parked);
    metrics.noticed(Notice::Renewal(Renewal::Later));
    metrics.noticed(Notice::Fenced(Guarded::Record));
    let duration = Duration::from_millis(70);
    metrics.attempted(Attempt { kind, verb: Verb::Create, outcome: "retry", duration });
    let (age, trace) = (Some(Duration::from_secs(42)), NonZeroU128::new(0xab));
    metrics.ended(Ended { kind, verb: Verb::Create, became: Became::Applied, age, trace });
    metrics.ended(Ended { kind, verb: Verb::Update, became: Became::Dead, age, trace });
    metrics.waited(kind, Withheld::Connection, Duration::from_millis(1_500));
    metrics.committed(3, 40, &[PoisonClass::UnknownSchema]);
    let owing = Owing { kind, pending: 7, sent: 5, oldest: Duration::from_secs(90), open: 2 };
    let connections = vec![
        (Some(kind), Some(ConnectionState::Parked), 4),
        (Some(kind), None, 1),
        (None, Some(ConnectionState::Active), 2),
        (None, Some(ConnectionState::Active), 3),
    ];
    let letters = vec![("invalid".to_owned(), 2), ("of_tomorrow".to_owned(), 5)];
    let counted_at = DateTime::from_timestamp_millis(60_500).expect("an hour");
    let tally = Tally { owing: vec![owing], connections, letters, counted_at };
    metrics.counted(Fills { connections: 2, left: 70 }, &tally);
    metrics
}

/// A consumer that is behind.
fn seen() -> Seen {
    let behind = PartitionStatus {
        phase: Phase::Reading,
        cursor: Some(40),
        log_end: Some(50),
        kafka_ahead: None,
        waits_from: None,
        oldest: Some(Waiting { offset: 40, since_ms: 10_000 }),
        is_held: true,
        is_full: false,
    };
    let consumer = Snapshot {
        partitions: BTreeMap::from([(3, behind)]),
        fence_refusals: BTreeMap::from([("commit", 1)]),
        topic_partitions: Some(12),
        ..Snapshot::default()
    };
    let now = DateTime::from_timestamp_millis(70_000).expect("an hour");
    Seen { now, consumer, pool: PoolUse { idle: 2, used: 1, max: 8 } }
}

#[track_caller]
fn assert_lines(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.lines().any(|it| it == *line), "`{line}` is not in:\n{text}");
    }
}

#[test]
fn prometheus_reads_the_names_that_operators_know() {
    let expected = [
        "calendar_sync_runs_total 3",
        "calendar_sync_failures_total 1",
        "calendar_sync_items_processed 7",
        "calendar_sync_latency_ms_sum 400083.0",
        "calendar_sync_latency_ms_count 3",
        "calendar_sync_latency_ms_bucket{le=\"5.0\"} 1",
        "calendar_sync_latency_ms_bucket{le=\"100.0\"} 2",
        "calendar_sync_latency_ms_bucket{le=\"300000.0\"} 2",
        "calendar_sync_latency_ms_bucket{le=\"+Inf\"} 3",
    ];
    let text = three_runs().openmetrics(&Seen::default());
    assert_lines(&text, &expected);
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert_lines(&classic(&text), &expected);
}

#[test]
fn what_was_noticed_is_told_by_its_kind() {
    let metrics = full();
    assert_lines(
        &metrics.openmetrics(&seen()),
        &[
            "calendar_sync_drift_total{kind=\"copy\"} 2",
            "calendar_sync_repairs_total{kind=\"lost\"} 1",
            "calendar_sync_sweeps_halted_total 1",
            "calendar_sync_connections_parked_total 1",
            "calendar_sync_token_refreshes_total{outcome=\"later\"} 1",
            "calendar_sync_connections_filling 2",
            "calendar_sync_fill_events_left 70",
        ],
    );
    let json = metrics.json();
    assert_eq!(json["calendar_sync_drift_total"], json!({ "copy": 2 }));
    assert_eq!(json["calendar_sync_repairs_total"], json!({ "lost": 1 }));
    assert_eq!(json["calendar_sync_sweeps_halted_total"], 1);
    assert_eq!(json["calendar_sync_renewals_total"], json!({ "later": 1 }));
    assert_eq!(json["calendar_sync_connections_parked_total"], 1);
    assert_eq!(json["calendar_sync_connections_filling"], 2);
    assert_eq!(json["calendar_sync_fill_events_left"], 70);
}

#[test]
fn what_reading_and_sending_and_the_database_do_is_told() {
    assert_lines(
        &full().openmetrics(&seen()),
        &[
            "calendar_sync_records_consumed_total{partition=\"3\"} 40",
            "calendar_sync_consumer_lag_records{partition=\"3\"} 10",
            "calendar_sync_consumer_lag_seconds{partition=\"3\"} 60.0",
            "calendar_sync_partitions_assigned 1",
            "calendar_sync_topic_partitions 12",
            "calendar_sync_partitions_paused 1",
            "calendar_sync_partitions_stopped 0",
            "calendar_sync_fence_refusals_total{place=\"commit\"} 1",
            "calendar_sync_fence_refusals_total{place=\"record\"} 1",
            "calendar_sync_fence_refusals_total{place=\"lease\"} 0",
            "calendar_sync_dead_letters_total{class=\"unknown_schema\"} 1",
            "calendar_sync_dead_letters_total{class=\"effect_rejected\"} 1",
            "calendar_sync_effects_total{calendar_provider=\"google\",verb=\"create\",outcome=\"applied\"} 1",
            "calendar_sync_attempts_total{calendar_provider=\"google\",verb=\"create\",outcome=\"retry\"} 1",
            "calendar_sync_attempt_duration_seconds_bucket{le=\"0.1\",calendar_provider=\"google\",verb=\"create\"} 1",
            "calendar_sync_publish_to_applied_seconds_count{calendar_provider=\"google\"} 1",
            "calendar_sync_publish_to_applied_seconds_bucket{le=\"30.0\",calendar_provider=\"google\"} 0",
            "calendar_sync_publish_to_applied_seconds_bucket{le=\"60.0\",calendar_provider=\"google\"} 1 # {trace_id=\"000000000000000000000000000000ab\"} 42.0",
            "calendar_sync_rate_limit_waits_total{calendar_provider=\"google\",limit=\"connection\"} 1",
            "calendar_sync_rate_limit_wait_seconds_total{calendar_provider=\"google\",limit=\"connection\"} 1.5",
            "calendar_sync_effects_pending{calendar_provider=\"google\"} 7",
            "calendar_sync_effects_waiting{calendar_provider=\"google\"} 5",
            "calendar_sync_oldest_pending_age_seconds{calendar_provider=\"google\"} 90.0",
            "calendar_sync_attempts_open{calendar_provider=\"google\"} 2",
            "calendar_sync_connections{calendar_provider=\"google\",state=\"parked\"} 4",
            "calendar_sync_connections{calendar_provider=\"caldav\",state=\"parked\"} 0",
            "calendar_sync_connections{calendar_provider=\"google\",state=\"other\"} 1",
            "calendar_sync_connections{calendar_provider=\"other\",state=\"active\"} 5",
            "calendar_sync_database_counted_timestamp_seconds 60",
            "calendar_sync_dead_letters_waiting{class=\"invalid\"} 2",
            "calendar_sync_dead_letters_waiting{class=\"other\"} 5",
            "calendar_sync_database_connections{state=\"used\"} 1",
            "calendar_sync_database_connections_max 8",
            concat!("calendar_sync_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ],
    );
}

/// Refreshes are seconds apart: a line for each would hide all others.
#[test]
fn a_database_that_cannot_be_counted_is_told_of_now_and_then() {
    let metrics = Metrics::default();
    let told: Vec<u32> = (0..3 * REFRESHES_PER_LINE).filter(|_| metrics.is_news(true)).collect();
    assert_eq!(told, [0, REFRESHES_PER_LINE, 2 * REFRESHES_PER_LINE]);
    let metrics = Metrics::default();
    assert!(!metrics.is_news(false));
    // It comes and goes.
    let told = (0..2 * REFRESHES_PER_LINE).filter(|turn| metrics.is_news(turn % 2 == 0)).count();
    assert_eq!(told, 2);
}

/// The metrics of an exposition in the older format, and the labels of each.
fn exposed(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            name = described.split(' ').next().unwrap_or_default();
            found.entry(name.to_owned()).or_default();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
            let names = labels.split(',').filter_map(|label| label.split_once('='));
            let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            found.get_mut(name).expect("it is described").extend(names);
        }
    }
    found
}

/// The README's table, and whoever holds alerts to it, has the names and labels that there are.
#[test]
fn the_table_has_exactly_the_metrics_and_labels_that_are_told() {
    let told = exposed(&classic(&full().openmetrics(&seen())));
    let names = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let expected: BTreeMap<String, BTreeSet<String>> =
        ALL.iter().map(|it| (it.name.to_owned(), names(it.labels))).collect();
    assert_eq!(told, expected);
}

#[test]
fn json_says_the_same() {
    let json = three_runs().json();
    assert_eq!(json["calendar_sync_runs_total"], 3);
    assert_eq!(json["calendar_sync_failures_total"], 1);
    assert_eq!(json["calendar_sync_items_processed"], 7);
    let latency = &json["calendar_sync_latency_ms"];
    assert_eq!((&latency["count"], &latency["sum"]), (&json!(3), &json!(400_083.0)));
    assert_eq!(latency["buckets"][0], json!({ "le": 5.0, "count": 1 }));
    assert_eq!(latency["buckets"][11], json!({ "le": 300_000.0, "count": 2 }));
}
