//! One transaction for one batch: cursor, bookings, effects, journal, dead letters (rule R3).
//!
//! What a batch was folded from is read beforehand, outside the transaction. The commit then holds
//! it to that: the destinations must be the same (held FOR SHARE until the end, so that a change
//! of connection waits), the bookings must have the versions that were read. If not, nothing is
//! written, and the caller reads and folds again. So no lock is held while folding.

use std::collections::HashMap;

use booking::{BookingId, ConnectionId, Desired, IcalUid, ProviderId};
use sqlx::{Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::rows::{bytes, stored_booking, uid};
use super::{PostgresStore, failed, refusal};
use crate::store::{
    ADOPTED_REVISION, Advance, Batch, Committed, NewEffect, Result, States, StoredBooking,
};

/// What a write inside the transaction came to.
pub(super) enum Written {
    Done,
    Not(Committed),
}

/// Sorts a statement's error: a refusal of the content is a value.
macro_rules! written {
    ($result:expr, $operation:literal) => {
        match $result {
            Ok(done) => done,
            Err(error) => match refusal(&error) {
                Some(detail) => return Ok(Written::Not(Committed::Refused { detail })),
                None => return Err(failed($operation)(error)),
            },
        }
    };
}

impl PostgresStore {
    pub(super) async fn read_states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States> {
        const BOOKINGS: &str = "
            SELECT state, placed, version, ical_uid FROM bookings
             WHERE ical_uid = ANY($1) OR booking_id = ANY($2)";
        const DESTINATIONS: &str =
            "SELECT provider_id, destination FROM providers WHERE provider_id = ANY($1)";
        const ADOPTED: &str = "
            SELECT ical_uid, connection_id FROM effects
             WHERE ical_uid = ANY($1) AND adopted_id IS NOT NULL AND generation = 0
               AND applied_digest IS NOT NULL";
        let ids: Vec<&str> = bookings.iter().map(|(id, _)| id.as_str()).collect();
        let uids: Vec<&str> = bookings.iter().map(|(_, uid)| uid.as_str()).collect();
        self.at("states.bookings").await;
        let rows = sqlx::query(BOOKINGS)
            .bind(&uids)
            .bind(&ids)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read bookings"))?;
        let bookings = rows.iter().map(stored_booking).collect::<Result<Vec<_>>>()?;
        let asked: Vec<Uuid> = providers.iter().map(|provider| provider.0).collect();
        self.at("states.providers").await;
        let rows = sqlx::query(DESTINATIONS)
            .bind(&asked)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read destinations"))?;
        let found: HashMap<Uuid, Option<Uuid>> =
            rows.iter().map(|row| (row.get("provider_id"), row.get("destination"))).collect();
        let destination = |id: &ProviderId| found.get(&id.0).copied().flatten().map(ConnectionId);
        let destinations = providers.iter().map(|id| (*id, destination(id))).collect();
        self.at("states.adopted").await;
        let rows = sqlx::query(ADOPTED)
            .bind(&uids)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read adopted events"))?;
        let adopted = |row| Ok((uid(row)?, ConnectionId(row.get("connection_id"))));
        let adopted = rows.iter().map(adopted).collect::<Result<_>>()?;
        Ok(States { bookings, destinations, adopted })
    }

    pub(super) async fn commit_batch(&self, batch: &Batch) -> Result<Committed> {
        let mut tx = self.begin("begin a batch").await?;
        if let Some(advance) = &batch.advance {
            self.at("commit.cursor").await;
            if !self.advance_cursor(&mut tx, advance).await? {
                self.rollback(tx).await?;
                return self.why_not_advanced(advance).await;
            }
            crate::crash::point!("r3.cursor_written");
        }
        match self.write_batch(&mut tx, batch).await? {
            Written::Done => self.finish(tx, "commit a batch").await,
            Written::Not(why) => {
                self.rollback(tx).await?;
                Ok(why)
            }
        }
    }

    /// Commits; a refusal that a deferred check raises only now is a value too.
    pub(super) async fn finish(
        &self,
        tx: Transaction<'static, Postgres>,
        operation: &'static str,
    ) -> Result<Committed> {
        self.at("commit").await;
        crate::crash::point!("r3.all_written");
        match tx.commit().await {
            Ok(()) => Ok(Committed::Done),
            Err(error) => match refusal(&error) {
                Some(detail) => Ok(Committed::Refused { detail }),
                None => Err(failed(operation)(error)),
            },
        }
    }

    pub(super) async fn rollback(&self, tx: Transaction<'static, Postgres>) -> Result<()> {
        tx.rollback().await.map_err(failed("roll a batch back"))
    }

    async fn advance_cursor(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        advance: &Advance,
    ) -> Result<bool> {
        const ADVANCE: &str = "
            UPDATE cursors
               SET next_offset = $5, witness_timestamp_ms = $6, witness_checksum = $7,
                   log_end = GREATEST(log_end, $8), updated_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2 AND token = $3
               AND COALESCE(next_offset, 0) = $4";
        let done = sqlx::query(ADVANCE)
            .bind(&advance.fence.topic)
            .bind(advance.fence.partition)
            .bind(advance.fence.token)
            .bind(advance.from)
            .bind(advance.to)
            .bind(advance.witness.timestamp_ms)
            .bind(advance.witness.checksum)
            .bind(advance.log_end)
            .execute(&mut **tx)
            .await
            .map_err(failed("advance a cursor"))?;
        Ok(done.rows_affected() == 1)
    }

    async fn why_not_advanced(&self, advance: &Advance) -> Result<Committed> {
        let fence = &advance.fence;
        let found = self.read_cursor(&fence.topic, fence.partition).await?;
        Ok(match found {
            Some(cursor) if cursor.fence.token == fence.token => {
                Committed::Elsewhere { next_offset: cursor.next_offset }
            }
            Some(_) | None => Committed::Foreign,
        })
    }

    /// Writes all but the cursor, in the order of rule R16.
    pub(super) async fn write_batch(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        batch: &Batch,
    ) -> Result<Written> {
        if !batch.destinations.is_empty() && !self.destinations_stand(tx, batch).await? {
            return Ok(Written::Not(Committed::Stale));
        }
        if !batch.unchanged.is_empty() && !unchanged_stand(tx, &batch.unchanged).await? {
            return Ok(Written::Not(Committed::Stale));
        }
        if !batch.bookings.is_empty() {
            self.at("commit.bookings").await;
            if let Written::Not(why) = write_bookings(tx, &batch.bookings).await? {
                return Ok(Written::Not(why));
            }
        }
        if !batch.effects.is_empty() {
            self.at("commit.effects").await;
            if let Written::Not(why) = write_effects(tx, batch).await? {
                return Ok(Written::Not(why));
            }
        }
        if !batch.journal.is_empty() {
            self.at("commit.journal").await;
            if let Written::Not(why) = write_journal(tx, batch).await? {
                return Ok(Written::Not(why));
            }
        }
        if !batch.dead_letters.is_empty() {
            self.at("commit.dead_letters").await;
            return super::dead_letter::write(tx, &batch.dead_letters).await;
        }
        Ok(Written::Done)
    }

    /// Locks the providers FOR SHARE and compares their destinations (rule R8). A provider that is
    /// not there yet is added, so that there is a row to hold.
    async fn destinations_stand(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        batch: &Batch,
    ) -> Result<bool> {
        const ADD: &str = "
            INSERT INTO providers (provider_id)
            SELECT id FROM UNNEST($1::uuid[]) AS id ORDER BY id
            ON CONFLICT DO NOTHING";
        let mut asked: Vec<Uuid> = batch.destinations.iter().map(|(id, _)| id.0).collect();
        asked.sort_unstable();
        asked.dedup();
        self.at("commit.providers").await;
        let mut found = lock_providers(tx, &asked).await?;
        if found.len() < asked.len() {
            self.at("commit.add_providers").await;
            sqlx::query(ADD)
                .bind(&asked)
                .execute(&mut **tx)
                .await
                .map_err(failed("add providers"))?;
            self.at("commit.providers").await;
            found = lock_providers(tx, &asked).await?;
        }
        let stands = |(id, planned): &(ProviderId, Option<ConnectionId>)| {
            found.get(&id.0).is_some_and(|now| *now == planned.map(|connection| connection.0))
        };
        Ok(batch.destinations.iter().all(stands))
    }
}

async fn lock_providers(
    tx: &mut Transaction<'static, Postgres>,
    asked: &[Uuid],
) -> Result<HashMap<Uuid, Option<Uuid>>> {
    const LOCK: &str = "
        SELECT provider_id, destination FROM providers
         WHERE provider_id = ANY($1) ORDER BY provider_id FOR SHARE";
    let rows = sqlx::query(LOCK)
        .bind(asked)
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("hold the destinations"))?;
    Ok(rows.iter().map(|row| (row.get("provider_id"), row.get("destination"))).collect())
}

