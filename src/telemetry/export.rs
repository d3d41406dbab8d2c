//! The way of finished spans to the collector: a bounded queue, and one task that empties it.
//!
//! Nobody waits for either. A span that finds the queue full is dropped and counted; a batch that the
//! collector does not take within its time is dropped and counted; and the end waits [`END_MAX`] at most.
//! OpenTelemetry's own batch processor does the same on a thread of its own, and tells nobody of what it
//! drops.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::calendar::http::{Exchanged, Http};
use crate::clock::Clock;

/// So many finished spans wait at most.
pub const QUEUE_MAX: usize = 4_096;

/// So many are sent at once at most.
pub const BATCH_MAX: usize = 512;

/// How long a span waits for more.
const LINGER: Duration = Duration::from_secs(1);

/// How long the collector may take over a batch, repetitions and all.
pub const EXPORT_MAX: Duration = Duration::from_secs(10);

/// How long the last spans may take at the end.
pub const END_MAX: Duration = Duration::from_secs(2);

/// How often it is told that the collector takes nothing.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// The longest answer of a collector that is read, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// The longest text about a failure that is logged, in characters.
const MESSAGE_LEN_MAX: usize = 200;

/// What did not get through. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    dropped: Counter,
    failures: Counter,
}

impl Counters {
    /// Spans that were recorded, and that no collector has taken.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Batches that no collector has taken.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The counters themselves, for whoever shows them: of spans, and of batches.
    pub fn shown(&self) -> [Counter; 2] {
        [self.dropped.clone(), self.failures.clone()]
    }

    fn drop_spans(&self, count: usize) {
        self.dropped.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// Takes finished spans from wherever they end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counters: Counters,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counters.drop_spans(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// [`Exporting::end`] does it.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that sends spans.
#[derive(Debug)]
pub struct Exporting {
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Exporting {
    /// Begins, on the runtime that this is called on.
    pub(super) fn begin<E: SpanExporter + 'static>(
        exporter: E,
        counters: Counters,
        clock: Arc<dyn Clock>,
    ) -> (Queue, Self) {
        let (spans, waiting) = mpsc::channel(QUEUE_MAX);
        let stop = CancellationToken::new();
        let queue = Queue { spans, counters: counters.clone() };
        let sender = Sender { waiting, exporter, counters, clock, complained_at: None };
        let mut task = JoinSet::new();
        task.spawn(sender.run(stop.clone()));
        (queue, Self { stop, task })
    }

    /// Sends what waits, within [`END_MAX`]; what ends after this is not sent.
    pub async fn end(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(END_MAX, self.task.join_next()).await.is_err() {
            tracing::warn!(
                error_code = "traces_not_exported",
                "the last spans are not exported: their collector took too long"
            );
        }
    }
}

struct Sender<E> {
    waiting: mpsc::Receiver<SpanData>,
    exporter: E,
    counters: Counters,
    clock: Arc<dyn Clock>,
    /// On the clock's stopwatch.
    complained_at: Option<Duration>,
}

impl<E: SpanExporter> Sender<E> {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let batch = self.gather(&stop).await;
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    /// The next batch; an empty one at the end.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::new();
        if let Some(Some(first)) = stop.run_until_cancelled(self.waiting.recv()).await {
            batch.push(first);
            let more = async {
                while batch.len() < BATCH_MAX {
                    let Some(span) = self.waiting.recv().await else { break };
                    batch.push(span);
                }
            };
            let until = tokio::time::sleep(LINGER);
            tokio::select! {
                biased;
                () = more => {}
                () = stop.cancelled() => {}
                () = until => {}
            }
        }
        while batch.len() < BATCH_MAX
            && let Ok(span) = self.waiting.try_recv()
        {
            batch.push(span);
        }
        batch
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let error = match tokio::time::timeout(EXPORT_MAX, self.exporter.export(batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.counters.drop_spans(spans);
        self.counters.failures.inc();
        let now = self.clock.elapsed();
        if self.complained_at.is_some_and(|at| now.saturating_sub(at) < COMPLAINT_INTERVAL) {
            return;
        }
        self.complained_at = Some(now);
        let error: String = error.chars().take(MESSAGE_LEN_MAX).collect();
        tracing::warn!(
            error_code = "traces_not_exported",
            dropped = self.counters.dropped(),
            "spans could not be exported, and are dropped; the work goes on: {error}"
        );
    }
}

/// A collector that is spoken to over HTTP: by the one client.
pub(super) struct Collector(pub(super) Http);

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), value.to_str()?.to_owned())))
            .collect::<Result<Vec<_>, HttpError>>()?;
        let request = crate::calendar::http::Request {
            method: head.method,
            url: Url::parse(&head.uri.to_string())?,
            credentials: None,
            headers,
            body: &body,
        };
        match self.0.exchange_up_to(request, ANSWER_LEN_MAX).await {
            Exchanged::Answered(answer) => {
                let response = Response::builder().status(answer.status);
                Ok(response.body(Bytes::from(answer.body))?)
            }
            Exchanged::Lost { message, sent: _ } => Err(message.into()),
        }
    }
}
