//! Reading again what an open attempt may have changed late (rule R14), and what a database that
//! lost its tail may have left (rule R18).

use std::ops::Range;
use std::time::Duration;

use booking::{Digest, Verb};
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::access::ShutOut;
use super::decide::{Verified, forgets, read_as, stands};
use super::drift::{GENERATIONS_AHEAD, Judged, Rule, judge};
use super::lane::Drain;
use super::limits::{PRICE_OF_READING, price};
use super::meter::Withheld;
use super::outcome::{Outcome, Unread, unread};
use super::traced::{READ, reading_name};
use crate::calendar::{Call, Condition, Inspected, Name, Reading};
use crate::store::{DriftKind, DriftNote, Finding, Owed, Result, Verify};
use crate::telemetry::scope::came_to;

/// So many generations before the present one are looked at, and so many after it.
const GENERATIONS_MAX: i32 = GENERATIONS_AHEAD;

/// What stands under the names of later generations than the database knows of.
enum Later {
    /// None was ever made.
    None,
    /// What was found of the last one, and which is the present one by that.
    Used { finding: Finding, generation: i32 },
    /// One could not be looked at.
    Unread(Reading),
    /// Nothing may be asked any more: the lease is lost, or there is a stop.
    Leave,
}

/// What became of what stood under a name that nothing should stand under.
enum Removed {
    /// Nothing stands there any more.
    Gone,
    /// It could not be looked at, or not be deleted.
    Unread(Reading),
    /// Nothing may be sent any more: the lease is lost.
    Leave,
}

fn used(owed: &Owed, present: Option<(i64, Digest)>, etag: Option<String>, passed: i32) -> Later {
    let finding = Finding::Differs { present, etag, passed };
    Later::Used { finding, generation: owed.generation + passed }
}

/// What may be remembered of an event: where its host has put something in, not its ETag, so that it is
/// read again before it is written over.
fn known_of(seen: &mut Inspected) -> Reading {
    let reading = std::mem::replace(&mut seen.reading, Reading::Absent);
    match reading {
        Reading::Live { marker, etag, provider_uid, server_id } => {
            let etag = etag.filter(|_| seen.hers.is_none());
            Reading::Live { marker, etag, provider_uid, server_id }
        }
        other @ (Reading::Tombstone
        | Reading::Absent
        | Reading::CalendarGone { .. }
        | Reading::Failed(_)) => other,
    }
}

