//! The real parts: a topic, a database, four CalDAV collections and four Google calendars, each
//! new and for this test alone, and eight providers connected to them.

use std::path::Path;
use std::sync::Arc;

use calendar_sync::cli::encode::read_line;
use calendar_sync::clock::{Clock, Dice as _, SystemClock, SystemDice};
use calendar_sync::emulator::{GoogleEmulator, Options};
use data_encoding::BASE64;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::{FutureProducer, FutureRecord};
use reqwest::Method;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use url::Url;
use uuid::Uuid;

use super::command::{Settings, run};
use super::history::{TITLE_TEMPLATE, UID_DOMAIN};
use crate::services::{self, CaldavServer};
use crate::settings::ON_THIS_MACHINE;

/// So many calendars of each kind.
pub(crate) const CALENDARS_OF_EACH: usize = 4;
pub(crate) const PARTITIONS: i32 = 6;

/// Where a provider's bookings go.
pub(crate) enum Place {
    /// The URL of a CalDAV collection.
    Caldav(String),
    /// The id of a calendar in the emulator.
    Google(String),
}

/// All of it.
pub(crate) struct World {
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) brokers: String,
    pub(crate) topic: String,
    pub(crate) radicale: CaldavServer,
    pub(crate) google: GoogleEmulator,
    pub(crate) providers: Vec<Uuid>,
    /// In the order of the providers.
    pub(crate) places: Vec<Place>,
    /// For looking into the database.
    pub(crate) pool: PgPool,
    server_url: String,
    database: String,
    producer: FutureProducer,
    client: reqwest::Client,
    /// What every process of the service is told.
    pub(crate) settings: Settings,
}

impl World {
    /// Makes it; `None` where a service is missing. Files go to `directory`.
    pub(crate) async fn make(test: &str, directory: &Path) -> Option<Self> {
        let brokers = services::kafka(test)?;
        let server_url = services::postgres(test)?;
        let radicale = services::radicale(test)?;
        let clock = Arc::new(SystemClock::start());
        let name = format!("kill_{}", SystemDice.token().simple());
        let google = GoogleEmulator::start(Options::strict(Arc::clone(&clock) as Arc<dyn Clock>));
        make_topic(&brokers, &name).await;
        on_server(&server_url, format!("CREATE DATABASE {name}")).await;
        let database_url = with_database(&server_url, &name);
        let looking = database_url.as_str().parse::<PgConnectOptions>().expect("it is an address");
        let looking = looking.options([("search_path", "calendar_sync, public")]);
        let pool = PgPoolOptions::new().max_connections(4).connect_with(looking).await;
        let mut world = Self {
            clock,
            google: google.await.expect("a port for the emulator"),
            providers: (0..2 * CALENDARS_OF_EACH).map(|_| SystemDice.token()).collect(),
            places: Vec::new(),
            pool: pool.expect("the new database answers"),
            producer: producer(&brokers),
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            settings: settings(&brokers, &name, &database_url),
            topic: name.clone(),
            database: name,
            brokers,
            server_url,
            radicale,
        };
        run(&world.settings, &["migrate"], None).await;
        for number in 0..CALENDARS_OF_EACH {
            world.connect_caldav(number).await;
        }
        for number in 0..CALENDARS_OF_EACH {
            world.connect_google(number, directory).await;
        }
        Some(world)
    }

    async fn connect_caldav(&mut self, number: usize) {
        let CaldavServer { url, user, password } = &self.radicale;
        let collection = format!("{url}/{user}/{}-{number}/", self.topic);
        let provider = self.providers[self.places.len()].to_string();
        let (user, password) = (user.clone(), password.clone());
        let (status, _) = self.dav("MKCALENDAR", &collection, &[], "").await;
        assert_eq!(status, 201, "MKCALENDAR");
        let account = ["--username", &user, "--password-stdin"];
        let place = ["--provider-id", &provider, "--calendar-url", &collection];
        let add = [&["connections", "add", "caldav"][..], &place, &account].concat();
        run(&self.settings, &add, Some(&password)).await;
        self.places.push(Place::Caldav(collection));
    }

    async fn connect_google(&mut self, number: usize, directory: &Path) {
        let calendar = format!("host-{number}@example.com");
        let token = SystemDice.token().to_string();
        self.google.add_account(&token, &calendar);
        let file = directory.join(format!("token-{number}"));
        std::fs::write(&file, &token).expect("a file for a token");
        let file = file.to_str().expect("a path in UTF-8");
        let provider = self.providers[self.places.len()].to_string();
        let (subject, base_url) = (format!("subject-{number}"), self.google.base_url());
        let account = ["--subject", &subject, "--token-file", file, "--base-url", &base_url];
        let place = ["--provider-id", &provider, "--calendar-id", &calendar];
        let add = [&["connections", "add", "google"][..], &place, &account].concat();
        run(&self.settings, &add, None).await;
        self.places.push(Place::Google(calendar));
    }

