//! A fact's database: new, and gone afterwards.

use std::sync::Arc;

use calendar_sync::clock::Surroundings;
use calendar_sync::store::Store;
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use calendar_sync::store::sqlite::{Place, SqliteStore};
use futures::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};

use super::world::Parts;
use crate::services;

/// A database.
pub(super) struct Database {
    pub(super) store: Arc<dyn Store>,
    /// Of PostgreSQL.
    pub(super) url: Option<String>,
    /// What drops it.
    pub(super) ending: BoxFuture<'static, ()>,
}

/// A new database. `None`: there is no PostgreSQL, and that has been written
/// down.
pub(super) async fn store_of(
    parts: Parts,
    fact: &str,
    surroundings: &Surroundings,
) -> Option<Database> {
    if parts == Parts::Embedded {
        let clock = Arc::clone(&surroundings.clock);
        let store = SqliteStore::open(&Place::Memory, clock).await.expect("SQLite opens");
        let store = Arc::new(store);
        let closing = Arc::clone(&store);
        let ending = Box::pin(async move { closing.close().await });
        return Some(Database { store, url: None, ending });
    }
    let url = services::postgres(fact)?;
    let name = format!("end_to_end_{}", surroundings.dice.token().simple());
    run(&url, format!("CREATE DATABASE {name}")).await;
    let mut own = url::Url::parse(&url).expect("TEST_POSTGRES_URL is a URL");
    own.set_path(&name);
    let own = String::from(own);
    let mut options = PostgresOptions::new(own.clone().into());
    options.pool_max = 4;
    let store = PostgresStore::connect(&options).await.expect("PostgreSQL answers");
    store.migrate().await.expect("a new database is migrated");
    let pool = store.pool().clone();
    let ending = Box::pin(async move {
        pool.close().await;
        run(&url, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    });
    Some(Database { store: Arc::new(store), url: Some(own), ending })
}

async fn run(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&mut connection).await.expect("a statement");
    connection.close().await.expect("it closes");
}
