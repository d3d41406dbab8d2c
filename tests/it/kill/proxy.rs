//! A forward proxy between one worker and the calendars: it can leave a call without its answer,
//! and writes down what the calendars answered.
//!
//! A worker finds it by `HTTP_PROXY`. A call whose client is gone is given up, as any server's
//! connection would be: what had not been forwarded never reaches a calendar.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The longest body of a request.
const BODY_LEN_MAX: usize = 1 << 20;

/// Which of the two kinds of calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Caldav,
    Google,
}

/// What a worker asked for, and what it was told.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) kind: Kind,
    /// `X-BOOKING-REVISION` and `SEQUENCE` of a body that is an iCalendar text.
    pub(crate) revision: Option<(i64, i64)>,
    /// The calendar's status, once it has answered.
    pub(crate) status: Option<u16>,
    /// Whether the answer went on to the worker.
    pub(crate) answered: bool,
}

impl Exchange {
    /// Whether it asked for a change.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "PROPFIND")
    }

    /// Whether the calendar did as it was told.
    pub(crate) fn is_applied(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// What the proxies share: one log, and at most one trap.
#[derive(Default)]
pub(crate) struct Shared {
    log: Mutex<Vec<Exchange>>,
    trap: Mutex<Option<Trap>>,
}

impl Shared {
    /// Every call of every worker, in the order in which they ended.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.log).clone()
    }

    /// Sets a trap for the next call that is wanted, whoever makes it; one that is set is
    /// forgotten.
    pub(crate) fn set_trap(&self, wanted: Wanted) -> oneshot::Receiver<Caught> {
        let (caught, receiver) = oneshot::channel();
        *lock(&self.trap) = Some(Trap { wanted, caught });
        receiver
    }

    /// Takes the trap that this call falls into.
    fn trap_for(&self, exchange: &Exchange, moment: Moment) -> Option<Trap> {
        let catches = |trap: &mut Trap| {
            let Wanted { kind, delete, moment: when } = trap.wanted;
            let method =
                if delete { exchange.method == Method::DELETE } else { exchange.changes() };
            method && kind == exchange.kind && when == moment
        };
        lock(&self.trap).take_if(catches)
    }
}

/// When a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The calendar has applied it; its answer goes nowhere.
    Applied,
    /// The calendar never hears of it.
    NotForwarded,
}

/// The calls that a trap catches: the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    /// Only one that removes an event; otherwise any that changes something.
    pub(crate) delete: bool,
    pub(crate) moment: Moment,
}

/// A call without an answer.
pub(crate) struct Caught {
    /// The worker's place.
    pub(crate) place: usize,
    pub(crate) exchange: Exchange,
    gone: CancellationToken,
}

impl Caught {
    /// Whether its client is still waiting for the answer.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.gone.is_cancelled()
    }
}

struct Trap {
    wanted: Wanted,
    caught: oneshot::Sender<Caught>,
}

struct Core {
    place: usize,
    client: reqwest::Client,
    caldav_url: String,
    shared: Arc<Shared>,
}

/// A running proxy; it ends with this.
pub(crate) struct Proxy {
    /// For `HTTP_PROXY`.
    pub(crate) url: String,
    _serving: JoinSet<()>,
}

impl Proxy {
    /// On a free port, for the worker at this place. What begins with `caldav_url` is CalDAV, the
    /// rest is Google.
    pub(crate) async fn start(place: usize, caldav_url: &str, shared: &Arc<Shared>) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let (caldav_url, shared) = (caldav_url.to_owned(), Arc::clone(shared));
        let core = Arc::new(Core { place, client, caldav_url, shared });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(pass).with_state(core);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, _serving: serving }
    }
}

impl Core {
    fn exchange(&self, method: Method, url: String, body: &[u8]) -> Exchange {
        let kind = if url.starts_with(&self.caldav_url) { Kind::Caldav } else { Kind::Google };
        Exchange { method, url, kind, revision: revision(body), status: None, answered: false }
    }

    async fn forward(
        &self,
        exchange: &Exchange,
        headers: HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let url = exchange.url.parse().expect("a proxied request has a whole URL");
        let mut request = reqwest::Request::new(exchange.method.clone(), url);
        *request.headers_mut() = end_to_end(headers);
        request.headers_mut().remove(header::HOST);
        *request.body_mut() = Some(body.into());
        let answer = self.client.execute(request).await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
        Ok((status, headers, answer.bytes().await?))
    }
}

/// An exchange under way: written down when it ends, whichever way it does.
struct Noted {
    shared: Arc<Shared>,
    exchange: Exchange,
}

impl Drop for Noted {
    fn drop(&mut self) {
        lock(&self.shared.log).push(self.exchange.clone());
    }
}

async fn pass(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_LEN_MAX).await.unwrap_or_default();
    let exchange = core.exchange(parts.method, parts.uri.to_string(), &body);
    let mut noted = Noted { shared: Arc::clone(&core.shared), exchange };
    if let Some(trap) = core.shared.trap_for(&noted.exchange, Moment::NotForwarded) {
        hold(trap, core.place, &noted.exchange).await;
    }
    let Ok((status, headers, body)) = core.forward(&noted.exchange, parts.headers, body).await
    else {
        return with_status(StatusCode::BAD_GATEWAY);
    };
    noted.exchange.status = Some(status.as_u16());
    if noted.exchange.is_applied()
        && let Some(trap) = core.shared.trap_for(&noted.exchange, Moment::Applied)
    {
        hold(trap, core.place, &noted.exchange).await;
    }
    noted.exchange.answered = true;
    let mut response = with_status(status);
    *response.headers_mut() = headers;
    *response.body_mut() = Body::from(body);
    response
}

/// Tells who set the trap, and never goes on: the call ends with its client.
async fn hold(trap: Trap, place: usize, exchange: &Exchange) {
    let gone = CancellationToken::new();
    let _client: DropGuard = gone.clone().drop_guard();
    // Who set it may have ended.
    drop(trap.caught.send(Caught { place, exchange: exchange.clone(), gone }));
    std::future::pending::<()>().await;
}

fn with_status(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// Without the headers that belong to one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let hop_by_hop = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        PROXY_CONNECTION,
        KEEP_ALIVE,
    ];
    for name in hop_by_hop {
        headers.remove(name);
    }
    headers
}

fn revision(body: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.starts_with("BEGIN:VCALENDAR"))?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
    Some((number("X-BOOKING-REVISION:")?, number("SEQUENCE:")?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
