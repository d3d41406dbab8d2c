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
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    /// Where other processes find it; `None`: in our memory.
    pub(crate) url: Option<String>,
    /// What drops it.
    pub(crate) ending: BoxFuture<'static, ()>,
}

/// A new database. `None`: there is no PostgreSQL, and that has been written
/// down.
pub(crate) async fn store_of(
    parts: Parts,
    fact: &str,
    surroundings: &Surroundings,
) -> Option<Database> {
    if parts == Parts::Embedded {
        return Some(sqlite(&Place::Memory, surroundings, || {}).await);
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

/// The same, but where other processes find it too.
pub(crate) async fn found_by_all(
    parts: Parts,
    fact: &str,
    surroundings: &Surroundings,
) -> Option<Database> {
    if parts == Parts::Real {
        return store_of(parts, fact, surroundings).await;
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("state.db");
    let url = format!("sqlite:{}", file.display());
    let made = sqlite(&Place::File(file), surroundings, || drop(directory)).await;
    Some(Database { url: Some(url), ..made })
}

async fn sqlite(
    place: &Place,
    surroundings: &Surroundings,
    at_end: impl FnOnce() + Send + 'static,
) -> Database {
    let clock = Arc::clone(&surroundings.clock);
    let store = Arc::new(SqliteStore::open(place, clock).await.expect("SQLite opens"));
    let closing = Arc::clone(&store);
    let ending = Box::pin(async move {
        closing.close().await;
        at_end();
    });
    Database { store, url: None, ending }
}

async fn run(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    statement.execute(&mut connection).await.expect("a statement");
    connection.close().await.expect("it closes");
}
