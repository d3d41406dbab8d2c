//! The worker: a child process of this same binary, which can be killed like any other.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// How long a worker that is asked to stop may take; its own deadline is shorter.
const STOP_TIMEOUT: Duration = Duration::from_secs(7);

/// The variables of the environment that a worker inherits. No setting is among them, and no
/// proxy: its parts are on this machine.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LD_LIBRARY_PATH", "RUST_BACKTRACE"];

/// How much of the end of the log is read for [`last_lines`].
const LOG_TAIL_BYTES: u64 = 64 * 1024;

/// A running worker. It is killed when this is dropped, and ends by itself should this process
/// vanish, because its standard input ends then.
pub(super) struct Worker {
    child: Child,
    id: u32,
}

impl Worker {
    /// Starts one with the settings in `config`, in a process group of its own, so that a Ctrl-C
    /// at the terminal is ours to deal with. It appends to `log`.
    pub(super) fn start(config: &Path, log: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log = fs::OpenOptions::new().append(true).create(true).open(log);
        let log = log.context("cannot open the worker's log")?;
        let inherited = |name: &'static str| Some((name, std::env::var_os(name)?));
        let child = Command::new(program)
            .arg("--config")
            .arg(config)
            .args(["run", "--until-stdin-ends"])
            .env_clear()
            .envs(INHERITED.into_iter().filter_map(inherited))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a worker")?;
        let id = child.id().context("the worker has no process id")?;
        Ok(Self { child, id })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot look after the worker")
    }

    /// Returns when it ends.
    pub(super) async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        // Not `wait`, which would close its standard input, and so stop it.
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// SIGKILL: it gets to do nothing more.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill the worker")
    }

    /// Asks it to stop, and kills it if it does not.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(ended) => ended.map(drop).context("cannot wait for the worker"),
            Err(_) => self.kill().await,
        }
    }
}

/// The last lines of a log, at most `count`.
pub(super) fn last_lines(log: &PathBuf, count: usize) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}
