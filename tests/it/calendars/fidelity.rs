//! What our adapter has written to real CalDAV servers, read by a client that we did not write
//! (`tests/fidelity/caldav_client.py`): it agrees in every field.

use std::io::Write as _;
use std::process::{Command, Stdio};

use booking::{Content, Marker, Verb};
use calendar_sync::calendar::caldav::Caldav;
use calendar_sync::calendar::{Account, Answer, Calendar as _, Call, Condition, Credentials, Name};
use calendar_sync::clock::{Dice as _, SystemDice};
use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::caldav::{collection, http};
use super::{CONNECTION, at, uid};
use crate::services::{self, CaldavServer};

#[tokio::test]
async fn another_client_reads_on_radicale_what_was_meant() {
    let test = "another_client_reads_on_radicale_what_was_meant";
    if let Some(server) = services::radicale(test) {
        agrees(test, server, ToOwned::to_owned).await;
    }
}

#[tokio::test]
async fn another_client_reads_on_xandikos_what_was_meant() {
    let test = "another_client_reads_on_xandikos_what_was_meant";
    if let Some(server) = services::xandikos(test) {
        agrees(test, server, as_icalendar_writes).await;
    }
}

/// Xandikos writes what it is given anew, with `icalendar` 7.3.2, whose `_escape_char` takes a backslash
/// and an N in a text for a line break.
fn as_icalendar_writes(text: &str) -> String {
    text.replace(r"\N", "\n")
}

/// Texts that something on the way could take for something else.
const TEXTS: [&str; 14] = [
    "Haircut",
    r"back\slash; semicolon, comma: colon \n \N \, \; \\",
    "two\nlines\n\nand a blank one",
    "\"quoted\" 'quoted' ^n ^' = %20 + #?",
    "<b>&amp;</b> ]]> <![CDATA[x]]>",
    "a\ttab and  two  blanks",
    "𝄞 虎 👩‍👩‍👧‍👦 🇩🇪",
    "שלום עולם \u{200f}مرحبا (123) abc",
    "e\u{301}\u{308} Ångström ﬁ",
    "BEGIN:VEVENT\nEND:VCALENDAR\nUID:another",
    "\u{a0}no-break\u{2028}line separator\u{2009}thin",
    ":;,\\",
    "🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪 🇩🇪",
    "a line that is longer than seventy-five octets, so that it is folded, ä where ö it ü is ß cut",
];

/// Starts, minutes and zones: a winter's day and a summer's; before, in and after the gap; both
/// passes of the hour that is lived twice; across midnight and a change of offset; a fraction of a
/// second; zones with halves of hours, and UTC.
const TIMES: [(&str, i64, Tz); 14] = [
    ("2030-01-15T08:00:00Z", 60, Tz::Europe__Berlin),
    ("2030-07-01T08:00:00Z", 60, Tz::Europe__Berlin),
    ("2030-03-31T00:30:00Z", 60, Tz::Europe__Berlin),
    ("2030-03-31T01:00:00Z", 30, Tz::Europe__Berlin),
    ("2030-10-26T23:30:00Z", 30, Tz::Europe__Berlin),
    ("2030-10-27T00:30:00Z", 15, Tz::Europe__Berlin),
    ("2030-10-27T01:30:00Z", 15, Tz::Europe__Berlin),
    ("2030-10-27T00:45:00Z", 30, Tz::Europe__Berlin),
    ("2030-12-31T22:30:00Z", 120, Tz::Europe__Berlin),
    ("2030-02-01T09:00:00Z", 200 * 24 * 60, Tz::America__New_York),
    ("2030-06-03T09:00:00.250Z", 45, Tz::Asia__Kolkata),
    ("2030-04-06T14:45:00Z", 60, Tz::Australia__Lord_Howe),
    ("2030-06-03T09:00:00Z", 60, Tz::UTC),
    ("2030-06-03T23:00:00Z", 1, Tz::Pacific__Apia),
];

fn contents() -> Vec<Content> {
    let text = |number: usize| TEXTS[number % TEXTS.len()];
    let content = |(number, &(start, minutes, zone)): (usize, &(&str, i64, Tz))| Content {
        summary: text(number).replace('\n', " "),
        description: (zone != Tz::UTC).then(|| text(number + 3).to_owned()),
        location: (zone != Tz::Asia__Kolkata).then(|| text(number + 7).replace('\n', " ")),
        start: at(start),
        end: at(start) + TimeDelta::minutes(minutes),
        zone,
        tentative: zone == Tz::America__New_York,
    };
    TIMES.iter().enumerate().map(content).collect()
}

