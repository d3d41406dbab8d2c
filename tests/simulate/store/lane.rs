//! Lanes: one worker at a time for each connection, what it has to do, and what it is about to do
//! (rules R10 and R14).

use std::time::Duration;

use booking::{ConnectionId, IcalUid, Verb};
use calendar_sync::store::{
    ConnectionState, Fenced, Gate, InFlight, LaneLease, Owed, Result, Stamp, StoreError, Taken,
    UNREADABLE_DELAY, Verify, backlog_share, later,
};
use uuid::Uuid;

use super::rows::{EffectRow, Flight, StoredConnection, Tables};
use super::{Tx, adopt, connection, sweep};

/// See [`calendar_sync::store::Store::lease`].
pub(super) fn lease(
    tx: &mut Tx<'_>,
    gate: &Gate,
    from: ConnectionId,
    token: Uuid,
    lease: Duration,
) -> Option<LaneLease> {
    if !gate.enabled {
        return None;
    }
    let now = tx.now;
    let tables = &*tx.tables;
    let may_lease = |(id, row): &(&ConnectionId, &StoredConnection)| {
        let lane = &tables.lanes[*id];
        lets_through(tables, gate, **id, row)
            && (lane.token.is_none() || lane.leased_until.is_some_and(|until| until <= now))
            && lane.rest_until.is_none_or(|until| until <= now)
            && (tables
                .lane_effects(**id)
                .any(|(_, effect)| effect.is_due_at(now) || effect.is_verified_at(now))
                || (row.state == ConnectionState::Active && sweep::is_due(tables, **id, now)))
    };
    let at_or_after = tables.connections.range(from..);
    let (connection, _) = at_or_after.chain(tables.connections.range(..from)).find(may_lease)?;
    let connection = *connection;
    let lane = tx.tables.lanes.get_mut(&connection).expect("each connection has a lane");
    lane.token = Some(token);
    lane.leased_until = Some(later(now, lease));
    lane.rest_until = None;
    tx.commit();
    Some(LaneLease { connection, token })
}

/// Whether effects go to a connection while the gate is open.
pub(super) fn lets_through(
    tables: &Tables,
    gate: &Gate,
    id: ConnectionId,
    row: &StoredConnection,
) -> bool {
    matches!(row.state, ConnectionState::Active | ConnectionState::Removing)
        && (gate.providers.is_empty() || gate.providers.contains(&row.provider.0))
        && (gate.connections.is_empty() || gate.connections.contains(&id.0))
        && !adopt::is_unadopted(tables, row)
}

/// See [`calendar_sync::store::Store::renew`].
pub(super) fn renew(tx: &mut Tx<'_>, lane: &LaneLease, lease: Duration) -> Fenced {
    if !is_ours(tx, lane, None) {
        return Fenced::Refused;
    }
    let row = tx.tables.lanes.get_mut(&lane.connection).expect("it is ours");
    row.leased_until = Some(later(tx.now, lease));
    tx.commit();
    Fenced::Written
}

/// See [`calendar_sync::store::Store::pace`].
pub(super) fn pace(tx: &mut Tx<'_>, lane: &LaneLease) -> Option<Duration> {
    if !is_ours(tx, lane, None) {
        return None;
    }
    let until = tx.tables.lanes.get(&lane.connection).and_then(|row| row.paced_until);
    let ahead = until.map_or(0, |until| until.saturating_sub(tx.now));
    Some(Duration::from_micros(u64::try_from(ahead).unwrap_or_default()))
}

/// See [`calendar_sync::store::Store::release`].
pub(super) fn release(
    tx: &mut Tx<'_>,
    lane: &LaneLease,
    rest: Duration,
    ahead: Option<Duration>,
) -> Fenced {
    if !is_ours(tx, lane, None) {
        return Fenced::Refused;
    }
    let row = tx.tables.lanes.get_mut(&lane.connection).expect("it is ours");
    (row.token, row.leased_until) = (None, None);
    let rests = !rest.is_zero() && row.rest_until.is_none();
    row.rest_until = rests.then(|| later(tx.now, rest));
    if let Some(ahead) = ahead {
        row.paced_until = Some(later(tx.now, ahead));
    }
    connection::finish_removal(tx.tables, lane.connection);
    tx.commit();
    Fenced::Written
}

