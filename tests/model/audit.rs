//! The auditor: it looks at every step from outside, knows what no worker knows, and notes what
//! must never happen. Its notes are the invariants.

use booking::CalendarKind;
use stateright::Property;

use crate::protocol::Protocol;
use crate::state::{BOOKINGS, Slot, State};

/// What must never happen in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Note {
    /// The desired revision of a row fell.
    DesiredFell,
    /// The applied revision of a row fell, though no verification had found the calendar so.
    AppliedFell,
    /// What was recorded as applied never had an effect.
    AppliedFalsely,
    /// A revision changed the calendar twice in one generation.
    SecondEffect,
    /// What the calendar shows of a booking fell to an earlier revision.
    CalendarFell,
    /// A cursor moved under a stale epoch.
    StaleEpoch,
    /// A row or lane was written under a stale token.
    StaleToken,
    /// An event stands under the name of another generation than its row's.
    OtherGeneration,
    /// The calendar was thought to be ahead of the log.
    Ahead,
    /// A verification took what it found for a person's doing.
    Drifted,
}

/// Notes of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Notes(u32);

impl Notes {
    pub(crate) fn note(&mut self, note: Note) {
        self.0 |= 1 << note as u32;
    }

    pub(crate) fn has(self, note: Note) -> bool {
        self.0 & (1 << note as u32) != 0
    }
}

/// Compares a state with the one before it.
pub(crate) fn compare(kind: CalendarKind, before: &State, after: &mut State, is_corrected: bool) {
    for booking in 0..BOOKINGS {
        if let (Some(was), Some(is)) = (before.database.rows[booking], after.database.rows[booking])
        {
            if is.desired_revision < was.desired_revision {
                after.notes.note(Note::DesiredFell);
            }
            if is.applied_revision < was.applied_revision && !is_corrected {
                after.notes.note(Note::AppliedFell);
            }
        }
        let shown = |state: &State| state.live(booking).map(|(revision, _)| revision).max();
        if let (Some(was), Some(is)) = (shown(before), shown(after))
            && is < was
        {
            after.notes.note(Note::CalendarFell);
        }
        if kind == CalendarKind::Google && has_other_generation(after, booking) {
            after.notes.note(Note::OtherGeneration);
        }
    }
}

fn has_other_generation(state: &State, booking: usize) -> bool {
    let generation = state.database.rows[booking].map_or(0, |row| usize::from(row.generation));
    let mut slots = state.calendar[booking].iter().enumerate();
    slots.any(|(at, slot)| at != generation && matches!(slot, Slot::Live { .. }))
}

/// A change of the calendar, once.
pub(crate) fn effect(state: &mut State, booking: usize, generation: u8, revision: u8) {
    let bit = bit(generation, revision);
    if state.effects[booking] & bit != 0 {
        state.notes.note(Note::SecondEffect);
    }
    state.effects[booking] |= bit;
}

/// Whether this had an effect.
pub(crate) fn had_effect(state: &State, booking: usize, generation: u8, revision: u8) -> bool {
    state.effects[booking] & bit(generation, revision) != 0
}

fn bit(generation: u8, revision: u8) -> u16 {
    assert!(generation < 4 && revision < 4, "the auditor has room for four of each");
    1 << (generation * 4 + revision)
}

pub(crate) const DESIRED_RISES: &str = "a desired revision only rises";
pub(crate) const APPLIED_RISES: &str = "an applied revision only rises, but by a verification";
pub(crate) const APPLIED_TRULY: &str = "what is recorded as applied had an effect";
pub(crate) const ONE_EFFECT: &str = "a revision has at most one effect in each generation";
pub(crate) const CALENDAR_RISES: &str = "what a calendar shows only rises";
pub(crate) const EPOCH_FENCES: &str = "no cursor moves under a stale epoch";
pub(crate) const TOKEN_FENCES: &str = "no row or lane is written under a stale token";
pub(crate) const ONE_GENERATION: &str = "no event stands under another generation's name";
pub(crate) const NO_SURPRISE: &str = "nothing is taken for a person's doing or a later log's";
pub(crate) const ENDS_RIGHT: &str = "where faults and work end, the calendar is the fold";

fn never(note: Note, state: &State) -> bool {
    !state.notes.has(note)
}

/// The invariants. The last two are not promised of a CalDAV server: it forgets what was deleted,
/// and a late create makes it once more, until its verification comes (the moment that the promise
/// names).
pub(crate) fn invariants(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(DESIRED_RISES, |_, state: &State| never(Note::DesiredFell, state)),
        Property::always(APPLIED_RISES, |_, state| never(Note::AppliedFell, state)),
        Property::always(APPLIED_TRULY, |_, state| never(Note::AppliedFalsely, state)),
        Property::always(EPOCH_FENCES, |_, state| never(Note::StaleEpoch, state)),
        Property::always(TOKEN_FENCES, |_, state| never(Note::StaleToken, state)),
        Property::always(ONE_GENERATION, |_, state| never(Note::OtherGeneration, state)),
        Property::always(NO_SURPRISE, |_, state| {
            never(Note::Ahead, state) && never(Note::Drifted, state)
        }),
        Property::always(ENDS_RIGHT, |protocol: &Protocol, state| {
            protocol.is_right(state) || protocol.has_work(state)
        }),
    ];
    if protocol.kind == CalendarKind::Google {
        all.extend([
            Property::always(ONE_EFFECT, |_, state: &State| never(Note::SecondEffect, state)),
            Property::always(CALENDAR_RISES, |_, state| never(Note::CalendarFell, state)),
        ]);
    }
    all
}
