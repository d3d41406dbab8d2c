//! Asking a provider's token endpoint for new access (RFC 6749 §6, RFC 7523): one form, one answer.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use url::Url;
use url::form_urlencoded::Serializer;

use super::delegated::Delegated;
use super::kept::{Access, Grant, Issuer, Lifetime, Tenant};
use super::refresh::{Denied, Granted, Told, asserted, refreshed};
use crate::calendar::http::{Exchanged, Http};
use crate::clock::Clock;
use crate::config::{OauthClient, OauthSettings};

/// The longest answer that is read, in bytes: a few tokens. A longer one counts as lost.
pub const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Microsoft's scope without which there is no new refresh token.
const OFFLINE: &str = "offline_access";

/// RFC 7523 §2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The token endpoints of all providers.
pub struct TokenEndpoints {
    http: Http,
    settings: OauthSettings,
    clock: Arc<dyn Clock>,
}

impl TokenEndpoints {
    /// As the clients of the settings.
    pub fn new(http: Http, settings: OauthSettings, clock: Arc<dyn Clock>) -> Self {
        Self { http, settings, clock }
    }

    /// Asks once for new access; answers the grant as it is then.
    ///
    /// An answer that is lost may have renewed the grant all the same. What it was renewed by is good
    /// still: Google gives no other one ("Using OAuth 2.0 for Web Server Applications": the answer to
    /// a refresh has none), and Microsoft "doesn't revoke old refresh tokens when used to fetch new
    /// access tokens" ("Refresh tokens in the Microsoft identity platform").
    pub async fn refresh(&self, grant: &Grant) -> Result<Grant, Denied> {
        let (client, key) = match &grant.issuer {
            Issuer::Google => (&self.settings.google, "oauth.google.client_id"),
            Issuer::Microsoft(_) => (&self.settings.microsoft, "oauth.microsoft.client_id"),
        };
        let Some(client) = client else {
            let reason = format!("{key} is not set, and access is renewed as that client");
            return Err(Denied::Misconfigured { reason });
        };
        // Whoever granted it would be told that it is no good, and it is.
        if let Some(granted_to) = grant.client.as_ref().filter(|it| **it != client.id) {
            let reason = format!(
                "access was granted to the client {granted_to}, and {key} is {}: set it to that one, or \
                 connect the account again",
                client.id
            );
            return Err(Denied::Misconfigured { reason });
        }
        let form = form(client, grant);
        let asked_at = self.clock.now();
        let issuer = &grant.issuer;
        let url = self.url(issuer);
        let granted = self.ask(url, issuer.name(), &form, |told| refreshed(issuer, told)).await?;
        let Granted { access_token, good_for, refresh_token, scopes, id_token: _ } = granted;
        let lifetime = good_for.map(|good_for| Lifetime::of(asked_at, good_for));
        Ok(Grant {
            issuer: grant.issuer.clone(),
            client: Some(client.id.clone()),
            refresh_token: refresh_token.unwrap_or_else(|| grant.refresh_token.clone()),
            access: Some(Access { token: access_token, lifetime }),
            scopes: scopes.or_else(|| grant.scopes.clone()),
        })
    }

    /// Asks once for access by a service account's key; answers what is kept of it then.
    ///
    /// An answer that is lost has changed nothing.
    pub async fn assert(&self, delegated: &Delegated) -> Result<Delegated, Denied> {
        let Delegated { key, user, scopes, access: _ } = delegated;
        let url = &self.settings.google_token_url;
        let asked_at = self.clock.now();
        let signed = key.assertion(user, scopes, url, asked_at);
        // It was looked at before it was kept.
        let assertion = signed.map_err(|error| Denied::Refused { reason: error.to_string() })?;
        let form = asserting(&assertion);
        let means = |told: Told<'_>| asserted(delegated, told);
        let granted = self.ask(url.clone(), Issuer::Google.name(), &form, means).await?;
        let lifetime = granted.good_for.map(|good_for| Lifetime::of(asked_at, good_for));
        let access = Some(Access { token: granted.access_token, lifetime });
        Ok(Delegated { access, ..delegated.clone() })
    }

    async fn ask(
        &self,
        url: Url,
        name: &str,
        form: &str,
        means: impl FnOnce(Told<'_>) -> Result<Granted, Denied>,
    ) -> Result<Granted, Denied> {
        let answer = match self.http.post_form(url, form, ANSWER_LEN_MAX).await {
            Exchanged::Answered(answer) => answer,
            Exchanged::Lost { sent: _, message } => {
                let reason = format!("{name}'s token endpoint gave no answer: {message}");
                return Err(Denied::Later { after: None, reason });
            }
        };
        let (status, retry_after) = (answer.status, answer.retry_after);
        let body = Zeroizing::new(answer.body);
        means(Told { status, retry_after, body: &body })
    }

    /// Where an issuer's token endpoint is.
    pub(super) fn url(&self, issuer: &Issuer) -> Url {
        match issuer {
            Issuer::Google => self.settings.google_token_url.clone(),
            Issuer::Microsoft(tenant) => self.of_tenant(tenant, "token"),
        }
    }

    /// Where one of Microsoft's endpoints is, for a tenant's users.
    pub(super) fn of_tenant(&self, tenant: &Tenant, endpoint: &str) -> Url {
        let mut url = self.settings.microsoft_authority.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([tenant.as_str(), "oauth2", "v2.0", endpoint]);
        }
        url
    }
}

/// The key proves who asks: no client is named.
fn asserting(assertion: &str) -> Zeroizing<String> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", JWT_BEARER).append_pair("assertion", assertion);
    Zeroizing::new(form.finish())
}

/// A form in which the client proves itself, which both providers take (RFC 6749 §2.3.1), after what is
/// asked.
pub(super) fn proof<const N: usize>(
    client: &OauthClient,
    asked: [(&str, &str); N],
) -> Zeroizing<String> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(asked).append_pair("client_id", &client.id);
    if let Some(secret) = &client.secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    Zeroizing::new(form.finish())
}

fn form(client: &OauthClient, grant: &Grant) -> Zeroizing<String> {
    let asked =
        [("grant_type", "refresh_token"), ("refresh_token", grant.refresh_token.expose_secret())];
    let form = proof(client, asked);
    match (&grant.issuer, &grant.scopes) {
        // Without a scope Microsoft answers for the resource that the grant began with.
        (Issuer::Microsoft(_), Some(scopes)) => {
            let is_named = scopes.split(' ').any(|scope| scope == OFFLINE);
            let scopes = if is_named { scopes.clone() } else { format!("{scopes} {OFFLINE}") };
            let scope = Serializer::new(String::new()).append_pair("scope", &scopes).finish();
            Zeroizing::new(format!("{}&{scope}", *form))
        }
        (Issuer::Microsoft(_), None) | (Issuer::Google, _) => form,
    }
}
