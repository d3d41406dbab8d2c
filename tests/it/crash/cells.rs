//! What leads to each cell: what a booking has been through, where its worker is ended, and what
//! there must be in the end.

use std::collections::VecDeque;

use booking::{CalendarKind, Verb};

/// Where the process is ended from outside, by SIGKILL, while a call of it is on its way. No line of
/// ours is there; the call lands when all is over.
pub(super) const AT_CALENDAR: [&str; 1] = ["call.on_its_way"];

/// A worker is ended at these points a second time, while it recovers from the first.
pub(super) const TWICE: [&str; 9] = [
    "r10.leased",
    "r10.taken_over",
    "r13.read",
    "r13.sending_again",
    "r14.read",
    "r15.record_written",
    "r20.listed",
    "r20.page_written",
    "r20.end_written",
];

/// What the booking application says next. The number is an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Created,
    Moved(u32),
    Cancelled,
    Rebooked(u32),
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// The booking application speaks, and it is folded.
    Tell(Said),
    /// The host deletes the event herself.
    RemoveByHand,
    /// The host moves the event herself.
    MoveByHand,
    /// The hour of the calendar's sweep has come, and nobody looks for anything else.
    SweepComes,
    /// The calendar takes its time from now on, until somebody recovers.
    SlowDown,
    /// A worker works until it crashes at this point.
    Crash(&'static str),
    /// A worker works until its call has reached the calendar, which does nothing about it yet; then
    /// it is ended.
    EndOnCall,
}

/// A cell's story.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// What was said before, each sent before the next; nothing of it crashes.
    pub(super) before: Vec<Said>,
    /// Whether the first of these calls lands late: when all of `before` is over.
    pub(super) first_lands_late: bool,
    pub(super) acts: VecDeque<Act>,
    /// What changes in the calendar by all of `acts` and the recovery.
    pub(super) writes: Vec<Verb>,
    /// At which hour the event stands in the end.
    pub(super) shows: Option<u32>,
}

impl Plan {
    fn new(before: &[Said], acts: &[Act], writes: &[Verb], shows: Option<u32>) -> Self {
        let acts = acts.iter().copied().collect();
        let (before, writes) = (before.to_vec(), writes.to_vec());
        Self { before, first_lands_late: false, acts, writes, shows }
    }

    /// One call is owed, and this is how it fares.
    fn owing(verb: Verb, acts: &[Act]) -> Self {
        let (before, said, shows) = match verb {
            Verb::Create => (&[][..], Said::Created, Some(9)),
            Verb::Update => (&[Said::Created][..], Said::Moved(11), Some(11)),
            Verb::Delete => (&[Said::Created][..], Said::Cancelled, None),
        };
        let acts = [&[Act::Tell(said)], acts].concat();
        Self::new(before, &acts, &[verb], shows)
    }

    /// The same, ending a second worker by the last act. Not for a story that goes on after its
    /// crash.
    pub(super) fn twice(mut self) -> Self {
        let last = *self.acts.back().expect("something happens");
        self.acts.push_back(last);
        self
    }
}

/// The story of one cell; or why there is none.
pub(super) fn plan(
    point: &'static str,
    verb: Verb,
    kind: CalendarKind,
) -> Result<Plan, &'static str> {
    const APPLIED: Act = Act::Crash("call.answered");
    const UNSENT: Act = Act::Crash("r10.calling");
    let here = Act::Crash(point);
    match point {
        // There must be something to take over, to read back, to verify.
        "r10.restamped" | "r10.taken_over" | "r13.reading" | "r13.read" | "r14.reading"
        | "r14.read" => Ok(Plan::owing(verb, &[APPLIED, here])),
        "r13.sending_again" => Ok(Plan::owing(verb, &[UNSENT, here])),
        // Reading back takes a good part of the lease.
        "r10.renewed" => Ok(Plan::owing(verb, &[UNSENT, Act::SlowDown, here])),
        "r13.given_way" => given_way(verb, &[UNSENT, Act::Tell(Said::Moved(13)), here]),
        "r12.burned" => burned(verb, here),
        "r12.opened" => opened(verb, kind, here),
        "r12.gone" => gone(verb, kind, here),
        "r14.removing" | "r14.removed" => removed(verb, kind, here),
        _ if point.starts_with("r20.") => swept(point, verb, kind),
        "call.on_its_way" => Ok(Plan::owing(verb, &[Act::EndOnCall])),
        _ if super::reading::is_read_at(point) => Err("no call has anything to do with it"),
        _ => Ok(Plan::owing(verb, &[here])),
    }
}

