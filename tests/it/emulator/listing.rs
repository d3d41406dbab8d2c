//! `events.list`, and what a host does by hand.

use std::collections::BTreeSet;

use calendar_sync::emulator::google::{ByHand, Switches};
use calendar_sync::emulator::{Limits, Quota};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ACCOUNT, CALENDAR, EVENTS, Google, Got, ID, TOKEN, at, body, named, with};

impl Google {
    async fn list(&self, query: &str) -> Got {
        self.call(Method::GET, &format!("{EVENTS}?{query}"), None).await
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let got = self.list(query).await;
        assert_eq!(got.status, 200, "{}", got.body);
        ids(&got)
    }
}

fn ids(got: &Got) -> Vec<String> {
    let items = got.body["items"].as_array().expect("a list has items");
    items.iter().map(|item| item["id"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn a_list_filters_by_private_properties_all_of_which_must_match() {
    let google = Google::start().await;
    google.insert(&named("booking0001", 0)).await;
    google.insert(&named("booking0002", 1)).await;
    google.emulator.add_by_hand(CALENDAR, "Lunch", at(12), at(13)).unwrap();
    let uid = "privateExtendedProperty=bookingUid%3Db-1%40example.com";
    assert_eq!(google.ids("").await.len(), 3);
    assert_eq!(google.ids(uid).await, ["booking0001", "booking0002"]);
    let both = format!("{uid}&privateExtendedProperty=bookingRevision%3D1");
    assert_eq!(google.ids(&both).await, ["booking0002"]);
    assert_eq!(google.list("privateExtendedProperty=bookingUid").await.status, 400);
    assert_eq!(google.ids("iCalUID=booking0001%40google.com").await, ["booking0001"]);
    assert_eq!(google.ids("q=lunch").await.len(), 1);
}

#[tokio::test]
async fn a_list_answers_the_fields_that_were_asked_for() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    let got = google.list("maxResults=1&fields=etag").await;
    assert_eq!((got.status, &got.body), (200, &json!({ "etag": got.etag() })));
    assert_eq!(google.ids("fields=items%2Fid").await, [ID]);
    assert_eq!(google.list("fields=tag").await.said(), (400, "invalidParameter"));
}

#[tokio::test]
async fn deleted_events_are_listed_only_when_asked_for() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    google.delete(ID).await;
    assert_eq!(google.ids("").await.len(), 0);
    assert_eq!(google.ids("showDeleted=true").await, [ID]);
    assert_eq!(google.ids("updatedMin=2026-11-23T00%3A00%3A00Z").await, [ID]);
    assert_eq!(google.ids("updatedMin=2026-11-24T00%3A00%3A00Z").await.len(), 0);
    let own = "showDeleted=true&privateExtendedProperty=bookingRevision%3D0";
    assert_eq!(google.ids(own).await, [ID]);
    google.emulator.set_switches(Switches { bare_tombstones: true, ..Switches::default() });
    assert_eq!(google.ids(own).await.len(), 0);
    assert_eq!(google.get(ID).await.body.get("extendedProperties"), None);
}

#[tokio::test]
async fn a_list_is_bounded_by_time() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    let bounds = |min: &str, max: &str| {
        format!("timeMin=2026-11-23T{min}%3A00%3A00Z&timeMax=2026-11-23T{max}%3A00%3A00Z")
    };
    assert_eq!(google.ids(&bounds("08", "09")).await.len(), 0, "it starts at 9");
    assert_eq!(google.ids(&bounds("09", "11")).await, [ID]);
    assert_eq!(google.ids(&bounds("10", "11")).await.len(), 0, "it ends at 10");
    assert_eq!(google.list(&bounds("11", "10")).await.said(), (400, "timeRangeEmpty"));
    assert_eq!(google.list("timeMin=2026-11-23T00%3A00%3A00").await.said(), (400, "badRequest"));
    assert_eq!(google.list("orderBy=startTime").await.said(), (400, "badRequest"));
    assert_eq!(google.ids("orderBy=startTime&singleEvents=true").await, [ID]);
    assert_eq!(google.list("limit=5").await.said(), (400, "badRequest"));
}

