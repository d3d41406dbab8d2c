//! Facts of sweeps (rule R20): when one is due, what it misses, and what is kept for people.

mod steps;

use std::time::Duration;

use booking::Verb;
use calendar_sync::store::{
    Adopted, AdoptedEvent, DRIFT_MAX, DriftKind, Fenced, Finding, FoundDrift, LAST_STAGE,
    LaneLease, Sweep, SweepProgress, SweepStep, SweptPage,
};
use chrono::TimeDelta;
use uuid::Uuid;

use self::steps::{
    begin, begun, drift, end, finding, holding, holding_open, losing, missing, missing_behind,
    note, pass, plan, seeing, step, to_be_read, uids, write,
};
use super::env::{Answered as _, Env, LONG, SHORT, connection, content, hour, present, token, uid};

pub(crate) async fn a_sweep_that_is_due_asks_for_its_lane(env: &Env) {
    let lane = holding(env, &["a"]).await;
    assert_eq!(env.store.sweep(&lane).await.answered(), Sweep::default());
    assert_eq!(step(env, &lane, plan(Some(SHORT))).await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    // Nothing else is due: the sweep alone asks for the lane.
    let lane = env.eventually("the sweep's hour", || env.lease(2)).await;
    assert_eq!(env.store.sweep(&lane).await.answered().is_due, Some(true));
    assert_eq!(env.due(&lane).await, []);
    for (number, after) in [(3, Some(LONG)), (4, None)] {
        assert_eq!(step(env, &lane, plan(after)).await, Fenced::Written);
        let sweep = env.store.sweep(&lane).await.answered();
        assert_eq!(sweep.is_due, after.map(|_| false));
        if after.is_none() {
            assert_eq!(
                env.store.release(&lane, Duration::ZERO, None).await.answered(),
                Fenced::Written
            );
        }
        assert_eq!(env.lease(number).await, None);
    }
}

pub(crate) async fn a_connection_that_is_parked_or_removed_is_not_swept(env: &Env) {
    let lane = holding(env, &["a"]).await;
    assert_eq!(step(env, &lane, plan(Some(Duration::ZERO))).await, Fenced::Written);
    assert_eq!(env.park(&lane, "no").await, Fenced::Written);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(2).await, None);
    env.connect(1).await;
    assert!(env.lease_for(3, SHORT).await.is_some(), "it is connected again");
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(env.lease(4).await, None);
}

pub(crate) async fn a_sweep_goes_on_where_it_stood(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, None).await;
    let page = SweptPage { next: Some("2".to_owned()), removals: 2, ..seeing(&["a"]) };
    assert_eq!(write(env, &lane, page).await, [""; 0]);
    // The last page is kept until the sweep ends: it is read once more if nothing follows.
    write(env, &lane, SweptPage { removals: 1, ..SweptPage::default() }).await;
    let sweep = env.store.sweep(&lane).await.answered();
    let progress = SweepProgress {
        is_full: true,
        page: Some("2".to_owned()),
        pages: 2,
        removals: 3,
        failures: 0,
    };
    assert_eq!((sweep.progress, sweep.since), (Some(progress), None));
    assert_eq!(step(env, &lane, end(Some("t"))).await, Fenced::Written);
    let sweep = env.store.sweep(&lane).await.answered();
    assert_eq!((sweep.progress, sweep.since.as_deref()), (None, Some("t")));
    assert_eq!(sweep.is_due, Some(false));
    assert_eq!(env.counted(1).await.swept.as_deref(), Some("read"));
    // Without one under way there is nothing to write and nothing to end.
    assert_eq!(env.store.sweep_page(&lane, &seeing(&["a"])).await.answered(), None);
    assert_eq!(step(env, &lane, end(None)).await, Fenced::Refused);
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    let sweep = env.store.sweep(&lane).await.answered();
    assert_eq!(sweep.progress, Some(SweepProgress::default()), "nothing of it was read");
    let expired = SweepStep::Begin { full: true, result: Some("expired".to_owned()) };
    assert_eq!(step(env, &lane, expired).await, Fenced::Written);
    let sweep = env.store.sweep(&lane).await.answered();
    assert_eq!((sweep.progress.map(|it| it.is_full), sweep.since), (Some(true), None));
    assert_eq!(env.counted(1).await.swept.as_deref(), Some("expired"));
}

