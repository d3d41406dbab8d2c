//! Stand-in.
use crate::store::{Fence, Witness};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
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
}

/// Where a batch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// The fence that it is to be committed under.
    pub fence: Fence,
    /// How many times the topic was accepted as made anew.
    pub incarnation: i32,
    /// The cursor: the batch is `[from, last offset + 1)`.
    pub from: i64,
    /// The log end last seen.
    pub log_end: Option<i64>,
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
