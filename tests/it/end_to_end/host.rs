//! The calendars' side: what a host sees in her calendar, what was done to it, and what can go
//! wrong with it. The Google emulator, or Radicale behind a line that can be disturbed.

mod by_hand;

mod google;

use std::sync::Arc;
use std::time::Duration;

use booking::{CalendarKind, Verb};
use calendar_sync::calendar::Credentials;
use calendar_sync::calendar::http::{Exchanged, Http, Request, Response};
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::emulator::google::ByHand;
use calendar_sync::emulator::{self, GoogleEmulator};
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use icalendar::{CalendarDateTime, Component as _, DatePerhapsTime};
use reqwest::Method;
use reqwest::header::HeaderName;

use super::wire::{Meant, Wire, WireCall, WireOrder};
use crate::services::Radicale;

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It takes effect, and the connection ends without an answer.
    AnswerLost,
    /// It takes effect, and the answer waits until the trouble is withdrawn.
    AnswerHeld,
    /// The connection ends at once, and it takes effect when the trouble is withdrawn.
    Late,
    /// It waits without an answer, and takes effect when the trouble is withdrawn, whoever is still
    /// there.
    Stranded,
    /// It takes so much longer.
    Slow(Duration),
    /// It takes no effect; this is the answer. A CalDAV server gives no reason.
    Refused { status: u16, reason: &'static str, retry_after_s: Option<u32> },
}

/// The calendar is out of order.
pub(crate) const UNAVAILABLE: Trouble =
    Trouble::Refused { status: 503, reason: "backendError", retry_after_s: None };

/// The calendar does not take this event.
pub(crate) const INVALID: Trouble =
    Trouble::Refused { status: 400, reason: "invalid", retry_after_s: None };

/// A collection is listed so often, at most, before its server is taken to be out of order.
const LISTINGS_MAX: u32 = 20;

/// Always.
pub(crate) const EVERY: u32 = u32::MAX;

/// A trouble that was ordered.
pub(crate) enum Ordered {
    Google(emulator::Ordered),
    Wire(Arc<WireOrder>),
}

impl Ordered {
    /// How many requests it has met.
    pub(crate) fn hits(&self) -> u64 {
        match self {
            Self::Google(order) => order.hits(),
            Self::Wire(order) => order.hits(),
        }
    }

    /// Returns once it holds a request.
    pub(crate) async fn wait_held(&self) {
        match self {
            Self::Google(order) => order.wait_held(1).await,
            Self::Wire(order) => order.wait_held().await,
        }
    }

    /// Ends it, and lets go what it holds.
    pub(crate) fn withdraw(&self) {
        match self {
            Self::Google(order) => order.withdraw(),
            Self::Wire(order) => order.withdraw(),
        }
    }
}

/// An event, as a host sees it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Its name in the calendar.
    pub(crate) id: String,
    /// The UID that the calendar gives it.
    pub(crate) provider_uid: String,
    /// Its ETag.
    pub(crate) etag: String,
    /// Our revision in it.
    pub(crate) revision: i64,
    /// `SEQUENCE`.
    pub(crate) sequence: i64,
    pub(crate) summary: String,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    pub(crate) zone: Option<Tz>,
    pub(crate) tentative: bool,
}

/// A write that reached a calendar.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) at: DateTime<Utc>,
    pub(crate) verb: Verb,
    /// The calendar's id, or the collection's path.
    pub(crate) calendar: String,
    pub(crate) id: String,
    pub(crate) if_match: Option<String>,
    pub(crate) body: String,
    /// Whether the calendar has looked at it.
    pub(crate) landed: bool,
    /// Whether it changed what a host sees.
    pub(crate) effective: bool,
}

/// A calendar, and what opens it.
#[derive(Clone)]
pub(crate) struct Place {
    /// The account.
    pub(crate) subject: String,
    /// The calendar's id, or the collection's URL.
    pub(crate) calendar: String,
    /// The API's address.
    pub(crate) base_url: String,
    pub(crate) credentials: Credentials,
}

/// Whose calendars they are.
pub(crate) enum Host {
    Google(GoogleEmulator),
    Caldav(CaldavHost),
}

