//! PURE: what a time zone's rules say about an instant, and whether a local time can say it back.

pub mod windows;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::{OffsetComponents as _, OffsetName as _, Tz};

/// The first year whose local times are written. Before it, zones kept the sun's time, to the
/// second.
const YEAR_MIN: i32 = 1970;
/// The last one: the zone tables that we carry end with it, and a calendar with longer tables
/// would read another instant.
const YEAR_MAX: i32 = 2098;
/// The most years for which rules are written; a longer event is written in UTC.
const YEARS_MAX: i32 = 5;

/// Whether a zone is UTC under one of its names.
pub fn is_utc(zone: Tz) -> bool {
    matches!(
        zone,
        Tz::UTC
            | Tz::UCT
            | Tz::Universal
            | Tz::Zulu
            | Tz::Etc__UTC
            | Tz::Etc__UCT
            | Tz::Etc__Universal
            | Tz::Etc__Zulu
    )
}

/// Whether our tables reach an instant.
pub fn reaches(at: DateTime<Utc>) -> bool {
    (YEAR_MIN..=YEAR_MAX).contains(&at.year())
}

/// Whether a zone's local time says this instant: it does not in UTC (which needs no zone),
/// beyond our tables, and in the second pass of the hour that is lived twice, as RFC 5545 §3.3.5
/// reads a local time as its first.
pub fn says(zone: Tz, at: DateTime<Utc>) -> bool {
    if is_utc(zone) || !reaches(at) {
        return false;
    }
    let local = at.with_timezone(&zone).naive_local();
    zone.from_local_datetime(&local).earliest().is_some_and(|read| read == at)
}

/// What is needed of a zone to read local times of some years.
#[derive(Debug)]
pub struct Rules {
    /// The zone.
    pub zone: Tz,
    /// In order of time; the first holds from before the years on.
    pub observances: Vec<Observance>,
}

/// An offset, and since when it holds.
#[derive(Debug)]
pub struct Observance {
    /// Whether it is daylight saving time.
    pub daylight: bool,
    /// Its first moment, as a clock said that still showed the offset of before.
    pub onset: NaiveDateTime,
    /// The offset of before, seconds east of UTC.
    pub from_s: i32,
    /// The offset since then.
    pub to_s: i32,
    /// Its short name, if it has one.
    pub name: Option<String>,
}

/// The rules for all the years that `start` to `end` touch; `None` if those are too many, or
/// beyond our tables.
pub fn rules(zone: Tz, start: DateTime<Utc>, end: DateTime<Utc>) -> Option<Rules> {
    let years = start.year()..=end.year();
    if !reaches(start) || !reaches(end) || end.year() - start.year() >= YEARS_MAX {
        return None;
    }
    // A day more on either side: the local year begins up to 14 hours earlier or 12 later.
    let day = TimeDelta::days(1);
    let first =
        NaiveDate::from_ymd_opt(*years.start(), 1, 1)?.and_hms_opt(0, 0, 0)?.and_utc() - day;
    let last =
        NaiveDate::from_ymd_opt(*years.end() + 1, 1, 1)?.and_hms_opt(0, 0, 0)?.and_utc() + day;

    let mut observances = vec![observance(zone, first, offset_s(zone, first))];
    let mut at = first;
    while at < last {
        let next = at + day;
        if offset_s(zone, at) != offset_s(zone, next) {
            observances.push(observance(zone, change(zone, at, next), offset_s(zone, at)));
        }
        at = next;
    }
    Some(Rules { zone, observances })
}

/// The first second after `before` at which the offset of `after` holds; there is one change
/// between the two.
fn change(zone: Tz, before: DateTime<Utc>, after: DateTime<Utc>) -> DateTime<Utc> {
    let was = offset_s(zone, before);
    let (mut low, mut high) = (before, after);
    while high - low > TimeDelta::seconds(1) {
        let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
        if offset_s(zone, middle) == was {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

fn observance(zone: Tz, at: DateTime<Utc>, from_s: i32) -> Observance {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc());
    Observance {
        // Where winter is the exception by law (Ireland), summer is still not daylight saving.
        daylight: offset.dst_offset() > TimeDelta::zero(),
        onset: at.naive_utc() + TimeDelta::seconds(i64::from(from_s)),
        from_s,
        to_s: offset.fix().local_minus_utc(),
        name: offset.abbreviation().map(ToOwned::to_owned),
    }
}

fn offset_s(zone: Tz, at: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}
