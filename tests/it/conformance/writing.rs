//! Writes that are answered, lost, failed, refused, late: each takes effect once, and in order.

use booking::Marker;
use calendar_sync::calendar::{Call, Condition, Name, Reading};
use calendar_sync::emit::outcome::{Outcome, outcome};

use super::bench::{Bench, Done};
use crate::end_to_end::host::{Asked, EVERY, Trouble};

/// What can become of a booking.
#[derive(Debug, Clone, Copy)]
enum Step {
    Book,
    Move,
    Cancel,
    Rebook,
}

/// A booking's whole life.
const LIFE: [Step; 4] = [Step::Book, Step::Move, Step::Cancel, Step::Rebook];

async fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Book => bench.book().await,
        Step::Move => bench.move_to(11).await,
        Step::Cancel => bench.cancel().await,
        Step::Rebook => bench.rebook(13).await,
    }
}

fn lived(bench: &Bench) -> Done {
    let revisions = bench.revisions();
    ensure!(revisions == [Some(0), Some(1), None, Some(3)], "not each once: {revisions:?}");
    Ok(())
}

/// Each verb meets this trouble once, and takes effect once.
pub(super) async fn each_verb_under(bench: &mut Bench, trouble: Trouble) -> Done {
    for step in LIFE {
        let order = bench.order(1, trouble);
        take(bench, step).await;
        bench.is_right().await.map_err(|why| format!("{step:?}: {why}"))?;
        ensure!(order.hits() == 1, "{step:?}: no write came");
    }
    lived(bench)
}

/// Made, moved, cancelled, made again.
pub(super) async fn a_booking_is_shown_as_it_is_and_takes_one_call_each_time(
    bench: &mut Bench,
) -> Done {
    for (calls, step) in (1..).zip(LIFE) {
        take(bench, step).await;
        bench.is_right().await.map_err(|why| format!("{step:?}: {why}"))?;
        let came = bench.subject.attempts(&bench.place).len();
        ensure!(came == calls, "{step:?}: {came} calls, not {calls}");
    }
    lived(bench)
}

/// The names that the calendar gives lead back to the event, by the adapter too (L3, L14).
pub(super) async fn an_event_is_found_by_what_names_it(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let (event, id) = (bench.only().await?, bench.external_id().await?);
    let calendar = bench.calendar();
    let given = calendar.external_id(&bench.story.uid(), 0);
    for server_id in [None, Some(&*id)] {
        let reading = calendar.read(Name { given: &given, server_id }).await;
        let Reading::Live { marker: Some(marker), etag, .. } = &reading else {
            return Err(format!("by {server_id:?}: {reading:?}"));
        };
        let Marker { uid, connection, revision, digest: _ } = marker;
        let is_ours = (uid, *connection, *revision) == (&bench.story.uid(), bench.connection(), 0);
        ensure!(is_ours, "another's marker: {marker:?}");
        let is_it = etag.as_ref().is_none_or(|etag| *etag == event.etag);
        ensure!(is_it, "the ETag is {etag:?}, and it is {}", event.etag);
    }
    let other = calendar.external_id(&bench.story.uid(), 1);
    let reading = calendar.read(Name::given(&other)).await;
    ensure!(other == given || reading == Reading::Absent, "of the next generation: {reading:?}");
    Ok(())
}

// ---- each kind of unknown ----

/// Nobody can tell it from the next one; only reading can.
pub(super) async fn what_is_lost_on_its_way_is_sent_again(bench: &mut Bench) -> Done {
    each_verb_under(bench, Trouble::RequestLost).await
}

/// L1, L2.
pub(super) async fn what_was_done_and_its_answer_lost_is_not_repeated(bench: &mut Bench) -> Done {
    each_verb_under(bench, Trouble::AnswerLost).await
}

/// Half an answer is none.
pub(super) async fn what_was_done_and_its_answer_cut_short_is_not_repeated(
    bench: &mut Bench,
) -> Done {
    each_verb_under(bench, Trouble::AnswerCut).await
}

/// 5xx before applying.
pub(super) async fn a_5xx_before_it_is_done_is_tried_again(bench: &mut Bench) -> Done {
    each_verb_under(bench, bench.refusal(503)).await
}

/// 5xx after applying (Xandikos).
pub(super) async fn a_5xx_after_it_was_done_is_not_repeated(bench: &mut Bench) -> Done {
    let reason = bench.subject.word(500);
    each_verb_under(bench, Trouble::DoneAndRefused { status: 500, reason }).await
}

/// 4xx after applying (Graph's suspended account).
pub(super) async fn a_4xx_after_it_was_done_is_not_repeated(bench: &mut Bench) -> Done {
    let reason = bench.subject.word(403);
    each_verb_under(bench, Trouble::DoneAndRefused { status: 403, reason }).await
}

