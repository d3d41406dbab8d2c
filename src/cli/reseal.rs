//! `connections reseal`: seals every connection's credentials with the present key, beside workers that
//! go on. What changes meanwhile (access that is renewed, an account that is connected again) is read
//! again, and nothing of it is lost.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::open::open_installation;
use super::out::Out;
use super::work::sealer;
use crate::clock::{Dice, Surroundings};
use crate::config::Settings;
use crate::connection::Sealer;
use crate::store::{ConnectionRow, Store};

/// So many times a connection is tried whose credentials change at the same moment.
const TRIES_MAX: u32 = 8;

/// Seals all credentials with the key of `secrets.key_id`.
///
/// Every worker must know that key already, and the old one until this is done. Done once more it
/// changes nothing.
#[derive(Debug, Args)]
pub struct ResealArgs {
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// What became of a connection's credentials.
enum Resealed {
    Anew,
    Already,
    /// There are none any more.
    None,
}

impl ResealArgs {
    /// Does it.
    pub(super) async fn run(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write>,
    ) -> anyhow::Result<()> {
        let sealer = sealer(&settings.secrets)?;
        let (store, _) = open_installation(settings, surroundings).await?;
        let dice = surroundings.dice.as_ref();
        let (mut resealed, mut already, mut failures) = (0_u64, 0_u64, Vec::new());
        for counted in store.connections().await? {
            let id = counted.connection.id;
            match reseal(&store, &sealer, counted.connection, dice).await {
                Ok(Resealed::Anew) => resealed += 1,
                Ok(Resealed::Already) => already += 1,
                Ok(Resealed::None) => {}
                Err(error) => failures.push(format!("{id}: {error:#}")),
            }
        }
        let key_id = sealer.key_id();
        if self.json {
            out.json(&json!({
                "key_id": key_id, "resealed": resealed, "already": already, "failures": failures,
            }))?;
        } else {
            writeln!(
                out,
                "sealed anew with the key `{key_id}`: {resealed}; sealed with it already: {already}"
            )?;
            for failure in &failures {
                writeln!(out, "not sealed anew: {failure}")?;
            }
        }
        match failures.len() {
            0 => Ok(()),
            failures => bail!("{failures} connections are not sealed with the key `{key_id}`"),
        }
    }
}

async fn reseal(
    store: &Arc<dyn Store>,
    sealer: &Sealer,
    mut connection: ConnectionRow,
    dice: &dyn Dice,
) -> anyhow::Result<Resealed> {
    for _ in 0..TRIES_MAX {
        let (id, sealed) = (connection.id, &connection.sealed);
        if sealed.is_empty() {
            return Ok(Resealed::None);
        }
        let Some(anew) = sealer.reseal(id, sealed, dice)? else {
            return Ok(Resealed::Already);
        };
        if store.swap_credentials(id, sealed, &anew).await? {
            return Ok(Resealed::Anew);
        }
        let Some(now) = store.connection(id).await? else {
            return Ok(Resealed::None);
        };
        connection = now;
    }
    bail!("its credentials change all the time; run this again")
}
