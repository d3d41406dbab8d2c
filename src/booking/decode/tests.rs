//! What golden records cannot show: hostile bytes, and hostile schemas.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

use super::*;
use crate::event::Change;

const DOMAIN: &str = "bookings.example";
const UUID: &str = "0190a5d8-7c3b-7e52-9b1f-2f3f5a6b7c8d";

fn optional(text: &str) -> Value {
    Value::Union(1, Box::new(Value::String(text.to_owned())))
}

/// A cancellation's fields, in our schema's order.
fn cancellation(reason: Value) -> Vec<(String, Value)> {
    [
        ("event_id", Value::String(UUID.to_owned())),
        ("booking_id", Value::String("bk-1".to_owned())),
        ("ical_uid", optional("bk-1@example.org")),
        ("provider_id", Value::String(UUID.to_owned())),
        ("sequence", Value::Union(1, Box::new(Value::Long(300)))),
        ("occurred_at", Value::TimestampMillis(1_767_258_061_123)),
        ("reason", reason),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn datum(schema: &Schema, fields: Vec<(String, Value)>) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(Value::Record(fields)).unwrap()
}

fn cancelled(reason: Value) -> Vec<u8> {
    datum(&Kind::Cancelled.bundled().plain, cancellation(reason))
}

fn ours(kind: Kind) -> Writer {
    Contract::new().by_fingerprint(kind.fingerprint()).unwrap().clone()
}

fn read(writer: &Writer, datum: &[u8]) -> Result<BookingEvent, Poison> {
    Contract::new().read(writer, datum, DOMAIN)
}

/// Our cancellation's schema with a field more in front, of this type.
fn with_extra(extra: &str) -> String {
    let ours = Kind::Cancelled.schema_json();
    let front = format!(r#""fields": [{{"name": "extra", "type": {extra}}},"#);
    ours.replacen(r#""fields": ["#, &front, 1)
}

fn refusal(schema: &str) -> String {
    Contract::new().writer(schema).expect_err("it is refused").to_string()
}

#[test]
fn a_null_value_is_a_tombstone_with_and_without_a_header() {
    assert_eq!(Framing::of(None, None), Ok(Framing::Tombstone));
    assert_eq!(Framing::of(Some(&[1; 17]), None), Ok(Framing::Tombstone));
}

#[test]
fn the_header_comes_before_the_prefix() {
    let payload = [0, 0, 0, 0, 9, 42];
    let (id, guid) = ([0, 0, 0, 1, 2], [1; 17]);
    let framing = |header: &[u8]| Framing::of(Some(header), Some(&payload)).unwrap();
    let by = |schema| Framing::Registry { schema, datum: &payload };
    assert_eq!(framing(&id), by(SchemaKey::Id(258)));
    assert_eq!(framing(&guid), by(SchemaKey::Guid(uuid::Uuid::from_bytes([1; 16]))));
    let prefixed = Framing::Registry { schema: SchemaKey::Id(9), datum: &[42] };
    assert_eq!(Framing::of(None, Some(&payload)), Ok(prefixed));
}

#[test]
fn what_is_no_framing_is_malformed() {
    let payloads: [&[u8]; 6] = [b"", b"{}", &[0, 0, 0, 0], &[0xC3], &[0xC3, 2, 0], &[0xC3, 1, 7]];
    for payload in payloads {
        let poison = Framing::of(None, Some(payload)).unwrap_err();
        assert_eq!(poison.class, PoisonClass::Malformed, "{payload:?}");
    }
    let headers: [&[u8]; 5] = [b"", &[0, 0, 0, 1], &[0; 6], &[1; 16], &[2; 17]];
    for header in headers {
        let poison = Framing::of(Some(header), Some(&[0])).unwrap_err();
        assert_eq!(poison.class, PoisonClass::Malformed, "{header:?}");
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_before_it_is_read() {
    let long = vec![0; RECORD_LEN_MAX + 1];
    let poison = Framing::of(None, Some(&long)).unwrap_err();
    assert_eq!(poison.class, PoisonClass::TooLarge);
    let poison = read(&ours(Kind::Created), &long).unwrap_err();
    assert_eq!(poison.class, PoisonClass::TooLarge);
}

#[test]
fn a_length_beyond_the_record_is_refused() {
    // event_id with the lengths -1, 2^62 and one that fits the bound but not the record.
    let lengths: [&[u8]; 3] = [
        &[0x01],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x80, 0x80, 0x40],
    ];
    for length in lengths {
        let poison = read(&ours(Kind::Cancelled), length).unwrap_err();
        assert_eq!(poison.class, PoisonClass::Malformed, "{length:?}");
    }
}

#[test]
fn a_cancellation_is_read_and_a_second_one_after_it_is_not() {
    let datum = cancelled(optional("ill"));
    let event = read(&ours(Kind::Cancelled), &datum).unwrap();
    assert_eq!(event.change, Change::Cancelled { reason: Some("ill".to_owned()) });
    assert_eq!((event.sequence, event.uid.as_str()), (Some(300), "bk-1@example.org"));
    let twice = [&datum[..], &datum].concat();
    assert_eq!(read(&ours(Kind::Cancelled), &twice).unwrap_err().class, PoisonClass::Malformed);
}

#[test]
fn a_text_that_is_not_utf_8_is_malformed_and_is_not_quoted() {
    let mut datum = cancelled(optional("secret"));
    let last = datum.len() - 1;
    datum[last] = 0xFF;
    let poison = read(&ours(Kind::Cancelled), &datum).unwrap_err();
    assert_eq!(poison.class, PoisonClass::Malformed);
    assert!(!poison.reason.contains("secre"), "{}", poison.reason);
}

#[test]
fn both_fingerprints_that_encoders_write_are_known_and_stay_as_released() {
    // fastavro 1.13.1 computes the first ones; Apache's avro 1.12.2 for Python the second ones.
    let released = [
        (Kind::Created, "4a3158bf80b0580d", "bc63f78c302c2ee4"),
        (Kind::Updated, "667547f1f3f46ec9", "10382817d6d2ffbc"),
        (Kind::Cancelled, "774c7c0a8a892d41", "754294ece35d2ff8"),
    ];
    for (kind, right, unshortened) in released {
        let bundled = kind.bundled();
        let known = [bundled.fingerprint, bundled.unshortened];
        assert_eq!(known.map(|fingerprint| fingerprint.to_string()), [right, unshortened]);
        for fingerprint in known {
            assert_eq!(Contract::new().by_fingerprint(fingerprint).unwrap().kind(), kind);
        }
    }
}

#[test]
fn a_schema_of_ours_needs_no_resolution_and_one_with_a_field_more_does() {
    let contract = Contract::new();
    for kind in Kind::ALL {
        let writer = contract.writer(kind.schema_json()).unwrap();
        assert_eq!((writer.kind(), writer.is_resolved()), (kind, false));
    }
    let schema = with_extra(r#"{"type": "array", "items": "string"}"#);
    let writer = contract.writer(&schema).unwrap();
    assert_eq!((writer.kind(), writer.is_resolved()), (Kind::Cancelled, true));
    let datum = [&[0][..], &cancelled(optional("ill"))].concat();
    assert_eq!(read(&writer, &datum), read(&ours(Kind::Cancelled), &cancelled(optional("ill"))));
}

#[test]
fn a_schema_with_which_bytes_could_become_endless_is_refused() {
    let no_bytes = "incompatible_schema: the writer's schema has a part that takes no bytes";
    assert_eq!(refusal(&with_extra(r#"{"type": "array", "items": "null"}"#)), no_bytes);
    assert_eq!(refusal(&with_extra(r#"{"type": "record", "name": "E", "fields": []}"#)), no_bytes);
    assert_eq!(refusal(&with_extra(r#"{"type": "fixed", "name": "F", "size": 0}"#)), no_bytes);
    let endless = r#"{"type": "record", "name": "R", "fields": [
        {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "R"]}]}"#;
    assert!(refusal(&with_extra(endless)).contains("nested deeper than 8 levels"));
    let huge = r#"{"type": "fixed", "name": "F", "size": 99999999}"#;
    assert!(refusal(&with_extra(huge)).contains("longer than a record"));
    // Each of seven records holds ten of the one before it: ten million parts in a few lines.
    let mut wide =
        r#"{"type": "record", "name": "R0", "fields": [{"name": "v", "type": "int"}]}"#.to_owned();
    for level in 1..=6 {
        let below = level - 1;
        let more = (1..10).map(|index| format!(r#"{{"name": "f{index}", "type": "R{below}"}}"#));
        let first = format!(r#"{{"name": "f0", "type": {wide}}}"#);
        let fields = std::iter::once(first).chain(more).collect::<Vec<_>>().join(", ");
        wide = format!(r#"{{"type": "record", "name": "R{level}", "fields": [{fields}]}}"#);
    }
    assert!(refusal(&with_extra(&wide)).contains("over 4096 parts"));
}

#[test]
fn what_is_no_schema_of_ours_is_incompatible() {
    let contract = Contract::new();
    let created_by_another_name = Kind::Created.schema_json().replace("events.v1", "events.v9");
    let union = format!("[\"null\", {}]", Kind::Created.schema_json());
    let long = format!("{}{}", " ".repeat(300_000), Kind::Created.schema_json());
    for json in ["", "nonsense", "\"string\"", "{}", &created_by_another_name, &union, &long] {
        let poison = contract.writer(json).unwrap_err();
        assert_eq!(poison.class, PoisonClass::IncompatibleSchema, "{poison}");
    }
}

#[test]
fn an_enum_that_stands_elsewhere_in_the_writers_schema_is_found() {
    let status = r#"{"type": "enum", "name": "S", "symbols": ["NO_SHOW", "CONFIRMED"]}"#;
    let schema = format!(
        r#"{{"type": "record", "name": "booking.events.v1.BookingUpdated", "fields": [
        {{"name": "before", "type": {status}}},
        {{"name": "status", "type": ["null", "S"]}},
        {{"name": "event_id", "type": "string"}},
        {{"name": "booking_id", "type": "string"}},
        {{"name": "provider_id", "type": "string"}},
        {{"name": "occurred_at", "type": "int"}},
        {{"name": "start_time", "type": "long"}},
        {{"name": "end_time", "type": "long"}},
        {{"name": "service_name", "type": "string"}}]}}"#
    );
    let writer = Contract::new().writer(&schema).unwrap();
    // CONFIRMED before, NO_SHOW now.
    let mut datum = vec![2, 2, 0];
    for text in [UUID, "bk-1", UUID] {
        datum.push(u8::try_from(2 * text.len()).unwrap());
        datum.extend(text.as_bytes());
    }
    datum.extend([2, 4, 6, 2, b'x']);
    let event = read(&writer, &datum).unwrap();
    let Change::Updated(details) = event.change else { panic!("{event:?}") };
    assert_eq!(details.status, crate::event::Status::NoShow);
    assert_eq!(details.zone, chrono_tz::UTC);
    assert_eq!(event.uid.as_str(), "booking-bk-1@bookings.example");
}

#[test]
fn an_unknown_zone_is_named_and_cut_to_what_can_be_shown() {
    let field = |zone: &str| {
        let mut fields = vec![("time_zone".to_owned(), Value::String(zone.to_owned()))];
        fields.extend(cancellation(Value::Null));
        fields.extend(
            [
                ("status", Value::Enum(0, "PENDING".to_owned())),
                ("start_time", Value::TimestampMillis(1)),
                ("end_time", Value::TimestampMillis(2)),
                ("service_name", Value::String("x".to_owned())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        values::event(Kind::Created, fields, DOMAIN).map(|_| ()).unwrap_err().reason
    };
    assert_eq!(field("Mars\n/\u{202E}X"), r#"time_zone: "Mars/X" is not a zone that we know"#);
    assert!(field(&"Z".repeat(900)).len() < 120);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..3) {
        let writer = ours(Kind::ALL[kind]);
        prop_assert!(read(&writer, &bytes).is_err());
        let framed = Framing::of(None, Some(&bytes));
        prop_assert!(framed.is_err() || bytes[0] == 0 || bytes[0] == 0xC3);
    }

    #[test]
    fn no_change_of_one_byte_panics(at in 0_usize..400, byte in any::<u8>(), extra in any::<bool>()) {
        let schema = with_extra(r#"{"type": "map", "values": {"type": "array", "items": "bytes"}}"#);
        let (writer, mut datum) = if extra {
            let fields = [("extra".to_owned(), Value::Map([("k".to_owned(), Value::Array(vec![
                Value::Bytes(vec![1, 2, 3]), Value::Bytes(vec![]),
            ]))].into()))];
            let fields = fields.into_iter().chain(cancellation(optional("ill"))).collect();
            let writer = Contract::new().writer(&schema).unwrap();
            (writer, datum(&schema::plain(&schema::parse(&schema).unwrap()), fields))
        } else {
            (ours(Kind::Cancelled), cancelled(optional("ill")))
        };
        let at = at % datum.len();
        datum[at] = byte;
        if let Err(poison) = read(&writer, &datum) {
            let expected = [PoisonClass::Malformed, PoisonClass::Invalid];
            prop_assert!(expected.contains(&poison.class), "{poison}");
        }
    }

    #[test]
    fn every_reason_of_a_cancellation_comes_back(reason in "\\PC{0,200}", sequence in 0_i64..) {
        let mut fields = cancellation(optional(&reason));
        fields[4].1 = Value::Union(1, Box::new(Value::Long(sequence)));
        let datum = datum(&Kind::Cancelled.bundled().plain, fields);
        let event = read(&ours(Kind::Cancelled), &datum).unwrap();
        prop_assert_eq!(event.sequence, Some(sequence));
        prop_assert_eq!(event.change, Change::Cancelled { reason: Some(reason) });
    }
}
