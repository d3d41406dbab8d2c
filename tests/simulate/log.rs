//! The topic: partitions of records with offsets, an identity, and Kafka's copy of the cursors. It
//! keeps what it is given, unless a deed takes something from it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use calendar_sync::consumer::RawRecord;
use calendar_sync::consumer::log_check::Identity;
use tokio::sync::watch;

/// The topic's name.
pub(crate) const TOPIC: &str = "booking.events";

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    /// Counts how often the topic was made.
    made: u64,
    partitions: Vec<Partition>,
    committed: BTreeMap<i32, i64>,
}

#[derive(Debug, Default, Clone)]
struct Partition {
    low: i64,
    /// From `low` on; `None` is what is never delivered (the marker of a transaction).
    records: VecDeque<Option<RawRecord>>,
}

impl Partition {
    fn high(&self) -> i64 {
        self.low + i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }
}

/// What reading from an offset came to.
#[derive(Debug)]
pub(crate) enum Fetch {
    /// A record.
    Record(RawRecord),
    /// Nothing at this offset is ever delivered.
    Passed,
    /// It is the end.
    End,
    /// The offset is not in the log.
    OutOfRange,
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}

impl Topic {
    /// A new topic.
    pub(crate) fn new(partitions: usize) -> Self {
        let partitions = vec![Partition::default(); partitions];
        let inner = Inner { made: 1, partitions, committed: BTreeMap::new() };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner());
        self.changed.send_replace(());
        changed
    }

    /// Who waits for changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> i32 {
        i32::try_from(self.inner().partitions.len()).unwrap_or(i32::MAX)
    }

    /// The partition of a key, as its producer chooses it.
    pub(crate) fn partition_of(&self, key: &str) -> i32 {
        let spread = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = key.bytes().fold(0x811c_9dc5, spread);
        let count = u32::try_from(self.partitions()).unwrap_or(1);
        i32::try_from(hash % count).unwrap_or_default()
    }

    /// Adds a record, and tells where it stands.
    pub(crate) fn append(
        &self,
        key: &str,
        payload: Option<Vec<u8>>,
        timestamp_ms: i64,
    ) -> (i32, i64) {
        let partition = self.partition_of(key);
        self.change(|inner| {
            let log = &mut inner.partitions[index(partition)];
            let offset = log.high();
            log.records.push_back(Some(RawRecord {
                partition,
                offset,
                timestamp_ms,
                key: Some(key.as_bytes().to_vec()),
                payload,
                headers: Vec::new(),
            }));
            (partition, offset)
        })
    }

    /// Adds what is never delivered.
    pub(crate) fn append_marker(&self, partition: i32) {
        self.change(|inner| inner.partitions[index(partition)].records.push_back(None));
    }

    /// What stands at an offset.
    pub(crate) fn fetch(&self, partition: i32, offset: i64) -> Fetch {
        let inner = self.inner();
        let Some(log) = inner.partitions.get(index(partition)) else {
            return Fetch::OutOfRange;
        };
        if offset < log.low || offset > log.high() {
            return Fetch::OutOfRange;
        }
        match log.records.get(usize::try_from(offset - log.low).unwrap_or(usize::MAX)) {
            None => Fetch::End,
            Some(None) => Fetch::Passed,
            Some(Some(record)) => Fetch::Record(record.clone()),
        }
    }

    /// A partition's first offset and the one after its last.
    pub(crate) fn ends(&self, partition: i32) -> Option<(i64, i64)> {
        let inner = self.inner();
        let log = inner.partitions.get(index(partition))?;
        Some((log.low, log.high()))
    }

    /// Who the log says it is.
    pub(crate) fn identity(&self) -> Identity {
        let topic_id = format!("topic-{}", self.inner().made);
        Identity { topic_id: Some(topic_id), cluster_id: Some("cluster".to_owned()) }
    }

    /// Deletes what stands below an offset.
    pub(crate) fn retain_from(&self, partition: i32, low: i64) {
        self.change(|inner| {
            let log = &mut inner.partitions[index(partition)];
            while log.low < low && log.records.pop_front().is_some() {
                log.low += 1;
            }
        });
    }

    /// Deletes the topic and makes it anew, empty.
    pub(crate) fn recreate(&self) {
        self.change(|inner| {
            inner.made += 1;
            inner.committed.clear();
            for log in &mut inner.partitions {
                *log = Partition::default();
            }
        });
    }

    /// Adds a partition: keys go elsewhere from now on.
    pub(crate) fn add_partition(&self) {
        self.change(|inner| inner.partitions.push(Partition::default()));
    }

    /// Kafka's copy of a cursor.
    pub(crate) fn committed(&self, partition: i32) -> Option<i64> {
        self.inner().committed.get(&partition).copied()
    }

    /// Writes it.
    pub(crate) fn commit(&self, partition: i32, offset: i64) {
        self.inner().committed.insert(partition, offset);
    }
}
