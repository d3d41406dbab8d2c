//! What is done on account of one span: whoever does it need not be handed the span. The client that
//! asks calendars knows no effect, and tells of every request all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanKind;
use url::Url;

use super::live::Live;
use super::tracer::{NewSpan, Recorded as _, Tracer};
use crate::trace_parent::TraceParent;

/// So many requests of one call are told the outcome of; further ones end without it.
const ATTEMPTS_MAX: usize = 16;

tokio::task_local! {
    static SCOPE: Arc<Scope>;
}

/// A span while what it stands for is done.
pub struct Scope {
    tracer: Tracer,
    /// What requests carry if they have no span of their own.
    outgoing: Option<TraceParent>,
    span: Live,
    /// Requests that were answered and whose outcome is not known yet.
    attempts: Mutex<Vec<Live>>,
}

impl Scope {
    /// Of a span. Where that is none, requests carry `outgoing`: whoever is asked may record what
    /// we do not.
    pub fn new(tracer: Tracer, span: Live, outgoing: Option<TraceParent>) -> Self {
        Self { tracer, outgoing, span, attempts: Mutex::default() }
    }

    fn attempts(&self) -> MutexGuard<'_, Vec<Live>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn child(&self, new: impl FnOnce() -> NewSpan) -> Live {
        if !self.span.is_recorded() {
            return Live::none();
        }
        self.tracer.live(new().under(&self.span))
    }
}

/// Does `work` on account of a span; without one, as it is.
pub async fn within<T>(scope: Option<Scope>, work: impl Future<Output = T>) -> T {
    match scope {
        Some(scope) => {
            let span = scope.span.clone();
            SCOPE.scope(Arc::new(scope), span.around(work)).await
        }
        None => work.await,
    }
}

/// The scope that we are in.
fn current() -> Option<Arc<Scope>> {
    SCOPE.try_with(Arc::clone).ok()
}

/// Begins a part of what is done; none, outside of any span.
pub fn child(name: &'static str) -> Live {
    let new = || NewSpan::new(name, SpanKind::Internal);
    current().map_or_else(Live::none, |scope| scope.child(new))
}

/// The outcome of a request that is only a part of a question.
const STEP: &str = "step";

/// Says what the requests since the last word came to: the last of them did, and those before it led
/// there.
pub fn came_to(verb: &'static str, outcome: &'static str) {
    let Some(scope) = current() else {
        return;
    };
    let attempts = std::mem::take(&mut *scope.attempts());
    let last = attempts.len().saturating_sub(1);
    for (number, attempt) in attempts.into_iter().enumerate() {
        attempt.set("calendar_sync.verb", verb);
        attempt.set("calendar_sync.outcome", if number == last { outcome } else { STEP });
    }
}

/// One HTTP request, as OpenTelemetry's conventions tell of a client's
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span>): neither its
/// path nor anything in it, which name events, calendars and people.
pub struct Attempt {
    scope: Option<Arc<Scope>>,
    span: Live,
}

/// The methods that the conventions know; others are one.
const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

impl Attempt {
    /// Begins one; none, outside of any span.
    pub fn begin(method: &str, url: &Url) -> Self {
        let Some(scope) = current() else {
            return Self { scope: None, span: Live::none() };
        };
        let known = METHODS.into_iter().find(|known| *known == method);
        let span = scope.child(|| NewSpan::new(known.unwrap_or("HTTP"), SpanKind::Client));
        if span.is_recorded() {
            span.set("http.request.method", known.unwrap_or("_OTHER"));
            if known.is_none() {
                span.set("http.request.method_original", method.to_owned());
            }
            span.set("server.address", url.host_str().unwrap_or_default().to_owned());
            span.set("server.port", url.port_or_known_default().map_or(0, i64::from));
            span.set("url.scheme", url.scheme().to_owned());
        }
        Self { scope: Some(scope), span }
    }

    /// What the request carries: `traceparent`, and nothing else of ours.
    pub fn header(&self) -> Option<String> {
        let outgoing = || self.scope.as_ref()?.outgoing;
        self.span.context().or_else(outgoing).map(|parent| parent.to_string())
    }

    /// It was answered.
    pub fn answered(self, status: u16) {
        self.span.set("http.response.status_code", i64::from(status));
        if status >= 400 {
            self.span.fail(status.to_string());
        }
        self.end();
    }

    /// It was not, or only half of it.
    pub fn lost(self, sent: bool) {
        self.span.fail(if sent { "lost" } else { "not_sent" });
        self.end();
    }

    /// Its outcome is still to be told.
    fn end(self) {
        let Self { scope: Some(scope), span } = self else {
            return;
        };
        span.ended();
        let mut attempts = scope.attempts();
        if span.is_recorded() && attempts.len() < ATTEMPTS_MAX {
            attempts.push(span);
        }
    }
}
