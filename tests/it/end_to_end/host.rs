//! The calendars' side: what a host sees in her calendar, what was done to it, and what can go
//! wrong with it. The emulators of Google and of Microsoft Graph, or a CalDAV server behind a line that can be disturbed.

mod caldav;

mod by_hand;

mod google;

mod microsoft;

mod orders;

use std::sync::Arc;
use std::time::Duration;

use booking::{CalendarKind, Verb};
use calendar_sync::calendar::Credentials;
use calendar_sync::clock::{Dice as _, SystemDice};
use calendar_sync::emulator::google::ByHand;
use calendar_sync::emulator::microsoft::Switches;
use calendar_sync::emulator::{self, GoogleEmulator, MicrosoftEmulator};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub(crate) use caldav::CaldavHost;
pub(crate) use orders::Asked;

use super::wire::{Meant, WireCall, WireOrder};

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It takes effect, and the connection ends without an answer.
    AnswerLost,
    /// It takes effect, and the answer waits until the trouble is withdrawn.
    AnswerHeld,
    /// The connection ends at once, and it takes effect when the trouble is withdrawn.
    Late,
    /// It waits without an answer, and takes effect when the trouble is withdrawn, whoever is still
    /// there.
    Stranded,
    /// It takes so much longer.
    Slow(Duration),
    /// It takes no effect; this is the answer. A CalDAV server gives no reason.
    Refused { status: u16, reason: &'static str, retry_after_s: Option<u32> },
    /// It takes effect; this is the answer all the same.
    DoneAndRefused { status: u16, reason: &'static str },
    /// The connection ends at once, and it takes no effect.
    RequestLost,
    /// It takes effect, and half of the answer comes.
    AnswerCut,
}

/// The calendar is out of order.
pub(crate) const UNAVAILABLE: Trouble =
    Trouble::Refused { status: 503, reason: "backendError", retry_after_s: None };

/// The calendar does not take this event.
pub(crate) const INVALID: Trouble =
    Trouble::Refused { status: 400, reason: "invalid", retry_after_s: None };

/// Always.
pub(crate) const EVERY: u32 = u32::MAX;

/// A trouble that was ordered.
pub(crate) enum Ordered {
    Google(emulator::Ordered),
    Microsoft {
        order: emulator::Ordered,
        /// Whose searches find nothing until then, and how they are otherwise.
        hidden: Option<(MicrosoftEmulator, Box<Switches>)>,
    },
    Wire(Arc<WireOrder>),
}

/// One at the emulator of Microsoft Graph.
fn ordered(order: emulator::Ordered) -> Ordered {
    Ordered::Microsoft { order, hidden: None }
}

impl Ordered {
    /// How many requests it has met.
    pub(crate) fn hits(&self) -> u64 {
        match self {
            Self::Google(order) | Self::Microsoft { order, .. } => order.hits(),
            Self::Wire(order) => order.hits(),
        }
    }

    /// Returns once it holds a request.
    pub(crate) async fn wait_held(&self) {
        match self {
            Self::Google(order) | Self::Microsoft { order, .. } => order.wait_held(1).await,
            Self::Wire(order) => order.wait_held().await,
        }
    }

    /// Ends it, and lets go what it holds.
    pub(crate) fn withdraw(&self) {
        match self {
            Self::Google(order) => order.withdraw(),
            Self::Microsoft { order, hidden } => {
                order.withdraw();
                if let Some((graph, before)) = hidden {
                    graph.set_switches((**before).clone());
                }
            }
            Self::Wire(order) => order.withdraw(),
        }
    }
}

/// An event, as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its name in the calendar.
    pub(crate) id: String,
    /// The UID that the calendar gives it.
    pub(crate) provider_uid: String,
    /// Its ETag.
    pub(crate) etag: String,
    /// Our revision in it.
    pub(crate) revision: i64,
    /// `SEQUENCE`.
    pub(crate) sequence: i64,
    pub(crate) summary: String,
    pub(crate) description: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    pub(crate) zone: Option<Tz>,
    pub(crate) tentative: bool,
}

/// A write that reached a calendar.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) at: DateTime<Utc>,
    pub(crate) verb: Verb,
    /// The calendar's id, or the collection's path.
    pub(crate) calendar: String,
    pub(crate) id: String,
    pub(crate) if_match: Option<String>,
    pub(crate) body: String,
    /// Whether the calendar has looked at it.
    pub(crate) landed: bool,
    /// Whether it changed what a host sees.
    pub(crate) effective: bool,
}