/// Something newer is wanted once the call is stamped.
fn given_way(verb: Verb, acts: &[Act]) -> Result<Plan, &'static str> {
    if verb == Verb::Delete {
        return Err("a delete gives way to nothing: its generation ends by it");
    }
    Ok(Plan { shows: Some(13), ..Plan::owing(verb, acts) })
}

/// Whatever comes, the burned generation is deleted.
fn burned(verb: Verb, here: Act) -> Result<Plan, &'static str> {
    match verb {
        Verb::Delete => Ok(Plan::owing(verb, &[here])),
        // Booked anew while its event's deletion is on its way.
        Verb::Create => {
            let acts = [Act::Tell(Said::Cancelled), here, Act::Tell(Said::Rebooked(12))];
            Ok(Plan::new(&[Said::Created], &acts, &[Verb::Delete, Verb::Create], Some(12)))
        }
        Verb::Update => Err("an update burns nothing, and none comes after a cancellation"),
    }
}

/// A generation after one that is settled absent.
fn opened(verb: Verb, kind: CalendarKind, here: Act) -> Result<Plan, &'static str> {
    match (verb, kind) {
        (Verb::Create, _) => {
            let (before, acts) =
                ([Said::Created, Said::Cancelled], [Act::Tell(Said::Rebooked(12)), here]);
            Ok(Plan::new(&before, &acts, &[Verb::Create], Some(12)))
        }
        (Verb::Update, CalendarKind::Google | CalendarKind::Microsoft) => Ok(removed_by_hand(here)),
        (Verb::Update, CalendarKind::Caldav) => {
            Err("an event that was removed by hand is revived under its one name")
        }
        (Verb::Delete, _) => Err("a delete opens no generation"),
    }
}

/// What is to be moved is not there any more.
fn removed_by_hand(here: Act) -> Plan {
    let acts = [Act::RemoveByHand, Act::Tell(Said::Moved(11)), here];
    Plan::new(&[Said::Created], &acts, &[Verb::Create], Some(11))
}

/// The host was faster.
fn gone(verb: Verb, kind: CalendarKind, here: Act) -> Result<Plan, &'static str> {
    if kind == CalendarKind::Caldav {
        return Err("an event that was removed by hand is revived under its one name");
    }
    match verb {
        Verb::Create if kind == CalendarKind::Microsoft => {
            Err("what was never seen there is sent again under its own name")
        }
        Verb::Create => {
            let applied = Act::Crash("call.answered");
            let acts = [Act::Tell(Said::Created), applied, Act::RemoveByHand, here];
            Ok(Plan::new(&[], &acts, &[Verb::Create, Verb::Create], Some(9)))
        }
        Verb::Update => Ok(removed_by_hand(here)),
        Verb::Delete => Err("a delete that finds nothing is done"),
    }
}

/// The first create had no answer and lands late, when the booking is in its second generation.
fn removed(verb: Verb, kind: CalendarKind, here: Act) -> Result<Plan, &'static str> {
    if kind == CalendarKind::Caldav {
        return Err("an event has one name for ever: there is no other generation's");
    }
    let (last, shows) = match verb {
        Verb::Create => (None, Some(12)),
        Verb::Update => (Some(Said::Moved(13)), Some(13)),
        Verb::Delete => (Some(Said::Cancelled), None),
    };
    Ok(Plan { shows, ..beside_its_own(last, &[here]) })
}

/// Of a booking's second generation there is an event; and of its first, which nobody knows of.
fn beside_its_own(last: Option<Said>, acts: &[Act]) -> Plan {
    let mut before = vec![Said::Created, Said::Cancelled, Said::Rebooked(12)];
    before.extend(last);
    let plan = Plan::new(&before, acts, &[Verb::Delete], Some(12));
    Plan { first_lands_late: true, ..plan }
}

/// What a sweep has made anew, written over, or removed.
fn swept(point: &'static str, verb: Verb, kind: CalendarKind) -> Result<Plan, &'static str> {
    let comes = [Act::SweepComes, Act::Crash(point)];
    let by_hand = |act: Act, write: Verb| {
        Plan::new(&[Said::Created], &[&[act], &comes[..]].concat(), &[write], Some(9))
    };
    match verb {
        Verb::Delete if kind == CalendarKind::Caldav => {
            Err("an event has one name for ever: there is no other generation's")
        }
        Verb::Delete => Ok(beside_its_own(None, &comes)),
        _ if matches!(point, "r20.removing" | "r20.removed") => Err("a removal is a delete"),
        Verb::Create => Ok(by_hand(Act::RemoveByHand, Verb::Create)),
        Verb::Update => Ok(by_hand(Act::MoveByHand, Verb::Update)),
    }
}
