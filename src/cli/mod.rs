//! The commands: what one can ask of this program, one file each.
//!
//! A command reads its settings, opens what it needs and writes its answer to the given output;
//! it decides nothing about bookings, effects or calendars. Logs go to standard error, answers to
//! standard output. Secrets are never arguments: they would stand in the list of processes.

pub mod run;

pub mod migrate;

pub mod healthcheck;

pub mod config;

pub mod adopt;

pub mod connections;

pub mod discover;

pub mod cursor;

pub mod dead_letters;

pub mod redrive;

pub mod encode;

pub mod publish;

#[cfg(feature = "demo")]
pub mod demo;

#[cfg(feature = "demo")]
pub mod dev;

mod dead_letter_text;

mod service_account;

pub mod open;

pub mod out;

mod account;

mod connect;

mod fill;

mod repair;

mod reseal;

mod columns;

mod secret_input;

mod stop;

pub mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::clock::Surroundings;
use crate::config::{Given, KafkaSettings, LogSettings, OpsSettings, SettingErrors, Settings};
use out::{Out, OutputClosed};

/// Keeps calendars equal to the bookings in a Kafka topic.
#[derive(Debug, Parser)]
#[command(name = "calendar-sync", version, propagate_version = true, long_about = ABOUT, after_help = HELP_END)]
pub struct Cli {
    /// The settings file.
    #[arg(long, value_name = "FILE", global = true)]
    #[arg(help = "The settings file (TOML); or name it by CALENDAR_SYNC_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "\
Keeps calendars equal to the bookings in a Kafka topic.

Reads BookingCreated, BookingUpdated and BookingCancelled from Kafka, and keeps the connected \
calendars as they say: each event exactly once in effect.";

const HELP_END: &str = "\
Settings come from the environment, then the file, then defaults; the README lists them.

Examples:
  DATABASE_URL=postgres://localhost/calendar calendar-sync migrate
  calendar-sync --config /etc/calendar-sync.toml run
  calendar-sync cursor show
  calendar-sync demo

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

const PUBLISH_HELP_END: &str = r#"A line is one event; its fields are those of the Avro schemas, times as in RFC 3339:

  {"type":"BookingCreated","booking_id":"b-1","provider_id":"6f0c…","sequence":1,
   "occurred_at":"2026-05-01T08:00:00Z","start_time":"2026-05-04T09:00:00Z",
   "end_time":"2026-05-04T10:00:00Z","time_zone":"Europe/Berlin","service_name":"Massage"}
  {"type":"BookingCancelled","booking_id":"b-1","provider_id":"6f0c…","sequence":2,
   "occurred_at":"2026-05-02T08:00:00Z"}

(each on one line). A line that is no event is reported and left out, and the exit code is 1."#;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work: read the topic and keep the calendars, until SIGTERM or SIGINT
    Run(run::RunArgs),
    /// Bring the database to this version's schema
    Migrate,
    /// Ask the worker on this machine whether it is ready: exit code 0 if it is, else 1, and why
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Send booking events to the topic, from JSON lines
    #[command(after_help = PUBLISH_HELP_END)]
    Publish {
        /// A file of JSON lines; `-` is standard input
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// See every setting, where it comes from and whether it is right
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Add, find, list and remove calendar accounts
    #[command(subcommand)]
    Connections(connections::ConnectionsCommand),
    /// Take over the events that the booking application has put into calendars itself
    Adopt(adopt::AdoptArgs),
    /// See how far each partition was read, and get a stopped one going again
    #[command(subcommand)]
    Cursor(cursor::CursorCommand),
    /// See, send again or give up what could not be processed
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// See it work, and hold, while everything goes wrong: needs nothing but this binary
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Keep the service up with a booking service to play with, and print commands to paste
    #[cfg(feature = "demo")]
    Dev(dev::DevArgs),
}

/// A use of the command line that its grammar alone cannot refuse.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl Cli {
    /// Starts logging as the settings say, then does what was asked and writes the answer to
    /// standard output.
    pub async fn execute(self) -> anyhow::Result<()> {
        let surroundings = Surroundings::real();
        let mut out = Out::new(std::io::stdout());
        // The demo has settings of its own, whatever the environment says, and no logs.
        #[cfg(feature = "demo")]
        if let Command::Demo(args) = self.command {
            return Box::pin(demo::run(args, &surroundings, &mut out)).await;
        }
        let given = Given::load(self.config.as_deref());
        // Wrong settings for logs are among the errors of all settings that follow.
        if let Ok(log) = LogSettings::parse(&given) {
            crate::telemetry::start(&log, surroundings.clock.clone())?;
        }
        self.command.execute(&given, &surroundings, &mut out).await
    }
}

