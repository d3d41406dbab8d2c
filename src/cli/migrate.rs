//! `migrate`: brings the database to this version's schema.

use std::io::Write;

use super::open::open_installation;
use super::out::Out;
use crate::clock::Surroundings;
use crate::config::Settings;

/// Migrates, then opens the database as a worker would.
pub async fn run(
    settings: &Settings,
    surroundings: &Surroundings,
    out: &mut Out<impl Write>,
) -> anyhow::Result<()> {
    let applied = crate::store::migrate(&settings.store).await?;
    let (_, installation) = open_installation(settings, surroundings).await?;
    writeln!(out, "{applied} migrations were applied; the installation is {}", installation.id)?;
    Ok(())
}
