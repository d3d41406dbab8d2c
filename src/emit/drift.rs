//! PURE: what is otherwise in a calendar than we left it, and what is done about it (rule R20).
//!
//! Nothing is mended by what a listing says: it tells only which events are to be read by their own
//! names. What the host did is hers, and the policy says whether it is overruled; what got lost comes
//! back whatever the policy. A calendar of which too much is gone halts all of it.

use booking::{CalendarKind, Content};

use super::decide::{Verified, stands, verified};
use crate::calendar::{Inspected, ListedEvent, Reading, ical, notes};
use crate::store::{DriftKind, Missing, Owed, SweptRow, Verify};

/// What is done about what the host did by hand: deleted, changed, or hidden from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is overruled: written over, or made anew.
    Repair,
    /// It is left, and people are told.
    Report,
    /// It is left.
    Leave,
}

/// What may be repaired on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Of what the host did.
    pub policy: Policy,
    /// The sweep waits for a person: nothing is repaired meanwhile.
    pub is_halted: bool,
}

impl Rule {
    fn repairs(self, kind: DriftKind) -> bool {
        !self.is_halted && (kind == DriftKind::Lost || self.policy == Policy::Repair)
    }
}

/// What a verification comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What was found: [`Verified::Drifted`] is left as it is, and drift that is repaired differs.
    pub found: Verified,
    /// What is otherwise by another hand than ours.
    pub drift: Option<DriftKind>,
}

/// Judges what stands under a row's name. `tells_content`: an event without a content shows something
/// that we do not write.
pub fn judge(
    owed: &Owed,
    open: &Verify,
    kind: CalendarKind,
    seen: &Inspected,
    tells_content: bool,
    rule: Rule,
) -> Judged {
    let is_otherwise = tells_content && !shows_what_is_wanted(owed, seen.content.as_ref());
    let is_live = matches!(seen.reading, Reading::Live { .. });
    let drift = match verified(owed, open, seen.reading.clone()) {
        Verified::Stands if is_live && is_otherwise => DriftKind::Edited,
        // What stood before us carries no marker, until the first update.
        Verified::Drifted(DriftKind::Unmarked) if stood_before_us(owed) && !is_otherwise => {
            return Judged { found: Verified::Stands, drift: None };
        }
        Verified::Drifted(DriftKind::Deleted) if is_lost(open, kind, &seen.reading) => {
            DriftKind::Lost
        }
        Verified::Drifted(drift) => drift,
        // A delete of ours may have landed late, or the calendar was emptied: nobody can tell, and until
        // a person has, nothing is put back (L24).
        Verified::Differs { present: None, .. } if rule.is_halted => {
            return Judged { found: Verified::Halted, drift: None };
        }
        found @ (Verified::Stands
        | Verified::Differs { .. }
        | Verified::Halted
        | Verified::Unread(_)) => {
            return Judged { found, drift: None };
        }
    };
    let found =
        if rule.repairs(drift) { repaired(owed, &seen.reading) } else { Verified::Drifted(drift) };
    Judged { found, drift: Some(drift) }
}

fn stood_before_us(owed: &Owed) -> bool {
    owed.adopted_id.is_some() && owed.generation == 0
}

/// Google remembers what was deleted, for a time: what is absent without a trace was deleted by nobody,
/// if it was not known to be deleted before. Elsewhere nobody can tell, and it counts as the host's.
fn is_lost(open: &Verify, kind: CalendarKind, reading: &Reading) -> bool {
    kind == CalendarKind::Google
        && *reading == Reading::Absent
        && open.drift != Some(DriftKind::Deleted)
}

/// As if what is there had been ours: what is wanted is written over it, or made anew.
fn repaired(owed: &Owed, reading: &Reading) -> Verified {
    match reading {
        Reading::Live { marker, etag, .. } => Verified::Differs {
            present: Some(stands(owed, marker.clone())),
            etag: etag.clone(),
            gone: false,
        },
        Reading::Tombstone => Verified::Differs { present: None, etag: None, gone: true },
        Reading::Absent | Reading::CalendarGone { .. } | Reading::Failed(_) => {
            Verified::Differs { present: None, etag: None, gone: false }
        }
    }
}

fn shows_what_is_wanted(owed: &Owed, shown: Option<&Content>) -> bool {
    owed.desired.as_ref().zip(shown).is_some_and(|(ours, shown)| is_shown(ours, shown))
}

