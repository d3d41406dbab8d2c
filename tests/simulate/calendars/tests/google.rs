//! Google Calendar v3.

use super::super::switches::{Collisions, MissingFor, TombstoneUpdate};
use super::*;

fn strict() -> Desk {
    Desk::strict(Kind::Google)
}

fn holding(set: impl FnOnce(&mut super::super::switches::Google)) -> Desk {
    Desk::holding(Kind::Google, |switches| set(&mut switches.google))
}

#[test]
fn an_insert_is_read_back_whole() {
    let mut desk = strict();
    let said = desk.create(0);
    let Said::Done { status: 200, etag: Some(etag), provider_uid: Some(uid), .. } = said else {
        panic!("{said:?}")
    };
    let digits = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap();
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{etag}");
    assert_eq!(uid, format!("{}@google.com", name(Kind::Google)));
    let body_marker = Some(marker(0));
    let said = desk.read();
    assert_eq!(seen(&said), (body_marker, Some(etag), Some(uid)));
    desk.shows_the_first();
}

/// A2.
#[test]
fn an_id_that_is_there_is_a_duplicate() {
    let mut desk = holding(|_| {});
    assert_eq!(refusal(&desk.create(0)), (409, Some("duplicate")));
    assert_eq!(desk.calendar.history().len(), 1);
}

/// A2.
#[test]
fn an_id_that_was_deleted_is_a_duplicate_too() {
    let mut desk = holding(|_| {});
    desk.delete(None);
    assert_eq!(refusal(&desk.create(1)), (409, Some("duplicate")));
    assert!(desk.calendar.live().is_empty());
}

/// A1.
#[test]
fn a_collision_that_is_not_detected_takes_the_first_ones_place() {
    let mut desk = holding(|it| it.collisions = Collisions::Overwritten(MINUTE));
    let first = desk.etag();
    desk.wait(ALMOST_A_MINUTE);
    let second = desk.create(1);
    assert_eq!(done(&second), 200);
    assert_ne!(etag_of(second), first);
    assert_eq!(desk.only().marker, Some(marker(1)));
    desk.wait(SECOND);
    assert_eq!(refusal(&desk.create(2)), (409, Some("duplicate")));
}

/// A1.
#[test]
fn a_collision_that_is_not_detected_can_leave_the_first_one() {
    let mut desk = holding(|it| it.collisions = Collisions::Same(MINUTE));
    let first = desk.etag();
    assert_eq!(etag_of(desk.create(1)), first);
    assert_eq!(desk.only().marker, Some(marker(0)));
    desk.wait(MINUTE);
    assert_eq!(refusal(&desk.create(1)), (409, Some("duplicate")));
}

/// A1.
#[test]
fn a_collision_that_is_not_detected_can_leave_two_events() {
    let mut desk = holding(|it| it.collisions = Collisions::Twins(MINUTE));
    assert_eq!(done(&desk.create(1)), 200);
    assert_eq!(desk.calendar.live().len(), 2);
    assert_eq!(desk.revision(), 0);
    assert_eq!(done(&desk.delete(None)), 204);
    assert_eq!(desk.revision(), 1);
    desk.wait(MINUTE);
    assert_eq!(refusal(&desk.create(2)), (409, Some("duplicate")));
}

/// A1, A2.
#[test]
fn a_deleted_event_is_no_racer() {
    let mut desk = holding(|it| it.collisions = Collisions::Overwritten(MINUTE));
    desk.delete(None);
    assert_eq!(refusal(&desk.create(1)), (409, Some("duplicate")));
}

/// A3.
#[test]
fn a_deleted_event_is_remembered() {
    let mut desk = holding(|_| {});
    assert_eq!(done(&desk.delete(None)), 204);
    desk.wait(365 * 24 * 60 * MINUTE);
    assert_eq!(desk.read(), Said::Tombstone);
    assert!(desk.calendar.live().is_empty());
}

/// A3: "will eventually disappear".
#[test]
fn a_deleted_event_is_forgotten_after_a_while() {
    let mut desk = holding(|it| it.tombstones_kept_for = Some(MINUTE));
    desk.delete(None);
    desk.wait(ALMOST_A_MINUTE);
    assert_eq!(desk.read(), Said::Tombstone);
    desk.wait(SECOND);
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(desk.last().by, By::Server);
    assert_eq!((&desk.last().before, &desk.last().after), (&Stood::Tombstone, &Stood::Nothing));
    assert_eq!(refusal(&desk.delete(None)), (404, Some("notFound")));
    // What comes very late is an event again.
    assert_eq!(done(&desk.create(0)), 200);
}

