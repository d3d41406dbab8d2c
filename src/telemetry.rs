//! What the service tells of itself: its log lines, here, and its traces ([`traces`]).
//!
//! Log lines go to standard error: one JSON object a line, with the fields that operators know, or
//! readable ones. What a line says is its caller's; titles, guests and tokens are never in one.
//!
//! A JSON line holds `timestamp`, `level`, `category` (always `calendar_sync`), `message` and
//! `target`, and beside them, on the same level, the fields of the event and of the spans that it
//! stands in (the inner ones win): `sync_id`, `provider_id`, `connection_id`,
//! `calendar_provider`, `cursor`, `duration_ms`, `error_code`. What is said while a recorded trace is
//! worked on has its `trace_id` and `span_id` as well.

pub mod tracer;

pub mod live;

pub mod scope;

pub mod export;

pub mod traces;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use chrono::SecondsFormat;
use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::clock::Clock;
use crate::config::{LogFormat, LogSettings};

/// The `category` of every line.
pub const CATEGORY: &str = "calendar_sync";

/// Fields that only we set: an event's own field of such a name is written with `_` before it.
const RESERVED: [&str; 4] = ["timestamp", "level", "category", "target"];

/// Starts logging, for the whole process and once.
pub fn start(settings: &LogSettings, clock: Arc<dyn Clock>) -> Result<(), TryInitError> {
    let filter = EnvFilter::new(&settings.level).add_directive(calm());
    match settings.format {
        LogFormat::Json => {
            Registry::default().with(filter).with(JsonLines::new(clock, std::io::stderr)).try_init()
        }
        LogFormat::Text => Registry::default()
            .with(filter)
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false))
            .try_init(),
    }
}

/// rdkafka reports as an error that it cannot close, on drop, a queue that we have closed before.
fn calm() -> Directive {
    "rdkafka::consumer::base_consumer=off".parse().expect("a fixed directive")
}

/// Writes each event as one line of JSON.
pub struct JsonLines<W> {
    clock: Arc<dyn Clock>,
    writer: W,
}

impl<W> JsonLines<W> {
    /// To that writer, with that clock's time.
    pub fn new(clock: Arc<dyn Clock>, writer: W) -> Self {
        Self { clock, writer }
    }
}

/// The fields of a span, kept with it.
struct Fields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut Visitor(&mut fields.0));
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(&mut Visitor(&mut fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let now = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), now.into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("category".to_owned(), CATEGORY.into());
        line.insert("message".to_owned(), Value::Null);
        line.insert("target".to_owned(), metadata.target().into());
        told_by(&mut line);
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.extend(fields.0.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut Visitor(&mut line));
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // Where a log line cannot be written there is nowhere to say so.
        drop(self.writer.make_writer_for(metadata).write_all(text.as_bytes()));
    }
}

/// By which trace it can be found, if we are in one: as OpenTelemetry's conventions name it
/// (<https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/>).
fn told_by(line: &mut Map<String, Value>) {
    opentelemetry::Context::map_current(|context| {
        let span = context.span();
        if span.is_recording() {
            let context = span.span_context();
            line.insert("trace_id".to_owned(), context.trace_id().to_string().into());
            line.insert("span_id".to_owned(), context.span_id().to_string().into());
        }
    });
}

/// Writes fields into a map.
struct Visitor<'a>(&'a mut Map<String, Value>);

impl Visitor<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // `r#type` is how a field named by a keyword is written.
        let name = name.strip_prefix("r#").unwrap_or(name);
        let name = if RESERVED.contains(&name) { format!("_{name}") } else { name.to_owned() };
        self.0.insert(name, value);
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        self.put(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::{SpanKind, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::tracer::{NewSpan, Recorded as _, Tracer};
    use super::*;
    use crate::clock::SystemClock;
    use crate::trace_parent::TraceParent;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Vec<Map<String, Value>> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = JsonLines::new(Arc::new(SystemClock::start()), move || writer.clone());
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_its_spans_side_by_side() {
        let lines = logged(|| {
            let lane = tracing::info_span!("lane", connection_id = "c-1", cursor = 1);
            let _lane = lane.enter();
            let call = tracing::info_span!("call", cursor = 2, error_code = tracing::field::Empty);
            let _call = call.enter();
            call.record("error_code", 429);
            tracing::info!(duration_ms = 12_u64, calendar_provider = "google", "sent {}", 1);
        });
        let [line] = lines.as_slice() else { panic!("one event is one line") };
        let expected = serde_json::json!({
            "level": "INFO", "category": "calendar_sync", "message": "sent 1",
            "target": "calendar_sync::telemetry::tests", "timestamp": line["timestamp"],
            "connection_id": "c-1", "cursor": 2, "error_code": 429, "duration_ms": 12,
            "calendar_provider": "google",
        });
        assert_eq!(Value::Object(line.clone()), expected);
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(), "{timestamp}");
    }

    /// Fails with: `telemetry/live.rs`, `registry`: `.with_context_activation(false)`.
    #[test]
    fn a_line_names_the_trace_that_it_is_said_in() {
        let provider = SdkTracerProvider::builder().build();
        let tracer = Tracer::of(provider.tracer("test"));
        let span = tracer.live(NewSpan::new("send", SpanKind::Internal));
        let named = span.context().expect("it is recorded");
        let unrecorded = TraceParent { flags: 0, ..named };
        let unrecorded = tracer.live(NewSpan::new("send", SpanKind::Internal).from(unrecorded));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lines = logged(|| {
            tracing::info!("before");
            runtime.block_on(span.around(async { tracing::info!("in it") }));
            runtime.block_on(unrecorded.around(async { tracing::info!("in another") }));
        });
        let [before, within, unrecorded] = lines.as_slice() else { panic!("three events") };
        assert_eq!(within["trace_id"], format!("{:032x}", named.trace));
        assert_eq!(within["span_id"], format!("{:016x}", named.span));
        for line in [before, unrecorded] {
            assert!(line.get("trace_id").is_none() && line.get("span_id").is_none(), "{line:?}");
        }
    }

    #[test]
    fn an_event_cannot_pretend_to_be_another() {
        let lines = logged(|| tracing::warn!(level = "INFO", category = "x", "line\nbreak"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["category"], "calendar_sync");
        assert_eq!(lines[0]["_level"], "INFO");
        assert_eq!(lines[0]["message"], "line\nbreak");
    }
}
