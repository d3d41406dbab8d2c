//! `connections`: adds, finds, lists and removes calendar accounts.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use booking::{CalendarKind, ConnectionId, ProviderId};
use clap::{Args, Subcommand};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::UsageError;
use super::account::{Account, put, tell_added};
use super::columns::{Columns, printable};
use super::connect::ConnectCommand;
use super::discover::DiscoverCommand;
use super::fill;
use super::open::open_installation;
use super::out::Out;
use super::repair::{self, DriftArgs, ResumeArgs};
use super::reseal::ResealArgs;
use super::secret_input::{GrantArgs, LoginArgs};
use super::service_account::{EXAMPLE, ServiceAccountArgs};
use super::work::{limits, sealer};
use crate::clock::Surroundings;
use crate::config::{OauthSettings, Settings};
use crate::connection::kept::{ANY_TENANT, Tenant};
use crate::connection::{Issuer, Kept, calendar_name};
use crate::emit::limits::Limits;
use crate::store::{ConnectionRow, ConnectionState, CountedConnection, Store};

/// Adds, finds, lists and removes calendar accounts.
#[derive(Debug, Subcommand)]
pub enum ConnectionsCommand {
    /// Add a calendar, or renew the credentials of one that is there
    #[command(subcommand)]
    Add(AddCommand),
    /// Ask an account's owner, and add the calendar that is chosen, or connect it again
    #[command(subcommand)]
    Connect(ConnectCommand),
    /// Show which calendars an account has, and add none
    #[command(subcommand)]
    Discover(DiscoverCommand),
    /// List all connections, with what is due and what stands on each
    List(ListArgs),
    /// Remove a connection
    Remove(RemoveArgs),
    /// Show what is otherwise in a calendar than we left it
    Drift(DriftArgs),
    /// Go on with a sweep that has halted because too many events were gone
    ResumeSweep(ResumeArgs),
    /// Seal all credentials with the present key, so that the old keys can go
    Reseal(ResealArgs),
}

/// Which kind of calendar.
#[derive(Debug, Subcommand)]
pub enum AddCommand {
    /// A calendar collection on a CalDAV server
    #[command(after_help = "\
Example:
  calendar-sync connections add caldav \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11 \\
      --calendar-url https://dav.example.com/anna/work/ \\
      --username anna --password-file /run/secrets/anna")]
    Caldav(CaldavArgs),
    /// A Google calendar
    #[command(after_help = "\
Example:
  printf %s \"$TOKEN\" | calendar-sync connections add google \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11 \\
      --calendar-id primary --subject 113762218273618726354 --token-stdin

An access token alone is good for an hour. With the refresh token that an application was granted (as
the client of oauth.google.client_id), access is renewed for as long as the account's owner leaves it:
  calendar-sync connections add google … --refresh-token-file /run/secrets/anna")]
    Google(GoogleArgs),
    /// A calendar of Microsoft 365
    #[command(after_help = "\
Example:
  printf %s \"$TOKEN\" | calendar-sync connections add microsoft \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11 \\
      --calendar-id AAMkAGI2TGuLAAA= \\
      --subject 48d31887-5fad-4d73-a9f5-3c356e68a038 --token-stdin

An access token alone is good for an hour. With the refresh token that an application was granted (as
the client of oauth.microsoft.client_id), access is renewed for as long as the account's owner leaves
it:
  calendar-sync connections add microsoft … --refresh-token-file /run/secrets/anna")]
    Microsoft(MicrosoftArgs),
    /// A Google calendar of an organisation that lets a service account act for its users
    #[command(after_help = EXAMPLE)]
    GoogleServiceAccount(ServiceAccountArgs),
}

/// What every kind of calendar needs.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Whose bookings: the provider's id in the booking application
    #[arg(long, value_name = "UUID")]
    pub provider_id: Uuid,
    /// Send the provider's bookings here from now on, even if they go elsewhere so far
    #[arg(long)]
    pub make_destination: bool,
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `connections add caldav`.
#[derive(Debug, Args)]
pub struct CaldavArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The collection
    #[arg(long, value_name = "URL")]
    calendar_url: String,
    #[command(flatten)]
    login: LoginArgs,
}

