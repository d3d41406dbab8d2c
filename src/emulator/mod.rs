//! Emulators of the providers' APIs, over real HTTP, on the loopback interface.
//!
//! They refuse what the real API refuses, remember every call and what it did, and fail to order:
//! an answer lost after the call took effect, a refusal before or after, a request that lands
//! long after its client has left. Tests and the demo stand on them; production does not. What our
//! adapters send them can be recorded ([`recording`]), and is then held against what the providers
//! publish.
//!
//! `google` and `microsoft` are what each provider does with a request, and all that they know of
//! the rest is `life`: the server, the faults, the limits and the call log know no provider.

pub mod call_log;

pub mod faults;

mod throttle;

mod tokens;

mod oauth;

mod local_time;

mod reply;

mod server;

pub mod recording;

mod life;

pub mod google;

pub mod microsoft;

pub use call_log::{Answered, CallRecord, Calls, Effect, Tally, Verb};
pub use faults::{Fault, Moment, Ordered, Refusal, Rule};
pub use google::{GoogleEmulator, Options};
pub use microsoft::MicrosoftEmulator;
pub use oauth::{Consent, OauthSwitches, Oddity, Person, Rotation};
pub use throttle::{Limits, Quota};
