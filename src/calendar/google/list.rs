//! `events.list`: all events of a calendar, or what has changed. Without a filter: a sync token takes
//! none, and the first scan has to be asked as the later ones are.

use serde::Deserialize;
use url::Url;

use super::super::{Answer, Listed, ListedEvent, Listing, Next, Page};
use super::{Event, Google, not_googles, refusal};

/// How many events a page has at most: each has up to some ten thousand bytes.
const PAGE_LEN_MAX: &str = "100";
/// The longest page that is read, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest token that is kept, in bytes.
const TOKEN_LEN_MAX: usize = 4_096;
/// The longest id of an event, in bytes (Google's own bound).
const ID_LEN_MAX: usize = 1_024;
/// What is asked of an event: what its marker and its content are read from.
const FIELDS: &str = "nextPageToken,nextSyncToken,items(id,status,etag,summary,description,\
                      location,start,end,recurrence,transparency,extendedProperties/private)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    items: Vec<Event>,
    next_page_token: Option<String>,
    next_sync_token: Option<String>,
}

impl Google {
    pub(super) async fn list_events(&self, listing: Listing<'_>) -> Listed {
        let found = match self.events(None) {
            Ok(url) => self.get_up_to(page_of(url, listing), PAGE_BYTES_MAX).await,
            Err(lost) => Err(lost),
        };
        let response = match found {
            Ok(response) => response,
            Err(lost) => return Listed::Failed(lost),
        };
        if response.status == 200 {
            return match serde_json::from_slice::<List>(&response.body) {
                Ok(list) => self.page(list, listing.since.is_some()),
                Err(_) => Listed::Failed(not_googles("a list of events")),
            };
        }
        let has_token = listing.since.is_some() || listing.page.is_some();
        match refusal(response) {
            // A sync token that is too old is 410; one of another query, or a page's, 400.
            Answer::Status { status: 400 | 410, message, .. } if has_token => {
                Listed::Expired { message }
            }
            Answer::Status { status: 404 | 410, message, .. } => Listed::CalendarGone { message },
            other @ (Answer::Status { .. } | Answer::Lost { .. }) => Listed::Failed(other),
        }
    }

    /// `is_of_changes`: an event in it that does not carry our marker may have carried it before.
    fn page(&self, list: List, is_of_changes: bool) -> Listed {
        let fits = |token: &String| (1..=TOKEN_LEN_MAX).contains(&token.len());
        let next = match (list.next_page_token, list.next_sync_token) {
            (Some(token), _) if fits(&token) => Next::Page(token),
            (None, Some(token)) if fits(&token) => Next::End { since: Some(token) },
            (None, None) => Next::End { since: None },
            // Only where no token is told nothing follows: what was not read would be missing.
            (Some(_), _) | (None, Some(_)) => {
                return Listed::Failed(not_googles("a list with tokens that can be kept"));
            }
        };
        let mut page = Page { events: Vec::new(), deleted: Vec::new(), next };
        // What has another id is no event of ours, and nothing to keep.
        let is_id = |event: &Event| {
            (1..=ID_LEN_MAX).contains(&event.id.len())
                && event.id.bytes().all(|it| it.is_ascii_graphic())
        };
        for event in list.items.into_iter().filter(is_id) {
            if event.status.as_deref() == Some("cancelled") {
                page.deleted.push(event.id);
            } else if let Some(marker) = event.marker()
                && marker.connection == self.account.connection
            {
                let shows = event.content().map(|content| content.digest());
                page.events.push(ListedEvent {
                    etag: event.etag.as_deref().and_then(super::http::strong_etag),
                    differs: Some(shows != Some(marker.digest)),
                    given: Some(event.id.clone()),
                    id: event.id,
                    marker,
                });
            } else if is_of_changes {
                page.deleted.push(event.id);
            }
        }
        Listed::Page(page)
    }
}

fn page_of(mut url: Url, listing: Listing<'_>) -> Url {
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("maxResults", PAGE_LEN_MAX).append_pair("fields", FIELDS);
        for (name, token) in [("syncToken", listing.since), ("pageToken", listing.page)] {
            if let Some(token) = token {
                query.append_pair(name, token);
            }
        }
    }
    url
}
