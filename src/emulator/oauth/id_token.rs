//! ID tokens (`OpenID` Connect Core §2): who has signed in. Their signature is a text in its place, and
//! proves nothing: a client that gets them from the token endpoint itself may go without (§3.1.3.7,
//! point 6).

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Dialect;
use super::authorize::PERSONAL;
use super::code::Promise;
use super::switches::{OauthSwitches, Oddity};

/// Of whom, for whom and when.
pub(super) struct About<'a> {
    pub(super) dialect: Dialect,
    pub(super) client: &'a str,
    /// The account's immutable id.
    pub(super) subject: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// A token.
pub(super) fn made(
    about: &About<'_>,
    promise: &Promise,
    origin: &str,
    switches: &OauthSwitches,
) -> Value {
    let is_odd = |oddity| switches.is_odd(oddity);
    if is_odd(Oddity::BrokenIdToken) {
        return json!("no.token");
    }
    let About { dialect, client, subject, now } = *about;
    let issuer = match dialect {
        Dialect::Google => "https://accounts.google.com".to_owned(),
        // As its discovery document says: the authority, and the tenant of whoever signs in.
        Dialect::Microsoft => format!("{origin}/{}/v2.0", tenant(promise)),
    };
    let issued_at = if is_odd(Oddity::ExpiredIdToken) { now - TimeDelta::hours(3) } else { now };
    let mut claims = json!({
        "iss": if is_odd(Oddity::WrongIssuer) { "https://issuer.example" } else { issuer.as_str() },
        "aud": if is_odd(Oddity::WrongAudience) { "another-client" } else { client },
        "iat": issued_at.timestamp(),
        "exp": (issued_at + TimeDelta::hours(1)).timestamp(),
    });
    match dialect {
        Dialect::Google => google(&mut claims, about, promise),
        Dialect::Microsoft => {
            // "The subject is a pairwise identifier and is unique to an application ID".
            let pair = Sha256::digest(format!("{client} {subject}").as_bytes());
            claims["sub"] = json!(BASE64URL_NOPAD.encode(&pair));
            claims["ver"] = json!("2.0");
            claims["nbf"] = claims["iat"].clone();
            microsoft(&mut claims, subject, promise);
        }
    }
    if let Some(nonce) = promise.nonce.as_deref().filter(|_| !is_odd(Oddity::NoNonce)) {
        claims["nonce"] = json!(if is_odd(Oddity::WrongNonce) { "another nonce" } else { nonce });
    }
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = json!({ "alg": "RS256", "kid": "emulated", "typ": "JWT" });
    let signature = BASE64URL_NOPAD.encode(b"a signature that nobody looks at");
    json!(format!("{}.{}.{signature}", part(&header), part(&claims)))
}

/// "`OpenID` Connect", "An ID token's payload".
fn google(claims: &mut Value, about: &About<'_>, promise: &Promise) {
    claims["azp"] = json!(about.client);
    claims["sub"] = json!(about.subject);
    let has = |name: &str| promise.scopes.iter().any(|scope| scope.ends_with(name));
    if has("userinfo.email") {
        claims["email"] = json!(promise.person.email);
        claims["email_verified"] = json!(true);
    }
    if has("userinfo.profile") {
        claims["name"] = json!(promise.person.account);
    }
    if let Some(domain) = &promise.person.organisation {
        claims["hd"] = json!(domain);
    }
}

/// "ID token claims reference": which scope each claim needs.
fn microsoft(claims: &mut Value, subject: &str, promise: &Promise) {
    let has = |name: &str| promise.scopes.iter().any(|scope| scope == name);
    if has("profile") {
        claims["oid"] = json!(subject);
        claims["tid"] = json!(tenant(promise));
        claims["name"] = json!(promise.person.account);
        claims["preferred_username"] = json!(promise.person.email);
    }
    if has("email") {
        claims["email"] = json!(promise.person.email);
    }
}

fn tenant(promise: &Promise) -> &str {
    promise.person.organisation.as_deref().unwrap_or(PERSONAL)
}
