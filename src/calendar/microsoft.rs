//! Microsoft 365 through Graph v1.0 (facts and their sources: Microsoft's reference below
//! `learn.microsoft.com/graph/api`, and reports about what the service really does).
//!
//! Graph makes its ids itself. An event is named by a `transactionId`, which keeps a repeated POST
//! from making another one for as long as Graph remembers it, and by an extended property, by which
//! it is found again; once its id is known, that is the shorter way. Ids are asked for that do not
//! change when the event is moved.
//!
//! A body is kept as HTML, whatever was sent. Where a host has written into it, her page stays as it is,
//! and only our words in it are replaced (see [`super::notes`]).
//!
//! An update is a PATCH and carries the `ETag` last seen, as a delete does. Graph's `ETag`s are weak
//! by their looks, change now and then without anybody's doing, and are what it compares.

mod event;

mod list;

pub mod discovery;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker, Verb};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, IF_MATCH};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use uuid::{Uuid, uuid};

use self::event::{Event, Events, MARKER, NAME, SELECTED};
use super::http::{self, Http, READ_CALLS_MAX, Request, Response};
use super::{
    Account, Answer, Calendar, Call, Condition, Hers, Inspected, Listed, Listing, Name, Put,
    Reading,
};

/// Graph's word for a `transactionId` that has made another event.
pub const DUPLICATE: &str = "ErrorDuplicateTransactionId";
/// The namespace of our names: a released one never changes, or every event gets a second one.
const NAMES: Uuid = uuid!("d9a3f6c0-1c0e-4f7b-8a55-3a6f0b7c21d4");
const JSON_TYPE: &str = "application/json";
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// On every request: ids that stay when an event is moved to another calendar of the mailbox.
const IMMUTABLE_IDS: &str = "IdType=\"ImmutableId\"";
/// The same for lists, and bodies as text: a host's pages can be long. Links are shown twice then, so
/// what is found otherwise is read by itself, as it is.
const TEXT_BODIES: &str = "IdType=\"ImmutableId\", outlook.body-content-type=\"text\"";
/// The longest answer about an event, in bytes: its body is the host's, too, and Graph takes no longer
/// request.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many events of one name are asked for at once; of copies that the host made there can be many.
const SAME_NAME_MAX: usize = 100;
/// What a search asks for: what it finds is read by itself.
const SEARCHED: &str = "id,transactionId,createdDateTime";
/// So many pages of a search are read.
const SEARCH_PAGES_MAX: usize = 3;

/// A calendar of a mailbox, opened on one account.
pub struct Microsoft {
    account: Account,
    http: Http,
}

impl Microsoft {
    /// Opens it. A base URL that is none shows at the first call, as an answer never sent.
    pub fn new(account: Account, http: Http) -> Self {
        Self { account, http }
    }

