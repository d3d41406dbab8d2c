//! The life of a call, whichever API it is of: arrival, waits, effect, answer.
//!
//! A provider is an [`Api`]: it reads what a request asks for, and does it. When and whether it is
//! asked to, and what becomes of its answer, is decided here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::http::header::{HOST, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::call_log::{Answered, CallLog, CallRecord, Effect, Properties, Verb};
use super::faults::{Faults, How, Moment, Plan, Refusal, Subject, Waited};
use super::recording::Recording;
use super::reply::Reply;
use super::server::{self, Plug};
use super::throttle::{Limits, Over, Throttle};
use crate::clock::Clock;

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long a stop waits for calls under way.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A request, read.
pub(super) struct Request<R> {
    pub(super) route: R,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    /// `None`: it was too large.
    pub(super) body: Option<Bytes>,
}

impl<R> Request<R> {
    /// All headers of a name that are texts, as one list.
    fn all(&self, name: &HeaderName) -> Option<String> {
        let values: Vec<_> =
            self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The first header of a name, if it is a text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What stands before the path in an address of this server.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.header(HOST).unwrap_or("localhost"))
    }
}

/// Who asks for what.
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// Whose token it is, if it is somebody's.
    pub(super) account: Option<String>,
    /// The calendar's id, resolved where it can be.
    pub(super) calendar: Option<String>,
    pub(super) event: Option<String>,
}

/// One call's moment.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// The call's number in the log.
    pub(super) number: u64,
    pub(super) now: DateTime<Utc>,
}

/// What a call came to.
pub(super) struct Applied {
    pub(super) reply: Reply,
    pub(super) effect: Effect,
    pub(super) event: Option<String>,
    pub(super) before: Option<Properties>,
    pub(super) after: Option<Properties>,
}

impl Applied {
    /// An answer, and no effect.
    pub(super) fn nothing(reply: Reply) -> Self {
        Self { reply, effect: Effect::Nothing, event: None, before: None, after: None }
    }
}

/// A provider's API: all its state.
pub(super) trait Api: Send + Sized + 'static {
    /// What a method and a path mean.
    type Route: Send + Sync + 'static;

    /// Its name in recordings.
    const NAME: &'static str;

    fn route(method: &Method, path: &str) -> Self::Route;

    /// Whether it is a part of what the provider publishes of its API: else it is not recorded.
    fn is_published(route: &Self::Route) -> bool;

    /// Who asks for what; nothing happens yet.
    fn asked(&self, request: &Request<Self::Route>, now: DateTime<Utc>) -> Asked;

    /// Does what a request asks for, all of it or nothing.
    fn apply(&mut self, request: &Request<Self::Route>, turn: Turn) -> Applied;

    /// A refusal that was ordered, in this API's shape.
    fn refuse(request: &Request<Self::Route>, refusal: &Refusal, turn: Turn) -> Reply;

    /// What is said to a call that is over a limit.
    fn over(over: Over) -> Refusal;
}

/// What the server and its handles share.
pub(super) struct Core<A> {
    state: Mutex<A>,
    pub(super) faults: Faults,
    pub(super) log: CallLog,
    recording: Option<&'static Recording>,
    pub(super) clock: Arc<dyn Clock>,
    throttle: Mutex<Throttle>,
    body_bytes_max: usize,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<A> Core<A> {
    pub(super) fn state(&self) -> MutexGuard<'_, A> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bounds of an emulator, and its clock.
pub(super) struct Bounds {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) body_bytes_max: usize,
    pub(super) log_entries_max: usize,
}

/// A running emulator; it stops when told to, or with its last clone.
pub(super) struct Running<A> {
    pub(super) core: Arc<Core<A>>,
    pub(super) address: SocketAddr,
    stop_with_last: Arc<DropGuard>,
}

impl<A> Clone for Running<A> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            address: self.address,
            stop_with_last: Arc::clone(&self.stop_with_last),
        }
    }
}

impl<A: Api> Running<A> {
    /// Binds a free port of the loopback interface and serves there.
    pub(super) async fn start(state: A, bounds: Bounds) -> io::Result<Self> {
        let core = Arc::new(Core {
            state: Mutex::new(state),
            faults: Faults::default(),
            log: CallLog::new(bounds.log_entries_max),
            recording: Recording::of_process()?,
            clock: bounds.clock,
            throttle: Mutex::new(Throttle::new(bounds.limits)),
            body_bytes_max: bounds.body_bytes_max,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let router = Router::new().fallback(serve::<A>).with_state(Arc::clone(&core));
        let address = server::start(router, core.stop.clone(), &core.tasks).await?;
        let stop_with_last = Arc::new(core.stop.clone().drop_guard());
        Ok(Self { core, address, stop_with_last })
    }

    /// Stops: no new connection, held calls end without an answer, the others are finished, within
    /// [`STOP_TIMEOUT`].
    pub(super) async fn stop(&self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("an emulator stopped with connections still open");
        }
    }

    /// Changes the limits from now on; what the accounts have used stays counted.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.core.throttle().limits = limits;
    }
}

/// Undoes percent-encoding; `None` if what it says is no text.
pub(super) fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a client gets.
enum Ending {
    Whole(Reply),
    Half(Reply),
    Nothing,
}

/// The client's side of a call: if it leaves before it has an answer, the answer is lost.
struct Client<A> {
    core: Arc<Core<A>>,
    number: u64,
    gone: CancellationToken,
    /// Under which name it was let in.
    entered: Option<String>,
}

impl<A> Drop for Client<A> {
    fn drop(&mut self) {
        // Only the first word counts, so this changes nothing once it has been answered.
        self.core.log.answered(self.number, Answered::Lost);
        self.gone.cancel();
        if let Some(name) = &self.entered {
            self.core.throttle().leave(name);
        }
    }
}

