//! The emulator of Google Calendar, through real HTTP: what it refuses, keeps and forgets. And in
//! `microsoft`, that of Graph.

mod adapter;

mod faults;

mod listing;

mod microsoft;

mod oauth;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use calendar_sync::clock::Clock;
use calendar_sync::emulator::google::{
    ByHand, Collisions, LowerSequence, Switches, TombstoneUpdate,
};
use calendar_sync::emulator::{Effect, GoogleEmulator, Options};
use chrono::{DateTime, TimeZone as _, Utc};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const TOKEN: &str = "token-of-ada";
const ACCOUNT: &str = "ada@example.com";
const CALENDAR: &str = "team/a@group.example.com";
const EVENTS: &str = "/calendars/team%2Fa%40group.example.com/events";
const ID: &str = "booking0001";

/// A clock that moves when it is told to.
struct HandClock(Mutex<DateTime<Utc>>);

impl HandClock {
    fn advance(&self, time: Duration) {
        *self.0.lock().expect("no test panicked") += time;
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("no test panicked")
    }
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn at(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, hour, 0, 0).unwrap()
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn reason(&self) -> &str {
        self.body["error"]["errors"][0]["reason"].as_str().unwrap_or_default()
    }
    fn etag(&self) -> String {
        self.body["etag"].as_str().expect("a resource has an ETag").to_owned()
    }
    fn said(&self) -> (u16, &str) {
        (self.status, self.reason())
    }
}

struct Google {
    emulator: GoogleEmulator,
    clock: Arc<HandClock>,
    client: reqwest::Client,
    token: Option<&'static str>,
}

impl Google {
    async fn start() -> Self {
        Self::with(Switches::default()).await
    }

    async fn with(switches: Switches) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(at(8))));
        let options = Options { switches, ..Options::strict(clock.clone()) };
        let emulator = GoogleEmulator::start(options).await.expect("a port is free");
        emulator.add_account(TOKEN, ACCOUNT);
        emulator.create_calendar(ACCOUNT, CALENDAR);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { emulator, clock, client, token: Some(TOKEN) }
    }

    #[expect(clippy::disallowed_methods, reason = "this test is a client of its own")]
    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> reqwest::Result<Got> {
        let url = format!("{}{path}", self.emulator.base_url());
        let mut request = self.client.request(method, url);
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
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
        self.try_call(method, path, body, None).await.expect("an answer")
    }

    async fn insert(&self, body: &Value) -> Got {
        self.call(Method::POST, EVENTS, Some(body)).await
    }

    async fn get(&self, id: &str) -> Got {
        self.call(Method::GET, &format!("{EVENTS}/{id}"), None).await
    }

    async fn put(&self, id: &str, body: &Value) -> Got {
        self.call(Method::PUT, &format!("{EVENTS}/{id}"), Some(body)).await
    }

    async fn patch(&self, id: &str, body: &Value) -> Got {
        self.call(Method::PATCH, &format!("{EVENTS}/{id}"), Some(body)).await
    }

    async fn delete(&self, id: &str) -> Got {
        self.call(Method::DELETE, &format!("{EVENTS}/{id}"), None).await
    }

    async fn conditional(&self, method: Method, id: &str, body: Option<&Value>, etag: &str) -> Got {
        let path = format!("{EVENTS}/{id}");
        self.try_call(method, &path, body, Some(etag)).await.expect("an answer")
    }
}

/// The body of an event of a revision, without a name.
fn body(revision: i64) -> Value {
    json!({
        "summary": format!("Haircut {revision}"),
        "start": {"dateTime": "2026-11-23T09:00:00Z", "timeZone": "Europe/Paris"},
        "end": {"dateTime": "2026-11-23T10:00:00Z", "timeZone": "Europe/Paris"},
        "sequence": revision,
        "extendedProperties": {"private": {
            "bookingUid": "b-1@example.com",
            "bookingConnection": "c-1",
            "bookingRevision": revision.to_string(),
            "bookingDigest": "00",
        }},
    })
}

