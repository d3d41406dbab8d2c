//! `run`: the worker. Reads the topic and serves lanes until it is told to stop.

use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::open::open_installation;
use super::stop::{Signals, until_stopped};
use super::work::work;
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::consumer::Status;

/// Works until SIGTERM or SIGINT; a second one ends it at once.
///
/// Any number of workers may run at once: Kafka shares out the partitions, the database shares
/// out the calendars.
#[derive(Debug, Args)]
pub struct RunArgs {}

/// Works until a signal, then ends within `shutdown.deadline_s`.
pub async fn run(
    _args: RunArgs,
    settings: Settings,
    surroundings: Surroundings,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let deadline = settings.shutdown_deadline;
    let (store, installation) = open_installation(&settings, &surroundings).await?;
    tracing::info!(
        installation.id = %installation.id,
        kafka.topic = settings.kafka.topic,
        emit.enabled = settings.emit.gate.enabled,
        "started"
    );
    let status = Arc::new(Status::default());
    let work = work(&settings, store, &installation, &surroundings, status, stop.clone());
    until_stopped(Box::pin(work), &stop, async || signals.next().await, deadline).await?;
    tracing::info!("stopped");
    Ok(())
}
