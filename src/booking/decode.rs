//! Reading an event from a record's bytes.
//!
//! A record is [framed](Framing): that names the schema it was written with, its *writer*. A
//! writer is one of our own schemas (looked up by fingerprint) or one that a Schema Registry gave
//! ([`Contract::writer`]). The datum is read with the writer's schema, strictly; if that differs
//! from ours, its values are resolved to ours by Avro's rules; then they become a [`BookingEvent`],
//! in which nothing can be half there. Whatever cannot be read is [`Poison`], with a class and a
//! reason that names the field and never its content.
//!
//! Input is hostile until read: [`RECORD_LEN_MAX`] bounds a record and every length in it, a
//! writer's schema is bounded so that a small record cannot grow into a large
//! value, and no bytes can panic. This module asks nobody for a schema: it knows no registry.

use std::fmt;
use std::io::{self, Read};
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{NamesRef, RecordField, RecordSchema, ResolvedSchema};
use apache_avro::types::Value;

use crate::event::BookingEvent;
use crate::poison::{Poison, PoisonClass};

mod framing;

mod schema;

mod values;

pub use framing::{Fingerprint, Framing, SINGLE_OBJECT_MARK, SchemaKey, VALUE_SCHEMA_HEADER};
pub use values::{LINE_CHARS_MAX, TEXT_BYTES_MAX};

/// The longest record that we accept, in bytes, framing included; also Kafka's own default bound.
pub const RECORD_LEN_MAX: usize = 1024 * 1024;

/// Which of the three records of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `BookingCreated`.
    Created,
    /// `BookingUpdated`.
    Updated,
    /// `BookingCancelled`.
    Cancelled,
}

impl Kind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Created, Self::Updated, Self::Cancelled];

    /// The record's name, without its namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "BookingCreated",
            Self::Updated => "BookingUpdated",
            Self::Cancelled => "BookingCancelled",
        }
    }

    /// The record's name, with its namespace.
    pub fn full_name(self) -> &'static str {
        match self {
            Self::Created => "booking.events.v1.BookingCreated",
            Self::Updated => "booking.events.v1.BookingUpdated",
            Self::Cancelled => "booking.events.v1.BookingCancelled",
        }
    }

    /// The bundled schema's text, as it stands in `schemas/`.
    pub fn schema_json(self) -> &'static str {
        match self {
            Self::Created => include_str!("../../schemas/BookingCreated.avsc"),
            Self::Updated => include_str!("../../schemas/BookingUpdated.avsc"),
            Self::Cancelled => include_str!("../../schemas/BookingCancelled.avsc"),
        }
    }

    fn bundled(self) -> &'static Bundled {
        static ALL: LazyLock<[Bundled; 3]> = LazyLock::new(|| Kind::ALL.map(Bundled::parse));
        match self {
            Self::Created => &ALL[0],
            Self::Updated => &ALL[1],
            Self::Cancelled => &ALL[2],
        }
    }

    /// The bundled schema, parsed.
    pub fn schema(self) -> &'static Schema {
        &self.bundled().schema
    }

    /// The bundled schema's fingerprint, as single-object encoding carries it.
    pub fn fingerprint(self) -> Fingerprint {
        self.bundled().fingerprint
    }

    fn reader(self) -> &'static GenericDatumReader<'static> {
        static ALL: LazyLock<[GenericDatumReader<'static>; 3]> = LazyLock::new(|| {
            Kind::ALL.map(|kind| {
                GenericDatumReader::builder(&kind.bundled().plain)
                    .build()
                    .expect("a bundled schema refers to nothing outside")
            })
        });
        match self {
            Self::Created => &ALL[0],
            Self::Updated => &ALL[1],
            Self::Cancelled => &ALL[2],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A bundled schema, parsed once.
struct Bundled {
    schema: Schema,
    /// The same with UUIDs as plain strings, so that a bad one is refused by its field's name.
    plain: Schema,
    /// `plain`'s fields, each with its default as a value.
    fields: Vec<(RecordField, Option<Value>)>,
    fingerprint: Fingerprint,
    /// What Apache's libraries for Rust (0.22) and Python (1.12) take for the fingerprint, and so
    /// what their producers write: where a logical type stood, they leave `{"type": "long"}` in the
    /// canonical form, which the specification shortens to `"long"`.
    unshortened: Fingerprint,
}

impl Bundled {
    fn parse(kind: Kind) -> Self {
        // A bound of the whole process, set once: here, before anything is read.
        apache_avro::util::max_allocation_bytes(RECORD_LEN_MAX);
        let schema = Schema::parse_str(kind.schema_json()).expect("a bundled schema is Avro");
        let plain = schema::plain(&schema);
        let Schema::Record(RecordSchema { fields, .. }) = &plain else {
            unreachable!("a bundled schema is a record");
        };
        let with_default = |field: &RecordField| {
            let default = field.default.clone().map(|json| {
                let value = Value::try_from(json).and_then(|value| value.resolve(&field.schema));
                value.expect("a bundled default fits its field")
            });
            (field.clone(), default)
        };
        let fields = fields.iter().map(with_default).collect();
        let fingerprint = fingerprint(&schema::bare(&schema));
        Self { fields, fingerprint, unshortened: self::fingerprint(&schema), plain, schema }
    }
}

fn fingerprint(schema: &Schema) -> Fingerprint {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&schema.fingerprint::<Rabin>().bytes);
    Fingerprint(bytes)
}

