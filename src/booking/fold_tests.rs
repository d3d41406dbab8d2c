use chrono::{TimeDelta, TimeZone as _, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::content::Template;
use crate::event::Status;

fn rules() -> Rules {
    Rules {
        uid_domain: "example.com".to_owned(),
        summary: Template::parse("Booking: {service_name}").unwrap(),
        description: Template::parse("").unwrap(),
        location: Template::parse("").unwrap(),
        pending_is_tentative: false,
        horizon: Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap(),
    }
}

fn details(hour: u32) -> Details {
    Details {
        status: Status::Confirmed,
        start: Utc.with_ymd_and_hms(2026, 3, 1, hour, 0, 0).unwrap(),
        end: Utc.with_ymd_and_hms(2026, 3, 1, hour, 30, 0).unwrap(),
        zone: chrono_tz::Europe::Berlin,
        service_name: "Massage".to_owned(),
        title: None,
        description: None,
        location: None,
        notes: None,
        customer_name: Some("Ada".to_owned()),
        customer_email: None,
    }
}

fn event(id: u128, sequence: Option<i64>, change: Change) -> BookingEvent {
    let booking = BookingId::parse("b-1").unwrap();
    BookingEvent {
        id: EventId(Uuid::from_u128(id)),
        uid: IcalUid::of_booking(&booking, "example.com").unwrap(),
        booking,
        provider: ProviderId(Uuid::from_u128(7)),
        sequence,
        occurred_at: Utc.with_ymd_and_hms(2026, 2, 1, 0, 0, 0).unwrap(),
        change,
    }
}

fn created(sequence: i64, hour: u32) -> BookingEvent {
    event(sequence.unsigned_abs().into(), Some(sequence), Change::Created(details(hour)))
}

fn updated(sequence: i64, hour: u32) -> BookingEvent {
    event(sequence.unsigned_abs().into(), Some(sequence), Change::Updated(details(hour)))
}

fn cancelled(sequence: i64) -> BookingEvent {
    let change = Change::Cancelled { reason: None };
    event(sequence.unsigned_abs().into(), Some(sequence), change)
}

fn at(partition: i32, offset: i64) -> Position {
    Position { incarnation: 0, partition, offset }
}

/// Folds events as they stand in one partition.
fn given(events: impl IntoIterator<Item = BookingEvent>) -> Booking {
    let mut booking = None;
    for (event, offset) in events.into_iter().zip(0..) {
        booking = Some(fold(booking, &event, Arrival::Log(at(0, offset)), &rules()).unwrap().0);
    }
    booking.unwrap()
}

fn then(booking: &Booking, event: &BookingEvent) -> (Booking, Decision) {
    let offset = booking.last.offset + 1;
    fold(Some(booking.clone()), event, Arrival::Log(at(0, offset)), &rules()).unwrap()
}

fn hour_shown(booking: &Booking) -> Option<u32> {
    use chrono::Timelike as _;
    booking.shown().map(|content| content.start.hour())
}

#[test]
fn a_move_after_a_cancellation_does_nothing() {
    let booking = given([created(1, 9), cancelled(2)]);
    let (after, decision) = then(&booking, &updated(3, 10));
    assert_eq!(decision, Decision::AfterCancellation);
    assert_eq!(hour_shown(&after), None);
    assert_eq!(after.revision, booking.revision);
}

/// L21.
#[test]
fn a_late_created_after_a_cancellation_does_nothing() {
    let (after, decision) = then(&given([cancelled(2)]), &created(1, 9));
    assert_eq!((decision, hour_shown(&after)), (Decision::Stale, None));
    let unsequenced = given([
        event(1, None, Change::Created(details(9))),
        event(2, None, Change::Cancelled { reason: None }),
    ]);
    let (after, decision) = then(&unsequenced, &event(3, None, Change::Created(details(9))));
    assert_eq!((decision, hour_shown(&after)), (Decision::AfterCancellation, None));
}

#[test]
fn a_created_with_a_higher_sequence_rebooks() {
    let booking = given([created(1, 9), cancelled(2), created(3, 11)]);
    assert_eq!((hour_shown(&booking), booking.revision), (Some(11), 2));
}

#[test]
fn an_updated_with_no_created_creates() {
    assert_eq!(hour_shown(&given([updated(5, 9)])), Some(9));
}

#[test]
fn a_pending_booking_is_hidden_and_going_back_to_pending_withdraws_it() {
    let pending = |id, sequence| {
        let hidden = Details { status: Status::Pending, ..details(9) };
        event(id, Some(sequence), Change::Updated(hidden))
    };
    let hidden = given([pending(1, 1)]);
    assert_eq!((hidden.shown(), hidden.revision), (None, REVISION_NONE));
    let shown = given([pending(1, 1), updated(2, 9)]);
    assert_eq!((hour_shown(&shown), shown.revision), (Some(9), 0));
    let withdrawn = given([pending(1, 1), updated(2, 9), pending(3, 3)]);
    assert_eq!((withdrawn.shown(), withdrawn.revision), (None, 1));
}

#[test]
fn completed_and_no_show_leave_the_event() {
    for status in [Status::Completed, Status::NoShow] {
        let booking = given([created(1, 9)]);
        let over = Change::Updated(Details { status, ..details(9) });
        let (after, decision) = then(&booking, &event(2, Some(2), over));
        assert_eq!((decision, after.revision), (Decision::Invisible, 0));
        assert_eq!(after.shown(), booking.shown());
    }
}

#[test]
fn one_sequence_with_two_contents_is_a_dead_letter() {
    let booking = given([created(1, 9)]);
    let error = fold(Some(booking), &created(1, 10), Arrival::Log(at(0, 9)), &rules()).unwrap_err();
    assert_eq!(Poison::from(&error).class, PoisonClass::SequenceConflict);
}

#[test]
fn another_uid_is_a_dead_letter() {
    let booking = given([created(1, 9)]);
    let mut other = created(2, 10);
    other.uid = IcalUid::parse("else@example.com").unwrap();
    let error = fold(Some(booking), &other, Arrival::Log(at(0, 9)), &rules()).unwrap_err();
    assert_eq!(Poison::from(&error).class, PoisonClass::UidChanged);
}

#[test]
fn without_a_sequence_another_partition_is_a_dead_letter_until_it_is_redriven() {
    let booking = given([event(1, None, Change::Created(details(9)))]);
    let moved = event(2, None, Change::Updated(details(10)));
    let error = fold(Some(booking.clone()), &moved, Arrival::Log(at(3, 0)), &rules()).unwrap_err();
    assert_eq!(Poison::from(&error).class, PoisonClass::MovedPartition);
    let (after, _) = fold(Some(booking), &moved, Arrival::Redriven(at(3, 0)), &rules()).unwrap();
    assert_eq!((hour_shown(&after), after.last), (Some(10), at(3, 0)));
}

/// A partition more: what was told in the former one is read, and redriven, after what was told since.
#[test]
fn without_a_sequence_a_redriven_event_of_another_partition_does_nothing_if_it_occurred_before() {
    let booking = given([event(1, None, Change::Created(details(9)))]);
    let at_hour = |id, hour| {
        let mut moved = event(id, None, Change::Updated(details(hour)));
        moved.occurred_at += TimeDelta::hours(hour.into()) - TimeDelta::hours(9);
        moved
    };
    let redriven = |booking: Booking, event, partition| {
        fold(Some(booking), &event, Arrival::Redriven(at(partition, 7)), &rules()).unwrap()
    };
    let (booking, decision) = redriven(booking, at_hour(2, 8), 3);
    assert_eq!(
        (decision, hour_shown(&booking), booking.last),
        (Decision::Stale, Some(9), at(0, 0))
    );
    let (booking, decision) = redriven(booking, at_hour(3, 10), 3);
    assert_eq!((decision, hour_shown(&booking)), (Decision::Visible, Some(10)));
    // It has been read; the producer repeats it, once the booking lives in that partition.
    let (lives_there, _) = redriven(booking.clone(), at_hour(5, 11), 0);
    let (lives_there, decision) =
        fold(Some(lives_there), &at_hour(2, 8), Arrival::Log(at(0, 8)), &rules()).unwrap();
    assert_eq!((decision, hour_shown(&lives_there)), (Decision::Repeated, Some(11)));
    let (booking, decision) = redriven(booking, event(4, None, Change::Updated(details(9))), 0);
    assert_eq!(
        (decision, hour_shown(&booking), booking.last),
        (Decision::Stale, Some(10), at(3, 7))
    );
}

/// One truncated partition that was accepted has another incarnation than the others, and a new
/// partition of a topic made anew begins at 0: neither makes the partitions' order known.
#[test]
fn without_a_sequence_another_partition_is_a_dead_letter_in_whatever_incarnation() {
    let booking = given([event(1, None, Change::Created(details(9)))]);
    let moved = event(2, None, Change::Updated(details(10)));
    for (was, is) in [(0, 1), (1, 0)] {
        let last = Position { incarnation: was, ..booking.last };
        let booking = Booking { last, ..booking.clone() };
        let there = Position { incarnation: is, partition: 3, offset: 0 };
        let error = fold(Some(booking), &moved, Arrival::Log(there), &rules()).unwrap_err();
        assert_eq!(Poison::from(&error).class, PoisonClass::MovedPartition, "{was} to {is}");
    }
}

#[test]
fn a_dead_letter_of_a_former_log_leaves_the_position_in_the_present_one() {
    let booking = given([created(1, 9)]);
    let present = Position { incarnation: 1, partition: 0, offset: 5 };
    let (booking, _) =
        fold(Some(booking), &updated(3, 11), Arrival::Log(present), &rules()).unwrap();
    let former = Arrival::Redriven(at(0, 70));
    let (after, decision) = fold(Some(booking), &updated(2, 10), former, &rules()).unwrap();
    assert_eq!((decision, after.last), (Decision::Stale, present));
}

#[test]
fn with_a_sequence_another_partition_is_folded() {
    let booking = given([created(1, 9)]);
    let (after, _) =
        fold(Some(booking), &updated(2, 10), Arrival::Log(at(3, 0)), &rules()).unwrap();
    assert_eq!((hour_shown(&after), after.last), (Some(10), at(3, 0)));
}

#[test]
fn redriving_something_old_does_nothing() {
    let booking = given([created(1, 9), updated(2, 10), updated(4, 12)]);
    let (after, decision) =
        fold(Some(booking.clone()), &updated(3, 11), Arrival::Redriven(at(0, 0)), &rules())
            .unwrap();
    assert_eq!((decision, hour_shown(&after)), (Decision::Stale, Some(12)));
    let unsequenced = given([
        event(1, None, Change::Created(details(9))),
        event(3, None, Change::Updated(details(12))),
    ]);
    let old = event(2, None, Change::Updated(details(11)));
    let (after, decision) =
        fold(Some(unsequenced), &old, Arrival::Redriven(at(0, 1)), &rules()).unwrap();
    assert_eq!((decision, hour_shown(&after)), (Decision::Repeated, Some(12)));
}

/// L4: whatever changes, the name does not.
#[test]
fn the_uid_depends_on_nothing_that_can_change() {
    let mut handed_over = updated(2, 15);
    handed_over.provider = ProviderId(Uuid::from_u128(8));
    let booking = given([created(1, 9), handed_over]);
    assert_eq!(booking.uid.as_str(), "booking-b-1@example.com");
    assert_eq!(booking.revision, 1, "a booking that changes hands changes visibly");
}

#[test]
fn a_booking_remembers_a_bounded_number_of_event_ids() {
    let many = (0..200).map(|id| event(id, None, Change::Updated(details(9))));
    assert_eq!(given(many).seen.len(), SEEN_MAX);
}

#[test]
fn only_visible_changes_count_as_revisions() {
    let booking = given([created(1, 9), updated(2, 9), updated(3, 10), updated(4, 10)]);
    assert_eq!(booking.revision, 1);
}

/// A history of one booking whose sequences rise: what happened, and in which hour.
fn history() -> impl Strategy<Value = Vec<BookingEvent>> {
    proptest::collection::vec((0..3_u8, 0..24_u32), 1..9).prop_map(|steps| {
        let event = |(sequence, (kind, hour)): (i64, (u8, u32))| match kind {
            0 => created(sequence, hour),
            1 => updated(sequence, hour),
            _ => cancelled(sequence),
        };
        (1..).zip(steps).map(event).collect()
    })
}

proptest! {
    /// L5: whatever the order of delivery, whatever is delivered again.
    #[test]
    fn any_permutation_and_repetition_ends_in_the_same_calendar(
        (log, shuffled) in history().prop_flat_map(|log| {
            let repeated: Vec<_> = log.iter().chain(&log).cloned().collect();
            (Just(log), Just(repeated).prop_shuffle())
        }),
    ) {
        let (any_order, in_order) = (given(shuffled), given(log));
        prop_assert_eq!(any_order.shown(), in_order.shown());
    }

    /// L2.
    #[test]
    fn redelivering_the_log_changes_nothing(log in history(), cut in 0..9_usize) {
        let before = given(log.clone());
        let mut after = before.clone();
        for (event, offset) in log.iter().zip(0..).take(cut) {
            let arrival = Arrival::Log(at(0, offset));
            let decision;
            (after, decision) = fold(Some(after), event, arrival, &rules()).unwrap();
            prop_assert_eq!(decision, Decision::Repeated);
        }
        prop_assert_eq!(after, before);
    }

    #[test]
    fn in_log_order_the_last_word_counts(log in history()) {
        let booking = given(log.clone());
        // By rule R5, told once more in other words.
        let mut shown = None;
        let mut over = false;
        for event in &log {
            match &event.change {
                Change::Created(details) => (over, shown) = (false, Some(details.start)),
                Change::Updated(details) if !over => shown = Some(details.start),
                Change::Updated(_) => {}
                Change::Cancelled { .. } => over = true,
            }
        }
        let expected = if over { None } else { shown };
        prop_assert_eq!(booking.shown().map(|content| content.start), expected);
    }

    #[test]
    fn a_revision_never_falls(log in history().prop_shuffle()) {
        let mut booking = None;
        let mut last = REVISION_NONE;
        for (event, offset) in log.iter().zip(0..) {
            let folded = fold(booking, event, Arrival::Log(at(0, offset)), &rules()).unwrap().0;
            prop_assert!(folded.revision == last || folded.revision == last + 1);
            last = folded.revision;
            booking = Some(folded);
        }
    }
}
