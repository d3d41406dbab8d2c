//! Facts of lanes: one holder, and nothing written by a former one (rules R10, R12 to R15).

use std::collections::BTreeSet;
use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{
    Batch, Committed, ConnectionState, Fenced, Finding, Gate, LaneLease, NewConnection, Standing,
    Taken,
};
use uuid::Uuid;

use super::env::{
    Answered as _, Env, LONG, SHORT, connection, content, effect, id, new_connection, open_gate,
    present, provider, token, uid, unknown,
};

/// Connection 1, with bookings that are due on it.
async fn with_due(env: &Env, names: &[&str]) {
    env.connect(1).await;
    for name in names {
        env.ask(name, 0, Some("Massage")).await;
    }
}

pub(crate) async fn a_connection_with_nothing_due_is_not_leased(env: &Env) {
    env.connect(1).await;
    assert_eq!(env.lease(1).await, None);
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(2).await;
    assert_eq!(lane, LaneLease { connection: connection(1), token: token(2) });
}

pub(crate) async fn a_lane_has_one_holder(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    assert_eq!(env.lease(2).await, None);
    assert_eq!(env.store.renew(&lane, LONG).await.answered(), Fenced::Written);
    let stranger = LaneLease { token: token(2), ..lane };
    assert_eq!(env.store.renew(&stranger, LONG).await.answered(), Fenced::Refused);
    assert_eq!(env.store.release(&stranger, SHORT, None).await.answered(), Fenced::Refused);
    assert_eq!(env.lease(3).await, None);
}

pub(crate) async fn of_two_who_lease_at_once_one_gets_it(env: &Env) {
    with_due(env, &["a"]).await;
    let (one, other) = tokio::join!(env.lease(1), env.lease(2));
    assert!(one.is_some() ^ other.is_some(), "{one:?} and {other:?}");
}

