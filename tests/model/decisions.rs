//! The service's own decisions, asked about the model's rows: [`calendar_sync::emit::decide`] and
//! [`calendar_sync::emit::outcome`] as they are. An answer is remembered, for the same few rows are
//! asked about in many thousand states.

use std::collections::HashMap;
use std::sync::Mutex;

use booking::{Digest, Marker, Verb};
use calendar_sync::calendar::{Condition, Reading};
use calendar_sync::emit::decide::{self, Settled, Step, Verified};
use calendar_sync::store::{EffectOrigin, InFlight, Owed, Verify};

use crate::log::{self, CONNECTION, Log, PROVIDER};
use crate::state::{Check, Guard, Row, Slot};

/// [`Step`], in the model's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owes {
    Settle,
    Send { verb: Verb, generation: u8 },
    Verify,
}

/// [`Settled`], in the model's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Present { revision: u8, content: u8, etag: Option<u8> },
    Absent,
    Gone,
    SendAgain { verb: Verb, guard: Guard },
    Superseded,
    Ahead,
}

/// [`Verified`], in the model's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Stands,
    /// As a person would have left it: the model has no such person.
    Drifted,
    Differs {
        present: Option<(u8, u8)>,
        etag: Option<u8>,
        gone: bool,
    },
}

/// Asks, and remembers.
#[derive(Default)]
pub(crate) struct Decisions {
    owes: Mutex<HashMap<(usize, Row, bool), Option<Owes>>>,
    found: Mutex<HashMap<(usize, Row, bool, Slot), Found>>,
    checked: Mutex<HashMap<(usize, Row, Slot), Checked>>,
}

fn owed(log: &Log, booking: usize, row: &Row, is_patient: bool, verify_is_due: bool) -> Owed {
    let digest = |content: u8| log.digest(content);
    let in_flight = row.flight.map(|flight| InFlight {
        verb: flight.verb,
        revision: flight.revision.into(),
        digest: flight.content.map(digest),
        body: Vec::new(),
    });
    let verify = row.verify.map(|Check { from_generation, deletes, stage }| Verify {
        from_generation: from_generation.into(),
        deletes,
        stage: stage.into(),
        is_due: verify_is_due,
        drift: None,
    });
    Owed {
        uid: log::uid_of(booking),
        connection: CONNECTION,
        booking: log::id_of(booking),
        provider: PROVIDER,
        desired_revision: row.desired_revision.into(),
        desired: row.desired.map(|content| log.content(content).clone()),
        applied: row.applied_revision.map(i64::from).zip(row.applied.map(digest)),
        generation: row.generation.into(),
        burned: row.burned,
        etag: row.etag.map(|etag| etag.to_string()),
        adopted_id: None,
        server_id: None,
        in_flight,
        attempts: if is_patient { 0 } else { i32::MAX },
        rejections: 0,
        verify,
        origin: EffectOrigin::default(),
    }
}

fn reading(log: &Log, booking: usize, slot: Slot) -> Reading {
    match slot {
        Slot::Tombstone { .. } => Reading::Tombstone,
        Slot::Unused => Reading::Absent,
        Slot::Live { revision, content, etag } => Reading::Live {
            marker: Some(Marker {
                uid: log::uid_of(booking),
                connection: CONNECTION,
                revision: revision.into(),
                digest: log.digest(content),
            }),
            etag: Some(etag.to_string()),
            provider_uid: None,
            server_id: None,
        },
    }
}

fn number(etag: Option<String>) -> Option<u8> {
    etag.map(|etag| etag.parse().expect("an etag of the model"))
}

fn small(revision: i64) -> u8 {
    u8::try_from(revision).expect("a revision of the model")
}

fn shown(log: &Log, (revision, digest): (i64, Digest)) -> (u8, u8) {
    (small(revision), log.number(digest))
}

impl Decisions {
    /// What is owed about a row. (Nothing, too, where the calendar is thought to be ahead of the
    /// log. It never is.)
    pub(crate) fn next(
        &self,
        log: &Log,
        booking: usize,
        row: &Row,
        verify_is_due: bool,
    ) -> Option<Owes> {
        let key = (booking, anonymous(row), verify_is_due);
        let mut owes = self.owes.lock().unwrap();
        *owes.entry(key).or_insert_with(|| {
            match decide::next(&owed(log, booking, row, true, verify_is_due)) {
                Step::Settle => Some(Owes::Settle),
                Step::Send { verb, generation } => {
                    let generation = u8::try_from(generation).expect("a generation of the model");
                    Some(Owes::Send { verb, generation })
                }
                Step::Verify(_) => Some(Owes::Verify),
                Step::Ahead { .. } | Step::Nothing => None,
            }
        })
    }

    /// What reading back says of what is in flight. `is_patient`: few attempts were made so far.
    pub(crate) fn settle(
        &self,
        log: &Log,
        booking: usize,
        row: &Row,
        is_patient: bool,
        slot: Slot,
    ) -> Found {
        let key = (booking, *row, is_patient, slot);
        let mut found = self.found.lock().unwrap();
        *found.entry(key).or_insert_with(|| {
            let owed = owed(log, booking, row, is_patient, false);
            let flight = owed.in_flight.as_ref().expect("what is put through is in flight");
            match decide::settle(&owed, flight, reading(log, booking, slot)) {
                Settled::Present { revision, digest, etag, .. } => {
                    let (revision, content) = shown(log, (revision, digest));
                    Found::Present { revision, content, etag: number(etag) }
                }
                Settled::Absent => Found::Absent,
                Settled::Gone => Found::Gone,
                Settled::SendAgain { verb, condition } => {
                    let guard = match condition {
                        Condition::New => Guard::New,
                        Condition::Match(etag) => Guard::Match(etag.parse().expect("of the model")),
                        Condition::Unconditional => Guard::Nothing,
                    };
                    Found::SendAgain { verb, guard }
                }
                Settled::Superseded => Found::Superseded,
                Settled::Ahead { .. } => Found::Ahead,
                Settled::Unread(_) => unreachable!("every reading of the model succeeds"),
            }
        })
    }

    /// What a verification says.
    pub(crate) fn verify(&self, log: &Log, booking: usize, row: &Row, slot: Slot) -> Checked {
        let mut checked = self.checked.lock().unwrap();
        *checked.entry((booking, *row, slot)).or_insert_with(|| {
            let owed = owed(log, booking, row, true, true);
            let open = owed.verify.as_ref().expect("a verification is open");
            match decide::verified(&owed, open, reading(log, booking, slot)) {
                Verified::Stands => Checked::Stands,
                Verified::Drifted(_) => Checked::Drifted,
                Verified::Differs { present, etag, gone } => Checked::Differs {
                    present: present.map(|there| shown(log, there)),
                    etag: number(etag),
                    gone,
                },
                Verified::Halted => unreachable!("the model sweeps nothing"),
                Verified::Unread(_) => unreachable!("every reading of the model succeeds"),
            }
        })
    }
}

/// The row without the token of what is in flight: no decision looks at it.
fn anonymous(row: &Row) -> Row {
    let flight = row.flight.map(|flight| crate::state::Flight { token: 0, ..flight });
    Row { flight, ..*row }
}
