//! Between the service's words and the simulated calendars': what a call asks, and what was said.

use std::time::Duration;

use booking::{CalendarKind, ConnectionId, Content, Digest, IcalUid, Marker, Verb};
use calendar_sync::calendar::http::strong_etag;
use calendar_sync::calendar::notes::{Form, Parts, Run};
use calendar_sync::calendar::{
    Answer, Call, Condition, Hers, Inspected, Listed, ListedEvent, Next, Page, Reading, ical,
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::calendars::{self, Ask, By, Event, ListSaid};
use crate::graph;

/// What a call asks of a calendar of this kind.
pub fn ask_of(kind: CalendarKind, call: &Call<'_>) -> Ask {
    let given = call.name.given;
    let name = match (kind, call.verb) {
        (CalendarKind::Microsoft, Verb::Update | Verb::Delete) => {
            call.name.server_id.unwrap_or(given).to_owned()
        }
        (CalendarKind::Microsoft, Verb::Create)
        | (CalendarKind::Google | CalendarKind::Caldav, _) => given.to_owned(),
    };
    let if_match = match &call.condition {
        Condition::Match(etag) => Some(etag.clone()),
        Condition::New | Condition::Unconditional => None,
    };
    match (call.verb, kind) {
        (Verb::Create, _) => Ask::Create { name, body: call.body.to_vec() },
        (Verb::Update, CalendarKind::Microsoft) => {
            Ask::Update { name, if_match, body: graph::patch_of(call.body) }
        }
        (Verb::Update, _) => Ask::Update { name, if_match, body: call.body.to_vec() },
        (Verb::Delete, _) => Ask::Delete { name, if_match },
    }
}

/// A marker as it stands in an event, if it is whole.
pub fn read_marker(marker: &calendars::Marker) -> Option<Marker> {
    Some(Marker {
        uid: IcalUid::parse(&marker.uid).ok()?,
        connection: ConnectionId(Uuid::parse_str(&marker.connection).ok()?),
        revision: marker.revision,
        digest: Digest::parse(&marker.digest)?,
    })
}

/// A live event, as it is read.
pub fn reading_of(kind: CalendarKind, event: &Event) -> Reading {
    Reading::Live {
        marker: event.marker.as_ref().and_then(read_marker),
        etag: etag_of(kind, event.etag.clone()),
        provider_uid: Some(event.provider_uid.clone()),
        server_id: event.server_id.clone(),
    }
}

/// A live event, as it is inspected: what it shows, and what of it is the host's. `object`: of CalDAV.
pub fn inspected_of(kind: CalendarKind, event: &Event, object: Option<String>) -> Inspected {
    let form = match kind {
        CalendarKind::Google => Form::Either,
        CalendarKind::Microsoft | CalendarKind::Caldav => Form::Plain,
    };
    let run = event.marker.as_ref().and_then(|marker| Run::parse(marker.text.as_deref()?));
    let parts = Parts::of(event.description.as_deref().unwrap_or_default(), form, run);
    let hers = match kind {
        CalendarKind::Google | CalendarKind::Microsoft => parts.hers.map(Hers::notes),
        CalendarKind::Caldav => object.filter(|text| ical::has_hers(text)).map(Hers::object),
    };
    let reading = reading_of(kind, event);
    Inspected { reading, content: content_of(event, parts.ours), hers }
}

/// What it shows, with this text of ours.
fn content_of(event: &Event, description: Option<String>) -> Option<Content> {
    Some(Content {
        summary: event.summary.clone(),
        description,
        location: event.location.clone(),
        start: time(&event.start)?,
        end: time(&event.end)?,
        zone: Tz::UTC,
        tentative: event.tentative,
    })
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// An ETag that can be compared with. Graph's are weak by their looks, and are what it compares.
pub fn etag_of(kind: CalendarKind, etag: Option<String>) -> Option<String> {
    match kind {
        CalendarKind::Microsoft => etag,
        CalendarKind::Google | CalendarKind::Caldav => etag.as_deref().and_then(strong_etag),
    }
}

/// A page of a listing, as an adapter tells it: our events of this connection; of changes, also what
/// is none of ours, for it may have been.
pub fn listed_of(
    kind: CalendarKind,
    connection: ConnectionId,
    is_of_changes: bool,
    said: ListSaid,
) -> Listed {
    let (events, mut deleted, next, since) = match said {
        ListSaid::Page { events, deleted, next, since } => (events, deleted, next, since),
        ListSaid::Expired => return Listed::Expired { message: "an old token".to_owned() },
        ListSaid::Unsupported => return Listed::Unsupported,
    };
    let mut ours = Vec::new();
    for (event, differs) in events {
        let marker = event.marker.as_ref().and_then(read_marker);
        // What the host made has no `transactionId`.
        let is_posted = kind != CalendarKind::Microsoft || matches!(event.made_by, By::Request(_));
        match marker.filter(|marker| marker.connection == connection) {
            Some(marker) => ours.push(ListedEvent {
                id: event.id().to_owned(),
                given: is_posted.then(|| event.name.clone()),
                marker,
                etag: etag_of(kind, event.etag.clone()),
                differs,
            }),
            None if is_of_changes => deleted.push(event.id().to_owned()),
            None => {}
        }
    }
    let next = next.map_or(Next::End { since }, Next::Page);
    Listed::Page(Page { events: ours, deleted, next })
}

/// An answer without an event.
pub fn status(status: u16, reason: Option<&str>, retry_after: Option<Duration>) -> Answer {
    Answer::Status {
        status,
        reason: reason.map(ToOwned::to_owned),
        retry_after,
        etag: None,
        provider_uid: None,
        server_id: None,
        message: reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}")),
    }
}

/// A write that took effect.
pub fn done(
    status: u16,
    etag: Option<String>,
    provider_uid: Option<String>,
    server_id: Option<String>,
) -> Answer {
    let (reason, retry_after, message) = (None, None, status.to_string());
    Answer::Status { status, reason, retry_after, etag, provider_uid, server_id, message }
}
