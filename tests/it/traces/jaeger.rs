//! One booking in a real Jaeger, found by its trace's id: whole, from publish to the calendar's answer.
//! On Apache Kafka, PostgreSQL, Radicale and the service's own program; the booking service's span is
//! told by us, as its own instrumentation would.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroU128};

use booking::CalendarKind;
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::trace_parent::TraceParent;
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::collector::{Seen, Spoken};
use super::work::{OneBooking, SERVICE, Worked};
use super::{
    is_told_of_its_call, is_told_of_its_reading, nothing_of_anybody_is_told, only, told, trace_of,
};
use crate::end_to_end::host::{Trouble, UNAVAILABLE};
use crate::end_to_end::world::Parts;
use crate::say;
use crate::services::{self, JaegerServer};
use crate::wait::{PATIENCE, found};

/// Whoever publishes.
const BOOKING_SERVICE: &str = "booking-service";
/// What OTLP calls the kind of a span that publishes.
const PRODUCER: i32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_is_whole_in_jaeger_over_grpc() {
    a_booking_is_whole("a_booking_is_whole_in_jaeger_over_grpc", Spoken::Grpc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_is_whole_in_jaeger_over_http() {
    a_booking_is_whole("a_booking_is_whole_in_jaeger_over_http", Spoken::Http).await;
}

async fn a_booking_is_whole(fact: &'static str, spoken: Spoken) {
    let Some(Read { jaeger, id, topic, spans }) = read_back(fact, spoken, None).await else {
        return;
    };
    let publish = root(&spans);
    let process = is_told_of_its_reading(&spans, &topic, &topic, &publish.id);
    let others: BTreeSet<_> =
        spans.iter().flat_map(|span| &span.links).map(|(trace, _)| trace).collect();
    let mut all = spans.clone();
    for other in others {
        all.extend(jaeger.trace(other).await);
    }
    is_told_of_its_call(&spans, &all, process, "caldav");
    let batch = only(&all, &format!("poll {topic}"), "");
    assert_eq!(batch.links, [(id.clone(), process.id.clone())]);
    assert_eq!(process.resource["service.name"], SERVICE);
    nothing_of_anybody_is_told(&all);
    jaeger.shows_people(&id, &spans).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_is_in_jaeger_with_what_came_of_it() {
    let fact = "each_attempt_is_in_jaeger_with_what_came_of_it";
    let read = read_back(fact, Spoken::Http, Some(UNAVAILABLE)).await;
    let Some(Read { spans, .. }) = read else { return };
    root(&spans);
    let attempts: Vec<_> = spans
        .iter()
        .filter(|span| span.attributes.contains_key("http.request.method"))
        .map(|span| {
            let outcome = span.attributes.get("calendar_sync.outcome").map(String::as_str);
            (span.says("calendar_sync.verb"), span.says("http.response.status_code"), outcome)
        })
        .collect();
    let came_to = [
        ("create", "503", Some("unknown")),
        ("read", "404", Some("step")),
        ("read", "207", Some("absent")),
        ("create", "201", Some("applied")),
    ];
    assert_eq!(attempts, came_to, "{}", drawn(&spans, "", 0));
    nothing_of_anybody_is_told(&spans);
}

/// A trace, read back.
struct Read {
    jaeger: Jaeger,
    id: String,
    topic: String,
    /// In the order of their beginnings.
    spans: Vec<Seen>,
}

/// A booking is published and worked on, and both services tell Jaeger; its trace, as Jaeger has it then.
/// It is drawn for whoever has called for the facts.
async fn read_back(fact: &'static str, spoken: Spoken, trouble: Option<Trouble>) -> Option<Read> {
    let server = services::jaeger(fact)?;
    let published = somewhere();
    let booking = OneBooking {
        parts: Parts::Real,
        kind: CalendarKind::Caldav,
        fact,
        published,
        trouble,
        endpoint: if spoken == Spoken::Grpc { &server.grpc } else { &server.http },
        spoken,
        sampler: "parentbased_always_on",
        given: &[],
    };
    let Worked { topic, published: times, log } = booking.is_worked_on().await?;
    assert!(!log.contains("traces_not_exported"), "{log}");
    let jaeger = Jaeger::at(server);
    jaeger.is_told_of_publishing(published, &topic, times).await;
    let id = trace_of(published);
    let spans = jaeger.whole(&id, &topic).await;
    say(&format!("figure: {fact}: trace {id}\n{}", drawn(&spans, "", 1)));
    Some(Read { jaeger, id, topic, spans })
}

/// The span that publishes, in a trace that there has not been before: Jaeger keeps those of other runs.
fn somewhere() -> TraceParent {
    let (trace, span) = (SystemDice.token().as_u128(), SystemDice.token().as_u64_pair().1);
    let (trace, span) = (NonZeroU128::new(trace), NonZeroU64::new(span));
    TraceParent { trace: trace.expect("chance"), span: span.expect("chance"), flags: 1 }
}

/// The one span that began all; every other one's parent is there too.
#[track_caller]
fn root(spans: &[Seen]) -> &Seen {
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each once: {}", told(spans));
    let (roots, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.parent.is_empty());
    for other in others {
        assert!(ids.contains(&other.parent), "whose parent is missing: {}", told(spans));
    }
    let [root] = roots.as_slice() else { panic!("one has begun it: {}", told(spans)) };
    assert_eq!((root.kind, root.resource["service.name"].as_str()), (PRODUCER, BOOKING_SERVICE));
    root
}

/// The spans below one, as a tree, and the least that has to be seen of each.
fn drawn(spans: &[Seen], parent: &str, depth: usize) -> String {
    let of = |span: &Seen| {
        let took = (span.times.1 - span.times.0) / 1_000;
        let told = ["messaging.destination.partition.id", "messaging.kafka.offset"]
            .iter()
            .chain(&["http.response.status_code", "calendar_sync.outcome", "calendar_sync.finding"])
            .filter_map(|name| Some(format!(" {}={}", name, span.attributes.get(*name)?)))
            .collect::<String>();
        let (name, service) = (&span.name, &span.resource["service.name"]);
        let below = drawn(spans, &span.id, depth + 1);
        format!(
            "figure: {:width$}{name} ({service}, {took} µs){told}\n{below}",
            "",
            width = 2 * depth
        )
    };
    spans.iter().filter(|span| span.parent == parent).map(of).collect::<String>()
}

/// Jaeger's query API.
struct Jaeger {
    server: JaegerServer,
    client: reqwest::Client,
}

impl Jaeger {
    fn at(server: JaegerServer) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { server, client }
    }

    /// The booking service has published its record: in OTLP's JSON, which is HTTP's alone.
    async fn is_told_of_publishing(
        &self,
        published: TraceParent,
        topic: &str,
        (began, ended): (DateTime<Utc>, DateTime<Utc>),
    ) {
        let nanos = |at: DateTime<Utc>| at.timestamp_nanos_opt().expect("this century").to_string();
        let text =
            |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let span = json!({
            "traceId": trace_of(published),
            "spanId": format!("{:016x}", published.span),
            "name": format!("publish {topic}"),
            "kind": PRODUCER,
            "startTimeUnixNano": nanos(began),
            "endTimeUnixNano": nanos(ended),
            "attributes": [
                text("messaging.system", "kafka"),
                text("messaging.operation.name", "publish"),
                text("messaging.operation.type", "send"),
                text("messaging.destination.name", topic),
            ],
        });
        let resource = json!({ "attributes": [text("service.name", BOOKING_SERVICE)] });
        let scope = json!({ "scope": { "name": BOOKING_SERVICE }, "spans": [span] });
        let lot = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [scope] }] });
        let url = format!("{}/v1/traces", self.server.http).parse().expect("a URL");
        let mut request = reqwest::Request::new(Method::POST, url);
        request.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
        *request.body_mut() = Some(lot.to_string().into());
        let answer = self.client.execute(request).await.expect("Jaeger answers");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// What a query is answered; `None`: there is nothing.
    async fn asked(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = format!("{}{path}", self.server.query);
        let url = Url::parse_with_params(&url, query).expect("a URL");
        let request = reqwest::Request::new(Method::GET, url);
        let answer = self.client.execute(request).await.expect("Jaeger answers");
        if answer.status() == StatusCode::NOT_FOUND {
            return None;
        }
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let text = answer.text().await.expect("a whole answer");
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// A trace by its id, in the order of its spans' beginnings. OTLP's JSON: ids are hexadecimal,
    /// numbers of 64 bits are texts (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).
    async fn trace(&self, id: &str) -> Vec<Seen> {
        let Some(answer) = self.asked(&format!("/api/v3/traces/{id}"), &[]).await else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for of_resource in each(&answer["result"]["resourceSpans"]) {
            let resource = &of_resource["resource"];
            let scopes = each(&of_resource["scopeSpans"]).iter();
            spans.extend(
                scopes.flat_map(|scope| each(&scope["spans"])).map(|it| seen(resource, it)),
            );
        }
        spans.sort_by_key(|span| span.times);
        spans
    }

    /// The same, once all has come of which a booking's trace is made.
    async fn whole(&self, id: &str, topic: &str) -> Vec<Seen> {
        let mut spans = Vec::new();
        let whole = found(PATIENCE, async || {
            spans = self.trace(id).await;
            let of_topic =
                ["publish", "process", "poll", "commit"].map(|what| format!("{what} {topic}"));
            let others = ["fold", "send caldav", "lane", "PUT", "record"].map(str::to_owned);
            let mut names = of_topic.iter().chain(&others);
            names.all(|name| spans.iter().any(|span| span.name == *name)).then_some(())
        });
        let is_whole = whole.await.is_some();
        assert!(is_whole, "Jaeger has no more of it than this: {}", told(&spans));
        spans
    }

    /// What its pages are made of is the same, with no word that anything is missing or there twice; and it
    /// is found by the tag that the handbook names.
    async fn shows_people(&self, id: &str, spans: &[Seen]) {
        let shown = self.asked(&format!("/api/traces/{id}"), &[]).await.expect("it is there");
        let shown = &shown["data"][0];
        assert_eq!(each(&shown["spans"]).len(), spans.len(), "{shown}");
        let warnings = each(&shown["spans"]).iter().chain([shown]);
        let mut warnings = warnings.flat_map(|what| each(&what["warnings"]));
        // Where a consumer's span is shorter than its publisher's and not within it, Jaeger guesses that
        // their clocks differ (cmd/query/app/querysvc/v2/adjuster/clockskew.go, v1.76.0).
        let of_clocks = "clock skew adjustment disabled";
        let other =
            warnings.find(|warning| !warning.as_str().is_some_and(|it| it.starts_with(of_clocks)));
        assert_eq!(other, None);
        let processes = shown["processes"].as_object().expect("those who tell");
        let services: BTreeSet<_> =
            processes.values().filter_map(|process| process["serviceName"].as_str()).collect();
        assert_eq!(services, BTreeSet::from([BOOKING_SERVICE, SERVICE]));
        let tags = json!({ "calendar_sync.booking_id": "a" }).to_string();
        let query = [("service", SERVICE), ("tags", &tags), ("lookback", "1h")];
        let found = self.asked("/api/traces", &query).await.expect("some are there");
        assert!(each(&found["data"]).iter().any(|found| found["traceID"] == id), "{found}");
    }
}

/// The members of an array; none, if there is none.
fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn seen(resource: &Value, span: &Value) -> Seen {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| text(value).parse().expect("a number");
    let links = each(&span["links"]).iter();
    Seen {
        resource: pairs(&resource["attributes"]),
        name: text(&span["name"]),
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        kind: span["kind"].as_i64().and_then(|kind| kind.try_into().ok()).expect("a kind"),
        attributes: pairs(&span["attributes"]),
        links: links.map(|link| (text(&link["traceId"]), text(&link["spanId"]))).collect(),
        times: (number(&span["startTimeUnixNano"]), number(&span["endTimeUnixNano"])),
        whole: format!("{resource} {span}"),
    }
}

fn pairs(attributes: &Value) -> BTreeMap<String, String> {
    let pair = |pair: &Value| {
        let value = pair["value"].as_object().and_then(|any| any.values().next());
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = value.map_or_else(String::new, text);
        (pair["key"].as_str().unwrap_or_default().to_owned(), value)
    };
    each(attributes).iter().map(pair).collect()
}
