//! The partition: a few records, folded and planned by the service's own code. What has been folded
//! into a booking is named by a bit for each record, so that the model's states stay small.

use std::collections::HashMap;
use std::sync::Mutex;

use booking::content::Template;
use booking::fold::fold;
use booking::plan::plan;
use booking::{
    Arrival, Booking, BookingEvent, BookingId, Change, ConnectionId, Content, Decision, Desired,
    Details, Digest, EventId, IcalUid, Position, ProviderId, Rules, Status,
};
use calendar_sync::emit::decide::UNREAD;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::state::{BOOKINGS, State};

/// The one connection.
pub(crate) const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(1));
/// Whose it is.
pub(crate) const PROVIDER: ProviderId = ProviderId(Uuid::from_u128(2));

/// What a record says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Said {
    Created,
    Updated,
    Cancelled,
    /// The same as the record at this offset, once more.
    Again(usize),
}

/// The records, and what follows from them.
pub(crate) struct Log {
    records: Vec<(usize, BookingEvent)>,
    contents: Vec<(u8, Content)>,
    rules: Rules,
    states: Mutex<HashMap<(usize, u8), Option<Booking>>>,
}

/// What a batch does to one booking.
pub(crate) struct Folded {
    pub(crate) booking: usize,
    /// The records folded into it afterwards.
    pub(crate) records: u8,
    /// What is asked of the calendar from now on, if something else: a revision and a content.
    pub(crate) asked: Option<(u8, Option<u8>)>,
}

/// The booking application's id of a booking.
pub(crate) fn id_of(booking: usize) -> BookingId {
    BookingId::parse(&format!("b-{booking}")).unwrap()
}

/// A booking's UID.
pub(crate) fn uid_of(booking: usize) -> IcalUid {
    IcalUid::of_booking(&id_of(booking), "example.com").unwrap()
}

/// What was seen where nothing was thought to stand: of no content that was written down.
const SEEN: u8 = u8::MAX;

fn rules() -> Rules {
    Rules {
        uid_domain: "example.com".to_owned(),
        summary: Template::parse("{service_name}").unwrap(),
        description: Template::parse("").unwrap(),
        location: Template::parse("").unwrap(),
        pending_is_tentative: false,
        horizon: DateTime::UNIX_EPOCH,
    }
}

fn details(offset: usize) -> Details {
    let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
    Details {
        status: Status::Confirmed,
        start,
        end: start + TimeDelta::hours(1),
        zone: chrono_tz::UTC,
        service_name: format!("as record {offset} says"),
        title: None,
        description: None,
        location: None,
        notes: None,
        customer_name: None,
        customer_email: None,
    }
}

impl Log {
    /// Each record: whose it is, and what it says.
    pub(crate) fn new(said: &[(usize, Said)]) -> Self {
        let rules = rules();
        let mut records: Vec<(usize, BookingEvent)> = Vec::new();
        let mut contents = Vec::new();
        for (offset, (booking, said)) in said.iter().enumerate() {
            let mut say = || {
                let details = details(offset);
                let content = rules.render(&details).expect("what is said is shown");
                contents.push((u8::try_from(offset).unwrap(), content));
                details
            };
            let change = match said {
                Said::Created => Change::Created(say()),
                Said::Updated => Change::Updated(say()),
                Said::Cancelled => Change::Cancelled { reason: None },
                Said::Again(earlier) => {
                    let (whose, event) = records[*earlier].clone();
                    assert_eq!(whose, *booking, "a repeat is about the same booking");
                    records.push((whose, event));
                    continue;
                }
            };
            let sequence = Some(i64::try_from(offset).unwrap());
            let event = BookingEvent {
                id: EventId(Uuid::from_u128(u128::try_from(offset).unwrap())),
                booking: id_of(*booking),
                uid: uid_of(*booking),
                provider: PROVIDER,
                sequence,
                occurred_at: DateTime::UNIX_EPOCH,
                change,
            };
            records.push((*booking, event));
        }
        Self { records, contents, rules, states: Mutex::default() }
    }

