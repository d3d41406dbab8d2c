//! Facts of what is counted for metrics.

use std::time::Duration;

use booking::{CalendarKind, PoisonClass, Position, Verb};
use calendar_sync::store::{
    Batch, Committed, ConnectionState, DeadRecord, Fenced, Finding, Gate, NewDeadLetter, Owing,
    Tally,
};

use super::env::{
    Answered as _, Env, SHORT, TOPIC, connection, not_applied, open_gate, present, unknown,
};
use super::lanes::{closed_gates, open_gates};

/// What CalDAV calendars are owed; the others are owed nothing.
async fn owing(env: &Env) -> (i64, i64, Duration) {
    owing_by(env, &open_gate()).await
}

/// The same, where a gate says what is sent.
async fn owing_by(env: &Env, gate: &Gate) -> (i64, i64, Duration) {
    let tally = env.store.tally(gate).await.answered();
    let kinds: Vec<_> = tally.owing.iter().map(|owing| owing.kind).collect();
    assert_eq!(kinds, CalendarKind::ALL);
    let mut ours = (0, 0, Duration::ZERO);
    for Owing { kind, pending, sent, oldest, open } in tally.owing {
        match kind {
            CalendarKind::Caldav => ours = (pending, open, oldest),
            CalendarKind::Google | CalendarKind::Microsoft => {
                assert_eq!((pending, sent, open, oldest), (0, 0, 0, Duration::ZERO), "{kind}");
            }
        }
    }
    ours
}

/// How many of those are sent.
async fn sent_by(env: &Env, gate: &Gate) -> i64 {
    let tally = env.store.tally(gate).await.answered();
    tally.owing.iter().map(|owing| owing.sent).sum()
}

pub(crate) async fn what_is_owed_is_counted_by_the_kind_of_its_calendar(env: &Env) {
    assert_eq!(owing(env).await, (0, 0, Duration::ZERO));
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    env.ask("b", 0, Some("Massage")).await;
    let known = env.eventually("it has been owed for a while", async || {
        let (pending, open, oldest) = owing(env).await;
        (oldest > Duration::ZERO).then_some((pending, open))
    });
    assert_eq!(known.await, (2, 0));
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    assert_eq!(owing(env).await.0, 1);
    // What waits its time is owed all the same.
    assert!(env.stamp(&lane, "b", (Verb::Create, 0, 0)).await);
    let refused = not_applied(Duration::from_hours(1), false);
    assert_eq!(env.record(&lane, "b", refused).await, Fenced::Written);
    assert_eq!(owing(env).await.0, 1);
    // What waits for a person is owed, and is nobody's delay.
    assert_eq!(env.park(&lane, "the token was revoked").await, Fenced::Written);
    let (pending, _, oldest) = owing(env).await;
    assert_eq!((pending, oldest), (1, Duration::ZERO));
    assert_eq!(sent_by(env, &open_gate()).await, 0);
    // What is removed without more ado is owed nothing.
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(owing(env).await, (0, 0, Duration::ZERO));
}

/// What is switched off, or is not on the lists, waits for nobody. What is sent is not hidden by it.
pub(crate) async fn what_the_gate_keeps_back_is_owed_and_nobodys_delay(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    for gate in open_gates() {
        let late = async || Some(owing_by(env, &gate).await.2).filter(|age| !age.is_zero());
        env.eventually("it is owed for a while", late).await;
        assert_eq!(sent_by(env, &gate).await, 1);
    }
    for gate in closed_gates() {
        assert_eq!(owing_by(env, &gate).await, (1, 0, Duration::ZERO), "{gate:?}");
        assert_eq!(sent_by(env, &gate).await, 0);
    }
    // Backoff is a delay: the calendar does not answer.
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", unknown(SHORT)).await, Fenced::Written);
    let late = async || Some(owing(env).await.2).filter(|age| !age.is_zero());
    env.eventually("its hour has come again", late).await;
}

/// A removal is sent; once it waits for a person, it is nobody's delay.
///
/// Fails with: `tally`: without `NOT (c.state = 'removing' AND …)`, in each store.
pub(crate) async fn a_stuck_removal_is_owed_and_nobodys_delay(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    let released = env.store.release(&lane, Duration::ZERO, None).await.answered();
    assert_eq!(released, Fenced::Written);
    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.lane(1).await;
    assert_eq!((owing(env).await.0, sent_by(env, &open_gate()).await), (1, 1));
    assert_eq!(env.park(&lane, "it is locked").await, Fenced::Written);
    assert_eq!((owing(env).await.0, sent_by(env, &open_gate()).await), (1, 0));
    assert_eq!(owing(env).await.2, Duration::ZERO);
}

