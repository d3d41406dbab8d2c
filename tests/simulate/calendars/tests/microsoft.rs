//! Microsoft Graph.

use super::super::switches::{self, AfterDelete, Duplicate, SecondDelete};
use super::*;

fn strict() -> Desk {
    Desk::strict(Kind::Microsoft)
}

fn holding(set: impl FnOnce(&mut switches::Microsoft)) -> Desk {
    Desk::holding(Kind::Microsoft, |switches| set(&mut switches.microsoft))
}

/// B1.
#[test]
fn a_post_is_found_by_its_marker() {
    let mut desk = strict();
    let said = desk.create(0);
    let Said::Done { status: 201, etag: Some(etag), provider_uid: Some(uid), .. } = said else {
        panic!("{said:?}")
    };
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    assert!(!uid.contains(&name(Kind::Microsoft)), "the UID is the server's own: {uid}");
    let body_marker = Some(marker(0));
    let said = desk.read();
    assert_eq!(seen(&said), (body_marker, Some(etag), Some(uid)));
    desk.shows_the_first();
}

/// B3.
#[test]
fn an_identical_post_makes_no_second_event() {
    let mut desk = holding(|_| {});
    let etag = desk.etag();
    desk.wait(1000 * HOUR);
    assert_eq!(etag_of(desk.create(0)), etag);
    let fresh = etag_of(desk.update(1, Some(&etag)));
    // Identical to the POST, not to what became of it.
    assert_eq!(etag_of(desk.create(0)), fresh);
    assert_eq!(desk.only().marker, Some(marker(1)));
    assert_eq!(desk.calendar.history().len(), 2);
}

/// B3: code that looks derived from production has 400, several fakes 409.
#[test]
fn a_post_of_other_content_is_a_duplicate() {
    for (duplicate, status) in [(Duplicate::Status400, 400), (Duplicate::Status409, 409)] {
        let mut desk = holding(|it| it.duplicate = duplicate);
        let said = desk.create(1);
        assert_eq!(refusal(&said), (status, Some("ErrorDuplicateTransactionId")));
        assert_eq!(desk.only().marker, Some(marker(0)));
    }
}

/// B2.
#[test]
fn a_forgotten_transaction_id_makes_a_second_event() {
    let mut desk = holding(|it| it.remembers_for = Some(HOUR));
    desk.wait(ALMOST_AN_HOUR);
    desk.create(0);
    assert_eq!(desk.calendar.live().len(), 1);
    desk.wait(SECOND);
    assert_eq!(done(&desk.create(0)), 201);
    let live = desk.calendar.live();
    assert_eq!(live.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["booking-1"; 2]);
    assert_ne!(live[0].provider_uid, live[1].provider_uid);
    // It is remembered anew.
    assert_eq!(refusal(&desk.create(1)), (400, Some("ErrorDuplicateTransactionId")));
    // One after the other is found.
    assert_eq!(done(&desk.delete(None)), 204);
    assert_eq!(desk.revision(), 0);
    assert_eq!(done(&desk.delete(None)), 204);
    assert_eq!(desk.read(), Said::Absent);
}

/// Not established.
#[test]
fn a_post_after_the_deletion_makes_a_new_event() {
    let mut desk = holding(|_| {});
    let first = desk.etag();
    desk.delete(None);
    let second = desk.create(0);
    assert_eq!(done(&second), 201);
    assert_ne!(etag_of(second), first);
    assert_eq!(desk.calendar.live().len(), 1);
    // And so does other content.
    desk.delete(None);
    assert_eq!(done(&desk.create(1)), 201);
    assert_eq!(desk.revision(), 1);
}

/// Not established.
#[test]
fn a_post_after_the_deletion_may_make_nothing_and_say_otherwise() {
    let mut desk = holding(|it| it.after_delete = AfterDelete::AnswersWithDeleted);
    let first = desk.etag();
    desk.delete(None);
    let said = desk.create(0);
    assert_eq!(done(&said), 201);
    assert_eq!(etag_of(said), first);
    assert!(desk.calendar.live().is_empty());
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(refusal(&desk.create(1)), (400, Some("ErrorDuplicateTransactionId")));
}

