//! Folding a run of records into what is to be written: the states are read once, every event is
//! folded in order, and each booking that changed visibly is planned once.

use std::collections::{BTreeSet, HashMap};

use booking::fold::fold;
use booking::plan::plan;
use booking::{
    Arrival, Booking, BookingEvent, BookingId, ConnectionId, Decision, Desired, Effect, FoldError,
    IcalUid, Poison, ProviderId, Rules,
};

use crate::store::{
    Batch, DeadRecord, EffectOrigin, JournalEntry, NewDeadLetter, NewEffect, Store, StoreError,
    StoredBooking, Witness,
};
use crate::trace_parent::TraceParent;

/// What a record says.
#[derive(Debug, Clone)]
pub enum Reading {
    /// An event.
    Event(Box<BookingEvent>),
    /// A null value: nothing to do.
    Tombstone,
    /// It can never be read.
    Poison(Poison),
}

/// A record, whole, and what it says.
#[derive(Debug, Clone)]
pub struct Item {
    /// The record.
    pub record: DeadRecord,
    /// By which the record is known again (rule R2).
    pub witness: Witness,
    /// What it says.
    pub reading: Reading,
    /// Where what it asks for comes from.
    pub origin: EffectOrigin,
}

impl Item {
    /// A record that was read, and what its headers and timestamp tell of where it comes from.
    pub fn new(record: DeadRecord, witness: Witness, reading: Reading) -> Self {
        let origin = EffectOrigin::new(TraceParent::of(&record.headers), record.timestamp_ms);
        Self { record, witness, reading, origin }
    }

    fn event(&self) -> Option<&BookingEvent> {
        match &self.reading {
            Reading::Event(event) => Some(event),
            Reading::Tombstone | Reading::Poison(_) => None,
        }
    }
}

/// The bookings of a run while it is folded, found by id and by UID.
#[derive(Default)]
struct Bookings {
    entries: Vec<Entry>,
    by_id: HashMap<BookingId, usize>,
    by_uid: HashMap<IcalUid, usize>,
}

struct Entry {
    booking: Booking,
    placed: Option<ConnectionId>,
    version: i64,
    changed: bool,
    visible: bool,
    /// The events of this run that a calendar shows.
    origin: EffectOrigin,
}

impl Entry {
    fn new(booking: Booking, placed: Option<ConnectionId>, version: i64) -> Self {
        let origin = EffectOrigin::default();
        Self { booking, placed, version, changed: false, visible: false, origin }
    }

    fn take(&mut self, decision: Decision, origin: &EffectOrigin) {
        if decision == Decision::Visible {
            self.visible = true;
            self.origin.is_followed_by(origin);
        }
    }
}

impl Bookings {
    fn insert(&mut self, entry: Entry) {
        let index = self.entries.len();
        self.by_id.insert(entry.booking.id.clone(), index);
        self.by_uid.insert(entry.booking.uid.clone(), index);
        self.entries.push(entry);
    }

    /// The state that an event belongs to, or collides with.
    fn find(&self, event: &BookingEvent) -> Option<usize> {
        self.by_id.get(&event.booking).or_else(|| self.by_uid.get(&event.uid)).copied()
    }

    /// Whether the log was read past this record before, as in a replay.
    fn have_passed(&self, event: &BookingEvent, arrival: Arrival) -> bool {
        let (Some(index), Arrival::Log(position)) = (self.find(event), arrival) else {
            return false;
        };
        let last = self.entries[index].booking.last;
        last.comparable(&position) && position.offset <= last.offset
    }

    /// An event that was adopted is where its booking is placed, from the first change of it on.
    fn stand_where(&mut self, adopted: &HashMap<IcalUid, ConnectionId>) {
        for entry in self.entries.iter_mut().filter(|entry| entry.placed.is_none()) {
            if let Some(at) = adopted.get(&entry.booking.uid) {
                entry.placed = Some(*at);
                entry.visible |= entry.changed;
            }
        }
    }

    fn fold(
        &mut self,
        event: &BookingEvent,
        arrival: Arrival,
        origin: &EffectOrigin,
        rules: &Rules,
    ) -> Result<(Decision, i64), FoldError> {
        let Some(index) = self.find(event) else {
            let (booking, decision) = fold(None, event, arrival, rules)?;
            let revision = booking.revision;
            let mut entry = Entry::new(booking, None, 0);
            entry.changed = true;
            entry.take(decision, origin);
            self.insert(entry);
            return Ok((decision, revision));
        };
        let entry = &mut self.entries[index];
        let (booking, decision) = fold(Some(entry.booking.clone()), event, arrival, rules)?;
        entry.changed |= booking != entry.booking;
        entry.take(decision, origin);
        entry.booking = booking;
        Ok((decision, entry.booking.revision))
    }
}

/// Folds a run as it arrived from the log. While `recovering`, the database may have forgotten
/// what it did after this run was read before (rule R18).
pub async fn fold_batch(
    store: &dyn Store,
    rules: &Rules,
    run: &[Item],
    recovering: bool,
) -> Result<Batch, StoreError> {
    fold_items(store, rules, run, Arrival::Log, recovering).await
}

