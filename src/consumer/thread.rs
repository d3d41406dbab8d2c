//! The one thread that owns the consumer: it polls, answers Kafka, moves records from librdkafka
//! to the partitions' tasks, and never waits for any of them.
//!
//! Every partition has its own librdkafka queue, and only this thread empties them. A task that
//! is behind is not a reason to pause its partition: its queue is left alone, librdkafka stops
//! fetching when the queue reaches its bound, and nothing that was fetched is thrown away (a pause
//! would purge it, and needs hysteresis so as not to fetch the same records over and over). It
//! also tells *which* partition is in trouble: rdkafka's errors on the shared queue do not.
//!
//! The thread sleeps until somebody rings: librdkafka when a queue becomes nonempty, a task when
//! it has room again or wants something. A ring that is lost costs a [`TICK`], never a stall.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::broker::{Bell, Command, Ended, Fetched, Gauge, Read};
use super::context::GroupContext;
use super::{RawRecord, native};
use crate::clock::Surroundings;

/// The longest sleep: far below every time-out of the group.
const TICK: Duration = Duration::from_millis(100);

/// Group events (rebalances, errors, commits, logs) served before records get their turn.
const EVENTS_AT_ONCE: usize = 16;

/// Records moved for one partition before the next one has its turn.
const RECORDS_AT_ONCE: usize = 512;

/// A partition that is being read.
struct Lane {
    owner: u64,
    queue: PartitionQueue<GroupContext>,
    records: mpsc::Sender<Fetched>,
    gauge: Arc<Gauge>,
    /// The offset after what the task was last told of.
    told: i64,
    /// What librdkafka's position was before this reading began: not of this reading, if it still
    /// is that.
    position_before: Option<i64>,
}

/// Bounds and intervals.
pub(super) struct Limits {
    /// Bytes that may wait for one partition's task.
    pub(super) waiting_bytes_max: usize,
    /// How often Kafka's trailing copy is committed.
    pub(super) commit_interval: Duration,
}

/// The thread's own.
pub(super) struct Reader {
    consumer: Arc<BaseConsumer<GroupContext>>,
    bell: Arc<Bell>,
    commands: mpsc::Receiver<Command>,
    limits: Limits,
    surroundings: Surroundings,
    lanes: BTreeMap<i32, Lane>,
    committed_at: Duration,
}

impl Reader {
    /// Everything but the thread itself.
    pub(super) fn new(
        mut consumer: BaseConsumer<GroupContext>,
        bell: Arc<Bell>,
        commands: mpsc::Receiver<Command>,
        limits: Limits,
        surroundings: Surroundings,
    ) -> Self {
        let ringing = Arc::clone(&bell);
        consumer.set_nonempty_callback(move || ringing.ring());
        let committed_at = surroundings.clock.elapsed();
        let consumer = Arc::new(consumer);
        Self {
            consumer,
            bell,
            commands,
            limits,
            surroundings,
            lanes: BTreeMap::new(),
            committed_at,
        }
    }

    /// Starts the thread. The receiver learns why it ended.
    pub(super) fn start(self) -> std::io::Result<oneshot::Receiver<Ended>> {
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("kafka".to_owned()).spawn(move || {
            self.bell.is_of(thread::current());
            if ended.send(self.run()).is_err() {
                tracing::debug!("nobody waits for the kafka thread any more");
            }
        })?;
        Ok(end)
    }

    fn run(mut self) -> Ended {
        loop {
            let is_closing = self.obey();
            if is_closing {
                return self.close();
            }
            if let Err(error) = self.serve_group() {
                return Ended::Fatal(error);
            }
            self.forget_revoked();
            let has_moved = self.move_records();
            self.keep_time();
            if !has_moved {
                thread::park_timeout(TICK);
            }
        }
    }

