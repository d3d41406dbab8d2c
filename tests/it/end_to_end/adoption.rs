//! The booking application has put events into calendars itself: they are taken over, not made
//! again.

use std::collections::BTreeMap;

use booking::Verb;
use calendar_sync::calendar::Credentials;
use chrono::SecondsFormat;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::story::{DOMAIN, Story, hour, provider};
use super::world::{Connected, KEY, World, until};
use crate::settings::{ON_THIS_MACHINE, program, text};

/// Rows with their events.
const EVENTS: usize = 1_000;
/// Rows that never had one.
const LOCAL: usize = 5;
/// Of the events: moved since, cancelled since, deleted by the host.
const MOVED: usize = 7;
const CANCELLED: usize = 3;
/// Created and cancelled in one batch, read before and after the adoption; given away likewise.
const ENDED: usize = 4;
const GIVEN: usize = 2;
/// All that must not stand in the calendar in the end.
const WITHDRAWN: usize = CANCELLED + 2 * ENDED + GIVEN;
const GONE: usize = 2;

fn name(number: usize) -> String {
    format!("b{number:04}")
}

/// Google's ids are of `a-v0-9`.
fn event_id(number: usize) -> String {
    format!("made2019{number:06}")
}

/// Makes an event as the booking application did: with an id and words of its own choice.
#[expect(clippy::disallowed_methods, reason = "this is the booking application's own client")]
async fn make(client: &reqwest::Client, host: &Connected, number: usize) {
    let Credentials::Bearer { token } = &host.place.credentials else {
        unreachable!("Google's are bearer tokens")
    };
    let time = |hours| {
        let at = hour(hours).with_timezone(&chrono_tz::Europe::Berlin);
        json!({ "dateTime": at.to_rfc3339_opts(SecondsFormat::Secs, true), "timeZone": "Europe/Berlin" })
    };
    let event = json!({
        "id": event_id(number), "summary": "Booking: Massage", "start": time(9), "end": time(10),
    });
    let url = format!("{}/calendars/{}/events", host.place.base_url, host.place.calendar);
    let answer = client
        .post(url)
        .bearer_auth(token.expose_secret())
        .body(event.to_string())
        .header("content-type", "application/json")
        .send()
        .await
        .expect("the emulator answers");
    assert_eq!(answer.status().as_u16(), 200);
}

/// One of its rows, as it wrote them; answers its id.
async fn row(
    session: &mut PgConnection,
    host: &Connected,
    external_id: String,
    number: usize,
    story: &Story,
) -> Uuid {
    const ROW: &str = "
        INSERT INTO public.external_calendar_events
               (provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
                start_time, end_time, is_busy, sync_status)
        VALUES ($1, 'google', $2, $3, $4, $5, $6, true, 'CREATED') RETURNING id";
    sqlx::query_scalar(ROW)
        .bind(host.provider.0)
        .bind(external_id)
        .bind(story.uid().to_string())
        .bind(name(number))
        .bind(hour(9))
        .bind(hour(10))
        .fetch_one(session)
        .await
        .expect("a row")
}

/// All its rows.
async fn rows_of(url: &str, host: &Connected, stories: &[Story]) -> BTreeMap<String, Uuid> {
    const FORMER: &str = "
        INSERT INTO public.external_calendar_events
               (id, provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
                start_time, end_time, is_busy, sync_status)
        VALUES ('00000000-0000-0000-0000-000000000001', $1, 'google', 'former', $2, 'b0000',
                now(), now() + interval '1 hour', false, 'CANCELLED')";
    let mut session = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let mut rows = BTreeMap::new();
    for (number, story) in stories.iter().enumerate() {
        let external = if number < EVENTS { event_id(number) } else { format!("local-{number}") };
        let id = row(&mut session, host, external, number, story).await;
        rows.insert(story.uid().to_string(), id);
    }
    // One booking was cancelled before: that row comes first, by its id.
    sqlx::query(FORMER)
        .bind(host.provider.0)
        .bind(stories[0].uid().to_string())
        .execute(&mut session)
        .await
        .expect("a row");
    session.close().await.expect("it closes");
    rows
}

