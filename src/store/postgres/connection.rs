//! Connections, and where a provider's bookings go (rules R8, R17).

use booking::{CalendarKind, ConnectionId, ProviderId};
use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::{Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::rows::inconsistent;
use super::{PostgresStore, failed};
use crate::store::{
    ConnectionRow, ConnectionState, CountedConnection, Fill, NewConnection, PutConnection, Result,
};

/// SQL: whether something is due, in flight, open or standing on the connection `c`. An adopted event
/// whose booking was never heard of does not count.
macro_rules! holds_removal_up {
    () => {
        "EXISTS (
            SELECT 1 FROM effects e
             WHERE e.connection_id = c.connection_id
               AND EXISTS (SELECT 1 FROM bookings b WHERE b.ical_uid = e.ical_uid)
               AND (e.due OR e.dead OR e.flight_verb IS NOT NULL OR e.verify_at IS NOT NULL
                    OR e.applied_digest IS NOT NULL))"
    };
}

pub(super) use holds_removal_up;

/// Every column of `connections AS c` that is read. Named: see `effect_columns`.
macro_rules! connection_columns {
    () => {
        "c.connection_id, c.provider_id, c.kind, c.subject, c.calendar, c.base_url, c.sealed, c.state,
         c.parked_reason, c.renewal_failures, c.renewal_error, c.fill_since, c.fill_total"
    };
}

impl PostgresStore {
    pub(super) async fn upsert_connection(&self, new: &NewConnection) -> Result<PutConnection> {
        let mut tx = self.begin("add a connection").await?;
        let destination = self.lock_provider(&mut tx, new.provider).await?;
        let before = self.hold_connection(&mut tx, new).await?;
        if new.is_refused_by(before) {
            return Ok(PutConnection::REMOVED);
        }
        self.insert_or_renew(&mut tx, new).await?;
        let take = new.make_destination || destination.is_none();
        let is_new = take && destination != Some(new.id);
        let shown = if is_new { Some(self.appoint(&mut tx, new).await?) } else { None };
        if before == Some(ConnectionState::Removed) {
            self.let_go(&mut tx, new.id).await?;
        }
        if let Some(shown) = &shown {
            self.place(&mut tx, new.id, shown).await?;
            self.begin_fill(&mut tx, new.id).await?;
        }
        self.awaken(&mut tx, new.id).await?;
        self.at("connection.commit").await;
        tx.commit().await.map_err(failed("add a connection"))?;
        Ok(PutConnection {
            removed: false,
            created: before.is_none(),
            destination: take || destination == Some(new.id),
            bookings_due: shown.map_or(0, |shown| shown.len() as u64),
        })
    }

    /// Holds a connection's row, if there is one; answers its state. Rule R17: the id derives from
    /// what is compared here, so another value under it is a mistake of ours.
    async fn hold_connection(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        new: &NewConnection,
    ) -> Result<Option<ConnectionState>> {
        const HOLD: &str = concat!(
            "
            SELECT ",
            connection_columns!(),
            ", NULL::uuid AS destination, NULL::text AS halted
              FROM connections c WHERE connection_id = $1 FOR UPDATE"
        );
        self.at("connection.hold_row").await;
        let row = sqlx::query(HOLD)
            .bind(new.id.0)
            .fetch_optional(&mut **tx)
            .await
            .map_err(failed("hold a connection"))?;
        let Some(stored) = row.as_ref().map(connection).transpose()? else {
            return Ok(None);
        };
        let column = match &stored {
            stored if stored.provider != new.provider => "provider_id",
            stored if stored.kind != new.kind => "kind",
            stored if stored.subject != new.subject => "subject",
            stored if stored.calendar != new.calendar => "calendar",
            _ => return Ok(Some(stored.state)),
        };
        let detail = "it differs from what the same id is being given now";
        Err(inconsistent("connections", column, new.id, detail))
    }

