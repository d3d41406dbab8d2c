//! Budgets: what all processes together may ask of a kind of calendar.

use std::time::Duration;

use sqlx::Row as _;

use super::{PostgresStore, failed, seconds};
use crate::store::{Draw, Result};

impl PostgresStore {
    /// In one statement: the hour by which the budget is used is read and moved under the row's lock.
    pub(super) async fn draw_budget(&self, draw: &Draw) -> Result<Option<Duration>> {
        const DRAW: &str = "
            INSERT INTO budgets AS b (name, used_until)
            VALUES ($1, clock_timestamp() + make_interval(secs => $2))
            ON CONFLICT (name) DO UPDATE
               SET used_until = make_interval(secs => $2)
                              + CASE WHEN b.used_until
                                          > clock_timestamp() + make_interval(secs => $5)
                                THEN clock_timestamp()
                                ELSE GREATEST(b.used_until, clock_timestamp()) END
             WHERE b.used_until + make_interval(secs => $2 - $3)
                   <= clock_timestamp() + make_interval(secs => $4)
                OR b.used_until > clock_timestamp() + make_interval(secs => $5)
            RETURNING extract(epoch FROM used_until - make_interval(secs => $3)
                                         - clock_timestamp())::float8 AS wait";
        let row = sqlx::query(DRAW)
            .bind(draw.budget)
            .bind(seconds(draw.time))
            .bind(seconds(draw.ahead_max))
            .bind(seconds(draw.wait_max))
            .bind(seconds(draw.believed_max))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("draw from a budget"))?;
        let wait = row.map(|row| row.get::<f64, _>("wait"));
        Ok(wait.map(|wait| Duration::try_from_secs_f64(wait).unwrap_or_default()))
    }
}
