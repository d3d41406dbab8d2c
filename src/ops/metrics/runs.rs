//! The four metrics that operators know from before, as they were.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::labels::register;
use crate::emit::Run;

/// The bounds of the buckets of a run's time, in milliseconds: one call to a calendar takes some
/// 100 ms, a long drain minutes.
const LATENCY_BUCKETS_MS: [f64; 12] =
    [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0, 60_000.0, 300_000.0];

/// Drains of connections.
#[derive(Debug)]
pub(super) struct Runs {
    drains: Counter,
    failures: Counter,
    items: Items,
    latency_ms: Latency,
}

impl Runs {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (drains, failures, items) = (Counter::default(), Counter::default(), Items::default());
        let latency_ms = Latency::new();
        register(registry, "calendar_sync_runs_total", drains.clone());
        register(registry, "calendar_sync_failures_total", failures.clone());
        register(registry, "calendar_sync_items_processed", items.clone());
        register(registry, "calendar_sync_latency_ms", latency_ms.histogram.clone());
        Self { drains, failures, items, latency_ms }
    }

    pub(super) fn ran(&self, run: Run) {
        self.drains.inc();
        self.failures.inc_by(u64::from(run.failed));
        self.items.0.inc_by(u64::from(run.applied));
        self.latency_ms.observe(run.duration);
    }

    /// Each by its name.
    pub(super) fn json(&self) -> [(&'static str, Value); 4] {
        [
            ("calendar_sync_runs_total", self.drains.get().into()),
            ("calendar_sync_failures_total", self.failures.get().into()),
            ("calendar_sync_items_processed", self.items.0.get().into()),
            ("calendar_sync_latency_ms", self.latency_ms.json()),
        ]
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
