//! The providers that there are, on the hosts of `end_to_end`.

use async_trait::async_trait;
use booking::{CalendarKind, Content, Verb};
use calendar_sync::calendar::http::Http;
use calendar_sync::clock::Surroundings;
use calendar_sync::emulator::google::Options;
use calendar_sync::emulator::{self, GoogleEmulator, MicrosoftEmulator};
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use simulate::calendars::switches::{EtagSource, Overwrite};

use super::subject::{Attempt, Effect, Means, Order, Subject};
use crate::dav_server::DavServer;
use crate::end_to_end::host::{Asked, CaldavHost, Host, Ordered, Place, Shown, Trouble, Write};
use crate::end_to_end::wire::Wire;
use crate::end_to_end::world::client;
use crate::services::{self, CaldavServer};

/// A subject, and what opens it; `None`: its service is not there, and that has been written down.
pub(super) type Made = Option<Box<dyn Subject>>;

/// The emulator of Google.
pub(super) async fn google(_fact: &str) -> Made {
    let options = Options::strict(Surroundings::real().clock);
    let google = GoogleEmulator::start(options).await.expect("the emulator starts");
    Some(Box::new(OnHost::of(Host::Google(google), ToOwned::to_owned)))
}

/// The emulator of Microsoft Graph.
pub(super) async fn graph(_fact: &str) -> Made {
    let options = emulator::microsoft::Options::strict(Surroundings::real().clock);
    let graph = MicrosoftEmulator::start(options).await.expect("the emulator starts");
    Some(Box::new(OnHost::of(Host::Microsoft(graph), ToOwned::to_owned)))
}

/// Radicale.
pub(super) async fn radicale(fact: &str) -> Made {
    let server = services::radicale(fact)?;
    Some(Box::new(OnHost::of(caldav(server).await, ToOwned::to_owned)))
}

/// Xandikos, which writes what it is given anew, and takes a backslash and an N in a text for a line
/// break (`icalendar` 7.3.2, `_escape_char`).
pub(super) async fn xandikos(fact: &str) -> Made {
    let server = services::xandikos(fact)?;
    Some(Box::new(OnHost::of(caldav(server).await, |text| text.replace(r"\N", "\n"))))
}

/// A CalDAV server as the standards have it.
pub(super) async fn strict(_fact: &str) -> Made {
    let server = DavServer::with(|_| {}).await;
    let on_host = OnHost::of(caldav(server.account()).await, ToOwned::to_owned);
    Some(Box::new(OnHost { server: Some(server), ..on_host }))
}

/// A CalDAV server that ignores `If-None-Match` (`SOGo`, Zimbra); its ETags come from the content.
pub(super) async fn ignorant(_fact: &str) -> Made {
    let server = DavServer::with(|it| {
        (it.obeys_if_none_match, it.etags_from) = (false, EtagSource::Content);
    });
    let server = server.await;
    let on_host = OnHost::of(caldav(server.account()).await, ToOwned::to_owned);
    Some(Box::new(OnHost { refuses_taken_names: false, server: Some(server), ..on_host }))
}

/// A CalDAV server that wants an `If-Match` with each change (Open-Xchange).
pub(super) async fn demanding(_fact: &str) -> Made {
    let server = DavServer::with(|it| it.overwrite = Overwrite::Refused).await;
    let on_host = OnHost::of(caldav(server.account()).await, ToOwned::to_owned);
    Some(Box::new(OnHost { server: Some(server), ..on_host }))
}

async fn caldav(server: CaldavServer) -> Host {
    let wire = Wire::to(&server.url).await;
    Host::Caldav(Box::new(CaldavHost::new(server, wire, http())))
}

fn http() -> Http {
    client(&Surroundings::real())
}

/// Zones of the kit's facts that are not among those of Graph's `dateTimeTimeZone` resource type.
const UNKNOWN_TO_GRAPH: [Tz; 2] = [Tz::Pacific__Kiritimati, Tz::Australia__Lord_Howe];

