//! CalDAV servers.

use super::super::switches::{
    self, Deletion, EtagForm, EtagSource, Invalid, Missing, Overwrite, Trash, UidConflict,
};
use super::*;

fn strict() -> Desk {
    Desk::strict(Kind::Caldav)
}

fn with(set: impl FnOnce(&mut switches::Caldav)) -> Desk {
    Desk::with(Kind::Caldav, |switches| set(&mut switches.caldav))
}

fn holding(set: impl FnOnce(&mut switches::Caldav)) -> Desk {
    Desk::holding(Kind::Caldav, |switches| set(&mut switches.caldav))
}

#[test]
fn a_put_is_read_back_whole() {
    let mut desk = strict();
    let said = desk.create(0);
    assert_eq!(done(&said), 201);
    let etag = Some(etag_of(said));
    assert!(etag.as_ref().is_some_and(|etag| etag.starts_with('"')), "{etag:?}");
    let (body_marker, provider_uid) = (Some(marker(0)), Some("uid-1".to_owned()));
    let said = desk.read();
    assert_eq!(seen(&said), (body_marker, etag, provider_uid));
    desk.shows_the_first();
}

#[test]
fn if_none_match_keeps_what_is_there() {
    let mut desk = holding(|_| {});
    assert_eq!(refusal(&desk.create(0)), (412, None));
    assert_eq!(refusal(&desk.create(1)), (412, None));
    assert_eq!(desk.revision(), 0);
}

/// `SOGo`, Zimbra.
#[test]
fn if_none_match_may_be_ignored() {
    let mut desk = holding(|it| it.obeys_if_none_match = false);
    assert_eq!(done(&desk.create(1)), 204);
    assert_eq!(desk.only().marker, Some(marker(1)));
}

#[test]
fn another_etag_changes_and_deletes_nothing() {
    let mut desk = holding(|_| {});
    let stale = desk.etag();
    let said = desk.update(1, Some(&stale));
    assert_eq!(done(&said), 204);
    let fresh = etag_of(said);
    let weak = format!("W/{fresh}");
    let unquoted = fresh.replace('"', "");
    for wrong in [&stale, &weak, &unquoted] {
        assert_eq!(refusal(&desk.update(2, Some(wrong))), (412, None), "{wrong}");
        assert_eq!(refusal(&desk.delete(Some(wrong))), (412, None), "{wrong}");
    }
    assert_eq!(desk.revision(), 1);
    assert_eq!(done(&desk.delete(Some(&fresh))), 204);
}

#[test]
fn no_etag_matches_what_is_not_there() {
    let mut desk = strict();
    assert_eq!(refusal(&desk.update(0, Some("\"1\""))), (412, None));
    assert_eq!(desk.read(), Said::Absent);
}

#[test]
fn a_put_without_a_condition_makes_and_replaces() {
    let mut desk = strict();
    assert_eq!(done(&desk.update(1, None)), 201);
    // SEQUENCE is not enforced: an older one is as good.
    assert_eq!(done(&desk.update(0, None)), 204);
    assert_eq!(desk.only().marker, Some(marker(0)));
}

/// Open-Xchange.
#[test]
fn a_put_without_a_condition_may_be_refused() {
    let mut desk = with(|it| it.overwrite = Overwrite::Refused);
    assert_eq!(done(&desk.update(0, None)), 201);
    assert_eq!(refusal(&desk.update(1, None)), (409, None));
    let etag = desk.etag();
    assert_eq!(done(&desk.update(1, Some(&etag))), 204);
}

#[test]
fn a_put_replaces_all_that_the_host_noted() {
    let mut desk = holding(|_| {});
    desk.host(&Deed::Annotate { name: name(Kind::Caldav) });
    assert!(desk.only().host_note.is_some());
    desk.update(1, None);
    assert_eq!(desk.only().host_note, None);
    // That somebody was at it is known all the same.
    assert_eq!(desk.only().touched_by_host_at, Some(Duration::ZERO));
}

