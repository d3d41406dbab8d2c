//! What becomes of records: facts of `Pipeline::take` and of redriving, each on SQLite in memory
//! and on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

pub(crate) mod world;

pub(crate) mod meddler;

mod poison;

mod commits;

mod origins;

mod replay;

mod redriving;

#[cfg(feature = "demo")]
mod registry;

/// Every fact, on the store that `$make` makes.
macro_rules! every_fact {
    ($make:ident) => {
        facts!(
            $make,
            pipeline,
            poison,
            [
                what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_folded,
                what_cannot_be_folded_is_a_dead_letter_and_its_neighbours_are_folded,
                an_event_of_another_partition_is_a_dead_letter_unless_it_has_a_sequence,
                a_tombstone_does_nothing,
                every_golden_record_goes_through,
            ]
        );
        facts!(
            $make,
            pipeline,
            commits,
            [
                what_the_database_refuses_is_bisected_down_to_the_record,
                a_uid_that_was_taken_meanwhile_is_found_by_bisecting,
                a_commit_that_reports_failure_and_succeeded_is_resolved_by_reading,
                half_of_a_batch_whose_commit_is_unclear_is_not_doubled_either,
                a_database_that_is_away_is_waited_for,
                a_stop_ends_the_waiting_and_nothing_is_committed,
                another_owner_ends_it_and_nothing_is_committed,
                a_booking_that_changed_meanwhile_is_folded_again,
                a_destination_that_changed_meanwhile_is_planned_for_again,
                what_stays_stale_for_long_is_waited_for,
            ]
        );
        facts!(
            $make,
            pipeline,
            origins,
            [
                an_effect_comes_from_every_event_that_a_calendar_shows,
                a_header_that_is_no_trace_and_a_timestamp_that_is_none_are_ignored,
            ]
        );
        facts!(
            $make,
            pipeline,
            replay,
            [
                any_batching_ends_in_the_same_bookings,
                a_replay_from_the_beginning_changes_nothing,
                what_was_read_before_the_database_fell_back_is_not_committed,
            ]
        );
        facts!(
            $make,
            pipeline,
            redriving,
            [
                an_unknown_schema_is_redriven_once_the_registry_has_learned_it,
                what_is_still_dead_stays_open,
                redriving_something_old_does_nothing,
                a_letter_is_redriven_once,
                a_redrive_whose_commit_is_unclear_is_not_done_twice,
                a_moved_partitions_letters_are_redriven_in_order,
                a_letter_that_the_database_refuses_stays_open,
                a_redrive_is_folded_again_when_its_booking_changed_meanwhile,
            ]
        );
    };
}

#[cfg(feature = "demo")]
mod on_sqlite {
    use crate::store_contract::sqlite::memory_env as env;

    every_fact!(env);
}

mod on_postgres {
    use crate::store_contract::postgres::postgres_env as env;

    every_fact!(env);
}
