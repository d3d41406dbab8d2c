//! What became of an attempt, written only under the row's token (rule R15), and the rows of
//! `external_calendar_events` that go with it.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::{ConnectionId, Digest, IcalUid, Verb};
use calendar_sync::store::{ExternalEvent, Finding, Record, Recorded, Result, StoreError, later};
use chrono::DateTime;
use uuid::Uuid;

use super::rows::{EffectRow, EventRow, Tables};
use super::{Tx, ahead, connection, dead_letter, lane};

/// See [`calendar_sync::store::Store::record`].
pub(super) fn record(tx: &mut Tx<'_>, record: &Record) -> Result<Recorded> {
    if let Finding::Ahead { revision, after, error } = &record.finding {
        return Ok(ahead::settle(tx, record, *revision, *after, error)?.into());
    }
    if !is_held(tx, record) {
        return Ok(Recorded::Refused);
    }
    may_map(tx.tables, record)?;
    // The verification first: it asks what was in flight.
    let now = tx.now;
    schedule(effect(tx, record), record, now);
    let recorded = find(tx, record);
    effect(tx, record).updated_at = now;
    if tx.broken.rows_deleted_at_record {
        delete_settled(tx, record);
    }
    connection::finish_removal(tx.tables, record.lane.connection);
    tx.commit();
    Ok(recorded)
}

/// The row that a record is about.
fn effect<'t>(tx: &'t mut Tx<'_>, record: &Record) -> &'t mut EffectRow {
    tx.tables.effect_mut(record.lane.connection, &record.uid).expect("it is held")
}

/// An attempt's finding needs the attempt, under our token; a verification's needs the lane.
fn is_held(tx: &Tx<'_>, record: &Record) -> bool {
    let Some(row) = tx.tables.effect(record.lane.connection, &record.uid) else {
        return false;
    };
    if record.finding.is_verification() {
        return row.flight.is_none() && lane::is_ours(tx, &record.lane, None);
    }
    let is_ours = |token| token == record.lane.token || tx.broken.no_token;
    row.flight.as_ref().is_some_and(|flight| is_ours(flight.token))
}

/// Rule R14: when the row is read again. An open attempt never puts off what another one asked
/// for; a verification has answered what was asked, and says itself what comes next.
fn schedule(row: &mut EffectRow, record: &Record, now: i64) {
    let at = record.verify_after.map(|after| later(now, after));
    if record.finding == Finding::Unverified {
        row.verify_at = at.or(row.verify_at);
        return;
    }
    match (record.finding.is_verification(), at) {
        (false, None) => {}
        (false, Some(at)) => lane::leave_open(row, at),
        (true, Some(at)) => {
            row.verify_at = Some(at);
            lane::verify_from(row);
            row.verify_stage += 1;
            row.ahead_since = None;
        }
        (true, None) => {
            (row.verify_at, row.verify_from_generation) = (None, None);
            (row.verify_deletes, row.verify_stage) = (false, 0);
            row.ahead_since = None;
        }
    }
}

/// Writes the finding itself.
fn find(tx: &mut Tx<'_>, record: &Record) -> Recorded {
    let now = tx.now;
    match &record.finding {
        Finding::Present { .. } => present(tx, record),
        Finding::Absent { revision } => absent(tx, record, *revision),
        // Rule R12: settled absent, though not by us: the next generation is open.
        Finding::Gone => {
            let row = effect(tx, record);
            row.settle();
            (row.applied_digest, row.etag) = (None, None);
            row.generation += 1;
            (row.burned, row.not_before) = (false, now);
            cancelled(tx, record, None);
        }
        Finding::NotApplied { after, error, rejected } => {
            let row = effect(tx, record);
            row.burned = row.burned && !row.flies(Verb::Delete);
            row.settle();
            put_off(row, (*after, error, *rejected), now);
        }
        Finding::Unknown { after, error, rejected } => {
            let row = effect(tx, record);
            row.attempts += 1;
            put_off(row, (*after, error, *rejected), now);
        }
        Finding::Dead { error, unknown } => return dead(tx, record, error, *unknown),
        Finding::Ahead { .. } => unreachable!("settled in a transaction of its own"),
        Finding::Verified | Finding::Unverified => {}
        Finding::Differs { present, etag, passed } => {
            differs(effect(tx, record), (*present, etag.as_ref(), *passed), now);
            if present.is_none() {
                cancelled(tx, record, None);
            }
        }
    }
    Recorded::Written
}

