//! Facts of dead letters (rule R4).

use booking::{PoisonClass, Position, Verb};
use calendar_sync::store::{
    Batch, Committed, DeadRecord, DeadState, Fenced, Finding, NewDeadLetter, Origin,
};

use super::env::{Answered as _, Env, TOPIC, open_gate};

fn letter(offset: i64) -> NewDeadLetter {
    let record = DeadRecord {
        topic: TOPIC.to_owned(),
        position: Position { incarnation: 2, partition: 3, offset },
        timestamp_ms: 1_750_000_000_123,
        key: Some(b"key".to_vec()),
        payload: Some(vec![0, 159, 146, 150]),
        headers: vec![("trace".to_owned(), Some(b"1".to_vec()))],
    };
    NewDeadLetter { class: PoisonClass::Malformed, reason: "no Avro".to_owned(), record }
}

/// Stores letters; answers their ids.
async fn store(env: &Env, letters: Vec<NewDeadLetter>) -> Vec<i64> {
    let batch = Batch { dead_letters: letters, ..Batch::default() };
    assert_eq!(env.store.commit(&batch).await.answered(), Committed::Done);
    let stored = env.store.dead_letters(0, 100).await.answered();
    stored.into_iter().map(|letter| letter.id).collect()
}

async fn state(env: &Env, id: i64) -> DeadState {
    env.store.dead_letter(id).await.answered().expect("letters are never deleted").state
}

pub(crate) async fn a_record_is_kept_whole(env: &Env) {
    let mut odd = letter(1);
    odd.record.key = Some(vec![0, 255]);
    odd.record.headers = vec![
        ("twice".to_owned(), Some(vec![0, 200])),
        (String::new(), Some(Vec::new())),
        ("twice".to_owned(), None),
        ("with a \0 in it".to_owned(), Some(b"2".to_vec())),
    ];
    let mut bare = letter(2);
    (bare.record.key, bare.record.payload) = (None, None);
    bare.record.headers.clear();
    let mut empty = letter(3);
    (empty.record.key, empty.record.payload) = (Some(Vec::new()), Some(Vec::new()));
    let letters = vec![odd, bare, empty];
    let ids = store(env, letters.clone()).await;
    assert_eq!(ids.len(), 3);
    for (id, letter) in ids.into_iter().zip(letters) {
        let stored = env.store.dead_letter(id).await.answered().expect("it is stored");
        assert_eq!(stored.origin, Origin::Record(letter.record));
        assert_eq!((stored.class.as_str(), stored.reason.as_str()), ("malformed", "no Avro"));
        assert_eq!(stored.state, DeadState::Open);
    }
}

// Without the unique index, `cursor set` to an earlier offset opens what a person has discarded.
pub(crate) async fn a_record_that_is_read_again_is_the_same_letter(env: &Env) {
    let ids = store(env, vec![letter(0), letter(1)]).await;
    assert!(env.store.discard(ids[0]).await.answered());
    assert_eq!(store(env, (0..3).map(letter).collect()).await.len(), 3);
    assert_eq!(state(env, ids[0]).await, DeadState::Discarded);
    let mut recreated = letter(0);
    recreated.record.position.incarnation += 1;
    assert_eq!(store(env, vec![recreated]).await.len(), 4, "another topic of that name");
}

pub(crate) async fn letters_are_listed_in_pages(env: &Env) {
    let ids = store(env, (0..5).map(letter).collect()).await;
    assert!(ids.is_sorted());
    let first = env.store.dead_letters(0, 3).await.answered();
    assert_eq!(first.iter().map(|letter| letter.id).collect::<Vec<_>>(), ids[..3]);
    let rest = env.store.dead_letters(ids[2], 3).await.answered();
    assert_eq!(rest.iter().map(|letter| letter.id).collect::<Vec<_>>(), ids[3..]);
    assert_eq!(env.store.dead_letter(ids[4] + 1).await.answered(), None);
}

pub(crate) async fn redriving_settles_the_letter_with_the_batch(env: &Env) {
    env.connect(1).await;
    let ids = store(env, vec![letter(0), letter(1)]).await;
    let batch = env.batch("a", 0, Some("Massage")).await;
    assert_eq!(env.store.redrive(ids[0], &batch).await.answered(), Committed::Done);
    assert_eq!(state(env, ids[0]).await, DeadState::Redriven);
    assert_eq!(state(env, ids[1]).await, DeadState::Open);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 1);
}

pub(crate) async fn a_redrive_that_is_stale_leaves_the_letter_open(env: &Env) {
    env.connect(1).await;
    let ids = store(env, vec![letter(0)]).await;
    let batch = env.batch("a", 0, Some("Massage")).await;
    env.keep("a", 0, Some("Haircut")).await;
    assert_eq!(env.store.redrive(ids[0], &batch).await.answered(), Committed::Stale);
    assert_eq!(state(env, ids[0]).await, DeadState::Open);
    assert_eq!(env.store.backlog(&open_gate(), 100).await.answered(), 0);
}

pub(crate) async fn a_settled_letter_is_not_redriven_again(env: &Env) {
    env.connect(1).await;
    let ids = store(env, vec![letter(0)]).await;
    assert!(env.store.discard(ids[0]).await.answered());
    let batch = env.batch("a", 0, Some("Massage")).await;
    assert_ne!(env.store.redrive(ids[0], &batch).await.answered(), Committed::Done);
    assert_eq!(env.stored("a").await, None);
    assert_eq!(state(env, ids[0]).await, DeadState::Discarded);
}

pub(crate) async fn a_letter_is_discarded_once(env: &Env) {
    let ids = store(env, vec![letter(0)]).await;
    assert!(env.store.discard(ids[0]).await.answered());
    assert!(!env.store.discard(ids[0]).await.answered());
    assert!(!env.store.discard(ids[0] + 1).await.answered());
    assert_eq!(state(env, ids[0]).await, DeadState::Discarded);
}

pub(crate) async fn a_person_revives_a_dead_effect(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let dead = Finding::Dead { error: "refused".to_owned(), unknown: false };
    assert_eq!(env.record(&lane, "a", dead).await, Fenced::Written);
    assert_eq!(env.due(&lane).await, []);
    let letters = env.store.dead_letters(0, 10).await.answered();
    assert!(env.store.revive(letters[0].id).await.answered());
    assert_eq!(env.owed(&lane).await.rejections, 0);
    assert_eq!(state(env, letters[0].id).await, DeadState::Redriven);
    assert!(!env.store.revive(letters[0].id).await.answered());
}

pub(crate) async fn a_records_letter_revives_nothing(env: &Env) {
    let ids = store(env, vec![letter(0)]).await;
    assert!(!env.store.revive(ids[0]).await.answered());
    assert_eq!(state(env, ids[0]).await, DeadState::Open);
}

pub(crate) async fn an_effects_letter_is_not_redriven_as_a_record(env: &Env) {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let dead = Finding::Dead { error: "refused".to_owned(), unknown: false };
    assert_eq!(env.record(&lane, "a", dead).await, Fenced::Written);
    let letters = env.store.dead_letters(0, 10).await.answered();
    let batch = env.batch("b", 0, Some("Haircut")).await;
    let redriven = env.store.redrive(letters[0].id, &batch).await.answered();
    assert_eq!(redriven, Committed::Stale);
    assert_eq!(state(env, letters[0].id).await, DeadState::Open);
    assert_eq!(env.stored("b").await, None);
}
