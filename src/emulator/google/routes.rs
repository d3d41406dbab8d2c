//! From HTTP to a call, and the life of a call: arrival, waits, effect, answer.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderName, Method};
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::errors::Reply;
use crate::emulator::call_log::{Answered, CallRecord, Effect, Verb};
use crate::emulator::faults::{How, Moment, Plan, Subject, Waited};
use crate::emulator::server::Plug;

/// Where the API begins.
pub(super) const ROOT: &str = "/calendar/v3";

/// A request, read.
pub(super) struct ApiRequest {
    pub(super) verb: Verb,
    pub(super) calendar: Option<String>,
    pub(super) event: Option<String>,
    pub(super) query: String,
    pub(super) authorization: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    /// `None`: it was too large.
    pub(super) body: Option<Bytes>,
}

impl ApiRequest {
    async fn read(request: Request, body_bytes_max: usize) -> Self {
        let (parts, body) = request.into_parts();
        let header = |name: HeaderName| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (verb, calendar, event) = route(&parts.method, parts.uri.path());
        Self {
            verb,
            calendar,
            event,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            authorization: header(AUTHORIZATION),
            content_type: header(CONTENT_TYPE),
            if_match: header(IF_MATCH),
            if_none_match: header(IF_NONE_MATCH),
            body: to_bytes(body, body_bytes_max).await.ok(),
        }
    }

    /// The event's id: from the path, or for an insert from the body.
    fn event_id(&self) -> Option<String> {
        if self.verb != Verb::Insert {
            return self.event.clone();
        }
        let body: Value = serde_json::from_slice(self.body.as_ref()?).ok()?;
        Some(body.get("id")?.as_str()?.to_owned())
    }
}

/// The verb, calendar and event that a method and path mean.
fn route(method: &Method, path: &str) -> (Verb, Option<String>, Option<String>) {
    let segments: Option<Vec<String>> = path
        .strip_prefix(ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.split('/').map(decode).collect());
    let segments = segments.unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &str| Some(text.to_owned());
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["users", "me", "calendarList"]) => (Verb::CalendarList, None, None),
        ("GET", ["calendars", calendar]) => (Verb::CalendarGet, own(calendar), None),
        ("GET", ["calendars", calendar, "events"]) => (Verb::List, own(calendar), None),
        ("POST", ["calendars", calendar, "events"]) => (Verb::Insert, own(calendar), None),
        (method, ["calendars", calendar, "events", event]) => {
            let verb = match method {
                "GET" => Verb::Get,
                "PUT" => Verb::Update,
                "PATCH" => Verb::Patch,
                "DELETE" => Verb::Delete,
                _ => Verb::Other,
            };
            (verb, own(calendar), own(event))
        }
        _ => (Verb::Other, None, None),
    }
}

/// Undoes percent-encoding; `None` if what it says is no text.
fn decode(segment: &str) -> Option<String> {
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
struct Client {
    core: Arc<Core>,
    number: u64,
    gone: CancellationToken,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Only the first word counts, so this changes nothing once it has been answered.
        self.core.log.answered(self.number, Answered::Lost);
        self.gone.cancel();
    }
}

/// Serves one request.
pub(super) async fn serve(
    State(core): State<Arc<Core>>,
    ConnectInfo(plug): ConnectInfo<Plug>,
    request: Request,
) -> Response {
    let request = ApiRequest::read(request, core.body_bytes_max).await;
    let (number, plan) = core.arrive(&request);
    let client = Client { core: Arc::clone(&core), number, gone: CancellationToken::new() };
    let (answer, answered) = oneshot::channel();
    // In a task of its own: what a call does must not end with its client's patience.
    let life = live(Arc::clone(&core), request, number, plan, answer, client.gone.clone());
    core.tasks.spawn(life);
    match answered.await {
        Ok(Ending::Whole(reply)) => {
            let status = Answered::Status { status: reply.status, reason: reply.reason.clone() };
            core.log.answered(number, status);
            reply.into_response()
        }
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
async fn live(
    core: Arc<Core>,
    request: ApiRequest,
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
        tell(ending(&end.how, None));
        return;
    }
    let reply = core.apply(number, &request);
    for wait in &plan.after {
        if wait.wait(&gone, &core.stop).await == Waited::Abandon {
            return;
        }
    }
    match &plan.end {
        Some(end) => tell(ending(&end.how, Some(reply))),
        None => tell(Ending::Whole(reply)),
    }
}

fn ending(how: &How, reply: Option<Reply>) -> Ending {
    match (how, reply) {
        (How::Refuse(refusal), _) => Ending::Whole(Reply::refusal(refusal)),
        (How::Truncate, Some(reply)) => Ending::Half(reply),
        (How::Truncate | How::HangUp, _) => Ending::Nothing,
    }
}

impl Core {
    /// Notes a call, and looks up what it meets.
    fn arrive(&self, request: &ApiRequest) -> (u64, Plan) {
        let mut state = self.state();
        let account = state.authenticate(request.authorization.as_deref());
        let account = account.ok().map(|token| token.account.clone());
        let calendar = request.calendar.as_ref().map(|name| {
            let known = account.as_ref().and_then(|account| {
                state.calendar(account, name).ok().map(|calendar| calendar.id.clone())
            });
            known.unwrap_or_else(|| name.clone())
        });
        drop(state);
        let event = request.event_id();
        let subject =
            Subject { verb: request.verb, calendar: calendar.as_deref(), event: event.as_deref() };
        let plan = self.faults.plan(&subject);
        let number = self.log.arrive(CallRecord {
            number: 0,
            at: self.clock.now(),
            verb: request.verb,
            calendar,
            event,
            account,
            query: request.query.clone(),
            if_match: request.if_match.clone(),
            body: request.body.clone().unwrap_or_default(),
            answered: Answered::Pending,
            effect: Effect::Nothing,
            applied: None,
            before: None,
            after: None,
        });
        (number, plan)
    }

    /// Lets a call take effect, and notes it, in one step.
    fn apply(&self, number: u64, request: &ApiRequest) -> Reply {
        let mut state = self.state();
        let applied = state.apply(request, self.clock.now());
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_by_segment() {
        let path = "/calendar/v3/calendars/team%2Fa%40group.example/events/abc%31";
        let (verb, calendar, event) = route(&Method::PUT, path);
        assert_eq!(verb, Verb::Update);
        assert_eq!(calendar.as_deref(), Some("team/a@group.example"));
        assert_eq!(event.as_deref(), Some("abc1"));
    }

    #[test]
    fn what_is_no_route_is_none() {
        for path in ["/", "/calendar/v3", "/calendar/v3/calendars/%FF/events", "/calendar/v3/x%2"] {
            assert_eq!(route(&Method::GET, path).0, Verb::Other, "{path}");
        }
        assert_eq!(route(&Method::POST, "/calendar/v3/calendars/a/events/import").0, Verb::Other);
    }
}
