//! What sending counts.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::emit::limits::{Limit, Limits, Rate};
use calendar_sync::emit::{EmitOptions, RunMeter as _};
use calendar_sync::ops::metrics::{Metrics, Seen, refresh};
use calendar_sync::store::ConnectionState;

use crate::end_to_end::host::{EVERY, INVALID, Trouble};
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::worker::REJECTIONS_MAX;
use crate::end_to_end::world::{World, until};
use crate::exposition::Exposition;
use crate::pipeline::meddler::Meddler;

const EFFECTS: &str = "calendar_sync_effects_total";
const ATTEMPTS: &str = "calendar_sync_attempts_total";
const DURATION_COUNT: &str = "calendar_sync_attempt_duration_seconds_count";
const WAITS: &str = "calendar_sync_rate_limit_waits_total";
const WAITED: &str = "calendar_sync_rate_limit_wait_seconds_total";

/// From now on what happens is counted.
pub(super) fn count(world: &mut World) {
    let metrics = Metrics::default();
    metrics.gated(&world.emit.gate);
    world.meter = Some(Arc::new(metrics));
}

/// What is told, after the database was asked.
pub(super) async fn told(world: &World) -> Exposition {
    let metrics = world.meter.as_ref().expect("it is counted");
    refresh(world.store.as_ref(), metrics).await.expect("the store answers");
    told_without_asking(world)
}

fn told_without_asking(world: &World) -> Exposition {
    let metrics = world.meter.as_ref().expect("it is counted");
    let seen =
        Seen { now: world.surroundings.clock.now(), pool: world.store.pool(), ..Seen::default() };
    Exposition::of(metrics.openmetrics(&seen))
}

/// A sample of Google's, by a verb and an outcome.
#[track_caller]
fn assert_counted(told: &Exposition, name: &str, (verb, outcome): (&str, &str), count: f64) {
    let labels = [("calendar_provider", "google"), ("verb", verb), ("outcome", outcome)];
    assert_eq!(told.value(name, &labels), Some(count), "{name} {verb} {outcome}:\n{told}");
}

fn of_google(told: &Exposition, name: &str) -> f64 {
    told.value(name, &[("calendar_provider", "google")]).unwrap_or(f64::NAN)
}

fn stories(count: u32) -> Vec<Story> {
    (0..count).map(|number| Story::of(&format!("b{number}"), provider(1))).collect()
}

pub(super) async fn what_became_of_bookings_is_counted(world: &mut World) {
    count(world);
    world.connect(1).await;
    let mut stories = stories(3);
    world.tell(stories.iter_mut().map(Story::created).collect::<Vec<_>>()).await;
    let owed = told(world).await;
    assert_eq!(of_google(&owed, "calendar_sync_effects_pending").to_bits(), 3.0_f64.to_bits());
    assert!(of_google(&owed, "calendar_sync_oldest_pending_age_seconds") >= 0.0, "{owed}");
    world.drain().await;
    world.tell([stories[0].moved(14), stories[1].cancelled()]).await;
    world.drain().await;

    let told = told(world).await;
    let partition = [("partition", "0")];
    assert_eq!(told.value("calendar_sync_records_consumed_total", &partition), Some(5.0));
    for name in [EFFECTS, ATTEMPTS] {
        assert_counted(&told, name, ("create", "applied"), 3.0);
        assert_counted(&told, name, ("update", "applied"), 1.0);
        assert_counted(&told, name, ("delete", "applied"), 1.0);
        assert_eq!(told.sum(name).to_bits(), 5.0_f64.to_bits(), "{told}");
    }
    assert_eq!(told.sum(DURATION_COUNT).to_bits(), 5.0_f64.to_bits());
    let verb = [("calendar_provider", "google"), ("verb", "create")];
    assert_eq!(told.value(DURATION_COUNT, &verb), Some(3.0));
    for name in ["effects_pending", "oldest_pending_age_seconds", "attempts_open"] {
        let value = of_google(&told, &format!("calendar_sync_{name}"));
        assert_eq!(value.to_bits(), 0.0_f64.to_bits(), "{name}");
    }
    let active = [("calendar_provider", "google"), ("state", "active")];
    assert_eq!(told.value("calendar_sync_connections", &active), Some(1.0));
    assert_eq!(told.sum("calendar_sync_connections").to_bits(), 1.0_f64.to_bits());
    assert!(told.sum("calendar_sync_database_connections") >= 1.0, "{told}");
    assert_eq!(told.sum("calendar_sync_fence_refusals_total").to_bits(), 0.0_f64.to_bits());
}

