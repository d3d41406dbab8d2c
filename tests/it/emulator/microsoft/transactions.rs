//! `transactionId`, deletion, and what the server does of its own accord.

use std::time::Duration;

use calendar_sync::emulator::Effect;
use calendar_sync::emulator::microsoft::{
    AfterDelete, ByHand, DuplicateStatus, SecondDelete, Switches,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ACCOUNT, Graph, SECOND, body, named, with};

const DUPLICATE: &str = "ErrorDuplicateTransactionId";

/// B3.
#[tokio::test]
async fn an_identical_post_makes_no_second_event_and_shows_it_as_it_is_now() {
    let graph = Graph::start().await;
    let made = graph.post(&named("t-1", 0)).await;
    graph.patch(&made.id(), &json!({"subject": "later"})).await;
    let again = graph.post(&named("t-1", 0)).await;
    assert_eq!((again.status, again.id()), (201, made.id()));
    assert_eq!(again.body["subject"], "later");
    assert_eq!(graph.all().len(), 1);
    assert_eq!(graph.emulator.calls().mutations().len(), 2);
    assert_eq!(graph.post(&named("t-2", 0)).await.status, 201);
    assert_eq!(graph.all().len(), 2);
}

/// B3.
#[tokio::test]
async fn a_post_of_other_content_is_a_duplicate() {
    let graph = Graph::start().await;
    let made = graph.post(&named("t-1", 0)).await;
    let refused = graph.post(&named("t-1", 1)).await;
    assert_eq!(refused.said(), (400, DUPLICATE));
    assert_eq!(refused.body["error"].get("@event.existingEventId"), None);
    let elsewhere = graph.call(Method::POST, "/me/events", Some(&named("t-1", 0))).await;
    assert_eq!(elsewhere.said(), (400, DUPLICATE), "the mailbox is one");
    graph.emulator.set_switches(Switches {
        duplicate_status: DuplicateStatus::Status409,
        duplicate_names_event: true,
        ..Switches::default()
    });
    let refused = graph.post(&named("t-1", 1)).await;
    assert_eq!(refused.said(), (409, DUPLICATE));
    assert_eq!(refused.body["error"]["@event.existingEventId"], made.id());
    assert_eq!(graph.only().subject, "Haircut 0");
}

/// B4.
#[tokio::test]
async fn a_transaction_id_cannot_be_changed_nor_searched_for() {
    let graph = Graph::start().await;
    let made = graph.post(&named("t-1", 0)).await;
    for value in [json!("t-1"), json!("t-2"), Value::Null] {
        let refused = graph.patch(&made.id(), &json!({"transactionId": value})).await;
        assert_eq!(refused.said(), (400, "ErrorInvalidRequest"));
        assert!(refused.body.to_string().contains("immutable"));
    }
    let searched = graph.list(&[("$filter", "transactionId eq 't-1'")]).await;
    assert_eq!(searched.said(), (400, "BadRequest"));
}

/// B2.
#[tokio::test]
async fn a_forgotten_transaction_id_makes_a_second_event() {
    let hour = Duration::from_hours(1);
    let switches = Switches { transactions_kept: Some(hour), ..Switches::default() };
    let graph = Graph::with(switches).await;
    graph.post(&named("t-1", 0)).await;
    graph.clock.advance(hour / 2);
    graph.post(&named("t-1", 0)).await;
    assert_eq!(graph.all().len(), 1);
    graph.clock.advance(hour / 2);
    assert_eq!(graph.post(&named("t-1", 0)).await.status, 201);
    assert_eq!(graph.all().len(), 2);
    assert_eq!(graph.post(&named("t-1", 1)).await.said(), (400, DUPLICATE), "remembered anew");
    graph.emulator.forget_transactions(ACCOUNT);
    assert_eq!(graph.post(&named("t-1", 1)).await.status, 201);
}

