//! Who was given what by the database last: an account of its own, so that a write that was accepted
//! from somebody else is seen even where nothing comes of it.

use std::collections::BTreeMap;

use booking::{ConnectionId, IcalUid};
use calendar_sync::store::{Fence, Finding, LaneLease, Record};
use uuid::Uuid;

use crate::log::TOPIC;
use crate::store::ModelStore;

/// The account.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The fence given out last: epoch and token. `None`: nobody's.
    fences: BTreeMap<i32, Option<(i64, Uuid)>>,
    /// The token that each lane was leased with last. `None`: nobody's.
    lanes: BTreeMap<ConnectionId, Option<Uuid>>,
    /// Who has each call that is on its way. `None`: whoever takes it over.
    flights: BTreeMap<(ConnectionId, IcalUid), Option<Uuid>>,
}

impl Audit {
    /// A partition has an owner.
    pub(crate) fn fenced(&mut self, fence: &Fence) {
        self.fences.insert(fence.partition, Some((fence.epoch, fence.token)));
    }

    /// A person has resumed a partition: its owner does not count any more.
    pub(crate) fn resumed(&mut self, partition: i32) {
        self.fences.insert(partition, None);
    }

    /// Whether a write under this fence may be accepted.
    pub(crate) fn may_write(&self, what: &str, fence: &Fence) -> Result<(), String> {
        match self.fences.get(&fence.partition) {
            Some(Some(given)) if *given == (fence.epoch, fence.token) => Ok(()),
            given => Err(format!(
                "{what} of partition {} was accepted under epoch {}, and given out was {given:?}",
                fence.partition, fence.epoch
            )),
        }
    }

    /// A lane has a holder.
    pub(crate) fn leased(&mut self, lane: &LaneLease) {
        self.lanes.insert(lane.connection, Some(lane.token));
    }

    /// It has given it back.
    pub(crate) fn released(&mut self, lane: &LaneLease) {
        self.lanes.insert(lane.connection, None);
    }

    /// A person has removed a connection: nobody holds its lane.
    pub(crate) fn removed(&mut self, connection: ConnectionId) {
        self.lanes.insert(connection, None);
        for ((of, _), holder) in &mut self.flights {
            if *of == connection {
                *holder = None;
            }
        }
    }

    /// Whether a write of this holder may be accepted.
    pub(crate) fn holds(&self, what: &str, lane: &LaneLease) -> Result<(), String> {
        match self.lanes.get(&lane.connection) {
            Some(Some(given)) if *given == lane.token => Ok(()),
            given => Err(format!(
                "{what} was accepted from holder {}, and given out was {given:?}",
                lane.token
            )),
        }
    }

    /// A call is to be made.
    pub(crate) fn stamped(&mut self, lane: &LaneLease, uid: &IcalUid) {
        self.flights.insert((lane.connection, uid.clone()), Some(lane.token));
    }

    /// A holder has taken over what was on its way.
    pub(crate) fn took_over(&mut self, lane: &LaneLease) {
        for ((connection, _), holder) in &mut self.flights {
            if *connection == lane.connection {
                *holder = Some(lane.token);
            }
        }
    }

    /// A record was accepted: was it its holder's?
    pub(crate) fn recorded(&mut self, record: &Record) -> Result<(), String> {
        let key = (record.lane.connection, record.uid.clone());
        let settles = match &record.finding {
            Finding::Verified | Finding::Unverified | Finding::Differs { .. } => {
                return self.holds("a verification", &record.lane);
            }
            Finding::Present { .. }
            | Finding::Absent { .. }
            | Finding::Gone
            | Finding::NotApplied { .. } => true,
            Finding::Dead { unknown, .. } => !unknown,
            Finding::Ahead { .. } | Finding::Unknown { .. } => false,
        };
        let holder = self.flights.get(&key).copied();
        if settles {
            self.flights.remove(&key);
        }
        match holder {
            Some(Some(token)) if token == record.lane.token => Ok(()),
            // What is ahead may be found without a call on its way.
            None if matches!(record.finding, Finding::Ahead { .. }) => {
                self.holds("a record", &record.lane)
            }
            holder => Err(format!(
                "a record of {} was accepted from {}, and its call is {holder:?}'s",
                record.uid, record.lane.token
            )),
        }
    }

    /// The database is what it was before: so is what it has given out.
    pub(crate) fn fell_back(&mut self, store: &ModelStore) {
        *self = Self::default();
        store.look(|tables| {
            for cursor in tables.cursors().filter(|cursor| cursor.fence.topic == TOPIC) {
                self.fenced(&cursor.fence);
            }
            for connection in tables.connections() {
                self.lanes.insert(connection.id, connection.token);
            }
            for (uid, connection, row) in tables.effects() {
                if let Some(flight) = &row.flight {
                    self.flights.insert((connection, uid.clone()), Some(flight.token));
                }
            }
        });
    }
}
