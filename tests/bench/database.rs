//! A database of a benchmark's own, and where it finds PostgreSQL.

use std::io::Write as _;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection as _, PgConnection};

#[expect(clippy::disallowed_methods, reason = "benchmarks find their services in the environment")]
pub(crate) fn postgres_url() -> Option<String> {
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
