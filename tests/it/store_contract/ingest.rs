//! Facts of a batch: all or nothing, from what it was folded from, and never the lane's columns
//! (rules R3, R8 and R9).

use booking::{Effect, EventId, Verb};
use calendar_sync::store::{
    Batch, Committed, Fenced, Finding, JournalEntry, StoredBooking, Verify,
};

use super::env::{
    Answered as _, Env, LONG, SHORT, TOPIC, advance, booking, connection, content, desired, effect,
    id, not_applied, open_gate, provider, token, uid, unknown,
};

fn journal(offset: i64) -> JournalEntry {
    JournalEntry {
        topic: TOPIC.to_owned(),
        position: booking::Position { incarnation: 0, partition: 0, offset },
        event: EventId(token(99)),
        uid: uid("a"),
        kind: "BookingCreated",
        decision: "visible",
        revision: 0,
    }
}

pub(crate) async fn a_batch_is_stored_whole(env: &Env) {
    env.connect(1).await;
    let fence = env.fence(1).await;
    let mut batch = env.batch("a", 0, Some("Massage")).await;
    batch.advance = Some(advance(&fence, 0, 1));
    batch.destinations = vec![(provider(1), Some(connection(1)))];
    batch.journal = vec![journal(0)];
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!(stored, StoredBooking { version: 1, ..batch.bookings[0].clone() });
    let owed = env.owed(&env.lane(1).await).await;
    assert_eq!((owed.uid, owed.connection), (uid("a"), connection(1)));
    assert_eq!((owed.booking, owed.provider), (id("a"), provider(1)));
    assert_eq!((owed.desired_revision, owed.desired), (0, Some(content("Massage"))));
    assert_eq!((owed.applied, owed.in_flight, owed.verify), (None, None, None));
    assert_eq!((owed.generation, owed.burned, owed.etag), (0, false, None));
    assert_eq!((owed.attempts, owed.rejections), (0, 0));
}

pub(crate) async fn a_booking_is_found_once_under_either_name(env: &Env) {
    env.keep("a", 0, Some("Massage")).await;
    env.keep("b", 0, Some("Haircut")).await;
    let asked = [(id("a"), uid("a")), (id("a"), uid("b")), (id("c"), uid("c"))];
    let mut found = env.store.states(&asked, &[]).await.answered().bookings;
    found.sort_by(|one, other| one.booking.uid.cmp(&other.booking.uid));
    let uids: Vec<_> = found.into_iter().map(|stored| stored.booking.uid).collect();
    assert_eq!(uids, [uid("a"), uid("b")]);
}

pub(crate) async fn a_provider_without_a_connection_has_no_destination(env: &Env) {
    env.connect(1).await;
    let asked = [provider(2), provider(1)];
    let states = env.store.states(&[], &asked).await.answered();
    assert_eq!(states.destinations, [(provider(2), None), (provider(1), Some(connection(1)))]);
    let batch = Batch { destinations: states.destinations, ..Batch::default() };
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
}

/// Neither the cursor nor an effect of a batch that was not committed is there.
async fn nothing_of_it(env: &Env) {
    let cursor = env.store.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.next_offset, None);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 0);
}

pub(crate) async fn a_booking_that_changed_meanwhile_makes_a_batch_stale(env: &Env) {
    env.connect(1).await;
    let fence = env.fence(1).await;
    env.keep("a", 0, Some("Massage")).await;
    let mut batch = env.batch("a", 1, Some("Long massage")).await;
    batch.advance = Some(advance(&fence, 0, 1));
    env.keep("a", 1, Some("Short massage")).await;
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Stale);
    nothing_of_it(env).await;
    let stored = env.stored("a").await.expect("it is stored");
    assert_eq!((stored.version, stored.booking.content), (2, Some(content("Short massage"))));
}

