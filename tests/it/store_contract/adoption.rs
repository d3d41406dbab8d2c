//! Facts of taking over what the booking application has put into calendars. Its rows come from
//! outside: each store's tests run `ROWS` by a session of their own.

use std::time::Duration;

use booking::{CalendarKind, Verb};
use calendar_sync::store::{
    ADOPTED_REVISION, Adopted, AdoptedEvent, ConnectionState, Fenced, Finding, LegacyEvent,
    NewConnection, Standing,
};
use uuid::Uuid;

use super::env::{
    Answered as _, Env, connection, content, hour, id, new_connection, open_gate, present,
    provider, uid,
};

/// Five rows of provider 1, as the booking application wrote them.
pub(crate) const ROWS: &str = "
    INSERT INTO external_calendar_events
           (id, provider_id, calendar_provider, external_event_id, ical_uid, booking_id,
            start_time, end_time, is_busy, sync_status, created_at, updated_at)
    VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000009090001',
            'caldav', 'theirs1', 'booking-a@example.com', 'a', '2030-06-03T09:00:00.000Z',
            '2030-06-03T10:00:00.000Z', TRUE, 'CREATED', '2026-01-01T00:00:00.000Z',
            '2026-01-01T00:00:00.000Z'),
           ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000009090001',
            'caldav', 'theirs2', 'booking-b@example.com', 'b', '2030-06-03T09:00:00.000Z',
            '2030-06-03T10:00:00.000Z', TRUE, 'FAILED', '2026-01-01T00:00:00.000Z',
            '2026-01-01T00:00:00.000Z'),
           ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000009090001',
            'caldav', 'theirs3', 'booking-b@example.com', 'b', '2030-06-03T09:00:00.000Z',
            '2030-06-03T10:00:00.000Z', TRUE, 'CREATED', '2026-01-01T00:00:00.000Z',
            '2026-01-01T00:00:00.000Z'),
           ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000009090001',
            'caldav', 'local-4', NULL, 'c', '2030-06-03T09:00:00.000Z',
            '2030-06-03T10:00:00.000Z', TRUE, 'CREATED', '2026-01-01T00:00:00.000Z',
            '2026-01-01T00:00:00.000Z'),
           ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000009090001',
            'caldav', 'theirs5', 'booking-d@example.com', 'd', '2030-06-03T09:00:00.000Z',
            '2030-06-03T10:00:00.000Z', FALSE, 'CANCELLED', '2026-01-01T00:00:00.000Z',
            '2026-01-01T00:00:00.000Z');";

