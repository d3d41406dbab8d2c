//! CalDAV, against real servers, Radicale and Xandikos: one calendar of its own for each test.

use std::time::Duration;

use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::caldav::Caldav;
use calendar_sync::calendar::http::{Exchanged, Http, Request};
use calendar_sync::calendar::{
    Account, Answer, Calendar as _, Call, Condition, Credentials, Name, Reading,
};
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::emit::outcome::{Outcome, Unread, outcome, unread};
use reqwest::Method;
use uuid::Uuid;

use super::{CONNECTION, SECRET, account, client, content, marker, uid};
use crate::services::{self, CaldavServer};

pub(super) fn http() -> Http {
    client(Duration::from_secs(20))
}

/// A new, empty calendar.
struct Ground {
    account: Account,
    caldav: Caldav,
}

async fn ground(server: CaldavServer) -> Ground {
    let CaldavServer { url, user, password } = server;
    let account = Account {
        connection: CONNECTION,
        base_url: String::new(),
        // Without a slash at its end: people paste it so.
        calendar: format!("{url}/{user}/{}", SystemDice.token()),
        credentials: Credentials::Basic { username: user, password: password.into() },
    };
    let status = collection(&account, "MKCALENDAR").await;
    assert_eq!(status, 201, "MKCALENDAR");
    Ground { caldav: Caldav::new(account.clone(), http()), account }
}

/// The facts about every server, each on a calendar of a real one.
macro_rules! on_server {
    ($server:ident, [$($fact:ident),* $(,)?]) => {
        mod $server {
            $(
                #[tokio::test]
                async fn $fact() {
                    if let Some(server) = crate::services::$server(stringify!($fact)) {
                        super::$fact(&super::ground(server).await).await;
                    }
                }
            )*
        }
    };
}

macro_rules! every_fact_on {
    ($server:ident) => {
        on_server!(
            $server,
            [
                a_created_event_is_read_back,
                creating_again_is_refused_and_changes_nothing,
                an_update_changes_the_event_in_place,
                a_stale_update_is_refused_and_changes_nothing,
                a_delete_is_guarded_and_a_second_one_finds_nothing,
                a_calendar_that_is_gone_is_no_absent_event,
                a_uid_at_another_href_is_rejected,
                what_is_not_icalendar_is_rejected,
            ]
        );
    };
}

every_fact_on!(radicale);
every_fact_on!(xandikos);

pub(super) async fn collection(account: &Account, method: &str) -> u16 {
    let request = Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        url: format!("{}/", account.calendar).parse().expect("a URL"),
        credentials: Some(&account.credentials),
        headers: Vec::new(),
        body: b"",
    };
    match http().exchange(request).await {
        Exchanged::Answered(response) => response.status,
        Exchanged::Lost { message, .. } => panic!("{method}: {message}"),
    }
}

fn booked() -> IcalUid {
    uid("booking-42@example.com")
}

impl Ground {
    fn id(&self) -> String {
        self.caldav.external_id(&booked(), 0)
    }

    async fn send(
        &self,
        verb: Verb,
        condition: Condition,
        event: Option<(&Marker, &Content)>,
    ) -> Answer {
        let id = self.id();
        let body = event.map(|(marker, content)| self.caldav.body(&id, marker, content));
        let body = body.unwrap_or_default();
        self.caldav.send(&Call { verb, name: Name::given(&id), condition, body: &body }).await
    }

    /// Creates the event at revision 0 and gives its ETag.
    async fn create(&self) -> String {
        let marker = marker(&content(), 0);
        let created = self.send(Verb::Create, Condition::New, Some((&marker, &content()))).await;
        assert_eq!(status(&created), 201, "{created:?}");
        let (read, etag) = self.live().await;
        assert_eq!(read, Some(marker));
        etag
    }

    async fn live(&self) -> (Option<Marker>, String) {
        let reading = self.caldav.read(Name::given(&self.id())).await;
        let Reading::Live { marker, etag: Some(etag), .. } = reading else {
            panic!("not live with an ETag: {reading:?}");
        };
        (marker, etag)
    }
}

pub(super) fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Status { status, .. } => *status,
        Answer::Lost { message, .. } => panic!("{message}"),
    }
}

pub(super) fn meaning(verb: Verb, answer: &Answer) -> Outcome {
    outcome(CalendarKind::Caldav, verb, answer)
}

fn is_closed_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { open: false, .. })
}

