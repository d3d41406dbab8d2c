//! How far each partition is behind, seen from beside its task: that may be waiting for the database,
//! for an operator, or for room, and a log grows all the same.
//!
//! The task tells of the first record that it has in hand. Where it has none and the log goes on (it is
//! stopped, or the database has not told the cursor yet), the record is read here for its time. Only for
//! metrics: nothing is ever decided by what stands here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::asking::KafkaAsking;
use super::broker::{AskError, Asking as _};
use super::status::{PartitionStatus, Phase, Status, Waiting};
use crate::clock::Surroundings;

/// How often the log ends are asked for.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks at all partitions again and again, for as long as it is asked to.
pub(super) async fn watch(
    status: Arc<Status>,
    asking: Arc<KafkaAsking>,
    surroundings: Surroundings,
) -> Infallible {
    let looking = Looking { status, asking, surroundings };
    loop {
        match looking.asking.partition_count().await {
            Ok(count) if count > 0 => {
                looking.status.change(|snapshot| snapshot.topic_partitions = Some(count));
            }
            // It does not exist, or nobody says: what was seen last stands.
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(detail = error.detail(), "the topic's partitions are not known");
            }
        }
        for (partition, before) in looking.status.snapshot().partitions {
            if let Err(error) = looking.look(partition, &before).await {
                // The tasks tell of the same trouble where people look.
                tracing::debug!(partition, detail = error.detail(), "the lag is not known");
            }
        }
        sleep(INTERVAL).await;
    }
}

struct Looking {
    status: Arc<Status>,
    asking: Arc<KafkaAsking>,
    surroundings: Surroundings,
}

impl Looking {
    async fn look(&self, partition: i32, before: &PartitionStatus) -> Result<(), AskError> {
        let (low, high) = self.asking.watermarks(partition).await?;
        let waits_from = match &before.phase {
            Phase::Stopped(stop) => elsewhere(before, &stop.kind, low, high),
            // Until the database has told. The copy is not believed, but by whoever reads a metric.
            Phase::Fencing | Phase::Reading | Phase::BackingOff if before.cursor.is_none() => {
                self.asking.committed(partition).await?.or(Some(low))
            }
            Phase::Fencing | Phase::Reading | Phase::BackingOff => None,
        };
        let is_same_log = !matches!(before.phase, Phase::Stopped(_));
        self.status.looked(partition, before, |status| {
            status.log_end = status.log_end.filter(|end| is_same_log && *end > high).or(Some(high));
            status.waits_from = waits_from;
        });
        let Some(position) = waits_from.or(before.cursor).filter(|position| *position < high)
        else {
            return Ok(());
        };
        if before.oldest.is_some_and(|oldest| oldest.offset >= position) {
            return Ok(());
        }
        let written = self.asking.written_at(partition, position.max(low)).await;
        // Not sooner than that it is there.
        let now = self.surroundings.clock.now().timestamp_millis();
        let known = written.as_ref().ok().copied().flatten().filter(|ms| *ms >= 0);
        let waiting = Waiting { offset: position, since_ms: known.unwrap_or(now) };
        self.status.looked(partition, before, |status| {
            // Its task may have it in hand by now.
            if status.oldest.is_none_or(|oldest| oldest.offset < position) {
                status.oldest = Some(waiting);
            }
        });
        written.map(|_| ())
    }
}

/// Where what waits begins in a log that is not the one that was read, as far as one can tell. `None`:
/// at the cursor.
fn elsewhere(before: &PartitionStatus, kind: &str, low: i64, high: i64) -> Option<i64> {
    let cursor = before.cursor?;
    if before.waits_from.is_some() {
        return before.waits_from;
    }
    match kind {
        "recreated" => Some(low),
        // What was read is gone; what comes from now on is new.
        _ if cursor > high => Some(high),
        _ if cursor < low => Some(low),
        _ => None,
    }
}