/// All of these, by name.
fn unknowns(bench: &Bench) -> [(&'static str, Trouble); 6] {
    let failed = bench.subject.word(500);
    let refused = bench.subject.word(403);
    [
        ("lost on its way", Trouble::RequestLost),
        ("its answer lost", Trouble::AnswerLost),
        ("its answer cut short", Trouble::AnswerCut),
        ("failed before it was done", bench.refusal(503)),
        ("failed after it was done", Trouble::DoneAndRefused { status: 500, reason: failed }),
        ("refused after it was done", Trouble::DoneAndRefused { status: 403, reason: refused }),
    ]
}

/// A write comes to nothing that is known, and before `then` it can be neither read back nor sent again.
async fn unknown_until(bench: &mut Bench, step: Step, trouble: Trouble, then: Step) -> Done {
    let order = bench.order(1, trouble);
    let shut = bench.order(EVERY, bench.refusal(429));
    let blind = bench.order_of(EVERY, Asked::Reads, bench.refusal(503));
    take(bench, step).await;
    let is_tried_again = async |bench: &Bench| {
        order.hits() > 0 && (blind.hits() + shut.hits() > 0 || !bench.is_owing().await)
    };
    bench.send_until("it is read back in vain", is_tried_again).await?;
    take(bench, then).await;
    shut.withdraw();
    blind.withdraw();
    bench.is_right().await
}

/// Settle before supersession (rule R13).
pub(super) async fn a_create_of_which_nobody_knows_is_settled_before_the_update(
    bench: &mut Bench,
) -> Done {
    for (name, trouble) in unknowns(bench) {
        let settled = unknown_until(bench, Step::Book, trouble, Step::Move).await;
        settled.map_err(|why| format!("{name}: {why}"))?;
        bench.afresh().await;
    }
    Ok(())
}

/// And before the cancellation, or it is left behind.
pub(super) async fn a_create_of_which_nobody_knows_is_not_left_behind(bench: &mut Bench) -> Done {
    for (name, trouble) in unknowns(bench) {
        let settled = unknown_until(bench, Step::Book, trouble, Step::Cancel).await;
        settled.map_err(|why| format!("{name}: {why}"))?;
        bench.afresh().await;
    }
    Ok(())
}

/// Delete unknown, then rebook: a generation that was to be deleted is never used again (rule R12).
pub(super) async fn a_delete_of_which_nobody_knows_makes_room_for_a_booking_made_again(
    bench: &mut Bench,
) -> Done {
    for (name, trouble) in unknowns(bench) {
        bench.book().await;
        bench.is_right().await?;
        let settled = unknown_until(bench, Step::Cancel, trouble, Step::Rebook).await;
        settled.map_err(|why| format!("{name}: {why}"))?;
        let revisions = bench.revisions();
        ensure!(revisions == [Some(0), None, Some(2)], "{name}: {revisions:?}");
        bench.afresh().await;
    }
    Ok(())
}

/// L1: done, the answer lost, the worker gone.
pub(super) async fn what_a_worker_left_on_its_way_is_not_repeated(bench: &mut Bench) -> Done {
    let held = bench.order(1, Trouble::AnswerHeld);
    bench.book().await;
    let worker = bench.worker();
    held.wait_held().await;
    worker.kill().await;
    held.withdraw();
    bench.is_right().await?;
    ensure!(bench.revisions() == [Some(0)], "not once: {:?}", bench.revisions());
    Ok(())
}

/// L18: a database that was lost meets its own events again (409, 412, or the same event).
pub(super) async fn a_create_that_finds_its_own_event_adopts_it(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    bench.lose_database().await;
    // Where nothing refuses it, the same bytes are put once more.
    bench.is_repaired = !bench.subject.refuses_taken_names();
    bench.is_right().await?;
    bench.move_to(11).await;
    bench.is_right().await
}

/// The same, of an event that the host has deleted since.
pub(super) async fn a_create_that_finds_its_own_event_deleted_makes_it_anew(
    bench: &mut Bench,
) -> Done {
    bench.book().await;
    bench.is_right().await?;
    bench.subject.delete_by_hand(&bench.place, &bench.only().await?.id).await;
    bench.lose_database().await;
    // It is the same booking's first revision, by another database.
    bench.is_repaired = true;
    bench.is_right().await?;
    bench.cancel().await;
    bench.is_right().await
}

// ---- conditions ----

/// Rule R11, by the adapter alone: nothing is made where something of this name stands.
pub(super) async fn a_create_under_a_taken_name_changes_nothing(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.move_to(11).await;
    bench.is_right().await?;
    let before = bench.shown().await;
    let calendar = bench.calendar();
    let content = bench.wanted.clone().ok_or("it is booked")?;
    let stale = booking::Content { summary: "stale".to_owned(), ..content };
    let (uid, connection) = (bench.story.uid(), bench.connection());
    let given = calendar.external_id(&uid, 0);
    let marker = Marker { uid, connection, revision: 0, digest: stale.digest() };
    let body = calendar.body(&given, &marker, &stale);
    let (verb, name, condition) = (booking::Verb::Create, Name::given(&given), Condition::New);
    let answer = calendar.send(&Call { verb, name, condition, body: &body }).await;
    if !bench.subject.refuses_taken_names() {
        return Ok(());
    }
    ensure!(bench.shown().await == before, "it was changed: {:?}", bench.shown().await);
    let said = outcome(calendar.kind(), verb, &answer);
    let is_read_back =
        matches!(said, Outcome::Unknown { .. } | Outcome::Rejected { unknown: true, .. });
    ensure!(is_read_back, "it is not read back: {said:?}");
    Ok(())
}

/// A stale update: one that was lost on its way lands when a later one has been acknowledged.
pub(super) async fn a_stale_update_changes_nothing(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let late = bench.order(1, Trouble::Late);
    bench.move_to(11).await;
    bench.is_right().await?;
    bench.move_to(12).await;
    bench.is_right().await?;
    bench.land(&*late).await?;
    bench.is_right().await
}

/// The same, when the booking was cancelled, and made again.
pub(super) async fn a_stale_update_brings_nothing_back(bench: &mut Bench) -> Done {
    for is_made_again in [false, true] {
        bench.book().await;
        bench.is_right().await?;
        let late = bench.order(1, Trouble::Late);
        bench.move_to(11).await;
        bench.is_right().await?;
        bench.cancel().await;
        bench.is_right().await?;
        if is_made_again {
            bench.rebook(13).await;
            bench.is_right().await?;
        }
        bench.land(&*late).await?;
        bench.is_right().await?;
        bench.afresh().await;
    }
    Ok(())
}

/// And a create.
pub(super) async fn a_stale_create_changes_nothing(bench: &mut Bench) -> Done {
    bench.verify_soon();
    let late = bench.order(1, Trouble::Late);
    bench.book().await;
    bench.settle().await?;
    bench.move_to(11).await;
    bench.settle().await?;
    bench.land(&*late).await?;
    if bench.subject.refuses_taken_names() {
        return super::oracle::judge(bench).await;
    }
    bench.is_repaired = true;
    bench.comes_right().await
}

/// A delete that lands late removes nothing that was made since.
pub(super) async fn a_stale_delete_removes_nothing(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let late = bench.order(1, Trouble::Late);
    bench.cancel().await;
    bench.is_right().await?;
    bench.rebook(13).await;
    bench.is_right().await?;
    bench.land(&*late).await?;
    bench.is_right().await
}

/// Rule R14, the moment that the promise names: nothing refuses a create whose event was made, deleted
/// and forgotten meanwhile.
pub(super) async fn a_create_that_lands_after_the_cancellation_is_removed(
    bench: &mut Bench,
) -> Done {
    bench.verify_soon();
    let late = bench.order(1, Trouble::Late);
    bench.book().await;
    bench.settle().await?;
    bench.cancel().await;
    bench.settle().await?;
    bench.subject.forget(&bench.place);
    bench.land(&*late).await?;
    bench.is_repaired = true;
    bench.comes_right().await
}

/// Delete twice: the second one is done too, or looks.
pub(super) async fn an_event_that_is_deleted_twice_is_gone(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let (event, id) = (bench.only().await?, bench.external_id().await?);
    let calendar = bench.calendar();
    let given = calendar.external_id(&bench.story.uid(), 0);
    let name = Name { given: &given, server_id: Some(&id) };
    for _ in 0..2 {
        let etag = Some(event.etag.clone()).filter(|etag| !etag.is_empty());
        let condition = etag.map_or(Condition::Unconditional, Condition::Match);
        let (verb, body) = (booking::Verb::Delete, &[][..]);
        let answer = calendar.send(&Call { verb, name, condition, body }).await;
        ensure!(bench.shown().await.is_empty(), "it is not gone: {answer:?}");
        let said = outcome(calendar.kind(), verb, &answer);
        if matches!(said, Outcome::Applied { .. } | Outcome::AlreadyApplied) {
            continue;
        }
        ensure!(matches!(said, Outcome::Unknown { open: false, .. }), "{said:?}");
        let reading = calendar.read(name).await;
        ensure!(matches!(reading, Reading::Absent | Reading::Tombstone), "{reading:?}");
    }
    bench.cancel().await;
    bench.is_right().await
}
