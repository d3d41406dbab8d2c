//! One partition that Kafka has assigned to us: fenced, checked, read; stopped, or fenced again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::broker::{AskError, Command, Gauge, Read};
use super::fencing::{self, Held};
use super::group::{Shared, describe};
use super::log_check::{Log, Reading, Verdict, judge};
use super::reading::Reader;
use super::status::{PartitionStatus, Phase};
use crate::store::{Cursor, Fence, Fenced, LogFacts, Stop};

/// One ownership of one partition.
pub(super) struct PartitionTask {
    /// What all share.
    pub(super) shared: Arc<Shared>,
    /// The partition.
    pub(super) partition: i32,
    /// The ownership's number.
    pub(super) owner: u64,
    /// Revoked, or the end.
    pub(super) stop: CancellationToken,
}

/// Why reading ended, or did not begin.
pub(super) enum End {
    /// Revoked, or the end.
    Left,
    /// The fence is somebody else's.
    Foreign,
    /// Something has to be looked at again: from the fence on.
    Again,
    /// Not the log that was read: wait for an operator.
    Stop { fence: Fence, stop: Stop, is_stored: bool },
}

/// Where the log begins and ends.
pub(super) struct LogEnds {
    low: i64,
    /// The log end.
    pub(super) high: i64,
    /// On the stopwatch.
    pub(super) asked_at: Duration,
}

/// What the log check came to.
enum Checked {
    Read(Box<Cursor>, Reading),
    No(End),
}

impl PartitionTask {
    /// Runs until the partition is revoked. `first` is the fence that it got together with what
    /// was assigned with it.
    pub(super) async fn run(self, first: oneshot::Receiver<Held>) {
        let first = self.stop.run_until_cancelled(first).await;
        let Some(first) = first else {
            return;
        };
        if self.live(first.ok()).await.is_none() {
            tracing::debug!(partition = self.partition, "the partition's task ends");
        }
    }

    /// `None`: told to stop, here and in what follows.
    async fn live(&self, mut held: Option<Held>) -> Option<()> {
        let mut attempts = 0;
        loop {
            let Held { cursor, identity } = match held.take() {
                Some(held) => held,
                None => self.fence().await?,
            };
            let mut has_progressed = false;
            let end = match self.check(cursor, identity).await? {
                Checked::Read(cursor, reading) => {
                    self.read(*cursor, reading, &mut has_progressed).await
                }
                Checked::No(end) => end,
            };
            attempts = if has_progressed { 0 } else { attempts };
            match end {
                End::Left => return None,
                End::Foreign => {
                    tracing::warn!(
                        topic = self.shared.options.topic,
                        partition = self.partition,
                        "somebody else fenced a partition that kafka assigns to us: fencing again"
                    );
                    self.phase(Phase::BackingOff);
                    self.shared.pause(attempts, &self.stop).await?;
                }
                End::Again => self.shared.pause(attempts, &self.stop).await?,
                End::Stop { fence, stop, is_stored } => {
                    self.wait_for_operator(&fence, &stop, is_stored).await?;
                }
            }
            attempts = attempts.saturating_add(1);
        }
    }

    pub(super) fn status(&self, change: impl FnOnce(&mut PartitionStatus)) {
        self.shared.status.partition(self.partition, self.owner, change);
    }

    fn phase(&self, phase: Phase) {
        self.status(|status| status.phase = phase);
    }

