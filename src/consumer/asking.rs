//! Kafka's answers to the questions about the log: who it is, where it begins and ends. Decides
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::MetadataBroker;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::{Mutex, Semaphore};

use super::broker::{AskError, Asking};
use super::context::{AskingContext, Complaints};
use super::log_check::Identity;
use super::native;
use super::settings::ConsumerOptions;

/// How much is fetched where one record is read; of a longer one a broker sends all.
const READ_BYTES: &str = "16384";

/// How many questions to the broker are under way at once.
const QUESTIONS_AT_ONCE: usize = 4;

/// Asks a broker about the log, as a client of its own that is no member of the group: its calls
/// block, and must not hold up the member or outlive it.
pub(super) struct KafkaAsking {
    /// `None` only while it is dropped.
    client: Option<Arc<BaseConsumer<AskingContext>>>,
    permits: Semaphore,
    /// Held while the client reads.
    reading: Mutex<()>,
    topic: String,
    timeout: Duration,
}

impl KafkaAsking {
    /// A client of its own.
    pub(super) fn new(
        options: &ConsumerOptions,
        complaints: Complaints,
    ) -> Result<Self, super::ConsumerError> {
        let mut config = options.kafka.client_config()?;
        // For the committed offsets. Who does not subscribe is no member.
        config.set("group.id", &options.kafka.group).set("enable.auto.commit", "false");
        // When it reads, then one record: of no use is what comes after it.
        config.set("fetch.message.max.bytes", READ_BYTES).set("queued.min.messages", "1");
        config.set("queued.max.messages.kbytes", "64");
        let context = AskingContext(complaints);
        let client = BaseConsumer::from_config_and_context(&config, context)
            .map_err(super::ConsumerError::client)?;
        Ok(Self {
            client: Some(Arc::new(client)),
            permits: Semaphore::new(QUESTIONS_AT_ONCE),
            reading: Mutex::new(()),
            topic: options.topic.clone(),
            timeout: options.request_timeout,
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        question: impl FnOnce(&BaseConsumer<AskingContext>, &str, Duration) -> KafkaResult<T>
        + Send
        + 'static,
    ) -> Result<T, AskError> {
        let given_up = || AskError::GivenUp { what };
        let _permit = self.permits.acquire().await.map_err(|_| given_up())?;
        let client = self.client.clone().ok_or_else(given_up)?;
        let (topic, timeout) = (self.topic.clone(), self.timeout);
        let answer = tokio::task::spawn_blocking(move || {
            // Its own events (logs, errors) go to the context now and then.
            for _ in 0..EVENTS_AT_ONCE {
                drop(client.poll(Duration::ZERO));
            }
            question(&client, &topic, timeout)
        });
        let answer = answer.await.map_err(|_| given_up())?;
        answer.map_err(|source| AskError::Kafka { what, source })
    }
}

impl KafkaAsking {
    /// The timestamp of the first record at an offset or after it, in milliseconds since the epoch.
    /// `None`: there is none, or it has no time. The record is read, by nobody's offset.
    pub(super) async fn written_at(
        &self,
        partition: i32,
        offset: i64,
    ) -> Result<Option<i64>, AskError> {
        let what = "when a record was written";
        let given_up = || AskError::GivenUp { what };
        let _alone = self.reading.lock().await;
        let client = self.client.clone().ok_or_else(given_up)?;
        let (topic, timeout) = (self.topic.clone(), self.timeout);
        let read = tokio::task::spawn_blocking(move || {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
            // Before the assignment, or the record would go where events are dropped.
            let Some(queue) = client.split_partition_queue(&topic, partition) else {
                return Ok(None);
            };
            client.assign(&list)?;
            let read = queue.poll(timeout).transpose();
            let written = read.map(|read| read.and_then(|it| it.timestamp().to_millis()));
            client.unassign()?;
            written
        });
        let read = read.await.map_err(|_| given_up())?;
        read.map_err(|source| AskError::Kafka { what, source })
    }
}

#[async_trait]
impl Asking for KafkaAsking {
    async fn identity(&self) -> Result<Identity, AskError> {
        self.ask("the topic's id", |client, topic, timeout| {
            let metadata = client.fetch_metadata(Some(topic), timeout)?;
            // Who answers on a bootstrap address has no number yet; those that it tells of have.
            let brokers = metadata.brokers().iter().map(MetadataBroker::id);
            let mut known = std::iter::once(metadata.orig_broker_id()).chain(brokers);
            let broker = known.find(|id| *id >= 0).unwrap_or(-1);
            let topic_id = native::topic_id(client.client(), topic, broker, timeout)?;
            Ok(Identity { topic_id, cluster_id: client.client().fetch_cluster_id(timeout) })
        })
        .await
    }

    async fn watermarks(&self, partition: i32) -> Result<(i64, i64), AskError> {
        self.ask("the ends of a partition's log", move |client, topic, timeout| {
            client.fetch_watermarks(topic, partition, timeout)
        })
        .await
    }

    async fn committed(&self, partition: i32) -> Result<Option<i64>, AskError> {
        self.ask("the committed offset", move |client, topic, timeout| {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, partition);
            let list = client.committed_offsets(list, timeout)?;
            let element = list.find_partition(topic, partition);
            Ok(element.and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            }))
        })
        .await
    }

    async fn partition_count(&self) -> Result<i32, AskError> {
        self.ask("the topic's partitions", |client, topic, timeout| {
            let metadata = client.fetch_metadata(Some(topic), timeout)?;
            let topic = metadata.topics().first();
            Ok(i32::try_from(topic.map_or(0, |topic| topic.partitions().len())).unwrap_or(i32::MAX))
        })
        .await
    }
}

impl Drop for KafkaAsking {
    /// librdkafka's destructor waits for its threads: not on one of the runtime's.
    fn drop(&mut self) {
        let client = self.client.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(client)));
        }
    }
}

/// Events of the asking client that are served before a question.
const EVENTS_AT_ONCE: usize = 16;
