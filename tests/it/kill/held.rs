//! What the calendars hold, read from the servers themselves and by nothing of ours.

use chrono::{DateTime, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::history::Shown;
use super::world::{Place, World};

/// The property of a Google event that says whose it is.
const GOOGLE_UID: &str = "bookingUid";

/// A live event.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) uid: String,
    /// The calendar, by its provider's place in the list.
    pub(crate) calendar: usize,
    /// Its name there.
    pub(crate) name: String,
    pub(crate) shown: Shown,
}

/// Every live event of every calendar.
pub(crate) async fn all(world: &World) -> Vec<Held> {
    let mut held = Vec::new();
    for (calendar, place) in world.places.iter().enumerate() {
        match place {
            Place::Caldav(url) => held.extend(caldav(world, calendar, url).await),
            Place::Google(id) => held.extend(google(world, calendar, id)),
        }
    }
    held
}

async fn caldav(world: &World, calendar: usize, url: &str) -> Vec<Held> {
    const QUERY: &str = r#"<?xml version="1.0" encoding="utf-8"?>
        <C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
          <D:prop><C:calendar-data/></D:prop>
          <C:filter><C:comp-filter name="VCALENDAR"/></C:filter>
        </C:calendar-query>"#;
    let headers = [("depth", "1"), ("content-type", "application/xml; charset=utf-8")];
    let (status, body) = world.dav("REPORT", url, &headers, QUERY).await;
    assert_eq!(status, 207, "{body}");
    let answer = roxmltree::Document::parse(&body).expect("an answer in XML");
    let (dav, caldav) = ("DAV:", "urn:ietf:params:xml:ns:caldav");
    let mut held = Vec::new();
    for response in answer.descendants().filter(|node| node.has_tag_name((dav, "response"))) {
        let text = |namespace: &'static str, name: &'static str| {
            let found = response.descendants().find(|node| node.has_tag_name((namespace, name)));
            found.and_then(|node| node.text()).expect("a response is whole").to_owned()
        };
        let name = text(dav, "href");
        // More than one event in a resource would be a doubled one.
        for event in events(&text(caldav, "calendar-data")) {
            held.push(Held { uid: event.0, calendar, name: name.clone(), shown: event.1 });
        }
    }
    held
}

fn google(world: &World, calendar: usize, id: &str) -> Vec<Held> {
    let events = world.google.events(id).into_iter();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    events
        .map(|event| Held {
            uid: event.properties.get(GOOGLE_UID).cloned().unwrap_or_default(),
            calendar,
            name: event.id,
            shown: Shown {
                summary: event.summary,
                description: text(&event.resource["description"]),
                location: text(&event.resource["location"]),
                start: event.start,
                end: event.end,
                zone: event.zone.expect("no event of ours is all day"),
            },
        })
        .collect()
}

/// The UID and content of each VEVENT in a text.
fn events(text: &str) -> Vec<(String, Shown)> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "");
    let mut events = Vec::new();
    for event in unfolded.split("BEGIN:VEVENT\n").skip(1) {
        let (event, _) = event.split_once("END:VEVENT").expect("an event ends");
        let text = |name| property(event, name).map(|(_, value)| unescape(value));
        let (start, zone) = time(event, "DTSTART");
        let (end, _) = time(event, "DTEND");
        let shown = Shown {
            summary: text("SUMMARY").unwrap_or_default(),
            description: text("DESCRIPTION"),
            location: text("LOCATION"),
            start,
            end,
            zone,
        };
        events.push((text("UID").unwrap_or_default(), shown));
    }
    events
}

/// A property's parameters and value.
fn property<'a>(event: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    event.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (parameters, value) = rest.split_once(':')?;
        (parameters.is_empty() || parameters.starts_with(';')).then_some((parameters, value))
    })
}

/// An instant, and the zone that it is said in (or would have been, were the hour not ambiguous).
fn time(event: &str, name: &str) -> (DateTime<Utc>, Tz) {
    let (parameters, value) = property(event, name).expect("an event has times");
    let local = value.trim_end_matches('Z');
    let local = NaiveDateTime::parse_from_str(local, "%Y%m%dT%H%M%S").expect("a time");
    if value.ends_with('Z') {
        let zone = property(event, "X-BOOKING-TZID").map_or("UTC", |(_, zone)| zone);
        return (local.and_utc(), zone.parse().expect("a zone"));
    }
    let zone = parameters.split(';').find_map(|parameter| parameter.strip_prefix("TZID="));
    let zone: Tz = zone.expect("no time of ours floats").parse().expect("a zone");
    // RFC 5545 §3.3.5: the first, of an hour that comes twice.
    (zone.from_local_datetime(&local).earliest().expect("a time that is").to_utc(), zone)
}

fn unescape(value: &str) -> String {
    let mut plain = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                plain.push(if matches!(escaped, 'n' | 'N') { '\n' } else { escaped });
                characters.next();
            }
            (plain_one, _) => plain.push(plain_one),
        }
    }
    plain
}
