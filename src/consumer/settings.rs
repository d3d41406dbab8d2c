//! What the consumer is told, and what of it goes to librdkafka. The properties that the protocol
//! of DESIGN.md rests on (rule R1) are set here and cannot be set otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};

/// Kafka's group protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The classic one, with the cooperative-sticky assignor.
    Classic,
    /// KIP-848's: the broker assigns. Always cooperative.
    Consumer,
}

/// Where a new installation begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record that is still there.
    Earliest,
    /// After the newest record of the moment of installation.
    Latest,
}

/// How to reach Kafka, and as whom.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// Shown in the broker's logs.
    pub client_id: String,
    /// The group protocol.
    pub protocol: GroupProtocol,
    /// A member that was not heard of for so long is dead (classic protocol; under KIP-848 the
    /// broker's own setting rules).
    pub session_timeout: Duration,
    /// A member whose thread did not poll for so long leaves the group.
    pub max_poll_interval: Duration,
    /// The bound of what librdkafka fetches ahead for one partition, in KiB.
    pub queued_max_kbytes: u32,
    /// How many records librdkafka tries to have fetched ahead for one partition.
    pub queued_min_messages: u32,
    /// Further properties of librdkafka (`sasl.*`, `ssl.*`, …), as they are. They may be secret.
    pub properties: BTreeMap<String, SecretString>,
}

/// Everything that the consumer is told.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How to reach Kafka.
    pub kafka: KafkaOptions,
    /// The topic.
    pub topic: String,
    /// Where a new installation begins.
    pub start_from: StartFrom,
    /// At most so many records are handed over at once.
    pub batch_max: usize,
    /// A batch that has reached so many bytes (keys, values, headers) is handed over.
    pub batch_bytes: usize,
    /// A batch waits at most so long to become full.
    pub linger: Duration,
    /// How often the topic's and the cluster's identity are asked for (rule R2), and the database
    /// server's (rule R18).
    pub identity_interval: Duration,
    /// How often the log end of a partition that is being read is stored.
    pub note_interval: Duration,
    /// How often a stopped partition's cursor is looked at, for an operator's answer.
    pub stop_poll: Duration,
    /// How often Kafka's trailing copy of the cursors is committed.
    pub commit_interval: Duration,
    /// The bound of one question to a broker.
    pub request_timeout: Duration,
    /// The first pause after a failure; it doubles up to `retry_max`.
    pub retry_min: Duration,
    /// The longest pause after failures.
    pub retry_max: Duration,
    /// How long a stop waits for batches that are being taken.
    pub drain_timeout: Duration,
    /// How long a stop waits for the group to be left.
    pub close_timeout: Duration,
    /// The same trouble is logged at most this often.
    pub log_interval: Duration,
}

/// Why the settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A property that the protocol rests on, or that has a setting of its own.
    #[error("kafka.properties.{property} cannot be set: {reason}")]
    Refused {
        /// The property.
        property: String,
        /// Why.
        reason: &'static str,
    },
    /// A number out of its range.
    #[error("{setting} must be at least 1")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
}

const OUR_CURSOR: &str = "the cursor in the database decides what is read (rules R1 and R2)";
const OWN_SETTING: &str = "it has a setting of its own";
const COOPERATIVE: &str = "the assignment is always cooperative (rule R1)";

/// The properties that are refused, each with its reason.
const REFUSED: &[(&str, &str)] = &[
    ("enable.auto.commit", OUR_CURSOR),
    ("auto.commit.enable", OUR_CURSOR),
    ("auto.commit.interval.ms", OUR_CURSOR),
    ("enable.auto.offset.store", OUR_CURSOR),
    ("auto.offset.reset", OUR_CURSOR),
    ("offset.store.method", OUR_CURSOR),
    ("isolation.level", "records of aborted transactions never happened"),
    ("enable.partition.eof", "nothing reads these events"),
    ("partition.assignment.strategy", COOPERATIVE),
    ("group.protocol.type", COOPERATIVE),
    ("group.remote.assignor", COOPERATIVE),
    ("group.instance.id", "a static member does not leave the group when it stops"),
    ("log.queue", "logs are taken from the client's queue"),
    ("bootstrap.servers", OWN_SETTING),
    ("metadata.broker.list", OWN_SETTING),
    ("group.id", OWN_SETTING),
    ("group.protocol", OWN_SETTING),
    ("session.timeout.ms", OWN_SETTING),
    ("max.poll.interval.ms", OWN_SETTING),
];

/// Why a property is refused, if it is: also for those who read it from a file, to say so at once.
pub fn refused(property: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == property).map(|(_, reason)| *reason)
}

/// After its queue for a partition was full, librdkafka looks again so soon. Its own default of a
/// second would idle a partition that is drained quickly.
const FETCH_QUEUE_BACKOFF_MS: &str = "50";

