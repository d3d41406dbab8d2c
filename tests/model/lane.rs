//! Sending under a lease (rules R9 to R15): what `src/emit/lane.rs`, `call.rs` and `verify.rs` do,
//! step by step. What is decided is asked of the service's own code.

use booking::Verb;
use calendar_sync::calendar::Answer;
use calendar_sync::emit::outcome::{Outcome, outcome};

use crate::audit::{self, Note};
use crate::calendar::{Delivered, status};
use crate::database::is_asked_for;
use crate::decisions::{Checked, Found, Owes};
use crate::protocol::{Action, Fault, Mutation, Protocol};
use crate::state::{
    BOOKINGS, Finding, Flight, Guard, Lease, Mood, Next, Request, Row, Slot, State, Task, WORKERS,
};

impl Protocol {
    /// What a worker can do about the lane.
    pub(crate) fn sending(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let has_work = || (0..BOOKINGS).any(|booking| self.owes(state, booking).is_some());
        match state.workers[worker].lease {
            None => {
                let is_free = !state.has_holder() || self.can(state, Fault::Freeze);
                if is_free && has_work() {
                    actions.push(Action::Lease(worker));
                }
            }
            Some(Lease { entered: false, .. }) => actions.push(Action::TakeOver(worker)),
            Some(lease) => {
                for booking in 0..BOOKINGS {
                    self.acting(state, worker, booking, actions);
                }
                // Rows wait for their time after trouble; without, everything due is done first.
                let may_end = lease.mood != Mood::Fine || !has_work();
                if state.workers[worker].is_resting() && may_end {
                    actions.push(Action::Release(worker));
                }
            }
        }
    }

    fn acting(&self, state: &State, worker: usize, booking: usize, actions: &mut Vec<Action>) {
        let is_stale = state.is_stale(worker);
        let mood = state.workers[worker].lease.map_or(Mood::Over, |lease| lease.mood);
        if let Task::Acting { unsent: true, .. } = state.workers[worker].tasks[booking]
            && mood != Mood::Fine
        {
            actions.push(Action::LeaveUnsent(worker, booking));
        }
        match state.workers[worker].tasks[booking] {
            Task::Rest if is_stale || mood == Mood::Over => {}
            Task::Rest => match self.owes(state, booking) {
                Some(Owes::Settle | Owes::Send { .. }) => {
                    actions.push(Action::Look(worker, booking));
                }
                Some(Owes::Verify) => actions.push(Action::Verify(worker, booking)),
                None => {}
            },
            Task::Decided { .. } => actions.push(Action::Stamp(worker, booking)),
            Task::Recording { .. } => actions.push(Action::Record(worker, booking)),
            Task::Acting { next: Next::Waiting, .. } => {
                if self.can(state, Fault::Late) {
                    actions.push(Action::GiveUp(worker, booking));
                }
            }
            Task::Acting { next: Next::Send(..), .. } => {
                // With a stale lease: it had looked at it in time, and froze before it sent. Or it
                // looks now.
                actions.push(Action::Send(worker, booking));
                if is_stale {
                    actions.push(Action::Leave(worker, booking));
                }
            }
            // It looks at its lease first.
            Task::Acting { next: Next::ReadBack, .. } if is_stale => {
                actions.push(Action::Leave(worker, booking));
            }
            Task::Acting { owed, next: Next::ReadBack, .. } => {
                let slot = state.read(self.kind, booking, owed.generation);
                let settle =
                    |is_patient| self.decisions.settle(&self.log, booking, &owed, is_patient, slot);
                actions.push(Action::ReadBack(worker, booking, true));
                // How many attempts there were is not counted: any number is possible.
                if settle(true) != settle(false) {
                    actions.push(Action::ReadBack(worker, booking, false));
                }
            }
        }
    }

    /// What a holder would do about a row now; `None`: nothing that changes anything.
    fn owes(&self, state: &State, booking: usize) -> Option<Owes> {
        let row = state.database.rows[booking]?;
        let is_to_verify = row.verify.is_some() && state.is_verifiable(booking);
        if !row.is_due() && !is_to_verify {
            return None;
        }
        let owes = self.decisions.next(&self.log, booking, &row, !row.is_due())?;
        let is_accepted = match owes {
            Owes::Settle | Owes::Verify => true,
            Owes::Send { verb, generation } => {
                is_asked_for(&row, flight(&row, verb, 0), generation, self.mutation)
            }
        };
        is_accepted.then_some(owes)
    }

