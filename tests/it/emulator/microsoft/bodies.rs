//! What a body may say, and what becomes of it.

use calendar_sync::emulator::microsoft::Switches;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, MARKER, at, body, with};

fn time(text: &str, zone: &str) -> Value {
    json!({"dateTime": text, "timeZone": zone})
}

#[tokio::test]
async fn what_the_api_does_not_take_is_refused() {
    const FAILS: &str = "ErrorPropertyValidationFailure";
    let graph = Graph::start().await;
    for (field, value, code) in [
        ("start", Value::Null, FAILS),
        ("end", Value::Null, FAILS),
        ("end", json!({"timeZone": "UTC"}), FAILS),
        ("end", time("2026-11-23T08:00:00", "UTC"), FAILS),
        ("isAllDay", json!(true), FAILS),
        ("start", time("2026-11-23T09:00:00Z", "UTC"), "ErrorInvalidRequest"),
        ("start", time("2026-11-23T09:00:00+01:00", "UTC"), "ErrorInvalidRequest"),
        ("start", time("2026-11-23T09:00:00", "Paris"), "TimeZoneNotSupportedException"),
        ("start", json!({"dateTime": "2026-11-23T09:00:00"}), "TimeZoneNotSupportedException"),
        ("start", json!({"dateTime": 5, "timeZone": "UTC"}), "RequestBodyRead"),
        ("start", json!({"datetime": "x", "timeZone": "UTC"}), "RequestBodyRead"),
        ("showAs", json!("away"), "RequestBodyRead"),
        ("sensitivity", json!("secret"), "RequestBodyRead"),
        ("importance", json!(1), "RequestBodyRead"),
        ("body", json!({"contentType": "markdown", "content": "x"}), "RequestBodyRead"),
        ("subject", json!(7), "RequestBodyRead"),
        ("title", json!("Haircut"), "RequestBodyRead"),
        ("attendees", json!([{"email": "x"}]), "RequestBodyRead"),
        (
            "singleValueExtendedProperties",
            json!([{"id": "x", "value": "y"}]),
            "ErrorInvalidRequest",
        ),
        ("singleValueExtendedProperties", json!([{"id": MARKER}]), "ErrorInvalidRequest"),
        ("singleValueExtendedProperties", json!([{"id": MARKER, "value": 0}]), "RequestBodyRead"),
    ] {
        let refused = graph.post(&with(body(0), field, value.clone())).await;
        assert_eq!(refused.said(), (400, code), "{field} {value}: {}", refused.body);
    }
    assert_eq!(graph.post(&json!([])).await.said(), (400, "BadRequest"));
    let with_query = format!("{}?$select=id", graph.events_path());
    let refused = graph.call(Method::POST, &with_query, Some(&body(0))).await;
    assert_eq!(refused.said(), (400, "BadRequest"));
    assert_eq!(graph.emulator.calls().mutations().len(), 0);
    let unknown_fields_ignored = true;
    graph.emulator.set_switches(Switches { unknown_fields_ignored, ..Switches::default() });
    assert_eq!(graph.post(&with(body(0), "title", json!("x"))).await.status, 201);
}

#[tokio::test]
async fn a_body_has_a_bound_and_a_mailbox_too() {
    let graph = Graph::with_options(|options| options.events_max = 1).await;
    let huge = with(body(0), "subject", json!("x".repeat(2 << 20)));
    let path = graph.events_path();
    let refused = graph.try_call(Method::POST, &path, &[], Some(&huge), None).await;
    // The server may close before the client has written all.
    assert!(refused.is_err() || refused.is_ok_and(|got| got.status == 413));
    assert_eq!(graph.post(&body(0)).await.status, 201);
    assert_eq!(graph.post(&body(0)).await.said(), (507, "ErrorQuotaExceeded"));
}

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let graph = Graph::start().await;
    let made = graph.post(&body(0)).await;
    let patched = graph.patch(&made.id(), &made.body).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    assert_eq!(patched.body["body"], made.body["body"]);
}

