//! Reading the fields of an event's JSON, as Google's and Graph's servers do: a merging update
//! leaves what it does not name, and removes what it names as `null`.

use chrono::{DateTime, LocalResult, NaiveDateTime, SecondsFormat, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use super::event::Marker;

/// A JSON object.
pub(super) type Fields = Map<String, Value>;

/// A body, or a field in it, that is none of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A body as an object.
pub(super) fn object(body: &[u8]) -> Result<Fields, Malformed> {
    serde_json::from_slice(body).map_err(|_| Malformed)
}

/// The text of a field; `None` if it is not named or `null`.
pub(super) fn text(fields: &Fields, key: &str) -> Result<Option<String>, Malformed> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Malformed)
        }
    }
}

/// What becomes of a text by what a field says of it.
pub(super) fn merge(text: &mut Option<String>, by: &Fields, key: &str) -> Result<(), Malformed> {
    if by.contains_key(key) {
        *text = self::text(by, key)?;
    }
    Ok(())
}

/// A field that has fields of its own; `None` if it is not named or `null`.
pub(super) fn fields<'a>(of: &'a Fields, key: &str) -> Result<Option<&'a Fields>, Malformed> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_)) => {
            Err(Malformed)
        }
    }
}

/// RFC 3339, in UTC.
pub(super) fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A local time of a zone in UTC: of an hour that is lived twice the first (RFC 5545 §3.3.5); of
/// one that is skipped nothing, as the service never writes one.
pub(super) fn utc_of(local: NaiveDateTime, zone: &str) -> Result<String, Malformed> {
    let zone: Tz = zone.parse().map_err(|_| Malformed)?;
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(utc(at.to_utc())),
        LocalResult::None => Err(Malformed),
    }
}

/// Whether a time is after another one.
pub(super) fn is_after(time: &str, other: &str) -> bool {
    let at = |text| DateTime::parse_from_rfc3339(text).ok();
    at(time).zip(at(other)).is_some_and(|(time, other)| time > other)
}

/// A marker from its texts; without the last it is one of before.
pub(super) fn marker(
    uid: Option<String>,
    connection: Option<String>,
    revision: Option<String>,
    digest: Option<String>,
    text: Option<String>,
) -> Option<Marker> {
    let revision = revision?.parse().ok()?;
    Some(Marker { uid: uid?, connection: connection?, revision, digest: digest?, text })
}
