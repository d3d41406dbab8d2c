//! What traces tell of a batch: each of its records that is recorded, in the trace of whoever published
//! it, and once the batch itself, which all of them share.
//!
//! A record's `process` has the batch's own steps below it, at the times when they took place: what is
//! read, folded and committed is the whole batch, and who follows one booking sees all the same how
//! long each took. A record that nobody records costs nothing here.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::fold_batch::{Item, Reading};
use crate::clock::Clock;
use crate::consumer::{BatchPlace, RawRecord};
use crate::store::{Batch, EffectOrigin};
use crate::telemetry::tracer::{LINKS_MAX, NewSpan, Recorded as _, Span, SpanKind, Tracer};
use crate::trace_parent::TraceParent;

/// Begins the spans of batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracing {
    pub(super) tracer: Tracer,
    /// The consumer group.
    pub(super) group: String,
}

/// When the steps of a run took place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) began: DateTime<Utc>,
    pub(super) folded: DateTime<Utc>,
    pub(super) committed: DateTime<Utc>,
}

/// A batch while it is taken.
#[derive(Default)]
pub(super) struct Traced<'a> {
    tracing: Option<&'a Tracing>,
    topic: String,
    partition: i32,
    /// When its first record came, and when all of it was there.
    polled: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// One for each record, in order.
    records: Vec<Span>,
    /// So many of them are committed.
    done: usize,
    batch: Span,
}

impl Tracing {
    /// Begins the spans of a batch; without traces, none.
    pub(super) fn begin(
        &self,
        place: &BatchPlace,
        records: &[RawRecord],
        clock: &dyn Clock,
    ) -> Traced<'_> {
        if !self.tracer.is_on() {
            return Traced::default();
        }
        let now = clock.now();
        let since = now - TimeDelta::from_std(place.gathered_for).unwrap_or_default();
        let topic = place.fence.topic.clone();
        let mut traced = Traced {
            tracing: Some(self),
            topic,
            partition: place.fence.partition,
            polled: Some((since, now)),
            records: Vec::with_capacity(records.len()),
            done: 0,
            batch: Span::none(),
        };
        for record in records {
            let span = traced.process(record, since);
            traced.records.push(span);
        }
        traced.link(since);
        traced
    }
}

impl Traced<'_> {
    /// A record's own span, in the trace of whoever published it.
    fn process(&self, record: &RawRecord, since: DateTime<Utc>) -> Span {
        let Some(tracing) = self.tracing else {
            return Span::none();
        };
        let mut new = NewSpan::new(format!("process {}", self.topic), SpanKind::Consumer);
        if let Some(parent) = TraceParent::of(&record.headers) {
            new = new.from(parent);
        }
        let mut span = tracing.tracer.begin(new.since(since));
        if span.is_recorded() {
            self.describe(&mut span, ("process", "process"));
            span.set("messaging.kafka.offset", record.offset);
            if record.payload.is_none() {
                span.set("messaging.kafka.message.tombstone", true);
            }
        }
        span
    }

    /// What all spans of a batch say
    /// (<https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>).
    fn describe(&self, span: &mut Span, (name, kind): (&'static str, &'static str)) {
        span.set("messaging.system", "kafka");
        span.set("messaging.operation.name", name);
        span.set("messaging.operation.type", kind);
        span.set("messaging.destination.name", self.topic.clone());
        span.set("messaging.destination.partition.id", self.partition.to_string());
        if let Some(tracing) = self.tracing {
            span.set("messaging.consumer.group.name", tracing.group.clone());
        }
    }

    /// The batch's own span, if any of its records is recorded; it and they link to each other.
    fn link(&mut self, since: DateTime<Utc>) {
        let recorded: Vec<TraceParent> =
            self.records.iter().filter_map(Span::context).take(LINKS_MAX).collect();
        let Some(tracing) = self.tracing.filter(|_| !recorded.is_empty()) else {
            return;
        };
        let new = NewSpan::new(format!("poll {}", self.topic), SpanKind::Client);
        let mut batch = tracing.tracer.begin(new.since(since).linked(recorded));
        if batch.is_recorded() {
            self.describe(&mut batch, ("poll", "receive"));
            let count = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
            batch.set("messaging.batch.message_count", count);
        }
        if let Some(batch) = batch.context() {
            for record in &mut self.records {
                record.link(batch);
            }
        }
        self.batch = batch;
    }

    /// Where what a record asks for comes from: its own span here, or else what it came with.
    pub(super) fn origin(&self, at: usize, record: &RawRecord) -> EffectOrigin {
        let ours = self.records.get(at).and_then(Span::context);
        let trace = ours.or_else(|| TraceParent::of(&record.headers));
        EffectOrigin::new(trace, record.timestamp_ms)
    }

    /// A run of the batch, the next in order, is committed.
    pub(super) fn committed(&mut self, run: &[Item], batch: &Batch, times: Times) {
        let first = self.done;
        self.done += run.len();
        let mut of_run = self.records.iter().skip(first).take(run.len());
        if !of_run.any(Span::is_recorded) {
            return;
        }
        let decisions: HashMap<i64, &'static str> =
            batch.journal.iter().map(|entry| (entry.position.offset, entry.decision)).collect();
        for (at, item) in run.iter().enumerate() {
            let Some(record) = self.records.get_mut(first + at) else {
                return;
            };
            let mut span = std::mem::take(record);
            if !span.is_recorded() {
                continue;
            }
            match &item.reading {
                Reading::Event(event) => {
                    span.set("calendar_sync.booking_id", event.booking.to_string());
                    span.set("calendar_sync.event", event.change.name());
                }
                Reading::Poison(poison) => span.fail(poison.class.name()),
                Reading::Tombstone => {}
            }
            if let Some(decision) = decisions.get(&item.record.position.offset) {
                span.set("calendar_sync.decision", *decision);
            }
            self.steps(&span, times);
            span.end_at(times.committed);
        }
        self.steps(&self.batch, times);
    }

    /// The steps of the batch, below one of its records or itself.
    fn steps(&self, under: &Span, times: Times) {
        let (Some(tracing), Some((since, polled))) = (self.tracing, self.polled) else {
            return;
        };
        if !under.is_recorded() {
            return;
        }
        let begin = |new: NewSpan, since| tracing.tracer.begin(new.under(under).since(since));
        if under.context() != self.batch.context() {
            let new = NewSpan::new(format!("poll {}", self.topic), SpanKind::Client);
            let mut poll = begin(new, since);
            self.describe(&mut poll, ("poll", "receive"));
            poll.end_at(polled);
        }
        let fold = begin(NewSpan::new("fold", SpanKind::Internal), times.began);
        fold.end_at(times.folded);
        let new = NewSpan::new(format!("commit {}", self.topic), SpanKind::Client);
        let mut commit = begin(new, times.folded);
        self.describe(&mut commit, ("commit", "settle"));
        commit.end_at(times.committed);
    }
}
