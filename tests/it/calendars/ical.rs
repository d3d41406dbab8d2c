//! The iCalendar text: its exact lines, the hours that do not exist or come twice, and the way
//! back, also in the eyes of another parser.

use booking::{Content, Digest};
use calendar_sync::calendar::ical::{read_marker, write};
use calendar_sync::calendar::zone;
use chrono::{DateTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use icalendar::Component as _;
use proptest::prelude::*;

use super::{at, content, marker};

fn lines(content: &Content) -> Vec<String> {
    let text = write(&marker(content, 3), content);
    text.trim_end().split("\r\n").map(ToOwned::to_owned).collect()
}

fn line(content: &Content, name: &str) -> String {
    let unfolded = write(&marker(content, 3), content).replace("\r\n ", "");
    // A VTIMEZONE has a DTSTART of its own.
    let (_, event) = unfolded.split_once("BEGIN:VEVENT").expect("an event");
    let found = event.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':') || rest.starts_with(';'))
    });
    found.unwrap_or_default().to_owned()
}

/// L6, L19: the revision is the SEQUENCE, and the zone is said.
#[test]
fn an_event_is_written_line_by_line() {
    let content = Content {
        description: Some("Short, please".to_owned()),
        location: Some("Main Street 1; Berlin".to_owned()),
        ..content()
    };
    let expected = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//calendar-sync//EN",
        "CALSCALE:GREGORIAN",
        "BEGIN:VTIMEZONE",
        "TZID:Europe/Berlin",
        "BEGIN:STANDARD",
        "DTSTART:20251231T010000",
        "TZOFFSETFROM:+0100",
        "TZOFFSETTO:+0100",
        "TZNAME:CET",
        "END:STANDARD",
        "BEGIN:DAYLIGHT",
        "DTSTART:20260329T020000",
        "TZOFFSETFROM:+0100",
        "TZOFFSETTO:+0200",
        "TZNAME:CEST",
        "END:DAYLIGHT",
        "BEGIN:STANDARD",
        "DTSTART:20261025T030000",
        "TZOFFSETFROM:+0200",
        "TZOFFSETTO:+0100",
        "TZNAME:CET",
        "END:STANDARD",
        "END:VTIMEZONE",
        "BEGIN:VEVENT",
        "DESCRIPTION:Short\\, please",
        "DTEND;TZID=Europe/Berlin:20260701T110000",
        "DTSTAMP:20000101T000003Z",
        "DTSTART;TZID=Europe/Berlin:20260701T100000",
        "LOCATION:Main Street 1\\; Berlin",
        "SEQUENCE:3",
        "STATUS:CONFIRMED",
        "SUMMARY:Haircut",
        "TRANSP:OPAQUE",
        "UID:booking-42@example.com",
        "X-BOOKING-CONNECTION:00000000-0000-0000-0000-0000c0ffee00",
        &format!("X-BOOKING-DIGEST:{}", content.digest()),
        "X-BOOKING-REVISION:3",
        &format!("X-BOOKING-TEXT:2:{}", Digest::of([&b"Short,"[..], b"please"])),
        "END:VEVENT",
        "END:VCALENDAR",
    ];
    assert_eq!(lines(&content), expected);
}

/// The `icalendar` crate adds a random UID and the machine's hour where it is given none.
#[test]
fn nothing_of_chance_or_of_the_clock_gets_in() {
    let content = Content { zone: Tz::UTC, ..content() };
    let text = write(&marker(&content, 3), &content);
    assert_eq!(text, write(&marker(&content, 3), &content));
    let expected = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//calendar-sync//EN",
        "CALSCALE:GREGORIAN",
        "BEGIN:VEVENT",
        "DTEND:20260701T090000Z",
        "DTSTAMP:20000101T000003Z",
        "DTSTART:20260701T080000Z",
        "SEQUENCE:3",
        "STATUS:CONFIRMED",
        "SUMMARY:Haircut",
        "TRANSP:OPAQUE",
        "UID:booking-42@example.com",
        "X-BOOKING-CONNECTION:00000000-0000-0000-0000-0000c0ffee00",
        &format!("X-BOOKING-DIGEST:{}", content.digest()),
        "X-BOOKING-REVISION:3",
        &format!("X-BOOKING-TEXT:0:{}", Digest::of([])),
        "END:VEVENT",
        "END:VCALENDAR",
    ];
    assert_eq!(lines(&content), expected);
}

