//! What a local time of a zone is: a question that every provider answers in some way.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// A local time: in an overlap the earlier, in a gap an hour later.
pub(super) fn resolve(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let later = || zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest();
    let resolved = zone.from_local_datetime(&local).earliest().or_else(later);
    // A gap of a whole day (an island that crossed the date line) leaves only UTC.
    resolved.map_or_else(|| local.and_utc(), |at| at.with_timezone(&Utc))
}
