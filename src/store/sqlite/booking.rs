//! Bookings, and the one transaction of a batch that carries them (rule R3): cursor, destinations,
//! bookings, effects, journal and dead letters, in that order, all or nothing.

use std::collections::BTreeMap;

use ::booking::{Booking, BookingId, ConnectionId, Desired, Effect, IcalUid, ProviderId};
use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::{Values, list};
use super::{SqliteStore, dead_letter, fault, result_code};
use crate::store::{
    ADOPTED_REVISION, Advance, Batch, Committed, EffectOrigin, JournalEntry, NewEffect, Result,
    States, StoredBooking,
};

/// See [`crate::store::Store::states`].
pub(super) async fn states(
    store: &SqliteStore,
    bookings: &[(BookingId, IcalUid)],
    providers: &[ProviderId],
) -> Result<States> {
    const OPERATION: &str = "read the states of bookings";
    const BOOKINGS: &str = "
        SELECT ical_uid, placed, version, state FROM bookings
         WHERE booking_id IN (SELECT value FROM json_each(?1))
            OR ical_uid IN (SELECT value FROM json_each(?2))";
    const DESTINATIONS: &str = "
        SELECT provider_id, destination FROM providers
         WHERE provider_id IN (SELECT value FROM json_each(?1))";
    const ADOPTED: &str = "
        SELECT ical_uid, connection_id FROM effects
         WHERE ical_uid IN (SELECT value FROM json_each(?1)) AND adopted_id IS NOT NULL
           AND generation = 0 AND applied_digest IS NOT NULL";
    let uids = list(bookings.iter().map(|(_, uid)| uid));
    let rows = sqlx::query(BOOKINGS)
        .bind(list(bookings.iter().map(|(id, _)| id)))
        .bind(uids.clone())
        .fetch_all(&store.read)
        .await
        .map_err(fault(OPERATION))?;
    let bookings = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let rows = sqlx::query(DESTINATIONS)
        .bind(list(providers))
        .fetch_all(&store.read)
        .await
        .map_err(fault(OPERATION))?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let row = Values::of(row, "providers", "provider_id");
        let destination = row.uuid_maybe("destination")?.map(ConnectionId);
        found.insert(ProviderId(row.uuid("provider_id")?), destination);
    }
    let destinations = providers
        .iter()
        .map(|provider| (*provider, found.get(provider).copied().flatten()))
        .collect();
    let rows =
        sqlx::query(ADOPTED).bind(uids).fetch_all(&store.read).await.map_err(fault(OPERATION))?;
    let adopted = |row| {
        let row = Values::of(row, "effects", "ical_uid");
        let uid = row.parsed("ical_uid", |text| IcalUid::parse(text).ok())?;
        Ok((uid, ConnectionId(row.uuid("connection_id")?)))
    };
    let adopted = rows.iter().map(adopted).collect::<Result<_>>()?;
    Ok(States { bookings, destinations, adopted })
}

/// Reads a row of `bookings`: its columns `ical_uid`, `placed`, `version` and `state`.
pub(super) fn read(row: &SqliteRow) -> Result<StoredBooking> {
    let values = Values::of(row, "bookings", "ical_uid");
    Ok(StoredBooking {
        booking: read_state(&values)?,
        placed: values.uuid_maybe("placed")?.map(ConnectionId),
        version: values.get("version")?,
    })
}

/// Reads the column `state`.
pub(super) fn read_state(row: &Values<'_>) -> Result<Booking> {
    let state = row.get::<&str>("state")?;
    serde_json::from_str(state).map_err(|error| row.inconsistent("state", error.to_string()))
}

/// The state under a UID that is there.
pub(super) async fn of_uid(conn: &mut SqliteConnection, uid: &IcalUid) -> Result<Booking> {
    const READ: &str = "SELECT ical_uid, placed, version, state FROM bookings WHERE ical_uid = ?1";
    let row = sqlx::query(READ)
        .bind(uid.to_string())
        .fetch_one(conn)
        .await
        .map_err(fault("read a booking"))?;
    Ok(read(&row)?.booking)
}

