//! Budgets: what all processes together may ask of a kind of calendar.

use std::time::Duration;

use calendar_sync::store::{Draw, later};

use super::Tx;

/// See [`calendar_sync::store::Store::draw`].
pub(super) fn draw(tx: &mut Tx<'_>, draw: &Draw) -> Option<Duration> {
    let now = tx.now;
    let known = tx.tables.budgets.get(draw.budget).copied().unwrap_or(now);
    let is_believed = known <= later(now, draw.believed_max);
    let used_until = later(if is_believed { known.max(now) } else { now }, draw.time);
    let wait = used_until.saturating_sub(later(now, draw.ahead_max));
    if wait > later(0, draw.wait_max) {
        return None;
    }
    tx.tables.budgets.insert(draw.budget.to_owned(), used_until);
    tx.commit();
    Some(Duration::from_micros(u64::try_from(wait).unwrap_or_default()))
}
