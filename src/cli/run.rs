//! `run`: the worker. Reads the topic and serves lanes until it is told to stop.

use std::sync::Arc;

use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::open::open_installation;
use super::stop::{Signals, until_stopped};
use super::work::{Shared, listen, ops, sealer, work};
use crate::clock::Surroundings;
use crate::config::Settings;

/// Works until SIGTERM or SIGINT; a second one ends it at once.
///
/// Any number of workers may run at once: Kafka shares out the partitions, the database shares
/// out the calendars.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Also stop when standard input ends: for a parent process that may vanish
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Works until a signal, then ends within `shutdown.deadline_s`.
pub async fn run(
    args: RunArgs,
    settings: Settings,
    surroundings: Surroundings,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let deadline = settings.shutdown_deadline;
    // What is wrong with the settings is told before anything begins.
    if settings.emit.gate.enabled {
        drop(sealer(&settings.secrets)?);
    }
    let shared = Shared::new(&surroundings);
    let early = Early::serve(&settings, &shared).await;
    let opened = open_installation(&settings, &surroundings).await;
    let early = early.end().await;
    let (store, installation) = opened?;
    tracing::info!(
        installation.id = %installation.id,
        kafka.topic = settings.kafka.topic,
        emit.enabled = settings.emit.gate.enabled,
        "started"
    );
    let listener = match early {
        Some(listener) => listener,
        None => listen(&settings).await?,
    };
    let ops = ops(&settings, &store, &installation, &surroundings, &shared)?;
    tracing::info!(address = %listener.local_addr()?, "metrics and endpoints are served");
    // Until all is done: what the end comes to is counted, and who asks meanwhile is answered.
    let (done, mut serving) = (CancellationToken::new(), JoinSet::new());
    serving.spawn(crate::ops::serve(listener, crate::ops::router(ops), done.clone()));
    let work = work(&settings, store, &installation, &surroundings, shared, stop.clone());
    let mut watches_stdin = args.until_stdin_ends;
    let next_signal = async || {
        tokio::select! {
            signal = signals.next() => signal,
            () = stdin_end(), if watches_stdin => {
                // Once: the end of the input asks, it does not insist.
                watches_stdin = false;
                "the end of standard input"
            }
        }
    };
    until_stopped(Box::pin(work), &stop, next_signal, deadline).await?;
    // Whoever is being answered still is, for a moment that is none of the work's.
    done.cancel();
    while serving.join_next().await.is_some() {}
    tracing::info!("stopped");
    Ok(())
}

/// The port while the database is being opened: whoever watches over this process learns that it is alive,
/// and not ready. Other questions are answered once it is open.
struct Early {
    /// The same port, for afterwards; `None`: it cannot be had, which is told then.
    listener: Option<std::net::TcpListener>,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Early {
    async fn serve(settings: &Settings, shared: &Shared) -> Self {
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        let Ok(listener) = listen(settings).await.and_then(|it| Ok(it.into_std()?)) else {
            return Self { listener: None, stop, serving };
        };
        let of_now = listener.try_clone().and_then(TcpListener::from_std);
        if let Ok(of_now) = of_now {
            if let Ok(address) = of_now.local_addr() {
                tracing::info!(%address, "answering");
            }
            let router = crate::ops::health::router(Arc::clone(&shared.health));
            serving.spawn(crate::ops::serve(of_now, router, stop.clone()));
        }
        Self { listener: Some(listener), stop, serving }
    }

    async fn end(mut self) -> Option<TcpListener> {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
        TcpListener::from_std(self.listener?).ok()
    }
}

/// Returns at the end of standard input, or where it cannot be read.
async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut read = [0; 64];
    while stdin.read(&mut read).await.is_ok_and(|len| len > 0) {}
}
