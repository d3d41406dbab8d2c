//! Credentials that change in the running: renewed by whoever holds the lane (rule R10), sealed anew by
//! an operator, or no good any more.
//!
//! Each write asks for the bytes that it was decided from, as they stand: who has connected the account
//! again meanwhile is not overwritten, and not parked.

use ::booking::ConnectionId;

use super::{SqliteStore, fault, fenced};
use crate::store::{Fenced, LaneLease, Result};

/// See [`crate::store::Store::park`]. What is being removed stays so, and only says why it waits.
pub(super) async fn park(
    store: &SqliteStore,
    lane: &LaneLease,
    sealed: &[u8],
    reason: &str,
) -> Result<Fenced> {
    const PARK: &str = "
        UPDATE connections
           SET state = CASE state WHEN 'active' THEN 'parked' ELSE state END,
               parked_reason = ?4, renewal_failures = 0, renewal_error = NULL, updated_at = ?5
         WHERE connection_id = ?1 AND sealed = ?3
           AND EXISTS (SELECT 1 FROM lanes AS l
                        WHERE l.connection_id = ?1 AND l.token = ?2)";
    let done = sqlx::query(PARK)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(sealed.to_vec())
        .bind(reason.to_owned())
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("park a connection"))?;
    Ok(fenced(done.rows_affected()))
}

/// See [`crate::store::Store::renew_credentials`].
pub(super) async fn renew(
    store: &SqliteStore,
    lane: &LaneLease,
    from: &[u8],
    to: &[u8],
) -> Result<Fenced> {
    const RENEW: &str = "
        UPDATE connections
           SET sealed = ?4, renewal_failures = 0, renewal_error = NULL, updated_at = ?5
         WHERE connection_id = ?1 AND sealed = ?3 AND state <> 'removed'
           AND EXISTS (SELECT 1 FROM lanes AS l
                        WHERE l.connection_id = ?1 AND l.token = ?2)";
    let done = sqlx::query(RENEW)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(from.to_vec())
        .bind(to.to_vec())
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("renew credentials"))?;
    Ok(fenced(done.rows_affected()))
}

/// See [`crate::store::Store::renewal_failed`].
pub(super) async fn renewal_failed(
    store: &SqliteStore,
    lane: &LaneLease,
    sealed: &[u8],
    reason: &str,
) -> Result<Option<u32>> {
    const COUNT: &str = "
        UPDATE connections
           SET renewal_failures = MIN(renewal_failures, 1000000) + 1, renewal_error = ?4,
               updated_at = ?5
         WHERE connection_id = ?1 AND sealed = ?3 AND state <> 'removed'
           AND EXISTS (SELECT 1 FROM lanes AS l
                        WHERE l.connection_id = ?1 AND l.token = ?2)
        RETURNING renewal_failures";
    sqlx::query_scalar(COUNT)
        .bind(lane.connection.to_string())
        .bind(lane.token.to_string())
        .bind(sealed.to_vec())
        .bind(reason.to_owned())
        .bind(store.now())
        .fetch_optional(&store.write)
        .await
        .map_err(fault("count a failed renewal"))
}

/// See [`crate::store::Store::swap_credentials`].
pub(super) async fn swap(
    store: &SqliteStore,
    id: ConnectionId,
    from: &[u8],
    to: &[u8],
) -> Result<bool> {
    const SWAP: &str = "
        UPDATE connections SET sealed = ?3, updated_at = ?4
         WHERE connection_id = ?1 AND sealed = ?2 AND state <> 'removed'";
    let done = sqlx::query(SWAP)
        .bind(id.to_string())
        .bind(from.to_vec())
        .bind(to.to_vec())
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("swap credentials"))?;
    Ok(done.rows_affected() > 0)
}
