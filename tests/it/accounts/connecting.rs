//! `connections connect google|microsoft`: the program itself, an owner's browser that is played, and the
//! authorisation servers of the emulators.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;

use calendar_sync::clock::{Surroundings, SystemClock};
use calendar_sync::config::OauthClient;
use calendar_sync::connection::returned::returned;
use calendar_sync::connection::{ConnectError, Connecting, Issuer, Kept, Sealer};
use calendar_sync::emulator::microsoft::Options as GraphOptions;
use calendar_sync::emulator::{
    Consent, GoogleEmulator, MicrosoftEmulator, OauthSwitches, Oddity, Options, Person,
};
use calendar_sync::store::ConnectionRow;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use url::Url;

use super::importing::Place;
use crate::end_to_end::world::{KEY, client, settings};
use crate::settings::{ON_THIS_MACHINE, PROVIDER, text};

pub(super) const ANNA: &str = "anna@example.com";
const EVE: &str = "eve@example.com";
pub(super) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub(super) const CLIENT_SECRET: &str = "s3cret-of-ours";

/// Both authorisation servers, and a database.
pub(super) struct Scene {
    place: Place,
    google: GoogleEmulator,
    pub(super) graph: MicrosoftEmulator,
}

/// How the program ended.
pub(super) struct Ended {
    pub(super) status: Option<i32>,
    pub(super) said: String,
}

impl Scene {
    pub(super) async fn new(fact: &'static str) -> Self {
        let clock = || Arc::new(SystemClock::start());
        let google = GoogleEmulator::start(Options::strict(clock())).await.expect("a port is free");
        let graph = MicrosoftEmulator::start(GraphOptions::strict(clock())).await;
        let graph = graph.expect("a port is free");
        google.set_client("us", Some(CLIENT_SECRET));
        google.set_desktop_client("us");
        graph.set_client("us", Some(CLIENT_SECRET));
        graph.add_redirect("us", "http://localhost");
        for account in [ANNA, EVE] {
            google.add_account(account, account);
            graph.add_account(account, account);
        }
        let scene = Self { place: Place::new(fact).await, google, graph };
        scene.seat(ANNA, Consent::All);
        scene
    }

    fn seat(&self, account: &str, consent: Consent) {
        let person = Person::new(account).saying(consent);
        self.google.seat(Some(person.clone()));
        self.graph.seat(Some(person.of(TENANT)));
    }

    fn odd(&self, oddities: &[Oddity]) {
        let odd = |switches: OauthSwitches| {
            let oddities = oddities.iter().copied().collect();
            OauthSwitches { oddities, ..switches }
        };
        self.google.set_oauth_switches(odd(self.google.oauth_switches()));
        self.graph.set_oauth_switches(odd(self.graph.oauth_switches()));
    }

    pub(super) fn start(&self, arguments: &[&str], secret: &str) -> Child {
        let url = self.place.0.url.as_deref().expect("others find it");
        let graph = format!("{}/me", self.graph.base_url());
        Command::new(env!("CARGO_BIN_EXE_calendar-sync"))
            .args(["connections", "connect"])
            .args(arguments)
            .arg("--json")
            .env_clear()
            .envs([("DATABASE_URL", url), ("SECRETS_KEY", KEY), ON_THIS_MACHINE])
            .envs([("LOG_LEVEL", "debug,sqlx=error"), ("OAUTH_GOOGLE_CLIENT_ID", "us")])
            .envs([("OAUTH_GOOGLE_CLIENT_SECRET", secret), ("OAUTH_MICROSOFT_CLIENT_ID", "us")])
            .env("OAUTH_MICROSOFT_CLIENT_SECRET", secret)
            .env("OAUTH_GOOGLE_AUTHORIZE_URL", self.google.auth_url())
            .env("OAUTH_GOOGLE_TOKEN_URL", self.google.token_url())
            .env("OAUTH_GOOGLE_API_URL", self.google.base_url())
            .env("OAUTH_MICROSOFT_AUTHORITY", self.graph.authority())
            .env("OAUTH_MICROSOFT_API_URL", graph)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }

    /// Connects, with an owner who follows the link.
    async fn connect(&self, arguments: &[&str]) -> Ended {
        self.connect_as(arguments, CLIENT_SECRET).await
    }

    async fn connect_as(&self, arguments: &[&str], secret: &str) -> Ended {
        let mut child = self.start(arguments, secret);
        let (link, told) = link(&mut child);
        let back = back(&link).await;
        assert_eq!(visit(&back).await.0, 200);
        ended(child, told)
    }

    pub(super) async fn rows(&self) -> Vec<ConnectionRow> {
        let rows = self.place.0.store.connections().await.expect("the store answers");
        rows.into_iter().map(|counted| counted.connection).collect()
    }

