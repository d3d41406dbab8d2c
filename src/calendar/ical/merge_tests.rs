use booking::{ConnectionId, Content, IcalUid, Marker};
use chrono_tz::Tz;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::{read_content, read_marker, write};
use super::*;

fn content(revision: i64, description: Option<&str>, zone: Tz) -> Content {
    Content {
        summary: format!("Massage {revision}"),
        description: description.map(str::to_owned),
        location: Some("Room 1; left, please".to_owned()),
        start: "2030-06-01T09:00:00Z".parse().unwrap(),
        end: "2030-06-01T10:00:00Z".parse().unwrap(),
        zone,
        tentative: false,
    }
}

fn written(revision: i64, content: &Content) -> String {
    let uid = IcalUid::parse("a@example.com").unwrap();
    let connection = ConnectionId(Uuid::from_u128(1));
    write(&Marker { uid, connection, revision, digest: content.digest() }, content)
}

fn ours(revision: i64) -> String {
    written(revision, &content(revision, Some("Bring, a towel."), Tz::Europe__Berlin))
}

/// As the host's program writes it: these lines in the event.
fn with(text: &str, lines: &str) -> String {
    text.replace("END:VEVENT", &format!("{lines}\r\nEND:VEVENT"))
}

fn event_of(text: &str) -> Vec<String> {
    unfold(text).lines().map(str::to_owned).collect()
}

const HERS: &str = "ATTENDEE;CN=\"Bob: the, guest\";PARTSTAT=NEEDS-ACTION:mailto:bob@example.com\r\n\
                    ORGANIZER:mailto:anna@example.com\r\n\
                    CATEGORIES:Red,Mine\\, too\r\n\
                    COLOR:red\r\n\
                    X-APPLE-TRAVEL-ADVISORY-BEHAVIOR;ACKNOWLEDGED=20300101T000000Z:AUTOMATIC\r\n\
                    BEGIN:VALARM\r\n\
                    ACTION:DISPLAY\r\n\
                    DESCRIPTION:Soon\r\n\
                    SUMMARY:of the alarm\r\n\
                    TRIGGER:-PT30M\r\n\
                    END:VALARM";

#[test]
fn an_object_of_ours_alone_is_replaced_by_our_bytes() {
    let reordered: Vec<String> = {
        let mut lines = event_of(&ours(0));
        let at = lines.iter().position(|line| line == "BEGIN:VEVENT").unwrap();
        let end = lines.len() - 2;
        lines[at + 1..end].reverse();
        lines
    };
    for there in [ours(0), reordered.join("\n"), with(&ours(0), "LAST-MODIFIED:20300101T000000Z")] {
        assert!(!has_hers(&there), "{there}");
        assert_eq!(merge(&ours(1), &there), ours(1));
    }
}

#[test]
fn what_the_host_has_put_in_stays_line_by_line() {
    let merged = merge(&ours(1), &with(&ours(0), HERS));
    let lines = event_of(&merged);
    for line in HERS.lines() {
        assert!(lines.iter().any(|it| it == line), "{line}\n{merged}");
    }
    let mut expected = event_of(&with(&ours(1), HERS));
    let mut lines = lines;
    assert_eq!(lines, expected, "ours, and then hers");
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(read_marker(&merged).unwrap().revision, 1);
    assert_eq!(read_content(&merged), read_content(&ours(1)));
    assert!(merged.split("\r\n").all(|line| line.len() <= 75));
}

#[test]
fn her_notes_stay_around_our_new_text() {
    let noted =
        ours(0).replace("Bring\\, a towel.", "Ring\\; twice\\nBring\\, a towel.\\n\\nBob knows");
    assert!(has_hers(&noted));
    let shown = |text: &str| {
        let lines = event_of(text);
        let line = lines.iter().find(|line| line.starts_with("DESCRIPTION:")).cloned();
        unescape(&line.unwrap_or_default()["DESCRIPTION:".len()..])
    };
    let new = written(1, &content(1, Some("A towel is here."), Tz::UTC));
    let merged = merge(&new, &noted);
    assert_eq!(shown(&merged), "Ring; twice\nA towel is here.\n\nBob knows");
    let description = read_content(&merged).unwrap().description;
    assert_eq!(description.as_deref(), Some("A towel is here."), "notes are no edit");
    let none = written(2, &content(2, None, Tz::UTC));
    let without = merge(&none, &merged);
    assert_eq!(shown(&without), "Ring; twice\n\n\nBob knows");
    assert_eq!(read_content(&without).unwrap().description, None);
    let back = merge(&new, &without);
    assert_eq!(shown(&back), "A towel is here.\n\nRing; twice\n\n\nBob knows");
    // An edit of ours is written over.
    let edited = ours(0).replace("Bring\\, a towel.", "No towel.");
    assert_eq!(merge(&new, &edited), new);
    assert_eq!(read_content(&edited).unwrap().description.as_deref(), Some("No towel."));
    // What an earlier version wrote, or somebody else.
    let lines = event_of(&noted).into_iter().filter(|line| !line.starts_with("X-BOOKING-TEXT"));
    let unmarked: Vec<_> = lines.collect();
    assert_eq!(merge(&new, &unmarked.join("\r\n")), new);
}

