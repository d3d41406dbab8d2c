//! Answers that are no success, by their status and their word; and readings that lag.

use chrono::TimeDelta;

use super::bench::{Bench, Done};
use super::subject::Means;
use crate::end_to_end::host::{Asked, EVERY, Trouble};

/// Long enough that nobody comes back by chance, and short enough to be awaited.
const PAUSE_S: u32 = 1;

/// 401: nothing is wrong with the booking. The connection is parked, and drained once it is connected
/// again (L7).
pub(super) async fn a_401_parks_the_connection_and_loses_nothing(bench: &mut Bench) -> Done {
    let locked = bench.order_of(EVERY, Asked::All, bench.refusal(401));
    bench.book().await;
    is_parked_until_reconnected(bench, &*locked).await?;
    let locked = bench.order_of(EVERY, Asked::All, bench.refusal(401));
    bench.cancel().await;
    is_parked_until_reconnected(bench, &*locked).await
}

async fn is_parked_until_reconnected(
    bench: &mut Bench,
    locked: &dyn super::subject::Order,
) -> Done {
    let shown = bench.shown().await;
    bench.send_until("it is parked", Bench::is_parked).await?;
    ensure!(bench.shown().await == shown, "a locked calendar was changed");
    ensure!(bench.dead_letters().await.is_empty(), "a dead letter, for want of a token");
    locked.withdraw();
    bench.connect().await;
    bench.is_right().await
}

/// 403 means what its word says (L17).
pub(super) async fn a_403_means_what_its_word_says(bench: &mut Bench) -> Done {
    for (reason, means) in bench.subject.forbidden() {
        let refused = Trouble::Refused { status: 403, reason, retry_after_s: None };
        let met = forbidden(bench, refused, means).await;
        met.map_err(|why| format!("{reason}: {why}"))?;
        bench.afresh().await;
    }
    Ok(())
}

async fn forbidden(bench: &mut Bench, refused: Trouble, means: Means) -> Done {
    match means {
        Means::Wait => {
            let order = bench.order(5, refused);
            bench.book().await;
            bench.is_right().await?;
            ensure!(order.hits() == 5, "it was given up");
            ensure!(bench.dead_letters().await.is_empty(), "a dead letter, for want of patience");
            Ok(())
        }
        Means::WaitLong => {
            let order = bench.order(EVERY, refused);
            bench.book().await;
            bench.meet(&*order, 1).await?;
            ensure!(bench.is_left_alone().await, "it may be asked again at once");
            ensure!(bench.dead_letters().await.is_empty(), "a dead letter, for want of patience");
            order.withdraw();
            // Which also ends the calendar's pause.
            bench.connect().await;
            bench.is_right().await
        }
        Means::Park => {
            let locked = bench.order_of(EVERY, Asked::All, refused);
            bench.book().await;
            is_parked_until_reconnected(bench, &*locked).await
        }
        Means::Refuse => {
            let order = bench.order(EVERY, refused);
            bench.book().await;
            let is_dead = async |bench: &Bench| !bench.dead_letters().await.is_empty();
            bench.send_until("it is a dead letter", is_dead).await?;
            ensure!(!bench.is_parked().await, "parked, for one event");
            ensure!(bench.shown().await.is_empty(), "it was not to be made");
            order.withdraw();
            // The next revision is tried again.
            bench.move_to(11).await;
            bench.is_right().await
        }
    }
}

/// 400 says that this event will not do: for a person, and for the next revision.
pub(super) async fn a_400_is_a_dead_letter_until_the_next_revision(bench: &mut Bench) -> Done {
    forbidden(
        bench,
        Trouble::Refused { status: 400, reason: "invalid", retry_after_s: None },
        Means::Refuse,
    )
    .await
}

/// 404 just after the create: the event is there, and is not made again.
pub(super) async fn a_404_just_after_the_create_makes_no_second_event(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let written = bench.order(1, bench.refusal(404));
    let read = bench.order_of(1, Asked::Reads, bench.refusal(404));
    bench.move_to(11).await;
    bench.is_right().await?;
    ensure!(written.hits() + read.hits() == 2, "both were asked");
    ensure!(bench.revisions() == [Some(0), Some(1)], "not once: {:?}", bench.revisions());
    a_cancellation_passes(bench, 404).await
}

/// What is cancelled is gone, though its delete is answered with this first.
async fn a_cancellation_passes(bench: &mut Bench, status: u16) -> Done {
    let written = bench.order(1, bench.refusal(status));
    bench.cancel().await;
    bench.is_right().await?;
    ensure!(written.hits() == 1, "it was asked");
    Ok(())
}

/// 404 of the calendar itself (L24): nothing is deleted by that, and nothing dead. The connection is parked
/// until somebody has seen to it, and what was meant is done then.
pub(super) async fn a_calendar_that_is_gone_settles_nothing(bench: &mut Bench) -> Done {
    for is_cancelled in [false, true] {
        bench.book().await;
        bench.is_right().await?;
        let gone = bench.order_of(EVERY, Asked::All, bench.refusal(404));
        let story = &mut bench.story;
        let event = if is_cancelled { story.cancelled() } else { story.moved(11) };
        bench.tell(event).await;
        is_parked_until_reconnected(bench, &*gone).await?;
        bench.afresh().await;
    }
    Ok(())
}

