//! What becomes of a booking: one function a story, told in the order in which it happens.
//!
//! Like [`super::day`], of which it is a part, this knows nothing of the service.

use chrono::{DateTime, Days, Duration, NaiveTime, SecondsFormat, TimeZone as _, Utc};
use chrono_tz::Tz;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};

use super::day::{Appointment, Intended, Provider, WAVES, uuid};

/// A story.
pub(super) type Story = for<'a, 'b> fn(&'a mut Teller<'b>) -> &'a mut Teller<'b>;

/// All of them. Where a booking's records are put out of order, they are counted.
pub(super) const STORIES: [Story; 20] = [
    |t| t.counted().create(),
    |t| t.create(),
    // Moved, once it stands in the calendar; and before.
    |t| t.counted().create().wave(1).move_it().update(),
    |t| t.create().wave(1).move_it().update().wave(2).move_it().update(),
    |t| t.create().move_it().update().move_it().update().repeat(),
    |t| t.create().wave(1).reword().update().repeat(),
    // Called off, once it stands in the calendar; before; and after it was moved.
    |t| t.create().wave(1).cancel().repeat(),
    |t| t.counted().create().cancel(),
    |t| t.create().wave(1).move_it().update().wave(2).cancel(),
    // Called off, and what comes after that comes too late.
    |t| t.create().wave(1).cancel().too_late(),
    // Called off, and booked again.
    |t| t.counted().create().wave(1).cancel().wave(2).move_it().create(),
    |t| t.counted().create().wave(1).cancel().move_it().create().repeat(),
    |t| t.counted().create().cancel().move_it().create().cancel().disorder(),
    // Somebody else takes over.
    |t| t.create().wave(1).hand_over().update(),
    |t| t.counted().create().wave(1).hand_over().update().move_it().update().disorder(),
    // Asked for, then confirmed; and doubted again.
    |t| t.pending().create().wave(1).confirm().update(),
    |t| t.counted().create().wave(1).pending().update().wave(2).confirm().update(),
    // A no-show changes no calendar.
    |t| t.create().wave(1).no_show().update().repeat(),
    // Out of order: the producer's own, and old ones once more, much later.
    |t| t.counted().create().move_it().update().reword().update().disorder().wave(2).repeat(),
    // The first that is heard of it is a change.
    |t| t.move_it().update().wave(1).reword().update(),
];

const SERVICES: [&str; 8] = [
    "Erstgespräch",
    "Haircut & beard",
    "Massage, 60 minutes",
    "Check-up",
    "Reef dive for two",
    "Aula de violão",
    "योग कक्षा",
    "Fysioterapi 🦵",
];
const PLACES: [&str; 6] = [
    "Hofgarten 3, 2. Stock",
    "118 Bedford Ave, Brooklyn",
    "Room 4; ring twice",
    "Ned's Beach, boat shed",
    "Rua Augusta 12",
    "online",
];
const TEXTS: [&str; 5] = [
    "Please be ten minutes early.",
    "Bring the form:\n- signed\n- dated",
    "Zufahrt über den Hof; Klingel „Weber“.",
    "First visit, 20 % off, see \"terms\" \\ house rules",
    "गेट नंबर 2",
];

/// A booking as its application knows it.
#[derive(Debug, Clone)]
struct Details {
    status: &'static str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    zone: Tz,
    service: &'static str,
    description: Option<&'static str>,
    location: Option<&'static str>,
}

/// What a story came to.
pub(super) struct Told {
    pub(super) key: String,
    pub(super) steps: [Vec<Value>; WAVES],
    pub(super) intended: Intended,
}

