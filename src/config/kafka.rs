//! The settings of the broker. Plain names and texts: Kafka's client is not known here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::{SettingError, SettingErrors};
use super::given::Given;
use super::reader::Reader;

/// How to reach Kafka, and how to read from it.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, with commas between.
    pub brokers: String,
    /// The topic of the booking events.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Where a new installation begins.
    pub start_from: StartFrom,
    /// Kafka's group protocol.
    pub group_protocol: GroupProtocol,
    /// After how long without heartbeats an instance counts as gone (classic only).
    pub session_timeout: Duration,
    /// After how long without progress an instance loses its partitions.
    pub max_poll_interval: Duration,
    /// How the broker is spoken to.
    pub security: Security,
    /// What else goes to librdkafka. Any of it may be a secret.
    pub properties: BTreeMap<String, SecretString>,
}

/// How the broker is spoken to.
#[derive(Debug, Clone)]
pub struct Security {
    /// With or without TLS and SASL.
    pub protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256`, …
    pub sasl_mechanism: Option<&'static str>,
    /// The account.
    pub sasl_username: Option<String>,
    /// Its password.
    pub sasl_password: Option<SecretString>,
    /// The authorities to trust.
    pub ssl_ca_location: Option<PathBuf>,
    /// Our own certificate.
    pub ssl_certificate_location: Option<PathBuf>,
    /// Its key.
    pub ssl_key_location: Option<PathBuf>,
    /// The password of that key.
    pub ssl_key_password: Option<SecretString>,
}

/// Where a new installation begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record.
    Earliest,
    /// After the newest.
    Latest,
}

/// Kafka's group protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The one of always, with the cooperative-sticky assignor.
    Classic,
    /// KIP-848.
    Consumer,
}

/// How the broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither TLS nor SASL.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// librdkafka's `security.protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether one logs in.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether it is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

impl KafkaSettings {
    /// Only these, for a command that needs no database. What is wrong elsewhere in the file by
    /// name is an error all the same.
    pub fn parse(given: &Given) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(given);
        let kafka = Self::read(&mut reader);
        reader.finish(kafka)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let kafka = Self {
            brokers: reader.text("kafka.brokers"),
            topic: reader.text("kafka.topic"),
            group: reader.text("kafka.group"),
            start_from: reader
                .choice("kafka.start_from", [StartFrom::Earliest, StartFrom::Latest])
                .unwrap_or(StartFrom::Earliest),
            group_protocol: reader
                .choice("kafka.group_protocol", [GroupProtocol::Classic, GroupProtocol::Consumer])
                .unwrap_or(GroupProtocol::Classic),
            session_timeout: reader.millis("kafka.session_timeout_ms"),
            max_poll_interval: reader.millis("kafka.max_poll_interval_ms"),
            security: Security::read(reader),
            properties: reader
                .given()
                .properties()
                .map(|(name, value)| (name.clone(), value.text.clone()))
                .collect(),
        };
        if kafka.brokers.split(',').any(|broker| broker.trim().is_empty()) {
            reader.refuse("kafka.brokers", "has a place without a broker".to_owned());
        }
        check_topic(reader, &kafka.topic);
        check_timeouts(reader, &kafka);
        check_security(reader, &kafka.security, cfg!(feature = "kafka-tls"));
        kafka
    }

    /// librdkafka's properties for reaching the broker: servers, security and what is passed on.
    /// A consumer adds its own. They hold secrets: never log them.
    pub fn connection_properties(&self) -> Vec<(String, String)> {
        let security = &self.security;
        let secret = |text: &SecretString| text.expose_secret().to_owned();
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let ours = [
            ("bootstrap.servers", Some(self.brokers.clone())),
            ("security.protocol", Some(security.protocol.name().to_owned())),
            ("sasl.mechanism", security.sasl_mechanism.map(str::to_owned)),
            ("sasl.username", security.sasl_username.clone()),
            ("sasl.password", security.sasl_password.as_ref().map(secret)),
            ("ssl.ca.location", security.ssl_ca_location.as_ref().map(path)),
            ("ssl.certificate.location", security.ssl_certificate_location.as_ref().map(path)),
            ("ssl.key.location", security.ssl_key_location.as_ref().map(path)),
            ("ssl.key.password", security.ssl_key_password.as_ref().map(secret)),
        ];
        let given = self.properties.iter().map(|(name, text)| (name.clone(), secret(text)));
        ours.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .chain(given)
            .collect()
    }
}

impl Security {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        Self {
            protocol: reader
                .choice("kafka.security_protocol", [Plaintext, Ssl, SaslPlaintext, SaslSsl])
                .unwrap_or(Plaintext),
            sasl_mechanism: reader
                .choice("kafka.sasl_mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
            sasl_username: reader.optional_text("kafka.sasl_username"),
            sasl_password: reader.secret("kafka.sasl_password"),
            ssl_ca_location: pem(reader, "kafka.ssl_ca_location"),
            ssl_certificate_location: pem(reader, "kafka.ssl_certificate_location"),
            ssl_key_location: pem(reader, "kafka.ssl_key_location"),
            ssl_key_password: reader.secret("kafka.ssl_key_password"),
        }
    }
}

