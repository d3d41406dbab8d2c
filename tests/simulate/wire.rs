//! The way between a worker and a calendar. A request that has left goes its way whatever becomes of
//! the worker: it is lost, late, held, doubled or carried out, and so is its answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::http::strong_etag;
use calendar_sync::calendar::microsoft::DUPLICATE;
use calendar_sync::calendar::{Answer, Calendar as Adapter, Call, Name, Reading};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::adapter::{ask_of, done, read_marker, status};
use crate::calendars::{Ask, Said};
use crate::dice::Chance;
use crate::graph;
use crate::plan::{HELD_MAX, Rates};
use crate::variant::Variant;
use crate::world::World;

/// The longest way of a request that is not held.
const WAY_MAX: Duration = Duration::from_millis(300);

/// A calendar, as a worker reaches it.
pub(crate) struct Wire {
    /// The world.
    pub(crate) world: Arc<World>,
    /// Which account.
    pub(crate) account: usize,
    /// What proves that we may.
    pub(crate) credential: u64,
    /// Names events and writes bodies.
    pub(crate) naming: Arc<dyn Adapter>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Carried out and answered.
    Plain,
    /// It never leaves.
    Refused,
    /// It never arrives.
    Lost,
    /// Answered by somebody in between, and not carried out.
    Status(u16),
    /// Carried out, and answered with this all the same.
    StatusAfter(u16),
    /// Carried out; the connection breaks, or is silent.
    AnswerLost { breaks: bool },
    /// Carried out; the answer comes when nobody waits any more.
    AnswerLate,
    /// Carried out late.
    Held(Duration),
    /// Carried out twice.
    Doubled(Duration),
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Refused => "refused on the way",
            Self::Lost => "lost on the way",
            Self::Status(_) => "answered between",
            Self::StatusAfter(_) => "answered between, done all the same",
            Self::AnswerLost { .. } => "answer lost",
            Self::AnswerLate => "answer late",
            Self::Held(_) => "held",
            Self::Doubled(_) => "doubled",
        }
    }

    fn draw(dice: &mut Chance, rates: &Rates, is_read: bool) -> Self {
        // What proves nothing, of which no list says that it means "not applied" (rule R13).
        const REFUSALS: [u16; 7] = [403, 404, 405, 408, 409, 412, 423];
        let after = |fate| if is_read { Self::Plain } else { fate };
        if dice.hits(rates.call_refused) {
            Self::Refused
        } else if dice.hits(rates.request_lost) {
            Self::Lost
        } else if dice.hits(rates.limited) {
            Self::Status(429)
        } else if dice.hits(rates.error_before) {
            Self::Status(*dice.pick(&[500, 502, 503]))
        } else if dice.hits(rates.error_after) {
            after(Self::StatusAfter(*dice.pick(&[500, 502, 503, 504])))
        } else if dice.hits(rates.refusal_after) {
            after(Self::StatusAfter(*dice.pick(&REFUSALS)))
        } else if dice.hits(rates.answer_lost) {
            Self::AnswerLost { breaks: dice.hits(500) }
        } else if dice.hits(rates.answer_late) {
            Self::AnswerLate
        } else if dice.hits(rates.request_held) {
            let held = if dice.hits(500) { HELD_MAX } else { Duration::from_mins(3) };
            after(Self::Held(dice.time(held)))
        } else if dice.hits(rates.request_doubled) {
            let apart = if dice.hits(500) { HELD_MAX } else { Duration::from_secs(30) };
            after(Self::Doubled(dice.time(apart)))
        } else {
            Self::Plain
        }
    }
}

/// What a worker gets, if it gets anything.
enum Came {
    Said(Said),
    Status(u16),
    Gone,
}

impl Came {
    /// Whether the server says by it that nothing stands there.
    fn tells_gone(&self, is_delete: bool) -> bool {
        match self {
            Self::Said(Said::Tombstone | Said::Absent | Said::Refused { status: 410, .. }) => true,
            Self::Said(Said::Done { .. }) => is_delete,
            Self::Said(Said::Live { .. } | Said::Refused { .. }) | Self::Status(_) | Self::Gone => {
                false
            }
        }
    }
}

impl Wire {
    /// Sends a request, and waits for what comes back. `Err`: nothing; `true`: it may have been sent.
    async fn exchange(&self, ask: Ask) -> Result<(u64, Came), bool> {
        let is_read = matches!(ask, Ask::Read { .. });
        let (fate, there, back) = self.world.chance("wire", |dice, rates| {
            (Fate::draw(dice, rates, is_read), dice.time(WAY_MAX), dice.time(WAY_MAX))
        });
        let request = self.world.next_request();
        self.world.count(fate.name());
        self.world
            .say(|| format!("#{request} {} to account {}: {fate:?}", word(&ask), self.account));
        if fate == Fate::Refused {
            sleep(there).await;
            return Err(false);
        }
        let (answered, answer) = oneshot::channel();
        let ask = self.as_the_variant_asks(ask);
        let (name, is_delete) = (ask.name().to_owned(), matches!(ask, Ask::Delete { .. }));
        let journey = Journey {
            world: Arc::clone(&self.world),
            account: self.account,
            credential: self.credential,
            request,
            ask,
        };
        self.world.wire.spawn(journey.go(fate, there, back, answered));
        match timeout(self.world.plan.call_timeout, answer).await {
            Ok(Ok(came)) => {
                if came.tells_gone(is_delete) {
                    self.told_gone(name);
                }
                Ok((request, came))
            }
            Ok(Err(_)) | Err(_) => Err(true),
        }
    }

