//! Dead letters: records that could not be understood, kept whole, and effects that can never
//! succeed (rule R4).

use booking::{ConnectionId, IcalUid};
use calendar_sync::store::{DeadLetter, DeadState, EFFECT_REJECTED, NewDeadLetter, Origin};

use super::Tx;
use super::rows::{Tables, time};

/// See [`calendar_sync::store::Store::dead_letters`].
pub(super) fn dead_letters(tables: &Tables, after: i64, limit: u32) -> Vec<DeadLetter> {
    let above = tables.dead_letters.values().filter(|letter| letter.id > after);
    above.take(limit as usize).cloned().collect()
}

/// See [`calendar_sync::store::Store::revive`].
pub(super) fn revive(tx: &mut Tx<'_>, id: i64) -> bool {
    let Some(letter) = open(tx.tables, id) else {
        return false;
    };
    let Origin::Effect { uid, connection } = letter.origin.clone() else {
        return false;
    };
    let now = tx.now;
    let Some(row) = tx.tables.effect_mut(connection, &uid) else {
        return false;
    };
    (row.dead, row.rejections, row.not_before) = (false, 0, now);
    row.updated_at = now;
    redriven(tx, id);
    tx.commit();
    true
}

/// See [`calendar_sync::store::Store::discard`].
pub(super) fn discard(tx: &mut Tx<'_>, id: i64) -> bool {
    let Some(letter) = open(tx.tables, id) else {
        return false;
    };
    letter.state = DeadState::Discarded;
    tx.commit();
    true
}

/// An open letter.
fn open(tables: &mut Tables, id: i64) -> Option<&mut DeadLetter> {
    tables.dead_letters.get_mut(&id).filter(|letter| letter.state == DeadState::Open)
}

/// Whether it is an open letter of a record.
pub(super) fn is_open_record(tables: &mut Tables, id: i64) -> bool {
    open(tables, id).is_some_and(|letter| matches!(letter.origin, Origin::Record(_)))
}

/// Marks an open letter as sent again.
pub(super) fn redriven(tx: &mut Tx<'_>, id: i64) {
    open(tx.tables, id).expect("it was looked for").state = DeadState::Redriven;
}

/// Stores a record that could not be understood. A record is one dead letter, however often it is
/// read.
pub(super) fn insert(tx: &mut Tx<'_>, letter: &NewDeadLetter) {
    let record = &letter.record;
    let is_it = |stored: &DeadLetter| match &stored.origin {
        Origin::Record(other) => other.position == record.position && other.topic == record.topic,
        Origin::Effect { .. } => false,
    };
    if tx.tables.dead_letters.values().any(is_it) {
        // It took an id before it was found to be there: those of both databases do.
        tx.tables.last_letter += 1;
        return;
    }
    put(tx, letter.class.name(), &letter.reason, Origin::Record(record.clone()));
}

/// Stores that an effect is dead.
pub(super) fn insert_effect(
    tx: &mut Tx<'_>,
    uid: &IcalUid,
    connection: ConnectionId,
    reason: &str,
) {
    put(tx, EFFECT_REJECTED, reason, Origin::Effect { uid: uid.clone(), connection });
}

fn put(tx: &mut Tx<'_>, class: &str, reason: &str, origin: Origin) {
    tx.tables.last_letter += 1;
    let id = tx.tables.last_letter;
    let letter = DeadLetter {
        id,
        class: class.to_owned(),
        reason: reason.to_owned(),
        origin,
        state: DeadState::Open,
        created_at: time(tx.now),
    };
    tx.tables.dead_letters.insert(id, letter);
}
