//! Microsoft Graph: what is asked, of whom, and what is made of answers that the emulator never gives.

use std::time::Duration;

use booking::Verb;
use calendar_sync::calendar::microsoft::Microsoft;
use calendar_sync::calendar::{
    Answer, Calendar as _, Call, Condition, Listed, Listing, Name, Next, Reading,
};
use serde_json::{Value, json};

use super::stub::{Seen, Stub};
use super::{SECRET, account, client, content, marker, uid};

const EVENTS: &str = "/v1.0/me/calendars/AAMk%2FAD=/events";
const NAME: &str = "String {6cfc4fd6-6c3a-4e0b-9b0e-8e1c0f3c8a57} Name bookingName";

fn microsoft(server: &str) -> Microsoft {
    Microsoft::new(
        account(&format!("{server}/v1.0/me"), "AAMk/AD="),
        client(Duration::from_secs(20)),
    )
}

/// The name that booking 42 has in its first generation.
fn name() -> String {
    microsoft("http://127.0.0.1:9").external_id(&uid("booking-42@example.com"), 0)
}

/// What Graph shows of an event under a name; `posted`: it was made under that name.
fn event(id: &str, name: &str, posted: bool) -> Value {
    json!({
        "id": id,
        "@odata.etag": format!("W/\"{id}\""),
        "iCalUId": format!("uid-of-{id}"),
        "transactionId": posted.then_some(name),
        "singleValueExtendedProperties": [{"id": NAME, "value": name}],
    })
}

fn page(events: &[Value], link: Option<&str>) -> String {
    json!({"value": events, "@odata.nextLink": link}).to_string()
}

fn refusal(code: &str) -> String {
    json!({"error": {"code": code, "message": "Dinner with Ada"}}).to_string()
}

fn lost(message: &str) -> Answer {
    Answer::Lost { sent: true, message: message.to_owned() }
}

fn path(seen: &Seen) -> &str {
    let line = seen.line();
    line.split_once('?').map_or(line, |(path, _)| path)
}

/// Rule R20: a copy carries the name, and was posted by nobody.
#[tokio::test]
async fn a_search_finds_what_was_posted_behind_copies_and_empty_pages() {
    let name = name();
    let server = Stub::linking(|url| {
        let link = |number: u32| format!("{url}{EVENTS}?$skip={number}");
        vec![
            (200, page(&[], Some(&link(1)))),
            (
                200,
                page(
                    &[event("copy", &name, false), event("shouted", &name.to_uppercase(), true)],
                    Some(&link(2)),
                ),
            ),
            (200, page(&[event("ours", &name, true)], None)),
            (200, event("ours", &name, true).to_string()),
        ]
    })
    .await;
    let found = microsoft(&server.url).read(Name::given(&name)).await;
    let Reading::Live { server_id, etag, .. } = found else { panic!("{found:?}") };
    assert_eq!((server_id.as_deref(), etag.as_deref()), (Some("ours"), Some("W/\"ours\"")));
    let seen = server.requests();
    assert_eq!(seen[1].line(), format!("GET {EVENTS}?$skip=1"));
    assert_eq!(path(&seen[3]), format!("GET {EVENTS}/ours"));
    for request in &seen {
        assert_eq!(request.header("prefer"), Some("IdType=\"ImmutableId\""));
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    }
}

/// What the whole mailbox's search tells of, and this calendar does not have, is not here.
#[tokio::test]
async fn an_event_in_another_calendar_is_absent() {
    let name = name();
    let found = page(&[event("moved", &name, true)], None);
    let not_found = refusal("ErrorItemNotFound");
    let answers = [(404, "", &*not_found), (200, "", &*found), (404, "", &*not_found)];
    let server = Stub::saying(&answers).await;
    let known = Name { given: &name, server_id: Some("moved") };
    assert_eq!(microsoft(&server.url).read(known).await, Reading::Absent);
    let seen = server.requests();
    let paths: Vec<_> = seen.iter().map(path).collect();
    assert_eq!(
        paths,
        [format!("GET {EVENTS}/moved"), format!("GET {EVENTS}"), format!("GET {EVENTS}/moved")]
    );
}

