//! Schedules that the judge has to see, each by hand, in a Google calendar that keeps to its documents.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Hand, compare, found, lost_notes, repeated_effects, uids_by_name};
use crate::accounts::{Account, Accounts};
use crate::calendars::{Ask, Deed, Kind, Said, Switches};
use crate::clock::beginning;
use crate::story::{Shown, provider};

const MINUTE: Duration = Duration::from_mins(1);
/// The names of the first generation and of the next one.
const NAMES: [&str; 2] = ["booking0", "booking1"];

/// What a booking shows after so many changes.
fn shown(change: i64) -> Shown {
    let start: DateTime<Utc> = beginning() + TimeDelta::hours(24 + change);
    let end = start + TimeDelta::minutes(30);
    Shown { provider: provider(0), summary: format!("b0 {change}"), start, end }
}

fn body(name: &str, revision: i64, shown: &Shown) -> Vec<u8> {
    let body = json!({
        "id": name,
        "status": "confirmed",
        "summary": shown.summary,
        "start": {"dateTime": shown.start.to_rfc3339(), "timeZone": "UTC"},
        "end": {"dateTime": shown.end.to_rfc3339(), "timeZone": "UTC"},
        "extendedProperties": {"private": {
            "bookingUid": "uid-1",
            "bookingConnection": "connection-1",
            "bookingRevision": revision.to_string(),
            "bookingDigest": shown.summary,
        }},
    });
    body.to_string().into_bytes()
}

/// An account, the hour, and the number of the last request. A minute passes between two things.
struct Desk {
    accounts: Accounts,
    now: Duration,
    request: u64,
}

impl Desk {
    fn new() -> Self {
        let mut accounts = Accounts::default();
        accounts.add(provider(0), Kind::Google, Switches::strict());
        Self { accounts, now: Duration::ZERO, request: 0 }
    }

    /// With the event of the first generation as it is at first.
    fn holding_the_first() -> Self {
        let mut desk = Self::new();
        desk.create(0, 0, &shown(0));
        desk
    }

    fn account(&mut self) -> &mut Account {
        &mut self.accounts.0[0]
    }

    fn asks(&mut self, ask: &Ask) -> Vec<String> {
        (self.now, self.request) = (self.now + MINUTE, self.request + 1);
        let (now, request) = (self.now, self.request);
        let account = self.account();
        let seen = account.server.history().len();
        let said = account.server.answer(now, request, ask);
        assert!(matches!(said, Said::Done { .. }), "{said:?}");
        let changes = account.server.history()[seen..].to_vec();
        changes.iter().filter_map(|change| account.undone(change, request)).collect()
    }

    fn create(&mut self, generation: usize, revision: i64, shown: &Shown) -> Vec<String> {
        let name = NAMES[generation].to_owned();
        let body = body(&name, revision, shown);
        self.asks(&Ask::Create { name, body })
    }

    /// Under the ETag that stands.
    fn update(&mut self, revision: i64, shown: &Shown) -> Vec<String> {
        let (name, if_match) = (NAMES[0].to_owned(), self.etag());
        let body = body(&name, revision, shown);
        self.asks(&Ask::Update { name, if_match, body })
    }

    fn delete(&mut self, generation: usize) -> Vec<String> {
        self.asks(&Ask::Delete { name: NAMES[generation].to_owned(), if_match: None })
    }

    fn etag(&mut self) -> Option<String> {
        let live = self.account().server.live();
        live.first().and_then(|event| event.etag.clone())
    }

    /// A worker is told that nothing stands there.
    fn told_gone(&mut self) {
        self.now += MINUTE;
        let now = self.now;
        self.account().told_gone_at.insert(first(), now);
    }

    /// The answer to the last request has come.
    fn acknowledged(&mut self) {
        let request = self.request;
        self.account().acknowledge(NAMES[0], request);
    }

    fn host(&mut self, deed: &Deed) {
        self.now += MINUTE;
        let now = self.now;
        assert!(self.account().server.host(now, deed), "{deed:?}");
    }

