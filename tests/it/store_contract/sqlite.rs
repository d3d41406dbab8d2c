//! The facts on SQLite, in memory and in a file; and what is said of its file alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use calendar_sync::clock::{Clock, SystemClock};
use calendar_sync::store::sqlite::{Place, SqliteStore};
use calendar_sync::store::{Store, StoreError};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::env::{Answered as _, Env, HandClock, LONG, TOPIC, Time, token};
use super::{adoption, cursors, tallies};

async fn open(place: Place, clock: Arc<dyn Clock>) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(&place, clock).await.answered())
}

/// In memory, the clock is moved by hand.
pub(crate) async fn memory_env(_fact: &str) -> Option<Env> {
    let clock = HandClock::new();
    let store = open(Place::Memory, Arc::clone(&clock) as _).await;
    let closing = Arc::clone(&store);
    let ending = Box::pin(async move { closing.close().await });
    Some(Env { store, time: Time::Given(clock), ending })
}

/// In a file, it is the machine's own, as in the service. Answers the file, too.
async fn in_a_folder() -> (PathBuf, Env) {
    let folder = TempDir::new().expect("a folder of our own");
    let path = folder.path().join("store.db");
    let store = open(Place::File(path.clone()), Arc::new(SystemClock::start())).await;
    let closing = Arc::clone(&store);
    let ending = Box::pin(async move {
        closing.close().await;
        drop(folder);
    });
    (path, Env { store, time: Time::Real, ending })
}

async fn file_env(_fact: &str) -> Option<Env> {
    Some(in_a_folder().await.1)
}

/// A file with rows of the booking application in it.
async fn with_rows(_fact: &str) -> Option<Env> {
    let (path, env) = in_a_folder().await;
    run(&path, adoption::ROWS).await;
    Some(env)
}

#[tokio::test]
async fn what_was_settled_long_ago_is_not_looked_at() {
    let env = memory_env("what_was_settled_long_ago_is_not_looked_at").await.expect("it opens");
    let Time::Given(clock) = &env.time else { unreachable!("it is ours") };
    cursors::what_was_settled_long_ago_is_not_looked_at(&env, async || clock.pass(LONG * 2)).await;
    env.end().await;
}

#[tokio::test]
async fn a_word_of_a_newer_version_does_not_end_the_counting() {
    let (path, env) = in_a_folder().await;
    let writes = async || {
        let any = "PRAGMA ignore_check_constraints = ON;";
        run(&path, &format!("{any} {}", tallies::OF_TOMORROW)).await;
    };
    tallies::a_word_of_a_newer_version_does_not_end_the_counting(&env, writes).await;
    env.end().await;
}

mod in_memory {
    use super::memory_env as env;

    every_fact!(env);
}

mod in_a_file {
    use super::file_env as env;

    every_fact!(env);
}

mod on_rows {
    use super::with_rows as env;

    every_fact_of_rows!(env);
}

/// Runs statements on a file.
async fn run(path: &Path, statements: &str) {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut conn = SqliteConnection::connect(&url).await.expect("a SQLite file");
    let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
    statements.execute(&mut conn).await.expect("a statement");
    conn.close().await.expect("it closes");
}

#[tokio::test]
async fn a_file_that_is_opened_again_holds_what_it_held() {
    let folder = TempDir::new().expect("a folder of our own");
    let place = Place::File(folder.path().join("store.db"));
    let store = open(place.clone(), HandClock::new()).await;
    let first = Store::open(&*store, None, token(1)).await.answered();
    let cursors = store.fence(TOPIC, &[0], token(2)).await.answered();
    store.close().await;
    let store = open(place, HandClock::new()).await;
    assert_eq!(Store::open(&*store, None, token(3)).await.answered(), first);
    assert_eq!(store.cursors().await.answered(), cursors);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_another_schema_is_made_anew() {
    let folder = TempDir::new().expect("a folder of our own");
    let path = folder.path().join("store.db");
    let store = open(Place::File(path.clone()), HandClock::new()).await;
    let _ = store.fence(TOPIC, &[0], token(1)).await.answered();
    store.close().await;
    run(&path, "PRAGMA user_version = 999").await;
    let store = open(Place::File(path), HandClock::new()).await;
    assert_eq!(store.cursors().await.answered(), []);
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let folder = TempDir::new().expect("a folder of our own");
    let path = folder.path().join("theirs.db");
    run(&path, "CREATE TABLE treasure (gold INTEGER); INSERT INTO treasure VALUES (7)").await;
    let refused = SqliteStore::open(&Place::File(path.clone()), HandClock::new()).await;
    assert!(matches!(refused.err(), Some(StoreError::Version { .. })));
    run(&path, "INSERT INTO treasure SELECT gold / (gold = 7) FROM treasure").await;
}
