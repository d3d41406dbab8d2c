//! An event as a producer writes it: from a line of JSON, and to Avro's single-object encoding.
//! The service itself only reads; this is for `publish` and for the demo's booking application.

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use booking::decode::{Contract, Framing, Kind, SINGLE_OBJECT_MARK};
use booking::vocabulary::IdError;
use booking::{BookingId, Change, Details, EventId, IcalUid, Poison, ProviderId, Status};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::Dice;

/// Stands for the service's UID domain, which a producer does not know, where a record is tried.
const ANY_DOMAIN: &str = "domain.invalid";

/// An event, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingEvent {
    /// The name of this fact; a repeat of it has the same.
    pub id: EventId,
    /// The booking, and the record's key.
    pub booking: BookingId,
    /// The booking's UID; `None` leaves it to be derived.
    pub uid: Option<IcalUid>,
    /// Whose booking it is.
    pub provider: ProviderId,
    /// The booking's own version, if it is counted.
    pub sequence: Option<i64>,
    /// When it happened. Written in milliseconds, as all times.
    pub occurred_at: DateTime<Utc>,
    /// What happened.
    pub change: Change,
}

/// Why a line is not an event.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// Some other JSON.
    #[error("not a JSON object")]
    NotAnObject,
    /// A field is missing, misspelt, or of another type.
    #[error("{field}: {reason}")]
    Field {
        /// Its name in the schema.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The service would make a dead letter of it.
    #[error("the service would refuse it as {0}")]
    Refused(Poison),
}

/// Encodes an event: `C3 01`, the schema's fingerprint, the record.
pub fn encode(event: &OutgoingEvent) -> Vec<u8> {
    let kind = match event.change {
        Change::Created(_) => Kind::Created,
        Change::Updated(_) => Kind::Updated,
        Change::Cancelled { .. } => Kind::Cancelled,
    };
    let mut fields = vec![
        ("event_id", Avro::Uuid(event.id.0)),
        ("booking_id", text(event.booking.as_str())),
        ("ical_uid", optional(event.uid.as_ref().map(IcalUid::as_str))),
        ("provider_id", Avro::Uuid(event.provider.0)),
        ("sequence", union(event.sequence.map(Avro::Long))),
        ("occurred_at", time(event.occurred_at)),
    ];
    match &event.change {
        Change::Created(details) | Change::Updated(details) => fields.extend(whole(details)),
        Change::Cancelled { reason } => fields.push(("reason", optional(reason.as_deref()))),
    }
    let record = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let datum = GenericDatumWriter::builder(kind.schema())
        .build()
        .and_then(|writer| writer.write_value_to_vec(Avro::Record(record)))
        .expect("these are the schema's fields, in its order");
    [&SINGLE_OBJECT_MARK[..], &kind.fingerprint().0, &datum].concat()
}

