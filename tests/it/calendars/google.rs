//! Google: names, bodies, the requests as they go out, and what is read of the answers.

use std::time::Duration;

use booking::{ConnectionId, Content, Digest, Verb};
use calendar_sync::calendar::google::Google;
use calendar_sync::calendar::{Answer, Calendar as _, Call, Condition, Name, Reading};
use calendar_sync::emit::drift::is_shown;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stub::Stub;
use super::{SECRET, account, at, client, content, marker, uid};

const CALENDAR: &str = "ada lovelace/2@example.com";
const PATH: &str = "/calendar/v3/calendars/ada%20lovelace%2F2@example.com";

/// What somebody on the way says.
const PAGE: &str = "<!DOCTYPE html><html><body>Back soon</body></html>";

fn google(server: &str) -> Google {
    let account = account(&format!("{server}/calendar/v3/"), CALENDAR);
    Google::new(account, client(Duration::from_secs(20)))
}

fn nowhere() -> Google {
    google("http://127.0.0.1:9")
}

fn body(content: &Content) -> Value {
    let body = nowhere().body("booking0", &marker(content, 3), content);
    serde_json::from_slice(&body).expect("JSON")
}

fn refusal(reason: &str) -> String {
    json!({"error": {"code": 0, "message": "Dinner with Ada",
        "errors": [{"domain": "global", "reason": reason, "message": "Dinner with Ada"}]}})
    .to_string()
}

const BOOKING: Name<'static> = Name { given: "booking0", server_id: None };

fn call(verb: Verb, condition: Condition, body: &[u8]) -> Call<'_> {
    Call { verb, name: BOOKING, condition, body }
}

/// L4, L11, L15: the name depends on what cannot change, and on the generation.
#[test]
fn an_id_is_googles_alphabet_and_names_one_generation() {
    let (google, uid_a, uid_b) = (nowhere(), uid("a@example.com"), uid("b@example.com"));
    let id = google.external_id(&uid_a, 0);
    assert_eq!(id, "bookingvlk0n24phttksn11pt5ksuqi62sk2mth5dg2i6h9fl3f2qtop5q0");
    assert!(id.bytes().all(|byte| matches!(byte, b'a'..=b'v' | b'0'..=b'9')), "{id}");
    assert_eq!(id, google.external_id(&uid_a, 0));
    let mut other = account("http://127.0.0.1:9", CALENDAR);
    other.connection = ConnectionId(Uuid::from_u128(1));
    let elsewhere = Google::new(other, client(Duration::from_secs(1)));
    let others = [
        google.external_id(&uid_a, 1),
        google.external_id(&uid_b, 0),
        elsewhere.external_id(&uid_a, 0),
    ];
    assert!(!others.contains(&id));
}

/// L19: the offset and the zone are both said.
#[test]
fn an_event_is_inserted_with_its_marker_and_nothing_absent() {
    let expected = json!({
        "id": "booking0",
        "status": "confirmed",
        "summary": "Haircut",
        "start": {"dateTime": "2026-07-01T10:00:00+02:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2026-07-01T11:00:00+02:00", "timeZone": "Europe/Berlin"},
        "transparency": "opaque",
        "extendedProperties": {"private": {
            "bookingUid": "booking-42@example.com",
            "bookingConnection": "00000000-0000-0000-0000-0000c0ffee00",
            "bookingRevision": "3",
            "bookingDigest": content().digest().to_string(),
            "bookingText": format!("0:{}", Digest::of([])),
        }},
    });
    assert_eq!(body(&content()), expected);
    let full = Content {
        description: Some("Short, please".to_owned()),
        location: Some("Main Street 1".to_owned()),
        tentative: true,
        ..content()
    };
    let full = body(&full);
    assert_eq!(full["description"], "Short, please");
    assert_eq!(full["location"], "Main Street 1");
    assert_eq!(full["status"], "tentative");
}

/// L19: the hour that is lived twice.
#[test]
fn both_passes_of_an_hour_are_told_apart() {
    let pass = |start, end| body(&Content { start: at(start), end: at(end), ..content() });
    let first = pass("2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z");
    let second = pass("2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z");
    assert_eq!(first["start"]["dateTime"], "2026-10-25T02:00:00+02:00");
    assert_eq!(second["start"]["dateTime"], "2026-10-25T02:00:00+01:00");
    let (start, end) = (chrono::DateTime::<chrono::Utc>::MIN_UTC, at("9999-12-31T23:59:59.5Z"));
    assert_eq!(
        body(&Content { start, end, ..content() })["end"]["dateTime"],
        "+10000-01-01T00:00:00Z"
    );
}

