//! The one list of settings: each key, its environment variable, its default, what it means and
//! what it may hold. Whoever adds a setting adds a line here and a field in [`super::settings`].

use super::connect::CONNECT;
use super::http::HTTP;
use super::limits::LIMITS;
use super::oauth::OAUTH;
use super::telemetry::TELEMETRY;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name: the path in the file.
    pub name: &'static str,
    /// Its environment variable, where that is not the name in capitals with `_` for `.`.
    pub legacy_variable: Option<&'static str>,
    /// What it may hold.
    pub allowed: Allowed,
    /// What it is if nobody says: a text as one would write it. `None`: nothing.
    pub default: Option<&'static str>,
    /// What it means; in the README.
    pub meaning: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Some text.
    Text,
    /// A whole number in a range, both ends included.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Whole numbers in a range, each greater than the one before.
    Rising {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// How many at most.
        count_max: usize,
    },
    /// `true` or `false`.
    Flag,
    /// Only the literal `true` is on; anything else is off, and no error.
    OnlyTrue,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A UUID.
    Uuid,
    /// UUIDs; none at all allows all.
    Uuids,
    /// A moment.
    Moment,
    /// An `http://` or `https://` URL without credentials in it.
    HttpUrl,
    /// An `https://` URL, or an `http://` one of this machine.
    SecureUrl,
    /// Where the state is kept.
    StoreUrl,
    /// A text with fields of a booking in braces.
    Template,
    /// The domain part of a UID.
    Domain,
    /// 32 bytes.
    Key32,
    /// Keys of 32 bytes, each with its name.
    NamedKeys,
    /// A path of a file.
    File,
    /// A filter of `tracing-subscriber`.
    LogFilter,
    /// An address of this machine, and a port.
    Listen,
    /// A token that an HTTP header can carry.
    Token,
    /// Networks in CIDR notation.
    Networks,
    /// Origins of `https://` URLs, or of `http://` ones of this machine.
    Origins,
    /// A number from 0 to 1.
    Share,
    /// Names, each with a value.
    Pairs,
}

