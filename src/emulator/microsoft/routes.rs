//! From HTTP to a call of Graph.

use axum::http::Method;
use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};

use super::errors::{self, Names};
use super::state::State;
use crate::emulator::call_log::Verb;
use crate::emulator::faults::Refusal;
use crate::emulator::life::{Api, Applied, Asked, Request, Turn, decode};
use crate::emulator::oauth::{Dialect, Oauth, Posted};
use crate::emulator::reply::Reply;
use crate::emulator::throttle::Over;

/// Where the API begins.
pub(super) const ROOT: &str = "/v1.0";

/// Where in a mailbox a call looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `/me/events`: an event is looked for in all calendars, and made in the default one.
    Mailbox,
    /// `/me/calendar`.
    DefaultCalendar,
    /// `/me/calendars/{id}`.
    Calendar(String),
    /// In none: where access is granted and renewed, at a host of its own, in truth.
    Authority {
        /// Whose users'.
        tenant: String,
    },
}

/// What a method and a path mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// `None`: the token's own.
    pub(super) user: Option<String>,
    pub(super) place: Place,
    pub(super) event: Option<String>,
    /// Whether it is a `calendarView`.
    pub(super) is_view: bool,
    /// As it was sent.
    pub(super) path: String,
}

/// A request, read.
pub(super) type ApiRequest = Request<Route>;

impl Api for State {
    type Route = Route;

    const NAME: &'static str = "microsoft";

    fn route(method: &Method, path: &str) -> Route {
        route(method, path).unwrap_or_else(|| Route {
            verb: Verb::Other,
            user: None,
            place: Place::Mailbox,
            event: None,
            is_view: false,
            path: path.to_owned(),
        })
    }

    fn is_published(route: &Route) -> bool {
        !is_of_authority(route)
    }

    fn asked(&self, request: &ApiRequest, now: DateTime<Utc>) -> Asked {
        let Route { verb, user, place, event, .. } = &request.route;
        let token = self.tokens.authenticate(request.header(AUTHORIZATION), now);
        let account = token.ok().map(|token| token.account.clone());
        let named = user.as_deref().and_then(|user| self.account_of(user).ok());
        let mailbox = self.mailboxes.get(named.or(account.as_deref()).unwrap_or_default());
        let found = event.as_deref().and_then(|id| mailbox?.find(id));
        let default = || Some(mailbox?.default_calendar.clone());
        let calendar = match (place, found) {
            (Place::Calendar(id), _) => Some(id.clone()),
            (Place::DefaultCalendar, _) => default(),
            (Place::Authority { .. }, _) => None,
            (Place::Mailbox, Some(event)) => Some(event.calendar.clone()),
            (Place::Mailbox, None) => match verb {
                Verb::Insert | Verb::List | Verb::Changes => default(),
                Verb::Get
                | Verb::Update
                | Verb::Patch
                | Verb::Delete
                | Verb::CalendarGet
                | Verb::CalendarList
                | Verb::Account
                | Verb::Authorize
                | Verb::DeviceCode
                | Verb::Token
                | Verb::Other => None,
            },
        };
        // One name for an event, under whichever it was called.
        let event = found.map(|event| event.ids.immutable.clone()).or_else(|| event.clone());
        Asked { verb: *verb, account, calendar, event }
    }

    fn apply(&mut self, request: &ApiRequest, turn: Turn) -> Applied {
        if let Place::Authority { tenant } = &request.route.place {
            let (tenant, origin) = (Some(tenant.as_str()), request.origin());
            let posted = Posted::new(tenant, &origin, &request.headers, request.body.as_ref());
            let verb = request.route.verb;
            return Applied::nothing(if verb == Verb::Authorize {
                self.oauth.authorize(tenant, &request.query, turn.now)
            } else if verb == Verb::DeviceCode {
                self.oauth.device_code(&posted, turn)
            } else {
                self.oauth.answer(&posted, &mut self.tokens, turn)
            });
        }
        self.apply_at(request, turn)
    }

    fn refuse(request: &ApiRequest, refusal: &Refusal, turn: Turn) -> Reply {
        if is_of_authority(&request.route) {
            return Oauth::refuse(Dialect::Microsoft, refusal, turn);
        }
        errors::refusal(refusal, Names::of(request, turn))
    }

    fn over(over: Over) -> Refusal {
        let limit = match over {
            Over::InFlight => "MailboxConcurrency",
            Over::Quota => "MailboxRequest",
        };
        let message = format!("Application is over its {limit} limit.");
        Refusal::api(429, "ApplicationThrottled", &message)
    }
}

fn is_of_authority(route: &Route) -> bool {
    matches!(route.place, Place::Authority { .. })
}

/// What is asked of a tenant's authorisation server.
fn authority(method: &Method, path: &str) -> Option<(Verb, String)> {
    let (tenant, endpoint) = path.strip_prefix('/')?.split_once("/oauth2/v2.0/")?;
    let verb = match (method.as_str(), endpoint) {
        ("GET", "authorize") => Verb::Authorize,
        ("POST", "devicecode") => Verb::DeviceCode,
        ("POST", "token") => Verb::Token,
        _ => return None,
    };
    (!tenant.contains('/')).then(|| Some((verb, decode(tenant)?)))?
}

