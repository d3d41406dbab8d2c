//! Google Calendar v3 (facts and their sources: `google-api-python-client`'s discovery document
//! and the guides below `developers.google.com/workspace/calendar/api`).
//!
//! An insert brings its own id. An update is a PATCH: a PUT replaces the whole event, and the
//! host's colour, reminders and guests on it would be gone (rule R20); the quota of a PATCH is
//! higher, and worth it. Her notes stand where our text does, and are kept around it. `sendUpdates=none` on every write: mail is never idempotent (L20).
//!
//! `sequence` is left out: Google refuses one below its own (400), and raises its own when the
//! host edits the event, so our revision would be refused after any edit by hand. The order of our
//! own writes is held by the ETag, and our revision stands among the private properties.

mod list;

pub mod discovery;

pub mod user;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, Digest, IcalUid, Marker, Verb};
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use data_encoding::BASE32HEX_NOPAD;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, IF_MATCH};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use super::http::{self, Http, Request, Response};
use super::notes::{Form, Notes, Parts, Run};
use super::{
    Account, Answer, Calendar, Call, Condition, Hers, Inspected, Listed, Listing, Name, Put,
    Reading, ical, zone,
};

/// The keys of the marker among the private extended properties: at most 44 characters, their
/// values at most 1024.
const UID: &str = "bookingUid";
const CONNECTION: &str = "bookingConnection";
const REVISION: &str = "bookingRevision";
const DIGEST: &str = "bookingDigest";
/// Which words of the description are ours, beside them.
const TEXT: &str = "bookingText";
/// The longest description that Google takes, in characters.
const TEXT_LEN_MAX: usize = 8_192;
const JSON_TYPE: &str = "application/json; charset=utf-8";

/// A Google calendar, opened on one account.
pub struct Google {
    account: Account,
    http: Http,
}

impl Google {
    /// Opens it. A base URL that is none shows at the first call, as an answer never sent.
    pub fn new(account: Account, http: Http) -> Self {
        Self { account, http }
    }

    /// `…/events`, or one of them.
    fn events(&self, external_id: Option<&str>) -> Result<Url, Answer> {
        let mut url = self.account.calendar_url()?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("events").extend(external_id);
        }
        Ok(url)
    }

    async fn get(&self, url: Url) -> Result<Response, Answer> {
        self.get_up_to(url, http::BODY_LEN_MAX).await
    }

    async fn get_up_to(&self, url: Url, len_max: usize) -> Result<Response, Answer> {
        let credentials = Some(&self.account.credentials);
        let request = Request { method: Method::GET, url, credentials, headers: vec![], body: &[] };
        self.http.exchange_up_to(request, len_max).await.whole()
    }

    async fn write(&self, call: &Call<'_>) -> Result<Response, Answer> {
        let (method, mut url, body) = match call.verb {
            Verb::Create => (Method::POST, self.events(None)?, call.body.to_vec()),
            Verb::Update => {
                let patch = patch_of(call.body).ok_or_else(|| Answer::Lost {
                    sent: false,
                    message: "the stored body is not an event".to_owned(),
                })?;
                (Method::PATCH, self.events(Some(call.name.given))?, patch)
            }
            Verb::Delete => (Method::DELETE, self.events(Some(call.name.given))?, Vec::new()),
        };
        url.query_pairs_mut().append_pair("sendUpdates", "none");
        let mut headers: Vec<(HeaderName, String)> = Vec::new();
        if !body.is_empty() {
            headers.push((CONTENT_TYPE, JSON_TYPE.to_owned()));
        }
        match (&call.condition, call.verb) {
            (Condition::Match(etag), Verb::Update | Verb::Delete) => {
                headers.push((IF_MATCH, etag.clone()));
            }
            (Condition::New | Condition::Unconditional, Verb::Update) => return Err(unguarded()),
            // An insert has no condition but its id; deleting twice does nothing.
            (_, Verb::Create) | (Condition::New | Condition::Unconditional, Verb::Delete) => {}
        }
        let credentials = Some(&self.account.credentials);
        let request = Request { method, url, credentials, headers, body: &body };
        self.http.exchange(request).await.whole()
    }

    /// The event is not there: is the calendar (L24)? Its list of events is asked for, of which
    /// hardly anything is answered: the scopes that let us write events let us list them, and do
    /// not let us get the calendar itself.
    async fn look_for_calendar(&self) -> Reading {
        let calendar = match self.events(None) {
            Ok(mut url) => {
                url.set_query(Some("maxResults=1&fields=etag"));
                self.get(url).await
            }
            Err(lost) => Err(lost),
        };
        match calendar {
            Err(lost) => Reading::Failed(lost),
            Ok(response) if response.status == 200 => {
                let listed = serde_json::from_slice::<List>(&response.body);
                listed.map_or_else(
                    |_| Reading::Failed(not_googles("a list of events")),
                    |_| Reading::Absent,
                )
            }
            Ok(response) => match refusal(response) {
                Answer::Status { status: 404 | 410, message, .. } => {
                    Reading::CalendarGone { message }
                }
                other @ (Answer::Status { .. } | Answer::Lost { .. }) => Reading::Failed(other),
            },
        }
    }
}