/// The row of `external_calendar_events` that a record is about.
fn event<'t>(tx: &'t mut Tx<'_>, record: &Record) -> Option<&'t mut EventRow> {
    tx.tables.events.get_mut(&record.lane.connection)?.get_mut(&record.uid)
}

/// What the constraints of `external_calendar_events` refuse: a name that is another row's, an
/// end that is not after the start.
fn may_map(tables: &Tables, record: &Record) -> Result<()> {
    let Finding::Present { external_id, start, end, .. } = &record.finding else {
        return Ok(());
    };
    let refused = |column, detail: &str| {
        let (table, key) = ("external_calendar_events", record.uid.to_string());
        Err(StoreError::Inconsistent { table, column, key, detail: detail.to_owned() })
    };
    if !tables.bookings.contains_key(&record.uid) {
        return Ok(());
    }
    if end <= start {
        return refused("end_time", "it is not after the start");
    }
    let connection = record.lane.connection;
    let mine = tables.events.get(&connection).and_then(|rows| rows.get(&record.uid));
    if mine.is_some_and(|row| row.external_id == *external_id) {
        return Ok(());
    }
    let of = &tables.connections[&connection];
    let is_taken = |row: &EventRow| {
        row.external_id == *external_id && row.provider == of.provider && row.kind == of.kind
    };
    let mapped = tables.events.values().flat_map(|rows| rows.values());
    if mapped.chain(tables.legacy.values()).any(is_taken) {
        return refused("external_event_id", "it is another row's");
    }
    Ok(())
}

/// The oldest event has what it asked for: what is wanted by now was asked for after the stamp.
fn waits_since_stamped(row: &mut EffectRow) {
    let stamped = row.flight.as_ref().and_then(|it| DateTime::from_timestamp_micros(it.at));
    let waits = &mut row.origin.published_at;
    *waits = waits.map(|published| stamped.map_or(published, |at| at.max(published)));
}

/// The calendar holds it: applied, with the row that operators look at.
fn present(tx: &mut Tx<'_>, record: &Record) {
    let Finding::Present { revision, digest, etag, external_id, provider_uid, start, end } =
        &record.finding
    else {
        unreachable!("the caller tells the findings apart");
    };
    let now = tx.now;
    let row = effect(tx, record);
    if row.desired_revision != *revision || row.desired_digest != Some(*digest) {
        waits_since_stamped(row);
    }
    row.settle();
    (row.applied_revision, row.applied_digest) = (Some(*revision), Some(*digest));
    row.etag.clone_from(etag);
    (row.attempts, row.rejections, row.last_error) = (0, 0, None);
    (row.not_before, row.dead, row.seen_at) = (now, false, Some(now));
    row.filling = false;
    let generation = row.generation;
    let connection = record.lane.connection;
    let Some(booking) = tx.tables.bookings.get(&record.uid) else {
        return;
    };
    let of = &tx.tables.connections[&connection];
    let rows = tx.tables.events.entry(connection).or_default();
    let Some(event) = rows.get_mut(&record.uid) else {
        let event = EventRow {
            // The row's id follows from its key: chance has no place in here.
            id: Uuid::new_v5(&connection.0, record.uid.as_str().as_bytes()),
            provider: of.provider,
            kind: of.kind,
            external_id: external_id.clone(),
            uid: Some(record.uid.clone()),
            booking: Some(booking.booking().id.clone()),
            provider_uid: provider_uid.clone(),
            start: *start,
            end: *end,
            is_busy: true,
            checksum: Some(*digest),
            sync_status: "CREATED",
            last_error: None,
            generation,
            applied_revision: *revision,
            etag: etag.clone(),
        };
        rows.insert(record.uid.clone(), event);
        return;
    };
    let is_the_same = event.external_id == *external_id && event.sync_status != "CANCELLED";
    event.sync_status = if is_the_same { "UPDATED" } else { "CREATED" };
    event.external_id.clone_from(external_id);
    if provider_uid.is_some() {
        event.provider_uid.clone_from(provider_uid);
    }
    (event.start, event.end, event.is_busy) = (*start, *end, true);
    (event.checksum, event.last_error) = (Some(*digest), None);
    (event.generation, event.applied_revision) = (generation, *revision);
    event.etag.clone_from(etag);
}