fn named(id: &str, revision: i64) -> Value {
    let mut body = body(revision);
    body["id"] = json!(id);
    body
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn an_inserted_event_reads_back_whole() {
    let google = Google::start().await;
    let made = google.insert(&named(ID, 0)).await;
    assert_eq!(made.status, 200);
    let read = google.get(ID).await;
    assert_eq!(read.body, made.body);
    assert_eq!(read.headers["etag"].to_str().unwrap(), read.etag());
    assert!(read.etag().trim_matches('"').bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(read.body["kind"], "calendar#event");
    assert_eq!(read.body["status"], "confirmed");
    assert_eq!(read.body["iCalUID"], format!("{ID}@google.com"));
    assert_eq!(read.body["start"]["dateTime"], "2026-11-23T10:00:00+01:00");
    assert_eq!(read.body["organizer"]["email"], CALENDAR);
    assert_eq!(read.body["creator"]["email"], ACCOUNT);
    assert_eq!(read.body["created"], "2026-11-23T08:00:00.000Z");
    assert_eq!(read.body["extendedProperties"]["private"]["bookingRevision"], "0");
    let event = &google.emulator.events(CALENDAR)[0];
    assert_eq!((event.start, event.end), (at(9), at(10)));
    assert_eq!(event.zone.unwrap().name(), "Europe/Paris");
    google.emulator.stop().await;
}

#[tokio::test]
async fn a_token_is_needed_and_can_be_revoked() {
    let mut google = Google::start().await;
    google.token = None;
    let nobody = google.get(ID).await;
    assert_eq!(nobody.said(), (401, "required"));
    assert!(nobody.headers.contains_key("www-authenticate"));
    google.token = Some("token-of-nobody");
    assert_eq!(google.get(ID).await.said(), (401, "authError"));
    google.token = Some(TOKEN);
    assert_eq!(google.get(ID).await.said(), (404, "notFound"));
    assert!(google.emulator.revoke_token(TOKEN));
    assert_eq!(google.insert(&named(ID, 0)).await.said(), (401, "authError"));
    google.emulator.add_account("second-token", ACCOUNT);
    google.token = Some("second-token");
    assert_eq!(google.insert(&named(ID, 0)).await.status, 200);
    google.emulator.revoke_account(ACCOUNT);
    assert_eq!(google.get(ID).await.said(), (401, "authError"));
}

/// L28.
#[tokio::test]
async fn a_read_only_token_cannot_write() {
    let mut google = Google::start().await;
    google.emulator.add_read_only_token("reader", ACCOUNT);
    google.token = Some("reader");
    assert_eq!(google.insert(&named(ID, 0)).await.said(), (403, "insufficientPermissions"));
    assert_eq!(google.get(ID).await.status, 404);
}

/// The discovery document: no scope of events opens `calendars.get` or `calendarList.list`.
#[tokio::test]
async fn a_token_for_events_opens_events_alone() {
    let mut google = Google::start().await;
    google.emulator.add_events_token("events", ACCOUNT);
    google.token = Some("events");
    assert_eq!(google.insert(&named(ID, 0)).await.status, 200);
    assert_eq!(google.call(Method::GET, EVENTS, None).await.status, 200);
    for path in ["/calendars/primary", "/calendars/nobody", "/users/me/calendarList"] {
        let got = google.call(Method::GET, path, None).await;
        assert_eq!(got.said(), (403, "insufficientPermissions"), "{path}");
    }
}

#[tokio::test]
async fn a_calendar_is_found_by_its_owner_alone() {
    let mut google = Google::start().await;
    let path = "/calendars/team%2Fa%40group.example.com";
    assert_eq!(google.call(Method::GET, path, None).await.body["id"], CALENDAR);
    let primary = google.call(Method::GET, "/calendars/primary", None).await;
    assert_eq!(primary.body["id"], ACCOUNT);
    let list = google.call(Method::GET, "/users/me/calendarList", None).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 2);
    google.emulator.add_account("token-of-eve", "eve@example.com");
    google.token = Some("token-of-eve");
    assert_eq!(google.call(Method::GET, path, None).await.said(), (404, "notFound"));
    assert_eq!(google.insert(&named(ID, 0)).await.said(), (404, "notFound"));
    google.token = Some(TOKEN);
    assert!(google.emulator.remove_calendar(CALENDAR));
    assert_eq!(google.insert(&named(ID, 0)).await.said(), (404, "notFound"));
}

#[tokio::test]
async fn an_id_has_its_alphabet_and_length() {
    let google = Google::start().await;
    let long = "a".repeat(1025);
    for id in ["abcd", "BOOKING01", "booking-1", "bookingw1", "", long.as_str()] {
        assert_eq!(google.insert(&named(id, 0)).await.said(), (400, "invalid"), "{id}");
    }
    for id in ["abcde", "0123456789abcdefghijklmnopqrstuv", &long[1..]] {
        assert_eq!(google.insert(&named(id, 0)).await.status, 200, "{id}");
    }
    let made = google.insert(&body(0)).await;
    assert_eq!(made.status, 200);
    assert_eq!(google.get(made.body["id"].as_str().unwrap()).await.status, 200);
}

/// L15.
#[tokio::test]
async fn an_id_is_taken_for_ever() {
    let google = Google::start().await;
    assert_eq!(google.insert(&named(ID, 0)).await.status, 200);
    assert_eq!(google.insert(&named(ID, 1)).await.said(), (409, "duplicate"));
    assert_eq!(google.delete(ID).await.status, 204);
    assert_eq!(google.insert(&named(ID, 2)).await.said(), (409, "duplicate"));
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
    assert_eq!(google.emulator.tombstones(CALENDAR).len(), 1);
}

#[tokio::test]
async fn a_deleted_event_reads_as_cancelled_and_cannot_be_deleted_again() {
    let google = Google::start().await;
    assert_eq!(google.delete(ID).await.said(), (404, "notFound"));
    google.insert(&named(ID, 0)).await;
    let gone = google.delete(ID).await;
    assert_eq!((gone.status, gone.body), (204, Value::Null));
    assert_eq!(google.get(ID).await.body["status"], "cancelled");
    assert_eq!(google.delete(ID).await.said(), (410, "deleted"));
}

#[tokio::test]
async fn an_update_of_a_tombstone_is_forbidden_or_revives_it() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    google.delete(ID).await;
    assert_eq!(google.put(ID, &body(1)).await.said(), (403, "forbidden"));
    let tombstone_update = TombstoneUpdate::Revives;
    google.emulator.set_switches(Switches { tombstone_update, ..Switches::default() });
    let patched = google.patch(ID, &json!({"summary": "still gone"})).await;
    assert_eq!((patched.status, &patched.body["status"]), (200, &json!("cancelled")));
    assert_eq!(google.put(ID, &body(1)).await.body["status"], "confirmed");
    let effects: Vec<_> =
        google.emulator.calls().mutations().iter().map(|call| call.effect).collect();
    assert_eq!(effects, [Effect::Created, Effect::Deleted, Effect::Created]);
}

