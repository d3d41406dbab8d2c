//! Bookings, and the one transaction of a batch that carries them (rule R3): cursor, destinations,
//! bookings, effects, journal and dead letters, in that order, all or nothing. All is checked
//! before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use booking::{BookingId, ConnectionId, Desired, Digest, Effect, IcalUid, ProviderId};
use calendar_sync::store::{
    ADOPTED_REVISION, Advance, Batch, Committed, EffectOrigin, Result, States, StoreError,
    StoredBooking,
};

use super::rows::{BookingRow, EffectRow, Tables, time};
use super::{Tx, cursor, dead_letter};

/// See [`calendar_sync::store::Store::states`].
pub(super) fn states(
    tables: &Tables,
    bookings: &[(BookingId, IcalUid)],
    providers: &[ProviderId],
) -> States {
    let asked: BTreeSet<&IcalUid> = bookings.iter().map(|(_, uid)| uid).collect();
    let of_id = |(id, _): &(BookingId, IcalUid)| tables.booking_ids.get(id);
    let found: BTreeSet<&IcalUid> =
        asked.iter().copied().chain(bookings.iter().filter_map(of_id)).collect();
    let found = found.into_iter().filter_map(|uid| tables.bookings.get(uid));
    let destination =
        |provider: &ProviderId| (*provider, tables.providers.get(provider).copied().flatten());
    let mut adopted = Vec::new();
    for uid in asked {
        for (connection, rows) in &tables.effects {
            let is_adopted = |row: &EffectRow| {
                row.adopted_id.is_some() && row.generation == 0 && row.applied_digest.is_some()
            };
            if rows.get(uid).is_some_and(is_adopted) {
                adopted.push((uid.clone(), *connection));
            }
        }
    }
    States {
        bookings: found.map(|row| row.stored.clone()).collect(),
        destinations: providers.iter().map(destination).collect(),
        adopted,
    }
}

/// Why a batch is not stored.
pub(super) enum Halt {
    Answer(Committed),
    Fault(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Fault(error)
    }
}

type Step = std::result::Result<(), Halt>;

/// See [`calendar_sync::store::Store::commit`]; with a letter
/// [`calendar_sync::store::Store::redrive`]: one that is no open record's answers `Stale`.
pub(super) fn commit(tx: &mut Tx<'_>, letter: Option<i64>, batch: &Batch) -> Result<Committed> {
    let mut bookings: Vec<&StoredBooking> = batch.bookings.iter().collect();
    bookings.sort_by(|one, other| one.booking.uid.cmp(&other.booking.uid));
    let effects: BTreeMap<_, _> =
        batch.effects.iter().map(|new| ((&new.effect.uid, new.effect.connection), new)).collect();
    match check(tx, letter, batch, &bookings) {
        Ok(()) => {}
        Err(Halt::Answer(answer)) => return Ok(answer),
        Err(Halt::Fault(error)) => return Err(error),
    }
    if let Some(advance) = &batch.advance {
        step(tx, advance);
    }
    if let Some(id) = letter {
        dead_letter::redriven(tx, id);
    }
    for (provider, _) in &batch.destinations {
        tx.tables.providers.entry(*provider).or_default();
    }
    for stored in bookings {
        put_booking(tx, stored);
    }
    for new in effects.into_values() {
        ask(tx.tables, &new.effect, &new.origin, tx.now);
    }
    for entry in &batch.journal {
        // A record that is folded again (a redrive) keeps its first entry.
        let position = entry.position;
        let key = (position.incarnation, position.partition, position.offset);
        let of_topic = match tx.tables.journal.get_mut(&entry.topic) {
            Some(of_topic) => of_topic,
            None => tx.tables.journal.entry(entry.topic.clone()).or_default(),
        };
        of_topic.entry(key).or_insert_with(|| entry.clone());
    }
    for letter in &batch.dead_letters {
        dead_letter::insert(tx, letter);
    }
    tx.commit();
    Ok(Committed::Done)
}

