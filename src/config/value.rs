//! What a setting's text means: one parser a kind, and the words for what is allowed. A parser's
//! complaint never repeats the value: it may be a secret.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use booking::IcalUid;
use booking::content::Template;
use chrono::{DateTime, Utc};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use ipnet::IpNet;
use secrecy::SecretBox;
use secrecy::zeroize::Zeroizing;
use tracing_subscriber::EnvFilter;
use url::Url;
use uuid::Uuid;

use super::settings::Backend;
use super::table::Allowed;
use crate::connection::seal::KEY_ID_LEN_MAX;

/// What is wrong with a value, as the end of the sentence "key: it …".
pub type Problem = String;

/// The longest list of ids in an allowlist.
pub const IDS_MAX: usize = 10_000;

/// The longest domain of a UID: with a booking id of full length it must fit an iCalendar UID.
pub const DOMAIN_LEN_MAX: usize =
    IcalUid::LEN_MAX - booking::BookingId::LEN_MAX - "booking-@".len();

impl fmt::Display for Allowed {
    /// What is allowed, for an error and for the README.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Number { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Rising { min, max, count_max } => {
                write!(f, "1 to {count_max} rising whole numbers from {min} to {max}, with commas")
            }
            Self::Flag => f.write_str("`true` or `false`"),
            Self::OnlyTrue => f.write_str("`true`; anything else is off"),
            Self::OneOf(words) => write!(f, "`{}`", words.join("`, `")),
            Self::Uuid => f.write_str("a UUID"),
            Self::Uuids => f.write_str("UUIDs with commas; empty allows all"),
            Self::Moment => f.write_str("a date and time as in RFC 3339, `2026-01-31T00:00:00Z`"),
            Self::HttpUrl => f.write_str("an `http://` or `https://` URL without credentials"),
            Self::SecureUrl => f.write_str(
                "an `https://` URL without credentials, or an `http://` one of this machine",
            ),
            Self::StoreUrl => f.write_str("`postgres://…`, `sqlite:path` or `sqlite::memory:`"),
            Self::Template => {
                write!(f, "a text with `{{{}}}`", Template::FIELDS.join("}`, `{"))
            }
            Self::Domain => {
                write!(f, "letters, digits, `.` and `-`, at most {DOMAIN_LEN_MAX} of them")
            }
            Self::Listen => f.write_str("`address:port`, as in `127.0.0.1:8080` or `[::]:8080`"),
            Self::Token => write!(f, "{TOKEN_LEN_MIN} or more visible ASCII characters"),
            Self::Key32 => f.write_str("32 bytes in Base64 (44 characters) or hex (64)"),
            Self::NamedKeys => {
                write!(
                    f,
                    "`name=key` with commas between, at most {OLD_KEYS_MAX}; a key is 32 bytes in \
                     Base64 or hex"
                )
            }
            Self::Networks => f.write_str(
                "networks with commas, as in `10.1.0.0/16`, `192.0.2.7/32` or `fd12:3456::/32`",
            ),
            Self::Origins => f.write_str(
                "origins with commas, as in `https://bookings.example.com`, or `http://` ones of this \
                 machine",
            ),
            Self::Share => f.write_str("a number from 0 to 1"),
            Self::Pairs => {
                write!(f, "`name=value` with commas between, percent-encoded, at most {PAIRS_MAX}")
            }
            Self::File => f.write_str("the path of a file"),
            Self::LogFilter => f.write_str(
                "`error`, `warn`, `info`, `debug`, `trace`, or a list of `module=level`",
            ),
        }
    }
}

