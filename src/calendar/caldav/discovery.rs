//! Finding the calendars of an account: `/.well-known/caldav` (RFC 6764), `current-user-principal`
//! (RFC 5397), `calendar-home-set` and what is in there (RFC 4791 §6.2.1).
//!
//! Credentials go to the origin that was given and to no other: a redirect or an address elsewhere is
//! told, and left to a person. DNS is not asked for services (RFC 6764 §3).

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use url::{Origin, Url};

use super::super::Credentials;
use super::super::http::{Exchanged, Http, Request, Response, status_text};
use super::multistatus::{self, Access, Member, Principal};
use super::{DEPTH, XML_TYPE};

/// The longest address that is taken, in bytes.
const ADDRESS_LEN_MAX: usize = 2_000;
/// The longest origin that is told, in characters.
const ORIGIN_LEN_MAX: usize = 300;
/// So many redirects are followed for one question.
const HOPS_MAX: usize = 5;
/// An account may have its calendars in so many places.
const HOMES_MAX: usize = 8;
/// An account may have so many calendars.
pub const CALENDARS_MAX: usize = 500;

const WELL_KNOWN: &str = "/.well-known/caldav";
const WHO: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><current-user-principal/>
<calendar-home-set xmlns="urn:ietf:params:xml:ns:caldav"/></prop></propfind>"#;
const HOMES: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop>
<calendar-home-set xmlns="urn:ietf:params:xml:ns:caldav"/></prop></propfind>"#;
const CALENDARS: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><displayname/>
<supported-calendar-component-set xmlns="urn:ietf:params:xml:ns:caldav"/>
<current-user-privilege-set/><supported-report-set/><sync-token/></prop></propfind>"#;

/// A calendar that events can be put into, or read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCalendar {
    /// The collection's URL, ending in a slash.
    pub url: String,
    /// What people call it, at most 200 characters.
    pub name: Option<String>,
    /// Whether it can be written to.
    pub access: Access,
    /// Whether changes can be asked for by a sync token (RFC 6578).
    pub syncs: bool,
    /// Its sync token at this moment.
    pub sync_token: Option<String>,
}

/// Why no calendars were found. Addresses are cut down to their origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The address is none.
    #[error("the address {problem}")]
    Address {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No whole answer came.
    #[error("{origin} does not answer usably: {message}")]
    Lost {
        /// Who was asked.
        origin: String,
        /// What happened.
        message: String,
    },
    /// The credentials would have to go elsewhere.
    #[error(
        "the server sends us on to {origin}, and the credentials were not given for that: if it is \
         the right place, give that address"
    )]
    OtherOrigin {
        /// Where to.
        origin: String,
    },
    /// The credentials would have to go unencrypted.
    #[error("the server sends us on to {origin}, which is not encrypted: not followed")]
    Unencrypted {
        /// Where to.
        origin: String,
    },
    /// It never ends.
    #[error("{origin} redirects more than {HOPS_MAX} times")]
    Redirects {
        /// Who was asked.
        origin: String,
    },
    /// The credentials are not accepted.
    #[error("{origin} does not accept the account's name with this password or token")]
    Unauthorised {
        /// Who was asked.
        origin: String,
    },
    /// It fails.
    #[error("{origin} cannot say what {what}: {message}")]
    Refused {
        /// Who was asked.
        origin: String,
        /// What was asked for.
        what: &'static str,
        /// What it says.
        message: String,
    },
    /// More than is looked at.
    #[error("the account has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are looked at.
        max: usize,
    },
}

