//! PURE: what is asked of an account's owner, and whether what was granted will do (L28).
//!
//! Owners grant less than was asked for: at Google each scope has a box to tick ("granular consent"),
//! and an application's own list may be old. What lets us look and not write fails only with the first
//! booking, so it is refused by its name before anything is stored.
//!
//! Sources: the discovery document of Google Calendar v3 (`scopes` of `events.insert`, `events.list` and
//! `calendarList.list`); Google, "Handling granular permissions"; Microsoft, "Microsoft Graph permissions
//! reference" (Calendars), "Scopes and permissions in the Microsoft identity platform".

use super::kept::Issuer;

/// What stands before the names of Google's scopes for calendars.
const GOOGLE: &str = "https://www.googleapis.com/auth/";

/// What can stand before the names of Graph's scopes: Graph itself, in each cloud. Without any, Graph is
/// meant.
const GRAPH: [&str; 4] = [
    "https://graph.microsoft.com/",
    "https://graph.microsoft.us/",
    "https://dod-graph.microsoft.us/",
    "https://microsoftgraph.chinacloudapi.cn/",
];

/// What is asked for, with blanks between.
///
/// Google: who it is (`openid`, and `email` to show to people), events, and the list to choose from.
/// Microsoft: the same, where `profile` makes it tell `oid` and `tid` ("ID token claims reference"), and
/// `offline_access` renews. Graph's scope is asked for by its short name, which in each cloud means that
/// cloud's Graph.
pub fn asked(issuer: &Issuer) -> &'static str {
    match issuer {
        Issuer::Google => {
            "openid email https://www.googleapis.com/auth/calendar.events \
             https://www.googleapis.com/auth/calendar.calendarlist.readonly"
        }
        Issuer::Microsoft(_) => "openid profile offline_access Calendars.ReadWrite",
    }
}

/// Why a grant will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Bookings could not be written.
    #[error(
        "what was granted ({granted}) lets us read the calendar and not write to it; {needed} is needed"
    )]
    ReadOnly {
        /// What was, of that kind.
        granted: String,
        /// What would do.
        needed: &'static str,
    },
    /// Something was left out.
    #[error("what was granted lacks {missing}: its owner has to agree to all that is asked for")]
    Missing {
        /// The names of what is.
        missing: String,
    },
}

/// Whether events can be written, and the calendars listed.
pub fn judge(issuer: &Issuer, granted: &str) -> Result<(), ScopeError> {
    let table = table(issuer);
    let granted = names(issuer, granted);
    let has_one_of = |scopes: &[&str]| scopes.iter().any(|scope| has(&granted, scope));
    let mut missing = Vec::new();
    if !has_one_of(table.writing) {
        read_only(&table, &granted)?;
        missing.push(table.needed[0]);
    }
    if !has_one_of(table.listing) {
        missing.push(table.needed[1]);
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ScopeError::Missing { missing: missing.join(" and ") })
}

/// Whether events can be written, which is all that is needed of a calendar whose id is known.
pub fn judge_writing(issuer: &Issuer, granted: &str) -> Result<(), ScopeError> {
    let table = table(issuer);
    let granted = names(issuer, granted);
    if table.writing.iter().any(|scope| has(&granted, scope)) {
        return Ok(());
    }
    read_only(&table, &granted)?;
    Err(ScopeError::Missing { missing: table.needed[0].to_owned() })
}

fn has(granted: &[String], scope: &str) -> bool {
    granted.iter().any(|name| name.eq_ignore_ascii_case(scope))
}

fn read_only(table: &Table, granted: &[String]) -> Result<(), ScopeError> {
    let seen: Vec<_> = table.reading.iter().copied().filter(|scope| has(granted, scope)).collect();
    if seen.is_empty() {
        return Ok(());
    }
    Err(ScopeError::ReadOnly { granted: seen.join(" "), needed: table.needed[0] })
}

/// Names without what stands before them.
struct Table {
    /// Any of these lets us write events.
    writing: &'static [&'static str],
    /// Any of these lets us list the calendars.
    listing: &'static [&'static str],
    /// These let us look at events, and no more.
    reading: &'static [&'static str],
    /// As people know them: what writes, what lists.
    needed: [&'static str; 2],
}

fn table(issuer: &Issuer) -> Table {
    match issuer {
        Issuer::Google => Table {
            writing: &[
                "calendar",
                "calendar.events",
                "calendar.events.owned",
                "calendar.app.created",
            ],
            listing: &[
                "calendar",
                "calendar.readonly",
                "calendar.calendarlist",
                "calendar.calendarlist.readonly",
            ],
            reading: &[
                "calendar.readonly",
                "calendar.events.readonly",
                "calendar.events.owned.readonly",
                "calendar.events.public.readonly",
                "calendar.events.freebusy",
                "calendar.freebusy",
            ],
            needed: ["calendar.events", "calendar.calendarlist.readonly"],
        },
        Issuer::Microsoft(_) => Table {
            writing: &["Calendars.ReadWrite", "Calendars.ReadWrite.Shared"],
            listing: &[
                "Calendars.ReadWrite",
                "Calendars.ReadWrite.Shared",
                "Calendars.Read",
                "Calendars.Read.Shared",
            ],
            reading: &["Calendars.Read", "Calendars.Read.Shared", "Calendars.ReadBasic"],
            needed: ["Calendars.ReadWrite"; 2],
        },
    }
}