/// B5: not established.
#[test]
fn what_is_not_indexed_yet_is_not_found() {
    let mut desk = holding(|it| it.lookup_lags = SECOND);
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(refusal(&desk.update(1, None)), (404, Some("ErrorItemNotFound")));
    assert_eq!(refusal(&desk.delete(None)), (404, Some("ErrorItemNotFound")));
    assert_eq!(done(&desk.create(0)), 201);
    assert_eq!(desk.calendar.live().len(), 1);
    desk.wait(SECOND);
    assert_eq!(desk.revision(), 0);
    // A change is no new event.
    assert_eq!(done(&desk.update(1, None)), 200);
    assert_eq!(desk.revision(), 1);
}

/// B5.
#[test]
fn what_lost_its_marker_is_not_found() {
    let mut desk = holding(|_| {});
    assert!(desk.host(&Deed::StripMarker { name: name(Kind::Microsoft) }));
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(refusal(&desk.update(1, None)), (404, Some("ErrorItemNotFound")));
    assert_eq!(refusal(&desk.delete(None)), (404, Some("ErrorItemNotFound")));
    assert_eq!(desk.only().marker, None);
}

#[test]
fn an_update_merges() {
    let mut desk = holding(|_| {});
    desk.host(&Deed::Annotate { name: name(Kind::Microsoft) });
    let note = desk.only().host_note.clone();
    let body = json!({
        "subject": "Shave",
        "body": {"contentType": "text", "content": "Bring a towel"},
        "location": null,
        "showAs": "tentative",
    });
    assert_eq!(done(&desk.update_with(body.to_string().into_bytes(), None)), 200);
    let event = desk.only();
    assert_eq!((event.summary.as_str(), event.location.as_deref()), ("Shave", None));
    assert_eq!(event.description.as_deref(), Some("Bring a towel"));
    assert_eq!((event.start.as_str(), event.tentative), ("2026-03-03T09:00:00Z", true));
    assert_eq!((&event.marker, &event.host_note), (&Some(marker(0)), &note));
    assert!(note.is_some());
}

/// B4.
#[test]
fn a_transaction_id_cannot_change() {
    let mut desk = holding(|_| {});
    let body = body(Kind::Microsoft, 1);
    assert_eq!(refusal(&desk.update_with(body, None)), (400, Some("ErrorInvalidRequest")));
    assert_eq!(desk.revision(), 0);
}

#[test]
fn an_update_to_what_is_no_event_is_invalid() {
    let mut desk = holding(|_| {});
    let body = |body: Value| body.to_string().into_bytes();
    let early = json!({"dateTime": "2026-03-03T08:59:00.0000000", "timeZone": "UTC"});
    for body in [
        body(json!([])),
        body(json!({"end": early})),
        body(json!({"location": "Room 1"})),
        body(json!({"showAs": "away"})),
    ] {
        assert_eq!(refusal(&desk.update_with(body, None)), (400, Some("ErrorInvalidRequest")));
    }
    assert_eq!(desk.revision(), 0);
}

/// B9.
#[test]
fn all_but_one_way_to_be_shown_are_certain() {
    for shown in ["free", "busy", "oof", "workingElsewhere", "unknown", "tentative"] {
        let mut desk = strict();
        desk.create_with(body_of(Kind::Microsoft, 0, |body| body["showAs"] = json!(shown)));
        assert_eq!(desk.only().tentative, shown == "tentative", "{shown}");
    }
}

/// B7.
#[test]
fn another_etag_changes_and_deletes_nothing() {
    let mut desk = holding(|_| {});
    let stale = desk.etag();
    let fresh = etag_of(desk.update(1, Some(&stale)));
    let conflict = (412, Some("ErrorIrresolvableConflict"));
    assert_eq!(refusal(&desk.update(2, Some(&stale))), conflict);
    assert_eq!(refusal(&desk.delete(Some(&stale))), conflict);
    assert_eq!(desk.revision(), 1);
    assert_eq!(done(&desk.delete(Some(&fresh))), 204);
}

/// B7: "also raised spontaneously, without any client `If-Match`".
#[test]
fn a_conflict_may_be_told_of_where_there_is_none() {
    let mut desk = holding(|it| it.conflicts_for = SECOND);
    let conflict = (412, Some("ErrorIrresolvableConflict"));
    let etag = desk.etag();
    assert_eq!(refusal(&desk.update(1, Some(&etag))), conflict);
    assert_eq!(done(&desk.update(1, Some(&etag))), 200);
    assert_eq!(refusal(&desk.update(2, None)), conflict);
    assert_eq!(done(&desk.update(2, None)), 200);
    assert_eq!(refusal(&desk.delete(None)), conflict);
    desk.wait(SECOND);
    assert_eq!(done(&desk.delete(None)), 204);
}

