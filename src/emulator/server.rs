//! The listening socket, and connections that can be cut.
//!
//! A lost answer must be lost on the wire, not imitated by a status: the connection carries a
//! [`Plug`], and once it is pulled every write fails, so that the HTTP server gives the
//! connection up and the socket closes without an answer, or in the middle of one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A line begins whole, at 0.
const HALF: u8 = 1;
const PULLED: u8 = 2;

/// Cuts one connection.
#[derive(Clone, Default)]
pub(super) struct Plug(Arc<AtomicU8>);

impl Plug {
    /// Nothing more is written: the peer sees the connection close.
    pub(super) fn pull(&self) {
        self.0.store(PULLED, Ordering::SeqCst);
    }

    /// The next answer's head is written and half of its body, and then nothing more.
    pub(super) fn pull_halfway(&self) {
        self.0.store(HALF, Ordering::SeqCst);
    }
}

/// One accepted connection.
pub(super) struct Line {
    tcp: TcpStream,
    plug: Plug,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

// Vectored writes stay off, so that head and body of a small answer come in one buffer.
impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.plug.0.load(Ordering::SeqCst) {
            PULLED => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            HALF => {
                let part = &bytes[..halfway(bytes)];
                let written = Pin::new(&mut self.tcp).poll_write(cx, part);
                if written.is_ready() {
                    self.plug.pull();
                }
                written
            }
            _ => Pin::new(&mut self.tcp).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Where to cut an answer: in the middle of its body, or of its head if it has no body.
fn halfway(answer: &[u8]) -> usize {
    let head_end = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    match head_end {
        Some(end) if end < answer.len() => end + (answer.len() - end) / 2,
        Some(_) | None => answer.len() / 2,
    }
}

/// Accepts connections that can be cut.
pub(super) struct Lines(TcpListener);

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (tcp, address) = Listener::accept(&mut self.0).await;
        (Line { tcp, plug: Plug::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Plug {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().plug.clone()
    }
}

/// Serves `router` on a free port of the loopback interface, until `stop`.
pub(super) async fn start(
    router: Router,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<Plug>();
    tasks.spawn(async move {
        let serving = axum::serve(Lines(listener), service)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serving.await {
            tracing::warn!(%error, "an emulator stopped serving");
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_in_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\n\r\n0123456789";
        assert_eq!(&answer[halfway(answer)..], b"56789");
    }

    #[test]
    fn an_answer_without_a_body_is_cut_in_its_head() {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert!(halfway(answer) < answer.len() - 4);
    }
}
