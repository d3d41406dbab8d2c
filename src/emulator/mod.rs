//! Emulators of the providers' APIs, over real HTTP, on the loopback interface.
//!
//! They refuse what the real API refuses, remember every call and what it did, and fail to order:
//! an answer lost after the call took effect, a refusal before or after, a request that lands
//! long after its client has left. Tests and the demo stand on them; production does not.
//!
//! The server, the faults and the call log know no provider; `google` knows the rest.

pub mod call_log;

pub mod faults;

mod server;

pub mod google;

pub use call_log::{Answered, CallRecord, Calls, Effect, Tally, Verb};
pub use faults::{Fault, Moment, Ordered, Refusal, Rule};
pub use google::{GoogleEmulator, Options};
