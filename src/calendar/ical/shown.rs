//! PURE: what an event shows, as it is read back from a calendar's text: other clients write as they
//! like, so this understands more than we write, and nothing that no booking shows.

use booking::Content;
use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::super::notes::{Form, Parts, Run};
use super::super::zone::windows;
use super::{TEXT, ZONE, split, unescape, unfold};

/// How a time is written, without the `Z` of UTC.
const TIME: &str = "%Y%m%dT%H%M%S";

/// What the one event in a calendar's text shows, without the notes that its host has written beside
/// our text. `None`: something that no booking shows (a whole day, a series, a cancelled event, a time in
/// which its host is free), or nothing that can be understood.
pub fn read_content(text: &str) -> Option<Content> {
    let unfolded = unfold(text.trim_start_matches('\u{feff}'));
    let mut event = Shown::default();
    // The components that are open.
    let mut depth = 0_usize;
    let mut events = 0;
    let mut is_inside = false;
    for line in unfolded.split('\n') {
        let (name, value) = split(line);
        if name.eq_ignore_ascii_case("BEGIN") {
            depth += 1;
            if depth == 2 && value.trim().eq_ignore_ascii_case("VEVENT") {
                events += 1;
                is_inside = true;
            }
        } else if name.eq_ignore_ascii_case("END") {
            depth = depth.saturating_sub(1);
            is_inside &= depth >= 2;
        } else if is_inside && depth == 2 {
            // An alarm inside the event has properties of its own.
            event.note(name, &line[..line.len() - value.len()], value);
        }
    }
    if events == 1 { event.content() } else { None }
}

#[derive(Default)]
struct Shown {
    summary: Option<String>,
    description: Option<String>,
    run: Option<Run>,
    location: Option<String>,
    start: Option<(DateTime<Utc>, Tz)>,
    end: Option<(DateTime<Utc>, Tz)>,
    lasts: Option<Lasting>,
    zone: Option<Tz>,
    tentative: bool,
    is_other: bool,
}

impl Shown {
    /// `head`: the name with its parameters.
    fn note(&mut self, name: &str, head: &str, value: &str) {
        let text = || Some(unescape(value.trim_end_matches('\r')));
        match name.to_ascii_uppercase().as_str() {
            "SUMMARY" => self.summary = text(),
            "DESCRIPTION" => self.description = text().filter(|text| !text.is_empty()),
            "LOCATION" => self.location = text().filter(|text| !text.is_empty()),
            "DTSTART" => self.start = moment(head, value.trim()),
            "DTEND" => self.end = moment(head, value.trim()),
            "DURATION" => self.lasts = Lasting::parse(value.trim()),
            "STATUS" if value.trim().eq_ignore_ascii_case("CANCELLED") => self.is_other = true,
            "STATUS" => self.tentative = value.trim().eq_ignore_ascii_case("TENTATIVE"),
            "RRULE" | "RDATE" | "RECURRENCE-ID" => self.is_other = true,
            "TRANSP" if value.trim().eq_ignore_ascii_case("TRANSPARENT") => self.is_other = true,
            TEXT => self.run = Run::parse(value.trim()),
            ZONE => self.zone = value.trim().parse().ok(),
            _ => {}
        }
    }

    fn content(self) -> Option<Content> {
        let (start, said) = self.start?;
        let end = match (self.end, self.lasts) {
            (Some((end, _)), _) => end,
            (None, Some(lasts)) => lasts.after(start, said)?,
            (None, None) => return None,
        };
        let description = self.description.unwrap_or_default();
        (!self.is_other).then(|| Content {
            summary: self.summary.unwrap_or_default(),
            description: Parts::of(&description, Form::Plain, self.run).ours,
            location: self.location,
            start,
            end,
            zone: self.zone.unwrap_or(said),
            tentative: self.tentative,
        })
    }
}

