//! One batch of one partition: decode, fold, plan, one commit.
//!
//! Joins the pure core with the store; knows neither Kafka's client nor a calendar. Everything
//! that a record can be is dealt with here: an event is folded, a tombstone does nothing, what can
//! never be read becomes a dead letter in the same transaction, and trouble with the database or
//! the registry is waited out, so that nothing is skipped (rule R4).

pub mod fold_batch;

pub mod redrive;

pub mod schemas;

mod traced;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::decode::Contract;
use booking::{Poison, PoisonClass, Rules};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Surroundings;
use crate::consumer::{BatchPlace, BatchSink, RawRecord, Taken};
use crate::emit::backoff::Backoff;
use crate::pipeline::fold_batch::{Item, Reading, fold_batch};
use crate::pipeline::schemas::{SchemaError, Schemas};
use crate::pipeline::traced::{Times, Traced, Tracing};
use crate::store::{Advance, Batch, Committed, DeadRecord, NewDeadLetter, Store, StoreError};
use crate::telemetry::tracer::Tracer;

/// How often a batch is read and folded again because what it was folded from changed, before
/// the next try waits.
const STALE_TRIES_MAX: u32 = 8;

/// The waits between tries while the database or the registry is away.
const BACKOFF: Backoff =
    Backoff { delay_min: Duration::from_millis(50), delay_max: Duration::from_secs(5) };

/// Turns records into what is owed.
pub struct Pipeline {
    store: Arc<dyn Store>,
    schemas: Arc<dyn Schemas>,
    contract: Contract,
    rules: Rules,
    surroundings: Surroundings,
    wake: Arc<Notify>,
    meter: Option<Arc<dyn BatchMeter>>,
    tracing: Tracing,
}

/// Counts what is committed, batch by batch.
pub trait BatchMeter: Send + Sync + 'static {
    /// So many records of a partition are committed, those of these classes as dead letters.
    fn committed(&self, partition: i32, records: usize, dead: &[PoisonClass]);
}

/// What one try at a run of records came to.
enum Tried {
    Done(Box<(Batch, Times)>),
    Foreign,
    /// Something changed under us: at once again.
    Again,
    /// The database refuses the content: in halves.
    Refused(String),
    /// Whether it was committed is not known, or it surely was not: wait, then look.
    Wait(StoreError),
}

impl Pipeline {
    /// Joins the parts.
    pub fn new(
        store: Arc<dyn Store>,
        schemas: Arc<dyn Schemas>,
        rules: Rules,
        surroundings: Surroundings,
    ) -> Self {
        let (contract, wake, tracing) = (Contract::new(), Arc::default(), Tracing::default());
        Self { store, schemas, contract, rules, surroundings, wake, meter: None, tracing }
    }

    /// Notifies `wake` whenever a commit left something due.
    #[must_use]
    pub fn waking(self, wake: Arc<Notify>) -> Self {
        Self { wake, ..self }
    }

    /// Tells traces of what is read, as a member of that consumer group.
    #[must_use]
    pub fn traced(self, tracer: Tracer, group: String) -> Self {
        Self { tracing: Tracing { tracer, group }, ..self }
    }

