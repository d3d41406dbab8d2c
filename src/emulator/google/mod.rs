//! Google Calendar API v3, as far as a calendar of bookings needs it.
//!
//! Served: `events` insert, get, update, patch, delete and list; `calendars` get; `calendarList`
//! list; and the authorisation server: consent, tokens, service accounts, `userinfo`. Not there: import,
//! batch, watch, recurrence (`recurrence` is kept as it is sent, and not expanded), notification mail. Google's reference and guides say what each does, and
//! [`Switches`] holds every point on which they, or the reports about the service, disagree.
//!
//! A token is looked at when a call takes effect, not when it arrives: a delayed call whose token
//! has been revoked meanwhile does nothing (rule R14 counts on the expiry of access tokens).

mod by_hand;

mod errors;

mod event;

mod query;

mod routes;

mod state;

mod times;

mod verbs;

use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use self::state::State;
use super::call_log::Calls;
use super::faults::{Ordered, Rule};
use super::life::{Bounds, Running};
use super::oauth::{OauthSwitches, Person};
use super::throttle::Limits;
use super::tokens::Access;
use crate::clock::Clock;

pub use self::by_hand::{ByHand, EventView};
pub use self::state::{Collisions, LowerSequence, Switches, TombstoneUpdate};
pub use super::life::STOP_TIMEOUT;

/// How to start.
#[derive(Clone)]
pub struct Options {
    /// The hour: `created`, `updated`, `ETag`s and the age of tombstones.
    pub clock: Arc<dyn Clock>,
    /// Where the sources disagree.
    pub switches: Switches,
    /// The largest body, in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// How many calls the log remembers; beside that, their bodies have a bound,
    /// [`super::call_log::LOG_BODIES_BYTES_MAX`].
    pub log_entries_max: usize,
    /// How many events a calendar holds, deleted ones too; a further one is answered 403.
    pub events_max: usize,
    /// How many calls an account may make; one over it is answered 403 `userRateLimitExceeded`.
    pub limits: Limits,
}

impl Options {
    /// Strict, and bounded for tests and the demo.
    pub fn strict(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            switches: Switches::default(),
            body_bytes_max: 1 << 20,
            log_entries_max: 50_000,
            events_max: 100_000,
            limits: Limits::default(),
        }
    }
}

/// A running emulator. Cheap to clone; it stops when told to, or with its last clone.
#[derive(Clone)]
pub struct GoogleEmulator(Running<State>);

impl GoogleEmulator {
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

