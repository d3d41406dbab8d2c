//! Joining, leaving, being fenced out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use calendar_sync::consumer::{Phase, StartFrom};
use rdkafka::Offset;

use super::harness::{World, on_both_brokers, until};

on_both_brokers!(every_record_is_taken_once_and_in_order_while_members_come_and_go, 4, come_and_go);

async fn come_and_go(world: World) {
    world.publish_all(4, 0..100).await;
    let first = world.join();
    until("the first reads all", || first.reads() == 4).await;
    world.publish_all(4, 100..200).await;
    let second = world.join();
    until("they share", || first.reads() == 2 && second.reads() == 2).await;
    world.publish_all(4, 200..300).await;
    world.read_up_to(4, 300).await;
    first.leave().await;
    world.publish_all(4, 300..400).await;
    until("the second reads all", || second.reads() == 4).await;
    world.read_up_to(4, 400).await;
    second.leave().await;
    for partition in 0..4 {
        world.taken.assert_numbers(partition, 0..400);
    }
}

on_both_brokers!(what_kafka_holds_as_committed_is_ignored, 1, ignore_committed);

async fn ignore_committed(world: World) {
    world.publish_all(1, 0..10).await;
    world.commit_to_kafka(0, 7).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    member.leave().await;
    // The trailing copy.
    assert_eq!(world.committed_in_kafka(0).await, Offset::Offset(10));
    world.taken.assert_numbers(0, 0..10);
}

/// On Kafka alone: the embedded broker takes commits from nobody but members, once there was one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_rewinds_kafkas_offset_changes_nothing() {
    let test = "an_operator_who_rewinds_kafkas_offset_changes_nothing";
    let Some(world) = World::real(test, 1).await else {
        return;
    };
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    member.leave().await;
    world.commit_to_kafka(0, 3).await;
    world.publish_all(1, 10..20).await;
    let member = world.join();
    world.read_up_to(1, 20).await;
    member.leave().await;
    world.taken.assert_numbers(0, 0..20);
}

on_both_brokers!(a_database_that_lost_its_tail_is_noticed_and_reads_again, 1, lose_tail);

async fn lose_tail(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    assert_eq!(member.snapshot().partitions[&0].kafka_ahead, None);
    member.leave().await;
    world.ledger.tamper(0, |cursor| {
        cursor.next_offset = Some(4);
        cursor.witness = None;
    });
    let member = world.join();
    world.read_up_to(1, 10).await;
    assert_eq!(member.snapshot().partitions[&0].kafka_ahead, Some(10));
    assert_eq!(world.taken.values(0).len(), 16);
    member.leave().await;
}

on_both_brokers!(a_tail_that_is_lost_while_nothing_comes_is_read_again, 1, lose_tail_while_idle);

/// A standby takes over that never got the last batch: our fence is there, and stands lower.
async fn lose_tail_while_idle(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    world.ledger.tamper(0, |cursor| {
        cursor.next_offset = Some(4);
        cursor.witness = None;
    });
    world.read_up_to(1, 10).await;
    let again = world.taken.values(0).split_off(10);
    assert_eq!(again, ["4", "5", "6", "7", "8", "9"]);
    member.leave().await;
}

on_both_brokers!(another_database_server_is_noticed_while_reading, 1, another_server);

async fn another_server(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    world.ledger.is_another.store(true, Ordering::SeqCst);
    until("it is to be read with care", || world.ledger.at(0).unwrap().recover_until == Some(10))
        .await;
    world.publish_all(1, 10..20).await;
    world.read_up_to(1, 20).await;
    world.taken.assert_numbers(0, 0..20);
    member.leave().await;
}

on_both_brokers!(a_partition_that_somebody_else_fenced_is_fenced_again, 1, rob);

async fn rob(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    for round in 1..4 {
        world.ledger.rob(0);
        world.publish_all(1, round * 10..(round + 1) * 10).await;
        world.read_up_to(1, (round + 1) * 10).await;
    }
    let refusals = member.snapshot().fence_refusals;
    assert!(refusals.values().sum::<u64>() >= 3, "{refusals:?}");
    // Also while nothing comes: the note of the log end, or the next record, finds it out.
    world.taken.assert_numbers(0, 0..40);
    member.leave().await;
}

on_both_brokers!(a_member_that_stops_leaves_its_partitions_to_the_others_at_once, 2, leave);

async fn leave(world: World) {
    let first = world.join();
    until("the first reads all", || first.reads() == 2).await;
    let second = world.join();
    until("they share", || first.reads() == 1 && second.reads() == 1).await;
    first.leave().await;
    // Far below the session's time-out of 45 s.
    let taking_over = until("the second reads all", || second.reads() == 2);
    let in_time = tokio::time::timeout(Duration::from_secs(15), taking_over).await;
    assert!(in_time.is_ok(), "the group was not left");
    second.leave().await;
}

on_both_brokers!(
    a_database_that_is_down_while_fencing_costs_no_membership,
    2,
    fence_without_database
);

async fn fence_without_database(world: World) {
    world.publish_all(2, 0..10).await;
    world.ledger.is_down.store(true, Ordering::SeqCst);
    let mut options = world.options();
    // Nothing but fencing asks the database.
    options.identity_interval = Duration::from_hours(1);
    let first = world.join_with(options.clone());
    until("both are its own", || first.owns() == 2).await;
    until("it keeps trying", || world.ledger.silences.load(Ordering::SeqCst) > 3).await;
    assert_eq!(first.reads(), 0);
    let trouble = first.snapshot().last_error.unwrap().text;
    assert!(trouble.contains("the database did not answer"), "{trouble}");
    // The group does not wait for it: somebody else joins and gets a share.
    let second = world.join_with(options);
    until("they share", || first.owns() == 1 && second.owns() == 1).await;
    let phases = first.snapshot().partitions.into_values().map(|partition| partition.phase);
    assert!(phases.eq([Phase::Fencing]), "still being fenced");
    world.ledger.is_down.store(false, Ordering::SeqCst);
    world.read_up_to(2, 10).await;
    assert_eq!((first.reads(), second.reads()), (1, 1));
    assert_eq!(first.snapshot().partitions_lost, 0);
    first.leave().await;
    second.leave().await;
    for partition in 0..2 {
        world.taken.assert_numbers(partition, 0..10);
    }
}

on_both_brokers!(members_that_start_together_at_the_end_agree_where_that_is, 4, begin_at_the_end);

async fn begin_at_the_end(world: World) {
    world.publish_all(4, 0..10).await;
    let mut options = world.options();
    options.start_from = StartFrom::Latest;
    let members = [world.join_with(options.clone()), world.join_with(options)];
    until("they share", || members.iter().all(|member| member.reads() == 2)).await;
    world.publish_all(4, 10..20).await;
    world.read_up_to(4, 20).await;
    for partition in 0..4 {
        world.taken.assert_numbers(partition, 10..20);
    }
    for member in members {
        member.leave().await;
    }
}