fn row(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn adopted(number: u128, name: &str, title: Option<&str>) -> Adopted {
    let event = |title| AdoptedEvent {
        external_id: format!("theirs{number}"),
        etag: Some(format!("\"{number}\"")),
        provider_uid: None,
        digest: content(title).digest(),
        revision: ADOPTED_REVISION,
    };
    Adopted { row: row(number), uid: uid(name), event: title.map(event) }
}

async fn standing(env: &Env, name: &str) -> (Standing, Option<i64>) {
    let status = env.store.hasten(&id(name)).await.answered().expect("it is stored");
    (status.calendars[0].standing, status.calendars[0].applied_revision)
}

/// Rows without a connection, as they were written; what a connection takes over is applied as far
/// as it shows the booking; and nothing is sent before.
pub(crate) async fn what_stood_before_is_taken_over(env: &Env) {
    env.connect(1).await;
    // Read before, and not sent.
    env.ask("a", 0, Some("Massage")).await;
    assert_eq!(env.lease(1).await, None, "nothing is sent while rows are not adopted");
    assert_eq!(standing(env, "a").await, (Standing::Unadopted, None));
    let tally = env.store.tally(&open_gate()).await.answered();
    assert!(tally.owing.iter().all(|owing| owing.oldest.is_zero()), "nobody's delay: {tally:?}");

    let legacy = async |after, limit| {
        let kind = CalendarKind::Caldav;
        env.store.legacy_events(provider(1), kind, row(after), limit).await.answered()
    };
    let all = legacy(0, 10).await;
    let first = LegacyEvent {
        row: row(1),
        external_id: "theirs1".to_owned(),
        uid: Some(uid("a")),
        booking: Some(id("a")),
        is_cancelled: false,
    };
    assert_eq!((all.len(), &all[0]), (5, &first));
    assert_eq!((all[3].uid.clone(), all[3].booking.clone()), (None, Some(id("c"))));
    assert_eq!(all.iter().filter(|one| one.is_cancelled).count(), 1);
    assert_eq!(legacy(3, 1).await, all[3..4], "in pages");

    let rows = [
        adopted(1, "a", Some("Massage")),
        adopted(2, "b", Some("Massage")),
        adopted(3, "b", Some("Massage")),
        adopted(4, "c", None),
        adopted(5, "d", None),
    ];
    let refused = env.store.adopt(connection(1), &rows).await.answered();
    assert_eq!(refused, [row(3)], "a booking has one row");
    assert_eq!(env.store.adopt(connection(1), &rows[2..3]).await.answered(), [row(3)]);
    assert_eq!(standing(env, "a").await, (Standing::Settled, Some(0)), "it shows just this");
    let events = env.store.external_events(&uid("a")).await.answered();
    assert_eq!((events.len(), events[0].external_id.as_str()), (1, "theirs1"));

    // Read afterwards: as it is; then changed.
    env.ask("b", 0, Some("Massage")).await;
    assert_eq!(standing(env, "b").await, (Standing::Settled, Some(0)));
    env.ask("b", 1, Some("Haircut")).await;
    env.ask("c", 0, Some("Massage")).await;
    let lane = env.lane(2).await;
    let mut due = env.due(&lane).await;
    due.sort_by(|one, other| one.uid.cmp(&other.uid));
    assert_eq!(due.iter().map(|owed| owed.uid.clone()).collect::<Vec<_>>(), [uid("b"), uid("c")]);
    let known = (due[0].adopted_id.as_deref(), due[0].etag.as_deref());
    assert_eq!(known, (Some("theirs2"), Some("\"2\"")));
    assert_eq!((due[1].adopted_id.as_deref(), due[1].applied), (None, None));
    assert!(env.stamp(&lane, "c", (Verb::Create, 0, 0)).await);
    assert_eq!(env.record(&lane, "c", present("c", 0, "Massage")).await, Fenced::Written);
    let made = env.store.external_events(&uid("c")).await.answered();
    assert_eq!((made.len(), made[0].sync_status.as_str()), (1, "CREATED"), "in the same row");
}

/// What is adopted and never placed is left alone when its connection comes back, and withdrawn
/// with it only where its booking is known. What waits for the adoption is no backlog.
pub(crate) async fn a_removal_knows_what_was_adopted(env: &Env) {
    env.connect(1).await;
    // Shown, and never put in a calendar: it ended before the horizon.
    env.keep("a", 0, Some("Massage")).await;
    env.ask("x", 0, Some("Massage")).await;
    let backlog = async || env.store.backlog(&open_gate(), 100).await.answered();
    assert_eq!(backlog().await, 0, "nobody can send it now");
    let rows = [adopted(1, "a", Some("Massage")), adopted(4, "c", None), adopted(5, "d", None)];
    assert!(env.store.adopt(connection(1), &rows).await.answered().is_empty());
    assert_eq!(env.lease(1).await, None, "a row that failed may have its event all the same");
    let rest = [adopted(2, "b", Some("Massage")), adopted(3, "b", Some("Massage"))];
    assert_eq!(env.store.adopt(connection(1), &rest).await.answered(), [row(3)]);
    assert_eq!(backlog().await, 1);
    let lane = env.lane(2).await;
    env.apply(&lane, "x", 0, "Massage").await;
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);

    assert!(env.store.remove_connection(connection(1), false).await.answered());
    // By now none is upcoming, so that none is placed again: ours is to go, and nothing is asked of
    // the adopted ones.
    let again = NewConnection { horizon: hour(11), ..new_connection(1) };
    assert_eq!(env.store.put_connection(&again).await.answered().bookings_due, 0);
    let lane = env.lane(3).await;
    let asked: Vec<_> = env.due(&lane).await.into_iter().map(|owed| owed.uid).collect();
    assert_eq!(asked, [uid("x")]);
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);

    assert!(env.store.remove_connection(connection(1), true).await.answered());
    let lane = env.eventually("the events are due to go", || env.lease(4)).await;
    let mut withdrawn = env.due(&lane).await;
    withdrawn.sort_by(|one, other| one.uid.cmp(&other.uid));
    let uids: Vec<_> = withdrawn.iter().map(|owed| owed.uid.clone()).collect();
    assert_eq!(uids, [uid("a"), uid("x")], "of the other nobody has heard");
    for (name, owed) in ["a", "x"].into_iter().zip(withdrawn) {
        let revision = owed.desired_revision;
        assert!(env.stamp(&lane, name, (Verb::Delete, revision, 0)).await);
        let gone = Finding::Absent { revision };
        assert_eq!(env.record(&lane, name, gone).await, Fenced::Written);
    }
    assert_eq!(env.store.release(&lane, Duration::ZERO, None).await.answered(), Fenced::Written);
    assert_eq!(env.state(1).await, ConnectionState::Removed, "it ends");
}