/// A schema that records are written with: which of ours it is a version of, and how to read it.
#[derive(Debug, Clone)]
pub struct Writer {
    kind: Kind,
    layout: Layout,
}

/// How a writer's records lie in bytes.
#[derive(Debug, Clone)]
enum Layout {
    /// As ours do: they are read with our schema, at once.
    Ours,
    /// Otherwise: they are read with this schema, and resolved to ours.
    Other(Box<Schema>),
}

impl Writer {
    /// The record of the contract that it writes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether its records have to be resolved to ours (an older or a newer producer).
    pub fn is_resolved(&self) -> bool {
        matches!(self.layout, Layout::Other(_))
    }
}

/// The records that we read.
#[derive(Debug, Clone)]
pub struct Contract {
    bundled: [Writer; 3],
}

impl Default for Contract {
    fn default() -> Self {
        Self::new()
    }
}

impl Contract {
    /// The bundled contract. Cheap: the schemas are parsed once in a process.
    pub fn new() -> Self {
        Self { bundled: Kind::ALL.map(|kind| Writer { kind, layout: Layout::Ours }) }
    }

    /// The writer of a single-object record.
    ///
    /// # Errors
    /// `unknown_schema` for a fingerprint that is none of the bundled schemas'.
    pub fn by_fingerprint(&self, fingerprint: Fingerprint) -> Result<&Writer, Poison> {
        let has_it = |writer: &&Writer| {
            let bundled = writer.kind.bundled();
            [bundled.fingerprint, bundled.unshortened].contains(&fingerprint)
        };
        self.bundled.iter().find(has_it).ok_or_else(|| {
            let reason = format!("no bundled schema has the fingerprint {fingerprint}");
            Poison::new(PoisonClass::UnknownSchema, reason)
        })
    }

    /// The writer whose schema, as a registry gives it, is `json`. It must bear the full name of
    /// one of our records, itself or as an alias.
    ///
    /// # Errors
    /// `incompatible_schema`, with the first field for which Avro's rules do not lead to ours; or
    /// because it cannot be read within our bounds.
    pub fn writer(&self, json: &str) -> Result<Writer, Poison> {
        let parsed = schema::parse(json)?;
        let Schema::Record(record) = &parsed else {
            return Err(schema::incompatible("the writer's schema is not a record"));
        };
        let kind = schema::kind(record)?;
        let resolved = ResolvedSchema::new(&parsed).map_err(|_| {
            schema::incompatible("the writer's schema refers to one that is not in it")
        })?;
        let names: &NamesRef<'_> = resolved.get_names();
        schema::bounded(record, names)?;
        let ours = &kind.bundled().fields;
        schema::readable(record, ours, names)?;
        if schema::same_layout(record, ours, names) {
            return Ok(Writer { kind, layout: Layout::Ours });
        }
        Ok(Writer { kind, layout: Layout::Other(Box::new(schema::plain(&parsed))) })
    }

