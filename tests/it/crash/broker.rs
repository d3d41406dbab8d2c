//! The broker that those who crash read from: Apache Kafka beside PostgreSQL, librdkafka's
//! in-process cluster beside SQLite.

use std::sync::Arc;

use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::Clock;
use calendar_sync::consumer::RawRecord;
use calendar_sync::consumer::embedded::EmbeddedCluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::end_to_end::world::{PATIENCE, Parts, World};
use crate::services;

/// A broker.
pub(super) struct Broker {
    pub(super) bootstrap: String,
    cluster: Option<EmbeddedCluster>,
    producer: FutureProducer,
    clock: Arc<dyn Clock>,
}

impl Broker {
    /// The world's. `None`: there is no Apache Kafka, and that has been written down.
    pub(super) fn of(world: &World) -> Option<Self> {
        let (bootstrap, cluster) = match world.parts {
            Parts::Embedded => {
                let cluster = EmbeddedCluster::start(1).expect("the embedded broker starts");
                (cluster.bootstrap().to_owned(), Some(cluster))
            }
            Parts::Real => (services::kafka(world.fact)?, None),
        };
        let producer =
            ClientConfig::new().set("bootstrap.servers", &bootstrap).create().expect("a producer");
        let clock = Arc::clone(&world.surroundings.clock);
        Some(Self { bootstrap, cluster, producer, clock })
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).create().expect("an admin client")
    }

    /// Makes topics of one partition.
    pub(super) async fn create(&self, topics: &[String]) {
        if let Some(cluster) = &self.cluster {
            for topic in topics {
                cluster.create_topic(topic, 1).expect("a topic is made");
            }
            return;
        }
        let new = |topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let new: Vec<_> = topics.iter().map(|topic| new(topic)).collect();
        let made = self.admin().create_topics(&new, &AdminOptions::new()).await;
        made.expect("the broker answers").into_iter().for_each(|made| {
            made.expect("a topic is made");
        });
    }

    /// Publishes, each record acknowledged; answers them as they stand in the log.
    pub(super) async fn publish(
        &self,
        topic: &str,
        events: impl IntoIterator<Item = OutgoingEvent>,
    ) -> Vec<RawRecord> {
        let mut records = Vec::new();
        for event in events {
            let (key, payload) = (event.booking.as_str(), encode(&event));
            let timestamp_ms = self.clock.now().timestamp_millis();
            let record = FutureRecord::to(topic).partition(0).timestamp(timestamp_ms);
            let sent = self.producer.send(record.key(key).payload(&payload), PATIENCE).await;
            records.push(RawRecord {
                partition: 0,
                offset: sent.expect("the broker takes a record").offset,
                timestamp_ms,
                key: Some(key.as_bytes().to_vec()),
                payload: Some(payload),
                headers: Vec::new(),
            });
        }
        records
    }

    /// Takes the topics away again.
    pub(super) async fn end(self, topics: &[String]) {
        if self.cluster.is_none() {
            let topics: Vec<_> = topics.iter().map(String::as_str).collect();
            let deleted = self.admin().delete_topics(&topics, &AdminOptions::new()).await;
            deleted.expect("the broker answers").into_iter().for_each(|deleted| {
                deleted.expect("the topic is deleted");
            });
        }
    }
}
