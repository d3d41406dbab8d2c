//! The facts on PostgreSQL: each in a database of its own.

use std::sync::Arc;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection as _, PgConnection};

use super::env::{Answered as _, Env, Time};

/// A store on a new database, dropped in the end; `None` where there is no PostgreSQL.
pub(crate) async fn postgres_env(fact: &str) -> Option<Env> {
    let url = crate::services::postgres(fact)?;
    let name = format!("contract_{}", SystemDice.token().simple());
    run(&url, format!("CREATE DATABASE {name}")).await;
    let mut own = url::Url::parse(&url).expect("TEST_POSTGRES_URL is a URL");
    own.set_path(&name);
    let mut options = PostgresOptions::new(String::from(own).into());
    options.pool_max = 4;
    let store = PostgresStore::connect(&options).await.answered();
    store.migrate().await.answered();
    let pool = store.pool().clone();
    let ending = Box::pin(async move {
        pool.close().await;
        run(&url, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    });
    Some(Env { store: Arc::new(store), time: Time::Real, ending })
}

async fn run(url: &str, statement: String) {
    let mut conn = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&mut conn).await.expect("a statement");
    conn.close().await.expect("it closes");
}

mod on_postgres {
    use super::postgres_env as env;

    every_fact!(env);
}
