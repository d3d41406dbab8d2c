//! What traces tell of sending: an effect goes on with the trace of the event that asked for it last, as
//! it is stored with it, so that whatever is done about it, now or after a crash, here or elsewhere, is
//! seen there. Its other events, and the drain of its lane, are linked.

use booking::Verb;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Unrenewed;
use super::decide::Step;
use super::lane::Drain;
use crate::calendar::{Listed, Reading};
use crate::store::{Finding, LaneLease, Owed, Result};
use crate::telemetry::live::Live;
use crate::telemetry::scope::{Scope, within};
use crate::telemetry::tracer::{NewSpan, Recorded as _, SpanKind, Tracer};

/// The verb of what changes nothing.
pub(super) const READ: &str = "read";

/// The verb of a page of a sweep.
pub(super) const LIST: &str = "list";

/// The verb of asking for access.
pub(super) const RENEW: &str = "renew";

/// The span of a drain: a trace of its own, since it serves many.
pub(super) fn drain_span(tracer: &Tracer, lease: &LaneLease, kind: &'static str) -> Live {
    if !tracer.is_on() {
        return Live::none();
    }
    let span = tracer.live(NewSpan::new(format!("drain {kind}"), SpanKind::Internal));
    if span.is_recorded() {
        span.set("calendar_sync.connection_id", lease.connection.to_string());
        span.set("calendar_sync.calendar_provider", kind);
    }
    span
}

/// What is asked in a drain for no event in particular, as access or a page of a sweep, is told of below
/// its span.
pub(super) fn drain_scope(tracer: &Tracer, span: &Live) -> Option<Scope> {
    span.is_recorded().then(|| Scope::new(tracer.clone(), span.clone(), None))
}

impl Drain<'_> {
    /// Does one step about one row, to its record, on account of the events that asked for it; `since`:
    /// when what is due was asked for.
    pub(super) async fn effect(
        &self,
        owed: Owed,
        step: Step,
        since: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let scope = self.scope(&owed, &step, since);
        within(scope, self.take_step(owed, step, stop)).await
    }

    fn scope(&self, owed: &Owed, step: &Step, since: DateTime<Utc>) -> Option<Scope> {
        let tracer = &self.emitter.tracer;
        let traces = owed.origin.traces();
        let newest = traces.first().copied();
        if !tracer.is_on() {
            return newest.map(|_| Scope::new(tracer.clone(), Live::none(), newest));
        }
        let kind = self.kind().name();
        let (what, verb) = match step {
            Step::Verify(_) => ("verify", None),
            Step::Send { verb, .. } => ("send", Some(*verb)),
            Step::Settle | Step::Ahead { .. } | Step::Nothing => {
                ("settle", owed.in_flight.as_ref().map(|flight| flight.verb))
            }
        };
        let begin = |name: String| {
            let new = NewSpan::new(name, SpanKind::Internal);
            match newest {
                Some(newest) => new.from(newest),
                None => new.under(&self.span),
            }
        };
        // From asking what is due until it is this one's turn, stored as what will be sent.
        let lane = begin("lane".to_owned()).since(since).linked(self.span.context());
        let mut lane = tracer.begin(lane);
        lane.set("calendar_sync.connection_id", owed.connection.to_string());
        drop(lane);
        let others = traces.iter().skip(1).copied().chain(self.span.context());
        let span = tracer.live(begin(format!("{what} {kind}")).linked(others));
        if span.is_recorded() {
            describe(&span, owed, kind, verb);
        }
        Some(Scope::new(tracer.clone(), span, newest))
    }
}

/// Names and numbers: nothing that a calendar shows, and nobody's address.
fn describe(span: &Live, owed: &Owed, kind: &'static str, verb: Option<Verb>) {
    span.set("calendar_sync.calendar_provider", kind);
    span.set("calendar_sync.connection_id", owed.connection.to_string());
    span.set("calendar_sync.booking_id", owed.booking.to_string());
    span.set("calendar_sync.revision", owed.desired_revision);
    span.set("calendar_sync.generation", i64::from(owed.generation));
    span.set("calendar_sync.attempts", i64::from(owed.attempts));
    if let Some(verb) = verb {
        span.set("calendar_sync.verb", verb.name());
    }
}

/// The name of what was read.
pub(super) fn reading_name(reading: &Reading) -> &'static str {
    match reading {
        Reading::Live { .. } => "live",
        Reading::Tombstone => "tombstone",
        Reading::Absent => "absent",
        Reading::CalendarGone { .. } => "calendar_gone",
        Reading::Failed(_) => "failed",
    }
}

/// The name of what was listed.
pub(super) fn listed_name(listed: &Listed) -> &'static str {
    match listed {
        Listed::Page(_) => "page",
        Listed::Expired { .. } => "expired",
        Listed::Unsupported => "unsupported",
        Listed::CalendarGone { .. } => "calendar_gone",
        Listed::Failed(_) => "failed",
    }
}

/// The name of what came of asking for access.
pub(super) fn renewal_name<T>(renewed: &std::result::Result<T, Unrenewed>) -> &'static str {
    match renewed {
        Ok(_) => "granted",
        Err(Unrenewed::Lasting) => "lasting",
        Err(Unrenewed::Person(_)) => "refused",
        Err(Unrenewed::Process(_)) => "misconfigured",
        Err(Unrenewed::Later { .. }) => "later",
    }
}

/// The name of what is recorded.
pub(super) fn finding_name(finding: &Finding) -> &'static str {
    match finding {
        Finding::Present { .. } => "present",
        Finding::Absent { .. } => "absent",
        Finding::Gone => "gone",
        Finding::NotApplied { .. } => "not_applied",
        Finding::Unknown { .. } => "unknown",
        Finding::Dead { .. } => "dead",
        Finding::Ahead { .. } => "ahead",
        Finding::Verified => "verified",
        Finding::Unverified => "unverified",
        Finding::Differs { .. } => "differs",
    }
}
