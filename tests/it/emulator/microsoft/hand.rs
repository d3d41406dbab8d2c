//! What a host does by hand.

use std::collections::BTreeSet;

use calendar_sync::emulator::microsoft::ByHand;
use reqwest::Method;
use serde_json::json;

use super::{ACCOUNT, Graph, MARKER, at, named};

/// L13.
#[tokio::test]
async fn a_host_edits_without_a_call_and_the_etag_tells() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 0)).await.id();
    let calls = graph.emulator.calls().list.len();
    let mut etags = BTreeSet::new();
    for change in [
        ByHand::Retitle("Haircut and tea".to_owned()),
        ByHand::Describe("bring the <cat>".to_owned()),
        ByHand::Recategorise(vec!["Red category".to_owned()]),
        ByHand::Remind(30),
        ByHand::Move { start: at(15), end: at(16) },
        ByHand::AllDay,
        ByHand::Invite(vec!["eve@example.com".to_owned()]),
        ByHand::StripProperties,
        ByHand::Delete,
        ByHand::Restore,
    ] {
        assert!(graph.emulator.change_by_hand(&id, change));
        let deleted = graph.emulator.deleted_events(&graph.calendar);
        let event = graph.all().into_iter().chain(deleted).next();
        assert!(etags.insert(event.unwrap().etag));
    }
    assert_eq!(graph.emulator.calls().list.len(), calls);
    assert!(!graph.emulator.change_by_hand("nothing", ByHand::Delete));
    let read = graph.get(&id).await.body;
    assert_eq!(read["subject"], "Haircut and tea");
    assert_eq!(read["bodyPreview"], "bring the <cat>");
    assert_eq!(read["categories"], json!(["Red category"]));
    assert_eq!(read["reminderMinutesBeforeStart"], 30);
    assert_eq!(
        (&read["isAllDay"], &read["start"]["dateTime"]),
        (&json!(true), &json!("2026-11-23T00:00:00.0000000"))
    );
    assert_eq!(read["attendees"][0]["emailAddress"]["address"], "eve@example.com");
    assert!(graph.only().properties.is_empty());
}

#[tokio::test]
async fn what_a_host_adds_survives_an_update_that_does_not_name_it() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 0)).await.id();
    for change in [
        ByHand::Recategorise(vec!["Red category".to_owned()]),
        ByHand::Remind(30),
        ByHand::Invite(vec!["eve@example.com".to_owned()]),
    ] {
        graph.emulator.change_by_hand(&id, change);
    }
    let patched = graph.patch(&id, &super::body(1)).await.body;
    assert_eq!(patched["categories"], json!(["Red category"]));
    assert_eq!(patched["reminderMinutesBeforeStart"], 30);
    assert_eq!(patched["attendees"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_carries_the_marker_and_no_transaction_id() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 3)).await.id();
    let copy = graph.emulator.copy_by_hand(&id).unwrap();
    assert_eq!(graph.search("b-3").await.values().len(), 2);
    let all = graph.all();
    assert_eq!((all[1].id.as_str(), all[1].properties[MARKER].as_str()), (copy.as_str(), "b-3"));
    assert_eq!((all[0].transaction_id.as_deref(), &all[1].transaction_id), (Some("t-1"), &None));
    assert_ne!(all[0].ical_uid, all[1].ical_uid);
    assert_eq!(graph.post(&named("t-1", 3)).await.id(), id);
    assert_eq!(graph.emulator.copy_by_hand("nothing"), None);
}

#[tokio::test]
async fn a_move_to_another_calendar_changes_one_id() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 0)).await.id();
    let before = graph.only();
    let other = graph.emulator.create_calendar(ACCOUNT, "Other");
    assert!(graph.emulator.move_to_calendar_by_hand(&id, &other));
    assert!(!graph.emulator.move_to_calendar_by_hand(&id, &other), "it is there already");
    assert!(!graph.emulator.move_to_calendar_by_hand(&id, "nowhere"));
    assert_eq!(graph.all().len(), 0);
    let after = graph.emulator.events(&other).remove(0);
    assert_eq!((after.id, &after.ical_uid), (id.clone(), &before.ical_uid));
    assert_ne!(after.mutable_id, before.mutable_id);
    assert_eq!(after.transaction_id, before.transaction_id);
    assert_eq!(graph.get(&id).await.status, 200);
    assert_eq!(graph.get(&before.mutable_id).await.status, 404);
    let under_old = format!("{}/{id}", graph.events_path());
    assert_eq!(graph.call(Method::GET, &under_old, None).await.status, 404);
}

/// L24.
#[tokio::test]
async fn an_emptied_calendar_has_no_trace_of_its_events() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 0)).await.id();
    assert!(graph.emulator.empty_calendar(&graph.calendar));
    assert_eq!(graph.search("b-0").await.values().len(), 0);
    assert_eq!(graph.get(&id).await.said(), (404, "ErrorItemNotFound"));
    assert!(!graph.emulator.change_by_hand(&id, ByHand::Restore));
    assert!(!graph.emulator.empty_calendar("nothing"));
}
