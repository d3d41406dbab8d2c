//! `dateTimeTimeZone`: a local time without an offset, and the zone that it is of (B10).

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::zones;
use crate::emulator::local_time::resolve;

/// One end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: DateTime<Utc>,
    pub(super) zone: Tz,
}

/// As Graph writes a time: with seven digits of a second, and no offset.
const FORM: &str = "%Y-%m-%dT%H:%M:%S%.9f";

impl Point {
    /// Reads an object whose fields are of their types. `name` is `start` or `end`.
    pub(super) fn parse(fields: &Map<String, Value>, name: &str) -> Result<Self, ApiError> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let time = text("dateTime").ok_or_else(ApiError::property)?;
        let zone = text("timeZone").unwrap_or_default();
        let zone = zones::find(zone).ok_or_else(|| ApiError::zone(zone))?;
        let local = NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%.f");
        let local = local.or_else(|_| NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M"));
        let Some(local) = local.ok().filter(has_outlooks_year) else {
            let message = format!("The value '{time}' of '{name}' is no dateTime without offset.");
            return Err(ApiError::invalid(&message));
        };
        Ok(Self { at: resolve(local, zone), zone })
    }

    /// In a zone, under the name by which the client asked for it.
    pub(super) fn render(self, zone: Tz, name: &str) -> Value {
        let local = self.at.with_timezone(&zone).format(FORM).to_string();
        let cut = local.get(..local.len() - 2).unwrap_or(&local);
        json!({"dateTime": cut, "timeZone": name})
    }

    pub(super) fn is_midnight(self) -> bool {
        self.at.with_timezone(&self.zone).time() == NaiveTime::MIN
    }
}

/// Years that Outlook can show: whatever is added to them stays within what `chrono` can say.
fn has_outlooks_year(date: &impl Datelike) -> bool {
    (1601..=4500).contains(&date.year())
}

/// `startDateTime` and its like: with an offset, or in UTC.
pub(super) fn parse_parameter(text: &str) -> Option<DateTime<Utc>> {
    let offset = DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc));
    let local = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let day = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    let at = offset.or_else(|| Some(local().or_else(day)?.and_utc()))?;
    has_outlooks_year(&at).then_some(at)
}

/// `createdDateTime` and its like.
pub(super) fn render_instant(at: DateTime<Utc>) -> String {
    let text = at.format(FORM).to_string();
    format!("{}Z", text.get(..text.len() - 2).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(time: &str, zone: &str) -> Result<Point, ApiError> {
        let value = json!({"dateTime": time, "timeZone": zone});
        Point::parse(value.as_object().unwrap(), "start")
    }

    #[test]
    fn a_time_is_shown_with_seven_digits_in_the_zone_that_was_asked_for() {
        let point = parsed("2026-11-23T09:00:00", "Romance Standard Time").unwrap();
        let utc = json!({"dateTime": "2026-11-23T08:00:00.0000000", "timeZone": "UTC"});
        assert_eq!(point.render(Tz::UTC, "UTC"), utc);
        let tokyo = json!({"dateTime": "2026-11-23T17:00:00.0000000", "timeZone": "Asia/Tokyo"});
        assert_eq!(point.render(Tz::Asia__Tokyo, "Asia/Tokyo"), tokyo);
    }

    #[test]
    fn a_time_with_an_offset_or_without_a_zone_is_none() {
        for (time, zone) in [
            ("2026-11-23T09:00:00Z", "UTC"),
            ("2026-11-23T09:00:00+01:00", "UTC"),
            ("2026-11-23", "UTC"),
            ("0001-01-01T00:00:00", "UTC"),
            ("2026-11-23T09:00:00", ""),
            ("2026-11-23T09:00:00", "Mars/Olympus"),
        ] {
            assert!(parsed(time, zone).is_err(), "{time} {zone}");
        }
    }

    #[test]
    fn a_local_time_in_a_gap_or_overlap_is_some_instant() {
        for local in ["2026-03-29T02:30:00", "2026-10-25T02:30:00.1234567"] {
            parsed(local, "W. Europe Standard Time").unwrap();
        }
    }
}
