//! Facts of what is recorded after a call (rules R12 to R15).

use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{
    DeadState, EFFECT_REJECTED, Fenced, Finding, LaneLease, LogFacts, Origin, Record, Recorded,
    Verify,
};

use super::env::{
    Answered as _, Env, LONG, SHORT, connection, content, hour, not_applied, present, provider,
    token, uid, unknown,
};

/// Booking `a` is due on connection 1, whose lane is leased.
async fn leased(env: &Env) -> LaneLease {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    env.lane(1).await
}

/// Its create is in flight.
async fn in_flight(env: &Env) -> LaneLease {
    let lane = leased(env).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    lane
}

/// The calendar holds it.
async fn applied(env: &Env) -> LaneLease {
    let lane = leased(env).await;
    env.apply(&lane, "a", 0, "Massage").await;
    lane
}

async fn statuses(env: &Env) -> Vec<(String, bool, i64)> {
    let events = env.store.external_events(&uid("a")).await.answered();
    let told = events.into_iter();
    told.map(|event| (event.sync_status, event.is_busy, event.applied_revision)).collect()
}

fn status(name: &str, is_busy: bool, revision: i64) -> (String, bool, i64) {
    (name.to_owned(), is_busy, revision)
}

pub(crate) async fn what_is_acknowledged_is_applied(env: &Env) {
    let lane = applied(env).await;
    assert_eq!(env.due(&lane).await, []);
    let events = env.store.external_events(&uid("a")).await.answered();
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((event.provider, event.connection), (provider(1), connection(1)));
    assert_eq!((event.external_id.as_str(), &event.uid), ("booking-a.ics", &uid("a")));
    assert_eq!(event.kind, booking::CalendarKind::Caldav);
    assert_eq!(event.provider_uid, Some(uid("a").to_string()));
    assert_eq!((event.start, event.end, event.is_busy), (hour(9), hour(10), true));
    assert_eq!((event.generation, event.applied_revision), (0, 0));
    assert_eq!(event.etag.as_deref(), Some("\"0\""));
    assert_eq!(event.sync_status, "CREATED");
    assert_eq!((env.counted(1).await.pending, env.counted(1).await.live), (0, 1));
    env.ask("a", 1, Some("Haircut")).await;
    let owed = env.owed(&lane).await;
    assert_eq!(owed.applied, Some((0, content("Massage").digest())));
    assert_eq!((owed.etag.as_deref(), owed.attempts), (Some("\"0\""), 0));
    env.apply(&lane, "a", 1, "Haircut").await;
    assert_eq!(statuses(env).await, [status("UPDATED", true, 1)]);
}

/// R12: what was surely not applied was no intent that anybody acts on.
pub(crate) async fn a_delete_that_was_surely_not_applied_burns_nothing(env: &Env) {
    let lane = applied(env).await;
    env.ask("a", 1, None).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 1, 0)).await);
    assert!(env.owed(&lane).await.burned);
    let refused = env.record(&lane, "a", not_applied(Duration::ZERO, false)).await;
    assert_eq!(refused, Fenced::Written);
    assert!(!env.owed(&lane).await.burned);
}

/// R7: a restored database is behind what the calendar holds.
pub(crate) async fn a_calendar_that_is_ahead_waits_for_the_log_and_is_then_gone_above(env: &Env) {
    let lane = in_flight(env).await;
    let ahead = || Finding::Ahead { revision: 7, after: Duration::ZERO, error: "ahead".to_owned() };
    // The log end was never noted: nobody knows whether the log has been read.
    let fence = env.fence(1).await;
    assert_eq!(env.record(&lane, "a", ahead()).await, Fenced::Written);
    assert_eq!(env.owed(&lane).await.desired_revision, 0);
    let facts = LogFacts { start: Some(4), log_end: Some(5), ..LogFacts::default() };
    assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
    assert_eq!(env.record(&lane, "a", ahead()).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.in_flight.is_some()), (0, true), "one is to be read");
    let facts = LogFacts { log_end: Some(4), ..LogFacts::default() };
    assert_eq!(env.store.note_log(&fence, &facts).await.answered(), Fenced::Written);
    assert_eq!(env.record(&lane, "a", ahead()).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.in_flight.is_some()), (8, false));
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!(stored.booking.revision, 8);
    let stale = LaneLease { token: token(99), ..lane };
    assert_eq!(env.record(&stale, "a", ahead()).await, Fenced::Refused);
}

