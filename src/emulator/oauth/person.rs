//! Who sits at the browser, and what they do there: nobody looks at a page, and nobody clicks.

/// Somebody who signs in and is asked for consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account with which they sign in, as it was added to the emulator.
    pub account: String,
    /// Their address; it may change.
    pub email: String,
    /// Their organisation: at Google a domain (`hd`), at Microsoft the id of a directory (`tid`).
    /// `None`: an account of their own.
    pub organisation: Option<String>,
    /// What they say to what an application asks for.
    pub consent: Consent,
}

/// What somebody says to what an application asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Yes to all of it.
    All,
    /// Yes, and these scopes are unticked (Google, "How to handle granular permissions").
    Without(Vec<String>),
    /// No.
    Refused,
}

impl Person {
    /// With an account of their own, whose name is their address; who agrees to everything.
    pub fn new(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            email: account.to_owned(),
            organisation: None,
            consent: Consent::All,
        }
    }

    /// The same, and they say this.
    #[must_use]
    pub fn saying(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }

    /// The same, of this organisation.
    #[must_use]
    pub fn of(mut self, organisation: &str) -> Self {
        self.organisation = Some(organisation.to_owned());
        self
    }
}
