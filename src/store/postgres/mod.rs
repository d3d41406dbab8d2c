//! The store on PostgreSQL: production's.
//!
//! What must be atomic is one transaction, and none stays open between two functions. Statements are bulk (`UNNEST`), so that a batch of a
//! thousand events costs a handful of round trips, and rows are locked in the order of rule R16.

/// Every column of `effects AS e` that is read. Named, since a worker's prepared statements outlive the next
/// version's migration: with `e.*` PostgreSQL refuses them from the moment that a column is added ("cached
/// plan must not change result type").
macro_rules! effect_columns {
    () => {
        "e.connection_id, e.ical_uid, e.desired_revision, e.desired_digest, e.applied_revision,
         e.applied_digest, e.generation, e.burned, e.etag, e.adopted_id, e.flight_token, e.flight_verb,
         e.flight_revision, e.flight_digest, e.flight_body, e.flight_at, e.ahead_since, e.due,
         e.not_before, e.attempts, e.rejections, e.dead, e.last_error, e.verify_at,
         e.verify_from_generation, e.verify_deletes, e.verify_stage, e.updated_at, e.seen_at, e.gone_at,
         e.filling, e.trace, e.published_at"
    };
}

mod adopt;

mod ahead;

mod bound;

mod budget;

mod connection;

mod filling;

mod credentials;

mod cursor;

mod dead_letter;

mod drift;

mod ingest;

mod installation;

mod lane;

mod record;

mod rows;

mod status;

mod sweep;

mod tally;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Gate, Installation, LaneLease,
    LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record, Recorded,
    Result, Resume, Stamp, States, Stop, Store, StoreError, Sweep, SweepStep, SweptPage, SweptRow,
    Taken, Tally,
};

/// Where our own tables are: in a database of somebody else's, whose tables may have their names.
const SCHEMA: &str = "calendar_sync";

/// How to reach the database, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// The most connections at once.
    pub pool_max: u32,
    /// The longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// The longest run of one statement.
    pub statement_timeout: Duration,
    /// The longest wait for a row's lock (rule R16).
    pub lock_timeout: Duration,
    /// How much longer than the server may take we wait to hear from it, and the longest wait for a
    /// sign of life.
    pub silence_max: Duration,
}

impl PostgresOptions {
    /// The defaults, for a URL.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            pool_max: 16,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            silence_max: Duration::from_secs(5),
        }
    }
}

/// Is told before each statement of a transaction. Lets a test hold a session at exactly that
/// point; in production there is none.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// `statement` is about to run.
    async fn before(&self, statement: &'static str);
}

/// The store on PostgreSQL.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    call_max: Duration,
    probe: Option<Arc<dyn Probe>>,
}

impl PostgresStore {
    /// Connects, without looking at what is there: see [`Store::open`] and [`Self::migrate`].
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        let failed = failed("read the database's address");
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        let given = options.url.expose_secret().parse::<PgConnectOptions>().map_err(failed)?;
        // A name in the address tells one process's sessions from another's (`pg_stat_activity`).
        let name = given.get_application_name().unwrap_or("calendar-sync").to_owned();
        let connect = given.application_name(&name).options([
            ("statement_timeout", millis(options.statement_timeout)),
            ("lock_timeout", millis(options.lock_timeout)),
            ("idle_in_transaction_session_timeout", "30s".to_owned()),
            ("tcp_keepalives_idle", "30".to_owned()),
            ("tcp_user_timeout", "30s".to_owned()),
            // Each batch is planned for the tables as they are. A plan kept from when a table was
            // nearly empty reads all of it for every batch until the next ANALYZE: seconds, for a
            // thousand keys of a table that is being filled. Planning costs far less than that.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            ("jit", "off".to_owned()),
            // Ours are in a schema of our own; `external_calendar_events` is in `public`.
            ("search_path", format!("{SCHEMA}, public")),
            // What is worth no warning is worth no line in our log.
            ("client_min_messages", "warning".to_owned()),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.pool_max)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(bound::answers_after_idling(options.silence_max))
            .after_release(bound::answers(options.silence_max))
            .connect_with(connect.clone())
            .await;
        let pool = match pool {
            Ok(pool) => pool,
            Err(sqlx::Error::PoolTimedOut) => return Err(why_not_connected(&connect).await),
            Err(error) => return Err(self::failed("connect")(error)),
        };
        Ok(Self { pool, call_max: bound::call_max(options), probe: None })
    }

