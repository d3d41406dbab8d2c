//! What the calendars read of a body: of the texts that standards and servers allow, and of what
//! the service's own writers write. (Only here, in the tests, do they meet.)

use std::sync::Arc;

use booking::{CalendarKind, ConnectionId, Content, IcalUid};
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::calendar::{self, Account, Credentials};
use calendar_sync::clock::SystemClock;
use calendar_sync::emit::drift::is_shown;
use chrono::DateTime;
use uuid::Uuid;

use super::super::icalendar::{self, Text};
use super::*;
use crate::adapter::inspected_of;
use crate::graph::patch_of;

fn read(lines: &[&str]) -> Option<Text> {
    let head = ["BEGIN:VCALENDAR", "BEGIN:VEVENT", "UID:u"];
    let times = ["DTSTART:20260303T090000Z", "DTEND:20260303T100000Z"];
    let tail = ["END:VEVENT", "END:VCALENDAR", ""];
    icalendar::read([&head[..], &times, lines, &tail].concat().join("\r\n").as_bytes())
}

#[test]
fn a_line_may_be_folded_anywhere() {
    let text = read(&["SUMM", " ARY:Hair", "\tcut\\, s", " hort"]).unwrap();
    assert_eq!(text.summary, "Haircut, short");
}

#[test]
fn a_text_says_breaks_and_commas_by_backslashes() {
    let text = read(&[r"DESCRIPTION:a\nb\Nc\;d\\e\,f"]).unwrap();
    assert_eq!(text.description.as_deref(), Some("a\nb\nc;d\\e,f"));
}

#[test]
fn a_parameter_can_quote_a_colon() {
    let text = read(&["SUMMARY;ALTREP=\"https://example.com/a\":Haircut"]).unwrap();
    assert_eq!(text.summary, "Haircut");
}

#[test]
fn an_alarms_own_properties_are_not_the_events() {
    let alarm = ["BEGIN:VALARM", "DESCRIPTION:Ring", "SUMMARY:Ring", "END:VALARM"];
    let text = read(&[&alarm[..], &["SUMMARY:Haircut"]].concat()).unwrap();
    assert_eq!((text.summary.as_str(), text.description), ("Haircut", None));
}

#[test]
fn a_marker_lacking_a_part_is_none() {
    let marker = ["X-BOOKING-CONNECTION:c", "X-BOOKING-REVISION:7", "X-BOOKING-DIGEST:d"];
    assert_eq!(read(&marker).unwrap().marker.unwrap().revision, 7);
    for missing in 0..marker.len() {
        let mut marker = marker.to_vec();
        marker.remove(missing);
        assert_eq!(read(&marker).unwrap().marker, None);
    }
    let words = [marker[0], "X-BOOKING-REVISION:seven", marker[2]];
    assert_eq!(read(&words).unwrap().marker, None);
}

#[test]
fn bare_line_feeds_will_do() {
    let crlf = String::from_utf8(text(0, "uid-1")).unwrap();
    let bare = icalendar::read(crlf.replace("\r\n", "\n").as_bytes());
    assert!(bare.is_some());
    assert_eq!(bare, icalendar::read(crlf.as_bytes()));
}

#[test]
fn what_is_not_one_event_is_none() {
    let whole = String::from_utf8(text(0, "uid-1")).unwrap();
    let second = "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:2\r\nEND:VEVENT";
    for broken in [
        whole.replace("VCALENDAR", "VCARD"),
        whole.replace("END:VCALENDAR\r\n", ""),
        whole.replace("END:VEVENT", second),
        whole.replace("VEVENT", "VTODO"),
        whole.replace("UID:uid-1", "UID:"),
        whole.replace("DTSTART", "DTBEGIN"),
        whole.replace("Europe/Berlin", "Europe/Nowhere"),
        whole.replace("T110000", "T100000"),
        whole.replace("SUMMARY:", "SUMMARY "),
        whole.replace(";TZID=Europe/Berlin:20260303T100000", ";VALUE=DATE:20260303"),
        // Clocks go from two to three that night.
        whole.replace("20260303T100000", "20260329T023000").replace("20260303T11", "20260329T11"),
    ] {
        assert_eq!(icalendar::read(broken.as_bytes()), None, "{broken}");
    }
    assert_eq!(icalendar::read(&[0xff, 0xfe]), None);
}

#[test]
fn an_hour_that_is_lived_twice_is_the_first() {
    let text = String::from_utf8(text(0, "uid-1")).unwrap();
    let text = text.replace("20260303T100000", "20261025T023000").replace("20260303", "20261025");
    let text = icalendar::read(text.as_bytes()).unwrap();
    assert_eq!(text.start, "2026-10-25T00:30:00Z");
    assert_eq!(text.end, "2026-10-25T10:00:00Z");
}