/// The `icalendar` crate's own folding turns for ever, or panics, at titles like these.
#[test]
fn emoji_and_spaces_in_any_mixture_are_folded() {
    let spaces = (char::MIN..=char::MAX).filter(|c| c.is_whitespace() && !c.is_control());
    for space in spaces.chain(['\t']) {
        for count in 1..60 {
            let summary = format!("a{}{}z", "😀".repeat(count), space.to_string().repeat(150));
            let location = Some(format!("{}{}z", "虎".repeat(count), " x".repeat(150)));
            let content = Content { summary, location, zone: Tz::UTC, ..content() };
            let text = write(&marker(&content, 3), &content);
            assert!(text.split("\r\n").all(|line| line.len() <= 75));
            let unfolded = text.replace("\r\n ", "");
            assert!(unfolded.contains(&format!("\r\nSUMMARY:{}\r\n", content.summary)));
            let location = content.location.unwrap_or_default();
            assert!(unfolded.contains(&format!("\r\nLOCATION:{location}\r\n")));
        }
    }
}

/// What no TEXT can say is dropped, so that nothing can pass for one of our stand-ins.
#[test]
fn control_characters_are_dropped() {
    let controls: String = (char::MIN..='\u{9f}').filter(|c| c.is_control()).collect();
    let content = Content { summary: format!("a{controls}b"), ..content() };
    assert_eq!(line(&content, "SUMMARY"), "SUMMARY:a\t\\nb");
}

#[test]
fn a_tentative_event_says_so() {
    assert_eq!(line(&Content { tentative: true, ..content() }, "STATUS"), "STATUS:TENTATIVE");
}

#[test]
fn a_zone_that_is_utc_needs_no_rules() {
    let content = Content { zone: Tz::Etc__UTC, ..content() };
    assert_eq!(line(&content, "DTSTART"), "DTSTART:20260701T080000Z");
    assert_eq!(line(&content, "DTEND"), "DTEND:20260701T090000Z");
    let text = lines(&content).join("\n");
    assert!(!text.contains("VTIMEZONE") && !text.contains("X-BOOKING-TZID"), "{text}");
}

/// L19: an hour that the clock leaps over.
#[test]
fn an_event_across_the_gap_keeps_its_length() {
    let (start, end) = (at("2026-03-29T00:30:00Z"), at("2026-03-29T01:30:00Z"));
    let content = Content { start, end, ..content() };
    assert_eq!(line(&content, "DTSTART"), "DTSTART;TZID=Europe/Berlin:20260329T013000");
    assert_eq!(line(&content, "DTEND"), "DTEND;TZID=Europe/Berlin:20260329T033000");
}

/// L19: an hour that is lived twice. A local time means its first pass (RFC 5545 §3.3.5), so that
/// the second is written in UTC.
#[test]
fn the_second_pass_of_an_hour_is_written_in_utc() {
    let (start, end) = (at("2026-10-25T00:00:00Z"), at("2026-10-25T00:30:00Z"));
    let first = Content { start, end, ..content() };
    assert_eq!(line(&first, "DTSTART"), "DTSTART;TZID=Europe/Berlin:20261025T020000");

    let hour = TimeDelta::hours(1);
    let second = Content { start: start + hour, end: end + hour, ..content() };
    assert_eq!(line(&second, "DTSTART"), "DTSTART:20261025T010000Z");
    assert_eq!(line(&second, "DTEND"), "DTEND:20261025T013000Z");
    assert_eq!(line(&second, "X-BOOKING-TZID"), "X-BOOKING-TZID:Europe/Berlin");

    let ends_in_it = Content { start, end: end + hour, ..content() };
    assert_eq!(line(&ends_in_it, "DTSTART"), "DTSTART:20261025T000000Z");
    assert_eq!(line(&ends_in_it, "DTEND"), "DTEND:20261025T013000Z");
}