/// A text that any log line and any protocol can carry.
pub fn text(value: &str) -> Result<String, Problem> {
    match value {
        "" => Err("is empty".to_owned()),
        _ if value.contains('\u{FFFD}') => Err("holds bytes that are not UTF-8".to_owned()),
        _ if value.chars().any(char::is_control) => Err("holds a control character".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

/// The shortest token that opens anything.
pub const TOKEN_LEN_MIN: usize = 16;

/// A secret that a header can carry, and that nobody guesses.
pub fn token(value: &str) -> Result<String, Problem> {
    match value {
        _ if !value.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("holds a character that no HTTP header can carry".to_owned())
        }
        _ if value.len() < TOKEN_LEN_MIN => Err("is too short".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

/// An address of this machine and a port.
pub fn listen(value: &str) -> Result<SocketAddr, Problem> {
    value.parse().map_err(|_| "is no address and port".to_owned())
}

/// A whole number from `min` to `max`.
pub fn number(value: &str, min: u64, max: u64) -> Result<u64, Problem> {
    let number: u64 = value.parse().map_err(|_| "is not a whole number".to_owned())?;
    match number {
        _ if number < min => Err("is too small".to_owned()),
        _ if number > max => Err("is too large".to_owned()),
        _ => Ok(number),
    }
}

/// Rising whole numbers.
pub fn rising(value: &str, min: u64, max: u64, count_max: usize) -> Result<Vec<u64>, Problem> {
    let numbers = value
        .split(',')
        .map(|item| number(item.trim(), min, max))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| format!("holds an item that {problem}"))?;
    if numbers.len() > count_max {
        return Err("has too many items".to_owned());
    }
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("does not rise".to_owned());
    }
    Ok(numbers)
}

/// A number from 0 to 1.
pub fn share(value: &str) -> Result<f64, Problem> {
    let share: f64 = value.parse().map_err(|_| "is not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("is not from 0 to 1".to_owned()) }
}

/// The longest list of pairs.
pub const PAIRS_MAX: usize = 64;

/// Names and values, as `OTEL_RESOURCE_ATTRIBUTES` has them: those of the W3C's baggage, without its
/// properties (<https://www.w3.org/TR/baggage/#definition>).
pub fn pairs(value: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    if value.trim().is_empty() {
        return Ok(pairs);
    }
    for (at, item) in value.split(',').enumerate() {
        let at = at + 1;
        let pair = item.split_once('=').map(|(name, value)| (decoded(name), decoded(value)));
        match pair {
            Some((Some(name), Some(value))) if !name.is_empty() => pairs.push((name, value)),
            Some(_) | None => return Err(format!("has no `name=value` at place {at}")),
        }
        if pairs.len() > PAIRS_MAX {
            return Err(format!("has more than {PAIRS_MAX} pairs"));
        }
    }
    Ok(pairs)
}

/// A percent-encoded text, if it is one, and UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.trim().bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// `true` or `false`.
pub fn flag(value: &str) -> Result<bool, Problem> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither".to_owned()),
    }
}

/// A UUID.
pub fn uuid(value: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(value).map_err(|_| "is not a UUID".to_owned())
}

/// UUIDs, with commas between; only what is blank throughout is an empty list, so that a slip
/// never allows all.
pub fn uuids(value: &str) -> Result<Vec<Uuid>, Problem> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut ids = Vec::new();
    for (at, item) in value.split(',').enumerate() {
        let id = Uuid::try_parse(item.trim());
        ids.push(id.map_err(|_| format!("has a malformed id at place {}", at + 1))?);
        if ids.len() > IDS_MAX {
            return Err(format!("has more than {IDS_MAX} ids"));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The longest list of networks.
pub const NETWORKS_MAX: usize = 200;

/// Networks, with commas between. One whose address has more bits than its length is a slip, and not
/// widened.
pub fn networks(value: &str) -> Result<Vec<IpNet>, Problem> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut networks = Vec::new();
    for (at, item) in value.split(',').enumerate() {
        let at = at + 1;
        let net: IpNet = item.trim().parse().map_err(|_| match item.trim().parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("has an address without a length at place {at} (/32?)"),
            Ok(IpAddr::V6(_)) => format!("has an address without a length at place {at} (/128?)"),
            Err(_) => format!("has no network at place {at}"),
        })?;
        if net != net.trunc() {
            return Err(format!("has {net} at place {at}; is {} meant?", net.trunc()));
        }
        networks.push(net);
        if networks.len() > NETWORKS_MAX {
            return Err(format!("has more than {NETWORKS_MAX} networks"));
        }
    }
    Ok(networks)
}

/// A moment.
pub fn moment(value: &str) -> Result<DateTime<Utc>, Problem> {
    let moment = DateTime::parse_from_rfc3339(value);
    moment.map(|moment| moment.to_utc()).map_err(|_| "is not such a moment".to_owned())
}

/// An http or https URL without credentials.
pub fn http_url(value: &str) -> Result<Url, Problem> {
    let url = Url::parse(value).map_err(|_| "is not a URL".to_owned())?;
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("has credentials in it; they have settings of their own".to_owned())
        }
        "http" | "https" => Ok(url),
        _ => Err("is neither http nor https".to_owned()),
    }
}