    /// Asks until there is an answer.
    async fn persist<T, E: Error + 'static, F>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut attempts = 0;
        loop {
            match self.stop.run_until_cancelled(ask()).await? {
                Ok(answer) => return Some(answer),
                Err(error) => self.shared.complaints.say(what, &describe(&error)),
            }
            self.shared.pause(attempts, &self.stop).await?;
            attempts += 1;
        }
    }

    /// Fences this partition alone, once more.
    async fn fence(&self) -> Option<Held> {
        self.phase(Phase::Fencing);
        let mut attempts = 0;
        loop {
            let partitions = [self.partition];
            let fence = fencing::fence(&self.shared, &partitions);
            match self.stop.run_until_cancelled(fence).await? {
                Ok(mut held) => {
                    if let Some(held) = held.pop() {
                        return Some(held);
                    }
                }
                Err(error) => fencing::complain(&self.shared, &error),
            }
            self.shared.pause(attempts, &self.stop).await?;
            attempts += 1;
        }
    }

    /// Asks where the log begins and ends now.
    pub(super) async fn ask_ends(&self) -> Result<LogEnds, AskError> {
        let asked_at = self.shared.surroundings.clock.elapsed();
        let (low, high) = self.shared.asking.watermarks(self.partition).await?;
        Ok(LogEnds { low, high, asked_at })
    }

    /// How long ago a moment of the stopwatch was.
    pub(super) fn since(&self, moment: Duration) -> Duration {
        self.shared.surroundings.clock.elapsed().saturating_sub(moment)
    }

    /// Rule R2, and what is to be noted of it.
    async fn check(
        &self,
        mut cursor: Cursor,
        identity: super::log_check::Identity,
    ) -> Option<Checked> {
        let asking = "the log's ends cannot be asked for, trying again";
        let watermarks = || self.ask_ends();
        self.status(|status| (status.cursor, status.waits_from) = (cursor.position(), None));
        let LogEnds { low, high, asked_at } = self.persist(asking, watermarks).await?;
        self.status(|status| status.log_end = Some(high));
        let log = Log { low, high, identity };
        let mut start = None;
        let reading = loop {
            match judge(&cursor, &log) {
                Verdict::Begin(at) => {
                    start = Some(at);
                    cursor.next_offset = Some(at);
                }
                Verdict::Read(reading) => break reading,
                Verdict::Stop { stop, is_stored } => {
                    let fence = cursor.fence;
                    return Some(Checked::No(End::Stop { fence, stop, is_stored }));
                }
            }
        };
        let facts = LogFacts {
            start,
            topic_id: log.identity.topic_id.clone(),
            cluster_id: log.identity.cluster_id.clone(),
            log_end: Some(high),
            log_end_age: Duration::ZERO,
            passed: None,
            recover: self.compare_with_kafka(cursor.position().unwrap_or(reading.cursor)).await?
                || cursor.recover_until == Some(i64::MAX),
        };
        crate::crash::point!("r1.judged");
        let noting = "facts of the log cannot be stored, trying again";
        let facts = || LogFacts { log_end_age: self.since(asked_at), ..facts.clone() };
        let note = || async { self.shared.store.note_log(&cursor.fence, &facts()).await };
        let fenced = self.persist(noting, note).await?;
        if fenced == Fenced::Refused {
            self.shared.status.refused("note_log");
            return Some(Checked::No(End::Foreign));
        }
        crate::crash::point!("r1.noted");
        cursor.note(facts());
        Some(Checked::Read(Box::new(cursor), reading))
    }

    /// Rule R18: a commit of ours that is above the cursor says that the database has lost its
    /// tail: the records are read again, with care. It says so only now, so it is asked for until
    /// there is an answer.
    async fn compare_with_kafka(&self, cursor: i64) -> Option<bool> {
        let asking = "the committed offset is not known, trying again";
        let committed = || self.shared.asking.committed(self.partition);
        let committed = self.persist(asking, committed).await?;
        let ahead = committed.filter(|committed| *committed > cursor);
        if let Some(committed) = ahead {
            tracing::warn!(
                topic = self.shared.options.topic,
                partition = self.partition,
                cursor,
                committed,
                "kafka's copy of the cursor is ahead of the database, which may have lost its tail"
            );
        }
        self.status(|status| status.kafka_ahead = ahead);
        Some(ahead.is_some())
    }

    /// Stores the stop, and waits for somebody to answer it.
    async fn wait_for_operator(&self, fence: &Fence, stop: &Stop, is_stored: bool) -> Option<()> {
        if !is_stored {
            let storing = "a stop cannot be stored, trying again";
            let store = || self.shared.store.stop(fence, stop);
            if self.persist(storing, store).await? == Fenced::Refused {
                self.shared.status.refused("stop");
                self.phase(Phase::BackingOff);
                return self.shared.pause(0, &self.stop).await;
            }
        }
        tracing::error!(
            topic = fence.topic,
            partition = fence.partition,
            stop.kind,
            stop.found,
            "the partition is stopped and waits for an operator (cursor show, accept, set)"
        );
        self.phase(Phase::Stopped(stop.clone()));
        loop {
            self.stop.run_until_cancelled(sleep(self.shared.options.stop_poll)).await?;
            let asking = self.shared.store.cursor(&fence.topic, fence.partition);
            match self.stop.run_until_cancelled(asking).await? {
                Ok(Some(cursor)) if cursor.stop.is_some() => {}
                Ok(Some(_) | None) => return Some(()),
                Err(error) => {
                    self.shared
                        .complaints
                        .say("a stopped cursor cannot be read", &describe(&error));
                }
            }
        }
    }

    /// Reads until something ends it. Whoever is asked to stop answers [`End::Left`].
    async fn read(&self, cursor: Cursor, reading: Reading, has_progressed: &mut bool) -> End {
        let shared = &self.shared;
        let gauge = Arc::new(Gauge {
            bytes: AtomicUsize::new(0),
            is_starved: AtomicBool::new(false),
            log_end: AtomicI64::new(cursor.log_end.unwrap_or(-1)),
        });
        let (sender, records) = mpsc::channel(shared.options.waiting_max());
        let read = Read {
            partition: self.partition,
            owner: self.owner,
            offset: reading.from,
            records: sender,
            gauge: Arc::clone(&gauge),
        };
        crate::crash::point!("r1.reading");
        if shared.commands.send(Command::Read(read)).await.is_err() {
            return End::Left;
        }
        shared.bell.ring();
        self.status(|status| {
            status.phase = Phase::Reading;
            status.cursor = cursor.position();
            status.log_end = cursor.log_end;
            (status.waits_from, status.oldest) = (None, None);
        });
        shared.status.reads(self.partition, self.owner, Arc::clone(&gauge));
        let mut reader = Reader {
            task: self,
            at: reading.cursor,
            expected: reading.expected,
            batch: Batch::new(&shared.options),
            cursor,
            gauge,
            passed: None,
            has_progressed: false,
        };
        let end = reader.run(records).await;
        *has_progressed = reader.has_progressed;
        shared.status.rests(self.partition, self.owner);
        self.status(|status| status.is_held = false);
        // The receiver is gone: the thread stops reading.
        shared.bell.ring();
        end
    }
}
