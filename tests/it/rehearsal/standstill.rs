//! How long a partition stands still: what Kafka has of it is beside what the database says was read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use calendar_sync::clock::{Clock as _, SystemClock};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kill::world::{PARTITIONS, World};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(200);
/// A partition that is read stands still for no longer.
const MOMENT: Duration = Duration::from_secs(1);
/// The longest that Kafka may take over an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A partition, as it was seen last.
#[derive(Default)]
struct Partition {
    read: i64,
    end: i64,
    /// Since when there is something to read and the cursor has not moved.
    since: Option<Duration>,
}

#[derive(Default)]
struct Seen {
    partitions: BTreeMap<i32, Partition>,
    longest: Duration,
    /// When it was looked last.
    at: Duration,
}

impl Seen {
    fn look(&mut self, now: Duration, partition: i32, read: i64, end: i64) {
        self.at = now;
        let before = self.partitions.entry(partition).or_default();
        let stood = before.since.map(|since| now.saturating_sub(since)).unwrap_or_default();
        self.longest = self.longest.max(stood);
        let has_moved = read > before.read;
        let since = before.since.filter(|_| !has_moved).unwrap_or(now);
        *before = Partition { read, end, since: (read < end).then_some(since) };
    }
}

/// The onlooker.
pub(super) struct Standstill {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Standstill {
    /// Looks from now on.
    pub(super) fn watch(world: &World) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
        let (consumer, topic) = (Arc::new(world.onlooker()), world.topic.clone());
        let (clock, pool) = (Arc::clone(&world.clock), world.pool.clone());
        let (kept, stopped) = (Arc::clone(&seen), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "it is waited for at the end")]
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                look(&consumer, &topic, &pool, &clock, &kept).await;
                tokio::time::sleep(INTERVAL).await;
            }
        });
        let guard = stop.clone().drop_guard();
        Self { seen, task, stop, _guard: guard }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest that any partition stood still since it was asked last.
    pub(super) fn longest(&self) -> Duration {
        std::mem::take(&mut self.seen().longest)
    }

    /// Whether no partition stands still, or only for a moment.
    pub(super) fn is_over(&self) -> bool {
        let seen = self.seen();
        let is_long = |since: Duration| seen.at.saturating_sub(since) > MOMENT;
        !seen.partitions.values().filter_map(|it| it.since).any(is_long)
    }

    /// How many records are not read.
    pub(super) fn lag(&self) -> i64 {
        self.seen().partitions.values().map(|it| it.end - it.read).sum()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("it did not panic");
    }
}

async fn look(
    consumer: &Arc<BaseConsumer>,
    topic: &str,
    pool: &PgPool,
    clock: &SystemClock,
    kept: &Mutex<Seen>,
) {
    const READ: &str = "SELECT partition, next_offset FROM cursors WHERE topic = $1";
    let (asking, of) = (Arc::clone(consumer), topic.to_owned());
    let ends = tokio::task::spawn_blocking(move || {
        let end = |partition| {
            let ends = asking.fetch_watermarks(&of, partition, ANSWER_MAX).expect("Kafka answers");
            (partition, ends.1)
        };
        (0..PARTITIONS).map(end).collect::<Vec<_>>()
    });
    let ends = ends.await.expect("it did not panic");
    let read = sqlx::query_as(READ).bind(topic).fetch_all(pool).await.expect("numbers");
    let read: BTreeMap<i32, Option<i64>> = read.into_iter().collect();
    let now = clock.elapsed();
    let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for (partition, end) in ends {
        let read = read.get(&partition).copied().flatten().unwrap_or_default();
        seen.look(now, partition, read, end);
    }
}
