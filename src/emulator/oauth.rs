//! Authorisation servers: of Google `GET /o/oauth2/v2/auth` and `POST /token`, of Microsoft `authorize`,
//! `devicecode` and `token` under `/{tenant}/oauth2/v2.0/`. Both are strict: a form, one value a
//! parameter, a client that proves itself, and errors as each of them says them.
//!
//! Nobody clicks: who sits at the browser, and what they say, is told to the emulator
//! ([`Person`]); so is, if a test wants it shorter, what an application has been granted already.

mod form;

mod words;

mod switches;

mod clients;

mod scopes;

mod person;

mod authorize;

mod code;

mod id_token;

mod device;

mod assertion;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::assertion::ServiceAccount;
use self::clients::Clients;
use self::code::Code;
use self::device::Device;
use self::form::Form;
use self::words::Refused;
use super::faults::Refusal;
use super::life::Turn;
use super::reply::Reply;
use super::tokens::Tokens;

pub use self::person::{Consent, Person};
pub use self::switches::{OauthSwitches, Oddity, Rotation};

/// The path of Google's token endpoint.
pub(super) const GOOGLE_TOKEN: &str = "/token";

/// Whose token endpoint it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Google,
    Microsoft,
}

/// A request to an endpoint.
pub(super) struct Posted<'a> {
    /// As the path names it.
    tenant: Option<&'a str>,
    /// What stands before the path.
    origin: &'a str,
    headers: &'a HeaderMap,
    body: Option<&'a Bytes>,
}

impl<'a> Posted<'a> {
    pub(super) fn new(
        tenant: Option<&'a str>,
        origin: &'a str,
        headers: &'a HeaderMap,
        body: Option<&'a Bytes>,
    ) -> Self {
        Self { tenant, origin, headers, body }
    }
}

/// What a client was granted.
#[derive(Clone)]
struct Grant {
    account: String,
    client: String,
    scopes: Vec<String>,
    is_revoked: bool,
}

/// All that an authorisation server knows.
pub(super) struct Oauth {
    dialect: Dialect,
    pub(super) switches: OauthSwitches,
    pub(super) clients: Clients,
    tenants: BTreeSet<String>,
    /// Accounts of people.
    users: BTreeSet<String>,
    /// Immutable ids that were said by hand.
    subjects: BTreeMap<String, String>,
    /// Who sits at the browser.
    pub(super) person: Option<Person>,
    /// What was agreed to, by client and account.
    consents: BTreeMap<(String, String), BTreeSet<String>>,
    codes: BTreeMap<String, Code>,
    devices: BTreeMap<String, Device>,
    service_accounts: BTreeMap<String, ServiceAccount>,
    /// By refresh token.
    grants: BTreeMap<String, Grant>,
    issued: u64,
}

/// The scopes of what an account grants, unless it is said otherwise.
fn usual_scopes(dialect: Dialect) -> Vec<String> {
    scopes::split(match dialect {
        Dialect::Google => "https://www.googleapis.com/auth/calendar",
        Dialect::Microsoft => "Calendars.ReadWrite User.Read",
    })
}

/// An id that looks like Google's: 21 digits.
fn user_id(account: &str) -> String {
    let hash = Sha256::digest(account.as_bytes());
    let digits: String = hash.iter().take(20).map(|byte| char::from(b'0' + byte % 10)).collect();
    format!("1{digits}")
}

