//! The port: so many connections at once, and so long each may take to say what it wants. Browsers reach
//! it, and file descriptors are shared with the database, Kafka and the calendars.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::BODY_LEN_MAX;
use super::answer::Refusal;

/// What those who connect may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most connections at once: whoever comes then waits until one has ended.
    pub connections_max: usize,
    /// How long a connection may be idle, and the head of a request on its way.
    pub head_wait: Duration,
    /// How long the rest of it may be on its way.
    pub body_wait: Duration,
    /// How long a request that is being answered may go on after a stop.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let wait = Duration::from_secs(10);
        let grace = Duration::from_secs(2);
        Self { connections_max: 512, head_wait: wait, body_wait: wait, grace }
    }
}

/// The wait after a connection could not be taken for want of something of this machine's.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Opens the port.
///
/// # Errors
/// What the system says, with the address.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// Answers until stopped, then finishes what is being answered.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(Bounds::default(), listener, router, stop).await;
}

/// The same, within other bounds.
pub async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let router = router.layer(middleware::from_fn_with_state(bounds.body_wait, whole));
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let (connections, mut tasks) = (GracefulShutdown::new(), JoinSet::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_wait);
    while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await
    {
        let Some(stream) = stop.run_until_cancelled(accept(&listener)).await else {
            break;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        while let Some(ended) = tasks.try_join_next() {
            tell_of_panic(ended);
        }
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                // Whoever went away, or took too long.
                tracing::trace!(error = &error as &dyn std::error::Error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.grace, connections.shutdown()).await.is_err() {
        tracing::debug!("connections were left that did not end in time");
    }
}

/// The others go on.
fn tell_of_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(
            error_code = "answer_panicked",
            error = &error as &dyn std::error::Error,
            "an answer panicked: this is a defect of calendar-sync"
        );
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // It went away before it was taken.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::warn!(
                    error_code = "ops_unavailable",
                    error = &error as &dyn std::error::Error,
                    "no connection could be taken; metrics and endpoints wait"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads the body before anything is done about it.
async fn whole(State(wait): State<Duration>, request: Request, next: Next) -> Response {
    let too_long = || {
        let error = format!("the body is longer than {BODY_LEN_MAX} bytes, or broken off");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error).into_response()
    };
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > BODY_LEN_MAX as u64 {
        return too_long();
    }
    match tokio::time::timeout(wait, to_bytes(body, BODY_LEN_MAX)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => too_long(),
        Err(_) => {
            let error = "the request was not complete in time";
            Refusal::new(StatusCode::REQUEST_TIMEOUT, error).into_response()
        }
    }
}
