//! Reading the topic: who owns a partition, where reading it begins, whether its log is still the
//! one that was read, and the batches that come of it. Alone knows Kafka; knows neither what a
//! record says nor any SQL.
//!
//! # Two authorities
//!
//! Kafka decides who *should* read a partition. The database decides who *may* advance its cursor:
//! each owner raises the cursor's epoch and stores a random token (the fence) before it reads, and
//! every later write asks for that token. Kafka's own commits are no fence, since a live member
//! can commit for a partition that another one owns; they are a trailing copy, written after the
//! cursor, so that lag tools see something. Nothing is ever read from them.
//!
//! # A rebalance, step by step
//!
//! One thread (`thread.rs`) owns the librdkafka consumer and polls it. It never waits for the
//! database, a task or another question to the broker, so membership does not depend on any.
//!
//! 1. *Assigned.* In the callback the thread answers with an `incremental_assign` of **nothing**,
//!    and publishes what is owned now. The empty answer is what makes the rest possible: until an
//!    assign call comes, librdkafka (2.12.1: `rd_kafka_rebalance_op_incr`, join state
//!    `WAIT_ASSIGN_CALL`) keeps everything that is being read already paused, and ignores the next
//!    rebalance, so that a slow database would hold up the whole group and have this member thrown
//!    out after `max.poll.interval.ms`. With it, the member is steady again at once. It goes on
//!    claiming the partitions, because what it tells the group is `rkcg_group_assignment`, kept
//!    from Kafka's answers, and not what the application reads; and `incremental_assign` takes
//!    further partitions at any later time (`rd_kafka_assignment_add` asks for no join state).
//! 2. *Fenced.* What is new is fenced in one `store.fence` (rule R1), which also reads the cursors.
//!    While the database is down this is tried again and again; the partitions stay ours.
//! 3. *Checked.* Then, not before, the broker is asked for the ends of the log and for the topic's
//!    and the cluster's ids: whatever the cursor has seen must be there (rule R2, [`log_check`]).
//! 4. *Read.* The partition's task asks the thread to read from an explicit offset, and the thread
//!    makes the partition a queue of its own and calls `incremental_assign` with it alone. No seek
//!    and no pause: both can be overridden before the first record. The first record is the one
//!    below the cursor, and must be the one that was read before.
//! 5. *Revoked*, or lost. In the callback the thread hands librdkafka the commit of the trailing
//!    copy (unless lost) and calls `incremental_unassign` for those of the partitions that are
//!    being read; librdkafka lets the group go on only after that commit has been answered
//!    (`rd_kafka_assignment_serve` counts it), so it need not be waited for here. The partition's
//!    task is cancelled and not waited for: what it is still committing either came first or is
//!    refused by the next owner's fence.
//! 6. *Foreign.* If the fence refuses us while Kafka says that the partition is ours, the task
//!    waits a little and begins again at 2. It never sits idle: if the other one is a zombie, our
//!    fence ends it, and if we are, Kafka will say so.
//!
//! A command to the thread carries the number of the ownership that it was meant for, so what was
//! decided for an earlier one does nothing.
//!
//! # Stopped partitions
//!
//! A log that is not the one that was read is never guessed at: the stop is stored under the
//! fence, the partition stays ours, is not read, and is looked at again until an operator has
//! answered (`cursor accept|set`), which clears the stop; then it begins again at 2.

pub mod settings;

pub mod status;

pub mod log_check;

pub mod broker;

mod asking;

mod group;

mod fencing;

mod partition;

mod reading;

mod lag;

mod batch;

mod thread;

mod context;

mod trouble;

mod native;

#[cfg(feature = "demo")]
pub mod embedded;

use std::time::Duration;

use async_trait::async_trait;
use rdkafka::Message as _;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio_util::sync::CancellationToken;

pub use group::Consumer;
pub use settings::{ConsumerOptions, GroupProtocol, KafkaOptions, SettingsError, StartFrom};
pub use status::{Lag, Life, PartitionStatus, Phase, Reach, Snapshot, Status, Trouble};

use crate::store::{Fence, Witness};

