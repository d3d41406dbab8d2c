//! Lanes: leasing a connection, and storing what will be sent before it is (rule R10).

use std::time::Duration;

use booking::{BookingId, ConnectionId, IcalUid, ProviderId, Verb};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::connection::holds_removal_up;
use super::drift;
use super::rows::{self, bytes, digest, inconsistent};
use super::sweep::row_drift;
use super::{PostgresStore, failed, fenced, seconds};
use crate::store::sending::backlog_share;
use crate::store::{
    EffectOrigin, Fenced, Gate, InFlight, LaneLease, Owed, Result, Stamp, StoreError, Taken,
    UNREADABLE_DELAY, Verify, log_unreadable,
};

/// SQL: whether effects go to the connection `c`: it is there, waits for no person and for no `adopt`, and is
/// of the gate's lists, which are these parameters. Whether the gate is open at all is not asked.
macro_rules! let_through {
    ($providers:literal, $connections:literal) => {
        concat!(
            "(c.state IN ('active', 'removing')
              AND (cardinality(",
            $providers,
            "::uuid[]) = 0 OR c.provider_id = ANY(",
            $providers,
            "))
              AND (cardinality(",
            $connections,
            "::uuid[]) = 0 OR c.connection_id = ANY(",
            $connections,
            "))
              AND NOT ",
            unadopted!(),
            ")"
        )
    };
}

pub(super) use let_through;

impl PostgresStore {
    pub(super) async fn lease_lane(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        if !gate.enabled {
            return Ok(None);
        }
        // Two runs through the primary key, so that the search ends at the first that will do.
        for (low, high) in [(from.0, Uuid::max()), (Uuid::nil(), from.0)] {
            let found = self.lease_between(gate, (low, high), token, lease).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A removal that nothing holds up any more is leased too: whoever withdrew the last event did
    /// not live to give the lane back, and that is when a removal ends.
    async fn lease_between(
        &self,
        gate: &Gate,
        (low, high): (Uuid, Uuid),
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>> {
        const LEASE: &str = concat!(
            "
            UPDATE lanes
               SET token = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
                   rest_until = NULL
             WHERE connection_id = (
                SELECT l.connection_id
                  FROM lanes l JOIN connections c USING (connection_id)
                 WHERE l.connection_id >= $3 AND l.connection_id <= $4
                   AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
                   AND (l.rest_until IS NULL OR l.rest_until <= clock_timestamp())
                   AND ",
            let_through!("$5", "$6"),
            "
                   AND (EXISTS (SELECT 1 FROM effects e
                                 WHERE e.connection_id = l.connection_id AND e.due
                                   AND e.not_before <= clock_timestamp())
                        OR EXISTS (SELECT 1 FROM effects e
                                    WHERE e.connection_id = l.connection_id
                                      AND NOT e.due AND NOT e.dead
                                      AND e.verify_at <= clock_timestamp())
                        OR (c.state = 'active'
                            AND EXISTS (SELECT 1 FROM sweeps s
                                         WHERE s.connection_id = l.connection_id
                                           AND s.halted IS NULL
                                           AND s.due_at <= clock_timestamp()))
                        OR (c.state = 'removing' AND NOT ",
            holds_removal_up!(),
            "))
                 ORDER BY l.connection_id
                 LIMIT 1
                   FOR NO KEY UPDATE OF l SKIP LOCKED)
            RETURNING connection_id"
        );
        self.at("lease").await;
        let leased: Option<Uuid> = sqlx::query_scalar(LEASE)
            .bind(token)
            .bind(seconds(lease))
            .bind(low)
            .bind(high)
            .bind(&gate.providers)
            .bind(&gate.connections)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("lease a lane"))?;
        Ok(leased.map(|id| LaneLease { connection: ConnectionId(id), token }))
    }

    pub(super) async fn renew_lane(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced> {
        const RENEW: &str = "
            UPDATE lanes SET leased_until = clock_timestamp() + make_interval(secs => $3)
             WHERE connection_id = $1 AND token = $2";
        let done = sqlx::query(RENEW)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(seconds(lease))
            .execute(&self.pool)
            .await
            .map_err(failed("renew a lease"))?;
        Ok(fenced(done.rows_affected()))
    }

    pub(super) async fn read_pace(&self, lane: &LaneLease) -> Result<Option<Duration>> {
        const PACE: &str = "
            SELECT COALESCE(extract(epoch FROM paced_until - clock_timestamp())::float8, 0)
              FROM lanes WHERE connection_id = $1 AND token = $2";
        let ahead: Option<f64> = sqlx::query_scalar(PACE)
            .bind(lane.connection.0)
            .bind(lane.token)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a pace"))?;
        Ok(ahead.map(|ahead| Duration::try_from_secs_f64(ahead).unwrap_or_default()))
    }

    pub(super) async fn release_lane(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced> {
        const RELEASE: &str = "
            UPDATE lanes
               SET token = NULL, leased_until = NULL,
                   rest_until = CASE WHEN $3 > 0 AND rest_until IS NULL
                                THEN clock_timestamp() + make_interval(secs => $3) END,
                   paced_until = CASE WHEN $4::float8 IS NULL THEN paced_until
                                 ELSE clock_timestamp() + make_interval(secs => $4) END
             WHERE connection_id = $1 AND token = $2";
        let done = sqlx::query(RELEASE)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(seconds(rest))
            .bind(ahead.map(seconds))
            .execute(&self.pool)
            .await
            .map_err(failed("release a lane"))?;
        self.finish_removal(&self.pool, lane.connection).await?;
        Ok(fenced(done.rows_affected()))
    }

    /// Holds the lane FOR SHARE, if its token is ours (and, where asked, its lease has not run
    /// out): nobody takes it over until the transaction ends.
    pub(super) async fn hold_lane(
        tx: &mut Transaction<'static, Postgres>,
        lane: &LaneLease,
        unexpired: bool,
    ) -> Result<bool> {
        const HOLD: &str = "
            SELECT true FROM lanes
             WHERE connection_id = $1 AND token = $2
               AND (NOT $3 OR leased_until > clock_timestamp())
               FOR SHARE";
        let held: Option<bool> = sqlx::query_scalar(HOLD)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(unexpired)
            .fetch_optional(&mut **tx)
            .await
            .map_err(failed("hold a lane"))?;
        Ok(held.is_some())
    }

    pub(super) async fn take_over_flights(
        &self,
        lane: &LaneLease,
        verify_after: Duration,
    ) -> Result<Taken> {
        // The attempt of before is left open: only its own answer could close it (R14).
        const RESTAMP: &str = "
            WITH held AS (
                SELECT ical_uid FROM effects
                 WHERE connection_id = $1 AND flight_verb IS NOT NULL
                   AND flight_token IS DISTINCT FROM $2
                 ORDER BY ical_uid FOR UPDATE)
            UPDATE effects e
               SET flight_token = $2,
                   verify_from_generation = CASE WHEN verify_at IS NULL THEN generation
                                            ELSE LEAST(verify_from_generation, generation) END,
                   verify_deletes = (verify_at IS NOT NULL AND verify_deletes)
                                    OR flight_verb = 'delete',
                   verify_stage = 0,
                   verify_at = LEAST(verify_at,
                                     clock_timestamp() + make_interval(secs => $3)),
                   updated_at = clock_timestamp()
              FROM held
             WHERE e.connection_id = $1 AND e.ical_uid = held.ical_uid";
        let operation = "take a lane over";
        let mut tx = self.begin(operation).await?;
        self.at("take_over.lane").await;
        if !Self::hold_lane(&mut tx, lane, false).await? {
            return Ok(Taken::Refused);
        }
        self.at("take_over.effects").await;
        let done = sqlx::query(RESTAMP)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(seconds(verify_after))
            .execute(&mut *tx)
            .await
            .map_err(failed(operation))?;
        self.at("take_over.commit").await;
        crate::crash::point!("r10.restamped");
        tx.commit().await.map_err(failed(operation))?;
        Ok(Taken::Over(done.rows_affected()))
    }

    pub(super) async fn read_due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>> {
        // What is in flight first: it is settled before anything supersedes it (R13). What a connection is
        // filled with last: nobody has asked for it just now. A verification
        // waits until its row owes nothing: what is owed has its own time (`not_before`), and tells
        // as much of the calendar.
        const DUE: &str = concat!(
            "
            SELECT ",
            effect_columns!(),
            ", b.booking_id, b.provider_id, b.state, b.placed, b.version, x.external_event_id,
                   COALESCE(e.verify_at <= clock_timestamp(), false) AS verify_due, ",
            row_drift!(),
            " AS drift
              FROM (SELECT ical_uid FROM (
                        (SELECT ical_uid, (flight_verb IS NULL) AS later, filling,
                                not_before AS at
                           FROM effects
                          WHERE connection_id = $1 AND due AND not_before <= clock_timestamp()
                          ORDER BY (flight_verb IS NULL), filling, not_before LIMIT $2)
                        UNION ALL
                        (SELECT ical_uid, true, false, verify_at FROM effects
                          WHERE connection_id = $1 AND NOT due AND NOT dead
                            AND verify_at <= clock_timestamp()
                          ORDER BY verify_at LIMIT $2)) AS either
                     GROUP BY ical_uid
                     ORDER BY bool_and(later), bool_and(filling), min(at) LIMIT $2) AS found
              JOIN effects e ON e.connection_id = $1 AND e.ical_uid = found.ical_uid
              JOIN bookings b ON b.ical_uid = e.ical_uid
              LEFT JOIN external_calendar_events x
                     ON x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                    AND x.generation = e.generation AND x.sync_status <> 'CANCELLED'
             ORDER BY (e.flight_verb IS NULL), e.filling, e.not_before, e.ical_uid"
        );
        self.at("due").await;
        let rows = sqlx::query(DUE)
            .bind(lane.connection.0)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read what is due"))?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            match owed(row) {
                Ok(owed) => due.push(owed),
                Err(error) => self.set_aside(lane, row.get("ical_uid"), &error).await?,
            }
        }
        Ok(due)
    }

    /// A row that cannot be read holds up no other one.
    async fn set_aside(&self, lane: &LaneLease, uid: &str, error: &StoreError) -> Result<()> {
        const SET_ASIDE: &str = "
            UPDATE effects
               SET not_before = clock_timestamp() + make_interval(secs => $4),
                   verify_at = CASE WHEN verify_at IS NOT NULL
                               THEN clock_timestamp() + make_interval(secs => $4) END,
                   last_error = $5, updated_at = clock_timestamp()
             WHERE connection_id = $1 AND ical_uid = $2
               AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $3)";
        log_unreadable(uid, error);
        self.at("due.set_aside").await;
        sqlx::query(SET_ASIDE)
            .bind(lane.connection.0)
            .bind(uid)
            .bind(lane.token)
            .bind(seconds(UNREADABLE_DELAY))
            .bind(error.to_string())
            .execute(&self.pool)
            .await
            .map_err(failed("set a row aside"))?;
        Ok(())
    }

    pub(super) async fn stamp_flights(
        &self,
        lane: &LaneLease,
        stamps: &[Stamp],
    ) -> Result<Vec<IcalUid>> {
        // A new destination withdraws an event without a new revision: a revision alone does not
        // tell that an event is wanted still. What was meant to be deleted is, whatever is wanted by
        // now (rule R12). A generation never falls.
        const STAMP: &str = "
            WITH wanted AS (
                SELECT * FROM UNNEST($3::text[], $4::bigint[], $5::int[], $6::text[], $7::bigint[],
                                     $8::bytea[], $9::bytea[])
                    AS w (uid, desired, generation, verb, revision, digest, body)),
            held AS (
                SELECT e.ical_uid FROM effects e JOIN wanted w ON e.ical_uid = w.uid
                 WHERE e.connection_id = $1 AND NOT e.dead AND e.desired_revision = w.desired
                   AND ((e.desired_digest IS NULL) = (w.verb = 'delete')
                        OR (e.burned AND w.verb = 'delete'))
                   AND e.generation <= w.generation
                   AND (e.flight_verb IS NULL OR e.flight_token = $2)
                 ORDER BY e.ical_uid FOR UPDATE OF e)
            UPDATE effects e
               SET flight_token = $2, flight_verb = w.verb, flight_revision = w.revision,
                   flight_digest = w.digest, flight_body = w.body, flight_at = clock_timestamp(),
                   burned = w.verb = 'delete' OR (e.burned AND w.generation <= e.generation),
                   generation = w.generation, attempts = e.attempts + 1,
                   updated_at = clock_timestamp()
              FROM wanted w JOIN held ON held.ical_uid = w.uid
             WHERE e.connection_id = $1 AND e.ical_uid = w.uid
            RETURNING e.ical_uid";
        let operation = "store what will be sent";
        let mut tx = self.begin(operation).await?;
        self.at("stamp.lane").await;
        if !Self::hold_lane(&mut tx, lane, true).await? {
            return Ok(Vec::new());
        }
        self.at("stamp.effects").await;
        let flight = |stamp: &Stamp| stamp.in_flight.clone();
        let rows = sqlx::query(STAMP)
            .bind(lane.connection.0)
            .bind(lane.token)
            .bind(stamps.iter().map(|stamp| stamp.uid.as_str()).collect::<Vec<_>>())
            .bind(stamps.iter().map(|stamp| stamp.desired_revision).collect::<Vec<_>>())
            .bind(stamps.iter().map(|stamp| stamp.generation).collect::<Vec<_>>())
            .bind(stamps.iter().map(|stamp| stamp.in_flight.verb.name()).collect::<Vec<_>>())
            .bind(stamps.iter().map(|stamp| stamp.in_flight.revision).collect::<Vec<_>>())
            .bind(stamps.iter().map(|s| flight(s).digest.map(bytes)).collect::<Vec<_>>())
            .bind(stamps.iter().map(|stamp| flight(stamp).body).collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(operation))?;
        self.at("stamp.commit").await;
        crate::crash::point!("r10.stamp_written");
        tx.commit().await.map_err(failed(operation))?;
        rows.iter().map(rows::uid).collect()
    }

    pub(super) async fn count_backlog(&self, gate: &Gate, limit: u32) -> Result<u32> {
        const COUNT: &str = concat!(
            "
            SELECT count(*) FROM (
                SELECT 1 FROM connections c
                 CROSS JOIN LATERAL (
                    SELECT 1 FROM effects e
                     WHERE e.connection_id = c.connection_id AND e.due AND e.not_before <= now()
                     LIMIT $4) AS waiting
                 WHERE c.renewal_failures = 0
                   AND NOT EXISTS (SELECT 1 FROM effects e
                                    WHERE e.connection_id = c.connection_id AND e.due
                                      AND e.not_before > now())
                   AND ",
            let_through!("$1", "$2"),
            "
                 LIMIT $3) AS found"
        );
        if !gate.enabled {
            return Ok(0);
        }
        let count: i64 = sqlx::query_scalar(COUNT)
            .bind(&gate.providers)
            .bind(&gate.connections)
            .bind(i64::from(limit))
            .bind(i64::from(backlog_share(limit)))
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count the backlog"))?;
        Ok(u32::try_from(count).unwrap_or(limit))
    }
}

fn owed(row: &PgRow) -> Result<Owed> {
    let uid = rows::uid(row)?;
    let applied_digest = digest(row, "applied_digest")?;
    let applied_revision: Option<i64> = row.get("applied_revision");
    let booking: &str = row.get("booking_id");
    let desired = rows::wanted(row, &uid)?;
    let drift = drift::kind(row, "drift", &uid)?;
    Ok(Owed {
        connection: ConnectionId(row.get("connection_id")),
        booking: BookingId::parse(booking)
            .map_err(|error| inconsistent("bookings", "booking_id", &uid, error))?,
        provider: ProviderId(row.get("provider_id")),
        desired_revision: row.get("desired_revision"),
        desired,
        applied: applied_revision.zip(applied_digest),
        generation: row.get("generation"),
        burned: row.get("burned"),
        etag: row.get("etag"),
        adopted_id: row.get("adopted_id"),
        server_id: row.get("external_event_id"),
        in_flight: in_flight(row, &uid)?,
        attempts: row.get("attempts"),
        rejections: row.get("rejections"),
        verify: row.get::<Option<chrono::DateTime<chrono::Utc>>, _>("verify_at").map(|_| Verify {
            from_generation: row.get("verify_from_generation"),
            deletes: row.get("verify_deletes"),
            stage: row.get("verify_stage"),
            is_due: row.get("verify_due"),
            drift,
        }),
        origin: EffectOrigin::read(row.get("trace"), row.get("published_at")),
        uid,
    })
}

fn in_flight(row: &PgRow, uid: &IcalUid) -> Result<Option<InFlight>> {
    let Some(verb) = row.get::<Option<String>, _>("flight_verb") else {
        return Ok(None);
    };
    let missing = |column| inconsistent("effects", column, uid, "nothing, beside a verb");
    Ok(Some(InFlight {
        verb: Verb::parse(&verb)
            .ok_or_else(|| inconsistent("effects", "flight_verb", uid, &verb))?,
        revision: row
            .get::<Option<i64>, _>("flight_revision")
            .ok_or_else(|| missing("flight_revision"))?,
        digest: digest(row, "flight_digest")?,
        body: row.get::<Option<Vec<u8>>, _>("flight_body").ok_or_else(|| missing("flight_body"))?,
    }))
}
