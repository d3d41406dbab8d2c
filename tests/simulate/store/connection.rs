//! Connections and destinations: adding, renewing, parking and removing (rules R8 and R17).

use std::collections::BTreeMap;

use booking::{ConnectionId, IcalUid};
use calendar_sync::store::{
    ConnectionRow, ConnectionState, CountedConnection, Fill, Fills, NewConnection, PutConnection,
    Result, StoreError,
};
use uuid::Uuid;

use super::rows::{StoredConnection, SweepRow, Tables, time};
use super::{Tx, ingest};

/// See [`calendar_sync::store::Store::connections`].
pub(super) fn connections(tables: &Tables) -> Vec<CountedConnection> {
    let count = |n: usize| i64::try_from(n).expect("it fits in memory");
    let counted = |(id, row): (&ConnectionId, &StoredConnection)| CountedConnection {
        connection: read(tables, *id, row),
        pending: count(tables.lane_effects(*id).filter(|(_, row)| row.due()).count()),
        live: count(
            tables.lane_effects(*id).filter(|(_, row)| row.applied_digest.is_some()).count(),
        ),
        drift: count(tables.drift.get(id).map_or(0, BTreeMap::len)),
        swept: tables.sweeps.get(id).and_then(|row| row.result.clone()),
        last_error: tables
            .lane_effects(*id)
            .filter(|(_, row)| row.due() && row.last_error.is_some())
            .max_by_key(|(uid, row)| (row.not_before, *uid))
            .and_then(|(_, row)| row.last_error.clone()),
        fill: row.fill.map(|(since, total)| Fill {
            since: time(since),
            total,
            left: count(filling(tables, *id)),
        }),
    };
    let mut all: Vec<_> = tables.connections.iter().map(counted).collect();
    all.sort_by_key(|counted| (counted.connection.provider, counted.connection.id));
    all
}

/// How many events a connection is still to be filled with.
fn filling(tables: &Tables, id: ConnectionId) -> usize {
    tables.lane_effects(id).filter(|(_, row)| row.filling && (row.due() || row.dead)).count()
}

/// See [`calendar_sync::store::Store::fills`].
pub(super) fn fills(tables: &Tables) -> Fills {
    let left = tables.connections.keys().map(|id| filling(tables, *id)).filter(|left| *left > 0);
    let add = |fills: Fills, left: usize| Fills {
        connections: fills.connections + 1,
        left: fills.left + i64::try_from(left).expect("it fits in memory"),
    };
    left.fold(Fills::default(), add)
}

/// See [`calendar_sync::store::Store::connection`].
pub(super) fn connection(tables: &Tables, id: ConnectionId) -> Option<ConnectionRow> {
    tables.connections.get(&id).map(|row| read(tables, id, row))
}

fn read(tables: &Tables, id: ConnectionId, row: &StoredConnection) -> ConnectionRow {
    ConnectionRow {
        id,
        provider: row.provider,
        kind: row.kind,
        subject: row.subject.clone(),
        calendar: row.calendar.clone(),
        base_url: row.base_url.clone(),
        sealed: row.sealed.clone(),
        state: row.state,
        parked_reason: row.parked_reason.clone(),
        renewal_failures: row.renewal_failures,
        renewal_error: row.renewal_error.clone(),
        destination: tables.providers.values().any(|destination| *destination == Some(id)),
        halted: tables.sweeps.get(&id).and_then(|row| row.halted.clone()),
    }
}

/// See [`calendar_sync::store::Store::put_connection`].
pub(super) fn put_connection(tx: &mut Tx<'_>, new: &NewConnection) -> Result<PutConnection> {
    let before = same_identity(tx.tables, new)?;
    if new.is_refused_by(before) {
        return Ok(PutConnection::REMOVED);
    }
    tx.tables.providers.entry(new.provider).or_default();
    insert(tx.tables, new);
    if let Some(before) = before {
        renew(tx, new);
        if before == ConnectionState::Removed {
            let_go(tx, new.id);
        }
    }
    let former = tx.tables.providers.get(&new.provider).copied().flatten();
    let changes = match former {
        None => true,
        Some(former) => former != new.id && new.make_destination,
    };
    let mut bookings_due = 0;
    if changes {
        tx.tables.providers.insert(new.provider, Some(new.id));
        bookings_due = fill(tx, new);
        let total = i64::try_from(filling(tx.tables, new.id)).expect("it fits in memory");
        let row = tx.tables.connections.get_mut(&new.id).expect("it was inserted");
        row.fill = (total > 0).then_some((tx.now, total));
    }
    tx.commit();
    Ok(PutConnection {
        removed: false,
        created: before.is_none(),
        destination: changes || former == Some(new.id),
        bookings_due,
    })
}

/// Rule R17: the id derives from these, so another value under it is a mistake of ours. Answers
/// the connection's state, if it is there.
fn same_identity(tables: &Tables, new: &NewConnection) -> Result<Option<ConnectionState>> {
    let Some(stored) = tables.connections.get(&new.id) else {
        return Ok(None);
    };
    let column = match stored {
        stored if stored.provider != new.provider => "provider_id",
        stored if stored.kind != new.kind => "kind",
        stored if stored.subject != new.subject => "subject",
        stored if stored.calendar != new.calendar => "calendar",
        _ => return Ok(Some(stored.state)),
    };
    Err(StoreError::Inconsistent {
        table: "connections",
        column,
        key: new.id.to_string(),
        detail: "it differs from what the same id is being given now".to_owned(),
    })
}

