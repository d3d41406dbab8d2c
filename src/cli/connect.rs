//! `connections connect`: asks an account's owner, lists her calendars, and adds the one that is chosen.
//!
//! Nothing is stored before all of it has succeeded: whatever is refused on the way leaves everything as
//! it was.

mod choose;

mod loopback;

use std::io::{IsTerminal as _, Write};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use booking::{CalendarKind, ConnectionId, ProviderId};
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::choose::{Choice, Wanted};
use self::loopback::Loopback;
use super::UsageError;
use super::account::{Account, put, tell_added};
use super::columns::printable;
use super::connections::api_address;
use super::open::open_installation;
use super::out::Out;
use super::redrive::http;
use super::secret_input::LoginArgs;
use super::work::sealer;
use crate::calendar::caldav::discovery::discover;
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::connection::kept::{ANY_TENANT, Tenant};
use crate::connection::known::known_name;
use crate::connection::{
    Begun, Connected, Connecting, Issuer, Kept, calendar_name, judge_reconnecting,
};
use crate::store::{ConnectionRow, Installation, Store};

/// Which kind of account.
#[derive(Debug, Subcommand)]
pub enum ConnectCommand {
    /// A Google account, whose owner agrees in a browser on this machine
    #[command(after_help = "\
Example:
  calendar-sync connections connect google \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11

The link that it prints has to be opened in a browser on this machine, within ten minutes. The client of
oauth.google.client_id must be one for desktop applications, and the workers' too: access is renewed only as
the client that it was granted to. Where hosts connect by links, which need a client for web applications,
an operator opens a link as well, and not this. Google gives no calendars by device codes.")]
    Google(ConnectGoogleArgs),
    /// An account of Microsoft 365, whose owner agrees in a browser on this machine, or anywhere
    #[command(after_help = "\
Examples:
  calendar-sync connections connect microsoft \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11
  calendar-sync connections connect microsoft --device-code \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11

The link that it prints has to be opened in a browser on this machine, within ten minutes; with
--device-code, a code is typed on any other. The application of oauth.microsoft.client_id needs
http://localhost among its redirects, or has to allow public client flows for device codes.")]
    Microsoft(ConnectMicrosoftArgs),
    /// An account of a CalDAV server, by its address and an (app) password
    #[command(after_help = "\
Example:
  calendar-sync connections connect caldav \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11 \\
      --url dav.example.com --username anna --password-file /run/secrets/anna

The credentials go to this address alone: a server that sends on to another one is named, not followed.")]
    Caldav(ConnectCaldavArgs),
}

/// What connecting needs, whatever the account.
#[derive(Debug, Args)]
struct WhoseArgs {
    /// Whose bookings: the provider's id in the booking application
    #[arg(long, value_name = "UUID", required_unless_present = "reconnect")]
    provider_id: Option<Uuid>,
    #[arg(long, value_name = "CONNECTION_ID")]
    #[arg(help = "Renew this connection: the same account must agree, and the calendar stays")]
    reconnect: Option<Uuid>,
    /// Send the provider's bookings here from now on, even if they go elsewhere so far
    #[arg(long)]
    make_destination: bool,
    /// Answer with one JSON object; what a person has to do is told on standard error
    #[arg(long)]
    json: bool,
}

/// `connections connect google`.
#[derive(Debug, Args)]
pub struct ConnectGoogleArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    #[arg(long, value_name = "ID", conflicts_with = "reconnect")]
    #[arg(help = "Which calendar (`primary`, or an id): else the only one that can be written to")]
    calendar_id: Option<String>,
    /// The API's address, if it is not that of `oauth.google.api_url`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// `connections connect microsoft`.
#[derive(Debug, Args)]
pub struct ConnectMicrosoftArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    #[arg(long, value_name = "ID", conflicts_with = "reconnect")]
    #[arg(help = "Which calendar: else the only one that can be written to")]
    calendar_id: Option<String>,
    /// The API's address, up to `…/me`, if it is not that of `oauth.microsoft.api_url`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Whose users are asked: the id of a directory, a domain of it, or any
    #[arg(long, value_name = "TENANT", default_value = ANY_TENANT)]
    tenant: String,
    /// Show a code to be typed on another machine, instead of a link for this one
    #[arg(long)]
    device_code: bool,
}

/// `connections connect caldav`.
#[derive(Debug, Args)]
pub struct ConnectCaldavArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// The server: a URL or a host
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    login: LoginArgs,
    #[arg(long, value_name = "URL", conflicts_with = "reconnect")]
    #[arg(help = "Which collection: else the only one that can be written to")]
    calendar_url: Option<String>,
}

