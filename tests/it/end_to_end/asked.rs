//! What the service answers over HTTP: counters, and a booking that is to be sent again.

use std::sync::Arc;

use booking::Verb;
use calendar_sync::consumer::Status;
use calendar_sync::ops::health::Health;
use calendar_sync::ops::metrics::{self, Metrics};
use calendar_sync::ops::{self, Ops};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::host::{EVERY, INVALID, UNAVAILABLE};
use super::story::{Story, hour, provider};
use super::world::{World, until};

const TOKEN: &str = "the-token-of-the-admin";

/// The service's port.
pub(super) struct Port {
    url: String,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Port {
    pub(super) async fn open(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (metrics, status) = (Arc::new(Metrics::default()), Arc::<Status>::default());
        let health = Health::new(world.surroundings.clone(), Arc::clone(&status));
        health.opened(Arc::clone(&world.store));
        let ops = Ops {
            store: Arc::clone(&world.store),
            metrics: Arc::clone(&metrics),
            health: Arc::new(health),
            status,
            surroundings: world.surroundings.clone(),
            gate: world.emit.gate.clone(),
            admin_token: Some(Arc::new(TOKEN.into())),
            connect: None,
            wake: Arc::new(Notify::new()),
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(ops::serve(listener, ops::router(ops), stop.clone()));
        Self { url, metrics, stop, tasks }
    }

    pub(super) async fn close(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.expect("it served").expect("it did not panic");
    }

    #[expect(clippy::disallowed_methods, reason = "this is the booking application's own client")]
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request =
            client.request(method, format!("{}{path}", self.url)).body(body.to_owned());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a text");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(super) async fn sync(&self, booking: &str) -> (u16, Value) {
        let body = json!({ "booking_id": booking }).to_string();
        self.ask(Method::POST, "/api/calendar/sync/outbound", Some(TOKEN), &body).await
    }

    /// Asks the database for what it alone can count, as a worker does now and then.
    pub(super) async fn refresh(&self, world: &World) {
        metrics::refresh(world.store.as_ref(), &self.metrics).await.expect("the store answers");
    }

    /// A counter.
    pub(super) async fn count(&self, name: &str) -> u64 {
        let (status, counters) = self.ask(Method::GET, "/api/ops/metrics/calendar", None, "").await;
        assert_eq!(status, 200, "without a token");
        counters[name].as_u64().expect("a number")
    }
}

/// The runbook's fourth step: no duplicate, and the check is said to have passed.
pub(super) async fn a_second_sync_of_an_unchanged_booking_makes_no_call(world: &mut World) {
    let host = world.connect(1).await;
    let port = Port::open(world).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let (status, due) = port.sync("a").await;
    assert_eq!((status, &due["result"]), (202, &json!("due")), "{due}");
    world.drain().await;
    let requests = world.host.requests();
    let (status, unchanged) = port.sync("a").await;
    assert_eq!((status, &unchanged["result"]), (200, &json!("unchanged")), "{unchanged}");
    let message = unchanged["message"].as_str().expect("a text");
    assert!(message.starts_with("idempotency check passed"), "{message}");
    assert_eq!(unchanged["ical_uid"], json!(story.uid().as_str()));
    assert_eq!(unchanged["calendars"][0]["event"], json!("live"));
    world.drain().await;
    assert_eq!(world.host.requests(), requests, "no call at all");
    assert_eq!(world.starts(&host).await, [hour(9)]);
    port.close().await;
}

/// Somebody asks, and need not wait for the backoff.
pub(super) async fn a_sync_ends_the_backoff_and_tells_of_a_refusal(world: &mut World) {
    let host = world.connect(1).await;
    world.emit.backoff.delay_min = std::time::Duration::from_hours(1);
    world.emit.backoff.delay_max = std::time::Duration::from_hours(1);
    let port = Port::open(world).await;
    let mut story = Story::of("a", provider(1));
    let outage = world.host.order(1, UNAVAILABLE);
    world.tell([story.created()]).await;
    let worker = world.worker();
    until("it was tried", async || outage.hits() == 1).await;
    worker.stop().await;
    let (status, told) = port.sync("a").await;
    assert_eq!((status, &told["result"]), (202, &json!("due")), "{told}");
    assert_eq!(told["calendars"][0]["event"], json!("none"));
    assert!(told["calendars"][0]["last_error"].is_string(), "{told}");
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
    port.close().await;
}

/// Who asks wrongly hears how, and nothing is done.
pub(super) async fn a_wrong_request_is_refused_by_what_is_wrong(world: &mut World) {
    world.connect(1).await;
    let port = Port::open(world).await;
    let path = "/api/calendar/sync/outbound";
    let body = r#"{"booking_id": "a"}"#;
    let cases = [
        (None, body, 401, "Authorization: Bearer TOKEN"),
        (Some("another-token-than-that"), body, 403, "does not open this"),
        (Some(TOKEN), body, 404, "there is no booking a"),
        (Some(TOKEN), "{}", 422, "booking_id"),
        (Some(TOKEN), r#"{"booking_id": 7}"#, 422, "booking_id"),
        (Some(TOKEN), "", 422, "booking_id"),
        (Some(TOKEN), "[1]", 400, "no JSON object"),
        (Some(TOKEN), "{", 400, "no JSON"),
    ];
    for (token, body, expected, said) in cases {
        let (status, answer) = port.ask(Method::POST, path, token, body).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(answer.to_string().contains(said), "`{said}` is not in {answer}");
    }
    let (status, answer) = port.ask(Method::GET, path, Some(TOKEN), "").await;
    assert_eq!((status, answer["error"].is_string()), (405, true), "{answer}");
    let (status, answer) = port.ask(Method::GET, "/api", None, "").await;
    assert_eq!((status, answer["error"].is_string()), (404, true), "{answer}");
    port.close().await;
}

/// Who holds it back is said: the flags, a person who must come, a refusal, no calendar at all.
pub(super) async fn a_sync_says_what_it_waits_for(world: &mut World) {
    let port = Port::open(world).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    assert_eq!(port.sync("a").await.1["result"], "no_calendar");
    port.close().await;

    let host = world.connect(1).await;
    world.emit.gate.enabled = false;
    let port = Port::open(world).await;
    assert_eq!(port.sync("a").await.1["result"], "gated");
    port.close().await;
    world.emit.gate.enabled = true;

    let port = Port::open(world).await;
    let refusal = world.host.order(EVERY, INVALID);
    world.drain().await;
    refusal.withdraw();
    assert_eq!(port.sync("a").await.1["result"], "dead");
    let lock = world.host.lock_out(&host.place);
    world.tell([story.moved(11)]).await;
    let worker = world.worker();
    until("it is parked", async || port.sync("a").await.1["result"] == "parked").await;
    worker.stop().await;
    drop(world.host.let_in(&host.place, lock));
    port.close().await;
}

/// The runbook's seventh step.
pub(super) async fn the_counters_tell_what_was_done(world: &mut World) {
    world.connect(1).await;
    let port = Port::open(world).await;
    world.meter = Some(Arc::clone(&port.metrics));
    for name in ["runs_total", "failures_total", "items_processed"] {
        assert_eq!(port.count(&format!("calendar_sync_{name}")).await, 0);
    }
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.drain().await;
    let runs = port.count("calendar_sync_runs_total").await;
    assert!(runs >= 1);
    assert_eq!(port.count("calendar_sync_items_processed").await, 1);
    assert_eq!(port.count("calendar_sync_failures_total").await, 0);
    world.drain().await;
    assert_eq!(port.count("calendar_sync_runs_total").await, runs, "nothing was due");

    let outage = world.host.order(1, UNAVAILABLE);
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(outage.hits(), 1);
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete]);
    assert_eq!(port.count("calendar_sync_items_processed").await, 2);
    assert_eq!(port.count("calendar_sync_failures_total").await, 1);
    for path in ["/metrics", "/api/ops/metrics/calendar?format=prometheus"] {
        let (status, text) = port.ask(Method::GET, path, None, "").await;
        let text = text.as_str().expect("a text");
        assert_eq!(status, 200);
        assert!(text.contains("\ncalendar_sync_items_processed 2\n"), "{text}");
        assert!(text.contains("\ncalendar_sync_failures_total 1\n"), "{text}");
    }
    port.close().await;
}
