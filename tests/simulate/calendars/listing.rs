//! All events of a calendar, a page at a time, or what has changed since a token was given: as Google's
//! `events.list`, CalDAV's `sync-collection` and Graph's filter by property tell it, put into one shape
//! as the adapters of the service do.
//!
//! A listing is of one moment: that of its first page, as far behind the truth as the switches say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{By, Change, Event, Stood};
use super::shelf::Shelf;
use super::switches;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListAsk {
    /// Only what has changed since that token.
    pub since: Option<String>,
    /// Where to read on.
    pub page: Option<String>,
}

/// What a calendar says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListSaid {
    /// A page.
    Page {
        /// Live events, whoever's, and whether each shows something else than a request wrote last, if
        /// the calendar tells what it shows.
        events: Vec<(Event, Option<bool>)>,
        /// The ids of what is not there any more.
        deleted: Vec<String>,
        /// The next page.
        next: Option<String>,
        /// On the last page: since when to ask the next time.
        since: Option<String>,
    },
    /// The token is not known any more.
    Expired,
    /// Nobody can ask this calendar.
    Unsupported,
}

/// Where a listing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Its first page was asked for then.
    began: Duration,
    /// It tells of the history from here.
    from: Option<usize>,
    /// To here.
    to: usize,
    /// After this id.
    after: String,
}

impl Place {
    fn token(&self) -> String {
        let from = self.from.map(|from| from.to_string()).unwrap_or_default();
        format!("page/{}/{from}/{}/{}", self.began.as_millis(), self.to, self.after)
    }

    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.strip_prefix("page/")?.splitn(4, '/');
        let began = Duration::from_millis(parts.next()?.parse().ok()?);
        let from = parts.next()?;
        let from = if from.is_empty() { None } else { Some(from.parse().ok()?) };
        let to = parts.next()?.parse().ok()?;
        Some(Self { began, from, to, after: parts.next()?.to_owned() })
    }
}

/// A token of changes: since when it is good, and how much of the history it has seen.
fn parse_since(token: &str) -> Option<(Duration, usize)> {
    let (began, seen) = token.strip_prefix("since/")?.split_once('/')?;
    Some((Duration::from_millis(began.parse().ok()?), seen.parse().ok()?))
}

/// One page.
pub(super) fn answer(switches: &switches::Listing, shelf: &Shelf, ask: &ListAsk) -> ListSaid {
    if !switches.is_supported {
        return ListSaid::Unsupported;
    }
    let now = shelf.now();
    let is_over = |given: Duration| {
        switches.tokens_kept_for.is_some_and(|kept_for| now.saturating_sub(given) > kept_for)
    };
    let place = match (&ask.page, &ask.since) {
        (Some(page), _) => Place::parse(page),
        (None, Some(since)) if switches.tells_changes => parse_since(since)
            .filter(|(given, _)| !is_over(*given))
            .map(|(_, seen)| first_page(switches, shelf, Some(seen))),
        (None, Some(_)) => None,
        (None, None) => Some(first_page(switches, shelf, None)),
    };
    match place.filter(|place| !is_over(place.began)) {
        Some(place) => page(switches, shelf.history(), &place),
        None => ListSaid::Expired,
    }
}

fn first_page(switches: &switches::Listing, shelf: &Shelf, from: Option<usize>) -> Place {
    let now = shelf.now();
    let is_shown = |change: &&Change| change.at + switches.lags <= now;
    // What was told of once is not forgotten again.
    let to = shelf.history().iter().filter(is_shown).count().max(from.unwrap_or_default());
    Place { began: now, from, to, after: String::new() }
}

fn page(switches: &switches::Listing, history: &[Change], place: &Place) -> ListSaid {
    let seen = &history[..place.to];
    let mut stood: BTreeMap<&str, &Stood> = BTreeMap::new();
    for change in seen {
        stood.insert(&change.id, &change.after);
    }
    if let Some(from) = place.from {
        let changed: Vec<&str> = seen[from..].iter().map(|change| change.id.as_str()).collect();
        stood.retain(|id, _| changed.contains(id));
    } else {
        stood.retain(|_, stood| matches!(stood, Stood::Live(_)));
    }
    let mut rest = stood.into_iter().filter(|(id, _)| *id > place.after.as_str()).peekable();
    let (mut events, mut deleted, mut after) = (Vec::new(), Vec::new(), String::new());
    for (id, stood) in rest.by_ref().take(switches.page_len) {
        id.clone_into(&mut after);
        match stood {
            Stood::Live(event) => {
                events.push((Event::clone(event), Some(differs(seen, event))));
            }
            Stood::Tombstone | Stood::Nothing => deleted.push(id.to_owned()),
        }
    }
    let next = rest.peek().map(|_| Place { after, ..place.clone() }.token());
    let is_last = next.is_none() && switches.tells_changes;
    let since = is_last.then(|| format!("since/{}/{}", place.began.as_millis(), place.to));
    ListSaid::Page { events, deleted, next, since }
}

/// Whether an event shows something else than a request wrote last.
fn differs(seen: &[Change], event: &Event) -> bool {
    let mut written = seen.iter().rev().filter_map(|change| match (&change.after, change.by) {
        (Stood::Live(after), By::Request(_)) if change.id == event.id() => Some(after),
        (Stood::Live(_) | Stood::Tombstone | Stood::Nothing, _) => None,
    });
    written.next().is_some_and(|written| written.shown() != event.shown())
}