    /// The log end.
    pub(crate) fn end(&self) -> u8 {
        u8::try_from(self.records.len()).unwrap()
    }

    /// A content by its number.
    pub(crate) fn content(&self, number: u8) -> &Content {
        let found = self.contents.iter().find(|(offset, _)| *offset == number);
        &found.expect("a content that was said").1
    }

    /// The digest of a content.
    pub(crate) fn digest(&self, number: u8) -> Digest {
        if number == SEEN { UNREAD } else { self.content(number).digest() }
    }

    /// The number of a content.
    pub(crate) fn number(&self, digest: Digest) -> u8 {
        if digest == UNREAD {
            return SEEN;
        }
        let found = self.contents.iter().find(|(_, content)| content.digest() == digest);
        found.expect("a content that was said").0
    }

    /// The bookings whose records stand in `from..to`, a flag each.
    pub(crate) fn named(&self, from: u8, to: u8) -> [bool; BOOKINGS] {
        let records = &self.records[usize::from(from)..usize::from(to)];
        std::array::from_fn(|booking| records.iter().any(|(whose, _)| *whose == booking))
    }

    fn fold_one(&self, state: Option<Booking>, offset: usize) -> (Booking, Decision) {
        let position =
            Position { incarnation: 0, partition: 0, offset: i64::try_from(offset).unwrap() };
        let event = &self.records[offset].1;
        fold(state, event, Arrival::Log(position), &self.rules).expect("the log has no conflict")
    }

    /// A booking's state, by the records folded into it.
    fn state(&self, booking: usize, folded: u8) -> Option<Booking> {
        let mut states = self.states.lock().unwrap();
        let state = states.entry((booking, folded)).or_insert_with(|| {
            let offsets = (0..self.records.len()).filter(|offset| folded & (1 << offset) != 0);
            offsets.fold(None, |state, offset| Some(self.fold_one(state, offset).0))
        });
        state.clone()
    }

    /// Folds and plans `from..to` over what the database holds, as `pipeline::fold_batch` does.
    pub(crate) fn fold_batch(&self, state: &State, from: u8, to: u8) -> Vec<Folded> {
        let named = self.named(from, to);
        let bookings = (0..BOOKINGS).filter(|booking| named[*booking]);
        bookings.map(|booking| self.fold_booking(state, booking, from, to)).collect()
    }

    fn fold_booking(&self, state: &State, booking: usize, from: u8, to: u8) -> Folded {
        let mut folded = state.database.folded[booking];
        let mut present = self.state(booking, folded);
        let mut is_visible = false;
        for offset in usize::from(from)..usize::from(to) {
            if self.records[offset].0 != booking {
                continue;
            }
            let (next, decision) = self.fold_one(present.clone(), offset);
            is_visible |= decision == Decision::Visible;
            if present.as_ref() != Some(&next) {
                folded |= 1 << offset;
            }
            present = Some(next);
        }
        let asked = present.filter(|_| is_visible).and_then(|present| {
            let placed = state.database.rows[booking].map(|_| CONNECTION);
            let planned = plan(&present, placed, Some(CONNECTION), &self.rules);
            planned.effects.first().map(|effect| {
                let content = match effect.desired {
                    Desired::Present(digest) => Some(self.number(digest)),
                    Desired::Absent => None,
                };
                (u8::try_from(effect.revision).unwrap(), content)
            })
        });
        Folded { booking, records: folded, asked }
    }

    /// What the calendar should hold of a booking at the end: a revision and a content.
    pub(crate) fn outcome(&self, booking: usize) -> Option<(u8, u8)> {
        let all = (0..self.records.len()).filter(|offset| self.records[*offset].0 == booking);
        let state = self.state(booking, all.fold(0, |folded, offset| folded | (1 << offset)))?;
        let content = self.number(state.shown()?.digest());
        Some((u8::try_from(state.revision).unwrap(), content))
    }
}
