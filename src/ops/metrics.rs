//! What operators count, under the names that they already know: as JSON, and for Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::emit::{Notice, Renewal, Run, RunMeter};
use crate::store::{DriftKind, Fills};
use crate::telemetry::export::Counters;

/// What [`Metrics::prometheus`] is: the text format of `OpenMetrics` 1.0, which Prometheus reads.
pub const PROMETHEUS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bounds of the buckets of a run's time, in milliseconds: one call to a calendar takes some
/// 100 ms, a long drain minutes.
const LATENCY_BUCKETS_MS: [f64; 12] =
    [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0, 60_000.0, 300_000.0];

/// The counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Counter,
    failures: Counter,
    items: Items,
    latency_ms: Latency,
    drift: Family<Kind, Counter>,
    repairs: Family<Kind, Counter>,
    sweeps_halted: Counter,
    renewals: Family<Outcome, Counter>,
    parked: Counter,
    filling: Gauge,
    fill_left: Gauge,
    untraced: Counters,
}

/// What came of asking for new access.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Outcome {
    fn of(renewal: Renewal) -> Self {
        Self { outcome: renewal.name() }
    }
}

/// What a calendar showed otherwise: of a few kinds, and of no one's calendar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Kind {
    fn of(kind: DriftKind) -> Self {
        Self { kind: kind.name() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (runs, failures, items) = (Counter::default(), Counter::default(), Items::default());
        let latency_ms = Latency::new();
        // The encoder adds `_total` to a counter's name.
        registry.register(
            "calendar_sync_runs",
            "Drains of a connection's outbox that found at least one effect due",
            runs.clone(),
        );
        registry.register(
            "calendar_sync_failures",
            "Calls that a calendar refused, or did not answer in a way that settles them",
            failures.clone(),
        );
        registry.register(
            "calendar_sync_items_processed",
            "Effects that a calendar has acknowledged",
            items.clone(),
        );
        registry.register(
            "calendar_sync_latency_ms",
            "How long such a drain took, in milliseconds",
            latency_ms.histogram.clone(),
        );
        let (drift, repairs) = (Family::<Kind, Counter>::default(), Family::default());
        let sweeps_halted = Counter::default();
        registry.register(
            "calendar_sync_drift",
            "Events found otherwise in a calendar than we left them, and left so",
            drift.clone(),
        );
        registry.register(
            "calendar_sync_repairs",
            "Events found otherwise in a calendar than we left them, and put right",
            repairs.clone(),
        );
        registry.register(
            "calendar_sync_sweeps_halted",
            "Sweeps that halted because too many events were gone",
            sweeps_halted.clone(),
        );
        let (renewals, parked) = (Family::<Outcome, Counter>::default(), Counter::default());
        registry.register(
            "calendar_sync_renewals",
            "Times that new access to an account was asked for, by what came of it",
            renewals.clone(),
        );
        registry.register(
            "calendar_sync_connections_parked",
            "Connections that began to wait for a person",
            parked.clone(),
        );
        let (filling, fill_left) = fills(&mut registry);
        let untraced = Counters::default();
        untraced.register(&mut registry);
        Self {
            registry,
            runs,
            failures,
            items,
            latency_ms,
            drift,
            repairs,
            sweeps_halted,
            renewals,
            parked,
            filling,
            fill_left,
            untraced,
        }
    }
}

/// How many connections are being filled, and what they lack.
fn fills(registry: &mut Registry) -> (Gauge, Gauge) {
    let (filling, left) = (Gauge::default(), Gauge::default());
    registry.register(
        "calendar_sync_connections_filling",
        "Connections that still lack some of the upcoming events that they are filled with",
        filling.clone(),
    );
    registry.register(
        "calendar_sync_fill_events_left",
        "Upcoming events that they lack",
        left.clone(),
    );
    (filling, left)
}

impl Metrics {
    /// What the database says of fills: every process tells the same of them.
    pub fn counted(&self, fills: Fills) {
        self.filling.set(fills.connections);
        self.fill_left.set(fills.left);
    }

    /// What of the traces did not get through.
    pub fn untraced(&self) -> Counters {
        self.untraced.clone()
    }

    /// For Prometheus: see [`PROMETHEUS_TYPE`].
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a text takes any text");
        text
    }

    /// The counters as a JSON object; the times as a histogram: how many runs took at most so many
    /// milliseconds (`le`).
    pub fn json(&self) -> Value {
        json!({
            "calendar_sync_runs_total": self.runs.get(),
            "calendar_sync_failures_total": self.failures.get(),
            "calendar_sync_items_processed": self.items.0.get(),
            "calendar_sync_latency_ms": self.latency_ms.json(),
            "calendar_sync_drift_total": by_kind(&self.drift),
            "calendar_sync_repairs_total": by_kind(&self.repairs),
            "calendar_sync_sweeps_halted_total": self.sweeps_halted.get(),
            "calendar_sync_renewals_total": self.renewals_json(),
            "calendar_sync_connections_parked_total": self.parked.get(),
            "calendar_sync_connections_filling": self.filling.get(),
            "calendar_sync_fill_events_left": self.fill_left.get(),
        })
    }

    fn renewals_json(&self) -> Value {
        let counted = Renewal::ALL.into_iter().filter_map(|renewal| {
            let count = self.renewals.get(&Outcome::of(renewal))?.get();
            Some((renewal.name().to_owned(), json!(count)))
        });
        Value::Object(counted.collect())
    }
}

