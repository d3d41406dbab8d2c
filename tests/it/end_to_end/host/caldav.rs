//! A CalDAV server behind a line that can be disturbed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use booking::Verb;
use calendar_sync::calendar::Credentials;
use calendar_sync::calendar::http::{Exchanged, Http, Request, Response};
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use icalendar::{CalendarDateTime, Component as _, DatePerhapsTime};
use reqwest::Method;
use reqwest::header::HeaderName;
use url::Url;

use super::super::wire::{Wire, WireCall};
use super::{Shown, Write};
use crate::services::CaldavServer;

/// What is asked of a collection's members.
const MEMBERS: &[u8] = b"<propfind xmlns='DAV:'><prop><getetag/></prop></propfind>";

/// A collection is listed so often, at most, before its server is taken to be out of order.
const LISTINGS_MAX: u32 = 20;

/// A CalDAV server, and the line to it.
pub(crate) struct CaldavHost {
    pub(crate) server: CaldavServer,
    pub(crate) wire: Wire,
    pub(crate) http: Http,
    /// The paths that the host has emptied herself, each after so many calls.
    emptied: Mutex<Vec<(usize, String)>>,
}

/// The writes among these calls, and among what the host has emptied herself.
fn writes(calls: Vec<WireCall>, emptied: &[(usize, String)]) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut shown = BTreeMap::new();
    let mut emptied = emptied.iter().peekable();
    for (number, call) in calls.into_iter().enumerate() {
        while let Some((_, path)) = emptied.next_if(|(calls, _)| *calls <= number) {
            shown.remove(path);
        }
        let (is_new, path) = (call.is_new, call.path.clone());
        let Some(mut write) = write_of(call) else { continue };
        // Where `If-None-Match` is ignored, the same bytes may be put twice: nobody sees it.
        write.effective &= !(is_new && shown.get(&path) == Some(&write.body));
        if write.effective {
            shown.insert(path, write.body.clone());
        }
        writes.push(write);
    }
    writes
}

fn write_of(call: WireCall) -> Option<Write> {
    if !call.is_write() {
        return None;
    }
    let verb = match (call.method.as_str(), call.is_new) {
        ("PUT", true) => Verb::Create,
        ("PUT", false) => Verb::Update,
        _ => Verb::Delete,
    };
    let (calendar, id) = call.path.rsplit_once('/').expect("a resource in a collection");
    Some(Write {
        at: call.at,
        verb,
        calendar: format!("{calendar}/"),
        id: id.to_owned(),
        if_match: call.if_match,
        body: call.body,
        landed: call.status.is_some(),
        effective: call.status.is_some_and(|status| (200..300).contains(&status)),
    })
}

impl CaldavHost {
    pub(crate) fn new(server: CaldavServer, wire: Wire, http: Http) -> Self {
        Self { server, wire, http, emptied: Mutex::default() }
    }

    /// What the service has written, in order.
    pub(super) fn writes(&self) -> Vec<Write> {
        writes(self.wire.calls(), &self.emptied.lock().expect("no poison"))
    }

    /// The host deletes what stands at a path.
    pub(super) async fn empty(&self, path: &str) {
        let status = self.ask("DELETE", path, &[]).await.status;
        assert!(matches!(status, 200 | 204), "DELETE {path}: {status}");
        let emptied = (self.wire.calls().len(), path.to_owned());
        self.emptied.lock().expect("no poison").push(emptied);
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::Basic {
            username: self.server.user.clone(),
            password: self.server.password.clone().into(),
        }
    }

