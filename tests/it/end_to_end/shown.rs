//! What a host sees.

use booking::{Status, Verb};
use calendar_sync::config::{Given, Settings};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::host::Host;
use super::story::{Story, hour, provider};
use super::world::World;

/// L3, L14: our UID, the external id and the provider's own UID are read back and stored.
///
/// Fails with: `emit/call.rs`, `acknowledged`: `provider_uid.filter(|_| false)` for L3 (Google);
/// `external_id.replace("booking", "")` for L14.
pub(super) async fn the_names_that_a_calendar_gives_are_stored_and_lead_back_to_the_event(
    world: &mut World,
) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    for (event, status) in [(story.created(), "CREATED"), (story.moved(11), "UPDATED")] {
        world.tell([event]).await;
        world.drain().await;
        let (shown, row) = (world.only(&host).await, world.mapped(&story).await);
        assert_eq!((&row.external_id, &row.uid), (&shown.id, &story.uid()));
        let is_ours = !matches!(&world.host, Host::Microsoft(_));
        assert!(!is_ours || row.external_id.contains("booking"), "operators search for it");
        let named = match &world.host {
            Host::Google(_) | Host::Microsoft(_) => row.provider_uid,
            // The protocol gives it no other: RFC 4791 §4.1.
            Host::Caldav(_) => row.provider_uid.or(Some(row.uid.to_string())),
        };
        assert_eq!(named.as_ref(), Some(&shown.provider_uid));
        assert_eq!((row.start, row.end, row.is_busy), (shown.start, shown.end, true));
        assert_eq!((row.sync_status.as_str(), row.applied_revision), (status, shown.revision));
    }
    let named = world.mapped(&story).await.external_id;
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert!(world.host.writes().iter().all(|write| write.id == named), "one name for all");
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update, Verb::Delete]);
    assert_eq!(world.mapped(&story).await.sync_status, "CANCELLED");
}

/// L6: same href, If-Match, SEQUENCE + 1.
///
/// Fails with: `emit/call.rs`, `effect`: `Condition::Unconditional` for `Condition::Match(…)`; or,
/// on Radicale, `calendar/ical.rs`, `described`: `.sequence(0)`.
pub(super) async fn a_reschedule_changes_the_same_event_under_its_etag(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let before = world.only(&host).await;
    assert_eq!((before.revision, before.sequence), (0, 0));
    world.tell([story.moved(11)]).await;
    world.drain().await;
    let after = world.only(&host).await;
    assert_eq!(after.id, before.id);
    assert_eq!(after.provider_uid, before.provider_uid);
    assert_eq!((after.start, after.end), (hour(11), hour(12)));
    assert_eq!((after.revision, after.sequence), (1, 1));
    let attempts = world.host.attempts();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(attempts[1].if_match.as_ref(), Some(&before.etag));
}

/// L22: or participants are told of a cancellation.
///
/// Fails with: `emit/decide.rs`, `next`: `Verb::Delete` for `Verb::Update`.
pub(super) async fn an_update_is_never_a_deletion_and_a_creation(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let id = world.only(&host).await.id;
    world.tell([story.moved(14)]).await;
    world.drain().await;
    "Other".clone_into(&mut story.details.service_name);
    story.details.zone = Tz::America__New_York;
    world.tell([story.updated()]).await;
    world.drain().await;
    story.details.location = Some("Elsewhere".to_owned());
    world.tell([story.updated()]).await;
    world.drain().await;
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update, Verb::Update, Verb::Update]);
    let event = world.only(&host).await;
    assert_eq!((event.id, event.summary.as_str()), (id, "Booking: Other"));
    assert_eq!(event.zone, Some(Tz::America__New_York));
}

