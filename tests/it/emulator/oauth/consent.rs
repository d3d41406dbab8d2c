//! The emulators' authorisation endpoints, and what their codes are turned into, through real HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use calendar_sync::emulator::{Consent, MicrosoftEmulator, Oddity, Person, Verb, microsoft};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use url::Url;

use super::{Google, Got, client, send};
use crate::emulator::{ACCOUNT, HandClock, at};

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const BACK: &str = "https://app.example/back";
const EVENTS: &str = "https://www.googleapis.com/auth/calendar.events";
const LIST: &str = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";
const DIRECTORY: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn asked(scope: &str) -> Pairs<'_> {
    vec![
        ("client_id", "us"),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", scope),
        ("state", "of & ours"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// The same, with this in the place of what has its name; an empty value leaves it out.
fn with<'a>(mut pairs: Pairs<'a>, name: &'a str, value: &'a str) -> Pairs<'a> {
    pairs.retain(|(other, _)| *other != name);
    if !value.is_empty() {
        pairs.push((name, value));
    }
    pairs
}

/// What a browser is answered.
struct Seen {
    status: u16,
    to: Option<Url>,
}

impl Seen {
    fn pair(&self, name: &str) -> Option<String> {
        let mut pairs = self.to.as_ref()?.query_pairs();
        pairs.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    }

    #[track_caller]
    fn code(&self) -> String {
        self.pair("code").unwrap_or_else(|| panic!("{} {:?}", self.status, self.to))
    }
}

#[expect(clippy::disallowed_methods, reason = "this test is a browser")]
async fn browse(endpoint: &str, pairs: &[(&str, &str)]) -> Seen {
    let browser = reqwest::Client::builder().no_proxy();
    let browser = browser.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let url = Url::parse_with_params(endpoint, pairs).expect("it is a URL");
    let answer = browser.get(url).timeout(Duration::from_secs(20)).send().await;
    let answer = answer.expect("an answer");
    let to =
        answer.headers().get("location").and_then(|it| it.to_str().ok()).map(ToOwned::to_owned);
    Seen { status: answer.status().as_u16(), to: to.and_then(|to| Url::parse(&to).ok()) }
}

async fn post(url: &str, form: &[(&str, &str)]) -> Got {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(form).finish();
    let kind = "application/x-www-form-urlencoded";
    send(client().post(url).header("content-type", kind).body(body)).await
}

fn exchange(code: &str) -> Pairs<'_> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("client_id", "us"),
        ("client_secret", "s3cret"),
    ]
}

/// The claims of an ID token.
fn claims(got: &Got) -> Value {
    let token = got.text("id_token");
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    let claims = BASE64URL_NOPAD.decode(parts[1].as_bytes()).expect("it is base64url");
    serde_json::from_slice(&claims).expect("it is JSON")
}

async fn google() -> Google {
    let google = Google::start().await;
    google.emulator.add_redirect("us", BACK);
    google.emulator.seat(Some(Person::new(ACCOUNT)));
    google
}

async fn browsed(google: &Google, pairs: &[(&str, &str)]) -> Seen {
    browse(&google.emulator.auth_url(), pairs).await
}

async fn exchanged(google: &Google, form: &[(&str, &str)]) -> Got {
    post(&google.emulator.token_url(), form).await
}