pub(crate) async fn a_lease_that_ran_out_is_taken_by_another(env: &Env) {
    with_due(env, &["a"]).await;
    let former = env.lease_for(1, SHORT).await.expect("a lane has work");
    let lane = env.eventually("the lease runs out", || env.lease(2)).await;
    assert_eq!(env.store.renew(&former, LONG).await.answered(), Fenced::Refused);
    assert!(!env.stamp(&former, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.store.release(&former, SHORT, None).await.answered(), Fenced::Refused);
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
}

pub(crate) async fn a_lease_that_ran_out_cannot_stamp_until_it_is_renewed(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lease_for(1, SHORT).await.expect("a lane has work");
    let ran_out = || async {
        let stamped = env.stamp(&lane, "a", (Verb::Create, 0, 0)).await;
        (!stamped).then_some(())
    };
    env.eventually("the lease runs out", ran_out).await;
    assert_eq!(env.store.renew(&lane, LONG).await.answered(), Fenced::Written);
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
}

pub(crate) async fn a_released_lane_rests(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    assert_eq!(env.store.release(&lane, LONG, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(2).await, None);
    assert_eq!(env.store.release(&lane, LONG, None).await.answered(), Fenced::Refused);
    // A reconnect ends the rest, and a short rest ends by itself.
    env.connect(1).await;
    let lane = env.lane(3).await;
    assert_eq!(env.store.release(&lane, SHORT, None).await.answered(), Fenced::Written);
    env.eventually("the rest is over", || env.lease(4)).await;
}

/// Longer than a fact takes, and shorter than an hour.
const SLACK: Duration = Duration::from_mins(10);
const HOUR: Duration = Duration::from_hours(1);

/// Whether a pace is an hour ahead, but for what has passed since.
fn is_an_hour(ahead: Option<Duration>) -> bool {
    ahead.is_some_and(|ahead| ahead <= HOUR && ahead + SLACK >= HOUR)
}

pub(crate) async fn a_pace_is_kept_with_its_lane(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    assert_eq!(env.store.pace(&lane).await.answered(), Some(Duration::ZERO));
    let release =
        async |lane, ahead| env.store.release(lane, Duration::ZERO, ahead).await.answered();
    assert_eq!(release(&lane, Some(HOUR)).await, Fenced::Written);
    // It keeps nobody from leasing, and goes on while nobody does; whoever used nothing leaves it.
    let lane = env.lane(2).await;
    let ahead = env.store.pace(&lane).await.answered();
    assert!(is_an_hour(ahead), "{ahead:?}");
    assert_eq!(release(&lane, None).await, Fenced::Written);
    // To connect again is no new pace.
    env.connect(1).await;
    let lane = env.lane(3).await;
    let ahead = env.store.pace(&lane).await.answered();
    assert!(is_an_hour(ahead), "{ahead:?}");
    assert_eq!(release(&lane, Some(SHORT)).await, Fenced::Written);
    let lane = env.lane(4).await;
    let is_over = || async {
        let ahead = env.store.pace(&lane).await.answered();
        (ahead == Some(Duration::ZERO)).then_some(())
    };
    env.eventually("its time has passed", is_over).await;
}

pub(crate) async fn only_the_holder_reads_and_leaves_a_pace(env: &Env) {
    with_due(env, &["a"]).await;
    let former = env.lease_for(1, SHORT).await.expect("a lane has work");
    let lane = env.eventually("the lease runs out", || env.lease(2)).await;
    assert_eq!(env.store.pace(&former).await.answered(), None);
    let left = env.store.release(&former, Duration::ZERO, Some(HOUR)).await.answered();
    assert_eq!(left, Fenced::Refused);
    assert_eq!(env.store.pace(&lane).await.answered(), Some(Duration::ZERO));
}

pub(crate) async fn lanes_take_turns(env: &Env) {
    for number in [1, 2, 3] {
        let new = NewConnection { make_destination: true, ..new_connection(number) };
        let _ = env.store.put_connection(&new).await.answered();
        let mut batch = env.batch(&format!("b{number}"), 0, Some("Massage")).await;
        batch.bookings[0].placed = Some(connection(number));
        batch.effects[0].effect.connection = connection(number);
        assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
        // The next destination takes it: it is due there, and here it is due no more.
    }
    let mut leased = Vec::new();
    for (number, from) in [(1, 3), (2, 3), (3, 0)] {
        let gate = open_gate();
        let lane = env.store.lease(&gate, connection(from), token(number), LONG).await;
        leased.extend(lane.answered().map(|lane| lane.connection));
    }
    assert_eq!(leased, [connection(3)], "only the last destination has something due");
    for (name, number) in [("b1", 1), ("b2", 2)] {
        let mut again = effect(name, 1, Some("Massage"));
        again.connection = connection(number);
        let batch = Batch { effects: vec![again.into()], ..Batch::default() };
        assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    }
    for (number, from, expected) in [(4, 3, Some(1)), (5, 1, Some(2)), (6, 1, None)] {
        let lane = env.store.lease(&open_gate(), connection(from), token(number), LONG).await;
        assert_eq!(lane.answered().map(|lane| lane.connection), expected.map(connection));
    }
}

fn gate(enabled: bool, providers: &[Uuid], connections: &[Uuid]) -> Gate {
    Gate { enabled, providers: providers.to_vec(), connections: connections.to_vec() }
}

/// Gates that let nothing through to connection 1.
pub(super) fn closed_gates() -> [Gate; 5] {
    let (mine, other) = (provider(1).0, provider(2).0);
    let (this, that) = (connection(1).0, connection(2).0);
    [
        gate(false, &[], &[]),
        gate(true, &[other], &[]),
        gate(true, &[], &[that]),
        gate(true, &[mine], &[that]),
        gate(true, &[other], &[this]),
    ]
}

/// Gates that let all through to it.
pub(super) fn open_gates() -> [Gate; 3] {
    let (mine, other) = (provider(1).0, provider(2).0);
    let (this, that) = (connection(1).0, connection(2).0);
    [gate(true, &[other, mine], &[this]), gate(true, &[], &[that, this]), open_gate()]
}

pub(crate) async fn the_gate_decides_what_is_leased_and_counted(env: &Env) {
    with_due(env, &["a", "b"]).await;
    for gate in closed_gates() {
        let lane = env.store.lease(&gate, connection(0), token(1), LONG).await.answered();
        assert_eq!(lane, None, "{gate:?}");
        assert_eq!(env.store.backlog(&gate, 10).await.answered(), 0, "{gate:?}");
    }
    for (number, gate) in (0..).zip(open_gates()) {
        assert_eq!(env.store.backlog(&gate, 10).await.answered(), 2, "{gate:?}");
        assert_eq!(env.store.backlog(&gate, 1).await.answered(), 1, "{gate:?}");
        let lane = env.store.lease(&gate, connection(0), token(number), LONG).await.answered();
        let lane = lane.expect("the gate is open");
        let released = env.store.release(&lane, Duration::ZERO, None).await.answered();
        assert_eq!(released, Fenced::Written);
    }
}

/// A calendar that is slow or dead never stalls a partition.
pub(crate) async fn a_calendar_that_does_not_answer_is_no_backlog(env: &Env) {
    with_due(env, &["a", "b", "c", "d", "e"]).await;
    let count = |limit| async move { env.store.backlog(&open_gate(), limit).await.answered() };
    assert_eq!((count(100).await, count(20).await), (5, 5));
    assert_eq!(count(8).await, 2, "a quarter of the limit, from one connection");
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", unknown(LONG)).await, Fenced::Written);
    assert_eq!(count(100).await, 0);
    assert_eq!(env.counted(1).await.pending, 5, "all of it is owed");
}

pub(crate) async fn a_stamp_needs_the_revision_that_is_wanted(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    env.ask("a", 1, Some("Haircut")).await;
    assert!(!env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.in_flight, owed.attempts), (None, 0));
    assert!(env.stamp(&lane, "a", (Verb::Create, 1, 0)).await);
    let owed = env.owed(&lane).await;
    let in_flight = owed.in_flight.expect("it is stamped");
    assert_eq!((in_flight.verb, in_flight.revision), (Verb::Create, 1));
    assert_eq!(in_flight.body, b"create a 1");
    assert_eq!(owed.attempts, 1);
}

/// Another destination withdraws the event, and is no new revision.
pub(crate) async fn a_stamp_needs_an_event_to_be_wanted_still(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    let second = NewConnection { make_destination: true, ..new_connection(2) };
    assert_eq!(env.store.put_connection(&second).await.answered().bookings_due, 1);
    assert!(!env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert!(env.stamp(&lane, "a", (Verb::Delete, 0, 0)).await);
}

pub(crate) async fn an_unsettled_call_may_be_sent_again_by_its_own_holder(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let first = env.owed(&lane).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let second = env.owed(&lane).await;
    assert_eq!(second.in_flight, first.in_flight);
    assert_eq!(second.attempts, 2);
}

pub(crate) async fn a_delete_burns_its_generation(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    env.ask("a", 1, None).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 1, 0)).await);
    let owed = env.owed(&lane).await;
    assert!(owed.burned, "the intent alone burns it");
    let digest = owed.in_flight.expect("it is stamped").digest;
    assert_eq!(digest, None);
    let finding = Finding::Absent { revision: 1 };
    assert_eq!(env.record(&lane, "a", finding).await, Fenced::Written);
    env.ask("a", 2, Some("Haircut")).await;
    assert!(env.owed(&lane).await.burned);
    assert!(env.stamp(&lane, "a", (Verb::Create, 2, 1)).await);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.generation, owed.burned), (1, false));
}

