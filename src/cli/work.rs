//! The worker: the consumer and the lanes side by side, on one store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::UsageError;
use super::redrive::{http, pipeline};
use crate::clock::Surroundings;
use crate::config::{self, Settings};
use crate::connection::Sealer;
use crate::connection::accounts::SealedAccounts;
use crate::connection::connecting::Connecting;
use crate::consumer::{self, Consumer, ConsumerOptions, KafkaOptions, Status};
use crate::emit::backoff::Backoff;
use crate::emit::drift::Policy;
use crate::emit::limits::{Limit, Limits, Rate};
use crate::emit::{EmitOptions, Emitter, RepairOptions};
use crate::ops::connect::{Addresses, Connect};
use crate::ops::health::Health;
use crate::ops::metrics::{self, Metrics};
use crate::ops::{self, Ops};
use crate::store::{Gate, Installation, Store};
use crate::telemetry::traces;

/// Longer than any calendar's listing was seen to be behind; sweeps are hours apart.
const LISTING_LAG: Duration = Duration::from_mins(5);
/// How often the outbox is measured against its limit.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);

/// What others see of a worker, or tell it.
#[derive(Clone)]
pub struct Shared {
    /// Where reading stands.
    pub status: Arc<Status>,
    /// What was done.
    pub metrics: Arc<Metrics>,
    /// Something became due.
    pub wake: Arc<Notify>,
    /// Whether it is alive, and ready.
    pub health: Arc<Health>,
}

impl Shared {
    /// Of a worker that has begun nothing yet.
    pub fn new(surroundings: &Surroundings) -> Self {
        let status = Arc::<Status>::default();
        let health = Arc::new(Health::new(surroundings.clone(), Arc::clone(&status)));
        Self { status, metrics: Arc::default(), wake: Arc::default(), health }
    }
}

/// Opens the HTTP port.
///
/// # Errors
/// Where it cannot be had.
pub async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    ops::listen(settings.ops.listen)
        .await
        .context("cannot serve metrics and endpoints: set ops.listen (OPS_LISTEN) to another port")
}

/// What is answered on it, once the database is open.
///
/// # Errors
/// Where the settings do not do.
pub fn ops(
    settings: &Settings,
    store: &Arc<dyn Store>,
    installation: &Installation,
    surroundings: &Surroundings,
    shared: &Shared,
) -> anyhow::Result<Ops> {
    shared.health.opened(Arc::clone(store));
    Ok(Ops {
        store: Arc::clone(store),
        metrics: Arc::clone(&shared.metrics),
        health: Arc::clone(&shared.health),
        status: Arc::clone(&shared.status),
        surroundings: surroundings.clone(),
        gate: settings.emit.gate.clone(),
        admin_token: settings.ops.admin_token.clone().map(Arc::new),
        connect: connect(settings, installation, surroundings)?.map(Arc::new),
        wake: Arc::clone(&shared.wake),
    })
}

/// What hosts connect their calendars by, where browsers can reach it.
fn connect(
    settings: &Settings,
    installation: &Installation,
    surroundings: &Surroundings,
) -> anyhow::Result<Option<Connect>> {
    let Some(public_url) = settings.connect.public_url.clone() else {
        return Ok(None);
    };
    let (http, oauth) = (http(settings, surroundings)?, settings.oauth.clone());
    let connecting = Connecting::new(http, oauth, surroundings.clone());
    let horizon = settings.content.horizon_of(installation.installed_at);
    let return_origins = settings.connect.return_origins.clone();
    Ok(Some(Connect::new(
        connecting,
        sealer(&settings.secrets)?,
        (installation.clone(), horizon),
        Addresses { public_url, return_origins },
        surroundings.clone(),
    )))
}

/// Reads the topic and serves lanes until `stop` is cancelled, and ends when both have finished
/// what they had begun.
pub async fn work(
    settings: &Settings,
    store: Arc<dyn Store>,
    installation: &Installation,
    surroundings: &Surroundings,
    shared: Shared,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Shared { status, metrics, wake, health: _ } = shared;
    let (tracer, exporting) = traces::start(&settings.telemetry, surroundings, metrics.untraced());
    let pipeline = pipeline(settings, Arc::clone(&store), installation, surroundings)?;
    let group = settings.kafka.group.clone();
    let pipeline = pipeline.waking(Arc::clone(&wake)).metered(Arc::clone(&metrics) as _);
    let pipeline = pipeline.traced(tracer.clone(), group);
    let pipeline = Arc::new(pipeline);
    let gate = settings.emit.gate.clone();
    // Without sending, no credentials are opened: there need be no key for them.
    let emitter = if gate.enabled {
        let sealer = sealer(&settings.secrets)?;
        let accounts = SealedAccounts::new(
            sealer,
            http(settings, surroundings)?,
            settings.oauth.clone(),
            surroundings.clone(),
        );
        let accounts = Arc::new(accounts);
        let (store, options) = (Arc::clone(&store), emit_options(settings));
        let emitter = Emitter::new(store, accounts, options, surroundings.clone(), wake);
        Some(Arc::new(emitter.metered(Arc::clone(&metrics) as _).traced(tracer)))
    } else {
        None
    };
    let (hold, held) = watch::channel(false);
    let reading = Consumer {
        options: consumer_options(settings),
        store: Arc::clone(&store),
        sink: pipeline,
        surroundings: surroundings.clone(),
        status,
        hold: held,
        stop: stop.clone(),
    };
    // Whichever ends first ends the others: a worker that only reads, or only sends, is half dead.
    let guard = stop.clone().drop_guard();
    let (read, (), (), ()) = tokio::join!(
        async {
            let ended = reading.run().await;
            drop(guard);
            ended
        },
        async {
            if let Some(emitter) = emitter {
                emitter.run(stop.clone()).await;
            }
        },
        watch_backlog(store.as_ref(), &gate, settings.ingest.outbox_limit, &hold, &stop),
        keep_metrics(store.as_ref(), &metrics, &stop),
    );
    if let Some(exporting) = exporting {
        exporting.end().await;
    }
    read.context("reading the topic ended")
}

