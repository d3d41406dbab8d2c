//! The whole of it, from a record to a calendar's own content: one suite, every fact on the
//! embedded parts (SQLite, the emulators of Google and Microsoft Graph, librdkafka's in-process cluster) and on the real
//! ones (PostgreSQL, Apache Kafka; with the Google emulator, with Radicale and with Xandikos). CalDAV
//! servers with other habits are switched on by name.
//!
//! A fact from LESSONS.md carries its number (L1 …), and beside it stands the one-line change to
//! the code that makes it fail (*Fails with*), tried by hand.

#[cfg_attr(
    not(feature = "crash-points"),
    expect(dead_code, reason = "some of it is for the crash matrix alone")
)]
pub(crate) mod world;

pub(crate) mod worker;

pub(crate) mod database;

#[cfg_attr(
    not(feature = "crash-points"),
    expect(dead_code, reason = "some of it is for the crash matrix alone")
)]
pub(crate) mod host;

pub(crate) mod wire;

pub(crate) mod story;

mod adoption;
mod answers;
mod asked;
mod broken;
mod filling;
mod folding;
mod gates;
mod graph;
mod kept;
mod laws;
mod limits;
mod mailbox;
mod places;
mod quirks;
mod recovery;
mod refusals;
pub(crate) mod repair;
mod scenarios;
mod service;
mod shown;

#[macro_use]
mod front;

mod bad_input;

mod tls;

/// The facts about every calendar.
macro_rules! every_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            answers,
            [
                an_event_whose_answer_was_lost_with_its_worker_is_there_once,
                a_create_that_finds_its_own_event_adopts_it,
                a_cancellation_that_fails_is_tried_until_the_event_is_gone,
                a_create_that_failed_is_tried_again,
                lost_answers_are_read_back_not_repeated,
                a_create_that_lands_after_its_event_was_deleted_is_found_and_removed,
                an_event_that_is_not_found_for_a_moment_is_deleted_all_the_same,
                a_late_create_that_was_found_makes_room_for_a_booking_made_again,
                an_event_deleted_by_hand_comes_back_with_the_next_update,
            ]
        );
        facts!(
            $make,
            end_to_end,
            folding,
            [
                a_creation_told_many_times_is_one_event,
                every_order_of_a_bookings_events_ends_in_the_same_calendar,
                a_creation_that_comes_after_the_cancellation_does_nothing,
                a_second_reschedule_at_once_is_not_dropped,
                a_booking_that_comes_and_goes_before_a_send_is_no_call,
                ten_updates_before_a_send_are_one_call,
                a_log_read_again_from_its_start_makes_no_call,
                events_of_a_topic_made_anew_are_not_taken_for_repeats,
            ]
        );
        facts!(
            $make,
            end_to_end,
            recovery,
            [
                an_event_that_was_cancelled_meanwhile_is_not_left_behind,
                an_event_that_was_given_away_meanwhile_is_not_left_behind,
                what_is_cancelled_before_it_is_sent_again_is_not_left_behind,
                a_call_that_the_database_has_forgotten_is_not_left_behind,
                an_event_that_was_rebooked_meanwhile_is_deleted_and_made_anew,
                an_event_of_a_generation_that_was_forgotten_is_taken_over,
                an_event_that_is_still_wanted_is_adopted,
            ]
        );
        facts!(
            $make,
            end_to_end,
            places,
            [
                a_booking_that_changes_hands_keeps_its_uid,
                a_booking_given_away_and_back_stands_in_one_calendar_each_time,
                no_other_calendar_is_ever_called,
                a_connection_added_later_finds_the_upcoming_bookings_due_once,
                a_removed_connection_withdraws_its_events,
            ]
        );
        facts!(
            $make,
            end_to_end,
            shown,
            [
                the_names_that_a_calendar_gives_are_stored_and_lead_back_to_the_event,
                a_reschedule_changes_the_same_event_under_its_etag,
                an_update_is_never_a_deletion_and_a_creation,
                times_are_said_in_the_bookings_zone_also_where_the_clocks_change,
                a_pending_booking_is_hidden_until_it_is_confirmed,
                a_pending_booking_is_tentative_where_that_is_asked_for,
                what_no_template_asks_for_is_in_no_request,
            ]
        );
        facts!(
            $make,
            end_to_end,
            refusals,
            [
                an_outage_makes_no_dead_letter,
                a_retry_after_is_obeyed,
                an_outage_that_names_its_end_is_waited_out,
                an_update_that_is_refused_makes_room_for_the_cancellation,
                a_locked_out_connection_is_parked_and_drained_once_reconnected,
                an_effect_refused_too_often_is_revived_by_the_next_revision,
                an_effect_refused_too_often_is_revived_by_a_person,
            ]
        );
        facts!(
            $make,
            end_to_end,
            kept,
            [
                what_a_host_has_put_in_survives_every_update,
                what_a_host_has_put_in_does_not_hold_up_a_cancellation,
                notes_without_a_text_of_ours_stay_when_we_write_one,
                an_event_that_its_host_left_alone_is_updated_unread,
            ]
        );
    };
}