/// `connections add google`.
#[derive(Debug, Args)]
pub struct GoogleArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The calendar's id (`primary`, or as Google's settings show it)
    #[arg(long, value_name = "ID")]
    calendar_id: String,
    /// The account's immutable subject: `sub` in its ID token, not its address
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    /// The API's address, if it is not that of `oauth.google.api_url`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    #[command(flatten)]
    tokens: GrantArgs,
}

/// `connections add microsoft`.
#[derive(Debug, Args)]
pub struct MicrosoftArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The calendar's id, as Graph's list of the mailbox's calendars shows it
    #[arg(long, value_name = "ID")]
    calendar_id: String,
    /// The account's immutable subject: the user's object id (`oid` in its token), not its address
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    #[arg(long, value_name = "URL")]
    #[arg(
        help = "The API's address, up to the mailbox, if it is not that of oauth.microsoft.api_url: \
                `…/me`, or `…/users/ID` with an application's token"
    )]
    base_url: Option<String>,
    /// Whose user it is, where access is renewed: the id of a directory, or a domain of it
    #[arg(long, value_name = "TENANT", default_value = ANY_TENANT)]
    tenant: String,
    #[command(flatten)]
    tokens: GrantArgs,
}

/// `connections list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Removes a connection. Its provider's bookings then have no calendar until another is added.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The connection's id, as `connections list` shows it
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Take our events out of the calendar first; without it they stay there
    #[arg(long)]
    withdraw: bool,
    /// Leave our events in the calendar and delete the credentials, even if the events are being
    /// withdrawn
    #[arg(long, conflicts_with = "withdraw")]
    leave_events: bool,
}

impl ConnectionsCommand {
    /// Does it.
    pub async fn run(
        self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Add(AddCommand::Caldav(args)) => {
                let account = args.account(settings)?;
                add(&args.common, account, settings, surroundings, out).await
            }
            Self::Add(AddCommand::Google(args)) => {
                let account = args.account(settings)?;
                add(&args.common, account, settings, surroundings, out).await
            }
            Self::Add(AddCommand::Microsoft(args)) => {
                let account = args.account(settings)?;
                add(&args.common, account, settings, surroundings, out).await
            }
            Self::Connect(command) => Box::pin(command.run(settings, surroundings, out)).await,
            Self::Add(AddCommand::GoogleServiceAccount(args)) => {
                let account = args.account(settings, surroundings).await?;
                add(&args.common, account, settings, surroundings, out).await
            }
            Self::Discover(command) => command.run(settings, surroundings, out).await,
            Self::List(args) => {
                let (store, _) = open_installation(settings, surroundings).await?;
                list(&args, &store.connections().await?, &limits(settings), out)
            }
            Self::Remove(args) => {
                let (store, _) = open_installation(settings, surroundings).await?;
                remove(&args, store, out).await
            }
            Self::Drift(args) => {
                let (store, _) = open_installation(settings, surroundings).await?;
                repair::drift(&args, &*store, out).await
            }
            Self::ResumeSweep(args) => {
                let (store, _) = open_installation(settings, surroundings).await?;
                repair::resume(&args, &*store, out).await
            }
            Self::Reseal(args) => args.run(settings, surroundings, out).await,
        }
    }
}

impl CaldavArgs {
    fn account(&self, settings: &Settings) -> anyhow::Result<Account> {
        let calendar = calendar_name(CalendarKind::Caldav, &self.calendar_url)
            .map_err(|error| UsageError(format!("--calendar-url: {error}")))?;
        admit("--calendar-url", &calendar, settings)?;
        let (username, credentials) = self.login.read()?;
        Ok(Account {
            kind: CalendarKind::Caldav,
            subject: username,
            calendar,
            base_url: String::new(),
            kept: Kept::Fixed(credentials),
        })
    }
}

impl GoogleArgs {
    fn account(&self, settings: &Settings) -> anyhow::Result<Account> {
        let Self { calendar_id, subject, base_url, tokens, .. } = self;
        let base_url = api_address(base_url.as_deref(), CalendarKind::Google, settings)?;
        account(calendar_id, subject, base_url, tokens, Issuer::Google)
    }
}

