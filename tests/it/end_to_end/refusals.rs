//! Calendars that say no: for a moment, until somebody comes, or for good.

use std::time::Duration;

use booking::Verb;
use calendar_sync::connection::{Kept, Sealer};
use calendar_sync::emulator::{self, Fault, Moment, Rule};
use calendar_sync::pipeline::redrive::Redriven;
use calendar_sync::store::{ConnectionState, EFFECT_REJECTED, Fenced};
use chrono::TimeDelta;
use secrecy::SecretBox;

use super::host::{EVERY, Host, INVALID, Trouble, UNAVAILABLE};
use super::story::{Story, hour, provider};
use super::worker::REJECTIONS_MAX;
use super::world::{Connected, World, until};

/// L17: Google's 403 `rateLimitExceeded` is no refusal and no question of credentials.
///
/// Fails with: `emit/outcome.rs`, `forbidden`: `Outcome::Unauthorised { … }` for
/// `self.limited(self.after)`.
pub(super) async fn a_rate_limit_told_as_403_is_waited_out(world: &mut World) {
    let host = world.connect(1).await;
    let limit = Trouble::Refused { status: 403, reason: "rateLimitExceeded", retry_after_s: None };
    let limited = world.host.order(5, limit);
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.drain().await;
    assert_eq!(limited.hits(), 5, "more often than a refusal is tried");
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert_eq!(world.starts(&host).await, [hour(9)]);
    assert!(world.dead_letters().await.is_empty());
}

/// 429 with `Retry-After`, against a backoff that would come much sooner.
///
/// Fails with: `emit/call.rs`, `delay`: without `.max(asked.unwrap_or_default())`.
pub(super) async fn a_retry_after_is_obeyed(world: &mut World) {
    two_seconds_are_waited(world, 429, "rateLimitExceeded").await;
}

/// 503 with `Retry-After`: it is about the calendar, not about this event.
///
/// Fails with: `emit/call.rs`, `send`: without `self.rest_if_asked(after);`.
pub(super) async fn an_outage_that_names_its_end_is_waited_out(world: &mut World) {
    two_seconds_are_waited(world, 503, "backendError").await;
}

async fn two_seconds_are_waited(world: &mut World, status: u16, reason: &'static str) {
    let host = world.connect(1).await;
    world.host.order(1, Trouble::Refused { status, reason, retry_after_s: Some(2) });
    let (mut one, mut two) = (Story::of("one", provider(1)), Story::of("two", provider(1)));
    world.emit.lane_concurrency = 1;
    world.tell([one.created(), two.created()]).await;
    world.drain().await;
    let attempts = world.host.attempts();
    assert_eq!(attempts.len(), 3);
    let waited = attempts[1].at - attempts[0].at;
    assert!(waited >= TimeDelta::seconds(2), "the whole lane waits: {waited}");
    assert_eq!(world.shown(&host).await.len(), 2);
}

/// L7: parked and told, drained on reconnecting, zero lost.
///
/// Fails with: `emit/call.rs`, `effect`: `Ok(())` for `self.leave_unsent(&owed, &step).await` (what
/// was stamped and not sent when the connection was parked goes out first, in its old state).
pub(super) async fn a_locked_out_connection_is_parked_and_drained_once_reconnected(
    world: &mut World,
) {
    let mut host = world.connect(1).await;
    let lock = world.host.lock_out(&host.place);
    let mut stories: Vec<_> =
        (0..5).map(|number| Story::of(&format!("b{number}"), provider(1))).collect();
    let created: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(created).await;
    let worker = world.worker();
    until("it is parked", async || world.state(&host).await == ConnectionState::Parked).await;
    // Nobody is asked again until somebody has come.
    worker.stop().await;
    let knocks = world.host.requests();
    for start in 10..15 {
        let moved: Vec<_> = stories.iter_mut().map(|story| story.moved(start)).collect();
        world.tell(moved).await;
    }
    let worker = world.worker();
    let lease = world.store.lease(&world.emit.gate, host.id, host.id.0, world.emit.lease).await;
    assert_eq!(lease.expect("the store answers"), None);
    worker.stop().await;
    assert_eq!(world.host.requests(), knocks);
    assert_eq!(world.pending().await, 5);

    let credentials = world.host.let_in(&host.place, lock);
    host.new.sealed = world.seal(host.id, &credentials);
    world.put(&host).await;
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(14); 5]);
    let effective = world.host.writes();
    let creates = effective.iter().filter(|write| write.verb == Verb::Create).count();
    assert_eq!((creates, effective.len()), (5, 5), "one call for each booking: {effective:?}");
    assert!(world.dead_letters().await.is_empty());
}

