//! Facts of what can never become part of a booking (rule R4).

use std::sync::Arc;

use async_trait::async_trait;
use booking::decode::{Contract, SchemaKey, VALUE_SCHEMA_HEADER, Writer};
use booking::{Change, Details};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::consumer::{RawRecord, Taken};
use calendar_sync::pipeline::schemas::{SchemaError, Schemas};
use calendar_sync::store::{DeadLetter, DeadState, Origin};

use super::world::{
    World, created, details, event, good, record, records, sequenced, updated, written,
};
use crate::golden::Golden;
use crate::store_contract::env::{Env, TOPIC, hour, uid};

/// A value that is a dead letter, with its class and reason.
struct Case {
    value: Vec<u8>,
    class: &'static str,
    reason: String,
}

fn case(value: Vec<u8>, class: &'static str, reason: impl Into<String>) -> Case {
    Case { value, class, reason: reason.into() }
}

/// An otherwise good event.
fn spoilt(spoil: impl FnOnce(&mut Details)) -> Vec<u8> {
    let mut details = details("spoilt");
    spoil(&mut details);
    encode(&event("spoilt", Change::Created(details)))
}

/// Replaces bytes by as many others.
fn replace(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

fn unreadable() -> Vec<Case> {
    let whole = spoilt(|_| {});
    let datum_len = whole.len() - 10;
    let long = "x".repeat(2 * 1024 * 1024);
    let too_long = spoilt(|details| details.description = Some(long.clone()));
    let too_long_len = too_long.len();
    vec![
        case(Vec::new(), "malformed", "an empty value"),
        case(
            b"{\"type\":\"BookingCreated\"}".to_vec(),
            "malformed",
            "it begins like no framing that we know (00, or C3 01)",
        ),
        case(vec![0xC3, 1, 7], "malformed", "it ends inside its fingerprint"),
        case(vec![0, 0, 1], "malformed", "it ends inside its schema id"),
        case(
            whole[..whole.len() - 1].to_vec(),
            "malformed",
            format!("a BookingCreated that ends early, at byte {}", datum_len - 1),
        ),
        case(
            [whole.as_slice(), &[0]].concat(),
            "malformed",
            format!("a BookingCreated of {datum_len} bytes with 1 more after it"),
        ),
        case(
            [&[0xC3, 1], &[0xFF; 8][..], &whole[10..]].concat(),
            "unknown_schema",
            "no bundled schema has the fingerprint ffffffffffffffff",
        ),
        case(
            [&[0, 0, 0, 0, 7], &whole[10..]].concat(),
            "unknown_schema",
            "the record names schema id 7 of a registry, and none is set",
        ),
        case(
            spoilt(|details| details.end = hour(8)),
            "invalid",
            "end_time: it is not after start_time",
        ),
        case(
            replace(whole, b"Europe/Berlin", b"Europe/Pankow"),
            "invalid",
            "time_zone: \"Europe/Pankow\" is not a zone that we know",
        ),
        case(
            spoilt(|details| details.title = Some("a\0b".to_owned())),
            "invalid",
            "title: it has a U+0000",
        ),
        case(
            spoilt(|details| details.description = Some("x".repeat(100_000))),
            "too_large",
            "description: 100000 bytes, and 65536 are accepted",
        ),
        case(too_long, "too_large", format!("{too_long_len} bytes, and 1048576 are accepted")),
    ]
}

/// Of bookings `name-0` and `name-1`, after they were made with sequence 3.
fn unfoldable(name: &str) -> Vec<Case> {
    let [first, second] = [0, 1].map(|number| format!("{name}-{number}"));
    let with_uid = |event: OutgoingEvent, of: &str| OutgoingEvent { uid: Some(uid(of)), ..event };
    vec![
        case(
            encode(&with_uid(updated(&first, "another UID"), "elsewhere")),
            "uid_changed",
            format!(
                "booking {first} has the UID booking-{first}@example.com, and this event says \
                 booking-elsewhere@example.com"
            ),
        ),
        case(
            encode(&with_uid(created(&format!("{name}-thief"), "taken"), &second)),
            "uid_taken",
            format!(
                "the UID booking-{second}@example.com is booking {second}'s, and this event is of \
                 booking {name}-thief"
            ),
        ),
        case(
            encode(&sequenced(updated(&first, "other content"), 3)),
            "sequence_conflict",
            format!("booking {first} has had sequence 3 already, with other content"),
        ),
    ]
}

/// That the letter is this record, whole, and still open.
#[track_caller]
fn assert_whole(letter: &DeadLetter, record: &RawRecord) {
    let Origin::Record(kept) = &letter.origin else {
        panic!("not a record's: {letter:?}");
    };
    assert_eq!(kept.topic, TOPIC);
    let position = kept.position;
    assert_eq!((position.incarnation, position.partition), (0, record.partition));
    assert_eq!(position.offset, record.offset);
    assert_eq!(kept.timestamp_ms, record.timestamp_ms);
    assert_eq!((&kept.key, &kept.headers), (&record.key, &record.headers));
    assert!(kept.payload == record.payload, "the bytes of offset {}", record.offset);
    assert_eq!(letter.state, DeadState::Open);
}

/// Takes each case between two good records, all in one batch and then one record a batch.
async fn assert_dead(
    env: &Env,
    mut before: impl FnMut(&str) -> Vec<Vec<u8>>,
    cases: fn(&str) -> Vec<Case>,
) {
    let world = World::of(env);
    let mut log = world.log().await;
    for (name, batch_len) in [("all", usize::MAX), ("one", 1)] {
        let first = before(name);
        if !first.is_empty() {
            let end = log.at + i64::try_from(first.len()).unwrap();
            assert_eq!(world.take(&mut log, first).await, Taken::To(end));
        }
        let known = world.letters().await.len();
        let (cases, mut values) = (cases(name), Vec::new());
        let neighbours = good(&format!("{name}-good"), cases.len() + 1);
        for (case, neighbour) in cases.iter().zip(&neighbours) {
            values.extend([neighbour.clone(), case.value.clone()]);
        }
        values.push(neighbours[cases.len()].clone());
        let taken = records(&log, values);
        let end = log.at + i64::try_from(taken.len()).unwrap();
        for batch in taken.chunks(batch_len.min(taken.len())) {
            let to = batch[batch.len() - 1].offset + 1;
            assert_eq!(world.take_records(&mut log, batch.to_vec()).await, Taken::To(to));
        }
        assert_eq!(world.cursor(&log).await, Some(end));
        let letters = &world.letters().await[known..];
        assert_eq!(letters.len(), cases.len(), "{letters:?}");
        for (number, (letter, case)) in letters.iter().zip(&cases).enumerate() {
            assert_eq!((letter.class.as_str(), &letter.reason), (case.class, &case.reason));
            assert_whole(letter, &taken[2 * number + 1]);
        }
        for number in 0..neighbours.len() {
            let name = format!("{name}-good-{number}");
            assert_eq!(world.title(&name).await.as_deref(), Some("Massage: good"), "{name}");
        }
    }
}

pub(crate) async fn what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_folded(env: &Env) {
    assert_dead(env, |_| Vec::new(), |_| unreadable()).await;
}

pub(crate) async fn what_cannot_be_folded_is_a_dead_letter_and_its_neighbours_are_folded(
    env: &Env,
) {
    let before = |name: &str| {
        let made = |number| sequenced(created(&format!("{name}-{number}"), "kept"), 3);
        written(&[0, 1].map(made))
    };
    assert_dead(env, before, unfoldable).await;
    let world = World::of(env);
    for name in ["all-0", "all-1", "one-0", "one-1"] {
        assert_eq!(world.title(name).await.as_deref(), Some("Massage: kept"), "{name}");
    }
    assert_eq!(world.booking("all-thief").await, None);
}

pub(crate) async fn an_event_of_another_partition_is_a_dead_letter_unless_it_has_a_sequence(
    env: &Env,
) {
    let world = World::of(env);
    let (mut old, mut new) = (world.log_of(TOPIC, 0).await, world.log_of(TOPIC, 1).await);
    let first = [created("plain", "first"), sequenced(created("counted", "first"), 1)];
    assert_eq!(world.take(&mut old, written(&first)).await, Taken::To(2));
    let then = [
        updated("plain", "moved"),
        sequenced(updated("counted", "moved"), 2),
        created("neighbour", "new"),
    ];
    let moved = records(&new, written(&then));
    assert_eq!(world.take_records(&mut new, moved.clone()).await, Taken::To(3));
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].class, "moved_partition");
    assert_eq!(
        letters[0].reason,
        "booking plain was last folded from partition 0, and this event without a sequence \
         stands in partition 1"
    );
    assert_whole(&letters[0], &moved[0]);
    assert_eq!(world.title("plain").await.as_deref(), Some("Massage: first"));
    assert_eq!(world.title("counted").await.as_deref(), Some("Massage: moved"));
    assert_eq!(world.title("neighbour").await.as_deref(), Some("Massage: new"));
}