/// See [`crate::store::Store::commit`].
pub(super) async fn commit(store: &SqliteStore, batch: &Batch) -> Result<Committed> {
    transact(store, None, batch).await
}

/// See [`crate::store::Store::redrive`]. A letter that is no open record's answers `Stale`.
pub(super) async fn redrive(store: &SqliteStore, id: i64, batch: &Batch) -> Result<Committed> {
    transact(store, Some(id), batch).await
}

/// Why a batch is not stored.
enum Halt {
    Answer(Committed),
    Fault(sqlx::Error),
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error)
    }
}

type Step = std::result::Result<(), Halt>;

async fn transact(store: &SqliteStore, letter: Option<i64>, batch: &Batch) -> Result<Committed> {
    const OPERATION: &str = "commit a batch";
    let mut tx = store.begin(OPERATION).await?;
    match write(&mut tx, letter, batch, store.now()).await {
        Ok(()) => {}
        Err(Halt::Answer(answer)) => return Ok(answer),
        Err(Halt::Fault(error)) => return refused(OPERATION, error),
    }
    crate::crash::point!("r3.all_written");
    tx.commit().await.map_err(fault(OPERATION))?;
    Ok(Committed::Done)
}

/// Whether it is the content that the database refuses (what SQLSTATE calls classes 22 and 23).
/// A reference to a row that is not there is our own mistake, and no content.
fn refused(operation: &'static str, error: sqlx::Error) -> Result<Committed> {
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    let dangling =
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation);
    match result_code(&error) {
        Some(TOO_BIG | CONSTRAINT | MISMATCH) if !dangling => {
            Ok(Committed::Refused { detail: error.to_string() })
        }
        Some(_) | None => Err(fault(operation)(error)),
    }
}

async fn write(conn: &mut SqliteConnection, letter: Option<i64>, batch: &Batch, now: i64) -> Step {
    if let Some(advance) = &batch.advance {
        step(conn, advance, now).await?;
        crate::crash::point!("r3.cursor_written");
    }
    if let Some(id) = letter
        && !dead_letter::settle_record(conn, id, now).await?
    {
        return Err(Halt::Answer(Committed::Stale));
    }
    let destinations: BTreeMap<_, _> = batch.destinations.iter().copied().collect();
    for (provider, destination) in destinations {
        expect_destination(conn, provider, destination).await?;
    }
    for (uid, version) in &batch.unchanged {
        expect_version(conn, uid, *version).await?;
    }
    let mut bookings: Vec<_> = batch.bookings.iter().collect();
    bookings.sort_by(|one, other| one.booking.uid.cmp(&other.booking.uid));
    for booking in bookings {
        put_booking(conn, booking, now).await?;
    }
    let effects: BTreeMap<_, _> = batch
        .effects
        .iter()
        .map(|new| ((new.effect.uid.as_str(), new.effect.connection), new))
        .collect();
    for NewEffect { effect, origin } in effects.into_values() {
        ask(conn, effect, origin, now).await?;
    }
    for entry in &batch.journal {
        note(conn, entry, now).await?;
    }
    for letter in &batch.dead_letters {
        dead_letter::insert(conn, letter, now).await?;
    }
    Ok(())
}