async fn agrees(test: &str, server: CaldavServer, written: fn(&str) -> String) {
    let Some(python) = services::caldav_client(test) else { return };
    let CaldavServer { url, user, password } = server;
    let account = Account {
        connection: CONNECTION,
        base_url: String::new(),
        calendar: format!("{url}/{user}/{}", SystemDice.token()),
        credentials: Credentials::Basic {
            username: user.clone(),
            password: password.clone().into(),
        },
    };
    assert_eq!(collection(&account, "MKCALENDAR").await, 201);
    let caldav = Caldav::new(account.clone(), http());
    let mut events = Vec::new();
    for (number, content) in contents().into_iter().enumerate() {
        // Every third one has been something else before.
        let revision = i64::from(number % 3 == 0);
        if revision == 1 {
            let before = Content { summary: "Before".to_owned(), ..content.clone() };
            put(&caldav, number, 0, &before, Verb::Create).await;
            events.push(put(&caldav, number, 1, &content, Verb::Update).await);
        } else {
            events.push(put(&caldav, number, 0, &content, Verb::Create).await);
        }
    }
    for event in &mut events {
        for field in ["summary", "description", "location"] {
            let text = event[field].as_str().map(written);
            event[field] = text.into();
        }
    }
    let url = format!("{}/", account.calendar);
    let expected = json!({"url": url, "user": user, "password": password, "events": events});
    let count = events.len();
    let said = tokio::task::spawn_blocking(move || read_by_client(&python, &expected)).await;
    assert_eq!(said.expect("it ran").trim(), count.to_string());
    assert!(matches!(collection(&account, "DELETE").await, 200 | 204));
}

/// Writes an event, and says what a client has to read.
async fn put(
    caldav: &Caldav,
    number: usize,
    revision: i64,
    content: &Content,
    verb: Verb,
) -> Value {
    let uid = uid(&format!("booking-{number}@example.com"));
    let marker =
        Marker { uid: uid.clone(), connection: CONNECTION, revision, digest: content.digest() };
    let href = caldav.external_id(&uid, 0);
    let body = caldav.body(&href, &marker, content);
    let condition = if verb == Verb::Create { Condition::New } else { Condition::Unconditional };
    let answer =
        caldav.send(&Call { verb, name: Name::given(&href), condition, body: &body }).await;
    assert!(matches!(answer, Answer::Status { status: 201 | 204, .. }), "{answer:?}");
    expected(&href, &marker, content)
}

/// By other means than the writer's: a local time says a moment if it is read back to it.
fn expected(href: &str, marker: &Marker, content: &Content) -> Value {
    let Content { start, end, zone, .. } = content;
    let seconds = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, false);
    let is_whole = end.timestamp_subsec_nanos() == 0;
    let whole_end = if is_whole { *end } else { *end + TimeDelta::seconds(1) };
    let is_said = |at: DateTime<Utc>| {
        let local = at.with_timezone(zone).naive_local();
        zone.from_local_datetime(&local).earliest().map(|read| read.to_utc()) == Some(at)
    };
    let is_local = *zone != Tz::UTC && is_said(*start) && is_said(*end);
    json!({
        "href": href,
        "uid": marker.uid.as_str(),
        "summary": content.summary,
        "description": content.description,
        "location": content.location,
        "start": seconds(*start),
        "end": seconds(whole_end),
        "zone": is_local.then(|| zone.name()),
        "utc_zone": (!is_local && *zone != Tz::UTC).then(|| zone.name()),
        "status": if content.tentative { "TENTATIVE" } else { "CONFIRMED" },
        "transp": "OPAQUE",
        "sequence": marker.revision,
        "connection": marker.connection.to_string(),
        "revision": marker.revision.to_string(),
        "digest": marker.digest.to_string(),
    })
}

fn read_by_client(python: &str, expected: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/caldav_client.py");
    let mut child = Command::new(python)
        .arg(script)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a Python");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(expected.to_string().as_bytes()).expect("it reads its input");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}
