//! The emulator of Microsoft Graph, through real HTTP: what it refuses, keeps and forgets.

mod access;

mod bodies;

mod changes;

mod fidelity;

mod hand;

mod limits;

mod search;

mod transactions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use calendar_sync::emulator::MicrosoftEmulator;
use calendar_sync::emulator::microsoft::{EventView, Options, Switches};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{HandClock, at};

const TOKEN: &str = "token-of-ada";
const ACCOUNT: &str = "ada@example.com";
const MARKER: &str = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name bookingMarker";
const SECOND: Duration = Duration::from_secs(1);

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
    fn said(&self) -> (u16, &str) {
        (self.status, self.code())
    }
    fn etag(&self) -> String {
        self.body["@odata.etag"].as_str().expect("an event has an ETag").to_owned()
    }
    fn id(&self) -> String {
        self.body["id"].as_str().expect("an event has an id").to_owned()
    }
    fn values(&self) -> &[Value] {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["value"].as_array().expect("a list has values")
    }
    fn subjects(&self) -> Vec<&str> {
        self.values().iter().map(|event| event["subject"].as_str().unwrap_or("-")).collect()
    }
    fn link(&self, kind: &str) -> Option<&str> {
        self.body.get(kind)?.as_str()
    }
}

struct Graph {
    emulator: MicrosoftEmulator,
    clock: Arc<HandClock>,
    client: reqwest::Client,
    token: Option<&'static str>,
    prefer: Vec<&'static str>,
    /// The id of the calendar of bookings, which is not the default one.
    calendar: String,
}

impl Graph {
    async fn start() -> Self {
        Self::with(Switches::default()).await
    }

    async fn with(switches: Switches) -> Self {
        Self::with_options(|options| options.switches = switches).await
    }

