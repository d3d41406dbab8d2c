//! The same events as a booking service publishes them that has traces.

use std::net::TcpListener;
use std::sync::Arc;

use calendar_sync::clock::Surroundings;
use calendar_sync::config::{OtlpProtocol, TelemetrySettings, TraceSampler};
use calendar_sync::consumer::RawRecord;
use calendar_sync::telemetry::export::{Counters, Exporting};
use calendar_sync::telemetry::tracer::Tracer;
use calendar_sync::telemetry::traces;
use calendar_sync::trace_parent::HEADER;

/// Which traces there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traces {
    /// None.
    No,
    /// Each event comes in one, which is stored with its effect; nothing is recorded.
    Carried,
    /// Each is recorded here, all of them, and the collector is down: the worst case.
    Recorded,
}

impl Traces {
    /// The name of the pipeline with them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "pipeline",
            Self::Carried => "…with context",
            Self::Recorded => "…all recorded",
        }
    }

    /// The log as it is then.
    pub(crate) fn of(self, log: &Arc<Vec<Vec<RawRecord>>>) -> Arc<Vec<Vec<RawRecord>>> {
        if self == Self::No {
            return Arc::clone(log);
        }
        let mut log = log.as_ref().clone();
        for (number, record) in log.iter_mut().flatten().enumerate() {
            let number = number + 1;
            let text = format!("00-{number:032x}-{number:016x}-01");
            record.headers.push((HEADER.to_owned(), Some(text.into_bytes())));
        }
        Arc::new(log)
    }

    /// What records them.
    pub(crate) fn tracer(self) -> (Tracer, Option<Exporting>) {
        if self != Self::Recorded {
            return (Tracer::default(), None);
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let down = free.expect("there is a free port, and nobody on it now");
        let settings = TelemetrySettings {
            endpoint: Some(format!("http://{down}").parse().expect("a URL")),
            protocol: OtlpProtocol::Http,
            sampler: TraceSampler::ParentOn,
            ratio: 1.0,
            service_name: "calendar-sync".to_owned(),
            attributes: Vec::new(),
        };
        traces::start(&settings, &Surroundings::real(), Counters::default())
    }
}
