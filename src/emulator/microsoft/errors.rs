//! Refusals, in Graph's shape:
//! `{"error":{"code","message","innerError":{"date","request-id","client-request-id"}}}`.

use axum::http::HeaderName;
use axum::http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use uuid::Uuid;

use super::routes::ApiRequest;
use crate::emulator::faults::Refusal;
use crate::emulator::life::Turn;
use crate::emulator::reply::{Content, Reply};
use crate::emulator::tokens::Denied;

/// The content type of what the API says.
const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;\
                    IEEE754Compatible=false;charset=utf-8";

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(super) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// What a call is called, by the server and by its client.
pub(super) struct Names {
    request: String,
    client: String,
    date: String,
}

impl Names {
    pub(super) fn of(request: &ApiRequest, turn: Turn) -> Self {
        let own = Uuid::new_v5(&Uuid::NAMESPACE_OID, &turn.number.to_be_bytes()).to_string();
        let client = request.header(CLIENT_REQUEST_ID).unwrap_or(&own).to_owned();
        Self { request: own, client, date: turn.now.format("%Y-%m-%dT%H:%M:%S").to_string() }
    }

    /// An answer with these names in its headers.
    pub(super) fn on(self, mut reply: Reply) -> Reply {
        reply.headers.push((REQUEST_ID, self.request));
        reply.headers.push((CLIENT_REQUEST_ID, self.client));
        reply
    }
}

/// An answer with a resource; its `@odata.etag` becomes the header too.
pub(super) fn resource(status: u16, resource: Value) -> Reply {
    let etag = resource.get("@odata.etag").and_then(Value::as_str).map(ToOwned::to_owned);
    Reply { etag, ..Reply::new(status, Content::Json(JSON, resource)) }
}

/// An ordered refusal.
pub(super) fn refusal(refusal: &Refusal, names: Names) -> Reply {
    let Some(code) = &refusal.reason else {
        return Reply::page(refusal);
    };
    let error = ApiError::new(refusal.status, code, &refusal.message);
    Reply { retry_after_s: refusal.retry_after_s, ..error.reply(names) }
}

