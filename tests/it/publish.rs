//! `publish`, from lines of JSON to what a consumer reads; and its encoding beside fastavro's.

use std::path::PathBuf;
use std::time::Duration;

use booking::decode::{Contract, Framing};
use booking::{BookingEvent, Change, Status};
use calendar_sync::cli::encode::{LineError, encode, read_line};
use calendar_sync::cli::publish::{LINE_LEN_MAX, PublishError, PublishReport, publish};
use calendar_sync::clock::{Dice, SystemDice};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::{Value, json};
use uuid::Uuid;

const PARTITIONS: i32 = 3;

/// Dice that always fall the same way.
struct Fixed(Uuid);

impl Dice for Fixed {
    fn token(&self) -> Uuid {
        self.0
    }

    fn unit(&self) -> f64 {
        0.0
    }
}

fn created(booking: &str, title: &str) -> Value {
    json!({
        "type": "BookingCreated",
        "booking_id": booking,
        "provider_id": "5b1f6c1e-0c7c-4a53-9a6e-0d5f6a3f9f10",
        "occurred_at": "2026-01-01T10:01:01.123+01:00",
        "start_time": "2026-03-29T02:30:00Z",
        "end_time": "2026-03-29T03:30:00Z",
        "time_zone": "Europe/Berlin",
        "service_name": "Massage",
        "title": title,
    })
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn read(payload: &[u8]) -> BookingEvent {
    let contract = Contract::new();
    let Framing::SingleObject { fingerprint, datum } =
        Framing::of(None, Some(payload)).expect("framed")
    else {
        panic!("not a single object");
    };
    let writer = contract.by_fingerprint(fingerprint).expect("a bundled schema");
    contract.read(writer, datum, "bookings.example").expect("an event")
}

/// Every record on the topic, as (key, event), once there are `count` of them.
fn consumed(brokers: &str, topic: &str, count: usize) -> Vec<(String, BookingEvent)> {
    let consumer: BaseConsumer =
        config(brokers).set("group.id", "none").create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&partitions).expect("assigned");
    let (mut found, mut idle) = (Vec::new(), 0);
    while found.len() < count {
        let Some(record) = consumer.poll(Duration::from_millis(100)) else {
            idle += 1;
            assert!(idle < 300, "{} of {count} records", found.len());
            continue;
        };
        let record = record.expect("a record");
        let key = String::from_utf8(record.key().expect("a key").to_vec()).expect("text");
        found.push((key, read(record.payload().expect("a value"))));
    }
    found
}

/// Publishes good lines and bad ones, and reads the good ones back.
async fn good_lines_arrive_and_bad_ones_are_named(brokers: &str, topic: &str) {
    let mut lines = vec![
        created("bk-0", "Zoë").to_string(),
        "{\"type\": \"BookingCreated\", ".to_owned(),
        String::new(),
        json!({"type": "BookingCreated", "booking_id": "bk-1"}).to_string(),
        created("bk-1", "NUL \0").to_string(),
    ];
    let mut cancelled = created("bk-0", "");
    cancelled["type"] = json!("BookingCancelled");
    lines.push(cancelled.to_string());
    lines.push(format!("\"{}\"", "x".repeat(LINE_LEN_MAX)));
    lines.extend((2..1_500).map(|number| created(&format!("bk-{number}"), "").to_string()));
    let mut out = Vec::new();
    let lines = lines.join("\n");
    let published = publish(config(brokers), topic, lines.as_bytes(), &SystemDice, &mut out).await;
    let Err(PublishError::Incomplete(report)) = published else {
        panic!("{published:?}: {}", String::from_utf8_lossy(&out));
    };
    let expected = PublishReport { lines: 1_504, delivered: 1_499, refused: 5, undelivered: 0 };
    assert_eq!(report, expected);
    let out = String::from_utf8(out).expect("text");
    let said: Vec<&str> = out.lines().collect();
    assert!(said[0].starts_with("line 2: not JSON: "), "{out}");
    assert_eq!(
        said[1..],
        [
            "line 4: provider_id: it is missing",
            "line 5: the service would refuse it as invalid: title: it has a U+0000",
            "line 6: end_time: BookingCancelled has no such field",
            "line 7: longer than 4194304 bytes",
            &format!("1499 of 1504 events delivered to {topic}, 5 lines refused, 0 not delivered"),
        ]
    );
    let found = consumed(brokers, topic, 1_499);
    assert!(found.iter().all(|(key, event)| key == event.booking.as_str()));
    let (_, first) = found.iter().find(|(key, _)| key == "bk-0").expect("bk-0");
    let Change::Created(details) = &first.change else { panic!("{first:?}") };
    assert_eq!(details.title.as_deref(), Some("Zoë"));
    assert_eq!(details.status, Status::Confirmed);
    assert_eq!(first.occurred_at.to_rfc3339(), "2026-01-01T09:01:01.123+00:00");
}

