//! Dead letters and cursors on a database with something in it.

use std::sync::Arc;

use booking::Change;
use calendar_sync::cli::encode::encode;
use calendar_sync::consumer::Taken;
use calendar_sync::store::{Fenced, Stop};
use data_encoding::BASE64;
use serde_json::Value;

use super::{Said, command};
use crate::pipeline::world::{World, created, details, event, updated, written};
use crate::store_contract::env::{Answered as _, Env, Time, hour};
use crate::store_contract::postgres::Database;

const TOPIC: &str = "booking.events";

/// A migrated database, and a pipeline into it.
struct Place {
    database: Database,
    env: Env,
    world: World,
}

impl Place {
    async fn new(test: &str) -> Option<Self> {
        let database = Database::new(test).await?;
        command(&database.url, &["migrate"], &[]).done();
        let store = database.connect().await;
        let pool = store.pool().clone();
        let ending = Box::pin(async move { pool.close().await });
        let env = Env { store: Arc::new(store), time: Time::Real, ending };
        let world = World::of(&env);
        Some(Self { database, env, world })
    }

    fn run(&self, arguments: &[&str]) -> Said {
        command(&self.database.url, arguments, &[("CONTENT_UID_DOMAIN", "example.com")])
    }

    async fn end(self) {
        drop(self.world);
        self.env.end().await;
        self.database.end().await;
    }
}

fn backwards() -> Vec<u8> {
    let mut details = details("spoilt");
    details.end = hour(8);
    encode(&event("spoilt", Change::Created(details)))
}

/// Two that nobody can read, and three of a booking that moved to partition 1.
async fn five_letters(place: &Place) {
    let world = &place.world;
    let mut old = world.log_of(TOPIC, 0).await;
    let mut new = world.log_of(TOPIC, 1).await;
    let values = vec![encode(&created("b", "first")), Vec::new(), backwards()];
    assert_eq!(world.take(&mut old, values).await, Taken::To(3));
    let moved = ["second", "third", "fourth"].map(|title| updated("b", title));
    assert_eq!(world.take(&mut new, written(&moved)).await, Taken::To(3));
}

/// A table without its column of times.
fn table(text: &str) -> Vec<String> {
    let is_time = |word: &&str| !(word.ends_with('Z') && word.starts_with("20"));
    let row = |line: &str| line.split_whitespace().filter(is_time).collect::<Vec<_>>().join(" ");
    text.lines().map(row).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown_whole() {
    let Some(place) = Place::new("letters_shown").await else { return };
    five_letters(&place).await;
    let moved = "booking b was last folded from partition 0, and this event without a sequence s…";
    assert_eq!(
        table(&place.run(&["dead-letters", "list"]).done()),
        [
            "ID STATE CLASS SINCE WHERE REASON",
            "1 open malformed booking.events/0@1 an empty value",
            "2 open invalid booking.events/0@2 end_time: it is not after start_time",
            &format!("3 open moved_partition booking.events/1@0 {moved}"),
            &format!("4 open moved_partition booking.events/1@1 {moved}"),
            &format!("5 open moved_partition booking.events/1@2 {moved}"),
        ]
    );
    let some = ["dead-letters", "list", "--class", "moved_partition", "--limit", "2", "--json"];
    let some = place.run(&some).done();
    let ids: Vec<Value> = some
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, [3, 4]);
    let first = place.run(&["dead-letters", "list", "--limit", "1"]).done();
    assert!(first.ends_with("there are more: --after 1, or a greater --limit\n"), "{first}");
    assert_eq!(
        place.run(&["dead-letters", "list", "--state", "discarded"]).done(),
        "there are no such dead letters\n"
    );

    let shown = place.run(&["dead-letters", "show", "1"]).done();
    for part in [
        "dead letter 1 (open)\n  class      malformed\n  reason     an empty value\n",
        "\n  topic      booking.events\n  partition  0\n  offset     1\n",
        "\n  key: 3 bytes\n    00000000  00 ff 6b  ",
        "|..k|\n  header trace: 2 bytes\n    00000000  00 9f  ",
        "\n  header trace: null\n  header : 0 bytes\n  value: 0 bytes\n",
    ] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    let whole = place.run(&["dead-letters", "show", "2", "--json"]).done();
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["value_base64"], BASE64.encode(&backwards()));
    let missing = place.run(&["dead-letters", "show", "9"]).failed(1);
    assert_eq!(missing, "error: there is no dead letter 9\n");
    place.end().await;
}

