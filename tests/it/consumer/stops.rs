//! A log that is not the one that was read.

use calendar_sync::store::{Resume, Store as _};
use rdkafka::Offset;

use super::harness::{Member, World, on_both_brokers, until};

/// Ten records read, then nobody there.
async fn ten_read(world: &World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    member.leave().await;
}

async fn stop_of(world: &World, member: &Member) -> (String, String) {
    until("it is stopped", || member.stopped(0).is_some()).await;
    let stopped = member.stopped(0).unwrap();
    let stored = world.ledger.at(0).unwrap().stop.unwrap();
    assert_eq!((stored.kind, stored.found), stopped);
    stopped
}

on_both_brokers!(a_log_that_ends_below_the_cursor_is_not_read_until_accepted, 1, truncated);

async fn truncated(world: World) {
    ten_read(&world).await;
    world.ledger.tamper(0, |cursor| cursor.next_offset = Some(1000));
    let member = world.join();
    let (kind, found) = stop_of(&world, &member).await;
    assert_eq!(kind, "truncated");
    let words = "the log ends at offset 10, and was read up to offset 1000: 990 records that were \
                 read are not in it any more";
    assert_eq!(found, words);
    world.publish_all(1, 10..20).await;
    world.ledger.resume(&world.topic, 0, Resume::Accept { at: Some(10) }).await.unwrap();
    world.read_up_to(1, 20).await;
    assert_eq!(world.taken.batches().last().unwrap().0.incarnation, 1);
    world.taken.assert_numbers(0, 0..20);
    member.leave().await;
}

on_both_brokers!(another_record_below_the_cursor_is_not_read_past_until_set, 1, replaced);

async fn replaced(world: World) {
    ten_read(&world).await;
    let seen = world.ledger.at(0).unwrap().witness.unwrap();
    let other = seen.checksum ^ 1;
    world.ledger.tamper(0, |cursor| cursor.witness.as_mut().unwrap().checksum = other);
    let member = world.join();
    let (kind, found) = stop_of(&world, &member).await;
    assert_eq!(kind, "replaced");
    let words = format!(
        "the record at offset 9 has timestamp {0} and checksum {1:08x}, and had timestamp {0} and \
         checksum {other:08x} when it was read",
        seen.timestamp_ms, seen.checksum
    );
    assert_eq!(found, words);
    world.publish_all(1, 10..20).await;
    world.ledger.resume(&world.topic, 0, Resume::Set { at: 10 }).await.unwrap();
    world.read_up_to(1, 20).await;
    world.taken.assert_numbers(0, 0..20);
    member.leave().await;
}

on_both_brokers!(another_topic_id_is_noticed_whatever_the_offsets_say, 1, other_id);

async fn other_id(world: World) {
    ten_read(&world).await;
    let id = world.ledger.at(0).unwrap().topic_id.expect("both brokers tell the topic's id");
    world.ledger.tamper(0, |cursor| cursor.topic_id = Some("another".to_owned()));
    let member = world.join();
    let (kind, found) = stop_of(&world, &member).await;
    assert_eq!(kind, "recreated");
    let words = format!(
        "the topic's id was another when the cursor was written, and is {id} now: this is not the \
         log that was read up to offset 10"
    );
    assert_eq!(found, words);
    world.publish_all(1, 10..20).await;
    world.ledger.resume(&world.topic, 0, Resume::Accept { at: None }).await.unwrap();
    world.read_up_to(1, 20).await;
    member.leave().await;
}

