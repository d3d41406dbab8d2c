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
    crate::store::migrate(&settings.store).await?;
    let (_, installation) = open_installation(settings, surroundings).await?;
    writeln!(out, "the database is ready; its installation is {}", installation.id)?;
    Ok(())
}