impl Drain<'_> {
    /// An open attempt's hour has come: is the calendar still as it was acknowledged?
    pub(super) async fn verify(
        &self,
        owed: &Owed,
        open: &Verify,
        stop: &CancellationToken,
    ) -> Result<()> {
        let edition = self.edition();
        // The last look may have passed as many as it found, and one.
        let from = open.from_generation.max(owed.generation - GENERATIONS_MAX - 1);
        match self.remove_all(owed, from..owed.generation, owed.generation, stop).await? {
            Removed::Gone => {}
            Removed::Unread(reading) => return self.look_again(owed, reading, edition).await,
            Removed::Leave => return Ok(()),
        }
        if !self.may_call(PRICE_OF_READING).await? {
            return Ok(());
        }
        let external_id = self.external_id(owed, owed.generation);
        crate::crash::point!("r14.reading");
        let mut seen = self.calendar().inspect(Self::name(owed, &external_id)).await;
        came_to(READ, reading_name(&seen.reading));
        crate::crash::point!("r14.read");
        let kind = self.kind();
        seen.reading = read_as(kind, owed.applied.is_some(), known_of(&mut seen));
        let stage = usize::try_from(open.stage).unwrap_or(usize::MAX);
        let later = self.emitter.options.verify_after.get(stage.saturating_add(1)).copied();
        let (policy, is_halted) = (self.emitter.options.repair.policy, self.is_halted);
        let (rule, tells) = (Rule { policy, is_halted }, self.calendar().tells_content());
        let judged = judge(owed, open, kind, &seen, tells, rule);
        let known_as = owed.server_id.as_deref().unwrap_or(&external_id);
        self.tell(owed, open, known_as, &judged).await?;
        let finding = match judged.found {
            Verified::Unread(reading) => return self.look_again(owed, reading, edition).await,
            Verified::Halted => {
                let again = self.emitter.options.backoff.delay_max;
                return self.record(owed, Finding::Unverified, Some(again)).await;
            }
            // What the host did is left as she made it.
            Verified::Stands | Verified::Drifted(_) => Finding::Verified,
            Verified::Differs { present, etag, gone } => {
                Finding::Differs { present, etag, passed: i32::from(gone) }
            }
        };
        // Where the calendar forgets that it has made an event, one late create can make several, of which
        // a look shows one: it is looked again until none is left. What its host made of it is no late
        // create, and a calendar that does not take our mend is not asked for it again and again.
        let is_hers = matches!(judged.drift, Some(DriftKind::Edited | DriftKind::Unmarked));
        let is_one_of_many =
            forgets(kind) && !is_hers && matches!(finding, Finding::Differs { .. });
        let soon = self.emitter.options.backoff.delay_max;
        let later = later.or(is_one_of_many.then_some(soon));
        // A database that lost its tail may have lost generations.
        match self.last_used(owed, stop).await? {
            Later::None => self.record(owed, finding, later).await,
            Later::Used { finding, generation } => {
                tracing::warn!(error_code = "forgotten_generation", "the calendar knows more");
                self.record(owed, finding, later.or(Some(soon))).await?;
                // Now that it is written down, those before it are earlier ones. What cannot be
                // removed at once is looked for again with the next verification.
                let earlier = owed.generation..generation;
                self.remove_all(owed, earlier, generation, stop).await.map(|_| ())
            }
            Later::Unread(reading) => self.look_again(owed, reading, edition).await,
            Later::Leave => Ok(()),
        }
    }

    /// Tells people what is otherwise, once, and keeps it for them until it is settled. Before the
    /// verification is written down: then it would not come again.
    async fn tell(
        &self,
        owed: &Owed,
        open: &Verify,
        external_id: &str,
        judged: &Judged,
    ) -> Result<()> {
        let left = match (&judged.found, judged.drift) {
            (Verified::Drifted(_), Some(kind)) => Some(kind),
            (Verified::Differs { .. }, Some(kind)) => {
                tracing::warn!(
                    error_code = "drift_repaired",
                    kind = kind.name(),
                    "an event that was otherwise than we left it is being put right"
                );
                self.emitter.notice(Notice::Repair(kind));
                return Ok(());
            }
            (Verified::Differs { .. }, None) => {
                tracing::warn!(error_code = "late_attempt", "a late attempt is being put right");
                return Ok(());
            }
            (Verified::Stands, _) if open.drift.is_some() => None,
            (
                Verified::Stands | Verified::Drifted(_) | Verified::Halted | Verified::Unread(_),
                _,
            ) => return Ok(()),
        };
        let (lane, uid) = (self.hold.lease.clone(), owed.uid.clone());
        let note = DriftNote { lane, uid, external_id: external_id.to_owned(), kind: left };
        let is_news = self.emitter.store.note_drift(&note).await?;
        if let (Some(kind), Some(true)) = (left, is_news) {
            self.report(kind, Some(&owed.uid), external_id);
        }
        Ok(())
    }

    /// Removes what stands under the names of generations before the present one, as a late create
    /// may leave it. `Removed::Unread`: one could not be looked at.
    async fn remove_all(
        &self,
        owed: &Owed,
        generations: Range<i32>,
        present: i32,
        stop: &CancellationToken,
    ) -> Result<Removed> {
        let present = self.external_id(owed, present);
        for generation in generations {
            let external_id = self.external_id(owed, generation);
            if external_id == present {
                // One name for ever.
                continue;
            }
            if stop.is_cancelled() || !self.may_call(PRICE_OF_READING).await? {
                return Ok(Removed::Leave);
            }
            match self.remove(owed, generation, &external_id).await? {
                Removed::Gone => {}
                left @ (Removed::Unread(_) | Removed::Leave) => return Ok(left),
            }
        }
        Ok(Removed::Gone)
    }

    /// Looks for generations that the database has forgotten, up to the first that was never used, as
    /// far as the calendar remembers. What stands under the last of them is the booking's event from
    /// now on, and those before it are earlier ones: it is not deleted here, since a name may be used
    /// again until it is written down that it was.
    async fn last_used(&self, owed: &Owed, stop: &CancellationToken) -> Result<Later> {
        // What stands under one name of such a calendar tells nothing of the names after it.
        let ends_at_unused = !forgets(self.kind());
        let mut last = Later::None;
        for passed in 1..=GENERATIONS_MAX {
            let external_id = self.external_id(owed, owed.generation + passed);
            if external_id == self.external_id(owed, owed.generation) {
                // One name for ever: it is the present one's.
                break;
            }
            if stop.is_cancelled() || !self.may_call(PRICE_OF_READING).await? {
                return Ok(Later::Leave);
            }
            let mut seen = self.calendar().inspect(Name::given(&external_id)).await;
            last = match known_of(&mut seen) {
                Reading::Absent if ends_at_unused => break,
                Reading::Absent => continue,
                Reading::Tombstone => used(owed, None, None, passed + 1),
                Reading::Live { marker, etag, .. } => {
                    used(owed, Some(stands(owed, marker)), etag, passed)
                }
                reading @ (Reading::CalendarGone { .. } | Reading::Failed(_)) => {
                    return Ok(Later::Unread(reading));
                }
            };
        }
        Ok(last)
    }

    async fn remove(&self, owed: &Owed, generation: i32, external_id: &str) -> Result<Removed> {
        let (etag, server_id) = match self.calendar().read(Name::given(external_id)).await {
            Reading::Absent | Reading::Tombstone => return Ok(Removed::Gone),
            reading @ (Reading::CalendarGone { .. } | Reading::Failed(_)) => {
                return Ok(Removed::Unread(reading));
            }
            Reading::Live { etag, server_id, .. } => (etag, server_id),
        };
        if !self.may_call(price(self.kind(), Verb::Delete)).await? {
            return Ok(Removed::Leave);
        }
        tracing::warn!(
            booking.uid = %owed.uid,
            error_code = "late_attempt",
            generation,
            "removing an event that stands under a name of another generation"
        );
        let condition = etag.map_or(Condition::Unconditional, Condition::Match);
        let (verb, body) = (Verb::Delete, &[][..]);
        crate::crash::point!("r14.removing");
        let name = Name { given: external_id, server_id: server_id.as_deref() };
        let (answer, outcome) = self.attempt(&Call { verb, name, condition, body }).await;
        crate::crash::point!("r14.removed");
        Ok(match outcome {
            Outcome::Applied { .. } | Outcome::AlreadyApplied => Removed::Gone,
            Outcome::Unknown { .. }
            | Outcome::Retry { .. }
            | Outcome::Rejected { .. }
            | Outcome::Unauthorised { .. } => Removed::Unread(Reading::Failed(answer)),
        })
    }

    /// The verification stands, for later: it asks as much then.
    async fn look_again(&self, owed: &Owed, reading: Reading, edition: u32) -> Result<()> {
        self.trouble();
        let mut again = self.emitter.options.backoff.delay_max;
        match reading {
            Reading::CalendarGone { message } => {
                self.closed(&format!("the calendar is not there: {message}")).await?;
            }
            Reading::Failed(answer) => match unread(self.kind(), &answer) {
                Unread::Unauthorised { reason } => {
                    if self.shut_out(&answer, &reason, edition).await? == ShutOut::Renewed {
                        again = Duration::ZERO;
                    }
                }
                Unread::Retry { after, lane_wide, reason } => {
                    tracing::warn!(error_code = "not_verified", "to be verified later: {reason}");
                    self.withheld(Withheld::RetryAfter, after.unwrap_or_default());
                    if let Some(time) = after.or(lane_wide.then(|| self.delay(owed, None))) {
                        self.rest(time);
                    }
                }
            },
            Reading::Live { .. } | Reading::Tombstone | Reading::Absent => {
                unreachable!("what was read is no failure")
            }
        }
        self.record(owed, Finding::Unverified, Some(again)).await
    }
}
