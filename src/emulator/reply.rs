//! Answers, before they are HTTP.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::faults::Refusal;

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) retry_after_s: Option<u32>,
    /// The headers of one provider.
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Content,
}

/// A body.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Nothing,
    /// With its content type.
    Json(&'static str, Value),
    Html(String),
}

impl Reply {
    /// Without headers of its own.
    pub(super) fn new(status: u16, body: Content) -> Self {
        Self { status, etag: None, reason: None, retry_after_s: None, headers: Vec::new(), body }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self::new(204, Content::Nothing)
    }

    /// An ordered refusal of something that stands in front of the API, and knows none.
    pub(super) fn page(refusal: &Refusal) -> Self {
        let page = format!("<html><title>{}</title></html>", refusal.message);
        let reply = Self::new(refusal.status, Content::Html(page));
        Self { retry_after_s: refusal.retry_after_s, ..reply }
    }

    /// As HTTP.
    pub(super) fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = match self.body {
            Content::Nothing => (None, Body::empty()),
            Content::Json(kind, value) => (Some(kind), Body::from(value.to_string())),
            Content::Html(page) => (Some("text/html; charset=UTF-8"), Body::from(page)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let mut header = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(name, value);
            }
        };
        header(CONTENT_TYPE, kind.map(ToOwned::to_owned));
        header(ETAG, self.etag);
        header(RETRY_AFTER, self.retry_after_s.map(|seconds| seconds.to_string()));
        for (name, value) in self.headers {
            header(name, Some(value));
        }
        response
    }
}