/// Finds the calendars of an account that take events, in the order of their URLs. `address` is a URL,
/// a host, or a mail address, of which the part after the `@` counts.
pub async fn discover(
    http: &Http,
    address: &str,
    credentials: &Credentials,
) -> Result<Vec<FoundCalendar>, DiscoveryError> {
    let entrance = entrance(address)?;
    let asking = Asking { http, credentials, origin: entrance.origin() };
    let principal = asking.principal(&entrance).await?;
    let mut found = BTreeMap::new();
    for home in asking.homes(&principal).await? {
        for calendar in asking.calendars(&home).await? {
            found.insert(calendar.url.clone(), calendar);
            if found.len() > CALENDARS_MAX {
                return Err(DiscoveryError::TooMany { what: "calendars", max: CALENDARS_MAX });
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Where to begin.
fn entrance(address: &str) -> Result<Url, DiscoveryError> {
    let wrong = |problem| DiscoveryError::Address { problem };
    let text = address.trim();
    if !(1..=ADDRESS_LEN_MAX).contains(&text.len()) {
        return Err(wrong("is empty or too long"));
    }
    if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(wrong("holds a blank or a control character"));
    }
    let mut url = if text.contains("://") {
        Url::parse(text)
    } else {
        let host = text.rsplit_once('@').map_or(text, |(_, domain)| domain);
        Url::parse(&format!("https://{host}"))
    }
    .map_err(|_| wrong("is neither a URL nor a host"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds credentials: give the user name and the password by themselves"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// One account, and the only origin that its credentials go to.
struct Asking<'a> {
    http: &'a Http,
    credentials: &'a Credentials,
    origin: Origin,
}

impl Asking<'_> {
    /// Who the account is. It is asked where we were sent; then where RFC 6764 §5 has it; then at the
    /// root.
    async fn principal(&self, entrance: &Url) -> Result<Url, DiscoveryError> {
        let mut places = vec![WELL_KNOWN, "/"];
        if entrance.path() != "/" {
            places.insert(0, entrance.path());
        }
        let what = "calendars the account has";
        let mut said = self.refused(what, "nobody answers there".to_owned());
        for place in places {
            let mut url = entrance.clone();
            url.set_path(place);
            let (url, response) = self.propfind(url, "0", WHO).await?;
            if response.status >= 500 {
                return Err(self.refused(what, message(&response)));
            }
            let members = read(&response).unwrap_or_default();
            match members.into_iter().find_map(who) {
                Some(Who::Named(href)) => return self.below(&url, &href),
                Some(Who::Itself) => return Ok(url),
                Some(Who::Nobody) => return Err(self.unauthorised()),
                None if response.status == 207 => {
                    said = self.refused(what, "it names no principal".to_owned());
                }
                None => said = self.refused(what, message(&response)),
            }
        }
        Err(said)
    }

    /// Where the account has its calendars.
    async fn homes(&self, principal: &Url) -> Result<Vec<Url>, DiscoveryError> {
        let what = "the account's calendars are in";
        let (url, response) = self.propfind(principal.clone(), "0", HOMES).await?;
        let Some(members) = read(&response) else {
            return Err(self.refused(what, message(&response)));
        };
        let hrefs: Vec<_> = members.into_iter().flat_map(|member| member.homes).collect();
        match hrefs.len() {
            0 => Err(self.refused(what, "the account has no calendar-home-set".to_owned())),
            1..=HOMES_MAX => hrefs.iter().map(|href| self.below(&url, href)).collect(),
            _ => Err(DiscoveryError::TooMany { what: "places for calendars", max: HOMES_MAX }),
        }
    }

    /// The calendars in one place.
    async fn calendars(&self, home: &Url) -> Result<Vec<FoundCalendar>, DiscoveryError> {
        let (url, response) = self.propfind(home.clone(), "1", CALENDARS).await?;
        let Some(members) = read(&response) else {
            return Err(self.refused("is in the account's place for calendars", message(&response)));
        };
        let calendars = members.into_iter().filter(|it| it.is_calendar && it.takes_events);
        Ok(calendars.filter_map(|member| self.found(&url, member)).collect())
    }

    /// A collection's members are where it is (RFC 4918 §9.1): what stands elsewhere is none.
    fn found(&self, home: &Url, member: Member) -> Option<FoundCalendar> {
        let Ok(mut url) = self.below(home, &member.href) else {
            tracing::warn!("a calendar at another address than its account is left out");
            return None;
        };
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let Member { name, access, syncs, sync_token, .. } = member;
        Some(FoundCalendar { url: url.into(), name, access, syncs, sync_token })
    }

    /// Asks for properties, and again, with method and body, where the server sends us on to.
    async fn propfind(
        &self,
        mut url: Url,
        depth: &'static str,
        body: &'static [u8],
    ) -> Result<(Url, Response), DiscoveryError> {
        for _ in 0..=HOPS_MAX {
            let request = Request {
                method: Method::from_bytes(b"PROPFIND").unwrap_or(Method::OPTIONS),
                url: url.clone(),
                credentials: Some(self.credentials),
                headers: vec![(CONTENT_TYPE, XML_TYPE.to_owned()), (DEPTH, depth.to_owned())],
                body,
            };
            let response = match self.http.exchange(request).await {
                Exchanged::Answered(response) => response,
                Exchanged::Lost { message, .. } => {
                    return Err(DiscoveryError::Lost { origin: self.name(), message });
                }
            };
            if response.status == 401 {
                return Err(self.unauthorised());
            }
            let Some(redirect) = response.redirect else {
                return Ok((url, response));
            };
            url = self.ours(redirect.target)?;
        }
        Err(DiscoveryError::Redirects { origin: self.name() })
    }

    /// An address that an answer gives, seen from where it was asked for.
    fn below(&self, asked: &Url, href: &str) -> Result<Url, DiscoveryError> {
        let what = "its own addresses are";
        let unusable = |_| self.refused(what, "one of them is no URL".to_owned());
        self.ours(asked.join(href).map_err(unusable)?)
    }

    fn ours(&self, url: Url) -> Result<Url, DiscoveryError> {
        allowed(&self.origin, url)
    }

    fn name(&self) -> String {
        self.origin.ascii_serialization()
    }

    fn unauthorised(&self) -> DiscoveryError {
        DiscoveryError::Unauthorised { origin: self.name() }
    }

    fn refused(&self, what: &'static str, message: String) -> DiscoveryError {
        DiscoveryError::Refused { origin: self.name(), what, message }
    }
}

/// An address, if credentials that were given for `origin` may go there, without what is no part of a
/// collection's.
fn allowed(origin: &Origin, mut url: Url) -> Result<Url, DiscoveryError> {
    if url.origin() != *origin {
        let is_encrypted = matches!(origin, Origin::Tuple(scheme, ..) if scheme == "https");
        let origin = url.origin().ascii_serialization().chars().take(ORIGIN_LEN_MAX).collect();
        return Err(if url.scheme() == "http" && is_encrypted {
            DiscoveryError::Unencrypted { origin }
        } else {
            DiscoveryError::OtherOrigin { origin }
        });
    }
    // Both cannot fail: of one origin with us, it is http or https.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(DiscoveryError::Address { problem: "cannot be used" });
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// What a resource says of who is asking.
enum Who {
    Named(String),
    /// The resource is a principal by itself.
    Itself,
    Nobody,
}

fn who(member: Member) -> Option<Who> {
    match member.principal {
        Some(Principal::Href(href)) => Some(Who::Named(href)),
        Some(Principal::Unauthenticated) => Some(Who::Nobody),
        None if member.homes.is_empty() => None,
        None => Some(Who::Itself),
    }
}

fn read(response: &Response) -> Option<Vec<Member>> {
    if response.status == 207 { multistatus::read(&response.body) } else { None }
}

/// What an answer that is no help says, without its body.
fn message(response: &Response) -> String {
    match response.status {
        200..=299 => "the answer is of no CalDAV server".to_owned(),
        status => status_text(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrance_is_a_url_a_host_or_a_mail_address() {
        for (address, url) in [
            (" dav.example.com ", "https://dav.example.com/"),
            ("localhost:5232", "https://localhost:5232/"),
            ("anna@example.com", "https://example.com/"),
            ("http://h/dav/?x#y", "http://h/dav/"),
            ("[::1]:5232/dav", "https://[::1]:5232/dav"),
        ] {
            assert_eq!(entrance(address).map(String::from), Ok(url.to_owned()), "{address}");
        }
    }

    #[test]
    fn credentials_are_never_sent_unencrypted_by_a_redirect() {
        let origin = Url::parse("https://h/").unwrap().origin();
        let to = |url| allowed(&origin, Url::parse(url).unwrap());
        let plain = DiscoveryError::Unencrypted { origin: "http://h".to_owned() };
        assert_eq!(to("http://h/dav/"), Err(plain));
        let other = DiscoveryError::OtherOrigin { origin: "https://h:8443".to_owned() };
        assert_eq!(to("https://h:8443/dav/"), Err(other));
        assert_eq!(to("https://u:p@H:443/dav/?x#y"), Ok(Url::parse("https://h/dav/").unwrap()));
        let long = format!("https://{}/", "a.".repeat(400));
        let Err(DiscoveryError::OtherOrigin { origin: told }) = to(&long) else { panic!("told") };
        assert_eq!(told.len(), ORIGIN_LEN_MAX);
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        let long = "x".repeat(ADDRESS_LEN_MAX + 1);
        for (address, problem) in [
            ("", "is empty or too long"),
            (&long, "is empty or too long"),
            ("a b", "holds a blank or a control character"),
            ("a\u{7}b", "holds a blank or a control character"),
            ("https://", "is neither a URL nor a host"),
            ("h:port", "is neither a URL nor a host"),
            ("ftp://h/", "is not an http or https URL"),
            (
                "https://anna:pw@h/",
                "holds credentials: give the user name and the password by themselves",
            ),
        ] {
            assert_eq!(entrance(address), Err(DiscoveryError::Address { problem }), "{address}");
        }
    }
}
