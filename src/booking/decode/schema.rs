//! A writer's schema: whose it is, whether it leads to ours, and whether it is safe to read with.

use apache_avro::Schema;
use apache_avro::schema::{
    ArraySchema, DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, MapSchema, NamesRef,
    RecordField, RecordSchema, SchemaKind, UnionSchema, UuidSchema,
};
use apache_avro::types::Value;

use super::{Kind, RECORD_LEN_MAX};
use crate::poison::{Poison, PoisonClass};

/// The longest schema that we parse, in bytes.
const SCHEMA_LEN_MAX: usize = 256 * 1024;
/// The deepest nesting that we read, the record itself being the first level.
const DEPTH_MAX: usize = 8;
/// The most parts that a schema may have, its names written out.
const PARTS_MAX: usize = 4_096;

pub(super) fn incompatible(reason: impl Into<String>) -> Poison {
    Poison::new(PoisonClass::IncompatibleSchema, reason)
}

/// Reads a schema's text.
pub(super) fn parse(json: &str) -> Result<Schema, Poison> {
    if json.len() > SCHEMA_LEN_MAX {
        let len = json.len();
        return Err(incompatible(format!(
            "the writer's schema has {len} bytes, and {SCHEMA_LEN_MAX} are accepted"
        )));
    }
    Schema::parse_str(json).map_err(|_| incompatible("the writer's schema is not an Avro schema"))
}

/// Which of our records it is a version of: by its full name, or by an alias.
pub(super) fn kind(writer: &RecordSchema) -> Result<Kind, Poison> {
    let namespace = writer.name.namespace();
    let aliases = writer.aliases.iter().flatten().map(|alias| alias.fullname(namespace));
    let mut names = std::iter::once(writer.name.fullname(None)).chain(aliases);
    names
        .find_map(|name| Kind::ALL.into_iter().find(|kind| kind.full_name() == name))
        .ok_or_else(|| incompatible("the writer's schema has the name of none of our records"))
}

/// The same schema with UUIDs as plain strings, in its own fields and in unions there. The bytes
/// are the same; the library would refuse a bad UUID without saying where it stands.
pub(super) fn plain(schema: &Schema) -> Schema {
    with_fields(schema, plain_field)
}

/// One of our schemas without any logical type, as its canonical form has to be made from.
pub(super) fn bare(schema: &Schema) -> Schema {
    with_fields(schema, |field| {
        let is_time = matches!(field, Schema::TimestampMillis);
        if is_time { Schema::Long } else { plain_field(field) }
    })
}

fn with_fields(schema: &Schema, change: impl Fn(&Schema) -> Schema) -> Schema {
    let Schema::Record(record) = schema else {
        return schema.clone();
    };
    let mut record = record.clone();
    for field in &mut record.fields {
        field.schema = change(&field.schema);
    }
    Schema::Record(record)
}

fn plain_field(schema: &Schema) -> Schema {
    if let Schema::Uuid(UuidSchema::String) = schema {
        return Schema::String;
    }
    let Schema::Union(union) = schema else {
        return schema.clone();
    };
    let variants = union.variants().iter().map(plain_field).collect();
    // A union of a string and a UUID stays as it is: it cannot hold two strings.
    UnionSchema::new(variants).map_or_else(|_| schema.clone(), Schema::Union)
}

fn named<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> &'a Schema {
    let Schema::Ref { name } = schema else {
        return schema;
    };
    names.get(name).copied().unwrap_or(schema)
}

/// Whether Avro's rules of schema resolution lead from each of the writer's fields to ours, for
/// some value at least. Stricter than they are in one point: a time in another unit than ours has
/// the same bytes for a reader who drops logical types, and would be read a thousandfold.
pub(super) fn readable(
    writer: &RecordSchema,
    ours: &[(RecordField, Option<Value>)],
    names: &NamesRef<'_>,
) -> Result<(), Poison> {
    for (field, default) in ours {
        let name = &field.name;
        match writer.fields.iter().find(|given| given.name == *name) {
            None if default.is_some() => {}
            None => return Err(incompatible(format!("{name}: the writer's schema has none"))),
            Some(given) => {
                let given = plain_field(&given.schema);
                if !fits(&given, &field.schema, names) {
                    let (from, to) = (SchemaKind::from(&given), SchemaKind::from(&field.schema));
                    return Err(incompatible(format!("{name}: {from:?} cannot be read as {to:?}")));
                }
            }
        }
    }
    Ok(())
}

fn fits(writer: &Schema, ours: &Schema, names: &NamesRef<'_>) -> bool {
    match (named(writer, names), ours) {
        (Schema::Union(union), _) => union.variants().iter().any(|v| fits(v, ours, names)),
        (writer, Schema::Union(union)) => union.variants().iter().any(|v| fits(writer, v, names)),
        (writer, ours) => fits_plain(writer, ours),
    }
}