/// A calendar, and what opens it.
#[derive(Clone)]
pub(crate) struct Place {
    /// The account.
    pub(crate) subject: String,
    /// The calendar's id, or the collection's URL.
    pub(crate) calendar: String,
    /// The API's address.
    pub(crate) base_url: String,
    pub(crate) credentials: Credentials,
}

/// Whose calendars they are.
pub(crate) enum Host {
    Google(GoogleEmulator),
    Microsoft(MicrosoftEmulator),
    Caldav(Box<CaldavHost>),
}

impl Host {
    pub(crate) fn kind(&self) -> CalendarKind {
        match self {
            Self::Google(_) => CalendarKind::Google,
            Self::Microsoft(_) => CalendarKind::Microsoft,
            Self::Caldav(_) => CalendarKind::Caldav,
        }
    }

    /// From now on what was made is found by a search at once. Where it is found later, a create that
    /// got no answer may be said again, by its name, and makes nothing.
    pub(crate) fn finds_at_once(&self) {
        match self {
            Self::Google(_) | Self::Caldav(_) => {}
            Self::Microsoft(graph) => microsoft::finds_at_once(graph),
        }
    }

    /// A new, empty calendar.
    pub(crate) async fn new_calendar(&self) -> Place {
        let name = SystemDice.token().simple().to_string();
        match self {
            Self::Google(google) => {
                let account = format!("{name}@example.com");
                google.add_account(&name, &account);
                Place {
                    subject: account.clone(),
                    calendar: account,
                    base_url: google.base_url(),
                    credentials: Credentials::Bearer { token: name.into() },
                }
            }
            Self::Microsoft(graph) => microsoft::new_calendar(graph, name),
            Self::Caldav(caldav) => {
                let path = format!("/{}/{name}/", caldav.server.user);
                let made = caldav.ask("MKCALENDAR", &path, &[]).await;
                assert_eq!(made.status, 201, "a calendar is made");
                Place {
                    subject: caldav.server.user.clone(),
                    calendar: format!("{}{path}", caldav.wire.url),
                    base_url: String::new(),
                    credentials: caldav.credentials(),
                }
            }
        }
    }

    /// The events of a calendar, by its own content.
    pub(crate) async fn shown(&self, place: &Place) -> Vec<Shown> {
        match self {
            Self::Google(google) => {
                google.events(&place.calendar).into_iter().map(google::event).collect()
            }
            Self::Microsoft(graph) => {
                graph.events(&place.calendar).into_iter().map(microsoft::event).collect()
            }
            Self::Caldav(caldav) => caldav.shown(&self.calendar_of(place)).await,
        }
    }

    /// What a write says where it went.
    pub(crate) fn calendar_of(&self, place: &Place) -> String {
        match self {
            Self::Google(_) | Self::Microsoft(_) => place.calendar.clone(),
            Self::Caldav(caldav) => {
                place.calendar.strip_prefix(&caldav.wire.url).expect("a path").to_owned()
            }
        }
    }

