//! Trouble, events and writes as the emulator of Microsoft Graph says them.

use std::time::Duration;

use calendar_sync::emulator::microsoft::{ByHand, EventView, Switches};
use calendar_sync::emulator::{self, MicrosoftEmulator, Rule};
use serde_json::Value;

use super::{Ordered, Place, Shown, Write, google};

/// Longer than any fact takes.
const LONG: Duration = Duration::from_hours(1);

/// A new mailbox, and its one calendar.
pub(super) fn new_calendar(graph: &MicrosoftEmulator, token: String) -> Place {
    let subject = format!("{token}@example.com");
    let calendar = graph.add_account(&token, &subject);
    Place {
        subject,
        calendar,
        base_url: format!("{}/me", graph.base_url()),
        credentials: calendar_sync::calendar::Credentials::Bearer { token: token.into() },
    }
}

pub(super) fn delete_by_hand(graph: &MicrosoftEmulator, id: &str) {
    assert!(graph.change_by_hand(id, ByHand::Delete));
}

/// It is found neither by its id nor by its name.
pub(super) fn hide(graph: &MicrosoftEmulator, id: &str, not_found: super::Trouble) -> Ordered {
    let rule = google::rule(super::EVERY, not_found).event(id);
    lag(graph, rule.verb(emulator::Verb::Get).verb(emulator::Verb::Delete))
}

/// No search finds anything, and this is ordered beside.
pub(super) fn lag(graph: &MicrosoftEmulator, rule: Rule) -> Ordered {
    let before = graph.switches();
    let lagging = Switches { search_lags: LONG, search_lags_after_change: LONG, ..before.clone() };
    graph.set_switches(lagging);
    Ordered::Microsoft { order: graph.order(rule), hidden: Some((graph.clone(), Box::new(before))) }
}

/// Every search finds what was made.
pub(super) fn finds_at_once(graph: &MicrosoftEmulator) {
    graph.set_switches(Switches { search_lags: Duration::ZERO, ..graph.switches() });
}

/// Our revision in it.
fn revision(event: &EventView) -> Option<i64> {
    let marker = event.properties.iter().find(|(id, _)| id.ends_with(" Name bookingMarker"));
    let marker: Value = serde_json::from_str(marker?.1).ok()?;
    marker["revision"].as_i64()
}

pub(super) fn event(event: EventView) -> Shown {
    let revision = revision(&event).unwrap_or(-1);
    let place = event.resource["location"]["displayName"].as_str().unwrap_or_default().to_owned();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Shown {
        id: event.id,
        provider_uid: event.ical_uid,
        etag: event.etag,
        revision,
        // Graph has none.
        sequence: revision,
        summary: event.subject,
        description: some(event.text),
        location: some(place),
        start: event.start,
        end: event.end,
        zone: event.zone,
        tentative: event.show_as == "tentative",
    }
}

pub(super) fn writes(graph: &MicrosoftEmulator) -> Vec<Write> {
    graph.calls().list.iter().filter_map(google::write).collect()
}
