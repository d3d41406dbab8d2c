//! Filling: a new destination is given the bookings that are held, once (rules R8 and R19).

use booking::ConnectionId;
use sqlx::{Postgres, Transaction};

use super::{PostgresStore, failed};
use crate::store::{Fills, Result};

impl PostgresStore {
    /// Makes bookings that are held due on a connection.
    pub(super) async fn place(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        id: ConnectionId,
        uids: &[String],
    ) -> Result<()> {
        // Present at the new place; absent where they were placed before (R19). An event that was
        // adopted (`ADOPTED_REVISION`) and shows just this is applied.
        const EFFECTS: &str = concat!(
            "
            INSERT INTO effects AS e (connection_id, ical_uid, desired_revision, desired_digest,
                                      filling)
            SELECT * FROM (
                SELECT $2::uuid AS at, ical_uid, revision, shown_digest, true FROM bookings
                 WHERE ical_uid = ANY($1)
                UNION ALL
                SELECT placed, ical_uid, revision, NULL, false FROM bookings
                 WHERE ical_uid = ANY($1) AND placed <> $2) AS wanted
             ORDER BY at, ical_uid
            ON CONFLICT (connection_id, ical_uid) DO UPDATE
               SET desired_revision = excluded.desired_revision,
                   desired_digest = excluded.desired_digest,
                   applied_revision = CASE
                        WHEN e.applied_revision = -1 AND e.applied_digest = excluded.desired_digest
                        THEN excluded.desired_revision ELSE e.applied_revision END,
                   dead = false, rejections = 0, filling = excluded.filling,
                   updated_at = clock_timestamp(),
                   ",
            asked_by_none!("e."),
            "
             WHERE e.desired_revision <= excluded.desired_revision"
        );
        const PLACE: &str = "
            UPDATE bookings SET placed = $2, version = version + 1, updated_at = clock_timestamp()
             WHERE ical_uid = ANY($1)";
        for statement in [EFFECTS, PLACE] {
            self.at("connection.effects").await;
            sqlx::query(statement)
                .bind(uids)
                .bind(id.0)
                .execute(&mut **tx)
                .await
                .map_err(failed("make bookings due on a connection"))?;
        }
        Ok(())
    }

    /// What stands already is not to be filled.
    pub(super) async fn begin_fill(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        id: ConnectionId,
    ) -> Result<()> {
        const STANDING: &str = "
            UPDATE effects SET filling = false WHERE connection_id = $1 AND filling AND NOT due";
        const BEGIN: &str = "
            UPDATE connections c
               SET fill_total = fill.total,
                   fill_since = CASE WHEN fill.total > 0 THEN clock_timestamp() END
              FROM (SELECT count(*) AS total FROM effects
                     WHERE connection_id = $1 AND filling AND (due OR dead)) AS fill
             WHERE c.connection_id = $1";
        for statement in [STANDING, BEGIN] {
            self.at("connection.fill").await;
            sqlx::query(statement)
                .bind(id.0)
                .execute(&mut **tx)
                .await
                .map_err(failed("begin to fill a connection"))?;
        }
        Ok(())
    }

    /// How much is left to fill connections with.
    pub(super) async fn read_fills(&self) -> Result<Fills> {
        const FILLS: &str = "
            SELECT count(DISTINCT connection_id), count(*) FROM effects
             WHERE filling AND (due OR dead)";
        let (connections, left) = sqlx::query_as(FILLS)
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count what is left to fill"))?;
        Ok(Fills { connections, left })
    }
}
