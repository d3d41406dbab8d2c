//! What a collection holds: by its changes where the server tells them (`sync-collection`, RFC 6578),
//! else all of it; the events themselves some at a time (`calendar-multiget`, RFC 4791 §7.9).
//!
//! Which members there are is told in one answer, and asked again for each page: the events of a page
//! are those after the last one of the page before, in the order of their names. A server's own way to
//! cut that answer in pieces is not asked for: some lose changes by it.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use roxmltree::{Document, Node, ParsingOptions};
use url::Url;

use super::super::http::{self, Request, Response};
use super::super::{Answer, Listed, ListedEvent, Listing, Next, Page, ical};
use super::{CALDAV, Caldav, DAV, DEPTH, XML_TYPE, answer, not_calendars};

/// How many events are read at once.
const PAGE_LEN_MAX: usize = 100;
/// The longest answer that is read, in bytes.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most nodes that it may have. The parser needs some hundred bytes for each.
const NODES_MAX: u32 = 300_000;
/// The most namespaces that it may declare: what the parser needs for them grows with the square of
/// their number.
const NAMESPACES_MAX: usize = 4_096;
/// The longest token that is kept, in bytes.
const TOKEN_LEN_MAX: usize = 2_000;

const MEMBERS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>"#;

/// Where a listing stands between two pages.
struct Place<'a> {
    /// Whether the server tells its changes.
    syncs: bool,
    /// The sync token of the first page: what changed after it comes with the next listing.
    token: Option<&'a str>,
    /// The last member that was read.
    after: &'a str,
}

impl<'a> Place<'a> {
    const FIRST: Self = Self { syncs: true, token: None, after: "" };

    fn parse(page: &'a str) -> Option<Self> {
        let mut lines = page.splitn(3, '\n');
        let (kind, token, after) = (lines.next()?, lines.next()?, lines.next()?);
        let token = Some(token).filter(|token| !token.is_empty());
        Some(Self { syncs: kind == "sync", token, after })
    }

    fn of_all(after: &'a str) -> Self {
        Self { syncs: false, token: None, after }
    }

    fn page(&self) -> String {
        let kind = if self.syncs { "sync" } else { "all" };
        format!("{kind}\n{}\n{}", self.token.unwrap_or_default(), self.after)
    }
}

/// What one `response` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Member {
    /// The last segment of its href; empty for the collection itself.
    name: String,
    /// Its href, as it stands there.
    href: String,
    etag: Option<String>,
    data: Option<String>,
    /// The status of the whole of it.
    status: Option<u16>,
}

/// What a `multistatus` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    list: Vec<Member>,
    sync_token: Option<String>,
}