/// L4: the generation is no part of it (rule R11).
#[test]
fn an_href_depends_on_nothing_that_can_change() {
    let caldav = Caldav::new(account("", "http://127.0.0.1:9/c"), http());
    let id = caldav.external_id(&booked(), 0);
    assert_eq!(id, "booking-95949c05-41ab-557d-a6bd-188425077f62.ics");
    assert_eq!(caldav.external_id(&booked(), 7), id);
    let mut other = account("", "http://127.0.0.1:9/c");
    other.connection = ConnectionId(Uuid::from_u128(1));
    assert_ne!(Caldav::new(other, http()).external_id(&booked(), 0), id);
    assert_ne!(caldav.external_id(&uid("other@example.com"), 0), id);
}

/// L3, L14: what is written is read back whole, through what the server makes of it.
async fn a_created_event_is_read_back(ground: &Ground) {
    assert_eq!(ground.caldav.read(Name::given(&ground.id())).await, Reading::Absent);
    let content = Content {
        summary: r"Ärger; mit, allem\n: 虎𝄞".repeat(9),
        description: Some("שלום\nעולם, \\;".repeat(20)),
        location: Some("Straße 1".to_owned()),
        ..content()
    };
    let marker = marker(&content, 0);
    let created = ground.send(Verb::Create, Condition::New, Some((&marker, &content))).await;
    let Outcome::Applied { etag: Some(etag), .. } = meaning(Verb::Create, &created) else {
        panic!("{created:?}");
    };
    let provider_uid = Some(booked().to_string());
    let live =
        Reading::Live { marker: Some(marker), etag: Some(etag), provider_uid, server_id: None };
    assert_eq!(ground.caldav.read(Name::given(&ground.id())).await, live);
}

/// L18: the rerun of an interrupted create finds the event, and adopts it.
async fn creating_again_is_refused_and_changes_nothing(ground: &Ground) {
    let etag = ground.create().await;
    let later = marker(&content(), 1);
    let again = ground.send(Verb::Create, Condition::New, Some((&later, &content()))).await;
    assert_eq!(status(&again), 412);
    assert!(is_closed_unknown(&meaning(Verb::Create, &again)), "{again:?}");
    assert_eq!(ground.live().await, (Some(marker(&content(), 0)), etag));
}

/// L6: same href, If-Match, next SEQUENCE.
async fn an_update_changes_the_event_in_place(ground: &Ground) {
    let etag = ground.create().await;
    let moved = Content { zone: chrono_tz::America::New_York, ..content() };
    let next = marker(&moved, 1);
    let updated =
        ground.send(Verb::Update, Condition::Match(etag.clone()), Some((&next, &moved))).await;
    assert!(matches!(meaning(Verb::Update, &updated), Outcome::Applied { .. }), "{updated:?}");
    let (read, new_etag) = ground.live().await;
    assert_eq!(read, Some(next));
    assert_ne!(new_etag, etag);
}

async fn a_stale_update_is_refused_and_changes_nothing(ground: &Ground) {
    let stale = ground.create().await;
    let second = marker(&content(), 1);
    let updated = ground
        .send(Verb::Update, Condition::Match(stale.clone()), Some((&second, &content())))
        .await;
    assert!(matches!(meaning(Verb::Update, &updated), Outcome::Applied { .. }), "{updated:?}");
    let third = marker(&content(), 2);
    let refused =
        ground.send(Verb::Update, Condition::Match(stale), Some((&third, &content()))).await;
    assert_eq!(status(&refused), 412);
    assert!(is_closed_unknown(&meaning(Verb::Update, &refused)), "{refused:?}");
    assert_eq!(ground.live().await.0, Some(second));
}

/// L23, L24: the second delete's 404 is not believed until the calendar answers.
async fn a_delete_is_guarded_and_a_second_one_finds_nothing(ground: &Ground) {
    let etag = ground.create().await;
    let wrong = ground.send(Verb::Delete, Condition::Match("\"0\"".to_owned()), None).await;
    assert_eq!(status(&wrong), 412);
    assert_eq!(ground.live().await.1, etag);

    let deleted = ground.send(Verb::Delete, Condition::Match(etag.clone()), None).await;
    let applied = Outcome::Applied { etag: None, provider_uid: None, server_id: None };
    assert_eq!(meaning(Verb::Delete, &deleted), applied);
    assert_eq!(ground.caldav.read(Name::given(&ground.id())).await, Reading::Absent);

    let again = ground.send(Verb::Delete, Condition::Match(etag), None).await;
    assert!(matches!(status(&again), 404 | 412), "{again:?}");
    assert!(is_closed_unknown(&meaning(Verb::Delete, &again)), "{again:?}");
    let again = ground.send(Verb::Delete, Condition::Unconditional, None).await;
    assert_eq!(status(&again), 404);
    assert!(is_closed_unknown(&meaning(Verb::Delete, &again)), "{again:?}");

    // Rule R11: one href for ever; the deleted event comes back under it.
    ground.create().await;
}

