//! A database whose host has vanished: nothing is closed, and nothing is answered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore, Probe};
use calendar_sync::store::{Batch, Committed, Result, Store, StoreError};
use futures::future::join_all;

use super::env::{Answered as _, Env, Time, connection, id, uid};
use super::postgres::Database;
use crate::commands::proxy::Proxy;

/// So many connections has the pool.
const POOL: usize = 2;
/// How long the server may be silent, and work.
const SILENCE_MAX: Duration = Duration::from_millis(400);
/// What `idle_in_transaction_session_timeout` does in its time.
const NOTICE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND state = 'idle in transaction'";
/// Nothing takes so long unless it hangs.
const HANGS: Duration = Duration::from_secs(20);

fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        pool_max: u32::try_from(POOL).expect("it is small"),
        // As in production, there is time to notice a silent connection, and to open another.
        acquire_timeout: 3 * SILENCE_MAX,
        statement_timeout: SILENCE_MAX,
        silence_max: SILENCE_MAX,
        ..PostgresOptions::new(url.to_owned().into())
    }
}

/// Silences the line as soon as a statement is about to run.
struct Hush {
    proxy: Arc<Proxy>,
    before: &'static str,
}

#[async_trait]
impl Probe for Hush {
    async fn before(&self, statement: &'static str) {
        if statement == self.before {
            self.proxy.hush();
        }
    }
}

/// A store behind a line, and one beside it.
struct Ground {
    database: Database,
    proxy: Arc<Proxy>,
    store: PostgresStore,
    direct: Env,
}

impl Ground {
    async fn open(fact: &str) -> Option<Self> {
        let database = Database::new(fact).await?;
        let direct = database.connect().await;
        direct.migrate().await.answered();
        let pool = direct.pool().clone();
        let ending = Box::pin(async move { pool.close().await });
        let direct = Env { store: Arc::new(direct), time: Time::Real, ending };
        let proxy = Arc::new(Proxy::before(&database.url).await);
        let store = PostgresStore::connect(&options(&proxy.url)).await.answered();
        Some(Self { database, proxy, store, direct })
    }

    async fn end(self) {
        drop(self.store);
        self.direct.end().await;
        self.database.end().await;
    }
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(answer: &Result<T>) {
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
}

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, call).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_silent_database_ends_and_the_next_finds_it_again() {
    let fact = "a_call_of_a_silent_database_ends_and_the_next_finds_it_again";
    let Some(ground) = Ground::open(fact).await else { return };
    // Every connection is open, and every one falls silent under a call.
    let calls = || join_all((0..POOL).map(|_| ground.store.connections()));
    for answer in calls().await {
        assert_eq!(answer.answered(), []);
    }
    ground.proxy.hush();
    for answer in in_time(calls()).await {
        assert_unavailable(&answer);
    }
    // Nor is there a new connection to be had.
    assert_unavailable(&in_time(ground.store.connection(connection(1))).await);
    ground.proxy.heal();
    // No call hangs, and no place in the pool is lost to a connection that will never answer.
    let well = async { while calls().await.iter().any(Result::is_err) {} };
    in_time(well).await;
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fell_silent_while_it_was_idle_is_not_used() {
    let fact = "a_connection_that_fell_silent_while_it_was_idle_is_not_used";
    let Some(ground) = Ground::open(fact).await else { return };
    assert_eq!(ground.store.connections().await.answered(), []);
    let pool = ground.store.pool();
    let back = async {
        while pool.num_idle() as u64 != u64::from(pool.size()) {
            tokio::task::yield_now().await;
        }
    };
    in_time(back).await;
    ground.proxy.hush();
    ground.proxy.heal();
    // Idle for so long, it is no longer taken for alive.
    tokio::time::sleep(2 * SILENCE_MAX).await;
    assert_eq!(in_time(ground.store.connections()).await.answered(), []);
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_under_a_silent_database_is_not_known_to_be_stored_and_can_be_tried_again() {
    let fact = "a_batch_under_a_silent_database_is_not_known_to_be_stored_and_can_be_tried_again";
    for before in ["commit.bookings", "commit"] {
        let Some(ground) = Ground::open(fact).await else { return };
        ground.direct.connect(1).await;
        let batch: Batch = ground.direct.batch("a", 0, Some("Massage")).await;
        let probe = Hush { proxy: Arc::clone(&ground.proxy), before };
        let store = ground.store.with_probe(Arc::new(probe));
        assert_unavailable(&in_time(store.commit(&batch)).await);
        ground.proxy.heal();
        let names = [(id("a"), uid("a"))];
        let found = async {
            loop {
                if let Ok(states) = ground.store.states(&names, &[]).await {
                    return states.bookings;
                }
            }
        };
        // Its transaction never committed: the word did not come through.
        assert_eq!(in_time(found).await, []);
        // The server holds the rows until it notices who is gone: here, it does now.
        ground.database.run(NOTICE).await;
        let again = async {
            loop {
                if let Ok(committed) = ground.store.commit(&batch).await {
                    return committed;
                }
            }
        };
        assert_eq!(in_time(again).await, Committed::Done);
        ground.end().await;
    }
}
