//! Counting what is owed and what waits.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::CalendarKind;
use calendar_sync::store::{ConnectionState, DeadState, Gate, Owing, TALLY_MAX, Tally};
use chrono::DateTime;

use super::lane::lets_through;
use super::rows::{EffectRow, StoredConnection, Tables};

/// See [`calendar_sync::store::Store::tally`].
pub(super) fn tally(tables: &Tables, now: i64, gate: &Gate) -> Tally {
    let mut connections = BTreeMap::new();
    for row in tables.connections.values() {
        let (_, _, n) = connections.entry((row.kind.name(), row.state.name())).or_insert((
            Some(row.kind),
            Some(row.state),
            0,
        ));
        *n += 1;
    }
    let mut letters = BTreeMap::<String, i64>::new();
    let open = tables.dead_letters.values().filter(|letter| letter.state == DeadState::Open);
    for letter in open.take(TALLY_MAX as usize) {
        *letters.entry(letter.class.clone()).or_default() += 1;
    }
    Tally {
        owing: CalendarKind::ALL.map(|kind| owing(tables, now, gate, kind)).into(),
        connections: connections.into_values().collect(),
        letters: letters.into_iter().collect(),
        counted_at: DateTime::from_timestamp_micros(now).unwrap_or_default(),
    }
}

fn owing(tables: &Tables, now: i64, gate: &Gate, kind: CalendarKind) -> Owing {
    let of_kind = || tables.connections.iter().filter(move |(_, row)| row.kind == kind);
    let rows = || {
        let kept = of_kind().filter(|(_, row)| row.state != ConnectionState::Removed);
        kept.flat_map(|(id, _)| tables.lane_effects(*id).map(|(_, row)| row))
    };
    let count = |is_so: fn(&EffectRow) -> bool| {
        let counted = rows().filter(|row| is_so(row)).take(TALLY_MAX as usize).count();
        i64::try_from(counted).expect("it fits in memory")
    };
    let published = |row: &EffectRow| row.origin.published_at.map(|at| at.timestamp_micros());
    let since = |row: &EffectRow| published(row).unwrap_or(row.not_before);
    let is_stuck = |row: &StoredConnection| {
        row.state == ConnectionState::Removing && row.parked_reason.is_some()
    };
    let sent = of_kind().filter(|(id, row)| {
        gate.enabled && lets_through(tables, gate, **id, row) && !is_stuck(row)
    });
    let sent = sent.flat_map(|(id, _)| tables.lane_effects(*id).map(|(_, row)| row));
    let sent: Vec<i64> = sent.filter(|row| row.due()).map(since).take(TALLY_MAX as usize).collect();
    let since = sent.iter().copied().min();
    let age = now - since.unwrap_or(now);
    Owing {
        kind,
        pending: count(EffectRow::due),
        sent: i64::try_from(sent.len()).expect("it fits in memory"),
        oldest: Duration::from_micros(u64::try_from(age).unwrap_or_default()),
        open: count(|row| row.verify_at.is_some() && !row.dead),
    }
}
