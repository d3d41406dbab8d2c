//! PURE: what a token endpoint answers to a code, and a device authorisation endpoint to a question
//! (RFC 6749 §§4.1.4 and 5, RFC 8628 §§3.2 and 3.5), as total tables.
//!
//! They differ from [`super::refresh`]'s in whom they speak to: a person is waiting, and is told what to
//! do next.
//!
//! Sources: beside the RFCs, Google, "Using OAuth 2.0 for Web Server Applications"; Microsoft, "OAuth 2.0
//! authorization code flow" and "device authorization grant flow", whose `authorization_declined` and
//! `bad_verification_code` are words of its own.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::connect_error::ConnectError;
use super::kept::Issuer;
use super::refresh::{
    Granted, Read, Refusal, Seconds, Told, away, moved, not_taken, nothing, read, said, why,
};
use super::seal::{SECRET_LEN_MAX, Wiped};

/// So long the poller of a device code waits between two questions, if it is not told (RFC 8628 §3.2).
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The longest and the shortest of such waits that are obeyed.
pub const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// What is longer is no code that a person could type.
const USER_CODE_LEN_MAX: usize = 40;

/// The longest address that a person is sent to, in bytes.
const ADDRESS_LEN_MAX: usize = 2_000;

/// What a poll brings.
#[derive(Debug)]
pub enum Polled {
    /// The owner has agreed.
    Granted(Granted),
    /// Not yet.
    Pending,
    /// Not yet, and we ask too often.
    SlowDown,
}

/// What a person is told, and what we ask with.
#[derive(Debug)]
pub struct Codes {
    /// What we ask with.
    pub device_code: SecretString,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub address: String,
    /// How long it is good.
    pub good_for: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
}

/// What an answer to a code means.
pub fn exchanged(issuer: &Issuer, told: Told<'_>) -> Result<Granted, ConnectError> {
    match read(told) {
        Read::Granted(granted) => Ok(granted),
        Read::Refused(refusal) => Err(refused(issuer, &refusal, told)),
        Read::Moved => {
            Err(ConnectError::Misconfigured { reason: moved(issuer.name(), told.status) })
        }
        Read::Away => {
            let reason = away(issuer.name(), told.status);
            Err(ConnectError::Later { after: told.retry_after, reason })
        }
        Read::Nothing => {
            Err(ConnectError::NotUnderstood { reason: nothing(issuer.name(), told.status) })
        }
    }
}

/// What an answer to a device code means.
pub fn polled(issuer: &Issuer, told: Told<'_>) -> Result<Polled, ConnectError> {
    if let Read::Refused(refusal) = read(told) {
        match refusal.error.as_str() {
            "authorization_pending" => return Ok(Polled::Pending),
            "slow_down" => return Ok(Polled::SlowDown),
            _ => {}
        }
    }
    exchanged(issuer, told).map(Polled::Granted)
}

/// What a device authorisation endpoint answers.
pub fn begun(issuer: &Issuer, told: Told<'_>) -> Result<Codes, ConnectError> {
    let none = || ConnectError::NotUnderstood { reason: nothing(issuer.name(), told.status) };
    if told.status == 200 {
        let begun = serde_json::from_slice::<DeviceAnswer>(told.body).ok();
        return begun.and_then(codes).ok_or_else(none);
    }
    // What is granted by an error is no success either.
    exchanged(issuer, told).and_then(|_| Err(none()))
}

fn refused(issuer: &Issuer, refusal: &Refusal, told: Told<'_>) -> ConnectError {
    let name = issuer.name();
    let said = match why(refusal) {
        Some(why) => format!("{}: {why}", said(refusal)),
        None => said(refusal),
    };
    match refusal.error.as_str() {
        _ if refusal.is_our_fault() => {
            ConnectError::Misconfigured { reason: not_taken(name, refusal) }
        }
        "access_denied" | "authorization_declined" => ConnectError::Declined { issuer: name, said },
        "admin_policy_enforced"
        | "consent_required"
        | "interaction_required"
        | "login_required"
        | "org_internal" => ConnectError::Barred { issuer: name, said },
        "expired_token" => ConnectError::Expired,
        "invalid_grant" | "bad_verification_code" => ConnectError::Code { issuer: name, said },
        "invalid_client"
        | "deleted_client"
        | "disabled_client"
        | "invalid_request"
        | "invalid_resource"
        | "invalid_scope"
        | "redirect_uri_mismatch"
        | "unauthorized_client"
        | "unsupported_grant_type" => {
            ConnectError::Misconfigured { reason: not_taken(name, refusal) }
        }
        // `temporarily_unavailable`, `server_error`, and whatever else there may be.
        _ => {
            let reason = format!("{name} does not give access now ({said}); begin again");
            ConnectError::Later { after: told.retry_after, reason }
        }
    }
}

/// RFC 8628 §3.2.
#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: Wiped,
    user_code: String,
    verification_uri: String,
    expires_in: Seconds,
    #[serde(default)]
    interval: Option<Seconds>,
}

/// `None`: it is not what it should be.
fn codes(answer: DeviceAnswer) -> Option<Codes> {
    let DeviceAnswer { device_code, user_code, verification_uri, expires_in, interval } = answer;
    let is_plain = |text: &str, len_max: usize| {
        (1..=len_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let address = Url::parse(&verification_uri).ok()?;
    let is_page = matches!(address.scheme(), "http" | "https");
    if !is_page
        || !is_plain(&verification_uri, ADDRESS_LEN_MAX)
        || !is_plain(&user_code, USER_CODE_LEN_MAX)
        || !is_plain(device_code.as_str(), SECRET_LEN_MAX)
    {
        return None;
    }
    let interval = match interval {
        None => INTERVAL,
        Some(seconds) => seconds.time()?,
    };
    let [least, most] = INTERVALS;
    Some(Codes {
        device_code: SecretString::from(device_code.as_str()),
        user_code,
        address: verification_uri,
        good_for: expires_in.time()?,
        interval: interval.clamp(least, most),
    })
}

#[cfg(test)]
#[path = "first_answer_tests.rs"]
mod tests;
