//! The cursors, kept in memory: a double of the store for what the consumer asks of it, which can
//! be down, robbed and tampered with. Everything else is not asked, or the test is wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::store::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Gate, Installation, LaneLease,
    LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record, Recorded,
    Result, Resume, Stamp, States, Stop, Store, StoreError, Sweep, SweepStep, SweptPage, SweptRow,
    Taken, Tally, Witness,
};
use chrono::DateTime;
use uuid::Uuid;

const NOT_ASKED: &str = "the consumer asks for cursors alone";

/// The cursors of one topic.
#[derive(Default)]
pub(super) struct Ledger {
    cursors: Mutex<BTreeMap<i32, Cursor>>,
    /// Another server answers than before.
    pub(super) is_another: AtomicBool,
    /// The database does not answer.
    pub(super) is_down: AtomicBool,
    /// How many times a freshly asked log end was noted.
    pub(super) log_ends: AtomicUsize,
    /// How many times it was asked to fence.
    pub(super) fences: AtomicUsize,
}

fn new_cursor(topic: &str, partition: i32) -> Cursor {
    let fence = Fence { topic: topic.to_owned(), partition, epoch: 0, token: Uuid::nil() };
    Cursor {
        fence,
        next_offset: None,
        passed_to: None,
        witness: None,
        topic_id: None,
        cluster_id: None,
        log_end: None,
        incarnation: 0,
        recover_until: None,
        stop: None,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

impl Ledger {
    fn answer(&self, operation: &'static str) -> Result<MutexGuard<'_, BTreeMap<i32, Cursor>>> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { operation, source: sqlx::Error::PoolTimedOut });
        }
        Ok(self.cursors.lock().unwrap())
    }

    /// A partition's cursor, as a test sees it.
    pub(super) fn at(&self, partition: i32) -> Option<Cursor> {
        self.cursors.lock().unwrap().get(&partition).cloned()
    }

    /// Where a partition's cursor stands.
    pub(super) fn next(&self, partition: i32) -> Option<i64> {
        self.at(partition).and_then(|cursor| cursor.next_offset)
    }

    /// A test's hand in the database.
    pub(super) fn tamper(&self, partition: i32, how: impl FnOnce(&mut Cursor)) {
        how(self.cursors.lock().unwrap().get_mut(&partition).unwrap());
    }

    /// Somebody else fences.
    pub(super) fn rob(&self, partition: i32) {
        self.tamper(partition, |cursor| {
            cursor.fence.epoch += 1;
            cursor.fence.token = Uuid::max();
        });
    }

    /// What a batch's commit does to the cursor.
    pub(super) fn advance(
        &self,
        fence: &Fence,
        from: i64,
        to: i64,
        witness: Witness,
    ) -> Result<Committed> {
        let mut cursors = self.answer("commit a batch")?;
        let cursor = cursors.get_mut(&fence.partition).unwrap();
        if cursor.fence != *fence {
            return Ok(Committed::Foreign);
        }
        if cursor.next_offset != Some(from) {
            return Ok(Committed::Elsewhere { next_offset: cursor.next_offset });
        }
        cursor.next_offset = Some(to);
        cursor.witness = Some(witness);
        Ok(Committed::Done)
    }
}