/// L19.
#[test]
fn an_event_across_midnight_ends_on_the_next_day() {
    let (start, end) = (at("2026-12-31T22:30:00Z"), at("2027-01-01T00:30:00Z"));
    let content = Content { start, end, ..content() };
    assert_eq!(line(&content, "DTSTART"), "DTSTART;TZID=Europe/Berlin:20261231T233000");
    assert_eq!(line(&content, "DTEND"), "DTEND;TZID=Europe/Berlin:20270101T013000");
    let onsets = lines(&content).iter().filter(|line| line.starts_with("TZOFFSETFROM")).count();
    assert_eq!(onsets, 5, "two changes in each of two years, and what held before");
}

/// L19.
#[test]
fn an_event_of_two_hundred_days_is_said_in_both_offsets() {
    let start = at("2026-02-01T09:00:00Z");
    let content = Content { start, end: start + TimeDelta::days(200), ..content() };
    assert_eq!(line(&content, "DTSTART"), "DTSTART;TZID=Europe/Berlin:20260201T100000");
    assert_eq!(line(&content, "DTEND"), "DTEND;TZID=Europe/Berlin:20260820T110000");
}

#[test]
fn times_beyond_the_zone_tables_are_written_in_utc() {
    for (start, years) in
        [("2099-07-01T08:00:00Z", 0), ("1912-07-01T08:00:00Z", 0), ("2026-07-01T08:00:00Z", 9)]
    {
        let start = at(start);
        let end = start + TimeDelta::hours(1) + TimeDelta::days(365 * years);
        let content = Content { start, end, ..content() };
        assert!(line(&content, "DTSTART").starts_with("DTSTART:"), "{start}");
        assert_eq!(line(&content, "X-BOOKING-TZID"), "X-BOOKING-TZID:Europe/Berlin");
    }
}

#[test]
fn no_time_makes_the_writer_panic() {
    for zone in [Tz::Pacific__Kiritimati, Tz::Pacific__Niue, Tz::UTC] {
        let (start, end) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        let content = Content { start, end, zone, ..content() };
        assert!(read_marker(&write(&marker(&content, i64::MAX), &content)).is_some());
    }
}

#[test]
fn a_fraction_of_a_second_is_covered() {
    let (start, end) = (at("2026-07-01T08:00:00.4Z"), at("2026-07-01T08:00:00.6Z"));
    let content = Content { start, end, zone: Tz::UTC, ..content() };
    assert_eq!(line(&content, "DTSTART"), "DTSTART:20260701T080000Z");
    assert_eq!(line(&content, "DTEND"), "DTEND:20260701T080001Z");
}

#[test]
fn every_special_character_survives() {
    let summary = r#"a\b;c,d:e"f\n—ünï 虎𝄞👩‍👩‍👧"#;
    let description = "שלום עולם\nمرحبا\tبالعالم, \\;\n\nend\\".to_owned();
    let content = Content {
        summary: summary.to_owned(),
        description: Some(description.clone()),
        ..content()
    };
    let text = write(&marker(&content, 3), &content);
    let parsed: icalendar::Calendar = text.parse().unwrap();
    let event = parsed.components.iter().find_map(|component| component.as_event()).unwrap();
    assert_eq!(event.get_summary(), Some(summary));
    assert_eq!(event.get_description(), Some(description.as_str()));
    assert_eq!(event.property_value("X-BOOKING-REVISION"), Some("3"));
}

/// Every zone's rules say the same as the zone, at and around each change.
#[test]
fn the_rules_of_every_zone_read_back_to_the_same_instants() {
    for zone in chrono_tz::TZ_VARIANTS {
        for year in [2026, 2037, 2098] {
            let start = at(&format!("{year}-01-10T00:00:00Z"));
            let rules = zone::rules(zone, start, start + TimeDelta::days(340)).unwrap();
            for week in 0..48 {
                let instant = start + TimeDelta::days(7 * week);
                if !zone::says(zone, instant) {
                    continue;
                }
                let local = instant.with_timezone(&zone).naive_local();
                assert_eq!(read(&rules, local), instant, "{zone} {instant}");
            }
            for change in &rules.observances {
                let instant = (change.onset - offset(change.from_s)).and_utc();
                for near in [-3601, -1, 0, 1, 3599, 3600, 7200] {
                    let instant = instant + TimeDelta::seconds(near);
                    if zone::says(zone, instant) && instant > start {
                        let local = instant.with_timezone(&zone).naive_local();
                        assert_eq!(read(&rules, local), instant, "{zone} {instant}");
                    }
                }
            }
        }
    }
}

