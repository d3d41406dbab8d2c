//! The steps of the facts about sweeps.

use std::time::Duration;

use booking::{IcalUid, Verb};
use calendar_sync::store::{
    Drift, DriftKind, DriftNote, Fenced, FoundDrift, LaneLease, Missing, Owed, SweepProgress,
    SweepStep, SweptPage,
};

use crate::store_contract::env::{Answered as _, Env, LONG, connection, present, uid};

/// Connection 1, leased by 1, whose calendar has acknowledged these.
pub(super) async fn holding(env: &Env, names: &[&str]) -> LaneLease {
    env.connect(1).await;
    for name in names {
        env.ask(name, 0, Some("Massage")).await;
    }
    let lane = env.lane(1).await;
    for name in names {
        env.apply(&lane, name, 0, "Massage").await;
    }
    pass(env).await;
    lane
}

/// Connection 1, leased by 1, whose calendar has acknowledged `a` while an earlier call of it may still
/// land: it is to be read again.
pub(super) async fn holding_open(env: &Env) -> LaneLease {
    env.connect(1).await;
    env.ask("a", 0, Some("Massage")).await;
    let lane = env.lane(1).await;
    assert!(env.stamp(&lane, "a", (Verb::Create, 0, 0)).await);
    let open = env.record_open(&lane, "a", present("a", 0, "Massage"), Some(LONG)).await;
    assert_eq!(open, Fenced::Written);
    pass(env).await;
    lane
}

/// Some time passes.
pub(super) async fn pass(env: &Env) {
    let mut looks = 0;
    env.eventually("some time has passed", || {
        looks += 1;
        let passed = (looks > 1).then_some(());
        async move { passed }
    })
    .await;
}

pub(super) async fn step(env: &Env, lane: &LaneLease, step: SweepStep) -> Fenced {
    let stepped = env.store.step_sweep(lane, &step).await.answered();
    pass(env).await;
    stepped
}

pub(super) fn plan(after: Option<Duration>) -> SweepStep {
    SweepStep::Plan { after, result: None }
}

pub(super) fn begin(full: bool) -> SweepStep {
    SweepStep::Begin { full, result: None }
}

pub(super) fn end(since: Option<&str>) -> SweepStep {
    let since = since.map(str::to_owned);
    SweepStep::End { since, after: LONG, verify_drift: false, result: "read".to_owned() }
}

/// A sweep of connection 1 begins, whole or from `since`.
pub(super) async fn begun(env: &Env, lane: &LaneLease, since: Option<&str>) {
    assert_eq!(step(env, lane, plan(Some(Duration::ZERO))).await, Fenced::Written);
    assert_eq!(step(env, lane, begin(true)).await, Fenced::Written);
    if since.is_some() {
        write(env, lane, seeing(&["a", "b", "c"])).await;
        assert_eq!(step(env, lane, end(since)).await, Fenced::Written);
        assert_eq!(step(env, lane, begin(false)).await, Fenced::Written);
    }
    let progress = SweepProgress { is_full: since.is_none(), ..SweepProgress::default() };
    let sweep = env.store.sweep(lane).await.answered();
    assert_eq!(sweep.progress, Some(progress));
    assert_eq!(sweep.since.as_deref(), since);
}

pub(super) fn uids(names: &[&str]) -> Vec<IcalUid> {
    names.iter().copied().map(uid).collect()
}

pub(super) fn seeing(names: &[&str]) -> SweptPage {
    SweptPage { seen: uids(names), ..SweptPage::default() }
}

pub(super) fn losing(names: &[&str]) -> SweptPage {
    SweptPage { gone: uids(names), ..SweptPage::default() }
}

pub(super) fn finding(external_id: &str, kind: DriftKind) -> SweptPage {
    let found = FoundDrift { external_id: external_id.to_owned(), uid: Some(uid("a")), kind };
    SweptPage { found: vec![found], ..SweptPage::default() }
}

/// Writes a page; answers what is news.
pub(super) async fn write(env: &Env, lane: &LaneLease, page: SweptPage) -> Vec<String> {
    let news = env.store.sweep_page(lane, &page).await.answered().expect("the lane is ours");
    pass(env).await;
    news
}

/// What is known and what is missing, where listings are not behind.
pub(super) async fn missing(env: &Env, lane: &LaneLease) -> (u64, u64) {
    missing_behind(env, lane, Duration::ZERO).await
}

pub(super) async fn missing_behind(env: &Env, lane: &LaneLease, lag: Duration) -> (u64, u64) {
    let Missing { known, missing } = env.store.missing(lane, lag).await.answered();
    (known, missing)
}

/// What waits to be read by its name.
pub(super) async fn to_be_read(env: &Env, lane: &LaneLease) -> Vec<IcalUid> {
    let is_verified = |owed: &Owed| owed.verify.as_ref().is_some_and(|verify| verify.is_due);
    let mut due = env.due(lane).await;
    due.retain(is_verified);
    let mut uids: Vec<_> = due.into_iter().map(|owed| owed.uid).collect();
    uids.sort();
    uids
}

pub(super) async fn note(env: &Env, lane: &LaneLease, kind: Option<DriftKind>) -> Option<bool> {
    let (uid, external_id) = (uid("a"), "booking-a.ics".to_owned());
    let note = DriftNote { lane: lane.clone(), uid, external_id, kind };
    let noted = env.store.note_drift(&note).await.answered();
    pass(env).await;
    noted
}

/// The names and kinds of what is otherwise.
pub(super) async fn drift(env: &Env) -> Vec<(String, DriftKind)> {
    let found = env.store.drift(connection(1)).await.answered();
    assert_eq!(env.counted(1).await.drift, i64::try_from(found.len()).expect("a few"));
    found.into_iter().map(|Drift { external_id, kind, .. }| (external_id, kind)).collect()
}
