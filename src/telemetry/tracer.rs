//! Spans, as the rest of the tree makes them: with a parent that is named, since most of them go on
//! with what somebody else has begun, in another process. Where there are no traces, or a trace is not
//! recorded, there is no span, and all that is done with it costs nothing.

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

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

use crate::trace_parent::TraceParent;

/// What a span links to at most.
pub const LINKS_MAX: usize = 128;

/// Begins spans. By default there are no traces.
#[derive(Clone, Default)]
pub struct Tracer {
    sdk: Option<SdkTracer>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Tracer(on)" } else { "Tracer(off)" })
    }
}

/// A span that is to begin.
#[derive(Debug)]
pub struct NewSpan {
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: SpanContext,
    links: Vec<Link>,
    began_at: Option<SystemTime>,
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
    pub fn under(self, parent: &Span) -> Self {
        match &parent.0 {
            Some(span) => Self { parent: span.span_context().clone(), ..self },
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

    /// Has begun before.
    #[must_use]
    pub fn since(self, began_at: DateTime<Utc>) -> Self {
        Self { began_at: Some(began_at.into()), ..self }
    }
}

impl Tracer {
    pub(super) fn of(sdk: SdkTracer) -> Self {
        Self { sdk: Some(sdk) }
    }

    /// Whether there are traces at all.
    pub fn is_on(&self) -> bool {
        self.sdk.is_some()
    }

    /// Begins a span, if its trace is recorded.
    pub fn begin(&self, new: NewSpan) -> Span {
        let Some(sdk) = &self.sdk else {
            return Span::none();
        };
        let NewSpan { name, kind, parent, links, began_at } = new;
        let mut builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
        builder.start_time = began_at;
        // An invalid parent would be taken for one that is not recorded.
        let mut above = Context::new();
        if parent.is_valid() {
            above = above.with_remote_span_context(parent);
        }
        let span = sdk.build_with_context(builder, &above);
        Span(span.is_recording().then(|| Box::new(span)))
    }
}

/// A span, if it is recorded. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// None.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Its name for others.
    pub fn context(&self) -> Option<TraceParent> {
        let context = self.0.as_ref()?.span_context();
        Some(TraceParent {
            trace: NonZeroU128::new(u128::from_be_bytes(context.trace_id().to_bytes()))?,
            span: NonZeroU64::new(u64::from_be_bytes(context.span_id().to_bytes()))?,
            flags: context.trace_flags().to_u8(),
        })
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

fn context_of(of: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace.get().to_be_bytes()),
        SpanId::from_bytes(of.span.get().to_be_bytes()),
        TraceFlags::new(of.flags),
        true,
        TraceState::default(),
    )
}
