//! What a host does in her calendar herself.

use calendar_sync::calendar::http::{Exchanged, Request, Response};
use calendar_sync::emulator::google::ByHand;
use calendar_sync::emulator::microsoft;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

use super::{CaldavHost, Host, Place};

impl Host {
    /// She gives an event another title.
    pub(crate) async fn retitle_by_hand(&self, place: &Place, id: &str, title: &str) {
        match self {
            Self::Google(google) => {
                let change = ByHand::Retitle(title.to_owned());
                assert!(google.change_by_hand(&place.calendar, id, change));
            }
            Self::Microsoft(graph) => {
                let change = microsoft::ByHand::Retitle(title.to_owned());
                assert!(graph.change_by_hand(id, change));
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let retitled = |line: &str| {
                    let is_title = line.starts_with("SUMMARY:");
                    if is_title { format!("SUMMARY:{title}") } else { line.to_owned() }
                };
                caldav.rewrite(&path, retitled).await;
            }
        }
    }

    /// She moves an event: an hour from then on.
    pub(crate) async fn move_by_hand(&self, place: &Place, id: &str, start: DateTime<Utc>) {
        let end = start + TimeDelta::hours(1);
        match self {
            Self::Google(google) => {
                let change = ByHand::Move { start, end };
                assert!(google.change_by_hand(&place.calendar, id, change));
            }
            Self::Microsoft(graph) => {
                assert!(graph.change_by_hand(id, microsoft::ByHand::Move { start, end }));
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let mut is_event = false;
                let moved = |line: &str| {
                    is_event |= line == "BEGIN:VEVENT";
                    let times = [("DTSTART", start), ("DTEND", end)];
                    let time = times.iter().find(|(name, _)| is_event && line.starts_with(name));
                    time.map_or(line.to_owned(), |(name, at)| {
                        format!("{name}:{}", at.format("%Y%m%dT%H%M%SZ"))
                    })
                };
                caldav.rewrite(&path, moved).await;
            }
        }
    }

    /// She gives an event a colour, and wants to be reminded of it.
    pub(crate) async fn decorate_by_hand(&self, place: &Place, id: &str) {
        match self {
            Self::Google(google) => {
                for change in [ByHand::Colour("7".to_owned()), ByHand::Remind(30)] {
                    assert!(google.change_by_hand(&place.calendar, id, change));
                }
            }
            Self::Microsoft(graph) => {
                let colour = microsoft::ByHand::Recategorise(vec!["Red category".to_owned()]);
                for change in [colour, microsoft::ByHand::Remind(30)] {
                    assert!(graph.change_by_hand(id, change));
                }
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let alarm = "COLOR:red\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:Soon\r\n\
                             TRIGGER:-PT30M\r\nEND:VALARM\r\nEND:VEVENT";
                let decorated = |line: &str| match line {
                    "END:VEVENT" => alarm.to_owned(),
                    line => line.to_owned(),
                };
                caldav.rewrite(&path, decorated).await;
            }
        }
    }

    /// She writes this where our text stands.
    pub(crate) async fn describe_by_hand(&self, place: &Place, id: &str, text: &str) {
        match self {
            Self::Google(google) => {
                let change = ByHand::Describe(text.to_owned());
                assert!(google.change_by_hand(&place.calendar, id, change));
            }
            Self::Microsoft(graph) => {
                assert!(graph.change_by_hand(id, microsoft::ByHand::Describe(text.to_owned())));
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let text = text.replace(',', "\\,").replace('\n', "\\n");
                let mut is_event = false;
                // A VALARM has a DESCRIPTION of its own.
                let described = |line: &str| match line {
                    "BEGIN:VEVENT" => {
                        is_event = true;
                        format!("{line}\r\nDESCRIPTION:{text}")
                    }
                    "BEGIN:VALARM" => {
                        is_event = false;
                        line.to_owned()
                    }
                    "END:VALARM" => {
                        is_event = true;
                        line.to_owned()
                    }
                    line if is_event && line.starts_with("DESCRIPTION:") => String::new(),
                    line => line.to_owned(),
                };
                caldav.rewrite(&path, described).await;
            }
        }
    }

    /// She invites somebody.
    pub(crate) async fn invite_by_hand(&self, place: &Place, id: &str, guest: &str) {
        match self {
            Self::Google(google) => {
                let change = ByHand::Invite(vec![guest.to_owned()]);
                assert!(google.change_by_hand(&place.calendar, id, change));
            }
            Self::Microsoft(graph) => {
                let change = microsoft::ByHand::Invite(vec![guest.to_owned()]);
                assert!(graph.change_by_hand(id, change));
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let invited = |line: &str| match line {
                    "END:VEVENT" => format!("ATTENDEE;PARTSTAT=ACCEPTED:mailto:{guest}\r\n{line}"),
                    line => line.to_owned(),
                };
                caldav.rewrite(&path, invited).await;
            }
        }
    }

