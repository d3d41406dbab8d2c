//! Calendars: what is written, what is sent, and what is made of the answers.

mod reach;

mod tls;

mod stub;

mod ical;

mod http;

mod google;

mod microsoft;

mod caldav;

mod caldav_answers;

mod discovery;

#[cfg(feature = "demo")]
mod calendar_lists;
mod fidelity;
#[cfg(feature = "demo")]
mod listing;

use std::sync::Arc;
use std::time::Duration;

use booking::{ConnectionId, Content, IcalUid, Marker};
use calendar_sync::calendar::http::{
    Exchanged, Guard, Http, HttpOptions, Networks, Reach, Request,
};
use calendar_sync::calendar::{Account, Credentials};
use calendar_sync::clock::Clock;
use chrono::{DateTime, Utc};
use reqwest::Method;
use uuid::Uuid;

const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(0xc0ff_ee00));
/// A password and a token that must show nowhere.
const SECRET: &str = "s3cret-s3cret";

/// A clock that stands still at 2026-11-22T10:00:00Z.
struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        at("2026-11-22T10:00:00Z")
    }
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// As the service goes about, where the loopback addresses are allowed: the servers are there.
pub(crate) fn on_this_machine() -> Reach {
    Reach::Guarded(Guard::of(Networks { allowed: Networks::loopback(), plain: Vec::new() }))
}

fn client(call_timeout: Duration) -> Http {
    let options = HttpOptions {
        call_timeout,
        connect_timeout: call_timeout.min(Duration::from_secs(2)),
        proxy_from_environment: false,
        reach: on_this_machine(),
        clock: Arc::new(Still),
    };
    Http::new(options).expect("these limits are sound")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in RFC 3339")
}

fn uid(text: &str) -> IcalUid {
    IcalUid::parse(text).expect("a UID")
}

fn bearer() -> Credentials {
    Credentials::Bearer { token: SECRET.into() }
}

/// Asks once, with the secret.
async fn get(http: &Http, url: &str) -> Exchanged {
    let credentials = bearer();
    let request = Request {
        method: Method::GET,
        url: url.parse().expect("a URL"),
        credentials: Some(&credentials),
        headers: Vec::new(),
        body: b"",
    };
    http.exchange(request).await
}

fn account(base_url: &str, calendar: &str) -> Account {
    Account {
        connection: CONNECTION,
        base_url: base_url.to_owned(),
        calendar: calendar.to_owned(),
        credentials: bearer(),
    }
}

/// An hour in Berlin's summer.
fn content() -> Content {
    Content {
        summary: "Haircut".to_owned(),
        description: None,
        location: None,
        start: at("2026-07-01T08:00:00Z"),
        end: at("2026-07-01T09:00:00Z"),
        zone: chrono_tz::Europe::Berlin,
        tentative: false,
    }
}

fn marker(content: &Content, revision: i64) -> Marker {
    Marker {
        uid: uid("booking-42@example.com"),
        connection: CONNECTION,
        revision,
        digest: content.digest(),
    }
}