/// What opens the connections' credentials.
///
/// # Errors
/// Where no key is set, and how to set one.
pub(super) fn sealer(secrets: &config::SecretSettings) -> Result<Sealer, UsageError> {
    Sealer::from_settings(secrets)
        .map_err(|error| UsageError(format!("{error}: set SECRETS_KEY or SECRETS_KEY_FILE")))
}

/// Holds the reading while the outbox is behind its limit, until half of it is sent.
async fn watch_backlog(
    store: &dyn Store,
    gate: &Gate,
    limit: u32,
    hold: &watch::Sender<bool>,
    stop: &CancellationToken,
) {
    while stop.run_until_cancelled(tokio::time::sleep(BACKLOG_INTERVAL)).await.is_some() {
        match store.backlog(gate, limit).await {
            Ok(backlog) => {
                let holding = *hold.borrow();
                let holds = if holding { backlog > limit / 2 } else { backlog >= limit };
                if holds != holding {
                    tracing::warn!(backlog, limit, holds, "the outbox crossed its limit");
                    hold.send_replace(holds);
                }
            }
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the outbox could not be measured"
            ),
        }
    }
}

/// Asks the database now and then for what it alone can count. While it is away, what it said last stands.
async fn keep_metrics(store: &dyn Store, metrics: &Metrics, stop: &CancellationToken) {
    loop {
        // It says itself, now and then, that it is away.
        drop(stop.run_until_cancelled(metrics::refresh(store, metrics)).await);
        let pause = tokio::time::sleep(metrics::REFRESH_INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

fn emit_options(settings: &Settings) -> EmitOptions {
    let emit = &settings.emit;
    EmitOptions {
        gate: emit.gate.clone(),
        lanes_max: emit.lanes_max,
        lane_concurrency: emit.lane_concurrency,
        claim_batch: emit.claim_batch,
        lease: emit.lease,
        call_timeout: emit.call_timeout,
        idle: emit.idle,
        backoff: Backoff { delay_min: emit.backoff_min, delay_max: emit.backoff_max },
        rejections_max: i32::try_from(emit.rejections_max).unwrap_or(i32::MAX),
        verify_after: emit.verify_after.clone(),
        repair: RepairOptions {
            policy: match settings.repair.policy {
                config::RepairPolicy::Repair => Policy::Repair,
                config::RepairPolicy::Report => Policy::Report,
                config::RepairPolicy::Leave => Policy::Leave,
            },
            interval: settings.repair.interval,
            halt_share: settings.repair.halt_share,
            listing_lag: LISTING_LAG,
        },
        limits: limits(settings),
    }
}

/// How often calendars are asked.
pub(super) fn limits(settings: &Settings) -> Limits {
    Limits {
        google: limit(settings.limits.google),
        microsoft: limit(settings.limits.microsoft),
        caldav: limit(settings.limits.caldav),
    }
}

fn limit(given: config::PerMinute) -> Limit {
    Limit {
        connection: Rate::per_minute(given.connection),
        application: Rate::per_minute(given.application),
    }
}

fn consumer_options(settings: &Settings) -> ConsumerOptions {
    let given = &settings.kafka;
    let kafka = KafkaOptions {
        protocol: match given.group_protocol {
            config::GroupProtocol::Classic => consumer::GroupProtocol::Classic,
            config::GroupProtocol::Consumer => consumer::GroupProtocol::Consumer,
        },
        session_timeout: given.session_timeout,
        max_poll_interval: given.max_poll_interval,
        properties: properties(given),
        ..KafkaOptions::new(given.brokers.clone(), given.group.clone())
    };
    ConsumerOptions {
        start_from: match given.start_from {
            config::StartFrom::Earliest => consumer::StartFrom::Earliest,
            config::StartFrom::Latest => consumer::StartFrom::Latest,
        },
        batch_max: settings.ingest.batch_max,
        linger: settings.ingest.linger,
        // A third of the deadline to finish batches, a third to leave the group; the rest is air.
        drain_timeout: settings.shutdown_deadline / 3,
        close_timeout: settings.shutdown_deadline / 3,
        ..ConsumerOptions::new(kafka, given.topic.clone())
    }
}

/// What librdkafka is told beside what the consumer sets itself.
fn properties(given: &config::KafkaSettings) -> BTreeMap<String, SecretString> {
    let ours = |(name, _): &(String, String)| name != "bootstrap.servers";
    let secret = |(name, value): (String, String)| (name, SecretString::from(value));
    given.connection_properties().into_iter().filter(ours).map(secret).collect()
}
