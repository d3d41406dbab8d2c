//! What librdkafka calls while the consumer's thread polls it: Kafka's decisions about who owns
//! what, answered at once and passed on as state. The prose is in [the module above](super).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::broker::{Owned, Trailing, is_topic_missing};
use super::native;
use super::status::{Reach, Status};
use super::trouble::{self, Known};
use crate::clock::Surroundings;

/// Lets the same kind of trouble through once in a while.
pub(super) struct Limiter {
    seen: Mutex<BTreeMap<String, Duration>>,
    interval: Duration,
}

/// How many kinds of trouble a [`Limiter`] tells apart.
const KINDS_MAX: usize = 64;

impl Limiter {
    /// Lets each kind through once in `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { seen: Mutex::default(), interval }
    }

    /// Whether it is time to speak of it again; `now` is a stopwatch's.
    pub(super) fn lets(&self, kind: &str, now: Duration) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(kind).is_some_and(|last| now.saturating_sub(*last) < self.interval) {
            return false;
        }
        if seen.len() >= KINDS_MAX {
            seen.clear();
        }
        seen.insert(kind.to_owned(), now);
        true
    }
}

/// Where trouble with a broker goes: the status, and now and then the log.
#[derive(Clone)]
pub(super) struct Complaints {
    pub(super) surroundings: Surroundings,
    pub(super) status: Arc<Status>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) topic: String,
}

impl Complaints {
    /// Keeps and, unless it was said lately, logs it. `kind` is what "the same" is told by.
    pub(super) fn say(&self, kind: &str, text: &str) {
        self.say_with("kafka_trouble", kind, text);
    }

    fn say_with(&self, error_code: &'static str, kind: &str, text: &str) {
        self.status.trouble(self.surroundings.clock.now(), format!("{kind}: {text}"));
        if self.limiter.lets(kind, self.surroundings.clock.elapsed()) {
            tracing::warn!(topic = self.topic, error_code, error = text, "kafka: {kind}");
        }
    }

    /// librdkafka speaks.
    fn client_error(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if is_topic_missing(code) {
            self.status.change(|snapshot| snapshot.topic_missing = true);
        }
        match trouble::known(code, reason) {
            Some(known) => self.say_known(known, reason),
            None => self.say(&error.to_string(), reason),
        }
    }

    /// librdkafka writes into its log.
    fn client_line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // A connection that fails is tried again many times a second. librdkafka holds back a failure that
        // is the same as the one before, and not two that take turns.
        let failure = line.split(" (after ").next().unwrap_or_default();
        let now = self.surroundings.clock.elapsed();
        if facility != "FAIL" || self.limiter.lets(failure, now) {
            log_line(level, facility, line);
        }
        if let Some(known) = trouble::known_by_line(facility, line) {
            self.say_known(known, line);
        }
    }

    /// Something that somebody has to mend.
    fn say_known(&self, known: Known, reason: &str) {
        self.status.change(|snapshot| {
            if snapshot.reach != Reach::Answered {
                snapshot.reach = Reach::Refused(format!("{}: {reason}", known.text));
            }
        });
        self.say_with(known.code, known.text, reason);
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(TopicPartitionListElem::partition).collect()
}

fn list_of(topic: &str, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

fn offsets_of(list: &TopicPartitionList) -> Vec<(i32, i64)> {
    let elements = list.elements();
    let offset = |element: &TopicPartitionListElem<'_>| {
        element.offset().to_raw().map(|offset| (element.partition(), offset))
    };
    elements.iter().filter_map(offset).collect()
}

fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

/// The context of the client that asks about the log and is no member of the group.
pub(super) struct AskingContext(pub(super) Complaints);

impl ClientContext for AskingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.client_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.client_error(&error, reason);
    }
}

impl ConsumerContext for AskingContext {}

