//! What each kind of calendar does, switch by switch, as facts.

mod bodies;
mod caldav;
mod google;
mod host;
mod laws;
mod listing;
mod microsoft;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ask, By, Calendar, Change, Deed, Event, Kind, Marker, Said, Stood, Switches};

const SECOND: Duration = Duration::from_secs(1);
const ALMOST_A_MINUTE: Duration = Duration::from_secs(59);
const MINUTE: Duration = Duration::from_mins(1);
const ALMOST_AN_HOUR: Duration = Duration::from_secs(3599);
const HOUR: Duration = Duration::from_hours(1);

/// A booking's event, by whose name it is known in each kind of calendar.
fn name(kind: Kind) -> String {
    match kind {
        Kind::Google => "booking0123456789abcdef".to_owned(),
        Kind::Microsoft => "booking-1".to_owned(),
        Kind::Caldav => "booking-1.ics".to_owned(),
    }
}

/// Its body at a revision.
fn body(kind: Kind, revision: i64) -> Vec<u8> {
    body_of(kind, revision, |_| {})
}

/// The same, with something else about it; CalDAV's text is none of JSON, and stays.
fn body_of(kind: Kind, revision: i64, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = match kind {
        Kind::Google => json!({
            "id": name(kind),
            "status": "confirmed",
            "summary": format!("Haircut {revision}"),
            "location": "Room 1",
            "start": {"dateTime": "2026-03-03T10:00:00+01:00", "timeZone": "Europe/Berlin"},
            "end": {"dateTime": "2026-03-03T11:00:00+01:00", "timeZone": "Europe/Berlin"},
            "extendedProperties": {"private": {
                "bookingUid": "uid-1",
                "bookingConnection": "connection-1",
                "bookingRevision": revision.to_string(),
                "bookingDigest": format!("digest-{revision}"),
            }},
        }),
        Kind::Microsoft => {
            let marker = json!({
                "uid": "uid-1",
                "connection": "connection-1",
                "revision": revision,
                "digest": format!("digest-{revision}"),
            });
            json!({
                "transactionId": name(kind),
                "subject": format!("Haircut {revision}"),
                "location": {"displayName": "Room 1"},
                "start": {"dateTime": "2026-03-03T10:00:00.0000000", "timeZone": "Europe/Berlin"},
                "end": {"dateTime": "2026-03-03T11:00:00.0000000", "timeZone": "Europe/Berlin"},
                "showAs": "busy",
                "singleValueExtendedProperties": [{
                    "id": "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name bookingMarker",
                    "value": marker.to_string(),
                }],
            })
        }
        Kind::Caldav => return text(revision, "uid-1"),
    };
    change(&mut body);
    body.to_string().into_bytes()
}

/// The body of an update; Graph's is without what cannot change.
fn update_body(kind: Kind, revision: i64) -> Vec<u8> {
    body_of(kind, revision, |body| {
        if let (Kind::Microsoft, Some(body)) = (kind, body.as_object_mut()) {
            body.remove("transactionId");
        }
    })
}

fn text(revision: i64, uid: &str) -> Vec<u8> {
    let lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        &format!("UID:{uid}"),
        "DTSTAMP:20000101T000000Z",
        "DTSTART;TZID=Europe/Berlin:20260303T100000",
        "DTEND;TZID=Europe/Berlin:20260303T110000",
        &format!("SUMMARY:Haircut {revision}"),
        "LOCATION:Room 1",
        "STATUS:CONFIRMED",
        "X-BOOKING-CONNECTION:connection-1",
        &format!("X-BOOKING-REVISION:{revision}"),
        &format!("X-BOOKING-DIGEST:digest-{revision}"),
        "END:VEVENT",
        "END:VCALENDAR",
    ];
    lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect()
}

fn marker(revision: i64) -> Marker {
    Marker {
        uid: "uid-1".to_owned(),
        connection: "connection-1".to_owned(),
        revision,
        digest: format!("digest-{revision}"),
        text: None,
    }
}

/// A calendar, the hour, and the number of the next request.
struct Desk {
    calendar: Calendar,
    kind: Kind,
    now: Duration,
    request: u64,
}

impl Desk {
    fn strict(kind: Kind) -> Self {
        Self::with(kind, |_| {})
    }

