//! From Avro's values to the domain's: every rule of the contract that a schema cannot say.

use apache_avro::types::Value;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::Kind;
use crate::event::{BookingEvent, Change, Details, Status};
use crate::poison::{Poison, PoisonClass};
use crate::vocabulary::{BookingId, EventId, IcalUid, IdError, ProviderId};

/// The longest description, notes and reason of a cancellation, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The longest of all other texts, in characters.
pub const LINE_CHARS_MAX: usize = 1_000;
/// Times are from 1970 to the end of 9999, in milliseconds since 1970: what every calendar, and
/// every database, can say.
const TIME_MS_MAX: i64 = 253_402_300_799_999;
/// How much of an unknown zone's name a reason quotes, in characters.
const ZONE_QUOTE_MAX: usize = 64;

/// Why an enum's value is refused.
pub(super) const UNKNOWN_SYMBOL: &str = "a symbol that is not known here";

/// Whether it is an enum's value, in a union or not.
pub(super) fn is_symbol(value: &Value) -> bool {
    if let Value::Union(_, inner) = value {
        return is_symbol(inner);
    }
    matches!(value, Value::Enum(..))
}

/// The event that these fields, in our schema of `kind`, are.
pub(super) fn event(
    kind: Kind,
    fields: Vec<(String, Value)>,
    uid_domain: &str,
) -> Result<BookingEvent, Poison> {
    let mut fields = Fields(fields);
    let id = EventId(fields.uuid("event_id")?);
    let booking = fields.id("booking_id", BookingId::parse)?;
    let uid = match fields.optional("ical_uid")? {
        Some(text) => IcalUid::parse(&text),
        None => IcalUid::of_booking(&booking, uid_domain),
    };
    Ok(BookingEvent {
        id,
        uid: uid.map_err(|error| invalid("ical_uid", error))?,
        booking,
        provider: ProviderId(fields.uuid("provider_id")?),
        sequence: fields.sequence("sequence")?,
        occurred_at: fields.time("occurred_at")?,
        change: match kind {
            Kind::Created => Change::Created(details(&mut fields)?),
            Kind::Updated => Change::Updated(details(&mut fields)?),
            Kind::Cancelled => Change::Cancelled { reason: fields.optional_text("reason")? },
        },
    })
}

fn details(fields: &mut Fields) -> Result<Details, Poison> {
    let details = Details {
        status: fields.status("status")?,
        start: fields.time("start_time")?,
        end: fields.time("end_time")?,
        zone: fields.zone("time_zone")?,
        service_name: fields.line("service_name")?,
        title: fields.optional_line("title")?,
        description: fields.optional_text("description")?,
        location: fields.optional_line("location")?,
        notes: fields.optional_text("notes")?,
        customer_name: fields.optional_line("customer_name")?,
        customer_email: fields.optional_line("customer_email")?,
    };
    if details.end <= details.start {
        return Err(invalid("end_time", "it is not after start_time"));
    }
    Ok(details)
}

/// A record's fields, each taken once.
struct Fields(Vec<(String, Value)>);

impl Fields {
    /// A field's value, out of its union.
    fn take(&mut self, name: &str) -> Value {
        let field = self.0.iter_mut().find(|(given, _)| given == name);
        let value = field.map_or(Value::Null, |(_, value)| std::mem::replace(value, Value::Null));
        if let Value::Union(_, inner) = value { *inner } else { value }
    }

    fn required(&mut self, name: &str) -> Result<String, Poison> {
        self.optional(name)?.ok_or_else(|| invalid(name, "it is missing"))
    }

    fn optional(&mut self, name: &str) -> Result<Option<String>, Poison> {
        let value = self.take(name);
        if value == Value::Null {
            return Ok(None);
        }
        let Value::String(text) = value else {
            return Err(unfit(name));
        };
        if text.contains('\0') {
            return Err(invalid(name, "it has a U+0000"));
        }
        Ok(Some(text))
    }

    fn line(&mut self, name: &str) -> Result<String, Poison> {
        line(name, self.required(name)?)
    }

    fn optional_line(&mut self, name: &str) -> Result<Option<String>, Poison> {
        self.optional(name)?.map(|text| line(name, text)).transpose()
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<String>, Poison> {
        let text = self.optional(name)?;
        match text.as_deref().map_or(0, str::len) {
            len if len > TEXT_BYTES_MAX => {
                Err(too_large(name, &format!("{len} bytes, and {TEXT_BYTES_MAX} are accepted")))
            }
            _ => Ok(text),
        }
    }

    fn id<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Poison> {
        parse(&self.required(name)?).map_err(|error| invalid(name, error))
    }

    fn uuid(&mut self, name: &str) -> Result<Uuid, Poison> {
        Uuid::try_parse(&self.required(name)?).map_err(|_| invalid(name, "it is not a UUID"))
    }

    fn sequence(&mut self, name: &str) -> Result<Option<i64>, Poison> {
        let value = self.take(name);
        if value == Value::Null {
            return Ok(None);
        }
        let Value::Long(sequence) = value else {
            return Err(unfit(name));
        };
        if sequence < 0 {
            return Err(invalid(name, "it is negative"));
        }
        Ok(Some(sequence))
    }

    fn time(&mut self, name: &str) -> Result<DateTime<Utc>, Poison> {
        let Value::TimestampMillis(millis) = self.take(name) else {
            return Err(unfit(name));
        };
        let in_range = Some(millis).filter(|millis| (0..=TIME_MS_MAX).contains(millis));
        in_range
            .and_then(DateTime::from_timestamp_millis)
            .ok_or_else(|| invalid(name, "it is not between the years 1970 and 9999"))
    }

    fn zone(&mut self, name: &str) -> Result<Tz, Poison> {
        let text = self.required(name)?;
        text.parse().map_err(|_| {
            // A zone is no secret, and its name is what has to be mended.
            let quote: String =
                text.chars().filter(char::is_ascii_graphic).take(ZONE_QUOTE_MAX).collect();
            invalid(name, format!("{quote:?} is not a zone that we know"))
        })
    }

    fn status(&mut self, name: &str) -> Result<Status, Poison> {
        let Value::Enum(_, symbol) = self.take(name) else {
            return Err(unfit(name));
        };
        Status::parse(&symbol).ok_or_else(|| invalid(name, UNKNOWN_SYMBOL))
    }
}

fn line(name: &str, text: String) -> Result<String, Poison> {
    // A character has at least one byte, so most texts need no counting.
    if text.len() > LINE_CHARS_MAX {
        let chars = text.chars().count();
        if chars > LINE_CHARS_MAX {
            let reason = format!("{chars} characters, and {LINE_CHARS_MAX} are accepted");
            return Err(too_large(name, &reason));
        }
    }
    Ok(text)
}

fn invalid(name: &str, reason: impl std::fmt::Display) -> Poison {
    Poison::new(PoisonClass::Invalid, format!("{name}: {reason}"))
}

fn too_large(name: &str, reason: &str) -> Poison {
    Poison::new(PoisonClass::TooLarge, format!("{name}: {reason}"))
}

/// Cannot be: the fields were read with our schema, or resolved to it.
fn unfit(name: &str) -> Poison {
    invalid(name, "its value does not fit")
}
