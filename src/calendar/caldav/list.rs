//! What a collection holds: by its changes where the server tells them (`sync-collection`, RFC 6578),
//! else all of it; the events themselves some at a time (`calendar-multiget`, RFC 4791 §7.9).
//!
//! Which members there are is told in one answer, and asked again for each page: the events of a page
//! are those after the last one of the page before, in the order of their names. A server's own way to
//! cut that answer in pieces is not asked for: some lose changes by it.
//!
//! What is not in the answer counts as missing later. So an answer that is not understood in all its
//! parts is none: a server that writes its addresses otherwise than we do has not lost its events.

mod members;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use self::members::{Member, Members, members};
use super::super::http::{self, Response};
use super::super::{Answer, Listed, ListedEvent, Listing, Next, Page, Reading, ical};
use super::{CALDAV, Caldav, DEPTH, XML_TYPE, absent, answer};

/// How many events are read at once: of a page that cannot be read, half as many, down to one.
const PAGE_LEN_MAX: usize = 100;
/// The longest answer that is read, in bytes.
const BYTES_MAX: usize = 8 * 1024 * 1024;

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
        let found = match members::members(&response.body, collection) {
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
        let method = Method::from_bytes(method).unwrap_or(Method::OPTIONS);
        let headers = vec![(CONTENT_TYPE, XML_TYPE.to_owned()), (DEPTH, depth.to_owned())];
        self.exchange((method, url.clone()), headers, body.as_bytes(), BYTES_MAX).await
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

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
