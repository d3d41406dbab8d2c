//! The store on SQLite: the embedded default of `demo` and `dev`, in a file or in memory.
//!
//! It means what [`crate::store::postgres`] means, and one contract suite holds both to it. Two
//! things differ: the hour is that of the [`Clock`] given, so that tests can move it; and there is
//! one schema file and no migrations: a file of another schema of ours is **created anew**, and
//! what it held is gone. Whoever needs to keep it runs PostgreSQL.
//!
//! One connection writes, and every transaction that writes begins `IMMEDIATE` (rule R16): there
//! is one lock, so no order of locks to keep. Readers have connections of their own (WAL).

mod adopt;

mod ahead;

mod booking;

mod budget;

mod connection;

mod credentials;

mod cursor;

mod dead_letter;

mod drift;

mod errors;

mod lane;

mod record;

mod row;

mod status;

mod sweep;

mod tally;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use self::errors::{fault, fenced, result_code};
use self::row::Values;
use super::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Gate, Installation, LaneLease,
    LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record, Recorded,
    Result, Resume, Stamp, States, Stop, Store, StoreError, Sweep, SweepStep, SweptPage, SweptRow,
    Taken, Tally,
};
use crate::clock::Clock;

/// The number of `schema.sql`: raise it with every change there.
const SCHEMA: i64 = 6;
const SCHEMA_SQL: &str = include_str!("schema.sql");
/// Tells our files from other people's: the letters `cals` (`PRAGMA application_id`).
const APPLICATION: i64 = 0x6361_6c73;
/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections read at a time.
const READERS_MAX: u32 = 4;

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In memory: gone with the store.
    Memory,
    /// In this file, with `-wal` and `-shm` beside it; made if it is not there.
    File(PathBuf),
}

/// The store on SQLite.
pub struct SqliteStore {
    write: SqlitePool,
    read: SqlitePool,
    clock: Arc<dyn Clock>,
}

/// What a file turned out to be.
enum Found {
    Ours,
    /// Ours, of another schema.
    Other,
}

impl SqliteStore {
    /// Opens the data at `place`, and makes it if it is not there. A file of ours with another
    /// schema number is deleted and made anew; a file that is not ours is refused.
    pub async fn open(place: &Place, clock: Arc<dyn Clock>) -> Result<Self> {
        let (opened, found) = connect(place, true).await?;
        let write = match (found, place) {
            (Found::Ours, _) | (Found::Other, Place::Memory) => opened,
            (Found::Other, Place::File(path)) => {
                opened.close().await;
                remove(path).await?;
                connect(place, true).await?.0
            }
        };
        let read = match place {
            Place::Memory => write.clone(),
            Place::File(_) => connect(place, false).await?.0,
        };
        Ok(Self { write, read, clock })
    }

    /// Closes the data: waits for what is under way.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// The hour, in microseconds.
    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    /// Begins to write. What is not committed is rolled back when it is dropped.
    async fn begin(&self, operation: &'static str) -> Result<Transaction<'static, Sqlite>> {
        self.write.begin_with("BEGIN IMMEDIATE").await.map_err(fault(operation))
    }
}

/// Opens a pool: of one connection that writes, or of those that only read.
async fn connect(place: &Place, writes: bool) -> Result<(SqlitePool, Found)> {
    let options = match place {
        Place::Memory => SqliteConnectOptions::new().in_memory(true),
        Place::File(path) => SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(writes)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full),
    };
    let options = options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
    let options = if writes { options } else { options.pragma("query_only", "ON") };
    // A database in memory lives in its one connection, which is never given up.
    let pool = SqlitePoolOptions::new()
        .max_connections(if writes { 1 } else { READERS_MAX })
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(fault("open the SQLite file"))?;
    let found = if writes { prepare(&pool).await? } else { Found::Ours };
    Ok((pool, found))
}

/// Makes the tables of an empty database; tells one of ours from another.
async fn prepare(pool: &SqlitePool) -> Result<Found> {
    const OPERATION: &str = "prepare the SQLite file";
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault(OPERATION))?;
    let (tables, application, schema) = sqlx::query_as::<_, (i64, i64, i64)>(
        "SELECT (SELECT COUNT(*) FROM sqlite_master),
                (SELECT application_id FROM pragma_application_id),
                (SELECT user_version FROM pragma_user_version)",
    )
    .fetch_one(&mut *tx)
    .await
    .map_err(fault(OPERATION))?;
    if tables > 0 && application != APPLICATION {
        return Err(StoreError::Version {
            found: "not one of ours".to_owned(),
            needed: SCHEMA.to_string(),
            advice: "name a file that does not exist yet",
        });
    }
    if tables > 0 {
        return Ok(if schema == SCHEMA { Found::Ours } else { Found::Other });
    }
    sqlx::raw_sql(SCHEMA_SQL).execute(&mut *tx).await.map_err(fault(OPERATION))?;
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}");
    let marks = sqlx::raw_sql(sqlx::AssertSqlSafe(marks));
    marks.execute(&mut *tx).await.map_err(fault(OPERATION))?;
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Found::Ours)
}

