//! PURE: what a token endpoint's answer to a refresh (RFC 6749 §§5 and 6) or to an assertion (RFC 7523)
//! means, as total tables.
//!
//! Only what says plainly that the grant itself is no good asks for its owner: parked accounts are the
//! work of people. What says that *we* are not who we should be is an error of this process, whatever
//! account it was about. All else passes: it is tried again, for as long as it takes, with what we have.
//!
//! Sources: RFC 6749 §5.2; Google, "Using OAuth 2.0 for Web Server Applications", refreshing an access
//! token; Microsoft, "Microsoft Entra authentication and authorization error codes".

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::delegated::{Delegated, ServiceKey};
use super::kept::Issuer;
use super::seal::{SECRET_LEN_MAX, Wiped};

/// Why there is no new access. Reasons are for people, and hold no secret.
#[derive(Debug)]
pub enum Denied {
    /// The grant is no good any more: a person has to connect the account again.
    Refused {
        /// What it says, and what to do.
        reason: String,
    },
    /// We are not who we say we are, or ask what cannot be asked: a person has to mend the settings.
    Misconfigured {
        /// What it says.
        reason: String,
    },
    /// We cannot tell, or not now: to be tried again with the same grant.
    Later {
        /// How long the endpoint asks to be left alone.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
}

/// New access.
#[derive(Debug)]
pub struct Granted {
    /// The access token.
    pub access_token: SecretString,
    /// How long it is good.
    pub good_for: Option<Duration>,
    /// What access is renewed by from now on; `None`: by what it was renewed by.
    pub refresh_token: Option<SecretString>,
    /// What is granted; `None`: as before.
    pub scopes: Option<String>,
    /// Whose account it is, where that was asked for ([`super::id_token`]).
    pub id_token: Option<SecretString>,
}

/// A whole answer.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The status code.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body, whatever it is.
    pub body: &'a [u8],
}

/// Microsoft's numbers (AADSTS) for what is wrong with us, whatever word they come with: an application
/// that is not there, was disabled, or does not prove itself.
const OUR_FAULT: [u32; 9] =
    [70_001, 90_002, 700_016, 700_025, 700_027, 7_000_112, 7_000_215, 7_000_218, 7_000_222];

/// Those among them that Microsoft says of one directory: a wrong client ID has the same number as an
/// application that the account's organisation has removed or disabled.
const OF_ONE_DIRECTORY: [u32; 3] = [90_002, 700_016, 7_000_112];

/// "The server terminated an operation because it encountered a client request loop": a limit.
const REQUEST_LOOP: u32 = 50_196;

/// The longest list of scopes that is kept, in bytes.
const SCOPES_LEN_MAX: usize = 4_000;

/// What kind of answer it is.
pub(super) enum Read {
    /// A success (RFC 6749 §5.1).
    Granted(Granted),
    /// A refusal (§5.2).
    Refused(Refusal),
    /// The endpoint is elsewhere.
    Moved,
    /// It does not answer now.
    Away,
    /// No answer of a token endpoint.
    Nothing,
}

/// Reads an answer.
pub(super) fn read(told: Told<'_>) -> Read {
    match told.status {
        200 => match serde_json::from_slice::<Success>(told.body).ok().and_then(granted) {
            Some(granted) => Read::Granted(granted),
            None => Read::Nothing,
        },
        301 | 302 | 303 | 307 | 308 => Read::Moved,
        400 | 401 | 403 => match serde_json::from_slice::<Refusal>(told.body) {
            Ok(refusal) => Read::Refused(refusal),
            // A proxy's page, or another API's error.
            Err(_) => Read::Nothing,
        },
        429 | 500..=599 => Read::Away,
        _ => Read::Nothing,
    }
}

/// What an answer to a refresh means.
pub fn refreshed(issuer: &Issuer, told: Told<'_>) -> Result<Granted, Denied> {
    let name = issuer.name();
    answered(name, told, |refusal, after| refused(name, refusal, after))
}

/// What an answer to a service account's assertion means (RFC 7523 §3.1).
pub fn asserted(delegated: &Delegated, told: Told<'_>) -> Result<Granted, Denied> {
    answered(Issuer::Google.name(), told, |refusal, after| unproven(delegated, refusal, after))
}

