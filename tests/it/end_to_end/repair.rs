//! Rule R20: what is otherwise in a calendar than we left it is found, and what is done about it.

use std::time::Duration;

use booking::{IcalUid, Verb};
use calendar_sync::calendar::http::{Exchanged, Request};
use calendar_sync::emit::backoff::Backoff;
use calendar_sync::emit::drift::Policy;
use calendar_sync::emit::{EmitOptions, RepairOptions};
use calendar_sync::ops::metrics::Metrics;
use calendar_sync::store::{DriftKind, LaneLease};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use uuid::Uuid;

use super::host::{Host, Shown, Trouble, UNAVAILABLE};
use super::story::{Story, hour, provider};
use super::world::{Connected, World, client, until};

/// How soon a sweep follows another.
const SOON: Duration = Duration::from_millis(30);
/// No listing is so much behind. Less than [`SOON`], or nothing would ever be missing.
const LISTING_LAG: Duration = Duration::from_millis(25);
/// So many requests later a sweep has begun and ended.
const REQUESTS_OF_SWEEPS: usize = 12;

/// Calendars are swept, by this policy, from now on.
pub(crate) fn sweep(world: &mut World, policy: Policy) {
    world.emit.repair =
        RepairOptions { policy, interval: Some(SOON), halt_share: 20, listing_lag: LISTING_LAG };
    world.meter.get_or_insert_with(|| Metrics::default().into());
}

pub(crate) async fn swept(world: &World, host: &Connected) -> Option<String> {
    let rows = world.store.connections().await.expect("the store answers");
    rows.into_iter().find(|row| row.connection.id == host.id).and_then(|row| row.swept)
}

async fn halted(world: &World, host: &Connected) -> Option<String> {
    let row = world.store.connection(host.id).await.expect("the store answers");
    row.expect("it was connected").halted
}

/// The kinds and names of what is otherwise.
pub(super) async fn drift(world: &World, host: &Connected) -> Vec<(DriftKind, String)> {
    let found = world.store.drift(host.id).await.expect("the store answers");
    found.into_iter().map(|drift| (drift.kind, drift.external_id)).collect()
}

pub(super) fn counted(world: &World, counter: &str, kind: &str) -> u64 {
    let json = world.meter.as_ref().expect("calendars are swept").json();
    json[counter][kind].as_u64().unwrap_or_default()
}

/// Provider 1's new calendar, with the events of these bookings, all of which a sweep has counted.
async fn holding(world: &mut World, names: &[&str]) -> (Connected, Vec<Story>) {
    let host = world.connect(1).await;
    let mut stories: Vec<_> = names.iter().map(|name| Story::of(name, provider(1))).collect();
    let events: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(events).await;
    let worker = world.worker();
    let all = format!("of {} events", names.len());
    let are_counted = |result: Option<String>| result.is_some_and(|it| it.contains(&all));
    until("all is sent and was swept", async || {
        world.pending().await == 0 && are_counted(swept(world, &host).await)
    })
    .await;
    worker.stop().await;
    assert_eq!(drift(world, &host).await, []);
    (host, stories)
}

/// Lets sweeps go on until `found`, and for some more; answers how many writes they made.
pub(super) async fn sweeping(world: &World, what: &str, found: impl AsyncFn() -> bool) -> usize {
    let before = world.host.attempts().len();
    let worker = world.worker();
    until(what, found).await;
    let requests = world.host.requests();
    until("some more sweeps", async || {
        world.host.requests() >= requests + REQUESTS_OF_SWEEPS && world.pending().await == 0
    })
    .await;
    worker.stop().await;
    world.host.attempts().len() - before
}

async fn is_as_told(world: &World, host: &Connected, story: &Story) -> bool {
    let shown = world.shown(host).await;
    let is_told =
        |event: &Shown| event.start == story.details.start && event.summary == "Booking: Massage";
    shown.len() == 1 && shown.iter().all(is_told)
}

