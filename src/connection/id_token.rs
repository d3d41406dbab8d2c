//! PURE: whose account was connected, by the ID token that came with the first access (OpenID Connect
//! Core 1.0 §2 and §3.1.3.7).
//!
//! The token came from the token endpoint itself, over TLS: then "the TLS server validation MAY be used to
//! validate the issuer in place of checking the token signature" (§3.1.3.7, point 6), and no keys have to
//! be fetched and kept. All else of that list is checked. An ID token from anywhere else would prove
//! nothing here.

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::kept::{Issuer, Tenant};
use super::returned::is_same_state;

/// So far the clocks of two machines may differ.
const LEEWAY: TimeDelta = TimeDelta::minutes(5);

/// The longest subject, in bytes (OpenID Connect Core §2: "MUST NOT exceed 255 ASCII characters").
const SUBJECT_LEN_MAX: usize = 255;

/// The longest address that is shown, in characters.
const NAME_LEN_MAX: usize = 254;

/// Who must have said it, to whom, about what.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who was asked.
    pub issuer: &'a Issuer,
    /// What it calls itself: Google's name, or what stands before the tenant in Microsoft's.
    pub name: &'a Url,
    /// As whom we asked.
    pub client: &'a str,
    /// What we gave along; `None`: nothing, as a device code takes nothing along.
    pub nonce: Option<&'a str>,
    /// The hour.
    pub now: DateTime<Utc>,
}

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who renews its access: at Microsoft, for its own tenant.
    pub issuer: Issuer,
    /// What never changes: Google's `sub`, Microsoft's `oid` (its `sub` is another for each
    /// application, and an application's own token has no better name for a user).
    pub subject: String,
    /// An address, to show to people. It can change hands, and identifies nobody.
    pub name: Option<String>,
}

/// What is looked at.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    nonce: Option<String>,
    sub: Option<String>,
    oid: Option<String>,
    tid: Option<String>,
    email: Option<String>,
    preferred_username: Option<String>,
}

/// One, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Whose account it is; else what is wrong with the token.
pub fn identity(id_token: &str, expected: &Expected<'_>) -> Result<Identity, &'static str> {
    let claims = claims(id_token).ok_or("is none")?;
    let is_ours = |audience: &String| audience == expected.client;
    let is_for_us = match &claims.aud {
        Audience::One(audience) => is_ours(audience),
        // Points 3 to 5: nobody beside us is trusted.
        Audience::Several(audiences) => !audiences.is_empty() && audiences.iter().all(is_ours),
    };
    if !is_for_us || claims.azp.as_ref().is_some_and(|party| !is_ours(party)) {
        return Err("is for another client (aud)");
    }
    let is_known = match (expected.nonce, &claims.nonce) {
        (None, _) => true,
        (Some(ours), Some(given)) => is_same_state(given, ours),
        (Some(_), None) => false,
    };
    if !is_known {
        return Err("answers another question (nonce)");
    }
    let expires_at = expires_at(claims.exp).ok_or("does not say how long it is good (exp)")?;
    if expires_at.checked_add_signed(LEEWAY).is_some_and(|end| end <= expected.now) {
        return Err("has expired (exp): is this machine's clock right?");
    }
    match expected.issuer {
        Issuer::Google => of_google(claims, expected),
        Issuer::Microsoft(tenant) => of_microsoft(claims, tenant, expected),
    }
}

/// A JWT in its compact form (RFC 7519 §3, RFC 7515 §7.1): its middle is what it claims.
fn claims(id_token: &str) -> Option<Claims> {
    let mut parts = id_token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
}

/// Seconds since the epoch, with a fraction at will (RFC 7519 §2, `NumericDate`).
fn expires_at(seconds: f64) -> Option<DateTime<Utc>> {
    // Larger than any date, and exact as a number of milliseconds.
    const SECONDS_MAX: f64 = 4_000_000_000_000.0;
    if !(0.0..SECONDS_MAX).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is in the range, see above")]
    DateTime::from_timestamp(seconds as i64, 0)
}

/// Google's `iss` comes with its `https://` or without ("OpenID Connect", "An ID token's payload").
fn of_google(claims: Claims, expected: &Expected<'_>) -> Result<Identity, &'static str> {
    let name = expected.name.as_str().trim_end_matches('/');
    let is_issuer = claims.iss == name || name.strip_prefix("https://") == Some(&claims.iss);
    if !is_issuer {
        return Err("is another issuer's (iss)");
    }
    let subject = subject(claims.sub).ok_or("names no account (sub)")?;
    Ok(Identity { issuer: Issuer::Google, subject, name: shown(claims.email) })
}

/// Microsoft's `iss` names the user's own tenant, whatever tenant was asked ("ID token claims reference");
/// the tenant's id must be the one that was asked for, where that was an id.
fn of_microsoft(
    claims: Claims,
    asked: &Tenant,
    expected: &Expected<'_>,
) -> Result<Identity, &'static str> {
    let tenant = claims.tid.as_deref().filter(|tenant| Uuid::try_parse(tenant).is_ok());
    let tenant = tenant.ok_or("names no tenant (tid)")?;
    let name = expected.name.as_str().trim_end_matches('/');
    if claims.iss != format!("{name}/{tenant}/v2.0") {
        return Err("is another issuer's (iss)");
    }
    let tenant = Tenant::parse(tenant).map_err(|_| "names no tenant (tid)")?;
    if Uuid::try_parse(asked.as_str()).is_ok() && *asked != tenant {
        return Err("is of another tenant than was asked for (tid)");
    }
    let subject = subject(claims.oid).ok_or("names no user (oid)")?;
    let name = shown(claims.preferred_username).or_else(|| shown(claims.email));
    Ok(Identity { issuer: Issuer::Microsoft(tenant), subject, name })
}

fn subject(text: Option<String>) -> Option<String> {
    text.filter(|text| {
        (1..=SUBJECT_LEN_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
    })
}

fn shown(text: Option<String>) -> Option<String> {
    text.filter(|text| {
        (1..=NAME_LEN_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    })
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