    async fn with_options(set: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(at(8))));
        let mut options = Options::strict(clock.clone());
        set(&mut options);
        let emulator = MicrosoftEmulator::start(options).await.expect("a port is free");
        emulator.add_account(TOKEN, ACCOUNT);
        let calendar = emulator.create_calendar(ACCOUNT, "Bookings");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let prefer = vec!["IdType=\"ImmutableId\""];
        Self { emulator, clock, client, token: Some(TOKEN), prefer, calendar }
    }

    #[expect(clippy::disallowed_methods, reason = "this test is a client of its own")]
    async fn try_call(
        &self,
        method: Method,
        url: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> reqwest::Result<Got> {
        let url = if url.starts_with("http") {
            url.to_owned()
        } else {
            format!("{}{url}", self.emulator.base_url())
        };
        let mut request = self.client.request(method, url);
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        for preference in &self.prefer {
            request = request.header("Prefer", *preference);
        }
        if let Some(etag) = if_match {
            request = request.header("If-Match", etag);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.timeout(Duration::from_secs(20)).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Got { status, headers, body })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Got {
        self.try_call(method, path, &[], body, None).await.expect("an answer")
    }

    fn events_path(&self) -> String {
        format!("/me/calendars/{}/events", self.calendar)
    }

    async fn post(&self, body: &Value) -> Got {
        self.call(Method::POST, &self.events_path(), Some(body)).await
    }

    async fn get(&self, id: &str) -> Got {
        self.call(Method::GET, &format!("/me/events/{id}"), None).await
    }

    async fn patch(&self, id: &str, body: &Value) -> Got {
        self.call(Method::PATCH, &format!("/me/events/{id}"), Some(body)).await
    }

    async fn delete(&self, id: &str) -> Got {
        self.call(Method::DELETE, &format!("/me/events/{id}"), None).await
    }

    async fn conditional(&self, method: Method, id: &str, body: Option<&Value>, etag: &str) -> Got {
        let path = format!("/me/events/{id}");
        self.try_call(method, &path, &[], body, Some(etag)).await.expect("an answer")
    }

    async fn list(&self, query: &[(&str, &str)]) -> Got {
        let path = self.events_path();
        self.try_call(Method::GET, &path, query, None, None).await.expect("an answer")
    }

    async fn search(&self, value: &str) -> Got {
        self.list(&[("$filter", &marked(value))]).await
    }

    fn all(&self) -> Vec<EventView> {
        self.emulator.events(&self.calendar)
    }

    fn only(&self) -> EventView {
        let all = self.all();
        assert_eq!(all.len(), 1);
        all.into_iter().next().expect("there is one")
    }
}

/// The filter that finds events by their marker.
fn marked(value: &str) -> String {
    let value = value.replace('\'', "''");
    format!("singleValueExtendedProperties/Any(ep: ep/id eq '{MARKER}' and ep/value eq '{value}')")
}

/// The body of an event of a revision, without a `transactionId`.
fn body(revision: i64) -> Value {
    json!({
        "subject": format!("Haircut {revision}"),
        "body": {"contentType": "text", "content": "bring the dog"},
        "start": {"dateTime": "2026-11-23T09:00:00", "timeZone": "UTC"},
        "end": {"dateTime": "2026-11-23T10:00:00", "timeZone": "UTC"},
        "location": {"displayName": "Main Street 1"},
        "showAs": "busy",
        "singleValueExtendedProperties": [{"id": MARKER, "value": format!("b-{revision}")}],
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn named(transaction_id: &str, revision: i64) -> Value {
    with(body(revision), "transactionId", json!(transaction_id))
}

#[tokio::test]
async fn a_posted_event_reads_back_whole() {
    let graph = Graph::start().await;
    let made = graph.post(&named("t-1", 0)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let read = graph.get(&made.id()).await;
    assert_eq!(read.body, made.body);
    assert_eq!(read.headers["etag"].to_str().unwrap(), read.etag());
    assert!(made.headers["location"].to_str().unwrap().contains(&made.id()));
    assert!(read.etag().starts_with("W/\"") && read.etag().ends_with('"'));
    assert_eq!(read.etag(), format!("W/\"{}\"", read.body["changeKey"].as_str().unwrap()));
    let time = json!({"dateTime": "2026-11-23T09:00:00.0000000", "timeZone": "UTC"});
    assert_eq!(read.body["start"], time);
    assert_eq!(read.body["createdDateTime"], "2026-11-23T08:00:00.0000000Z");
    assert_eq!(read.body["transactionId"], "t-1");
    assert_eq!(read.body["organizer"]["emailAddress"]["address"], ACCOUNT);
    assert_eq!(read.body["location"]["displayName"], "Main Street 1");
    assert_eq!(read.body["locations"][0], read.body["location"]);
    assert_eq!(
        (&read.body["isReminderOn"], &read.body["type"]),
        (&json!(true), &json!("singleInstance"))
    );
    assert_eq!(read.body.get("singleValueExtendedProperties"), None);
    let event = graph.only();
    assert_eq!((event.start, event.end), (at(9), at(10)));
    assert_eq!((event.id, event.properties[MARKER].as_str()), (made.id(), "b-0"));
    graph.emulator.stop().await;
}

#[tokio::test]
async fn a_calendar_is_listed_and_found() {
    let graph = Graph::start().await;
    let list = graph.call(Method::GET, "/me/calendars", None).await;
    let names: Vec<_> = list.values().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2);
    let own = graph.call(Method::GET, &format!("/me/calendars/{}", graph.calendar), None).await;
    assert_eq!((own.status, &own.body["name"]), (200, &json!("Bookings")));
    assert_eq!(own.body["isDefaultCalendar"], false);
    let default = graph.call(Method::GET, "/users/ADA@example.com/calendar", None).await;
    assert_eq!(default.body["isDefaultCalendar"], true);
    assert_eq!(default.body["owner"]["address"], ACCOUNT);
    let select = format!("/me/calendars/{}?$select=name", graph.calendar);
    let fields = graph.call(Method::GET, &select, None).await.body;
    assert_eq!(fields.get("owner"), None);
    let wrong = graph.call(Method::GET, "/me/calendars?$select=title", None).await;
    assert_eq!(wrong.said(), (400, "BadRequest"));
    let one = graph.call(Method::GET, "/me/calendars?$top=1", None).await;
    let rest = graph.call(Method::GET, one.link("@odata.nextLink").unwrap(), None).await;
    assert_eq!((one.values().len(), rest.values().len()), (1, 1));
    assert_eq!(rest.link("@odata.nextLink"), None);
    let event = graph.call(Method::POST, "/me/events", Some(&body(0))).await;
    assert_eq!(event.status, 201);
    assert_eq!(graph.all().len(), 0, "it is in the default calendar");
    assert!(graph.emulator.remove_calendar(&graph.calendar));
    assert_eq!(graph.post(&body(0)).await.said(), (404, "ErrorItemNotFound"));
    let odd = graph.call(Method::GET, "/me/calendars/x", None).await;
    assert_eq!(odd.said(), (400, "ErrorInvalidIdMalformed"));
}

#[tokio::test]
async fn the_user_says_who_she_is() {
    let graph = Graph::start().await;
    let me = graph.call(Method::GET, "/me", None).await;
    assert_eq!(me.body["userPrincipalName"], ACCOUNT);
    let path = format!("/users/{}/events", me.id());
    assert_eq!(graph.call(Method::GET, &path, None).await.status, 200);
}

#[tokio::test]
async fn refusals_have_graphs_shape_and_name_the_request() {
    let graph = Graph::start().await;
    let refused = graph.get("AAMkAGI2TGuLAAAAAAAAAAAA=").await;
    assert_eq!(refused.said(), (404, "ErrorItemNotFound"));
    let inner = &refused.body["error"]["innerError"];
    assert_eq!(inner["date"], "2026-11-23T08:00:00");
    assert_eq!(inner["request-id"], refused.headers["request-id"].to_str().unwrap());
    assert!(inner["client-request-id"].is_string());
    for path in ["/me/messages", "/me/events/a/cancel", "/groups"] {
        assert_eq!(graph.call(Method::GET, path, None).await.said(), (400, "BadRequest"), "{path}");
    }
    assert_eq!(graph.get("x").await.said(), (400, "ErrorInvalidIdMalformed"));
}

#[tokio::test]
async fn a_patch_merges_and_needs_no_times() {
    let graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let own = MARKER.replace("bookingMarker", "own");
    let properties = json!({"singleValueExtendedProperties": [{"id": own, "value": "x"}]});
    let patched = graph.patch(&id, &properties).await;
    assert_eq!((patched.status, &patched.body["subject"]), (200, &json!("Haircut 0")));
    let event = graph.only();
    assert_eq!((event.properties[MARKER].as_str(), event.properties[&own].as_str()), ("b-0", "x"));
    let cleared = graph.patch(&id, &json!({"location": null, "body": null, "subject": null})).await;
    assert_eq!(cleared.body["location"]["displayName"], "");
    assert_eq!(
        (&cleared.body["body"]["content"], &cleared.body["subject"]),
        (&json!(""), &json!(""))
    );
    let end = json!({"end": {"dateTime": "2026-11-23T08:30:00", "timeZone": "UTC"}});
    assert_eq!(graph.patch(&id, &end).await.said(), (400, "ErrorPropertyValidationFailure"));
    assert_eq!(graph.only().end, at(10));
}

#[tokio::test]
async fn every_write_has_a_new_etag_and_conditions_compare_it() {
    let graph = Graph::start().await;
    let made = graph.post(&body(0)).await;
    let (id, first) = (made.id(), made.etag());
    let second = graph.conditional(Method::PATCH, &id, Some(&body(1)), &first).await.etag();
    assert_ne!(first, second);
    let third = graph.conditional(Method::PATCH, &id, Some(&body(1)), &second).await.etag();
    assert_ne!(second, third, "a write without a difference is one");
    for (method, sent) in [(Method::PATCH, Some(body(2))), (Method::DELETE, None)] {
        let refused = graph.conditional(method, &id, sent.as_ref(), &second).await;
        assert_eq!(refused.said(), (412, "ErrorIrresolvableConflict"));
    }
    let strong = third.trim_start_matches("W/").to_owned();
    assert_eq!(graph.conditional(Method::DELETE, &id, None, &strong).await.status, 412);
    assert_eq!(graph.conditional(Method::PATCH, &id, Some(&body(2)), "*").await.status, 200);
    let last = graph.get(&id).await.etag();
    assert_eq!(graph.conditional(Method::DELETE, &id, None, &last).await.status, 204);
    let calls = graph.emulator.calls();
    assert_eq!(calls.mutations_of(&graph.calendar, &id).len(), 4);
    assert_eq!(calls.list.last().unwrap().if_match.as_deref(), Some(last.as_str()));
}
