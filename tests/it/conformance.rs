//! One kit of facts that every adapter must pass, so that the next provider is safe on its first day.
//!
//! # For the author of the next adapter
//!
//! 1. Write the adapter (`calendar::Calendar`) and its rows in `emit::outcome`, with the sources of
//!    what its API says.
//! 2. Write a [`subject::Subject`]: how a new calendar is had, what stands in it *by another way than
//!    your adapter*, what a host does in it by hand, and how trouble is ordered. An emulator can be
//!    asked for trouble; before a real server stands a line (`end_to_end::wire`) that can. [`hosts`]
//!    does this for the providers that there are.
//! 3. Name it in `every_subject!`, and its kind in [`subjects_of`], which does not build without.
//!
//! Every fact then runs on it, and after each of them the same [`oracle`]. Not one may be left out: what
//! your provider cannot keep is said by `Subject::kept`, and what it does not refuse by
//! `Subject::refuses_taken_names`; nothing else is yours to excuse. Each fact drives the adapter by the
//! service's own lanes and its own database in memory, from the record on; no broker takes part.
//!
//! That the kit would notice is shown by [`broken`]: adapters with one thing wrong, each caught by
//! name. When something goes wrong with your provider that no fact has caught, add the fact and the
//! broken adapter that it catches.

/// Ends a fact that finds something wrong.
macro_rules! ensure {
    ($is:expr, $($why:tt)+) => {
        if !$is {
            return Err(format!($($why)+));
        }
    };
}

mod subject;

mod hosts;

mod bench;

mod oracle;

mod writing;

mod by_hand;

mod answers;

mod contents;

mod broken;

use std::time::Duration;

use booking::CalendarKind;
use futures::future::LocalBoxFuture;

use self::bench::{Bench, Done, Flawed, as_it_is};
use self::hosts::Made;

/// The facts of the kit, by their modules, for `$then!`: no other list names them.
macro_rules! every_fact {
    ($then:ident $($given:tt)*) => {
        $then! {
            [$($given)*]
            writing: [
                a_booking_is_shown_as_it_is_and_takes_one_call_each_time,
                an_event_is_found_by_what_names_it,
                what_is_lost_on_its_way_is_sent_again,
                what_was_done_and_its_answer_lost_is_not_repeated,
                what_was_done_and_its_answer_cut_short_is_not_repeated,
                a_5xx_before_it_is_done_is_tried_again,
                a_5xx_after_it_was_done_is_not_repeated,
                a_4xx_after_it_was_done_is_not_repeated,
                a_create_of_which_nobody_knows_is_settled_before_the_update,
                a_create_of_which_nobody_knows_is_not_left_behind,
                a_delete_of_which_nobody_knows_makes_room_for_a_booking_made_again,
                what_a_worker_left_on_its_way_is_not_repeated,
                a_create_that_finds_its_own_event_adopts_it,
                a_create_that_finds_its_own_event_deleted_makes_it_anew,
                a_create_under_a_taken_name_changes_nothing,
                a_stale_update_changes_nothing,
                a_stale_update_brings_nothing_back,
                a_stale_create_changes_nothing,
                a_stale_delete_removes_nothing,
                a_create_that_lands_after_the_cancellation_is_removed,
                an_event_that_is_deleted_twice_is_gone,
            ],
            by_hand: [
                an_event_that_the_host_has_deleted_comes_back_with_the_next_update,
                an_event_that_the_host_has_deleted_can_be_cancelled,
                what_the_host_has_edited_is_written_over_by_the_next_revision,
                a_copy_that_the_host_has_made_is_hers,
                a_copy_does_not_stand_in_for_an_event_that_she_has_deleted,
            ],
            answers: [
                a_401_parks_the_connection_and_loses_nothing,
                a_403_means_what_its_word_says,
                a_400_is_a_dead_letter_until_the_next_revision,
                a_404_just_after_the_create_makes_no_second_event,
                a_calendar_that_is_gone_settles_nothing,
                what_is_not_found_when_it_is_to_be_deleted_is_looked_for_again,
                a_reading_that_lags_behind_the_create_makes_no_second_event,
                a_reading_that_lags_behind_the_update_leaves_no_second_event,
                a_409_is_read_back,
                a_410_is_read_back,
                a_412_is_read_back,
                a_status_that_settles_nothing_is_read_back,
                a_calendar_that_says_when_to_come_back_is_left_alone_until_then,
                an_outage_is_outlasted,
            ],
            contents: [
                the_hour_that_is_skipped_moves_nothing,
                the_hour_that_is_lived_twice_moves_nothing,
                an_unusual_zone_moves_nothing,
                an_event_across_midnight_ends_on_the_next_day,
                an_event_of_200_days_ends_when_it_does,
                an_event_always_ends_after_its_start,
                a_title_may_have_every_character_that_escapes,
                a_title_may_have_characters_of_four_bytes,
                a_title_may_run_from_right_to_left,
                a_text_as_long_as_may_be_is_shown_whole,
                what_is_taken_back_is_shown_no_more,
            ],
        }
    };
}

