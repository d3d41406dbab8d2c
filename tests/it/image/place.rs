//! A database, a topic and an account of a test's own, and the image's program among them.

use calendar_sync::clock::{Dice as _, SystemDice};
use data_encoding::BASE64;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use reqwest::Method;
use serde_json::json;

use super::rights::{self, Right};
use crate::exposition::Exposition;
use crate::process::Worker;
use crate::rehearsal::setting;
use crate::services::{self, CaldavServer, KafkaTls};
use crate::settings::{KEY, ON_THIS_MACHINE, PROVIDER, program_of, text};
use crate::store_contract::postgres::Database;
use crate::wait::PATIENCE;

const PARTITIONS: i32 = 3;

/// The variables of `deploy/`'s settings by which Kafka is spoken to, but for what differs from place to
/// place: its address, the authority's file and the password.
const OF_DEPLOY: [&str; 5] = [
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SESSION_TIMEOUT_MS",
    "KAFKA_PROPERTIES_HEARTBEAT_INTERVAL_MS",
];

/// All of it.
pub(super) struct Place {
    pub(super) kafka: KafkaTls,
    /// The address of Kafka's other listener.
    pub(super) plain: String,
    binary: String,
    radicale: CaldavServer,
    database: Database,
    topic: String,
    settings: Vec<(String, String)>,
    client: reqwest::Client,
}

impl Place {
    /// Takes back what is set for TLS and SASL.
    pub(super) const KAFKA_PLAIN: &[(&str, &str)] = &[
        ("KAFKA_SECURITY_PROTOCOL", "plaintext"),
        ("KAFKA_SASL_MECHANISM", ""),
        ("KAFKA_SASL_USERNAME", ""),
        ("KAFKA_SASL_PASSWORD", ""),
        ("KAFKA_SSL_CA_LOCATION", ""),
    ];

