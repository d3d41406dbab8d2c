//! PURE: the iCalendar text of an event (RFC 5545), and the way back to our marker.
//!
//! Written and read here rather than by the `icalendar` crate, which serves the tests as a second
//! opinion: it stamps every component that has no DTSTAMP, a VTIMEZONE's too, with the machine's
//! hour and a random UID, it folds some lines at 76 octets, and its parser recurses as deep as a
//! stranger's text asks it to.

use booking::{ConnectionId, Content, Digest, IcalUid, Marker};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::zone;

/// The longest line, in octets, without its line break (RFC 5545 §3.1).
const LINE_LEN_MAX: usize = 75;
/// Who wrote it (RFC 5545 §3.7.3). Constant, so that an upgrade rewrites no event.
const PRODID: &str = "-//calendar-sync//EN";
const CONNECTION: &str = "X-BOOKING-CONNECTION";
const REVISION: &str = "X-BOOKING-REVISION";
const DIGEST: &str = "X-BOOKING-DIGEST";
/// The zone of an event whose times we had to write in UTC.
const ZONE: &str = "X-BOOKING-TZID";

/// Start and end in whole seconds, as calendars know no fractions: the event covers at least what
/// the booking does, and never ends where it starts.
pub fn whole_seconds(content: &Content) -> (DateTime<Utc>, DateTime<Utc>) {
    let floor = |at: DateTime<Utc>| at.with_nanosecond(0).unwrap_or(at);
    let end = floor(content.end);
    let end = if end == content.end {
        end
    } else {
        end.checked_add_signed(TimeDelta::seconds(1)).unwrap_or(end)
    };
    (floor(content.start), end)
}

/// The text of an event: the same bytes for the same arguments.
///
/// It names no organiser and no attendee, or the server would send invitations (RFC 6638 §3.1),
/// and no METHOD (RFC 4791 §4.1).
pub fn write(marker: &Marker, content: &Content) -> String {
    let (start, end) = whole_seconds(content);
    let local = zone::says(content.zone, start) && zone::says(content.zone, end);
    let timezone = if local { zone::rules(content.zone, start, end) } else { None };

    let mut text = Text::default();
    text.line("BEGIN:VCALENDAR");
    text.line("VERSION:2.0");
    text.line(&format!("PRODID:{PRODID}"));
    text.line("CALSCALE:GREGORIAN");
    if let Some(rules) = &timezone {
        write_timezone(&mut text, rules);
    }
    text.line("BEGIN:VEVENT");
    text.text("UID", marker.uid.as_str());
    text.line(&format!("DTSTAMP:{}", utc(stamp(marker.revision))));
    text.line(&format!("SEQUENCE:{}", sequence(marker.revision)));
    if timezone.is_some() {
        text.line(&format!("DTSTART;TZID={}:{}", content.zone, local_time(content.zone, start)));
        text.line(&format!("DTEND;TZID={}:{}", content.zone, local_time(content.zone, end)));
    } else {
        text.line(&format!("DTSTART:{}", utc(start)));
        text.line(&format!("DTEND:{}", utc(end)));
        if !zone::is_utc(content.zone) {
            text.text(ZONE, content.zone.name());
        }
    }
    text.text("SUMMARY", &content.summary);
    if let Some(description) = &content.description {
        text.text("DESCRIPTION", description);
    }
    if let Some(location) = &content.location {
        text.text("LOCATION", location);
    }
    text.line(if content.tentative { "STATUS:TENTATIVE" } else { "STATUS:CONFIRMED" });
    text.line("TRANSP:OPAQUE");
    text.text(CONNECTION, &marker.connection.to_string());
    text.text(REVISION, &marker.revision.to_string());
    text.text(DIGEST, &marker.digest.to_string());
    text.line("END:VEVENT");
    text.line("END:VCALENDAR");
    text.0
}

/// DTSTAMP says when an event was last revised (RFC 5545 §3.8.7.2). The bytes are frozen before
/// they are sent and must be the same when they are written again, so no clock may be asked:
/// the stamp is 2000-01-01 plus one second for each revision. It rises with SEQUENCE, as
/// RFC 5546 §2.1.5 wants of the two, and lies in no client's future; and the server's own
/// `getlastmodified` tells people the true hour. LAST-MODIFIED is optional, and left out.
fn stamp(revision: i64) -> DateTime<Utc> {
    let epoch = DateTime::<Utc>::from_timestamp(946_684_800, 0).unwrap_or_default();
    epoch.checked_add_signed(TimeDelta::seconds(i64::from(sequence(revision)))).unwrap_or(epoch)
}

/// SEQUENCE is a 32-bit number from 0 (RFC 5545 §§3.3.8, 3.8.7.4).
fn sequence(revision: i64) -> i32 {
    i32::try_from(revision.max(0)).unwrap_or(i32::MAX)
}

fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

fn local_time(zone: Tz, at: DateTime<Utc>) -> String {
    naive(at.with_timezone(&zone).naive_local())
}

fn naive(at: NaiveDateTime) -> String {
    at.format("%Y%m%dT%H%M%S").to_string()
}

fn write_timezone(text: &mut Text, rules: &zone::Rules) {
    text.line("BEGIN:VTIMEZONE");
    text.line(&format!("TZID:{}", rules.zone));
    for observance in &rules.observances {
        let kind = if observance.daylight { "DAYLIGHT" } else { "STANDARD" };
        text.line(&format!("BEGIN:{kind}"));
        text.line(&format!("DTSTART:{}", naive(observance.onset)));
        text.line(&format!("TZOFFSETFROM:{}", offset(observance.from_s)));
        text.line(&format!("TZOFFSETTO:{}", offset(observance.to_s)));
        if let Some(name) = &observance.name {
            text.text("TZNAME", name);
        }
        text.line(&format!("END:{kind}"));
    }
    text.line("END:VTIMEZONE");
}

/// A UTC-OFFSET (RFC 5545 §3.3.14); seconds only where there are any.
fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let size = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    match seconds {
        0 => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
    }
}

/// A text of folded lines.
#[derive(Default)]
struct Text(String);

impl Text {
    /// A TEXT property (RFC 5545 §3.3.11).
    fn text(&mut self, name: &str, value: &str) {
        self.line(&format!("{name}:{}", escape(value)));
    }

    /// A content line, folded so that no line has more than 75 octets and no character is cut.
    /// What follows a fold begins with one space, which is no part of the value.
    fn line(&mut self, line: &str) {
        let mut len = 0;
        for character in line.chars() {
            if len + character.len_utf8() > LINE_LEN_MAX {
                self.0.push_str("\r\n ");
                len = 1;
            }
            self.0.push(character);
            len += character.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

/// Escapes a TEXT. Control characters other than line break and tab cannot be said in it, and are
/// dropped (content comes without them anyway).
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' | ';' | ',' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push('\t'),
            _ if character.is_control() => {}
            _ => escaped.push(character),
        }
    }
    escaped
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n' | 'N') => plain.push('\n'),
            Some(escaped) => plain.push(escaped),
            None => plain.push('\\'),
        }
    }
    plain
}

/// Our marker in a calendar's text, whole or not at all. Servers reorder properties, fold
/// elsewhere and add their own; the first event with a whole marker counts.
pub fn read_marker(text: &str) -> Option<Marker> {
    let unfolded = unfold(text);
    let mut found = None;
    let mut depth = 0_usize;
    for line in unfolded.split('\n') {
        let (name, value) = split(line);
        let event = value.eq_ignore_ascii_case("VEVENT");
        if name.eq_ignore_ascii_case("BEGIN") {
            // An alarm inside the event has properties of its own.
            depth += usize::from(found.is_some());
            if event && found.is_none() {
                found = Some(Found::default());
            }
        } else if name.eq_ignore_ascii_case("END") {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => {
                    if let Some(marker) = found.take().and_then(Found::marker) {
                        return Some(marker);
                    }
                }
            }
        } else if let (Some(found), 0) = (found.as_mut(), depth) {
            found.note(name, value);
        }
    }
    None
}

/// Undoes the folding (RFC 5545 §3.1), with CRLF or with bare LF.
fn unfold(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.replace("\n ", "").replace("\n\t", "")
}

/// A line's name and value; parameters, which can quote a colon, are skipped. A line without a
/// colon has no name.
fn split(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let colon = line.find(|character| {
        quoted ^= character == '"';
        character == ':' && !quoted
    });
    let (head, value) = colon.map_or(("", line), |colon| (&line[..colon], &line[colon + 1..]));
    (head.split(';').next().unwrap_or(head), value)
}

#[derive(Default)]
struct Found {
    uid: Option<String>,
    connection: Option<String>,
    revision: Option<String>,
    digest: Option<String>,
}

impl Found {
    fn note(&mut self, name: &str, value: &str) {
        let slots = [
            ("UID", &mut self.uid),
            (CONNECTION, &mut self.connection),
            (REVISION, &mut self.revision),
            (DIGEST, &mut self.digest),
        ];
        for (wanted, slot) in slots {
            if name.eq_ignore_ascii_case(wanted) && slot.is_none() {
                *slot = Some(unescape(value.trim()));
            }
        }
    }

    fn marker(self) -> Option<Marker> {
        Some(Marker {
            uid: IcalUid::parse(&self.uid?).ok()?,
            connection: ConnectionId(Uuid::try_parse(&self.connection?).ok()?),
            revision: self.revision?.parse().ok()?,
            digest: Digest::parse(&self.digest?)?,
        })
    }
}
