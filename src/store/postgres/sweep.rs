//! Sweeps (rule R20): how far each connection's is, and what a page of it says of the rows.

use std::time::Duration;

use booking::{ConnectionId, IcalUid};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};

use super::drift::{kind, note_found};
use super::rows::{digest, uid};
use super::{PostgresStore, failed, fenced, seconds};
use crate::store::sweeping::of_a_row;
use crate::store::{
    Fenced, LAST_STAGE, LaneLease, Missing, Result, Sweep, SweepProgress, SweepStep, SweptPage,
    SweptRow,
};

/// SQL: what is known to be otherwise with the event of the row `e` since it was last acknowledged or
/// listed.
macro_rules! row_drift {
    () => {
        concat!(
            "(SELECT d.kind FROM drift d
           WHERE d.connection_id = e.connection_id AND d.ical_uid = e.ical_uid
             AND d.kind IN ",
            $crate::store::sweeping::of_a_row!(),
            "
             AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at
                  OR e.verify_at <= clock_timestamp())
           ORDER BY d.seen_at DESC LIMIT 1)"
        )
    };
}

pub(super) use row_drift;

/// SQL: whether the row `e` says that the calendar holds an event that has not ended, carries our
/// marker, and is not known to be deleted.
macro_rules! known {
    () => {
        "e.connection_id = $1 AND e.applied_digest IS NOT NULL AND e.desired_digest IS NOT NULL
         AND e.flight_verb IS NULL
         AND (e.adopted_id IS NULL OR e.generation > 0 OR e.seen_at IS NOT NULL)
         AND EXISTS (SELECT 1 FROM external_calendar_events x
                      WHERE x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                        AND x.end_time > clock_timestamp())
         AND NOT EXISTS (SELECT 1 FROM drift d
                          WHERE d.connection_id = e.connection_id AND d.ical_uid = e.ical_uid
                            AND d.kind IN ('deleted', 'unmarked')
                            AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at))"
    };
}

/// SQL: whether the sweep `s` has not found the event of the row `e`.
macro_rules! not_found {
    () => {
        "CASE WHEN s.is_full THEN e.seen_at IS NULL OR e.seen_at < s.began_at
              ELSE e.gone_at >= s.began_at AND (e.seen_at IS NULL OR e.seen_at < e.gone_at) END"
    };
}

/// SQL: has a row read by its name as soon as nothing is owed; one that is to be read anyway keeps its
/// hour, or an open attempt could land after it (rule R14). `$2` is [`LAST_STAGE`].
macro_rules! verify_soon {
    () => {
        "verify_from_generation = CASE WHEN e.verify_at IS NULL THEN e.generation
                                  ELSE e.verify_from_generation END,
         verify_deletes = e.verify_at IS NOT NULL AND e.verify_deletes,
         verify_stage = CASE WHEN e.verify_at IS NULL THEN $2 ELSE e.verify_stage END,
         verify_at = COALESCE(e.verify_at, clock_timestamp())"
    };
}

