//! What a collection holds: by its changes where the server tells them (`sync-collection`, RFC 6578),
//! else all of it; the events themselves some at a time (`calendar-multiget`, RFC 4791 §7.9).
//!
//! Which members there are is told in one answer, and asked again for each page: the events of a page
//! are those after the last one of the page before, in the order of their names. A server's own way to
//! cut that answer in pieces is not asked for: some lose changes by it.
//!
//! What is not in the answer counts as missing later. So an answer that is not understood in all its
//! parts is none: a server that writes its addresses otherwise than we do has not lost its events.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use roxmltree::Node;
use url::Url;

use super::super::http::{self, Request, Response};
use super::super::{Answer, Listed, ListedEvent, Listing, Next, Page, Reading, ical};
use super::xml::{self, child, children, text};
use super::{CALDAV, Caldav, DAV, DEPTH, XML_TYPE, absent, answer};

/// How many events are read at once: of a page that cannot be read, half as many, down to one.
const PAGE_LEN_MAX: usize = 100;
/// The longest answer that is read, in bytes.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most nodes that it may have.
const NODES_MAX: u32 = 300_000;
/// The longest token that is kept, in bytes.
const TOKEN_LEN_MAX: usize = 2_000;
/// The longest name of an event that is kept, in bytes.
const NAME_LEN_MAX: usize = 1_024;

const MEMBERS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>"#;

/// Where a listing stands between two pages.
struct Place<'a> {
    /// Whether the server tells its changes.
    syncs: bool,
    /// How many events are read at once.
    len: usize,
    /// The sync token of the first page: what changed after it comes with the next listing.
    token: Option<&'a str>,
    /// The last member that was read.
    after: &'a str,
}

impl<'a> Place<'a> {
    const FIRST: Self = Self { syncs: true, len: PAGE_LEN_MAX, token: None, after: "" };

    fn parse(page: &'a str) -> Option<Self> {
        let mut lines = page.splitn(3, '\n');
        let (kind, token, after) = (lines.next()?, lines.next()?, lines.next()?);
        let (kind, len) = kind.split_once(' ')?;
        let len = len.parse().ok().filter(|len| (1..=PAGE_LEN_MAX).contains(len))?;
        let token = Some(token).filter(|token| !token.is_empty());
        Some(Self { syncs: kind == "sync", len, token, after })
    }

    /// The first page of a server that does not tell its changes.
    fn of_all() -> Self {
        Self { syncs: false, ..Self::FIRST }
    }

    fn page(&self) -> String {
        let kind = if self.syncs { "sync" } else { "all" };
        format!("{kind} {}\n{}\n{}", self.len, self.token.unwrap_or_default(), self.after)
    }
}

/// What one `response` says of a member.
#[derive(Debug, Default, PartialEq, Eq)]
struct Member {
    /// The last segment of its href, as it is meant: without its percent-encoding.
    name: String,
    /// Its href, as it stands there.
    href: String,
    etag: Option<String>,
    data: Option<String>,
    /// The status of the whole of it.
    status: Option<u16>,
    /// That of its properties, where none is told with a 200.
    untold: Option<u16>,
}

impl Member {
    fn is_gone(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }

    /// Whether nothing was read of it because it is not there any more.
    fn has_gone(&self) -> bool {
        self.is_gone() || (self.data.is_none() && matches!(self.untold, Some(404 | 410)))
    }
}

/// What a `multistatus` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    list: Vec<Member>,
    /// The status of the collection itself.
    own: Option<u16>,
    sync_token: Option<String>,
}

/// What came of asking for the members.
enum Told {
    Members(Members),
    Else(Listed),
}

/// Why events were not read.
enum Untold {
    /// The answer is too long, or is no XML, as one event can make it.
    TooMuch(String),
    Else(Listed),
}

impl Caldav {
    pub(super) async fn list_events(&self, listing: Listing<'_>) -> Listed {
        let place = match listing.page.map(Place::parse) {
            None => Place::FIRST,
            Some(Some(place)) => place,
            Some(None) => return Listed::Expired { message: "no page of ours".to_owned() },
        };
        let collection = match self.collection() {
            Ok(collection) => collection,
            Err(lost) => return Listed::Failed(lost),
        };
        let told = if place.syncs {
            self.changes(&collection, listing).await
        } else {
            self.all(&collection).await
        };
        match told {
            Told::Members(members) => self.page(&collection, listing, &place, members).await,
            Told::Else(listed) => listed,
        }
    }