#[tokio::test]
async fn google_sends_back_a_code_that_is_turned_into_tokens_once() {
    let google = google().await;
    let scope = format!("openid email {EVENTS}");
    let seen = browsed(&google, &with(asked(&scope), "access_type", "offline")).await;
    assert_eq!(seen.status, 302);
    assert!(seen.to.as_ref().is_some_and(|to| to.as_str().starts_with(BACK)));
    assert_eq!(seen.pair("state").as_deref(), Some("of & ours"));
    let code = seen.code();
    let got = exchanged(&google, &exchange(&code)).await;
    assert_eq!(got.status, 200, "{}", got.body);
    let email = "https://www.googleapis.com/auth/userinfo.email";
    assert_eq!(got.text("scope"), format!("openid {email} {EVENTS}"));
    assert_eq!(seen.pair("scope"), Some(got.text("scope")));
    let said = claims(&got);
    assert_eq!((&said["aud"], &said["nonce"]), (&"us".into(), &"n-1".into()));
    assert_eq!(said["sub"], google.emulator.subject_of(ACCOUNT));
    assert_eq!(said["email"], ACCOUNT);
    let (access, refresh) = (got.text("access_token"), got.text("refresh_token"));
    let renewal = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh),
        ("client_id", "us"),
        ("client_secret", "s3cret"),
    ];
    assert_eq!(exchanged(&google, &renewal).await.status, 200);
    // Used twice: somebody else has had it, and nothing of it is good any more (RFC 6749 §4.1.2).
    assert_eq!(exchanged(&google, &exchange(&code)).await.said(), (400, "invalid_grant"));
    assert_eq!(google.opens(&access).await, 401);
    assert_eq!(exchanged(&google, &renewal).await.said(), (400, "invalid_grant"));
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_was_not_registered() {
    let google = google().await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("redirect_uri", "https://app.example/back/"),
        ("redirect_uri", "http://127.0.0.1:4000/"),
        ("redirect_uri", ""),
    ] {
        let seen = browsed(&google, &with(asked(EVENTS), name, value)).await;
        assert_eq!((seen.status, seen.to), (400, None), "{name} {value}");
    }
    let mut twice = asked(EVENTS);
    twice.push(("client_id", "us"));
    assert_eq!(browsed(&google, &twice).await.status, 400);
    google.emulator.set_desktop_client("us");
    let local = with(asked(EVENTS), "redirect_uri", "http://127.0.0.1:4000/");
    assert_eq!(browsed(&google, &local).await.status, 302);
    google.emulator.seat(None);
    let seen = browsed(&google, &local).await;
    assert_eq!((seen.status, seen.to), (200, None), "a page to sign in");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_sent_back_as_an_error_with_its_state() {
    let google = google().await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "", "invalid_request"),
        ("scope", "calendar.events", "invalid_scope"),
        ("access_type", "for ever", "invalid_request"),
        ("prompt", "none consent", "invalid_request"),
        ("prompt", "none", "interaction_required"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", VERIFIER, "none"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
    ] {
        let seen = browsed(&google, &with(asked(EVENTS), name, value)).await;
        assert_eq!(seen.status, 302, "{name} {value}");
        assert_eq!(seen.pair("state").as_deref(), Some("of & ours"));
        let said = seen.pair("error").unwrap_or_else(|| "none".to_owned());
        assert_eq!(said, error, "{name} {value}");
        assert_eq!(seen.pair("code").is_some(), error == "none");
    }
    google.emulator.seat(Some(Person::new(ACCOUNT).saying(Consent::Refused)));
    let seen = browsed(&google, &asked(EVENTS)).await;
    assert_eq!((seen.pair("error").as_deref(), seen.pair("code")), (Some("access_denied"), None));
}

#[tokio::test]
async fn a_code_is_good_for_its_client_its_address_its_verifier_and_ten_minutes() {
    let google = google().await;
    google.emulator.set_client("them", Some("theirs"));
    let code = browsed(&google, &asked(EVENTS)).await.code();
    let form = exchange(&code);
    let another = "a".repeat(43);
    for (form, expected) in [
        (with(form.clone(), "code", "unknown"), "invalid_grant"),
        (with(form.clone(), "code", ""), "invalid_request"),
        (with(form.clone(), "redirect_uri", "https://app.example/"), "redirect_uri_mismatch"),
        (with(form.clone(), "code_verifier", ""), "invalid_grant"),
        (with(form.clone(), "code_verifier", &another), "invalid_grant"),
        (with(form.clone(), "code_verifier", CHALLENGE), "invalid_grant"),
        (with(form.clone(), "client_secret", "other"), "invalid_client"),
        (with(with(form.clone(), "client_id", "them"), "client_secret", "theirs"), "invalid_grant"),
    ] {
        let got = exchanged(&google, &form).await;
        assert_eq!(got.body["error"], expected, "{form:?}: {}", got.body);
    }
    let got = exchanged(&google, &form).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(got.body.get("id_token"), None, "openid was not asked for");
    let late = browsed(&google, &asked(EVENTS)).await.code();
    google.clock.advance(Duration::from_mins(10));
    assert_eq!(exchanged(&google, &exchange(&late)).await.said(), (400, "invalid_grant"));
}