/// What the statements of a batch would refuse, in their order.
fn check(tx: &mut Tx<'_>, letter: Option<i64>, batch: &Batch, bookings: &[&StoredBooking]) -> Step {
    if let Some(advance) = &batch.advance {
        may_step(tx, advance)?;
    }
    if let Some(id) = letter
        && !dead_letter::is_open_record(tx.tables, id)
    {
        return Err(Halt::Answer(Committed::Stale));
    }
    let destinations: BTreeMap<_, _> = batch.destinations.iter().copied().collect();
    for (provider, expected) in destinations {
        // The destination is the one that the plan was made from; a new provider has none.
        if tx.tables.providers.get(&provider).copied().flatten() != expected {
            return Err(Halt::Answer(Committed::Stale));
        }
    }
    for (uid, version) in &batch.unchanged {
        // A database that fell back since does not know what was read.
        if tx.tables.bookings.get(uid).map(|row| row.stored.version) != Some(*version) {
            return Err(Halt::Answer(Committed::Stale));
        }
    }
    may_put(tx.tables, bookings)?;
    for new in &batch.effects {
        tx.tables.refers("effects", "connection_id", new.effect.connection)?;
    }
    Ok(())
}

/// Rule R3: the cursor is ours and stands where the batch begins.
fn may_step(tx: &mut Tx<'_>, advance: &Advance) -> Step {
    let Some(row) = cursor::held(tx.tables, tx.broken, &advance.fence) else {
        return Err(Halt::Answer(Committed::Foreign));
    };
    match row.cursor.next_offset {
        stands if stands.unwrap_or(0) == advance.from => Ok(()),
        next_offset => Err(Halt::Answer(Committed::Elsewhere { next_offset })),
    }
}

/// The cursor's step.
fn step(tx: &mut Tx<'_>, advance: &Advance) {
    let row = cursor::held(tx.tables, tx.broken, &advance.fence).expect("it was checked");
    row.cursor.next_offset = Some(advance.to);
    row.cursor.witness = Some(advance.witness);
    row.cursor.log_end = row.cursor.log_end.max(advance.log_end);
    row.cursor.updated_at = time(tx.now);
}

/// Whether each booking has the version that it was read at, those that the batch itself has
/// written before it included.
fn may_put(tables: &Tables, bookings: &[&StoredBooking]) -> Step {
    let mut written: BTreeMap<&IcalUid, (&BookingId, i64)> = BTreeMap::new();
    let mut written_ids: BTreeSet<&BookingId> = BTreeSet::new();
    for stored in bookings {
        let booking = &stored.booking;
        let there = written.get(&booking.uid).copied().or_else(|| {
            let row = tables.bookings.get(&booking.uid)?;
            Some((&row.booking().id, row.stored.version))
        });
        if stored.version > 0 {
            // An UPDATE over the version that it was read at.
            if there != Some((&booking.id, stored.version)) {
                return Err(Halt::Answer(Committed::Stale));
            }
        } else if let Some((id, _)) = there {
            // This very booking has come to be since it was looked for, or another has its UID.
            return Err(Halt::Answer(if *id == booking.id {
                Committed::Stale
            } else {
                taken(stored)
            }));
        } else if tables.booking_ids.contains_key(&booking.id) || written_ids.contains(&booking.id)
        {
            return Err(Halt::Answer(taken(stored)));
        }
        if let Some(placed) = stored.placed {
            tables.refers("bookings", "placed", placed)?;
        }
        written.insert(&booking.uid, (&booking.id, stored.version + 1));
        written_ids.insert(&booking.id);
    }
    Ok(())
}

fn taken(stored: &StoredBooking) -> Committed {
    let booking = &stored.booking;
    let detail = format!("the UID {} or the booking {} is taken", booking.uid, booking.id);
    Committed::Refused { detail }
}