    /// Asks for what has changed; without a token, that is all.
    async fn changes(&self, collection: &Url, listing: Listing<'_>) -> Told {
        let token = listing.since.map(escape).unwrap_or_default();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<sync-collection xmlns=\"DAV:\">\
             <sync-token>{token}</sync-token><sync-level>1</sync-level><prop><getetag/></prop>\
             </sync-collection>"
        );
        let response = match self.report(collection, "0", body).await {
            Ok(response) => response,
            Err(lost) => return Told::Else(Listed::Failed(lost)),
        };
        match response.status {
            207 => read_members(&response, collection),
            // RFC 6578 §3.2 has a bad token answered with 403; some say 409 or 412. Without a token,
            // or with another complaint, the server has no such report.
            400 | 403 | 405 | 409 | 412 | 415 | 422 | 501 => {
                Told::Else(match (listing.since, answer(response)) {
                    (Some(_), Answer::Status { message, .. }) => Listed::Expired { message },
                    (None, Answer::Status { .. }) => nothing(Place::of_all().page()),
                    (_, lost @ Answer::Lost { .. }) => Listed::Failed(lost),
                })
            }
            _ => Told::Else(self.refused(response).await),
        }
    }

    /// Asks for all members.
    async fn all(&self, collection: &Url) -> Told {
        match self.asked(b"PROPFIND", collection, "1", MEMBERS.to_owned()).await {
            Ok(response) if response.status == 207 => read_members(&response, collection),
            Ok(response) => Told::Else(self.refused(response).await),
            Err(lost) => Told::Else(Listed::Failed(lost)),
        }
    }

    /// The members after the last page's, with what they hold.
    async fn page(
        &self,
        collection: &Url,
        listing: Listing<'_>,
        place: &Place<'_>,
        members: Members,
    ) -> Listed {
        let Members { mut list, own, sync_token } = members;
        match own {
            None | Some(200..=299) => {}
            // The server had enough (507 for the collection itself, RFC 6578 §3.6): of all, that is not
            // all. Of changes, the token tells where to go on.
            Some(507) if place.syncs && listing.since.is_none() => {
                return nothing(Place::of_all().page());
            }
            Some(507) if place.syncs => {}
            // Xandikos says so of a collection that is not there.
            Some(status @ (404 | 410)) => {
                let message = http::status_text(status);
                return self.unless_there(not_understood(&message)).await;
            }
            Some(status) => {
                return Listed::Failed(not_understood(&format!(
                    "of the calendar {status} is told"
                )));
            }
        }
        list.retain(|member| member.name.as_str() > place.after);
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list.dedup_by(|one, other| one.name == other.name);
        let rest = list.split_off(list.len().min(place.len));
        let last = list.last().map(|member| member.name.clone()).unwrap_or_default();
        let (deleted, live): (Vec<_>, Vec<_>) = list.into_iter().partition(Member::is_gone);
        let token = place.token.or(sync_token.as_deref());
        let events = match self.read_events(collection, &live).await {
            Ok(events) => events,
            Err(Untold::TooMuch(_)) if live.len() > 1 => {
                return nothing(Place { len: live.len().div_ceil(2), token, ..*place }.page());
            }
            // One alone cannot be read, and whatever it is: the others can.
            Err(Untold::TooMuch(what)) => {
                tracing::warn!(
                    external_event_id = last.as_str(),
                    error_code = "event_unreadable",
                    "an event cannot be read, and is passed: {what}"
                );
                Vec::new()
            }
            Err(Untold::Else(listed)) => return listed,
        };
        let next = if rest.is_empty() {
            Next::End { since: token.map(str::to_owned) }
        } else {
            let len = place.len.saturating_mul(2).min(PAGE_LEN_MAX);
            Next::Page(Place { syncs: place.syncs, len, token, after: &last }.page())
        };
        let mut deleted: Vec<String> = deleted.into_iter().map(|member| member.name).collect();
        if listing.since.is_some() {
            // What has changed, and does not carry our marker, may have carried it before.
            let is_ours = |member: &Member| events.iter().any(|event| event.id == member.name);
            deleted.extend(live.into_iter().filter(|it| !is_ours(it)).map(|member| member.name));
        }
        Listed::Page(Page { events, deleted, next })
    }

    async fn read_events(
        &self,
        collection: &Url,
        members: &[Member],
    ) -> Result<Vec<ListedEvent>, Untold> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let hrefs: Vec<String> =
            members.iter().map(|it| format!("<d:href>{}</d:href>", escape(&it.href))).collect();
        let hrefs = hrefs.concat();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<c:calendar-multiget xmlns:d=\"DAV:\" \
             xmlns:c=\"{CALDAV}\"><d:prop><d:getetag/><c:calendar-data/></d:prop>{hrefs}\
             </c:calendar-multiget>"
        );
        let response = match self.report(collection, "1", body).await {
            Ok(response) if response.status == 207 => response,
            Ok(response) => return Err(Untold::Else(Listed::Failed(answer(response)))),
            Err(Answer::Lost { message, .. }) if http::is_too_long(&message) => {
                return Err(Untold::TooMuch(message));
            }
            Err(lost) => return Err(Untold::Else(Listed::Failed(lost))),
        };
        let found = match self::members(&response.body, collection) {
            Ok(found) => found.list,
            Err(what) => return Err(Untold::TooMuch(what.to_owned())),
        };
        let is_told = |asked: &&Member| {
            let mut of_it = found.iter().filter(|found| found.name == asked.name);
            of_it.any(|found| found.data.is_some() || found.has_gone())
        };
        let untold = members.len() - members.iter().filter(is_told).count();
        if untold > 0 {
            let lost = not_understood(&format!("{untold} events are not told"));
            return Err(Untold::Else(Listed::Failed(lost)));
        }
        Ok(found.into_iter().filter_map(|member| self.event(member)).collect())
    }

    /// A member that carries our marker.
    fn event(&self, member: Member) -> Option<ListedEvent> {
        let data = member.data?;
        let marker = ical::read_marker(&data)?;
        (marker.connection == self.account.connection).then(|| ListedEvent {
            given: Some(member.name.clone()),
            id: member.name,
            etag: member.etag.as_deref().and_then(http::strong_etag),
            differs: Some(
                ical::read_content(&data).map(|content| content.digest()) != Some(marker.digest),
            ),
            marker,
        })
    }

    async fn refused(&self, response: Response) -> Listed {
        let is_gone = matches!(response.status, 404 | 410);
        let refused = answer(response);
        if is_gone { self.unless_there(refused).await } else { Listed::Failed(refused) }
    }

    /// One 404 settles nothing (L24): a calendar that is gone is not there either when it is asked for
    /// by itself.
    async fn unless_there(&self, refused: Answer) -> Listed {
        match self.look_for_collection().await.map(absent) {
            Ok(Reading::CalendarGone { message }) => Listed::CalendarGone { message },
            Ok(Reading::Failed(lost)) | Err(lost) => Listed::Failed(lost),
            Ok(Reading::Absent | Reading::Tombstone | Reading::Live { .. }) => {
                Listed::Failed(refused)
            }
        }
    }

    async fn report(&self, url: &Url, depth: &str, body: String) -> Result<Response, Answer> {
        self.asked(b"REPORT", url, depth, body).await
    }

    async fn asked(
        &self,
        method: &[u8],
        url: &Url,
        depth: &str,
        body: String,
    ) -> Result<Response, Answer> {
        let request = Request {
            method: Method::from_bytes(method).unwrap_or(Method::OPTIONS),
            url: url.clone(),
            credentials: Some(&self.account.credentials),
            headers: vec![(CONTENT_TYPE, XML_TYPE.to_owned()), (DEPTH, depth.to_owned())],
            body: body.as_bytes(),
        };
        self.http.exchange_up_to(request, BYTES_MAX).await.whole()
    }
}

