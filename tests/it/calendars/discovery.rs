//! Finding an account's calendars: on real servers, and where one redirects or answers badly.

use calendar_sync::calendar::Credentials;
use calendar_sync::calendar::caldav::Access;
use calendar_sync::calendar::caldav::discovery::{
    CALENDARS_MAX, DiscoveryError, FoundCalendar, discover,
};
use calendar_sync::calendar::http::{BODY_LEN_MAX, Exchanged, Request};
use calendar_sync::clock::{Dice as _, SystemDice};
use reqwest::Method;
use serde_json::Value;

use super::caldav::http;
use super::stub::{Reply, Seen, Stub};
use super::{SECRET, bearer};
use crate::services::{self, CaldavServer};
use crate::settings::{KEY, ON_THIS_MACHINE, PROVIDER, program, text};

/// A task list is no calendar for events.
const TASKS: &str = "<C:mkcalendar xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><set><prop>\
    <C:supported-calendar-component-set><C:comp name='VTODO'/></C:supported-calendar-component-set>\
    </prop></set></C:mkcalendar>";
const NAMED: &str = "<C:mkcalendar xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><set><prop>\
    <displayname>Anna &amp; co: Termine 虎</displayname></prop></set></C:mkcalendar>";
const CONTACTS: &str = "<mkcol xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'><set><prop>\
    <resourcetype><collection/><C:addressbook/></resourcetype></prop></set></mkcol>";

fn basic(server: &CaldavServer) -> Credentials {
    let (username, password) = (server.user.clone(), server.password.clone().into());
    Credentials::Basic { username, password }
}

async fn ask(server: &CaldavServer, method: &str, path: &str, body: &str) -> u16 {
    let request = Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        url: format!("{}{path}", server.url).parse().expect("a URL"),
        credentials: Some(&basic(server)),
        // Xandikos takes an empty body of that type for bad XML.
        headers: if body.is_empty() {
            Vec::new()
        } else {
            vec![(reqwest::header::CONTENT_TYPE, "application/xml".to_owned())]
        },
        body: body.as_bytes(),
    };
    match http().exchange(request).await {
        Exchanged::Answered(response) => response.status,
        Exchanged::Lost { message, .. } => panic!("{method} {path}: {message}"),
    }
}

