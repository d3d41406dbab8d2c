//! The promise under SIGKILL, on the real parts: Apache Kafka, PostgreSQL, Radicale and Google's
//! API, two workers, and ten kills in the worst moments while the events flow.
//!
//! A worker is killed either while a call of its is *unanswered* (its proxy has the answer of a
//! call that was applied, or has not forwarded the call at all) or inside an *open transaction*
//! (it waits for a row that a session of the test has locked). What each kill met is reported.
//! In the end every calendar is read and compared, field by field, with what the history meant.
//!
//! `TEST_SEED` brings a history back.

pub(crate) mod command;

pub(crate) mod held;

pub(crate) mod history;

pub(crate) mod proxy;

mod transaction;

pub(crate) mod verdict;

pub(crate) mod world;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::{Clock as _, Dice as _, SystemDice};
use calendar_sync::emulator::Effect;
use serde_json::Value;
use tempfile::TempDir;

use command::Worker;
use history::History;
use proxy::{Kind, Moment, Proxy, Shared, Wanted};
use transaction::Table;
use verdict::{Traffic, Verdict};
use world::World;

use crate::process::tail;
use crate::say;
use crate::wait::found;

const EVENTS: usize = 5_000;
/// A kill comes after so many more events; the last ones come after the last kill.
const EVENTS_BETWEEN_KILLS: usize = 450;
/// So many are published at a time…
const TRICKLE: usize = 15;
/// …and so often…
const TRICKLE_INTERVAL: Duration = Duration::from_millis(100);
/// …while fewer than so many effects are owed: else most of what happens to a booking would be
/// one call in the end.
const OWED_MAX: i64 = 400;
/// How often, where a kill waits for its moment and all its events are published.
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that so many events take, whatever the machine is busy with.
const SLICE_MAX: Duration = Duration::from_mins(4);
/// The longest that a moment to kill in is waited for.
const MOMENT_MAX: Duration = Duration::from_mins(2);
/// The longest that the end of all work is waited for.
const QUIET_MAX: Duration = Duration::from_mins(4);
/// How often the database is asked whether all work is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// In what a worker is killed. Whichever worker it happens to first is the one.
#[derive(Debug, Clone, Copy)]
enum Amid {
    Call(Wanted),
    Transaction(Table),
}

const KILLS: [Amid; 10] = [
    call(Kind::Google, Moment::Applied),
    Amid::Transaction(Table::Cursors),
    call(Kind::Caldav, Moment::Applied),
    Amid::Transaction(Table::ExternalEvents),
    call(Kind::Google, Moment::NotForwarded),
    Amid::Transaction(Table::Bookings),
    call(Kind::Caldav, Moment::NotForwarded),
    Amid::Transaction(Table::Effects),
    Amid::Call(Wanted { kind: Kind::Google, delete: true, moment: Moment::Applied }),
    Amid::Transaction(Table::Providers),
];

const fn call(kind: Kind, moment: Moment) -> Amid {
    Amid::Call(Wanted { kind, delete: false, moment })
}

/// The history, as far as it has been published.
struct Flow {
    records: Vec<Value>,
    published: usize,
}

impl Flow {
    /// Publishes a few again and again, at the pace of the calendars, until `limit` are.
    async fn up_to(&mut self, world: &World, limit: usize) {
        while self.published < limit {
            if world.owed().await < OWED_MAX {
                let from = self.published;
                self.published = (from + TRICKLE).min(limit);
                world.publish(&self.records[from..self.published]).await;
            }
            tokio::time::sleep(TRICKLE_INTERVAL).await;
        }
    }

    /// The same, and then slowly on, so that there is always something to be killed in.
    async fn for_ever(&mut self, world: &World, limit: usize) -> Infallible {
        self.up_to(world, limit).await;
        loop {
            tokio::time::sleep(SLOW_INTERVAL).await;
            self.up_to(world, (self.published + TRICKLE).min(EVENTS)).await;
        }
    }

