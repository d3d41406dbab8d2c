//! Why a host gets no further, and what they are told.

use axum::http::StatusCode;
use axum::response::Response;

use super::{back, page, sent_back};
use crate::connection::connect_error::ConnectError;
use crate::connection::pass::{Link, PassError};

const AGAIN: &str = "Please go back to where you came from, and begin once more.";

/// Why a host gets no further, and what is said to them.
pub(super) enum Ended {
    /// There are no such pages.
    Absent,
    /// What the browser brings is no good.
    Pass(PassError),
    /// Another browser was sent.
    OtherBrowser(Box<Link>),
    /// The host does not want to.
    Declined(Box<Link>),
    /// It did not work out.
    Failed(Option<Box<Link>>, Box<ConnectError>),
    /// The host may have another go in a moment.
    Busy(Box<Link>),
    /// No calendar can be written to.
    NoCalendar(Box<Link>),
    /// The one that was chosen cannot.
    NotOffered(Box<Link>),
    /// The database is away.
    Unavailable(Box<Link>),
    /// The connection was removed meanwhile.
    Removed(Box<Link>),
}

impl From<PassError> for Ended {
    fn from(error: PassError) -> Self {
        Self::Pass(error)
    }
}

impl Ended {
    /// It did not work out.
    pub(super) fn failed(link: Option<Link>, error: ConnectError) -> Self {
        Self::Failed(link.map(Box::new), Box::new(error))
    }

    /// What an operator may have to mend, or is asked about.
    fn log(&self) {
        match self {
            Self::Failed(_, error) => {
                tracing::warn!(
                    error_code = "connect_failed",
                    "a calendar was not connected: {error}"
                );
            }
            Self::Busy(_) => tracing::warn!(
                error_code = "connect_busy",
                "more calendars are being connected at once than are let in"
            ),
            Self::Absent
            | Self::Pass(_)
            | Self::OtherBrowser(_)
            | Self::Declined(_)
            | Self::NoCalendar(_)
            | Self::NotOffered(_)
            | Self::Removed(_)
            | Self::Unavailable(_) => {}
        }
    }

    pub(super) fn answer(self) -> Response {
        self.log();
        let ended = |status, title, lines: &[&str], link: Option<Box<Link>>| {
            let back = link.and_then(|link| Some(back(&link.return_url?, "failed", None)));
            page::says(status, title, lines, back.as_ref())
        };
        let failed =
            |title, lines: &[&str], link| ended(StatusCode::BAD_REQUEST, title, lines, link);
        let away = |title, lines: &[&str], link| {
            ended(StatusCode::SERVICE_UNAVAILABLE, title, lines, Some(link))
        };
        match self {
            Self::Absent => page::says(StatusCode::NOT_FOUND, "There is no such page", &[], None),
            Self::Pass(PassError::Expired) => {
                page::says(StatusCode::GONE, "This link has expired", &[AGAIN], None)
            }
            Self::Pass(PassError::Foreign) => failed("This link is not complete", &[AGAIN], None),
            Self::OtherBrowser(link) => failed(
                "This is not the browser that you began with",
                &["Either it keeps no cookies, or the link was opened elsewhere.", AGAIN],
                Some(link),
            ),
            Self::Declined(link) => {
                if let Some(url) = link.return_url {
                    return sent_back(&url, "declined", None);
                }
                let line = "Nothing was changed. You can close this page.";
                page::says(StatusCode::OK, "No calendar was connected", &[line], None)
            }
            Self::Failed(link, error) => {
                let why = for_a_host(&error);
                failed("The calendar could not be connected", &[&why, AGAIN], link)
            }
            Self::Busy(link) => away(
                "Many people connect their calendars just now",
                &["Please reload this page in a moment."],
                link,
            ),
            Self::Removed(link) => failed(
                "This calendar was disconnected meanwhile",
                &["Please go back, and connect it anew."],
                Some(link),
            ),
            Self::NoCalendar(link) => failed(
                "There is no calendar that can be written to",
                &["The account has none, or shares of others' that can only be read."],
                Some(link),
            ),
            Self::NotOffered(link) => failed(
                "This calendar cannot be written to",
                &["Please choose another one."],
                Some(link),
            ),
            Self::Unavailable(link) => {
                away("The calendar could not be stored", &["It is not your fault.", AGAIN], link)
            }
        }
    }
}

/// What a host can do something with: what is for operators to mend stands in the log.
fn for_a_host(error: &ConnectError) -> String {
    match error {
        ConnectError::Misconfigured { .. } => {
            "This service is not set up as it should be. Its operators can see why.".to_owned()
        }
        ConnectError::OtherAccount { .. } => {
            "You have signed in with another account than the one that \
             this calendar belongs to. Sign in with that one."
                .to_owned()
        }
        ConnectError::Declined { .. }
        | ConnectError::Barred { .. }
        | ConnectError::Code { .. }
        | ConnectError::State
        | ConnectError::Expired
        | ConnectError::Stopped
        | ConnectError::Scopes { .. }
        | ConnectError::NoRefreshToken { .. }
        | ConnectError::Identity { .. }
        | ConnectError::Later { .. }
        | ConnectError::NotUnderstood { .. }
        | ConnectError::List(_) => error.to_string(),
    }
}
