//! Sweeps (rule R20): how far each connection's is, what a page of it says of the rows, and what is
//! otherwise in a calendar than we left it.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::{ConnectionId, IcalUid};
use calendar_sync::store::{
    DRIFT_MAX, Drift, DriftKind, DriftNote, Fenced, FoundDrift, LAST_STAGE, LaneLease, Missing,
    Sweep, SweepProgress, SweepStep, SweptPage, SweptRow, later,
};

use super::rows::{DriftRow, EffectRow, SweepRow, Tables, time};
use super::{Tx, lane};

/// See [`calendar_sync::store::Store::sweep`].
pub(super) fn sweep(tables: &Tables, now: i64, lane: &LaneLease) -> Sweep {
    let Some(row) = tables.sweeps.get(&lane.connection) else {
        return Sweep::default();
    };
    let progress = SweepProgress {
        is_full: row.is_full,
        page: row.page.clone(),
        pages: row.pages,
        removals: row.removals,
        failures: row.failures,
    };
    Sweep {
        is_due: row.due_at.map(|at| at <= now),
        since: row.since.clone(),
        partial: row.partial,
        progress: row.began_at.map(|_| progress),
        is_excused: row.excused,
        halted: row.halted.clone(),
    }
}

/// Whether a sweep makes an active connection leasable.
pub(super) fn is_due(tables: &Tables, id: ConnectionId, now: i64) -> bool {
    let row = tables.sweeps.get(&id);
    row.is_some_and(|row| row.halted.is_none() && row.due_at.is_some_and(|at| at <= now))
}

/// See [`calendar_sync::store::Store::step_sweep`].
pub(super) fn step_sweep(tx: &mut Tx<'_>, lane: &LaneLease, step: &SweepStep) -> Fenced {
    if !lane::is_ours(tx, lane, None) {
        return Fenced::Refused;
    }
    let now = tx.now;
    if let SweepStep::Plan { after, result } = step {
        let row = tx.tables.sweeps.entry(lane.connection).or_default();
        row.due_at = after.map(|after| later(now, after));
        row.tell(result.as_ref());
        tx.commit();
        return Fenced::Written;
    }
    let Some(row) = tx.tables.sweeps.get_mut(&lane.connection) else {
        return Fenced::Refused;
    };
    match step {
        SweepStep::Plan { .. } => unreachable!("planned above"),
        SweepStep::PutOff { after, result } => {
            row.due_at = Some(later(now, *after));
            row.failures += 1;
            row.tell(Some(result));
        }
        SweepStep::Begin { full, result } => {
            row.is_full = *full || row.excused || row.since.is_none();
            row.since = row.since.take().filter(|_| !(*full || row.excused));
            (row.began_at, row.page, row.pages) = (Some(now), None, 0);
            (row.removals, row.failures) = (0, 0);
            row.tell(result.as_ref());
        }
        SweepStep::Halt { reason } => {
            row.halted = Some(reason.clone());
            row.tell(Some(reason));
            (row.since, row.began_at, row.page) = (None, None, None);
        }
        SweepStep::End { since, after, verify_drift, result } => {
            if row.began_at.is_none() {
                return Fenced::Refused;
            }
            settle(tx.tables, lane.connection, now);
            verify_missing(tx, lane, *verify_drift);
            let row = tx.tables.sweeps.get_mut(&lane.connection).expect("it is under way");
            row.since.clone_from(since);
            row.partial = if row.is_full { 0 } else { row.partial + 1 };
            row.due_at = Some(later(now, *after));
            (row.began_at, row.page, row.excused) = (None, None, false);
            row.tell(Some(result));
        }
    }
    tx.commit();
    Fenced::Written
}

impl SweepRow {
    fn tell(&mut self, result: Option<&String>) {
        self.result = result.cloned().or(self.result.take());
    }
}