/// Rule R12: one bare 404 settles nothing for good. What could not be found when it was to be deleted
/// is looked for again.
pub(super) async fn what_is_not_found_when_it_is_to_be_deleted_is_looked_for_again(
    bench: &mut Bench,
) -> Done {
    bench.verify_soon();
    bench.book().await;
    bench.is_right().await?;
    let lag = bench.subject.lag(&bench.place);
    let written = bench.order(1, bench.refusal(404));
    bench.cancel().await;
    bench.settle().await?;
    ensure!(written.hits() == 1 && lag.hits() > 0, "both were asked");
    lag.withdraw();
    bench.comes_right().await
}

/// A GET that lags behind a create whose answer was lost: the event is there, though nobody finds it.
pub(super) async fn a_reading_that_lags_behind_the_create_makes_no_second_event(
    bench: &mut Bench,
) -> Done {
    let lag = bench.subject.lag(&bench.place);
    let lost = bench.order(1, Trouble::AnswerLost);
    bench.book().await;
    bench.meet(&*lost, 1).await?;
    let before = bench.subject.attempts(&bench.place).len();
    let asks_again = async |bench: &Bench| {
        bench.subject.attempts(&bench.place).len() > before || !bench.is_owing().await
    };
    bench.send_until("it is sent again", asks_again).await?;
    ensure!(bench.shown().await.len() == 1, "not one: {:?}", bench.shown().await);
    lag.withdraw();
    bench.is_right().await?;
    bench.move_to(11).await;
    bench.is_right().await
}

/// The same behind an update. What may be made anew meanwhile, where names are used up, does not stay.
pub(super) async fn a_reading_that_lags_behind_the_update_leaves_no_second_event(
    bench: &mut Bench,
) -> Done {
    bench.verify_soon();
    bench.book().await;
    bench.is_right().await?;
    let lag = bench.subject.lag(&bench.place);
    let lost = bench.order(1, Trouble::AnswerLost);
    bench.move_to(11).await;
    bench.meet(&*lost, 1).await?;
    let has_read = async |_: &Bench| lag.hits() > 0;
    bench.send_until("it is read", has_read).await?;
    lag.withdraw();
    bench.is_repaired = true;
    bench.comes_right().await
}

/// A status that a calendar gives to each verb in turn without having done anything: it is read back,
/// and done.
async fn each_verb_is_read_back_after(bench: &mut Bench, status: u16) -> Done {
    let order = bench.order(1, bench.refusal(status));
    bench.book().await;
    bench.is_right().await.map_err(|why| format!("the create: {why}"))?;
    ensure!(order.hits() == 1, "the create was asked for");
    let order = bench.order(1, bench.refusal(status));
    bench.move_to(11).await;
    bench.is_right().await.map_err(|why| format!("the update: {why}"))?;
    ensure!(order.hits() == 1, "the update was asked for");
    ensure!(bench.dead_letters().await.is_empty(), "a dead letter");
    Ok(())
}

/// 409, where nothing stands in the way: it is no success, and no refusal.
pub(super) async fn a_409_is_read_back(bench: &mut Bench) -> Done {
    each_verb_is_read_back_after(bench, 409).await
}

/// 410, of an event that is there. (Of a delete, Google means it.)
pub(super) async fn a_410_is_read_back(bench: &mut Bench) -> Done {
    each_verb_is_read_back_after(bench, 410).await
}

/// 412, of an event that nobody has changed (Graph's spontaneous one): of a delete, too.
pub(super) async fn a_412_is_read_back(bench: &mut Bench) -> Done {
    each_verb_is_read_back_after(bench, 412).await?;
    a_cancellation_passes(bench, 412).await
}

/// Accepted, or several statuses, or said by somebody on the way: no success, no refusal, and nothing done
/// (RFC 9110 §15.3.3, RFC 4918 §13).
pub(super) async fn a_status_that_settles_nothing_is_read_back(bench: &mut Bench) -> Done {
    for status in [202, 207, 408, 423, 425, 502, 504, 509] {
        let done = super::writing::each_verb_under(bench, bench.refusal(status)).await;
        done.map_err(|why| format!("{status}: {why}"))?;
        bench.afresh().await;
    }
    Ok(())
}

/// 429, and 503, that say when to come back: nobody comes before (L16).
pub(super) async fn a_calendar_that_says_when_to_come_back_is_left_alone_until_then(
    bench: &mut Bench,
) -> Done {
    for status in [429, 503] {
        let reason = bench.subject.word(status);
        let trouble = Trouble::Refused { status, reason, retry_after_s: Some(PAUSE_S) };
        let order = bench.order(1, trouble);
        bench.book().await;
        bench.is_right().await?;
        ensure!(order.hits() == 1, "it was asked");
        let came: Vec<_> =
            bench.subject.attempts(&bench.place).iter().map(|attempt| attempt.at).collect();
        let [first, second] = came.as_slice() else {
            return Err(format!("{status}: not two attempts: {came:?}"));
        };
        let pause = *second - *first;
        let is_long = pause >= TimeDelta::seconds(PAUSE_S.into());
        ensure!(is_long, "{status}: asked again after {pause}");
        ensure!(bench.dead_letters().await.is_empty(), "a dead letter, for want of patience");
        bench.afresh().await;
    }
    Ok(())
}

/// An outage, however long, is no dead letter.
pub(super) async fn an_outage_is_outlasted(bench: &mut Bench) -> Done {
    let order = bench.order_of(EVERY, Asked::All, bench.refusal(503));
    bench.book().await;
    bench.meet(&*order, 6).await?;
    ensure!(bench.dead_letters().await.is_empty(), "a dead letter, for an outage");
    bench.move_to(11).await;
    order.withdraw();
    bench.is_right().await
}
