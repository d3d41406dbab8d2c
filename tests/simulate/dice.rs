//! Chance, from a seed: one stream of numbers for each use, so that a fault drawn more does not
//! change the bookings.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use calendar_sync::clock::Dice;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};
use uuid::Uuid;

/// A number for some bytes, the same at any time: FNV-1a.
pub(crate) fn fnv<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of a seed for one use.
    pub(crate) fn of(seed: u64, usage: &str) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed.rotate_left(17) ^ fnv(usage.as_bytes())))
    }

    /// A number below `n`, which is at least 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // The bias is that of 2^64 over n: nobody sees it.
        self.0.next_u64() % n
    }

    /// A number from the first to the last, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// So often in a thousand.
    pub(crate) fn hits(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).unwrap_or_default()]
    }

    /// A time up to the longest, in milliseconds.
    pub(crate) fn time(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.below(longest + 1))
    }

    /// A random name.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let high = u128::from(self.0.next_u64());
        let low = u128::from(self.0.next_u64());
        uuid::Builder::from_random_bytes(((high << 64) | low).to_be_bytes()).into_uuid()
    }
}

/// The service's dice, from such a stream.
pub(crate) struct SeededDice(Mutex<Chance>);

impl SeededDice {
    /// Those of one worker.
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Mutex::new(chance))
    }
}

impl Dice for SeededDice {
    fn token(&self) -> Uuid {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).uuid()
    }

    fn unit(&self) -> f64 {
        let drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner).below(1 << 20);
        #[expect(clippy::cast_precision_loss, reason = "20 bits fit")]
        let unit = drawn as f64 / (1_u64 << 20) as f64;
        unit
    }
}
