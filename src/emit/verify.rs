//! Reading again what an open attempt may have changed late (rule R14), and what a database that
//! lost its tail may have left (rule R18).

use std::ops::Range;

use booking::Verb;
use tokio_util::sync::CancellationToken;

use super::decide::{Verified, forgets, read_as, verified};
use super::lane::Drain;
use super::outcome::{Outcome, Unread, outcome, unread};
use crate::calendar::{Call, Condition, Reading};
use crate::store::{Finding, Owed, Result, Verify};

/// So many generations before the present one are looked at, and so many after it.
const GENERATIONS_MAX: i32 = 4;

/// What stood under a name that nothing should stand under.
enum Removed {
    /// Nothing, and nothing is remembered: no later generation was ever made.
    Nothing,
    /// A deleted event; or a live one, which is deleted now.
    Deleted,
    /// It could not be looked at, or not be deleted.
    Unread(Reading),
    /// Nothing may be sent any more: the lease is lost.
    Leave,
}

impl Drain<'_> {
    /// An open attempt's hour has come: is the calendar still as it was acknowledged?
    pub(super) async fn verify(
        &self,
        owed: &Owed,
        open: &Verify,
        stop: &CancellationToken,
    ) -> Result<()> {
        let from = open.from_generation.max(owed.generation - GENERATIONS_MAX);
        if !self.remove_all(owed, from..owed.generation, stop).await? || !self.keep_lease().await? {
            return Ok(());
        }
        let external_id = self.external_id(owed, owed.generation);
        crate::crash::point!("r14.reading");
        let reading = self.calendar.read(&external_id).await;
        crate::crash::point!("r14.read");
        let kind = self.calendar.kind();
        let reading = read_as(kind, owed.applied.is_some(), reading);
        // Each generation was opened only after the one before it was deleted: a database that has
        // forgotten some finds them behind this one.
        let is_forgotten = reading == Reading::Tombstone && owed.applied.is_none();
        if is_forgotten || forgets(kind) {
            let first = owed.generation + 1;
            if !self.remove_all(owed, first..first + GENERATIONS_MAX, stop).await? {
                return Ok(());
            }
        }
        let stage = usize::try_from(open.stage).unwrap_or(usize::MAX);
        let later = self.emitter.options.verify_after.get(stage.saturating_add(1)).copied();
        let finding = match verified(owed, open, reading) {
            Verified::Stands => Finding::Verified,
            Verified::Drifted(how) => {
                tracing::warn!(error_code = "drift", "left as the host made it: {how}");
                Finding::Verified
            }
            Verified::Differs { present, etag, gone } => {
                tracing::warn!(error_code = "late_attempt", "a late attempt is being put right");
                Finding::Differs { present, etag, gone }
            }
            Verified::Unread(reading) => return self.look_again(owed, reading).await,
        };
        self.record(owed, finding, later).await
    }

    /// Removes what stands under the names of other generations: what a late create has left, or
    /// what the database has forgotten. Ends at the first name, behind the present one, that was
    /// never used. `false`: one could not be looked at, or there is a stop; all of it is looked at
    /// again.
    async fn remove_all(
        &self,
        owed: &Owed,
        generations: Range<i32>,
        stop: &CancellationToken,
    ) -> Result<bool> {
        // What stands under one name of such a calendar tells nothing of the names after it.
        let ends_at_unused = !forgets(self.calendar.kind());
        for generation in generations {
            if stop.is_cancelled() || !self.keep_lease().await? {
                return Ok(false);
            }
            match self.remove(owed, generation).await? {
                Removed::Nothing if generation > owed.generation && ends_at_unused => break,
                Removed::Nothing | Removed::Deleted => {}
                Removed::Unread(reading) => {
                    self.look_again(owed, reading).await?;
                    return Ok(false);
                }
                Removed::Leave => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn remove(&self, owed: &Owed, generation: i32) -> Result<Removed> {
        let external_id = self.external_id(owed, generation);
        if external_id == self.external_id(owed, owed.generation) {
            // One name for ever: it is the present one's.
            return Ok(Removed::Nothing);
        }
        let etag = match self.calendar.read(&external_id).await {
            Reading::Absent => return Ok(Removed::Nothing),
            Reading::Tombstone => return Ok(Removed::Deleted),
            reading @ (Reading::CalendarGone { .. } | Reading::Failed(_)) => {
                return Ok(Removed::Unread(reading));
            }
            Reading::Live { etag, .. } => etag,
        };
        if !self.keep_lease().await? {
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
        let answer =
            self.calendar.send(&Call { verb, external_id: &external_id, condition, body }).await;
        crate::crash::point!("r14.removed");
        Ok(match outcome(self.calendar.kind(), verb, &answer) {
            Outcome::Applied { .. } | Outcome::AlreadyApplied => Removed::Deleted,
            Outcome::Unknown { .. }
            | Outcome::Retry { .. }
            | Outcome::Rejected { .. }
            | Outcome::Unauthorised { .. } => Removed::Unread(Reading::Failed(answer)),
        })
    }

    /// The verification stands, for later: it asks as much then.
    async fn look_again(&self, owed: &Owed, reading: Reading) -> Result<()> {
        self.trouble();
        match reading {
            Reading::CalendarGone { message } => {
                self.closed(&format!("the calendar is not there: {message}")).await?;
            }
            Reading::Failed(answer) => match unread(self.calendar.kind(), &answer) {
                Unread::Unauthorised { reason } => self.closed(&reason).await?,
                Unread::Retry { after, lane_wide, reason } => {
                    tracing::warn!(error_code = "not_verified", "to be verified later: {reason}");
                    if let Some(time) = after.or(lane_wide.then(|| self.delay(owed, None))) {
                        self.rest(time);
                    }
                }
            },
            Reading::Live { .. } | Reading::Tombstone | Reading::Absent => {
                unreachable!("what was read is no failure")
            }
        }
        let again = self.emitter.options.backoff.delay_max;
        self.record(owed, Finding::Unverified, Some(again)).await
    }
}
