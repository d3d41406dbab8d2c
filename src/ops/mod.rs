//! What the service answers over HTTP: to operators, to Prometheus, to the booking application.
//!
//! [`metrics`] counts; [`health`] says whether this process is alive and ready; [`sync`] sends one booking
//! again; [`connect`] lets hosts connect their calendars; [`answer`] says how anything is refused, and
//! [`port`] bounds it all.
//! No answer waits for a calendar. Bodies are JSON whatever their `Content-Type` says, because the
//! runbook's commands send none.

pub mod answer;

pub mod port;

pub mod metrics;

pub mod health;

pub mod sync;

pub mod connect;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use booking::BookingId;
use secrecy::SecretString;
use tokio::sync::Notify;

use self::answer::{Refusal, bearer};
use self::connect::Connect;
use self::health::Health;
use self::metrics::classic::{classic, wants_openmetrics};
use self::metrics::{CLASSIC_TYPE, Metrics, OPENMETRICS_TYPE, Seen};
pub use self::port::{listen, serve};
use crate::clock::Surroundings;
use crate::consumer::Status;
use crate::store::{Gate, Store};

/// The longest body that is read, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// What answers are made of.
#[derive(Clone)]
pub struct Ops {
    /// The state of bookings.
    pub store: Arc<dyn Store>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether this process is alive, and ready.
    pub health: Arc<Health>,
    /// How reading stands.
    pub status: Arc<Status>,
    /// The hour.
    pub surroundings: Surroundings,
    /// What the flags and allowlists let through.
    pub gate: Gate,
    /// What opens the administrator's endpoints; `None` opens them to nobody.
    pub admin_token: Option<Arc<SecretString>>,
    /// How hosts connect their calendars; `None`: not by links.
    pub connect: Option<Arc<Connect>>,
    /// Is told when something became due.
    pub wake: Arc<Notify>,
}

/// Everything that this service answers.
pub fn router(ops: Ops) -> Router {
    let health = health::router(Arc::clone(&ops.health));
    Router::new()
        .route("/api/ops/metrics/calendar", get(calendar_metrics))
        .route("/metrics", get(prometheus))
        .route("/api/calendar/sync/outbound", post(outbound))
        .merge(connect::router())
        .fallback(async || Refusal::not_found("there is no such page"))
        .method_not_allowed_fallback(async || Refusal::method())
        // The port reads no longer one.
        .layer(DefaultBodyLimit::disable())
        .with_state(ops)
        .merge(health)
}

#[derive(Debug, serde::Deserialize)]
struct Format {
    format: Option<String>,
}

/// JSON, or with `?format=prometheus` what `/metrics` answers. No token is asked for.
async fn calendar_metrics(
    State(ops): State<Ops>,
    Query(query): Query<Format>,
    headers: HeaderMap,
) -> Response {
    match query.format.as_deref() {
        None | Some("json") => axum::Json(ops.metrics.json()).into_response(),
        Some("prometheus") => prometheus(State(ops), headers).await,
        Some(_) => Refusal::field("format", "is neither json nor prometheus").into_response(),
    }
}

/// In the format that is asked for.
async fn prometheus(State(ops): State<Ops>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let seen = Seen {
        now: ops.surroundings.clock.now(),
        consumer: ops.status.snapshot(),
        pool: ops.store.pool(),
    };
    let text = ops.metrics.openmetrics(&seen);
    if wants_openmetrics(accept) {
        ([(CONTENT_TYPE, OPENMETRICS_TYPE)], text).into_response()
    } else {
        ([(CONTENT_TYPE, CLASSIC_TYPE)], classic(&text)).into_response()
    }
}

/// Sends a booking again, now: nothing if every calendar has it already.
async fn outbound(
    State(ops): State<Ops>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Refusal> {
    bearer(&headers, ops.admin_token.as_deref())?;
    let body = answer::object(&body)?;
    let id = body.get("booking_id").and_then(serde_json::Value::as_str);
    let id = id.ok_or_else(|| Refusal::field("booking_id", "is missing, or no text"))?;
    let booking =
        BookingId::parse(id).map_err(|error| Refusal::field("booking_id", &error.to_string()))?;
    let found = ops.store.hasten(&booking).await;
    let status = found.map_err(|error| Refusal::unavailable("the database", &error))?;
    let status =
        status.ok_or_else(|| Refusal::not_found(&format!("there is no booking {booking}")))?;
    let synced = sync::look(&status, &ops.gate);
    sync::log(&booking, &status, &synced);
    ops.wake.notify_waiters();
    Ok((synced.http_status(), axum::Json(synced.json(&booking, &status))).into_response())
}
