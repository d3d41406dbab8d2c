//! The words of the model: one state of the whole system, small enough that all of them can be
//! visited. It decides nothing.
//!
//! Revisions, generations, ETags, tokens and offsets are small numbers; a content is the offset of
//! the record that said it.

use booking::Verb;

use crate::audit::Notes;

/// How many processes there are.
pub(crate) const WORKERS: usize = 2;
/// How many bookings the log is about.
pub(crate) const BOOKINGS: usize = 2;
/// How many names one booking may need in one calendar.
pub(crate) const GENERATIONS: usize = 3;

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    /// Kafka's copy of the cursor. Nobody reads it, and so it is kept only under the mutation that
    /// starts from it.
    pub(crate) kafka: u8,
    pub(crate) workers: [Worker; WORKERS],
    /// Requests under way, sorted.
    pub(crate) network: Vec<Request>,
    pub(crate) calendar: [[Slot; GENERATIONS]; BOOKINGS],
    /// How many faults may still happen.
    pub(crate) faults: u8,
    /// The auditor's: which (generation, revision) have changed the calendar.
    pub(crate) effects: [u16; BOOKINGS],
    /// The auditor's: what the last step did that must never happen.
    pub(crate) notes: Notes,
}

/// What a transaction sees and leaves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    /// The cursor's owner epoch; its token is left out, for it rises with it.
    pub(crate) epoch: u8,
    /// The cursor.
    pub(crate) next: u8,
    /// Of each booking: the offsets of the records folded into it, a bit each. They are the state
    /// and its version.
    pub(crate) folded: [u8; BOOKINGS],
    /// The outbox.
    pub(crate) rows: [Option<Row>; BOOKINGS],
    /// Who has leased the lane.
    pub(crate) lane: Option<u8>,
}

/// A row of the outbox (rule R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) desired_revision: u8,
    pub(crate) desired: Option<u8>,
    pub(crate) applied_revision: Option<u8>,
    pub(crate) applied: Option<u8>,
    pub(crate) generation: u8,
    pub(crate) burned: bool,
    pub(crate) etag: Option<u8>,
    pub(crate) flight: Option<Flight>,
    pub(crate) verify: Option<Check>,
}

/// A stamp: what is about to be sent, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flight {
    pub(crate) token: u8,
    pub(crate) verb: Verb,
    pub(crate) revision: u8,
    pub(crate) content: Option<u8>,
}

/// The verification that an open attempt asks for (rule R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Check {
    pub(crate) from_generation: u8,
    pub(crate) deletes: bool,
    pub(crate) stage: u8,
}

/// Under which condition a call takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Guard {
    /// Only under a name that is new.
    New,
    /// Only over this ETag.
    Match(u8),
    /// None: only a mutation sends it.
    Nothing,
}

/// One HTTP request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) booking: usize,
    pub(crate) generation: u8,
    pub(crate) verb: Verb,
    pub(crate) guard: Guard,
    pub(crate) revision: u8,
    pub(crate) content: Option<u8>,
    /// Who waits for its answer. `None`: late, or a copy; nobody hears what becomes of it.
    pub(crate) waiting: Option<usize>,
    /// Whether it was sent before the hour of the row's verification was set: it is over by then.
    pub(crate) bounded: bool,
}

/// What a calendar holds under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// Nothing, and nothing is remembered.
    Unused,
    /// An event.
    Live { revision: u8, content: u8, etag: u8 },
    /// A deleted event that the calendar remembers.
    Tombstone { etag: u8 },
}

/// One process: it reads the partition, if it believes that it is its own, and holds the lane, if
/// it believes that its lease lasts. It freezes by doing nothing while others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Worker {
    pub(crate) reader: Reader,
    pub(crate) lease: Option<Lease>,
    pub(crate) tasks: [Task; BOOKINGS],
}

/// How far the reading of the partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// The partition is not its own.
    Away,
    /// Fenced; the next record is `at`.
    Ready { epoch: u8, at: u8 },
    /// It has folded `from..to` into what the database held then.
    /// `told`: and Kafka knows already (a mutation).
    Folded { epoch: u8, from: u8, to: u8, seen: [u8; BOOKINGS], told: bool },
}

/// A lease, as its holder believes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lease {
    pub(crate) token: u8,
    /// Whether what was in flight is taken over.
    pub(crate) entered: bool,
    pub(crate) mood: Mood,
}

