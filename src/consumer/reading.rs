//! Reading one partition, from one fence to the next: takes in what the thread sends, hands batches
//! over, and notes now and then how far it is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

use super::batch::Batch;
use super::broker::{AskError, Fetched, Gauge, is_topic_missing};
use super::group::describe;
use super::log_check::{Expected, First, first_record, recreated};
use super::partition::{End, LogEnds, PartitionTask};
use super::status::Waiting;
use super::{BatchPlace, RawRecord, Taken};
use crate::store::{Cursor, Fenced, LogFacts, Passed, Stop};

/// Reading, from one fence to the next.
pub(super) struct Reader<'a> {
    /// Whose partition it is.
    pub(super) task: &'a PartitionTask,
    /// The cursor, as far as we know.
    pub(super) cursor: Cursor,
    /// The next offset to be handed over or gathered.
    pub(super) at: i64,
    /// What the first record must be.
    pub(super) expected: Option<Expected>,
    /// What is being gathered.
    pub(super) batch: Batch,
    /// What waits between the thread and us.
    pub(super) gauge: Arc<Gauge>,
    /// Up to here librdkafka has passed what it never delivers.
    pub(super) passed: Option<i64>,
    /// Whether a batch was taken.
    pub(super) has_progressed: bool,
}

/// Waits for the next change of `hold`. If nobody can change it any more, for ever.
async fn held(hold: &mut watch::Receiver<bool>) -> bool {
    if hold.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *hold.borrow_and_update()
}

