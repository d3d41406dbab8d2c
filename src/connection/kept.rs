//! What is kept of an account to open it: credentials that stay as they are, or a grant of OAuth whose
//! access is renewed again and again.
//!
//! A calendar is given [`Credentials`] alone; it never sees what a grant is renewed by.

use std::fmt;
use std::time::Duration;

use booking::CalendarKind;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::delegated::Delegated;
use crate::calendar::Credentials;

/// So long before an access token expires it is renewed: longer than a drain takes as a rule, and than
/// the clocks of two workers differ.
pub const REFRESH_MARGIN: Duration = Duration::from_mins(5);

/// The longest name of a tenant, in bytes: that of a domain.
pub const TENANT_LEN_MAX: usize = 253;

/// The tenant that stands for any: Microsoft's word.
pub const ANY_TENANT: &str = "common";

/// What opens an account.
#[derive(Debug, Clone)]
pub enum Kept {
    /// A password, or a token that nobody renews.
    Fixed(Credentials),
    /// Access that is renewed.
    Grant(Grant),
    /// Access that a service account is given by leave of an organisation.
    Delegated(Box<Delegated>),
}

/// What an account's owner has granted us (RFC 6749).
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who renews the access.
    pub issuer: Issuer,
    /// The client that it was granted to, and to no other; `None`: nobody has noted it.
    pub client: Option<String>,
    /// What it is renewed by.
    pub refresh_token: SecretString,
    /// What opens the calendar now; `None`: it has to be asked for first.
    pub access: Option<Access>,
    /// What was granted, as told last: names with blanks between. `None`: nobody has told.
    pub scopes: Option<String>,
}

/// An access token.
#[derive(Debug, Clone)]
pub struct Access {
    /// The token.
    pub token: SecretString,
    /// How long it is good; `None`: nobody has told, and it is used until it is refused.
    pub lifetime: Option<Lifetime>,
}

/// How long an access token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// From here on it is renewed before it is used.
    pub refresh_at: DateTime<Utc>,
    /// From here on it opens nothing.
    pub expires_at: DateTime<Utc>,
}

impl Lifetime {
    /// Of a token that was asked for at `asked_at`, and is good for so long. One that is not good for
    /// twice the margin is renewed at half its time: else it would be renewed each time that it is
    /// looked at.
    pub fn of(asked_at: DateTime<Utc>, good_for: Duration) -> Self {
        let margin = REFRESH_MARGIN.min(good_for / 2);
        Self {
            refresh_at: after(asked_at, good_for.saturating_sub(margin)),
            expires_at: after(asked_at, good_for),
        }
    }
}

/// A moment that much later; the end of time if there is none.
fn after(moment: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    let time = chrono::TimeDelta::from_std(time).unwrap_or(chrono::TimeDelta::MAX);
    moment.checked_add_signed(time).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Who renews access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// Google.
    Google,
    /// Microsoft, for the users of a tenant.
    Microsoft(Tenant),
}

impl Issuer {
    /// As people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Microsoft(_) => "Microsoft",
        }
    }

    /// Whose calendars it opens.
    pub fn kind(&self) -> CalendarKind {
        match self {
            Self::Google => CalendarKind::Google,
            Self::Microsoft(_) => CalendarKind::Microsoft,
        }
    }
}

/// A directory of users at Microsoft: its id, one of its domains, or `common`, `organizations` and
/// `consumers`. It stands in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant(String);

/// A text that names no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant is an id, a domain, `common`, `organizations` or `consumers`: letters, digits, `.` and `-`, at most {TENANT_LEN_MAX} of them"
)]
pub struct TenantError;

impl Tenant {
    /// Any.
    pub fn any() -> Self {
        Self(ANY_TENANT.to_owned())
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_name = (1..=TENANT_LEN_MAX).contains(&text.len())
            && text.bytes().all(fits)
            && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if is_name { Ok(Self(text.to_ascii_lowercase())) } else { Err(TenantError) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Credentials> for Kept {
    fn from(credentials: Credentials) -> Self {
        Self::Fixed(credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires_and_not_each_time_it_is_looked_at() {
        let now: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
        let times = |good_for| {
            let Lifetime { refresh_at, expires_at } =
                Lifetime::of(now, Duration::from_secs(good_for));
            ((refresh_at - now).num_seconds(), (expires_at - now).num_seconds())
        };
        assert_eq!(times(3_600), (3_300, 3_600));
        assert_eq!(times(600), (300, 600));
        assert_eq!(times(60), (30, 60));
        assert_eq!(times(0), (0, 0));
        assert_eq!(Lifetime::of(now, Duration::MAX).expires_at, DateTime::<Utc>::MAX_UTC);
    }

    #[test]
    fn a_tenant_is_nothing_but_a_name() {
        assert_eq!(Tenant::parse("Contoso.example").unwrap().as_str(), "contoso.example");
        assert_eq!(Tenant::parse(ANY_TENANT).unwrap().as_str(), ANY_TENANT);
        for text in ["", "..", "a/b", "a?b", "a b", "%2e", "ä", &"a".repeat(TENANT_LEN_MAX + 1)] {
            assert_eq!(Tenant::parse(text), Err(TenantError), "{text}");
        }
    }
}
