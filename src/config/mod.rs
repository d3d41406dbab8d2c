//! Settings: read once, checked once, secrets wrapped.
