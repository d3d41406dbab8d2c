//! Opens the store that the settings name.

use std::sync::Arc;

use super::postgres::{PostgresOptions, PostgresStore};
#[cfg(feature = "demo")]
use super::sqlite::{Place, SqliteStore};
use super::{Result, Store};
use crate::clock::Clock;
use crate::config::{Backend, StoreSettings};

/// Connects, without looking at what is there: [`Store::open`] does that.
pub async fn connect(settings: &StoreSettings, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    match settings.backend {
        Backend::Postgres => {
            Ok(Arc::new(PostgresStore::connect(&postgres_options(settings)).await?))
        }
        Backend::Sqlite => sqlite(settings, clock).await,
    }
}

/// Brings the database to this version's schema; answers how many migrations it took. SQLite has
/// one schema, made when it is opened.
pub async fn migrate(settings: &StoreSettings) -> Result<usize> {
    match settings.backend {
        Backend::Postgres => {
            PostgresStore::connect(&postgres_options(settings)).await?.migrate().await
        }
        Backend::Sqlite => Ok(0),
    }
}

fn postgres_options(settings: &StoreSettings) -> PostgresOptions {
    PostgresOptions {
        pool_max: settings.pool_max,
        statement_timeout: settings.statement_timeout,
        ..PostgresOptions::new(settings.url.clone())
    }
}

#[cfg(feature = "demo")]
async fn sqlite(settings: &StoreSettings, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    use secrecy::ExposeSecret as _;
    Ok(Arc::new(SqliteStore::open(&place(settings.url.expose_secret()), clock).await?))
}

#[cfg(not(feature = "demo"))]
#[expect(clippy::unused_async, reason = "the same shape as where there is SQLite")]
async fn sqlite(_: &StoreSettings, _: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    unreachable!("the settings refuse SQLite in a binary without it")
}

/// `sqlite::memory:`, `sqlite:path` or `sqlite://path`.
#[cfg(feature = "demo")]
fn place(url: &str) -> Place {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    match path.strip_prefix("//").unwrap_or(path) {
        ":memory:" => Place::Memory,
        path => Place::File(path.into()),
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_sqlite_is_a_place() {
        assert_eq!(place("sqlite::memory:"), Place::Memory);
        assert_eq!(place("sqlite://:memory:"), Place::Memory);
        assert_eq!(place("sqlite:a/b.db"), Place::File("a/b.db".into()));
        assert_eq!(place("sqlite:///a/b.db"), Place::File("/a/b.db".into()));
    }
}
