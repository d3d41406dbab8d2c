//! What is told of sending.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use booking::CalendarKind;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::labels::{
    Counters, Kind, Outcome, Provider, ProviderLimit, ProviderVerb, ProviderVerbOutcome, Trace,
    register,
};
use crate::emit::Renewal;
use crate::emit::meter::{Attempt, Became, Ended, Guarded, Notice, Withheld};
use crate::store::DriftKind;

/// The bounds of the buckets of a call's time, in seconds: most take some 100 ms; `emit.call_timeout_s`
/// is 20 unless it is set.
const CALL_BUCKETS_S: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The same from publishing to the calendar's answer: seconds, unless something is away. 60 is what is
/// aimed at.
const LATENCY_BUCKETS_S: [f64; 12] =
    [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0];

type Latency = HistogramWithExemplars<Trace>;

/// What is done in calendars.
#[derive(Debug)]
pub(super) struct Sending {
    effects: Counters<ProviderVerbOutcome>,
    attempts: Counters<ProviderVerbOutcome>,
    durations: Family<ProviderVerb, Histogram>,
    latencies: Family<Provider, Latency>,
    waits: Counters<ProviderLimit>,
    waited: Family<ProviderLimit, Counter<f64, AtomicU64>>,
    drift: Counters<Kind>,
    repairs: Counters<Kind>,
    halted: Counter,
    refreshes: Counters<Outcome>,
    parked: Counter,
    /// Told together with what fences refuse of partitions.
    fenced: [Counter; Guarded::ALL.len()],
}

impl Sending {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let it = Self {
            effects: Family::default(),
            attempts: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS_S)),
            latencies: Family::new_with_constructor(|| Latency::new(LATENCY_BUCKETS_S.into_iter())),
            waits: Family::default(),
            waited: Family::default(),
            drift: Family::default(),
            repairs: Family::default(),
            halted: Counter::default(),
            refreshes: Family::default(),
            parked: Counter::default(),
            fenced: Default::default(),
        };
        // There from the beginning: what is observed before the first scrape would be nobody's increase.
        for kind in CalendarKind::ALL {
            drop(it.latencies.get_or_create(&Provider { calendar_provider: kind.name() }));
        }
        register(registry, "calendar_sync_effects_total", it.effects.clone());
        register(registry, "calendar_sync_attempts_total", it.attempts.clone());
        register(registry, "calendar_sync_attempt_duration_seconds", it.durations.clone());
        register(registry, "calendar_sync_publish_to_applied_seconds", it.latencies.clone());
        register(registry, "calendar_sync_rate_limit_waits_total", it.waits.clone());
        register(registry, "calendar_sync_rate_limit_wait_seconds_total", it.waited.clone());
        register(registry, "calendar_sync_token_refreshes_total", it.refreshes.clone());
        register(registry, "calendar_sync_drift_total", it.drift.clone());
        register(registry, "calendar_sync_repairs_total", it.repairs.clone());
        register(registry, "calendar_sync_sweeps_halted_total", it.halted.clone());
        register(registry, "calendar_sync_connections_parked_total", it.parked.clone());
        it
    }

    pub(super) fn noticed(&self, notice: Notice) {
        match notice {
            Notice::Drift(kind) => self.drift.get_or_create(&of_kind(kind)).inc(),
            Notice::Repair(kind) => self.repairs.get_or_create(&of_kind(kind)).inc(),
            Notice::Halted => self.halted.inc(),
            Notice::Parked => self.parked.inc(),
            Notice::Renewal(renewal) => self.refreshes.get_or_create(&of_renewal(renewal)).inc(),
            Notice::Fenced(guarded) => self.fenced[guarded as usize].inc(),
        };
    }

    pub(super) fn attempted(&self, attempt: Attempt) {
        let Attempt { kind, verb, outcome, duration } = attempt;
        let (calendar_provider, verb) = (kind.name(), verb.name());
        let labels = ProviderVerbOutcome { calendar_provider, verb, outcome };
        self.attempts.get_or_create(&labels).inc();
        let labels = ProviderVerb { calendar_provider, verb };
        self.durations.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    pub(super) fn ended(&self, ended: &Ended) {
        let labels = ProviderVerbOutcome {
            calendar_provider: ended.kind.name(),
            verb: ended.verb.name(),
            outcome: ended.became.name(),
        };
        self.effects.get_or_create(&labels).inc();
        if let (Became::Applied | Became::AlreadyApplied, Some(age)) = (ended.became, ended.age) {
            let provider = Provider { calendar_provider: ended.kind.name() };
            let trace = ended.trace.map(|trace| Trace { trace_id: format!("{trace:032x}") });
            self.latencies.get_or_create(&provider).observe(age.as_secs_f64(), trace, None);
        }
    }

    pub(super) fn waited(&self, kind: CalendarKind, limit: Withheld, time: Duration) {
        let labels = ProviderLimit { calendar_provider: kind.name(), limit: limit.name() };
        self.waits.get_or_create(&labels).inc();
        self.waited.get_or_create(&labels).inc_by(time.as_secs_f64());
    }

    /// What other holders' tokens have refused, by what it was.
    pub(super) fn fenced(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let times = |guarded: Guarded| self.fenced[guarded as usize].get();
        Guarded::ALL.into_iter().map(move |guarded| (guarded.name(), times(guarded)))
    }

    /// Each by its name.
    pub(super) fn json(&self) -> [(&'static str, Value); 5] {
        let refreshes = Renewal::ALL.into_iter().filter_map(|renewal| {
            let count = self.refreshes.get(&of_renewal(renewal))?.get();
            Some((renewal.name().to_owned(), json!(count)))
        });
        [
            ("calendar_sync_drift_total", by_kind(&self.drift)),
            ("calendar_sync_repairs_total", by_kind(&self.repairs)),
            ("calendar_sync_sweeps_halted_total", self.halted.get().into()),
            // Its name there from before.
            ("calendar_sync_renewals_total", Value::Object(refreshes.collect())),
            ("calendar_sync_connections_parked_total", self.parked.get().into()),
        ]
    }
}

fn of_kind(kind: DriftKind) -> Kind {
    Kind { kind: kind.name() }
}

fn of_renewal(renewal: Renewal) -> Outcome {
    Outcome { outcome: renewal.name() }
}

/// Each kind that was counted, and how often.
fn by_kind(family: &Counters<Kind>) -> Value {
    let counted = DriftKind::ALL.into_iter().filter_map(|kind| {
        let count = family.get(&of_kind(kind))?.get();
        Some((kind.name().to_owned(), json!(count)))
    });
    Value::Object(counted.collect())
}
