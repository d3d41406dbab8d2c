//! Time: tokio's, paused, which jumps to the next timer whenever nobody has anything to do. The
//! hour that a machine shows may jump besides; a stopwatch never does.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use calendar_sync::clock::Clock;
use chrono::{DateTime, TimeZone as _, Utc};
use tokio::time::Instant;

/// The hour at which every simulation begins.
pub(crate) fn beginning() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).single().expect("a time in UTC")
}

/// The simulation begins so much after its runtime: what is planned for an hour comes in the next
/// millisecond, as timers do, and never in the one before.
const LATE: Duration = Duration::from_micros(1);

/// A machine's clock.
#[derive(Debug)]
pub(crate) struct SimClock {
    began: Instant,
    skew_ms: AtomicI64,
}

impl SimClock {
    /// A clock that shows the right hour.
    #[expect(clippy::disallowed_methods, reason = "this is where the simulated time comes from")]
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now() + LATE, skew_ms: AtomicI64::new(0) }
    }

    /// Another machine's clock, of the same beginning.
    #[must_use]
    pub(crate) fn other(&self) -> Self {
        Self { began: self.began, skew_ms: AtomicI64::new(0) }
    }

    /// Lets the hour jump: it is so much off from now on.
    pub(crate) fn jump(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        let skew = chrono::TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed));
        beginning() + self.elapsed() + skew
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the simulated time comes from")]
    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.began)
    }
}
