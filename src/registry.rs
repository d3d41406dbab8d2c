//! The Schema Registry, as a consumer needs it: the writer's schema under an id or a GUID.
//!
//! `GET /schemas/ids/{id}` and `GET /schemas/guids/{guid}` (Confluent Schema Registry API
//! reference). A schema never changes under its name, so what was read is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use booking::decode::{Contract, SchemaKey, Writer};
use booking::{Poison, PoisonClass};
use reqwest::Method;
use reqwest::header::ACCEPT;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::calendar::Credentials;
use crate::calendar::http::{Exchanged, Http, Request, Response};
use crate::clock::Clock;
use crate::pipeline::schemas::{SchemaError, Schemas};

/// The most schemas that are kept; a topic has a few.
pub const SCHEMAS_MAX: usize = 1_000;

/// How often a 404 is asked about again before the record becomes a dead letter: a registry's
/// follower can lag behind its leader.
pub const MISSING_TRIES_MAX: u32 = 3;

/// How long a 404 stands without being asked about again: a run of records that name one schema
/// costs one asking, and a schema that is registered late is known soon.
pub const MISSING_KEPT: Duration = Duration::from_mins(1);

/// The wait between these.
const MISSING_DELAY: Duration = Duration::from_millis(300);

/// A client of one registry.
pub struct Registry {
    http: Http,
    url: Url,
    credentials: Option<Credentials>,
    contract: Contract,
    kept: Mutex<HashMap<SchemaKey, Result<Arc<Writer>, Poison>>>,
    /// What is not there, and until when that stands, on the clock's stopwatch.
    missing: Mutex<HashMap<SchemaKey, (Poison, Duration)>>,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    schema: String,
    /// Absent for Avro.
    schema_type: Option<String>,
}

/// A registry's refusal, as its API reference has it.
#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
}

/// What is thought of an answer that no registry gives.
const NOT_ONE: &str = "is there a schema registry at registry.url?";

/// Whether a 404 is a registry's own word for a schema that it does not have (40403). Whoever
/// else answers at this address knows nothing about schemas, and no record is to die of that.
fn says_missing(body: &[u8]) -> bool {
    const SCHEMA_NOT_FOUND: u32 = 40403;
    serde_json::from_slice(body).is_ok_and(|said: Refusal| said.error_code == SCHEMA_NOT_FOUND)
}

impl Registry {
    /// A client of the registry at `url`.
    pub fn new(
        http: Http,
        url: Url,
        credentials: Option<(String, SecretString)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let credentials =
            credentials.map(|(username, password)| Credentials::Basic { username, password });
        let contract = Contract::new();
        let (kept, missing) = (Mutex::default(), Mutex::default());
        Self { http, url, credentials, contract, kept, missing, clock }
    }

    async fn fetch(&self, schema: SchemaKey) -> Result<Result<Arc<Writer>, Poison>, SchemaError> {
        for tries in 1.. {
            let response = self.ask(schema).await?;
            match response.status {
                200 => {
                    let answer = serde_json::from_slice(&response.body).map_err(|_| {
                        let reason = format!("it answers no schema for {schema}: {NOT_ONE}");
                        SchemaError::Unavailable { reason }
                    })?;
                    return Ok(self.writer_of(schema, &answer));
                }
                404 if !says_missing(&response.body) => {
                    let reason = format!("it answers 404 for schema {schema}: {NOT_ONE}");
                    return Err(SchemaError::Unavailable { reason });
                }
                404 if tries < MISSING_TRIES_MAX => tokio::time::sleep(MISSING_DELAY).await,
                404 => {
                    let reason = format!("the schema registry has no schema {schema}");
                    let poison = Poison::new(PoisonClass::UnknownSchema, reason);
                    self.keep_missing(schema, poison.clone());
                    return Err(poison.into());
                }
                status => {
                    let reason = format!("it answers {status} for schema {schema}");
                    return Err(SchemaError::Unavailable { reason });
                }
            }
        }
        unreachable!("the tries are bounded")
    }

    fn missing(&self) -> MutexGuard<'_, HashMap<SchemaKey, (Poison, Duration)>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The verdict of lately that there is no such schema.
    fn known_missing(&self, schema: SchemaKey) -> Option<Poison> {
        let now = self.clock.elapsed();
        self.missing().get(&schema).filter(|(_, until)| now < *until).map(|(it, _)| it.clone())
    }

    fn keep_missing(&self, schema: SchemaKey, poison: Poison) {
        let now = self.clock.elapsed();
        let mut missing = self.missing();
        if missing.len() >= SCHEMAS_MAX {
            missing.retain(|_, (_, until)| now < *until);
        }
        if missing.len() < SCHEMAS_MAX {
            missing.insert(schema, (poison, now + MISSING_KEPT));
        }
    }

    async fn ask(&self, schema: SchemaKey) -> Result<Response, SchemaError> {
        let path = match schema {
            SchemaKey::Id(id) => format!("schemas/ids/{id}"),
            SchemaKey::Guid(guid) => format!("schemas/guids/{guid}"),
        };
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        let accept = "application/vnd.schemaregistry.v1+json, application/json".to_owned();
        let request = Request {
            method: Method::GET,
            url,
            credentials: self.credentials.as_ref(),
            headers: vec![(ACCEPT, accept)],
            body: &[],
        };
        match self.http.exchange(request).await {
            Exchanged::Answered(response) => Ok(response),
            Exchanged::Lost { message, .. } => Err(SchemaError::Unavailable { reason: message }),
        }
    }

    fn writer_of(&self, schema: SchemaKey, answer: &Answer) -> Result<Arc<Writer>, Poison> {
        match answer.schema_type.as_deref() {
            None | Some("AVRO") => self.contract.writer(&answer.schema).map(Arc::new),
            Some(_) => {
                let reason = format!("schema {schema} of the registry is not Avro");
                Err(Poison::new(PoisonClass::UnknownSchema, reason))
            }
        }
    }
}

#[async_trait]
impl Schemas for Registry {
    async fn writer(&self, schema: SchemaKey) -> Result<Arc<Writer>, SchemaError> {
        let kept = |registry: &Self| {
            let kept = registry.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&schema).cloned()
        };
        if let Some(known) = kept(self) {
            return Ok(known?);
        }
        if let Some(missing) = self.known_missing(schema) {
            return Err(missing.into());
        }
        let fetched = self.fetch(schema).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SCHEMAS_MAX {
            kept.insert(schema, fetched.clone());
        }
        Ok(fetched?)
    }

    fn ask_anew(&self) {
        self.missing().clear();
    }
}
