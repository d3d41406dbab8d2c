//! Microsoft Graph's calendar API v1.0, as far as a calendar of bookings needs it.
//!
//! Served, under `/me` and `/users/{id}`: the user, `calendars` list and get, `calendar`; `events`
//! list, create, get, update and delete, in a calendar and in the mailbox; `calendarView` and its
//! `delta`; and the authorisation server: consent, device codes, tokens. Not there: `$batch`,
//! subscriptions, meetings (`cancel`, responses, mail), recurrence (`recurrence` is kept as it is sent,
//! and not expanded), attachments. Microsoft's
//! reference says what each does, and [`Switches`] holds every point on which it, or the reports
//! about the service, disagree.
//!
//! A token is looked at when a call takes effect, not when it arrives: a delayed call whose token
//! has been revoked or has expired meanwhile does nothing (rule R14 counts on that).

mod by_hand;

mod delta;

mod errors;

mod event;

mod fields;

mod filter;

mod html;

mod ids;

mod list;

mod prefer;

mod property;

mod query;

mod render;

mod routes;

mod state;

mod switches;

mod times;

mod verbs;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use self::state::State;
use super::call_log::Calls;
use super::faults::{Ordered, Rule};
use super::life::{Bounds, Running};
use super::oauth::{OauthSwitches, Person};
use super::throttle::{Limits, Quota};
use super::tokens::Access;
use crate::calendar::zone::windows as zones;
use crate::clock::Clock;

pub use self::by_hand::{ByHand, EventView};
pub use self::errors::refusals;
pub use self::switches::{
    AfterDelete, DuplicateStatus, ExpiredDelta, SearchScope, SecondDelete, Switches,
};
pub use super::life::STOP_TIMEOUT;

/// How to start.
#[derive(Clone)]
pub struct Options {
    /// The hour: `createdDateTime`, `lastModifiedDateTime`, expiry, lags and the window of quotas.
    pub clock: Arc<dyn Clock>,
    /// Where the sources disagree.
    pub switches: Switches,
    /// The largest body, in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// How many calls the log remembers; beside that, their bodies have a bound,
    /// [`super::call_log::LOG_BODIES_BYTES_MAX`].
    pub log_entries_max: usize,
    /// How many events a mailbox holds, and as many deleted ones; a further one is answered 507.
    pub events_max: usize,
    /// How many calls an account may make; one over it is answered 429 `ApplicationThrottled`.
    pub limits: Limits,
}

impl Options {
    /// Strict, with Graph's documented limits of each mailbox (4 calls at once, 10,000 in 10
    /// minutes), and bounded for tests and the demo.
    pub fn strict(clock: Arc<dyn Clock>) -> Self {
        let quota = Quota { calls_max: 10_000, window: Duration::from_mins(10) };
        Self {
            clock,
            switches: Switches::default(),
            body_bytes_max: 1 << 20,
            log_entries_max: 50_000,
            events_max: 100_000,
            limits: Limits {
                in_flight_max: Some(4),
                quota: Some(quota),
                shared: false,
                retry_after_s: Some(1),
            },
        }
    }
}

/// A running emulator. Cheap to clone; it stops when told to, or with its last clone.
#[derive(Clone)]
pub struct MicrosoftEmulator(Running<State>);

impl MicrosoftEmulator {
    /// Binds a free port of the loopback interface and serves there.
    pub async fn start(options: Options) -> io::Result<Self> {
        let state = State::new(options.switches, options.events_max);
        let bounds = Bounds {
            clock: options.clock,
            limits: options.limits,
            body_bytes_max: options.body_bytes_max,
            log_entries_max: options.log_entries_max,
        };
        Running::start(state, bounds).await.map(Self)
    }

    /// Stops: no new connection, held calls end without an answer, the others are finished, within
    /// [`STOP_TIMEOUT`].
    pub async fn stop(&self) {
        self.0.stop().await;
    }

