//! Credentials as they are kept: sealed by XChaCha20-Poly1305 under a key from the settings, bound
//! to their connection, so that one connection's sealed bytes open nothing in another's row.
//!
//! The bytes: a version (1), the key id's length and the key id, 24 bytes of nonce, ciphertext and
//! tag. All before the nonce and the connection's id are associated data.
//!
//! One key seals; any of the old ones still opens what it sealed, until that is sealed anew.

use std::fmt;

use booking::ConnectionId;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delegated::{Delegated, ServiceKey};
use super::kept::{Access, Grant, Issuer, Kept, Lifetime, Tenant};
use crate::calendar::Credentials;
use crate::clock::Dice;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;

/// The longest name of a key, in bytes.
pub const KEY_ID_LEN_MAX: usize = 64;

/// The longest user name and password, or tokens of one account, that are sealed, in bytes.
pub const SECRET_LEN_MAX: usize = 16 * 1024;

/// Why credentials cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is set.
    #[error("secrets.key is not set, and credentials are kept sealed")]
    NoKey,
    /// There are none: the connection was removed.
    #[error("the connection {connection} has no credentials any more")]
    Empty {
        /// The connection.
        connection: ConnectionId,
    },
    /// Not bytes that we write.
    #[error("the sealed credentials of {connection} are damaged, or of a later version")]
    Malformed {
        /// The connection.
        connection: ConnectionId,
    },
    /// Sealed under a key of another name.
    #[error(
        "the credentials of {connection} are sealed with the key `{sealed_with}`, and secrets.key_id names `{key_id}`; secrets.old_keys does not name it either"
    )]
    OtherKey {
        /// The connection.
        connection: ConnectionId,
        /// The name in the sealed bytes.
        sealed_with: String,
        /// The name in the settings.
        key_id: String,
    },
    /// The key of that name does not open them.
    #[error(
        "the credentials of {connection} do not open: secrets.key is not the key named `{key_id}` that sealed them, or they were changed or belong to another connection"
    )]
    WrongKey {
        /// The connection.
        connection: ConnectionId,
        /// The key's name.
        key_id: String,
    },
    /// Longer than we keep.
    #[error("the credentials have {len} bytes, and {SECRET_LEN_MAX} are allowed")]
    TooLong {
        /// Their bytes.
        len: usize,
    },
}

/// What is sealed, as JSON: `{"basic":{…}}`, `{"bearer":{…}}`, `{"oauth":{…}}` or `{"delegated":{…}}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Plain {
    Basic { username: String, password: Wiped },
    Bearer { token: Wiped },
    Oauth(PlainGrant),
    Delegated(Box<PlainDelegated>),
}

/// Times are in seconds since the epoch. What is `None` is left out.
#[derive(Serialize, Deserialize)]
struct PlainGrant {
    issuer: PlainIssuer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    refresh_token: Wiped,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_token: Option<Wiped>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
}

/// The same of times and of what is `None`.
#[derive(Serialize, Deserialize)]
struct PlainDelegated {
    client_email: String,
    client_id: String,
    key_id: String,
    private_key: Wiped,
    user: String,
    scopes: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_token: Option<Wiped>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PlainIssuer {
    Google,
    /// For this tenant.
    Microsoft(String),
}

/// A text that is overwritten when it is dropped.
pub(super) struct Wiped(Zeroizing<String>);

impl Wiped {
    /// A copy of a secret.
    pub(super) fn new(text: &SecretString) -> Self {
        Self(Zeroizing::new(text.expose_secret().to_owned()))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Wiped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A key and its name.
struct Key {
    id: String,
    key: SecretBox<[u8; 32]>,
}

impl Key {
    fn new(id: &str, key: &[u8; 32]) -> Self {
        assert!(id.len() <= KEY_ID_LEN_MAX, "the settings bound the length of a key's name");
        Self { id: id.to_owned(), key: SecretBox::new(Box::new(*key)) }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.key.expose_secret()).into())
    }
}

/// Why sealed bytes do not open.
enum Shut {
    Malformed,
    OtherKey { sealed_with: String },
    WrongKey { key_id: String },
}

/// What a pass is bound to; longer than a connection's 16 bytes, so that neither passes for the other.
fn pass_bound(purpose: &str) -> Vec<u8> {
    [b"calendar-sync pass: ", purpose.as_bytes()].concat()
}

/// Seals and opens credentials.
pub struct Sealer {
    key: Key,
    /// What open, and seal no more.
    old: Vec<Key>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old: Vec<_> = self.old.iter().map(|key| &key.id).collect();
        f.debug_struct("Sealer")
            .field("key_id", &self.key.id)
            .field("old", &old)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// With the key of that name, of at most [`KEY_ID_LEN_MAX`] bytes.
    pub fn new(key_id: &str, key: &SecretBox<[u8; 32]>) -> Self {
        Self { key: Key::new(key_id, key.expose_secret()), old: Vec::new() }
    }