fn route(method: &Method, path: &str) -> Option<Route> {
    if let Some((verb, tenant)) = authority(method, path) {
        return Some(Route {
            verb,
            user: None,
            place: Place::Authority { tenant },
            event: None,
            is_view: false,
            path: path.to_owned(),
        });
    }
    let segments = path.strip_prefix(ROOT)?.strip_prefix('/')?.split('/');
    let segments: Vec<String> = segments.map(decode).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
    let (user, rest) = match segments.as_slice() {
        [me, rest @ ..] if is(me, "me") => (None, rest),
        [users, user, rest @ ..] if is(users, "users") => (Some((*user).to_owned()), rest),
        _ => return None,
    };
    let (place, rest) = match rest {
        [calendars, id, rest @ ..] if is(calendars, "calendars") => {
            (Place::Calendar((*id).to_owned()), rest)
        }
        [calendar, rest @ ..] if is(calendar, "calendar") => (Place::DefaultCalendar, rest),
        rest => (Place::Mailbox, rest),
    };
    let get = *method == Method::GET;
    let (verb, event, is_view) = match rest {
        [] if get && place == Place::Mailbox => (Verb::Account, None, false),
        [] if get => (Verb::CalendarGet, None, false),
        [calendars] if get && place == Place::Mailbox && is(calendars, "calendars") => {
            (Verb::CalendarList, None, false)
        }
        [events] if get && is(events, "events") => (Verb::List, None, false),
        [events] if *method == Method::POST && is(events, "events") => (Verb::Insert, None, false),
        [view] if get && is(view, "calendarView") => (Verb::List, None, true),
        [view, delta]
            if get && is(view, "calendarView") && (is(delta, "delta") || is(delta, "delta()")) =>
        {
            (Verb::Changes, None, true)
        }
        [events, event] if is(events, "events") => {
            let verb = match *method {
                Method::GET => Verb::Get,
                Method::PATCH => Verb::Patch,
                Method::DELETE => Verb::Delete,
                _ => return None,
            };
            (verb, Some((*event).to_owned()), false)
        }
        _ => return None,
    };
    Some(Route { verb, user, place, event, is_view, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_mailbox_a_place_and_an_event() {
        let path = "/v1.0/users/ada%40example.com/calendars/AA%3D/events/BB=";
        let found = route(&Method::PATCH, path).unwrap();
        assert_eq!(found.user.as_deref(), Some("ada@example.com"));
        assert_eq!(found.place, Place::Calendar("AA=".to_owned()));
        assert_eq!((found.verb, found.event.as_deref()), (Verb::Patch, Some("BB=")));
    }

    #[test]
    fn paths_mean_what_they_say() {
        for (path, verb) in [
            ("/v1.0/me", Verb::Account),
            ("/v1.0/me/calendars", Verb::CalendarList),
            ("/v1.0/me/calendar", Verb::CalendarGet),
            ("/v1.0/me/calendars/a", Verb::CalendarGet),
            ("/v1.0/me/events", Verb::List),
            ("/v1.0/me/calendar/events", Verb::List),
            ("/v1.0/me/calendars/a/calendarview", Verb::List),
            ("/v1.0/me/calendars/a/calendarView/delta()", Verb::Changes),
            ("/v1.0/me/calendarView/delta", Verb::Changes),
        ] {
            assert_eq!(route(&Method::GET, path).unwrap().verb, verb, "{path}");
        }
    }

    #[test]
    fn a_tenants_authorisation_server_has_three_endpoints() {
        let found = route(&Method::POST, "/contoso.example/oauth2/v2.0/token").unwrap();
        assert_eq!(found.place, Place::Authority { tenant: "contoso.example".to_owned() });
        for path in ["/oauth2/v2.0/token", "/a/b/oauth2/v2.0/token", "/a/oauth2/token"] {
            assert_eq!(route(&Method::POST, path), None, "{path}");
        }
        assert_eq!(route(&Method::GET, "/a/oauth2/v2.0/token"), None);
        assert_eq!(route(&Method::POST, "/a/oauth2/v2.0/authorize"), None);
        let verb = |method: &Method, path: &str| route(method, path).unwrap().verb;
        assert_eq!(verb(&Method::GET, "/a/oauth2/v2.0/authorize"), Verb::Authorize);
        assert_eq!(verb(&Method::POST, "/a/oauth2/v2.0/devicecode"), Verb::DeviceCode);
    }

    #[test]
    fn what_is_no_route_is_none() {
        for path in [
            "/",
            "/v1.0",
            "/v1.0/",
            "/beta/me/events",
            "/v1.0/me/messages",
            "/v1.0/me/calendars/%FF/events",
            "/v1.0/users",
            "/v1.0/me/events/a/cancel",
            "/v1.0/me/calendars/a/calendars",
        ] {
            assert_eq!(route(&Method::GET, path), None, "{path}");
        }
        assert_eq!(route(&Method::PUT, "/v1.0/me/events/a"), None);
        assert_eq!(route(&Method::POST, "/v1.0/me/calendarView"), None);
    }
}
