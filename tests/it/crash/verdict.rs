//! What there must be in the end, of one booking and of the whole database.

use std::time::Duration;

use booking::{ConnectionId, Verb};
use calendar_sync::emit::EmitOptions;
use sqlx::{PgPool, SqlitePool};

use crate::end_to_end::story::{Story, hour};
use crate::end_to_end::world::{Connected, PATIENCE, World};
use crate::wait::found;

/// A booking, and the one calendar that it is in.
pub(super) struct Case {
    pub(super) story: Story,
    pub(super) at: Connected,
    /// How many changes there were in the calendar before it began.
    pub(super) changed_before: usize,
}

impl Case {
    /// What has changed in its calendar, in the order of arrival.
    fn changes(&self, world: &World) -> Vec<Verb> {
        let writes = world.attempts_on(&self.at);
        writes.iter().filter(|write| write.effective).map(|write| write.verb).collect()
    }

    /// Whatever came before is none of this case's doing.
    pub(super) fn begin(&mut self, world: &World) {
        self.changed_before = self.changes(world).len();
    }

    /// The calendar holds the event of this hour, or none; these changes, and no other, led there;
    /// and the operators' table says so.
    pub(super) async fn judge(
        &self,
        world: &World,
        writes: &[Verb],
        shows: Option<u32>,
    ) -> Result<(), String> {
        let changes = self.changes(world).split_off(self.changed_before);
        if changes != writes {
            let shown = world.shown(&self.at).await;
            return Err(format!(
                "the calendar changed by {changes:?}, and not by {writes:?}; it shows {shown:?}"
            ));
        }
        let shown = world.shown(&self.at).await;
        let row = world.mapped(&self.story).await;
        let Some(start) = shows else {
            let is_told = (row.sync_status.as_str(), row.is_busy) == ("CANCELLED", false);
            return match (shown.is_empty(), is_told) {
                (true, true) => Ok(()),
                _ => Err(format!("nothing should be there: {shown:?}; told as {row:?}")),
            };
        };
        let [event] = shown.as_slice() else {
            return Err(format!("one event should be there: {shown:?}"));
        };
        let is_right = (event.start, event.end) == (hour(start), hour(start + 1))
            && event.summary.contains(&self.story.details.service_name)
            && event.zone == Some(self.story.details.zone)
            && !event.tentative;
        let is_told = ["CREATED", "UPDATED"].contains(&row.sync_status.as_str())
            && (row.external_id == event.id, row.is_busy) == (true, true)
            && (row.applied_revision, row.start, row.end)
                == (event.revision, event.start, event.end);
        if is_right && is_told {
            return Ok(());
        }
        Err(format!("it should stand at {start}: {event:?}; told as {row:?}"))
    }
}

/// Another worker sends until nothing is owed, nothing is in flight, and nothing is left to be
/// verified: what was left open is verified soon, and once. Tells of a wait in vain: what each cell has come to says more of it.
pub(super) async fn recover(world: &World, outbox: &Outbox) -> Result<(), String> {
    let verify_after = vec![Duration::from_millis(200)];
    let options = EmitOptions { verify_after, lanes_max: 16, ..world.emit.clone() };
    let worker = world.worker_with(options);
    let settled = found(PATIENCE, async || (outbox.unsettled().await == 0).then_some(())).await;
    let unsettled = outbox.unsettled().await;
    worker.stop().await;
    settled.ok_or_else(|| format!("{unsettled} effects are not settled"))
}

/// Nothing is pending, nothing is dead, and Google's calendars never went backwards.
pub(super) async fn judge_all(world: World) {
    assert_eq!(world.pending().await, 0, "nothing is pending");
    let letters = world.dead_letters().await;
    assert!(letters.is_empty(), "{letters:?}");
    world.end().await;
}

/// Looks into the database.
pub(super) enum Outbox {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Outbox {
    pub(super) async fn of(world: &World) -> Self {
        let url = world.url.as_deref().expect("a database for processes");
        if url.starts_with("sqlite:") {
            Self::Sqlite(SqlitePool::connect(url).await.expect("SQLite opens"))
        } else {
            Self::Postgres(PgPool::connect(url).await.expect("PostgreSQL answers"))
        }
    }

    /// The rows about which something is still to be done, and the calendars that are to be swept.
    async fn unsettled(&self) -> i64 {
        const SQLITE: &str = "
            SELECT (SELECT count(*) FROM effects
                     WHERE due OR flight_verb IS NOT NULL OR verify_at IS NOT NULL)
                 + (SELECT count(*) FROM sweeps WHERE began_at IS NOT NULL OR due_at = 0)";
        const POSTGRES: &str = "
            SELECT (SELECT count(*) FROM calendar_sync.effects
                     WHERE due OR flight_verb IS NOT NULL OR verify_at IS NOT NULL)
                 + (SELECT count(*) FROM calendar_sync.sweeps
                     WHERE began_at IS NOT NULL OR due_at <= clock_timestamp())";
        let counted = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(SQLITE).fetch_one(pool).await,
            Self::Postgres(pool) => sqlx::query_scalar(POSTGRES).fetch_one(pool).await,
        };
        counted.expect("a number")
    }

    /// The time of every lease is over.
    pub(super) async fn end_leases(&self) {
        const SQLITE: &str = "UPDATE lanes SET leased_until = 0 WHERE token IS NOT NULL";
        const POSTGRES: &str = "
            UPDATE calendar_sync.lanes SET leased_until = clock_timestamp()
             WHERE token IS NOT NULL";
        let ended = match self {
            Self::Sqlite(pool) => sqlx::query(SQLITE).execute(pool).await.map(drop),
            Self::Postgres(pool) => sqlx::query(POSTGRES).execute(pool).await.map(drop),
        };
        ended.expect("a statement");
    }

    /// The hour of this calendar's sweep has come; no call to it was left open, as far as is known.
    pub(super) async fn sweep_alone(&self, connection: ConnectionId) {
        const SQLITE: [&str; 2] = [
            "UPDATE effects SET verify_at = NULL WHERE connection_id = ?1",
            "UPDATE sweeps SET due_at = 0 WHERE connection_id = ?1",
        ];
        const POSTGRES: [&str; 2] = [
            "UPDATE calendar_sync.effects SET verify_at = NULL WHERE connection_id = $1",
            "UPDATE calendar_sync.sweeps SET due_at = clock_timestamp() WHERE connection_id = $1",
        ];
        for (sqlite, postgres) in SQLITE.into_iter().zip(POSTGRES) {
            let changed = match self {
                Self::Sqlite(pool) => {
                    let id = connection.to_string();
                    sqlx::query(sqlite)
                        .bind(id)
                        .execute(pool)
                        .await
                        .map(|done| done.rows_affected())
                }
                Self::Postgres(pool) => {
                    let id = connection.0;
                    sqlx::query(postgres)
                        .bind(id)
                        .execute(pool)
                        .await
                        .map(|done| done.rows_affected())
                }
            };
            assert_eq!(changed.expect("a statement"), 1, "{sqlite}");
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Fails with all that went wrong, by cell.
pub(super) fn tell(wrong: impl IntoIterator<Item = (String, Option<String>)>) {
    let lines = wrong.into_iter().filter_map(|(cell, how)| Some(format!("{cell}: {}", how?)));
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "{} are wrong:\n{}", lines.len(), lines.join("\n"));
}