    /// The same, and what this key has sealed is opened as well.
    #[must_use]
    pub fn opening(mut self, key_id: &str, key: &SecretBox<[u8; 32]>) -> Self {
        self.old.push(Key::new(key_id, key.expose_secret()));
        self
    }

    /// With the settings' keys.
    pub fn from_settings(settings: &crate::config::SecretSettings) -> Result<Self, SealError> {
        let key = settings.key.as_ref().ok_or(SealError::NoKey)?;
        let sealer = Self::new(&settings.key_id, key);
        Ok(settings.old_keys.iter().fold(sealer, |sealer, (id, key)| sealer.opening(id, key)))
    }

    /// The name of the key that seals.
    pub fn key_id(&self) -> &str {
        &self.key.id
    }

    /// Seals what is kept of a connection.
    pub fn seal(
        &self,
        connection: ConnectionId,
        kept: &Kept,
        dice: &dyn Dice,
    ) -> Result<Vec<u8>, SealError> {
        let plain = plain(kept)?;
        Ok(self.seal_plain(connection.0.as_bytes(), &plain, dice))
    }

    fn seal_plain(&self, bound_to: &[u8], plain: &[u8], dice: &dyn Dice) -> Vec<u8> {
        let head = head(&self.key.id);
        let nonce = nonce(dice);
        let aad = associated(&head, bound_to);
        let sealed = self
            .key
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .expect("the cipher takes any text of bounded length");
        [head.as_slice(), &nonce, &sealed].concat()
    }

    /// Opens what is kept of a connection.
    pub fn open(&self, connection: ConnectionId, sealed: &[u8]) -> Result<Kept, SealError> {
        let plain = self.open_plain(connection, sealed)?;
        let plain = serde_json::from_slice(&plain).ok().and_then(kept);
        plain.ok_or(SealError::Malformed { connection })
    }

    /// What an old key has sealed, sealed with the present one; `None`: it is already.
    pub fn reseal(
        &self,
        connection: ConnectionId,
        sealed: &[u8],
        dice: &dyn Dice,
    ) -> Result<Option<Vec<u8>>, SealError> {
        let plain = self.open_plain(connection, sealed)?;
        let is_done = split(sealed).is_some_and(|(key_id, ..)| key_id == self.key.id);
        Ok((!is_done).then(|| self.seal_plain(connection.0.as_bytes(), &plain, dice)))
    }

    fn open_plain(
        &self,
        connection: ConnectionId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.is_empty() {
            return Err(SealError::Empty { connection });
        }
        self.unseal(connection.0.as_bytes(), sealed).map_err(|shut| match shut {
            Shut::Malformed => SealError::Malformed { connection },
            Shut::OtherKey { sealed_with } => {
                SealError::OtherKey { connection, sealed_with, key_id: self.key.id.clone() }
            }
            Shut::WrongKey { key_id } => SealError::WrongKey { connection, key_id },
        })
    }

