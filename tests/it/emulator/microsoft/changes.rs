//! `calendarView/delta`.

use calendar_sync::emulator::microsoft::{ByHand, ExpiredDelta, Switches};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Got, Graph, at, body};

const DAY: [(&str, &str); 2] =
    [("startDateTime", "2026-11-23T00:00:00Z"), ("endDateTime", "2026-11-24T00:00:00Z")];

impl Graph {
    async fn delta_of(&self, place: &str) -> Got {
        let path = format!("/me/{place}calendarView/delta");
        self.try_call(Method::GET, &path, &DAY, None, None).await.expect("an answer")
    }

    async fn delta(&self) -> Got {
        self.delta_of(&format!("calendars/{}/", self.calendar)).await
    }

    /// Follows the pages: all that they say, and the link for the next round.
    async fn round(&self, first: Got) -> (Vec<Value>, String) {
        let (mut seen, mut page) = (Vec::new(), first);
        loop {
            seen.extend_from_slice(page.values());
            if let Some(link) = page.link("@odata.deltaLink") {
                assert_eq!(page.link("@odata.nextLink"), None);
                return (seen, link.to_owned());
            }
            let next = page.link("@odata.nextLink").expect("there is another page").to_owned();
            page = self.call(Method::GET, &next, None).await;
        }
    }

    async fn follow(&self, link: &str) -> (Vec<Value>, String) {
        let first = self.call(Method::GET, link, None).await;
        self.round(first).await
    }
}

fn removed(id: &str) -> Value {
    json!({"@removed": {"reason": "deleted"}, "id": id})
}

#[tokio::test]
async fn a_delta_says_all_and_then_what_changed() {
    let mut graph = Graph::start().await;
    let (seen, link) = graph.round(graph.delta().await).await;
    assert_eq!(seen.len(), 0);
    graph.prefer.push("odata.maxpagesize=2");
    let mut ids = Vec::new();
    for revision in 0..5 {
        ids.push(graph.post(&body(revision)).await.id());
    }
    let first = graph.call(Method::GET, &link, None).await;
    assert_eq!(first.values().len(), 2);
    let (seen, link) = graph.round(first).await;
    let said: Vec<_> = seen.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(said, ids);
    let (whole, _) = graph.round(graph.delta().await).await;
    assert_eq!(whole, seen);
    assert_eq!(graph.follow(&link).await.0.len(), 0);
    graph.patch(&ids[1], &json!({"subject": "later"})).await;
    graph.delete(&ids[0]).await;
    let (seen, link) = graph.follow(&link).await;
    assert_eq!((seen.len(), &seen[0]["subject"]), (2, &json!("later")));
    assert_eq!(seen[1], removed(&ids[0]));
    assert_eq!(graph.follow(&link).await.0.len(), 0);
}

#[tokio::test]
async fn what_changes_between_two_pages_comes_in_the_next_round() {
    let mut graph = Graph::start().await;
    graph.prefer.push("odata.maxpagesize=1");
    let first_id = graph.post(&body(0)).await.id();
    let second_id = graph.post(&body(1)).await.id();
    let first = graph.delta().await;
    graph.patch(&second_id, &json!({"subject": "later"})).await;
    let (seen, link) = graph.round(first).await;
    assert_eq!(seen.iter().map(|it| &it["id"]).collect::<Vec<_>>(), [&json!(first_id)]);
    let (seen, _) = graph.follow(&link).await;
    assert_eq!(seen[0]["subject"], "later");
}

/// microsoft-graph-docs#6599.
#[tokio::test]
async fn an_event_outside_of_the_time_is_said_to_be_removed() {
    let graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let (_, link) = graph.round(graph.delta().await).await;
    let week = chrono::TimeDelta::days(7);
    let away = ByHand::Move { start: at(9) + week, end: at(10) + week };
    assert!(graph.emulator.change_by_hand(&id, away));
    let never_seen = graph.emulator.add_by_hand(&graph.calendar, "x", at(9) + week, at(10) + week);
    let (seen, link) = graph.follow(&link).await;
    assert_eq!(seen, [removed(&id), removed(&never_seen.unwrap())]);
    graph.emulator.change_by_hand(&id, ByHand::Move { start: at(9), end: at(10) });
    assert_eq!(graph.follow(&link).await.0[0]["id"], id);
}