/// Lesson L30: a topic that is deleted and made anew under the eyes of its reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_while_it_is_read_stops_and_is_read_from_0_once_accepted() {
    let test = "a_topic_made_anew_while_it_is_read_stops_and_is_read_from_0_once_accepted";
    let Some(world) = World::real(test, 1).await else {
        return;
    };
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    let id = world.ledger.at(0).unwrap().topic_id.unwrap();
    world.delete_topic().await;
    world.create_topic(1).await;
    world.publish_all(1, 10..25).await;
    let (kind, found) = stop_of(&world, &member).await;
    assert_eq!(kind, "recreated", "{found}");
    assert!(found.starts_with(&format!("the topic's id was {id} when")), "{found}");
    world.ledger.resume(&world.topic, 0, Resume::Accept { at: Some(0) }).await.unwrap();
    world.read_up_to(1, 15).await;
    world.taken.assert_numbers(0, 0..25);
    assert_eq!(world.taken.batches().last().unwrap().0.incarnation, 1);
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_deleted_before_they_were_read_stop_the_partition() {
    let Some(world) =
        World::real("records_deleted_before_they_were_read_stop_the_partition", 1).await
    else {
        return;
    };
    ten_read(&world).await;
    world.publish_all(1, 10..30).await;
    world.delete_records_below(12).await;
    lost_range(&world, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_lost_on_the_embedded_broker_stops_the_partition() {
    let world = World::embedded(1);
    ten_read(&world).await;
    // It keeps 5 MiB of a partition, and then cuts the head.
    let text = "x".repeat(500_000);
    for _ in 0..15 {
        world.publish(0, &text).await;
    }
    let member = world.join();
    let (kind, found) = stop_of(&world, &member).await;
    assert_eq!(kind, "lost_range", "{found}");
    member.leave().await;
}

async fn lost_range(world: &World, low: i64) {
    let member = world.join();
    let (kind, found) = stop_of(world, &member).await;
    assert_eq!(kind, "lost_range");
    let words = format!(
        "the log begins at offset {low}, and was read up to offset 10: {} offsets were deleted \
         before they were read",
        low - 10
    );
    assert_eq!(found, words);
    world.ledger.resume(&world.topic, 0, Resume::Set { at: low }).await.unwrap();
    world.read_up_to(1, 30).await;
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_retention_took_after_it_was_read_is_not_missed() {
    let Some(world) =
        World::real("a_record_that_retention_took_after_it_was_read_is_not_missed", 1).await
    else {
        return;
    };
    ten_read(&world).await;
    world.delete_records_below(10).await;
    let member = world.join();
    until("it is read", || member.reads() == 1).await;
    world.publish_all(1, 10..20).await;
    world.read_up_to(1, 20).await;
    world.taken.assert_numbers(0, 0..20);
    member.leave().await;
}

/// Lesson of transactional producers: a transaction ends with a marker, which is an offset and no
/// record, and the offsets of an aborted one are never delivered at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_transaction_that_retention_took_is_no_lost_range() {
    let test = "the_end_of_a_transaction_that_retention_took_is_no_lost_range";
    let Some(world) = World::real(test, 1).await else {
        return;
    };
    // Offsets 0 and 1, the marker at 2; 3 and 4 are aborted, their marker is at 5.
    world.publish_in_transaction(&["0", "1"], true).await;
    world.publish_in_transaction(&["never", "never"], false).await;
    let member = world.join();
    world.read_up_to(1, 2).await;
    until("the markers are passed", || {
        let cursor = world.ledger.at(0).unwrap();
        (cursor.position(), cursor.log_end) == (Some(6), Some(6))
    })
    .await;
    assert_eq!(world.ledger.next(0), Some(2), "the witness is the record at offset 1");
    member.leave().await;
    assert_eq!(world.committed_in_kafka(0).await, Offset::Offset(6));
    // What is still there is recognised.
    let member = world.join();
    until("it is read", || member.reads() == 1).await;
    assert_eq!(member.snapshot().partitions[&0].kafka_ahead, None);
    member.leave().await;
    for low in [4, 6] {
        world.delete_records_below(low).await;
        let member = world.join();
        until("it is read", || member.reads() == 1).await;
        member.leave().await;
    }
    let member = world.join();
    world.publish_in_transaction(&["2"], true).await;
    until("it goes on", || world.ledger.at(0).unwrap().position() == Some(8)).await;
    world.taken.assert_numbers(0, 0..3);
    member.leave().await;
}