    fn unseal(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
        let (key_id, head, rest) = split(sealed).ok_or(Shut::Malformed)?;
        let mut keys = std::iter::once(&self.key).chain(&self.old);
        let Some(key) = keys.find(|key| key.id == key_id) else {
            return Err(Shut::OtherKey { sealed_with: key_id.to_owned() });
        };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Shut::Malformed)?;
        let aad = associated(head, bound_to);
        key.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| Shut::WrongKey { key_id: key.id.clone() })
    }

    /// Seals what is handed out and comes back, as a text that a URL can carry. What is sealed for one
    /// purpose opens for no other one, and not as a connection's credentials.
    pub(super) fn seal_pass(&self, purpose: &str, plain: &[u8], dice: &dyn Dice) -> String {
        BASE64URL_NOPAD.encode(&self.seal_plain(&pass_bound(purpose), plain, dice))
    }

    /// Opens it. `None`: we have not sealed it for that, or with a key that is no more.
    pub(super) fn open_pass(&self, purpose: &str, pass: &str) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = BASE64URL_NOPAD.decode(pass.as_bytes()).ok()?;
        self.unseal(&pass_bound(purpose), &sealed).ok()
    }
}

fn secret(text: &Wiped) -> SecretString {
    SecretString::from(text.0.as_str())
}

/// An access token with its times; `None` in all: they are no times.
#[expect(clippy::option_option, reason = "no access is sound, and times that are none are not")]
fn access(token: Option<Wiped>, times: Option<(i64, i64)>) -> Option<Option<Access>> {
    let moment = |seconds| DateTime::<Utc>::from_timestamp_secs(seconds);
    let lifetime = match times {
        None => None,
        Some((refresh_at, expires_at)) => {
            Some(Lifetime { refresh_at: moment(refresh_at)?, expires_at: moment(expires_at)? })
        }
    };
    Some(token.map(|token| Access { token: secret(&token), lifetime }))
}

/// What was sealed, if it is something that we write.
fn kept(plain: Plain) -> Option<Kept> {
    Some(match plain {
        Plain::Basic { username, password } => {
            Kept::Fixed(Credentials::Basic { username, password: secret(&password) })
        }
        Plain::Bearer { token } => Kept::Fixed(Credentials::Bearer { token: secret(&token) }),
        Plain::Oauth(plain) => {
            let access = access(plain.access_token, plain.refresh_at.zip(plain.expires_at))?;
            Kept::Grant(Grant {
                issuer: match plain.issuer {
                    PlainIssuer::Google => Issuer::Google,
                    PlainIssuer::Microsoft(tenant) => {
                        Issuer::Microsoft(Tenant::parse(&tenant).ok()?)
                    }
                },
                client: plain.client,
                refresh_token: secret(&plain.refresh_token),
                access,
                scopes: plain.scopes,
            })
        }
        Plain::Delegated(plain) => {
            let access = access(plain.access_token, plain.refresh_at.zip(plain.expires_at))?;
            let key = ServiceKey {
                client_email: plain.client_email,
                client_id: plain.client_id,
                key_id: plain.key_id,
                private_key: secret(&plain.private_key),
            };
            let (user, scopes) = (plain.user, plain.scopes);
            Kept::Delegated(Box::new(Delegated { key, user, scopes, access }))
        }
    })
}