/// Deletes a database file and what SQLite keeps beside it.
async fn remove(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match tokio::fs::remove_file(&name).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault("replace the SQLite file")(error.into())),
        }
    }
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation> {
        const OPERATION: &str = "open the installation";
        let mut tx = self.begin(OPERATION).await?;
        let row = sqlx::query("SELECT id, installed_at, schema FROM installation")
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
        if let Some(row) = row {
            return installed(&Values::of(&row, "installation", "id"), wanted);
        }
        let row = sqlx::query(
            "INSERT INTO installation (id, installed_at, schema) VALUES (?1, ?2, ?3)
             RETURNING id, installed_at, schema",
        )
        .bind(wanted.unwrap_or(fresh).to_string())
        .bind(self.now())
        .bind(SCHEMA)
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
        tx.commit().await.map_err(fault(OPERATION))?;
        installed(&Values::of(&row, "installation", "id"), wanted)
    }

    async fn check(&self) -> Result<()> {
        tally::check(self).await
    }

    async fn notice_server(&self) -> Result<bool> {
        Ok(false)
    }

    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        cursor::fence(self, topic, partitions, token).await
    }

    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        cursor::cursor(self, topic, partition).await
    }

    async fn cursors(&self) -> Result<Vec<Cursor>> {
        cursor::cursors(self).await
    }

    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        cursor::note_log(self, fence, facts).await
    }

    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        cursor::stop(self, fence, stop).await
    }

    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool> {
        cursor::resume(self, topic, partition, how).await
    }

    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        booking::states(self, bookings, providers).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        booking::commit(self, batch).await
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>> {
        dead_letter::dead_letters(self, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        dead_letter::dead_letter(self, id).await
    }

    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed> {
        booking::redrive(self, id, batch).await
    }

    async fn revive(&self, id: i64) -> Result<bool> {
        dead_letter::revive(self, id).await
    }

    async fn discard(&self, id: i64) -> Result<bool> {
        dead_letter::discard(self, id).await
    }

    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection> {
        connection::put_connection(self, connection).await
    }

    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        connection::connections(self).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        connection::connection(self, id).await
    }

    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        connection::remove_connection(self, id, withdraw).await
    }

    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced> {
        credentials::park(self, lane, sealed, reason).await
    }

    async fn renew_credentials(&self, lane: &LaneLease, from: &[u8], to: &[u8]) -> Result<Fenced> {
        credentials::renew(self, lane, from, to).await
    }

    async fn renewal_failed(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>> {
        credentials::renewal_failed(self, lane, sealed, reason).await
    }

    async fn swap_credentials(&self, id: ConnectionId, from: &[u8], to: &[u8]) -> Result<bool> {
        credentials::swap(self, id, from, to).await
    }

    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        lane::lease(self, gate, from, token, lease).await
    }

    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        lane::renew(self, lane, lease).await
    }

    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        lane::pace(self, lane).await
    }
    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        lane::release(self, lane, rest, ahead).await
    }

    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken> {
        lane::take_over(self, lane, verify_after).await
    }

    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        lane::due(self, lane, limit).await
    }

    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>> {
        lane::stamp(self, lane, stamps).await
    }

    async fn record(&self, record: &Record) -> Result<Recorded> {
        record::record(self, record).await
    }

    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>> {
        budget::draw(self, draw).await
    }

    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        sweep::sweep(self, lane).await
    }

    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        sweep::step_sweep(self, lane, step).await
    }

    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        sweep::swept_rows(self, lane, uids, external_ids).await
    }

    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>> {
        sweep::sweep_page(self, lane, page).await
    }

    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        sweep::missing(self, lane, lag).await
    }

    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        drift::note_drift(self, note).await
    }

    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool> {
        sweep::resume_sweep(self, id).await
    }

    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        drift::drift(self, id).await
    }

    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        lane::backlog(self, gate, limit).await
    }

    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        adopt::legacy_events(self, provider, kind, after, limit).await
    }

    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>> {
        adopt::adopt(self, connection, adopted).await
    }

    async fn tally(&self, gate: &Gate) -> Result<Tally> {
        tally::tally(self, gate).await
    }

    fn pool(&self) -> PoolUse {
        tally::pool(self)
    }

    async fn fills(&self) -> Result<Fills> {
        connection::fills(self).await
    }

    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>> {
        status::hasten(self, booking).await
    }

    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        record::external_events(self, uid).await
    }
}

/// Reads the installation, and holds it against the settings (rule R17).
fn installed(row: &Values<'_>, wanted: Option<Uuid>) -> Result<Installation> {
    let schema = row.get::<i64>("schema")?;
    if schema != SCHEMA {
        return Err(StoreError::Version {
            found: schema.to_string(),
            needed: SCHEMA.to_string(),
            advice: "delete the file, or run the version that wrote it",
        });
    }
    let found = row.uuid("id")?;
    match wanted {
        Some(wanted) if wanted != found => Err(StoreError::Installation { found, wanted }),
        Some(_) | None => Ok(Installation { id: found, installed_at: row.time("installed_at")? }),
    }
}