fn offset(seconds: i32) -> TimeDelta {
    TimeDelta::seconds(i64::from(seconds))
}

/// What RFC 5545 §3.6.5 makes of a local time: the observance with the latest onset not after it
/// holds, onsets being said in the offset of before; and in the repeated hour, the first pass.
fn read(rules: &zone::Rules, local: NaiveDateTime) -> DateTime<Utc> {
    let held = rules.observances.iter().rev().find(|observance| {
        let back = TimeDelta::seconds(i64::from((observance.from_s - observance.to_s).max(0)));
        let repeated = observance.onset - back <= local && local < observance.onset;
        !repeated && observance.onset <= local
    });
    let to_s = held.map_or_else(|| rules.observances[0].to_s, |observance| observance.to_s);
    let utc = local - offset(to_s);
    let fixed = rules.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    assert_eq!(fixed, to_s, "{} {local}", rules.zone);
    utc.and_utc()
}

/// A server may reorder, fold elsewhere, use other cases and add its own.
#[test]
fn a_marker_is_read_through_what_servers_do_to_a_text() {
    let marker = marker(&content(), 7);
    let digest = marker.digest.to_string();
    let (head, tail) = digest.split_at(9);
    let text = format!(
        "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nUID:other\nEND:VTIMEZONE\n\nBEGIN:VEVENT\n\
         x-booking-digest;X-A=\"b:c;d\":{head}\n\t{tail}\nX-BOOKING-REVISION:7 \n\
         BEGIN:VALARM\nUID:alarm\nX-BOOKING-REVISION:9\nEND:VALARM\n\
         X-BOOKING-CONNEC\r\n TION:{}\nuid:booking-42@exam\n ple.com\nEND:VEVENT\nEND:VCALENDAR",
        marker.connection
    );
    assert_eq!(read_marker(&text), Some(marker));
}

#[test]
fn a_marker_is_whole_or_not_at_all() {
    let text = write(&marker(&content(), 3), &content());
    for name in ["UID:", "X-BOOKING-CONNECTION:", "X-BOOKING-REVISION:", "X-BOOKING-DIGEST:"] {
        assert_eq!(read_marker(&text.replace(name, "X-GONE:")), None, "{name}");
        assert_eq!(read_marker(&text.replace(name, &format!("{name}\u{fc}-"))), None, "{name}");
    }
    let nested = "BEGIN:VEVENT\n".repeat(100_000);
    for other in ["", "<html>", "BEGIN:VEVENT", "END:VEVENT\nEND:VEVENT", nested.as_str()] {
        assert_eq!(read_marker(other), None);
    }
}

proptest! {
    #[test]
    fn a_text_is_well_formed_and_reads_back(
        summary in "(\\PC|[ 😀]){1,200}",
        description in proptest::option::of("(\\PC|[ \u{a0}\n\t𝄞虎]){1,300}"),
        uid in "[!-~]{1,255}",
        revision in 0_i64..1_000_000,
        start_s in 0_i64..4_000_000_000,
        length_s in 1_i64..20_000_000,
        zone in 0_usize..chrono_tz::TZ_VARIANTS.len(),
    ) {
        let start = DateTime::from_timestamp(start_s, 0).unwrap();
        let end = start + TimeDelta::seconds(length_s);
        let zone = chrono_tz::TZ_VARIANTS[zone];
        let content = Content { summary, description, start, end, zone, ..content() };
        let marker = booking::Marker { uid: super::uid(&uid), ..marker(&content, revision) };
        let text = write(&marker, &content);

        prop_assert!(text.ends_with("END:VCALENDAR\r\n"));
        for line in text.split("\r\n") {
            prop_assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{:?}", line);
        }
        prop_assert_eq!(&write(&marker, &content), &text);
        prop_assert_eq!(read_marker(&text), Some(marker));
        let parsed: icalendar::Calendar = text.parse().unwrap();
        let event = parsed.components.iter().find_map(|component| component.as_event()).unwrap();
        prop_assert_eq!(event.get_summary(), Some(content.summary.as_str()));
        prop_assert_eq!(event.get_description(), content.description.as_deref());
    }
}