/// A listing that is behind halts no sweep (L24 counts what is gone, not what is new).
pub(crate) async fn a_full_scan_that_may_be_behind_counts_nothing_new(env: &Env) {
    let lane = holding(env, &["a", "b"]).await;
    begun(env, &lane, None).await;
    assert_eq!(missing_behind(env, &lane, LONG).await, (0, 0));
    write(env, &lane, seeing(&["a"])).await;
    assert_eq!(missing_behind(env, &lane, LONG).await, (1, 0), "what was found is known");
    assert_eq!(missing(env, &lane).await, (2, 1));
    // It is read by its name all the same, and what is told to be deleted is no matter of listings.
    assert_eq!(step(env, &lane, end(Some("t"))).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, uids(&["b"]));
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    write(env, &lane, SweptPage { gone: uids(&["a"]), ..SweptPage::default() }).await;
    assert_eq!(missing_behind(env, &lane, LONG).await, (2, 1));
}

pub(crate) async fn a_full_scan_misses_what_it_did_not_come_by(env: &Env) {
    let lane = holding(env, &["a", "b"]).await;
    begun(env, &lane, None).await;
    assert_eq!(missing(env, &lane).await, (2, 2));
    write(env, &lane, seeing(&["a"])).await;
    // What is acknowledged while the sweep is under way need not be in its pages.
    env.ask("c", 0, Some("Massage")).await;
    env.apply(&lane, "c", 0, "Massage").await;
    assert_eq!(missing(env, &lane).await, (3, 1));
    assert_eq!(to_be_read(env, &lane).await, []);
    assert_eq!(step(env, &lane, end(None)).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, uids(&["b"]));
    let verify = env.owed(&lane).await.verify.expect("it is to be read");
    assert_eq!((verify.stage, verify.deletes, verify.drift), (LAST_STAGE, false, None));
    assert_eq!(env.record(&lane, "b", Finding::Verified).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, []);
}

pub(crate) async fn a_deletion_that_was_told_is_missing_until_it_is_seen_again(env: &Env) {
    let lane = holding(env, &["a", "b", "c"]).await;
    begun(env, &lane, Some("t")).await;
    assert_eq!(missing(env, &lane).await, (3, 0));
    write(env, &lane, losing(&["a", "b"])).await;
    assert_eq!(missing(env, &lane).await, (3, 2));
    write(env, &lane, seeing(&["b"])).await;
    assert_eq!(missing(env, &lane).await, (3, 1));
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, uids(&["a"]));
    // Another sweep is not told of it again.
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    assert_eq!(missing(env, &lane).await, (3, 0));
}

/// The calendar acknowledges another revision of an event, of long ago.
async fn over(env: &Env, lane: &LaneLease, name: &str) {
    let Finding::Present { digest, etag, external_id, provider_uid, .. } =
        present(name, 1, "Massage")
    else {
        unreachable!("it is present")
    };
    env.ask(name, 1, Some("Massage")).await;
    assert!(env.stamp(lane, name, (Verb::Update, 1, 0)).await);
    let (start, end) = (hour(9) - TimeDelta::days(9_000), hour(10) - TimeDelta::days(9_000));
    let ended =
        Finding::Present { revision: 1, digest, etag, external_id, provider_uid, start, end };
    assert_eq!(env.record(lane, name, ended).await, Fenced::Written);
}

pub(crate) async fn what_has_ended_or_was_deleted_by_us_is_not_missing(env: &Env) {
    let lane = holding(env, &["a", "b", "c"]).await;
    over(env, &lane, "c").await;
    env.ask("b", 1, None).await;
    begun(env, &lane, None).await;
    // It is wanted no more: whether it still stands is the lane's to say.
    assert_eq!(missing(env, &lane).await, (1, 1));
    assert!(env.stamp(&lane, "b", (Verb::Delete, 1, 0)).await);
    assert_eq!(env.record(&lane, "b", Finding::Absent { revision: 1 }).await, Fenced::Written);
    assert_eq!(missing(env, &lane).await, (1, 1));
}

