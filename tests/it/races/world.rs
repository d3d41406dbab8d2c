//! The database of a race, what watches it, and short words for what is done with it.

use std::time::Duration;

use booking::content::Template;
use booking::{
    BookingEvent, BookingId, CalendarKind, Change, ConnectionId, Details, EventId, IcalUid,
    Position, ProviderId, Rules, Status, Verb,
};
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::emit::decide::{Step, next};
use calendar_sync::pipeline::fold_batch::{Item, Reading, fold_batch};
use calendar_sync::store::postgres::{PostgresOptions, PostgresStore};
use calendar_sync::store::{
    Advance, Committed, DeadRecord, Fence, Finding, Gate, InFlight, LaneLease, LogFacts,
    NewConnection, Owed, Record, Result, Stamp, Store as _, StoredBooking, Taken, Witness,
};
use chrono::{DateTime, TimeZone as _, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

/// Longer than any schedule.
pub(crate) const LONG: Duration = Duration::from_hours(1);
/// The topic of every event.
pub(crate) const TOPIC: &str = "bookings";
/// The pause between two looks at who waits for whom.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A batch is folded anew at most so often; each time the other session has ended something.
const STALE_MAX: u32 = 4;

/// A database of its own.
pub(crate) struct World {
    /// The store on it.
    pub(crate) store: PostgresStore,
    url: String,
    name: String,
}

impl World {
    /// A new database; `None` where there is no PostgreSQL.
    pub(crate) async fn open(fact: &str) -> Option<Self> {
        Self::open_with(fact, "").await
    }

    /// The same, made with further options of `CREATE DATABASE`.
    pub(crate) async fn open_with(fact: &str, options: &str) -> Option<Self> {
        let url = crate::services::postgres(fact)?;
        let name = format!("races_{}", SystemDice.token().simple());
        run(&url, format!("CREATE DATABASE {name} {options}")).await;
        // What a crash would lose is no matter here.
        run(&url, format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
        let mut own = url::Url::parse(&url).expect("TEST_POSTGRES_URL is a URL");
        own.set_path(&name);
        let mut options = PostgresOptions::new(String::from(own).into());
        options.pool_max = 6;
        let store = PostgresStore::connect(&options).await.expect("PostgreSQL answers");
        store.migrate().await.expect("an empty database is migrated");
        sqlx::raw_sql(WATCH).execute(store.pool()).await.expect("the triggers are made");
        Some(Self { store, url, name })
    }

    /// Drops the database.
    pub(crate) async fn end(self) {
        self.store.pool().close().await;
        run(&self.url, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    /// Empties the database.
    pub(crate) async fn clear(&self) {
        const CLEAR: &str = "
            DELETE FROM journal; DELETE FROM dead_letters; DELETE FROM external_calendar_events;
            DELETE FROM effects; DELETE FROM bookings; DELETE FROM sweeps; DELETE FROM drift;
            DELETE FROM lanes; DELETE FROM connections; DELETE FROM providers; DELETE FROM cursors;";
        sqlx::raw_sql(CLEAR).execute(self.store.pool()).await.expect("it is emptied");
    }

    /// Returns once so many sessions of this database wait for a lock.
    pub(crate) async fn until_blocked(&self, sessions: i64) {
        const WAITING: &str = "
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while self.number(WAITING).await < sessions {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns once so many sessions wait for a lock that this one does not keep from them.
    pub(crate) async fn until_blocked_by_others(&self, sessions: i64, than: i32) {
        const WAITING: &str = "
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND NOT $1 = ANY(pg_blocking_pids(pid))";
        let waiting = || sqlx::query_scalar(WAITING).bind(than).fetch_one(self.store.pool());
        while waiting().await.unwrap_or(0_i64) < sessions {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a query for one number answers.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.store.pool()).await.expect("a number")
    }

    /// What must hold whenever nobody is at work: what is shown is desired at its provider's
    /// destination and nowhere else, and `due` follows from the rest of its row.
    pub(crate) async fn all_is_well(&self) {
        const ASTRAY: &str = "
            SELECT b.ical_uid FROM bookings b LEFT JOIN providers p USING (provider_id)
             WHERE (b.shown_digest IS NOT NULL AND b.placed IS DISTINCT FROM p.destination)
                OR (b.shown_digest IS NOT NULL AND p.destination IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM effects e
                     WHERE e.ical_uid = b.ical_uid AND e.connection_id = p.destination
                       AND e.desired_digest = b.shown_digest AND e.desired_revision = b.revision))
                OR EXISTS (
                    SELECT 1 FROM effects e JOIN connections c USING (connection_id)
                     WHERE e.ical_uid = b.ical_uid AND e.desired_digest IS NOT NULL
                       AND c.state <> 'removed'
                       AND (b.shown_digest IS NULL
                            OR e.connection_id IS DISTINCT FROM p.destination))";
        let astray: Vec<String> =
            sqlx::query_scalar(ASTRAY).fetch_all(self.store.pool()).await.expect("a list");
        assert!(astray.is_empty(), "desired elsewhere than at the destination: {astray:?}");
    }

    /// Fences a partition, whose cursor begins at 0.
    pub(crate) async fn fence(&self, partition: i32) -> Fence {
        let cursors = self.store.fence(TOPIC, &[partition], SystemDice.token()).await;
        let fence = cursors.expect("it answers").remove(0).fence;
        let facts = LogFacts { start: Some(0), ..LogFacts::default() };
        let noted = self.store.note_log(&fence, &facts).await.expect("it answers");
        assert_eq!(noted, calendar_sync::store::Fenced::Written);
        fence
    }

    /// Adds a connection.
    pub(crate) async fn connect(&self, new: &NewConnection) {
        self.store.put_connection(new).await.expect("it is added");
    }

    /// Takes events in that stand in partition 9.
    pub(crate) async fn take_in(&self, events: &[BookingEvent]) {
        self.take_in_from(9, events).await;
    }

    /// Takes events in, which are all that their partition has.
    pub(crate) async fn take_in_from(&self, partition: i32, events: &[BookingEvent]) {
        let fence = self.fence(partition).await;
        let taken = ingest(&self.store, &fence, events).await.expect("they are taken in");
        assert_eq!(taken.committed, Committed::Done);
    }

    /// The row of one effect.
    pub(crate) async fn effect(&self, connection: ConnectionId, name: &str) -> EffectRow {
        const READ: &str = "SELECT * FROM effects WHERE connection_id = $1 AND ical_uid = $2";
        let row = sqlx::query(READ)
            .bind(connection.0)
            .bind(uid(name).as_str())
            .fetch_one(self.store.pool())
            .await
            .expect("there is such an effect");
        EffectRow {
            desired: (row.get("desired_revision"), row.get("desired_digest")),
            applied: (row.get("applied_revision"), row.get("applied_digest")),
            flight_token: row.get("flight_token"),
            in_flight: row.get::<Option<String>, _>("flight_verb").is_some(),
            generation: row.get("generation"),
            due: row.get("due"),
        }
    }

    /// A booking, as it is stored.
    pub(crate) async fn stored(&self, name: &str) -> StoredBooking {
        let states = self.store.states(&[(id(name), uid(name))], &[]).await;
        states.expect("it answers").bookings.pop().expect("it is stored")
    }

    /// The token of a lane's holder.
    pub(crate) async fn holder(&self, connection: ConnectionId) -> Option<Uuid> {
        const READ: &str = "SELECT token FROM lanes WHERE connection_id = $1";
        sqlx::query_scalar(READ)
            .bind(connection.0)
            .fetch_one(self.store.pool())
            .await
            .expect("there is such a lane")
    }

    /// Leases a lane that has something due.
    pub(crate) async fn lease(&self, connection: ConnectionId) -> LaneLease {
        let lane = lease(&self.store, connection).await.expect("it answers");
        lane.expect("something is due")
    }

    /// Leases a lane, and stamps all that is due on it.
    pub(crate) async fn stamped(&self, connection: ConnectionId) -> LaneLease {
        let lane = self.lease(connection).await;
        assert!(!send(&self.store, &lane).await.expect("it answers").is_empty());
        lane
    }

    /// Has the calendar hold a booking's event as it is desired.
    pub(crate) async fn applied(&self, connection: ConnectionId, name: &str) -> LaneLease {
        let lane = self.stamped(connection).await;
        let finding = self.acknowledged(connection, name).await;
        let done = record(&self.store, &lane, name, finding).await.expect("it answers");
        assert_eq!(done, calendar_sync::store::Fenced::Written);
        lane
    }

    /// What a calendar answers that has taken what is desired now.
    pub(crate) async fn acknowledged(&self, connection: ConnectionId, name: &str) -> Finding {
        let row = self.effect(connection, name).await;
        let digest: [u8; 16] =
            row.desired.1.expect("an event is wanted").try_into().expect("16 bytes");
        Finding::Present {
            revision: row.desired.0,
            digest: booking::Digest(digest),
            etag: Some("\"1\"".to_owned()),
            external_id: format!("{connection}-{name}"),
            provider_uid: None,
            start: hour(9),
            end: hour(10),
        }
    }
}

/// What of an effect's row a race looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectRow {
    pub(crate) desired: (i64, Option<Vec<u8>>),
    pub(crate) applied: (Option<i64>, Option<Vec<u8>>),
    pub(crate) flight_token: Option<Uuid>,
    pub(crate) in_flight: bool,
    pub(crate) generation: i32,
    pub(crate) due: bool,
}

/// What no write may do, whoever makes it. A race's lanes stamp only what is desired.
const WATCH: &str = include_str!("watch.sql");

async fn run(url: &str, statement: String) {
    let mut conn = PgConnection::connect(url).await.expect("PostgreSQL answers");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await.expect("a statement");
    conn.close().await.expect("it closes");
}

/// What taking events in came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ingested {
    /// How it ended.
    pub(crate) committed: Committed,
    /// How many bookings it wrote.
    pub(crate) written: i64,
    /// The classes of its dead letters.
    pub(crate) dead: Vec<&'static str>,
}

/// Takes events in, as [`calendar_sync::pipeline`] does: read, fold, commit; read again when it
/// was stale. They stand in the fence's partition, from offset 0.
pub(crate) async fn ingest(
    store: &PostgresStore,
    fence: &Fence,
    events: &[BookingEvent],
) -> Result<Ingested> {
    let items: Vec<Item> = events.iter().zip(0..).map(|(e, at)| item(fence, e, at)).collect();
    for _ in 0..STALE_MAX {
        let mut batch = fold_batch(store, &rules(), &items, false).await?;
        batch.advance = Some(Advance {
            fence: fence.clone(),
            from: 0,
            to: i64::try_from(items.len()).expect("a few"),
            witness: WITNESS,
            log_end: None,
        });
        let committed = store.commit(&batch).await?;
        if committed != Committed::Stale {
            let written = i64::try_from(batch.bookings.len()).expect("a few");
            let dead = batch.dead_letters.iter().map(|letter| letter.class.name()).collect();
            return Ok(Ingested { committed, written, dead });
        }
    }
    panic!("stale again, though nobody is left to change anything")
}

const WITNESS: Witness = Witness { timestamp_ms: 1, checksum: 2 };

fn item(fence: &Fence, event: &BookingEvent, offset: i64) -> Item {
    let position = Position { incarnation: 0, partition: fence.partition, offset };
    let record = DeadRecord {
        topic: TOPIC.to_owned(),
        position,
        timestamp_ms: 1,
        key: None,
        payload: None,
        headers: Vec::new(),
    };
    Item::new(record, WITNESS, Reading::Event(Box::new(event.clone())))
}

/// Leases a connection's lane.
pub(crate) async fn lease(
    store: &PostgresStore,
    connection: ConnectionId,
) -> Result<Option<LaneLease>> {
    let gate = Gate { enabled: true, providers: Vec::new(), connections: vec![connection.0] };
    store.lease(&gate, connection, SystemDice.token(), LONG).await
}

/// What a lane stores before it sends what is due.
pub(crate) fn stamps(due: &[Owed]) -> Vec<Stamp> {
    due.iter()
        .filter_map(|owed| match next(owed) {
            Step::Send { verb, generation } => Some(stamp(owed, verb, generation)),
            Step::Settle | Step::Verify(_) | Step::Ahead { .. } | Step::Nothing => None,
        })
        .collect()
}

fn stamp(owed: &Owed, verb: Verb, generation: i32) -> Stamp {
    let digest = owed.desired.as_ref().map(booking::Content::digest);
    let revision = owed.desired_revision;
    let in_flight = InFlight { verb, revision, digest, body: b"a body".to_vec() };
    Stamp { uid: owed.uid.clone(), desired_revision: revision, generation, in_flight }
}

/// Reads what is due and stamps it, as a lane does before its calls.
pub(crate) async fn send(store: &PostgresStore, lane: &LaneLease) -> Result<Vec<IcalUid>> {
    let due = store.due(lane, 10).await?;
    store.stamp(lane, &stamps(&due)).await
}

/// Records a finding.
pub(crate) async fn record(
    store: &PostgresStore,
    lane: &LaneLease,
    name: &str,
    finding: Finding,
) -> Result<calendar_sync::store::Fenced> {
    let record = Record { lane: lane.clone(), uid: uid(name), finding, verify_after: None };
    store.record(&record).await.map(Into::into)
}

/// The lease of before runs out, and another worker leases the lane. Time does not wait for a
/// lock, this does: for those who keep the lane from being leased anyhow.
pub(crate) async fn lease_anew(
    store: &PostgresStore,
    connection: ConnectionId,
) -> Result<Option<LaneLease>> {
    const RUN_OUT: &str =
        "UPDATE lanes SET leased_until = clock_timestamp() WHERE connection_id = $1";
    let run_out = sqlx::query(RUN_OUT).bind(connection.0).execute(store.pool()).await;
    run_out.expect("a lease runs out");
    lease(store, connection).await
}

/// [`lease_anew`], and takes over what is in flight; says how much that was.
pub(crate) async fn succeed(
    store: &PostgresStore,
    connection: ConnectionId,
) -> Result<Option<(LaneLease, u64)>> {
    let Some(lane) = lease_anew(store, connection).await? else {
        return Ok(None);
    };
    match store.take_over(&lane, LONG).await? {
        Taken::Over(rows) => Ok(Some((lane, rows))),
        Taken::Refused => panic!("it has just been leased"),
    }
}

/// An hour of the day on which everything takes place.
pub(crate) fn hour(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 6, 1, hour, 0, 0).single().expect("a time in UTC")
}

/// A connection's id.
pub(crate) fn connection(number: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(number))
}

/// A provider's id.
pub(crate) fn provider(number: u128) -> ProviderId {
    ProviderId(Uuid::from_u128(0x0909_0000 + number))
}

/// A booking's id.
pub(crate) fn id(name: &str) -> BookingId {
    BookingId::parse(name).expect("an id")
}

/// A booking's UID.
pub(crate) fn uid(name: &str) -> IcalUid {
    IcalUid::of_booking(&id(name), "example.com").expect("a UID")
}

/// How events are folded here.
pub(crate) fn rules() -> Rules {
    let template = |text| Template::parse(text).expect("a template");
    Rules {
        uid_domain: "example.com".to_owned(),
        summary: template("{service_name}"),
        description: template(""),
        location: template(""),
        pending_is_tentative: false,
        horizon: hour(0),
    }
}

/// A connection of provider 1, which becomes its destination.
pub(crate) fn account(number: u128) -> NewConnection {
    NewConnection {
        id: connection(number),
        provider: provider(1),
        kind: CalendarKind::Caldav,
        subject: format!("host-{number}"),
        calendar: format!("https://dav.example.com/host/{number}/"),
        base_url: "https://dav.example.com/".to_owned(),
        sealed: vec![1],
        make_destination: true,
        revives: true,
        horizon: hour(0),
    }
}

fn event(name: &str, sequence: i64, change: Change) -> BookingEvent {
    BookingEvent {
        id: EventId(Uuid::from_u128(u128::try_from(sequence).expect("not negative"))),
        booking: id(name),
        uid: uid(name),
        provider: provider(1),
        sequence: Some(sequence),
        occurred_at: hour(1),
        change,
    }
}

/// The whole of a booking; its title tells its sequence.
fn details(sequence: i64) -> Details {
    Details {
        status: Status::Confirmed,
        start: hour(9),
        end: hour(10),
        zone: chrono_tz::Europe::Berlin,
        service_name: format!("Massage {sequence}"),
        title: None,
        description: None,
        location: None,
        notes: None,
        customer_name: None,
        customer_email: None,
    }
}

/// A Created of provider 1.
pub(crate) fn created(name: &str, sequence: i64) -> BookingEvent {
    event(name, sequence, Change::Created(details(sequence)))
}

/// An Updated of provider 1.
pub(crate) fn updated(name: &str, sequence: i64) -> BookingEvent {
    event(name, sequence, Change::Updated(details(sequence)))
}

/// A Cancelled of provider 1.
pub(crate) fn cancelled(name: &str, sequence: i64) -> BookingEvent {
    event(name, sequence, Change::Cancelled { reason: None })
}

/// An Updated that gives the booking to provider 2.
pub(crate) fn moved(name: &str, sequence: i64) -> BookingEvent {
    BookingEvent { provider: provider(2), ..updated(name, sequence) }
}
