//! What is told of the database: what it said last of what is owed and what waits, and how this process
//! uses it.

use std::sync::atomic::AtomicU64;

use booking::{CalendarKind, PoisonClass};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::labels::{Class, Gauges, Provider, ProviderState, State, register};
use crate::store::{ConnectionState, EFFECT_REJECTED, Fills, PoolUse, Tally};

/// A class of dead letters that this version does not know.
const OTHER: &str = "other";

/// What the database said last. Before it has said anything, there is no number to be mistaken for one.
#[derive(Debug)]
pub(super) struct Database {
    filling: Gauge,
    fill_left: Gauge,
    pending: Gauges<Provider>,
    oldest: Family<Provider, Gauge<f64, AtomicU64>>,
    open: Gauges<Provider>,
    connections: Gauges<ProviderState>,
    letters: Gauges<Class>,
}

impl Database {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let it = Self {
            filling: Gauge::default(),
            fill_left: Gauge::default(),
            pending: Family::default(),
            oldest: Family::default(),
            open: Family::default(),
            connections: Family::default(),
            letters: Family::default(),
        };
        register(registry, "calendar_sync_connections_filling", it.filling.clone());
        register(registry, "calendar_sync_fill_events_left", it.fill_left.clone());
        register(registry, "calendar_sync_effects_pending", it.pending.clone());
        register(registry, "calendar_sync_oldest_pending_age_seconds", it.oldest.clone());
        register(registry, "calendar_sync_attempts_open", it.open.clone());
        register(registry, "calendar_sync_connections", it.connections.clone());
        register(registry, "calendar_sync_dead_letters_waiting", it.letters.clone());
        it
    }

    pub(super) fn counted(&self, fills: Fills, tally: &Tally) {
        self.filling.set(fills.connections);
        self.fill_left.set(fills.left);
        for owing in &tally.owing {
            let provider = Provider { calendar_provider: owing.kind.name() };
            self.pending.get_or_create(&provider).set(owing.pending);
            self.oldest.get_or_create(&provider).set(owing.oldest.as_secs_f64());
            self.open.get_or_create(&provider).set(owing.open);
        }
        for kind in CalendarKind::ALL {
            for state in ConnectionState::ALL {
                let (calendar_provider, name) = (kind.name(), state.name());
                let labels = ProviderState { calendar_provider, state: name };
                let is_it = |(k, s, _): &&(_, _, i64)| (*k, *s) == (kind, state);
                let count = tally.connections.iter().find(is_it).map_or(0, |(_, _, count)| *count);
                self.connections.get_or_create(&labels).set(count);
            }
        }
        self.count_letters(tally);
    }

    fn count_letters(&self, tally: &Tally) {
        let ours = PoisonClass::ALL.map(PoisonClass::name).into_iter().chain([EFFECT_REJECTED]);
        let mut known = 0;
        for class in ours {
            let count = tally.letters.iter().find(|(of, _)| of == class).map_or(0, |(_, n)| *n);
            known += count;
            self.letters.get_or_create(&Class { class }).set(count);
        }
        let all: i64 = tally.letters.iter().map(|(_, count)| count).sum();
        if all > known || self.letters.get(&Class { class: OTHER }).is_some() {
            self.letters.get_or_create(&Class { class: OTHER }).set(all - known);
        }
    }

    /// Each by its name.
    pub(super) fn json(&self) -> [(&'static str, Value); 2] {
        [
            ("calendar_sync_connections_filling", self.filling.get().into()),
            ("calendar_sync_fill_events_left", self.fill_left.get().into()),
        ]
    }
}

/// How the connections to the database are used now.
pub(super) fn pool(registry: &mut Registry, pool: PoolUse) {
    let (connections, max) = (Gauges::<State>::default(), Gauge::<i64>::default());
    for (state, count) in [("idle", pool.idle), ("used", pool.used)] {
        connections.get_or_create(&State { state }).set(count.into());
    }
    max.set(pool.max.into());
    register(registry, "calendar_sync_database_connections", connections);
    register(registry, "calendar_sync_database_connections_max", max);
}
