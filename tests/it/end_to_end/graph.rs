//! Microsoft Graph, which remembers a `transactionId` longer than its event (rule R12): the lanes as
//! they are, on the simulator's model of the store, against its calendar, with the adapter's names
//! and bodies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::microsoft::Microsoft;
use calendar_sync::calendar::{
    Account, Answer, Calendar as Adapter, Call, Credentials, Name, Reading,
};
use calendar_sync::clock::Surroundings;
use calendar_sync::emit::frozen::Frozen;
use calendar_sync::emit::{Accounts, Emitter, Opened, Unopened};
use calendar_sync::store::{ConnectionRow, Fenced, InFlight, NewConnection, Stamp};
use simulate::adapter::{ask_of, done, reading_of, status};
use simulate::calendars::switches::AfterDelete;
use simulate::calendars::{Ask, Calendar, Kind, Said, Switches};
use simulate::store::ModelStore;
use tokio::sync::Notify;

use super::worker::{Worker, emit_options};
use super::world::{client, until};
use crate::store_contract::env::{
    Answered as _, Env, Time, connection, content, hour, new_connection, uid,
};

/// The adapter, on a calendar that is at hand.
struct Graph {
    naming: Microsoft,
    calendar: Mutex<Calendar>,
    surroundings: Surroundings,
    requests: AtomicU64,
    /// Whether its answers to writes have ETags.
    tells_etags: bool,
    /// The name of each event that was to be made.
    creates: Mutex<Vec<String>>,
}

/// Names events and writes their bodies; no call is made through it.
fn naming() -> Microsoft {
    let account = Account {
        connection: connection(1),
        base_url: "http://127.0.0.1:9/me".to_owned(),
        calendar: "calendar".to_owned(),
        credentials: Credentials::Bearer { token: "token".to_owned().into() },
    };
    Microsoft::new(account, client(&Surroundings::real()))
}

impl Graph {
    fn new(surroundings: &Surroundings, tells_etags: bool) -> Arc<Self> {
        let mut switches = Switches::strict();
        switches.microsoft.after_delete = AfterDelete::AnswersWithDeleted;
        Arc::new(Self {
            naming: naming(),
            calendar: Mutex::new(Calendar::new(Kind::Microsoft, switches)),
            surroundings: surroundings.clone(),
            requests: AtomicU64::new(0),
            tells_etags,
            creates: Mutex::default(),
        })
    }

    fn ask(&self, ask: &Ask) -> Said {
        let request = self.requests.fetch_add(1, Ordering::SeqCst);
        let mut calendar = self.calendar.lock().expect("nobody panics while holding it");
        calendar.answer(self.surroundings.clock.elapsed(), request, ask)
    }

    /// Booking `a`'s name in a generation.
    fn name(&self, generation: i32) -> String {
        self.naming.external_id(&uid("a"), generation)
    }

    /// What the service writes of booking `a`, in its first generation.
    fn written(&self, revision: i64, title: &str) -> (Marker, String) {
        let digest = content(title).digest();
        let marker = Marker { uid: uid("a"), connection: connection(1), revision, digest };
        let body = self.body(&self.name(0), &marker, &content(title));
        (marker, String::from_utf8(body).expect("adapters write UTF-8"))
    }

    /// Somebody else removes an event.
    fn remove(&self, name: &str) {
        let removed = self.ask(&Ask::Delete { name: name.to_owned(), if_match: None });
        assert!(matches!(removed, Said::Done { .. }), "{removed:?}");
    }

    /// The names and revisions of the events that there are.
    fn shown(&self) -> Vec<(String, i64)> {
        let calendar = self.calendar.lock().expect("nobody panics while holding it");
        let told = calendar.live().into_iter().map(|event| {
            let marker = event.marker.as_ref().expect("it is ours");
            (event.name.clone(), marker.revision)
        });
        told.collect()
    }

    fn creates(&self) -> Vec<String> {
        self.creates.lock().expect("nobody panics while holding it").clone()
    }
}

