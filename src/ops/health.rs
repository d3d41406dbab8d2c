//! Whether this process is alive, and whether it is ready: for whoever starts, stops and replaces it.
//!
//! `/livez` is answered by the event loop alone. `/readyz` looks at what the work needs: a database that
//! answers and is of this version, and a consumer that is a member of its group or is becoming one: Kafka
//! has answered it once, so its address and its login are right. If Kafka goes away later, that is told
//! elsewhere: who is ready stays so. A partition that is stopped waits for an operator; another process
//! would find it the same, so that is told, and is no reason.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::clock::Surroundings;
use crate::consumer::{Life, Phase, Reach, Snapshot, Status};
use crate::store::{Store, StoreError};

/// The longest that an answer waits for the database.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// So long the database's answer stands: whoever asks more often asks us, not it.
const CHECKED_FOR: Duration = Duration::from_secs(1);

/// What is looked at.
pub struct Health {
    surroundings: Surroundings,
    status: Arc<Status>,
    store: Mutex<Option<Arc<dyn Store>>>,
    /// What the database said last, and when.
    checked: tokio::sync::Mutex<Option<(Duration, Database)>>,
}

/// What is known of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Database {
    /// It answers, and is of this version.
    Fine,
    /// It was not opened yet.
    Unopened,
    /// It answers, and is of another version.
    NotMigrated(String),
    /// It does not answer, or not usably.
    Away(String),
}

impl Health {
    /// Of a process that has opened no database yet.
    pub fn new(surroundings: Surroundings, status: Arc<Status>) -> Self {
        Self {
            surroundings,
            status,
            store: Mutex::default(),
            checked: tokio::sync::Mutex::default(),
        }
    }

    /// The database is open.
    pub fn opened(&self, store: Arc<dyn Store>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    /// Whether work can be done, and each condition of that.
    async fn ready(&self) -> (bool, Value) {
        let database = self.database().await;
        let snapshot = self.status.snapshot();
        let (answers, is_migrated) = conditions(&database);
        let consumer = consumer(&snapshot);
        let is_ready = [&answers, &is_migrated, &consumer].iter().all(|it| it.is_met);
        let told = json!({
            "ready": is_ready,
            "conditions": {
                "database": answers.json(),
                "migrated": is_migrated.json(),
                "consumer": consumer.json(),
            },
            "stopped_partitions": stopped(&snapshot),
        });
        (is_ready, told)
    }

    /// One look at a time, and none so soon after another.
    async fn database(&self) -> Database {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(store) = store else {
            return Database::Unopened;
        };
        let mut checked = self.checked.lock().await;
        let now = self.surroundings.clock.elapsed();
        if let Some((at, known)) = &*checked
            && now.saturating_sub(*at) < CHECKED_FOR
        {
            return known.clone();
        }
        let found = match tokio::time::timeout(CHECK_MAX, store.check()).await {
            Ok(Ok(())) => Database::Fine,
            Ok(Err(error @ StoreError::Version { .. })) => Database::NotMigrated(error.to_string()),
            Ok(Err(error)) => Database::Away(error.to_string()),
            Err(_) => {
                Database::Away(format!("it has not answered for {} seconds", CHECK_MAX.as_secs()))
            }
        };
        *checked = Some((self.surroundings.clock.elapsed(), found.clone()));
        found
    }
}

/// What has to be so.
struct Condition {
    is_met: bool,
    why: String,
}

impl Condition {
    fn met(why: &str) -> Self {
        Self { is_met: true, why: why.to_owned() }
    }

    fn unmet(why: &str) -> Self {
        Self { is_met: false, why: why.to_owned() }
    }

