//! Credentials that change in the running: renewed under the lane's token, sealed anew, or no good any
//! more. Each write asks for the bytes that it was decided from.

use booking::ConnectionId;
use calendar_sync::store::{ConnectionState, Fenced, LaneLease};

use super::rows::StoredConnection;
use super::{Tx, lane};

/// The connection of a lane that is ours, if these are its credentials still.
fn held<'t>(
    tx: &'t mut Tx<'_>,
    lane: &LaneLease,
    sealed: &[u8],
) -> Option<&'t mut StoredConnection> {
    if !lane::is_ours(tx, lane, None) {
        return None;
    }
    let row = tx.tables.connections.get_mut(&lane.connection);
    row.filter(|row| row.sealed == sealed)
}

/// See [`calendar_sync::store::Store::park`]. What is being removed stays so, and only says why it
/// waits.
pub(super) fn park(tx: &mut Tx<'_>, lane: &LaneLease, sealed: &[u8], reason: &str) -> Fenced {
    let Some(row) = held(tx, lane, sealed) else {
        return Fenced::Refused;
    };
    if row.state == ConnectionState::Active {
        row.state = ConnectionState::Parked;
    }
    row.parked_reason = Some(reason.to_owned());
    row.forget_failures();
    tx.commit();
    Fenced::Written
}

/// See [`calendar_sync::store::Store::renew_credentials`].
pub(super) fn renew(tx: &mut Tx<'_>, lane: &LaneLease, from: &[u8], to: &[u8]) -> Fenced {
    let row = held(tx, lane, from).filter(|row| row.state != ConnectionState::Removed);
    let Some(row) = row else {
        return Fenced::Refused;
    };
    row.sealed = to.to_vec();
    row.forget_failures();
    tx.commit();
    Fenced::Written
}

/// See [`calendar_sync::store::Store::renewal_failed`].
pub(super) fn renewal_failed(
    tx: &mut Tx<'_>,
    lane: &LaneLease,
    sealed: &[u8],
    reason: &str,
) -> Option<u32> {
    let row = held(tx, lane, sealed).filter(|row| row.state != ConnectionState::Removed)?;
    row.renewal_failures += 1;
    row.renewal_error = Some(reason.to_owned());
    let count = u32::try_from(row.renewal_failures).unwrap_or_default();
    tx.commit();
    Some(count)
}

/// See [`calendar_sync::store::Store::swap_credentials`].
pub(super) fn swap(tx: &mut Tx<'_>, id: ConnectionId, from: &[u8], to: &[u8]) -> bool {
    let row = tx.tables.connections.get_mut(&id);
    let Some(row) = row.filter(|it| it.sealed == from && it.state != ConnectionState::Removed)
    else {
        return false;
    };
    row.sealed = to.to_vec();
    tx.commit();
    true
}
