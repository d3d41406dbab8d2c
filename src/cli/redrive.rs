//! Sends a record's dead letter through the pipeline again.

use std::sync::Arc;

use anyhow::Context as _;

use crate::calendar::http::{Guard, Http, HttpOptions, Reach};
use crate::clock::Surroundings;
use crate::config::{HttpSettings, Settings};
use crate::pipeline::Pipeline;
use crate::pipeline::redrive::Redriven;
use crate::pipeline::schemas::{NoRegistry, Schemas};
use crate::registry::Registry;
use crate::store::{Installation, Store};

/// The pipeline of these settings: the registry, if there is one, and the rules of the content.
pub fn pipeline(
    settings: &Settings,
    store: Arc<dyn Store>,
    installation: &Installation,
    surroundings: &Surroundings,
) -> anyhow::Result<Pipeline> {
    let rules = settings.content.rules(installation.installed_at);
    let schemas: Arc<dyn Schemas> = match &settings.registry {
        None => Arc::new(NoRegistry),
        Some(registry) => {
            // Its address is a setting: it may be anywhere.
            let http = client(settings, surroundings, Reach::Anywhere)?;
            let credentials = registry.credentials.clone();
            let clock = Arc::clone(&surroundings.clock);
            Arc::new(Registry::new(http, registry.url.clone(), credentials, clock))
        }
    };
    Ok(Pipeline::new(store, schemas, rules, surroundings.clone()))
}

/// The client that asks calendars, with the settings' bounds.
pub fn http(settings: &Settings, surroundings: &Surroundings) -> anyhow::Result<Http> {
    let HttpSettings { networks, roots } = settings.http.clone();
    let guard = Guard { roots, ..Guard::of(networks) };
    client(settings, surroundings, Reach::Guarded(guard))
}

fn client(settings: &Settings, surroundings: &Surroundings, reach: Reach) -> anyhow::Result<Http> {
    let options = HttpOptions {
        call_timeout: settings.emit.call_timeout,
        connect_timeout: settings.emit.connect_timeout,
        proxy_from_environment: true,
        reach,
        clock: Arc::clone(&surroundings.clock),
    };
    Http::new(options).context("cannot build the HTTP client")
}

/// Decodes, folds and plans the record of the dead letter `id` as if it were read now, and commits
/// what that does together with the dead letter's end. Answers what became of it, in words; an
/// error leaves it open. A record that is older than what its booking has seen does nothing.
pub async fn redrive_record(pipeline: &Pipeline, id: i64) -> anyhow::Result<String> {
    Ok(match pipeline.redrive(id).await? {
        Redriven::Folded(decision) => format!("redriven: {decision}"),
        Redriven::Nothing => "redriven: a tombstone, which does nothing".to_owned(),
        Redriven::Due => "redriven: its effect is due again".to_owned(),
    })
}