    /// What stands before `/calendars/…`.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.0.address, routes::ROOT)
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("http://{}{}", self.0.address, routes::TOKEN)
    }

    /// Adds an account with its primary calendar, whose id is the account's address, and a token
    /// for it. Also a further token for an account that is there.
    pub fn add_account(&self, token: &str, account: &str) {
        self.0.core.state().add_account(account);
        self.set_token(token, account, Access::full());
    }

    /// Adds a token with which an account's calendars can be read, and no more (L28).
    pub fn add_read_only_token(&self, token: &str, account: &str) {
        self.0.core.state().add_account(account);
        self.set_token(token, account, Access::read_only());
    }

    /// Adds a token with which an account's events can be read and written, and no calendar as
    /// such: the scope `calendar.events`.
    pub fn add_events_token(&self, token: &str, account: &str) {
        self.0.core.state().add_account(account);
        self.set_token(token, account, Access::events());
    }

    fn set_token(&self, token: &str, account: &str, access: Access) {
        self.0.core.state().tokens.set(token, account, access);
    }

    /// Revokes a token, or lets it expire: 401 `authError` from now on. `false`: it is unknown.
    pub fn revoke_token(&self, token: &str) -> bool {
        self.0.core.state().tokens.revoke(token)
    }

    /// Lets a token expire at that time: 401 `authError` from then on. `false`: it is unknown.
    pub fn expire_token_at(&self, token: &str, at: DateTime<Utc>) -> bool {
        self.0.core.state().tokens.expire_at(token, at)
    }

    /// Revokes all tokens of an account, and what they are renewed by.
    pub fn revoke_account(&self, account: &str) {
        let mut state = self.0.core.state();
        state.tokens.revoke_all_of(account);
        state.oauth.revoke_all_of(account);
    }

    /// The authorisation endpoint, to which browsers are sent.
    pub fn auth_url(&self) -> String {
        format!("http://{}{}", self.0.address, routes::AUTHORIZE)
    }

    /// Where an account says who it is, to whom has a token with `openid`.
    pub fn user_info_url(&self) -> String {
        format!("http://{}{}", self.0.address, routes::USER_INFO)
    }

    /// Adds a client, or says its secret anew; without one it is a public client.
    pub fn set_client(&self, id: &str, secret: Option<&str>) {
        self.0.core.state().oauth.clients.set(id, secret);
    }

    /// A client may have people sent back to this address, letter by letter.
    pub fn add_redirect(&self, client: &str, uri: &str) {
        self.0.core.state().oauth.clients.add_redirect(client, uri);
    }

    /// A client is one of the kind "Desktop app": people may be sent back to any port of
    /// `127.0.0.1` and `[::1]`, and there is a refresh token each time.
    pub fn set_desktop_client(&self, client: &str) {
        self.0.core.state().oauth.clients.set_desktop(client);
    }

    /// Who sits at the browser from now on, and what they say; `None`: nobody, and there is a page
    /// to sign in.
    pub fn seat(&self, person: Option<Person>) {
        self.0.core.state().oauth.person = person;
    }

    /// Says an account's immutable id, `sub`; else it is made up of its name.
    pub fn set_subject(&self, account: &str, subject: &str) {
        self.0.core.state().oauth.set_subject(account, subject);
    }

    /// An account's immutable id.
    pub fn subject_of(&self, account: &str) -> String {
        self.0.core.state().oauth.subject_of(account)
    }

    /// Makes a key of a service account, which is made if it is not there, and answers the file that
    /// Google lets one download, once.
    pub fn make_service_account_key(&self, address: &str) -> String {
        let token_url = self.token_url();
        self.0.core.state().oauth.make_key(address, &token_url)
    }

    /// Deletes all keys of a service account. `false`: it is unknown.
    pub fn delete_service_account_keys(&self, address: &str) -> bool {
        self.0.core.state().oauth.delete_keys(address)
    }

    /// The organisation's administrator lets a service account act as any of its users, for these
    /// scopes and no others ("domain-wide delegation"). `false`: it is unknown.
    pub fn delegate(&self, address: &str, scopes: &[&str]) -> bool {
        self.0.core.state().oauth.delegate(address, scopes)
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

    /// Changes how many calls each account may make, from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.0.set_limits(limits);
    }

    /// Adds a calendar to an account; one that is there stays as it is.
    pub fn create_calendar(&self, account: &str, id: &str) {
        let mut state = self.0.core.state();
        assert!(state.accounts.contains(account), "there is no account {account}");
        state.add_calendar(account, id);
    }

    /// Adds a calendar of somebody else, which the account may only read (L28).
    pub fn create_read_only_calendar(&self, account: &str, id: &str) {
        self.create_calendar(account, id);
        self.share(id, false);
    }

    /// Says whether a calendar can be written to, or read alone. `false`: it is unknown.
    pub fn share(&self, calendar: &str, is_writable: bool) -> bool {
        let mut state = self.0.core.state();
        let found = state.calendars.get_mut(calendar);
        found.map(|calendar| calendar.is_writable = is_writable).is_some()
    }

    /// Sets the zone of a calendar: what times without one are shown in. `false`: it is unknown.
    pub fn set_zone(&self, calendar: &str, zone: Tz) -> bool {
        let mut state = self.0.core.state();
        let found = state.calendars.get_mut(calendar);
        found.map(|calendar| calendar.zone = zone).is_some()
    }

    /// Removes a calendar with all that it holds. `false`: it is unknown.
    pub fn remove_calendar(&self, calendar: &str) -> bool {
        self.0.core.state().calendars.remove(calendar).is_some()
    }

    /// Empties a calendar without a trace (L24). `false`: it is unknown.
    pub fn empty_calendar(&self, calendar: &str) -> bool {
        let mut state = self.0.core.state();
        let found = state.calendars.get_mut(calendar);
        found.map(|calendar| calendar.events.clear()).is_some()
    }

    /// Forgets all deleted events of a calendar, as Google does one day.
    pub fn evict_tombstones(&self, calendar: &str) {
        if let Some(calendar) = self.0.core.state().calendars.get_mut(calendar) {
            calendar.evict(|_| true);
        }
    }

    /// Kills the sync tokens of a calendar: 410 from now on.
    pub fn expire_sync_tokens(&self, calendar: &str) {
        if let Some(calendar) = self.0.core.state().calendars.get_mut(calendar) {
            calendar.epoch += 1;
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

    /// Orders a fault.
    pub fn order(&self, rule: Rule) -> Ordered {
        self.0.core.faults.order(rule)
    }

    /// Withdraws all faults, and lets go what they hold.
    pub fn clear_faults(&self) {
        self.0.core.faults.clear();
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        self.0.core.log.snapshot()
    }

    /// Returns once the calls fulfil `condition`; it is asked after each change.
    pub async fn wait_for_calls(&self, condition: impl Fn(&Calls) -> bool) {
        self.0.core.log.wait_for(condition).await;
    }
}