#[tokio::test]
async fn a_text_becomes_a_page_and_reads_as_a_text_if_preferred() {
    let mut graph = Graph::start().await;
    let text = "bring the <dog> & \"leash\"\r\nand tea";
    let sent = json!({"contentType": "text", "content": text});
    let made = graph.post(&with(body(0), "body", sent)).await;
    let content = made.body["body"]["content"].as_str().unwrap();
    assert_eq!(made.body["body"]["contentType"], "html");
    assert!(content.starts_with("<html>") && content.contains("&lt;dog&gt;"), "{content}");
    assert_eq!(made.body["bodyPreview"], text);
    graph.prefer.push("outlook.body-content-type=\"text\"");
    let read = graph.get(&made.id()).await;
    assert_eq!(read.body["body"], json!({"contentType": "text", "content": text}));
    let page = json!({"contentType": "HTML", "content": "<p>hi</p><script>run()</script>"});
    let patched = graph.patch(&made.id(), &json!({"body": page})).await;
    assert_eq!(patched.body["body"]["content"], "hi");
    assert!(!graph.only().resource.to_string().contains("script"));
}

#[tokio::test]
async fn times_are_said_in_windows_and_other_zones() {
    let mut graph = Graph::start().await;
    let mut sent = body(0);
    sent["start"] = time("2026-11-23T10:00:00", "Europe/Paris");
    sent["end"] = time("2026-11-23T11:00:00.0000000", "Romance Standard Time");
    let made = graph.post(&sent).await;
    assert_eq!(made.body["start"], time("2026-11-23T09:00:00.0000000", "UTC"));
    assert_eq!(made.body["originalStartTimeZone"], "Romance Standard Time");
    assert_eq!((graph.only().start, graph.only().end), (at(9), at(10)));
    graph.prefer.push("outlook.timezone=\"Tokyo Standard Time\"");
    let read = graph.get(&made.id()).await;
    assert_eq!(read.body["end"], time("2026-11-23T19:00:00.0000000", "Tokyo Standard Time"));
    graph.prefer.push("outlook.timezone=\"Mars/Olympus\"");
    let refused = graph.get(&made.id()).await;
    assert_eq!(refused.said(), (400, "TimeZoneNotSupportedException"));
}

#[tokio::test]
async fn a_local_time_in_a_gap_or_an_overlap_is_some_instant() {
    let graph = Graph::start().await;
    for day in ["2026-03-29", "2026-10-25"] {
        let mut sent = body(0);
        sent["start"] = time(&format!("{day}T02:30:00"), "W. Europe Standard Time");
        sent["end"] = time(&format!("{day}T04:30:00"), "Europe/Berlin");
        assert_eq!(graph.post(&sent).await.status, 201, "{day}");
    }
}

#[tokio::test]
async fn a_whole_day_is_one_in_every_zone() {
    let mut graph = Graph::start().await;
    let mut sent = with(body(0), "isAllDay", json!(true));
    sent["start"] = time("2026-11-23T00:00:00", "Europe/Paris");
    sent["end"] = time("2026-11-24T00:00:00", "Europe/Paris");
    let made = graph.post(&sent).await;
    assert_eq!(made.body["start"], time("2026-11-23T00:00:00.0000000", "UTC"));
    graph.prefer.push("outlook.timezone=\"Asia/Tokyo\"");
    let read = graph.get(&made.id()).await;
    assert_eq!(read.body["end"], time("2026-11-24T00:00:00.0000000", "Asia/Tokyo"));
    assert_eq!(graph.only().zone, None);
}

#[tokio::test]
async fn an_event_may_take_no_time_at_all() {
    let graph = Graph::start().await;
    let sent = with(body(0), "end", time("2026-11-23T09:00:00", "UTC"));
    assert_eq!(graph.post(&sent).await.status, 201);
}
