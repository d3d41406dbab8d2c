//! Recording what became of an attempt: only under the row's token, and only what was
//! acknowledged as applied (rule R15).

use booking::{CalendarKind, ConnectionId, IcalUid, ProviderId};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _, Transaction};

use super::rows::{bytes, inconsistent};
use super::{PostgresStore, failed, fenced, seconds};
use crate::store::{EFFECT_REJECTED, ExternalEvent, Finding, Record, Recorded, Result};

type Statement = Query<'static, Postgres, PgArguments>;

const OPERATION: &str = "record an outcome";

/// Every statement starts with: $1 connection, $2 UID, $3 token, $4 seconds until the attempt that
/// is left open is verified (or NULL).
macro_rules! under_row_token {
    ($set:expr) => {
        concat!(
            "UPDATE effects SET ",
            $set,
            ", verify_from_generation = CASE WHEN $4 IS NULL THEN verify_from_generation
                    WHEN verify_at IS NULL THEN generation
                    ELSE LEAST(verify_from_generation, generation) END,
                verify_deletes = CASE WHEN $4 IS NULL THEN verify_deletes
                    ELSE (verify_at IS NOT NULL AND verify_deletes) OR flight_verb = 'delete' END,
                verify_stage = CASE WHEN $4 IS NOT NULL THEN 0 ELSE verify_stage END,
                verify_at = LEAST(verify_at, clock_timestamp() + make_interval(secs => $4)),
                updated_at = clock_timestamp()
              WHERE connection_id = $1 AND ical_uid = $2 AND flight_token = $3
                AND flight_verb IS NOT NULL"
        )
    };
}

const PRESENT: &str = under_row_token!(concat!(
    "applied_revision = $5, applied_digest = $6, etag = $7, seen_at = clock_timestamp(),
     attempts = 0, rejections = 0, last_error = NULL, not_before = clock_timestamp(), dead = false,
     filling = false,
     flight_token = NULL, flight_verb = NULL, flight_revision = NULL, flight_digest = NULL,
     flight_body = NULL, flight_at = NULL, ahead_since = NULL, ",
    waits_since_stamped!("(desired_revision <> $5 OR desired_digest IS DISTINCT FROM $6)")
));
const ABSENT: &str = under_row_token!(concat!(
    "applied_revision = $5, applied_digest = NULL, etag = NULL, burned = true, attempts = 0,
     rejections = 0, last_error = NULL, not_before = clock_timestamp(), filling = false,
     flight_token = NULL, flight_verb = NULL, flight_revision = NULL, flight_digest = NULL,
     flight_body = NULL, flight_at = NULL, ahead_since = NULL, ",
    waits_since_stamped!("desired_digest IS NOT NULL AND desired_revision > $5")
));
const GONE: &str = under_row_token!(
    "applied_digest = NULL, etag = NULL, generation = generation + 1, burned = false,
     not_before = clock_timestamp(),
     flight_token = NULL, flight_verb = NULL, flight_revision = NULL, flight_digest = NULL,
     flight_body = NULL, flight_at = NULL, ahead_since = NULL"
);
const NOT_APPLIED: &str = under_row_token!(
    "not_before = clock_timestamp() + make_interval(secs => $5), last_error = $6,
     rejections = rejections + CASE WHEN $7 THEN 1 ELSE 0 END,
     burned = burned AND flight_verb <> 'delete',
     flight_token = NULL, flight_verb = NULL, flight_revision = NULL, flight_digest = NULL,
     flight_body = NULL, flight_at = NULL, ahead_since = NULL"
);
const UNKNOWN: &str = under_row_token!(
    "not_before = clock_timestamp() + make_interval(secs => $5), last_error = $6,
     attempts = attempts + 1, rejections = rejections + CASE WHEN $7 THEN 1 ELSE 0 END"
);
// What is desired may have changed while this attempt was on its way: then that has its own try,
// and a wish that came meanwhile does not die with its predecessor (rule R13).
const DEAD_SURELY: &str = under_row_token!(
    "dead = desired_revision = flight_revision
            AND (desired_digest IS NULL) = (flight_verb = 'delete'),
     last_error = $5,
     flight_token = NULL, flight_verb = NULL, flight_revision = NULL, flight_digest = NULL,
     flight_body = NULL, flight_at = NULL, ahead_since = NULL"
);
// It stays in flight, and is settled first: only a change that came meanwhile (`rejections` are
// counted from it) gives it further tries.
const DEAD_UNKNOWN: &str = under_row_token!(
    "dead = rejections > 0
            OR (desired_revision = flight_revision
                AND (desired_digest IS NULL) = (flight_verb = 'delete')),
     rejections = rejections + 1, last_error = $5"
);

/// A verification, with nothing in flight, is written under the lane's token.
macro_rules! under_lane_token {
    ($set:expr) => {
        concat!(
            "UPDATE effects SET ",
            $set,
            ", updated_at = clock_timestamp()
              WHERE connection_id = $1 AND ical_uid = $2 AND flight_verb IS NULL
                AND EXISTS (SELECT 1 FROM lanes WHERE connection_id = $1 AND token = $3)"
        )
    };
}