#[async_trait]
impl Adapter for Graph {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Microsoft
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        self.naming.external_id(uid, generation)
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        self.naming.body(external_id, marker, content)
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        if call.verb == Verb::Create {
            let mut creates = self.creates.lock().expect("nobody panics while holding it");
            creates.push(call.name.given.to_owned());
        }
        let ask = ask_of(CalendarKind::Microsoft, call);
        match self.ask(&ask) {
            Said::Done { status, etag, server_id, .. } => {
                done(status, etag.filter(|_| self.tells_etags), None, server_id)
            }
            Said::Refused { status: code, reason } => status(code, reason, None),
            Said::Live { .. } | Said::Tombstone | Said::Absent => {
                unreachable!("a write is not answered as a read")
            }
        }
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        let by = |name: &str| self.ask(&Ask::Read { name: name.to_owned() });
        let by_id = name.server_id.map(by).filter(|said| *said != Said::Absent);
        match by_id.unwrap_or_else(|| by(name.given)) {
            Said::Live { event, .. } => reading_of(CalendarKind::Microsoft, &event),
            Said::Absent => Reading::Absent,
            said @ (Said::Tombstone | Said::Done { .. } | Said::Refused { .. }) => {
                unreachable!("Graph does not say {said:?} to a search")
            }
        }
    }
}

struct Given(Arc<Graph>);

#[async_trait]
impl Accounts for Given {
    async fn open(&self, _connection: &ConnectionRow) -> Result<Opened, Unopened> {
        Ok(Opened::lasting(Arc::clone(&self.0) as _))
    }
}

/// A store with one connection to such a calendar.
async fn given(tells_etags: bool) -> (Env, Arc<Graph>) {
    let surroundings = Surroundings::real();
    let store = Arc::new(ModelStore::new(Arc::clone(&surroundings.clock)));
    let env = Env { store, time: Time::Real, ending: Box::pin(std::future::ready(())) };
    let new = NewConnection { kind: CalendarKind::Microsoft, ..new_connection(1) };
    let _ = env.store.put_connection(&new).await.answered();
    (env, Graph::new(&surroundings, tells_etags))
}

/// Lets a worker send until nothing is owed.
async fn drain(env: &Env, graph: &Arc<Graph>) {
    let emitter = Emitter::new(
        Arc::clone(&env.store),
        Arc::new(Given(Arc::clone(graph))),
        emit_options(),
        graph.surroundings.clone(),
        Arc::new(Notify::new()),
    );
    let worker = Worker::of(emitter);
    until("nothing is owed", async || env.counted(1).await.pending == 0).await;
    worker.stop().await;
}

/// Fails with: `emit/call.rs`, `send`: `let was_there = is_used(&answer);`, and `read_back`:
/// `was_there: false` (each tries the name that is used up once more); `emit/decide.rs`, `read_as`:
/// `reading` (it is tried for ever).
#[tokio::test]
async fn an_event_that_was_removed_by_hand_is_made_anew_under_the_next_name() {
    for tells_etags in [true, false] {
        let (env, graph) = given(tells_etags).await;
        env.ask("a", 0, Some("Massage")).await;
        drain(&env, &graph).await;
        graph.remove(&graph.name(0));
        env.ask("a", 1, Some("Haircut")).await;
        drain(&env, &graph).await;
        assert_eq!(graph.shown(), [(graph.name(1), 1)]);
        assert_eq!(graph.creates(), [graph.name(0), graph.name(1)], "each name is used once");
    }
}

/// A database that fell back knows of none of what happened under its names.
///
/// Fails with: `emit/call.rs`, `send`: `let was_there = call.verb == Verb::Update;`.
#[tokio::test]
async fn a_create_that_meets_the_name_of_a_removed_event_takes_the_next_name() {
    let (env, graph) = given(true).await;
    let (name, body) = (graph.name(0), graph.written(3, "Haircut").1.into_bytes());
    let made = graph.ask(&Ask::Create { name: name.clone(), body });
    assert!(matches!(made, Said::Done { .. }), "{made:?}");
    graph.remove(&name);
    env.ask("a", 0, Some("Massage")).await;
    drain(&env, &graph).await;
    assert_eq!(graph.shown(), [(graph.name(1), 0)]);
}

/// What was never seen there may be missing for a moment only: its name is used again.
///
/// Fails with: `emit/decide.rs`, `read_as`: without `if was_there`.
#[tokio::test]
async fn a_create_that_never_arrived_is_sent_again_under_its_own_name() {
    let (env, graph) = given(true).await;
    env.ask("a", 0, Some("Massage")).await;
    let (lane, uid) = (env.lane(1).await, uid("a"));
    let (marker, body) = graph.written(0, "Massage");
    let frozen = Frozen { start: hour(9), end: hour(10), body };
    let (verb, digest, body) = (Verb::Create, Some(marker.digest), frozen.to_bytes());
    let in_flight = InFlight { verb, revision: 0, digest, body };
    let stamp = Stamp { uid: uid.clone(), desired_revision: 0, generation: 0, in_flight };
    assert_eq!(env.store.stamp(&lane, &[stamp]).await.answered(), [uid]);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    drain(&env, &graph).await;
    assert_eq!(graph.shown(), [(graph.name(0), 0)]);
}
