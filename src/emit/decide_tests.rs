use booking::{BookingId, ConnectionId, Content, IcalUid, ProviderId};
use chrono::{TimeZone as _, Utc};
use uuid::Uuid;

use super::*;
use crate::store::EffectOrigin;

fn content(title: &str) -> Content {
    Content {
        summary: title.to_owned(),
        description: None,
        location: None,
        start: Utc.with_ymd_and_hms(2026, 5, 1, 9, 0, 0).unwrap(),
        end: Utc.with_ymd_and_hms(2026, 5, 1, 10, 0, 0).unwrap(),
        zone: chrono_tz::UTC,
        tentative: false,
    }
}

fn owed(desired: Option<&str>, desired_revision: i64, applied: Option<(i64, &str)>) -> Owed {
    Owed {
        uid: IcalUid::parse("a@example.com").unwrap(),
        connection: ConnectionId(Uuid::from_u128(1)),
        booking: BookingId::parse("a").unwrap(),
        provider: ProviderId(Uuid::from_u128(2)),
        desired_revision,
        desired: desired.map(content),
        applied: applied.map(|(revision, title)| (revision, content(title).digest())),
        generation: 0,
        burned: false,
        etag: None,
        adopted_id: None,
        server_id: None,
        in_flight: None,
        attempts: 0,
        rejections: 0,
        verify: None,
        origin: EffectOrigin::default(),
    }
}

fn flight(verb: Verb, revision: i64, title: Option<&str>) -> InFlight {
    let digest = title.map(|title| content(title).digest());
    InFlight { verb, revision, digest, body: Vec::new() }
}

fn live(owed: &Owed, revision: i64, title: &str) -> Reading {
    let marker = Marker {
        uid: owed.uid.clone(),
        connection: owed.connection,
        revision,
        digest: content(title).digest(),
    };
    Reading::Live {
        marker: Some(marker),
        etag: Some("\"1\"".to_owned()),
        provider_uid: None,
        server_id: None,
    }
}

fn send(verb: Verb, generation: i32) -> Step {
    Step::Send { verb, generation }
}

fn again(verb: Verb) -> Settled {
    Settled::SendAgain { verb, condition: Condition::Match("\"1\"".to_owned()) }
}

#[test]
fn what_is_owed_follows_from_what_is_desired_and_applied() {
    assert_eq!(next(&owed(Some("x"), 0, None)), send(Verb::Create, 0));
    assert_eq!(next(&owed(Some("x"), 0, Some((0, "x")))), Step::Nothing);
    assert_eq!(next(&owed(Some("y"), 1, Some((0, "x")))), send(Verb::Update, 0));
    assert_eq!(next(&owed(None, 1, Some((0, "x")))), send(Verb::Delete, 0));
    assert_eq!(next(&owed(None, 1, None)), Step::Nothing);
}

/// L25: work is keyed by revision, so coming back to a former content is a change too.
#[test]
fn the_same_content_at_a_later_revision_is_sent() {
    assert_eq!(next(&owed(Some("x"), 2, Some((0, "x")))), send(Verb::Update, 0));
}

/// R12.
#[test]
fn a_burned_generation_is_never_used_again() {
    let burned = Owed { burned: true, ..owed(Some("x"), 2, None) };
    assert_eq!(next(&burned), send(Verb::Create, 1));
    let standing = Owed { burned: true, ..owed(Some("y"), 2, Some((0, "x"))) };
    assert_eq!(next(&standing), send(Verb::Delete, 0));
}

/// R13: settle before every supersession.
#[test]
fn what_is_in_flight_is_settled_before_anything_else() {
    let create = Some(flight(Verb::Create, 0, Some("x")));
    for desired in [None, Some("y")] {
        let unsettled = Owed { in_flight: create.clone(), ..owed(desired, 1, None) };
        assert_eq!(next(&unsettled), Step::Settle);
    }
}

/// L1, L18: our marker tells that it was applied.
#[test]
fn an_event_with_our_marker_was_applied() {
    let owed = owed(Some("y"), 1, None);
    let create = flight(Verb::Create, 0, Some("x"));
    let settled = settle(&owed, &create, live(&owed, 0, "x"));
    assert!(matches!(settled, Settled::Present { revision: 0, .. }), "{settled:?}");
}

/// R20: what a host has edited keeps our marker, so before anything is sent it makes nothing applied.
#[test]
fn an_edited_event_with_our_marker_is_written_over() {
    let mut edited = owed(Some("x"), 0, Some((0, "x")));
    let repair = flight(Verb::Update, 0, Some("x"));
    let is_present = |settled| matches!(settled, Settled::Present { .. });
    assert!(is_present(settle_unsent(&edited, &repair, live(&edited, 0, "x"))));
    edited.applied = Some((0, UNREAD));
    assert_eq!(settle_unsent(&edited, &repair, live(&edited, 0, "x")), again(Verb::Update));
    assert_eq!(
        settle_unsent(&edited, &repair, live(&edited, 1, "x")),
        Settled::Ahead { revision: 1 }
    );
    // Once it was sent, the marker is all that tells.
    assert!(is_present(settle(&edited, &repair, live(&edited, 0, "x"))));
}