pub(crate) async fn the_failures_of_a_page_are_counted_until_it_is_read(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, None).await;
    let page = SweptPage { next: Some("2".to_owned()), ..seeing(&["a"]) };
    write(env, &lane, page).await;
    let put_off = SweepStep::PutOff { after: LONG, result: "no".to_owned() };
    for failures in 1..=2 {
        assert_eq!(step(env, &lane, put_off.clone()).await, Fenced::Written);
        let sweep = env.store.sweep(&lane).await.answered();
        assert_eq!(sweep.is_due, Some(false));
        let progress = sweep.progress.expect("it is under way");
        assert_eq!((progress.page.as_deref(), progress.failures), (Some("2"), failures));
    }
    assert_eq!(env.counted(1).await.swept.as_deref(), Some("no"));
    for is_read in [true, false] {
        if is_read {
            write(env, &lane, SweptPage::default()).await;
        } else {
            assert_eq!(step(env, &lane, put_off.clone()).await, Fenced::Written);
            assert_eq!(step(env, &lane, begin(true)).await, Fenced::Written);
        }
        let progress = env.store.sweep(&lane).await.answered().progress;
        assert_eq!(progress.map(|it| it.failures), Some(0));
    }
    let stranger = LaneLease { token: token(9), ..lane };
    assert_eq!(step(env, &stranger, put_off).await, Fenced::Refused);
}

/// What vanishes without a trace is in no list of changes: once in a while all is read.
pub(crate) async fn sweeps_that_read_changes_alone_are_counted(env: &Env) {
    let lane = holding(env, &["a", "b", "c"]).await;
    begun(env, &lane, Some("t")).await;
    for partial in 1..=2 {
        assert_eq!(step(env, &lane, end(Some("t"))).await, Fenced::Written);
        assert_eq!(env.store.sweep(&lane).await.answered().partial, partial);
        assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    }
    assert_eq!(step(env, &lane, begin(true)).await, Fenced::Written);
    assert_eq!(env.store.sweep(&lane).await.answered().partial, 2, "it has not ended yet");
    write(env, &lane, seeing(&["a", "b", "c"])).await;
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert_eq!(env.store.sweep(&lane).await.answered().partial, 0);
}

/// No marker is in it, so that no listing tells of it.
pub(crate) async fn what_stood_before_us_is_not_missing(env: &Env) {
    let lane = holding(env, &["a"]).await;
    let event = AdoptedEvent {
        external_id: "theirs".to_owned(),
        etag: None,
        provider_uid: None,
        digest: content("Massage").digest(),
        revision: -1,
    };
    let adopted = Adopted { row: Uuid::nil(), uid: uid("b"), event: Some(event) };
    let _ = env.store.adopt(connection(1), &[adopted]).await.answered();
    env.ask("b", 0, Some("Massage")).await;
    begun(env, &lane, None).await;
    assert_eq!(missing(env, &lane).await, (1, 1));
}

/// Rule R14: what may land late is looked for once it cannot land any more.
pub(crate) async fn what_is_to_be_read_anyway_keeps_its_hour(env: &Env) {
    let lane = holding_open(env).await;
    begun(env, &lane, None).await;
    write(env, &lane, SweptPage { verify: uids(&["a"]), ..SweptPage::default() }).await;
    assert_eq!(step(env, &lane, end(None)).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, []);
}

