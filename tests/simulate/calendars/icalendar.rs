//! Reading the iCalendar text of one event (RFC 5545), as a server does that indexes it. It is no
//! reader of the service's: what both misread alike, nobody would see.

use chrono::NaiveDateTime;

use super::event::Marker;
use super::json;

const UTC_TIME: &str = "%Y%m%dT%H%M%SZ";
const LOCAL_TIME: &str = "%Y%m%dT%H%M%S";

/// What a server reads of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) uid: String,
    pub(super) marker: Option<Marker>,
    pub(super) summary: String,
    pub(super) description: Option<String>,
    pub(super) location: Option<String>,
    /// RFC 3339, in UTC.
    pub(super) start: String,
    /// RFC 3339, in UTC.
    pub(super) end: String,
    pub(super) tentative: bool,
    pub(super) host_note: Option<String>,
}

/// A property that no application of ours writes.
pub(super) const HOST_NOTE: &str = "X-HOST-NOTE";
/// How our own properties begin.
pub(super) const OURS: &str = "X-BOOKING-";

/// Reads a calendar of exactly one event with times, the end after the start; `None`: it is none.
pub(super) fn read(text: &[u8]) -> Option<Text> {
    let text = std::str::from_utf8(text).ok()?.replace("\r\n", "\n");
    let unfolded = text.replace("\n ", "").replace("\n\t", "");
    let mut inside: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    let mut events = 0;
    for line in unfolded.split_terminator('\n') {
        let line = Line::parse(line)?;
        match line.name {
            "BEGIN" => {
                events += usize::from(line.value == "VEVENT");
                inside.push(line.value);
            }
            "END" if inside.pop() == Some(line.value) => {}
            "END" => return None,
            _ if inside == ["VCALENDAR", "VEVENT"] => lines.push(line),
            // Other components' own; and no property stands outside of any.
            _ if inside.first() == Some(&"VCALENDAR") => {}
            _ => return None,
        }
    }
    if events != 1 || !inside.is_empty() {
        return None;
    }
    let find = |name: &str| lines.iter().find(|line| line.name == name);
    let value = |name: &str| find(name).map(|line| unescape(line.value));
    let uid = value("UID").filter(|uid| !uid.is_empty())?;
    let (start, end) = (find("DTSTART")?.time()?, find("DTEND")?.time()?);
    json::is_after(&end, &start).then(|| Text {
        marker: json::marker(
            Some(uid.clone()),
            value("X-BOOKING-CONNECTION"),
            value("X-BOOKING-REVISION"),
            value("X-BOOKING-DIGEST"),
            value("X-BOOKING-TEXT"),
        ),
        uid,
        summary: value("SUMMARY").unwrap_or_default(),
        description: value("DESCRIPTION"),
        location: value("LOCATION"),
        start,
        end,
        tentative: value("STATUS").as_deref() == Some("TENTATIVE"),
        host_note: value(HOST_NOTE),
    })
}

/// The same text with another value of a property of the event's.
pub(super) fn with(text: &[u8], property: &str, value: &str) -> Vec<u8> {
    const END: &str = "END:VEVENT\r\n";
    let text = String::from_utf8_lossy(&without(text, property)).into_owned();
    let escaped = value.replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;");
    let line = format!("{property}:{}\r\n", escaped.replace('\n', "\\n"));
    text.replacen(END, &format!("{line}{END}"), 1).into_bytes()
}

/// The same text without the properties whose names begin so.
pub(super) fn without(text: &[u8], beginning: &str) -> Vec<u8> {
    let mut is_dropped = false;
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept = lines.filter(|line| {
        // A folded line goes on with the one before.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            is_dropped = line.starts_with(beginning.as_bytes());
        }
        !is_dropped
    });
    kept.flatten().copied().collect()
}

/// An unfolded content line.
struct Line<'a> {
    name: &'a str,
    parameters: &'a str,
    value: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut quoted = false;
        let colon = line.find(|character| {
            quoted ^= character == '"';
            character == ':' && !quoted
        })?;
        let (head, value) = (&line[..colon], &line[colon + 1..]);
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        (!name.is_empty()).then_some(Self { name, parameters, value })
    }

    /// A time in UTC, or in a zone of the tz database.
    fn time(&self) -> Option<String> {
        let zone = self.parameters.split(';').find_map(|it| it.strip_prefix("TZID="));
        let (format, zone) = zone.map_or((UTC_TIME, "UTC"), |zone| (LOCAL_TIME, zone));
        let local = NaiveDateTime::parse_from_str(self.value, format).ok()?;
        json::utc_of(local, zone).ok()
    }
}

/// A TEXT's value (RFC 5545 §3.3.11).
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n' | 'N') => '\n',
                Some(escaped) => escaped,
                None => '\\',
            },
            plain => plain,
        });
    }
    plain
}
