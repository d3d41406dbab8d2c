//! Credentials as they are kept: sealed by XChaCha20-Poly1305 under a key from the settings, bound
//! to their connection, so that one connection's sealed bytes open nothing in another's row.
//!
//! The bytes: a version (1), the key id's length and the key id, 24 bytes of nonce, ciphertext and
//! tag. All before the nonce and the connection's id are associated data.

use std::fmt;

use booking::ConnectionId;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calendar::Credentials;
use crate::clock::Dice;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;

/// The longest name of a key, in bytes.
pub const KEY_ID_LEN_MAX: usize = 64;

/// The longest user name, password or token that is sealed, in bytes.
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
        "the credentials of {connection} are sealed with the key `{sealed_with}`, and secrets.key_id names `{key_id}`"
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

/// What is sealed, as JSON: `{"basic":{…}}` or `{"bearer":{…}}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Plain {
    Basic { username: String, password: Wiped },
    Bearer { token: Wiped },
}

/// A text that is overwritten when it is dropped.
struct Wiped(Zeroizing<String>);

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

/// Seals and opens credentials with one key.
pub struct Sealer {
    key_id: String,
    key: SecretBox<[u8; 32]>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Sealer {
    /// With the key of that name, of at most [`KEY_ID_LEN_MAX`] bytes.
    pub fn new(key_id: &str, key: SecretBox<[u8; 32]>) -> Self {
        assert!(key_id.len() <= KEY_ID_LEN_MAX, "the settings bound the length of secrets.key_id");
        Self { key_id: key_id.to_owned(), key }
    }

    /// With the settings' key.
    pub fn from_settings(settings: &crate::config::SecretSettings) -> Result<Self, SealError> {
        let key = settings.key.as_ref().ok_or(SealError::NoKey)?;
        Ok(Self::new(&settings.key_id, SecretBox::new(Box::new(*key.expose_secret()))))
    }

    /// Seals a connection's credentials.
    pub fn seal(
        &self,
        connection: ConnectionId,
        credentials: &Credentials,
        dice: &dyn Dice,
    ) -> Result<Vec<u8>, SealError> {
        let plain = plain(credentials)?;
        let head = head(&self.key_id);
        let nonce = nonce(dice);
        let aad = associated(&head, connection);
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &aad })
            .expect("the cipher takes any text of bounded length");
        Ok([head.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens a connection's credentials.
    pub fn open(&self, connection: ConnectionId, sealed: &[u8]) -> Result<Credentials, SealError> {
        if sealed.is_empty() {
            return Err(SealError::Empty { connection });
        }
        let malformed = || SealError::Malformed { connection };
        let (key_id, head, rest) = split(sealed).ok_or_else(malformed)?;
        if key_id != self.key_id {
            let (sealed_with, key_id) = (key_id.to_owned(), self.key_id.clone());
            return Err(SealError::OtherKey { connection, sealed_with, key_id });
        }
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(malformed)?;
        let aad = associated(head, connection);
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| SealError::WrongKey { connection, key_id: self.key_id.clone() })?;
        match serde_json::from_slice(&plain).map_err(|_| malformed())? {
            Plain::Basic { username, password } => Ok(Credentials::Basic {
                username,
                password: SecretString::from(password.0.as_str()),
            }),
            Plain::Bearer { token } => {
                Ok(Credentials::Bearer { token: SecretString::from(token.0.as_str()) })
            }
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.key.expose_secret()).into())
    }
}

/// The JSON, in a buffer that never grows, so that no copy of it stays behind in memory.
fn plain(credentials: &Credentials) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let secret = |text: &SecretString| Wiped(Zeroizing::new(text.expose_secret().to_owned()));
    let (len, plain) = match credentials {
        Credentials::Basic { username, password } => (
            username.len() + password.expose_secret().len(),
            Plain::Basic { username: username.clone(), password: secret(password) },
        ),
        Credentials::Bearer { token } => {
            (token.expose_secret().len(), Plain::Bearer { token: secret(token) })
        }
    };
    if len > SECRET_LEN_MAX {
        return Err(SealError::TooLong { len });
    }
    // JSON writes a control character as six bytes; the frame around is short.
    let mut text = Zeroizing::new(Vec::with_capacity(6 * len + 100));
    serde_json::to_writer(&mut *text, &plain).expect("texts are always JSON");
    Ok(text)
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

