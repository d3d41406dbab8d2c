//! A broker for facts about Kafka: librdkafka's in-process cluster where the parts are embedded,
//! Apache Kafka where they are real.

use calendar_sync::consumer::embedded::EmbeddedCluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureProducer;

use crate::end_to_end::world::{Parts, World};
use crate::services;

/// A broker.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    pub(crate) producer: FutureProducer,
    cluster: Option<EmbeddedCluster>,
}

impl Broker {
    /// The world's. `None`: there is no Apache Kafka, and that has been written down.
    pub(crate) fn of(world: &World) -> Option<Self> {
        let (bootstrap, cluster) = match world.parts {
            Parts::Embedded => {
                let cluster = EmbeddedCluster::start(1).expect("the embedded broker starts");
                (cluster.bootstrap().to_owned(), Some(cluster))
            }
            Parts::Real => (services::kafka(world.fact)?, None),
        };
        let producer =
            ClientConfig::new().set("bootstrap.servers", &bootstrap).create().expect("a producer");
        Some(Self { bootstrap, producer, cluster })
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).create().expect("an admin client")
    }

    /// Makes topics of so many partitions.
    pub(crate) async fn create(&self, topics: &[String], partitions: i32) {
        if let Some(cluster) = &self.cluster {
            for topic in topics {
                cluster.create_topic(topic, partitions).expect("a topic is made");
            }
            return;
        }
        let new = |topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new: Vec<_> = topics.iter().map(|topic| new(topic)).collect();
        let made = self.admin().create_topics(&new, &AdminOptions::new()).await;
        made.expect("the broker answers").into_iter().for_each(|made| {
            made.expect("a topic is made");
        });
    }

    /// Takes the topics away again.
    pub(crate) async fn end(self, topics: &[String]) {
        if self.cluster.is_none() {
            let topics: Vec<_> = topics.iter().map(String::as_str).collect();
            let deleted = self.admin().delete_topics(&topics, &AdminOptions::new()).await;
            deleted.expect("the broker answers").into_iter().for_each(|deleted| {
                deleted.expect("the topic is deleted");
            });
        }
    }
}