impl PostgresStore {
    pub(super) async fn read_sweep(&self, lane: &LaneLease) -> Result<Sweep> {
        const READ: &str = "
            SELECT since, began_at, is_full, page, pages, removals, failures, partial, excused,
                   halted, due_at <= clock_timestamp() AS is_due
              FROM sweeps WHERE connection_id = $1";
        self.at("sweep").await;
        let row = sqlx::query(READ)
            .bind(lane.connection.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read how far a sweep is"))?;
        let Some(row) = row else {
            return Ok(Sweep::default());
        };
        let progress = SweepProgress {
            is_full: row.get("is_full"),
            page: row.get("page"),
            pages: row.get("pages"),
            removals: row.get("removals"),
            failures: row.get("failures"),
        };
        Ok(Sweep {
            is_due: row.get("is_due"),
            since: row.get("since"),
            partial: row.get("partial"),
            progress: row.get::<Option<DateTime<Utc>>, _>("began_at").map(|_| progress),
            is_excused: row.get("excused"),
            halted: row.get("halted"),
        })
    }

    pub(super) async fn take_sweep_on(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced> {
        const PLAN: &str = "
            INSERT INTO sweeps AS s (connection_id, due_at, result, result_at)
            SELECT $1, clock_timestamp() + make_interval(secs => $2), $3,
                   CASE WHEN $3 IS NOT NULL THEN clock_timestamp() END
            ON CONFLICT (connection_id) DO UPDATE
               SET due_at = excluded.due_at, result = COALESCE(excluded.result, s.result),
                   result_at = COALESCE(excluded.result_at, s.result_at)";
        const PUT_OFF: &str = "
            UPDATE sweeps
               SET due_at = clock_timestamp() + make_interval(secs => $2), result = $3,
                   result_at = clock_timestamp(), failures = failures + 1
             WHERE connection_id = $1";
        const BEGIN: &str = "
            UPDATE sweeps
               SET began_at = clock_timestamp(), is_full = $2 OR excused OR since IS NULL,
                   since = CASE WHEN $2 OR excused THEN NULL ELSE since END, page = NULL, pages = 0,
                   removals = 0, failures = 0, result = COALESCE($3, result),
                   result_at = CASE WHEN $3 IS NULL THEN result_at ELSE clock_timestamp() END
             WHERE connection_id = $1";
        const HALT: &str = "
            UPDATE sweeps
               SET halted = $2, result = $2, result_at = clock_timestamp(), since = NULL,
                   began_at = NULL, page = NULL
             WHERE connection_id = $1";
        const OPERATION: &str = "take a sweep on";
        let mut tx = self.begin(OPERATION).await?;
        self.at("sweep.lane").await;
        if !Self::hold_lane(&mut tx, lane, false).await? {
            return Ok(Fenced::Refused);
        }
        self.at("sweep.step").await;
        let led = |sql: &'static str| sqlx::query(sql).bind(lane.connection.0);
        let statement = match step {
            SweepStep::Plan { after, result } => {
                led(PLAN).bind(after.map(seconds)).bind(result.clone())
            }
            SweepStep::PutOff { after, result } => {
                led(PUT_OFF).bind(seconds(*after)).bind(result.clone())
            }
            SweepStep::Begin { full, result } => led(BEGIN).bind(*full).bind(result.clone()),
            SweepStep::Halt { reason } => led(HALT).bind(reason.clone()),
            SweepStep::End { .. } => return self.end_sweep(tx, lane, step).await,
        };
        let done = statement.execute(&mut *tx).await.map_err(failed(OPERATION))?;
        tx.commit().await.map_err(failed(OPERATION))?;
        Ok(fenced(done.rows_affected()))
    }

    /// What is settled goes, and the next sweep has its hour.
    async fn end_sweep(
        &self,
        mut tx: Transaction<'static, Postgres>,
        lane: &LaneLease,
        step: &SweepStep,
    ) -> Result<Fenced> {
        // A copy that a full scan did not come by is not there any more. A row's own drift is settled
        // once its event was acknowledged, or seen as it should be, or has ended, or is wanted no more.
        const SETTLED: &str = concat!(
            "
            DELETE FROM drift d USING sweeps s
             WHERE d.connection_id = $1 AND s.connection_id = $1
               AND CASE WHEN d.kind IN ",
            of_a_row!(),
            " THEN NOT EXISTS (
                    SELECT 1 FROM effects e
                     WHERE e.connection_id = $1 AND e.ical_uid = d.ical_uid
                       AND e.desired_digest IS NOT NULL AND e.applied_digest IS NOT NULL
                       AND NOT EXISTS (SELECT 1 FROM external_calendar_events x
                                        WHERE x.connection_id = $1 AND x.ical_uid = e.ical_uid
                                          AND x.end_time <= clock_timestamp())
                       AND (e.seen_at IS NULL OR e.seen_at <= d.seen_at
                            OR e.verify_at <= clock_timestamp()))
                   ELSE s.is_full AND d.seen_at < s.began_at END"
        );
        const END: &str = "
            UPDATE sweeps
               SET since = $2, due_at = clock_timestamp() + make_interval(secs => $3),
                   partial = CASE WHEN is_full THEN 0 ELSE partial + 1 END,
                   began_at = NULL, page = NULL, excused = false, result = $4,
                   result_at = clock_timestamp()
             WHERE connection_id = $1 AND began_at IS NOT NULL";
        const OPERATION: &str = "end a sweep";
        let SweepStep::End { since, after, verify_drift, result } = step else {
            unreachable!("the caller tells the steps apart")
        };
        self.at("sweep.settled").await;
        let connection = lane.connection.0;
        sqlx::query(SETTLED).bind(connection).execute(&mut *tx).await.map_err(failed(OPERATION))?;
        end_effects(&mut tx, lane, *verify_drift).await?;
        self.at("sweep.end").await;
        let done = sqlx::query(END)
            .bind(connection)
            .bind(since)
            .bind(seconds(*after))
            .bind(result)
            .execute(&mut *tx)
            .await
            .map_err(failed(OPERATION))?;
        if done.rows_affected() == 0 {
            return Ok(Fenced::Refused);
        }
        crate::crash::point!("r20.end_written");
        tx.commit().await.map_err(failed(OPERATION))?;
        Ok(Fenced::Written)
    }

    pub(super) async fn read_swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>> {
        const READ: &str = concat!(
            "
            SELECT e.ical_uid, e.generation, e.adopted_id, e.applied_revision, e.applied_digest,
                   e.desired_digest IS NOT NULL AS is_wanted, x.external_event_id,
                   COALESCE(x.end_time <= clock_timestamp(), false) AS has_ended, ",
            row_drift!(),
            " AS drift
              FROM effects e
              LEFT JOIN external_calendar_events x
                     ON x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                    AND x.generation = e.generation
             WHERE e.connection_id = $1
               AND e.ical_uid IN (
                    SELECT unnest($2::text[])
                    UNION
                    SELECT named.ical_uid
                      FROM connections c
                      JOIN external_calendar_events named
                        ON named.provider_id = c.provider_id AND named.calendar_provider = c.kind
                       AND named.connection_id = c.connection_id
                     WHERE c.connection_id = $1 AND named.external_event_id = ANY($3))
             ORDER BY e.ical_uid"
        );
        self.at("sweep.rows").await;
        let rows = sqlx::query(READ)
            .bind(lane.connection.0)
            .bind(texts(uids))
            .bind(external_ids)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read the rows that a sweep comes by"))?;
        rows.iter().map(swept_row).collect()
    }

    pub(super) async fn write_sweep_page(
        &self,
        lane: &LaneLease,
        page: &SweptPage,
    ) -> Result<Option<Vec<String>>> {
        const PAGE: &str = "
            UPDATE sweeps
               SET page = COALESCE($2, page), pages = pages + 1, removals = removals + $3,
                   failures = 0
             WHERE connection_id = $1 AND began_at IS NOT NULL";
        const ROWS: &str = "
            WITH held AS (
                SELECT ical_uid FROM effects
                 WHERE connection_id = $1
                   AND (ical_uid = ANY($2) OR ical_uid = ANY($3) OR ical_uid = ANY($4))
                 ORDER BY ical_uid FOR UPDATE)
            UPDATE effects e
               SET seen_at = CASE WHEN e.ical_uid = ANY($2) THEN $5 ELSE e.seen_at END,
                   gone_at = CASE WHEN e.ical_uid = ANY($4) THEN clock_timestamp()
                             ELSE e.gone_at END
              FROM held WHERE e.connection_id = $1 AND e.ical_uid = held.ical_uid";
        const VERIFY: &str = concat!(
            "UPDATE effects e SET ",
            verify_soon!(),
            " WHERE e.connection_id = $1 AND e.ical_uid = ANY($3)"
        );
        const VANISHED: &str = concat!(
            "DELETE FROM drift WHERE connection_id = $1 AND external_id = ANY($2)
                AND kind NOT IN ",
            of_a_row!()
        );
        const OPERATION: &str = "write down a page of a sweep";
        let mut tx = self.begin(OPERATION).await?;
        self.at("sweep.lane").await;
        if !Self::hold_lane(&mut tx, lane, false).await? {
            return Ok(None);
        }
        self.at("sweep.page").await;
        let connection = lane.connection.0;
        let failed = failed(OPERATION);
        let paged = sqlx::query(PAGE).bind(connection).bind(&page.next).bind(page.removals);
        let paged = paged.execute(&mut *tx).await;
        if paged.map_err(&failed)?.rows_affected() == 0 {
            return Ok(None);
        }
        let now = still_otherwise(&mut tx, lane, &page.verify).await.map_err(&failed)?;
        self.at("sweep.effects").await;
        let statement = sqlx::query(ROWS)
            .bind(connection)
            .bind(texts(&page.seen))
            .bind(texts(&page.verify))
            .bind(texts(&page.gone))
            .bind(now);
        statement.execute(&mut *tx).await.map_err(&failed)?;
        let statement =
            sqlx::query(VERIFY).bind(connection).bind(LAST_STAGE).bind(texts(&page.verify));
        statement.execute(&mut *tx).await.map_err(&failed)?;
        self.at("sweep.drift").await;
        let news = note_found(&mut tx, lane, &page.found).await?;
        let statement = sqlx::query(VANISHED).bind(connection).bind(&page.vanished);
        statement.execute(&mut *tx).await.map_err(&failed)?;
        crate::crash::point!("r20.page_written");
        tx.commit().await.map_err(&failed)?;
        Ok(Some(news))
    }

    pub(super) async fn count_missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing> {
        const COUNT: &str = concat!(
            "SELECT count(*) AS known, count(*) FILTER (WHERE ",
            not_found!(),
            ") AS missing FROM effects e JOIN sweeps s USING (connection_id)
             WHERE NOT (s.is_full AND e.seen_at IS NOT NULL AND e.seen_at < s.began_at
                        AND e.seen_at >= s.began_at - make_interval(secs => $2)) AND ",
            known!()
        );
        let row = sqlx::query(COUNT)
            .bind(lane.connection.0)
            .bind(seconds(lag))
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count what a sweep did not find"))?;
        let count = |column| u64::try_from(row.get::<i64, _>(column)).unwrap_or_default();
        Ok(Missing { known: count("known"), missing: count("missing") })
    }

    pub(super) async fn resume_halted(&self, id: ConnectionId) -> Result<bool> {
        const RESUME: &str = "
            UPDATE sweeps
               SET halted = NULL, excused = true, since = NULL, began_at = NULL, page = NULL,
                   due_at = clock_timestamp()
             WHERE connection_id = $1 AND halted IS NOT NULL";
        let done = sqlx::query(RESUME)
            .bind(id.0)
            .execute(&self.pool)
            .await
            .map_err(failed("resume a sweep"))?;
        Ok(done.rows_affected() == 1)
    }
}

/// That an event is there settles nothing of what is otherwise with it: this is said first, and as of the
/// moment, which is answered, at which it is seen.
async fn still_otherwise(
    tx: &mut Transaction<'_, Postgres>,
    lane: &LaneLease,
    verify: &[IcalUid],
) -> sqlx::Result<DateTime<Utc>> {
    const STANDS: &str = concat!(
        "UPDATE drift d SET seen_at = $3 FROM effects e
          WHERE d.connection_id = $1 AND d.ical_uid = ANY($2) AND d.kind IN ",
        of_a_row!(),
        " AND e.connection_id = $1 AND e.ical_uid = d.ical_uid
            AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at)"
    );
    let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut **tx).await?;
    let stands = sqlx::query(STANDS).bind(lane.connection.0).bind(texts(verify)).bind(now);
    stands.execute(&mut **tx).await?;
    Ok(now)
}