/// Whether the bookings that did not change still have the versions that they were read at. Nothing
/// is locked: whoever writes to them at this moment goes on from what we have read, and it is a
/// database that fell back which must not take our word for what it has forgotten (rule R18).
async fn unchanged_stand(
    tx: &mut Transaction<'static, Postgres>,
    unchanged: &[(IcalUid, i64)],
) -> Result<bool> {
    const STAND: &str = "
        SELECT count(*) FROM UNNEST($1::text[], $2::bigint[]) AS w (uid, version)
          JOIN bookings b ON b.ical_uid = w.uid AND b.version = w.version";
    let stand: i64 = sqlx::query_scalar(STAND)
        .bind(unchanged.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>())
        .bind(unchanged.iter().map(|(_, version)| *version).collect::<Vec<_>>())
        .fetch_one(&mut **tx)
        .await
        .map_err(failed("look at bookings that did not change"))?;
    Ok(usize::try_from(stand) == Ok(unchanged.len()))
}

/// Each booking must have the version that it was read at; a new one must still be missing.
async fn write_bookings(
    tx: &mut Transaction<'static, Postgres>,
    bookings: &[StoredBooking],
) -> Result<Written> {
    const WRITE: &str = "
        INSERT INTO bookings AS b (ical_uid, booking_id, provider_id, placed, version, revision,
                                   shown_digest, starts_at, ends_at, state)
        SELECT * FROM UNNEST($1::text[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[],
                             $6::bigint[], $7::bytea[], $8::timestamptz[], $9::timestamptz[],
                             $10::text[])
        ON CONFLICT (ical_uid) DO UPDATE
           SET provider_id = excluded.provider_id, placed = excluded.placed,
               version = excluded.version, revision = excluded.revision,
               shown_digest = excluded.shown_digest, starts_at = excluded.starts_at,
               ends_at = excluded.ends_at, state = excluded.state,
               updated_at = clock_timestamp()
         WHERE b.version = excluded.version - 1";
    let mut sorted: Vec<&StoredBooking> = bookings.iter().collect();
    sorted.sort_unstable_by(|a, b| a.booking.uid.cmp(&b.booking.uid));
    let column = |value: fn(&StoredBooking) -> &str| -> Vec<&str> {
        sorted.iter().map(|stored| value(stored)).collect()
    };
    let shown =
        |stored: &&StoredBooking| stored.booking.shown().map(|content| content.digest().0.to_vec());
    let times = |stored: &&StoredBooking| {
        stored.booking.content.as_ref().map(|content| (content.start, content.end))
    };
    let state = |stored: &&StoredBooking| {
        serde_json::to_string(&stored.booking).expect("plain data always has a JSON form")
    };
    let result = sqlx::query(WRITE)
        .bind(column(|stored| stored.booking.uid.as_str()))
        .bind(column(|stored| stored.booking.id.as_str()))
        .bind(sorted.iter().map(|stored| stored.booking.provider.0).collect::<Vec<_>>())
        .bind(sorted.iter().map(|stored| stored.placed.map(|id| id.0)).collect::<Vec<_>>())
        .bind(sorted.iter().map(|stored| stored.version + 1).collect::<Vec<_>>())
        .bind(sorted.iter().map(|stored| stored.booking.revision).collect::<Vec<_>>())
        .bind(sorted.iter().map(shown).collect::<Vec<_>>())
        .bind(sorted.iter().map(|s| times(s).map(|(start, _)| start)).collect::<Vec<_>>())
        .bind(sorted.iter().map(|s| times(s).map(|(_, end)| end)).collect::<Vec<_>>())
        .bind(sorted.iter().map(state).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await;
    if result.as_ref().is_err_and(id_was_taken) {
        return Ok(Written::Not(Committed::Stale));
    }
    let done = written!(result, "write bookings");
    if done.rows_affected() == sorted.len() as u64 {
        return Ok(Written::Done);
    }
    Ok(Written::Not(why_not_written(tx, &sorted).await?))
}

/// A booking with this id has come since it was looked for: reading again finds it. It can be this
/// very booking: `ON CONFLICT (ical_uid)` does not cover the other index, if both are written in
/// the same moment (PostgreSQL documentation, INSERT, "ON CONFLICT Clause").
fn id_was_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.is_unique_violation() && database.constraint() == Some("bookings_booking_id_key")
    })
}

