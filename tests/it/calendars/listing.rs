//! What a calendar tells of all of our events, from a real Radicale, from the Google emulator, and from
//! servers that are worse (rule R20).

use std::sync::Arc;
use std::time::Duration;

use booking::{ConnectionId, Content, Marker, Verb};
use calendar_sync::calendar::caldav::Caldav;
use calendar_sync::calendar::google::Google;
use calendar_sync::calendar::http::{Exchanged, Http, Request};
use calendar_sync::calendar::{
    Account, Answer, Calendar, Call, Condition, Credentials, Listed, Listing, Name, Next, Page,
    Reading,
};
use calendar_sync::clock::{Dice as _, SystemClock, SystemDice};
use calendar_sync::emulator::GoogleEmulator;
use calendar_sync::emulator::google::{ByHand, Options, Switches};
use reqwest::Method;
use uuid::Uuid;

use super::stub::{Reply, Stub};
use super::{CONNECTION, account, client, content, marker, uid};
use crate::services::{self, CaldavServer};

const ALL: Listing<'_> = Listing { since: None, page: None };

fn http() -> Http {
    client(Duration::from_secs(20))
}

async fn emulator() -> (GoogleEmulator, Google) {
    let options = Options::strict(Arc::new(SystemClock::start()));
    let emulator = GoogleEmulator::start(options).await.expect("the emulator starts");
    emulator.add_account("token", "host@example.com");
    let account = Account {
        connection: CONNECTION,
        base_url: emulator.base_url(),
        calendar: "host@example.com".to_owned(),
        credentials: Credentials::Bearer { token: "token".into() },
    };
    (emulator, Google::new(account, http()))
}

async fn radicale(test: &str) -> Option<(Account, Caldav)> {
    let CaldavServer { url, user, password } = services::radicale(test)?;
    let account = Account {
        connection: CONNECTION,
        base_url: String::new(),
        calendar: format!("{url}/{user}/{}", SystemDice.token()),
        credentials: Credentials::Basic { username: user, password: password.into() },
    };
    let request = Request {
        method: Method::from_bytes(b"MKCALENDAR").expect("a method"),
        url: format!("{}/", account.calendar).parse().expect("a URL"),
        credentials: Some(&account.credentials),
        headers: Vec::new(),
        body: b"",
    };
    match http().exchange(request).await {
        Exchanged::Answered(response) => assert_eq!(response.status, 201),
        Exchanged::Lost { message, .. } => panic!("{message}"),
    }
    let caldav = Caldav::new(account.clone(), http());
    Some((account, caldav))
}

/// Makes the event of a booking; answers its name.
async fn make(calendar: &dyn Calendar, name: &str, content: &Content) -> String {
    make_for(calendar, CONNECTION, name, content).await
}

/// The same, with another connection in its marker.
async fn make_for(
    calendar: &dyn Calendar,
    connection: ConnectionId,
    name: &str,
    content: &Content,
) -> String {
    let uid = uid(&format!("{name}@example.com"));
    let id = calendar.external_id(&uid, 0);
    let marker = Marker { uid, connection, ..marker(content, 0) };
    let body = calendar.body(&id, &marker, content);
    let call =
        Call { verb: Verb::Create, name: Name::given(&id), condition: Condition::New, body: &body };
    let answer = calendar.send(&call).await;
    assert!(matches!(answer, Answer::Status { status: 200..=299, .. }), "{answer:?}");
    id
}

async fn page(calendar: &dyn Calendar, listing: Listing<'_>) -> Page {
    match calendar.list(listing).await {
        Listed::Page(page) => page,
        other @ (Listed::Expired { .. }
        | Listed::Unsupported
        | Listed::CalendarGone { .. }
        | Listed::Failed(_)) => panic!("no page: {other:?}"),
    }
}