#[tokio::test]
async fn google_gives_a_refresh_token_for_the_first_consent_or_a_new_one() {
    let google = google().await;
    let tokens = async |pairs: Pairs<'_>| {
        let code = browsed(&google, &pairs).await.code();
        let got = exchanged(&google, &exchange(&code)).await;
        got.body.get("refresh_token").is_some()
    };
    let offline = || with(asked(EVENTS), "access_type", "offline");
    assert!(!tokens(asked(LIST)).await, "it was not asked for");
    google.emulator.revoke_account(ACCOUNT);
    assert!(tokens(offline()).await);
    assert!(!tokens(offline()).await, "there was consent before");
    assert!(tokens(with(offline(), "prompt", "consent")).await);
    google.emulator.set_desktop_client("us");
    assert!(tokens(asked(EVENTS)).await, "always to a program on somebody's own machine");
}

#[tokio::test]
async fn what_was_unticked_at_google_is_not_granted_and_opens_nothing() {
    let google = google().await;
    let unticked = vec![EVENTS.to_owned(), "openid".to_owned()];
    google.emulator.seat(Some(Person::new(ACCOUNT).saying(Consent::Without(unticked))));
    let scope = format!("openid {EVENTS} {LIST}");
    let seen = browsed(&google, &asked(&scope)).await;
    let got = exchanged(&google, &exchange(&seen.code())).await;
    assert_eq!(got.text("scope"), format!("openid {LIST}"));
    let token = got.text("access_token");
    let status = async |url: String| send(client().get(url).bearer_auth(&token)).await.status;
    let base = google.emulator.base_url();
    assert_eq!(status(format!("{base}/users/me/calendarList")).await, 200);
    assert_eq!(status(format!("{base}/calendars/primary")).await, 403);
    assert_eq!(status(format!("{base}/calendars/primary/events")).await, 403);
    let insert = client().post(format!("{base}/calendars/primary/events")).bearer_auth(&token);
    let refused = send(insert.body("{}")).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.body["error"]["errors"][0]["reason"], "insufficientPermissions");
    let known = send(client().get(google.emulator.user_info_url()).bearer_auth(&token)).await;
    assert_eq!(known.text("sub"), google.emulator.subject_of(ACCOUNT));
}

#[tokio::test]
async fn oddities_are_as_they_are_ordered() {
    let google = google().await;
    let scope = format!("openid {EVENTS}");
    let got = async |oddity| {
        let mut switches = google.emulator.oauth_switches();
        switches.oddities = [oddity].into();
        google.emulator.set_oauth_switches(switches);
        let pairs = with(asked(&scope), "access_type", "offline");
        let seen = browsed(&google, &with(pairs, "prompt", "consent")).await;
        (seen.pair("state"), exchanged(&google, &exchange(&seen.code())).await)
    };
    let now = at(8).timestamp();
    assert_eq!(got(Oddity::WrongState).await.0.as_deref(), Some("another state"));
    assert_eq!(got(Oddity::NoRefreshToken).await.1.body.get("refresh_token"), None);
    assert_eq!(got(Oddity::NoIdToken).await.1.body.get("id_token"), None);
    assert_ne!(claims(&got(Oddity::WrongNonce).await.1)["nonce"], "n-1");
    assert_eq!(claims(&got(Oddity::NoNonce).await.1).get("nonce"), None);
    assert_ne!(claims(&got(Oddity::WrongAudience).await.1)["aud"], "us");
    assert_eq!(claims(&got(Oddity::WrongIssuer).await.1)["iss"], "https://issuer.example");
    assert!(claims(&got(Oddity::ExpiredIdToken).await.1)["exp"].as_i64().expect("a time") < now);
    assert_eq!(got(Oddity::BrokenIdToken).await.1.text("id_token"), "no.token");
}

