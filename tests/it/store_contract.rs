//! What every store promises, one fact at a time: every fact runs on SQLite in memory, on SQLite
//! in a file, on PostgreSQL and on the simulator's model of them. A fact that needs time to pass
//! awaits its condition: a clock of our own is moved on; for the machine's and PostgreSQL's the
//! test waits.

pub(crate) mod env;

mod cursors;

mod ingest;

mod connections;

mod credentials;

mod lanes;

mod records;

mod sweeps;

mod budgets;

mod adoption;

mod ahead;

mod dead_letters;

mod tallies;

mod origins;

/// How many migrations there are.
pub(crate) fn migrations() -> usize {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    std::fs::read_dir(folder).expect("they are there").count()
}

/// Every fact, on the store that `$make` makes.
macro_rules! every_fact {
    ($make:ident) => {
        facts!(
            $make,
            store_contract,
            cursors,
            [
                an_installation_keeps_its_first_id,
                a_new_partition_begins_at_epoch_one_without_an_offset,
                each_fence_raises_the_epoch_and_answers_in_the_order_asked,
                two_fences_at_once_leave_one_owner,
                a_stale_owner_can_write_nothing,
                a_commit_moves_the_cursor_with_its_witness,
                a_cursor_without_an_offset_takes_a_batch_from_the_start_alone,
                a_commit_of_unknown_outcome_is_resolved_by_reading,
                facts_of_the_log_are_noted_and_the_start_only_once,
                what_is_never_delivered_is_passed_under_the_fence,
                a_recovery_reaches_to_the_log_end_of_its_moment,
                what_may_have_lost_its_stamp_is_looked_at,
                a_stop_is_seen_until_an_operator_answers,
                an_accepted_log_is_another_incarnation,
                a_cursor_that_is_set_stays_in_the_same_log,
                resuming_fences_the_owner,
                a_partition_without_a_cursor_cannot_be_resumed,
            ]
        );
        facts!(
            $make,
            store_contract,
            ingest,
            [
                a_batch_is_stored_whole,
                a_booking_is_found_once_under_either_name,
                a_provider_without_a_connection_has_no_destination,
                a_booking_that_changed_meanwhile_makes_a_batch_stale,
                a_booking_that_came_meanwhile_makes_a_batch_stale,
                a_booking_that_was_forgotten_meanwhile_makes_a_batch_stale,
                a_destination_that_changed_meanwhile_makes_a_batch_stale,
                a_uid_that_is_another_bookings_is_refused,
                two_bookings_with_one_uid_in_a_batch_are_refused,
                an_effect_for_an_unknown_connection_is_no_silent_success,
                a_lower_revision_changes_nothing_that_is_wanted,
                of_two_effects_for_one_row_the_last_wins,
                ingest_never_shortens_a_backoff,
                ingest_never_touches_what_is_in_flight,
                a_replay_of_what_is_applied_makes_nothing_due,
                each_revision_is_due_however_soon_it_follows,
                to_be_absent_where_nothing_is_asks_for_nothing,
                what_a_lost_tail_may_have_made_is_looked_for,
            ]
        );
        facts!(
            $make,
            store_contract,
            connections,
            [
                upcoming_bookings_become_due_once,
                an_id_that_comes_with_another_identity_is_refused,
                bookings_before_the_horizon_stay_out,
                bookings_that_are_not_shown_stay_out,
                a_second_connection_waits_until_it_is_made_the_destination,
                a_new_destination_takes_the_bookings_from_the_former,
                new_credentials_unpark_and_end_the_waiting,
                a_rest_from_before_new_credentials_is_over,
                what_is_removed_is_brought_back_only_on_purpose,
                a_parked_connection_is_not_leased,
                only_the_holder_parks,
                a_removal_fences_what_is_under_way,
                credentials_die_last,
                a_removal_ends_though_its_last_holder_is_gone,
                a_removal_with_nothing_to_withdraw_ends_at_once,
                a_removal_without_withdrawing_keeps_the_mapping,
                a_withdrawal_of_what_was_refused_has_all_its_tries,
                what_is_removed_is_not_parked,
                a_removed_connection_can_come_back,
                what_ended_while_a_connection_was_removed_is_due_no_more,
                what_ended_while_a_connection_was_removed_leaves_it,
                what_another_took_meanwhile_is_not_asked_for_twice,
                what_waited_for_a_removed_connection_is_due_as_it_is_now,
                an_unknown_connection_cannot_be_removed,
                a_fill_is_seen_until_it_is_done,
                what_an_event_asks_for_goes_before_a_fill,
                what_stands_already_is_not_filled_again,
                a_removal_forgets_its_fill,
            ]
        );
        facts!(
            $make,
            store_contract,
            credentials,
            [
                a_stale_token_renews_nothing,
                renewed_credentials_change_nothing_else,
                who_has_connected_again_is_not_overwritten,
                who_has_connected_again_is_not_parked,
                failed_renewals_are_counted_until_one_succeeds,
                who_is_parked_is_not_tried_again,
                a_calendar_whose_access_is_not_renewed_is_no_backlog,
                what_is_sealed_anew_is_swapped_once_and_keeps_the_lane,
                a_removed_connection_gets_no_credentials_any_more,
                a_connection_that_is_being_removed_is_renewed,
            ]
        );
        facts!(
            $make,
            store_contract,
            lanes,
            [
                a_connection_with_nothing_due_is_not_leased,
                a_lane_has_one_holder,
                of_two_who_lease_at_once_one_gets_it,
                a_lease_that_ran_out_is_taken_by_another,
                a_lease_that_ran_out_cannot_stamp_until_it_is_renewed,
                a_released_lane_rests,
                a_pace_is_kept_with_its_lane,
                only_the_holder_reads_and_leaves_a_pace,
                lanes_take_turns,
                the_gate_decides_what_is_leased_and_counted,
                a_calendar_that_does_not_answer_is_no_backlog,
                a_stamp_needs_the_revision_that_is_wanted,
                a_stamp_needs_an_event_to_be_wanted_still,
                an_unsettled_call_may_be_sent_again_by_its_own_holder,
                a_delete_burns_its_generation,
                what_is_burned_is_deleted_though_an_event_is_wanted_again,
                a_take_over_leaves_the_former_attempt_open,
                a_take_over_keeps_the_backoff,
                who_asks_about_a_booking_ends_its_waiting,
                a_record_of_a_former_holder_is_refused,
                only_the_holder_takes_over,
                what_is_in_flight_comes_first,
                no_more_is_read_than_was_asked_for,
            ]
        );
        facts!(
            $make,
            store_contract,
            records,
            [
                what_is_acknowledged_is_applied,
                the_error_of_what_waits_longest_is_the_connections,
                what_is_not_acknowledged_stays_due,
                what_was_deleted_is_cancelled_and_not_busy,
                an_event_that_is_gone_is_made_anew,
                a_calendar_that_is_ahead_waits_for_the_log_and_is_then_gone_above,
                a_delete_that_was_surely_not_applied_burns_nothing,
                what_was_not_applied_waits_its_time,
                what_is_unknown_stays_in_flight,
                a_finding_without_a_call_in_flight_is_refused,
                an_open_attempt_is_verified_in_time,
                the_earlier_verification_stays,
                a_verification_ends_or_asks_for_the_next,
                a_verification_that_finds_another_state_makes_it_due,
                a_verification_that_finds_a_hole_opens_a_generation,
                a_verification_that_finds_later_generations_passes_them,
                only_the_holder_verifies,
                a_dead_effect_is_a_dead_letter,
                what_gave_way_to_a_newer_wish_does_not_die,
                a_dead_effect_that_may_be_applied_stays_in_flight,
                a_verification_waits_for_what_is_owed_and_for_the_dead,
                a_verification_that_could_not_be_made_stands,
                an_open_attempt_begins_the_verifications_anew,
                a_new_revision_revives_a_dead_effect,
                a_new_revision_does_not_die_with_the_former,
                a_record_below_what_is_wanted_leaves_it_due,
            ]
        );
        facts!(
            $make,
            store_contract,
            budgets,
            [
                a_budget_is_given_in_turn_and_not_beyond_its_wait,
                draws_at_once_are_each_given_their_own,
                a_clock_that_was_set_back_uses_up_no_budget,
            ]
        );
        facts!(
            $make,
            store_contract,
            sweeps,
            [
                a_sweep_that_is_due_asks_for_its_lane,
                a_connection_that_is_parked_or_removed_is_not_swept,
                a_sweep_goes_on_where_it_stood,
                a_full_scan_misses_what_it_did_not_come_by,
                a_full_scan_that_may_be_behind_counts_nothing_new,
                a_deletion_that_was_told_is_missing_until_it_is_seen_again,
                what_has_ended_or_was_deleted_by_us_is_not_missing,
                what_stood_before_us_is_not_missing,
                what_is_to_be_read_anyway_keeps_its_hour,
                a_row_is_found_by_its_booking_and_by_its_events_name,
                a_copy_is_news_once_and_goes_with_its_event,
                what_is_to_be_read_anyway_settles_no_drift_before,
                a_drift_is_news_once_and_until_it_is_settled,
                what_is_known_to_be_otherwise_is_read_again_if_asked_for,
                no_more_drift_is_kept_than_the_bound,
                the_failures_of_a_page_are_counted_until_it_is_read,
                sweeps_that_read_changes_alone_are_counted,
                what_is_otherwise_with_an_event_that_has_ended_is_settled,
                a_connection_that_is_removed_forgets_its_sweep,
                a_halted_sweep_waits_for_a_person,
                a_former_holder_sweeps_nothing,
            ]
        );
        facts!(
            $make,
            store_contract,
            tallies,
            [
                what_is_owed_is_counted_by_the_kind_of_its_calendar,
                what_the_gate_keeps_back_is_owed_and_nobodys_delay,
                a_stuck_removal_is_owed_and_nobodys_delay,
                what_is_to_be_verified_is_counted_though_nothing_is_owed,
                connections_and_open_letters_are_counted,
                a_store_that_answers_is_fine_and_tells_of_its_connections,
            ]
        );
        facts!(
            $make,
            store_contract,
            ahead,
            [
                a_log_end_of_before_the_calendar_was_seen_ahead_does_not_count,
                the_wait_for_the_log_begins_once,
                what_is_never_delivered_is_not_waited_for,
                a_topic_that_is_not_read_any_more_is_not_waited_for,
                what_was_settled_meanwhile_is_waited_for_anew,
                a_log_end_of_the_former_log_does_not_count,
            ]
        );
        facts!(
            $make,
            store_contract,
            dead_letters,
            [
                a_record_is_kept_whole,
                a_record_that_is_read_again_is_the_same_letter,
                letters_are_listed_in_pages,
                redriving_settles_the_letter_with_the_batch,
                a_redrive_that_is_stale_leaves_the_letter_open,
                a_settled_letter_is_not_redriven_again,
                a_letter_is_discarded_once,
                a_person_revives_a_dead_effect,
                a_records_letter_revives_nothing,
                an_effects_letter_is_not_redriven_as_a_record,
            ]
        );
        facts!(
            $make,
            store_contract,
            origins,
            [
                what_is_owed_says_where_it_comes_from,
                what_is_asked_for_again_before_it_is_done_comes_from_both,
                an_event_of_before_is_the_oldest_though_it_comes_later,
                the_newest_traces_are_kept_up_to_the_bound,
                what_is_done_is_forgotten_by_the_next_event,
                what_comes_while_the_calendar_is_asked_waits_since_then,
                what_is_done_says_since_when_it_was_owed,
                what_no_event_asked_for_has_no_origin,
                what_another_destination_asks_for_comes_from_no_event,
                a_withdrawal_comes_from_no_event_unless_one_waits,
                what_is_removed_as_it_stands_keeps_its_origin,
                a_dead_effect_keeps_its_origin_for_whoever_revives_it,
            ]
        );
    };
}

/// The facts of taking over, on the store with the rows of [`adoption::ROWS`] that `$make` makes.
macro_rules! every_fact_of_rows {
    ($make:ident) => {
        facts!(
            $make,
            store_contract,
            adoption,
            [what_stood_before_is_taken_over, a_removal_knows_what_was_adopted]
        );
    };
}

#[cfg(feature = "demo")]
pub(crate) mod sqlite;

pub(crate) mod postgres;

pub(crate) mod model;

#[cfg(feature = "demo")]
mod alike;

mod booking_application;

mod silence;
