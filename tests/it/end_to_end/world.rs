//! What a fact is given: a database, calendars, a topic, and short words for what is done with
//! them. Records go through the pipeline as the consumer would hand them over, batch by batch under
//! a fence of its own; facts about Kafka itself stand in `service`.

mod made;

mod reader;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use booking::{CalendarKind, ConnectionId, Rules};
use calendar_sync::calendar::Credentials;
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::clock::Surroundings;
use calendar_sync::config::{Given, OauthSettings, Settings};
use calendar_sync::connection::accounts::SealedAccounts;
use calendar_sync::connection::{Kept, Sealer, connection_id};
use calendar_sync::consumer::RawRecord;
use calendar_sync::emit::{EmitOptions, Emitter};
use calendar_sync::emulator;
use calendar_sync::ops::metrics::Metrics;
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::{
    ConnectionState, DeadLetter, DeadState, ExternalEvent, NewConnection, PutConnection, Resume,
    Store,
};
use calendar_sync::telemetry::tracer::Tracer;
use calendar_sync::trace_parent::{HEADER, TraceParent};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;

use super::database::{Database, found_by_all, store_of};
use super::host::{Host, Place, Shown, Write};
use super::story::{DOMAIN, Story, provider};
use super::worker::{Worker, emit_options};
use crate::calendars::on_this_machine;
use crate::services;
use crate::settings::ON_THIS_MACHINE;
pub(crate) use crate::wait::{PATIENCE, until};
use made::{caldav, google, microsoft};
pub(crate) use made::{
    contrary_google, contrary_graph, demanding, embedded, graph, graph_on_postgres, ignorant,
    plain_caldav, radicale, real, switched, xandikos,
};
pub(crate) use reader::{PUBLISHED_MS, Reader, record};

/// The topic of the facts that do without a broker.
pub(crate) const TOPIC: &str = "booking.events";
/// The group that reads it.
pub(crate) const GROUP: &str = "calendar-sync-of-a-fact";
/// Seals credentials, in base64 and in bytes.
pub(crate) const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Which parts a fact runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// SQLite, the embedded broker.
    Embedded,
    /// PostgreSQL, Apache Kafka.
    Real,
}

/// All of it.
pub(crate) struct World {
    pub(crate) parts: Parts,
    pub(crate) store: Arc<dyn Store>,
    /// Where other processes find the database, if they can.
    pub(crate) url: Option<String>,
    pub(crate) host: Host,
    pub(crate) rules: Rules,
    pub(crate) emit: EmitOptions,
    pub(crate) meter: Option<Arc<Metrics>>,
    /// What reading and sending are told of.
    pub(crate) tracer: Tracer,
    /// What workers call with, if not each with a client of its own.
    pub(crate) http: Option<Http>,
    pub(crate) surroundings: Surroundings,
    pub(crate) installation: Uuid,
    /// As whom access is renewed.
    pub(crate) oauth: OauthSettings,
    records: Vec<RawRecord>,
    /// The fact's name.
    pub(crate) fact: &'static str,
    endings: Vec<BoxFuture<'static, ()>>,
}

/// A provider's connected calendar.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) id: ConnectionId,
    pub(crate) provider: booking::ProviderId,
    pub(crate) place: Place,
    pub(crate) new: NewConnection,
}

pub(crate) fn client(surroundings: &Surroundings) -> Http {
    client_with(surroundings, Duration::from_secs(10), on_this_machine())
}

/// A client that gives a call so much time.
pub(crate) fn client_with(surroundings: &Surroundings, timeout: Duration, reach: Reach) -> Http {
    let options = HttpOptions {
        call_timeout: timeout,
        connect_timeout: timeout,
        proxy_from_environment: false,
        reach,
        clock: Arc::clone(&surroundings.clock),
    };
    Http::new(options).expect("these limits are sound")
}

