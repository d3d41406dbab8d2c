//! Rule R1: fence, then read the cursor, then ask who the log is. And the one moment at which a
//! new installation that begins at the log's end decides where that is, for all partitions.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::broker::AskError;
use super::group::{Shared, describe};
use super::log_check::Identity;
use super::settings::StartFrom;
use crate::store::{Cursor, Fenced as Write, LogFacts, StoreError};

/// A partition of which we hold the fence.
pub(super) struct Held {
    /// Its cursor, with our fence.
    pub(super) cursor: Cursor,
    /// Who the log said it is, afterwards.
    pub(super) identity: Identity,
}

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub(super) enum FenceError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Another member is deciding where a new installation begins.
    #[error("another member is deciding where to begin")]
    Contended,
}

/// A partition that waits for its first fence.
pub(super) struct Waiting {
    /// The partition.
    pub(super) partition: i32,
    /// Revoked, or the end.
    pub(super) stop: CancellationToken,
    /// To its task.
    pub(super) held: oneshot::Sender<Held>,
}

/// Fences what was assigned together, in one call, however often that has to be tried.
pub(super) async fn fence_all(shared: Arc<Shared>, mut waiting: Vec<Waiting>) {
    let mut attempts = 0;
    loop {
        waiting.retain(|partition| !partition.stop.is_cancelled());
        if waiting.is_empty() {
            return;
        }
        let partitions: Vec<i32> = waiting.iter().map(|waiting| waiting.partition).collect();
        match shared.stop.run_until_cancelled(fence(&shared, &partitions)).await {
            None => return,
            Some(Ok(held)) => {
                for (waiting, held) in waiting.into_iter().zip(held) {
                    // Its task ended meanwhile: revoked.
                    drop(waiting.held.send(held));
                }
                return;
            }
            Some(Err(error)) => complain(&shared, &error),
        }
        if shared.pause(attempts, &shared.stop).await.is_none() {
            return;
        }
        attempts += 1;
    }
}

/// Says what kept us from fencing.
pub(super) fn complain(shared: &Shared, error: &FenceError) {
    if let FenceError::Ask(ask) = error
        && ask.is_topic_missing()
    {
        shared.status.change(|snapshot| snapshot.topic_missing = true);
    }
    shared.complaints.say("partitions cannot be fenced, trying again", &describe(error));
}

/// Fences partitions and asks who their log is. Answers in the order of `partitions`.
pub(super) async fn fence(shared: &Shared, partitions: &[i32]) -> Result<Vec<Held>, FenceError> {
    let topic = &shared.options.topic;
    let token = shared.surroundings.dice.token();
    crate::crash::point!("r1.assigned");
    // A database that fell back refuses what was folded from later states: whoever fences again for
    // that reads with care (rule R18), not only once the watch looks.
    shared.store.notice_server().await?;
    let mut cursors = shared.store.fence(topic, partitions, token).await?;
    crate::crash::point!("r1.fenced");
    let identity = shared.asking.identity().await?;
    crate::crash::point!("r1.identified");
    let has_new = cursors.iter().any(|cursor| cursor.next_offset.is_none());
    if has_new && shared.options.start_from == StartFrom::Latest && is_new(shared).await? {
        begin_at_the_end(shared).await?;
        let token = shared.surroundings.dice.token();
        cursors = shared.store.fence(topic, partitions, token).await?;
    }
    Ok(cursors.into_iter().map(|cursor| Held { cursor, identity: identity.clone() }).collect())
}

/// The partition whose start is written last: once it has one, all that there were have.
const LAST: i32 = 0;

/// Whether nobody has decided yet where this installation begins.
async fn is_new(shared: &Shared) -> Result<bool, FenceError> {
    let last = shared.store.cursor(&shared.options.topic, LAST).await?;
    Ok(last.is_none_or(|cursor| cursor.next_offset.is_none()))
}

/// A new installation with `start_from = latest`: writes where it begins for *every* partition of
/// the topic, whoever owns it. If each owner decided for its own partitions, the second of two
/// members that start together would find the first one's cursors, take its own partitions for
/// ones that were added later, and read them from the beginning. Whoever is fenced out by this
/// fences again, once, and finds the start written. Partition [`LAST`] comes last, and only after
/// every other has its start: whoever finds it without one does the rest.
async fn begin_at_the_end(shared: &Shared) -> Result<(), FenceError> {
    let count = shared.asking.partition_count().await?;
    let all: Vec<i32> = (LAST..count).rev().collect();
    let token = shared.surroundings.dice.token();
    let cursors = shared.store.fence(&shared.options.topic, &all, token).await?;
    for cursor in cursors.iter().filter(|cursor| cursor.next_offset.is_none()) {
        let (_, high) = shared.asking.watermarks(cursor.fence.partition).await?;
        let facts = LogFacts { start: Some(high), ..LogFacts::default() };
        match shared.store.note_log(&cursor.fence, &facts).await? {
            Write::Written => {}
            Write::Refused => return Err(FenceError::Contended),
        }
    }
    Ok(())
}
