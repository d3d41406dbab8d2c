//! The service's own binary, `run`, as a worker in a process of its own.

use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::leash::Leash;
use crate::settings::{KEY, ON_THIS_MACHINE};
use crate::wait::{PATIENCE, found};

/// The program, as it was built with these tests.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_calendar-sync");

/// So many lines of a log are shown where something failed.
const LOG_LINES_MAX: usize = 12;

/// A worker; killed when it is dropped, and when the test's own process ends, however it does.
pub(crate) struct Worker {
    child: Child,
    _leash: Leash,
    log: NamedTempFile,
}

impl Worker {
    /// Starts `run`. Of a variable that is given twice, the latter holds.
    pub(crate) fn start<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::start_of(OURS, environment)
    }

    /// The same, of another build of the program.
    pub(crate) fn start_of<'a>(
        binary: &str,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let log = NamedTempFile::new().expect("a file can be made");
        let child = Command::new(binary)
            .arg("run")
            .env_clear()
            // A machine under load has slow statements, which is not what the tests are about.
            .envs([("SECRETS_KEY", KEY), ("LOG_LEVEL", "info,sqlx=error"), ON_THIS_MACHINE])
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log.path()).expect("the log can be written"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let leash = Leash::of(child.id());
        Self { child, _leash: leash, log }
    }

    /// What it has logged so far. It may have been ended in the midst of a character.
    pub(crate) fn logged(&self) -> String {
        let log = std::fs::read(self.log.path()).expect("the log can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until it has logged this.
    pub(crate) async fn logs(&self, text: &str) {
        let found = found(PATIENCE, async || self.logged().contains(text).then_some(())).await;
        assert!(found.is_some(), "`{text}` was not logged:\n{}", self.logged());
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM).expect("it has not ended");
    }

    /// Sends a signal; or says why it cannot be sent.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let sent = send(&self.child, signal);
        sent.map_err(|error| format!("{error}:\n{}", tail(&self.logged())))
    }

    /// Waits until it has ended; answers how, and its log.
    pub(crate) async fn ended(self, within: Duration) -> (ExitStatus, String) {
        let ended = self.ends(within).await;
        ended.unwrap_or_else(|log| panic!("it goes on:\n{log}"))
    }

    /// The same; or its log, if it goes on.
    pub(crate) async fn ends(mut self, within: Duration) -> Result<(ExitStatus, String), String> {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let log = self.logged();
        match ended {
            Ok(status) => Ok((status.expect("it is our child"), log)),
            Err(_) => Err(log),
        }
    }
}

/// Sends a signal to a child; or says why it cannot be sent.
pub(crate) fn send(child: &Child, signal: Signal) -> Result<(), String> {
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    kill_process(id.ok_or("it has ended by itself")?, signal).map_err(|error| error.to_string())
}

/// The end of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}