pub(crate) async fn a_booking_that_came_meanwhile_makes_a_batch_stale(env: &Env) {
    env.connect(1).await;
    let fence = env.fence(1).await;
    let mut batch = env.batch("a", 0, Some("Massage")).await;
    batch.advance = Some(advance(&fence, 0, 1));
    env.keep("a", 0, Some("Massage")).await;
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Stale);
    nothing_of_it(env).await;
}

/// R18: a database that fell back after it was read has not what nothing had to be changed of.
pub(crate) async fn a_booking_that_was_forgotten_meanwhile_makes_a_batch_stale(env: &Env) {
    let fence = env.fence(1).await;
    env.keep("a", 0, Some("Massage")).await;
    let of = |name, version| Batch {
        advance: Some(advance(&fence, 0, 1)),
        unchanged: vec![(uid("a"), 1), (uid(name), version)],
        ..Batch::default()
    };
    for forgotten in [of("a", 2), of("b", 1)] {
        assert_eq!(env.store.commit(&forgotten).await.answered(), Committed::Stale);
        nothing_of_it(env).await;
    }
    env.keep("b", 0, Some("Haircut")).await;
    assert_eq!(env.store.commit(&of("b", 1)).await.answered(), Committed::Done);
}

pub(crate) async fn a_destination_that_changed_meanwhile_makes_a_batch_stale(env: &Env) {
    let fence = env.fence(1).await;
    let batch = Batch {
        advance: Some(advance(&fence, 0, 1)),
        destinations: vec![(provider(1), None)],
        bookings: vec![StoredBooking {
            booking: booking("a", 0, Some("Massage")),
            placed: None,
            version: 0,
        }],
        ..Batch::default()
    };
    env.connect(1).await;
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Stale);
    nothing_of_it(env).await;
    assert_eq!(env.stored("a").await, None);
}

pub(crate) async fn a_uid_that_is_another_bookings_is_refused(env: &Env) {
    let fence = env.fence(1).await;
    env.keep("a", 0, Some("Massage")).await;
    let mut thief = booking("a", 0, Some("Haircut"));
    thief.id = id("b");
    let batch = Batch {
        advance: Some(advance(&fence, 0, 1)),
        bookings: vec![StoredBooking { booking: thief, placed: None, version: 0 }],
        ..Batch::default()
    };
    let answer = env.store.commit(&batch).await.answered();
    assert!(matches!(answer, Committed::Refused { .. }), "{answer:?}");
    nothing_of_it(env).await;
}

pub(crate) async fn two_bookings_with_one_uid_in_a_batch_are_refused(env: &Env) {
    let fence = env.fence(1).await;
    let one = booking("a", 0, Some("Massage"));
    let other = booking::Booking { id: id("b"), ..one.clone() };
    let stored = |booking| StoredBooking { booking, placed: None, version: 0 };
    let batch = Batch {
        advance: Some(advance(&fence, 0, 2)),
        bookings: vec![stored(one), stored(other)],
        ..Batch::default()
    };
    let answer = env.store.commit(&batch).await.answered();
    assert!(matches!(answer, Committed::Refused { .. }), "{answer:?}");
    nothing_of_it(env).await;
    assert_eq!(env.stored("a").await, None);
}

pub(crate) async fn an_effect_for_an_unknown_connection_is_no_silent_success(env: &Env) {
    let fence = env.fence(1).await;
    let mut batch = env.batch("a", 0, Some("Massage")).await;
    batch.advance = Some(advance(&fence, 0, 1));
    batch.bookings[0].placed = None;
    let answer = env.store.commit(&batch).await;
    assert!(matches!(answer, Err(_) | Ok(Committed::Refused { .. })), "{answer:?}");
    nothing_of_it(env).await;
    assert_eq!(env.stored("a").await, None);
}

pub(crate) async fn a_lower_revision_changes_nothing_that_is_wanted(env: &Env) {
    env.connect(1).await;
    env.ask("a", 3, Some("Massage")).await;
    let late = Batch { effects: vec![effect("a", 2, Some("Haircut")).into()], ..Batch::default() };
    assert_eq!(env.store.commit(&late).await.answered(), Committed::Done);
    let owed = env.owed(&env.lane(1).await).await;
    assert_eq!((owed.desired_revision, owed.desired), (3, Some(content("Massage"))));
}

