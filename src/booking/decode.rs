//! Reading an event from a record's bytes.
