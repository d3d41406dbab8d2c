//! Where the documents differ or leave it open, and what a provider may do wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Dialect;

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It stays, and no other one is given: Google ("Using OAuth 2.0 for Web Server Applications").
    Stays,
    /// Another one is given, and it is good still: Microsoft "doesn't revoke old refresh tokens when
    /// used to fetch new access tokens" ("Refresh tokens in the Microsoft identity platform").
    FormerStays,
    /// Another one is given, and it is good no more: what RFC 6749 §10.4 recommends. Neither provider
    /// says that it does so.
    FormerEnds,
}

/// What is wrong with an answer, for a client to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// No refresh token, though one was asked for.
    NoRefreshToken,
    /// No ID token, though one was asked for.
    NoIdToken,
    /// An ID token that answers another request.
    WrongNonce,
    /// An ID token without the nonce that was sent.
    NoNonce,
    /// An ID token for another client.
    WrongAudience,
    /// An ID token of another issuer.
    WrongIssuer,
    /// An ID token that has expired.
    ExpiredIdToken,
    /// An ID token that is none.
    BrokenIdToken,
    /// A redirect with another state than was sent.
    WrongState,
}

/// Where the documents differ, or leave it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthSwitches {
    /// Of refresh tokens.
    pub rotation: Rotation,
    /// How long access tokens are good: an hour; Microsoft's are good for 60 to 90 minutes.
    pub access_lifetime: Duration,
    /// Whether that is told: RFC 6749 §5.1 recommends it.
    pub tells_lifetime: bool,
    /// Whether the granted scopes are told: needed only if they differ from what was asked for
    /// (RFC 6749 §5.1).
    pub tells_scope: bool,
    /// Whether Microsoft tells scopes of Graph with the resource before them, whatever was asked for.
    pub tells_whole_scope_names: bool,
    /// How often a device code may be asked about: 5 seconds, unless it is told otherwise
    /// (RFC 8628 §3.2).
    pub device_interval: Duration,
    /// How long a device code is good: 15 minutes with Microsoft.
    pub device_lifetime: Duration,
    /// What is wrong with the answers.
    pub oddities: BTreeSet<Oddity>,
}

impl OauthSwitches {
    pub(super) fn of(dialect: Dialect) -> Self {
        let rotation = match dialect {
            Dialect::Google => Rotation::Stays,
            Dialect::Microsoft => Rotation::FormerStays,
        };
        Self {
            rotation,
            access_lifetime: Duration::from_hours(1),
            tells_lifetime: true,
            tells_scope: true,
            tells_whole_scope_names: false,
            device_interval: Duration::from_secs(5),
            device_lifetime: Duration::from_mins(15),
            oddities: BTreeSet::new(),
        }
    }

    /// Whether this is wrong.
    pub(super) fn is_odd(&self, oddity: Oddity) -> bool {
        self.oddities.contains(&oddity)
    }
}