    /// What is refused stores nothing, and says no secret.
    async fn refused(&self, arguments: &[&str], why: &str) {
        let ended = self.connect(arguments).await;
        assert_eq!(ended.status, Some(1), "{}", ended.said);
        assert!(ended.said.contains(why), "{why}: {}", ended.said);
        assert!(self.rows().await.is_empty());
    }

    pub(super) async fn end(self) {
        self.place.0.end().await;
    }
}

/// What it says to people.
pub(super) fn told_by(child: &mut Child) -> BufReader<ChildStderr> {
    BufReader::new(child.stderr.take().expect("it is a pipe"))
}

/// The link that the program tells; and the rest of what it says.
fn link(child: &mut Child) -> (Url, BufReader<ChildStderr>) {
    let mut told = told_by(child);
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert!(told.read_line(&mut line).expect("it is text") > 0, "no link came: {seen}");
        if line.starts_with("http") {
            return (line.trim().parse().expect("it is a link"), told);
        }
        seen.push_str(&line);
    }
}

/// Where the authorisation server sends the owner's browser.
async fn back(link: &Url) -> Url {
    let (status, location) = visit(link).await;
    assert_eq!(status, 302, "{link}");
    location.expect("there is a redirect").parse().expect("it is a URL")
}

async fn visit(url: &Url) -> (u16, Option<String>) {
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let request = reqwest::Request::new(reqwest::Method::GET, url.clone());
    let seen = browser.build().expect("a client").execute(request).await.expect("it answers");
    let location = seen.headers().get("location").map(|it| it.to_str().expect("text").to_owned());
    (seen.status().as_u16(), location)
}

