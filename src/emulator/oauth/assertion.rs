//! Service accounts (RFC 7523; Google, "Using OAuth 2.0 for Server to Server Applications"): whoever has
//! an account's key signs for whom it acts, and an organisation has said for which scopes it may.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::form::Form;
use super::words::Refused;
use super::{GOOGLE_TOKEN, Grant, Oauth, Posted, scopes, user_id};
use crate::emulator::tokens::Tokens;

/// "This value has a maximum of 1 hour after the issued time."
const LIFETIME_MAX: TimeDelta = TimeDelta::hours(1);

/// So far a clock may be from ours.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// An account of a program.
#[derive(Default)]
pub(super) struct ServiceAccount {
    /// The public keys, by the ids of the private ones.
    keys: BTreeMap<String, Vec<u8>>,
    /// For which scopes it may act as anybody of the organisation.
    delegated: BTreeSet<String>,
}

/// Why an assertion gives no access: Google's descriptions ("JWT error codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproven {
    /// It is no JWT, or not of the kind that is wanted.
    Malformed,
    /// Nobody knows who signs.
    NoIssuer,
    /// The signature is another key's, or its key was deleted.
    Signature,
    /// It is for somebody else.
    Audience,
    /// It is too old, too new, or good for too long.
    Times,
    /// The scopes are none.
    Scopes,
    /// Whom it acts for is nobody.
    NoUser,
    /// It may not act for them, or not so far.
    NotDelegated,
}

impl Unproven {
    /// Status, error and description.
    pub(super) fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => (400, "invalid_request", "Bad Request"),
            Self::NoIssuer => (400, "invalid_grant", "Invalid grant: account not found"),
            Self::Signature => (400, "invalid_grant", "Invalid JWT Signature."),
            Self::Audience => (400, "invalid_grant", "Invalid JWT: Failed audience check."),
            Self::Times => (
                400,
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                 timeframe. Check your iat and exp values in the JWT claim.",
            ),
            Self::Scopes => {
                (400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
            }
            Self::NoUser => (400, "invalid_grant", "Invalid email or User ID"),
            Self::NotDelegated => (
                401,
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not \
                 authorized for any of the scopes requested.",
            ),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    scope: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// A key's file, as it is downloaded when the key is made.
fn file(address: &str, key_id: &str, pem: &str, token_url: &str) -> String {
    let file = json!({
        "type": "service_account",
        "project_id": "emulated",
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": address,
        "client_id": user_id(address),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_url,
        "universe_domain": "googleapis.com",
    });
    file.to_string()
}

impl Oauth {
    /// A new key of a service account, which is made if it is not there: the file that holds it.
    pub(in crate::emulator) fn make_key(&mut self, address: &str, token_url: &str) -> String {
        self.issued += 1;
        let key_id = format!("{:040x}", self.issued);
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
        let private: Pkcs8V1Der<'static> = key.as_der().expect("a key has a form");
        let lines = BASE64.encode(private.as_ref());
        let lines: Vec<_> = lines.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        );
        let account = self.service_accounts.entry(address.to_owned()).or_default();
        account.keys.insert(key_id.clone(), key.public_key().as_ref().to_vec());
        file(address, &key_id, &pem, token_url)
    }

    /// Deletes all keys of a service account. `false`: it is unknown.
    pub(in crate::emulator) fn delete_keys(&mut self, address: &str) -> bool {
        let account = self.service_accounts.get_mut(address);
        account.map(|account| account.keys.clear()).is_some()
    }

    /// The organisation lets a service account act as anybody, for these scopes and no others.
    /// `false`: it is unknown.
    pub(in crate::emulator) fn delegate(&mut self, address: &str, scopes: &[&str]) -> bool {
        let account = self.service_accounts.get_mut(address);
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        account.map(|account| account.delegated = scopes).is_some()
    }

    /// Access for whom an assertion is about.
    pub(super) fn assert(
        &mut self,
        form: &Form,
        posted: &Posted<'_>,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        let assertion = form.one("assertion").ok_or(Refused::Missing { name: "assertion" })?;
        let audience = format!("{}{GOOGLE_TOKEN}", posted.origin);
        let (account, scopes) =
            self.judge(assertion, &audience, now).map_err(Refused::Assertion)?;
        let (access_token, _) = self.names_of("service");
        let client = "service".to_owned();
        let grant = Grant { account, client, scopes, is_revoked: false };
        self.open(&access_token, &grant, tokens, now);
        Ok(self.granted(&grant.scopes, &access_token, None))
    }

    /// For whom, and for what.
    fn judge(
        &self,
        assertion: &str,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<(String, Vec<String>), Unproven> {
        let (signed, signature) = assertion.rsplit_once('.').ok_or(Unproven::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Unproven::Malformed)?;
        let bytes = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        let signature = bytes(signature).ok_or(Unproven::Malformed)?;
        let header: Header = parsed(bytes(header))?;
        let claims: Claims = parsed(bytes(claims))?;
        if header.alg != "RS256" || header.typ != "JWT" {
            return Err(Unproven::Malformed);
        }
        let account = self.service_accounts.get(&claims.iss).ok_or(Unproven::NoIssuer)?;
        let is_meant = |id: &String| header.kid.as_ref().is_none_or(|kid| kid == id);
        let is_signed = account.keys.iter().filter(|(id, _)| is_meant(id)).any(|(_, key)| {
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
            key.verify(signed.as_bytes(), &signature).is_ok()
        });
        if !is_signed {
            return Err(Unproven::Signature);
        }
        if claims.aud != audience {
            return Err(Unproven::Audience);
        }
        let moment = |seconds| DateTime::<Utc>::from_timestamp_secs(seconds).ok_or(Unproven::Times);
        let (issued_at, expires_at) = (moment(claims.iat)?, moment(claims.exp)?);
        let is_short = expires_at > issued_at && expires_at - issued_at <= LIFETIME_MAX;
        if !is_short || issued_at > now + SKEW_MAX || expires_at <= now {
            return Err(Unproven::Times);
        }
        let asked = scopes::split(&claims.scope);
        let is_known = |scope: &String| scopes::known(self.dialect, scope).is_some();
        if asked.is_empty() || !asked.iter().all(is_known) {
            return Err(Unproven::Scopes);
        }
        let Some(user) = claims.sub else {
            // For itself: it needs nobody's leave, and has no calendar.
            return Ok((claims.iss, asked));
        };
        if !self.users.contains(&user) {
            return Err(Unproven::NoUser);
        }
        if !asked.iter().all(|scope| account.delegated.contains(scope)) {
            return Err(Unproven::NotDelegated);
        }
        Ok((user, asked))
    }
}

fn parsed<T: serde::de::DeserializeOwned>(part: Option<Vec<u8>>) -> Result<T, Unproven> {
    part.and_then(|part| serde_json::from_slice(&part).ok()).ok_or(Unproven::Malformed)
}
