//! Token endpoints, as far as a grant is renewed by them (RFC 6749 §6): `POST /token` of Google, and
//! `POST /{tenant}/oauth2/v2.0/token` of Microsoft. Both are strict: a form, one value a parameter, a
//! client that proves itself, and errors as each of them says them.
//!
//! Nothing else is granted here: what an application has been granted is told to the emulator.

mod form;

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use self::form::Form;
use self::words::Refused;
use super::faults::Refusal;
use super::life::Turn;
use super::reply::Reply;
use super::tokens::{Access, Tokens};

/// Whose token endpoint it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Google,
    Microsoft,
}

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It stays, and no other one is given: Google ("Using OAuth 2.0 for Web Server Applications").
    Stays,
    /// Another one is given, and it is good still: Microsoft "doesn't revoke old refresh tokens when
    /// used to fetch new access tokens" ("Refresh tokens in the Microsoft identity platform").
    FormerStays,
    /// Another one is given, and it is good no more: what RFC 6749 §10.4 recommends. Neither provider
    /// says that it does so.
    FormerEnds,
}

/// Where the documents differ, or leave it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthSwitches {
    /// Of refresh tokens.
    pub rotation: Rotation,
    /// How long access tokens are good: an hour; Microsoft's are good for 60 to 90 minutes.
    pub access_lifetime: Duration,
    /// Whether that is told: RFC 6749 §5.1 recommends it.
    pub tells_lifetime: bool,
    /// Whether the granted scopes are told: needed only if they differ from what was asked for
    /// (RFC 6749 §5.1).
    pub tells_scope: bool,
}

impl OauthSwitches {
    fn of(dialect: Dialect) -> Self {
        let rotation = match dialect {
            Dialect::Google => Rotation::Stays,
            Dialect::Microsoft => Rotation::FormerStays,
        };
        Self {
            rotation,
            access_lifetime: Duration::from_hours(1),
            tells_lifetime: true,
            tells_scope: true,
        }
    }
}

/// What a client was granted.
#[derive(Clone)]
struct Grant {
    account: String,
    client: String,
    scopes: String,
    access: Access,
    is_revoked: bool,
}

/// All that a token endpoint knows.
pub(super) struct Oauth {
    dialect: Dialect,
    pub(super) switches: OauthSwitches,
    /// Clients and their secrets.
    clients: BTreeMap<String, Option<String>>,
    tenants: BTreeSet<String>,
    /// By refresh token.
    grants: BTreeMap<String, Grant>,
    issued: u64,
}

/// The scopes of what an account grants, unless it is said otherwise.
fn scopes(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Google => "https://www.googleapis.com/auth/calendar",
        Dialect::Microsoft => "Calendars.ReadWrite User.Read",
    }
}

