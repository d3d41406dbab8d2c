//! One drain of one lane: take over, read what is due, store what will be sent, send it, record.
//!
//! The lease is the fence. A call is made only if the rest of the lease exceeds the call's
//! time-out, counted from before the lease was taken, on a clock that also counts suspension; every
//! write carries the lease's token. No transaction is open during a call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use booking::{CalendarKind, Marker};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::access::{Access, Entered};
use super::decide::{Step, next};
use super::frozen::Frozen;
use super::hold::{Held, Hold};
use super::limits::{BUDGET_REST, Pace};
use super::meter::{Guarded, Withheld};
use super::traced::{drain_scope, drain_span};
use super::{Emitter, Notice, Run};
use crate::calendar::Name;
use crate::store::{
    ConnectionRow, ConnectionState, Fenced, InFlight, LaneLease, Owed, Result, Stamp, StoreError,
    Taken,
};
use crate::telemetry::live::Live;
use crate::telemetry::scope::within;

/// So many calls in a row without a usable answer end a drain: the calendar is in trouble, and
/// trying every row of it would only prolong that.
const TROUBLES_MAX: u32 = 8;

/// So many rounds of `claim_batch` rows, and the lane is given back: a busy tenant starves nobody
/// (rule R10).
const ROUNDS_MAX: u32 = 8;

/// Graph takes so many requests at once for a mailbox, and refuses the next (L16; Microsoft Graph
/// service-specific throttling limits, Outlook).
const GRAPH_CONCURRENCY_MAX: usize = 4;

/// How long a lane rests after such a drain.
pub(super) const REST_AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// How long it rests when nothing came of what was due: all of it changed meanwhile.
const REST_WITHOUT_WORK: Duration = Duration::from_secs(1);

/// A lane while it is drained.
pub(super) struct Drain<'a> {
    pub(super) emitter: &'a Emitter,
    pub(super) hold: Hold,
    pub(super) access: Access,
    /// Whether the connection is being removed, and its events withdrawn.
    pub(super) is_removing: bool,
    /// Whether its sweep waits for a person: nothing is repaired meanwhile.
    pub(super) is_halted: bool,
    /// In traces.
    pub(super) span: Live,
    stop: CancellationToken,
    pace: Mutex<Pace>,
    state: Mutex<State>,
    over: AtomicBool,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Granted,
    /// Not now, and the lane is still ours.
    Withheld,
    /// The lease is lost.
    Lost,
}

/// How a lane is given back.
struct Given {
    rest: Duration,
    /// What its pace has used ahead; `None`: as it was.
    ahead: Option<Duration>,
}

impl From<Duration> for Given {
    /// A rest; nothing was asked for.
    fn from(rest: Duration) -> Self {
        Self { rest, ahead: None }
    }
}

#[derive(Default)]
struct State {
    troubles: u32,
    rest: Duration,
    applied: u32,
    failed: u32,
    /// Rows that were due.
    due: usize,
}

/// Tells why, and answers how long the lane rests.
fn ended_early(error: &StoreError) -> Duration {
    tracing::warn!(
        error_code = "store_unavailable",
        error = error as &dyn std::error::Error,
        "a drain ended early"
    );
    REST_AFTER_TROUBLE
}

impl Emitter {
    /// Drains a lane, and gives it back.
    pub(super) async fn drain(&self, lease: LaneLease, before: Duration, stop: &CancellationToken) {
        let span = tracing::info_span!(
            "drain",
            sync_id = %lease.token,
            connection_id = %lease.connection,
            provider_id = tracing::field::Empty,
            calendar_provider = tracing::field::Empty,
        );
        let drained = self.drain_lane(lease.clone(), before, stop).instrument(span.clone()).await;
        let given = drained.unwrap_or_else(|error| span.in_scope(|| ended_early(&error)).into());
        crate::crash::point!("r15.releasing");
        if let Err(error) = self.store.release(&lease, given.rest, given.ahead).await {
            // Not released, it runs out by itself.
            tracing::debug!(error = &error as &dyn std::error::Error, "a lane was not given back");
        }
        crate::crash::point!("r15.released");
        if given.rest.is_zero() {
            // What became due here since it was looked last has found the lane taken.
            self.wake.notify_one();
        }
    }

