//! Facts of redriving dead letters: their way out, and no harm (rule R4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use booking::decode::{Contract, Kind, SchemaKey, Writer};
use booking::{Poison, PoisonClass};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::consumer::Taken;
use calendar_sync::pipeline::redrive::{RedriveError, Redriven};
use calendar_sync::pipeline::schemas::{SchemaError, Schemas};
use calendar_sync::store::{Batch, Committed, DeadState, Store as _};

use super::meddler::Meddling;
use super::world::{World, cancelled, created, good, updated, written};
use crate::store_contract::env::{Answered as _, Env, TOPIC, open_gate};

/// A registry that learns our schemas, under the ids 0, 1 and 2, when it is told to.
#[derive(Default)]
struct Learner {
    has_learned: AtomicBool,
    is_away: AtomicBool,
}

#[async_trait]
impl Schemas for Learner {
    async fn writer(&self, schema: SchemaKey) -> Result<Arc<Writer>, SchemaError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(SchemaError::Unavailable { reason: "away".to_owned() });
        }
        let kind = match schema {
            SchemaKey::Id(id) if self.has_learned.load(Ordering::SeqCst) => Kind::ALL[id as usize],
            SchemaKey::Id(_) | SchemaKey::Guid(_) => {
                return Err(Poison::new(PoisonClass::UnknownSchema, "not learned").into());
            }
        };
        Ok(Contract::new().writer(kind.schema_json()).map(Arc::new)?)
    }
}

/// The event in the Confluent wire format.
fn confluent(event: &OutgoingEvent) -> Vec<u8> {
    let single = encode(event);
    let fingerprint = |kind: &Kind| kind.fingerprint().0 == single[2..10];
    let id = u8::try_from(Kind::ALL.iter().position(fingerprint).unwrap()).unwrap();
    [&[0, 0, 0, 0, id], &single[10..]].concat()
}

/// The only letter's state.
async fn state(world: &World, id: i64) -> DeadState {
    world.store.dead_letter(id).await.answered().expect("letters are never deleted").state
}

pub(crate) async fn an_unknown_schema_is_redriven_once_the_registry_has_learned_it(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    env.connect(1).await;
    let mut log = world.log().await;
    let values = vec![confluent(&created("b", "unknown")), confluent(&updated("b", "later"))];
    assert_eq!(world.take(&mut log, values).await, Taken::To(2));
    let ids: Vec<_> = world.letters().await.iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(world.booking("b").await, None);

    registry.is_away.store(true, Ordering::SeqCst);
    let away = world.pipeline.redrive(ids[0]).await;
    assert!(matches!(away, Err(RedriveError::Schema { .. })), "{away:?}");
    registry.is_away.store(false, Ordering::SeqCst);
    assert_eq!(state(&world, ids[0]).await, DeadState::Open);

    registry.has_learned.store(true, Ordering::SeqCst);
    for (id, title) in ids.into_iter().zip(["Massage: unknown", "Massage: later"]) {
        assert_eq!(world.pipeline.redrive(id).await.unwrap(), Redriven::Folded("visible"));
        assert_eq!(state(&world, id).await, DeadState::Redriven);
        assert_eq!(world.title("b").await.as_deref(), Some(title));
    }
    assert_eq!(world.booking("b").await.unwrap().0.revision, 1);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 1);
    assert_eq!(world.cursor(&log).await, Some(2), "redriving moves no cursor");
}

pub(crate) async fn what_is_still_dead_stays_open(env: &Env) {
    let world = World::of(env);
    let mut log = world.log().await;
    let values = vec![Vec::new(), confluent(&created("b", "unknown"))];
    assert_eq!(world.take(&mut log, values).await, Taken::To(2));
    for letter in world.letters().await {
        let error = world.pipeline.redrive(letter.id).await.unwrap_err();
        let RedriveError::StillDead { poison, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((poison.class.name(), &poison.reason), (&*letter.class, &letter.reason));
        assert_eq!(state(&world, letter.id).await, DeadState::Open);
    }
    let missing = world.pipeline.redrive(i64::MAX).await;
    assert!(matches!(missing, Err(RedriveError::Missing { id: i64::MAX })), "{missing:?}");
}

pub(crate) async fn redriving_something_old_does_nothing(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    env.connect(1).await;
    let mut log = world.log().await;
    let values = vec![
        encode(&created("moved", "first")),
        confluent(&updated("moved", "old")),
        confluent(&created("gone", "old")),
        encode(&updated("moved", "newest")),
        encode(&created("gone", "first")),
        encode(&cancelled("gone")),
    ];
    assert_eq!(world.take(&mut log, values).await, Taken::To(6));
    let before = (world.booking("moved").await, world.booking("gone").await);
    let due = env.store.backlog(&open_gate(), 100).await.answered();
    registry.has_learned.store(true, Ordering::SeqCst);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        let redriven = world.pipeline.redrive(letter.id).await.unwrap();
        assert_eq!(redriven, Redriven::Folded("repeated"));
        assert_eq!(state(&world, letter.id).await, DeadState::Redriven);
    }
    assert_eq!((world.booking("moved").await, world.booking("gone").await), before);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), due);
}