#[async_trait]
impl Store for Ledger {
    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        self.fences.fetch_add(1, Ordering::SeqCst);
        let mut cursors = self.answer("fence partitions")?;
        Ok(partitions
            .iter()
            .map(|&partition| {
                let cursor =
                    cursors.entry(partition).or_insert_with(|| new_cursor(topic, partition));
                cursor.fence.epoch += 1;
                cursor.fence.token = token;
                cursor.clone()
            })
            .collect())
    }

    async fn notice_server(&self) -> Result<bool> {
        let mut cursors = self.answer("note the server's identity")?;
        let is_another = self.is_another.swap(false, Ordering::SeqCst);
        for cursor in cursors.values_mut().filter(|_| is_another) {
            cursor.recover_until = Some(i64::MAX);
            cursor.fence.epoch += 1;
            cursor.fence.token = Uuid::max();
        }
        Ok(is_another)
    }

    async fn cursor(&self, _topic: &str, partition: i32) -> Result<Option<Cursor>> {
        Ok(self.answer("read a cursor")?.get(&partition).cloned())
    }

    async fn cursors(&self) -> Result<Vec<Cursor>> {
        Ok(self.answer("read the cursors")?.values().cloned().collect())
    }

    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        let mut cursors = self.answer("note facts of the log")?;
        let cursor = cursors.get_mut(&fence.partition).unwrap();
        if cursor.fence != *fence {
            return Ok(Fenced::Refused);
        }
        cursor.note(facts.clone());
        self.log_ends.fetch_add(usize::from(facts.log_end.is_some()), Ordering::SeqCst);
        Ok(Fenced::Written)
    }

    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        let mut cursors = self.answer("stop a partition")?;
        let cursor = cursors.get_mut(&fence.partition).unwrap();
        if cursor.fence != *fence {
            return Ok(Fenced::Refused);
        }
        cursor.stop = Some(stop.clone());
        Ok(Fenced::Written)
    }

    async fn resume(&self, _topic: &str, partition: i32, how: Resume) -> Result<bool> {
        let mut cursors = self.answer("resume a partition")?;
        let Some(cursor) = cursors.get_mut(&partition) else {
            return Ok(false);
        };
        cursor.fence.epoch += 1;
        cursor.fence.token = Uuid::nil();
        cursor.stop = None;
        cursor.witness = None;
        cursor.passed_to = None;
        match how {
            Resume::Accept { at } => {
                cursor.next_offset = at.or(cursor.next_offset);
                cursor.incarnation += 1;
                cursor.topic_id = None;
                cursor.cluster_id = None;
            }
            Resume::Set { at } => cursor.next_offset = Some(at),
        }
        Ok(true)
    }

    async fn open(&self, _: Option<Uuid>, _: Uuid) -> Result<Installation> {
        unreachable!("{NOT_ASKED}")
    }
    async fn states(&self, _: &[(BookingId, IcalUid)], _: &[ProviderId]) -> Result<States> {
        unreachable!("{NOT_ASKED}")
    }
    async fn commit(&self, _: &Batch) -> Result<Committed> {
        unreachable!("{NOT_ASKED}")
    }
    async fn dead_letters(&self, _: i64, _: u32) -> Result<Vec<DeadLetter>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn dead_letter(&self, _: i64) -> Result<Option<DeadLetter>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn redrive(&self, _: i64, _: &Batch) -> Result<Committed> {
        unreachable!("{NOT_ASKED}")
    }
    async fn revive(&self, _: i64) -> Result<bool> {
        unreachable!("{NOT_ASKED}")
    }
    async fn discard(&self, _: i64) -> Result<bool> {
        unreachable!("{NOT_ASKED}")
    }
    async fn put_connection(&self, _: &NewConnection) -> Result<PutConnection> {
        unreachable!("{NOT_ASKED}")
    }
    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn connection(&self, _: ConnectionId) -> Result<Option<ConnectionRow>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn remove_connection(&self, _: ConnectionId, _: bool) -> Result<bool> {
        unreachable!("{NOT_ASKED}")
    }
    async fn park(&self, _: &LaneLease, _: &[u8], _: &str) -> Result<Fenced> {
        unreachable!("{NOT_ASKED}")
    }
    async fn renew_credentials(&self, _: &LaneLease, _: &[u8], _: &[u8]) -> Result<Fenced> {
        unreachable!("{NOT_ASKED}")
    }
    async fn renewal_failed(&self, _: &LaneLease, _: &[u8], _: &str) -> Result<Option<u32>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn swap_credentials(&self, _: ConnectionId, _: &[u8], _: &[u8]) -> Result<bool> {
        unreachable!("{NOT_ASKED}")
    }
    async fn lease(
        &self,
        _: &Gate,
        _: ConnectionId,
        _: Uuid,
        _: Duration,
    ) -> Result<Option<LaneLease>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn renew(&self, _: &LaneLease, _: Duration) -> Result<Fenced> {
        unreachable!("{NOT_ASKED}")
    }
    async fn pace(&self, _: &LaneLease) -> Result<Option<Duration>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn release(&self, _: &LaneLease, _: Duration, _: Option<Duration>) -> Result<Fenced> {
        unreachable!("{NOT_ASKED}")
    }
    async fn take_over(&self, _: &LaneLease, _: Duration) -> Result<Taken> {
        unreachable!("{NOT_ASKED}")
    }
    async fn due(&self, _: &LaneLease, _: u32) -> Result<Vec<Owed>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn stamp(&self, _: &LaneLease, _: &[Stamp]) -> Result<Vec<IcalUid>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn record(&self, _: &Record) -> Result<Recorded> {
        unreachable!("{NOT_ASKED}")
    }
    async fn draw(&self, _: &Draw) -> Result<Option<Duration>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn sweep(&self, _: &LaneLease) -> Result<Sweep> {
        unreachable!("{NOT_ASKED}")
    }
    async fn step_sweep(&self, _: &LaneLease, _: &SweepStep) -> Result<Fenced> {
        unreachable!("{NOT_ASKED}")
    }
    async fn swept_rows(
        &self,
        _: &LaneLease,
        _: &[IcalUid],
        _: &[String],
    ) -> Result<Vec<SweptRow>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn sweep_page(&self, _: &LaneLease, _: &SweptPage) -> Result<Option<Vec<String>>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn missing(&self, _: &LaneLease, _: Duration) -> Result<Missing> {
        unreachable!("{NOT_ASKED}")
    }
    async fn note_drift(&self, _: &DriftNote) -> Result<Option<bool>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn resume_sweep(&self, _: ConnectionId) -> Result<bool> {
        unreachable!("{NOT_ASKED}")
    }
    async fn drift(&self, _: ConnectionId) -> Result<Vec<Drift>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn backlog(&self, _: &Gate, _: u32) -> Result<u32> {
        unreachable!("{NOT_ASKED}")
    }
    async fn legacy_events(
        &self,
        _: ProviderId,
        _: CalendarKind,
        _: Uuid,
        _: u32,
    ) -> Result<Vec<LegacyEvent>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn adopt(&self, _: ConnectionId, _: &[Adopted]) -> Result<Vec<Uuid>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn fills(&self) -> Result<Fills> {
        unreachable!("{NOT_ASKED}")
    }
    async fn tally(&self, _: &Gate) -> Result<Tally> {
        unreachable!("{NOT_ASKED}")
    }
    fn pool(&self) -> PoolUse {
        unreachable!("{NOT_ASKED}")
    }
    async fn check(&self) -> Result<()> {
        unreachable!("{NOT_ASKED}")
    }
    async fn hasten(&self, _: &BookingId) -> Result<Option<BookingStatus>> {
        unreachable!("{NOT_ASKED}")
    }
    async fn external_events(&self, _: &IcalUid) -> Result<Vec<ExternalEvent>> {
        unreachable!("{NOT_ASKED}")
    }
}