#[async_trait]
impl Calendar for Google {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Google
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        event_id(uid, self.account.connection, generation)
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        insert_of(external_id, marker, content).to_string().into_bytes()
    }

    fn keeping(&self, body: &[u8], hers: &Hers) -> Vec<u8> {
        let with_notes = match &hers.0 {
            Put::Notes(notes) => with_notes(body, notes),
            Put::Object(_) => None,
        };
        with_notes.unwrap_or_else(|| body.to_vec())
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        match self.write(call).await {
            Ok(response) if !(200..=299).contains(&response.status) => refusal(response),
            Ok(response) => match call.verb {
                Verb::Create | Verb::Update => written(response, call.name.given),
                Verb::Delete => deleted(response),
            },
            Err(other) => other,
        }
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        self.inspect(name).await.reading
    }

    fn tells_content(&self) -> bool {
        true
    }

    async fn list(&self, listing: Listing<'_>) -> Listed {
        self.list_events(listing).await
    }

    async fn inspect(&self, name: Name<'_>) -> Inspected {
        let found = match self.events(Some(name.given)) {
            Ok(url) => self.get(url).await,
            Err(lost) => Err(lost),
        };
        let response = match found {
            Ok(response) => response,
            Err(lost) => return Inspected::unseen(Reading::Failed(lost)),
        };
        Inspected::unseen(match response.status {
            200 => return inspected(&response, name.given),
            410 => Reading::Tombstone,
            404 => self.look_for_calendar().await,
            _ => Reading::Failed(refusal(response)),
        })
    }
}

/// A PATCH with nothing to compare could bring a cancelled event back to life (L15). Google gives
/// every event an ETag, so the answer is the one that makes its sender read the event first.
fn unguarded() -> Answer {
    Answer::Status {
        status: 412,
        reason: Some("conditionMissing".to_owned()),
        retry_after: None,
        etag: None,
        provider_uid: None,
        server_id: None,
        message: "not sent: an update needs the event's etag".to_owned(),
    }
}

/// `booking` and 52 digits of base32hex, lower case: every letter is in Google's `a-v0-9`.
fn event_id(uid: &IcalUid, connection: ConnectionId, generation: i32) -> String {
    let mut hash = Sha256::new();
    for part in [uid.as_str().as_bytes(), connection.0.as_bytes(), &generation.to_be_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("booking{}", BASE32HEX_NOPAD.encode(&hash.finalize()).to_ascii_lowercase())
}

/// The event as it is inserted; what is absent is left out.
fn insert_of(external_id: &str, marker: &Marker, content: &Content) -> Value {
    let (start, end) = ical::whole_seconds(content);
    let mut event = json!({
        "id": external_id,
        "status": if content.tentative { "tentative" } else { "confirmed" },
        "summary": content.summary,
        "start": { "dateTime": date_time(content.zone, start), "timeZone": content.zone.name() },
        "end": { "dateTime": date_time(content.zone, end), "timeZone": content.zone.name() },
        "transparency": "opaque",
        "extendedProperties": { "private": {
            UID: marker.uid.as_str(),
            CONNECTION: marker.connection.to_string(),
            REVISION: marker.revision.to_string(),
            DIGEST: marker.digest.to_string(),
            TEXT: Run::of(content.description.as_deref()).to_string(),
        } },
    });
    for (key, text) in [("description", &content.description), ("location", &content.location)] {
        if let (Some(text), Some(event)) = (text, event.as_object_mut()) {
            event.insert(key.to_owned(), text.as_str().into());
        }
    }
    event
}

/// The same event as a patch: the same frozen bytes give the same patch. What the event does not
/// have is `null`, which removes it; so is the `date` of an event that the host made an all-day
/// one. The id stands in the path.
fn patch_of(body: &[u8]) -> Option<Vec<u8>> {
    let mut event: Map<String, Value> = serde_json::from_slice(body).ok()?;
    event.remove("id");
    for key in ["description", "location"] {
        event.entry(key).or_insert(Value::Null);
    }
    for key in ["start", "end"] {
        event.get_mut(key)?.as_object_mut()?.insert("date".to_owned(), Value::Null);
    }
    Some(Value::Object(event).to_string().into_bytes())
}

/// The same event with the host's notes around its description.
fn with_notes(body: &[u8], notes: &Notes) -> Option<Vec<u8>> {
    let mut event: Value = serde_json::from_slice(body).ok()?;
    let ours = event.get("description").and_then(Value::as_str);
    let (description, left) = notes.around_within(ours, TEXT_LEN_MAX);
    let private = event.pointer_mut("/extendedProperties/private")?.as_object_mut()?;
    private.insert(TEXT.to_owned(), Run::of(left.as_deref()).to_string().into());
    event.as_object_mut()?.insert("description".to_owned(), description.into());
    Some(event.to_string().into_bytes())
}

/// RFC 3339 with the zone's offset, so that the hour that is lived twice is said clearly too
/// (L19); in UTC where our tables end.
fn date_time(zone: Tz, at: DateTime<Utc>) -> String {
    if zone::is_utc(zone) || !zone::reaches(at) {
        return at.to_rfc3339_opts(SecondsFormat::Secs, true);
    }
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What is read of an event.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    id: String,
    status: Option<String>,
    etag: Option<String>,
    #[serde(rename = "iCalUID")]
    ical_uid: Option<String>,
    extended_properties: ExtendedProperties,
    summary: String,
    description: Option<String>,
    location: Option<String>,
    start: Moment,
    end: Moment,
    recurrence: Option<Value>,
    transparency: Option<String>,
}

/// A time of an event; an all-day event has none.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Moment {
    date_time: Option<String>,
    time_zone: Option<String>,
}

