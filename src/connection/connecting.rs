//! Asking an account's owner for a grant: by her browser (authorisation code with PKCE, RFC 6749 §4.1 and
//! RFC 7636), or by a code that she types elsewhere (RFC 8628, at Microsoft; Google lets no calendar be
//! opened that way).
//!
//! Who shows her the address, and who hears her come back, is no matter here: a command listens on this
//! machine, the service on its port. Nothing is stored here.

use std::sync::Arc;
use std::time::Duration;

use booking::CalendarKind;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    DeviceAuthorizationUrl, EmptyExtraDeviceAuthorizationFields, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenUrl,
};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::connect_error::ConnectError;
use super::courier::Courier;
use super::first_answer::{self, Codes, Polled};
use super::id_token::{self, Expected, Identity};
use super::kept::{Access, Grant, Issuer, Lifetime};
use super::refresh::{Granted, Told};
use super::scopes;
use super::token_endpoint::{ANSWER_LEN_MAX, TokenEndpoints, proof};
use crate::calendar::discovery::{ListError, ListedCalendar};
use crate::calendar::http::{Exchanged, Http};
use crate::calendar::{Credentials, google, microsoft};
use crate::clock::Surroundings;
use crate::config::{OauthClient, OauthSettings};

/// So long somebody may take to type a device code, whatever the code's own life is.
pub const DEVICE_WAIT_MAX: Duration = Duration::from_mins(15);

/// So much slower a poller becomes when it is told to (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Asks for grants, as the clients of the settings.
pub struct Connecting {
    http: Http,
    settings: OauthSettings,
    endpoints: TokenEndpoints,
    surroundings: Surroundings,
}

/// What has been begun. The verifier and the nonce are needed to finish it, and belong to nobody else.
#[derive(Debug)]
pub struct Begun {
    /// Where the owner's browser has to go.
    pub url: Url,
    /// What proves at the end that it was us who began (RFC 7636).
    pub verifier: SecretString,
    /// What ties the ID token to this (OpenID Connect Core §3.1.2.1).
    pub nonce: String,
}

/// An account whose owner has agreed.
#[derive(Debug)]
pub struct Connected {
    /// Who renews its access.
    pub issuer: Issuer,
    /// The account's immutable subject (rule R17).
    pub subject: String,
    /// An address, to show to people; never an identity.
    pub name: Option<String>,
    /// What was granted.
    pub grant: Grant,
}

/// A device code that somebody has to type in.
#[derive(Debug)]
pub struct Device {
    /// What to type.
    pub user_code: String,
    /// Where.
    pub address: String,
    code: SecretString,
    interval: Duration,
    /// By the clock's stopwatch.
    ends_at: Duration,
}

impl Connecting {
    /// With the client that asks, as whom and where.
    pub fn new(http: Http, settings: OauthSettings, surroundings: Surroundings) -> Self {
        let clock = Arc::clone(&surroundings.clock);
        let endpoints = TokenEndpoints::new(http.clone(), settings.clone(), clock);
        Self { http, settings, endpoints, surroundings }
    }

    /// Begins: answers where the owner's browser has to go. `state` comes back with it, and only whoever
    /// began may know it.
    ///
    /// Google gives something to renew access by only if `access_type=offline` is asked for, and a second
    /// time only with `prompt=consent` ("Using OAuth 2.0 for Web Server Applications"). At Microsoft
    /// `prompt=select_account` lets whoever is signed in choose another account.
    pub fn begin(
        &self,
        issuer: &Issuer,
        redirect: &Url,
        state: &str,
    ) -> Result<Begun, ConnectError> {
        self.begin_with(issuer, redirect, |_, _| state.to_owned())
    }

    /// The same, where the state carries the verifier and the nonce along, so that only who can read it
    /// can finish.
    pub fn begin_with(
        &self,
        issuer: &Issuer,
        redirect: &Url,
        state: impl FnOnce(&SecretString, &str) -> String,
    ) -> Result<Begun, ConnectError> {
        let client = basic_client(self.client(issuer)?)
            .set_auth_uri(AuthUrl::from_url(self.authorize_url(issuer)))
            .set_redirect_uri(redirect_url(redirect)?);
        let verifier = PkceCodeVerifier::new(self.random());
        let nonce = self.random();
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let verifier = SecretString::from(verifier.into_secret());
        let state = state(&verifier, &nonce);
        let asked = scopes::asked(issuer).split(' ').map(|scope| Scope::new(scope.to_owned()));
        let mut request = client
            .authorize_url(|| CsrfToken::new(state))
            .add_scopes(asked)
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", nonce.clone());
        for (name, value) in extra(issuer) {
            request = request.add_extra_param(*name, *value);
        }
        let (url, _) = request.url();
        Ok(Begun { url, verifier, nonce })
    }