    /// `{base}/calendars/{calendar}/events`, or one of them.
    fn events(&self, id: Option<&str>) -> Result<Url, Answer> {
        let mut url = self.account.calendar_url()?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("events").extend(id);
        }
        Ok(url)
    }

    async fn exchange(
        &self,
        method: Method,
        url: Url,
        mut headers: Vec<(HeaderName, String)>,
        body: &[u8],
    ) -> Result<Response, Answer> {
        headers.push((PREFER, IMMUTABLE_IDS.to_owned()));
        if !body.is_empty() {
            headers.push((CONTENT_TYPE, JSON_TYPE.to_owned()));
        }
        let credentials = Some(&self.account.credentials);
        let request = Request { method, url, credentials, headers, body };
        self.http.exchange_up_to(request, EVENT_BYTES_MAX).await.whole()
    }

    /// A list of events, with their bodies as text.
    async fn get_list(&self, url: Url, len_max: usize) -> Result<Response, Answer> {
        let credentials = Some(&self.account.credentials);
        let headers = vec![(PREFER, TEXT_BODIES.to_owned())];
        let request = Request { method: Method::GET, url, credentials, headers, body: &[] };
        self.http.exchange_up_to(request, len_max).await.whole()
    }

    async fn get(&self, mut url: Url, query: &[(&str, &str)]) -> Result<Response, Answer> {
        url.set_query(Some(&encoded(query)));
        self.exchange(Method::GET, url, vec![], &[]).await
    }

    /// By its id. `None`: it is not found by it.
    async fn look_up(&self, id: &str) -> Result<Option<Event>, Answer> {
        let expand = expanded();
        let query = [("$select", SELECTED), ("$expand", &expand)];
        let response = self.get(self.events(Some(id))?, &query).await?;
        match response.status {
            200 => Event::parse(&response.body).map(Some).ok_or_else(|| not_graphs("an event")),
            404 | 410 => Ok(None),
            _ => Err(refusal(response)),
        }
    }

    /// By its name: the one that we posted under it; of several, as an id that was forgotten can make
    /// them, the first. A host's copy carries the name too, and no `transactionId`: it is hers.
    async fn search(&self, name: &str) -> Result<Found, Answer> {
        let mut url = self.named(name)?;
        for _ in 0..SEARCH_PAGES_MAX {
            let response = self.exchange(Method::GET, url, vec![], &[]).await?;
            match response.status {
                200 => {}
                404 | 410 => {
                    return match refusal(response) {
                        Answer::Status { message, .. } | Answer::Lost { message, .. } => {
                            Ok(Found::NoCalendar(message))
                        }
                    };
                }
                _ => return Err(refusal(response)),
            }
            let events = serde_json::from_slice::<Events>(&response.body)
                .map_err(|_| not_graphs("a list of events"))?;
            let named = events.value.into_iter().filter_map(Event::usable);
            let posted = named.filter(|event| event.is_posted_as(name));
            if let Some(first) = posted.min_by_key(Event::made_at) {
                return Ok(Found::Event(Box::new(first)));
            }
            // A page may hold nothing, and link to one that does.
            match events.next {
                None => return Ok(Found::Nothing),
                Some(link) => url = self.linked(&link)?,
            }
        }
        Err(not_graphs("a search that ends"))
    }

    /// The search for an event of that name.
    fn named(&self, name: &str) -> Result<Url, Answer> {
        // OData's way to write a quote in a text.
        let name = name.replace('\'', "''");
        let filter = format!(
            "singleValueExtendedProperties/Any(ep: ep/id eq '{NAME}' and ep/value eq '{name}')"
        );
        let (expand, top) = (expanded(), SAME_NAME_MAX.to_string());
        let query =
            [("$filter", &*filter), ("$select", SEARCHED), ("$expand", &expand), ("$top", &top)];
        let mut url = self.events(None)?;
        url.set_query(Some(&encoded(&query)));
        Ok(url)
    }

    /// Where a page says that the next one is: at this API and nowhere else, since credentials go
    /// with it.
    fn linked(&self, link: &str) -> Result<Url, Answer> {
        let here = self.events(None)?;
        let next = Url::parse(link).ok().filter(|next| next.origin() == here.origin());
        let message = "the link to the next page leads elsewhere".to_owned();
        next.ok_or(Answer::Lost { sent: false, message })
    }

    /// By its id if that is known, else by its name. An event that stood before us has no name.
    async fn find(&self, name: Name<'_>) -> Result<Found, Answer> {
        let id = name.server_id.or((!is_ours(name.given)).then_some(name.given));
        if let Some(id) = id
            && let Some(event) = self.look_up(id).await?
        {
            return Ok(Found::Event(Box::new(event)));
        }
        // The search tells a calendar that is not there from an event that is not (L24). It looks
        // through the whole mailbox: what the host has moved to another calendar is not in this one,
        // and nothing can be written to it here.
        match self.search(name.given).await? {
            Found::Event(event) => {
                let here = self.look_up(event.id()).await?;
                Ok(here.map_or(Found::Nothing, |event| Found::Event(Box::new(event))))
            }
            other @ (Found::Nothing | Found::NoCalendar(_)) => Ok(other),
        }
    }

    async fn write(&self, call: &Call<'_>) -> Result<Answer, Answer> {
        let (method, url, body) = match call.verb {
            Verb::Create => (Method::POST, self.events(None)?, call.body.to_vec()),
            Verb::Update => {
                let Some(patch) = event::patch_of(call.body) else {
                    let message = "the stored body is not an event".to_owned();
                    return Err(Answer::Lost { sent: false, message });
                };
                (Method::PATCH, self.events(Some(&self.id_of(call.name).await?))?, patch)
            }
            Verb::Delete => {
                (Method::DELETE, self.events(Some(&self.id_of(call.name).await?))?, Vec::new())
            }
        };
        let mut headers = Vec::new();
        match (&call.condition, call.verb) {
            (_, Verb::Create) | (Condition::New | Condition::Unconditional, Verb::Delete) => {}
            (Condition::Match(etag), Verb::Update | Verb::Delete) => {
                headers.push((IF_MATCH, etag.clone()));
            }
            (Condition::New | Condition::Unconditional, Verb::Update) => {
                let message = "not sent: an update needs the event's etag";
                return Err(unsent(412, "conditionMissing", message));
            }
        }
        let response = self.exchange(method, url, headers, &body).await?;
        if !(200..=299).contains(&response.status) {
            return Err(refusal(response));
        }
        Ok(match call.verb {
            Verb::Create => made(response, call),
            Verb::Update => written(response),
            Verb::Delete if response.body.is_empty() => response.into_answer(None, None),
            Verb::Delete => not_graphs("an empty one"),
        })
    }

    /// The id of an event that is to be changed. Not found by its name, there is nothing to change.
    async fn id_of(&self, name: Name<'_>) -> Result<String, Answer> {
        if let Some(id) = name.server_id.or((!is_ours(name.given)).then_some(name.given)) {
            return Ok(id.to_owned());
        }
        match self.http.within(1, self.search(name.given)).await? {
            Found::Event(event) => Ok(event.id().to_owned()),
            Found::Nothing | Found::NoCalendar(_) => {
                Err(unsent(404, NOT_FOUND, "not sent: the event was not found"))
            }
        }
    }
}