    /// What is written where our text stands, and what else of hers there is: colour, reminder and
    /// guests, in this order.
    pub(crate) async fn kept(&self, place: &Place, id: &str) -> (String, Vec<String>) {
        let said = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        match self {
            Self::Google(google) => {
                let events = google.events(&place.calendar);
                let event = events.into_iter().find(|event| event.id == id).expect("it is there");
                let all = &event.resource;
                let guests = all["attendees"].as_array().into_iter().flatten();
                let minutes = &all["reminders"]["overrides"][0]["minutes"];
                let hers = [&all["colorId"], minutes].into_iter();
                let hers = hers.chain(guests.map(|guest| &guest["email"]));
                (said(&all["description"]), hers.map(said).collect())
            }
            Self::Microsoft(graph) => {
                let events = graph.events(&place.calendar);
                let event = events.into_iter().find(|event| event.id == id).expect("it is there");
                let all = &event.resource;
                let guests = all["attendees"].as_array().into_iter().flatten();
                let hers = [&all["categories"], &all["reminderMinutesBeforeStart"]].into_iter();
                let hers = hers.chain(guests.map(|guest| &guest["emailAddress"]["address"]));
                (event.text.replace("\r\n", "\n"), hers.map(said).collect())
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                let text = caldav.text(&path).await.0.replace("\r\n", "\n").replace("\n ", "");
                let said = |name: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                // Servers put components after properties.
                let event = text.split("BEGIN:VALARM").next().unwrap_or_default();
                let after = text.split("END:VALARM").nth(1).unwrap_or_default();
                let described = [event, after]
                    .map(|part| part.lines().find_map(|line| line.strip_prefix("DESCRIPTION:")));
                let described = described.into_iter().flatten().next().unwrap_or_default();
                let plain = described.replace("\\n", "\n").replace("\\,", ",");
                let guests = text.lines().filter(|line| line.starts_with("ATTENDEE"));
                let hers = [said("COLOR:"), said("TRIGGER:")].into_iter();
                (plain, hers.chain(guests.map(str::to_owned)).collect())
            }
        }
    }

    /// She copies an event, as her client does it; answers the copy's name.
    pub(crate) async fn copy_by_hand(&self, place: &Place, id: &str) -> String {
        match self {
            Self::Google(google) => google.copy_by_hand(&place.calendar, id).expect("it is there"),
            Self::Microsoft(graph) => graph.copy_by_hand(id).expect("it is there"),
            Self::Caldav(caldav) => {
                let calendar = self.calendar_of(place);
                let text = caldav.text(&format!("{calendar}{id}")).await.0;
                let copied = |line: &str| {
                    let uid =
                        if line.starts_with("UID:") { "UID:a-copy@host.example" } else { line };
                    uid.to_owned()
                };
                let copy = "copy.ics".to_owned();
                let headers = [("if-none-match", "*")];
                let body = lines(&text, copied);
                let put = caldav.send("PUT", &format!("{calendar}{copy}"), &headers, &body).await;
                assert_eq!(put.status, 201);
                copy
            }
        }
    }
}

/// Each line, unfolded and changed; an empty one goes.
fn lines(text: &str, change: impl FnMut(&str) -> String) -> String {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "");
    let mut lines: Vec<String> = unfolded.lines().map(change).collect();
    lines.retain(|line| !line.is_empty());
    lines.join("\r\n") + "\r\n"
}

impl CaldavHost {
    /// The text of an event, and its ETag.
    async fn text(&self, path: &str) -> (String, String) {
        let got = self.send("GET", path, &[], "").await;
        assert_eq!(got.status, 200, "{path}");
        let text = String::from_utf8(got.body).expect("iCalendar is text");
        (text, got.etag.expect("a strong ETag"))
    }

    async fn rewrite(&self, path: &str, change: impl FnMut(&str) -> String) {
        let (text, etag) = self.text(path).await;
        let body = lines(&text, change);
        assert_ne!(body, lines(&text, str::to_owned), "it changes something");
        let put = self.send("PUT", path, &[("if-match", &etag)], &body).await;
        assert!((200..300).contains(&put.status), "PUT {path}: {}", put.status);
    }

    /// Asks the server itself, past the line.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response {
        let kind = ("content-type", "text/calendar; charset=utf-8");
        let headers = headers
            .iter()
            .chain([&kind])
            .map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned()));
        let request = Request {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            url: format!("{}{path}", self.server.url).parse().expect("a URL"),
            credentials: Some(&self.credentials()),
            headers: headers.collect(),
            body: body.as_bytes(),
        };
        match self.http.exchange(request).await {
            Exchanged::Answered(response) => response,
            Exchanged::Lost { message, .. } => panic!("{method} {path}: {message}"),
        }
    }
}
