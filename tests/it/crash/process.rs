//! The service's own binary, `run`, in a process that is ended.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use booking::ConnectionId;
use calendar_sync::crash::{LAST_WORDS, VARIABLE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::end_to_end::story::DOMAIN;
use crate::end_to_end::world::{KEY, PATIENCE, World};

/// So many lines of a log are shown where something failed.
const LOG_LINES_MAX: usize = 12;

/// Nobody listens there: a worker without a broker, which only sends.
const NO_BROKER: &str = "127.0.0.1:9";

/// What a process of the service is told beside the address of its database.
const SETTINGS: [(&str, &str); 21] = [
    ("SECRETS_KEY", KEY),
    ("CONTENT_UID_DOMAIN", DOMAIN),
    ("CALENDAR_SYNC_ENABLED", "true"),
    ("OPS_LISTEN", "127.0.0.1:0"),
    // Without what librdkafka says of a broker that is not there.
    ("LOG_LEVEL", "info,sqlx=error,calendar_sync::emit=debug,calendar_sync::consumer=error"),
    ("STORE_POOL_MAX", "2"),
    ("KAFKA_BROKERS", NO_BROKER),
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
pub(super) struct Process {
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts one that serves these connections alone, and ends at `point`. `more` settings go
    /// before the others.
    pub(super) fn start(
        world: &World,
        serves: &[ConnectionId],
        point: Option<&str>,
        more: &[(&str, &str)],
    ) -> Self {
        let log = NamedTempFile::new().expect("a file can be made");
        let serves: Vec<_> = serves.iter().map(ToString::to_string).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_calendar-sync"));
        command.arg("run").env_clear().envs(SETTINGS).envs(more.iter().copied());
        command.env("DATABASE_URL", world.url.as_deref().expect("a database for processes"));
        command.env("CALENDAR_ALLOWLIST_CONNECTION_IDS", serves.join(","));
        command.envs(point.map(|point| (VARIABLE, point)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command.stderr(File::create(log.path()).expect("the log can be written"));
        Self { child: command.spawn().expect("a worker starts"), log }
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
        self.send(Signal::KILL)?;
        self.dies_of(Signal::KILL).await.map(drop)
    }

    /// Asks it to stop, which it must.
    pub(super) async fn stop(mut self) {
        self.send(Signal::TERM).expect("it lives");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.expect("it ends in time").expect("it is our child");
        assert!(ended.success(), "{ended}:\n{}", tail(&self.logged()));
    }

    fn send(&self, signal: Signal) -> Result<(), String> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| format!("it has ended by itself:\n{}", tail(&self.logged())))?;
        kill_process(id, signal).map_err(|error| error.to_string())
    }

    /// Waits until it is gone, by this signal; answers its log.
    async fn dies_of(mut self, signal: Signal) -> Result<String, String> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let log = self.logged();
        let ended = ended.map_err(|_| format!("it did not crash:\n{}", tail(&log)))?;
        let ended = ended.expect("it is our child");
        if ended.signal() == Some(signal.as_raw()) {
            return Ok(log);
        }
        Err(format!("it ended with {ended}:\n{}", tail(&log)))
    }

    fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).expect("its log")).into_owned()
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}