#[tokio::test]
async fn tombstones_disappear_when_their_time_is_over() {
    let day = Duration::from_hours(24);
    let switches = Switches { tombstones_kept: Some(day), ..Switches::default() };
    let google = Google::with(switches).await;
    google.insert(&named(ID, 0)).await;
    google.delete(ID).await;
    google.clock.advance(day / 2);
    assert_eq!(google.insert(&named(ID, 1)).await.status, 409);
    google.clock.advance(day);
    assert_eq!(google.get(ID).await.said(), (404, "notFound"));
    assert_eq!(google.insert(&named(ID, 1)).await.status, 200);
    google.delete(ID).await;
    google.emulator.evict_tombstones(CALENDAR);
    assert_eq!(google.delete(ID).await.said(), (404, "notFound"));
}

#[tokio::test]
async fn an_undetected_collision_leaves_twins_or_the_last() {
    for (collisions, count) in [(Collisions::Twins, 2), (Collisions::LastWins, 1)] {
        let google = Google::with(Switches { collisions, ..Switches::default() }).await;
        google.insert(&named(ID, 0)).await;
        assert_eq!(google.insert(&named(ID, 1)).await.status, 200);
        assert_eq!(google.emulator.events(CALENDAR).len(), count);
        assert_eq!(google.get(ID).await.body["sequence"], 1);
        google.delete(ID).await;
        assert_eq!(google.emulator.events(CALENDAR).len(), count - 1);
    }
}

