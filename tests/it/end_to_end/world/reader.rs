//! A topic read without a broker: its records go through the pipeline batch by batch.

use std::sync::Arc;

use calendar_sync::consumer::{BatchPlace, BatchSink as _, RawRecord, Taken};
use calendar_sync::pipeline::Pipeline;
use calendar_sync::store::{Fenced, LogFacts, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Who takes a topic's one partition over.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) pipeline: &'a Pipeline,
    /// The fence's.
    pub(crate) token: Uuid,
}

/// When the record at offset 0 was published.
pub(crate) const PUBLISHED_MS: i64 = 1_000;

/// The record at an offset.
pub(crate) fn record(offset: usize, payload: Vec<u8>, key: &str) -> RawRecord {
    let offset = i64::try_from(offset).expect("a short log");
    RawRecord {
        partition: 0,
        offset,
        timestamp_ms: PUBLISHED_MS + offset,
        key: Some(key.as_bytes().to_vec()),
        payload: Some(payload),
        headers: Vec::new(),
    }
}

impl Reader<'_> {
    /// Takes the topic over, and reads it up to an offset: this is its log.
    pub(crate) async fn read(self, topic: &str, log: &[RawRecord], end: usize, batch_max: usize) {
        let cursors = self.store.fence(topic, &[0], self.token).await.expect("the store answers");
        let cursor = &cursors[0];
        if cursor.next_offset.is_none() {
            let facts = LogFacts { start: Some(0), ..LogFacts::default() };
            let noted = self.store.note_log(&cursor.fence, &facts).await;
            assert_eq!(noted.expect("the store answers"), Fenced::Written);
        }
        let mut from = usize::try_from(cursor.next_offset.unwrap_or(0)).expect("an offset");
        while from < end {
            let to = end.min(from + batch_max);
            let place = BatchPlace {
                fence: cursor.fence.clone(),
                incarnation: cursor.incarnation,
                from: i64::try_from(from).expect("an offset"),
                log_end: i64::try_from(log.len()).ok(),
                recover_until: cursor.recover_until,
                gathered_for: std::time::Duration::ZERO,
            };
            let records = log[from..to].to_vec();
            let taken = self.pipeline.take(&place, records, &CancellationToken::new()).await;
            assert_eq!(taken, Taken::To(i64::try_from(to).expect("an offset")));
            from = to;
        }
    }
}
