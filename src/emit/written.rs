//! What became of a call, written down and told.

use std::time::Duration;

use booking::Verb;

use super::lane::Drain;
use super::meter::{Became, Ended, Guarded, Notice};
use super::traced::finding_name;
use crate::store::{Finding, Owed, Record, Recorded, Result};
use crate::telemetry::scope::child;

impl Drain<'_> {
    /// Writes down what was found, under the row's token; a dead letter is told of. What is to be one, and
    /// gave way to a newer wish meanwhile, is none.
    pub(super) async fn record(
        &self,
        owed: &Owed,
        finding: Finding,
        verify_after: Option<Duration>,
    ) -> Result<()> {
        let error =
            if let Finding::Dead { error, .. } = &finding { Some(error.clone()) } else { None };
        let recorded = self.write(owed, finding, verify_after).await?;
        if let (Recorded::Died, Some(error)) = (recorded, error) {
            tracing::error!(
                error_code = "effect_rejected",
                "an effect became a dead letter: {error}"
            );
            if let Some(flight) = &owed.in_flight {
                self.tell_end(owed, flight.verb, Became::Dead);
            }
        }
        Ok(())
    }

    /// The same; answers whether the row was still ours.
    pub(super) async fn write(
        &self,
        owed: &Owed,
        finding: Finding,
        verify_after: Option<Duration>,
    ) -> Result<Recorded> {
        let record =
            Record { lane: self.hold.lease.clone(), uid: owed.uid.clone(), finding, verify_after };
        let span = child("record");
        span.set("calendar_sync.finding", finding_name(&record.finding));
        crate::crash::point!("r15.recording");
        let written = self.emitter.store.record(&record).await?;
        match written {
            Recorded::Written | Recorded::Died => crate::crash::point!("r15.recorded"),
            Recorded::Refused => {
                span.fail("record_fenced");
                tracing::warn!(
                    booking.uid = %owed.uid,
                    error_code = "record_fenced",
                    "the row went to another holder while its call was on its way"
                );
                self.emitter.notice(Notice::Fenced(Guarded::Record));
            }
        }
        Ok(written)
    }

    /// Tells how an effect has ended.
    pub(super) fn tell_end(&self, owed: &Owed, verb: Verb, became: Became) {
        let now = self.emitter.surroundings.clock.now();
        let published_at = owed.origin.published_at;
        // By a clock that is ahead of ours, it may be yet to come.
        let age = published_at.map(|at| (now - at).to_std().unwrap_or_default());
        let mut traces = owed.origin.traces().iter().rev();
        let trace = traces.find(|it| it.is_sampled()).map(|it| it.trace);
        let ended = Ended { kind: self.kind(), verb, became, age, trace };
        self.emitter.tell(|meter| meter.ended(ended));
    }
}