/// A mailbox of somebody of an organisation, and us.
async fn graph() -> (MicrosoftEmulator, Arc<HandClock>) {
    let clock = Arc::new(HandClock(Mutex::new(at(8))));
    let options = microsoft::Options::strict(clock.clone());
    let emulator = MicrosoftEmulator::start(options).await.expect("a port is free");
    emulator.add_account("of-before", ACCOUNT);
    emulator.set_client("us", Some("s3cret"));
    emulator.add_redirect("us", BACK);
    emulator.add_tenant(DIRECTORY);
    emulator.seat(Some(Person::new(ACCOUNT).of(DIRECTORY)));
    (emulator, clock)
}

fn endpoint(emulator: &MicrosoftEmulator, tenant: &str, name: &str) -> String {
    format!("{}/{tenant}/oauth2/v2.0/{name}", emulator.authority())
}

#[tokio::test]
async fn microsoft_says_who_it_is_by_an_id_that_stays_and_renews_if_it_was_asked_to() {
    let (emulator, _) = graph().await;
    let (authorize, token) =
        (endpoint(&emulator, "common", "authorize"), endpoint(&emulator, "common", "token"));
    let scope = "openid profile offline_access https://graph.microsoft.com/Calendars.ReadWrite";
    let code = browse(&authorize, &asked(scope)).await.code();
    let got = post(&token, &exchange(&code)).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(got.text("scope"), "openid profile https://graph.microsoft.com/Calendars.ReadWrite");
    assert!(!got.text("refresh_token").is_empty());
    let said = claims(&got);
    assert_eq!((&said["tid"], &said["nonce"]), (&DIRECTORY.into(), &"n-1".into()));
    assert_eq!(said["oid"], emulator.subject_of(ACCOUNT));
    assert_eq!(said["iss"], format!("{}/{DIRECTORY}/v2.0", emulator.authority()));
    assert_ne!(said["sub"], said["oid"], "the subject is another for each application");
    let me = format!("{}/me/calendars", emulator.base_url());
    let listed = send(client().get(&me).bearer_auth(got.text("access_token"))).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    // Once, and not without `offline_access`.
    let again = post(&token, &exchange(&code)).await;
    assert_eq!((again.said(), again.code()), ((400, "invalid_grant"), 54_005));
    let listed = send(client().get(&me).bearer_auth(got.text("access_token"))).await;
    assert_eq!(listed.status, 401, "the code was used twice");
    let code = browse(&authorize, &asked("openid User.Read")).await.code();
    let got = post(&token, &exchange(&code)).await;
    assert_eq!(got.body.get("refresh_token"), None);
    assert_eq!(claims(&got).get("oid"), None, "it needs the scope profile");
    let listed = send(client().get(&me).bearer_auth(got.text("access_token"))).await;
    assert_eq!(listed.body["error"]["code"], "ErrorAccessDenied");
}

