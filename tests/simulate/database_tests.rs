//! What a database accepts from a holder that it has given no lease to is seen.

use std::time::Duration;

use booking::IcalUid;
use calendar_sync::store::{DriftKind, DriftNote, LaneLease, Store as _, SweepStep, SweptPage};
use uuid::Uuid;

use super::*;
use crate::calendars::{Kind, Switches};
use crate::plan::{Plan, Rates};
use crate::story::{INSTALLATION, provider};

/// A database that takes anybody's token, as the lane's holder and as one of before see it.
async fn lane(of: Variant) -> (Database, LaneLease, LaneLease) {
    let plan = Plan { rates: Rates::default(), ..Plan::draw(1) };
    let world = World::new(plan, of, false);
    let account = world.accounts().add(provider(0), Kind::Google, Switches::strict());
    let new = world.accounts().0[account].connection();
    let held = |number| LaneLease { connection: new.id, token: Uuid::from_u128(number) };
    world.store.open(Some(INSTALLATION), INSTALLATION).await.expect("the model answers");
    world.store.put_connection(&new).await.expect("the model answers");
    let (before, now) = (held(1), held(2));
    let begin = SweepStep::Begin { full: true, result: None };
    for step in [SweepStep::Plan { after: Some(Duration::ZERO), result: None }, begin] {
        let stepped = world.store.step_sweep(&now, &step).await.expect("the model answers");
        assert_eq!(stepped, Fenced::Written);
    }
    world.audit().leased(&before);
    world.audit().leased(&now);
    let gate = Gate { enabled: true, providers: Vec::new(), connections: Vec::new() };
    (Database { world, gate }, before, now)
}

/// What is wrong once both of these were written by a holder.
async fn wrongs(database: &Database, lane: &LaneLease) -> usize {
    let uid = IcalUid::parse("uid-1").expect("a UID");
    let (external_id, kind) = ("booking0".to_owned(), Some(DriftKind::Deleted));
    let note = DriftNote { lane: lane.clone(), uid, external_id, kind };
    let noted = database.note_drift(&note).await.expect("the model answers");
    let swept = database.sweep_page(lane, &SweptPage::default()).await.expect("the model answers");
    assert!(noted.is_some() && swept.is_some(), "both are accepted");
    database.world.verdict().0.len()
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_writes_under_a_stale_token_is_seen() {
    let (database, before, now) = lane(Variant::NoToken).await;
    assert_eq!(wrongs(&database, &now).await, 0);
    assert_eq!(wrongs(&database, &before).await, 2);
}
