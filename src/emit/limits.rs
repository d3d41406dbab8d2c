//! How often calendars are asked: what their providers' quotas leave to one connection, and to all of
//! an application's together.
//!
//! A connection's pace goes with its lane, which is one worker's at a time: what a drain has used ahead of
//! time is kept in the database when the lane is given back, and whoever leases it next goes on from
//! there. Clocks are never compared: each side is told for how long, and reads its own, and as either
//! reads it after the other did, what is on the way only makes a pace slower.
//!
//! A drain that ends without giving its lane back leaves no mark. Its lease outlasts its last call by a
//! call's time-out and more, and so what it was ahead (a burst): whoever waits for that exceeds nothing.
//! Only where a lane is fenced at once (its connection is removed, and added again), or where the
//! database has lost its tail, another burst can be used beside the first, and never more than that one.
//!
//! An application's budget is in the database, drawn in small parts by every process that needs some; within a process it
//! is given to whoever asked first, so that a tenant with much to send gets no more of it than one with
//! little. (GCRA: ITU-T I.371, Annex A.)

use std::num::NonZeroU32;
use std::time::Duration;

use booking::{CalendarKind, Verb};
use tokio::sync::{Mutex, MutexGuard};

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
/// No pace is taken up further ahead than this: the dearest call at the slowest rate, and what waits with
/// it. More is the word of a clock that was set back since.
const PACE_AHEAD_MAX: Duration = Duration::from_mins(10);

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
    pub(crate) fn time_of(self, requests: u32) -> Duration {
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
    pub(crate) fn of(&self, kind: CalendarKind) -> &T {
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
    /// A pace that is so much of its time ahead by now.
    pub(super) fn resumed(rate: Rate, now: Duration, ahead: Duration) -> Self {
        Self { rate: Some(rate), used_until: now + ahead.min(PACE_AHEAD_MAX) }
    }

    /// What is asked as often as one likes.
    pub(super) fn unlimited() -> Self {
        Self { rate: None, used_until: Duration::ZERO }
    }

    /// Uses so many requests; answers how long they have to wait.
    pub(super) fn take(&mut self, now: Duration, requests: u32) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let time = rate.time_of(requests);
        self.used_until = self.used_until.max(now) + time;
        self.used_until.saturating_sub(now + BURST.max(time))
    }

    /// How much of its time is used already; `None`: it has no limit.
    pub(super) fn ahead(&self, now: Duration) -> Option<Duration> {
        self.rate.map(|_| self.used_until.saturating_sub(now))
    }

    /// How many requests it lets through in so short a time that nobody minds waiting for it.
    pub(super) fn at_once(&self) -> u32 {
        let Some(rate) = self.rate else {
            return u32::MAX;
        };
        let each = rate.time_of(1).as_nanos().max(1);
        u32::try_from(BURST.as_nanos() / each).unwrap_or(u32::MAX).max(1)
    }

    /// For how long it lets nothing through: nobody needs to hold a lane meanwhile.
    pub(super) fn closed_for(&self, now: Duration) -> Duration {
        self.ahead(now).unwrap_or_default().saturating_sub(BURST)
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
    /// Answers how long they were waited for; `None`: not soon, and nothing is used.
    pub(super) async fn take(
        &self,
        kind: CalendarKind,
        rate: Option<Rate>,
        requests: u32,
        (store, clock): (&dyn Store, &dyn Clock),
    ) -> Result<Option<Duration>> {
        let Some(rate) = rate else {
            return Ok(Some(Duration::ZERO));
        };
        let Some((mut hand, mut waited)) = self.hold(kind, clock).await else {
            return Ok(None);
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
                return Ok(None);
            };
            tokio::time::sleep(wait).await;
            waited += wait;
            hand.left += drawn;
            hand.drawn_at = clock.elapsed();
        }
        hand.left -= requests;
        Ok(Some(waited))
    }

    /// The hand, and how long others had it first. `None`: for too long.
    async fn hold(
        &self,
        kind: CalendarKind,
        clock: &dyn Clock,
    ) -> Option<(MutexGuard<'_, Hand>, Duration)> {
        if let Ok(hand) = self.of(kind).try_lock() {
            return Some((hand, Duration::ZERO));
        }
        let before = clock.elapsed();
        let hand = tokio::time::timeout(BUDGET_WAIT_MAX, self.of(kind).lock()).await.ok()?;
        Some((hand, clock.elapsed().saturating_sub(before)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_hours(1);

    fn pace(per_minute: u32) -> Pace {
        Pace::resumed(Rate::per_minute(per_minute).expect("a limit"), START, Duration::ZERO)
    }

    #[test]
    fn without_a_limit_nothing_waits_and_nothing_is_kept() {
        let mut pace = Pace::unlimited();
        assert!((0..10_000).all(|_| pace.take(START, 3) == Duration::ZERO));
        assert_eq!((pace.ahead(START), pace.closed_for(START)), (None, Duration::ZERO));
    }

    #[test]
    fn the_first_requests_wait_for_nothing_and_the_next_for_their_time() {
        let mut pace = pace(610);
        let waits: Vec<_> = (0..12).map(|_| pace.take(START, 1)).collect();
        assert_eq!(waits[..10], [Duration::ZERO; 10]);
        assert_eq!(waits[10..], [100, 200].map(Duration::from_millis));
        let later = START + Duration::from_millis(200);
        assert_eq!(pace.ahead(later), Some(Duration::from_secs(1)));
        assert_eq!((pace.closed_for(START), pace.closed_for(later)), (waits[11], Duration::ZERO));
    }

    #[test]
    fn what_is_dearer_than_a_burst_is_made_all_the_same() {
        let mut pace = pace(1);
        assert_eq!(pace.take(START, 3), Duration::ZERO);
        assert!(pace.take(START, 1) > Duration::from_mins(1));
    }

    #[test]
    fn a_mark_that_no_pace_can_have_left_is_not_believed() {
        let rate = Rate::per_minute(600).expect("a limit");
        let mut pace = Pace::resumed(rate, START, Duration::from_hours(24));
        assert!(pace.take(START, 1) <= PACE_AHEAD_MAX);
    }

    /// How a lane comes to its next holder.
    #[derive(Debug, Clone, Copy)]
    enum Handover {
        /// It does not.
        None,
        /// It was given back, and what is told is so many milliseconds old on either side.
        Given(u64),
        /// Its lease ran out so many milliseconds after its last call: no mark was left.
        RanOut(u64),
    }

    /// A handover, and a request after so many milliseconds.
    fn steps() -> impl Strategy<Value = Vec<(Handover, u64, u32)>> {
        let handover = prop_oneof![
            8 => Just(Handover::None),
            4 => (0_u64..50).prop_map(Handover::Given),
            1 => (1_000_u64..3_000).prop_map(Handover::RanOut),
        ];
        prop::collection::vec((handover, 0_u64..400, 1_u32..4), 1..600)
    }

    /// What was asked for when, by holders of which each goes on from what the one before has left.
    fn made(rate: Rate, steps: &[(Handover, u64, u32)]) -> Vec<(Duration, u32)> {
        let mut pace = Pace::resumed(rate, START, Duration::ZERO);
        // As the database has it, on its own clock: an hour behind.
        let (mut now, mut mark, mut made) = (START, Duration::ZERO, Vec::new());
        let theirs = |now: Duration| now.saturating_sub(START);
        for (handover, later, requests) in steps {
            match *handover {
                Handover::None => {}
                Handover::Given(age_ms) => {
                    let ahead = pace.ahead(now).expect("it has a limit");
                    now += Duration::from_millis(age_ms);
                    mark = theirs(now) + ahead;
                    let ahead = mark.saturating_sub(theirs(now));
                    now += Duration::from_millis(age_ms);
                    pace = Pace::resumed(rate, now, ahead);
                }
                Handover::RanOut(after_ms) => {
                    now += Duration::from_millis(after_ms);
                    pace = Pace::resumed(rate, now, mark.saturating_sub(theirs(now)));
                }
            }
            now += Duration::from_millis(*later);
            now += pace.take(now, *requests);
            made.push((now, *requests));
        }
        made
    }

    /// The most that was asked for in a minute.
    fn most(made: &[(Duration, u32)]) -> u32 {
        let within = |first: usize| {
            let (from, _) = made[first];
            let those = made[first..].iter().take_while(move |(at, _)| *at < from + WINDOW);
            those.map(|(_, requests)| requests).sum()
        };
        (0..made.len()).map(within).max().unwrap_or_default()
    }

    proptest! {
        /// Whoever holds the lane, and whether or not it was given back.
        ///
        /// Fails with: `Rate::time_of`: without `+ BURST`; `Pace::resumed`: without `+ ahead`.
        #[test]
        fn in_no_minute_there_are_more_than_the_rate(
            per_minute in 183_u32..20_000,
            steps in steps(),
        ) {
            let rate = Rate::per_minute(per_minute).expect("a limit");
            prop_assert!(most(&made(rate, &steps)) <= per_minute);
        }

        /// Where a lane is fenced at once, its mark is lost: that lets one burst through beside the rate.
        #[test]
        fn a_mark_that_is_lost_lets_no_more_than_a_burst_through(
            per_minute in 183_u32..20_000,
            before in prop::collection::vec((Just(Handover::None), 0_u64..400, 1_u32..4), 1..300),
            after in steps(),
        ) {
            let rate = Rate::per_minute(per_minute).expect("a limit");
            let lost = (Handover::RanOut(0), 0, 1);
            let steps = [before, vec![lost], after].concat();
            let burst = per_minute.div_ceil(61);
            prop_assert!(most(&made(rate, &steps)) <= per_minute + burst);
        }
    }
}
