//! The metrics, held to what happened: bookings, failures, limits and refusals, on SQLite and on
//! PostgreSQL. How reading stands is held in `consumer`, and that a scrape waits for nobody in `health`.

mod sending;

mod hygiene;

#[cfg(feature = "demo")]
mod counted;

/// The facts on either store.
macro_rules! every_fact {
    ($make:ident) => {
        facts!(
            $make,
            metrics,
            sending,
            [
                what_became_of_bookings_is_counted,
                how_long_an_event_took_is_told_with_its_trace,
                what_was_found_applied_is_told_from_what_was_acknowledged,
                what_is_refused_too_often_is_a_dead_letter,
                what_gives_way_to_a_newer_wish_is_no_dead_letter,
                a_calendar_that_asks_for_time_is_counted_with_it,
                what_limits_withhold_is_counted_with_its_time,
                a_connection_that_waits_for_a_person_is_counted,
                a_row_that_another_holds_by_now_is_counted,
            ]
        );
        facts!(
            $make,
            metrics,
            hygiene,
            [no_label_tells_of_anybody, promtool_finds_nothing_but_the_names_of_before]
        );
    };
}

mod embedded {
    use crate::end_to_end::world::embedded as make;

    every_fact!(make);
}

mod real {
    use crate::end_to_end::world::real as make;

    every_fact!(make);
}
