//! CalDAV, against a real Radicale: one calendar of its own for each test.

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

use super::stub::Stub;
use super::{CONNECTION, SECRET, account, client, content, marker, uid};
use crate::services::{self, Radicale};

fn http() -> Http {
    client(Duration::from_secs(20))
}

/// A new, empty calendar.
struct Ground {
    account: Account,
    caldav: Caldav,
}

async fn ground(test: &str) -> Option<Ground> {
    let Radicale { url, user, password } = services::radicale(test)?;
    let account = Account {
        connection: CONNECTION,
        base_url: String::new(),
        // Without a slash at its end: people paste it so.
        calendar: format!("{url}/{user}/{}", SystemDice.token()),
        credentials: Credentials::Basic { username: user, password: password.into() },
    };
    let status = collection(&account, "MKCALENDAR").await;
    assert_eq!(status, 201, "MKCALENDAR");
    Some(Ground { caldav: Caldav::new(account.clone(), http()), account })
}

async fn collection(account: &Account, method: &str) -> u16 {
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

fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Status { status, .. } => *status,
        Answer::Lost { message, .. } => panic!("{message}"),
    }
}

fn meaning(verb: Verb, answer: &Answer) -> Outcome {
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
#[tokio::test]
async fn a_created_event_is_read_back() {
    let Some(ground) = ground("a_created_event_is_read_back").await else { return };
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
#[tokio::test]
async fn creating_again_is_refused_and_changes_nothing() {
    let Some(ground) = ground("creating_again_is_refused_and_changes_nothing").await else {
        return;
    };
    let etag = ground.create().await;
    let later = marker(&content(), 1);
    let again = ground.send(Verb::Create, Condition::New, Some((&later, &content()))).await;
    assert_eq!(status(&again), 412);
    assert!(is_closed_unknown(&meaning(Verb::Create, &again)), "{again:?}");
    assert_eq!(ground.live().await, (Some(marker(&content(), 0)), etag));
}

/// L6: same href, If-Match, next SEQUENCE.
#[tokio::test]
async fn an_update_changes_the_event_in_place() {
    let Some(ground) = ground("an_update_changes_the_event_in_place").await else { return };
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

#[tokio::test]
async fn a_stale_update_is_refused_and_changes_nothing() {
    let Some(ground) = ground("a_stale_update_is_refused_and_changes_nothing").await else {
        return;
    };
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
#[tokio::test]
async fn a_delete_is_guarded_and_a_second_one_finds_nothing() {
    let Some(ground) = ground("a_delete_is_guarded_and_a_second_one_finds_nothing").await else {
        return;
    };
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
#[tokio::test]
async fn a_calendar_that_is_gone_is_no_absent_event() {
    let Some(ground) = ground("a_calendar_that_is_gone_is_no_absent_event").await else { return };
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
    let Some(ground) = ground("a_wrong_password_is_told_as_such").await else { return };
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
#[tokio::test]
async fn a_uid_at_another_href_is_rejected() {
    let Some(ground) = ground("a_uid_at_another_href_is_rejected").await else { return };
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
    assert_eq!(status(&answer), 409);
    let rejected = meaning(Verb::Create, &answer);
    assert!(
        matches!(&rejected, Outcome::Rejected { unknown: true, reason } if reason.contains("no-uid-conflict")),
        "{rejected:?}"
    );
    assert_eq!(ground.caldav.read(Name::given(&ground.id())).await, Reading::Absent);
}

#[tokio::test]
async fn what_is_not_icalendar_is_rejected() {
    let Some(ground) = ground("what_is_not_icalendar_is_rejected").await else { return };
    let id = ground.id();
    let nonsense = Call {
        verb: Verb::Create,
        name: Name::given(&id),
        condition: Condition::New,
        body: b"nonsense",
    };
    let answer = ground.caldav.send(&nonsense).await;
    let rejected = meaning(Verb::Create, &answer);
    assert!(matches!(rejected, Outcome::Rejected { unknown: false, .. }), "{rejected:?}");
}

/// A server that gives no strong ETag, and one that holds something else under our name.
#[tokio::test]
async fn a_weak_etag_is_none_and_a_foreign_body_has_no_marker() {
    let server = Stub::saying(&[
        (201, "ETag: W/\"1\"\r\n", ""),
        (200, "ETag: W/\"1\"\r\n", "\u{feff}\r\nbegin:vcalendar\r\nEND:VCALENDAR\r\n"),
        (204, "", ""),
    ])
    .await;
    let account = account("", &format!("{}/c%20d?x=y#z", server.url.replace("//", "//u:pw@")));
    let caldav = Caldav::new(account, http());
    let condition = Condition::New;
    let create =
        Call { verb: Verb::Create, name: Name::given("booking-1.ics"), condition, body: b"x" };
    let answer = caldav.send(&create).await;
    assert!(matches!(answer, Answer::Status { status: 201, etag: None, .. }), "{answer:?}");
    let live = Reading::Live { marker: None, etag: None, provider_uid: None, server_id: None };
    assert_eq!(caldav.read(Name::given("booking-1.ics")).await, live);
    let condition = Condition::Unconditional;
    let update =
        Call { verb: Verb::Update, name: Name::given("booking-1.ics"), condition, body: b"x" };
    assert_eq!(status(&caldav.send(&update).await), 204);

    let seen = server.requests();
    assert_eq!(seen[0].line(), "PUT /c%20d/booking-1.ics");
    assert_eq!(seen[0].header("if-none-match"), Some("*"));
    assert_eq!(seen[0].header("content-type"), Some("text/calendar; charset=utf-8"));
    assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen[1].line(), "GET /c%20d/booking-1.ics");
    assert_eq!((seen[2].header("if-match"), seen[2].header("if-none-match")), (None, None));
}

/// A proxy, or a page about maintenance: what it says is no acknowledgement, and no event.
#[tokio::test]
async fn a_success_that_is_no_calendars_is_no_answer() {
    const PAGE: &str = "<!DOCTYPE html><html><body>Back soon</body></html>";
    const XHTML: &str = "<html xmlns=\"http://www.w3.org/1999/xhtml\"/>";
    let said = [(200, "", PAGE), (200, "", XHTML), (200, "", "BEGIN:VCARD\r\n"), (200, "", "BEG")];
    let server = Stub::saying(&said.map(|reply| [reply; 4]).concat()).await;
    let caldav = Caldav::new(account("", &format!("{}/c/", server.url)), http());
    for _ in said {
        for (verb, condition) in [
            (Verb::Create, Condition::New),
            (Verb::Update, Condition::Unconditional),
            (Verb::Delete, Condition::Unconditional),
        ] {
            let call = Call { verb, name: Name::given("booking-1.ics"), condition, body: b"x" };
            let answer = caldav.send(&call).await;
            assert!(matches!(answer, Answer::Lost { sent: true, .. }), "{verb:?}: {answer:?}");
        }
        let reading = caldav.read(Name::given("booking-1.ics")).await;
        assert!(matches!(reading, Reading::Failed(Answer::Lost { .. })), "{reading:?}");
    }
    // Radicale's answer to a deletion, and a page that tells of what was created.
    let dav = "<?xml version='1.0' encoding='utf-8'?>\n<multistatus xmlns=\"DAV:\" />";
    let server = Stub::saying(&[(200, "", dav), (201, "", PAGE), (200, "", "")]).await;
    let caldav = Caldav::new(account("", &format!("{}/c/", server.url)), http());
    for verb in [Verb::Delete, Verb::Create, Verb::Update] {
        let condition = Condition::Unconditional;
        let call = Call { verb, name: Name::given("booking-1.ics"), condition, body: b"x" };
        let answer = caldav.send(&call).await;
        assert!(matches!(meaning(verb, &answer), Outcome::Applied { .. }), "{verb:?}: {answer:?}");
    }
}

/// Credentials go where they were sent and nowhere else; a person is told where the calendar is.
#[tokio::test]
async fn an_address_that_redirects_is_told_and_not_followed() {
    let secret = "https://u:pw@dav.example.com:8443/path-4711?token=4711#4711";
    let moved = |status, target: &str| (status, format!("Location: {target}\r\n"));
    let rows = [
        (moved(301, secret), "https://dav.example.com:8443", true),
        (moved(308, "//dav.example.com/c/"), "http://dav.example.com", true),
        (moved(302, "https://127.0.0.1/c/"), "https://127.0.0.1", true),
        (moved(307, secret), "https://dav.example.com:8443", false),
        (moved(302, secret), "https://dav.example.com:8443", false),
    ];
    for ((status, location), origin, lasts) in rows {
        let server = Stub::saying(&[(status, location.as_str(), ""); 2]).await;
        let caldav = Caldav::new(account("", &format!("{}/c/", server.url)), http());
        let condition = Condition::New;
        let call =
            Call { verb: Verb::Create, name: Name::given("booking-1.ics"), condition, body: b"x" };
        let answer = caldav.send(&call).await;
        let Reading::Failed(unreadable) = caldav.read(Name::given("booking-1.ics")).await else {
            panic!("{status}: nothing was read");
        };
        let expected = format!("the calendar's address redirects to {origin}");
        let written = meaning(Verb::Create, &answer);
        let read = unread(CalendarKind::Caldav, &unreadable);
        match (written, read) {
            (Outcome::Unauthorised { reason }, Unread::Unauthorised { reason: unread })
                if lasts =>
            {
                assert_eq!((&reason, &unread), (&expected, &expected));
            }
            (Outcome::Unknown { reason, .. }, Unread::Retry { reason: unread, .. }) if !lasts => {
                assert_eq!((&reason, &unread), (&expected, &expected));
            }
            (written, read) => panic!("{status} {location}: {written:?}, {read:?}"),
        }
        assert_eq!(server.requests().len(), 2);
    }
}

/// L24.
#[tokio::test]
async fn only_a_calendar_that_answers_makes_an_event_absent() {
    let multistatus = "<multistatus xmlns=\"DAV:\"/>";
    let server = Stub::saying(&[
        (404, "", ""),
        (207, "", multistatus),
        (410, "", ""),
        (410, "", ""),
        (404, "", ""),
        (500, "", ""),
        (404, "", ""),
        (403, "", ""),
        (503, "Retry-After: 9\r\n", ""),
    ])
    .await;
    let caldav = Caldav::new(account("", &format!("{}/c/", server.url)), http());
    assert_eq!(caldav.read(Name::given("booking-1.ics")).await, Reading::Absent);
    assert_eq!(server.requests()[1].line(), "PROPFIND /c/");
    assert_eq!(server.requests()[1].header("depth"), Some("0"));
    let gone = Reading::CalendarGone { message: "410 Gone".to_owned() };
    assert_eq!(caldav.read(Name::given("booking-1.ics")).await, gone);
    for expected in [500, 403, 503] {
        let reading = caldav.read(Name::given("booking-1.ics")).await;
        let Reading::Failed(answer) = &reading else { panic!("{reading:?}") };
        assert_eq!(status(answer), expected);
    }
}

#[tokio::test]
async fn an_address_that_is_none_sends_nothing() {
    for address in ["", "not a URL", "mailto:a@b", "ftp://example.com/c/"] {
        let caldav = Caldav::new(account("", address), http());
        let delete = Call {
            verb: Verb::Delete,
            name: Name::given("booking-1.ics"),
            condition: Condition::Unconditional,
            body: b"",
        };
        let answer = caldav.send(&delete).await;
        assert!(matches!(answer, Answer::Lost { sent: false, .. }), "{address}: {answer:?}");
        assert!(
            matches!(caldav.read(Name::given("booking-1.ics")).await, Reading::Failed(_)),
            "{address}"
        );
    }
}