    fn as_the_variant_asks(&self, ask: Ask) -> Ask {
        match (self.world.variant, ask) {
            (Variant::NoIfMatch, Ask::Update { name, body, .. }) => {
                Ask::Update { name, if_match: None, body }
            }
            (Variant::DeleteWithoutCondition, Ask::Delete { name, .. }) => {
                Ask::Delete { name, if_match: None }
            }
            (_, ask) => ask,
        }
    }

    fn lost(&self, sent: bool) -> Answer {
        let variant = self.world.variant;
        if variant == Variant::UnknownTakenForApplied && sent {
            return status(200, None, None);
        }
        lost(sent && variant != Variant::UnknownTakenForFailed)
    }

    /// A worker is told that nothing stands under a name.
    fn told_gone(&self, name: String) {
        let at = self.world.elapsed();
        self.world.accounts().0[self.account].told_gone_at.insert(name, at);
    }

    /// A worker has an acknowledgement of a request.
    fn acknowledge(&self, name: &str, request: u64) {
        self.world.accounts().0[self.account].acknowledge(name, request);
    }
}

/// A request that has left.
struct Journey {
    world: Arc<World>,
    account: usize,
    credential: u64,
    request: u64,
    ask: Ask,
}

impl Journey {
    async fn go(
        self,
        fate: Fate,
        there: Duration,
        back: Duration,
        answered: oneshot::Sender<Came>,
    ) {
        sleep(there).await;
        match fate {
            Fate::Refused => unreachable!("it never left"),
            Fate::Lost => {
                // Nobody answers, and the connection stays open.
                sleep(self.world.plan.call_timeout * 2).await;
                drop(answered);
            }
            Fate::Status(status) => {
                sleep(back).await;
                drop(answered.send(Came::Status(status)));
            }
            Fate::StatusAfter(status) => {
                self.arrive();
                sleep(back).await;
                drop(answered.send(Came::Status(status)));
            }
            Fate::AnswerLost { breaks } => {
                self.arrive();
                sleep(if breaks { back } else { self.world.plan.call_timeout * 2 }).await;
                drop(answered);
            }
            Fate::AnswerLate => {
                let came = self.arrive();
                sleep(self.world.plan.call_timeout * 2).await;
                drop(answered.send(came));
            }
            Fate::Held(time) => {
                sleep(time).await;
                drop(answered.send(self.arrive()));
            }
            // What was answered is looked at no more: without a condition, nothing keeps a copy of it
            // from undoing what came later. Rule R14 is about what was not answered.
            Fate::Doubled(_) if !self.is_guarded() => {
                self.arrive();
                let came = self.arrive();
                sleep(back).await;
                drop(answered.send(came));
            }
            Fate::Doubled(apart) => {
                let came = self.arrive();
                sleep(back).await;
                drop(answered.send(came));
                sleep(apart).await;
                self.arrive();
            }
            Fate::Plain => {
                let came = self.arrive();
                sleep(back).await;
                drop(answered.send(came));
            }
        }
    }

    fn is_guarded(&self) -> bool {
        match &self.ask {
            Ask::Create { .. } => false,
            Ask::Update { .. } | Ask::Delete { .. } | Ask::Read { .. } => {
                self.world.accounts().0[self.account].keeps_conditions
            }
        }
    }

    /// The server carries it out, or says no.
    fn arrive(&self) -> Came {
        let at = self.world.elapsed();
        let mut accounts = self.world.accounts();
        let account = &mut accounts.0[self.account];
        let is_read = matches!(self.ask, Ask::Read { .. });
        let came = if self.credential < account.valid_from {
            Came::Status(401)
        } else if at < account.gone_until {
            Came::Gone
        } else if at < account.refuses_until && !is_read {
            Came::Status(400)
        } else {
            let seen = account.server.history().len();
            let said = account.server.answer(at, self.request, &self.ask);
            let changes = account.server.history()[seen..].to_vec();
            let undone = changes.iter().filter_map(|change| account.undone(change, self.request));
            undone.for_each(|undone| self.world.wrong(undone));
            Came::Said(account.by_id(&self.ask, said))
        };
        drop(accounts);
        self.world.say(|| match &came {
            Came::Said(said) => format!("#{} arrives: {said:?}", self.request),
            Came::Status(status) => format!("#{} arrives: {status}", self.request),
            Came::Gone => format!("#{} arrives: the calendar is gone", self.request),
        });
        came
    }
}