/// Everything that it said, in which there is no secret of the connection.
pub(super) fn ended(child: Child, mut told: BufReader<ChildStderr>) -> Ended {
    let mut said = String::new();
    told.read_to_string(&mut said).expect("it is text");
    let output = child.wait_with_output().expect("the program ends");
    said.push_str(&text(&output.stdout));
    for secret in ["emulated", CLIENT_SECRET, "code=", "code_verifier"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    Ended { status: output.status.code(), said }
}

fn kept(row: &ConnectionRow) -> Kept {
    let sealer = Sealer::new("1", &SecretBox::new(Box::new([7; 32])));
    sealer.open(row.id, &row.sealed).expect("it opens")
}

const GOOGLE: [&str; 3] = ["google", "--provider-id", PROVIDER];
pub(super) const MICROSOFT: [&str; 3] = ["microsoft", "--provider-id", PROVIDER];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_agrees_is_connected_and_connected_again_as_the_same() {
    let scene =
        Scene::new("an_owner_who_agrees_is_connected_and_connected_again_as_the_same").await;
    let subjects = [scene.google.subject_of(ANNA), scene.graph.subject_of(ANNA)];
    for (arguments, subject) in [GOOGLE, MICROSOFT].iter().zip(subjects) {
        let ended = scene.connect(arguments).await;
        assert_eq!(ended.status, Some(0), "{}", ended.said);
        assert!(ended.said.contains("\"created\":true"), "{}", ended.said);
        let rows = scene.rows().await;
        let row = rows.iter().find(|row| row.subject == subject).expect("it was added");
        let Kept::Grant(grant) = kept(row) else { panic!("it is a grant") };
        assert!(grant.refresh_token.expose_secret().contains("emulated"));
        assert!(grant.access.is_some() && grant.scopes.is_some());
        // R17.
        let id = row.id.to_string();
        let again = [arguments[0], "--reconnect", &id];
        let ended = scene.connect(&again).await;
        assert_eq!(ended.status, Some(0), "{}", ended.said);
        assert!(ended.said.contains(&id) && ended.said.contains("\"created\":false"));
        scene.seat(EVE, Consent::All);
        let ended = scene.connect(&again).await;
        assert_eq!(ended.status, Some(1), "{}", ended.said);
        assert!(ended.said.contains("the connection is to the account"), "{}", ended.said);
        scene.seat(ANNA, Consent::All);
    }
    assert_eq!(scene.rows().await.len(), 2);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_does_not_grant_is_named_and_nothing_is_stored() {
    let scene = Scene::new("what_an_owner_does_not_grant_is_named_and_nothing_is_stored").await;
    scene.seat(ANNA, Consent::Refused);
    scene.refused(&GOOGLE, "did not agree (access_denied)").await;
    scene.refused(&MICROSOFT, "did not agree (access_denied)").await;
    let events = "https://www.googleapis.com/auth/calendar.events".to_owned();
    scene.seat(ANNA, Consent::Without(vec![events]));
    scene.refused(&GOOGLE, "lacks calendar.events").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_proves_nothing_connects_nobody() {
    let scene = Scene::new("an_answer_that_proves_nothing_connects_nobody").await;
    for (oddity, why) in [
        (Oddity::NoRefreshToken, "nothing to renew it by"),
        (Oddity::NoIdToken, "the ID token is none"),
        (Oddity::BrokenIdToken, "the ID token is none"),
        (Oddity::WrongNonce, "(nonce)"),
        (Oddity::NoNonce, "(nonce)"),
        (Oddity::WrongAudience, "(aud)"),
        (Oddity::WrongIssuer, "(iss)"),
        (Oddity::ExpiredIdToken, "(exp)"),
    ] {
        scene.odd(&[oddity]);
        scene.refused(&GOOGLE, why).await;
        scene.refused(&MICROSOFT, why).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_ours_to_mend() {
    let scene = Scene::new("a_wrong_client_secret_is_ours_to_mend").await;
    for (arguments, key) in [(GOOGLE, "oauth.google"), (MICROSOFT, "oauth.microsoft")] {
        let ended = scene.connect_as(&arguments, "another one").await;
        assert_eq!(ended.status, Some(1), "{}", ended.said);
        assert!(ended.said.contains(&format!("see to {key}.client_id")), "{}", ended.said);
    }
    assert!(scene.rows().await.is_empty());
    scene.end().await;
}

/// A favicon, another's state, another method's path: each is answered, and the owner is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strays_are_answered_and_the_owner_is_waited_for() {
    let scene = Scene::new("strays_are_answered_and_the_owner_is_waited_for").await;
    let mut child = scene.start(&GOOGLE, CLIENT_SECRET);
    let (link, told) = link(&mut child);
    scene.odd(&[Oddity::WrongState]);
    assert_eq!(visit(&back(&link).await).await.0, 400);
    scene.odd(&[]);
    let back = back(&link).await;
    let mut stray = back.clone();
    stray.set_query(Some("state=of-another&code=stolen"));
    assert_eq!(visit(&stray).await.0, 400);
    stray.set_query(None);
    assert_eq!(visit(&stray).await.0, 400);
    stray.set_path("/favicon.ico");
    assert_eq!(visit(&stray).await.0, 404);
    assert_eq!(visit(&back).await.0, 200);
    let ended = ended(child, told);
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calendar_that_is_only_read_is_refused_by_its_name() {
    let scene = Scene::new("a_calendar_that_is_only_read_is_refused_by_its_name").await;
    scene.google.create_read_only_calendar(ANNA, "holidays");
    for (id, why) in [("holidays", "can only read the calendar holidays"), ("x", "no calendar x")] {
        let arguments = [&GOOGLE[..], &["--calendar-id", id]].concat();
        scene.refused(&arguments, why).await;
    }
    scene.google.create_calendar(ANNA, "team");
    let ended = scene.connect(&GOOGLE).await;
    assert_eq!(ended.status, Some(2), "{}", ended.said);
    assert!(ended.said.contains("say with --calendar-id which one"), "{}", ended.said);
    let ended = scene.connect(&[&GOOGLE[..], &["--calendar-id", "team"]].concat()).await;
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    assert_eq!(scene.rows().await[0].calendar, "team");
    scene.end().await;
}

/// RFC 7636: whoever sees the browser come back can do nothing with what it brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_worth_nothing_without_its_verifier() {
    let scene = Scene::new("a_code_is_worth_nothing_without_its_verifier").await;
    let mut oauth = settings(&BTreeMap::new()).oauth;
    let url = |text: String| text.parse::<Url>().expect("it is a URL");
    let secret = Some(SecretString::from(CLIENT_SECRET));
    oauth.google = Some(OauthClient { id: "us".to_owned(), secret });
    oauth.google_authorize_url = url(scene.google.auth_url());
    oauth.google_token_url = url(scene.google.token_url());
    let surroundings = Surroundings::real();
    let connecting = Connecting::new(client(&surroundings), oauth, surroundings);
    let redirect = url("http://127.0.0.1:9".to_owned());
    for is_stolen in [true, false] {
        let begun = connecting.begin(&Issuer::Google, &redirect, "state").expect("it is begun");
        let back = back(&begun.url).await;
        let brought = returned(&Issuer::Google, back.query().expect("there is one"));
        let code = brought.expect("it is an answer").code.expect("there is a code");
        let other = SecretString::from("x".repeat(64));
        let verifier = if is_stolen { &other } else { &begun.verifier };
        let issuer = &Issuer::Google;
        let done = connecting.finish(issuer, &redirect, &code, verifier, &begun.nonce).await;
        match done {
            Err(ConnectError::Code { .. }) => assert!(is_stolen),
            Ok(connected) if !is_stolen => {
                assert_eq!(connected.subject, scene.google.subject_of(ANNA));
            }
            Ok(_) => panic!("a stolen code was taken"),
            Err(error) => panic!("{error}"),
        }
    }
    scene.end().await;
}
