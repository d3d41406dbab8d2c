//! Recording what became of an attempt, while everybody else goes on (rules R9 and R15).

use booking::ConnectionId;
use calendar_sync::store::postgres::PostgresStore;
use calendar_sync::store::{DeadState, Fence, Fenced, Finding, LaneLease, Result, Store as _};

use super::schedule::race;
use super::world::{
    EffectRow, Ingested, World, account, connection, created, ingest, record, send, succeed,
    updated,
};

const NAME: &str = "a";

fn here() -> ConnectionId {
    connection(1)
}

/// An attempt that is in flight, and what it will have found.
#[derive(Clone)]
struct Attempt {
    lane: LaneLease,
    finding: Finding,
    fence: Fence,
    before: EffectRow,
}

/// An event is being made; the calendar will acknowledge it.
async fn acknowledged(world: &World) -> Attempt {
    world.connect(&account(1)).await;
    world.take_in(&[created(NAME, 0)]).await;
    let lane = world.stamped(here()).await;
    let finding = world.acknowledged(here(), NAME).await;
    let before = world.effect(here(), NAME).await;
    Attempt { lane, finding, fence: world.fence(1).await, before }
}

/// The calendar refuses it, for the last time that counts.
async fn dead(world: &World, unknown: bool) -> Attempt {
    let attempt = acknowledged(world).await;
    let error = "too many guests".to_owned();
    let again = Finding::NotApplied {
        after: std::time::Duration::ZERO,
        error: error.clone(),
        rejected: true,
    };
    let recorded = record(&world.store, &attempt.lane, NAME, again).await;
    assert_eq!(recorded.expect("it answers"), Fenced::Written);
    assert_eq!(send(&world.store, &attempt.lane).await.expect("it answers").len(), 1);
    Attempt { finding: Finding::Dead { error, unknown }, ..attempt }
}

/// What was acknowledged is applied if it was written, and only then.
async fn is_applied(world: &World, attempt: &Attempt, written: Fenced) -> EffectRow {
    let row = world.effect(here(), NAME).await;
    let events = world.store.external_events(&super::world::uid(NAME)).await.expect("it answers");
    match written {
        Fenced::Written => {
            let (revision, digest) = &attempt.before.desired;
            assert_eq!(row.applied, (Some(*revision), digest.clone()));
            assert!(!row.in_flight);
            assert_eq!(events.len(), 1);
        }
        Fenced::Refused => {
            assert_eq!(row.applied, (None, None));
            assert!(row.in_flight && events.is_empty());
        }
    }
    row
}

/// The attempt's own record.
async fn recorded(store: PostgresStore, it: &Attempt) -> Result<Fenced> {
    record(&store, &it.lane, NAME, it.finding.clone()).await
}

/// The booking's next revision.
async fn moved_on(store: PostgresStore, it: &Attempt) -> Result<Ingested> {
    ingest(&store, &it.fence, &[updated(NAME, 1)]).await
}

/// Fails without `AND flight_token = $3` in `under_row_token`.
#[tokio::test]
async fn a_former_holder_records_nothing_that_was_taken_over() {
    let fact = "a_former_holder_records_nothing_that_was_taken_over";
    let Some(world) = World::open(fact).await else { return };
    let then = async |world: &World, attempt: &Attempt, written, next: Option<(LaneLease, _)>| {
        let row = is_applied(world, attempt, written).await;
        match next {
            // What was taken over is the next holder's; what was recorded is not taken over.
            Some((holder, taken)) => {
                assert_eq!(world.holder(here()).await, Some(holder.token));
                assert_eq!(taken, u64::from(written == Fenced::Refused));
                assert_eq!(row.flight_token, row.in_flight.then_some(holder.token));
            }
            // There was nothing left to lease the lane for.
            None => assert_eq!(written, Fenced::Written),
        }
    };
    race(
        &world,
        fact,
        acknowledged,
        recorded,
        async |store, _: &_| succeed(&store, here()).await,
        then,
    )
    .await;
    world.end().await;
}

/// What a verification found is of the holder of that time: the next one neither sends nor stamps
/// before it is written. Fails when `record_finding` does not hold the lane for it.
#[tokio::test]
async fn a_former_holder_verifies_nothing() {
    let fact = "a_former_holder_verifies_nothing";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        world.connect(&account(1)).await;
        world.take_in(&[created(NAME, 0)]).await;
        let lane = world.applied(here(), NAME).await;
        // Something to do for the next holder.
        world.take_in_from(8, &[updated(NAME, 1)]).await;
        lane
    };
    let hole = Finding::Differs { present: None, etag: None, passed: 1 };
    let then = async |world: &World, _: &_, written, next: Option<(LaneLease, usize)>| {
        let row = world.effect(here(), NAME).await;
        match next {
            Some((holder, stamped)) => {
                assert_eq!((world.holder(here()).await, stamped), (Some(holder.token), 1));
                assert_eq!(row.flight_token, Some(holder.token));
            }
            None => assert_eq!(written, Fenced::Written, "the lane was kept until it was written"),
        }
        assert_eq!(row.generation, i32::from(written == Fenced::Written));
        assert_eq!(row.applied.1.is_none(), written == Fenced::Written);
    };
    race(
        &world,
        fact,
        given,
        async |store, lane: &LaneLease| record(&store, lane, NAME, hole.clone()).await,
        async |store, _: &_| {
            let Some((lane, _)) = succeed(&store, here()).await? else { return Ok(None) };
            let stamped = send(&store, &lane).await?.len();
            Ok(Some((lane, stamped)))
        },
        then,
    )
    .await;
    world.end().await;
}

