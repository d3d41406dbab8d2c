//! The model of the store: plain rows in memory, for the simulator.
//!
//! It means what `calendar_sync::store::sqlite` means, condition by condition and in the same order,
//! so that a reader can hold one against the other; and one contract suite holds it to both
//! databases. Beside [`Store`] it can fall back to what it was ([`ModelStore::restore`]), be looked
//! into ([`ModelStore::look`]) and be broken on purpose ([`Broken`]). It knows no SQL, waits for
//! nothing, and gives the same answers to the same calls.
//!
//! Each function is one short critical section, and all or nothing: what could be refused is looked
//! at before anything is written.

mod rows;

mod cursor;

mod ingest;

mod connection;

mod credentials;

mod lane;

mod record;

mod ahead;

mod adopt;

mod dead_letter;

mod status;

mod sweep;

mod look;

mod budget;

mod tally;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::clock::Clock;
use calendar_sync::store::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Gate, Installation, LaneLease,
    LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record, Recorded,
    Result, Resume, Stamp, States, Stop, Store, Sweep, SweepStep, SweptPage, SweptRow, Taken,
    Tally,
};
use uuid::Uuid;

pub use self::adopt::LegacyRow;
pub use self::look::{ConnectionLook, EventLook, Look};
pub use self::rows::{EffectRow, Flight};

use self::rows::Tables;

/// The store in memory.
pub struct ModelStore {
    clock: Arc<dyn Clock>,
    broken: Broken,
    state: Mutex<State>,
}

/// What is broken on purpose: a test that does not notice tests nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a break of its own")]
pub struct Broken {
    /// What is written under a partition's fence asks for the offset alone.
    pub no_owner_epoch: bool,
    /// What is written under a lane's or a row's token asks for neither, and not for the lease.
    pub no_token: bool,
    /// A row of the outbox that is settled is deleted (rule R9 says never).
    pub rows_deleted_at_record: bool,
    /// What a sweep did not find counts as gone: it is not read by its name (rule R20 says always).
    pub missing_taken_for_gone: bool,
}

/// All that was stored at one moment.
#[derive(Clone)]
pub struct Snapshot(Arc<Tables>);

/// What a database that fell back looks like to those who ask who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Another server, or another timeline: the next [`Store::notice_server`] finds it.
    Another,
    /// As it was: a copy of the files, put back.
    Same,
}

struct State {
    tables: Tables,
    commits: u64,
    /// Which server answers now.
    server: u64,
    /// How many there were.
    servers: u64,
}

/// A transaction that writes.
struct Tx<'s> {
    tables: &'s mut Tables,
    now: i64,
    broken: Broken,
    took_effect: bool,
}

impl Tx<'_> {
    /// What was written stands.
    fn commit(&mut self) {
        self.took_effect = true;
    }
}

impl ModelStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::broken(clock, Broken::default())
    }

    /// An empty store that is broken on purpose.
    pub fn broken(clock: Arc<dyn Clock>, broken: Broken) -> Self {
        let state = State { tables: Tables::default(), commits: 0, server: 0, servers: 1 };
        Self { clock, broken, state: Mutex::new(state) }
    }

    /// How many transactions have changed something so far.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// All that is stored now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::new(self.lock().tables.clone()))
    }

    /// Falls back to what was stored at that moment.
    pub fn restore(&self, snapshot: &Snapshot, history: History) {
        let mut state = self.lock();
        state.tables = Tables::clone(&snapshot.0);
        match history {
            History::Another => {
                state.server = state.servers;
                state.servers += 1;
            }
            History::Same => {
                let installation = state.tables.installation.as_ref();
                let known = installation.and_then(|row| row.incarnation);
                state.server = known.unwrap_or(state.server);
            }
        }
    }

    /// Puts a row into `external_calendar_events` as the booking application did before we came.
    pub fn put_legacy(&self, row: &LegacyRow) {
        self.write(|tx| adopt::put_legacy(tx, row));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    /// The hour, in microseconds.
    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.lock().tables)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tx<'_>) -> T) -> T {
        self.write_on(|tx, _| change(tx))
    }

    /// Also tells which server answers.
    fn write_on<T>(&self, change: impl FnOnce(&mut Tx<'_>, u64) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let State { tables, commits, server, servers: _ } = &mut *state;
        let mut tx = Tx { tables, now, broken: self.broken, took_effect: false };
        let answer = change(&mut tx, *server);
        *commits += u64::from(tx.took_effect);
        answer
    }
}