    /// Asks the server itself, past the line.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Response {
        self.tell(method, path, headers, b"").await
    }

    /// The same, with a body.
    pub(super) async fn tell(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned()))
            .collect();
        let request = Request {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            url: format!("{}{path}", self.server.url).parse().expect("a URL"),
            credentials: Some(&self.credentials()),
            headers,
            body,
        };
        match self.http.exchange(request).await {
            Exchanged::Answered(response) => response,
            Exchanged::Lost { message, .. } => panic!("{method} {path}: {message}"),
        }
    }

    /// Lists a collection. Radicale 3.9.0 reads the members after it has given up its lock
    /// (`app/propfind.py`, `do_PROPFIND`), and answers 500 if one was deleted meanwhile.
    async fn list(&self, collection: &str) -> Response {
        for _ in 0..LISTINGS_MAX {
            let headers = [("depth", "1"), ("content-type", "application/xml")];
            let listed = self.tell("PROPFIND", collection, &headers, MEMBERS).await;
            match listed.status {
                207 => return listed,
                500 => {}
                status => panic!("PROPFIND {collection}: {status}"),
            }
        }
        panic!("PROPFIND {collection}: 500, {LISTINGS_MAX} times");
    }

    pub(super) async fn shown(&self, collection: &str) -> Vec<Shown> {
        let listed = self.list(collection).await;
        let text = String::from_utf8(listed.body).expect("XML is text");
        let document = roxmltree::Document::parse(&text).expect("XML");
        let server: Url = self.server.url.parse().expect("a URL");
        let mut hrefs: Vec<String> = document
            .descendants()
            .filter(|node| node.has_tag_name(("DAV:", "href")))
            .filter_map(|node| node.text())
            // Xandikos's are whole URLs, now and then.
            .map(|href| server.join(href).expect("a URL").path().to_owned())
            .filter(|path| !path.ends_with('/'))
            .collect();
        hrefs.sort_unstable();
        hrefs.dedup();
        let mut shown = Vec::new();
        for href in hrefs {
            let got = self.ask("GET", &href, &[]).await;
            if got.status == 404 {
                // Removed since it was listed.
                continue;
            }
            assert_eq!(got.status, 200, "{href}");
            let id = href.rsplit('/').next().expect("a last segment").to_owned();
            shown.push(event(id, got));
        }
        shown
    }
}

fn event(id: String, got: Response) -> Shown {
    let text = String::from_utf8(got.body).expect("iCalendar is text");
    let calendar: icalendar::Calendar = text.parse().expect("iCalendar");
    let event = calendar.components.iter().find_map(|component| component.as_event());
    let event = event.expect("an event");
    let number = |name| event.property_value(name).and_then(|text| text.parse().ok());
    let (start, zone) = instant(event.get_start());
    let (end, _) = instant(event.get_end());
    let said = event.property_value("X-BOOKING-TZID").and_then(|name| name.parse().ok());
    Shown {
        id,
        provider_uid: event.get_uid().expect("a UID").to_owned(),
        // Not every server has one.
        etag: got.etag.unwrap_or_default(),
        revision: number("X-BOOKING-REVISION").unwrap_or(-1),
        sequence: number("SEQUENCE").unwrap_or(-1),
        summary: event.get_summary().unwrap_or_default().to_owned(),
        description: event.get_description().map(ToOwned::to_owned),
        location: event.property_value("LOCATION").map(ToOwned::to_owned),
        start,
        end,
        zone: zone.or(said),
        tentative: event.property_value("STATUS") == Some("TENTATIVE"),
    }
}

/// The moment that a calendar's client understands, and the zone in which it was said.
fn instant(time: Option<DatePerhapsTime>) -> (DateTime<Utc>, Option<Tz>) {
    match time {
        Some(DatePerhapsTime::DateTime(CalendarDateTime::Utc(at))) => (at, None),
        Some(DatePerhapsTime::DateTime(CalendarDateTime::WithTimezone { date_time, tzid })) => {
            let zone: Tz = tzid.parse().expect("an IANA zone");
            // RFC 5545 §3.3.5: of an hour that is lived twice, the first is meant.
            let at = zone.from_local_datetime(&date_time).earliest().expect("a time that is lived");
            (at.to_utc(), Some(zone))
        }
        other => panic!("not a moment: {other:?}"),
    }
}
