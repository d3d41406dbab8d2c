//! The accounts that providers have calendars in, and who opens them for a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, ProviderId};
use calendar_sync::calendar::http::{Http, HttpOptions, Reach};
use calendar_sync::calendar::{self, Calendar as Adapter, Credentials};
use calendar_sync::clock::SystemClock;
use calendar_sync::connection::connection_id;
use calendar_sync::emit::{Accounts as Opening, Opened, Unopened};
use calendar_sync::store::{ConnectionRow, NewConnection};
use secrecy::SecretString;

use crate::calendars::switches::{Collisions, EtagForm, EtagSource};
use crate::calendars::{By, Calendar, Change, Kind, Switches};
use crate::clock::beginning;
use crate::story::INSTALLATION;
use crate::wire::Wire;
use crate::world::World;

/// An account with its one calendar.
pub(crate) struct Account {
    /// Whose.
    pub(crate) provider: ProviderId,
    /// What kind.
    pub(crate) kind: CalendarKind,
    /// The connection that it is, once it is one.
    pub(crate) connection: ConnectionId,
    subject: String,
    calendar: String,
    /// The server behind it.
    pub(crate) server: Calendar,
    /// The credentials that open it: this one and later ones.
    pub(crate) valid_from: u64,
    /// The credentials given out last.
    pub(crate) issued: u64,
    /// The calendar is gone, until then.
    pub(crate) gone_until: Duration,
    /// The server refuses every write as invalid, until then.
    pub(crate) refuses_until: Duration,
    /// Its events were left behind when it was removed: they are nobody's any more.
    pub(crate) is_left: bool,
    /// Whether its conditions hold: else a late request can do what it should not, for a while.
    pub(crate) keeps_conditions: bool,
    /// The names that were tried to make.
    pub(crate) tried: BTreeSet<String>,
    /// The latest request about each event, by its id, that a worker has an acknowledgement of.
    pub(crate) acknowledged: BTreeMap<String, u64>,
    /// The highest revision of what stands under each name that a worker has an acknowledgement of.
    pub(crate) reached: BTreeMap<String, i64>,
    /// When a worker was told last that nothing stands under a name any more.
    pub(crate) told_gone_at: BTreeMap<String, Duration>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Accounts(pub(crate) Vec<Account>);

impl Accounts {
    /// The number of the account that is this connection.
    pub(crate) fn of(&self, connection: ConnectionId) -> usize {
        let number = self.0.iter().position(|it| it.connection == connection);
        number.expect("only accounts are connected")
    }

    /// Adds an account, and tells which it is.
    pub(crate) fn add(&mut self, provider: ProviderId, kind: Kind, switches: Switches) -> usize {
        let at = self.0.len();
        let (subject, calendar) = (format!("host-{at}"), format!("https://dav.example.com/c{at}/"));
        let kind_of = match kind {
            Kind::Google => CalendarKind::Google,
            Kind::Microsoft => CalendarKind::Microsoft,
            Kind::Caldav => CalendarKind::Caldav,
        };
        self.0.push(Account {
            provider,
            kind: kind_of,
            connection: connection_id(INSTALLATION, provider, kind_of, &subject, &calendar),
            subject,
            calendar,
            keeps_conditions: keeps_conditions(kind, &switches),
            server: Calendar::new(kind, switches).numbered(at),
            valid_from: 1,
            issued: 1,
            gone_until: Duration::ZERO,
            refuses_until: Duration::ZERO,
            is_left: false,
            tried: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            reached: BTreeMap::new(),
            told_gone_at: BTreeMap::new(),
        });
        at
    }
}

fn keeps_conditions(kind: Kind, switches: &Switches) -> bool {
    match kind {
        Kind::Google => switches.google.collisions == Collisions::Refused,
        Kind::Microsoft => true,
        Kind::Caldav => {
            // An ETag that is made from the content is there again once the content is.
            switches.caldav.obeys_if_none_match
                && switches.caldav.etags == EtagForm::Strong
                && switches.caldav.etags_from == EtagSource::Count
        }
    }
}

impl Account {
    /// A worker has an acknowledgement of a request about this name. A repetition is answered as well
    /// and changes nothing: what stands is of a request before it.
    pub(crate) fn acknowledge(&mut self, name: &str, request: u64) {
        let mut is_made_anew = false;
        for change in self.server.history().iter().rev().filter(|change| change.name == name) {
            if let By::Request(made) = change.by
                && made <= request
            {
                let latest = self.acknowledged.entry(change.id.clone()).or_default();
                *latest = made.max(*latest);
                if let Some(revision) = change.after.revision()
                    && !is_made_anew
                {
                    let reached = self.reached.entry(name.to_owned()).or_insert(revision);
                    *reached = revision.max(*reached);
                }
                return;
            }
            is_made_anew |= change.makes();
        }
    }