fn word(ask: &Ask) -> String {
    match ask {
        Ask::Create { name, .. } => format!("create {}", short(name)),
        Ask::Update { name, if_match, .. } => format!("update {} if {if_match:?}", short(name)),
        Ask::Delete { name, if_match } => format!("delete {} if {if_match:?}", short(name)),
        Ask::Read { name } => format!("read {}", short(name)),
    }
}

/// Enough of a name to tell it from others.
fn short(name: &str) -> &str {
    name.get(..14).unwrap_or(name)
}

fn lost(sent: bool) -> Answer {
    Answer::Lost { sent, message: "lost on the way".to_owned() }
}

impl Wire {
    /// What was said by the server, or by somebody in between.
    fn refusal(&self, code: u16) -> Answer {
        let asked = self.asked("wire", code);
        match (code, self.world.variant) {
            (500.., Variant::UnknownTakenForFailed) => lost(false),
            (500.., Variant::UnknownTakenForApplied) => status(200, None, None),
            (code, _) => self.told(code, asked),
        }
    }

    /// How long it asks to be left alone.
    fn asked(&self, usage: &'static str, code: u16) -> Option<Duration> {
        let asked = self.world.chance(usage, |dice, _| dice.between(1, 20));
        matches!(code, 429 | 503).then(|| Duration::from_secs(asked))
    }

    /// A status, as this kind of calendar says it.
    fn told(&self, code: u16, after: Option<Duration>) -> Answer {
        match (code, self.kind()) {
            (429, CalendarKind::Google) => status(403, Some("rateLimitExceeded"), None),
            (code, _) => status(code, None, after),
        }
    }

    /// The variant that takes one 404 about what it has tried to make for its end.
    fn is_taken_for_deleted(&self, name: &str) -> bool {
        self.world.variant == Variant::ANewGenerationOnOneBare404
            && self.world.accounts().0[self.account].tried.contains(name)
    }

    /// Graph answers a POST of before with the event that it made then, as it is by now: that this
    /// shows something else than was sent is for its adapter to see.
    fn is_former(&self, call: &Call<'_>, title: &str) -> bool {
        self.kind() == CalendarKind::Microsoft
            && call.verb == Verb::Create
            && title != graph::title_of(call.body)
    }

    fn etag(&self, etag: Option<String>) -> Option<String> {
        // Graph's are weak by their looks, and are what it compares.
        match self.naming.kind() {
            CalendarKind::Microsoft => etag,
            CalendarKind::Google | CalendarKind::Caldav => etag.as_deref().and_then(strong_etag),
        }
    }
}

#[async_trait]
impl Adapter for Wire {
    fn kind(&self) -> CalendarKind {
        self.naming.kind()
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        self.naming.external_id(uid, generation)
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        self.naming.body(external_id, marker, content)
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        let mut ask = ask_of(self.kind(), call);
        if self.world.variant == Variant::UnnamedCreates
            && let Ask::Create { name, .. } = &mut ask
        {
            *name = format!("{name}-{}", self.world.next_request());
        }
        if let Ask::Create { name, .. } = &ask {
            self.world.accounts().0[self.account].tried.insert(name.clone());
        }
        match self.exchange(ask).await {
            Err(sent) => self.lost(sent),
            Ok((_, Came::Status(code))) => self.refusal(code),
            Ok((_, Came::Gone)) => status(404, Some("notFound"), None),
            Ok((_, Came::Said(Said::Refused { status: code, reason }))) => {
                status(code, reason, None)
            }
            Ok((_, Came::Said(Said::Done { title: Some(title), .. })))
                if self.is_former(call, &title) =>
            {
                status(409, Some(DUPLICATE), None)
            }
            Ok((request, Came::Said(Said::Done { status: code, etag, provider_uid, .. }))) => {
                self.acknowledge(call.name.given, request);
                done(code, self.etag(etag), provider_uid)
            }
            Ok((_, Came::Said(Said::Live { .. } | Said::Tombstone | Said::Absent))) => {
                unreachable!("a write is not answered as a read")
            }
        }
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        match self.exchange(Ask::Read { name: name.given.to_owned() }).await {
            Err(sent) => Reading::Failed(lost(sent)),
            Ok((_, Came::Status(code))) => {
                Reading::Failed(self.told(code, self.asked("wire, reading", code)))
            }
            Ok((_, Came::Gone)) => Reading::CalendarGone { message: "404".to_owned() },
            Ok((_, Came::Said(said))) => match said {
                Said::Live { body_marker, etag, provider_uid } => Reading::Live {
                    marker: body_marker.as_ref().and_then(read_marker),
                    etag: self.etag(etag),
                    provider_uid,
                    server_id: None,
                },
                Said::Tombstone => Reading::Tombstone,
                Said::Absent if self.is_taken_for_deleted(name.given) => Reading::Tombstone,
                Said::Absent => Reading::Absent,
                Said::Refused { status: code, reason } => {
                    Reading::Failed(status(code, reason, None))
                }
                Said::Done { .. } => unreachable!("a read is not answered as a write"),
            },
        }
    }
}
