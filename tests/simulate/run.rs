//! One seed, from its beginning to its verdict.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::store::{ConnectionState, Gate};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::afterwards::Afterwards;
use crate::coverage::Counts;
use crate::host;
use crate::life::{Fate, Life};
use crate::operator::Operator;
use crate::oracle;
use crate::panics;
use crate::plan::Plan;
use crate::script::{self, Break, Deed, Strike, Trouble};
use crate::store::ConnectionLook;
use crate::story::Story;
use crate::variant::Variant;
use crate::worker::{self, Worker};
use crate::world::World;

/// So long after the last fault all has to be done, verifications included.
const QUIET_WITHIN: Duration = Duration::from_hours(4);
/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_mins(3);
/// Each calendar is swept so often once nothing else comes: once to find what is otherwise, and once more
/// when that is mended.
const SWEEPS_MIN: usize = 2;
/// How many workers there are at most.
const WORKERS_MAX: usize = 5;

/// How a seed ended.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What was broken on purpose.
    pub variant: Variant,
    /// What was wrong; empty: nothing.
    pub wrongs: Vec<String>,
    /// What happened, line by line, if it was written down.
    pub trace: String,
    /// What happened, and how often.
    pub counts: Counts,
}

/// Lets a seed happen.
pub fn simulate(seed: u64, variant: Variant, is_traced: bool) -> Verdict {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Tokio draws in which order it wakes those who wait for one thing.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime without threads");
    // Within the runtime, so that its clock is the runtime's: outside, tokio tells the machine's hour,
    // and a busy machine would let a seed go another way.
    let within = runtime.enter();
    let world = World::new(Plan::draw(seed), variant, is_traced);
    drop(within);
    let whole = Run::whole(Arc::clone(&world));
    // What is left of the tasks ends with the runtime.
    for panic in panics::noticed(move || runtime.block_on(whole)) {
        world.wrong(panic);
    }
    let (wrongs, trace) = world.verdict();
    Verdict { seed, variant, wrongs, trace, counts: world.counts() }
}

struct Run {
    world: Arc<World>,
    story: Story,
    operator: Operator,
    workers: Vec<Worker>,
    processes: JoinSet<()>,
    gate: Gate,
    born: u64,
}

fn open_gate() -> Gate {
    Gate { enabled: true, providers: Vec::new(), connections: Vec::new() }
}

impl Run {
    async fn whole(world: Arc<World>) {
        let scenes = script::draw(&world.plan);
        world.say(|| format!("{:?}", world.plan));
        world.group.subscribe(world.log.partitions());
        let mut run = Self {
            story: Story::new(&world),
            operator: Operator::begin(&world).await,
            workers: Vec::new(),
            processes: JoinSet::new(),
            gate: open_gate(),
            born: 0,
            world,
        };
        for _ in 0..run.world.plan.workers {
            run.begin_worker();
        }
        for (at, deed) in scenes {
            sleep(at.saturating_sub(run.world.elapsed())).await;
            run.perform(deed).await;
            run.story.publish_waiting(&run.world);
            run.replace_the_dead();
        }
        run.calm_down().await;
        run.until_quiet().await;
        oracle::judge(&run.world, &run.story, &run.operator.destinations);
        if let Some(afterwards) = Afterwards::begin(&run.world) {
            run.until_quiet().await;
            oracle::judge(&run.world, &run.story, &run.operator.destinations);
            afterwards.judge(&run.world).await;
        }
    }

    fn begin_worker(&mut self) {
        self.born += 1;
        let worker = Worker {
            id: self.born,
            life: Arc::new(Life::default()),
            stop: CancellationToken::new(),
            clock: Arc::new(self.world.clock.other()),
            hold: Arc::new(watch::Sender::new(false)),
        };
        self.workers.push(worker.clone());
        self.processes.spawn(worker::run(Arc::clone(&self.world), worker, self.gate.clone()));
    }

    /// A cluster has another one begun for each that has died.
    fn replace_the_dead(&mut self) {
        self.workers.retain(|worker| worker.life.stands() != Some(Fate::Dies));
        while (self.workers.len() as u64) < self.world.plan.workers {
            self.begin_worker();
        }
    }

    fn any_worker(&self) -> Option<Worker> {
        let some = !self.workers.is_empty();
        some.then(|| self.world.chance("script", |dice, _| dice.pick(&self.workers).clone()))
    }

