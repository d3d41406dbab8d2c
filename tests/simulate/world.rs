//! The world of one seed: everything that is not a worker, and what all of it shares.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use calendar_sync::clock::Clock as _;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::clock::SimClock;
use crate::coverage::Counts;
use crate::dice::Chance;
use crate::group::Group;
use crate::log::Topic;
use crate::plan::{Plan, Rates};
use crate::store::{History, ModelStore, Snapshot};
use crate::sweeps::Swept;
use crate::variant::Variant;

/// How many states of the database are kept, to fall back to.
const SNAPSHOTS_MAX: usize = 24;
/// The longest trace, in bytes.
const TRACE_LEN_MAX: usize = 4 * 1024 * 1024;

/// The world.
pub(crate) struct World {
    /// What was drawn at first.
    pub(crate) plan: Plan,
    /// What is broken on purpose.
    pub(crate) variant: Variant,
    /// The right hour.
    pub(crate) clock: Arc<SimClock>,
    /// The database's.
    pub(crate) store_clock: Arc<SimClock>,
    /// The topic.
    pub(crate) log: Topic,
    /// The group.
    pub(crate) group: Group,
    /// The database.
    pub(crate) store: Arc<ModelStore>,
    /// Who has been given what, by the database.
    pub(crate) audit: Mutex<Audit>,
    /// The calendars.
    pub(crate) accounts: Mutex<Accounts>,
    /// What is on its way.
    pub(crate) wire: TaskTracker,
    swept: Mutex<Swept>,
    dice: Mutex<BTreeMap<&'static str, Chance>>,
    calm: AtomicBool,
    store_away: AtomicBool,
    broker_away: AtomicBool,
    requests: AtomicU64,
    /// The database shows another history, and nobody has noticed yet.
    pub(crate) unnoticed: AtomicBool,
    snapshots: Mutex<Vec<Snapshot>>,
    trace: Option<Mutex<String>>,
    wrongs: Mutex<Vec<String>>,
    counts: Mutex<Counts>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world as the seed has it, with a trace or without.
    pub(crate) fn new(plan: Plan, variant: Variant, is_traced: bool) -> Arc<Self> {
        let clock = Arc::new(SimClock::begin());
        let store_clock = Arc::new(clock.other());
        let store = ModelStore::broken(Arc::clone(&store_clock) as _, variant.store());
        Arc::new(Self {
            log: Topic::new(plan.partitions),
            group: Group::default(),
            store: Arc::new(store),
            audit: Mutex::default(),
            accounts: Mutex::default(),
            wire: TaskTracker::new(),
            swept: Mutex::default(),
            dice: Mutex::default(),
            calm: AtomicBool::new(false),
            store_away: AtomicBool::new(false),
            broker_away: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            unnoticed: AtomicBool::new(false),
            snapshots: Mutex::default(),
            trace: is_traced.then(Mutex::default),
            wrongs: Mutex::default(),
            counts: Mutex::default(),
            plan,
            variant,
            clock,
            store_clock,
        })
    }

    /// Draws from the stream of a use, by the rates that hold now.
    pub(crate) fn chance<T>(
        &self,
        usage: &'static str,
        draw: impl FnOnce(&mut Chance, &Rates) -> T,
    ) -> T {
        let mut dice = lock(&self.dice);
        let stream = dice.entry(usage).or_insert_with(|| Chance::of(self.plan.seed, usage));
        if self.is_calm() {
            draw(stream, &Rates::default())
        } else {
            draw(stream, &self.plan.rates)
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.set_store_away(false);
        self.set_broker_away(false);
    }

    /// Whether nothing goes wrong any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// The database does not answer, or does again.
    pub(crate) fn set_store_away(&self, away: bool) {
        self.store_away.store(away, Ordering::Relaxed);
    }

    /// Whether the database does not answer.
    pub(crate) fn is_store_away(&self) -> bool {
        self.store_away.load(Ordering::Relaxed)
    }

    /// The broker does not answer, or does again.
    pub(crate) fn set_broker_away(&self, away: bool) {
        self.broker_away.store(away, Ordering::Relaxed);
    }

    /// Whether the broker does not answer.
    pub(crate) fn is_broker_away(&self) -> bool {
        self.broker_away.load(Ordering::Relaxed)
    }

    /// The number of the next request to a calendar.
    pub(crate) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The calendars, for a moment.
    pub(crate) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        lock(&self.accounts)
    }

