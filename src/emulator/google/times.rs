//! `start` and `end` of an event: a day, or an instant in a zone.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use crate::emulator::local_time::resolve;

/// One end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// All day.
    Day(NaiveDate),
    /// An instant.
    Instant { at: DateTime<Utc>, zone: Tz },
}

impl Point {
    /// Reads `{date}`, or `{dateTime, timeZone}` where the time has an offset or the zone is
    /// given. `name` is `start` or `end`.
    pub(super) fn parse(value: &Value, name: &str, default: Tz) -> Result<Self, ApiError> {
        let Value::Object(fields) = value else {
            return Err(ApiError::invalid(&format!("Invalid {name} time.")));
        };
        for key in fields.keys() {
            if !matches!(key.as_str(), "date" | "dateTime" | "timeZone") {
                let message = format!("Unknown name \"{key}\" at '{name}': Cannot find field.");
                return Err(ApiError::bad_request(&message));
            }
        }
        let zone = match text(fields, "timeZone")? {
            None => None,
            Some(zone) => Some(zone.parse::<Tz>().map_err(|_| {
                ApiError::invalid(&format!("Invalid time zone definition for {name} time."))
            })?),
        };
        match (text(fields, "date")?, text(fields, "dateTime")?) {
            (None, None) => Err(ApiError::required(&format!("Missing {name} time."))),
            (Some(_), Some(_)) => Err(ApiError::invalid(&format!("Invalid {name} time."))),
            (Some(date), None) => NaiveDate::parse_from_str(date, "%Y-%m-%d")
                .ok()
                .filter(has_plain_year)
                .map(Self::Day)
                .ok_or_else(|| ApiError::invalid(&format!("Invalid value for: {name} date"))),
            (None, Some(time)) => parse_instant(time, zone, name, default),
        }
    }

    /// When it is, for comparing; a day begins at midnight in `zone`.
    pub(super) fn instant(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Day(day) => resolve(day.and_time(chrono::NaiveTime::MIN), zone),
            Self::Instant { at, .. } => at,
        }
    }

    /// The zone that it is said in, if it is an instant.
    pub(super) fn zone(self) -> Option<Tz> {
        match self {
            Self::Day(_) => None,
            Self::Instant { zone, .. } => Some(zone),
        }
    }

    /// As the API shows it: whole seconds, with the offset of its zone. So the text seldom is the
    /// one that was sent, and only a comparison of instants is safe.
    pub(super) fn render(self) -> Value {
        match self {
            Self::Day(day) => json!({"date": day.format("%Y-%m-%d").to_string()}),
            Self::Instant { at, zone } => {
                let local = at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string();
                let text = local.strip_suffix("+00:00").map(|local| format!("{local}Z"));
                json!({"dateTime": text.unwrap_or(local), "timeZone": zone.name()})
            }
        }
    }
}

/// Both ends, of one kind, the end after the start.
pub(super) fn check_range(start: Point, end: Point, zone: Tz) -> Result<(), ApiError> {
    match (start, end) {
        (Point::Day(_), Point::Day(_)) | (Point::Instant { .. }, Point::Instant { .. }) => {}
        (Point::Day(_), Point::Instant { .. }) | (Point::Instant { .. }, Point::Day(_)) => {
            return Err(ApiError::invalid(
                "Start and end times must either both be date or both be dateTime.",
            ));
        }
    }
    if end.instant(zone) <= start.instant(zone) {
        return Err(ApiError::time_range_empty());
    }
    Ok(())
}

/// A parameter of a query: an instant with its offset.
pub(super) fn parse_parameter(name: &str, value: &str) -> Result<DateTime<Utc>, ApiError> {
    let parsed = DateTime::parse_from_rfc3339(value).ok().map(|at| at.with_timezone(&Utc));
    parsed.ok_or_else(|| ApiError::bad_request(&format!("Invalid value for: {name}")))
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ApiError::invalid(&format!("Invalid value for: {name}: expected a string")))
        }
    }
}

fn parse_instant(text: &str, zone: Option<Tz>, name: &str, default: Tz) -> Result<Point, ApiError> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text)
        && has_plain_year(&at)
    {
        let at = whole_seconds(at.with_timezone(&Utc));
        return Ok(Point::Instant { at, zone: zone.unwrap_or(default) });
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
    let Some(local) = local.ok().filter(has_plain_year) else {
        return Err(ApiError::invalid(&format!("Invalid value for: {name} dateTime")));
    };
    let Some(zone) = zone else {
        return Err(ApiError::required(&format!("Missing time zone definition for {name} time.")));
    };
    Ok(Point::Instant { at: whole_seconds(resolve(local, zone)), zone })
}

/// The API keeps no fractions of a second.
fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_nanosecond(0).unwrap_or(at)
}

/// Years of four digits: whatever is added to them stays within what `chrono` can say.
fn has_plain_year(date: &impl Datelike) -> bool {
    (1..=9998).contains(&date.year())
}

/// The day after: the end of an all-day event of one day.
pub(super) fn day_after(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &Value) -> Result<Point, ApiError> {
        Point::parse(value, "start", Tz::UTC)
    }

    #[test]
    fn a_time_is_shown_with_the_offset_of_its_zone() {
        let sent = json!({"dateTime": "2026-11-23T09:00:00Z", "timeZone": "Europe/Paris"});
        let shown = parsed(&sent).unwrap().render();
        let expected = json!({"dateTime": "2026-11-23T10:00:00+01:00", "timeZone": "Europe/Paris"});
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_local_time_needs_a_zone() {
        parsed(&json!({"dateTime": "2026-11-23T09:00:00"})).unwrap_err();
        parsed(&json!({"dateTime": "2026-11-23T09:00:00", "timeZone": "Asia/Tokyo"})).unwrap();
    }

    #[test]
    fn a_local_time_in_a_gap_or_overlap_is_some_instant() {
        for local in ["2026-03-29T02:30:00", "2026-10-25T02:30:00"] {
            parsed(&json!({"dateTime": local, "timeZone": "Europe/Berlin"})).unwrap();
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            json!("2026-11-23"),
            json!({}),
            json!({"dateTime": 5}),
            json!({"dateTime": "tomorrow", "timeZone": "UTC"}),
            json!({"dateTime": "2026-11-23T09:00:00Z", "timeZone": "Mars/Olympus"}),
            json!({"dateTime": "2026-11-23T09:00:00Z", "date": "2026-11-23"}),
            json!({"dateTime": "2026-11-23T09:00:00Z", "zone": "UTC"}),
            json!({"date": "+99999-01-01"}),
        ] {
            assert!(parsed(&wrong).is_err(), "{wrong}");
        }
    }
}