/// Rule R3: the cursor's step, under its fence.
async fn step(conn: &mut SqliteConnection, advance: &Advance, now: i64) -> Step {
    const STEP: &str = r#"
        UPDATE cursors
           SET next_offset = ?6, witness_timestamp_ms = ?7, witness_checksum = ?8,
               log_end = MAX(COALESCE(log_end, ?9), COALESCE(?9, log_end)), updated_at = ?10
         WHERE topic = ?1 AND "partition" = ?2 AND epoch = ?3 AND token = ?4
           AND COALESCE(next_offset, 0) = ?5"#;
    const STANDS: &str = r#"
        SELECT next_offset FROM cursors
         WHERE topic = ?1 AND "partition" = ?2 AND epoch = ?3 AND token = ?4"#;
    let fence = &advance.fence;
    let done = sqlx::query(STEP)
        .bind(fence.topic.clone())
        .bind(fence.partition)
        .bind(fence.epoch)
        .bind(fence.token.to_string())
        .bind(advance.from)
        .bind(advance.to)
        .bind(advance.witness.timestamp_ms)
        .bind(advance.witness.checksum)
        .bind(advance.log_end)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let stands = sqlx::query_scalar::<_, Option<i64>>(STANDS)
        .bind(fence.topic.clone())
        .bind(fence.partition)
        .bind(fence.epoch)
        .bind(fence.token.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    Err(Halt::Answer(match stands {
        None => Committed::Foreign,
        Some(next_offset) => Committed::Elsewhere { next_offset },
    }))
}

/// The destination is the one that the plan was made from; a new provider has none.
async fn expect_destination(
    conn: &mut SqliteConnection,
    provider: ProviderId,
    expected: Option<ConnectionId>,
) -> Step {
    add_provider(conn, provider).await?;
    let destination = destination(conn, provider).await?;
    if destination == expected.map(|id| id.to_string()) {
        return Ok(());
    }
    Err(Halt::Answer(Committed::Stale))
}

/// A booking that did not change has the version that it was read at.
async fn expect_version(conn: &mut SqliteConnection, uid: &IcalUid, version: i64) -> Step {
    let stands: Option<i64> =
        sqlx::query_scalar("SELECT version FROM bookings WHERE ical_uid = ?1")
            .bind(uid.as_str())
            .fetch_optional(conn)
            .await?;
    if stands == Some(version) { Ok(()) } else { Err(Halt::Answer(Committed::Stale)) }
}

/// Makes a provider's row, if there is none.
pub(super) async fn add_provider(
    conn: &mut SqliteConnection,
    provider: ProviderId,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO providers (provider_id) VALUES (?1) ON CONFLICT DO NOTHING")
        .bind(provider.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// A provider's destination, as text.
pub(super) async fn destination(
    conn: &mut SqliteConnection,
    provider: ProviderId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT destination FROM providers WHERE provider_id = ?1")
        .bind(provider.to_string())
        .fetch_one(conn)
        .await
}

/// Writes a booking over the version that it was read at.
async fn put_booking(conn: &mut SqliteConnection, stored: &StoredBooking, now: i64) -> Step {
    const INSERT: &str = "
        INSERT INTO bookings (ical_uid, booking_id, version, provider_id, placed, revision,
                              starts_at, ends_at, shown, state, updated_at)
        VALUES (?1, ?2, ?3 + 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT DO NOTHING";
    const UPDATE: &str = "
        UPDATE bookings
           SET version = version + 1, provider_id = ?4, placed = ?5, revision = ?6, starts_at = ?7,
               ends_at = ?8, shown = ?9, state = ?10, updated_at = ?11
         WHERE ical_uid = ?1 AND booking_id = ?2 AND version = ?3";
    let booking = &stored.booking;
    let micros = |time: DateTime<Utc>| time.timestamp_micros();
    let state = serde_json::to_string(booking).expect("a booking always has a JSON form");
    let done = sqlx::query(if stored.version == 0 { INSERT } else { UPDATE })
        .bind(booking.uid.to_string())
        .bind(booking.id.to_string())
        .bind(stored.version)
        .bind(booking.provider.to_string())
        .bind(stored.placed.map(|id| id.to_string()))
        .bind(booking.revision)
        .bind(booking.content.as_ref().map(|content| micros(content.start)))
        .bind(booking.content.as_ref().map(|content| micros(content.end)))
        .bind(booking.shown().is_some())
        .bind(state)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    if stored.version > 0 || is_there(conn, booking).await? {
        return Err(Halt::Answer(Committed::Stale));
    }
    let detail = format!("the UID {} or the booking {} is taken", booking.uid, booking.id);
    Err(Halt::Answer(Committed::Refused { detail }))
}

/// Whether this very booking has come to be since it was looked for.
async fn is_there(conn: &mut SqliteConnection, booking: &Booking) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM bookings WHERE ical_uid = ?1 AND booking_id = ?2")
        .bind(booking.uid.to_string())
        .bind(booking.id.to_string())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// Rule R9: writes down what is wanted. What is in flight, what is applied and how long a backoff
/// lasts are not ingest's to touch (but for an event that was adopted and shows just this: it has
/// no marker to say so); a lower revision than the stored one changes nothing.
pub(super) async fn ask(
    conn: &mut SqliteConnection,
    effect: &Effect,
    origin: &EffectOrigin,
    now: i64,
) -> sqlx::Result<()> {
    const ASK: &str = concat!(
        "
        INSERT INTO effects (ical_uid, connection_id, desired_revision, desired_digest,
                             not_before, updated_at, verify_at, verify_from_generation,
                             verify_deletes, trace, published_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?5, CASE WHEN ?6 THEN ?5 END, CASE WHEN ?6 THEN 0 END, ?6, ?8,
                ?9)
        ON CONFLICT (ical_uid, connection_id) DO UPDATE
           SET desired_revision = excluded.desired_revision,
               desired_digest = excluded.desired_digest, dead = FALSE, rejections = 0,
               filling = FALSE,
               applied_revision = CASE
                    WHEN applied_revision = ?7 AND applied_digest = excluded.desired_digest
                    THEN excluded.desired_revision ELSE applied_revision END,
               verify_at = CASE WHEN excluded.verify_at IS NULL THEN verify_at
                    ELSE MIN(COALESCE(verify_at, excluded.verify_at), excluded.verify_at) END,
               verify_from_generation =
                    COALESCE(excluded.verify_from_generation, verify_from_generation),
               verify_stage = CASE WHEN excluded.verify_at IS NULL THEN verify_stage ELSE 0 END,
               verify_deletes = verify_deletes OR (excluded.verify_deletes AND etag IS NULL),
               updated_at = excluded.updated_at,
               ",
        asked_anew!("", "MIN"),
        "
         WHERE excluded.desired_revision > desired_revision
            OR (excluded.desired_revision = desired_revision
                AND excluded.desired_digest IS NOT desired_digest)"
    );
    let digest = match effect.desired {
        Desired::Present(digest) => Some(digest.to_string()),
        Desired::Absent => None,
    };
    sqlx::query(ASK)
        .bind(effect.uid.to_string())
        .bind(effect.connection.to_string())
        .bind(effect.revision)
        .bind(digest)
        .bind(now)
        .bind(effect.verify)
        .bind(ADOPTED_REVISION)
        .bind(origin.text())
        .bind(origin.published_at.map(|at| at.timestamp_micros()))
        .execute(conn)
        .await?;
    Ok(())
}

/// A record that is folded again (a redrive) keeps its first entry.
async fn note(conn: &mut SqliteConnection, entry: &JournalEntry, now: i64) -> Step {
    const NOTE: &str = r#"
        INSERT INTO journal (topic, incarnation, "partition", "offset", event_id, ical_uid, kind,
                             decision, revision, folded_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT DO NOTHING"#;
    sqlx::query(NOTE)
        .bind(entry.topic.clone())
        .bind(entry.position.incarnation)
        .bind(entry.position.partition)
        .bind(entry.position.offset)
        .bind(entry.event.to_string())
        .bind(entry.uid.to_string())
        .bind(entry.kind)
        .bind(entry.decision)
        .bind(entry.revision)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The digest of what a booking shows.
pub(super) fn shown_digest(booking: &Booking) -> Option<::booking::Digest> {
    booking.shown().map(::booking::Content::digest)
}
