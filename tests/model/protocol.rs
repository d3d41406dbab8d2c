//! The model itself: which steps a state allows, and what each does. A step is what happens at
//! once, as far as anybody else can tell: one transaction, one request on its way or answered, one
//! process gone. Whatever may come between two steps does, somewhere.

use booking::CalendarKind;
use stateright::{Model, Property};

use crate::audit::{self, Note, Notes};
use crate::decisions::Decisions;
use crate::log::Log;
use crate::state::{BOOKINGS, Finding, Reader, State, Task, WORKERS, Worker};

/// What can go wrong. Each time takes one of the faults that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process ends between two steps.
    Crash,
    /// The partition, or the lane, goes to the other worker while its owner freezes.
    Freeze,
    /// Nobody waits for an answer any more; the request is still under way.
    Late,
    /// A request is delivered, and a copy of it stays under way.
    Copy,
    /// The same, of requests whose answers nobody hears alone.
    LateCopy,
    /// A calendar asks to be left alone (429).
    Refusal,
    /// The answer to a commit is lost.
    Unheard,
}

/// What is left out of the protocol, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A commit does not ask for the owner epoch.
    NoOwnerEpoch,
    /// Stamps and records do not ask for a token.
    NoToken,
    /// Updates and deletes carry no ETag.
    UnconditionalWrites,
    /// A call without an answer counts as not applied.
    UnknownTakenForFailed,
    /// Kafka's offset is committed before the database, and reading starts from it.
    OffsetBeforeDatabase,
    /// Open attempts are not verified.
    NoVerification,
    /// A stamp to delete asks that no event be wanted, whatever was to be deleted before.
    WantedIsNeverDeleted,
}

/// A step. Workers, bookings and requests are told by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Kafka assigns the partition to a worker, which fences it.
    Assign(usize),
    /// An owner reads so many records, and the states that they are folded into.
    Read(usize, u8),
    /// It commits what it has folded.
    Commit(usize),
    /// The same, and the answer is lost.
    CommitUnheard(usize),
    /// It tells Kafka (a mutation).
    TellKafka(usize),
    /// A worker leases the lane.
    Lease(usize),
    /// It takes over what is in flight.
    TakeOver(usize),
    /// It gives the lane back.
    Release(usize),
    /// It reads a row that is due, and decides.
    Look(usize, usize),
    /// It stamps what it will send.
    Stamp(usize, usize),
    /// It sends.
    Send(usize, usize),
    /// It reads back what is in flight; `true`: after few attempts.
    ReadBack(usize, usize, bool),
    /// It leaves the row: its lease has run out.
    Leave(usize, usize),
    /// Its drain ends, and what it has stamped is not sent.
    LeaveUnsent(usize, usize),
    /// It reads back what is settled.
    Verify(usize, usize),
    /// It records what it has found.
    Record(usize, usize),
    /// A call has waited long enough.
    GiveUp(usize, usize),
    /// A request is delivered, and its answer heard, if somebody waits for it.
    Deliver(usize),
    /// The same, and a copy stays under way.
    DeliverTwice(usize),
    /// The calendar answers that it did nothing, and asks to be left alone.
    Refuse(usize),
    /// A request that nobody waits for is lost on its way.
    Lose(usize),
    /// A process ends, and is started again.
    Crash(usize),
}

impl Action {
    /// Whether it is a fault. `state`: before it.
    fn is_fault(self, state: &State) -> bool {
        match self {
            Self::CommitUnheard(_)
            | Self::GiveUp(..)
            | Self::DeliverTwice(_)
            | Self::Refuse(_)
            | Self::Crash(_) => true,
            Self::Assign(_) => state.has_owner(),
            Self::Lease(_) => state.has_holder(),
            Self::Read(..)
            | Self::Commit(_)
            | Self::TellKafka(_)
            | Self::TakeOver(_)
            | Self::Release(_)
            | Self::Look(..)
            | Self::Stamp(..)
            | Self::Send(..)
            | Self::ReadBack(..)
            | Self::Leave(..)
            | Self::LeaveUnsent(..)
            | Self::Verify(..)
            | Self::Record(..)
            | Self::Deliver(_)
            | Self::Lose(_) => false,
        }
    }
}

/// Something that must be seen to happen, so that the model cannot be empty.
pub(crate) type Witness = (&'static str, fn(&Protocol, &State) -> bool);

/// One configuration of the model.
pub(crate) struct Protocol {
    pub(crate) kind: CalendarKind,
    pub(crate) log: Log,
    /// How many faults there are, of which kinds.
    pub(crate) faults: u8,
    pub(crate) kinds: &'static [Fault],
    /// How often an open attempt is verified (`emit.verify_after_s` has so many waits).
    pub(crate) stages: u8,
    pub(crate) mutation: Option<Mutation>,
    /// What must be seen to happen.
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) decisions: Decisions,
}

