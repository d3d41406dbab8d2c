//! A Google calendar that a service account opens by leave of an organisation: connected by the command,
//! kept open by its key, parked when a person has to see to it.

use std::process::Output;

use booking::CalendarKind;
use calendar_sync::connection::{Delegated, Kept, Sealer};
use calendar_sync::emulator::{Fault, GoogleEmulator, Moment, Refusal, Rule, Verb};
use calendar_sync::store::{ConnectionRow, ConnectionState};
use data_encoding::BASE64;
use secrecy::{ExposeSecret as _, SecretBox};
use serde_json::Value;

use super::granted::{calls, counted, order, set_up};
use super::secrets::{dump, found_in};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::{Story, hour, provider};
use crate::end_to_end::world::{KEY, Parts, World, sealer, until};
use crate::settings::{ON_THIS_MACHINE, program, text};

const ROBOT: &str = "robot@project.iam.gserviceaccount.com";
const ADA: &str = "ada@example.com";
const EVENTS: &str = "https://www.googleapis.com/auth/calendar.events";
const LIST: &str = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";

/// An organisation that lets a service account act for its user, and a key of that.
struct Place {
    world: World,
    google: GoogleEmulator,
    key_file: String,
    said: String,
}

impl Place {
    async fn new(fact: &'static str) -> Self {
        let world = World::for_processes(Parts::Embedded, CalendarKind::Google, fact).await;
        let mut world = world.expect("it needs no service");
        set_up(&mut world);
        let Host::Google(google) = &world.host else { unreachable!("it was asked for") };
        let google = google.clone();
        google.add_account("of-before", ADA);
        let key_file = google.make_service_account_key(ROBOT);
        assert!(google.delegate(ROBOT, &[EVENTS, LIST, "openid"]));
        Self { world, google, key_file, said: String::new() }
    }

    fn key(&self, name: &str) -> String {
        let file: Value = serde_json::from_str(&self.key_file).expect("it is JSON");
        file[name].as_str().expect("a text").to_owned()
    }

    /// The command, with this file and these further arguments.
    fn add(&mut self, file: &str, further: &[&str]) -> Output {
        let place = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(place.path(), file).expect("it can be written");
        let path = place.path().to_str().expect("a path is a text");
        let (provider, base_url) = (provider(1).to_string(), self.google.base_url());
        let (token_url, user_info) = (self.google.token_url(), self.google.user_info_url());
        let add = ["connections", "add", "google-service-account", "--provider-id", &provider];
        let given = ["--key-file", path, "--base-url", &base_url, "--user-info-url", &user_info];
        let environment = [
            ("DATABASE_URL", self.world.url.as_deref().expect("others find it")),
            ("SECRETS_KEY", KEY),
            ("OAUTH_GOOGLE_TOKEN_URL", &token_url),
            ("LOG_LEVEL", "trace"),
            ON_THIS_MACHINE,
        ];
        let done = program(&[&add, &given[..], further].concat(), &environment, "");
        self.said.push_str(&(text(&done.stdout) + &text(&done.stderr)));
        done
    }