const VERIFIED: &str = under_lane_token!(
    "verify_at = clock_timestamp() + make_interval(secs => $4),
     verify_stage = verify_stage + 1, ahead_since = NULL,
     verify_deletes = verify_deletes AND $4 IS NOT NULL"
);
// What was asked for stands, for later.
const UNVERIFIED: &str = under_lane_token!(
    "verify_at = COALESCE(clock_timestamp() + make_interval(secs => $4), verify_at)"
);
const DIFFERS: &str = under_lane_token!(concat!(
    "applied_revision = COALESCE($5, applied_revision), applied_digest = $6, etag = $7,
     generation = generation + $8, burned = burned AND $8 = 0,
     not_before = clock_timestamp(), verify_at = clock_timestamp() + make_interval(secs => $4),
     verify_stage = verify_stage + 1, ahead_since = NULL,
     verify_deletes = verify_deletes AND $4 IS NOT NULL, ",
    asked_by_none!("effects.")
));

impl PostgresStore {
    pub(super) async fn record_finding(&self, record: &Record) -> Result<Recorded> {
        if let Finding::Ahead { revision, after, error } = &record.finding {
            return Ok(self.settle_ahead(record, *revision, *after, error).await?.into());
        }
        let mut tx = self.begin(OPERATION).await?;
        if record.finding.is_verification() {
            // Nothing in flight carries the token: the lane itself keeps the next holder away
            // until this is written.
            self.at("record.lane").await;
            if !Self::hold_lane(&mut tx, &record.lane, false).await? {
                return Ok(Recorded::Refused);
            }
        }
        self.at("record.effect").await;
        let rows = self.update_effect(&mut tx, record).await?;
        if rows == 0 {
            tx.rollback().await.map_err(failed(OPERATION))?;
            return Ok(Recorded::Refused);
        }
        self.at("record.event").await;
        let has_died = if let Finding::Dead { error, .. } = &record.finding {
            bury(&mut tx, record, error).await?
        } else {
            map_event(&mut tx, record).await?;
            false
        };
        self.at("record.commit").await;
        crate::crash::point!("r15.record_written");
        tx.commit().await.map_err(failed(OPERATION))?;
        Ok(if has_died { Recorded::Died } else { fenced(rows).into() })
    }

    async fn update_effect(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        record: &Record,
    ) -> Result<u64> {
        let wait = record.verify_after.map(seconds);
        let led = |sql: &'static str| -> Statement {
            sqlx::query(sql)
                .bind(record.lane.connection.0)
                .bind(record.uid.as_str().to_owned())
                .bind(record.lane.token)
                .bind(wait)
        };
        let statement = match &record.finding {
            Finding::Present { revision, digest, etag, .. } => {
                led(PRESENT).bind(*revision).bind(bytes(*digest)).bind(etag.clone())
            }
            Finding::Absent { revision } => led(ABSENT).bind(*revision),
            Finding::Gone => led(GONE),
            Finding::NotApplied { after, error, rejected } => {
                led(NOT_APPLIED).bind(seconds(*after)).bind(error.clone()).bind(*rejected)
            }
            Finding::Unknown { after, error, rejected } => {
                led(UNKNOWN).bind(seconds(*after)).bind(error.clone()).bind(*rejected)
            }
            Finding::Dead { error, unknown: false } => led(DEAD_SURELY).bind(error.clone()),
            Finding::Dead { error, unknown: true } => led(DEAD_UNKNOWN).bind(error.clone()),
            Finding::Ahead { .. } => unreachable!("settled in a transaction of its own"),
            Finding::Verified => led(VERIFIED),
            Finding::Unverified => led(UNVERIFIED),
            Finding::Differs { present, etag, passed } => {
                let there = present.map(|(revision, digest)| (revision, bytes(digest)));
                let (revision, digest) = there.unzip();
                led(DIFFERS).bind(revision).bind(digest).bind(etag.clone()).bind(*passed)
            }
        };
        let done = statement.execute(&mut **tx).await.map_err(failed(OPERATION))?;
        Ok(done.rows_affected())
    }

    pub(super) async fn read_external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>> {
        // Without a connection it is not ours yet.
        const READ: &str = "
            SELECT provider_id, connection_id, calendar_provider, external_event_id, ical_uid,
                   provider_uid, sync_status, generation, applied_revision, etag, start_time,
                   end_time, is_busy
              FROM external_calendar_events
             WHERE ical_uid = $1 AND connection_id IS NOT NULL
             ORDER BY connection_id";
        let rows = sqlx::query(READ)
            .bind(uid.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read external events"))?;
        rows.iter().map(external_event).collect()
    }
}

