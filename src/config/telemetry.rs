//! Where traces go, and which. The environment variables are OpenTelemetry's own
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use url::Url;

use super::reader::Reader;
use super::table::{Allowed, Key, key};

/// Where traces go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetrySettings {
    /// The collector; `None`: there are no traces.
    pub endpoint: Option<Url>,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// Which traces are recorded.
    pub sampler: TraceSampler,
    /// The share that is, where the sampler asks for one.
    pub ratio: f64,
    /// The name that we go by.
    pub service_name: String,
    /// What else is said of this process, in order.
    pub attributes: Vec<(String, String)>,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over HTTP, in Protobuf.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSampler {
    /// A share of those that begin here; of the others those whose beginning was.
    ParentRatio,
    /// All that begin here; of the others those whose beginning was.
    ParentOn,
    /// None that begin here; of the others those whose beginning was.
    ParentOff,
    /// A share of all.
    Ratio,
    /// All.
    On,
    /// None.
    Off,
}

impl TelemetrySettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        use TraceSampler::{Off, On, ParentOff, ParentOn, ParentRatio, Ratio};
        let samplers = [ParentRatio, ParentOn, ParentOff, Ratio, On, Off];
        Self {
            endpoint: reader.url("telemetry.endpoint"),
            protocol: reader
                .choice("telemetry.protocol", [OtlpProtocol::Http, OtlpProtocol::Grpc])
                .unwrap_or(OtlpProtocol::Http),
            sampler: reader.choice("telemetry.sampler", samplers).unwrap_or(ParentRatio),
            ratio: reader.share("telemetry.sampler_arg"),
            service_name: reader.text("telemetry.service_name"),
            attributes: reader.pairs("telemetry.resource_attributes"),
        }
    }
}

/// The settings.
pub(super) const TELEMETRY: &[Key] = &[
    key(
        "telemetry.endpoint",
        Allowed::HttpUrl,
        None,
        "Where traces are sent, by OTLP: as in `http://jaeger:4318`. Without it there are none.",
    )
    .legacy("OTEL_EXPORTER_OTLP_ENDPOINT"),
    key(
        "telemetry.protocol",
        Allowed::OneOf(&["http/protobuf", "grpc"]),
        Some("http/protobuf"),
        "How: usually on port 4318, or with `grpc` on 4317.",
    )
    .legacy("OTEL_EXPORTER_OTLP_PROTOCOL"),
    key(
        "telemetry.sampler",
        Allowed::OneOf(&[
            "parentbased_traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "traceidratio",
            "always_on",
            "always_off",
        ]),
        Some("parentbased_traceidratio"),
        "Which traces are recorded; `parentbased_…`: those that the booking service has recorded, \
         and of its other records none.",
    )
    .legacy("OTEL_TRACES_SAMPLER"),
    key(
        "telemetry.sampler_arg",
        Allowed::Share,
        Some("1"),
        "The share of the traces that begin here, with a sampler that takes one.",
    )
    .legacy("OTEL_TRACES_SAMPLER_ARG"),
    key(
        "telemetry.service_name",
        Allowed::Text,
        Some("calendar-sync"),
        "The name of the service in its traces.",
    )
    .legacy("OTEL_SERVICE_NAME"),
    key(
        "telemetry.resource_attributes",
        Allowed::Pairs,
        Some(""),
        "What else its traces say of a process, as in `k8s.namespace.name=booking,k8s.pod.name=…` from \
         Kubernetes' Downward API. `service.name`, `service.version` and `service.instance.id` are \
         there anyway.",
    )
    .legacy("OTEL_RESOURCE_ATTRIBUTES"),
];

#[cfg(test)]
mod tests {
    use super::super::value::{pairs, share};

    #[test]
    fn attributes_are_read_as_opentelemetry_writes_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("k8s.pod.name=calendar-sync-7f9c, team=a%2Cb%3D%C3%BC,empty="),
            Ok(vec![
                pair("k8s.pod.name", "calendar-sync-7f9c"),
                pair("team", "a,b=ü"),
                pair("empty", ""),
            ])
        );
        assert_eq!(pairs(" "), Ok(Vec::new()));
        for wrong in ["a", "a=b,", "=b", "a=%", "a=%4", "a=%zz", "a=%ff", "a=%0a"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
        assert!(pairs(&vec!["a=b"; 65].join(",")).is_err());
    }

    #[test]
    fn a_share_is_from_0_to_1() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for wrong in ["", "-0.1", "1.01", "NaN", "inf", "half"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
