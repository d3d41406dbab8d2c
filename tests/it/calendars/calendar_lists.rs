//! Finding an account's calendars at Google and in Microsoft 365: on the emulators, through pages, and
//! where somebody answers badly.

use std::sync::Arc;

use calendar_sync::calendar::discovery::{CALENDARS_MAX, ListError, ListedCalendar};
use calendar_sync::calendar::{Credentials, google, microsoft};
use calendar_sync::clock::SystemClock;
use calendar_sync::emulator::microsoft::Options as GraphOptions;
use calendar_sync::emulator::{GoogleEmulator, MicrosoftEmulator, Options, Verb};
use serde_json::{Value, json};

use super::caldav::http;
use super::stub::Stub;
use super::{SECRET, bearer};
use crate::settings::{KEY, ON_THIS_MACHINE, program, text};

const ACCOUNT: &str = "ada@example.com";
/// More than one page of either API holds.
const MANY: usize = 260;

async fn google() -> GoogleEmulator {
    let options = Options::strict(Arc::new(SystemClock::start()));
    let emulator = GoogleEmulator::start(options).await.expect("a port is free");
    emulator.add_account(SECRET, ACCOUNT);
    emulator
}

async fn graph() -> MicrosoftEmulator {
    let options = GraphOptions::strict(Arc::new(SystemClock::start()));
    let emulator = MicrosoftEmulator::start(options).await.expect("a port is free");
    emulator.add_account(SECRET, ACCOUNT);
    emulator
}

async fn in_google(emulator: &GoogleEmulator) -> Result<Vec<ListedCalendar>, ListError> {
    google::discovery::discover(&http(), &emulator.base_url(), &bearer()).await
}

async fn in_graph(emulator: &MicrosoftEmulator) -> Result<Vec<ListedCalendar>, ListError> {
    let base_url = format!("{}/me", emulator.base_url());
    microsoft::discovery::discover(&http(), &base_url, &bearer()).await
}

fn listed(id: &str, name: &str, is_writable: bool) -> ListedCalendar {
    let (is_primary, name) = (id == ACCOUNT, Some(name.to_owned()));
    ListedCalendar { id: id.to_owned(), name, is_writable, is_primary }
}

/// What `calendar-sync connections discover` says.
async fn said(kind: &'static str, base_url: String, more: &'static [&'static str]) -> String {
    let run = move || {
        let discover = ["connections", "discover", kind, "--base-url", &base_url, "--token-stdin"];
        let arguments = [&discover[..], more].concat();
        let environment =
            [("DATABASE_URL", "sqlite::memory:"), ("SECRETS_KEY", KEY), ON_THIS_MACHINE];
        let output = program(&arguments, &environment, SECRET);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    tokio::task::spawn_blocking(run).await.expect("it ran")
}

/// L28.
#[tokio::test]
async fn googles_calendars_are_listed_and_those_that_can_only_be_read_are_named_so() {
    let emulator = google().await;
    emulator.create_calendar(ACCOUNT, "team@group.example.com");
    emulator.create_read_only_calendar(ACCOUNT, "holidays@group.example.com");
    let expected = [
        listed(ACCOUNT, ACCOUNT, true),
        listed("holidays@group.example.com", "holidays@group.example.com", false),
        listed("team@group.example.com", "team@group.example.com", true),
    ];
    assert_eq!(in_google(&emulator).await.unwrap(), expected);
    let table = said("google", emulator.base_url(), &[]).await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "ACCESS     NAME                        ID");
    assert_eq!(lines[2], "read-only  holidays@group.example.com  holidays@group.example.com");
    let told = said("google", emulator.base_url(), &["--json"]).await;
    let first: Value = serde_json::from_str(told.lines().next().expect("a line")).unwrap();
    assert_eq!(first, json!({"calendar_id": ACCOUNT, "name": ACCOUNT, "writable": true}));
}

/// L28.
#[tokio::test]
async fn graphs_calendars_are_listed_and_those_that_can_only_be_read_are_named_so() {
    let emulator = graph().await;
    let team = emulator.create_calendar(ACCOUNT, "Team");
    let holidays = emulator.create_read_only_calendar(ACCOUNT, "Holidays");
    let found = in_graph(&emulator).await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.contains(&listed(&team, "Team", true)), "{found:?}");
    assert!(found.contains(&listed(&holidays, "Holidays", false)), "{found:?}");
    let table = said("microsoft", format!("{}/me", emulator.base_url()), &[]).await;
    let is_named =
        |line: &str| line.starts_with("read-only  Holidays  ") && line.ends_with(&holidays);
    assert!(table.lines().any(is_named), "{table}");
}

