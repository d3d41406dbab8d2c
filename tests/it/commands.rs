//! The commands through the real program, on real services: what is wrong is told so that somebody
//! can mend it at night, and a worker that is told to stop does.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

mod letters;

pub(crate) mod proxy;

pub(crate) mod stopping;

use std::sync::Arc;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::store::{ConnectionState, Fenced};

use crate::settings::{KEY, ON_THIS_MACHINE, PROVIDER, program, text};
use crate::store_contract::env::{Env, Time, connection};
use crate::store_contract::postgres::Database;

/// What a command said: its exit code, standard output and standard error.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command on this database, with further variables.
fn command(url: &str, arguments: &[&str], more: &[(&str, &str)]) -> Said {
    command_reading(url, arguments, more, "")
}

/// The same, with something on its standard input.
fn command_reading(url: &str, arguments: &[&str], more: &[(&str, &str)], input: &str) -> Said {
    let level = ("LOG_LEVEL", "warn,sqlx=error");
    // Commands that serve it run side by side.
    let port = ("OPS_LISTEN", "127.0.0.1:0");
    let given = [("DATABASE_URL", url), ("SECRETS_KEY", KEY), level, port, ON_THIS_MACHINE];
    let given = given.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    let environment: Vec<_> = given.chain(more.iter().copied()).collect();
    let output = program(arguments, &environment, input);
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Said {
    /// What it answered.
    #[track_caller]
    fn done(self) -> String {
        // A broker that has just started makes librdkafka say that it tries again.
        let said = self.err.lines().filter(|line| !line.contains("WARN librdkafka"));
        assert_eq!((self.code, said.collect::<Vec<_>>()), (Some(0), Vec::new()));
        self.out
    }

    /// What it complained of, with this exit code.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self.err
    }
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_refused_with_the_command_to_run() {
    let Some(database) = Database::new("not_migrated").await else { return };
    for arguments in [&["run"][..], &["cursor", "show"], &["dead-letters", "list"]] {
        assert_eq!(
            command(&database.url, arguments, &[]).failed(1),
            "error: the database's schema is empty (no migration applied), and this version \
             needs version 7 (7 migrations): run `calendar-sync migrate` with this version\n"
        );
    }
    let migrated = command(&database.url, &["migrate"], &[]).done();
    assert!(migrated.starts_with("7 migrations were applied; the installation is "), "{migrated}");
    let again = command(&database.url, &["migrate"], &[]).done();
    assert!(again.starts_with("0 migrations were applied; "), "{again}");
    database.end().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_every_command() {
    let Some(database) = Database::new("newer_version").await else { return };
    command(&database.url, &["migrate"], &[]).done();
    let newer = "
        INSERT INTO calendar_sync._sqlx_migrations
        VALUES (9999, 'newer', now(), true, 'x', 1)";
    database.run(newer).await;
    for arguments in [&["run"][..], &["migrate"], &["connections", "list"]] {
        assert_eq!(
            command(&database.url, arguments, &[]).failed(1),
            "error: the database's schema is version 9999 (8 migrations), and this version needs \
             version 7 (7 migrations): a newer version has migrated it; run that version, or \
             restore a backup\n"
        );
    }
    database.end().await;
}

#[tokio::test]
async fn another_installation_is_refused_before_anything_begins() {
    let Some(database) = Database::new("other_installation").await else { return };
    command(&database.url, &["migrate"], &[]).done();
    let said = command(&database.url, &["run"], &[("INSTALLATION_ID", PROVIDER)]).failed(1);
    assert!(said.starts_with("error: the database belongs to installation "), "{said}");
    let end = format!("and the settings say {PROVIDER}: a copy of a database must not emit\n");
    assert!(said.ends_with(&end), "{said}");
    database.end().await;
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let url = "postgres://worker:hunter2@127.0.0.1:1/calendar";
    for arguments in [["run"].as_slice(), &["migrate"], &["cursor", "show"]] {
        let said = command(url, arguments, &[]).failed(1);
        let place = "error: cannot open the database of store.url (DATABASE_URL) at \
                     127.0.0.1:1/calendar\n  because: the database did not answer while asked to \
                     connect\n";
        assert!(said.starts_with(place) && said.contains("Connection refused"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_once() {
    let Some(database) = Database::new("no_such_database").await else { return };
    let url = format!("{}x", database.url);
    let said = command(&url, &["run"], &[]).failed(1);
    assert_eq!(said.matches("does not exist").count(), 1, "{said}");
    assert!(said.contains("the database refused to connect"), "{said}");
    database.end().await;
}

#[tokio::test]
async fn a_worker_that_is_to_send_without_a_key_is_told_how_to_give_it_one() {
    let Some(database) = Database::new("no_key").await else { return };
    command(&database.url, &["migrate"], &[]).done();
    let sends = [("SECRETS_KEY", ""), ("CALENDAR_SYNC_ENABLED", "true")];
    let said = command(&database.url, &["run"], &sends).failed(2);
    assert!(said.contains("secrets.key is needed: emit.enabled"), "{said}");
    assert!(said.contains("or give secrets.key_file"), "{said}");
    database.end().await;
}

#[tokio::test]
async fn a_property_that_kafkas_client_refuses_is_named_and_its_value_is_not() {
    let Some(database) = Database::new("kafka_property").await else { return };
    command(&database.url, &["migrate"], &[]).done();
    // A misspelt `sasl.oauthbearer.client.secret`.
    let secret = [("KAFKA_PROPERTIES_SASL_OAUTHBEARER_CLIENT_SECRT", "hunter2")];
    let said = command(&database.url, &["run"], &secret).failed(1);
    assert!(said.contains("sasl.oauthbearer.client.secrt"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let line = "{}\n";
    let published = command_reading(&database.url, &["publish", "-"], &secret, line).failed(1);
    assert!(published.contains("sasl.oauthbearer.client.secrt"), "{published}");
    assert!(!published.contains("hunter2"), "{published}");
    database.end().await;
}

#[test]
fn wrong_values_are_told_all_at_once_by_key() {
    let wrong = [
        ("KAFKA_BROKERS", "one:9092,,two:9092"),
        ("KAFKA_TOPIC", "booking events"),
        ("KAFKA_START_FROM", "middle"),
        ("STORE_POOL_MAX", "many"),
        ("INGEST_BATCH_MAX", "0"),
        ("OUTBOX_LIMIT", "1"),
        ("REGISTRY_URL", "registry:8081"),
        ("CONTENT_TITLE", "Booking: {servise_name}"),
        ("CALENDAR_ALLOWLIST_CONNECTION_IDS", "everyone"),
        ("INSTALLATION_ID", "ours"),
        ("SHUTDOWN_DEADLINE_S", "-1"),
        ("LOG_FORMAT", "xml"),
    ];
    let said = command("mysql://somewhere", &["run"], &wrong).failed(2);
    assert!(said.starts_with("error: 13 settings are wrong:\n"), "{said}");
    for (variable, _) in wrong {
        assert_eq!(said.matches(&format!("(from {variable})")).count(), 1, "{variable}: {said}");
    }
    assert!(said.contains("store.url (from DATABASE_URL)"), "{said}");
    // Each on a line of its own.
    assert_eq!(said.lines().count(), 14, "{said}");
}

#[tokio::test]
async fn adding_an_account_again_renews_it_and_withdrawing_it_is_said() {
    let Some(database) = Database::new("accounts").await else { return };
    let url = &database.url;
    command(url, &["migrate"], &[]).done();
    let provider = SystemDice.token().to_string();
    let password = [("CALENDAR_SYNC_PASSWORD", "hunter2")];
    let account = ["--calendar-url", "https://dav.example.com/anna/", "--username", "anna"];
    let add = ["connections", "add", "caldav", "--provider-id", &provider];
    let add: Vec<_> = add.into_iter().chain(account).collect();
    let added = command(url, &add, &password).done();
    let id = added.split([' ', ':']).nth(1).expect("`connection ID: added`").to_owned();
    assert_eq!(
        added,
        format!("connection {id}: added\n  it takes its provider's bookings; 0 became due on it\n")
    );
    let again = command(url, &add, &password).done();
    assert!(again.starts_with(&format!("connection {id}: its credentials are renewed\n")));
    let listed = command(url, &["connections", "list"], &[]).done();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(&id) && listed.contains("active") && !listed.contains("hunter2"));

    assert_eq!(
        command(url, &["connections", "remove", &id, "--withdraw"], &[]).done(),
        format!(
            "connection {id}: its events are being withdrawn; its credentials are deleted once \
             they are gone\n"
        )
    );
    assert_eq!(
        command(url, &["connections", "remove", &id, "--withdraw"], &[]).failed(1),
        format!("error: there is no connection {id}, or it is removed already\n")
    );
    database.end().await;
}

/// Its credentials are what its events are withdrawn with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_is_given_up_by_an_explicit_word_alone() {
    let Some(database) = Database::new("withdrawals").await else { return };
    let url = &database.url;
    command(url, &["migrate"], &[]).done();
    let store = Arc::new(database.connect().await);
    let env = Env { store, time: Time::Real, ending: Box::pin(async {}) };
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    env.apply(&lane, "a", 0, "Massage").await;
    let id = connection(1).to_string();
    let remove = ["connections", "remove", &id];
    command(url, &[&remove[..], &["--withdraw"]].concat(), &[]).done();

    let refused = command(url, &remove, &[]).failed(1);
    assert!(refused.contains("its events are being withdrawn"), "{refused}");
    assert!(refused.contains("--leave-events"), "{refused}");
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removing, 3));
    // Once more changes nothing.
    command(url, &[&remove[..], &["--withdraw"]].concat(), &[]).done();
    let lane = env.lane(2).await;
    assert_eq!(env.park(&lane, "the token was revoked").await, Fenced::Written);
    let listed = command(url, &["connections", "list"], &[]).done();
    assert!(listed.contains("its events cannot be withdrawn: the token was revoked"), "{listed}");

    let both = [&remove[..], &["--withdraw", "--leave-events"]].concat();
    assert!(command(url, &both, &[]).failed(2).contains("cannot be used with"));
    command(url, &[&remove[..], &["--leave-events"]].concat(), &[]).done();
    let row = env.row(1).await;
    assert_eq!((row.state, row.sealed.len()), (ConnectionState::Removed, 0));
    env.end().await;
    database.end().await;
}
