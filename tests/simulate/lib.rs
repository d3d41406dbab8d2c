//! The service's own core, pipeline and lanes in a world that is drawn from a seed: log, database,
//! calendars, clocks and processes are simulated, and fail in every way that we know of.

pub mod store;

pub mod calendars;
