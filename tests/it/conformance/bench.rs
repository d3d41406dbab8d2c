//! What a fact is given: one booking after another, each with a calendar of its own, and the service
//! from the record to the call, over a database in memory. No broker takes part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{Change, ConnectionId, Content, Rules};
use calendar_sync::calendar::Calendar;
use calendar_sync::calendar::http::Http;
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::Surroundings;
use calendar_sync::connection::connection_id;
use calendar_sync::consumer::RawRecord;
use calendar_sync::emit::{Accounts, EmitOptions, Emitter, Opened, Unopened};
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::{
    ConnectionRow, ConnectionState, DeadLetter, DeadState, ExternalEvent, NewConnection, Store,
};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;

use super::oracle;
use super::subject::{Effect, Order, Subject};
use crate::end_to_end::database::{Database, store_of};
use crate::end_to_end::host::{Asked, Place, Shown, Trouble};
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::worker::{Worker, emit_options};
use crate::end_to_end::world::{Parts, Reader, TOPIC, client, record, settings};
use crate::wait::found;

/// What a fact comes to: nothing, or what is wrong.
pub(super) type Done = Result<(), String>;

/// What is done to an adapter before it is used.
pub(super) type Flawed = fn(Arc<dyn Calendar>) -> Arc<dyn Calendar>;

/// The adapter as it is.
pub(super) fn as_it_is(calendar: Arc<dyn Calendar>) -> Arc<dyn Calendar> {
    calendar
}

/// Again and again, so that one of them comes after whatever lands late.
const VERIFY_SOON: [Duration; 100] = [Duration::from_millis(200); 100];

/// A worker that is killed, or stopped in the moment in which it takes a lease, leaves it to run out.
const LEASE: Duration = Duration::from_secs(3);

/// All of it.
pub(super) struct Bench {
    pub(super) subject: Box<dyn Subject>,
    pub(super) emit: EmitOptions,
    pub(super) place: Place,
    pub(super) story: Story,
    /// What a host should see of the booking.
    pub(super) wanted: Option<Content>,
    /// The revision that it is at.
    pub(super) revision: i64,
    /// The revision that was last acknowledged.
    pub(super) acknowledged: i64,
    /// The copies that the host has made.
    pub(super) hers: Vec<Shown>,
    /// A call of before may land at any time.
    pub(super) is_late: bool,
    /// What landed late has changed something, and is put right by writing once more.
    pub(super) is_repaired: bool,
    /// How long is waited for what must come.
    pub(super) patience: Duration,
    store: Arc<dyn Store>,
    rules: Rules,
    surroundings: Surroundings,
    http: Http,
    installation: Uuid,
    records: Vec<RawRecord>,
    flawed: Flawed,
    connection: NewConnection,
    calendars: BTreeMap<ConnectionId, Arc<dyn Calendar>>,
    endings: Vec<BoxFuture<'static, ()>>,
}

/// Opens what the bench has opened.
struct Given(BTreeMap<ConnectionId, Arc<dyn Calendar>>);

#[async_trait]
impl Accounts for Given {
    async fn open(&self, connection: &ConnectionRow) -> Result<Opened, Unopened> {
        let calendar = self.0.get(&connection.id).map(Arc::clone);
        let unknown = || Unopened::Process("it is another bench's".to_owned());
        calendar.map(Opened::lasting).ok_or_else(unknown)
    }
}

async fn database(surroundings: &Surroundings) -> Database {
    let made = store_of(Parts::Embedded, "", surroundings).await;
    made.expect("SQLite needs no service")
}

fn new_connection(
    subject: &dyn Subject,
    place: &Place,
    (installation, number): (Uuid, u128),
    rules: &Rules,
) -> NewConnection {
    let (provider, kind) = (provider(number), subject.kind());
    NewConnection {
        id: connection_id(installation, provider, kind, &place.subject, &place.calendar),
        provider,
        kind,
        subject: place.subject.clone(),
        calendar: place.calendar.clone(),
        base_url: place.base_url.clone(),
        // The kit opens them itself.
        sealed: Vec::new(),
        make_destination: false,
        revives: true,
        horizon: rules.horizon,
    }
}

