//! What happens in the demo, step by step: the day is published in waves, workers are killed
//! while calls are unanswered, answers are lost, and in the end the calendars are looked at.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::day::{Day, WAVES};
use super::figures::{Comparison, Figures, Totals};
use super::parts::{Parts, VERIFY_AFTER};
use super::producer::Producer;
use super::screen::Screen;
use super::worker::Worker;
use crate::clock::Surroundings;
use crate::emulator::{Answered, Fault, Moment, Ordered, Refusal, Rule, Verb};

/// How often the calendars are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a step may take before the demo gives up.
const STEP_MAX: Duration = Duration::from_mins(1);
/// As a supervisor would, we wait a moment before we start a worker again. It also lets the dead
/// one's session end before Kafka elects the group anew, which is otherwise done twice.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// With no call for so long nothing is under way any more: what was not answered has been looked
/// at again by then.
const QUIET: Duration = VERIFY_AFTER.saturating_add(Duration::from_millis(500));
/// So many calls of each kind are unanswered when a worker is killed.
const HELD_MIN: usize = 3;
/// The most dead letters that are counted.
const DEAD_LETTERS_MAX: u32 = 1_000;

/// The run of a demo.
pub(super) struct Script<'a> {
    pub(super) day: &'a Day,
    pub(super) parts: &'a Parts,
    surroundings: &'a Surroundings,
    pub(super) screen: &'a mut Screen,
    producer: Producer,
    worker: Option<Worker>,
    /// The last wave that was published.
    wave: usize,
    kills: usize,
    /// The name of each ordered fault, and how many calls it is to meet.
    faults: Vec<(&'static str, u64, Ordered)>,
    troubles: Vec<String>,
}

/// A step took too long.
#[derive(Debug, thiserror::Error)]
#[error("not within {} s: {phase}", STEP_MAX.as_secs())]
struct TooLate {
    phase: String,
}

impl<'a> Script<'a> {
    pub(super) fn new(
        day: &'a Day,
        parts: &'a Parts,
        surroundings: &'a Surroundings,
        screen: &'a mut Screen,
    ) -> anyhow::Result<Self> {
        let producer = Producer::new(parts.broker.bootstrap())?;
        Ok(Self {
            day,
            parts,
            surroundings,
            screen,
            producer,
            worker: None,
            wave: 0,
            kills: 0,
            faults: Vec::new(),
            troubles: Vec::new(),
        })
    }

    /// The whole day, and what came of it; an error means that it could not be played at all.
    pub(super) async fn run(&mut self) -> anyhow::Result<(Figures, Comparison)> {
        match self.play().await {
            Ok(()) => {}
            // What the calendars hold says why.
            Err(error) => match error.downcast_ref::<TooLate>() {
                Some(late) => self.troubles.push(late.to_string()),
                None => return Err(error),
            },
        }
        self.conclude().await
    }

    async fn play(&mut self) -> anyhow::Result<()> {
        self.start_worker("a worker, with an empty SQLite database")?;
        self.disturb(&[Verb::Insert]);
        let held = [
            self.hold(Verb::Insert, 0, Moment::BeforeApplying),
            self.hold(Verb::Insert, 1, Moment::AfterApplying),
        ];
        self.publish(0, "bookings made, out of order, repeated; one record is poison").await?;
        self.kill_while(held, "the worker joins the group, and fills the calendars").await?;
        self.revive().await?;
        self.until("its successor waits for the dead one's leases", Self::is_caught_up).await?;
        self.screen.done("the calendars have caught up", "")?;

        self.disturb(&[Verb::Patch, Verb::Delete]);
        let held = [
            self.hold(Verb::Delete, 2, Moment::BeforeApplying),
            self.hold(Verb::Patch, 3, Moment::AfterApplying),
        ];
        self.publish(1, "moved, reworded, called off, rebooked, handed over").await?;
        self.kill_while(held, "the group gives the partitions to the successor").await?;
        self.revive().await?;

        self.publish(WAVES - 1, "late changes, and old records once more").await?;
        self.until("the third worker finishes the day", Self::is_caught_up).await?;
        self.screen.done("the calendars have caught up", "")?;
        self.settle().await
    }

    /// Ends the worker: lets it finish what it has begun, or not.
    pub(super) async fn stop(self, in_peace: bool) -> anyhow::Result<()> {
        match self.worker {
            None => Ok(()),
            Some(worker) if in_peace => worker.stop().await,
            Some(worker) => worker.kill().await,
        }
    }

    /// Returns only if the worker ends by itself, which it should not.
    pub(super) async fn worker_end(&mut self) -> anyhow::Result<()> {
        let Some(worker) = &mut self.worker else {
            return Ok(());
        };
        let status = worker.end().await?;
        bail!("the worker ended by itself: {status}")
    }

    fn start_worker(&mut self, what: &str) -> anyhow::Result<()> {
        let worker = Worker::start(&self.parts.config(), &self.parts.log())?;
        self.screen.done(what, &format!("process {}", worker.id()))?;
        self.worker = Some(worker);
        Ok(())
    }

    async fn publish(&mut self, wave: usize, what: &str) -> anyhow::Result<()> {
        let records = &self.day.waves[wave];
        self.producer.publish(records, &*self.surroundings.dice).await?;
        self.wave = wave;
        self.screen.done(&format!("{} events published", records.len()), what)?;
        Ok(())
    }