#[test]
fn an_etag_may_have_to_be_read() {
    let mut desk = with(|it| it.etag_on_put = false);
    assert_eq!(desk.create(0), Said::bare_done(201));
    let etag = desk.etag();
    let said = desk.update(1, Some(&etag));
    assert_eq!(said, Said::bare_done(204));
}

#[test]
fn a_weak_etag_never_matches() {
    let mut desk = holding(|it| it.etags = EtagForm::Weak);
    let etag = desk.etag();
    assert!(etag.starts_with("W/\""), "{etag}");
    for etag in [&etag, etag.trim_start_matches("W/")] {
        assert_eq!(refusal(&desk.update(1, Some(etag))), (412, None));
    }
    assert_eq!(done(&desk.update(1, None)), 204);
}

#[test]
fn a_weak_etag_may_come_back_with_its_content() {
    let mut desk = holding(|it| {
        (it.etags, it.etags_from) = (EtagForm::Weak, EtagSource::Content);
    });
    let etag = desk.etag();
    assert!(etag.starts_with("W/\""), "{etag}");
    desk.update(1, None);
    assert_eq!(etag_of(desk.update(0, None)), etag);
}

#[test]
fn a_server_may_have_no_etags() {
    let mut desk = holding(|it| it.etags = EtagForm::None);
    assert!(matches!(desk.read(), Said::Live { etag: None, .. }));
    assert_eq!(refusal(&desk.update(1, Some("\"1\""))), (412, None));
    let said = desk.update(1, None);
    assert_eq!(said, Said::bare_done(204));
}

/// Measured on Radicale and Xandikos.
#[test]
fn etags_of_the_content_come_back_with_it() {
    for (etags_from, comes_back) in [(EtagSource::Content, true), (EtagSource::Count, false)] {
        let mut desk = holding(|it| it.etags_from = etags_from);
        let (a, b) = (desk.etag(), etag_of(desk.update(1, None)));
        assert_ne!(a, b);
        assert_eq!(etag_of(desk.update(0, None)) == a, comes_back);
        // What the host does is content too.
        assert!(desk.host(&Deed::Annotate { name: name(Kind::Caldav) }));
        assert!(desk.etag() != a && desk.etag() != b);
        assert!(desk.etag().starts_with('"'));
    }
}

#[test]
fn a_deletion_is_answered_by_nothing_or_by_a_multistatus() {
    for (deletion, status) in [(Deletion::NoContent, 204), (Deletion::MultiStatus, 200)] {
        let mut desk = holding(|it| it.deletion = deletion);
        assert_eq!(done(&desk.delete(None)), status);
        assert_eq!(desk.read(), Said::Absent);
        assert_eq!(desk.last().after, Stood::Nothing);
    }
}

#[test]
fn deleting_what_is_not_there_is_not_found() {
    for (missing, status) in [(Missing::NotFound, 404), (Missing::ConditionFailed, 412)] {
        let mut desk = holding(|it| it.missing = missing);
        let etag = desk.etag();
        desk.delete(None);
        assert_eq!(refusal(&desk.delete(None)), (404, None));
        assert_eq!(refusal(&desk.delete(Some(&etag))), (status, None));
    }
}

#[test]
fn what_was_deleted_can_be_made_anew() {
    let mut desk = holding(|_| {});
    for revision in 1..5 {
        assert!(matches!(desk.delete(None), Said::Done { .. }));
        assert_eq!(done(&desk.create(revision)), 201);
    }
    assert_eq!(desk.only().marker, Some(marker(4)));
}

/// Nextcloud, server#30096.
#[test]
fn what_lies_in_the_bin_may_hinder_its_successor() {
    for status in [400, 403] {
        let trash = Trash::RefusesPut { for_time: MINUTE, status };
        let mut desk = holding(|it| it.trash = trash);
        desk.delete(None);
        desk.wait(ALMOST_A_MINUTE);
        assert_eq!(refusal(&desk.create(1)), (status, None));
        assert_eq!(refusal(&desk.update(1, None)), (status, None));
        assert_eq!(desk.read(), Said::Absent);
        desk.wait(SECOND);
        assert_eq!(done(&desk.create(1)), 201);
        // Or somebody empties it.
        desk.delete(None);
        assert_eq!(refusal(&desk.create(2)), (status, None));
        assert!(desk.host(&Deed::EvictTombstones));
        assert_eq!(done(&desk.create(2)), 201);
    }
}

