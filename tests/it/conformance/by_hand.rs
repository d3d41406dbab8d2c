//! What the host does in her calendar herself, between two revisions.

use super::bench::{Bench, Done};
use crate::end_to_end::host::Trouble;
use crate::end_to_end::story::hour;

/// L15: a deleted name may be used up; the event comes back all the same, and goes again.
pub(super) async fn an_event_that_the_host_has_deleted_comes_back_with_the_next_update(
    bench: &mut Bench,
) -> Done {
    bench.book().await;
    bench.is_right().await?;
    for start in [11, 12] {
        bench.subject.delete_by_hand(&bench.place, &bench.only().await?.id).await;
        bench.move_to(start).await;
        bench.is_right().await?;
    }
    bench.cancel().await;
    bench.is_right().await?;
    bench.rebook(13).await;
    bench.is_right().await
}

/// There is nothing to be deleted any more, and that is no trouble.
pub(super) async fn an_event_that_the_host_has_deleted_can_be_cancelled(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    bench.subject.delete_by_hand(&bench.place, &bench.only().await?.id).await;
    bench.cancel().await;
    bench.is_right().await?;
    ensure!(bench.dead_letters().await.is_empty(), "a dead letter");
    bench.rebook(13).await;
    bench.is_right().await
}

/// What the next revision says is shown, whatever she wrote; and cancelled is cancelled.
pub(super) async fn what_the_host_has_edited_is_written_over_by_the_next_revision(
    bench: &mut Bench,
) -> Done {
    bench.book().await;
    bench.is_right().await?;
    edit(bench, 20).await?;
    bench.move_to(11).await;
    bench.is_right().await?;
    edit(bench, 21).await?;
    bench.cancel().await;
    bench.is_right().await
}

async fn edit(bench: &Bench, start: u32) -> Done {
    let id = bench.only().await?.id;
    bench.subject.edit_by_hand(&bench.place, &id, "Hers", hour(start)).await;
    let event = bench.only().await?;
    ensure!(event.summary == "Hers" && event.start == hour(start), "not edited: {event:?}");
    Ok(())
}

/// She copies the event, marker and all: what is ours is changed, by its name, and the copy is hers.
pub(super) async fn a_copy_that_the_host_has_made_is_hers(bench: &mut Bench) -> Done {
    bench.book().await;
    bench.is_right().await?;
    copy(bench).await?;
    bench.move_to(11).await;
    bench.is_right().await?;
    // An update that has to be looked for.
    let lost = bench.order(1, Trouble::AnswerLost);
    bench.move_to(12).await;
    bench.is_right().await?;
    let unmet = bench.order(1, Trouble::RequestLost);
    bench.move_to(13).await;
    bench.is_right().await?;
    ensure!(lost.hits() + unmet.hits() == 2, "the updates were sent");
    bench.cancel().await;
    bench.is_right().await
}

async fn copy(bench: &mut Bench) -> Done {
    let id = bench.only().await?.id;
    let copy = bench.subject.copy_by_hand(&bench.place, &id).await;
    let shown = bench.shown().await;
    ensure!(shown.len() == 2, "not copied: {shown:?}");
    bench.hers.extend(shown.into_iter().filter(|event| event.id == copy));
    Ok(())
}

/// She copies it and deletes what was ours: beside her copy an event shows the booking again with the next
/// revision, and none does once it is cancelled.
pub(super) async fn a_copy_does_not_stand_in_for_an_event_that_she_has_deleted(
    bench: &mut Bench,
) -> Done {
    bench.book().await;
    bench.is_right().await?;
    let original = bench.only().await?.id;
    copy(bench).await?;
    bench.subject.delete_by_hand(&bench.place, &original).await;
    bench.move_to(11).await;
    bench.is_right().await?;
    bench.cancel().await;
    bench.is_right().await
}
