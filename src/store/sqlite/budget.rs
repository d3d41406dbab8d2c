//! Budgets: what all processes together may ask of a kind of calendar.

use std::time::Duration;

use super::row::Values;
use super::{SqliteStore, fault};
use crate::store::{Draw, Result, later};

/// See [`crate::store::Store::draw`].
pub(super) async fn draw(store: &SqliteStore, draw: &Draw) -> Result<Option<Duration>> {
    const DRAW: &str = "
        INSERT INTO budgets AS b (name, used_until) VALUES (?1, ?2 + ?3)
        ON CONFLICT (name) DO UPDATE
           SET used_until = ?3 + CASE WHEN b.used_until > ?2 + ?6 THEN ?2
                                      ELSE MAX(b.used_until, ?2) END
         WHERE b.used_until + ?3 - ?4 <= ?2 + ?5 OR b.used_until > ?2 + ?6
        RETURNING used_until - ?4 - ?2 AS wait";
    const OPERATION: &str = "draw from a budget";
    let micros = |time| later(0, time);
    let row = sqlx::query(DRAW)
        .bind(draw.budget)
        .bind(store.now())
        .bind(micros(draw.time))
        .bind(micros(draw.ahead_max))
        .bind(micros(draw.wait_max))
        .bind(micros(draw.believed_max))
        .fetch_optional(&store.write)
        .await
        .map_err(fault(OPERATION))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let wait = Values::of(&row, "budgets", "wait").get::<i64>("wait")?;
    Ok(Some(Duration::from_micros(u64::try_from(wait).unwrap_or_default())))
}
