//! The calendars of an account: `calendarList.list`.

use serde::Deserialize;
use url::Url;

use super::refusal;
use crate::calendar::Credentials;
use crate::calendar::discovery::{Asked, ListError, ListedCalendar, Page, address, walk};
use crate::calendar::http::Http;

const PAGE_LEN_MAX: &str = "250";
const FIELDS: &str = "nextPageToken,items(id,summary,summaryOverride,accessRole,primary)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    items: Vec<Entry>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    summary: Option<String>,
    /// What the account itself calls it.
    summary_override: Option<String>,
    access_role: String,
    primary: Option<bool>,
}

/// Lists them, with a token that may see the list (the scope `calendar.calendarlist.readonly`, or one
/// that holds it): one for events alone may not.
pub async fn discover(
    http: &Http,
    base_url: &str,
    credentials: &Credentials,
) -> Result<Vec<ListedCalendar>, ListError> {
    let mut list = address(base_url, &["users", "me", "calendarList"])?;
    list.query_pairs_mut().append_pair("maxResults", PAGE_LEN_MAX).append_pair("fields", FIELDS);
    let asked = Asked { http, credentials, header: None };
    walk(list.clone(), asked, |body| page(body, &list), refusal).await
}

fn page(body: &[u8], list: &Url) -> Option<Page> {
    let List { items, next_page_token } = serde_json::from_slice(body).ok()?;
    let next = next_page_token.map(|token| {
        let mut next = list.clone();
        next.query_pairs_mut().append_pair("pageToken", &token);
        next
    });
    Some(Page { calendars: items.into_iter().filter_map(Entry::calendar).collect(), next })
}

impl Entry {
    /// `reader` and `freeBusyReader` can look at most.
    fn calendar(self) -> Option<ListedCalendar> {
        let is_writable = matches!(&*self.access_role, "writer" | "owner");
        let name = self.summary_override.or(self.summary);
        let listed = ListedCalendar::new(self.id, name.as_deref(), is_writable)?;
        Some(ListedCalendar { is_primary: self.primary == Some(true), ..listed })
    }
}
