//! All of our events in a calendar (rule R20): by the property that says whose they are, as a delta
//! tells of no extended property, and so not whose an event is.

use url::Url;

use super::event::{CONNECTION, Events, SELECTED};
use super::{Microsoft, encoded, expanded, not_graphs, refusal};
use crate::calendar::{Answer, Listed, ListedEvent, Listing, Next, Page};

/// So many events a page.
const PAGE_LEN_MAX: &str = "100";
/// The longest page, in bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest link to a next page, in bytes.
const LINK_LEN_MAX: usize = 4 * 1024;

impl Microsoft {
    pub(super) async fn list_events(&self, listing: Listing<'_>) -> Listed {
        let found = match self.page_at(listing.page) {
            Ok(url) => self.get_list(url, PAGE_BYTES_MAX).await,
            Err(lost) => Err(lost),
        };
        let response = match found {
            Ok(response) => response,
            Err(lost) => return Listed::Failed(lost),
        };
        if response.status == 200 {
            return match serde_json::from_slice::<Events>(&response.body) {
                Ok(events) => self.page(events),
                Err(_) => Listed::Failed(not_graphs("a list of events")),
            };
        }
        match refusal(response) {
            Answer::Status { status: 400 | 410, message, .. } if listing.page.is_some() => {
                Listed::Expired { message }
            }
            Answer::Status { status: 404 | 410, message, .. } => Listed::CalendarGone { message },
            other @ (Answer::Status { .. } | Answer::Lost { .. }) => Listed::Failed(other),
        }
    }

    /// The first page, or one that a page before linked to.
    fn page_at(&self, link: Option<&str>) -> Result<Url, Answer> {
        if let Some(link) = link {
            return self.linked(link);
        }
        let mut url = self.events(None)?;
        let filter = format!(
            "singleValueExtendedProperties/Any(ep: ep/id eq '{CONNECTION}' and ep/value eq '{}')",
            self.account.connection
        );
        let expand = expanded();
        let query = [
            ("$filter", &*filter),
            ("$select", SELECTED),
            ("$expand", &expand),
            ("$top", PAGE_LEN_MAX),
        ];
        url.set_query(Some(&encoded(&query)));
        Ok(url)
    }

    fn page(&self, events: Events) -> Listed {
        let Events { value, next } = events;
        let ours = value.into_iter().filter_map(|event| {
            let event = event.usable()?;
            let marker = event.marker().filter(|it| it.connection == self.account.connection)?;
            Some(ListedEvent {
                id: event.id().to_owned(),
                given: event.given(),
                etag: event.etag(),
                differs: event.differs(),
                marker,
            })
        });
        let events = ours.collect();
        let next = match next {
            Some(link) if link.len() > LINK_LEN_MAX => {
                return Listed::Failed(not_graphs("a list with a link that can be kept"));
            }
            Some(link) => Next::Page(link),
            None => Next::End { since: None },
        };
        Listed::Page(Page { events, deleted: Vec::new(), next })
    }
}