/// Rule R12: a calendar that is found ahead while a delete is on its way leaves such a row.
pub(crate) async fn what_is_burned_is_deleted_though_an_event_is_wanted_again(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    env.ask("a", 1, Some("Long massage")).await;
    assert!(!env.stamp(&lane, "a", (Verb::Delete, 1, 0)).await, "no delete was meant for it");
    env.ask("a", 2, None).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 2, 0)).await);
    env.ask("a", 3, Some("Haircut")).await;
    let after = Duration::ZERO;
    let ahead = Finding::Ahead { revision: 7, after, error: "ahead".to_owned() };
    assert_eq!(env.record(&lane, "a", ahead).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.desired), (8, Some(content("Haircut"))));
    assert_eq!((owed.burned, owed.applied.is_some(), owed.in_flight), (true, true, None));

    assert!(env.stamp(&lane, "a", (Verb::Delete, 8, 0)).await);
    let absent = Finding::Absent { revision: 8 };
    assert_eq!(env.record(&lane, "a", absent).await, Fenced::Written);
    assert_eq!(env.owed(&lane).await.applied, None, "it is owed still, in the next generation");
    assert!(env.stamp(&lane, "a", (Verb::Create, 8, 1)).await);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.generation, owed.burned), (1, false));
}

pub(crate) async fn a_take_over_leaves_the_former_attempt_open(env: &Env) {
    with_due(env, &["a", "b"]).await;
    let former = env.lane(1).await;
    assert!(env.stamp(&former, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&former, "a", unknown(Duration::ZERO)).await, Fenced::Written);
    assert_eq!(env.store.release(&former, Duration::ZERO, None).await.answered(), Fenced::Written);
    let lane = env.eventually("the rest is over", || env.lease(2)).await;
    assert_eq!(env.store.take_over(&lane, LONG).await.answered(), Taken::Over(1));
    let due = env.due(&lane).await;
    assert_eq!(due[0].uid, uid("a"), "what is in flight is due at once, and first");
    assert!(due[0].in_flight.is_some());
    let verify = due[0].verify.clone().expect("the former attempt is open");
    assert_eq!((verify.from_generation, verify.deletes, verify.is_due), (0, false, false));
    assert_eq!(verify.stage, 0);
    assert_eq!(due[1].verify, None);
    assert_eq!(env.store.take_over(&lane, LONG).await.answered(), Taken::Over(0));
}

