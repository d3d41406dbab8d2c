//! Connected accounts: what they are called, and how their credentials are kept.
//!
//! Knows neither the store nor any calendar's API: names and bytes only.

pub mod identity;

pub mod seal;

pub use identity::{CalendarError, calendar_name, connection_id};
pub use seal::{SealError, Sealer};