    /// Ends it: the code that the browser brought becomes a grant. `redirect`, `verifier` and `nonce` are
    /// those of the beginning.
    pub async fn finish(
        &self,
        issuer: &Issuer,
        redirect: &Url,
        code: &SecretString,
        verifier: &SecretString,
        nonce: &str,
    ) -> Result<Connected, ConnectError> {
        let client = basic_client(self.client(issuer)?)
            .set_token_uri(TokenUrl::from_url(self.endpoints.url(issuer)))
            .set_redirect_uri(redirect_url(redirect)?);
        let courier = Courier::new(&self.http);
        let asked_at = self.surroundings.clock.now();
        let code = AuthorizationCode::new(code.expose_secret().to_owned());
        let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
        let request = client.exchange_code(code).set_pkce_verifier(verifier);
        // It was given an empty answer, and has nothing to say of it.
        drop(request.request_async(&courier).await);
        let granted = understood(issuer, courier.answer(), first_answer::exchanged)?;
        let lifetime = granted.good_for.map(|good_for| Lifetime::of(asked_at, good_for));
        self.connected(issuer, granted, lifetime, Some(nonce))
    }

    /// Asks for a device code, for the users of a tenant of Microsoft's.
    pub async fn begin_device(&self, issuer: &Issuer) -> Result<Device, ConnectError> {
        let client = basic_client(self.client(issuer)?).set_device_authorization_url(
            DeviceAuthorizationUrl::from_url(self.device_url(issuer)?),
        );
        let asked = scopes::asked(issuer).split(' ').map(|scope| Scope::new(scope.to_owned()));
        let courier = Courier::new(&self.http);
        let began = self.surroundings.clock.elapsed();
        let request = client.exchange_device_code().add_scopes(asked);
        drop(request.request_async::<_, EmptyExtraDeviceAuthorizationFields>(&courier).await);
        let codes = understood(issuer, courier.answer(), first_answer::begun)?;
        let Codes { device_code, user_code, address, good_for, interval } = codes;
        let ends_at = began.saturating_add(good_for.min(DEVICE_WAIT_MAX));
        Ok(Device { user_code, address, code: device_code, interval, ends_at })
    }

