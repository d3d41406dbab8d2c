//! As whom access to accounts is asked for and renewed, and where: a client for each provider.

use booking::CalendarKind;
use secrecy::SecretString;
use url::Url;

use super::error::SettingError;
use super::reader::Reader;
use super::secrets::secret_or_file;
use super::table::{Allowed, Key, key};

/// As whom access is asked for and renewed, and where.
#[derive(Debug, Clone)]
pub struct OauthSettings {
    /// At Google.
    pub google: Option<OauthClient>,
    /// Google's authorisation endpoint: people's browsers go there.
    pub google_authorize_url: Url,
    /// Google's token endpoint.
    pub google_token_url: Url,
    /// Who Google says it is in ID tokens (`iss`).
    pub google_issuer: Url,
    /// Google's calendars.
    pub google_api_url: Url,
    /// At Microsoft.
    pub microsoft: Option<OauthClient>,
    /// What stands before the tenant in the address of Microsoft's endpoints, and in its name in ID
    /// tokens (`iss`).
    pub microsoft_authority: Url,
    /// Microsoft's calendars, of whoever the token is of.
    pub microsoft_api_url: Url,
}

/// A client (RFC 6749 §2).
#[derive(Debug, Clone)]
pub struct OauthClient {
    /// Its name there.
    pub id: String,
    /// What proves that it is us; `None`: a public client.
    pub secret: Option<SecretString>,
}

impl OauthSettings {
    /// Where calendars of a kind are, of those that access is granted to.
    pub fn api_url(&self, kind: CalendarKind) -> &Url {
        match kind {
            CalendarKind::Microsoft => &self.microsoft_api_url,
            CalendarKind::Google | CalendarKind::Caldav => &self.google_api_url,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let google = client(
            reader,
            [
                "oauth.google.client_id",
                "oauth.google.client_secret",
                "oauth.google.client_secret_file",
            ],
        );
        let google_authorize_url = reader.secure_url("oauth.google.authorize_url");
        let google_token_url = reader.secure_url("oauth.google.token_url");
        let google_issuer = reader.secure_url("oauth.google.issuer");
        let google_api_url = reader.secure_url("oauth.google.api_url");
        let microsoft = client(
            reader,
            [
                "oauth.microsoft.client_id",
                "oauth.microsoft.client_secret",
                "oauth.microsoft.client_secret_file",
            ],
        );
        let microsoft_authority = reader.secure_url("oauth.microsoft.authority");
        let microsoft_api_url = reader.secure_url("oauth.microsoft.api_url");
        Self {
            google,
            google_authorize_url,
            google_token_url,
            google_issuer,
            google_api_url,
            microsoft,
            microsoft_authority,
            microsoft_api_url,
        }
    }
}

/// A client, by the names of its settings: id, secret, and the secret's file.
fn client(reader: &mut Reader<'_>, [id, secret, file]: [&'static str; 3]) -> Option<OauthClient> {
    let name = reader.optional_text(id);
    let proof = secret_or_file(reader, secret, file);
    if name.is_none() && proof.is_some() && reader.sound(&[id]) {
        let because = "there is a secret, and nobody whose it is";
        reader.complain(SettingError::Needed { key: id, because });
    }
    Some(OauthClient { id: name?, secret: proof })
}

pub(super) const OAUTH: &[Key] = &[
    key(
        "oauth.google.client_id",
        Allowed::Text,
        None,
        "As whom Google knows us: the OAuth client that accounts have granted access to.",
    ),
    key("oauth.google.client_secret", Allowed::Text, None, "What proves that.").secret(),
    key("oauth.google.client_secret_file", Allowed::File, None, "A file that holds it instead."),
    key(
        "oauth.google.authorize_url",
        Allowed::SecureUrl,
        Some("https://accounts.google.com/o/oauth2/v2/auth"),
        "Where Google asks an account's owner.",
    ),
    key(
        "oauth.google.token_url",
        Allowed::SecureUrl,
        Some("https://oauth2.googleapis.com/token"),
        "Where Google gives and renews access.",
    ),
    key(
        "oauth.google.issuer",
        Allowed::SecureUrl,
        Some("https://accounts.google.com"),
        "Who Google says it is when it tells whose account it is (`iss` in ID tokens).",
    ),
    key(
        "oauth.google.api_url",
        Allowed::SecureUrl,
        Some("https://www.googleapis.com/calendar/v3"),
        "Where the calendars of new connections are.",
    ),
    key(
        "oauth.microsoft.client_id",
        Allowed::Text,
        None,
        "As whom Microsoft knows us: the application that accounts have granted access to.",
    ),
    key(
        "oauth.microsoft.client_secret",
        Allowed::Text,
        None,
        "What proves that; a public client has none.",
    )
    .secret(),
    key("oauth.microsoft.client_secret_file", Allowed::File, None, "A file that holds it instead."),
    key(
        "oauth.microsoft.authority",
        Allowed::SecureUrl,
        Some("https://login.microsoftonline.com"),
        "Where Microsoft asks an account's owner, gives and renews access, at `/{tenant}/oauth2/v2.0/…`; \
         a national cloud has another.",
    ),
    key(
        "oauth.microsoft.api_url",
        Allowed::SecureUrl,
        Some("https://graph.microsoft.com/v1.0/me"),
        "Where the calendars of new connections are, up to the mailbox; a national cloud has another.",
    ),
];
