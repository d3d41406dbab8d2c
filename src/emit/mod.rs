//! Sending: lanes, outcomes, backoff.
