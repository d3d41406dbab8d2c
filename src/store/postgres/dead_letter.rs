//! Dead letters: kept whole, and their way out (rule R4).

use booking::{ConnectionId, IcalUid, Position};
use data_encoding::HEXLOWER;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};

use super::ingest::Written;
use super::rows::inconsistent;
use super::{PostgresStore, failed, refusal};
use crate::store::{
    Batch, Committed, DeadLetter, DeadRecord, DeadState, NewDeadLetter, Origin, Result,
};

/// Every column of `dead_letters` that is read. Named: see `effect_columns`.
macro_rules! letter_columns {
    () => {
        "id, class, reason, state, created_at, topic, incarnation, partition, record_offset,
         timestamp_ms, key, payload, headers, effect_uid, effect_connection"
    };
}

pub(super) async fn write(
    tx: &mut Transaction<'static, Postgres>,
    letters: &[NewDeadLetter],
) -> Result<Written> {
    const WRITE: &str = "
        INSERT INTO dead_letters (class, reason, topic, incarnation, partition, record_offset,
                                  timestamp_ms, key, payload, headers)
        SELECT class, reason, topic, incarnation, partition, record_offset, timestamp_ms, key,
               payload, headers::jsonb
          FROM UNNEST($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bigint[],
                      $7::bigint[], $8::bytea[], $9::bytea[], $10::text[])
               AS l (class, reason, topic, incarnation, partition, record_offset, timestamp_ms,
                     key, payload, headers)
        ON CONFLICT (topic, incarnation, partition, record_offset) WHERE topic IS NOT NULL
        DO NOTHING";
    let position = |letter: &NewDeadLetter| letter.record.position;
    let reason = |letter: &NewDeadLetter| letter.reason.replace('\0', "\u{fffd}");
    let headers = |letter: &NewDeadLetter| headers_json(&letter.record.headers);
    let result = sqlx::query(WRITE)
        .bind(letters.iter().map(|letter| letter.class.name()).collect::<Vec<_>>())
        .bind(letters.iter().map(reason).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.record.topic.as_str()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| position(letter).incarnation).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| position(letter).partition).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| position(letter).offset).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.record.timestamp_ms).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.record.key.clone()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.record.payload.clone()).collect::<Vec<_>>())
        .bind(letters.iter().map(headers).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await;
    match result {
        Ok(_) => Ok(Written::Done),
        Err(error) => match refusal(&error) {
            Some(detail) => Ok(Written::Not(Committed::Refused { detail })),
            None => Err(failed("write dead letters")(error)),
        },
    }
}

/// Headers as JSON: an array of [name in hex, value in hex or null], in order. Hex, because
/// neither need be text that the database takes.
fn headers_json(headers: &[(String, Option<Vec<u8>>)]) -> String {
    let pair = |(name, value): &(String, Option<Vec<u8>>)| {
        Value::Array(vec![
            Value::String(HEXLOWER.encode(name.as_bytes())),
            value.as_ref().map_or(Value::Null, |value| Value::String(HEXLOWER.encode(value))),
        ])
    };
    Value::Array(headers.iter().map(pair).collect()).to_string()
}

fn headers(stored: &Value) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    let decode = |value: &Value| HEXLOWER.decode(value.as_str()?.as_bytes()).ok();
    let pair = |pair: &Value| {
        let [name, value] = pair.as_array()?.as_slice() else {
            return None;
        };
        let name = String::from_utf8(decode(name)?).ok()?;
        let value = if value.is_null() { None } else { Some(decode(value)?) };
        Some((name, value))
    };
    stored.as_array()?.iter().map(pair).collect()
}

