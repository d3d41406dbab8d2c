//! What to do next about one row of the outbox, and what reading an event back means: pure.
//!
//! The rules are R12 to R14. In short: what is in flight is settled before anything else; a
//! generation that was to be deleted is never updated; a new generation opens only when the old
//! one is settled absent; and only a marker tells whether something was applied.

use booking::{CalendarKind, Content, Digest, Marker, Verb};

use crate::calendar::{Condition, Reading};
use crate::store::{DriftKind, InFlight, Owed, Verify};

/// What to do about a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Something is in flight and unsettled: read it back.
    Settle,
    /// Make a call; `generation` is the one that it acts on.
    Send {
        /// What to do.
        verb: Verb,
        /// On which generation.
        generation: i32,
    },
    /// The calendar was found to hold a later revision than is wanted: our database lost what it
    /// knew, and the log has to catch up first (rule R7).
    Ahead {
        /// The revision that the calendar holds.
        revision: i64,
    },
    /// An open attempt is to be verified: read, compare with what was applied.
    Verify(Verify),
    /// Nothing is owed.
    Nothing,
}

/// Decides from what is stored alone.
pub fn next(owed: &Owed) -> Step {
    if owed.in_flight.is_some() {
        return Step::Settle;
    }
    let wanted = owed.desired.as_ref().map(|content| (owed.desired_revision, content.digest()));
    match (wanted, owed.applied) {
        (_, Some((revision, _))) if revision > owed.desired_revision => Step::Ahead { revision },
        (Some(wanted), Some(applied)) if wanted == applied => verify(owed),
        // A delete was meant for it: never updated again (rule R12).
        (Some(_), Some(_)) if owed.burned => {
            Step::Send { verb: Verb::Delete, generation: owed.generation }
        }
        (Some(_), Some(_)) => Step::Send { verb: Verb::Update, generation: owed.generation },
        (Some(_), None) => {
            let generation = owed.generation + i32::from(owed.burned);
            Step::Send { verb: Verb::Create, generation }
        }
        (None, Some(_)) => Step::Send { verb: Verb::Delete, generation: owed.generation },
        (None, None) => verify(owed),
    }
}

fn verify(owed: &Owed) -> Step {
    match &owed.verify {
        Some(verify) if verify.is_due => Step::Verify(verify.clone()),
        Some(_) | None => Step::Nothing,
    }
}

/// What reading back says of what was in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The event carries this: it was applied.
    Present {
        /// The revision in its marker.
        revision: i64,
        /// The digest in its marker.
        digest: Digest,
        /// Its ETag.
        etag: Option<String>,
        /// The UID that the calendar gives it.
        provider_uid: Option<String>,
        /// Its id, where the calendar makes its ids itself.
        server_id: Option<String>,
    },
    /// There is no event, as was asked.
    Absent,
    /// The generation is settled absent, though an event is wanted: a new one is to be opened.
    Gone,
    /// It was not applied: the frozen bytes go out again.
    SendAgain {
        /// As what.
        verb: Verb,
        /// Under which condition.
        condition: Condition,
    },
    /// It was not applied, and something else is wanted by now: that goes out instead. Should it
    /// land late all the same, then its condition does not hold any more, or its verification
    /// finds it (rule R14).
    Superseded,
    /// The calendar is ahead of us: our database lost what it knew (rule R7).
    Ahead {
        /// The revision in the event's marker.
        revision: i64,
    },
    /// It could not be read.
    Unread(Reading),
}

/// So many attempts without an end, and a create whose booking was cancelled meanwhile is given up
/// (its verification stays). Before, it is sent again until it is acknowledged or refused: only
/// then is it sure that it does not land after all.
const ATTEMPTS_MAX: i32 = 8;

/// Whether something else is wanted than what is in flight, and may take its place if reading back
/// shows that it was not applied. A delete is not superseded: its generation ends by it (R12).
pub fn superseded(owed: &Owed, flight: &InFlight) -> bool {
    flight.verb != Verb::Delete
        && (owed.desired_revision != flight.revision
            || owed.desired.as_ref().map(Content::digest) != flight.digest)
}

/// Whether a calendar keeps no deleted event under its name: nothing refuses a create there, nor tells
/// what became of the event. Google keeps a tombstone, CalDAV has one name for all generations; Graph
/// has neither.
pub fn forgets(kind: CalendarKind) -> bool {
    kind == CalendarKind::Microsoft
}

/// Whether an event has one name for all its generations (rule R11): what an earlier one left stands
/// where the next one goes.
pub fn has_one_name(kind: CalendarKind) -> bool {
    kind == CalendarKind::Caldav
}

/// Rule R12: an event that was there, and is not found by its id or its marker. What has the name for
/// ever (an id that we chose, an href) is made there again; a calendar that forgets makes nothing
/// anew under a `transactionId` that it remembers, so there the generation is settled absent.
pub fn read_as(kind: CalendarKind, was_there: bool, reading: Reading) -> Reading {
    if forgets(kind) && was_there && reading == Reading::Absent {
        return Reading::Tombstone;
    }
    reading
}