/// Radicale, and the line to it.
pub(crate) struct CaldavHost {
    pub(crate) radicale: Radicale,
    pub(crate) wire: Wire,
    pub(crate) http: Http,
}

impl Host {
    pub(crate) fn kind(&self) -> CalendarKind {
        match self {
            Self::Google(_) => CalendarKind::Google,
            Self::Caldav(_) => CalendarKind::Caldav,
        }
    }

    /// A new, empty calendar.
    pub(crate) async fn new_calendar(&self) -> Place {
        let name = SystemDice.token().simple().to_string();
        match self {
            Self::Google(google) => {
                let account = format!("{name}@example.com");
                google.add_account(&name, &account);
                Place {
                    subject: account.clone(),
                    calendar: account,
                    base_url: google.base_url(),
                    credentials: Credentials::Bearer { token: name.into() },
                }
            }
            Self::Caldav(caldav) => {
                let path = format!("/{}/{name}/", caldav.radicale.user);
                let made = caldav.ask("MKCALENDAR", &path, &[]).await;
                assert_eq!(made.status, 201, "a calendar is made");
                Place {
                    subject: caldav.radicale.user.clone(),
                    calendar: format!("{}{path}", caldav.wire.url),
                    base_url: String::new(),
                    credentials: caldav.credentials(),
                }
            }
        }
    }

    /// The events of a calendar, by its own content.
    pub(crate) async fn shown(&self, place: &Place) -> Vec<Shown> {
        match self {
            Self::Google(google) => {
                google.events(&place.calendar).into_iter().map(google::event).collect()
            }
            Self::Caldav(caldav) => caldav.shown(&self.calendar_of(place)).await,
        }
    }

    /// What a write says where it went.
    pub(crate) fn calendar_of(&self, place: &Place) -> String {
        match self {
            Self::Google(_) => place.calendar.clone(),
            Self::Caldav(caldav) => {
                place.calendar.strip_prefix(&caldav.wire.url).expect("a path").to_owned()
            }
        }
    }

    /// Orders trouble for the next `count` writes.
    pub(crate) fn order(&self, count: u32, trouble: Trouble) -> Ordered {
        match self {
            Self::Google(google) => {
                Ordered::Google(google.order(google::of_writes(google::rule(count, trouble))))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(count, trouble, Meant::Writes(String::new())))
            }
        }
    }

    /// Orders trouble for the next write to one calendar.
    pub(crate) fn order_at(&self, place: &Place, trouble: Trouble) -> Ordered {
        let calendar = self.calendar_of(place);
        match self {
            Self::Google(google) => {
                let rule = google::of_writes(google::rule(1, trouble)).calendar(&calendar);
                Ordered::Google(google.order(rule))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(1, trouble, Meant::Writes(calendar)))
            }
        }
    }

    /// Orders trouble for all that is asked of one calendar.
    pub(crate) fn order_all_at(&self, place: &Place, trouble: Trouble) -> Ordered {
        let calendar = self.calendar_of(place);
        match self {
            Self::Google(google) => {
                Ordered::Google(google.order(google::rule(EVERY, trouble).calendar(&calendar)))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(EVERY, trouble, Meant::All(calendar)))
            }
        }
    }

    /// Answers 401 to whoever comes with these credentials. Give back what ends it.
    pub(crate) fn lock_out(&self, place: &Place) -> Option<Ordered> {
        match self {
            Self::Google(google) => {
                google.revoke_account(&place.subject);
                None
            }
            Self::Caldav(caldav) => {
                let trouble =
                    Trouble::Refused { status: 401, reason: "authError", retry_after_s: None };
                let all = Meant::All(self.calendar_of(place));
                Some(Ordered::Wire(caldav.wire.order(EVERY, trouble, all)))
            }
        }
    }

    /// Ends a lock-out: these credentials are good from now on.
    pub(crate) fn let_in(&self, place: &Place, lock: Option<Ordered>) -> Credentials {
        match self {
            Self::Google(google) => {
                let token = SystemDice.token().simple().to_string();
                google.add_account(&token, &place.subject);
                Credentials::Bearer { token: token.into() }
            }
            Self::Caldav(caldav) => {
                lock.expect("the lock").withdraw();
                caldav.credentials()
            }
        }
    }

    /// The host deletes an event herself.
    pub(crate) async fn delete_by_hand(&self, place: &Place, id: &str) {
        match self {
            Self::Google(google) => {
                assert!(google.change_by_hand(&place.calendar, id, ByHand::Delete));
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                assert_eq!(caldav.ask("DELETE", &path, &[]).await.status, 200);
            }
        }
    }

    /// Lets a call that comes late land at last, whose event was deleted meanwhile.
    pub(crate) fn land(&self, place: &Place, late: &Ordered) {
        if let Self::Google(google) = self {
            // As long as Google remembers the deleted event, its name is taken.
            google.evict_tombstones(&place.calendar);
        }
        late.withdraw();
    }

    /// An event is not found until that is withdrawn; Google's, by whoever reads or deletes it.
    pub(super) fn hide(&self, place: &Place, id: &str) -> Ordered {
        let not_found = Trouble::Refused { status: 404, reason: "notFound", retry_after_s: None };
        match self {
            Self::Google(google) => {
                let rule = google::rule(EVERY, not_found).event(id);
                let rule = rule.verb(emulator::Verb::Get).verb(emulator::Verb::Delete);
                Ordered::Google(google.order(rule))
            }
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                Ordered::Wire(caldav.wire.order(EVERY, not_found, Meant::All(path)))
            }
        }
    }

    /// How many requests came, reading ones too.
    pub(crate) fn requests(&self) -> usize {
        match self {
            Self::Google(google) => google.calls().list.len(),
            Self::Caldav(caldav) => caldav.wire.calls().len(),
        }
    }

    /// The writes that came, in order; also those that were refused.
    pub(crate) fn attempts(&self) -> Vec<Write> {
        match self {
            Self::Google(google) => google.calls().list.iter().filter_map(google::write).collect(),
            Self::Caldav(caldav) => {
                caldav.wire.calls().into_iter().filter_map(caldav_write).collect()
            }
        }
    }

    /// The writes that changed what a host sees.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let mut writes = self.attempts();
        writes.retain(|write| write.effective);
        writes
    }

    /// Their verbs.
    pub(crate) fn verbs(&self) -> Vec<Verb> {
        self.writes().iter().map(|write| write.verb).collect()
    }
}

