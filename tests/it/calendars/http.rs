//! The client against servers that behave badly.

use std::time::Duration;

use calendar_sync::calendar::Credentials;
use calendar_sync::calendar::http::{
    BODY_LEN_MAX, Exchanged, Http, HttpError, HttpOptions, Request, Response,
};
use calendar_sync::telemetry::live::Live;
use calendar_sync::telemetry::scope::{Scope, within};
use calendar_sync::telemetry::tracer::Tracer;
use calendar_sync::trace_parent::TraceParent;
use reqwest::Method;
use tokio::net::TcpListener;

use super::stub::{Reply, Stub};
use super::{SECRET, Still, bearer, client};
use crate::odd_answers::gzip_bomb;

const PATIENT: Duration = Duration::from_secs(20);
const HASTY: Duration = Duration::from_millis(300);

async fn put(http: &Http, url: &str) -> Exchanged {
    let credentials = bearer();
    let request = Request {
        method: Method::PUT,
        url: url.parse().expect("a URL"),
        credentials: Some(&credentials),
        headers: Vec::new(),
        body: b"body",
    };
    http.exchange(request).await
}

/// Whether the call may have reached the server; the message must not tell the secret.
fn sent(exchanged: Exchanged) -> (bool, String) {
    match exchanged {
        Exchanged::Answered(Response { status, .. }) => panic!("an answer came: {status}"),
        Exchanged::Lost { sent, message } => {
            assert!(!message.contains(SECRET) && !message.is_empty(), "{message}");
            (sent, message)
        }
    }
}

fn answered(exchanged: Exchanged) -> Response {
    match exchanged {
        Exchanged::Answered(response) => response,
        Exchanged::Lost { message, .. } => panic!("{message}"),
    }
}

fn bytes(text: &str) -> Vec<Reply> {
    vec![Reply::Bytes(text.as_bytes().to_vec())]
}

/// L1: no answer is not a failure.
#[tokio::test]
async fn half_an_answer_may_have_been_applied() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 2",
        "",
        "This is no HTTP at all\r\n\r\n",
    ] {
        let server = Stub::replying(bytes(half)).await;
        let (sent, message) = sent(put(&client(PATIENT), &server.url).await);
        assert!(sent, "{half:?}: {message}");
        assert_eq!(server.requests().len(), 1, "one attempt is one call");
    }
}

/// Whoever records nothing passes on what came; nothing is told of who asks by himself.
#[tokio::test]
async fn a_call_goes_on_with_the_trace_that_it_is_made_for() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parent = TraceParent::parse(text.as_bytes());
    let server = Stub::saying(&[(200, "", ""), (200, "", "")]).await;
    let http = client(PATIENT);
    let scope = Scope::new(Tracer::default(), Live::none(), parent);
    answered(within(Some(scope), put(&http, &server.url)).await);
    answered(within(None, put(&http, &server.url)).await);
    let requests = server.requests();
    assert_eq!(requests[0].header("traceparent"), Some(text));
    assert_eq!(requests[1].header("traceparent"), None);
    for request in requests {
        let told = |name: &&str| request.header(name).is_some();
        assert!(!["tracestate", "baggage", "b3"].iter().any(told), "{:?}", request.head);
    }
}

/// A server closes idle connections when it likes; a call on one that it is just closing may have
/// arrived, and the client must not try it again by itself.
#[tokio::test]
async fn a_call_on_a_connection_that_is_closed_under_it_is_not_repeated() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = client(PATIENT);
    let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let server = async {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(first.read(&mut request).await.unwrap() > 0);
        first.write_all(fine).await.unwrap();
        assert!(first.read(&mut request).await.unwrap() > 0);
        drop(first);
        // A repeat would come here, and be told that all is well.
        let (mut second, _) = listener.accept().await.unwrap();
        assert!(second.read(&mut request).await.unwrap() > 0);
        second.write_all(fine).await.unwrap();
        std::future::pending::<()>().await;
    };
    let calls = async {
        assert_eq!(answered(put(&http, &url).await).status, 200);
        sent(put(&http, &url).await)
    };
    tokio::select! {
        () = server => unreachable!("the server waits for ever"),
        (sent, message) = calls => assert!(sent, "{message}"),
    }
}