/// L13.
///
/// Fails with: `emit/sweep.rs`, `sort`: without the line that sets `swept.gone`.
pub(super) async fn an_event_deleted_by_hand_is_reported_and_left(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, mut stories) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    world.host.delete_by_hand(&host.place, &id).await;
    let expected = [(DriftKind::Deleted, id)];
    let writes =
        sweeping(world, "it is known", async || drift(world, &host).await == expected).await;
    assert_eq!((writes, world.shown(&host).await.len()), (0, 0));
    assert_eq!(counted(world, "calendar_sync_drift_total", "deleted"), 1, "it is told once");
    // The next update brings it back, and nothing is otherwise any more.
    world.tell([stories[0].moved(11)]).await;
    sweeping(world, "it is settled", async || drift(world, &host).await.is_empty()).await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
}

/// Fails with: `emit/drift.rs`, `repairs`: `&&` for `||`.
pub(super) async fn an_event_deleted_by_hand_comes_back_where_that_is_the_policy(
    world: &mut World,
) {
    sweep(world, Policy::Repair);
    let (host, stories) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    world.host.delete_by_hand(&host.place, &id).await;
    let is_back = async || is_as_told(world, &host, &stories[0]).await;
    let writes = sweeping(world, "it is back", is_back).await;
    assert!(is_as_told(world, &host, &stories[0]).await);
    assert_eq!(writes, 1, "{:?}", world.host.attempts());
    let row = world.mapped(&stories[0]).await;
    assert_eq!((row.external_id, row.is_busy), (world.only(&host).await.id, true));
    assert_eq!(counted(world, "calendar_sync_repairs_total", "deleted"), 1);
    assert_eq!(drift(world, &host).await, []);
}

/// L13.
///
/// Fails with: `emit/drift.rs`, `judge`: without the arm that says `DriftKind::Edited`.
pub(super) async fn an_edit_by_hand_is_reported_and_left(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, mut stories) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    world.host.retitle_by_hand(&host.place, &id, "Mine").await;
    let expected = [(DriftKind::Edited, id.clone())];
    let writes =
        sweeping(world, "it is known", async || drift(world, &host).await == expected).await;
    assert_eq!((writes, world.only(&host).await.summary.as_str()), (0, "Mine"));
    assert_eq!(counted(world, "calendar_sync_drift_total", "edited"), 1, "it is told once");
    // The host takes it back.
    world.host.retitle_by_hand(&host.place, &id, "Booking: Massage").await;
    sweeping(world, "it is settled", async || drift(world, &host).await.is_empty()).await;
    world.host.move_by_hand(&host.place, &id, hour(15)).await;
    sweeping(world, "it is known", async || drift(world, &host).await == expected).await;
    assert_eq!(world.starts(&host).await, [hour(15)]);
    world.tell([stories[0].moved(11)]).await;
    sweeping(world, "it is settled", async || drift(world, &host).await.is_empty()).await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
}

pub(super) async fn an_edit_by_hand_is_written_over_where_that_is_the_policy(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, stories) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    let is_mended = async || is_as_told(world, &host, &stories[0]).await;
    world.host.retitle_by_hand(&host.place, &id, "Mine").await;
    assert_eq!(sweeping(world, "the title is back", is_mended).await, 1);
    world.host.move_by_hand(&host.place, &id, hour(15)).await;
    assert_eq!(sweeping(world, "the time is back", is_mended).await, 1);
    assert_eq!(world.only(&host).await.id, id, "it is the same event");
    assert_eq!(counted(world, "calendar_sync_repairs_total", "edited"), 2);
}

/// Nothing of hers is overruled, whatever the policy.
pub(super) async fn a_hosts_colour_and_reminder_are_no_drift(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, stories) = holding(world, &["a"]).await;
    let before = world.only(&host).await;
    world.host.decorate_by_hand(&host.place, &before.id).await;
    let is_changed = async || world.only(&host).await.etag != before.etag;
    assert_eq!(sweeping(world, "it has changed", is_changed).await, 0);
    assert_eq!(drift(world, &host).await, []);
    assert!(is_as_told(world, &host, &stories[0]).await);
}

