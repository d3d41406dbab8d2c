//! The one place that knows SQL: cursors, bookings, effects and connections, kept together.
//!
//! [`Store`] is data in, data out. It never calls a calendar, never reads Kafka, and holds no
//! transaction open between two of its functions: what must be atomic is one function. Expected
//! results (a fence that refused, a state that changed under us) are values, not errors.
//!
//! The order in which rows are locked, everywhere (rule R16): cursor, providers and connections,
//! lanes, bookings, effects, each sorted by key.

/// SQL: whether nothing is sent on the connection `c` before `adopt` was run. What is being removed
/// only withdraws what we know of.
macro_rules! unadopted {
    () => {
        "(c.state <> 'removing' AND EXISTS (
            SELECT 1 FROM external_calendar_events AS x
             WHERE x.connection_id IS NULL AND x.sync_status <> 'CANCELLED'
               AND x.generation >= 0 AND x.provider_id = c.provider_id
               AND x.calendar_provider = c.kind))"
    };
}

/// SQL, in `SET`: where an effect came from that is asked for anew, as `excluded` says. If it was owed
/// already, its former events come after the new ones (`TRACE_TEXT_MAX` is 447); else they are done
/// with. Before the names of the row's own columns stands `$row`.
macro_rules! asked_anew {
    ($row:literal, $least:literal) => {
        concat!(
            "trace = CASE WHEN ",
            $row,
            "due
                     THEN substr(COALESCE(excluded.trace || ' ' || ",
            $row,
            "trace, excluded.trace,
                                          ",
            $row,
            "trace), 1, 447)
                     ELSE excluded.trace END,
             published_at = CASE WHEN ",
            $row,
            "due
                     THEN ",
            $least,
            "(COALESCE(",
            $row,
            "published_at, excluded.published_at),
                                       COALESCE(excluded.published_at, ",
            $row,
            "published_at))
                     ELSE excluded.published_at END"
        )
    };
}

/// SQL, in `SET`: where an effect came from, once something else than an event makes it due. What was
/// owed already is still its events'.
macro_rules! asked_by_none {
    ($row:literal) => {
        concat!(
            "trace = CASE WHEN ",
            $row,
            "due THEN ",
            $row,
            "trace END,
             published_at = CASE WHEN ",
            $row,
            "due THEN ",
            $row,
            "published_at END"
        )
    };
}

/// SQL, in `SET`: since when an effect has been waiting, once what was in flight is acknowledged. Where
/// `$newer` is wanted by now, it was asked for after that was stamped: the oldest event has what it asked for.
macro_rules! waits_since_stamped {
    ($newer:literal) => {
        concat!(
            "published_at = CASE WHEN published_at < flight_at AND ",
            $newer,
            "
                    THEN flight_at ELSE published_at END"
        )
    };
}

pub mod connect;

pub mod types;

pub mod origin;

pub mod sending;

pub mod sweeping;

pub mod put;

pub mod filling;

pub mod tally;

pub mod postgres;

#[cfg(feature = "demo")]
pub mod sqlite;

pub use connect::{connect, migrate};
pub use filling::*;
pub use origin::*;
pub use put::*;
pub use sending::*;
pub use sweeping::*;
pub use tally::*;
pub use types::*;

use std::time::Duration;

use async_trait::async_trait;
use booking::{BookingId, CalendarKind, ConnectionId, IcalUid, ProviderId};
use uuid::Uuid;

/// Why the store could not answer. `operation` says what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or refused for a passing reason: try again later.
    /// Whether a commit took place is not known.
    #[error("the database did not answer while asked to {operation}")]
    Unavailable {
        /// What was asked.
        operation: &'static str,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// The database answered with an error that trying again does not mend.
    #[error("the database refused to {operation}")]
    Failed {
        /// What was asked.
        operation: &'static str,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value is not one that we write.
    #[error("{table}.{column} of {key} holds something that this version does not write: {detail}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The database's schema is not this version's.
    #[error("the database's schema is {found}, and this version needs {needed}: {advice}")]
    Version {
        /// What is there.
        found: String,
        /// What this binary was built for.
        needed: String,
        /// What to do.
        advice: &'static str,
    },
    /// A migration was refused, and all of it undone.
    #[error("the database was not migrated: {reason}")]
    Migration {
        /// What the database, or the migration itself, has against it.
        reason: String,
    },
    /// The database belongs to another installation: a copy must not send (rule R17).
    #[error(
        "the database belongs to installation {found}, and the settings say {wanted}: a copy of a database must not emit"
    )]
    Installation {
        /// As stored.
        found: Uuid,
        /// As configured.
        wanted: Uuid,
    },
}

/// The answer of a store function.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What the service keeps. Implemented on PostgreSQL and on SQLite, held to one contract suite.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // ---- the installation ----

    /// Refuses a database of another version or another installation; gives the installation id
    /// and when it was installed. The first call on an empty installation stores `wanted`, or the
    /// id `fresh` if none is configured, and the time.
    async fn open(&self, wanted: Option<Uuid>, fresh: Uuid) -> Result<Installation>;

    /// Whether the database answers, and is of this version, or a newer one has migrated it since: reads, and
    /// writes nothing.
    async fn check(&self) -> Result<()>;

    /// Notices another database server than before, or the same one with another history: it may
    /// have lost its tail (rule R18). Then every owner is fenced off, and every partition is to be
    /// read with care. `true`: it was so. Nothing where the notion does not exist (SQLite).
    async fn notice_server(&self) -> Result<bool>;

    // ---- reading the log ----

    /// Notices another server first ([`Store::notice_server`]): who was refused because the database
    /// fell back fences again at once, and must not read on as ever. Then rule R1: raises the owner
    /// epoch of each partition (new rows begin at epoch 1) and stores
    /// `token`, then reads the cursor, in one transaction. Answers in the order of `partitions`.
    async fn fence(&self, topic: &str, partitions: &[i32], token: Uuid) -> Result<Vec<Cursor>>;

    /// Reads one cursor without touching it: what an ambiguous commit is resolved by (rule R3).
    async fn cursor(&self, topic: &str, partition: i32) -> Result<Option<Cursor>>;

    /// Every cursor, sorted by topic and partition.
    async fn cursors(&self) -> Result<Vec<Cursor>>;

    /// Stores facts of the log on a cursor: its start (only where there is none yet), the topic's
    /// and cluster's identity, the log end. Only under its fence.
    async fn note_log(&self, fence: &Fence, facts: &LogFacts) -> Result<Fenced>;

    /// Rule R2: stops a partition under its fence, with a reason for the operator.
    async fn stop(&self, fence: &Fence, stop: &Stop) -> Result<Fenced>;

    /// An operator's answer to a stop: raises the epoch, so that no owner goes on unawares.
    /// `false` if there is no such cursor.
    async fn resume(&self, topic: &str, partition: i32, how: Resume) -> Result<bool>;

    /// What folding needs to know, read outside any transaction: the bookings under these ids or
    /// UIDs, and the destinations of these providers.
    async fn states(
        &self,
        bookings: &[(BookingId, IcalUid)],
        providers: &[ProviderId],
    ) -> Result<States>;

    /// Rule R3: one transaction for one batch of one partition. Checks the fence, then that the
    /// providers' destinations and the bookings' versions are those that the plan was made from,
    /// then writes all of it.
    async fn commit(&self, batch: &Batch) -> Result<Committed>;

    // ---- dead letters ----

    /// Newest last; at most `limit`, after the id `after`.
    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>>;

    /// One dead letter, whole.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>>;

    /// Commits what redriving a record did, and settles the dead letter, in one transaction.
    /// `batch.advance` is `None`.
    async fn redrive(&self, id: i64, batch: &Batch) -> Result<Committed>;

    /// Marks the effect of an effect's dead letter due again, and settles the dead letter.
    async fn revive(&self, id: i64) -> Result<bool>;

    /// Settles a dead letter without doing anything about it. `false` if there is no open one.
    async fn discard(&self, id: i64) -> Result<bool>;

    // ---- connections ----

    /// Adds a connection, or renews the credentials of the same one (rule R17); it becomes its
    /// provider's destination if that has none or `make_destination`. The provider's upcoming
    /// bookings become due at a new destination, in one transaction (rule R8): it is filled with them.
    /// What rests or waits need not any longer, even if a drain that goes on gives its lane back later.
    async fn put_connection(&self, connection: &NewConnection) -> Result<PutConnection>;

    /// Every connection, sorted by provider and id, with its counts.
    async fn connections(&self) -> Result<Vec<CountedConnection>>;

    /// One connection, without counts: whoever drains it asks for this.
    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>>;

    /// Begins a removal: the connection stops being a destination, what is in flight is fenced.
    /// With `withdraw` its events become due to be absent, and its credentials stay until they
    /// are; without, its rows are left as they are and its credentials are deleted at once.
    async fn remove_connection(&self, id: ConnectionId, withdraw: bool) -> Result<bool>;

    /// Parks a connection until a person has seen to it. Only under the lane's token, and only while
    /// its credentials are the ones that did not do: one that was connected again meanwhile is not
    /// parked.
    async fn park(&self, lane: &LaneLease, sealed: &[u8], reason: &str) -> Result<Fenced>;

    /// Puts credentials in the place of those that they were renewed from, and ends the counting of
    /// failures. Only under the lane's token, and only while those are there (rule R10).
    async fn renew_credentials(&self, lane: &LaneLease, from: &[u8], to: &[u8]) -> Result<Fenced>;

    /// Counts a renewal that failed and is tried again, and keeps why. Answers how many there were in
    /// a row; `None`: refused. On the same conditions.
    async fn renewal_failed(
        &self,
        lane: &LaneLease,
        sealed: &[u8],
        reason: &str,
    ) -> Result<Option<u32>>;

    /// Puts credentials in the place of the same ones, sealed otherwise, whoever holds the lane.
    /// `false`: other ones are there by now.
    async fn swap_credentials(&self, id: ConnectionId, from: &[u8], to: &[u8]) -> Result<bool>;

    /// Events of the booking application that no connection has taken over yet, by their ids after
    /// `after`. While a provider has any of a kind, nothing is sent on its connections of that
    /// kind ([`Store::lease`]).
    async fn legacy_events(
        &self,
        provider: ProviderId,
        kind: CalendarKind,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<LegacyEvent>>;

    /// Takes rows over to a connection. Answers those that it did not, because another row is the
    /// booking's already: they are marked as failed.
    async fn adopt(&self, connection: ConnectionId, adopted: &[Adopted]) -> Result<Vec<Uuid>>;

    // ---- sending ----

    /// Rule R10: leases one connection that has due work, is not parked, passes the gate and is
    /// not held by another; the first such at or after `from` in the order of ids, wrapping.
    async fn lease(
        &self,
        gate: &Gate,
        from: ConnectionId,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<LaneLease>>;

    /// Extends a lease that is still ours, though it may have run out.
    async fn renew(&self, lane: &LaneLease, lease: Duration) -> Result<Fenced>;

    /// How much of its time the pace of a lane's connection has used ahead, as was left at the last
    /// [`Store::release`]. `None`: the lane is not ours.
    async fn pace(&self, lane: &LaneLease) -> Result<Option<Duration>>;

    /// Gives a lease back. `rest` keeps everyone from leasing this connection for that long, unless it was
    /// renewed meanwhile ([`Store::put_connection`]): a rest is for what was there before; `ahead` is
    /// how much of its time its pace has used ahead by now, and `None` leaves that as it is.
    async fn release(
        &self,
        lane: &LaneLease,
        rest: Duration,
        ahead: Option<Duration>,
    ) -> Result<Fenced>;

    /// Takes over what an earlier holder left in flight: restamps its rows with our token and
    /// leaves its attempts open (rules R10 and R14): each is to be verified after `verify_after`.
    /// Answers how many.
    async fn take_over(&self, lane: &LaneLease, verify_after: Duration) -> Result<Taken>;

    /// What is due on this lane now, at most `limit`: settling what is in flight comes first, then what
    /// events have asked for, then what the connection is filled with; each oldest first.
    async fn due(&self, lane: &LaneLease, limit: u32) -> Result<Vec<Owed>>;

    /// Before any call: stores what will be sent, with the lane's token, if the lane is still
    /// ours, its lease has not run out, and the row still asks for the same. One transaction for
    /// all; answers those that were stored.
    async fn stamp(&self, lane: &LaneLease, stamps: &[Stamp]) -> Result<Vec<IcalUid>>;

    /// Rule R15: records what became of an attempt, under the row's token, with its row of
    /// `external_calendar_events`, in one transaction. What has failed for good is a dead letter, unless
    /// something else is wanted by now: that has its own try (rule R13).
    async fn record(&self, record: &Record) -> Result<Recorded>;

    /// Uses time of a budget that all processes share, if it is there soon. Answers how long to wait
    /// for it; `None`: longer than [`Draw::wait_max`], and nothing is used.
    async fn draw(&self, draw: &Draw) -> Result<Option<Duration>>;

    // ---- repair ----

    /// How far the sweep of a lane's connection is. A sweep whose hour has come makes an active
    /// connection leasable ([`Store::lease`]), unless it is halted.
    async fn sweep(&self, lane: &LaneLease) -> Result<Sweep>;

    /// Takes a sweep a step on. Only under the lane's token.
    async fn step_sweep(&self, lane: &LaneLease, step: &SweepStep) -> Result<Fenced>;

    /// The rows of these UIDs, and those whose event has one of these names. Sorted by UID.
    async fn swept_rows(
        &self,
        lane: &LaneLease,
        uids: &[IcalUid],
        external_ids: &[String],
    ) -> Result<Vec<SweptRow>>;

    /// Writes down what a page of the sweep under way says, all of it in one transaction, under the
    /// lane's token. A row that waits for a verification keeps its hour. Answers the names of the
    /// drift that was not known before; `None`: refused.
    async fn sweep_page(&self, lane: &LaneLease, page: &SweptPage) -> Result<Option<Vec<String>>>;

    /// What the sweep under way has not found so far. Listings run up to `lag` behind what is written:
    /// what a full scan did not find though it was written or seen so shortly before it began says
    /// nothing, and counts in neither number.
    async fn missing(&self, lane: &LaneLease, lag: Duration) -> Result<Missing>;

    /// Writes down what a verification says of a row's event, under the lane's token. Answers
    /// whether that is news; `None`: refused.
    async fn note_drift(&self, note: &DriftNote) -> Result<Option<bool>>;

    /// A person's answer to a halt: all is read once more, at once, and nothing halts that. `false`
    /// if the connection's sweep is not halted.
    async fn resume_sweep(&self, id: ConnectionId) -> Result<bool>;

    /// What is otherwise in a calendar than we left it, sorted by name, at most [`DRIFT_MAX`].
    async fn drift(&self, id: ConnectionId) -> Result<Vec<Drift>>;

    // ---- looking ----

    /// How many effects calendars that keep answering have not been sent yet, of those that the gate
    /// lets through, counted up to `limit`. A connection with an effect in backoff does not count,
    /// nor one whose access could not be renewed, and none counts for more than a share of `limit`: one that is slow or dead holds up nobody.
    async fn backlog(&self, gate: &Gate, limit: u32) -> Result<u32>;

    /// How much is left to fill connections with, of all of them.
    async fn fills(&self) -> Result<Fills>;

    /// What is owed, and what waits for people, all in all: counted up to [`TALLY_MAX`]. The gate says what of
    /// it is anybody's delay ([`Owing::oldest`]).
    async fn tally(&self, gate: &Gate) -> Result<Tally>;

    /// The connections to the database, as they are used now. Asks nobody.
    fn pool(&self) -> PoolUse;

    /// Ends the backoff of what is owed about a booking, lets it go before any fill, and tells how far each calendar is with
    /// it: somebody has asked. `None`: there is no such booking.
    async fn hasten(&self, booking: &BookingId) -> Result<Option<BookingStatus>>;

    /// The mapped events of a booking, for those who ask where it is.
    async fn external_events(&self, uid: &IcalUid) -> Result<Vec<ExternalEvent>>;
}