pub(crate) async fn a_row_is_found_by_its_booking_and_by_its_events_name(env: &Env) {
    let lane = holding(env, &["a", "b", "c"]).await;
    let ids = ["booking-c.ics".to_owned(), "nobodys".to_owned()];
    let rows = env.store.swept_rows(&lane, &uids(&["a", "z"]), &ids).await.answered();
    let found: Vec<_> = rows.iter().map(|row| row.uid.clone()).collect();
    assert_eq!(found, uids(&["a", "c"]));
    let row = &rows[1];
    assert_eq!((row.generation, row.server_id.as_deref()), (0, Some("booking-c.ics")));
    assert_eq!(row.applied, Some((0, content("Massage").digest())));
    assert_eq!((&row.adopted_id, row.drift, row.is_wanted), (&None, None, true));
    env.ask("c", 1, None).await;
    let rows = env.store.swept_rows(&lane, &uids(&["c"]), &[]).await.answered();
    assert!(!rows[0].is_wanted);
}

pub(crate) async fn a_copy_is_news_once_and_goes_with_its_event(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, None).await;
    for news in [&["copy"][..], &[]] {
        assert_eq!(write(env, &lane, finding("copy", DriftKind::Copy)).await, news);
    }
    assert_eq!(write(env, &lane, finding("other", DriftKind::Orphan)).await, ["other"]);
    write(env, &lane, seeing(&["a"])).await;
    assert_eq!(step(env, &lane, end(Some("t"))).await, Fenced::Written);
    let both = [("copy".to_owned(), DriftKind::Copy), ("other".to_owned(), DriftKind::Orphan)];
    assert_eq!(drift(env).await, both);
    // What has changed says nothing of what has not.
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    let vanished = vec!["other".to_owned(), "booking-a.ics".to_owned()];
    write(env, &lane, SweptPage { vanished, ..SweptPage::default() }).await;
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert_eq!(drift(env).await, both[..1]);
    assert_eq!(step(env, &lane, begin(true)).await, Fenced::Written);
    write(env, &lane, seeing(&["a"])).await;
    assert_eq!(step(env, &lane, end(Some("v"))).await, Fenced::Written);
    assert_eq!(drift(env).await, []);
}

/// A listing says that the event is there, and not that it is as it should be.
pub(crate) async fn what_is_to_be_read_anyway_settles_no_drift_before(env: &Env) {
    let lane = holding_open(env).await;
    assert_eq!(note(env, &lane, Some(DriftKind::Edited)).await, Some(true));
    begun(env, &lane, None).await;
    let otherwise = SweptPage { seen: uids(&["a"]), verify: uids(&["a"]), ..SweptPage::default() };
    write(env, &lane, otherwise).await;
    assert_eq!(step(env, &lane, end(None)).await, Fenced::Written);
    assert_eq!(drift(env).await, [("booking-a.ics".to_owned(), DriftKind::Edited)]);
    let rows = env.store.swept_rows(&lane, &uids(&["a"]), &[]).await.answered();
    assert_eq!(rows[0].drift, Some(DriftKind::Edited));
}

pub(crate) async fn a_drift_is_news_once_and_until_it_is_settled(env: &Env) {
    let lane = holding(env, &["a", "b"]).await;
    begun(env, &lane, None).await;
    for (kind, is_news) in [
        (DriftKind::Edited, true),
        (DriftKind::Edited, false),
        (DriftKind::Deleted, true),
        (DriftKind::Deleted, false),
    ] {
        assert_eq!(note(env, &lane, Some(kind)).await, Some(is_news));
        assert_eq!(drift(env).await, [("booking-a.ics".to_owned(), kind)]);
    }
    // What is known to be deleted is not missed again.
    assert_eq!(missing(env, &lane).await, (1, 1));
    let rows = env.store.swept_rows(&lane, &uids(&["a"]), &[]).await.answered();
    assert_eq!(rows[0].drift, Some(DriftKind::Deleted));
    write(env, &lane, seeing(&["b"])).await;
    assert_eq!(step(env, &lane, end(Some("t"))).await, Fenced::Written);
    assert_eq!(drift(env).await.len(), 1, "nothing has settled it");
    // The next update brings the event back.
    env.ask("a", 1, Some("Haircut")).await;
    assert!(env.stamp(&lane, "a", (Verb::Update, 1, 0)).await);
    assert_eq!(env.record(&lane, "a", present("a", 1, "Haircut")).await, Fenced::Written);
    pass(env).await;
    let rows = env.store.swept_rows(&lane, &uids(&["a"]), &[]).await.answered();
    assert_eq!(rows[0].drift, None);
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    assert_eq!(missing(env, &lane).await, (2, 0));
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert_eq!(drift(env).await, []);
    assert_eq!(note(env, &lane, Some(DriftKind::Lost)).await, Some(true));
    assert_eq!(note(env, &lane, None).await, Some(false));
    assert_eq!(drift(env).await, []);
}