#[tokio::test]
async fn dead_letters_are_redriven_in_order_by_one_command_and_the_rest_discarded() {
    let Some(place) = Place::new("letters_redriven").await else { return };
    five_letters(&place).await;
    let all = ["dead-letters", "redrive", "--all", "--class", "moved_partition"];
    assert_eq!(
        place.run(&all).done(),
        "3: redriven: visible\n4: redriven: visible\n5: redriven: visible\n"
    );
    let title = place.world.title("b").await;
    assert!(title.is_some_and(|title| title.starts_with("Booking: ")), "as the settings say");
    assert_eq!(place.world.booking("b").await.unwrap().0.last.offset, 2);
    assert_eq!(place.run(&all).done(), "there is no open dead letter of that kind\n");

    assert_eq!(
        place.run(&["dead-letters", "redrive", "2", "1"]).failed(1),
        "error: dead letter 1 stays open\n  because: dead letter 1 is still dead\n  because: \
         malformed: an empty value\n"
    );
    let said = place.run(&["dead-letters", "redrive", "--all", "--keep-going"]);
    assert_eq!(
        said.out,
        "1: stays open: dead letter 1 is still dead: malformed: an empty value\n\
         2: stays open: dead letter 2 is still dead: invalid: end_time: it is not after start_time\n"
    );
    assert_eq!(said.failed(1), "error: 2 of 2 dead letters stay open\n");

    let said = place.run(&["dead-letters", "discard", "1", "3", "2", "9"]);
    assert_eq!(said.out, "1: discarded\n2: discarded\n");
    assert_eq!(said.failed(1), "error: there is no open dead letter 3, 9\n");
    assert_eq!(
        place.run(&["dead-letters", "redrive", "1"]).failed(1),
        "error: dead letter 1 stays as it is\n  because: dead letter 1 is discarded already\n"
    );
    let listed = place.run(&["dead-letters", "list", "--state", "all"]).done();
    let states = table(&listed);
    let states: Vec<_> = states.iter().skip(1).filter_map(|row| row.split(' ').nth(1)).collect();
    assert_eq!(states, ["discarded", "discarded", "redriven", "redriven", "redriven"]);
    place.end().await;
}

#[tokio::test]
async fn a_stopped_partition_is_shown_and_answered() {
    let Some(place) = Place::new("cursors").await else { return };
    five_letters(&place).await;
    let log = place.world.log_of(TOPIC, 0).await;
    let stop = Stop { kind: "truncated".to_owned(), found: "the log ends at offset 2".to_owned() };
    assert_eq!(place.env.store.stop(&log.fence, &stop).await.answered(), Fenced::Written);
    assert_eq!(
        place.run(&["cursor", "show"]).done(),
        "\
TOPIC           PARTITION  CURSOR  LOG END  LAG  EPOCH  STATE
booking.events  0          3       3        0    2      STOPPED
booking.events  1          3       3        0    1      reading

booking.events/0 is stopped: truncated
  found: the log ends at offset 2
  what to do:
    The log ends before what was read: its tail is lost. What was read stays valid.
    If the booking service publishes into this log again, read what is new from its end:
    calendar-sync cursor accept --topic booking.events --partition 0 --at OFFSET
"
    );
    assert_eq!(
        place.run(&["cursor", "accept", "--partition", "0", "--at", "2"]).done(),
        "booking.events/0: reads on at 2, as soon as its owner has noticed\n"
    );
    assert_eq!(
        place.run(&["cursor", "set", "--partition", "1", "--at", "0"]).done(),
        "booking.events/1: reads on at 0, as soon as its owner has noticed\n"
    );
    let shown = place.run(&["cursor", "show", "--json"]).done();
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown[0]["stopped"], Value::Null);
    assert_eq!((&shown[0]["cursor"], &shown[0]["incarnation"]), (&2.into(), &1.into()));
    assert_eq!((&shown[1]["cursor"], &shown[1]["incarnation"]), (&0.into(), &0.into()));
    assert_eq!((&shown[1]["lag"], &shown[1]["epoch"]), (&3.into(), &2.into()));
    for (topic, partition) in [(TOPIC, "7"), ("other", "0")] {
        let set = ["cursor", "set", "--topic", topic, "--partition", partition, "--at", "0"];
        assert_eq!(
            place.run(&set).failed(1),
            format!(
                "error: there is no cursor of {topic}/{partition}; see calendar-sync cursor show\n"
            )
        );
    }
    place.end().await;
}
