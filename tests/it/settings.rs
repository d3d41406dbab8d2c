//! Settings and the command line, through the real program: every error at once, secrets never
//! shown, wrong usage told with exit code 2, and the commands on a database of their own.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use calendar_sync::config::{Given, Settings};

use crate::process::OURS;

pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The setting that lets calendars be on this machine, and its value.
pub(crate) const ON_THIS_MACHINE: (&str, &str) = ("HTTP_ALLOW_NETWORKS", "127.0.0.0/8,::1/128");
pub(crate) const PROVIDER: &str = "7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11";

/// The program with exactly this environment.
#[track_caller]
pub(crate) fn program(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    program_of(OURS, arguments, environment, input)
}

/// The same, of another build of the program.
#[track_caller]
pub(crate) fn program_of(
    binary: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> Output {
    let mut child = Command::new(binary)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that does not read its input may be gone already.
    drop(child.stdin.take().expect("its input is a pipe").write_all(input.as_bytes()));
    child.wait_with_output().expect("the program ends")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

/// A database file of its own, and the settings for it.
struct Place {
    _directory: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let url = format!("sqlite:{}", directory.path().join("state.db").display());
        Self { _directory: directory, url }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let environment = [("DATABASE_URL", self.url.as_str()), ("SECRETS_KEY", KEY)];
        program(arguments, &environment, input)
    }

    fn answer(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn add(&self, url: &str, more: &[&str]) -> serde_json::Value {
        let arguments = ["connections", "add", "caldav", "--provider-id", PROVIDER, "--json"];
        let account = ["--calendar-url", url, "--username", "anna", "--password-stdin"];
        let answer = self.answer(&[arguments.as_slice(), &account, more].concat(), "hunter2\n");
        serde_json::from_str(&answer).expect("the answer is JSON")
    }
}

#[test]
fn every_wrong_setting_is_told_at_once_by_its_key_with_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "kafka.brokerz = 'h'\n[emit]\nlease_s = 1\n").unwrap();
    let environment = [
        ("CALENDAR_SYNC_CONFIG", file.to_str().unwrap()),
        ("CALENDAR_ALLOWLIST_PROVIDER_IDS", "everyone"),
        ("SECRETS_KEY", "hunter2"),
        ("LOG_LEVEL", "a=b=c"),
    ];
    let output = program(&["run"], &environment, "");
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for part in [
        "6 settings are wrong",
        "did you mean kafka.brokers?",
        "emit.lease_s (in ",
        "allowed: a whole number from 5 to 3600",
        "emit.provider_ids (from CALENDAR_ALLOWLIST_PROVIDER_IDS) has a malformed id at place 1",
        "secrets.key (from SECRETS_KEY) is not 32 bytes; allowed: 32 bytes in Base64",
        "log.level (from LOG_LEVEL) is no such filter",
        "store.url is missing: set DATABASE_URL",
    ] {
        assert!(told.contains(part), "`{part}` is not in:\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn config_check_shows_what_is_in_effect_and_where_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "[kafka]\nbrokers = 'broker:9092'\ngroup = 'from-file'\n").unwrap();
    let environment = [
        ("CALENDAR_SYNC_CONFIG", file.to_str().unwrap()),
        ("KAFKA_GROUP", "from-environment"),
        ("DATABASE_URL", "postgres://u:hunter2@localhost/d"),
        ("SECRETS_KEY", KEY),
        ("KAFKA_PROPERTIES_SOCKET_TIMEOUT_MS", "7000"),
    ];
    let output = program(&["config", "check", "--changed"], &environment, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let rows: Vec<Vec<&str>> =
        told.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    let path = file.to_str().unwrap();
    for row in [
        ["kafka.brokers", "broker:9092", "in", path],
        ["kafka.group", "from-environment", "from", "KAFKA_GROUP"],
        ["store.url", "postgres://u:***@localhost/d", "from", "DATABASE_URL"],
        ["secrets.key", "***", "from", "SECRETS_KEY"],
    ] {
        assert!(rows.contains(&row.to_vec()), "{row:?} is not in:\n{told}");
    }
    assert!(told.contains("kafka.properties.socket.timeout.ms"), "{told}");
    assert!(!told.contains("kafka.topic"), "a default was not changed:\n{told}");
    assert!(!told.contains("hunter2") && !told.contains(KEY), "{told}");
    assert!(told.ends_with("the service would start with these settings\n"), "{told}");
}

#[test]
fn config_check_tells_every_wrong_setting_beside_the_right_ones() {
    let environment = [
        ("DATABASE_URL", "sqlite::memory:"),
        ("EMIT_LEASE_S", "1"),
        ("KAFKA_START_FROM", "middle"),
        ("SECRETS_KEY", "hunter2"),
    ];
    let output = program(&["config", "check", "--json"], &environment, "");
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3, "{report}");
    for key in ["emit.lease_s", "kafka.start_from", "secrets.key"] {
        let told = |error: &serde_json::Value| {
            error.as_str().is_some_and(|text| text.starts_with(key) && text.contains("allowed: "))
        };
        assert!(errors.iter().any(told), "{key} is not in {report}");
    }
    assert!(report["settings"].as_array().unwrap().len() > 40, "{report}");
    assert!(text(&output.stderr).contains("3 settings are wrong"));
    assert!(!text(&output.stdout).contains("hunter2") && !text(&output.stderr).contains("hunter2"));
}

#[test]
fn a_settings_file_that_is_not_there_is_told() {
    let environment = [("DATABASE_URL", "sqlite::memory:")];
    let output = program(&["--config", "/no/such/file.toml", "migrate"], &environment, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/no/such/file.toml cannot be read"));
}

#[test]
fn settings_never_show_a_secret() {
    let secrets = [
        ("DATABASE_URL", "postgres://u:hunter2@localhost/d"),
        ("REGISTRY_URL", "http://localhost:8081"),
        ("REGISTRY_USERNAME", "u"),
        ("REGISTRY_PASSWORD", "hunter2"),
        ("SECRETS_KEY", KEY),
        ("KAFKA_PROPERTIES_SASL_OAUTHBEARER_CLIENT_SECRET", "hunter2"),
    ];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let given = Given::of(None, secrets);
    let settings = Settings::parse(&given).unwrap();
    let shown = format!("{settings:?} {given:?} {:?}", given.effective());
    assert!(!shown.contains("hunter2") && !shown.contains(KEY), "{shown}");
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage: calendar-sync"),
        (&["rnu"], "unrecognized subcommand 'rnu'"),
        (&["cursor", "set", "--partition", "1"], "--at <OFFSET>"),
        (&["cursor", "accept", "--partition", "-1"], "-1"),
        (&["dead-letters", "redrive"], "<ID>..."),
        (&["dead-letters", "redrive", "1", "--all"], "cannot be used with"),
        (&["dead-letters", "list", "--class", "x"], "unknown_schema"),
        (&["connections", "remove", "7"], "invalid value '7'"),
    ];
    for (arguments, told) in cases {
        let output = program(arguments, &[("DATABASE_URL", "sqlite::memory:")], "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(told), "{arguments:?}: `{told}` is not in:\n{stderr}");
    }
}

#[test]
fn a_password_is_no_argument_and_a_missing_one_is_told() {
    let place = Place::new();
    let add = ["connections", "add", "caldav", "--provider-id", PROVIDER];
    let account = ["--calendar-url", "https://h/c", "--username", "anna"];
    let arguments = [add.as_slice(), &account].concat();
    let output = place.run(&arguments, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--password-stdin, or set CALENDAR_SYNC_PASSWORD"));
    let output = place.run(&[arguments.as_slice(), &["--password", "x"]].concat(), "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_token_that_no_header_can_carry_is_refused_and_any_password_is_taken() {
    let place = Place::new();
    let add = ["connections", "add", "google", "--provider-id", PROVIDER];
    let account = ["--calendar-id", "primary", "--subject", "4711", "--token-stdin"];
    let arguments = [add.as_slice(), &account].concat();
    for (token, at) in [("\u{201c}ya29.hunter2", 1), ("ya29.hunter2 ", 13), ("ya29.hünter2", 7)] {
        let output = place.run(&arguments, token);
        assert_eq!(output.status.code(), Some(1), "{token}");
        let told = text(&output.stderr);
        assert!(told.contains(&format!("the token cannot be sent: its character {at} ")), "{told}");
        assert!(!told.contains("nter2"), "{told}");
    }
    assert_eq!(place.answer(&["connections", "list", "--json"], ""), "");
    place.answer(&arguments, "ya29.a0_-+/~=\n");
    let add = ["connections", "add", "caldav", "--provider-id", PROVIDER];
    let account = ["--calendar-url", "https://h/c", "--username", "ünna", "--password-stdin"];
    place.answer(&[add.as_slice(), &account].concat(), "pass wörd \u{201c}虎\n");
}

#[test]
fn every_command_has_help() {
    let commands: [&[&str]; 13] = [
        &["healthcheck"],
        &["adopt"],
        &["dev"],
        &["config", "check"],
        &[],
        &["run"],
        &["migrate"],
        &["connections", "add", "caldav"],
        &["connections", "add", "google"],
        &["connections", "discover", "caldav"],
        &["cursor", "accept"],
        &["dead-letters", "redrive"],
        &["dead-letters", "show"],
    ];
    for command in commands {
        let output = program(&[command, &["--help"]].concat(), &[], "");
        assert!(output.status.success(), "{command:?}");
        assert!(text(&output.stdout).contains("Usage: "), "{command:?}");
    }
}

/// What `deploy/` sets, in a binary that is not the image's.
#[cfg(not(feature = "kafka-tls"))]
#[test]
fn a_binary_without_tls_says_so_to_who_asks_for_it() {
    let environment = [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/calendar"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SASL_USERNAME", "calendar-sync"),
        ("KAFKA_SASL_PASSWORD", "hunter2"),
    ];
    for arguments in [&["run"][..], &["publish", "-"]] {
        let output = program(arguments, &environment, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            text(&output.stderr),
            "error: a setting is wrong: kafka.security_protocol (sasl_ssl) needs a binary built \
             with the Cargo feature kafka-tls; this one allows: `plaintext`\n"
        );
    }
}

#[test]
fn adding_an_account_again_renews_it_and_removing_it_keeps_its_name() {
    let place = Place::new();
    let first = place.add("https://dav.example.com/anna/work", &[]);
    assert_eq!((&first["created"], &first["destination"]), (&true.into(), &true.into()));
    let again = place.add("https://DAV.example.com:443/anna/work/", &[]);
    assert_eq!(again["created"], false);
    assert_eq!(again["connection_id"], first["connection_id"]);
    let other = place.add("https://dav.example.com/anna/home/", &["--make-destination"]);
    assert_ne!(other["connection_id"], first["connection_id"]);

    let listed = place.answer(&["connections", "list", "--json"], "");
    let listed: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 2);
    let id = first["connection_id"].as_str().unwrap();
    let one = listed.iter().find(|one| one["connection_id"] == id).unwrap();
    assert_eq!(one["calendar"], "https://dav.example.com/anna/work/");
    assert_eq!(one["destination"], false);
    assert!(!place.answer(&["connections", "list"], "").contains("hunter2"));

    place.answer(&["connections", "remove", id], "");
    let missing = uuid::Uuid::nil().to_string();
    let output = place.run(&["connections", "remove", &missing], "");
    assert_eq!(output.status.code(), Some(1));
    let back = place.add("https://dav.example.com/anna/work", &[]);
    assert_eq!(back["connection_id"], first["connection_id"]);
}

#[test]
fn an_empty_installation_has_nothing_to_show_and_says_so() {
    let place = Place::new();
    assert!(place.answer(&["migrate"], "").contains("the installation is "));
    assert!(place.answer(&["cursor", "show"], "").contains("nothing was read yet"));
    assert!(place.answer(&["dead-letters", "list"], "").contains("no such dead letters"));
    assert!(place.answer(&["connections", "list"], "").contains("no connections"));
    assert_eq!(place.answer(&["cursor", "show", "--json"], ""), "");
    for command in [["dead-letters", "show", "1"], ["dead-letters", "discard", "1"]] {
        let output = place.run(&command, "");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(text(&output.stderr).starts_with("error: there is no "), "{command:?}");
    }
    let output = place.run(&["cursor", "set", "--partition", "0", "--at", "5"], "");
    assert!(text(&output.stderr).contains("there is no cursor of booking.events/0"));
}

#[test]
fn another_installation_is_refused_by_name() {
    let place = Place::new();
    place.answer(&["migrate"], "");
    let environment = [("DATABASE_URL", place.url.as_str()), ("INSTALLATION_ID", PROVIDER)];
    let output = program(&["cursor", "show"], &environment, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a copy of a database must not emit"));
}