/// Has what was not found read by its name; where asked, also what is known to be otherwise.
fn verify_missing(tx: &mut Tx<'_>, lane: &LaneLease, verify_drift: bool) {
    let now = tx.now;
    let tables = &*tx.tables;
    let asks = |(uid, row): &(&IcalUid, &EffectRow)| {
        is_missing(tables, lane.connection, uid, row, now)
            || (verify_drift && row_drift(tables, lane.connection, uid, row, now).is_some())
    };
    let rows = tables.lane_effects(lane.connection).filter(asks);
    let uids: Vec<IcalUid> = rows.map(|(uid, _)| uid.clone()).collect();
    for uid in &uids {
        if tx.broken.missing_taken_for_gone {
            forget(tx, lane.connection, uid);
        } else {
            verify_soon(tx, lane.connection, uid);
        }
    }
}

/// Broken on purpose: whoever takes a listing for the truth makes anew what it does not show.
fn forget(tx: &mut Tx<'_>, connection: ConnectionId, uid: &IcalUid) {
    if let Some(row) = tx.tables.effect_mut(connection, uid) {
        (row.applied_digest, row.etag) = (None, None);
    }
}

/// A row that is to be read anyway keeps its hour, or an open attempt could land after it (R14).
fn verify_soon(tx: &mut Tx<'_>, connection: ConnectionId, uid: &IcalUid) {
    let now = tx.now;
    let row = tx.tables.effect_mut(connection, uid);
    if let Some(row) = row.filter(|row| row.verify_at.is_none()) {
        row.verify_from_generation = Some(row.generation);
        (row.verify_deletes, row.verify_stage) = (false, LAST_STAGE);
        row.verify_at = Some(now);
    }
}

/// A copy that a full scan did not come by is not there any more. A row's own drift is settled once
/// its event was acknowledged, or seen as it should be, or has ended, or is wanted no more.
fn settle(tables: &mut Tables, connection: ConnectionId, now: i64) {
    let Some(mut rows) = tables.drift.remove(&connection) else {
        return;
    };
    let sweep = &tables.sweeps[&connection];
    rows.retain(|_, drift| {
        if !drift.kind.is_of_a_row() {
            return !(sweep.is_full && sweep.began_at.is_some_and(|began| drift.seen_at < began));
        }
        let row = drift.uid.as_ref().and_then(|uid| tables.effect(connection, uid));
        row.is_some_and(|row| {
            let uid = drift.uid.as_ref().expect("it has a row");
            let event = tables.events.get(&connection).and_then(|rows| rows.get(uid));
            row.desired_digest.is_some()
                && row.applied_digest.is_some()
                && event.is_none_or(|event| event.end.timestamp_micros() > now)
                && (row.seen_at.is_none_or(|seen| seen <= drift.seen_at)
                    || row.verify_at.is_some_and(|at| at <= now))
        })
    });
    tables.drift.insert(connection, rows);
}

/// Whether a row says that the calendar holds an event that has not ended, carries our marker, and is
/// not known to be deleted.
fn is_known(
    tables: &Tables,
    connection: ConnectionId,
    uid: &IcalUid,
    row: &EffectRow,
    now: i64,
) -> bool {
    let event = tables.events.get(&connection).and_then(|rows| rows.get(uid));
    let is_deleted = |drift: &DriftRow| {
        drift.uid.as_ref() == Some(uid)
            && matches!(drift.kind, DriftKind::Deleted | DriftKind::Unmarked)
            && row.seen_at.is_none_or(|seen| drift.seen_at >= seen)
    };
    row.applied_digest.is_some()
        && row.desired_digest.is_some()
        && row.flight.is_none()
        && (row.adopted_id.is_none() || row.generation > 0 || row.seen_at.is_some())
        && event.is_some_and(|event| event.end.timestamp_micros() > now)
        && !tables.drift.get(&connection).into_iter().flatten().any(|(_, drift)| is_deleted(drift))
}

/// Whether the sweep under way has not found an event that we know of.
fn is_missing(
    tables: &Tables,
    connection: ConnectionId,
    uid: &IcalUid,
    row: &EffectRow,
    now: i64,
) -> bool {
    let sweep = tables.sweeps.get(&connection);
    let Some((sweep, began)) = sweep.and_then(|sweep| Some((sweep, sweep.began_at?))) else {
        return false;
    };
    let is_not_found = if sweep.is_full {
        row.seen_at.is_none_or(|seen| seen < began)
    } else {
        let gone = row.gone_at.filter(|gone| *gone >= began);
        gone.is_some_and(|gone| row.seen_at.is_none_or(|seen| seen < gone))
    };
    is_not_found && is_known(tables, connection, uid, row, now)
}