impl KafkaOptions {
    /// Production defaults.
    pub fn new(brokers: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group: group.into(),
            client_id: "calendar-sync".to_owned(),
            protocol: GroupProtocol::Classic,
            session_timeout: Duration::from_secs(45),
            max_poll_interval: Duration::from_mins(5),
            queued_max_kbytes: 16 * 1024,
            queued_min_messages: 10_000,
            properties: BTreeMap::new(),
        }
    }

    /// What librdkafka is told by every client of ours, member of the group or not.
    pub(super) fn client_config(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = ClientConfig::new();
        // What may be set otherwise comes first.
        config
            .set("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS)
            .set("client.id", &self.client_id);
        for (property, value) in &self.properties {
            if let Some(reason) = refused(property) {
                return Err(SettingsError::Refused { property: property.clone(), reason });
            }
            config.set(property, value.expose_secret());
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        Ok(config)
    }

    /// What librdkafka is told by the group's member.
    pub(super) fn member_config(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client_config()?;
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            .set("max.poll.interval.ms", self.max_poll_interval.as_millis().to_string());
        for (property, ours) in [
            ("queued.max.messages.kbytes", self.queued_max_kbytes),
            ("queued.min.messages", self.queued_min_messages),
        ] {
            if !self.properties.contains_key(property) {
                config.set(property, ours.to_string());
            }
        }
        match self.protocol {
            GroupProtocol::Classic => config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", self.session_timeout.as_millis().to_string()),
            GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
        };
        Ok(config)
    }
}

impl ConsumerOptions {
    /// Production defaults.
    pub fn new(kafka: KafkaOptions, topic: impl Into<String>) -> Self {
        Self {
            kafka,
            topic: topic.into(),
            start_from: StartFrom::Earliest,
            batch_max: 1000,
            batch_bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(20),
            identity_interval: Duration::from_secs(30),
            note_interval: Duration::from_secs(10),
            stop_poll: Duration::from_secs(5),
            commit_interval: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            log_interval: Duration::from_secs(30),
        }
    }

    /// Refuses what could never work.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (setting, is_zero) in [
            ("ingest.batch_max", self.batch_max == 0),
            ("ingest.batch_bytes", self.batch_bytes == 0),
            ("kafka.identity_interval", self.identity_interval.is_zero()),
            ("kafka.note_interval", self.note_interval.is_zero()),
            ("kafka.retry_min", self.retry_min.is_zero()),
        ] {
            if is_zero {
                return Err(SettingsError::Zero { setting });
            }
        }
        Ok(())
    }

    /// How many records wait between librdkafka and a partition's task: one batch being gathered
    /// behind the one that is being taken.
    pub(super) fn waiting_max(&self) -> usize {
        self.batch_max.saturating_mul(2).clamp(2, 100_000)
    }

    /// How many bytes wait there before no more are taken from librdkafka.
    pub(super) fn waiting_bytes_max(&self) -> usize {
        self.batch_bytes.saturating_mul(2)
    }

    /// The pause after the `attempts`-th failure in a row, halved at most by `jitter` (0 to 1).
    pub(super) fn pause(&self, attempts: u32, jitter: f64) -> Duration {
        let doubled = self.retry_min.saturating_mul(2_u32.saturating_pow(attempts.min(16)));
        doubled.min(self.retry_max).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_the_protocol_rests_on_is_refused_by_name() {
        for property in ["enable.auto.commit", "auto.offset.reset", "group.instance.id"] {
            let mut options = KafkaOptions::new("localhost:1", "group");
            options.properties.insert(property.to_owned(), SecretString::from("true"));
            let refused = options.member_config().unwrap_err();
            assert!(refused.to_string().contains(property), "{refused}");
        }
    }

    #[test]
    fn other_properties_go_to_librdkafka_as_they_are() {
        let mut options = KafkaOptions::new("localhost:1", "group");
        options.properties.insert("socket.timeout.ms".to_owned(), SecretString::from("1234"));
        let config = options.member_config().unwrap();
        assert_eq!(config.get("socket.timeout.ms"), Some("1234"));
        assert_eq!(config.get("client.id"), Some("calendar-sync"));
        for property in ["client.id", "queued.max.messages.kbytes", "queued.min.messages"] {
            options.properties.insert(property.to_owned(), SecretString::from("77"));
            assert_eq!(options.member_config().unwrap().get(property), Some("77"));
        }
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("partition.assignment.strategy"), Some("cooperative-sticky"));
    }

    #[test]
    fn under_kip_848_nothing_is_set_that_the_broker_decides() {
        let mut options = KafkaOptions::new("localhost:1", "group");
        options.protocol = GroupProtocol::Consumer;
        let config = options.member_config().unwrap();
        assert_eq!(config.get("partition.assignment.strategy"), None);
        assert_eq!(config.get("session.timeout.ms"), None);
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let options = ConsumerOptions::new(KafkaOptions::new("localhost:1", "group"), "topic");
        assert_eq!(options.pause(0, 0.0), options.retry_min);
        assert_eq!(options.pause(1, 0.0), options.retry_min * 2);
        assert_eq!(options.pause(u32::MAX, 0.0), options.retry_max);
        assert_eq!(options.pause(0, 1.0), options.retry_min / 2);
    }
}
