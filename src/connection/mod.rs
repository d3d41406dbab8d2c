//! Connected accounts: identity, sealed credentials.