/// Whether the listing of the full scan under way may be from before an event was written.
fn is_fresh(tables: &Tables, connection: ConnectionId, row: &EffectRow, lag: Duration) -> bool {
    let sweep = tables.sweeps.get(&connection).filter(|sweep| sweep.is_full);
    let began = sweep.and_then(|sweep| sweep.began_at);
    began.zip(row.seen_at).is_some_and(|(began, seen)| seen < began && later(seen, lag) >= began)
}

/// What is known to be otherwise with the event of a row since it was last acknowledged or listed.
pub(super) fn row_drift(
    tables: &Tables,
    connection: ConnectionId,
    uid: &IcalUid,
    row: &EffectRow,
    now: i64,
) -> Option<DriftKind> {
    let is_open = |drift: &&DriftRow| {
        drift.uid.as_ref() == Some(uid)
            && drift.kind.is_of_a_row()
            && (row.seen_at.is_none_or(|seen| drift.seen_at >= seen)
                || row.verify_at.is_some_and(|at| at <= now))
    };
    let rows = tables.drift.get(&connection)?.values();
    rows.filter(is_open).max_by_key(|drift| drift.seen_at).map(|drift| drift.kind)
}

/// See [`calendar_sync::store::Store::swept_rows`].
pub(super) fn swept_rows(
    tables: &Tables,
    now: i64,
    lane: &LaneLease,
    uids: &[IcalUid],
    external_ids: &[String],
) -> Vec<SweptRow> {
    let connection = lane.connection;
    let events = tables.events.get(&connection);
    let event = |uid: &IcalUid| events.and_then(|rows| rows.get(uid));
    let is_asked = |(uid, _): &(&IcalUid, &EffectRow)| {
        let named = event(uid).is_some_and(|event| external_ids.contains(&event.external_id));
        named || uids.contains(*uid)
    };
    let rows = tables.lane_effects(connection).filter(is_asked);
    rows.map(|(uid, row)| SweptRow {
        uid: uid.clone(),
        generation: row.generation,
        adopted_id: row.adopted_id.clone(),
        server_id: event(uid)
            .filter(|event| event.generation == row.generation)
            .map(|event| event.external_id.clone()),
        applied: row.applied_revision.zip(row.applied_digest),
        is_wanted: row.desired_digest.is_some(),
        has_ended: event(uid)
            .filter(|event| event.generation == row.generation)
            .is_some_and(|event| event.end.timestamp_micros() <= now),
        drift: row_drift(tables, connection, uid, row, now),
    })
    .collect()
}