    /// Publishes until `limit` are, and not for ever.
    async fn at_least(&mut self, world: &World, limit: usize) {
        let published = tokio::time::timeout(SLICE_MAX, self.up_to(world, limit)).await;
        assert!(published.is_ok(), "after {} events the calendars stand still", self.published);
    }
}

/// Two workers, each behind a proxy of its own, and their logs.
struct Workers {
    directory: Option<TempDir>,
    shared: Arc<Shared>,
    proxies: [Proxy; 2],
    running: Vec<Worker>,
    logs: Vec<PathBuf>,
}

impl Workers {
    async fn start_two(world: &World, directory: TempDir) -> Self {
        let (shared, dav) = (Arc::new(Shared::default()), &world.radicale.url);
        let proxies = [Proxy::start(0, dav, &shared).await, Proxy::start(1, dav, &shared).await];
        let (running, logs) = (Vec::new(), Vec::new());
        let mut workers = Self { directory: Some(directory), shared, proxies, running, logs };
        for place in 0..2 {
            let worker = workers.start(world, place, 0);
            workers.running.push(worker);
        }
        workers
    }

    /// Starts one in this place; `generation` tells it from its predecessors.
    fn start(&mut self, world: &World, place: usize, generation: usize) -> Worker {
        let name = format!("{}{generation}", ["worker-a", "worker-b"][place]);
        let directory = self.directory.as_ref().expect("kept until the end").path();
        let worker = Worker::start(&world.settings, name, &self.proxies[place].url, directory);
        self.logs.push(worker.log.clone());
        worker
    }

    /// Waits for the moment, kills, and starts a replacement. Answers what was under way.
    async fn kill(&mut self, world: &World, number: usize, amid: Amid) -> String {
        for worker in &mut self.running {
            worker.assert_alive();
        }
        let (place, what) = match amid {
            Amid::Call(wanted) => self.kill_amid_call(wanted).await,
            Amid::Transaction(table) => self.kill_amid_transaction(world, table).await,
        };
        let replacement = self.start(world, place, number);
        let killed = std::mem::replace(&mut self.running[place], replacement);
        format!("{} {what}", killed.name)
    }

    async fn kill_amid_call(&mut self, wanted: Wanted) -> (usize, String) {
        let caught = loop {
            let caught = self.shared.set_trap(wanted).await.expect("the proxies live");
            // A busy machine may have kept us until the worker gave the call up.
            if caught.is_waited_for() {
                break caught;
            }
        };
        self.running[caught.place].kill().await;
        let exchange = &caught.exchange;
        let path = exchange.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = path.split_once('/').map_or(path, |(_, path)| path);
        let what = match wanted.moment {
            Moment::Applied => "unanswered, applied",
            Moment::NotForwarded => "unanswered, not applied",
        };
        (caught.place, format!("{what}: {:?} {} /{path}", exchange.kind, exchange.method))
    }

