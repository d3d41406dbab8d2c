//! A lease, and whether it is long enough for one more call (rule R10).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Emitter;
use crate::calendar::http::READ_CALLS_MAX;
use crate::store::{Fenced, LaneLease, Result};

/// A lease that is held.
pub(super) struct Hold {
    pub(super) lease: LaneLease,
    /// When it was asked for last, by the clock that counts suspension.
    leased_at: Mutex<Duration>,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// The rest of the lease exceeds the longest that a call takes.
    Enough,
    /// It does not, though it was renewed.
    TooShort,
    /// The lane is somebody else's.
    Lost,
}

impl Hold {
    pub(super) fn new(lease: LaneLease, leased_at: Duration) -> Self {
        Self { lease, leased_at: Mutex::new(leased_at) }
    }

    /// Whether a call may be made now: the rest of the lease exceeds the longest that it takes
    /// (a reading can be two requests). Renews a lease that is half over.
    pub(super) async fn keep(&self, emitter: &Emitter) -> Result<Held> {
        let options = &emitter.options;
        let longest = options.call_timeout * READ_CALLS_MAX;
        let asked_at = emitter.surroundings.clock.elapsed();
        let leased_at = *self.leased_at.lock().unwrap_or_else(PoisonError::into_inner);
        if leased_at + options.lease / 2 > asked_at
            && leased_at + options.lease > asked_at + longest
        {
            return Ok(Held::Enough);
        }
        match emitter.store.renew(&self.lease, options.lease).await? {
            Fenced::Written => {
                crate::crash::point!("r10.renewed");
                *self.leased_at.lock().unwrap_or_else(PoisonError::into_inner) = asked_at;
                let now = emitter.surroundings.clock.elapsed();
                let is_enough = asked_at + options.lease > now + longest;
                Ok(if is_enough { Held::Enough } else { Held::TooShort })
            }
            Fenced::Refused => {
                tracing::warn!(error_code = "lease_lost", "lost the lane while draining it");
                Ok(Held::Lost)
            }
        }
    }
}
