//! Scopes: which there are, what they open, and how they are told.

use super::Dialect;
use crate::emulator::tokens::{Access, Power};

/// What stands before Google's names.
const GOOGLE: &str = "https://www.googleapis.com/auth/";

/// What may stand before Microsoft's: the resource.
const GRAPH: &str = "https://graph.microsoft.com/";

/// Microsoft's scope for a refresh token: of no resource, and told nowhere.
pub(super) const OFFLINE: &str = "offline_access";

const EVERYTHING: &[Power] =
    &[Power::ListCalendars, Power::ReadCalendar, Power::ReadEvents, Power::WriteEvents];
const ALL_TO_READ: &[Power] = &[Power::ListCalendars, Power::ReadCalendar, Power::ReadEvents];
const EVENTS: &[Power] = &[Power::ReadEvents, Power::WriteEvents];

/// The scopes of Google Calendar ("Choose Google Calendar API scopes"; what each method takes: the
/// discovery document), and those of signing in.
const OF_GOOGLE: &[(&str, &[Power])] = &[
    ("calendar", EVERYTHING),
    ("calendar.readonly", ALL_TO_READ),
    ("calendar.events", EVENTS),
    ("calendar.events.readonly", &[Power::ReadEvents]),
    ("calendar.events.owned", EVENTS),
    ("calendar.events.owned.readonly", &[Power::ReadEvents]),
    ("calendar.calendarlist", &[Power::ListCalendars]),
    ("calendar.calendarlist.readonly", &[Power::ListCalendars]),
    ("calendar.calendars", &[Power::ReadCalendar]),
    ("calendar.calendars.readonly", &[Power::ReadCalendar]),
    ("calendar.freebusy", &[]),
    ("calendar.settings.readonly", &[]),
    ("userinfo.email", &[Power::KnowUser]),
    ("userinfo.profile", &[Power::KnowUser]),
];

/// The scopes of Graph ("Microsoft Graph permissions reference", delegated).
const OF_GRAPH: &[(&str, &[Power])] = &[
    ("calendars.readwrite", EVERYTHING),
    ("calendars.readwrite.shared", EVERYTHING),
    ("calendars.read", ALL_TO_READ),
    ("calendars.read.shared", ALL_TO_READ),
    ("calendars.readbasic", ALL_TO_READ),
    ("user.read", &[Power::KnowUser]),
    ("mail.send", &[]),
    ("mail.read", &[]),
];

/// The scopes of `OpenID` Connect (Core §5.4) that are told as they are.
const OF_OPENID: [&str; 3] = ["openid", "profile", "email"];

/// A scope as the provider calls it, if there is such a one.
pub(super) fn known(dialect: Dialect, scope: &str) -> Option<String> {
    let is_one = match dialect {
        Dialect::Google => match scope {
            "email" | "profile" => return Some(format!("{GOOGLE}userinfo.{scope}")),
            scope => scope == "openid" || powers(dialect, scope).is_some(),
        },
        Dialect::Microsoft => {
            OF_OPENID.contains(&scope) || scope == OFFLINE || powers(dialect, scope).is_some()
        }
    };
    is_one.then(|| scope.to_owned())
}

/// Whether two names are one scope's.
pub(super) fn is_same(dialect: Dialect, one: &str, other: &str) -> bool {
    match dialect {
        Dialect::Google => one == other,
        Dialect::Microsoft => of_graph(one) == of_graph(other),
    }
}

/// Graph's names are told apart by their letters alone, and the resource may be left out: Graph is the
/// one that is meant then.
fn of_graph(scope: &str) -> String {
    scope.strip_prefix(GRAPH).unwrap_or(scope).to_ascii_lowercase()
}

/// With the resource before it, if it is one of Graph's.
pub(super) fn with_resource(scope: &str) -> String {
    let is_short = !scope.starts_with(GRAPH) && powers(Dialect::Microsoft, scope).is_some();
    if is_short { format!("{GRAPH}{scope}") } else { scope.to_owned() }
}

fn powers(dialect: Dialect, scope: &str) -> Option<&'static [Power]> {
    let (name, all) = match dialect {
        Dialect::Google => (scope.strip_prefix(GOOGLE)?.to_owned(), OF_GOOGLE),
        Dialect::Microsoft => (of_graph(scope), OF_GRAPH),
    };
    all.iter().find(|(known, _)| *known == name).map(|(_, powers)| *powers)
}

/// What a list of scopes opens.
pub(super) fn access(dialect: Dialect, scopes: &[String]) -> Access {
    let opened = scopes.iter().flat_map(|scope| match scope.as_str() {
        // Google's `userinfo` takes it; Graph's `/me` does not.
        "openid" if dialect == Dialect::Google => &[Power::KnowUser],
        scope => powers(dialect, scope).unwrap_or_default(),
    });
    Access::of(opened.copied())
}

/// A list, as it is written (RFC 6749 §3.3): each once.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_opens_what_its_provider_says() {
        let opens = |dialect, scope: &str, power| access(dialect, &split(scope)).opens(power);
        let events = "https://www.googleapis.com/auth/calendar.events";
        assert!(opens(Dialect::Google, events, Power::WriteEvents));
        assert!(!opens(Dialect::Google, events, Power::ListCalendars));
        assert!(!opens(Dialect::Google, "calendar.events", Power::WriteEvents));
        assert!(opens(Dialect::Google, "openid", Power::KnowUser));
        let read = "https://graph.microsoft.com/Calendars.Read User.Read";
        assert!(opens(Dialect::Microsoft, read, Power::ReadEvents));
        assert!(opens(Dialect::Microsoft, read, Power::KnowUser));
        assert!(!opens(Dialect::Microsoft, read, Power::WriteEvents));
        assert!(!opens(Dialect::Microsoft, "openid profile", Power::KnowUser));
    }

    #[test]
    fn google_tells_the_long_names_of_signing_in() {
        let email = "https://www.googleapis.com/auth/userinfo.email";
        assert_eq!(known(Dialect::Google, "email").as_deref(), Some(email));
        assert_eq!(known(Dialect::Google, "offline_access"), None);
        assert_eq!(known(Dialect::Microsoft, "email").as_deref(), Some("email"));
        assert_eq!(known(Dialect::Microsoft, "Calendars.Everything"), None);
        assert_eq!(with_resource("User.Read"), "https://graph.microsoft.com/User.Read");
        assert_eq!(with_resource("openid"), "openid");
    }
}