/// Serves one request.
async fn serve<A: Api>(
    State(core): State<Arc<Core<A>>>,
    ConnectInfo(plug): ConnectInfo<Plug>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    // One that is too large, or did not come whole, is none.
    let body = to_bytes(body, core.body_bytes_max).await.ok();
    let route = A::route(&parts.method, parts.uri.path());
    if let (Some(recording), Some(body), true) = (core.recording, &body, A::is_published(&route)) {
        recording.take(A::NAME, &parts, body);
    }
    let request = Request {
        route,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let Arrival { number, entered, plan, over } = core.arrive(&request);
    let client =
        Client { core: Arc::clone(&core), number, gone: CancellationToken::new(), entered };
    if let Some(reply) = over {
        return core.answer(number, reply);
    }
    let (answer, answered) = oneshot::channel();
    // In a task of its own: what a call does must not end with its client's patience.
    let life = live(Arc::clone(&core), request, number, plan, answer, client.gone.clone());
    core.tasks.spawn(life);
    match answered.await {
        Ok(Ending::Whole(reply)) => core.answer(number, reply),
        Ok(Ending::Half(reply)) => {
            plug.pull_halfway();
            reply.into_response()
        }
        Ok(Ending::Nothing) | Err(_) => {
            plug.pull();
            Response::default()
        }
    }
}

/// The life of a call. An answer that is dropped unsent is a connection closed.
async fn live<A: Api>(
    core: Arc<Core<A>>,
    request: Request<A::Route>,
    number: u64,
    plan: Plan,
    answer: oneshot::Sender<Ending>,
    gone: CancellationToken,
) {
    let mut answer = Some(answer);
    // Whether a client still listens is for the log to know, and noted there.
    let mut tell = move |ending: Ending| {
        if let Some(answer) = answer.take() {
            drop(answer.send(ending));
        }
    };
    for wait in &plan.before {
        if wait.hangs_up() {
            tell(Ending::Nothing);
        }
        if wait.wait(&gone, &core.stop).await == Waited::Abandon {
            return;
        }
    }
    if let Some(end) = plan.end.as_ref().filter(|end| end.moment == Moment::BeforeApplying) {
        tell(core.ending(&request, number, &end.how, None));
        return;
    }
    let reply = core.apply(number, &request);
    for wait in &plan.after {
        if wait.wait(&gone, &core.stop).await == Waited::Abandon {
            return;
        }
    }
    match &plan.end {
        Some(end) => tell(core.ending(&request, number, &end.how, Some(reply))),
        None => tell(Ending::Whole(reply)),
    }
}

/// A call that was noted.
struct Arrival {
    number: u64,
    /// Under which name it was let in.
    entered: Option<String>,
    plan: Plan,
    /// What it is told if it was not.
    over: Option<Reply>,
}

impl<A: Api> Core<A> {
    /// Notes a call, and looks up what it meets.
    fn arrive(&self, request: &Request<A::Route>) -> Arrival {
        let now = self.clock.now();
        let Asked { verb, account, calendar, event } = self.state().asked(request, now);
        let (entered, retry_after_s) = {
            let mut throttle = self.throttle();
            // Who is nobody has no limit, and gets nowhere.
            let entered = account.as_ref().map(|account| throttle.enter(account, now));
            (entered.transpose(), throttle.limits.retry_after_s)
        };
        let subject = Subject { verb, calendar: calendar.as_deref(), event: event.as_deref() };
        // A call that is not let in meets nothing.
        let plan = if entered.is_ok() { self.faults.plan(&subject) } else { Plan::default() };
        let number = self.log.arrive(CallRecord {
            number: 0,
            at: now,
            verb,
            calendar,
            event,
            account,
            query: request.query.clone(),
            if_match: request.header(IF_MATCH).map(ToOwned::to_owned),
            prefer: request.all(&PREFER),
            body: request.body.clone().unwrap_or_default(),
            answered: Answered::Pending,
            effect: Effect::Nothing,
            applied: None,
            before: None,
            after: None,
        });
        let (entered, over) = match entered {
            Ok(entered) => (entered, None),
            Err(over) => {
                let refusal = Refusal { retry_after_s, ..A::over(over) };
                (None, Some(A::refuse(request, &refusal, Turn { number, now })))
            }
        };
        Arrival { number, entered, plan, over }
    }

    /// Lets a call take effect, and notes it, in one step.
    fn apply(&self, number: u64, request: &Request<A::Route>) -> Reply {
        let mut state = self.state();
        let applied = state.apply(request, Turn { number, now: self.clock.now() });
        self.log.applied(number, |call| {
            call.effect = applied.effect;
            call.before = applied.before;
            call.after = applied.after;
            if applied.event.is_some() {
                call.event = applied.event;
            }
        });
        applied.reply
    }

    fn ending(
        &self,
        request: &Request<A::Route>,
        number: u64,
        how: &How,
        reply: Option<Reply>,
    ) -> Ending {
        match (how, reply) {
            (How::Refuse(refusal), _) => {
                let turn = Turn { number, now: self.clock.now() };
                Ending::Whole(A::refuse(request, refusal, turn))
            }
            (How::Truncate, Some(reply)) => Ending::Half(reply),
            (How::Truncate | How::HangUp, _) => Ending::Nothing,
        }
    }

    /// Hands a whole answer over.
    fn answer(&self, number: u64, reply: Reply) -> Response {
        let status = Answered::Status { status: reply.status, reason: reply.reason.clone() };
        self.log.answered(number, status);
        reply.into_response()
    }
}
