//! A worker in a process of its own, which is ended.

use std::os::unix::process::ExitStatusExt as _;

use booking::ConnectionId;
use calendar_sync::crash::{LAST_WORDS, VARIABLE};
use rustix::process::Signal;

use crate::end_to_end::story::DOMAIN;
use crate::end_to_end::world::{KEY, PATIENCE, World};
use crate::process::{Worker, tail};

/// What a process of the service is told beside the addresses of its database and its broker.
const SETTINGS: [(&str, &str); 19] = [
    ("SECRETS_KEY", KEY),
    ("CONTENT_UID_DOMAIN", DOMAIN),
    ("CALENDAR_SYNC_ENABLED", "true"),
    ("OPS_LISTEN", "127.0.0.1:0"),
    ("STORE_POOL_MAX", "2"),
    ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
    ("KAFKA_PROPERTIES_HEARTBEAT_INTERVAL_MS", "500"),
    // Whatever is there when it begins is one batch.
    ("INGEST_BATCH_MAX", "3"),
    ("INGEST_LINGER_MS", "1000"),
    // The shortest that there can be: whoever recovers waits for the end of a lease.
    ("EMIT_LEASE_S", "5"),
    ("EMIT_CALL_TIMEOUT_S", "2"),
    ("EMIT_CONNECT_TIMEOUT_S", "1"),
    ("EMIT_IDLE_MS", "20"),
    ("EMIT_BACKOFF_MIN_MS", "10"),
    ("EMIT_BACKOFF_MAX_S", "1"),
    ("EMIT_VERIFY_AFTER_S", "1"),
    ("EMIT_LANES_MAX", "2"),
    ("EMIT_LANE_CONCURRENCY", "2"),
    ("SHUTDOWN_DEADLINE_S", "5"),
];

/// A worker; killed when it is dropped.
pub(super) struct Process(Worker);

impl Process {
    /// Starts one that serves these connections alone, and ends at `point`. `more` settings hold
    /// rather than the others.
    pub(super) fn start(
        world: &World,
        serves: &[ConnectionId],
        point: Option<&str>,
        more: &[(&str, &str)],
    ) -> Self {
        let serves: Vec<_> = serves.iter().map(ToString::to_string).collect();
        let serves = serves.join(",");
        let url = world.url.as_deref().expect("a database for processes");
        let ours = [("DATABASE_URL", url), ("CALENDAR_ALLOWLIST_CONNECTION_IDS", &serves)];
        let ends = point.map(|point| (VARIABLE, point));
        let given = SETTINGS.into_iter().chain(more.iter().copied()).chain(ours).chain(ends);
        Self(Worker::start(given))
    }

    /// Waits until it has crashed at this point, and nowhere else.
    pub(super) async fn crashes_at(self, point: &str) -> Result<(), String> {
        let last_words = format!("{LAST_WORDS}{point}");
        let log = self.dies_of(Signal::ABORT).await?;
        // Another thread may have had a word after it.
        if log.lines().any(|line| line == last_words) {
            return Ok(());
        }
        Err(format!("it did not crash at {point}:\n{}", tail(&log)))
    }

    /// Ends it where it stands, whatever it is about.
    pub(super) async fn end(self) -> Result<(), String> {
        self.0.signal(Signal::KILL)?;
        self.dies_of(Signal::KILL).await.map(drop)
    }

    /// Asks it to stop, which it must.
    pub(super) async fn stop(self) {
        self.0.terminate();
        let (ended, log) = self.0.ended(PATIENCE).await;
        assert!(ended.success(), "{ended}:\n{}", tail(&log));
    }

    /// Waits until it is gone, by this signal; answers its log.
    async fn dies_of(self, signal: Signal) -> Result<String, String> {
        let ended = self.0.ends(PATIENCE).await;
        let (ended, log) = ended.map_err(|log| format!("it did not crash:\n{}", tail(&log)))?;
        if ended.signal() == Some(signal.as_raw()) {
            return Ok(log);
        }
        Err(format!("it ended with {ended}:\n{}", tail(&log)))
    }
}
