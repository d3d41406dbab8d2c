//! Kafka and the rest of it together, as `run` does: the topic, the consumer group, the pipeline
//! and the lanes, built from settings by the command's own code.

use std::collections::BTreeMap;
use std::sync::Arc;

use booking::Verb;
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::cli::work::{Shared, work};
use calendar_sync::consumer::Status;
use calendar_sync::store::Resume;
use rdkafka::producer::FutureRecord;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::host::Trouble;
use super::story::{Story, hour, provider};
use super::world::{PATIENCE, Parts, World, settings, until};
use crate::broker::Broker;

const PARTITIONS: i32 = 3;

/// A topic on a broker.
struct Topic {
    broker: Broker,
    name: String,
}

/// `run`, in this process.
struct Running {
    stop: CancellationToken,
    status: Arc<Status>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Running {
    /// How many partitions it has.
    fn owns(&self) -> usize {
        self.status.snapshot().partitions.len()
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        let ended = ended.expect("it ends").expect("it ran").expect("it did not panic");
        ended.expect("it did its work");
    }
}

impl Topic {
    /// A new topic. `None`: there is no Apache Kafka, and that has been written down.
    async fn on(world: &World) -> Option<Self> {
        let broker = Broker::of(world)?;
        let name = format!("bookings-{}", world.surroundings.dice.token().simple());
        broker.create(std::slice::from_ref(&name), PARTITIONS).await;
        Some(Self { broker, name })
    }

    async fn end(self) {
        self.broker.end(&[self.name]).await;
    }

    /// Publishes, each record acknowledged.
    async fn publish(&self, events: impl IntoIterator<Item = OutgoingEvent>) {
        for event in events {
            self.send(event.booking.as_str(), &encode(&event)).await;
        }
    }

    async fn send(&self, key: &str, payload: &[u8]) {
        let record = FutureRecord::to(&self.name).key(key).payload(payload);
        self.broker.producer.send(record, PATIENCE).await.expect("the broker takes a record");
    }

    /// `run`, with settings that lose no time.
    async fn run(&self, world: &World) -> Running {
        let mut keys = BTreeMap::from(
            [
                ("emit.lease_s", "10"),
                ("emit.call_timeout_s", "4"),
                ("emit.connect_timeout_s", "2"),
                ("emit.idle_ms", "20"),
                ("emit.backoff_min_ms", "10"),
                ("emit.backoff_max_s", "1"),
                ("ingest.linger_ms", "5"),
                ("kafka.properties.heartbeat.interval.ms", "\"500\""),
                ("kafka.properties.topic.metadata.refresh.interval.ms", "\"500\""),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        // There, every rebalance but the first takes as long as this.
        let session = if world.parts == Parts::Embedded { "6000" } else { "45000" };
        keys.insert("kafka.session_timeout_ms".to_owned(), session.to_owned());
        for (key, value) in [("brokers", &self.broker.bootstrap), ("topic", &self.name)] {
            keys.insert(format!("kafka.{key}"), format!("\"{value}\""));
        }
        keys.insert("kafka.group".to_owned(), format!("\"group-of-{}\"", self.name));
        let settings = settings(&keys);
        let (store, surroundings) = (Arc::clone(&world.store), world.surroundings.clone());
        let opened = store.open(Some(world.installation), world.installation).await;
        let installation = opened.expect("the database is this installation's");
        let (stop, status) = (CancellationToken::new(), Arc::new(Status::default()));
        let (until_stop, status_of) = (stop.clone(), Arc::clone(&status));
        let shared = Shared { status: status_of, ..Shared::new(&surroundings) };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            work(&settings, store, &installation, &surroundings, shared, until_stop).await
        });
        Running { stop, status, tasks }
    }