impl Moment {
    fn at(&self) -> Option<DateTime<Utc>> {
        let time = DateTime::parse_from_rfc3339(self.date_time.as_deref()?).ok()?;
        Some(time.to_utc())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExtendedProperties {
    private: Map<String, Value>,
}

impl Event {
    fn marker(&self) -> Option<Marker> {
        let text = |key| self.extended_properties.private.get(key).and_then(Value::as_str);
        Some(Marker {
            uid: IcalUid::parse(text(UID)?).ok()?,
            connection: ConnectionId(Uuid::try_parse(text(CONNECTION)?).ok()?),
            revision: text(REVISION)?.parse().ok()?,
            digest: Digest::parse(text(DIGEST)?)?,
        })
    }

    fn description(&self) -> Parts {
        let run = self.extended_properties.private.get(TEXT).and_then(Value::as_str);
        let shown = self.description.as_deref().unwrap_or_default();
        Parts::of(shown, Form::Either, run.and_then(Run::parse))
    }

    /// What it shows, if it is one that we could have written: once, at times of a day, and its host is
    /// busy.
    fn content(&self) -> Option<Content> {
        if self.recurrence.is_some() || self.transparency.as_deref() == Some("transparent") {
            return None;
        }
        let shown = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(Content {
            summary: self.summary.clone(),
            description: self.description().ours,
            location: shown(&self.location),
            start: self.start.at()?,
            end: self.end.at()?,
            zone: self.start.time_zone.as_deref().map_or(Ok(Tz::UTC), str::parse).ok()?,
            tentative: self.status.as_deref() == Some("tentative"),
        })
    }

    fn etag(&self, response: &Response) -> Option<String> {
        let own = self.etag.as_deref().and_then(http::strong_etag);
        own.or_else(|| response.etag.clone())
    }
}

/// What is read of a list of events.
#[derive(Deserialize)]
struct List {
    #[expect(dead_code, reason = "that it is there tells Google's answer from another's")]
    etag: String,
}

/// The event that we named. A success that says anything else is not Google's: a proxy's page, or
/// another service at this address.
fn named(response: &Response, external_id: &str) -> Option<Event> {
    let event = serde_json::from_slice::<Event>(&response.body).ok();
    event.filter(|event| event.id == external_id)
}

/// Who said it, and whether the calendar has heard of it, nobody knows.
fn not_googles(what: &str) -> Answer {
    Answer::Lost { sent: true, message: format!("a success, but the answer is not {what}") }
}

fn written(mut response: Response, external_id: &str) -> Answer {
    let Some(event) = named(&response, external_id) else {
        return not_googles("the event");
    };
    response.etag = event.etag(&response);
    response.into_answer(None, event.ical_uid)
}

fn deleted(response: Response) -> Answer {
    if response.body.is_empty() {
        return response.into_answer(None, None);
    }
    not_googles("an empty one")
}

fn inspected(response: &Response, external_id: &str) -> Inspected {
    let Some(event) = named(response, external_id) else {
        return Inspected::unseen(Reading::Failed(not_googles("the event")));
    };
    if event.status.as_deref() == Some("cancelled") {
        return Inspected::unseen(Reading::Tombstone);
    }
    let (marker, etag) = (event.marker(), event.etag(response));
    let content = event.content();
    let hers = event.description().hers.map(Hers::notes);
    let reading = Reading::Live { marker, etag, provider_uid: event.ical_uid, server_id: None };
    Inspected { reading, content, hers }
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    errors: Vec<RefusalReason>,
}

#[derive(Deserialize)]
struct RefusalReason {
    reason: String,
}

fn refusal(response: Response) -> Answer {
    let refusal = serde_json::from_slice::<Refusal>(&response.body).ok();
    let first = refusal.and_then(|refusal| refusal.error.errors.into_iter().next());
    response.into_answer(first.and_then(|first| http::reason(&first.reason)), None)
}