#[tokio::test]
async fn a_move_between_calendars_is_a_removal_and_an_arrival() {
    let mut graph = Graph::start().await;
    graph.prefer.clear();
    let old = graph.post(&body(0)).await.id();
    let (_, here) = graph.round(graph.delta().await).await;
    let (_, there) = graph.round(graph.delta_of("").await).await;
    let default = graph.call(Method::GET, "/me/calendar", None).await.id();
    assert!(graph.emulator.move_to_calendar_by_hand(&old, &default));
    assert_eq!(graph.follow(&here).await.0, [removed(&old)]);
    let (seen, _) = graph.follow(&there).await;
    assert_eq!(seen.len(), 1);
    assert_ne!(seen[0]["id"], json!(old), "its mutable id is another one");
    assert_eq!(graph.get(&old).await.said(), (404, "ErrorItemNotFound"));
}

#[tokio::test]
async fn a_delta_token_can_die() {
    let graph = Graph::start().await;
    let (_, link) = graph.round(graph.delta().await).await;
    assert!(graph.emulator.expire_delta_tokens(&graph.calendar));
    let dead = graph.call(Method::GET, &link, None).await;
    assert_eq!(dead.said(), (410, "SyncStateNotFound"));
    let expired_delta = ExpiredDelta::ResyncRequired;
    graph.emulator.set_switches(Switches { expired_delta, ..Switches::default() });
    let dead = graph.call(Method::GET, &link, None).await;
    assert_eq!(dead.said(), (410, "resyncRequired"));
    let (_, link) = graph.round(graph.delta().await).await;
    assert_eq!(graph.follow(&link).await.0.len(), 0);
}

#[tokio::test]
async fn a_delta_token_from_before_what_is_forgotten_is_dead() {
    let graph = Graph::with_options(|options| options.events_max = 2).await;
    graph.post(&body(0)).await;
    let (_, link) = graph.round(graph.delta().await).await;
    for event in graph.all() {
        graph.delete(&event.id).await;
    }
    for revision in 1..4 {
        let id = graph.post(&body(revision)).await.id();
        graph.delete(&id).await;
    }
    assert_eq!(graph.call(Method::GET, &link, None).await.said(), (410, "SyncStateNotFound"));
    assert_eq!(graph.emulator.deleted_events(&graph.calendar).len(), 2);
}

#[tokio::test]
async fn a_first_page_can_be_empty() {
    let graph = Graph::with(Switches { empty_first_page: true, ..Switches::default() }).await;
    graph.post(&body(0)).await;
    let first = graph.delta().await;
    assert_eq!((first.values().len(), first.link("@odata.deltaLink")), (0, None));
    let (seen, link) = graph.round(first).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(graph.follow(&link).await.0.len(), 0);
}

/// Not established.
#[tokio::test]
async fn a_delta_is_of_every_calendar_or_of_the_default_one_alone() {
    let graph = Graph::start().await;
    assert_eq!(graph.delta().await.status, 200);
    let delta_of_default_calendar_alone = true;
    let switches = Switches { delta_of_default_calendar_alone, ..Switches::default() };
    graph.emulator.set_switches(switches);
    assert_eq!(graph.delta().await.said(), (400, "ErrorInvalidRequest"));
    assert_eq!(graph.delta_of("").await.status, 200);
    assert_eq!(graph.delta_of("calendar/").await.status, 200);
}

#[tokio::test]
async fn what_is_no_delta_is_refused() {
    let graph = Graph::start().await;
    let (_, link) = graph.round(graph.delta().await).await;
    let other = link.replace(&format!("calendars/{}/", graph.calendar), "");
    assert_eq!(graph.call(Method::GET, &other, None).await.said(), (400, "SyncStateInvalid"));
    let path = format!("/me/calendars/{}/calendarView/delta", graph.calendar);
    assert_eq!(graph.call(Method::GET, &path, None).await.said(), (400, "ErrorInvalidParameter"));
    for query in ["$deltatoken=x", "$skiptoken=", "$select=subject", "$filter=x", "$expand=x"] {
        let got = graph.call(Method::GET, &format!("{path}?{query}"), None).await;
        assert_eq!(got.status, 400, "{query}");
    }
}
