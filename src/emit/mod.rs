//! Sending: every connection with something due gets a lane, held by one worker at a time.
//!
//! Level-triggered: a lane sends what is desired and not yet applied, so a lost wake-up costs a
//! moment, never an event. In reading order: [`decide`] (pure) says what to do about a row,
//! [`outcome`] (pure) what an answer means, [`backoff`] (pure) how long to wait, [`drift`] (pure) what
//! is otherwise in a calendar than we left it, [`limits`] how often a calendar is asked, [`lane`] does
//! it under a lease, [`access`] keeps the calendar open meanwhile, [`meter`] tells of it, and this file
//! keeps the lanes going.

pub mod frozen;

pub mod decide;

pub mod outcome;

pub mod backoff;

pub mod drift;

pub mod lane;

mod hold;

pub mod access;

mod call;

mod written;

mod verify;

mod extra;

pub mod limits;

pub mod meter;

mod sweep;

mod traced;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::ConnectionId;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::drift::Policy;
use self::limits::{Hands, Limits};
pub use self::meter::{Notice, Run, RunMeter};
use crate::calendar::Calendar;
use crate::clock::Surroundings;
use crate::connection::kept::Lifetime;
use crate::store::{ConnectionRow, Gate, LaneLease, Store};
use crate::telemetry::tracer::Tracer;

/// How sending is done.
#[derive(Debug, Clone)]
pub struct EmitOptions {
    /// What the flags and allowlists let through.
    pub gate: Gate,
    /// The most lanes at once in this process.
    pub lanes_max: usize,
    /// The most calls at once on one connection.
    pub lane_concurrency: usize,
    /// The most rows that are stamped before they are sent.
    pub claim_batch: u32,
    /// How long a lane is leased for.
    pub lease: Duration,
    /// The longest call; the client ends it then.
    pub call_timeout: Duration,
    /// How long to wait before looking again when nothing is due.
    pub idle: Duration,
    /// The waits between tries of one effect.
    pub backoff: Backoff,
    /// After so many rejections an effect becomes a dead letter.
    pub rejections_max: i32,
    /// When an open attempt is verified: after the first wait, then after the next, ….
    pub verify_after: Vec<Duration>,
    /// What is done about what is otherwise than we left it.
    pub repair: RepairOptions,
    /// How often calendars are asked.
    pub limits: Limits,
}

/// How calendars are swept (rule R20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairOptions {
    /// What is done about what the host did.
    pub policy: Policy,
    /// How long after a sweep the next one is due; `None`: none ever is.
    pub interval: Option<Duration>,
    /// From so many hundredths of the known events missing on, a sweep halts.
    pub halt_share: u32,
    /// A calendar's listing may be so much behind what was written: what is not listed so soon after it
    /// was acknowledged halts no sweep.
    pub listing_lag: Duration,
}

/// Opens the calendar of a connection.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Unseals its credentials and opens its adapter: nobody is asked for anything.
    async fn open(&self, connection: &ConnectionRow) -> Result<Opened, Unopened>;

    /// Asks for new access, and answers what is to be kept from now on, sealed. Only for the holder of
    /// the connection's lane.
    async fn renew(&self, connection: &ConnectionRow) -> Result<Vec<u8>, Unrenewed> {
        let _: &ConnectionRow = connection;
        Err(Unrenewed::Lasting)
    }

    /// Whether both open by the same credentials, however they are sealed.
    fn is_same(&self, one: &ConnectionRow, other: &ConnectionRow) -> bool {
        one.sealed == other.sealed
    }
}

/// A connection, open.
pub struct Opened {
    /// Its calendar.
    pub calendar: Arc<dyn Calendar>,
    /// How long its access is good; `None`: until it is refused.
    pub lifetime: Option<Lifetime>,
}

impl Opened {
    /// Until it is refused.
    pub fn lasting(calendar: Arc<dyn Calendar>) -> Self {
        Self { calendar, lifetime: None }
    }
}

/// Why a connection cannot be opened. The text is for people, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// It has no access yet: it is to be renewed first.
    Stale,
    /// Its stored credentials are none: it is parked until it is connected again.
    Credentials(String),
    /// This process cannot, and another one may: it has another key. Nothing is wrong with the
    /// connection.
    Process(String),
}