/// The service's own settings, with these keys beside the defaults.
pub(crate) fn settings(keys: &BTreeMap<String, String>) -> Settings {
    let lines: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let file = lines.join("\n");
    let environment = [
        ("DATABASE_URL", "postgres://not-asked/"),
        ("SECRETS_KEY", KEY),
        ("CONTENT_UID_DOMAIN", DOMAIN),
        ("CALENDAR_SYNC_ENABLED", "true"),
        ON_THIS_MACHINE,
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let given = Given::of(Some((Path::new("settings.toml"), &file)), environment);
    Settings::parse(&given).expect("these settings are sound")
}

impl World {
    /// In which workers in processes of their own take part.
    pub(crate) async fn for_processes(
        parts: Parts,
        kind: CalendarKind,
        fact: &'static str,
    ) -> Option<Self> {
        let surroundings = Surroundings::real();
        let host = match kind {
            CalendarKind::Google => google(&surroundings).await,
            CalendarKind::Caldav => caldav(services::radicale(fact)?, &surroundings).await,
            CalendarKind::Microsoft => microsoft(&surroundings).await,
        };
        Self::on(parts, host, surroundings, fact, true).await
    }

    async fn on(
        parts: Parts,
        host: Host,
        surroundings: Surroundings,
        fact: &'static str,
        is_shared: bool,
    ) -> Option<Self> {
        let log = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer();
        // Another test of this process may have done it already.
        drop(log.try_init());
        let database = if is_shared {
            found_by_all(parts, fact, &surroundings).await?
        } else {
            store_of(parts, fact, &surroundings).await?
        };
        let Database { store, url, ending } = database;
        let fresh = surroundings.dice.token();
        let installation = store.open(None, fresh).await.expect("the database is new");
        let rules = settings(&BTreeMap::new()).content.rules(installation.installed_at);
        Some(Self {
            parts,
            store,
            url,
            host,
            rules,
            emit: emit_options(),
            meter: None,
            tracer: Tracer::default(),
            http: None,
            surroundings,
            installation: installation.id,
            oauth: settings(&BTreeMap::new()).oauth,
            records: Vec::new(),
            fact,
            endings: vec![ending],
        })
    }

    /// Clears away. Whatever the fact was: no calendar of Google's or Graph's went backwards, and no CalDAV
    /// server was asked with `If-Match: *`, on which they disagree.
    pub(crate) async fn end(self) {
        match &self.host {
            Host::Google(google) => {
                assert_eq!(google.calls().out_of_order(), 0, "the calendars went backwards");
            }
            Host::Microsoft(graph) => {
                let is_immutable = |call: &emulator::CallRecord| {
                    call.prefer.as_deref().is_some_and(|said| said.contains("ImmutableId"))
                };
                let calls = graph.calls();
                let of_browsers =
                    [emulator::Verb::Authorize, emulator::Verb::DeviceCode, emulator::Verb::Token];
                let is_of_api = |call: &&emulator::CallRecord| !of_browsers.contains(&call.verb);
                let mut asked = calls.list.iter().filter(is_of_api);
                assert!(asked.all(is_immutable), "on every request");
                assert_eq!(calls.out_of_order(), 0, "the calendars went backwards");
            }
            Host::Caldav(caldav) => {
                let calls = caldav.wire.calls();
                assert!(calls.iter().all(|call| call.if_match.as_deref() != Some("*")));
            }
        }
        drop(self.store);
        for ending in self.endings {
            ending.await;
        }
    }

    /// The database is lost: a new one, of the same installation, knows nothing.
    pub(crate) async fn lose_database(&mut self) {
        let made = store_of(self.parts, self.fact, &self.surroundings).await;
        let Database { store, ending, .. } = made.expect("there was a database before");
        let wanted = Some(self.installation);
        store.open(wanted, self.installation).await.expect("the database is new");
        self.store = store;
        self.endings.push(ending);
    }

    // ---- the topic ----

    /// Writes events to the topic.
    pub(crate) fn publish(&mut self, events: impl IntoIterator<Item = OutgoingEvent>) {
        for event in events {
            self.append(encode(&event), event.booking.as_str());
        }
    }

    /// The same, from within a trace.
    pub(crate) fn publish_from(&mut self, parent: TraceParent, event: OutgoingEvent) {
        self.publish([event]);
        let record = self.records.last_mut().expect("it was just written");
        record.headers.push((HEADER.to_owned(), Some(parent.to_string().into_bytes())));
    }

    fn append(&mut self, payload: Vec<u8>, key: &str) {
        self.records.push(record(self.records.len(), payload, key));
    }

    /// Writes an event to the topic that was published so long ago, with this `traceparent`.
    pub(crate) fn publish_traced(&mut self, event: &OutgoingEvent, age: Duration, trace: &str) {
        let published = self.surroundings.clock.now() - age;
        let mut record = record(self.records.len(), encode(event), event.booking.as_str());
        record.timestamp_ms = published.timestamp_millis();
        record.headers.push(("traceparent".to_owned(), Some(trace.as_bytes().to_vec())));
        self.records.push(record);
    }

    /// Writes the records from `at` on once more.
    pub(crate) fn publish_again(&mut self, at: usize) {
        let suffix: Vec<_> = self.records.iter().skip(at).cloned().collect();
        for record in suffix {
            let key = String::from_utf8(record.key.unwrap_or_default()).expect("a booking's id");
            self.append(record.payload.unwrap_or_default(), &key);
        }
    }

    /// How many records there are.
    pub(crate) fn log_end(&self) -> usize {
        self.records.len()
    }

    /// Takes the topic over and reads it to its end.
    pub(crate) async fn read(&self, batch_max: usize) {
        self.read_to(self.records.len(), batch_max).await;
    }

    /// Takes the topic over and reads it up to an offset.
    pub(super) async fn read_to(&self, end: usize, batch_max: usize) {
        self.read_log(TOPIC, &self.records, end, batch_max).await;
    }

    /// The same of another topic, of one partition: this is its log.
    pub(crate) async fn read_log(
        &self,
        topic: &str,
        log: &[RawRecord],
        end: usize,
        batch_max: usize,
    ) {
        let token = self.surroundings.dice.token();
        let reader = Reader { store: &self.store, pipeline: &self.pipeline(), token };
        reader.read(topic, log, end, batch_max).await;
    }

    /// What the consumer hands batches to.
    pub(super) fn pipeline(&self) -> Pipeline {
        let (store, schemas) = (Arc::clone(&self.store), Arc::new(NoRegistry));
        let pipeline = Pipeline::new(store, schemas, self.rules.clone(), self.surroundings.clone())
            .traced(self.tracer.clone(), GROUP.to_owned());
        match &self.meter {
            Some(meter) => pipeline.metered(Arc::clone(meter) as _),
            None => pipeline,
        }
    }

    /// Writes events to the topic, and reads them in one batch.
    pub(crate) async fn tell(&mut self, events: impl IntoIterator<Item = OutgoingEvent>) {
        self.publish(events);
        self.read(1_000).await;
    }

    /// An operator sets the cursor to the start.
    pub(crate) async fn rewind(&self) {
        let set = self.store.resume(TOPIC, 0, Resume::Set { at: 0 }).await;
        assert!(set.expect("the store answers"), "there is a cursor");
    }

    /// The topic is made anew, empty, and an operator accepts it.
    pub(crate) async fn recreate_topic(&mut self) {
        self.records.clear();
        let accepted = self.store.resume(TOPIC, 0, Resume::Accept { at: Some(0) }).await;
        assert!(accepted.expect("the store answers"), "there is a cursor");
    }

    // ---- connections ----

    /// A provider's new, empty calendar, not connected yet.
    pub(crate) async fn prepare(&self, number: u128) -> Connected {
        self.prepare_at(number, self.host.new_calendar().await)
    }

    /// The same, of this place.
    pub(crate) fn prepare_at(&self, number: u128, place: Place) -> Connected {
        let provider = provider(number);
        let kind = self.host.kind();
        let id = connection_id(self.installation, provider, kind, &place.subject, &place.calendar);
        let new = NewConnection {
            id,
            provider,
            kind,
            subject: place.subject.clone(),
            calendar: place.calendar.clone(),
            base_url: place.base_url.clone(),
            sealed: self.seal(id, &place.credentials),
            make_destination: false,
            revives: true,
            horizon: self.rules.horizon,
        };
        Connected { id, provider, place, new }
    }

    /// Credentials as they are stored.
    pub(crate) fn seal(&self, id: ConnectionId, credentials: &Credentials) -> Vec<u8> {
        let dice = self.surroundings.dice.as_ref();
        let kept = Kept::Fixed(credentials.clone());
        sealer().seal(id, &kept, dice).expect("credentials are sealed")
    }

    /// Stores a connection, as `connections add` does.
    pub(crate) async fn put(&self, connected: &Connected) -> PutConnection {
        self.store.put_connection(&connected.new).await.expect("the store answers")
    }

    /// A provider with a new, empty calendar.
    pub(crate) async fn connect(&self, number: u128) -> Connected {
        let connected = self.prepare(number).await;
        self.put(&connected).await;
        connected
    }

    /// A connection's state.
    pub(crate) async fn state(&self, connected: &Connected) -> ConnectionState {
        let row = self.store.connection(connected.id).await.expect("the store answers");
        row.expect("it was connected").state
    }

    /// What is told of a connection: why what is due does not go through.
    pub(crate) async fn trouble(&self, connected: &Connected) -> Option<String> {
        let rows = self.store.connections().await.expect("the store answers");
        let mut rows = rows.into_iter().filter(|row| row.connection.id == connected.id);
        rows.next().expect("it was connected").last_error
    }

    // ---- sending ----

    /// A worker with these options.
    pub(crate) fn worker_with(&self, options: EmitOptions) -> Worker {
        self.worker_of(options, sealer())
    }

    /// A worker with these keys.
    pub(crate) fn worker_that_opens_with(&self, sealer: Sealer) -> Worker {
        self.worker_of(self.emit.clone(), sealer)
    }

    fn worker_of(&self, options: EmitOptions, sealer: Sealer) -> Worker {
        let accounts = SealedAccounts::new(
            sealer,
            self.http.clone().unwrap_or_else(|| client(&self.surroundings)),
            self.oauth.clone(),
            self.surroundings.clone(),
        );
        let emitter = Emitter::new(
            Arc::clone(&self.store),
            Arc::new(accounts),
            options,
            self.surroundings.clone(),
            Arc::new(Notify::new()),
        );
        let emitter = match &self.meter {
            Some(meter) => emitter.metered(Arc::clone(meter) as _),
            None => emitter,
        };
        Worker::of(emitter.traced(self.tracer.clone()))
    }

    /// A worker.
    pub(crate) fn worker(&self) -> Worker {
        self.worker_with(self.emit.clone())
    }

    /// Provider 1's new calendar, which holds booking `a`.
    pub(super) async fn one_sent(&mut self) -> (Connected, Story) {
        let host = self.connect(1).await;
        let mut story = Story::of("a", provider(1));
        self.tell([story.created()]).await;
        self.drain().await;
        (host, story)
    }

    /// How many effects are owed.
    pub(crate) async fn pending(&self) -> i64 {
        let rows = self.store.connections().await.expect("the store answers");
        rows.iter().map(|row| row.pending).sum()
    }

    /// Lets a worker send until nothing is owed.
    pub(crate) async fn drain(&self) {
        let worker = self.worker();
        until("nothing is owed", async || self.pending().await == 0).await;
        worker.stop().await;
    }

    // ---- what came of it ----

    /// The events in a calendar, by its own content.
    pub(crate) async fn shown(&self, connected: &Connected) -> Vec<Shown> {
        self.host.shown(&connected.place).await
    }

    /// The one event in a calendar.
    pub(crate) async fn only(&self, connected: &Connected) -> Shown {
        let mut shown = self.shown(connected).await;
        assert_eq!(shown.len(), 1, "one event: {shown:?}");
        shown.remove(0)
    }

    /// The starts of a calendar's events, in order.
    pub(crate) async fn starts(&self, connected: &Connected) -> Vec<DateTime<Utc>> {
        let mut starts: Vec<_> =
            self.shown(connected).await.iter().map(|event| event.start).collect();
        starts.sort_unstable();
        starts
    }

    /// The writes that came to a calendar, in order; also those that were refused.
    pub(crate) fn attempts_on(&self, connected: &Connected) -> Vec<Write> {
        let calendar = self.host.calendar_of(&connected.place);
        let mut writes = self.host.attempts();
        writes.retain(|write| write.calendar == calendar);
        writes
    }

    /// A booking's one row for operators.
    pub(crate) async fn mapped(&self, story: &Story) -> ExternalEvent {
        let mut rows = self.store.external_events(&story.uid()).await.expect("the store answers");
        assert_eq!(rows.len(), 1, "one row: {rows:?}");
        rows.remove(0)
    }

    /// The dead letters that wait for somebody.
    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = self.store.dead_letters(0, 1_000).await.expect("the store answers");
        letters.retain(|letter| letter.state == DeadState::Open);
        letters
    }
}

/// What seals and opens credentials, as workers have it.
pub(crate) fn sealer() -> Sealer {
    Sealer::from_settings(&settings(&BTreeMap::new()).secrets).expect("the key is set")
}
