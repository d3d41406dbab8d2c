//! A broker, a topic, members of a group, and what came of the records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::clock::Surroundings;
use calendar_sync::consumer::embedded::EmbeddedCluster;
use calendar_sync::consumer::{
    BatchPlace, BatchSink, Consumer, ConsumerError, ConsumerOptions, KafkaOptions, Phase,
    RawRecord, Snapshot, Status, Taken,
};
use calendar_sync::store::Committed;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::ledger::Ledger;
use crate::wait::{PATIENCE, found};

/// The longest that the deletion of a topic takes.
const DELETION_MAX: Duration = Duration::from_secs(10);

/// Waits until it is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    crate::wait::until(what, async || is_so()).await;
}

/// A broker with one topic.
pub(super) struct World {
    bootstrap: String,
    pub(super) topic: String,
    pub(super) embedded: Option<EmbeddedCluster>,
    producer: FutureProducer,
    pub(super) ledger: Arc<Ledger>,
    pub(super) taken: Arc<TakenRecords>,
}

fn random_name(prefix: &str) -> String {
    format!("{prefix}-{}", Surroundings::real().dice.token().simple())
}

impl World {
    fn new(bootstrap: String, embedded: Option<EmbeddedCluster>) -> Self {
        let filter = EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
        // Another test of this process has done it already.
        drop(log.try_init());
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        Self {
            bootstrap,
            topic: random_name("bookings"),
            embedded,
            producer,
            ledger: Arc::new(Ledger::default()),
            taken: Arc::new(TakenRecords::default()),
        }
    }

    /// On the embedded broker.
    pub(super) fn embedded(partitions: i32) -> Self {
        let cluster = EmbeddedCluster::start(1).unwrap();
        let world = Self::new(cluster.bootstrap().to_owned(), Some(cluster));
        world.embedded.as_ref().unwrap().create_topic(&world.topic, partitions).unwrap();
        world
    }

    /// On Apache Kafka. `None`: there is none, and that has been written down.
    pub(super) async fn real(test: &str, partitions: i32) -> Option<Self> {
        let world = Self::real_without_topic(test)?;
        world.create_topic(partitions).await;
        Some(world)
    }

    /// On Apache Kafka, before there is a topic.
    pub(super) fn real_without_topic(test: &str) -> Option<Self> {
        Some(Self::new(crate::services::kafka(test)?, None))
    }