/// The facts about sweeps of every calendar whose events' names and markers can be listed.
macro_rules! every_sweep_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            filling,
            [
                a_connection_is_filled_with_the_upcoming_bookings_once,
                a_booking_made_meanwhile_goes_before_the_fill,
            ]
        );
        facts!(
            $make,
            end_to_end,
            repair,
            [
                an_event_deleted_by_hand_is_reported_and_left,
                an_event_deleted_by_hand_comes_back_where_that_is_the_policy,
                a_hosts_colour_and_reminder_are_no_drift,
                a_copy_by_the_host_is_reported_and_left,
                an_emptied_calendar_is_filled_again_once_a_person_has_said_so,
                a_halted_sweep_holds_up_no_booking,
                a_sweep_that_a_killed_worker_left_is_taken_over,
                a_calendar_that_is_not_swept_keeps_its_hour,
            ]
        );
    };
}

/// The facts about calendars that tell what their events show.
macro_rules! every_edit_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            repair,
            [
                an_edit_by_hand_is_reported_and_left,
                an_edit_by_hand_is_written_over_where_that_is_the_policy,
            ]
        );
        facts!(
            $make,
            end_to_end,
            kept,
            [
                notes_beside_our_text_are_no_drift_and_survive_a_repair,
                an_edit_of_our_text_is_found_and_written_over,
                a_repair_that_is_refused_is_made_all_the_same,
            ]
        );
    };
}

/// The facts in which the calendar plays no part, or only Google's.
macro_rules! every_other_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            gates,
            [
                nothing_is_sent_while_sync_is_off_and_all_of_it_once_it_is_on,
                only_what_is_on_both_allowlists_is_sent,
            ]
        );
        facts!(
            $make,
            end_to_end,
            refusals,
            [
                a_rate_limit_told_as_403_is_waited_out,
                a_calendar_that_refuses_connections_makes_no_dead_letter,
                a_stop_is_obeyed_between_the_calls_of_one_effect,
                a_worker_with_another_key_parks_nothing,
            ]
        );
        facts!(
            $make,
            end_to_end,
            limits,
            [
                a_connection_is_asked_no_faster_than_its_limit,
                a_booking_that_follows_another_is_sent_at_once,
                all_workers_share_one_budget,
                what_no_budget_is_left_for_is_sent_later,
                one_tenants_flood_is_nobody_elses_wait,
            ]
        );
        facts!(
            $make,
            end_to_end,
            repair,
            [
                a_late_create_of_a_burned_generation_is_removed,
                a_late_create_whose_removal_was_not_answered_is_removed_all_the_same,
                the_only_event_of_a_booking_is_not_removed_though_its_name_is_another,
                what_got_lost_without_a_trace_comes_back_once_all_is_read,
                what_got_lost_without_a_trace_comes_back_in_the_end,
                events_of_a_database_that_was_lost_are_reported_and_left,
            ]
        );
        facts!(
            $make,
            end_to_end,
            asked,
            [
                a_second_sync_of_an_unchanged_booking_makes_no_call,
                a_sync_ends_the_backoff_and_tells_of_a_refusal,
                a_wrong_request_is_refused_by_what_is_wrong,
                a_sync_says_what_it_waits_for,
                the_counters_tell_what_was_done,
            ]
        );
        facts!(
            $make,
            end_to_end,
            scenarios,
            [
                an_event_that_is_not_created_says_why,
                no_event_is_created_twice,
                an_event_that_is_not_updated_says_why,
            ]
        );
        facts!(
            $make,
            end_to_end,
            broken,
            [
                an_impossible_state_is_told_and_holds_up_no_other,
                a_call_that_is_not_ours_is_an_error,
            ]
        );
        facts!(
            $make,
            end_to_end,
            laws,
            [
                any_order_repetition_and_batching_ends_in_the_same_calendar,
                a_suffix_of_the_log_sent_again_changes_nothing,
                a_replay_from_offset_0_makes_no_call,
            ]
        );
    };
}

