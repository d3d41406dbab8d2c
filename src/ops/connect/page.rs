//! The few pages that a host sees while connecting a calendar: plain HTML, no scripts, nothing loaded
//! from anywhere. Whatever others have written is escaped.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use html_escape::{encode_double_quoted_attribute, encode_text};
use url::Url;

use crate::calendar::discovery::ListedCalendar;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;\
padding:0 1rem}fieldset{border:0;padding:0;margin:0 0 1rem}label{display:block;padding:.25rem 0}\
button{font:inherit;padding:.5rem 1rem}";

/// A page with a title and what it says, below each other.
pub(super) fn says(
    status: StatusCode,
    title: &str,
    lines: &[&str],
    back: Option<&Url>,
) -> Response {
    let lines: Vec<_> =
        lines.iter().map(|line| format!("<p>{}</p>\n", encode_text(line))).collect();
    let lines = lines.concat();
    let back = back.map_or_else(String::new, |url| {
        format!("<p><a href=\"{}\">Go back</a></p>\n", encode_double_quoted_attribute(url.as_str()))
    });
    page(status, title, &format!("{lines}{back}"), None)
}

/// What is chosen among.
pub(super) struct Offered<'a> {
    /// Where the choice goes.
    pub(super) action: &'a str,
    /// The pass that comes back with it.
    pub(super) pass: &'a str,
    /// The account, as its owner knows it.
    pub(super) account: Option<&'a str>,
    /// Calendars that can be written to; the first is chosen if nobody chooses.
    pub(super) calendars: &'a [ListedCalendar],
    /// Where the browser may be sent in the end.
    pub(super) return_url: Option<&'a Url>,
}

/// The page on which a calendar is chosen.
pub(super) fn choose(offered: &Offered<'_>) -> Response {
    let account = offered.account.map_or_else(String::new, |account| {
        format!("<p>You have signed in as <strong>{}</strong>.</p>\n", encode_text(account))
    });
    let whose = offered.return_url.and_then(Url::host_str).map_or_else(
        || "your bookings".to_owned(),
        |host| format!("the bookings of <strong>{}</strong>", encode_text(host)),
    );
    let choices: String = offered.calendars.iter().enumerate().map(choice).collect();
    let body = format!(
        "{account}<form method=\"post\" action=\"{}\">\n\
         <input type=\"hidden\" name=\"pass\" value=\"{}\">\n\
         <fieldset><legend>Which calendar shall {whose} be put into?</legend>\n{choices}\
         </fieldset>\n<button>Use this calendar</button>\n</form>\n",
        encode_double_quoted_attribute(offered.action),
        encode_double_quoted_attribute(offered.pass),
    );
    page(StatusCode::OK, "Choose a calendar", &body, offered.return_url)
}

fn choice((at, calendar): (usize, &ListedCalendar)) -> String {
    let name = calendar.name.as_deref().unwrap_or(&calendar.id);
    let checked = if at == 0 { " checked" } else { "" };
    format!(
        "<label><input type=\"radio\" name=\"calendar\" required value=\"{}\"{checked}> {}</label>\n",
        encode_double_quoted_attribute(&calendar.id),
        encode_text(name)
    )
}

/// `sent_on_to`: where the answer to the page's form may send the browser. Browsers hold `form-action`
/// against that as well (CSP Level 3 §6.4.2; Chromium does).
fn page(status: StatusCode, title: &str, body: &str, sent_on_to: Option<&Url>) -> Response {
    let title = encode_text(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n\
         </html>\n"
    );
    let mut response = (status, html).into_response();
    let origin = sent_on_to
        .map_or_else(String::new, |url| format!(" {}", url.origin().ascii_serialization()));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'{origin}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    guarded(headers);
    response
}

/// What goes with every answer here: an address holds a pass or a code, and is neither kept nor told.
pub(super) fn guarded(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