impl ConnectCommand {
    /// Does it.
    pub(super) async fn run(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Google(ConnectGoogleArgs { whose, calendar_id, base_url }) => {
                let place =
                    Place::open(whose, CalendarKind::Google, settings, surroundings).await?;
                let asking = Asking { issuer: Issuer::Google, by_device_code: false };
                place.granted(&asking, calendar_id.as_deref(), base_url.as_deref(), out).await
            }
            Self::Microsoft(args) => {
                let ConnectMicrosoftArgs { whose, calendar_id, base_url, tenant, device_code } =
                    args;
                let tenant = Tenant::parse(tenant)
                    .map_err(|error| UsageError(format!("--tenant: {error}")))?;
                let kind = CalendarKind::Microsoft;
                let place = Place::open(whose, kind, settings, surroundings).await?;
                let issuer = Issuer::Microsoft(tenant);
                let asking = Asking { issuer, by_device_code: *device_code };
                place.granted(&asking, calendar_id.as_deref(), base_url.as_deref(), out).await
            }
            Self::Caldav(args) => {
                let kind = CalendarKind::Caldav;
                let place = Place::open(&args.whose, kind, settings, surroundings).await?;
                place.caldav(args, out).await
            }
        }
    }
}

/// Who is asked, and how.
struct Asking {
    issuer: Issuer,
    by_device_code: bool,
}

/// Where the connection will be kept, looked at before anybody is bothered.
struct Place<'a> {
    whose: &'a WhoseArgs,
    settings: &'a Settings,
    surroundings: &'a Surroundings,
    store: Arc<dyn Store>,
    installation: Installation,
    /// What is to be renewed.
    before: Option<ConnectionRow>,
}

impl<'a> Place<'a> {
    async fn open(
        whose: &'a WhoseArgs,
        kind: CalendarKind,
        settings: &'a Settings,
        surroundings: &'a Surroundings,
    ) -> anyhow::Result<Self> {
        sealer(&settings.secrets)?;
        let (store, installation) = open_installation(settings, surroundings).await?;
        let before = match whose.reconnect {
            None => None,
            Some(id) => {
                let before = store.connection(ConnectionId(id)).await?;
                let before = before.with_context(|| format!("there is no connection {id}"))?;
                check_reconnecting(&before, kind, whose.provider_id)?;
                Some(before)
            }
        };
        Ok(Self { whose, settings, surroundings, store, installation, before })
    }

    /// An account whose owner grants access.
    async fn granted(
        &self,
        asking: &Asking,
        calendar_id: Option<&str>,
        base_url: Option<&str>,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let Self { settings, surroundings, before, .. } = self;
        let base_url = match (before, base_url) {
            (Some(before), None) => before.base_url.clone(),
            (None | Some(_), given) => api_address(given, asking.issuer.kind(), settings)?,
        };
        let client = http(settings, surroundings)?;
        let connecting = Connecting::new(client, settings.oauth.clone(), (*surroundings).clone());
        let connected = if asking.by_device_code {
            self.by_device_code(&connecting, &asking.issuer, out).await?
        } else {
            self.by_browser(&connecting, &asking.issuer, out).await?
        };
        if let Some(before) = before {
            judge_reconnecting((before.kind, &before.subject), connected.account())?;
        }
        let listed = connecting.calendars(&connected, &base_url).await?;
        let choices = listed.into_iter().map(Choice::from).collect();
        let wanted = Wanted { option: "--calendar-id", given: calendar_id };
        let chosen = self.choose(wanted, choices, out)?;
        let kind = connected.issuer.kind();
        let Connected { subject, grant, .. } = connected;
        let calendar = match (before, self.whose.provider_id) {
            (None, Some(provider)) => {
                let whose = (self.installation.id, ProviderId(provider), kind);
                known_name(&*self.store, whose, &subject, chosen).await?
            }
            (Some(_), _) | (None, None) => chosen.0,
        };
        let account = Account { kind, subject, calendar, base_url, kept: Kept::Grant(grant) };
        self.put(account, out).await
    }

