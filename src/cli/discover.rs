//! `connections discover`: which calendars an account has, and whether they can be written to. It adds
//! none and stores nothing.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::columns::{Columns, or_dash, printable};
use super::connections::warn_of_plain_http;
use super::out::Out;
use super::redrive::http;
use super::secret_input::LoginArgs;
use crate::calendar::caldav::Access;
use crate::calendar::caldav::discovery::{FoundCalendar, discover};
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

impl DiscoverCaldavArgs {
    /// Does it.
    pub(super) async fn run(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        warn_of_plain_http("--url", &self.url);
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
