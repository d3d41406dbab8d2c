//! The order in which rows are locked is the order of bytes, whatever the database's language.

use booking::ConnectionId;
use calendar_sync::store::{Committed, Store as _, Taken};
use futures::future::join3;
use sqlx::{Postgres, Transaction};

use super::world::{LONG, World, account, connection, created, ingest, lease_anew, uid, updated};

/// In bytes `B` is before `a`; to a reader, and to most databases, it is behind.
const FIRST: &str = "B";
const SECOND: &str = "a";

/// A transaction that keeps others from an effect.
async fn keep(world: &World, at: ConnectionId, name: &str) -> Transaction<'static, Postgres> {
    const KEEP: &str =
        "SELECT 1 FROM effects WHERE connection_id = $1 AND ical_uid = $2 FOR UPDATE";
    let mut tx = world.store.pool().begin().await.expect("it begins");
    let kept = sqlx::query(KEEP).bind(at.0).bind(uid(name).as_str().to_owned());
    kept.execute(&mut *tx).await.expect("it is kept");
    tx
}

/// Fails when the column `effects.ical_uid` has the database's own collation.
#[tokio::test]
async fn rows_are_locked_in_the_order_of_bytes_in_every_language() {
    let fact = "rows_are_locked_in_the_order_of_bytes_in_every_language";
    let english = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'
                   LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    let Some(world) = World::open_with(fact, english).await else { return };
    assert_eq!(world.number("SELECT ('B' < 'a')::int::bigint").await, 0, "it speaks English");
    world.connect(&account(1)).await;
    world.take_in(&[created(FIRST, 0), created(SECOND, 0)]).await;
    world.stamped(connection(1)).await;
    let fence = world.fence(1).await;
    let lane = lease_anew(&world.store, connection(1)).await;
    let lane = lane.expect("it answers").expect("it ran out");

    let mut first = keep(&world, connection(1), FIRST).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *first)
        .await
        .expect("its number");
    let second = keep(&world, connection(1), SECOND).await;
    let updates = [updated(FIRST, 1), updated(SECOND, 1)];
    let ingesting = ingest(&world.store, &fence, &updates);
    let taking = async {
        // The ingest waits for the first row; who takes over comes after it.
        world.until_blocked(1).await;
        world.store.take_over(&lane, LONG).await
    };
    let releasing = async {
        world.until_blocked(2).await;
        first.rollback().await.expect("it ends");
        // The ingest has got the first row, and waits for the second.
        world.until_blocked_by_others(2, pid).await;
        second.rollback().await.expect("it ends");
    };
    let (ingested, taken, ()) = join3(ingesting, taking, releasing).await;
    assert_eq!(ingested.expect("no deadlock").committed, Committed::Done);
    assert_eq!(taken.expect("no deadlock"), Taken::Over(2));
    world.end().await;
}
