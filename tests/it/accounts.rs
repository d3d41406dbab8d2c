//! Accounts that are kept open: access that is renewed, and what becomes of what is owed where it is not.
//! Every fact on Google's and Microsoft's emulators, over SQLite and PostgreSQL.
//!
//! A fact from LESSONS.md carries its number (L7 …), and beside it stands the one-line change to the code
//! that makes it fail (*Fails with*), tried by hand.

mod granted;

mod renewing;

mod refused;

mod trouble;

mod crossing;

mod secrets;

mod resealing;

mod importing;

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
            refused,
            [
                who_revokes_access_is_parked_and_drained_once_reconnected,
                access_that_is_new_and_refused_parks,
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

mod google {
    mod embedded {
        use crate::end_to_end::world::embedded as make;

        every_fact!(make);
    }

    mod real {
        use crate::end_to_end::world::real as make;

        every_fact!(make);
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
