//! A store with somebody's hand in it: commits that fail, lie, are refused or come too late.
//! What it does not meddle with goes to a real store.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::store::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Finding, Gate, Installation,
    LaneLease, LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record,
    Recorded, Result, Resume, Stamp, States, Stop, Store, StoreError, Sweep, SweepStep, SweptPage,
    SweptRow, Taken, Tally,
};
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use uuid::Uuid;

/// What is done to one commit.
#[derive(Debug, Clone)]
pub(crate) enum Meddling {
    /// Nothing.
    Pass,
    /// The database does not answer, and nothing is committed.
    LoseBefore,
    /// It is committed, and the answer is lost.
    LoseAfter,
    /// Nothing is committed, and this is the answer.
    Answer(Committed),
}

type Hand = Box<dyn FnMut(&Batch) -> Meddling + Send>;

type Meanwhile = Box<dyn FnOnce(Arc<dyn Store>) -> BoxFuture<'static, ()> + Send>;

/// The store.
pub(crate) struct Meddler {
    inner: Arc<dyn Store>,
    hand: Mutex<Hand>,
    meanwhile: Mutex<Option<Meanwhile>>,
    commits: Mutex<Vec<(Batch, Option<Committed>)>>,
    dying: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
    /// So many of the next readings of states are not answered.
    pub(crate) states_lost: AtomicU32,
}

impl Meddler {
    /// Over a real store, with its hands in its pockets.
    pub(crate) fn over(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            hand: Mutex::new(Box::new(|_| Meddling::Pass)),
            meanwhile: Mutex::default(),
            commits: Mutex::default(),
            dying: Mutex::default(),
            states_lost: AtomicU32::new(0),
        }
    }

    /// From now on this is done to every commit and redrive.
    pub(crate) fn meddle(&self, hand: impl FnMut(&Batch) -> Meddling + Send + 'static) {
        *self.hand.lock().unwrap() = Box::new(hand);
    }

    /// This is done to the next commits, and nothing to those after.
    pub(crate) fn meddle_with_the_next(&self, meddlings: Vec<Meddling>) {
        let mut next = meddlings.into_iter();
        self.meddle(move |_| next.next().unwrap_or(Meddling::Pass));
    }

    /// This happens between the reading for the next commit and that commit.
    pub(crate) fn meanwhile<F>(&self, what: impl FnOnce(Arc<dyn Store>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *self.meanwhile.lock().unwrap() = Some(Box::new(|store| Box::pin(what(store))));
    }

    /// The next effect that is to be recorded as dead tells so by the first of these, and waits for the other.
    pub(crate) fn hold_who_dies(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((tell, told), (go, may_go)) = (oneshot::channel(), oneshot::channel());
        *self.dying.lock().unwrap() = Some((tell, may_go));
        (told, go)
    }

    /// Every commit and redrive that was asked for, with what was answered. Forgets them.
    pub(crate) fn commits(&self) -> Vec<(Batch, Option<Committed>)> {
        std::mem::take(&mut self.commits.lock().unwrap())
    }

    async fn meddled(
        &self,
        batch: &Batch,
        ask: impl AsyncFnOnce() -> Result<Committed>,
    ) -> Result<Committed> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(what) = meanwhile {
            what(Arc::clone(&self.inner)).await;
        }
        let meddling = (self.hand.lock().unwrap())(batch);
        let answer = match meddling {
            Meddling::Pass => ask().await,
            Meddling::LoseBefore => Err(lost("commit a batch")),
            Meddling::LoseAfter => {
                assert_eq!(ask().await.expect("the store answers"), Committed::Done);
                Err(lost("commit a batch"))
            }
            Meddling::Answer(answer) => Ok(answer),
        };
        self.commits.lock().unwrap().push((batch.clone(), answer.as_ref().ok().cloned()));
        answer
    }
}

fn lost(operation: &'static str) -> StoreError {
    StoreError::Unavailable { operation, source: sqlx::Error::PoolTimedOut }
}