    /// The same connection again renews its credentials, and unparks it.
    async fn insert_or_renew(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        new: &NewConnection,
    ) -> Result<()> {
        const UPSERT: &str = "
            INSERT INTO connections (connection_id, provider_id, kind, subject, calendar,
                                     base_url, sealed, state)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'active')
            ON CONFLICT (connection_id) DO UPDATE
               SET sealed = excluded.sealed, base_url = excluded.base_url, state = 'active',
                   parked_reason = NULL, renewal_failures = 0, renewal_error = NULL,
                   updated_at = clock_timestamp()";
        const LANE: &str = "
            INSERT INTO lanes (connection_id) VALUES ($1)
            ON CONFLICT (connection_id) DO UPDATE SET rest_until = clock_timestamp()";
        let failed = failed("add a connection");
        self.at("connection.upsert").await;
        sqlx::query(UPSERT)
            .bind(new.id.0)
            .bind(new.provider.0)
            .bind(new.kind.name())
            .bind(&new.subject)
            .bind(&new.calendar)
            .bind(&new.base_url)
            .bind(&new.sealed)
            .execute(&mut **tx)
            .await
            .map_err(&failed)?;
        self.at("connection.lane").await;
        sqlx::query(LANE).bind(new.id.0).execute(&mut **tx).await.map_err(&failed)?;
        Ok(())
    }

    /// Holds a provider's row against planning (rule R8); answers its destination.
    async fn lock_provider(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        provider: ProviderId,
    ) -> Result<Option<ConnectionId>> {
        const ADD: &str = "INSERT INTO providers (provider_id) VALUES ($1) ON CONFLICT DO NOTHING";
        const LOCK: &str = "SELECT destination FROM providers WHERE provider_id = $1 FOR UPDATE";
        let operation = "hold a provider";
        self.at("connection.provider").await;
        sqlx::query(ADD).bind(provider.0).execute(&mut **tx).await.map_err(failed(operation))?;
        self.at("connection.lock").await;
        let found: Option<Uuid> = sqlx::query_scalar(LOCK)
            .bind(provider.0)
            .fetch_one(&mut **tx)
            .await
            .map_err(failed(operation))?;
        Ok(found.map(ConnectionId))
    }

    /// Ends the waiting of what is due on a renewed connection. After the bookings, which
    /// [`Self::appoint`] holds: effects come last (rule R16).
    async fn awaken(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        id: ConnectionId,
    ) -> Result<()> {
        const AWAKE: &str = "
            WITH held AS (
                SELECT ical_uid FROM effects
                 WHERE connection_id = $1 AND due AND not_before > clock_timestamp()
                 ORDER BY ical_uid FOR UPDATE)
            UPDATE effects e SET not_before = clock_timestamp()
              FROM held
             WHERE e.connection_id = $1 AND e.ical_uid = held.ical_uid";
        self.at("connection.awake").await;
        sqlx::query(AWAKE)
            .bind(id.0)
            .execute(&mut **tx)
            .await
            .map_err(failed("add a connection"))?;
        Ok(())
    }

    /// Makes `new` the destination, and holds its provider's upcoming bookings, which it answers.
    async fn appoint(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        new: &NewConnection,
    ) -> Result<Vec<String>> {
        const DESTINATION: &str = "UPDATE providers SET destination = $2 WHERE provider_id = $1";
        const HOLD: &str = "
            SELECT ical_uid FROM bookings
             WHERE provider_id = $1 AND shown_digest IS NOT NULL AND ends_at >= $2
             ORDER BY ical_uid FOR UPDATE";
        let failed = failed("make a connection the destination");
        self.at("connection.destination").await;
        sqlx::query(DESTINATION)
            .bind(new.provider.0)
            .bind(new.id.0)
            .execute(&mut **tx)
            .await
            .map_err(&failed)?;
        self.at("connection.bookings").await;
        sqlx::query_scalar(HOLD)
            .bind(new.provider.0)
            .bind(new.horizon)
            .fetch_all(&mut **tx)
            .await
            .map_err(&failed)
    }

    /// Nothing was planned for a connection while it was removed: what its rows ask for is of
    /// before. Whatever is not placed on it is to be absent from it, before anything is placed
    /// anew.
    async fn let_go(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        id: ConnectionId,
    ) -> Result<()> {
        const LET_GO: &str = concat!(
            "
            WITH held AS (
                SELECT e.ical_uid, b.revision FROM effects e JOIN bookings b USING (ical_uid)
                 WHERE e.connection_id = $1 AND b.placed IS DISTINCT FROM $1
                   AND NOT (e.adopted_id IS NOT NULL AND b.placed IS NULL
                            AND b.shown_digest IS NOT NULL)
                 ORDER BY e.ical_uid FOR UPDATE OF e)
            UPDATE effects e
               SET desired_digest = NULL,
                   desired_revision = GREATEST(e.desired_revision, held.revision),
                   dead = false, rejections = 0, not_before = clock_timestamp(),
                   updated_at = clock_timestamp(),
                   ",
            asked_by_none!("e."),
            "
              FROM held
             WHERE e.connection_id = $1 AND e.ical_uid = held.ical_uid"
        );
        self.at("connection.let_go").await;
        sqlx::query(LET_GO)
            .bind(id.0)
            .execute(&mut **tx)
            .await
            .map_err(failed("let go what a removed connection was asked for"))?;
        Ok(())
    }

    pub(super) async fn begin_removal(&self, id: ConnectionId, withdraw: bool) -> Result<bool> {
        const PROVIDER: &str = "SELECT provider_id FROM connections WHERE connection_id = $1";
        const STATE: &str = "
            UPDATE connections
               SET state = $2, sealed = CASE WHEN $2 = 'removed' THEN ''::bytea ELSE sealed END,
                   parked_reason = NULL, renewal_failures = 0, renewal_error = NULL,
                   fill_since = NULL, fill_total = 0, updated_at = clock_timestamp()
             WHERE connection_id = $1 AND state <> 'removed'";
        let failed = failed("remove a connection");
        let mut tx = self.begin("remove a connection").await?;
        self.at("connection.find").await;
        let provider: Option<Uuid> = sqlx::query_scalar(PROVIDER)
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(&failed)?;
        let Some(provider) = provider else {
            return Ok(false);
        };
        self.lock_provider(&mut tx, ProviderId(provider)).await?;
        let state = if withdraw { ConnectionState::Removing } else { ConnectionState::Removed };
        self.at("connection.remove").await;
        let done = sqlx::query(STATE)
            .bind(id.0)
            .bind(state.name())
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.take_down(&mut tx, id, withdraw).await?;
        self.finish_removal(&mut *tx, id).await?;
        self.at("connection.commit").await;
        tx.commit().await.map_err(&failed)?;
        Ok(true)
    }

    /// Fences what is in flight on a connection, and takes its bookings off it. An adopted event
    /// whose booking was never heard of is not ours to withdraw.
    async fn take_down(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        id: ConnectionId,
        withdraw: bool,
    ) -> Result<()> {
        const NO_DESTINATION: &str =
            "UPDATE providers SET destination = NULL WHERE destination = $1";
        // A token that nobody holds: whoever is sending now can record nothing (L10).
        const FENCE_LANE: &str =
            "UPDATE lanes SET token = NULL, leased_until = NULL WHERE connection_id = $1";
        // Of the calendar as it was: whoever connects the account again begins anew. But the hour stays:
        // what is still to be withdrawn then is swept without waiting for another effect.
        const NO_SWEEP: &str = "
            UPDATE sweeps
               SET since = NULL, began_at = NULL, is_full = true, page = NULL, pages = 0,
                   removals = 0, failures = 0, partial = 0, excused = false, halted = NULL,
                   result = NULL, result_at = NULL
             WHERE connection_id = $1";
        const NO_DRIFT: &str = "DELETE FROM drift WHERE connection_id = $1";
        const HOLD: &str =
            "SELECT ical_uid FROM bookings WHERE placed = $1 ORDER BY ical_uid FOR UPDATE";
        const UNPLACE: &str = "
            UPDATE bookings SET placed = NULL, version = version + 1, updated_at = clock_timestamp()
             WHERE placed = $1";
        const FENCE_FLIGHTS: &str = "
            UPDATE effects
               SET flight_token = CASE WHEN flight_verb IS NOT NULL THEN gen_random_uuid() END,
                   filling = false, updated_at = clock_timestamp()
             WHERE connection_id = $1 AND (flight_verb IS NOT NULL OR filling)";
        const WITHDRAW: &str = concat!(
            "
            UPDATE effects e
               SET desired_digest = NULL, dead = false, rejections = 0,
                   not_before = clock_timestamp(), updated_at = clock_timestamp(),
                   ",
            asked_by_none!("e."),
            "
             WHERE connection_id = $1
               AND EXISTS (SELECT 1 FROM bookings b WHERE b.ical_uid = e.ical_uid)"
        );
        let failed = failed("take a connection down");
        let all = [
            ("connection.no_destination", NO_DESTINATION),
            ("connection.fence_lane", FENCE_LANE),
            ("connection.no_sweep", NO_SWEEP),
            ("connection.no_drift", NO_DRIFT),
            ("connection.hold", HOLD),
            ("connection.unplace", UNPLACE),
            ("connection.fence_flights", FENCE_FLIGHTS),
        ];
        let last = withdraw.then_some(("connection.withdraw", WITHDRAW));
        for (name, statement) in all.into_iter().chain(last) {
            self.at(name).await;
            sqlx::query(statement).bind(id.0).execute(&mut **tx).await.map_err(&failed)?;
        }
        Ok(())
    }

    /// Credentials die last: once nothing holds a removal up.
    pub(super) async fn finish_removal(
        &self,
        executor: impl PgExecutor<'_>,
        id: ConnectionId,
    ) -> Result<()> {
        const FINISH: &str = concat!(
            "
            UPDATE connections c
               SET state = 'removed', sealed = '', updated_at = clock_timestamp()
             WHERE connection_id = $1 AND state = 'removing' AND NOT ",
            holds_removal_up!()
        );
        self.at("connection.finish").await;
        sqlx::query(FINISH)
            .bind(id.0)
            .execute(executor)
            .await
            .map_err(failed("finish a removal"))?;
        Ok(())
    }

    pub(super) async fn read_connections(&self) -> Result<Vec<CountedConnection>> {
        const READ: &str = concat!(
            "
            SELECT ",
            connection_columns!(),
            ", p.destination, s.halted, s.result AS swept,
                   (SELECT count(*) FROM drift d
                     WHERE d.connection_id = c.connection_id) AS drift,
                   (SELECT count(*) FROM effects e
                     WHERE e.connection_id = c.connection_id AND e.due) AS pending,
                   (SELECT count(*) FROM effects e
                     WHERE e.connection_id = c.connection_id AND e.filling
                       AND (e.due OR e.dead)) AS fill_left,
                   (SELECT count(*) FROM effects e
                     WHERE e.connection_id = c.connection_id
                       AND e.applied_digest IS NOT NULL) AS live,
                   (SELECT e.last_error FROM effects e
                     WHERE e.connection_id = c.connection_id AND e.due
                       AND e.last_error IS NOT NULL
                     ORDER BY e.not_before DESC, e.ical_uid DESC LIMIT 1) AS last_error
              FROM connections c JOIN providers p USING (provider_id)
              LEFT JOIN sweeps s USING (connection_id)
             ORDER BY c.provider_id, c.connection_id"
        );
        let rows =
            sqlx::query(READ).fetch_all(&self.pool).await.map_err(failed("read connections"))?;
        let counted = |row| {
            let connection = connection(row)?;
            let (pending, live) = (row.get("pending"), row.get("live"));
            let (drift, swept) = (row.get("drift"), row.get("swept"));
            let last_error = row.get("last_error");
            let since: Option<chrono::DateTime<chrono::Utc>> = row.get("fill_since");
            let (total, left) = (row.get("fill_total"), row.get("fill_left"));
            let fill = since.map(|since| Fill { since, total, left });
            Ok(CountedConnection { connection, pending, live, drift, swept, last_error, fill })
        };
        rows.iter().map(counted).collect()
    }

    pub(super) async fn read_connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>> {
        const READ: &str = concat!(
            "
            SELECT ",
            connection_columns!(),
            ", p.destination, s.halted
              FROM connections c JOIN providers p USING (provider_id)
              LEFT JOIN sweeps s USING (connection_id)
             WHERE c.connection_id = $1"
        );
        let row = sqlx::query(READ)
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a connection"))?;
        row.as_ref().map(connection).transpose()
    }
}

fn connection(row: &PgRow) -> Result<ConnectionRow> {
    let id: Uuid = row.get("connection_id");
    let wrong = |column, detail: &str| inconsistent("connections", column, id, detail);
    let (kind, state): (&str, &str) = (row.get("kind"), row.get("state"));
    Ok(ConnectionRow {
        id: ConnectionId(id),
        provider: ProviderId(row.get("provider_id")),
        kind: CalendarKind::parse(kind).ok_or_else(|| wrong("kind", kind))?,
        subject: row.get("subject"),
        calendar: row.get("calendar"),
        base_url: row.get("base_url"),
        sealed: row.get("sealed"),
        state: ConnectionState::parse(state).ok_or_else(|| wrong("state", state))?,
        parked_reason: row.get("parked_reason"),
        renewal_failures: row.get("renewal_failures"),
        renewal_error: row.get("renewal_error"),
        destination: row.get::<Option<Uuid>, _>("destination") == Some(id),
        halted: row.get("halted"),
    })
}