/// What `calendar-sync connections discover` says.
async fn said(server: &CaldavServer, more: &'static [&'static str]) -> String {
    let (url, user, password) = (server.url.clone(), server.user.clone(), server.password.clone());
    let run = move || {
        let discover = ["connections", "discover", "caldav", "--url", &url, "--username", &user];
        let arguments = [&discover[..], &["--password-stdin"], more].concat();
        let environment =
            [("DATABASE_URL", "sqlite::memory:"), ("SECRETS_KEY", KEY), ON_THIS_MACHINE];
        let output = program(&arguments, &environment, &password);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    tokio::task::spawn_blocking(run).await.expect("it ran")
}

/// `server` has its account's calendars in `home`.
async fn is_found(server: &CaldavServer, home: &str, addresses: &[&str]) {
    let token = SystemDice.token();
    let [named, plain, tasks, contacts] =
        ["named", "plain", "tasks", "contacts"].map(|what| format!("{home}{what}-{token}/"));
    for (method, path, body) in [
        ("MKCALENDAR", &named, NAMED),
        ("MKCALENDAR", &plain, ""),
        ("MKCALENDAR", &tasks, TASKS),
        ("MKCOL", &contacts, CONTACTS),
    ] {
        assert_eq!(ask(server, method, path, body).await, 201, "{method} {path}");
    }
    let url = |path: &str| format!("{}{path}", server.url);
    for address in addresses {
        let found = discover(&http(), &url(address), &basic(server)).await;
        let found = found.unwrap_or_else(|error| panic!("{address}: {error}"));
        let find = |path: &str| found.iter().find(|calendar| calendar.url == url(path));
        for (path, name) in [(&named, Some("Anna & co: Termine 虎")), (&plain, None)] {
            let calendar = find(path).unwrap_or_else(|| panic!("{address}: no {path}: {found:?}"));
            let FoundCalendar { name: said, access, syncs, sync_token, .. } = calendar;
            assert!(name.is_none() || said.as_deref() == name, "{said:?}");
            assert_eq!((*access, *syncs, sync_token.is_some()), (Access::Writable, true, true));
        }
        assert_eq!((find(&tasks), find(&contacts)), (None, None));
    }
    let table = said(server, &[]).await;
    let is_named = |line: &str| line.starts_with("writable") && line.ends_with(&url(&named));
    assert!(table.lines().any(is_named), "{table}");
    let lines = said(server, &["--json"]).await;
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = lines.iter().find(|line| line["calendar_url"] == url(&named)).expect("its line");
    assert_eq!((&line["writable"], &line["sync_collection"]), (&true.into(), &true.into()));
    assert_eq!(line["name"], "Anna & co: Termine 虎");
    for path in [named, plain, tasks, contacts] {
        assert!(matches!(ask(server, "DELETE", &path, "").await, 200 | 204));
    }
}

#[tokio::test]
async fn the_calendars_on_radicale_are_found() {
    let Some(server) = services::radicale("the_calendars_on_radicale_are_found") else { return };
    // An account of its own: the listing is no other test's business.
    let server = CaldavServer { user: "host8".to_owned(), ..server };
    is_found(&server, "/host8/", &["", "/host8/", "/.well-known/caldav"]).await;
    let password = SECRET.to_owned();
    let wrong = CaldavServer { url: server.url.clone(), user: server.user.clone(), password };
    let refused = discover(&http(), &server.url, &basic(&wrong)).await;
    assert_eq!(refused, Err(DiscoveryError::Unauthorised { origin: server.url }));
}

#[tokio::test]
async fn the_calendars_on_xandikos_are_found() {
    let Some(server) = services::xandikos("the_calendars_on_xandikos_are_found") else { return };
    let home = "/host/calendars/";
    is_found(&server, home, &["", "/host/", "/host/calendars/calendar/"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_tokens_is_asked_with_one() {
    let (p, h, none) = (principal("/p/"), home("/h/"), multistatus(""));
    let server = Stub::saying(&[(207, "", &p), (207, "", &h), (207, "", &none)]).await;
    let url = server.url.clone();
    let run = move || {
        let discover = ["connections", "discover", "caldav", "--url", &url, "--username", "anna"];
        let environment =
            [("DATABASE_URL", "sqlite::memory:"), ("SECRETS_KEY", KEY), ON_THIS_MACHINE];
        let both = [&discover[..], &["--token-stdin", "--password-stdin"]].concat();
        assert_eq!(program(&both, &environment, SECRET).status.code(), Some(2));
        program(&[&discover[..], &["--token-stdin"]].concat(), &environment, SECRET)
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it ran");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = format!("Bearer {SECRET}");
    let seen = server.requests();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some(&*token)));
}

/// `connections connect caldav` finds, chooses and adds: the only one that can be written to, or the one
/// that is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_calendar_that_can_be_written_to_is_connected() {
    const READ: &str = "<d:current-user-privilege-set><d:privilege><d:read/></d:privilege>\
        </d:current-user-privilege-set>";
    let calendars = multistatus(&[calendar("/h/team/", READ), calendar("/h/own/", "")].concat());
    for (named, code, said) in [
        (None, 0, "\"created\":true"),
        (Some("/h/own"), 0, "\"created\":true"),
        (Some("/h/team"), 1, "the account can only read the calendar"),
        (Some("/h/none"), 1, "the account has no calendar"),
    ] {
        let (p, h) = (principal("/p/"), home("/h/"));
        let server = Stub::saying(&[(207, "", &p), (207, "", &h), (207, "", &calendars)]).await;
        let url = server.url.clone();
        let run = move || {
            let connect = ["connections", "connect", "caldav", "--url", &url, "--username", "anna"];
            let named = named.map(|path| format!("{url}{path}"));
            let named = named.iter().flat_map(|named| ["--calendar-url", named]);
            let rest = ["--provider-id", PROVIDER, "--password-stdin", "--json"];
            let arguments: Vec<_> = connect.into_iter().chain(named).chain(rest).collect();
            let environment =
                [("DATABASE_URL", "sqlite::memory:"), ("SECRETS_KEY", KEY), ON_THIS_MACHINE];
            program(&arguments, &environment, SECRET)
        };
        let output = tokio::task::spawn_blocking(run).await.expect("it ran");
        let told = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(said) && !told.contains(SECRET), "{told}");
    }
}

fn multistatus(responses: &str) -> String {
    format!(
        "<?xml version='1.0'?><d:multistatus xmlns:d='DAV:' \
         xmlns:c='urn:ietf:params:xml:ns:caldav'>{responses}</d:multistatus>"
    )
}

fn response(href: &str, properties: &str) -> String {
    format!(
        "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop>\
         <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )
}

fn principal(href: &str) -> String {
    let who =
        format!("<d:current-user-principal><d:href>{href}</d:href></d:current-user-principal>");
    multistatus(&response("/", &who))
}

fn home(href: &str) -> String {
    multistatus(&response(
        "/p/",
        &format!("<c:calendar-home-set><d:href>{href}</d:href></c:calendar-home-set>"),
    ))
}

fn calendar(href: &str, more: &str) -> String {
    response(href, &format!("<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>{more}"))
}

/// Status, headers and body, one after the other.
type Answers<'a> = &'a [(u16, &'a str, &'a str)];

/// A server that gives these answers, and what is made of them.
async fn asked(answers: Answers<'_>) -> (Stub, Result<Vec<FoundCalendar>, DiscoveryError>) {
    let server = Stub::saying(answers).await;
    let found = discover(&http(), &server.url, &bearer()).await;
    (server, found)
}

#[tokio::test]
async fn a_redirect_is_followed_with_method_body_and_credentials() {
    let (moved, hop) = ("Location: /dav/here?x#y\r\n", "Location: there/\r\n");
    let access = "<d:current-user-privilege-set><d:privilege><d:read/></d:privilege>\
        </d:current-user-privilege-set><d:displayname>Work</d:displayname>";
    let calendars = multistatus(
        &[
            calendar("/h/", ""),
            calendar("/h/%41b/work", access),
            response("/h/inbox/", "<d:resourcetype><d:collection/></d:resourcetype>"),
            calendar("http://elsewhere.invalid/h/", ""),
        ]
        .concat(),
    );
    let (server, found) = asked(&[
        (301, moved, ""),
        (307, hop, ""),
        (207, "", &principal("../p/")),
        (308, "Location: /p/\r\n", ""),
        (207, "", &home("/h/")),
        (207, "", &calendars),
    ])
    .await;
    let found = found.expect("calendars");
    let (first, second) = (format!("{}/h/", server.url), format!("{}/h/%41b/work/", server.url));
    assert_eq!(
        found.iter().map(|it| (it.url.as_str(), it.access, it.name.as_deref())).collect::<Vec<_>>(),
        [(&*first, Access::NotSaid, None), (&*second, Access::ReadOnly, Some("Work"))]
    );
    let seen = server.requests();
    let lines: Vec<_> = seen.iter().map(Seen::line).collect();
    assert_eq!(
        lines,
        [
            "PROPFIND /.well-known/caldav",
            "PROPFIND /dav/here",
            "PROPFIND /dav/there/",
            "PROPFIND /dav/p/",
            "PROPFIND /p/",
            "PROPFIND /h/",
        ]
    );
    let depths: Vec<_> = seen.iter().map(|seen| seen.header("depth").expect("a depth")).collect();
    assert_eq!(depths, ["0", "0", "0", "0", "0", "1"]);
    assert!(seen[0].body.contains("current-user-principal"));
    assert_eq!((&seen[1].body, &seen[2].body), (&seen[0].body, &seen[0].body));
    assert_eq!(seen[4].body, seen[3].body);
    let token = format!("Bearer {SECRET}");
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some(&*token)));
}