/// L24.
async fn a_calendar_that_is_gone_is_no_absent_event(ground: &Ground) {
    let etag = ground.create().await;
    assert!(matches!(collection(&ground.account, "DELETE").await, 200 | 204));
    let reading = ground.caldav.read(Name::given(&ground.id())).await;
    assert!(matches!(reading, Reading::CalendarGone { .. }), "{reading:?}");
    let event = marker(&content(), 1);
    let created = ground.send(Verb::Create, Condition::New, Some((&event, &content()))).await;
    assert!(is_closed_unknown(&meaning(Verb::Create, &created)), "{created:?}");
    let deleted = ground.send(Verb::Delete, Condition::Match(etag), None).await;
    assert!(is_closed_unknown(&meaning(Verb::Delete, &deleted)), "{deleted:?}");
}

/// L7, L24.
#[tokio::test]
async fn a_wrong_password_is_told_as_such() {
    let Some(server) = services::radicale("a_wrong_password_is_told_as_such") else { return };
    let ground = ground(server).await;
    ground.create().await;
    let mut account = ground.account.clone();
    account.credentials =
        Credentials::Basic { username: "host".to_owned(), password: SECRET.into() };
    let locked_out = Ground { caldav: Caldav::new(account.clone(), http()), account };
    let event = marker(&content(), 1);
    let answer = locked_out.send(Verb::Create, Condition::New, Some((&event, &content()))).await;
    assert!(matches!(meaning(Verb::Create, &answer), Outcome::Unauthorised { .. }), "{answer:?}");
    let reading = locked_out.caldav.read(Name::given(&ground.id())).await;
    let Reading::Failed(failed) = &reading else { panic!("{reading:?}") };
    let told = unread(CalendarKind::Caldav, failed);
    assert!(matches!(told, Unread::Unauthorised { .. }), "{told:?}");
    assert!(!format!("{answer:?} {reading:?} {:?}", locked_out.account).contains(SECRET));
}

/// Another's event holds our UID: no condition mends that.
async fn a_uid_at_another_href_is_rejected(ground: &Ground) {
    let event = marker(&content(), 0);
    let body = ground.caldav.body("", &event, &content());
    let elsewhere = Call {
        verb: Verb::Create,
        name: Name::given("other.ics"),
        condition: Condition::New,
        body: &body,
    };
    assert_eq!(status(&ground.caldav.send(&elsewhere).await), 201);
    let answer = ground.send(Verb::Create, Condition::New, Some((&event, &content()))).await;
    // Radicale's and Xandikos's.
    assert!(matches!(status(&answer), 409 | 412), "{answer:?}");
    let rejected = meaning(Verb::Create, &answer);
    assert!(
        matches!(&rejected, Outcome::Rejected { unknown: true, reason } if reason.contains("no-uid-conflict")),
        "{rejected:?}"
    );
    assert_eq!(ground.caldav.read(Name::given(&ground.id())).await, Reading::Absent);
}

async fn what_is_not_icalendar_is_rejected(ground: &Ground) {
    let id = ground.id();
    let nonsense = Call {
        verb: Verb::Create,
        name: Name::given(&id),
        condition: Condition::New,
        body: b"nonsense",
    };
    let answer = ground.caldav.send(&nonsense).await;
    let rejected = meaning(Verb::Create, &answer);
    // Xandikos's 412 is no condition that did not hold: its word tells.
    let Outcome::Rejected { reason, .. } = &rejected else { panic!("{rejected:?}") };
    let said = ["400 Bad Request", "412 Precondition Failed (valid-calendar-data)"];
    assert!(said.contains(&reason.as_str()), "{reason}");
    assert_eq!(ground.caldav.read(Name::given(&id)).await, Reading::Absent);
}