/// B7: "may bump changeKey several times after one write".
#[test]
fn an_etag_changes_by_itself_some_time_after_a_write() {
    let mut desk = holding(|it| it.etag_bumps = vec![SECOND, 3 * SECOND]);
    let told = desk.etag();
    desk.wait(SECOND);
    let bumped = desk.etag();
    assert_ne!(bumped, told);
    let stale = desk.update(1, Some(&told));
    assert_eq!(refusal(&stale), (412, Some("ErrorIrresolvableConflict")));
    desk.wait(2 * SECOND);
    let settled = desk.etag();
    assert!(settled != bumped && settled != told);
    desk.wait(HOUR);
    assert_eq!(desk.etag(), settled);
    assert_eq!(desk.only().etag.as_ref(), Some(&settled));
    assert_eq!(done(&desk.update(1, Some(&settled))), 200);
}

/// B8.
#[test]
fn a_second_deletion_finds_nothing_or_may_not() {
    for (second_delete, refused) in [
        (SecondDelete::NotFound, (404, Some("ErrorItemNotFound"))),
        (SecondDelete::CannotDelete, (403, Some("ErrorCannotDeleteObject"))),
    ] {
        let mut desk = Desk::with(Kind::Microsoft, |it| it.microsoft.second_delete = second_delete);
        assert_eq!(refusal(&desk.delete(None)), (404, Some("ErrorItemNotFound")));
        desk.create(0);
        assert_eq!(done(&desk.delete(None)), 204);
        assert_eq!(refusal(&desk.delete(None)), refused);
        // Once the bin is empty nobody knows it any more.
        assert!(desk.host(&Deed::EvictTombstones));
        assert_eq!(refusal(&desk.delete(None)), (404, Some("ErrorItemNotFound")));
    }
}

#[test]
fn what_is_deleted_is_absent_and_cannot_be_updated() {
    let mut desk = holding(|_| {});
    desk.delete(None);
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(refusal(&desk.update(1, None)), (404, Some("ErrorItemNotFound")));
    assert_eq!(desk.last().after, Stood::Nothing);
}

/// B10.
#[test]
fn what_is_no_event_is_invalid() {
    let mut desk = strict();
    let with = |change: fn(&mut Value)| body_of(Kind::Microsoft, 0, change);
    for body in [
        b"no JSON".to_vec(),
        with(|body| body["transactionId"] = Value::Null),
        with(|body| body["transactionId"] = json!("booking-2")),
        with(|body| body["start"] = Value::Null),
        with(|body| body["start"]["timeZone"] = json!("W. Nowhere Time")),
        with(|body| body["start"]["dateTime"] = json!("2026-03-03T10:00:00Z")),
        with(|body| body["end"] = body["start"].clone()),
        with(|body| body["showAs"] = json!("Busy")),
        with(|body| body["singleValueExtendedProperties"] = json!({})),
    ] {
        assert_eq!(refusal(&desk.create_with(body)), (400, Some("ErrorInvalidRequest")));
    }
    assert!(desk.calendar.history().is_empty());
    // Nothing of it is remembered.
    assert_eq!(done(&desk.create(0)), 201);
}

/// A copy carries the name that is searched for, and has no `transactionId`.
#[test]
fn a_copy_is_not_found_where_its_event_was() {
    for takes_copies in [false, true] {
        let mut desk = holding(|it| it.takes_copies = takes_copies);
        let name = name(Kind::Microsoft);
        assert!(desk.host(&Deed::Copy { name: name.clone() }));
        assert!(desk.host(&Deed::Delete { name }));
        assert_eq!(desk.read() == Said::Absent, !takes_copies);
        let is_changed = matches!(desk.update(1, None), Said::Done { .. });
        assert_eq!(is_changed, takes_copies);
        assert_eq!(desk.only().marker == Some(marker(0)), !takes_copies);
        let is_deleted = matches!(desk.delete(None), Said::Done { .. });
        assert_eq!(is_deleted, takes_copies);
    }
}