/// How a drain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mood {
    /// All that is due is done.
    Fine,
    /// A call had no usable answer: its row waits for its time, and the drain may end.
    Troubled,
    /// It ends after what is under way.
    Over,
}

/// What a holder does about one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Nothing.
    Rest,
    /// Decided to send, not stamped yet.
    Decided { owed: Row, verb: Verb, generation: u8 },
    /// Putting through what is in flight. `unsent`: it was stamped just now, and no call was made.
    /// `fresh`: nothing of it can have been applied before the next call.
    Acting { owed: Row, unsent: bool, fresh: bool, next: Next },
    /// About to record. `verify`: and to leave the attempt open.
    Recording { finding: Finding, verify: bool },
}

/// The next step of what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Next {
    Send(Verb, Guard),
    Waiting,
    ReadBack,
}

/// [`calendar_sync::store::Finding`], as far as the model has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Finding {
    Present { revision: u8, content: u8, etag: Option<u8> },
    Absent { revision: u8 },
    Gone,
    NotApplied,
    Unknown,
    Verified,
    Differs { present: Option<(u8, u8)>, etag: Option<u8>, gone: bool },
}

impl Finding {
    /// Whether it comes from reading back what was settled, with nothing in flight.
    pub(crate) fn is_verification(self) -> bool {
        matches!(self, Self::Verified | Self::Differs { .. })
    }
}

impl Row {
    /// The generated column `effects.due`.
    pub(crate) fn is_due(&self) -> bool {
        self.flight.is_some()
            || self.desired != self.applied
            || (self.desired.is_some() && Some(self.desired_revision) != self.applied_revision)
    }
}

impl Worker {
    /// As it is after a start.
    pub(crate) const NEW: Self =
        Self { reader: Reader::Away, lease: None, tasks: [Task::Rest; BOOKINGS] };

    pub(crate) fn is_resting(&self) -> bool {
        self.tasks.iter().all(|task| *task == Task::Rest)
    }
}

impl State {
    /// Before anything has happened.
    pub(crate) fn new(faults: u8) -> Self {
        let database = Database {
            epoch: 0,
            next: 0,
            folded: [0; BOOKINGS],
            rows: [None; BOOKINGS],
            lane: None,
        };
        Self {
            database,
            kafka: 0,
            workers: [Worker::NEW; WORKERS],
            network: Vec::new(),
            calendar: [[Slot::Unused; GENERATIONS]; BOOKINGS],
            faults,
            effects: [0; BOOKINGS],
            notes: Notes::default(),
        }
    }

    /// Whether the lease of a worker is not its own any more. It may not know yet.
    pub(crate) fn is_stale(&self, worker: usize) -> bool {
        let held = self.workers[worker].lease.map(|lease| lease.token);
        held.is_some() && held != self.database.lane
    }

    /// Gives states that mean the same the same form: only the equality of tokens counts.
    pub(crate) fn normalise(&mut self) {
        let mut known: Vec<u8> = Vec::with_capacity(WORKERS + BOOKINGS + 1);
        let mut renumber = |token: &mut u8| {
            let at = known.iter().position(|other| other == token).unwrap_or_else(|| {
                known.push(*token);
                known.len() - 1
            });
            *token = u8::try_from(at + 1).expect("there are few tokens");
        };
        if let Some(token) = &mut self.database.lane {
            renumber(token);
        }
        for worker in &mut self.workers {
            if let Some(lease) = &mut worker.lease {
                renumber(&mut lease.token);
            }
        }
        for row in self.database.rows.iter_mut().flatten() {
            if let Some(flight) = &mut row.flight {
                renumber(&mut flight.token);
            }
        }
        // What a worker remembers of a row's token is never looked at: its own is what counts.
        for worker in &mut self.workers {
            for task in &mut worker.tasks {
                if let Task::Decided { owed, .. } | Task::Acting { owed, .. } = task
                    && let Some(flight) = &mut owed.flight
                {
                    flight.token = 0;
                }
            }
        }
        self.network.sort_unstable();
    }

    /// The same with the workers' places changed: they are alike.
    pub(crate) fn mirrored(&self) -> Self {
        let mut other = self.clone();
        other.workers.swap(0, 1);
        for request in &mut other.network {
            request.waiting = request.waiting.map(|worker| 1 - worker);
        }
        other.normalise();
        other
    }
}
