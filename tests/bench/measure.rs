//! What a run cost: time, processor time of this process and of PostgreSQL's, statements.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::clock::{Clock, SystemClock};
use calendar_sync::store::postgres::Probe;
use sqlx::{PgPool, Row as _};

/// The unit of the times in `/proc/*/stat` (proc(5), `USER_HZ`): a hundred a second on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counts the statements of the store.
#[derive(Default)]
pub(crate) struct Statements(AtomicU64);

#[async_trait]
impl Probe for Statements {
    async fn before(&self, _: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Statements {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    /// Processor seconds of this process.
    pub(crate) ours: f64,
    /// Those of this database's backends; `None` where they run elsewhere.
    pub(crate) backends: Option<f64>,
    /// Those of the server's writers (checkpoints, WAL), shared with its other databases.
    pub(crate) writers: Option<f64>,
    /// Bytes of WAL, of the whole server.
    pub(crate) wal: i64,
}

/// A running measurement.
pub(crate) struct Watch {
    clock: SystemClock,
    ours: f64,
    backends: Option<HashMap<i32, f64>>,
    writers: Option<HashMap<i32, f64>>,
    wal: i64,
}

impl Watch {
    pub(crate) async fn start(pool: &PgPool) -> Self {
        let (backends, writers) = (backends(pool).await, writers(pool).await);
        let wal = wal(pool).await;
        let ours = cpu("self").unwrap_or(0.0);
        Self { clock: SystemClock::start(), ours, backends, writers, wal }
    }

    pub(crate) async fn stop(self, pool: &PgPool) -> Cost {
        let elapsed = self.clock.elapsed();
        let ours = cpu("self").unwrap_or(0.0) - self.ours;
        Cost {
            elapsed,
            ours,
            backends: spent(self.backends.as_ref(), backends(pool).await),
            writers: spent(self.writers.as_ref(), writers(pool).await),
            wal: wal(pool).await - self.wal,
        }
    }
}

/// Seconds by process id; a process that began in between counts from nothing.
fn spent(before: Option<&HashMap<i32, f64>>, after: Option<HashMap<i32, f64>>) -> Option<f64> {
    let before = before?;
    let since = |(pid, now): (&i32, &f64)| now - before.get(pid).copied().unwrap_or(0.0);
    Some(after?.iter().map(since).sum())
}

/// Processor seconds of a process, by `/proc/<pid>/stat`: fields 14 and 15 (proc(5)).
fn cpu(pid: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces: fields are counted behind it, from the third.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = |field: usize| rest.split_whitespace().nth(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

async fn backends(pool: &PgPool) -> Option<HashMap<i32, f64>> {
    processes(pool, "SELECT pid FROM pg_stat_activity WHERE datname = current_database()").await
}

async fn writers(pool: &PgPool) -> Option<HashMap<i32, f64>> {
    const WRITERS: &str = "
        SELECT pid FROM pg_stat_activity
         WHERE backend_type IN ('checkpointer', 'background writer', 'walwriter')";
    processes(pool, WRITERS).await
}

/// Of the processes that run on this machine: `None` if there is none.
async fn processes(pool: &PgPool, statement: &'static str) -> Option<HashMap<i32, f64>> {
    let rows = sqlx::query(statement).fetch_all(pool).await.expect("PostgreSQL answers");
    let of_process = |row: &sqlx::postgres::PgRow| {
        let pid: i32 = row.get("pid");
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        name.starts_with("postgres").then(|| cpu(&pid.to_string()).map(|cpu| (pid, cpu)))?
    };
    let seconds: HashMap<i32, f64> = rows.iter().filter_map(of_process).collect();
    (!seconds.is_empty()).then_some(seconds)
}

async fn wal(pool: &PgPool) -> i64 {
    const WAL: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    sqlx::query_scalar(WAL).fetch_one(pool).await.expect("PostgreSQL answers")
}

/// The load of the last minute: how much else the machine had to do.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