/// The names of all our events, what was deleted, and since when to ask next.
async fn listed(
    calendar: &dyn Calendar,
    since: Option<&str>,
) -> (Vec<String>, Vec<String>, Option<String>) {
    let (mut events, mut deleted) = (Vec::new(), Vec::new());
    let mut next = None;
    loop {
        let found = page(calendar, Listing { since, page: next.as_deref() }).await;
        events.extend(found.events.into_iter().map(|event| event.id));
        deleted.extend(found.deleted);
        match found.next {
            Next::Page(page) => next = Some(page),
            Next::End { since } => {
                events.sort();
                return (events, deleted, since);
            }
        }
    }
}

async fn tells_all_and_then_its_changes(calendar: &dyn Calendar) {
    let mut made = Vec::new();
    // More than a page.
    for number in 0..103 {
        made.push(make(calendar, &format!("b{number}"), &content()).await);
    }
    made.sort();
    let (events, deleted, since) = listed(calendar, None).await;
    assert_eq!((events, deleted), (made.clone(), Vec::new()));
    let since = since.expect("a sync token");
    assert_eq!(listed(calendar, Some(&since)).await.0, [""; 0]);
    let later = make(calendar, "later", &content()).await;
    let name = Name::given(&made[0]);
    let (verb, condition) = (Verb::Delete, Condition::Unconditional);
    calendar.send(&Call { verb, name, condition, body: &[] }).await;
    let (events, deleted, _) = listed(calendar, Some(&since)).await;
    assert_eq!((events, deleted), (vec![later], vec![made[0].clone()]));
}

#[tokio::test]
async fn google_tells_all_and_then_its_changes() {
    let (emulator, google) = emulator().await;
    tells_all_and_then_its_changes(&google).await;
    emulator.stop().await;
}

#[tokio::test]
async fn radicale_tells_all_and_then_its_changes() {
    let Some((_, caldav)) = radicale("radicale_tells_all_and_then_its_changes").await else {
        return;
    };
    tells_all_and_then_its_changes(&caldav).await;
}

/// Who hides our marker has changed the event: the changes have to bring it up.
///
/// Fails with: `calendar/google/list.rs`, `page`: `is_of_changes` as `false`; `calendar/caldav/list.rs`,
/// `page`: `listing.since.is_some()` as `false`.
async fn tells_what_hides_its_marker(calendar: &dyn Calendar) {
    let id = make(calendar, "a", &content()).await;
    let (_, _, since) = listed(calendar, None).await;
    let other = Marker {
        uid: uid("a@example.com"),
        connection: ConnectionId(Uuid::from_u128(9)),
        ..marker(&content(), 1)
    };
    let body = calendar.body(&id, &other, &content());
    let Reading::Live { etag: Some(etag), .. } = calendar.read(Name::given(&id)).await else {
        panic!("no event with an ETag")
    };
    let (verb, condition) = (Verb::Update, Condition::Match(etag));
    let answer =
        calendar.send(&Call { verb, name: Name::given(&id), condition, body: &body }).await;
    assert!(matches!(answer, Answer::Status { status: 200..=299, .. }), "{answer:?}");
    let (events, deleted, _) = listed(calendar, since.as_deref()).await;
    assert_eq!((events, deleted), (Vec::new(), vec![id]));
}

#[tokio::test]
async fn google_tells_what_hides_its_marker_with_the_changes() {
    let (emulator, google) = emulator().await;
    tells_what_hides_its_marker(&google).await;
    emulator.stop().await;
}

#[tokio::test]
async fn radicale_tells_what_hides_its_marker_with_the_changes() {
    let test = "radicale_tells_what_hides_its_marker_with_the_changes";
    let Some((_, caldav)) = radicale(test).await else { return };
    tells_what_hides_its_marker(&caldav).await;
}

/// A page can be empty though more follow.
#[tokio::test]
async fn an_empty_page_is_not_the_last_one() {
    let (emulator, google) = emulator().await;
    emulator.set_switches(Switches { empty_first_page: true, ..Switches::default() });
    let id = make(&google, "a", &content()).await;
    assert_eq!(listed(&google, None).await.0, [id]);
    emulator.stop().await;
}

