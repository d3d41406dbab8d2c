//! Faults to order: which calls fail, how, and when a held one goes on.
//!
//! A call takes every waiting fault that matches it ([`Fault::Latency`], [`Fault::Hold`],
//! [`Fault::Delay`]) and the first that ends it, in the order in which they were ordered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::call_log::Verb;

/// The most rules that may stand at once; a further order panics, being a mistake of the test.
pub const RULES_MAX: usize = 1_000;

/// On which side of the moment in which a call takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has not taken effect.
    BeforeApplying,
    /// It has.
    AfterApplying,
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// The provider's word for it. `None`: the body is a proxy's HTML page, not the API's JSON.
    pub reason: Option<String>,
    /// What it says.
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// An API error.
    pub fn api(status: u16, reason: &str, message: &str) -> Self {
        Self {
            status,
            reason: Some(reason.to_owned()),
            message: message.to_owned(),
            retry_after_s: None,
        }
    }

    /// 429, with `Retry-After` in seconds where given (Google promises none).
    pub fn too_many_requests(retry_after_s: Option<u32>) -> Self {
        Self { retry_after_s, ..Self::api(429, "rateLimitExceeded", "Rate Limit Exceeded") }
    }

    /// 403 that asks for patience (L17).
    pub fn rate_limit_exceeded() -> Self {
        Self::api(403, "rateLimitExceeded", "Rate Limit Exceeded")
    }

    /// 403 that asks for hours of patience.
    pub fn quota_exceeded() -> Self {
        Self::api(403, "quotaExceeded", "Calendar usage limits exceeded.")
    }

    /// 403 for ever.
    pub fn forbidden() -> Self {
        Self::api(403, "forbidden", "Forbidden")
    }

    /// A 5xx in the API's own shape.
    pub fn backend_error(status: u16) -> Self {
        Self::api(status, "backendError", "Backend Error")
    }

    /// A 5xx from something in front of the API.
    pub fn proxy_error(status: u16) -> Self {
        Self { status, reason: None, message: "Bad Gateway".to_owned(), retry_after_s: None }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes without an answer.
    HangUp(Moment),
    /// The call takes effect, and half of the answer arrives.
    Truncate,
    /// This answer instead of the call's own.
    Refuse(Moment, Refusal),
    /// The call waits so long.
    Latency(Moment, Duration),
    /// The call waits for [`Ordered::release`]. If its client leaves before it took effect, it
    /// never does.
    Hold(Moment),
    /// A zombie: the call takes effect at [`Ordered::release`], whether or not its client is
    /// still there.
    Delay {
        /// Whether the connection closes at once, so that the client need not time out first.
        hang_up: bool,
    },
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Often {
    Next(u32),
    Always,
    Rate { share: f64 },
}

/// A fault and the calls that it meets: all, unless narrowed.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    often: Often,
    seed: u64,
    verbs: Vec<Verb>,
    calendar: Option<String>,
    event: Option<String>,
}

impl Rule {
    /// The next `count` calls that match.
    pub fn next(count: u32, fault: Fault) -> Self {
        Self::new(fault, Often::Next(count), 0)
    }

    /// Every call that matches, until withdrawn.
    pub fn always(fault: Fault) -> Self {
        Self::new(fault, Often::Always, 0)
    }

    /// This share (0 to 1) of the calls that match, drawn from `seed`.
    pub fn rate(share: f64, seed: u64, fault: Fault) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share is from 0 to 1");
        Self::new(fault, Often::Rate { share }, seed)
    }

    fn new(fault: Fault, often: Often, seed: u64) -> Self {
        Self { fault, often, seed, verbs: Vec::new(), calendar: None, event: None }
    }

    /// Only this verb; said twice, either.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verbs.push(verb);
        self
    }

    /// Only this calendar.
    #[must_use]
    pub fn calendar(mut self, id: &str) -> Self {
        self.calendar = Some(id.to_owned());
        self
    }

    /// Only this event.
    #[must_use]
    pub fn event(mut self, id: &str) -> Self {
        self.event = Some(id.to_owned());
        self
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let named = |wanted: &Option<String>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| given == Some(wanted))
        };
        (self.verbs.is_empty() || self.verbs.contains(&subject.verb))
            && named(&self.calendar, subject.calendar)
            && named(&self.event, subject.event)
    }
}

/// What a rule looks at.
pub(super) struct Subject<'a> {
    pub(super) verb: Verb,
    pub(super) calendar: Option<&'a str>,
    pub(super) event: Option<&'a str>,
}

struct Draw {
    left: Often,
    dice: StdRng,
    hits: u64,
}

struct Standing {
    rule: Rule,
    draw: Mutex<Draw>,
    gate: Semaphore,
    held: watch::Sender<usize>,
}

impl Standing {
    /// Whether this call is met; counts it if so.
    fn take(&self, subject: &Subject<'_>) -> bool {
        if !self.rule.matches(subject) {
            return false;
        }
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = match draw.left {
            Often::Next(0) => false,
            Often::Next(left) => {
                draw.left = Often::Next(left - 1);
                true
            }
            Often::Always => true,
            Often::Rate { share } => draw.dice.random::<f64>() < share,
        };
        draw.hits += u64::from(hit);
        hit
    }
}

/// An ordered fault: counts what it met, and lets go what it holds. Cheap to clone.
#[derive(Clone)]
pub struct Ordered(Arc<Standing>);

