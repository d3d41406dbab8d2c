//! What our adapter sends to a CalDAV server, and makes of what it is answered: a server that says what
//! it is told to say.

use booking::{CalendarKind, Verb};
use calendar_sync::calendar::caldav::Caldav;
use calendar_sync::calendar::{
    Account, Answer, Calendar as _, Call, Condition, Credentials, Name, Reading,
};
use calendar_sync::emit::outcome::{Outcome, Unread, unread};

use super::caldav::{http, meaning, status};
use super::stub::Stub;
use super::{SECRET, account};

/// Basic and Bearer, on all that is asked.
#[tokio::test]
async fn each_kind_of_credentials_goes_with_every_call() {
    let basic =
        || Credentials::Basic { username: "anna".to_owned(), password: "pass wörd".into() };
    for (credentials, expected) in
        [(basic(), "Basic YW5uYTpwYXNzIHfDtnJk"), (super::bearer(), "Bearer s3cret-s3cret")]
    {
        let there = "<multistatus xmlns=\"DAV:\"><response/></multistatus>";
        let said = [(201, "", ""), (404, "", ""), (207, "", there), (204, "", ""), (401, "", "")];
        let server = Stub::saying(&said).await;
        let account = Account { credentials, ..account("", &format!("{}/c/", server.url)) };
        let caldav = Caldav::new(account, http());
        let call = |verb, condition| Call {
            verb,
            name: Name::given("booking-1.ics"),
            condition,
            body: if verb == Verb::Delete { b"" } else { b"x" },
        };
        assert_eq!(status(&caldav.send(&call(Verb::Create, Condition::New)).await), 201);
        assert_eq!(caldav.read(Name::given("booking-1.ics")).await, Reading::Absent);
        let condition = Condition::Match("\"1\"".to_owned());
        assert_eq!(status(&caldav.send(&call(Verb::Delete, condition)).await), 204);
        let refused = caldav.send(&call(Verb::Update, Condition::Unconditional)).await;
        let refused = meaning(Verb::Update, &refused);
        assert!(matches!(refused, Outcome::Unauthorised { .. }), "{refused:?}");
        let seen = server.requests();
        assert_eq!(seen.len(), said.len());
        assert!(seen.iter().all(|seen| seen.header("authorization") == Some(expected)));
    }
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
    let there = "<multistatus xmlns=\"DAV:\"><response><href>/c/</href><propstat>\
        <status>HTTP/1.1 404 Not Found</status></propstat></response></multistatus>";
    let gone = "<multistatus xmlns=\"DAV:\"><response><href>/c/</href>\
        <status>HTTP/1.1 404 Not Found</status></response></multistatus>";
    let failed = gone.replace("404 Not Found", "500 No");
    let silent = "<multistatus xmlns=\"DAV:\"/>";
    let server = Stub::saying(&[
        (404, "", ""),
        (207, "", there),
        (410, "", ""),
        (410, "", ""),
        (404, "", ""),
        (207, "", gone),
        (404, "", ""),
        (207, "", &failed),
        (404, "", ""),
        (207, "", silent),
        (404, "", ""),
        (207, "", "<html/>"),
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
    // Xandikos says it in a 207.
    let gone = Reading::CalendarGone { message: "404 Not Found".to_owned() };
    assert_eq!(caldav.read(Name::given("booking-1.ics")).await, gone);
    for _ in 0..3 {
        let reading = caldav.read(Name::given("booking-1.ics")).await;
        assert!(matches!(reading, Reading::Failed(Answer::Lost { .. })), "{reading:?}");
    }
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
