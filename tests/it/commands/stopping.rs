//! A worker that is told to stop ends with exit code 0 within its deadline and leaves the group,
//! whatever it was doing; and while it runs, it waits for what is away.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::{Fence, LogFacts, Store};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;
use tokio::net::TcpListener;

use super::proxy::Proxy;
use super::{command, command_reading};
use crate::health;
use crate::process::Worker;
use crate::settings::PROVIDER;
use crate::store_contract::env::Answered as _;
use crate::store_contract::postgres::Database;
use crate::wait::{PATIENCE, until};

/// `shutdown.deadline_s`, and a little for starting and ending a process.
const DEADLINE: Duration = Duration::from_secs(28);

/// A topic of its own on Apache Kafka, and a migrated database.
pub(crate) struct Place {
    pub(crate) database: Database,
    brokers: String,
    topic: String,
}

impl Place {
    async fn new(test: &str) -> Option<Self> {
        let brokers = crate::services::kafka(test)?;
        let database = Database::new(test).await?;
        command(&database.url, &["migrate"], &[]).done();
        let topic = format!("stopping-{}", SystemDice.token().simple());
        Some(Self { database, brokers, topic })
    }

    pub(crate) async fn with_topic(test: &str) -> Option<Self> {
        let place = Self::new(test).await?;
        place.create_topic().await;
        Some(place)
    }

    async fn create_topic(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = NewTopic::new(&self.topic, 2, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert!(made[0].is_ok(), "{made:?}");
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub(crate) fn environment<'a>(
        &'a self,
        url: &'a str,
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        let ours = [
            ("DATABASE_URL", url),
            ("KAFKA_BROKERS", &self.brokers),
            ("KAFKA_TOPIC", &self.topic),
            ("KAFKA_GROUP", &self.topic),
            ("INGEST_LINGER_MS", "0"),
            ("OPS_LISTEN", "127.0.0.1:0"),
        ];
        let ours = ours.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        ours.chain(more.iter().copied()).collect()
    }

    /// Connects [`PROVIDER`] to a calendar that takes connections, and answers nothing.
    async fn add_a_calendar_that_never_answers(&self) -> TcpListener {
        let calendar = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/calendar/", calendar.local_addr().unwrap());
        let add = ["connections", "add", "caldav", "--provider-id", PROVIDER, "--username", "anna"];
        let add: Vec<_> = add.into_iter().chain(["--calendar-url", &address]).collect();
        let password = [("CALENDAR_SYNC_PASSWORD", "hunter2")];
        command(&self.database.url, &add, &password).done();
        calendar
    }

    /// Publishes bookings of [`PROVIDER`] by the program itself.
    fn publish(&self, bookings: &[&str]) {
        self.publish_as(bookings, &[]);
    }

    /// The same, with other settings.
    fn publish_as(&self, bookings: &[&str], more: &[(&str, &str)]) {
        let line = |booking: &&str| {
            let event = json!({
                "type": "BookingCreated", "booking_id": booking, "provider_id": PROVIDER,
                "occurred_at": "2030-01-01T08:00:00Z", "start_time": "2099-06-01T09:00:00Z",
                "end_time": "2099-06-01T10:00:00Z", "service_name": "Massage",
            });
            format!("{event}\n")
        };
        let lines: String = bookings.iter().map(line).collect();
        let said = command_reading(
            &self.database.url,
            &["publish", "-"],
            &[&[("KAFKA_BROKERS", self.brokers.as_str()), ("KAFKA_TOPIC", &self.topic)], more]
                .concat(),
            &lines,
        );
        let count = bookings.len();
        let expected = format!(
            "{count} of {count} events delivered to {}, 0 lines refused, 0 not delivered\n",
            self.topic
        );
        assert_eq!(said.done(), expected);
    }

    /// How many records were read and committed.
    async fn read(&self, store: &dyn Store) -> i64 {
        let cursors = store.cursors().await.answered();
        cursors.iter().filter_map(|cursor| cursor.next_offset).sum()
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.database.connect().await)
    }

