//! How long we wait for a server that may be gone.
//!
//! The server bounds its statements, and a session whose client is gone. A server that is gone
//! itself closes nothing: its host has vanished, and an answer is awaited for as long as the kernel
//! repeats what it sent. So we have a bound of our own on every call of the store, and one on every
//! sign of life that a connection is asked for. A call that is given up drops its connection, which
//! goes back to the pool only once it has answered.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::{Connection as _, PgConnection};

use super::{PostgresOptions, PostgresStore, failed};
use crate::store::Result;

/// The longest of one call of the store: a connection is waited for, the server works for as long
/// as it may, and then it is to be heard from. A call of several statements has no more than that.
pub(super) fn call_max(options: &PostgresOptions) -> Duration {
    options.acquire_timeout + options.statement_timeout + options.silence_max
}

impl PostgresStore {
    /// Does a call, or gives it up. As with any error of the server, what was given up in its
    /// commit may have been committed.
    pub(super) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let called = tokio::time::timeout(self.call_max, call).await;
        called.unwrap_or_else(|_| Err(failed(operation)(silent(self.call_max))))
    }
}

fn silent(waited: Duration) -> sqlx::Error {
    let message = format!("nothing was heard from the server for {waited:?}");
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}

/// An answer of the pool's about a connection: `true` keeps it.
type Kept<'a> = BoxFuture<'a, std::result::Result<bool, sqlx::Error>>;

/// What comes back to the pool rolls back and answers first. The pool asks the same once more, and
/// without a bound: a server that has just answered this does.
pub(super) fn answers(
    within: Duration,
) -> impl Fn(&mut PgConnection, PoolConnectionMetadata) -> Kept<'_> {
    move |connection, _| Box::pin(is_alive(connection, within))
}

/// What was idle for long is asked before it is used: its host may have vanished meanwhile. A busy
/// store asks nothing before a statement.
pub(super) fn answers_after_idling(
    within: Duration,
) -> impl Fn(&mut PgConnection, PoolConnectionMetadata) -> Kept<'_> {
    move |connection, meta| {
        Box::pin(async move {
            if meta.idle_for > within { is_alive(connection, within).await } else { Ok(true) }
        })
    }
}

/// An error closes the connection without a farewell, which nobody might take.
async fn is_alive(
    connection: &mut PgConnection,
    within: Duration,
) -> std::result::Result<bool, sqlx::Error> {
    match tokio::time::timeout(within, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        Err(_) => Err(silent(within)),
    }
}