#[tokio::test]
async fn an_expired_token_says_so() {
    let (emulator, google) = emulator().await;
    let (_, _, since) = listed(&google, None).await;
    emulator.expire_sync_tokens("host@example.com");
    for since in [since.as_deref(), Some("nonsense")] {
        let answer = google.list(Listing { since, page: None }).await;
        assert!(matches!(answer, Listed::Expired { .. }), "{answer:?}");
    }
    let answer = google.list(Listing { since: None, page: Some("1.2.x") }).await;
    assert!(matches!(answer, Listed::Expired { .. }), "{answer:?}");
    emulator.remove_calendar("host@example.com");
    let answer = google.list(ALL).await;
    assert!(matches!(answer, Listed::CalendarGone { .. }), "{answer:?}");
    emulator.stop().await;

    let Some((account, caldav)) = radicale("an_expired_token_says_so").await else { return };
    let since = Some("http://radicale.org/ns/sync/nonsense");
    let answer = caldav.list(Listing { since, page: None }).await;
    assert!(matches!(answer, Listed::Expired { .. }), "{answer:?}");
    let nowhere =
        Caldav::new(Account { calendar: format!("{}-no", account.calendar), ..account }, http());
    let answer = nowhere.list(ALL).await;
    assert!(matches!(answer, Listed::CalendarGone { .. }), "{answer:?}");
}

/// Ours alone, with what a host has made of them.
#[tokio::test]
async fn only_our_events_are_listed_and_whether_they_show_what_they_say() {
    let (emulator, google) = emulator().await;
    let (kept, edited) =
        (make(&google, "a", &content()).await, make(&google, "b", &content()).await);
    let stripped = make(&google, "c", &content()).await;
    make_for(&google, ConnectionId(Uuid::from_u128(99)), "d", &content()).await;
    let change = |id: &str, change| emulator.change_by_hand("host@example.com", id, change);
    assert!(change(&edited, ByHand::Retitle("Mine".to_owned())));
    assert!(change(&kept, ByHand::Colour("7".to_owned())));
    assert!(change(&stripped, ByHand::StripProperties));
    let mut events = page(&google, ALL).await.events;
    events.sort_by_key(|event| event.id != kept);
    let told: Vec<_> = events.iter().map(|event| (event.id.as_str(), event.differs)).collect();
    assert_eq!(told, [(kept.as_str(), Some(false)), (edited.as_str(), Some(true))]);
    assert!(events.iter().all(|event| event.etag.is_some()));
    emulator.stop().await;
}

const EVENTS: &str = "<multistatus xmlns='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'>\
     <response><href>/dav/</href><propstat><prop><getetag>\"0\"</getetag></prop>\
     <status>HTTP/1.1 200 OK</status></propstat></response>\
     <response><href>/dav/a.ics</href><propstat><prop><getetag>\"1\"</getetag>DATA</prop>\
     <status>HTTP/1.1 200 OK</status></propstat></response></multistatus>";

/// The adapter at a server that only says it is Google's.
fn google(stub: &Stub) -> Google {
    let account = Account {
        connection: CONNECTION,
        base_url: stub.url.clone(),
        calendar: "host@example.com".to_owned(),
        credentials: Credentials::Bearer { token: "token".into() },
    };
    Google::new(account, http())
}

/// A token that cannot be kept is not the end of the list: all that follows would be missing.
#[tokio::test]
async fn a_token_of_no_usable_length_ends_no_list() {
    for name in ["nextPageToken", "nextSyncToken"] {
        for token in ["", &"x".repeat(5_000)] {
            let body = format!("{{\"items\": [], \"{name}\": \"{token}\"}}");
            let stub = Stub::saying(&[(200, "", &body)]).await;
            let listed = google(&stub).list(ALL).await;
            assert!(
                matches!(listed, Listed::Failed(Answer::Lost { .. })),
                "{body:.60}: {listed:?}"
            );
        }
    }
}

