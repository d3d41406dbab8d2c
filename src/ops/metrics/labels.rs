//! The labels. Each is of a closed list, or a partition's number: no booking, event, connection or host.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::table::described;

/// A counter for each of some labels.
pub(super) type Counters<L> = Family<L, Counter>;
/// A gauge for each of some labels.
pub(super) type Gauges<L> = Family<L, Gauge>;

/// Registers a metric as the table describes it.
pub(super) fn register(registry: &mut Registry, name: &str, metric: impl Metric) {
    let described = described(name);
    // The encoder adds `_total` to a counter's name, and a full stop to the help.
    let name = described.name.strip_suffix("_total").unwrap_or(described.name);
    registry.register(name, described.help, metric);
}

/// Labels of one label set.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($label:ident: $of:ty),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(super) struct $name {
                $(pub(super) $label: $of,)*
            }
        )*
    };
}

labels! {
    /// What came of something.
    Outcome { outcome: &'static str }
    /// What a calendar showed otherwise.
    Kind { kind: &'static str }
    /// Of the topic.
    Partition { partition: i32 }
    /// What a fence refused.
    Place { place: &'static str }
    /// Of dead letters.
    Class { class: &'static str }
    /// Of a connection to the database.
    State { state: &'static str }
    /// Of this program.
    Version { version: &'static str }
    /// Whose calendars.
    Provider { calendar_provider: &'static str }
    /// Whose calendars, and how they are.
    ProviderState { calendar_provider: &'static str, state: &'static str }
    /// Whose calendars, and what is done there.
    ProviderVerb { calendar_provider: &'static str, verb: &'static str }
    /// The same, and what came of it.
    ProviderVerbOutcome {
        calendar_provider: &'static str,
        verb: &'static str,
        outcome: &'static str
    }
    /// Whose calendars, and what withholds calls.
    ProviderLimit { calendar_provider: &'static str, limit: &'static str }
    /// By which an observation is found again.
    Trace { trace_id: String }
}
