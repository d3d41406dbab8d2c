use chrono::{TimeZone as _, Utc};
use uuid::Uuid;

use super::*;
use crate::content::{Content, Template};
use crate::fold::Version;
use crate::vocabulary::{BookingId, Position, ProviderId};

const ANNA: ConnectionId = ConnectionId(Uuid::from_u128(1));
const BERT: ConnectionId = ConnectionId(Uuid::from_u128(2));

fn rules() -> Rules {
    Rules {
        uid_domain: "example.com".to_owned(),
        summary: Template::parse("x").unwrap(),
        description: Template::parse("").unwrap(),
        location: Template::parse("").unwrap(),
        pending_is_tentative: false,
        horizon: Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap(),
    }
}

fn booking(year: i32, revision: i64) -> Booking {
    let id = BookingId::parse("b-1").unwrap();
    Booking {
        uid: IcalUid::of_booking(&id, "example.com").unwrap(),
        id,
        provider: ProviderId(Uuid::from_u128(9)),
        last: Position { incarnation: 0, partition: 0, offset: 0 },
        version: Some(Version { sequence: revision, digest: Digest([0; 16]) }),
        created_at: Some(0),
        cancelled_at: None,
        seen: Vec::new().into(),
        occurred_at: None,
        content: Some(Content {
            summary: "Massage".to_owned(),
            description: None,
            location: None,
            start: Utc.with_ymd_and_hms(year, 5, 1, 9, 0, 0).unwrap(),
            end: Utc.with_ymd_and_hms(year, 5, 1, 10, 0, 0).unwrap(),
            zone: chrono_tz::UTC,
            tentative: false,
        }),
        content_at: Some(revision),
        revision,
    }
}

fn cancelled(revision: i64) -> Booking {
    Booking { cancelled_at: Some(revision), ..booking(2026, revision) }
}

/// (connection, whether an event should be there), in order.
fn wanted(plan: &Plan) -> Vec<(ConnectionId, bool)> {
    let there = |effect: &Effect| effect.desired != Desired::Absent;
    plan.effects.iter().map(|effect| (effect.connection, there(effect))).collect()
}

/// L12: one explicit destination.
#[test]
fn an_event_goes_to_the_destination_and_nowhere_else() {
    let planned = plan(&booking(2026, 0), None, Some(ANNA), &rules());
    assert_eq!(wanted(&planned), [(ANNA, true)]);
    assert_eq!(planned.placed, Some(ANNA));
}

/// L11: there and back again.
#[test]
fn a_move_deletes_the_old_event_and_creates_the_new_one() {
    let there = plan(&booking(2026, 1), Some(ANNA), Some(BERT), &rules());
    assert_eq!(wanted(&there), [(ANNA, false), (BERT, true)]);
    let back = plan(&booking(2026, 2), there.placed, Some(ANNA), &rules());
    assert_eq!(wanted(&back), [(BERT, false), (ANNA, true)]);
}

/// L23: as an event was made, so it is removed.
#[test]
fn a_cancellation_removes_the_event_from_where_it_was_put() {
    let planned = plan(&cancelled(1), Some(ANNA), Some(BERT), &rules());
    assert_eq!(wanted(&planned), [(ANNA, false)]);
}

#[test]
fn a_booking_cancelled_before_it_was_put_anywhere_asks_for_nothing() {
    assert_eq!(plan(&cancelled(1), None, Some(ANNA), &rules()), Plan::default());
}

#[test]
fn a_move_to_a_provider_without_a_connection_leaves_nothing_behind() {
    let planned = plan(&booking(2026, 1), Some(ANNA), None, &rules());
    assert_eq!(wanted(&planned), [(ANNA, false)]);
}

#[test]
fn a_booking_that_ended_before_the_horizon_is_never_put_in_a_calendar() {
    assert_eq!(plan(&booking(2025, 0), None, Some(ANNA), &rules()), Plan::default());
    let moved_back = plan(&booking(2025, 1), Some(ANNA), Some(ANNA), &rules());
    assert_eq!(wanted(&moved_back), [(ANNA, true)], "what is there is kept true");
}
