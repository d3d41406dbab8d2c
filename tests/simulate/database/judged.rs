//! What the database has accepted, held against what it has given out; and the variants of it.

use booking::ConnectionId;
use calendar_sync::store::{Batch, Fence, Fenced, LaneLease};
use uuid::Uuid;

use super::Database;
use crate::variant::Variant;

impl Database {
    pub(super) fn fenced_write(&self, what: &str, fence: &Fence, done: Fenced) {
        if done == Fenced::Written
            && let Err(stale) = self.world.audit().may_write(what, fence)
        {
            self.world.wrong(stale);
        }
    }

    pub(super) fn lane_write(&self, what: &str, lane: &LaneLease, done: Fenced) {
        if done == Fenced::Written
            && let Err(stale) = self.world.audit().holds(what, lane)
        {
            self.world.wrong(stale);
        }
    }

    /// The variant that plans only what its flags let through.
    pub(super) fn planned(&self, batch: &Batch) -> Option<Batch> {
        let (gate, variant) = (&self.gate, self.world.variant);
        if variant != Variant::FlagsGatedAtPlanning || batch.effects.is_empty() {
            return None;
        }
        let lets = |of: &[Uuid], id: Uuid| of.is_empty() || of.contains(&id);
        let provider_of = |connection: ConnectionId| {
            let accounts = self.world.accounts();
            accounts.0.iter().find(|it| it.connection == connection).map(|it| it.provider.0)
        };
        let mut planned = batch.clone();
        planned.effects.retain(|new| {
            let connection = new.effect.connection;
            gate.enabled
                && lets(&gate.connections, connection.0)
                && provider_of(connection).is_none_or(|id| lets(&gate.providers, id))
        });
        Some(planned)
    }
}
