//! The one HTTP client.
/// Placeholder until the client is written.
#[derive(Clone)]
pub struct Http;