    async fn drain_lane(
        &self,
        lease: LaneLease,
        before: Duration,
        stop: &CancellationToken,
    ) -> Result<Given> {
        crate::crash::point!("r10.leased");
        let Some(connection) = self.store.connection(lease.connection).await? else {
            return Ok(Duration::ZERO.into());
        };
        let span = tracing::Span::current();
        span.record("provider_id", tracing::field::display(connection.provider));
        span.record("calendar_provider", connection.kind.name());
        let traced = drain_span(&self.tracer, &lease, connection.kind.name());
        let scope = drain_scope(&self.tracer, &traced);
        within(scope, self.drain_connection((lease, before), connection, traced, stop)).await
    }

    async fn drain_connection(
        &self,
        (lease, before): (LaneLease, Duration),
        connection: ConnectionRow,
        span: Live,
        stop: &CancellationToken,
    ) -> Result<Given> {
        let started = self.surroundings.clock.elapsed();
        let opened = self.accounts.open(&connection).await;
        // What an earlier holder sent it sent by this access, or by one that expires before it.
        let lifetime = opened.as_ref().ok().and_then(|opened| opened.lifetime);
        let verify_after = self.verify_after(lifetime).unwrap_or_default();
        match self.store.take_over(&lease, verify_after).await? {
            Taken::Refused => return Ok(self.fenced_off().into()),
            Taken::Over(0) => {}
            Taken::Over(rows) => {
                tracing::info!(rows, "took over what an earlier holder left in flight");
            }
        }
        crate::crash::point!("r10.taken_over");
        let (is_removing, is_halted) =
            (connection.state == ConnectionState::Removing, connection.halted.is_some());
        let Some(pace) = self.pace(&lease, connection.kind).await? else {
            return Ok(self.fenced_off().into());
        };
        let hold = Hold::new(lease, before);
        let (access, rest) = match self.enter(&hold, connection, opened).await? {
            Entered::In { connection, opened, rest } => {
                (Access::new(*connection, opened, rest.is_some()), rest.unwrap_or_default())
            }
            Entered::Out { rest } => return Ok(rest.into()),
        };
        let drain = Drain {
            emitter: self,
            hold,
            access,
            span,
            stop: stop.clone(),
            pace: Mutex::new(pace),
            is_removing,
            is_halted,
            state: Mutex::new(State { rest, ..State::default() }),
            over: AtomicBool::new(false),
        };
        let rest = drain.run(stop).await.unwrap_or_else(|error| ended_early(&error));
        let State { applied, failed, due, rest: asked, .. } = *drain.state();
        let now = self.surroundings.clock.elapsed();
        let duration = now.saturating_sub(started);
        let pace = *drain.pace();
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(applied, failed, duration_ms, "drained a lane");
        if due > 0 {
            self.tell(|meter| meter.ran(Run { applied, failed, duration }));
        }
        drain.withheld(Withheld::Connection, pace.closed_for(now));
        let rest = rest.max(asked).max(pace.closed_for(now));
        Ok(Given { rest, ahead: pace.ahead(now) })
    }

    /// The lane is another holder's by now: told; and it rests for nothing of ours.
    fn fenced_off(&self) -> Duration {
        self.notice(Notice::Fenced(Guarded::Lease));
        Duration::ZERO
    }

    /// The pace of a leased connection, as its last holder left it; `None`: the lease is lost.
    async fn pace(&self, lease: &LaneLease, kind: CalendarKind) -> Result<Option<Pace>> {
        let Some(rate) = self.options.limits.of(kind).connection else {
            return Ok(Some(Pace::unlimited()));
        };
        let ahead = self.store.pace(lease).await?;
        let now = self.surroundings.clock.elapsed();
        Ok(ahead.map(|ahead| Pace::resumed(rate, now, ahead)))
    }

    /// Parks a connection, and says so where a person will look. One that is being removed stays
    /// that, with the reason beside it. Answers how long it is left alone.
    pub(super) async fn park(
        &self,
        lease: &LaneLease,
        connection: &ConnectionRow,
        reason: &str,
    ) -> Result<Duration> {
        match self.store.park(lease, &connection.sealed, reason).await? {
            Fenced::Written if connection.state == ConnectionState::Removing => {
                tracing::error!(
                    error_code = "removal_stuck",
                    "events of a connection that is being removed cannot be withdrawn: {reason}"
                );
            }
            Fenced::Written => {
                tracing::error!(
                    error_code = "connection_parked",
                    "the connection is parked until it is connected again: {reason}"
                );
            }
            Fenced::Refused => {
                tracing::info!("the connection was connected again meanwhile, and is not parked");
                return Ok(Duration::ZERO);
            }
        }
        self.notice(Notice::Parked);
        Ok(self.options.backoff.delay_max)
    }
}

