//! Hosts that open a connection again by a link, or connect what was connected before by another way.

use calendar_sync::emulator::{Fault, Moment, Person, Rule, Verb};
use calendar_sync::store::{ConnectionRow, ConnectionState};
use serde_json::json;

use super::granted::{Good, granted, order, stories, tell_created};
use super::site::{Browser, Site, seat};
use crate::end_to_end::host::{Host, Place};
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{Connected, World};

async fn row(world: &World, host: &Connected) -> ConnectionRow {
    let row = world.store.connection(host.id).await.expect("the store answers");
    row.expect("it was connected")
}

/// Rule R8: who takes the bookings is another question than whose access is good.
/// Fails with `make_destination: true` for every link.
pub(super) async fn who_opens_a_connection_again_takes_nobodys_bookings(world: &mut World) {
    let ours = granted(world, Good::For(3_000, 3_300)).await;
    let other = world.prepare(1).await;
    world.put(&other).await;
    let site = Site::open(world).await;
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    world.drain().await;
    seat(world, Person::new(&other.place.subject));
    let link = site.link(json!({ "connection_id": other.id })).await;
    let done = Browser::default().come_back(&link).await;
    assert_eq!(done.told("calendar_connection"), Some(other.id.to_string()), "{}", done.text);
    assert_ne!(row(world, &other).await.sealed, other.new.sealed, "it has new access");
    assert!(row(world, &ours).await.destination && !row(world, &other).await.destination);
    world.drain().await;
    assert_eq!(world.starts(&ours).await, [hour(9); 2]);
    assert!(world.starts(&other).await.is_empty());

    // Unless it is asked for.
    let asked = json!({ "connection_id": other.id, "make_destination": true });
    let done = Browser::default().come_back(&site.link(asked).await).await;
    assert_eq!(done.told("calendar_status").as_deref(), Some("connected"), "{}", done.text);
    world.drain().await;
    assert!(world.starts(&ours).await.is_empty());
    assert_eq!(world.starts(&other).await, [hour(9); 2]);
    site.close().await;
}

/// L28: access that opens nothing is told at once, and not by dead letters.
pub(super) async fn a_calendar_that_is_gone_is_not_opened_again(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let site = Site::open(world).await;
    let is_gone = match &world.host {
        Host::Google(google) => google.remove_calendar(&host.place.calendar),
        Host::Microsoft(graph) => graph.remove_calendar(&host.place.calendar),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    };
    assert!(is_gone);
    seat(world, Person::new(&host.place.subject));
    let link = site.link(json!({ "connection_id": host.id })).await;
    let page = Browser::default().come_back(&link).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("cannot be written to"), "{}", page.text);
    assert_eq!(row(world, &host).await.sealed, host.new.sealed, "nothing was stored");
    site.close().await;
}

pub(super) async fn what_was_removed_is_not_brought_back_by_a_link_from_before(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let site = Site::open(world).await;
    seat(world, Person::new(&host.place.subject));
    let again = json!({ "connection_id": host.id });
    let link = site.link(again.clone()).await;
    world.store.remove_connection(host.id, false).await.expect("the store answers");
    let page = Browser::default().come_back(&link).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("disconnected meanwhile"), "{}", page.text);
    let removed = [ConnectionState::Removing, ConnectionState::Removed];
    assert!(removed.contains(&world.state(&host).await));
    let (status, text) = site.refusal(again).await;
    assert_eq!(status, 409, "{text}");
    // Connected anew, it has its name of before (rule R17).
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(json!({})).await).await;
    let done = browser.choose(&page, &host.place.calendar).await;
    assert_eq!(done.told("calendar_connection"), Some(host.id.to_string()), "{}", done.text);
    site.close().await;
}

/// The same while the account's calendars are being listed: some seconds, in which it may be removed.
///
/// Fails with: `ops/connect/visit.rs`, `put`: `revives: true`.
pub(super) async fn what_is_removed_while_a_link_is_followed_stays_removed(world: &mut World) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let site = Site::open(world).await;
    seat(world, Person::new(&host.place.subject));
    let link = site.link(json!({ "connection_id": host.id })).await;
    let mut browser = Browser::default();
    let back = browser.go(&link).await;
    let held = Fault::Hold(Moment::AfterApplying);
    let held = order(world, Rule::next(1, held).verb(Verb::CalendarList));
    let (page, ()) = tokio::join!(browser.get(&back), async {
        held.wait_held(1).await;
        world.store.remove_connection(host.id, false).await.expect("the store answers");
        held.withdraw();
    });
    assert_eq!(page.status, 400, "{}", page.text);
    assert!(page.text.contains("disconnected meanwhile"), "{}", page.text);
    let row = row(world, &host).await;
    assert_eq!((row.state, row.destination), (ConnectionState::Removed, false));
    assert!(row.sealed.is_empty(), "its credentials stay gone");
    site.close().await;
}

/// Rule R17: Google's `primary` and the account's address are one calendar, and its events are not made
/// a second time.
pub(super) async fn what_was_connected_as_primary_keeps_that_name(world: &mut World) {
    let site = Site::open(world).await;
    let listed = world.prepare(1).await;
    let by_its_word = Place { calendar: "primary".to_owned(), ..listed.place.clone() };
    let host = world.prepare_at(1, by_its_word);
    world.put(&host).await;
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    world.drain().await;
    seat(world, Person::new(&host.place.subject));
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(json!({})).await).await;
    let done = browser.choose(&page, &listed.place.calendar).await;
    assert_eq!(done.told("calendar_connection"), Some(host.id.to_string()), "{}", done.text);
    world.drain().await;
    assert_eq!(world.starts(&listed).await, [hour(9); 2], "each event is there once");
    site.close().await;
}
