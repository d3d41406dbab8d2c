//! Holding, stopping, being slow, and a topic that is not there yet.

use std::sync::atomic::Ordering;
use std::time::Duration;

use calendar_sync::consumer::embedded::Cluster;
use calendar_sync::consumer::{ConsumerError, GroupProtocol};
use rdkafka::Offset;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use secrecy::SecretString;

use super::harness::{World, on_both_brokers, until};

on_both_brokers!(while_held_nothing_is_handed_over_and_the_partitions_stay, 2, hold);

async fn hold(world: World) {
    world.publish_all(2, 0..10).await;
    let member = world.join();
    world.read_up_to(2, 10).await;
    member.hold.send(true).unwrap();
    // More than fits between Kafka and the batches.
    world.publish_all(2, 10..200).await;
    until("the log end is known", || {
        (0..2).all(|partition| world.ledger.at(partition).unwrap().log_end == Some(200))
    })
    .await;
    assert_eq!((world.ledger.next(0), world.ledger.next(1)), (Some(10), Some(10)));
    assert_eq!(member.reads(), 2);
    member.hold.send(false).unwrap();
    world.read_up_to(2, 200).await;
    for partition in 0..2 {
        world.taken.assert_numbers(partition, 0..200);
    }
    member.leave().await;
}

on_both_brokers!(the_log_end_is_asked_for_and_noted_although_nothing_comes, 1, idle);

async fn idle(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    let noted = || world.ledger.log_ends.load(Ordering::SeqCst);
    let before = noted();
    until("the same end is noted again", || noted() >= before + 3).await;
    assert_eq!(world.ledger.at(0).unwrap().log_end, Some(10));
    member.leave().await;
}

/// The broker refuses the commit of Kafka's trailing copy, and no record comes after which there
/// would be another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailing_copy_that_kafka_refused_is_committed_again() {
    let world = World::embedded(1);
    let refuse = |cluster: &Cluster| {
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[error]);
    };
    world.embedded.as_ref().unwrap().ask(refuse).unwrap();
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    crate::wait::until("kafka has the copy", async || {
        world.committed_in_kafka(0).await == Offset::Offset(10)
    })
    .await;
    let trouble = member.snapshot().last_error.expect("it was refused once");
    assert!(trouble.text.contains("offsets could not be committed"), "{trouble:?}");
    member.leave().await;
}

on_both_brokers!(a_stop_ends_in_time_although_a_batch_is_stuck, 1, stuck);

async fn stuck(world: World) {
    world.publish_all(1, 0..10).await;
    world.taken.is_stuck.store(true, Ordering::SeqCst);
    let mut options = world.options();
    options.drain_timeout = Duration::from_millis(300);
    let member = world.join_with(options);
    until("it reads", || member.reads() == 1).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), member.leave()).await;
    assert!(ended.is_ok(), "the stop took too long");
    assert_eq!(world.ledger.next(0), Some(0));
    world.taken.is_stuck.store(false, Ordering::SeqCst);
    let member = world.join();
    world.read_up_to(1, 10).await;
    world.taken.assert_numbers(0, 0..10);
    member.leave().await;
}

on_both_brokers!(a_backlog_goes_through_narrow_queues_without_loss, 3, narrow);

async fn narrow(world: World) {
    world.publish_all(3, 0..3000).await;
    let mut options = world.options();
    options.batch_max = 7;
    options.batch_bytes = 64;
    options.linger = Duration::from_millis(1);
    options.kafka.queued_max_kbytes = 1;
    options.kafka.queued_min_messages = 10;
    let member = world.join_with(options);
    world.read_up_to(3, 3000).await;
    for partition in 0..3 {
        world.taken.assert_numbers(partition, 0..3000);
    }
    assert!(world.taken.batches().iter().all(|(_, count)| *count <= 7));
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_yet_is_waited_for() {
    let Some(world) = World::real_without_topic("a_topic_that_is_not_there_yet_is_waited_for")
    else {
        return;
    };
    let member = world.join();
    until("it says so", || member.snapshot().topic_missing).await;
    world.create_topic(1).await;
    world.publish_all(1, 0..10).await;
    world.read_up_to(1, 10).await;
    assert!(!member.snapshot().topic_missing);
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_kip_848_records_are_taken_once_and_in_order_while_members_come_and_go() {
    let world = World::embedded(4);
    let mut options = world.options();
    options.kafka.protocol = GroupProtocol::Consumer;
    options.kafka.properties.remove("heartbeat.interval.ms");
    world.publish_all(4, 0..100).await;
    let first = world.join_with(options.clone());
    until("the first reads all", || first.reads() == 4).await;
    let second = world.join_with(options);
    until("they share", || first.reads() == 2 && second.reads() == 2).await;
    world.publish_all(4, 100..200).await;
    world.read_up_to(4, 200).await;
    first.leave().await;
    world.publish_all(4, 200..300).await;
    world.read_up_to(4, 300).await;
    second.leave().await;
    for partition in 0..4 {
        world.taken.assert_numbers(partition, 0..300);
    }
}

#[tokio::test]
async fn a_refused_property_ends_the_start() {
    let world = World::embedded(1);
    let mut options = world.options();
    options.kafka.properties.insert("auto.offset.reset".to_owned(), SecretString::from("latest"));
    let status = std::sync::Arc::default();
    let (_hold, when_held) = tokio::sync::watch::channel(false);
    let consumer = calendar_sync::consumer::Consumer {
        options,
        store: world.ledger.clone(),
        sink: std::sync::Arc::new(Nothing),
        surroundings: calendar_sync::clock::Surroundings::real(),
        status,
        hold: when_held,
        stop: tokio_util::sync::CancellationToken::new(),
    };
    assert!(matches!(consumer.run().await, Err(ConsumerError::Settings(_))));
}

struct Nothing;

#[async_trait::async_trait]
impl calendar_sync::consumer::BatchSink for Nothing {
    async fn take(
        &self,
        _: &calendar_sync::consumer::BatchPlace,
        _: Vec<calendar_sync::consumer::RawRecord>,
        _: &tokio_util::sync::CancellationToken,
    ) -> calendar_sync::consumer::Taken {
        unreachable!("nothing is read")
    }
}