#[async_trait]
impl Store for Meddler {
    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        let less = |left: u32| left.checked_sub(1);
        if self.states_lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(lost("read bookings"));
        }
        self.inner.states(bookings, providers).await
    }
    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        self.meddled(batch, async || self.inner.commit(batch).await).await
    }
    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed> {
        self.meddled(batch, async || self.inner.redrive(id, batch).await).await
    }

    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation> {
        self.inner.open(wanted, fresh).await
    }
    async fn notice_server(&self) -> Result<bool> {
        self.inner.notice_server().await
    }
    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        self.inner.fence(topic, partitions, token).await
    }
    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        self.inner.cursor(topic, partition).await
    }
    async fn cursors(&self) -> Result<Vec<Cursor>> {
        self.inner.cursors().await
    }
    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        self.inner.note_log(fence, facts).await
    }
    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        self.inner.stop(fence, stop).await
    }
    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool> {
        self.inner.resume(topic, partition, how).await
    }
    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>> {
        self.inner.dead_letters(after, limit).await
    }
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        self.inner.dead_letter(id).await
    }
    async fn revive(&self, id: i64) -> Result<bool> {
        self.inner.revive(id).await
    }
    async fn discard(&self, id: i64) -> Result<bool> {
        self.inner.discard(id).await
    }
    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection> {
        self.inner.put_connection(connection).await
    }
    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        self.inner.connections().await
    }
    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        self.inner.connection(id).await
    }
    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        self.inner.remove_connection(id, withdraw).await
    }
    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced> {
        self.inner.park(lane, sealed, reason).await
    }
    async fn renew_credentials(&self, lane: &LaneLease, from: &[u8], to: &[u8]) -> Result<Fenced> {
        self.inner.renew_credentials(lane, from, to).await
    }
    async fn renewal_failed(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>> {
        self.inner.renewal_failed(lane, sealed, reason).await
    }
    async fn swap_credentials(&self, id: ConnectionId, from: &[u8], to: &[u8]) -> Result<bool> {
        self.inner.swap_credentials(id, from, to).await
    }
    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        self.inner.lease(gate, from, token, lease).await
    }
    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        self.inner.renew(lane, lease).await
    }
    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        self.inner.pace(lane).await
    }
    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        self.inner.release(lane, rest, ahead).await
    }
    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken> {
        self.inner.take_over(lane, verify_after).await
    }
    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        self.inner.due(lane, limit).await
    }
    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>> {
        self.inner.stamp(lane, stamps).await
    }
    async fn record(&self, record: &Record) -> Result<Recorded> {
        if matches!(record.finding, Finding::Dead { .. }) {
            let dying = self.dying.lock().unwrap().take();
            if let Some((tell, may_go)) = dying {
                tell.send(()).expect("somebody waits");
                may_go.await.expect("it goes on");
            }
        }
        self.inner.record(record).await
    }
    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>> {
        self.inner.draw(draw).await
    }
    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        self.inner.sweep(lane).await
    }
    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        self.inner.step_sweep(lane, step).await
    }
    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        self.inner.swept_rows(lane, uids, external_ids).await
    }
    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>> {
        self.inner.sweep_page(lane, page).await
    }
    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        self.inner.missing(lane, lag).await
    }
    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        self.inner.note_drift(note).await
    }
    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool> {
        self.inner.resume_sweep(id).await
    }
    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        self.inner.drift(id).await
    }
    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        self.inner.backlog(gate, limit).await
    }
    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        self.inner.legacy_events(provider, kind, after, limit).await
    }
    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>> {
        self.inner.adopt(connection, adopted).await
    }
    async fn fills(&self) -> Result<Fills> {
        self.inner.fills().await
    }
    async fn tally(&self, gate: &Gate) -> Result<Tally> {
        self.inner.tally(gate).await
    }
    fn pool(&self) -> PoolUse {
        self.inner.pool()
    }
    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>> {
        self.inner.hasten(booking).await
    }
    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        self.inner.external_events(uid).await
    }
}