/// One of the hosts of `end_to_end`.
struct OnHost {
    host: Host,
    /// What becomes of a text.
    text: fn(&str) -> String,
    refuses_taken_names: bool,
    /// Stops with it.
    #[expect(dead_code, reason = "it runs for as long as it is held")]
    server: Option<DavServer>,
}

impl OnHost {
    fn of(host: Host, text: fn(&str) -> String) -> Self {
        Self { host, text, refuses_taken_names: true, server: None }
    }

    fn writes(&self, place: &Place) -> Vec<Write> {
        let calendar = self.host.calendar_of(place);
        let mut writes = self.host.attempts();
        writes.retain(|write| write.calendar == calendar);
        writes
    }
}

#[async_trait]
impl Subject for OnHost {
    fn kind(&self) -> CalendarKind {
        self.host.kind()
    }

    async fn new_calendar(&self) -> Place {
        self.host.new_calendar().await
    }

    async fn shown(&self, place: &Place) -> Vec<Shown> {
        let mut shown = self.host.shown(place).await;
        if self.kind() == CalendarKind::Caldav {
            // What has no zone is said in UTC.
            for event in &mut shown {
                event.zone = event.zone.or(Some(Tz::UTC));
            }
        }
        shown
    }

    fn effects(&self, place: &Place) -> Vec<Effect> {
        let effective = self.writes(place).into_iter().filter(|write| write.effective);
        let effect = |write: Write| Effect {
            revision: match write.verb {
                Verb::Create | Verb::Update => Some(revision_in(self.kind(), &write.body)),
                Verb::Delete => None,
            },
            id: write.id,
        };
        effective.map(effect).collect()
    }

    fn attempts(&self, place: &Place) -> Vec<Attempt> {
        let attempt = |write: Write| Attempt { at: write.at, landed: write.landed };
        self.writes(place).into_iter().map(attempt).collect()
    }

    /// Graph's local times have no offset: what they cannot say is said in UTC, as is the time of a zone
    /// that Graph does not know. Its titles and places end, and its texts break lines as HTML's do that
    /// was text.
    fn kept(&self, content: &Content) -> Content {
        let text = |text: &String| (self.text)(text);
        let is_clear = |at: DateTime<Utc>| {
            let local = at.with_timezone(&content.zone).naive_local();
            content.zone.from_local_datetime(&local).single().is_some()
        };
        let zone = match self.kind() {
            CalendarKind::Microsoft
                if UNKNOWN_TO_GRAPH.contains(&content.zone)
                    || !(is_clear(content.start) && is_clear(content.end)) =>
            {
                Tz::UTC
            }
            CalendarKind::Google | CalendarKind::Microsoft | CalendarKind::Caldav => content.zone,
        };
        let line = |line: &String| match self.kind() {
            CalendarKind::Microsoft => kept_by_exchange(&text(line)),
            CalendarKind::Google | CalendarKind::Caldav => text(line),
        };
        Content {
            summary: line(&content.summary),
            description: content.description.as_ref().map(|it| match self.kind() {
                CalendarKind::Microsoft => text(it).replace('\n', "\r\n"),
                CalendarKind::Google | CalendarKind::Caldav => text(it),
            }),
            location: content.location.as_ref().map(line),
            zone,
            ..content.clone()
        }
    }

    async fn delete_by_hand(&self, place: &Place, id: &str) {
        self.host.delete_by_hand(place, id).await;
    }

    async fn edit_by_hand(&self, place: &Place, id: &str, title: &str, start: DateTime<Utc>) {
        self.host.retitle_by_hand(place, id, title).await;
        self.host.move_by_hand(place, id, start).await;
    }

    async fn copy_by_hand(&self, place: &Place, id: &str) -> String {
        self.host.copy_by_hand(place, id).await
    }

    fn order(&self, place: &Place, count: u32, asked: Asked, trouble: Trouble) -> Box<dyn Order> {
        Box::new(self.host.order_of(place, count, asked, trouble))
    }

    fn lag(&self, place: &Place) -> Box<dyn Order> {
        Box::new(self.host.lag(place))
    }

