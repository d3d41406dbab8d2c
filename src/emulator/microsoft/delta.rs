//! `calendarView/delta`: what a calendar holds in a time, and what has changed since.
//!
//! An event that is gone, or that lies outside of the time, comes as `@removed`, even if the
//! client has never seen it (microsoft-graph-docs#6599).

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::errors::{ApiError, resource};
use super::event::Stored;
use super::list::overlaps;
use super::prefer::Preferences;
use super::query::{PAGE_DEFAULT, Query};
use super::render::{View, id};
use super::routes::ApiRequest;
use super::state::{Calendar, Mailbox, Removal, Switches};
use super::switches::ExpiredDelta;
use crate::emulator::life::Turn;
use crate::emulator::reply::Reply;

/// What a delta understands; not `$select`, `$filter`, `$expand`, `$orderby` and `$search`.
const OPTIONS: [&str; 5] = ["startDateTime", "endDateTime", "$deltatoken", "$skiptoken", "$top"];

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    /// The calendar's epoch at the beginning.
    epoch: u64,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// Whether no round was before.
    is_first: bool,
    /// The change that the round before went up to.
    since: u64,
    /// The change that this one goes up to.
    until: u64,
    /// The change that the page before ended with.
    after: u64,
    /// Whether a page has been answered.
    is_begun: bool,
}

impl Round {
    fn token(self, calendar: &str) -> String {
        let Self { epoch, start, end, is_first, since, until, after, is_begun } = self;
        let (start, end) = (start.timestamp(), end.timestamp());
        let (is_first, is_begun) = (u8::from(is_first), u8::from(is_begun));
        let text = format!("{epoch} {start} {end} {is_first} {since} {until} {after} {is_begun}");
        let check = crc32fast::hash(format!("{text} {calendar}").as_bytes());
        BASE64URL_NOPAD.encode(format!("{text} {check}").as_bytes())
    }

    fn read(token: &str, calendar: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64URL_NOPAD.decode(token.as_bytes()).ok()?).ok()?;
        let (text, check) = text.rsplit_once(' ')?;
        if check.parse() != Ok(crc32fast::hash(format!("{text} {calendar}").as_bytes())) {
            return None;
        }
        let numbers: Vec<i64> =
            text.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [epoch, start, end, is_first, since, until, after, is_begun] =
            numbers.try_into().ok()?;
        let count = |number: i64| u64::try_from(number).ok();
        Some(Self {
            epoch: count(epoch)?,
            start: DateTime::from_timestamp(start, 0)?,
            end: DateTime::from_timestamp(end, 0)?,
            is_first: is_first == 1,
            since: count(since)?,
            until: count(until)?,
            after: count(after)?,
            is_begun: is_begun == 1,
        })
    }
}