    /// Orders the faults of a wave: for each of these verbs some calls fail in every way.
    fn disturb(&mut self, verbs: &[Verb]) {
        use Moment::{AfterApplying, BeforeApplying};
        let faults = [
            ("answers lost after applying", 4, 3, Fault::HangUp(AfterApplying)),
            ("answers lost after applying", 5, 2, Fault::HangUp(AfterApplying)),
            ("connections lost before applying", 5, 1, Fault::HangUp(BeforeApplying)),
            ("answers cut in half", 6, 2, Fault::Truncate),
            (
                "429 with Retry-After: 1",
                6,
                1,
                Fault::Refuse(BeforeApplying, Refusal::too_many_requests(Some(1))),
            ),
            ("503 by a proxy", 7, 2, Fault::Refuse(BeforeApplying, Refusal::proxy_error(503))),
            ("503 after applying", 7, 1, Fault::Refuse(AfterApplying, Refusal::backend_error(503))),
        ];
        for (name, provider, count, fault) in faults {
            let mut rule = Rule::next(count, fault).calendar(self.account(provider));
            for verb in verbs {
                rule = rule.verb(*verb);
            }
            self.faults.push((name, u64::from(count), self.parts.google.order(rule)));
        }
    }

    fn account(&self, provider: usize) -> &'static str {
        self.day.providers[provider].account
    }

    /// From now on such calls on this calendar wait.
    fn hold(&self, verb: Verb, provider: usize, moment: Moment) -> Ordered {
        let rule = Rule::always(Fault::Hold(moment)).calendar(self.account(provider)).verb(verb);
        self.parts.google.order(rule)
    }

    /// Kills the worker once both hold calls, and lets the calls go. On a very slow machine those
    /// that have taken effect may have been given up by then; the others cannot.
    async fn kill_while(&mut self, held: [Ordered; 2], phase: &str) -> anyhow::Result<()> {
        let all = &held;
        self.until(phase, async |_| Ok(all.iter().all(|one| one.held() >= HELD_MIN))).await?;
        let worker = self.worker.take().context("there is no worker")?;
        let id = worker.id();
        let mut calls = self.parts.google.calls().list;
        worker.kill().await?;
        self.kills += 1;
        for one in &held {
            one.withdraw();
        }
        calls.retain(|call| call.answered == Answered::Pending);
        let unanswered = calls.len();
        if unanswered == 0 {
            self.troubles.push("a worker was killed without an unanswered call".to_owned());
        }
        let applied = calls.iter().filter(|call| call.effect.is_mutation()).count();
        let how = format!("{unanswered} calls unanswered, {applied} of which had taken effect");
        self.screen.struck(&format!("worker {id} killed by SIGKILL"), &how)?;
        Ok(())
    }

    /// Starts a worker again, after a moment.
    async fn revive(&mut self) -> anyhow::Result<()> {
        let began = self.elapsed();
        let clock = &self.surroundings.clock;
        self.until("no worker runs", async |_| Ok(clock.elapsed() > began + RESTART_PAUSE)).await?;
        self.start_worker("a successor, on the same database")
    }

    /// Whether all that was published is read and in the calendars.
    async fn is_caught_up(&self) -> anyhow::Result<bool> {
        if !self.compare().is_equal() {
            return Ok(false);
        }
        if self.wave + 1 < WAVES {
            return Ok(true);
        }
        let cursors = self.parts.store.cursors().await?;
        let read = |(partition, end): (&i32, &i64)| {
            cursors.iter().any(|cursor| {
                cursor.fence.partition == *partition && cursor.next_offset == Some(*end)
            })
        };
        Ok(self.producer.ends().iter().all(read))
    }

    /// Waits until no call is made any more.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let (mut calls, mut since) = (0, self.elapsed());
        let parts = self.parts;
        let clock = &self.surroundings.clock;
        self.until("whatever was not answered is looked at once more", async |_| {
            let now = parts.google.calls().list.len();
            if now != calls {
                (calls, since) = (now, clock.elapsed());
            }
            Ok(clock.elapsed() > since + QUIET)
        })
        .await?;
        self.screen.done("quiet", "no call is under way, and none is due")?;
        Ok(())
    }

    async fn conclude(&mut self) -> anyhow::Result<(Figures, Comparison)> {
        let compared = self.compare();
        let calls = self.parts.google.calls();
        let mut troubles = std::mem::take(&mut self.troubles);
        if troubles.is_empty() {
            let missed = self.faults.iter().filter(|(_, count, met)| met.hits() < *count);
            troubles.extend(missed.map(|(name, ..)| format!("too few calls met: {name}")));
            if calls.list.iter().any(|call| call.answered == Answered::Pending) {
                troubles.push("a call is still unanswered".to_owned());
            }
        }
        let letters = self.parts.store.dead_letters(0, DEAD_LETTERS_MAX).await?;
        let figures = Figures {
            worker_kills: self.kills,
            dead_letters: letters.len(),
            seconds: self.elapsed().as_secs_f64(),
            troubles,
            ..Figures::new(&calls, self.day, &compared)
        };
        Ok((figures, compared))
    }

    /// Shows what goes on until `condition` holds. An error if the worker ends by itself, or
    /// ([`TooLate`]) if it takes more than [`STEP_MAX`].
    async fn until(
        &mut self,
        phase: &str,
        mut condition: impl AsyncFnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = self.elapsed();
        loop {
            if let Some(worker) = &mut self.worker
                && let Some(status) = worker.ended()?
            {
                bail!("the worker ended by itself: {status}");
            }
            if condition(self).await? {
                return Ok(());
            }
            if self.elapsed() > began + STEP_MAX {
                bail!(TooLate { phase: phase.to_owned() });
            }
            let compared = self.compare();
            let totals = Totals::of(&self.parts.google.calls());
            self.screen.progress(phase, &compared, totals)?;
            tokio::time::sleep(TICK).await;
        }
    }

    fn compare(&self) -> Comparison {
        Comparison::of(self.day, self.wave, |account| self.parts.google.events(account))
    }

    fn elapsed(&self) -> Duration {
        self.surroundings.clock.elapsed()
    }
}