/// Why there is no new access. The text is for people, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrenewed {
    /// Such credentials are good or not, and never renewed.
    Lasting,
    /// They are no good any more: a person has to connect the account again.
    Person(String),
    /// This process, or its settings, is at fault. Nothing is wrong with the connection.
    Process(String),
    /// Not now.
    Later {
        /// How long is asked to be left alone.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
}

/// What came of asking for new access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It was granted.
    Granted,
    /// The grant is no good any more.
    Refused,
    /// We are not taken for who we are.
    Misconfigured,
    /// It is tried again.
    Later,
}

impl Renewal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Granted, Self::Refused, Self::Misconfigured, Self::Later];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Misconfigured => "misconfigured",
            Self::Later => "later",
        }
    }
}

/// Keeps the lanes going.
pub struct Emitter {
    store: Arc<dyn Store>,
    accounts: Arc<dyn Accounts>,
    options: EmitOptions,
    surroundings: Surroundings,
    wake: Arc<Notify>,
    meter: Option<Arc<dyn RunMeter>>,
    hands: Hands,
    tracer: Tracer,
}

impl Emitter {
    /// Joins the parts. `wake` is notified when something became due.
    pub fn new(
        store: Arc<dyn Store>,
        accounts: Arc<dyn Accounts>,
        options: EmitOptions,
        surroundings: Surroundings,
        wake: Arc<Notify>,
    ) -> Self {
        let (hands, tracer) = (Hands::default(), Tracer::default());
        Self { store, accounts, options, surroundings, wake, meter: None, hands, tracer }
    }

    /// The same, telling `meter` of the gate, and of every drain.
    #[must_use]
    pub fn metered(self, meter: Arc<dyn RunMeter>) -> Self {
        meter.gated(&self.options.gate);
        Self { meter: Some(meter), ..self }
    }

    /// The same, telling traces of what is sent.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Sends what is due until stopped; then waits for the calls that are on their way. None is
    /// begun after a stop, so that they end within the call time-out.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.options.lanes_max));
        let mut lanes = JoinSet::new();
        let mut troubles = 0;
        while !stop.is_cancelled() {
            while let Some(ended) = lanes.try_join_next() {
                tell_of_panic(ended);
            }
            let place = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await;
            let Some(Ok(place)) = place else {
                break;
            };
            let before = self.surroundings.clock.elapsed();
            // A database that does not answer must not hold up a stop. A lease that was taken in
            // that moment runs out by itself.
            let Some(leased) = stop.run_until_cancelled(self.lease()).await else {
                break;
            };
            match leased {
                Ok(Some(lease)) => {
                    troubles = 0;
                    let (emitter, stop) = (Arc::clone(&self), stop.clone());
                    lanes.spawn(self.surroundings.task(async move {
                        emitter.drain(lease, before, &stop).await;
                        drop(place);
                    }));
                }
                Ok(None) => {
                    troubles = 0;
                    self.rest(self.options.idle, &stop).await;
                }
                Err(error) => {
                    troubles += 1;
                    tracing::warn!(
                        error_code = "store_unavailable",
                        error = &error as &dyn std::error::Error,
                        "no lane could be leased"
                    );
                    let jitter = self.surroundings.dice.unit();
                    let delay = self.options.backoff.delay(troubles, jitter);
                    self.rest(delay.min(MAX_REST), &stop).await;
                }
            }
        }
        while let Some(ended) = lanes.join_next().await {
            tell_of_panic(ended);
        }
    }

    /// One connection; the search begins at a random place, so that none is favoured.
    async fn lease(&self) -> crate::store::Result<Option<LaneLease>> {
        let from = ConnectionId(self.surroundings.dice.token());
        let token = self.surroundings.dice.token();
        self.store.lease(&self.options.gate, from, token, self.options.lease).await
    }

    async fn rest(&self, time: Duration, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.wake.notified() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

/// A drain that panicked keeps its lease until it runs out; the other lanes go on.
fn tell_of_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(
            error_code = "drain_panicked",
            error = &error as &dyn std::error::Error,
            "a drain panicked: this is a defect of calendar-sync"
        );
    }
}

/// The longest wait between two looks at a database that is away.
const MAX_REST: Duration = Duration::from_secs(5);
