//! A line to a CalDAV server that can be watched and disturbed: every request is written down, and
//! answers are lost, held or replaced to order. One request a connection.

use std::sync::{Arc, Mutex, MutexGuard};

use calendar_sync::clock::{Clock as _, SystemClock};
use chrono::{DateTime, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::host::Trouble;

/// A request that came by.
#[derive(Debug, Clone)]
pub(crate) struct WireCall {
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// Its method.
    pub(crate) method: String,
    /// Its path.
    pub(crate) path: String,
    /// `If-Match`.
    pub(crate) if_match: Option<String>,
    /// `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Whether it may only make something new: `If-None-Match: *`.
    pub(crate) is_new: bool,
    /// Its body.
    pub(crate) body: String,
    /// What the server answered, whether or not the client got it; `None`: it was not asked.
    pub(crate) status: Option<u16>,
}

impl WireCall {
    /// Whether it is there to change something.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "DELETE")
    }
}

/// Which requests are meant.
pub(crate) enum Meant {
    /// Writes below this path.
    Writes(String),
    /// Readings of resources below this path.
    Reads(String),
    /// All below this path.
    All(String),
}

/// An ordered disturbance.
pub(crate) struct WireOrder {
    trouble: Trouble,
    meant: Meant,
    state: watch::Sender<OrderState>,
}

#[derive(Clone)]
struct OrderState {
    left: u32,
    hits: u64,
    held: usize,
    released: bool,
}

impl WireOrder {
    fn takes(&self, call: &WireCall) -> bool {
        let meant = match &self.meant {
            Meant::Writes(path) => call.is_write() && call.path.starts_with(path.as_str()),
            Meant::Reads(path) => call.method == "GET" && call.path.starts_with(path.as_str()),
            Meant::All(path) => call.path.starts_with(path.as_str()),
        };
        meant
            && self.state.send_if_modified(|state| {
                let hit = state.left > 0;
                state.left -= u32::from(hit);
                state.hits += u64::from(hit);
                hit
            })
    }

    pub(crate) fn hits(&self) -> u64 {
        self.state.borrow().hits
    }

    pub(crate) async fn wait_held(&self) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| state.held > 0).await.expect("the order stands");
    }

    pub(crate) fn withdraw(&self) {
        self.state.send_modify(|state| {
            state.left = 0;
            state.released = true;
        });
    }

    async fn wait_released(&self) {
        self.state.send_modify(|state| state.held += 1);
        let mut state = self.state.subscribe();
        state.wait_for(|state| state.released).await.expect("the order stands");
        self.state.send_modify(|state| state.held -= 1);
    }
}

struct Shared {
    server: String,
    clock: SystemClock,
    calls: Mutex<Vec<WireCall>>,
    orders: Mutex<Vec<Arc<WireOrder>>>,
}

/// The line; it is cut with its value.
pub(crate) struct Wire {
    /// `http://host:port` on our side.
    pub(crate) url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

impl Wire {
    /// Lays a line to the server at `http://host:port`.
    pub(crate) async fn to(server: &str) -> Self {
        let server = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            server,
            clock: SystemClock::start(),
            calls: Mutex::default(),
            orders: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let line = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while open.try_join_next().is_some() {}
                let line = Arc::clone(&line);
                open.spawn(async move { line.carry(stream).await });
            }
        });
        Self { url, shared, _tasks: tasks }
    }

    /// What came by so far.
    pub(crate) fn calls(&self) -> Vec<WireCall> {
        lock(&self.shared.calls).clone()
    }

    /// Disturbs the next `count` of the requests that are meant.
    pub(crate) fn order(&self, count: u32, trouble: Trouble, meant: Meant) -> Arc<WireOrder> {
        let state = OrderState { left: count, hits: 0, held: 0, released: false };
        let order = Arc::new(WireOrder { trouble, meant, state: watch::Sender::new(state) });
        lock(&self.shared.orders).push(Arc::clone(&order));
        order
    }
}

impl Shared {
    /// One request, and what becomes of it.
    async fn carry(&self, mut client: TcpStream) {
        let Some((mut call, bytes)) = receive(&mut client).await else {
            return;
        };
        call.at = self.clock.now();
        let order = lock(&self.orders).iter().find(|order| order.takes(&call)).cloned();
        let number = {
            let mut calls = lock(&self.calls);
            calls.push(call);
            calls.len() - 1
        };
        let Some(order) = order else {
            return self.pass(client, number, &bytes).await;
        };
        match order.trouble {
            Trouble::AnswerLost => drop(self.ask(number, &bytes).await),
            Trouble::AnswerHeld => {
                let answer = self.ask(number, &bytes).await;
                order.wait_released().await;
                finish(client, &answer).await;
            }
            Trouble::Late => {
                drop(client);
                order.wait_released().await;
                self.ask(number, &bytes).await;
            }
            Trouble::Stranded => {
                order.wait_released().await;
                self.pass(client, number, &bytes).await;
            }
            Trouble::Slow(time) => {
                tokio::time::sleep(time).await;
                self.pass(client, number, &bytes).await;
            }
            Trouble::Refused { status, reason: _, retry_after_s } => {
                finish(client, refusal(status, retry_after_s).as_bytes()).await;
            }
            Trouble::DoneAndRefused { status, reason: _ } => {
                self.ask(number, &bytes).await;
                finish(client, refusal(status, None).as_bytes()).await;
            }
            Trouble::RequestLost => {}
            Trouble::AnswerCut => {
                let answer = self.ask(number, &bytes).await;
                finish(client, cut(&answer)).await;
            }
        }
    }

    /// Lets a request pass, and its answer.
    async fn pass(&self, client: TcpStream, number: usize, request: &[u8]) {
        let answer = self.ask(number, request).await;
        finish(client, &answer).await;
    }

    /// Asks the server, and notes what it says.
    async fn ask(&self, number: usize, request: &[u8]) -> Vec<u8> {
        let mut server = TcpStream::connect(&self.server).await.expect("the server listens");
        server.write_all(request).await.expect("the server takes a request");
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.expect("the server answers");
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        lock(&self.calls)[number].status = status.and_then(|digits| digits.parse().ok());
        answer
    }
}

/// A bare answer.
fn refusal(status: u16, retry_after_s: Option<u32>) -> String {
    let after = retry_after_s.map(|seconds| format!("Retry-After: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{}\r\n",
        after.unwrap_or_default()
    )
}

/// The first half of an answer's head: what has no body cannot be cut elsewhere.
fn cut(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(answer.len());
    &answer[..head / 2]
}

/// The other side may have gone; that is its own affair.
async fn finish(mut client: TcpStream, answer: &[u8]) {
    drop(client.write_all(answer).await);
    drop(client.shutdown().await);
}

/// Reads one request; gives it with the bytes to be sent on. `None`: the client has gone.
async fn receive(client: &mut TcpStream) -> Option<(WireCall, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let length = client.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap_or(0));
        if body.len() < length {
            continue;
        }
        let mut first = head.split(' ');
        let call = WireCall {
            at: DateTime::UNIX_EPOCH,
            method: first.next()?.to_owned(),
            path: first.next()?.to_owned(),
            if_match: header(head, "if-match"),
            authorization: header(head, "authorization"),
            is_new: header(head, "if-none-match").as_deref() == Some("*"),
            body: body.to_owned(),
            status: None,
        };
        let forward = format!("{head}\r\nConnection: close\r\n\r\n{body}");
        return Some((call, forward.into_bytes()));
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
