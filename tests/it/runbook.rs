//! The runbook, run: its seven steps by the commands that `dev` prints, its own SQL, its own
//! expectations; on the embedded parts, and on Apache Kafka and PostgreSQL.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::emulator::recording::DIRECTORY_VARIABLE;
use serde_json::{Value, json};
use sqlx::{Column as _, Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::leash::Leash;
use crate::services;
use crate::settings::text;
use crate::store_contract::postgres::Database;

/// How often, and how often at most, a condition is looked at: for a minute at least.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 1_200;

/// `calendar-sync dev`, and what it says.
struct Dev {
    child: Child,
    _leash: Leash,
    out: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// Of the database, if it is PostgreSQL.
    postgres: Option<String>,
}

/// Reads all that comes, on a thread of its own.
fn gather(from: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let gathered = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&gathered);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().expect("no reader panics").push_str(&(line + "\n"));
        }
    });
    (gathered, reader)
}

impl Dev {
    fn start(environment: &[(&str, &str)], postgres: Option<String>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_calendar-sync"))
            .arg("dev")
            .env_clear()
            .envs(std::env::var_os(DIRECTORY_VARIABLE).map(|folder| (DIRECTORY_VARIABLE, folder)))
            .env("OPS_LISTEN", "127.0.0.1:0")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dev starts");
        let (out, out_reader) = gather(child.stdout.take().expect("a pipe"));
        let (log, log_reader) = gather(child.stderr.take().expect("a pipe"));
        let leash = Leash::of(child.id());
        let dev = Self {
            child,
            _leash: leash,
            out,
            log,
            readers: vec![out_reader, log_reader],
            postgres,
        };
        dev.until("it is ready", || dev.said().contains("# Ready.").then_some(()));
        dev
    }

    fn said(&self) -> String {
        self.out.lock().expect("no reader panics").clone()
    }

    fn logged(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Looks until there is something.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..LOOKS_MAX {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(LOOK);
        }
        panic!("waited in vain until {what}:\n{}\n{}", self.said(), self.logged());
    }

    /// The command that follows this heading.
    fn command(&self, heading: &str) -> String {
        let command = || {
            let said = self.said();
            let mut lines = said.lines().skip_while(|line| !line.starts_with(heading));
            lines.nth(1).map(str::to_owned)
        };
        self.until(heading, command)
    }

    /// Pastes it into a shell.
    fn paste(&self, heading: &str) -> Value {
        run(&self.command(heading))
    }

    /// The rows of the runbook's own query.
    async fn rows(&self) -> Vec<Value> {
        let command = self.command("# 2.");
        let sql = command.split('"').rev().nth(1).expect("the query is the last argument");
        if let Some(url) = &self.postgres {
            let mut session = PgConnection::connect(url).await.expect("PostgreSQL answers");
            let sql = sql.trim_end_matches(';');
            let sql = format!("SELECT row_to_json(t)::text FROM ({sql}) t");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut session)
                .await
                .expect("the runbook's query");
            session.close().await.expect("it closes");
            return rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        }
        let path = command.split('"').nth(1).expect("the file is named");
        let mut session = SqliteConnection::connect(path).await.expect("the file is a database");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut session)
            .await
            .expect("the runbook's query");
        session.close().await.expect("it closes");
        rows.iter().map(sqlite_row).collect()
    }

    async fn one_row(&self) -> Value {
        let rows = self.rows().await;
        let [row] = rows.as_slice() else { panic!("a single row: {rows:?}") };
        row.clone()
    }

    /// The calendar's events, by the calendar.
    fn events(&self) -> Vec<Value> {
        self.paste("# 3.")["items"].as_array().expect("a list").clone()
    }

    /// The calendar's one event, once it starts at this hour.
    fn event_at(&self, start: &str) -> Value {
        self.until(start, || {
            let events = self.events();
            assert!(events.len() <= 1, "no duplicate: {events:?}");
            events.into_iter().find(|event| same_time(&event["start"]["dateTime"], start))
        })
    }

    fn counter(&self, name: &str) -> u64 {
        self.paste("# 7.")[name].as_u64().expect("a number")
    }

    /// Waits until the rows say that nothing is under way.
    fn until_settled(&self) {
        let settled = || (self.paste("# 4.")["result"] == "unchanged").then_some(());
        self.until("nothing is owed", settled);
    }

    fn end(mut self) -> String {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is there");
        let ended = self.child.wait().expect("it ends");
        for reader in std::mem::take(&mut self.readers) {
            reader.join().expect("no reader panics");
        }
        let log = self.logged();
        assert!(ended.success(), "{log}");
        log
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
    }
}

fn sqlite_row(row: &sqlx::sqlite::SqliteRow) -> Value {
    let value = |name: &str| {
        let text = row.try_get::<Option<String>, _>(name).map(|text| json!(text));
        text.or_else(|_| row.try_get::<i64, _>(name).map(|number| json!(number == 1)))
            .expect("a text or a truth value")
    };
    row.columns().iter().map(|column| (column.name().to_owned(), value(column.name()))).collect()
}

