//! From HTTP to a call of Google's API.

use axum::http::Method;
use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::errors;
use super::state::State;
use crate::emulator::call_log::Verb;
use crate::emulator::faults::Refusal;
use crate::emulator::life::{Api, Applied, Asked, Request, Turn, decode};
use crate::emulator::oauth::{Dialect, GOOGLE_TOKEN, Oauth, Posted};
use crate::emulator::reply::Reply;
use crate::emulator::throttle::Over;

/// Where the API begins.
pub(super) const ROOT: &str = "/calendar/v3";

/// Where a person's browser asks for access: at a host of its own, in truth, as the two that follow.
pub(super) const AUTHORIZE: &str = "/o/oauth2/v2/auth";

/// Where access is got and renewed.
pub(super) const TOKEN: &str = GOOGLE_TOKEN;

/// Where the account says who it is (`OpenID` Connect Core §5.3).
pub(super) const USER_INFO: &str = "/v1/userinfo";

/// What a method and a path mean.
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) calendar: Option<String>,
    pub(super) event: Option<String>,
}

/// A request, read.
pub(super) type ApiRequest = Request<Route>;

impl ApiRequest {
    /// The event's id: from the path, or for an insert from the body.
    fn event_id(&self) -> Option<String> {
        if self.route.verb != Verb::Insert {
            return self.route.event.clone();
        }
        let body: Value = serde_json::from_slice(self.body.as_ref()?).ok()?;
        Some(body.get("id")?.as_str()?.to_owned())
    }
}

impl Api for State {
    type Route = Route;

    const NAME: &'static str = "google";

    fn route(method: &Method, path: &str) -> Route {
        let (verb, calendar, event) = route(method, path);
        Route { verb, calendar, event }
    }

    fn is_published(route: &Route) -> bool {
        !matches!(route.verb, Verb::Token | Verb::Authorize | Verb::Account)
    }

    fn asked(&self, request: &ApiRequest, now: DateTime<Utc>) -> Asked {
        let token = self.tokens.authenticate(request.header(AUTHORIZATION), now);
        let account = token.ok().map(|token| token.account.clone());
        let calendar = request.route.calendar.as_ref().map(|name| {
            let known = account.as_ref().and_then(|account| self.calendar_id(account, name));
            known.unwrap_or(name).to_owned()
        });
        Asked { verb: request.route.verb, account, calendar, event: request.event_id() }
    }

    fn apply(&mut self, request: &ApiRequest, turn: Turn) -> Applied {
        match request.route.verb {
            Verb::Authorize => {
                Applied::nothing(self.oauth.authorize(None, &request.query, turn.now))
            }
            Verb::Token => {
                let origin = request.origin();
                let posted = Posted::new(None, &origin, &request.headers, request.body.as_ref());
                Applied::nothing(self.oauth.answer(&posted, &mut self.tokens, turn))
            }
            Verb::Insert
            | Verb::Get
            | Verb::Update
            | Verb::Patch
            | Verb::Delete
            | Verb::List
            | Verb::CalendarGet
            | Verb::CalendarList
            | Verb::Changes
            | Verb::Account
            | Verb::DeviceCode
            | Verb::Other => self.apply_at(request, turn.now),
        }
    }

    fn refuse(request: &ApiRequest, refusal: &Refusal, turn: Turn) -> Reply {
        if matches!(request.route.verb, Verb::Token | Verb::Authorize) {
            return Oauth::refuse(Dialect::Google, refusal, turn);
        }
        errors::refusal(refusal)
    }

    fn over(_: Over) -> Refusal {
        Refusal::api(403, "userRateLimitExceeded", "User Rate Limit Exceeded")
    }
}

/// The verb, calendar and event that a method and path mean.
fn route(method: &Method, path: &str) -> (Verb, Option<String>, Option<String>) {
    if *method == Method::POST && path == TOKEN {
        return (Verb::Token, None, None);
    }
    match path {
        AUTHORIZE if *method == Method::GET => return (Verb::Authorize, None, None),
        USER_INFO if *method == Method::GET => return (Verb::Account, None, None),
        _ => {}
    }
    let segments: Option<Vec<String>> = path
        .strip_prefix(ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.split('/').map(decode).collect());
    let segments = segments.unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &str| Some(text.to_owned());
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["users", "me", "calendarList"]) => (Verb::CalendarList, None, None),
        ("GET", ["calendars", calendar]) => (Verb::CalendarGet, own(calendar), None),
        ("GET", ["calendars", calendar, "events"]) => (Verb::List, own(calendar), None),
        ("POST", ["calendars", calendar, "events"]) => (Verb::Insert, own(calendar), None),
        (method, ["calendars", calendar, "events", event]) => {
            let verb = match method {
                "GET" => Verb::Get,
                "PUT" => Verb::Update,
                "PATCH" => Verb::Patch,
                "DELETE" => Verb::Delete,
                _ => Verb::Other,
            };
            (verb, own(calendar), own(event))
        }
        _ => (Verb::Other, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_by_segment() {
        let path = "/calendar/v3/calendars/team%2Fa%40group.example/events/abc%31";
        let (verb, calendar, event) = route(&Method::PUT, path);
        assert_eq!(verb, Verb::Update);
        assert_eq!(calendar.as_deref(), Some("team/a@group.example"));
        assert_eq!(event.as_deref(), Some("abc1"));
    }

    #[test]
    fn a_form_is_posted_to_the_token_endpoint() {
        assert_eq!(route(&Method::POST, "/token").0, Verb::Token);
        assert_eq!(route(&Method::GET, "/token").0, Verb::Other);
        assert_eq!(route(&Method::POST, "/token/").0, Verb::Other);
    }

    #[test]
    fn what_is_no_route_is_none() {
        for path in ["/", "/calendar/v3", "/calendar/v3/calendars/%FF/events", "/calendar/v3/x%2"] {
            assert_eq!(route(&Method::GET, path).0, Verb::Other, "{path}");
        }
        assert_eq!(route(&Method::POST, "/calendar/v3/calendars/a/events/import").0, Verb::Other);
    }
}