/// (id, external id, status) of every row, by UID.
async fn mapped(url: &str) -> BTreeMap<String, (Uuid, String, String)> {
    const ROWS: &str =
        "SELECT ical_uid, id, external_event_id, sync_status FROM public.external_calendar_events
          WHERE connection_id IS NOT NULL";
    let mut session = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let rows: Vec<(String, Uuid, String, String)> =
        sqlx::query_as(ROWS).fetch_all(&mut session).await.expect("rows");
    session.close().await.expect("it closes");
    let count = rows.len();
    let by_uid: BTreeMap<_, _> =
        rows.into_iter().map(|(uid, id, external, status)| (uid, (id, external, status))).collect();
    assert_eq!(by_uid.len(), count, "one row for each booking");
    by_uid
}

/// What it says, and whether it was all done.
async fn adopt(url: &str) -> (bool, Value) {
    let url = url.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let (url, domain) = (("DATABASE_URL", url.as_str()), ("CONTENT_UID_DOMAIN", DOMAIN));
        let environment = [url, ("SECRETS_KEY", KEY), domain, ON_THIS_MACHINE];
        let output = program(&["adopt", "--json"], &environment, "");
        (output.status.success(), text(&output.stdout))
    });
    let (done, said) = answer.await.expect("it ran");
    (done, serde_json::from_str(&said).expect("JSON"))
}

/// Each booking has the row that it had, of the event that it had.
async fn the_rows_are_kept(url: &str, rows: &BTreeMap<String, Uuid>, stories: &[Story]) {
    let after = mapped(url).await;
    for (number, story) in stories.iter().enumerate() {
        let (id, external, status) = &after[story.uid().as_str()];
        assert_eq!(*id, rows[story.uid().as_str()], "the same row");
        if number < EVENTS - GONE {
            assert_eq!(*external, event_id(number), "and the same event");
        } else {
            assert_eq!(status, "CREATED");
            assert!(external.starts_with("booking"), "{external}");
        }
    }
}

/// Fails with: `store/postgres/lane.rs`, `lease_between`: without the condition on rows that are
/// not adopted; `store/postgres/ingest.rs`, `write_effects`: without `applied_revision = CASE …`.
pub(super) async fn what_the_booking_application_made_is_taken_over(world: &mut World) {
    let url = world.url.clone().expect("PostgreSQL");
    let host = world.connect(1).await;
    let mut stories: Vec<_> =
        (0..EVENTS + LOCAL).map(|number| Story::of(&name(number), provider(1))).collect();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for number in 0..EVENTS {
        make(&client, &host, number).await;
    }
    let rows = rows_of(&url, &host, &stories).await;
    for number in EVENTS - GONE..EVENTS {
        world.host.delete_by_hand(&host.place, &event_id(number)).await;
    }

    // One half of the log was read before, with nobody to stop it from sending.
    let created: Vec<_> = stories.iter_mut().map(Story::created).collect();
    let (before, after) = created.split_at(EVENTS / 2);
    let ended =
        |stories: &mut [Story]| stories.iter_mut().map(Story::cancelled).collect::<Vec<_>>();
    let ended_before = ended(&mut stories[EVENTS / 2 - ENDED..EVENTS / 2]);
    world.tell(before.iter().cloned().chain(ended_before)).await;
    assert!(world.pending().await > 0);
    let (gate, token) = (&world.emit.gate, world.surroundings.dice.token());
    let lease = world.store.lease(gate, host.id, token, world.emit.lease).await;
    assert_eq!(lease.expect("the store answers"), None, "nothing is sent before");
    let made_before = world.host.attempts().len();

    let (done, counts) = adopt(&url).await;
    assert!(done, "{counts}");
    let (found, lacking) = (EVENTS - GONE, LOCAL + GONE);
    let expected = json!({ "adopted": found, "without_event": lacking, "duplicates": 1, "other_uid": 0, "failures": [] });
    assert_eq!(counts, expected);

    world.publish(after.to_vec());
    let moved: Vec<_> = stories[..MOVED].iter_mut().map(|story| story.moved(11)).collect();
    let cancelled = stories[MOVED..MOVED + CANCELLED].iter_mut().map(Story::cancelled);
    let cancelled: Vec<_> = cancelled.collect();
    world.publish(moved.into_iter().chain(cancelled));
    let later = EVENTS / 2;
    world.publish(ended(&mut stories[later..later + ENDED]));
    let given = stories[later + ENDED..later + ENDED + GIVEN].iter_mut().map(|story| {
        story.provider = provider(2);
        story.moved(9)
    });
    let given: Vec<_> = given.collect();
    world.publish(given);
    world.rewind().await;
    world.read(10_000).await;
    world.drain().await;

    let sent = world.host.attempts().split_off(made_before);
    let count = |verb| sent.iter().filter(|write| write.verb == verb).count();
    assert_eq!(count(Verb::Create), lacking, "only what has no event is made");
    assert_eq!(
        (count(Verb::Update), count(Verb::Delete)),
        (MOVED, WITHDRAWN),
        "as the log demands"
    );
    assert!(sent.iter().all(|write| write.effective), "each once");
    assert_eq!(world.shown(&host).await.len(), EVENTS + LOCAL - WITHDRAWN);
    let starts = world.starts(&host).await;
    assert_eq!(starts.iter().filter(|start| **start == hour(11)).count(), MOVED);
    the_rows_are_kept(&url, &rows, &stories).await;
    // Later changes find them too.
    let again = stories[MOVED + CANCELLED].moved(12);
    world.tell([again]).await;
    world.drain().await;
    assert_eq!(world.shown(&host).await.len(), EVENTS + LOCAL - WITHDRAWN);
    assert!(world.starts(&host).await.contains(&hour(12)));
    let nothing = json!({
        "adopted": 0, "without_event": 0, "duplicates": 0, "other_uid": 0, "failures": [],
    });
    assert_eq!(adopt(&url).await, (true, nothing), "once");
}

