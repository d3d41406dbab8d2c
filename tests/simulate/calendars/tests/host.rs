//! What a host does by hand.

use super::super::switches::CopyUid;
use super::*;

const KINDS: [Kind; 3] = [Kind::Google, Kind::Microsoft, Kind::Caldav];
const NOON: Duration = Duration::from_hours(12);

/// At noon, with the event that was made at midnight.
fn at_noon(kind: Kind) -> Desk {
    let mut desk = Desk::holding(kind, |_| {});
    desk.wait(NOON);
    desk
}

#[test]
fn a_deletion_by_hand_is_one() {
    for kind in KINDS {
        let mut desk = at_noon(kind);
        assert!(desk.host(&Deed::Delete { name: name(kind) }));
        assert!(desk.calendar.live().is_empty());
        let (gone, seen) = match kind {
            Kind::Google => (Stood::Tombstone, Said::Tombstone),
            Kind::Microsoft | Kind::Caldav => (Stood::Nothing, Said::Absent),
        };
        assert_eq!((desk.last().by, desk.last().at), (By::Host, NOON));
        assert_eq!(desk.last().after, gone);
        assert_eq!(desk.read(), seen);
    }
}

#[test]
fn an_edit_changes_what_it_says_and_the_etag() {
    for kind in KINDS {
        for (title, time) in [(true, false), (false, true), (true, true)] {
            let mut desk = at_noon(kind);
            let (etag, before) = (desk.etag(), desk.only().clone());
            assert!(desk.host(&Deed::Edit { name: name(kind), title, time }));
            let after = desk.only().clone();
            assert_eq!(after.summary != before.summary, title);
            assert_eq!(after.start == "2026-03-03T10:00:00Z", time);
            assert_eq!(after.end == "2026-03-03T11:00:00Z", time);
            assert_eq!((after.start != before.start, after.end != before.end), (time, time));
            assert_eq!(after.marker, before.marker);
            assert_eq!((before.touched_by_host_at, after.touched_by_host_at), (None, Some(NOON)));
            assert_ne!(desk.etag(), etag);
            assert_eq!(refusal(&desk.update(1, Some(&etag))).0, 412);
        }
    }
}

#[test]
fn two_edits_never_look_alike() {
    let mut desk = at_noon(Kind::Caldav);
    let edit = Deed::Edit { name: name(Kind::Caldav), title: true, time: false };
    desk.host(&edit);
    let first = desk.only().summary.clone();
    desk.host(&edit);
    assert_ne!(desk.only().summary, first);
}

#[test]
fn a_note_changes_nothing_that_we_write() {
    for kind in KINDS {
        let mut desk = at_noon(kind);
        let (etag, before) = (desk.etag(), desk.only().clone());
        assert!(desk.host(&Deed::Annotate { name: name(kind) }));
        let after = desk.only().clone();
        assert!(after.host_note.is_some());
        assert_ne!(desk.etag(), etag);
        let as_before =
            Event { host_note: None, touched_by_host_at: None, etag: before.etag.clone(), ..after };
        assert_eq!(as_before, before);
    }
}

#[test]
fn a_note_in_the_text_is_none_of_what_we_show() {
    for kind in KINDS {
        let mut desk = at_noon(kind);
        let (etag, before) = (desk.etag(), desk.only().clone());
        for (notes, first) in [(1, false), (2, true), (3, false)] {
            assert!(desk.host(&Deed::Note { name: name(kind), first }));
            let after = desk.only();
            assert_eq!((after.shown(), &after.marker), (before.shown(), &before.marker));
            assert_eq!(after.noted().into_values().collect::<Vec<_>>(), vec![1; notes]);
            assert!(desk.last().is_note());
        }
        assert_ne!(desk.etag(), etag);
        assert_eq!(refusal(&desk.update(1, Some(&etag))).0, 412);
    }
}

#[test]
fn what_a_host_does_besides_is_no_note() {
    for deed in [
        Deed::Edit { name: name(Kind::Google), title: true, time: false },
        Deed::StripMarker { name: name(Kind::Google) },
        Deed::Delete { name: name(Kind::Google) },
    ] {
        let mut desk = at_noon(Kind::Google);
        desk.host(&deed);
        assert!(!desk.last().is_note(), "{deed:?}");
    }
}

#[test]
fn a_caldav_object_holds_what_its_host_has_noted() {
    let mut desk = at_noon(Kind::Caldav);
    desk.host(&Deed::Note { name: name(Kind::Caldav), first: true });
    desk.host(&Deed::Annotate { name: name(Kind::Caldav) });
    desk.host(&Deed::Note { name: name(Kind::Caldav), first: false });
    let Said::Live { event, text: Some(text), .. } = desk.read() else { panic!("no object") };
    // Whoever puts it back as it is takes nothing away.
    assert_eq!(done(&desk.update_with(text.into_bytes(), None)), 204);
    assert_eq!(event.noted().len(), 3);
    let after = desk.only();
    assert_eq!((&after.description, &after.host_note), (&event.description, &event.host_note));
    // Nor does its marker go from the event alone.
    desk.host(&Deed::StripMarker { name: name(Kind::Caldav) });
    let text = String::from_utf8(desk.calendar.text(&name(Kind::Caldav)).unwrap().to_vec());
    assert!(!text.unwrap().contains("BOOKING-"));
}

#[test]
fn an_event_can_lose_its_marker() {
    for kind in [Kind::Google, Kind::Caldav] {
        let mut desk = at_noon(kind);
        assert!(desk.host(&Deed::StripMarker { name: name(kind) }));
        assert_eq!(desk.only().marker, None);
        assert!(matches!(desk.read(), Said::Live { body_marker: None, .. }));
        // An update brings it back.
        assert!(matches!(desk.update(1, None), Said::Done { .. }));
        assert_eq!(desk.revision(), 1);
    }
}

