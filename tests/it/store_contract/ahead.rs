//! Facts of a calendar that is ahead of a restored database (rule R7): what it waits for.

use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{
    Batch, Committed, Fence, Fenced, Finding, LaneLease, LogFacts, Passed, Resume,
};

use super::env::{Answered as _, Env, LONG, advance, token};

/// A lane with a call in flight at revision 0.
async fn in_flight(env: &Env) -> LaneLease {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    lane
}

/// The calendar is found ahead, at revision 7. Whether the booking has been raised above it.
async fn raised(env: &Env, lane: &LaneLease) -> bool {
    let finding = Finding::Ahead { revision: 7, after: Duration::ZERO, error: "ahead".to_owned() };
    assert_eq!(env.record(lane, "a", finding).await, Fenced::Written);
    let revision = env.stored("a").await.expect("it is stored").booking.revision;
    assert!([0, 8].contains(&revision), "{revision}");
    revision == 8
}

/// The log end, asked for so long ago.
fn log_end(end: i64, log_end_age: Duration) -> LogFacts {
    LogFacts { start: Some(4), log_end: Some(end), log_end_age, ..LogFacts::default() }
}

async fn note(env: &Env, fence: &Fence, facts: LogFacts) {
    assert_eq!(env.store.note_log(fence, &facts).await.answered(), Fenced::Written);
}

/// Lets a moment pass.
async fn moment(env: &Env) {
    let mut looks = 0..2;
    env.eventually("a moment", || {
        let look = looks.next();
        async move { look.is_none().then_some(()) }
    })
    .await;
}

/// A restored database holds log ends of before it was restored, and may hold a stamp as old.
pub(crate) async fn a_log_end_of_before_the_calendar_was_seen_ahead_does_not_count(env: &Env) {
    let lane = in_flight(env).await;
    let fence = env.fence(1).await;
    note(env, &fence, log_end(4, Duration::ZERO)).await;
    moment(env).await;
    assert!(!raised(env, &lane).await, "it was noted after the stamp, and yet before");
    // The cursor's row is written, and nobody has asked for the log end.
    let fence = env.fence(2).await;
    assert!(!raised(env, &lane).await, "it is fenced");
    let done = Batch {
        advance: Some(calendar_sync::store::Advance { log_end: Some(5), ..advance(&fence, 4, 5) }),
        ..Batch::default()
    };
    assert_eq!(env.store.commit(&done).await.answered(), Committed::Done);
    assert!(!raised(env, &lane).await, "a batch tells what an earlier fetch had told");
    assert!(env.store.resume(super::env::TOPIC, 0, Resume::Set { at: 5 }).await.answered());
    assert!(!raised(env, &lane).await, "it is set");
    let fence = env.fence(3).await;
    note(env, &fence, log_end(5, LONG)).await;
    assert!(!raised(env, &lane).await, "it was asked for long ago");
    note(env, &fence, log_end(5, Duration::ZERO)).await;
    assert!(raised(env, &lane).await, "the same end, asked for now");
}

pub(crate) async fn the_wait_for_the_log_begins_once(env: &Env) {
    let lane = in_flight(env).await;
    let fence = env.fence(1).await;
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(9, Duration::ZERO)).await;
    moment(env).await;
    // Put off again after the end was asked for, which counts all the same.
    assert!(!raised(env, &lane).await);
    let step = advance(&fence, 4, 9);
    let batch = Batch {
        advance: Some(calendar_sync::store::Advance { log_end: None, ..step }),
        ..Batch::default()
    };
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    assert!(raised(env, &lane).await);
}

pub(crate) async fn what_is_never_delivered_is_not_waited_for(env: &Env) {
    let lane = in_flight(env).await;
    let fence = env.fence(1).await;
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(6, Duration::ZERO)).await;
    assert!(!raised(env, &lane).await);
    let passed = Some(Passed { from: 4, to: 6 });
    note(env, &fence, LogFacts { passed, ..LogFacts::default() }).await;
    assert!(raised(env, &lane).await);
}

/// The settings name another topic than before.
pub(crate) async fn a_topic_that_is_not_read_any_more_is_not_waited_for(env: &Env) {
    let lane = in_flight(env).await;
    let former = env.store.fence("former", &[0], token(9)).await.answered();
    let former = &former[0].fence;
    let fence = env.fence(1).await;
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(4, Duration::ZERO)).await;
    note(env, former, log_end(9, Duration::ZERO)).await;
    assert!(!raised(env, &lane).await, "it is read as well");
    note(env, former, log_end(9, LONG + LONG)).await;
    assert!(raised(env, &lane).await);
}

/// A calendar that was ahead once, and is again, is waited for anew.
pub(crate) async fn what_was_settled_meanwhile_is_waited_for_anew(env: &Env) {
    let lane = in_flight(env).await;
    let fence = env.fence(1).await;
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(4, Duration::ZERO)).await;
    moment(env).await;
    let settled = env.record(&lane, "a", super::env::present("a", 0, "Massage")).await;
    assert_eq!(settled, Fenced::Written);
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(4, Duration::ZERO)).await;
    assert!(raised(env, &lane).await);
}

/// What was asked of the log that was read before tells nothing of the one that is read now.
pub(crate) async fn a_log_end_of_the_former_log_does_not_count(env: &Env) {
    let lane = in_flight(env).await;
    let fence = env.fence(1).await;
    assert!(!raised(env, &lane).await);
    note(env, &fence, log_end(4, Duration::ZERO)).await;
    let accept = Resume::Accept { at: Some(4) };
    assert!(env.store.resume(super::env::TOPIC, 0, accept).await.answered());
    let fence = env.fence(2).await;
    let done = Batch {
        advance: Some(calendar_sync::store::Advance { log_end: Some(5), ..advance(&fence, 4, 5) }),
        ..Batch::default()
    };
    assert_eq!(env.store.commit(&done).await.answered(), Committed::Done);
    assert!(!raised(env, &lane).await, "nobody has asked for the end of this one");
    note(env, &fence, log_end(5, Duration::ZERO)).await;
    assert!(raised(env, &lane).await);
}
