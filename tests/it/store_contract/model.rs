//! The facts on the simulator's model of the store; and what is said of the model alone.

use std::sync::Arc;

use booking::{CalendarKind, Verb};
use calendar_sync::store::{Batch, Committed, Fenced, LogFacts, Stop, Store, Taken};
use simulate::store::{Broken, History, LegacyRow, ModelStore};
use uuid::Uuid;

use super::cursors;
use super::env::{
    Answered as _, Env, HandClock, LONG, TOPIC, Time, advance, hour, id, present, provider, token,
    uid,
};

fn new() -> (Arc<ModelStore>, Env) {
    broken(Broken::default())
}

fn broken(broken: Broken) -> (Arc<ModelStore>, Env) {
    let clock = HandClock::new();
    let store = Arc::new(ModelStore::broken(Arc::clone(&clock) as _, broken));
    let env = Env {
        store: Arc::clone(&store) as _,
        time: Time::Given(clock),
        ending: Box::pin(std::future::ready(())),
    };
    (store, env)
}

async fn model_env(_fact: &str) -> Option<Env> {
    Some(new().1)
}

#[tokio::test]
async fn what_was_settled_long_ago_is_not_looked_at() {
    let (_, env) = new();
    let Time::Given(clock) = &env.time else { unreachable!("it is ours") };
    cursors::what_was_settled_long_ago_is_not_looked_at(&env, async || clock.pass(LONG * 2)).await;
}

mod in_the_model {
    use super::model_env as env;

    every_fact!(env);
}

/// A store with the rows of [`super::adoption::ROWS`] in it.
async fn with_rows(_fact: &str) -> Option<Env> {
    let (store, env) = new();
    let rows = [
        (1, "theirs1", Some("a"), "a", "CREATED"),
        (2, "theirs2", Some("b"), "b", "FAILED"),
        (3, "theirs3", Some("b"), "b", "CREATED"),
        (4, "local-4", None, "c", "CREATED"),
        (5, "theirs5", Some("d"), "d", "CANCELLED"),
    ];
    for (row, external_id, named, booking, sync_status) in rows {
        store.put_legacy(&LegacyRow {
            row: Uuid::from_u128(row),
            provider: provider(1),
            kind: CalendarKind::Caldav,
            external_id: external_id.to_owned(),
            uid: named.map(uid),
            booking: Some(id(booking)),
            sync_status,
            start: hour(9),
            end: hour(10),
        });
    }
    Some(env)
}

mod on_rows {
    use super::with_rows as env;

    every_fact_of_rows!(env);
}

/// What was asked for meanwhile is lost.
async fn fall_back(model: &ModelStore, env: &Env) {
    let before = model.snapshot();
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    model.restore(&before, History::Another);
    assert_eq!(env.stored("a").await, None, "it is lost");
}

#[tokio::test]
async fn a_fence_after_the_database_fell_back_reads_with_care() {
    let (model, env) = new();
    let falls_back = async || fall_back(&model, &env).await;
    cursors::a_fence_after_the_database_fell_back_reads_with_care(&env, falls_back).await;
}

#[tokio::test]
async fn a_database_that_fell_back_is_noticed_once_and_read_from_with_care() {
    let (model, env) = new();
    let falls_back = async || fall_back(&model, &env).await;
    cursors::a_database_that_fell_back_is_noticed_once_and_read_from_with_care(&env, falls_back)
        .await;
}

/// The next owner's fence has the number of the one that was lost, and another token.
#[tokio::test]
async fn an_owner_whose_fence_is_lost_is_none() {
    let (model, env) = new();
    let _ = model.open(None, token(1)).await.answered();
    env.fence(2).await;
    let before = model.snapshot();
    let lost = env.fence(3).await;
    model.restore(&before, History::Another);
    assert!(model.notice_server().await.answered());
    let cursor = model.cursor(TOPIC, 0).await.answered().expect("it was fenced");
    assert_eq!(cursor.fence.epoch, lost.epoch);
    let facts = LogFacts { log_end: Some(4), ..LogFacts::default() };
    assert_eq!(model.note_log(&lost, &facts).await.answered(), Fenced::Refused);
}

