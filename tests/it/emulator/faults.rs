//! Faults to order, and what the call log makes of them.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::SystemClock;
use calendar_sync::emulator::{
    Answered, Effect, Fault, GoogleEmulator, Moment, Options, Refusal, Rule, Verb,
};
use reqwest::Method;
use serde_json::Value;

use super::{CALENDAR, EVENTS, Google, Got, ID, TOKEN, body, named};

impl Google {
    async fn with_emulator(mut self, options: Options) -> Self {
        self.emulator = GoogleEmulator::start(options).await.expect("a port is free");
        self.emulator.add_account(TOKEN, CALENDAR);
        self
    }

    async fn try_insert(&self, body: &Value) -> reqwest::Result<Got> {
        self.try_call(Method::POST, EVENTS, Some(body), None).await
    }

    async fn try_put(&self, id: &str, body: &Value) -> reqwest::Result<Got> {
        self.try_call(Method::PUT, &format!("{EVENTS}/{id}"), Some(body), None).await
    }
}

/// L1.
#[tokio::test]
async fn an_answer_lost_after_the_effect_is_a_closed_connection_and_one_event() {
    let google = Google::start().await;
    let lost = google.emulator.order(Rule::next(1, Fault::HangUp(Moment::AfterApplying)));
    let error = google.try_insert(&named(ID, 0)).await.err().unwrap();
    assert!(!error.is_timeout() && !error.is_status());
    assert_eq!(lost.hits(), 1);
    assert_eq!(google.emulator.events(CALENDAR).len(), 1);
    let calls = google.emulator.calls();
    assert_eq!(calls.list.len(), 1);
    assert_eq!(calls.list[0].answered, Answered::Lost);
    assert_eq!(calls.list[0].effect, Effect::Created);
    assert_eq!(calls.applied_but_lost(), 1);
    assert_eq!(google.insert(&named(ID, 0)).await.status, 409);
    let tally = &google.emulator.calls().tally()[&Verb::Insert];
    assert_eq!((tally.attempts, tally.created, tally.lost, tally.refused), (2, 1, 1, 1));
}

#[tokio::test]
async fn a_connection_closed_before_the_effect_leaves_nothing() {
    let google = Google::start().await;
    google.emulator.order(Rule::next(1, Fault::HangUp(Moment::BeforeApplying)));
    assert!(google.try_insert(&named(ID, 0)).await.is_err());
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
    let calls = google.emulator.calls();
    assert_eq!(calls.list[0].answered, Answered::Lost);
    assert_eq!((calls.list[0].effect, calls.list[0].applied), (Effect::Nothing, None));
    assert_eq!(google.insert(&named(ID, 0)).await.status, 200);
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let google = Google::start().await;
    google.emulator.order(Rule::next(1, Fault::Truncate));
    let error = google.try_insert(&named(ID, 0)).await.err().unwrap();
    assert!(error.is_body() || error.is_decode(), "the head came, the body did not: {error:?}");
    assert_eq!(google.emulator.events(CALENDAR).len(), 1);
    assert_eq!(google.emulator.calls().applied_but_lost(), 1);
    assert_eq!(google.get(ID).await.status, 200, "the next connection is whole");
}

/// L17.
#[tokio::test]
async fn refusals_come_before_or_after_the_effect() {
    let google = Google::start().await;
    let before = |refusal| Rule::next(1, Fault::Refuse(Moment::BeforeApplying, refusal));
    google.emulator.order(before(Refusal::too_many_requests(Some(7))));
    let limited = google.insert(&named(ID, 0)).await;
    assert_eq!(limited.said(), (429, "rateLimitExceeded"));
    assert_eq!(limited.headers["retry-after"], "7");
    for (refusal, status, reason, domain) in [
        (Refusal::rate_limit_exceeded(), 403, "rateLimitExceeded", "usageLimits"),
        (Refusal::quota_exceeded(), 403, "quotaExceeded", "usageLimits"),
        (Refusal::forbidden(), 403, "forbidden", "global"),
        (Refusal::backend_error(500), 500, "backendError", "global"),
        (Refusal::proxy_error(502), 502, "", ""),
    ] {
        google.emulator.order(before(refusal));
        let refused = google.insert(&named(ID, 0)).await;
        assert_eq!(refused.said(), (status, reason));
        let said = refused.body["error"]["errors"][0]["domain"].as_str().unwrap_or_default();
        assert_eq!(said, domain);
    }
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
    let after = Fault::Refuse(Moment::AfterApplying, Refusal::backend_error(503));
    google.emulator.order(Rule::next(1, after));
    assert_eq!(google.insert(&named(ID, 0)).await.said(), (503, "backendError"));
    assert_eq!(google.emulator.events(CALENDAR).len(), 1);
}

