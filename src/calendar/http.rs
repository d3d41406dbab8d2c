//! The one HTTP client: every limit of a call is here, and so is the question that rule R13 rests
//! on, whether anything can have reached the other side.
//!
//! It knows no calendar, no URL and no meaning of a status code.

mod clients;

mod networks;

mod reach;

mod roots;

pub use clients::USER_AGENT;
pub use networks::{BLOCKS, Barred, Block, Networks, reserved};
pub use reach::{Guard, Lookup, Reach, SystemLookup};
pub use roots::Roots;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use reqwest::Method;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    InvalidHeaderValue, LOCATION, RETRY_AFTER,
};
use secrecy::ExposeSecret as _;
use url::Url;

use self::clients::{Bounds, Clients};
use super::{Answer, Credentials};
use crate::clock::Clock;
use crate::telemetry::scope::Attempt;
use crate::trace_parent;

/// The longest answer that is read, in bytes. A longer one counts as lost.
pub const BODY_LEN_MAX: usize = 1024 * 1024;
/// The longest pause that a `Retry-After` can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// As long as so many calls, each of up to [`HttpOptions::call_timeout`], one
/// [`super::Calendar::read`] takes at most: the event, then its calendar. One that asks more often ends
/// within that time all the same ([`Http::within`]).
pub const READ_CALLS_MAX: u32 = 2;
/// The longest ETag that is kept, in bytes.
const ETAG_LEN_MAX: usize = 512;
/// The longest text about a lost call, in characters.
const MESSAGE_LEN_MAX: usize = 300;
/// The header that goes on with a trace.
const TRACE_PARENT: HeaderName = HeaderName::from_static(trace_parent::HEADER);

/// The limits of the client.
#[derive(Clone)]
pub struct HttpOptions {
    /// The whole of one call: connecting, sending, waiting and reading the answer.
    pub call_timeout: Duration,
    /// Connecting alone, TLS included.
    pub connect_timeout: Duration,
    /// Whether `HTTPS_PROXY` and its like are obeyed.
    pub proxy_from_environment: bool,
    /// Where calls may go.
    pub reach: Reach,
    /// The hour, for a `Retry-After` that is a date.
    pub clock: Arc<dyn Clock>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS or the name resolver could not be set up.
    #[error("cannot build the HTTP client")]
    Build(#[source] reqwest::Error),
    /// The environment's proxy is none that we can use.
    #[error("{variable} is not the http:// or https:// URL of a proxy")]
    Proxy {
        /// Which variable names it.
        variable: &'static str,
    },
    /// A time-out of zero ends every call before it begins; a connect time-out above the call's
    /// never applies.
    #[error(
        "the connect time-out ({connect_timeout:?}) must be more than zero and at most the call \
         time-out ({call_timeout:?})"
    )]
    Timeouts {
        /// As given.
        call_timeout: Duration,
        /// As given.
        connect_timeout: Duration,
    },
}

/// The client. Clones share one pool of connections.
#[derive(Clone)]
pub struct Http {
    clients: Clients,
    call_timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// One request.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Where to, without user name and password.
    pub url: Url,
    /// What proves that we may; `None` sends no `Authorization`.
    pub credentials: Option<&'a Credentials>,
    /// Further headers. A value that no header can carry fails the call before it is sent.
    pub headers: Vec<(HeaderName, String)>,
    /// The body, as it is.
    pub body: &'a [u8],
}

/// What became of a request.
pub enum Exchanged {
    /// A whole answer.
    Answered(Response),
    /// None, or half of one.
    Lost {
        /// `false` only if it is certain that no byte of the request reached the other side.
        sent: bool,
        /// What happened, without addresses and secrets.
        message: String,
    },
}

/// The word for a redirect that lasts: see [`Redirect::lasts`].
pub const MOVED: &str = "moved";

/// Where an answer says that the address is. The client never follows it.
pub struct Redirect {
    /// Scheme, host and port; the rest may be secret.
    pub origin: String,
    /// All of it.
    pub target: Url,
    /// Whether the address will not do any more: moved for good, or only to be had with TLS,
    /// whatever the status. Another redirect can be a page about maintenance.
    pub lasts: bool,
}

/// A whole answer, within its bounds.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The `ETag`, if it is a strong one.
    pub etag: Option<String>,
    /// `Retry-After` as time from now, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// Where it redirects to, if it does.
    pub redirect: Option<Redirect>,
    /// The body, at most as many bytes as were asked for.
    pub body: Vec<u8>,
}