/// L3, L14, L20.
#[tokio::test]
async fn a_create_is_an_insert_without_mail() {
    let event = json!({"id": "booking0", "etag": "\"17\"", "iCalUID": "abc@google.com"});
    let server = Stub::saying(&[(200, "", &event.to_string())]).await;
    let google = google(&server.url);
    let body = google.body("booking0", &marker(&content(), 3), &content());
    let answer = google.send(&call(Verb::Create, Condition::New, &body)).await;
    let expected = Answer::Status {
        status: 200,
        reason: None,
        retry_after: None,
        etag: Some("\"17\"".to_owned()),
        provider_uid: Some("abc@google.com".to_owned()),
        server_id: None,
        message: "200 OK".to_owned(),
    };
    assert_eq!(answer, expected);
    let seen = &server.requests()[0];
    assert_eq!(seen.line(), format!("POST {PATH}/events?sendUpdates=none"));
    assert_eq!(seen.body.as_bytes(), body);
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(seen.header("if-match"), None);
}

/// L20, L22: in place, and what the host added is not touched.
#[tokio::test]
async fn an_update_is_a_guarded_patch_that_also_removes() {
    let server = Stub::saying(&[(200, "ETag: \"18\"\r\n", "{\"id\":\"booking0\"}")]).await;
    let google = google(&server.url);
    let body = google.body("booking0", &marker(&content(), 3), &content());
    let answer =
        google.send(&call(Verb::Update, Condition::Match("\"17\"".to_owned()), &body)).await;
    assert!(matches!(answer, Answer::Status { etag: Some(etag), .. } if etag == "\"18\""));
    let seen = &server.requests()[0];
    assert_eq!(seen.line(), format!("PATCH {PATH}/events/booking0?sendUpdates=none"));
    assert_eq!(seen.header("if-match"), Some("\"17\""));
    let patch: Value = serde_json::from_str(&seen.body).unwrap();
    let mut expected: Value = serde_json::from_slice(&body).unwrap();
    expected.as_object_mut().unwrap().remove("id");
    expected["description"] = Value::Null;
    expected["location"] = Value::Null;
    expected["start"]["date"] = Value::Null;
    expected["end"]["date"] = Value::Null;
    assert_eq!(patch, expected);
    for kept in ["colorId", "reminders", "sequence", "attendees", "iCalUID"] {
        assert!(patch.get(kept).is_none(), "{kept}");
    }
}