    fn json(&self) -> Value {
        json!({ "met": self.is_met, "why": self.why })
    }
}

/// That it answers, and that it is migrated.
fn conditions(database: &Database) -> (Condition, Condition) {
    let unknown = || Condition::unmet("the database has not told");
    match database {
        Database::Fine => {
            (Condition::met("it answers"), Condition::met("the schema is this version's"))
        }
        Database::Unopened => (Condition::unmet("it is being opened"), unknown()),
        Database::NotMigrated(why) => (Condition::met("it answers"), Condition::unmet(why)),
        Database::Away(why) => (Condition::unmet(why), unknown()),
    }
}

fn consumer(snapshot: &Snapshot) -> Condition {
    match snapshot.life {
        Life::Unborn => Condition::unmet("it has not begun"),
        Life::Ended => Condition::unmet("it has ended"),
        Life::Member if snapshot.topic_missing => {
            Condition::met("it waits for the topic, which does not exist")
        }
        // A roll-out with a wrong password, say, is to take no worker away that has the right one.
        Life::Member => match &snapshot.reach {
            Reach::NotYet => {
                let trouble = snapshot.last_error.as_ref();
                let why = trouble.map_or_else(String::new, |it| format!(": {}", it.text));
                Condition::unmet(&format!("Kafka has not answered yet{why}"))
            }
            Reach::Refused(why) => Condition::unmet(why),
            Reach::Answered if snapshot.partitions.is_empty() => {
                Condition::met("it waits for partitions to be assigned")
            }
            Reach::Answered => {
                Condition::met(&format!("partitions assigned: {}", snapshot.partitions.len()))
            }
        },
    }
}

/// By number, and why.
fn stopped(snapshot: &Snapshot) -> Value {
    let stopped = snapshot.partitions.iter().filter_map(|(partition, status)| {
        let Phase::Stopped(stop) = &status.phase else {
            return None;
        };
        Some(json!({ "partition": partition, "kind": stop.kind, "found": stop.found }))
    });
    Value::Array(stopped.collect())
}

/// The two questions, which need no token.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(health)
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let (is_ready, told) = health.ready().await;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(told)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ready(health: &Health) -> (bool, Value) {
        let (is_ready, told) = health.ready().await;
        assert_eq!(told["ready"], is_ready);
        (is_ready, told)
    }

    #[tokio::test]
    async fn who_has_opened_no_database_and_begun_nothing_is_not_ready() {
        let health = Health::new(Surroundings::real(), Arc::default());
        let (is_ready, told) = ready(&health).await;
        assert!(!is_ready);
        for (condition, why) in [
            ("database", "it is being opened"),
            ("migrated", "the database has not told"),
            ("consumer", "it has not begun"),
        ] {
            let expected = json!({ "met": false, "why": why });
            assert_eq!(told["conditions"][condition], expected, "{condition}");
        }
    }

    #[test]
    fn a_consumer_without_partitions_is_ready_and_one_that_has_ended_is_not() {
        let reach = Reach::Answered;
        let told = |life| consumer(&Snapshot { life, reach: reach.clone(), ..Snapshot::default() });
        assert!(told(Life::Member).is_met);
        assert!(!told(Life::Unborn).is_met);
        assert!(!told(Life::Ended).is_met);
    }

    #[test]
    fn who_has_not_been_let_in_by_kafka_is_not_ready_and_says_why() {
        let mut snapshot = Snapshot { life: Life::Member, ..Snapshot::default() };
        assert!(!consumer(&snapshot).is_met);
        assert_eq!(consumer(&snapshot).why, "Kafka has not answered yet");
        snapshot.reach = Reach::Refused("wrong password".to_owned());
        assert!(!consumer(&snapshot).is_met);
        assert_eq!(consumer(&snapshot).why, "wrong password");
        // It has, and says that there is no topic.
        snapshot.topic_missing = true;
        assert!(consumer(&snapshot).is_met);
    }

    #[test]
    fn another_schema_is_told_as_that() {
        let (answers, is_migrated) = conditions(&Database::NotMigrated("version 5".to_owned()));
        assert!(answers.is_met && !is_migrated.is_met);
        assert_eq!(is_migrated.why, "version 5");
        let (answers, is_migrated) = conditions(&Database::Away("gone".to_owned()));
        assert!(!answers.is_met && !is_migrated.is_met);
    }
}
