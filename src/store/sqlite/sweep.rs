//! Sweeps (rule R20): how far each connection's is, and what a page of it says of the rows.

use std::time::Duration;

use ::booking::{ConnectionId, Digest, IcalUid};
use sqlx::sqlite::SqliteConnection;

use super::drift::note_found;
use super::lane::is_ours;
use super::row::{Values, list};
use super::{SqliteStore, fault, fenced};
use crate::store::sweeping::of_a_row;
use crate::store::{
    DriftKind, Fenced, LAST_STAGE, LaneLease, Missing, Result, Sweep, SweepProgress, SweepStep,
    SweptPage, SweptRow, later,
};

/// SQL: what is known to be otherwise with the event of the row `e` since it was last acknowledged or
/// listed. `?2` is the hour.
macro_rules! row_drift {
    () => {
        concat!(
            "(SELECT d.kind FROM drift AS d
           WHERE d.connection_id = e.connection_id AND d.ical_uid = e.ical_uid
             AND d.kind IN ",
            $crate::store::sweeping::of_a_row!(),
            "
             AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at OR e.verify_at <= ?2)
           ORDER BY d.seen_at DESC LIMIT 1)"
        )
    };
}

pub(super) use row_drift;

/// SQL: whether the row `e` of the connection `?1` says that the calendar holds an event that has not
/// ended at `?2`, carries our marker, and is not known to be deleted.
macro_rules! known {
    () => {
        "e.connection_id = ?1 AND e.applied_digest IS NOT NULL AND e.desired_digest IS NOT NULL
         AND e.flight_verb IS NULL
         AND (e.adopted_id IS NULL OR e.generation > 0 OR e.seen_at IS NOT NULL)
         AND EXISTS (SELECT 1 FROM external_calendar_events AS x
                      WHERE x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                        AND x.end_time > strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1e6, 'unixepoch'))
         AND NOT EXISTS (SELECT 1 FROM drift AS d
                          WHERE d.connection_id = e.connection_id AND d.ical_uid = e.ical_uid
                            AND d.kind IN ('deleted', 'unmarked')
                            AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at))"
    };
}

/// SQL: whether the sweep `s` has not found the event of the row `e`.
macro_rules! not_found {
    () => {
        "(CASE WHEN s.is_full THEN e.seen_at IS NULL OR e.seen_at < s.began_at
               ELSE e.gone_at >= s.began_at AND (e.seen_at IS NULL OR e.seen_at < e.gone_at) END)"
    };
}

/// SQL: has a row read by its name as soon as nothing is owed; one that is to be read anyway keeps its
/// hour, or an open attempt could land after it (rule R14). `?2` is the hour, `?3` [`LAST_STAGE`].
macro_rules! verify_soon {
    () => {
        "UPDATE effects AS e
            SET verify_from_generation = e.generation, verify_deletes = FALSE, verify_stage = ?3,
                verify_at = ?2
          WHERE e.verify_at IS NULL AND e.connection_id = ?1 AND "
    };
}

/// See [`crate::store::Store::sweep`].
pub(super) async fn sweep(store: &SqliteStore, lane: &LaneLease) -> Result<Sweep> {
    const READ: &str = "SELECT *, due_at <= ?2 AS is_due FROM sweeps WHERE connection_id = ?1";
    let row = sqlx::query(READ)
        .bind(lane.connection.to_string())
        .bind(store.now())
        .fetch_optional(&store.read)
        .await
        .map_err(fault("read how far a sweep is"))?;
    let Some(row) = row else {
        return Ok(Sweep::default());
    };
    let row = Values::of(&row, "sweeps", "connection_id");
    let progress = match row.get::<Option<i64>>("began_at")? {
        None => None,
        Some(_) => Some(SweepProgress {
            is_full: row.get("is_full")?,
            page: row.get("page")?,
            pages: row.get("pages")?,
            removals: row.get("removals")?,
            failures: row.get("failures")?,
        }),
    };
    Ok(Sweep {
        is_due: row.get("is_due")?,
        since: row.get("since")?,
        partial: row.get("partial")?,
        progress,
        is_excused: row.get("excused")?,
        halted: row.get("halted")?,
    })
}