/// Fails with: `emit/drift.rs`, `sight`: `Sight::Extra { generation: 0 }` for `Sight::Copy`.
pub(super) async fn a_copy_by_the_host_is_reported_and_left(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, _) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    let copy = world.host.copy_by_hand(&host.place, &id).await;
    let expected = [(DriftKind::Copy, copy.clone())];
    let is_known = async || drift(world, &host).await == expected;
    assert_eq!(sweeping(world, "it is known", is_known).await, 0);
    assert_eq!(world.shown(&host).await.len(), 2, "both are there");
    assert_eq!(counted(world, "calendar_sync_drift_total", "copy"), 1, "it is told once");
    world.host.delete_by_hand(&host.place, &copy).await;
    let is_settled = async || drift(world, &host).await.is_empty();
    assert_eq!(sweeping(world, "it is settled", is_settled).await, 0);
    assert_eq!(world.only(&host).await.id, id);
}

/// L24: mass deletion is no drift.
///
/// Fails with: `emit/drift.rs`, `guard`: `None` for what is returned at `missing >= known`.
pub(super) async fn an_emptied_calendar_is_filled_again_once_a_person_has_said_so(
    world: &mut World,
) {
    sweep(world, Policy::Repair);
    let (host, _) = holding(world, &["a", "b", "c", "d"]).await;
    for event in world.shown(&host).await {
        world.host.delete_by_hand(&host.place, &event.id).await;
    }
    let before = world.host.attempts().len();
    let worker = world.worker();
    until("it halts", async || halted(world, &host).await.is_some()).await;
    worker.stop().await;
    assert_eq!(world.host.attempts().len(), before, "nothing was put back");
    assert_eq!(world.shown(&host).await.len(), 0);
    assert!(halted(world, &host).await.expect("it is halted").contains("none of the 4"));
    assert_eq!(world.meter.as_ref().expect("set").json()["calendar_sync_sweeps_halted_total"], 1);
    assert!(world.store.resume_sweep(host.id).await.expect("the store answers"));
    let is_full = async || world.shown(&host).await.len() == 4;
    assert_eq!(sweeping(world, "it is full again", is_full).await, 4);
    assert_eq!(halted(world, &host).await, None);
}

/// While the sweep waits, bookings are sent as ever.
pub(super) async fn a_halted_sweep_holds_up_no_booking(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, mut stories) = holding(world, &["a", "b", "c", "d"]).await;
    for event in world.shown(&host).await {
        world.host.delete_by_hand(&host.place, &event.id).await;
    }
    let worker = world.worker();
    until("it halts", async || halted(world, &host).await.is_some()).await;
    let mut other = Story::of("e", provider(1));
    world.tell([stories[0].moved(11), other.created()]).await;
    until("both are there", async || world.shown(&host).await.len() == 2).await;
    worker.stop().await;
    assert_eq!(world.starts(&host).await, [hour(9), hour(11)]);
    assert!(halted(world, &host).await.is_some());
}

/// The next worker goes on where it stood; what the first one was told too late changes nothing.
pub(super) async fn a_sweep_that_a_killed_worker_left_is_taken_over(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, _) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    world.host.delete_by_hand(&host.place, &id).await;
    let held = world.host.order_all_at(&host.place, Trouble::AnswerHeld);
    let briefly = EmitOptions {
        lease: Duration::from_secs(2),
        call_timeout: Duration::from_millis(900),
        ..world.emit.clone()
    };
    let worker = world.worker_with(briefly);
    held.wait_held().await;
    worker.kill().await;
    assert_eq!(drift(world, &host).await, []);
    held.withdraw();
    let expected = [(DriftKind::Deleted, id)];
    sweeping(world, "it is known", async || drift(world, &host).await == expected).await;
}