/// A refusal of the API's own.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: u16,
    code: String,
    message: String,
    /// The event that has the `transactionId`.
    existing: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        let (code, message) = (code.to_owned(), message.to_owned());
        Self { status, code, message, existing: None }
    }

    pub(super) fn reply(self, names: Names) -> Reply {
        let mut error = json!({
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": names.date,
                "request-id": names.request,
                "client-request-id": names.client,
            },
        });
        if let Some(id) = self.existing {
            error["@event.existingEventId"] = json!(id);
        }
        let body = Content::Json(JSON, json!({ "error": error }));
        let mut reply = Reply { reason: Some(self.code), ..Reply::new(self.status, body) };
        if self.status == 401 {
            let challenge = r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize""#;
            reply.headers.push((WWW_AUTHENTICATE, challenge.to_owned()));
        }
        names.on(reply)
    }

    /// A path, a method or a query that makes no sense.
    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A body that is no JSON, or does not fit the type.
    pub(super) fn body(message: &str) -> Self {
        Self::new(400, "RequestBodyRead", message)
    }

    /// A body that fits the type, and asks for what cannot be.
    pub(super) fn invalid(message: &str) -> Self {
        Self::new(400, "ErrorInvalidRequest", message)
    }

    /// Said of an end before its start, and of much else (microsoft-graph-docs#7919).
    pub(super) fn property() -> Self {
        let message = "At least one property failed validation.";
        Self::new(400, "ErrorPropertyValidationFailure", message)
    }

    pub(super) fn zone(name: &str) -> Self {
        let message = format!(
            "A valid TimeZone value must be specified. The following TimeZone value is not \
             supported: '{name}'."
        );
        Self::new(400, "TimeZoneNotSupportedException", &message)
    }

    pub(super) fn window() -> Self {
        let message = "This request requires a time window specified by the query string \
                       parameters StartDateTime and EndDateTime.";
        Self::new(400, "ErrorInvalidParameter", message)
    }

    pub(super) fn malformed_id() -> Self {
        Self::new(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    }

    pub(super) fn immutable_transaction_id() -> Self {
        Self::invalid("Your request can't be completed. ClientId/TransactionId is immutable.")
    }

    pub(super) fn duplicate(status: u16, existing: Option<String>) -> Self {
        let message =
            "The client/transaction ID has already been used to create a different event.";
        Self { existing, ..Self::new(status, "ErrorDuplicateTransactionId", message) }
    }

    pub(super) fn access_denied() -> Self {
        let message = "Access is denied. Check credentials and try again.";
        Self::new(403, "ErrorAccessDenied", message)
    }

    pub(super) fn invalid_user(name: &str) -> Self {
        let message = format!("The requested user '{name}' is invalid.");
        Self::new(404, "ErrorInvalidUser", &message)
    }

    pub(super) fn not_found() -> Self {
        let message = "The specified object was not found in the store.";
        Self::new(404, "ErrorItemNotFound", message)
    }

    pub(super) fn cannot_delete() -> Self {
        Self::new(403, "ErrorCannotDeleteObject", "Cannot delete the object.")
    }

    pub(super) fn conflict() -> Self {
        let message = "The send or update operation could not be performed because the change \
                       key passed in the request does not match the current change key for the \
                       item.";
        Self::new(412, "ErrorIrresolvableConflict", message)
    }

    pub(super) fn sync_state(code: &str) -> Self {
        Self::new(410, code, "The sync state generation is not found.")
    }

    pub(super) fn body_too_large() -> Self {
        Self::new(413, "RequestEntityTooLarge", "Request Entity Too Large")
    }

    /// The emulator is full: a bound of ours, not of the API's.
    pub(super) fn mailbox_full() -> Self {
        let message = "The mailbox message store is full.";
        Self::new(507, "ErrorQuotaExceeded", message)
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let message = match denied {
            Denied::Missing => "Access token is empty.",
            Denied::Invalid => "Lifetime validation failed, the token is expired.",
        };
        Self::new(401, "InvalidAuthenticationToken", message)
    }
}

/// Refusals to order, in Graph's words.
pub mod refusals {
    use crate::emulator::faults::Refusal;

    /// 429, with `Retry-After` in seconds where given.
    pub fn throttled(retry_after_s: Option<u32>) -> Refusal {
        let message = "Application is over its MailboxConcurrency limit.";
        Refusal { retry_after_s, ..Refusal::api(429, "ApplicationThrottled", message) }
    }

    /// 503, with `Retry-After` in seconds where given.
    pub fn unavailable(retry_after_s: Option<u32>) -> Refusal {
        let message = "The service is unavailable.";
        Refusal { retry_after_s, ..Refusal::api(503, "serviceNotAvailable", message) }
    }

    /// 504: nobody knows whether the call took effect.
    pub fn gateway_timeout() -> Refusal {
        Refusal::api(504, "UnknownError", "The server did not respond in time.")
    }

    /// 509.
    pub fn bandwidth_exceeded() -> Refusal {
        Refusal::api(509, "BandwidthLimitExceeded", "The bandwidth limit is exceeded.")
    }

    /// 403 for ever.
    pub fn access_denied() -> Refusal {
        let message = "Access is denied. Check credentials and try again.";
        Refusal::api(403, "ErrorAccessDenied", message)
    }

    /// The refusal that was seen after the event had been made (rdv-service-public#3376).
    pub fn account_suspended() -> Refusal {
        let message = "Account suspended. Follow the instructions in your Inbox to verify your \
                       account.";
        Refusal::api(403, "ErrorAccountSuspend", message)
    }

    /// 412 that no condition of the client's has asked for (B7).
    pub fn conflict() -> Refusal {
        let message = "The change key passed in the request does not match the current change \
                       key for the item.";
        Refusal::api(412, "ErrorIrresolvableConflict", message)
    }
}