/// A command in a shell, as an operator's; its answer is JSON.
fn run(command: &str) -> Value {
    let output = Command::new("bash").args(["-c", command]).output().expect("there is a shell");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{command}: {said}{}", text(&output.stderr));
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{command}: no JSON: {said}"))
}

fn same_time(value: &Value, expected: &str) -> bool {
    let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).expect("a time");
    time(value.as_str().expect("a text")) == time(expected)
}

/// All of it, with each expectation in the runbook's own words.
async fn seven_steps(dev: &Dev) {
    // 1. Create Test Booking
    let booking = dev.paste("# 1.");
    assert!(booking["id"].is_string(), "{booking}");

    // 2. Verify External Calendar Event Created
    let event = dev.event_at("2026-01-15T10:00:00Z");
    dev.until_settled();
    let created = dev.one_row().await;
    assert!(created["ical_uid"].is_string(), "`ical_uid` is set: {created}");
    assert_eq!(created["external_event_id"], event["id"], "references the external calendar event");
    assert_eq!(created["is_busy"], json!(true), "`is_busy` is true");
    assert!(same_time(&created["start_time"], "2026-01-15T10:00:00Z"), "`start_time` matches");
    assert!(same_time(&created["end_time"], "2026-01-15T11:00:00Z"), "`end_time` matches");

    // 3. Verify Event in External Calendar
    assert_eq!(event["summary"], "Booking: massage", "Event details match booking (title)");
    assert!(same_time(&event["end"]["dateTime"], "2026-01-15T11:00:00Z"), "(time)");
    assert!(event.get("transparency").is_none_or(|it| it == "opaque"), "Event is marked as busy");

    // 4. Test Idempotency - Duplicate Sync
    let processed = dev.counter("calendar_sync_items_processed");
    let again = dev.paste("# 4.");
    assert_eq!(again["result"], "unchanged", "{again}");
    assert_eq!(dev.events().len(), 1, "No duplicate event created in external calendar");
    assert_eq!(dev.events()[0]["etag"], event["etag"], "nor was it written");
    assert_eq!(
        dev.one_row().await,
        created,
        "`external_calendar_events` table still has single row"
    );
    dev.until("Sync logs indicate idempotency check passed", || {
        dev.logged().contains("idempotency check passed").then_some(())
    });
    assert_eq!(dev.counter("calendar_sync_items_processed"), processed);

    // 5. Test Booking Update
    dev.paste("# 5.");
    let moved = dev.event_at("2026-01-15T14:00:00Z");
    assert_eq!(moved["id"], event["id"], "External calendar event updated (not duplicated)");
    dev.until_settled();
    let updated = dev.one_row().await;
    assert!(
        same_time(&updated["start_time"], "2026-01-15T14:00:00Z"),
        "row updated with new times"
    );
    assert!(same_time(&updated["end_time"], "2026-01-15T15:00:00Z"), "row updated with new times");
    for stable in ["id", "ical_uid", "external_event_id"] {
        assert_eq!(updated[stable], created[stable], "`{stable}` is stable across updates");
    }

    // 6. Test Booking Cancellation
    dev.paste("# 6.");
    dev.until("Event removed from external calendar", || dev.events().is_empty().then_some(()));
    dev.until_settled();
    let cancelled = dev.one_row().await;
    assert_eq!((&cancelled["id"], &cancelled["is_busy"]), (&created["id"], &json!(false)));

    // 7. Verify Metrics
    assert!(dev.counter("calendar_sync_runs_total") >= 3, "incremented");
    assert_eq!(dev.counter("calendar_sync_items_processed"), 3, "reflects outbound events");
    assert_eq!(dev.counter("calendar_sync_failures_total"), 0, "No increments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_passes_on_the_embedded_parts() {
    let dev = Dev::start(&[], None);
    seven_steps(&dev).await;
    let log = dev.end();
    assert!(!log.contains(" ERROR "), "No errors in logs: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_passes_on_kafka_and_postgresql() {
    let test = "the_runbook_passes_on_kafka_and_postgresql";
    let (Some(brokers), Some(database)) = (services::kafka(test), Database::new(test).await) else {
        return;
    };
    let topic = format!("runbook-{}", SystemDice.token().simple());
    let environment = [
        ("KAFKA_BROKERS", brokers.as_str()),
        ("KAFKA_TOPIC", &topic),
        ("KAFKA_GROUP", &topic),
        ("DATABASE_URL", &database.url),
        ("LOG_FORMAT", "json"),
    ];
    let dev = Dev::start(&environment, Some(database.url.clone()));
    seven_steps(&dev).await;
    let log = dev.end();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("each log line is JSON");
        assert_ne!(line["level"], "ERROR", "No errors in logs: {line}");
        assert_eq!(line["category"], "calendar_sync");
    }
    let drained =
        log.lines().find(|line| line.contains("drained a lane")).expect("a run is logged");
    for field in ["sync_id", "provider_id", "connection_id", "calendar_provider", "duration_ms"] {
        assert!(drained.contains(&format!("\"{field}\":")), "{field} is not in {drained}");
    }
    database.end().await;
}
