//! A worker in the test's own process. It sends, and does not read.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::emit::backoff::Backoff;
use calendar_sync::emit::drift::Policy;
use calendar_sync::emit::limits::Limits;
use calendar_sync::emit::{EmitOptions, Emitter, RepairOptions};
use calendar_sync::store::Gate;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::world::PATIENCE;

/// After so many refusals an effect is a dead letter.
pub(crate) const REJECTIONS_MAX: i32 = 3;

/// How sending is done, unless a fact asks for something else.
pub(crate) fn emit_options() -> EmitOptions {
    EmitOptions {
        gate: Gate { enabled: true, providers: Vec::new(), connections: Vec::new() },
        lanes_max: 8,
        lane_concurrency: 4,
        claim_batch: 16,
        lease: Duration::from_secs(30),
        call_timeout: Duration::from_secs(10),
        idle: Duration::from_millis(10),
        backoff: Backoff {
            delay_min: Duration::from_millis(10),
            delay_max: Duration::from_millis(100),
        },
        rejections_max: REJECTIONS_MAX,
        verify_after: vec![Duration::from_hours(1)],
        limits: Limits::default(),
        repair: RepairOptions {
            policy: Policy::Report,
            interval: None,
            halt_share: 20,
            listing_lag: Duration::ZERO,
        },
    }
}

/// A worker that sends.
pub(crate) struct Worker {
    pub(crate) stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Lets it send.
    pub(crate) fn of(emitter: Emitter) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::new(emitter).run(stop.clone()));
        Self { stop, tasks }
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("the worker ends").expect("it ran").expect("it did not panic");
    }

    /// Ends it where it stands, with its calls on their way: nothing of them is recorded.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}
