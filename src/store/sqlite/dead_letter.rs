//! Dead letters: records that could not be understood, kept whole, and effects that can never
//! succeed (rule R4).

use ::booking::{ConnectionId, IcalUid, Position};
use data_encoding::BASE64;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::Values;
use super::{SqliteStore, fault};
use crate::store::{
    DeadLetter, DeadRecord, DeadState, EFFECT_REJECTED, NewDeadLetter, Origin, Result,
};

/// See [`crate::store::Store::dead_letters`].
pub(super) async fn dead_letters(
    store: &SqliteStore,
    after: i64,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let rows = sqlx::query("SELECT * FROM dead_letters WHERE id > ?1 ORDER BY id LIMIT ?2")
        .bind(after)
        .bind(limit)
        .fetch_all(&store.read)
        .await
        .map_err(fault("list the dead letters"))?;
    rows.iter().map(read).collect()
}

/// See [`crate::store::Store::dead_letter`].
pub(super) async fn dead_letter(store: &SqliteStore, id: i64) -> Result<Option<DeadLetter>> {
    let row = sqlx::query("SELECT * FROM dead_letters WHERE id = ?1")
        .bind(id)
        .fetch_optional(&store.read)
        .await
        .map_err(fault("read a dead letter"))?;
    row.as_ref().map(read).transpose()
}

/// See [`crate::store::Store::revive`].
pub(super) async fn revive(store: &SqliteStore, id: i64) -> Result<bool> {
    const OPERATION: &str = "revive a dead effect";
    const REVIVE: &str = "
        UPDATE effects SET dead = FALSE, rejections = 0, not_before = ?2, updated_at = ?2
         WHERE (ical_uid, connection_id) =
               (SELECT effect_uid, effect_connection FROM dead_letters
                 WHERE id = ?1 AND state = 'open')";
    const SETTLE: &str = "
        UPDATE dead_letters SET state = 'redriven', settled_at = ?2
         WHERE id = ?1 AND state = 'open' AND effect_uid IS NOT NULL";
    let mut tx = store.begin(OPERATION).await?;
    let now = store.now();
    for statement in [REVIVE, SETTLE] {
        let done = sqlx::query(statement).bind(id).bind(now).execute(&mut *tx).await;
        if done.map_err(fault(OPERATION))?.rows_affected() == 0 {
            return Ok(false);
        }
    }
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(true)
}

/// See [`crate::store::Store::discard`].
pub(super) async fn discard(store: &SqliteStore, id: i64) -> Result<bool> {
    const DISCARD: &str = "
        UPDATE dead_letters SET state = 'discarded', settled_at = ?2
         WHERE id = ?1 AND state = 'open'";
    let done = sqlx::query(DISCARD)
        .bind(id)
        .bind(store.now())
        .execute(&store.write)
        .await
        .map_err(fault("discard a dead letter"))?;
    Ok(done.rows_affected() == 1)
}

/// Marks a record's letter as sent again; `false` if it is not an open one.
pub(super) async fn settle_record(
    conn: &mut SqliteConnection,
    id: i64,
    now: i64,
) -> sqlx::Result<bool> {
    const SETTLE: &str = "
        UPDATE dead_letters SET state = 'redriven', settled_at = ?2
         WHERE id = ?1 AND state = 'open' AND effect_uid IS NULL";
    let done = sqlx::query(SETTLE).bind(id).bind(now).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Stores a record that could not be understood.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    letter: &NewDeadLetter,
    now: i64,
) -> sqlx::Result<()> {
    const INSERT: &str = r#"
        INSERT INTO dead_letters (class, reason, topic, incarnation, "partition", "offset",
                                  timestamp_ms, key, payload, headers, state, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'open', ?11)
        ON CONFLICT (topic, incarnation, "partition", "offset") WHERE topic IS NOT NULL
        DO NOTHING"#;
    let record = &letter.record;
    sqlx::query(INSERT)
        .bind(letter.class.name())
        .bind(letter.reason.clone())
        .bind(record.topic.clone())
        .bind(record.position.incarnation)
        .bind(record.position.partition)
        .bind(record.position.offset)
        .bind(record.timestamp_ms)
        .bind(record.key.clone())
        .bind(record.payload.clone())
        .bind(headers_text(&record.headers))
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores that an effect is dead.
pub(super) async fn insert_effect(
    conn: &mut SqliteConnection,
    uid: &IcalUid,
    connection: ConnectionId,
    reason: &str,
    now: i64,
) -> sqlx::Result<()> {
    const INSERT: &str = "
        INSERT INTO dead_letters (class, reason, effect_uid, effect_connection, state, created_at)
        VALUES (?1, ?2, ?3, ?4, 'open', ?5)";
    sqlx::query(INSERT)
        .bind(EFFECT_REJECTED)
        .bind(reason.to_owned())
        .bind(uid.to_string())
        .bind(connection.to_string())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Headers are a list, not a map: Kafka keeps their order and their repetitions.
fn headers_text(headers: &[(String, Option<Vec<u8>>)]) -> String {
    let coded: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name, value.as_ref().map(|bytes| BASE64.encode(bytes))))
        .collect();
    serde_json::to_string(&coded).expect("a list of texts always has a JSON form")
}

fn read_headers(row: &Values<'_>) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let wrong = |detail: String| row.inconsistent("headers", detail);
    let coded: Vec<(String, Option<String>)> =
        serde_json::from_str(row.get("headers")?).map_err(|error| wrong(error.to_string()))?;
    coded
        .into_iter()
        .map(|(name, value)| {
            let bytes = value.map(|text| BASE64.decode(text.as_bytes())).transpose();
            Ok((name, bytes.map_err(|error| wrong(error.to_string()))?))
        })
        .collect()
}

fn read(row: &SqliteRow) -> Result<DeadLetter> {
    let row = Values::of(row, "dead_letters", "reason");
    let origin = match row.parsed_maybe("effect_uid", |text| IcalUid::parse(text).ok())? {
        Some(uid) => {
            Origin::Effect { uid, connection: ConnectionId(row.uuid("effect_connection")?) }
        }
        None => Origin::Record(DeadRecord {
            topic: row.get("topic")?,
            position: Position {
                incarnation: row.get("incarnation")?,
                partition: row.get("partition")?,
                offset: row.get("offset")?,
            },
            timestamp_ms: row.get("timestamp_ms")?,
            key: row.get("key")?,
            payload: row.get("payload")?,
            headers: read_headers(&row)?,
        }),
    };
    Ok(DeadLetter {
        id: row.get("id")?,
        class: row.get("class")?,
        reason: row.get("reason")?,
        origin,
        state: row.parsed("state", DeadState::parse)?,
        created_at: row.time("created_at")?,
    })
}