/// The facts about Kafka.
macro_rules! every_service_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            service,
            [
                what_is_published_is_in_the_calendar_once,
                a_rebalance_neither_loses_nor_repeats_anything,
                a_topic_read_again_from_offset_0_writes_nothing,
            ]
        );
    };
}

mod embedded {
    use super::world::embedded as make;

    every_fact!(make);
    every_sweep_fact!(make);
    mod edits {
        use super::make;

        every_edit_fact!(make);
    }

    mod alone {
        use super::make;

        every_other_fact!(make);
        every_bad_input_fact!(make);
        every_service_fact!(make);
    }
}

mod real {
    use super::world::real as make;

    every_fact!(make);
    every_sweep_fact!(make);
    mod edits {
        use super::make;

        every_edit_fact!(make);
    }

    mod alone {
        use super::make;

        every_other_fact!(make);

        facts!(
            make,
            end_to_end,
            adoption,
            [
                what_the_booking_application_made_is_taken_over,
                one_hosts_trouble_holds_up_no_others_adoption,
            ]
        );
        every_service_fact!(make);
    }
}

mod contrary {
    use super::world::contrary_google as make;

    every_fact!(make);
    every_sweep_fact!(make);
}

/// Microsoft Graph, on both stores.
mod microsoft {
    mod embedded {
        use crate::end_to_end::world::graph as make;

        every_fact!(make);
        every_sweep_fact!(make);
        facts!(
            make,
            end_to_end,
            mailbox,
            [
                a_copy_is_not_taken_for_the_event_that_she_has_deleted,
                a_copy_of_an_earlier_generation_outlives_every_verification,
                an_event_moved_to_another_calendar_holds_up_nothing,
                a_title_that_is_too_long_for_exchange_is_cut,
                an_etag_that_changes_by_itself_costs_a_reading_and_no_effect,
            ]
        );
        mod edits {
            use super::make;

            every_edit_fact!(make);
        }

        mod alone {
            use super::make;

            every_bad_input_fact!(make);
            facts!(make, end_to_end, kept, [her_formatting_stays_around_our_words]);
        }
    }

    mod real {
        use crate::end_to_end::world::graph_on_postgres as make;

        every_fact!(make);
        every_sweep_fact!(make);
    }

    mod contrary {
        use crate::end_to_end::world::contrary_graph as make;

        every_fact!(make);
        every_sweep_fact!(make);
    }
}

/// The facts about CalDAV alone, whatever the server.
macro_rules! every_caldav_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            quirks,
            [
                a_booking_made_again_comes_back_under_its_one_href,
                every_event_says_when_it_ends_and_no_condition_is_a_star,
                what_a_lost_database_knew_is_read_before_it_is_overwritten,
            ]
        );
    };
}

mod radicale {
    use super::world::radicale as make;

    every_fact!(make);
    every_sweep_fact!(make);
    mod edits {
        use super::make;

        every_edit_fact!(make);
    }
    every_caldav_fact!(make);
    every_service_fact!(make);
}

mod xandikos {
    use super::world::xandikos as make;

    every_fact!(make);
    every_sweep_fact!(make);
    mod edits {
        use super::make;

        every_edit_fact!(make);
    }
    every_caldav_fact!(make);
    every_service_fact!(make);
}

mod plain_caldav {
    use super::world::plain_caldav as make;

    every_bad_input_fact!(make);
}

mod ignorant {
    use super::world::ignorant as make;

    every_fact!(make);
    every_caldav_fact!(make);
}

mod demanding {
    use super::world::demanding as make;

    every_fact!(make);
    every_caldav_fact!(make);
}
