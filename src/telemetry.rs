//! Logs, as operators know their fields.
