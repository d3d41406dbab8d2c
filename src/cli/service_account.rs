//! `connections add google-service-account`: a calendar that an organisation lets a service account of
//! Google's open (domain-wide delegation). Access is asked for before anything is stored.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use booking::CalendarKind;
use clap::Args;
use secrecy::zeroize::Zeroizing;

use super::UsageError;
use super::account::Account;
use super::connections::{CommonArgs, api_address, one_line};
use super::redrive::http;
use crate::calendar::Credentials;
use crate::calendar::discovery::ListedCalendar;
use crate::calendar::google::{discovery, user};
use crate::calendar::http::Http;
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::connection::delegated::{Delegated, KEY_FILE_LEN_MAX, ServiceKey};
use crate::connection::known::PRIMARY;
use crate::connection::refresh::Denied;
use crate::connection::token_endpoint::TokenEndpoints;
use crate::connection::{Kept, calendar_name};

/// What is asked for: to read and write events, and to see which calendars there are.
const SCOPES: &str = "https://www.googleapis.com/auth/calendar.events \
                      https://www.googleapis.com/auth/calendar.calendarlist.readonly";

pub(super) const EXAMPLE: &str = "\
Example:
  calendar-sync connections add google-service-account \\
      --provider-id 7f9f2c6e-0c43-4b5c-9d59-0a6b1c9a4a11 \\
      --key-file /run/secrets/robot.json --user anna@example.com --calendar-id primary

First an administrator of the organisation lets the service account act for its users: in Google's Admin
console, at `Domain-wide delegation`, with the service account's client ID and these scopes:
  https://www.googleapis.com/auth/calendar.events
  https://www.googleapis.com/auth/calendar.calendarlist.readonly
  openid
The last one is used once, to ask for the user's immutable subject; it is not needed with --subject.";

/// `connections add google-service-account`.
#[derive(Debug, Args)]
pub struct ServiceAccountArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// The JSON file with the service account's key
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The address of the user whose calendar it is
    #[arg(long, value_name = "ADDRESS")]
    user: String,
    /// The calendar's id (`primary`, or as Google's settings show it)
    #[arg(long, value_name = "ID")]
    calendar_id: String,
    /// The user's immutable subject (`id` in the Directory API); without it, Google is asked
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// The API's address, if it is not `oauth.google.api_url`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Where Google says who a user is
    #[arg(long, value_name = "URL", default_value = user::USER_INFO)]
    user_info_url: String,
}

impl ServiceAccountArgs {
    /// The account, once it has let us in.
    pub(super) async fn account(
        &self,
        settings: &Settings,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Account> {
        let calendar = calendar_name(CalendarKind::Google, &self.calendar_id)
            .map_err(|error| UsageError(format!("--calendar-id: {error}")))?;
        let base_url = api_address(self.base_url.as_deref(), CalendarKind::Google, settings)?;
        let user = one_line("--user", &self.user)?;
        let file = read(&self.key_file)
            .with_context(|| format!("cannot read {}", self.key_file.display()))?;
        let key = ServiceKey::parse(&file, &settings.oauth.google_token_url)
            .map_err(|error| UsageError(format!("--key-file: {error}")))?;
        let http = http(settings, surroundings)?;
        let clock = surroundings.clock.clone();
        let endpoints = TokenEndpoints::new(http.clone(), settings.oauth.clone(), clock);
        let asked = Delegated { key, user, scopes: SCOPES.to_owned(), access: None };
        let delegated = let_in(&endpoints, &asked).await?;
        let found = discovery::discover(&http, &base_url, &credentials(&delegated)?).await?;
        check(&calendar, &asked.user, &found)?;
        let subject = match &self.subject {
            Some(subject) => one_line("--subject", subject)?,
            None => self.subject_of(&asked, &endpoints, &http).await?,
        };
        let kept = Kept::Delegated(Box::new(delegated));
        Ok(Account { kind: CalendarKind::Google, subject, calendar, base_url, kept })
    }

    /// Asked for with access of its own, which is not kept.
    async fn subject_of(
        &self,
        asked: &Delegated,
        endpoints: &TokenEndpoints,
        http: &Http,
    ) -> anyhow::Result<String> {
        let url = crate::config::value::secure_url(&self.user_info_url)
            .map_err(|problem| UsageError(format!("--user-info-url {problem}")))?;
        let asked = Delegated { scopes: user::SCOPE.to_owned(), ..asked.clone() };
        let advice = "the user's immutable subject is asked for with the scope `openid`; or give it \
                      with --subject";
        let delegated = let_in(endpoints, &asked).await.context(advice)?;
        let subject = user::subject(http, url, &credentials(&delegated)?).await;
        subject.context(advice)
    }
}

async fn let_in(endpoints: &TokenEndpoints, asked: &Delegated) -> anyhow::Result<Delegated> {
    endpoints.assert(asked).await.map_err(|denied| match denied {
        Denied::Refused { reason }
        | Denied::Misconfigured { reason }
        | Denied::Later { reason, .. } => anyhow::anyhow!("{reason}; nothing is stored"),
    })
}

fn credentials(delegated: &Delegated) -> anyhow::Result<Credentials> {
    let access = delegated.access.as_ref().context("Google gave no access")?;
    Ok(Credentials::Bearer { token: access.token.clone() })
}

/// Whether the calendar is there, and can be written to (L28).
fn check(calendar: &str, user: &str, found: &[ListedCalendar]) -> anyhow::Result<()> {
    let is_it = |one: &&ListedCalendar| {
        one.id == calendar || (calendar == PRIMARY && one.id.eq_ignore_ascii_case(user))
    };
    match found.iter().find(is_it) {
        Some(one) if one.is_writable => Ok(()),
        Some(one) => bail!("the calendar {} can only be read; nothing is stored", one.id),
        // Where the user goes by another address: it is theirs all the same.
        None if calendar == PRIMARY => Ok(()),
        None => {
            let ids = found.iter().filter(|one| one.is_writable).map(|one| one.id.as_str());
            let ids: Vec<_> = ids.take(TOLD_MAX).collect();
            bail!(
                "the user has no calendar {calendar}; those that can be written to: {}; nothing is \
                 stored",
                ids.join(", ")
            )
        }
    }
}

/// So many calendars are told.
const TOLD_MAX: usize = 20;

/// All of a file, in a buffer that never grows, so that no copy of it stays behind in memory.
fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let len_max = u64::try_from(KEY_FILE_LEN_MAX).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_LEN_MAX + 1));
    File::open(path)?.take(len_max + 1).read_to_string(&mut text)?;
    if text.len() > KEY_FILE_LEN_MAX {
        bail!("it has more than {KEY_FILE_LEN_MAX} bytes");
    }
    Ok(text)
}