/// Adds the connection and its lane, if they are not there.
fn insert(tables: &mut Tables, new: &NewConnection) {
    tables.connections.entry(new.id).or_insert_with(|| StoredConnection {
        provider: new.provider,
        kind: new.kind,
        subject: new.subject.clone(),
        calendar: new.calendar.clone(),
        base_url: new.base_url.clone(),
        sealed: new.sealed.clone(),
        state: ConnectionState::Active,
        parked_reason: None,
        renewal_failures: 0,
        renewal_error: None,
        fill: None,
    });
    tables.lanes.entry(new.id).or_default();
}

/// New credentials: the connection is active again, and what waited need not wait any longer.
fn renew(tx: &mut Tx<'_>, new: &NewConnection) {
    let now = tx.now;
    let row = tx.tables.connections.get_mut(&new.id).expect("it was inserted");
    row.sealed.clone_from(&new.sealed);
    row.base_url.clone_from(&new.base_url);
    (row.state, row.parked_reason) = (ConnectionState::Active, None);
    row.forget_failures();
    tx.tables.lanes.get_mut(&new.id).expect("each connection has a lane").rest_until = Some(now);
    for (_, row) in tx.tables.lane_effects_mut(new.id) {
        if row.not_before > now {
            (row.not_before, row.updated_at) = (now, now);
        }
    }
}

/// Nothing was planned for a connection while it was removed: what its rows ask for is of before.
/// Whatever is not placed on it is to be absent from it, before anything is placed anew.
fn let_go(tx: &mut Tx<'_>, id: ConnectionId) {
    let Some(rows) = tx.tables.effects.get_mut(&id) else {
        return;
    };
    for (uid, row) in rows {
        let Some(booking) = tx.tables.bookings.get(uid) else {
            continue;
        };
        let placed = booking.stored.placed;
        let is_left_alone =
            row.adopted_id.is_some() && placed.is_none() && booking.shown_digest.is_some();
        if placed == Some(id) || is_left_alone {
            continue;
        }
        row.asked_by_none();
        row.desired_digest = None;
        row.desired_revision = row.desired_revision.max(booking.booking().revision);
        (row.dead, row.rejections, row.not_before) = (false, 0, tx.now);
        row.updated_at = tx.now;
    }
}

/// Rule R8: the provider's upcoming bookings become due at their new destination, and due to be
/// absent where they were. Answers how many.
fn fill(tx: &mut Tx<'_>, new: &NewConnection) -> u64 {
    let horizon = new.horizon.timestamp_micros();
    let is_upcoming = |uid: &&IcalUid| {
        let row = &tx.tables.bookings[*uid];
        let content = row.booking().content.as_ref();
        row.booking().provider == new.provider
            && row.shown_digest.is_some()
            && content.is_some_and(|content| content.end.timestamp_micros() >= horizon)
    };
    let upcoming: Vec<_> = tx.tables.bookings.keys().filter(is_upcoming).cloned().collect();
    upcoming.iter().map(|uid| u64::from(ingest::place(tx, uid, new.id))).sum()
}

/// See [`calendar_sync::store::Store::remove_connection`]. `false` also where it is removed already.
pub(super) fn remove_connection(tx: &mut Tx<'_>, id: ConnectionId, withdraw: bool) -> bool {
    let now = tx.now;
    let tables = &mut *tx.tables;
    match tables.connections.get_mut(&id) {
        None => return false,
        Some(row) if row.state == ConnectionState::Removed => return false,
        Some(row) => {
            (row.state, row.parked_reason) = (ConnectionState::Removing, None);
            row.forget_failures();
            row.fill = None;
        }
    }
    // Each ends what would go on by itself. No holder has the nil token: what is in flight is the
    // next holder's to take over.
    for destination in tables.providers.values_mut().filter(|to| **to == Some(id)) {
        *destination = None;
    }
    if let Some(lane) = tables.lanes.get_mut(&id) {
        (lane.token, lane.leased_until) = (None, None);
    }
    if let Some(sweep) = tables.sweeps.get_mut(&id) {
        *sweep = SweepRow { due_at: sweep.due_at, ..SweepRow::default() };
    }
    tables.drift.remove(&id);
    for row in tables.bookings.values_mut().filter(|row| row.stored.placed == Some(id)) {
        row.stored.placed = None;
        row.stored.version += 1;
    }
    for (_, row) in tables.lane_effects_mut(id) {
        row.filling = false;
        if let Some(flight) = &mut row.flight {
            flight.token = Uuid::nil();
        }
    }
    if withdraw {
        for (uid, row) in tables.effects.get_mut(&id).into_iter().flatten() {
            if tables.bookings.contains_key(uid) {
                row.asked_by_none();
                row.desired_digest = None;
                (row.dead, row.rejections, row.not_before) = (false, 0, now);
                row.updated_at = now;
            }
        }
    } else {
        forget(tables, id);
    }
    finish_removal(tables, id);
    tx.commit();
    true
}

/// The connection is gone, and its credentials with it.
fn forget(tables: &mut Tables, id: ConnectionId) {
    let row = tables.connections.get_mut(&id).expect("it is being removed");
    row.state = ConnectionState::Removed;
    row.sealed.clear();
}

/// Rule R17: a removal is complete, and its credentials go, once nothing is due, applied or open.
pub(super) fn finish_removal(tables: &mut Tables, id: ConnectionId) {
    let connection = tables.connections.get(&id);
    if connection.is_none_or(|row| row.state != ConnectionState::Removing) {
        return;
    }
    let is_finished = tables.lane_effects(id).all(|(uid, row)| {
        !tables.bookings.contains_key(uid)
            || !(row.due()
                || row.dead
                || row.applied_digest.is_some()
                || row.flight.is_some()
                || row.verify_at.is_some())
    });
    if is_finished {
        forget(tables, id);
    }
}
