//! `config`: what is set, and whether the service would start with it.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::columns::{Columns, or_dash};
use super::out::Out;
use crate::config::{Effective, Given, SettingErrors, Settings, Source};

/// Looks at the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting as it is in effect and where it comes from; exit with 2 if any is wrong
    #[command(after_help = CHECK_HELP_END)]
    Check(CheckArgs),
}

const CHECK_HELP_END: &str = "\
Secrets are shown as ***. Wrong settings are told all at once, on standard error, each by its key \
and with what is allowed. Nothing is connected to.";

/// `config check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// One JSON object on a line: settings, warnings, errors
    #[arg(long)]
    json: bool,
    /// Only what differs from the defaults
    #[arg(long)]
    changed: bool,
}

impl ConfigCommand {
    /// Shows what is set; an error if a worker would refuse it.
    ///
    /// # Errors
    /// [`SettingErrors`], after all that is right was shown.
    pub fn run(&self, given: &Given, out: &mut Out<impl Write>) -> anyhow::Result<()> {
        let Self::Check(args) = self;
        let parsed = Settings::parse(given);
        let mut effective = given.effective();
        if args.changed {
            effective.retain(|one| one.source != Source::Default);
        }
        if args.json {
            out.json(&report(&effective, parsed.as_ref()))?;
        } else {
            tell(&effective, parsed.as_ref(), out)?;
        }
        parsed?;
        Ok(())
    }
}

fn report(effective: &[Effective], parsed: Result<&Settings, &SettingErrors>) -> serde_json::Value {
    let setting = |one: &Effective| json!({ "key": one.key, "value": one.value, "source": one.source.to_string() });
    let texts = |texts: &[String]| texts.to_vec();
    json!({
        "settings": effective.iter().map(setting).collect::<Vec<_>>(),
        "warnings": parsed.map_or_else(|_| Vec::new(), |settings| texts(&settings.warnings)),
        "errors": parsed.err().map_or_else(Vec::new, |errors| {
            errors.0.iter().map(ToString::to_string).collect()
        }),
    })
}

fn tell(
    effective: &[Effective],
    parsed: Result<&Settings, &SettingErrors>,
    out: &mut Out<impl Write>,
) -> std::io::Result<()> {
    let mut columns = Columns::new(["SETTING", "VALUE", "SOURCE"]);
    for one in effective {
        columns.row([one.key.clone(), or_dash(one.value.as_ref()), one.source.to_string()]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    let Ok(settings) = parsed else {
        return Ok(());
    };
    for warning in &settings.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    writeln!(out, "\nthe service would start with these settings")
}
