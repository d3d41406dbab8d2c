//! Whether a worker says how it is, to whoever asks: over HTTP and by `healthcheck`, while its database is
//! there, is not there yet, or goes away.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

use std::time::Duration;

use calendar_sync::clock::Surroundings;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::commands::proxy::Proxy;
use crate::commands::stopping::Place;
use crate::exposition::Exposition;
use crate::process::Worker;
use crate::settings::{program, text};
use crate::wait::{found, until};

/// The longest that a scrape takes; it waits for nobody.
const SCRAPE_MAX: Duration = Duration::from_secs(1);
/// The longest that a stopping worker takes.
const DEADLINE: Duration = Duration::from_secs(28);

/// Where a worker says that it answers.
pub(crate) async fn address(worker: &Worker) -> String {
    const SAID: &str = "answering address=";
    let found = found(crate::wait::PATIENCE, async || {
        let log = worker.logged();
        let (_, rest) = log.split_once(SAID)?;
        Some(rest.split_whitespace().next()?.to_owned())
    });
    found.await.expect("it says where it answers")
}

/// Told to stop, it ends in time, and well.
async fn stops(worker: Worker) {
    worker.terminate();
    let (status, log) = worker.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{log}");
}

/// What it answers.
#[expect(clippy::disallowed_methods, reason = "this is the cluster's own client")]
pub(crate) async fn ask(address: &str, path: &str) -> Option<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.text().await.ok()?))
}

/// Whether it is ready, and what it says of that.
async fn ready(address: &str) -> Option<(bool, Value)> {
    let (status, body) = ask(address, "/readyz").await?;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["ready"], status == 200, "{told}");
    assert!(status == 200 || status == 503, "{status}");
    Some((status == 200, told))
}

fn why(told: &Value, condition: &str) -> String {
    told["conditions"][condition]["why"].as_str().unwrap().to_owned()
}

/// `healthcheck`: its exit code, and all that it says.
fn healthcheck(address: &str, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["healthcheck"], more].concat();
    let output = program(&arguments, &[("OPS_LISTEN", address)], "");
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_database_is_away_lives_and_is_not_ready() {
    let test = "a_worker_whose_database_is_away_lives_and_is_not_ready";
    for is_silent in [false, true] {
        let Some(place) = Place::with_topic(test).await else { return };
        let mut proxy = Proxy::before(&place.database.url).await;
        let worker = Worker::start(place.environment(&proxy.url, &[]));
        let address = address(&worker).await;
        until("it is ready", async || ready(&address).await.is_some_and(|it| it.0)).await;
        let (code, said) = healthcheck(&address, &[]);
        assert_eq!((code, said), (Some(0), format!("the worker at {address} is ready\n")));
        let partitions = "calendar_sync_partitions_assigned";
        until("it has the partitions, and has asked the database", async || {
            let (_, told) = ask(&address, "/metrics").await.unwrap();
            let told = Exposition::of(told);
            told.value(partitions, &[]) == Some(2.0)
                && told.text().contains("calendar_sync_effects_pending")
        })
        .await;

        if is_silent {
            proxy.hush();
        } else {
            proxy.cut().await;
        }
        until("it is not ready", async || ready(&address).await.is_some_and(|it| !it.0)).await;
        let (_, told) = ready(&address).await.unwrap();
        assert_eq!(told["conditions"]["database"]["met"], false, "{told}");
        assert_eq!(told["conditions"]["consumer"]["met"], true, "{told}");
        let (code, said) = healthcheck(&address, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is not ready: database: ") && said.lines().count() == 1, "{said}");
        let (code, said) = healthcheck(&address, &["--live"]);
        assert_eq!((code, said), (Some(0), format!("the worker at {address} is alive\n")));
        let clock = Surroundings::real().clock;
        let before = clock.elapsed();
        let (status, told) = ask(&address, "/metrics").await.unwrap();
        let took = clock.elapsed().saturating_sub(before);
        assert!(took < SCRAPE_MAX, "{took:?}");
        assert_eq!(status, 200);
        // What the database said last stands.
        assert!(told.contains("calendar_sync_effects_pending{calendar_provider=\"google\"} 0"));

        if is_silent {
            proxy.heal();
            until("it is ready again", async || ready(&address).await.is_some_and(|it| it.0)).await;
        }
        stops(worker).await;
        place.database.end().await;
    }
}

/// A roll-out to a version that cannot get at Kafka takes no worker away.
///
/// Fails with: `ops/health.rs`, `consumer`: `met` for `Reach::NotYet`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_kafka_has_not_answered_is_not_ready() {
    let test = "a_worker_that_kafka_has_not_answered_is_not_ready";
    let Some(place) = Place::with_topic(test).await else { return };
    let nobody = [("KAFKA_BROKERS", "127.0.0.1:1")];
    let worker = Worker::start(place.environment(&place.database.url, &nobody));
    let address = address(&worker).await;
    until("it says why", async || {
        let Some((is_ready, told)) = ready(&address).await else { return false };
        assert!(!is_ready, "{told}");
        // Until the database is open, it is that.
        told["conditions"]["database"]["met"] == true
            && why(&told, "consumer").starts_with("Kafka has not answered yet: ")
    })
    .await;
    let (code, said) = healthcheck(&address, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("consumer: Kafka has not answered yet: "), "{said}");
    stops(worker).await;
    place.database.end().await;
}

