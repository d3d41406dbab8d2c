//! A server in front of a calendar: as long as it is out of order it answers by itself, and badly;
//! mended, it lets everything through. With TLS or without, at the same address all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::odd_answers::gzip_bomb;

/// The facts about servers that answer anything but what they should.
macro_rules! every_bad_input_fact {
    ($make:ident) => {
        facts!(
            $make,
            end_to_end,
            bad_input,
            [
                a_page_instead_of_an_answer_is_told_and_waited_out,
                a_connection_that_ends_at_once_is_told_and_waited_out,
                silence_is_told_and_waited_out,
                an_answer_that_drips_for_ever_is_told_and_waited_out,
                an_answer_of_50_megabytes_is_told_and_waited_out,
                an_answer_of_50_megabytes_that_does_not_say_so_is_told_and_waited_out,
                a_head_without_end_is_told_and_waited_out,
                a_compressed_bomb_is_not_unpacked,
                an_address_that_is_not_open_is_told_and_waited_out,
            ]
        );
        facts!(
            $make,
            end_to_end,
            tls,
            [
                a_certificate_for_another_host_is_told_and_waited_out,
                a_certificate_of_nobody_is_told_and_waited_out,
                a_certificate_that_has_expired_is_told_and_waited_out,
                a_server_without_tls_is_told_and_waited_out,
            ]
        );
    };
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the calendar does.
    Mended,
    /// With somebody's page.
    Page,
    /// Not at all: the connection ends.
    Hangup,
    /// Not at all: the connection stays.
    Silence,
    /// A byte a second, for ever.
    Drip,
    /// With 50 MB, which it says.
    Long,
    /// With 50 MB in chunks.
    LongInChunks,
    /// With a header of a megabyte.
    LongHead,
    /// With 5 MB that are 33 kB on the way.
    Bomb,
}

/// So long is an answer that is too long.
const LONG_LEN: usize = 50 * 1024 * 1024;

/// What it is now.
#[derive(Clone)]
struct State {
    manner: Manner,
    /// `None`: without TLS.
    tls: Option<TlsAcceptor>,
}

/// The server; it stops with its value.
pub(crate) struct Front {
    port: u16,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Front {
    /// Before the calendar at `http://host:port`, out of order in this manner.
    pub(crate) async fn before(calendar: &str, manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let calendar = calendar.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = watch::Sender::new(State { manner, tls });
        let connections = Arc::new(AtomicUsize::new(0));
        let (now, count) = (state.subscribe(), Arc::clone(&connections));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while open.try_join_next().is_some() {}
                count.fetch_add(1, Ordering::SeqCst);
                let (state, calendar) = (now.borrow().clone(), calendar.clone());
                open.spawn(async move {
                    match state.tls {
                        None => attend(stream, state.manner, &calendar).await,
                        Some(tls) => {
                            // A client that does not like the certificate goes.
                            if let Ok(stream) = tls.accept(stream).await {
                                attend(stream, state.manner, &calendar).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, state, connections, _tasks: tasks }
    }

    /// Where it is: scheme, host and port.
    pub(crate) fn origin(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// How often somebody has come.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// From now on it is in order, with this certificate if it has any.
    pub(crate) fn mend(&self, tls: Option<TlsAcceptor>) {
        self.state.send_replace(State { manner: Manner::Mended, tls });
    }
}

/// One connection. The other side may go at any time.
async fn attend(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, calendar: &str) {
    if manner == Manner::Mended {
        let mut server = TcpStream::connect(calendar).await.expect("the calendar listens");
        drop(tokio::io::copy_bidirectional(&mut stream, &mut server).await);
        return;
    }
    if request(&mut stream).await.is_none() {
        return;
    }
    drop(answer(&mut stream, manner).await);
    drop(stream.shutdown().await);
}

/// Reads one request to its end.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= len.map_or(0, |len| len.parse().expect("a number")) {
                return Some(());
            }
        }
        let mut buffer = [0; 8192];
        let len = stream.read(&mut buffer).await.ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&buffer[..len]);
        // The greeting of TLS is no request, and is answered all the same.
        if bytes[0] == 0x16 {
            return Some(());
        }
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), manner: Manner) -> std::io::Result<()> {
    const PAGE: &str = "<!DOCTYPE html><html><body>Welcome to the hotel's network</body></html>";
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n\r\n");
    match manner {
        Manner::Mended | Manner::Hangup => {}
        Manner::Page => {
            let more = format!("Content-Type: text/html\r\nContent-Length: {}", PAGE.len());
            stream.write_all((head(&more) + PAGE).as_bytes()).await?;
        }
        Manner::Silence => std::future::pending().await,
        Manner::Drip => {
            let head = head("Content-Type: text/html");
            for byte in head.bytes().chain(PAGE.bytes().cycle()) {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::Long => {
            let more = format!("Content-Length: {LONG_LEN}");
            stream.write_all(head(&more).as_bytes()).await?;
            let part = vec![b'0'; 64 * 1024];
            for _ in 0..LONG_LEN / part.len() {
                stream.write_all(&part).await?;
            }
        }
        Manner::LongInChunks => {
            stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).await?;
            let part = vec![b'0'; 64 * 1024];
            for _ in 0..LONG_LEN / part.len() {
                stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
                stream.write_all(&part).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Manner::LongHead => {
            let more = format!("X-More: {}", "0".repeat(1024 * 1024));
            stream.write_all(head(&more).as_bytes()).await?;
        }
        Manner::Bomb => {
            let bomb = gzip_bomb(20_000);
            let more = format!("Content-Encoding: gzip\r\nContent-Length: {}", bomb.len());
            stream.write_all(head(&more).as_bytes()).await?;
            stream.write_all(&bomb).await?;
        }
    }
    stream.flush().await
}