impl Drain<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers how long the lane may rest at least.
    async fn run(&self, stop: &CancellationToken) -> Result<Duration> {
        let options = &self.emitter.options;
        self.plan_first_sweep().await?;
        for round in 0..ROUNDS_MAX {
            if stop.is_cancelled() || self.is_over() {
                break;
            }
            if !self.keep_access().await? {
                break;
            }
            // No more than can be sent at once: what becomes due meanwhile may go before the rest.
            let limit = options.claim_batch.min(self.pace().at_once());
            let since = self.emitter.surroundings.clock.now();
            let due = self.emitter.store.due(&self.hold.lease, limit).await?;
            crate::crash::point!("r10.due");
            if due.is_empty() {
                // Only now, so that nothing that is due waits for it (rule R20). A lane that had work is
                // not leased for a sweep.
                let may_sweep = options.repair.interval.is_some() || round == 0;
                if may_sweep && self.sweep(stop).await? {
                    continue;
                }
                return Ok(if round == 0 { REST_WITHOUT_WORK } else { Duration::ZERO });
            }
            if !self.keep_lease().await? {
                return Ok(Duration::ZERO);
            }
            self.state().due += due.len();
            let work = self.prepare(due).await?;
            if work.is_empty() {
                return Ok(REST_WITHOUT_WORK);
            }
            let mut calls = futures::stream::iter(work)
                .map(|(owed, step)| self.effect(owed, step, since, stop))
                .buffer_unordered(self.concurrency());
            let mut first_error = None;
            while let Some(done) = calls.next().await {
                if let Err(error) = done {
                    self.end();
                    first_error = first_error.or(Some(error));
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
        }
        Ok(Duration::ZERO)
    }

    /// The most calls at once.
    fn concurrency(&self) -> usize {
        let wanted = self.emitter.options.lane_concurrency;
        match self.kind() {
            CalendarKind::Microsoft => wanted.min(GRAPH_CONCURRENCY_MAX),
            CalendarKind::Google | CalendarKind::Caldav => wanted,
        }
    }

    /// Decides about each row, and stores what will be sent (rule R10). A row that changed
    /// meanwhile is left for the next round.
    async fn prepare(&self, due: Vec<Owed>) -> Result<Vec<(Owed, Step)>> {
        let mut work = Vec::with_capacity(due.len());
        let mut stamps = Vec::new();
        for mut owed in due {
            let step = next(&owed);
            if let Step::Send { verb, generation } = step {
                let flight = self.flight(&owed, verb, generation);
                stamps.push(Stamp {
                    uid: owed.uid.clone(),
                    desired_revision: owed.desired_revision,
                    generation,
                    in_flight: flight.clone(),
                });
                owed.in_flight = Some(flight);
                if generation != owed.generation {
                    owed.server_id = None;
                }
                owed.generation = generation;
            }
            if step != Step::Nothing {
                work.push((owed, step));
            }
        }
        if !stamps.is_empty() {
            let stamped = self.emitter.store.stamp(&self.hold.lease, &stamps).await?;
            crate::crash::point!("r10.stamped");
            crate::crash::point!(
                "r12.burned",
                if stamps.iter().any(|it| it.in_flight.verb == booking::Verb::Delete)
            );
            crate::crash::point!(
                "r12.opened",
                if stamps.iter().any(|it| it.in_flight.verb == booking::Verb::Create
                    && it.generation > 0)
            );
            work.retain(|(owed, step)| {
                !matches!(step, Step::Send { .. }) || stamped.contains(&owed.uid)
            });
        }
        Ok(work)
    }

    /// The call, as it will be sent whatever happens.
    fn flight(&self, owed: &Owed, verb: booking::Verb, generation: i32) -> InFlight {
        // What is burned is deleted though an event is wanted: in the next generation.
        let wanted = owed.desired.as_ref().filter(|_| verb != booking::Verb::Delete);
        let Some(content) = wanted else {
            let (revision, digest, body) = (owed.desired_revision, None, Vec::new());
            return InFlight { verb, revision, digest, body };
        };
        let marker = Marker {
            uid: owed.uid.clone(),
            connection: owed.connection,
            revision: owed.desired_revision,
            digest: content.digest(),
        };
        let external_id = self.external_id(owed, generation);
        let body = self.calendar().body(&external_id, &marker, content);
        let frozen = Frozen {
            start: content.start,
            end: content.end,
            body: String::from_utf8(body).expect("adapters write UTF-8"),
        };
        let digest = Some(marker.digest);
        InFlight { verb, revision: owed.desired_revision, digest, body: frozen.to_bytes() }
    }

    /// The name of an event: ours, or that of one which stood before us.
    pub(super) fn external_id(&self, owed: &Owed, generation: i32) -> String {
        match &owed.adopted_id {
            Some(adopted) if generation == 0 => adopted.clone(),
            Some(_) | None => self.calendar().external_id(&owed.uid, generation),
        }
    }

    /// How the event of the row's generation is found; `external_id` is its name.
    pub(super) fn name<'n>(owed: &'n Owed, external_id: &'n str) -> Name<'n> {
        Name { given: external_id, server_id: owed.server_id.as_deref() }
    }

    /// Ends the drain after the calls that are on their way.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The whole lane has to wait, not only this effect.
    pub(super) fn rest(&self, time: Duration) {
        self.rest_afterwards(time);
        self.end();
    }

    /// The lane waits once this drain has ended.
    pub(super) fn rest_afterwards(&self, time: Duration) {
        let mut state = self.state();
        state.rest = state.rest.max(time);
    }

    /// Counts a call that the calendar refused.
    pub(super) fn refusal(&self) {
        self.state().failed += 1;
    }

    /// Counts a call that the calendar gave no usable answer to.
    pub(super) fn trouble(&self) {
        let mut state = self.state();
        state.failed += 1;
        state.troubles += 1;
        let too_many = state.troubles >= TROUBLES_MAX;
        drop(state);
        if too_many {
            self.rest(REST_AFTER_TROUBLE);
        }
    }

    /// Counts a call that was applied.
    pub(super) fn success(&self) {
        let mut state = self.state();
        state.applied += 1;
        state.troubles = 0;
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the limits let a call be made that costs so much.
    pub(super) async fn leave_to_call(&self, price: u32) -> Result<Leave> {
        let Emitter { store, options, surroundings, hands, .. } = self.emitter;
        let kind = self.kind();
        let now = surroundings.clock.elapsed();
        let wait = self.pace().take(now, price);
        let paced = async {
            tokio::time::sleep(wait).await;
            let means = (store.as_ref(), surroundings.clock.as_ref());
            hands.take(kind, options.limits.of(kind).application, price, means).await
        };
        match self.stop.run_until_cancelled(paced).await {
            None => return Ok(Leave::Withheld),
            Some(Err(error)) => return Err(error),
            Some(Ok(None)) => {
                self.withheld(Withheld::Application, BUDGET_REST);
                tracing::warn!(
                    error_code = "budget_used_up",
                    "what the application may ask of this kind of calendar is used up for a while"
                );
                self.rest(BUDGET_REST);
                return Ok(Leave::Withheld);
            }
            Some(Ok(Some(waited))) => {
                self.withheld(Withheld::Connection, wait);
                self.withheld(Withheld::Application, waited);
            }
        }
        Ok(if self.keep_lease().await? { Leave::Granted } else { Leave::Lost })
    }

    /// The same, for a call that can be left to another day.
    pub(super) async fn may_call(&self, price: u32) -> Result<bool> {
        Ok(self.leave_to_call(price).await? == Leave::Granted)
    }

    /// Whether a call may be made now. A lease that is lost ends the drain.
    async fn keep_lease(&self) -> std::result::Result<bool, StoreError> {
        let held = self.hold.keep(self.emitter).await?;
        if held == Held::Lost {
            self.emitter.notice(Notice::Fenced(Guarded::Lease));
            self.end();
        }
        Ok(held == Held::Enough)
    }
}