#[tokio::test]
async fn microsoft_lets_nobody_in_at_anothers_tenant() {
    let (emulator, _) = graph().await;
    let scope = "Calendars.ReadWrite";
    for (tenant, status) in [
        ("common", 302),
        ("organizations", 302),
        ("consumers", 400),
        (DIRECTORY, 302),
        ("unknown.example", 400),
    ] {
        let seen = browse(&endpoint(&emulator, tenant, "authorize"), &asked(scope)).await;
        assert_eq!(seen.status, status, "{tenant}");
    }
    let authorize = endpoint(&emulator, DIRECTORY, "authorize");
    let code = browse(&authorize, &asked(scope)).await.code();
    let elsewhere = post(&endpoint(&emulator, "common", "token"), &exchange(&code)).await;
    assert_eq!(elsewhere.said(), (400, "invalid_grant"));
    let there = post(&endpoint(&emulator, DIRECTORY, "token"), &exchange(&code)).await;
    assert_eq!(there.status, 200, "{}", there.body);
    emulator.seat(Some(Person::new(ACCOUNT)));
    assert_eq!(browse(&authorize, &asked(scope)).await.status, 400, "an account of one's own");
    let seen = browse(&endpoint(&emulator, "consumers", "authorize"), &asked(scope)).await;
    assert_eq!(seen.status, 302);
    emulator.add_redirect("us", "http://localhost");
    let local = with(asked(scope), "redirect_uri", "http://localhost:4000/");
    let seen = browse(&endpoint(&emulator, "common", "authorize"), &local).await;
    assert!(seen.to.is_some_and(|to| to.port() == Some(4000)));
}

#[tokio::test]
async fn a_device_waits_until_somebody_has_entered_its_code() {
    let (emulator, clock) = graph().await;
    emulator.set_client("headless", None);
    let start = endpoint(&emulator, "organizations", "devicecode");
    let asked = [("client_id", "headless"), ("scope", "offline_access Calendars.ReadWrite")];
    let got = post(&start, &asked).await;
    assert_eq!((got.status, &got.body["interval"]), (200, &5.into()));
    let (device, user) = (got.text("device_code"), got.text("user_code"));
    assert_eq!(emulator.user_codes(), std::slice::from_ref(&user));
    let token = endpoint(&emulator, "organizations", "token");
    let poll = async |device: &str| {
        let form = [("grant_type", DEVICE), ("device_code", device), ("client_id", "headless")];
        post(&token, &form).await
    };
    assert_eq!(poll(&device).await.said(), (400, "authorization_pending"));
    // Too early; from then on it is ten seconds (RFC 8628 §3.5).
    assert_eq!(poll(&device).await.said(), (400, "slow_down"));
    clock.advance(Duration::from_secs(9));
    assert_eq!(poll(&device).await.said(), (400, "slow_down"));
    clock.advance(Duration::from_secs(15));
    assert_eq!(poll(&device).await.said(), (400, "authorization_pending"));
    assert!(!emulator.enter_user_code("EMU", &Person::new(ACCOUNT).of(DIRECTORY)));
    assert!(emulator.enter_user_code(&user, &Person::new(ACCOUNT).of(DIRECTORY)));
    clock.advance(Duration::from_secs(15));
    let got = poll(&device).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert!(!got.text("refresh_token").is_empty());
    clock.advance(Duration::from_secs(15));
    assert_eq!(poll(&device).await.said(), (400, "invalid_grant"), "once");
    assert_eq!(poll("unknown").await.said(), (400, "bad_verification_code"));

    let refused = post(&start, &asked).await;
    let nobody = Person::new(ACCOUNT).of(DIRECTORY).saying(Consent::Refused);
    assert!(emulator.enter_user_code(&refused.text("user_code"), &nobody));
    let said = poll(&refused.text("device_code")).await;
    assert_eq!(said.said(), (400, "authorization_declined"));
    let late = post(&start, &asked).await.text("device_code");
    clock.advance(Duration::from_mins(15));
    assert_eq!(poll(&late).await.said(), (400, "expired_token"));
    let unknown = [("client_id", "headless"), ("scope", "Calendars.Everything")];
    assert_eq!(post(&start, &unknown).await.said(), (400, "invalid_scope"));
    let codes = emulator.calls().list.iter().filter(|call| call.verb == Verb::DeviceCode).count();
    assert_eq!(codes, 4);
}