fn fits_plain(writer: &Schema, ours: &Schema) -> bool {
    matches!(
        (writer, ours),
        (Schema::Null, Schema::Null)
            | (Schema::String | Schema::Bytes, Schema::String)
            | (Schema::Int | Schema::Long, Schema::Long | Schema::TimestampMillis)
            | (Schema::TimestampMillis, Schema::TimestampMillis)
            | (Schema::Enum(_), Schema::Enum(_))
    )
}

/// Whether a record of the writer's has the bytes that ours would have.
pub(super) fn same_layout(
    writer: &RecordSchema,
    ours: &[(RecordField, Option<Value>)],
    names: &NamesRef<'_>,
) -> bool {
    let same_field = |(given, (field, _)): (&RecordField, &(RecordField, _))| {
        given.name == field.name && same_bytes(&plain_field(&given.schema), &field.schema, names)
    };
    writer.fields.len() == ours.len() && writer.fields.iter().zip(ours).all(same_field)
}

fn same_bytes(writer: &Schema, ours: &Schema, names: &NamesRef<'_>) -> bool {
    match (named(writer, names), ours) {
        (Schema::Union(writer), Schema::Union(ours)) => {
            let (writer, ours) = (writer.variants(), ours.variants());
            writer.len() == ours.len()
                && writer.iter().zip(ours).all(|(writer, ours)| same_bytes(writer, ours, names))
        }
        (Schema::Enum(writer), Schema::Enum(ours)) => writer.symbols == ours.symbols,
        (writer, ours) => matches!(
            (writer, ours),
            (Schema::Null, Schema::Null)
                | (Schema::String, Schema::String)
                | (Schema::Long, Schema::Long)
                | (Schema::Long | Schema::TimestampMillis, Schema::TimestampMillis)
        ),
    }
}

/// Refuses a schema with which few bytes could become many values: every part takes at least a
/// byte, nothing nests deeper than [`DEPTH_MAX`] (so nothing is recursive, and a record cannot
/// exhaust the stack), and it is not endless when its names are written out.
pub(super) fn bounded(writer: &RecordSchema, names: &NamesRef<'_>) -> Result<(), Poison> {
    let mut parts = 0;
    bounded_record(writer, names, 1, &mut parts)
}

fn bounded_record(
    record: &RecordSchema,
    names: &NamesRef<'_>,
    depth: usize,
    parts: &mut usize,
) -> Result<(), Poison> {
    if record.fields.is_empty() {
        return Err(takes_no_bytes());
    }
    record.fields.iter().try_for_each(|field| bounded_part(&field.schema, names, depth, parts))
}

fn bounded_part(
    schema: &Schema,
    names: &NamesRef<'_>,
    depth: usize,
    parts: &mut usize,
) -> Result<(), Poison> {
    *parts += 1;
    if *parts > PARTS_MAX {
        return Err(incompatible(format!("the writer's schema has over {PARTS_MAX} parts")));
    }
    if depth > DEPTH_MAX {
        return Err(incompatible(format!(
            "the writer's schema is nested deeper than {DEPTH_MAX} levels, or without end"
        )));
    }
    match named(schema, names) {
        Schema::Null => Err(takes_no_bytes()),
        Schema::Record(record) => bounded_record(record, names, depth + 1, parts),
        Schema::Array(ArraySchema { items, .. }) => bounded_part(items, names, depth + 1, parts),
        Schema::Map(MapSchema { types, .. }) => bounded_part(types, names, depth + 1, parts),
        Schema::Union(union) => {
            // The branch's number takes a byte, so null may stand here.
            let mut others = union.variants().iter().filter(|v| !matches!(v, Schema::Null));
            others.try_for_each(|variant| bounded_part(variant, names, depth + 1, parts))
        }
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => {
            bounded_fixed(fixed)
        }
        Schema::Enum(EnumSchema { .. })
        | Schema::Boolean
        | Schema::Int
        | Schema::Long
        | Schema::Float
        | Schema::Double
        | Schema::Bytes
        | Schema::String
        | Schema::Decimal(_)
        | Schema::BigDecimal
        | Schema::Uuid(UuidSchema::String | UuidSchema::Bytes)
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos
        | Schema::Ref { .. } => Ok(()),
    }
}

fn bounded_fixed(fixed: &FixedSchema) -> Result<(), Poison> {
    match fixed.size {
        0 => Err(takes_no_bytes()),
        1..=RECORD_LEN_MAX => Ok(()),
        _ => Err(incompatible("the writer's schema has a part that is longer than a record")),
    }
}

fn takes_no_bytes() -> Poison {
    incompatible("the writer's schema has a part that takes no bytes")
}