/// Sweeps that are turned off and on again go on, though nothing else happens in a calendar.
///
/// Fails with: `emit/sweep.rs`, `sweep`: `None` for `Some(OFF_DELAY)`.
pub(super) async fn a_calendar_that_is_not_swept_keeps_its_hour(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, _) = holding(world, &["a"]).await;
    world.emit.repair.interval = None;
    let lane = LaneLease { connection: host.id, token: Uuid::nil() };
    let is_due = async || world.store.sweep(&lane).await.expect("the store answers").is_due;
    until("its hour has come", async || is_due().await == Some(true)).await;
    let worker = world.worker();
    until("it is put off", async || is_due().await != Some(true)).await;
    worker.stop().await;
    assert_eq!(is_due().await, Some(false));
}

// ---- Google alone ----

/// A late create of a generation that is over, as a proxy may deliver it once nobody remembers: answers
/// the name of the event that it makes, and that of the booking's own.
async fn late_create(world: &mut World, host: &Connected, story: &mut Story) -> (String, String) {
    let first = world.host.attempts()[0].clone();
    world.host.delete_by_hand(&host.place, &first.id).await;
    world.tell([story.moved(11)]).await;
    // The move is refused, as its event is gone, and settled at once: an attempt that is left to another
    // drain counts as open, and is looked after first (rule R14).
    let at_once = Backoff { delay_min: Duration::ZERO, delay_max: Duration::ZERO };
    let backoff = std::mem::replace(&mut world.emit.backoff, at_once);
    world.drain().await;
    world.emit.backoff = backoff;
    let second = world.only(host).await;
    let Host::Google(google) = &world.host else { unreachable!("the fact is about Google") };
    google.evict_tombstones(&host.place.calendar);
    let (base_url, calendar) = (&host.place.base_url, &host.place.calendar);
    let url = format!("{base_url}/calendars/{calendar}/events?sendUpdates=none");
    let request = Request {
        method: Method::POST,
        url: url.parse().expect("a URL"),
        credentials: Some(&host.place.credentials),
        headers: vec![(CONTENT_TYPE, "application/json".to_owned())],
        body: first.body.as_bytes(),
    };
    match client(&world.surroundings).exchange(request).await {
        Exchanged::Answered(answer) => assert_eq!(answer.status, 200),
        Exchanged::Lost { message, .. } => panic!("{message}"),
    }
    assert_eq!(world.shown(host).await.len(), 2, "it has landed");
    (first.id, second.id)
}

/// Fails with: `emit/drift.rs`, `sight`: `Sight::Copy` for `Sight::Extra { generation }`.
pub(super) async fn a_late_create_of_a_burned_generation_is_removed(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, mut stories) = holding(world, &["a"]).await;
    let (first, second) = late_create(world, &host, &mut stories[0]).await;
    let is_gone = async || world.shown(&host).await.len() == 1;
    assert_eq!(sweeping(world, "it is removed", is_gone).await, 1);
    assert_eq!(world.only(&host).await.id, second);
    let removed = world.host.attempts().pop().expect("a write");
    assert_eq!((removed.verb, &removed.id), (Verb::Delete, &first));
    assert!(removed.if_match.is_some(), "only as it was read");
    assert_eq!(counted(world, "calendar_sync_repairs_total", "extra"), 1);
}

/// Fails with: `emit/extra.rs`, `remove_extra`: `Outcome::Unknown` beside `Outcome::Rejected`.
pub(super) async fn a_late_create_whose_removal_was_not_answered_is_removed_all_the_same(
    world: &mut World,
) {
    sweep(world, Policy::Report);
    let (host, mut stories) = holding(world, &["a"]).await;
    let (_, second) = late_create(world, &host, &mut stories[0]).await;
    let trouble = world.host.order_at(&host.place, UNAVAILABLE);
    let is_gone = async || world.shown(&host).await.len() == 1;
    sweeping(world, "it is removed", is_gone).await;
    assert_eq!((trouble.hits(), world.only(&host).await.id), (1, second));
    assert_eq!(drift(world, &host).await, []);
}