fn answered(
    name: &str,
    told: Told<'_>,
    refused: impl FnOnce(&Refusal, Option<Duration>) -> Denied,
) -> Result<Granted, Denied> {
    let Told { status, retry_after: after, body: _ } = told;
    Err(match read(told) {
        Read::Granted(granted) => return Ok(granted),
        Read::Refused(refusal) => refused(&refusal, after),
        Read::Moved => Denied::Misconfigured { reason: moved(name, status) },
        Read::Away => Denied::Later { after, reason: away(name, status) },
        Read::Nothing => Denied::Later { after, reason: nothing(name, status) },
    })
}

/// The endpoint has moved, in words.
pub(super) fn moved(name: &str, status: u16) -> String {
    format!("{name}'s token endpoint has moved ({status}): its address is wrong")
}

/// It does not answer, in words.
pub(super) fn away(name: &str, status: u16) -> String {
    format!("{name}'s token endpoint does not answer now ({status})")
}

/// The answer is none, in words.
pub(super) fn nothing(name: &str, status: u16) -> String {
    format!("{name}'s token endpoint gave an answer that is none ({status})")
}

fn refused(name: &str, refusal: &Refusal, after: Option<Duration>) -> Denied {
    let said = said(refusal);
    let later =
        || Denied::Later { after, reason: format!("{name} does not renew access now ({said})") };
    let misconfigured = || Denied::Misconfigured { reason: not_taken(name, refusal) };
    match refusal.error.as_str() {
        _ if refusal.error_codes.contains(&REQUEST_LOOP) => later(),
        _ if refusal.is_our_fault() => misconfigured(),
        "invalid_grant"
        | "interaction_required"
        | "consent_required"
        | "login_required"
        | "access_denied"
        | "admin_policy_enforced" => {
            let why = why(refusal).map(|why| format!(": {why}")).unwrap_or_default();
            Denied::Refused {
                reason: format!(
                    "{name} does not renew our access any more ({said}{why}); its owner has to \
                     connect the account again"
                ),
            }
        }
        "invalid_client"
        | "deleted_client"
        | "disabled_client"
        | "invalid_request"
        | "invalid_resource"
        | "invalid_scope"
        // Another client than the one that it was granted to, at Google: a slip in the settings is no
        // reason to ask every owner for her consent.
        | "unauthorized_client"
        | "unsupported_grant_type" => misconfigured(),
        // `temporarily_unavailable`, `server_error`, and whatever else there may be.
        _ => later(),
    }
}

/// Google, "Using OAuth 2.0 for Server to Server Applications", "JWT error codes". Its descriptions are
/// looked at, and never told: they tell apart what one word stands for.
fn unproven(delegated: &Delegated, refusal: &Refusal, after: Option<Duration>) -> Denied {
    let said = said(refusal);
    let ServiceKey { client_email, client_id, key_id, .. } = &delegated.key;
    let description = refusal.error_description.as_deref().unwrap_or_default();
    let describes = |words: &str| description.contains(words);
    let person = |what: String| Denied::Refused {
        reason: format!("Google does not let {client_email} act for the user ({said}): {what}"),
    };
    match refusal.error.as_str() {
        "unauthorized_client" | "access_denied" => person(format!(
            "an administrator of the organisation has to grant domain-wide delegation to the client ID \
             {client_id}, for the scopes {}",
            delegated.scopes.replace(' ', ",")
        )),
        "invalid_grant" if describes("short-lived token") || describes("timeframe") => {
            Denied::Misconfigured {
                reason: format!(
                    "Google takes a fresh assertion for an old or a future one ({said}): see to this \
                     machine's clock"
                ),
            }
        }
        "invalid_grant" if describes("Invalid JWT Signature") => person(format!(
            "its key {key_id} was deleted, disabled, or has expired; connect with another key"
        )),
        "invalid_grant" if describes("account not found") => {
            person("the service account was deleted; connect with another one".to_owned())
        }
        "invalid_grant" if describes("email or User ID") || describes("Not a valid email") => {
            person("the user is not there any more, or is suspended".to_owned())
        }
        "invalid_grant" => person("the user, or the service account's key, is no good".to_owned()),
        "invalid_client" | "deleted_client" | "disabled_client" => person(format!(
            "the service account, or its key {key_id}, was deleted or disabled; connect with another key"
        )),
        "admin_policy_enforced" | "org_internal" => {
            person("a policy of the organisation stands in the way".to_owned())
        }
        "invalid_request" | "invalid_scope" | "unsupported_grant_type" => Denied::Misconfigured {
            reason: format!(
                "Google's token endpoint does not take an assertion as it is made here ({said}): see to \
                 oauth.google.token_url"
            ),
        },
        _ => Denied::Later { after, reason: format!("Google gives no access now ({said})") },
    }
}

