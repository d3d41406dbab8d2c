//! Answers, and Google's shape of an error:
//! `{"error":{"errors":[{"domain","reason","message"}],"code","message"}}`.

use axum::http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use crate::emulator::faults::Refusal;
use crate::emulator::reply::{Content, Reply};
use crate::emulator::tokens::Denied;

/// The content type of what the API says.
const JSON: &str = "application/json; charset=UTF-8";

/// 200 with a resource; its `etag` becomes the header too.
pub(super) fn resource(resource: Value) -> Reply {
    let etag = resource.get("etag").and_then(Value::as_str).map(ToOwned::to_owned);
    Reply { etag, ..Reply::new(200, Content::Json(JSON, resource)) }
}

/// An ordered refusal.
pub(super) fn refusal(refusal: &Refusal) -> Reply {
    let Some(reason) = &refusal.reason else {
        return Reply::page(refusal);
    };
    let domain = match reason.as_str() {
        "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded" => "usageLimits",
        _ => "global",
    };
    let error = ApiError { domain, ..ApiError::new(refusal.status, reason, &refusal.message) };
    Reply { retry_after_s: refusal.retry_after_s, ..error.into() }
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

    /// The calendar is somebody else's, and was shared to be read.
    pub(super) fn writer_access_required() -> Self {
        let message = "You need to have writer access to this calendar.";
        Self::new(403, "requiredAccessLevel", message)
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

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing => Self::login_required(),
            Denied::Invalid => Self::invalid_credentials(),
        }
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
        let challenge = r#"Bearer realm="https://accounts.google.com/""#;
        let challenges = (error.status == 401).then(|| (WWW_AUTHENTICATE, challenge.to_owned()));
        Self {
            reason: Some(error.reason),
            headers: challenges.into_iter().collect(),
            ..Self::new(error.status, Content::Json(JSON, body))
        }
    }
}