#[test]
fn an_older_event_of_ours_is_written_again_on_condition() {
    let owed = owed(Some("y"), 1, Some((0, "x")));
    let update = flight(Verb::Update, 1, Some("y"));
    assert_eq!(settle(&owed, &update, live(&owed, 0, "x")), again(Verb::Update));
}

#[test]
fn an_event_without_our_marker_is_ours_by_name() {
    let owed = owed(Some("y"), 1, Some((0, "x")));
    let update = flight(Verb::Update, 1, Some("y"));
    let etag = Some("\"1\"".to_owned());
    let stripped = Reading::Live { marker: None, etag, provider_uid: None, server_id: None };
    assert_eq!(settle(&owed, &update, stripped), again(Verb::Update));
}

/// L15: a tombstone is never updated.
#[test]
fn a_deleted_event_that_is_wanted_gets_another_generation() {
    let owed = owed(Some("y"), 1, Some((0, "x")));
    let update = flight(Verb::Update, 1, Some("y"));
    assert_eq!(settle(&owed, &update, Reading::Tombstone), Settled::Gone);
}

/// R12: a bare 404 may be transient; under the same name a repeat does no harm.
#[test]
fn an_absent_event_is_created_under_the_same_name() {
    let owed = owed(Some("x"), 0, None);
    let create = flight(Verb::Create, 0, Some("x"));
    let expected = Settled::SendAgain { verb: Verb::Create, condition: Condition::New };
    assert_eq!(settle(&owed, &create, Reading::Absent), expected);
}

#[test]
fn a_delete_is_settled_by_absence_and_repeated_on_presence() {
    let owed = owed(None, 1, Some((0, "x")));
    let delete = flight(Verb::Delete, 1, None);
    assert_eq!(settle(&owed, &delete, Reading::Absent), Settled::Absent);
    assert_eq!(settle(&owed, &delete, Reading::Tombstone), Settled::Absent);
    assert_eq!(settle(&owed, &delete, live(&owed, 0, "x")), again(Verb::Delete));
}

/// L24: an error while reading settles nothing.
#[test]
fn what_could_not_be_read_is_not_settled() {
    let owed = owed(None, 1, Some((0, "x")));
    let delete = flight(Verb::Delete, 1, None);
    let gone = Reading::CalendarGone { message: String::new() };
    assert_eq!(settle(&owed, &delete, gone.clone()), Settled::Unread(gone));
}

/// R7: a restored database is behind what the calendar holds.
#[test]
fn a_later_revision_in_the_calendar_waits_for_the_log() {
    let wanted = owed(Some("y"), 1, None);
    let update = flight(Verb::Update, 1, Some("y"));
    let ahead = Settled::Ahead { revision: 5 };
    assert_eq!(settle(&wanted, &update, live(&wanted, 5, "z")), ahead);
    assert_eq!(settle(&wanted, &flight(Verb::Delete, 1, None), live(&wanted, 5, "z")), ahead);
    assert_eq!(next(&owed(Some("y"), 1, Some((5, "z")))), Step::Ahead { revision: 5 });
}

#[test]
fn what_is_wanted_now_settles_an_older_flight() {
    let owed = owed(Some("y"), 3, None);
    let create = flight(Verb::Create, 1, Some("x"));
    let settled = settle(&owed, &create, live(&owed, 3, "y"));
    assert!(matches!(settled, Settled::Present { revision: 3, .. }), "{settled:?}");
}

/// R13: what was not applied, and is not wanted any more, is not sent again.
#[test]
fn what_was_not_applied_makes_room_for_what_is_wanted_by_now() {
    let update = flight(Verb::Update, 1, Some("y"));
    for desired in [None, Some("z")] {
        let later = owed(desired, 2, Some((0, "x")));
        assert_eq!(settle(&later, &update, live(&later, 0, "x")), Settled::Superseded);
        assert_eq!(settle(&later, &update, Reading::Absent), Settled::Superseded);
    }
    let moved = owed(Some("z"), 2, None);
    let create = flight(Verb::Create, 0, Some("x"));
    assert_eq!(settle(&moved, &create, Reading::Absent), Settled::Superseded);
}

