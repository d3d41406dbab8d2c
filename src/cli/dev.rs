//! `dev`: the service with everything around it, kept up to be tried by hand.
//!
//! Whatever the settings do not name is brought along: an in-process broker, a database file, a
//! calendar behind Google's API. The booking service is a stand-in ([`bookings`]) on the same port
//! as the service's own endpoints, so that the runbook's commands run as they are written.

pub mod bookings;

mod paste;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use booking::ProviderId;
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::bookings::Desk;
use self::paste::Places;
use super::account::{Account, fresh_key};
use super::open::open_installation;
use super::out::Out;
use super::stop::{Signals, until_stopped};
use super::work::{Shared, listen, ops, sealer, work};
use crate::calendar::http::Networks;
use crate::clock::Surroundings;
use crate::config::{Backend, Given, KafkaSettings, Settings};
use crate::consumer::embedded::EmbeddedCluster;
use crate::emulator::{GoogleEmulator, Options};

/// Keeps the service up with a booking service to play with: prints the runbook's commands, ready
/// to be pasted.
///
/// Without settings it needs nothing: broker, database and calendar are part of this program, and
/// gone when it ends. `KAFKA_BROKERS` and `DATABASE_URL` put it on your own.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The provider whose calendar is connected
    #[arg(long, value_name = "UUID", default_value = PROVIDER)]
    provider_id: Uuid,
}

/// The provider of the printed commands.
const PROVIDER: &str = "5b1b9f0e-7a52-4d55-9d2e-0c9a1f3e8a01";
/// Whose calendar it is.
const ACCOUNT: &str = "host@example.com";
/// Of a topic that is not there yet.
const PARTITIONS: i32 = 4;
/// How long making the topic may take.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);

/// What is brought along.
struct Parts {
    broker: Option<EmbeddedCluster>,
    google: GoogleEmulator,
    dir: TempDir,
}

/// Serves until a signal.
///
/// # Errors
/// Where a part cannot be had, or the settings are wrong.
pub async fn run(
    args: DevArgs,
    given: &Given,
    surroundings: &Surroundings,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let (settings, parts) = settings_and_parts(given, surroundings).await?;
    crate::store::migrate(&settings.store).await.context("cannot prepare the database")?;
    let (store, installation) = open_installation(&settings, surroundings).await?;
    let producing: ClientConfig = settings.kafka.connection_properties().into_iter().collect();
    make_topic(&parts, &settings.kafka, &producing).await?;
    let calendar_token = surroundings.dice.token().simple().to_string();
    let connection = Account::emulated(&parts.google, ACCOUNT, &calendar_token).connection(
        ProviderId(args.provider_id),
        &installation,
        &settings,
        &sealer(&settings.secrets)?,
        &*surroundings.dice,
    )?;
    store.put_connection(&connection).await.context("cannot connect the calendar")?;

    let shared = Shared::new(surroundings);
    let listener = listen(&settings).await?;
    let ops = ops(&settings, &store, &installation, surroundings, &shared)?;
    let customer_token = surroundings.dice.token().simple().to_string();
    let tokens = Tokens { customer: customer_token.clone(), calendar: calendar_token };
    let url = format!("http://{}", listener.local_addr()?);
    let places = places(url, args.provider_id, &tokens, &settings, &parts);
    head(out, &settings, &parts, &places)?;
    let (made, mut bookings) = tokio::sync::mpsc::channel::<String>(64);
    let desk = Desk::new(
        producing,
        &settings.kafka.topic,
        SecretString::from(customer_token),
        surroundings,
        // Who reads the screen can do without one of many.
        move |id| drop(made.try_send(id.to_owned())),
    )?;
    let stop = CancellationToken::new();
    let deadline = settings.shutdown_deadline;
    let router = crate::ops::router(ops).merge(desk.router());
    let serving = crate::ops::serve(listener, router, stop.clone());
    let working = work(&settings, store, &installation, surroundings, shared, stop.clone());
    let telling = async {
        // Where nobody reads on, nobody is there to use it.
        let _ends_all = stop.clone().drop_guard();
        while let Some(Some(id)) = stop.run_until_cancelled(bookings.recv()).await {
            write!(out, "{}", places.then(&id))?;
            out.flush()?;
        }
        Ok::<(), std::io::Error>(())
    };
    let all = async {
        let (worked, (), told) = tokio::join!(working, serving, telling);
        told?;
        worked
    };
    until_stopped(Box::pin(all), &stop, async || signals.next().await, deadline).await?;
    parts.google.stop().await;
    drop(parts.broker);
    parts.dir.close().context("cannot remove what was brought along")
}

/// What opens what: made anew at each start.
struct Tokens {
    customer: String,
    calendar: String,
}