impl Oauth {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tenants = ["common", "organizations", "consumers"];
        Self {
            dialect,
            switches: OauthSwitches::of(dialect),
            clients: BTreeMap::new(),
            tenants: tenants.map(ToOwned::to_owned).into(),
            grants: BTreeMap::new(),
            issued: 0,
        }
    }

    /// Adds a client, or says its secret anew.
    pub(super) fn set_client(&mut self, id: &str, secret: Option<&str>) {
        self.clients.insert(id.to_owned(), secret.map(ToOwned::to_owned));
    }

    /// Adds a tenant, beside those that stand for several.
    pub(super) fn add_tenant(&mut self, name: &str) {
        self.tenants.insert(name.to_owned());
    }

    /// An account has granted a client everything, renewed by this token.
    pub(super) fn grant(&mut self, refresh_token: &str, account: &str, client: &str) {
        let grant = Grant {
            account: account.to_owned(),
            client: client.to_owned(),
            scopes: scopes(self.dialect).to_owned(),
            access: Access::Full,
            is_revoked: false,
        };
        self.grants.insert(refresh_token.to_owned(), grant);
    }

    /// `false`: it is unknown.
    pub(super) fn revoke(&mut self, refresh_token: &str) -> bool {
        self.grants.get_mut(refresh_token).map(|grant| grant.is_revoked = true).is_some()
    }

    pub(super) fn revoke_all_of(&mut self, account: &str) {
        for grant in self.grants.values_mut().filter(|grant| grant.account == account) {
            grant.is_revoked = true;
        }
    }

    /// Answers a request to the endpoint; a new access token is good from then on.
    pub(super) fn answer(
        &mut self,
        tenant: Option<&str>,
        (headers, body): (&HeaderMap, Option<&Bytes>),
        tokens: &mut Tokens,
        turn: Turn,
    ) -> Reply {
        let form = Form::read(headers, body);
        let answered = form.and_then(|form| self.refresh(tenant, headers, &form, tokens, turn.now));
        match answered {
            Ok(granted) => words::success(granted),
            Err(refused) => words::refusal(self.dialect, &refused, turn),
        }
    }

    fn refresh(
        &mut self,
        tenant: Option<&str>,
        headers: &HeaderMap,
        form: &Form,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        if let Some(tenant) = tenant.filter(|tenant| !self.tenants.contains(*tenant)) {
            return Err(Refused::NoTenant { name: tenant.to_owned() });
        }
        match form.one("grant_type") {
            None => return Err(Refused::Missing { name: "grant_type" }),
            Some("refresh_token") => {}
            Some(_) => return Err(Refused::GrantType),
        }
        let client = self.client(headers, form)?;
        let used = form.one("refresh_token").ok_or(Refused::Missing { name: "refresh_token" })?;
        let grant = self.grants.get(used).cloned().ok_or(Refused::UnknownGrant)?;
        if grant.client != client {
            return Err(Refused::AnothersGrant);
        }
        if grant.is_revoked {
            return Err(Refused::Revoked);
        }
        // Google takes no scope here; Microsoft takes some of what was granted.
        let asked = form.one("scope").filter(|_| self.dialect == Dialect::Microsoft);
        let is_granted = |scope: &str| {
            scope == "offline_access" || grant.scopes.split(' ').any(|granted| granted == scope)
        };
        if asked.is_some_and(|asked| !asked.split(' ').all(is_granted)) {
            return Err(Refused::Scope);
        }
        let is_offline =
            asked.is_none_or(|asked| asked.split(' ').any(|scope| scope == "offline_access"));
        let new = self.issue(&grant, used, is_offline);
        let (access_token, refresh_token) = new;
        tokens.set(&access_token, &grant.account, grant.access);
        let lifetime = self.switches.access_lifetime;
        tokens.expire_at(&access_token, now + lifetime);
        Ok(self.granted(&grant, &access_token, refresh_token.as_deref()))
    }

    /// Who asks, proven (RFC 6749 §2.3.1): in the form, or by Basic authentication.
    fn client(&self, headers: &HeaderMap, form: &Form) -> Result<String, Refused> {
        let basic = headers.get(AUTHORIZATION).map(form::basic).transpose()?;
        let (id, secret) = match basic {
            Some(_) if form.one("client_secret").is_some() => return Err(Refused::TwoProofs),
            Some((id, secret)) => (id, Some(secret)),
            None => {
                let id = form.one("client_id").ok_or(Refused::Missing { name: "client_id" })?;
                (id.to_owned(), form.one("client_secret").map(ToOwned::to_owned))
            }
        };
        let known = self.clients.get(&id).ok_or_else(|| Refused::NoClient { id: id.clone() })?;
        match (known, secret) {
            (Some(_), None) => Err(Refused::NoSecret),
            (Some(known), Some(given)) if *known != given => Err(Refused::WrongSecret),
            (None, Some(_)) => Err(Refused::PublicClient),
            (Some(_), Some(_)) | (None, None) => Ok(id),
        }
    }

    /// A new access token, and what it is renewed by, if that is told.
    fn issue(&mut self, grant: &Grant, used: &str, is_offline: bool) -> (String, Option<String>) {
        self.issued += 1;
        let (number, client) = (self.issued, &grant.client);
        let access_token = match self.dialect {
            Dialect::Google => format!("ya29.emulated-{client}-{number}"),
            Dialect::Microsoft => format!("EwB.emulated-{client}-{number}"),
        };
        let refresh_token = match self.dialect {
            Dialect::Google => format!("1//emulated-{client}-{number}"),
            Dialect::Microsoft => format!("M.C.emulated-{client}-{number}"),
        };
        match self.switches.rotation {
            Rotation::Stays => return (access_token, None),
            Rotation::FormerStays | Rotation::FormerEnds if !is_offline => {
                return (access_token, None);
            }
            Rotation::FormerStays => {}
            Rotation::FormerEnds => {
                self.revoke(used);
            }
        }
        self.grants.insert(refresh_token.clone(), grant.clone());
        (access_token, Some(refresh_token))
    }

    fn granted(&self, grant: &Grant, access_token: &str, refresh_token: Option<&str>) -> Value {
        let mut granted = json!({ "access_token": access_token, "token_type": "Bearer" });
        if self.switches.tells_lifetime {
            granted["expires_in"] = json!(self.switches.access_lifetime.as_secs());
            if self.dialect == Dialect::Microsoft {
                granted["ext_expires_in"] = granted["expires_in"].clone();
            }
        }
        if self.switches.tells_scope {
            granted["scope"] = json!(grant.scopes);
        }
        if let Some(refresh_token) = refresh_token {
            granted["refresh_token"] = json!(refresh_token);
        }
        granted
    }

    /// A refusal that was ordered, in the endpoint's shape.
    pub(super) fn refuse(dialect: Dialect, refusal: &Refusal, turn: Turn) -> Reply {
        words::ordered(dialect, refusal, turn)
    }
}