/// The JSON, in a buffer that never grows, so that no copy of it stays behind in memory.
fn plain(kept: &Kept) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (len, plain) = match kept {
        Kept::Fixed(Credentials::Basic { username, password }) => (
            username.len() + password.expose_secret().len(),
            Plain::Basic { username: username.clone(), password: Wiped::new(password) },
        ),
        Kept::Fixed(Credentials::Bearer { token }) => {
            (token.expose_secret().len(), Plain::Bearer { token: Wiped::new(token) })
        }
        Kept::Grant(grant) => (len_of(grant), Plain::Oauth(plain_grant(grant))),
        Kept::Delegated(delegated) => {
            let plain = plain_delegated(delegated);
            let parts = [&plain.client_email, &plain.client_id, &plain.key_id, &plain.user];
            let len = parts.iter().map(|part| part.len()).sum::<usize>()
                + plain.scopes.len()
                + plain.private_key.as_str().len()
                + plain.access_token.as_ref().map_or(0, |token| token.as_str().len());
            (len, Plain::Delegated(Box::new(plain)))
        }
    };
    if len > SECRET_LEN_MAX {
        return Err(SealError::TooLong { len });
    }
    // JSON writes a control character as six bytes; the frame around is short.
    let mut text = Zeroizing::new(Vec::with_capacity(6 * len + FRAME_LEN_MAX));
    serde_json::to_writer(&mut *text, &plain).expect("texts are always JSON");
    Ok(text)
}

/// What JSON adds around the texts, at most: names, marks and two times.
const FRAME_LEN_MAX: usize = 270;

fn len_of(grant: &Grant) -> usize {
    let access = grant.access.as_ref().map_or(0, |access| access.token.expose_secret().len());
    let tenant = match &grant.issuer {
        Issuer::Google => 0,
        Issuer::Microsoft(tenant) => tenant.as_str().len(),
    };
    let others = [&grant.client, &grant.scopes].map(|text| text.as_ref().map_or(0, String::len));
    let others = others.iter().sum::<usize>();
    grant.refresh_token.expose_secret().len() + access + tenant + others
}

fn plain_grant(grant: &Grant) -> PlainGrant {
    let lifetime = grant.access.as_ref().and_then(|access| access.lifetime);
    PlainGrant {
        issuer: match &grant.issuer {
            Issuer::Google => PlainIssuer::Google,
            Issuer::Microsoft(tenant) => PlainIssuer::Microsoft(tenant.as_str().to_owned()),
        },
        client: grant.client.clone(),
        refresh_token: Wiped::new(&grant.refresh_token),
        access_token: grant.access.as_ref().map(|access| Wiped::new(&access.token)),
        refresh_at: lifetime.map(|it| it.refresh_at.timestamp()),
        expires_at: lifetime.map(|it| it.expires_at.timestamp()),
        scopes: grant.scopes.clone(),
    }
}

fn plain_delegated(delegated: &Delegated) -> PlainDelegated {
    let Delegated { key, user, scopes, access } = delegated;
    let lifetime = access.as_ref().and_then(|access| access.lifetime);
    PlainDelegated {
        client_email: key.client_email.clone(),
        client_id: key.client_id.clone(),
        key_id: key.key_id.clone(),
        private_key: Wiped::new(&key.private_key),
        user: user.clone(),
        scopes: scopes.clone(),
        access_token: access.as_ref().map(|access| Wiped::new(&access.token)),
        refresh_at: lifetime.map(|it| it.refresh_at.timestamp()),
        expires_at: lifetime.map(|it| it.expires_at.timestamp()),
    }
}

/// 24 random bytes, in parts of random UUIDs: 180 of their bits are random, and a nonce must only
/// never repeat.
fn nonce(dice: &dyn Dice) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for half in nonce.chunks_exact_mut(NONCE_LEN / 2) {
        half.copy_from_slice(&dice.token().as_bytes()[..NONCE_LEN / 2]);
    }
    nonce
}

fn head(key_id: &str) -> Vec<u8> {
    let len = u8::try_from(key_id.len()).expect("a key id's length is bounded");
    [&[VERSION, len], key_id.as_bytes()].concat()
}

fn associated(head: &[u8], bound_to: &[u8]) -> Vec<u8> {
    [head, bound_to].concat()
}

/// The key id, all that stands before the nonce, and the rest.
fn split(sealed: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&[VERSION, len], _) = sealed.split_first_chunk::<2>()? else {
        return None;
    };
    let (head, rest) = sealed.split_at_checked(2 + usize::from(len))?;
    let key_id = std::str::from_utf8(&head[2..]).ok()?;
    Some((key_id, head, rest))
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