impl Bench {
    /// Sets it up, with a first booking.
    pub(super) async fn new(subject: Box<dyn Subject>, flawed: Flawed, patience: Duration) -> Self {
        let surroundings = Surroundings::real();
        let Database { store, ending, .. } = database(&surroundings).await;
        let installed = store.open(None, surroundings.dice.token()).await;
        let installation = installed.expect("the database is new");
        let rules = settings(&BTreeMap::new()).content.rules(installation.installed_at);
        let place = subject.new_calendar().await;
        let connection = new_connection(&*subject, &place, (installation.id, 0), &rules);
        let mut bench = Self {
            subject,
            emit: EmitOptions { lease: LEASE, call_timeout: LEASE / 3, ..emit_options() },
            place,
            story: Story::of("booking-0", provider(0)),
            wanted: None,
            revision: -1,
            acknowledged: -1,
            hers: Vec::new(),
            is_late: false,
            is_repaired: false,
            patience,
            store,
            rules,
            http: client(&surroundings),
            surroundings,
            installation: installation.id,
            records: Vec::new(),
            flawed,
            connection,
            calendars: BTreeMap::new(),
            endings: vec![ending],
        };
        bench.connect().await;
        bench
    }

    /// Clears away.
    pub(super) async fn end(self) {
        drop(self.store);
        for ending in self.endings {
            ending.await;
        }
    }

    /// Another booking, in a new calendar.
    pub(super) async fn afresh(&mut self) {
        let number = self.calendars.len();
        let count = u128::try_from(number).expect("a small number");
        self.place = self.subject.new_calendar().await;
        let named = (self.installation, count);
        self.connection = new_connection(&*self.subject, &self.place, named, &self.rules);
        self.story = Story::of(&format!("booking-{number}"), provider(count));
        (self.wanted, self.revision, self.acknowledged) = (None, -1, -1);
        (self.is_late, self.is_repaired) = (false, false);
        self.hers.clear();
        self.connect().await;
    }

    /// Connects the calendar, or connects it again.
    pub(super) async fn connect(&mut self) {
        let id = self.connection.id;
        let calendar = self.subject.open(&self.place, id, &self.http);
        self.calendars.insert(id, (self.flawed)(calendar));
        self.store.put_connection(&self.connection).await.expect("the store answers");
    }

    /// The adapter.
    pub(super) fn calendar(&self) -> Arc<dyn Calendar> {
        Arc::clone(&self.calendars[&self.connection.id])
    }

