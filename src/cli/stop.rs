//! Stopping: the first SIGTERM or SIGINT asks, the second one and the deadline insist.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals that stop us.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on these signals do not kill the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Does `work` until it ends by itself; a signal cancels `stop`, and then it has `deadline` to
/// end. An error if it has to be cut off: whoever takes over finds what it left in flight.
pub(super) async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
    mut next_signal: impl AsyncFnMut() -> &'static str,
    deadline: Duration,
) -> anyhow::Result<()> {
    let mut work = pin!(work);
    let signal = tokio::select! {
        biased;
        ended = &mut work => return ended,
        signal = next_signal() => signal,
    };
    let deadline_s = deadline.as_secs();
    tracing::info!(signal, deadline_s, "stopping: finishing what is begun");
    stop.cancel();
    tokio::select! {
        biased;
        ended = &mut work => ended,
        signal = next_signal() => bail!("cut off by a second signal ({signal})"),
        () = tokio::time::sleep(deadline) => {
            bail!("cut off: it had not stopped within shutdown.deadline_s ({deadline_s})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(25);

    /// Signals that come at once, then none.
    async fn stopped(
        signals: usize,
        work: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let mut left = signals;
        let next = async || {
            if left == 0 {
                std::future::pending::<()>().await;
            }
            left -= 1;
            "SIGTERM"
        };
        until_stopped(work(stop.clone()), &stop, next, DEADLINE).await
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_by_itself_needs_no_signal() {
        stopped(0, async |_| Ok(())).await.unwrap();
        stopped(1, async |_| bail!("failed")).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_lets_the_work_finish() {
        let mut finished = false;
        let work = async |stop: CancellationToken| {
            stop.cancelled().await;
            tokio::time::sleep(DEADLINE.saturating_sub(Duration::from_secs(1))).await;
            finished = true;
            Ok(())
        };
        stopped(1, work).await.unwrap();
        assert!(finished);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_stop_is_cut_off_at_the_deadline() {
        let error = stopped(1, async |_| std::future::pending().await).await.unwrap_err();
        assert!(error.to_string().contains("shutdown.deadline_s (25)"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let began = tokio::time::sleep(DEADLINE);
        let error = stopped(2, async |_| std::future::pending().await).await.unwrap_err();
        assert!(error.to_string().contains("second signal"), "{error}");
        assert!(!began.is_elapsed());
    }
}
