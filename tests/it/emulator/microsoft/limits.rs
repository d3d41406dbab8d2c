//! Faults to order, and the emulator's own limits.

use std::time::Duration;

use calendar_sync::emulator::microsoft::refusals;
use calendar_sync::emulator::{Answered, Fault, Limits, Moment, Quota, Refusal, Rule, Verb};
use futures::future::join_all;
use reqwest::Method;

use super::{ACCOUNT, Graph, SECOND, body, named};

/// L16.
#[tokio::test]
async fn a_mailbox_takes_four_calls_at_once() {
    let graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let held = graph.emulator.order(Rule::next(4, Fault::Hold(Moment::BeforeApplying)));
    let four = join_all((0..4).map(|_| graph.get(&id)));
    let (got, ()) = tokio::join!(four, async {
        held.wait_held(4).await;
        let fifth = graph.get(&id).await;
        assert_eq!(fifth.said(), (429, "ApplicationThrottled"));
        assert_eq!(fifth.headers["retry-after"], "1");
        held.release(4);
    });
    assert!(got.iter().all(|got| got.status == 200));
    assert_eq!(graph.get(&id).await.status, 200);
    let calls = graph.emulator.calls();
    let throttled = calls.list.iter().filter(|call| {
        call.applied.is_none() && matches!(call.answered, Answered::Status { status: 429, .. })
    });
    assert_eq!(throttled.count(), 1);
    let shared = Limits { in_flight_max: Some(1), shared: true, ..Limits::default() };
    graph.emulator.set_limits(shared);
    graph.emulator.add_account("token-of-eve", "eve@example.com");
    let held = graph.emulator.order(Rule::next(1, Fault::Hold(Moment::BeforeApplying)));
    let eve = Graph {
        token: Some("token-of-eve"),
        emulator: graph.emulator.clone(),
        ..Graph::start().await
    };
    let (got, ()) = tokio::join!(graph.get(&id), async {
        held.wait_held(1).await;
        let other = eve.call(Method::GET, "/me/calendar", None).await;
        assert_eq!(other.said(), (429, "ApplicationThrottled"), "the application is one");
        held.release(1);
    });
    assert_eq!(got.status, 200);
    graph.emulator.set_limits(Limits::default());
    let many = join_all((0..20).map(|_| graph.get(&id))).await;
    assert!(many.iter().all(|got| got.status == 200));
}

#[tokio::test]
async fn a_connection_that_was_cut_counts_no_more() {
    let graph = Graph::start().await;
    let zombies = graph.emulator.order(Rule::next(4, Fault::Delay { hang_up: true }));
    let path = graph.events_path();
    for revision in 0..4 {
        let sent = body(revision);
        assert!(graph.try_call(Method::POST, &path, &[], Some(&sent), None).await.is_err());
    }
    zombies.wait_held(4).await;
    assert_eq!(graph.post(&body(4)).await.status, 201);
    zombies.release_all();
    graph.emulator.wait_for_calls(|calls| calls.mutations().len() == 5).await;
    assert_eq!(graph.all().len(), 5);
}

#[tokio::test]
async fn a_mailbox_takes_so_many_calls_in_a_time() {
    let quota = Some(Quota { calls_max: 2, window: SECOND });
    let limits = Limits { quota, retry_after_s: None, ..Limits::default() };
    let mut graph = Graph::with_options(|options| options.limits = limits).await;
    for _ in 0..2 {
        assert_eq!(graph.list(&[]).await.status, 200);
    }
    let over = graph.list(&[]).await;
    assert_eq!(over.said(), (429, "ApplicationThrottled"));
    assert_eq!(over.headers.get("retry-after"), None);
    graph.clock.advance(SECOND);
    assert_eq!(graph.list(&[]).await.status, 200);
    graph.token = None;
    for _ in 0..3 {
        assert_eq!(graph.list(&[]).await.status, 401, "nobody has no limit");
    }
}

