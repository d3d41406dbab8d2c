//! The service's port: who says nothing, or half of it, takes nothing from the others.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use calendar_sync::ops::BODY_LEN_MAX;
use calendar_sync::ops::port::{Bounds, listen, serve_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::wait::PATIENCE;

/// Answers with what it was sent.
struct Port {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Port {
    async fn open(bounds: Bounds) -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", post(async |body: String| body));
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(serve_within(bounds, listener, router, stop.clone()));
        Self { address, stop, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    async fn close(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("it ends").expect("it served").expect("it did not panic");
    }
}

/// Sends this, and answers all that comes back until the port closes.
async fn told(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("it is closed in time").expect("a text");
    answer
}

const WHOLE: &str =
    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
const SHORT: Duration = Duration::from_millis(200);
/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(5);

fn bounds() -> Bounds {
    Bounds { head_wait: LONG, body_wait: LONG, ..Bounds::default() }
}

/// Fails with: `ops/port.rs`: without `header_read_timeout`.
#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_left() {
    let port = Port::open(Bounds { head_wait: SHORT, ..bounds() }).await;
    for text in ["", "POST / HTTP/1.1\r\nHost: x\r\n"] {
        let answer = told(&mut port.connect().await, text).await;
        assert!(answer.is_empty() || answer.contains("408"), "{answer}");
    }
    port.close().await;
}

/// Fails with: `ops/port.rs`, `whole`: without the time-out.
#[tokio::test]
async fn who_sends_half_a_body_is_told_so() {
    let port = Port::open(Bounds { body_wait: SHORT, ..bounds() }).await;
    let half = WHOLE.trim_end_matches('i');
    let answer = told(&mut port.connect().await, half).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("not complete"), "{answer}");
    port.close().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_waited_for() {
    let port = Port::open(bounds()).await;
    let (head, _) = WHOLE.split_once("Content-Length").expect("it has a length");
    let text = format!("{head}Content-Length: {}\r\n\r\n", BODY_LEN_MAX + 1);
    let answer = told(&mut port.connect().await, &text).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("longer than"), "{answer}");
    port.close().await;
}

/// Fails with: `ops/port.rs`, `serve_within`: `drop(place)` before the connection has ended.
#[tokio::test]
async fn who_comes_when_all_places_are_taken_waits_for_one() {
    let port = Port::open(Bounds { connections_max: 2, ..bounds() }).await;
    let (one, mut other) = (port.connect().await, port.connect().await);
    let mut third = port.connect().await;
    third.write_all(WHOLE.as_bytes()).await.expect("it is taken");
    let mut answer = [0];
    let early = tokio::time::timeout(SHORT, third.read(&mut answer)).await;
    assert!(early.is_err(), "a place was free");
    drop(one);
    assert!(told(&mut third, "").await.ends_with("hi"));
    assert!(told(&mut other, WHOLE).await.ends_with("hi"));
    port.close().await;
}

/// What is idle does not hold up a stop; what is being answered is finished within the grace.
#[tokio::test]
async fn a_stop_waits_for_nobody_who_says_nothing() {
    let port = Port::open(Bounds { grace: LONG, ..bounds() }).await;
    let mut idle = port.connect().await;
    assert!(told(&mut port.connect().await, WHOLE).await.ends_with("hi"));
    port.close().await;
    assert_eq!(told(&mut idle, "").await, "");
}