    /// Orders trouble for the next `count` writes.
    pub(crate) fn order(&self, count: u32, trouble: Trouble) -> Ordered {
        match self {
            Self::Google(google) => {
                Ordered::Google(google.order(google::of_writes(google::rule(count, trouble))))
            }
            Self::Microsoft(graph) => {
                ordered(graph.order(google::of_writes(google::rule(count, trouble))))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(count, trouble, Meant::Writes(String::new())))
            }
        }
    }

    /// Orders trouble for the next write to one calendar.
    pub(crate) fn order_at(&self, place: &Place, trouble: Trouble) -> Ordered {
        let calendar = self.calendar_of(place);
        match self {
            Self::Google(google) => {
                let rule = google::of_writes(google::rule(1, trouble)).calendar(&calendar);
                Ordered::Google(google.order(rule))
            }
            Self::Microsoft(graph) => {
                let rule = google::of_writes(google::rule(1, trouble)).calendar(&calendar);
                ordered(graph.order(rule))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(1, trouble, Meant::Writes(calendar)))
            }
        }
    }

    /// Orders trouble for all that is asked of one calendar.
    pub(crate) fn order_all_at(&self, place: &Place, trouble: Trouble) -> Ordered {
        let calendar = self.calendar_of(place);
        match self {
            Self::Google(google) => {
                Ordered::Google(google.order(google::rule(EVERY, trouble).calendar(&calendar)))
            }
            Self::Microsoft(graph) => {
                ordered(graph.order(google::rule(EVERY, trouble).calendar(&calendar)))
            }
            Self::Caldav(caldav) => {
                Ordered::Wire(caldav.wire.order(EVERY, trouble, Meant::All(calendar)))
            }
        }
    }

    /// Answers 401 to whoever comes with these credentials. Give back what ends it.
    pub(crate) fn lock_out(&self, place: &Place) -> Option<Ordered> {
        match self {
            Self::Google(google) => {
                google.revoke_account(&place.subject);
                None
            }
            Self::Microsoft(graph) => {
                graph.revoke_account(&place.subject);
                None
            }
            Self::Caldav(caldav) => {
                let trouble =
                    Trouble::Refused { status: 401, reason: "authError", retry_after_s: None };
                let all = Meant::All(self.calendar_of(place));
                Some(Ordered::Wire(caldav.wire.order(EVERY, trouble, all)))
            }
        }
    }

    /// Ends a lock-out: these credentials are good from now on.
    pub(crate) fn let_in(&self, place: &Place, lock: Option<Ordered>) -> Credentials {
        match self {
            Self::Google(google) => {
                let token = SystemDice.token().simple().to_string();
                google.add_account(&token, &place.subject);
                Credentials::Bearer { token: token.into() }
            }
            Self::Microsoft(graph) => {
                let token = SystemDice.token().simple().to_string();
                graph.add_account(&token, &place.subject);
                Credentials::Bearer { token: token.into() }
            }
            Self::Caldav(caldav) => {
                lock.expect("the lock").withdraw();
                caldav.credentials()
            }
        }
    }

    /// The host deletes an event herself.
    pub(crate) async fn delete_by_hand(&self, place: &Place, id: &str) {
        match self {
            Self::Google(google) => {
                assert!(google.change_by_hand(&place.calendar, id, ByHand::Delete));
            }
            Self::Microsoft(graph) => microsoft::delete_by_hand(graph, id),
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                caldav.empty(&path).await;
            }
        }
    }

    /// The host puts something into her CalDAV calendar herself.
    pub(super) async fn put_by_hand(&self, place: &Place, id: &str, text: &str) {
        let Self::Caldav(caldav) = self else { unreachable!("a fact about CalDAV") };
        let path = format!("{}{id}", self.calendar_of(place));
        let kind = [("content-type", "text/calendar; charset=utf-8")];
        assert_eq!(caldav.tell("PUT", &path, &kind, text.as_bytes()).await.status, 201);
    }

    /// What came by on the line to a CalDAV server.
    pub(super) fn wire_calls(&self) -> Vec<WireCall> {
        let Self::Caldav(caldav) = self else { unreachable!("a fact about CalDAV") };
        caldav.wire.calls()
    }

    /// Lets a call that comes late land at last, whose event was deleted meanwhile.
    pub(crate) fn land(&self, place: &Place, late: &Ordered) {
        // As long as Google remembers the deleted event, its name is taken; and so with Graph and its
        // transactionId.
        self.forget(place);
        late.withdraw();
    }

    /// An event is not found until that is withdrawn; Google's, by whoever reads or deletes it.
    pub(super) fn hide(&self, place: &Place, id: &str) -> Ordered {
        let not_found = Trouble::Refused { status: 404, reason: "notFound", retry_after_s: None };
        match self {
            Self::Google(google) => {
                let rule = google::rule(EVERY, not_found).event(id);
                let rule = rule.verb(emulator::Verb::Get).verb(emulator::Verb::Delete);
                Ordered::Google(google.order(rule))
            }
            Self::Microsoft(graph) => microsoft::hide(graph, id, not_found),
            Self::Caldav(caldav) => {
                let path = format!("{}{id}", self.calendar_of(place));
                Ordered::Wire(caldav.wire.order(EVERY, not_found, Meant::All(path)))
            }
        }
    }

    /// How many requests came, reading ones too.
    pub(crate) fn requests(&self) -> usize {
        match self {
            Self::Google(google) => google.calls().list.len(),
            Self::Microsoft(graph) => graph.calls().list.len(),
            Self::Caldav(caldav) => caldav.wire.calls().len(),
        }
    }

    /// The writes that came, in order; also those that were refused.
    pub(crate) fn attempts(&self) -> Vec<Write> {
        match self {
            Self::Google(google) => google.calls().list.iter().filter_map(google::write).collect(),
            Self::Microsoft(graph) => microsoft::writes(graph),
            Self::Caldav(caldav) => caldav.writes(),
        }
    }

    /// The writes that changed what a host sees.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let mut writes = self.attempts();
        writes.retain(|write| write.effective);
        writes
    }

    /// Their verbs.
    pub(crate) fn verbs(&self) -> Vec<Verb> {
        self.writes().iter().map(|write| write.verb).collect()
    }
}
