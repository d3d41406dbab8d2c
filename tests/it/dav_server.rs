//! A CalDAV server over real HTTP with habits to order: the simulator's calendar, switch by switch,
//! behind as much of the protocol as our adapter and the facts speak. What each switch does is told
//! by the simulator's own tests; what the service makes of it, by the facts that use this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use calendar_sync::clock::{Clock as _, SystemClock};
use simulate::calendars::{Ask, Calendar, Kind, Said, Switches, switches};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::services::CaldavServer;

/// The server; it stops with its last handle.
#[derive(Clone)]
pub(crate) struct DavServer {
    url: String,
    shared: Arc<Shared>,
    _tasks: Arc<JoinSet<()>>,
}

struct Shared {
    switches: switches::Caldav,
    clock: SystemClock,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By path, with a slash at the end.
    collections: BTreeMap<String, Calendar>,
    requests: u64,
    /// What is added to the hour.
    skipped: Duration,
}

impl DavServer {
    /// Starts it, with the best behaviour that is documented but for what `set` changes.
    pub(crate) async fn with(set: impl FnOnce(&mut switches::Caldav)) -> Self {
        let mut switches = Switches::strict().caldav;
        set(&mut switches);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (clock, held) = (SystemClock::start(), Mutex::default());
        let shared = Arc::new(Shared { switches, clock, held });
        let service = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, service).await.expect("it serves") });
        Self { url, shared, _tasks: Arc::new(tasks) }
    }

    /// What opens it.
    pub(crate) fn account(&self) -> CaldavServer {
        let (user, password) = ("host".to_owned(), "not-asked".to_owned());
        CaldavServer { url: self.url.clone(), user, password }
    }

    /// Lets time pass for it.
    pub(crate) fn wait(&self, time: Duration) {
        self.shared.lock().skipped += time;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nobody panics while holding it")
    }

    fn answer(&self, method: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let mut held = self.lock();
        let now = self.clock.elapsed() + held.skipped;
        held.requests += 1;
        let request = held.requests;
        if method == "MKCALENDAR" {
            let switches = Switches { caldav: self.switches.clone(), ..Switches::strict() };
            held.collections.insert(path.to_owned(), Calendar::new(Kind::Caldav, switches));
            return StatusCode::CREATED.into_response();
        }
        let (collection, name) = path.rsplit_once('/').unwrap_or_default();
        let Some(calendar) = held.collections.get_mut(&format!("{collection}/")) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if method == "PROPFIND" {
            return listed(path, calendar);
        }
        let name = name.to_owned();
        let said = |header| headers.get(header).and_then(|value| value.to_str().ok());
        let if_match = said("if-match").map(ToOwned::to_owned);
        let ask = match (method, said("if-none-match")) {
            ("PUT", Some("*")) => Ask::Create { name, body: body.to_vec() },
            ("PUT", _) => Ask::Update { name, if_match, body: body.to_vec() },
            ("DELETE", _) => Ask::Delete { name, if_match },
            ("GET", _) => Ask::Read { name },
            _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
        let said = calendar.answer(now, request, &ask);
        let text = match &ask {
            Ask::Read { name } => calendar.text(name).map(<[u8]>::to_vec),
            Ask::Create { .. } | Ask::Update { .. } | Ask::Delete { .. } => None,
        };
        told(said, text)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.answer(method.as_str(), uri.path(), &headers, &body)
}

fn told(said: Said, text: Option<Vec<u8>>) -> Response {
    let of = |status| StatusCode::from_u16(status).expect("a status");
    let tagged = |etag: Option<String>| {
        let etag = etag.map(|etag| ("etag".parse().expect("a name"), etag));
        let etag = etag.map(|(name, etag)| (name, etag.parse().expect("a value")));
        etag.into_iter().collect::<HeaderMap>()
    };
    match said {
        Said::Done { status: 200, .. } => "<multistatus xmlns=\"DAV:\"/>".into_response(),
        Said::Done { status, etag, .. } => (of(status), tagged(etag)).into_response(),
        Said::Live { etag, .. } => {
            let kind = [("content-type", "text/calendar")];
            (kind, tagged(etag), text.expect("what is live has a text")).into_response()
        }
        Said::Refused { status, reason } => {
            let word = reason.map(|word| format!("<C:{word}/>")).unwrap_or_default();
            let body = format!(
                "<D:error xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">{word}</D:error>"
            );
            (of(status), body).into_response()
        }
        Said::Tombstone | Said::Absent => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A collection's own href, and its members'.
fn listed(path: &str, calendar: &Calendar) -> Response {
    let own = std::iter::once(path.to_owned());
    let members = calendar.live().into_iter().map(|event| format!("{path}{}", event.name));
    let response = |href| format!("<response><href>{href}</href></response>");
    let responses = own.chain(members).map(response).collect::<Vec<_>>().concat();
    let body = format!("<multistatus xmlns=\"DAV:\">{responses}</multistatus>");
    (StatusCode::MULTI_STATUS, body).into_response()
}