impl Ordered {
    /// How many calls it has met.
    pub fn hits(&self) -> u64 {
        self.0.draw.lock().unwrap_or_else(PoisonError::into_inner).hits
    }

    /// How many calls it holds now.
    pub fn held(&self) -> usize {
        *self.0.held.borrow()
    }

    /// Returns once it holds at least `count` calls.
    pub async fn wait_held(&self, count: usize) {
        let mut held = self.0.held.subscribe();
        // The sender lives in `self`, so the channel cannot close under us.
        held.wait_for(|held| *held >= count).await.expect("the rule stands");
    }

    /// Lets `count` held calls go, the longest held first; if fewer are held, the next ones pass.
    pub fn release(&self, count: usize) {
        self.0.gate.add_permits(count);
    }

    /// Lets go all that are held, and all to come.
    pub fn release_all(&self) {
        self.0.gate.close();
    }

    /// Meets no further call, and lets go what it holds.
    pub fn withdraw(&self) {
        self.0.draw.lock().unwrap_or_else(PoisonError::into_inner).left = Often::Next(0);
        self.release_all();
    }
}

/// All that are ordered.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<Arc<Standing>>>);

impl Faults {
    pub(super) fn order(&self, rule: Rule) -> Ordered {
        let draw = Draw { left: rule.often, dice: StdRng::seed_from_u64(rule.seed), hits: 0 };
        let standing = Arc::new(Standing {
            rule,
            draw: Mutex::new(draw),
            gate: Semaphore::new(0),
            held: watch::Sender::new(0),
        });
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|old| {
            let draw = old.draw.lock().unwrap_or_else(PoisonError::into_inner);
            draw.left != Often::Next(0)
        });
        assert!(rules.len() < RULES_MAX, "more than {RULES_MAX} faults stand");
        rules.push(Arc::clone(&standing));
        Ordered(standing)
    }

    /// Withdraws all.
    pub(super) fn clear(&self) {
        let rules = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for standing in rules {
            Ordered(standing).withdraw();
        }
    }

    /// What this call meets.
    pub(super) fn plan(&self, subject: &Subject<'_>) -> Plan {
        let mut plan = Plan::default();
        for standing in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (waits, moment) = match standing.rule.fault {
                Fault::Latency(moment, _) | Fault::Hold(moment) => (true, moment),
                Fault::Delay { .. } => (true, Moment::BeforeApplying),
                Fault::HangUp(moment) | Fault::Refuse(moment, _) => (false, moment),
                Fault::Truncate => (false, Moment::AfterApplying),
            };
            let ended = plan.end.is_some();
            if (!waits && ended) || !standing.take(subject) {
                continue;
            }
            match (waits, moment) {
                (true, Moment::BeforeApplying) => plan.before.push(Wait(Arc::clone(standing))),
                (true, Moment::AfterApplying) => plan.after.push(Wait(Arc::clone(standing))),
                (false, moment) => {
                    plan.end = Some(End { moment, how: How::of(&standing.rule.fault) });
                }
            }
        }
        plan
    }
}

/// What one call meets.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) before: Vec<Wait>,
    pub(super) after: Vec<Wait>,
    pub(super) end: Option<End>,
}

/// How a call ends other than by its own answer.
pub(super) struct End {
    pub(super) moment: Moment,
    pub(super) how: How,
}

/// The end itself.
#[derive(Clone)]
pub(super) enum How {
    HangUp,
    Truncate,
    Refuse(Refusal),
}

impl How {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Refuse(_, refusal) => Self::Refuse(refusal.clone()),
            Fault::Truncate => Self::Truncate,
            Fault::HangUp(_) | Fault::Latency(..) | Fault::Hold(_) | Fault::Delay { .. } => {
                Self::HangUp
            }
        }
    }
}

/// Whether a call that waited goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    GoOn,
    Abandon,
}

/// One wait of one call.
pub(super) struct Wait(Arc<Standing>);

impl Wait {
    /// Whether the client is hung up on while the call waits.
    pub(super) fn hangs_up(&self) -> bool {
        self.0.rule.fault == Fault::Delay { hang_up: true }
    }

    /// Waits. `gone` is cancelled when the client leaves, `stop` when the emulator stops.
    pub(super) async fn wait(&self, gone: &CancellationToken, stop: &CancellationToken) -> Waited {
        match &self.0.rule.fault {
            Fault::Latency(_, time) => {
                tokio::select! {
                    () = tokio::time::sleep(*time) => Waited::GoOn,
                    () = stop.cancelled() => Waited::Abandon,
                }
            }
            Fault::Hold(Moment::BeforeApplying) => {
                tokio::select! {
                    waited = self.held(stop) => waited,
                    () = gone.cancelled() => Waited::Abandon,
                }
            }
            Fault::Hold(Moment::AfterApplying) | Fault::Delay { .. } => self.held(stop).await,
            Fault::HangUp(_) | Fault::Truncate | Fault::Refuse(..) => Waited::GoOn,
        }
    }

    async fn held(&self, stop: &CancellationToken) -> Waited {
        /// Counts a held call for as long as it lives.
        struct Held<'a>(&'a watch::Sender<usize>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|held| *held -= 1);
            }
        }
        self.0.held.send_modify(|held| *held += 1);
        let _held = Held(&self.0.held);
        tokio::select! {
            permit = self.0.gate.acquire() => {
                // A closed gate lets everyone pass.
                if let Ok(permit) = permit {
                    permit.forget();
                }
                Waited::GoOn
            }
            () = stop.cancelled() => Waited::Abandon,
        }
    }
}