/// A4.
#[test]
fn updating_a_deleted_event_is_forbidden() {
    let mut desk = holding(|_| {});
    let etag = desk.etag();
    desk.delete(None);
    assert_eq!(refusal(&desk.update(1, Some(&etag))), (403, Some("forbidden")));
    assert_eq!(refusal(&desk.update(1, None)), (403, Some("forbidden")));
    assert_eq!(desk.read(), Said::Tombstone);
}

/// A4.
#[test]
fn updating_a_deleted_event_can_revive_it() {
    let mut desk = holding(|it| it.tombstone_update = TombstoneUpdate::Revives);
    let etag = desk.etag();
    desk.delete(None);
    // Deleting it has changed its ETag.
    assert_eq!(refusal(&desk.update(1, Some(&etag))), (412, Some("conditionNotMet")));
    assert_eq!(done(&desk.update(1, None)), 200);
    assert_eq!(desk.only().marker, Some(marker(1)));
    assert_eq!(desk.last().before, Stood::Tombstone);
}

/// A4: only "status: confirmed" undeletes.
#[test]
fn an_update_that_says_nothing_of_the_status_revives_nothing() {
    let mut desk = holding(|it| it.tombstone_update = TombstoneUpdate::Revives);
    desk.delete(None);
    let body = json!({"summary": "Haircut"}).to_string().into_bytes();
    assert_eq!(done(&desk.update_with(body, None)), 200);
    assert_eq!(desk.read(), Said::Tombstone);
    assert_eq!((&desk.last().before, &desk.last().after), (&Stood::Tombstone, &Stood::Tombstone));
}

#[test]
fn an_update_can_delete() {
    let mut desk = holding(|_| {});
    let body = json!({"status": "cancelled"}).to_string().into_bytes();
    assert_eq!(done(&desk.update_with(body, None)), 200);
    assert_eq!(desk.read(), Said::Tombstone);
}

/// A8.
#[test]
fn an_update_merges() {
    let mut desk = holding(|_| {});
    assert!(desk.host(&Deed::Annotate { name: name(Kind::Google) }));
    let note = desk.only().host_note.clone();
    assert!(note.is_some());
    let private = json!({"bookingRevision": "1", "bookingDigest": "digest-1"});
    let body = json!({
        "summary": "Shave",
        "location": null,
        "status": "tentative",
        "extendedProperties": {"private": private},
    });
    assert_eq!(done(&desk.update_with(body.to_string().into_bytes(), None)), 200);
    let event = desk.only();
    assert_eq!((event.summary.as_str(), event.location.as_deref()), ("Shave", None));
    assert_eq!((event.start.as_str(), event.tentative), ("2026-03-03T09:00:00Z", true));
    assert_eq!((&event.marker, &event.host_note), (&Some(marker(1)), &note));
}

/// A9.
#[test]
fn another_etag_changes_and_deletes_nothing() {
    let mut desk = holding(|_| {});
    let stale = desk.etag();
    let fresh = etag_of(desk.update(1, Some(&stale)));
    assert_ne!(fresh, stale);
    assert_eq!(refusal(&desk.update(2, Some(&stale))), (412, Some("conditionNotMet")));
    assert_eq!(refusal(&desk.delete(Some(&stale))), (412, Some("conditionNotMet")));
    assert_eq!(desk.revision(), 1);
    assert_eq!(done(&desk.delete(Some(&fresh))), 204);
}

/// A10.
#[test]
fn a_second_deletion_is_told_from_one_of_nothing() {
    let mut desk = strict();
    assert_eq!(refusal(&desk.delete(None)), (404, Some("notFound")));
    assert_eq!(refusal(&desk.update(1, None)), (404, Some("notFound")));
    assert_eq!(desk.read(), Said::Absent);
    desk.create(0);
    let etag = desk.etag();
    desk.delete(None);
    assert_eq!(refusal(&desk.delete(None)), (410, Some("deleted")));
    assert_eq!(refusal(&desk.delete(Some(&etag))), (410, Some("deleted")));
}

/// "May be transient just after insert".
#[test]
fn an_event_is_not_found_just_after_its_insert() {
    let mut desk = holding(|it| it.missing_after_insert = SECOND);
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(desk.calendar.live().len(), 1);
    assert_eq!(refusal(&desk.create(0)), (409, Some("duplicate")));
    assert_eq!(done(&desk.update(1, None)), 200);
    desk.wait(SECOND);
    assert_eq!(desk.revision(), 1);
}

