//! The runbook's three failure scenarios, each provoked: what an operator sees, and that its
//! actions mend it.

use calendar_sync::pipeline::redrive::Redriven;
use calendar_sync::store::ConnectionState;

use super::asked::Port;
use super::host::{EVERY, INVALID, Trouble};
use super::story::{Story, hour, provider};
use super::world::{World, until};

/// *Event Not Created*: "Booking created but no row in `external_calendar_events`, no event in
/// external calendar". Each of the four actions finds its cause, and mends it.
pub(super) async fn an_event_that_is_not_created_says_why(world: &mut World) {
    let mut host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;

    // 1. "Check outbound sync trigger logic": the flag.
    let gate = std::mem::take(&mut world.emit.gate);
    let port = Port::open(world).await;
    assert_eq!(port.sync("a").await.1["result"], "gated");
    port.close().await;
    world.emit.gate = gate;
    let port = Port::open(world).await;

    // 4. "Check rate limiting": it waits, and says for what.
    let limit =
        Trouble::Refused { status: 429, reason: "rateLimitExceeded", retry_after_s: Some(3600) };
    let limited = world.host.order(1, limit);
    let worker = world.worker();
    until("it is limited", async || limited.hits() == 1).await;
    worker.stop().await;
    let told = port.sync("a").await.1;
    assert_eq!(told["result"], "due", "{told}");
    let said = told["calendars"][0]["last_error"].as_str().expect("an error").to_owned();
    assert!(said.contains("429"), "{said}");
    assert!(world.shown(&host).await.is_empty());
    let rows = world.store.external_events(&story.uid()).await.expect("the store answers");
    assert!(rows.is_empty(), "no row says that there is one: {rows:?}");

    // 2. "Verify external calendar API credentials": parked, with the reason, until reconnected.
    // (Reconnecting also ends the calendar's hour.)
    world.put(&host).await;
    let lock = world.host.lock_out(&host.place);
    let worker = world.worker();
    until("it is parked", async || world.state(&host).await == ConnectionState::Parked).await;
    worker.stop().await;
    assert_eq!(port.sync("a").await.1["result"], "parked");
    let credentials = world.host.let_in(&host.place, lock);
    host.new.sealed = world.seal(host.id, &credentials);
    world.put(&host).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)]);
    assert_eq!(port.sync("a").await.1["result"], "unchanged");
    port.close().await;
}

/// *Duplicate Events Created*: everything that could make one, at once, and none is made.
pub(super) async fn no_event_is_created_twice(world: &mut World) {
    let host = world.connect(1).await;
    let port = Port::open(world).await;
    let mut story = Story::of("a", provider(1));
    let created = story.created();
    // The event comes three times, the first answer is lost, and two workers and an operator
    // press on.
    let lost = world.host.order(1, Trouble::AnswerLost);
    world.publish([created.clone(), created.clone(), created]);
    world.read(1).await;
    let (one, two) = (world.worker(), world.worker());
    let asking = async {
        for _ in 0..20 {
            port.sync("a").await;
        }
    };
    tokio::join!(asking, until("nothing is owed", async || world.pending().await == 0));
    one.stop().await;
    two.stop().await;
    assert_eq!(lost.hits(), 1);
    world.rewind().await;
    world.read(1_000).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9)], "one event");
    let row = world.mapped(&story).await;
    assert_eq!(row.external_id, world.only(&host).await.id, "and one row, of that event");
    port.close().await;
}

/// *Event Not Updated*: "Booking updated but external calendar event unchanged".
pub(super) async fn an_event_that_is_not_updated_says_why(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let port = Port::open(world).await;
    let refusal = world.host.order(EVERY, INVALID);
    world.tell([story.moved(11)]).await;
    world.drain().await;
    refusal.withdraw();
    assert_eq!(world.starts(&host).await, [hour(9)], "unchanged");
    // "Check for update errors": in the row, at the endpoint, and as a dead letter.
    let row = world.mapped(&story).await;
    assert_eq!(row.sync_status, "FAILED");
    let told = port.sync("a").await.1;
    assert_eq!(told["result"], "dead", "{told}");
    assert!(told["calendars"][0]["last_error"].as_str().is_some_and(|said| said.contains("400")));
    let letter = world.dead_letters().await.remove(0);
    let redriven = world.pipeline().redrive(letter.id).await.expect("it is redriven");
    assert_eq!(redriven, Redriven::Due);
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
    // "Review `external_event_id` mapping": it led to the same event.
    let mended = world.mapped(&story).await;
    assert_eq!((mended.external_id, mended.sync_status.as_str()), (row.external_id, "UPDATED"));
    port.close().await;
}