impl Command {
    async fn execute(
        self,
        given: &Given,
        surroundings: &Surroundings,
        out: &mut Out<impl std::io::Write + Send>,
    ) -> anyhow::Result<()> {
        // Needs Kafka's settings alone: who publishes need not know the database.
        if let Self::Publish { file } = &self {
            return publish_file(given, surroundings, file, out).await;
        }
        // Asks a worker, which knows the rest.
        if let Self::Healthcheck(args) = &self {
            let ops = OpsSettings::parse(given)?;
            return healthcheck::run(args, &ops, surroundings, out).await;
        }
        if let Self::Config(command) = &self {
            return command.run(given, out);
        }
        #[cfg(feature = "demo")]
        if let Self::Dev(args) = self {
            return Box::pin(dev::run(args, given, surroundings, out)).await;
        }
        let settings = settings(given)?;
        match self {
            Self::Publish { .. } | Self::Config(_) | Self::Healthcheck(_) => {
                unreachable!("dealt with above")
            }
            Self::Run(args) => Box::pin(run::run(args, settings, surroundings.clone())).await,
            Self::Migrate => migrate::run(&settings, surroundings, out).await,
            Self::Connections(command) => Box::pin(command.run(&settings, surroundings, out)).await,
            Self::Adopt(args) => Box::pin(adopt::run(args, &settings, surroundings, out)).await,
            Self::Cursor(command) => command.run(&settings, surroundings, out).await,
            Self::DeadLetters(command) => Box::pin(command.run(&settings, surroundings, out)).await,
            #[cfg(feature = "demo")]
            Self::Demo(_) | Self::Dev(_) => unreachable!("dealt with above"),
        }
    }
}

async fn publish_file(
    given: &Given,
    surroundings: &Surroundings,
    file: &str,
    out: &mut Out<impl std::io::Write + Send>,
) -> anyhow::Result<()> {
    let kafka = KafkaSettings::parse(given)?;
    let lines = publish::open(file).await.with_context(|| format!("cannot read {file}"))?;
    let config = kafka.connection_properties().into_iter().collect();
    publish::publish(config, &kafka.topic, lines, surroundings.dice.as_ref(), out).await?;
    Ok(())
}

fn settings(given: &Given) -> Result<Settings, SettingErrors> {
    let settings = Settings::parse(given)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// How a failure is told to people and to scripts.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// 0: the reader of our output went away, which is no failure; 1: failed; 2: wrong usage or
    /// settings.
    pub exit_code: u8,
    /// For standard error: the error and its causes, a line each.
    pub text: String,
}

impl Failure {
    /// Of an error that ended a command.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(OutputClosed::is) {
            return Self { exit_code: 0, text: String::new() };
        }
        let wrong_use = error.chain().any(|cause| {
            cause.is::<SettingErrors>() || cause.is::<UsageError>() || cause.is::<clap::Error>()
        });
        let mut said = error.to_string();
        let mut text = format!("error: {said}");
        for cause in error.chain().skip(1).map(ToString::to_string) {
            // Some libraries' errors end in the words of their own cause.
            if !said.ends_with(&cause) {
                text.push_str("\n  because: ");
                text.push_str(&cause);
            }
            said = cause;
        }
        Self { exit_code: if wrong_use { 2 } else { 1 }, text }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_settings_exit_with_2_and_other_failures_with_1() {
        let wrong = anyhow::Error::new(SettingErrors(Vec::new())).context("cannot start");
        assert_eq!(Failure::of(&wrong).exit_code, 2);
        let failed = anyhow::anyhow!("it burns").context("cannot start");
        let text = "error: cannot start\n  because: it burns".to_owned();
        assert_eq!(Failure::of(&failed), Failure { exit_code: 1, text });
        let told_twice = anyhow::anyhow!("no route").context("lost: no route").context("away");
        assert_eq!(Failure::of(&told_twice).text, "error: away\n  because: lost: no route");
    }

    #[test]
    fn only_our_own_outputs_end_is_no_failure() {
        struct Gone;
        impl std::io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let elsewhere = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::of(&anyhow::Error::new(elsewhere)).exit_code, 1);
        let error = std::io::Write::write_all(&mut Out::new(Gone), b"x").unwrap_err();
        assert_eq!(Failure::of(&anyhow::Error::new(error).context("x")).exit_code, 0);
    }
}