    /// What is wrong at last, where this was told then.
    fn wrongs(&mut self, told_at: Duration, shown: Option<&Shown>) -> Vec<String> {
        let account = self.account();
        let uids = uids_by_name(account);
        let names: BTreeSet<&str> = uids.keys().map(String::as_str).collect();
        let (hand, found) = (Hand::default(), found(account, Hand::default(), &names));
        compare(account, hand, told_at, shown, &found, &names)
    }
}

fn first() -> String {
    NAMES[0].to_owned()
}

/// What the event of the first generation says, as a body with this text.
fn saying(description: &str) -> Vec<u8> {
    let mut body: serde_json::Value =
        serde_json::from_slice(&body(&first(), 1, &shown(1))).expect("it was written so");
    body["description"] = json!(description);
    body.to_string().into_bytes()
}

#[test]
fn what_a_host_has_noted_is_neither_taken_away_nor_written_twice() {
    for (times, is_well) in [(0, false), (1, true), (2, false)] {
        let mut desk = Desk::holding_the_first();
        desk.host(&Deed::Note { name: first(), first: false });
        let live = desk.account().server.live();
        let note = live[0].description.clone().expect("it was noted");
        let (if_match, body) = (desk.etag(), saying(&format!("{note}\n").repeat(times)));
        desk.asks(&Ask::Update { name: first(), if_match, body });
        assert_eq!(lost_notes(desk.account()).is_empty(), is_well, "{times}");
    }
}

#[test]
fn a_note_is_lost_with_its_event_or_with_our_marker() {
    let mut desk = Desk::holding_the_first();
    desk.host(&Deed::Note { name: first(), first: true });
    desk.host(&Deed::StripMarker { name: first() });
    desk.update(1, &shown(1));
    desk.host(&Deed::Note { name: first(), first: true });
    desk.delete(0);
    desk.create(1, 2, &shown(2));
    assert_eq!(lost_notes(desk.account()), [""; 0]);
}

/// The request is later than what was acknowledged, and its revision is not.
#[test]
fn an_acknowledged_revision_is_not_written_over_by_a_lower_one() {
    let mut desk = Desk::holding_the_first();
    assert!(desk.update(1, &shown(1)).is_empty());
    desk.acknowledged();
    assert_eq!(desk.update(0, &shown(0)).len(), 1);
    assert!(desk.update(2, &shown(2)).is_empty());
}

#[test]
fn what_an_event_had_reached_is_known_though_its_marker_was_taken_out() {
    let mut desk = Desk::holding_the_first();
    desk.update(1, &shown(1));
    desk.acknowledged();
    desk.host(&Deed::StripMarker { name: first() });
    assert_eq!(desk.update(0, &shown(0)).len(), 1);
}

/// Rule R14: what lands late, after what it made is gone, is another event.
#[test]
fn what_is_made_anew_begins_anew() {
    let mut desk = Desk::holding_the_first();
    desk.update(1, &shown(1));
    desk.acknowledged();
    desk.delete(0);
    desk.host(&Deed::EvictTombstones);
    assert!(desk.create(0, 0, &shown(0)).is_empty());
    assert!(desk.update(1, &shown(1)).is_empty());
}

/// The service meets 412, and takes the move for done.
#[test]
fn an_edit_of_what_stood_before_excuses_no_lost_update() {
    for deed in [
        Deed::Edit { name: first(), title: true, time: false },
        Deed::StripMarker { name: first() },
    ] {
        let mut desk = Desk::holding_the_first();
        let told_at = desk.now;
        desk.host(&deed);
        assert_eq!(desk.wrongs(told_at, Some(&shown(1))).len(), 1, "{deed:?}");
        desk.update(1, &shown(1));
        assert!(desk.wrongs(told_at, Some(&shown(1))).is_empty(), "{deed:?}");
    }
}