/// Whether the lane is ours; with `at`: and its lease lasts at that moment.
pub(super) fn is_ours(tx: &Tx<'_>, lane: &LaneLease, at: Option<i64>) -> bool {
    let Some(row) = tx.tables.lanes.get(&lane.connection) else {
        return false;
    };
    let lasts = |at: i64| row.leased_until.is_some_and(|until| until > at);
    tx.broken.no_token || (row.token == Some(lane.token) && at.is_none_or(lasts))
}

/// See [`calendar_sync::store::Store::take_over`].
pub(super) fn take_over(tx: &mut Tx<'_>, lane: &LaneLease, verify_after: Duration) -> Taken {
    if !is_ours(tx, lane, None) {
        return Taken::Refused;
    }
    let now = tx.now;
    let at = later(now, verify_after);
    let mut rows = 0;
    for (_, row) in tx.tables.lane_effects_mut(lane.connection) {
        if row.flight.as_ref().is_none_or(|flight| flight.token == lane.token) {
            continue;
        }
        leave_open(row, at);
        row.flight.as_mut().expect("it is in flight").token = lane.token;
        row.updated_at = now;
        rows += 1;
    }
    if rows > 0 {
        tx.commit();
    }
    Taken::Over(rows)
}

/// Rule R14: an attempt stays open, and is verified at that moment, or before if that was asked for
/// already.
pub(super) fn leave_open(row: &mut EffectRow, at: i64) {
    row.verify_stage = 0;
    row.verify_at = Some(row.verify_at.map_or(at, |before| before.min(at)));
    verify_from(row);
}

/// The generations and verbs that a verification has to answer for.
pub(super) fn verify_from(row: &mut EffectRow) {
    let from = row.verify_from_generation.unwrap_or(row.generation);
    row.verify_from_generation = Some(from.min(row.generation));
    row.verify_deletes = row.verify_deletes || row.flies(Verb::Delete);
}

/// See [`calendar_sync::store::Store::due`].
pub(super) fn due(tx: &mut Tx<'_>, lane: &LaneLease, limit: u32) -> Vec<Owed> {
    let now = tx.now;
    let is_owed = |(uid, row): &(&IcalUid, &EffectRow)| {
        (row.is_due_at(now) || row.is_verified_at(now)) && tx.tables.bookings.contains_key(*uid)
    };
    let mut rows: Vec<_> = tx.tables.lane_effects(lane.connection).filter(is_owed).collect();
    // They come sorted by UID, and sorting keeps that order.
    rows.sort_by_key(|(_, row)| (row.flight.is_none(), row.filling, row.not_before));
    rows.truncate(limit as usize);
    let mut due = Vec::with_capacity(rows.len());
    let mut unreadable = Vec::new();
    for (uid, row) in rows {
        match read(tx.tables, lane.connection, (uid, row), now) {
            Ok(owed) => due.push(owed),
            Err(error) => unreadable.push((uid.clone(), error.to_string())),
        }
    }
    for (uid, error) in unreadable {
        set_aside(tx, lane, &uid, error);
    }
    due
}

/// A row that cannot be read holds up no other one.
fn set_aside(tx: &mut Tx<'_>, lane: &LaneLease, uid: &IcalUid, error: String) {
    if !is_ours(tx, lane, None) {
        return;
    }
    let now = tx.now;
    let until = later(now, UNREADABLE_DELAY);
    let row = tx.tables.effect_mut(lane.connection, uid).expect("it was read");
    row.not_before = until;
    row.verify_at = row.verify_at.map(|_| until);
    row.last_error = Some(error);
    row.updated_at = now;
    tx.commit();
}