    /// How many records are read, by the cursors.
    async fn read(&self, world: &World) -> i64 {
        let cursors = world.store.cursors().await.expect("the store answers");
        cursors.iter().filter_map(|cursor| cursor.next_offset).sum()
    }
}

/// Waits until all that was published is read, and sent.
async fn caught_up(world: &World, topic: &Topic, records: i64) {
    until(&format!("{records} records are read"), async || topic.read(world).await >= records)
        .await;
    until("nothing is owed", async || world.pending().await == 0).await;
    assert_eq!(topic.read(world).await, records);
}

fn stories(count: u32) -> Vec<Story> {
    (0..count).map(|number| Story::of(&format!("b{number}"), provider(1))).collect()
}

/// From the topic to the calendar, with a poison record and lost answers on the way.
pub(super) async fn what_is_published_is_in_the_calendar_once(world: &mut World) {
    let Some(topic) = Topic::on(world).await else { return };
    let host = world.connect(1).await;
    let mut stories = stories(9);
    topic.publish(stories.iter_mut().map(Story::created)).await;
    topic.send("b0", b"poison").await;
    let lost = world.host.order(3, Trouble::AnswerLost);
    let running = topic.run(world).await;
    caught_up(world, &topic, 10).await;
    assert_eq!(lost.hits(), 3);
    assert_eq!(world.shown(&host).await.len(), 9);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");

    let moved = stories[..6].iter_mut().map(|story| story.moved(14));
    topic.publish(moved.collect::<Vec<_>>()).await;
    topic.publish(stories[6..].iter_mut().map(Story::cancelled).collect::<Vec<_>>()).await;
    caught_up(world, &topic, 19).await;
    assert_eq!(world.starts(&host).await, [hour(14); 6]);
    running.stop().await;
    let verbs = world.host.verbs();
    let count = |verb| verbs.iter().filter(|done| **done == verb).count();
    assert_eq!((count(Verb::Create), count(Verb::Update), count(Verb::Delete)), (9, 6, 3));
    topic.end().await;
}

/// L30: a rebalance repeats POSTs. Here one joins in the midst of it, and the first one leaves.
pub(super) async fn a_rebalance_neither_loses_nor_repeats_anything(world: &mut World) {
    let Some(topic) = Topic::on(world).await else { return };
    let host = world.connect(1).await;
    let mut stories = stories(12);
    topic.publish(stories.iter_mut().map(Story::created)).await;
    let first = topic.run(world).await;
    caught_up(world, &topic, 12).await;

    let second = topic.run(world).await;
    let (early, late) = stories.split_at_mut(6);
    for story in early.iter_mut() {
        topic.publish([story.moved(11)]).await;
        tokio::task::yield_now().await;
    }
    until("they share", async || first.owns() > 0 && second.owns() > 0).await;
    for story in late.iter_mut() {
        topic.publish([story.moved(11)]).await;
    }
    first.stop().await;
    caught_up(world, &topic, 24).await;
    topic.publish(stories.iter_mut().map(|story| story.moved(12))).await;
    caught_up(world, &topic, 36).await;
    second.stop().await;

    assert_eq!(world.starts(&host).await, [hour(12); 12]);
    let verbs = world.host.verbs();
    let count = |verb| verbs.iter().filter(|done| **done == verb).count();
    assert_eq!((count(Verb::Create), count(Verb::Delete)), (12, 0), "{verbs:?}");
    assert_eq!(count(Verb::Update), 24);
    assert!(world.dead_letters().await.is_empty());
    topic.end().await;
}

/// Rule R22: an operator sets the cursors to 0, and the log is read again.
pub(super) async fn a_topic_read_again_from_offset_0_writes_nothing(world: &mut World) {
    let Some(topic) = Topic::on(world).await else { return };
    let host = world.connect(1).await;
    let mut stories = stories(6);
    topic.publish(stories.iter_mut().map(Story::created)).await;
    let running = topic.run(world).await;
    caught_up(world, &topic, 6).await;
    topic.publish(stories[..3].iter_mut().map(|story| story.moved(12)).collect::<Vec<_>>()).await;
    caught_up(world, &topic, 9).await;
    let (writes, starts) = (world.host.attempts().len(), world.starts(&host).await);
    let cursors = world.store.cursors().await.expect("the store answers");
    for cursor in &cursors {
        let set = Resume::Set { at: 0 };
        let resumed = world.store.resume(&topic.name, cursor.fence.partition, set).await;
        assert!(resumed.expect("the store answers"));
    }
    // The owner finds its fence raised, and begins again; a new event tells that it is through.
    topic.publish([stories[0].moved(13)]).await;
    caught_up(world, &topic, 10).await;
    // Kafka's copy of the cursor is ahead, as after a fall-back: what was changed lately is read.
    let later = world.host.attempts().len() - writes;
    assert_eq!(later, 1, "the new event's own write");
    let mut expected = starts;
    let moved = expected.iter().position(|start| *start == hour(12)).expect("it was moved");
    expected[moved] = hour(13);
    expected.sort_unstable();
    assert_eq!(world.starts(&host).await, expected);
    running.stop().await;
    topic.end().await;
}
