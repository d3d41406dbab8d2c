//! What must be seen to happen somewhere, or the model would hold by being empty. Each is a state
//! in which the thing has just happened, or cannot but happen next; that it then ends well is what
//! [`crate::audit::ENDS_RIGHT`] says.

use booking::Verb;

use crate::protocol::Witness;
use crate::state::{BOOKINGS, Finding, Flight, Guard, Reader, Request, Row, Slot, State, Task};

fn rows(state: &State) -> impl Iterator<Item = (usize, Row)> {
    (0..BOOKINGS).filter_map(|booking| state.database.rows[booking].map(|row| (booking, row)))
}

fn flights(state: &State) -> impl Iterator<Item = (usize, Row, Flight)> {
    rows(state).filter_map(|(booking, row)| row.flight.map(|flight| (booking, row, flight)))
}

/// What each worker is about to record: a finding, and whether the attempt is left open.
fn records(state: &State) -> impl Iterator<Item = (usize, Finding, bool)> {
    let tasks = state.workers.iter().enumerate();
    tasks.flat_map(|(at, worker)| worker.tasks.map(|task| (at, task))).filter_map(|(at, task)| {
        match task {
            Task::Recording { finding, verify } => Some((at, finding, verify)),
            Task::Rest | Task::Decided { .. } | Task::Acting { .. } => None,
        }
    })
}

/// What each owner, or former owner, is about to commit: its epoch, and up to where.
fn commits(state: &State) -> impl Iterator<Item = (u8, u8)> {
    state.workers.iter().filter_map(|worker| match worker.reader {
        Reader::Folded { epoch, to, .. } => Some((epoch, to)),
        Reader::Away | Reader::Ready { .. } => None,
    })
}

fn is_held(state: &State, token: u8) -> bool {
    state.workers.iter().any(|worker| worker.lease.is_some_and(|lease| lease.token == token))
}

fn late(state: &State) -> impl Iterator<Item = &Request> {
    state.network.iter().filter(|request| request.waiting.is_none())
}

pub(crate) const ENDS: Witness =
    ("a path with all its faults ends", |it, state| state.faults == 0 && it.is_right(state));

pub(crate) const SENDER_GONE: Witness =
    ("a call has taken effect, and its sender is gone before its record", |_, state| {
        flights(state).any(|(booking, _, flight)| {
            let is_shown = state.live(booking).any(|(revision, _)| revision == flight.revision);
            is_shown && !is_held(state, flight.token) && state.network.is_empty()
        })
    });

pub(crate) const STALE_HOLDER: Witness = ("a stale holder is about to record", |_, state| {
    records(state).any(|(worker, _, _)| state.is_stale(worker))
});

pub(crate) const STALE_SENDER: Witness = ("a stale holder has sent", |_, state| {
    state.network.iter().any(|it| it.waiting.is_some_and(|worker| state.is_stale(worker)))
});

pub(crate) const STALE_OWNER: Witness = ("a stale owner is about to commit", |_, state| {
    commits(state).any(|(epoch, _)| epoch != state.database.epoch)
});

pub(crate) const COMMIT_UNHEARD: Witness = ("a commit that is done is tried again", |_, state| {
    commits(state).any(|(epoch, to)| (epoch, to) == (state.database.epoch, state.database.next))
});

pub(crate) const LATE_REFUSED: Witness =
    ("the condition of a late request does not hold any more", |it, state| {
        late(state).any(|request| {
            let slot = state.read(it.kind, request.booking, request.generation);
            match (request.guard, slot) {
                (Guard::Match(wanted), Slot::Live { etag, .. } | Slot::Tombstone { etag }) => {
                    wanted != etag
                }
                (Guard::Match(_), Slot::Unused)
                | (Guard::New, Slot::Live { .. } | Slot::Tombstone { .. }) => true,
                (Guard::New, Slot::Unused) | (Guard::Nothing, _) => false,
            }
        })
    });

pub(crate) const LATE_LANDED: Witness =
    ("a late create has landed where nothing should be", |_, state| {
        rows(state).any(|(booking, row)| {
            !row.is_due() && row.desired.is_none() && state.live(booking).next().is_some()
        })
    });

pub(crate) const LATE_FOUND: Witness = ("a verification has found a late create", |_, state| {
    let is_found = |finding| matches!(finding, Finding::Differs { present: Some(_), .. });
    records(state).any(|(_, finding, _)| is_found(finding))
});

pub(crate) const GAVE_WAY: Witness =
    ("what was not applied gives way to what is wanted by now", |_, state| {
        records(state).any(|(_, finding, verify)| finding == Finding::NotApplied && verify)
    });

pub(crate) const LEFT_UNSENT: Witness = ("what was stamped is left unsent", |_, state| {
    records(state).any(|(_, finding, verify)| finding == Finding::NotApplied && !verify)
});

pub(crate) const REFUSED_WHILE_OPEN: Witness =
    ("a call is refused, and an earlier one may have been applied", |_, state| {
        records(state).any(|(_, finding, verify)| finding == Finding::Unknown && !verify)
    });

pub(crate) const NEW_GENERATION: Witness =
    ("a new generation is open", |_, state| rows(state).any(|(_, row)| row.generation > 0));

pub(crate) const DELETED_THOUGH_WANTED: Witness =
    ("what was to be deleted is deleted, though an event is wanted", |_, state| {
        flights(state).any(|(_, row, flight)| flight.verb == Verb::Delete && was_wanted(row))
    });

/// Whether an event was wanted already when what is in flight was stamped.
fn was_wanted(row: Row) -> bool {
    row.desired.is_some() && row.flight.is_some_and(|it| it.revision == row.desired_revision)
}

pub(crate) const COALESCED: Witness = ("two revisions become one call", |_, state| {
    flights(state).any(|(_, row, flight)| {
        let before = row.applied_revision.map_or(0, |revision| revision + 1);
        flight.revision > before
    })
});

pub(crate) const NO_CALL: Witness =
    ("created and cancelled before a send is no call", |_, state| {
        rows(state).any(|(booking, row)| {
            row.desired.is_none() && row.flight.is_none() && state.effects[booking] == 0
        })
    });

/// What any fault shows, in whichever calendar.
pub(crate) const ANY_ONE: &[Witness] = &[
    ENDS,
    SENDER_GONE,
    STALE_HOLDER,
    STALE_SENDER,
    STALE_OWNER,
    COMMIT_UNHEARD,
    LATE_REFUSED,
    LEFT_UNSENT,
    COALESCED,
    NO_CALL,
];

/// What takes two of them.
pub(crate) const ANY_TWO: &[Witness] = &[LATE_LANDED, LATE_FOUND, GAVE_WAY, REFUSED_WHILE_OPEN];