/// We are not who we should be, in words.
pub(super) fn misconfigured(name: &str, said: &str) -> String {
    format!(
        "{name} does not take us for its client ({said}): see to oauth.{}.client_id and its secret",
        name.to_ascii_lowercase()
    )
}

/// The same of a refusal, which may mean something else as well.
pub(super) fn not_taken(name: &str, refusal: &Refusal) -> String {
    let mut text = misconfigured(name, &said(refusal));
    if refusal.error_codes.iter().any(|code| OF_ONE_DIRECTORY.contains(code)) {
        text.push_str(
            "; or the account's organisation has removed or disabled this application, and its \
             administrator has to allow it again",
        );
    }
    text
}

/// The words and numbers alone: a description can hold names.
pub(super) fn said(refusal: &Refusal) -> String {
    let word = crate::calendar::http::reason(&refusal.error);
    let mut said = vec![word.unwrap_or_else(|| "an error without a name".to_owned())];
    let codes = refusal.error_codes.iter().take(CODES_MAX);
    said.extend(codes.map(|code| format!("AADSTS{code}")));
    said.join(", ")
}

/// So many numbers are told.
const CODES_MAX: usize = 3;

/// In plain words, where it is known.
pub(super) fn why(refusal: &Refusal) -> Option<&'static str> {
    let of_number = |code: &u32| match code {
        50_173 => Some("the password was changed, or all access was revoked"),
        70_008 | 700_082 | 700_084 => Some("it was not used for too long"),
        50_076 | 50_079 | 50_158 => Some("more than a password is asked for by now"),
        53_000..=53_004 => Some("a policy of the organisation stands in the way"),
        65_001 => Some("consent is missing"),
        50_034 | 50_057 => Some("the account is not there, or disabled"),
        _ => None,
    };
    let of_word = match refusal.error_subtype.as_deref() {
        Some("invalid_rapt") => Some("the organisation asks its users to sign in again"),
        Some(_) | None => None,
    };
    refusal.error_codes.iter().find_map(of_number).or(of_word)
}

/// RFC 6749 §5.2, Microsoft's numbers, and Google's further word.
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
    #[serde(default, deserialize_with = "numbers")]
    error_codes: Vec<u32>,
    #[serde(default)]
    error_subtype: Option<String>,
    /// For people, and can hold names: never told.
    #[serde(default, deserialize_with = "text")]
    error_description: Option<String>,
}

/// A text; what is none is left out.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(ToOwned::to_owned))
}

impl Refusal {
    /// Whether Microsoft's numbers say so.
    pub(super) fn is_our_fault(&self) -> bool {
        self.error_codes.iter().any(|code| OUR_FAULT.contains(code))
    }
}

/// The numbers of a list; what is none is left out.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = |item: &serde_json::Value| u32::try_from(item.as_u64()?).ok();
    Ok(value.as_array().map(|items| items.iter().filter_map(number).collect()).unwrap_or_default())
}

/// RFC 6749 §5.1.
#[derive(Deserialize)]
struct Success {
    access_token: Wiped,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    refresh_token: Option<Wiped>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    id_token: Option<Wiped>,
}

/// A number, or a text that is one.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    /// `None`: the text is no number.
    pub(super) fn time(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        Some(Duration::from_secs(seconds))
    }
}

/// `None`: it is not what it should be, whatever it is.
fn granted(success: Success) -> Option<Granted> {
    let is_token = |text: &str| {
        (1..=SECRET_LEN_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
    };
    let secret = |text: &Wiped| SecretString::from(text.as_str());
    let Success { access_token, token_type, expires_in, refresh_token, scope, id_token } = success;
    let refresh_token = refresh_token.filter(|token| !token.as_str().is_empty());
    if !token_type.eq_ignore_ascii_case("bearer")
        || !is_token(access_token.as_str())
        || refresh_token.as_ref().is_some_and(|token| !is_token(token.as_str()))
    {
        return None;
    }
    let good_for = match expires_in {
        None => None,
        Some(seconds) => Some(seconds.time()?),
    };
    Some(Granted {
        access_token: secret(&access_token),
        good_for,
        refresh_token: refresh_token.as_ref().map(secret),
        scopes: scope.filter(|scope| (1..=SCOPES_LEN_MAX).contains(&scope.len())),
        id_token: id_token.as_ref().map(secret),
    })
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