#[test]
fn just_after_its_insert_an_event_may_not_be_found_by_writes_either() {
    let mut desk = holding(|it| {
        (it.missing_after_insert, it.missing_for) = (SECOND, MissingFor::All);
    });
    assert_eq!(refusal(&desk.update(1, None)), (404, Some("notFound")));
    assert_eq!(refusal(&desk.delete(None)), (404, Some("notFound")));
    desk.wait(SECOND);
    assert_eq!(desk.revision(), 0);
    assert_eq!(done(&desk.delete(None)), 204);
}

#[test]
fn what_is_read_may_be_what_stood_there_a_while_ago() {
    let mut desk = Desk::with(Kind::Google, |it| it.google.reads_lag = SECOND);
    desk.wait(MINUTE);
    desk.create(0);
    assert_eq!(desk.read(), Said::Absent);
    desk.wait(SECOND);
    let first = desk.etag();
    let second = etag_of(desk.update(1, Some(&first)));
    assert_eq!((desk.revision(), desk.etag()), (0, first.clone()));
    // Conditions hold of what is there.
    assert_eq!(refusal(&desk.update(2, Some(&first))), (412, Some("conditionNotMet")));
    desk.wait(SECOND);
    assert_eq!((desk.revision(), desk.etag()), (1, second));
    desk.delete(None);
    assert_eq!(desk.revision(), 1);
    desk.wait(SECOND);
    assert_eq!(desk.read(), Said::Tombstone);
}

#[test]
fn what_is_no_event_is_invalid() {
    let mut desk = strict();
    let with = |change: fn(&mut Value)| body_of(Kind::Google, 0, change);
    for body in [
        b"no JSON".to_vec(),
        with(|body| body["id"] = json!("bookingother")),
        with(|body| body["summary"] = json!(7)),
        with(|body| body["status"] = json!("cancelled")),
        with(|body| body["status"] = json!("CONFIRMED")),
        with(|body| body["start"] = Value::Null),
        with(|body| body["end"] = json!({"date": "2026-03-03"})),
        with(|body| body["end"]["dateTime"] = json!("2026-03-03T11:00:00")),
    ] {
        assert_eq!(refusal(&desk.create_with(body)), (400, Some("invalid")));
    }
    let empty = with(|body| body["end"] = body["start"].clone());
    assert_eq!(refusal(&desk.create_with(empty)), (400, Some("timeRangeEmpty")));
    assert!(desk.calendar.history().is_empty());
}

#[test]
fn an_update_to_what_is_no_event_is_invalid() {
    let mut desk = holding(|_| {});
    let body = |body: Value| body.to_string().into_bytes();
    for body in [
        body(json!([])),
        body(json!({"id": "bookingother"})),
        body(json!({"location": 7})),
        body(json!({"end": {"date": "2026-03-04", "dateTime": "2026-03-04T10:00:00Z"}})),
    ] {
        assert_eq!(refusal(&desk.update_with(body, None)), (400, Some("invalid")));
    }
    let early = body(json!({"end": {"dateTime": "2026-03-03T09:59:00+01:00", "date": null}}));
    assert_eq!(refusal(&desk.update_with(early, None)), (400, Some("timeRangeEmpty")));
    let later = body(json!({"end": {"dateTime": "2026-03-03T12:00:00+01:00", "date": null}}));
    assert_eq!(done(&desk.update_with(later, None)), 200);
    assert_eq!(desk.only().end, "2026-03-03T11:00:00Z");
}

/// A1: `^[a-v0-9]{5,1024}$`.
#[test]
fn what_is_no_id_is_invalid() {
    let mut desk = strict();
    for id in ["a123", "BOOKING1", "booking-1", "bookingz", &"a".repeat(1025)] {
        let body = body_of(Kind::Google, 0, |body| body["id"] = json!(id));
        let said = desk.ask(&Ask::Create { name: id.to_owned(), body });
        assert_eq!(refusal(&said), (400, Some("invalid")), "{id}");
    }
}

#[test]
fn a_part_of_a_marker_is_none() {
    let body = body_of(Kind::Google, 0, |body| {
        body["extendedProperties"]["private"]["bookingDigest"] = Value::Null;
    });
    let mut desk = strict();
    assert_eq!(done(&desk.create_with(body)), 200);
    assert_eq!(desk.only().marker, None);
    assert!(matches!(desk.read(), Said::Live { body_marker: None, .. }));
}
