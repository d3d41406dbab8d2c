//! What the pipeline is held against: folding without a database, and the bare bulk upsert of the
//! very rows that the pipeline writes, without states to read, effects, journal or fence.

use std::collections::HashMap;

use booking::decode::Contract;
use booking::fold::fold;
use booking::plan::plan;
use booking::{Arrival, Booking, BookingId, ConnectionId, Position, ProviderId, Rules};
use calendar_sync::consumer::RawRecord;
use calendar_sync::pipeline::fold_batch::Reading;
use calendar_sync::pipeline::schemas::{NoRegistry, read};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::events;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS bare (
        ical_uid text PRIMARY KEY, booking_id text NOT NULL, provider_id uuid NOT NULL,
        placed uuid, version bigint NOT NULL, revision bigint NOT NULL, shown_digest bytea,
        starts_at timestamptz, ends_at timestamptz, state text NOT NULL)";

/// A booking, and where it was put.
type Folded = (Booking, Option<ConnectionId>);

/// Folds one partition in memory, batch by batch: decode, fold, plan. Answers the bookings that
/// each batch changed, for [`rows`].
pub(crate) async fn fold_alone(
    records: &[RawRecord],
    batch: usize,
    rules: &Rules,
) -> (Vec<Vec<Folded>>, usize) {
    let contract = Contract::new();
    let destinations: HashMap<ProviderId, ConnectionId> =
        (0..events::PROVIDERS).map(events::connection).map(|new| (new.provider, new.id)).collect();
    let mut bookings: HashMap<BookingId, Folded> = HashMap::new();
    let (mut batches, mut effects) = (Vec::new(), 0);
    for batch in records.chunks(batch) {
        let mut changed: HashMap<BookingId, bool> = HashMap::new();
        for record in batch {
            let payload = record.payload.as_deref();
            let reading = read(&contract, &NoRegistry, &[], payload, &rules.uid_domain).await;
            let Ok(Reading::Event(event)) = reading else {
                unreachable!("the log holds nothing but events");
            };
            let position =
                Position { incarnation: 0, partition: record.partition, offset: record.offset };
            let (before, placed) = bookings.remove(&event.booking).unzip();
            let folded = fold(before, &event, Arrival::Log(position), rules);
            let (after, decision) = folded.expect("every event can be folded");
            let visible = decision == booking::Decision::Visible;
            *changed.entry(after.id.clone()).or_default() |= visible;
            bookings.insert(after.id.clone(), (after, placed.flatten()));
        }
        let mut after = Vec::with_capacity(changed.len());
        for (id, visible) in changed {
            let (booking, placed) = bookings.get_mut(&id).expect("it was folded");
            if visible {
                let destination = destinations.get(&booking.provider).copied();
                let plan = plan(booking, *placed, destination, rules);
                effects += plan.effects.len();
                *placed = plan.placed;
            }
            after.push((booking.clone(), *placed));
        }
        batches.push(after);
    }
    (batches, effects)
}

/// The columns of one batch's rows.
#[derive(Default)]
pub(crate) struct Rows {
    uids: Vec<String>,
    ids: Vec<String>,
    providers: Vec<Uuid>,
    placed: Vec<Option<Uuid>>,
    versions: Vec<i64>,
    revisions: Vec<i64>,
    digests: Vec<Option<Vec<u8>>>,
    starts: Vec<Option<DateTime<Utc>>>,
    ends: Vec<Option<DateTime<Utc>>>,
    states: Vec<String>,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.uids.len()
    }
}

/// The rows that these batches write.
pub(crate) fn rows(batches: Vec<Vec<Folded>>) -> Vec<Rows> {
    let of_batch = |mut batch: Vec<Folded>| {
        batch.sort_unstable_by(|(a, _), (b, _)| a.uid.cmp(&b.uid));
        let mut rows = Rows::default();
        for (booking, placed) in batch {
            let content = booking.content.as_ref();
            rows.uids.push(booking.uid.as_str().to_owned());
            rows.ids.push(booking.id.as_str().to_owned());
            rows.providers.push(booking.provider.0);
            rows.placed.push(placed.map(|id| id.0));
            rows.versions.push(1);
            rows.revisions.push(booking.revision);
            rows.digests.push(booking.shown().map(|content| content.digest().0.to_vec()));
            rows.starts.push(content.map(|content| content.start));
            rows.ends.push(content.map(|content| content.end));
            rows.states.push(serde_json::to_string(&booking).expect("plain data has a JSON form"));
        }
        rows
    };
    batches.into_iter().map(of_batch).collect()
}

/// An empty table for the bare upsert, with a primary key and nothing else.
pub(crate) async fn make_table(pool: &PgPool) {
    for statement in [TABLE, "TRUNCATE bare"] {
        sqlx::query(statement).execute(pool).await.expect("a table");
    }
}

/// Upserts the batches of one partition: one statement, one commit each.
pub(crate) async fn upsert(pool: &PgPool, batches: &[Rows]) {
    const UPSERT: &str = "
        INSERT INTO bare
        SELECT * FROM UNNEST($1::text[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[],
                             $6::bigint[], $7::bytea[], $8::timestamptz[], $9::timestamptz[],
                             $10::text[])
        ON CONFLICT (ical_uid) DO UPDATE
           SET provider_id = excluded.provider_id, placed = excluded.placed,
               version = excluded.version, revision = excluded.revision,
               shown_digest = excluded.shown_digest, starts_at = excluded.starts_at,
               ends_at = excluded.ends_at, state = excluded.state";
    for rows in batches {
        sqlx::query(UPSERT)
            .bind(&rows.uids)
            .bind(&rows.ids)
            .bind(&rows.providers)
            .bind(&rows.placed)
            .bind(&rows.versions)
            .bind(&rows.revisions)
            .bind(&rows.digests)
            .bind(&rows.starts)
            .bind(&rows.ends)
            .bind(&rows.states)
            .execute(pool)
            .await
            .expect("it is upserted");
    }
}