/// The context of the group's member.
pub(super) struct GroupContext {
    /// The topic.
    pub(super) topic: String,
    /// Kafka's assignment, as of the last callback.
    pub(super) owned: watch::Sender<Owned>,
    /// What librdkafka has been told to read, with the ownership's number. Only the consumer's
    /// thread changes it.
    pub(super) reading: Mutex<Owned>,
    /// What is to be committed.
    pub(super) trailing: Arc<Trailing>,
    /// The number of the next ownership.
    pub(super) next_owner: Mutex<u64>,
    /// For trouble.
    pub(super) complaints: Complaints,
}

impl GroupContext {
    pub(super) fn reading(&self) -> MutexGuard<'_, Owned> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        let mut next = self.next_owner.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        *next
    }

    /// Accepts, and reads nothing yet: the fence comes first (rule R1).
    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
            self.complaints.say("an assignment could not be accepted", &error.to_string());
        }
        let partitions = partitions(list);
        tracing::info!(topic = self.topic, ?partitions, "kafka assigned partitions");
        self.complaints.status.change(|snapshot| {
            snapshot.rebalances += 1;
            snapshot.topic_missing &= partitions.is_empty();
        });
        self.owned.send_modify(|owned| {
            for partition in partitions {
                owned.insert(partition, self.number());
            }
        });
    }

    /// Lets go at once: the fence protects what is still being committed.
    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions(list);
        let is_lost = consumer.assignment_lost();
        tracing::info!(topic = self.topic, ?partitions, is_lost, "kafka revoked partitions");
        if !is_lost {
            self.commit(consumer, CommitMode::Async, |partition| partitions.contains(&partition));
        }
        let mut leaving = TopicPartitionList::new();
        {
            let mut reading = self.reading();
            for partition in &partitions {
                if reading.remove(partition).is_some() {
                    leaving.add_partition(&self.topic, *partition);
                }
            }
        }
        if let Err(error) = consumer.incremental_unassign(&leaving) {
            self.complaints.say("a revocation could not be accepted", &error.to_string());
        }
        for partition in &partitions {
            self.trailing.forget(*partition);
        }
        self.complaints.status.change(|snapshot| {
            snapshot.rebalances += 1;
            if is_lost {
                snapshot.partitions_lost += partitions.len() as u64;
            }
        });
        self.owned
            .send_modify(|owned| owned.retain(|partition, _| !partitions.contains(partition)));
    }

    /// Commits the trailing copies of some partitions.
    pub(super) fn commit(
        &self,
        consumer: &BaseConsumer<Self>,
        mode: CommitMode,
        of: impl Fn(i32) -> bool,
    ) {
        let offsets = self.trailing.take(of);
        if offsets.is_empty() {
            return;
        }
        let list = match list_of(&self.topic, &offsets) {
            Ok(list) => list,
            Err(error) => {
                self.complaints.say("an offset could not be written down", &error.to_string());
                return;
            }
        };
        crate::crash::point!("r3.trailing");
        let committed = match mode {
            CommitMode::Sync => consumer.commit(&list, mode),
            CommitMode::Async => native::commit(consumer.client(), &list),
        };
        if let Err(error) = committed {
            self.trailing.give_back(&offsets);
            self.complaints.say("offsets could not be committed", &error.to_string());
        }
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.client_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.client_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, list);
        } else {
            self.revoked(consumer, list);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        crate::crash::point!("r3.trailed", if result.is_ok());
        if let Err(error) = result {
            self.trailing.give_back(&offsets_of(offsets));
            self.complaints.say("offsets could not be committed", &error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_let_through_once_in_an_interval() {
        let limiter = Limiter::new(Duration::from_secs(30));
        assert!(limiter.lets("a", Duration::from_secs(0)));
        assert!(!limiter.lets("a", Duration::from_secs(29)));
        assert!(limiter.lets("b", Duration::from_secs(29)));
        assert!(limiter.lets("a", Duration::from_secs(30)));
    }
}