pub(crate) async fn a_tombstone_does_nothing(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    let tombstone = RawRecord { payload: None, ..record(0, 0, Vec::new()) };
    assert_eq!(world.take_records(&mut log, vec![tombstone]).await, Taken::To(1));
    let mut around = records(&log, good("b", 3));
    around[1].payload = None;
    assert_eq!(world.take_records(&mut log, around).await, Taken::To(4));
    for (batch, _) in world.store.commits() {
        assert_eq!((batch.dead_letters.len(), batch.bookings.len() % 2), (0, 0));
        assert_eq!(batch.journal.len(), batch.bookings.len());
    }
    assert_eq!(world.title("b-0").await, world.title("b-2").await);
    assert_eq!(world.booking("b-1").await, None);
    assert_eq!(world.letters().await, []);
}

/// A registry that has one schema under every name.
struct One(Option<String>);

#[async_trait]
impl Schemas for One {
    async fn writer(&self, _: SchemaKey) -> Result<Arc<Writer>, SchemaError> {
        let json = self.0.as_ref().expect("the record names no schema of a registry");
        Ok(Contract::new().writer(json).map(Arc::new)?)
    }
}

/// Each is made a booking of its own, by four digits that do not change its length.
pub(crate) async fn every_golden_record_goes_through(env: &Env) {
    let (mut at, mut read, mut refused) = (0, 0, Vec::new());
    for (number, golden) in Golden::all().into_iter().enumerate() {
        let world = World::with(env, Arc::new(One(golden.schema_json())));
        let mut log = world.log().await;
        assert_eq!(log.at, at);
        let digits = format!("{number:04}");
        let value = replace(golden.payload(), b"-2041", format!("-{digits}").as_bytes());
        let mut record = record(0, at, value);
        if let Some(header) = golden.header() {
            record.headers.push((VALUE_SCHEMA_HEADER.to_owned(), Some(header)));
        }
        at += 1;
        assert_eq!(world.take_records(&mut log, vec![record.clone()]).await, Taken::To(at));
        let [(batch, Some(_))] = &world.store.commits()[..] else {
            panic!("{}: not one commit", golden.file);
        };
        if let Some(reason) = golden.refused {
            assert_eq!(batch.journal, [], "{}", golden.file);
            refused.push((reason, record));
            continue;
        }
        assert_eq!(batch.dead_letters, [], "{}", golden.file);
        let decision = batch.journal[0].decision;
        assert!(["visible", "invisible"].contains(&decision), "{}: {decision}", golden.file);
        assert!(world.booking(&format!("bk-{digits}")).await.is_some(), "{}", golden.file);
        read += 1;
    }
    let letters = World::of(env).letters().await;
    assert_eq!(letters.len(), refused.len());
    for (letter, (reason, record)) in letters.iter().zip(&refused) {
        assert_eq!(format!("{}: {}", letter.class, letter.reason), *reason);
        assert_whole(letter, record);
    }
    assert!(read > 30 && refused.len() > 10, "{read} read, {} refused", refused.len());
}
