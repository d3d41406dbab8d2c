//! Access tokens: whose they are, what they open, and until when.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything of its account.
    Full,
    /// Events alone, to read and write them: Google's scope `calendar.events`.
    Events,
    /// To read alone (L28).
    ReadOnly,
    /// Nothing of a calendar: the token is sound, and its scopes are others.
    Elsewhere,
    /// Nothing.
    Revoked,
}

pub(super) struct Token {
    pub(super) account: String,
    pub(super) access: Access,
    expires_at: Option<DateTime<Utc>>,
}

/// Why a request is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It brings no token.
    Missing,
    /// It brings one that is unknown, revoked or expired.
    Invalid,
}

/// All tokens.
#[derive(Default)]
pub(super) struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// Adds a token, or says anew what it is good for.
    pub(super) fn set(&mut self, token: &str, account: &str, access: Access) {
        let state = Token { account: account.to_owned(), access, expires_at: None };
        self.0.insert(token.to_owned(), state);
    }

    /// `false`: it is unknown.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        self.0.get_mut(token).map(|token| token.access = Access::Revoked).is_some()
    }

    pub(super) fn revoke_all_of(&mut self, account: &str) {
        for token in self.0.values_mut().filter(|token| token.account == account) {
            token.access = Access::Revoked;
        }
    }

    /// `false`: it is unknown.
    pub(super) fn expire_at(&mut self, token: &str, at: DateTime<Utc>) -> bool {
        self.0.get_mut(token).map(|token| token.expires_at = Some(at)).is_some()
    }

    /// Whose token an `Authorization` header brings.
    pub(super) fn authenticate(
        &self,
        header: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<&Token, Denied> {
        let header = header.ok_or(Denied::Missing)?;
        let token = header.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let token = token.and_then(|(_, token)| self.0.get(token.trim())).ok_or(Denied::Invalid)?;
        let is_over = token.expires_at.is_some_and(|at| now >= at);
        if token.access == Access::Revoked || is_over {
            return Err(Denied::Invalid);
        }
        Ok(token)
    }
}
