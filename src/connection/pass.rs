//! What is handed out while an account is being connected, and comes back: a link, a visit at the
//! provider's (OAuth's `state`), a choice of calendars.
//!
//! Passes are sealed ([`Sealer`]): nobody else can make, change or read one, any worker can take one
//! that another worker gave, and nothing is stored for those that never come back. Each is for one
//! purpose and a short time.

use std::time::Duration;

use booking::{CalendarKind, ConnectionId, ProviderId};
use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use super::kept::Tenant;
use super::seal::{SECRET_LEN_MAX, SealError, Sealer, Wiped};
use super::{Issuer, Kept};
use crate::clock::Dice;

/// The longest pass that is looked at, in bytes: a choice carries tokens, sealed twice.
pub const PASS_LEN_MAX: usize = 4 * SECRET_LEN_MAX;

/// Something that is handed out and comes back.
pub trait Pass: Serialize + DeserializeOwned {
    /// What it is for: it opens for nothing else.
    const PURPOSE: &'static str;
    /// How long it is good.
    const LIFETIME: Duration;
}

/// Why what came back is no pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// Not ours, for something else, or of a key that is no more.
    #[error("this is not what this service has given out")]
    Foreign,
    /// Too old.
    #[error("this has expired")]
    Expired,
}

/// A pass with its end, in seconds since the epoch.
#[derive(Serialize, Deserialize)]
struct Dated<P> {
    until: i64,
    pass: P,
}

/// Hands out a pass, and until when it is good.
pub fn issue<P: Pass>(
    pass: &P,
    sealer: &Sealer,
    now: DateTime<Utc>,
    dice: &dyn Dice,
) -> (String, DateTime<Utc>) {
    let lifetime = chrono::TimeDelta::from_std(P::LIFETIME).unwrap_or_default();
    let until = now.checked_add_signed(lifetime).unwrap_or(now);
    let mut plain = Zeroizing::new(Vec::with_capacity(PASS_LEN_MAX));
    serde_json::to_writer(&mut *plain, &Dated { until: until.timestamp(), pass })
        .expect("a pass has names for keys, and texts");
    (sealer.seal_pass(P::PURPOSE, &plain, dice), until)
}

/// Takes a pass back.
pub fn read<P: Pass>(text: &str, sealer: &Sealer, now: DateTime<Utc>) -> Result<P, PassError> {
    if text.len() > PASS_LEN_MAX {
        return Err(PassError::Foreign);
    }
    let plain = sealer.open_pass(P::PURPOSE, text).ok_or(PassError::Foreign)?;
    let Dated { until, pass } = serde_json::from_slice(&plain).map_err(|_| PassError::Foreign)?;
    if now.timestamp() < until { Ok(pass) } else { Err(PassError::Expired) }
}

/// What an authorise link is for: who gave it out has said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whose bookings are to go to the calendar.
    provider: Uuid,
    /// Microsoft's tenant; `None`: Google.
    tenant: Option<String>,
    /// The connection that is to be opened again; `None`: a new one.
    reconnect: Option<Uuid>,
    /// Whether it takes the bookings even if another calendar does so far.
    pub make_destination: bool,
    /// Where the browser is sent in the end.
    pub return_url: Option<Url>,
}

impl Link {
    /// For the bookings of `provider`, which a new connection takes, and one that is opened again does
    /// not take from another.
    pub fn new(issuer: &Issuer, provider: ProviderId, reconnect: Option<ConnectionId>) -> Self {
        let tenant = match issuer {
            Issuer::Google => None,
            Issuer::Microsoft(tenant) => Some(tenant.as_str().to_owned()),
        };
        let reconnect = reconnect.map(|id| id.0);
        let make_destination = reconnect.is_none();
        Self { provider: provider.0, tenant, reconnect, make_destination, return_url: None }
    }

    /// Whose bookings.
    pub fn provider(&self) -> ProviderId {
        ProviderId(self.provider)
    }

    /// The connection that is to be opened again.
    pub fn reconnect(&self) -> Option<ConnectionId> {
        self.reconnect.map(ConnectionId)
    }

