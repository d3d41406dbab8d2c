//! PURE: the iCalendar text of an event (RFC 5545), and the way back to our marker.
//!
//! The event is built, escaped and written by the `icalendar` crate (0.17), with four things kept
//! ours, for what its source says of them:
//!
//! - **DTSTAMP and UID** are always set: the crate stamps a component without them with the
//!   machine's hour and a random UID.
//! - **VTIMEZONE** is our text: the crate has no builder for it, and would give it and each of its
//!   observances that DTSTAMP and UID, which RFC 5545 §3.6.5 does not let them have.
//! - **Folding**: the crate's last line can have 76 octets (it forgets the space that a fold
//!   begins with), and as it looks for spaces by counting characters but cuts by counting octets,
//!   a title of some emoji and some spaces makes it turn for ever, or panic. So it sees no space
//!   (see [`SPACES`]), and its lines are unfolded and folded again.
//! - **Reading**: its parser recurses as deep as a stranger's text asks it to.

mod shown;

mod merge;

pub use merge::{has_hers, merge};
pub use shown::read_content;

use booking::{ConnectionId, Content, Digest, IcalUid, Marker};
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use chrono_tz::Tz;
use icalendar::{
    Calendar, CalendarDateTime, Component as _, Event, EventLike as _, EventStatus, Property,
};
use uuid::Uuid;

use super::notes::Run;
use super::zone;

/// The longest line, in octets, without its line break (RFC 5545 §3.1).
const LINE_LEN_MAX: usize = 75;
/// The longest object that is read or written, in bytes: hosts attach files to events.
pub const OBJECT_LEN_MAX: usize = 8 * 1024 * 1024;
/// Who wrote it (RFC 5545 §3.7.3). Constant, so that an upgrade rewrites no event.
const PRODID: &str = "-//calendar-sync//EN";
const CONNECTION: &str = "X-BOOKING-CONNECTION";
const REVISION: &str = "X-BOOKING-REVISION";
const DIGEST: &str = "X-BOOKING-DIGEST";
/// Which words of the description are ours.
const TEXT: &str = "X-BOOKING-TEXT";
/// The zone of an event whose times we had to write in UTC.
const ZONE: &str = "X-BOOKING-TZID";
/// What is white space to the `icalendar` crate, and what stands in for it while that crate
/// writes. The stand-ins are control characters, of which a text of ours has none.
const SPACES: [(char, char); 20] = [
    ('\t', '\u{86}'),
    (' ', '\u{87}'),
    ('\u{a0}', '\u{88}'),
    ('\u{1680}', '\u{89}'),
    ('\u{2000}', '\u{8a}'),
    ('\u{2001}', '\u{8b}'),
    ('\u{2002}', '\u{8c}'),
    ('\u{2003}', '\u{8d}'),
    ('\u{2004}', '\u{8e}'),
    ('\u{2005}', '\u{8f}'),
    ('\u{2006}', '\u{90}'),
    ('\u{2007}', '\u{91}'),
    ('\u{2008}', '\u{92}'),
    ('\u{2009}', '\u{93}'),
    ('\u{200a}', '\u{94}'),
    ('\u{2028}', '\u{95}'),
    ('\u{2029}', '\u{96}'),
    ('\u{202f}', '\u{97}'),
    ('\u{205f}', '\u{98}'),
    ('\u{3000}', '\u{99}'),
];

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

/// The text of an event: the same bytes for the same arguments. Properties are sorted by name.
///
/// It names no organiser and no attendee, or the server would send invitations (RFC 6638 §3.1),
/// and no METHOD (RFC 4791 §4.1).
pub fn write(marker: &Marker, content: &Content) -> String {
    let (start, end) = whole_seconds(content);
    let local = zone::says(content.zone, start) && zone::says(content.zone, end);
    let timezone = if local { zone::rules(content.zone, start, end) } else { None };

    let mut event = described(marker, content);
    if timezone.is_some() {
        event.starts(local_time(content.zone, start)).ends(local_time(content.zone, end));
    } else {
        event.starts(start).ends(end);
        if !zone::is_utc(content.zone) {
            event.add_property(ZONE, content.zone.name());
        }
    }
    let calendar = Calendar::empty()
        .append_property(Property::new("VERSION", "2.0"))
        .append_property(Property::new("PRODID", PRODID))
        .append_property(Property::new("CALSCALE", "GREGORIAN"))
        .push(event)
        .done();

    let mut text = Text::default();
    for line in calendar.to_string().replace("\r\n ", "").split_terminator("\r\n") {
        // A value cannot look like this: its line begins with a name and a colon.
        if let ("BEGIN:VEVENT", Some(rules)) = (line, &timezone) {
            write_timezone(&mut text, rules);
        }
        text.line(line);
    }
    text.0
}