/// How long an event lasts (RFC 5545 §3.3.6): days as the clock on the wall counts them, and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lasting {
    days: i64,
    seconds: i64,
}

impl Lasting {
    /// The largest number that is understood.
    const NUMBER_MAX: i64 = 1_000_000;

    /// `P1DT2H30M`, `P2W`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
        let (mut lasting, mut is_time) = (Self { days: 0, seconds: 0 }, false);
        let mut number: Option<i64> = None;
        for letter in text.chars() {
            if let Some(digit) = letter.to_digit(10) {
                let read = number.unwrap_or_default() * 10 + i64::from(digit);
                number = Some(read).filter(|read| *read <= Self::NUMBER_MAX);
                number?;
                continue;
            }
            match (letter, is_time, number.take()) {
                ('T', false, None) => is_time = true,
                ('W', false, Some(weeks)) => lasting.days += 7 * weeks,
                ('D', false, Some(days)) => lasting.days += days,
                ('H', true, Some(hours)) => lasting.seconds += 3_600 * hours,
                ('M', true, Some(minutes)) => lasting.seconds += 60 * minutes,
                ('S', true, Some(seconds)) => lasting.seconds += seconds,
                _ => return None,
            }
        }
        number.is_none().then_some(lasting)
    }

    /// The moment so long after another.
    fn after(self, start: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = start.with_timezone(&zone).naive_local();
        let day = local.checked_add_signed(TimeDelta::try_days(self.days)?)?;
        let day = if self.days == 0 {
            start
        } else {
            zone.from_local_datetime(&day).earliest()?.to_utc()
        };
        day.checked_add_signed(TimeDelta::try_seconds(self.seconds)?)
    }
}

/// A moment, and the zone in which it is said (RFC 5545 §3.3.5): of an hour that is lived twice, the
/// first is meant.
fn moment(head: &str, value: &str) -> Option<(DateTime<Utc>, Tz)> {
    if let Some(utc) = value.strip_suffix(['Z', 'z']) {
        let time = NaiveDateTime::parse_from_str(utc, TIME).ok()?;
        return Some((time.and_utc(), Tz::UTC));
    }
    let zone = zone(head)?;
    let local = NaiveDateTime::parse_from_str(value, TIME).ok()?;
    Some((zone.from_local_datetime(&local).earliest()?.to_utc(), zone))
}

/// The zone that a `TZID` names: by its IANA name, also where a client has put a path before it, or by
/// that of Windows.
fn zone(head: &str) -> Option<Tz> {
    let named = head.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("TZID").then(|| value.trim_end_matches(':').trim_matches('"'))
    })?;
    let path = |segments: usize| {
        let from = named.rmatch_indices('/').nth(segments - 1).map_or(0, |(at, _)| at + 1);
        named[from..].parse().ok()
    };
    windows::find(named).or_else(|| path(2)).or_else(|| path(3))
}

#[cfg(test)]
mod tests {
    use booking::{ConnectionId, IcalUid, Marker};
    use uuid::Uuid;

    use super::super::write;
    use super::*;

    fn content() -> Content {
        Content {
            summary: "Massage, ; \\ and more".to_owned(),
            description: Some("first\nsecond — ümläut ".repeat(9).trim().to_owned()),
            location: Some("Room 1".to_owned()),
            start: "2030-06-01T09:00:00Z".parse().unwrap(),
            end: "2030-06-01T10:00:00Z".parse().unwrap(),
            zone: Tz::Europe__Berlin,
            tentative: true,
        }
    }

    fn written(content: &Content) -> String {
        let uid = IcalUid::parse("a@example.com").unwrap();
        let connection = ConnectionId(Uuid::from_u128(1));
        write(&Marker { uid, connection, revision: 3, digest: content.digest() }, content)
    }

