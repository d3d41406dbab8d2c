//! `demo`: the whole service on parts that it brings along, with everything going wrong.
//!
//! The broker, the database and Google's API are embedded; the worker is a child process of this
//! same binary, so that it can be killed for good. What the demo says in the end it reads from the
//! calendars themselves and holds against the generator's own list ([`day`]); it believes nothing
//! that the worker says.

pub mod day;

mod story;

mod parts;

mod worker;

mod producer;

mod script;

mod figures;

mod screen;

mod report;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use self::day::Day;
use self::parts::{Parts, UID_DOMAIN};
use self::screen::Screen;
use self::script::Script;
use self::worker::last_lines;
use super::columns::printable;
use super::out::{Out, OutputClosed};
use super::stop::Signals;
use crate::clock::Surroundings;

/// How many lines of the worker's log are shown where something went wrong.
const LOG_LINES: usize = 20;

/// Shows what this does, and that it holds: starts a broker, calendars and a worker, publishes a
/// day of bookings, kills the worker twice, loses answers, and compares every calendar with what
/// it should hold.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End when the calendars have been compared, rather than stay up; exit code 1 if they differ
    #[arg(long)]
    exit: bool,
    /// Print the figures as one JSON object on standard output, and all else on standard error
    #[arg(long)]
    json: bool,
    /// The seed of the day's bookings; without it another one each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// How the demo ended, if nothing was wrong.
enum Ended {
    /// As it should.
    Well,
    /// By this signal, before the end.
    Interrupted(&'static str),
}

/// Runs the demo. An error if anything in the end is not as it should be.
pub async fn run(
    args: DemoArgs,
    surroundings: &Surroundings,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let mut screen = Screen::new(args.json, Arc::clone(&surroundings.clock));
    // Short enough to be typed again.
    let seed = args.seed.unwrap_or_else(|| u64::from(surroundings.dice.token().as_fields().0));
    let day = Day::new(seed, surroundings.clock.now(), UID_DOMAIN);
    head(&mut screen, &day, seed)?;
    let parts = Parts::start(&day.providers, surroundings).await?;
    screen.done("a Kafka broker, in this process", parts.broker.bootstrap())?;
    let calendars =
        format!("{} calendars behind Google's API, in this process", day.providers.len());
    screen.done(&calendars, &parts.google.base_url())?;
    let script = Script::new(&day, &parts, surroundings, &mut screen)?;
    match Box::pin(act(&args, seed, script, &mut signals, out)).await {
        Ok(Ended::Well) => parts.stop(false).await.map(drop),
        Ok(Ended::Interrupted(signal)) => {
            parts.stop(false).await?;
            bail!("interrupted by {signal}")
        }
        Err(error) if error.chain().any(OutputClosed::is) => {
            parts.stop(false).await?;
            Err(error)
        }
        Err(error) => {
            for line in last_lines(&parts.log(), LOG_LINES) {
                let line = screen.dim(&printable(&line));
                screen.line(&format!("  {line}"))?;
            }
            if let Some(kept) = parts.stop(true).await? {
                screen.line(&format!("  that is the end of worker.log in {}", kept.display()))?;
            }
            Err(error)
        }
    }
}

/// Plays the script, tells what came of it, and stays up if asked to. The worker is gone when
/// this returns.
async fn act(
    args: &DemoArgs,
    seed: u64,
    mut script: Script<'_>,
    signals: &mut Signals,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<Ended> {
    let acted = tokio::select! {
        acted = perform(args, seed, &mut script, out) => acted.map(|()| Ended::Well),
        signal = signals.next() => Ok(Ended::Interrupted(signal)),
    };
    let acted = match acted {
        Ok(Ended::Well) if !args.exit => tokio::select! {
            ended = script.worker_end() => ended.map(|()| Ended::Well),
            _ = signals.next() => Ok(Ended::Well),
        },
        Ok(Ended::Well | Ended::Interrupted(_)) | Err(_) => acted,
    };
    let in_peace = matches!(acted, Ok(Ended::Well));
    script.stop(in_peace).await?;
    acted
}

/// The script, and the report.
async fn perform(
    args: &DemoArgs,
    seed: u64,
    script: &mut Script<'_>,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let (figures, compared) = script.run().await?;
    let (day, parts) = (script.day, script.parts);
    let screen = &mut *script.screen;
    report::table(screen, day, &compared)?;
    report::totals(screen, &figures, seed)?;
    if args.json {
        writeln!(out, "{}", figures.to_json())?;
        out.flush()?;
    }
    let wrong = figures.wrong(day);
    report::verdict(screen, &compared, &wrong)?;
    if !wrong.is_empty() {
        bail!("the demo failed: {}", wrong.join(", "));
    }
    if !args.exit {
        report::places(screen, day, parts)?;
    }
    Ok(())
}

fn head(screen: &mut Screen, day: &Day, seed: u64) -> io::Result<()> {
    let title = screen.bold("calendar-sync demo");
    let size = format!("{} events of {} bookings, seed {seed}", day.records(), day.bookings.len());
    let size = screen.dim(&size);
    screen.line(&format!("\n  {title}  {size}\n"))
}