/// A page on which there is nothing.
fn nothing(next: String) -> Listed {
    Listed::Page(Page { events: Vec::new(), deleted: Vec::new(), next: Next::Page(next) })
}

/// Who said it, and whether the calendar has heard of it, nobody knows.
fn not_understood(what: &str) -> Answer {
    Answer::Lost { sent: true, message: format!("207 Multi-Status, but {what}") }
}

fn read_members(response: &Response, collection: &Url) -> Told {
    match members(&response.body, collection) {
        Ok(members) => Told::Members(members),
        Err(what) => Told::Else(Listed::Failed(not_understood(what))),
    }
}

/// PURE: what a `multistatus` says of the collection and its members, or why that is not known.
fn members(body: &[u8], collection: &Url) -> Result<Members, &'static str> {
    let document = xml::multistatus(body, NODES_MAX).ok_or("it cannot be read")?;
    let fits = |token: &String| (1..=TOKEN_LEN_MAX).contains(&token.len()) && !token.contains('\n');
    let sync_token = child(document.root_element(), DAV, "sync-token").map(text).filter(fits);
    let mut members = Members { sync_token, ..Members::default() };
    for response in xml::responses(&document) {
        let href = child(response, DAV, "href").map(text).ok_or("a response is about nothing")?;
        match target(collection, &href) {
            Target::Collection => members.own = xml::status(response).or(members.own),
            Target::Member(name) => members.list.push(member(response, name, href)),
            Target::Below => {}
            Target::Elsewhere => return Err("it tells of another collection"),
        }
    }
    Ok(members)
}

