//! The kit, proved: adapters with one thing wrong, as a careless author would have it, and the fact
//! that catches each.

mod flaws;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, Content, IcalUid, Marker};
use calendar_sync::calendar::{Answer, Calendar, Call, Listed, Listing, Name, Reading};

use super::bench::{Flawed, as_it_is};
use super::hosts::{self, Made};
use super::tried;
use crate::say;

/// What is wrong with an adapter; the rest is as it should be.
#[async_trait]
trait Flaw: Default + Send + Sync + 'static {
    fn external_id(&self, of: &dyn Calendar, uid: &IcalUid, generation: i32) -> String {
        of.external_id(uid, generation)
    }

    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        of.body(id, marker, content)
    }

    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        of.send(call).await
    }

    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        of.read(name).await
    }
}

/// An adapter with a flaw.
struct Broken<F> {
    inner: Arc<dyn Calendar>,
    flaw: F,
}

#[async_trait]
impl<F: Flaw> Calendar for Broken<F> {
    fn kind(&self) -> CalendarKind {
        self.inner.kind()
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        self.flaw.external_id(&*self.inner, uid, generation)
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        self.flaw.body(&*self.inner, external_id, marker, content)
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        self.flaw.send(&*self.inner, call).await
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        self.flaw.read(&*self.inner, name).await
    }

    async fn list(&self, listing: Listing<'_>) -> Listed {
        self.inner.list(listing).await
    }
}

fn broken<F: Flaw>(inner: Arc<dyn Calendar>) -> Arc<dyn Calendar> {
    Arc::new(Broken { inner, flaw: F::default() })
}

/// What a broken adapter never does is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fact fails on the broken adapter, and for this reason.
async fn is_caught(name: &str, made: Made, flawed: Flawed, reason: &str) {
    match tried(name, made, flawed, PATIENCE).await {
        Some(Err(why)) => {
            assert!(why.contains(reason), "{name} caught it, but not for {reason:?}: {why}");
            say(&format!("caught by {name}: {why}"));
        }
        Some(Ok(())) => panic!("{name} has not noticed"),
        None => unreachable!("an emulator needs no service"),
    }
}

macro_rules! caught {
    ($($test:ident: $flaw:ident on $subject:ident, by [$($fact:ident: $reason:literal),+ $(,)?];)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $(
                    let (name, made) = (stringify!($fact), hosts::$subject("").await);
                    is_caught(name, made, broken::<flaws::$flaw>, $reason).await;
                )+
            }
        )*
    };
}

