//! The service's own binary: commands that end, and workers that are killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use url::Url;

use crate::leash::Leash;

/// Environment variables; a process of the service is given nothing else.
pub(super) type Settings = Vec<(String, String)>;

/// The longest that a command or a worker's end may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn binary(settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calendar-sync"));
    command.env_clear().envs(settings.iter().map(|(name, value)| (name, value)));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs a command to its end, which must be a good one.
pub(super) async fn run(settings: &Settings, arguments: &[&str], input: Option<&str>) {
    let mut command = binary(settings);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.unwrap_or_default().as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the command ends in time").expect("its output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
}

/// A worker process.
pub(super) struct Worker {
    /// The name of its sessions with the database.
    pub(super) name: String,
    /// What it logs.
    pub(super) log: PathBuf,
    child: Child,
    _leash: Leash,
}

impl Worker {
    /// Starts one that reaches calendars through a proxy.
    pub(super) fn start(settings: &Settings, name: String, proxy: &str, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("a file for a log");
        let mut command = binary(settings);
        for (variable, value) in settings.iter().filter(|(variable, _)| variable == "DATABASE_URL")
        {
            let mut url = Url::parse(value).expect("a URL");
            url.query_pairs_mut().append_pair("application_name", &name);
            command.env(variable, url.as_str());
        }
        command.env("HTTP_PROXY", proxy).env("http_proxy", proxy);
        command.arg("run").stdout(Stdio::null()).stderr(file);
        let child = command.spawn().expect("a worker starts");
        let leash = Leash::of(child.id());
        Self { name, log, child, _leash: leash }
    }

    /// Panics if it has ended by itself.
    pub(super) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "{} ended by itself: {ended:?}", self.name);
    }

    /// SIGKILL. Returns once the process is gone.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.expect("a living process");
    }

    /// SIGTERM; then how it ended.
    pub(super) async fn stop(mut self) -> ExitStatus {
        crate::process::send(&self.child, Signal::TERM).expect("a living process");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} did not stop", self.name)).expect("its status")
    }
}