/// L26: a failed create is no event.
pub(crate) async fn what_is_not_acknowledged_stays_due(env: &Env) {
    let lane = in_flight(env).await;
    let failed = env.record(&lane, "a", not_applied(Duration::ZERO, true)).await;
    assert_eq!(failed, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.applied, owed.in_flight), (None, None));
    assert_eq!((owed.attempts, owed.rejections), (1, 1));
    assert_eq!(statuses(env).await, []);
}

pub(crate) async fn what_was_deleted_is_cancelled_and_not_busy(env: &Env) {
    let lane = applied(env).await;
    env.ask("a", 1, None).await;
    assert!(env.stamp(&lane, "a", (Verb::Delete, 1, 0)).await);
    let absent = env.record(&lane, "a", Finding::Absent { revision: 1 }).await;
    assert_eq!(absent, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    assert_eq!(statuses(env).await, [status("CANCELLED", false, 1)]);
    assert_eq!(env.counted(1).await.live, 0);
    // Rebooked: the burned generation is not used again.
    env.ask("a", 2, Some("Haircut")).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.applied, owed.etag, owed.burned), (None, None, true));
}

pub(crate) async fn an_event_that_is_gone_is_made_anew(env: &Env) {
    let lane = applied(env).await;
    env.ask("a", 1, Some("Haircut")).await;
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    assert_eq!(env.record(&lane, "a", Finding::Gone).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.generation, owed.burned, owed.in_flight), (1, false, None));
    assert_eq!((owed.applied, owed.etag), (None, None));
    assert_eq!(statuses(env).await, [status("CANCELLED", false, 0)]);
}

pub(crate) async fn what_was_not_applied_waits_its_time(env: &Env) {
    let lane = in_flight(env).await;
    let put_off = env.record(&lane, "a", not_applied(SHORT, false)).await;
    assert_eq!(put_off, Fenced::Written);
    let due = || async { env.due(&lane).await.pop() };
    let owed = env.eventually("it is due again", due).await;
    assert_eq!((owed.in_flight, owed.attempts, owed.rejections), (None, 1, 0));
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", not_applied(LONG, false)).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(2).await, None);
}

pub(crate) async fn what_is_unknown_stays_in_flight(env: &Env) {
    let lane = in_flight(env).await;
    assert_eq!(env.record(&lane, "a", unknown(SHORT)).await, Fenced::Written);
    let due = || async { env.due(&lane).await.pop() };
    let owed = env.eventually("it is read back", due).await;
    assert_eq!(owed.applied, None);
    assert_eq!(owed.in_flight.expect("it is in flight").body, b"create a 0");
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
}

pub(crate) async fn a_finding_without_a_call_in_flight_is_refused(env: &Env) {
    let lane = leased(env).await;
    let findings =
        [present("a", 0, "Massage"), Finding::Gone, unknown(SHORT), not_applied(SHORT, true)];
    for finding in findings {
        assert_eq!(env.record(&lane, "a", finding).await, Fenced::Refused);
    }
    assert_eq!(statuses(env).await, []);
    assert_eq!(env.owed(&lane).await.rejections, 0);
}

