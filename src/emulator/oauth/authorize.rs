//! The authorisation endpoint (RFC 6749 §4.1, `OpenID` Connect Core §3.1.2): a browser asks, whoever sits
//! there says yes or no, and the browser is sent back with a code.
//!
//! Stricter than the providers on one point: PKCE has to be used, and with S256 (RFC 7636 §4.4.1; both
//! providers recommend it).
//!
//! Sources: Google, "Using OAuth 2.0 for Web Server Applications", "OAuth 2.0 for Mobile & Desktop Apps"
//! and "`OpenID` Connect"; Microsoft, "Microsoft identity platform and OAuth 2.0 authorization code flow".

use axum::http::header::LOCATION;
use chrono::{DateTime, Utc};
use url::Url;

use super::clients::Client;
use super::code::{Code, Promise};
use super::form::Form;
use super::person::{Consent, Person};
use super::switches::Oddity;
use super::{Dialect, Oauth, scopes, words};
use crate::emulator::reply::{Content, Reply};

/// The tenant of all personal accounts ("Access token claims reference", `tid`).
pub(super) const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Why a browser is sent back without a code: an error and its description (RFC 6749 §4.1.2.1).
struct Denial(&'static str, String);

impl Denial {
    fn invalid(what: &str) -> Self {
        Self("invalid_request", what.to_owned())
    }
}

impl Oauth {
    /// Answers a browser. Who may be anybody, or would be sent to somewhere else, sees a page, and is
    /// sent nowhere.
    pub(in crate::emulator) fn authorize(
        &mut self,
        tenant: Option<&str>,
        query: &str,
        now: DateTime<Utc>,
    ) -> Reply {
        let Ok(asked) = Form::parse(query) else {
            return words::page(400, "invalid_request: a parameter comes twice");
        };
        let client = asked.one("client_id").unwrap_or_default();
        let Some(known) = self.clients.get(client) else {
            return words::page(400, words::unknown_client(self.dialect));
        };
        let back = asked.one("redirect_uri").unwrap_or_default();
        let url = Url::parse(back).ok().filter(|_| known.admits(self.dialect, back));
        let Some(mut url) = url else {
            return words::page(400, words::wrong_redirect(self.dialect));
        };
        if let Some(tenant) = tenant.filter(|tenant| !self.tenants.contains(*tenant)) {
            return words::page(400, &format!("AADSTS90002: Tenant '{tenant}' not found."));
        }
        let Some(person) = self.person.clone() else {
            return words::page(200, "Sign in");
        };
        if !tenant.is_none_or(|tenant| is_of(tenant, &person)) {
            return words::page(400, "AADSTS50020: User account does not exist in tenant.");
        }
        let answer = self.ask(tenant, client, back, &asked, &person, now);
        let state = match asked.one("state") {
            Some(_) if self.switches.is_odd(Oddity::WrongState) => Some("another state"),
            state => state,
        };
        {
            let mut pairs = url.query_pairs_mut();
            match answer {
                Ok(granted) => pairs.extend_pairs(granted),
                Err(Denial(error, description)) => {
                    pairs.append_pair("error", error).append_pair("error_description", &description)
                }
            };
            if let Some(state) = state {
                pairs.append_pair("state", state);
            }
        }
        let mut reply = Reply::new(302, Content::Nothing);
        reply.headers.push((LOCATION, url.into()));
        reply
    }

    /// What a browser is sent back with.
    fn ask(
        &mut self,
        tenant: Option<&str>,
        client: &str,
        redirect: &str,
        asked: &Form,
        person: &Person,
        now: DateTime<Utc>,
    ) -> Result<Vec<(&'static str, String)>, Denial> {
        match asked.one("response_type") {
            None => return Err(Denial::invalid("response_type is missing")),
            Some("code") => {}
            Some(_) => {
                let other = "only the authorization code is given here".to_owned();
                return Err(Denial("unsupported_response_type", other));
            }
        }
        if asked.one("response_mode").is_some_and(|mode| mode != "query") {
            return Err(Denial::invalid("response_mode is none that is known here"));
        }
        let challenge = challenge(asked)?;
        let (wanted, is_offline) = self.wanted(asked)?;
        let prompt = self.prompt(asked)?;
        let consent = (client.to_owned(), person.account.clone());
        let former = self.consents.get(&consent).cloned();
        if prompt.contains(&"none") {
            let has = |scope: &String| former.as_ref().is_some_and(|it| it.contains(scope));
            if !wanted.iter().all(has) {
                return Err(Denial("interaction_required", "consent is needed".to_owned()));
            }
        }
        let mut granted = match &person.consent {
            Consent::Refused => {
                return Err(Denial("access_denied", "The user has denied access.".to_owned()));
            }
            Consent::All => wanted,
            Consent::Without(unticked) => self.without(wanted, unticked),
        };
        // Whoever has consented before is not asked again, and no refresh token is given again, unless
        // consent is asked for anew (Google, `access_type` and `prompt`).
        let is_asked = former.is_none() || prompt.contains(&"consent");
        let is_desktop = self.clients.get(client).is_some_and(Client::is_desktop);
        let is_renewable = match self.dialect {
            Dialect::Google => is_desktop || (is_offline && is_asked),
            Dialect::Microsoft => is_offline,
        };
        if asked.one("include_granted_scopes") == Some("true") {
            granted.extend(former.iter().flatten().cloned());
            granted = scopes::split(&granted.join(" "));
        }
        self.consents.entry(consent).or_default().extend(granted.iter().cloned());
        let scope = granted.join(" ");
        let promise = Promise {
            person: person.clone(),
            scopes: granted,
            nonce: asked.one("nonce").map(ToOwned::to_owned),
            tenant: tenant.map(ToOwned::to_owned),
            is_renewable,
        };
        let code = Code::new(client, redirect, challenge, promise, now);
        let mut sent = vec![("code", self.keep_code(code))];
        match self.dialect {
            Dialect::Google => {
                let shown = if is_asked { "consent" } else { "none" };
                sent.extend([("scope", scope), ("authuser", "0".into()), ("prompt", shown.into())]);
            }
            Dialect::Microsoft => sent.push(("session_state", format!("session-{}", self.issued))),
        }
        Ok(sent)
    }

    /// The scopes that are asked for, and whether a refresh token is.
    pub(super) fn known_scopes(&self, text: Option<&str>) -> Result<(Vec<String>, bool), String> {
        let asked = scopes::split(text.unwrap_or_default());
        if asked.is_empty() {
            return Err("scope is missing".to_owned());
        }
        let mut known = Vec::new();
        for scope in &asked {
            let name = scopes::known(self.dialect, scope);
            known.push(name.ok_or_else(|| format!("the scope '{scope}' does not exist"))?);
        }
        let is_offline = known.iter().any(|scope| scope == scopes::OFFLINE);
        known.retain(|scope| scope != scopes::OFFLINE);
        Ok((scopes::split(&known.join(" ")), is_offline))
    }

    fn wanted(&self, asked: &Form) -> Result<(Vec<String>, bool), Denial> {
        let text = asked.one("scope");
        if text.is_none() {
            return Err(Denial::invalid("scope is missing"));
        }
        let (wanted, is_offline) =
            self.known_scopes(text).map_err(|problem| Denial("invalid_scope", problem))?;
        match (self.dialect, asked.one("access_type")) {
            (Dialect::Microsoft, _) => Ok((wanted, is_offline)),
            (Dialect::Google, None | Some("online")) => Ok((wanted, false)),
            (Dialect::Google, Some("offline")) => Ok((wanted, true)),
            (Dialect::Google, Some(_)) => Err(Denial::invalid("access_type is unknown")),
        }
    }

    fn prompt<'a>(&self, asked: &'a Form) -> Result<Vec<&'a str>, Denial> {
        let known: &[&str] = match self.dialect {
            Dialect::Google => &["none", "consent", "select_account"],
            Dialect::Microsoft => &["none", "consent", "select_account", "login"],
        };
        let prompt: Vec<&str> = asked
            .one("prompt")
            .unwrap_or_default()
            .split(' ')
            .filter(|it| !it.is_empty())
            .collect();
        let is_alone = !prompt.contains(&"none") || prompt.len() == 1;
        if is_alone && prompt.iter().all(|it| known.contains(it)) {
            Ok(prompt)
        } else {
            Err(Denial::invalid("prompt is unknown"))
        }
    }

    /// What signs in is not unticked: it is no box.
    pub(super) fn without(&self, wanted: Vec<String>, unticked: &[String]) -> Vec<String> {
        let is_unticked =
            |scope: &str| unticked.iter().any(|it| scopes::is_same(self.dialect, it, scope));
        let is_box = |scope: &str| scope != "openid" && !scope.contains("userinfo.");
        wanted.into_iter().filter(|scope| !is_box(scope) || !is_unticked(scope)).collect()
    }
}

/// Whether somebody can sign in at a tenant ("Microsoft identity platform and OAuth 2.0 authorization
/// code flow", `tenant`).
pub(super) fn is_of(tenant: &str, person: &Person) -> bool {
    match (tenant, &person.organisation) {
        ("common", _) | ("organizations", Some(_)) | ("consumers", None) => true,
        ("organizations", None) | ("consumers", Some(_)) => false,
        (tenant, organisation) => organisation.as_deref().unwrap_or(PERSONAL) == tenant,
    }
}

/// RFC 7636 §4.3.
fn challenge(asked: &Form) -> Result<String, Denial> {
    let challenge = asked.one("code_challenge");
    let challenge = challenge.ok_or_else(|| Denial::invalid("code challenge required"))?;
    if asked.one("code_challenge_method") != Some("S256") {
        return Err(Denial::invalid("transform algorithm not supported"));
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if challenge.len() == 43 && challenge.bytes().all(is_letter) {
        Ok(challenge.to_owned())
    } else {
        Err(Denial::invalid("code_challenge is no SHA-256 in base64url"))
    }
}
