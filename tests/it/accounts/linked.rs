//! Hosts that connect their calendars by links: all that their browsers do, on real HTTP.

use calendar_sync::connection::Issuer;
use calendar_sync::connection::pass::{self, Link};
use calendar_sync::emulator::{Consent, Person};
use calendar_sync::store::ConnectionState;
use serde_json::json;
use uuid::Uuid;

use super::granted::{Good, calls, granted, revoke, stored, stories, tell_created};
use super::refused::parked;
use super::site::{APPLICATION, Browser, Site, host, seat};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::{hour, provider};
use crate::end_to_end::world::{World, sealer};

/// A scope without which nothing can be written.
fn needed(host: &Host) -> String {
    match host {
        Host::Google(_) => "https://www.googleapis.com/auth/calendar.events".to_owned(),
        Host::Microsoft(_) => "Calendars.ReadWrite".to_owned(),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

async fn connections(world: &World) -> usize {
    world.store.connections().await.expect("the store answers").len()
}

/// From the link to the event: and the name is the one that the account has by any way (rule R17).
pub(super) async fn who_follows_a_link_has_a_connected_calendar(world: &mut World) {
    let site = Site::open(world).await;
    let (host, _) = host(world).await;
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(json!({})).await).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains(&host.place.subject), "whose account it is: {}", page.text);
    assert!(page.text.contains("bookings.example"), "for whom it is: {}", page.text);
    assert_eq!(page.offered(), [host.place.calendar.as_str()]);
    assert_eq!(connections(world).await, 0, "nothing is stored before somebody has chosen");
    let done = browser.choose(&page, &host.place.calendar).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(done.sent_to().as_str().starts_with(APPLICATION), "{}", done.sent_to());
    assert_eq!(done.told("calendar_status").as_deref(), Some("connected"));
    assert_eq!(done.told("calendar_connection"), Some(host.id.to_string()));

    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    let grant = stored(world, &host).await;
    assert!(grant.access.is_some_and(|access| access.lifetime.is_some()));
    site.close().await;
}

/// RFC 9700 §4.7: an answer is taken from the browser that was sent, and from no other.
pub(super) async fn what_one_browser_began_no_other_ends(world: &mut World) {
    let site = Site::open(world).await;
    let (host, _) = host(world).await;
    let link = site.link(json!({})).await;
    let (mut hers, mut stranger) = (Browser::default(), Browser::default());
    let back = hers.go(&link).await;
    stranger.go(&link).await;
    for mut browser in [stranger.clone(), Browser::default()] {
        let page = browser.get(&back).await;
        assert_eq!(page.status, 400);
        assert!(page.text.contains("not the browser"), "{}", page.text);
    }
    // Her code was not used up by that.
    let page = hers.get(&back).await;
    assert_eq!(page.offered(), [host.place.calendar.as_str()], "{}", page.text);
    let page_of_hers = stranger.choose(&page, &host.place.calendar).await;
    assert!(page_of_hers.text.contains("not the browser"), "{}", page_of_hers.text);
    assert_eq!(connections(world).await, 0);
    // A code is good once.
    let again = hers.get(&back).await;
    assert_eq!(again.status, 400);
    assert!(again.text.contains("each is good once"), "{}", again.text);
    site.close().await;
}

pub(super) async fn who_says_no_is_sent_back_and_nothing_is_stored(world: &mut World) {
    let site = Site::open(world).await;
    let (_, person) = host(world).await;
    seat(world, person.saying(Consent::Refused));
    let mut browser = Browser::default();
    let done = browser.come_back(&site.link(json!({})).await).await;
    assert_eq!(done.told("calendar_status").as_deref(), Some("declined"));
    assert_eq!(done.told("calendar_connection"), None);
    assert_eq!(connections(world).await, 0);
    site.close().await;
}

/// L28.
pub(super) async fn a_scope_that_was_not_granted_is_named(world: &mut World) {
    let site = Site::open(world).await;
    let (_, person) = host(world).await;
    let needed = needed(&world.host);
    seat(world, person.saying(Consent::Without(vec![needed.clone()])));
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(json!({})).await).await;
    assert_eq!(page.status, 400);
    let name = needed.rsplit('/').next().expect("a name");
    assert!(page.text.contains(name), "{}", page.text);
    assert!(page.text.contains("calendar_status=failed"), "a way back: {}", page.text);
    assert_eq!(connections(world).await, 0);
    site.close().await;
}

pub(super) async fn a_calendar_that_can_only_be_read_is_neither_offered_nor_taken(
    world: &mut World,
) {
    let site = Site::open(world).await;
    let (host, _) = host(world).await;
    let read_only = match &world.host {
        Host::Google(google) => {
            let id = "of-others@group.calendar.google.com";
            google.create_read_only_calendar(&host.place.subject, id);
            id.to_owned()
        }
        Host::Microsoft(graph) => graph.create_read_only_calendar(&host.place.subject, "Of others"),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    };
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(json!({})).await).await;
    assert_eq!(page.offered(), [host.place.calendar.as_str()], "{}", page.text);
    for calendar in [read_only.as_str(), "of-nobody", ""] {
        let done = browser.choose(&page, calendar).await;
        assert_eq!(done.status, 400);
        assert!(done.text.contains("cannot be written to"), "{}", done.text);
    }
    assert_eq!(connections(world).await, 0);
    site.close().await;
}