    pub(crate) fn take_over(&self, state: &mut State, worker: usize) {
        if state.is_stale(worker) {
            state.workers[worker].lease = None;
            return;
        }
        let token = state.token(worker);
        let set = state.database.take_over(token);
        for booking in (0..BOOKINGS).filter(|booking| set[*booking]) {
            self.verification_set(state, booking);
        }
        if let Some(lease) = &mut state.workers[worker].lease {
            lease.entered = true;
        }
    }

    /// The hour of a verification was set: what is under way now is over by then.
    fn verification_set(&self, state: &mut State, booking: usize) {
        if self.is(Mutation::NoVerification)
            && let Some(row) = &mut state.database.rows[booking]
        {
            row.verify = None;
        }
        for request in state.network.iter_mut().filter(|it| it.booking == booking) {
            request.bounded = true;
        }
    }

    /// Reads a row that is due. What is in flight is read back; what is to be sent is stamped.
    pub(crate) fn look(&self, state: &mut State, worker: usize, booking: usize) {
        let owed = state.row(booking);
        state.workers[worker].tasks[booking] = match self.owes(state, booking) {
            Some(Owes::Settle) => {
                Task::Acting { owed, unsent: false, fresh: false, next: Next::ReadBack }
            }
            Some(Owes::Send { verb, generation }) => Task::Decided { owed, verb, generation },
            Some(Owes::Verify) | None => unreachable!("looked at what is due"),
        };
    }

    pub(crate) fn stamp(&self, state: &mut State, worker: usize, booking: usize) {
        let Task::Decided { owed, verb, generation } = state.workers[worker].tasks[booking] else {
            unreachable!("stamps what was decided")
        };
        let token = state.token(worker);
        let flight = flight(&owed, verb, token);
        let is_stale = state.is_stale(worker);
        if !state.database.stamp(booking, flight, generation, self.mutation) {
            state.workers[worker].tasks[booking] = Task::Rest;
            return;
        }
        if is_stale {
            state.note(Note::StaleToken);
        }
        let owed = Row { flight: Some(flight), generation, ..owed };
        let next = match (verb, owed.etag) {
            (Verb::Create, _) => Next::Send(verb, Guard::New),
            (Verb::Update | Verb::Delete, Some(etag)) => Next::Send(verb, Guard::Match(etag)),
            (Verb::Update | Verb::Delete, None) => Next::ReadBack,
        };
        let fresh = matches!(next, Next::Send(..));
        state.workers[worker].tasks[booking] = Task::Acting { owed, unsent: true, fresh, next };
    }

    pub(crate) fn send(&self, state: &mut State, worker: usize, booking: usize) {
        let bounded = state.is_stale(worker);
        let Task::Acting { owed, unsent, next, .. } = &mut state.workers[worker].tasks[booking]
        else {
            unreachable!("sends what is in flight")
        };
        let (Next::Send(verb, guard), Some(flight)) = (*next, owed.flight) else {
            unreachable!("sends what is in flight")
        };
        (*next, *unsent) = (Next::Waiting, false);
        let guard = match guard {
            Guard::Match(_) if self.is(Mutation::UnconditionalWrites) => Guard::Nothing,
            Guard::New | Guard::Match(_) | Guard::Nothing => guard,
        };
        let generation = owed.generation;
        let Flight { revision, content, .. } = flight;
        let waiting = Some(worker);
        let request =
            Request { booking, generation, verb, guard, revision, content, waiting, bounded };
        state.network.push(request);
    }

    pub(crate) fn delivered(&self, state: &mut State, at: usize, leaves_copy: bool) {
        let request = state.network.remove(at);
        let Delivered { answer, is_effect } = state.deliver(self.kind, &request);
        let Request { booking, generation, revision, .. } = request;
        if is_effect {
            audit::effect(state, booking, generation, revision);
        }
        if leaves_copy {
            state.network.push(Request { waiting: None, ..request });
        }
        if let Some(worker) = request.waiting {
            self.answered(state, worker, booking, request.verb, &answer);
        }
    }

