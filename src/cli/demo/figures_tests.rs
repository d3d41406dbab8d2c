use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::*;
use crate::cli::demo::day::WAVES;
use crate::emulator::CallRecord;

const WAVE: usize = WAVES - 1;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn day() -> Day {
    Day::new(7, now(), "example.invalid")
}

/// What a calendar holds that was served well.
fn served(day: &Day, account: &str) -> Vec<EventView> {
    let mut events = Vec::new();
    for booking in &day.bookings {
        let Some(wanted) = &booking.after[WAVE] else { continue };
        if day.providers[wanted.provider].account != account {
            continue;
        }
        let status = if wanted.tentative { "tentative" } else { "confirmed" };
        events.push(EventView {
            id: format!("id of {}", booking.uid),
            etag: String::new(),
            ical_uid: String::new(),
            sequence: 0,
            summary: wanted.summary.clone(),
            start: wanted.start,
            end: wanted.end,
            zone: Some(wanted.zone),
            tentative: wanted.tentative,
            properties: [(UID_PROPERTY.to_owned(), booking.uid.clone())].into_iter().collect(),
            resource: json!({
                "description": wanted.description,
                "location": wanted.location,
                "status": status,
            }),
        });
    }
    events
}

/// The comparison after something was done to the first calendar.
fn after(change: impl Fn(&mut Vec<EventView>)) -> Comparison {
    let day = day();
    let first = day.providers[0].account;
    Comparison::of(&day, WAVE, |account| {
        let mut events = served(&day, account);
        if account == first {
            change(&mut events);
        }
        events
    })
}

#[test]
fn calendars_that_hold_what_they_should_are_equal() {
    let compared = after(|_| {});
    assert!(compared.is_equal());
    assert_eq!((compared.lost, compared.surplus), (0, 0));
    assert_eq!(compared.right(), compared.expected());
    assert!(compared.expected() > 200);
}

#[test]
fn an_event_that_is_missing_is_lost() {
    let compared = after(|events| drop(events.remove(0)));
    assert!(!compared.is_equal());
    assert_eq!((compared.lost, compared.surplus), (1, 0));
    assert_eq!(compared.calendars[0].differing, 1);
}

#[test]
fn an_event_that_is_wrong_in_any_field_is_lost() {
    let changes: [fn(&mut EventView); 9] = [
        |event| event.summary.push('!'),
        |event| event.resource["description"] = json!("other"),
        |event| event.resource["location"] = json!("elsewhere"),
        |event| event.resource["status"] = json!("cancelled"),
        |event| event.start -= TimeDelta::hours(1),
        |event| event.end += TimeDelta::seconds(1),
        |event| event.zone = None,
        |event| event.zone = Some(chrono_tz::Tz::UTC),
        |event| drop(event.properties.insert(UID_PROPERTY.to_owned(), "other".to_owned())),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let compared = after(|events| change(&mut events[0]));
        assert_eq!(compared.lost, 1, "change {index}");
        assert!(!compared.is_equal(), "change {index}");
    }
}

#[test]
fn a_second_event_of_a_booking_and_one_of_nobodys_are_surplus() {
    let twice = after(|events| events.push(events[0].clone()));
    assert_eq!((twice.lost, twice.surplus), (0, 1));
    let foreign = after(|events| {
        let mut other = events[0].clone();
        other.properties.clear();
        events.push(other);
    });
    assert_eq!((foreign.lost, foreign.surplus), (0, 1));
    assert_eq!(foreign.calendars[0].differing, 1);
}

#[test]
fn an_event_in_another_providers_calendar_is_lost_and_surplus() {
    let day = day();
    let (first, second) = (day.providers[0].account, day.providers[1].account);
    let compared = Comparison::of(&day, WAVE, |account| match account {
        _ if account == first => served(&day, first).split_off(1),
        _ if account == second => {
            let mut events = served(&day, second);
            events.extend(served(&day, first).into_iter().take(1));
            events
        }
        other => served(&day, other),
    });
    assert_eq!((compared.lost, compared.surplus), (1, 1));
}

fn creation(uid: &str) -> CallRecord {
    CallRecord {
        number: 1,
        at: now(),
        verb: Verb::Insert,
        calendar: None,
        event: None,
        account: None,
        query: String::new(),
        if_match: None,
        prefer: None,
        body: Bytes::new(),
        answered: Answered::Lost,
        effect: Effect::Created,
        applied: Some(1),
        before: None,
        after: Some(BTreeMap::from([(UID_PROPERTY.to_owned(), uid.to_owned())])),
    }
}

#[test]
fn an_event_that_appears_more_often_than_its_history_needs_is_a_duplicate() {
    let day = day();
    let booking = &day.bookings[0];
    let needed = vec![creation(&booking.uid); booking.creates_max];
    let calls = Calls { list: needed, forgotten: 0 };
    assert_eq!(surplus_creates(&calls, &day), 0);
    let mut more = calls.list.clone();
    more.extend([creation(&booking.uid), creation("nobody's")]);
    assert_eq!(surplus_creates(&Calls { list: more, forgotten: 0 }, &day), 2);
    let totals = Totals::of(&calls);
    assert_eq!((totals.created, totals.lost_answers), (booking.creates_max, booking.creates_max));
}
