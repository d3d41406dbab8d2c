//! A request that has left goes its way whatever becomes of the worker: it is lost, late, held, doubled
//! or carried out, and so is its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::accounts::Account;
use crate::calendars::{self, Ask, ListAsk, ListSaid, Said};
use crate::dice::Chance;
use crate::plan::{HELD_MAX, Rates};
use crate::world::World;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
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
    /// Its name in the counts.
    pub(crate) fn name(self) -> &'static str {
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

    /// Draws one. What only reads is never done without being answered.
    pub(crate) fn draw(dice: &mut Chance, rates: &Rates, is_read: bool) -> Self {
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

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// About one event.
    One(Ask),
    /// About all of them.
    List(ListAsk),
}

impl Asked {
    /// Whether it changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::One(Ask::Read { .. }) | Self::List(_))
    }

    /// The name or the id of the event that it is about, if it is about one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::One(ask) => Some(ask.name()),
            Self::List(_) => None,
        }
    }
}

/// What a worker gets, if it gets anything.
pub(crate) enum Came {
    /// What the calendar says of one event.
    Said(Said),
    /// Or of all.
    Listed(ListSaid),
    /// What somebody in between says.
    Status(u16),
    /// The calendar is not there.
    Gone,
}

impl Came {
    /// Whether the server says by it that nothing stands there. What a listing does not show is asked
    /// for by its own name.
    pub(crate) fn tells_gone(&self, is_delete: bool) -> bool {
        match self {
            Self::Said(Said::Tombstone | Said::Absent | Said::Refused { status: 410, .. }) => true,
            Self::Said(Said::Done { .. }) => is_delete,
            Self::Said(Said::Live { .. } | Said::Refused { .. })
            | Self::Listed(_)
            | Self::Status(_)
            | Self::Gone => false,
        }
    }
}

/// A request that has left.
pub(crate) struct Journey {
    /// The world.
    pub(crate) world: Arc<World>,
    /// To which account.
    pub(crate) account: usize,
    /// What proves that it may.
    pub(crate) credential: u64,
    /// Its number.
    pub(crate) request: u64,
    /// What it asks.
    pub(crate) ask: Asked,
}

impl Journey {
    /// Goes its way, as its fate has it.
    pub(crate) async fn go(
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
            Asked::One(Ask::Create { .. }) => false,
            Asked::One(Ask::Update { .. } | Ask::Delete { .. } | Ask::Read { .. })
            | Asked::List(_) => self.world.accounts().0[self.account].keeps_conditions,
        }
    }

    /// The server carries it out, or says no.
    fn arrive(&self) -> Came {
        let at = self.world.elapsed();
        let mut accounts = self.world.accounts();
        let account = &mut accounts.0[self.account];
        let is_read = self.ask.is_read();
        let came = if self.credential < account.valid_from {
            Came::Status(401)
        } else if at < account.gone_until {
            Came::Gone
        } else if at < account.refuses_until && !is_read {
            Came::Status(400)
        } else {
            self.answered(account, at)
        };
        drop(accounts);
        self.world.say(|| match &came {
            Came::Said(Said::Live { event, .. }) => {
                let (marker, etag) = (&event.marker, &event.etag);
                let (id, summary) = (event.id(), &event.summary);
                format!("#{} arrives: {id}: `{summary}` {etag:?} {marker:?}", self.request)
            }
            Came::Said(said) => format!("#{} arrives: {said:?}", self.request),
            Came::Listed(said) => format!("#{} arrives: {}", self.request, told_of(said)),
            Came::Status(status) => format!("#{} arrives: {status}", self.request),
            Came::Gone => format!("#{} arrives: the calendar is gone", self.request),
        });
        came
    }

    fn answered(&self, account: &mut Account, at: Duration) -> Came {
        match &self.ask {
            Asked::One(ask) => {
                let seen = account.server.history().len();
                let said = account.server.answer(at, self.request, ask);
                let changes = account.server.history()[seen..].to_vec();
                let undone = changes.iter().filter_map(|it| account.undone(it, self.request));
                undone.for_each(|undone| self.world.wrong(undone));
                Came::Said(said)
            }
            Asked::List(ask) => Came::Listed(account.server.list(at, ask)),
        }
    }
}

/// What is asked, in a word.
pub(crate) fn word(ask: &Asked) -> String {
    match ask {
        Asked::One(Ask::Create { name, .. }) => format!("create {}", short(name)),
        Asked::One(Ask::Update { name, if_match, .. }) => {
            format!("update {} if {if_match:?}", short(name))
        }
        Asked::One(Ask::Delete { name, if_match }) => {
            format!("delete {} if {if_match:?}", short(name))
        }
        Asked::One(Ask::Read { name }) => format!("read {}", short(name)),
        Asked::List(ListAsk { since, page }) => format!("list since {since:?} page {page:?}"),
    }
}

/// What a listing says, in short.
fn told_of(said: &ListSaid) -> String {
    match said {
        ListSaid::Page { events, deleted, next, since } => {
            let of = |(event, differs): &(calendars::Event, Option<bool>)| {
                let revision = event.marker.as_ref().map(|marker| marker.revision);
                format!("{} {revision:?} {differs:?}", event.id())
            };
            let events: Vec<String> = events.iter().map(of).collect();
            format!("{events:?}, deleted {deleted:?}, next {next:?}, since {since:?}")
        }
        ListSaid::Expired | ListSaid::Unsupported => format!("{said:?}"),
    }
}

/// Enough of a name to tell it from others.
fn short(name: &str) -> &str {
    name.get(..14).unwrap_or(name)
}