/// So much of a PEM file is looked at, in bytes: a bundle of all authorities has some hundred thousand.
const PEM_LEN_MAX: u64 = 4 * 1024 * 1024;

/// The path of a PEM file, or of a directory of such. That it can be read and is one is seen here:
/// librdkafka would tell of it by a name of its own, and late.
fn pem(reader: &mut Reader<'_>, name: &'static str) -> Option<PathBuf> {
    const BEGINNING: &[u8] = b"-----BEGIN ";
    let path = reader.file(name)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(&path).and_then(|file| file.take(PEM_LEN_MAX).read_to_end(&mut bytes));
    // Comments in it are in any encoding.
    let problem = match read {
        Ok(_) if bytes.windows(BEGINNING.len()).any(|it| it == BEGINNING) => return Some(path),
        Ok(_) => "names a file that is not PEM".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => return Some(path),
        Err(error) => format!("names a file that cannot be read: {error}"),
    };
    reader.refuse(name, problem);
    None
}

/// Kafka's own rule for a topic's name (`org.apache.kafka.common.internals.Topic`): at most 249
/// letters, digits, `.`, `_` and `-`.
fn check_topic(reader: &mut Reader<'_>, topic: &str) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = topic.len() <= 249 && topic.bytes().all(fits) && topic != "." && topic != "..";
    if !good {
        let problem = "is no topic's name (at most 249 letters, digits, `.`, `_` and `-`)";
        reader.refuse("kafka.topic", problem.to_owned());
    }
}

fn check_timeouts(reader: &mut Reader<'_>, kafka: &KafkaSettings) {
    if reader.sound(&["kafka.session_timeout_ms", "kafka.max_poll_interval_ms"])
        && kafka.max_poll_interval < kafka.session_timeout
    {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        reader.complain(SettingError::PollTooShort {
            max_poll_interval_ms: millis(kafka.max_poll_interval),
            session_timeout_ms: millis(kafka.session_timeout),
        });
    }
}

/// `tls`: whether this binary has it.
pub(super) fn check_security(reader: &mut Reader<'_>, security: &Security, tls: bool) {
    let protocol = security.protocol;
    if !reader.sound(&["kafka.security_protocol"]) {
        return;
    }
    if protocol != SecurityProtocol::Plaintext && !tls {
        reader.complain(SettingError::KafkaTls { protocol: protocol.name() });
    }
    let sasl_keys = [
        ("kafka.sasl_mechanism", security.sasl_mechanism.is_some()),
        ("kafka.sasl_username", security.sasl_username.is_some()),
        ("kafka.sasl_password", security.sasl_password.is_some()),
    ];
    for (key, given) in sasl_keys {
        let because = match (protocol.has_sasl(), given) {
            (true, true) | (false, false) => continue,
            (true, false) if !reader.sound(&[key]) => continue,
            (true, false) => {
                let because = "kafka.security_protocol asks for SASL";
                reader.complain(SettingError::Needed { key, because });
                continue;
            }
            (false, true) => "kafka.security_protocol does not ask for SASL",
        };
        reader.complain(SettingError::Idle { key, because });
    }
    let tls_keys = [
        ("kafka.ssl_ca_location", security.ssl_ca_location.is_some()),
        ("kafka.ssl_certificate_location", security.ssl_certificate_location.is_some()),
        ("kafka.ssl_key_location", security.ssl_key_location.is_some()),
        ("kafka.ssl_key_password", security.ssl_key_password.is_some()),
    ];
    for (key, given) in tls_keys {
        if given && !protocol.has_tls() {
            let because = "kafka.security_protocol does not ask for TLS";
            reader.complain(SettingError::Idle { key, because });
        }
    }
}

/// Why a property of librdkafka is not taken from `kafka.properties`; `None`: it is passed on.
pub(super) fn not_passed_on(property: &str) -> Option<String> {
    let own_key = match property {
        "bootstrap.servers" | "metadata.broker.list" => "kafka.brokers",
        "group.id" => "kafka.group",
        "group.protocol" => "kafka.group_protocol",
        "session.timeout.ms" => "kafka.session_timeout_ms",
        "max.poll.interval.ms" => "kafka.max_poll_interval_ms",
        "security.protocol" => "kafka.security_protocol",
        "sasl.mechanism" | "sasl.mechanisms" => "kafka.sasl_mechanism",
        "sasl.username" => "kafka.sasl_username",
        "sasl.password" => "kafka.sasl_password",
        "ssl.ca.location" => "kafka.ssl_ca_location",
        "ssl.certificate.location" => "kafka.ssl_certificate_location",
        "ssl.key.location" => "kafka.ssl_key_location",
        "ssl.key.password" => "kafka.ssl_key_password",
        // The publishers' own.
        "enable.idempotence" => {
            return Some("the service depends on its own value of it".to_owned());
        }
        "" => return Some("it has no name".to_owned()),
        _ => return crate::consumer::settings::refused(property).map(str::to_owned),
    };
    Some(format!("set {own_key} instead"))
}
