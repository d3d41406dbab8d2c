//! Opens the database for a command.

use std::sync::Arc;

use anyhow::Context as _;

use crate::clock::Surroundings;
use crate::config::Settings;
use crate::store::{Installation, Store};

/// The store that the settings name; nothing in it is checked yet.
pub async fn open_store(
    settings: &Settings,
    surroundings: &Surroundings,
) -> anyhow::Result<Arc<dyn Store>> {
    let clock = Arc::clone(&surroundings.clock);
    let store = crate::store::connect(&settings.store, clock).await;
    store.context("cannot open the database of store.url (DATABASE_URL)")
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