    fn connect(&mut self) {
        let file = self.key_file.clone();
        let done = self.add(&file, &["--user", ADA, "--calendar-id", "primary"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }

    /// Nothing is stored, and this is said.
    async fn refused(&mut self, file: &str, further: &[&str], words: &[&str]) {
        let done = self.add(file, further);
        assert!(!done.status.success());
        let said = text(&done.stderr);
        for word in words {
            assert!(said.contains(word), "{word} is not in {said}");
        }
        assert!(self.world.store.connections().await.expect("the store answers").is_empty());
    }

    async fn row(&self) -> ConnectionRow {
        let rows = self.world.store.connections().await.expect("the store answers");
        rows.into_iter().next().expect("it was connected").connection
    }

    async fn kept(&self, sealer: &Sealer) -> Delegated {
        let row = self.row().await;
        match sealer.open(row.id, &row.sealed).expect("it opens") {
            Kept::Delegated(delegated) => *delegated,
            Kept::Fixed(_) | Kept::Grant(_) => panic!("it was a key"),
        }
    }

    /// What was asked for is forgotten: it has to be asked for again.
    async fn lose_access(&self) {
        let row = self.row().await;
        let delegated = Delegated { access: None, ..self.kept(&sealer()).await };
        let dice = self.world.surroundings.dice.as_ref();
        let kept = Kept::Delegated(Box::new(delegated));
        let sealed = sealer().seal(row.id, &kept, dice).expect("it is sealed");
        let swapped = self.world.store.swap_credentials(row.id, &row.sealed, &sealed).await;
        assert!(swapped.expect("the store answers"), "nobody else changes them");
    }

    fn asked(&self) -> usize {
        calls(&self.world).iter().filter(|call| call.verb == Verb::Token).count()
    }

    async fn parked(&self) -> String {
        let worker = self.world.worker();
        until("it is parked", async || self.row().await.state == ConnectionState::Parked).await;
        worker.stop().await;
        self.row().await.parked_reason.expect("it says why")
    }

    fn starts(&self) -> Vec<chrono::DateTime<chrono::Utc>> {
        self.google.events(ADA).iter().map(|event| event.start).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_keeps_a_users_calendar_and_its_key_is_nowhere_to_be_seen() {
    let fact = "a_service_account_keeps_a_users_calendar_and_its_key_is_nowhere_to_be_seen";
    let mut place = Place::new(fact).await;
    place.connect();
    assert_eq!(place.row().await.subject, place.google.subject_of(ADA), "it stays");
    let kept = place.kept(&sealer()).await;
    assert_eq!((kept.user.as_str(), kept.scopes), (ADA, format!("{EVENTS} {LIST}")));
    assert_eq!(place.asked(), 2, "one for the calendar, one for the subject");
    let mut story = Story::of("a", provider(1));
    place.world.tell([story.created()]).await;
    place.world.drain().await;
    assert_eq!((place.starts(), place.asked()), (vec![hour(9)], 2));
    // Its access is over: another is asked for by the key, and kept.
    let former = kept.access.expect("it was asked for").token;
    assert!(place.google.revoke_token(former.expose_secret()));
    place.lose_access().await;
    place.world.tell([story.moved(11)]).await;
    place.world.drain().await;
    assert_eq!((place.starts(), place.asked()), (vec![hour(11)], 3));
    let renewed = place.kept(&sealer()).await.access.expect("it is kept");
    assert!(renewed.lifetime.is_some() && renewed.token.expose_secret() != former.expose_secret());

    let pem = place.key("private_key");
    let lines: Vec<_> = pem.lines().filter(|line| line.len() == 64).collect();
    assert!(lines.len() > 20, "it is a whole key");
    let said = [("what was said", place.said.clone().into_bytes())];
    for (where_, bytes) in dump(&place.world).await.into_iter().chain(said) {
        assert!(!bytes.is_empty(), "{where_} was looked into");
        assert!(lines.iter().all(|line| found_in(&bytes, line).is_none()), "it is in {where_}");
        assert_eq!(found_in(&bytes, renewed.token.expose_secret()), None, "in {where_}");
        assert_eq!(found_in(&bytes, "emulated-service"), None, "in {where_}");
    }
    place.world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_is_refused_before_it_is_stored() {
    let fact = "what_cannot_be_opened_is_refused_before_it_is_stored";
    let mut place = Place::new(fact).await;
    let (good, number) = (place.key_file.clone(), place.key("client_id"));
    let ada = ["--user", ADA, "--calendar-id", "primary"];
    place.google.delegate(ROBOT, &[]);
    let words = ["unauthorized_client", &number, EVENTS, LIST, "nothing is stored"];
    place.refused(&good, &ada, &words).await;
    place.google.delegate(ROBOT, &[EVENTS, LIST]);
    place.refused(&good, &ada, &["openid", "--subject"]).await;
    let nobody = ["--user", "nobody@example.com", "--calendar-id", "primary"];
    place.refused(&good, &nobody, &["user is not there"]).await;
    place.google.create_read_only_calendar(ADA, "team@group.example");
    let team = ["--user", ADA, "--calendar-id", "team@group.example"];
    place.refused(&good, &team, &["can only be read"]).await;
    let other = ["--user", ADA, "--calendar-id", "other@group.example"];
    place.refused(&good, &other, &["no calendar other@group.example", ADA]).await;
    let asked = place.asked();
    let mut file: Value = serde_json::from_str(&good).expect("it is JSON");
    file["token_uri"] = "https://evil.example/token".into();
    place.refused(&file.to_string(), &ada, &["https://evil.example/token"]).await;
    file["type"] = "authorized_user".into();
    place.refused(&file.to_string(), &ada, &["authorized_user"]).await;
    place.refused("{\"web\":{}}", &ada, &["client's secret"]).await;
    place.refused("no JSON", &ada, &["no key of a service account"]).await;
    assert_eq!(place.asked(), asked, "nothing was signed with it");
    let done = place.add(&good, &[&ada[..], &["--subject", "1137622"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(place.row().await.subject, "1137622");
    place.world.end().await;
}

/// L7: what is owed waits, and is there once the organisation has said yes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegation_that_is_withdrawn_parks_and_drains_once_it_is_granted_again() {
    let fact = "a_delegation_that_is_withdrawn_parks_and_drains_once_it_is_granted_again";
    let mut place = Place::new(fact).await;
    place.connect();
    place.lose_access().await;
    place.google.delegate(ROBOT, &[]);
    let mut story = Story::of("a", provider(1));
    place.world.tell([story.created()]).await;
    let (reason, number) = (place.parked().await, place.key("client_id"));
    assert!(reason.contains(&number) && reason.contains(EVENTS), "{reason}");
    assert!(reason.contains("domain-wide delegation"), "{reason}");
    assert_eq!(place.world.pending().await, 1, "it is owed");
    place.google.delegate(ROBOT, &[EVENTS, LIST, "openid"]);
    place.connect();
    place.world.drain().await;
    assert_eq!(place.starts(), [hour(9)]);
    // And a key that was deleted.
    place.lose_access().await;
    place.google.delete_service_account_keys(ROBOT);
    place.world.tell([story.moved(11)]).await;
    let (reason, key_id) = (place.parked().await, place.key("private_key_id"));
    assert!(reason.contains(&key_id) && reason.contains("deleted"), "{reason}");
    place.world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_parks_nobody() {
    let mut place = Place::new("a_clock_that_is_wrong_parks_nobody").await;
    place.connect();
    place.lose_access().await;
    let text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                timeframe. Check your iat and exp values in the JWT claim.";
    let refuse = Fault::Refuse(Moment::BeforeApplying, Refusal::api(400, "invalid_grant", text));
    let wrong = order(&place.world, Rule::always(refuse).verb(Verb::Token));
    let mut story = Story::of("a", provider(1));
    place.world.tell([story.created()]).await;
    let worker = place.world.worker();
    until("it was tried", async || place.row().await.renewal_failures > 0).await;
    let row = place.row().await;
    assert_eq!(row.state, ConnectionState::Active);
    assert!(row.renewal_error.is_some_and(|error| error.contains("clock")));
    assert!(
        counted(&place.world, "calendar_sync_token_refreshes_total{outcome=\"misconfigured\"}") > 0
    );
    wrong.withdraw();
    until("it is sent", async || place.starts() == [hour(9)]).await;
    worker.stop().await;
    place.world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_sealed_anew_as_it_is() {
    let mut place = Place::new("a_key_is_sealed_anew_as_it_is").await;
    place.connect();
    let (new, old) = (BASE64.encode(&[9; 32]), format!("1={KEY}"));
    let environment = [
        ("DATABASE_URL", place.world.url.as_deref().expect("others find it")),
        ("SECRETS_KEY", new.as_str()),
        ("SECRETS_KEY_ID", "2"),
        ("SECRETS_OLD_KEYS", old.as_str()),
        ("LOG_LEVEL", "warn,sqlx=error"),
    ];
    let done = program(&["connections", "reseal"], &environment, "");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let kept = place.kept(&Sealer::new("2", &SecretBox::new(Box::new([9; 32])))).await;
    assert_eq!(kept.key.private_key.expose_secret(), place.key("private_key"));
    assert!(kept.access.is_some());
    place.world.end().await;
}