fn letter(row: &PgRow) -> Result<DeadLetter> {
    let id: i64 = row.get("id");
    let wrong = |column, detail: &str| inconsistent("dead_letters", column, id, detail);
    let state: &str = row.get("state");
    let origin = match row.get::<Option<String>, _>("topic") {
        Some(topic) => Origin::Record(DeadRecord {
            topic,
            position: Position {
                incarnation: row.get("incarnation"),
                partition: row.get("partition"),
                offset: row.get("record_offset"),
            },
            timestamp_ms: row.get("timestamp_ms"),
            key: row.get("key"),
            payload: row.get("payload"),
            headers: headers(&row.get("headers"))
                .ok_or_else(|| wrong("headers", "not a list of hex pairs"))?,
        }),
        None => Origin::Effect {
            uid: IcalUid::parse(row.get("effect_uid"))
                .map_err(|error| wrong("effect_uid", &error.to_string()))?,
            connection: ConnectionId(row.get("effect_connection")),
        },
    };
    Ok(DeadLetter {
        id,
        class: row.get("class"),
        reason: row.get("reason"),
        origin,
        state: DeadState::parse(state).ok_or_else(|| wrong("state", state))?,
        created_at: row.get("created_at"),
    })
}

impl PostgresStore {
    pub(super) async fn read_dead_letters(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        const READ: &str = concat!(
            "SELECT ",
            letter_columns!(),
            " FROM dead_letters WHERE id > $1 ORDER BY id LIMIT $2"
        );
        let rows = sqlx::query(READ)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read dead letters"))?;
        rows.iter().map(letter).collect()
    }

    pub(super) async fn read_dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        const READ: &str =
            concat!("SELECT ", letter_columns!(), " FROM dead_letters WHERE id = $1");
        let row = sqlx::query(READ)
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a dead letter"))?;
        row.as_ref().map(letter).transpose()
    }

    pub(super) async fn redrive_batch(&self, id: i64, batch: &Batch) -> Result<Committed> {
        let mut tx = self.begin("redrive a dead letter").await?;
        if let Written::Not(why) = self.write_batch(&mut tx, batch).await? {
            self.rollback(tx).await?;
            return Ok(why);
        }
        if !settle(&mut tx, (id, Of::Records), DeadState::Redriven).await? {
            self.rollback(tx).await?;
            return Ok(Committed::Stale);
        }
        self.finish(tx, "redrive a dead letter").await
    }

    pub(super) async fn revive_effect(&self, id: i64) -> Result<bool> {
        const REVIVE: &str = "
            UPDATE effects e
               SET dead = false, rejections = 0, not_before = clock_timestamp(),
                   updated_at = clock_timestamp()
              FROM dead_letters l
             WHERE l.id = $1 AND l.state = 'open'
               AND e.ical_uid = l.effect_uid AND e.connection_id = l.effect_connection";
        let operation = "revive an effect";
        let mut tx = self.begin(operation).await?;
        let done =
            sqlx::query(REVIVE).bind(id).execute(&mut *tx).await.map_err(failed(operation))?;
        let revived = done.rows_affected() == 1
            && settle(&mut tx, (id, Of::All), DeadState::Redriven).await?;
        if revived {
            tx.commit().await.map_err(failed(operation))?;
        } else {
            self.rollback(tx).await?;
        }
        Ok(revived)
    }

    pub(super) async fn discard_letter(&self, id: i64) -> Result<bool> {
        let operation = "discard a dead letter";
        let mut tx = self.begin(operation).await?;
        let settled = settle(&mut tx, (id, Of::All), DeadState::Discarded).await?;
        tx.commit().await.map_err(failed(operation))?;
        Ok(settled)
    }
}

/// Which letters are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Records,
    All,
}

/// Settles a letter; `false` if it is not an open one of those that are meant.
async fn settle(
    tx: &mut Transaction<'static, Postgres>,
    (id, of): (i64, Of),
    state: DeadState,
) -> Result<bool> {
    const SETTLE: &str = "
        UPDATE dead_letters SET state = $2, settled_at = clock_timestamp()
         WHERE id = $1 AND state = 'open' AND (effect_uid IS NULL OR NOT $3)";
    let done = sqlx::query(SETTLE)
        .bind(id)
        .bind(state.name())
        .bind(of == Of::Records)
        .execute(&mut **tx)
        .await
        .map_err(failed("settle a dead letter"))?;
    Ok(done.rows_affected() == 1)
}