    async fn by_browser(
        &self,
        connecting: &Connecting,
        issuer: &Issuer,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<Connected> {
        let loopback = Loopback::open(issuer).await?;
        let state = self.surroundings.dice.token().simple().to_string();
        let redirect = loopback.redirect()?;
        let Begun { url, verifier, nonce } = connecting.begin(issuer, &redirect, &state)?;
        let name = issuer.name();
        let told =
            format!("Open this link in a browser on this machine, and agree at {name}:\n{url}");
        self.tell(&told, out)?;
        let code = loopback.code(issuer, &state).await?;
        Ok(connecting.finish(issuer, &redirect, &code, &verifier, &nonce).await?)
    }

    async fn by_device_code(
        &self,
        connecting: &Connecting,
        issuer: &Issuer,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<Connected> {
        let device = connecting.begin_device(issuer).await?;
        let told = format!(
            "Open {} in a browser on any machine, and type the code {}",
            device.address, device.user_code
        );
        self.tell(&told, out)?;
        // Ctrl-C ends the process, and nothing has been stored.
        let stop = CancellationToken::new();
        Ok(connecting.poll_device(issuer, &device, &stop).await?)
    }

    /// An account that a password opens.
    async fn caldav(
        &self,
        args: &ConnectCaldavArgs,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let (username, credentials) = args.login.read()?;
        let kind = CalendarKind::Caldav;
        if let Some(before) = &self.before {
            judge_reconnecting((before.kind, &before.subject), (kind, &username))?;
        }
        let client = http(self.settings, self.surroundings)?;
        let found = discover(&client, &args.url, &credentials).await?;
        let choices = found.into_iter().filter_map(Choice::of_caldav).collect();
        let given = args.calendar_url.as_deref().map(|url| calendar_name(kind, url)).transpose();
        let given = given.map_err(|error| UsageError(format!("--calendar-url: {error}")))?;
        let wanted = Wanted { option: "--calendar-url", given: given.as_deref() };
        let (calendar, _) = self.choose(wanted, choices, out)?;
        let (base_url, kept) = (String::new(), Kept::Fixed(credentials));
        self.put(Account { kind, subject: username, calendar, base_url, kept }, out).await
    }

    /// The calendar that is to be connected, and whether it is also called `primary`: that of before, the
    /// one that was named, the only one, or the one that a person at a terminal chooses.
    fn choose(
        &self,
        wanted: Wanted<'_>,
        choices: Vec<Choice>,
        out: &mut Out<impl Write>,
    ) -> anyhow::Result<(String, bool)> {
        if let Some(before) = &self.before {
            choose::named(&before.calendar, &choices)?;
            return Ok((before.calendar.clone(), false));
        }
        let is_asked = !self.whose.json && std::io::stdin().is_terminal();
        let answers = is_asked.then(|| std::io::stdin().lock());
        Ok(choose::choose(wanted, choices, answers, out)?.into_id())
    }

    async fn put(&self, account: Account, out: &mut Out<impl Write + Send>) -> anyhow::Result<()> {
        let Self { whose, settings, surroundings, store, installation, before } = self;
        let provider = match (before, whose.provider_id) {
            (Some(before), _) => before.provider,
            (None, Some(id)) => ProviderId(id),
            (None, None) => bail!(UsageError("--provider-id is missing".to_owned())),
        };
        let sealer = sealer(&settings.secrets)?;
        let dice = &*surroundings.dice;
        let mut connection = account.connection(provider, installation, settings, &sealer, dice)?;
        connection.make_destination = whose.make_destination;
        if let Some(before) = before.as_ref().filter(|before| before.id != connection.id) {
            bail!(
                "{} was made by another installation, and cannot be renewed in this one",
                before.id
            );
        }
        let put = put(&**store, &connection).await?;
        Ok(tell_added(connection.id, &put, whose.json, out)?)
    }

    /// What a person has to do: where the answer is one JSON object, it is told beside it.
    fn tell(&self, text: &str, out: &mut Out<impl Write>) -> anyhow::Result<()> {
        let text = text.split('\n').map(printable).collect::<Vec<_>>().join("\n");
        if self.whose.json {
            writeln!(std::io::stderr(), "{text}").context("cannot tell what has to be done")?;
        } else {
            writeln!(out, "{text}")?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Before its owner is asked.
fn check_reconnecting(
    before: &ConnectionRow,
    kind: CalendarKind,
    provider: Option<Uuid>,
) -> Result<(), UsageError> {
    if before.kind != kind {
        let ConnectionRow { id, kind: of, .. } = before;
        return Err(UsageError(format!(
            "--reconnect: {id} is a connection of {of}, not of {kind}"
        )));
    }
    if provider.is_some_and(|provider| provider != before.provider.0) {
        let ConnectionRow { id, provider, .. } = before;
        return Err(UsageError(format!(
            "--reconnect: {id} is a connection of provider {provider}"
        )));
    }
    Ok(())
}