#[test]
fn a_copy_has_our_marker_and_a_name_of_its_own() {
    for kind in KINDS {
        let mut desk = at_noon(kind);
        assert!(desk.host(&Deed::Copy { name: name(kind) }));
        let live = desk.calendar.live();
        let [ours, copy] = live[..] else { panic!("{live:?}") };
        assert_ne!(copy.name, ours.name);
        assert_ne!(copy.provider_uid, ours.provider_uid);
        assert_eq!((copy.copy_of.as_ref(), copy.made_by), (Some(&ours.name), By::Host));
        assert_eq!((copy.written_at, copy.touched_by_host_at), (None, Some(NOON)));
        assert_eq!((&copy.summary, &copy.start), (&ours.summary, &ours.start));
        let told = copy.marker.clone().unwrap();
        match kind {
            Kind::Google | Kind::Microsoft => assert_eq!(told, marker(0)),
            // There the marker's UID is the event's.
            Kind::Caldav => {
                assert_eq!(told.uid, copy.provider_uid);
                assert_eq!(Marker { uid: "uid-1".to_owned(), ..told }, marker(0));
            }
        }
        // Ours is found as before.
        assert_eq!(desk.revision(), 0);
        assert!(desk.host(&Deed::DeleteCopy { name: name(kind) }));
        assert_eq!(desk.only().name, name(kind));
        assert!(!desk.host(&Deed::DeleteCopy { name: name(kind) }));
    }
}

#[test]
fn a_copy_that_we_write_to_is_still_the_hosts() {
    let mut desk = at_noon(Kind::Caldav);
    desk.host(&Deed::Copy { name: name(Kind::Caldav) });
    let copy = desk.calendar.live()[1].clone();
    let body = text(1, &copy.provider_uid);
    let update = Ask::Update { name: copy.name, if_match: copy.etag, body };
    assert_eq!(done(&desk.ask(&update)), 204);
    let copy = desk.calendar.live()[1];
    assert_eq!((copy.summary.as_str(), copy.made_by), ("Haircut 1", By::Host));
    assert_eq!(copy.copy_of, Some(name(Kind::Caldav)));
}

#[test]
fn a_copy_can_have_our_uid_in_caldav() {
    let mut desk = Desk::holding(Kind::Caldav, |it| it.caldav.copies = CopyUid::Same);
    assert!(desk.host(&Deed::Copy { name: name(Kind::Caldav) }));
    for event in desk.calendar.live() {
        assert_eq!((event.provider_uid.as_str(), &event.marker), ("uid-1", &Some(marker(0))));
    }
    // It holds the UID when ours is gone.
    desk.delete(None);
    assert_eq!(refusal(&desk.create(1)), (409, Some("no-uid-conflict")));
}

#[test]
fn a_google_copy_has_an_id_that_google_takes() {
    let mut desk = at_noon(Kind::Google);
    desk.host(&Deed::Copy { name: name(Kind::Google) });
    let copy = desk.calendar.live()[1].name.clone();
    let body = body_of(Kind::Google, 1, |body| body["id"] = json!(copy));
    let said = desk.ask(&Ask::Create { name: copy, body });
    assert_eq!(refusal(&said), (409, Some("duplicate")));
}

#[test]
fn what_was_deleted_can_be_restored_while_it_is_in_the_bin() {
    for kind in [Kind::Google, Kind::Microsoft] {
        let mut desk = at_noon(kind);
        let restore = Deed::Restore { name: name(kind) };
        assert!(!desk.host(&restore), "it is there");
        desk.delete(None);
        assert!(desk.host(&restore));
        assert_eq!(desk.revision(), 0);
        desk.delete(None);
        assert!(desk.host(&Deed::EvictTombstones));
        assert!(!desk.host(&restore));
        assert!(!desk.host(&Deed::EvictTombstones));
    }
    // No bin, no restoring.
    let mut desk = at_noon(Kind::Caldav);
    desk.delete(None);
    assert!(!desk.host(&Deed::Restore { name: name(Kind::Caldav) }));
}

#[test]
fn a_google_id_whose_tombstone_is_gone_is_free_again() {
    let mut desk = at_noon(Kind::Google);
    desk.delete(None);
    assert!(desk.host(&Deed::EvictTombstones));
    assert_eq!((desk.last().by, &desk.last().after), (By::Host, &Stood::Nothing));
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(done(&desk.create(0)), 200);
}

#[test]
fn an_event_of_the_hosts_own_stands_beside_ours() {
    for kind in KINDS {
        let mut desk = at_noon(kind);
        assert!(desk.host(&Deed::Add));
        let live = desk.calendar.live();
        assert_eq!((live.len(), live[1].made_by), (2, By::Host));
        assert_eq!((&live[1].marker, &live[1].copy_of), (&None, &None));
    }
}

#[test]
fn nothing_is_done_to_what_is_not_there() {
    for kind in KINDS {
        let mut desk = Desk::strict(kind);
        let name = || "nobody".to_owned();
        for deed in [
            Deed::Delete { name: name() },
            Deed::Edit { name: name(), title: true, time: true },
            Deed::Annotate { name: name() },
            Deed::Note { name: name(), first: true },
            Deed::StripMarker { name: name() },
            Deed::Copy { name: name() },
            Deed::DeleteCopy { name: name() },
            Deed::Restore { name: name() },
            Deed::EvictTombstones,
        ] {
            assert!(!desk.host(&deed), "{deed:?}");
        }
        assert!(desk.calendar.history().is_empty());
    }
}