/// L19: the IANA zone is carried, also through the hour that does not exist (Berlin's 2030-03-31,
/// two to three) and the one that is lived twice (2030-10-27, two to three).
///
/// Fails with: `calendar/google.rs`, `insert_of`: `"timeZone": "UTC"` in the start; or, on
/// Radicale, `calendar/zone.rs`, `says`: `.latest()` for `.earliest()`.
pub(super) async fn times_are_said_in_the_bookings_zone_also_where_the_clocks_change(
    world: &mut World,
) {
    let starts = [
        "2030-03-31T00:30:00Z",
        "2030-03-31T01:00:00Z",
        "2030-10-26T23:30:00Z",
        "2030-10-27T00:30:00Z",
        "2030-10-27T01:30:00Z",
        "2030-07-01T08:00:00Z",
    ];
    // Of these, one end lies in the hour that is lived twice.
    let twice = [3, 4, 5];
    for (number, start) in (1..).zip(starts) {
        let start: DateTime<Utc> = start.parse().expect("a time");
        let host = world.connect(number).await;
        let mut story = Story::of(&format!("b{number}"), provider(number));
        (story.details.start, story.details.end) = (start, start + TimeDelta::minutes(50));
        world.tell([story.created()]).await;
        world.drain().await;
        let event = world.only(&host).await;
        let zone = match &world.host {
            // Its local times have no offset: what they cannot say is said in UTC.
            Host::Microsoft(_) if twice.contains(&number) => Tz::UTC,
            Host::Google(_) | Host::Microsoft(_) | Host::Caldav(_) => Tz::Europe__Berlin,
        };
        let expected = (start, start + TimeDelta::minutes(50), Some(zone));
        assert_eq!((event.start, event.end, event.zone), expected);
    }
}

/// PENDING is not put in a calendar; CONFIRMED → PENDING withdraws.
///
/// Fails with: `booking/content.rs`, `render`: without the line that returns `None`.
pub(super) async fn a_pending_booking_is_hidden_until_it_is_confirmed(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    story.details.status = Status::Pending;
    world.tell([story.created()]).await;
    world.drain().await;
    assert_eq!(world.host.requests(), 0);
    for (status, is_shown) in [
        (Status::Confirmed, true),
        (Status::Pending, false),
        (Status::Confirmed, true),
        (Status::Completed, true),
        (Status::NoShow, true),
    ] {
        story.details.status = status;
        world.tell([story.updated()]).await;
        world.drain().await;
        assert_eq!(world.shown(&host).await.len(), usize::from(is_shown), "{status:?}");
    }
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Delete, Verb::Create]);
}

/// `content.pending_as_tentative`.
pub(super) async fn a_pending_booking_is_tentative_where_that_is_asked_for(world: &mut World) {
    world.rules.pending_is_tentative = true;
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    story.details.status = Status::Pending;
    world.tell([story.created()]).await;
    world.drain().await;
    assert!(world.only(&host).await.tentative);
    story.details.status = Status::Confirmed;
    world.tell([story.updated()]).await;
    world.drain().await;
    assert!(!world.only(&host).await.tentative);
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update]);
}

/// Fails with: `config/table.rs`: `{description} {notes}` for the default of `content.description`.
pub(super) async fn what_no_template_asks_for_is_in_no_request(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    let details = &mut story.details;
    details.description = Some("Bring a towel".to_owned());
    details.title = Some("secret-title".to_owned());
    details.notes = Some("secret-notes".to_owned());
    details.customer_name = Some("secret-name".to_owned());
    details.customer_email = Some("secret@example.com".to_owned());
    world.tell([story.created()]).await;
    world.drain().await;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    let bodies: Vec<_> = world.host.attempts().into_iter().map(|write| write.body).collect();
    assert_eq!(bodies.len(), 2);
    for body in &bodies {
        assert!(body.contains("Bring a towel") && !body.contains("secret"), "{body}");
    }

    // Who asks for it gets it.
    let given = [("CONTENT_TITLE", "{title} for {customer_name}"), ("DATABASE_URL", "sqlite:x")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::parse(&Given::of(None, given)).expect("these settings are sound");
    world.rules.summary = settings.content.title;
    world.tell([story.moved(12)]).await;
    world.drain().await;
    assert_eq!(world.only(&host).await.summary, "secret-title for secret-name");
}
