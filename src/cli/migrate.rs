//! `migrate`: brings the database to this version's schema.

use std::io::Write;

use super::open::{cannot_open, open_installation};
use super::out::Out;
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::store::StoreError;

/// Migrates, then opens the database as a worker would.
pub async fn run(
    settings: &Settings,
    surroundings: &Surroundings,
    out: &mut Out<impl Write>,
) -> anyhow::Result<()> {
    let applied = crate::store::migrate(&settings.store).await;
    let applied = applied.map_err(|error| match error {
        StoreError::Unavailable { .. } | StoreError::Failed { .. } => {
            anyhow::Error::new(error).context(cannot_open(&settings.store))
        }
        StoreError::Version { .. }
        | StoreError::Migration { .. }
        | StoreError::Installation { .. }
        | StoreError::Inconsistent { .. } => error.into(),
    })?;
    let (_, installation) = open_installation(settings, surroundings).await?;
    writeln!(out, "{applied} migrations were applied; the installation is {}", installation.id)?;
    Ok(())
}
