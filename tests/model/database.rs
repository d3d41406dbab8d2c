//! The store's transactions, each a step of its own: what `src/store/sqlite/` and
//! `src/store/postgres/` say in SQL, said again about the model's rows. Every one tells whether it
//! was accepted; `without` is the part of the protocol that a mutation leaves out.

use booking::Verb;

use crate::log::Folded;
use crate::protocol::Mutation;
use crate::state::{BOOKINGS, Check, Database, Finding, Flight, Row};

/// The answer of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    Done,
    Foreign,
    Elsewhere(u8),
    Stale,
}

/// A cursor's step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advance {
    pub(crate) epoch: u8,
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// What the bookings named by the batch were folded from.
    pub(crate) seen: [u8; BOOKINGS],
}

impl Database {
    /// Rule R1: raises the owner epoch and reads the cursor.
    pub(crate) fn fence(&mut self) -> (u8, u8) {
        self.epoch += 1;
        (self.epoch, self.next)
    }

    /// Rule R3: one batch, all or nothing.
    pub(crate) fn commit(
        &mut self,
        advance: Advance,
        folded: &[Folded],
        without: Option<Mutation>,
    ) -> Committed {
        if advance.epoch != self.epoch && without != Some(Mutation::NoOwnerEpoch) {
            return Committed::Foreign;
        }
        if advance.from != self.next && without != Some(Mutation::OffsetBeforeDatabase) {
            return Committed::Elsewhere(self.next);
        }
        let is_seen = |it: &Folded| advance.seen[it.booking] == self.folded[it.booking];
        if !folded.iter().all(is_seen) {
            return Committed::Stale;
        }
        self.next = advance.to;
        for it in folded {
            self.folded[it.booking] = it.records;
            if let Some((revision, content)) = it.asked {
                self.ask(it.booking, revision, content);
            }
        }
        Committed::Done
    }

    /// Rule R9: what is wanted. A lower revision than the stored one changes nothing.
    fn ask(&mut self, booking: usize, revision: u8, content: Option<u8>) {
        match &mut self.rows[booking] {
            None => {
                self.rows[booking] = Some(Row {
                    desired_revision: revision,
                    desired: content,
                    applied_revision: None,
                    applied: None,
                    generation: 0,
                    burned: false,
                    etag: None,
                    flight: None,
                    verify: None,
                });
            }
            Some(row) => {
                let is_other = revision == row.desired_revision && content != row.desired;
                if revision > row.desired_revision || is_other {
                    (row.desired_revision, row.desired) = (revision, content);
                }
            }
        }
    }

    fn row(&mut self, booking: usize) -> &mut Row {
        self.rows[booking].as_mut().expect("a row is never deleted")
    }

    /// What an earlier holder left in flight becomes ours, and its attempts stay open. Answers the
    /// rows whose verification was set now.
    pub(crate) fn take_over(&mut self, token: u8) -> [bool; BOOKINGS] {
        std::array::from_fn(|booking| match &mut self.rows[booking] {
            Some(Row { flight: Some(flight), .. }) if flight.token != token => {
                flight.token = token;
                self.open(booking)
            }
            Some(_) | None => false,
        })
    }

    /// Rule R14: leaves an attempt open. `true`: its verification was set now; one that was set
    /// earlier is not put off. (In the service the earlier of the two hours holds. Which of them
    /// that is, where the earlier one is a later stage's, the model takes for the worse.)
    fn open(&mut self, booking: usize) -> bool {
        let row = self.row(booking);
        let is_new = row.verify.is_none();
        let is_delete = row.flight.is_some_and(|flight| flight.verb == Verb::Delete);
        let (from, deletes) =
            row.verify.map_or((row.generation, false), |open| (open.from_generation, open.deletes));
        row.verify = Some(Check {
            from_generation: from.min(row.generation),
            deletes: deletes || is_delete,
            stage: 0,
        });
        is_new
    }

    /// What is about to be sent, if the lane is still ours and the row still asks for it.
    pub(crate) fn stamp(
        &mut self,
        booking: usize,
        flight: Flight,
        generation: u8,
        without: Option<Mutation>,
    ) -> bool {
        if self.lane != Some(flight.token) && without != Some(Mutation::NoToken) {
            return false;
        }
        let row = self.row(booking);
        if !is_asked_for(row, flight, generation, without) {
            return false;
        }
        row.burned = flight.verb == Verb::Delete || (row.burned && generation == row.generation);
        row.generation = generation;
        row.flight = Some(flight);
        true
    }

    /// Rule R15: what became of an attempt, only under the row's token; of a verification, only
    /// under the lane's. Answers whether it was written, and whether a verification was set now.
    pub(crate) fn record(
        &mut self,
        booking: usize,
        token: u8,
        (finding, verify): (Finding, bool),
        stages: u8,
        without: Option<Mutation>,
    ) -> (bool, bool) {
        if without != Some(Mutation::NoToken) && !self.is_held(booking, token, finding) {
            return (false, false);
        }
        let is_set = match (finding.is_verification(), verify) {
            (false, false) => false,
            (false, true) => self.open(booking),
            (true, _) => self.next_stage(booking, stages),
        };
        self.find(booking, finding);
        (true, is_set)
    }

    fn is_held(&self, booking: usize, token: u8, finding: Finding) -> bool {
        let flight = self.rows[booking].and_then(|row| row.flight);
        if finding.is_verification() {
            return self.lane == Some(token) && flight.is_none();
        }
        flight.is_some_and(|flight| flight.token == token)
    }

    /// A verification has answered what was asked, and says what comes next.
    fn next_stage(&mut self, booking: usize, stages: u8) -> bool {
        let row = self.row(booking);
        let generation = row.generation;
        row.verify = row.verify.filter(|open| open.stage + 1 < stages).map(|open| Check {
            from_generation: open.from_generation.min(generation),
            deletes: open.deletes,
            stage: open.stage + 1,
        });
        row.verify.is_some()
    }

    fn find(&mut self, booking: usize, finding: Finding) {
        let row = self.row(booking);
        let verb = row.flight.map(|flight| flight.verb);
        match finding {
            Finding::Unknown | Finding::Verified => return,
            Finding::Present { revision, content, etag } => {
                (row.applied_revision, row.applied, row.etag) =
                    (Some(revision), Some(content), etag);
            }
            Finding::Absent { revision } => {
                (row.applied_revision, row.applied, row.etag) = (Some(revision), None, None);
                row.burned = true;
            }
            Finding::Gone => {
                (row.applied, row.etag, row.burned) = (None, None, false);
                row.generation += 1;
            }
            Finding::NotApplied => row.burned &= verb != Some(Verb::Delete),
            Finding::Differs { present, etag, gone } => {
                row.applied_revision =
                    present.map(|(revision, _)| revision).or(row.applied_revision);
                (row.applied, row.etag) = (present.map(|(_, content)| content), etag);
                row.generation += u8::from(gone);
                row.burned &= !gone;
                return;
            }
        }
        row.flight = None;
    }
}

/// The conditions of the stamp that are about the row.
pub(crate) fn is_asked_for(
    row: &Row,
    flight: Flight,
    generation: u8,
    without: Option<Mutation>,
) -> bool {
    let is_to_go = row.burned && without != Some(Mutation::WantedIsNeverDeleted);
    row.desired_revision == flight.revision
        && (row.desired.is_none() == (flight.verb == Verb::Delete)
            || (is_to_go && flight.verb == Verb::Delete))
        && row.generation <= generation
        && row.flight.is_none_or(|present| present.token == flight.token)
}
