//! Which calendars an account has, where the provider's API lists them: the walk through the pages. Who
//! is asked what, and how a page is read, is each adapter's (`google`, `microsoft`).

use reqwest::Method;
use reqwest::header::HeaderName;
use url::Url;

use super::http::{Http, Request, Response};
use super::{Answer, Credentials};

/// An account may have so many calendars.
pub const CALENDARS_MAX: usize = 500;
/// So many pages are read: one can be empty, and not the last.
const PAGES_MAX: usize = 100;
/// The longest id that is taken, in bytes.
const ID_LEN_MAX: usize = 1_024;
/// The longest name that is told, in characters.
const NAME_LEN_MAX: usize = 200;

/// A calendar of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCalendar {
    /// As `connections add` takes it.
    pub id: String,
    /// What people call it, at most 200 characters.
    pub name: Option<String>,
    /// Whether the account can write to it; of another's calendar, that is for the other to say.
    pub is_writable: bool,
    /// Whether it is the one that Google also calls `primary`.
    pub is_primary: bool,
}

impl ListedCalendar {
    /// With its name cut to its bound. `None`: nothing could be addressed by such an id.
    pub(super) fn new(id: String, name: Option<&str>, is_writable: bool) -> Option<Self> {
        let is_id = (1..=ID_LEN_MAX).contains(&id.len())
            && !id.chars().any(|c| c.is_whitespace() || c.is_control());
        let name = name.map(|name| name.chars().take(NAME_LEN_MAX).collect());
        is_id.then_some(Self { id, name, is_writable, is_primary: false })
    }
}

/// Why no calendars are told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No whole answer came, or none of this API's.
    #[error("the API does not answer usably: {message}")]
    Lost {
        /// What happened.
        message: String,
    },
    /// The token is none, or has expired.
    #[error("the API does not accept the token")]
    Unauthorised,
    /// The token opens something else (L28).
    #[error("the token does not let us list the calendars: {message}")]
    Forbidden {
        /// What the API says.
        message: String,
    },
    /// It fails.
    #[error("the API cannot list the calendars: {message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// More than is looked at.
    #[error("the account has more than {CALENDARS_MAX} calendars, or too many pages of them")]
    TooMany,
}

/// A page, read.
pub(super) struct Page {
    pub(super) calendars: Vec<ListedCalendar>,
    pub(super) next: Option<Url>,
}

/// Below the API's address.
pub(super) fn address(base_url: &str, path: &[&str]) -> Result<Url, ListError> {
    let none =
        || ListError::Lost { message: "the API's address is not an http or https URL".to_owned() };
    let url = Url::parse(base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut url = url.ok_or_else(none)?;
    url.path_segments_mut().map_err(|()| none())?.pop_if_empty().extend(path);
    Ok(url)
}

/// Who is asked for pages, and by which access.
pub(super) struct Asked<'a> {
    pub(super) http: &'a Http,
    pub(super) credentials: &'a Credentials,
    /// What goes with each question.
    pub(super) header: Option<(HeaderName, &'static str)>,
}

impl Asked<'_> {
    async fn page(&self, url: Url) -> Result<Response, Answer> {
        let Self { http, credentials, header } = self;
        let headers = header.iter().map(|(name, value)| (name.clone(), (*value).to_owned()));
        let headers = headers.collect();
        let credentials = Some(*credentials);
        let request = Request { method: Method::GET, url, credentials, headers, body: &[] };
        http.exchange(request).await.whole()
    }
}

/// Reads all pages from `first` on, in the API's order. `read` answers `None` for what is no page.
pub(super) async fn walk(
    first: Url,
    asked: Asked<'_>,
    read: impl Fn(&[u8]) -> Option<Page>,
    refusal: impl Fn(Response) -> Answer,
) -> Result<Vec<ListedCalendar>, ListError> {
    let mut found = Vec::new();
    let mut next = first;
    for _ in 0..PAGES_MAX {
        let response = asked.page(next).await.map_err(why)?;
        if response.status != 200 {
            return Err(why(refusal(response)));
        }
        let page = read(&response.body).ok_or_else(|| ListError::Lost {
            message: "a success, but the answer is not a list of calendars".to_owned(),
        })?;
        found.extend(page.calendars);
        if found.len() > CALENDARS_MAX {
            return Err(ListError::TooMany);
        }
        match page.next {
            Some(url) => next = url,
            None => return Ok(found),
        }
    }
    Err(ListError::TooMany)
}

fn why(answer: Answer) -> ListError {
    match answer {
        Answer::Lost { message, .. } => ListError::Lost { message },
        Answer::Status { status: 401, .. } => ListError::Unauthorised,
        Answer::Status { status: 403, message, .. } => ListError::Forbidden { message },
        Answer::Status { message, .. } => ListError::Refused { message },
    }
}
