//! The emulators' authorisation servers, through real HTTP: what they refuse, and what they give. Here,
//! what renews access; in `consent` and `service_account`, how it is got.

mod consent;

mod service_account;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use calendar_sync::emulator::microsoft;
use calendar_sync::emulator::{
    Fault, GoogleEmulator, MicrosoftEmulator, Moment, Options, Refusal, Rotation, Rule, Verb,
};
use serde_json::Value;

use super::{ACCOUNT, HandClock, at};

const CLIENT: (&str, &str) = ("client_id", "us");
const SECRET: (&str, &str) = ("client_secret", "s3cret");
const REFRESH: (&str, &str) = ("grant_type", "refresh_token");
const TOKEN: (&str, &str) = ("refresh_token", "first");

struct Got {
    status: u16,
    body: Value,
    cache: Option<String>,
}

impl Got {
    fn said(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }

    /// Microsoft's number.
    fn code(&self) -> u64 {
        self.body["error_codes"][0].as_u64().unwrap_or_default()
    }

    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_default().to_owned()
    }
}

#[expect(clippy::disallowed_methods, reason = "this test is a client of its own")]
async fn send(request: reqwest::RequestBuilder) -> Got {
    let answer = request.timeout(Duration::from_secs(20)).send().await.expect("an answer");
    let cache = answer.headers().get("cache-control").and_then(|it| it.to_str().ok());
    let (status, cache) = (answer.status().as_u16(), cache.map(ToOwned::to_owned));
    let body = answer.bytes().await.expect("a whole answer");
    Got { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), cache }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A form without escapes: none of the values needs any.
fn posted(url: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let pairs: Vec<_> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let kind = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    client().post(url).header(kind.0, kind.1).body(pairs.join("&"))
}

async fn post(url: &str, form: &[(&str, &str)]) -> Got {
    send(posted(url, form)).await
}

struct Google {
    emulator: GoogleEmulator,
    clock: Arc<HandClock>,
    url: String,
}

impl Google {
    async fn start() -> Self {
        let clock = Arc::new(HandClock(Mutex::new(at(8))));
        let options = Options::strict(clock.clone());
        let emulator = GoogleEmulator::start(options).await.expect("a port is free");
        emulator.add_account("of-before", ACCOUNT);
        emulator.set_client("us", Some("s3cret"));
        emulator.grant("first", ACCOUNT, "us");
        let url = emulator.token_url();
        Self { emulator, clock, url }
    }

    async fn post(&self, form: &[(&str, &str)]) -> Got {
        post(&self.url, form).await
    }

    /// Whether a token opens the account's calendar.
    async fn opens(&self, token: &str) -> u16 {
        let url = format!("{}/calendars/primary", self.emulator.base_url());
        send(client().get(url).bearer_auth(token)).await.status
    }
}

async fn graph() -> (MicrosoftEmulator, String) {
    let clock = Arc::new(HandClock(Mutex::new(at(8))));
    let options = microsoft::Options::strict(clock);
    let emulator = MicrosoftEmulator::start(options).await.expect("a port is free");
    emulator.add_account("of-before", ACCOUNT);
    emulator.set_client("us", Some("s3cret"));
    emulator.grant("first", ACCOUNT, "us");
    let url = format!("{}/common/oauth2/v2.0/token", emulator.authority());
    (emulator, url)
}

#[tokio::test]
async fn google_gives_an_access_token_that_opens_the_calendar_for_an_hour() {
    let google = Google::start().await;
    let got = google.post(&[REFRESH, TOKEN, CLIENT, SECRET]).await;
    assert_eq!((got.status, got.cache.as_deref()), (200, Some("no-store")));
    assert_eq!(
        (got.text("token_type").as_str(), &got.body["expires_in"]),
        ("Bearer", &3600.into())
    );
    assert!(got.text("scope").contains("auth/calendar"));
    assert_eq!(got.body.get("refresh_token"), None, "Google gives no other one");
    let token = got.text("access_token");
    assert_eq!(google.opens(&token).await, 200);
    google.clock.advance(Duration::from_hours(1));
    assert_eq!(google.opens(&token).await, 401);
    let again = google.post(&[REFRESH, TOKEN, CLIENT, SECRET]).await;
    assert_ne!(again.text("access_token"), token);
    assert_eq!(google.opens(&again.text("access_token")).await, 200);
}

#[tokio::test]
async fn google_refuses_what_is_no_refresh_of_its_clients() {
    let google = Google::start().await;
    google.emulator.set_client("them", Some("theirs"));
    google.emulator.set_client("public", None);
    for (form, expected) in [
        (&[TOKEN, CLIENT, SECRET][..], (400, "invalid_request")),
        (&[("grant_type", "password"), TOKEN, CLIENT, SECRET], (400, "unsupported_grant_type")),
        (&[REFRESH, CLIENT, SECRET], (400, "invalid_request")),
        (&[REFRESH, ("refresh_token", ""), CLIENT, SECRET], (400, "invalid_request")),
        (&[REFRESH, TOKEN, TOKEN, CLIENT, SECRET], (400, "invalid_request")),
        (&[REFRESH, TOKEN, SECRET], (400, "invalid_request")),
        (&[REFRESH, TOKEN, CLIENT], (400, "invalid_request")),
        (&[REFRESH, TOKEN, CLIENT, ("client_secret", "other")], (401, "invalid_client")),
        (&[REFRESH, TOKEN, ("client_id", "nobody"), SECRET], (401, "invalid_client")),
        (&[REFRESH, TOKEN, ("client_id", "public"), SECRET], (401, "invalid_client")),
        (&[REFRESH, ("refresh_token", "unknown"), CLIENT, SECRET], (400, "invalid_grant")),
        (
            &[REFRESH, TOKEN, ("client_id", "them"), ("client_secret", "theirs")],
            (401, "unauthorized_client"),
        ),
    ] {
        let got = google.post(form).await;
        assert_eq!(got.said(), expected, "{form:?}: {}", got.body);
        assert!(!got.text("error_description").is_empty());
    }
    let form = [REFRESH, TOKEN, CLIENT, SECRET];
    let as_json = client().post(&google.url).header("content-type", "application/json");
    let as_json = as_json.body("grant_type=refresh_token&refresh_token=first");
    assert_eq!(send(as_json).await.said(), (400, "invalid_request"));
    assert_ne!(send(client().get(&google.url)).await.status, 200);
    assert!(google.emulator.revoke_grant("first"));
    let got = google.post(&form).await;
    assert_eq!(got.said(), (400, "invalid_grant"));
    assert_eq!(got.text("error_description"), "Token has been expired or revoked.");
}