/// Nextcloud, server#42582.
#[test]
fn what_lies_in_the_bin_may_hinder_the_next_deletion() {
    let trash = Trash::RefusesDelete { for_time: MINUTE };
    let mut desk = holding(|it| it.trash = trash);
    assert_eq!(done(&desk.delete(None)), 204);
    assert_eq!(done(&desk.create(1)), 201);
    assert_eq!(refusal(&desk.delete(None)), (403, None));
    assert_eq!(desk.revision(), 1);
    desk.wait(MINUTE);
    assert_eq!(done(&desk.delete(None)), 204);
}

/// Xandikos.
#[test]
fn a_failure_may_have_stored_the_event() {
    let mut desk = with(|it| it.fails_after_storing = Some(2));
    assert_eq!(done(&desk.create(0)), 201);
    assert_eq!(refusal(&desk.create(0)), (412, None));
    assert_eq!(refusal(&desk.update(1, None)), (500, None));
    assert_eq!(desk.revision(), 1);
    assert_eq!(done(&desk.update(2, None)), 204);
    assert_eq!(refusal(&desk.update(3, None)), (500, None));
    assert_eq!(desk.revision(), 3);
}

#[test]
fn a_uid_that_stands_elsewhere_is_refused_in_many_ways() {
    let conflict = Some("no-uid-conflict");
    for (uid_conflict, refused) in [
        (UidConflict::Status409, (409, conflict)),
        (UidConflict::Status412, (412, conflict)),
        (UidConflict::Status403, (403, Some("unique-scheduling-object-resource"))),
        (UidConflict::Status400, (400, None)),
    ] {
        let mut desk = with(|it| it.uid_conflict = uid_conflict);
        let (elsewhere, body) = ("elsewhere.ics".to_owned(), text(0, "uid-1"));
        desk.ask(&Ask::Create { name: elsewhere.clone(), body });
        assert_eq!(refusal(&desk.create(0)), refused);
        assert_eq!(refusal(&desk.update(0, None)), refused);
        desk.ask(&Ask::Delete { name: elsewhere, if_match: None });
        assert_eq!(done(&desk.create(0)), 201);
    }
}

/// Baikal, `DAViCal` and others.
#[test]
fn a_uid_that_stands_elsewhere_may_stand_twice() {
    let mut desk = holding(|it| it.uid_conflict = UidConflict::Accepted);
    let (name, body) = ("elsewhere.ics".to_owned(), text(0, "uid-1"));
    assert_eq!(done(&desk.ask(&Ask::Create { name, body })), 201);
    assert_eq!(desk.calendar.live().len(), 2);
}

#[test]
fn a_uid_hinders_only_who_takes_it() {
    let mut desk = holding(|it| it.copies = switches::CopyUid::Same);
    let name = name(Kind::Caldav);
    assert!(desk.host(&Deed::Copy { name }));
    assert_eq!(done(&desk.update(1, None)), 204);
    assert_eq!(done(&desk.update_with(text(2, "uid-2"), None)), 204);
    assert_eq!(refusal(&desk.update(3, None)), (409, Some("no-uid-conflict")));
}

#[test]
fn what_is_no_event_is_invalid() {
    for (invalid, refused) in [
        (Invalid::Status400, (400, None)),
        (Invalid::Status412, (412, Some("valid-calendar-data"))),
    ] {
        let mut desk = with(|it| it.invalid = invalid);
        assert_eq!(refusal(&desk.create_with(b"{}".to_vec())), refused);
        assert_eq!(refusal(&desk.update_with(b"".to_vec(), None)), refused);
        assert!(desk.calendar.history().is_empty());
    }
}
