//! A calendar that is ahead of the database (rule R7): wait for the log, then go on above it.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::IcalUid;
use calendar_sync::store::{Fenced, Record, Result, TOPIC_LEFT_AFTER, later};

use super::rows::{CursorRow, EffectRow, Tables};
use super::{Tx, ingest, lane};

/// Raises the booking's revision above `revision` once every cursor of a topic that is read has
/// reached a log end that was asked for after the calendar was first seen to be ahead; puts the row
/// off until then.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    record: &Record,
    revision: i64,
    after: Duration,
    error: &str,
) -> Result<Fenced> {
    let now = tx.now;
    let (connection, uid) = (record.lane.connection, &record.uid);
    let Some(row) = tx.tables.effect(connection, uid) else {
        return Ok(Fenced::Refused);
    };
    if !is_held(tx, record, row) {
        return Ok(Fenced::Refused);
    }
    if !has_caught_up(tx.tables, row.ahead_since) {
        let row = tx.tables.effect_mut(connection, uid).expect("it is held");
        row.not_before = later(now, after);
        row.last_error = Some(error.to_owned());
        row.ahead_since = row.ahead_since.or(Some(now));
        row.updated_at = now;
        tx.commit();
        return Ok(Fenced::Written);
    }
    let revision = raise(tx, uid, revision)?;
    let row = tx.tables.effect_mut(connection, uid).expect("it is held");
    row.desired_revision = revision;
    (row.not_before, row.last_error, row.updated_at) = (now, None, now);
    row.settle();
    tx.commit();
    Ok(Fenced::Written)
}

/// What is in flight carries the token; with nothing in flight, the lane does.
fn is_held(tx: &Tx<'_>, record: &Record, row: &EffectRow) -> bool {
    match &row.flight {
        None => lane::is_ours(tx, &record.lane, None),
        Some(flight) => tx.broken.no_token || flight.token == record.lane.token,
    }
}

fn has_caught_up(tables: &Tables, ahead_since: Option<i64>) -> bool {
    let touched = |row: &CursorRow| {
        row.log_end_at.unwrap_or_else(|| row.cursor.updated_at.timestamp_micros())
    };
    let last = |topic: &BTreeMap<i32, CursorRow>| topic.values().map(touched).max();
    let Some(latest) = tables.cursors.values().filter_map(last).max() else {
        return true;
    };
    let is_read_since = latest.saturating_sub(later(0, TOPIC_LEFT_AFTER));
    let read = tables.cursors.values().filter(|topic| last(topic) >= Some(is_read_since));
    read.flat_map(|topic| topic.values()).all(|row| {
        let reached = row.cursor.position().zip(row.cursor.log_end);
        let asked = row.log_end_at.zip(ahead_since);
        reached.is_some_and(|(position, end)| position >= end)
            && asked.is_some_and(|(asked_at, since)| asked_at >= since)
    })
}

/// The booking goes on above `revision`; answers at which.
fn raise(tx: &mut Tx<'_>, uid: &IcalUid, revision: i64) -> Result<i64> {
    let row = ingest::of_uid(tx.tables, uid)?;
    let booking = &mut row.stored.booking;
    booking.revision = booking.revision.max(revision + 1);
    row.stored.version += 1;
    Ok(row.stored.booking.revision)
}