/// A record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The timestamp, milliseconds since the epoch; −1 if it has none.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl RawRecord {
    /// What it is known by later: its timestamp, and a CRC-32 over key and value, each preceded by
    /// its length (eight bytes, big-endian; −1: there is none).
    pub fn witness(&self) -> Witness {
        let mut hasher = crc32fast::Hasher::new();
        for part in [&self.key, &self.payload] {
            let length = part.as_ref().map_or(-1, |bytes| bytes.len().cast_signed() as i64);
            hasher.update(&length.to_be_bytes());
            hasher.update(part.as_deref().unwrap_or_default());
        }
        Witness { timestamp_ms: self.timestamp_ms, checksum: i64::from(hasher.finalize()) }
    }

    /// How many bytes it holds.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + length(value));
        length(&self.key) + length(&self.payload) + headers.sum::<usize>()
    }

    fn from_message(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(native::headers).unwrap_or_default(),
        }
    }
}

/// Where a batch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// The fence that it is to be committed under.
    pub fence: Fence,
    /// How many times this partition's log was accepted as made anew.
    pub incarnation: i32,
    /// The cursor: the batch is `[from, last offset + 1)`.
    pub from: i64,
    /// The log end last seen.
    pub log_end: Option<i64>,
    /// Up to here the database may have forgotten what it did (rule R18).
    pub recover_until: Option<i64>,
    /// How long ago its first record came: the others came after it.
    pub gathered_for: Duration,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It is committed, and this is the cursor now.
    To(i64),
    /// The fence is somebody else's.
    Foreign,
    /// It was given up because `stop` said so; nothing of it is committed, as far as is known.
    Stopped,
}

/// What takes the records: decode, fold, plan, one commit. Retries trouble with the database
/// itself, and resolves an ambiguous commit by reading.
#[async_trait]
pub trait BatchSink: Send + Sync + 'static {
    /// Takes records of one partition, at least one, in order. `stop` is cancelled when the
    /// partition is revoked or the service stops: finish soon, or give up.
    async fn take(
        &self,
        at: &BatchPlace,
        records: Vec<RawRecord>,
        stop: &CancellationToken,
    ) -> Taken;
}

/// Why the consumer ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The settings cannot be.
    #[error("the consumer's settings are refused")]
    Settings(#[from] SettingsError),
    /// librdkafka refuses them, or cannot start.
    #[error("the kafka client could not be made")]
    Client(#[source] KafkaError),
    /// The topic cannot be subscribed to.
    #[error("the topic {topic} could not be subscribed to")]
    Subscribe {
        /// The topic.
        topic: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The operating system gives no thread.
    #[error("the kafka thread could not be started")]
    Thread(#[source] std::io::Error),
    /// librdkafka cannot go on: the process has to be started anew.
    #[error("the kafka client failed for good")]
    Fatal(#[source] KafkaError),
    /// A mistake of ours.
    #[error("a task of the consumer panicked: {detail}")]
    Panicked {
        /// What is known.
        detail: String,
    },
}

impl ConsumerError {
    fn client(error: KafkaError) -> Self {
        Self::Client(without_value(error))
    }
}

/// A client's refusal of a property names it, and would show what it was set to: a password, as
/// likely as not, under a misspelt name.
pub fn without_value(error: KafkaError) -> KafkaError {
    if let KafkaError::ClientConfig(code, description, property, _) = error {
        return KafkaError::ClientConfig(code, description, property, String::new());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, payload: Option<&str>) -> RawRecord {
        RawRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: 1,
            key: key.map(|text| text.as_bytes().to_vec()),
            payload: payload.map(|text| text.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_witness_tells_where_the_key_ends_and_nothing_from_empty() {
        let witness = |key, payload| record(key, payload).witness().checksum;
        assert_eq!(witness(Some("a"), Some("b")), witness(Some("a"), Some("b")));
        assert_ne!(witness(Some("ab"), Some("")), witness(Some("a"), Some("b")));
        assert_ne!(witness(Some("a"), None), witness(Some("a"), Some("")));
        assert_ne!(witness(None, Some("a")), witness(Some("a"), None));
    }
}
