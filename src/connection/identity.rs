//! What a connection is called (rule R17): derived from what cannot change, so that removing and
//! adding the same account changes no name, and another calendar is another connection.

use booking::{CalendarKind, ConnectionId, ProviderId};
use url::Url;
use uuid::Uuid;

/// The longest name or URL of a calendar, in bytes.
pub const CALENDAR_LEN_MAX: usize = 2_000;

/// Why a text does not name a calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Nothing, or too much.
    #[error("a calendar's name has 1 to {CALENDAR_LEN_MAX} bytes, and this has {len}")]
    Length {
        /// Its bytes.
        len: usize,
    },
    /// A blank or a control character.
    #[error("a calendar's name holds neither blanks nor control characters")]
    Blank,
    /// Not a URL.
    #[error("a CalDAV calendar is named by the URL of its collection, and this is none")]
    NotUrl,
    /// Not HTTP.
    #[error("a CalDAV calendar's URL begins with https:// (or http://)")]
    NotHttp,
    /// Credentials in the URL, where they would be stored and logged.
    #[error("the URL holds credentials: give the user name and the password by themselves")]
    Credentials,
    /// A collection has no query and no fragment.
    #[error("a collection's URL has neither a query nor a fragment")]
    Query,
}

/// The one way to write a calendar's name, so that two spellings are one connection.
///
/// For CalDAV the URL of the collection: host and scheme in lower case, no default port, no dot
/// segments (RFC 3986 §6.2), percent-encoding only where needed and in capitals (§6.2.2.2), a
/// slash at the end (RFC 4918 §5.2 says that a collection has one). For the others the calendar's
/// id as it is.
pub fn calendar_name(kind: CalendarKind, text: &str) -> Result<String, CalendarError> {
    let text = text.trim();
    match text.len() {
        len @ 0 => return Err(CalendarError::Length { len }),
        len if len > CALENDAR_LEN_MAX => return Err(CalendarError::Length { len }),
        _ => {}
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(CalendarError::Blank);
    }
    match kind {
        CalendarKind::Caldav => collection(text),
        CalendarKind::Google | CalendarKind::Microsoft => Ok(text.to_owned()),
    }
}

fn collection(text: &str) -> Result<String, CalendarError> {
    let mut url = Url::parse(text).map_err(|_| CalendarError::NotUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(CalendarError::NotHttp);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CalendarError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(CalendarError::Query);
    }
    let mut path = plain_path(url.path());
    if !path.ends_with('/') {
        path.push('/');
    }
    url.set_path(&path);
    Ok(url.into())
}

/// A path whose percent-encoding is canonical: unreserved characters as themselves, the rest in
/// capitals (RFC 3986 §§2.3, 6.2.2). A `%` that encodes nothing stays.
fn plain_path(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let byte = rest.get(..2).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
        let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            plain.push('%');
            continue;
        };
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(&rest[..2].to_ascii_uppercase());
        }
        rest = &rest[2..];
    }
    plain.push_str(rest);
    plain
}

/// A connection's id. `subject` is the account's immutable subject, `calendar` comes from
/// [`calendar_name`]. Each part is led by its length, so that no two lists of parts look alike.
pub fn connection_id(
    installation: Uuid,
    provider: ProviderId,
    kind: CalendarKind,
    subject: &str,
    calendar: &str,
) -> ConnectionId {
    let mut name = Vec::new();
    let provider = provider.0.to_string();
    for part in [provider.as_str(), kind.name(), subject, calendar] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    ConnectionId(Uuid::new_v5(&installation, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLATION: Uuid = Uuid::from_u128(1);
    const PROVIDER: ProviderId = ProviderId(Uuid::from_u128(2));

    fn caldav(text: &str) -> Result<String, CalendarError> {
        calendar_name(CalendarKind::Caldav, text)
    }

    #[test]
    fn spellings_of_one_collection_are_one_name() {
        let spellings = [
            "https://dav.example.com/anna/work/",
            "https://dav.example.com/anna/work",
            "HTTPS://DAV.Example.COM:443/anna/work/",
            " https://dav.example.com/anna/./x/../work ",
            "https://dav.example.com/%61nna/w%6Frk/",
        ];
        for spelling in spellings {
            assert_eq!(caldav(spelling).unwrap(), spellings[0], "{spelling}");
        }
    }

    #[test]
    fn what_may_be_another_collection_keeps_its_name() {
        assert_eq!(caldav("http://h:5232/a").unwrap(), "http://h:5232/a/");
        assert_ne!(caldav("http://h/a").unwrap(), caldav("https://h/a").unwrap());
        assert_ne!(caldav("http://h/a").unwrap(), caldav("http://h/A").unwrap());
        assert_eq!(caldav("http://h/a%2fb").unwrap(), "http://h/a%2Fb/");
        assert_eq!(caldav("http://h/100%").unwrap(), caldav("http://h/100%/").unwrap());
    }

    #[test]
    fn a_name_is_its_own_name() {
        for text in ["https://h/ä/b%2Fc%7E", "http://h", "http://h/%zz/%e4"] {
            let name = caldav(text).unwrap();
            assert_eq!(caldav(&name).unwrap(), name);
        }
    }

    #[test]
    fn what_names_no_calendar_is_refused() {
        assert_eq!(caldav(""), Err(CalendarError::Length { len: 0 }));
        assert_eq!(caldav("anna/work"), Err(CalendarError::NotUrl));
        assert_eq!(caldav("ftp://h/a"), Err(CalendarError::NotHttp));
        assert_eq!(caldav("https://anna:pw@h/a"), Err(CalendarError::Credentials));
        assert_eq!(caldav("https://h/a?b"), Err(CalendarError::Query));
        assert_eq!(caldav("https://h/a b"), Err(CalendarError::Blank));
        let long = "x".repeat(CALENDAR_LEN_MAX + 1);
        assert_eq!(
            calendar_name(CalendarKind::Google, &long),
            Err(CalendarError::Length { len: long.len() })
        );
    }

    #[test]
    fn every_part_of_an_identity_tells() {
        let kind = CalendarKind::Google;
        let one = connection_id(INSTALLATION, PROVIDER, kind, "anna", "primary");
        assert_eq!(one, connection_id(INSTALLATION, PROVIDER, kind, "anna", "primary"));
        let others = [
            connection_id(Uuid::from_u128(9), PROVIDER, kind, "anna", "primary"),
            connection_id(INSTALLATION, ProviderId(INSTALLATION), kind, "anna", "primary"),
            connection_id(INSTALLATION, PROVIDER, CalendarKind::Caldav, "anna", "primary"),
            connection_id(INSTALLATION, PROVIDER, kind, "ann", "aprimary"),
            connection_id(INSTALLATION, PROVIDER, kind, "anna", "primary2"),
        ];
        assert!(others.iter().all(|other| *other != one));
    }

    /// Names in calendars derive from this: it may never change.
    #[test]
    fn an_identity_stays_what_it_was() {
        let id = connection_id(INSTALLATION, PROVIDER, CalendarKind::Caldav, "a", "https://h/c/");
        assert_eq!(id.to_string(), "04eac14b-a893-5e2e-8772-9efbcaa95b84");
    }
}
