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
pub(crate) type Settings = Vec<(String, String)>;

/// The longest that a command or a worker's end may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn binary(settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calendar-sync"));
    command.env_clear().envs(settings.iter().map(|(name, value)| (name, value)));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs a command to its end, which must be a good one.
pub(crate) async fn run(settings: &Settings, arguments: &[&str], input: Option<&str>) {
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
pub(crate) struct Worker {
    /// The name of its sessions with the database.
    pub(crate) name: String,
    /// What it logs.
    pub(crate) log: PathBuf,
    child: Child,
    _leash: Leash,
}

impl Worker {
    /// Starts one that reaches calendars through a proxy.
    pub(crate) fn start(settings: &Settings, name: String, proxy: &str, directory: &Path) -> Self {
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
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "{} ended by itself: {ended:?}", self.name);
    }

    /// SIGKILL. Returns once the process is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a living process");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        crate::process::send(&self.child, signal).expect("a living process");
    }

    /// SIGTERM; then how it ended.
    pub(crate) async fn stop(self) -> ExitStatus {
        self.stop_within(PATIENCE).await
    }

    /// The same, with so much time for it.
    pub(crate) async fn stop_within(mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let ended = tokio::time::timeout(grace, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} did not stop", self.name)).expect("its status")
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }
}
