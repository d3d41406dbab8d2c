//! A database of a benchmark's own, and where it finds PostgreSQL.

use std::io::Write as _;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection as _, PgConnection};

const WORKERS: usize = 2;

/// What a benchmark is run with.
pub(crate) struct Start {
    /// The words after its name.
    pub(crate) words: Vec<String>,
    /// PostgreSQL.
    pub(crate) url: String,
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// Begins a benchmark. `None`: it is not one, or nothing can be measured; which is said.
pub(crate) fn start(name: &str) -> Option<Start> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = words.iter().any(|word| word == "--bench");
    words.retain(|word| !word.starts_with("--"));
    if !is_bench {
        say(&format!("this is a benchmark: run it by `cargo bench --bench {name}`"));
        return None;
    }
    let Some(url) = postgres_url() else {
        say("TEST_POSTGRES_URL is not set: nothing is measured");
        return None;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    Some(Start { words, url, runtime })
}

#[expect(clippy::disallowed_methods, reason = "benchmarks find their services in the environment")]
fn postgres_url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the output is open");
}

/// Measures in a new database, which is gone afterwards, whatever came of it.
pub(crate) async fn in_new_database(url: &str, measure: impl AsyncFnOnce(&PostgresStore)) {
    let name = format!("bench_{}", SystemDice.token().simple());
    administer(url, format!("CREATE DATABASE {name}")).await;
    let mut own = url::Url::parse(url).expect("TEST_POSTGRES_URL is a URL");
    own.set_path(&name);
    let options = PostgresOptions::new(String::from(own).into());
    let store = PostgresStore::connect(&options).await.expect("PostgreSQL answers");
    // A failed check must not leave the database behind.
    let measured = tokio::task::LocalSet::new();
    let measuring = std::panic::AssertUnwindSafe(measured.run_until(measure(&store)));
    let ended = futures::FutureExt::catch_unwind(measuring).await;
    store.pool().close().await;
    administer(url, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    ended.expect("a benchmark that was measured to its end");
}

async fn administer(url: &str, statement: String) {
    let mut conn = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&mut conn).await.expect("a statement");
    conn.close().await.expect("it closes");
}
