//! What the service answers over HTTP: to operators, to Prometheus, to the booking application.
//!
//! [`metrics`] counts; [`sync`] sends one booking again; [`connect`] lets
//! hosts connect their calendars; [`answer`] says how anything is refused, and [`port`] bounds it all.
//! No answer waits for a calendar. Bodies are JSON whatever their `Content-Type` says, because the
//! runbook's commands send none.

pub mod answer;

pub mod port;

pub mod metrics;

pub mod sync;

pub mod connect;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use booking::BookingId;
use secrecy::SecretString;
use tokio::sync::Notify;

use self::answer::{Refusal, bearer};
use self::connect::Connect;
use self::metrics::{Metrics, PROMETHEUS_TYPE};
pub use self::port::{listen, serve};
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
}

#[derive(Debug, serde::Deserialize)]
struct Format {
    format: Option<String>,
}

/// JSON, or with `?format=prometheus` what `/metrics` answers. No token is asked for.
async fn calendar_metrics(State(ops): State<Ops>, Query(query): Query<Format>) -> Response {
    match query.format.as_deref() {
        None | Some("json") => {
            count(&ops).await;
            axum::Json(ops.metrics.json()).into_response()
        }
        Some("prometheus") => prometheus(State(ops)).await,
        Some(_) => Refusal::field("format", "is neither json nor prometheus").into_response(),
    }
}

async fn prometheus(State(ops): State<Ops>) -> Response {
    count(&ops).await;
    ([(CONTENT_TYPE, PROMETHEUS_TYPE)], ops.metrics.prometheus()).into_response()
}

/// The longest that metrics wait for the database. What it said last stands until it answers again:
/// counters are told though it is away.
const COUNT_MAX: Duration = Duration::from_secs(1);

async fn count(ops: &Ops) {
    match tokio::time::timeout(COUNT_MAX, ops.store.fills()).await {
        Ok(Ok(fills)) => ops.metrics.counted(fills),
        Ok(Err(error)) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "what is left to fill was not counted"
        ),
        Err(_) => tracing::debug!("what is left to fill was not counted in time"),
    }
}

/// Sends a booking again, now: nothing if every calendar has it already.
async fn outbound(
    State(ops): State<Ops>,
    headers: axum::http::HeaderMap,
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
