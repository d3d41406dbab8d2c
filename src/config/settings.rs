//! The settings as types that cannot be wrong, and how each is read from its key.

use std::net::SocketAddr;
use std::time::Duration;

use booking::content::{Rules, Template};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::checks;
use super::connect::ConnectSettings;
use super::error::SettingErrors;
use super::given::Given;
use super::http::HttpSettings;
use super::kafka::KafkaSettings;
use super::limits::LimitSettings;
use super::oauth::OauthSettings;
use super::reader::Reader;
use super::secrets::SecretSettings;
use super::telemetry::TelemetrySettings;
use crate::store::Gate;

/// Everything that one can set.
#[derive(Debug)]
pub struct Settings {
    /// The broker.
    pub kafka: KafkaSettings,
    /// The Schema Registry, if there is one.
    pub registry: Option<RegistrySettings>,
    /// The database.
    pub store: StoreSettings,
    /// Reading.
    pub ingest: IngestSettings,
    /// Sending.
    pub emit: EmitSettings,
    /// How often calendars are asked.
    pub limits: LimitSettings,
    /// Where calendars may be.
    pub http: HttpSettings,
    /// What is otherwise in a calendar than we left it.
    pub repair: RepairSettings,
    /// What calendars show.
    pub content: ContentSettings,
    /// What the database's installation must be (rule R17); `None`: whatever it is.
    pub installation: Option<Uuid>,
    /// What seals credentials.
    pub secrets: SecretSettings,
    /// As whom access is renewed.
    pub oauth: OauthSettings,
    /// Where browsers go while hosts connect their calendars.
    pub connect: ConnectSettings,
    /// What is served over HTTP.
    pub ops: OpsSettings,
    /// How long a stopping worker may take.
    pub shutdown_deadline: Duration,
    /// Logging.
    pub log: LogSettings,
    /// Traces.
    pub telemetry: TelemetrySettings,
    /// What is allowed and yet probably not meant: to be logged at start.
    pub warnings: Vec<String>,
}

/// The Schema Registry.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Its address.
    pub url: Url,
    /// Basic authentication, if it asks for it.
    pub credentials: Option<(String, SecretString)>,
}

/// The database.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `postgres://…`, `sqlite:path` or `sqlite::memory:`; holds a password.
    pub url: SecretString,
    /// Which of them.
    pub backend: Backend,
    /// Connections at most.
    pub pool_max: u32,
    /// After how long the database gives up a statement.
    pub statement_timeout: Duration,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// PostgreSQL.
    Postgres,
    /// SQLite, a file or memory.
    Sqlite,
}

/// Reading.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Records in one transaction at most.
    pub batch_max: usize,
    /// How long a batch waits for more.
    pub linger: Duration,
    /// Effects owed at which reading pauses.
    pub outbox_limit: u32,
}

/// Sending.
#[derive(Debug, Clone)]
pub struct EmitSettings {
    /// What may be sent at all (rule R8).
    pub gate: Gate,
    /// Connections served at once.
    pub lanes_max: usize,
    /// Calls in flight on one of them.
    pub lane_concurrency: usize,
    /// Effects that a lane takes up at once.
    pub claim_batch: u32,
    /// How long a connection is held.
    pub lease: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long reaching a calendar may take.
    pub connect_timeout: Duration,
    /// How often an idle worker looks for work.
    pub idle: Duration,
    /// The first wait after a failed call.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Refusals after which an effect is a dead letter.
    pub rejections_max: u32,
    /// When an open attempt is looked up again (rule R14); at least one.
    pub verify_after: Vec<Duration>,
}

/// What is otherwise in a calendar than we left it (rule R20).
#[derive(Debug, Clone)]
pub struct RepairSettings {
    /// What is done about what a host did by hand.
    pub policy: RepairPolicy,
    /// How often a calendar is swept; `None`: never.
    pub interval: Option<Duration>,
    /// From so many hundredths of its events gone on, repair halts.
    pub halt_share: u32,
}

/// What is done about what a host did by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairPolicy {
    /// It is overruled.
    Repair,
    /// It is left, and told.
    Report,
    /// It is left.
    Leave,
}

/// What calendars show.
#[derive(Debug, Clone)]
pub struct ContentSettings {
    /// The domain of UIDs that we derive ourselves.
    pub uid_domain: String,
    /// The title.
    pub title: Template,
    /// The longer text.
    pub description: Template,
    /// The place.
    pub location: Template,
    /// Whether a PENDING booking is shown as tentative.
    pub pending_as_tentative: bool,
    /// As set; see [`ContentSettings::horizon_of`].
    pub horizon: Option<DateTime<Utc>>,
}

impl ContentSettings {
    /// Bookings that ended before this are never put in a calendar (rule R21): as set, or one day
    /// before the installation.
    pub fn horizon_of(&self, installed_at: DateTime<Utc>) -> DateTime<Utc> {
        let day_before =
            installed_at.checked_sub_signed(TimeDelta::days(1)).unwrap_or(installed_at);
        self.horizon.unwrap_or(day_before)
    }