    pub(crate) fn refused(&self, state: &mut State, at: usize) {
        let request = state.network.remove(at);
        let worker = request.waiting.expect("somebody hears it");
        let answer = status(429, None);
        self.answered(state, worker, request.booking, request.verb, &answer);
    }

    /// The call's time is up. The request may be anywhere.
    pub(crate) fn give_up(&self, state: &mut State, worker: usize, booking: usize) {
        let mut network = state.network.iter_mut();
        let request = network
            .find(|it| it.booking == booking && it.waiting == Some(worker))
            .expect("what is waited for is under way");
        request.waiting = None;
        let verb = request.verb;
        let answer = Answer::Lost { sent: true, message: String::new() };
        self.answered(state, worker, booking, verb, &answer);
    }

    /// What an answer leads to, as `Drain::send` has it.
    fn answered(
        &self,
        state: &mut State,
        worker: usize,
        booking: usize,
        verb: Verb,
        answer: &Answer,
    ) {
        let Task::Acting { owed, fresh, .. } = state.workers[worker].tasks[booking] else {
            unreachable!("waits for an answer")
        };
        let flight = owed.flight.expect("waits for an answer");
        let record = |finding, verify| Task::Recording { finding, verify };
        let read_back = Task::Acting { owed, unsent: false, fresh: false, next: Next::ReadBack };
        let task = match outcome(self.kind, verb, answer) {
            Outcome::Applied { etag, .. } => {
                let etag = etag.map(|etag| etag.parse().expect("an etag of the model"));
                record(acknowledged(flight, etag), false)
            }
            Outcome::AlreadyApplied if flight.content.is_none() => {
                record(Finding::Absent { revision: flight.revision }, false)
            }
            Outcome::Unknown { open: true, .. } if self.is(Mutation::UnknownTakenForFailed) => {
                record(Finding::NotApplied, false)
            }
            Outcome::Unknown { open: true, .. } => record(Finding::Unknown, true),
            Outcome::AlreadyApplied | Outcome::Unknown { open: false, .. } => read_back,
            Outcome::Retry { .. } if fresh => record(Finding::NotApplied, false),
            Outcome::Retry { .. } => record(Finding::Unknown, false),
            Outcome::Rejected { .. } | Outcome::Unauthorised { .. } => {
                unreachable!("no calendar of the model answers so")
            }
        };
        state.workers[worker].tasks[booking] = task;
    }

    /// Reads back what is in flight, as `Drain::read_back` has it.
    pub(crate) fn read_back(
        &self,
        state: &mut State,
        worker: usize,
        booking: usize,
        is_patient: bool,
    ) {
        let Task::Acting { owed, unsent, .. } = state.workers[worker].tasks[booking] else {
            unreachable!("reads back what is in flight")
        };
        let flight = owed.flight.expect("reads back what is in flight");
        let slot = state.read(self.kind, booking, owed.generation);
        let found = self.decisions.settle(&self.log, booking, &owed, is_patient, slot);
        let record = |finding, verify| Task::Recording { finding, verify };
        state.workers[worker].tasks[booking] = match found {
            Found::Present { revision, content, etag } => {
                record(Finding::Present { revision, content, etag }, false)
            }
            Found::Absent => {
                // One bare 404 can be transient: it is looked for once more, later.
                let is_bare = slot == Slot::Unused;
                record(Finding::Absent { revision: flight.revision }, is_bare)
            }
            Found::Gone => record(Finding::Gone, false),
            Found::SendAgain { verb, guard } => {
                Task::Acting { owed, unsent, fresh: false, next: Next::Send(verb, guard) }
            }
            Found::Superseded => record(Finding::NotApplied, true),
            Found::Ahead => {
                state.note(Note::Ahead);
                Task::Rest
            }
        };
    }