    /// Asks the CalDAV server: the status and the body.
    pub(crate) async fn dav(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> (u16, String) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = reqwest::Request::new(method, url.parse().expect("a URL"));
        let CaldavServer { user, password, .. } = &self.radicale;
        let basic = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
        request.headers_mut().insert("authorization", basic.parse().expect("a header"));
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        *request.body_mut() = Some(body.to_owned().into());
        let answer = self.client.execute(request).await.expect("Radicale answers");
        (answer.status().as_u16(), answer.text().await.expect("a whole answer"))
    }

    /// Publishes lines as the booking application would, and awaits their delivery.
    pub(crate) async fn publish(&self, lines: &[Value]) {
        let mut deliveries = Vec::with_capacity(lines.len());
        for line in lines {
            let read = read_line(line.to_string().as_bytes(), &SystemDice);
            let (event, bytes) = read.expect("the history holds events");
            let record = FutureRecord::to(&self.topic).key(event.booking.as_str()).payload(&bytes);
            let sent = self.producer.send_result(record).map_err(|(error, _)| error);
            deliveries.push(sent.expect("room in the producer's queue"));
        }
        for delivery in deliveries {
            let delivered = delivery.await.expect("the producer lives");
            delivered.map_err(|(error, _)| error).expect("Kafka takes a record");
        }
    }

    /// Looks at the topic, beside the service.
    pub(crate) fn onlooker(&self) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).create().expect("a consumer")
    }

    /// How many effects are owed.
    pub(crate) async fn owed(&self) -> i64 {
        let owed = sqlx::query_scalar("SELECT count(*) FROM effects WHERE due");
        owed.fetch_one(&self.pool).await.expect("a number")
    }

    /// Takes it all away again.
    pub(crate) async fn clear(self) {
        for place in &self.places {
            match place {
                Place::Caldav(url) => drop(self.dav("DELETE", url, &[], "").await),
                Place::Google(_) => {}
            }
        }
        self.google.stop().await;
        self.pool.close().await;
        let drop_database = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        on_server(&self.server_url, drop_database).await;
        let answer = admin(&self.brokers).delete_topics(&[&self.topic], &AdminOptions::new()).await;
        drop(answer.expect("Kafka answers"));
    }
}

/// What every process is told: short waits, small batches, nothing inherited.
fn settings(brokers: &str, name: &str, database_url: &Url) -> Settings {
    let key = [SystemDice.token().into_bytes(), SystemDice.token().into_bytes()].concat();
    let key = BASE64.encode(&key);
    let given = [
        ("DATABASE_URL", database_url.as_str()),
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_TOPIC", name),
        ("KAFKA_GROUP", name),
        ("KAFKA_SESSION_TIMEOUT_MS", "6000"),
        ("KAFKA_PROPERTIES_HEARTBEAT_INTERVAL_MS", "500"),
        ("INGEST_BATCH_MAX", "100"),
        ("INGEST_LINGER_MS", "10"),
        ("CALENDAR_SYNC_ENABLED", "true"),
        ("EMIT_LANE_CONCURRENCY", "2"),
        ("EMIT_CLAIM_BATCH", "16"),
        ("EMIT_LEASE_S", "8"),
        ("EMIT_CALL_TIMEOUT_S", "3"),
        ("EMIT_CONNECT_TIMEOUT_S", "2"),
        ("EMIT_IDLE_MS", "50"),
        ("EMIT_BACKOFF_MIN_MS", "50"),
        ("EMIT_BACKOFF_MAX_S", "1"),
        ("EMIT_VERIFY_AFTER_S", "5"),
        ("CONTENT_UID_DOMAIN", UID_DOMAIN),
        ("CONTENT_TITLE", TITLE_TEMPLATE),
        ("SECRETS_KEY", &key),
        ON_THIS_MACHINE,
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("SHUTDOWN_DEADLINE_S", "15"),
        ("LOG_LEVEL", "info,calendar_sync::emit=debug"),
    ];
    given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn with_database(server_url: &str, name: &str) -> Url {
    let mut url = Url::parse(server_url).expect("TEST_POSTGRES_URL is a URL");
    url.set_path(name);
    url
}

async fn on_server(url: &str, statement: String) {
    let mut session = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&mut session).await.expect("a statement");
    session.close().await.expect("it closes");
}

fn producer(brokers: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "1")
        .create()
        .expect("a producer")
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client")
}

async fn make_topic(brokers: &str, topic: &str) {
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin(brokers).create_topics([&new], &AdminOptions::new()).await;
    for result in made.expect("Kafka answers") {
        result.expect("a new topic");
    }
}