pub(crate) async fn a_take_over_keeps_the_backoff(env: &Env) {
    with_due(env, &["a", "b"]).await;
    let former = env.lane(1).await;
    assert!(env.stamp(&former, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&former, "a", unknown(LONG)).await, Fenced::Written);
    assert_eq!(env.store.release(&former, Duration::ZERO, None).await.answered(), Fenced::Written);
    let lane = env.eventually("the rest is over", || env.lease(2)).await;
    assert_eq!(env.store.take_over(&lane, LONG).await.answered(), Taken::Over(1));
    assert_eq!(env.owed(&lane).await.uid, uid("b"));
}

pub(crate) async fn who_asks_about_a_booking_ends_its_waiting(env: &Env) {
    with_due(env, &["a", "b"]).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "b", 0, "Massage").await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", unknown(LONG)).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    let status = async |name| env.store.hasten(&id(name)).await.answered();
    let asked = status("a").await.expect("it is stored");
    assert_eq!((asked.uid, asked.provider, asked.is_shown), (uid("a"), provider(1), true));
    let [waiting] = asked.calendars.as_slice() else { panic!("one calendar") };
    assert_eq!(
        (waiting.connection, waiting.connection_state),
        (connection(1), ConnectionState::Active)
    );
    assert_eq!(
        (waiting.standing, waiting.is_wanted, waiting.is_live),
        (Standing::Due, true, false)
    );
    assert_eq!((waiting.attempts, waiting.last_error.as_deref()), (2, Some("no answer")));
    assert_eq!(env.owed(&lane).await.uid, uid("a"), "the backoff is over");
    let settled = status("b").await.expect("it is stored");
    assert_eq!(
        (settled.calendars[0].standing, settled.calendars[0].is_live),
        (Standing::Settled, true)
    );
    assert_eq!(status("nobody's").await, None);
}

/// Rule R15.
pub(crate) async fn a_record_of_a_former_holder_is_refused(env: &Env) {
    with_due(env, &["a"]).await;
    let former = env.lease_for(1, LONG).await.expect("a lane has work");
    assert!(env.stamp(&former, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.store.release(&former, Duration::ZERO, None).await.answered(), Fenced::Written);
    let lane = env.eventually("the rest is over", || env.lease(2)).await;
    assert_eq!(env.store.take_over(&lane, LONG).await.answered(), Taken::Over(1));
    let refused = env.record(&former, "a", present("a", 0, "Massage")).await;
    assert_eq!(refused, Fenced::Refused);
    assert_eq!(env.owed(&lane).await.applied, None);
    assert_eq!(env.store.external_events(&uid("a")).await.answered(), []);
    let own = env.record(&lane, "a", present("a", 0, "Massage")).await;
    assert_eq!(own, Fenced::Written);
}

pub(crate) async fn only_the_holder_takes_over(env: &Env) {
    with_due(env, &["a"]).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let stranger = LaneLease { token: token(2), ..lane.clone() };
    assert_eq!(env.store.take_over(&stranger, LONG).await.answered(), Taken::Refused);
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
}

pub(crate) async fn what_is_in_flight_comes_first(env: &Env) {
    with_due(env, &["a", "b", "c"]).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "c", (Verb::Create, 0, 0)).await);
    let uids: Vec<_> = env.due(&lane).await.into_iter().map(|row| row.uid).collect();
    assert_eq!(uids[0], uid("c"));
    let rest: BTreeSet<_> = uids[1..].iter().cloned().collect();
    assert_eq!(rest, BTreeSet::from([uid("a"), uid("b")]));
}

pub(crate) async fn no_more_is_read_than_was_asked_for(env: &Env) {
    with_due(env, &["a", "b", "c"]).await;
    let lane = env.lane(1).await;
    assert_eq!(env.store.due(&lane, 2).await.answered().len(), 2);
    assert_eq!(env.store.due(&lane, 9).await.answered().len(), 3);
}