/// Waits for the answer to what was asked. If nothing was, for ever.
async fn answer<T>(asked: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

impl Reader<'_> {
    /// Reads until something ends it.
    pub(super) async fn run(&mut self, mut records: mpsc::Receiver<Fetched>) -> End {
        let shared = &self.task.shared;
        let mut identity = shared.identity.clone();
        // What was told before the fence is older than what the fence was told.
        identity.mark_unchanged();
        let mut hold = shared.hold.clone();
        let mut is_held = *hold.borrow_and_update();
        self.task.status(|status| status.is_held = is_held);
        let mut note = interval(shared.options.note_interval);
        note.reset();
        // Asked beside the reading: a broker that is slow to answer holds up no batch.
        let mut asked = None;
        loop {
            let has_room = !self.batch.is_full();
            let end = tokio::select! {
                biased;
                () = self.task.stop.cancelled() => Some(End::Left),
                now = held(&mut hold) => {
                    is_held = now;
                    self.task.status(|status| status.is_held = is_held);
                    None
                }
                Ok(()) = identity.changed() => {
                    // Asked anew under the fence before it is believed: one broker of many may
                    // still tell of what was.
                    let found = identity.borrow_and_update().clone().unwrap_or_default();
                    recreated(&self.cursor, &found).map(|_| End::Again)
                }
                _ = note.tick(), if asked.is_none() => {
                    asked = Some(Box::pin(self.task.ask_ends()));
                    None
                }
                ends = answer(&mut asked) => {
                    asked = None;
                    self.note(ends).await
                }
                () = self.batch.ready(), if !is_held => self.hand_over().await,
                fetched = records.recv(), if has_room => match fetched {
                    Some(fetched) => self.admit(fetched, &records),
                    None => Some(End::Again),
                },
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn stop(&self, stop: Stop) -> End {
        End::Stop { fence: self.cursor.fence.clone(), stop, is_stored: false }
    }

    fn log_end(&self) -> Option<i64> {
        Some(self.gauge.log_end.load(Ordering::Relaxed)).filter(|end| *end >= 0)
    }

    /// What was passed beyond the last record, once all before it is taken, and the log is known to
    /// be the one that was read.
    fn passed(&self) -> Option<Passed> {
        let from = self.cursor.next_offset?;
        let is_settled = self.batch.is_empty() && self.expected.is_none_or(|it| it.may_be_gone);
        let to = self.passed.filter(|to| is_settled && Some(*to) > self.cursor.position())?;
        Some(Passed { from, to })
    }

    /// Kafka's trailing copy follows, unless the partition has gone meanwhile.
    fn trail(&self, offset: i64) {
        let (task, shared) = (self.task, &self.task.shared);
        if shared.owned.borrow().get(&task.partition) == Some(&task.owner) {
            shared.trailing.note(task.partition, offset);
        }
    }

    /// Stores now and then how far the log and its reading are, also while nothing comes.
    /// The same end is noted again: that it was asked for is what rule R7 waits for.
    async fn note(&mut self, ends: Result<LogEnds, AskError>) -> Option<End> {
        if let Some(end) = self.look_at_cursor().await {
            return Some(end);
        }
        let shared = &self.task.shared;
        let ends = match ends {
            Ok(ends) => ends,
            Err(error) => {
                shared.complaints.say("the log end is not known", &error.detail());
                return None;
            }
        };
        let (log_end, passed) = (Some(ends.high), self.passed());
        self.task.status(|status| status.log_end = log_end);
        let log_end_age = self.task.since(ends.asked_at);
        let facts = LogFacts { log_end, log_end_age, passed, ..LogFacts::default() };
        let noting = shared.store.note_log(&self.cursor.fence, &facts);
        match self.task.stop.run_until_cancelled(noting).await {
            None => Some(End::Left),
            Some(Ok(Fenced::Written)) => {
                self.cursor.note(facts);
                if let Some(Passed { to, .. }) = passed {
                    self.trail(to);
                    self.task.status(|status| status.cursor = Some(to));
                }
                None
            }
            Some(Ok(Fenced::Refused)) => {
                shared.status.refused("note_log");
                Some(End::Foreign)
            }
            // It is only a note: the next one will do.
            Some(Err(error)) => {
                shared.complaints.say("the log end cannot be stored", &describe(&error));
                None
            }
        }
    }

    /// Whether the cursor is ours and stands where we left it. No record may ever come after which a
    /// commit would tell: an operator who sets the cursor raises the epoch; a database that lost its
    /// tail may hold our fence still, and stand below what we have read (rule R18).
    async fn look_at_cursor(&self) -> Option<End> {
        let (shared, fence) = (&self.task.shared, &self.cursor.fence);
        let looking = shared.store.cursor(&fence.topic, fence.partition);
        match self.task.stop.run_until_cancelled(looking).await {
            None => Some(End::Left),
            Some(Ok(Some(cursor)))
                if cursor.fence == *fence && cursor.next_offset == self.cursor.next_offset =>
            {
                None
            }
            Some(Ok(_)) => {
                shared.status.refused("look");
                Some(End::Foreign)
            }
            Some(Err(error)) => {
                shared.complaints.say("the cursor cannot be read", &describe(&error));
                None
            }
        }
    }

    /// Takes in what the thread sent.
    fn admit(&mut self, fetched: Fetched, waiting: &mpsc::Receiver<Fetched>) -> Option<End> {
        match fetched {
            Fetched::Record(record) => {
                self.make_room(&record, waiting);
                self.admit_record(record)
            }
            Fetched::Passed(to) => {
                self.passed = Some(to);
                None
            }
            Fetched::Trouble(code, text) => self.trouble(code, &text),
        }
    }

    /// Tells the thread that there is room, once half of it is free: one record at a time would
    /// wake it for each.
    fn make_room(&self, record: &RawRecord, waiting: &mpsc::Receiver<Fetched>) {
        let shared = &self.task.shared;
        let size = record.size();
        let bytes = self.gauge.bytes.fetch_sub(size, Ordering::AcqRel).saturating_sub(size);
        let is_roomy = waiting.len() <= shared.options.waiting_max() / 2
            && bytes <= shared.options.waiting_bytes_max() / 2;
        if is_roomy && self.gauge.is_starved.swap(false, Ordering::AcqRel) {
            shared.bell.ring();
        }
    }

    fn admit_record(&mut self, record: RawRecord) -> Option<End> {
        if let Some(expected) = self.expected.take() {
            match first_record(self.at, &expected, record.offset, record.witness()) {
                First::Known | First::New => {}
                First::Stop(stop) => return Some(self.stop(stop)),
            }
        }
        // Below the cursor: what was recognised just now, or what librdkafka fetched once more.
        if record.offset >= self.at {
            self.at = record.offset + 1;
            if self.batch.is_empty() {
                // Kafka may have no time of it.
                let now = || self.task.shared.surroundings.clock.now().timestamp_millis();
                let since_ms = if record.timestamp_ms < 0 { now() } else { record.timestamp_ms };
                let waiting = Waiting { offset: record.offset, since_ms };
                self.task.status(|status| status.oldest = Some(waiting));
            }
            self.batch.push(record);
        }
        None
    }

    /// librdkafka tells of trouble with this partition. What it cannot get over by itself is
    /// looked at from the fence on; for the rest it tries again.
    fn trouble(&mut self, code: RDKafkaErrorCode, text: &str) -> Option<End> {
        let shared = &self.task.shared;
        let kind = format!("partition {}: {code:?}", self.task.partition);
        shared.complaints.say(&kind, text);
        shared.look_again.notify_one();
        let is_over = is_topic_missing(Some(code))
            || matches!(
                code,
                RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::LogTruncation
            );
        is_over.then_some(End::Again)
    }

    /// Hands the batch over, and waits until it is taken.
    async fn hand_over(&mut self) -> Option<End> {
        let gathered_for = self.batch.age();
        let (records, end) = self.batch.take()?;
        let task = self.task;
        let shared = &task.shared;
        let place = BatchPlace {
            fence: self.cursor.fence.clone(),
            incarnation: self.cursor.incarnation,
            from: self.cursor.next_offset.unwrap_or_default(),
            log_end: self.log_end(),
            recover_until: self.cursor.recover_until,
            gathered_for,
        };
        crate::crash::point!("r3.gathered");
        match shared.sink.take(&place, records, &task.stop).await {
            Taken::To(next) if next == end => {
                self.cursor.next_offset = Some(next);
                self.cursor.log_end = self.cursor.log_end.max(place.log_end);
                self.has_progressed = true;
                self.trail(next);
                task.status(|status| {
                    status.cursor = Some(next);
                    status.log_end = status.log_end.max(place.log_end);
                });
                None
            }
            Taken::Foreign => {
                shared.status.refused("commit");
                Some(End::Foreign)
            }
            Taken::Stopped if task.stop.is_cancelled() => Some(End::Left),
            // It stands elsewhere, or was given up: read again from where it stands.
            Taken::To(_) | Taken::Stopped => Some(End::Again),
        }
    }
}