/// Wherever it is said: in a redirect, as principal, or as home.
#[tokio::test]
async fn credentials_go_to_no_other_origin_and_it_is_named() {
    let other = Stub::saying(&[]).await;
    let elsewhere = format!("{}/path-4711?token=4711", other.url);
    let location = format!("Location: {elsewhere}\r\n");
    let (who, where_to) = (principal(&elsewhere), home(&elsewhere));
    let p = principal("/p/");
    let tables: [Answers<'_>; 4] = [
        &[(302, &location, "")],
        &[(207, "", &p), (301, &location, "")],
        &[(207, "", &who)],
        &[(207, "", &p), (207, "", &where_to)],
    ];
    for answers in tables {
        let (server, found) = asked(answers).await;
        let origin = other.url.clone();
        let error = found.expect_err("it is told");
        assert_eq!(error, DiscoveryError::OtherOrigin { origin });
        assert!(error.to_string().contains(&other.url), "{error}");
        assert!(!error.to_string().contains("4711"), "{error}");
        assert_eq!(server.requests().len(), answers.len());
    }
    // The same host with TLS is another origin too, and so is another scheme.
    for target in ["https://127.0.0.1/dav/", "//127.0.0.1/dav/", "gopher://127.0.0.1/"] {
        let (_, found) = asked(&[(301, &format!("Location: {target}\r\n"), "")]).await;
        assert!(matches!(found, Err(DiscoveryError::OtherOrigin { .. })), "{target}: {found:?}");
    }
    assert!(other.requests().is_empty(), "nobody came there");
}

