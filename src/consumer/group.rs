//! The consumer as a whole: starts the thread, keeps a task for every partition that Kafka has
//! assigned to us, and ends all of it in order.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::asking::KafkaAsking;
use super::broker::{Asking, Bell, COMMANDS_MAX, Command, Ended, Member, Owned, Trailing};
use super::context::{Complaints, GroupContext, Limiter};
use super::fencing::{Waiting, fence_all};
use super::lag;
use super::log_check::Identity;
use super::partition::PartitionTask;
use super::status::{Life, Reach, Status};
use super::thread::{Limits, Reader};
use super::{BatchSink, ConsumerError, ConsumerOptions};
use crate::clock::Surroundings;
use crate::store::Store;

/// What all tasks share.
pub(super) struct Shared {
    pub(super) options: ConsumerOptions,
    pub(super) store: Arc<dyn Store>,
    pub(super) sink: Arc<dyn BatchSink>,
    pub(super) surroundings: Surroundings,
    pub(super) status: Arc<Status>,
    /// No batch is handed over while this is `true`.
    pub(super) hold: watch::Receiver<bool>,
    pub(super) asking: Arc<dyn Asking>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) bell: Arc<Bell>,
    pub(super) owned: watch::Receiver<Owned>,
    pub(super) trailing: Arc<Trailing>,
    /// Who the log last said it is.
    pub(super) identity: watch::Receiver<Option<Identity>>,
    /// Ask it now.
    pub(super) look_again: Notify,
    pub(super) complaints: Complaints,
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// Waits after a failure. `None`: `stop` came first.
    pub(super) async fn pause(&self, attempts: u32, stop: &CancellationToken) -> Option<()> {
        let pause = self.options.pause(attempts, self.surroundings.dice.unit());
        stop.run_until_cancelled(sleep(pause)).await
    }
}

/// An error with what it comes from.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if write!(text, ": {cause}").is_err() {
            break;
        }
        source = cause.source();
    }
    text
}

