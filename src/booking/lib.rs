//! The pure core of calendar-sync: what a booking's events mean for a calendar.
//!
//! No async, no I/O, no clock, no dice: everything here is data in, data out, so that a replay of
//! the log gives the same answer on every machine and every day. That this is a crate of its own
//! lets Cargo hold the rule.
//!
//! In reading order: [`vocabulary`] names things, [`event`] is a fact from the log, [`decode`]
//! reads one from a record's bytes, [`content`] is what a calendar shows of a booking, [`fold`]
//! turns events into one state per booking, [`plan`] turns two states into the calls that we owe.

pub mod vocabulary;

pub mod event;

pub mod poison;

pub mod decode;

pub mod content;

pub mod fold;

pub mod plan;

pub use content::{Content, Digest, Marker, Rules};
pub use event::{BookingEvent, Change, Details, Status};
pub use fold::{Arrival, Booking, Decision, FoldError};
pub use plan::{Desired, Effect};
pub use poison::{Poison, PoisonClass};
pub use vocabulary::{
    BookingId, CalendarKind, ConnectionId, EventId, IcalUid, Position, ProviderId, Verb,
};