    fn forget(&self, place: &Place) {
        self.host.forget(place);
    }

    fn forbidden(&self) -> Vec<(&'static str, Means)> {
        match self.kind() {
            CalendarKind::Google => vec![
                ("rateLimitExceeded", Means::Wait),
                ("userRateLimitExceeded", Means::Wait),
                ("quotaExceeded", Means::WaitLong),
                ("insufficientPermissions", Means::Park),
                ("forbidden", Means::Refuse),
            ],
            CalendarKind::Microsoft => vec![
                ("ErrorAccessDenied", Means::Park),
                ("accessDenied", Means::Park),
                ("ErrorAccountSuspend", Means::Refuse),
            ],
            CalendarKind::Caldav => vec![("", Means::Refuse)],
        }
    }

    fn word(&self, status: u16) -> &'static str {
        match (self.kind(), status) {
            (CalendarKind::Google, 401) => "authError",
            (CalendarKind::Google, 403) => "forbidden",
            (CalendarKind::Google, 404) => "notFound",
            (CalendarKind::Google, 409) => "duplicate",
            (CalendarKind::Google, 410) => "deleted",
            (CalendarKind::Google, 412) => "conditionNotMet",
            (CalendarKind::Google, 429) => "rateLimitExceeded",
            (CalendarKind::Microsoft, 401) => "InvalidAuthenticationToken",
            (CalendarKind::Microsoft, 403) => "ErrorAccountSuspend",
            (CalendarKind::Microsoft, 404 | 410) => "ErrorItemNotFound",
            (CalendarKind::Microsoft, 409) => "ErrorDuplicateTransactionId",
            (CalendarKind::Microsoft, 412) => "ErrorIrresolvableConflict",
            (CalendarKind::Microsoft, 429) => "ApplicationThrottled",
            (CalendarKind::Microsoft, 500..) => "serviceNotAvailable",
            (CalendarKind::Google | CalendarKind::Microsoft | CalendarKind::Caldav, _) => {
                "backendError"
            }
        }
    }

    fn refuses_taken_names(&self) -> bool {
        self.refuses_taken_names
    }
}

#[async_trait]
impl Order for Ordered {
    fn hits(&self) -> u64 {
        Self::hits(self)
    }

    fn withdraw(&self) {
        Self::withdraw(self);
    }

    async fn wait_held(&self) {
        Self::wait_held(self).await;
    }
}

/// The revision that a body says; -1: none.
fn revision_in(kind: CalendarKind, body: &str) -> i64 {
    let json = || serde_json::from_str::<Value>(body).unwrap_or_default();
    let number = |text: &str| text.trim().parse().ok();
    let said = match kind {
        CalendarKind::Google => {
            json()["extendedProperties"]["private"]["bookingRevision"].as_str().and_then(number)
        }
        CalendarKind::Microsoft => {
            let event = json();
            let properties = event["singleValueExtendedProperties"].as_array();
            let is_marker =
                |it: &&Value| it["id"].as_str().is_some_and(|id| id.ends_with("bookingMarker"));
            let marker = properties.and_then(|all| all.iter().find(is_marker));
            let text = marker.and_then(|marker| marker["value"].as_str()).unwrap_or_default();
            serde_json::from_str::<Value>(text).ok().and_then(|it| it["revision"].as_i64())
        }
        CalendarKind::Caldav => {
            body.lines().find_map(|line| line.strip_prefix("X-BOOKING-REVISION:")).and_then(number)
        }
    };
    said.unwrap_or(-1)
}

/// Of a title or a place it keeps 255 UTF-16 units, and of what is cut the last one says so.
fn kept_by_exchange(title: &str) -> String {
    let units: Vec<u16> = title.encode_utf16().collect();
    if units.len() <= 255 {
        return title.to_owned();
    }
    let whole = String::from_utf16(&units[..254]).or_else(|_| String::from_utf16(&units[..253]));
    whole.expect("a letter takes two units at most") + "…"
}