    async fn perform(&mut self, deed: Deed) {
        self.count(deed);
        if deed != Deed::Story && deed != Deed::Attend {
            self.world.say(|| format!("{deed:?}"));
        }
        match deed {
            Deed::Story => self.story.go_on(&self.world),
            Deed::Attend => self.operator.attend(&mut self.story).await,
            Deed::Shuffle => self.world.group.shuffle(),
            Deed::Begin if self.workers.len() < WORKERS_MAX => {
                self.world.count("one worker more");
                self.begin_worker();
            }
            Deed::Begin => {}
            Deed::Strike(strike) => self.strike(strike),
            Deed::Connect => self.operator.connect().await,
            Deed::Disconnect(withdraw) => self.operator.disconnect(withdraw).await,
            Deed::Gates => self.change_gates(),
            Deed::Hand => host::interfere(&self.world),
            Deed::Note => host::note(&self.world),
            Deed::Waver => self.story.waver(&self.world),
            Deed::Account(trouble) => self.trouble_account(trouble),
            Deed::FallBack(is_noticed) => {
                self.world.fall_back(is_noticed);
            }
            Deed::Jump(by) => self.jump(by),
            Deed::StoreAway(away) => self.world.set_store_away(away),
            Deed::BrokerAway(away) => self.world.set_broker_away(away),
            Deed::Hold(is_held) => self.hold(is_held),
            Deed::Log(it) => self.change_log(it),
        }
    }

    fn hold(&self, is_held: bool) {
        for worker in &self.workers {
            worker.hold.send_replace(is_held);
        }
    }

    fn jump(&self, by: i64) {
        let is_workers = self.world.chance("jump", |dice, _| dice.hits(500));
        if let Some(worker) = self.any_worker().filter(|_| is_workers) {
            self.world.count("worker's clock jumped");
            worker.clock.jump(by);
        } else {
            self.world.count("database's clock jumped");
            self.world.store_clock.jump(by);
        }
    }

    fn count(&self, deed: Deed) {
        let what = match deed {
            Deed::Shuffle => "shuffle",
            Deed::StoreAway(true) => "database away",
            Deed::BrokerAway(true) => "broker away",
            Deed::Hold(true) => "held back",
            Deed::Log(Break::SetCommitted) => "committed offset set by hand",
            Deed::Log(Break::AddPartition) => "partition added",
            Deed::Log(Break::Recreate) => "topic made anew",
            Deed::Log(Break::CutBehind) => "log cut behind",
            Deed::Log(Break::CutAhead) => "log cut ahead",
            Deed::Connect => "connected",
            Deed::Gates => "flags changed",
            // Counted where it comes to something, or no fault.
            Deed::Begin
            | Deed::Strike(_)
            | Deed::Disconnect(_)
            | Deed::Account(_)
            | Deed::Story
            | Deed::FallBack(_)
            | Deed::Jump(_)
            | Deed::Hand
            | Deed::Note
            | Deed::Waver
            | Deed::Attend
            | Deed::StoreAway(false)
            | Deed::BrokerAway(false)
            | Deed::Hold(false) => return,
        };
        self.world.count(what);
    }

