//! What stands around a datum: which schema it was written with, and where it begins.

use std::fmt;

use uuid::Uuid;

use super::RECORD_LEN_MAX;
use crate::poison::{Poison, PoisonClass};

/// The record header in which Confluent's newer serializers put the value's schema id.
pub const VALUE_SCHEMA_HEADER: &str = "__value_schema_id";

/// Confluent's mark of a schema id of four bytes, in a prefix or in the header.
const MARK_ID: u8 = 0;
/// Confluent's mark of a schema GUID, in the header.
const MARK_GUID: u8 = 1;
/// The mark of Avro's single-object encoding, version 1.
pub const SINGLE_OBJECT_MARK: [u8; 2] = [0xC3, 0x01];

/// A schema's CRC-64-AVRO over its canonical form, little-endian, as single-object encoding
/// carries it (Avro 1.12 specification, "Single-object encoding").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A schema's name in a Schema Registry. One schema can have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaKey {
    /// Its number in that registry.
    Id(u32),
    /// Its name in every registry.
    Guid(Uuid),
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id {id}"),
            Self::Guid(guid) => write!(f, "GUID {guid}"),
        }
    }
}

/// A record's value, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A null value: nothing to read, and nothing to do.
    Tombstone,
    /// Avro's single-object encoding.
    SingleObject {
        /// The writer's schema.
        fingerprint: Fingerprint,
        /// The record.
        datum: &'a [u8],
    },
    /// Written with a Schema Registry's serializer.
    Registry {
        /// The writer's schema.
        schema: SchemaKey,
        /// The record.
        datum: &'a [u8],
    },
}

impl<'a> Framing<'a> {
    /// Takes apart a record's value. `header` is the value of [`VALUE_SCHEMA_HEADER`], if the
    /// record has one: it comes first, as in Confluent's own deserializers, and then the value has
    /// no prefix. It holds 01 and a GUID, or 00 and an id.
    ///
    /// # Errors
    /// `too_large` above [`RECORD_LEN_MAX`] bytes; `malformed` for what is no framing at all.
    pub fn of(header: Option<&[u8]>, payload: Option<&'a [u8]>) -> Result<Self, Poison> {
        let Some(payload) = payload else {
            return Ok(Self::Tombstone);
        };
        within_bound(payload)?;
        if let Some(header) = header {
            return Ok(Self::Registry { schema: header_key(header)?, datum: payload });
        }
        if let Some(rest) = payload.strip_prefix(&SINGLE_OBJECT_MARK) {
            let (fingerprint, datum) = split(rest, "fingerprint")?;
            return Ok(Self::SingleObject { fingerprint: Fingerprint(fingerprint), datum });
        }
        match payload {
            [] => Err(malformed("an empty value")),
            [MARK_ID, rest @ ..] => {
                let (id, datum) = split(rest, "schema id")?;
                Ok(Self::Registry { schema: SchemaKey::Id(u32::from_be_bytes(id)), datum })
            }
            [..] => Err(malformed("it begins like no framing that we know (00, or C3 01)")),
        }
    }
}

/// Refuses what is longer than we read.
pub(super) fn within_bound(bytes: &[u8]) -> Result<(), Poison> {
    if bytes.len() <= RECORD_LEN_MAX {
        return Ok(());
    }
    let reason = format!("{} bytes, and {RECORD_LEN_MAX} are accepted", bytes.len());
    Err(Poison::new(PoisonClass::TooLarge, reason))
}

fn header_key(header: &[u8]) -> Result<SchemaKey, Poison> {
    let unknown = || {
        malformed(format!(
            "the header {VALUE_SCHEMA_HEADER} is neither 00 and an id nor 01 and a GUID"
        ))
    };
    match header {
        [MARK_GUID, guid @ ..] => guid
            .try_into()
            .map(|guid| SchemaKey::Guid(Uuid::from_bytes(guid)))
            .map_err(|_| unknown()),
        [MARK_ID, id @ ..] => {
            id.try_into().map(|id| SchemaKey::Id(u32::from_be_bytes(id))).map_err(|_| unknown())
        }
        [] | [..] => Err(unknown()),
    }
}

fn split<'a, const N: usize>(bytes: &'a [u8], what: &str) -> Result<([u8; N], &'a [u8]), Poison> {
    let (first, rest) =
        bytes.split_first_chunk().ok_or_else(|| malformed(format!("it ends inside its {what}")))?;
    Ok((*first, rest))
}

fn malformed(reason: impl Into<String>) -> Poison {
    Poison::new(PoisonClass::Malformed, reason)
}