    /// Serves what is asked. `true`: close. When nobody can ask any more, likewise.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Read(read)) => self.read(read),
                Ok(Command::Close) | Err(mpsc::error::TryRecvError::Disconnected) => return true,
                Err(mpsc::error::TryRecvError::Empty) => return false,
            }
        }
    }

    /// Begins to read a partition, if it is still that ownership's.
    fn read(&mut self, read: Read) {
        let context = Arc::clone(self.consumer.context());
        if context.owned.borrow().get(&read.partition) != Some(&read.owner) {
            return;
        }
        self.leave(read.partition);
        let position_before =
            native::position(self.consumer.client(), &context.topic, read.partition);
        // Before the assignment, or the first records would go to the shared queue.
        let Some(mut queue) = self.consumer.split_partition_queue(&context.topic, read.partition)
        else {
            context.complaints.say("a partition has no queue", &read.partition.to_string());
            return;
        };
        let bell = Arc::clone(&self.bell);
        queue.set_nonempty_callback(move || bell.ring());
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(read.offset);
        let assigned = list
            .add_partition_offset(&context.topic, read.partition, offset)
            .and_then(|()| self.consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            // The task sees its channel close, and fences again after a pause.
            context.complaints.say("a partition could not be read", &error.to_string());
            return;
        }
        context.reading().insert(read.partition, read.owner);
        let Read { partition, owner, offset: told, records, gauge } = read;
        let lane = Lane { owner, queue, records, gauge, told, position_before };
        self.lanes.insert(partition, lane);
    }

    /// Stops reading a partition that stays ours.
    fn leave(&mut self, partition: i32) {
        self.lanes.remove(&partition);
        let context = self.consumer.context();
        if context.reading().remove(&partition).is_none() {
            return;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&context.topic, partition);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            context.complaints.say("a partition could not be left", &error.to_string());
        }
    }

    /// Serves rebalances, errors, commits and logs: the callbacks of [`GroupContext`].
    fn serve_group(&mut self) -> Result<(), KafkaError> {
        for _ in 0..EVENTS_AT_ONCE {
            let misplaced = match self.consumer.poll(Duration::ZERO) {
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                // Nothing, or an error that the context has been told.
                None | Some(Err(_)) => continue,
                Some(Ok(message)) => rdkafka::Message::partition(&message),
            };
            // Cannot be while partitions have queues of their own. Read it again all the same.
            self.leave(misplaced);
        }
        Ok(())
    }

    /// Lets go of the queues of what was revoked just now.
    fn forget_revoked(&mut self) {
        let reading = self.consumer.context().reading();
        self.lanes.retain(|partition, lane| reading.get(partition) == Some(&lane.owner));
    }

    /// Moves records to every task that has room. Whether there were any.
    fn move_records(&mut self) -> bool {
        let mut has_moved = false;
        let mut left = Vec::new();
        for (partition, lane) in &mut self.lanes {
            match lane.move_records(self.limits.waiting_bytes_max) {
                Moved::Some => has_moved = true,
                Moved::Nothing => {}
                Moved::NobodyReceives => left.push(*partition),
            }
        }
        for partition in left {
            self.leave(partition);
        }
        has_moved
    }

    /// What is done about once a second.
    fn keep_time(&mut self) {
        let now = self.surroundings.clock.elapsed();
        if now.saturating_sub(self.committed_at) < self.limits.commit_interval {
            return;
        }
        self.committed_at = now;
        let context = self.consumer.context();
        context.commit(&self.consumer, CommitMode::Async, |_| true);
        for (partition, lane) in &mut self.lanes {
            let client = self.consumer.client();
            if let Some(end) = native::cached_log_end(client, &context.topic, *partition) {
                lane.gauge.log_end.store(end, Ordering::Relaxed);
            }
            lane.pass(native::position(client, &context.topic, *partition));
        }
    }

    /// Commits, and leaves the group: dropping the consumer closes it, and polls until that is
    /// done. While closing, librdkafka revokes everything through the callback, which must let go,
    /// or closing would never end. Whoever asked for it waits with a deadline; this is why the
    /// consumer is dropped here, on a thread of its own.
    fn close(mut self) -> Ended {
        self.consumer.context().commit(&self.consumer, CommitMode::Sync, |_| true);
        // The queues hold on to the consumer.
        self.lanes.clear();
        drop(self.consumer);
        Ended::Closed
    }
}

/// What moving records came to.
enum Moved {
    Nothing,
    Some,
    NobodyReceives,
}

impl Lane {
    fn is_full(&self, waiting_bytes_max: usize) -> bool {
        self.records.capacity() == 0
            || self.gauge.bytes.load(Ordering::Acquire) >= waiting_bytes_max
    }

    /// Tells how far the partition was passed, after the records before it. What is not told now,
    /// because the task is behind, is told later.
    fn pass(&mut self, position: Option<i64>) {
        if self.position_before.is_some() && self.position_before == position {
            return;
        }
        self.position_before = None;
        if let Some(to) = position.filter(|to| *to > self.told)
            && self.records.try_send(Fetched::Passed(to)).is_ok()
        {
            self.told = to;
        }
    }

    fn move_records(&mut self, waiting_bytes_max: usize) -> Moved {
        let mut moved = Moved::Nothing;
        for _ in 0..RECORDS_AT_ONCE {
            if self.records.is_closed() {
                return Moved::NobodyReceives;
            }
            if self.is_full(waiting_bytes_max) {
                self.gauge.is_starved.store(true, Ordering::Release);
                // The task may have made room before it could see the mark: look once more.
                if self.is_full(waiting_bytes_max) {
                    break;
                }
            }
            let fetched = match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => Fetched::Record(RawRecord::from_message(&message)),
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    Fetched::Trouble(code, error.to_string())
                }
            };
            if let Fetched::Record(record) = &fetched {
                self.gauge.bytes.fetch_add(record.size(), Ordering::AcqRel);
                self.told = record.offset + 1;
                self.position_before = None;
            }
            if self.records.try_send(fetched).is_err() {
                return Moved::NobodyReceives;
            }
            moved = Moved::Some;
        }
        moved
    }
}