#[tokio::test]
async fn a_new_event_can_be_missing_for_some_reads() {
    let switches = Switches { missing_after_insert: 2, ..Switches::default() };
    let google = Google::with(switches).await;
    google.insert(&named(ID, 0)).await;
    assert_eq!(google.get(ID).await.status, 404);
    assert_eq!(google.insert(&named(ID, 0)).await.status, 409);
    assert_eq!(google.put(ID, &body(1)).await.status, 404);
    assert_eq!(google.get(ID).await.status, 200);
}

#[tokio::test]
async fn every_write_has_a_new_etag_and_conditions_compare_it() {
    let google = Google::start().await;
    let first = google.insert(&named(ID, 0)).await.etag();
    let second = google.conditional(Method::PUT, ID, Some(&body(1)), &first).await.etag();
    assert_ne!(first, second);
    let rewritten = google.conditional(Method::PUT, ID, Some(&body(1)), &second).await.etag();
    assert_ne!(second, rewritten);
    for (method, sent) in [
        (Method::PUT, Some(body(2))),
        (Method::PATCH, Some(json!({"summary": "x"}))),
        (Method::DELETE, None),
    ] {
        let refused = google.conditional(method, ID, sent.as_ref(), &second).await;
        assert_eq!(refused.said(), (412, "conditionNotMet"));
    }
    let weak = format!("W/{rewritten}");
    assert_eq!(google.conditional(Method::DELETE, ID, None, &weak).await.status, 412);
    assert_eq!(google.get(ID).await.etag(), rewritten);
    assert_eq!(google.conditional(Method::DELETE, ID, None, &rewritten).await.status, 204);
    let calls = google.emulator.calls();
    let effects: Vec<_> = calls.mutations().iter().map(|call| call.effect).collect();
    assert_eq!(effects, [Effect::Created, Effect::Updated, Effect::Deleted]);
}

#[tokio::test]
async fn put_replaces_and_patch_merges() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    google.emulator.change_by_hand(CALENDAR, ID, ByHand::Colour("7".to_owned()));
    let properties =
        json!({"extendedProperties": {"private": {"own": "x", "bookingDigest": null}}});
    let patched = google.patch(ID, &properties).await;
    let private = &patched.body["extendedProperties"]["private"];
    assert_eq!((&private["own"], &private["bookingRevision"]), (&json!("x"), &json!("0")));
    assert_eq!(private.get("bookingDigest"), None);
    assert_eq!(patched.body["colorId"], "7");
    let replaced = google.put(ID, &body(1)).await;
    assert_eq!(replaced.body.get("colorId"), None);
    assert_eq!(replaced.body["extendedProperties"]["private"].get("own"), None);
    let kept = google.patch(ID, &json!({"start": {"dateTime": "2026-11-23T09:30:00Z"}})).await;
    assert_eq!(kept.body["start"]["timeZone"], "Europe/Paris");
    assert_eq!(kept.body["sequence"], 2, "a move counts");
}

#[tokio::test]
async fn a_lower_sequence_is_refused_or_ignored() {
    let google = Google::start().await;
    google.insert(&named(ID, 5)).await;
    let refused = google.put(ID, &body(4)).await;
    assert_eq!(refused.said(), (400, "invalid"));
    assert_eq!(google.put(ID, &body(5)).await.status, 200);
    let lower_sequence = LowerSequence::Ignored;
    google.emulator.set_switches(Switches { lower_sequence, ..Switches::default() });
    let taken = google.put(ID, &body(4)).await;
    assert_eq!((taken.status, &taken.body["sequence"]), (200, &json!(5)));
    assert_eq!(taken.body["summary"], "Haircut 4");
}

