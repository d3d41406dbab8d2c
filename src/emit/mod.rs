//! Sending: lanes, outcomes, backoff.

pub mod outcome;

pub mod backoff;
