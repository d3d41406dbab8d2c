//! Holds a worker inside an open transaction: rows that it needs are locked by a session of ours.

use std::time::Duration;

use sqlx::{PgPool, Postgres, Row as _, Transaction};

use crate::wait::found;

/// How long rows stay locked before others get a turn: a worker that has just been started has to
/// fence its partitions first.
const HOLD_MAX: Duration = Duration::from_millis(2_500);

/// Whose rows are locked: every one that nobody else has locked (nothing is waited for, so that
/// no deadlock can come of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Ingest, at its first statement.
    Cursors,
    /// Ingest, with its cursor moved.
    Providers,
    /// Ingest, with its cursor moved.
    Bookings,
    /// Ingest, with its bookings written; or a lane that stores what it will send, or what became
    /// of it.
    Effects,
    /// A lane that was answered, and has half recorded it.
    ExternalEvents,
}

impl Table {
    fn lock(self) -> &'static str {
        match self {
            Self::Cursors => "SELECT 1 FROM cursors FOR UPDATE SKIP LOCKED",
            Self::Providers => "SELECT 1 FROM providers FOR UPDATE SKIP LOCKED",
            Self::Bookings => "SELECT 1 FROM bookings FOR UPDATE SKIP LOCKED",
            Self::Effects => "SELECT 1 FROM effects FOR UPDATE SKIP LOCKED",
            Self::ExternalEvents => "SELECT 1 FROM external_calendar_events FOR UPDATE SKIP LOCKED",
        }
    }

    /// A statement that waits for such a row in the midst of a transaction, and not as a
    /// transaction of its own.
    fn pattern(self) -> &'static str {
        match self {
            Self::Cursors => "%UPDATE cursors%witness%log_end%",
            Self::Providers => "%FROM providers%FOR SHARE%",
            Self::Bookings => "%INSERT INTO bookings%",
            Self::Effects => "%effects%",
            Self::ExternalEvents => "%external_calendar_events%",
        }
    }
}

/// A transaction that waits for us.
pub(super) struct Open {
    /// The worker's name.
    pub(super) name: String,
    /// The statement that waits.
    pub(super) statement: String,
    /// The tables that the transaction has written to, or is about to: none of it is committed.
    pub(super) tables: Vec<String>,
    ours: Transaction<'static, Postgres>,
}

impl Open {
    /// Unlocks.
    pub(super) async fn let_go(self) {
        self.ours.rollback().await.expect("our session");
    }
}

/// Locks a table's rows until a transaction of one of these workers waits for one; `None` if none
/// has come in time.
pub(super) async fn held_open(pool: &PgPool, table: Table, names: &[String]) -> Option<Open> {
    let mut ours = pool.begin().await.expect("a session");
    sqlx::query(table.lock()).execute(&mut *ours).await.expect("rows to lock");
    let found = found(HOLD_MAX, async || waiting(pool, table, names).await).await;
    let Some((name, statement, tables)) = found else {
        ours.rollback().await.expect("our session");
        return None;
    };
    Some(Open { name, statement, tables, ours })
}

async fn waiting(
    pool: &PgPool,
    table: Table,
    names: &[String],
) -> Option<(String, String, Vec<String>)> {
    const WAITING: &str = "
        SELECT application_name AS name, query,
               ARRAY(SELECT DISTINCT c.relname::text
                       FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                      WHERE l.pid = a.pid AND l.mode = 'RowExclusiveLock' AND c.relkind = 'r'
                      ORDER BY 1) AS tables
          FROM pg_stat_activity a
         WHERE datname = current_database() AND application_name = ANY($1)
           AND state = 'active' AND wait_event_type = 'Lock' AND query LIKE $2
         ORDER BY xact_start LIMIT 1";
    let found = sqlx::query(WAITING).bind(names).bind(table.pattern()).fetch_optional(pool).await;
    let row = found.expect("PostgreSQL tells its sessions")?;
    let query: String = row.get("query");
    let statement = query.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((row.get("name"), statement, row.get("tables")))
}
