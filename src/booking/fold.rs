//! Folding events into one state per booking (rules R5 to R7): pure, total, calm about redelivery.
//!
//! For events that carry a `sequence` the state is a join: the latest content, the highest
//! sequence that created and the highest that cancelled. So any permutation, repetition and
//! batching of them ends in the same state. Events without a sequence are taken in log order.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::content::{Content, Digest, Rules};
use crate::event::{BookingEvent, Change, Details};
use crate::poison::{Poison, PoisonClass};
use crate::vocabulary::{BookingId, EventId, IcalUid, Position, ProviderId};

/// How many event ids a booking remembers, for events without a sequence (rule R6).
pub const SEEN_MAX: usize = 64;

/// The revision of a booking that no calendar has had reason to show yet.
pub const REVISION_NONE: i64 = -1;

/// The state of one booking: the projection of one iCal UID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Its name in every calendar.
    pub uid: IcalUid,
    /// The booking application's id of it.
    pub id: BookingId,
    /// Whose it is, by the latest content.
    pub provider: ProviderId,
    /// The log position last folded.
    pub last: Position,
    /// The highest sequence folded, and the digest of the event that had it.
    pub version: Option<Version>,
    /// The highest sequence of a Created.
    pub created_at: Option<i64>,
    /// The sequence from which the booking is cancelled. A Created above it rebooks.
    pub cancelled_at: Option<i64>,
    /// The last event ids without a sequence, oldest first.
    pub seen: VecDeque<EventId>,
    /// When the latest of the events without a sequence occurred, by what they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
    /// What the latest Created or Updated makes visible, were the booking not cancelled.
    pub content: Option<Content>,
    /// The sequence of that latest Created or Updated, if it had one.
    pub content_at: Option<i64>,
    /// Counts the calendar-visible changes, from 0; [`REVISION_NONE`] before the first (rule R7).
    pub revision: i64,
}

/// A sequence, and what the event that carried it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The producer's sequence.
    pub sequence: i64,
    /// Of the event's meaning: all but its id and time.
    pub digest: Digest,
}

/// How an event came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Read from the log at this position.
    Log(Position),
    /// A dead letter, sent again by a person; it stood at this position.
    Redriven(Position),
}

impl Arrival {
    fn position(self) -> Position {
        match self {
            Self::Log(position) | Self::Redriven(position) => position,
        }
    }
}

/// What folding an event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A calendar should now show something else.
    Visible,
    /// Taken into the state; no calendar shows a difference.
    Invisible,
    /// At or below the position last folded, or its event id was seen: a redelivery.
    Repeated,
    /// Its sequence is below the booking's; or, without one, a person has sent it again, and by what
    /// it says it occurred before the latest such event, in another partition than the last.
    Stale,
    /// The booking is cancelled, and this event does not rebook it.
    AfterCancellation,
}

impl Decision {
    /// The name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Visible => "visible",
            Self::Invisible => "invisible",
            Self::Repeated => "repeated",
            Self::Stale => "stale",
            Self::AfterCancellation => "after_cancellation",
        }
    }
}

/// Why an event cannot be folded: it becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The UID of a booking never changes.
    #[error("booking {booking} has the UID {first}, and this event says {other}")]
    UidChanged {
        /// The booking.
        booking: BookingId,
        /// Its first UID.
        first: IcalUid,
        /// The event's.
        other: IcalUid,
    },
    /// A UID names one booking.
    #[error("the UID {uid} is booking {owner}'s, and this event is of booking {booking}")]
    UidTaken {
        /// The UID.
        uid: IcalUid,
        /// Whose it is.
        owner: BookingId,
        /// Who claims it.
        booking: BookingId,
    },
    /// Two different facts with one sequence.
    #[error("booking {booking} has had sequence {sequence} already, with other content")]
    SequenceConflict {
        /// The booking.
        booking: BookingId,
        /// The sequence of both.
        sequence: i64,
    },
    /// Only a sequence can order events of different partitions.
    #[error(
        "booking {booking} was last folded from partition {was}, and this event without a sequence stands in partition {is}"
    )]
    MovedPartition {
        /// The booking.
        booking: BookingId,
        /// The partition of its state.
        was: i32,
        /// The partition of the event.
        is: i32,
    },
}