/// Rule R17, L7: what had piled up goes out, one call for each booking; another account is refused.
pub(super) async fn a_parked_connection_is_opened_again_by_its_own_account_alone(
    world: &mut World,
) {
    let host = granted(world, Good::For(3_000, 3_300)).await;
    let site = Site::open(world).await;
    revoke(world, &host);
    let mut stories = stories(2);
    tell_created(world, &mut stories).await;
    parked(world, &host).await;
    let other = world.prepare(2).await;
    seat(world, Person::new(&other.place.subject));
    let again = json!({ "connection_id": host.id });
    let mut browser = Browser::default();
    let page = browser.come_back(&site.link(again.clone()).await).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("with another account"), "{}", page.text);
    assert_eq!(world.state(&host).await, ConnectionState::Parked);

    seat(world, Person::new(&host.place.subject));
    let done = browser.come_back(&site.link(again).await).await;
    assert_eq!(done.told("calendar_connection"), Some(host.id.to_string()), "{}", done.text);
    assert_eq!(connections(world).await, 1, "it has the same name");
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9); 2]);
    site.close().await;
}

pub(super) async fn a_link_is_given_to_the_booking_application_alone_and_only_if_it_can_be_followed(
    world: &mut World,
) {
    let site = Site::open(world).await;
    assert_eq!(site.ask(None, json!({})).await.0, 401);
    assert_eq!(site.ask(Some("another-token-of-some-length"), json!({})).await.0, 403);
    for (beside, field) in [
        (json!({ "provider_id": "x" }), "provider_id"),
        (json!({ "calendar_provider": "caldav" }), "calendar_provider"),
        (json!({ "return_url": "https://evil.example/" }), "return_url"),
        (json!({ "return_url": "https://bookings.example.evil.example/" }), "return_url"),
        (json!({ "return_url": "javascript:alert(1)" }), "return_url"),
        (json!({ "make_destination": "yes" }), "make_destination"),
        (json!({ "tenant": "a/b" }), "tenant"),
        (json!({ "tenant": ["contoso.example"] }), "tenant"),
        (json!({ "return_url": {} }), "return_url"),
        (json!({ "connection_id": 7 }), "connection_id"),
    ] {
        let (status, text) = site.refusal(beside).await;
        assert_eq!(status, 422, "{field}: {text}");
        assert!(text.contains(field), "{text}");
    }
    let nobodys = json!({ "connection_id": Uuid::nil() });
    assert_eq!(site.refusal(nobodys).await.0, 404);
    let (other, kind) = match &world.host {
        Host::Google(_) => ("microsoft", "microsoft"),
        Host::Microsoft(_) | Host::Caldav(_) => ("google", "google"),
    };
    let (status, text) = site.refusal(json!({ "calendar_provider": other })).await;
    assert_eq!(status, 409, "{text}");
    assert!(text.contains(&format!("oauth.{kind}.client_id")), "{text}");
    site.close().await;
}

/// Nothing is asked of the provider, and what is said is no surprise.
pub(super) async fn what_is_no_link_of_ours_leads_nowhere(world: &mut World) {
    let site = Site::open(world).await;
    let (_, _) = host(world).await;
    let before = calls(world).len();
    let link = site.link(json!({})).await;
    let mut browser = Browser::default();
    let page = |path: &str| site.url.join(path).expect("it is a URL");
    let of_other = if link.path().ends_with("google") { "microsoft" } else { "google" };
    let mut elsewhere = link.clone();
    elsewhere.set_path(&format!("connect/{of_other}"));
    let kind = world.host.kind().name();
    for url in [
        elsewhere,
        page(&format!("connect/{kind}")),
        page(&format!("connect/{kind}?link=AAAA")),
        page(&format!("connect/{kind}/callback")),
        page(&format!("connect/{kind}/callback?code=1&state=AAAA")),
        page(&format!("connect/{kind}/callback?error=access_denied&state=AAAA")),
        page("connect/caldav/callback?code=1&state=AAAA"),
    ] {
        let shown = browser.get(&url).await;
        assert_eq!(shown.status, 400, "{url}: {}", shown.text);
        assert!(shown.text.contains("not complete"), "{url}: {}", shown.text);
    }
    let issuer = if kind == "google" { Issuer::Google } else { of_microsoft() };
    let old = Link::new(&issuer, provider(1), None);
    let an_hour_ago = world.surroundings.clock.now() - chrono::TimeDelta::hours(1);
    let dice = world.surroundings.dice.as_ref();
    let (old, _) = pass::issue(&old, &sealer(), an_hour_ago, dice);
    let shown = browser.get(&page(&format!("connect/{kind}?link={old}"))).await;
    assert_eq!(shown.status, 410);
    assert!(shown.text.contains("expired"), "{}", shown.text);
    assert_eq!(calls(world).len(), before, "the provider was asked nothing");
    site.close().await;
}

fn of_microsoft() -> Issuer {
    Issuer::Microsoft(calendar_sync::connection::kept::Tenant::any())
}
