//! Between the service's words and the simulated calendars': what a call asks, and what was said.

use std::time::Duration;

use booking::{CalendarKind, ConnectionId, Digest, IcalUid, Marker, Verb};
use calendar_sync::calendar::{Answer, Call, Condition};
use uuid::Uuid;

use crate::calendars::{self, Ask};
use crate::graph;

/// What a call asks of a calendar of this kind.
pub fn ask_of(kind: CalendarKind, call: &Call<'_>) -> Ask {
    let name = call.name.given.to_owned();
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
pub fn done(status: u16, etag: Option<String>, provider_uid: Option<String>) -> Answer {
    let (reason, retry_after, message) = (None, None, status.to_string());
    Answer::Status { status, reason, retry_after, etag, provider_uid, server_id: None, message }
}
