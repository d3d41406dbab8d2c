//! The golden records: bytes that other people's encoders made (`tests/golden/make.py`), read to
//! the values that went into them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use booking::decode::{Contract, Framing, Kind, SchemaKey};
use booking::{BookingEvent, Change, Details, Poison, PoisonClass};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

const DOMAIN: &str = "bookings.example";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// One record of the index.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    pub(crate) file: String,
    /// What is in it; or else `refused`: why it is a dead letter.
    expected: Option<Value>,
    pub(crate) refused: Option<String>,
    /// The header `__value_schema_id`, in hex.
    header: Option<String>,
    /// What the registry has under the record's schema id.
    writer_schema: Option<Value>,
}

impl Golden {
    pub(crate) fn all() -> Vec<Self> {
        let text =
            std::fs::read_to_string(directory().join("index.json")).expect("the index is kept");
        serde_json::from_str(&text).expect("the index is as it was written")
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        std::fs::read(directory().join(&self.file)).expect(&self.file)
    }

    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        let hex = self.header.as_ref()?;
        Some(data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex"))
    }

    /// What the registry has under the record's schema id, as a text.
    pub(crate) fn schema_json(&self) -> Option<String> {
        self.writer_schema.as_ref().map(Value::to_string)
    }

    /// What the service does with a record's value, its registry asked or not.
    fn read(&self, contract: &Contract, payload: &[u8]) -> Result<BookingEvent, Poison> {
        let header = self.header();
        match Framing::of(header.as_deref(), Some(payload))? {
            Framing::Tombstone => unreachable!("it has a payload"),
            Framing::SingleObject { fingerprint, datum } => {
                contract.read(contract.by_fingerprint(fingerprint)?, datum, DOMAIN)
            }
            Framing::Registry { schema, datum } => {
                match schema {
                    SchemaKey::Guid(_) => assert_eq!(header.map(|header| header.len()), Some(17)),
                    SchemaKey::Id(id) => assert_eq!(id, 70_000, "{}", self.file),
                }
                let json = self.writer_schema.as_ref().expect("the registry knows it").to_string();
                contract.read(&contract.writer(&json)?, datum, DOMAIN)
            }
        }
    }
}

/// An event in the schemas' names, as the index has it.
fn shown(event: &BookingEvent) -> Value {
    let mut shown = serde_json::Map::new();
    let head = json!({
        "type": event.change.name(),
        "event_id": event.id,
        "booking_id": event.booking,
        "ical_uid": event.uid,
        "provider_id": event.provider,
        "sequence": event.sequence,
        "occurred_at": instant(event.occurred_at),
    });
    let more = match &event.change {
        Change::Created(details) | Change::Updated(details) => shown_details(details),
        Change::Cancelled { reason } => json!({ "reason": reason }),
    };
    for part in [head, more] {
        let Value::Object(fields) = part else { unreachable!("both are objects") };
        shown.extend(fields);
    }
    Value::Object(shown)
}

fn shown_details(details: &Details) -> Value {
    json!({
        "status": details.status.name(),
        "start_time": instant(details.start),
        "end_time": instant(details.end),
        "time_zone": details.zone.name(),
        "service_name": details.service_name,
        "title": details.title,
        "description": details.description,
        "location": details.location,
        "notes": details.notes,
        "customer_name": details.customer_name,
        "customer_email": details.customer_email,
    })
}

fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[test]
fn every_golden_record_is_read_to_what_was_written_or_refused_as_expected() {
    let contract = Contract::new();
    for golden in Golden::all() {
        let read = golden.read(&contract, &golden.payload());
        match (&golden.expected, &golden.refused) {
            (Some(expected), None) => {
                let mut expected = expected.clone();
                if expected["ical_uid"].is_null() {
                    expected["ical_uid"] = json!(format!("booking-bk-2041@{DOMAIN}"));
                }
                let event = read.unwrap_or_else(|poison| panic!("{}: {poison}", golden.file));
                assert_eq!(shown(&event), expected, "{}", golden.file);
            }
            (None, Some(refused)) => {
                let poison = read.expect_err(&golden.file);
                assert_eq!(poison.to_string(), *refused, "{}", golden.file);
            }
            (_, _) => panic!("{}: neither expected nor refused", golden.file),
        }
    }
}

#[test]
fn every_proper_prefix_and_one_byte_more_are_refused() {
    let contract = Contract::new();
    let mut tried = 0;
    for golden in Golden::all().iter().filter(|golden| golden.expected.is_some()) {
        let payload = golden.payload();
        for len in 0..payload.len() {
            let poison = golden.read(&contract, &payload[..len]).expect_err(&golden.file);
            assert_eq!(poison.class, PoisonClass::Malformed, "{} to {len}", golden.file);
            tried += 1;
        }
        for byte in [0, 2, 0xFF] {
            let longer = [&payload[..], &[byte]].concat();
            let poison = golden.read(&contract, &longer).expect_err(&golden.file);
            assert_eq!(poison.class, PoisonClass::Malformed, "{} and {byte}", golden.file);
        }
    }
    assert!(tried > 5_000, "only {tried} prefixes");
}

#[test]
fn no_golden_file_is_forgotten() {
    let kept: BTreeSet<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "index.json")
        .collect();
    let named: BTreeSet<String> = Golden::all().into_iter().map(|golden| golden.file).collect();
    assert_eq!(kept, named);
}

#[test]
fn the_golden_records_hold_every_event_in_every_framing_and_both_ways_of_reading() {
    let contract = Contract::new();
    let mut seen = BTreeSet::new();
    for golden in Golden::all() {
        let Some(expected) = &golden.expected else { continue };
        let framing = golden.file.split('-').next().unwrap().to_owned();
        let resolved = golden
            .writer_schema
            .as_ref()
            .is_some_and(|schema| contract.writer(&schema.to_string()).unwrap().is_resolved());
        seen.insert((expected["type"].as_str().unwrap().to_owned(), framing, resolved));
    }
    for kind in Kind::ALL {
        for framing in ["single", "prefix", "header"] {
            let case = (kind.name().to_owned(), framing.to_owned(), false);
            assert!(seen.contains(&case), "{case:?}");
        }
    }
    for kind in [Kind::Created, Kind::Updated] {
        let case = (kind.name().to_owned(), "prefix".to_owned(), true);
        assert!(seen.contains(&case), "{case:?}");
    }
}
