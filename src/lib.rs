//! calendar-sync keeps calendars equal to the bookings in a Kafka topic.
//!
//! Modules in reading order.

pub use booking;

pub mod config;

pub mod consumer;

pub mod pipeline;

pub mod registry;

pub mod store;

pub mod emit;

pub mod connection;

pub mod calendar;

#[cfg(feature = "demo")]
pub mod emulator;

pub mod clock;

pub mod telemetry;

pub mod cli;