#[tokio::test]
async fn what_the_api_does_not_take_is_refused() {
    let google = Google::start().await;
    let time = |text: &str| json!({"dateTime": text, "timeZone": "UTC"});
    for (field, value, reason) in [
        ("start", Value::Null, "required"),
        ("end", Value::Null, "required"),
        ("end", time("2026-11-23T09:00:00Z"), "timeRangeEmpty"),
        ("end", time("2026-11-23T08:00:00Z"), "timeRangeEmpty"),
        ("end", json!({"date": "2026-11-24"}), "invalid"),
        ("start", json!({"dateTime": "2026-11-23T09:00:00"}), "required"),
        ("start", json!({"dateTime": "2026-11-23T09:00:00Z", "timeZone": "Paris"}), "invalid"),
        ("status", json!("booked"), "invalid"),
        ("transparency", json!("busy"), "invalid"),
        ("visibility", json!("secret"), "invalid"),
        ("sequence", json!("1"), "invalid"),
        ("summary", json!(7), "invalid"),
        ("title", json!("Haircut"), "badRequest"),
        ("extendedProperties", json!({"private": {"bookingRevision": 0}}), "invalid"),
        ("iCalUID", json!("b-1@example.com"), "badRequest"),
    ] {
        let refused = google.insert(&with(named(ID, 0), field, value)).await;
        assert_eq!(refused.said(), (400, reason), "{field}: {}", refused.body);
        assert_eq!(refused.body["error"]["code"], 400);
    }
    assert_eq!(google.insert(&json!([])).await.said(), (400, "parseError"));
    assert_eq!(google.emulator.calls().mutations().len(), 0);
    google.insert(&named(ID, 0)).await;
    let without_end = with(body(1), "end", Value::Null);
    assert_eq!(google.put(ID, &without_end).await.said(), (400, "required"));
    let ignoring = Switches { unknown_fields_ignored: true, ..Switches::default() };
    google.emulator.set_switches(ignoring);
    assert_eq!(google.put(ID, &with(body(1), "title", json!("x"))).await.status, 200);
}

/// L20.
#[tokio::test]
async fn send_updates_is_one_of_three_and_is_logged() {
    let google = Google::start().await;
    let path = format!("{EVENTS}?sendUpdates=none");
    assert_eq!(google.call(Method::POST, &path, Some(&named(ID, 0))).await.status, 200);
    let path = format!("{EVENTS}/{ID}?sendUpdates=never");
    let refused = google.call(Method::DELETE, &path, None).await;
    assert_eq!(refused.said(), (400, "invalidParameter"));
    let path = format!("{EVENTS}/{ID}?ifMatch=1");
    assert_eq!(google.call(Method::DELETE, &path, None).await.said(), (400, "badRequest"));
    let calls = google.emulator.calls();
    assert_eq!(calls.list[0].parameter("sendUpdates").as_deref(), Some("none"));
}

#[tokio::test]
async fn an_ical_uid_of_the_clients_own_is_kept_and_unique() {
    let google = Google::start().await;
    let sent = with(body(0), "iCalUID", json!("own@example.com"));
    assert_eq!(google.insert(&sent).await.body["iCalUID"], "own@example.com");
    assert_eq!(google.insert(&sent).await.said(), (409, "duplicate"));
}

#[tokio::test]
async fn defaults_are_not_shown_and_long_properties_are_cut() {
    let google = Google::start().await;
    let mut sent = with(named(ID, 0), "transparency", json!("opaque"));
    sent["extendedProperties"]["private"]["k".repeat(45)] = json!("dropped");
    sent["extendedProperties"]["private"]["long"] = json!("v".repeat(2000));
    let made = google.insert(&sent).await;
    assert_eq!(made.body.get("transparency"), None);
    let private = &google.emulator.events(CALENDAR)[0].properties;
    assert_eq!(private["long"].len(), 1024);
    assert_eq!(private.len(), 5);
    let shown = google.put(ID, &with(body(1), "transparency", json!("transparent"))).await;
    assert_eq!(shown.body["transparency"], "transparent");
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let google = Google::start().await;
    let huge = with(named(ID, 0), "description", json!("x".repeat(2 << 20)));
    let refused = google.try_call(Method::POST, EVENTS, Some(&huge), None).await;
    // The server may close before the client has written all.
    assert!(refused.is_err() || refused.is_ok_and(|got| got.status == 413));
    assert_eq!(google.emulator.events(CALENDAR).len(), 0);
}
