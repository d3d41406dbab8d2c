//! Connected accounts: what they are called, and how their credentials are kept.
//!
//! [`identity`] and [`seal`] know neither the store nor any calendar's API: names and bytes only;
//! [`accounts`] joins them to open a calendar.

pub mod identity;

pub mod seal;

pub mod accounts;

pub use identity::{CalendarError, calendar_name, connection_id};
pub use seal::{SealError, Sealer};
