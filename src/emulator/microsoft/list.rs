//! Lists of events: filters, order and pages.

use std::cmp::Ordering;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::errors::{ApiError, resource};
use super::event::Stored;
use super::filter::Filter;
use super::prefer::Preferences;
use super::query::{PAGE_DEFAULT, Query};
use super::render::View;
use super::routes::ApiRequest;
use super::state::{Mailbox, Switches};
use super::switches::SearchScope;
use crate::emulator::life::Turn;
use crate::emulator::reply::Reply;

/// What a list understands.
const OPTIONS: [&str; 9] = [
    "$filter",
    "$expand",
    "$select",
    "$top",
    "$skip",
    "$orderby",
    "$count",
    "startDateTime",
    "endDateTime",
];

/// What comes first, and whether from the end.
struct Order(Vec<(String, bool)>);

impl Order {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let mut keys = Vec::new();
        for key in text.into_iter().flat_map(|text| text.split(',')) {
            let mut words = key.split_whitespace();
            let name = words.next().unwrap_or_default();
            let is_known = matches!(
                name,
                "subject"
                    | "start/dateTime"
                    | "end/dateTime"
                    | "createdDateTime"
                    | "lastModifiedDateTime"
            );
            let is_down = match (words.next(), words.next()) {
                (None | Some("asc"), None) => false,
                (Some("desc"), None) => true,
                _ => return Err(ApiError::bad_request("Invalid orderby clause.")),
            };
            if !is_known || keys.len() == 8 {
                let message = format!("The events cannot be ordered by '{name}'.");
                return Err(ApiError::bad_request(&message));
            }
            keys.push((name.to_owned(), is_down));
        }
        Ok(Self(keys))
    }

    fn compare(&self, one: &Stored, other: &Stored) -> Ordering {
        let by = |name: &str| match name {
            "subject" => one.text("subject").cmp(&other.text("subject")),
            "start/dateTime" => one.start.at.cmp(&other.start.at),
            "end/dateTime" => one.end.at.cmp(&other.end.at),
            "createdDateTime" => one.created.cmp(&other.created),
            _ => one.modified.cmp(&other.modified),
        };
        let compared = self.0.iter().map(
            |(name, is_down)| {
                if *is_down { by(name).reverse() } else { by(name) }
            },
        );
        compared.fold(Ordering::Equal, Ordering::then).then(one.number.cmp(&other.number))
    }
}

/// Whether the index has taken note of an event as it is.
fn is_indexed(event: &Stored, switches: &Switches, turn: Turn) -> bool {
    let lag =
        if event.is_rewritten { switches.search_lags_after_change } else { switches.search_lags };
    event.age(turn.now) >= lag
}

/// Answers a list of a calendar's events.
pub(super) fn list(
    mailbox: &Mailbox,
    calendar: &str,
    request: &ApiRequest,
    preferences: &Preferences,
    switches: &Switches,
    turn: Turn,
) -> Result<Reply, ApiError> {
    let is_view = request.route.is_view;
    let options = if is_view { &OPTIONS[..] } else { &OPTIONS[..7] };
    let query = Query::parse(&request.query, options)?;
    let (filter, select, expand) = (query.filter()?, query.select_of_event()?, query.expand()?);
    let order = Order::parse(query.get("$orderby"))?;
    let (top, skip, counts) = (query.top()?, query.skip()?, query.counts()?);
    let window = if is_view { Some(query.window()?) } else { None };
    let is_wide = switches.search_scope == SearchScope::Mailbox
        && filter.as_ref().is_some_and(Filter::asks_for_property);
    let mut found: Vec<&Stored> = mailbox
        .events
        .values()
        .filter(|event| is_wide || event.calendar == calendar)
        .filter(|event| window.is_none_or(|(start, end)| overlaps(event, start, end)))
        .filter(|event| {
            filter
                .as_ref()
                .is_none_or(|filter| is_indexed(event, switches, turn) && filter.holds(event))
        })
        .collect();
    found.sort_by(|one, other| order.compare(one, other));
    let starved = switches.empty_first_page && query.get("$skip").is_none();
    let count =
        if starved { 0 } else { top.unwrap_or(preferences.page_size.unwrap_or(PAGE_DEFAULT)) };
    let view =
        View { preferences, expand: &expand, select: select.as_deref(), switches, now: turn.now };
    let page = found.iter().skip(skip).take(count);
    let value: Vec<Value> = page.map(|event| view.event(event, mailbox)).collect();
    let mut answer = json!({"@odata.context": context(request, "events"), "value": value});
    if counts {
        answer["@odata.count"] = json!(found.len());
    }
    let next = skip.saturating_add(count);
    if starved || next < found.len() {
        answer["@odata.nextLink"] = json!(next_link(request, next));
    }
    Ok(resource(200, answer))
}

/// Whether any of an event is in a time; one of no length, at its moment.
pub(super) fn overlaps(
    event: &Stored,
    start: chrono::DateTime<chrono::Utc>,
    end: chrono::DateTime<chrono::Utc>,
) -> bool {
    let (first, last) = (event.start.at, event.end.at);
    first < end && (last > start || (first == last && first >= start))
}

/// The same query, further on. An event that is deleted meanwhile moves the others up by one, so
/// that one is missed: as in the real service, whose links count what to skip, too.
pub(super) fn next_link(request: &ApiRequest, skip: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        if name != "$skip" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("$skip", &skip.to_string());
    // In `OData` a plus is a plus.
    let query = query.finish().replace('+', "%20");
    format!("{}{}?{query}", request.origin(), request.route.path)
}

/// `@odata.context`.
pub(super) fn context(request: &ApiRequest, of: &str) -> String {
    let user = request.route.user.as_deref().unwrap_or("me");
    format!("{}{}/$metadata#users('{user}')/{of}", request.origin(), super::routes::ROOT)
}
