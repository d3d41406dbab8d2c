//! A model of the protocol, and every path through it: two workers, one partition, two bookings,
//! one calendar, and whatever may go wrong between any two steps.
//!
//! # What is the service's own, and what is said again
//!
//! Folding and planning ([`booking::fold`], [`booking::plan`]), what is owed about a row, what a
//! reading means ([`calendar_sync::emit::decide`]) and what an answer means
//! ([`calendar_sync::emit::outcome`]) are the service's own code, called by the model. Said again,
//! in the model's small words, are the store's transactions (`database`), the order of a reader's
//! and a lane's steps (`reader`, `lane`), and the calendars (`calendar`).
//!
//! # The words, and the rules that they stand for
//!
//! | in the model | rule |
//! |---|---|
//! | `Assign`, `Read`, `Commit`; an epoch; `folded`, a bit for each record | R1, R3, R5, R6 |
//! | `Row`: desired, in flight, applied, generation; due | R9 |
//! | `Lease`, `TakeOver`, `Look`, `Stamp`, `Send`, `LeaveUnsent`; a token | R10 |
//! | `Guard`, `Slot`: conditions, names, tombstones | R11, R12 |
//! | `ReadBack`; a request that is late, lost, refused, or there twice | R13 |
//! | `Check`, `Verify`; `bounded` | R14 |
//! | `Record`; stale tokens are refused | R15 |
//!
//! Time has no hours in the model. A backoff may end at once; a lease may run out between any two
//! steps, and its holder goes on in the belief that it lasts: it may still send what it was about
//! to send. One hour counts (rule R14): a verification comes when what was under way as its hour
//! was set has landed or never will, and whoever had lost the lane by then has noticed. A process
//! that freezes for longer than that, between the look at its lease and its call, is not in the
//! model. How often a row was tried is not counted either: any number is possible where it matters.
//!
//! # The bounds
//!
//! A path has one or two faults, of any kind, at any moment, and ends ([`walk::every_path_ends`]);
//! where nothing but a fault can happen any more, the calendar is the fold of the log, and nothing
//! is owed or open. All paths of a configuration are walked. All of it at once would be too many
//! states: two bookings share one fault, in Google; one booking has any two, in Google and in
//! CalDAV. That makes nearly a million and a half.
//!
//! # What is left out
//!
//! The log check (R2), poison (R4) and records without a sequence; flags, parked connections and
//! moves (R8, R17, R19); Graph; calendars that refuse an event for good, and dead letters;
//! calendars that cannot be read; a database that lost its tail, and so a calendar that is ahead
//! (R7, R18); what a host does by hand (R20); the bound on rounds of one effect; servers without
//! ETags. Kafka is not told the cursor, for its copy is never read: only the mutation that reads it
//! tells it, too.
//!
//! The mutations below each leave one part of the protocol out, and are noticed. What does not hold
//! stands last, by its name.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

mod state;

mod log;

mod decisions;

mod database;

mod calendar;

mod reader;

mod lane;

mod protocol;

mod audit;

mod witnesses;

mod cases;

mod walk;

use audit::{CALENDAR_RISES, ENDS_RIGHT, EPOCH_FENCES, ONE_EFFECT, TOKEN_FENCES};
use cases::{
    CANCELLED, CHANGED, CHANGED_TWICE, CREATED, EVERY_FAULT, EVERY_FAULT_OF_CALDAV, MADE_AGAIN,
    TWO_BOOKINGS, caldav, google,
};
use protocol::{Fault, Mutation};
use walk::{every_path_ends, holds, is_noticed};
use witnesses::*;

// ---- what holds ----

#[test]
fn two_bookings_survive_any_fault() {
    let two = google(TWO_BOOKINGS, 1, EVERY_FAULT);
    holds(two.seeing(ANY_ONE).seeing(&[NEW_GENERATION]));
}

