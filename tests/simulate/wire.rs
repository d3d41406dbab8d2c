//! A calendar, as a worker reaches it: it stands for an adapter of the service and for the way to the
//! server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::microsoft::DUPLICATE;
use calendar_sync::calendar::{
    Answer, Calendar as Adapter, Call, Hers, Inspected, Listed, Listing, Name, Reading,
};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::adapter::{ask_of, done, etag_of, inspected_of, listed_of, status};
use crate::calendars::{Answered, Ask, ListAsk, ListSaid, Said};
use crate::graph;
use crate::journey::{Asked, Came, Fate, Journey, word};
use crate::variant::Variant;
use crate::world::World;

/// The longest way of a request that is not held.
const WAY_MAX: Duration = Duration::from_millis(300);
/// Graph may touch an event some times more after it was made.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// A calendar, as a worker reaches it.
pub(crate) struct Wire {
    /// The world.
    pub(crate) world: Arc<World>,
    /// Which account.
    pub(crate) account: usize,
    /// The connection that it is.
    pub(crate) connection: ConnectionId,
    /// What proves that we may.
    pub(crate) credential: u64,
    /// Names events and writes bodies.
    pub(crate) naming: Arc<dyn Adapter>,
}

impl Wire {
    /// Sends a request, and waits for what comes back. `Err`: nothing; `true`: it may have been sent.
    async fn exchange(&self, ask: Asked) -> Result<(u64, Came), bool> {
        let is_read = ask.is_read();
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
        let asked = ask.name().map(ToOwned::to_owned);
        let is_delete = matches!(ask, Asked::One(Ask::Delete { .. }));
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
                if let Some(asked) = asked.filter(|_| came.tells_gone(is_delete)) {
                    let at = self.world.elapsed();
                    self.world.accounts().0[self.account].told_gone(&asked, at);
                }
                Ok((request, came))
            }
            Ok(Err(_)) | Err(_) => Err(true),
        }
    }

    fn as_the_variant_asks(&self, ask: Asked) -> Asked {
        match (self.world.variant, ask) {
            (Variant::NoIfMatch, Asked::One(Ask::Update { name, body, .. })) => {
                Asked::One(Ask::Update { name, if_match: None, body })
            }
            (Variant::DeleteWithoutCondition, Asked::One(Ask::Delete { name, .. })) => {
                Asked::One(Ask::Delete { name, if_match: None })
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

    /// A worker has an acknowledgement of a request.
    fn acknowledge(&self, name: &str, request: u64) {
        self.world.accounts().0[self.account].acknowledge(name, request);
    }
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
    /// shows something else than was sent, or was changed since, is for its adapter to see.
    fn is_former(&self, call: &Call<'_>, shows: &Answered) -> bool {
        self.kind() == CalendarKind::Microsoft
            && call.verb == Verb::Create
            && (shows.title != graph::title_of(call.body) || shows.changed_after > SETTLES_WITHIN)
    }

    /// Reads one event, by its id or its name.
    async fn read_one(&self, name: &str) -> Inspected {
        let without = |reading| Inspected { reading, content: None, hers: None };
        let came = self.exchange(Asked::One(Ask::Read { name: name.to_owned() })).await;
        without(match came {
            Err(sent) => Reading::Failed(lost(sent)),
            Ok((_, Came::Status(code))) => {
                Reading::Failed(self.told(code, self.asked("wire, reading", code)))
            }
            Ok((_, Came::Gone)) => Reading::CalendarGone { message: "404".to_owned() },
            Ok((_, Came::Said(Said::Live { event, text, .. }))) => {
                let mut inspected = inspected_of(self.kind(), &event, text);
                if self.world.variant == Variant::NotesWrittenOver {
                    inspected.hers = None;
                }
                return inspected;
            }
            Ok((_, Came::Said(Said::Tombstone))) => Reading::Tombstone,
            Ok((_, Came::Said(Said::Absent))) if self.is_taken_for_deleted(name) => {
                Reading::Tombstone
            }
            Ok((_, Came::Said(Said::Absent))) => Reading::Absent,
            Ok((_, Came::Said(Said::Refused { status: code, reason }))) => {
                Reading::Failed(status(code, reason, None))
            }
            Ok((_, Came::Said(Said::Done { .. }) | Came::Listed(_))) => {
                unreachable!("a read is answered as one")
            }
        })
    }

    /// Graph changes only what it has the id of. `Err`: what a search has answered in the call's place.
    async fn found(&self, call: &Call<'_>) -> Result<Option<String>, Answer> {
        let is_known = call.verb == Verb::Create || call.name.server_id.is_some();
        if self.kind() != CalendarKind::Microsoft || is_known {
            return Ok(call.name.server_id.map(ToOwned::to_owned));
        }
        match self.read_one(call.name.given).await.reading {
            Reading::Live { server_id, .. } => Ok(server_id),
            Reading::Failed(Answer::Lost { sent, .. }) => Err(self.lost(sent)),
            Reading::Failed(answer @ Answer::Status { .. }) => Err(answer),
            Reading::Tombstone | Reading::Absent | Reading::CalendarGone { .. } => {
                Err(status(404, Some("ErrorItemNotFound"), None))
            }
        }
    }

    /// The variant that removes what carries our marker, whoever made it.
    async fn remove_copies(&self, said: &ListSaid) {
        let ListSaid::Page { events, .. } = said else {
            return;
        };
        for (event, _) in events.iter().filter(|(event, _)| event.copy_of.is_some()) {
            let ask = Ask::Delete { name: event.id().to_owned(), if_match: None };
            drop(self.exchange(Asked::One(ask)).await);
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

    fn keeping(&self, body: &[u8], hers: &Hers) -> Vec<u8> {
        self.naming.keeping(body, hers)
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        let server_id = match self.found(call).await {
            Ok(server_id) => server_id,
            Err(answer) => return answer,
        };
        let name = Name { given: call.name.given, server_id: server_id.as_deref() };
        let mut ask = ask_of(self.kind(), &Call { name, ..call.clone() });
        if self.world.variant == Variant::UnnamedCreates
            && let Ask::Create { name, .. } = &mut ask
        {
            *name = format!("{name}-{}", self.world.next_request());
        }
        if let Ask::Create { name, .. } = &ask {
            self.world.accounts().0[self.account].tried.insert(name.clone());
        }
        match self.exchange(Asked::One(ask)).await {
            Err(sent) => self.lost(sent),
            Ok((_, Came::Status(code))) => self.refusal(code),
            Ok((_, Came::Gone)) => status(404, Some("notFound"), None),
            Ok((_, Came::Said(Said::Refused { status: code, reason }))) => {
                status(code, reason, None)
            }
            Ok((_, Came::Said(Said::Done { shows: Some(shows), .. })))
                if self.is_former(call, &shows) =>
            {
                status(409, Some(DUPLICATE), None)
            }
            Ok((
                request,
                Came::Said(Said::Done { status: code, etag, provider_uid, server_id, .. }),
            )) => {
                self.acknowledge(call.name.given, request);
                done(code, etag_of(self.kind(), etag), provider_uid, server_id)
            }
            Ok((
                _,
                Came::Said(Said::Live { .. } | Said::Tombstone | Said::Absent) | Came::Listed(_),
            )) => {
                unreachable!("a write is answered as one")
            }
        }
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        self.inspect(name).await.reading
    }

    async fn inspect(&self, name: Name<'_>) -> Inspected {
        if let (CalendarKind::Microsoft, Some(id)) = (self.kind(), name.server_id) {
            let found = self.read_one(id).await;
            if found.reading != Reading::Absent {
                return found;
            }
        }
        self.read_one(name.given).await
    }

    fn tells_content(&self) -> bool {
        self.naming.tells_content()
    }

    async fn list(&self, listing: Listing<'_>) -> Listed {
        let own = |text: Option<&str>| text.map(ToOwned::to_owned);
        let ask = ListAsk { since: own(listing.since), page: own(listing.page) };
        let is_of_changes = ask.since.is_some();
        let has_token = is_of_changes || ask.page.is_some();
        let expires = has_token && self.world.forgets_token();
        match self.exchange(Asked::List(ask)).await {
            Err(sent) => Listed::Failed(lost(sent)),
            Ok((_, Came::Status(code))) => {
                Listed::Failed(self.told(code, self.asked("wire, listing", code)))
            }
            Ok((_, Came::Gone)) => Listed::CalendarGone { message: "404".to_owned() },
            Ok((_, Came::Listed(said))) => {
                let said = if expires { ListSaid::Expired } else { said };
                if said == ListSaid::Expired {
                    self.world.count("token expired");
                }
                if self.world.variant == Variant::SweepRemovesCopies {
                    self.remove_copies(&said).await;
                }
                listed_of(self.kind(), self.connection, is_of_changes, said)
            }
            Ok((_, Came::Said(_))) => unreachable!("a listing is answered as one"),
        }
    }
}
