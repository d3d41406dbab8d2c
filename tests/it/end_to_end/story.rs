//! What a booking application says of a booking: one event after another.

use booking::{BookingId, Change, Details, EventId, IcalUid, ProviderId, Status};
use calendar_sync::cli::encode::OutgoingEvent;
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

/// The domain of the UIDs that the service derives.
pub(super) const DOMAIN: &str = "bookings.example";

/// An hour of the day on which everything takes place.
pub(super) fn hour(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 6, 3, hour, 0, 0).single().expect("a time in UTC")
}

/// The n-th provider.
pub(super) fn provider(number: u128) -> ProviderId {
    ProviderId(Uuid::from_u128(0x0909_0000 + number))
}

/// A booking, as its application knows it. What is changed in `details` or `provider` is said by
/// the next event.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) details: Details,
    pub(super) provider: ProviderId,
    booking: BookingId,
    /// The last sequence; `None`: the application counts none.
    pub(super) sequence: Option<i64>,
    told: u32,
}

impl Story {
    /// A booking from nine to ten, whose events carry a sequence.
    pub(super) fn of(name: &str, provider: ProviderId) -> Self {
        let details = Details {
            status: Status::Confirmed,
            start: hour(9),
            end: hour(10),
            zone: Tz::Europe__Berlin,
            service_name: "Massage".to_owned(),
            title: None,
            description: None,
            location: None,
            notes: None,
            customer_name: None,
            customer_email: None,
        };
        let booking = BookingId::parse(name).expect("a booking's id");
        Self { details, provider, booking, sequence: Some(0), told: 0 }
    }

    /// The same, without sequences.
    pub(super) fn unsequenced(name: &str, provider: ProviderId) -> Self {
        Self { sequence: None, ..Self::of(name, provider) }
    }

    /// The UID that the service derives.
    pub(super) fn uid(&self) -> IcalUid {
        IcalUid::of_booking(&self.booking, DOMAIN).expect("a UID")
    }

    fn tell(&mut self, change: Change) -> OutgoingEvent {
        self.told += 1;
        self.sequence = self.sequence.map(|sequence| sequence + 1);
        let name = format!("{} {}", self.booking, self.told);
        OutgoingEvent {
            id: EventId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())),
            booking: self.booking.clone(),
            uid: None,
            provider: self.provider,
            sequence: self.sequence,
            occurred_at: hour(0),
            change,
        }
    }

    /// It was booked.
    pub(super) fn created(&mut self) -> OutgoingEvent {
        self.tell(Change::Created(self.details.clone()))
    }

    /// It is as it is now.
    pub(super) fn updated(&mut self) -> OutgoingEvent {
        self.tell(Change::Updated(self.details.clone()))
    }

    fn hours(&mut self, start: u32) {
        (self.details.start, self.details.end) = (hour(start), hour(start + 1));
    }

    /// It was moved, for an hour.
    pub(super) fn moved(&mut self, start: u32) -> OutgoingEvent {
        self.hours(start);
        self.updated()
    }

    /// It was booked anew, for an hour.
    pub(super) fn rebooked(&mut self, start: u32) -> OutgoingEvent {
        self.hours(start);
        self.created()
    }

    /// It was given to another provider.
    pub(super) fn given_to(&mut self, provider: ProviderId) -> OutgoingEvent {
        self.provider = provider;
        self.updated()
    }

    /// It was cancelled.
    pub(super) fn cancelled(&mut self) -> OutgoingEvent {
        self.tell(Change::Cancelled { reason: None })
    }
}
