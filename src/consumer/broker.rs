//! The broker, as the partitions' tasks see it: who answers questions about the log, and the group's
//! member that reads it. In the service that is librdkafka ([`super::asking`], [`super::thread`]); a
//! simulation has its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use async_trait::async_trait;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::RawRecord;
use super::log_check::Identity;

/// How many commands may wait for the member.
pub const COMMANDS_MAX: usize = 1024;

/// Answers questions about the log.
#[async_trait]
pub trait Asking: Send + Sync + 'static {
    /// Who the log says it is.
    async fn identity(&self) -> Result<Identity, AskError>;

    /// A partition's first offset and the one after its last.
    async fn watermarks(&self, partition: i32) -> Result<(i64, i64), AskError>;

    /// Kafka's trailing copy of a partition's cursor, which nothing is ever read from; it tells of
    /// a database that lost its tail (rule R18). `None`: there is none.
    async fn committed(&self, partition: i32) -> Result<Option<i64>, AskError>;

    /// How many partitions the topic has.
    async fn partition_count(&self) -> Result<i32, AskError>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Kafka says no, or nothing.
    #[error("the broker did not tell {what}")]
    Kafka {
        /// What it was asked for.
        what: &'static str,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The runtime is going down.
    #[error("the question for {what} was given up")]
    GivenUp {
        /// What it was.
        what: &'static str,
    },
}

impl AskError {
    /// What librdkafka says, in words.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Kafka { what, source } => format!("{what}: {source}"),
            Self::GivenUp { what } => (*what).to_owned(),
        }
    }

    /// Whether the topic is not there.
    pub(super) fn is_topic_missing(&self) -> bool {
        match self {
            Self::Kafka { source, .. } => is_topic_missing(source.rdkafka_error_code()),
            Self::GivenUp { .. } => false,
        }
    }
}

/// Whether a broker says that there is no such topic or partition.
pub(super) fn is_topic_missing(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopicId
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// What Kafka has assigned to us: partition, and the number of this ownership. A partition that
/// leaves and comes back has another number, so that nothing meant for the first reaches the
/// second.
pub type Owned = BTreeMap<i32, u64>;

/// The group's member: what it tells the tasks, and how they reach it.
pub struct Member {
    /// Kafka's assignment.
    pub owned: watch::Receiver<Owned>,
    /// Where it is asked.
    pub commands: mpsc::Sender<Command>,
    /// What it is to commit, now and then.
    pub trailing: Arc<Trailing>,
    /// Why it ended, once it has.
    pub ended: oneshot::Receiver<Ended>,
    /// Rung after everything that it is asked.
    pub bell: Arc<Bell>,
}

/// Kafka's trailing copy of the cursors: what is to be committed to it.
#[derive(Debug, Default)]
pub struct Trailing {
    offsets: Mutex<BTreeMap<i32, Offer>>,
}

#[derive(Debug, Clone, Copy)]
struct Offer {
    offset: i64,
    is_committed: bool,
}

impl Trailing {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Offer>> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cursor has reached `offset`, durably.
    pub(super) fn note(&self, partition: i32, offset: i64) {
        self.lock().insert(partition, Offer { offset, is_committed: false });
    }

    /// What is not committed yet, of the partitions that `of` picks: partition and offset. It counts
    /// as committed now.
    pub fn take(&self, of: impl Fn(i32) -> bool) -> Vec<(i32, i64)> {
        let mut offers = self.lock();
        let due = offers.iter_mut().filter(|(partition, it)| !it.is_committed && of(**partition));
        due.map(|(partition, offer)| {
            offer.is_committed = true;
            (*partition, offer.offset)
        })
        .collect()
    }

    /// A commit failed: it is due again, unless the cursor has moved on since.
    pub fn give_back(&self, commit: &[(i32, i64)]) {
        let mut offers = self.lock();
        for (partition, offset) in commit {
            if let Some(offer) = offers.get_mut(partition)
                && offer.offset == *offset
            {
                offer.is_committed = false;
            }
        }
    }

    /// The partition is not ours any more.
    pub fn forget(&self, partition: i32) {
        self.lock().remove(&partition);
    }
}

/// What waits between the member and a partition's task.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes waiting.
    pub bytes: AtomicUsize,
    /// The thread left records in librdkafka for want of room: ring when there is some.
    pub is_starved: AtomicBool,
    /// The log end that the last fetch told; below 0: none yet.
    pub log_end: AtomicI64,
}

/// What a partition's task receives.
#[derive(Debug)]
pub enum Fetched {
    /// A record.
    Record(RawRecord),
    /// Up to this offset there is nothing more that is delivered.
    Passed(i64),
    /// librdkafka says that reading this partition is in trouble.
    Trouble(RDKafkaErrorCode, String),
}

/// A partition's task asks for its records from `offset` on.
pub struct Read {
    /// The partition.
    pub partition: i32,
    /// The ownership that this is meant for.
    pub owner: u64,
    /// Where to begin.
    pub offset: i64,
    /// Where the records go. Once nobody receives, the partition is not read any more.
    pub records: mpsc::Sender<Fetched>,
    /// What waits there.
    pub gauge: Arc<Gauge>,
}

/// What the member is asked.
pub enum Command {
    /// Read a partition, if it is still that ownership's.
    Read(Read),
    /// Commit, leave the group, end.
    Close,
}

/// Why the member ended.
pub enum Ended {
    /// It was asked to, and has left the group.
    Closed,
    /// librdkafka cannot go on.
    Fatal(KafkaError),
}

/// Wakes the member's thread, if it has one.
#[derive(Default)]
pub struct Bell(OnceLock<Thread>);

impl Bell {
    /// From now on it wakes this thread.
    pub(super) fn is_of(&self, thread: Thread) {
        self.0.get_or_init(|| thread);
    }

    /// Wakes it, or keeps it from falling asleep once.
    pub(super) fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_to_be_committed_is_due_again_unless_the_cursor_moved_on() {
        let trailing = Trailing::default();
        trailing.note(0, 5);
        let failed = trailing.take(|_| true);
        assert_eq!(failed, [(0, 5)]);
        assert_eq!(trailing.take(|_| true), []);
        trailing.give_back(&failed);
        assert_eq!(trailing.take(|_| true), [(0, 5)]);
        trailing.note(0, 6);
        trailing.give_back(&failed);
        assert_eq!(trailing.take(|_| true), [(0, 6)]);
    }
}
