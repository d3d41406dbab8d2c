//! How often calendars are asked: what their providers' quotas leave to one connection, and to all of
//! an application's together.
//!
//! A connection's pace is its drain's alone: a lane is one worker's at a time, and what a drain has used
//! ahead of time its lane rests afterwards, so that whoever leases it next begins anew. An application's
//! budget is in the database, drawn in small parts by every process that needs some; within a process it
//! is given to whoever asked first, so that a tenant with much to send gets no more of it than one with
//! little. (GCRA: ITU-T I.371, Annex A.)

use std::num::NonZeroU32;
use std::time::Duration;

use booking::{CalendarKind, Verb};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::store::{Draw, Result, Store};

/// So much of its time a pace may be ahead: a booking is not held up by the one before.
const BURST: Duration = Duration::from_secs(1);
/// In so long a rate's number of requests is never exceeded (a rate below 183 is, by a dear call at most).
const WINDOW: Duration = Duration::from_mins(1);
/// So much of a budget a process draws at once, and may hold beside what is drawn.
const HAND: Duration = Duration::from_millis(100);
/// What was drawn longer ago is drawn anew: it would be used beside what is drawn by then.
const HAND_AGE_MAX: Duration = Duration::from_secs(2);
/// A budget that is used up for longer is waited for without holding a lane.
const BUDGET_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a lane rests for which there is no budget soon.
pub(super) const BUDGET_REST: Duration = Duration::from_secs(2);

/// A budget is never used further ahead than this: the dearest call at the slowest rate, and the wait.
const BUDGET_AHEAD_MAX: Duration = Duration::from_mins(10);

/// So many requests in any minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: NonZeroU32,
}

impl Rate {
    /// This number in any minute; 0 is no limit.
    pub fn per_minute(requests: u32) -> Option<Self> {
        NonZeroU32::new(requests).map(|per_minute| Self { per_minute })
    }

    /// How much of its time so many requests use: in a minute, and what a pace is ahead, all of them.
    fn time_of(self, requests: u32) -> Duration {
        (WINDOW + BURST).saturating_mul(requests) / self.per_minute.get()
    }

    /// How many requests are drawn at once.
    fn hand(self) -> u32 {
        let each = self.time_of(1).as_nanos().max(1);
        u32::try_from(HAND.as_nanos() / each).unwrap_or(u32::MAX).max(1)
    }
}

/// What one kind of calendar may be asked; `None`: as often as one likes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// By one connection.
    pub connection: Option<Rate>,
    /// By all connections of all processes that share a database.
    pub application: Option<Rate>,
}

/// Something of each kind of calendar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// Of Google Calendar.
    pub google: T,
    /// Of Microsoft Graph.
    pub microsoft: T,
    /// Of CalDAV, whatever the server.
    pub caldav: T,
}

impl<T> PerKind<T> {
    pub(super) fn of(&self, kind: CalendarKind) -> &T {
        match kind {
            CalendarKind::Google => &self.google,
            CalendarKind::Microsoft => &self.microsoft,
            CalendarKind::Caldav => &self.caldav,
        }
    }
}

/// What each kind of calendar may be asked.
pub type Limits = PerKind<Limit>;

/// What a call costs of a quota: Google counts a PATCH three times (Calendar API, "Manage quotas").
pub(super) fn price(kind: CalendarKind, verb: Verb) -> u32 {
    match (kind, verb) {
        (CalendarKind::Google, Verb::Update) => 3,
        (CalendarKind::Google | CalendarKind::Microsoft | CalendarKind::Caldav, _) => 1,
    }
}

/// What a reading costs.
pub(super) const PRICE_OF_READING: u32 = 1;

/// The pace of one connection, on a clock that its caller reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    rate: Option<Rate>,
    used_until: Duration,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, used_until: Duration::ZERO }
    }

    /// Uses so many requests; answers how long they have to wait.
    pub(super) fn take(&mut self, now: Duration, requests: u32) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let time = rate.time_of(requests);
        self.used_until = self.used_until.max(now) + time;
        self.ahead(now).saturating_sub(BURST.max(time))
    }

    /// How much of its time is used already.
    pub(super) fn ahead(&self, now: Duration) -> Duration {
        self.used_until.saturating_sub(now)
    }
}

/// What this process holds of each kind's budget.
pub(super) type Hands = PerKind<Mutex<Hand>>;

/// What it holds of one.
#[derive(Default)]
pub(super) struct Hand {
    left: u32,
    drawn_at: Duration,
}

impl Hands {
    /// Uses so many requests of a kind's budget once they are there: those first who asked first.
    /// `false`: not soon, and nothing is used.
    pub(super) async fn take(
        &self,
        kind: CalendarKind,
        rate: Option<Rate>,
        requests: u32,
        (store, clock): (&dyn Store, &dyn Clock),
    ) -> Result<bool> {
        let Some(rate) = rate else {
            return Ok(true);
        };
        let hand = self.of(kind).lock();
        let Ok(mut hand) = tokio::time::timeout(BUDGET_WAIT_MAX, hand).await else {
            return Ok(false);
        };
        if hand.drawn_at + HAND_AGE_MAX <= clock.elapsed() {
            hand.left = 0;
        }
        if hand.left < requests {
            let drawn = rate.hand().max(requests);
            let time = rate.time_of(drawn);
            let draw = Draw {
                budget: kind.name(),
                time,
                ahead_max: BURST.max(time),
                wait_max: BUDGET_WAIT_MAX,
                believed_max: BUDGET_AHEAD_MAX,
            };
            let Some(wait) = store.draw(&draw).await? else {
                return Ok(false);
            };
            tokio::time::sleep(wait).await;
            hand.left += drawn;
            hand.drawn_at = clock.elapsed();
        }
        hand.left -= requests;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(per_minute: u32) -> Pace {
        Pace::new(Rate::per_minute(per_minute))
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = pace(0);
        assert!((0..10_000).all(|_| pace.take(Duration::ZERO, 3) == Duration::ZERO));
        assert_eq!(pace.ahead(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_first_requests_wait_for_nothing_and_the_next_for_their_time() {
        let mut pace = pace(610);
        let waits: Vec<_> = (0..12).map(|_| pace.take(Duration::ZERO, 1)).collect();
        assert_eq!(waits[..10], [Duration::ZERO; 10]);
        assert_eq!(waits[10..], [100, 200].map(Duration::from_millis));
        assert_eq!(pace.ahead(Duration::from_millis(200)), Duration::from_secs(1));
    }

    #[test]
    fn what_is_dearer_than_a_burst_is_made_all_the_same() {
        let mut pace = pace(1);
        assert_eq!(pace.take(Duration::ZERO, 3), Duration::ZERO);
        assert!(pace.take(Duration::ZERO, 1) > Duration::from_mins(1));
    }

    proptest! {
        /// Fails with: `Rate::time_of`: without `+ BURST`.
        #[test]
        fn in_no_minute_there_are_more_than_the_rate(
            per_minute in 183_u32..20_000,
            asks in prop::collection::vec((0_u64..400, 1_u32..4), 1..600),
        ) {
            let mut pace = pace(per_minute);
            let (mut now, mut made) = (Duration::from_hours(1), Vec::new());
            for (later, requests) in asks {
                now += Duration::from_millis(later);
                now += pace.take(now, requests);
                made.push((now, requests));
            }
            for (first, (from, _)) in made.iter().enumerate() {
                let within = made[first..].iter().take_while(|(at, _)| *at < *from + WINDOW);
                prop_assert!(within.map(|(_, requests)| requests).sum::<u32>() <= per_minute);
            }
        }
    }
}