impl From<&FoldError> for Poison {
    fn from(error: &FoldError) -> Self {
        let class = match error {
            FoldError::UidChanged { .. } => PoisonClass::UidChanged,
            FoldError::UidTaken { .. } => PoisonClass::UidTaken,
            FoldError::SequenceConflict { .. } => PoisonClass::SequenceConflict,
            FoldError::MovedPartition { .. } => PoisonClass::MovedPartition,
        };
        Self::new(class, error.to_string())
    }
}

/// Folds one event into a booking's state, or begins it.
///
/// `booking` is the state under the event's booking id *or* UID, whichever there is: the caller
/// looks up both. The answer is the new state and what changed; on an error nothing did.
pub fn fold(
    booking: Option<Booking>,
    event: &BookingEvent,
    arrival: Arrival,
    rules: &Rules,
) -> Result<(Booking, Decision), FoldError> {
    let Some(mut booking) = booking else {
        let empty = empty(event, arrival.position());
        return Ok(advance(empty, event, rules));
    };
    same_booking(&booking, event)?;
    if repeated(&booking, event, arrival)? {
        return Ok((booking, Decision::Repeated));
    }
    if let (Some(version), Some(sequence)) = (booking.version, event.sequence)
        && sequence == version.sequence
    {
        if meaning(event) != version.digest {
            return Err(FoldError::SequenceConflict { booking: booking.id, sequence });
        }
        step_to(&mut booking, arrival);
        return Ok((booking, Decision::Repeated));
    }
    if outdated(&booking, event, arrival) {
        remember(&mut booking, event);
        return Ok((booking, Decision::Stale));
    }
    step_to(&mut booking, arrival);
    Ok(advance(booking, event, rules))
}

fn empty(event: &BookingEvent, position: Position) -> Booking {
    Booking {
        uid: event.uid.clone(),
        id: event.booking.clone(),
        provider: event.provider,
        last: position,
        version: None,
        created_at: None,
        cancelled_at: None,
        seen: VecDeque::new(),
        occurred_at: None,
        content: None,
        content_at: None,
        revision: REVISION_NONE,
    }
}

fn same_booking(booking: &Booking, event: &BookingEvent) -> Result<(), FoldError> {
    if booking.id != event.booking {
        return Err(FoldError::UidTaken {
            uid: event.uid.clone(),
            owner: booking.id.clone(),
            booking: event.booking.clone(),
        });
    }
    if booking.uid != event.uid {
        return Err(FoldError::UidChanged {
            booking: booking.id.clone(),
            first: booking.uid.clone(),
            other: event.uid.clone(),
        });
    }
    Ok(())
}

/// Rule R6: is this a redelivery? For events without a sequence also: may it come from here?
fn repeated(booking: &Booking, event: &BookingEvent, arrival: Arrival) -> Result<bool, FoldError> {
    let position = arrival.position();
    let below = booking.last.comparable(&position) && position.offset <= booking.last.offset;
    if event.sequence.is_some() {
        // A redriven record stood below what was folded since: its sequence decides.
        return Ok(below && matches!(arrival, Arrival::Log(_)));
    }
    if below || booking.seen.contains(&event.id) {
        return Ok(true);
    }
    // Whatever the incarnations: each partition counts its own, so that one that was accepted tells
    // nothing of another, whose log may well be the one that was read.
    let elsewhere = booking.last.partition != position.partition;
    if elsewhere && matches!(arrival, Arrival::Log(_)) {
        return Err(FoldError::MovedPartition {
            booking: booking.id.clone(),
            was: booking.last.partition,
            is: position.partition,
        });
    }
    Ok(false)
}

/// Rule R6: a person sends an event of another partition again, and nothing but the hour that it says
/// tells whether it came before what was folded since: then it is the former partition's.
fn outdated(booking: &Booking, event: &BookingEvent, arrival: Arrival) -> bool {
    event.sequence.is_none()
        && booking.last.partition != arrival.position().partition
        && Some(event.occurred_at) < booking.occurred_at
}

/// The position last folded never falls back within a partition, nor to a former log of it, in which
/// a dead letter may have stood.
fn step_to(booking: &mut Booking, arrival: Arrival) {
    let place = |position: &Position| (position.incarnation, position.offset);
    let position = arrival.position();
    if booking.last.partition != position.partition || place(&position) > place(&booking.last) {
        booking.last = position;
    }
}

