//! Hears an owner's browser come back to this machine (RFC 8252 §7.3): one good request ends it; strays
//! are answered, and waited on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::connection::returned::{Returned, is_same_state, returned};
use crate::connection::{ConnectError, Issuer};
use crate::ops;

/// So long an owner may take.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// So many requests are answered; whatever sends more is no browser that comes back.
const REQUESTS_MAX: usize = 200;

/// An open port of this machine.
pub(super) struct Loopback {
    listener: TcpListener,
    host: &'static str,
}

/// What requests are answered with.
#[derive(Clone)]
struct Heard {
    issuer: Issuer,
    state: Arc<str>,
    requests: Arc<AtomicUsize>,
    tell: mpsc::Sender<End>,
}

/// What ends the waiting.
enum End {
    /// The browser came back.
    Back(Result<SecretString, ConnectError>),
    /// Too many strays.
    Flooded,
}

impl Loopback {
    /// Opens a free port, on this machine's own address alone. Google wants it named by that address;
    /// Microsoft by `localhost` ("Redirect URI (reply URL) outline and restrictions": of those alone it
    /// lets the port be any).
    pub(super) async fn open(issuer: &Issuer) -> anyhow::Result<Self> {
        let listener = ops::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let host = match issuer {
            Issuer::Google => "127.0.0.1",
            Issuer::Microsoft(_) => "localhost",
        };
        Ok(Self { listener, host })
    }

    /// Where the browser comes back to.
    pub(super) fn redirect(&self) -> anyhow::Result<Url> {
        let port = self.listener.local_addr().context("the port is closed")?.port();
        Url::parse(&format!("http://{}:{port}", self.host)).context("no address of this machine")
    }

    /// Waits until the browser comes back with `state`.
    pub(super) async fn code(self, issuer: &Issuer, state: &str) -> anyhow::Result<SecretString> {
        let (tell, mut told) = mpsc::channel(1);
        let requests = Arc::new(AtomicUsize::new(0));
        let heard = Heard { issuer: issuer.clone(), state: state.into(), requests, tell };
        let router = Router::new().fallback(answer).with_state(heard);
        let done = CancellationToken::new();
        let serving = ops::serve(self.listener, router, done.clone());
        let waiting = async {
            let end = tokio::time::timeout(WAIT_MAX, told.recv()).await;
            // The page that was promised is still sent.
            done.cancel();
            end
        };
        let ((), end) = tokio::join!(serving, waiting);
        match end {
            Ok(Some(End::Back(code))) => Ok(code?),
            Ok(Some(End::Flooded)) => {
                bail!("more than {REQUESTS_MAX} requests came, and none with what was begun")
            }
            Ok(None) | Err(_) => Err(ConnectError::Expired.into()),
        }
    }
}

async fn answer(
    State(heard): State<Heard>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    if heard.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
        tell(&heard, End::Flooded);
        return page(StatusCode::TOO_MANY_REQUESTS, "Too many requests.");
    }
    if request.uri().path() != "/" {
        return page(StatusCode::NOT_FOUND, "There is no such page.");
    }
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "This page is only looked at.");
    }
    let found = query.and_then(|query| returned(&heard.issuer, &query));
    let Some(Returned { code, .. }) = found.filter(|it| is_same_state(&it.state, &heard.state))
    else {
        return page(StatusCode::BAD_REQUEST, "This belongs to nothing that was begun here.");
    };
    let text = match &code {
        Ok(_) => "Thank you. Go back to the terminal: it says whether all went well.",
        Err(_) => "Nothing was connected. Go back to the terminal: it says why.",
    };
    tell(&heard, End::Back(code));
    page(StatusCode::OK, text)
}

/// Only the first end counts.
fn tell(heard: &Heard, end: End) {
    drop(heard.tell.try_send(end));
}

/// Nothing of the address, which holds the code, goes on from here.
fn page(status: StatusCode, text: &'static str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>calendar-sync</title>\
         <p>{text}</p></html>\n"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, html).into_response()
}
