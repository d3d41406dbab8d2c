//! Accounts that a service account of Google's opens: an organisation has let it act as any of its users
//! (domain-wide delegation). Access is had for an assertion that the service account's key signs
//! (RFC 7523; Google, "Using OAuth 2.0 for Server to Server Applications").

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::kept::Access;
use super::seal::Wiped;

/// How long an assertion is good: "a maximum of 1 hour after the issued time". Google answers it at
/// once.
const ASSERTION_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// The longest file of a key that is read, in bytes.
pub const KEY_FILE_LEN_MAX: usize = 16 * 1024;

/// The longest name in such a file, in bytes.
const NAME_LEN_MAX: usize = 500;

/// What opens a user's calendar by leave of the organisation.
#[derive(Debug, Clone)]
pub struct Delegated {
    /// As whom access is asked for.
    pub key: ServiceKey,
    /// For whom: the user's address.
    pub user: String,
    /// For what: names with blanks between.
    pub scopes: String,
    /// What opens the calendar now; `None`: it has to be asked for first.
    pub access: Option<Access>,
}

/// A key of a service account.
#[derive(Clone)]
pub struct ServiceKey {
    /// The account's address.
    pub client_email: String,
    /// Its number, under which an organisation lets it act.
    pub client_id: String,
    /// The key's name.
    pub key_id: String,
    /// The key: PKCS #8, as PEM.
    pub private_key: SecretString,
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey")
            .field("client_email", &self.client_email)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why a file holds no key that we can use. Nothing of the file is told but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not JSON, or something is missing.
    #[error(
        "this is no key of a service account: it is to be the JSON file that Google makes, with type, client_email, client_id, private_key_id, private_key and token_uri"
    )]
    NotKey,
    /// A file of another kind.
    #[error(
        "this file is of the type `{kind}`, and a key of a service account is of the type `service_account`"
    )]
    Kind {
        /// What it says.
        kind: String,
    },
    /// What an application is known by, when people sign in.
    #[error(
        "this is a client's secret, for people who sign in, and no key of a service account; oauth.google.client_id is its place"
    )]
    Client,
    /// An assertion would be sent elsewhere.
    #[error(
        "the file names the token endpoint {token_uri}, and oauth.google.token_url is {expected}: a key is used at the setting's alone"
    )]
    Endpoint {
        /// What it says.
        token_uri: String,
        /// The setting.
        expected: String,
    },
    /// The key itself.
    #[error(
        "the private_key is none that can sign: an RSA key of 2,048 bits or more, as PKCS #8 in PEM"
    )]
    Key,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    client_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<Wiped>,
    token_uri: Option<String>,
    installed: Option<serde::de::IgnoredAny>,
    web: Option<serde::de::IgnoredAny>,
}

/// A name that is a word: it is told to people, and stands in requests.
fn name(text: Option<String>) -> Result<String, KeyError> {
    let is_name = |text: &String| {
        (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
    };
    text.filter(is_name).ok_or(KeyError::NotKey)
}

impl ServiceKey {
    /// Reads a key's file, for the token endpoint of the settings.
    pub fn parse(file: &str, token_url: &Url) -> Result<Self, KeyError> {
        let file: File = serde_json::from_str(file).map_err(|_| KeyError::NotKey)?;
        if file.installed.is_some() || file.web.is_some() {
            return Err(KeyError::Client);
        }
        let kind = name(file.kind)?;
        if kind != "service_account" {
            return Err(KeyError::Kind { kind });
        }
        let token_uri = name(file.token_uri)?;
        if Url::parse(&token_uri).ok().as_ref() != Some(token_url) {
            return Err(KeyError::Endpoint { token_uri, expected: token_url.to_string() });
        }
        let private_key = file.private_key.ok_or(KeyError::NotKey)?;
        let key = Self {
            client_email: name(file.client_email)?,
            client_id: name(file.client_id)?,
            key_id: name(file.private_key_id)?,
            private_key: SecretString::from(private_key.as_str()),
        };
        key.pair()?;
        Ok(key)
    }

    fn pair(&self) -> Result<RsaKeyPair, KeyError> {
        const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
        const END: &str = "-----END PRIVATE KEY-----";
        let pem = self.private_key.expose_secret().trim();
        let lines = pem.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let lines = lines.ok_or(KeyError::Key)?;
        let mut text = Zeroizing::new(Vec::with_capacity(lines.len()));
        text.extend(lines.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let der = Zeroizing::new(BASE64.decode(&text).map_err(|_| KeyError::Key)?);
        RsaKeyPair::from_pkcs8(&der).map_err(|_| KeyError::Key)
    }

    /// A signed assertion (RFC 7523 §3) that this account acts for a user.
    pub fn assertion(
        &self,
        user: &str,
        scopes: &str,
        audience: &Url,
        now: DateTime<Utc>,
    ) -> Result<Zeroizing<String>, KeyError> {
        let pair = self.pair()?;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.client_email,
            "sub": user,
            "scope": scopes,
            "aud": audience.as_str(),
            "iat": now.timestamp(),
            "exp": (now + ASSERTION_LIFETIME).timestamp(),
        });
        let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError::Key)?;
        Ok(Zeroizing::new(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Url {
        Url::parse("https://oauth2.googleapis.com/token").unwrap()
    }

    fn file(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut file = json!({
            "type": "service_account",
            "client_email": "robot@project.iam.gserviceaccount.com",
            "client_id": "1137622",
            "private_key_id": "abc",
            "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        change(&mut file);
        file.to_string()
    }

    #[test]
    fn what_is_no_key_of_a_service_account_is_refused_by_name() {
        let refused = |text: &str| ServiceKey::parse(text, &endpoint()).unwrap_err();
        assert_eq!(refused("no JSON"), KeyError::NotKey);
        assert_eq!(refused(r#"{"installed":{"client_id":"us"}}"#), KeyError::Client);
        let kind = file(|it| it["type"] = json!("authorized_user"));
        assert_eq!(refused(&kind), KeyError::Kind { kind: "authorized_user".to_owned() });
        let elsewhere = file(|it| it["token_uri"] = json!("https://evil.example/token"));
        assert!(refused(&elsewhere).to_string().contains("https://evil.example/token"));
        for missing in ["client_email", "client_id", "private_key_id", "private_key", "token_uri"] {
            let without = file(|it| it[missing] = serde_json::Value::Null);
            assert_eq!(refused(&without), KeyError::NotKey, "{missing}");
        }
        assert_eq!(refused(&file(|_| {})), KeyError::Key, "too short a key");
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = ServiceKey {
            client_email: "robot".to_owned(),
            client_id: "1".to_owned(),
            key_id: "2".to_owned(),
            private_key: "never to be seen".into(),
        };
        assert!(!format!("{key:?}").contains("never"));
    }
}