#[tokio::test]
async fn refusals_come_in_graphs_words() {
    let graph = Graph::start().await;
    for (refusal, status, code, retry_after) in [
        (refusals::throttled(Some(7)), 429, "ApplicationThrottled", Some("7")),
        (refusals::unavailable(None), 503, "serviceNotAvailable", None),
        (refusals::gateway_timeout(), 504, "UnknownError", None),
        (refusals::bandwidth_exceeded(), 509, "BandwidthLimitExceeded", None),
        (refusals::access_denied(), 403, "ErrorAccessDenied", None),
        (refusals::conflict(), 412, "ErrorIrresolvableConflict", None),
        (Refusal::proxy_error(502), 502, "", None),
    ] {
        graph.emulator.order(Rule::next(1, Fault::Refuse(Moment::BeforeApplying, refusal)));
        let refused = graph.post(&body(0)).await;
        assert_eq!(refused.said(), (status, code));
        let said = refused.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(said, retry_after);
        let inner = &refused.body["error"]["innerError"]["request-id"];
        assert_eq!(inner.is_string(), !code.is_empty());
    }
    assert_eq!(graph.all().len(), 0);
}

/// L1, and betagouv/rdv-service-public#3376: a refusal that is none.
#[tokio::test]
async fn a_refused_post_may_have_made_its_event() {
    let graph = Graph::start().await;
    let suspended = Fault::Refuse(Moment::AfterApplying, refusals::account_suspended());
    graph.emulator.order(Rule::next(1, suspended));
    let refused = graph.post(&named("t-1", 0)).await;
    assert_eq!(refused.said(), (403, "ErrorAccountSuspend"));
    let id = graph.only().id;
    graph.emulator.order(Rule::next(1, Fault::HangUp(Moment::AfterApplying)));
    let lost = body(1);
    let path = graph.events_path();
    assert!(graph.try_call(Method::POST, &path, &[], Some(&lost), None).await.is_err());
    assert_eq!(graph.emulator.calls().applied_but_lost(), 1);
    assert_eq!(graph.post(&named("t-1", 0)).await.id(), id);
    assert_eq!(graph.all().len(), 2);
}

#[tokio::test]
async fn a_fault_is_ordered_by_the_immutable_id_whichever_the_call_names() {
    let mut graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    graph.prefer.clear();
    let fault = || Fault::Refuse(Moment::BeforeApplying, refusals::access_denied());
    let rule = Rule::always(fault()).verb(Verb::Patch).event(&id).calendar(&graph.calendar);
    let ordered = graph.emulator.order(rule);
    let mutable_id = graph.only().mutable_id;
    assert_eq!(graph.patch(&mutable_id, &body(1)).await.status, 403);
    assert_eq!(graph.get(&mutable_id).await.status, 200);
    assert_eq!(ordered.hits(), 1);
    graph.emulator.clear_faults();
    assert_eq!(graph.patch(&mutable_id, &body(1)).await.status, 200);
    let calls = graph.emulator.calls();
    let last = calls.list.last().unwrap();
    assert_eq!(
        (last.event.as_deref(), last.account.as_deref()),
        (Some(id.as_str()), Some(ACCOUNT))
    );
}

#[tokio::test]
async fn a_zombie_whose_token_has_expired_does_nothing() {
    let graph = Graph::start().await;
    let zombie = graph.emulator.order(Rule::next(1, Fault::Delay { hang_up: true }));
    let (path, sent) = (graph.events_path(), body(0));
    assert!(graph.try_call(Method::POST, &path, &[], Some(&sent), None).await.is_err());
    zombie.wait_held(1).await;
    graph.emulator.expire_token_at(super::TOKEN, super::at(9));
    graph.clock.advance(Duration::from_hours(1));
    zombie.release_all();
    graph.emulator.wait_for_calls(|calls| calls.list[0].applied.is_some()).await;
    assert_eq!(graph.all().len(), 0);
}

#[tokio::test]
async fn a_revision_below_an_acknowledged_one_is_counted() {
    let graph = Graph::start().await;
    let marker = |revision: i64| {
        let value = format!("{{\"uid\":\"b-1\",\"revision\":{revision}}}");
        let property = serde_json::json!({"id": super::MARKER, "value": value});
        super::with(body(0), "singleValueExtendedProperties", serde_json::json!([property]))
    };
    let id = graph.post(&marker(3)).await.id();
    graph.patch(&id, &marker(4)).await;
    assert_eq!(graph.emulator.calls().out_of_order(), 0);
    graph.patch(&id, &marker(2)).await;
    assert_eq!(graph.emulator.calls().out_of_order(), 1);
}
