//! A worker as a process of its own.

use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::settings::KEY;
use crate::wait::{LOOK, PATIENCE};

/// A worker; killed when it is dropped.
pub(super) struct Worker {
    child: Child,
    log: NamedTempFile,
}

impl Worker {
    /// Starts `run`.
    pub(super) fn start(environment: &[(&str, &str)]) -> Self {
        let log = NamedTempFile::new().expect("a file can be made");
        let child = Command::new(env!("CARGO_BIN_EXE_calendar-sync"))
            .arg("run")
            .env_clear()
            // A machine under load has slow statements, which is not what the tests are about.
            .envs([("SECRETS_KEY", KEY), ("LOG_LEVEL", "info,sqlx=error")])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log.path()).expect("the log can be written"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        Self { child, log }
    }

    /// What it has logged so far.
    pub(super) fn logged(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log can be read")
    }

    /// Waits until it has logged this.
    pub(super) async fn logs(&self, text: &str) {
        let waiting = async {
            while !self.logged().contains(text) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(found.is_ok(), "`{text}` was not logged:\n{}", self.logged());
    }

    /// Sends SIGTERM.
    pub(super) async fn terminate(&self) {
        let pid = self.child.id().expect("it has not ended").to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended; answers how, and its log.
    pub(super) async fn ended(mut self, within: Duration) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it goes on:\n{}", self.logged()));
        (status.expect("it is our child"), self.logged())
    }
}