/// Folds a run; `arrival` says how it came to us.
pub(super) async fn fold_items(
    store: &dyn Store,
    rules: &Rules,
    run: &[Item],
    arrival: fn(booking::Position) -> Arrival,
    recovering: bool,
) -> Result<Batch, StoreError> {
    let keys: BTreeSet<(&BookingId, &IcalUid)> =
        run.iter().filter_map(Item::event).map(|event| (&event.booking, &event.uid)).collect();
    if keys.is_empty() {
        return Ok(only_poison(run));
    }
    let keys: Vec<_> = keys.into_iter().map(|(id, uid)| (id.clone(), uid.clone())).collect();
    let providers: BTreeSet<ProviderId> =
        run.iter().filter_map(Item::event).map(|event| event.provider).collect();
    let states = store.states(&keys, &providers.iter().copied().collect::<Vec<_>>()).await?;
    let mut destinations: HashMap<ProviderId, Option<ConnectionId>> =
        states.destinations.into_iter().collect();
    let mut bookings = Bookings::default();
    for StoredBooking { booking, placed, version } in states.bookings {
        bookings.insert(Entry::new(booking, placed, version));
    }
    let mut batch = only_poison(run);
    for item in run {
        if let Some(event) = item.event() {
            take_event(&mut bookings, &mut batch, item, event, arrival, rules);
        }
    }
    bookings.stand_where(&states.adopted.into_iter().collect());
    read_missing(store, &bookings, &mut destinations).await?;
    plan_all(bookings, &destinations, rules, &mut batch);
    if recovering {
        look_everywhere(run, &destinations, &mut batch);
    }
    batch.dead_letters.sort_by_key(|letter| letter.record.position.offset);
    Ok(batch)
}

fn only_poison(run: &[Item]) -> Batch {
    let letter = |item: &Item| match &item.reading {
        Reading::Poison(poison) => Some(dead_letter(item, poison.clone())),
        Reading::Event(_) | Reading::Tombstone => None,
    };
    Batch { dead_letters: run.iter().filter_map(letter).collect(), ..Batch::default() }
}

fn dead_letter(item: &Item, poison: Poison) -> NewDeadLetter {
    NewDeadLetter { class: poison.class, reason: poison.reason, record: item.record.clone() }
}

fn take_event(
    bookings: &mut Bookings,
    batch: &mut Batch,
    item: &Item,
    event: &BookingEvent,
    arrival: fn(booking::Position) -> Arrival,
    rules: &Rules,
) {
    let position = item.record.position;
    let is_replayed = bookings.have_passed(event, arrival(position));
    match bookings.fold(event, arrival(position), &item.origin, rules) {
        // The journal tells of it already: what became of it then, which is what counts.
        Ok(_) if is_replayed => {}
        Ok((decision, revision)) => batch.journal.push(JournalEntry {
            topic: item.record.topic.clone(),
            position,
            event: event.id,
            uid: event.uid.clone(),
            kind: event.change.name(),
            decision: decision.name(),
            revision,
        }),
        Err(error) => batch.dead_letters.push(dead_letter(item, Poison::from(&error))),
    }
}

/// A booking may be shown for another provider than its event names (a rebooking whose content is
/// an earlier event's): its destination is needed too.
async fn read_missing(
    store: &dyn Store,
    bookings: &Bookings,
    destinations: &mut HashMap<ProviderId, Option<ConnectionId>>,
) -> Result<(), StoreError> {
    let missing: BTreeSet<ProviderId> = bookings
        .entries
        .iter()
        .filter(|entry| entry.visible && !destinations.contains_key(&entry.booking.provider))
        .map(|entry| entry.booking.provider)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<ProviderId> = missing.into_iter().collect();
    destinations.extend(store.states(&[], &missing).await?.destinations);
    Ok(())
}

fn plan_all(
    bookings: Bookings,
    destinations: &HashMap<ProviderId, Option<ConnectionId>>,
    rules: &Rules,
    batch: &mut Batch,
) {
    let mut used = BTreeSet::new();
    for entry in bookings.entries {
        if !entry.changed {
            batch.unchanged.push((entry.booking.uid, entry.version));
            continue;
        }
        let mut placed = entry.placed;
        if entry.visible {
            let destination = destinations.get(&entry.booking.provider).copied().flatten();
            used.insert(entry.booking.provider);
            let planned = plan(&entry.booking, entry.placed, destination, rules);
            placed = planned.placed;
            let new = |effect| NewEffect { effect, origin: entry.origin.clone() };
            batch.effects.extend(planned.effects.into_iter().map(new));
        }
        let version = entry.version;
        batch.bookings.push(StoredBooking { booking: entry.booking, placed, version });
    }
    let stands = |id: ProviderId| (id, destinations.get(&id).copied().flatten());
    batch.destinations = used.into_iter().map(stands).collect();
}

/// Rule R18: a database that lost its tail may have put an event anywhere that this run names. Each
/// is looked for, one that is wanted too (it may be cancelled before it is sent, and have been sent
/// before that), and so is one at every place that a booking went through within the run, where
/// planning as usual would see nothing that was ever put there.
fn look_everywhere(
    run: &[Item],
    destinations: &HashMap<ProviderId, Option<ConnectionId>>,
    batch: &mut Batch,
) {
    for new in &mut batch.effects {
        new.effect.verify = true;
    }
    let effects = batch.effects.iter().map(|new| &new.effect);
    let planned: BTreeSet<(ConnectionId, IcalUid)> =
        effects.map(|effect| (effect.connection, effect.uid.clone())).collect();
    let changed: HashMap<&IcalUid, &StoredBooking> =
        batch.bookings.iter().map(|stored| (&stored.booking.uid, stored)).collect();
    let gone_through = |event: &BookingEvent| {
        let connection = destinations.get(&event.provider).copied().flatten()?;
        let stored = changed.get(&event.uid)?;
        let (uid, revision) = (event.uid.clone(), stored.booking.revision);
        let is_planned =
            stored.placed == Some(connection) || planned.contains(&(connection, uid.clone()));
        let desired = Desired::Absent;
        let effect = Effect { uid, connection, revision, desired, verify: true };
        // No event has asked for it.
        (!is_planned).then(|| NewEffect::from(effect))
    };
    let further: Vec<NewEffect> =
        run.iter().filter_map(Item::event).filter_map(gone_through).collect();
    batch.effects.extend(further);
}