#[test]
fn an_edit_of_what_is_wanted_is_left_to_the_host() {
    let mut desk = Desk::holding_the_first();
    let told_at = desk.now;
    desk.update(1, &shown(1));
    desk.host(&Deed::Edit { name: first(), title: true, time: true });
    assert!(desk.wrongs(told_at, Some(&shown(1))).is_empty());
    // What came after it by a call is not hers.
    desk.update(0, &shown(0));
    assert_eq!(desk.wrongs(told_at, Some(&shown(1))).len(), 1);
}

#[test]
fn a_deletion_by_hand_excuses_no_deletion_of_the_next_generation() {
    let mut desk = Desk::holding_the_first();
    let told_at = desk.now;
    desk.host(&Deed::Delete { name: first() });
    desk.create(1, 1, &shown(1));
    assert!(desk.wrongs(told_at, Some(&shown(1))).is_empty());
    desk.delete(1);
    assert_eq!(desk.wrongs(told_at, Some(&shown(1))).len(), 1);
}

/// She restores the first one and deletes the next one; a verification removes the first.
#[test]
fn a_removal_of_an_earlier_generation_takes_nothing_from_a_deletion_by_hand() {
    let mut desk = Desk::holding_the_first();
    let told_at = desk.now;
    desk.host(&Deed::Delete { name: first() });
    desk.create(1, 1, &shown(1));
    desk.host(&Deed::Restore { name: first() });
    desk.host(&Deed::Delete { name: NAMES[1].to_owned() });
    desk.delete(0);
    assert!(desk.wrongs(told_at, Some(&shown(1))).is_empty());
}

/// The service finds nothing, and takes the move for done.
#[test]
fn a_deletion_of_what_stood_before_excuses_no_lost_update() {
    let mut desk = Desk::holding_the_first();
    let told_at = desk.now;
    desk.host(&Deed::Delete { name: first() });
    assert_eq!(desk.wrongs(told_at, Some(&shown(1))).len(), 1);
}

#[test]
fn a_deletion_of_what_is_wanted_is_left_to_the_host() {
    let mut desk = Desk::holding_the_first();
    let told_at = desk.now;
    desk.update(1, &shown(1));
    desk.host(&Deed::Delete { name: first() });
    assert!(desk.wrongs(told_at, Some(&shown(1))).is_empty());
}

/// Deleted, and restored before anybody missed it; then the booking is cancelled.
#[test]
fn an_event_that_was_restored_unnoticed_is_cancelled_as_any_other() {
    let mut desk = Desk::holding_the_first();
    desk.told_gone();
    desk.host(&Deed::Delete { name: first() });
    desk.host(&Deed::Restore { name: first() });
    let told_at = desk.now;
    assert!(desk.wrongs(Duration::ZERO, Some(&shown(0))).is_empty());
    assert_eq!(desk.wrongs(told_at, None).len(), 1);
    desk.delete(0);
    assert!(desk.wrongs(told_at, None).is_empty());
}

#[test]
fn an_event_that_was_restored_after_it_was_missed_is_the_hosts() {
    let mut desk = Desk::holding_the_first();
    desk.host(&Deed::Delete { name: first() });
    desk.told_gone();
    desk.host(&Deed::Restore { name: first() });
    assert!(desk.wrongs(desk.now, None).is_empty());
    desk.host(&Deed::Delete { name: first() });
    desk.host(&Deed::Restore { name: first() });
    assert!(desk.wrongs(desk.now, None).is_empty(), "it was hers before");
}

#[test]
fn a_touch_by_hand_excuses_no_later_repetition() {
    let mut desk = Desk::holding_the_first();
    desk.host(&Deed::Annotate { name: first() });
    desk.update(1, &shown(1));
    desk.host(&Deed::Annotate { name: first() });
    desk.update(0, &shown(0));
    desk.host(&Deed::Annotate { name: first() });
    desk.update(1, &shown(1));
    assert!(repeated_effects(desk.account()).is_empty());
    desk.update(0, &shown(0));
    desk.update(1, &shown(1));
    assert_eq!(repeated_effects(desk.account()).len(), 1);
}