/// Keeps the booking application's own table in step with what was acknowledged.
async fn map_event(tx: &mut Transaction<'static, Postgres>, record: &Record) -> Result<()> {
    const STANDS: &str = "
        INSERT INTO external_calendar_events AS x
               (provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
                start_time, end_time, is_busy, checksum, sync_status, connection_id, provider_uid,
                generation, etag, applied_revision)
        SELECT c.provider_id, c.kind, $3, e.ical_uid, b.booking_id, $4, $5, true, $6, 'CREATED',
               e.connection_id, $7, e.generation, e.etag, e.applied_revision
          FROM effects e
          JOIN connections c USING (connection_id)
          JOIN bookings b USING (ical_uid)
         WHERE e.connection_id = $1 AND e.ical_uid = $2
        ON CONFLICT (connection_id, ical_uid) DO UPDATE
           SET external_event_id = excluded.external_event_id, start_time = excluded.start_time,
               end_time = excluded.end_time, is_busy = true, checksum = excluded.checksum,
               sync_status = CASE WHEN x.external_event_id = excluded.external_event_id
                                   AND x.sync_status <> 'CANCELLED' THEN 'UPDATED'
                             ELSE 'CREATED' END,
               last_error = NULL, provider_uid = COALESCE(excluded.provider_uid, x.provider_uid),
               generation = excluded.generation, etag = excluded.etag,
               applied_revision = excluded.applied_revision, updated_at = clock_timestamp()";
    const CANCELLED: &str = "
        UPDATE external_calendar_events
           SET sync_status = 'CANCELLED', is_busy = false, etag = NULL, last_error = NULL,
               applied_revision = COALESCE($3, applied_revision), updated_at = clock_timestamp()
         WHERE connection_id = $1 AND ical_uid = $2";
    let led = |sql: &'static str| -> Statement {
        sqlx::query(sql).bind(record.lane.connection.0).bind(record.uid.as_str().to_owned())
    };
    let statements: Vec<Statement> = match &record.finding {
        Finding::Present { digest, external_id, provider_uid, start, end, .. } => {
            vec![
                led(STANDS)
                    .bind(external_id.clone())
                    .bind(*start)
                    .bind(*end)
                    .bind(digest.to_string())
                    .bind(provider_uid.clone()),
            ]
        }
        Finding::Absent { revision } => vec![led(CANCELLED).bind(Some(*revision))],
        Finding::Gone | Finding::Differs { present: None, .. } => {
            vec![led(CANCELLED).bind(None::<i64>)]
        }
        Finding::Dead { .. }
        | Finding::Ahead { .. }
        | Finding::NotApplied { .. }
        | Finding::Unknown { .. }
        | Finding::Verified
        | Finding::Unverified
        | Finding::Differs { present: Some(_), .. } => Vec::new(),
    };
    for statement in statements {
        statement.execute(&mut **tx).await.map_err(failed(OPERATION))?;
    }
    Ok(())
}

/// Makes a dead letter of a dead effect, and says in the booking application's own table that it has
/// failed; answers whether it is dead.
async fn bury(
    tx: &mut Transaction<'static, Postgres>,
    record: &Record,
    error: &str,
) -> Result<bool> {
    const LETTER: &str = "
        INSERT INTO dead_letters (class, reason, effect_uid, effect_connection)
        SELECT $4, $3, ical_uid, connection_id FROM effects
         WHERE connection_id = $1 AND ical_uid = $2 AND dead";
    const FAILED: &str = "
        UPDATE external_calendar_events
           SET sync_status = 'FAILED', last_error = $3, updated_at = clock_timestamp()
         WHERE connection_id = $1 AND ical_uid = $2";
    let led = |sql: &'static str| {
        sqlx::query(sql).bind(record.lane.connection.0).bind(record.uid.as_str()).bind(error)
    };
    let letters = led(LETTER).bind(EFFECT_REJECTED).execute(&mut **tx).await;
    if letters.map_err(failed(OPERATION))?.rows_affected() == 0 {
        return Ok(false);
    }
    led(FAILED).execute(&mut **tx).await.map_err(failed(OPERATION))?;
    Ok(true)
}

fn external_event(row: &PgRow) -> Result<ExternalEvent> {
    let (uid, kind): (&str, &str) = (row.get("ical_uid"), row.get("calendar_provider"));
    let wrong =
        |column, detail: &str| inconsistent("external_calendar_events", column, uid, detail);
    Ok(ExternalEvent {
        provider: ProviderId(row.get("provider_id")),
        connection: ConnectionId(row.get("connection_id")),
        kind: CalendarKind::parse(kind).ok_or_else(|| wrong("calendar_provider", kind))?,
        external_id: row.get("external_event_id"),
        uid: IcalUid::parse(uid).map_err(|error| wrong("ical_uid", &error.to_string()))?,
        provider_uid: row.get("provider_uid"),
        sync_status: row.get("sync_status"),
        generation: row.get("generation"),
        applied_revision: row.get("applied_revision"),
        etag: row.get("etag"),
        start: row.get("start_time"),
        end: row.get("end_time"),
        is_busy: row.get("is_busy"),
    })
}
