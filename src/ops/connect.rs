//! Connecting a calendar by a link: the booking application asks for one, its host follows it, signs
//! in at Google or Microsoft (authorization code with PKCE, RFC 6749 §4.1, RFC 7636, RFC 9700), chooses
//! a calendar, and is sent back.
//!
//! Nothing is stored before a calendar is chosen: what is under way travels in sealed passes
//! ([`crate::connection::pass`]), which any worker can take. A pass is of one browser, known by a
//! cookie; each provider has a callback of its own (RFC 9700 §4.4: mix-up).

mod cookie;

mod ended;

mod link;

mod page;

mod visit;

use axum::Router;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use booking::{CalendarKind, ConnectionId};
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use url::Url;

use super::Ops;
use crate::clock::Surroundings;
use crate::connection::Sealer;
use crate::connection::connecting::Connecting;
use crate::store::Installation;

/// So many hosts' answers are taken to their providers at once; others are asked to come back.
const VISITS_MAX: usize = 16;
/// The longest address that a browser is sent back to, in bytes.
const RETURN_URL_LEN_MAX: usize = 2_000;

/// What connecting by links needs.
pub struct Connect {
    /// Who asks the providers.
    pub connecting: Connecting,
    /// What seals passes and credentials.
    pub sealer: Sealer,
    /// Whose connections.
    pub installation: Installation,
    /// Bookings that end at or after this become due on a new connection (rule R21).
    pub horizon: DateTime<Utc>,
    /// Where browsers reach this service.
    pub public_url: Url,
    /// Where browsers may be sent back to.
    pub return_origins: Vec<Url>,
    /// Time and chance.
    pub surroundings: Surroundings,
    /// Bounds what is under way.
    visits: Semaphore,
}

/// Where browsers go.
pub struct Addresses {
    /// Where they reach this service.
    pub public_url: Url,
    /// Where they may be sent back to.
    pub return_origins: Vec<Url>,
}

impl Connect {
    /// With the store's installation, and the horizon of its bookings.
    pub fn new(
        connecting: Connecting,
        sealer: Sealer,
        (installation, horizon): (Installation, DateTime<Utc>),
        addresses: Addresses,
        surroundings: Surroundings,
    ) -> Self {
        let Addresses { public_url, return_origins } = addresses;
        let visits = Semaphore::new(VISITS_MAX);
        Self {
            connecting,
            sealer,
            installation,
            horizon,
            public_url,
            return_origins,
            surroundings,
            visits,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.surroundings.clock.now()
    }

    /// A page of ours, as browsers reach it.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.public_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("connect").extend(path);
        }
        url
    }

    fn callback(&self, kind: CalendarKind) -> Url {
        self.url(&[kind.name(), "callback"])
    }

    /// Where a browser may be sent back to: an address of an origin that is allowed.
    fn return_url(&self, text: &str) -> Result<Url, &'static str> {
        let url = Url::parse(text).map_err(|_| "is no URL")?;
        // As it travels: what is not ASCII is longer there.
        if url.as_str().len() > RETURN_URL_LEN_MAX {
            return Err("is too long");
        }
        let is_allowed = self.return_origins.iter().any(|it| it.origin() == url.origin());
        if is_allowed { Ok(url) } else { Err("is of none of connect.return_origins") }
    }
}

/// The pages, and where links are asked for.
pub(super) fn router() -> Router<Ops> {
    Router::new()
        .route("/api/calendar/connections/links", post(link::link))
        .route("/connect/{kind}", get(visit::visit))
        .route("/connect/{kind}/callback", get(visit::callback))
        .route("/connect/{kind}/calendar", post(visit::chosen))
}

/// Where a browser is sent back to, and what it tells there.
fn back(url: &Url, status: &str, id: Option<ConnectionId>) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("calendar_status", status);
    if let Some(id) = id {
        url.query_pairs_mut().append_pair("calendar_connection", &id.to_string());
    }
    url
}

fn sent_back(url: &Url, status: &str, id: Option<ConnectionId>) -> Response {
    see_other(&back(url, status, id))
}

/// RFC 9110 §15.4.4.
fn see_other(url: &Url) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    page::guarded(headers);
    let mut location = HeaderValue::from_str(url.as_str()).expect("a URL is ASCII");
    location.set_sensitive(true);
    headers.insert(LOCATION, location);
    response
}