impl Http {
    /// Builds the client.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        let HttpOptions { call_timeout, connect_timeout, proxy_from_environment, reach, clock } =
            options;
        if connect_timeout.is_zero() || connect_timeout > call_timeout {
            return Err(HttpError::Timeouts { call_timeout, connect_timeout });
        }
        let bounds = Bounds { call_timeout, connect_timeout };
        let clients = Clients::new(bounds, reach, proxy_from_environment)?;
        Ok(Self { clients, call_timeout, clock })
    }

    /// Ends some reading calls that have not ended in the time of `calls` of them.
    pub async fn within<T>(
        &self,
        calls: u32,
        reading: impl Future<Output = Result<T, Answer>>,
    ) -> Result<T, Answer> {
        let answered = tokio::time::timeout(self.call_timeout * calls, reading).await;
        answered.unwrap_or_else(|_| {
            let message = "several calls took too long together".to_owned();
            Err(Answer::Lost { sent: true, message })
        })
    }

    /// Sends a request and reads its answer, once.
    pub async fn exchange(&self, request: Request<'_>) -> Exchanged {
        self.exchange_up_to(request, BODY_LEN_MAX).await
    }

    /// Posts a form to a token endpoint, and takes a JSON answer of at most so many bytes.
    pub async fn post_form(&self, url: Url, form: &str, len_max: usize) -> Exchanged {
        let request = Request {
            method: Method::POST,
            url,
            credentials: None,
            headers: vec![
                (CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
                (ACCEPT, "application/json".to_owned()),
            ],
            body: form.as_bytes(),
        };
        self.exchange_up_to(request, len_max).await
    }

    /// As [`Self::exchange`], with another bound on the answer's length, in bytes.
    pub async fn exchange_up_to(&self, mut request: Request<'_>, len_max: usize) -> Exchanged {
        let attempt = Attempt::begin(request.method.as_str(), &request.url);
        let named = attempt.header().map(|value| (TRACE_PARENT, value));
        request.headers.extend(named);
        let exchanged = self.make(request, len_max).await;
        match &exchanged {
            Exchanged::Answered(response) => attempt.answered(response.status),
            Exchanged::Lost { sent, message: _ } => attempt.lost(*sent),
        }
        exchanged
    }

    async fn make(&self, request: Request<'_>, len_max: usize) -> Exchanged {
        let unsent = |message| Exchanged::Lost { sent: false, message };
        let client = match self.clients.for_url(&request.url) {
            Ok(client) => client,
            Err(barred) => return unsent(barred.to_string()),
        };
        let prepared = match prepare(request) {
            Ok(prepared) => prepared,
            Err(error) => return unsent(error.to_string()),
        };
        let mut answer = match client.execute(prepared).await {
            Ok(answer) => answer,
            Err(error) => return lost(error),
        };
        let mut body = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > len_max => {
                    let message = format!("{TOO_LONG} {len_max} bytes");
                    return Exchanged::Lost { sent: true, message };
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return lost_in_answer(error),
            }
        }
        let headers = answer.headers();
        let now = self.clock.now();
        Exchanged::Answered(Response {
            status: answer.status().as_u16(),
            etag: text(headers, &ETAG).and_then(strong_etag),
            retry_after: text(headers, &RETRY_AFTER).and_then(|value| retry_after(value, now)),
            redirect: text(headers, &LOCATION)
                .and_then(|target| redirect(answer.status().as_u16(), answer.url(), target)),
            body,
        })
    }
}

/// How the message of an answer that exceeded its bound begins.
const TOO_LONG: &str = "the answer is longer than";

/// Whether this says of a lost answer that it exceeded its bound.
pub fn is_too_long(message: &str) -> bool {
    message.starts_with(TOO_LONG)
}

impl Exchanged {
    /// The whole answer, or how it was lost.
    pub fn whole(self) -> Result<Response, Answer> {
        match self {
            Self::Answered(response) => Ok(response),
            Self::Lost { sent, message } => Err(Answer::Lost { sent, message }),
        }
    }
}

impl Response {
    /// As the calendar's answer, with the provider's own word for it.
    pub fn into_answer(self, reason: Option<String>, provider_uid: Option<String>) -> Answer {
        let (reason, message) = if let Some(Redirect { origin, lasts, target: _ }) = self.redirect {
            let message = format!("the calendar's address redirects to {origin}");
            (lasts.then(|| MOVED.to_owned()), message)
        } else {
            let message = message(self.status, reason.as_deref());
            (reason, message)
        };
        Answer::Status {
            status: self.status,
            reason,
            retry_after: self.retry_after,
            etag: self.etag,
            provider_uid,
            server_id: None,
            message,
        }
    }
}

/// A short text for people: the status and its usual name.
pub fn status_text(status: u16) -> String {
    message(status, None)
}

/// A short text for people: the status, its usual name, and the provider's word.
fn message(status: u16, reason: Option<&str>) -> String {
    let name = reqwest::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    match (name, reason) {
        (Some(name), Some(reason)) => format!("{status} {name} ({reason})"),
        (Some(name), None) => format!("{status} {name}"),
        (None, Some(reason)) => format!("{status} ({reason})"),
        (None, None) => status.to_string(),
    }
}

