//! How many calls an account may make: at once, and in a time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// So many calls in a sliding time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub calls_max: u32,
    /// In how long.
    pub window: Duration,
}

/// The limits of each account. `None`: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Calls that wait for their answer at one time. One whose connection was cut waits no more.
    pub in_flight_max: Option<u32>,
    /// Calls in a time.
    pub quota: Option<Quota>,
    /// Whether all accounts share these limits, as if they were of the application (a revision of
    /// Graph's documents says so of calls at once, "regardless of mailbox").
    pub shared: bool,
    /// What `Retry-After` says to a call that is over a limit, in seconds.
    pub retry_after_s: Option<u32>,
}

/// Which limit a call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    InFlight,
    Quota,
}

#[derive(Default)]
struct Counted {
    in_flight: u32,
    /// When the calls of the window came; not more than its `calls_max`.
    came: VecDeque<DateTime<Utc>>,
}

/// The name under which all accounts are counted where they share: no account's.
const EVERYONE: &str = "";

/// What the accounts have used of their limits.
pub(super) struct Throttle {
    pub(super) limits: Limits,
    accounts: BTreeMap<String, Counted>,
}

impl Throttle {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, accounts: BTreeMap::new() }
    }

    /// Lets a call in, or not. One that is let in must [`Self::leave`], under the name that is
    /// returned.
    pub(super) fn enter(&mut self, account: &str, now: DateTime<Utc>) -> Result<String, Over> {
        let name = if self.limits.shared { EVERYONE } else { account };
        let counted = self.accounts.entry(name.to_owned()).or_default();
        if let Some(Quota { calls_max, window }) = self.limits.quota {
            let is_over = |at: &DateTime<Utc>| (now - *at).to_std().is_ok_and(|age| age >= window);
            while counted.came.front().is_some_and(is_over) {
                counted.came.pop_front();
            }
            if counted.came.len() >= calls_max as usize {
                return Err(Over::Quota);
            }
        }
        if self.limits.in_flight_max.is_some_and(|max| counted.in_flight >= max) {
            return Err(Over::InFlight);
        }
        if self.limits.quota.is_some() {
            counted.came.push_back(now);
        }
        counted.in_flight += 1;
        Ok(name.to_owned())
    }

    pub(super) fn leave(&mut self, name: &str) {
        if let Some(counted) = self.accounts.get_mut(name) {
            counted.in_flight = counted.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn an_account_has_so_many_calls_at_once() {
        let limits = Limits { in_flight_max: Some(2), ..Limits::default() };
        let mut throttle = Throttle::new(limits);
        throttle.enter("ada", at(0)).unwrap();
        throttle.enter("ada", at(0)).unwrap();
        assert_eq!(throttle.enter("ada", at(9)), Err(Over::InFlight));
        throttle.enter("eve", at(9)).unwrap();
        throttle.leave("ada");
        throttle.enter("ada", at(9)).unwrap();
    }

    #[test]
    fn accounts_may_share_a_limit() {
        let limits = Limits { in_flight_max: Some(1), shared: true, ..Limits::default() };
        let mut throttle = Throttle::new(limits);
        let name = throttle.enter("ada", at(0)).unwrap();
        assert_eq!(throttle.enter("eve", at(0)), Err(Over::InFlight));
        throttle.leave(&name);
        throttle.enter("eve", at(0)).unwrap();
    }

    #[test]
    fn an_account_has_so_many_calls_in_a_sliding_time() {
        let quota = Some(Quota { calls_max: 2, window: Duration::from_secs(10) });
        let mut throttle = Throttle::new(Limits { quota, ..Limits::default() });
        throttle.enter("ada", at(0)).unwrap();
        throttle.enter("ada", at(6)).unwrap();
        assert_eq!(throttle.enter("ada", at(9)), Err(Over::Quota));
        throttle.enter("ada", at(10)).unwrap();
        assert_eq!(throttle.enter("ada", at(15)), Err(Over::Quota));
        throttle.enter("ada", at(16)).unwrap();
    }
}