pub(crate) async fn what_is_to_be_verified_is_counted_though_nothing_is_owed(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let later = Some(Duration::from_hours(1));
    let (present, verified) = (present("a", 0, "Massage"), Finding::Verified);
    assert_eq!(env.record_open(&lane, "a", present, later).await, Fenced::Written);
    assert_eq!((owing(env).await.0, owing(env).await.1), (0, 1));
    // And where something is owed again.
    env.ask("a", 1, Some("Haircut")).await;
    assert_eq!((owing(env).await.0, owing(env).await.1), (1, 1));
    env.apply(&lane, "a", 1, "Haircut").await;
    assert_eq!((owing(env).await.0, owing(env).await.1), (0, 1));
    assert_eq!(env.record(&lane, "a", verified).await, Fenced::Written);
    assert_eq!(owing(env).await.1, 0);
}

pub(crate) async fn connections_and_open_letters_are_counted(env: &Env) {
    let tally = env.store.tally(&open_gate()).await.answered();
    assert_eq!((tally.connections, tally.letters), (Vec::new(), Vec::new()));
    env.connect(1).await;
    env.connect(2).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert_eq!(env.park(&lane, "it is locked").await, Fenced::Written);
    let letter = |offset, class| {
        let record = DeadRecord {
            topic: TOPIC.to_owned(),
            position: Position { incarnation: 0, partition: 0, offset },
            timestamp_ms: 1,
            key: None,
            payload: None,
            headers: Vec::new(),
        };
        NewDeadLetter { class, reason: "no Avro".to_owned(), record }
    };
    let dead_letters = vec![
        letter(1, PoisonClass::Malformed),
        letter(2, PoisonClass::Invalid),
        letter(3, PoisonClass::Malformed),
    ];
    let batch = Batch { dead_letters, ..Batch::default() };
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    let tally = env.store.tally(&open_gate()).await.answered();
    let of_kind = |state, count| (Some(CalendarKind::Caldav), Some(state), count);
    let expected = [of_kind(ConnectionState::Active, 1), of_kind(ConnectionState::Parked, 1)];
    assert_eq!(tally.connections, expected);
    assert_eq!(letters(&tally), [("invalid", 1), ("malformed", 2)]);
    let first = env.store.dead_letters(0, 1).await.answered()[0].id;
    assert!(env.store.discard(first).await.answered());
    let tally = env.store.tally(&open_gate()).await.answered();
    assert_eq!(letters(&tally), [("invalid", 1), ("malformed", 1)]);
}

/// Makes connection 2 one of another version, where its table takes any word.
pub(crate) const OF_TOMORROW: &str = "
    UPDATE connections SET kind = 'of_tomorrow', state = 'of_tomorrow'
     WHERE connection_id = '00000000-0000-0000-0000-000000000002'";

/// A roll-out: one word of the newer version must not end all counting of the former one.
pub(crate) async fn a_word_of_a_newer_version_does_not_end_the_counting(
    env: &Env,
    writes: impl AsyncFnOnce(),
) {
    env.connect(1).await;
    env.connect(2).await;
    env.ask("a", 0, Some("Massage")).await;
    writes().await;
    let tally = env.store.tally(&open_gate()).await.answered();
    let known = (Some(CalendarKind::Caldav), Some(ConnectionState::Active), 1);
    assert_eq!(tally.connections, [known, (None, None, 1)]);
    assert_eq!(owing(env).await.0, 1);
}

fn letters(tally: &Tally) -> Vec<(&str, i64)> {
    tally.letters.iter().map(|(class, count)| (class.as_str(), *count)).collect()
}

pub(crate) async fn a_store_that_answers_is_fine_and_tells_of_its_connections(env: &Env) {
    env.store.check().await.answered();
    let counted_at = async || env.store.tally(&open_gate()).await.answered().counted_at;
    let before = counted_at().await;
    let later = env.eventually("the hour of a count moves on", async || {
        Some(counted_at().await).filter(|at| *at > before)
    });
    later.await;
    let pool = env.store.pool();
    assert!(pool.idle + pool.used <= pool.max, "{pool:?}");
}
