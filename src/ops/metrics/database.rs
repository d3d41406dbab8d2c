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

/// A word that this version does not know: a newer one has written it.
const OTHER: &str = "other";

/// What the database said last. Before it has said anything, there is no number to be mistaken for one.
#[derive(Debug)]
pub(super) struct Database {
    counted_at: Gauge,
    filling: Gauge,
    fill_left: Gauge,
    pending: Gauges<Provider>,
    sent: Gauges<Provider>,
    oldest: Family<Provider, Gauge<f64, AtomicU64>>,
    open: Gauges<Provider>,
    connections: Gauges<ProviderState>,
    letters: Gauges<Class>,
}

impl Database {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let it = Self {
            counted_at: Gauge::default(),
            filling: Gauge::default(),
            fill_left: Gauge::default(),
            pending: Family::default(),
            sent: Family::default(),
            oldest: Family::default(),
            open: Family::default(),
            connections: Family::default(),
            letters: Family::default(),
        };
        let counted_at = it.counted_at.clone();
        register(registry, "calendar_sync_database_counted_timestamp_seconds", counted_at);
        register(registry, "calendar_sync_connections_filling", it.filling.clone());
        register(registry, "calendar_sync_fill_events_left", it.fill_left.clone());
        register(registry, "calendar_sync_effects_pending", it.pending.clone());
        register(registry, "calendar_sync_effects_waiting", it.sent.clone());
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
            self.sent.get_or_create(&provider).set(owing.sent);
            self.oldest.get_or_create(&provider).set(owing.oldest.as_secs_f64());
            self.open.get_or_create(&provider).set(owing.open);
        }
        self.count_connections(tally);
        self.count_letters(tally);
        self.counted_at.set(tally.counted_at.timestamp());
    }

    fn count_connections(&self, tally: &Tally) {
        let kinds = CalendarKind::ALL.map(Some).into_iter().chain([None]);
        for kind in kinds {
            for state in ConnectionState::ALL.map(Some).into_iter().chain([None]) {
                let is_it = |(k, s, _): &&(_, _, i64)| (*k, *s) == (kind, state);
                let counts = tally.connections.iter().filter(is_it).map(|(_, _, count)| count);
                let count: i64 = counts.sum();
                let labels = ProviderState {
                    calendar_provider: kind.map_or(OTHER, CalendarKind::name),
                    state: state.map_or(OTHER, ConnectionState::name),
                };
                let is_known = kind.is_some() && state.is_some();
                if is_known || count > 0 || self.connections.get(&labels).is_some() {
                    self.connections.get_or_create(&labels).set(count);
                }
            }
        }
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