#[test]
fn a_zone_stays_only_where_something_of_hers_names_it() {
    let zone = |name: &str| {
        format!(
            "BEGIN:VTIMEZONE\r\nTZID:{name}\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n\
             TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        )
    };
    let there = with(&ours(0), "X-SEEN;TZID=\"Mine\":20300601T000000\r\nX-AT;tzid=Europe/Berlin:1");
    let zones = zone("Mine") + &zone("Unused") + "BEGIN:VEVENT";
    let there = there.replace("BEGIN:VEVENT", &zones);
    let merged = merge(&ours(1), &there);
    assert_eq!(merged.matches("TZID:Mine").count(), 1);
    assert_eq!(merged.matches("TZID:Unused").count(), 0);
    assert_eq!(merged.matches("TZID:Europe/Berlin").count(), 1, "ours");
    assert!(merged.find("TZID:Mine") < merged.find("BEGIN:VEVENT"));
    // Ours are said in UTC by now.
    let utc = written(2, &content(2, None, Tz::UTC));
    assert_eq!(merge(&utc, &merged).matches("TZID:Europe/Berlin").count(), 1);
}

/// Apple's clients show the structured place, not ours.
#[test]
fn another_place_goes_with_all_that_says_it() {
    let apple = "GEO:52.5;13.4\r\nX-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE=Cafe:geo:52.5,13.4";
    let same = with(&ours(0), apple);
    assert_eq!(merge(&ours(1), &same), with(&ours(1), apple), "of our own place");
    let room = "LOCATION:Room 1\\; left\\, please";
    let elsewhere = same.replace(room, "LOCATION:Cafe");
    assert!(elsewhere.contains("LOCATION:Cafe"));
    assert_eq!(merge(&ours(1), &elsewhere), ours(1));
    let nowhere = same.replace(&format!("{room}\r\n"), "");
    assert_eq!(merge(&ours(1), &nowhere), ours(1));
    let outlooks = "X-MICROSOFT-CDO-BUSYSTATUS:FREE\r\nSTYLED-DESCRIPTION;VALUE=TEXT:<p>No.</p>";
    assert_eq!(merge(&ours(1), &with(&ours(0), outlooks)), ours(1));
}

/// Her guests' calendars obey nothing older than what they know (RFC 5546 §2.1.5).
#[test]
fn what_guests_are_told_is_newer_than_what_they_know() {
    let sequence = |text: &str| {
        let lines = event_of(text);
        let value =
            |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        (value("SEQUENCE:").unwrap(), value("DTSTAMP:").unwrap())
    };
    let own = sequence(&ours(0));
    let told = |text: &str| {
        let text = text.replace(&format!("SEQUENCE:{}", own.0), "SEQUENCE:7");
        text.replace(&format!("DTSTAMP:{}", own.1), "DTSTAMP:20990101T000000Z")
    };
    let guest = "ATTENDEE:mailto:bob@example.com";
    let there = told(&with(&ours(0), guest));
    let merged = merge(&ours(1), &there);
    assert_eq!(sequence(&merged), ("7".to_owned(), "20990101T000000Z".to_owned()), "no move");
    let later =
        Content { end: "2030-06-01T11:00:00Z".parse().unwrap(), ..content(1, None, Tz::UTC) };
    let moved = merge(&written(1, &later), &there);
    assert_eq!(sequence(&moved).0, "8");
    assert_eq!(merge(&written(1, &later), &moved), moved, "once");
    let highest = there.replace("SEQUENCE:7", "SEQUENCE:2147483647");
    assert_eq!(sequence(&merge(&written(1, &later), &highest)).0, "2147483647");
    let alone = merge(&ours(1), &told(&with(&ours(0), "COLOR:red")));
    assert_eq!(sequence(&alone), sequence(&ours(1)), "nobody was told");
}

/// A series is an edit of ours.
#[test]
fn a_series_is_one_event_again() {
    let series = with(&ours(0), "RRULE:FREQ=DAILY\r\nEXDATE:20300602T090000Z\r\nCOLOR:red");
    let exception = "BEGIN:VEVENT\r\nUID:a@example.com\r\nRECURRENCE-ID:20300603T090000Z\r\n\
                     COLOR:blue\r\nEND:VEVENT\r\n";
    let before = series.replace("BEGIN:VEVENT", &format!("{exception}BEGIN:VEVENT"));
    let after = series.replace("END:VCALENDAR", &format!("{exception}END:VCALENDAR"));
    for there in [series, before, after] {
        assert_eq!(merge(&ours(1), &there), with(&ours(1), "COLOR:red"));
    }
}

#[test]
fn what_is_no_event_holds_nothing_of_hers() {
    for nonsense in [
        "",
        "BEGIN:VEVENT",
        "END:VEVENT\nEND:VEVENT",
        "BEGIN:VCALENDAR\nBEGIN:VTODO\nCOLOR:red\nEND:VTODO\nEND:VCALENDAR",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nCOLOR:red\nBEGIN:VALARM\nEND:VEVENT\nEND:VCALENDAR",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nno colon\n:\nbad name:x\nEND:VEVENT\nEND:VCALENDAR",
    ] {
        assert!(!has_hers(nonsense), "{nonsense}");
        assert_eq!(merge(&ours(1), nonsense), ours(1));
    }
}

/// What is merged can be read again.
#[test]
fn what_does_not_fit_is_left_out() {
    let large = format!("ATTACH;ENCODING=BASE64;VALUE=BINARY:{}", "A".repeat(OBJECT_LEN_MAX));
    let there = with(&ours(0), &format!("{large}\r\nCOLOR:red"));
    assert_eq!(merge(&ours(1), &there), with(&ours(1), "COLOR:red"));
    let notes = format!("Bring\\, a towel. {}", "\\,é".repeat(NOTES_LEN_MAX));
    let merged = merge(&ours(1), &ours(0).replace("Bring\\, a towel.", &notes));
    assert!((NOTES_LEN_MAX..OBJECT_LEN_MAX).contains(&merged.len()), "{}", merged.len());
    assert_eq!(read_content(&merged), read_content(&ours(1)));
}

fn property() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("CATEGORIES".to_owned()),
        Just("color".to_owned()),
        Just("ATTENDEE;CN=\"a:b;c\"".to_owned()),
        "X-[A-Z]{1,6}",
    ];
    (name, "[ -~é🦀]{0,120}").prop_map(|(name, value)| format!("{name}:{value}"))
}

