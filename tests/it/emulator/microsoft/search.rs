//! Lists: filters, expansions, order and pages.

use std::collections::BTreeSet;

use calendar_sync::emulator::microsoft::{SearchScope, Switches};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, MARKER, SECOND, at, body, marked, with};

fn expand() -> String {
    format!("singleValueExtendedProperties($filter=id eq '{MARKER}')")
}

fn of_value(value: &str) -> Value {
    with(body(0), "singleValueExtendedProperties", json!([{"id": MARKER, "value": value}]))
}

/// B5.
#[tokio::test]
async fn a_search_ignores_the_case_of_values_and_not_of_names() {
    let graph = Graph::start().await;
    graph.post(&of_value("It's ÀB")).await;
    graph.post(&of_value("it's àb")).await;
    graph.post(&of_value("it's")).await;
    assert_eq!(graph.search("IT'S àB").await.values().len(), 2);
    let other_name = marked("it's").replace("bookingMarker", "BookingMarker");
    assert_eq!(graph.list(&[("$filter", &other_name)]).await.values().len(), 0);
    let other_letters = marked("it's").replace("66f5a359", "66F5A359").replace("ep", "x");
    assert_eq!(graph.list(&[("$filter", &other_letters)]).await.values().len(), 1);
    let there = marked("").replace("eq ''", "ne null");
    assert_eq!(graph.list(&[("$filter", &there)]).await.values().len(), 3);
}

