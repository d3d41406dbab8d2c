//! Whose database it is, and of which version.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::{PostgresStore, SCHEMA, failed};
use crate::store::{Installation, Result, StoreError};

/// Also what is applied is written down in our schema: in `public` there may be a table of that name
/// that tells of somebody else's migrations.
const MIGRATIONS: &str = "calendar_sync._sqlx_migrations";

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name(MIGRATIONS);
    migrator
}

/// The versions that this binary was built for.
fn needed() -> Vec<i64> {
    migrator().iter().map(|migration| migration.version).collect()
}

fn other_version(found: &[i64], needed: &[i64]) -> StoreError {
    let name = |versions: &[i64]| match versions.last() {
        None => "empty (no migration applied)".to_owned(),
        Some(last) => format!("version {last} ({} migrations)", versions.len()),
    };
    let advice = if found.len() < needed.len() && needed.starts_with(found) {
        "run `calendar-sync migrate` with this version"
    } else {
        "a newer version has migrated it; run that version, or restore a backup"
    };
    StoreError::Version { found: name(found), needed: name(needed), advice }
}

/// What is said in a migration is for whoever runs it, without the driver's words around it.
fn not_migrated(error: MigrateError) -> StoreError {
    if let MigrateError::ExecuteMigration(sqlx::Error::Database(refusal), _) = &error {
        return StoreError::Migration { reason: refusal.message().to_owned() };
    }
    let source = sqlx::Error::Migrate(Box::new(error));
    StoreError::Failed { operation: "migrate the schema", source }
}

impl PostgresStore {
    /// Brings the schema to this version: forward only, each migration once, under a lock that
    /// lets one process do it. Answers how many were applied.
    pub async fn migrate(&self) -> Result<usize> {
        let before = self.applied().await?;
        let needed = needed();
        if !needed.starts_with(&before) {
            return Err(other_version(&before, &needed));
        }
        let operation = "migrate the schema";
        // A migration may well be slow, or wait for another process's, and its text is too long for
        // a warning about that.
        let options = (*self.pool.connect_options())
            .clone()
            .options([("statement_timeout", "0"), ("lock_timeout", "0")])
            .disable_statement_logging();
        let mut migrator = migrator();
        if !self.has_schema().await? {
            migrator.create_schema(SCHEMA);
        }
        let mut conn = options.connect().await.map_err(failed(operation))?;
        migrator.run(&mut conn).await.map_err(not_migrated)?;
        conn.close().await.map_err(failed(operation))?;
        Ok(self.applied().await?.len() - before.len())
    }

    /// Where somebody has made it for us, we need not be allowed to.
    async fn has_schema(&self) -> Result<bool> {
        const EXISTS: &str = "SELECT to_regnamespace($1) IS NOT NULL";
        let exists = sqlx::query_scalar(EXISTS).bind(SCHEMA).fetch_one(&self.pool).await;
        exists.map_err(failed("look for our schema"))
    }

    /// The versions that are applied; none in an empty database.
    async fn applied(&self) -> Result<Vec<i64>> {
        const EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL";
        const APPLIED: &str = "
            SELECT version FROM calendar_sync._sqlx_migrations WHERE success ORDER BY version";
        let operation = "read the schema's version";
        let exists = sqlx::query_scalar(EXISTS).bind(MIGRATIONS).fetch_one(&self.pool).await;
        if !exists.map_err(failed(operation))? {
            return Ok(Vec::new());
        }
        sqlx::query_scalar(APPLIED).fetch_all(&self.pool).await.map_err(failed(operation))
    }

    pub(super) async fn check_version(&self) -> Result<()> {
        let found = self.applied().await?;
        let needed = needed();
        if found == needed {
            return Ok(());
        }
        Err(other_version(&found, &needed))
    }

    /// Whoever has opened it goes on after a newer version has migrated, which only expands.
    pub(super) async fn check_still(&self) -> Result<()> {
        let found = self.applied().await?;
        let needed = needed();
        if found.starts_with(&needed) {
            return Ok(());
        }
        Err(other_version(&found, &needed))
    }

    pub(super) async fn open_installation(
        &self,
        wanted: Option<Uuid>,
        fresh: Uuid,
    ) -> Result<Installation> {
        const BEGIN: &str = "INSERT INTO installation (id) VALUES ($1) ON CONFLICT DO NOTHING";
        const READ: &str = "SELECT id, installed_at FROM installation";
        self.check_version().await?;
        let operation = "read the installation";
        sqlx::query(BEGIN)
            .bind(wanted.unwrap_or(fresh))
            .execute(&self.pool)
            .await
            .map_err(failed(operation))?;
        let row = sqlx::query(READ).fetch_one(&self.pool).await.map_err(failed(operation))?;
        self.note_incarnation().await?;
        let installation =
            Installation { id: row.get("id"), installed_at: row.get("installed_at") };
        match wanted {
            Some(wanted) if wanted != installation.id => {
                Err(StoreError::Installation { found: installation.id, wanted })
            }
            Some(_) | None => Ok(installation),
        }
    }

    /// Rule R18: a server with another history than the one that we knew may have lost what it had
    /// committed last. Then every partition is read with care up to its log end, also by those who
    /// are reading it now: they are fenced off. Whether it was so.
    pub(super) async fn note_incarnation(&self) -> Result<bool> {
        const BEFORE: &str = "SELECT incarnation FROM installation FOR UPDATE";
        const NOTE: &str = "UPDATE installation SET incarnation = $1";
        const RECOVER: &str = "
            WITH held AS (
                SELECT topic, partition FROM cursors ORDER BY topic, partition FOR UPDATE)
            UPDATE cursors c
               SET recover_until = 9223372036854775807, log_end_at = NULL,
                   epoch = epoch + 1, token = gen_random_uuid(), updated_at = clock_timestamp()
              FROM held
             WHERE c.topic = held.topic AND c.partition = held.partition";
        let operation = "note the server's identity";
        let now = self.read_incarnation().await?;
        let mut tx = self.begin(operation).await?;
        let before: Option<Option<String>> =
            sqlx::query_scalar(BEFORE).fetch_optional(&mut *tx).await.map_err(failed(operation))?;
        // Before anything is installed, nothing can be lost.
        let Some(before) = before.filter(|before| before.as_ref() != Some(&now)) else {
            return Ok(false);
        };
        let is_another = before.is_some();
        sqlx::query(NOTE).bind(&now).execute(&mut *tx).await.map_err(failed(operation))?;
        if let Some(before) = before {
            tracing::warn!(
                error_code = "database_changed",
                before,
                now,
                "another database server answers: what it may have lost is looked up again"
            );
            sqlx::query(RECOVER).execute(&mut *tx).await.map_err(failed(operation))?;
        }
        tx.commit().await.map_err(failed(operation))?;
        Ok(is_another)
    }

    /// The system identifier tells clusters apart, the timeline a promoted standby from what it
    /// followed (PostgreSQL documentation, `pg_control_system` and `pg_control_checkpoint`).
    async fn read_incarnation(&self) -> Result<String> {
        const READ: &str = "
            SELECT s.system_identifier::text || '/' || c.timeline_id::text
              FROM pg_control_system() s, pg_control_checkpoint() c";
        sqlx::query_scalar(READ)
            .fetch_one(&self.pool)
            .await
            .map_err(failed("read the server's identity"))
    }
}
