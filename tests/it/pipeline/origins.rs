//! Facts of where effects come from, by the records that asked for them.

use booking::BookingId;
use calendar_sync::consumer::{RawRecord, Taken};
use calendar_sync::store::EffectOrigin;
use calendar_sync::trace_parent::{HEADER, TraceParent};

use super::world::{World, created, records, updated, written};
use crate::store_contract::env::Env;

fn trace(number: u8) -> TraceParent {
    let text = format!("00-{number:032x}-{number:016x}-01");
    TraceParent::parse(text.as_bytes()).unwrap()
}

fn with_trace(mut record: RawRecord, value: &str) -> RawRecord {
    record.headers.push((HEADER.to_owned(), Some(value.as_bytes().to_vec())));
    record
}

/// What the last commit says of its effects: whose they are, and where they come from.
fn origins(world: &World) -> Vec<(BookingId, EffectOrigin)> {
    let (batch, _) = world.store.commits().pop().unwrap();
    let id = |uid: &booking::IcalUid| {
        let stored = batch.bookings.iter().find(|stored| stored.booking.uid == *uid);
        stored.unwrap().booking.id.clone()
    };
    batch.effects.iter().map(|new| (id(&new.effect.uid), new.origin.clone())).collect()
}

fn id(name: &str) -> BookingId {
    BookingId::parse(name).unwrap()
}

/// Of events, in the order in which they were told.
fn told(events: &[(u8, &RawRecord)]) -> EffectOrigin {
    let mut origin = EffectOrigin::default();
    for (number, record) in events {
        let trace = (*number > 0).then(|| trace(*number));
        origin.is_followed_by(&EffectOrigin::new(trace, record.timestamp_ms));
    }
    origin
}

pub(crate) async fn an_effect_comes_from_every_event_that_a_calendar_shows(env: &Env) {
    env.connect(1).await;
    let world = World::of(env);
    let mut log = world.log().await;
    let first = created("a", "first");
    let told_twice = first.clone();
    let events = [first, created("b", "other"), told_twice, updated("a", "second")];
    let mut batch: Vec<RawRecord> = records(&log, written(&events))
        .into_iter()
        .zip(1_u8..)
        .map(|(record, number)| with_trace(record, &trace(number).to_string()))
        .collect();
    // The producer's clock was set back meanwhile: the oldest is the one that was published first.
    batch[3].timestamp_ms -= 60_000;
    assert_eq!(world.take_records(&mut log, batch.clone()).await, Taken::To(4));
    let mut found = origins(&world);
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let both = told(&[(1, &batch[0]), (4, &batch[3])]);
    assert_eq!(both.traces(), [trace(4), trace(1)]);
    assert_eq!(found, [(id("a"), both), (id("b"), told(&[(2, &batch[1])]))]);
}

pub(crate) async fn a_header_that_is_no_trace_and_a_timestamp_that_is_none_are_ignored(env: &Env) {
    env.connect(1).await;
    let world = World::of(env);
    let mut log = world.log().await;
    let valid = trace(0xab).to_string();
    for (number, (header, timestamp_ms)) in [
        ("", -1),
        ("00-xyz", 0),
        (valid.to_uppercase().as_str(), i64::MIN),
        (valid.replacen("00", "ff", 1).as_str(), i64::MAX),
        (&valid[1..], 253_402_300_800_000),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("odd-{number}");
        let values = written(&[created(&name, "first")]);
        let mut batch: Vec<_> =
            records(&log, values).into_iter().map(|record| with_trace(record, header)).collect();
        batch[0].timestamp_ms = timestamp_ms;
        let next = batch[0].offset + 1;
        assert_eq!(world.take_records(&mut log, batch).await, Taken::To(next), "{header}");
        assert_eq!(origins(&world), [(id(&name), EffectOrigin::default())], "{header}");
    }
    assert_eq!(world.letters().await, []);
}