/// Credentials go with a request.
#[tokio::test]
async fn a_link_to_elsewhere_is_never_followed() {
    let name = name();
    let other = Stub::saying(&[]).await;
    let elsewhere = format!("{}{EVENTS}?$skip=1", other.url);
    let body = page(&[], Some(&elsewhere));
    let server = Stub::saying(&[(200, "", &body), (200, "", &body)]).await;
    let microsoft = microsoft(&server.url);
    let message = "the link to the next page leads elsewhere".to_owned();
    let expected = Answer::Lost { sent: false, message };
    let read = microsoft.read(Name::given(&name)).await;
    assert_eq!(read, Reading::Failed(expected.clone()));
    let listed = microsoft.list(Listing { since: None, page: None }).await;
    let Listed::Page(listed) = listed else { panic!("{listed:?}") };
    assert_eq!(listed.next, Next::Page(elsewhere.clone()));
    let next = microsoft.list(Listing { since: None, page: Some(&elsewhere) }).await;
    assert_eq!(next, Listed::Failed(expected));
    assert!(other.requests().is_empty(), "nobody came there");
}

/// A list that is cut for the sake of a link is no list that has ended.
#[tokio::test]
async fn a_list_or_a_search_without_end_is_given_up() {
    let server = Stub::linking(|url| {
        let long = format!("{url}{EVENTS}?$skip={}", "1".repeat(5_000));
        let again = page(&[], Some(&format!("{url}{EVENTS}?$skip=1")));
        let mut answers = vec![(200, page(&[], Some(&long)))];
        answers.extend((0..3).map(|_| (200, again.clone())));
        answers
    })
    .await;
    let microsoft = microsoft(&server.url);
    let listed = microsoft.list(Listing { since: None, page: None }).await;
    let no_list = lost("a success, but the answer is not a list with a link that can be kept");
    assert_eq!(listed, Listed::Failed(no_list));
    let read = microsoft.read(Name::given(&name())).await;
    assert_eq!(read, Reading::Failed(lost("a success, but the answer is not a search that ends")));
    assert_eq!(server.requests().len(), 4);
}

/// L15: a PATCH with nothing to compare is never sent.
#[tokio::test]
async fn an_update_without_an_etag_is_not_sent() {
    let server = Stub::saying(&[]).await;
    let microsoft = microsoft(&server.url);
    let body = microsoft.body(&name(), &marker(&content(), 3), &content());
    for condition in [Condition::New, Condition::Unconditional] {
        let (given, server_id) = (&*name(), Some("ours"));
        let name = Name { given, server_id };
        let call = Call { verb: Verb::Update, name, condition, body: &body };
        let answer = microsoft.send(&call).await;
        assert!(
            matches!(&answer, Answer::Status { status: 412, reason: Some(reason), .. }
                if reason == "conditionMissing"),
            "{answer:?}"
        );
    }
    assert!(server.requests().is_empty());
}

/// A proxy's page, an event without an id, a link of another kind: nobody knows what was done.
#[tokio::test]
async fn a_success_that_is_not_graphs_is_no_answer() {
    let microsoft = microsoft("http://127.0.0.1:9");
    let body = microsoft.body(&name(), &marker(&content(), 3), &content());
    let without_etag = json!({"id": "ours"}).to_string();
    for said in ["<html>Back soon</html>", "", "[]", "{}", &without_etag] {
        let given = name();
        let server = Stub::saying(&[(201, "", said), (200, "", said)]).await;
        let microsoft = self::microsoft(&server.url);
        let name = Name::given(&given);
        let call = Call { verb: Verb::Create, name, condition: Condition::New, body: &body };
        let expected = lost("a success, but the answer is not the event");
        assert_eq!(microsoft.send(&call).await, expected, "{said}");
        let read = microsoft.read(Name { given: &given, server_id: Some("ours") }).await;
        let expected = lost("a success, but the answer is not an event");
        assert_eq!(read, Reading::Failed(expected), "{said}");
    }
}
