//! What the settings hold true, without a file system and without an environment.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::kafka::{Security, check_security};
use super::reader::Reader;
use super::table::{self, Allowed};
use super::*;

const PATH: &str = "calendar-sync.toml";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn given(file: &str, environment: &[(&str, &str)]) -> Given {
    let environment = environment.iter().map(|(name, value)| {
        let (name, value): (&str, &str) = (name, value);
        (name.to_owned(), value.to_owned())
    });
    Given::of(Some((Path::new(PATH), file)), environment)
}

fn parsed(file: &str, environment: &[(&str, &str)]) -> Settings {
    let with_store = [&[("DATABASE_URL", "postgres://localhost/bookings")], environment].concat();
    Settings::parse(&given(file, &with_store)).unwrap()
}

fn errors(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let with_store = [&[("DATABASE_URL", "postgres://localhost/bookings")], environment].concat();
    let errors = Settings::parse(&given(file, &with_store)).unwrap_err();
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn every_default_is_allowed_and_every_key_is_read() {
    let given = given("", &[("DATABASE_URL", "postgres://localhost/bookings")]);
    let mut reader = Reader::new(&given);
    Settings::read(&mut reader);
    let asked: BTreeSet<_> = reader.asked().iter().copied().collect();
    let names: BTreeSet<_> = table::keys().map(|key| key.name).collect();
    assert_eq!(asked, names);
    reader.finish(()).unwrap();
}

#[test]
fn no_two_settings_share_a_name_or_a_variable() {
    let names: BTreeSet<_> = table::keys().map(|key| key.name).collect();
    let variables: BTreeSet<_> = table::keys().map(table::Key::variable).collect();
    assert_eq!(names.len(), table::keys().count());
    assert_eq!(variables.len(), table::keys().count());
    assert!(!variables.contains(CONFIG_VARIABLE));
}

#[test]
fn what_does_not_fit_32_bits_is_no_number32() {
    for key in table::keys() {
        if let Allowed::Number { min, max } = key.allowed {
            assert!(min <= max && u32::try_from(max).is_ok(), "{}", key.name);
        }
    }
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_default() {
    let file = "kafka.topic = 'a'\n[kafka]\ngroup = 'g'\n".replace("kafka.topic", "[log]\nlevel");
    let given = given(&file, &[("KAFKA_GROUP", "h"), ("DATABASE_URL", "postgres://h/d")]);
    let effective = given.effective();
    let of = |key: &str| effective.iter().find(|one| one.key == key).unwrap();
    assert_eq!(of("kafka.group").value.as_deref(), Some("h"));
    assert_eq!(of("kafka.group").source, Source::Environment("KAFKA_GROUP".to_owned()));
    assert_eq!(of("log.level").value.as_deref(), Some("a"));
    assert_eq!(of("log.level").source, Source::File(PATH.into()));
    assert_eq!(of("kafka.topic").value.as_deref(), Some("booking.events"));
    assert_eq!(of("kafka.topic").source, Source::Default);
    assert_eq!(of("registry.url").value, None);
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let settings = parsed("[kafka]\ngroup = 'g'", &[("KAFKA_GROUP", ""), ("INSTALLATION_ID", "")]);
    assert_eq!(settings.kafka.group, "g");
    assert_eq!(settings.installation, None);
}

#[test]
fn only_the_literal_true_enables() {
    for text in ["", "TRUE", "True", "1", "yes", "on", " true", "true ", "false"] {
        let settings = parsed("emit.enabled = true", &[("CALENDAR_SYNC_ENABLED", text)]);
        assert!(!settings.emit.gate.enabled, "`{text}`");
        let meant = !matches!(text, "" | "false");
        assert_eq!(settings.warnings.len(), usize::from(meant), "`{text}`");
    }
    let environment = [("CALENDAR_SYNC_ENABLED", "true"), ("SECRETS_KEY", KEY)];
    assert!(parsed("", &environment).emit.gate.enabled);
    assert!(!parsed("", &[]).emit.gate.enabled);
}

#[test]
fn an_allowlist_is_empty_only_if_nothing_is_in_it() {
    let name = "CALENDAR_ALLOWLIST_PROVIDER_IDS";
    let (one, two) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    assert!(parsed("", &[(name, " ")]).emit.gate.providers.is_empty());
    assert!(parsed("emit.provider_ids = ['x']", &[(name, "")]).emit.gate.providers.is_empty());
    let both = format!("{two}, {one},{two}");
    assert_eq!(parsed("", &[(name, &both)]).emit.gate.providers, [one, two]);
    let file = format!("emit.connection_ids = ['{two}', '{one}']");
    assert_eq!(parsed(&file, &[]).emit.gate.connections, [one, two]);
    let trailing = format!("{one},");
    for malformed in [",", "all", "*", "1", trailing.as_str(), "00000000-0000-0000-0000"] {
        let errors = errors("", &[(name, malformed)]);
        assert_eq!(errors.len(), 1, "`{malformed}`");
        assert!(errors[0].starts_with("emit.provider_ids (from CALENDAR_ALLOWLIST_PROVIDER_IDS)"));
    }
}

#[test]
fn a_slip_in_an_allowlists_name_does_not_allow_all() {
    let errors = errors("", &[("CALENDAR_ALLOWLIST_PROVIDERS_IDS", "x")]);
    assert_eq!(
        errors,
        ["CALENDAR_ALLOWLIST_PROVIDERS_IDS (from CALENDAR_ALLOWLIST_PROVIDERS_IDS) is not a \
          setting; did you mean CALENDAR_ALLOWLIST_PROVIDER_IDS?"]
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let file = "kafka.broker = 'h'\nzebra = 1\nCALENDAR_SYNC_ENABLED = true\n[emit]\nlease = 5";
    assert_eq!(
        errors(file, &[]),
        [
            "CALENDAR_SYNC_ENABLED (in calendar-sync.toml) is not a setting; did you mean emit.enabled?",
            "emit.lease (in calendar-sync.toml) is not a setting; did you mean emit.lease_s?",
            "kafka.broker (in calendar-sync.toml) is not a setting; did you mean kafka.brokers?",
            "zebra (in calendar-sync.toml) is not a setting",
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_named_by_its_line_without_showing_it() {
    let errors = errors("[registry]\npassword = \"hunter2\nurl = 1", &[]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("calendar-sync.toml, line 2: not TOML: "), "{}", errors[0]);
    assert!(!errors[0].contains("hunter2"));
}

#[test]
fn rules_between_settings_name_the_keys_at_fault() {
    let file = "[emit]\nlease_s = 40\nbackoff_min_ms = 2000\nbackoff_max_s = 1\nenabled = true\n\
                connect_timeout_s = 30\n[kafka]\nmax_poll_interval_ms = 10000\n\
                [shutdown]\ndeadline_s = 20";
    assert_eq!(
        errors(file, &[]),
        [
            "kafka.max_poll_interval_ms (10000) must not be less than kafka.session_timeout_ms (45000)",
            "emit.lease_s (40) must be more than twice emit.call_timeout_s (20)",
            "emit.connect_timeout_s (30) must not be more than emit.call_timeout_s (20)",
            "emit.backoff_min_ms (2000) must not be more than emit.backoff_max_s (1 s)",
            "shutdown.deadline_s (20) must be more than emit.call_timeout_s (20)",
            "secrets.key is needed: emit.enabled (CALENDAR_SYNC_ENABLED) is on, and the calendars' \
             credentials are sealed; or give secrets.key_file",
        ]
    );
    let traced = |deadline: u32| {
        format!(
            "[shutdown]\ndeadline_s = {deadline}\n[telemetry]\nendpoint = \"http://jaeger:4318\""
        )
    };
    assert_eq!(parsed(&traced(23), &[]).shutdown_deadline.as_secs(), 23);
    assert_eq!(
        errors(&traced(22), &[]),
        [
            "shutdown.deadline_s (22) must be more than 2 s longer than emit.call_timeout_s (20), as \
             telemetry.endpoint is set: the last traces take so long"
        ]
    );
    // A value that is wrong by itself is not compared with others.
    assert_eq!(
        errors("[emit]\nlease_s = 1", &[]),
        [
            "emit.lease_s (in calendar-sync.toml) is too small; allowed: a whole number from 5 to 3600"
        ]
    );
}

#[test]
fn a_key_is_32_bytes_in_base64_or_hex_or_in_a_file() {
    let expected: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let hex = data_encoding::HEXUPPER.encode(&expected);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let path = path.to_str().unwrap();
    for pair in [("SECRETS_KEY", KEY), ("SECRETS_KEY", &hex), ("SECRETS_KEY_FILE", path)] {
        let key = parsed("", &[pair]).secrets.key.unwrap();
        assert_eq!(key.expose_secret(), &expected, "{pair:?}");
    }
    assert_eq!(
        errors("", &[("SECRETS_KEY", "hunter2"), ("SECRETS_KEY_FILE", "/no/such/file")]).len(),
        3
    );
}

/// The text, in a file of its own.
fn file_with(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn old_keys_have_names_and_stand_in_one_place() {
    let names = |settings: &Settings| {
        settings.secrets.old_keys.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let two = format!("a={KEY}, b={KEY}");
    let (_directory, path) = file_with(&format!("\na={KEY}\n b = {KEY} \n"));
    for pair in [("SECRETS_OLD_KEYS", two.as_str()), ("SECRETS_OLD_KEYS_FILE", &path)] {
        let settings = parsed("", &[pair]);
        assert_eq!(names(&settings), ["a", "b"], "{pair:?}");
        assert_eq!(settings.secrets.old_keys[1].1.expose_secret()[31], 31);
    }
    assert_eq!(names(&parsed(&format!("secrets.old_keys = ['z={KEY}']"), &[])), ["z"]);
    let many: Vec<_> = (0..9).map(|number| format!("{number}0={KEY}")).collect();
    for (keys, problem) in [
        (many.join(","), "has more than 8 keys"),
        (format!("a={KEY},b=hunter2"), "has a key at place 2 that is not 32 bytes"),
        (format!("a={KEY},a={KEY}"), "has a name for the second time at place 2"),
        ("hunter2".to_owned(), "has no `name=` at place 1"),
        (" , ".to_owned(), "is empty"),
        (format!("1={KEY}"), "is the name of an old key as well"),
    ] {
        let told = errors("", &[("SECRETS_OLD_KEYS", &keys)]);
        assert!(told.len() == 1 && told[0].contains(problem), "{told:?}");
        assert!(!told[0].contains(KEY) && !told[0].contains("hunter2"), "{told:?}");
    }
    let both = [("SECRETS_OLD_KEYS", two.as_str()), ("SECRETS_OLD_KEYS_FILE", &path)];
    assert_eq!(errors("", &both).len(), 1);
}

#[test]
fn a_client_is_a_name_and_its_secret_from_one_place() {
    assert!(parsed("", &[]).oauth.google.is_none());
    let (_directory, path) = file_with("s3cret of ours\n");
    let settings = parsed(
        "oauth.google.client_id = 'us'",
        &[("OAUTH_GOOGLE_CLIENT_SECRET_FILE", &path), ("OAUTH_MICROSOFT_CLIENT_ID", "them")],
    );
    let google = settings.oauth.google.as_ref().unwrap();
    let secret = google.secret.as_ref().map(secrecy::ExposeSecret::expose_secret);
    assert_eq!((google.id.as_str(), secret), ("us", Some("s3cret of ours")));
    let microsoft = settings.oauth.microsoft.as_ref().unwrap();
    assert!(microsoft.id == "them" && microsoft.secret.is_none(), "a public client");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert_eq!(
        errors("", &[("OAUTH_GOOGLE_CLIENT_SECRET", "hunter2")]),
        ["oauth.google.client_id is needed: there is a secret, and nobody whose it is"]
    );
}

/// A client's secret and every refresh token go there.
#[test]
fn a_token_endpoint_is_encrypted_or_on_this_machine() {
    for url in
        ["https://login.example/x", "http://127.0.0.1:8/token", "http://[::1]", "http://localhost"]
    {
        let settings = parsed("", &[("OAUTH_GOOGLE_TOKEN_URL", url)]);
        assert!(settings.oauth.google_token_url.as_str().starts_with(url), "{url}");
    }
    for url in [
        "http://login.example/token",
        "http://localhost.example/",
        "http://10.0.0.1/",
        "https://us:pw@login.example/",
        "https://login.example/?a",
        "ftp://localhost/",
    ] {
        assert_eq!(errors("", &[("OAUTH_MICROSOFT_AUTHORITY", url)]).len(), 1, "{url}");
    }
}

#[test]
fn properties_are_passed_on_except_those_that_the_service_depends_on() {
    let file = "[kafka.properties]\nsocket.keepalive.enable = true\n'client.id' = 'x'\n\
                enable.auto.commit = true\n'group.id' = 'x'\n'group.instance.id' = 'x'";
    let environment = [("KAFKA_PROPERTIES_FETCH_WAIT_MAX_MS", "10")];
    assert_eq!(
        errors(file, &environment),
        [
            "kafka.properties.enable.auto.commit (in calendar-sync.toml) cannot be passed on: the \
             cursor in the database decides what is read (rules R1 and R2)",
            "kafka.properties.group.id (in calendar-sync.toml) cannot be passed on: set \
             kafka.group instead",
            "kafka.properties.group.instance.id (in calendar-sync.toml) cannot be passed on: a \
             static member does not leave the group when it stops",
        ]
    );
    let file = "[kafka.properties]\nsocket.keepalive.enable = true\n'client.id' = 'x'";
    let properties = parsed(file, &environment).kafka.connection_properties();
    let expected = [
        ("bootstrap.servers", "localhost:9092"),
        ("security.protocol", "plaintext"),
        ("client.id", "x"),
        ("fetch.wait.max.ms", "10"),
        ("socket.keepalive.enable", "true"),
    ];
    assert_eq!(properties, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn tls_is_refused_by_a_binary_without_it() {
    let given = given("", &[]);
    let security = |protocol| Security {
        protocol,
        sasl_mechanism: Some("PLAIN"),
        sasl_username: Some("u".to_owned()),
        sasl_password: Some("p".into()),
        ssl_ca_location: None,
        ssl_certificate_location: None,
        ssl_key_location: None,
        ssl_key_password: None,
    };
    let mut reader = Reader::new(&given);
    check_security(&mut reader, &security(SecurityProtocol::SaslSsl), true);
    reader.finish(()).unwrap();
    let mut reader = Reader::new(&given);
    check_security(&mut reader, &security(SecurityProtocol::SaslSsl), false);
    let errors = reader.finish(()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "a setting is wrong: kafka.security_protocol (sasl_ssl) needs a binary built with the \
         Cargo feature kafka-tls; this one allows: `plaintext`"
    );
    let mut reader = Reader::new(&given);
    check_security(&mut reader, &security(SecurityProtocol::Plaintext), false);
    assert_eq!(reader.finish(()).unwrap_err().0.len(), 3);
}

#[test]
fn a_file_for_tls_that_is_none_is_told_by_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (pem, other) = (directory.path().join("ca.crt"), directory.path().join("ca.p12"));
    std::fs::write(&pem, "-----BEGIN CERTIFICATE-----\n").unwrap();
    std::fs::write(&other, [0x30, 0x82, 0xff, 0x00]).unwrap();
    let told = |path: &Path| {
        let given = given("", &[("KAFKA_SSL_CA_LOCATION", path.to_str().unwrap())]);
        let mut reader = Reader::new(&given);
        let security = Security::read(&mut reader);
        reader.finish(security.ssl_ca_location).map_err(|errors| errors.to_string())
    };
    assert_eq!(told(&pem).unwrap(), Some(pem));
    // librdkafka takes a directory of certificates as well, and comments in any encoding.
    let (of_many, commented) = (directory.path().to_owned(), directory.path().join("bundle.crt"));
    std::fs::write(&commented, b"# Autorit\xe9s\n-----BEGIN CERTIFICATE-----\n").unwrap();
    for path in [of_many, commented] {
        assert_eq!(told(&path).unwrap(), Some(path));
    }
    let nothing = directory.path().join("nothing");
    for (path, problem) in [
        (other.as_path(), "names a file that is not PEM"),
        (Path::new("Cargo.toml"), "names a file that is not PEM"),
        (nothing.as_path(), "names a file that cannot be read: "),
    ] {
        let said = told(path).unwrap_err();
        assert!(said.contains("kafka.ssl_ca_location (from KAFKA_SSL_CA_LOCATION)"), "{said}");
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn a_password_in_a_databases_url_is_masked_wherever_it_stands() {
    for (url, shown) in [
        ("postgres://u:hunter2@h:5/d", "postgres://u:***@h:5/d"),
        ("postgres://h/d?user=u&password=hunter2", "postgres://h/d?***"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("hunter2", "***"),
        ("sqlite:state.db", "sqlite:state.db"),
    ] {
        let given = given("", &[("DATABASE_URL", url)]);
        let effective = given.effective();
        let one = effective.iter().find(|one| one.key == "store.url").unwrap();
        assert_eq!(one.value.as_deref(), Some(shown));
    }
}

#[test]
fn the_horizon_is_one_day_before_the_installation_unless_it_is_set() {
    let installed_at = "2026-03-01T12:00:00Z".parse().unwrap();
    let content = parsed("", &[]).content;
    assert_eq!(content.horizon_of(installed_at).to_rfc3339(), "2026-02-28T12:00:00+00:00");
    let content = parsed("content.horizon = 2026-01-01T00:00:00+01:00", &[]).content;
    assert_eq!(content.rules(installed_at).horizon.to_rfc3339(), "2025-12-31T23:00:00+00:00");
}

#[test]
fn lists_and_times_are_what_they_say() {
    let settings = parsed("emit.verify_after_s = [60, 3600]\nemit.idle_ms = 20", &[]);
    let verify_after = [Duration::from_mins(1), Duration::from_hours(1)];
    assert_eq!(settings.emit.verify_after, verify_after);
    assert_eq!(settings.emit.idle, Duration::from_millis(20));
    assert_eq!(errors("emit.verify_after_s = [60, 60]", &[]).len(), 1);
    assert_eq!(errors("emit.verify_after_s = []", &[]).len(), 1);
}

#[test]
fn verifications_that_may_come_too_early_are_warned_of() {
    for (waits, warned) in [("[60, 3600]", 0), ("[59, 3600]", 1), ("[3600]", 1), ("[59]", 2)] {
        let settings = parsed(&format!("emit.verify_after_s = {waits}"), &[]);
        assert_eq!(settings.warnings.len(), warned, "{waits}: {:?}", settings.warnings);
    }
}

#[test]
fn the_readmes_table_has_one_line_of_five_cells_for_each_setting() {
    let text = table_markdown();
    assert_eq!(text.lines().count(), 2 + table::keys().count() + 1);
    for line in text.lines() {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
    }
}

proptest! {
    #[test]
    fn no_text_of_any_setting_panics_or_shows_a_secret(
        text in "\\PC{0,40}",
        at in 0..table::keys().count(),
    ) {
        let key = table::keys().nth(at).unwrap();
        let text = format!("hunter2{text}");
        let given = given("", &[(key.variable().as_str(), text.as_str())]);
        let shown = match Settings::parse(&given) {
            Ok(settings) => format!("{settings:?}"),
            Err(errors) => format!("{errors} {errors:?}"),
        };
        prop_assert!(!key.secret || !shown.contains("hunter2"), "{}", shown);
    }
}