fn component() -> impl Strategy<Value = String> {
    proptest::collection::vec(property(), 0..4).prop_map(|lines| {
        let lines: String = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
        format!("BEGIN:VALARM\r\nDESCRIPTION:Soon\r\n{lines}END:VALARM")
    })
}

proptest! {
    /// The merged object gives our content and all of hers; merging twice is as merging once.
    #[test]
    fn all_of_hers_stays_beside_our_content(
        items in proptest::collection::vec(prop_oneof![property(), component()], 0..6),
        notes in ("([a-f,;\\\\]{1,9}[ \n]){0,4}", "([ \n][a-f,;\\\\]{1,9}){0,4}"),
        (before, after) in (prop_oneof![Just(None), "[A-D]{1,5}( [A-D,]{1,5}){0,30}".prop_map(Some)],
                            prop_oneof![Just(None), "[E-H]{1,5}(\n[E-H;]{1,5}){0,30}".prop_map(Some)]),
        zone in prop_oneof![Just(Tz::UTC), Just(Tz::Europe__Berlin)],
    ) {
        let shows = content(1, after.as_deref(), zone);
        let (old, new) = (written(0, &content(0, before.as_deref(), zone)), written(1, &shows));
        let text = format!("{}{}{}", notes.0, before.as_deref().unwrap_or_default(), notes.1);
        let lines = event_of(&old).into_iter().filter(|line| !line.starts_with("DESCRIPTION:"));
        let old: String = lines.map(|line| fold(&line)).collect();
        let folded = |item: &String| item.split("\r\n").map(fold).collect::<String>();
        let mut hers: String = items.iter().map(folded).collect();
        hers += &fold(&format!("DESCRIPTION:{}", escape(&text)));
        let there = old.replace("END:VEVENT", &format!("{hers}END:VEVENT"));

        let merged = merge(&new, &there);
        prop_assert_eq!(read_marker(&merged), read_marker(&new));
        prop_assert_eq!(read_content(&merged), Some(Content { zone, ..shows }));
        let kept = event_of(&merged);
        for item in &items {
            let item: Vec<&str> = item.split("\r\n").collect();
            prop_assert!(kept.windows(item.len()).any(|lines| lines == item), "{item:?}\n{merged}");
        }
        let said = kept.iter().find_map(|line| line.strip_prefix("DESCRIPTION:"));
        let said = unescape(said.unwrap_or_default());
        for word in notes.0.split_whitespace().chain(notes.1.split_whitespace()) {
            prop_assert!(said.split_whitespace().any(|it| it == word), "{word}\n{said}");
        }
        let is_hers = !items.is_empty() || !notes.0.is_empty() || !notes.1.is_empty();
        prop_assert_eq!(has_hers(&there), is_hers);
        if !is_hers {
            prop_assert_eq!(&merged, &new);
        }
        prop_assert_eq!(merge(&new, &merged), merged.as_str());
    }

    #[test]
    fn no_text_makes_it_stumble(text in "(BEGIN:|END:|VEVENT|VALARM|VCALENDAR|\r\n|\n |[;:\"A-Cé\\\\]){0,40}") {
        let merged = merge(&ours(1), &text);
        prop_assert_eq!(read_marker(&merged), read_marker(&ours(1)));
    }
}
