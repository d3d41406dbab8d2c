//! A leaked database, log or metric gives no credential: the service's own program adds accounts, works,
//! renews, is refused and parks, and each secret is looked for in all that it has left.

use std::path::Path;
use std::time::Duration;

use booking::CalendarKind;
use calendar_sync::cli::encode::encode;
use calendar_sync::emulator::GoogleEmulator;
use calendar_sync::store::ConnectionState;
use rdkafka::producer::FutureRecord;
use sqlx::Connection as _;

use super::followed::{OPENER, PUBLIC, follow};
use super::granted::{CLIENT, SECRET, renewals, set_up};
use crate::broker::Broker;
use crate::end_to_end::host::Host;
use crate::end_to_end::story::{Story, hour, provider};
use crate::end_to_end::world::{PATIENCE, Parts, World, until};
use crate::process::Worker;
use crate::settings::{KEY, ON_THIS_MACHINE, program, text};

const ACCESS: &str = "access-token-never-to-be-seen";
const REFRESH: &str = "refresh-token-never-to-be-seen";
const PASSWORD: &str = "password-never-to-be-seen";

/// What every token of the emulator's own making holds.
const EMULATED: &str = "emulated-client";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_left_in_a_file_a_log_or_a_metric() {
    nothing_is_left(Parts::Embedded, "no_secret_is_left_in_a_file_a_log_or_a_metric").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_left_in_a_dump_of_the_database() {
    nothing_is_left(Parts::Real, "no_secret_is_left_in_a_dump_of_the_database").await;
}

async fn nothing_is_left(parts: Parts, fact: &'static str) {
    let Some(mut world) = World::for_processes(parts, CalendarKind::Google, fact).await else {
        return;
    };
    let Some(broker) = Broker::of(&world) else { return };
    set_up(&mut world);
    let Host::Google(google) = &world.host else { unreachable!("it was asked for") };
    let google = google.clone();
    let account = "ada@example.com";
    google.add_account(ACCESS, account);
    google.grant(REFRESH, account, CLIENT);
    let topic = format!("bookings-{}", world.surroundings.dice.token().simple());
    broker.create(std::slice::from_ref(&topic), 1).await;

    let environment = environment(&world, &google, &broker.bootstrap, &topic);
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut said = add_accounts(&environment, &google, account);
    let worker = Worker::start(environment.iter().copied());
    let mut story = Story::of("a", provider(1));
    publish(&broker, &topic, story.created()).await;
    let id = connection(&world, CalendarKind::Google).await;
    until("it is sent", async || google.events(account).len() == 1).await;
    assert!(renewals(&world).len() == 1, "by new access");
    google.revoke_account(account);
    publish(&broker, &topic, story.moved(11)).await;
    until("it is parked", async || {
        let row = world.store.connection(id).await.expect("the store answers");
        row.is_some_and(|row| row.state == ConnectionState::Parked)
    })
    .await;
    let address = address(&worker);
    let of_a_link = follow(&address, &google, "bea@example.com").await;
    said.push_str(&metrics(&address).await);
    said.push_str(&answers(&environment));
    worker.terminate();
    let (status, log) = worker.ended(PATIENCE).await;
    assert!(status.success(), "{log}");
    assert!(log.contains("connection_parked") && log.contains("invalid_grant"), "{log}");
    assert_eq!(google.events(account)[0].start, hour(9), "what is owed waits");
    let places = [("what was said", said.into_bytes()), ("the log", log.into_bytes())];
    let dumped = dump(&world).await;
    let is_there = |(_, bytes): &(_, Vec<u8>)| found_in(bytes, account).is_some();
    assert!(dumped.iter().any(is_there), "what is no secret is found there");
    for (place, bytes) in places.into_iter().chain(dumped) {
        assert!(!bytes.is_empty(), "{place} was looked into");
        let known = [ACCESS, REFRESH, PASSWORD, SECRET, EMULATED, KEY, OPENER];
        for secret in known.into_iter().chain(of_a_link.iter().map(String::as_str)) {
            assert_eq!(found_in(&bytes, secret), None, "{secret} is in {place}");
        }
    }
    broker.end(&[topic]).await;
    world.end().await;
}

/// Where a secret stands in these bytes: as it is, in hex or in base64 at the start of a group.
pub(super) fn found_in(bytes: &[u8], secret: &str) -> Option<usize> {
    let forms = [
        secret.to_owned(),
        data_encoding::HEXLOWER.encode(secret.as_bytes()),
        data_encoding::BASE64_NOPAD.encode(&secret.as_bytes()[..secret.len() / 3 * 3]),
    ];
    forms
        .iter()
        .find_map(|form| bytes.windows(form.len()).position(|window| window == form.as_bytes()))
}

fn environment(
    world: &World,
    google: &GoogleEmulator,
    brokers: &str,
    topic: &str,
) -> Vec<(&'static str, String)> {
    [
        ("DATABASE_URL", world.url.as_deref().expect("others find it")),
        ("SECRETS_KEY", KEY),
        ("CALENDAR_SYNC_ENABLED", "true"),
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_TOPIC", topic),
        ("KAFKA_GROUP", topic),
        ("INGEST_LINGER_MS", "0"),
        ("EMIT_IDLE_MS", "20"),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("OAUTH_GOOGLE_CLIENT_ID", CLIENT),
        ("OAUTH_GOOGLE_CLIENT_SECRET", SECRET),
        ("OAUTH_GOOGLE_TOKEN_URL", &google.token_url()),
        ("OAUTH_GOOGLE_AUTHORIZE_URL", &google.auth_url()),
        ("OAUTH_GOOGLE_API_URL", &google.base_url()),
        ("CONNECT_PUBLIC_URL", PUBLIC),
        ("OPS_ADMIN_TOKEN", OPENER),
        // All that anything says, of every library.
        ("LOG_LEVEL", "trace"),
        ("LOG_FORMAT", "json"),
        ON_THIS_MACHINE,
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// A grant whose access has expired, imported; and a CalDAV calendar. Answers all that was said.
fn add_accounts(environment: &[(&str, &str)], google: &GoogleEmulator, account: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), format!("{REFRESH}\n")).expect("it can be written");
    let path = file.path().to_str().expect("a path is a text").to_owned();
    let (one, two) = (provider(1).to_string(), provider(2).to_string());
    let base_url = google.base_url();
    let add = |arguments: &[&str], secret: (&str, &str)| {
        let environment: Vec<_> = environment.iter().copied().chain([secret]).collect();
        let done = program(&[&["connections", "add"], arguments].concat(), &environment, "");
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stdout) + &text(&done.stderr)
    };
    let google = add(
        &[
            "google",
            "--provider-id",
            &one,
            "--calendar-id",
            account,
            "--subject",
            account,
            "--base-url",
            &base_url,
            "--refresh-token-file",
            &path,
            "--token-expires-at",
            "2026-01-01T00:00:00Z",
        ],
        ("CALENDAR_SYNC_TOKEN", ACCESS),
    );
    let caldav = add(
        &[
            "caldav",
            "--provider-id",
            &two,
            "--calendar-url",
            "http://127.0.0.1:1/anna/",
            "--username",
            "anna",
        ],
        ("CALENDAR_SYNC_PASSWORD", PASSWORD),
    );
    google + &caldav
}