/// Fails with: `emit/extra.rs`, `remove_extra`: without the match on `read_own`.
pub(super) async fn the_only_event_of_a_booking_is_not_removed_though_its_name_is_another(
    world: &mut World,
) {
    sweep(world, Policy::Report);
    let (host, mut stories) = holding(world, &["a"]).await;
    let (first, second) = late_create(world, &host, &mut stories[0]).await;
    world.host.delete_by_hand(&host.place, &second).await;
    let expected = [(DriftKind::Extra, first.clone()), (DriftKind::Deleted, second)];
    let is_known = async || {
        let mut found = drift(world, &host).await;
        found.sort_by_key(|(kind, _)| std::cmp::Reverse(*kind));
        found == expected
    };
    assert_eq!(sweeping(world, "both are known", is_known).await, 0);
    assert_eq!(world.only(&host).await.id, first);
}

/// Where nothing tells what has changed any more, all is read; and what nobody has deleted comes back
/// though only reports are asked for.
///
/// Fails with: `calendar/google/list.rs`, `list_events`: `400` for `400 | 410` beside `has_token`.
pub(super) async fn what_got_lost_without_a_trace_comes_back_once_all_is_read(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, stories) = holding(world, &["a"]).await;
    let Host::Google(google) = &world.host else { unreachable!("the fact is about Google") };
    assert!(google.empty_calendar(&host.place.calendar));
    google.expire_sync_tokens(&host.place.calendar);
    let is_back = async || is_as_told(world, &host, &stories[0]).await;
    assert_eq!(sweeping(world, "it is back", is_back).await, 1);
    assert_eq!(world.mapped(&stories[0]).await.generation, 0, "its name was free");
    assert_eq!(counted(world, "calendar_sync_repairs_total", "lost"), 1);
}

/// No change tells of it, and the sync token lives.
///
/// Fails with: `emit/sweep.rs`, `sweep`: `false` for `sweep.partial >= PARTIAL_MAX`.
pub(super) async fn what_got_lost_without_a_trace_comes_back_in_the_end(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, stories) = holding(world, &["a"]).await;
    let Host::Google(google) = &world.host else { unreachable!("the fact is about Google") };
    assert!(google.empty_calendar(&host.place.calendar));
    assert_eq!(sweeping(world, "nothing tells of it", async || true).await, 0);
    let is_back = async || is_as_told(world, &host, &stories[0]).await;
    assert_eq!(sweeping(world, "it is back", is_back).await, 1);
    assert_eq!(counted(world, "calendar_sync_repairs_total", "lost"), 1);
}

/// Neither is known to have been made by us as it is: they are for people.
pub(super) async fn events_of_a_database_that_was_lost_are_reported_and_left(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, mut stories) = holding(world, &["a"]).await;
    let id = world.only(&host).await.id;
    world.lose_database().await;
    world.put(&host).await;
    // Something else is sent there, so that the connection is swept.
    let mut other = Story::of("b", provider(1));
    let pipeline_reads_from = world.log_end();
    world.publish([other.created()]);
    let set = calendar_sync::store::Resume::Set {
        at: i64::try_from(pipeline_reads_from).expect("a short log"),
    };
    world.read_to(0, 1_000).await;
    assert!(world.store.resume(super::world::TOPIC, 0, set).await.expect("the store answers"));
    world.read(1_000).await;
    let expected = [(DriftKind::Orphan, id.clone())];
    let is_known = async || drift(world, &host).await == expected;
    assert_eq!(sweeping(world, "it is known", is_known).await, 1, "of the other booking alone");
    assert_eq!(world.shown(&host).await.len(), 2);
    // Once the log tells of it, it is its booking's event again.
    world.tell([stories[0].moved(11)]).await;
    sweeping(world, "it is settled", async || drift(world, &host).await.is_empty()).await;
    let uid: IcalUid = stories[0].uid();
    let rows = world.store.external_events(&uid).await.expect("the store answers");
    assert_eq!(rows[0].external_id, id);
}
