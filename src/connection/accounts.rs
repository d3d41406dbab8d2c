//! From a stored connection to a calendar that can be called.

use std::sync::Arc;

use async_trait::async_trait;

use super::seal::{SealError, Sealer};
use crate::calendar::http::Http;
use crate::calendar::{self, Account, Calendar};
use crate::emit::{Accounts, Unopened};
use crate::store::ConnectionRow;

/// Opens connections with their sealed credentials.
pub struct SealedAccounts {
    sealer: Sealer,
    http: Http,
}

impl SealedAccounts {
    /// With the key that seals, and the client that calls.
    pub fn new(sealer: Sealer, http: Http) -> Self {
        Self { sealer, http }
    }
}

#[async_trait]
impl Accounts for SealedAccounts {
    async fn open(&self, connection: &ConnectionRow) -> Result<Arc<dyn Calendar>, Unopened> {
        let credentials =
            self.sealer.open(connection.id, &connection.sealed).map_err(|error| match error {
                SealError::OtherKey { .. } | SealError::WrongKey { .. } | SealError::NoKey => {
                    Unopened::Process(error.to_string())
                }
                SealError::Empty { .. }
                | SealError::Malformed { .. }
                | SealError::TooLong { .. } => Unopened::Credentials(error.to_string()),
            })?;
        let account = Account {
            connection: connection.id,
            base_url: connection.base_url.clone(),
            calendar: connection.calendar.clone(),
            credentials,
        };
        Ok(calendar::open(connection.kind, account, &self.http))
    }
}