/// Settles what is in flight by what the calendar holds under its name.
pub fn settle(owed: &Owed, flight: &InFlight, reading: Reading) -> Settled {
    // An update finds nothing any more once what follows has changed or removed the event, and
    // another create excludes this one. A create that nothing follows could land unseen.
    let is_excluded = flight.verb == Verb::Update || owed.desired.is_some();
    let gives_way = superseded(owed, flight) && (is_excluded || owed.attempts >= ATTEMPTS_MAX);
    let (marker, etag, provider_uid, server_id) = match reading {
        Reading::Failed(_) | Reading::CalendarGone { .. } => return Settled::Unread(reading),
        Reading::Live { marker, etag, provider_uid, server_id } => {
            (marker, etag, provider_uid, server_id)
        }
        Reading::Tombstone | Reading::Absent if flight.verb == Verb::Delete => {
            return Settled::Absent;
        }
        Reading::Tombstone => return Settled::Gone,
        Reading::Absent => {
            return if gives_way {
                Settled::Superseded
            } else {
                Settled::SendAgain { verb: Verb::Create, condition: Condition::New }
            };
        }
    };
    let condition = etag.clone().map_or(Condition::Unconditional, Condition::Match);
    let marker = marker.filter(|marker| ours(marker, owed));
    let Some(sent) = flight.digest else {
        return match marker {
            Some(marker) if marker.revision > flight.revision => {
                Settled::Ahead { revision: marker.revision }
            }
            Some(_) | None => Settled::SendAgain { verb: Verb::Delete, condition },
        };
    };
    match marker {
        Some(marker) if is(&marker, flight.revision, sent) || is_wanted(&marker, owed) => {
            let Marker { revision, digest, .. } = marker;
            Settled::Present { revision, digest, etag, provider_uid, server_id }
        }
        Some(marker) if marker.revision > flight.revision => {
            Settled::Ahead { revision: marker.revision }
        }
        // Without an ETag it was sent without a condition: it is made sure of first.
        Some(_) | None if gives_way && etag.is_some() => Settled::Superseded,
        // An older one of ours; or none under our name, which is ours by name.
        Some(_) | None => Settled::SendAgain { verb: Verb::Update, condition },
    }
}

/// Whether the event was found to show something else than its marker says.
pub fn is_otherwise(owed: &Owed) -> bool {
    owed.applied.is_some_and(|(_, digest)| digest == UNREAD)
}

/// The same before anything of what is in flight was sent. An event that was found to show something
/// else than its marker says still has that marker: it is written over all the same.
pub fn settle_unsent(owed: &Owed, flight: &InFlight, reading: Reading) -> Settled {
    let settled = settle(owed, flight, reading);
    if let (Settled::Present { etag, .. }, true) = (&settled, is_otherwise(owed)) {
        let condition = etag.clone().map_or(Condition::Unconditional, Condition::Match);
        return Settled::SendAgain { verb: Verb::Update, condition };
    }
    settled
}

/// What a verification found (rule R14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// All is as applied, or differs in a way that is not ours to mend.
    Stands,
    /// The event was removed, or hides our marker, by another hand than ours (rule R20).
    Drifted(DriftKind),
    /// A late attempt has changed it: this is what is there.
    Differs {
        /// (revision, digest), `None` for nothing.
        present: Option<(i64, Digest)>,
        /// Its ETag.
        etag: Option<String>,
        /// Whether the generation is settled absent.
        gone: bool,
    },
    /// It is gone, and is not put back while repair is halted: it is to be read again (rule R20).
    Halted,
    /// It could not be read.
    Unread(Reading),
}

/// Compares what was applied with what the calendar holds.
pub fn verified(owed: &Owed, open: &Verify, reading: Reading) -> Verified {
    match (reading, owed.applied) {
        (reading @ (Reading::Failed(_) | Reading::CalendarGone { .. }), _) => {
            Verified::Unread(reading)
        }
        (Reading::Live { marker, etag, .. }, Some(applied)) => {
            match marker.filter(|marker| ours(marker, owed)) {
                None => Verified::Drifted(DriftKind::Unmarked),
                Some(marker) if is(&marker, applied.0, applied.1) => Verified::Stands,
                Some(marker) => {
                    let present = Some(stands(owed, Some(marker)));
                    Verified::Differs { present, etag, gone: false }
                }
            }
        }
        // Nothing should be there: a late create has landed after the delete.
        (Reading::Live { marker, etag, .. }, None) => {
            Verified::Differs { present: Some(stands(owed, marker)), etag, gone: false }
        }
        (Reading::Tombstone, Some(_)) if open.deletes => {
            Verified::Differs { present: None, etag: None, gone: true }
        }
        (Reading::Absent, Some(_)) if open.deletes => {
            Verified::Differs { present: None, etag: None, gone: false }
        }
        (Reading::Tombstone | Reading::Absent, Some(_)) => Verified::Drifted(DriftKind::Deleted),
        (Reading::Tombstone | Reading::Absent, None) => Verified::Stands,
    }
}

/// The digest of a content that was seen and not read: no content has it.
pub const UNREAD: Digest = Digest([0; 16]);

/// What is written down of an event that a verification finds otherwise than it was acknowledged: the
/// revision in its marker, and no content, so that what is wanted is written over it, acknowledged and
/// mapped.
pub fn stands(owed: &Owed, marker: Option<Marker>) -> (i64, Digest) {
    let marker = marker.filter(|marker| ours(marker, owed));
    (marker.map_or(owed.desired_revision, |marker| marker.revision), UNREAD)
}

/// A copy that the host made carries our marker too; its name tells it apart. What stands under
/// our name with somebody else's marker is ours by name, not by marker.
fn ours(marker: &Marker, owed: &Owed) -> bool {
    marker.uid == owed.uid && marker.connection == owed.connection
}

fn is(marker: &Marker, revision: i64, digest: Digest) -> bool {
    marker.revision == revision && marker.digest == digest
}

fn is_wanted(marker: &Marker, owed: &Owed) -> bool {
    let wanted = owed.desired.as_ref();
    wanted.is_some_and(|content| is(marker, owed.desired_revision, content.digest()))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
