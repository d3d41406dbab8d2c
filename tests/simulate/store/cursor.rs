//! The cursors: how far each partition was read, and who may say so (rules R1 to R3). Also the
//! server that answers, and what is done about another one (rule R18).

use std::collections::BTreeMap;

use calendar_sync::store::{
    Cursor, Fence, Fenced, Installation, LOST_STAMPS_WITHIN, LogFacts, Result, Resume, Stop,
    StoreError, earlier,
};
use uuid::Uuid;

use super::rows::{CursorRow, InstallationRow, Tables, time};
use super::{Broken, Tx};

/// See [`calendar_sync::store::Store::open`]. As PostgreSQL: it also looks who answers.
pub(super) fn open(
    tx: &mut Tx<'_>,
    server: u64,
    wanted: Option<Uuid>,
    fresh: Uuid,
) -> Result<Installation> {
    if tx.tables.installation.is_none() {
        let id = wanted.unwrap_or(fresh);
        let row = InstallationRow { id, installed_at: tx.now, incarnation: None };
        tx.tables.installation = Some(row);
        tx.commit();
    }
    notice_server(tx, server);
    let row = tx.tables.installation.as_ref().expect("it was stored if it was not there");
    match wanted {
        Some(wanted) if wanted != row.id => Err(StoreError::Installation { found: row.id, wanted }),
        Some(_) | None => Ok(Installation { id: row.id, installed_at: time(row.installed_at) }),
    }
}

/// See [`calendar_sync::store::Store::notice_server`]. Before anything is installed, nothing can be
/// lost.
pub(super) fn notice_server(tx: &mut Tx<'_>, server: u64) -> bool {
    let Some(installation) = &mut tx.tables.installation else {
        return false;
    };
    if installation.incarnation == Some(server) {
        return false;
    }
    let before = installation.incarnation.replace(server);
    if before.is_some() {
        for row in tx.tables.cursors.values_mut().flat_map(|rows| rows.values_mut()) {
            row.cursor.recover_until = Some(i64::MAX);
            row.log_end_at = None;
            row.cursor.fence.epoch += 1;
            // Nobody has the nil token.
            row.cursor.fence.token = Uuid::nil();
            row.cursor.updated_at = time(tx.now);
        }
    }
    tx.commit();
    before.is_some()
}

/// See [`calendar_sync::store::Store::fence`].
pub(super) fn fence(tx: &mut Tx<'_>, topic: &str, partitions: &[i32], token: Uuid) -> Vec<Cursor> {
    let now = time(tx.now);
    let new = |partition| CursorRow {
        cursor: Cursor {
            fence: Fence { topic: topic.to_owned(), partition, epoch: 0, token },
            next_offset: None,
            passed_to: None,
            witness: None,
            topic_id: None,
            cluster_id: None,
            log_end: None,
            incarnation: 0,
            recover_until: None,
            stop: None,
            updated_at: now,
        },
        log_end_at: None,
    };
    let rows = tx.tables.cursors.entry(topic.to_owned()).or_default();
    let mut cursors = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let row = rows.entry(*partition).or_insert_with(|| new(*partition));
        row.cursor.fence.epoch += 1;
        row.cursor.fence.token = token;
        row.cursor.updated_at = now;
        cursors.push(row.cursor.clone());
    }
    tx.commit();
    cursors
}

/// See [`calendar_sync::store::Store::cursor`].
pub(super) fn cursor(tables: &Tables, topic: &str, partition: i32) -> Option<Cursor> {
    Some(tables.cursors.get(topic)?.get(&partition)?.cursor.clone())
}

/// See [`calendar_sync::store::Store::cursors`].
pub(super) fn cursors(tables: &Tables) -> Vec<Cursor> {
    let rows = tables.cursors.values().flat_map(|rows| rows.values());
    rows.map(|row| row.cursor.clone()).collect()
}

/// The row that a fence holds.
pub(super) fn held<'t>(
    tables: &'t mut Tables,
    broken: Broken,
    fence: &Fence,
) -> Option<&'t mut CursorRow> {
    let row = tables.cursors.get_mut(&fence.topic)?.get_mut(&fence.partition)?;
    let is_ours = row.cursor.fence.epoch == fence.epoch && row.cursor.fence.token == fence.token;
    (is_ours || broken.no_owner_epoch).then_some(row)
}

/// See [`calendar_sync::store::Store::note_log`].
pub(super) fn note_log(tx: &mut Tx<'_>, fence: &Fence, facts: &LogFacts) -> Fenced {
    let Some(row) = held(tx.tables, tx.broken, fence) else {
        return Fenced::Refused;
    };
    if facts.log_end.is_some() {
        row.log_end_at = Some(earlier(tx.now, facts.log_end_age));
    }
    row.cursor.note(facts.clone());
    row.cursor.updated_at = time(tx.now);
    if facts.recover {
        look_at_what_may_be_lost(tx);
    }
    tx.commit();
    Fenced::Written
}

/// Rule R18: what owes something, or was changed lately. Where no ETag guards it, a delete that was
/// forgotten may still land.
fn look_at_what_may_be_lost(tx: &mut Tx<'_>) {
    let (now, since) = (tx.now, earlier(tx.now, LOST_STAMPS_WITHIN));
    for row in tx.tables.effects.values_mut().flat_map(BTreeMap::values_mut) {
        if row.due() || row.updated_at > since {
            row.verify_at = Some(row.verify_at.map_or(now, |at| at.min(now)));
            row.verify_from_generation = Some(0);
            row.verify_stage = 0;
            row.verify_deletes |= row.etag.is_none();
        }
    }
}

/// See [`calendar_sync::store::Store::stop`].
pub(super) fn stop(tx: &mut Tx<'_>, fence: &Fence, stop: &Stop) -> Fenced {
    let Some(row) = held(tx.tables, tx.broken, fence) else {
        return Fenced::Refused;
    };
    row.cursor.stop = Some(stop.clone());
    row.cursor.updated_at = time(tx.now);
    tx.commit();
    Fenced::Written
}

/// See [`calendar_sync::store::Store::resume`].
pub(super) fn resume(tx: &mut Tx<'_>, topic: &str, partition: i32, how: Resume) -> bool {
    let rows = tx.tables.cursors.get_mut(topic);
    let Some(row) = rows.and_then(|rows| rows.get_mut(&partition)) else {
        return false;
    };
    let cursor = &mut row.cursor;
    match how {
        Resume::Accept { at } => {
            cursor.incarnation += 1;
            cursor.next_offset = at.or(cursor.next_offset);
            (cursor.topic_id, cursor.cluster_id) = (None, None);
            (cursor.log_end, row.log_end_at) = (None, None);
            cursor.recover_until = None;
        }
        Resume::Set { at } => cursor.next_offset = Some(at),
    }
    cursor.fence.epoch += 1;
    (cursor.passed_to, cursor.witness, cursor.stop) = (None, None, None);
    cursor.updated_at = time(tx.now);
    tx.commit();
    true
}
