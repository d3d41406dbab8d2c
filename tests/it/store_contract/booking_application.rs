//! The database is the booking application's: its tables may have our names, and one of them,
//! `external_calendar_events`, becomes ours.

use booking::IcalUid;
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::{Result, Store, StoreError};
use sqlx::{AssertSqlSafe, PgPool};

use super::env::{Answered as _, new_connection, token};
use super::migrations;
use super::postgres::Database;

/// As the application made it first: texts of a length, and checks.
const PLAIN: &str = include_str!("legacy_plain.sql");
/// As an ORM makes it: enumerations, a foreign key with a cascade, triggers, hardly a default.
const ENUMS: &str = include_str!("legacy_enums.sql");
/// What was there before, as text.
const ROWS: &str = "
    SELECT concat_ws('|', id, provider_id, calendar_provider, external_event_id,
                     COALESCE(ical_uid, 'NULL'), COALESCE(booking_id::text, 'NULL'), start_time, end_time, is_busy,
                     COALESCE(checksum, 'NULL'), sync_status, COALESCE(last_error, 'NULL'),
                     created_at, updated_at)
      FROM public.external_calendar_events ORDER BY id";
/// The columns with their types, the constraints, the indexes and the triggers of a table.
const SHAPE: &str = "
    SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' '
           || COALESCE(pg_get_expr(adbin, adrelid), '')
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attrelid = 'public.external_calendar_events'::regclass AND attnum > 0
    UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
     WHERE conrelid = 'public.external_calendar_events'::regclass AND contype <> 'n'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename = 'external_calendar_events'
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
     WHERE tgrelid = 'public.external_calendar_events'::regclass AND NOT tgisinternal
    ORDER BY 1";

async fn texts(pool: &PgPool, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(pool).await.expect("a list")
}

/// What PostgreSQL says against a statement, if anything.
async fn refusal(pool: &PgPool, statement: &'static str) -> Option<String> {
    sqlx::raw_sql(statement).execute(pool).await.err().map(|error| error.to_string())
}