/// See [`crate::store::Store::step_sweep`].
pub(super) async fn step_sweep(
    store: &SqliteStore,
    lane: &LaneLease,
    step: &SweepStep,
) -> Result<Fenced> {
    const PLAN: &str = "
        INSERT INTO sweeps (connection_id, due_at, result, result_at)
        VALUES (?1, ?3, ?4, CASE WHEN ?4 IS NOT NULL THEN ?2 END)
        ON CONFLICT (connection_id) DO UPDATE
           SET due_at = excluded.due_at, result = COALESCE(excluded.result, result),
               result_at = COALESCE(excluded.result_at, result_at)";
    const PUT_OFF: &str = "
        UPDATE sweeps SET due_at = ?3, result = ?4, result_at = ?2, failures = failures + 1
         WHERE connection_id = ?1";
    const BEGIN: &str = "
        UPDATE sweeps
           SET began_at = ?2, is_full = (?3 OR excused OR since IS NULL),
               since = CASE WHEN ?3 OR excused THEN NULL ELSE since END, page = NULL, pages = 0,
               removals = 0, failures = 0, result = COALESCE(?4, result),
               result_at = CASE WHEN ?4 IS NULL THEN result_at ELSE ?2 END
         WHERE connection_id = ?1";
    const HALT: &str = "
        UPDATE sweeps
           SET halted = ?3, result = ?3, result_at = ?2, since = NULL, began_at = NULL, page = NULL
         WHERE connection_id = ?1";
    const OPERATION: &str = "take a sweep on";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_ours(&mut tx, lane, None).await.map_err(fault(OPERATION))? {
        return Ok(Fenced::Refused);
    }
    let led = |sql: &'static str| sqlx::query(sql).bind(lane.connection.to_string()).bind(now);
    let statement = match step {
        SweepStep::Plan { after, result } => {
            led(PLAN).bind(after.map(|after| later(now, after))).bind(result.clone())
        }
        SweepStep::PutOff { after, result } => {
            led(PUT_OFF).bind(later(now, *after)).bind(result.clone())
        }
        SweepStep::Begin { full, result } => led(BEGIN).bind(*full).bind(result.clone()),
        SweepStep::Halt { reason } => led(HALT).bind(reason.clone()),
        SweepStep::End { since, after, verify_drift, result } => {
            settle(&mut tx, lane, now).await.map_err(fault(OPERATION))?;
            verify_missing(&mut tx, lane, *verify_drift, now).await.map_err(fault(OPERATION))?;
            led(END).bind(since.clone()).bind(later(now, *after)).bind(result.clone())
        }
    };
    let done = statement.execute(&mut *tx).await.map_err(fault(OPERATION))?;
    if done.rows_affected() == 0 {
        return Ok(Fenced::Refused);
    }
    crate::crash::point!("r20.end_written", if matches!(step, SweepStep::End { .. }));
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(fenced(done.rows_affected()))
}

const END: &str = "
    UPDATE sweeps
       SET since = ?3, due_at = ?4, partial = CASE WHEN is_full THEN 0 ELSE partial + 1 END,
           began_at = NULL, page = NULL, excused = FALSE, result = ?5, result_at = ?2
     WHERE connection_id = ?1 AND began_at IS NOT NULL";

