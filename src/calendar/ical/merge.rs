//! PURE: our event with what its host has put into it (rule R20). A PUT replaces the whole object, and
//! her reminders, colour, categories and guests would be gone.
//!
//! What we write, and what says the same in other words, comes from our object; every other property
//! and component of the event stays as she, or her program, has written it. An `ORGANIZER` and
//! `ATTENDEE`s are hers as well: that they make the server send mail (RFC 6638 §3.1) was her wish. A
//! series that she has made of it is an edit of ours: `RRULE` and its like go, and so do the other
//! events of the object.

use std::collections::{BTreeMap, BTreeSet};

use super::super::notes::{Form, Notes, Parts, Run};
use super::{OBJECT_LEN_MAX, TEXT, fold, split, unescape, unfold};

/// The properties of an event that are ours, beside those that begin with [`OURS`].
const PROPERTIES: [&str; 22] = [
    "UID",
    "DTSTAMP",
    "DTSTART",
    "DTEND",
    "DURATION",
    "SUMMARY",
    "DESCRIPTION",
    "LOCATION",
    "STATUS",
    "TRANSP",
    "SEQUENCE",
    // Of a revision that is over.
    "LAST-MODIFIED",
    // A series.
    "RRULE",
    "RDATE",
    "EXDATE",
    "EXRULE",
    "RECURRENCE-ID",
    // The description in HTML.
    "X-ALT-DESC",
    "STYLED-DESCRIPTION",
    // Whether the time is free, in Outlook's words.
    "X-MICROSOFT-CDO-BUSYSTATUS",
    "X-MICROSOFT-CDO-INTENDEDSTATUS",
    "X-MICROSOFT-CDO-ALLDAYEVENT",
];
/// What says in other words where the place is that stands beside them.
const PLACES: [&str; 2] = ["GEO", "X-APPLE-STRUCTURED-LOCATION"];
/// What of ours is looked at where it stands.
const LOOKED_AT: [&str; 5] = ["DTSTART", "DTEND", "DTSTAMP", "SEQUENCE", "LOCATION"];
/// How the names of our own properties begin.
const OURS: &str = "X-BOOKING-";
/// The highest SEQUENCE (RFC 5545 §3.3.8: an INTEGER has 32 bits, with its sign).
const SEQUENCE_MAX: u32 = 0x7fff_ffff;
/// The longest notes that are kept, in bytes.
const NOTES_LEN_MAX: usize = 256 * 1024;

/// What a host has put into an event.
#[derive(Default)]
struct Hers {
    /// Properties and components of the event, each in its lines.
    items: Vec<Vec<String>>,
    /// Zones, by their names.
    zones: Vec<(String, Vec<String>)>,
    notes: Option<Notes>,
    /// What stands there of ours: the lines by their names.
    there: BTreeMap<&'static str, String>,
}

impl Hers {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.notes.is_none()
    }
}

/// Whether a calendar's text holds anything of its host's.
pub fn has_hers(text: &str) -> bool {
    read(text).is_some_and(|hers| !hers.is_empty())
}

/// Our event, with what its host has put into the event that stands there. Where that holds nothing
/// of hers, or is no event, these are our bytes; what does not fit into [`OBJECT_LEN_MAX`] is left out.
pub fn merge(ours: &str, there: &str) -> String {
    let Some(hers) = read(there).filter(|hers| !hers.is_empty()) else {
        return ours.to_owned();
    };
    let unfolded = unfold(ours);
    let description = hers.notes.as_ref().map(|notes| {
        let own = line_of(&unfolded, "DESCRIPTION").map(text_in);
        format!("DESCRIPTION:{}", escape(&notes.around(own.as_deref())))
    });
    let zones = zones_of(&unfolded);
    let mut room = OBJECT_LEN_MAX.saturating_sub(ours.len());
    let mut take = |lines: &[String]| {
        let text: String = lines.iter().map(|line| fold(line)).collect();
        room.checked_sub(text.len()).map(|left| {
            room = left;
            text
        })
    };
    let description = description.and_then(|line| take(&[line]));
    let place = line_of(&unfolded, "LOCATION").map(text_in);
    let is_elsewhere = place != hers.there.get("LOCATION").map(|line| text_in(line));
    let is_of_there =
        |item: &&Vec<String>| is_elsewhere && PLACES.iter().any(|it| is_named(item, it));
    let items = hers.items.iter().filter(|item| !is_of_there(item));
    let items: Vec<String> = items.filter_map(|item| take(item)).collect();
    let named = zones_named(&hers.items);
    let is_wanted =
        |zone: &&(String, Vec<String>)| named.contains(&zone.0) && !zones.contains(&zone.0);
    let zones = hers.zones.iter().filter(is_wanted).filter_map(|(_, lines)| take(lines));
    let zones: String = zones.collect();

    let mut merged = String::with_capacity(ours.len());
    for line in unfolded.lines() {
        let is_description = description.is_some() && split(line).0 == "DESCRIPTION";
        match line {
            "BEGIN:VEVENT" => merged.push_str(&zones),
            "END:VEVENT" => {
                merged.extend(description.iter().map(String::as_str));
                merged.extend(items.iter().map(String::as_str));
            }
            _ => {}
        }
        if !is_description {
            merged.push_str(&fold(&hers.newer(line, &unfolded)));
        }
    }
    merged
}

/// The line of a property in the event of an object of ours.
fn line_of<'a>(unfolded: &'a str, name: &str) -> Option<&'a str> {
    let (_, event) = unfolded.split_once("BEGIN:VEVENT")?;
    event.lines().find(|line| split(line).0 == name)
}

fn text_in(line: &str) -> String {
    unescape(split(line).1)
}

