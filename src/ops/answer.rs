//! How a request is refused: always JSON, always with what is wrong and what to do about it.

use axum::Json;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    error: String,
    /// (field, what is wrong with it).
    fields: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), fields: Vec::new() }
    }

    /// 404.
    pub fn not_found(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// 405.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not answer that method")
    }

    /// 422, because of these fields.
    pub fn fields(fields: Vec<(&'static str, String)>) -> Self {
        let error = "some fields are not as they must be";
        Self { fields, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, error) }
    }

    /// 422, because of one field.
    pub fn field(field: &'static str, problem: &str) -> Self {
        Self::fields(vec![(field, problem.to_owned())])
    }

    /// 409.
    pub fn conflict(error: &str) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    /// 503: `part` is away. Why is logged, not told.
    pub fn unavailable(part: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error_code = "ops_unavailable", error, "{part} did not answer a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{part} is not available; try again"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = Map::from_iter([("error".to_owned(), Value::String(self.error))]);
        if !self.fields.is_empty() {
            let field =
                |(field, problem): &(&str, String)| json!({ "field": field, "problem": problem });
            body.insert("fields".to_owned(), self.fields.iter().map(field).collect());
        }
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Whether a request carries the token (RFC 6750 §2.1): 401 without any, 403 with another one, or
/// where none is set that would do.
pub fn bearer(headers: &HeaderMap, token: Option<&SecretString>) -> Result<(), Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(given) = given else {
        let error = "a token is needed: send the header Authorization: Bearer TOKEN";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, error));
    };
    let Some(token) = token else {
        let error = "nobody may do this: ops.admin_token is not set";
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    };
    // Hashes are compared, so that the time it takes says nothing of the token.
    if Sha256::digest(given) == Sha256::digest(token.expose_secret()) {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::FORBIDDEN, "the token does not open this"))
    }
}

/// The body as a JSON object, whatever its content type is. An empty one is an empty object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is no JSON object")),
        Err(error) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")))
        }
    }
}