    /// The same, telling `meter` of every batch.
    #[must_use]
    pub fn metered(self, meter: Arc<dyn BatchMeter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    fn tell(&self, partition: i32, run: &[Item], batch: &Batch) {
        if let Some(meter) = &self.meter {
            let dead: Vec<_> = batch.dead_letters.iter().map(|letter| letter.class).collect();
            meter.committed(partition, run.len(), &dead);
        }
    }

    /// Reads every record, waiting out a registry that is away. `None`: stopped meanwhile.
    async fn read(
        &self,
        place: &BatchPlace,
        records: Vec<RawRecord>,
        traced: &Traced<'_>,
        stop: &CancellationToken,
    ) -> Option<Vec<Item>> {
        let mut items = Vec::with_capacity(records.len());
        for (number, record) in records.into_iter().enumerate() {
            if stop.is_cancelled() {
                return None;
            }
            let reading = self.read_one(&record, stop).await?;
            let witness = record.witness();
            let origin = traced.origin(number, &record);
            items.push(Item { record: dead_record(place, record), witness, reading, origin });
        }
        Some(items)
    }

    async fn read_one(&self, record: &RawRecord, stop: &CancellationToken) -> Option<Reading> {
        let mut tries = 0;
        loop {
            let read = schemas::read(
                &self.contract,
                self.schemas.as_ref(),
                &record.headers,
                record.payload.as_deref(),
                &self.rules.uid_domain,
            );
            match read.await {
                Ok(reading) => return Some(reading),
                Err(SchemaError::Poison(poison)) => return Some(Reading::Poison(poison)),
                Err(SchemaError::Unavailable { reason }) => {
                    tracing::warn!(
                        partition = record.partition,
                        offset = record.offset,
                        error_code = "registry_unavailable",
                        "the schema registry is away, and this partition waits for it: {reason}"
                    );
                    tries += 1;
                    self.pause(tries, stop).await?;
                }
            }
        }
    }

    /// Waits before the next try. `None`: stopped meanwhile.
    async fn pause(&self, tries: u32, stop: &CancellationToken) -> Option<()> {
        let delay = BACKOFF.delay(tries, self.surroundings.dice.unit());
        stop.run_until_cancelled(tokio::time::sleep(delay)).await
    }

    /// Commits a run of records, in halves where the database refuses some of them. The runs that
    /// are still to do are a stack: at most the logarithm of the batch deep.
    async fn settle(
        &self,
        place: &BatchPlace,
        items: &[Item],
        traced: &mut Traced<'_>,
        stop: &CancellationToken,
    ) -> Taken {
        let mut at = place.from;
        let mut runs = vec![items];
        while let Some(run) = runs.pop() {
            let Some(last) = run.last() else {
                continue;
            };
            let to = last.record.position.offset + 1;
            match self.commit_run((place, at), run, None, traced, stop).await {
                Ended::Done => at = to,
                Ended::Foreign => return Taken::Foreign,
                Ended::Stopped => return Taken::Stopped,
                Ended::Refused(detail) if run.len() == 1 => {
                    match self.commit_run((place, at), run, Some(&detail), traced, stop).await {
                        Ended::Done => at = to,
                        Ended::Foreign => return Taken::Foreign,
                        Ended::Stopped => return Taken::Stopped,
                        Ended::Refused(detail) => {
                            // A fault of ours that a person must see; going on would lose it.
                            tracing::error!(
                                partition = place.fence.partition,
                                cursor = at,
                                error_code = "dead_letter_refused",
                                "the database refuses the dead letter too: {detail}"
                            );
                            return Taken::Stopped;
                        }
                    }
                }
                Ended::Refused(detail) => {
                    tracing::warn!(
                        partition = place.fence.partition,
                        cursor = at,
                        records = run.len(),
                        error_code = "batch_refused",
                        "the database refuses a batch for its content, which is halved: {detail}"
                    );
                    let (first, second) = run.split_at(run.len() / 2);
                    runs.push(second);
                    runs.push(first);
                }
            }
        }
        Taken::To(at)
    }

    /// Commits one run, through every passing trouble. With `refused`, its one record becomes a
    /// dead letter for that reason.
    async fn commit_run(
        &self,
        (place, from): (&BatchPlace, i64),
        run: &[Item],
        refused: Option<&str>,
        traced: &mut Traced<'_>,
        stop: &CancellationToken,
    ) -> Ended {
        let (mut tries, mut stale) = (0, 0);
        loop {
            let tried = match self.try_run(place, from, run, refused).await {
                Ok(tried) => tried,
                Err(error) => Tried::Wait(error),
            };
            match tried {
                Tried::Done(done) => {
                    traced.committed(run, &done.0, done.1);
                    return Ended::Done;
                }
                Tried::Foreign => return Ended::Foreign,
                Tried::Refused(detail) => return Ended::Refused(detail),
                Tried::Again if stale < STALE_TRIES_MAX => stale += 1,
                Tried::Again => {
                    stale = 0;
                    tries += 1;
                    if self.pause(tries, stop).await.is_none() {
                        return Ended::Stopped;
                    }
                }
                Tried::Wait(error) => {
                    tries += 1;
                    tracing::warn!(
                        partition = place.fence.partition,
                        cursor = from,
                        error_code = "store_unavailable",
                        error = &error as &dyn std::error::Error,
                        "a batch could not be committed, and is tried again"
                    );
                    if self.pause(tries, stop).await.is_none() {
                        return Ended::Stopped;
                    }
                }
            }
        }
    }

    async fn try_run(
        &self,
        place: &BatchPlace,
        from: i64,
        run: &[Item],
        refused: Option<&str>,
    ) -> Result<Tried, StoreError> {
        let last = run.last().expect("a run has a record");
        let to = last.record.position.offset + 1;
        let began = self.surroundings.clock.now();
        let mut batch = match refused {
            None => {
                let recovering = place.recover_until.is_some_and(|until| from < until);
                fold_batch(self.store.as_ref(), &self.rules, run, recovering).await?
            }
            Some(detail) => refused_record(&last.record, detail),
        };
        batch.advance = Some(Advance {
            fence: place.fence.clone(),
            from,
            to,
            witness: last.witness,
            log_end: place.log_end,
        });
        crate::crash::point!("r3.folded");
        let folded = self.surroundings.clock.now();
        let committed = self.store.commit(&batch).await;
        crate::crash::point!("r3.committed", if matches!(committed, Ok(Committed::Done)));
        let times = Times { began, folded, committed: self.surroundings.clock.now() };
        Ok(match committed {
            Ok(Committed::Done) => {
                if !batch.effects.is_empty() {
                    self.wake.notify_one();
                }
                self.tell(place.fence.partition, run, &batch);
                Tried::Done(Box::new((batch, times)))
            }
            // By an earlier try, which did not hear of it.
            Ok(Committed::Elsewhere { next_offset }) if next_offset == Some(to) => {
                self.tell(place.fence.partition, run, &batch);
                Tried::Done(Box::new((batch, times)))
            }
            Ok(Committed::Foreign | Committed::Elsewhere { .. }) => Tried::Foreign,
            Ok(Committed::Stale) => Tried::Again,
            Ok(Committed::Refused { detail }) => Tried::Refused(detail),
            // The next try tells by the cursor whether this one was committed (rule R3).
            Err(error) => Tried::Wait(error),
        })
    }
}

/// How a run ended.
enum Ended {
    Done,
    Foreign,
    Refused(String),
    Stopped,
}

fn refused_record(record: &DeadRecord, detail: &str) -> Batch {
    let letter = NewDeadLetter {
        class: PoisonClass::Refused,
        reason: Poison::new(PoisonClass::Refused, detail).reason,
        record: record.clone(),
    };
    Batch { dead_letters: vec![letter], ..Batch::default() }
}

fn dead_record(place: &BatchPlace, record: RawRecord) -> DeadRecord {
    DeadRecord {
        topic: place.fence.topic.clone(),
        position: booking::Position {
            incarnation: place.incarnation,
            partition: record.partition,
            offset: record.offset,
        },
        timestamp_ms: record.timestamp_ms,
        key: record.key,
        payload: record.payload,
        headers: record.headers,
    }
}

#[async_trait]
impl BatchSink for Pipeline {
    async fn take(
        &self,
        at: &BatchPlace,
        records: Vec<RawRecord>,
        stop: &CancellationToken,
    ) -> Taken {
        let mut traced = self.tracing.begin(at, &records, self.surroundings.clock.as_ref());
        match self.read(at, records, &traced, stop).await {
            Some(items) => self.settle(at, &items, &mut traced, stop).await,
            None => Taken::Stopped,
        }
    }
}
