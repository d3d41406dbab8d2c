//! Credentials that change in the running: renewed by whoever holds the lane (rule R10), sealed anew by
//! an operator, or no good any more.
//!
//! Each write asks for the bytes that it was decided from, as they stand: who has connected the account
//! again meanwhile is not overwritten, and not parked.

use booking::ConnectionId;

use super::{PostgresStore, failed, fenced};
use crate::store::{Fenced, LaneLease, Result};

impl PostgresStore {
    pub(super) async fn park_connection(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Fenced> {
        const PARK: &str = "
            UPDATE connections
               SET state = CASE WHEN state = 'active' THEN 'parked' ELSE state END,
                   parked_reason = $4, renewal_failures = 0, renewal_error = NULL,
                   updated_at = clock_timestamp()
             WHERE connection_id = $1 AND sealed = $3
               AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $2)";
        self.at("credentials.park").await;
        let done = sqlx::query(PARK)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(sealed)
            .bind(reason)
            .execute(&self.pool)
            .await
            .map_err(failed("park a connection"))?;
        Ok(fenced(done.rows_affected()))
    }

    pub(super) async fn store_renewed(
        &self,
        lane: &LaneLease,
        from: &[u8],
        to: &[u8],
    ) -> Result<Fenced> {
        const RENEW: &str = "
            UPDATE connections
               SET sealed = $4, renewal_failures = 0, renewal_error = NULL,
                   updated_at = clock_timestamp()
             WHERE connection_id = $1 AND sealed = $3 AND state <> 'removed'
               AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $2)";
        self.at("credentials.renew").await;
        let done = sqlx::query(RENEW)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(from)
            .bind(to)
            .execute(&self.pool)
            .await
            .map_err(failed("renew credentials"))?;
        Ok(fenced(done.rows_affected()))
    }

    pub(super) async fn count_renewal_failure(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>> {
        const COUNT: &str = "
            UPDATE connections
               SET renewal_failures = LEAST(renewal_failures, 1000000) + 1, renewal_error = $4,
                   updated_at = clock_timestamp()
             WHERE connection_id = $1 AND sealed = $3 AND state <> 'removed'
               AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $2)
            RETURNING renewal_failures";
        self.at("credentials.failed").await;
        let count: Option<i32> = sqlx::query_scalar(COUNT)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(sealed)
            .bind(reason)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("count a failed renewal"))?;
        Ok(count.map(|count| u32::try_from(count).unwrap_or_default()))
    }

    pub(super) async fn swap_sealed(
        &self,
        id: ConnectionId,
        from: &[u8],
        to: &[u8],
    ) -> Result<bool> {
        const SWAP: &str = "
            UPDATE connections SET sealed = $3, updated_at = clock_timestamp()
             WHERE connection_id = $1 AND sealed = $2 AND state <> 'removed'";
        self.at("credentials.swap").await;
        let done = sqlx::query(SWAP)
            .bind(id.0)
            .bind(from)
            .bind(to)
            .execute(&self.pool)
            .await
            .map_err(failed("swap credentials"))?;
        Ok(done.rows_affected() > 0)
    }
}