/// Each kind that was counted, and how often.
fn by_kind(family: &Family<Kind, Counter>) -> Value {
    let counted = DriftKind::ALL.into_iter().filter_map(|kind| {
        let count = family.get(&Kind::of(kind))?.get();
        Some((kind.name().to_owned(), json!(count)))
    });
    Value::Object(counted.collect())
}

impl RunMeter for Metrics {
    fn ran(&self, run: Run) {
        self.runs.inc();
        self.failures.inc_by(u64::from(run.failed));
        self.items.0.inc_by(u64::from(run.applied));
        self.latency_ms.observe(run.duration);
    }

    fn noticed(&self, notice: Notice) {
        match notice {
            Notice::Drift(kind) => self.drift.get_or_create(&Kind::of(kind)).inc(),
            Notice::Repair(kind) => self.repairs.get_or_create(&Kind::of(kind)).inc(),
            Notice::Halted => self.sweeps_halted.inc(),
            Notice::Parked => self.parked.inc(),
            Notice::Renewal(renewal) => self.renewals.get_or_create(&Outcome::of(renewal)).inc(),
        };
    }
}

/// A counter whose name has no `_total`, which `OpenMetrics` demands of one: told as a number of no
/// known kind.
#[derive(Debug, Clone, Default)]
struct Items(Counter);

impl EncodeMetric for Items {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}

/// Times, each in every bucket that it is not above.
#[derive(Debug)]
struct Latency {
    histogram: Histogram,
    /// The same for JSON: the library tells its buckets to an encoder alone.
    at_most: [Counter; LATENCY_BUCKETS_MS.len()],
    sum_ms: Counter<f64, AtomicU64>,
    count: Counter,
}

impl Latency {
    fn new() -> Self {
        let histogram = Histogram::new(LATENCY_BUCKETS_MS);
        let (sum_ms, count) = (Counter::default(), Counter::default());
        Self { histogram, at_most: Default::default(), sum_ms, count }
    }

    fn observe(&self, duration: Duration) {
        let ms = duration.as_secs_f64() * 1_000.0;
        self.histogram.observe(ms);
        self.sum_ms.inc_by(ms);
        self.count.inc();
        for (bound, count) in LATENCY_BUCKETS_MS.iter().zip(&self.at_most) {
            if ms <= *bound {
                count.inc();
            }
        }
    }

    fn json(&self) -> Value {
        let bucket =
            |(bound, count): (&f64, &Counter)| json!({ "le": bound, "count": count.get() });
        let buckets: Vec<_> = LATENCY_BUCKETS_MS.iter().zip(&self.at_most).map(bucket).collect();
        json!({
            "count": self.count.get(),
            "sum": self.sum_ms.get(),
            "buckets": buckets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_runs() -> Metrics {
        let metrics = Metrics::default();
        for (applied, failed, ms) in [(2, 0, 3), (0, 1, 80), (5, 0, 400_000)] {
            metrics.ran(Run { applied, failed, duration: Duration::from_millis(ms) });
        }
        metrics
    }

    #[test]
    fn prometheus_reads_the_names_that_operators_know() {
        let text = three_runs().prometheus();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "calendar_sync_runs_total 3",
            "calendar_sync_failures_total 1",
            "calendar_sync_items_processed 7",
            "calendar_sync_latency_ms_sum 400083.0",
            "calendar_sync_latency_ms_count 3",
            "calendar_sync_latency_ms_bucket{le=\"5.0\"} 1",
            "calendar_sync_latency_ms_bucket{le=\"100.0\"} 2",
            "calendar_sync_latency_ms_bucket{le=\"300000.0\"} 2",
            "calendar_sync_latency_ms_bucket{le=\"+Inf\"} 3",
            "# EOF",
        ] {
            assert!(lines.contains(&line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn what_was_noticed_is_told_by_its_kind() {
        let metrics = Metrics::default();
        metrics.noticed(Notice::Drift(DriftKind::Copy));
        metrics.noticed(Notice::Drift(DriftKind::Copy));
        metrics.noticed(Notice::Repair(DriftKind::Lost));
        metrics.noticed(Notice::Halted);
        metrics.noticed(Notice::Parked);
        metrics.noticed(Notice::Renewal(Renewal::Later));
        metrics.counted(Fills { connections: 2, left: 70 });
        let text = metrics.prometheus();
        for line in [
            "calendar_sync_drift_total{kind=\"copy\"} 2",
            "calendar_sync_repairs_total{kind=\"lost\"} 1",
            "calendar_sync_sweeps_halted_total 1",
            "calendar_sync_connections_parked_total 1",
            "calendar_sync_renewals_total{outcome=\"later\"} 1",
            "calendar_sync_connections_filling 2",
            "calendar_sync_fill_events_left 70",
        ] {
            assert!(text.lines().any(|it| it == line), "`{line}` is not in:\n{text}");
        }
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
}
