//! What operators count, under the names that they already know and under Prometheus's: as JSON, and for
//! Prometheus.
//!
//! What happens is counted where it happens ([`RunMeter`], [`BatchMeter`]); how reading stands, and how the
//! database's connections are used, is looked at when somebody asks; what the database alone knows is asked
//! for now and then ([`refresh`]), so that no scrape waits for it. [`table`] has every name, [`classic`]
//! the older of Prometheus's two formats.

pub mod table;

pub mod classic;

mod labels;

mod runs;

mod consumer;

mod sending;

mod database;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::booking::{CalendarKind, PoisonClass};
use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use serde_json::Value;

use self::consumer::Ingest;
use self::database::Database;
use self::labels::{Gauges, Version, register};
use self::runs::Runs;
use self::sending::Sending;
use crate::consumer::Snapshot;
use crate::emit::meter::{Attempt, Became, Ended, Notice, Run, RunMeter, Withheld};
use crate::pipeline::BatchMeter;
use crate::store::{EFFECT_REJECTED, Fills, Gate, PoolUse, Result, Store, StoreError, Tally};
use crate::telemetry::export::Counters;

/// What [`Metrics::openmetrics`] is: the text format of `OpenMetrics` 1.0, which Prometheus reads.
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What [`classic::classic`] is: Prometheus's older text format.
pub const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often the database is asked for what it alone knows.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(15);

/// One line tells that the database cannot be counted, in so many refreshes: five minutes'.
const REFRESHES_PER_LINE: u32 = 20;

/// The counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Runs,
    ingest: Ingest,
    sending: Sending,
    database: Database,
    untraced: Counters,
    gate: Mutex<Gate>,
    /// So many refreshes are left in which no line tells of a failure.
    quiet: AtomicU32,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        Self {
            runs: Runs::new(&mut registry),
            ingest: Ingest::new(&mut registry),
            sending: Sending::new(&mut registry),
            database: Database::new(&mut registry),
            untraced: untraced(&mut registry),
            // Until somebody sends, nothing is let through.
            gate: Mutex::default(),
            quiet: AtomicU32::default(),
            registry,
        }
    }
}

/// What is looked at when somebody asks.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The hour.
    pub now: DateTime<Utc>,
    /// How reading stands.
    pub consumer: Snapshot,
    /// The connections to the database.
    pub pool: PoolUse,
}

/// Asks the database for what it alone knows. What it said last stands until it answers again; when that was
/// is told too, and now and then why it is not now.
///
/// # Errors
/// Where it does not answer, or not all of it.
pub async fn refresh(store: &dyn Store, metrics: &Metrics) -> Result<()> {
    let counted = count(store, &metrics.gate()).await;
    let is_news = metrics.is_news(counted.is_err());
    let tell = |error: &StoreError| {
        if is_news {
            tracing::warn!(
                error_code = "database_not_counted",
                error = error as &dyn std::error::Error,
                "what the metrics say of the database is not of now"
            );
        }
    };
    let (fills, tally) = counted.inspect_err(tell)?;
    metrics.counted(fills, &tally);
    Ok(())
}

async fn count(store: &dyn Store, gate: &Gate) -> Result<(Fills, Tally)> {
    Ok((store.fills().await?, store.tally(gate).await?))
}

impl Metrics {
    /// What the database says: every process tells the same of it.
    pub fn counted(&self, fills: Fills, tally: &Tally) {
        self.database.counted(fills, tally);
    }

    /// Whether a line is to tell that a refresh has failed, if it has: see [`REFRESHES_PER_LINE`].
    fn is_news(&self, failed: bool) -> bool {
        let quiet = self.quiet.load(Ordering::Relaxed);
        let is_news = failed && quiet == 0;
        let left = if is_news { REFRESHES_PER_LINE } else { quiet };
        self.quiet.store(left.saturating_sub(1), Ordering::Relaxed);
        is_news
    }

    fn gate(&self) -> Gate {
        self.gate.lock().expect("nobody panics while holding it").clone()
    }

    /// What of the traces did not get through.
    pub fn untraced(&self) -> Counters {
        self.untraced.clone()
    }

    /// For Prometheus: see [`OPENMETRICS_TYPE`].
    pub fn openmetrics(&self, seen: &Seen) -> String {
        let mut now = consumer::registry(&seen.consumer, self.sending.fenced(), seen.now);
        database::pool(&mut now, seen.pool);
        build_info(&mut now);
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text))
            .expect("a text takes any text");
        text
    }

    /// The counters that operators know from before as a JSON object; the times as a histogram: how many
    /// runs took at most so many milliseconds (`le`).
    pub fn json(&self) -> Value {
        let all = self.runs.json().into_iter().chain(self.sending.json());
        let all = all.chain(self.database.json());
        Value::Object(all.map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn untraced(registry: &mut Registry) -> Counters {
    let counters = Counters::default();
    let [spans, batches] = counters.shown();
    register(registry, "calendar_sync_telemetry_spans_dropped_total", spans);
    register(registry, "calendar_sync_telemetry_export_failures_total", batches);
    counters
}

fn build_info(registry: &mut Registry) {
    let info = Gauges::<Version>::default();
    info.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
    register(registry, "calendar_sync_build_info", info);
}

impl RunMeter for Metrics {
    fn gated(&self, gate: &Gate) {
        self.gate.lock().expect("nobody panics while holding it").clone_from(gate);
    }

    fn ran(&self, run: Run) {
        self.runs.ran(run);
    }

    fn noticed(&self, notice: Notice) {
        self.sending.noticed(notice);
    }

    fn attempted(&self, attempt: Attempt) {
        self.sending.attempted(attempt);
    }

    fn ended(&self, ended: Ended) {
        if ended.became == Became::Dead {
            self.ingest.died(EFFECT_REJECTED);
        }
        self.sending.ended(&ended);
    }

    fn waited(&self, kind: CalendarKind, limit: Withheld, time: Duration) {
        self.sending.waited(kind, limit, time);
    }
}

impl BatchMeter for Metrics {
    fn committed(&self, partition: i32, records: usize, dead: &[PoisonClass]) {
        self.ingest.committed(partition, records, dead);
    }
}

#[cfg(test)]
mod tests;