async fn connection(world: &World, kind: CalendarKind) -> booking::ConnectionId {
    let rows = world.store.connections().await.expect("the store answers");
    let found = rows.into_iter().find(|row| row.connection.kind == kind);
    found.expect("it was added").connection.id
}

async fn publish(broker: &Broker, topic: &str, event: calendar_sync::cli::encode::OutgoingEvent) {
    let payload = encode(&event);
    let record = FutureRecord::to(topic).key(event.booking.as_str()).payload(&payload);
    broker.producer.send(record, PATIENCE).await.expect("the broker takes a record");
}

/// Where the worker serves.
fn address(worker: &Worker) -> String {
    let log = worker.logged();
    let address = log.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next());
    address.expect("it says where it serves").to_owned()
}

/// What the worker's port says, in both formats.
#[expect(clippy::disallowed_methods, reason = "this is the operator's own client")]
async fn metrics(address: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut said = String::new();
    for path in ["/metrics", "/api/ops/metrics/calendar"] {
        let url = format!("http://{address}{path}");
        let answer = client.get(url).timeout(Duration::from_secs(20)).send().await;
        said.push_str(&answer.expect("an answer").text().await.expect("a text"));
    }
    assert!(said.contains("calendar_sync_token_refreshes_total{outcome=\"refused\"} 1"), "{said}");
    said
}

/// What commands say about accounts and settings.
fn answers(environment: &[(&str, &str)]) -> String {
    let commands: [&[&str]; 3] =
        [&["connections", "list"], &["connections", "list", "--json"], &["config", "check"]];
    let mut said = String::new();
    for arguments in commands {
        let done = program(arguments, environment, "");
        assert!(done.status.success(), "{}", text(&done.stderr));
        said.push_str(&(text(&done.stdout) + &text(&done.stderr)));
    }
    assert!(said.contains("invalid_grant"), "{said}");
    said
}

/// All that the database holds: its files, or every row of every table.
pub(super) async fn dump(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    const TABLES: &str = "
        SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
         WHERE schemaname IN ('public', 'calendar_sync')";
    let url = world.url.as_deref().expect("others find it");
    if let Some(path) = url.strip_prefix("sqlite:") {
        let read = |end: &str| std::fs::read(Path::new(&format!("{path}{end}"))).ok();
        let wal = read("-wal").filter(|bytes| !bytes.is_empty());
        let file = read("").expect("the database's file can be read");
        return [("the file", Some(file)), ("the log of the file", wal)]
            .into_iter()
            .filter_map(|(place, bytes)| Some((place, bytes?)))
            .collect();
    }
    let mut database = sqlx::PgConnection::connect(url).await.expect("PostgreSQL answers");
    let tables: Vec<String> =
        sqlx::query_scalar(TABLES).fetch_all(&mut database).await.expect("there are tables");
    let mut dumped = Vec::new();
    for table in tables {
        let rows = format!("SELECT t::text FROM {table} AS t");
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
            .fetch_all(&mut database)
            .await
            .expect("a table is read");
        dumped.extend(rows.concat().into_bytes());
    }
    vec![("the tables", dumped)]
}
