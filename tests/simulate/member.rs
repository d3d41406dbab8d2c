//! A member of the group, as librdkafka would be one: it answers the coordinator, moves records to
//! the partitions' tasks, and commits Kafka's copy of the cursors. And the one who answers questions
//! about the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::consumer::broker::{
    AskError, Asking, Bell, COMMANDS_MAX, Command, Ended, Fetched, Gauge, Member, Owned, Read,
    Trailing,
};
use calendar_sync::consumer::log_check::Identity;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::group::Told;
use crate::log::Fetch;
use crate::world::World;

/// How long a member with nothing else to do waits before it commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a member that was expelled takes to join again.
const REJOIN_DELAY: Duration = Duration::from_secs(3);

/// A partition that is read.
struct Lane {
    owner: u64,
    next: i64,
    records: mpsc::Sender<Fetched>,
    gauge: Arc<Gauge>,
}

/// A member while it lives.
pub(crate) struct Membership {
    world: Arc<World>,
    id: u64,
    told: UnboundedReceiver<Told>,
    owned: watch::Sender<Owned>,
    commands: mpsc::Receiver<Command>,
    trailing: Arc<Trailing>,
    lanes: BTreeMap<i32, Lane>,
    ownerships: u64,
}

/// Joins the group: the member as the service sees it, and what makes it live.
pub(crate) fn join(world: &Arc<World>, id: u64) -> (Member, Membership, oneshot::Sender<Ended>) {
    let (owned_sender, owned) = watch::channel(Owned::new());
    let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
    let (ended_sender, ended) = oneshot::channel();
    let trailing = Arc::new(Trailing::default());
    let membership = Membership {
        world: Arc::clone(world),
        id,
        told: world.group.join(id),
        owned: owned_sender,
        commands: waiting,
        trailing: Arc::clone(&trailing),
        lanes: BTreeMap::new(),
        ownerships: 0,
    };
    let member = Member { owned, commands, trailing, ended, bell: Arc::new(Bell::default()) };
    (member, membership, ended_sender)
}

impl Membership {
    /// Lives until it is asked to leave.
    pub(crate) async fn live(mut self, ended: oneshot::Sender<Ended>) {
        let mut changes = self.world.log.changes();
        loop {
            let is_starved = self.move_records();
            tokio::select! {
                biased;
                told = self.told.recv() => match told {
                    Some(told) => self.obey(told).await,
                    None => self.rejoin().await,
                },
                command = self.commands.recv() => match command {
                    Some(Command::Read(read)) => self.read(read),
                    Some(Command::Close) | None => break,
                },
                _ = changes.changed() => {}
                () = sleep(if is_starved { Duration::from_millis(50) } else { COMMIT_INTERVAL }) => {
                    self.commit(|_| true);
                }
            }
        }
        self.commit(|_| true);
        self.world.group.expel(self.id);
        drop(ended.send(Ended::Closed));
    }

    async fn obey(&mut self, told: Told) {
        match told {
            Told::Assigned(partitions) => {
                self.owned.send_modify(|owned| {
                    for partition in partitions {
                        self.ownerships += 1;
                        owned.insert(partition, self.ownerships);
                    }
                });
            }
            Told::Revoked(partitions) => {
                self.commit(|partition| partitions.contains(&partition));
                self.let_go(&partitions);
                self.world.group.released(self.id, &partitions);
            }
            Told::Expelled => self.rejoin().await,
        }
    }

    /// Everything is lost: others read it already.
    async fn rejoin(&mut self) {
        let all: Vec<i32> = self.owned.borrow().keys().copied().collect();
        self.let_go(&all);
        sleep(REJOIN_DELAY).await;
        self.told = self.world.group.join(self.id);
    }

    fn let_go(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.lanes.remove(partition);
            self.trailing.forget(*partition);
        }
        self.owned
            .send_modify(|owned| owned.retain(|partition, _| !partitions.contains(partition)));
    }

    fn read(&mut self, read: Read) {
        let Read { partition, owner, offset, records, gauge } = read;
        if self.owned.borrow().get(&partition) == Some(&owner) {
            self.lanes.insert(partition, Lane { owner, next: offset, records, gauge });
        }
    }

    fn commit(&self, of: impl Fn(i32) -> bool) {
        let due = self.trailing.take(of);
        if due.is_empty() {
            return;
        }
        if self.world.is_broker_away() {
            self.trailing.give_back(&due);
            return;
        }
        for (partition, offset) in due {
            self.world.log.commit(partition, offset);
        }
    }

    /// Moves what there is to those that have room. Whether some had none.
    fn move_records(&mut self) -> bool {
        if self.world.is_broker_away() {
            return true;
        }
        let owned = self.owned.borrow().clone();
        let mut is_starved = false;
        self.lanes.retain(|partition, lane| {
            if lane.records.is_closed() || owned.get(partition) != Some(&lane.owner) {
                return false;
            }
            is_starved |= lane.move_records(&self.world, *partition);
            true
        });
        is_starved
    }
}

impl Lane {
    fn move_records(&mut self, world: &World, partition: i32) -> bool {
        if let Some((_, high)) = world.log.ends(partition) {
            self.gauge.log_end.store(high, Ordering::Relaxed);
        }
        while self.records.capacity() > 0 {
            let fetched = match world.log.fetch(partition, self.next) {
                Fetch::End => return false,
                Fetch::Record(record) => {
                    self.gauge.bytes.fetch_add(record.size(), Ordering::AcqRel);
                    self.next += 1;
                    Fetched::Record(record)
                }
                Fetch::Passed => {
                    self.next += 1;
                    Fetched::Passed(self.next)
                }
                Fetch::OutOfRange => {
                    let text = "the offset is not in the log".to_owned();
                    let trouble = Fetched::Trouble(RDKafkaErrorCode::OffsetOutOfRange, text);
                    drop(self.records.try_send(trouble));
                    return true;
                }
            };
            if self.records.try_send(fetched).is_err() {
                return true;
            }
            // A broker may deliver a record once more.
            if let Some((low, _)) = world.log.ends(partition)
                && world.chance("log", |dice, rates| dice.hits(rates.delivered_twice))
            {
                world.count("delivered twice");
                self.next = (self.next - 2).max(low);
            }
        }
        true
    }
}

/// Answers questions about the log.
pub(crate) struct SimAsking(pub(crate) Arc<World>);

impl SimAsking {
    async fn answer<T>(&self, what: &'static str, answer: Option<T>) -> Result<T, AskError> {
        let (delay, fails) = self.0.chance("log", |dice, rates| {
            (dice.time(Duration::from_millis(20)), dice.hits(rates.broker_fails))
        });
        sleep(delay).await;
        match answer {
            Some(answer) if !fails && !self.0.is_broker_away() => Ok(answer),
            Some(_) | None => {
                self.0.count("no answer from the broker");
                Err(AskError::GivenUp { what })
            }
        }
    }
}

#[async_trait]
impl Asking for SimAsking {
    async fn identity(&self) -> Result<Identity, AskError> {
        self.answer("the topic's id", Some(self.0.log.identity())).await
    }

    async fn watermarks(&self, partition: i32) -> Result<(i64, i64), AskError> {
        self.answer("the ends of a partition's log", self.0.log.ends(partition)).await
    }

    async fn committed(&self, partition: i32) -> Result<Option<i64>, AskError> {
        self.answer("the committed offset", Some(self.0.log.committed(partition))).await
    }

    async fn partition_count(&self) -> Result<i32, AskError> {
        self.answer("the topic's partitions", Some(self.0.log.partitions())).await
    }
}