/// A host who marks an event as free is not busy then, as a booking makes her.
#[tokio::test]
async fn an_event_that_leaves_its_host_free_shows_something_else() {
    let nowhere = Stub::saying(&[]).await;
    let (id, marker) =
        (google(&nowhere).external_id(&uid("a@example.com"), 0), marker(&content(), 0));
    let event = google(&nowhere).body(&id, &marker, &content());
    let event = String::from_utf8(event).expect("text");
    let free = event.replace("\"opaque\"", "\"transparent\"");
    for (event, differs) in [(event, false), (free, true)] {
        let stub = Stub::saying(&[(200, "", &format!("{{\"items\": [{event}]}}"))]).await;
        let events = page(&google(&stub), ALL).await.events;
        assert_eq!(events.iter().map(|it| it.differs).collect::<Vec<_>>(), [Some(differs)]);
    }
}

/// No database takes a NUL, nor an id without an end.
#[tokio::test]
async fn events_with_ids_that_are_none_are_not_listed() {
    let long = "x".repeat(1_025);
    let ids = ["a\\u0000b", "", "a b", &*long, "usual"];
    let items = ids.map(|id| format!("{{\"id\": \"{id}\", \"status\": \"cancelled\"}}"));
    let body = format!("{{\"items\": [{}]}}", items.join(","));
    let stub = Stub::saying(&[(200, "", &body)]).await;
    assert_eq!(page(&google(&stub), ALL).await.deleted, ["usual"]);
}

/// A server without sync-collection is read whole each time.
#[tokio::test]
async fn a_server_that_tells_no_changes_is_listed_whole() {
    let text = calendar_sync::calendar::ical::write(&marker(&content(), 0), &content());
    let members = EVENTS.replace("DATA", "");
    let whole = EVENTS.replace("DATA", &format!("<c:calendar-data>{text}</c:calendar-data>"));
    let stub =
        Stub::saying(&[(403, "", ""), (207, "", &members), (207, "", &whole), (500, "", "")]).await;
    let account = account("", &format!("{}/dav/", stub.url));
    let caldav = Caldav::new(account, http());
    let (events, deleted, since) = listed(&caldav, None).await;
    assert_eq!((events, deleted, since), (vec!["a.ics".to_owned()], Vec::new(), None));
    let methods: Vec<_> = stub.requests().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(methods, ["REPORT /dav/", "PROPFIND /dav/", "REPORT /dav/"]);
    let answer = caldav.list(ALL).await;
    assert!(matches!(answer, Listed::Failed(Answer::Status { status: 500, .. })), "{answer:?}");
}

/// What was cut short is not all that there is: nothing may be missed by it.
#[tokio::test]
async fn a_full_list_that_was_cut_short_is_not_taken_for_all() {
    let cut = "<multistatus xmlns='DAV:'><response><href>/dav/</href>\
               <status>HTTP/1.1 507 Insufficient Storage</status></response>\
               <sync-token>t</sync-token></multistatus>";
    let none = "<multistatus xmlns='DAV:'/>";
    let stub = Stub::saying(&[(207, "", cut), (207, "", none)]).await;
    let account = account("", &format!("{}/dav/", stub.url));
    assert_eq!(listed(&Caldav::new(account, http()), None).await.2, None);
    assert!(stub.requests()[1].line().starts_with("PROPFIND"));
}

/// What cannot be understood is no empty calendar: all that should be there would be missing.
#[tokio::test]
async fn a_listing_that_is_not_understood_is_none() {
    let of = |href: &str, status: &str| {
        format!(
            "<multistatus xmlns='DAV:'><response><href>{href}</href><status>HTTP/1.1 {status}\
             </status></response></multistatus>"
        )
    };
    let refused = of("/dav/a.ics", "403 Forbidden");
    for (members, events) in [
        (of("/elsewhere/a.ics", "200 OK"), None),
        (of("/dav", "500 Oops"), None),
        (EVENTS.replace("DATA", ""), Some("<multistatus xmlns='DAV:'/>")),
        (EVENTS.replace("DATA", ""), Some(&*refused)),
    ] {
        let mut answers = vec![(207, "", &*members)];
        answers.extend(events.map(|events| (207, "", events)));
        let stub = Stub::saying(&answers).await;
        let caldav = Caldav::new(account("", &format!("{}/dav/", stub.url)), http());
        let listed = caldav.list(ALL).await;
        assert!(matches!(listed, Listed::Failed(Answer::Lost { .. })), "{members}: {listed:?}");
    }
}