    /// A worker was told that nothing stands under a name, or under an id that the calendar has given.
    pub(crate) fn told_gone(&mut self, asked: &str, at: Duration) {
        let mut history = self.server.history().iter().rev();
        let known = history.find(|change| change.id == asked);
        let name = known.map_or(asked, |change| &change.name).to_owned();
        self.told_gone_at.insert(name, at);
    }

    /// What this request of ours has undone by this change that a worker has an acknowledgement of. One
    /// that lands late, after what it made is gone, makes another event (rule R14).
    pub(crate) fn undone(&mut self, change: &Change, request: u64) -> Option<String> {
        let name = &change.name;
        if change.makes() {
            self.reached.remove(name);
            return None;
        }
        if change.by != By::Request(request) || !change.before.is_live() || !self.keeps_conditions {
            return None;
        }
        let latest = self.acknowledged.get(&change.id).copied().unwrap_or_default();
        if request < latest {
            return Some(format!(
                "request #{request} undid what request #{latest} had been acknowledged for: {name}"
            ));
        }
        let stood = self.reached.get(name).copied().max(change.before.revision());
        match (stood, change.after.revision()) {
            (Some(stood), Some(stands)) if stands < stood => Some(format!(
                "request #{request} put {name} back to revision {stands}, and it had reached {stood}"
            )),
            _ => None,
        }
    }

    /// The connection, with the credentials given out last; its provider's destination.
    pub(crate) fn connection(&self) -> NewConnection {
        NewConnection {
            id: self.connection,
            provider: self.provider,
            kind: self.kind,
            subject: self.subject.clone(),
            calendar: self.calendar.clone(),
            base_url: "https://calendar.example.com/v3".to_owned(),
            sealed: self.issued.to_be_bytes().to_vec(),
            make_destination: true,
            revives: true,
            horizon: beginning(),
        }
    }
}

/// Never asked for anything: the adapters are here for the names and the bodies that they write.
pub(crate) static HTTP: LazyLock<Http> = LazyLock::new(|| {
    let options = HttpOptions {
        call_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        proxy_from_environment: false,
        reach: Reach::Anywhere,
        clock: Arc::new(SystemClock::start()),
    };
    Http::new(options).expect("these limits are sound")
});

fn naming(row: &ConnectionRow) -> Arc<dyn Adapter> {
    let token = SecretString::from("simulated");
    let account = calendar::Account {
        connection: row.id,
        base_url: row.base_url.clone(),
        calendar: row.calendar.clone(),
        credentials: Credentials::Bearer { token },
    };
    calendar::open(row.kind, account, &HTTP)
}

/// Opens the simulated calendars.
pub(crate) struct SimAccounts(pub(crate) Arc<World>);

#[async_trait]
impl Opening for SimAccounts {
    async fn open(&self, connection: &ConnectionRow) -> Result<Opened, Unopened> {
        let credential = <[u8; 8]>::try_from(connection.sealed.as_slice())
            .map_err(|_| Unopened::Credentials("there are none".to_owned()))?;
        Ok(Opened::lasting(Arc::new(Wire {
            world: Arc::clone(&self.0),
            account: self.0.accounts().of(connection.id),
            connection: connection.id,
            credential: u64::from_be_bytes(credential),
            naming: naming(connection),
        })))
    }
}
