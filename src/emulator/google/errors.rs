//! Answers, and Google's shape of an error:
//! `{"error":{"errors":[{"domain","reason","message"}],"code","message"}}`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::emulator::faults::Refusal;

/// What is answered, before it is HTTP.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) retry_after_s: Option<u32>,
    pub(super) body: Content,
}

/// A body.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Nothing,
    Json(Value),
    Html(String),
}

impl Reply {
    /// 200 with a resource; its `etag` becomes the header too.
    pub(super) fn resource(resource: Value) -> Self {
        let etag = resource.get("etag").and_then(Value::as_str).map(ToOwned::to_owned);
        Self { status: 200, etag, reason: None, retry_after_s: None, body: Content::Json(resource) }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { status: 204, etag: None, reason: None, retry_after_s: None, body: Content::Nothing }
    }

    /// An ordered refusal.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let Some(reason) = &refusal.reason else {
            let page = format!("<html><title>{}</title></html>", refusal.message);
            return Self {
                status: refusal.status,
                etag: None,
                reason: None,
                retry_after_s: refusal.retry_after_s,
                body: Content::Html(page),
            };
        };
        let domain = match reason.as_str() {
            "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded" => "usageLimits",
            _ => "global",
        };
        let error = ApiError { domain, ..ApiError::new(refusal.status, reason, &refusal.message) };
        Self { retry_after_s: refusal.retry_after_s, ..error.into() }
    }

    /// As HTTP.
    pub(super) fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = match self.body {
            Content::Nothing => (None, Body::empty()),
            Content::Json(value) => {
                (Some("application/json; charset=UTF-8"), Body::from(value.to_string()))
            }
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
        let challenge = (status == StatusCode::UNAUTHORIZED)
            .then(|| r#"Bearer realm="https://accounts.google.com/""#.to_owned());
        header(WWW_AUTHENTICATE, challenge);
        response
    }
}

/// A refusal of the API's own.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: u16,
    domain: &'static str,
    reason: String,
    message: String,
    location: Option<(&'static str, &'static str)>,
}

impl ApiError {
    pub(super) fn new(status: u16, reason: &str, message: &str) -> Self {
        Self {
            status,
            domain: "global",
            reason: reason.to_owned(),
            message: message.to_owned(),
            location: None,
        }
    }

    /// The token's scopes are not among those that the method accepts.
    pub(super) fn insufficient_scopes() -> Self {
        let message = "Request had insufficient authentication scopes.";
        Self::new(403, "insufficientPermissions", message)
    }

    /// A value that the API does not take.
    pub(super) fn invalid(message: &str) -> Self {
        Self::new(400, "invalid", message)
    }

    /// Something that the API wants and did not get.
    pub(super) fn required(message: &str) -> Self {
        Self::new(400, "required", message)
    }

    /// A request that makes no sense as a whole.
    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(400, "badRequest", message)
    }

    pub(super) fn time_range_empty() -> Self {
        Self::new(400, "timeRangeEmpty", "The specified time range is empty.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "notFound", "Not Found")
    }

    pub(super) fn duplicate() -> Self {
        Self::new(409, "duplicate", "The requested identifier already exists.")
    }

    pub(super) fn deleted() -> Self {
        Self::new(410, "deleted", "Resource has been deleted")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(403, "forbidden", "Forbidden")
    }

    pub(super) fn condition_not_met() -> Self {
        let error = Self::new(412, "conditionNotMet", "Precondition Failed");
        Self { location: Some(("header", "If-Match")), ..error }
    }

    pub(super) fn full_sync_required() -> Self {
        let message = "Sync token is no longer valid, a full sync is required.";
        let error = Self::new(410, "fullSyncRequired", message);
        Self { domain: "calendar", location: Some(("parameter", "syncToken")), ..error }
    }

    pub(super) fn login_required() -> Self {
        let error = Self::new(401, "required", "Login Required.");
        Self { location: Some(("header", "Authorization")), ..error }
    }

    pub(super) fn invalid_credentials() -> Self {
        let error = Self::new(401, "authError", "Invalid Credentials");
        Self { location: Some(("header", "Authorization")), ..error }
    }

    pub(super) fn body_too_large() -> Self {
        Self::new(413, "uploadTooLarge", "Request Entity Too Large")
    }

    /// The emulator is full: a bound of ours, not of the API's.
    pub(super) fn calendar_full() -> Self {
        let error = Self::new(403, "quotaExceeded", "Calendar usage limits exceeded.");
        Self { domain: "usageLimits", ..error }
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut first =
            json!({"domain": error.domain, "reason": error.reason, "message": error.message});
        if let Some((kind, place)) = error.location {
            first["locationType"] = json!(kind);
            first["location"] = json!(place);
        }
        let body = json!({"error": {
            "errors": [first],
            "code": error.status,
            "message": error.message,
        }});
        Self {
            status: error.status,
            etag: None,
            reason: Some(error.reason),
            retry_after_s: None,
            body: Content::Json(body),
        }
    }
}
