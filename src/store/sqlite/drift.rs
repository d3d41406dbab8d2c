//! What is otherwise in a calendar than we left it (rule R20): kept for people until it is settled.

use ::booking::{ConnectionId, IcalUid};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::lane::is_ours;
use super::row::Values;
use super::{SqliteStore, fault};
use crate::store::sweeping::of_a_row;
use crate::store::{DRIFT_MAX, Drift, DriftKind, DriftNote, FoundDrift, LaneLease, Result};

/// See [`crate::store::Store::note_drift`].
pub(super) async fn note_drift(store: &SqliteStore, note: &DriftNote) -> Result<Option<bool>> {
    const FORMER: &str = concat!(
        "DELETE FROM drift
          WHERE connection_id = ?1 AND ical_uid = ?2 AND external_id IS NOT ?3 AND kind IN ",
        of_a_row!()
    );
    const KNOWN: &str = "SELECT kind FROM drift WHERE connection_id = ?1 AND external_id = ?2";
    const NOTE: &str = "
        INSERT INTO drift (connection_id, external_id, ical_uid, kind, since, seen_at)
        SELECT ?1, ?2, ?3, ?4, ?5, ?5
         WHERE ?7 OR (SELECT COUNT(*) FROM drift WHERE connection_id = ?1) < ?6
        ON CONFLICT (connection_id, external_id) DO UPDATE
           SET ical_uid = excluded.ical_uid, seen_at = excluded.seen_at,
               since = CASE WHEN kind = excluded.kind THEN since ELSE excluded.since END,
               kind = excluded.kind";
    const OPERATION: &str = "write down what is otherwise with an event";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    if !is_ours(&mut tx, &note.lane, None).await.map_err(fault(OPERATION))? {
        return Ok(None);
    }
    let connection = note.lane.connection.to_string();
    let kept = note.kind.map(|_| note.external_id.clone());
    let former = sqlx::query(FORMER).bind(connection.clone()).bind(note.uid.to_string()).bind(kept);
    former.execute(&mut *tx).await.map_err(fault(OPERATION))?;
    let mut is_news = false;
    if let Some(kind) = note.kind {
        let known: Option<String> = sqlx::query_scalar(KNOWN)
            .bind(connection.clone())
            .bind(note.external_id.clone())
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
        let is_other = known.as_deref() != Some(kind.name());
        let noted = sqlx::query(NOTE)
            .bind(connection)
            .bind(note.external_id.clone())
            .bind(note.uid.to_string())
            .bind(kind.name())
            .bind(now)
            .bind(DRIFT_MAX)
            .bind(known.is_some())
            .execute(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
        is_news = is_other && noted.rows_affected() > 0;
    }
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Some(is_news))
}

/// Whether it was not known before.
pub(super) async fn note_found(
    conn: &mut SqliteConnection,
    lane: &LaneLease,
    found: &FoundDrift,
    now: i64,
) -> sqlx::Result<bool> {
    const AGAIN: &str = "
        UPDATE drift SET seen_at = ?3, ical_uid = ?4, kind = ?5
         WHERE connection_id = ?1 AND external_id = ?2";
    const NEW: &str = "
        INSERT INTO drift (connection_id, external_id, since, seen_at, ical_uid, kind)
        SELECT ?1, ?2, ?3, ?3, ?4, ?5
         WHERE (SELECT COUNT(*) FROM drift WHERE connection_id = ?1) < ?6";
    let led = |sql: &'static str| {
        sqlx::query(sql)
            .bind(lane.connection.to_string())
            .bind(found.external_id.clone())
            .bind(now)
            .bind(found.uid.as_ref().map(ToString::to_string))
            .bind(found.kind.name())
    };
    if led(AGAIN).execute(&mut *conn).await?.rows_affected() > 0 {
        return Ok(false);
    }
    Ok(led(NEW).bind(DRIFT_MAX).execute(conn).await?.rows_affected() > 0)
}

/// See [`crate::store::Store::drift`].
pub(super) async fn drift(store: &SqliteStore, id: ConnectionId) -> Result<Vec<Drift>> {
    const READ: &str = "SELECT * FROM drift WHERE connection_id = ?1 ORDER BY external_id LIMIT ?2";
    let rows = sqlx::query(READ)
        .bind(id.to_string())
        .bind(DRIFT_MAX)
        .fetch_all(&store.read)
        .await
        .map_err(fault("read what is otherwise in a calendar"))?;
    rows.iter().map(read_drift).collect()
}

fn read_drift(row: &SqliteRow) -> Result<Drift> {
    let row = Values::of(row, "drift", "external_id");
    Ok(Drift {
        connection: ConnectionId(row.uuid("connection_id")?),
        external_id: row.get("external_id")?,
        uid: row.parsed_maybe("ical_uid", |text| IcalUid::parse(text).ok())?,
        kind: row.parsed("kind", DriftKind::parse)?,
        since: row.time("since")?,
    })
}
