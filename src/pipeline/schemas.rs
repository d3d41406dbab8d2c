//! From a record's bytes to an event, with the writer's schema from wherever it is.

use std::sync::Arc;

use async_trait::async_trait;
use booking::decode::{Contract, Framing, SchemaKey, VALUE_SCHEMA_HEADER, Writer};
use booking::{Poison, PoisonClass};

use super::fold_batch::Reading;

/// Where the schemas of the Confluent wire format come from.
#[async_trait]
pub trait Schemas: Send + Sync + 'static {
    /// The writer's schema under this name. Answers are kept, so that a schema is fetched once.
    async fn writer(&self, schema: SchemaKey) -> Result<Arc<Writer>, SchemaError>;

    /// Forgets what was not there: a person says that it is worth asking again.
    fn ask_anew(&self) {}
}

/// Why there is no writer's schema.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SchemaError {
    /// There never will be: the record becomes a dead letter.
    #[error(transparent)]
    Poison(#[from] Poison),
    /// The registry does not answer: the partition waits.
    #[error("the schema registry does not answer: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

/// Without a registry: what names a schema in one cannot be read until one is configured.
pub struct NoRegistry;

#[async_trait]
impl Schemas for NoRegistry {
    async fn writer(&self, schema: SchemaKey) -> Result<Arc<Writer>, SchemaError> {
        let reason = format!("the record names schema {schema} of a registry, and none is set");
        Err(Poison::new(PoisonClass::UnknownSchema, reason).into())
    }
}

/// Reads one record.
pub async fn read(
    contract: &Contract,
    schemas: &dyn Schemas,
    headers: &[(String, Option<Vec<u8>>)],
    payload: Option<&[u8]>,
    uid_domain: &str,
) -> Result<Reading, SchemaError> {
    let named = headers.iter().rev().find(|(name, _)| name == VALUE_SCHEMA_HEADER);
    let header = named.and_then(|(_, value)| value.as_deref());
    let event = match Framing::of(header, payload)? {
        Framing::Tombstone => return Ok(Reading::Tombstone),
        Framing::SingleObject { fingerprint, datum } => {
            contract.read(contract.by_fingerprint(fingerprint)?, datum, uid_domain)?
        }
        Framing::Registry { schema, datum } => {
            let writer = schemas.writer(schema).await?;
            contract.read(&writer, datum, uid_domain)?
        }
    };
    Ok(Reading::Event(Box::new(event)))
}
