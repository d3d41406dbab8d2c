//! The real services that `tests/run` started, by their environment variables. A test that needs
//! one and has none says so and is counted as skipped; with `REQUIRE_SERVICES=1` it fails.

use std::io::Write as _;

/// The value of an environment variable of `tests/run`.
#[expect(clippy::disallowed_methods, reason = "tests find their services in the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The seed of a random test, where somebody wants to see one again: `TEST_SEED`.
pub(crate) fn seed() -> Option<u64> {
    Some(variable("TEST_SEED")?.parse().expect("TEST_SEED is a whole number"))
}

/// The named service's address; or `None` after having written down that `test` is skipped.
fn service(test: &str, name: &str) -> Option<String> {
    if let Some(value) = variable(name) {
        return Some(value);
    }
    assert!(
        variable("REQUIRE_SERVICES").is_none_or(|value| value != "1"),
        "{test} needs {name}, and REQUIRE_SERVICES is set"
    );
    if let Some(path) = variable("TEST_SKIPS_FILE") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let line = format!("{test}: {name} is not set\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the skips file takes a line");
    }
    None
}

/// Apache Kafka's bootstrap address, `host:port`.
pub(crate) fn kafka(test: &str) -> Option<String> {
    service(test, "TEST_KAFKA_BROKERS")
}

/// Apache Kafka's listener for SASL over TLS, and what opens it.
pub(crate) struct KafkaTls {
    /// Its bootstrap address, `host:port`.
    pub(crate) brokers: String,
    /// The file of the authority that its certificate is from.
    pub(crate) authority: String,
    /// An account, for SCRAM-SHA-512.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: String,
}

/// Apache Kafka's listener for SASL over TLS.
pub(crate) fn kafka_tls(test: &str) -> Option<KafkaTls> {
    Some(KafkaTls {
        brokers: service(test, "TEST_KAFKA_TLS_BROKERS")?,
        authority: service(test, "TEST_KAFKA_TLS_CA")?,
        user: service(test, "TEST_KAFKA_TLS_USER")?,
        password: service(test, "TEST_KAFKA_TLS_PASSWORD")?,
    })
}

/// The program as the container's image has it, by `tests/suites/image.sh`.
pub(crate) fn image_binary(test: &str) -> Option<String> {
    service(test, "TEST_IMAGE_BINARY")
}

/// The URL of a PostgreSQL whose superuser we are.
pub(crate) fn postgres(test: &str) -> Option<String> {
    service(test, "TEST_POSTGRES_URL")
}

/// The Python interpreter that has Google's own client, `google-api-python-client`.
pub(crate) fn google_client(test: &str) -> Option<String> {
    service(test, "TEST_GOOGLE_CLIENT_PYTHON")
}

/// The Python interpreter that has Microsoft's own client, `msgraph-sdk`.
pub(crate) fn graph_client(test: &str) -> Option<String> {
    service(test, "TEST_GRAPH_CLIENT_PYTHON")
}

/// The Python interpreter that has a CalDAV client, `caldav`.
pub(crate) fn caldav_client(test: &str) -> Option<String> {
    service(test, "TEST_CALDAV_CLIENT_PYTHON")
}

/// Prometheus's `promtool`.
pub(crate) fn promtool(test: &str) -> Option<String> {
    service(test, "TEST_PROMTOOL")
}

/// A Jaeger: the addresses that it is reached at.
pub(crate) struct JaegerServer {
    /// Takes traces by OTLP over gRPC.
    pub(crate) grpc: String,
    /// The same over HTTP.
    pub(crate) http: String,
    /// Answers queries.
    pub(crate) query: String,
}

/// The Jaeger of `tests/run --jaeger`.
pub(crate) fn jaeger(test: &str) -> Option<JaegerServer> {
    Some(JaegerServer {
        grpc: service(test, "TEST_JAEGER_GRPC_URL")?,
        http: service(test, "TEST_JAEGER_HTTP_URL")?,
        query: service(test, "TEST_JAEGER_QUERY_URL")?,
    })
}

/// A CalDAV server.
pub(crate) struct CaldavServer {
    /// `http://host:port`.
    pub(crate) url: String,
    /// A user; her calendars are below `/user/`.
    pub(crate) user: String,
    /// Her password.
    pub(crate) password: String,
}

/// A Radicale server.
pub(crate) fn radicale(test: &str) -> Option<CaldavServer> {
    Some(CaldavServer {
        url: service(test, "TEST_RADICALE_URL")?,
        user: service(test, "TEST_RADICALE_USER")?,
        password: service(test, "TEST_RADICALE_PASSWORD")?,
    })
}

/// A Xandikos server, which opens to any password.
pub(crate) fn xandikos(test: &str) -> Option<CaldavServer> {
    Some(CaldavServer {
        url: service(test, "TEST_XANDIKOS_URL")?,
        user: service(test, "TEST_XANDIKOS_USER")?,
        password: "not-asked".to_owned(),
    })
}