#[tokio::test]
async fn pages_hold_each_event_once() {
    let google = Google::start().await;
    for number in 0..7 {
        google.insert(&named(&format!("booking{number:04}"), number)).await;
    }
    let mut seen = Vec::new();
    let mut query = "maxResults=3".to_owned();
    let sync = loop {
        let page = google.list(&query).await;
        seen.extend(ids(&page));
        match page.body.get("nextPageToken").and_then(Value::as_str) {
            Some(token) => query = format!("maxResults=3&pageToken={token}"),
            None => break page.body["nextSyncToken"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7);
    assert_eq!(google.ids(&format!("syncToken={sync}")).await.len(), 0);
    assert_eq!(google.list("maxResults=0").await.status, 400);
    assert_eq!(google.list("pageToken=nonsense").await.status, 400);
    let other = query.replace("maxResults=3", "maxResults=4");
    assert_eq!(google.list(&other).await.status, 400, "a page token belongs to its query");
}

#[tokio::test]
async fn an_empty_page_is_not_the_last() {
    let google = Google::start().await;
    google.emulator.set_switches(Switches { empty_first_page: true, ..Switches::default() });
    google.insert(&named(ID, 0)).await;
    let first = google.list("").await;
    assert_eq!(ids(&first).len(), 0);
    assert_eq!(first.body.get("nextSyncToken"), None);
    let token = first.body["nextPageToken"].as_str().unwrap();
    assert_eq!(google.ids(&format!("pageToken={token}")).await, [ID]);
}

#[tokio::test]
async fn a_sync_token_gives_what_changed_and_can_die() {
    let google = Google::start().await;
    google.insert(&named("booking0001", 0)).await;
    google.insert(&named("booking0002", 0)).await;
    let first = google.list("").await;
    let token = first.body["nextSyncToken"].as_str().unwrap();
    google.delete("booking0001").await;
    let delta = google.list(&format!("syncToken={token}")).await;
    assert_eq!(ids(&delta), ["booking0001"]);
    assert_eq!(delta.body["items"][0]["status"], "cancelled");
    for beside in [
        "timeMin=2026-11-23T00%3A00%3A00Z",
        "timeMax=2026-11-23T00%3A00%3A00Z",
        "updatedMin=2026-11-23T00%3A00%3A00Z",
        "q=x",
        "iCalUID=x",
        "orderBy=updated",
        "privateExtendedProperty=a%3Db",
        "sharedExtendedProperty=a%3Db",
        "showDeleted=false",
    ] {
        let refused = google.list(&format!("syncToken={token}&{beside}")).await;
        assert_eq!(refused.said(), (400, "badRequest"), "{beside}");
    }
    google.emulator.expire_sync_tokens(CALENDAR);
    let dead = google.list(&format!("syncToken={token}")).await;
    assert_eq!(dead.said(), (410, "fullSyncRequired"));
}

/// L13.
#[tokio::test]
async fn a_host_edits_without_a_call_and_the_etag_tells() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    let calls = google.emulator.calls().list.len();
    let mut etags = BTreeSet::new();
    for change in [
        ByHand::Retitle("Haircut and tea".to_owned()),
        ByHand::Describe("bring the dog".to_owned()),
        ByHand::Colour("11".to_owned()),
        ByHand::Remind(30),
        ByHand::Move { start: at(15), end: at(16) },
        ByHand::AllDay,
        ByHand::Invite(vec!["eve@example.com".to_owned()]),
        ByHand::StripProperties,
        ByHand::Delete,
        ByHand::Restore,
    ] {
        assert!(google.emulator.change_by_hand(CALENDAR, ID, change));
        let tombstones = google.emulator.tombstones(CALENDAR);
        let event = google.emulator.events(CALENDAR).into_iter().chain(tombstones).next();
        assert!(etags.insert(event.unwrap().etag));
    }
    assert_eq!(google.emulator.calls().list.len(), calls);
    assert!(!google.emulator.change_by_hand(CALENDAR, "nothing", ByHand::Delete));
    let read = google.get(ID).await.body;
    assert_eq!(read["start"], json!({"date": "2026-11-23"}));
    assert_eq!(read["end"], json!({"date": "2026-11-24"}));
    assert_eq!(read["reminders"]["overrides"][0]["minutes"], 30);
    assert_eq!(read["sequence"], 2);
    assert_eq!(read["attendees"][0]["email"], "eve@example.com");
    assert_eq!(read.get("extendedProperties"), None);
}

#[tokio::test]
async fn a_move_to_another_calendar_leaves_a_tombstone() {
    let google = Google::start().await;
    google.insert(&named(ID, 0)).await;
    assert!(google.emulator.move_to_calendar_by_hand(CALENDAR, ID, ACCOUNT));
    assert_eq!(google.get(ID).await.body["status"], "cancelled");
    let moved = google.call(Method::GET, &format!("/calendars/primary/events/{ID}"), None).await;
    assert_eq!(moved.body["status"], "confirmed");
    assert_eq!(moved.body["organizer"]["email"], ACCOUNT);
    assert!(!google.emulator.move_to_calendar_by_hand(CALENDAR, ID, ACCOUNT), "it is gone");
    assert!(!google.emulator.move_to_calendar_by_hand(ACCOUNT, ID, "nowhere"));
}

#[tokio::test]
async fn a_token_expires_at_its_time() {
    let google = Google::start().await;
    assert!(google.emulator.expire_token_at(TOKEN, at(9)));
    assert_eq!(google.insert(&named(ID, 0)).await.status, 200);
    google.clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(google.get(ID).await.said(), (401, "authError"));
}

#[tokio::test]
async fn an_account_may_have_a_limit() {
    let google = Google::start().await;
    let window = std::time::Duration::from_mins(1);
    let quota = Some(Quota { calls_max: 2, window });
    google.emulator.set_limits(Limits { quota, ..Limits::default() });
    google.insert(&named(ID, 0)).await;
    assert_eq!(google.get(ID).await.status, 200);
    let over = google.get(ID).await;
    assert_eq!(over.said(), (403, "userRateLimitExceeded"));
    assert_eq!(over.body["error"]["errors"][0]["domain"], "usageLimits");
    google.clock.advance(window);
    assert_eq!(google.get(ID).await.status, 200);
}

#[tokio::test]
async fn a_copy_carries_the_marker_and_an_emptied_calendar_has_no_tombstones() {
    let google = Google::start().await;
    google.insert(&named(ID, 3)).await;
    let copy = google.emulator.copy_by_hand(CALENDAR, ID).unwrap();
    let read = google.get(&copy).await;
    assert_eq!(read.body["extendedProperties"]["private"]["bookingRevision"], "3");
    assert!(google.emulator.empty_calendar(CALENDAR));
    assert_eq!(google.ids("showDeleted=true").await.len(), 0);
    assert_eq!(google.get(ID).await.said(), (404, "notFound"));
}

#[tokio::test]
async fn times_without_a_zone_are_shown_in_the_calendars() {
    let google = Google::start().await;
    google.emulator.add_account(TOKEN, ACCOUNT);
    assert!(google.emulator.set_zone(CALENDAR, chrono_tz::Asia::Tokyo));
    let sent = with(body(0), "start", json!({"dateTime": "2026-11-23T09:00:00+00:00"}));
    let made = google.insert(&sent).await;
    let shown = json!({"dateTime": "2026-11-23T18:00:00+09:00", "timeZone": "Asia/Tokyo"});
    assert_eq!(made.body["start"], shown);
}