/// The subjects, by the functions of [`hosts`] that make them, for `$then!`.
macro_rules! every_subject {
    ($then:ident) => {
        $then! { google, graph, radicale, xandikos, strict, ignorant, demanding }
    };
}

/// What a kind's subjects are called.
fn subjects_of(kind: CalendarKind) -> &'static [&'static str] {
    match kind {
        CalendarKind::Google => &["google"],
        CalendarKind::Microsoft => &["graph"],
        CalendarKind::Caldav => &["radicale", "xandikos", "strict", "ignorant", "demanding"],
    }
}

/// A fact.
type Fact = for<'a> fn(&'a mut Bench) -> LocalBoxFuture<'a, Done>;

macro_rules! table {
    ([] $($module:ident: [$($fact:ident),* $(,)?]),* $(,)?) => {
        /// Every fact, by its name.
        const FACTS: &[(&str, Fact)] =
            &[$($((stringify!($fact), |bench| Box::pin($module::$fact(bench)))),*),*];
    };
}

every_fact!(table);

/// The fact of this name.
fn fact(name: &str) -> Fact {
    let found = FACTS.iter().find(|(named, _)| *named == name);
    found.unwrap_or_else(|| panic!("no fact is called {name}")).1
}

/// How long a fact waits for what must come; as a rule it comes within some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes of a fact on a subject; `None`: it could not be made.
async fn tried(name: &str, made: Made, flawed: Flawed, patience: Duration) -> Option<Done> {
    let mut bench = Bench::new(made?, flawed, patience).await;
    let done = fact(name)(&mut bench).await;
    bench.end().await;
    Some(done)
}

async fn holds(name: &str, made: Made) {
    if let Some(Err(why)) = tried(name, made, as_it_is, PATIENCE).await {
        panic!("{name}: {why}");
    }
}

macro_rules! suite {
    ([$subject:ident] $($module:ident: [$($fact:ident),* $(,)?]),* $(,)?) => {
        mod $subject {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fact() {
                    let name = stringify!($fact);
                    let made = super::hosts::$subject(name).await;
                    super::holds(name, made).await;
                }
            )*)*
        }
    };
}

macro_rules! suites {
    ($($subject:ident),*) => {
        $(every_fact!(suite $subject);)*

        /// What they are called.
        const SUBJECTS: &[&str] = &[$(stringify!($subject)),*];
    };
}

every_subject!(suites);

#[test]
fn every_kind_of_calendar_is_held_to_the_kit() {
    let mut named = Vec::new();
    for kind in CalendarKind::ALL {
        let subjects = subjects_of(kind);
        assert!(!subjects.is_empty(), "{kind} has no subject");
        named.extend_from_slice(subjects);
    }
    named.sort_unstable();
    let mut made = SUBJECTS.to_vec();
    made.sort_unstable();
    assert_eq!(named, made, "each is of a kind, and every one of a kind has its suite");
}

#[tokio::test]
async fn a_subject_is_of_the_kind_that_it_stands_for() {
    for (kind, made) in [
        (CalendarKind::Google, hosts::google("").await),
        (CalendarKind::Microsoft, hosts::graph("").await),
        (CalendarKind::Caldav, hosts::strict("").await),
        (CalendarKind::Caldav, hosts::ignorant("").await),
        (CalendarKind::Caldav, hosts::demanding("").await),
    ] {
        let subject = made.expect("it needs no service");
        let place = subject.new_calendar().await;
        assert_eq!(subject.kind(), kind);
        assert!(subject.shown(&place).await.is_empty() && subject.effects(&place).is_empty());
    }
}
