//! A collector of our own: OTLP over gRPC and over HTTP, well and badly behaved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Grpc,
    Http,
}

impl Spoken {
    /// The word of the settings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes what it is sent.
    Takes,
    /// It takes connections, and answers nothing.
    Silent,
    /// It answers that it has failed, in no words of OTLP.
    Failing,
    /// It answers something else than OTLP.
    Nonsense,
    /// There is none.
    Down,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) kind: i32,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span of each.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) times: (u64, u64),
    /// All of it, for whoever looks for what must not be there.
    pub(crate) whole: String,
}

impl Seen {
    fn of(resource: &BTreeMap<String, String>, span: &Span) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let links = span.links.iter();
        Self {
            resource: resource.clone(),
            name: span.name.clone(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            kind: span.kind,
            attributes: pairs(&span.attributes),
            links: links.map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            times: (span.start_time_unix_nano, span.end_time_unix_nano),
            whole: format!("{span:?}"),
        }
    }

    /// One of its attributes.
    #[track_caller]
    pub(crate) fn says(&self, name: &str) -> &str {
        let value = self.attributes.get(name);
        value.unwrap_or_else(|| panic!("{} says nothing of {name}: {self:?}", self.name))
    }
}

fn pairs(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[derive(Debug, Clone)]
struct Taking {
    manner: Manner,
    spans: Arc<Mutex<Vec<Seen>>>,
    /// How the last request was packed.
    encoding: Arc<Mutex<String>>,
}

impl Taking {
    fn take(&self, request: &ExportTraceServiceRequest, encoding: &str) {
        encoding.clone_into(&mut self.encoding.lock().expect("nobody panics while holding it"));
        let mut spans = self.spans.lock().expect("nobody panics while holding it");
        for of_resource in &request.resource_spans {
            let resource = of_resource.resource.as_ref();
            let resource = resource.map(|it| pairs(&it.attributes)).unwrap_or_default();
            for span in of_resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                spans.push(Seen::of(&resource, span));
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Taking {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.manner {
            Manner::Silent => std::future::pending().await,
            Manner::Failing => Err(tonic::Status::internal("out of order")),
            Manner::Takes | Manner::Nonsense | Manner::Down => {
                let encoding = request.metadata().get("grpc-encoding");
                let encoding = encoding.map_or("", |it| it.to_str().expect("it is a word"));
                self.take(request.get_ref(), encoding);
                Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
            }
        }
    }
}

async fn over_http(
    State(taking): State<Taking>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    match taking.manner {
        Manner::Silent => std::future::pending().await,
        Manner::Failing => (StatusCode::INTERNAL_SERVER_ERROR, b"out of order".to_vec()),
        Manner::Takes | Manner::Nonsense | Manner::Down => {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let encoding = headers.get("content-encoding");
            let encoding = encoding.map_or("", |it| it.to_str().expect("it is a word"));
            let body = if encoding == "gzip" { unpacked(&body) } else { body.to_vec() };
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("it is OTLP");
            taking.take(&request, encoding);
            (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
        }
    }
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body);
    std::io::Read::read_to_end(&mut reader, &mut unpacked).expect("it is gzip");
    unpacked
}

/// A collector.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    spans: Arc<Mutex<Vec<Seen>>>,
    encoding: Arc<Mutex<String>>,
    _serving: JoinSet<()>,
}

impl Collector {
    /// Begins to serve, on a port of its own.
    pub(crate) async fn start(spoken: Spoken, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it has an address"));
        let spans = Arc::<Mutex<Vec<Seen>>>::default();
        let encoding = Arc::<Mutex<String>>::default();
        let taking = Taking { manner, spans: Arc::clone(&spans), encoding: Arc::clone(&encoding) };
        let mut serving = JoinSet::new();
        match (manner, spoken) {
            (Manner::Down, _) => drop(listener),
            (Manner::Nonsense, _) => drop(serving.spawn(talk_nonsense(listener))),
            (_, Spoken::Http) => {
                let router = Router::new().route("/v1/traces", post(over_http)).with_state(taking);
                serving.spawn(async move {
                    axum::serve(listener, router).await.expect("it serves");
                });
            }
            (_, Spoken::Grpc) => {
                let service =
                    TraceServiceServer::new(taking).accept_compressed(CompressionEncoding::Gzip);
                let server = tonic::transport::Server::builder()
                    .add_service(service)
                    .serve_with_incoming(TcpIncoming::from(listener));
                serving.spawn(async move { server.await.expect("it serves") });
            }
        }
        Self { endpoint, spans, encoding, _serving: serving }
    }

    /// What has come so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.spans.lock().expect("nobody panics while holding it").clone()
    }

    /// How the last of it was packed; empty: not at all.
    pub(crate) fn encoding(&self) -> String {
        self.encoding.lock().expect("nobody panics while holding it").clone()
    }

    /// What has come of a trace, in the order of its beginnings.
    pub(crate) fn trace(&self, trace: &str) -> Vec<Seen> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace == trace);
        spans.sort_by_key(|span| span.times);
        spans
    }
}

/// Answers every connection with what is neither HTTP nor gRPC.
async fn talk_nonsense(listener: TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        let mut read = [0; 64];
        // Whoever has gone is told nothing.
        if stream.read(&mut read).await.is_ok() {
            drop(stream.write_all(b"\x00\xff 42 is the answer\r\n\r\n").await);
        }
    }
}
