//! `connections discover`: which calendars an account has, and whether they can be written to. It adds
//! none and stores nothing.

use std::io::Write;

use booking::CalendarKind;
use clap::{Args, Subcommand};
use serde_json::json;

use super::columns::{Columns, or_dash, printable};
use super::connections::api_address;
use super::out::Out;
use super::redrive::http;
use super::secret_input::{LoginArgs, TokenArgs};
use crate::calendar::caldav::Access;
use crate::calendar::caldav::discovery::{FoundCalendar, discover};
use crate::calendar::discovery::ListedCalendar;
use crate::calendar::{google, microsoft};
use crate::clock::Surroundings;
use crate::config::Settings;

/// On which kind of server.
#[derive(Debug, Subcommand)]
pub enum DiscoverCommand {
    /// The calendars of an account on a CalDAV server
    #[command(after_help = "\
Example:
  calendar-sync connections discover caldav --url dav.example.com \\
      --username anna --password-file /run/secrets/anna

`connections add caldav --calendar-url` takes a URL as it is shown. The credentials go to this
address alone: a server that sends on to another one is named, not followed.")]
    Caldav(DiscoverCaldavArgs),
    /// The calendars of a Google account
    #[command(after_help = "\
Example:
  printf %s \"$TOKEN\" | calendar-sync connections discover google --token-stdin

`connections add google --calendar-id` takes an id as it is shown. The token needs a scope that lists
calendars, as `calendar.calendarlist.readonly`; one for events alone does not do.")]
    Google(DiscoverGoogleArgs),
    /// The calendars of a mailbox of Microsoft 365
    #[command(after_help = "\
Example:
  printf %s \"$TOKEN\" | calendar-sync connections discover microsoft --token-stdin

`connections add microsoft --calendar-id` takes an id as it is shown.")]
    Microsoft(DiscoverMicrosoftArgs),
}

/// `connections discover caldav`.
#[derive(Debug, Args)]
pub struct DiscoverCaldavArgs {
    /// The server: a URL or a host
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    login: LoginArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `connections discover google`.
#[derive(Debug, Args)]
pub struct DiscoverGoogleArgs {
    /// The API's address, if it is not that of `oauth.google.api_url`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `connections discover microsoft`.
#[derive(Debug, Args)]
pub struct DiscoverMicrosoftArgs {
    #[arg(long, value_name = "URL")]
    #[arg(
        help = "The API's address, up to the mailbox, if it is not that of oauth.microsoft.api_url: \
                `…/me`, or `…/users/ID` with an application's token"
    )]
    base_url: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl DiscoverCommand {
    /// Does it.
    pub(super) async fn run(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Caldav(args) => args.run(settings, surroundings, out).await,
            Self::Google(DiscoverGoogleArgs { base_url, token, json }) => {
                let base_url = api_address(base_url.as_deref(), CalendarKind::Google, settings)?;
                let credentials = token.read()?;
                let http = http(settings, surroundings)?;
                let found = google::discovery::discover(&http, &base_url, &credentials).await?;
                Ok(tell_listed(&found, *json, out)?)
            }
            Self::Microsoft(DiscoverMicrosoftArgs { base_url, token, json }) => {
                let base_url = api_address(base_url.as_deref(), CalendarKind::Microsoft, settings)?;
                let credentials = token.read()?;
                let http = http(settings, surroundings)?;
                let found = microsoft::discovery::discover(&http, &base_url, &credentials).await?;
                Ok(tell_listed(&found, *json, out)?)
            }
        }
    }
}

impl DiscoverCaldavArgs {
    async fn run(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let (_, credentials) = self.login.read()?;
        let http = http(settings, surroundings)?;
        tell(&discover(&http, &self.url, &credentials).await?, self.json, out)?;
        Ok(())
    }
}

fn tell(found: &[FoundCalendar], as_json: bool, out: &mut Out<impl Write>) -> std::io::Result<()> {
    if as_json {
        for FoundCalendar { url, name, access, syncs, sync_token: _ } in found {
            let may_write = match access {
                Access::Writable => Some(true),
                Access::ReadOnly => Some(false),
                Access::NotSaid => None,
            };
            out.json(&json!({
                "calendar_url": url, "name": name, "writable": may_write, "sync_collection": syncs,
            }))?;
        }
        return Ok(());
    }
    if found.is_empty() {
        return writeln!(out, "the account has no calendars that take events");
    }
    let mut columns = Columns::new(["ACCESS", "NAME", "URL"]);
    for FoundCalendar { url, name, access, .. } in found {
        let access = match access {
            Access::Writable => "writable",
            Access::ReadOnly => "read-only",
            Access::NotSaid => "not said",
        };
        let name = or_dash(name.as_deref().map(printable));
        columns.row([access.to_owned(), name, url.clone()]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn tell_listed(
    found: &[ListedCalendar],
    as_json: bool,
    out: &mut Out<impl Write>,
) -> std::io::Result<()> {
    if as_json {
        for ListedCalendar { id, name, is_writable, .. } in found {
            out.json(&json!({"calendar_id": id, "name": name, "writable": is_writable}))?;
        }
        return Ok(());
    }
    if found.is_empty() {
        return writeln!(out, "the account has no calendars");
    }
    let mut columns = Columns::new(["ACCESS", "NAME", "ID"]);
    for ListedCalendar { id, name, is_writable, .. } in found {
        let access = if *is_writable { "writable" } else { "read-only" };
        let name = or_dash(name.as_deref().map(printable));
        columns.row([access.to_owned(), name, id.clone()]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
