//! The database as a worker reaches it: it takes its time, fails before or after it has done what it
//! was asked, and is away now and then. What it accepts is held against what it has given out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use calendar_sync::store::{
    Adopted, Batch, BookingStatus, Committed, ConnectionRow, CountedConnection, Cursor, DeadLetter,
    Draw, Drift, DriftNote, ExternalEvent, Fence, Fenced, Fills, Gate, Installation, LaneLease,
    LegacyEvent, LogFacts, Missing, NewConnection, Owed, PoolUse, PutConnection, Record, Recorded,
    Result, Resume, Stamp, States, Stop, Store, StoreError, Sweep, SweepStep, SweptPage, SweptRow,
    Taken, Tally,
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::coverage;
use crate::store::ModelStore;
use crate::sweeps;
use crate::variant::Variant;
use crate::world::World;

mod judged;

/// The longest that the database takes where it takes its time.
const SLOW_MAX: Duration = Duration::from_secs(8);
/// And where it does not.
const QUICK_MAX: Duration = Duration::from_millis(5);

/// The database, as one worker sees it.
pub(crate) struct Database {
    /// The world.
    pub(crate) world: Arc<World>,
    /// What this worker's settings let through.
    pub(crate) gate: Gate,
}

/// What becomes of a call.
struct Way {
    there: Duration,
    back: Duration,
    fails_before: bool,
    fails_after: bool,
}

fn unavailable(operation: &'static str) -> StoreError {
    StoreError::Unavailable { operation, source: sqlx::Error::PoolTimedOut }
}

impl Database {
    fn way(&self) -> Way {
        self.world.chance("database", |dice, rates| {
            let mut quick = || Duration::from_micros(dice.below(4) * 700);
            let (there, back) = (quick(), quick());
            let is_slow = dice.hits(rates.store_slow);
            let extra = if is_slow { dice.time(SLOW_MAX) } else { Duration::ZERO };
            let (fails_before, fails_after) =
                (dice.hits(rates.store_fails_before), dice.hits(rates.store_fails_after));
            let (there, back) =
                if dice.hits(500) { (there + extra, back) } else { (there, back + extra) };
            Way { there, back, fails_before, fails_after }
        })
    }

    /// Whether another server was noticed.
    fn noticed(&self, noticed: bool) {
        if noticed {
            self.world.count("another server noticed");
            self.world.say(|| "another server is noticed".to_owned());
            self.world.unnoticed.store(false, Ordering::Relaxed);
            self.world.audit().fell_back(&self.world.store);
        }
    }

    /// One call: on its way, done, on its way back.
    async fn call<T>(
        &self,
        operation: &'static str,
        done: impl AsyncFnOnce(&ModelStore) -> Result<T>,
        seen: impl FnOnce(&T),
    ) -> Result<T> {
        let way = self.way();
        if way.there + way.back > QUICK_MAX {
            self.world.count("slow");
        }
        if !way.there.is_zero() {
            sleep(way.there).await;
        }
        if way.fails_before || self.world.is_store_away() {
            if way.fails_before {
                self.world.count("no answer, not done");
            }
            self.world.say(|| format!("database: {operation}: no answer, not done"));
            return Err(unavailable(operation));
        }
        let before = self.world.store.commits();
        let answer = done(&self.world.store).await;
        if let Ok(answer) = &answer {
            seen(answer);
        }
        if self.world.store.commits() != before {
            self.world.keep_snapshot();
        }
        if !way.back.is_zero() {
            sleep(way.back).await;
        }
        if way.fails_after || self.world.is_store_away() {
            if way.fails_after {
                self.world.count("no answer, done");
            }
            self.world.say(|| format!("database: {operation}: done, no answer"));
            return Err(unavailable(operation));
        }
        answer
    }
}

#[async_trait]
impl Store for Database {
    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation> {
        self.call("open", async |store| store.open(wanted, fresh).await, |_| {}).await
    }

    async fn check(&self) -> Result<()> {
        self.call("check", async |store| store.check().await, |()| {}).await
    }

