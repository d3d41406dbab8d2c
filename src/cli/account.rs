//! An account of a calendar, and the connection that a provider has to it.

use std::io::Write;

use anyhow::Context as _;
use booking::{CalendarKind, ConnectionId, ProviderId};
#[cfg(feature = "demo")]
use data_encoding::BASE64;
#[cfg(feature = "demo")]
use secrecy::SecretString;
use serde_json::json;
#[cfg(feature = "demo")]
use sha2::{Digest as _, Sha256};

use super::out::Out;
#[cfg(feature = "demo")]
use crate::calendar::Credentials;
use crate::clock::Dice;
use crate::config::Settings;
use crate::connection::seal::SealError;
use crate::connection::{Kept, Sealer, connection_id};
#[cfg(feature = "demo")]
use crate::emulator::GoogleEmulator;
use crate::store::{Installation, NewConnection, PutConnection, Store};

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
            revives: true,
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

/// Stores it.
pub(super) async fn put(
    store: &dyn Store,
    connection: &NewConnection,
) -> anyhow::Result<PutConnection> {
    store.put_connection(connection).await.context("cannot store the connection")
}

/// What became of it.
pub(super) fn tell_added(
    id: ConnectionId,
    put: &PutConnection,
    as_json: bool,
    out: &mut Out<impl Write>,
) -> std::io::Result<()> {
    let PutConnection { removed: _, created, destination, bookings_due } = *put;
    if as_json {
        return out.json(&json!({
            "connection_id": id,
            "created": created,
            "destination": destination,
            "bookings_due": bookings_due,
        }));
    }
    let what = if created { "added" } else { "its credentials are renewed" };
    writeln!(out, "connection {id}: {what}")?;
    if destination {
        writeln!(out, "  it takes its provider's bookings; {bookings_due} became due on it")
    } else {
        writeln!(
            out,
            "  another connection takes its provider's bookings; add it again with \
             --make-destination to change that"
        )
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