#[tokio::test]
async fn a_server_without_a_well_known_address_is_asked_at_its_root() {
    for nothing in [(404, "", ""), (405, "", ""), (200, "", "<html/>"), (301, "", "")] {
        let answers = [
            nothing,
            (207, "", &*principal("/p/")),
            (207, "", &*home("/h/")),
            (207, "", &*multistatus("")),
        ];
        let (server, found) = asked(&answers).await;
        assert_eq!(found, Ok(Vec::new()), "{nothing:?}");
        assert_eq!(server.requests()[1].line(), "PROPFIND /");
    }
}

#[tokio::test]
async fn what_is_no_help_is_told_and_ends() {
    let (p, h) = (principal("/p/"), home("/h/"));
    let nobody = multistatus(&response(
        "/",
        "<d:current-user-principal><d:unauthenticated/></d:current-user-principal>",
    ));
    let no_home = multistatus(&response("/p/", ""));
    let homes = (0..9).map(|number| format!("<d:href>/h{number}/</d:href>"));
    let homes = homes.collect::<Vec<_>>().concat();
    let homes = multistatus(&response(
        "/p/",
        &format!("<c:calendar-home-set>{homes}</c:calendar-home-set>"),
    ));
    let many = (0..=CALENDARS_MAX).map(|number| calendar(&format!("/h/{number}/"), ""));
    let many = many.collect::<Vec<_>>().concat();
    let many = multistatus(&many);
    let bomb = "<!DOCTYPE m [<!ENTITY e 'x'>]><multistatus xmlns='DAV:'>&e;</multistatus>";
    let bad_href = principal("http://[");
    let tables: [(Answers<'_>, &str); 14] = [
        (&[(404, "", ""); 2], "cannot say what calendars the account has: 404 Not Found"),
        (&[(200, "", "<html/>"); 2], "the answer is of no CalDAV server"),
        (&[(207, "", ""); 2], "it names no principal"),
        (&[(207, "", bomb); 2], "it names no principal"),
        (&[(207, "", "<multistatus xmlns='DAV:'>"); 2], "it names no principal"),
        (&[(503, "", "")], "503 Service Unavailable"),
        (&[(401, "", "")], "does not accept the account's name with this password or token"),
        (&[(207, "", &nobody)], "does not accept the account's name with this password or token"),
        (&[(207, "", &bad_href)], "one of them is no URL"),
        (&[(207, "", &p), (207, "", &no_home)], "no calendar-home-set"),
        (&[(207, "", &p), (403, "", "")], "cannot say what the account's calendars are in: 403"),
        (&[(207, "", &p), (207, "", &homes)], "the account has more than 8 places for calendars"),
        (&[(207, "", &p), (207, "", &h), (207, "", bomb)], "the answer is of no CalDAV server"),
        (&[(207, "", &p), (207, "", &h), (207, "", &many)], "more than 500 calendars"),
    ];
    for (answers, expected) in tables {
        let (server, found) = asked(answers).await;
        let told = found.expect_err(expected).to_string();
        assert!(told.contains(expected), "`{expected}` is not in `{told}`");
        assert!(!told.contains(SECRET), "{told}");
        assert_eq!(server.requests().len(), answers.len(), "{expected}");
    }
}

#[tokio::test]
async fn a_redirect_without_end_and_an_answer_without_end_are_given_up() {
    let (server, found) = asked(&[(302, "Location: /.well-known/caldav\r\n", ""); 9]).await;
    assert_eq!(found, Err(DiscoveryError::Redirects { origin: server.url.clone() }));
    assert_eq!(server.requests().len(), 6);
    let server = Stub::replying(vec![Reply::Zeros(2 * BODY_LEN_MAX)]).await;
    let found = discover(&http(), &server.url, &bearer()).await;
    let told = found.expect_err("it is too long").to_string();
    assert!(told.contains("longer than 1048576 bytes"), "{told}");
}