/// A URL to which secrets are sent: encrypted, or to this machine.
pub fn secure_url(value: &str) -> Result<Url, Problem> {
    let url = http_url(value)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    if url.scheme() == "http" && !is_local(&url) {
        return Err("is neither encrypted nor of this machine".to_owned());
    }
    Ok(url)
}

/// The longest list of origins.
const ORIGINS_MAX: usize = 100;

/// Origins (RFC 6454), with commas between: nothing stands behind the port.
pub fn origins(value: &str) -> Result<Vec<Url>, Problem> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut origins = Vec::new();
    for (at, item) in value.split(',').enumerate() {
        let at = at + 1;
        let url = secure_url(item.trim());
        let url = url.map_err(|problem| format!("has at place {at} what {problem}"))?;
        if url.path() != "/" {
            return Err(format!("has a path at place {at}: an origin ends with the host or port"));
        }
        origins.push(url);
        if origins.len() > ORIGINS_MAX {
            return Err(format!("has more than {ORIGINS_MAX} origins"));
        }
    }
    Ok(origins)
}

/// Whether a URL's host is this machine by its name: nothing is asked.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Which database a URL means. SQLite is part of binaries with the Cargo feature `demo` only.
pub fn backend(value: &str) -> Result<Backend, Problem> {
    if let Some(path) = value.strip_prefix("sqlite:") {
        return match path {
            "" | "//" => Err("names no file".to_owned()),
            _ if cfg!(feature = "demo") => Ok(Backend::Sqlite),
            _ => Err("asks for SQLite, and this binary is built without it (Cargo feature `demo`)"
                .to_owned()),
        };
    }
    let url = Url::parse(value).map_err(|_| "is not a URL".to_owned())?;
    match url.scheme() {
        "postgres" | "postgresql" => Ok(Backend::Postgres),
        _ => Err("is neither PostgreSQL's nor SQLite's".to_owned()),
    }
}

/// A template.
pub fn template(value: &str) -> Result<Template, Problem> {
    Template::parse(value).map_err(|error| format!("is not a template: {error}"))
}

/// The domain part of a UID.
pub fn domain(value: &str) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    match value.len() {
        0 => Err("is empty".to_owned()),
        len if len > DOMAIN_LEN_MAX => Err(format!("has {len} characters")),
        _ if !value.bytes().all(fits) => Err("has another character".to_owned()),
        _ => Ok(value.to_ascii_lowercase()),
    }
}

/// 32 bytes.
pub fn key32(value: &str) -> Result<SecretBox<[u8; 32]>, Problem> {
    let coding = if value.len() == 64 { HEXLOWER_PERMISSIVE } else { BASE64 };
    let bytes = coding.decode(value.trim().as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| "is not 32 bytes".to_owned())?;
    let key: [u8; 32] =
        bytes.as_slice().try_into().map_err(|_| format!("is {} bytes and not 32", bytes.len()))?;
    Ok(SecretBox::new(Box::new(key)))
}

/// The most old keys that are kept.
pub const OLD_KEYS_MAX: usize = 8;

/// A key and its name.
pub type NamedKey = (String, SecretBox<[u8; 32]>);

/// Keys with their names, with commas or line breaks between.
pub fn named_keys(value: &str) -> Result<Vec<NamedKey>, Problem> {
    let items = value.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    let mut keys: Vec<NamedKey> = Vec::new();
    for (at, item) in items.enumerate() {
        let place = at + 1;
        if keys.len() == OLD_KEYS_MAX {
            return Err(format!("has more than {OLD_KEYS_MAX} keys"));
        }
        let named = item.split_once('=');
        let (name, key) = named.ok_or_else(|| format!("has no `name=` at place {place}"))?;
        let name =
            text(name.trim()).map_err(|it| format!("has a name at place {place} that {it}"))?;
        if name.len() > KEY_ID_LEN_MAX {
            return Err(format!("has a name of more than {KEY_ID_LEN_MAX} bytes at place {place}"));
        }
        if keys.iter().any(|(other, _)| *other == name) {
            return Err(format!("has a name for the second time at place {place}"));
        }
        let key =
            key32(key.trim()).map_err(|it| format!("has a key at place {place} that {it}"))?;
        keys.push((name, key));
    }
    if keys.is_empty() { Err("is empty".to_owned()) } else { Ok(keys) }
}

/// A filter for log lines.
pub fn log_filter(value: &str) -> Result<String, Problem> {
    match EnvFilter::try_new(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err("is no such filter".to_owned()),
    }
}