    /// The same store, telling `probe` before each statement.
    #[must_use]
    pub fn with_probe(&self, probe: Arc<dyn Probe>) -> Self {
        Self { probe: Some(probe), ..self.clone() }
    }

    /// The connections, for those who look into the database beside the service: tests, benchmarks.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn begin(&self, operation: &'static str) -> Result<Transaction<'static, Postgres>> {
        self.pool.begin().await.map_err(failed(operation))
    }

    async fn at(&self, statement: &'static str) {
        if let Some(probe) = &self.probe {
            probe.before(statement).await;
        }
    }
}

/// The pool says only that time ran out: one try of our own says why.
async fn why_not_connected(connect: &PgConnectOptions) -> StoreError {
    let tried = tokio::time::timeout(ONE_TRY_MAX, connect.connect()).await;
    let source = match tried {
        Ok(Err(error)) => error,
        // It answers after all, or not at all.
        Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
    };
    failed("connect")(source)
}

/// The longest of that one try.
const ONE_TRY_MAX: Duration = Duration::from_secs(2);

/// Sorts a driver's error by what it asks of us.
pub(super) fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| {
        if is_passing(&source) {
            StoreError::Unavailable { operation, source }
        } else {
            StoreError::Failed { operation, source }
        }
    }
}

/// Whether waiting may mend it. SQLSTATE classes: PostgreSQL documentation, appendix A.
fn is_passing(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(database) = error {
        let code = database.code().unwrap_or_default();
        // Connection trouble, rollbacks, resources, locks, shutdowns, system errors.
        return ["08", "40", "53", "55P03", "57", "58"].iter().any(|class| code.starts_with(class));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}

/// Whether the database refuses the content (rule R4): cardinality violations (one key twice in a
/// statement), data exceptions and constraints.
pub(super) fn refusal(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    let code = database.code()?;
    ["21", "22", "23"]
        .iter()
        .any(|class| code.starts_with(class))
        .then(|| format!("SQLSTATE {code}: {}", database.message()))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn fenced(rows: u64) -> Fenced {
    match rows {
        0 => Fenced::Refused,
        1 => Fenced::Written,
        rows => unreachable!("a primary key named {rows} rows"),
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation> {
        self.within("read the installation", self.open_installation(wanted, fresh)).await
    }
    async fn check(&self) -> Result<()> {
        self.within("read the schema's version", self.check_still()).await
    }
    async fn notice_server(&self) -> Result<bool> {
        self.within("notice another server", self.note_incarnation()).await
    }
    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        self.within("fence partitions", self.fence_cursors(topic, partitions, token)).await
    }
    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        self.within("read a cursor", self.read_cursor(topic, partition)).await
    }
    async fn cursors(&self) -> Result<Vec<Cursor>> {
        self.within("read the cursors", self.read_cursors()).await
    }
    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        self.within("note facts of the log", self.note_log_facts(fence, facts)).await
    }
    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        self.within("stop a partition", self.stop_cursor(fence, stop)).await
    }
    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool> {
        self.within("resume a partition", self.resume_cursor(topic, partition, how)).await
    }
    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        self.within("read the states of bookings", self.read_states(bookings, providers)).await
    }
    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        self.within("commit a batch", self.commit_batch(batch)).await
    }
    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>> {
        self.within("read dead letters", self.read_dead_letters(after, limit)).await
    }
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        self.within("read a dead letter", self.read_dead_letter(id)).await
    }
    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed> {
        self.within("redrive a dead letter", self.redrive_batch(id, batch)).await
    }
    async fn revive(&self, id: i64) -> Result<bool> {
        self.within("revive an effect", self.revive_effect(id)).await
    }
    async fn discard(&self, id: i64) -> Result<bool> {
        self.within("discard a dead letter", self.discard_letter(id)).await
    }
    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection> {
        self.within("add a connection", self.upsert_connection(connection)).await
    }
    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        self.within("read connections", self.read_connections()).await
    }
    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        self.within("read a connection", self.read_connection(id)).await
    }
    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        self.within("remove a connection", self.begin_removal(id, withdraw)).await
    }
    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced> {
        self.within("park a connection", self.park_connection(lane, sealed, reason)).await
    }
    async fn renew_credentials(&self, lane: &LaneLease, from: &[u8], to: &[u8]) -> Result<Fenced> {
        self.within("renew credentials", self.store_renewed(lane, from, to)).await
    }
    async fn renewal_failed(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>> {
        let counted = self.count_renewal_failure(lane, sealed, reason);
        self.within("count a failed renewal", counted).await
    }
    async fn swap_credentials(&self, id: ConnectionId, from: &[u8], to: &[u8]) -> Result<bool> {
        self.within("swap credentials", self.swap_sealed(id, from, to)).await
    }
    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        self.within("lease a lane", self.lease_lane(gate, from, token, lease)).await
    }
    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        self.within("renew a lease", self.renew_lane(lane, lease)).await
    }
    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        self.within("read a pace", self.read_pace(lane)).await
    }
    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        self.within("release a lane", self.release_lane(lane, rest, ahead)).await
    }
    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken> {
        self.within("take a lane over", self.take_over_flights(lane, verify_after)).await
    }
    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        self.within("read what is due", self.read_due(lane, limit)).await
    }
    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>> {
        self.within("store what will be sent", self.stamp_flights(lane, stamps)).await
    }
    async fn record(&self, record: &Record) -> Result<Recorded> {
        self.within("record an outcome", self.record_finding(record)).await
    }
    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>> {
        self.within("draw from a budget", self.draw_budget(draw)).await
    }
    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        self.within("read how far a sweep is", self.read_sweep(lane)).await
    }
    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        self.within("take a sweep on", self.take_sweep_on(lane, step)).await
    }
    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        let reading = self.read_swept_rows(lane, uids, external_ids);
        self.within("read the rows that a sweep comes by", reading).await
    }
    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>> {
        self.within("write down a page of a sweep", self.write_sweep_page(lane, page)).await
    }
    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        self.within("count what a sweep did not find", self.count_missing(lane, lag)).await
    }
    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        self.within("write down what is otherwise with an event", self.note_row_drift(note)).await
    }
    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool> {
        self.within("resume a sweep", self.resume_halted(id)).await
    }
    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        self.within("read what is otherwise in a calendar", self.read_drift(id)).await
    }
    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        self.within("count the backlog", self.count_backlog(gate, limit)).await
    }
    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        let reading = self.read_legacy(provider, kind, after, limit);
        self.within("read the booking application's events", reading).await
    }
    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>> {
        self.within("adopt events", self.adopt_events(connection, adopted)).await
    }
    async fn fills(&self) -> Result<Fills> {
        self.within("count what is left to fill", self.read_fills()).await
    }
    async fn tally(&self, gate: &Gate) -> Result<Tally> {
        self.within("count what is owed and what waits", self.read_tally(gate)).await
    }
    fn pool(&self) -> PoolUse {
        self.pool_use()
    }
    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>> {
        self.within("end a booking's waiting", self.hasten_booking(booking)).await
    }
    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        self.within("read external events", self.read_external_events(uid)).await
    }
}