    /// Reads back what is settled, as `Drain::verify` has it.
    pub(crate) fn verify(&self, state: &mut State, worker: usize, booking: usize) {
        let row = state.row(booking);
        let slot = state.read(self.kind, booking, row.generation);
        let finding = match self.decisions.verify(&self.log, booking, &row, slot) {
            Checked::Stands => Finding::Verified,
            Checked::Drifted => {
                state.note(Note::Drifted);
                Finding::Verified
            }
            Checked::Differs { present, etag, gone } => Finding::Differs { present, etag, gone },
        };
        state.workers[worker].tasks[booking] = Task::Recording { finding, verify: true };
    }

    pub(crate) fn record(&self, state: &mut State, worker: usize, booking: usize) {
        let Task::Recording { finding, verify } = state.workers[worker].tasks[booking] else {
            unreachable!("records what was found")
        };
        state.workers[worker].tasks[booking] = Task::Rest;
        let (token, row) = (state.token(worker), state.row(booking));
        let is_foreign = match (finding.is_verification(), row.flight) {
            (true, _) => state.is_stale(worker),
            (false, flight) => flight.is_none_or(|flight| flight.token != token),
        };
        let (without, stages) = (self.mutation, self.stages);
        let (is_written, is_set) =
            state.database.record(booking, token, (finding, verify), stages, without);
        if !is_written {
            return;
        }
        if is_set {
            self.verification_set(state, booking);
        }
        if is_foreign {
            state.note(Note::StaleToken);
        }
        match finding {
            Finding::Present { revision, .. } => {
                if !audit::had_effect(state, booking, row.generation, revision) {
                    state.note(Note::AppliedFalsely);
                }
            }
            Finding::Unknown | Finding::NotApplied => state.drains(worker, Mood::Troubled),
            Finding::Absent { .. }
            | Finding::Gone
            | Finding::Verified
            | Finding::Differs { .. } => {}
        }
    }
}

/// What is stamped for a row (`Drain::flight`).
fn flight(owed: &Row, verb: Verb, token: u8) -> Flight {
    let content = owed.desired.filter(|_| verb != Verb::Delete);
    Flight { token, verb, revision: owed.desired_revision, content }
}

fn acknowledged(flight: Flight, etag: Option<u8>) -> Finding {
    let revision = flight.revision;
    match flight.content {
        None => Finding::Absent { revision },
        Some(content) => Finding::Present { revision, content, etag },
    }
}

impl State {
    /// The bound of rule R14: when the hour of a verification has come, what was under way as it
    /// was set has landed or never will, and whoever held the lane before has noticed. What was
    /// sent afterwards is under way still, for all we know.
    fn is_verifiable(&self, booking: usize) -> bool {
        let is_over = |request: &Request| {
            request.booking != booking
                || !(request.bounded || request.waiting.is_some_and(|worker| self.is_stale(worker)))
        };
        let has_noticed = |worker: usize| {
            !self.is_stale(worker) || self.workers[worker].tasks[booking] == Task::Rest
        };
        self.network.iter().all(is_over) && (0..WORKERS).all(has_noticed)
    }

    pub(crate) fn lease(&mut self, worker: usize) {
        let token = u8::MAX;
        self.database.lane = Some(token);
        self.workers[worker].lease = Some(Lease { token, entered: false, mood: Mood::Fine });
    }

    pub(crate) fn release(&mut self, worker: usize) {
        if !self.is_stale(worker) {
            self.database.lane = None;
        }
        self.workers[worker].lease = None;
    }

    /// What was stamped for this drain and surely not sent is no call on its way.
    pub(crate) fn leave_unsent(&mut self, worker: usize, booking: usize) {
        self.drains(worker, Mood::Over);
        self.workers[worker].tasks[booking] =
            Task::Recording { finding: Finding::NotApplied, verify: false };
    }

    fn row(&self, booking: usize) -> Row {
        self.database.rows[booking].expect("a row is never deleted")
    }

    fn drains(&mut self, worker: usize, mood: Mood) {
        if let Some(lease) = &mut self.workers[worker].lease {
            lease.mood = lease.mood.max(mood);
        }
    }

    fn token(&self, worker: usize) -> u8 {
        self.workers[worker].lease.expect("only a holder writes").token
    }
}