/// Rule R14.
pub(crate) async fn an_open_attempt_is_verified_in_time(env: &Env) {
    let lane = in_flight(env).await;
    let recorded = env.record_open(&lane, "a", present("a", 0, "Massage"), Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    // Nothing else is due: the verification alone asks for the lane.
    let lane = env.eventually("the verification's hour", || env.lease(2)).await;
    let owed = env.owed(&lane).await;
    let verify = Verify { from_generation: 0, deletes: false, stage: 0, is_due: true, drift: None };
    assert_eq!(owed.verify, Some(verify));
    assert!(owed.applied.is_some());
}

pub(crate) async fn the_earlier_verification_stays(env: &Env) {
    let lane = in_flight(env).await;
    for after in [SHORT, LONG] {
        let recorded = env.record_open(&lane, "a", unknown(Duration::ZERO), Some(after)).await;
        assert_eq!(recorded, Fenced::Written);
    }
    let is_due = || async {
        let verify = env.owed(&lane).await.verify.expect("the attempt is open");
        verify.is_due.then_some(())
    };
    env.eventually("the verification's hour", is_due).await;
}

pub(crate) async fn a_verification_ends_or_asks_for_the_next(env: &Env) {
    let lane = in_flight(env).await;
    let recorded = env.record_open(&lane, "a", present("a", 0, "Massage"), Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    for stage in [0, 1] {
        let due = || async { env.due(&lane).await.pop() };
        let owed = env.eventually("the verification's hour", due).await;
        assert_eq!(owed.verify.expect("the attempt is open").stage, stage);
        let next = env.record_open(&lane, "a", Finding::Verified, Some(SHORT)).await;
        assert_eq!(next, Fenced::Written);
    }
    assert_eq!(env.record(&lane, "a", Finding::Verified).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    env.ask("a", 1, Some("Haircut")).await;
    assert_eq!(env.owed(&lane).await.verify, None);
}

pub(crate) async fn a_verification_that_finds_another_state_makes_it_due(env: &Env) {
    let lane = applied(env).await;
    let found = Finding::Differs {
        present: Some((7, content("By hand").digest())),
        etag: Some("\"7\"".to_owned()),
        passed: 0,
    };
    assert_eq!(env.record(&lane, "a", found).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!(owed.applied, Some((7, content("By hand").digest())));
    assert_eq!((owed.etag.as_deref(), owed.generation), (Some("\"7\""), 0));
    assert_eq!(owed.verify, None);
}

pub(crate) async fn a_verification_that_finds_a_hole_opens_a_generation(env: &Env) {
    let lane = applied(env).await;
    let hole = Finding::Differs { present: None, etag: None, passed: 1 };
    assert_eq!(env.record_open(&lane, "a", hole, Some(LONG)).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.applied, owed.etag, owed.generation), (None, None, 1));
    assert_eq!(statuses(env).await, [status("CANCELLED", false, 0)]);
    let verify = owed.verify.expect("the next verification is asked for");
    assert!(!verify.is_due);
}

pub(crate) async fn a_verification_that_finds_later_generations_passes_them(env: &Env) {
    let lane = applied(env).await;
    let there = (4, content("Later").digest());
    let etag = Some("\"4\"".to_owned());
    let later = Finding::Differs { present: Some(there), etag: etag.clone(), passed: 2 };
    assert_eq!(env.record_open(&lane, "a", later, Some(LONG)).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.applied, owed.etag, owed.generation), (Some(there), etag, 2));
    assert!(!owed.burned);
    let verify = owed.verify.expect("the earlier ones are looked at");
    assert_eq!((verify.is_due, verify.from_generation), (false, 0));

    let deleted = Finding::Differs { present: None, etag: None, passed: 2 };
    assert_eq!(env.record_open(&lane, "a", deleted, Some(LONG)).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!((owed.applied, owed.generation, owed.burned), (None, 4, false));
    assert_eq!(owed.verify.map(|verify| verify.from_generation), Some(0));
}

pub(crate) async fn only_the_holder_verifies(env: &Env) {
    let lane = applied(env).await;
    let stranger = LaneLease { token: token(2), ..lane };
    let hole = Finding::Differs { present: None, etag: None, passed: 1 };
    for finding in [Finding::Verified, hole] {
        assert_eq!(env.record(&stranger, "a", finding).await, Fenced::Refused);
    }
    assert_eq!(env.counted(1).await.pending, 0);
}

fn dead(unknown: bool) -> Finding {
    Finding::Dead { error: "it has too many guests".to_owned(), unknown }
}

pub(crate) async fn a_dead_effect_is_a_dead_letter(env: &Env) {
    let lane = applied(env).await;
    env.ask("a", 1, Some("Haircut")).await;
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    assert_eq!(env.record(&lane, "a", dead(false)).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    // What the calendar holds is what it acknowledged last.
    assert_eq!(statuses(env).await, [status("FAILED", true, 0)]);
    let letters = env.store.dead_letters(0, 10).await.answered();
    let [letter] = letters.as_slice() else { panic!("one letter: {letters:?}") };
    assert_eq!((letter.class.as_str(), letter.state), (EFFECT_REJECTED, DeadState::Open));
    assert_eq!(letter.reason, "it has too many guests");
    let origin = Origin::Effect { uid: uid("a"), connection: connection(1) };
    assert_eq!(letter.origin, origin);
}

/// Rule R13: what is wanted by now has its own try, and whoever counts the dead is told so.
pub(crate) async fn what_gave_way_to_a_newer_wish_does_not_die(env: &Env) {
    let record = async |lane: &LaneLease, unknown| {
        let (lane, uid) = (lane.clone(), uid("a"));
        let record = Record { lane, uid, finding: dead(unknown), verify_after: None };
        env.store.record(&record).await.answered()
    };
    let lane = applied(env).await;
    for (revision, unknown) in [(1, false), (3, true)] {
        env.ask("a", revision, Some("Haircut")).await;
        assert!(env.stamp(&lane, "a", (Verb::Update, revision, 0)).await);
        env.ask("a", revision + 1, Some("Shave")).await;
        assert_eq!(record(&lane, unknown).await, Recorded::Written);
        assert_eq!(env.due(&lane).await.len(), 1, "it is tried");
        assert_eq!(env.store.dead_letters(0, 10).await.answered(), []);
    }
    assert_eq!(record(&lane, true).await, Recorded::Died, "it was refused since");
    assert_eq!(env.store.dead_letters(0, 10).await.answered().len(), 1);
    let other = LaneLease { token: token(9), ..lane };
    assert_eq!(record(&other, true).await, Recorded::Refused);
}

pub(crate) async fn a_dead_effect_that_may_be_applied_stays_in_flight(env: &Env) {
    let lane = in_flight(env).await;
    let recorded = env.record_open(&lane, "a", dead(true), Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    assert_eq!(env.counted(1).await.pending, 0);
    let letter = env.store.dead_letters(0, 10).await.answered().remove(0);
    assert!(env.store.revive(letter.id).await.answered());
    assert!(env.owed(&lane).await.in_flight.is_some());
}

/// Else a dead one is sent, and makes a dead letter, at each drain from then on; and an outage of
/// more than an hour knows no backoff.
pub(crate) async fn a_verification_waits_for_what_is_owed_and_for_the_dead(env: &Env) {
    env.connect(1).await;
    for (name, finding) in [("a", dead(true)), ("b", unknown(LONG)), ("c", not_applied(LONG, true))]
    {
        env.ask(name, 0, Some("Massage")).await;
        let lane = env.lane(1).await;
        assert!(env.stamp(&lane, name, (Verb::Create, 0, 0)).await);
        assert_eq!(env.record_open(&lane, name, finding, Some(SHORT)).await, Fenced::Written);
        assert_eq!(
            env.store.release(&lane, Duration::ZERO, None).await.answered(),
            Fenced::Written
        );
    }
    env.ask("witness", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "witness", (Verb::Create, 0, 0)).await);
    let applied = present("witness", 0, "Massage");
    let recorded = env.record_open(&lane, "witness", applied, Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    let due = || async { Some(env.due(&lane).await).filter(|due| !due.is_empty()) };
    let due = env.eventually("the verification's hour", due).await;
    assert_eq!(due.iter().map(|owed| owed.uid.clone()).collect::<Vec<_>>(), [uid("witness")]);
    assert_eq!(env.record(&lane, "witness", Finding::Verified).await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(3).await, None);
    assert_eq!(env.store.dead_letters(0, 10).await.answered().len(), 1);
}

/// A calendar that does not answer at the first hour is asked again at the second all the same.
pub(crate) async fn a_verification_that_could_not_be_made_stands(env: &Env) {
    let lane = in_flight(env).await;
    let recorded = env.record_open(&lane, "a", present("a", 0, "Massage"), Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    for _ in 0..2 {
        let due = || async { env.due(&lane).await.pop() };
        let owed = env.eventually("the verification's hour", due).await;
        assert_eq!(owed.verify.expect("the attempt is open").stage, 0);
        let later = env.record_open(&lane, "a", Finding::Unverified, Some(SHORT)).await;
        assert_eq!(later, Fenced::Written);
    }
}

/// Rule R14: each open attempt has all its hours.
pub(crate) async fn an_open_attempt_begins_the_verifications_anew(env: &Env) {
    let lane = in_flight(env).await;
    let recorded = env.record_open(&lane, "a", present("a", 0, "Massage"), Some(SHORT)).await;
    assert_eq!(recorded, Fenced::Written);
    let due = || async { env.due(&lane).await.pop() };
    env.eventually("the verification's hour", due).await;
    let next = env.record_open(&lane, "a", Finding::Verified, Some(LONG)).await;
    assert_eq!(next, Fenced::Written);
    env.ask("a", 1, Some("Haircut")).await;
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    let open = env.record_open(&lane, "a", unknown(Duration::ZERO), Some(SHORT)).await;
    assert_eq!(open, Fenced::Written);
    assert_eq!(env.owed(&lane).await.verify.expect("the attempt is open").stage, 0);
}

/// What came meanwhile is tried; a call that has to be settled first gets as many tries again.
pub(crate) async fn a_new_revision_does_not_die_with_the_former(env: &Env) {
    for unknown in [false, true] {
        let name = if unknown { "b" } else { "a" };
        env.connect(1).await;
        env.ask(name, 0, Some("Massage")).await;
        let lane = env.lane(1).await;
        assert!(env.stamp(&lane, name, (Verb::Create, 0, 0)).await);
        env.ask(name, 1, Some("Haircut")).await;
        assert_eq!(env.record(&lane, name, dead(unknown)).await, Fenced::Written);
        assert!(env.due(&lane).await.iter().any(|owed| owed.uid == uid(name)));
        assert_eq!(env.store.dead_letters(0, 10).await.answered(), []);
        if unknown {
            assert_eq!(env.record(&lane, name, dead(unknown)).await, Fenced::Written);
            assert_eq!(env.store.dead_letters(0, 10).await.answered().len(), 1);
        }
        assert_eq!(
            env.store.release(&lane, Duration::ZERO, None).await.answered(),
            Fenced::Written
        );
    }
}

pub(crate) async fn a_new_revision_revives_a_dead_effect(env: &Env) {
    let lane = in_flight(env).await;
    let rejected = env.record(&lane, "a", not_applied(Duration::ZERO, true)).await;
    assert_eq!(rejected, Fenced::Written);
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", dead(false)).await, Fenced::Written);
    env.ask("a", 0, Some("Massage")).await;
    assert_eq!(env.due(&lane).await, [], "a replay is no new revision");
    env.ask("a", 1, Some("Haircut")).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired_revision, owed.rejections), (1, 0));
}

/// What a person is told who looks at the connection alone.
pub(crate) async fn the_error_of_what_waits_longest_is_the_connections(env: &Env) {
    let lane = leased(env).await;
    env.ask("b", 0, Some("Haircut")).await;
    let told = async || env.counted(1).await.last_error;
    assert_eq!(told().await, None);
    for (name, finding) in [("a", unknown(SHORT)), ("b", not_applied(LONG, false))] {
        assert!(env.stamp(&lane, name, (Verb::Create, 0, 0)).await);
        assert_eq!(env.record(&lane, name, finding).await, Fenced::Written);
    }
    assert_eq!(told().await.as_deref(), Some("the calendar said no"));
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
    assert_eq!(told().await.as_deref(), Some("the calendar said no"));
    env.ask("b", 1, None).await;
    assert_eq!(told().await, None, "nothing is due any more");
}

pub(crate) async fn a_record_below_what_is_wanted_leaves_it_due(env: &Env) {
    let lane = in_flight(env).await;
    env.ask("a", 1, Some("Haircut")).await;
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Written);
    let owed = env.owed(&lane).await;
    assert_eq!(owed.applied, Some((0, content("Massage").digest())));
    assert_eq!((owed.desired_revision, owed.in_flight), (1, None));
}
