//! A tiny HTTP server that answers from a script, and can answer badly.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What it does with a request.
pub(super) enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
    /// A body of zeros of this length.
    Zeros(usize),
}

/// The server; it stops with its value.
pub(super) struct Stub {
    /// `http://host:port`.
    pub(super) url: String,
    requests: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

/// A request that came in.
#[derive(Clone)]
pub(super) struct Seen {
    /// `METHOD /path HTTP/1.1` and the headers, their names in lower case.
    pub(super) head: Vec<String>,
    /// The body.
    pub(super) body: String,
}

impl Seen {
    /// The method and the path.
    pub(super) fn line(&self) -> &str {
        self.head[0].trim_end_matches(" HTTP/1.1")
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let wanted = format!("{name}: ");
        self.head.iter().find_map(|line| line.strip_prefix(&wanted))
    }
}

impl Stub {
    /// Starts it: the n-th connection gets the n-th reply; after the last, none is taken.
    pub(super) async fn replying(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::at(listener, |_| replies)
    }

    /// The same with answers that name the server's own address.
    pub(super) async fn linking(answers: impl FnOnce(&str) -> Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let reply = |(status, body): (u16, String)| said(status, "", &body);
        Self::at(listener, |url| answers(url).into_iter().map(reply).collect())
    }

    /// Answers at a place of its own.
    pub(super) fn on(listener: TcpListener, answers: &[(u16, &str, &str)]) -> Self {
        let replies = answers.iter().map(|&(status, headers, body)| said(status, headers, body));
        let replies = replies.collect();
        Self::at(listener, |_| replies)
    }

    fn at(listener: TcpListener, replies: impl FnOnce(&str) -> Vec<Reply>) -> Self {
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let replies = replies(&url);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&requests);
        tasks.spawn(async move {
            let mut open = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let seen = receive(&mut stream).await;
                log.lock().expect("no panic holds it").extend(seen);
                answer(&mut stream, reply).await;
                open.push(stream);
            }
            std::future::pending::<()>().await;
        });
        Self { url, requests, _tasks: tasks }
    }

    /// One JSON or XML answer after another.
    pub(super) async fn saying(answers: &[(u16, &str, &str)]) -> Self {
        let reply = |&(status, headers, body): &(u16, &str, &str)| said(status, headers, body);
        Self::replying(answers.iter().map(reply).collect()).await
    }

    /// What came in, in order.
    pub(super) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().expect("no panic holds it").clone()
    }
}

/// A whole answer.
fn said(status: u16, headers: &str, body: &str) -> Reply {
    let len = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\nConnection: close\r\n");
    Reply::Bytes(format!("{head}{headers}\r\n{body}").into_bytes())
}

/// Reads one request; `None` for what is not one (a TLS greeting).
async fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let seen = Seen { head: lines(head), body: body.to_owned() };
            let len = seen.header("content-length").map_or(0, |len| len.parse().expect("a number"));
            if body.len() >= len {
                return Some(seen);
            }
        }
        let greeting = bytes.first() == Some(&0x16);
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(len) if len > 0 && !greeting => bytes.extend_from_slice(&buffer[..len]),
            Ok(_) | Err(_) => return None,
        }
    }
}

fn lines(head: &str) -> Vec<String> {
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    };
    head.split("\r\n").map(lower).collect()
}

/// The other side may go away at any time, so that failing to write is fine.
async fn answer(stream: &mut TcpStream, reply: Reply) {
    match reply {
        Reply::Silence => {}
        Reply::Bytes(bytes) => {
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
        }
        Reply::Zeros(len) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
            drop(stream.write_all(head.as_bytes()).await);
            let zeros = vec![b'0'; 64 * 1024];
            for _ in 0..len / zeros.len() {
                if stream.write_all(&zeros).await.is_err() {
                    break;
                }
            }
        }
    }
}
