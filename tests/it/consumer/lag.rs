//! How far a partition is behind, as it is told: whatever keeps it from being read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use calendar_sync::clock::Surroundings;
use calendar_sync::ops::metrics::{Metrics, Seen};
use calendar_sync::store::{Resume, Store as _};

use super::harness::{Member, World, on_both_brokers, until};
use crate::exposition::Exposition;

/// So long ago the records of before were published.
const AGE: Duration = Duration::from_hours(1);
/// As many seconds, and more than a test takes.
const AGE_S: std::ops::Range<f64> = 3_600.0..4_200.0;

/// What a scrape would be told of a member.
fn told(member: &Member) -> Exposition {
    let now = Surroundings::real().clock.now();
    let seen = Seen { now, consumer: member.snapshot(), ..Seen::default() };
    Exposition::of(Metrics::default().openmetrics(&seen))
}

fn records(member: &Member) -> Option<f64> {
    told(member).value("calendar_sync_consumer_lag_records", &[("partition", "0")])
}

fn seconds(member: &Member) -> f64 {
    let seconds = told(member).value("calendar_sync_consumer_lag_seconds", &[("partition", "0")]);
    seconds.unwrap_or_default()
}

/// Waits until so many records wait, and the oldest is one of before; and longer by and by.
async fn grows(member: &Member, waiting: f64) {
    until("the lag is told", || {
        records(member) == Some(waiting) && AGE_S.contains(&seconds(member))
    })
    .await;
    let before = seconds(member);
    until("it grows", || seconds(member) > before + 0.2).await;
    assert_eq!(records(member), Some(waiting));
}

async fn is_over(member: &Member) {
    until("it has caught up", || records(member) == Some(0.0)).await;
    assert_eq!(seconds(member).to_bits(), 0.0_f64.to_bits());
}

on_both_brokers!(a_partition_that_is_held_falls_behind, 1, held);

async fn held(world: World) {
    let member = world.join();
    world.publish_all(1, 0..3).await;
    world.read_up_to(1, 3).await;
    is_over(&member).await;
    assert_eq!(told(&member).value("calendar_sync_partitions_paused", &[]), Some(0.0));
    member.hold.send(true).unwrap();
    world.publish_before(AGE, 3..8).await;
    grows(&member, 5.0).await;
    assert_eq!(told(&member).value("calendar_sync_partitions_paused", &[]), Some(1.0));
    member.hold.send(false).unwrap();
    world.read_up_to(1, 8).await;
    is_over(&member).await;
    assert_eq!(told(&member).value("calendar_sync_partitions_paused", &[]), Some(0.0));
    member.leave().await;
}

on_both_brokers!(a_partition_whose_database_is_away_falls_behind, 1, away);

async fn away(world: World) {
    world.publish_before(AGE, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    // What was read tells nothing of what comes.
    is_over(&member).await;
    world.ledger.is_down.store(true, Ordering::SeqCst);
    world.publish_before(AGE, 10..14).await;
    grows(&member, 4.0).await;
    // Another process begins while it is away: Kafka's copy of the cursor is all that there is.
    member.leave().await;
    assert_eq!(world.committed_in_kafka(0).await, rdkafka::Offset::Offset(10));
    let member = world.join();
    grows(&member, 4.0).await;
    world.ledger.is_down.store(false, Ordering::SeqCst);
    world.read_up_to(1, 14).await;
    is_over(&member).await;
    member.leave().await;
}

on_both_brokers!(a_stopped_partition_falls_behind, 1, stopped);

async fn stopped(world: World) {
    world.publish_all(1, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    member.leave().await;
    let seen = world.ledger.at(0).unwrap().witness.unwrap();
    world.ledger.tamper(0, |cursor| cursor.witness.as_mut().unwrap().checksum = seen.checksum ^ 1);
    let member = world.join();
    until("it is stopped", || member.stopped(0).is_some()).await;
    assert_eq!(told(&member).value("calendar_sync_partitions_stopped", &[]), Some(1.0));
    world.publish_before(AGE, 10..13).await;
    grows(&member, 3.0).await;
    world.ledger.resume(&world.topic, 0, Resume::Set { at: 10 }).await.unwrap();
    world.read_up_to(1, 13).await;
    is_over(&member).await;
    assert_eq!(told(&member).value("calendar_sync_partitions_stopped", &[]), Some(0.0));
    member.leave().await;
}

on_both_brokers!(in_a_log_made_anew_all_of_it_waits, 1, made_anew);

async fn made_anew(world: World) {
    world.publish_before(AGE, 0..10).await;
    let member = world.join();
    world.read_up_to(1, 10).await;
    member.leave().await;
    world.ledger.tamper(0, |cursor| {
        cursor.topic_id = Some("another".to_owned());
        cursor.next_offset = Some(1_000);
    });
    let member = world.join();
    until("it is stopped", || member.stopped(0).is_some()).await;
    grows(&member, 10.0).await;
    member.leave().await;
}

on_both_brokers!(a_fence_that_is_somebody_elses_is_counted, 1, robbed);

async fn robbed(world: World) {
    world.publish_all(1, 0..3).await;
    let member = world.join();
    world.read_up_to(1, 3).await;
    world.ledger.rob(0);
    world.publish_all(1, 3..6).await;
    world.read_up_to(1, 6).await;
    let told = told(&member);
    assert!(told.sum("calendar_sync_fence_refusals_total") >= 1.0, "{told}");
    assert_eq!(told.value("calendar_sync_partitions_assigned", &[]), Some(1.0));
    assert!(told.sum("calendar_sync_rebalances_total") >= 1.0, "{told}");
    member.leave().await;
}