/// A row had another version than it was read at; or another booking has its UID, which reading
/// again does not mend.
async fn why_not_written(
    tx: &mut Transaction<'static, Postgres>,
    bookings: &[&StoredBooking],
) -> Result<Committed> {
    const TAKEN: &str = "
        SELECT b.ical_uid FROM bookings b
          JOIN UNNEST($1::text[], $2::text[]) AS w (uid, id) ON b.ical_uid = w.uid
         WHERE b.booking_id <> w.id LIMIT 1";
    let taken: Option<String> = sqlx::query_scalar(TAKEN)
        .bind(bookings.iter().map(|stored| stored.booking.uid.as_str()).collect::<Vec<_>>())
        .bind(bookings.iter().map(|stored| stored.booking.id.as_str()).collect::<Vec<_>>())
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read why bookings were not written"))?;
    Ok(match taken {
        Some(uid) => Committed::Refused { detail: format!("the UID {uid} is another booking's") },
        None => Committed::Stale,
    })
}

/// Sets what is desired, if it is newer; what is in flight or applied, and a backoff, are not
/// ingest's to touch (rule R9), but for an event that was adopted and shows just this: it has no
/// marker to say so. A new wish revives a dead effect (rule R13).
async fn write_effects(tx: &mut Transaction<'static, Postgres>, batch: &Batch) -> Result<Written> {
    const WRITE: &str = concat!(
        "
        INSERT INTO effects AS e (connection_id, ical_uid, desired_revision, desired_digest,
                                  verify_at, verify_deletes, trace, published_at)
        SELECT c, u, r, d, CASE WHEN v THEN clock_timestamp() END, v, t, p
          FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::bool[], $7::text[],
                      $8::timestamptz[])
               AS w (c, u, r, d, v, t, p)
        ON CONFLICT (connection_id, ical_uid) DO UPDATE
           SET desired_revision = excluded.desired_revision,
               desired_digest = excluded.desired_digest,
               applied_revision = CASE
                    WHEN e.applied_revision = $6 AND e.applied_digest = excluded.desired_digest
                    THEN excluded.desired_revision ELSE e.applied_revision END,
               dead = false, rejections = 0, filling = false,
               verify_from_generation = CASE WHEN excluded.verify_at IS NULL
                    THEN e.verify_from_generation ELSE 0 END,
               verify_stage = CASE WHEN excluded.verify_at IS NULL THEN e.verify_stage ELSE 0 END,
               verify_at = LEAST(e.verify_at, excluded.verify_at),
               verify_deletes = e.verify_deletes OR (excluded.verify_deletes AND e.etag IS NULL),
               updated_at = clock_timestamp(),
               ",
        asked_anew!("e.", "LEAST"),
        "
         WHERE e.desired_revision < excluded.desired_revision
            OR (e.desired_revision = excluded.desired_revision
                AND e.desired_digest IS DISTINCT FROM excluded.desired_digest)"
    );
    let mut last = HashMap::with_capacity(batch.effects.len());
    for NewEffect { effect, origin } in &batch.effects {
        last.insert((effect.connection, &effect.uid), (effect, origin));
    }
    let mut sorted: Vec<_> = last.into_values().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| (a.connection, &a.uid).cmp(&(b.connection, &b.uid)));
    let digest = |desired: Desired| match desired {
        Desired::Present(digest) => Some(bytes(digest)),
        Desired::Absent => None,
    };
    let result = sqlx::query(WRITE)
        .bind(sorted.iter().map(|(effect, _)| effect.connection.0).collect::<Vec<_>>())
        .bind(sorted.iter().map(|(effect, _)| effect.uid.as_str()).collect::<Vec<_>>())
        .bind(sorted.iter().map(|(effect, _)| effect.revision).collect::<Vec<_>>())
        .bind(sorted.iter().map(|(effect, _)| digest(effect.desired)).collect::<Vec<_>>())
        .bind(sorted.iter().map(|(effect, _)| effect.verify).collect::<Vec<_>>())
        .bind(ADOPTED_REVISION)
        .bind(sorted.iter().map(|(_, origin)| origin.text()).collect::<Vec<_>>())
        .bind(sorted.iter().map(|(_, origin)| origin.published_at).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await;
    written!(result, "write effects");
    Ok(Written::Done)
}

async fn write_journal(tx: &mut Transaction<'static, Postgres>, batch: &Batch) -> Result<Written> {
    const WRITE: &str = "
        INSERT INTO journal (topic, incarnation, partition, record_offset, event_id, ical_uid,
                             kind, decision, revision)
        SELECT * FROM UNNEST($1::text[], $2::int[], $3::int[], $4::bigint[], $5::uuid[],
                             $6::text[], $7::text[], $8::text[], $9::bigint[])";
    let entries = &batch.journal;
    let result = sqlx::query(WRITE)
        .bind(entries.iter().map(|entry| entry.topic.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.position.incarnation).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.position.partition).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.position.offset).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.event.0).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.uid.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.kind).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.decision).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.revision).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await;
    written!(result, "write the journal");
    Ok(Written::Done)
}
