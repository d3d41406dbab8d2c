//! What became of one booking: for those who ask.

use booking::{BookingId, ConnectionId};
use calendar_sync::store::{BookingStatus, EffectStatus, Standing};

use super::rows::{EffectRow, Tables};
use super::{Tx, adopt};

/// See [`calendar_sync::store::Store::hasten`].
pub(super) fn hasten(tx: &mut Tx<'_>, booking: &BookingId) -> Option<BookingStatus> {
    let now = tx.now;
    let uid = tx.tables.booking_ids.get(booking)?.clone();
    let mut rows = 0;
    for row in tx.tables.effects.values_mut().filter_map(|lane| lane.get_mut(&uid)) {
        if row.due() && (row.filling || row.not_before > now) {
            (row.not_before, row.updated_at) = (row.not_before.min(now), now);
            row.filling = false;
            rows += 1;
        }
    }
    if rows > 0 {
        tx.commit();
    }
    let tables = &*tx.tables;
    let lanes = tables.effects.iter();
    let effects = lanes.filter_map(|(connection, lane)| Some((*connection, lane.get(&uid)?)));
    let stored = &tables.bookings[&uid];
    Some(BookingStatus {
        provider: stored.booking().provider,
        revision: stored.booking().revision,
        is_shown: stored.shown_digest.is_some(),
        calendars: effects.map(|(id, row)| effect(tables, id, row)).collect(),
        uid,
    })
}

fn effect(tables: &Tables, id: ConnectionId, row: &EffectRow) -> EffectStatus {
    let connection = &tables.connections[&id];
    let is_unadopted = adopt::is_unadopted(tables, connection);
    EffectStatus {
        connection: id,
        provider: connection.provider,
        kind: connection.kind,
        connection_state: connection.state,
        is_wanted: row.desired_digest.is_some(),
        is_live: row.applied_digest.is_some(),
        applied_revision: row.applied_revision,
        standing: Standing::of(row.due(), row.dead, is_unadopted),
        attempts: row.attempts,
        last_error: row.last_error.clone(),
    }
}