fn associated(head: &[u8], connection: ConnectionId) -> Vec<u8> {
    [head, connection.0.as_bytes()].concat()
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
mod tests {
    use super::*;
    use crate::clock::SystemDice;
    use uuid::Uuid;

    const ANNA: ConnectionId = ConnectionId(Uuid::from_u128(1));
    const BEN: ConnectionId = ConnectionId(Uuid::from_u128(2));

    fn sealer(key_id: &str, byte: u8) -> Sealer {
        Sealer::new(key_id, SecretBox::new(Box::new([byte; 32])))
    }

    fn basic() -> Credentials {
        let password = "päss \"\u{1}word".into();
        Credentials::Basic { username: "anna".to_owned(), password }
    }

    #[test]
    fn what_was_sealed_opens_again() {
        let keeper = sealer("1", 7);
        let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
        let Credentials::Basic { username, password } = keeper.open(ANNA, &sealed).unwrap() else {
            panic!("basic credentials open as basic ones");
        };
        assert_eq!((username.as_str(), password.expose_secret()), ("anna", "päss \"\u{1}word"));

        let bearer = Credentials::Bearer { token: "ya29.token".into() };
        let sealed = keeper.seal(ANNA, &bearer, &SystemDice).unwrap();
        let Credentials::Bearer { token } = keeper.open(ANNA, &sealed).unwrap() else {
            panic!("a token opens as a token");
        };
        assert_eq!(token.expose_secret(), "ya29.token");
    }

    #[test]
    fn sealed_bytes_show_nothing_and_never_repeat() {
        let keeper = sealer("1", 7);
        let bearer = Credentials::Bearer { token: "ya29.token".into() };
        let one = keeper.seal(ANNA, &bearer, &SystemDice).unwrap();
        let two = keeper.seal(ANNA, &bearer, &SystemDice).unwrap();
        assert!(!one.windows(4).any(|bytes| bytes == b"ya29"));
        assert_ne!(one, two);
    }

    #[test]
    fn another_key_is_named() {
        let sealed = sealer("old", 7).seal(ANNA, &basic(), &SystemDice).unwrap();
        assert_eq!(
            sealer("new", 8).open(ANNA, &sealed).unwrap_err(),
            SealError::OtherKey {
                connection: ANNA,
                sealed_with: "old".to_owned(),
                key_id: "new".to_owned()
            }
        );
        assert_eq!(
            sealer("old", 8).open(ANNA, &sealed).unwrap_err(),
            SealError::WrongKey { connection: ANNA, key_id: "old".to_owned() }
        );
    }

    #[test]
    fn sealed_bytes_of_another_connection_do_not_open() {
        let keeper = sealer("1", 7);
        let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
        let error = keeper.open(BEN, &sealed).unwrap_err();
        assert_eq!(error, SealError::WrongKey { connection: BEN, key_id: "1".to_owned() });
    }

    #[test]
    fn damaged_bytes_are_errors_at_every_place() {
        let keeper = sealer("1", 7);
        let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
        for len in 0..sealed.len() {
            keeper.open(ANNA, &sealed[..len]).unwrap_err();
        }
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            keeper.open(ANNA, &other).unwrap_err();
        }
        assert_eq!(keeper.open(ANNA, &[]).unwrap_err(), SealError::Empty { connection: ANNA });
    }

    #[test]
    fn a_sealer_shows_no_key() {
        assert_eq!(format!("{:?}", sealer("1", 7)), "Sealer { key_id: \"1\", .. }");
    }
}
