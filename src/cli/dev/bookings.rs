//! A stand-in for the booking service: its three endpoints, and the topic that it publishes to.
//!
//! A booking is made, changed or cancelled when Kafka has acknowledged its event, and not before:
//! with the broker away the answer is 503, and the booking is as it was. Bookings live in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use chrono::{DateTime, SecondsFormat};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::cli::encode::{LineError, read_line};
use crate::cli::publish::producer;
use crate::clock::Surroundings;
use crate::ops::BODY_LEN_MAX;
use crate::ops::answer::{Refusal, bearer, object};

/// How long Kafka may take to acknowledge an event.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bookings that are remembered.
pub const BOOKINGS_MAX: usize = 100_000;

/// What one may say of a booking. Anything else in a body is somebody else's business.
const FIELDS: [&str; 12] = [
    "provider_id",
    "status",
    "start_time",
    "end_time",
    "time_zone",
    "service_name",
    "title",
    "description",
    "location",
    "notes",
    "customer_name",
    "customer_email",
];

/// What a booking may not lack; the service's name is its id, if none is given.
const NEEDED: [&str; 3] = ["provider_id", "start_time", "end_time"];

/// The booking service.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    producer: FutureProducer,
    topic: String,
    customer_token: SecretString,
    surroundings: Surroundings,
    /// Is told of each booking that was made.
    made: Box<dyn Fn(&str) + Send + Sync>,
    bookings: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Booked>>>>,
}

/// A booking, as it was last published.
#[derive(Debug, Clone)]
struct Booked {
    fields: Map<String, Value>,
    service_id: Value,
    sequence: i64,
    cancelled: bool,
}

impl Desk {
    /// Publishes to a topic, with librdkafka's `properties`. `made` is told of each new booking.
    ///
    /// # Errors
    /// Where librdkafka does not take the properties.
    pub fn new(
        properties: ClientConfig,
        topic: &str,
        customer_token: SecretString,
        surroundings: &Surroundings,
        made: impl Fn(&str) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let mut properties = properties;
        properties.set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        let producer = producer(properties).context("cannot make a producer")?;
        Ok(Self(Arc::new(Inner {
            producer,
            topic: topic.to_owned(),
            customer_token,
            surroundings: surroundings.clone(),
            made: Box::new(made),
            bookings: Mutex::default(),
        })))
    }

    /// Its endpoints.
    pub fn router(self) -> Router {
        Router::new()
            .route("/api/bookings", post(create))
            .route("/api/bookings/{id}", get(show).patch(change))
            .route("/api/bookings/{id}/cancel", post(cancel))
            .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
            .with_state(self)
    }

    fn enter(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        bearer(headers, Some(&self.0.customer_token))
    }

