//! The flaws, one a type.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use booking::{Content, IcalUid, Marker, Verb};
use calendar_sync::calendar::{Answer, Calendar, Call, Condition, Listed, Listing, Name, Reading};
use chrono::{DateTime, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::Flaw;

/// Updates without `If-Match`.
#[derive(Default)]
pub(super) struct UpdatesWhateverStands;

#[async_trait]
impl Flaw for UpdatesWhateverStands {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut call = call.clone();
        if call.verb == Verb::Update {
            call.condition = Condition::Unconditional;
        }
        of.send(&call).await
    }
}

/// Deletes without `If-Match`.
#[derive(Default)]
pub(super) struct DeletesWhateverStands;

#[async_trait]
impl Flaw for DeletesWhateverStands {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut call = call.clone();
        if call.verb == Verb::Delete {
            call.condition = Condition::Unconditional;
        }
        of.send(&call).await
    }
}

/// Creates without `If-None-Match`.
#[derive(Default)]
pub(super) struct CreatesOverWhatStands;

#[async_trait]
impl Flaw for CreatesOverWhatStands {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut call = call.clone();
        if call.verb == Verb::Create {
            call.condition = Condition::Unconditional;
        }
        of.send(&call).await
    }
}

/// Draws an id for each attempt, and tells it as the calendar's.
#[derive(Default)]
pub(super) struct NamesEachAttempt(AtomicU32);

#[async_trait]
impl Flaw for NamesEachAttempt {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        if call.verb != Verb::Create {
            let name = Name::given(call.name.server_id.unwrap_or(call.name.given));
            return of.send(&Call { name, ..call.clone() }).await;
        }
        let drawn = format!("{}{}", call.name.given, self.0.fetch_add(1, Ordering::SeqCst));
        let mut event: Value = serde_json::from_slice(call.body).expect("the adapter's JSON");
        event["id"] = Value::from(drawn.clone());
        let body = event.to_string().into_bytes();
        let name = Name::given(&drawn);
        let mut answer = of.send(&Call { name, body: &body, ..call.clone() }).await;
        if let Answer::Status { server_id, status: 200..=299, .. } = &mut answer {
            *server_id = Some(drawn);
        }
        answer
    }

    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        of.read(Name::given(name.server_id.unwrap_or(name.given))).await
    }
}

/// Names an event by its booking alone.
#[derive(Default)]
pub(super) struct ForgetsGenerations;

#[async_trait]
impl Flaw for ForgetsGenerations {
    fn external_id(&self, of: &dyn Calendar, uid: &IcalUid, _generation: i32) -> String {
        of.external_id(uid, 0)
    }
}

/// Not found is deleted.
#[derive(Default)]
pub(super) struct TakesAbsenceForDeletion;

#[async_trait]
impl Flaw for TakesAbsenceForDeletion {
    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        let reading = of.read(name).await;
        if reading == Reading::Absent { Reading::Tombstone } else { reading }
    }
}

/// No calendar is an empty calendar (L24).
#[derive(Default)]
pub(super) struct TakesGoneForAbsence;

#[async_trait]
impl Flaw for TakesGoneForAbsence {
    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        let reading = of.read(name).await;
        if matches!(reading, Reading::CalendarGone { .. }) { Reading::Absent } else { reading }
    }
}

/// Not readable is not found (L24).
#[derive(Default)]
pub(super) struct TakesFailureForAbsence;

#[async_trait]
impl Flaw for TakesFailureForAbsence {
    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        let reading = of.read(name).await;
        if matches!(reading, Reading::Failed(_)) { Reading::Absent } else { reading }
    }
}

/// No answer, so nothing was sent.
#[derive(Default)]
pub(super) struct TakesLostForUnsent;

#[async_trait]
impl Flaw for TakesLostForUnsent {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut answer = of.send(call).await;
        if let Answer::Lost { sent, .. } = &mut answer {
            *sent = false;
        }
        answer
    }
}

fn done() -> Answer {
    Answer::Status {
        status: 200,
        reason: None,
        retry_after: None,
        etag: None,
        provider_uid: None,
        server_id: None,
        message: "200 OK".to_owned(),
    }
}

/// It was sent, so it was done (L8).
#[derive(Default)]
pub(super) struct TakesLostForDone;

#[async_trait]
impl Flaw for TakesLostForDone {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let answer = of.send(call).await;
        if matches!(answer, Answer::Lost { sent: true, .. }) { done() } else { answer }
    }
}

/// It is there already, so it was done.
#[derive(Default)]
pub(super) struct TakesConflictForDone;

#[async_trait]
impl Flaw for TakesConflictForDone {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let answer = of.send(call).await;
        if matches!(answer, Answer::Status { status: 409, .. }) { done() } else { answer }
    }
}

fn with_status(mut answer: Answer, from: impl Fn(u16) -> bool, to: u16) -> Answer {
    if let Answer::Status { status, .. } = &mut answer
        && from(*status)
    {
        *status = to;
    }
    answer
}

/// Every 2xx is a success.
#[derive(Default)]
pub(super) struct TakesAcceptedForDone;

#[async_trait]
impl Flaw for TakesAcceptedForDone {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        with_status(of.send(call).await, |status| (200..300).contains(&status), 200)
    }
}

/// Every refusal was meant for the body.
#[derive(Default)]
pub(super) struct TakesRefusalsForInvalid;

#[async_trait]
impl Flaw for TakesRefusalsForInvalid {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        with_status(of.send(call).await, |status| status == 403, 400)
    }
}

/// Even a refusal of the token.
#[derive(Default)]
pub(super) struct TakesUnauthorisedForInvalid;

