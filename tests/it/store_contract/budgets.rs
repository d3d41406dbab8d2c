//! Budgets: what all processes together may ask of a kind of calendar.

use std::time::Duration;

use calendar_sync::store::Draw;
use futures::future::join_all;

use super::env::{Answered as _, Env};

const HOUR: Duration = Duration::from_hours(1);
/// Longer than all of a fact takes.
const SLACK: Duration = Duration::from_mins(10);

/// An hour of this budget, an hour of which may be used ahead, and which is waited for so long.
fn hour_of(budget: &'static str, hours_waited: u32) -> Draw {
    let wait_max = HOUR * hours_waited;
    Draw { budget, time: HOUR, ahead_max: HOUR, wait_max, believed_max: wait_max * 2 }
}

async fn draw(env: &Env, draw: Draw) -> Option<Duration> {
    env.store.draw(&draw).await.answered()
}

/// Whether a wait is of so many hours, but for what has passed since.
fn is_about(wait: Option<Duration>, hours: u32) -> bool {
    wait.is_some_and(|wait| wait <= HOUR * hours && wait + SLACK >= HOUR * hours)
}

pub(crate) async fn a_budget_is_given_in_turn_and_not_beyond_its_wait(env: &Env) {
    assert_eq!(draw(env, hour_of("a", 2)).await, Some(Duration::ZERO));
    for hours in [1, 2] {
        let wait = draw(env, hour_of("a", 2)).await;
        assert!(is_about(wait, hours), "{wait:?}");
    }
    assert_eq!(draw(env, hour_of("a", 2)).await, None);
    assert_eq!(draw(env, hour_of("a", 2)).await, None, "nothing was used by that");
    let wait = draw(env, hour_of("a", 3)).await;
    assert!(is_about(wait, 3), "{wait:?}");
    assert_eq!(draw(env, hour_of("b", 2)).await, Some(Duration::ZERO), "each is its own");
}

pub(crate) async fn draws_at_once_are_each_given_their_own(env: &Env) {
    let draws = (0..8).map(|_| draw(env, hour_of("a", 24)));
    let mut waits: Vec<_> =
        join_all(draws).await.into_iter().map(Option::unwrap_or_default).collect();
    waits.sort();
    let are_distinct = (0_u32..).zip(&waits).all(|(hours, wait)| is_about(Some(*wait), hours));
    assert!(are_distinct, "{waits:?}");
}

pub(crate) async fn a_clock_that_was_set_back_uses_up_no_budget(env: &Env) {
    for _ in 0..6 {
        draw(env, hour_of("a", 24)).await;
    }
    let wait = draw(env, hour_of("a", 2)).await;
    assert_eq!(wait, Some(Duration::ZERO), "five hours ahead is more than there can be");
    assert!(is_about(draw(env, hour_of("a", 2)).await, 1));
}