/// Nobody minds any more, whatever the policy: or what is kept for people would only grow.
pub(crate) async fn what_is_otherwise_with_an_event_that_has_ended_is_settled(env: &Env) {
    let lane = holding(env, &["a", "b"]).await;
    over(env, &lane, "a").await;
    let rows = env.store.swept_rows(&lane, &uids(&["a", "b"]), &[]).await.answered();
    assert_eq!(rows.iter().map(|row| row.has_ended).collect::<Vec<_>>(), [true, false]);
    pass(env).await;
    assert_eq!(note(env, &lane, Some(DriftKind::Edited)).await, Some(true));
    begun(env, &lane, None).await;
    write(env, &lane, seeing(&["b"])).await;
    let result = "read".to_owned();
    let ended = SweepStep::End { since: None, after: LONG, verify_drift: true, result };
    assert_eq!(step(env, &lane, ended).await, Fenced::Written);
    assert_eq!(drift(env).await, []);
    assert_eq!(to_be_read(env, &lane).await, []);
}

/// Once the policy has changed, what was only reported is to be mended.
pub(crate) async fn what_is_known_to_be_otherwise_is_read_again_if_asked_for(env: &Env) {
    let lane = holding(env, &["a", "b"]).await;
    assert_eq!(note(env, &lane, Some(DriftKind::Deleted)).await, Some(true));
    begun(env, &lane, None).await;
    write(env, &lane, seeing(&["b"])).await;
    let result = "read".to_owned();
    let ended = SweepStep::End { since: None, after: LONG, verify_drift: true, result };
    assert_eq!(step(env, &lane, ended).await, Fenced::Written);
    assert_eq!(to_be_read(env, &lane).await, uids(&["a"]));
    assert_eq!(env.owed(&lane).await.verify.expect("to be read").drift, Some(DriftKind::Deleted));
}

pub(crate) async fn no_more_drift_is_kept_than_the_bound(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, None).await;
    let copy = |number| FoundDrift {
        external_id: format!("copy-{number:04}"),
        uid: None,
        kind: DriftKind::Copy,
    };
    let found: Vec<_> = (0..DRIFT_MAX + 5).map(copy).collect();
    let page = SweptPage { found, ..SweptPage::default() };
    assert_eq!(write(env, &lane, page).await.len(), DRIFT_MAX as usize);
    assert_eq!(note(env, &lane, Some(DriftKind::Edited)).await, Some(false), "or for ever");
    assert_eq!(drift(env).await.len(), DRIFT_MAX as usize);
}

pub(crate) async fn a_halted_sweep_waits_for_a_person(env: &Env) {
    let lane = holding(env, &["a"]).await;
    assert!(!env.store.resume_sweep(connection(1)).await.answered());
    begun(env, &lane, Some("t")).await;
    let halt = SweepStep::Halt { reason: "empty".to_owned() };
    assert_eq!(step(env, &lane, halt).await, Fenced::Written);
    let sweep = env.store.sweep(&lane).await.answered();
    assert_eq!((sweep.halted.as_deref(), sweep.progress), (Some("empty"), None));
    assert_eq!(step(env, &lane, plan(Some(Duration::ZERO))).await, Fenced::Written);
    assert_eq!(env.row(1).await.halted.as_deref(), Some("empty"));
    assert_eq!(env.counted(1).await.connection.halted.as_deref(), Some("empty"));
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.lease(2).await, None);
    assert!(env.store.resume_sweep(connection(1)).await.answered());
    assert!(!env.store.resume_sweep(connection(1)).await.answered());
    assert_eq!(env.row(1).await.halted, None);
    let lane = env.lane(3).await;
    let sweep = env.store.sweep(&lane).await.answered();
    let expected = Sweep { is_due: Some(true), is_excused: true, ..Sweep::default() };
    assert_eq!(sweep, expected);
    // The person has answered for one sweep, and for all of it.
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    let progress = env.store.sweep(&lane).await.answered().progress;
    assert_eq!(progress.map(|it| it.is_full), Some(true));
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert!(!env.store.sweep(&lane).await.answered().is_excused);
}

