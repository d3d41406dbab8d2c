//! The program as the container's image has it (`--no-default-features --features kafka-tls`), on the real
//! services: Kafka is spoken to as `deploy/` sets it, by SASL over TLS. It works; and where it cannot,
//! it says which setting is to be looked at, and no secret.
//!
//! `tests/suites/image.sh` builds it, and runs these.

mod place;

mod rights;

use std::io::Write as _;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::authority::Authority;
use crate::process::Worker;
use crate::settings::{program_of, text};
use crate::wait::until;
use place::Place;

/// The longest that a stopping worker takes.
const DEADLINE: Duration = Duration::from_secs(28);

/// A file of certificates.
fn file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(pem.as_bytes()).expect("it takes certificates");
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path in UTF-8")
}

/// It is told to stop, and ends well.
async fn end(worker: Worker) -> String {
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("calendar_sync::cli::run: stopped"), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calendar_is_kept_through_a_kafka_that_is_spoken_to_by_tls_and_scram() {
    let test = "a_calendar_is_kept_through_a_kafka_that_is_spoken_to_by_tls_and_scram";
    let Some(place) = Place::new(test).await else { return };
    let calendar = place.connect_a_calendar().await;
    // As while the authority is being replaced: the file has another one too.
    let ours = std::fs::read_to_string(&place.kafka.authority).expect("a certificate");
    let both = file(&(Authority::new().pem() + &ours));
    let worker = place.start(&[("KAFKA_SSL_CA_LOCATION", path(&both))]);
    let address = crate::health::address(&worker).await;
    until("it is well", async || place.health(&address).0 == Some(0)).await;

    let in_plain = [Place::KAFKA_PLAIN, &[("KAFKA_BROKERS", place.plain.as_str())]].concat();
    place.publish(
        &in_plain,
        &[("BookingCreated", "a", Some("Massage")), ("BookingCreated", "b", Some("Yoga"))],
    );
    let first = ["Massage", "Yoga"];
    until("the calendar shows them", async || place.shown(&calendar).await == first).await;
    // By the same way as the worker reads; which takes one right more.
    place.give(&[rights::WRITE]).await;
    place.publish(
        &[],
        &[
            ("BookingCreated", "c", Some("Sauna")),
            ("BookingUpdated", "a", Some("Long massage")),
            ("BookingCancelled", "b", None),
            ("BookingCreated", "d", Some("Pilates")),
        ],
    );
    let wanted = ["Long massage", "Pilates", "Sauna"];
    until("the calendar shows them", async || place.shown(&calendar).await == wanted).await;
    until("nothing is left to be read", async || {
        let told = place.metrics(&address).await;
        let read = told.sum("calendar_sync_records_consumed_total");
        (read, told.sum("calendar_sync_consumer_lag_records")) == (6.0, 0.0)
    })
    .await;
    // What KEDA goes by.
    until("Kafka has been told", async || place.committed().await == 6).await;
    let (code, said) = place.health(&address);
    assert_eq!((code, said), (Some(0), format!("the worker at {address} is ready\n")));

    let log = end(worker).await;
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    assert!(!log.contains(&place.kafka.password), "{log}");
    assert_eq!(place.shown(&calendar).await, wanted);
    place.end(&[calendar]).await;
}

/// What is set wrongly, the `error_code` that it is told under, and what is said of it.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

/// Not let in, it tries on: the account may be mended at the broker. Nobody takes it for ready, so that a
/// roll-out with these settings takes no other worker away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_says_which_setting_is_about_it_and_is_not_ready() {
    let test = "who_is_not_let_in_says_which_setting_is_about_it_and_is_not_ready";
    let Some(place) = Place::new(test).await else { return };
    let other = file(&Authority::new().pem());
    let (plain, tls) = (place.plain.as_str(), place.kafka.brokers.as_str());
    let in_plain = [Place::KAFKA_PLAIN, &[("KAFKA_BROKERS", tls)]].concat();
    let cases: [Case<'_>; 7] = [
        (
            &[("KAFKA_SASL_PASSWORD", "hunter2")],
            "kafka_login_failed",
            &["kafka.sasl_username", "kafka.sasl_password", "SCRAM-SHA-512"],
        ),
        (
            &[("KAFKA_SASL_MECHANISM", "PLAIN"), ("KAFKA_SASL_PASSWORD", "hunter2")],
            "kafka_login_failed",
            &["kafka.sasl_mechanism", "PLAIN"],
        ),
        (
            &[("KAFKA_SSL_CA_LOCATION", path(&other))],
            "kafka_not_trusted",
            &["kafka.ssl_ca_location"],
        ),
        (&in_plain, "kafka_protocol_differs", &["kafka.security_protocol"]),
        (&[("KAFKA_BROKERS", plain)], "kafka_tls_failed", &["kafka.security_protocol"]),
        (&[("KAFKA_TOPIC", "another")], "kafka_not_allowed", &["kafka.topic"]),
        (&[("KAFKA_GROUP", "another")], "kafka_not_allowed", &["kafka.group"]),
    ];
    for (wrong, code, words) in cases {
        let worker = place.start(wrong);
        worker.logs(&format!("error_code=\"{code}\"")).await;
        let address = crate::health::address(&worker).await;
        let (exit_code, said) = place.health(&address);
        assert_eq!(exit_code, Some(1), "{said}");
        let log = end(worker).await;
        let told = log.lines().find(|line| line.contains(code)).expect("it was logged");
        assert!(said.contains("is not ready: consumer: "), "{said}");
        for word in words {
            assert!(told.contains(word) && said.contains(word), "{word}: {told}\n{said}");
        }
        assert!(!log.contains("hunter2") && !said.contains("hunter2"), "{log}{said}");
        assert!(!log.contains(&place.kafka.password), "{log}");
    }
    place.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_not_there_is_told_by_its_setting() {
    let test = "an_authority_that_is_not_there_is_told_by_its_setting";
    let Some(place) = Place::new(test).await else { return };
    let worker = place.start(&[("KAFKA_SSL_CA_LOCATION", "/nowhere/ca.crt")]);
    let (status, log) = worker.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("kafka.ssl_ca_location (from KAFKA_SSL_CA_LOCATION)"), "{log}");
    assert!(!log.contains(&place.kafka.password), "{log}");
    place.end(&[]).await;
}

#[test]
fn the_embedded_parts_are_not_in_the_image() {
    let test = "the_embedded_parts_are_not_in_the_image";
    let Some(binary) = crate::services::image_binary(test) else { return };
    for command in ["demo", "dev"] {
        let output = program_of(&binary, &[command, "--help"], &[], "");
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(text(&output.stderr).contains("unrecognized subcommand"), "{command}");
    }
    let url = [("DATABASE_URL", "sqlite::memory:")];
    let output = program_of(&binary, &["migrate"], &url, "");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