fn read(
    tables: &Tables,
    connection: ConnectionId,
    (uid, row): (&IcalUid, &EffectRow),
    now: i64,
) -> Result<Owed> {
    let stored = &tables.bookings[uid];
    let desired = match row.desired_digest {
        None => None,
        Some(digest) if stored.shown_digest == Some(digest) => stored.booking().shown().cloned(),
        Some(digest) => {
            return Err(StoreError::Inconsistent {
                table: "effects",
                column: "desired_digest",
                key: uid.to_string(),
                detail: format!("{digest} is not what the booking shows"),
            });
        }
    };
    let verify = row.verify_at.map(|at| Verify {
        // NULL is read as 0.
        from_generation: row.verify_from_generation.unwrap_or_default(),
        deletes: row.verify_deletes,
        stage: row.verify_stage,
        is_due: at <= now,
        drift: sweep::row_drift(tables, connection, uid, row, now),
    });
    Ok(Owed {
        uid: uid.clone(),
        connection,
        booking: stored.booking().id.clone(),
        provider: stored.booking().provider,
        desired_revision: row.desired_revision,
        desired,
        applied: row.applied_revision.zip(row.applied_digest),
        generation: row.generation,
        burned: row.burned,
        etag: row.etag.clone(),
        adopted_id: row.adopted_id.clone(),
        server_id: known_as(tables, connection, uid, row.generation),
        in_flight: row.flight.as_ref().map(|flight| InFlight {
            verb: flight.verb,
            revision: flight.revision,
            digest: flight.digest,
            body: flight.body.clone(),
        }),
        attempts: row.attempts,
        rejections: row.rejections,
        verify,
        origin: row.origin.clone(),
    })
}

/// What the calendar calls the event of this generation, if it stands there.
fn known_as(
    tables: &Tables,
    connection: ConnectionId,
    uid: &IcalUid,
    generation: i32,
) -> Option<String> {
    let event = tables.events.get(&connection)?.get(uid)?;
    let stands = event.generation == generation && event.sync_status != "CANCELLED";
    stands.then(|| event.external_id.clone())
}

/// See [`calendar_sync::store::Store::stamp`].
pub(super) fn stamp(tx: &mut Tx<'_>, lane: &LaneLease, stamps: &[Stamp]) -> Vec<IcalUid> {
    if !is_ours(tx, lane, Some(tx.now)) {
        return Vec::new();
    }
    let stored: Vec<_> = stamps
        .iter()
        .filter(|stamp| stamp_one(tx, lane, stamp))
        .map(|one| one.uid.clone())
        .collect();
    if !stored.is_empty() {
        tx.commit();
    }
    stored
}

/// What is in flight under our own token may be sent again; a generation never falls. A new
/// destination withdraws an event without a new revision: a revision alone does not tell that an
/// event is wanted still.
fn stamp_one(tx: &mut Tx<'_>, lane: &LaneLease, stamp: &Stamp) -> bool {
    let (now, broken) = (tx.now, tx.broken);
    let Some(row) = tx.tables.effect_mut(lane.connection, &stamp.uid) else {
        return false;
    };
    let sent = &stamp.in_flight;
    let is_delete = sent.verb == Verb::Delete;
    let is_free = row.flight.as_ref().is_none_or(|flight| flight.token == lane.token);
    let may = !row.dead
        && row.desired_revision == stamp.desired_revision
        && (row.desired_digest.is_none() == is_delete || (row.burned && is_delete))
        && row.generation <= stamp.generation
        && (is_free || broken.no_token);
    if !may {
        return false;
    }
    row.flight = Some(Flight {
        token: lane.token,
        verb: sent.verb,
        revision: sent.revision,
        digest: sent.digest,
        body: sent.body.clone(),
        at: now,
    });
    row.attempts += 1;
    row.updated_at = now;
    row.burned = is_delete || (row.burned && stamp.generation == row.generation);
    row.generation = stamp.generation;
    true
}

/// See [`calendar_sync::store::Store::backlog`].
pub(super) fn backlog(tables: &Tables, now: i64, gate: &Gate, limit: u32) -> u32 {
    if !gate.enabled {
        return 0;
    }
    let mut total = 0_u32;
    for (id, row) in &tables.connections {
        let waits = |effect: &EffectRow| effect.due() && effect.not_before > now;
        let counts = lets_through(tables, gate, *id, row)
            && row.renewal_failures == 0
            && !tables.lane_effects(*id).any(|(_, effect)| waits(effect));
        if counts {
            let due = tables.lane_effects(*id).filter(|(_, effect)| effect.is_due_at(now)).count();
            let share = backlog_share(limit);
            total = total.saturating_add(share.min(u32::try_from(due).unwrap_or(u32::MAX)));
        }
    }
    total.min(limit)
}
