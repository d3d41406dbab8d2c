//! Gathering a batch: until it has enough records or bytes, or its first record has waited enough.

use std::future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::RawRecord;
use super::settings::ConsumerOptions;

/// The batch being gathered.
pub(super) struct Batch {
    records: Vec<RawRecord>,
    bytes: usize,
    records_max: usize,
    bytes_max: usize,
    linger: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Batch {
    /// An empty one.
    pub(super) fn new(options: &ConsumerOptions) -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
            records_max: options.batch_max,
            bytes_max: options.batch_bytes,
            linger: options.linger,
            deadline: None,
        }
    }

    /// Adds a record; the first one starts the wait.
    pub(super) fn push(&mut self, record: RawRecord) {
        if self.records.is_empty() {
            self.deadline = Some(Box::pin(sleep(self.linger)));
        }
        self.bytes += record.size();
        self.records.push(record);
    }

    /// Whether nothing is gathered.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.records_max || self.bytes >= self.bytes_max
    }

    /// Waits until it is to be handed over; an empty one never is. May be dropped and called
    /// again: the wait goes on where it was.
    pub(super) async fn ready(&mut self) {
        if self.is_full() {
            return;
        }
        match &mut self.deadline {
            Some(deadline) => deadline.await,
            None => future::pending().await,
        }
    }

    /// How long ago its first record came.
    pub(super) fn age(&self) -> Duration {
        let Some(deadline) = &self.deadline else {
            return Duration::ZERO;
        };
        let began = deadline.deadline() - self.linger;
        began.elapsed()
    }

    /// Its records, and the offset after the last. `None` if there are none.
    pub(super) fn take(&mut self) -> Option<(Vec<RawRecord>, i64)> {
        let end = self.records.last()?.offset + 1;
        self.bytes = 0;
        self.deadline = None;
        Some((std::mem::take(&mut self.records), end))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::super::KafkaOptions;
    use super::*;

    fn record(offset: i64, size: usize) -> RawRecord {
        RawRecord {
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: None,
            payload: Some(vec![0; size]),
            headers: Vec::new(),
        }
    }

    fn batch(records_max: usize, bytes_max: usize) -> Batch {
        let mut options = ConsumerOptions::new(KafkaOptions::new("localhost:1", "group"), "topic");
        options.batch_max = records_max;
        options.batch_bytes = bytes_max;
        Batch::new(&options)
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_ready_when_it_has_its_records_or_its_bytes() {
        let mut by_records = batch(2, 1000);
        by_records.push(record(4, 1));
        assert!(by_records.ready().now_or_never().is_none());
        by_records.push(record(7, 1));
        assert!(by_records.ready().now_or_never().is_some());
        assert_eq!(by_records.take().map(|(records, end)| (records.len(), end)), Some((2, 8)));
        let mut by_bytes = batch(100, 10);
        by_bytes.push(record(0, 10));
        assert!(by_bytes.ready().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_ready_when_its_first_record_has_waited_and_never_when_it_is_empty() {
        let mut batch = batch(100, 1000);
        assert!(batch.ready().now_or_never().is_none());
        batch.push(record(0, 1));
        tokio::time::advance(Duration::from_millis(15)).await;
        batch.push(record(1, 1));
        tokio::time::advance(Duration::from_millis(6)).await;
        assert!(batch.ready().now_or_never().is_some());
        assert!(batch.take().is_some());
        assert!(batch.ready().now_or_never().is_none());
    }
}
