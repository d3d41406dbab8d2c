//! An account of a calendar, and the connection that a provider has to it.

use booking::{CalendarKind, ProviderId};
#[cfg(feature = "demo")]
use data_encoding::BASE64;
#[cfg(feature = "demo")]
use secrecy::SecretString;
#[cfg(feature = "demo")]
use sha2::{Digest as _, Sha256};

#[cfg(feature = "demo")]
use crate::calendar::Credentials;
use crate::clock::Dice;
use crate::config::Settings;
use crate::connection::seal::SealError;
use crate::connection::{Kept, Sealer, connection_id};
#[cfg(feature = "demo")]
use crate::emulator::GoogleEmulator;
use crate::store::{Installation, NewConnection};

/// An account, before it has a name.
pub(super) struct Account {
    pub(super) kind: CalendarKind,
    pub(super) subject: String,
    pub(super) calendar: String,
    pub(super) base_url: String,
    /// What opens it.
    pub(super) kept: Kept,
}

impl Account {
    /// The connection of a provider to this account, its credentials sealed; its provider's
    /// destination.
    pub(super) fn connection(
        self,
        provider: ProviderId,
        installation: &Installation,
        settings: &Settings,
        sealer: &Sealer,
        dice: &dyn Dice,
    ) -> Result<NewConnection, SealError> {
        let Self { kind, subject, calendar, base_url, kept } = self;
        let id = connection_id(installation.id, provider, kind, &subject, &calendar);
        Ok(NewConnection {
            id,
            provider,
            kind,
            subject,
            calendar,
            base_url,
            sealed: sealer.seal(id, &kept, dice)?,
            make_destination: true,
            horizon: settings.content.horizon_of(installation.installed_at),
        })
    }

    /// An account of Google's emulator, with its one calendar, opened by a new token.
    #[cfg(feature = "demo")]
    pub(super) fn emulated(google: &GoogleEmulator, account: &str, token: &str) -> Self {
        google.add_account(token, account);
        Self {
            kind: CalendarKind::Google,
            subject: account.to_owned(),
            calendar: account.to_owned(),
            base_url: google.base_url(),
            kept: Kept::Fixed(Credentials::Bearer { token: SecretString::from(token) }),
        }
    }
}

/// A key that seals, as one writes it in the settings: 32 bytes, where a token has 122 random bits.
#[cfg(feature = "demo")]
pub(super) fn fresh_key(dice: &dyn Dice) -> String {
    let mut hash = Sha256::new();
    for _ in 0..4 {
        hash.update(dice.token().as_bytes());
    }
    BASE64.encode(&hash.finalize())
}