fn whole(details: &Details) -> [(&'static str, Avro); 11] {
    [
        ("status", symbol(details.status)),
        ("start_time", time(details.start)),
        ("end_time", time(details.end)),
        ("time_zone", text(details.zone.name())),
        ("service_name", text(&details.service_name)),
        ("title", optional(details.title.as_deref())),
        ("description", optional(details.description.as_deref())),
        ("location", optional(details.location.as_deref())),
        ("notes", optional(details.notes.as_deref())),
        ("customer_name", optional(details.customer_name.as_deref())),
        ("customer_email", optional(details.customer_email.as_deref())),
    ]
}

fn text(text: &str) -> Avro {
    Avro::String(text.to_owned())
}

fn optional(value: Option<&str>) -> Avro {
    union(value.map(text))
}

/// In a union whose first branch is null.
fn union(value: Option<Avro>) -> Avro {
    match value {
        None => Avro::Union(0, Box::new(Avro::Null)),
        Some(value) => Avro::Union(1, Box::new(value)),
    }
}

fn time(time: DateTime<Utc>) -> Avro {
    Avro::TimestampMillis(time.timestamp_millis())
}

/// By its place in the schema's symbols.
fn symbol(status: Status) -> Avro {
    let place = match status {
        Status::Pending => 0,
        Status::Confirmed => 1,
        Status::Completed => 2,
        Status::NoShow => 3,
    };
    Avro::Enum(place, status.name().to_owned())
}

/// Reads a line, `{"type": "BookingCreated", …}`: the schema's names, times as RFC 3339, and what
/// has a default in the schema may be left out. An event without an `event_id` gets one from
/// `dice`. Gives the event with its encoding, which the service is sure to read.
///
/// # Errors
/// The first thing that is wrong, by its field.
pub fn read_line(line: &[u8], dice: &dyn Dice) -> Result<(OutgoingEvent, Vec<u8>), LineError> {
    let value = serde_json::from_slice(line).map_err(LineError::Json)?;
    let Value::Object(object) = value else {
        return Err(LineError::NotAnObject);
    };
    let event = outgoing(Fields(object), dice)?;
    let encoded = encode(&event);
    try_out(&encoded).map_err(LineError::Refused)?;
    Ok((event, encoded))
}

/// Reads a record as the service will.
fn try_out(encoded: &[u8]) -> Result<(), Poison> {
    let contract = Contract::new();
    match Framing::of(None, Some(encoded))? {
        Framing::SingleObject { fingerprint, datum } => {
            contract.read(contract.by_fingerprint(fingerprint)?, datum, ANY_DOMAIN).map(|_| ())
        }
        Framing::Tombstone | Framing::Registry { .. } => unreachable!("we wrote a single object"),
    }
}

fn outgoing(mut fields: Fields, dice: &dyn Dice) -> Result<OutgoingEvent, LineError> {
    let kind = fields.required("type")?;
    let id = fields.parsed("event_id", uuid)?.unwrap_or_else(|| dice.token());
    let booking = fields.needed("booking_id", |text| id_of(BookingId::parse(text)))?;
    let uid = fields.parsed("ical_uid", |text| id_of(IcalUid::parse(text)))?;
    let provider = fields.needed("provider_id", uuid)?;
    let sequence = fields.sequence("sequence")?;
    let occurred_at = fields.needed("occurred_at", instant)?;
    let change = match kind.as_str() {
        "BookingCreated" => Change::Created(details(&mut fields)?),
        "BookingUpdated" => Change::Updated(details(&mut fields)?),
        "BookingCancelled" => Change::Cancelled { reason: fields.text("reason")? },
        _ => {
            let names = Kind::ALL.map(Kind::name).join(", ");
            return Err(wrong("type", format!("expected one of {names}")));
        }
    };
    if let Some(field) = fields.0.keys().next() {
        return Err(wrong(field, format!("{kind} has no such field")));
    }
    let provider = ProviderId(provider);
    Ok(OutgoingEvent { id: EventId(id), booking, uid, provider, sequence, occurred_at, change })
}

fn details(fields: &mut Fields) -> Result<Details, LineError> {
    let statuses = "expected PENDING, CONFIRMED, COMPLETED or NO_SHOW";
    let status = |text: &str| Status::parse(text).ok_or_else(|| statuses.to_owned());
    let zone = |text: &str| text.parse::<Tz>().map_err(|_| "expected an IANA zone".to_owned());
    Ok(Details {
        status: fields.parsed("status", status)?.unwrap_or(Status::Confirmed),
        start: fields.needed("start_time", instant)?,
        end: fields.needed("end_time", instant)?,
        zone: fields.parsed("time_zone", zone)?.unwrap_or(Tz::UTC),
        service_name: fields.required("service_name")?,
        title: fields.text("title")?,
        description: fields.text("description")?,
        location: fields.text("location")?,
        notes: fields.text("notes")?,
        customer_name: fields.text("customer_name")?,
        customer_email: fields.text("customer_email")?,
    })
}

fn uuid(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| "expected a UUID".to_owned())
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc()).map_err(|_| "expected a time as RFC 3339 has it".to_owned())
}

fn id_of<T>(parsed: Result<T, IdError>) -> Result<T, String> {
    parsed.map_err(|error| error.to_string())
}

fn wrong(field: &str, reason: impl Into<String>) -> LineError {
    LineError::Field { field: field.to_owned(), reason: reason.into() }
}

/// A line's fields, each taken once; null is the same as none.
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&mut self, field: &str) -> Result<Option<String>, LineError> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(wrong(field, "expected a text"))
            }
        }
    }

    fn required(&mut self, field: &str) -> Result<String, LineError> {
        self.text(field)?.ok_or_else(|| wrong(field, "it is missing"))
    }

    fn parsed<T>(
        &mut self,
        field: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, LineError> {
        let text = self.text(field)?;
        text.map(|text| parse(&text).map_err(|reason| wrong(field, reason))).transpose()
    }

    fn needed<T>(
        &mut self,
        field: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, LineError> {
        self.parsed(field, parse)?.ok_or_else(|| wrong(field, "it is missing"))
    }

    fn sequence(&mut self, field: &str) -> Result<Option<i64>, LineError> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let sequence = value.as_i64();
                sequence.map(Some).ok_or_else(|| wrong(field, "expected a whole number"))
            }
        }
    }
}