#[tokio::test]
async fn a_client_may_prove_itself_by_its_header_and_in_one_way_only() {
    let google = Google::start().await;
    let by_header =
        |form: &[(&str, &str)], secret| posted(&google.url, form).basic_auth("us", Some(secret));
    assert_eq!(send(by_header(&[REFRESH, TOKEN], "s3cret")).await.status, 200);
    assert_eq!(send(by_header(&[REFRESH, TOKEN], "other")).await.said(), (401, "invalid_client"));
    let both = send(by_header(&[REFRESH, TOKEN, CLIENT, SECRET], "s3cret")).await;
    assert_eq!(both.said(), (400, "invalid_request"));
}

#[tokio::test]
async fn microsoft_gives_another_refresh_token_each_time_and_the_former_stays() {
    let (emulator, url) = graph().await;
    let got = post(&url, &[REFRESH, TOKEN, CLIENT, SECRET]).await;
    let second = got.text("refresh_token");
    assert!(got.status == 200 && !second.is_empty() && second != "first", "{}", got.body);
    for token in ["first", &second] {
        let form = [REFRESH, ("refresh_token", token), CLIENT, SECRET];
        assert_eq!(post(&url, &form).await.status, 200, "{token}");
    }
    let mut switches = emulator.oauth_switches();
    switches.rotation = Rotation::FormerEnds;
    emulator.set_oauth_switches(switches);
    assert_eq!(post(&url, &[REFRESH, TOKEN, CLIENT, SECRET]).await.status, 200);
    let got = post(&url, &[REFRESH, TOKEN, CLIENT, SECRET]).await;
    assert_eq!((got.said(), got.code()), ((400, "invalid_grant"), 50_173));
}

#[tokio::test]
async fn microsoft_refuses_by_its_numbers() {
    let (emulator, url) = graph().await;
    for (form, expected) in [
        (&[TOKEN, CLIENT, SECRET][..], (400, "invalid_request", 900_144)),
        (&[REFRESH, TOKEN, TOKEN, CLIENT, SECRET], (400, "invalid_request", 9_000_411)),
        (&[REFRESH, TOKEN, CLIENT], (401, "invalid_client", 7_000_218)),
        (&[REFRESH, TOKEN, CLIENT, ("client_secret", "other")], (401, "invalid_client", 7_000_215)),
        (&[REFRESH, TOKEN, ("client_id", "x"), SECRET], (400, "unauthorized_client", 700_016)),
        (&[REFRESH, ("refresh_token", "x"), CLIENT, SECRET], (400, "invalid_grant", 70_000)),
        (&[REFRESH, TOKEN, CLIENT, SECRET, ("scope", "Mail.Send")], (400, "invalid_scope", 70_011)),
    ] {
        let got = post(&url, form).await;
        let (status, error) = got.said();
        assert_eq!((status, error, got.code()), expected, "{form:?}: {}", got.body);
    }
    let nowhere = format!("{}/contoso.example/oauth2/v2.0/token", emulator.authority());
    let form = [REFRESH, TOKEN, CLIENT, SECRET];
    assert_eq!(post(&nowhere, &form).await.code(), 90_002);
    emulator.add_tenant("contoso.example");
    assert_eq!(post(&nowhere, &form).await.status, 200);
    // Without `offline_access` there is no other refresh token.
    let scoped = [REFRESH, TOKEN, CLIENT, SECRET, ("scope", "User.Read")];
    assert_eq!(post(&url, &scoped).await.body.get("refresh_token"), None);
    emulator.revoke_account(ACCOUNT);
    assert_eq!(post(&url, &form).await.code(), 50_173);
}

#[tokio::test]
async fn a_fault_that_is_ordered_is_said_in_the_endpoints_words() {
    let (emulator, url) = graph().await;
    let refusal = Refusal::api(400, "interaction_required", "AADSTS50076: Due to a change …");
    let refuse = Fault::Refuse(Moment::BeforeApplying, refusal);
    emulator.order(Rule::next(1, refuse).verb(Verb::Token));
    let form = [REFRESH, TOKEN, CLIENT, SECRET];
    let got = post(&url, &form).await;
    assert_eq!((got.said(), got.code()), ((400, "interaction_required"), 50_076));
    assert_eq!(post(&url, &form).await.status, 200);
    let tokens = emulator.calls().list.iter().filter(|call| call.verb == Verb::Token).count();
    assert_eq!(tokens, 2);
}