#[test]
fn a_booking_in_google_survives_any_two_faults() {
    holds(google(CHANGED, 2, EVERY_FAULT).seeing(ANY_ONE).seeing(ANY_TWO));
    holds(google(MADE_AGAIN, 2, EVERY_FAULT).seeing(&[ENDS, NEW_GENERATION, GAVE_WAY]));
}

#[test]
fn a_booking_in_caldav_survives_any_two_faults() {
    let made_again = caldav(MADE_AGAIN, 2, EVERY_FAULT_OF_CALDAV);
    holds(made_again.seeing(ANY_ONE).seeing(ANY_TWO).seeing(&[DELETED_THOUGH_WANTED]));
    holds(caldav(CHANGED, 2, EVERY_FAULT_OF_CALDAV).seeing(&[ENDS]));
}

#[test]
fn no_path_goes_round_in_a_circle() {
    every_path_ends(&google(CHANGED, 1, EVERY_FAULT));
    every_path_ends(&google(CANCELLED, 2, EVERY_FAULT));
    every_path_ends(&caldav(MADE_AGAIN, 1, EVERY_FAULT_OF_CALDAV));
}

// ---- what is missed ----

#[test]
fn commits_without_an_owner_epoch_are_noticed() {
    let protocol = google(CANCELLED, 1, &[Fault::Freeze]);
    is_noticed(protocol.without(Mutation::NoOwnerEpoch), EPOCH_FENCES);
}

#[test]
fn stamps_and_records_without_a_token_are_noticed() {
    let protocol = google(CREATED, 1, &[Fault::Freeze]);
    is_noticed(protocol.without(Mutation::NoToken), TOKEN_FENCES);
}

#[test]
fn writes_without_a_condition_are_noticed() {
    let protocol =
        || google(CHANGED_TWICE, 1, &[Fault::Late]).without(Mutation::UnconditionalWrites);
    is_noticed(protocol(), CALENDAR_RISES);
    is_noticed(protocol(), ONE_EFFECT);
}

#[test]
fn calls_without_an_answer_that_count_as_failed_are_noticed() {
    let protocol = google(CANCELLED, 1, &[Fault::Late]);
    is_noticed(protocol.without(Mutation::UnknownTakenForFailed), ENDS_RIGHT);
}

#[test]
fn an_offset_that_is_committed_before_the_database_is_noticed() {
    let protocol = google(CREATED, 1, &[Fault::Crash]);
    is_noticed(protocol.without(Mutation::OffsetBeforeDatabase), ENDS_RIGHT);
}

#[test]
fn open_attempts_that_nobody_verifies_are_noticed() {
    let protocol = google(CANCELLED, 1, &[Fault::Late]);
    is_noticed(protocol.without(Mutation::NoVerification), ENDS_RIGHT);
}

#[test]
fn a_stamp_that_deletes_nothing_that_is_wanted_is_noticed() {
    let protocol = caldav(MADE_AGAIN, 1, &[Fault::Late]);
    is_noticed(protocol.without(Mutation::WantedIsNeverDeleted), ENDS_RIGHT);
}

// ---- what does not hold ----

/// One verification alone can come before what was sent again has landed: `emit.verify_after_s`
/// needs two waits, as its default has.
#[test]
fn one_verification_alone_can_come_too_early() {
    let protocol = || google(CANCELLED, 2, &[Fault::Crash, Fault::Late]);
    is_noticed(protocol().verifying(1), ENDS_RIGHT);
    holds(protocol().verifying(2));
}

/// A CalDAV server forgets what was deleted. A copy of a create that was answered long ago, which
/// some proxy still holds, then makes the event again, and nobody looks: no attempt was left open.
#[test]
fn a_copy_of_an_answered_create_can_come_back_in_caldav() {
    is_noticed(caldav(CANCELLED, 1, &[Fault::Copy]), ENDS_RIGHT);
    holds(google(CANCELLED, 1, &[Fault::Copy]));
}
