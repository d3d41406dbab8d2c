//! From bookings before and after to the calls that we owe (rules R8 and R19), as data.

use serde::{Deserialize, Serialize};

use crate::content::{Digest, Rules};
use crate::fold::Booking;
use crate::vocabulary::{ConnectionId, IcalUid};

/// What one connection's calendar should hold of one booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The booking.
    pub uid: IcalUid,
    /// The connection whose calendar it is about: explicit, never "all of them" (L12).
    pub connection: ConnectionId,
    /// The booking's revision that asks for it.
    pub revision: i64,
    /// What should be there.
    pub desired: Desired,
    /// Look at the calendar even if nothing is known to be there: the database may have forgotten
    /// what it did (rule R18).
    pub verify: bool,
}

/// What a calendar should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    /// An event with this content.
    Present(Digest),
    /// No event.
    Absent,
}

/// The effects of one booking's change, and where its event is put from now on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most two: the event at its destination, and none at the former one.
    pub effects: Vec<Effect>,
    /// The connection in whose calendar the event is, or is to be. Kept when the event is
    /// withdrawn, so that what may be there stays accounted for.
    pub placed: Option<ConnectionId>,
}

/// Plans what follows from a booking's new state.
///
/// `placed` is where the booking's event was put so far, `destination` the connection that its
/// provider's bookings go to now. Flags, allowlists and parked connections play no part: they gate
/// the sending (rule R8). Without a destination nothing is put anywhere; a later one finds it due.
pub fn plan(
    booking: &Booking,
    placed: Option<ConnectionId>,
    destination: Option<ConnectionId>,
    rules: &Rules,
) -> Plan {
    let effect = |connection, desired| Effect {
        uid: booking.uid.clone(),
        connection,
        revision: booking.revision,
        desired,
        verify: false,
    };
    let shown = booking.shown().filter(|content| placed.is_some() || content.end >= rules.horizon);
    let Some(content) = shown else {
        let effects = placed.map(|was| effect(was, Desired::Absent)).into_iter().collect();
        return Plan { effects, placed };
    };
    let Some(target) = destination else {
        // It went to a provider without a connection: what stands in the former calendar goes.
        let effects = placed.map(|was| effect(was, Desired::Absent)).into_iter().collect();
        return Plan { effects, placed };
    };
    let moved = placed.filter(|was| *was != target);
    let effects = moved
        .map(|was| effect(was, Desired::Absent))
        .into_iter()
        .chain([effect(target, Desired::Present(content.digest()))])
        .collect();
    Plan { effects, placed: Some(target) }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