    /// The audit, for a moment.
    pub(crate) fn audit(&self) -> MutexGuard<'_, Audit> {
        lock(&self.audit)
    }

    /// The sweeps, for a moment.
    pub(crate) fn swept(&self) -> MutexGuard<'_, Swept> {
        lock(&self.swept)
    }

    /// Whether a calendar has forgotten a token before its time.
    pub(crate) fn forgets_token(&self) -> bool {
        let forgets = self.plan.sweeps.as_ref().map_or(0, |sweeps| sweeps.forgets);
        !self.is_calm() && self.chance("tokens", |dice, _| dice.hits(forgets))
    }

    /// Keeps the database as it is now, to fall back to.
    pub(crate) fn keep_snapshot(&self) {
        if !self.plan.features.rewinds || self.is_calm() {
            return;
        }
        let mut snapshots = lock(&self.snapshots);
        if snapshots.len() == SNAPSHOTS_MAX {
            // Every other one goes: old ones are few, new ones close together.
            let mut at = 0;
            snapshots.retain(|_| {
                at += 1;
                at % 2 == 0
            });
        }
        snapshots.push(self.store.snapshot());
    }

    /// Nothing that was kept before may be fallen back to: what a person did is not in the log.
    pub(crate) fn forget_snapshots(&self) {
        lock(&self.snapshots).clear();
    }

    /// Lets the database fall back, and forgets what was kept after that state.
    pub(crate) fn fall_back(&self, is_noticed: bool) -> bool {
        let chosen = {
            let mut snapshots = lock(&self.snapshots);
            let count = snapshots.len() as u64;
            if count < 2 {
                return false;
            }
            // The last few commits, or anything.
            let back = self.chance("rewind", |dice, _| {
                if dice.hits(600) {
                    dice.between(1, 4.min(count - 1))
                } else {
                    dice.between(1, count - 1)
                }
            });
            let at = usize::try_from(count - 1 - back).unwrap_or_default();
            snapshots.truncate(at + 1);
            snapshots[at].clone()
        };
        let before = self.positions();
        if !is_noticed {
            self.trail(&before);
        }
        self.store.restore(&chosen, History::Same);
        // Nothing tells of a restore that the server does not show, if not a cursor that is behind. One
        // that stands where its log begins is behind nothing, whether or not it was written down.
        let is_behind = read_from(self.positions()) != read_from(before);
        let is_unnoticed = self.unnoticed.load(Ordering::Relaxed);
        let shows = is_noticed || !is_behind || is_unnoticed;
        if shows {
            self.store.restore(&chosen, History::Another);
            self.unnoticed.store(true, Ordering::Relaxed);
        }
        self.audit().fell_back(&self.store);
        // Which revision an event without our marker had reached, the database alone has known.
        self.accounts().0.iter_mut().for_each(|account| account.reached.clear());
        self.count(if shows {
            "database fell back, another server"
        } else {
            "database fell back, the same server"
        });
        self.say(|| format!("the database falls back (noticed: {is_noticed})"));
        true
    }

    fn positions(&self) -> Vec<(i32, Option<i64>)> {
        self.store.look(|tables| {
            tables.cursors().map(|cursor| (cursor.fence.partition, cursor.position())).collect()
        })
    }

    /// Kafka has its copy of every cursor: a restore takes a person longer than a commit to Kafka.
    fn trail(&self, positions: &[(i32, Option<i64>)]) {
        for (partition, position) in positions {
            if let Some(position) = position {
                self.log.commit(*partition, *position);
            }
        }
    }

    /// Writes a line into the trace, if there is one.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        let Some(trace) = &self.trace else {
            return;
        };
        let mut trace = lock(trace);
        if trace.len() < TRACE_LEN_MAX {
            let at = self.elapsed();
            let written = writeln!(trace, "{:>9.3} {}", at.as_secs_f64(), line());
            debug_assert!(written.is_ok(), "writing to a text does not fail");
        }
    }

    /// Counts what has happened: see [`crate::coverage`].
    pub(crate) fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }

    /// What has happened so far, and how often.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Something that must never be.
    pub(crate) fn wrong(&self, what: String) {
        self.say(|| format!("WRONG: {what}"));
        let mut wrongs = lock(&self.wrongs);
        if wrongs.len() < 20 && !wrongs.contains(&what) {
            wrongs.push(what);
        }
    }

    /// What was found wrong, and the trace.
    pub(crate) fn verdict(&self) -> (Vec<String>, String) {
        let trace = self.trace.as_ref().map(|trace| lock(trace).clone());
        (lock(&self.wrongs).clone(), trace.unwrap_or_default())
    }
}

/// The partitions of which something was read, and how far.
fn read_from(positions: Vec<(i32, Option<i64>)>) -> Vec<(i32, Option<i64>)> {
    positions.into_iter().filter(|(_, at)| at.is_some_and(|at| at > 0)).collect()
}