impl Key {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        match self.legacy_variable {
            Some(name) => name.to_owned(),
            None => self.name.to_uppercase().replace('.', "_"),
        }
    }

    /// Whether an empty value says something: an empty template shows nothing, an empty list
    /// allows all, an empty flag is not `true`. Elsewhere an empty environment variable counts as
    /// absent, as compose files write `KEY=${KEY:-}`.
    pub fn may_be_empty(&self) -> bool {
        match self.allowed {
            Allowed::Uuids
            | Allowed::OnlyTrue
            | Allowed::Template
            | Allowed::Networks
            | Allowed::Origins
            | Allowed::Pairs => true,
            Allowed::Text
            | Allowed::Number { .. }
            | Allowed::Rising { .. }
            | Allowed::Flag
            | Allowed::OneOf(_)
            | Allowed::Uuid
            | Allowed::Moment
            | Allowed::HttpUrl
            | Allowed::SecureUrl
            | Allowed::StoreUrl
            | Allowed::Domain
            | Allowed::Key32
            | Allowed::NamedKeys
            | Allowed::File
            | Allowed::Listen
            | Allowed::Token
            | Allowed::Share
            | Allowed::LogFilter => false,
        }
    }

    pub(super) const fn legacy(mut self, variable: &'static str) -> Self {
        self.legacy_variable = Some(variable);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

pub(super) const fn key(
    name: &'static str,
    allowed: Allowed,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { name, legacy_variable: None, allowed, default, meaning, secret: false }
}

pub(super) const fn number(
    name: &'static str,
    (min, max): (u64, u64),
    default: &'static str,
    meaning: &'static str,
) -> Key {
    key(name, Allowed::Number { min, max }, Some(default), meaning)
}

/// The prefix of settings that go to librdkafka as they are.
pub const PROPERTIES: &str = "kafka.properties.";

/// The prefix of their environment variables: `KAFKA_PROPERTIES_SOCKET_TIMEOUT_MS`.
pub const PROPERTIES_VARIABLE: &str = "KAFKA_PROPERTIES_";

/// The settings of one concern, in the order of the README.
pub const SECTIONS: [&[Key]; 16] = [
    KAFKA,
    REGISTRY,
    STORE,
    INGEST,
    EMIT,
    LIMITS,
    HTTP,
    REPAIR,
    CONTENT,
    INSTALLATION,
    SECRETS,
    OAUTH,
    CONNECT,
    OPS,
    LIVING,
    TELEMETRY,
];

/// Every setting.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flatten()
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

const KAFKA: &[Key] = &[
    key(
        "kafka.brokers",
        Allowed::Text,
        Some("localhost:9092"),
        "Bootstrap servers, `host:port`, with commas between.",
    ),
    key("kafka.topic", Allowed::Text, Some("booking.events"), "The topic of the booking events."),
    key("kafka.group", Allowed::Text, Some("calendar-sync"), "The consumer group."),
    key(
        "kafka.start_from",
        Allowed::OneOf(&["earliest", "latest"]),
        Some("earliest"),
        "Where a new installation begins. Later only the database's cursor counts.",
    ),
    key(
        "kafka.group_protocol",
        Allowed::OneOf(&["classic", "consumer"]),
        Some("classic"),
        "Kafka's group protocol: `classic` with cooperative-sticky, or KIP-848's `consumer`.",
    ),
    number(
        "kafka.session_timeout_ms",
        (6_000, 1_800_000),
        "45000",
        "After how long without heartbeats an instance counts as gone (`classic` only).",
    ),
    number(
        "kafka.max_poll_interval_ms",
        (10_000, 3_600_000),
        "300000",
        "After how long without its Kafka thread polling an instance loses its partitions. The \
         thread polls whatever the batches do.",
    ),
    key(
        "kafka.security_protocol",
        Allowed::OneOf(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        Some("plaintext"),
        "All but `plaintext` need a binary with the Cargo feature `kafka-tls`.",
    ),
    key(
        "kafka.sasl_mechanism",
        Allowed::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        None,
        "How to log in, with `sasl_plaintext` and `sasl_ssl`.",
    ),
    key("kafka.sasl_username", Allowed::Text, None, "The account at the broker."),
    key("kafka.sasl_password", Allowed::Text, None, "Its password.").secret(),
    key(
        "kafka.ssl_ca_location",
        Allowed::File,
        None,
        "The authorities to trust (PEM); without it, the system's.",
    ),
    key(
        "kafka.ssl_certificate_location",
        Allowed::File,
        None,
        "Our own certificate (PEM), where the broker asks for one.",
    ),
    key("kafka.ssl_key_location", Allowed::File, None, "Its private key (PEM)."),
    key("kafka.ssl_key_password", Allowed::Text, None, "The password of that key.").secret(),
];

const REGISTRY: &[Key] = &[
    key(
        "registry.url",
        Allowed::HttpUrl,
        None,
        "The Schema Registry; without it only the bundled schemas are known.",
    ),
    key("registry.username", Allowed::Text, None, "Basic authentication there."),
    key("registry.password", Allowed::Text, None, "Its password.").secret(),
];

const STORE: &[Key] = &[
    key(
        "store.url",
        Allowed::StoreUrl,
        None,
        "Where the state is kept. Needed by every command but `publish`, `demo` and `dev`.",
    )
    .legacy("DATABASE_URL")
    .secret(),
    number("store.pool_max", (2, 200), "8", "Database connections at most."),
    number(
        "store.statement_timeout_ms",
        (100, 600_000),
        "30000",
        "After how long the database gives up a statement.",
    ),
];

const INGEST: &[Key] = &[
    number("ingest.batch_max", (1, 10_000), "1000", "Records in one transaction at most."),
    number("ingest.linger_ms", (0, 10_000), "50", "How long a batch waits for more records."),
    number(
        "outbox.limit",
        (100, 10_000_000),
        "50000",
        "Effects owed at which reading pauses until the calendars have caught up.",
    ),
];

const EMIT: &[Key] = &[
    key(
        "emit.enabled",
        Allowed::OnlyTrue,
        Some("false"),
        "Whether calendars are written to. Off: events are consumed and planned, nothing is \
         lost, and it is all sent once this is on.",
    )
    .legacy("CALENDAR_SYNC_ENABLED"),
    key(
        "emit.provider_ids",
        Allowed::Uuids,
        Some(""),
        "Send only for these providers. With both lists, both must match.",
    )
    .legacy("CALENDAR_ALLOWLIST_PROVIDER_IDS"),
    key("emit.connection_ids", Allowed::Uuids, Some(""), "Send only on these connections.")
        .legacy("CALENDAR_ALLOWLIST_CONNECTION_IDS"),
    number("emit.lanes_max", (1, 1_000), "16", "Connections that one worker serves at once."),
    number("emit.lane_concurrency", (1, 64), "8", "Calls in flight on one connection."),
    number("emit.claim_batch", (1, 1_000), "64", "Effects that a lane takes up at once."),
    number("emit.lease_s", (5, 3_600), "60", "How long a worker holds a connection."),
    number("emit.call_timeout_s", (1, 600), "20", "How long one call may take, all in all."),
    number("emit.connect_timeout_s", (1, 120), "5", "How long reaching a calendar may take."),
    number("emit.idle_ms", (10, 60_000), "500", "How often an idle worker looks for work."),
    number("emit.backoff_min_ms", (10, 600_000), "500", "The first wait after a failed call."),
    number("emit.backoff_max_s", (1, 86_400), "900", "The longest wait."),
    number(
        "emit.rejections_max",
        (1, 1_000),
        "8",
        "Refusals after which an effect is a dead letter. Outages never count.",
    ),
    key(
        "emit.verify_after_s",
        Allowed::Rising { min: 1, max: 31_536_000, count_max: 8 },
        Some("3600,86400"),
        "When a call that was never answered is looked up again.",
    ),
];

const REPAIR: &[Key] = &[
    key(
        "repair.policy",
        Allowed::OneOf(&["repair", "report", "leave"]),
        Some("report"),
        "What is done about an event that a host has deleted or changed by hand: overrule it, tell of \
         it, or say nothing. Google tells what got lost from that: it always comes back.",
    ),
    number(
        "repair.interval_s",
        (0, 31_536_000),
        "21600",
        "How often each calendar is read through for what is otherwise than it should be; 0: never.",
    ),
    number(
        "repair.halt_share",
        (1, 100),
        "20",
        "From so many per cent of a calendar's events gone on, repair halts and asks a person.",
    ),
];

const CONTENT: &[Key] = &[
    key(
        "content.uid_domain",
        Allowed::Domain,
        Some("calendar-sync.invalid"),
        "The domain in the UID of a booking whose event gives none. Never change it later.",
    ),
    key("content.title", Allowed::Template, Some("Booking: {service_name}"), "An event's title."),
    key(
        "content.description",
        Allowed::Template,
        Some("{description}"),
        "Its text. A customer's name, address or notes appear only if a template asks for them.",
    ),
    key("content.location", Allowed::Template, Some("{location}"), "Its place."),
    key(
        "content.pending_as_tentative",
        Allowed::Flag,
        Some("false"),
        "Show a PENDING booking as tentative, rather than not at all.",
    ),
    key(
        "content.horizon",
        Allowed::Moment,
        None,
        "Bookings that ended before this are never put in a calendar. Without it: one day before \
         the installation.",
    ),
];

const INSTALLATION: &[Key] = &[key(
    "installation.id",
    Allowed::Uuid,
    None,
    "This installation. If given it must be the database's, so that a copy emits nothing; \
     without it the database's counts.",
)];

const SECRETS: &[Key] = &[
    key(
        "secrets.key",
        Allowed::Key32,
        None,
        "Seals the stored credentials of calendars (`openssl rand -base64 32`).",
    )
    .secret(),
    key("secrets.key_file", Allowed::File, None, "A file that holds that key instead."),
    key(
        "secrets.key_id",
        Allowed::Text,
        Some("1"),
        "The name of the key, stored beside what it sealed. Another key needs another name.",
    ),
    key(
        "secrets.old_keys",
        Allowed::NamedKeys,
        None,
        "Further keys, which open what they sealed, and seal no more. `connections reseal` makes them \
         needless.",
    )
    .secret(),
    key("secrets.old_keys_file", Allowed::File, None, "A file that holds them instead, one a line."),
];

const OPS: &[Key] = &[
    key(
        "ops.listen",
        Allowed::Listen,
        Some("127.0.0.1:8080"),
        "Where metrics and endpoints are served. `0.0.0.0:8080` in a container; port 0 takes a free one.",
    ),
    key(
        "ops.admin_token",
        Allowed::Token,
        None,
        "Opens the administrator's endpoints (`Authorization: Bearer …`). Without it nobody may.",
    )
    .secret(),
];

const LIVING: &[Key] = &[
    number(
        "shutdown.deadline_s",
        (1, 3_600),
        "25",
        "How long a stopping worker may take to finish what it has begun.",
    ),
    key(
        "log.format",
        Allowed::OneOf(&["json", "text"]),
        Some("text"),
        "One JSON object a line, or readable lines; on standard error.",
    ),
    key(
        "log.level",
        Allowed::LogFilter,
        Some("info"),
        "What is logged; also by module, as in `info,calendar_sync::emit=debug`.",
    ),
];