pub(crate) async fn of_two_effects_for_one_row_the_last_wins(env: &Env) {
    env.connect(1).await;
    let mut batch = env.batch("a", 1, Some("Haircut")).await;
    batch.effects.insert(0, effect("a", 0, Some("Massage")).into());
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    let owed = env.owed(&env.lane(1).await).await;
    assert_eq!((owed.desired_revision, owed.desired), (1, Some(content("Haircut"))));
}

pub(crate) async fn ingest_never_shortens_a_backoff(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "a", not_applied(LONG, true)).await, Fenced::Written);
    env.ask("a", 1, Some("Haircut")).await;
    assert_eq!(env.due(&lane).await, []);
    assert_eq!(env.counted(1).await.pending, 1, "it is still owed");
}

pub(crate) async fn ingest_never_touches_what_is_in_flight(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let before = env.owed(&lane).await;
    env.ask("a", 1, None).await;
    let after = env.owed(&lane).await;
    assert_eq!((after.desired_revision, after.desired), (1, None));
    assert!(after.in_flight.is_some());
    assert_eq!(after.in_flight, before.in_flight);
    assert_eq!((after.attempts, after.generation), (before.attempts, before.generation));
    assert_eq!(env.record(&lane, "a", unknown(SHORT)).await, Fenced::Written);
}

pub(crate) async fn a_replay_of_what_is_applied_makes_nothing_due(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    env.ask("a", 0, Some("Massage")).await;
    assert_eq!(env.due(&lane).await, []);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 0);
}

/// L25: work is keyed by UID and revision, not by what was done lately.
pub(crate) async fn each_revision_is_due_however_soon_it_follows(env: &Env) {
    env.connect(1).await;
    let mut lane = None;
    for (revision, title) in [(0, "Massage"), (1, "Haircut"), (2, "Massage")] {
        env.ask("a", revision, Some(title)).await;
        let lane = match &lane {
            Some(lane) => lane,
            None => lane.insert(env.lane(1).await),
        };
        assert_eq!(env.owed(lane).await.desired_revision, revision);
        env.apply(lane, "a", revision, title).await;
    }
}

pub(crate) async fn to_be_absent_where_nothing_is_asks_for_nothing(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, None).await;
    assert_eq!(env.lease(1).await, None);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 0);
    // The row is there, and knows its revision: a lower one is late.
    let late = Batch { effects: vec![effect("a", -1, Some("Massage")).into()], ..Batch::default() };
    assert_eq!(late.effects[0].effect.desired, desired(Some("Massage")));
    assert_eq!(env.store.commit(&late).await.answered(), Committed::Done);
    assert_eq!(env.lease(1).await, None);
}

/// R18: where the database may have forgotten what it did, the calendar is looked at, from the first
/// generation on, even where nothing is owed.
pub(crate) async fn what_a_lost_tail_may_have_made_is_looked_for(env: &Env) {
    env.connect(1).await;
    let look = async |revision| {
        let mut batch = env.batch("a", revision, None).await;
        batch.effects = vec![Effect { verify: true, ..effect("a", revision, None) }.into()];
        assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    };
    let first = Verify { from_generation: 0, deletes: true, stage: 0, is_due: true, drift: None };
    look(0).await;
    let lane = env.lane(1).await;
    let owed = env.owed(&lane).await;
    assert_eq!((owed.desired, owed.in_flight, owed.verify.as_ref()), (None, None, Some(&first)));
    let verified = env.record_open(&lane, "a", Finding::Verified, Some(LONG)).await;
    assert_eq!(verified, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    look(1).await;
    assert_eq!(env.owed(&lane).await.verify, Some(first), "anew, and before it was to be");
}