/// B5.
#[tokio::test]
async fn properties_are_shown_only_if_they_are_asked_for() {
    let graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let found = graph.list(&[("$filter", &marked("b-0"))]).await;
    assert_eq!(found.values()[0].get("singleValueExtendedProperties"), None);
    let shown = json!([{"id": MARKER, "value": "b-0"}]);
    let both = [("$filter", marked("B-0")), ("$expand", expand())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    let found = graph.list(&both).await;
    assert_eq!(found.values()[0]["singleValueExtendedProperties"], shown);
    let path = format!("/me/events/{id}");
    let one = [("$expand", expand()), ("$select", "subject".to_owned())];
    let one = one.each_ref().map(|(name, value)| (*name, value.as_str()));
    let got = graph.try_call(Method::GET, &path, &one, None, None).await.unwrap();
    assert_eq!(got.body["singleValueExtendedProperties"], shown);
    assert_eq!((&got.body["subject"], got.body.get("start")), (&json!("Haircut 0"), None));
}

#[tokio::test]
async fn a_search_by_property_goes_over_the_mailbox_or_the_calendar() {
    let graph = Graph::start().await;
    graph.post(&body(0)).await;
    graph.call(Method::POST, "/me/events", Some(&body(0))).await;
    assert_eq!(graph.search("b-0").await.values().len(), 2);
    assert_eq!(graph.list(&[("$filter", "subject eq 'Haircut 0'")]).await.values().len(), 1);
    let search_scope = SearchScope::Calendar;
    graph.emulator.set_switches(Switches { search_scope, ..Switches::default() });
    assert_eq!(graph.search("b-0").await.values().len(), 1);
}

/// Not established.
#[tokio::test]
async fn a_search_can_lag_behind_what_an_id_finds() {
    let switches = Switches { search_lags: SECOND, ..Switches::default() };
    let graph = Graph::with(switches.clone()).await;
    let id = graph.post(&body(0)).await.id();
    assert_eq!(graph.search("b-0").await.values().len(), 0);
    assert_eq!(graph.get(&id).await.status, 200);
    assert_eq!(graph.list(&[]).await.values().len(), 1, "no filter, no index");
    graph.clock.advance(SECOND);
    assert_eq!(graph.search("b-0").await.values().len(), 1);
    graph.patch(&id, &body(1)).await;
    assert_eq!(graph.search("b-1").await.values().len(), 1);
    let switches = Switches { search_lags_after_change: SECOND, ..switches };
    graph.emulator.set_switches(switches);
    assert_eq!(graph.search("b-1").await.values().len(), 0);
    graph.clock.advance(SECOND);
    assert_eq!(graph.search("b-1").await.values().len(), 1);
}

#[tokio::test]
async fn pages_hold_each_event_once() {
    let graph = Graph::start().await;
    for number in 0..7 {
        graph.post(&body(number)).await;
    }
    let mut page =
        graph.list(&[("$top", "3"), ("$count", "true"), ("$filter", "subject ne 'x'")]).await;
    assert_eq!(page.body["@odata.count"], 7);
    let mut seen = Vec::new();
    loop {
        seen.extend(page.subjects().into_iter().map(ToOwned::to_owned));
        let Some(next) = page.link("@odata.nextLink").map(ToOwned::to_owned) else {
            break;
        };
        page = graph.call(Method::GET, &next, None).await;
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7);
    let path = format!("{}?$orderby=subject desc&$top=1", graph.events_path());
    assert_eq!(graph.call(Method::GET, &path, None).await.subjects(), ["Haircut 6"]);
}

#[tokio::test]
async fn an_empty_page_is_not_the_last() {
    let graph = Graph::with(Switches { empty_first_page: true, ..Switches::default() }).await;
    graph.post(&body(0)).await;
    let first = graph.search("b-0").await;
    assert_eq!(first.values().len(), 0);
    let next = first.link("@odata.nextLink").unwrap();
    let second = graph.call(Method::GET, next, None).await;
    assert_eq!((second.values().len(), second.link("@odata.nextLink")), (1, None));
}

#[tokio::test]
async fn a_calendar_view_is_bounded_by_time() {
    let graph = Graph::start().await;
    graph.post(&body(0)).await;
    let view = async |start: &str, end: &str| {
        let path = format!("/me/calendars/{}/calendarView", graph.calendar);
        let (start, end) = (format!("2026-11-23T{start}"), format!("2026-11-23T{end}"));
        let query = [("startDateTime", start.as_str()), ("endDateTime", end.as_str())];
        graph.try_call(Method::GET, &path, &query, None, None).await.unwrap()
    };
    assert_eq!(view("08:00:00", "09:00:00").await.values().len(), 0, "it starts at 9");
    assert_eq!(view("09:00:00Z", "11:00:00+01:00").await.values().len(), 1);
    assert_eq!(view("10:00:00", "11:00:00").await.values().len(), 0, "it ends at 10");
    assert_eq!(view("11:00:00", "10:00:00").await.said(), (400, "ErrorInvalidParameter"));
    let path = format!("/me/calendars/{}/calendarView", graph.calendar);
    assert_eq!(graph.call(Method::GET, &path, None).await.status, 400);
    graph.emulator.add_by_hand(&graph.calendar, "Lunch", at(12), at(13)).unwrap();
    let filter = "start/dateTime ge '2026-11-23T12:00:00' and not (isAllDay eq true)";
    assert_eq!(graph.list(&[("$filter", filter)]).await.subjects(), ["Lunch"]);
}

#[tokio::test]
async fn what_is_no_query_is_refused() {
    let graph = Graph::start().await;
    for (name, value) in [
        ("$filter", "subject eq 'x"),
        ("$filter", "singleValueExtendedProperties/Any(ep: ep/id eq 'x' and ep/value eq 'y')"),
        ("$filter", "title eq 'x'"),
        ("$expand", "singleValueExtendedProperties"),
        ("$expand", "attachments"),
        ("$select", "title"),
        ("$top", "0"),
        ("$top", "ten"),
        ("$skip", "-1"),
        ("$orderby", "title"),
        ("$orderby", "subject up"),
        ("$count", "yes"),
        ("$search", "x"),
        ("$fitler", "x"),
        ("top", "1"),
        ("startDateTime", "2026-11-23T09:00:00"),
    ] {
        let refused = graph.list(&[(name, value)]).await;
        assert_eq!(refused.status, 400, "{name}={value}");
    }
}
