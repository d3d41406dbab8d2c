use booking::{BookingId, ConnectionId, Digest, IcalUid, Marker, ProviderId};
use chrono::{TimeDelta, TimeZone as _, Utc};
use uuid::Uuid;

use super::super::decide::UNREAD;
use super::*;
use crate::store::EffectOrigin;

const REPORT: Rule = Rule { policy: Policy::Report, is_halted: false };
const LEAVE: Rule = Rule { policy: Policy::Leave, is_halted: false };
const REPAIR: Rule = Rule { policy: Policy::Repair, is_halted: false };
const HALTED: Rule = Rule { policy: Policy::Repair, is_halted: true };

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

fn uid() -> IcalUid {
    IcalUid::parse("a@example.com").unwrap()
}

/// `x` is wanted and was acknowledged.
fn settled() -> Owed {
    Owed {
        uid: uid(),
        connection: ConnectionId(Uuid::from_u128(1)),
        booking: BookingId::parse("a").unwrap(),
        provider: ProviderId(Uuid::from_u128(2)),
        desired_revision: 0,
        desired: Some(content("x")),
        applied: Some((0, content("x").digest())),
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

fn marker(owed: &Owed) -> Marker {
    let (revision, digest) = owed.applied.unwrap();
    Marker { uid: owed.uid.clone(), connection: owed.connection, revision, digest }
}

fn live(marker: Option<Marker>, shows: Option<Content>) -> Inspected {
    let etag = Some("\"1\"".to_owned());
    let reading = Reading::Live { marker, etag, provider_uid: None, server_id: None };
    Inspected { reading, content: shows, hers: None }
}

fn without(reading: Reading) -> Inspected {
    Inspected { reading, content: None, hers: None }
}

fn judged(owed: &Owed, kind: CalendarKind, seen: &Inspected, rule: Rule) -> Judged {
    let open = Verify { from_generation: 0, deletes: false, stage: 0, is_due: true, drift: None };
    judge(owed, &open, kind, seen, true, rule)
}

fn left(kind: DriftKind) -> Judged {
    Judged { found: Verified::Drifted(kind), drift: Some(kind) }
}

const STANDS: Judged = Judged { found: Verified::Stands, drift: None };

#[test]
fn what_shows_what_is_wanted_stands() {
    let owed = settled();
    let seen = live(Some(marker(&owed)), owed.desired.clone());
    for rule in [REPORT, LEAVE, REPAIR, HALTED] {
        assert_eq!(judged(&owed, CalendarKind::Google, &seen, rule), STANDS);
    }
}

/// L13: the host's edit is left, or written over under the ETag that it was read with.
#[test]
fn an_edit_by_hand_is_left_or_written_over_by_policy() {
    let owed = settled();
    for shows in [Some(content("y")), None] {
        let seen = live(Some(marker(&owed)), shows);
        for rule in [REPORT, LEAVE, HALTED] {
            let judged = judged(&owed, CalendarKind::Caldav, &seen, rule);
            assert_eq!(judged, left(DriftKind::Edited));
        }
        let (present, etag) = (Some((0, UNREAD)), Some("\"1\"".to_owned()));
        let found = Verified::Differs { present, etag, gone: false };
        let expected = Judged { found, drift: Some(DriftKind::Edited) };
        assert_eq!(judged(&owed, CalendarKind::Caldav, &seen, REPAIR), expected);
    }
}

#[test]
fn a_calendar_that_tells_no_content_tells_of_no_edit() {
    let owed = settled();
    let open = Verify { from_generation: 0, deletes: false, stage: 0, is_due: true, drift: None };
    let seen = live(Some(marker(&owed)), None);
    let judged = judge(&owed, &open, CalendarKind::Microsoft, &seen, false, REPAIR);
    assert_eq!(judged, STANDS);
}

#[test]
fn a_deletion_by_hand_is_left_or_made_good_by_policy() {
    let owed = settled();
    for (kind, reading, gone) in [
        (CalendarKind::Google, Reading::Tombstone, true),
        (CalendarKind::Caldav, Reading::Absent, false),
    ] {
        let seen = without(reading);
        for rule in [REPORT, LEAVE, HALTED] {
            assert_eq!(judged(&owed, kind, &seen, rule), left(DriftKind::Deleted));
        }
        let found = Verified::Differs { present: None, etag: None, gone };
        let expected = Judged { found, drift: Some(DriftKind::Deleted) };
        assert_eq!(judged(&owed, kind, &seen, REPAIR), expected);
    }
}

/// L24: only while the sweep is not halted.
#[test]
fn what_got_lost_comes_back_whatever_the_policy() {
    let owed = settled();
    let seen = without(Reading::Absent);
    let found = Verified::Differs { present: None, etag: None, gone: false };
    for rule in [REPORT, LEAVE, REPAIR] {
        let expected = Judged { found: found.clone(), drift: Some(DriftKind::Lost) };
        assert_eq!(judged(&owed, CalendarKind::Google, &seen, rule), expected);
    }
    assert_eq!(judged(&owed, CalendarKind::Google, &seen, HALTED), left(DriftKind::Lost));
}

/// L24: also what a late delete of ours may have removed, as a failover asks of all rows that have no
/// strong ETag.
#[test]
fn nothing_that_is_gone_is_put_back_while_repair_is_halted() {
    let owed = settled();
    let open = Verify { from_generation: 0, deletes: true, stage: 0, is_due: true, drift: None };
    for (kind, reading) in
        [(CalendarKind::Google, Reading::Tombstone), (CalendarKind::Caldav, Reading::Absent)]
    {
        let seen = without(reading);
        let halted = judge(&owed, &open, kind, &seen, true, HALTED);
        assert_eq!(halted, Judged { found: Verified::Halted, drift: None });
        let Judged { found, drift } = judge(&owed, &open, kind, &seen, true, REPORT);
        assert!(matches!(found, Verified::Differs { present: None, .. }), "{found:?}");
        assert_eq!(drift, None);
    }
}

/// One day Google forgets a deleted event.
#[test]
fn what_was_known_to_be_deleted_is_not_taken_for_lost_later() {
    let owed = settled();
    let drift = Some(DriftKind::Deleted);
    let open = Verify { from_generation: 0, deletes: false, stage: 0, is_due: true, drift };
    let seen = without(Reading::Absent);
    let judged = judge(&owed, &open, CalendarKind::Google, &seen, true, REPORT);
    assert_eq!(judged, left(DriftKind::Deleted));
}

#[test]
fn a_late_attempt_is_put_right_whatever_the_policy() {
    let owed = settled();
    let stranger = Marker { revision: 7, ..marker(&owed) };
    for rule in [REPORT, LEAVE, REPAIR, HALTED] {
        let seen = live(Some(stranger.clone()), Some(content("z")));
        let Judged { found, drift } = judged(&owed, CalendarKind::Google, &seen, rule);
        assert!(matches!(found, Verified::Differs { .. }), "{found:?}");
        assert_eq!(drift, None);
    }
}

#[test]
fn what_cannot_be_read_is_no_drift() {
    let gone = Reading::CalendarGone { message: "no".to_owned() };
    let Judged { found, drift } =
        judged(&settled(), CalendarKind::Google, &without(gone.clone()), REPAIR);
    assert_eq!((found, drift), (Verified::Unread(gone), None));
}

#[test]
fn what_stood_before_us_needs_no_marker() {
    let owed = Owed { adopted_id: Some("theirs".to_owned()), ..settled() };
    let kind = CalendarKind::Google;
    assert_eq!(judged(&owed, kind, &live(None, owed.desired.clone()), REPORT), STANDS);
    let edited = judged(&owed, kind, &live(None, Some(content("y"))), REPORT);
    assert_eq!(edited, left(DriftKind::Unmarked));
    let ours = live(None, Some(content("x")));
    assert_eq!(judged(&settled(), kind, &ours, REPORT), left(DriftKind::Unmarked));
}

#[test]
fn what_a_host_cannot_see_is_no_edit() {
    let ours = Content {
        description: Some("a\r\nb ".to_owned()),
        location: Some(String::new()),
        start: content("x").start + TimeDelta::milliseconds(400),
        ..content("x")
    };
    let shown = Content {
        summary: " x".to_owned(),
        description: Some("a\nb".to_owned()),
        location: None,
        zone: chrono_tz::Europe::Berlin,
        ..content("x")
    };
    assert!(is_shown(&ours, &shown));
    for other in [
        Content { end: ours.end + TimeDelta::hours(1), ..shown.clone() },
        Content { description: None, ..shown.clone() },
        Content { location: Some("elsewhere".to_owned()), ..shown.clone() },
        Content { tentative: true, ..shown.clone() },
    ] {
        assert!(!is_shown(&ours, &other), "{other:?}");
    }
}

fn row(generation: i32) -> SweptRow {
    SweptRow {
        uid: uid(),
        generation,
        adopted_id: None,
        server_id: Some(name(generation)),
        applied: Some((0, content("x").digest())),
        is_wanted: true,
        has_ended: false,
        drift: None,
    }
}

fn name(generation: i32) -> String {
    format!("booking{generation}")
}

fn listed(id: &str) -> ListedEvent {
    ListedEvent {
        id: id.to_owned(),
        given: Some(id.to_owned()),
        marker: marker(&settled()),
        etag: None,
        differs: Some(false),
    }
}

#[test]
fn the_rows_own_event_is_as_it_was_left_or_is_read() {
    let event = listed(&name(2));
    assert_eq!(sight(&event, Some(&row(2)), name), Sight::Own);
    let unmapped = SweptRow { server_id: None, ..row(2) };
    assert_eq!(sight(&event, Some(&unmapped), name), Sight::Own);
    let unsure = ListedEvent { differs: None, ..event.clone() };
    assert_eq!(sight(&unsure, Some(&row(2)), name), Sight::Own);
    let edited = ListedEvent { differs: Some(true), ..event.clone() };
    assert_eq!(sight(&edited, Some(&row(2)), name), Sight::Otherwise);
    for other in [
        SweptRow { applied: None, ..row(2) },
        SweptRow { applied: Some((0, Digest([1; 16]))), ..row(2) },
        SweptRow { applied: Some((1, content("x").digest())), ..row(2) },
        SweptRow { drift: Some(DriftKind::Deleted), ..row(2) },
    ] {
        assert_eq!(sight(&event, Some(&other), name), Sight::Otherwise);
        let over = SweptRow { has_ended: true, ..other };
        assert_eq!(sight(&event, Some(&over), name), Sight::Own, "nobody minds any more");
    }
}

/// A late create of a generation that is over is ours to remove; one of a generation that the
/// database does not know of may be the booking's event.
#[test]
fn only_what_we_could_have_made_before_is_an_extra() {
    let of = |id: &str| sight(&listed(id), Some(&row(2)), name);
    assert_eq!(of("booking0"), Sight::Extra { generation: 0 });
    assert_eq!(of("booking1"), Sight::Extra { generation: 1 });
    assert_eq!(of("booking3"), Sight::Otherwise);
    assert_eq!(of("booking6"), Sight::Otherwise);
    assert_eq!(of("booking7"), Sight::Copy);
    assert_eq!(of("the-hosts"), Sight::Copy);
    // The calendar made this one's id, and does not tell what it was given.
    let nameless = ListedEvent { given: None, ..listed("x") };
    assert_eq!(sight(&nameless, Some(&row(2)), name), Sight::Copy);
}

/// Graph makes a second event of a late create once it has forgotten the first; and it gives an event a new
/// id at an export and import, and in the archive.
#[test]
fn what_stands_under_the_rows_own_name_by_another_id_is_held_against_the_rows_event() {
    let moved = ListedEvent { id: "new".to_owned(), ..listed(&name(2)) };
    let row = SweptRow { server_id: Some("old".to_owned()), ..row(2) };
    assert_eq!(sight(&moved, Some(&row), name), Sight::Extra { generation: 2 });
    let former = ListedEvent { given: Some(name(1)), ..moved };
    assert_eq!(sight(&former, Some(&row), name), Sight::Extra { generation: 1 });
}

#[test]
fn a_sweep_removes_no_more_than_the_bound() {
    assert_eq!(removal_guard(REMOVALS_MAX - 1), None);
    assert!(removal_guard(REMOVALS_MAX).is_some());
}

#[test]
fn one_name_for_ever_is_no_extra() {
    let href = |_| "booking.ics".to_owned();
    let row = SweptRow { server_id: Some("booking.ics".to_owned()), ..row(3) };
    assert_eq!(sight(&listed("booking.ics"), Some(&row), href), Sight::Own);
    assert_eq!(sight(&listed("copy.ics"), Some(&row), href), Sight::Copy);
}

#[test]
fn an_event_made_beside_one_that_stood_before_us_is_an_extra() {
    let adopted = Some("theirs".to_owned());
    let row = SweptRow { server_id: adopted.clone(), adopted_id: adopted, ..row(0) };
    assert_eq!(sight(&listed("theirs"), Some(&row), name), Sight::Own);
    assert_eq!(sight(&listed("booking0"), Some(&row), name), Sight::Extra { generation: 0 });
    let unmapped = SweptRow { server_id: None, ..row };
    assert_eq!(sight(&listed("theirs"), Some(&unmapped), name), Sight::Own);
}

/// A database that lost its rows must not lose the events, too.
#[test]
fn what_no_row_tells_of_is_never_removed() {
    assert_eq!(sight(&listed("booking0"), None, name), Sight::Orphan);
    assert_eq!(sight(&listed("booking9"), None, name), Sight::Orphan);
    assert_eq!(sight(&listed("the-hosts"), None, name), Sight::Copy);
}

/// L24.
#[test]
fn too_much_that_is_gone_halts_the_sweep() {
    let halts = |known, missing| guard(Missing { known, missing }, 20).is_some();
    for (known, missing) in
        [(2, 2), (3, 3), (4, 3), (15, 3), (100, 20), (100, 100), (u64::MAX, u64::MAX)]
    {
        assert!(halts(known, missing), "{missing} of {known}");
    }
    for (known, missing) in [(0, 0), (1, 1), (3, 2), (16, 3), (100, 19), (100, 0)] {
        assert!(!halts(known, missing), "{missing} of {known}");
    }
    assert!(guard(Missing { known: 3, missing: 3 }, 100).is_some(), "an empty calendar always");
}