    async fn notice_server(&self) -> Result<bool> {
        let seen = |noticed: &bool| self.noticed(*noticed);
        self.call("notice_server", async |store| store.notice_server().await, seen).await
    }

    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>> {
        let fenced = async |store: &ModelStore| {
            if self.world.variant == Variant::OffsetCommittedBeforeTheDatabase {
                for partition in partitions {
                    if let Some(at) = self.world.log.committed(*partition) {
                        store.resume(topic, *partition, Resume::Set { at }).await?;
                    }
                }
            }
            self.noticed(store.notice_server().await?);
            store.fence(topic, partitions, token).await
        };
        let seen = |cursors: &Vec<Cursor>| {
            for cursor in cursors {
                self.world.audit().fenced(&cursor.fence);
                self.world.say(|| {
                    format!(
                        "partition {} fenced: epoch {} at {:?}",
                        cursor.fence.partition, cursor.fence.epoch, cursor.next_offset
                    )
                });
            }
        };
        self.call("fence", fenced, seen).await
    }

    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        self.call("cursor", async |store| store.cursor(topic, partition).await, |_| {}).await
    }

    async fn cursors(&self) -> Result<Vec<Cursor>> {
        self.call("cursors", async |store| store.cursors().await, |_| {}).await
    }

    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        let seen = |done: &Fenced| self.fenced_write("note_log", fence, *done);
        self.call("note_log", async |store| store.note_log(fence, facts).await, seen).await
    }

    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        let seen = |done: &Fenced| {
            if *done == Fenced::Written {
                self.world.count("stopped");
            }
            self.fenced_write("stop", fence, *done);
        };
        self.call("stop", async |store| store.stop(fence, stop).await, seen).await
    }

    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool> {
        self.call("resume", async |store| store.resume(topic, partition, how).await, |_| {}).await
    }

    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        let states =
            self.call("states", async |store| store.states(bookings, providers).await, |_| {});
        let mut states = states.await?;
        if self.world.variant == Variant::DedupeByEventIdAlone {
            for stored in &mut states.bookings {
                stored.booking.last.incarnation = -1;
                stored.booking.last.offset = -1;
                stored.booking.version = None;
                stored.booking.content_at = None;
            }
        }
        Ok(states)
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        let planned = self.planned(batch);
        let batch = planned.as_ref().unwrap_or(batch);
        let seen = |done: &Committed| {
            self.world.count(match done {
                Committed::Done => "batch written",
                Committed::Stale => "batch stale",
                Committed::Foreign => "batch refused: foreign",
                Committed::Elsewhere { .. } => "batch refused: elsewhere",
                Committed::Refused { .. } => "batch refused",
            });
            if let (Committed::Done, Some(advance)) = (done, &batch.advance) {
                for _ in &batch.dead_letters {
                    self.world.count("dead letter of a record");
                }
                self.fenced_write("commit", &advance.fence, Fenced::Written);
                self.world.say(|| {
                    format!(
                        "partition {}: [{}, {}) is committed, {} bookings, {} effects, {} letters",
                        advance.fence.partition,
                        advance.from,
                        advance.to,
                        batch.bookings.len(),
                        batch.effects.len(),
                        batch.dead_letters.len(),
                    )
                });
            }
        };
        if let (Variant::OffsetCommittedBeforeTheDatabase, Some(advance)) =
            (self.world.variant, &batch.advance)
        {
            self.world.log.commit(advance.fence.partition, advance.to);
        }
        self.call("commit", async |store| store.commit(batch).await, seen).await
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>> {
        self.call("dead_letters", async |store| store.dead_letters(after, limit).await, |_| {})
            .await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        self.call("dead_letter", async |store| store.dead_letter(id).await, |_| {}).await
    }

    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed> {
        self.call("redrive", async |store| store.redrive(id, batch).await, |_| {}).await
    }

    async fn revive(&self, id: i64) -> Result<bool> {
        self.call("revive", async |store| store.revive(id).await, |_| {}).await
    }

    async fn discard(&self, id: i64) -> Result<bool> {
        self.call("discard", async |store| store.discard(id).await, |_| {}).await
    }

    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection> {
        self.call("put_connection", async |store| store.put_connection(connection).await, |_| {})
            .await
    }

    async fn connections(&self) -> Result<Vec<CountedConnection>> {
        self.call("connections", async |store| store.connections().await, |_| {}).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        self.call("connection", async |store| store.connection(id).await, |_| {}).await
    }

    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        let removed = async |store: &ModelStore| store.remove_connection(id, withdraw).await;
        self.call("remove_connection", removed, |_| {}).await
    }

    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced> {
        let seen = |done: &Fenced| {
            if *done == Fenced::Written {
                self.world.count("lane parked");
            }
            self.lane_write("park", lane, *done);
            self.world.say(|| format!("parked: {reason}: {done:?}"));
        };
        self.call("park", async |store| store.park(lane, sealed, reason).await, seen).await
    }
    async fn renew_credentials(&self, _: &LaneLease, _: &[u8], _: &[u8]) -> Result<Fenced> {
        unreachable!("the simulated accounts' credentials are not renewed")
    }
    async fn renewal_failed(&self, _: &LaneLease, _: &[u8], _: &str) -> Result<Option<u32>> {
        unreachable!("the simulated accounts' credentials are not renewed")
    }
    async fn swap_credentials(&self, _: ConnectionId, _: &[u8], _: &[u8]) -> Result<bool> {
        unreachable!("nobody seals anew")
    }

    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>> {
        let read = async |it: &ModelStore| it.legacy_events(provider, kind, after, limit).await;
        self.call("legacy_events", read, |_| {}).await
    }

    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>> {
        self.call("adopt", async |store| store.adopt(connection, adopted).await, |_| {}).await
    }

    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        let seen = |leased: &Option<LaneLease>| {
            if let Some(lane) = leased {
                self.world.audit().leased(lane);
                self.world.say(|| format!("leased {} by {}", lane.connection, lane.token));
            }
        };
        self.call("lease", async |store| store.lease(gate, from, token, lease).await, seen).await
    }

    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        let seen = |done: &Fenced| self.lane_write("renew", lane, *done);
        self.call("renew", async |store| store.renew(lane, lease).await, seen).await
    }

    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        self.call("pace", async |store| store.pace(lane).await, |_| ()).await
    }

    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        let seen = |done: &Fenced| {
            self.lane_write("release", lane, *done);
            if *done == Fenced::Written {
                self.world.audit().released(lane);
            }
        };
        self.call("release", async |store| store.release(lane, rest, ahead).await, seen).await
    }

    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken> {
        let seen = |done: &Taken| {
            if let Taken::Over(_) = done {
                self.lane_write("take_over", lane, Fenced::Written);
                self.world.audit().took_over(lane);
            }
        };
        self.call("take_over", async |store| store.take_over(lane, verify_after).await, seen).await
    }

    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        self.call("due", async |store| store.due(lane, limit).await, |_| {}).await
    }

    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>> {
        let seen = |stored: &Vec<IcalUid>| {
            if !stored.is_empty() {
                self.lane_write("stamp", lane, Fenced::Written);
            }
            for uid in stored {
                self.world.audit().stamped(lane, uid);
                self.world.say(|| format!("stamped {uid} by {}", lane.token));
            }
        };
        self.call("stamp", async |store| store.stamp(lane, stamps).await, seen).await
    }

    async fn record(&self, record: &Record) -> Result<Recorded> {
        let seen = |done: &Recorded| {
            self.world.count(match done {
                Recorded::Written | Recorded::Died => coverage::found(&record.finding),
                Recorded::Refused => "record refused",
            });
            if *done != Recorded::Refused
                && let Err(stale) = self.world.audit().recorded(record)
            {
                self.world.wrong(stale);
            }
            self.world.say(|| {
                format!(
                    "record {}: {done:?}: {:?}, verify {:?}",
                    record.uid, record.finding, record.verify_after
                )
            });
        };
        self.call("record", async |store| store.record(record).await, seen).await
    }

    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>> {
        self.call("draw", async |store| store.draw(draw).await, |_| {}).await
    }

    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        self.call("sweep", async |store| store.sweep(lane).await, |_| {}).await
    }

    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        let seen = |done: &Fenced| {
            self.lane_write("step_sweep", lane, *done);
            if *done == Fenced::Written {
                sweeps::stepped(&self.world, lane, step);
            }
        };
        self.call("step_sweep", async |store| store.step_sweep(lane, step).await, seen).await
    }

    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        let read = async |store: &ModelStore| store.swept_rows(lane, uids, external_ids).await;
        self.call("swept_rows", read, |_| {}).await
    }

    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>> {
        let seen = |news: &Option<Vec<String>>| {
            if news.is_some() {
                self.lane_write("sweep_page", lane, Fenced::Written);
            }
            self.world.say(|| format!("swept {}: {page:?}", lane.connection));
        };
        self.call("sweep_page", async |store| store.sweep_page(lane, page).await, seen).await
    }

    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        self.call("missing", async |store| store.missing(lane, lag).await, |_| {}).await
    }

    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        let seen = |news: &Option<bool>| {
            if news.is_some() {
                self.lane_write("note_drift", &note.lane, Fenced::Written);
            }
            self.world.say(|| format!("drift of {}: {:?}", note.uid, note.kind));
        };
        self.call("note_drift", async |store| store.note_drift(note).await, seen).await
    }

    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool> {
        self.call("resume_sweep", async |store| store.resume_sweep(id).await, |_| {}).await
    }

    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        self.call("drift", async |store| store.drift(id).await, |_| {}).await
    }

    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        self.call("backlog", async |store| store.backlog(gate, limit).await, |_| {}).await
    }

    async fn fills(&self) -> Result<Fills> {
        self.call("fills", async |store| store.fills().await, |_| ()).await
    }

    async fn tally(&self, gate: &Gate) -> Result<Tally> {
        self.call("tally", async |store| store.tally(gate).await, |_| {}).await
    }

    fn pool(&self) -> PoolUse {
        self.world.store.pool()
    }

    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>> {
        self.call("hasten", async |store| store.hasten(booking).await, |_| {}).await
    }

    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        self.call("external_events", async |store| store.external_events(uid).await, |_| {}).await
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