/// The event without its times.
fn described(marker: &Marker, content: &Content) -> Event {
    let mut event = Event::with_uid(marker.uid.as_str());
    event
        .timestamp(stamp(marker.revision))
        .sequence(sequence(marker.revision))
        .summary(&hide_spaces(&content.summary))
        .status(if content.tentative { EventStatus::Tentative } else { EventStatus::Confirmed })
        .add_property("TRANSP", "OPAQUE")
        .add_property(CONNECTION, marker.connection.to_string())
        .add_property(REVISION, marker.revision.to_string())
        .add_property(DIGEST, marker.digest.to_string())
        .add_property(TEXT, Run::of(content.description.as_deref()).to_string());
    if let Some(description) = &content.description {
        event.description(&hide_spaces(description));
    }
    if let Some(location) = &content.location {
        event.location(&hide_spaces(location));
    }
    event
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
fn sequence(revision: i64) -> u32 {
    u32::try_from(revision.clamp(0, i64::from(i32::MAX))).unwrap_or_default()
}

fn local_time(zone: Tz, at: DateTime<Utc>) -> CalendarDateTime {
    let date_time = at.with_timezone(&zone).naive_local();
    CalendarDateTime::WithTimezone { date_time, tzid: zone.name().to_owned() }
}

fn write_timezone(text: &mut Text, rules: &zone::Rules) {
    text.line("BEGIN:VTIMEZONE");
    text.line(&format!("TZID:{}", rules.zone));
    for observance in &rules.observances {
        let kind = if observance.daylight { "DAYLIGHT" } else { "STANDARD" };
        text.line(&format!("BEGIN:{kind}"));
        text.line(&format!("DTSTART:{}", observance.onset.format("%Y%m%dT%H%M%S")));
        text.line(&format!("TZOFFSETFROM:{}", offset(observance.from_s)));
        text.line(&format!("TZOFFSETTO:{}", offset(observance.to_s)));
        if let Some(name) = &observance.name {
            text.line(&format!("TZNAME:{name}"));
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
    /// A content line with its spaces back.
    fn line(&mut self, line: &str) {
        self.0.push_str(&fold(&line.chars().map(show_space).collect::<String>()));
    }
}

/// A content line, folded so that no line has more than 75 octets and no character is cut. What
/// follows a fold begins with one space, which is no part of the value.
fn fold(line: &str) -> String {
    let mut folded = String::with_capacity(line.len() + 2);
    let mut len = 0;
    for character in line.chars() {
        if len + character.len_utf8() > LINE_LEN_MAX {
            folded.push_str("\r\n ");
            len = 1;
        }
        folded.push(character);
        len += character.len_utf8();
    }
    folded.push_str("\r\n");
    folded
}

/// A text as the `icalendar` crate can fold it. Control characters other than line break and tab
/// cannot be said in a TEXT (RFC 5545 §3.3.11), and are dropped (content comes without them
/// anyway).
fn hide_spaces(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    kept.map(|character| {
        let hidden = SPACES.iter().find(|(space, _)| *space == character);
        hidden.map_or(character, |(_, stand_in)| *stand_in)
    })
    .collect()
}

fn show_space(character: char) -> char {
    let shown = SPACES.iter().find(|(_, stand_in)| *stand_in == character);
    shown.map_or(character, |(space, _)| *space)
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

/// A calendar's text. A program that counts octets may have cut a character in two by folding: then it
/// is unfolded.
pub fn text_of(body: &[u8]) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(body) {
        return Some(text.to_owned());
    }
    let mut unfolded = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        if let [b' ' | b'\t', rest @ ..] = line {
            if unfolded.ends_with(b"\n") {
                unfolded.pop();
            }
            if unfolded.ends_with(b"\r") {
                unfolded.pop();
            }
            unfolded.extend_from_slice(rest);
        } else {
            unfolded.extend_from_slice(line);
        }
    }
    String::from_utf8(unfolded).ok()
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
