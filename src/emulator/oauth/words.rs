//! How a token endpoint says yes and no (RFC 6749 §§5.1 and 5.2): Google in two words, Microsoft with its
//! numbers.

use axum::http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Dialect;
use super::assertion::Unproven;
use crate::emulator::faults::Refusal;
use crate::emulator::life::Turn;
use crate::emulator::reply::{Content, Reply};

const JSON: &str = "application/json; charset=utf-8";

/// Why there is no new access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The body is no form, or too large.
    NoForm,
    /// A parameter comes twice.
    Twice { name: String },
    /// One is missing.
    Missing { name: &'static str },
    /// Of another type than `refresh_token`.
    GrantType,
    /// There is no such tenant.
    NoTenant { name: String },
    /// There is no such client.
    NoClient { id: String },
    /// It has to prove itself, and does not.
    NoSecret,
    /// It does not prove itself.
    WrongSecret,
    /// It proves itself in two ways.
    TwoProofs,
    /// It has no secret, and brings one.
    PublicClient,
    /// There is no such refresh token.
    UnknownGrant,
    /// It is another client's.
    AnothersGrant,
    /// It was revoked, or has expired.
    Revoked,
    /// More is asked for than was granted.
    Scope,
    /// There is no such code.
    UnknownCode,
    /// It is another client's.
    AnothersCode,
    /// It was used before.
    SpentCode,
    /// Its time is over.
    OldCode,
    /// It was sent to another address.
    OtherRedirect,
    /// It was given at another tenant's endpoint.
    OtherTenant,
    /// What proves that it was asked for by this client is missing (RFC 7636).
    NoVerifier,
    /// It proves nothing.
    WrongVerifier,
    /// There is no such device code.
    UnknownDevice,
    /// Its time is over.
    OldDevice,
    /// Nobody has entered it yet.
    Pending,
    /// Nobody has, and it is asked about too often.
    SlowDown,
    /// Somebody has said no.
    Declined,
    /// An assertion proves nothing, or not enough.
    Assertion(Unproven),
}

/// A page for somebody at a browser, who is sent nowhere.
pub(super) fn page(status: u16, text: &str) -> Reply {
    let text = html_escape::encode_text(text);
    Reply::new(status, Content::Html(format!("<html><title>{text}</title></html>")))
}

/// Nobody knows who asks.
pub(super) fn unknown_client(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Google => "invalid_client: The OAuth client was not found.",
        Dialect::Microsoft => "AADSTS700016: Application was not found in the directory.",
    }
}

/// Nobody has said that people may be sent there.
pub(super) fn wrong_redirect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Google => "redirect_uri_mismatch: You can't sign in to this app",
        Dialect::Microsoft => {
            "AADSTS50011: The redirect URI specified in the request does not match the redirect URIs              configured for the application."
        }
    }
}

/// New access.
pub(super) fn success(granted: Value) -> Reply {
    unstored(Reply::new(200, Content::Json(JSON, granted)))
}

/// RFC 6749 §5.1: nobody keeps a copy.
fn unstored(mut reply: Reply) -> Reply {
    reply.headers.push((CACHE_CONTROL, "no-store".to_owned()));
    reply.headers.push((PRAGMA, "no-cache".to_owned()));
    reply
}

/// A refusal of the endpoint's own.
pub(super) fn refusal(dialect: Dialect, refused: &Refused, turn: Turn) -> Reply {
    match dialect {
        Dialect::Google => {
            let (status, error, description) = google(refused);
            said(dialect, (status, error, &description), turn)
        }
        Dialect::Microsoft => {
            let (status, error, code, description) = microsoft(refused);
            said(dialect, (status, error, &format!("AADSTS{code}: {description}")), turn)
        }
    }
}

/// A refusal that was ordered: `reason` is its error, `message` its description, with Microsoft's
/// number in it.
pub(super) fn ordered(dialect: Dialect, refusal: &Refusal, turn: Turn) -> Reply {
    let Some(error) = &refusal.reason else {
        return Reply::page(refusal);
    };
    let reply = said(dialect, (refusal.status, error, &refusal.message), turn);
    Reply { retry_after_s: refusal.retry_after_s, ..reply }
}

fn said(dialect: Dialect, (status, error, description): (u16, &str, &str), turn: Turn) -> Reply {
    let mut body = json!({ "error": error, "error_description": description });
    if dialect == Dialect::Microsoft {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &turn.number.to_be_bytes());
        body["error_codes"] = json!(numbers(description));
        body["timestamp"] = json!(turn.now.format("%Y-%m-%d %H:%M:%SZ").to_string());
        (body["trace_id"], body["correlation_id"]) = (json!(id), json!(id));
    }
    let mut reply = unstored(Reply::new(status, Content::Json(JSON, body)));
    reply.reason = Some(error.to_owned());
    if status == 401 {
        reply.headers.push((WWW_AUTHENTICATE, "Basic realm=\"token\"".to_owned()));
    }
    reply
}

/// The number that a description of Microsoft's begins with.
fn numbers(description: &str) -> Vec<u32> {
    let number = description
        .strip_prefix("AADSTS")
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    number.and_then(|digits| digits.parse().ok()).into_iter().collect()
}