/// What a search comes to.
enum Found {
    Event(Box<Event>),
    Nothing,
    NoCalendar(String),
}

/// Graph's word for an event that is not there.
const NOT_FOUND: &str = "ErrorItemNotFound";

#[async_trait]
impl Calendar for Microsoft {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Microsoft
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        name_of(uid, self.account.connection, generation)
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        event::insert_of(external_id, marker, content).to_string().into_bytes()
    }

    fn keeping(&self, body: &[u8], hers: &Hers) -> Vec<u8> {
        let with_notes = match &hers.0 {
            Put::Notes(notes) => event::with_notes(body, notes),
            Put::Object(_) => None,
        };
        with_notes.unwrap_or_else(|| body.to_vec())
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        self.write(call).await.unwrap_or_else(|refused| refused)
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
        match self.http.within(READ_CALLS_MAX, self.find(name)).await {
            Ok(Found::Event(event)) => Inspected {
                reading: Reading::Live {
                    marker: event.marker(),
                    etag: event.etag(),
                    provider_uid: event.ical_uid(),
                    server_id: Some(event.id().to_owned()),
                },
                content: event.content(),
                hers: event.notes().map(Hers::notes),
            },
            Ok(Found::Nothing) => Inspected::unseen(Reading::Absent),
            Ok(Found::NoCalendar(message)) => Inspected::unseen(Reading::CalendarGone { message }),
            Err(answer) => Inspected::unseen(Reading::Failed(answer)),
        }
    }
}

/// A UUID of the booking, the connection and the generation, each led by its length.
fn name_of(uid: &IcalUid, connection: ConnectionId, generation: i32) -> String {
    let mut name = Vec::new();
    for part in [uid.as_str().as_bytes(), connection.0.as_bytes(), &generation.to_be_bytes()] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMES, &name).to_string()
}

/// Whether it is a name that we give, rather than Graph's id of an event that stood before us.
fn is_ours(name: &str) -> bool {
    name.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(name).is_ok()
}

/// A query. A blank is `%20`: `OData` takes a plus for a plus.
fn encoded(query: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(query).finish().replace('+', "%20")
}

/// The properties that are ours are shown only if asked for.
fn expanded() -> String {
    format!("singleValueExtendedProperties($filter=id eq '{NAME}' or id eq '{MARKER}')")
}

/// Who said it, and whether the calendar has heard of it, nobody knows.
fn not_graphs(what: &str) -> Answer {
    Answer::Lost { sent: true, message: format!("a success, but the answer is not {what}") }
}

/// What a look at the calendar has answered in the place of a call.
fn unsent(status: u16, reason: &str, message: &str) -> Answer {
    Answer::Status {
        status,
        reason: Some(reason.to_owned()),
        retry_after: None,
        etag: None,
        provider_uid: None,
        server_id: None,
        message: message.to_owned(),
    }
}

/// A POST with a `transactionId` of before is answered with the event that it made then, as it is by
/// now: only what shows what was sent is acknowledged. The rest is read.
fn made(response: Response, call: &Call<'_>) -> Answer {
    match Event::parse(&response.body) {
        None => not_graphs("the event"),
        Some(event) if event.is_former(call.name.given, call.body) => {
            unsent(409, DUPLICATE, "an event of before was answered")
        }
        Some(event) => acknowledged(response, &event),
    }
}

fn written(response: Response) -> Answer {
    match Event::parse(&response.body) {
        None => not_graphs("the event"),
        Some(event) => acknowledged(response, &event),
    }
}

fn acknowledged(mut response: Response, event: &Event) -> Answer {
    response.etag = event.etag();
    match response.into_answer(None, event.ical_uid()) {
        Answer::Status { status, reason, retry_after, etag, provider_uid, message, .. } => {
            let server_id = Some(event.id().to_owned());
            Answer::Status { status, reason, retry_after, etag, provider_uid, server_id, message }
        }
        lost @ Answer::Lost { .. } => lost,
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    code: String,
}

/// Graph's own word is `error.code`; messages are for people, and change.
fn refusal(response: Response) -> Answer {
    let refusal = serde_json::from_slice::<Refusal>(&response.body).ok();
    response.into_answer(refusal.and_then(|refusal| http::reason(&refusal.error.code)), None)
}