/// Tells one booking's story.
pub(super) struct Teller<'a> {
    dice: &'a mut StdRng,
    providers: &'a [Provider],
    now: DateTime<Utc>,
    key: String,
    uid: Option<String>,
    provider: usize,
    details: Details,
    /// The booking's own version, where its application counts one.
    sequence: Option<i64>,
    wave: usize,
    held: Option<Appointment>,
    steps: [Vec<Value>; WAVES],
    after: [Option<Appointment>; WAVES],
    creates: usize,
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        dice: &'a mut StdRng,
        providers: &'a [Provider],
        provider: usize,
        number: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let zone = providers[provider].zone;
        let (start, end) = time(dice, now, zone);
        let details = Details {
            status: "CONFIRMED",
            start,
            end,
            zone,
            service: pick(dice, &SERVICES),
            description: dice.random_bool(0.6).then(|| pick(dice, &TEXTS)),
            location: dice.random_bool(0.7).then(|| pick(dice, &PLACES)),
        };
        let key = format!("b-{number:04}-{:08x}", dice.random::<u32>());
        let uid = dice.random_bool(0.5).then(|| format!("{}@bookings.example.com", uuid(dice)));
        Self {
            dice,
            providers,
            now,
            key,
            uid,
            provider,
            details,
            sequence: None,
            wave: 0,
            held: None,
            steps: Default::default(),
            after: Default::default(),
            creates: 0,
        }
    }

    /// From here on the application counts the booking's versions.
    fn counted(&mut self) -> &mut Self {
        self.sequence = Some(self.dice.random_range(0..3));
        self
    }

    /// What follows is published in a later wave.
    fn wave(&mut self, wave: usize) -> &mut Self {
        for passed in self.wave..wave {
            self.after[passed].clone_from(&self.held);
        }
        self.wave = wave;
        self
    }

    fn move_it(&mut self) -> &mut Self {
        (self.details.start, self.details.end) = time(self.dice, self.now, self.details.zone);
        self
    }

    fn reword(&mut self) -> &mut Self {
        self.details.description = match self.details.description {
            Some(_) if self.dice.random_bool(0.3) => None,
            Some(_) | None => Some(pick(self.dice, &TEXTS)),
        };
        self.details.location = Some(pick(self.dice, &PLACES));
        let others: Vec<_> =
            SERVICES.into_iter().filter(|service| *service != self.details.service).collect();
        self.details.service = pick(self.dice, &others);
        self
    }

    fn hand_over(&mut self) -> &mut Self {
        let further = self.dice.random_range(1..self.providers.len());
        self.provider = (self.provider + further) % self.providers.len();
        self
    }

    fn pending(&mut self) -> &mut Self {
        self.details.status = "PENDING";
        self
    }

    fn confirm(&mut self) -> &mut Self {
        self.details.status = "CONFIRMED";
        self
    }

    fn no_show(&mut self) -> &mut Self {
        self.details.status = "NO_SHOW";
        self
    }

    fn create(&mut self) -> &mut Self {
        self.publish_whole("BookingCreated");
        self.hold();
        self
    }

    fn update(&mut self) -> &mut Self {
        self.publish_whole("BookingUpdated");
        self.hold();
        self
    }

    fn cancel(&mut self) -> &mut Self {
        let reason = self.dice.random_bool(0.5).then_some("the customer is ill");
        self.publish("BookingCancelled", &json!({ "reason": reason }));
        self.held = None;
        self
    }

    /// A change and a new creation of what was called off: without a version they say nothing.
    fn too_late(&mut self) -> &mut Self {
        assert!(self.sequence.is_none() && self.held.is_none(), "only then are they too late");
        self.move_it();
        self.publish_whole("BookingUpdated");
        self.publish_whole("BookingCreated");
        self
    }

    /// Publishes some record of this booking once more, as it was.
    fn repeat(&mut self) -> &mut Self {
        let published: Vec<_> = self.steps.iter().flatten().collect();
        let again = pick(self.dice, &published).clone();
        self.steps[self.wave].push(again);
        self
    }

    /// Puts this wave's records out of order.
    fn disorder(&mut self) -> &mut Self {
        assert!(self.sequence.is_some(), "only versions can tell what came first");
        self.steps[self.wave].shuffle(self.dice);
        self
    }

    /// Ends the story.
    pub(super) fn end(mut self, uid_domain: &str) -> Told {
        self.wave(WAVES);
        let uid = self.uid.unwrap_or_else(|| format!("booking-{}@{uid_domain}", self.key));
        let intended = Intended { uid, after: self.after, creates_max: self.creates };
        Told { key: self.key, steps: self.steps, intended }
    }

    /// Notes what the calendars should hold now.
    fn hold(&mut self) {
        let details = &self.details;
        let now = Appointment {
            provider: self.provider,
            summary: format!("Booking: {}", details.service),
            description: details.description.map(str::to_owned),
            location: details.location.map(str::to_owned),
            start: details.start,
            end: details.end,
            zone: details.zone,
            tentative: details.status == "PENDING",
        };
        let before = self.held.replace(now);
        self.creates += usize::from(before.is_none_or(|held| held.provider != self.provider));
    }

    fn publish_whole(&mut self, kind: &str) {
        let details = &self.details;
        let whole = json!({
            "status": details.status,
            "start_time": said(details.start),
            "end_time": said(details.end),
            "time_zone": details.zone.name(),
            "service_name": details.service,
            "title": "not shown",
            "description": details.description,
            "location": details.location,
            "notes": "not for calendars",
            "customer_name": "Private Person",
            "customer_email": "private@example.org",
        });
        self.publish(kind, &whole);
    }

    fn publish(&mut self, kind: &str, rest: &Value) {
        let mut event = json!({
            "type": kind,
            "event_id": uuid(self.dice),
            "booking_id": self.key,
            "ical_uid": self.uid,
            "provider_id": self.providers[self.provider].id,
            "sequence": self.sequence,
            "occurred_at": said(self.now),
        });
        if let (Some(event), Some(rest)) = (event.as_object_mut(), rest.as_object()) {
            event.extend(rest.clone());
        }
        self.steps[self.wave].push(event);
        self.sequence = self.sequence.map(|sequence| sequence + self.dice.random_range(1..4));
    }
}

fn pick<T: Copy>(dice: &mut StdRng, from: &[T]) -> T {
    *from.choose(dice).expect("there is something to choose from")
}

fn said(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// From the day after tomorrow on, mostly by day and soon, now and then at night, or beyond the
/// next change of the clocks.
fn time(dice: &mut StdRng, now: DateTime<Utc>, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
    let days = if dice.random_bool(0.85) { 2..15 } else { 15..200 };
    let hours = if dice.random_bool(0.9) { 8..18 } else { 0..4 };
    let day = now.with_timezone(&zone).date_naive() + Days::new(dice.random_range(days));
    let quarter = dice.random_range(0..4_u32) * 15;
    let hour = NaiveTime::from_hms_opt(dice.random_range(hours), quarter, 0).unwrap_or_default();
    let local = day.and_time(hour);
    // An hour that the clocks skip is said an hour later.
    let start = zone
        .from_local_datetime(&local)
        .earliest()
        .or_else(|| zone.from_local_datetime(&(local + Duration::hours(1))).earliest())
        .map_or_else(|| local.and_utc(), |start| start.to_utc());
    (start, start + Duration::minutes(dice.random_range(1..9) * 15))
}