/// Fails with: `cli/adopt.rs`, `run`: `?` for the failure that is noted.
pub(super) async fn one_hosts_trouble_holds_up_no_others_adoption(world: &mut World) {
    let url = world.url.clone().expect("PostgreSQL");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut session = PgConnection::connect(&url).await.expect("PostgreSQL answers");
    let (mut hosts, mut stories) = (Vec::new(), Vec::new());
    for number in [1, 2] {
        let host = world.connect(u128::try_from(number).expect("a small number")).await;
        let story = Story::of(&name(number), host.provider);
        make(&client, &host, number).await;
        row(&mut session, &host, event_id(number), number, &story).await;
        hosts.push(host);
        stories.push(story);
    }
    session.close().await.expect("it closes");
    let lock = world.host.lock_out(&hosts[0].place);
    let (done, counts) = adopt(&url).await;
    assert!(!done, "not all of it is done");
    assert_eq!(counts["adopted"], 1, "{counts}");
    let failures = counts["failures"].as_array().expect("a list");
    let told = failures[0].as_str().expect("a text");
    assert!(failures.len() == 1 && told.contains(&hosts[0].id.to_string()), "{counts}");
    let mapped = mapped(&url).await;
    assert!(mapped.contains_key(stories[1].uid().as_str()) && mapped.len() == 1);

    // Only the other one is sent to.
    let created: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(created).await;
    let moved: Vec<_> = stories.iter_mut().map(|story| story.moved(11)).collect();
    world.tell(moved).await;
    let worker = world.worker();
    until("it is moved", async || world.starts(&hosts[1]).await == [hour(11)]).await;
    worker.stop().await;
    assert_eq!(world.attempts_on(&hosts[0]).len(), 1, "the booking application's own");

    let credentials = world.host.let_in(&hosts[0].place, lock);
    hosts[0].new.sealed = world.seal(hosts[0].id, &credentials);
    world.put(&hosts[0]).await;
    let (done, counts) = adopt(&url).await;
    assert!(done && counts["adopted"] == 1, "{counts}");
    world.drain().await;
    assert_eq!(world.starts(&hosts[0]).await, [hour(11)]);
}