/// What reading a topic takes.
pub struct Consumer {
    /// What it is told.
    pub options: ConsumerOptions,
    /// Where the cursors are.
    pub store: Arc<dyn Store>,
    /// Who takes the batches.
    pub sink: Arc<dyn BatchSink>,
    /// Time, chance and tasks.
    pub surroundings: Surroundings,
    /// Where it says what it is doing.
    pub status: Arc<Status>,
    /// Pauses the handing over of batches while it is `true`, not the membership.
    pub hold: watch::Receiver<bool>,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Consumer {
    /// Reads the topic as a member of the group until it is stopped, and has left the group when it
    /// returns (or `drain_timeout` and `close_timeout` have passed).
    pub async fn run(self) -> Result<(), ConsumerError> {
        let Self { options, surroundings, .. } = &self;
        options.check()?;
        let complaints = self.complaints();
        let (owned_sender, owned) = watch::channel(Owned::new());
        let trailing = Arc::new(Trailing::default());
        let context = GroupContext {
            topic: options.topic.clone(),
            owned: owned_sender,
            reading: Mutex::default(),
            trailing: Arc::clone(&trailing),
            next_owner: Mutex::default(),
            complaints: complaints.clone(),
        };
        let asking = Arc::new(KafkaAsking::new(options, complaints)?);
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let bell = Arc::new(Bell::default());
        let reader = reader(options, context, Arc::clone(&bell), waiting, surroundings.clone())?;
        let ended = reader.start().map_err(ConsumerError::Thread)?;
        let looking = look_on(
            Arc::clone(&self.status),
            Arc::clone(&asking),
            options.clone(),
            surroundings.clone(),
        );
        let member = Member { owned, commands, trailing, ended, bell };
        tokio::select! {
            biased;
            ended = self.run_as(member, asking) => ended,
            never = looking => match never {},
        }
    }

    /// The same, as this member of a group; questions are answered by somebody who is none.
    pub async fn run_as(
        self,
        member: Member,
        asking: Arc<dyn Asking>,
    ) -> Result<(), ConsumerError> {
        let complaints = self.complaints();
        let Self { options, store, sink, surroundings, status, hold, stop } = self;
        let Member { owned, commands, trailing, ended, bell } = member;
        let (identity_sender, identity) = watch::channel(None);
        let shared = Arc::new(Shared {
            options,
            store,
            sink,
            surroundings,
            status,
            hold,
            asking,
            commands,
            bell,
            owned,
            trailing,
            identity,
            look_again: Notify::new(),
            complaints,
            // A stop of our own too: when the thread fails, the tasks have to end as well.
            stop: stop.child_token(),
        });
        let status = Arc::clone(&shared.status);
        status.change(|snapshot| snapshot.life = Life::Member);
        let mut group = Group { shared, tasks: JoinSet::new(), running: BTreeMap::new(), ended };
        group.spawn(watch_identity(Arc::clone(&group.shared), identity_sender));
        group.spawn(watch_server(Arc::clone(&group.shared)));
        let outcome = group.follow().await;
        let ended = group.end(outcome).await;
        status.change(|snapshot| snapshot.life = Life::Ended);
        ended
    }

    fn complaints(&self) -> Complaints {
        Complaints {
            surroundings: self.surroundings.clone(),
            status: Arc::clone(&self.status),
            limiter: Arc::new(Limiter::new(self.options.log_interval)),
            topic: self.options.topic.clone(),
        }
    }
}

fn reader(
    options: &ConsumerOptions,
    context: GroupContext,
    bell: Arc<Bell>,
    commands: mpsc::Receiver<Command>,
    surroundings: Surroundings,
) -> Result<Reader, ConsumerError> {
    let config = options.kafka.member_config()?;
    let consumer = BaseConsumer::from_config_and_context(&config, context);
    let consumer = consumer.map_err(ConsumerError::client)?;
    consumer
        .subscribe(&[&options.topic])
        .map_err(|source| ConsumerError::Subscribe { topic: options.topic.clone(), source })?;
    let limits = Limits {
        waiting_bytes_max: options.waiting_bytes_max(),
        commit_interval: options.commit_interval,
    };
    Ok(Reader::new(consumer, bell, commands, limits, surroundings))
}

/// A partition's task.
struct Running {
    owner: u64,
    stop: CancellationToken,
}

struct Group {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    running: BTreeMap<i32, Running>,
    ended: oneshot::Receiver<Ended>,
}

/// How following ended.
enum Outcome {
    /// Asked to stop: the thread is still there.
    Stopped,
    /// A task panicked: the thread is still there.
    Panicked(JoinError),
    /// The thread is gone.
    ThreadEnded(Option<Ended>),
}

impl Group {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.shared.surroundings.task(task);
        self.tasks.spawn(task);
    }

    /// Follows Kafka's assignment until something ends it.
    async fn follow(&mut self) -> Outcome {
        let mut owned = self.shared.owned.clone();
        loop {
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return Outcome::Stopped,
                ended = &mut self.ended => return Outcome::ThreadEnded(ended.ok()),
                Ok(()) = owned.changed() => {
                    let now = owned.borrow_and_update().clone();
                    self.reconcile(&now);
                }
                Some(joined) = self.tasks.join_next() => match joined {
                    Err(error) if error.is_panic() => return Outcome::Panicked(error),
                    Ok(()) | Err(_) => {}
                },
            }
        }
    }

    /// Ends the tasks of what is not ours any more, and starts those of what is new.
    fn reconcile(&mut self, owned: &Owned) {
        let status = Arc::clone(&self.shared.status);
        self.running.retain(|partition, running| {
            let is_ours = owned.get(partition) == Some(&running.owner);
            if !is_ours {
                running.stop.cancel();
                status.remove(*partition, running.owner);
            }
            is_ours
        });
        let mut waiting = Vec::new();
        for (&partition, &owner) in owned {
            if self.running.contains_key(&partition) {
                continue;
            }
            let stop = self.shared.stop.child_token();
            let (held, first) = oneshot::channel();
            status.add(partition, owner);
            let shared = Arc::clone(&self.shared);
            let task = PartitionTask { shared, partition, owner, stop: stop.clone() };
            self.spawn(task.run(first));
            self.running.insert(partition, Running { owner, stop: stop.clone() });
            waiting.push(Waiting { partition, stop, held });
        }
        if !waiting.is_empty() {
            self.spawn(fence_all(Arc::clone(&self.shared), waiting));
        }
    }

    /// Waits for what is being taken, commits, leaves the group.
    async fn end(mut self, outcome: Outcome) -> Result<(), ConsumerError> {
        self.shared.stop.cancel();
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.shared.options.drain_timeout, drain).await.is_err() {
            // Cut off in the middle of a commit: the cursor tells later whether it took place.
            tracing::warn!("batches were still being taken when the time to stop had passed");
            self.tasks.shutdown().await;
        }
        for (partition, running) in &self.running {
            self.shared.status.remove(*partition, running.owner);
        }
        match outcome {
            Outcome::Stopped => {
                self.close().await;
                Ok(())
            }
            Outcome::Panicked(error) => {
                self.close().await;
                Err(ConsumerError::Panicked { detail: error.to_string() })
            }
            Outcome::ThreadEnded(Some(Ended::Fatal(error))) => Err(ConsumerError::Fatal(error)),
            Outcome::ThreadEnded(Some(Ended::Closed)) => Ok(()),
            Outcome::ThreadEnded(None) => {
                Err(ConsumerError::Panicked { detail: "the kafka thread".to_owned() })
            }
        }
    }

    async fn close(self) {
        let deadline = self.shared.options.close_timeout;
        let closing = async {
            if self.shared.commands.send(Command::Close).await.is_err() {
                tracing::debug!("the kafka thread is gone already");
            }
            self.shared.bell.ring();
            self.ended.await
        };
        match timeout(deadline, closing).await {
            Ok(Ok(Ended::Closed)) => {}
            Ok(Ok(Ended::Fatal(error))) => {
                tracing::warn!(%error, "the kafka client failed while it was closed");
            }
            Ok(Err(_)) => tracing::error!("the kafka thread panicked while it was closing"),
            Err(_) => tracing::warn!("the group could not be left in time"),
        }
    }
}

