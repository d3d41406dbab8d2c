//! Between a worker and its database: a line that can be cut, or fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

/// The line. Dropping it cuts it.
pub(crate) struct Proxy {
    /// The same database, through here.
    pub(crate) url: String,
    line: Arc<Line>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Line {
    is_silent: AtomicBool,
    heals: AtomicU32,
}

impl Proxy {
    /// Before the database at this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let mut url = Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host").to_owned();
        let server = format!("{host}:{}", url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        url.set_host(Some("127.0.0.1")).expect("a host can be set");
        url.set_port(Some(port)).expect("a port can be set");
        let line = Arc::new(Line::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&line)));
        Self { url: url.into(), line, tasks }
    }

    /// From now on nobody is there: connections are closed and refused.
    pub(crate) async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }

    /// From now on nothing comes through, and nothing is closed.
    pub(crate) fn hush(&self) {
        self.line.is_silent.store(true, Ordering::SeqCst);
    }

    /// From now on new connections come through. Those of before are silent for ever.
    pub(crate) fn heal(&self) {
        self.line.heals.fetch_add(1, Ordering::SeqCst);
        self.line.is_silent.store(false, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, server: String, line: Arc<Line>) {
    // They end with this task.
    let mut calls = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        calls.spawn(carry(from_client, to_server, Arc::clone(&line)));
        calls.spawn(carry(from_server, to_client, Arc::clone(&line)));
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, line: Arc<Line>) {
    let heals = line.heals.load(Ordering::SeqCst);
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        if line.is_silent.load(Ordering::SeqCst) || line.heals.load(Ordering::SeqCst) != heals {
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}