    pub(super) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap()
    }

    pub(super) async fn create_topic(&self, partitions: i32) {
        let topic = NewTopic::new(&self.topic, partitions, TopicReplication::Fixed(1));
        let admin = self.admin();
        // A topic of this name may still be being deleted.
        let made = found(DELETION_MAX, async || {
            let answer = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
            answer[0].is_ok().then_some(())
        });
        made.await.expect("the topic can be made");
    }

    pub(super) async fn delete_topic(&self) {
        let admin = self.admin();
        let answer = admin.delete_topics(&[&self.topic], &AdminOptions::new()).await.unwrap();
        assert!(answer[0].is_ok(), "{answer:?}");
    }

    /// Publishes one record; its value is `text`.
    pub(super) async fn publish(&self, partition: i32, text: &str) -> i64 {
        let record = FutureRecord::to(&self.topic).partition(partition).key("k").payload(text);
        let sent = self.producer.send(record, PATIENCE).await;
        sent.map_err(|(error, _)| error).unwrap().offset
    }

    /// Publishes `count` numbered records on each of the partitions, all at once.
    pub(super) async fn publish_all(&self, partitions: i32, numbers: std::ops::Range<i64>) {
        let mut sending = Vec::new();
        for number in numbers {
            let text = number.to_string();
            for partition in 0..partitions {
                let record =
                    FutureRecord::to(&self.topic).partition(partition).key("k").payload(&text);
                sending.push(self.producer.send_result(record).map_err(|(e, _)| e).unwrap());
            }
        }
        for sent in sending {
            sent.await.unwrap().map_err(|(error, _)| error).unwrap();
        }
    }

    /// Publishes numbered records on partition 0 that say they are so old.
    pub(super) async fn publish_before(&self, age: Duration, numbers: std::ops::Range<i64>) {
        let then = Surroundings::real().clock.now() - age;
        for number in numbers {
            let text = number.to_string();
            let record = FutureRecord::to(&self.topic).partition(0).key("k").payload(&text);
            let record = record.timestamp(then.timestamp_millis());
            let sent = self.producer.send(record, PATIENCE).await;
            sent.map_err(|(error, _)| error).unwrap();
        }
    }

    /// Publishes texts on partition 0 in one transaction, which is committed, or aborted.
    pub(super) async fn publish_in_transaction(&self, texts: &[&str], is_committed: bool) {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("transactional.id", "of-".to_owned() + &self.topic)
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for text in texts {
            let record = FutureRecord::to(&self.topic).partition(0).key("k").payload(*text);
            producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
        }
        let ended = if is_committed {
            producer.commit_transaction(PATIENCE)
        } else {
            producer.abort_transaction(PATIENCE)
        };
        ended.unwrap();
    }

    /// Deletes what stands below an offset of partition 0.
    pub(super) async fn delete_records_below(&self, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&self.topic, 0, Offset::Offset(offset)).unwrap();
        self.admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
    }

    /// Commits an offset to Kafka behind the consumer's back.
    pub(super) async fn commit_to_kafka(&self, partition: i32, offset: i64) {
        let consumer = self.outsider();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).unwrap();
        let commit = move || consumer.commit(&list, CommitMode::Sync);
        tokio::task::spawn_blocking(commit).await.unwrap().unwrap();
    }

    /// What Kafka holds as committed.
    pub(super) async fn committed_in_kafka(&self, partition: i32) -> Offset {
        let consumer = self.outsider();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let ask = move || {
            consumer.committed_offsets(list, PATIENCE).map(|list| list.elements()[0].offset())
        };
        tokio::task::spawn_blocking(ask).await.unwrap().unwrap()
    }

    fn outsider(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "group-of-".to_owned() + &self.topic)
            .create()
            .unwrap()
    }

    /// Settings that lose no time.
    pub(super) fn options(&self) -> ConsumerOptions {
        let mut kafka = KafkaOptions::new(&self.bootstrap, "group-of-".to_owned() + &self.topic);
        if self.embedded.is_some() {
            // Here every rebalance but the first takes as long as this. On Kafka, a member that
            // does not leave politely is noticed far too late for any test.
            kafka.session_timeout = Duration::from_secs(6);
        }
        let refresh = SecretString::from("500");
        kafka.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), refresh);
        kafka.properties.insert("heartbeat.interval.ms".to_owned(), SecretString::from("500"));
        let mut options = ConsumerOptions::new(kafka, &self.topic);
        options.identity_interval = Duration::from_millis(500);
        options.note_interval = Duration::from_millis(500);
        options.stop_poll = Duration::from_millis(50);
        options.commit_interval = Duration::from_millis(200);
        options.retry_min = Duration::from_millis(50);
        options.retry_max = Duration::from_millis(500);
        options.batch_max = 10;
        options
    }

    /// A member with these settings.
    pub(super) fn join_with(&self, options: ConsumerOptions) -> Member {
        let status = Arc::new(Status::default());
        let (hold, when_held) = watch::channel(false);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let consumer = Consumer {
            options,
            store: Arc::clone(&self.ledger) as Arc<_>,
            sink: Arc::new(Sink {
                ledger: Arc::clone(&self.ledger),
                taken: Arc::clone(&self.taken),
            }),
            surroundings: Surroundings::real(),
            status: Arc::clone(&status),
            hold: when_held,
            stop: stop.clone(),
        };
        tasks.spawn(consumer.run());
        Member { status, hold, stop, tasks }
    }

    /// A member.
    pub(super) fn join(&self) -> Member {
        self.join_with(self.options())
    }

    /// Waits until every partition's cursor stands there.
    pub(super) async fn read_up_to(&self, partitions: i32, offset: i64) {
        until(&format!("all is read up to {offset}"), || {
            (0..partitions).all(|partition| self.ledger.next(partition) == Some(offset))
        })
        .await;
    }
}

