//! What a cluster does to workers, without one: a rolling restart under load, scaling, an eviction, a
//! worker that is frozen and replaced; with the waits that `deploy/` sets. Nothing is lost or doubled, no
//! partition stands still for long, and the lag of a burst is gone within a minute. The figures are
//! printed.
//!
//! A partition stands still while there is something to read in it and its cursor does not move: that is
//! more than being owned by nobody, and what hosts would notice.

mod standstill;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::{Clock as _, Dice as _, SystemDice};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::kill::command::{Settings, Worker};
use crate::kill::held;
use crate::kill::history::{History, history};
use crate::kill::proxy::{Proxy, Shared};
use crate::kill::verdict::Verdict;
use crate::kill::world::World;
use crate::process::tail;
use crate::say;
use crate::wait::{PATIENCE, found};
use standstill::Standstill;

const EVENTS: usize = 8_000;
/// So many are published at a time…
const TRICKLE: usize = 10;
/// …and so often, while the workers come and go. What is left then comes at once.
const TRICKLE_INTERVAL: Duration = Duration::from_millis(200);
/// The longest that a partition may stand still.
const STANDSTILL_MAX: Duration = Duration::from_secs(15);
/// The longest that the lag of the burst may last.
const LAG_MAX: Duration = Duration::from_mins(1);
/// The longest that the calendars may take over all of it.
const QUIET_MAX: Duration = Duration::from_mins(6);
/// How long each state is looked at before the next one.
const LOOK: Duration = Duration::from_secs(5);

/// The variables of `deploy/`'s settings that decide how workers come and go.
const OF_DEPLOY: [&str; 3] =
    ["KAFKA_SESSION_TIMEOUT_MS", "KAFKA_PROPERTIES_HEARTBEAT_INTERVAL_MS", "SHUTDOWN_DEADLINE_S"];

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base").join(file);
    std::fs::read_to_string(path).expect("a file of deploy")
}

/// What is set in a cluster, by its name.
pub(crate) fn setting(name: &str) -> String {
    let text = deployed("settings.env");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{name} is not in settings.env")).to_owned()
}

/// How long a pod has to end.
fn grace() -> Duration {
    let text = deployed("deployment.yaml");
    let found =
        text.lines().find_map(|it| it.trim().strip_prefix("terminationGracePeriodSeconds:"));
    let seconds = found.and_then(|it| it.trim().parse().ok());
    Duration::from_secs(seconds.expect("the grace is set in deployment.yaml"))
}

/// The workers, which come and go.
struct Crew<'a> {
    world: &'a World,
    settings: Settings,
    directory: Option<TempDir>,
    proxy: Proxy,
    started: usize,
    running: Vec<Worker>,
    logs: Vec<PathBuf>,
    /// The longest that one took to end.
    ended_in: Duration,
}

impl<'a> Crew<'a> {
    fn new(world: &'a World, directory: TempDir, proxy: Proxy) -> Self {
        let mut settings = world.settings.clone();
        settings.retain(|(name, _)| !OF_DEPLOY.contains(&name.as_str()));
        settings.extend(OF_DEPLOY.map(|name| (name.to_owned(), setting(name))));
        let (running, logs) = (Vec::new(), Vec::new());
        let directory = Some(directory);
        Self {
            world,
            settings,
            directory,
            proxy,
            started: 0,
            running,
            logs,
            ended_in: Duration::ZERO,
        }
    }

    /// Starts one, and waits until it says that it is ready.
    async fn come(&mut self) {
        let name = format!("worker-{}", self.started);
        self.started += 1;
        let directory = self.directory.as_ref().expect("kept until the end").path();
        let worker = Worker::start(&self.settings, name, &self.proxy.url, directory);
        self.logs.push(worker.log.clone());
        let ready = found(PATIENCE, async || is_ready(&worker).await.then_some(())).await;
        assert!(ready.is_some(), "{} is not ready:\n{}", worker.name, tail(&worker.logged()));
        self.running.push(worker);
    }

    /// The oldest one is told to end, and does so within the grace of a pod.
    async fn go(&mut self) {
        let worker = self.running.remove(0);
        let (name, before) = (worker.name.clone(), self.world.clock.elapsed());
        let status = worker.stop_within(grace()).await;
        assert!(status.success(), "{name}: {status}");
        self.ended_in = self.ended_in.max(self.world.clock.elapsed().saturating_sub(before));
    }

    async fn scale(&mut self, count: usize) {
        while self.running.len() < count {
            self.come().await;
        }
        while self.running.len() > count {
            self.go().await;
        }
        tokio::time::sleep(LOOK).await;
    }

    /// One more comes before one goes, as `maxSurge` says.
    async fn restart_all(&mut self) {
        for _ in 0..self.running.len() {
            self.come().await;
            self.go().await;
        }
        tokio::time::sleep(LOOK).await;
    }

    /// Nobody tells the group that it is gone; it comes back, and is not the owner any more.
    async fn freeze(&mut self, standstill: &Standstill) {
        let frozen = self.running.remove(0);
        frozen.signal(Signal::STOP);
        self.come().await;
        tokio::time::sleep(LOOK).await;
        let goes_on = found(STANDSTILL_MAX * 2, async || standstill.is_over().then_some(())).await;
        assert!(goes_on.is_some(), "nobody took over what {} had", frozen.name);
        frozen.signal(Signal::CONT);
        tokio::time::sleep(LOOK).await;
        self.running.insert(0, frozen);
        self.go().await;
        tokio::time::sleep(LOOK).await;
    }
}