#[async_trait]
impl Store for ModelStore {
    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation> {
        self.write_on(|tx, server| cursor::open(tx, server, wanted, fresh))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn notice_server(&self) -> Result<bool> {
        Ok(self.write_on(cursor::notice_server))
    }

    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        Ok(self.write_on(|tx, server| {
            cursor::notice_server(tx, server);
            cursor::fence(tx, topic, partitions, token)
        }))
    }

    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        Ok(self.read(|tables| cursor::cursor(tables, topic, partition)))
    }

    async fn cursors(&self) -> Result<Vec<Cursor>> {
        Ok(self.read(cursor::cursors))
    }

    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        Ok(self.write(|tx| cursor::note_log(tx, fence, facts)))
    }

    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        Ok(self.write(|tx| cursor::stop(tx, fence, stop)))
    }

    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool> {
        Ok(self.write(|tx| cursor::resume(tx, topic, partition, how)))
    }

    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        Ok(self.read(|tables| ingest::states(tables, bookings, providers)))
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        self.write(|tx| ingest::commit(tx, None, batch))
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>> {
        Ok(self.read(|tables| dead_letter::dead_letters(tables, after, limit)))
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        Ok(self.read(|tables| tables.dead_letters.get(&id).cloned()))
    }

    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed> {
        self.write(|tx| ingest::commit(tx, Some(id), batch))
    }

    async fn revive(&self, id: i64) -> Result<bool> {
        Ok(self.write(|tx| dead_letter::revive(tx, id)))
    }

    async fn discard(&self, id: i64) -> Result<bool> {
        Ok(self.write(|tx| dead_letter::discard(tx, id)))
    }

    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection> {
        self.write(|tx| connection::put_connection(tx, connection))
    }

    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        Ok(self.read(connection::connections))
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        Ok(self.read(|tables| connection::connection(tables, id)))
    }

    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        Ok(self.write(|tx| connection::remove_connection(tx, id, withdraw)))
    }

    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced> {
        Ok(self.write(|tx| credentials::park(tx, lane, sealed, reason)))
    }

    async fn renew_credentials(&self, lane: &LaneLease, from: &[u8], to: &[u8]) -> Result<Fenced> {
        Ok(self.write(|tx| credentials::renew(tx, lane, from, to)))
    }

    async fn renewal_failed(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>> {
        Ok(self.write(|tx| credentials::renewal_failed(tx, lane, sealed, reason)))
    }

    async fn swap_credentials(&self, id: ConnectionId, from: &[u8], to: &[u8]) -> Result<bool> {
        Ok(self.write(|tx| credentials::swap(tx, id, from, to)))
    }

    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        Ok(self.read(|tables| adopt::legacy_events(tables, provider, kind, after, limit)))
    }

    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>> {
        self.write(|tx| adopt::adopt(tx, connection, adopted))
    }

    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        Ok(self.write(|tx| lane::lease(tx, gate, from, token, lease)))
    }

    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        Ok(self.write(|tx| lane::renew(tx, lane, lease)))
    }

    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        Ok(self.write(|tx| lane::pace(tx, lane)))
    }

    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        Ok(self.write(|tx| lane::release(tx, lane, rest, ahead)))
    }

    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken> {
        Ok(self.write(|tx| lane::take_over(tx, lane, verify_after)))
    }

    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        Ok(self.write(|tx| lane::due(tx, lane, limit)))
    }

    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>> {
        Ok(self.write(|tx| lane::stamp(tx, lane, stamps)))
    }

    async fn record(&self, record: &Record) -> Result<Recorded> {
        self.write(|tx| record::record(tx, record))
    }

    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>> {
        Ok(self.write(|tx| budget::draw(tx, draw)))
    }

    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        let now = self.now();
        Ok(self.read(|tables| sweep::sweep(tables, now, lane)))
    }

    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        Ok(self.write(|tx| sweep::step_sweep(tx, lane, step)))
    }

    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        let now = self.now();
        Ok(self.read(|tables| sweep::swept_rows(tables, now, lane, uids, external_ids)))
    }

    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>> {
        Ok(self.write(|tx| sweep::sweep_page(tx, lane, page)))
    }

    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        let now = self.now();
        Ok(self.read(|tables| sweep::missing(tables, now, lane, lag)))
    }

    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        Ok(self.write(|tx| sweep::note_drift(tx, note)))
    }

    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool> {
        Ok(self.write(|tx| sweep::resume_sweep(tx, id)))
    }

    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        Ok(self.read(|tables| sweep::drift(tables, id)))
    }

    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        let now = self.now();
        Ok(self.read(|tables| lane::backlog(tables, now, gate, limit)))
    }

    async fn fills(&self) -> Result<Fills> {
        Ok(self.read(connection::fills))
    }

    async fn tally(&self, gate: &Gate) -> Result<Tally> {
        let now = self.now();
        Ok(self.read(|tables| tally::tally(tables, now, gate)))
    }

    fn pool(&self) -> PoolUse {
        PoolUse::default()
    }

    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>> {
        Ok(self.write(|tx| status::hasten(tx, booking)))
    }

    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        Ok(self.read(|tables| record::external_events(tables, uid)))
    }
}
