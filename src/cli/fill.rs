//! How far a connection is filled with the bookings that were there before it, for people and as JSON.

use std::io::Write;
use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::out::Out;
use crate::emit::limits::Limits;
use crate::store::{CountedConnection, Fill};

/// The cell of a table.
pub(super) fn cell(fill: Option<&Fill>) -> String {
    match fill {
        None => "-".to_owned(),
        Some(Fill { left: 0, .. }) => "filled".to_owned(),
        Some(fill) => format!("{}/{}", filled(fill), fill.total),
    }
}

/// Says of one that is being filled since when, and how long it takes at least.
pub(super) fn tell(
    counted: &CountedConnection,
    limits: &Limits,
    out: &mut Out<impl Write>,
) -> std::io::Result<()> {
    let Some(fill) = counted.fill.filter(|fill| fill.left > 0) else {
        return Ok(());
    };
    let id = counted.connection.id;
    writeln!(
        out,
        "\n{id} is being filled since {}: {} of {} upcoming events are not there yet",
        fill.since.to_rfc3339_opts(SecondsFormat::Secs, true),
        fill.left,
        fill.total
    )?;
    if let Some(least) = least(counted, &fill, limits) {
        let minutes = least.as_secs().div_ceil(60);
        writeln!(out, "  the rest takes {minutes} min or more at the pace of its limit")?;
    }
    writeln!(out, "  what is booked meanwhile goes first")
}

pub(super) fn to_json(counted: &CountedConnection, limits: &Limits) -> Value {
    let Some(fill) = &counted.fill else {
        return Value::Null;
    };
    json!({
        "since": fill.since.to_rfc3339_opts(SecondsFormat::Secs, true),
        "total": fill.total,
        "filled": filled(fill),
        "left": fill.left,
        "seconds_left_min": least(counted, fill, limits).map(|least| least.as_secs()),
    })
}

fn filled(fill: &Fill) -> i64 {
    (fill.total - fill.left).max(0)
}

/// The least time that the rest takes; `None`: nothing limits it but its calendar.
fn least(counted: &CountedConnection, fill: &Fill, limits: &Limits) -> Option<Duration> {
    let rate = limits.of(counted.connection.kind).connection?;
    Some(rate.time_of(u32::try_from(fill.left).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use booking::{CalendarKind, ConnectionId, ProviderId};
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::emit::limits::{Limit, Rate};
    use crate::store::{ConnectionRow, ConnectionState};

    fn counted(left: i64) -> CountedConnection {
        let connection = ConnectionRow {
            id: ConnectionId(Uuid::from_u128(1)),
            provider: ProviderId(Uuid::from_u128(2)),
            kind: CalendarKind::Google,
            subject: String::new(),
            calendar: String::new(),
            base_url: String::new(),
            sealed: Vec::new(),
            state: ConnectionState::Active,
            parked_reason: None,
            renewal_failures: 0,
            renewal_error: None,
            destination: true,
            halted: None,
        };
        let since = DateTime::from_timestamp(1_893_456_000, 0).expect("a time");
        let (pending, live, drift, swept, last_error) = (left, 0, 0, None, None);
        let fill = Some(Fill { since, total: 100_000, left });
        CountedConnection { connection, pending, live, drift, swept, last_error, fill }
    }

    fn limits() -> Limits {
        let google = Limit { connection: Rate::per_minute(600), application: None };
        Limits { google, ..Limits::default() }
    }

    #[test]
    fn a_fill_is_told_with_how_far_it_is_and_how_long_it_takes_at_least() {
        let one = counted(60_000);
        assert_eq!(cell(one.fill.as_ref()), "40000/100000");
        let json = to_json(&one, &limits());
        assert_eq!(json["since"], "2030-01-01T00:00:00Z");
        assert_eq!((&json["filled"], &json["left"]), (&json!(40_000), &json!(60_000)));
        // 600 a minute, and a second of each minute in hand.
        assert_eq!(json["seconds_left_min"], 6_100);
    }

    #[test]
    fn what_is_filled_takes_no_time_and_what_has_no_limit_takes_an_unknown_one() {
        let one = counted(0);
        assert_eq!(cell(one.fill.as_ref()), "filled");
        assert_eq!(to_json(&one, &limits())["seconds_left_min"], 0);
        assert_eq!(to_json(&counted(5), &Limits::default())["seconds_left_min"], Value::Null);
        let never = CountedConnection { fill: None, ..one };
        assert_eq!((cell(None), to_json(&never, &limits())), ("-".to_owned(), Value::Null));
    }
}
