//! Time, chance and tasks, as arguments: everything that needs the hour or a random number, or
//! begins something beside itself, is given the means by one of these, so that tests can move the
//! clock, seed the dice, and end a worker between any two of its steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use rand::RngExt as _;
use uuid::Uuid;

/// The hour, and a stopwatch.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: for what people read, and for comparing with other machines' stamps.
    fn now(&self) -> DateTime<Utc>;
    /// Time since this clock was made, on a clock that also counts while the machine is suspended
    /// (rule R10): leases and time-outs are measured with it.
    fn elapsed(&self) -> Duration;
}

/// Random numbers: lease tokens, jitter.
pub trait Dice: Send + Sync + 'static {
    /// A new random name.
    fn token(&self) -> Uuid;
    /// A number from 0 up to, not including, 1.
    fn unit(&self) -> f64;
}

/// Sees every task that a worker begins beside itself, before it runs.
pub trait Tasks: Send + Sync + 'static {
    /// The task as it is to be run.
    fn seen(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()>;
}

/// All of them, shared.
#[derive(Clone)]
pub struct Surroundings {
    /// The hour.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub dice: Arc<dyn Dice>,
    /// Who sees the tasks.
    pub tasks: Arc<dyn Tasks>,
}

impl Surroundings {
    /// The machine's own clock and randomness; tasks run as they are.
    pub fn real() -> Self {
        Self::new(Arc::new(SystemClock::start()), Arc::new(SystemDice))
    }

    /// This clock and these dice; tasks run as they are.
    pub fn new(clock: Arc<dyn Clock>, dice: Arc<dyn Dice>) -> Self {
        Self { clock, dice, tasks: Arc::new(AsTheyAre) }
    }

    /// A task, for whoever spawns it.
    pub fn task(&self, task: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
        self.tasks.seen(Box::pin(task))
    }
}

/// Nobody sees the tasks.
struct AsTheyAre;

impl Tasks for AsTheyAre {
    fn seen(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        task
    }
}

/// The machine's clock.
pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    /// Starts the stopwatch.
    pub fn start() -> Self {
        Self { started: boot_time() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn elapsed(&self) -> Duration {
        boot_time().saturating_sub(self.started)
    }
}

/// `CLOCK_BOOTTIME` on Linux counts suspension; elsewhere the monotonic clock has to do.
#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    use std::sync::LazyLock;
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

#[cfg(target_os = "linux")]
const _: fn(Instant) = drop;

/// The machine's randomness.
pub struct SystemDice;

impl Dice for SystemDice {
    fn token(&self) -> Uuid {
        uuid::Builder::from_random_bytes(rand::rng().random()).into_uuid()
    }

    fn unit(&self) -> f64 {
        rand::rng().random()
    }
}