/// Deleted, by us.
fn absent(tx: &mut Tx<'_>, record: &Record, revision: i64) {
    let now = tx.now;
    let row = effect(tx, record);
    if row.desired_digest.is_some() && row.desired_revision > revision {
        waits_since_stamped(row);
    }
    row.settle();
    row.filling = false;
    (row.applied_revision, row.applied_digest, row.etag) = (Some(revision), None, None);
    row.burned = true;
    (row.attempts, row.rejections, row.last_error) = (0, 0, None);
    row.not_before = now;
    cancelled(tx, record, Some(revision));
}

/// Nothing stands in the calendar any more: it makes nobody busy.
fn cancelled(tx: &mut Tx<'_>, record: &Record, revision: Option<i64>) {
    if let Some(event) = event(tx, record) {
        (event.sync_status, event.is_busy) = ("CANCELLED", false);
        event.applied_revision = revision.unwrap_or(event.applied_revision);
        (event.etag, event.last_error) = (None, None);
    }
}

/// To be tried, or read back, later.
fn put_off(row: &mut EffectRow, (after, error, rejected): (Duration, &str, bool), now: i64) {
    row.not_before = later(now, after);
    row.last_error = Some(error.to_owned());
    row.rejections += i32::from(rejected);
}

/// Waits for a new revision or a person. What may have been applied stays in flight. What came to
/// be desired while this attempt was on its way has its own try (rule R13): where it has to be
/// settled first, `rejections`, which count from that change, give it further ones.
fn dead(tx: &mut Tx<'_>, record: &Record, error: &str, unknown: bool) -> Recorded {
    let row = effect(tx, record);
    let is_wanted = row.flight.as_ref().is_some_and(|flight| {
        row.desired_revision == flight.revision
            && row.desired_digest.is_none() == (flight.verb == Verb::Delete)
    });
    if unknown {
        row.dead = row.rejections > 0 || is_wanted;
        row.rejections += 1;
    } else {
        row.dead = is_wanted;
        row.settle();
    }
    row.last_error = Some(error.to_owned());
    if !row.dead {
        return Recorded::Written;
    }
    if let Some(event) = event(tx, record) {
        event.sync_status = "FAILED";
        event.last_error = Some(error.to_owned());
    }
    dead_letter::insert_effect(tx, &record.uid, record.lane.connection, error);
    Recorded::Died
}

/// What is known to be there is something else than was thought.
fn differs(
    row: &mut EffectRow,
    (present, etag, passed): (Option<(i64, Digest)>, Option<&String>, i32),
    now: i64,
) {
    row.asked_by_none();
    row.applied_revision = present.map(|(revision, _)| revision).or(row.applied_revision);
    row.applied_digest = present.map(|(_, digest)| digest);
    row.etag = etag.cloned();
    row.generation += passed;
    row.burned = row.burned && passed == 0;
    row.not_before = now;
}

/// Broken on purpose: whoever deletes a row that is done forgets its revision and its generation.
fn delete_settled(tx: &mut Tx<'_>, record: &Record) {
    let settles = matches!(record.finding, Finding::Present { .. } | Finding::Absent { .. });
    if settles && !effect(tx, record).due() {
        let rows = tx.tables.effects.get_mut(&record.lane.connection);
        rows.expect("it is held").remove(&record.uid);
    }
}

/// See [`calendar_sync::store::Store::external_events`].
pub(super) fn external_events(tables: &Tables, uid: &IcalUid) -> Vec<ExternalEvent> {
    let of = |(id, rows): (&ConnectionId, &BTreeMap<IcalUid, EventRow>)| {
        rows.get(uid).map(|row| read(*id, uid, row))
    };
    tables.events.iter().filter_map(of).collect()
}

fn read(connection: ConnectionId, uid: &IcalUid, row: &EventRow) -> ExternalEvent {
    ExternalEvent {
        provider: row.provider,
        connection,
        kind: row.kind,
        external_id: row.external_id.clone(),
        uid: uid.clone(),
        provider_uid: row.provider_uid.clone(),
        sync_status: row.sync_status.to_owned(),
        generation: row.generation,
        applied_revision: row.applied_revision,
        etag: row.etag.clone(),
        start: row.start,
        end: row.end,
        is_busy: row.is_busy,
    }
}
