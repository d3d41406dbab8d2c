//! The calendars of a mailbox: `GET …/calendars`.

use serde::Deserialize;
use url::Url;

use super::{IMMUTABLE_IDS, PREFER, encoded, refusal};
use crate::calendar::Credentials;
use crate::calendar::discovery::{Asked, ListError, ListedCalendar, Page, address, walk};
use crate::calendar::http::Http;

const PAGE_LEN_MAX: &str = "100";
const SELECTED: &str = "id,name,canEdit";

#[derive(Deserialize)]
struct List {
    value: Vec<Entry>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    name: Option<String>,
    can_edit: Option<bool>,
}

/// Lists them: `base_url` ends in `/me`, or in `/users/` and the user's id.
pub async fn discover(
    http: &Http,
    base_url: &str,
    credentials: &Credentials,
) -> Result<Vec<ListedCalendar>, ListError> {
    let mut first = address(base_url, &["calendars"])?;
    first.set_query(Some(&encoded(&[("$select", SELECTED), ("$top", PAGE_LEN_MAX)])));
    let asked = Asked { http, credentials, header: Some((PREFER, IMMUTABLE_IDS)) };
    walk(first.clone(), asked, |body| page(body, &first), refusal).await
}

/// A link to a page elsewhere is none: the token would go with it.
fn page(body: &[u8], first: &Url) -> Option<Page> {
    let List { value, next } = serde_json::from_slice(body).ok()?;
    let next = match next {
        None => None,
        Some(link) => {
            let link = Url::parse(&link).ok();
            Some(link.filter(|link| link.origin() == first.origin())?)
        }
    };
    Some(Page { calendars: value.into_iter().filter_map(Entry::calendar).collect(), next })
}

impl Entry {
    fn calendar(self) -> Option<ListedCalendar> {
        let is_writable = self.can_edit == Some(true);
        ListedCalendar::new(self.id, self.name.as_deref(), is_writable)
    }
}