/// What was granted of a calendar. Microsoft writes its names with or without Graph before them, in any
/// case; a scope of another API of the same name is another.
fn names(issuer: &Issuer, granted: &str) -> Vec<String> {
    let name = |scope: &str| match issuer {
        Issuer::Google => scope.strip_prefix(GOOGLE).map(ToOwned::to_owned),
        Issuer::Microsoft(_) => {
            let scope = scope.to_ascii_lowercase();
            let short = GRAPH.iter().find_map(|graph| scope.strip_prefix(graph));
            Some(short.unwrap_or(&scope).to_owned())
        }
    };
    granted.split_ascii_whitespace().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kept::Tenant;
    use super::*;

    fn microsoft() -> Issuer {
        Issuer::Microsoft(Tenant::parse("common").unwrap())
    }

    fn google(granted: &str) -> Result<(), ScopeError> {
        let full: Vec<_> = granted.split(' ').map(|name| format!("{GOOGLE}{name}")).collect();
        judge(&Issuer::Google, &full.join(" "))
    }

    fn missing(missing: &str) -> Result<(), ScopeError> {
        Err(ScopeError::Missing { missing: missing.to_owned() })
    }

    #[test]
    fn what_is_asked_for_is_enough() {
        for issuer in [Issuer::Google, microsoft()] {
            judge(&issuer, asked(&issuer)).unwrap();
            judge_writing(&issuer, asked(&issuer)).unwrap();
        }
    }

    #[test]
    fn a_scope_holds_those_below_it() {
        google("calendar").unwrap();
        google("calendar.events calendar.readonly").unwrap();
        google("calendar.events calendar.calendarlist").unwrap();
        judge(&microsoft(), "openid CALENDARS.READWRITE").unwrap();
        judge(&microsoft(), "https://graph.microsoft.com/Calendars.ReadWrite").unwrap();
        judge(&microsoft(), "https://Graph.Microsoft.us/calendars.readwrite.shared").unwrap();
    }

    /// Google's owners untick them one by one.
    #[test]
    fn what_was_unticked_is_named() {
        assert_eq!(google("calendar.events"), missing("calendar.calendarlist.readonly"));
        assert_eq!(google("calendar.calendarlist.readonly"), missing("calendar.events"));
        let both = "calendar.events and calendar.calendarlist.readonly";
        assert_eq!(judge(&Issuer::Google, "openid email"), missing(both));
        assert_eq!(judge(&Issuer::Google, "calendar.events"), missing(both), "no name of Google's");
        assert_eq!(judge(&microsoft(), "openid User.Read"), missing("Calendars.ReadWrite"));
        assert_eq!(judge(&microsoft(), ""), missing("Calendars.ReadWrite"));
    }

    /// L28.
    #[test]
    fn what_only_reads_is_refused_by_its_name() {
        let read_only = |granted: &str, needed| {
            Err(ScopeError::ReadOnly { granted: granted.to_owned(), needed })
        };
        let needed = "calendar.events";
        assert_eq!(google("calendar.readonly"), read_only("calendar.readonly", needed));
        assert_eq!(
            google("calendar.events.readonly calendar.calendarlist.readonly"),
            read_only("calendar.events.readonly", needed)
        );
        let needed = "Calendars.ReadWrite";
        for granted in ["Calendars.Read openid", "https://graph.microsoft.com/calendars.read"] {
            assert_eq!(judge(&microsoft(), granted), read_only("Calendars.Read", needed));
            assert_eq!(judge_writing(&microsoft(), granted), read_only("Calendars.Read", needed));
        }
    }

    #[test]
    fn a_scope_of_the_same_name_elsewhere_is_another() {
        let elsewhere = "https://outlook.office.com/Calendars.ReadWrite";
        assert_eq!(judge(&microsoft(), elsewhere), missing("Calendars.ReadWrite"));
        let elsewhere = "https://www.googleapis.com.example/auth/calendar";
        assert_eq!(judge_writing(&Issuer::Google, elsewhere), missing("calendar.events"));
    }

    #[test]
    fn an_application_that_knows_the_calendar_need_not_list_them() {
        for name in ["calendar.events", "calendar.events.owned", "calendar.app.created"] {
            judge_writing(&Issuer::Google, &format!("{GOOGLE}{name}")).unwrap();
        }
    }
}