    #[test]
    fn what_we_write_is_read_back() {
        let repeated = |start: &str, end: &str| Content {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            ..content()
        };
        for content in [
            content(),
            Content { description: None, location: None, tentative: false, ..content() },
            Content { zone: Tz::UTC, ..content() },
            // The hour that is lived twice, and beyond the tables.
            repeated("2030-10-27T00:30:00Z", "2030-10-27T01:30:00Z"),
            repeated("2300-06-01T09:00:00Z", "2300-06-01T10:00:00Z"),
        ] {
            assert_eq!(read_content(&written(&content)), Some(content));
        }
    }

    #[test]
    fn what_a_client_has_changed_is_seen() {
        let text = written(&content()).replace("Room 1", "Room 2");
        assert_eq!(read_content(&text).unwrap().location.as_deref(), Some("Room 2"));
        let named =
            written(&content()).replace("TZID=Europe/Berlin", "TZID=\"/x.org/Europe/Berlin\"");
        assert_eq!(read_content(&named).unwrap(), content());
        let alarm = "BEGIN:VALARM\r\nSUMMARY:No\r\nEND:VALARM\r\nEND:VEVENT";
        let alarmed = written(&content()).replace("END:VEVENT", alarm);
        assert_eq!(read_content(&alarmed).unwrap(), content());
    }

    #[test]
    fn an_end_may_be_said_as_a_duration() {
        let text = written(&content());
        let (before, rest) = text.split_once("DTEND").unwrap();
        let (_, after) = rest.split_once("\r\n").unwrap();
        let lasting = |duration: &str| {
            read_content(&format!("{before}DURATION:{duration}\r\n{after}")).map(|it| it.end)
        };
        for duration in ["PT1H", "+PT60M", "PT0H59M60S", "P0DT1H"] {
            assert_eq!(lasting(duration), Some(content().end), "{duration}");
        }
        // A day is one of the calendar's: this one, in which the clocks change, has 25 hours.
        let start = "2030-10-26T10:00:00Z".parse().unwrap();
        let day = Lasting::parse("P1DT1H").unwrap().after(start, Tz::Europe__Berlin);
        assert_eq!(day, Some("2030-10-27T12:00:00Z".parse().unwrap()));
        assert_eq!(Lasting::parse("P2W").map(|it| it.days), Some(14));
        for other in ["", "P1", "1D", "-PT1H", "PT1D", "P1H", "PTT1H", "P9999999D", "PT1H1"] {
            assert_eq!(lasting(other), None, "{other}");
        }
    }

    /// Outlook's name of Berlin's zone, and that of one like it.
    #[test]
    fn zones_of_windows_are_understood() {
        for (name, zone) in [
            ("W. Europe Standard Time", Tz::Europe__Berlin),
            ("\"Romance Standard Time\"", Tz::Europe__Paris),
        ] {
            let text = written(&content()).replace("TZID=Europe/Berlin", &format!("TZID={name}"));
            assert_eq!(read_content(&text), Some(Content { zone, ..content() }), "{name}");
        }
    }

    #[test]
    fn what_no_booking_shows_is_none() {
        let text = written(&content());
        let free = text.replace("TRANSP:OPAQUE", "TRANSP:TRANSPARENT");
        assert_eq!((free != text, read_content(&free)), (true, None));
        for line in ["RRULE:FREQ=DAILY", "STATUS:CANCELLED", "DTSTART;VALUE=DATE:20300601"] {
            let other = text.replace("END:VEVENT", &format!("{line}\r\nEND:VEVENT"));
            assert_eq!(read_content(&other), None, "{line}");
        }
        let event = &text[text.find("BEGIN:VEVENT").unwrap()..text.find("END:VCALENDAR").unwrap()];
        assert_eq!(read_content(&text.replace("END:VCALENDAR", event)), None, "two of them");
        for nonsense in ["", "BEGIN:VEVENT", "END:VEVENT\nEND:VEVENT", "DTSTART:1\n:\n"] {
            assert_eq!(read_content(nonsense), None, "{nonsense}");
        }
    }
}
