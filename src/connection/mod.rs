//! Connected accounts: what they are called, and how their credentials are kept.
//!
//! [`identity`], [`kept`], [`delegated`], [`seal`] and [`pass`] know neither the store nor any
//! calendar's API: names and bytes only. [`refresh`] (pure) says what a token endpoint's answer means, [`token_endpoint`] asks for it,
//! and [`accounts`] joins them all to open a calendar. [`known`] finds what a calendar was called before.
//!
//! [`connecting`] asks an owner for a new grant. What is asked for and whether it was given
//! ([`scopes`]), what a browser brings back ([`returned`]), what the token endpoint answers
//! ([`first_answer`]) and whose account it is ([`id_token`]) are decided purely.

pub mod identity;

pub mod kept;

pub mod delegated;

pub mod seal;

pub mod pass;

pub mod refresh;

pub mod token_endpoint;

pub mod accounts;

pub mod known;

pub mod scopes;

pub mod connect_error;

pub mod returned;

pub mod id_token;

pub mod first_answer;

pub mod connecting;

mod courier;

pub use connect_error::ConnectError;
pub use connecting::{Begun, Connected, Connecting, Device, judge_reconnecting};
pub use delegated::{Delegated, ServiceKey};
pub use identity::{CalendarError, calendar_name, connection_id};
pub use kept::{Grant, Issuer, Kept};
pub use seal::{SealError, Sealer};
