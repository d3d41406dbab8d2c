//! What the consumer is doing, for health and metrics: a snapshot that anyone may take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::store::Stop;

/// What is being done about a partition that Kafka has assigned to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Its fence is being raised and its log checked.
    Fencing,
    /// It is being read.
    Reading,
    /// Somebody else raised its fence though Kafka assigns it to us: fenced again after a pause.
    BackingOff,
    /// It waits for an operator.
    Stopped(Stop),
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// What is being done about it.
    pub phase: Phase,
    /// The next offset to be read, as stored.
    pub cursor: Option<i64>,
    /// The log end last seen.
    pub log_end: Option<i64>,
    /// Kafka's trailing commit, if it stood above the cursor when the partition was fenced: the
    /// database may have lost its tail (rule R18).
    pub kafka_ahead: Option<i64>,
}

/// Trouble, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When it was last seen.
    pub at: DateTime<Utc>,
    /// What it was.
    pub text: String,
}

/// What the consumer is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The partitions that Kafka has assigned to us.
    pub partitions: BTreeMap<i32, PartitionStatus>,
    /// How many times Kafka changed what is assigned to us.
    pub rebalances: u64,
    /// How many times a partition was lost: the group had given it away before we knew.
    pub partitions_lost: u64,
    /// How many times somebody else's fence refused us, by what we were about to do: `commit`,
    /// `look` (at the cursor, while nothing comes), `note_log`, `stop`.
    pub fence_refusals: BTreeMap<&'static str, u64>,
    /// The last trouble with the broker or the database. It stays after it has passed.
    pub last_error: Option<Trouble>,
    /// The topic does not exist as far as the broker tells.
    pub topic_missing: bool,
}

/// The snapshot, shared.
#[derive(Debug, Default)]
pub struct Status {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    snapshot: Snapshot,
    /// Whose each partition's status is: a task that has been superseded writes nothing.
    owners: BTreeMap<i32, u64>,
}

impl Status {
    /// What the consumer is doing now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition came.
    pub(super) fn add(&self, partition: i32, owner: u64) {
        let mut inner = self.lock();
        let status = PartitionStatus {
            phase: Phase::Fencing,
            cursor: None,
            log_end: None,
            kafka_ahead: None,
        };
        inner.owners.insert(partition, owner);
        inner.snapshot.partitions.insert(partition, status);
    }

    /// A partition went.
    pub(super) fn remove(&self, partition: i32, owner: u64) {
        let mut inner = self.lock();
        if inner.owners.get(&partition) == Some(&owner) {
            inner.owners.remove(&partition);
            inner.snapshot.partitions.remove(&partition);
        }
    }

    /// Changes a partition's status, if it is still this owner's.
    pub(super) fn partition(
        &self,
        partition: i32,
        owner: u64,
        change: impl FnOnce(&mut PartitionStatus),
    ) {
        let mut inner = self.lock();
        if inner.owners.get(&partition) != Some(&owner) {
            return;
        }
        if let Some(status) = inner.snapshot.partitions.get_mut(&partition) {
            change(status);
        }
    }

    /// Changes what is not about one partition.
    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock().snapshot);
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, place: &'static str) {
        self.change(|snapshot| *snapshot.fence_refusals.entry(place).or_default() += 1);
    }

    /// Keeps trouble.
    pub(super) fn trouble(&self, at: DateTime<Utc>, text: String) {
        self.change(|snapshot| snapshot.last_error = Some(Trouble { at, text }));
    }
}