/// Status, error and description.
fn google(refused: &Refused) -> (u16, &'static str, String) {
    let own = |text: &str| text.to_owned();
    match refused {
        Refused::NoForm | Refused::TwoProofs => (400, "invalid_request", own("Bad Request")),
        Refused::Twice { name } => {
            let text = format!("OAuth 2 parameters can only have a single value: {name}");
            (400, "invalid_request", text)
        }
        Refused::Missing { name } => {
            (400, "invalid_request", format!("Missing required parameter: {name}"))
        }
        // Google has a device flow of its own, and no scope of a calendar in it.
        Refused::GrantType
        | Refused::UnknownDevice
        | Refused::OldDevice
        | Refused::Pending
        | Refused::SlowDown
        | Refused::Declined => (400, "unsupported_grant_type", own("Invalid grant_type")),
        Refused::NoTenant { .. } => (404, "invalid_request", own("Not Found")),
        Refused::NoClient { .. } => (401, "invalid_client", own("The OAuth client was not found.")),
        Refused::NoSecret => (400, "invalid_request", own("client_secret is missing.")),
        Refused::WrongSecret | Refused::PublicClient => {
            (401, "invalid_client", own("Unauthorized"))
        }
        Refused::UnknownGrant | Refused::SpentCode | Refused::OldCode => {
            (400, "invalid_grant", own("Bad Request"))
        }
        Refused::AnothersGrant => (401, "unauthorized_client", own("Unauthorized")),
        Refused::Revoked => (400, "invalid_grant", own("Token has been expired or revoked.")),
        Refused::Scope => (400, "invalid_scope", own("Bad Request")),
        Refused::UnknownCode | Refused::AnothersCode => {
            (400, "invalid_grant", own("Malformed auth code."))
        }
        Refused::OtherRedirect | Refused::OtherTenant => {
            (400, "redirect_uri_mismatch", own("Bad Request"))
        }
        Refused::NoVerifier => (400, "invalid_grant", own("Missing code verifier.")),
        Refused::WrongVerifier => (400, "invalid_grant", own("Invalid code verifier.")),
        Refused::Assertion(unproven) => {
            let (status, error, description) = unproven.words();
            (status, error, own(description))
        }
    }
}

/// Status, error, number and description.
#[expect(clippy::too_many_lines, reason = "a table")]
fn microsoft(refused: &Refused) -> (u16, &'static str, u32, String) {
    let own = |text: &str| text.to_owned();
    let missing = |name: &str| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        (400, "invalid_request", 900_144, text)
    };
    match refused {
        // What is no form has no parameters.
        Refused::NoForm => missing("grant_type"),
        Refused::Missing { name } => missing(name),
        Refused::Twice { name } => {
            let text = format!(
                "The request is not properly formatted. The parameter '{name}' is duplicated."
            );
            (400, "invalid_request", 9_000_411, text)
        }
        Refused::GrantType => (
            400,
            "unsupported_grant_type",
            70_003,
            own("The app requested an unsupported grant type."),
        ),
        Refused::NoTenant { name } => {
            (400, "invalid_request", 90_002, format!("Tenant '{name}' not found."))
        }
        Refused::NoClient { id } => {
            let text =
                format!("Application with identifier '{id}' was not found in the directory.");
            (400, "unauthorized_client", 700_016, text)
        }
        Refused::NoSecret => {
            let text = "The request body must contain the following parameter: 'client_assertion' or \
                        'client_secret'.";
            (401, "invalid_client", 7_000_218, own(text))
        }
        Refused::WrongSecret | Refused::TwoProofs => {
            (401, "invalid_client", 7_000_215, own("Invalid client secret provided."))
        }
        Refused::PublicClient => {
            let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be \
                        presented.";
            (401, "invalid_client", 700_025, own(text))
        }
        Refused::Revoked => {
            let text = "The provided grant has expired due to it being revoked, a fresh auth token is \
                        needed.";
            (400, "invalid_grant", 50_173, own(text))
        }
        Refused::Scope => {
            (400, "invalid_scope", 70_011, own("The provided value for 'scope' is not valid."))
        }
        Refused::UnknownGrant
        | Refused::AnothersGrant
        | Refused::UnknownCode
        | Refused::AnothersCode
        | Refused::OtherTenant => {
            (400, "invalid_grant", 70_000, own("Provided grant is invalid or malformed."))
        }
        Refused::SpentCode => {
            let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid \
                        code or use an existing refresh token.";
            (400, "invalid_grant", 54_005, own(text))
        }
        Refused::OldCode => {
            let text = "The provided authorization code or refresh token has expired due to \
                        inactivity.";
            (400, "invalid_grant", 70_008, own(text))
        }
        Refused::OtherRedirect => {
            let text = "The reply address does not match the reply address provided when requesting \
                        Authorization code.";
            (400, "invalid_grant", 500_112, own(text))
        }
        Refused::NoVerifier | Refused::WrongVerifier => {
            let text = "The Code_Verifier does not match the code_challenge supplied in the \
                        authorization request.";
            (400, "invalid_grant", 501_481, own(text))
        }
        // RFC 8628 §3.5, in Microsoft's words.
        Refused::Pending => {
            let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
            (400, "authorization_pending", 70_016, own(text))
        }
        Refused::SlowDown => {
            (400, "slow_down", 70_016, own("Authorization is pending. Poll less often."))
        }
        Refused::Declined => {
            let text = "User declined to consent to access the app.";
            (400, "authorization_declined", 65_004, own(text))
        }
        Refused::OldDevice => (400, "expired_token", 70_020, own("This device code has expired.")),
        Refused::UnknownDevice => {
            let text = "Bad verification code received from user or client.";
            (400, "bad_verification_code", 70_018, own(text))
        }
        // Such a grant is Google's.
        Refused::Assertion(_) => {
            (400, "invalid_grant", 50_013, own("Assertion failed signature validation."))
        }
    }
}