#[async_trait]
impl Flaw for TakesUnauthorisedForInvalid {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        with_status(of.send(call).await, |status| status == 401, 400)
    }
}

/// Reads no body of a refusal (L17).
#[derive(Default)]
pub(super) struct ForgetsTheWord;

#[async_trait]
impl Flaw for ForgetsTheWord {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut answer = of.send(call).await;
        if let Answer::Status { reason, .. } = &mut answer {
            *reason = None;
        }
        answer
    }
}

/// Comes back when it likes (L16).
#[derive(Default)]
pub(super) struct SwallowsRetryAfter;

#[async_trait]
impl Flaw for SwallowsRetryAfter {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut answer = of.send(call).await;
        if let Answer::Status { retry_after, .. } = &mut answer {
            *retry_after = None;
        }
        answer
    }
}

/// Tells the ETag of the last answer but one.
#[derive(Default)]
pub(super) struct TellsAnotherEtag(Mutex<Option<String>>);

#[async_trait]
impl Flaw for TellsAnotherEtag {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        let mut answer = of.send(call).await;
        if let Answer::Status { etag: Some(etag), .. } = &mut answer {
            let mut last = self.0.lock().expect("nobody panics while holding it");
            let before = last.replace(etag.clone());
            *etag = before.unwrap_or_else(|| "\"0\"".to_owned());
        }
        answer
    }
}

/// Marks an event when it is made, and no more.
#[derive(Default)]
pub(super) struct KeepsTheFirstMarker;

#[async_trait]
impl Flaw for KeepsTheFirstMarker {
    async fn send(&self, of: &dyn Calendar, call: &Call<'_>) -> Answer {
        if call.verb != Verb::Update {
            return of.send(call).await;
        }
        let mut event: Value = serde_json::from_slice(call.body).expect("the adapter's JSON");
        event.as_object_mut().expect("an event").remove("extendedProperties");
        let body = event.to_string().into_bytes();
        of.send(&Call { body: &body, ..call.clone() }).await
    }
}

/// Takes the last event that carries our marker for the one that was asked for.
#[derive(Default)]
pub(super) struct SearchesLoosely;

#[async_trait]
impl Flaw for SearchesLoosely {
    async fn read(&self, of: &dyn Calendar, name: Name<'_>) -> Reading {
        let Listed::Page(page) = of.list(Listing { since: None, page: None }).await else {
            return of.read(name).await;
        };
        match page.events.last() {
            Some(event) => of.read(Name { given: &event.id, server_id: Some(&event.id) }).await,
            None => of.read(name).await,
        }
    }
}

/// An instant, as its zone's clock says it, and as is read from that.
fn said(zone: Tz, at: DateTime<Utc>) -> DateTime<Utc> {
    let local = at.with_timezone(&zone).naive_local();
    zone.from_local_datetime(&local).earliest().expect("it is lived").to_utc()
}

/// Says local times, and does not know that some are said twice (L19).
#[derive(Default)]
pub(super) struct ForgetsTheOffset;

#[async_trait]
impl Flaw for ForgetsTheOffset {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let (start, end) = (said(content.zone, content.start), said(content.zone, content.end));
        of.body(id, marker, &Content { start, end, ..content.clone() })
    }
}

/// Says every time in UTC.
#[derive(Default)]
pub(super) struct SpeaksInUtc;

#[async_trait]
impl Flaw for SpeaksInUtc {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        of.body(id, marker, &Content { zone: Tz::UTC, ..content.clone() })
    }
}

/// Leaves out the parts of the last second.
#[derive(Default)]
pub(super) struct CutsTheEnd;

#[async_trait]
impl Flaw for CutsTheEnd {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let end = content.end.with_nanosecond(0).expect("a whole second");
        of.body(id, marker, &Content { end, ..content.clone() })
    }
}

/// Writes iCalendar's special characters as they are.
#[derive(Default)]
pub(super) struct DoesNotEscape;

#[async_trait]
impl Flaw for DoesNotEscape {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let text = String::from_utf8(of.body(id, marker, content)).expect("it is UTF-8");
        let plain = [("\\,", ","), ("\\;", ";"), ("\\\\", "\\")];
        let plain = plain.iter().fold(text, |text, (escaped, plain)| text.replace(escaped, plain));
        plain.into_bytes()
    }
}

fn with_texts(content: &Content, change: impl Fn(&str) -> String) -> Content {
    Content {
        summary: change(&content.summary),
        description: content.description.as_deref().map(&change),
        location: content.location.as_deref().map(&change),
        ..content.clone()
    }
}

/// As a database whose UTF-8 has three bytes at most.
#[derive(Default)]
pub(super) struct DropsWideCharacters;

#[async_trait]
impl Flaw for DropsWideCharacters {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let narrow = |text: &str| text.chars().filter(|it| it.len_utf8() < 4).collect();
        of.body(id, marker, &with_texts(content, narrow))
    }
}

/// As a column of 255.
#[derive(Default)]
pub(super) struct CutsTexts;

#[async_trait]
impl Flaw for CutsTexts {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let cut = |text: &str| text.chars().take(255).collect();
        of.body(id, marker, &with_texts(content, cut))
    }
}

/// Names in an update only what there is, and keeps the rest.
#[derive(Default)]
pub(super) struct KeepsWhatIsTakenBack(Mutex<Option<String>>);

#[async_trait]
impl Flaw for KeepsWhatIsTakenBack {
    fn body(&self, of: &dyn Calendar, id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let mut last = self.0.lock().expect("nobody panics while holding it");
        let description = content.description.clone().or_else(|| last.clone());
        last.clone_from(&description);
        of.body(id, marker, &Content { description, ..content.clone() })
    }
}