/// A worker with another key cannot open a connection; it is no reason to ask the host for a new
/// password.
///
/// Fails with: `connection/accounts.rs`, `open`: `Unopened::Credentials` for `Unopened::Process`.
pub(super) async fn a_worker_with_another_key_parks_nothing(world: &mut World) {
    let mut host = world.connect(1).await;
    let rightly = std::mem::take(&mut host.new.sealed);
    let other = Sealer::new("2", &SecretBox::new(Box::new([8; 32])));
    let dice = world.surroundings.dice.as_ref();
    let kept = Kept::Fixed(host.place.credentials.clone());
    host.new.sealed = other.seal(host.id, &kept, dice).expect("it is sealed");
    world.put(&host).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let worker = world.worker();
    until("the worker has come", async || !is_free(world, &host).await).await;
    worker.stop().await;
    assert!(!is_free(world, &host).await, "the lane rests");
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    host.new.sealed = rightly;
    world.put(&host).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// Whether a worker could lease the connection's lane now.
async fn is_free(world: &World, host: &Connected) -> bool {
    let (gate, token) = (&world.emit.gate, world.surroundings.dice.token());
    let lease = world.store.lease(gate, host.id, token, Duration::from_secs(30)).await;
    let Some(lane) = lease.expect("the store answers") else {
        return false;
    };
    let released =
        world.store.release(&lane, Duration::ZERO, None).await.expect("the store answers");
    assert_eq!(released, Fenced::Written);
    true
}

/// A calendar that refuses this event for good: a dead letter, and no further call.
async fn refused_for_good(world: &mut World, story: &mut Story) {
    let refusal = world.host.order(EVERY, INVALID);
    world.tell([story.created()]).await;
    world.drain().await;
    assert_eq!(refusal.hits(), u64::try_from(REJECTIONS_MAX).expect("a small number"));
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].class, EFFECT_REJECTED);
    refusal.withdraw();
}

/// Rule R13: a dead effect is revived by the next revision.
pub(super) async fn an_effect_refused_too_often_is_revived_by_the_next_revision(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    refused_for_good(world, &mut story).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    world.tell([story.moved(11)]).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
    assert_eq!(world.host.verbs(), [Verb::Create]);
}

/// A cancellation is not held up by bytes that the calendar will never take: what is in flight was
/// read back, and is not there.
///
/// Fails with: `emit/decide.rs`, `superseded`: `false`.
pub(super) async fn an_update_that_is_refused_makes_room_for_the_cancellation(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let outage = world.host.order(1, UNAVAILABLE);
    let refusal = world.host.order(EVERY, INVALID);
    world.tell([story.moved(11)]).await;
    let worker = world.worker();
    until("it is a dead letter", async || world.dead_letters().await.len() == 1).await;
    worker.stop().await;
    assert_eq!(outage.hits(), 1, "so that it stays in flight");
    refusal.withdraw();
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete]);
}

/// A call that waits for its answer is waited for at a stop; no further one is begun.
///
/// Fails with: `emit/call.rs`, `put_through`: without the `if` on `stop`.
pub(super) async fn a_stop_is_obeyed_between_the_calls_of_one_effect(world: &mut World) {
    let Host::Google(google) = &world.host else { unreachable!("a fact about the emulator") };
    let reading = Rule::next(1, Fault::Hold(Moment::BeforeApplying)).verb(emulator::Verb::Get);
    let reading = google.order(reading);
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.host.order(1, UNAVAILABLE);
    world.tell([story.created()]).await;
    let worker = world.worker();
    reading.wait_held(1).await;
    worker.stop.cancel();
    reading.withdraw();
    worker.stop().await;
    assert_eq!(world.host.attempts().len(), 1);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// `dead-letters redrive`.
pub(super) async fn an_effect_refused_too_often_is_revived_by_a_person(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    refused_for_good(world, &mut story).await;
    let letter = world.dead_letters().await.remove(0);
    let redriven = world.pipeline().redrive(letter.id).await.expect("it is redriven");
    assert_eq!(redriven, Redriven::Due);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
    assert!(world.dead_letters().await.is_empty(), "it is settled");
    world.pipeline().redrive(letter.id).await.expect_err("once");
}

/// Rule R13: only `rejected` counts; an outage of two days makes no dead letter.
///
/// Fails with: `emit/outcome.rs`, `outcome`: `told.rejected(true)` for `told.unknown(true)`.
pub(super) async fn an_outage_makes_no_dead_letter(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let outage = world.host.order(EVERY, UNAVAILABLE);
    let worker = world.worker();
    let many = u64::try_from(REJECTIONS_MAX).expect("a small number") * 3;
    until("it was tried often", async || outage.hits() >= many).await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(world.pending().await, 1);
    outage.withdraw();
    until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
    assert_eq!(world.host.verbs(), [Verb::Create]);
}

/// The same, where not even a connection comes about; then the API answers at another address.
pub(super) async fn a_calendar_that_refuses_connections_makes_no_dead_letter(world: &mut World) {
    let mut host = world.prepare(1).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = format!("http://{}/calendar/v3", closed.local_addr().expect("an address"));
    drop(closed);
    let somebody = std::mem::replace(&mut host.new.base_url, nobody);
    world.put(&host).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let worker = world.worker();
    until("it was tried often", async || tries(world, &host).await > REJECTIONS_MAX * 3).await;
    worker.stop().await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    host.new.base_url = somebody;
    world.put(&host).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
}

/// How often the lane's one row was tried, by the row itself; 0 while a worker holds the lane.
async fn tries(world: &World, host: &Connected) -> i32 {
    let (gate, token) = (&world.emit.gate, world.surroundings.dice.token());
    let lease = world.store.lease(gate, host.id, token, Duration::from_secs(30)).await;
    let Some(lane) = lease.expect("the store answers") else {
        return 0;
    };
    let due = world.store.due(&lane, 10).await.expect("the store answers");
    let released =
        world.store.release(&lane, Duration::ZERO, None).await.expect("the store answers");
    assert_eq!(released, Fenced::Written);
    due.first().map_or(0, |owed| owed.attempts)
}