/// One entry of a round.
enum Entry<'a> {
    Here(&'a Stored),
    /// Outside of the time.
    Outside(&'a Stored),
    Gone(&'a Removal),
}

impl Entry<'_> {
    fn changed(&self) -> u64 {
        match self {
            Self::Here(event) | Self::Outside(event) => event.changed,
            Self::Gone(removal) => removal.changed,
        }
    }
}

/// Answers a delta of a calendar.
pub(super) fn delta(
    mailbox: &Mailbox,
    calendar: &Calendar,
    request: &ApiRequest,
    preferences: &Preferences,
    switches: &Switches,
    turn: Turn,
) -> Result<Reply, ApiError> {
    if switches.delta_of_default_calendar_alone && calendar.id != mailbox.default_calendar {
        let message = "Change tracking is not supported for this calendar.";
        return Err(ApiError::invalid(message));
    }
    let query = Query::parse(&request.query, &OPTIONS)?;
    let round = begin(mailbox, calendar, &query)?;
    if round.epoch != calendar.epoch || (!round.is_first && round.since < mailbox.floor) {
        return Err(ApiError::sync_state(match switches.expired_delta {
            ExpiredDelta::SyncStateNotFound => "SyncStateNotFound",
            ExpiredDelta::ResyncRequired => "resyncRequired",
        }));
    }
    let starved = switches.empty_first_page && !round.is_begun;
    let size = query.top()?.or(preferences.page_size).unwrap_or(PAGE_DEFAULT);
    let mut entries = entries(mailbox, calendar, round);
    let count = if starved { 0 } else { size };
    let is_last = !starved && entries.len() <= count;
    entries.truncate(count);
    let view = View { preferences, expand: &[], select: None, switches, now: turn.now };
    let value: Vec<Value> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Here(event) => view.event(event, mailbox),
            Entry::Outside(Stored { ids, .. }) | Entry::Gone(Removal { ids, .. }) => {
                json!({"@removed": {"reason": "deleted"}, "id": id(ids, preferences)})
            }
        })
        .collect();
    let root = request.origin() + super::routes::ROOT;
    let mut answer =
        json!({"@odata.context": format!("{root}/$metadata#Collection(event)"), "value": value});
    if is_last {
        let since = round.until;
        let next = Round { is_first: false, since, until: 0, after: 0, is_begun: false, ..round };
        answer["@odata.deltaLink"] = json!(link(request, "$deltatoken", &next.token(&calendar.id)));
    } else {
        let after = entries.last().map_or(round.after, Entry::changed);
        let next = Round { after, is_begun: true, ..round };
        answer["@odata.nextLink"] = json!(link(request, "$skiptoken", &next.token(&calendar.id)));
    }
    Ok(resource(200, answer))
}

/// The round that a query begins or goes on with.
fn begin(mailbox: &Mailbox, calendar: &Calendar, query: &Query) -> Result<Round, ApiError> {
    let read = |token: &str| {
        let wrong = || ApiError::new(400, "SyncStateInvalid", "The sync state is invalid.");
        Round::read(token, &calendar.id).ok_or_else(wrong)
    };
    match (query.get("$skiptoken"), query.get("$deltatoken")) {
        (Some(_), Some(_)) => Err(ApiError::bad_request("There are two tokens.")),
        (Some(token), None) => read(token),
        (None, Some(token)) => Ok(Round { until: mailbox.changes, after: 0, ..read(token)? }),
        (None, None) => {
            let (start, end) = query.window()?;
            let (epoch, until) = (calendar.epoch, mailbox.changes);
            let (is_first, is_begun) = (true, false);
            Ok(Round { epoch, start, end, is_first, since: 0, until, after: 0, is_begun })
        }
    }
}

/// What a round has left to say, in the order of the changes.
fn entries<'a>(mailbox: &'a Mailbox, calendar: &Calendar, round: Round) -> Vec<Entry<'a>> {
    let Round { start, end, is_first, since, until, after, .. } = round;
    let is_due = |changed: u64| changed > since.max(after) && changed <= until;
    let events = mailbox.events.values().filter(|event| event.calendar == calendar.id);
    let live = events.filter(|event| is_due(event.changed)).filter_map(|event| {
        if overlaps(event, start, end) {
            return Some(Entry::Here(event));
        }
        (!is_first).then_some(Entry::Outside(event))
    });
    let removals = mailbox
        .removals
        .iter()
        .filter(|removal| !is_first && removal.calendar == calendar.id && is_due(removal.changed));
    let mut entries: Vec<_> = live.chain(removals.map(Entry::Gone)).collect();
    entries.sort_by_key(Entry::changed);
    entries
}

fn link(request: &ApiRequest, name: &str, token: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, token);
    format!("{}{}?{}", request.origin(), request.route.path, query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_calendar_and_cannot_be_made_up() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let (start, end) = (at(-5), at(9));
        let (is_first, is_begun) = (false, true);
        let round =
            Round { epoch: 1, start, end, is_first, since: 2, until: 3, after: 0, is_begun };
        let token = round.token("a");
        assert_eq!(Round::read(&token, "a"), Some(round));
        for (token, calendar) in [(token.as_str(), "b"), ("", "a"), ("AAAA", "a"), ("é", "a")] {
            assert_eq!(Round::read(token, calendar), None);
        }
    }
}
