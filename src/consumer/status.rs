//! What the consumer is doing, for health and metrics: a snapshot that anyone may take.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::broker::Gauge;
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
    /// Where what waits begins, where that is not the cursor: in another log than the one that was
    /// read, or as far as Kafka's trailing commit tells while the database does not.
    pub waits_from: Option<i64>,
    /// The oldest record that was seen to wait.
    pub oldest: Option<Waiting>,
    /// No batch is handed over: the outbox is behind its limit.
    pub is_held: bool,
    /// So much waits for the database that no more is fetched.
    pub is_full: bool,
}

/// A record that is not committed to the cursor yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its offset, or one before it.
    pub offset: i64,
    /// Since when it has been in the log, in milliseconds since the epoch: by its own timestamp, or
    /// since it was first seen that something is there.
    pub since_ms: i64,
}

/// How far a partition is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Offsets between the cursor and the log end.
    pub records: i64,
    /// How long the oldest of them has been in the log.
    pub time: Duration,
}

impl PartitionStatus {
    /// Where what waits begins, as far as is known.
    pub fn position(&self) -> Option<i64> {
        match self.phase {
            Phase::Stopped(_) => self.waits_from.or(self.cursor),
            Phase::Fencing | Phase::Reading | Phase::BackingOff => self.cursor.or(self.waits_from),
        }
    }

    /// How far it is behind now; `None`: neither the database nor Kafka has told yet.
    pub fn lag(&self, now: DateTime<Utc>) -> Option<Lag> {
        let (position, log_end) = (self.position()?, self.log_end?);
        let records = (log_end - position).max(0);
        if records == 0 {
            return Some(Lag::default());
        }
        let waiting = self.oldest.filter(|oldest| oldest.offset >= position);
        let ms = waiting.map_or(0, |oldest| now.timestamp_millis() - oldest.since_ms);
        Some(Lag { records, time: Duration::from_millis(ms.try_into().unwrap_or_default()) })
    }
}

/// Whether the consumer is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Life {
    /// Not yet.
    #[default]
    Unborn,
    /// It is a member of the group, or is becoming one.
    Member,
    /// Not any more.
    Ended,
}

/// Whether the broker has been reached since we began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// Not yet.
    #[default]
    NotYet,
    /// It does not let us in, or we do not trust it, and why.
    Refused(String),
    /// It lets us in, and answers. It stays so when the broker goes away later.
    Answered,
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
    /// Whether it is there.
    pub life: Life,
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
    /// The partitions of the topic, as they were seen last; `None`: never yet.
    pub topic_partitions: Option<i32>,
    /// Whether the broker has been reached since we began.
    pub reach: Reach,
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
    /// What waits for the tasks that read.
    gauges: BTreeMap<i32, Arc<Gauge>>,
}

impl Status {
    /// What the consumer is doing now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let mut snapshot = inner.snapshot.clone();
        for (partition, status) in &mut snapshot.partitions {
            let gauge = inner.gauges.get(partition);
            status.is_full = gauge.is_some_and(|gauge| gauge.is_starved.load(Ordering::Relaxed));
        }
        snapshot
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
            waits_from: None,
            oldest: None,
            is_held: false,
            is_full: false,
        };
        inner.gauges.remove(&partition);
        inner.owners.insert(partition, owner);
        inner.snapshot.partitions.insert(partition, status);
    }

    /// A partition went.
    pub(super) fn remove(&self, partition: i32, owner: u64) {
        let mut inner = self.lock();
        if inner.owners.get(&partition) == Some(&owner) {
            inner.owners.remove(&partition);
            inner.gauges.remove(&partition);
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

    /// A task begins to read: this is what waits for it.
    pub(super) fn reads(&self, partition: i32, owner: u64, gauge: Arc<Gauge>) {
        let mut inner = self.lock();
        if inner.owners.get(&partition) == Some(&owner) {
            inner.gauges.insert(partition, gauge);
        }
    }

    /// It reads no more.
    pub(super) fn rests(&self, partition: i32, owner: u64) {
        let mut inner = self.lock();
        if inner.owners.get(&partition) == Some(&owner) {
            inner.gauges.remove(&partition);
        }
    }

    /// Adds what is known of a partition's log from beside its task, if it is as it was when that was
    /// asked for.
    pub(super) fn looked(
        &self,
        partition: i32,
        before: &PartitionStatus,
        change: impl FnOnce(&mut PartitionStatus),
    ) {
        let mut inner = self.lock();
        if let Some(status) = inner.snapshot.partitions.get_mut(&partition)
            && status.cursor == before.cursor
            && status.phase == before.phase
        {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn behind(cursor: Option<i64>, log_end: i64, oldest: Option<(i64, i64)>) -> PartitionStatus {
        let status = Status::default();
        status.add(0, 1);
        status.partition(0, 1, |it| {
            it.phase = Phase::Reading;
            (it.cursor, it.log_end) = (cursor, Some(log_end));
            it.oldest = oldest.map(|(offset, since_ms)| Waiting { offset, since_ms });
        });
        status.snapshot().partitions.remove(&0).unwrap()
    }

    fn lag(status: &PartitionStatus) -> Option<(i64, u64)> {
        let lag = status.lag(at(100_000))?;
        Some((lag.records, lag.time.as_secs()))
    }

    #[test]
    fn who_has_caught_up_is_not_behind_whatever_was_seen_before() {
        assert_eq!(lag(&behind(Some(7), 7, Some((3, 1_000)))), Some((0, 0)));
        assert_eq!(lag(&behind(Some(7), 5, None)), Some((0, 0)));
    }

    #[test]
    fn the_oldest_record_that_waits_tells_for_how_long() {
        assert_eq!(lag(&behind(Some(7), 9, Some((7, 40_000)))), Some((2, 60)));
        // A clock that is behind the producer's.
        assert_eq!(lag(&behind(Some(7), 9, Some((7, 140_000)))), Some((2, 0)));
        // It is committed already.
        assert_eq!(lag(&behind(Some(7), 9, Some((6, 40_000)))), Some((2, 0)));
    }

    #[test]
    fn a_cursor_that_is_not_known_is_stood_in_for_by_what_kafka_has() {
        let mut status = behind(None, 9, Some((4, 40_000)));
        assert_eq!(lag(&status), None);
        status.waits_from = Some(4);
        assert_eq!(lag(&status), Some((5, 60)));
        status.cursor = Some(8);
        assert_eq!(lag(&status), Some((1, 0)));
    }

    #[test]
    fn in_another_log_the_old_cursor_tells_nothing() {
        let mut status = behind(Some(1_000), 20, Some((0, 40_000)));
        let (kind, found) = ("recreated".to_owned(), String::new());
        status.phase = Phase::Stopped(Stop { kind, found });
        status.waits_from = Some(0);
        assert_eq!(lag(&status), Some((20, 60)));
    }
}
