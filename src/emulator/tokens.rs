//! Access tokens: whose they are, what they open, and until when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Power {
    /// The list of the account's calendars.
    ListCalendars,
    /// A calendar as such.
    ReadCalendar,
    /// Events, to read them.
    ReadEvents,
    /// Events, to write them.
    WriteEvents,
    /// Who the account is.
    KnowUser,
}

/// All that a token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access(BTreeSet<Power>);

impl Access {
    /// Everything of its account.
    pub(super) fn full() -> Self {
        use Power::{KnowUser, ListCalendars, ReadCalendar, ReadEvents, WriteEvents};
        Self([ListCalendars, ReadCalendar, ReadEvents, WriteEvents, KnowUser].into())
    }

    /// Events alone, to read and write them: Google's scope `calendar.events`.
    pub(super) fn events() -> Self {
        Self([Power::ReadEvents, Power::WriteEvents, Power::KnowUser].into())
    }

    /// To read alone (L28).
    pub(super) fn read_only() -> Self {
        let mut access = Self::full();
        access.0.remove(&Power::WriteEvents);
        access
    }

    /// Nothing of a calendar: the token is sound, and its scopes are others.
    pub(super) fn elsewhere() -> Self {
        Self([Power::KnowUser].into())
    }

    /// These alone.
    pub(super) fn of(powers: impl Iterator<Item = Power>) -> Self {
        Self(powers.collect())
    }

    /// Whether it opens this.
    pub(super) fn opens(&self, power: Power) -> bool {
        self.0.contains(&power)
    }
}

pub(super) struct Token {
    pub(super) account: String,
    pub(super) access: Access,
    is_revoked: bool,
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
        let state =
            Token { account: account.to_owned(), access, is_revoked: false, expires_at: None };
        self.0.insert(token.to_owned(), state);
    }

    /// `false`: it is unknown.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        self.0.get_mut(token).map(|token| token.is_revoked = true).is_some()
    }

    pub(super) fn revoke_all_of(&mut self, account: &str) {
        for token in self.0.values_mut().filter(|token| token.account == account) {
            token.is_revoked = true;
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
        if token.is_revoked || is_over {
            return Err(Denied::Invalid);
        }
        Ok(token)
    }
}
