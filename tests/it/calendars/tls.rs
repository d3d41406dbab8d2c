//! HTTP/2 in TLS, with a real server: what the client makes of the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use calendar_sync::calendar::http::{Exchanged, Http, HttpOptions, Reach};
use futures::future::join_all;
use h2::server::SendResponse;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Still, on_this_machine};
use crate::authority::{Authority, Flaw, trusting};

/// So many requests at once the server takes on a connection, and it answers them together.
const AT_ONCE: usize = 4;

/// A server of HTTP/2; it stops with its value.
struct Server {
    url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    together: Barrier,
}

impl Server {
    async fn with(tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            together: Barrier::new(AT_ONCE),
        });
        let mut tasks = JoinSet::new();
        let server = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(Arc::clone(&server).attend(stream, tls.clone()));
            }
        });
        Self { url, shared, _tasks: tasks }
    }
}

impl Shared {
    async fn attend(self: Arc<Self>, stream: TcpStream, tls: TlsAcceptor) {
        // A client that does not like the certificate goes.
        let Ok(stream) = tls.accept(stream).await else { return };
        self.connections.fetch_add(1, Ordering::SeqCst);
        let at_once = u32::try_from(AT_ONCE).expect("a small number");
        let mut builder = h2::server::Builder::new();
        let connection = builder.max_concurrent_streams(at_once).handshake::<_, Bytes>(stream);
        let mut connection = connection.await.expect("HTTP/2");
        let mut answers = JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let alone = request.uri().path() == "/alone";
            answers.spawn(Arc::clone(&self).answer(respond, alone));
        }
    }

    async fn answer(self: Arc<Self>, mut respond: SendResponse<Bytes>, alone: bool) {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        if !alone {
            self.together.wait().await;
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
        respond.send_response(Response::new(()), true).expect("the client is there");
    }
}

fn client(reach: Reach) -> Http {
    let timeout = Duration::from_secs(20);
    let options = HttpOptions {
        call_timeout: timeout,
        connect_timeout: timeout,
        proxy_from_environment: false,
        reach,
        clock: Arc::new(Still),
    };
    Http::new(options).expect("these limits are sound")
}

async fn get(http: &Http, url: &str) -> Result<u16, String> {
    match super::get(http, url).await {
        Exchanged::Answered(response) => Ok(response.status),
        Exchanged::Lost { message, .. } => Err(message),
    }
}

/// Where a server offers HTTP/2 (by ALPN), all calls to it share one connection, and no more are open
/// at once than it takes.
///
/// Fails with: `Cargo.toml`: without `reqwest`'s feature `http2`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_one_connection_of_http_2_within_the_servers_bound() {
    let authority = Authority::new();
    let server = Server::with(authority.server(Flaw::None, &["h2", "http/1.1"])).await;
    let http = client(trusting(&authority.pem()));
    assert_eq!(get(&http, &format!("{}/alone", server.url)).await, Ok(200));
    let calls = (0..AT_ONCE * 3).map(|_| get(&http, &server.url));
    assert_eq!(join_all(calls).await, vec![Ok(200); AT_ONCE * 3]);
    assert_eq!(server.shared.connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.shared.most_open.load(Ordering::SeqCst), AT_ONCE);
}

#[tokio::test]
async fn a_servers_own_certificate_is_taken_where_a_setting_names_it() {
    let (tls, pem) = Authority::new().presented(Flaw::SelfSigned, &["h2"]);
    let server = Server::with(tls).await;
    let alone = format!("{}/alone", server.url);
    assert_eq!(get(&client(trusting(&pem)), &alone).await, Ok(200));
    let told = get(&client(on_this_machine()), &alone).await.expect_err("nobody knows it");
    assert!(told.contains("is from no authority that is trusted here"), "{told}");
}