    /// What stands before `/me` and `/users/…`.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.0.address, routes::ROOT)
    }

    /// What stands before the tenant in the address of a token endpoint.
    pub fn authority(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Adds an account with its default calendar, whose id is returned, and a token for it. Also a
    /// further token for an account that is there.
    pub fn add_account(&self, token: &str, account: &str) -> String {
        self.add_token(token, account, Access::full())
    }

    /// Adds a token with which an account's calendars can be read, and no more (L28): the scope
    /// `Calendars.Read`.
    pub fn add_read_only_token(&self, token: &str, account: &str) -> String {
        self.add_token(token, account, Access::read_only())
    }

    /// Adds a token whose scopes say who the user is, and open no calendar: `User.Read`.
    pub fn add_user_token(&self, token: &str, account: &str) -> String {
        self.add_token(token, account, Access::elsewhere())
    }

    fn add_token(&self, token: &str, account: &str, access: Access) -> String {
        let mut state = self.0.core.state();
        state.tokens.set(token, account, access);
        state.add_account(account)
    }

    /// Revokes a token: 401 `InvalidAuthenticationToken` from now on. `false`: it is unknown.
    pub fn revoke_token(&self, token: &str) -> bool {
        self.0.core.state().tokens.revoke(token)
    }

    /// Lets a token expire at that time: 401 `InvalidAuthenticationToken` from then on. `false`:
    /// it is unknown.
    pub fn expire_token_at(&self, token: &str, at: DateTime<Utc>) -> bool {
        self.0.core.state().tokens.expire_at(token, at)
    }

    /// Revokes all tokens of an account, and what they are renewed by.
    pub fn revoke_account(&self, account: &str) {
        let mut state = self.0.core.state();
        state.tokens.revoke_all_of(account);
        state.oauth.revoke_all_of(account);
    }

    /// Adds a client, or says its secret anew; without one it is a public client.
    pub fn set_client(&self, id: &str, secret: Option<&str>) {
        self.0.core.state().oauth.clients.set(id, secret);
    }

    /// A client may have people sent back to this address: letter by letter, but for the port of
    /// `http://localhost`.
    pub fn add_redirect(&self, client: &str, uri: &str) {
        self.0.core.state().oauth.clients.add_redirect(client, uri);
    }

    /// Who sits at the browser from now on, and what they say; `None`: nobody, and there is a page
    /// to sign in.
    pub fn seat(&self, person: Option<Person>) {
        self.0.core.state().oauth.person = person;
    }

    /// Somebody enters a code that a device has shown, and says yes or no. `false`: there is no such
    /// code, or it was entered before.
    pub fn enter_user_code(&self, user_code: &str, person: &Person) -> bool {
        self.0.core.state().oauth.enter(user_code, person)
    }

    /// The codes that devices have shown and nobody has entered yet, the oldest first.
    pub fn user_codes(&self) -> Vec<String> {
        self.0.core.state().oauth.user_codes()
    }

    /// Says an account's immutable id, `oid`; else it is made up of its name.
    pub fn set_subject(&self, account: &str, subject: &str) {
        self.0.core.state().oauth.set_subject(account, subject);
    }

    /// An account's immutable id.
    pub fn subject_of(&self, account: &str) -> String {
        self.0.core.state().oauth.subject_of(account)
    }

    /// An account has granted a client everything, renewed by this refresh token.
    pub fn grant(&self, refresh_token: &str, account: &str, client: &str) {
        self.0.core.state().oauth.grant(refresh_token, account, client);
    }

    /// Revokes a grant: `invalid_grant` from now on. The access tokens of before are good still.
    /// `false`: it is unknown.
    pub fn revoke_grant(&self, refresh_token: &str) -> bool {
        self.0.core.state().oauth.revoke(refresh_token)
    }

    /// Changes how the token endpoint behaves, where the documents leave it open.
    pub fn set_oauth_switches(&self, switches: OauthSwitches) {
        self.0.core.state().oauth.switches = switches;
    }

    /// How the token endpoint behaves now.
    pub fn oauth_switches(&self) -> OauthSwitches {
        self.0.core.state().oauth.switches.clone()
    }

    /// Adds a tenant to the token endpoint, beside those that stand for several.
    pub fn add_tenant(&self, name: &str) {
        self.0.core.state().oauth.add_tenant(name);
    }

    /// Adds a calendar to an account, unless it has one of this name; and says its id, which
    /// follows from account and name.
    pub fn create_calendar(&self, account: &str, name: &str) -> String {
        let mut state = self.0.core.state();
        let mailbox = state.mailboxes.get_mut(account);
        mailbox.expect("the account was added").add_calendar(name)
    }

    /// Adds a calendar that the account may only read (L28), and says its id.
    pub fn create_read_only_calendar(&self, account: &str, name: &str) -> String {
        let id = self.create_calendar(account, name);
        self.share(&id, false);
        id
    }

    /// Says whether a calendar can be written to, or read alone. `false`: it is unknown.
    pub fn share(&self, calendar: &str, can_edit: bool) -> bool {
        let mut state = self.0.core.state();
        let mailbox = state.holder_of(calendar);
        let found = mailbox.and_then(|mailbox| mailbox.calendars.get_mut(calendar));
        found.map(|calendar| calendar.can_edit = can_edit).is_some()
    }

    /// Removes a calendar with all that it holds. `false`: it is unknown.
    pub fn remove_calendar(&self, calendar: &str) -> bool {
        let mut state = self.0.core.state();
        let Some(mailbox) = state.holder_of(calendar) else {
            return false;
        };
        mailbox.empty(calendar);
        mailbox.calendars.remove(calendar).is_some()
    }

    /// Empties a calendar without a trace (L24); its delta tokens are dead. `false`: it is unknown.
    pub fn empty_calendar(&self, calendar: &str) -> bool {
        if let Some(mailbox) = self.0.core.state().holder_of(calendar) {
            mailbox.empty(calendar);
        }
        self.expire_delta_tokens(calendar)
    }

    /// Kills the delta tokens of a calendar: 410 from now on. `false`: it is unknown.
    pub fn expire_delta_tokens(&self, calendar: &str) -> bool {
        let mut state = self.0.core.state();
        let mailbox = state.holder_of(calendar);
        let found = mailbox.and_then(|mailbox| mailbox.calendars.get_mut(calendar));
        found.map(|calendar| calendar.epoch += 1).is_some()
    }

    /// Forgets every `transactionId` of an account, as Graph may do at any time.
    pub fn forget_transactions(&self, account: &str) {
        if let Some(mailbox) = self.0.core.state().mailboxes.get_mut(account) {
            mailbox.forget_transactions();
        }
    }

    /// Changes where the sources disagree, from now on.
    pub fn set_switches(&self, switches: Switches) {
        self.0.core.state().switches = switches;
    }

    /// How it behaves now.
    pub fn switches(&self) -> Switches {
        self.0.core.state().switches.clone()
    }

    /// Changes how many calls each account may make, from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.0.set_limits(limits);
    }

    /// Orders a fault. An event is named by its immutable id.
    pub fn order(&self, rule: Rule) -> Ordered {
        self.0.core.faults.order(rule)
    }

    /// Withdraws all faults, and lets go what they hold.
    pub fn clear_faults(&self) {
        self.0.core.faults.clear();
    }

    /// The calls so far. An event is named by its immutable id, where it is known.
    pub fn calls(&self) -> Calls {
        self.0.core.log.snapshot()
    }

    /// Returns once the calls fulfil `condition`; it is asked after each change.
    pub async fn wait_for_calls(&self, condition: impl Fn(&Calls) -> bool) {
        self.0.core.log.wait_for(condition).await;
    }
}
