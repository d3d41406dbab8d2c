//! What is otherwise in a calendar than we left it (rule R20): kept for people until it is settled.

use booking::{ConnectionId, IcalUid};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};

use super::rows::inconsistent;
use super::{PostgresStore, failed};
use crate::store::sweeping::of_a_row;
use crate::store::{DRIFT_MAX, Drift, DriftKind, DriftNote, FoundDrift, LaneLease, Result};

impl PostgresStore {
    pub(super) async fn note_row_drift(&self, note: &DriftNote) -> Result<Option<bool>> {
        const FORMER: &str = concat!(
            "DELETE FROM drift
              WHERE connection_id = $1 AND ical_uid = $2 AND external_id IS DISTINCT FROM $3
                AND kind IN ",
            of_a_row!()
        );
        const KNOWN: &str =
            "SELECT kind FROM drift WHERE connection_id = $1 AND external_id = $2 FOR UPDATE";
        const NOTE: &str = "
            INSERT INTO drift AS d (connection_id, external_id, ical_uid, kind)
            SELECT $1, $2, $3, $4
             WHERE (SELECT count(*) FROM drift WHERE connection_id = $1) < $5 OR $6
            ON CONFLICT (connection_id, external_id) DO UPDATE
               SET ical_uid = excluded.ical_uid, kind = excluded.kind, seen_at = clock_timestamp(),
                   since = CASE WHEN d.kind = excluded.kind THEN d.since ELSE clock_timestamp() END";
        const OPERATION: &str = "write down what is otherwise with an event";
        let failed = failed(OPERATION);
        let connection = note.lane.connection.0;
        let mut tx = self.begin(OPERATION).await?;
        self.at("drift.lane").await;
        if !Self::hold_lane(&mut tx, &note.lane, false).await? {
            return Ok(None);
        }
        self.at("drift.note").await;
        let kept = note.kind.map(|_| note.external_id.as_str());
        let former = sqlx::query(FORMER).bind(connection).bind(note.uid.as_str()).bind(kept);
        former.execute(&mut *tx).await.map_err(&failed)?;
        let mut is_news = false;
        if let Some(kind) = note.kind {
            let known: Option<String> = sqlx::query_scalar(KNOWN)
                .bind(connection)
                .bind(&note.external_id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(&failed)?;
            let is_other = known.as_deref() != Some(kind.name());
            let noted = sqlx::query(NOTE)
                .bind(connection)
                .bind(&note.external_id)
                .bind(note.uid.as_str())
                .bind(kind.name())
                .bind(i64::from(DRIFT_MAX))
                .bind(known.is_some())
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            is_news = is_other && noted.rows_affected() > 0;
        }
        tx.commit().await.map_err(&failed)?;
        Ok(Some(is_news))
    }

    pub(super) async fn read_drift(&self, id: ConnectionId) -> Result<Vec<Drift>> {
        const READ: &str = "
            SELECT connection_id, external_id, ical_uid, kind, since
              FROM drift WHERE connection_id = $1 ORDER BY external_id LIMIT $2";
        let rows = sqlx::query(READ)
            .bind(id.0)
            .bind(i64::from(DRIFT_MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read what is otherwise in a calendar"))?;
        rows.iter().map(drift).collect()
    }
}

/// Answers the names that were not known before.
pub(super) async fn note_found(
    tx: &mut Transaction<'static, Postgres>,
    lane: &LaneLease,
    found: &[FoundDrift],
) -> Result<Vec<String>> {
    const AGAIN: &str = "
        UPDATE drift d SET seen_at = clock_timestamp(), ical_uid = w.uid, kind = w.kind
          FROM UNNEST($2::text[], $3::text[], $4::text[]) AS w (id, uid, kind)
         WHERE d.connection_id = $1 AND d.external_id = w.id";
    const NEW: &str = "
        INSERT INTO drift (connection_id, external_id, ical_uid, kind)
        SELECT $1, w.id, w.uid, w.kind
          FROM UNNEST($2::text[], $3::text[], $4::text[]) AS w (id, uid, kind)
         WHERE NOT EXISTS (SELECT 1 FROM drift d
                            WHERE d.connection_id = $1 AND d.external_id = w.id)
         ORDER BY w.id
         LIMIT GREATEST(0, $5 - (SELECT count(*) FROM drift WHERE connection_id = $1))
        ON CONFLICT DO NOTHING
        RETURNING external_id";
    let failed = failed("write down what a sweep has found");
    let ids: Vec<&str> = found.iter().map(|one| one.external_id.as_str()).collect();
    let uids: Vec<_> = found.iter().map(|one| one.uid.as_ref().map(IcalUid::as_str)).collect();
    let kinds: Vec<&str> = found.iter().map(|one| one.kind.name()).collect();
    let again = sqlx::query(AGAIN).bind(lane.connection.0).bind(&ids).bind(&uids).bind(&kinds);
    again.execute(&mut **tx).await.map_err(&failed)?;
    let news = sqlx::query_scalar(NEW)
        .bind(lane.connection.0)
        .bind(&ids)
        .bind(&uids)
        .bind(&kinds)
        .bind(i64::from(DRIFT_MAX));
    news.fetch_all(&mut **tx).await.map_err(&failed)
}

/// The kind of a row's drift, if there is any.
pub(super) fn kind(
    row: &PgRow,
    column: &str,
    key: impl std::fmt::Display,
) -> Result<Option<DriftKind>> {
    let Some(name) = row.get::<Option<&str>, _>(column) else {
        return Ok(None);
    };
    let kind = DriftKind::parse(name);
    kind.map(Some).ok_or_else(|| inconsistent("drift", "kind", key, name))
}

fn drift(row: &PgRow) -> Result<Drift> {
    let external_id: String = row.get("external_id");
    let uid = row.get::<Option<&str>, _>("ical_uid").map(IcalUid::parse).transpose();
    let uid = uid.map_err(|error| inconsistent("drift", "ical_uid", &external_id, error))?;
    let kind = kind(row, "kind", &external_id)?
        .ok_or_else(|| inconsistent("drift", "kind", &external_id, "nothing"))?;
    Ok(Drift {
        connection: ConnectionId(row.get("connection_id")),
        uid,
        kind,
        since: row.get("since"),
        external_id,
    })
}