/// R14: a create that nothing follows could still land; acknowledged or refused, it cannot.
#[test]
fn a_create_that_was_cancelled_meanwhile_is_made_sure_of_first() {
    let cancelled = owed(None, 1, None);
    let create = flight(Verb::Create, 0, Some("x"));
    let expected = Settled::SendAgain { verb: Verb::Create, condition: Condition::New };
    assert_eq!(settle(&cancelled, &create, Reading::Absent), expected);
    let worn = Owed { attempts: ATTEMPTS_MAX, ..cancelled };
    assert_eq!(settle(&worn, &create, Reading::Absent), Settled::Superseded);
}

/// Without an ETag nothing keeps a late write out.
#[test]
fn a_call_without_a_condition_is_made_sure_of_first() {
    let later = owed(Some("z"), 2, Some((0, "x")));
    let update = flight(Verb::Update, 1, Some("y"));
    let Reading::Live { marker, .. } = live(&later, 0, "x") else { unreachable!() };
    let weak = Reading::Live { marker, etag: None, provider_uid: None, server_id: None };
    let expected = Settled::SendAgain { verb: Verb::Update, condition: Condition::Unconditional };
    assert_eq!(settle(&later, &update, weak), expected);
}

/// R12.
#[test]
fn a_delete_makes_room_for_nothing() {
    let rebooked = owed(Some("z"), 2, Some((0, "x")));
    let delete = flight(Verb::Delete, 1, None);
    assert_eq!(settle(&rebooked, &delete, live(&rebooked, 0, "x")), again(Verb::Delete));
}

fn open(deletes: bool) -> Verify {
    Verify { from_generation: 0, deletes, stage: 0, is_due: true, drift: None }
}

/// R14: the moment that the promise names.
#[test]
fn a_late_create_after_a_delete_is_found() {
    let deleted = owed(None, 1, None);
    let found = verified(&deleted, &open(false), live(&deleted, 0, "x"));
    // Not its content: what is wanted by then is written over it.
    let present = Some((0, UNREAD));
    let etag = Some("\"1\"".to_owned());
    assert_eq!(found, Verified::Differs { present, etag, gone: false });
}

#[test]
fn a_late_older_write_is_found() {
    let updated = owed(Some("y"), 1, Some((1, "y")));
    let found = verified(&updated, &open(false), live(&updated, 0, "x"));
    assert!(matches!(found, Verified::Differs { present: Some((0, _)), .. }), "{found:?}");
}

/// R12: Graph makes nothing anew under a `transactionId` that it remembers. What was never seen
/// there may be missing for a moment only, and other names can be used again.
#[test]
fn graph_has_used_up_the_name_of_what_was_there_and_is_not() {
    use CalendarKind::{Caldav, Google, Microsoft};
    assert_eq!(read_as(Microsoft, true, Reading::Absent), Reading::Tombstone);
    for (kind, was_there) in
        [(Microsoft, false), (Google, true), (Google, false), (Caldav, true), (Caldav, false)]
    {
        assert_eq!(read_as(kind, was_there, Reading::Absent), Reading::Absent, "{kind:?}");
    }
    let there = live(&owed(Some("x"), 0, None), 0, "x");
    let gone = Reading::CalendarGone { message: String::new() };
    for reading in [there, Reading::Tombstone, gone] {
        assert_eq!(read_as(Microsoft, true, reading.clone()), reading);
    }
}

/// What follows from it: the next generation, for an event that is wanted.
#[test]
fn what_graph_lost_is_made_anew_under_another_name() {
    let absent = || read_as(CalendarKind::Microsoft, true, Reading::Absent);
    let wanted = owed(Some("y"), 1, Some((0, "x")));
    assert_eq!(settle(&wanted, &flight(Verb::Update, 1, Some("y")), absent()), Settled::Gone);
    let late_delete = verified(&wanted, &open(true), absent());
    assert_eq!(late_delete, Verified::Differs { present: None, etag: None, gone: true });
    let cancelled = owed(None, 1, Some((0, "x")));
    assert_eq!(settle(&cancelled, &flight(Verb::Delete, 1, None), absent()), Settled::Absent);
}

/// L13, R20: what the host did is reported, and left.
#[test]
fn a_host_who_deleted_the_event_is_not_overruled_by_a_verification() {
    let there = owed(Some("x"), 0, Some((0, "x")));
    let found = verified(&there, &open(false), Reading::Tombstone);
    assert!(matches!(found, Verified::Drifted(_)), "{found:?}");
    let late_delete = verified(&there, &open(true), Reading::Tombstone);
    assert_eq!(late_delete, Verified::Differs { present: None, etag: None, gone: true });
}

#[test]
fn what_is_as_applied_stands() {
    let there = owed(Some("x"), 0, Some((0, "x")));
    assert_eq!(verified(&there, &open(false), live(&there, 0, "x")), Verified::Stands);
    assert_eq!(verified(&owed(None, 1, None), &open(false), Reading::Absent), Verified::Stands);
}