/// More workers than partitions, in both of Kafka's protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_to_which_nothing_is_assigned_is_ready() {
    let test = "a_worker_to_which_nothing_is_assigned_is_ready";
    for protocol in ["classic", "consumer"] {
        let Some(place) = Place::with_topic(test).await else { return };
        let settings = [("KAFKA_GROUP_PROTOCOL", protocol)];
        let start = || Worker::start(place.environment(&place.database.url, &settings));
        let workers = [start(), start(), start()];
        for worker in &workers {
            let address = address(worker).await;
            let is_ready = async || ready(&address).await.is_some_and(|it| it.0);
            until(&format!("{protocol}: it is ready"), is_ready).await;
        }
        let assigned = async || {
            let mut assigned = Vec::new();
            for worker in &workers {
                let (_, told) = ask(&address(worker).await, "/metrics").await.unwrap();
                let told = Exposition::of(told);
                assigned.push(told.value("calendar_sync_partitions_assigned", &[]).unwrap());
            }
            assigned.sort_by(f64::total_cmp);
            assigned
        };
        until("one of them has nothing", async || assigned().await == [0.0, 1.0, 1.0]).await;
        for worker in workers {
            stops(worker).await;
        }
        place.database.end().await;
    }
}

/// Prometheus asks for the format of exemplars; who asks for nothing gets what every tool reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "this is Prometheus's own client")]
async fn a_scrape_gets_the_format_that_it_asks_for() {
    let Some(place) = Place::with_topic("a_scrape_gets_the_format_that_it_asks_for").await else {
        return;
    };
    let worker = Worker::start(place.environment(&place.database.url, &[]));
    let address = address(&worker).await;
    until("it serves", async || ask(&address, "/metrics").await.is_some_and(|it| it.0 == 200))
        .await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.2";
    for (accept, kind, counter) in [
        (prometheus, "application/openmetrics-text; version=1.0.0; charset=utf-8", "runs"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "runs_total"),
    ] {
        let request = client.get(format!("http://{address}/metrics")).header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], kind);
        let text = answer.text().await.unwrap();
        assert!(text.contains(&format!("# TYPE calendar_sync_{counter} counter\n")), "{text}");
        assert_eq!(text.ends_with("# EOF\n"), accept == prometheus);
    }
    stops(worker).await;
    place.database.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_lives_before_its_database_answers_and_then_says_why_it_ends() {
    // It takes connections, and answers nothing.
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/calendar", database.local_addr().unwrap());
    let worker = Worker::start([("DATABASE_URL", url.as_str()), ("OPS_LISTEN", "127.0.0.1:0")]);
    let address = address(&worker).await;
    assert_eq!(ask(&address, "/livez").await, Some((200, "alive\n".to_owned())));
    let (is_ready, told) = ready(&address).await.unwrap();
    assert!(!is_ready);
    assert_eq!(why(&told, "database"), "it is being opened");
    let (code, said) = healthcheck(&address, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("database: it is being opened"), "{said}");
    let (status, log) = worker.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("error: cannot open the database of store.url (DATABASE_URL)"), "{log}");
}

#[tokio::test]
async fn who_is_not_there_is_neither_alive_nor_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for more in [&[][..], &["--live"]] {
        let (code, said) = healthcheck(&address, more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with(&format!("error: no worker answers at {address}: ")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let (code, said) = healthcheck("127.0.0.1:0", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("ops.listen (OPS_LISTEN) takes any free port"), "{said}");
}