    fn bookings(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<tokio::sync::Mutex<Booked>>>> {
        self.0.bookings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<tokio::sync::Mutex<Booked>>, Refusal> {
        let found = self.bookings().get(id).cloned();
        found.ok_or_else(|| Refusal::not_found(&format!("there is no booking {id}")))
    }

    /// Publishes one event of a booking, and awaits that Kafka has it.
    async fn publish(
        &self,
        kind: &str,
        id: &str,
        sequence: i64,
        fields: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        let now = self.0.surroundings.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut event = fields.clone();
        for (name, value) in [
            ("type", json!(kind)),
            ("booking_id", json!(id)),
            ("sequence", json!(sequence)),
            ("occurred_at", json!(now)),
        ] {
            event.insert(name.to_owned(), value);
        }
        let line = Value::Object(event).to_string();
        let (_, record) =
            read_line(line.as_bytes(), &*self.0.surroundings.dice).map_err(refused)?;
        let sent = FutureRecord::to(&self.0.topic).key(id).payload(&record);
        let delivery = self.0.producer.send_result(sent).map_err(|(error, _)| error);
        let away = |error: &(dyn std::error::Error + 'static)| Refusal::unavailable("Kafka", error);
        let delivered =
            delivery.map_err(|error| away(&error))?.await.map_err(|error| away(&error))?;
        delivered.map(drop).map_err(|(error, _)| away(&error))
    }
}

/// What is wrong with an event, by its field.
fn refused(error: LineError) -> Refusal {
    match error {
        LineError::Field { field, reason } => {
            let known = FIELDS.into_iter().find(|name| *name == field).unwrap_or("booking");
            Refusal::field(known, &reason)
        }
        LineError::Refused(_) | LineError::Json(_) | LineError::NotAnObject => {
            Refusal::field("booking", &error.to_string())
        }
    }
}

/// The fields of a body that are a booking's, on top of those that it has.
fn merged(mut fields: Map<String, Value>, body: &Map<String, Value>) -> Map<String, Value> {
    for name in FIELDS {
        if let Some(value) = body.get(name) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    fields
}

/// All that is wrong with a booking as far as its fields alone tell.
fn check(fields: &Map<String, Value>) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    for name in NEEDED {
        if fields.get(name).is_none_or(Value::is_null) {
            wrong.push((name, "it is missing".to_owned()));
        }
    }
    let time = |name: &str| {
        let text = fields.get(name)?.as_str()?;
        DateTime::parse_from_rfc3339(text).ok()
    };
    for name in ["start_time", "end_time"] {
        if fields.contains_key(name) && time(name).is_none() {
            wrong.push((name, "expected a time as RFC 3339 has it".to_owned()));
        }
    }
    if let (Some(start), Some(end)) = (time("start_time"), time("end_time"))
        && end <= start
    {
        wrong.push(("end_time", "must be after start_time".to_owned()));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Refusal::fields(wrong)) }
}

fn shown(id: &str, booked: &Booked) -> Value {
    let mut shown = booked.fields.clone();
    shown.insert("id".to_owned(), json!(id));
    shown.insert("service_id".to_owned(), booked.service_id.clone());
    let status = if booked.cancelled { json!("CANCELLED") } else { shown_status(&booked.fields) };
    shown.insert("status".to_owned(), status);
    Value::Object(shown)
}

fn shown_status(fields: &Map<String, Value>) -> Value {
    fields.get("status").cloned().unwrap_or_else(|| json!("CONFIRMED"))
}

async fn create(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    desk.enter(&headers)?;
    let body = object(&body)?;
    let mut fields = merged(Map::new(), &body);
    let service_id = body.get("service_id").cloned().unwrap_or_default();
    if !fields.contains_key("service_name") {
        let name = service_id.as_str().filter(|name| !name.is_empty()).unwrap_or("Appointment");
        fields.insert("service_name".to_owned(), json!(name));
    }
    check(&fields)?;
    if desk.bookings().len() >= BOOKINGS_MAX {
        return Err(Refusal::conflict("this stand-in remembers no more bookings: start it again"));
    }
    let id = desk.0.surroundings.dice.token().to_string();
    desk.publish("BookingCreated", &id, 1, &fields).await?;
    let booked = Booked { fields, service_id, sequence: 1, cancelled: false };
    let answer = (StatusCode::CREATED, axum::Json(shown(&id, &booked))).into_response();
    desk.bookings().insert(id.clone(), Arc::new(tokio::sync::Mutex::new(booked)));
    (desk.0.made)(&id);
    Ok(answer)
}

async fn show(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    desk.enter(&headers)?;
    let booked = desk.find(&id)?;
    let booked = booked.lock().await;
    Ok(axum::Json(shown(&id, &booked)).into_response())
}

async fn change(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    desk.enter(&headers)?;
    let booked = desk.find(&id)?;
    let body = object(&body)?;
    // One change of a booking at a time: its events stay in the order of their sequence.
    let mut booked = booked.lock().await;
    if booked.cancelled {
        return Err(Refusal::conflict(&format!("the booking {id} is cancelled")));
    }
    let fields = merged(booked.fields.clone(), &body);
    check(&fields)?;
    // A sequence is used once, also where Kafka did not say whether it has the event.
    booked.sequence += 1;
    desk.publish("BookingUpdated", &id, booked.sequence, &fields).await?;
    booked.fields = fields;
    Ok(axum::Json(shown(&id, &booked)).into_response())
}

/// Cancelling what is cancelled changes nothing, and is no error.
async fn cancel(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    desk.enter(&headers)?;
    let booked = desk.find(&id)?;
    let mut booked = booked.lock().await;
    if !booked.cancelled {
        booked.sequence += 1;
        let provider = booked.fields.get("provider_id").cloned().unwrap_or_default();
        let fields = Map::from_iter([("provider_id".to_owned(), provider)]);
        desk.publish("BookingCancelled", &id, booked.sequence, &fields).await?;
        booked.cancelled = true;
    }
    Ok(axum::Json(shown(&id, &booked)).into_response())
}