/// An address that the server writes in another way, and what went between the two questions.
#[tokio::test]
async fn events_are_known_by_what_their_addresses_mean() {
    let text = calendar_sync::calendar::ical::write(&marker(&content(), 0), &content());
    let members = EVENTS
        .replace("DATA", "")
        .replace("</multistatus>", "<response><href>/dav/b.ics</href></response></multistatus>");
    let gone = "<response><href>/d%61v/b%2eics</href><status>HTTP/1.1 404 Not Found</status>\
                </response></multistatus>";
    let whole = EVENTS
        .replace("DATA", &format!("<c:calendar-data>{text}</c:calendar-data>"))
        .replace("/dav/a.ics", "/%64av/%61.ics")
        .replace("</multistatus>", gone);
    let stub = Stub::saying(&[(207, "", &members), (207, "", &whole)]).await;
    let caldav = Caldav::new(account("", &format!("{}/dav", stub.url)), http());
    let (events, deleted, _) = listed(&caldav, None).await;
    assert_eq!((events, deleted), (vec!["a.ics".to_owned()], Vec::new()));
}

/// A host's attachments, or what is no XML, make a page that cannot be read: the others of it can.
#[tokio::test]
async fn what_makes_a_page_unreadable_is_passed() {
    let text = calendar_sync::calendar::ical::write(&marker(&content(), 0), &content());
    let member = |name: &str, data: &str| {
        format!(
            "<response><href>/dav/{name}</href><propstat><prop><getetag>\"1\"</getetag>{data}\
             </prop><status>HTTP/1.1 200 OK</status></propstat></response>"
        )
    };
    let of = |members: &str| {
        format!(
            "<multistatus xmlns='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'>{members}\
             </multistatus>"
        )
    };
    let both = of(&(member("a.ics", "") + &member("b.ics", "")));
    let ours = of(&member("b.ics", &format!("<c:calendar-data>{text}</c:calendar-data>")));
    let said = |body: &str| {
        let len = body.len();
        let head = format!("HTTP/1.1 207 X\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
        Reply::Bytes((head + body).into_bytes())
    };
    for unreadable in [Some(of(&member("a.ics", "<c:calendar-data>\u{1}</c:calendar-data>"))), None]
    {
        let bad = || unreadable.as_deref().map_or(Reply::Zeros(9 * 1024 * 1024), said);
        // Two at once, one alone, and the other one: each after its own list of members.
        let replies = vec![said(&both), bad(), said(&both), bad(), said(&both), said(&ours)];
        let stub = Stub::replying(replies).await;
        let caldav = Caldav::new(account("", &format!("{}/dav/", stub.url)), http());
        assert_eq!(listed(&caldav, None).await.0, ["b.ics"]);
    }
}

/// A gateway that has lost its way for a moment says 404 too: a calendar is gone if it says so itself.
#[tokio::test]
async fn one_404_is_no_calendar_that_is_gone() {
    let own = |status: &str| {
        format!(
            "<multistatus xmlns='DAV:'><response><href>/dav/</href><status>HTTP/1.1 {status}\
             </status></response></multistatus>"
        )
    };
    let (there, gone) = (own("200 OK"), own("404 Not Found"));
    let first: [(u16, &str, &str); 2] = [(404, "", ""), (207, "", &gone)];
    for said in first {
        for (then, is_gone) in [
            ((207, "", &*there), false),
            ((503, "", ""), false),
            ((404, "", ""), true),
            ((207, "", &*gone), true),
        ] {
            let stub = Stub::saying(&[said, then]).await;
            let caldav = Caldav::new(account("", &format!("{}/dav/", stub.url)), http());
            let listed = caldav.list(ALL).await;
            let is_told = matches!(listed, Listed::CalendarGone { .. });
            assert_eq!(is_told, is_gone, "{said:?}, {then:?}: {listed:?}");
            assert!(is_told || matches!(listed, Listed::Failed(_)), "{listed:?}");
        }
    }
}
