//! CalDAV (RFC 4791): one resource for each event, guarded by `If-None-Match` and `If-Match`.
//!
//! Never `If-Match: *`: servers disagree on it, one inverts it. The UID is the booking's, the
//! href is ours, and both stay for ever (rule R11).

pub mod discovery;

mod list;

mod multistatus;

mod xml;

pub use multistatus::Access;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker, Verb};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use url::Url;
use uuid::{Uuid, uuid};

use super::http::{self, BODY_LEN_MAX, Http, Request, Response};
use super::ical::OBJECT_LEN_MAX;
use super::{
    Account, Answer, Calendar, Call, Condition, Hers, Inspected, Listed, Listing, Name, Put,
    Reading, ical,
};

/// The namespace of our hrefs: a released one never changes, or every event gets a second name.
const HREFS: Uuid = uuid!("6f0d3c1e-5b0a-4d52-9a53-2f6f5c2f7d10");
/// The longest body of `WebDAV`'s own that is looked into, in bytes.
const XML_LEN_MAX: usize = 64 * 1024;
/// The most nodes that such a body may have.
const XML_NODES_MAX: u32 = 1_000;
const DAV: &str = "DAV:";
const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
const CALENDAR_TYPE: &str = "text/calendar; charset=utf-8";
const XML_TYPE: &str = "application/xml; charset=utf-8";
const DEPTH: HeaderName = HeaderName::from_static("depth");
const RESOURCE_TYPE: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>"#;

/// A CalDAV calendar, opened on one account.
pub struct Caldav {
    account: Account,
    http: Http,
}

impl Caldav {
    /// Opens it. `account.calendar` is the URL of the collection, with or without a slash at its
    /// end; one that is no URL shows at the first call, as an answer that was never sent.
    pub fn new(account: Account, http: Http) -> Self {
        Self { account, http }
    }

    /// The collection's URL, ending in a slash, without what is no part of its name.
    fn collection(&self) -> Result<Url, Answer> {
        let unusable = |message: &str| Answer::Lost { sent: false, message: message.to_owned() };
        let mut url = Url::parse(&self.account.calendar)
            .map_err(|_| unusable("the calendar's address is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(unusable("the calendar's address is not an http or https URL"));
        }
        url.set_query(None);
        url.set_fragment(None);
        // Credentials stand in the account; here they would end up in messages.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(unusable("the calendar's address cannot be used"));
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("");
        }
        Ok(url)
    }

    fn resource(&self, external_id: &str) -> Result<Url, Answer> {
        let mut url = self.collection()?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(external_id);
        }
        Ok(url)
    }

    /// Asks, and takes an answer of at most `len_max` bytes.
    async fn exchange(
        &self,
        (method, url): (Method, Url),
        headers: Vec<(HeaderName, String)>,
        body: &[u8],
        len_max: usize,
    ) -> Result<Response, Answer> {
        let credentials = Some(&self.account.credentials);
        let request = Request { method, url, credentials, headers, body };
        self.http.exchange_up_to(request, len_max).await.whole()
    }

    async fn write(&self, call: &Call<'_>) -> Result<Response, Answer> {
        let url = self.resource(call.name.given)?;
        let mut headers = Vec::new();
        match &call.condition {
            Condition::New => headers.push((IF_NONE_MATCH, "*".to_owned())),
            Condition::Match(etag) => headers.push((IF_MATCH, etag.clone())),
            Condition::Unconditional => {}
        }
        let method = match call.verb {
            Verb::Create | Verb::Update => {
                headers.push((CONTENT_TYPE, CALENDAR_TYPE.to_owned()));
                Method::PUT
            }
            Verb::Delete => Method::DELETE,
        };
        self.exchange((method, url), headers, call.body, BODY_LEN_MAX).await
    }

    async fn get(&self, external_id: &str) -> Result<Response, Answer> {
        let url = self.resource(external_id)?;
        let headers = vec![(ACCEPT, "text/calendar".to_owned())];
        self.exchange((Method::GET, url), headers, &[], OBJECT_LEN_MAX).await
    }

    /// The event is not there: is the calendar (L24)?
    async fn look_for_collection(&self) -> Result<Response, Answer> {
        let url = self.collection()?;
        let headers = vec![(CONTENT_TYPE, XML_TYPE.to_owned()), (DEPTH, "0".to_owned())];
        let method = Method::from_bytes(b"PROPFIND").unwrap_or(Method::OPTIONS);
        self.exchange((method, url), headers, RESOURCE_TYPE, BODY_LEN_MAX).await
    }
}

#[async_trait]
impl Calendar for Caldav {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Caldav
    }

    fn external_id(&self, uid: &IcalUid, _generation: i32) -> String {
        href(uid, self.account.connection)
    }

    fn body(&self, _external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        ical::write(marker, content).into_bytes()
    }

    fn keeping(&self, body: &[u8], hers: &Hers) -> Vec<u8> {
        match (&hers.0, std::str::from_utf8(body)) {
            (Put::Object(there), Ok(ours)) => ical::merge(ours, there).into_bytes(),
            (Put::Object(_) | Put::Notes(_), _) => body.to_vec(),
        }
    }

    async fn send(&self, call: &Call<'_>) -> Answer {
        match self.write(call).await {
            Ok(response) if response.status == 200 && !is_calendars(&response) => {
                not_calendars("of no CalDAV server")
            }
            Ok(response) => answer(response),
            Err(lost) => lost,
        }
    }

    async fn read(&self, name: Name<'_>) -> Reading {
        self.inspect(name).await.reading
    }

    async fn inspect(&self, name: Name<'_>) -> Inspected {
        let response = match self.get(name.given).await {
            Ok(response) => response,
            Err(lost) => return Inspected::unseen(Reading::Failed(lost)),
        };
        Inspected::unseen(match response.status {
            200 => return inspected(response),
            404 | 410 => match self.look_for_collection().await {
                Ok(response) => absent(response),
                Err(lost) => Reading::Failed(lost),
            },
            _ => Reading::Failed(answer(response)),
        })
    }

    fn tells_content(&self) -> bool {
        true
    }

    async fn list(&self, listing: Listing<'_>) -> Listed {
        self.list_events(listing).await
    }
}

