//! What is wrong with the settings: everything at once, each by its key, with what is allowed.

use std::fmt;
use std::path::PathBuf;

use super::given::Source;
use super::table::{Allowed, Key};
use crate::telemetry::export::END_MAX;

/// One thing that is wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: not TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says; never the line itself, which may hold a secret.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{name} ({origin}) is not a setting{}", suggested(.nearest.as_deref()))]
    Unknown {
        /// As it was written.
        name: String,
        /// Where it stands.
        origin: Source,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value that is not allowed.
    #[error("{key} ({origin}) {problem}; allowed: {allowed}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Where the value stands.
        origin: Source,
        /// What is wrong with it.
        problem: String,
        /// What is allowed.
        allowed: Allowed,
    },
    /// A value that must be given and is not.
    #[error("{key} is missing: set {variable}, or {key} in the settings file; allowed: {allowed}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Its environment variable.
        variable: String,
        /// What is allowed.
        allowed: Allowed,
    },
    /// A property of librdkafka that is not to be given.
    #[error("{name} ({origin}) cannot be passed on: {why}")]
    Property {
        /// As it was written.
        name: String,
        /// Where it stands.
        origin: Source,
        /// Why not, and what to use.
        why: String,
    },
    /// TLS or SASL in a binary without it.
    #[error(
        "kafka.security_protocol ({protocol}) needs a binary built with the Cargo feature kafka-tls; this one allows: `plaintext`"
    )]
    KafkaTls {
        /// What was asked for.
        protocol: &'static str,
    },
    /// A key that is needed because of another.
    #[error("{key} is needed: {because}")]
    Needed {
        /// The key.
        key: &'static str,
        /// Why.
        because: &'static str,
    },
    /// A key that makes no sense beside another.
    #[error("{key} cannot be used: {because}")]
    Idle {
        /// The key.
        key: &'static str,
        /// Why.
        because: &'static str,
    },
    /// A lease must outlive its calls (rule R10).
    #[error(
        "emit.lease_s ({lease_s}) must be more than twice emit.call_timeout_s ({call_timeout_s})"
    )]
    LeaseTooShort {
        /// As set.
        lease_s: u64,
        /// As set.
        call_timeout_s: u64,
    },
    /// Connecting is part of a call.
    #[error(
        "emit.connect_timeout_s ({connect_timeout_s}) must not be more than emit.call_timeout_s ({call_timeout_s})"
    )]
    ConnectTooLong {
        /// As set.
        connect_timeout_s: u64,
        /// As set.
        call_timeout_s: u64,
    },
    /// The first wait is not the longest.
    #[error(
        "emit.backoff_min_ms ({backoff_min_ms}) must not be more than emit.backoff_max_s ({backoff_max_s} s)"
    )]
    BackoffUpsideDown {
        /// As set.
        backoff_min_ms: u64,
        /// As set.
        backoff_max_s: u64,
    },
    /// librdkafka demands it.
    #[error(
        "kafka.max_poll_interval_ms ({max_poll_interval_ms}) must not be less than kafka.session_timeout_ms ({session_timeout_ms})"
    )]
    PollTooShort {
        /// As set.
        max_poll_interval_ms: u64,
        /// As set.
        session_timeout_ms: u64,
    },
    /// A stop must leave time for the answers of calls under way.
    #[error(
        "shutdown.deadline_s ({deadline_s}) must be more than emit.call_timeout_s ({call_timeout_s})"
    )]
    DeadlineTooShort {
        /// As set.
        deadline_s: u64,
        /// As set.
        call_timeout_s: u64,
    },
    /// And for the traces of them.
    #[error(
        "shutdown.deadline_s ({deadline_s}) must be more than {} s longer than emit.call_timeout_s \
         ({call_timeout_s}), as telemetry.endpoint is set: the last traces take so long",
        END_MAX.as_secs()
    )]
    NoTimeForTraces {
        /// As set.
        deadline_s: u64,
        /// As set.
        call_timeout_s: u64,
    },
}

impl SettingError {
    pub(super) fn invalid(key: &'static Key, origin: Source, problem: String) -> Self {
        Self::Invalid { key: key.name, origin, problem, allowed: key.allowed }
    }

    pub(super) fn missing(key: &'static Key) -> Self {
        Self::Missing { key: key.name, variable: key.variable(), allowed: key.allowed }
    }
}

fn suggested(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// Everything that is wrong.
#[derive(Debug)]
pub struct SettingErrors(pub Vec<SettingError>);

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "a setting is wrong: {one}"),
            several => {
                write!(f, "{} settings are wrong:", several.len())?;
                several.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for SettingErrors {}
