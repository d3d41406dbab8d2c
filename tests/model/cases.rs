//! The configurations: a kind of calendar, a log, and the faults that may happen.

use booking::CalendarKind;

use crate::decisions::Decisions;
use crate::log::{Log, Said};
use crate::protocol::{Fault, Mutation, Protocol, Witness};

const A: usize = 0;
const B: usize = 1;

/// What a log says: whose each record is, and what it says.
pub(crate) type Story = [(usize, Said)];

/// Two bookings, whose records come in turns; one is told twice, and one is made again.
pub(crate) const TWO_BOOKINGS: &Story = &[
    (A, Said::Created),
    (B, Said::Created),
    (A, Said::Cancelled),
    (B, Said::Again(1)),
    (A, Said::Created),
];

pub(crate) const CREATED: &Story = &[(A, Said::Created)];

pub(crate) const CANCELLED: &Story = &[(A, Said::Created), (A, Said::Cancelled)];

pub(crate) const CHANGED: &Story = &[(A, Said::Created), (A, Said::Updated), (A, Said::Cancelled)];

pub(crate) const CHANGED_TWICE: &Story =
    &[(A, Said::Created), (A, Said::Updated), (A, Said::Updated)];

pub(crate) const MADE_AGAIN: &Story =
    &[(A, Said::Created), (A, Said::Cancelled), (A, Said::Created)];

/// All that Google's calendar makes good.
pub(crate) const EVERY_FAULT: &[Fault] =
    &[Fault::Crash, Fault::Freeze, Fault::Late, Fault::Copy, Fault::Refusal, Fault::Unheard];

/// All that a CalDAV server makes good: of a request that was answered there is no copy.
pub(crate) const EVERY_FAULT_OF_CALDAV: &[Fault] =
    &[Fault::Crash, Fault::Freeze, Fault::Late, Fault::LateCopy, Fault::Refusal, Fault::Unheard];

fn case(kind: CalendarKind, story: &Story, faults: u8, kinds: &'static [Fault]) -> Protocol {
    Protocol {
        kind,
        log: Log::new(story),
        faults,
        kinds,
        stages: 2,
        mutation: None,
        witnesses: Vec::new(),
        decisions: Decisions::default(),
    }
}

/// A log and Google's calendar, with so many faults of these kinds.
pub(crate) fn google(story: &Story, faults: u8, kinds: &'static [Fault]) -> Protocol {
    case(CalendarKind::Google, story, faults, kinds)
}

/// A log and a CalDAV server.
pub(crate) fn caldav(story: &Story, faults: u8, kinds: &'static [Fault]) -> Protocol {
    case(CalendarKind::Caldav, story, faults, kinds)
}

impl Protocol {
    /// In which these must be seen, too.
    pub(crate) fn seeing(mut self, witnesses: &[Witness]) -> Self {
        self.witnesses.extend_from_slice(witnesses);
        self
    }

    /// Without this part of the protocol.
    pub(crate) fn without(self, part: Mutation) -> Self {
        Self { mutation: Some(part), ..self }
    }

    /// With so many verifications of an open attempt.
    pub(crate) fn verifying(self, stages: u8) -> Self {
        Self { stages, ..self }
    }
}
