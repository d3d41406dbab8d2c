//! Accounts that are kept open: access that is renewed, and what becomes of what is owed where it is not.
//! Every fact on Google's and Microsoft's emulators, over SQLite and PostgreSQL.
//!
//! A fact from LESSONS.md carries its number (L7 …), and beside it stands the one-line change to the code
//! that makes it fail (*Fails with*), tried by hand.

pub(crate) mod granted;

mod renewing;

mod refused;

mod trouble;

mod crossing;

mod secrets;

mod resealing;

mod importing;

mod site;

mod linked;

mod relinked;

mod followed;

mod connecting;

mod by_device;

mod delegated;

/// The facts about every provider that grants access.
macro_rules! every_fact {
    ($make:ident) => {
        facts!(
            $make,
            accounts,
            renewing,
            [
                access_that_is_good_is_not_renewed,
                access_that_has_expired_is_renewed_before_it_is_used,
                access_is_renewed_a_while_before_it_expires,
                a_grant_without_access_is_renewed_first,
                access_that_is_refused_in_mid_flight_is_renewed_once,
                access_whose_end_nobody_told_is_used_until_it_is_refused,
                what_is_to_be_read_is_read_by_new_access,
                a_renewed_refresh_token_is_kept_over_a_restart,
                a_worker_that_dies_before_new_access_is_stored_costs_a_moment,
                two_workers_renew_once,
            ]
        );
        facts!(
            $make,
            accounts,
            linked,
            [
                who_follows_a_link_has_a_connected_calendar,
                what_one_browser_began_no_other_ends,
                who_says_no_is_sent_back_and_nothing_is_stored,
                a_scope_that_was_not_granted_is_named,
                a_calendar_that_can_only_be_read_is_neither_offered_nor_taken,
                a_parked_connection_is_opened_again_by_its_own_account_alone,
                a_link_is_given_to_the_booking_application_alone_and_only_if_it_can_be_followed,
                what_is_no_link_of_ours_leads_nowhere,
            ]
        );
        facts!(
            $make,
            accounts,
            relinked,
            [
                who_opens_a_connection_again_takes_nobodys_bookings,
                a_calendar_that_is_gone_is_not_opened_again,
                what_was_removed_is_not_brought_back_by_a_link_from_before,
                what_is_removed_while_a_link_is_followed_stays_removed,
            ]
        );
        facts!(
            $make,
            accounts,
            refused,
            [
                who_revokes_access_is_parked_and_drained_once_reconnected,
                access_that_is_new_and_refused_parks,
                a_calendar_that_became_read_only_parks_and_is_drained_once_opened,
                a_calendar_that_was_deleted_parks_and_nothing_is_given_up,
                a_password_that_is_asked_for_again_parks,
                what_a_token_may_not_do_is_not_mended_by_another,
            ]
        );
        facts!(
            $make,
            accounts,
            trouble,
            [
                a_wrong_client_secret_parks_nobody_and_is_told,
                a_client_that_is_not_set_parks_nobody,
                a_client_that_access_was_not_granted_to_parks_nobody,
                a_token_endpoint_in_trouble_costs_a_delay,
                a_pause_that_the_token_endpoint_asks_for_is_obeyed,
                what_is_good_still_is_used_while_it_cannot_be_renewed,
                an_answer_that_was_lost_is_asked_for_again,
            ]
        );
        facts!(
            $make,
            accounts,
            crossing,
            [
                who_connects_again_while_access_is_renewed_is_not_parked,
                what_is_sealed_anew_while_access_is_renewed_keeps_the_new_access,
            ]
        );
    };
}

/// The facts about Google alone.
macro_rules! every_google_fact {
    ($make:ident) => {
        facts!($make, accounts, relinked, [what_was_connected_as_primary_keeps_that_name]);
    };
}

mod google {
    mod embedded {
        use crate::end_to_end::world::embedded as make;

        every_fact!(make);
        mod named {
            use super::make;

            every_google_fact!(make);
        }
    }

    mod real {
        use crate::end_to_end::world::real as make;

        every_fact!(make);
        mod named {
            use super::make;

            every_google_fact!(make);
        }
    }
}

mod microsoft {
    mod embedded {
        use crate::end_to_end::world::graph as make;

        every_fact!(make);
    }

    mod real {
        use crate::end_to_end::world::graph_on_postgres as make;

        every_fact!(make);
    }
}