    /// At whom the account is.
    pub fn issuer(&self) -> Issuer {
        match self.tenant.as_deref().map(Tenant::parse) {
            None => Issuer::Google,
            Some(tenant) => Issuer::Microsoft(tenant.unwrap_or_else(|_| Tenant::any())),
        }
    }

    /// What kind of calendar.
    pub fn kind(&self) -> CalendarKind {
        self.issuer().kind()
    }
}

impl Pass for Link {
    const PURPOSE: &'static str = "link";
    /// It is made for a page that somebody looks at.
    const LIFETIME: Duration = Duration::from_mins(15);
}

/// A browser that was sent to the provider: what it brings back as `state`.
#[derive(Serialize, Deserialize)]
pub struct Visit {
    /// What for.
    pub link: Link,
    /// Which browser: another one that brings the answer was not the one that was sent (RFC 9700
    /// §4.7: `state` is bound to the user agent).
    browser: String,
    /// PKCE's verifier (RFC 7636).
    verifier: Wiped,
    /// What the ID token repeats (OIDC Core §3.1.2.1).
    pub nonce: String,
}

impl Visit {
    /// The visit of a browser.
    pub fn new(link: Link, browser: &Browser, verifier: &SecretString, nonce: String) -> Self {
        let verifier = Wiped::new(verifier);
        Self { link, browser: browser.digest(), verifier, nonce }
    }

    /// PKCE's verifier.
    pub fn verifier(&self) -> SecretString {
        SecretString::from(self.verifier.as_str())
    }

    /// Whether it is this browser's.
    pub fn is_of(&self, browser: &Browser) -> bool {
        self.browser == browser.digest()
    }
}

impl Pass for Visit {
    const PURPOSE: &'static str = "visit";
    /// Signing in takes a while: a password, a second factor, consent.
    const LIFETIME: Duration = Duration::from_mins(10);
}

/// An account that has been opened, and whose calendar is to be chosen.
#[derive(Serialize, Deserialize)]
pub struct Choice {
    /// What for.
    pub link: Link,
    browser: String,
    /// The account's immutable subject.
    pub subject: String,
    /// What the grant is sealed for.
    id: Uuid,
    /// The grant, sealed as a connection's.
    sealed: String,
}

impl Choice {
    /// A choice that a browser has.
    pub fn new(
        visit: &Visit,
        subject: String,
        kept: &Kept,
        sealer: &Sealer,
        dice: &dyn Dice,
    ) -> Result<Self, SealError> {
        let id = dice.token();
        let sealed = BASE64URL_NOPAD.encode(&sealer.seal(ConnectionId(id), kept, dice)?);
        let (link, browser) = (visit.link.clone(), visit.browser.clone());
        Ok(Self { link, browser, subject, id, sealed })
    }

    /// What opens the account.
    pub fn kept(&self, sealer: &Sealer) -> Result<Kept, PassError> {
        let sealed =
            BASE64URL_NOPAD.decode(self.sealed.as_bytes()).map_err(|_| PassError::Foreign)?;
        sealer.open(ConnectionId(self.id), &sealed).map_err(|_| PassError::Foreign)
    }

    /// Whether it is this browser's.
    pub fn is_of(&self, browser: &Browser) -> bool {
        self.browser == browser.digest()
    }
}

impl Pass for Choice {
    const PURPOSE: &'static str = "choice";
    /// Somebody looks at a list.
    const LIFETIME: Duration = Duration::from_mins(10);
}

/// A browser, by a secret that it alone holds, in a cookie.
pub struct Browser(SecretString);

impl Browser {
    /// A browser that has not been here.
    pub fn fresh(dice: &dyn Dice) -> Self {
        let [one, other] = [dice.token(), dice.token()].map(Uuid::into_bytes);
        Self(BASE64URL_NOPAD.encode(&[one, other].concat()).into())
    }

    /// A browser that has. `None`: the cookie is none that we gave out.
    pub fn parse(cookie: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(cookie.as_bytes()).ok()?;
        (bytes.len() == 32).then(|| Self(cookie.into()))
    }

    /// What the cookie holds.
    pub fn cookie(&self) -> &str {
        self.0.expose_secret()
    }

    /// What a pass holds. Digests are compared, so that the time it takes tells nothing of the secret.
    fn digest(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(self.0.expose_secret()))
    }
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;
