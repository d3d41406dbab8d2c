//! Device codes (RFC 8628; Microsoft, "Microsoft identity platform and the OAuth 2.0 device authorization
//! grant flow"): a code is shown on one machine and entered at another.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::authorize::is_of;
use super::code::Promise;
use super::form::Form;
use super::person::{Consent, Person};
use super::words::{self, Refused};
use super::{Oauth, Posted};
use crate::emulator::life::Turn;
use crate::emulator::reply::Reply;
use crate::emulator::tokens::Tokens;

/// So much longer the interval is from each poll on that came too early (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// What whoever was shown the code has done.
enum State {
    /// Nothing yet.
    Pending,
    Agreed(Box<Person>),
    Declined,
    /// The tokens were given.
    Spent,
}

/// A code, shown to somebody.
pub(super) struct Device {
    client: String,
    scopes: Vec<String>,
    is_renewable: bool,
    tenant: Option<String>,
    user_code: String,
    expires_at: DateTime<Utc>,
    interval: Duration,
    polled_at: Option<DateTime<Utc>>,
    state: State,
}

impl Oauth {
    /// Answers a request for a code.
    pub(in crate::emulator) fn device_code(&mut self, posted: &Posted<'_>, turn: Turn) -> Reply {
        let form = Form::read(posted.headers, posted.body);
        match form.and_then(|form| self.new_device(posted, &form, turn.now)) {
            Ok(answer) => words::success(answer),
            Err(refused) => words::refusal(self.dialect, &refused, turn),
        }
    }

    fn new_device(
        &mut self,
        posted: &Posted<'_>,
        form: &Form,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        self.check_tenant(posted.tenant)?;
        let client = form.one("client_id").ok_or(Refused::Missing { name: "client_id" })?;
        if self.clients.get(client).is_none() {
            return Err(Refused::NoClient { id: client.to_owned() });
        }
        let scope = form.one("scope").ok_or(Refused::Missing { name: "scope" })?;
        let (scopes, is_renewable) = self.known_scopes(Some(scope)).map_err(|_| Refused::Scope)?;
        self.issued += 1;
        let number = self.issued;
        let (device_code, user_code) =
            (format!("D.emulated-{client}-{number}"), format!("EMU{number:06}"));
        let (lifetime, interval) = (self.switches.device_lifetime, self.switches.device_interval);
        let device = Device {
            client: client.to_owned(),
            scopes,
            is_renewable,
            tenant: posted.tenant.map(ToOwned::to_owned),
            user_code: user_code.clone(),
            expires_at: now + lifetime,
            interval,
            polled_at: None,
            state: State::Pending,
        };
        self.devices.insert(device_code.clone(), device);
        let page = "https://microsoft.com/devicelogin";
        Ok(json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "expires_in": lifetime.as_secs(),
            "interval": interval.as_secs(),
            "message": format!(
                "To sign in, use a web browser to open the page {page} and enter the code {user_code} \
                 to authenticate."
            ),
        }))
    }

    /// Somebody enters a code. `false`: there is no such code, or it was entered before.
    pub(in crate::emulator) fn enter(&mut self, user_code: &str, person: &Person) -> bool {
        let is_it = |device: &&mut Device| {
            device.user_code == user_code && matches!(device.state, State::Pending)
        };
        let Some(device) = self.devices.values_mut().find(is_it) else {
            return false;
        };
        let may = device.tenant.as_deref().is_none_or(|tenant| is_of(tenant, person));
        device.state = match person.consent {
            Consent::Refused => State::Declined,
            Consent::All | Consent::Without(_) if !may => State::Declined,
            Consent::All | Consent::Without(_) => State::Agreed(Box::new(person.clone())),
        };
        true
    }

    /// The codes that nobody has entered yet, the oldest first.
    pub(in crate::emulator) fn user_codes(&self) -> Vec<String> {
        let pending = self.devices.values().filter(|it| matches!(it.state, State::Pending));
        let mut codes: Vec<_> = pending.map(|device| device.user_code.clone()).collect();
        codes.sort();
        codes
    }

    /// Turns a device code into tokens, once somebody has agreed.
    pub(super) fn poll(
        &mut self,
        client: &str,
        form: &Form,
        posted: &Posted<'_>,
        tokens: &mut Tokens,
        now: DateTime<Utc>,
    ) -> Result<Value, Refused> {
        let name = form.one("device_code").ok_or(Refused::Missing { name: "device_code" })?;
        let device = self.devices.get_mut(name).ok_or(Refused::UnknownDevice)?;
        if device.client != client || device.tenant.as_deref() != posted.tenant {
            return Err(Refused::UnknownDevice);
        }
        if now >= device.expires_at {
            return Err(Refused::OldDevice);
        }
        let interval = TimeDelta::from_std(device.interval).unwrap_or(TimeDelta::MAX);
        let is_early = device.polled_at.is_some_and(|polled_at| now - polled_at < interval);
        device.polled_at = Some(now);
        if is_early {
            device.interval += SLOWER;
            return Err(Refused::SlowDown);
        }
        let person = match &device.state {
            State::Pending => return Err(Refused::Pending),
            State::Declined => return Err(Refused::Declined),
            State::Spent => return Err(Refused::SpentCode),
            State::Agreed(person) => (**person).clone(),
        };
        device.state = State::Spent;
        let (wanted, is_renewable) = (device.scopes.clone(), device.is_renewable);
        let tenant = device.tenant.clone();
        let scopes = match &person.consent {
            Consent::Without(unticked) => self.without(wanted, unticked),
            Consent::All | Consent::Refused => wanted,
        };
        let promise = Promise { person, scopes, nonce: None, tenant, is_renewable };
        Ok(self.keep_promise(client, &promise, posted, tokens, now).0)
    }
}
