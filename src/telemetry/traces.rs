//! Traces, as the settings want them: which are recorded, what is said of this process, and how they
//! get to the collector.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter as _};
use url::Url;

use super::export::{Collector, Counters, EXPORT_MAX, Exporting};
use super::tracer::{LINKS_MAX, Tracer};
use crate::calendar::http::{Http, HttpError, HttpOptions, Reach};
use crate::clock::Surroundings;
use crate::config::{OtlpProtocol, TelemetrySettings, TraceSampler};

/// The name of the service where nobody gives another one.
const SERVICE: &str = "calendar-sync";

/// Why there are no traces though there are to be.
#[derive(Debug, thiserror::Error)]
enum TracesError {
    /// The exporter takes the settings, or OpenTelemetry's own environment variables, for wrong.
    #[error("cannot export traces")]
    Exporter(#[from] ExporterBuildError),
    /// There is no client.
    #[error("cannot export traces")]
    Http(#[from] HttpError),
}

/// Begins to record, if there is where to send it, and to count in `counters` what does not get there.
/// The task that sends runs on the runtime that this is called on. Where nothing can be sent, as by
/// OpenTelemetry's own environment variables, that is logged, and there are no traces: the work does not
/// wait for them.
pub fn start(
    settings: &TelemetrySettings,
    surroundings: &Surroundings,
    counters: Counters,
) -> (Tracer, Option<Exporting>) {
    let Some(endpoint) = &settings.endpoint else {
        return (Tracer::default(), None);
    };
    let exporter = match settings.protocol {
        OtlpProtocol::Grpc => over_grpc(endpoint).map_err(TracesError::from),
        OtlpProtocol::Http => over_http(endpoint, surroundings),
    };
    match exporter {
        Ok(exporter) => {
            let (tracer, exporting) = export_by(exporter, settings, surroundings, counters);
            (tracer, Some(exporting))
        }
        Err(error) => {
            tracing::error!(
                error_code = "traces_not_exported",
                error = &error as &dyn std::error::Error,
                "there are no traces; the work goes on"
            );
            (Tracer::default(), None)
        }
    }
}

fn export_by(
    mut exporter: SpanExporter,
    settings: &TelemetrySettings,
    surroundings: &Surroundings,
    counters: Counters,
) -> (Tracer, Exporting) {
    let resource = resource(settings, surroundings);
    exporter.set_resource(&resource);
    let (queue, exporting) = Exporting::begin(exporter, counters, Arc::clone(&surroundings.clock));
    let links_max = u32::try_from(LINKS_MAX).unwrap_or(u32::MAX);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(sampler(settings))
        .with_resource(resource)
        .with_max_links_per_span(links_max)
        .build();
    let scope = InstrumentationScope::builder(SERVICE).with_version(env!("CARGO_PKG_VERSION"));
    (Tracer::of(provider.tracer_with_scope(scope.build())), exporting)
}

/// What is said of this process. What the settings say beats what we know, but for the name of the
/// service: that has a variable of its own.
fn resource(settings: &TelemetrySettings, surroundings: &Surroundings) -> Resource {
    let instance = surroundings.dice.token().to_string();
    let mut attributes = vec![
        KeyValue::new("service.name", SERVICE),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    let given = settings.attributes.iter().cloned();
    attributes.extend(given.map(|(name, value)| KeyValue::new(name, value)));
    if settings.service_name != SERVICE {
        attributes.push(KeyValue::new("service.name", settings.service_name.clone()));
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

fn sampler(settings: &TelemetrySettings) -> Sampler {
    let share = || Sampler::TraceIdRatioBased(settings.ratio);
    let by_parent = |otherwise: Sampler| Sampler::ParentBased(Box::new(otherwise));
    match settings.sampler {
        TraceSampler::ParentRatio => by_parent(share()),
        TraceSampler::ParentOn => by_parent(Sampler::AlwaysOn),
        TraceSampler::ParentOff => by_parent(Sampler::AlwaysOff),
        TraceSampler::Ratio => share(),
        TraceSampler::On => Sampler::AlwaysOn,
        TraceSampler::Off => Sampler::AlwaysOff,
    }
}

/// TLS by the system's authorities, where the address asks for it.
fn over_grpc(endpoint: &Url) -> Result<SpanExporter, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str())
        .with_timeout(EXPORT_MAX);
    if endpoint.scheme() == "https" {
        let tls = ClientTlsConfig::new().with_enabled_roots();
        return exporter.with_tls_config(tls).build();
    }
    exporter.build()
}

/// Below the address is `v1/traces`, as OpenTelemetry has it for an address without a signal's name.
fn over_http(endpoint: &Url, surroundings: &Surroundings) -> Result<SpanExporter, TracesError> {
    let options = HttpOptions {
        call_timeout: EXPORT_MAX,
        connect_timeout: EXPORT_MAX,
        proxy_from_environment: true,
        reach: Reach::Anywhere,
        clock: Arc::clone(&surroundings.clock),
    };
    let base = endpoint.as_str().trim_end_matches('/');
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector(Http::new(options)?))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_timeout(EXPORT_MAX);
    Ok(exporter.build()?)
}