    fn strike(&mut self, strike: Strike) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        match strike {
            Strike::Evict => {
                self.world.count("evicted");
                self.world.group.expel(worker.id);
            }
            Strike::Kill(polls) => worker.life.doom(polls, Fate::Dies),
            Strike::Freeze(polls, time) => worker.life.doom(polls, Fate::Freezes(time)),
            Strike::Stop => {
                self.world.count("asked to end");
                worker.stop.cancel();
                self.workers.retain(|it| it.id != worker.id);
            }
        }
    }

    fn trouble_account(&self, trouble: Trouble) {
        let Some(number) = self.operator.any_account() else {
            return;
        };
        self.world.count(match trouble {
            Trouble::Gone(_) => "calendar gone",
            Trouble::Refuse(_) => "calendar refuses",
            Trouble::Expire => "credentials expired",
        });
        let now = self.world.elapsed();
        let mut accounts = self.world.accounts();
        let account = &mut accounts.0[number];
        match trouble {
            Trouble::Gone(time) => account.gone_until = now + time,
            Trouble::Refuse(time) => account.refuses_until = now + time,
            Trouble::Expire => account.valid_from = account.issued + 1,
        }
    }

    fn change_log(&self, it: Break) {
        let (world, log) = (&self.world, &self.world.log);
        let count = u64::try_from(log.partitions()).unwrap_or(1);
        let drawn = world.chance("script", |dice, _| dice.below(count));
        let partition = i32::try_from(drawn).unwrap_or_default();
        match it {
            Break::SetCommitted => {
                let high = log.ends(partition).map_or(0, |(_, high)| high);
                let high = u64::try_from(high).unwrap_or_default();
                let at = world.chance("script", |dice, _| dice.between(0, high));
                log.commit(partition, i64::try_from(at).unwrap_or_default());
            }
            Break::AddPartition => {
                log.add_partition();
                world.group.subscribe(log.partitions());
            }
            Break::Recreate => log.recreate(),
            Break::CutAhead => {
                let high = log.ends(partition).map_or(0, |(_, high)| high);
                log.retain_from(partition, high);
            }
            Break::CutBehind => {
                let at = world.store.look(|tables| {
                    let mut cursors = tables.cursors();
                    let cursor = cursors.find(|cursor| cursor.fence.partition == partition);
                    cursor.and_then(|cursor| cursor.next_offset)
                });
                log.retain_from(partition, at.unwrap_or_default());
            }
        }
    }

    /// The workers begin anew, one after the other, with other flags and allowlists.
    fn change_gates(&mut self) {
        let accounts: Vec<_> =
            self.world.accounts().0.iter().map(|it| (it.provider.0, it.connection.0)).collect();
        self.gate = self.world.chance("script", |dice, _| {
            let some = (!accounts.is_empty()).then(|| *dice.pick(&accounts));
            match (dice.below(4), some) {
                (0, _) => Gate { enabled: false, ..open_gate() },
                (1, Some((provider, _))) => Gate { providers: vec![provider], ..open_gate() },
                (2, Some((_, connection))) => Gate { connections: vec![connection], ..open_gate() },
                _ => open_gate(),
            }
        });
        self.world.say(|| format!("{:?}", self.gate));
        self.restart();
    }

    fn restart(&mut self) {
        for worker in std::mem::take(&mut self.workers) {
            worker.life.thaw();
            worker.stop.cancel();
        }
        self.replace_the_dead();
    }

    /// Nothing goes wrong any more: what is broken is mended, and every gate is open.
    async fn calm_down(&mut self) {
        sleep(self.world.plan.span.saturating_sub(self.world.elapsed())).await;
        self.world.calm_down();
        self.hold(false);
        self.world.say(|| "nothing goes wrong any more".to_owned());
        host::tidy_up(&self.world);
        self.story.publish_waiting(&self.world);
        self.replace_the_dead();
        if self.gate != open_gate() {
            self.gate = open_gate();
            self.restart();
        }
    }

    async fn until_quiet(&mut self) {
        let end = self.world.elapsed() + QUIET_WITHIN;
        let mut left = String::new();
        // Since then nothing comes but what sweeps bring about.
        let mut rests_since = None;
        while self.world.elapsed() < end {
            sleep(LOOK).await;
            self.replace_the_dead();
            self.operator.attend(&mut self.story).await;
            self.story.publish_waiting(&self.world);
            let to_do = self.left_to_do();
            if to_do.is_none() && rests_since.is_none() {
                rests_since = Some(self.world.elapsed());
            }
            match to_do.or_else(|| self.left_to_sweep(rests_since?)) {
                None => return,
                Some(what) => left = what,
            }
        }
        self.world.wrong(format!("never quiet: {left}"));
    }

    /// A calendar that was not swept often enough since then, if there is any.
    fn left_to_sweep(&self, since: Duration) -> Option<String> {
        self.world.plan.sweeps.as_ref()?;
        let swept = self.world.swept();
        let accounts = self.world.accounts();
        self.world.store.look(|tables| {
            let mut active = tables.connections().filter(|it| it.state == ConnectionState::Active);
            let is_left = |it: &ConnectionLook<'_>| {
                let account = &accounts.0[accounts.of(it.id)];
                // Where nothing was tried to make, nothing is looked for.
                !account.tried.is_empty()
                    && account.server.is_listed()
                    && swept.since(it.id, since) < SWEEPS_MIN
            };
            active.find(is_left).map(|it| format!("{} is to be swept: {:?}", it.id, it.halted))
        })
    }

    /// Something that is still to be done, if there is anything.
    fn left_to_do(&self) -> Option<String> {
        if !self.world.wire.is_empty() {
            return Some("requests are on their way".to_owned());
        }
        let log = &self.world.log;
        self.world.store.look(|tables| {
            for partition in 0..log.partitions() {
                let (_, high) = log.ends(partition).expect("it is there");
                let mut cursors = tables.cursors();
                let cursor = cursors.find(|cursor| cursor.fence.partition == partition);
                let position = cursor.and_then(calendar_sync::store::Cursor::position);
                if cursor.is_some_and(|cursor| cursor.stop.is_some()) || position != Some(high) {
                    return Some(format!("partition {partition} is at {position:?} of {high}"));
                }
            }
            let gone: Vec<_> = tables
                .connections()
                .filter(|it| it.state == ConnectionState::Removed)
                .map(|it| it.id)
                .collect();
            for (uid, connection, row) in tables.effects() {
                let is_open = row.due() || row.dead || row.verify_at.is_some();
                if is_open && !gone.contains(&connection) {
                    return Some(format!("{uid} on {connection}: {row:?}"));
                }
            }
            let stuck = tables
                .connections()
                .find(|it| !matches!(it.state, ConnectionState::Active | ConnectionState::Removed));
            if let Some(stuck) = stuck {
                return Some(format!("a connection is {:?}", stuck.state));
            }
            tables.open_dead_letters().next().map(|letter| format!("a letter is open: {letter:?}"))
        })
    }
}
