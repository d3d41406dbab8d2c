//! Reading again what an open attempt may have changed late (rule R14), and what a database that
//! lost its tail may have left (rule R18).

use booking::Verb;

use super::decide::{Verified, verified};
use super::lane::Drain;
use super::outcome::{Outcome, outcome};
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
    /// It could not be looked at, or not be deleted: the verification stays due.
    Unsure,
}

impl Drain<'_> {
    /// An open attempt's hour has come: is the calendar still as it was acknowledged?
    pub(super) async fn verify(&self, owed: &Owed, open: &Verify) -> Result<()> {
        if !self.keep_lease().await? || !self.remove_former(owed, open).await? {
            return Ok(());
        }
        let external_id = self.calendar.external_id(&owed.uid, owed.generation);
        let reading = self.calendar.read(&external_id).await;
        if reading == Reading::Tombstone
            && owed.applied.is_none()
            && !self.remove_later(owed).await?
        {
            return Ok(());
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
            Verified::Unread(_) => {
                self.trouble();
                let again = self.delay(owed, None).max(self.emitter.options.backoff.delay_max);
                return self.record(owed, Finding::Verified, Some(again)).await;
            }
        };
        self.record(owed, finding, later).await
    }

    /// Removes what a late create has left under the names of former generations. `false`: one
    /// could not be looked at.
    async fn remove_former(&self, owed: &Owed, open: &Verify) -> Result<bool> {
        let from = open.from_generation.max(owed.generation - GENERATIONS_MAX);
        for generation in from..owed.generation {
            match self.remove(owed, generation).await? {
                Removed::Nothing | Removed::Deleted => {}
                Removed::Unsure => return Ok(self.look_again()),
            }
        }
        Ok(true)
    }

    /// Removes what stands under the names of generations that the database has forgotten: each
    /// was opened only after the one before it was deleted.
    async fn remove_later(&self, owed: &Owed) -> Result<bool> {
        for generation in owed.generation + 1..=owed.generation + GENERATIONS_MAX {
            match self.remove(owed, generation).await? {
                Removed::Nothing => break,
                Removed::Deleted => {}
                Removed::Unsure => return Ok(self.look_again()),
            }
        }
        Ok(true)
    }

    async fn remove(&self, owed: &Owed, generation: i32) -> Result<Removed> {
        let external_id = self.calendar.external_id(&owed.uid, generation);
        if external_id == self.calendar.external_id(&owed.uid, owed.generation) {
            // One name for ever: it is the present one's.
            return Ok(Removed::Nothing);
        }
        let etag = match self.calendar.read(&external_id).await {
            Reading::Absent => return Ok(Removed::Nothing),
            Reading::Tombstone => return Ok(Removed::Deleted),
            Reading::CalendarGone { .. } | Reading::Failed(_) => return Ok(Removed::Unsure),
            Reading::Live { etag, .. } => etag,
        };
        if !self.keep_lease().await? {
            return Ok(Removed::Unsure);
        }
        tracing::warn!(
            booking.uid = %owed.uid,
            error_code = "late_attempt",
            generation,
            "removing an event that stands under a name of another generation"
        );
        let condition = etag.map_or(Condition::Unconditional, Condition::Match);
        let (verb, body) = (Verb::Delete, &[][..]);
        let answer =
            self.calendar.send(&Call { verb, external_id: &external_id, condition, body }).await;
        Ok(match outcome(self.calendar.kind(), verb, &answer) {
            Outcome::Applied { .. } | Outcome::AlreadyApplied => Removed::Deleted,
            Outcome::Unknown { .. }
            | Outcome::Retry { .. }
            | Outcome::Rejected { .. }
            | Outcome::Unauthorised { .. } => Removed::Unsure,
        })
    }

    fn look_again(&self) -> bool {
        self.trouble();
        self.rest(self.emitter.options.backoff.delay_max);
        false
    }
}
