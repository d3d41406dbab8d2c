//! What the database said last, once it says nothing any more.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::Clock as _;
use calendar_sync::ops::metrics::{Metrics, Seen, refresh};
use calendar_sync::store::sqlite::{Place, SqliteStore};

use crate::exposition::Exposition;
use crate::store_contract::env::{Answered as _, HandClock};

const COUNTED_AT: &str = "calendar_sync_database_counted_timestamp_seconds";

/// The last numbers stand, and look like those of now: only this tells.
#[tokio::test]
async fn when_the_database_was_counted_last_is_told_while_it_is_away() {
    let clock = HandClock::new();
    let store = SqliteStore::open(&Place::Memory, Arc::clone(&clock) as _).await.answered();
    let metrics = Metrics::default();
    let told = || Exposition::of(metrics.openmetrics(&Seen::default())).value(COUNTED_AT, &[]);
    assert_eq!(told(), Some(0.0), "never");
    let mut counted = clock.now();
    for _ in 0..2 {
        clock.pass(Duration::from_mins(1));
        counted = clock.now();
        refresh(&store, &metrics).await.answered();
        assert_eq!(told(), Some(seconds(counted)));
    }
    store.close().await;
    clock.pass(Duration::from_hours(1));
    assert!(refresh(&store, &metrics).await.is_err(), "it is away");
    assert_eq!(told(), Some(seconds(counted)));
}

fn seconds(at: chrono::DateTime<chrono::Utc>) -> f64 {
    f64::from(u32::try_from(at.timestamp()).expect("before 2106"))
}
