//! Trouble, events and writes as the Google emulator says them.

use booking::Verb;
use calendar_sync::emulator::google::EventView;
use calendar_sync::emulator::{self, Effect, Fault, Moment, Refusal, Rule};

use super::{EVERY, Shown, Trouble, Write};

pub(super) fn rule(count: u32, trouble: Trouble) -> Rule {
    let fault = match trouble {
        Trouble::AnswerLost => Fault::HangUp(Moment::AfterApplying),
        Trouble::AnswerHeld => Fault::Hold(Moment::AfterApplying),
        Trouble::Late => Fault::Delay { hang_up: true },
        Trouble::Stranded => Fault::Delay { hang_up: false },
        Trouble::Slow(time) => Fault::Latency(Moment::BeforeApplying, time),
        Trouble::Refused { status, reason, retry_after_s } => {
            let refusal = Refusal { retry_after_s, ..Refusal::api(status, reason, "no") };
            Fault::Refuse(Moment::BeforeApplying, refusal)
        }
        Trouble::DoneAndRefused { status, reason } => {
            Fault::Refuse(Moment::AfterApplying, Refusal::api(status, reason, "no"))
        }
        Trouble::RequestLost => Fault::HangUp(Moment::BeforeApplying),
        Trouble::AnswerCut => Fault::Truncate,
    };
    if count == EVERY { Rule::always(fault) } else { Rule::next(count, fault) }
}

pub(super) fn of_writes(rule: Rule) -> Rule {
    let verbs = [emulator::Verb::Insert, emulator::Verb::Patch, emulator::Verb::Delete];
    verbs.into_iter().fold(rule, Rule::verb)
}

pub(super) fn event(event: EventView) -> Shown {
    let revision = event.properties.get("bookingRevision").and_then(|text| text.parse().ok());
    let text = |name: &str| event.resource[name].as_str().map(ToOwned::to_owned);
    let (description, location) = (text("description"), text("location"));
    Shown {
        id: event.id,
        provider_uid: event.ical_uid,
        etag: event.etag,
        revision: revision.unwrap_or(-1),
        sequence: event.sequence,
        summary: event.summary,
        description,
        location,
        start: event.start,
        end: event.end,
        zone: event.zone,
        tentative: event.tentative,
    }
}

pub(super) fn write(call: &emulator::CallRecord) -> Option<Write> {
    let verb = match call.verb {
        emulator::Verb::Insert => Verb::Create,
        emulator::Verb::Patch | emulator::Verb::Update => Verb::Update,
        emulator::Verb::Delete => Verb::Delete,
        emulator::Verb::Get
        | emulator::Verb::List
        | emulator::Verb::CalendarGet
        | emulator::Verb::CalendarList
        | emulator::Verb::Changes
        | emulator::Verb::Account
        | emulator::Verb::Authorize
        | emulator::Verb::DeviceCode
        | emulator::Verb::Token
        | emulator::Verb::Other => return None,
    };
    Some(Write {
        at: call.at,
        verb,
        calendar: call.calendar.clone().unwrap_or_default(),
        id: call.event.clone().unwrap_or_default(),
        if_match: call.if_match.clone(),
        body: String::from_utf8_lossy(&call.body).into_owned(),
        landed: call.applied.is_some(),
        effective: match call.effect {
            Effect::Created | Effect::Updated | Effect::Deleted => true,
            Effect::Nothing | Effect::Rewritten => false,
        },
    })
}
