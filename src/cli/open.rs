//! Opens the database for a command.

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::clock::Surroundings;
use crate::config::{Settings, StoreSettings};
use crate::store::{Installation, Store};

/// The store that the settings name; nothing in it is checked yet.
pub async fn open_store(
    settings: &Settings,
    surroundings: &Surroundings,
) -> anyhow::Result<Arc<dyn Store>> {
    let clock = Arc::clone(&surroundings.clock);
    let store = crate::store::connect(&settings.store, clock).await;
    store.with_context(|| cannot_open(&settings.store))
}

/// What failed, with the database's place but neither its user nor its password.
pub(super) fn cannot_open(settings: &StoreSettings) -> String {
    let url = Url::parse(settings.url.expose_secret()).ok();
    let place = url.as_ref().and_then(|url| {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!(" at {}{port}{}", url.host_str()?, url.path()))
    });
    let place = place.unwrap_or_default();
    format!("cannot open the database of store.url (DATABASE_URL){place}")
}

/// The same, after checking that its schema is this version's and its installation is the one in
/// the settings.
pub async fn open_installation(
    settings: &Settings,
    surroundings: &Surroundings,
) -> anyhow::Result<(Arc<dyn Store>, Installation)> {
    let store = open_store(settings, surroundings).await?;
    let installation = store.open(settings.installation, surroundings.dice.token()).await?;
    Ok((store, installation))
}
