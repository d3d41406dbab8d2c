//! The facts on PostgreSQL: each in a database of its own.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use calendar_sync::store::{LaneLease, Store as _};
use sqlx::{Connection as _, PgConnection};

use super::env::{
    Answered as _, Env, LONG, SHORT, TOPIC, Time, connection, id, new_connection, open_gate,
    provider, token, uid,
};
use super::migrations;
use super::{adoption, cursors, tallies};

/// An empty database of a test's own.
pub(crate) struct Database {
    /// Its URL.
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// A new one; `None` where there is no PostgreSQL.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let server = crate::services::postgres(test)?;
        let name = format!("contract_{}", SystemDice.token().simple());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        let mut own = url::Url::parse(&server).expect("TEST_POSTGRES_URL is a URL");
        own.set_path(&name);
        Some(Self { url: own.into(), server, name })
    }

    /// Opens it, without looking at what is there.
    pub(crate) async fn connect(&self) -> PostgresStore {
        Self::connect_to(self.url.clone()).await
    }

    /// Opens it as somebody else.
    pub(crate) async fn connect_as(&self, role: &str, password: &str) -> PostgresStore {
        let mut url = url::Url::parse(&self.url).expect("it is a URL");
        url.set_username(role).and_then(|()| url.set_password(Some(password))).expect("a name");
        Self::connect_to(url.into()).await
    }

    async fn connect_to(url: String) -> PostgresStore {
        let mut options = PostgresOptions::new(url.into());
        options.pool_max = 4;
        PostgresStore::connect(&options).await.answered()
    }

    /// Runs statements in it.
    pub(crate) async fn run(&self, statements: &str) {
        run(&self.url, statements).await;
    }

    /// Drops it, whoever is connected.
    pub(crate) async fn end(self) {
        run(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// What the booking application has in its database under our names, and nothing like ours: no
/// statement of ours could run on these.
const THEIRS: &str = "
    CREATE TABLE public.bookings (id integer); CREATE TABLE public.providers (id integer);
    CREATE TABLE public.connections (id integer); CREATE TABLE public.journal (id integer);
    CREATE TABLE public.effects (id integer); CREATE TABLE public._sqlx_migrations (id integer);";

/// A store on a new database, beside the booking application's tables, dropped in the end; and
/// the database's URL. `None` where there is no PostgreSQL.
async fn made(fact: &str) -> Option<(String, Env)> {
    let database = Database::new(fact).await?;
    database.run(THEIRS).await;
    let store = database.connect().await;
    store.migrate().await.answered();
    let (url, pool) = (database.url.clone(), store.pool().clone());
    let ending = Box::pin(async move {
        pool.close().await;
        database.end().await;
    });
    Some((url, Env { store: Arc::new(store), time: Time::Real, ending }))
}

pub(crate) async fn postgres_env(fact: &str) -> Option<Env> {
    made(fact).await.map(|(_, env)| env)
}

/// A database with rows of the booking application in it.
async fn with_rows(fact: &str) -> Option<Env> {
    let (url, env) = made(fact).await?;
    run(&url, adoption::ROWS).await;
    Some(env)
}

async fn run(url: &str, statements: &str) {
    let mut conn = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
    statement.execute(&mut conn).await.expect("a statement");
    conn.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_long_ago_is_not_looked_at() {
    const AGE: &str =
        "UPDATE calendar_sync.effects SET updated_at = updated_at - interval '2 hours'";
    let fact = "what_was_settled_long_ago_is_not_looked_at";
    let Some((url, env)) = made(fact).await else { return };
    cursors::what_was_settled_long_ago_is_not_looked_at(&env, async || run(&url, AGE).await).await;
    env.end().await;
}

/// Whoever drains a connection reads it first: all that is due on it would be counted each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_one_connection_touches_none_of_its_effects() {
    const PATIENCE: Duration = Duration::from_secs(5);
    const HOLD: &str = "LOCK TABLE effects IN ACCESS EXCLUSIVE MODE";
    let fact = "reading_one_connection_touches_none_of_its_effects";
    let Some(database) = Database::new(fact).await else { return };
    let store = database.connect().await;
    store.migrate().await.answered();
    store.put_connection(&new_connection(1)).await.answered();
    let mut held = store.pool().begin().await.expect("it begins");
    sqlx::query(HOLD).execute(&mut *held).await.expect("it is held");
    let read = tokio::time::timeout(PATIENCE, store.connection(connection(1))).await;
    assert!(read.expect("it waits for nobody").answered().is_some());
    held.rollback().await.expect("it ends");
    database.end().await;
}

mod on_postgres {
    use super::postgres_env as env;

    every_fact!(env);
}

mod on_rows {
    use super::with_rows as env;

    every_fact_of_rows!(env);
}

/// What makes the server another one than it was.
const ANOTHER: &str = "UPDATE calendar_sync.installation SET incarnation = 'another'";

#[tokio::test]
async fn a_fence_after_the_database_fell_back_reads_with_care() {
    let made = made("a_fence_after_the_database_fell_back_reads_with_care").await;
    let Some((url, env)) = made else { return };
    let falls_back = async || run(&url, ANOTHER).await;
    cursors::a_fence_after_the_database_fell_back_reads_with_care(&env, falls_back).await;
    env.end().await;
}

#[tokio::test]
async fn a_database_that_fell_back_is_noticed_once_and_read_from_with_care() {
    let fact = "a_database_that_fell_back_is_noticed_once_and_read_from_with_care";
    let Some((url, env)) = made(fact).await else { return };
    let falls_back = async || run(&url, ANOTHER).await;
    cursors::a_database_that_fell_back_is_noticed_once_and_read_from_with_care(&env, falls_back)
        .await;
    env.end().await;
}

/// The service's bounds on statements and locks are for the service.
#[tokio::test]
async fn a_migration_takes_as_long_as_it_takes() {
    const WAITS: &str = "
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'
           AND clock_timestamp() - query_start > interval '1500 ms'";
    let Some(database) = Database::new("a_migration_takes_as_long_as_it_takes").await else {
        return;
    };
    let mut options = PostgresOptions::new(database.url.clone().into());
    (options.lock_timeout, options.statement_timeout) = (SHORT, Duration::from_secs(1));
    let store = PostgresStore::connect(&options).await.answered();
    // Somebody holds what the migration needs, until it has waited longer than both.
    database.run("CREATE SCHEMA calendar_sync").await;
    let mut holder = PgConnection::connect(&database.url).await.expect("PostgreSQL answers");
    let hold =
        sqlx::raw_sql("BEGIN; CREATE TABLE calendar_sync.cursors ()").execute(&mut holder).await;
    hold.expect("it is held");
    let waits = async {
        // Not by the holder, whose transaction would see what it saw first.
        let mut looker = PgConnection::connect(&database.url).await.expect("PostgreSQL answers");
        loop {
            let waiting = sqlx::query_scalar::<_, i64>(WAITS).fetch_one(&mut looker).await;
            if waiting.expect("a count") > 0 {
                break;
            }
            tokio::time::sleep(SHORT).await;
        }
        holder.close().await.expect("it lets go");
    };
    let both = async { tokio::join!(store.migrate(), waits).0 };
    let migrated = tokio::time::timeout(Duration::from_secs(20), both).await;
    assert_eq!(migrated.expect("it waits, and then goes on").answered(), migrations());
    store.pool().close().await;
    database.end().await;
}

/// A roll-out: the newer version's migration comes first, and the workers of before go on.
///
/// Fails with: `store/postgres/mod.rs`, `effect_columns`: `e.*`, and so with each other table's columns; and
/// with `check`: `check_version`.
#[tokio::test]
async fn who_has_opened_it_goes_on_after_a_newer_version_has_migrated() {
    const NEWER: &str = "
        DO $$ DECLARE each regclass; BEGIN
            FOR each IN
                SELECT c.oid FROM pg_class c
                 WHERE c.relkind = 'r' AND c.relname <> '_sqlx_migrations'
                   AND (c.relnamespace = 'calendar_sync'::regnamespace
                        OR c.oid = 'public.external_calendar_events'::regclass)
            LOOP
                EXECUTE format('ALTER TABLE %s ADD COLUMN of_a_newer_version text', each);
            END LOOP;
        END $$;
        INSERT INTO calendar_sync._sqlx_migrations
            (version, description, success, checksum, execution_time)
        VALUES (9999, 'newer', true, '', 0);";
    let fact = "who_has_opened_it_goes_on_after_a_newer_version_has_migrated";
    let Some((url, env)) = made(fact).await else { return };
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    let mut before = Vec::new();
    // Each time on whichever of the store's connections is free.
    for _ in 0..8 {
        before = everything(&env, &lane).await;
    }
    run(&url, NEWER).await;
    for _ in 0..8 {
        assert_eq!(everything(&env, &lane).await, before);
        env.store.check().await.answered();
    }
    assert!(env.store.open(None, token(9)).await.is_err(), "who starts is refused");
    env.end().await;
}

#[tokio::test]
async fn a_word_of_a_newer_version_does_not_end_the_counting() {
    let fact = "a_word_of_a_newer_version_does_not_end_the_counting";
    let Some((url, env)) = made(fact).await else { return };
    let writes = async || {
        let any = "SET search_path = calendar_sync;
                   ALTER TABLE connections DROP CONSTRAINT connections_kind_check,
                                           DROP CONSTRAINT connections_state_check;";
        run(&url, &format!("{any} {}", tallies::OF_TOMORROW)).await;
    };
    tallies::a_word_of_a_newer_version_does_not_end_the_counting(&env, writes).await;
    env.end().await;
}

/// All that a worker reads, of each table, as far as it stays the same.
async fn everything(env: &Env, lane: &LaneLease) -> Vec<String> {
    let store = &env.store;
    let fenced = store.fence(TOPIC, &[0], token(5)).await.answered().len();
    let again = store.put_connection(&new_connection(1)).await.answered().created;
    let states = store.states(&[(id("a"), uid("a"))], &[provider(1)]).await.answered();
    let cursor = store.cursor(TOPIC, 0).await.answered().map(|cursor| cursor.fence.partition);
    let mut answers = vec![
        format!("{fenced} {again} {cursor:?} {}", store.cursors().await.answered().len()),
        format!("{:?} {}", states.bookings, states.adopted.len()),
    ];
    macro_rules! ask {
        ($($call:ident($($given:expr),*)),*) => {
            $(answers.push(format!("{:?}", store.$call($($given),*).await.answered()));)*
        };
    }
    ask!(
        due(lane, 100),
        connections(),
        connection(lane.connection),
        dead_letters(0, 100),
        dead_letter(1),
        sweep(lane),
        swept_rows(lane, &[uid("a")], &[]),
        missing(lane, LONG),
        drift(lane.connection),
        pace(lane),
        backlog(&open_gate(), 100),
        fills(),
        hasten(&id("a")),
        external_events(&uid("a"))
    );
    answers
}
