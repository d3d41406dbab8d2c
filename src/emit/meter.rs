//! What sending tells of itself, to whoever counts it: that is none of its business.

use std::num::NonZeroU128;
use std::time::Duration;

use booking::{CalendarKind, Verb};

use super::lane::Drain;
use super::outcome::{Outcome, outcome};
use super::{Emitter, Renewal};
use crate::calendar::{Answer, Call};
use crate::store::{DriftKind, Gate};
use crate::telemetry::scope::came_to;

/// A drain of one lane that found something due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Effects that the calendar has acknowledged.
    pub applied: u32,
    /// Calls that it refused, or did not answer in a way that settles them.
    pub failed: u32,
    /// How long it took.
    pub duration: Duration,
}

/// Something that a drain came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A calendar is otherwise than we left it, and left so.
    Drift(DriftKind),
    /// It was otherwise, and is being put right.
    Repair(DriftKind),
    /// A sweep waits for a person.
    Halted,
    /// A connection waits for a person, or the withdrawal of its events does.
    Parked,
    /// New access was asked for.
    Renewal(Renewal),
    /// A lane or a row is another holder's by now.
    Fenced(Guarded),
}

/// What a lane's token guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// The lane itself.
    Lease,
    /// What became of a call.
    Record,
}

impl Guarded {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Lease, Self::Record];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Record => "record",
        }
    }
}

/// A call that may write, answered or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The calendar's kind.
    pub kind: CalendarKind,
    /// What it was to do.
    pub verb: Verb,
    /// The name of what its answer means.
    pub outcome: &'static str,
    /// How long it took.
    pub duration: Duration,
}

/// How an effect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// The calendar has said so.
    Applied,
    /// It was found to be so, by an earlier call.
    AlreadyApplied,
    /// Refused too often: it is a dead letter.
    Dead,
}

impl Became {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AlreadyApplied => "already_applied",
            Self::Dead => "dead",
        }
    }
}

/// An effect that has ended, until something else is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The calendar's kind.
    pub kind: CalendarKind,
    /// What was to be done.
    pub verb: Verb,
    /// How.
    pub became: Became,
    /// How long ago the oldest event that asked for it was published, if any did.
    pub age: Option<Duration>,
    /// The trace of the oldest event of which there is a record to be found.
    pub trace: Option<NonZeroU128>,
}

/// What a call waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The pace of its connection.
    Connection,
    /// The budget of all.
    Application,
    /// What the calendar itself has asked for.
    RetryAfter,
}

impl Withheld {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Application => "application",
            Self::RetryAfter => "retry_after",
        }
    }
}

/// Counts what is done.
pub trait RunMeter: Send + Sync + 'static {
    /// What is let through: said before anything is sent.
    fn gated(&self, gate: &Gate);

    /// A drain has ended.
    fn ran(&self, run: Run);

    /// Something was noticed.
    fn noticed(&self, notice: Notice);

    /// A call that may write was made.
    fn attempted(&self, attempt: Attempt);

    /// An effect has ended, and that is recorded.
    fn ended(&self, ended: Ended);

    /// Calendars of a kind were left alone for so long.
    fn waited(&self, kind: CalendarKind, limit: Withheld, time: Duration);
}

/// The name in metrics of what an answer means.
fn named(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } => "applied",
        Outcome::AlreadyApplied => "already_applied",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Retry { .. } => "retry",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Unauthorised { .. } => "unauthorised",
    }
}

impl Emitter {
    /// Tells the meter, if there is one.
    pub(super) fn tell(&self, tell: impl FnOnce(&dyn RunMeter)) {
        if let Some(meter) = &self.meter {
            tell(meter.as_ref());
        }
    }

    /// Tells of something noticed.
    pub(super) fn notice(&self, notice: Notice) {
        self.tell(|meter| meter.noticed(notice));
    }
}

impl Drain<'_> {
    /// Makes a call that may write; answers what came back, and what it means.
    pub(super) async fn attempt(&self, call: &Call<'_>) -> (Answer, Outcome) {
        let (kind, verb, clock) = (self.kind(), call.verb, &self.emitter.surroundings.clock);
        let before = clock.elapsed();
        let answer = self.calendar().send(call).await;
        let duration = clock.elapsed().saturating_sub(before);
        let outcome = outcome(kind, verb, &answer);
        came_to(verb.name(), named(&outcome));
        let attempt = Attempt { kind, verb, outcome: named(&outcome), duration };
        self.emitter.tell(|meter| meter.attempted(attempt));
        (answer, outcome)
    }

    /// Tells that calls are withheld for so long, if at all.
    pub(super) fn withheld(&self, limit: Withheld, time: Duration) {
        if !time.is_zero() {
            self.emitter.tell(|meter| meter.waited(self.kind(), limit, time));
        }
    }
}