    /// Waits until somebody has typed the code and agreed, or has not, or until stopped.
    ///
    /// A question that gets no answer, or a 5xx, is asked again after twice the time (RFC 8628 §3.5).
    pub async fn poll_device(
        &self,
        issuer: &Issuer,
        device: &Device,
        stop: &CancellationToken,
    ) -> Result<Connected, ConnectError> {
        let form = device_form(self.client(issuer)?, device);
        let mut interval = device.interval;
        loop {
            let left = device.ends_at.saturating_sub(self.surroundings.clock.elapsed());
            let pause = tokio::time::sleep(interval.min(left));
            if stop.run_until_cancelled(pause).await.is_none() {
                return Err(ConnectError::Stopped);
            }
            if self.surroundings.clock.elapsed() >= device.ends_at {
                return Err(ConnectError::Expired);
            }
            let asked_at = self.surroundings.clock.now();
            let url = self.endpoints.url(issuer);
            let asking = self.http.post_form(url, &form, ANSWER_LEN_MAX);
            let Some(answer) = stop.run_until_cancelled(asking).await else {
                return Err(ConnectError::Stopped);
            };
            match understood(issuer, answer, first_answer::polled) {
                Ok(Polled::Granted(granted)) => {
                    let lifetime =
                        granted.good_for.map(|good_for| Lifetime::of(asked_at, good_for));
                    return self.connected(issuer, granted, lifetime, None);
                }
                Ok(Polled::Pending) => {}
                Ok(Polled::SlowDown) => interval = interval.saturating_add(SLOWER),
                Err(ConnectError::Later { after, reason }) => {
                    tracing::warn!("{reason}: asked again");
                    let longest = first_answer::INTERVALS[1];
                    interval = after.unwrap_or_default().max(interval.min(longest) * 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The calendars of an account that was connected, at an API's address.
    pub async fn calendars(
        &self,
        connected: &Connected,
        base_url: &str,
    ) -> Result<Vec<ListedCalendar>, ConnectError> {
        self.calendars_of(&connected.grant, base_url).await
    }

    /// The calendars that a grant opens whose access is new.
    pub async fn calendars_of(
        &self,
        grant: &Grant,
        base_url: &str,
    ) -> Result<Vec<ListedCalendar>, ConnectError> {
        let Some(Access { token, .. }) = &grant.access else {
            return Err(ConnectError::List(ListError::Unauthorised));
        };
        let credentials = Credentials::Bearer { token: token.clone() };
        let listed = match grant.issuer {
            Issuer::Google => google::discovery::discover(&self.http, base_url, &credentials).await,
            Issuer::Microsoft(_) => {
                microsoft::discovery::discover(&self.http, base_url, &credentials).await
            }
        };
        Ok(listed?)
    }

    /// What was granted, judged: its scopes (L28), whether it lasts, whose account it is.
    fn connected(
        &self,
        issuer: &Issuer,
        granted: Granted,
        lifetime: Option<Lifetime>,
        nonce: Option<&str>,
    ) -> Result<Connected, ConnectError> {
        let name = issuer.name();
        let Granted { access_token, good_for: _, refresh_token, scopes, id_token } = granted;
        // RFC 6749 §5.1: what is not told is as it was asked for.
        let scopes = scopes.unwrap_or_else(|| scopes::asked(issuer).to_owned());
        scopes::judge(issuer, &scopes)
            .map_err(|source| ConnectError::Scopes { issuer: name, source })?;
        let lasting = refresh_token.ok_or_else(|| no_refresh_token(issuer))?;
        let id_token = id_token.unwrap_or_default();
        let expected = Expected {
            issuer,
            name: match issuer {
                Issuer::Google => &self.settings.google_issuer,
                Issuer::Microsoft(_) => &self.settings.microsoft_authority,
            },
            client: &self.client(issuer)?.id,
            nonce,
            now: self.surroundings.clock.now(),
        };
        let identity = id_token::identity(id_token.expose_secret(), &expected);
        let Identity { issuer, subject, name } =
            identity.map_err(|problem| ConnectError::Identity { issuer: name, problem })?;
        let grant = Grant {
            issuer: issuer.clone(),
            client: Some(expected.client.to_owned()),
            refresh_token: lasting,
            access: Some(Access { token: access_token, lifetime }),
            scopes: Some(scopes),
        };
        Ok(Connected { issuer, subject, name, grant })
    }

    /// Whether there is a client to connect as.
    pub fn check(&self, issuer: &Issuer) -> Result<(), ConnectError> {
        self.client(issuer).map(drop)
    }

    /// The address of the API that a connection asks.
    pub fn api_url(&self, kind: CalendarKind) -> String {
        self.settings.api_url(kind).as_str().trim_end_matches('/').to_owned()
    }

    fn client(&self, issuer: &Issuer) -> Result<&OauthClient, ConnectError> {
        let (client, key) = match issuer {
            Issuer::Google => (&self.settings.google, "oauth.google.client_id"),
            Issuer::Microsoft(_) => (&self.settings.microsoft, "oauth.microsoft.client_id"),
        };
        client.as_ref().ok_or_else(|| {
            let reason = format!("{key} is not set, and accounts are connected as that client");
            ConnectError::Misconfigured { reason }
        })
    }

    fn authorize_url(&self, issuer: &Issuer) -> Url {
        match issuer {
            Issuer::Google => self.settings.google_authorize_url.clone(),
            Issuer::Microsoft(tenant) => self.endpoints.of_tenant(tenant, "authorize"),
        }
    }

    /// "OAuth 2.0 for TV and Limited-Input Device Applications" lists the scopes that Google allows, and
    /// no calendar's is among them.
    fn device_url(&self, issuer: &Issuer) -> Result<Url, ConnectError> {
        match issuer {
            Issuer::Google => Err(ConnectError::Misconfigured {
                reason: "Google lets no calendar be opened by a device code".to_owned(),
            }),
            Issuer::Microsoft(tenant) => Ok(self.endpoints.of_tenant(tenant, "devicecode")),
        }
    }

    /// 64 letters and digits with 244 random bits: RFC 7636 §4.1 asks for 43 to 128 letters, and 256 bits
    /// as a recommendation for those who draw octets.
    fn random(&self) -> String {
        let dice = &self.surroundings.dice;
        format!("{}{}", dice.token().simple(), dice.token().simple())
    }
}

/// An account, whatever its address is by now: of which kind, and its immutable subject.
pub type Subject<'a> = (CalendarKind, &'a str);

impl Connected {
    /// Which account it is.
    pub fn account(&self) -> Subject<'_> {
        (self.issuer.kind(), &self.subject)
    }
}

/// Whether the connection to the account `expected` may be renewed by what `given` was granted (rule
/// R17): only the same account proves the same subject.
pub fn judge_reconnecting(expected: Subject<'_>, given: Subject<'_>) -> Result<(), ConnectError> {
    if expected == given {
        return Ok(());
    }
    let said = |(kind, subject): Subject<'_>| format!("{subject} of {}", people_call(kind));
    Err(ConnectError::OtherAccount { expected: said(expected), given: said(given) })
}

fn people_call(kind: CalendarKind) -> &'static str {
    match kind {
        CalendarKind::Google => "Google",
        CalendarKind::Microsoft => "Microsoft",
        CalendarKind::Caldav => "a CalDAV server",
    }
}

/// The client proves itself in the form, which both providers take (RFC 6749 §2.3.1).
fn basic_client(client: &OauthClient) -> BasicClient {
    let OauthClient { id, secret } = client;
    let basic = BasicClient::new(ClientId::new(id.clone())).set_auth_type(AuthType::RequestBody);
    match secret {
        Some(secret) => {
            basic.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
        }
        None => basic,
    }
}

/// As it is asked for, without the slash that [`Url`] adds to a bare `http://localhost:1`: both
/// providers show redirects of this machine without one, and compare them as texts.
fn redirect_url(redirect: &Url) -> Result<RedirectUrl, ConnectError> {
    let text = if redirect.scheme() == "http" && redirect.path() == "/" {
        redirect.as_str().trim_end_matches('/').to_owned()
    } else {
        redirect.as_str().to_owned()
    };
    RedirectUrl::new(text).map_err(|_| ConnectError::Misconfigured {
        reason: "the address that the browser should come back to is none".to_owned(),
    })
}

fn extra(issuer: &Issuer) -> &'static [(&'static str, &'static str)] {
    match issuer {
        Issuer::Google => &[("access_type", "offline"), ("prompt", "consent")],
        Issuer::Microsoft(_) => &[("prompt", "select_account")],
    }
}

fn no_refresh_token(issuer: &Issuer) -> ConnectError {
    let why = match issuer {
        Issuer::Google => {
            "it gives that with the first consent, and again only where consent is asked for anew \
             (access_type=offline, prompt=consent), as it was"
        }
        Issuer::Microsoft(_) => "it gives that with the scope offline_access, which was asked for",
    };
    ConnectError::NoRefreshToken { issuer: issuer.name(), why }
}

/// What an answer means; one that got lost may be asked for again.
fn understood<T>(
    issuer: &Issuer,
    answer: Exchanged,
    read: impl FnOnce(&Issuer, Told<'_>) -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    match answer {
        Exchanged::Answered(answer) => {
            let (status, retry_after) = (answer.status, answer.retry_after);
            let body = Zeroizing::new(answer.body);
            read(issuer, Told { status, retry_after, body: &body })
        }
        Exchanged::Lost { sent: _, message } => {
            let name = issuer.name();
            let reason = format!("{name}'s token endpoint gave no answer: {message}");
            Err(ConnectError::Later { after: None, reason })
        }
    }
}

/// RFC 8628 §3.4.
fn device_form(client: &OauthClient, device: &Device) -> Zeroizing<String> {
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    proof(client, [("grant_type", grant_type), ("device_code", device.code.expose_secret())])
}

#[cfg(test)]
#[path = "connecting_tests.rs"]
mod tests;