#[tokio::test]
async fn all_pages_are_read_up_to_the_bound() {
    let (google, graph) = (google().await, graph().await);
    for number in 1..MANY {
        google.create_calendar(ACCOUNT, &format!("c-{number}@group.example.com"));
        graph.create_calendar(ACCOUNT, &format!("Calendar {number}"));
    }
    for found in [in_google(&google).await.unwrap(), in_graph(&graph).await.unwrap()] {
        let mut ids: Vec<_> = found.iter().map(|calendar| &calendar.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((found.len(), ids.len()), (MANY, MANY));
    }
    assert_eq!(google.calls().attempts(Verb::CalendarList), 2);
    assert_eq!(graph.calls().attempts(Verb::CalendarList), 3);
    for number in MANY..=CALENDARS_MAX {
        google.create_calendar(ACCOUNT, &format!("c-{number}@group.example.com"));
        graph.create_calendar(ACCOUNT, &format!("Calendar {number}"));
    }
    assert_eq!(in_google(&google).await, Err(ListError::TooMany));
    assert_eq!(in_graph(&graph).await, Err(ListError::TooMany));
}

/// L28.
#[tokio::test]
async fn a_token_that_does_not_do_is_said_to() {
    let google = google().await;
    google.add_events_token(SECRET, ACCOUNT);
    let refused = in_google(&google).await;
    assert!(matches!(refused, Err(ListError::Forbidden { .. })), "{refused:?}");
    google.revoke_token(SECRET);
    assert_eq!(in_google(&google).await, Err(ListError::Unauthorised));
    let graph = graph().await;
    graph.add_user_token(SECRET, ACCOUNT);
    let refused = in_graph(&graph).await;
    assert!(matches!(refused, Err(ListError::Forbidden { .. })), "{refused:?}");
    graph.revoke_token(SECRET);
    assert_eq!(in_graph(&graph).await, Err(ListError::Unauthorised));
}

#[tokio::test]
async fn the_token_goes_to_no_page_elsewhere() {
    let link = json!({"value": [], "@odata.nextLink": "http://127.0.0.2:9/me/calendars"});
    let server = Stub::saying(&[(200, "", &link.to_string())]).await;
    let base_url = format!("{}/me", server.url);
    let found = microsoft::discovery::discover(&http(), &base_url, &bearer()).await;
    assert!(matches!(found, Err(ListError::Lost { .. })), "{found:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_is_no_list_is_told_from_an_empty_one() {
    for (status, said) in [(200, "<html>"), (200, "[]"), (200, "{}"), (500, "")] {
        let server = Stub::saying(&[(status, "", said), (status, "", said)]).await;
        let credentials: Credentials = bearer();
        let google = google::discovery::discover(&http(), &server.url, &credentials).await;
        let graph = microsoft::discovery::discover(&http(), &server.url, &credentials).await;
        for found in [google, graph] {
            let is_lost = matches!(found, Err(ListError::Lost { .. }));
            let is_refused = matches!(found, Err(ListError::Refused { .. }));
            assert_eq!((is_lost, is_refused), (status == 200, status == 500), "{found:?}");
        }
    }
    let nowhere = google::discovery::discover(&http(), "mailto:ada@example.com", &bearer()).await;
    assert!(matches!(nowhere, Err(ListError::Lost { .. })));
}
