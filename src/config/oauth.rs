//! As whom access to accounts is renewed, and where: a client for each provider.

use secrecy::SecretString;
use url::Url;

use super::error::SettingError;
use super::reader::Reader;
use super::secrets::secret_or_file;

/// As whom access is renewed, and where.
#[derive(Debug, Clone)]
pub struct OauthSettings {
    /// At Google.
    pub google: Option<OauthClient>,
    /// Google's token endpoint.
    pub google_token_url: Url,
    /// At Microsoft.
    pub microsoft: Option<OauthClient>,
    /// What stands before the tenant in the address of Microsoft's token endpoints.
    pub microsoft_authority: Url,
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
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let google = client(
            reader,
            [
                "oauth.google.client_id",
                "oauth.google.client_secret",
                "oauth.google.client_secret_file",
            ],
        );
        let google_token_url = reader.secure_url("oauth.google.token_url");
        let microsoft = client(
            reader,
            [
                "oauth.microsoft.client_id",
                "oauth.microsoft.client_secret",
                "oauth.microsoft.client_secret_file",
            ],
        );
        let microsoft_authority = reader.secure_url("oauth.microsoft.authority");
        Self { google, google_token_url, microsoft, microsoft_authority }
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
