//! Counting what is owed and what waits: bounded, and by the indexes that sending goes by.

use std::time::Duration;

use booking::CalendarKind;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::lane::let_through;
use super::{PostgresStore, failed};
use crate::store::{ConnectionState, Gate, Owing, PoolUse, Result, TALLY_MAX, Tally};

impl PostgresStore {
    pub(super) async fn read_tally(&self, gate: &Gate) -> Result<Tally> {
        Ok(Tally {
            counted_at: self.read_clock().await?,
            owing: self.count_owing(gate).await?,
            connections: self.count_connections().await?,
            letters: self.count_letters().await?,
        })
    }

    async fn read_clock(&self) -> Result<DateTime<Utc>> {
        const NOW: &str = "SELECT clock_timestamp()";
        let failed = failed("read the database's clock");
        sqlx::query_scalar(NOW).fetch_one(&self.pool).await.map_err(failed)
    }

    async fn count_owing(&self, gate: &Gate) -> Result<Vec<Owing>> {
        // What is sent is looked for by its connection: whether that is sent to is asked once for each, and
        // `LIMIT` keeps it so, however few effects the planner takes to be due.
        const OWING: &str = concat!(
            "
            SELECT owed.pending, sent.count AS sent, owed.open + settled.open AS open,
                   GREATEST(extract(epoch FROM clock_timestamp() - sent.since), 0)::float8 AS age
              FROM UNNEST($1::text[]) WITH ORDINALITY AS k (kind, place)
             CROSS JOIN LATERAL (
                SELECT count(*) AS pending, count(verify_at) AS open
                  FROM (SELECT e.verify_at FROM connections c JOIN effects e USING (connection_id)
                         WHERE c.kind = k.kind AND c.state <> 'removed' AND e.due
                         LIMIT $2) AS due) AS owed
             CROSS JOIN LATERAL (
                SELECT count(*) AS count, min(since) AS since
                  FROM (SELECT due.since
                          FROM connections c
                         CROSS JOIN LATERAL (
                            SELECT COALESCE(e.published_at, e.not_before) AS since FROM effects e
                             WHERE e.connection_id = c.connection_id AND e.due LIMIT $2) AS due
                         WHERE c.kind = k.kind AND $3 AND ",
            let_through!("$4", "$5"),
            "
                           AND NOT (c.state = 'removing' AND c.parked_reason IS NOT NULL)
                         LIMIT $2) AS due) AS sent
             CROSS JOIN LATERAL (
                SELECT count(*) AS open
                  FROM (SELECT 1 FROM connections c JOIN effects e USING (connection_id)
                         WHERE c.kind = k.kind AND c.state <> 'removed'
                           AND e.verify_at IS NOT NULL AND NOT e.due AND NOT e.dead
                         LIMIT $2) AS verified) AS settled
             ORDER BY k.place"
        );
        let rows = sqlx::query(OWING)
            .bind(CalendarKind::ALL.map(CalendarKind::name).as_slice())
            .bind(i64::from(TALLY_MAX))
            .bind(gate.enabled)
            .bind(&gate.providers)
            .bind(&gate.connections)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count what is owed"))?;
        let owing = |(kind, row): (CalendarKind, &sqlx::postgres::PgRow)| Owing {
            kind,
            pending: row.get("pending"),
            sent: row.get("sent"),
            oldest: Duration::try_from_secs_f64(row.get("age")).unwrap_or_default(),
            open: row.get("open"),
        };
        Ok(CalendarKind::ALL.into_iter().zip(&rows).map(owing).collect())
    }

    async fn count_connections(
        &self,
    ) -> Result<Vec<(Option<CalendarKind>, Option<ConnectionState>, i64)>> {
        const COUNT: &str = "
            SELECT kind, state, count(*) AS n FROM connections
             GROUP BY kind, state ORDER BY kind COLLATE \"C\", state COLLATE \"C\"";
        let rows = sqlx::query(COUNT)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count the connections"))?;
        let counted = |row: &sqlx::postgres::PgRow| {
            let (kind, state): (&str, &str) = (row.get("kind"), row.get("state"));
            (CalendarKind::parse(kind), ConnectionState::parse(state), row.get("n"))
        };
        Ok(rows.iter().map(counted).collect())
    }

    async fn count_letters(&self) -> Result<Vec<(String, i64)>> {
        const COUNT: &str = "
            SELECT class, count(*) AS n
              FROM (SELECT class FROM dead_letters WHERE state = 'open' LIMIT $1) AS open
             GROUP BY class ORDER BY class COLLATE \"C\"";
        sqlx::query_as(COUNT)
            .bind(i64::from(TALLY_MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count the dead letters"))
    }

    pub(super) fn pool_use(&self) -> PoolUse {
        let (size, max) = (self.pool.size(), self.pool.options().get_max_connections());
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX).min(size);
        PoolUse { idle, used: size - idle, max }
    }
}
