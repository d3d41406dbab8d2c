//! Reading the log (rules R1 to R3): what `src/consumer/` and `src/pipeline.rs` do, step by step.

use crate::audit::Note;
use crate::database::{Advance, Committed};
use crate::protocol::{Action, Fault, Mutation, Protocol};
use crate::state::{Reader, State};

/// The most records in a batch.
const BATCH_MAX: u8 = 2;

impl Protocol {
    /// What a worker can do about the partition.
    pub(crate) fn reading(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let end = self.log.end();
        match state.workers[worker].reader {
            Reader::Away => {
                let is_free = !state.has_owner() || self.can(state, Fault::Freeze);
                if state.database.next < end && is_free {
                    actions.push(Action::Assign(worker));
                }
            }
            Reader::Ready { at, .. } => {
                let most = BATCH_MAX.min(end - at);
                actions.extend((1..=most).map(|records| Action::Read(worker, records)));
            }
            Reader::Folded { told: false, .. } if self.is(Mutation::OffsetBeforeDatabase) => {
                actions.push(Action::TellKafka(worker));
            }
            Reader::Folded { .. } => {
                actions.push(Action::Commit(worker));
                if self.can(state, Fault::Unheard) {
                    actions.push(Action::CommitUnheard(worker));
                }
            }
        }
    }

    /// Rule R1: fence, then read the cursor.
    pub(crate) fn assign(&self, state: &mut State, worker: usize) {
        let (epoch, next) = state.database.fence();
        let at = if self.is(Mutation::OffsetBeforeDatabase) { state.kafka } else { next };
        state.workers[worker].reader = Reader::Ready { epoch, at };
    }

    /// Reads records, and the states that they are folded into, outside of any transaction.
    pub(crate) fn read(&self, state: &mut State, worker: usize, records: u8) {
        let Reader::Ready { epoch, at } = state.workers[worker].reader else {
            unreachable!("only who is ready reads")
        };
        let to = at + records;
        let named = self.log.named(at, to);
        let folded = state.database.folded;
        let seen = std::array::from_fn(|booking| if named[booking] { folded[booking] } else { 0 });
        state.workers[worker].reader = Reader::Folded { epoch, from: at, to, seen, told: false };
    }

    /// Rule R3: one transaction. An answer that is lost is asked for again, by trying again.
    pub(crate) fn commit(&self, state: &mut State, worker: usize, is_heard: bool) {
        let Reader::Folded { epoch, from, to, seen, .. } = state.workers[worker].reader else {
            unreachable!("only what was folded is committed")
        };
        let folded = self.log.fold_batch(state, from, to);
        let is_stale = epoch != state.database.epoch;
        let advance = Advance { epoch, from, to, seen };
        let answer = state.database.commit(advance, &folded, self.mutation);
        if answer == Committed::Done && is_stale {
            state.note(Note::StaleEpoch);
        }
        if !is_heard {
            return;
        }
        // The service tells Kafka after it. That copy is behind if it does not, and nobody reads it.
        state.workers[worker].reader = match answer {
            Committed::Done => Reader::Ready { epoch, at: to },
            Committed::Elsewhere(next) if next == to => Reader::Ready { epoch, at: to },
            Committed::Foreign | Committed::Elsewhere(_) => Reader::Away,
            Committed::Stale => Reader::Ready { epoch, at: from },
        };
    }
}

impl State {
    /// A mutation: Kafka is told before the database.
    pub(crate) fn tell_kafka(&mut self, worker: usize) {
        if let Reader::Folded { to, told, .. } = &mut self.workers[worker].reader {
            (self.kafka, *told) = (*to, true);
        }
    }
}
