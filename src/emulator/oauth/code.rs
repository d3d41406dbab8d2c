//! Codes that are turned into tokens (RFC 6749 §4.1.3), by whoever has the verifier (RFC 7636 §4.6).

use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::form::Form;
use super::person::Person;
use super::switches::Oddity;
use super::words::Refused;
use super::{Dialect, Grant, Oauth, Posted, id_token, scopes};
use crate::emulator::tokens::Tokens;

/// "A maximum authorization code lifetime of 10 minutes is RECOMMENDED" (RFC 6749 §4.1.2).
pub(super) const LIFETIME: Duration = Duration::from_mins(10);

/// What somebody has agreed to.
#[derive(Clone)]
pub(super) struct Promise {
    pub(super) person: Person,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    /// As the path named it.
    pub(super) tenant: Option<String>,
    /// Whether a refresh token is given.
    pub(super) is_renewable: bool,
}

/// A code, once.
pub(super) struct Code {
    client: String,
    redirect: String,
    challenge: String,
    promise: Promise,
    given_at: DateTime<Utc>,
    /// What was given for it.
    spent: Option<Given>,
}

/// Tokens that were given together.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

impl Code {
    pub(super) fn new(
        client: &str,
        redirect: &str,
        challenge: String,
        promise: Promise,
        given_at: DateTime<Utc>,
    ) -> Self {
        let (client, redirect) = (client.to_owned(), redirect.to_owned());
        Self { client, redirect, challenge, promise, given_at, spent: None }
    }
}

impl Oauth {
    /// A code's name.
    pub(super) fn keep_code(&mut self, code: Code) -> String {
        self.issued += 1;
        let name = match self.dialect {
            Dialect::Google => format!("4/0emulated-{}-{}", code.client, self.issued),
            Dialect::Microsoft => format!("M.C_emulated-{}-{}", code.client, self.issued),
        };
        self.codes.insert(name.clone(), code);
        name
    }

    /// Turns a code into tokens.
    pub(super) fn redeem(
        &mut self,
        client: &str,
        form: &Form,
        posted: &Posted<'_>,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        let name = form.one("code").ok_or(Refused::Missing { name: "code" })?;
        let redirect = form.one("redirect_uri").ok_or(Refused::Missing { name: "redirect_uri" })?;
        let code = self.codes.get(name).ok_or(Refused::UnknownCode)?;
        if code.client != client {
            return Err(Refused::AnothersCode);
        }
        if let Some(given) = code.spent.clone() {
            // "SHOULD revoke (when possible) all tokens previously issued based on that authorization
            // code" (RFC 6749 §4.1.2).
            tokens.revoke(&given.access_token);
            if let Some(token) = given.refresh_token {
                self.revoke(&token);
            }
            return Err(Refused::SpentCode);
        }
        let is_over = now - code.given_at >= lifetime();
        if is_over {
            return Err(Refused::OldCode);
        }
        if code.redirect != redirect {
            return Err(Refused::OtherRedirect);
        }
        let verifier = form.one("code_verifier").ok_or(Refused::NoVerifier)?;
        if !is_verifier(verifier) || challenge_of(verifier) != code.challenge {
            return Err(Refused::WrongVerifier);
        }
        let promise = code.promise.clone();
        if promise.tenant.as_deref() != posted.tenant {
            return Err(Refused::OtherTenant);
        }
        // Microsoft takes scopes here, some of those that were agreed to.
        if let Some(asked) = form.one("scope").filter(|_| self.dialect == Dialect::Microsoft) {
            let (asked, _) = self.known_scopes(Some(asked)).map_err(|_| Refused::Scope)?;
            let is_granted = |scope: &String| {
                promise.scopes.iter().any(|it| scopes::is_same(self.dialect, it, scope))
            };
            if !asked.iter().all(is_granted) {
                return Err(Refused::Scope);
            }
        }
        let (answer, given) = self.keep_promise(client, &promise, posted, tokens, now);
        if let Some(code) = self.codes.get_mut(name) {
            code.spent = Some(given);
        }
        Ok(answer)
    }

    /// Gives the tokens that were promised.
    pub(super) fn keep_promise(
        &mut self,
        client: &str,
        promise: &Promise,
        posted: &Posted<'_>,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> (Value, Given) {
        let grant = Grant {
            account: promise.person.account.clone(),
            client: client.to_owned(),
            scopes: promise.scopes.clone(),
            is_revoked: false,
        };
        let is_renewable = promise.is_renewable && !self.switches.is_odd(Oddity::NoRefreshToken);
        let (access_token, refresh_token) = self.names_of(client);
        let refresh_token = is_renewable.then_some(refresh_token);
        if let Some(token) = &refresh_token {
            self.grants.insert(token.clone(), grant.clone());
        }
        self.open(&access_token, &grant, tokens, now);
        let mut answer = self.granted(&grant.scopes, &access_token, refresh_token.as_deref());
        let is_signed_in = promise.scopes.iter().any(|scope| scope == "openid");
        if is_signed_in && !self.switches.is_odd(Oddity::NoIdToken) {
            let subject = self.subject_of(&promise.person.account);
            let about = id_token::About { dialect: self.dialect, client, subject: &subject, now };
            answer["id_token"] = id_token::made(&about, promise, posted.origin, &self.switches);
        }
        (answer, Given { access_token, refresh_token })
    }
}

fn lifetime() -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(LIFETIME).expect("it is some minutes")
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters.
fn is_verifier(text: &str) -> bool {
    let is_unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

/// RFC 7636 §4.2, S256.
fn challenge_of(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    #[test]
    fn a_challenge_follows_from_its_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(is_verifier(verifier));
        assert_eq!(challenge_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(!is_verifier(&verifier[1..]) && !is_verifier(&"a".repeat(129)));
        assert!(!is_verifier(&"+".repeat(43)));
    }
}
