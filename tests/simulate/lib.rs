//! The service's own core, pipeline and lanes in a world that is drawn from a seed: log, database,
//! calendars, clocks and processes are simulated, and fail in every way that we know of.
//!
//! # The way of a seed
//!
//! 1. [`plan`] draws how large the world is and which faults it has, [`script`] what happens when.
//! 2. [`world`] holds what is no worker's: the topic ([`log`], [`group`]), the database ([`store`],
//!    which the contract of the real stores holds too), the calendars ([`calendars`]), the hour
//!    ([`clock`]).
//! 3. [`worker`] runs the service's consumer, pipeline and lanes in a process that can be ended or
//!    frozen at any step ([`life`]); it reaches the world through [`member`], [`database`] and
//!    [`wire`], where things go wrong ([`journey`]).
//! 4. [`story`] is the booking application, [`operator`] the person on call, [`host`] the one whose
//!    calendar it is.
//! 5. [`run`] lets all of it happen, in virtual time, until nothing is left to do; then [`oracle`]
//!    compares the calendars with the story. [`audit`] has watched meanwhile, [`panics`] too, and
//!    [`coverage`] has counted.
//! 6. Where calendars are swept ([`sweeps`]), the host does some more by hand [`afterwards`], and what
//!    becomes of that follows from the policy alone.
//!
//! [`variant`] breaks the service on purpose: what the simulator cannot see, it cannot hold.

mod plan;

mod script;

mod world;

mod log;

mod group;

pub mod store;

pub mod calendars;

mod accounts;

pub mod graph;

pub mod adapter;

mod clock;

mod dice;

mod life;

mod worker;

mod member;

mod database;

mod journey;

mod wire;

mod audit;

mod story;

mod operator;

mod host;

mod sweeps;

mod afterwards;

mod panics;

pub mod run;

mod oracle;

pub mod coverage;

pub mod variant;

pub mod regressions;