impl Protocol {
    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn can(&self, state: &State, fault: Fault) -> bool {
        state.faults > 0 && self.kinds.contains(&fault)
    }

    /// Whether anything can still happen without a fault.
    pub(crate) fn has_work(&self, state: &State) -> bool {
        if !state.network.is_empty() || !state.workers.iter().all(Worker::is_resting) {
            return true;
        }
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        actions.iter().any(|action| !action.is_fault(state))
    }

    /// Whether the calendar is the fold of the log, and nobody owes anything.
    pub(crate) fn is_right(&self, state: &State) -> bool {
        let is_settled = |booking: usize| {
            let row = state.database.rows[booking];
            row.is_none_or(|row| !row.is_due() && row.verify.is_none())
                && state.live(booking).eq(self.log.outcome(booking))
        };
        state.database.next == self.log.end()
            && state.network.is_empty()
            && (0..BOOKINGS).all(is_settled)
    }

    fn network(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, request) in state.network.iter().enumerate() {
            actions.push(Action::Deliver(at));
            let is_late = request.waiting.is_none() && self.can(state, Fault::LateCopy);
            if is_late || self.can(state, Fault::Copy) {
                actions.push(Action::DeliverTwice(at));
            }
            if request.waiting.is_none() {
                actions.push(Action::Lose(at));
            } else if self.can(state, Fault::Refusal) {
                actions.push(Action::Refuse(at));
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Assign(worker) => self.assign(state, worker),
            Action::Read(worker, records) => self.read(state, worker, records),
            Action::Commit(worker) => self.commit(state, worker, true),
            Action::CommitUnheard(worker) => self.commit(state, worker, false),
            Action::TellKafka(worker) => state.tell_kafka(worker),
            Action::Lease(worker) => state.lease(worker),
            Action::TakeOver(worker) => self.take_over(state, worker),
            Action::Release(worker) => state.release(worker),
            Action::Look(worker, booking) => self.look(state, worker, booking),
            Action::Stamp(worker, booking) => self.stamp(state, worker, booking),
            Action::Send(worker, booking) => self.send(state, worker, booking),
            Action::ReadBack(worker, booking, is_patient) => {
                self.read_back(state, worker, booking, is_patient);
            }
            Action::Leave(worker, booking) => state.workers[worker].tasks[booking] = Task::Rest,
            Action::LeaveUnsent(worker, booking) => state.leave_unsent(worker, booking),
            Action::Verify(worker, booking) => self.verify(state, worker, booking),
            Action::Record(worker, booking) => self.record(state, worker, booking),
            Action::GiveUp(worker, booking) => self.give_up(state, worker, booking),
            Action::Deliver(at) => self.delivered(state, at, false),
            Action::DeliverTwice(at) => self.delivered(state, at, true),
            Action::Refuse(at) => self.refused(state, at),
            Action::Lose(at) => drop(state.network.remove(at)),
            Action::Crash(worker) => state.crash(worker),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.faults)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for worker in 0..WORKERS {
            self.reading(state, worker, actions);
            self.sending(state, worker, actions);
            if self.can(state, Fault::Crash) && state.workers[worker] != Worker::NEW {
                actions.push(Action::Crash(worker));
            }
        }
        self.network(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.notes = Notes::default();
        state.faults -= u8::from(action.is_fault(before));
        self.step(&mut state, action);
        for worker in 0..WORKERS {
            // Whoever has nothing to do and no lease any more goes.
            if state.is_stale(worker) && state.workers[worker].is_resting() {
                state.workers[worker].lease = None;
            }
        }
        let is_corrected = matches!(action, Action::Record(worker, booking) if matches!(
            before.workers[worker].tasks[booking],
            Task::Recording { finding: Finding::Differs { .. }, .. }
        ));
        audit::compare(self.kind, before, &mut state, is_corrected);
        state.normalise();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = audit::invariants(self);
        all.extend(self.witnesses.iter().map(|(name, seen)| Property::sometimes(name, *seen)));
        all
    }
}

impl State {
    /// Whether a process has the latest fence of the partition.
    pub(crate) fn has_owner(&self) -> bool {
        self.workers.iter().any(|worker| match worker.reader {
            Reader::Away => false,
            Reader::Ready { epoch, .. } | Reader::Folded { epoch, .. } => {
                epoch == self.database.epoch
            }
        })
    }

    /// Whether a process knows that it holds the lane.
    pub(crate) fn has_holder(&self) -> bool {
        self.database.lane.is_some()
            && self.workers.iter().any(|it| it.lease.map(|lease| lease.token) == self.database.lane)
    }

    /// A process ends; what it has sent is under way still.
    fn crash(&mut self, worker: usize) {
        self.workers[worker] = Worker::NEW;
        for request in self.network.iter_mut().filter(|it| it.waiting == Some(worker)) {
            request.waiting = None;
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.note(note);
    }
}