#[tokio::test]
async fn a_database_that_fell_back_in_its_own_history_is_not_noticed() {
    let (model, env) = new();
    let _ = model.open(None, token(1)).await.answered();
    let before = model.snapshot();
    env.fence(2).await;
    model.restore(&before, History::Another);
    assert!(model.notice_server().await.answered());
    model.restore(&before, History::Same);
    assert_eq!(model.cursor(TOPIC, 0).await.answered(), None, "it is lost");
    assert!(!model.notice_server().await.answered(), "it cannot be told from what it was");
}

#[tokio::test]
async fn what_changes_nothing_is_no_commit() {
    let (model, env) = new();
    env.connect(1).await;
    let fence = env.fence(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    let commits = model.commits();
    assert_eq!(env.lease(2).await, None);
    assert_eq!(model.take_over(&lane, LONG).await.answered(), Taken::Over(0));
    assert_eq!(env.record(&lane, "a", present("a", 0, "Massage")).await, Fenced::Refused);
    assert_eq!(env.due(&lane).await.len(), 1);
    let elsewhere = Batch { advance: Some(advance(&fence, 0, 1)), ..Batch::default() };
    assert_eq!(model.commit(&elsewhere).await.answered(), Committed::Done);
    assert_eq!(model.commits(), commits + 1);
    let again = Committed::Elsewhere { next_offset: Some(1) };
    assert_eq!(model.commit(&elsewhere).await.answered(), again);
    assert_eq!(model.commits(), commits + 1);
}

/// The negative controls do what they are there for.
#[tokio::test]
async fn without_an_owner_epoch_a_stale_owner_writes() {
    let (model, env) = broken(Broken { no_owner_epoch: true, ..Broken::default() });
    let stale = env.fence(1).await;
    env.fence(2).await;
    let batch = Batch { advance: Some(advance(&stale, 0, 1)), ..Batch::default() };
    assert_eq!(model.commit(&batch).await.answered(), Committed::Done);
    let elsewhere = Committed::Elsewhere { next_offset: Some(1) };
    assert_eq!(model.commit(&batch).await.answered(), elsewhere, "the offset still counts");
    let stop = Stop { kind: "truncated".to_owned(), found: "another".to_owned() };
    assert_eq!(model.stop(&stale, &stop).await.answered(), Fenced::Written);
}

#[tokio::test]
async fn without_tokens_a_former_holder_stamps_and_records() {
    let (model, env) = broken(Broken { no_token: true, ..Broken::default() });
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let former = env.lane(1).await;
    let Time::Given(clock) = &env.time else { unreachable!("it is ours") };
    clock.pass(LONG);
    let holder = env.lane(2).await;
    assert!(env.stamp(&former, "a", (Verb::Create, 0, 0)).await, "its lease has run out");
    assert!(env.stamp(&holder, "a", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&former, "a", present("a", 0, "Massage")).await, Fenced::Written);
    assert_eq!(env.park(&former, "no reason").await, Fenced::Written);
    assert_eq!(model.release(&former, LONG, None).await.answered(), Fenced::Written);
}

#[tokio::test]
async fn where_rows_are_deleted_nothing_is_left_of_what_is_settled() {
    for rows_deleted_at_record in [false, true] {
        let (model, env) = broken(Broken { rows_deleted_at_record, ..Broken::default() });
        env.connect(1).await;
        env.ask("a", 0, Some("Massage")).await;
        let lane = env.lane(1).await;
        env.apply(&lane, "a", 0, "Massage").await;
        assert_eq!(model.look(|rows| rows.effects().count()), usize::from(!rows_deleted_at_record));
    }
}