impl MicrosoftArgs {
    fn account(&self, settings: &Settings) -> anyhow::Result<Account> {
        let Self { calendar_id, subject, base_url, tenant, tokens, .. } = self;
        let base_url = api_address(base_url.as_deref(), CalendarKind::Microsoft, settings)?;
        let tenant =
            Tenant::parse(tenant).map_err(|error| UsageError(format!("--tenant: {error}")))?;
        account(calendar_id, subject, base_url, tokens, Issuer::Microsoft(tenant))
    }
}

/// An account that tokens open.
fn account(
    calendar_id: &str,
    subject: &str,
    base_url: String,
    tokens: &GrantArgs,
    issuer: Issuer,
) -> anyhow::Result<Account> {
    let kind = issuer.kind();
    let calendar = calendar_name(kind, calendar_id)
        .map_err(|error| UsageError(format!("--calendar-id: {error}")))?;
    let subject = one_line("--subject", subject)?;
    Ok(Account { kind, subject, calendar, base_url, kept: tokens.read(issuer)? })
}

/// Access is renewed only as the client that it was granted to: the one that is set now.
fn note_client(kept: &mut Kept, settings: &OauthSettings) -> Result<(), UsageError> {
    let Kept::Grant(grant) = kept else {
        return Ok(());
    };
    let (client, key) = match grant.issuer {
        Issuer::Google => (&settings.google, "oauth.google.client_id"),
        Issuer::Microsoft(_) => (&settings.microsoft, "oauth.microsoft.client_id"),
    };
    let client = client.as_ref().ok_or_else(|| {
        UsageError(format!(
            "{key} is not set: a refresh token is of use only to the client that it was granted to"
        ))
    })?;
    grant.client = Some(client.id.clone());
    Ok(())
}

/// The value of `--base-url`, or else the setting's, without a slash at its end.
pub(super) fn api_address(
    given: Option<&str>,
    kind: CalendarKind,
    settings: &Settings,
) -> Result<String, UsageError> {
    let url = match given {
        Some(given) => crate::config::value::http_url(given)
            .map_err(|problem| UsageError(format!("--base-url {problem}")))?,
        None => settings.oauth.api_url(kind).clone(),
    };
    let base_url = url.as_str().trim_end_matches('/').to_owned();
    admit("--base-url", &base_url, settings)?;
    Ok(base_url)
}

/// The longest user name or subject, in bytes.
const SUBJECT_LEN_MAX: usize = 500;