/// What is looked at beside the reading, for whoever watches over us.
async fn look_on(
    status: Arc<Status>,
    asking: Arc<KafkaAsking>,
    options: ConsumerOptions,
    surroundings: Surroundings,
) -> Infallible {
    knock(&status, &asking, &options, &surroundings).await;
    lag::watch(status, asking, surroundings).await
}

/// Asks the broker until it answers: who is not let in is not ready. Reading waits for nothing here, and
/// says itself what stands in its way.
async fn knock(
    status: &Status,
    asking: &KafkaAsking,
    options: &ConsumerOptions,
    surroundings: &Surroundings,
) {
    // About the topic, and about the group.
    let answered = async || {
        asking.identity().await?;
        asking.committed(0).await
    };
    for attempts in 0.. {
        match answered().await {
            Err(error) if !error.is_topic_missing() => {
                tracing::debug!(detail = error.detail(), "kafka has not answered yet");
                sleep(options.pause(attempts, surroundings.dice.unit())).await;
            }
            Ok(_) | Err(_) => break,
        }
    }
    status.change(|snapshot| snapshot.reach = Reach::Answered);
}

/// Looks now and then whether the database is the one that it was (rule R18). If not, the partitions
/// find themselves fenced off, and are fenced anew.
async fn watch_server(shared: Arc<Shared>) {
    loop {
        let pause = sleep(shared.options.identity_interval);
        if shared.stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        if let Some(Err(error)) =
            shared.stop.run_until_cancelled(shared.store.notice_server()).await
        {
            shared.complaints.say("the database's identity is not known", &describe(&error));
        }
    }
}

/// Asks who the log is, now and then and whenever reading is in trouble (rule R2).
async fn watch_identity(shared: Arc<Shared>, identity: watch::Sender<Option<Identity>>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = sleep(shared.options.identity_interval) => {}
            () = shared.look_again.notified() => {}
        }
        let Some(answer) = shared.stop.run_until_cancelled(shared.asking.identity()).await else {
            return;
        };
        match answer {
            Ok(found) => {
                shared.status.change(|snapshot| snapshot.topic_missing = false);
                identity.send_replace(Some(found));
            }
            Err(error) => {
                if error.is_topic_missing() {
                    shared.status.change(|snapshot| snapshot.topic_missing = true);
                }
                shared.complaints.say("the log's identity is not known", &error.detail());
            }
        }
        // However much trouble there is.
        if shared.pause(0, &shared.stop).await.is_none() {
            return;
        }
    }
}