#[tokio::test]
async fn silence_may_have_been_applied() {
    let server = Stub::replying(vec![Reply::Silence]).await;
    let (sent, message) = sent(put(&client(HASTY), &server.url).await);
    assert!(sent);
    assert_eq!(message, "the call took longer than allowed");
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_given_up_in_time() {
    let server = Stub::replying(vec![Reply::Zeros(0)]).await;
    assert_eq!(answered(put(&client(PATIENT), &server.url).await).status, 200);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = client(HASTY);
    let (lost, _open) = tokio::join!(put(&http, &url), async {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123").await.unwrap();
        stream
    });
    assert!(sent(lost).0);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let server = Stub::replying(vec![Reply::Zeros(50 * 1024 * 1024)]).await;
    let (sent, message) = sent(put(&client(PATIENT), &server.url).await);
    assert!(sent);
    assert!(message.contains(&BODY_LEN_MAX.to_string()), "{message}");
}

#[tokio::test]
async fn an_answer_of_the_longest_length_is_read() {
    let server = Stub::replying(vec![Reply::Zeros(BODY_LEN_MAX)]).await;
    assert_eq!(answered(put(&client(PATIENT), &server.url).await).body.len(), BODY_LEN_MAX);
}

/// Nothing is asked to be compressed, so nothing is unpacked beyond its bound.
#[tokio::test]
async fn a_compressed_answer_is_taken_as_it_comes() {
    let bomb = gzip_bomb(20_000);
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let reply = Reply::Bytes([head.as_bytes(), &bomb].concat());
    let server = Stub::replying(vec![reply]).await;
    assert_eq!(answered(put(&client(PATIENT), &server.url).await).body, bomb);
    assert_eq!(server.requests()[0].header("accept-encoding"), None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Stub::saying(&[(200, "", "")]).await;
    let location = format!("Location: {}/stolen\r\n", other.url);
    let server = Stub::saying(&[(307, &location, "")]).await;
    assert_eq!(answered(put(&client(PATIENT), &server.url).await).status, 307);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (sent, message) = sent(put(&client(PATIENT), &url).await);
    assert!(!sent, "{message}");
    assert!(message.contains("onnection refused"), "{message}");
}

#[tokio::test]
async fn an_unknown_host_was_never_sent() {
    let (sent, message) = sent(put(&client(PATIENT), "https://calendar.invalid/").await);
    assert!(!sent, "{message}");
}

#[tokio::test]
async fn a_failed_tls_handshake_was_never_sent() {
    let server = Stub::replying(bytes("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let (sent, message) = sent(put(&client(PATIENT), &server.url.replace("http", "https")).await);
    assert!(!sent, "{message}");
    assert_eq!(server.requests().len(), 0);
}

/// L16.
#[tokio::test]
async fn a_pause_is_read_as_seconds_or_as_a_date() {
    let date = "Retry-After: Sun, 22 Nov 2026 10:01:00 GMT\r\n";
    for (header, seconds) in [("Retry-After: 7\r\n", 7), (date, 60)] {
        let server = Stub::saying(&[(429, header, "")]).await;
        let response = answered(put(&client(PATIENT), &server.url).await);
        assert_eq!(response.retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_request_says_who_asks_and_proves_it() {
    let server = Stub::saying(&[(204, "", ""), (204, "", "")]).await;
    let http = client(PATIENT);
    answered(put(&http, &server.url).await);
    let basic = Credentials::Basic { username: "ada".to_owned(), password: "p:w".into() };
    let request = Request {
        method: Method::GET,
        url: server.url.parse().unwrap(),
        credentials: Some(&basic),
        headers: Vec::new(),
        body: b"",
    };
    answered(http.exchange(request).await);
    let seen = server.requests();
    assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen[1].header("authorization"), Some("Basic YWRhOnA6dw=="));
    let agent = concat!("calendar-sync/", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen[0].header("user-agent"), Some(agent));
    assert_eq!(seen[0].header("content-length"), Some("4"));
}

#[tokio::test]
async fn a_secret_that_no_header_can_carry_shows_nowhere() {
    let credentials = Credentials::Bearer { token: format!("{SECRET}\n").into() };
    assert!(!format!("{credentials:?}").contains(SECRET));
    let request = Request {
        method: Method::GET,
        url: "http://127.0.0.1:9/".parse().unwrap(),
        credentials: Some(&credentials),
        headers: Vec::new(),
        body: b"",
    };
    let (sent, _) = sent(client(PATIENT).exchange(request).await);
    assert!(!sent);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for (call_timeout, connect_timeout) in [(HASTY, PATIENT), (HASTY, Duration::ZERO)] {
        let clock = std::sync::Arc::new(Still);
        let reach = super::on_this_machine();
        let proxy_from_environment = false;
        let options =
            HttpOptions { call_timeout, connect_timeout, proxy_from_environment, reach, clock };
        assert!(matches!(Http::new(options), Err(HttpError::Timeouts { .. })));
    }
}