#[tokio::test]
async fn published_lines_arrive_in_the_embedded_broker() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("booking.events", PARTITIONS, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    good_lines_arrive_and_bad_ones_are_named(&brokers, "booking.events").await;
}

#[tokio::test]
async fn published_lines_arrive_in_apache_kafka() {
    let Some(brokers) = crate::services::kafka("published_lines_arrive_in_apache_kafka") else {
        return;
    };
    let topic = format!("publish-{}", SystemDice.token());
    let admin: AdminClient<DefaultClientContext> = config(&brokers).create().unwrap();
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    for result in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
        result.unwrap();
    }
    good_lines_arrive_and_bad_ones_are_named(&brokers, &topic).await;
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
}

#[tokio::test]
async fn a_record_that_kafka_does_not_take_is_named_and_the_others_are_sent() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("booking.events", PARTITIONS, 1).unwrap();
    let mut config = config(&cluster.bootstrap_servers());
    config.set("message.max.bytes", "1000");
    let mut long = created("bk-1", "");
    long["notes"] = json!("n".repeat(2_000));
    let lines = [created("bk-0", ""), long, created("bk-2", "")].map(|line| line.to_string());
    let (lines, mut out) = (lines.join("\n"), Vec::new());
    let published =
        publish(config, "booking.events", lines.as_bytes(), &SystemDice, &mut out).await;
    let Err(PublishError::Incomplete(report)) = published else { panic!("{published:?}") };
    let expected = PublishReport { lines: 3, delivered: 2, refused: 0, undelivered: 1 };
    assert_eq!(report, expected);
    assert!(out.starts_with(b"line 2: not delivered: "), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn an_event_without_an_id_gets_one_and_an_event_with_one_keeps_it() {
    let dice = Fixed(Uuid::from_u128(7));
    let mut line = created("bk-0", "");
    let (event, _) = read_line(line.to_string().as_bytes(), &dice).unwrap();
    assert_eq!(event.id.0, dice.0);
    line["event_id"] = json!("0190a5d8-7c3b-7e52-9b1f-2f3f5a6b7c8d");
    let (event, _) = read_line(line.to_string().as_bytes(), &dice).unwrap();
    assert_eq!(event.id.to_string(), "0190a5d8-7c3b-7e52-9b1f-2f3f5a6b7c8d");
}

#[test]
fn a_line_that_is_no_event_is_refused_by_its_field() {
    let dice = Fixed(Uuid::nil());
    let refused = |field: &str, value: Value| {
        let mut line = created("bk-0", "");
        line[field] = value;
        read_line(line.to_string().as_bytes(), &dice).unwrap_err().to_string()
    };
    assert_eq!(
        refused("start_time", json!("today")),
        "start_time: expected a time as RFC 3339 has it"
    );
    assert_eq!(refused("start_time", json!(17)), "start_time: expected a text");
    assert_eq!(refused("sequence", json!(1.5)), "sequence: expected a whole number");
    assert_eq!(
        refused("status", json!("LATE")),
        "status: expected PENDING, CONFIRMED, COMPLETED or NO_SHOW"
    );
    assert_eq!(refused("titel", json!("x")), "titel: BookingCreated has no such field");
    assert!(refused("type", json!("BookingMoved")).starts_with("type: expected one of"));
    let ends = refused("end_time", json!("2026-03-29T02:30:00Z"));
    assert!(ends.ends_with("invalid: end_time: it is not after start_time"), "{ends}");
    let not_an_object = read_line(b"[]", &dice);
    assert!(matches!(not_an_object, Err(LineError::NotAnObject)));
}

#[test]
fn what_we_encode_is_what_fastavro_encodes() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let index = std::fs::read_to_string(directory.join("index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_str(&index).unwrap();
    let mut compared = 0;
    for golden in &index {
        let file = golden["file"].as_str().unwrap();
        let expected = &golden["expected"];
        if !file.starts_with("single-") || expected.is_null() {
            continue;
        }
        let (event, encoded) =
            read_line(expected.to_string().as_bytes(), &Fixed(Uuid::nil())).expect(file);
        assert_eq!(encoded, std::fs::read(directory.join(file)).unwrap(), "{file}");
        assert_eq!(encoded, encode(&event), "{file}");
        compared += 1;
    }
    assert!(compared >= 12, "only {compared} records");
}
