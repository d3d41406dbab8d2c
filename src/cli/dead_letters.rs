//! `dead-letters`: what could not be processed, kept whole, and its ways out.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use booking::PoisonClass;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use super::dead_letter_text as text;
use super::open::open_installation;
use super::out::Out;
use super::redrive::{pipeline, redrive_record};
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::pipeline::Pipeline;
use crate::store::{DeadLetter, DeadState, EFFECT_REJECTED, Store};

/// Dead letters read from the store at once.
const PAGE: u32 = 500;

/// What could not be processed: records that cannot be understood, and effects that a calendar
/// refuses for good.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, oldest first
    List(ListArgs),
    /// Show one whole: where it stood, its headers, its bytes in hex and text
    Show(ShowArgs),
    /// Process dead letters again, in the order of the log
    #[command(after_help = "\
Sending something old again does no harm: a booking ignores what it has seen or outgrown.

Examples:
  calendar-sync dead-letters redrive 17 18
  calendar-sync dead-letters redrive --class unknown_schema --all")]
    Redrive(RedriveArgs),
    /// Give dead letters up: they stay listed as discarded
    Discard(DiscardArgs),
}

/// Which ones to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this class
    #[arg(long, value_name = "CLASS", value_parser = classes())]
    class: Option<String>,
    /// Only in this state
    #[arg(long, value_name = "STATE", default_value = "open")]
    state: StateFilter,
    /// Only after this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The dead letter's id
    id: i64,
    /// One JSON object, bytes in Base64
    #[arg(long)]
    json: bool,
}

/// `dead-letters redrive`.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// The dead letters' ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// All open ones
    #[arg(long)]
    all: bool,
    /// With --all: only those of this class
    #[arg(long, value_name = "CLASS", requires = "all", value_parser = classes())]
    class: Option<String>,
    /// Go on after one that fails; without it the first failure ends the command, so that what
    /// depends on it keeps its order
    #[arg(long)]
    keep_going: bool,
}

/// `dead-letters discard`.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// The dead letters' ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
}

/// A state to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateFilter {
    /// Still waiting.
    Open,
    /// Processed after all.
    Redriven,
    /// Given up.
    Discarded,
    /// Every one.
    All,
}

impl StateFilter {
    fn admits(self, state: DeadState) -> bool {
        match self {
            Self::Open => state == DeadState::Open,
            Self::Redriven => state == DeadState::Redriven,
            Self::Discarded => state == DeadState::Discarded,
            Self::All => true,
        }
    }
}

fn classes() -> PossibleValuesParser {
    let effects = std::iter::once(EFFECT_REJECTED);
    PossibleValuesParser::new(PoisonClass::ALL.map(PoisonClass::name).into_iter().chain(effects))
}

impl DeadLettersCommand {
    /// Does it.
    pub async fn run(
        self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let (store, installation) = open_installation(settings, surroundings).await?;
        match self {
            Self::List(args) => list(&args, &*store, out).await,
            Self::Show(args) => {
                let letter = existing(&*store, args.id).await?;
                if args.json {
                    out.json(&text::to_json(&letter, true))?;
                } else {
                    text::show(&letter, out)?;
                }
                Ok(())
            }
            Self::Redrive(args) => {
                let pipeline = pipeline(settings, Arc::clone(&store), &installation, surroundings)?;
                redrive(&args, &pipeline, &*store, out).await
            }
            Self::Discard(args) => discard(&args, &*store, out).await,
        }
    }
}

async fn existing(store: &dyn Store, id: i64) -> anyhow::Result<DeadLetter> {
    let letter = store.dead_letter(id).await?;
    letter.with_context(|| format!("there is no dead letter {id}"))
}

/// Hands the chosen dead letters to `each`, oldest first, until it answers `false`.
async fn each_letter(
    store: &dyn Store,
    mut after: i64,
    class: Option<&str>,
    state: StateFilter,
    mut each: impl FnMut(&DeadLetter) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    loop {
        let page = store.dead_letters(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.id;
        let chosen = page.iter().filter(|letter| {
            state.admits(letter.state) && class.is_none_or(|class| letter.class == class)
        });
        for letter in chosen {
            if !each(letter)? {
                return Ok(());
            }
        }
    }
}

async fn list(
    args: &ListArgs,
    store: &dyn Store,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let mut letters = Vec::new();
    let mut more = false;
    let limit = usize::try_from(args.limit)?;
    each_letter(store, args.after, args.class.as_deref(), args.state, |letter| {
        more = letters.len() == limit;
        if !more {
            letters.push(text::Summary::of(letter));
        }
        Ok(!more)
    })
    .await?;
    if args.json {
        return Ok(letters.iter().try_for_each(|one| out.json(&one.json))?);
    }
    text::list(&letters, out)?;
    if let (true, Some(last)) = (more, letters.last()) {
        writeln!(out, "there are more: --after {}, or a greater --limit", last.id)?;
    }
    Ok(())
}

async fn redrive(
    args: &RedriveArgs,
    pipeline: &Pipeline,
    store: &dyn Store,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let mut ids = args.ids.clone();
    if args.all {
        let class = args.class.as_deref();
        each_letter(store, 0, class, StateFilter::Open, |letter| {
            ids.push(letter.id);
            Ok(true)
        })
        .await?;
    }
    // Ids rise as the log was read, so this is the order of the log.
    ids.sort_unstable();
    ids.dedup();
    let mut failed = 0;
    for id in &ids {
        match redrive_record(pipeline, *id).await {
            Ok(became) => writeln!(out, "{id}: {became}")?,
            Err(error) if args.keep_going => {
                failed += 1;
                writeln!(out, "{id}: not redriven: {error:#}")?;
            }
            Err(error) => return Err(error.context(format!("dead letter {id} was not redriven"))),
        }
    }
    if failed > 0 {
        bail!("{failed} of {} dead letters were not redriven", ids.len());
    }
    if ids.is_empty() {
        writeln!(out, "there is no open dead letter of that kind")?;
    }
    Ok(())
}

async fn discard(
    args: &DiscardArgs,
    store: &dyn Store,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for id in &args.ids {
        if store.discard(*id).await? {
            writeln!(out, "{id}: discarded")?;
        } else {
            missing.push(id.to_string());
        }
    }
    if !missing.is_empty() {
        bail!("there is no open dead letter {}", missing.join(", "));
    }
    Ok(())
}