impl Oauth {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tenants = ["common", "organizations", "consumers"];
        Self {
            dialect,
            switches: OauthSwitches::of(dialect),
            clients: Clients::default(),
            tenants: tenants.map(ToOwned::to_owned).into(),
            users: BTreeSet::new(),
            subjects: BTreeMap::new(),
            person: None,
            consents: BTreeMap::new(),
            codes: BTreeMap::new(),
            devices: BTreeMap::new(),
            service_accounts: BTreeMap::new(),
            grants: BTreeMap::new(),
            issued: 0,
        }
    }

    /// Adds a tenant, beside those that stand for several.
    pub(super) fn add_tenant(&mut self, name: &str) {
        self.tenants.insert(name.to_owned());
    }

    /// Adds somebody's account.
    pub(super) fn add_user(&mut self, account: &str) {
        self.users.insert(account.to_owned());
    }

    /// Says an account's immutable id.
    pub(super) fn set_subject(&mut self, account: &str, subject: &str) {
        self.subjects.insert(account.to_owned(), subject.to_owned());
    }

    /// An account's immutable id: `sub` at Google, `oid` at Microsoft.
    pub(super) fn subject_of(&self, account: &str) -> String {
        self.subjects.get(account).cloned().unwrap_or_else(|| match self.dialect {
            Dialect::Google => user_id(account),
            Dialect::Microsoft => {
                Uuid::new_v5(&Uuid::NAMESPACE_OID, account.as_bytes()).to_string()
            }
        })
    }

    /// What Google says about an account (`OpenID` Connect Core §5.3.2).
    pub(super) fn user_info(&self, account: &str) -> Value {
        json!({ "sub": self.subject_of(account), "email": account, "email_verified": true })
    }

    /// An account has granted a client everything, renewed by this token.
    pub(super) fn grant(&mut self, refresh_token: &str, account: &str, client: &str) {
        let grant = Grant {
            account: account.to_owned(),
            client: client.to_owned(),
            scopes: usual_scopes(self.dialect),
            is_revoked: false,
        };
        self.grants.insert(refresh_token.to_owned(), grant);
    }

    /// `false`: it is unknown.
    pub(super) fn revoke(&mut self, refresh_token: &str) -> bool {
        self.grants.get_mut(refresh_token).map(|grant| grant.is_revoked = true).is_some()
    }

    /// What was agreed to is forgotten, too.
    pub(super) fn revoke_all_of(&mut self, account: &str) {
        for grant in self.grants.values_mut().filter(|grant| grant.account == account) {
            grant.is_revoked = true;
        }
        self.consents.retain(|(_, of), _| of != account);
    }

    /// Answers a request to the token endpoint; a new access token is good from then on.
    pub(super) fn answer(&mut self, posted: &Posted<'_>, tokens: &mut Tokens, turn: Turn) -> Reply {
        let form = Form::read(posted.headers, posted.body);
        let answered = form.and_then(|form| self.give(posted, &form, tokens, turn.now));
        match answered {
            Ok(granted) => words::success(granted),
            Err(refused) => words::refusal(self.dialect, &refused, turn),
        }
    }

    fn give(
        &mut self,
        posted: &Posted<'_>,
        form: &Form,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
        const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        self.check_tenant(posted.tenant)?;
        let kind = form.one("grant_type").ok_or(Refused::Missing { name: "grant_type" })?;
        match (kind, self.dialect) {
            // A service account proves itself by its key.
            (ASSERTION, Dialect::Google) => return self.assert(form, posted, tokens, now),
            ("refresh_token" | "authorization_code", _) | (DEVICE, Dialect::Microsoft) => {}
            (_, _) => return Err(Refused::GrantType),
        }
        let client = self.clients.prove(posted.headers, form)?;
        match kind {
            "refresh_token" => self.refresh(&client, form, tokens, now),
            "authorization_code" => self.redeem(&client, form, posted, tokens, now),
            _ => self.poll(&client, form, posted, tokens, now),
        }
    }

    fn check_tenant(&self, tenant: Option<&str>) -> Result<(), Refused> {
        match tenant.filter(|tenant| !self.tenants.contains(*tenant)) {
            Some(name) => Err(Refused::NoTenant { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn refresh(
        &mut self,
        client: &str,
        form: &Form,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
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
        let mut asked = asked.map_or_else(|| grant.scopes.clone(), scopes::split);
        let is_offline =
            form.one("scope").is_none() || asked.iter().any(|it| it == scopes::OFFLINE);
        asked.retain(|scope| scope != scopes::OFFLINE);
        let is_granted =
            |scope: &String| grant.scopes.iter().any(|it| scopes::is_same(self.dialect, it, scope));
        if !asked.iter().all(is_granted) {
            return Err(Refused::Scope);
        }
        let (access_token, refresh_token) = self.renew(&grant, used, is_offline);
        self.open(&access_token, &Grant { scopes: asked.clone(), ..grant }, tokens, now);
        Ok(self.granted(&asked, &access_token, refresh_token.as_deref()))
    }

    /// Names for a new access token and a new refresh token.
    fn names_of(&mut self, client: &str) -> (String, String) {
        self.issued += 1;
        let number = self.issued;
        match self.dialect {
            Dialect::Google => (
                format!("ya29.emulated-{client}-{number}"),
                format!("1//emulated-{client}-{number}"),
            ),
            Dialect::Microsoft => (
                format!("EwB.emulated-{client}-{number}"),
                format!("M.C.emulated-{client}-{number}"),
            ),
        }
    }

    /// A new access token, and what it is renewed by, if that is told.
    fn renew(&mut self, grant: &Grant, used: &str, is_offline: bool) -> (String, Option<String>) {
        let (access_token, refresh_token) = self.names_of(&grant.client);
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

    /// From now on an access token opens what its scopes say.
    fn open(&self, access_token: &str, grant: &Grant, tokens: &mut Tokens, now: DateTime<Utc>) {
        let access = scopes::access(self.dialect, &grant.scopes);
        tokens.set(access_token, &grant.account, access);
        tokens.expire_at(access_token, now + self.switches.access_lifetime);
    }

    fn granted(&self, scopes: &[String], access_token: &str, refresh_token: Option<&str>) -> Value {
        let mut granted = json!({ "access_token": access_token, "token_type": "Bearer" });
        if self.switches.tells_lifetime {
            granted["expires_in"] = json!(self.switches.access_lifetime.as_secs());
            if self.dialect == Dialect::Microsoft {
                granted["ext_expires_in"] = granted["expires_in"].clone();
            }
        }
        if self.switches.tells_scope {
            let is_whole =
                self.dialect == Dialect::Microsoft && self.switches.tells_whole_scope_names;
            let told = |scope: &String| {
                if is_whole { scopes::with_resource(scope) } else { scope.clone() }
            };
            granted["scope"] = json!(scopes.iter().map(told).collect::<Vec<_>>().join(" "));
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
