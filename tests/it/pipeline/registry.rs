//! The Schema Registry, over HTTP: a stub with the endpoints that a consumer uses, and golden
//! records of Confluent's serializers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use booking::decode::VALUE_SCHEMA_HEADER;
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::clock::{Clock, SystemClock};
use calendar_sync::consumer::{RawRecord, Taken};
use calendar_sync::registry::{MISSING_KEPT, MISSING_TRIES_MAX, Registry};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::world::{World, good, record, records};
use crate::golden::Golden;
use crate::store_contract::env::{Env, HandClock};
use crate::store_contract::sqlite::memory_env;
use crate::wait::until;

/// What the stub does with a question.
#[derive(Clone)]
enum Mood {
    /// It answers.
    Well,
    /// It gives so many of these answers before it is well.
    Ill(u32, StatusCode, &'static str),
}

#[derive(Clone)]
struct Stub {
    schemas: Arc<Mutex<BTreeMap<String, String>>>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
    authorized: Arc<AtomicU32>,
}

impl Stub {
    fn new() -> Self {
        Self {
            schemas: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Well)),
            asked: Arc::default(),
            authorized: Arc::default(),
        }
    }

    /// Serves at this address until the tasks end.
    async fn serve(&self, address: &str, tasks: &mut JoinSet<()>) -> Url {
        let listener = TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/registry/schemas/ids/{id}", get(schema))
            .route("/registry/schemas/guids/{guid}", get(schema))
            .route("/registry/subjects", get(async || Json(json!(["booking.events-value"]))))
            .with_state(self.clone());
        tasks.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        format!("{url}/registry/").parse().expect("a URL")
    }

    fn learn(&self, name: &str, schema: &str) {
        self.schemas.lock().unwrap().insert(name.to_owned(), schema.to_owned());
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What it was asked for. Forgets it.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// As Confluent's API reference has it: `{"schema": "…"}`, or 404 with error code 40403.
async fn schema(
    State(stub): State<Stub>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    stub.asked.lock().unwrap().push(name.clone());
    // The Base64 of `reader:hunter2`.
    if headers.get("authorization").is_some_and(|value| value == "Basic cmVhZGVyOmh1bnRlcjI=") {
        stub.authorized.fetch_add(1, Ordering::SeqCst);
    }
    let mut mood = stub.mood.lock().unwrap();
    if let Mood::Ill(left, status, body) = *mood {
        *mood = if left > 1 { Mood::Ill(left - 1, status, body) } else { Mood::Well };
        return (status, body).into_response();
    }
    if let Some(schema) = stub.schemas.lock().unwrap().get(&name) {
        return Json(json!({ "schema": schema, "schemaType": "AVRO" })).into_response();
    }
    let answer = json!({ "error_code": 40403, "message": "Schema not found" });
    (StatusCode::NOT_FOUND, Json(answer)).into_response()
}

fn client(url: Url, clock: Arc<dyn Clock>) -> Arc<Registry> {
    let http = Http::new(HttpOptions {
        call_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        proxy_from_environment: false,
        reach: Reach::Anywhere,
        clock: Arc::new(SystemClock::start()),
    });
    let credentials = ("reader".to_owned(), "hunter2".to_owned().into());
    Arc::new(Registry::new(http.unwrap(), url, Some(credentials), clock))
}

/// A world with a registry, and its stub.
struct Place {
    env: Env,
    world: World,
    stub: Stub,
    /// The registry's client's.
    clock: Arc<HandClock>,
    _tasks: JoinSet<()>,
}

impl Place {
    async fn new() -> Self {
        let (stub, mut tasks) = (Stub::new(), JoinSet::new());
        let url = stub.serve("127.0.0.1:0", &mut tasks).await;
        let env = memory_env("registry").await.expect("it needs no service");
        let clock = HandClock::new();
        let world = World::with(&env, client(url, Arc::clone(&clock) as _));
        Self { env, world, stub, clock, _tasks: tasks }
    }
}

/// A golden record of a registry's serializer.
fn golden(file: &str) -> Golden {
    Golden::all().into_iter().find(|golden| golden.file == file).expect("it is kept")
}

/// It at an offset; the name that its schema has is learned.
fn learned(stub: &Stub, golden: &Golden, offset: i64) -> RawRecord {
    let mut record = record(0, offset, golden.payload());
    let name = match golden.header() {
        None => "70000".to_owned(),
        Some(header) => {
            record.headers.push((VALUE_SCHEMA_HEADER.to_owned(), Some(header.clone())));
            uuid::Uuid::from_slice(&header[1..]).expect("01 and a GUID").to_string()
        }
    };
    stub.learn(&name, &golden.schema_json().expect("it was written with a registry"));
    record
}

#[tokio::test]
async fn golden_records_are_read_with_schemas_that_are_fetched_once() {
    let place = Place::new().await;
    let mut log = place.world.log().await;
    let prefix = golden("prefix-BookingCreated-newer.bin");
    let header = golden("header-BookingUpdated-letters.bin");
    for round in 0..3 {
        let taken = vec![
            learned(&place.stub, &prefix, 2 * round),
            learned(&place.stub, &header, 2 * round + 1),
        ];
        let to = 2 * round + 2;
        assert_eq!(place.world.take_records(&mut log, taken).await, Taken::To(to));
    }
    let mut asked = place.stub.asked();
    asked.sort();
    assert_eq!(asked, ["70000", "fb38a206-548b-56ae-99cb-03cf7dd78267"]);
    assert_eq!(place.stub.authorized.load(Ordering::SeqCst), 2);
    // The same sequence with other content: read, and then a conflict.
    let classes: Vec<_> = place.world.letters().await.into_iter().map(|one| one.class).collect();
    assert_eq!(classes, ["sequence_conflict"; 3]);
    place.env.end().await;
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_asked_for_a_few_times_and_then_unknown() {
    let place = Place::new().await;
    let mut log = place.world.log().await;
    let golden = golden("prefix-BookingCreated-newer.bin");
    let unknown = record(0, 0, golden.payload());
    assert_eq!(place.world.take_records(&mut log, vec![unknown]).await, Taken::To(1));
    assert_eq!(place.stub.asked(), vec!["70000"; MISSING_TRIES_MAX as usize]);
    let letters = place.world.letters().await;
    assert_eq!(letters[0].class, "unknown_schema");
    assert_eq!(letters[0].reason, "the schema registry has no schema id 70000");
    // What was unknown is known by now: a person who redrives it does not wait.
    learned(&place.stub, &golden, 0);
    place.world.pipeline.redrive(letters[0].id).await.unwrap();
    place.env.end().await;
}

#[tokio::test]
async fn a_follower_that_lags_behind_its_leader_for_a_moment_makes_no_dead_letter() {
    let place = Place::new().await;
    let mut log = place.world.log().await;
    let body = "{\"error_code\":40403,\"message\":\"Schema not found\"}";
    place.stub.is(Mood::Ill(MISSING_TRIES_MAX - 1, StatusCode::NOT_FOUND, body));
    let lagging = learned(&place.stub, &golden("prefix-BookingCreated-newer.bin"), 0);
    assert_eq!(place.world.take_records(&mut log, vec![lagging]).await, Taken::To(1));
    assert_eq!(place.world.letters().await, []);
    place.env.end().await;
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_asked_for_again_after_a_while_and_not_for_every_record() {
    let place = Place::new().await;
    let mut log = place.world.log().await;
    let golden = golden("prefix-BookingCreated-newer.bin");
    let unknown = (0..50).map(|offset| record(0, offset, golden.payload())).collect();
    assert_eq!(place.world.take_records(&mut log, unknown).await, Taken::To(50));
    assert_eq!(place.world.letters().await.len(), 50);
    assert_eq!(place.stub.asked().len(), MISSING_TRIES_MAX as usize);
    // It is registered late.
    let late = |offset| vec![learned(&place.stub, &golden, offset)];
    assert_eq!(place.world.take_records(&mut log, late(50)).await, Taken::To(51));
    assert_eq!(place.stub.asked().len(), 0);
    place.clock.pass(MISSING_KEPT);
    assert_eq!(place.world.take_records(&mut log, late(51)).await, Taken::To(52));
    assert_eq!(place.stub.asked().len(), 1);
    assert_eq!(place.world.letters().await.len(), 51);
    place.env.end().await;
}

#[tokio::test]
async fn a_stop_is_seen_between_two_records() {
    let place = Place::new().await;
    let log = place.world.log().await;
    let unknown = record(0, 0, golden("prefix-BookingCreated-newer.bin").payload());
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(place.world.take_until(&log, vec![unknown], &stop).await, Taken::Stopped);
    assert_eq!(place.stub.asked().len(), 0);
    place.env.end().await;
}

#[tokio::test]
async fn a_registry_in_trouble_is_waited_for_and_nothing_is_skipped() {
    let cases = [
        (StatusCode::INTERNAL_SERVER_ERROR, "{\"error_code\":50001}"),
        (StatusCode::SERVICE_UNAVAILABLE, ""),
        (StatusCode::UNAUTHORIZED, "{\"error_code\":40101}"),
        (StatusCode::TOO_MANY_REQUESTS, ""),
        (StatusCode::MOVED_PERMANENTLY, ""),
        // Not the registry's own words: something else answers at this address.
        (StatusCode::NOT_FOUND, "<html>no such page</html>"),
        (StatusCode::OK, "<html>please log in</html>"),
    ];
    for (status, body) in cases {
        let place = Place::new().await;
        let mut log = place.world.log().await;
        place.stub.is(Mood::Ill(6, status, body));
        let mut taken = records(&log, good("b", 2));
        taken.insert(1, learned(&place.stub, &golden("prefix-BookingCreated-newer.bin"), 1));
        taken[2].offset = 2;
        assert_eq!(place.world.take_records(&mut log, taken).await, Taken::To(3), "{status}");
        assert_eq!(place.stub.asked().len(), 7, "{status}");
        assert_eq!(place.world.letters().await, [], "{status}");
        let [(batch, _)] = &place.world.store.commits()[..] else {
            panic!("not one commit");
        };
        assert_eq!(batch.journal.len(), 3, "{status}");
        place.env.end().await;
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_waited_for() {
    let (stub, mut tasks) = (Stub::new(), JoinSet::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let env = memory_env("registry").await.expect("it needs no service");
    let url = format!("http://{address}/registry").parse().expect("a URL");
    let world = World::with(&env, client(url, HandClock::new()));
    let mut log = world.log().await;
    let record = learned(&stub, &golden("header-BookingCreated-all.bin"), 0);
    // It waits until it is told to stop, and then nothing has been decided.
    let stop = CancellationToken::new();
    let waited = async |times| {
        let waits = || world.dice.waits.load(Ordering::SeqCst);
        until("it has waited", async || waits() >= times).await;
    };
    let stopping = async {
        waited(3).await;
        stop.cancel();
    };
    let taking = world.take_until(&log, vec![record.clone()], &stop);
    let (taken, ()) = tokio::join!(taking, stopping);
    assert_eq!(taken, Taken::Stopped);
    assert_eq!(world.cursor(&log).await, None);
    // It is there again.
    let waits = world.dice.waits.load(Ordering::SeqCst);
    let coming = async {
        waited(waits + 3).await;
        stub.serve(&address, &mut tasks).await
    };
    let (taken, _) = tokio::join!(world.take_records(&mut log, vec![record]), coming);
    assert_eq!(taken, Taken::To(1));
    assert_eq!(world.letters().await, []);
    env.end().await;
}