/// Whether an event shows a content, as far as a host can see: times in whole seconds, whatever the
/// zone in which they are said, and texts but for what calendars do to white space. Her notes beside our
/// text are not in what is shown.
pub fn is_shown(ours: &Content, shown: &Content) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    notes::is_same_or_cut(&ours.summary, &shown.summary)
        && notes::is_same_or_cut(&text(&ours.description), &text(&shown.description))
        && notes::is_same_or_cut(&text(&ours.location), &text(&shown.location))
        && ical::whole_seconds(ours) == ical::whole_seconds(shown)
        && ours.tentative == shown.tentative
}

/// So many generations after the present one a name counts as one that we could have given: a database
/// that lost its tail may have forgotten them. A verification looks as far.
pub(super) const GENERATIONS_AHEAD: i32 = 4;
/// So many generations of a booking that is not known.
const GENERATIONS_UNKNOWN: i32 = 16;
/// So many generations are looked through at most.
const GENERATIONS_MAX: i32 = 256;

/// What a listed event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// A row's event, as it was left, or over.
    Own,
    /// The row's event is to be read by its name: what stands there, or under a later one, is
    /// otherwise than the row says.
    Otherwise,
    /// It stands under a name that its booking's event has left: a late create. Or under the row's own
    /// name, and by another id than the row knows: where a calendar makes its ids itself, a late create
    /// that it took for a new one makes a second event; and it may give an event a new id, as Graph does
    /// at an export and import. Which of them it is, reading the row's event tells ([`super::extra`]).
    Extra {
        /// Of which generation.
        generation: i32,
    },
    /// A copy by the host: under a name that we never gave.
    Copy,
    /// By its name it is ours, and the database knows nothing of its booking.
    Orphan,
}

/// Tells what a listed event is. `name`: the names that its booking's event is given, by generation.
pub fn sight(event: &ListedEvent, row: Option<&SweptRow>, name: impl Fn(i32) -> String) -> Sight {
    let given = event.given.as_deref();
    let is_named = |generation: &i32| given == Some(name(*generation).as_str());
    let Some(row) = row else {
        return match (0..=GENERATIONS_UNKNOWN).find(is_named) {
            Some(_) => Sight::Orphan,
            None => Sight::Copy,
        };
    };
    if is_own(row, &event.id, given, &name) {
        let applied = Some((event.marker.revision, event.marker.digest));
        let is_as_left =
            row.applied == applied && row.drift.is_none() && event.differs != Some(true);
        return if is_as_left || row.has_ended { Sight::Own } else { Sight::Otherwise };
    }
    let last = row.generation.saturating_add(GENERATIONS_AHEAD);
    let first = last.saturating_sub(GENERATIONS_MAX).max(0);
    match (first..=last).find(is_named) {
        Some(generation) if generation > row.generation => Sight::Otherwise,
        Some(generation) => Sight::Extra { generation },
        None => Sight::Copy,
    }
}

/// Whether an event of this id, and given this name, is the one that a row means.
pub fn is_own(row: &SweptRow, id: &str, given: Option<&str>, name: impl Fn(i32) -> String) -> bool {
    match (&row.server_id, &row.adopted_id) {
        (Some(known), _) => known == id,
        (None, Some(adopted)) if row.generation == 0 => adopted == id,
        (None, _) => given == Some(name(row.generation).as_str()),
    }
}

/// So many events under former names one sweep removes: late creates are rare, and what finds more of
/// them than this may well be wrong about them.
const REMOVALS_MAX: i32 = 50;

/// Why a sweep halts before it removes one more event.
pub fn removal_guard(removals: i32) -> Option<String> {
    (removals >= REMOVALS_MAX).then(|| {
        format!("{removals} events under names that their bookings have left were removed, and more are there")
    })
}

/// So few missing events are the host's business, whatever their share.
const FEW: u64 = 3;
/// A calendar that held so many and holds none has turned up empty. One alone says nothing: hosts delete
/// single events.
const EMPTIED: u64 = 2;

/// Why a sweep halts before anything is read or put back: mass deletion is no drift (L24).
/// `halt_share`: from so many hundredths of the known events on.
pub fn guard(found: Missing, halt_share: u32) -> Option<String> {
    let Missing { known, missing } = found;
    if missing >= known && known >= EMPTIED {
        return Some(format!("none of the {known} events that the calendar should hold is there"));
    }
    let is_too_much = missing >= FEW
        && missing.saturating_mul(100) >= known.saturating_mul(u64::from(halt_share));
    is_too_much
        .then(|| format!("{missing} of the {known} events that the calendar should hold are gone"))
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