/// Takes an event that is neither a repeat nor a conflict into the state.
fn advance(mut booking: Booking, event: &BookingEvent, rules: &Rules) -> (Booking, Decision) {
    let before = shown_where(&booking);
    let taken = match event.sequence {
        Some(sequence) => take_sequenced(&mut booking, event, sequence, rules),
        None => take_in_log_order(&mut booking, event, rules),
    };
    if shown_where(&booking) != before {
        booking.revision += 1;
        return (booking, Decision::Visible);
    }
    (booking, taken)
}

/// Joins a sequenced event into the state: what it says holds wherever its sequence is the highest
/// of its kind, in whatever order events come.
fn take_sequenced(
    booking: &mut Booking,
    event: &BookingEvent,
    sequence: i64,
    rules: &Rules,
) -> Decision {
    let stale = booking.version.is_some_and(|version| sequence < version.sequence);
    if !stale {
        booking.version = Some(Version { sequence, digest: meaning(event) });
    }
    match &event.change {
        Change::Created(details) => {
            booking.created_at = booking.created_at.max(Some(sequence));
            take_content(booking, event, details, rules);
        }
        Change::Updated(details) => take_content(booking, event, details, rules),
        Change::Cancelled { .. } => {
            booking.cancelled_at = booking.cancelled_at.max(Some(sequence));
        }
    }
    match (&event.change, booking.is_cancelled()) {
        _ if stale => Decision::Stale,
        (Change::Created(_) | Change::Updated(_), true) => Decision::AfterCancellation,
        (Change::Created(_) | Change::Updated(_), false) | (Change::Cancelled { .. }, _) => {
            Decision::Invisible
        }
    }
}

/// Its repetitions do nothing from now on (rule R6).
fn remember(booking: &mut Booking, event: &BookingEvent) {
    if booking.seen.len() == SEEN_MAX {
        booking.seen.pop_front();
    }
    booking.seen.push_back(event.id);
}

fn take_in_log_order(booking: &mut Booking, event: &BookingEvent, rules: &Rules) -> Decision {
    remember(booking, event);
    booking.occurred_at = booking.occurred_at.max(Some(event.occurred_at));
    match &event.change {
        Change::Created(_) | Change::Updated(_) if booking.is_cancelled() => {
            Decision::AfterCancellation
        }
        Change::Created(details) | Change::Updated(details) => {
            take_content(booking, event, details, rules);
            Decision::Invisible
        }
        Change::Cancelled { .. } => {
            let now = booking.version.map_or(i64::MIN, |version| version.sequence);
            booking.cancelled_at = booking.cancelled_at.max(Some(now));
            Decision::Invisible
        }
    }
}

fn take_content(booking: &mut Booking, event: &BookingEvent, details: &Details, rules: &Rules) {
    if event.sequence.is_some() && event.sequence < booking.content_at {
        return;
    }
    booking.content_at = booking.content_at.max(event.sequence);
    booking.content = rules.render(details);
    booking.provider = event.provider;
}

/// What is visible, and to whom: a booking that changes hands changes visibly.
fn shown_where(booking: &Booking) -> Option<(ProviderId, Digest)> {
    booking.shown().map(|content| (booking.provider, content.digest()))
}

/// The digest of what an event says: equal for a repeat, whatever id and time it carries.
fn meaning(event: &BookingEvent) -> Digest {
    let detail = match &event.change {
        Change::Created(details) | Change::Updated(details) => serde_json::to_vec(details),
        Change::Cancelled { reason } => serde_json::to_vec(reason),
    };
    Digest::of([
        event.change.name().as_bytes(),
        event.provider.0.as_bytes(),
        &detail.expect("plain data always has a JSON form"),
    ])
}

impl Booking {
    /// Whether a Cancelled stands that no Created has overcome.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled_at.is_some_and(|at| self.created_at.is_none_or(|created| created <= at))
    }

    /// What a calendar should show, if anything.
    pub fn shown(&self) -> Option<&Content> {
        if self.is_cancelled() { None } else { self.content.as_ref() }
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