    /// The rules that folding renders by, in an installation of that age.
    pub fn rules(&self, installed_at: DateTime<Utc>) -> Rules {
        Rules {
            uid_domain: self.uid_domain.clone(),
            summary: self.title.clone(),
            description: self.description.clone(),
            location: self.location.clone(),
            pending_is_tentative: self.pending_as_tentative,
            horizon: self.horizon_of(installed_at),
        }
    }
}

/// What is served over HTTP.
#[derive(Debug, Clone)]
pub struct OpsSettings {
    /// Where.
    pub listen: SocketAddr,
    /// What opens the administrator's endpoints.
    pub admin_token: Option<SecretString>,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// A filter of `tracing-subscriber`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// Understands what was given: all of it, or every error.
    pub fn parse(given: &Given) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(given);
        let settings = Self::read(&mut reader);
        reader.finish(settings)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut settings = Self {
            kafka: KafkaSettings::read(reader),
            registry: registry(reader),
            store: store(reader),
            ingest: IngestSettings {
                batch_max: reader.count("ingest.batch_max"),
                linger: reader.millis("ingest.linger_ms"),
                outbox_limit: reader.number32("outbox.limit"),
            },
            emit: emit(reader),
            limits: LimitSettings::read(reader),
            http: HttpSettings::read(reader),
            repair: repair(reader),
            content: ContentSettings {
                uid_domain: reader.domain("content.uid_domain"),
                title: reader.template("content.title"),
                description: reader.template("content.description"),
                location: reader.template("content.location"),
                pending_as_tentative: reader.flag("content.pending_as_tentative"),
                horizon: reader.moment("content.horizon"),
            },
            installation: reader.uuid("installation.id"),
            secrets: SecretSettings::read(reader),
            oauth: OauthSettings::read(reader),
            connect: ConnectSettings::read(reader),
            ops: OpsSettings::read(reader),
            shutdown_deadline: reader.seconds("shutdown.deadline_s"),
            log: LogSettings::read(reader),
            telemetry: TelemetrySettings::read(reader),
            warnings: Vec::new(),
        };
        checks::across(reader, &settings);
        settings.warnings = checks::warnings(reader, &settings);
        settings
    }
}

impl OpsSettings {
    /// Only these, for who asks a worker how it is.
    pub fn parse(given: &Given) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(given);
        let ops = Self::read(&mut reader);
        reader.finish(ops)
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        Self { listen: reader.listen("ops.listen"), admin_token: reader.token("ops.admin_token") }
    }
}

impl LogSettings {
    /// Only these, for what is logged before or without the rest.
    pub fn parse(given: &Given) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(given);
        let log = Self::read(&mut reader);
        reader.finish(log)
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            format: reader
                .choice("log.format", [LogFormat::Json, LogFormat::Text])
                .unwrap_or(LogFormat::Text),
            level: reader.log_filter("log.level"),
        }
    }
}

fn registry(reader: &mut Reader<'_>) -> Option<RegistrySettings> {
    let url = reader.url("registry.url");
    let username = reader.optional_text("registry.username");
    let password = reader.secret("registry.password");
    checks::registry(reader, url.is_some(), username.is_some(), password.is_some());
    Some(RegistrySettings { url: url?, credentials: username.zip(password) })
}

fn store(reader: &mut Reader<'_>) -> StoreSettings {
    let (url, backend) = reader.store_url("store.url");
    StoreSettings {
        url,
        backend,
        pool_max: reader.number32("store.pool_max"),
        statement_timeout: reader.millis("store.statement_timeout_ms"),
    }
}

fn emit(reader: &mut Reader<'_>) -> EmitSettings {
    EmitSettings {
        gate: Gate {
            enabled: reader.only_true("emit.enabled"),
            providers: reader.uuids("emit.provider_ids"),
            connections: reader.uuids("emit.connection_ids"),
        },
        lanes_max: reader.count("emit.lanes_max"),
        lane_concurrency: reader.count("emit.lane_concurrency"),
        claim_batch: reader.number32("emit.claim_batch"),
        lease: reader.seconds("emit.lease_s"),
        call_timeout: reader.seconds("emit.call_timeout_s"),
        connect_timeout: reader.seconds("emit.connect_timeout_s"),
        idle: reader.millis("emit.idle_ms"),
        backoff_min: reader.millis("emit.backoff_min_ms"),
        backoff_max: reader.seconds("emit.backoff_max_s"),
        rejections_max: reader.number32("emit.rejections_max"),
        verify_after: reader.rising_seconds("emit.verify_after_s"),
    }
}

fn repair(reader: &mut Reader<'_>) -> RepairSettings {
    let policies = [RepairPolicy::Repair, RepairPolicy::Report, RepairPolicy::Leave];
    RepairSettings {
        policy: reader.choice("repair.policy", policies).unwrap_or(RepairPolicy::Report),
        interval: Some(reader.seconds("repair.interval_s")).filter(|every| !every.is_zero()),
        halt_share: reader.number32("repair.halt_share"),
    }
}
