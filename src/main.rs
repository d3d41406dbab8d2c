//! The command line: parse, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use calendar_sync::cli::{Cli, Failure};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version arrive here as well, with exit code 0.
        Err(error) => {
            // Where it cannot be printed there is nowhere to say so.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::of(&error);
            if !failure.text.is_empty() {
                drop(writeln!(std::io::stderr(), "{}", failure.text));
            }
            ExitCode::from(failure.exit_code)
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(Box::pin(cli.execute()));
    // Whatever had to end has ended: a thread that still waits for something must not keep us.
    runtime.shutdown_background();
    done
}