fn contents() -> Vec<Content> {
    let plain = Content {
        summary: "Haircut, short; with \\ and \"quotes\"".to_owned(),
        description: Some(
            "One line\nand a rather long other one, ünïcödé 💇 included, so that \
            lines have to be folded more than once on their way there"
                .to_owned(),
        ),
        location: Some("Room 1".to_owned()),
        start: "2026-03-03T09:00:00Z".parse().unwrap(),
        end: "2026-03-03T10:00:00Z".parse().unwrap(),
        zone: chrono_tz::Europe::Berlin,
        tentative: true,
    };
    let twice = Content {
        description: None,
        location: None,
        start: "2026-10-25T00:30:00Z".parse().unwrap(),
        end: "2026-10-25T01:30:00Z".parse().unwrap(),
        tentative: false,
        ..plain.clone()
    };
    let utc = Content { zone: chrono_tz::UTC, ..plain.clone() };
    let far = Content {
        zone: chrono_tz::America::New_York,
        start: "2026-03-08T06:30:00Z".parse().unwrap(),
        end: "2026-03-08T07:30:00Z".parse().unwrap(),
        ..plain.clone()
    };
    vec![plain, twice, utc, far]
}

/// The service's own writer for a kind of calendar.
fn writer(kind: CalendarKind, connection: ConnectionId) -> Arc<dyn calendar::Calendar> {
    let http = Http::new(HttpOptions {
        call_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        proxy_from_environment: false,
        reach: Reach::Anywhere,
        clock: Arc::new(SystemClock::start()),
    });
    let account = Account {
        connection,
        base_url: "http://127.0.0.1:9/".to_owned(),
        calendar: "http://127.0.0.1:9/".to_owned(),
        credentials: Credentials::Bearer { token: "token".to_owned().into() },
    };
    calendar::open(kind, account, &http.unwrap())
}

const KINDS: [(Kind, CalendarKind); 3] = [
    (Kind::Google, CalendarKind::Google),
    (Kind::Microsoft, CalendarKind::Microsoft),
    (Kind::Caldav, CalendarKind::Caldav),
];

fn marker_of(content: &Content, connection: ConnectionId, revision: i64) -> booking::Marker {
    let uid = IcalUid::parse("uid-1@example.com").unwrap();
    booking::Marker { uid, connection, revision, digest: content.digest() }
}

#[test]
fn what_the_services_writers_write_is_read_whole() {
    let connection = ConnectionId(Uuid::from_u128(7));
    for (kind, theirs) in KINDS {
        let writer = writer(theirs, connection);
        for content in contents() {
            let wanted = marker_of(&content, connection, 41);
            let name = writer.external_id(&wanted.uid, 3);
            let body = writer.body(&name, &wanted, &content);
            let mut calendar = Calendar::new(kind, Switches::strict());
            let said = calendar.answer(Duration::ZERO, 1, &Ask::Create { name, body });
            assert!(matches!(said, Said::Done { .. }), "{said:?}");
            let event = calendar.live()[0];
            let read = event.marker.clone().unwrap();
            assert_eq!((read.uid.as_str(), read.revision), ("uid-1@example.com", 41));
            assert_eq!(read.connection, connection.to_string());
            assert_eq!(read.digest, content.digest().to_string());
            assert!(read.text.is_some());
            assert_eq!(event.summary, content.summary);
            assert_eq!(event.description, content.description);
            assert_eq!(event.location, content.location);
            assert_eq!(event.tentative, content.tentative);
            let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
            assert_eq!((at(&event.start), at(&event.end)), (content.start, content.end));
            assert!(event.start.ends_with('Z') && event.end.ends_with('Z'), "{event:?}");
        }
    }
}

/// As the wire has it: what is the host's is told from what is ours, and an update is written around it.
#[test]
fn what_a_host_has_noted_is_told_from_ours_and_kept() {
    let connection = ConnectionId(Uuid::from_u128(7));
    let mut contents = contents();
    let last = contents.pop().unwrap();
    for ((kind, theirs), content) in
        KINDS.into_iter().flat_map(|kind| contents.iter().map(move |content| (kind, content)))
    {
        let writer = writer(theirs, connection);
        let mut calendar = Calendar::new(kind, Switches::strict());
        let name = writer.external_id(&marker_of(content, connection, 0).uid, 0);
        let body = writer.body(&name, &marker_of(content, connection, 0), content);
        let create = Ask::Create { name: name.clone(), body };
        calendar.answer(Duration::ZERO, 1, &create);
        let inspected = |calendar: &mut Calendar| {
            let said = calendar.answer(Duration::ZERO, 2, &Ask::Read { name: name.clone() });
            let Said::Live { event, text, .. } = said else { panic!("{said:?}") };
            inspected_of(theirs, &event, text)
        };
        assert_eq!(inspected(&mut calendar).hers, None);
        for deed in [
            Deed::Note { name: name.clone(), first: true },
            Deed::Note { name: name.clone(), first: false },
            Deed::Annotate { name: name.clone() },
        ] {
            assert!(calendar.host(Duration::ZERO, &deed));
        }
        let seen = inspected(&mut calendar);
        let hers = seen.hers.unwrap();
        assert!(is_shown(content, &seen.content.unwrap()), "{theirs:?}");
        let noted = calendar.live()[0].clone();
        let body = writer.body(&name, &marker_of(&last, connection, 1), &last);
        let body = writer.keeping(&body, &hers);
        let body = if kind == Kind::Microsoft { patch_of(&body) } else { body };
        let update = Ask::Update { name: name.clone(), if_match: None, body };
        assert!(matches!(calendar.answer(Duration::ZERO, 3, &update), Said::Done { .. }));
        let event = calendar.live()[0];
        assert_eq!((event.noted(), noted.noted().len()), (noted.noted(), 3));
        assert!(is_shown(&last, &inspected(&mut calendar).content.unwrap()), "{theirs:?}");
    }
}