/// What was wrong with a calendar before is no news of the account that is connected again. What is
/// still to be withdrawn from it has a sweep all the same.
pub(crate) async fn a_connection_that_is_removed_forgets_its_sweep(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, Some("t")).await;
    assert_eq!(step(env, &lane, end(Some("u"))).await, Fenced::Written);
    assert_eq!(step(env, &lane, plan(Some(Duration::ZERO))).await, Fenced::Written);
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    let copy = finding("copy", DriftKind::Copy);
    write(env, &lane, SweptPage { next: Some("2".to_owned()), removals: 2, ..copy }).await;
    let later = SweepStep::PutOff { after: Duration::ZERO, result: "no answer".to_owned() };
    assert_eq!(step(env, &lane, later).await, Fenced::Written);
    let lane = removed_and_connected(env, 2).await;
    assert_eq!(drift(env).await, []);
    // As the first one of a connection: all of it is read.
    assert_eq!(step(env, &lane, begin(false)).await, Fenced::Written);
    let progress = SweepProgress { is_full: true, ..SweepProgress::default() };
    assert_eq!(env.store.sweep(&lane).await.answered().progress, Some(progress));

    let halt = SweepStep::Halt { reason: "empty".to_owned() };
    assert_eq!(step(env, &lane, halt.clone()).await, Fenced::Written);
    let lane = removed_and_connected(env, 3).await;
    assert_eq!(step(env, &lane, halt).await, Fenced::Written);
    assert!(env.store.resume_sweep(connection(1)).await.answered());
    removed_and_connected(env, 4).await;
}

/// Connection 1 as it is connected again, and leased by `number`: only the hour of its sweep is left.
async fn removed_and_connected(env: &Env, number: u128) -> LaneLease {
    assert!(env.store.remove_connection(connection(1), false).await.answered());
    assert_eq!(env.lease(number).await, None, "nobody sweeps what is removed");
    env.connect(1).await;
    assert_eq!(env.row(1).await.halted, None);
    assert_eq!(env.counted(1).await.swept, None);
    let lane = env.lane(number).await;
    let expected = Sweep { is_due: Some(true), ..Sweep::default() };
    assert_eq!(env.store.sweep(&lane).await.answered(), expected);
    lane
}

pub(crate) async fn a_former_holder_sweeps_nothing(env: &Env) {
    let lane = holding(env, &["a"]).await;
    begun(env, &lane, None).await;
    let stranger = LaneLease { token: token(9), ..lane.clone() };
    for refused in [
        plan(Some(LONG)),
        begin(true),
        end(Some("t")),
        SweepStep::Halt { reason: "empty".to_owned() },
    ] {
        assert_eq!(step(env, &stranger, refused).await, Fenced::Refused);
    }
    let page = SweptPage { next: Some("2".to_owned()), ..finding("copy", DriftKind::Copy) };
    assert_eq!(env.store.sweep_page(&stranger, &page).await.answered(), None);
    assert_eq!(note(env, &stranger, Some(DriftKind::Edited)).await, None);
    let progress = SweepProgress { is_full: true, ..SweepProgress::default() };
    let expected = Sweep { is_due: Some(true), progress: Some(progress), ..Sweep::default() };
    assert_eq!(env.store.sweep(&lane).await.answered(), expected);
    assert_eq!(missing(env, &lane).await, (1, 1));
    assert_eq!(drift(env).await, []);
}