/// Why nothing was migrated.
#[track_caller]
fn said(migrated: Result<usize>) -> String {
    match migrated {
        Err(StoreError::Migration { reason }) => reason,
        other => panic!("it is refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_applications_tables_of_our_names_are_left_alone_and_never_read() {
    // Also its migrations are written down where ours would be, with a version that we know.
    const THEIRS: &str = "
        CREATE TABLE public.bookings (ical_uid text PRIMARY KEY, booking_id text, state text);
        CREATE TABLE public.providers (provider_id uuid PRIMARY KEY, destination uuid);
        CREATE TABLE public.connections (connection_id uuid PRIMARY KEY, provider_id uuid);
        CREATE TABLE public.installation (id uuid, installed_at timestamptz, incarnation text);
        CREATE TABLE public._sqlx_migrations (version bigint, success boolean);
        INSERT INTO public.installation VALUES (gen_random_uuid(), now(), NULL);
        INSERT INTO public._sqlx_migrations VALUES (1, true);";
    // Whoever reads or writes them waits, and then fails.
    const HOLD: &str = "
        LOCK TABLE public.bookings, public.providers, public.connections, public.installation,
                   public._sqlx_migrations IN ACCESS EXCLUSIVE MODE";
    let fact = "the_applications_tables_of_our_names_are_left_alone_and_never_read";
    let Some(database) = Database::new(fact).await else { return };
    database.run(THEIRS).await;
    let store = database.connect().await;
    let aside = database.connect().await;
    let mut held = aside.pool().begin().await.expect("it begins");
    sqlx::raw_sql(HOLD).execute(&mut *held).await.expect("they are held");
    let work = async {
        let refused = Store::open(&store, None, token(1)).await;
        let Err(StoreError::Version { found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, "empty (no migration applied)");
        assert_eq!(store.migrate().await.answered(), migrations());
        assert_eq!(store.migrate().await.answered(), 0);
        let _ = Store::open(&store, None, token(1)).await.answered();
        store.put_connection(&new_connection(1)).await.answered();
        assert_eq!(store.connections().await.answered().len(), 1);
    };
    tokio::time::timeout(std::time::Duration::from_secs(8), work).await.expect("it waits for none");
    held.rollback().await.expect("it ends");
    for pool in [store.pool(), aside.pool()] {
        pool.close().await;
    }
    database.end().await;
}

/// What every shape becomes, and what it keeps.
async fn is_taken_over(fact: &str, legacy: &str) -> Option<(Database, PgPool)> {
    const UNLIKE_A_NEW_ONE: &str = "
        SELECT attname::text FROM pg_attribute
         WHERE attrelid = 'public.external_calendar_events'::regclass AND attnum > 0
           AND attname <> 'id' AND format_type(atttypid, atttypmod) NOT IN (
                'text', 'uuid', 'timestamp with time zone', 'boolean', 'integer', 'bigint')";
    const OURS: &str = "
        SELECT DISTINCT concat_ws('|', COALESCE(connection_id::text, 'NULL'),
                        COALESCE(provider_uid, 'NULL'), generation, COALESCE(etag, 'NULL'),
                        applied_revision)
          FROM public.external_calendar_events";
    const NEW_ROW: &str = "
        INSERT INTO external_calendar_events
               (provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
                start_time, end_time, is_busy, sync_status, connection_id)
        SELECT provider_id, 'caldav', repeat('booking', 100), ical_uid || '-new', 'not a UUID',
               start_time, end_time, true, 'CREATED', gen_random_uuid()
          FROM external_calendar_events ORDER BY id LIMIT 1";
    let database = Database::new(fact).await?;
    database.run(legacy).await;
    let store = database.connect().await;
    let pool = store.pool().clone();
    let before = texts(&pool, ROWS).await;
    assert_eq!(before.len(), 1000);
    assert_eq!(store.migrate().await.answered(), migrations());
    assert_eq!(texts(&pool, ROWS).await, before);
    assert_eq!(texts(&pool, OURS).await, ["NULL|NULL|0|NULL|0"]);
    assert!(texts(&pool, UNLIKE_A_NEW_ONE).await.is_empty());
    // Again, and as if for the first time: nothing changes.
    let shape = texts(&pool, SHAPE).await;
    assert_eq!(store.migrate().await.answered(), 0);
    database.run("DROP SCHEMA calendar_sync CASCADE").await;
    assert_eq!(store.migrate().await.answered(), migrations());
    assert_eq!(texts(&pool, SHAPE).await, shape);
    assert_eq!(texts(&pool, ROWS).await, before);
    for constraint in [
        "USING btree (provider_id, calendar_provider, external_event_id)",
        "USING btree (ical_uid, connection_id)",
        "CHECK ((end_time > start_time))",
        "external_calendar_events_unadopted ON public.external_calendar_events USING btree \
         (provider_id, calendar_provider) WHERE ((connection_id IS NULL) AND",
    ] {
        let has = shape.iter().filter(|line| line.contains(constraint)).count();
        assert_eq!(has, 1, "{constraint}: {shape:#?}");
    }
    assert_eq!(refusal(&pool, NEW_ROW).await, None);
    let unknown = "UPDATE external_calendar_events SET sync_status = 'PENDING'";
    assert!(refusal(&pool, unknown).await.is_some());
    Some((database, pool))
}

#[tokio::test]
async fn a_legacy_table_of_texts_and_checks_is_taken_over_with_every_row() {
    let fact = "a_legacy_table_of_texts_and_checks_is_taken_over_with_every_row";
    let Some((database, pool)) = is_taken_over(fact, PLAIN).await else { return };
    pool.close().await;
    database.end().await;
}

#[tokio::test]
async fn a_legacy_table_of_enumerations_is_taken_over_without_its_cascade() {
    const TOUCH: &str = "
        UPDATE external_calendar_events SET is_busy = false WHERE sync_status = 'FAILED'";
    const TOUCHED: &str = "
        SELECT (count(*) = count(*) FILTER (WHERE updated_at > now() - interval '1 day'))::text
          FROM external_calendar_events WHERE sync_status = 'FAILED'";
    const STANDING: &str = "SELECT count(*)::text FROM external_calendar_events";
    const FAILED: &str =
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'events_failed_by_provider'";
    let fact = "a_legacy_table_of_enumerations_is_taken_over_without_its_cascade";
    let Some((database, pool)) = is_taken_over(fact, ENUMS).await else { return };
    assert_eq!(refusal(&pool, "DELETE FROM public.bookings").await, None);
    assert_eq!(texts(&pool, STANDING).await, ["1001"]);
    assert_eq!(refusal(&pool, TOUCH).await, None);
    assert_eq!(texts(&pool, TOUCHED).await, ["true"], "its trigger stays");
    let index = texts(&pool, FAILED).await;
    assert!(index[0].ends_with("WHERE (sync_status = 'FAILED'::text)"), "{index:?}");
    pool.close().await;
    database.end().await;
}

/// Why, after which statement.
const REFUSED: &[(&str, &str)] = &[
    (
        "ALTER TABLE external_calendar_events DROP booking_id, DROP checksum",
        "it lacks the column booking_id; it lacks the column checksum",
    ),
    (
        "ALTER TABLE external_calendar_events ALTER start_time TYPE timestamp, ADD etag text",
        "it has a column etag of its own, as calendar-sync would add it; start_time is timestamp \
         without time zone, not timestamptz (if it is in UTC: ALTER TABLE external_calendar_events \
         ALTER start_time TYPE timestamptz USING start_time AT TIME ZONE 'UTC')",
    ),
    (
        "ALTER TABLE external_calendar_events ADD tenant text NOT NULL DEFAULT 'a';
         ALTER TABLE external_calendar_events ALTER tenant DROP DEFAULT",
        "tenant is NOT NULL and has no default",
    ),
    (
        "CREATE UNIQUE INDEX one_a_booking ON external_calendar_events (booking_id)",
        "one_a_booking allows one row where two may be needed",
    ),
    (
        "CREATE RULE nothing_goes AS ON DELETE TO external_calendar_events DO INSTEAD NOTHING",
        "the rule nothing_goes changes what writing to it does",
    ),
    (
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN UPDATE bookings SET updated_at = now(); RETURN NULL; END $$;
         CREATE TRIGGER touches AFTER UPDATE ON external_calendar_events
            FOR EACH ROW EXECUTE FUNCTION touch()",
        "the trigger touches calls touch(), which names a table as calendar_sync has one: ALTER \
         FUNCTION touch() SET search_path = public",
    ),
    (
        "CREATE VIEW shown AS SELECT calendar_provider FROM external_calendar_events",
        "used by a view or rule (rule _RETURN on view shown depends on column",
    ),
    (
        "CREATE TRIGGER failing BEFORE UPDATE ON external_calendar_events FOR EACH ROW
            WHEN (NEW.sync_status = 'FAILED')
            EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger failing on table external_calendar_events depends on column",
    ),
    (
        "ALTER TABLE external_calendar_events DROP CONSTRAINT status_is_known;
         UPDATE external_calendar_events SET sync_status = 'created' WHERE id < 'a'",
        "the sync_status of some rows is created",
    ),
    (
        "CREATE SCHEMA app; ALTER TABLE external_calendar_events SET SCHEMA app",
        "there is an external_calendar_events in the schema app, and it has to be in public",
    ),
    (
        "ALTER TABLE external_calendar_events RENAME TO old;
         CREATE VIEW external_calendar_events AS SELECT * FROM old",
        "it is not an ordinary table",
    ),
    (
        "ALTER TABLE external_calendar_events DROP CONSTRAINT a_time;
         UPDATE external_calendar_events SET end_time = start_time WHERE id < 'a'",
        "check constraint \"external_calendar_events_check\" of relation \
         \"external_calendar_events\" is violated by some row",
    ),
];

#[tokio::test]
async fn a_table_that_cannot_be_taken_over_is_refused_by_name_and_unchanged() {
    const AFRESH: &str = "
        DROP SCHEMA IF EXISTS app, calendar_sync CASCADE; DROP SCHEMA public CASCADE;
        CREATE SCHEMA public;";
    const WHOLE: &str = "
        SELECT n.nspname || '.' || c.relname || ' ' || a.attname || ' '
               || format_type(a.atttypid, a.atttypmod)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE n.nspname IN ('public', 'app') OR n.nspname = 'calendar_sync'
               AND c.relname !~ '^_sqlx_migrations'
        UNION ALL
        SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = to_regnamespace('public') OR connamespace = to_regnamespace('app')
        ORDER BY 1";
    let fact = "a_table_that_cannot_be_taken_over_is_refused_by_name_and_unchanged";
    let Some(database) = Database::new(fact).await else { return };
    for (statements, why) in REFUSED {
        let store = database.connect().await;
        let look = AssertSqlSafe(format!("{AFRESH} {PLAIN} {statements}"));
        sqlx::raw_sql(look).execute(store.pool()).await.expect("a shape");
        let is_elsewhere = statements.contains("SET SCHEMA app");
        let rows = || async {
            let from = if is_elsewhere { "app" } else { "public" };
            let rows = format!("SELECT t::text FROM {from}.external_calendar_events t ORDER BY 1");
            let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(rows));
            rows.fetch_all(store.pool()).await.expect("rows")
        };
        let before = (texts(store.pool(), WHOLE).await, rows().await);
        let said = said(store.migrate().await);
        assert!(said.contains(why), "{statements}: {said}");
        assert_eq!((texts(store.pool(), WHOLE).await, rows().await), before, "{statements}");
        let refused = Store::open(&store, None, token(1)).await;
        assert!(matches!(refused, Err(StoreError::Version { .. })), "{refused:?}");
        store.pool().close().await;
    }
    database.end().await;
}

/// As who owns nothing of the application's, and as who does.
#[tokio::test]
async fn the_table_is_taken_over_by_its_owner_alone() {
    let fact = "the_table_is_taken_over_by_its_owner_alone";
    let Some(database) = Database::new(fact).await else { return };
    let role = format!("role_{}", SystemDice.token().simple());
    database.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await;
    // Somebody else makes our schema: the role may make none.
    let schema = format!("CREATE SCHEMA calendar_sync AUTHORIZATION {role}");
    let allowed = format!("GRANT ALL ON SCHEMA public TO {role}");
    database.run(&format!("{PLAIN} {schema}; {allowed}")).await;
    let store = database.connect_as(&role, "x").await;
    let refused = said(store.migrate().await);
    assert!(refused.contains(&format!("it does not belong to {role}")), "{refused}");
    let hidden = format!(
        "ALTER TABLE public.external_calendar_events OWNER TO {role};
         ALTER TABLE public.external_calendar_events FORCE ROW LEVEL SECURITY;
         ALTER TABLE public.external_calendar_events ENABLE ROW LEVEL SECURITY"
    );
    database.run(&hidden).await;
    let refused = said(store.migrate().await);
    assert!(refused.contains("row level security hides rows of it"), "{refused}");
    database.run("ALTER TABLE public.external_calendar_events DISABLE ROW LEVEL SECURITY").await;
    assert_eq!(store.migrate().await.answered(), migrations());
    assert_eq!(texts(store.pool(), ROWS).await.len(), 1000);
    store.pool().close().await;
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    database.end().await;
}

/// A row without a connection is the application's still.
#[tokio::test]
async fn a_legacy_row_is_not_told_as_ours() {
    const LEGACY: &str = "
        INSERT INTO public.external_calendar_events
               (provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
                start_time, end_time, sync_status)
        VALUES (gen_random_uuid(), 'google', 'theirs', 'a@bookings.example', 'a',
                '2026-01-15 10:00Z', '2026-01-15 11:00Z', 'CREATED')";
    let fact = "a_legacy_row_is_not_told_as_ours";
    let Some(database) = Database::new(fact).await else { return };
    let store = database.connect().await;
    store.migrate().await.answered();
    database.run(LEGACY).await;
    let legacy = IcalUid::parse("a@bookings.example").expect("a UID");
    assert_eq!(store.external_events(&legacy).await.answered(), []);
    store.pool().close().await;
    database.end().await;
}