/// Writes a booking over the version that it was read at.
fn put_booking(tx: &mut Tx<'_>, stored: &StoredBooking) {
    let row = BookingRow::new(StoredBooking { version: stored.version + 1, ..stored.clone() });
    let (uid, id) = (&stored.booking.uid, &stored.booking.id);
    if stored.version == 0 {
        tx.tables.booking_ids.insert(id.clone(), uid.clone());
    }
    tx.tables.bookings.insert(uid.clone(), row);
}

/// Rule R9: writes down what is wanted. What is in flight, what is applied and how long a backoff
/// lasts are not ingest's to touch (but for an event that was adopted and shows just this: it has
/// no marker to say so); a lower revision than the stored one changes nothing.
pub(super) fn ask(tables: &mut Tables, effect: &Effect, origin: &EffectOrigin, now: i64) {
    let digest = match effect.desired {
        Desired::Present(digest) => Some(digest),
        Desired::Absent => None,
    };
    let rows = tables.effects.entry(effect.connection).or_default();
    let Some(row) = rows.get_mut(&effect.uid) else {
        let mut row = EffectRow::new(effect.revision, digest, now);
        row.verify_at = effect.verify.then_some(now);
        row.verify_from_generation = effect.verify.then_some(0);
        row.verify_deletes = effect.verify;
        row.origin = origin.clone();
        rows.insert(effect.uid.clone(), row);
        return;
    };
    let is_newer = effect.revision > row.desired_revision
        || (effect.revision == row.desired_revision && digest != row.desired_digest);
    if !is_newer {
        return;
    }
    row.asked_by_none();
    row.origin.is_followed_by(origin);
    row.desired_revision = effect.revision;
    row.desired_digest = digest;
    (row.dead, row.rejections, row.updated_at) = (false, 0, now);
    row.filling = false;
    if row.applied_revision == Some(ADOPTED_REVISION) && shows(row, digest) {
        row.applied_revision = Some(effect.revision);
    }
    if effect.verify {
        row.verify_at = Some(row.verify_at.map_or(now, |at| at.min(now)));
        row.verify_from_generation = Some(0);
        row.verify_stage = 0;
        row.verify_deletes |= row.etag.is_none();
    }
}

/// Whether the calendar shows just this; NULL equals nothing.
fn shows(row: &EffectRow, digest: Option<Digest>) -> bool {
    digest.is_some() && row.applied_digest == digest
}

/// A booking's state under a UID that is there.
pub(super) fn of_uid<'t>(tables: &'t mut Tables, uid: &IcalUid) -> Result<&'t mut BookingRow> {
    tables.bookings.get_mut(uid).ok_or_else(|| StoreError::Inconsistent {
        table: "bookings",
        column: "ical_uid",
        key: uid.to_string(),
        detail: "there is no such booking".to_owned(),
    })
}

/// Places one booking on a connection, if it shows anything. Whether it did.
pub(super) fn place(tx: &mut Tx<'_>, uid: &IcalUid, target: ConnectionId) -> bool {
    let Some(row) = tx.tables.bookings.get(uid) else {
        return false;
    };
    let Some(digest) = row.shown_digest else {
        return false;
    };
    let (revision, placed) = (row.booking().revision, row.stored.placed);
    let wanted = [
        placed.filter(|was| *was != target).map(|was| (was, Desired::Absent)),
        Some((target, Desired::Present(digest))),
    ];
    for (connection, desired) in wanted.into_iter().flatten() {
        let effect = Effect { uid: uid.clone(), connection, revision, desired, verify: false };
        ask(tx.tables, &effect, &EffectOrigin::default(), tx.now);
        if let Some(row) = tx.tables.effect_mut(connection, uid) {
            row.filling = connection == target && row.due();
        }
    }
    if placed != Some(target) {
        let row = tx.tables.bookings.get_mut(uid).expect("it was there");
        row.stored.placed = Some(target);
        row.stored.version += 1;
    }
    true
}