/// Has what was not found read by its name; where asked, also what is known to be otherwise.
async fn verify_missing(
    conn: &mut SqliteConnection,
    lane: &LaneLease,
    verify_drift: bool,
    now: i64,
) -> sqlx::Result<()> {
    const MISSING: &str = concat!(
        verify_soon!(),
        "EXISTS (SELECT 1 FROM sweeps AS s
                  WHERE s.connection_id = ?1 AND s.began_at IS NOT NULL AND ",
        not_found!(),
        ") AND ",
        known!()
    );
    const DRIFTED: &str = concat!(verify_soon!(), row_drift!(), " IS NOT NULL");
    let statements: &[&'static str] = if verify_drift { &[MISSING, DRIFTED] } else { &[MISSING] };
    for statement in statements {
        sqlx::query(*statement)
            .bind(lane.connection.to_string())
            .bind(now)
            .bind(LAST_STAGE)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// A copy that a full scan did not come by is not there any more. A row's own drift is settled once
/// its event was acknowledged, or seen as it should be, or has ended, or is wanted no more.
async fn settle(conn: &mut SqliteConnection, lane: &LaneLease, now: i64) -> sqlx::Result<()> {
    const SETTLED: &str = concat!(
        "
        DELETE FROM drift AS d
         WHERE d.connection_id = ?1
           AND CASE WHEN d.kind IN ",
        of_a_row!(),
        " THEN NOT EXISTS (
                SELECT 1 FROM effects AS e
                 WHERE e.connection_id = ?1 AND e.ical_uid = d.ical_uid
                   AND e.desired_digest IS NOT NULL AND e.applied_digest IS NOT NULL
                   AND NOT EXISTS (
                        SELECT 1 FROM external_calendar_events AS x
                         WHERE x.connection_id = ?1 AND x.ical_uid = e.ical_uid
                           AND x.end_time <= strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1e6, 'unixepoch'))
                   AND (e.seen_at IS NULL OR e.seen_at <= d.seen_at OR e.verify_at <= ?2))
               ELSE EXISTS (
                SELECT 1 FROM sweeps AS s
                 WHERE s.connection_id = ?1 AND s.is_full AND d.seen_at < s.began_at) END"
    );
    sqlx::query(SETTLED).bind(lane.connection.to_string()).bind(now).execute(conn).await?;
    Ok(())
}

/// See [`crate::store::Store::swept_rows`].
pub(super) async fn swept_rows(
    store: &SqliteStore,
    lane: &LaneLease,
    uids: &[IcalUid],
    external_ids: &[String],
) -> Result<Vec<SweptRow>> {
    const READ: &str = concat!(
        "
        SELECT e.ical_uid, e.generation, e.adopted_id, e.applied_revision, e.applied_digest,
               e.desired_digest IS NOT NULL AS is_wanted, x.external_event_id,
               COALESCE(x.end_time <= strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1e6, 'unixepoch'), FALSE)
                   AS has_ended, ",
        row_drift!(),
        " AS drift
          FROM effects AS e
          LEFT JOIN external_calendar_events AS x
                 ON x.connection_id = e.connection_id AND x.ical_uid = e.ical_uid
                AND x.generation = e.generation
         WHERE e.connection_id = ?1
           AND e.ical_uid IN (
                SELECT value FROM json_each(?3)
                UNION
                SELECT named.ical_uid
                  FROM connections AS c
                  JOIN external_calendar_events AS named
                    ON named.provider_id = c.provider_id AND named.calendar_provider = c.kind
                   AND named.connection_id = c.connection_id
                 WHERE c.connection_id = ?1
                   AND named.external_event_id IN (SELECT value FROM json_each(?4)))
         ORDER BY e.ical_uid"
    );
    let rows = sqlx::query(READ)
        .bind(lane.connection.to_string())
        .bind(store.now())
        .bind(list(uids))
        .bind(list(external_ids))
        .fetch_all(&store.read)
        .await
        .map_err(fault("read the rows that a sweep comes by"))?;
    let read = |row| {
        let row = Values::of(row, "effects", "ical_uid");
        let applied = row.parsed_maybe("applied_digest", Digest::parse)?;
        Ok(SweptRow {
            uid: row.parsed("ical_uid", |text| IcalUid::parse(text).ok())?,
            generation: row.get("generation")?,
            adopted_id: row.get("adopted_id")?,
            server_id: row.get("external_event_id")?,
            applied: row.get::<Option<i64>>("applied_revision")?.zip(applied),
            is_wanted: row.get("is_wanted")?,
            has_ended: row.get("has_ended")?,
            drift: row.parsed_maybe("drift", DriftKind::parse)?,
        })
    };
    rows.iter().map(read).collect()
}

/// See [`crate::store::Store::sweep_page`].
pub(super) async fn sweep_page(
    store: &SqliteStore,
    lane: &LaneLease,
    page: &SweptPage,
) -> Result<Option<Vec<String>>> {
    const OPERATION: &str = "write down a page of a sweep";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_ours(&mut tx, lane, None).await.map_err(fault(OPERATION))? {
        return Ok(None);
    }
    let Some(news) = write_page(&mut tx, lane, page, now).await.map_err(fault(OPERATION))? else {
        return Ok(None);
    };
    crate::crash::point!("r20.page_written");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Some(news))
}

