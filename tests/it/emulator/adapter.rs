//! Other clients than the tests' own: our adapter, and Google's library.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use booking::{ConnectionId, Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::google::Google as Adapter;
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::calendar::{
    Account, Answer, Calendar, Call, Condition, Credentials, Name, Reading,
};
use calendar_sync::clock::SystemClock;
use calendar_sync::emulator::google::ByHand;
use calendar_sync::emulator::{Effect, Fault, Moment, Rule};
use chrono_tz::Tz;
use uuid::Uuid;

use super::{ACCOUNT, CALENDAR, Google, TOKEN, at};
use crate::services;

const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(7));

fn adapter(google: &Google) -> Adapter {
    adapter_with(google, TOKEN)
}

fn adapter_with(google: &Google, token: &str) -> Adapter {
    let timeout = Duration::from_secs(20);
    let http = Http::new(HttpOptions {
        call_timeout: timeout,
        connect_timeout: timeout,
        proxy_from_environment: false,
        reach: Reach::Anywhere,
        clock: Arc::new(SystemClock::start()),
    });
    let account = Account {
        connection: CONNECTION,
        base_url: google.emulator.base_url(),
        calendar: CALENDAR.to_owned(),
        credentials: Credentials::Bearer { token: token.into() },
    };
    Adapter::new(account, http.expect("a client"))
}

fn content(hour: u32) -> (Marker, Content) {
    let content = Content {
        summary: "Haircut".to_owned(),
        description: None,
        location: Some("Main Street 1".to_owned()),
        start: at(hour),
        end: at(hour + 1),
        zone: Tz::Europe__Paris,
        tentative: false,
    };
    let uid = IcalUid::parse("b-1@example.com").expect("a UID");
    let revision = i64::from(hour);
    (Marker { uid, connection: CONNECTION, revision, digest: content.digest() }, content)
}

fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Status { status, .. } => *status,
        Answer::Lost { .. } => 0,
    }
}

/// L1, L3, L14.
#[tokio::test]
async fn our_adapter_makes_reads_changes_and_removes_an_event() {
    let google = Google::start().await;
    let adapter = adapter(&google);
    let (marker, first) = content(9);
    let external_id = &adapter.external_id(&marker.uid, 0);
    let send = async |verb, condition, body: &[u8]| {
        adapter.send(&Call { verb, name: Name::given(external_id), condition, body }).await
    };
    assert_eq!(adapter.read(Name::given(external_id)).await, Reading::Absent);

    google.emulator.order(Rule::next(1, Fault::HangUp(Moment::AfterApplying)));
    let body = adapter.body(external_id, &marker, &first);
    let lost = send(Verb::Create, Condition::New, &body).await;
    assert!(matches!(lost, Answer::Lost { sent: true, .. }));
    assert_eq!(status(&send(Verb::Create, Condition::New, &body).await), 409);
    let Reading::Live { marker: Some(read), etag: Some(etag), provider_uid: Some(uid), .. } =
        adapter.read(Name::given(external_id)).await
    else {
        panic!("the event is there, whole");
    };
    assert_eq!((&read, uid), (&marker, format!("{external_id}@google.com")));

    google.emulator.change_by_hand(CALENDAR, external_id, ByHand::Colour("7".to_owned()));
    google.emulator.change_by_hand(CALENDAR, external_id, ByHand::AllDay);
    let (moved, second) = content(11);
    let body = adapter.body(external_id, &moved, &second);
    let stale = send(Verb::Update, Condition::Match(etag), &body).await;
    assert_eq!(status(&stale), 412);
    let Reading::Live { etag: Some(etag), .. } = adapter.read(Name::given(external_id)).await
    else {
        panic!("the event is there");
    };
    assert_eq!(status(&send(Verb::Update, Condition::Match(etag), &body).await), 200);
    let event = &google.emulator.events(CALENDAR)[0];
    assert_eq!((event.start, event.end), (at(11), at(12)));
    assert_eq!(event.properties["bookingRevision"], "11");
    assert_eq!(event.resource["colorId"], "7");

    assert_eq!(status(&send(Verb::Delete, Condition::Unconditional, &[]).await), 204);
    assert_eq!(status(&send(Verb::Delete, Condition::Unconditional, &[]).await), 410);
    assert_eq!(adapter.read(Name::given(external_id)).await, Reading::Tombstone);
    let calls = google.emulator.calls();
    let effects: Vec<_> =
        calls.mutations_of(CALENDAR, external_id).iter().map(|call| call.effect).collect();
    assert_eq!(effects, [Effect::Created, Effect::Updated, Effect::Deleted]);
    assert_eq!((calls.applied_but_lost(), calls.out_of_order()), (1, 0));
    google.emulator.remove_calendar(CALENDAR);
    assert!(matches!(adapter.read(Name::given(external_id)).await, Reading::CalendarGone { .. }));
}

/// L24: with the scope for events alone, which is all that writing them needs, an event that is
/// not there is told from a calendar that is not.
#[tokio::test]
async fn a_token_for_events_alone_tells_an_absent_event_from_a_missing_calendar() {
    let google = Google::start().await;
    google.emulator.add_events_token("events-token", ACCOUNT);
    let adapter = adapter_with(&google, "events-token");
    let (marker, content) = content(9);
    let external_id = &adapter.external_id(&marker.uid, 0);
    assert_eq!(adapter.read(Name::given(external_id)).await, Reading::Absent);
    let body = adapter.body(external_id, &marker, &content);
    let (verb, name) = (Verb::Create, Name::given(external_id));
    let call = Call { verb, name, condition: Condition::New, body: &body };
    assert_eq!(status(&adapter.send(&call).await), 200);
    google.emulator.remove_calendar(CALENDAR);
    assert!(matches!(adapter.read(Name::given(external_id)).await, Reading::CalendarGone { .. }));
}

#[tokio::test]
async fn googles_own_client_finds_what_it_expects() {
    let name = "googles_own_client_finds_what_it_expects";
    let Some(python) = services::google_client(name) else {
        return;
    };
    let google = Google::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/google_client.py");
    let mut command = Command::new(python);
    command.args([script, &google.emulator.base_url(), TOKEN, CALENDAR]);
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    let output = run.expect("it ran").expect("there is a Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(google.emulator.tombstones(CALENDAR).len(), 1);
}
