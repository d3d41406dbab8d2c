//! A dead letter as text and as JSON.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::columns::{Columns, printable};
use super::out::Out;
use crate::store::{DeadLetter, DeadRecord, Origin};

/// Bytes in one line of a dump.
const DUMP_WIDTH: usize = 16;

/// Longest reason in the list, in characters; `show` gives all of it.
const REASON_LEN_MAX: usize = 80;

/// One dead letter in the list, without its bytes.
pub(super) struct Summary {
    pub(super) id: i64,
    cells: [String; 6],
    pub(super) json: Value,
}

impl Summary {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        let place = match &letter.origin {
            Origin::Record(record) => format!("{}/{}", record.topic, record.position),
            Origin::Effect { uid, connection } => format!("{uid} on {connection}"),
        };
        let mut reason: String = letter.reason.chars().take(REASON_LEN_MAX).collect();
        if reason.len() < letter.reason.len() {
            reason.push('…');
        }
        let cells = [
            letter.id.to_string(),
            letter.state.name().to_owned(),
            letter.class.clone(),
            letter.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            place,
            reason,
        ];
        Self { id: letter.id, cells, json: to_json(letter, false) }
    }
}

pub(super) fn list(letters: &[Summary], out: &mut Out<impl Write>) -> io::Result<()> {
    if letters.is_empty() {
        return writeln!(out, "there are no such dead letters");
    }
    let mut columns = Columns::new(["ID", "STATE", "CLASS", "SINCE", "WHERE", "REASON"]);
    for letter in letters {
        columns.row(letter.cells.clone());
    }
    columns.lines().iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// The whole of it, for people.
pub(super) fn show(letter: &DeadLetter, out: &mut Out<impl Write>) -> io::Result<()> {
    writeln!(out, "dead letter {} ({})", letter.id, letter.state.name())?;
    writeln!(out, "  class      {}", printable(&letter.class))?;
    writeln!(out, "  reason     {}", printable(&letter.reason))?;
    writeln!(out, "  since      {}", letter.created_at.to_rfc3339())?;
    match &letter.origin {
        Origin::Record(record) => show_record(record, out),
        Origin::Effect { uid, connection } => {
            writeln!(out, "  booking    {uid}")?;
            writeln!(out, "  connection {connection}")
        }
    }
}

fn show_record(record: &DeadRecord, out: &mut Out<impl Write>) -> io::Result<()> {
    let position = record.position;
    writeln!(out, "  topic      {}", printable(&record.topic))?;
    writeln!(out, "  partition  {}", position.partition)?;
    writeln!(out, "  offset     {}", position.offset)?;
    if position.incarnation > 0 {
        writeln!(out, "  incarnation {} of the topic", position.incarnation)?;
    }
    let time = DateTime::from_timestamp_millis(record.timestamp_ms);
    let time = time.map_or_else(|| "out of range".to_owned(), |time| time.to_rfc3339());
    writeln!(out, "  timestamp  {} ({time})", record.timestamp_ms)?;
    show_bytes("key", record.key.as_deref(), out)?;
    for (name, value) in &record.headers {
        show_bytes(&format!("header {}", printable(name)), value.as_deref(), out)?;
    }
    show_bytes("value", record.payload.as_deref(), out)
}

fn show_bytes(name: &str, bytes: Option<&[u8]>, out: &mut Out<impl Write>) -> io::Result<()> {
    let Some(bytes) = bytes else {
        return writeln!(out, "  {name}: null");
    };
    writeln!(out, "  {name}: {} bytes", bytes.len())?;
    for (at, line) in bytes.chunks(DUMP_WIDTH).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let width = 3 * DUMP_WIDTH - 1;
        let text: String = line.iter().map(|byte| visible(*byte)).collect();
        writeln!(out, "    {:08x}  {:<width$}  |{text}|", at * DUMP_WIDTH, hex.join(" "))?;
    }
    Ok(())
}

fn visible(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

/// As one JSON object; with its bytes, in Base64, if `whole`.
pub(super) fn to_json(letter: &DeadLetter, whole: bool) -> Value {
    let mut object = json!({
        "id": letter.id,
        "state": letter.state.name(),
        "class": letter.class,
        "reason": letter.reason,
        "created_at": letter.created_at.to_rfc3339(),
    });
    match &letter.origin {
        Origin::Effect { uid, connection } => {
            object["ical_uid"] = json!(uid);
            object["connection_id"] = json!(connection);
        }
        Origin::Record(record) => {
            let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| BASE64.encode(b));
            object["topic"] = json!(record.topic);
            object["partition"] = json!(record.position.partition);
            object["offset"] = json!(record.position.offset);
            object["incarnation"] = json!(record.position.incarnation);
            object["timestamp_ms"] = json!(record.timestamp_ms);
            if whole {
                let headers = record.headers.iter();
                let headers: Vec<_> = headers
                    .map(|(name, value)| json!({ "name": name, "value_base64": base64(value) }))
                    .collect();
                object["headers"] = Value::Array(headers);
                object["key_base64"] = json!(base64(&record.key));
                object["value_base64"] = json!(base64(&record.payload));
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use booking::Position;

    use super::*;
    use crate::store::DeadState;

    fn letter() -> DeadLetter {
        let record = DeadRecord {
            topic: "booking.events".to_owned(),
            position: Position { incarnation: 0, partition: 2, offset: 41 },
            timestamp_ms: 0,
            key: Some(b"b-1".to_vec()),
            payload: Some(b"\xc3\x01 0123456789abcdef\x1b".to_vec()),
            headers: vec![("trace\u{1b}".to_owned(), Some(b"x".to_vec())), ("n".to_owned(), None)],
        };
        DeadLetter {
            id: 17,
            class: "malformed".to_owned(),
            reason: "it ends too soon".to_owned(),
            origin: Origin::Record(record),
            state: DeadState::Open,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_dead_letter_is_shown_whole_and_harmless() {
        let mut bytes = Vec::new();
        show(&letter(), &mut Out::new(&mut bytes)).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "\
dead letter 17 (open)
  class      malformed
  reason     it ends too soon
  since      1970-01-01T00:00:00+00:00
  topic      booking.events
  partition  2
  offset     41
  timestamp  0 (1970-01-01T00:00:00+00:00)
  key: 3 bytes
    00000000  62 2d 31                                         |b-1|
  header trace\u{FFFD}: 1 bytes
    00000000  78                                               |x|
  header n: null
  value: 20 bytes
    00000000  c3 01 20 30 31 32 33 34 35 36 37 38 39 61 62 63  |.. 0123456789abc|
    00000010  64 65 66 1b                                      |def.|
"
        );
    }

    #[test]
    fn json_keeps_every_byte() {
        let object = to_json(&letter(), true);
        assert_eq!(object["value_base64"], "wwEgMDEyMzQ1Njc4OWFiY2RlZhs=");
        assert_eq!(object["headers"][1]["value_base64"], Value::Null);
        assert_eq!(to_json(&letter(), false).get("value_base64"), None);
    }

    #[test]
    fn the_list_has_one_line_for_each() {
        let mut bytes = Vec::new();
        list(&[Summary::of(&letter())], &mut Out::new(&mut bytes)).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "\
ID  STATE  CLASS      SINCE                 WHERE                REASON
17  open   malformed  1970-01-01T00:00:00Z  booking.events/2@41  it ends too soon
"
        );
    }
}