async fn write_page(
    conn: &mut SqliteConnection,
    lane: &LaneLease,
    page: &SweptPage,
    now: i64,
) -> sqlx::Result<Option<Vec<String>>> {
    const PAGE: &str = "
        UPDATE sweeps
           SET page = COALESCE(?2, page), pages = pages + 1, removals = removals + ?3, failures = 0
         WHERE connection_id = ?1 AND began_at IS NOT NULL";
    // That an event is there settles nothing of what is otherwise with it: before it is seen.
    const STANDS: &str = concat!(
        "UPDATE drift AS d SET seen_at = ?2
          WHERE d.connection_id = ?1 AND d.kind IN ",
        of_a_row!(),
        "
            AND d.ical_uid IN (SELECT value FROM json_each(?3))
            AND EXISTS (
                SELECT 1 FROM effects AS e
                 WHERE e.connection_id = ?1 AND e.ical_uid = d.ical_uid
                   AND (e.seen_at IS NULL OR d.seen_at >= e.seen_at))"
    );
    const SEEN: &str = "
        UPDATE effects SET seen_at = ?2
         WHERE connection_id = ?1 AND ical_uid IN (SELECT value FROM json_each(?3))";
    const GONE: &str = "
        UPDATE effects SET gone_at = ?2
         WHERE connection_id = ?1 AND ical_uid IN (SELECT value FROM json_each(?3))";
    const VERIFY: &str = concat!(verify_soon!(), "e.ical_uid IN (SELECT value FROM json_each(?4))");
    const VANISHED: &str = concat!(
        "DELETE FROM drift
          WHERE connection_id = ?1 AND external_id IN (SELECT value FROM json_each(?2))
            AND kind NOT IN ",
        of_a_row!()
    );
    let connection = lane.connection.to_string();
    let paged = sqlx::query(PAGE).bind(connection.clone()).bind(page.next.clone());
    let paged = paged.bind(page.removals);
    if paged.execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(None);
    }
    for (statement, uids) in [(STANDS, &page.verify), (SEEN, &page.seen), (GONE, &page.gone)] {
        let statement = sqlx::query(statement).bind(connection.clone()).bind(now).bind(list(uids));
        statement.execute(&mut *conn).await?;
    }
    let verify = sqlx::query(VERIFY).bind(connection.clone()).bind(now).bind(LAST_STAGE);
    verify.bind(list(&page.verify)).execute(&mut *conn).await?;
    let mut news = Vec::new();
    for found in &page.found {
        if note_found(conn, lane, found, now).await? {
            news.push(found.external_id.clone());
        }
    }
    let vanished = sqlx::query(VANISHED).bind(connection).bind(list(&page.vanished));
    vanished.execute(&mut *conn).await?;
    Ok(Some(news))
}

/// See [`crate::store::Store::missing`].
pub(super) async fn missing(
    store: &SqliteStore,
    lane: &LaneLease,
    lag: Duration,
) -> Result<Missing> {
    const COUNT: &str = concat!(
        "SELECT COUNT(*) AS known, COALESCE(SUM(COALESCE(",
        not_found!(),
        ", FALSE)), 0) AS missing
           FROM effects AS e JOIN sweeps AS s USING (connection_id)
          WHERE NOT (s.is_full AND e.seen_at IS NOT NULL
                     AND e.seen_at < s.began_at AND e.seen_at >= s.began_at - ?3) AND ",
        known!()
    );
    let row = sqlx::query(COUNT)
        .bind(lane.connection.to_string())
        .bind(store.now())
        .bind(later(0, lag))
        .fetch_one(&store.read)
        .await
        .map_err(fault("count what a sweep did not find"))?;
    let row = Values::of(&row, "effects", "connection_id");
    let count = |column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(Missing { known: count("known")?, missing: count("missing")? })
}

/// See [`crate::store::Store::resume_sweep`].
pub(super) async fn resume_sweep(store: &SqliteStore, id: ConnectionId) -> Result<bool> {
    const RESUME: &str = "
        UPDATE sweeps
           SET halted = NULL, excused = TRUE, since = NULL, began_at = NULL, page = NULL,
               due_at = ?2
         WHERE connection_id = ?1 AND halted IS NOT NULL";
    let done = sqlx::query(RESUME)
        .bind(id.to_string())
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("resume a sweep"))?;
    Ok(done.rows_affected() == 1)
}
