//! Connected accounts: what they are called, and how their credentials are kept.
//!
//! [`identity`], [`kept`], [`delegated`] and [`seal`] know neither the store nor any calendar's API:
//! names and bytes only. [`refresh`] (pure) says what a token endpoint's answer means, [`token_endpoint`] asks for it,
//! and [`accounts`] joins them all to open a calendar.

pub mod identity;

pub mod kept;

pub mod delegated;

pub mod seal;

pub mod refresh;

pub mod token_endpoint;

pub mod accounts;

pub use delegated::{Delegated, ServiceKey};
pub use identity::{CalendarError, calendar_name, connection_id};
pub use kept::{Grant, Issuer, Kept};
pub use seal::{SealError, Sealer};