caught! {
    the_kit_catches_an_update_under_whatever_stands_there: UpdatesWhateverStands on strict, by [
        a_stale_update_changes_nothing: "it is at",
    ];
    the_kit_catches_a_delete_of_whatever_stands_there: DeletesWhateverStands on strict, by [
        a_stale_delete_removes_nothing: "missing",
    ];
    the_kit_catches_a_create_over_whatever_stands_there: CreatesOverWhatStands on strict, by [
        a_create_under_a_taken_name_changes_nothing: "it was changed",
        a_stale_create_changes_nothing: "it is at",
    ];
    the_kit_catches_a_new_name_for_each_attempt: NamesEachAttempt on google, by [
        what_was_done_and_its_answer_lost_is_not_repeated: "more than once",
    ];
    the_kit_catches_one_name_for_all_generations: ForgetsGenerations on google, by [
        an_event_that_the_host_has_deleted_comes_back_with_the_next_update: "waited in vain",
    ];
    the_kit_catches_a_404_taken_for_a_tombstone: TakesAbsenceForDeletion on google, by [
        a_reading_that_lags_behind_the_create_makes_no_second_event: "not one",
    ];
    the_kit_catches_a_calendar_that_is_gone_taken_for_an_empty_one: TakesGoneForAbsence on google, by [
        a_calendar_that_is_gone_settles_nothing: "it is parked",
    ];
    the_kit_catches_what_was_accepted_taken_for_done: TakesAcceptedForDone on strict, by [
        a_status_that_settles_nothing_is_read_back: "202: Book: the event is missing",
    ];
    the_kit_catches_a_failed_reading_taken_for_absence: TakesFailureForAbsence on google, by [
        a_delete_of_which_nobody_knows_makes_room_for_a_booking_made_again: "lost on its way",
    ];
    the_kit_catches_a_lost_answer_taken_for_not_sent: TakesLostForUnsent on google, by [
        a_create_of_which_nobody_knows_is_not_left_behind: "left behind",
    ];
    the_kit_catches_a_lost_request_taken_for_done: TakesLostForDone on google, by [
        what_is_lost_on_its_way_is_sent_again: "missing",
    ];
    the_kit_catches_a_conflict_taken_for_done: TakesConflictForDone on google, by [
        a_409_is_read_back: "missing",
        a_create_that_finds_its_own_event_deleted_makes_it_anew: "missing",
    ];
    the_kit_catches_a_4xx_taken_for_certain: TakesRefusalsForInvalid on google, by [
        a_create_of_which_nobody_knows_is_not_left_behind: "refused after it was done",
    ];
    the_kit_catches_a_401_taken_for_a_refusal: TakesUnauthorisedForInvalid on google, by [
        a_401_parks_the_connection_and_loses_nothing: "it is parked",
    ];
    the_kit_catches_a_403_without_its_word: ForgetsTheWord on google, by [
        a_403_means_what_its_word_says: "rateLimitExceeded",
    ];
    the_kit_catches_a_swallowed_retry_after: SwallowsRetryAfter on google, by [
        a_calendar_that_says_when_to_come_back_is_left_alone_until_then: "asked again after",
    ];
    the_kit_catches_an_etag_that_is_not_the_events: TellsAnotherEtag on google, by [
        a_booking_is_shown_as_it_is_and_takes_one_call_each_time: "ETag",
    ];
    the_kit_catches_a_marker_that_no_update_renews: KeepsTheFirstMarker on google, by [
        a_booking_is_shown_as_it_is_and_takes_one_call_each_time: "revision",
    ];
    the_kit_catches_a_search_that_finds_the_hosts_copy: SearchesLoosely on graph, by [
        a_copy_that_the_host_has_made_is_hers: "is not what it was",
    ];
    the_kit_catches_a_local_time_without_its_offset: ForgetsTheOffset on google, by [
        the_hour_that_is_lived_twice_moves_nothing: "it is at",
    ];
    the_kit_catches_a_zone_that_is_not_said: SpeaksInUtc on google, by [
        an_event_across_midnight_ends_on_the_next_day: "it is at",
    ];
    the_kit_catches_an_end_cut_to_the_second: CutsTheEnd on google, by [
        an_event_always_ends_after_its_start: "from 2030-06-03",
    ];
    the_kit_catches_a_text_that_is_not_escaped: DoesNotEscape on strict, by [
        a_title_may_have_every_character_that_escapes: "it says",
    ];
    the_kit_catches_characters_of_four_bytes_left_out: DropsWideCharacters on google, by [
        a_title_may_have_characters_of_four_bytes: "it says",
    ];
    the_kit_catches_a_text_that_is_cut: CutsTexts on google, by [
        a_text_as_long_as_may_be_is_shown_whole: "it says",
    ];
    the_kit_catches_a_text_that_is_not_taken_back: KeepsWhatIsTakenBack on google, by [
        what_is_taken_back_is_shown_no_more: "it says",
    ];
}

/// The wrapper itself breaks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_with_no_flaw_passes_in_the_same_wrapper() {
    #[derive(Default)]
    struct Flawless;
    impl Flaw for Flawless {}
    for name in [
        "a_booking_is_shown_as_it_is_and_takes_one_call_each_time",
        "a_copy_that_the_host_has_made_is_hers",
        "a_stale_update_changes_nothing",
    ] {
        for flawed in [broken::<Flawless>, as_it_is] {
            let done = tried(name, hosts::google("").await, flawed, super::PATIENCE).await;
            assert_eq!(done, Some(Ok(())), "{name}");
        }
    }
}