    /// Makes it, the database migrated by the program; `None` where something is missing.
    pub(super) async fn new(test: &str) -> Option<Self> {
        let binary = services::image_binary(test)?;
        let (kafka, plain) = (services::kafka_tls(test)?, services::kafka(test)?);
        let radicale = services::radicale(test)?;
        let database = Database::new(test).await?;
        assert_eq!(kafka.user, setting("KAFKA_SASL_USERNAME"), "the account of deploy/");
        let topic = format!("image-{}", SystemDice.token().simple());
        let of_deploy = OF_DEPLOY.map(|name| (name.to_owned(), setting(name)));
        let given = [
            ("DATABASE_URL", database.url.as_str()),
            ("KAFKA_BROKERS", &kafka.brokers),
            ("KAFKA_TOPIC", &topic),
            ("KAFKA_GROUP", &topic),
            ("KAFKA_SASL_PASSWORD", &kafka.password),
            ("KAFKA_SSL_CA_LOCATION", &kafka.authority),
            ("CALENDAR_SYNC_ENABLED", "true"),
            ("CONTENT_TITLE", "{service_name}"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("SECRETS_KEY", KEY),
            ON_THIS_MACHINE,
            ("LOG_LEVEL", "info,sqlx=error"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = of_deploy.into_iter().chain(given).collect();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let place = Self { kafka, plain, binary, radicale, database, topic, settings, client };
        place.create_topic().await;
        place.give(&rights::deployed()).await;
        place.done(&["migrate"], &[], "");
        Some(place)
    }

    /// Gives the account rights to the topic and its group.
    pub(super) async fn give(&self, rights: &[Right]) {
        rights::give(&self.plain, &self.kafka.user, &self.topic, rights).await;
    }

    async fn create_topic(&self) {
        let topic = NewTopic::new(&self.topic, PARTITIONS, TopicReplication::Fixed(1));
        let made = self.admin().create_topics([&topic], &AdminOptions::new()).await;
        assert!(made.expect("Kafka answers")[0].is_ok(), "a new topic");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.onlooker().create().expect("an admin client")
    }

    /// Who looks on, in plain.
    fn onlooker(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.plain);
        config
    }

    /// What the program is told; of a variable that is given twice, the latter holds.
    fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let ours = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        ours.chain(more.iter().copied()).collect()
    }

    /// Starts a worker.
    pub(super) fn start(&self, more: &[(&str, &str)]) -> Worker {
        Worker::start_of(&self.binary, self.environment(more))
    }

    /// Runs a command, which must end well; answers what it said.
    fn done(&self, arguments: &[&str], more: &[(&str, &str)], input: &str) -> String {
        let output = program_of(&self.binary, arguments, &self.environment(more), input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// `healthcheck`: its exit code, and all that it says.
    pub(super) fn health(&self, address: &str) -> (Option<i32>, String) {
        let output = program_of(&self.binary, &["healthcheck"], &[("OPS_LISTEN", address)], "");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// What Prometheus is told.
    pub(super) async fn metrics(&self, address: &str) -> Exposition {
        Exposition::of(self.ask(Method::GET, &format!("http://{address}/metrics")).await.1)
    }

    /// Makes a calendar and connects [`PROVIDER`] to it. Answers its URL.
    pub(super) async fn connect_a_calendar(&self) -> String {
        let CaldavServer { url, user, password } = &self.radicale;
        let calendar = format!("{url}/{user}/{}/", self.topic);
        let make = Method::from_bytes(b"MKCALENDAR").expect("a method");
        assert_eq!(self.ask(make, &calendar).await.0, 201, "MKCALENDAR");
        let account = ["--username", user, "--password-stdin"];
        let place = ["--provider-id", PROVIDER, "--calendar-url", &calendar];
        let add = [&["connections", "add", "caldav"][..], &place, &account].concat();
        self.done(&add, &[], password);
        calendar
    }

    /// What the calendar shows, by title.
    pub(super) async fn shown(&self, calendar: &str) -> Vec<String> {
        let (status, text) = self.ask(Method::GET, calendar).await;
        assert_eq!(status, 200, "GET {calendar}");
        let titles = text.lines().filter_map(|line| line.strip_prefix("SUMMARY:"));
        let mut titles: Vec<_> = titles.map(ToOwned::to_owned).collect();
        titles.sort_unstable();
        titles
    }

    async fn ask(&self, method: Method, url: &str) -> (u16, String) {
        let CaldavServer { user, password, .. } = &self.radicale;
        let basic = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
        let mut request = reqwest::Request::new(method, url.parse().expect("a URL"));
        request.headers_mut().insert("authorization", basic.parse().expect("a header"));
        let answer = self.client.execute(request).await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("a whole answer"))
    }

    /// Publishes by the program itself: what happens to one of [`PROVIDER`]'s bookings, and its title.
    pub(super) fn publish(&self, more: &[(&str, &str)], events: &[(&str, &str, Option<&str>)]) {
        let line = |(kind, booking, title): &(&str, &str, Option<&str>)| {
            let mut event = json!({
                "type": kind, "booking_id": format!("{booking}-{}", self.topic),
                "provider_id": PROVIDER, "occurred_at": "2030-01-01T08:00:00Z",
            });
            if let Some(title) = title {
                event["service_name"] = json!(title);
                event["start_time"] = json!("2099-06-01T09:00:00Z");
                event["end_time"] = json!("2099-06-01T10:00:00Z");
            }
            format!("{event}\n")
        };
        let lines: String = events.iter().map(line).collect();
        let said = self.done(&["publish", "-"], more, &lines);
        let count = events.len();
        assert!(said.contains(&format!("{count} of {count} events delivered")), "{said}");
    }

    /// Kafka's copy of how far the group has come, all partitions together.
    pub(super) async fn committed(&self) -> i64 {
        let mut config = self.onlooker();
        config.set("group.id", &self.topic);
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(&self.topic, partition);
        }
        let asking = move || {
            let asker: BaseConsumer = config.create().expect("a consumer");
            let committed = asker.committed_offsets(list, PATIENCE).expect("Kafka answers");
            let known = committed.elements().into_iter().filter_map(|element| {
                if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None }
            });
            known.sum::<i64>()
        };
        tokio::task::spawn_blocking(asking).await.expect("it did not panic")
    }

    /// Takes it all away again.
    pub(super) async fn end(self, calendars: &[String]) {
        for calendar in calendars {
            assert_eq!(self.ask(Method::DELETE, calendar).await.0, 200, "DELETE");
        }
        let deleted = self.admin().delete_topics(&[&self.topic], &AdminOptions::new()).await;
        assert!(deleted.expect("Kafka answers")[0].is_ok(), "the topic is deleted");
        self.database.end().await;
    }
}