impl Drop for Crew<'_> {
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

/// What Kubernetes would ask.
#[expect(clippy::disallowed_methods, reason = "this is a probe")]
async fn is_ready(worker: &Worker) -> bool {
    let log = worker.logged();
    let Some(address) = log.lines().find_map(|line| {
        let rest = line.split_once("address=")?.1;
        rest.split_whitespace().next().map(ToOwned::to_owned)
    }) else {
        return false;
    };
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let asked = client.get(format!("http://{address}/readyz")).send().await;
    asked.is_ok_and(|answer| answer.status().is_success())
}

/// Publishes a few again and again until told to stop; answers how many.
async fn trickle(world: &World, records: &[Value], stop: &CancellationToken) -> usize {
    let mut published = 0;
    while published < records.len() && !stop.is_cancelled() {
        let to = (published + TRICKLE).min(records.len());
        world.publish(&records[published..to]).await;
        published = to;
        tokio::time::sleep(TRICKLE_INTERVAL).await;
    }
    published
}

/// What is done to the workers, and the longest that a partition stood still meanwhile.
async fn acts(crew: &mut Crew<'_>, standstill: &Standstill) {
    let tell = |crew: &mut Crew<'_>, what: &str| {
        let (longest, ended_in) = (standstill.longest(), std::mem::take(&mut crew.ended_in));
        say(&format!(
            "figure: {what:<32} │ stood still for {longest:>5.1?} at most │ ended within {ended_in:>5.1?}"
        ));
        assert!(longest <= STANDSTILL_MAX, "{what}: a partition stood still for {longest:?}");
    };
    crew.scale(3).await;
    tell(crew, "three come");
    crew.restart_all().await;
    tell(crew, "a rolling restart of three");
    crew.scale(1).await;
    crew.scale(4).await;
    crew.scale(2).await;
    tell(crew, "scaled 3 → 1 → 4 → 2");
    // Its successor comes once it has gone.
    crew.go().await;
    crew.come().await;
    tokio::time::sleep(LOOK).await;
    tell(crew, "one is evicted");
    crew.freeze(standstill).await;
    tell(crew, "one is frozen and replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_cluster_does_to_workers_costs_a_moment_and_nothing_else() {
    let test = "what_a_cluster_does_to_workers_costs_a_moment_and_nothing_else";
    let directory = TempDir::new().expect("a directory");
    let Some(world) = World::make(test, directory.path()).await else { return };
    let seed = crate::services::seed().unwrap_or_else(|| SystemDice.token().as_u64_pair().0);
    let History { records, intended, tally: _ } = history(seed, EVENTS, &world.providers);
    let waits = OF_DEPLOY.map(|name| format!("{name}={}", setting(name))).join(" ");
    say(&format!("{test}: TEST_SEED={seed} in {}; {waits}, grace {:?}", world.topic, grace()));
    let shared = Arc::new(Shared::default());
    let proxy = Proxy::start(0, &world.radicale.url, &shared).await;
    let mut crew = Crew::new(&world, directory, proxy);
    let standstill = Standstill::watch(&world);
    let stop = CancellationToken::new();
    let (published, ()) = tokio::join!(trickle(&world, &records, &stop), async {
        acts(&mut crew, &standstill).await;
        stop.cancel();
    });
    assert!(published < EVENTS, "there was load until the end");
    world.publish(&records[published..]).await;
    let before = world.clock.elapsed();
    let read = found(LAG_MAX, async || (standstill.lag() == 0).then_some(())).await;
    let took = world.clock.elapsed().saturating_sub(before);
    assert!(read.is_some(), "after {took:?} {} records are not read", standstill.lag());
    say(&format!("figure: {} records at once: lag zero in {took:.1?}", EVENTS - published));
    quiet(&world).await;
    crew.scale(0).await;
    standstill.end().await;
    let mut verdict = Verdict::default();
    verdict.on_content(&intended, &held::all(&world).await);
    verdict.on_order(&shared.exchanges());
    verdict.out_of_order += world.google.calls().out_of_order();
    say(&format!("figure: {EVENTS} events of {} bookings; {verdict:?}", intended.len()));
    assert!(verdict.is_clean(), "{verdict:#?}\nTEST_SEED={seed}; the database is {}", world.topic);
    drop(crew);
    world.clear().await;
}

/// Returns once every calendar has what it should.
async fn quiet(world: &World) {
    const LEFT: &str = "
        SELECT (SELECT count(*) FROM effects WHERE due OR dead),
               (SELECT count(*) FROM effects WHERE verify_at IS NOT NULL),
               (SELECT count(*) FROM dead_letters)";
    let mut left = (0_i64, 0_i64, 0_i64);
    let nothing = found(QUIET_MAX, async || {
        left = sqlx::query_as(LEFT).fetch_one(&world.pool).await.expect("three numbers");
        (left == (0, 0, 0)).then_some(())
    });
    assert!(nothing.await.is_some(), "due or dead, to be verified, dead letters: {left:?}");
}
