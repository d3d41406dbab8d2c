//! From a stored connection to a calendar that can be called, and to new access where that expires.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

use super::kept::{Access, Grant, Kept, Lifetime};
use super::refresh::Denied;
use super::seal::{SealError, Sealer};
use super::token_endpoint::TokenEndpoints;
use crate::calendar::http::Http;
use crate::calendar::{self, Account, Credentials};
use crate::clock::Surroundings;
use crate::config::OauthSettings;
use crate::emit::{Accounts, Opened, Unopened, Unrenewed};
use crate::store::ConnectionRow;

/// Opens connections with their sealed credentials.
pub struct SealedAccounts {
    sealer: Sealer,
    http: Http,
    endpoints: TokenEndpoints,
    surroundings: Surroundings,
}

impl SealedAccounts {
    /// With the keys that seal and open, the client that calls, and as whom access is renewed.
    pub fn new(
        sealer: Sealer,
        http: Http,
        oauth: OauthSettings,
        surroundings: Surroundings,
    ) -> Self {
        let clock = Arc::clone(&surroundings.clock);
        let endpoints = TokenEndpoints::new(http.clone(), oauth, clock);
        Self { sealer, http, endpoints, surroundings }
    }

    fn kept(&self, connection: &ConnectionRow) -> Result<Kept, SealError> {
        self.sealer.open(connection.id, &connection.sealed)
    }
}

/// Whether another process, or this one with other settings, may open it.
fn is_of_process(error: &SealError) -> bool {
    match error {
        SealError::OtherKey { .. } | SealError::WrongKey { .. } | SealError::NoKey => true,
        SealError::Empty { .. } | SealError::Malformed { .. } | SealError::TooLong { .. } => false,
    }
}

/// The access of now, as a calendar takes it.
fn carried(access: Option<Access>) -> Result<(Credentials, Option<Lifetime>), Unopened> {
    let Access { token, lifetime } = access.ok_or(Unopened::Stale)?;
    Ok((Credentials::Bearer { token }, lifetime))
}

#[async_trait]
impl Accounts for SealedAccounts {
    async fn open(&self, connection: &ConnectionRow) -> Result<Opened, Unopened> {
        let kept = self.kept(connection).map_err(|error| {
            let reason = error.to_string();
            let of_process = is_of_process(&error);
            if of_process { Unopened::Process(reason) } else { Unopened::Credentials(reason) }
        })?;
        let (credentials, lifetime) = match kept {
            Kept::Fixed(credentials) => (credentials, None),
            Kept::Grant(Grant { access, .. }) => carried(access)?,
            Kept::Delegated(delegated) => carried(delegated.access)?,
        };
        let account = Account {
            connection: connection.id,
            base_url: connection.base_url.clone(),
            calendar: connection.calendar.clone(),
            credentials,
        };
        let calendar = calendar::open(connection.kind, account, &self.http);
        Ok(Opened { calendar, lifetime })
    }

    async fn renew(&self, connection: &ConnectionRow) -> Result<Vec<u8>, Unrenewed> {
        let kept = self.kept(connection).map_err(|error| {
            let reason = error.to_string();
            let of_process = is_of_process(&error);
            if of_process { Unrenewed::Process(reason) } else { Unrenewed::Person(reason) }
        })?;
        let renewed = match kept {
            Kept::Fixed(_) => return Err(Unrenewed::Lasting),
            Kept::Grant(grant) => self.endpoints.refresh(&grant).await.map(Kept::Grant),
            Kept::Delegated(delegated) => {
                let renewed = self.endpoints.assert(&delegated).await;
                renewed.map(|renewed| Kept::Delegated(Box::new(renewed)))
            }
        };
        let kept = renewed.map_err(|denied| match denied {
            Denied::Refused { reason } => Unrenewed::Person(reason),
            Denied::Misconfigured { reason } => Unrenewed::Process(reason),
            Denied::Later { after, reason } => Unrenewed::Later { after, reason },
        })?;
        let sealed = self.sealer.seal(connection.id, &kept, &*self.surroundings.dice);
        sealed.map_err(|error| Unrenewed::Process(error.to_string()))
    }

    fn is_same(&self, one: &ConnectionRow, other: &ConnectionRow) -> bool {
        match (self.kept(one), self.kept(other)) {
            (Ok(Kept::Grant(one)), Ok(Kept::Grant(other))) => {
                one.refresh_token.expose_secret() == other.refresh_token.expose_secret()
            }
            (Ok(Kept::Delegated(one)), Ok(Kept::Delegated(other))) => {
                one.user == other.user
                    && one.key.private_key.expose_secret() == other.key.private_key.expose_secret()
            }
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }
}
