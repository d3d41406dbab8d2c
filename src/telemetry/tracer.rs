//! Spans, as the rest of the tree makes them: with a parent that is named, since most of them go on
//! with what somebody else has begun, in another process. Where there are no traces, or a trace is not
//! recorded, there is no span, and all that is done with it costs nothing.
//!
//! There are two kinds. What is done on account of a span is done in a [`Live`] one: one of `tracing`'s,
//! which `tracing-opentelemetry` tells of while it is open, so that log lines name it ([`crate::telemetry`]).
//! What was done for many at once, and is told of each afterwards, is a [`Span`]: `tracing`'s begin when
//! they are made, and nothing else can be said of them.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Dispatch;

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

use super::live::{self, Live};
use crate::trace_parent::TraceParent;

/// What a span links to at most.
pub const LINKS_MAX: usize = 128;

/// Begins spans. By default there are no traces.
#[derive(Clone, Default)]
pub struct Tracer {
    on: Option<On>,
}

#[derive(Clone)]
struct On {
    sdk: SdkTracer,
    /// Where live spans are.
    registry: Dispatch,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Tracer(on)" } else { "Tracer(off)" })
    }
}

/// A span that is to begin.
#[derive(Debug)]
pub struct NewSpan {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    parent: SpanContext,
    pub(super) links: Vec<Link>,
    began_at: Option<SystemTime>,
}

/// What others can go on with.
pub trait Recorded {
    /// What OpenTelemetry calls it, if it is recorded.
    fn span_context(&self) -> Option<SpanContext>;

    /// Whether it is.
    fn is_recorded(&self) -> bool {
        self.span_context().is_some()
    }

    /// Its name for others.
    fn context(&self) -> Option<TraceParent> {
        let context = self.span_context()?;
        Some(TraceParent {
            trace: NonZeroU128::new(u128::from_be_bytes(context.trace_id().to_bytes()))?,
            span: NonZeroU64::new(u64::from_be_bytes(context.span_id().to_bytes()))?,
            flags: context.trace_flags().to_u8(),
        })
    }
}

impl NewSpan {
    /// One that begins now, and a trace.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        let parent = SpanContext::empty_context();
        Self { name: name.into(), kind, parent, links: Vec::new(), began_at: None }
    }

    /// Goes on with what somebody else has begun.
    #[must_use]
    pub fn from(self, parent: TraceParent) -> Self {
        Self { parent: context_of(parent), ..self }
    }

    /// Goes on with one of ours; with nothing, if that is none.
    #[must_use]
    pub fn under(self, parent: &impl Recorded) -> Self {
        match parent.span_context() {
            Some(parent) => Self { parent, ..self },
            None => self,
        }
    }

    /// Has to do with these too; with the first [`LINKS_MAX`] of them.
    #[must_use]
    pub fn linked(mut self, to: impl IntoIterator<Item = TraceParent>) -> Self {
        let room = LINKS_MAX.saturating_sub(self.links.len());
        let links = to.into_iter().take(room).map(|to| Link::with_context(context_of(to)));
        self.links.extend(links);
        self
    }

    /// Has begun before. Only what is told of afterwards can have.
    #[must_use]
    pub fn since(self, began_at: DateTime<Utc>) -> Self {
        Self { began_at: Some(began_at.into()), ..self }
    }
}

impl NewSpan {
    /// What is above it. An invalid parent would be taken for one that is not recorded.
    pub(super) fn above(&self) -> Context {
        if !self.parent.is_valid() {
            return Context::new();
        }
        Context::new().with_remote_span_context(self.parent.clone())
    }
}

impl Tracer {
    pub(super) fn of(sdk: SdkTracer) -> Self {
        let registry = live::registry(sdk.clone());
        Self { on: Some(On { sdk, registry }) }
    }

    /// Whether there are traces at all.
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Begins a span of what is told of afterwards, if its trace is recorded.
    pub fn begin(&self, new: NewSpan) -> Span {
        let Some(On { sdk, .. }) = &self.on else {
            return Span::none();
        };
        let above = new.above();
        let NewSpan { name, kind, links, began_at, .. } = new;
        let mut builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
        builder.start_time = began_at;
        let span = sdk.build_with_context(builder, &above);
        Span(span.is_recording().then(|| Box::new(span)))
    }

    /// Begins a span of what is done now, if its trace is recorded.
    pub fn live(&self, new: NewSpan) -> Live {
        match &self.on {
            Some(On { registry, .. }) => Live::begin(registry, new),
            None => Live::none(),
        }
    }
}

/// A span of what is told of afterwards, if it is recorded. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// None.
    pub fn none() -> Self {
        Self(None)
    }

    /// Says something of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// It has to do with this too.
    pub fn link(&mut self, to: TraceParent) {
        if let Some(span) = &mut self.0 {
            span.add_link(context_of(to), Vec::new());
        }
    }

    /// What it stands for went wrong: `error_type` is the kind of trouble, of which there are few.
    pub fn fail(&mut self, error_type: impl Into<Cow<'static, str>>) {
        let error_type = error_type.into();
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", error_type.clone()));
            span.set_status(Status::error(error_type));
        }
    }

    /// It has ended then.
    pub fn end_at(mut self, at: DateTime<Utc>) {
        if let Some(span) = &mut self.0 {
            span.end_with_timestamp(at.into());
        }
    }
}

impl Recorded for Span {
    fn span_context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|span| span.span_context().clone())
    }
}

fn context_of(of: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace.get().to_be_bytes()),
        SpanId::from_bytes(of.span.get().to_be_bytes()),
        TraceFlags::new(of.flags),
        true,
        TraceState::default(),
    )
}
