//! PURE: how long to wait before the next try.

use std::time::Duration;

/// Doubling pauses between two bounds, with full jitter: many lanes that failed together do not
/// come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first pause.
    pub delay_min: Duration,
    /// The ceiling of every pause.
    pub delay_max: Duration,
}

impl Backoff {
    /// The pause after so many failed attempts in a row (from 1; 0 counts as 1). `jitter` is a
    /// die from 0 to 1: the pause is that part of `delay_min * 2^(attempts - 1)`, which is at
    /// most `delay_max`.
    pub fn delay(&self, attempts: u32, jitter: f64) -> Duration {
        assert!((0.0..=1.0).contains(&jitter), "a die shows 0 to 1");
        let doublings = attempts.saturating_sub(1);
        let doubled = self.delay_min.saturating_mul(2_u32.saturating_pow(doublings));
        doubled.min(self.delay_max).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff =
            Backoff { delay_min: Duration::from_secs(1), delay_max: Duration::from_mins(1) };
        let ceilings = [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs);
        let delays: Vec<_> = (1..=8).map(|attempts| backoff.delay(attempts, 1.0)).collect();
        assert_eq!(delays, ceilings);
        assert_eq!(backoff.delay(0, 1.0), backoff.delay(1, 1.0));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_longest(
            min_ms in 0_u64..1_000_000,
            max_ms in 0_u64..100_000_000,
            attempts: u32,
            jitter in 0.0..=1.0,
        ) {
            let (delay_min, delay_max) =
                (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            let delay = Backoff { delay_min, delay_max }.delay(attempts, jitter);
            prop_assert!(delay <= delay_max);
        }

        #[test]
        fn more_failures_never_shorten_the_ceiling(
            min_ms in 0_u64..1_000_000,
            attempts in 0_u32..100,
            jitter in 0.0..=1.0,
        ) {
            let backoff = Backoff {
                delay_min: Duration::from_millis(min_ms),
                delay_max: Duration::from_hours(1),
            };
            prop_assert!(backoff.delay(attempts, jitter) <= backoff.delay(attempts + 1, jitter));
        }
    }
}