fn caldav_write(call: WireCall) -> Option<Write> {
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
    fn credentials(&self) -> Credentials {
        Credentials::Basic {
            username: self.radicale.user.clone(),
            password: self.radicale.password.clone().into(),
        }
    }

    /// Asks the server itself, past the line.
    async fn ask(&self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned()))
            .collect();
        let request = Request {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            url: format!("{}{path}", self.radicale.url).parse().expect("a URL"),
            credentials: Some(&self.credentials()),
            headers,
            body: b"",
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
            let listed = self.ask("PROPFIND", collection, &[("depth", "1")]).await;
            match listed.status {
                207 => return listed,
                500 => {}
                status => panic!("PROPFIND {collection}: {status}"),
            }
        }
        panic!("PROPFIND {collection}: 500, {LISTINGS_MAX} times");
    }

    async fn shown(&self, collection: &str) -> Vec<Shown> {
        let listed = self.list(collection).await;
        let text = String::from_utf8(listed.body).expect("XML is text");
        let document = roxmltree::Document::parse(&text).expect("XML");
        let mut hrefs: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name(("DAV:", "href")))
            .filter_map(|node| node.text())
            .filter(|href| !href.ends_with('/'))
            .collect();
        hrefs.sort_unstable();
        hrefs.dedup();
        let mut shown = Vec::new();
        for href in hrefs {
            let got = self.ask("GET", href, &[]).await;
            if got.status == 404 {
                // Removed since it was listed.
                continue;
            }
            assert_eq!(got.status, 200, "{href}");
            let id = href.rsplit('/').next().expect("a last segment").to_owned();
            shown.push(caldav_event(id, got));
        }
        shown
    }
}

fn caldav_event(id: String, got: Response) -> Shown {
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
        etag: got.etag.expect("a strong ETag"),
        revision: number("X-BOOKING-REVISION").unwrap_or(-1),
        sequence: number("SEQUENCE").unwrap_or(-1),
        summary: event.get_summary().unwrap_or_default().to_owned(),
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