/// The one of two events that was published first, though both are done by one call.
pub(super) async fn how_long_an_event_took_is_told_with_its_trace(world: &mut World) {
    const TRACES: [&str; 2] = [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    count(world);
    world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    let events = [story.created(), story.moved(14)];
    for ((event, trace), age_s) in events.iter().zip(TRACES).zip([35, 5]) {
        world.publish_traced(event, Duration::from_secs(age_s), trace);
    }
    world.read(1_000).await;
    let owed = told(world).await;
    let age = of_google(&owed, "calendar_sync_oldest_pending_age_seconds");
    assert!((35.0..60.0).contains(&age), "{age}");
    world.drain().await;
    let told = told(world).await;
    let name = |suffix: &str| format!("calendar_sync_publish_to_applied_seconds_{suffix}");
    assert_eq!(of_google(&told, &name("count")).to_bits(), 1.0_f64.to_bits());
    let sum = of_google(&told, &name("sum"));
    assert!((35.0..60.0).contains(&sum), "{sum}");
    for (le, count) in [("30.0", 0.0), ("60.0", 1.0)] {
        let labels = [("calendar_provider", "google"), ("le", le)];
        assert_eq!(told.value(&name("bucket"), &labels), Some(count), "{told}");
    }
    let exemplar = "# {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"}";
    assert!(told.text().contains(exemplar), "{told}");
}

/// An answer is lost: the event is read back, and looked for once more, later.
pub(super) async fn what_was_found_applied_is_told_from_what_was_acknowledged(world: &mut World) {
    count(world);
    world.connect(1).await;
    let lost = world.host.order(1, Trouble::AnswerLost);
    world.tell([stories(1)[0].created()]).await;
    world.drain().await;
    assert_eq!(lost.hits(), 1);
    let told = told(world).await;
    assert_counted(&told, ATTEMPTS, ("create", "unknown"), 1.0);
    assert_counted(&told, EFFECTS, ("create", "already_applied"), 1.0);
    assert_eq!((told.sum(ATTEMPTS), told.sum(EFFECTS)), (1.0, 1.0), "{told}");
    assert_eq!(of_google(&told, "calendar_sync_attempts_open").to_bits(), 1.0_f64.to_bits());
}

pub(super) async fn what_is_refused_too_often_is_a_dead_letter(world: &mut World) {
    count(world);
    world.connect(1).await;
    let refused = world.host.order(EVERY, INVALID);
    world.tell([stories(1)[0].created()]).await;
    let worker = world.worker();
    until("it is given up", async || !world.dead_letters().await.is_empty()).await;
    worker.stop().await;
    refused.withdraw();
    let told = told(world).await;
    assert_counted(&told, ATTEMPTS, ("create", "rejected"), f64::from(REJECTIONS_MAX));
    assert_counted(&told, EFFECTS, ("create", "dead"), 1.0);
    for name in ["calendar_sync_dead_letters_total", "calendar_sync_dead_letters_waiting"] {
        assert_eq!(told.value(name, &[("class", "effect_rejected")]), Some(1.0), "{told}");
        assert_eq!(told.sum(name).to_bits(), 1.0_f64.to_bits(), "{told}");
    }
}

/// Rule R13: what is wanted by now has its own try.
///
/// Fails with: `emit/written.rs`, `record`: `recorded != Recorded::Refused`, whatever was found.
pub(super) async fn what_gives_way_to_a_newer_wish_is_no_dead_letter(world: &mut World) {
    count(world);
    world.connect(1).await;
    let refused = world.host.order(EVERY, INVALID);
    let meddler = Arc::new(Meddler::over(Arc::clone(&world.store)));
    world.store = Arc::clone(&meddler) as _;
    let (dies, go) = meddler.hold_who_dies();
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let worker = world.worker();
    let held = tokio::time::timeout(Duration::from_secs(30), dies).await;
    held.expect("it is refused too often").expect("it tells so");
    world.tell([story.moved(11)]).await;
    refused.withdraw();
    go.send(()).expect("it waits");
    until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    let told = told(world).await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(told.sum("calendar_sync_dead_letters_total").to_bits(), 0.0_f64.to_bits(), "{told}");
    assert_counted(&told, EFFECTS, ("create", "applied"), 1.0);
    assert_eq!(told.sum(EFFECTS).to_bits(), 1.0_f64.to_bits(), "{told}");
}

