//! The sweeps of the calendars (rule R20), as they go on: which ended, and what came of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use booking::{CalendarKind, ConnectionId};
use calendar_sync::emit::meter::{Attempt, Ended, Withheld};
use calendar_sync::emit::{Notice, Run, RunMeter};
use calendar_sync::store::{DriftKind, Gate, LaneLease, SweepStep};

use crate::world::World;

/// The sweeps of each connection.
#[derive(Debug, Default)]
pub(crate) struct Swept(BTreeMap<ConnectionId, Course>);

/// The sweeps of one connection.
#[derive(Debug, Default)]
struct Course {
    /// When the one under way began.
    began: Option<Duration>,
    /// When those began that have ended.
    ended: Vec<Duration>,
}

impl Swept {
    /// How many have ended that began at this time or later.
    pub(crate) fn since(&self, connection: ConnectionId, at: Duration) -> usize {
        let course = self.0.get(&connection);
        course.map_or(0, |course| course.ended.iter().filter(|began| **began >= at).count())
    }
}

/// A sweep has gone on a step.
pub(crate) fn stepped(world: &World, lane: &LaneLease, step: &SweepStep) {
    let at = world.elapsed();
    let mut swept = world.swept();
    let course = swept.0.entry(lane.connection).or_default();
    match step {
        SweepStep::Plan { .. } => return,
        SweepStep::PutOff { .. } => world.count("sweep put off"),
        SweepStep::Begin { full, .. } => {
            course.began = Some(at);
            world.count(if *full { "sweep begun anew" } else { "sweep begun" });
        }
        SweepStep::End { since, .. } => {
            course.ended.extend(course.began.take());
            world.count(if since.is_some() { "sweep ended, with a token" } else { "sweep ended" });
        }
        SweepStep::Halt { .. } => {
            course.began = None;
            world.count("sweep halted");
        }
    }
    drop(swept);
    world.say(|| format!("the sweep of {}: {step:?}", lane.connection));
}

/// Counts what sweeps and verifications come by.
pub(crate) struct Told(pub(crate) Arc<World>);

impl RunMeter for Told {
    fn gated(&self, _gate: &Gate) {}

    fn ran(&self, _run: Run) {}

    fn attempted(&self, _attempt: Attempt) {}

    fn ended(&self, _ended: Ended) {}

    fn waited(&self, _kind: CalendarKind, _limit: Withheld, _time: Duration) {}

    fn noticed(&self, notice: Notice) {
        self.0.count(match notice {
            Notice::Halted | Notice::Parked | Notice::Renewal(_) | Notice::Fenced(_) => return,
            Notice::Drift(kind) => match kind {
                DriftKind::Deleted => "told: deleted",
                DriftKind::Edited => "told: edited",
                DriftKind::Unmarked => "told: unmarked",
                DriftKind::Lost => "told: lost",
                DriftKind::Copy => "told: copy",
                DriftKind::Orphan => "told: orphan",
                DriftKind::Extra => "told: extra",
            },
            Notice::Repair(kind) => match kind {
                DriftKind::Deleted => "repaired: deleted",
                DriftKind::Edited => "repaired: edited",
                DriftKind::Unmarked => "repaired: unmarked",
                DriftKind::Lost => "repaired: lost",
                DriftKind::Extra => "repaired: extra",
                DriftKind::Copy | DriftKind::Orphan => "repaired: not ours to repair",
            },
        });
    }
}