#[tokio::test]
async fn a_fault_meets_only_what_it_was_ordered_for() {
    let google = Google::start().await;
    let forbidden = || Fault::Refuse(Moment::BeforeApplying, Refusal::forbidden());
    let rule = Rule::next(2, forbidden()).verb(Verb::Update).verb(Verb::Patch);
    let ordered = google.emulator.order(rule.calendar(CALENDAR).event(ID));
    google.insert(&named(ID, 0)).await;
    google.insert(&named("booking0002", 0)).await;
    assert_eq!(google.put("booking0002", &body(1)).await.status, 200);
    assert_eq!(google.put(ID, &body(1)).await.status, 403);
    assert_eq!(google.patch(ID, &serde_json::json!({})).await.status, 403);
    assert_eq!(google.put(ID, &body(1)).await.status, 200);
    assert_eq!(ordered.hits(), 2);
    let always = google.emulator.order(Rule::always(forbidden()));
    assert_eq!(google.get(ID).await.status, 403);
    always.withdraw();
    assert_eq!(google.get(ID).await.status, 200);
    google.emulator.order(Rule::always(forbidden()));
    google.emulator.clear_faults();
    assert_eq!(google.get(ID).await.status, 200);
}

#[tokio::test]
async fn a_rate_is_the_same_for_the_same_seed() {
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let google = Google::start().await;
        let fault = Fault::Refuse(Moment::BeforeApplying, Refusal::backend_error(500));
        google.emulator.order(Rule::rate(0.5, 42, fault));
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(google.get(ID).await.status);
        }
        assert!(statuses.contains(&500) && statuses.contains(&404));
        drawn.push(statuses);
    }
    assert_eq!(drawn[0], drawn[1]);
}

#[tokio::test]
async fn a_held_call_can_be_awaited_and_let_go() {
    let google = Google::start().await;
    for (moment, held_events) in [(Moment::BeforeApplying, 0), (Moment::AfterApplying, 1)] {
        let id = if held_events == 0 { ID } else { "booking0002" };
        let held = google.emulator.order(Rule::next(1, Fault::Hold(moment)).event(id));
        let sent = named(id, 0);
        let (got, ()) = tokio::join!(google.try_insert(&sent), async {
            held.wait_held(1).await;
            let events = google.emulator.events(CALENDAR);
            assert_eq!(events.iter().filter(|event| event.id == id).count(), held_events);
            held.release(1);
        });
        assert_eq!(got.unwrap().status, 200);
        assert_eq!(held.held(), 0);
    }
}

#[tokio::test]
async fn a_call_whose_client_leaves_before_the_effect_has_none() {
    let google = Google::start().await;
    let held = google.emulator.order(Rule::next(1, Fault::Hold(Moment::BeforeApplying)));
    let sent = named(ID, 0);
    tokio::select! {
        _ = google.try_insert(&sent) => unreachable!("the call is held"),
        () = held.wait_held(1) => {}
    }
    google.emulator.wait_for_calls(|calls| calls.list[0].answered == Answered::Lost).await;
    held.release_all();
    assert_eq!(google.insert(&named(ID, 1)).await.status, 200);
    assert_eq!(google.emulator.calls().mutations().len(), 1);
}

#[tokio::test]
async fn a_zombie_takes_effect_long_after_its_client_has_left() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    for hang_up in [false, true] {
        let revision = if hang_up { 5 } else { 2 };
        let zombie = google.emulator.order(Rule::next(1, Fault::Delay { hang_up }));
        let late = body(revision);
        tokio::select! {
            got = google.try_put(ID, &late) => assert!(hang_up && got.is_err()),
            () = zombie.wait_held(1), if !hang_up => {}
        }
        zombie.wait_held(1).await;
        let number = google.emulator.calls().list.len() - 1;
        let lost =
            |calls: &calendar_sync::emulator::Calls| calls.list[number].answered == Answered::Lost;
        google.emulator.wait_for_calls(lost).await;
        assert_eq!(google.put(ID, &body(revision - 1)).await.status, 200);
        zombie.release(1);
        google.emulator.wait_for_calls(|calls| calls.list[number].applied.is_some()).await;
        let event = &google.emulator.events(CALENDAR)[0];
        assert_eq!(event.properties["bookingRevision"], revision.to_string());
        let calls = google.emulator.calls();
        let order: Vec<_> = calls.mutations_of(CALENDAR, ID).iter().map(|it| it.number).collect();
        assert!(!order.is_sorted(), "the zombie is last in effect, not in arrival: {order:?}");
        assert_eq!(calls.out_of_order(), 0);
    }
}

