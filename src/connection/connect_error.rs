//! Why an account could not be connected: in plain words, for the person who is at it.
//!
//! No text holds a secret, nor more of an answer than a word that looks like a name.

use std::time::Duration;

use super::scopes::ScopeError;
use crate::calendar::discovery::ListError;

/// Why an account is not connected. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A person said no.
    #[error("{issuer} says that the account's owner did not agree ({said})")]
    Declined {
        /// Who says so.
        issuer: &'static str,
        /// In which words.
        said: String,
    },
    /// Something stands in the way that the owner cannot just agree to.
    #[error(
        "{issuer} does not let the account's owner grant this as it is ({said}): an administrator of the \
         account's organisation may have to allow it"
    )]
    Barred {
        /// Who says so.
        issuer: &'static str,
        /// In which words.
        said: String,
    },
    /// Used, too old, or another's.
    #[error(
        "{issuer} does not take the code that it gave ({said}): each is good once, and for a few \
         minutes; begin again"
    )]
    Code {
        /// Whose code.
        issuer: &'static str,
        /// In which words.
        said: String,
    },
    /// Whoever began this, it was not the one who ends it; or it was too long ago.
    #[error("this answer belongs to nothing that was begun here, or not of late; begin again")]
    State,
    /// Nobody came.
    #[error("nobody agreed in the time that there was; begin again")]
    Expired,
    /// A stop came first.
    #[error("stopped before the account's owner had agreed")]
    Stopped,
    /// Not all that is needed was granted.
    #[error("{issuer}: {source}")]
    Scopes {
        /// Who granted it.
        issuer: &'static str,
        /// What is wrong with it.
        source: ScopeError,
    },
    /// It would be over within the hour.
    #[error(
        "{issuer} gave access and nothing to renew it by: {why}; take our access away in the \
         account's settings, and begin again"
    )]
    NoRefreshToken {
        /// Who.
        issuer: &'static str,
        /// How that can be.
        why: &'static str,
    },
    /// Whose account it is was not told, or not by whom it should be.
    #[error("{issuer} does not tell soundly whose account it is: the ID token {problem}")]
    Identity {
        /// Who should.
        issuer: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// R17.
    #[error(
        "this is the account {given}, and the connection is to the account {expected}: sign in to \
         that one, or connect this one by itself"
    )]
    OtherAccount {
        /// The immutable subject of the account that is connected.
        expected: String,
        /// That of this one.
        given: String,
    },
    /// Ours to mend.
    #[error("{reason}")]
    Misconfigured {
        /// What, and where.
        reason: String,
    },
    /// To be tried again.
    #[error("{reason}")]
    Later {
        /// How long we are asked to wait.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// No answer that means anything.
    #[error("{reason}")]
    NotUnderstood {
        /// What came.
        reason: String,
    },
    /// Access was given, and opens no list.
    #[error(transparent)]
    List(#[from] ListError),
}
