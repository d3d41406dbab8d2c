//! Cursors and their fences (rules R1 to R3).

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{PostgresStore, failed, fenced, seconds};
use crate::store::types::LOST_STAMPS_WITHIN;
use crate::store::{Cursor, Fence, Fenced, LogFacts, Result, Resume, Stop, Witness};

/// Every column of `cursors AS c` that is read. Named: see `effect_columns`.
macro_rules! cursor_columns {
    () => {
        "c.topic, c.partition, c.epoch, c.token, c.next_offset, c.passed_to, c.witness_timestamp_ms,
         c.witness_checksum, c.topic_id, c.cluster_id, c.log_end, c.incarnation, c.recover_until,
         c.stop_kind, c.stop_found, c.updated_at"
    };
}

impl PostgresStore {
    pub(super) async fn fence_cursors(
        &self,
        topic: &str,
        partitions: &[i32],
        token: Uuid,
    ) -> Result<Vec<Cursor>> {
        // The epoch rises and the cursor is read by one statement: nobody writes in between.
        const FENCE: &str = concat!(
            "
            INSERT INTO cursors AS c (topic, partition, epoch, token)
            SELECT $1, partition, 1, $3 FROM UNNEST($2::int[]) AS partition ORDER BY partition
            ON CONFLICT (topic, partition) DO UPDATE
               SET epoch = c.epoch + 1, token = excluded.token, updated_at = clock_timestamp()
            RETURNING ",
            cursor_columns!()
        );
        self.note_incarnation().await?;
        let mut sorted = partitions.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        self.at("fence.cursors").await;
        let rows = sqlx::query(FENCE)
            .bind(topic)
            .bind(&sorted)
            .bind(token)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("fence partitions"))?;
        let cursors: Vec<Cursor> = rows.iter().map(cursor).collect();
        let of = |partition: &i32| {
            cursors.iter().find(|cursor| cursor.fence.partition == *partition).cloned()
        };
        Ok(partitions.iter().filter_map(of).collect())
    }

    pub(super) async fn read_cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>> {
        const READ: &str = concat!(
            "SELECT ",
            cursor_columns!(),
            " FROM cursors c WHERE topic = $1 AND partition = $2"
        );
        self.at("cursor").await;
        let row = sqlx::query(READ)
            .bind(topic)
            .bind(partition)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a cursor"))?;
        Ok(row.as_ref().map(cursor))
    }

    pub(super) async fn read_cursors(&self) -> Result<Vec<Cursor>> {
        const READ: &str =
            concat!("SELECT ", cursor_columns!(), " FROM cursors c ORDER BY topic, partition");
        let rows =
            sqlx::query(READ).fetch_all(&self.pool).await.map_err(failed("read the cursors"))?;
        Ok(rows.iter().map(cursor).collect())
    }

    pub(super) async fn note_log_facts(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced> {
        const NOTE: &str = "
            UPDATE cursors
               SET next_offset = COALESCE(next_offset, $4),
                   topic_id = COALESCE($5, topic_id),
                   cluster_id = COALESCE($6, cluster_id),
                   log_end = COALESCE($7, log_end),
                   log_end_at = CASE WHEN $7 IS NULL THEN log_end_at
                        ELSE clock_timestamp() - make_interval(secs => $11) END,
                   recover_until = CASE WHEN NOT $8 THEN recover_until
                        ELSE GREATEST($7, NULLIF(recover_until, 9223372036854775807)) END,
                   passed_to = CASE WHEN next_offset = $9 THEN GREATEST(passed_to, $10)
                        ELSE passed_to END,
                   updated_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2 AND token = $3";
        // Rule R18; the order of locks is R16's.
        const LOOK: &str = "
            WITH held AS (
                SELECT ical_uid, connection_id FROM effects
                 WHERE due OR updated_at > clock_timestamp() - make_interval(secs => $1)
                 ORDER BY ical_uid, connection_id FOR UPDATE)
            UPDATE effects e
               SET verify_at = LEAST(e.verify_at, clock_timestamp()), verify_from_generation = 0,
                   verify_stage = 0, verify_deletes = e.verify_deletes OR e.etag IS NULL
              FROM held
             WHERE e.ical_uid = held.ical_uid AND e.connection_id = held.connection_id";
        let operation = "note what the log is";
        let mut tx = self.begin(operation).await?;
        let done = sqlx::query(NOTE)
            .bind(&fence.topic)
            .bind(fence.partition)
            .bind(fence.token)
            .bind(facts.start)
            .bind(&facts.topic_id)
            .bind(&facts.cluster_id)
            .bind(facts.log_end)
            .bind(facts.recover)
            .bind(facts.passed.map(|passed| passed.from))
            .bind(facts.passed.map(|passed| passed.to))
            .bind(seconds(facts.log_end_age))
            .execute(&mut *tx)
            .await
            .map_err(failed(operation))?;
        let noted = fenced(done.rows_affected());
        if facts.recover && noted == Fenced::Written {
            let within = seconds(LOST_STAMPS_WITHIN);
            sqlx::query(LOOK).bind(within).execute(&mut *tx).await.map_err(failed(operation))?;
        }
        crate::crash::point!("r1.note_written");
        tx.commit().await.map_err(failed(operation))?;
        Ok(noted)
    }

    pub(super) async fn stop_cursor(&self, fence: &Fence, stop: &Stop) -> Result<Fenced> {
        const STOP: &str = "
            UPDATE cursors
               SET stop_kind = $4, stop_found = $5, updated_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2 AND token = $3";
        let done = sqlx::query(STOP)
            .bind(&fence.topic)
            .bind(fence.partition)
            .bind(fence.token)
            .bind(&stop.kind)
            .bind(&stop.found)
            .execute(&self.pool)
            .await
            .map_err(failed("stop a partition"))?;
        Ok(fenced(done.rows_affected()))
    }

    pub(super) async fn resume_cursor(
        &self,
        topic: &str,
        partition: i32,
        how: Resume,
    ) -> Result<bool> {
        // The epoch rises and the token goes to nobody: an owner that reads on is refused.
        const ACCEPT: &str = "
            UPDATE cursors
               SET next_offset = COALESCE($3, next_offset), passed_to = NULL,
                   incarnation = incarnation + 1,
                   witness_timestamp_ms = NULL, witness_checksum = NULL,
                   topic_id = NULL, cluster_id = NULL, log_end = NULL, log_end_at = NULL,
                   recover_until = NULL,
                   stop_kind = NULL, stop_found = NULL,
                   epoch = epoch + 1, token = gen_random_uuid(), updated_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2";
        const SET: &str = "
            UPDATE cursors
               SET next_offset = $3, passed_to = NULL,
                   witness_timestamp_ms = NULL, witness_checksum = NULL,
                   stop_kind = NULL, stop_found = NULL,
                   epoch = epoch + 1, token = gen_random_uuid(), updated_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2";
        let (statement, at) = match how {
            Resume::Accept { at } => (ACCEPT, at),
            Resume::Set { at } => (SET, Some(at)),
        };
        let done = sqlx::query(statement)
            .bind(topic)
            .bind(partition)
            .bind(at)
            .execute(&self.pool)
            .await
            .map_err(failed("resume a partition"))?;
        Ok(done.rows_affected() == 1)
    }
}

fn cursor(row: &PgRow) -> Cursor {
    let timestamp: Option<i64> = row.get("witness_timestamp_ms");
    let checksum: Option<i64> = row.get("witness_checksum");
    let kind: Option<String> = row.get("stop_kind");
    let found: Option<String> = row.get("stop_found");
    Cursor {
        fence: Fence {
            topic: row.get("topic"),
            partition: row.get("partition"),
            epoch: row.get("epoch"),
            token: row.get("token"),
        },
        next_offset: row.get("next_offset"),
        passed_to: row.get("passed_to"),
        witness: timestamp
            .zip(checksum)
            .map(|(timestamp_ms, checksum)| Witness { timestamp_ms, checksum }),
        topic_id: row.get("topic_id"),
        cluster_id: row.get("cluster_id"),
        log_end: row.get("log_end"),
        incarnation: row.get("incarnation"),
        recover_until: row.get("recover_until"),
        stop: kind.zip(found).map(|(kind, found)| Stop { kind, found }),
        updated_at: row.get("updated_at"),
    }
}