/// What came of asking for the members.
enum Told {
    Members(Members),
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
                    (None, Answer::Status { .. }) => nothing(Place::of_all("").page()),
                    (_, lost @ Answer::Lost { .. }) => Listed::Failed(lost),
                })
            }
            _ => Told::Else(refused(response)),
        }
    }

    /// Asks for all members.
    async fn all(&self, collection: &Url) -> Told {
        match self.asked(b"PROPFIND", collection, "1", MEMBERS.to_owned()).await {
            Ok(response) if response.status == 207 => read_members(&response, collection),
            Ok(response) => Told::Else(refused(response)),
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
        let Members { mut list, sync_token } = members;
        let is_full = listing.since.is_none();
        // The server had enough (507 for the collection itself): of all, that is not all.
        let is_cut = list.iter().any(|it| it.name.is_empty() && it.status == Some(507));
        if place.syncs && is_full && is_cut {
            return nothing(Place::of_all("").page());
        }
        list.retain(|member| !member.name.is_empty() && member.name.as_str() > place.after);
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list.dedup_by(|one, other| one.name == other.name);
        let rest = list.split_off(list.len().min(PAGE_LEN_MAX));
        let last = list.last().map(|member| member.name.clone()).unwrap_or_default();
        let is_deleted = |member: &Member| matches!(member.status, Some(404 | 410));
        let (deleted, live): (Vec<_>, Vec<_>) = list.into_iter().partition(is_deleted);
        let events = match self.read_events(collection, &live).await {
            Ok(events) => events,
            Err(listed) => return listed,
        };
        let token = place.token.or(sync_token.as_deref());
        let next = if rest.is_empty() {
            Next::End { since: token.map(str::to_owned) }
        } else {
            Next::Page(Place { syncs: place.syncs, token, after: &last }.page())
        };
        let mut deleted: Vec<String> = deleted.into_iter().map(|member| member.name).collect();
        if !is_full {
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
    ) -> Result<Vec<ListedEvent>, Listed> {
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
        let response = self.report(collection, "1", body).await.map_err(Listed::Failed)?;
        if response.status != 207 {
            return Err(refused(response));
        }
        match read_members(&response, collection) {
            Told::Members(found) => {
                Ok(found.list.into_iter().filter_map(|member| self.event(member)).collect())
            }
            Told::Else(listed) => Err(listed),
        }
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

fn refused(response: Response) -> Listed {
    let is_gone = matches!(response.status, 404 | 410);
    match answer(response) {
        Answer::Status { message, .. } if is_gone => Listed::CalendarGone { message },
        other @ (Answer::Status { .. } | Answer::Lost { .. }) => Listed::Failed(other),
    }
}

fn read_members(response: &Response, collection: &Url) -> Told {
    match members(&response.body, collection) {
        Some(members) => Told::Members(members),
        None => Told::Else(Listed::Failed(not_calendars("no multistatus"))),
    }
}

/// PURE: all responses of a `multistatus` (RFC 4918 §14.16) about the collection and its members. The
/// body is a stranger's: namespaces are obeyed, document types refused, and all of it is bounded.
fn members(body: &[u8], collection: &Url) -> Option<Members> {
    let text = std::str::from_utf8(body).ok()?;
    if text.matches("xmlns").count() > NAMESPACES_MAX {
        return None;
    }
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    let root = document.root_element();
    if !root.has_tag_name((DAV, "multistatus")) {
        return None;
    }
    let fits = |token: &String| (1..=TOKEN_LEN_MAX).contains(&token.len()) && !token.contains('\n');
    let responses = root.children().filter(|node| node.has_tag_name((DAV, "response")));
    Some(Members {
        list: responses.filter_map(|response| member(response, collection)).collect(),
        sync_token: child(root, DAV, "sync-token").map(said).filter(fits),
    })
}

fn member(response: Node<'_, '_>, collection: &Url) -> Option<Member> {
    let href = child(response, DAV, "href").map(said)?;
    let path = collection.join(&href).ok()?.path().to_owned();
    let name = path.strip_prefix(collection.path())?.to_owned();
    if name.contains('/') || name.contains('\n') {
        // A collection in the collection.
        return None;
    }
    let mut member = Member { name, href, ..Member::default() };
    member.status = child(response, DAV, "status").and_then(status);
    for propstat in response.children().filter(|node| node.has_tag_name((DAV, "propstat"))) {
        if child(propstat, DAV, "status").and_then(status) != Some(200) {
            continue;
        }
        if let Some(properties) = child(propstat, DAV, "prop") {
            member.etag = child(properties, DAV, "getetag").map(said).or(member.etag);
            member.data = child(properties, CALDAV, "calendar-data").map(said).or(member.data);
        }
    }
    Some(member)
}

/// `HTTP/1.1 200 OK`.
fn status(node: Node<'_, '_>) -> Option<u16> {
    said(node).split_ascii_whitespace().nth(1)?.parse().ok()
}

fn child<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &'static str,
    name: &'static str,
) -> Option<Node<'a, 'input>> {
    node.children().find(move |child| child.has_tag_name((namespace, name)))
}

/// All of an element's own text: a comment, or a section of character data, cuts it in pieces.
fn said(node: Node<'_, '_>) -> String {
    let pieces = node.children().filter(Node::is_text).filter_map(|piece| piece.text());
    pieces.collect::<String>().trim().to_owned()
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

    fn read(inner: &str) -> Option<Members> {
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
             <d:response><d:href>/anna/d.ics</d:href></d:response>\
             <d:sync-token>http://x/7</d:sync-token>",
        )
        .unwrap();
        let of = |name: &str| found.list.iter().find(|member| member.name == name).unwrap();
        assert_eq!(found.list.len(), 3);
        assert_eq!(of("").status, Some(507));
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
    fn hostile_bodies_are_no_multistatus() {
        let names: Vec<String> = (0..5_000).map(|n| format!("<a xmlns:n{n}='u'>")).collect();
        let inherited = format!("{}{}", names.concat(), "</a>".repeat(5_000));
        for inner in [&inherited, &"<a>".repeat(200_000), &"<a/>".repeat(400_000)] {
            assert_eq!(read(inner), None, "{inner:.60}");
        }
        let entity = "<!DOCTYPE m [<!ENTITY e 'x'>]><multistatus xmlns='DAV:'>&e;</multistatus>";
        for body in ["", "<html/>", "<multistatus/>", entity] {
            assert_eq!(members(body.as_bytes(), &collection()), None, "{body}");
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        for page in ["sync\nhttp://x/7\na.ics", "sync\n\na.ics", "all\n\n"] {
            assert_eq!(Place::parse(page).unwrap().page(), page);
        }
        assert!(Place::parse("a.ics").is_none());
    }
}