/// What an href is about.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Collection,
    /// A member of this name.
    Member(String),
    /// A collection in the collection, or what is in it; or a name that no event of ours has.
    Below,
    Elsewhere,
}

/// Addresses are compared by what they mean: `@` and `%40` are one (RFC 3986 §6.2.2), the host and a
/// slash at the end of a collection are what a server makes of them.
fn target(collection: &Url, href: &str) -> Target {
    let Ok(url) = collection.join(href) else {
        return Target::Elsewhere;
    };
    let segments = |url: &Url| -> Vec<String> {
        url.path().trim_start_matches('/').split('/').map(decoded).collect()
    };
    let mut home = segments(collection);
    if home.last().is_some_and(String::is_empty) {
        home.pop();
    }
    let path = segments(&url);
    let Some(rest) = path.strip_prefix(&home[..]) else {
        return Target::Elsewhere;
    };
    match rest {
        [] => Target::Collection,
        [name] if name.is_empty() => Target::Collection,
        [name] if name.len() <= NAME_LEN_MAX && !name.contains(char::is_control) => {
            Target::Member(name.clone())
        }
        _ => Target::Below,
    }
}

/// A segment without its percent-encoding (RFC 3986 §2.1); as it stands where that is no text.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4) | low)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

fn member(response: Node<'_, '_>, name: String, href: String) -> Member {
    let mut member = Member { name, href, status: xml::status(response), ..Member::default() };
    let told = children(response, DAV, "propstat").filter_map(xml::status);
    let told: Vec<u16> = told.collect();
    member.untold = told.first().copied().filter(|_| !told.contains(&200));
    for property in xml::properties(response) {
        if property.has_tag_name((DAV, "getetag")) {
            member.etag = Some(text(property));
        } else if property.has_tag_name((CALDAV, "calendar-data")) {
            member.data = Some(text(property));
        }
    }
    member
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection() -> Url {
        "http://dav.example.com/anna/work/".parse().unwrap()
    }

    fn read(inner: &str) -> Result<Members, &'static str> {
        let body = format!(
            "<d:multistatus xmlns:d='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'>{inner}\
             </d:multistatus>"
        );
        members(body.as_bytes(), &collection())
    }

    #[test]
    fn members_are_told_with_what_they_hold_and_what_is_gone() {
        let found = read(
            "<d:response><d:href>/anna/work/</d:href><d:status>HTTP/1.1 507 Enough</d:status>\
             </d:response><d:response><d:href>/anna/work/a.ics</d:href><d:propstat><d:prop>\
             <d:getetag>\"1\"</d:getetag><c:calendar-data>BEGIN:<![CDATA[V&]]></c:calendar-data>\
             </d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>\
             <d:response><d:href>http://dav.example.com/anna/work/b.ics</d:href>\
             <d:status>HTTP/1.1 404 Not Found</d:status></d:response>\
             <d:response><d:href>/anna/work/sub/c.ics</d:href></d:response>\
             <d:sync-token>http://x/7</d:sync-token>",
        )
        .unwrap();
        let of = |name: &str| found.list.iter().find(|member| member.name == name).unwrap();
        assert_eq!((found.list.len(), found.own), (2, Some(507)));
        assert_eq!(of("a.ics").etag.as_deref(), Some("\"1\""));
        assert_eq!(of("a.ics").data.as_deref(), Some("BEGIN:V&"));
        assert_eq!(of("b.ics").status, Some(404));
        assert_eq!(found.sync_token.as_deref(), Some("http://x/7"));
    }

    #[test]
    fn what_is_refused_is_not_told() {
        let found = read(
            "<d:response><d:href>a.ics</d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag>\
             </d:prop><d:status>HTTP/1.1 403 No</d:status></d:propstat></d:response>\
             <d:sync-token/>",
        )
        .unwrap();
        assert_eq!((found.list.len(), &found.list[0].etag, found.sync_token), (1, &None, None));
    }

    #[test]
    fn an_address_means_the_same_however_it_is_written() {
        let work: Url = "http://dav.example.com/a@b/my%20work/".parse().unwrap();
        for href in ["/a@b/my%20work/", "/a%40b/my%20work", "http://other/%61%40b/my work/", "."] {
            assert_eq!(target(&work, href), Target::Collection, "{href}");
        }
        for (href, name) in [
            ("/a%40b/my%20work/x.ics", "x.ics"),
            ("x%7Ey%c3%a9.ics", "x~yé.ics"),
            ("x%zz%4", "x%zz%4"),
            ("%ff.ics", "%ff.ics"),
        ] {
            assert_eq!(target(&work, href), Target::Member(name.to_owned()), "{href}");
        }
        for href in ["sub/", "sub/x.ics", "x%00.ics", &"x".repeat(NAME_LEN_MAX + 1)] {
            assert_eq!(target(&work, href), Target::Below, "{href}");
        }
        for href in ["/", "/x.ics", "/a@b/x.ics", "/a@b/my%20works/x.ics", "http://["] {
            assert_eq!(target(&work, href), Target::Elsewhere, "{href}");
        }
    }

    #[test]
    fn what_is_told_of_another_collection_is_not_told_of_this_one() {
        for inner in [
            "<d:response><d:href>/anna/d.ics</d:href></d:response>",
            "<d:response><d:status>HTTP/1.1 200 OK</d:status></d:response>",
        ] {
            assert!(read(inner).is_err(), "{inner}");
        }
        assert_eq!(read(""), Ok(Members::default()));
    }

    #[test]
    fn hostile_bodies_are_no_multistatus() {
        let names: Vec<String> = (0..5_000).map(|n| format!("<a xmlns:n{n}='u'>")).collect();
        let inherited = format!("{}{}", names.concat(), "</a>".repeat(5_000));
        for inner in [&inherited, &"<a>".repeat(200_000), &"<a/>".repeat(400_000)] {
            assert_eq!(read(inner), Err("it cannot be read"), "{inner:.60}");
        }
        let entity = "<!DOCTYPE m [<!ENTITY e 'x'>]><multistatus xmlns='DAV:'>&e;</multistatus>";
        for body in ["", "<html/>", "<multistatus/>", entity] {
            let found = members(body.as_bytes(), &collection());
            assert_eq!(found, Err("it cannot be read"), "{body}");
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        for page in ["sync 100\nhttp://x/7\na.ics", "sync 1\n\na.ics", "all 7\n\n"] {
            assert_eq!(Place::parse(page).unwrap().page(), page);
        }
        for other in ["a.ics", "sync\n\na.ics", "sync 0\n\na.ics", "sync 101\n\na.ics"] {
            assert!(Place::parse(other).is_none(), "{other}");
        }
    }
}
