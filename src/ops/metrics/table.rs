//! Every metric, once: its name, its labels, and what it says. The registry and the README have them from
//! here.

use std::fmt::Write as _;

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name; a counter's ends in `_total`.
    pub name: &'static str,
    /// The names of its labels. None of them ever holds a booking, an event, a connection or a host.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Described {
    Described { name, labels, help }
}

/// All of them.
pub const ALL: &[Described] = &[
    metric(
        "calendar_sync_runs_total",
        &[],
        "Drains of a connection's outbox that found at least one effect due",
    ),
    metric(
        "calendar_sync_failures_total",
        &[],
        "Calls that a calendar refused, or did not answer in a way that settles them",
    ),
    metric("calendar_sync_items_processed", &[], "Effects that a calendar has acknowledged"),
    metric("calendar_sync_latency_ms", &[], "How long such a drain took, in milliseconds"),
    metric(
        "calendar_sync_records_consumed_total",
        &["partition"],
        "Records that are committed to the cursor",
    ),
    metric(
        "calendar_sync_consumer_lag_records",
        &["partition"],
        "Offsets between the cursor and the log end",
    ),
    metric(
        "calendar_sync_consumer_lag_seconds",
        &["partition"],
        "How long the oldest record that is not committed yet has been in the log; 0: there is none",
    ),
    metric(
        "calendar_sync_partitions_assigned",
        &[],
        "Partitions that Kafka has assigned to this process",
    ),
    metric(
        "calendar_sync_partitions_paused",
        &[],
        "Those of them that take in nothing for now: the outbox is behind its limit, or as much waits for the database as may (so it is for moments while a backlog is read)",
    ),
    metric(
        "calendar_sync_partitions_stopped",
        &[],
        "Those of them whose log is not the one that was read: they wait for an operator",
    ),
    metric(
        "calendar_sync_topic_partitions",
        &[],
        "Partitions of the topic, as this process saw them last; nothing until it has",
    ),
    metric(
        "calendar_sync_rebalances_total",
        &[],
        "Times that Kafka changed what is assigned to this process",
    ),
    metric(
        "calendar_sync_partitions_lost_total",
        &[],
        "Partitions that the group had given away before this process knew",
    ),
    metric(
        "calendar_sync_fence_refusals_total",
        &["place"],
        "Times that another owner's fence refused this process, by what it was about to do: a partition's commit, look, note_log, stop; a lane's lease, record",
    ),
    metric(
        "calendar_sync_dead_letters_total",
        &["class"],
        "Records and effects that became dead letters",
    ),
    metric(
        "calendar_sync_effects_total",
        &["calendar_provider", "verb", "outcome"],
        "What became of effects: applied, already_applied (found so, by an earlier call), dead",
    ),
    metric(
        "calendar_sync_attempts_total",
        &["calendar_provider", "verb", "outcome"],
        "Calls that may write, by what their answer means: applied, already_applied, unknown, retry, rejected, unauthorised",
    ),
    metric(
        "calendar_sync_attempt_duration_seconds",
        &["calendar_provider", "verb"],
        "How long such a call took",
    ),
    metric(
        "calendar_sync_publish_to_applied_seconds",
        &["calendar_provider"],
        "From when an event was published (where an earlier one of its booking was on its way then: from when that was sent) until the calendar had acknowledged what it asked for",
    ),
    metric(
        "calendar_sync_rate_limit_waits_total",
        &["calendar_provider", "limit"],
        "Times that calls were withheld: by the limit of a connection or of the application, or because the calendar asked for it (retry_after)",
    ),
    metric(
        "calendar_sync_rate_limit_wait_seconds_total",
        &["calendar_provider", "limit"],
        "For how long, all in all",
    ),
    metric(
        "calendar_sync_token_refreshes_total",
        &["outcome"],
        "Times that new access to an account was asked for, by what came of it",
    ),
    metric(
        "calendar_sync_drift_total",
        &["kind"],
        "Events found otherwise in a calendar than we left them, and left so",
    ),
    metric(
        "calendar_sync_repairs_total",
        &["kind"],
        "Events found otherwise in a calendar than we left them, and put right",
    ),
    metric(
        "calendar_sync_sweeps_halted_total",
        &[],
        "Sweeps that halted because too many events were gone",
    ),
    metric(
        "calendar_sync_connections_parked_total",
        &[],
        "Connections that began to wait for a person",
    ),
    metric(
        "calendar_sync_database_counted_timestamp_seconds",
        &[],
        "When what every process says of the database was last counted by this one, in Unix time; 0: never. Until it is counted again, the numbers stand as they were",
    ),
    metric(
        "calendar_sync_connections_filling",
        &[],
        "Connections that still lack some of the upcoming events that they are filled with; every process says the same of the database",
    ),
    metric(
        "calendar_sync_fill_events_left",
        &[],
        "Upcoming events that they lack; every process says the same of the database",
    ),
    metric(
        "calendar_sync_effects_pending",
        &["calendar_provider"],
        "Effects that calendars have not acknowledged yet, counted up to 100000; every process says the same of the database",
    ),
    metric(
        "calendar_sync_effects_waiting",
        &["calendar_provider"],
        "Those of them that are sent, counted up to 100000: not what is switched off, not on the allowlists, parked, stuck in a removal, or not adopted yet; every process with the same allowlists says the same of the database",
    ),
    metric(
        "calendar_sync_oldest_pending_age_seconds",
        &["calendar_provider"],
        "How long ago the event was published that asked for the oldest of those that are sent (of what none has asked for: since it could be sent; of more than 100000, the oldest of as many of them, and perhaps not of all); every process with the same allowlists says the same of the database",
    ),
    metric(
        "calendar_sync_attempts_open",
        &["calendar_provider"],
        "Events that are to be read once more because a call about them may still take effect, counted up to 100000; every process says the same of the database",
    ),
    metric(
        "calendar_sync_connections",
        &["calendar_provider", "state"],
        "Connections by their state (other: of a newer version); every process says the same of the database",
    ),
    metric(
        "calendar_sync_dead_letters_waiting",
        &["class"],
        "Dead letters that wait for a person (other: of a newer version), counted up to 100000; every process says the same of the database",
    ),
    metric(
        "calendar_sync_database_connections",
        &["state"],
        "Connections to the database that this process holds: idle, used",
    ),
    metric(
        "calendar_sync_database_connections_max",
        &[],
        "Connections to the database that this process may hold",
    ),
    metric(
        "calendar_sync_telemetry_spans_dropped_total",
        &[],
        "Spans that were recorded, and that no collector has taken",
    ),
    metric(
        "calendar_sync_telemetry_export_failures_total",
        &[],
        "Batches of spans that no collector has taken",
    ),
    metric("calendar_sync_build_info", &["version"], "1, with this program's version"),
];

/// What is told of a metric.
pub(super) fn described(name: &str) -> &'static Described {
    let found = ALL.iter().find(|described| described.name == name);
    found.unwrap_or_else(|| unreachable!("{name} is not in the table of metrics"))
}

/// Where the table begins in the README.
pub const MARKER_BEGIN: &str = "<!-- metrics: made from src/ops/metrics/table.rs, begin -->";
/// Where it ends.
pub const MARKER_END: &str = "<!-- metrics: end -->";

/// The table of the README.
pub fn table_markdown() -> String {
    let mut text = "| Metric | Labels | Meaning |\n|---|---|---|\n".to_owned();
    for Described { name, labels, help } in ALL {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{name}` | {} | {help}. |", labels.join(", "))
            .expect("a text takes any text");
    }
    text
}
