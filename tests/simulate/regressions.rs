//! Seeds that failed without what each taught. They are let happen before all others. Whoever changes
//! what is drawn looks whether they still do: with the rule taken away as `without` says, each has to
//! fail, or another one takes its place.
//!
//! Rules that a seed has taught, or should show, and of which no seed is known now that fails without
//! them (in `store/`, what stands for the real stores too), with the fact that holds each:
//!
//! | rule | what takes it away | held by |
//! |---|---|---|
//! | a database that lost a stamp forgot a call (R18) | `store/cursor.rs`, `note_log`: without `look_at_what_may_be_lost` | `it`: `what_may_have_lost_its_stamp_is_looked_at` |
//! | nothing is made anew under a `transactionId` that Graph remembers (R12) | `src/emit/decide.rs`, `read_as`: `reading` | `emit`: `graph_has_used_up_the_name_of_what_was_there_and_is_not` |
//! | a cancellation that met 404 twice is looked after (R12) | `src/emit/call.rs`, `read_back`, `Settled::Absent`: `later` is `None` | `it`: `an_event_that_is_not_found_for_a_moment_is_deleted_all_the_same` |
//! | a forgotten generation is not deleted and used again (R18) | `src/emit/verify.rs`, `verify`: in the place of `last_used`, `remove_all` of the later generations, and `record(owed, finding, later)` | `it`: `an_event_of_a_generation_that_was_forgotten_is_taken_over` |
//! | what an old partition held does not put a booking back (R6) | `src/booking/fold.rs`, `outdated`: `false` | `booking`: `without_a_sequence_a_redriven_event_of_another_partition_does_nothing_if_it_occurred_before` |
//! | a fence notices another server (R1, R18) | `store/mod.rs`, `fence`, and `database.rs`, `fence`: without `notice_server` | `it`: `a_fence_after_the_database_fell_back_reads_with_care` |
//! | a forgotten delete is looked for where no ETag guards (R18) | `store/cursor.rs` and `store/ingest.rs`: without `verify_deletes` | `it`: `what_may_have_lost_its_stamp_is_looked_at` |
//! | what was read and did not change is compared (R3, R18) | `store/ingest.rs`, `check`: without `unchanged` | `it`: `a_booking_that_was_forgotten_meanwhile_makes_a_batch_stale` |

/// A seed that once failed.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What it taught.
    pub taught: &'static str,
    /// What takes the rule away: file, function, change. What is in `tests/simulate/store` stands for
    /// the real stores too.
    pub without: &'static str,
    /// What it has to come to, or there is nothing in it any more: see [`crate::coverage`]. `None`: it
    /// does not come to it any more, and another seed is to be found.
    pub reaches: Option<&'static str>,
}

/// All of them.
pub const ALL: &[Regression] = &[
    Regression {
        seed: 541,
        taught: "a calendar that was ahead while a delete was on its way left a burned generation \
                 that is wanted again: its delete was never stamped, and held up the whole lane",
        without: "tests/simulate/store/lane.rs, stamp_one: without `|| (row.burned && is_delete)`",
        // It comes to no calendar that is ahead: no counter tells of a delete that was stamped in the end.
        reaches: None,
    },
    Regression {
        seed: 6983,
        taught: "after a database fell back, a create met the transactionId of a deleted event",
        without: "src/emit/call.rs, send: `was_there` without `is_used(&answer)`",
        reaches: Some("found gone"),
    },
    Regression {
        seed: 12_649,
        taught: "what was made anew on two 404s met an insert of before, which was answered as if \
                 it had been made",
        without: "src/emit/call.rs, send, Outcome::Applied: `later` is `None`",
        reaches: Some("verified: differs"),
    },
    Regression {
        seed: 228,
        taught: "an event that was found gone, and that nobody wanted any more, kept its host busy \
                 in the booking application's table",
        without: "tests/simulate/store/record.rs, find, Finding::Gone: without `cancelled`",
        reaches: Some("found gone"),
    },
    Regression {
        seed: 1298,
        taught: "an edit by hand was to be written over, and where the server gives no strong ETag, or \
                 the answer was lost, its own marker was taken for the proof that it was",
        without: "src/emit/call.rs, is_otherwise: `false`",
        reaches: Some("repaired: edited"),
    },
    Regression {
        seed: 394,
        taught: "a drain that ended before it had planned the first sweep of its connection, with \
                 nothing due any more, left it unswept for ever",
        without: "src/emit/lane.rs, run: plan_first_sweep where due is empty, and not before",
        reaches: Some("sweep begun"),
    },
    Regression {
        seed: 840,
        taught: "Graph had forgotten a create, and made a second event of it when it came again: under the \
                 row's own name and by another id, it was taken for the row's event, and stayed",
        without: "src/emit/drift.rs, sight: `Sight::Otherwise` for a name of the row's own generation",
        reaches: Some("repaired: extra"),
    },
    Regression {
        seed: 6958,
        taught: "a connection that was removed, and added again before its events were withdrawn, had lost \
                 the hour of its sweep, and was not swept until something else was due on it",
        without: "tests/simulate/store/connection.rs, remove_connection: `sweeps.remove` in the place of a \
                  row with the same hour",
        reaches: Some("removed, withdrawing"),
    },
];