fn is_named(item: &[String], name: &str) -> bool {
    item.first().is_some_and(|line| split(line).0.eq_ignore_ascii_case(name))
}

/// What is the host's in the first event of a text that is no exception of a series. `None`: there is
/// no such event, or its lines are in no order.
fn read(text: &str) -> Option<Hers> {
    let unfolded = unfold(text.trim_start_matches('\u{feff}'));
    let mut hers = Hers::default();
    let mut open: Vec<&str> = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut event: Option<Vec<&str>> = None;
    for line in unfolded.lines() {
        let (name, value) = split(line);
        let value = value.trim();
        if name.eq_ignore_ascii_case("BEGIN") {
            open.push(value);
            if open.len() == 2 {
                lines.clear();
            }
        } else if name.eq_ignore_ascii_case("END")
            && !open.pop().is_some_and(|begun| begun.eq_ignore_ascii_case(value))
        {
            return None;
        }
        if open.len() >= 2 {
            lines.push(line);
        } else if name.eq_ignore_ascii_case("END") && open.len() == 1 {
            lines.push(line);
            let is_exception =
                || lines.iter().any(|line| split(line).0.eq_ignore_ascii_case("RECURRENCE-ID"));
            if value.eq_ignore_ascii_case("VTIMEZONE") {
                hers.zone(&lines);
            } else if value.eq_ignore_ascii_case("VEVENT") && event.is_none() && !is_exception() {
                event = Some(std::mem::take(&mut lines));
            }
        }
    }
    let event = event?;
    hers.take(event.get(1..event.len() - 1)?);
    Some(hers)
}

impl Hers {
    /// A line of ours. Where she has guests, their calendars obey nothing that is older than what they
    /// know (RFC 5546 §2.1.5): a lower SEQUENCE, or an earlier DTSTAMP; and a move has a higher one.
    fn newer(&self, line: &str, ours: &str) -> String {
        let name = split(line).0;
        let there = self.there.get(name).map(|line| split(line).1.trim());
        let Some(there) = there.filter(|_| self.items.iter().any(|it| is_named(it, "ATTENDEE")))
        else {
            return line.to_owned();
        };
        let said = split(line).1.trim();
        match name {
            "SEQUENCE" => {
                let number = |text: &str| text.parse::<u32>().unwrap_or_default();
                let moved = u32::from(self.is_moved(ours));
                let least = number(there).saturating_add(moved).min(SEQUENCE_MAX);
                format!("SEQUENCE:{}", number(said).max(least))
            }
            // Both in UTC, in one form (RFC 5545 §3.8.7.2): the later one is the greater.
            "DTSTAMP" if there.len() == said.len() => format!("DTSTAMP:{}", said.max(there)),
            _ => line.to_owned(),
        }
    }

    /// Whether our event is at another time than the one that stands there.
    fn is_moved(&self, ours: &str) -> bool {
        let differs = |name| line_of(ours, name) != self.there.get(name).map(String::as_str);
        ["DTSTART", "DTEND"].into_iter().any(differs)
    }

    fn zone(&mut self, lines: &[&str]) {
        let name = lines
            .iter()
            .map(|line| split(line))
            .find(|(name, _)| name.eq_ignore_ascii_case("TZID"));
        if let Some((_, name)) = name
            && self.zones.iter().all(|(known, _)| known != name.trim())
        {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            self.zones.push((name.trim().to_owned(), lines));
        }
    }

    /// `lines`: those of the event, without its first and last.
    fn take(&mut self, lines: &[&str]) {
        let mut depth = 0_usize;
        let (mut text, mut run) = (None, None);
        for line in lines {
            let (name, value) = split(line);
            let begins = name.eq_ignore_ascii_case("BEGIN");
            if depth == 0 && !begins {
                match name.to_ascii_uppercase().as_str() {
                    "DESCRIPTION" => text = Some(unescape(value)),
                    TEXT => run = Run::parse(value.trim()),
                    name if is_ours(name) || !is_name(name) => {
                        let known = LOOKED_AT.into_iter().find(|known| *known == name);
                        self.there.extend(known.map(|known| (known, (*line).to_owned())));
                    }
                    _ => self.items.push(vec![(*line).to_owned()]),
                }
                continue;
            }
            if depth == 0 {
                self.items.push(Vec::new());
            }
            depth += usize::from(begins);
            depth -= usize::from(name.eq_ignore_ascii_case("END"));
            if let Some(component) = self.items.last_mut().filter(|_| is_name(name)) {
                component.push((*line).to_owned());
            }
        }
        let parts = Parts::of(&text.unwrap_or_default(), Form::Plain, run);
        self.notes = parts.hers.map(|notes| notes.up_to(NOTES_LEN_MAX));
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(OURS) || PROPERTIES.contains(&name)
}

/// RFC 5545 §3.1: letters, digits and hyphens. A line without a name would make the object invalid.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The zones that an object defines.
fn zones_of(unfolded: &str) -> BTreeSet<String> {
    let zones = unfolded.lines().filter_map(|line| line.strip_prefix("TZID:"));
    zones.map(|name| name.trim().to_owned()).collect()
}

/// The zones that lines name in a parameter.
fn zones_named(items: &[Vec<String>]) -> BTreeSet<String> {
    let parameters = items.iter().flatten().flat_map(|line| {
        let head = &line[..line.len() - split(line).1.len()];
        head.trim_end_matches(':').split(';').skip(1)
    });
    let zones = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("TZID").then(|| value.trim_matches('"').to_owned())
    });
    zones.collect()
}

/// A TEXT (RFC 5545 §3.3.11).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").chars() {
        match character {
            '\\' | ';' | ',' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            other if other.is_control() && other != '\t' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