pub(crate) async fn a_letter_is_redriven_once(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    let mut log = world.log().await;
    let values = vec![confluent(&created("a", "x")), confluent(&created("b", "x"))];
    assert_eq!(world.take(&mut log, values).await, Taken::To(2));
    registry.has_learned.store(true, Ordering::SeqCst);
    let letters = world.letters().await;
    assert!(world.store.discard(letters[1].id).await.answered());
    world.pipeline.redrive(letters[0].id).await.unwrap();
    for (letter, was) in letters.iter().zip([DeadState::Redriven, DeadState::Discarded]) {
        let again = world.pipeline.redrive(letter.id).await;
        let Err(RedriveError::Settled { state, .. }) = again else {
            panic!("{again:?}");
        };
        assert_eq!(state, was);
    }
    assert_eq!(world.booking("a").await.unwrap().1, 1);
    assert_eq!(world.booking("b").await, None);
}

pub(crate) async fn a_redrive_whose_commit_is_unclear_is_not_done_twice(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    let mut log = world.log().await;
    assert_eq!(world.take(&mut log, vec![confluent(&created("b", "x"))]).await, Taken::To(1));
    registry.has_learned.store(true, Ordering::SeqCst);
    let id = world.letters().await[0].id;
    world.store.meddle_with_the_next(vec![Meddling::LoseBefore, Meddling::LoseAfter]);
    for open in [true, false] {
        let unclear = world.pipeline.redrive(id).await;
        assert!(matches!(unclear, Err(RedriveError::Store(_))), "{unclear:?}");
        assert_eq!(state(&world, id).await == DeadState::Open, open);
    }
    let again = world.pipeline.redrive(id).await;
    assert!(matches!(again, Err(RedriveError::Settled { .. })), "{again:?}");
    assert_eq!(world.booking("b").await.unwrap().1, 1);
}

pub(crate) async fn a_moved_partitions_letters_are_redriven_in_order(env: &Env) {
    let world = World::of(env);
    let (mut old, mut new) = (world.log_of(TOPIC, 0).await, world.log_of(TOPIC, 1).await);
    assert_eq!(world.take(&mut old, written(&[created("b", "first")])).await, Taken::To(1));
    let moved = ["second", "third", "fourth"].map(|title| updated("b", title));
    assert_eq!(world.take(&mut new, written(&moved)).await, Taken::To(3));
    let letters = world.letters().await;
    assert_eq!(letters.len(), 3);
    for (letter, title) in letters.iter().zip(["second", "third", "fourth"]) {
        assert_eq!(letter.class, "moved_partition");
        let redriven = world.pipeline.redrive(letter.id).await.unwrap();
        assert_eq!(redriven, Redriven::Folded("visible"));
        assert_eq!(world.title("b").await, Some(format!("Massage: {title}")));
    }
    // From now on it lives in the new partition.
    assert_eq!(world.take(&mut new, written(&[updated("b", "fifth")])).await, Taken::To(4));
    assert_eq!(world.title("b").await.as_deref(), Some("Massage: fifth"));
    assert_eq!(world.letters().await.len(), 3);
}

pub(crate) async fn a_letter_that_the_database_refuses_stays_open(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    let mut log = world.log().await;
    assert_eq!(world.take(&mut log, vec![confluent(&created("b", "x"))]).await, Taken::To(1));
    registry.has_learned.store(true, Ordering::SeqCst);
    let id = world.letters().await[0].id;
    let refused = Committed::Refused { detail: "too odd".to_owned() };
    world.store.meddle_with_the_next(vec![Meddling::Answer(refused)]);
    let error = world.pipeline.redrive(id).await.unwrap_err();
    assert_eq!(error.to_string(), format!("dead letter {id} could not be stored: too odd"));
    world.store.meddle(|_| Meddling::Answer(Committed::Stale));
    let error = world.pipeline.redrive(id).await.unwrap_err();
    assert!(error.to_string().ends_with("kept changing meanwhile; try again"), "{error}");
    assert_eq!(state(&world, id).await, DeadState::Open);
    assert_eq!(world.booking("b").await, None);
}

pub(crate) async fn a_redrive_is_folded_again_when_its_booking_changed_meanwhile(env: &Env) {
    let registry = Arc::new(Learner::default());
    let world = World::with(env, Arc::clone(&registry) as _);
    let mut log = world.log().await;
    let mut values = good("b", 1);
    values.push(confluent(&updated("b-0", "later")));
    assert_eq!(world.take(&mut log, values).await, Taken::To(2));
    registry.has_learned.store(true, Ordering::SeqCst);
    let state = env.stored("b-0").await.unwrap();
    world.store.meanwhile(async move |store| {
        let mut meanwhile = state;
        meanwhile.booking.revision += 1;
        let batch = Batch { bookings: vec![meanwhile], ..Batch::default() };
        assert_eq!(store.commit(&batch).await.answered(), Committed::Done);
    });
    let id = world.letters().await[0].id;
    assert_eq!(world.pipeline.redrive(id).await.unwrap(), Redriven::Folded("visible"));
    let (booking, version) = world.booking("b-0").await.unwrap();
    assert_eq!((booking.revision, version), (2, 3));
}