fn places(
    url: String,
    provider: Uuid,
    tokens: &Tokens,
    settings: &Settings,
    parts: &Parts,
) -> Places {
    let admin_token = settings.ops.admin_token.clone().unwrap_or_default();
    Places {
        url,
        customer_token: tokens.customer.clone(),
        admin_token: admin_token.expose_secret().to_owned(),
        provider,
        sql: sql(settings),
        calendar: format!(
            "curl \"{}/calendars/{ACCOUNT}/events\" -H \"Authorization: Bearer {}\"",
            parts.google.base_url(),
            tokens.calendar
        ),
        topic: format!(
            "kcat -b {} -t {} -C -e -f '%k %p:%o %S bytes\\n'",
            settings.kafka.brokers, settings.kafka.topic
        ),
    }
}

/// The settings, with what they do not name brought up.
async fn settings_and_parts(
    given: &Given,
    surroundings: &Surroundings,
) -> anyhow::Result<(Settings, Parts)> {
    let dir = tempfile::Builder::new()
        .prefix("calendar-sync-dev-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .context("cannot make a directory for what is brought along")?;
    let mut given = given.clone();
    let broker = if given.is_given("kafka.brokers") {
        None
    } else {
        let broker = EmbeddedCluster::start(1)?;
        given.fall_back("kafka.brokers", broker.bootstrap());
        given.fall_back("kafka.session_timeout_ms", "6000");
        Some(broker)
    };
    let file = format!("sqlite://{}", dir.path().join("calendar-sync.db").display());
    given.fall_back("store.url", &file);
    if !given.is_given("secrets.key_file") {
        given.fall_back("secrets.key", &fresh_key(&*surroundings.dice));
    }
    given.fall_back("emit.enabled", "true");
    given.fall_back("emit.idle_ms", "100");
    // The runbook's bookings are of its own time.
    given.fall_back("content.horizon", "2000-01-01T00:00:00Z");
    given.fall_back("ops.admin_token", &surroundings.dice.token().simple().to_string());
    let mut settings = Settings::parse(&given)?;
    settings.http.networks.allowed.extend(Networks::loopback());
    let google = GoogleEmulator::start(Options::strict(Arc::clone(&surroundings.clock)));
    let google = google.await.context("cannot start Google's emulator")?;
    Ok((settings, Parts { broker, google, dir }))
}

/// Makes the topic, if it is not there.
async fn make_topic(
    parts: &Parts,
    kafka: &KafkaSettings,
    properties: &ClientConfig,
) -> anyhow::Result<()> {
    if let Some(broker) = &parts.broker {
        return Ok(broker.create_topic(&kafka.topic, PARTITIONS)?);
    }
    let admin: AdminClient<DefaultClientContext> =
        properties.create().map_err(crate::consumer::without_value)?;
    let topic = NewTopic::new(&kafka.topic, PARTITIONS, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(TOPIC_TIMEOUT));
    let made = admin.create_topics([&topic], &options).await;
    let made = made.with_context(|| format!("cannot reach Kafka at {}", kafka.brokers))?;
    for result in made {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => anyhow::bail!("cannot make the topic {topic}: {error}"),
        }
    }
    Ok(())
}

/// What runs SQL on the database. A password is left to the environment (`PGPASSWORD`).
fn sql(settings: &Settings) -> String {
    let url = settings.store.url.expose_secret();
    match settings.store.backend {
        Backend::Sqlite => {
            let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
            format!("sqlite3 -header \"{path}\"")
        }
        Backend::Postgres => {
            let shown = url::Url::parse(url).ok().and_then(|mut url| {
                url.set_password(None).ok()?;
                let pairs = url.query_pairs().into_owned();
                let kept: Vec<(String, String)> =
                    pairs.filter(|(name, _)| name != "password").collect();
                url.set_query(None);
                if !kept.is_empty() {
                    url.query_pairs_mut().extend_pairs(kept);
                }
                Some(url.to_string())
            });
            format!("psql \"{}\" -c", shown.unwrap_or_default())
        }
    }
}

fn head(
    out: &mut Out<impl Write>,
    settings: &Settings,
    parts: &Parts,
    places: &Places,
) -> std::io::Result<()> {
    let own = |brought: bool| if brought { "in this process" } else { "your own" };
    let sqlite = settings.store.backend == Backend::Sqlite;
    writeln!(out, "calendar-sync dev: the service, and a booking service to play with\n")?;
    writeln!(out, "broker     {} ({})", settings.kafka.brokers, own(parts.broker.is_some()))?;
    writeln!(out, "topic      {}", settings.kafka.topic)?;
    writeln!(out, "database   {} …", places.sql)?;
    if sqlite && !settings.store.url.expose_secret().contains("calendar-sync-dev-") {
        writeln!(out, "           (your own)")?;
    }
    writeln!(out, "calendars  {} (Google's API, in this process)", parts.google.base_url())?;
    writeln!(out, "http       {}", places.url)?;
    writeln!(out, "provider   {}\n", places.provider)?;
    writeln!(out, "{}", places.first())?;
    writeln!(
        out,
        "# Ready. Each booking that is made is followed by the commands for it. Ctrl-C ends."
    )?;
    out.flush()
}