/// Has what was not found read by its name; where asked, also what is known to be otherwise.
async fn end_effects(
    tx: &mut Transaction<'static, Postgres>,
    lane: &LaneLease,
    verify_drift: bool,
) -> Result<()> {
    const VERIFY: &str = concat!(
        "
        WITH held AS (
            SELECT e.ical_uid FROM effects e JOIN sweeps s USING (connection_id)
             WHERE e.connection_id = $1 AND s.began_at IS NOT NULL
               AND (((",
        not_found!(),
        ") AND ",
        known!(),
        ") OR ($3 AND ",
        row_drift!(),
        " IS NOT NULL))
             ORDER BY e.ical_uid FOR UPDATE OF e)
        UPDATE effects e SET ",
        verify_soon!(),
        " FROM held WHERE e.connection_id = $1 AND e.ical_uid = held.ical_uid"
    );
    sqlx::query(VERIFY)
        .bind(lane.connection.0)
        .bind(LAST_STAGE)
        .bind(verify_drift)
        .execute(&mut **tx)
        .await
        .map_err(failed("have what a sweep did not find read"))?;
    Ok(())
}

fn texts(uids: &[IcalUid]) -> Vec<&str> {
    uids.iter().map(IcalUid::as_str).collect()
}

fn swept_row(row: &PgRow) -> Result<SweptRow> {
    let applied: Option<i64> = row.get("applied_revision");
    let uid = uid(row)?;
    Ok(SweptRow {
        generation: row.get("generation"),
        adopted_id: row.get("adopted_id"),
        server_id: row.get("external_event_id"),
        applied: applied.zip(digest(row, "applied_digest")?),
        is_wanted: row.get("is_wanted"),
        has_ended: row.get("has_ended"),
        drift: kind(row, "drift", &uid)?,
        uid,
    })
}
