//! The stand-in for the booking service: what it publishes, and how it refuses.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use calendar_sync::cli::dev::bookings::Desk;
use calendar_sync::clock::Surroundings;
use calendar_sync::consumer::embedded::EmbeddedCluster;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const TOKEN: &str = "the-token-of-a-customer";
const TOPIC: &str = "booking.events";
const PROVIDER: &str = "7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11";

/// The service, without a port.
struct Service {
    router: Router,
    made: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn at(brokers: &str) -> Self {
        let made = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&made);
        let mut properties = ClientConfig::new();
        properties.set("bootstrap.servers", brokers);
        let desk = Desk::new(properties, TOPIC, TOKEN.into(), &Surroundings::real(), move |id| {
            told.lock().expect("nobody panics").push(id.to_owned());
        });
        Self { router: desk.expect("these properties are sound").router(), made }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(format!("/api/bookings{path}"));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("it answers");
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(TOKEN), &body.to_string()).await
    }

    async fn book(&self) -> String {
        let (status, booked) = self.post("", &a_booking()).await;
        assert_eq!(status, 201, "{booked}");
        booked["id"].as_str().expect("an id").to_owned()
    }
}

fn a_booking() -> Value {
    json!({
        "provider_id": PROVIDER, "service_id": "massage",
        "start_time": "2026-01-15T10:00:00Z", "end_time": "2026-01-15T11:00:00Z",
    })
}

fn broker() -> EmbeddedCluster {
    let cluster = EmbeddedCluster::start(1).expect("the embedded broker starts");
    cluster.create_topic(TOPIC, 1).expect("a topic is made");
    cluster
}

/// How many records the topic has.
fn records(cluster: &EmbeddedCluster) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("group.id", "looks")
        .create()
        .expect("a consumer");
    let timeout = std::time::Duration::from_secs(10);
    let (_, end) = consumer.fetch_watermarks(TOPIC, 0, timeout).expect("the log's end");
    let mut whole = TopicPartitionList::new();
    whole.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&whole).expect("it is assigned");
    let mut keys = Vec::new();
    while i64::try_from(keys.len()).expect("a few") < end {
        let record = consumer.poll(timeout).expect("a record").expect("it is read");
        keys.push(String::from_utf8_lossy(record.key().expect("a key")).into_owned());
    }
    keys
}

#[tokio::test]
async fn what_is_booked_moved_and_cancelled_is_published_once_each() {
    let cluster = broker();
    let service = Service::at(cluster.bootstrap());
    let id = service.book().await;
    assert_eq!(service.made.lock().expect("nobody panics").as_slice(), std::slice::from_ref(&id));
    let times = r#"{"start_time": "2026-01-15T14:00:00Z", "end_time": "2026-01-15T15:00:00Z"}"#;
    let path = format!("/{id}");
    let (status, moved) = service.ask(Method::PATCH, &path, Some(TOKEN), times).await;
    assert_eq!((status, &moved["start_time"]), (200, &json!("2026-01-15T14:00:00Z")), "{moved}");
    assert_eq!(moved["service_name"], "massage", "what was not named stays");
    for _ in 0..2 {
        let (status, cancelled) = service.post(&format!("/{id}/cancel"), &json!({})).await;
        assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")), "{cancelled}");
    }
    let (status, refused) = service.ask(Method::PATCH, &path, Some(TOKEN), times).await;
    assert_eq!(status, 409, "{refused}");
    let (_, shown) = service.ask(Method::GET, &path, Some(TOKEN), "").await;
    assert_eq!(shown["status"], "CANCELLED");
    assert_eq!(records(&cluster), [id.clone(), id.clone(), id]);
}

#[tokio::test]
async fn who_asks_wrongly_hears_how_and_nothing_is_published() {
    let cluster = broker();
    let service = Service::at(cluster.bootstrap());
    let id = service.book().await;
    let path = format!("/{id}");
    let backwards = r#"{"end_time": "2026-01-15T09:00:00Z"}"#;
    let with = |name: &str, value: Value| {
        let mut booking = a_booking();
        booking[name] = value;
        booking.to_string()
    };
    let good = a_booking().to_string();
    let cases = [
        (Method::POST, "", None, good.clone(), 401, "Authorization: Bearer TOKEN"),
        (Method::POST, "", Some("another-token"), good, 403, "does not open this"),
        (Method::PATCH, "/nobody", Some(TOKEN), "{}".to_owned(), 404, "there is no booking nobody"),
        (Method::POST, "/nobody/cancel", Some(TOKEN), String::new(), 404, "no booking nobody"),
        (Method::POST, "", Some(TOKEN), "{".to_owned(), 400, "the body is no JSON"),
        (Method::POST, "", Some(TOKEN), "{}".to_owned(), 422, "\"provider_id\""),
        (
            Method::POST,
            "",
            Some(TOKEN),
            with("end_time", json!("2026-01-15T10:00:00Z")),
            422,
            "\"end_time\"",
        ),
        (
            Method::POST,
            "",
            Some(TOKEN),
            with("start_time", json!("tomorrow")),
            422,
            "\"start_time\"",
        ),
        (
            Method::POST,
            "",
            Some(TOKEN),
            with("provider_id", json!("someone")),
            422,
            "\"provider_id\"",
        ),
        (
            Method::POST,
            "",
            Some(TOKEN),
            with("time_zone", json!("Mars/Olympus")),
            422,
            "\"time_zone\"",
        ),
        (Method::POST, "", Some(TOKEN), with("status", json!("MAYBE")), 422, "\"status\""),
        (Method::POST, "", Some(TOKEN), with("title", json!(7)), 422, "\"title\""),
        (Method::POST, "", Some(TOKEN), with("title", json!("a\u{0}b")), 422, "\"booking\""),
        (Method::PATCH, &path, Some(TOKEN), backwards.to_owned(), 422, "\"end_time\""),
    ];
    for (method, path, token, body, expected, said) in cases {
        let (status, answer) = service.ask(method, path, token, &body).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(answer.to_string().contains(said), "`{said}` is not in {answer}");
    }
    assert_eq!(records(&cluster).len(), 1, "the one good booking");
}

#[tokio::test]
async fn with_the_broker_away_nothing_is_half_made() {
    let cluster = broker();
    let service = Service::at(cluster.bootstrap());
    let id = service.book().await;
    drop(cluster);
    let (status, refused) = service.post("", &a_booking()).await;
    assert_eq!(status, 503, "{refused}");
    assert!(refused["error"].as_str().is_some_and(|said| said.contains("Kafka")), "{refused}");
    assert_eq!(service.made.lock().expect("nobody panics").len(), 1);
    let (status, _) = service.post(&format!("/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 503);
    let (_, shown) = service.ask(Method::GET, &format!("/{id}"), Some(TOKEN), "").await;
    assert_eq!(shown["status"], "CONFIRMED", "it is as it was");
}