/// See [`calendar_sync::store::Store::sweep_page`].
pub(super) fn sweep_page(
    tx: &mut Tx<'_>,
    lane: &LaneLease,
    page: &SweptPage,
) -> Option<Vec<String>> {
    if !lane::is_ours(tx, lane, None) {
        return None;
    }
    let (now, connection) = (tx.now, lane.connection);
    let sweep = tx.tables.sweeps.get_mut(&connection).filter(|row| row.began_at.is_some())?;
    sweep.page = page.next.clone().or(sweep.page.take());
    sweep.pages += 1;
    sweep.removals += page.removals;
    sweep.failures = 0;
    // That an event is there settles nothing of what is otherwise with it.
    let seen = |uid: &IcalUid| tx.tables.effect(connection, uid).and_then(|row| row.seen_at);
    let verified: BTreeMap<&IcalUid, Option<i64>> =
        page.verify.iter().map(|uid| (uid, seen(uid))).collect();
    let rows = tx.tables.drift.get_mut(&connection).into_iter().flat_map(BTreeMap::values_mut);
    for row in rows.filter(|row| row.kind.is_of_a_row()) {
        let seen = row.uid.as_ref().and_then(|uid| verified.get(uid));
        if seen.is_some_and(|seen| seen.is_none_or(|seen| row.seen_at >= seen)) {
            row.seen_at = now;
        }
    }
    for uid in &page.seen {
        if let Some(row) = tx.tables.effect_mut(connection, uid) {
            row.seen_at = Some(now);
        }
    }
    for uid in &page.gone {
        if let Some(row) = tx.tables.effect_mut(connection, uid) {
            row.gone_at = Some(now);
        }
    }
    for uid in &page.verify {
        verify_soon(tx, connection, uid);
    }
    let drift = tx.tables.drift.entry(connection).or_default();
    let mut news = Vec::new();
    for FoundDrift { external_id, uid, kind } in &page.found {
        let uid = uid.clone();
        if let Some(known) = drift.get_mut(external_id) {
            *known = DriftRow { uid, kind: *kind, seen_at: now, since: known.since };
        } else if drift.len() < DRIFT_MAX as usize {
            let found = DriftRow { uid, kind: *kind, seen_at: now, since: now };
            drift.insert(external_id.clone(), found);
            news.push(external_id.clone());
        }
    }
    drift.retain(|id, row| row.kind.is_of_a_row() || !page.vanished.contains(id));
    tx.commit();
    Some(news)
}

/// See [`calendar_sync::store::Store::missing`].
pub(super) fn missing(tables: &Tables, now: i64, lane: &LaneLease, lag: Duration) -> Missing {
    let connection = lane.connection;
    let mut counted = Missing::default();
    for (uid, row) in tables.lane_effects(connection) {
        if is_fresh(tables, connection, row, lag) {
            continue;
        }
        let is_swept = tables.sweeps.contains_key(&connection);
        counted.known += u64::from(is_swept && is_known(tables, connection, uid, row, now));
        counted.missing += u64::from(is_missing(tables, connection, uid, row, now));
    }
    counted
}

/// See [`calendar_sync::store::Store::note_drift`].
pub(super) fn note_drift(tx: &mut Tx<'_>, note: &DriftNote) -> Option<bool> {
    if !lane::is_ours(tx, &note.lane, None) {
        return None;
    }
    let now = tx.now;
    let drift = tx.tables.drift.entry(note.lane.connection).or_default();
    let is_kept = |id: &String| note.kind.is_some() && *id == note.external_id;
    drift.retain(|id, row| {
        !row.kind.is_of_a_row() || row.uid.as_ref() != Some(&note.uid) || is_kept(id)
    });
    let mut is_news = false;
    if let Some(kind) = note.kind {
        let known = drift.get(&note.external_id).map(|row| (row.kind, row.since));
        let is_kept = known.is_some() || drift.len() < DRIFT_MAX as usize;
        let is_other = known.is_none_or(|(known, _)| known != kind);
        is_news = is_kept && is_other;
        let since = known.filter(|_| !is_other).map_or(now, |(_, since)| since);
        if is_kept {
            let row = DriftRow { uid: Some(note.uid.clone()), kind, since, seen_at: now };
            drift.insert(note.external_id.clone(), row);
        }
    }
    tx.commit();
    Some(is_news)
}

/// See [`calendar_sync::store::Store::resume_sweep`].
pub(super) fn resume_sweep(tx: &mut Tx<'_>, id: ConnectionId) -> bool {
    let now = tx.now;
    let Some(row) = tx.tables.sweeps.get_mut(&id).filter(|row| row.halted.is_some()) else {
        return false;
    };
    (row.halted, row.excused, row.due_at) = (None, true, Some(now));
    (row.since, row.began_at, row.page) = (None, None, None);
    tx.commit();
    true
}

/// See [`calendar_sync::store::Store::drift`].
pub(super) fn drift(tables: &Tables, id: ConnectionId) -> Vec<Drift> {
    let rows = tables.drift.get(&id).into_iter().flatten();
    rows.map(|(external_id, row)| Drift {
        connection: id,
        external_id: external_id.clone(),
        uid: row.uid.clone(),
        kind: row.kind,
        since: time(row.since),
    })
    .collect()
}