    fn with(kind: Kind, set: impl FnOnce(&mut Switches)) -> Self {
        let mut switches = Switches::strict();
        set(&mut switches);
        let calendar = Calendar::new(kind, switches);
        assert_eq!(calendar.kind(), kind);
        Self { calendar, kind, now: Duration::ZERO, request: 0 }
    }

    /// The same, an event of revision 0 being there.
    fn holding(kind: Kind, set: impl FnOnce(&mut Switches)) -> Self {
        let mut desk = Self::with(kind, set);
        let said = desk.create(0);
        assert!(matches!(said, Said::Done { .. }), "{said:?}");
        desk
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn ask(&mut self, ask: &Ask) -> Said {
        self.request += 1;
        self.calendar.answer(self.now, self.request, ask)
    }

    fn create(&mut self, revision: i64) -> Said {
        self.create_with(body(self.kind, revision))
    }

    fn create_with(&mut self, body: Vec<u8>) -> Said {
        self.ask(&Ask::Create { name: name(self.kind), body })
    }

    fn update(&mut self, revision: i64, if_match: Option<&str>) -> Said {
        self.update_with(update_body(self.kind, revision), if_match)
    }

    fn update_with(&mut self, body: Vec<u8>, if_match: Option<&str>) -> Said {
        let if_match = if_match.map(ToOwned::to_owned);
        self.ask(&Ask::Update { name: name(self.kind), if_match, body })
    }

    fn delete(&mut self, if_match: Option<&str>) -> Said {
        let if_match = if_match.map(ToOwned::to_owned);
        self.ask(&Ask::Delete { name: name(self.kind), if_match })
    }

    fn read(&mut self) -> Said {
        self.ask(&Ask::Read { name: name(self.kind) })
    }

    /// The ETag that reading gives.
    #[track_caller]
    fn etag(&mut self) -> String {
        let said = self.read();
        let Said::Live { etag: Some(etag), .. } = said else { panic!("no ETag: {said:?}") };
        etag
    }

    /// The revision that reading shows.
    #[track_caller]
    fn revision(&mut self) -> i64 {
        let said = self.read();
        let Said::Live { body_marker: Some(marker), .. } = said else {
            panic!("no marker: {said:?}")
        };
        marker.revision
    }

    fn host(&mut self, deed: &Deed) -> bool {
        self.calendar.host(self.now, deed)
    }

    /// The one live event.
    #[track_caller]
    fn only(&self) -> &Event {
        let live = self.calendar.live();
        assert_eq!(live.len(), 1, "{live:?}");
        live[0]
    }

    /// It is as the first body says.
    #[track_caller]
    fn shows_the_first(&self) {
        let event = self.only();
        let shown = (event.summary.as_str(), event.location.as_deref());
        assert_eq!(shown, ("Haircut 0", Some("Room 1")));
        assert_eq!(event.start, "2026-03-03T09:00:00Z");
        assert_eq!(event.end, "2026-03-03T10:00:00Z");
    }

    fn last(&self) -> &Change {
        self.calendar.history().last().unwrap()
    }
}

/// The marker, the ETag and the UID that reading shows.
#[track_caller]
fn seen(said: &Said) -> (Option<Marker>, Option<String>, Option<String>) {
    let Said::Live { body_marker, etag, provider_uid, .. } = said else { panic!("{said:?}") };
    (body_marker.clone(), etag.clone(), provider_uid.clone())
}

/// Status and reason of what did not take effect.
#[track_caller]
fn refusal(said: &Said) -> (u16, Option<&'static str>) {
    match said {
        Said::Refused { status, reason } => (*status, *reason),
        Said::Done { .. } | Said::Live { .. } | Said::Tombstone | Said::Absent => {
            panic!("not refused: {said:?}")
        }
    }
}

/// The status of what took effect.
#[track_caller]
fn done(said: &Said) -> u16 {
    match said {
        Said::Done { status, .. } => *status,
        Said::Refused { .. } | Said::Live { .. } | Said::Tombstone | Said::Absent => {
            panic!("not done: {said:?}")
        }
    }
}

/// The ETag that a write's answer gives.
#[track_caller]
fn etag_of(said: Said) -> String {
    let Said::Done { etag: Some(etag), .. } = said else { panic!("no ETag: {said:?}") };
    etag
}