/// The longest provider's word that is kept, in bytes.
const REASON_LEN_MAX: usize = 64;

/// A provider's word for an answer, if it looks like one: what comes from a body is trusted with
/// nothing more than a name.
pub fn reason(word: &str) -> Option<String> {
    let fits = (1..=REASON_LEN_MAX).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    fits.then(|| word.to_owned())
}

/// The entity tag, if it is a strong one (RFC 9110 §8.8.3): quoted, without `W/`, visible ASCII.
/// A weak one cannot guard a write.
pub fn strong_etag(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let fits = text.len() <= ETAG_LEN_MAX
        && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    fits.then(|| format!("\"{inner}\""))
}

/// `Retry-After` (RFC 9110 §10.2.3), seconds or a date, as time from `now`.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = DateTime::<Utc>::from(httpdate::parse_http_date(value).ok()?);
        // A date in the past means now.
        (date - now).to_std().unwrap_or(Duration::ZERO)
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// `Location` (RFC 9110 §10.2.2) of a redirect, seen from where we asked.
fn redirect(status: u16, asked: &Url, target: &str) -> Option<Redirect> {
    let for_good = match status {
        301 | 308 => true,
        302 | 307 => false,
        _ => return None,
    };
    let target = asked.join(target).ok().filter(Url::has_host)?;
    let only_with_tls = asked.scheme() == "http"
        && target.scheme() == "https"
        && asked.host_str() == target.host_str();
    let origin = target.origin().ascii_serialization().chars().take(MESSAGE_LEN_MAX).collect();
    Some(Redirect { origin, target, lasts: for_good || only_with_tls })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn prepare(request: Request<'_>) -> Result<reqwest::Request, InvalidHeaderValue> {
    let Request { method, url, credentials, headers, body } = request;
    let mut prepared = reqwest::Request::new(method, url);
    for (name, value) in headers {
        prepared.headers_mut().insert(name, HeaderValue::from_str(&value)?);
    }
    if let Some(credentials) = credentials {
        prepared.headers_mut().insert(AUTHORIZATION, authorization(credentials)?);
    }
    if !body.is_empty() {
        *prepared.body_mut() = Some(body.to_vec().into());
    }
    Ok(prepared)
}

fn authorization(credentials: &Credentials) -> Result<HeaderValue, InvalidHeaderValue> {
    let text = match credentials {
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose_secret());
            format!("Basic {}", BASE64.encode(pair.as_bytes()))
        }
        Credentials::Bearer { token } => format!("Bearer {}", token.expose_secret()),
    };
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The request failed before a status line came back. `is_connect` covers name resolution, the
/// refused or timed-out connection and the TLS handshake, all before the request's first byte
/// (TLS early data is off); everything else may have been sent.
fn lost(error: reqwest::Error) -> Exchanged {
    let sent = !(error.is_connect() || error.is_builder());
    Exchanged::Lost { sent, message: describe(error) }
}

fn lost_in_answer(error: reqwest::Error) -> Exchanged {
    Exchanged::Lost { sent: true, message: describe(error) }
}

/// The chain of causes, without the URL; a refusal of ours, or a certificate, in its own words.
fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        let stage = if error.is_connect() { "connecting" } else { "the call" };
        return format!("{stage} took longer than allowed");
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(barred) = source.downcast_ref::<Barred>() {
            return barred.to_string();
        }
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    let text = roots::tls_problem(&error).unwrap_or(text);
    text.chars().take(MESSAGE_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_etag_is_kept() {
        assert_eq!(strong_etag("\"a1\""), Some("\"a1\"".to_owned()));
        assert_eq!(strong_etag(" \"a1\" "), Some("\"a1\"".to_owned()));
        for weak in ["W/\"a1\"", "a1", "\"", "", "\"a\"b\"", "\"a b\"", "\"ü\""] {
            assert_eq!(strong_etag(weak), None, "{weak}");
        }
        assert_eq!(strong_etag(&format!("\"{}\"", "a".repeat(ETAG_LEN_MAX))), None);
    }

    #[test]
    fn a_pause_is_seconds_or_a_date_and_has_a_bound() {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let read = |value| retry_after(value, now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 22 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(read("Thu, 22 Nov 2096 09:00:00 GMT"), Some(RETRY_AFTER_MAX));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_reason_is_a_name_and_nothing_else() {
        assert_eq!(reason("no-uid-conflict"), Some("no-uid-conflict".to_owned()));
        assert_eq!(reason(""), None);
        assert_eq!(reason("Dinner with Ada"), None);
        assert_eq!(reason(&"a".repeat(65)), None);
    }

    #[test]
    fn a_message_says_the_status_and_the_providers_word() {
        assert_eq!(
            message(412, Some("conditionNotMet")),
            "412 Precondition Failed (conditionNotMet)"
        );
        assert_eq!(message(599, None), "599");
    }
}