    /// The connection.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection.id
    }

    /// The database is lost: a new one, of the same installation, reads the topic from its start.
    pub(super) async fn lose_database(&mut self) {
        let Database { store, ending, .. } = database(&self.surroundings).await;
        let opened = store.open(Some(self.installation), self.installation).await;
        opened.expect("the database is new");
        self.store = store;
        self.endings.push(ending);
        self.acknowledged = -1;
        self.connect().await;
        self.read().await;
    }

    // ---- what the booking application says ----

    /// The booking is made, from nine to ten.
    pub(super) async fn book(&mut self) {
        let event = self.story.created();
        self.tell(event).await;
    }

    /// It is moved, for an hour.
    pub(super) async fn move_to(&mut self, hour: u32) {
        let event = self.story.moved(hour);
        self.tell(event).await;
    }

    /// It is as the story says by now.
    pub(super) async fn update(&mut self) {
        let event = self.story.updated();
        self.tell(event).await;
    }

    /// It is cancelled.
    pub(super) async fn cancel(&mut self) {
        let event = self.story.cancelled();
        self.tell(event).await;
    }

    /// It is made again, for an hour.
    pub(super) async fn rebook(&mut self, hour: u32) {
        let event = self.story.rebooked(hour);
        self.tell(event).await;
    }

    /// Its application says this of it.
    pub(super) async fn tell(&mut self, event: OutgoingEvent) {
        self.wanted = match &event.change {
            Change::Created(details) | Change::Updated(details) => self.rules.render(details),
            Change::Cancelled { .. } => None,
        };
        self.revision += 1;
        self.publish(&event).await;
    }

    /// An event of which no calendar is to see anything.
    pub(super) async fn publish(&mut self, event: &OutgoingEvent) {
        let (offset, key) = (self.records.len(), event.booking.as_str());
        self.records.push(record(offset, encode(event), key));
        self.read().await;
    }

    async fn read(&self) {
        let (store, schemas) = (Arc::clone(&self.store), Arc::new(NoRegistry));
        let surroundings = self.surroundings.clone();
        let pipeline = Pipeline::new(store, schemas, self.rules.clone(), surroundings);
        let token = self.surroundings.dice.token();
        let reader = Reader { store: &self.store, pipeline: &pipeline, token };
        reader.read(TOPIC, &self.records, self.records.len(), 1_000).await;
    }

    /// From now on, what is pending is shown as tentative.
    pub(super) fn allow_tentative(&mut self) {
        self.rules.pending_is_tentative = true;
    }

    // ---- sending ----

    /// A worker that sends.
    pub(super) fn worker(&self) -> Worker {
        let options = self.emit.clone();
        let (store, accounts) = (Arc::clone(&self.store), Given(self.calendars.clone()));
        let surroundings = self.surroundings.clone();
        let wake = Arc::new(Notify::new());
        Worker::of(Emitter::new(store, Arc::new(accounts), options, surroundings, wake))
    }

    /// Whether something is owed.
    pub(super) async fn is_owing(&self) -> bool {
        let rows = self.store.connections().await.expect("the store answers");
        rows.iter().any(|row| row.pending > 0)
    }

    /// Whether nobody may send anything now, though something is owed.
    pub(super) async fn is_left_alone(&self) -> bool {
        let (gate, token) = (&self.emit.gate, self.surroundings.dice.token());
        let (id, lease) = (self.connection.id, self.emit.lease);
        let leased = self.store.lease(gate, id, token, lease).await.expect("the store answers");
        self.is_owing().await && leased.is_none()
    }

    /// Lets a worker send until it is so.
    pub(super) async fn send_until(
        &mut self,
        what: &str,
        mut is_so: impl AsyncFnMut(&Self) -> bool,
    ) -> Done {
        let worker = self.worker();
        let came = found(self.patience, async || is_so(self).await.then_some(())).await;
        worker.stop().await;
        oracle::note_acknowledged(self).await?;
        match came {
            Some(()) => Ok(()),
            None => Err(format!("waited in vain until {what}{}", self.trouble().await)),
        }
    }

    /// Why it is not so, as far as the rows tell.
    async fn trouble(&self) -> String {
        let booking = self.store.hasten(self.story.id()).await;
        let rows = booking.ok().flatten().map(|booking| booking.calendars).unwrap_or_default();
        let said: Vec<_> = rows.into_iter().filter_map(|row| row.last_error).collect();
        if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) }
    }

    /// Lets a worker send until nothing is owed.
    pub(super) async fn settle(&mut self) -> Done {
        self.send_until("nothing is owed", async |bench| !bench.is_owing().await).await
    }

    /// Lets a worker send until trouble has met so many requests.
    pub(super) async fn meet(&mut self, order: &dyn Order, hits: u64) -> Done {
        let what = format!("{hits} requests have met the trouble that was ordered");
        self.send_until(&what, async |_| order.hits() >= hits).await
    }

    /// Lets a worker send until nothing is owed, and judges what came of it.
    pub(super) async fn is_right(&mut self) -> Done {
        self.settle().await?;
        oracle::judge(self).await
    }

    /// The same, where what is wrong for a moment is found by a verification and put right.
    pub(super) async fn comes_right(&mut self) -> Done {
        let worker = self.worker();
        let mut judged = Ok(());
        let right = found(self.patience, async || {
            judged = oracle::judge(self).await;
            judged.is_ok().then_some(())
        });
        let right = right.await;
        worker.stop().await;
        right.map_or(judged, Ok)
    }

    /// From now on, open attempts are verified soon, and again and again.
    pub(super) fn verify_soon(&mut self) {
        self.emit.verify_after = VERIFY_SOON.to_vec();
    }

    // ---- trouble ----

    /// Orders trouble for the next `count` writes to the calendar.
    pub(super) fn order(&mut self, count: u32, trouble: Trouble) -> Box<dyn Order> {
        self.is_late |= matches!(trouble, Trouble::Late);
        self.subject.order(&self.place, count, Asked::Writes, trouble)
    }

    /// The same, for what else is asked of it.
    pub(super) fn order_of(&self, count: u32, asked: Asked, trouble: Trouble) -> Box<dyn Order> {
        self.subject.order(&self.place, count, asked, trouble)
    }

    /// This status, with the word that comes with it, and no effect.
    pub(super) fn refusal(&self, status: u16) -> Trouble {
        Trouble::Refused { status, reason: self.subject.word(status), retry_after_s: None }
    }

    /// Lets a late call land, and waits until the calendar has looked at it.
    pub(super) async fn land(&self, late: &dyn Order) -> Done {
        late.withdraw();
        let landed = async || {
            let attempts = self.subject.attempts(&self.place);
            attempts.iter().all(|attempt| attempt.landed).then_some(())
        };
        found(self.patience, landed).await.ok_or_else(|| "a late call never landed".to_owned())
    }

    // ---- what came of it ----

    /// What stands in the calendar.
    pub(super) async fn shown(&self) -> Vec<Shown> {
        self.subject.shown(&self.place).await
    }

    /// The one event in the calendar.
    pub(super) async fn only(&self) -> Result<Shown, String> {
        let mut shown = self.shown().await;
        match (shown.pop(), shown.len()) {
            (Some(event), 0) => Ok(event),
            (event, _) => Err(format!("not one event: {event:?}, {shown:?}")),
        }
    }

    /// What requests have changed in the calendar.
    pub(super) fn effects(&self) -> Vec<Effect> {
        self.subject.effects(&self.place)
    }

    /// The revisions that they have brought, in order; `None`: it was gone.
    pub(super) fn revisions(&self) -> Vec<Option<i64>> {
        self.effects().into_iter().map(|effect| effect.revision).collect()
    }

    /// The booking's row for operators, once there is one.
    pub(super) async fn row(&self) -> Result<Option<ExternalEvent>, String> {
        let rows = self.store.external_events(&self.story.uid()).await;
        let mut rows = rows.expect("the store answers");
        let row = rows.pop();
        if rows.is_empty() { Ok(row) } else { Err(format!("more than one row: {row:?}, {rows:?}")) }
    }

    /// What names the booking's event in the calendar.
    pub(super) async fn external_id(&self) -> Result<String, String> {
        let row = self.row().await?.ok_or("there is no row")?;
        Ok(row.external_id)
    }

    /// The dead letters that wait for somebody.
    pub(super) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = self.store.dead_letters(0, 1_000).await.expect("the store answers");
        letters.retain(|letter| letter.state == DeadState::Open);
        letters
    }

    /// A person gives one of them up.
    pub(super) async fn discard(&self, letter: i64) {
        assert!(self.store.discard(letter).await.expect("the store answers"), "it waits");
    }

    /// Whether a person has to see to the account.
    pub(super) async fn is_parked(&self) -> bool {
        let row = self.store.connection(self.connection.id).await.expect("the store answers");
        row.expect("it was connected").state == ConnectionState::Parked
    }
}