/// A member of the group.
pub(super) struct Member {
    pub(super) status: Arc<Status>,
    pub(super) hold: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    tasks: JoinSet<Result<(), ConsumerError>>,
}

impl Member {
    pub(super) fn snapshot(&self) -> Snapshot {
        self.status.snapshot()
    }

    /// How many partitions it reads.
    pub(super) fn reads(&self) -> usize {
        let partitions = self.snapshot().partitions;
        partitions.values().filter(|partition| partition.phase == Phase::Reading).count()
    }

    /// How many partitions Kafka has given it.
    pub(super) fn owns(&self) -> usize {
        self.snapshot().partitions.len()
    }

    /// Why a partition is stopped.
    pub(super) fn stopped(&self, partition: i32) -> Option<(String, String)> {
        match self.snapshot().partitions.get(&partition)?.phase.clone() {
            Phase::Stopped(stop) => Some((stop.kind, stop.found)),
            Phase::Fencing | Phase::Reading | Phase::BackingOff => None,
        }
    }

    /// Stops it, and waits until it has ended.
    pub(super) async fn leave(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("the member ends").unwrap().unwrap().unwrap();
    }
}

/// What was committed, in the order of the commits.
#[derive(Default)]
pub(super) struct TakenRecords {
    records: Mutex<BTreeMap<i32, Vec<(i64, String)>>>,
    batches: Mutex<Vec<(BatchPlace, usize)>>,
    /// Taking does not end, whoever asks.
    pub(super) is_stuck: AtomicBool,
}

impl TakenRecords {
    /// The values of a partition's records.
    pub(super) fn values(&self, partition: i32) -> Vec<String> {
        let records = self.records.lock().unwrap();
        let records = records.get(&partition).map_or(&[][..], Vec::as_slice);
        records.iter().map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn batches(&self) -> Vec<(BatchPlace, usize)> {
        self.batches.lock().unwrap().clone()
    }

    /// Asserts that a partition's numbered records were taken once each, in order.
    pub(super) fn assert_numbers(&self, partition: i32, numbers: std::ops::Range<i64>) {
        let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
        assert_eq!(self.values(partition), expected, "partition {partition}");
    }
}

struct Sink {
    ledger: Arc<Ledger>,
    taken: Arc<TakenRecords>,
}

#[async_trait]
impl BatchSink for Sink {
    async fn take(
        &self,
        at: &BatchPlace,
        records: Vec<RawRecord>,
        stop: &CancellationToken,
    ) -> Taken {
        if self.taken.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let last = records.last().expect("a batch has records");
        let to = last.offset + 1;
        // The lock is held over the commit, so that the order kept is the order committed.
        let mut kept = self.taken.records.lock().unwrap();
        match self.ledger.advance(&at.fence, at.from, to, last.witness()) {
            Err(_) if stop.is_cancelled() => return Taken::Stopped,
            Err(_) => return Taken::To(at.from),
            Ok(Committed::Foreign) => return Taken::Foreign,
            Ok(Committed::Elsewhere { next_offset }) => {
                return Taken::To(next_offset.unwrap_or_default());
            }
            Ok(Committed::Done) => {}
            Ok(other @ (Committed::Stale | Committed::Refused { .. })) => {
                unreachable!("the ledger does not answer {other:?}")
            }
        }
        self.taken.batches.lock().unwrap().push((at.clone(), records.len()));
        let kept = kept.entry(at.fence.partition).or_default();
        for record in records {
            let value = String::from_utf8(record.payload.unwrap_or_default()).unwrap();
            kept.push((record.offset, value));
        }
        Taken::To(to)
    }
}

/// The same fact on both brokers.
macro_rules! on_both_brokers {
    ($name:ident, $partitions:literal, $fact:ident) => {
        mod $name {
            use super::super::harness::World;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_the_embedded_broker() {
                super::$fact(World::embedded($partitions)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_apache_kafka() {
                if let Some(world) = World::real(stringify!($name), $partitions).await {
                    super::$fact(world).await;
                }
            }
        }
    };
}

pub(super) use on_both_brokers;
