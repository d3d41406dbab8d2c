//! What a booking application says of a booking: one event after another.

use booking::{BookingId, Change, Details, EventId, IcalUid, ProviderId, Status};
use calendar_sync::cli::encode::OutgoingEvent;
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

/// The domain of the UIDs that the service derives.
pub(crate) const DOMAIN: &str = "bookings.example";

/// An hour of the day on which everything takes place.
pub(crate) fn hour(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 6, 3, hour, 0, 0).single().expect("a time in UTC")
}

/// The n-th provider.
pub(crate) fn provider(number: u128) -> ProviderId {
    ProviderId(Uuid::from_u128(0x0909_0000 + number))
}

/// A booking, as its application knows it. What is changed in `details` or `provider` is said by
/// the next event.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) details: Details,
    pub(crate) provider: ProviderId,
    booking: BookingId,
    /// The last sequence; `None`: the application counts none.
    pub(crate) sequence: Option<i64>,
    told: u32,
}

impl Story {
    /// A booking from nine to ten, whose events carry a sequence.
    pub(crate) fn of(name: &str, provider: ProviderId) -> Self {
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
    pub(crate) fn unsequenced(name: &str, provider: ProviderId) -> Self {
        Self { sequence: None, ..Self::of(name, provider) }
    }

    /// What its application calls it.
    pub(crate) fn id(&self) -> &BookingId {
        &self.booking
    }

    /// The UID that the service derives.
    pub(crate) fn uid(&self) -> IcalUid {
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
    pub(crate) fn created(&mut self) -> OutgoingEvent {
        self.tell(Change::Created(self.details.clone()))
    }

    /// It is as it is now.
    pub(crate) fn updated(&mut self) -> OutgoingEvent {
        self.tell(Change::Updated(self.details.clone()))
    }

    fn hours(&mut self, start: u32) {
        (self.details.start, self.details.end) = (hour(start), hour(start + 1));
    }

    /// It was moved, for an hour.
    pub(crate) fn moved(&mut self, start: u32) -> OutgoingEvent {
        self.hours(start);
        self.updated()
    }

    /// It was booked anew, for an hour.
    pub(crate) fn rebooked(&mut self, start: u32) -> OutgoingEvent {
        self.hours(start);
        self.created()
    }

    /// It was given to another provider.
    pub(crate) fn given_to(&mut self, provider: ProviderId) -> OutgoingEvent {
        self.provider = provider;
        self.updated()
    }

    /// It was cancelled.
    pub(crate) fn cancelled(&mut self) -> OutgoingEvent {
        self.tell(Change::Cancelled { reason: None })
    }
}