    async fn kill_amid_transaction(&mut self, world: &World, table: Table) -> (usize, String) {
        let names: Vec<String> = self.running.iter().map(|worker| worker.name.clone()).collect();
        let open = loop {
            if let Some(open) = transaction::held_open(&world.pool, table, &names).await {
                break open;
            }
            // Others get a turn.
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        let place = names.iter().position(|name| *name == open.name).expect("a worker of ours");
        self.running[place].kill().await;
        let start: String = open.statement.chars().take(60).collect();
        let what = format!("open transaction on {}: {start}…", open.tables.join(", "));
        open.let_go().await;
        (place, what)
    }

    /// How many calls new holders of lanes found in flight.
    fn taken_over(&self) -> usize {
        let logs = self.logs.iter().map(|log| std::fs::read_to_string(log).expect("a log"));
        let rows = |log: String| -> usize {
            let lines = log.lines().filter(|line| line.contains("took over"));
            lines
                .filter_map(|line| {
                    line.split_once("rows=")?.1.split(' ').next()?.parse::<usize>().ok()
                })
                .sum()
        };
        logs.map(rows).sum()
    }
}

impl Drop for Workers {
    /// Where something failed, the logs stay, and their ends are shown.
    fn drop(&mut self) {
        let Some(directory) = self.directory.take().filter(|_| std::thread::panicking()) else {
            return;
        };
        say(&format!("the logs are in {}", directory.keep().display()));
        for log in &self.logs {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            say(&format!("== the end of {}\n{}", log.display(), tail(&text)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_kills_lose_double_and_reorder_nothing() {
    let test = "ten_kills_lose_double_and_reorder_nothing";
    let directory = TempDir::new().expect("a directory");
    let Some(world) = World::make(test, directory.path()).await else { return };
    let seed = crate::services::seed().unwrap_or_else(|| SystemDice.token().as_u64_pair().0);
    let History { records, intended, tally } = history::history(seed, EVENTS, &world.providers);
    say(&format!("{test}: TEST_SEED={seed} in {}\n  {tally:?}", world.topic));
    let mut workers = Workers::start_two(&world, directory).await;
    let mut flow = Flow { records, published: 0 };
    for (number, amid) in (1..).zip(KILLS) {
        flow.at_least(&world, (number - 1) * EVENTS_BETWEEN_KILLS).await;
        let killing = tokio::time::timeout(MOMENT_MAX, workers.kill(&world, number, amid));
        let what = tokio::select! {
            killed = killing => killed.unwrap_or_else(|_| panic!("no moment for {amid:?}")),
            never = flow.for_ever(&world, number * EVENTS_BETWEEN_KILLS) => match never {},
        };
        let (at, published) = (world.clock.elapsed(), flow.published);
        say(&format!("  kill {number:>2} at {at:>5.1?}, after {published:>4} events: {what}"));
    }
    flow.at_least(&world, EVENTS).await;
    quiet(&world).await;
    let taken_over = workers.taken_over();
    for worker in workers.running.drain(..) {
        let (name, status) = (worker.name.clone(), worker.stop().await);
        assert!(status.success(), "{name}: {status}");
    }
    let exchanges = workers.shared.exchanges();
    let verdict = judge(&world, &intended, &exchanges).await;
    let seconds = world.clock.elapsed().as_secs();
    say(&format!(
        "  {EVENTS} events of {} bookings, {} calls, {taken_over} taken over, {} rewritten as they \
         were, {seconds} s{}\n  {verdict:?}",
        intended.len(),
        exchanges.len(),
        verdict::rewritten(&exchanges) + rewritten_in_google(&world),
        Traffic::of(&exchanges),
    ));
    assert!(verdict.is_clean(), "{verdict:#?}\nTEST_SEED={seed}; the database is {}", world.topic);
    world.clear().await;
}

/// Returns once everything that was published is read, sent, answered and verified.
async fn quiet(world: &World) {
    const LEFT: &str = "
        SELECT (SELECT COALESCE(sum(next_offset), 0)::bigint FROM cursors),
               (SELECT count(*) FROM effects WHERE due OR dead),
               (SELECT count(*) FROM effects WHERE verify_at IS NOT NULL)";
    let all = i64::try_from(EVENTS).expect("a small number");
    let mut left = (0_i64, 0_i64, 0_i64);
    let nothing = found(QUIET_MAX, async || {
        left = sqlx::query_as(LEFT).fetch_one(&world.pool).await.expect("three numbers");
        (left == (all, 0, 0)).then_some(())
    });
    assert!(nothing.await.is_some(), "read, due or dead, to be verified: {left:?} of {all}");
}

fn rewritten_in_google(world: &World) -> usize {
    let calls = world.google.calls();
    calls.list.iter().filter(|call| call.effect == Effect::Rewritten).count()
}

async fn judge(
    world: &World,
    intended: &[history::Intended],
    exchanges: &[proxy::Exchange],
) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.on_content(intended, &held::all(world).await);
    verdict.on_order(exchanges);
    let calls = world.google.calls();
    assert_eq!(calls.forgotten, 0, "the emulator remembers every call");
    verdict.out_of_order += calls.out_of_order();
    let dead_letters: i64 = sqlx::query_scalar("SELECT count(*) FROM dead_letters")
        .fetch_one(&world.pool)
        .await
        .expect("a number");
    assert_eq!(dead_letters, 0, "nothing in the history is poison");
    verdict
}