    /// Whether the group has members.
    async fn has_members(&self) -> bool {
        let (config, group) = (self.client(), self.topic.clone());
        let asking = move || {
            let asker: BaseConsumer = config.create().unwrap();
            let list = asker.fetch_group_list(Some(&group), PATIENCE).unwrap();
            list.groups().iter().any(|group| !group.members().is_empty())
        };
        tokio::task::spawn_blocking(asking).await.unwrap()
    }
}

#[track_caller]
fn assert_stopped(status: std::process::ExitStatus, log: &str) {
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopping: finishing what is begun signal=\"SIGTERM\""), "{log}");
    assert!(log.contains("calendar_sync::cli::run: stopped"), "{log}");
}

/// Off, all is consumed and folded, and no credentials are opened.
#[tokio::test]
async fn a_worker_that_is_not_to_send_needs_no_key() {
    let test = "a_worker_that_is_not_to_send_needs_no_key";
    let Some(place) = Place::with_topic(test).await else { return };
    let store = place.store().await;
    let keyless = [("SECRETS_KEY", "")];
    let worker = Worker::start(place.environment(&place.database.url, &keyless));
    place.publish(&["a", "b"]);
    until("both are read", async || place.read(store.as_ref()).await == 2).await;
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert!(status.success(), "{log}");
    drop(store);
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_leaves_the_group_and_goes_on_where_it_was() {
    let Some(place) = Place::with_topic("stop").await else { return };
    let store = place.store().await;
    for (round, bookings) in (1..).zip([["a", "b", "c"], ["d", "e", "f"]]) {
        let worker = Worker::start(place.environment(&place.database.url, &[]));
        place.publish(&bookings);
        until("all is read", async || place.read(&*store).await == 3 * round).await;
        assert!(place.has_members().await);
        worker.terminate();
        let (status, log) = worker.ended(DEADLINE).await;
        assert_stopped(status, &log);
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        assert!(!place.has_members().await, "the group was left");
    }
    drop(store);
    place.database.end().await;
}

/// Whatever the booking service packs its batches with. Several bookings to a batch: one alone is sent as
/// it is.
///
/// Fails with: `Cargo.toml`: `rdkafka` without `zstd` (librdkafka then asks for the same batch for ever).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_every_codec_are_read() {
    let Some(place) = Place::with_topic("codecs").await else { return };
    let store = place.store().await;
    let worker = Worker::start(place.environment(&place.database.url, &[]));
    for (read, codec) in (1..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let names: Vec<_> = (0..20).map(|number| format!("{codec}-{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        place.publish_as(&names, &[("KAFKA_PROPERTIES_COMPRESSION_CODEC", codec)]);
        let what = format!("what {codec} has packed is read");
        until(&what, async || place.read(store.as_ref()).await == 20 * read).await;
    }
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_stopped(status, &log);
    assert!(store.dead_letters(0, 1).await.answered().is_empty());
    drop(store);
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_database_goes_away_waits_for_it_and_can_be_stopped() {
    for is_silent in [false, true] {
        let Some(place) = Place::with_topic("stop_without_database").await else { return };
        let mut proxy = Proxy::before(&place.database.url).await;
        let store = place.store().await;
        let worker = Worker::start(place.environment(&proxy.url, &[]));
        place.publish(&["a"]);
        until("it is read", async || place.read(&*store).await == 1).await;
        if is_silent {
            proxy.hush();
        } else {
            proxy.cut().await;
        }
        place.publish(&["b"]);
        if !is_silent {
            worker.logs("a batch could not be committed, and is tried again").await;
        }
        worker.terminate();
        let (status, log) = worker.ended(DEADLINE).await;
        assert_stopped(status, &log);
        assert!(!place.has_members().await, "the group was left");
        assert_eq!(place.read(&*store).await, 1);
        drop(store);
        place.database.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_a_call_that_is_not_answered_can_be_stopped() {
    let Some(place) = Place::with_topic("stop_in_a_call").await else { return };
    let calendar = place.add_a_calendar_that_never_answers().await;
    let emitting = [
        ("CALENDAR_SYNC_ENABLED", "true"),
        ("EMIT_CALL_TIMEOUT_S", "4"),
        ("EMIT_CONNECT_TIMEOUT_S", "4"),
    ];
    let worker = Worker::start(place.environment(&place.database.url, &emitting));
    place.publish(&["a"]);
    let called = tokio::time::timeout(PATIENCE, calendar.accept()).await;
    let (_unanswered, _) = called.expect("the calendar is called").unwrap();
    let address = health::address(&worker).await;
    worker.terminate();
    worker.logs("stopping: finishing what is begun").await;
    // Meanwhile whoever asks is answered: the last of what is counted is scraped.
    let answer = health::ask(&address, "/metrics").await;
    assert_eq!(answer.map(|(status, _)| status), Some(200), "{}", worker.logged());
    assert!(!worker.logged().contains("calendar_sync::cli::run: stopped"), "it is still at it");
    let (status, log) = worker.ended(DEADLINE).await;
    assert_stopped(status, &log);
    assert!(!log.contains("hunter2"), "{log}");
    assert!(!place.has_members().await, "the group was left");
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_its_topic_and_says_so() {
    let Some(place) = Place::new("no_topic").await else { return };
    let refresh = ("KAFKA_PROPERTIES_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500");
    let store = place.store().await;
    let worker = Worker::start(place.environment(&place.database.url, &[refresh]));
    worker.logs(&format!("Subscribed topic not available: {}", place.topic)).await;
    place.create_topic().await;
    place.publish(&["a"]);
    until("it is read", async || place.read(&*store).await == 1).await;
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_stopped(status, &log);
    drop(store);
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_broker_says_so_and_can_be_stopped() {
    let Some(place) = Place::new("no_broker").await else { return };
    let nobody = [("KAFKA_BROKERS", "127.0.0.1:1")];
    let worker = Worker::start(place.environment(&place.database.url, &nobody));
    worker.logs("1/1 brokers are down").await;
    assert!(worker.logged().contains("127.0.0.1:1"), "{}", worker.logged());
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_stopped(status, &log);
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_stop_is_insisted_on_by_a_second_signal() {
    let Some(place) = Place::with_topic("second_signal").await else { return };
    let calendar = place.add_a_calendar_that_never_answers().await;
    let emitting = [("CALENDAR_SYNC_ENABLED", "true")];
    let worker = Worker::start(place.environment(&place.database.url, &emitting));
    place.publish(&["a"]);
    let called = tokio::time::timeout(PATIENCE, calendar.accept()).await;
    let (_unanswered, _) = called.expect("the calendar is called").unwrap();
    worker.terminate();
    worker.logs("stopping: finishing what is begun").await;
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.ends_with("error: cut off by a second signal (SIGTERM)\n"), "{log}");
    place.database.end().await;
}

/// Whoever else holds the fence now: a worker that lost it takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_fenced_off_while_it_owns_the_partition_fences_again() {
    let Some(place) = Place::with_topic("fenced_off").await else { return };
    let store = place.store().await;
    let worker = Worker::start(place.environment(&place.database.url, &[]));
    place.publish(&["a"]);
    until("it is read", async || place.read(&*store).await == 1).await;
    let ours: Vec<Fence> = store
        .fence(&place.topic, &[0, 1], SystemDice.token())
        .await
        .answered()
        .into_iter()
        .map(|cursor| cursor.fence)
        .collect();
    place.publish(&["b", "c", "d", "e"]);
    until("all is read", async || place.read(&*store).await == 5).await;
    let mut lost = 0;
    for fence in ours {
        let noted = store.note_log(&fence, &LogFacts::default()).await.answered();
        lost += u32::from(noted == calendar_sync::store::Fenced::Refused);
    }
    assert!(lost > 0, "the worker's fence is newer");
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_stopped(status, &log);
    drop(store);
    place.database.end().await;
}
