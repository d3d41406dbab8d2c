//! Spans of what is done at this moment: `tracing`'s, told of by `tracing-opentelemetry`.
//!
//! They stand in a registry of their own. What is logged, and how much, does not decide what is traced;
//! what only logs need is not in traces, nor the other way round; and nothing that a library does with
//! `tracing` gets into them. While one is entered it is OpenTelemetry's current context, by which log
//! lines know it.

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt as _};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::instrument::Instrumented;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Instrument as _, Span, dispatcher};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use super::tracer::{NewSpan, Recorded, Value};

/// What they are made with, and nothing else.
const TARGET: &str = "calendar_sync::traces";

/// Where live spans are. It says no to everything else, so that what is not logged still costs nothing.
pub(super) fn registry(sdk: SdkTracer) -> Dispatch {
    let ours = Targets::new().with_target(TARGET, LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(sdk)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    Dispatch::new(Registry::default().with(ours).with(layer))
}

/// A span of what is done at this moment, if it is recorded. Clones are the same one; it ends with the
/// last of them.
#[derive(Debug, Clone)]
pub struct Live(Option<(Span, SpanContext)>);

impl Live {
    /// None.
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn begin(registry: &Dispatch, new: NewSpan) -> Self {
        let (name, kind) = (new.name.as_ref(), word(&new.kind));
        let span = dispatcher::with_default(
            registry,
            || tracing::info_span!(target: TARGET, parent: None, "span", otel.name = name, otel.kind = kind),
        );
        // Not to happen: there is a layer, and it has not begun. In no other trace than its own, then.
        if span.set_parent(new.above()).is_err() {
            return Self::none();
        }
        for link in new.links {
            span.add_link(link.span_context);
        }
        let context = span.context();
        let made = context.span();
        Self(made.is_recording().then(|| (span, made.span_context().clone())))
    }

    /// Says something of it.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some((span, _)) = &self.0 {
            span.set_attribute(name, value);
        }
    }

    /// What it stands for went wrong: `error_type` is the kind of trouble, of which there are few.
    pub fn fail(&self, error_type: impl Into<Cow<'static, str>>) {
        let error_type = error_type.into();
        if let Some((span, _)) = &self.0 {
            span.set_attribute("error.type", error_type.clone());
            span.set_status(Status::error(error_type));
        }
    }

    /// What it stands for has ended, whatever is still said of it.
    pub fn ended(&self) {
        if let Some((span, _)) = &self.0 {
            // It ends when it was left last.
            span.in_scope(|| ());
        }
    }

    /// Does `work` in it.
    pub fn around<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.0.as_ref().map_or_else(Span::none, |(span, _)| span.clone()))
    }
}

impl Recorded for Live {
    fn span_context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|(_, context)| context.clone())
    }
}

/// What `tracing-opentelemetry` calls a kind.
fn word(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}