    /// Reads one datum, the bytes after the framing. `uid_domain` is the domain of the UID of a
    /// booking whose event gives none.
    ///
    /// # Errors
    /// `too_large`; `malformed` if it is not exactly one record of this writer's; `invalid` if its
    /// values break the contract.
    pub fn read(
        &self,
        writer: &Writer,
        datum: &[u8],
        uid_domain: &str,
    ) -> Result<BookingEvent, Poison> {
        framing::within_bound(datum)?;
        let kind = writer.kind;
        let fields = match &writer.layout {
            Layout::Ours => exactly_one(kind, kind.reader(), datum)?,
            Layout::Other(schema) => {
                let reader = GenericDatumReader::builder(schema).build().map_err(|_| {
                    schema::incompatible("the writer's schema refers to one that is not in it")
                })?;
                resolve(kind, exactly_one(kind, &reader, datum)?)?
            }
        };
        values::event(kind, fields, uid_domain)
    }
}

/// The fields of the one record that `datum` is.
fn exactly_one(
    kind: Kind,
    reader: &GenericDatumReader<'_>,
    datum: &[u8],
) -> Result<Vec<(String, Value)>, Poison> {
    let malformed = |reason: String| Poison::new(PoisonClass::Malformed, reason);
    let mut rest = Strict { rest: datum, ended: false };
    let read = reader.read_value(&mut rest);
    let (at, len) = (datum.len() - rest.rest.len(), datum.len());
    match read {
        // The library's own words may quote the content.
        Err(_) if rest.ended => Err(malformed(format!("a {kind} that ends early, at byte {len}"))),
        Err(_) => Err(malformed(format!("not the {kind} of its schema, at byte {at} of {len}"))),
        Ok(_) if at < len => {
            Err(malformed(format!("a {kind} of {at} bytes with {} more after it", len - at)))
        }
        Ok(Value::Record(fields)) => Ok(fields),
        Ok(_) => Err(malformed(format!("not a {kind}"))),
    }
}

/// Bytes whose end is an error that the library cannot take for a value: apache-avro 0.22 reads
/// a missing text or union as null when a read ends with `UnexpectedEof`.
struct Strict<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl Read for Strict<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_exact(buffer).map(|()| buffer.len())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some((read, rest)) = self.rest.split_at_checked(buffer.len()) else {
            self.ended = true;
            return Err(io::ErrorKind::InvalidData.into());
        };
        buffer.copy_from_slice(read);
        self.rest = rest;
        Ok(())
    }
}

/// A writer's fields as ours: by name, promoted by Avro's rules, the missing ones by their
/// defaults. Done field by field, so that what does not fit is refused by its name.
fn resolve(kind: Kind, mut given: Vec<(String, Value)>) -> Result<Vec<(String, Value)>, Poison> {
    let ours = kind.bundled().fields.iter();
    ours.map(|(field, default)| {
        let name = field.name.clone();
        let unfit = |reason: &str| Poison::new(PoisonClass::Invalid, format!("{name}: {reason}"));
        let found = given.iter().position(|(given, _)| *given == name);
        let value = match found.map(|index| given.swap_remove(index).1) {
            None => default.clone().ok_or_else(|| unfit("it is missing"))?,
            Some(value) => {
                let is_symbol = values::is_symbol(&value);
                value.resolve(&field.schema).map_err(|_| {
                    unfit(if is_symbol { values::UNKNOWN_SYMBOL } else { "its value does not fit" })
                })?
            }
        };
        Ok((name, value))
    })
    .collect()
}

#[cfg(test)]
mod tests;
