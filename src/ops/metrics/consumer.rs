//! What is told of reading: counters of what was committed, and the consumer's own snapshot as it is at
//! the moment of a scrape.

use std::sync::atomic::AtomicU64;

use booking::PoisonClass;
use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{Class, Counters, Gauges, Partition, Place, register};
use crate::consumer::{PartitionStatus, Phase, Snapshot};
use crate::store::EFFECT_REJECTED;

/// What was committed, batch by batch.
#[derive(Debug)]
pub(super) struct Ingest {
    consumed: Counters<Partition>,
    dead: Counters<Class>,
}

impl Ingest {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (consumed, dead) = (Counters::default(), Counters::<Class>::default());
        register(registry, "calendar_sync_records_consumed_total", consumed.clone());
        register(registry, "calendar_sync_dead_letters_total", dead.clone());
        // There from the start: the first one is a rise.
        for class in PoisonClass::ALL.map(PoisonClass::name).into_iter().chain([EFFECT_REJECTED]) {
            drop(dead.get_or_create(&Class { class }));
        }
        Self { consumed, dead }
    }

    pub(super) fn committed(&self, partition: i32, records: usize, dead: &[PoisonClass]) {
        self.consumed.get_or_create(&Partition { partition }).inc_by(records as u64);
        for class in dead {
            self.died(class.name());
        }
    }

    pub(super) fn died(&self, class: &'static str) {
        self.dead.get_or_create(&Class { class }).inc();
    }
}

/// What another owner's fence refuses of a partition: the words of [`Snapshot::fence_refusals`].
const PLACES: [&str; 4] = ["commit", "look", "note_log", "stop"];

/// The snapshot. `lanes`: what other holders' tokens have refused of lanes.
pub(super) fn registry(
    snapshot: &Snapshot,
    lanes: impl IntoIterator<Item = (&'static str, u64)>,
    now: DateTime<Utc>,
) -> Registry {
    let mut registry = Registry::default();
    lag(&mut registry, snapshot, now);
    partitions(&mut registry, snapshot);
    let refusals = Counters::<Place>::default();
    let of_partitions = snapshot.fence_refusals.iter().map(|(place, times)| (*place, *times));
    for (place, times) in
        PLACES.map(|place| (place, 0)).into_iter().chain(of_partitions).chain(lanes)
    {
        refusals.get_or_create(&Place { place }).inc_by(times);
    }
    register(&mut registry, "calendar_sync_fence_refusals_total", refusals);
    registry
}

fn lag(registry: &mut Registry, snapshot: &Snapshot, now: DateTime<Utc>) {
    let records = Gauges::<Partition>::default();
    let seconds = Family::<Partition, Gauge<f64, AtomicU64>>::default();
    for (partition, status) in &snapshot.partitions {
        if let Some(lag) = status.lag(now) {
            let partition = Partition { partition: *partition };
            records.get_or_create(&partition).set(lag.records);
            seconds.get_or_create(&partition).set(lag.time.as_secs_f64());
        }
    }
    register(registry, "calendar_sync_consumer_lag_records", records);
    register(registry, "calendar_sync_consumer_lag_seconds", seconds);
}

fn partitions(registry: &mut Registry, snapshot: &Snapshot) {
    let is_stopped = |it: &PartitionStatus| matches!(it.phase, Phase::Stopped(_));
    let counted = [
        ("calendar_sync_partitions_assigned", count(snapshot, |_| true)),
        ("calendar_sync_partitions_paused", count(snapshot, |it| it.is_held || it.is_full)),
        ("calendar_sync_partitions_stopped", count(snapshot, is_stopped)),
    ];
    for (name, count) in counted {
        let gauge = Gauge::<i64>::default();
        gauge.set(count);
        register(registry, name, gauge);
    }
    if let Some(count) = snapshot.topic_partitions {
        let gauge = Gauge::<i64>::default();
        gauge.set(count.into());
        register(registry, "calendar_sync_topic_partitions", gauge);
    }
    for (name, times) in [
        ("calendar_sync_rebalances_total", snapshot.rebalances),
        ("calendar_sync_partitions_lost_total", snapshot.partitions_lost),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(times);
        register(registry, name, counter);
    }
}

fn count(snapshot: &Snapshot, is_so: impl Fn(&PartitionStatus) -> bool) -> i64 {
    let found = snapshot.partitions.values().filter(|status| is_so(status)).count();
    i64::try_from(found).unwrap_or(i64::MAX)
}