pub(super) async fn a_calendar_that_asks_for_time_is_counted_with_it(world: &mut World) {
    count(world);
    world.connect(1).await;
    let busy =
        Trouble::Refused { status: 429, reason: "rateLimitExceeded", retry_after_s: Some(1) };
    world.host.order(1, busy);
    world.tell([stories(1)[0].created()]).await;
    world.drain().await;
    let told = told(world).await;
    let labels = [("calendar_provider", "google"), ("limit", "retry_after")];
    assert_eq!(told.value(WAITS, &labels), Some(1.0), "{told}");
    assert_eq!(told.value(WAITED, &labels), Some(1.0), "{told}");
    assert_counted(&told, ATTEMPTS, ("create", "retry"), 1.0);
    assert_counted(&told, ATTEMPTS, ("create", "applied"), 1.0);
}

pub(super) async fn what_limits_withhold_is_counted_with_its_time(world: &mut World) {
    count(world);
    world.connect(1).await;
    // Two requests a second, and as many at once: slower than any machine is.
    let rate = Rate::per_minute(122);
    let kinds = |limit| Limits { google: limit, ..Limits::default() };
    let limits = [
        ("connection", Limit { connection: rate, application: None }),
        ("application", Limit { connection: None, application: rate }),
    ];
    for (number, (name, limit)) in limits.into_iter().enumerate() {
        world.emit = EmitOptions { limits: kinds(limit), ..world.emit.clone() };
        let story = |each: u32| Story::of(&format!("{name}{each}"), provider(1));
        let mut stories: Vec<_> = (0..8).map(story).collect();
        world.tell(stories.iter_mut().map(Story::created).collect::<Vec<_>>()).await;
        world.drain().await;
        let told = told(world).await;
        let labels = [("calendar_provider", "google"), ("limit", name)];
        let (waits, waited) = (told.value(WAITS, &labels), told.value(WAITED, &labels));
        assert!(waits.is_some_and(|waits| waits >= 1.0), "{told}");
        // Six are beyond the burst, half a second each; what is waited for at once adds up.
        assert!(waited.is_some_and(|waited| (0.2..60.0).contains(&waited)), "{told}");
        let others = told.sum(WAITS) - waits.unwrap_or_default();
        assert!(number == 1 || others == 0.0, "{told}");
    }
}

pub(super) async fn a_connection_that_waits_for_a_person_is_counted(world: &mut World) {
    count(world);
    let host = world.connect(1).await;
    world.host.lock_out(&host.place);
    world.tell([stories(1)[0].created()]).await;
    let worker = world.worker();
    until("it is parked", async || world.state(&host).await == ConnectionState::Parked).await;
    worker.stop().await;
    let told = told(world).await;
    let parked = [("calendar_provider", "google"), ("state", "parked")];
    assert_eq!(told.value("calendar_sync_connections", &parked), Some(1.0), "{told}");
    assert_eq!(told.sum("calendar_sync_connections_parked_total").to_bits(), 1.0_f64.to_bits());
    assert_counted(&told, ATTEMPTS, ("create", "unauthorised"), 1.0);
    assert_eq!(told.sum(EFFECTS).to_bits(), 0.0_f64.to_bits());
    assert_eq!(of_google(&told, "calendar_sync_effects_pending").to_bits(), 1.0_f64.to_bits());
}

/// A connection is removed while a call about it is on its way.
pub(super) async fn a_row_that_another_holds_by_now_is_counted(world: &mut World) {
    count(world);
    let host = world.connect(1).await;
    let held = world.host.order(1, Trouble::AnswerHeld);
    world.tell([stories(1)[0].created()]).await;
    let worker = world.worker();
    tokio::time::timeout(Duration::from_mins(1), held.wait_held()).await.expect("it is called");
    assert!(world.store.remove_connection(host.id, true).await.expect("the store answers"));
    held.withdraw();
    let refusals = "calendar_sync_fence_refusals_total";
    until("it is refused", async || {
        // The drain may come by it once more before it ends.
        let times = told_without_asking(world).value(refusals, &[("place", "record")]);
        times.is_some_and(|times| times >= 1.0)
    })
    .await;
    until("what was made is withdrawn", async || world.pending().await == 0).await;
    worker.stop().await;
}
