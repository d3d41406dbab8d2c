//! The cursors: how far each partition was read, and who may say so (rules R1 to R3).

use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::row::Values;
use super::{SqliteStore, fault, fenced};
use crate::store::types::LOST_STAMPS_WITHIN;
use crate::store::{Cursor, Fence, Fenced, LogFacts, Result, Resume, Stop, Witness, earlier};

/// See [`crate::store::Store::fence`].
pub(super) async fn fence(
    store: &SqliteStore,
    topic: &str,
    partitions: &[i32],
    token: Uuid,
) -> Result<Vec<Cursor>> {
    const OPERATION: &str = "fence the cursors";
    const FENCE: &str = r#"
        INSERT INTO cursors (topic, "partition", epoch, token, updated_at)
        VALUES (?1, ?2, 1, ?3, ?4)
        ON CONFLICT (topic, "partition") DO UPDATE
           SET epoch = epoch + 1, token = excluded.token, updated_at = excluded.updated_at
        RETURNING *"#;
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    let mut cursors = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let row = sqlx::query(FENCE)
            .bind(topic.to_owned())
            .bind(*partition)
            .bind(token.to_string())
            .bind(now)
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
        cursors.push(read(&row)?);
    }
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(cursors)
}

/// See [`crate::store::Store::cursor`].
pub(super) async fn cursor(
    store: &SqliteStore,
    topic: &str,
    partition: i32,
) -> Result<Option<Cursor>> {
    let row = sqlx::query(r#"SELECT * FROM cursors WHERE topic = ?1 AND "partition" = ?2"#)
        .bind(topic.to_owned())
        .bind(partition)
        .fetch_optional(&store.read)
        .await
        .map_err(fault("read a cursor"))?;
    row.as_ref().map(read).transpose()
}

/// See [`crate::store::Store::cursors`].
pub(super) async fn cursors(store: &SqliteStore) -> Result<Vec<Cursor>> {
    let rows = sqlx::query(r#"SELECT * FROM cursors ORDER BY topic, "partition""#)
        .fetch_all(&store.read)
        .await
        .map_err(fault("read the cursors"))?;
    rows.iter().map(read).collect()
}

/// See [`crate::store::Store::note_log`].
pub(super) async fn note_log(
    store: &SqliteStore,
    fence: &Fence,
    facts: &LogFacts,
) -> Result<Fenced> {
    const NOTE: &str = r#"
        UPDATE cursors
           SET next_offset = COALESCE(next_offset, ?5), topic_id = COALESCE(?6, topic_id),
               cluster_id = COALESCE(?7, cluster_id), log_end = COALESCE(?8, log_end),
               log_end_at = CASE WHEN ?8 IS NULL THEN log_end_at ELSE ?13 END,
               recover_until = CASE WHEN ?10 THEN
                    MAX(?8, COALESCE(NULLIF(recover_until, 9223372036854775807), ?8))
                    ELSE recover_until END,
               passed_to = CASE WHEN next_offset = ?11 THEN MAX(COALESCE(passed_to, ?12), ?12)
                    ELSE passed_to END,
               updated_at = ?9
         WHERE topic = ?1 AND "partition" = ?2 AND epoch = ?3 AND token = ?4"#;
    // Rule R18.
    const LOOK: &str = "
        UPDATE effects
           SET verify_at = MIN(COALESCE(verify_at, ?1), ?1), verify_from_generation = 0,
               verify_stage = 0, verify_deletes = verify_deletes OR etag IS NULL
         WHERE due OR updated_at > ?2";
    const OPERATION: &str = "note facts of the log";
    let mut tx = store.begin(OPERATION).await?;
    let done = sqlx::query(NOTE)
        .bind(fence.topic.clone())
        .bind(fence.partition)
        .bind(fence.epoch)
        .bind(fence.token.to_string())
        .bind(facts.start)
        .bind(facts.topic_id.clone())
        .bind(facts.cluster_id.clone())
        .bind(facts.log_end)
        .bind(store.now())
        .bind(facts.recover)
        .bind(facts.passed.map(|passed| passed.from))
        .bind(facts.passed.map(|passed| passed.to))
        .bind(earlier(store.now(), facts.log_end_age))
        .execute(&mut *tx)
        .await
        .map_err(fault(OPERATION))?;
    let noted = fenced(done.rows_affected());
    if facts.recover && noted == Fenced::Written {
        let now = store.now();
        sqlx::query(LOOK)
            .bind(now)
            .bind(earlier(now, LOST_STAMPS_WITHIN))
            .execute(&mut *tx)
            .await
            .map_err(fault(OPERATION))?;
    }
    crate::crash::point!("r1.note_written");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(noted)
}

/// See [`crate::store::Store::stop`].
pub(super) async fn stop(store: &SqliteStore, fence: &Fence, stop: &Stop) -> Result<Fenced> {
    const STOP: &str = r#"
        UPDATE cursors SET stop_kind = ?5, stop_found = ?6, updated_at = ?7
         WHERE topic = ?1 AND "partition" = ?2 AND epoch = ?3 AND token = ?4"#;
    let done = sqlx::query(STOP)
        .bind(fence.topic.clone())
        .bind(fence.partition)
        .bind(fence.epoch)
        .bind(fence.token.to_string())
        .bind(stop.kind.clone())
        .bind(stop.found.clone())
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("stop a partition"))?;
    Ok(fenced(done.rows_affected()))
}

/// See [`crate::store::Store::resume`].
pub(super) async fn resume(
    store: &SqliteStore,
    topic: &str,
    partition: i32,
    how: Resume,
) -> Result<bool> {
    const ACCEPT: &str = r#"
        UPDATE cursors
           SET epoch = epoch + 1, incarnation = incarnation + 1,
               next_offset = COALESCE(?3, next_offset), passed_to = NULL, topic_id = NULL, cluster_id = NULL,
               log_end = NULL, log_end_at = NULL, recover_until = NULL,
               witness_timestamp_ms = NULL, witness_checksum = NULL,
               stop_kind = NULL, stop_found = NULL, updated_at = ?4
         WHERE topic = ?1 AND "partition" = ?2"#;
    const SET: &str = r#"
        UPDATE cursors
           SET epoch = epoch + 1, next_offset = ?3, passed_to = NULL,
               witness_timestamp_ms = NULL, witness_checksum = NULL,
               stop_kind = NULL, stop_found = NULL, updated_at = ?4
         WHERE topic = ?1 AND "partition" = ?2"#;
    let (statement, at) = match how {
        Resume::Accept { at } => (ACCEPT, at),
        Resume::Set { at } => (SET, Some(at)),
    };
    let done = sqlx::query(statement)
        .bind(topic.to_owned())
        .bind(partition)
        .bind(at)
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("resume a partition"))?;
    Ok(done.rows_affected() > 0)
}

fn read(row: &SqliteRow) -> Result<Cursor> {
    let row = Values::of(row, "cursors", "topic");
    let timestamp_ms = row.get::<Option<i64>>("witness_timestamp_ms")?;
    let checksum = row.get::<Option<i64>>("witness_checksum")?;
    let kind = row.get::<Option<String>>("stop_kind")?;
    let found = row.get::<Option<String>>("stop_found")?;
    Ok(Cursor {
        fence: Fence {
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            epoch: row.get("epoch")?,
            token: row.uuid("token")?,
        },
        next_offset: row.get("next_offset")?,
        passed_to: row.get("passed_to")?,
        witness: timestamp_ms
            .zip(checksum)
            .map(|(timestamp_ms, checksum)| Witness { timestamp_ms, checksum }),
        topic_id: row.get("topic_id")?,
        cluster_id: row.get("cluster_id")?,
        log_end: row.get("log_end")?,
        incarnation: row.get("incarnation")?,
        recover_until: row.get("recover_until")?,
        stop: kind.zip(found).map(|(kind, found)| Stop { kind, found }),
        updated_at: row.time("updated_at")?,
    })
}
