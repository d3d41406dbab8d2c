//! The cookie by which a browser is known again while it connects a calendar (RFC 6265bis).

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HeaderValue};
use url::Url;

use crate::connection::pass::Browser;

/// Good for this host alone, sent by TLS alone (RFC 6265bis §4.1.3.2).
const NAME: &str = "__Host-calendar-sync";
/// Where the service is reached by `http://`, which is this machine alone.
const NAME_PLAIN: &str = "calendar-sync";
/// So long it is kept, in seconds: longer than a link and a visit.
const MAX_AGE: u32 = 3_600;

fn name(public: &Url) -> &'static str {
    if public.scheme() == "https" { NAME } else { NAME_PLAIN }
}

/// The browser that asks, if it has been here.
pub(super) fn browser(headers: &HeaderMap, public: &Url) -> Option<Browser> {
    let name = name(public);
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name)
        .map(|(_, value)| value);
    values.find_map(Browser::parse)
}

/// `Set-Cookie`. `Lax`: the provider sends the browser back from another site, by a link.
pub(super) fn set(browser: &Browser, public: &Url) -> HeaderValue {
    let secure = if public.scheme() == "https" { "; Secure" } else { "" };
    let (name, value) = (name(public), browser.cookie());
    let text = format!("{name}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(text).expect("a cookie is Base64 in ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use axum::http::header::COOKIE;

    use super::*;
    use crate::clock::SystemDice;

    #[test]
    fn a_browser_is_known_again_by_its_cookie() {
        let browser = Browser::fresh(&SystemDice);
        for url in ["https://sync.example", "http://127.0.0.1:8080"] {
            let url = Url::parse(url).unwrap();
            let cookie = set(&browser, &url);
            let (pair, rest) = cookie.to_str().unwrap().split_once("; ").unwrap();
            assert_eq!(rest.contains("Secure"), url.scheme() == "https");
            assert!(rest.contains("HttpOnly") && rest.contains("SameSite=Lax"));
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, "other=1; __Host-calendar-sync=short".parse().unwrap());
            headers.append(COOKIE, format!("a=b;{pair}; c=d").parse().unwrap());
            let known = super::browser(&headers, &url).unwrap();
            assert_eq!(known.cookie(), browser.cookie());
        }
        assert!(super::browser(&HeaderMap::new(), &Url::parse("https://a").unwrap()).is_none());
    }
}