pub(super) fn one_line(option: &str, text: &str) -> Result<String, UsageError> {
    let text = text.trim();
    match text.len() {
        0 => Err(UsageError(format!("{option} is empty"))),
        len if len > SUBJECT_LEN_MAX => Err(UsageError(format!(
            "{option} has {len} bytes; at most {SUBJECT_LEN_MAX} are allowed"
        ))),
        _ if text.chars().any(char::is_control) => {
            Err(UsageError(format!("{option} holds a control character")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Whether an address may be asked, as far as it says so itself: a name is looked up when it is asked,
/// and judged again each time.
fn admit(option: &str, url: &str, settings: &Settings) -> Result<(), UsageError> {
    let wrong = |problem: &dyn std::fmt::Display| UsageError(format!("{option}: {problem}"));
    let url = Url::parse(url).map_err(|error| wrong(&error))?;
    settings.http.networks.admit_url(&url).map_err(|barred| wrong(&barred))
}

async fn add(
    common: &CommonArgs,
    mut account: Account,
    settings: &Settings,
    surroundings: &Surroundings,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let sealer = sealer(&settings.secrets)?;
    note_client(&mut account.kept, &settings.oauth)?;
    let (store, installation) = open_installation(settings, surroundings).await?;
    let provider = ProviderId(common.provider_id);
    let mut connection =
        account.connection(provider, &installation, settings, &sealer, &*surroundings.dice)?;
    connection.make_destination = common.make_destination;
    let put = put(&*store, &connection).await?;
    tell_added(connection.id, &put, common.json, out)?;
    Ok(())
}

fn list(
    args: &ListArgs,
    connections: &[CountedConnection],
    limits: &Limits,
    out: &mut Out<impl Write>,
) -> anyhow::Result<()> {
    if args.json {
        for connection in connections {
            out.json(&to_json(connection, limits))?;
        }
        return Ok(());
    }
    if connections.is_empty() {
        writeln!(out, "there are no connections; see calendar-sync connections add --help")?;
        return Ok(());
    }
    let mut columns = Columns::new([
        "ID", "PROVIDER", "KIND", "ACCOUNT", "CALENDAR", "STATE", "DEST", "DUE", "LIVE", "FILL",
        "DRIFT",
    ]);
    for counted in connections {
        let CountedConnection { connection: one, pending, live, drift, fill, .. } = counted;
        columns.row([
            one.id.to_string(),
            one.provider.to_string(),
            one.kind.to_string(),
            one.subject.clone(),
            one.calendar.clone(),
            one.state.name().to_owned(),
            if one.destination { "yes" } else { "-" }.to_owned(),
            pending.to_string(),
            live.to_string(),
            fill::cell(fill.as_ref()),
            drift.to_string(),
        ]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    for counted in connections {
        let CountedConnection { connection: one, last_error, .. } = counted;
        fill::tell(counted, limits, out)?;
        repair::tell_halted(one, out)?;
        tell_unrenewed(one, out)?;
        if let Some(error) = last_error {
            writeln!(out, "\n{} does not take what is due: {}", one.id, printable(error))?;
        }
        let Some(reason) = &one.parked_reason else { continue };
        let reason = printable(reason);
        if one.state == ConnectionState::Removing {
            writeln!(out, "\n{}: its events cannot be withdrawn: {reason}", one.id)?;
            writeln!(
                out,
                "  once that is mended, add it again with working credentials, and remove it \
                 again; or give its events up: remove it with --leave-events"
            )?;
        } else {
            writeln!(out, "\n{} is parked: {reason}", one.id)?;
            writeln!(out, "  once that is mended, add it again with working credentials")?;
        }
    }
    Ok(())
}

/// Says what is tried again by itself.
fn tell_unrenewed(one: &ConnectionRow, out: &mut Out<impl Write>) -> std::io::Result<()> {
    let Some(error) = &one.renewal_error else { return Ok(()) };
    writeln!(out, "\n{}: its access is not renewed: {}", one.id, printable(error))?;
    writeln!(
        out,
        "  tried {} times in a row, and again by itself; what is owed on it waits meanwhile",
        one.renewal_failures
    )
}

/// All but the credentials.
fn to_json(counted: &CountedConnection, limits: &Limits) -> serde_json::Value {
    let CountedConnection { connection, pending, live, drift, swept, last_error, .. } = counted;
    json!({
        "connection_id": connection.id,
        "provider_id": connection.provider,
        "calendar_provider": connection.kind.name(),
        "subject": connection.subject,
        "calendar": connection.calendar,
        "base_url": connection.base_url,
        "state": connection.state.name(),
        "parked_reason": connection.parked_reason,
        "renewal_failures": connection.renewal_failures,
        "renewal_error": connection.renewal_error,
        "destination": connection.destination,
        "last_error": last_error,
        "pending": pending,
        "live": live,
        "fill": fill::to_json(counted, limits),
        "drift": drift,
        "halted": connection.halted,
        "swept": swept,
    })
}

async fn remove(
    args: &RemoveArgs,
    store: Arc<dyn Store>,
    out: &mut Out<impl Write>,
) -> anyhow::Result<()> {
    let id = ConnectionId(args.id);
    let state = store.connection(id).await?.map(|connection| connection.state);
    // Without its credentials a withdrawal never ends: that is not to happen by the way.
    if state == Some(ConnectionState::Removing) && !args.withdraw && !args.leave_events {
        bail!(
            "connection {id} is being removed already, and its events are being withdrawn; to \
             leave them in the calendar instead, remove it with --leave-events"
        );
    }
    if !store.remove_connection(id, args.withdraw).await? {
        bail!("there is no connection {id}, or it is removed already");
    }
    let what = if args.withdraw {
        "its events are being withdrawn; its credentials are deleted once they are gone"
    } else {
        "its events stay in the calendar; its credentials are deleted"
    };
    writeln!(out, "connection {id}: {what}")?;
    Ok(())
}