/// L15: a patch without a condition could revive a tombstone.
#[tokio::test]
async fn an_update_without_an_etag_is_not_sent() {
    let server = Stub::saying(&[]).await;
    let google = google(&server.url);
    let body = google.body("booking0", &marker(&content(), 3), &content());
    for condition in [Condition::New, Condition::Unconditional] {
        let answer = google.send(&call(Verb::Update, condition, &body)).await;
        assert!(matches!(answer, Answer::Status { status: 412, .. }), "{answer:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

/// L20.
#[tokio::test]
async fn a_delete_carries_the_etag_and_no_mail() {
    let server = Stub::saying(&[(204, "", "")]).await;
    let condition = Condition::Match("\"17\"".to_owned());
    let answer = google(&server.url).send(&call(Verb::Delete, condition, b"")).await;
    assert!(matches!(answer, Answer::Status { status: 204, etag: None, .. }), "{answer:?}");
    let seen = &server.requests()[0];
    assert_eq!(seen.line(), format!("DELETE {PATH}/events/booking0?sendUpdates=none"));
    assert_eq!(seen.header("if-match"), Some("\"17\""));
    assert_eq!(seen.header("content-type"), None);
}

/// L17: the reason is kept, the text is not.
#[tokio::test]
async fn a_refusal_keeps_its_reason_and_none_of_its_text() {
    let limited = refusal("rateLimitExceeded");
    let answers = [
        (403, "Retry-After: 5\r\n", limited.as_str()),
        (403, "", "<html>"),
        (409, "", "{\"error\":{\"errors\":[]}}"),
    ];
    let server = Stub::saying(&answers).await;
    let google = google(&server.url);
    let expected = Answer::Status {
        status: 403,
        reason: Some("rateLimitExceeded".to_owned()),
        retry_after: Some(Duration::from_secs(5)),
        etag: None,
        provider_uid: None,
        server_id: None,
        message: "403 Forbidden (rateLimitExceeded)".to_owned(),
    };
    assert_eq!(google.send(&call(Verb::Create, Condition::New, b"{}")).await, expected);
    for _ in 0..2 {
        let answer = google.send(&call(Verb::Create, Condition::New, b"{}")).await;
        assert!(matches!(answer, Answer::Status { reason: None, .. }), "{answer:?}");
    }
}

/// L3.
#[tokio::test]
async fn an_event_is_read_with_its_marker_etag_and_uid() {
    let marker = marker(&content(), 3);
    let google_body = nowhere().body("booking0", &marker, &content());
    let mut event: Value = serde_json::from_slice(&google_body).unwrap();
    event["etag"] = "\"19\"".into();
    event["iCalUID"] = "abc@google.com".into();
    let whole = event.to_string();
    event["extendedProperties"]["private"].as_object_mut().unwrap().remove("bookingDigest");
    let marked_half = event.to_string();
    let answers = [(200, "", whole.as_str()), (200, "", &marked_half)];
    let server = Stub::saying(&answers).await;
    let google = google(&server.url);
    let live = |marker| Reading::Live {
        marker,
        etag: Some("\"19\"".to_owned()),
        provider_uid: Some("abc@google.com".to_owned()),
        server_id: None,
    };
    assert_eq!(google.read(BOOKING).await, live(Some(marker)));
    assert_eq!(google.read(BOOKING).await, live(None));
    assert_eq!(server.requests()[0].line(), format!("GET {PATH}/events/booking0"));
}

/// R20: Google takes 8192 characters, and both may not fit.
#[tokio::test]
async fn for_want_of_room_our_text_is_cut_and_the_hosts_notes_are_not() {
    let ours = Content { description: Some("word ".repeat(1_600).trim().to_owned()), ..content() };
    let notes = "\n\nnotes ".repeat(60);
    let with = |body: &[u8], notes: &str| {
        let mut event: Value = serde_json::from_slice(body).unwrap();
        let described = format!("{}{notes}", event["description"].as_str().unwrap());
        event["description"] = described.into();
        event["etag"] = "\"19\"".into();
        event.to_string()
    };
    let body = nowhere().body("booking0", &marker(&ours, 3), &ours);
    let server = Stub::saying(&[(200, "", &with(&body, &notes))]).await;
    let seen = google(&server.url).inspect(BOOKING).await;
    assert_eq!(seen.content, Some(ours.clone()), "her notes are not of our content");
    let kept = nowhere().keeping(&body, &seen.hers.expect("her notes"));
    let event: Value = serde_json::from_slice(&kept).unwrap();
    let description = event["description"].as_str().unwrap();
    assert_eq!(description.chars().count(), 8_192);
    assert!(description.contains('…') && description.ends_with(&notes));
    // As it stands there then: all of ours that has room, and all of hers.
    let server = Stub::saying(&[(200, "", &with(&kept, ""))]).await;
    let again = google(&server.url).inspect(BOOKING).await;
    assert!(is_shown(&ours, &again.content.expect("a content")));
    assert_eq!(nowhere().keeping(&body, &again.hers.expect("her notes")), kept);
}

/// L15, L24: absence is an explicit 404 of the event, while the calendar answers.
#[tokio::test]
async fn an_absence_is_told_from_a_tombstone_and_from_a_missing_calendar() {
    let cancelled = "{\"status\":\"cancelled\",\"id\":\"booking0\"}";
    let missing = refusal("notFound");
    let missing = (404, "", missing.as_str());
    let server = Stub::saying(&[
        (200, "", cancelled),
        (410, "", "{}"),
        missing,
        (200, "", "{\"etag\":\"p1\"}"),
        missing,
        missing,
        missing,
        (500, "", ""),
        (403, "", "{}"),
        (200, "", "[broken"),
        (200, "", "{\"id\":\"booking1\"}"),
        missing,
        (200, "", PAGE),
        missing,
        (200, "", "{}"),
    ])
    .await;
    let google = google(&server.url);
    assert_eq!(google.read(BOOKING).await, Reading::Tombstone);
    assert_eq!(google.read(BOOKING).await, Reading::Tombstone);
    assert_eq!(google.read(BOOKING).await, Reading::Absent);
    let asked = format!("GET {PATH}/events?maxResults=1&fields=etag");
    assert_eq!(server.requests()[3].line(), asked);
    let gone = Reading::CalendarGone { message: "404 Not Found (notFound)".to_owned() };
    assert_eq!(google.read(BOOKING).await, gone);
    for _ in 0..6 {
        let reading = google.read(BOOKING).await;
        assert!(matches!(reading, Reading::Failed(_)), "{reading:?}");
    }
}

/// A proxy, or another service at the base URL: what it says is no acknowledgement.
#[tokio::test]
async fn a_success_that_does_not_name_our_event_is_no_answer() {
    let said = [PAGE, "", "{}", "[]", "{\"id\":\"booking1\"}", "{\"id\":7}"];
    for (verb, condition) in [
        (Verb::Create, Condition::New),
        (Verb::Update, Condition::Match("\"17\"".to_owned())),
        (Verb::Delete, Condition::Match("\"17\"".to_owned())),
    ] {
        for body in said {
            if verb == Verb::Delete && body.is_empty() {
                continue;
            }
            let server = Stub::saying(&[(200, "ETag: \"18\"\r\n", body)]).await;
            let google = google(&server.url);
            let event = google.body("booking0", &marker(&content(), 3), &content());
            let answer = google.send(&call(verb, condition.clone(), &event)).await;
            assert!(
                matches!(answer, Answer::Lost { sent: true, .. }),
                "{verb:?} {body}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_address_that_is_none_sends_nothing() {
    for base in ["", "not a URL", "mailto:a@b", "ftp://example.com"] {
        let google = Google::new(account(base, CALENDAR), client(Duration::from_secs(1)));
        let answer = google.send(&call(Verb::Delete, Condition::Unconditional, b"")).await;
        assert!(matches!(answer, Answer::Lost { sent: false, .. }), "{base}: {answer:?}");
        assert!(matches!(google.read(BOOKING).await, Reading::Failed(_)), "{base}");
    }
}
