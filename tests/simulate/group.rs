//! The consumer group's coordinator: who is to read which partition. It takes a partition from a
//! member only once that has let go of it, unless the member was not heard of for too long.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Read these from now on.
    Assigned(Vec<i32>),
    /// Let go of these, and say so.
    Revoked(Vec<i32>),
    /// The group has given everything of yours away: join again.
    Expelled,
}

/// The coordinator.
#[derive(Debug, Default)]
pub(crate) struct Group(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<u64, UnboundedSender<Told>>,
    /// Who has each partition, until it has let go of it.
    held: BTreeMap<i32, u64>,
    /// Who is to have it then.
    meant: BTreeMap<i32, u64>,
    partitions: i32,
    /// Turned by one at each shuffle.
    turn: usize,
}

impl Group {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic has so many partitions.
    pub(crate) fn subscribe(&self, partitions: i32) {
        let mut inner = self.inner();
        inner.partitions = partitions;
        inner.balance();
    }

    /// A member comes.
    pub(crate) fn join(&self, member: u64) -> UnboundedReceiver<Told> {
        let (sender, told) = unbounded_channel();
        let mut inner = self.inner();
        inner.members.insert(member, sender);
        inner.balance();
        told
    }

    /// A member goes, or was not heard of for too long: what it has is given away at once. Who is
    /// still there learns of it, sooner or later.
    pub(crate) fn expel(&self, member: u64) {
        let mut inner = self.inner();
        if let Some(sender) = inner.members.remove(&member) {
            drop(sender.send(Told::Expelled));
        }
        inner.held.retain(|_, holder| *holder != member);
        inner.balance();
    }

    /// A member has let go of partitions.
    pub(crate) fn released(&self, member: u64, partitions: &[i32]) {
        let mut inner = self.inner();
        inner.held.retain(|partition, holder| *holder != member || !partitions.contains(partition));
        inner.hand_out();
    }

    /// Gives the partitions to others, for no reason.
    pub(crate) fn shuffle(&self) {
        let mut inner = self.inner();
        inner.turn += 1;
        inner.balance();
    }
}

impl Inner {
    fn balance(&mut self) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        self.meant.clear();
        if members.is_empty() {
            return;
        }
        for partition in 0..self.partitions {
            let at = usize::try_from(partition).unwrap_or_default() + self.turn;
            self.meant.insert(partition, members[at % members.len()]);
        }
        let mut revoked: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
        for (partition, holder) in &self.held {
            if self.meant.get(partition) != Some(holder) {
                revoked.entry(*holder).or_default().push(*partition);
            }
        }
        for (member, partitions) in revoked {
            self.tell(member, Told::Revoked(partitions));
        }
        self.hand_out();
    }

    /// Gives what nobody holds to those who are meant to have it.
    fn hand_out(&mut self) {
        let mut assigned: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
        for (partition, member) in &self.meant {
            if !self.held.contains_key(partition) {
                assigned.entry(*member).or_default().push(*partition);
            }
        }
        for (member, partitions) in assigned {
            self.held.extend(partitions.iter().map(|partition| (*partition, member)));
            self.tell(member, Told::Assigned(partitions));
        }
    }

    fn tell(&self, member: u64, told: Told) {
        if let Some(sender) = self.members.get(&member) {
            drop(sender.send(told));
        }
    }
}