#[tokio::test]
async fn a_zombie_whose_token_was_revoked_does_nothing() {
    let google = Google::start().await;
    let zombie = google.emulator.order(Rule::next(1, Fault::Delay { hang_up: true }));
    assert!(google.try_insert(&named(ID, 0)).await.is_err());
    zombie.wait_held(1).await;
    google.emulator.revoke_token(TOKEN);
    zombie.release_all();
    google.emulator.wait_for_calls(|calls| calls.list[0].applied.is_some()).await;
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
}

#[tokio::test]
async fn a_revision_below_an_acknowledged_one_is_counted() {
    let google = Google::start().await;
    let sequence_free = |revision: i64| {
        let mut sent = body(revision);
        sent["sequence"] = Value::Null;
        sent
    };
    google.insert(&named(ID, 0)).await;
    google.put(ID, &sequence_free(2)).await;
    assert_eq!(google.emulator.calls().out_of_order(), 0);
    let zombie = Rule::next(1, Fault::HangUp(Moment::AfterApplying));
    google.emulator.order(zombie);
    assert!(google.try_put(ID, &sequence_free(1)).await.is_err());
    assert_eq!(google.emulator.calls().out_of_order(), 1);
    let calls = google.emulator.calls();
    let last = calls.mutations().pop().unwrap();
    assert_eq!(last.before.as_ref().unwrap()["bookingRevision"], "2");
    assert_eq!(last.after.as_ref().unwrap()["bookingRevision"], "1");
    assert_eq!(last.json().unwrap()["summary"], "Haircut 1");
}

#[tokio::test]
async fn the_log_forgets_the_oldest_calls_and_says_how_many() {
    let clock = Arc::new(SystemClock::start());
    let options = Options { log_entries_max: 3, ..Options::strict(clock) };
    let google = Google::start().await.with_emulator(options).await;
    for _ in 0..5 {
        google.get(ID).await;
    }
    let calls = google.emulator.calls();
    assert_eq!((calls.list.len(), calls.forgotten), (3, 2));
    assert_eq!(calls.list[0].number, 3);
    assert_eq!(
        calls.list[2].answered,
        Answered::Status { status: 404, reason: Some("notFound".to_owned()) }
    );
}

#[tokio::test]
async fn twenty_inserts_of_one_id_at_once_make_one_event() {
    let google = Google::start().await;
    let sent = named(ID, 0);
    let all = (0..20).map(|_| google.try_insert(&sent));
    let got = futures::future::join_all(all).await;
    let statuses: Vec<_> = got.into_iter().map(|got| got.unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 19);
    assert_eq!(google.emulator.calls().mutations().len(), 1);
}

#[tokio::test]
async fn latency_delays_and_joins_with_other_faults() {
    let google = Google::start().await;
    let latency = Fault::Latency(Moment::BeforeApplying, Duration::from_millis(1));
    let slow = google.emulator.order(Rule::always(latency));
    google.emulator.order(Rule::next(1, Fault::HangUp(Moment::AfterApplying)));
    assert!(google.try_insert(&named(ID, 0)).await.is_err());
    assert_eq!(google.get(ID).await.status, 200);
    assert_eq!(slow.hits(), 2);
}

#[tokio::test]
async fn stopping_ends_held_calls_and_refuses_new_ones() {
    let google = Google::start().await;
    let held = google.emulator.order(Rule::next(1, Fault::Hold(Moment::BeforeApplying)));
    let sent = named(ID, 0);
    let (got, ()) = tokio::join!(google.try_insert(&sent), async {
        held.wait_held(1).await;
        google.emulator.stop().await;
    });
    assert!(got.is_err());
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
    let refused = google.try_insert(&sent).await.err().unwrap();
    assert!(refused.is_connect());
}