/// `booking-<uuid5>.ics`: of the booking and the connection, each led by its length.
fn href(uid: &IcalUid, connection: ConnectionId) -> String {
    let uid = uid.as_str().as_bytes();
    let name = [&(uid.len() as u64).to_be_bytes()[..], uid, connection.0.as_bytes()].concat();
    format!("booking-{}.ics", Uuid::new_v5(&HREFS, &name))
}

/// What begins every calendar object (RFC 5545 §3.4; names are case-insensitive).
const BEGINNING: &[u8] = b"BEGIN:VCALENDAR";

/// A 200 to a write has no body, or one of `WebDAV`'s own. Anything else was said by somebody on the
/// way, a proxy or a page about maintenance. (A 201 may have a page: some servers are polite.)
fn is_calendars(response: &Response) -> bool {
    response.body.is_empty() || is_dav(&response.body)
}

/// Who said it, and whether the calendar has heard of it, nobody knows.
fn not_calendars(what: &str) -> Answer {
    Answer::Lost { sent: true, message: format!("200 OK, but the answer is {what}") }
}

fn inspected(response: Response) -> Inspected {
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    let beginning = body.trim_ascii_start().get(..BEGINNING.len());
    if !beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(BEGINNING)) {
        return Inspected::unseen(Reading::Failed(not_calendars("no calendar object")));
    }
    let text = ical::text_of(body);
    // Of another charset, some letters are lost; but hers is not.
    let there = text.clone().unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let marker = text.as_deref().and_then(ical::read_marker);
    // CalDAV keeps the UID that it is given; what it shows is what we read.
    let provider_uid = marker.as_ref().map(|marker| marker.uid.to_string());
    Inspected {
        reading: Reading::Live { marker, etag: response.etag, provider_uid, server_id: None },
        content: text.as_deref().and_then(ical::read_content),
        hers: ical::has_hers(&there).then(|| Hers::object(there)),
    }
}

/// The event is not there: absent from a calendar, or gone with it (L24). Xandikos says that with a
/// status in a 207.
fn absent(collection: Response) -> Reading {
    let gone = |status| Reading::CalendarGone { message: http::status_text(status) };
    match collection.status {
        207 => {
            let members = multistatus::read(&collection.body).unwrap_or_default();
            match members.first().map(|member| member.status) {
                Some(None | Some(200..=299)) => Reading::Absent,
                Some(Some(status @ (404 | 410))) => gone(status),
                Some(Some(_)) | None => Reading::Failed(Answer::Lost {
                    sent: true,
                    message: "207 Multi-Status, but nothing is said of the calendar".to_owned(),
                }),
            }
        }
        status @ (404 | 410) => gone(status),
        _ => Reading::Failed(answer(collection)),
    }
}

fn answer(response: Response) -> Answer {
    let reason = match response.status {
        200..=299 => None,
        _ => precondition(&response.body),
    };
    response.into_answer(reason, None)
}

/// The precondition that failed (RFC 4918 §16): the first element in `DAV:error` that is the
/// protocol's own (servers put their private ones beside it).
fn precondition(body: &[u8]) -> Option<String> {
    let document = parsed(body)?;
    let error = document.root_element();
    if !error.has_tag_name((DAV, "error")) {
        return None;
    }
    let ours =
        |name: &roxmltree::ExpandedName<'_, '_>| matches!(name.namespace(), Some(DAV | CALDAV));
    let names = error.children().filter(roxmltree::Node::is_element).map(|node| node.tag_name());
    names.into_iter().find(ours).and_then(|name| http::reason(name.name()))
}

fn is_dav(body: &[u8]) -> bool {
    parsed(body).is_some_and(|document| document.root_element().tag_name().namespace() == Some(DAV))
}

fn parsed(body: &[u8]) -> Option<roxmltree::Document<'_>> {
    let text = xml::bounded(body).filter(|text| text.len() <= XML_LEN_MAX)?;
    let options = roxmltree::ParsingOptions { nodes_limit: XML_NODES_MAX, ..Default::default() };
    roxmltree::Document::parse_with_options(text, options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_precondition_is_the_protocols_own_element() {
        let sabre = br#"<?xml version="1.0"?>
            <d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:c="urn:ietf:params:xml:ns:caldav">
              <s:message>UID of Ada's dinner is taken</s:message>
              <c:no-uid-conflict><d:href>/other.ics</d:href></c:no-uid-conflict>
            </d:error>"#;
        assert_eq!(precondition(sabre).as_deref(), Some("no-uid-conflict"));
    }

    #[test]
    fn no_body_makes_the_reader_of_errors_stumble() {
        let deep = "<a>".repeat(20_000);
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "c">]><error xmlns="DAV:">&b;</error>"#;
        for body in ["", "Conflict", "<error/>", "<error xmlns='DAV:'/>", deep.as_str(), bomb] {
            assert_eq!(precondition(body.as_bytes()), None);
        }
        assert_eq!(precondition(&[0xff, 0xfe]), None);
    }
}