/// Not established.
#[tokio::test]
async fn a_post_after_the_deletion_makes_a_new_event_or_says_that_it_did() {
    let graph = Graph::start().await;
    let made = graph.post(&named("t-1", 0)).await;
    assert_eq!(graph.delete(&made.id()).await.status, 204);
    let second = graph.post(&named("t-1", 0)).await;
    assert_eq!(second.status, 201);
    assert_ne!(second.id(), made.id());
    assert_eq!(graph.delete(&second.id()).await.status, 204);
    let after_delete = AfterDelete::AnswersWithDeleted;
    graph.emulator.set_switches(Switches { after_delete, ..Switches::default() });
    let third = graph.post(&named("t-1", 0)).await;
    assert_eq!((third.status, third.id()), (201, second.id()));
    assert_eq!(graph.all().len(), 0);
    assert_eq!(graph.get(&third.id()).await.said(), (404, "ErrorItemNotFound"));
    assert_eq!(graph.post(&named("t-1", 1)).await.said(), (400, DUPLICATE));
    let effects: Vec<_> =
        graph.emulator.calls().mutations().iter().map(|call| call.effect).collect();
    assert_eq!(effects, [Effect::Created, Effect::Deleted, Effect::Created, Effect::Deleted]);
}

/// B8.
#[tokio::test]
async fn a_deleted_event_is_not_found_or_cannot_be_deleted() {
    let mut graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let mutable_id = graph.only().mutable_id;
    assert_eq!(graph.delete(&id).await.status, 204);
    assert_eq!(graph.emulator.deleted_events(&graph.calendar).len(), 1);
    assert_eq!(graph.get(&id).await.said(), (404, "ErrorItemNotFound"));
    assert_eq!(graph.patch(&id, &body(1)).await.said(), (404, "ErrorItemNotFound"));
    assert_eq!(graph.delete(&id).await.said(), (404, "ErrorItemNotFound"));
    let second_delete = SecondDelete::CannotDelete;
    graph.emulator.set_switches(Switches { second_delete, ..Switches::default() });
    assert_eq!(graph.delete(&id).await.said(), (403, "ErrorCannotDeleteObject"));
    assert_eq!(graph.delete("AAMkAGI2TGuLAAAAAAAAAAAA=").await.status, 404);
    graph.prefer.clear();
    assert_eq!(graph.delete(&mutable_id).await.said(), (404, "ErrorItemNotFound"));
}

/// B7.
#[tokio::test]
async fn a_conflict_can_come_without_a_condition_once_after_each_write() {
    let graph = Graph::with(Switches { conflicts_for: SECOND, ..Switches::default() }).await;
    let id = graph.post(&body(0)).await.id();
    assert_eq!(graph.patch(&id, &body(1)).await.said(), (412, "ErrorIrresolvableConflict"));
    assert_eq!(graph.patch(&id, &body(1)).await.status, 200);
    assert_eq!(graph.delete(&id).await.said(), (412, "ErrorIrresolvableConflict"));
    graph.clock.advance(SECOND);
    assert_eq!(graph.patch(&id, &body(2)).await.status, 200);
    graph.clock.advance(SECOND);
    assert_eq!(graph.delete(&id).await.status, 204);
}

/// B7.
#[tokio::test]
async fn a_change_key_can_change_of_its_own_accord() {
    let change_key_bumps = vec![SECOND, SECOND * 2];
    let graph = Graph::with(Switches { change_key_bumps, ..Switches::default() }).await;
    let made = graph.post(&body(0)).await;
    let mut etags = vec![made.etag()];
    for _ in 0..3 {
        graph.clock.advance(SECOND);
        etags.push(graph.get(&made.id()).await.etag());
    }
    assert!(etags[0] != etags[1] && etags[1] != etags[2] && etags[2] == etags[3]);
    let stale = graph.conditional(Method::PATCH, &made.id(), Some(&body(1)), &etags[0]).await;
    assert_eq!(stale.status, 412);
    let fresh = graph.conditional(Method::PATCH, &made.id(), Some(&body(1)), &etags[3]).await;
    assert_eq!(fresh.status, 200);
    assert!(!etags.contains(&fresh.etag()));
}

#[tokio::test]
async fn a_restored_event_keeps_its_transaction_id_and_one_of_its_ids() {
    let graph = Graph::start().await;
    let id = graph.post(&named("t-1", 0)).await.id();
    let mutable_id = graph.only().mutable_id;
    graph.delete(&id).await;
    assert!(graph.emulator.change_by_hand(&id, ByHand::Restore));
    assert_eq!(graph.get(&id).await.body["transactionId"], "t-1");
    assert_ne!(graph.only().mutable_id, mutable_id);
    assert_eq!(graph.post(&named("t-1", 0)).await.id(), id);
    let other = with(named("t-1", 0), "subject", json!("other"));
    assert_eq!(graph.post(&other).await.said(), (400, DUPLICATE));
}
