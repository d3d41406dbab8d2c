//! A worker: the service's own consumer, pipeline and lanes, joined as its command joins them (but that
//! the script holds reading back, not a backlog), in a process that can be ended and frozen at any step.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::Surroundings;
use calendar_sync::consumer::{Consumer, ConsumerOptions, KafkaOptions, Status};
use calendar_sync::emit::backoff::Backoff;
use calendar_sync::emit::drift::Policy;
use calendar_sync::emit::limits::Limits;
use calendar_sync::emit::{EmitOptions, Emitter, RepairOptions};
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::{Gate, Store};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::accounts::SimAccounts;
use crate::clock::SimClock;
use crate::database::Database;
use crate::dice::{Chance, SeededDice};
use crate::life::{Fate, Life, Process};
use crate::log::TOPIC;
use crate::member::{self, SimAsking};
use crate::plan::VERIFY_AFTER;
use crate::story;
use crate::sweeps::Told;
use crate::world::World;

/// A member that was not heard of for so long has lost what it read.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// After so many refusals an effect is a dead letter.
const REJECTIONS_MAX: i32 = 3;

/// Longer than any listing of the calendars is behind.
const LISTING_LAG: Duration = Duration::from_secs(15);

/// A process, and how to reach it.
#[derive(Clone)]
pub(crate) struct Worker {
    /// Its number: no two have the same.
    pub(crate) id: u64,
    /// Its life.
    pub(crate) life: Arc<Life>,
    /// Asks it to end.
    pub(crate) stop: CancellationToken,
    /// Its machine's.
    pub(crate) clock: Arc<SimClock>,
    /// Whether reading is held back.
    pub(crate) hold: Arc<watch::Sender<bool>>,
}

/// Runs a process until it ends, one way or the other.
pub(crate) async fn run(world: Arc<World>, worker: Worker, gate: Gate) {
    let (id, life) = (worker.id, Arc::clone(&worker.life));
    world.say(|| format!("worker {id} begins"));
    let process = Process(Arc::clone(&life));
    let mut process = calendar_sync::clock::Tasks::seen(
        &process,
        Box::pin(work(Arc::clone(&world), worker, gate)),
    );
    loop {
        tokio::select! {
            biased;
            () = life.struck.notified() => {}
            () = &mut process => {
                world.say(|| format!("worker {id} has ended"));
                return;
            }
        }
        match life.stands() {
            Some(Fate::Dies) => break,
            Some(Fate::Freezes(frozen_for)) => {
                world.count("frozen at a poll");
                world.say(|| format!("worker {id} freezes for {frozen_for:?}"));
                if frozen_for < SESSION_TIMEOUT {
                    sleep(frozen_for).await;
                } else {
                    sleep(SESSION_TIMEOUT).await;
                    world.group.expel(id);
                    sleep(frozen_for.saturating_sub(SESSION_TIMEOUT)).await;
                }
                world.say(|| format!("worker {id} thaws"));
                life.thaw();
            }
            None => {}
        }
    }
    world.count("ended at a poll");
    world.say(|| format!("worker {id} dies"));
    drop(process);
    sleep(SESSION_TIMEOUT).await;
    world.group.expel(id);
}

async fn work(world: Arc<World>, worker: Worker, gate: Gate) {
    let Worker { id, life, stop, clock, hold } = worker;
    let surroundings = Surroundings {
        clock: clock as _,
        dice: Arc::new(SeededDice::new(Chance::of(world.plan.seed, &format!("worker {id}")))),
        tasks: Arc::new(Process(life)),
    };
    let store: Arc<dyn Store> =
        Arc::new(Database { world: Arc::clone(&world), gate: gate.clone() });
    let wake = Arc::new(Notify::new());
    let pipeline = Pipeline::new(
        Arc::clone(&store),
        Arc::new(NoRegistry),
        story::rules(),
        surroundings.clone(),
    );
    let pipeline = Arc::new(pipeline.waking(Arc::clone(&wake)));
    let options = emit_options(&world, gate);
    let accounts = Arc::new(SimAccounts(Arc::clone(&world)));
    let emitter = Emitter::new(Arc::clone(&store), accounts, options, surroundings.clone(), wake);
    let emitter = Arc::new(emitter.metered(Arc::new(Told(Arc::clone(&world)))));
    let (member, membership, ended) = member::join(&world, id);
    let asking = Arc::new(SimAsking(Arc::clone(&world)));
    let consumer = Consumer {
        options: consumer_options(&world),
        store,
        sink: pipeline,
        surroundings,
        status: Arc::new(Status::default()),
        hold: hold.subscribe(),
        stop: stop.clone(),
    };
    let reading = consumer.run_as(member, asking);
    let (read, (), ()) = tokio::join!(reading, emitter.run(stop), membership.live(ended));
    if let Err(error) = read {
        world.wrong(format!("reading ended: {error}"));
    }
}

fn emit_options(world: &World, gate: Gate) -> EmitOptions {
    let plan = &world.plan;
    EmitOptions {
        gate,
        lanes_max: 4,
        lane_concurrency: plan.lane_concurrency,
        claim_batch: plan.claim_batch,
        lease: plan.lease,
        call_timeout: plan.call_timeout,
        idle: Duration::from_secs(20),
        backoff: Backoff { delay_min: Duration::from_secs(2), delay_max: Duration::from_mins(2) },
        rejections_max: REJECTIONS_MAX,
        verify_after: VERIFY_AFTER.to_vec(),
        limits: Limits::default(),
        repair: match &plan.sweeps {
            None => RepairOptions {
                policy: Policy::Report,
                interval: None,
                halt_share: 20,
                listing_lag: LISTING_LAG,
            },
            Some(sweeps) => RepairOptions {
                policy: sweeps.policy,
                interval: Some(sweeps.interval),
                halt_share: sweeps.halt_share,
                listing_lag: LISTING_LAG,
            },
        },
    }
}

fn consumer_options(world: &World) -> ConsumerOptions {
    ConsumerOptions {
        batch_max: world.plan.batch_max,
        note_interval: Duration::from_secs(40),
        identity_interval: Duration::from_mins(1),
        stop_poll: Duration::from_secs(30),
        ..ConsumerOptions::new(KafkaOptions::new("simulated", "calendar-sync"), TOPIC)
    }
}