/// Fails when the statement `PRESENT` sets `desired_revision = $5` too.
#[tokio::test]
async fn what_is_acknowledged_and_what_is_desired_meet() {
    let fact = "what_is_acknowledged_and_what_is_desired_meet";
    let Some(world) = World::open(fact).await else { return };
    let then = async |world: &World, attempt: &Attempt, written, _: _| {
        assert_eq!(written, Fenced::Written);
        let row = is_applied(world, attempt, written).await;
        assert_eq!(row.desired.0, attempt.before.desired.0 + 1);
        assert_ne!(row.desired.1, attempt.before.desired.1);
        assert!(row.due);
    };
    race(&world, fact, acknowledged, recorded, moved_on, then).await;
    world.end().await;
}

/// A revision that comes while its predecessor is being refused is sent on its own merits. Fails
/// when `DEAD_SURELY` or `DEAD_UNKNOWN` sets `dead = true` whatever was in flight.
#[tokio::test]
async fn a_new_revision_does_not_die_with_the_former() {
    let fact = "a_new_revision_does_not_die_with_the_former";
    for unknown in [false, true] {
        let Some(world) = World::open(fact).await else { return };
        let then = async |world: &World, _: &Attempt, written, _: _| {
            assert_eq!(written, Fenced::Written);
            let row = world.effect(here(), NAME).await;
            assert_eq!((row.desired.0, row.due, row.in_flight), (1, true, unknown));
            let letters = world.store.dead_letters(0, 10).await.expect("it answers");
            assert!(letters.iter().all(|letter| letter.state == DeadState::Open));
        };
        race(
            &world,
            fact,
            async |world: &World| dead(world, unknown).await,
            recorded,
            moved_on,
            then,
        )
        .await;
        world.end().await;
    }
}

/// Fails without the new `flight_token` in the statement `FENCE_FLIGHTS` of `take_down`.
#[tokio::test]
async fn a_removal_fences_what_is_on_its_way() {
    let fact = "a_removal_fences_what_is_on_its_way";
    for withdraw in [false, true] {
        let Some(world) = World::open(fact).await else { return };
        let then = async |world: &World, attempt: &Attempt, written, left: EffectRow| {
            // From the removal's return on, the sender's token opens nothing.
            assert_ne!(left.flight_token, Some(attempt.lane.token));
            let row = is_applied(world, attempt, written).await;
            assert_eq!(row.desired.1.is_none(), withdraw);
            // With something to withdraw it is owed; credentials stay for as long (R17).
            let sealed = world.number("SELECT count(*) FROM connections WHERE sealed <> ''").await;
            assert_eq!(sealed, i64::from(withdraw));
            assert!(row.due || !withdraw);
        };
        race(
            &world,
            fact,
            acknowledged,
            recorded,
            async |store, _: &_| {
                assert!(store.remove_connection(here(), withdraw).await?);
                Ok(world.effect(here(), NAME).await)
            },
            then,
        )
        .await;
        world.end().await;
    }
}

/// What the former destination acknowledges late is known, and withdrawn. Fails when the statement
/// `PRESENT` sets `desired_digest = $6` too.
#[tokio::test]
async fn a_late_acknowledgement_at_the_former_destination_is_withdrawn() {
    let fact = "a_late_acknowledgement_at_the_former_destination_is_withdrawn";
    let Some(world) = World::open(fact).await else { return };
    let then = async |world: &World, attempt: &Attempt, written, _: _| {
        assert_eq!(written, Fenced::Written);
        let row = is_applied(world, attempt, written).await;
        assert_eq!((row.desired.1, row.due), (None, true));
    };
    race(
        &world,
        fact,
        acknowledged,
        recorded,
        async |store, _: &_| store.put_connection(&account(2)).await,
        then,
    )
    .await;
    world.end().await;
}

/// A calendar that holds a later revision than the database knows of (rule R7): what it raises is
/// the booking that is there. Fails without `FOR UPDATE` in the statement `BOOKING` of
/// `settle_ahead`.
#[tokio::test]
async fn a_calendar_that_is_ahead_raises_the_booking_that_is_there() {
    const SEEN: &str = "UPDATE effects SET ahead_since = clock_timestamp()";
    const LOOKED_AT: &str =
        "UPDATE cursors SET log_end = next_offset, log_end_at = clock_timestamp()";
    let fact = "a_calendar_that_is_ahead_raises_the_booking_that_is_there";
    let Some(world) = World::open(fact).await else { return };
    let given = async |world: &World| {
        let attempt = acknowledged(world).await;
        // The log is read to its end, which was asked for after the calendar was seen to be ahead.
        for statement in [SEEN, LOOKED_AT] {
            sqlx::query(statement).execute(world.store.pool()).await.expect("it is written");
        }
        let error = "the calendar is ahead".to_owned();
        let finding = Finding::Ahead { revision: 5, after: std::time::Duration::ZERO, error };
        Attempt { finding, ..attempt }
    };
    let then = async |world: &World, _: &Attempt, written, _: _| {
        assert_eq!(written, Fenced::Written);
        let stored = world.stored(NAME).await;
        assert_eq!(stored.booking.version.map(|version| version.sequence), Some(1));
        assert!(stored.booking.revision > 5, "{stored:?}");
        assert!(world.effect(here(), NAME).await.due);
    };
    race(&world, fact, given, recorded, moved_on, then).await;
    world.end().await;
}
