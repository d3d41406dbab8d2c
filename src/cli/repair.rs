//! `connections drift` and `connections resume-sweep`: what a sweep has found in a calendar, and a
//! person's answer to one that has halted (rule R20).

use std::io::Write;

use anyhow::bail;
use booking::ConnectionId;
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::columns::{Columns, printable};
use super::out::Out;
use crate::store::{ConnectionRow, Store};

/// `connections drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// The connection's id, as `connections list` shows it
    #[arg(value_name = "ID")]
    id: Uuid,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `connections resume-sweep`: the events that are missing are dealt with from now on, as
/// `repair.policy` says.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The connection's id, as `connections list` shows it
    #[arg(value_name = "ID")]
    id: Uuid,
}

/// Shows what is otherwise in a calendar than we left it.
pub(super) async fn drift(
    args: &DriftArgs,
    store: &dyn Store,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let id = ConnectionId(args.id);
    if store.connection(id).await?.is_none() {
        bail!("there is no connection {id}");
    }
    let found = store.drift(id).await?;
    if args.json {
        for drift in &found {
            out.json(&json!({
                "connection_id": drift.connection,
                "external_event_id": drift.external_id,
                "ical_uid": drift.uid,
                "kind": drift.kind.name(),
                "since": drift.since,
            }))?;
        }
        return Ok(());
    }
    if found.is_empty() {
        writeln!(out, "nothing is known to be otherwise in this calendar than we left it")?;
        return Ok(());
    }
    let mut columns = Columns::new(["KIND", "SINCE", "UID", "EVENT"]);
    for drift in &found {
        columns.row([
            drift.kind.name().to_owned(),
            drift.since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            drift.uid.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            printable(&drift.external_id),
        ]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Answers a halt.
pub(super) async fn resume(
    args: &ResumeArgs,
    store: &dyn Store,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let id = ConnectionId(args.id);
    if !store.resume_sweep(id).await? {
        bail!("there is no connection {id} whose sweep is halted");
    }
    writeln!(
        out,
        "connection {id}: its calendar is read once more, whole; what is missing is put back where \
         repair.policy is `repair`, else told as deleted"
    )?;
    Ok(())
}

/// Says what waits for a person's answer.
pub(super) fn tell_halted(
    connection: &ConnectionRow,
    out: &mut Out<impl Write>,
) -> std::io::Result<()> {
    let Some(reason) = &connection.halted else { return Ok(()) };
    writeln!(out, "\n{}: repair is halted: {}", connection.id, printable(reason))?;
    writeln!(
        out,
        "  nothing is put back meanwhile. Once you have seen to it, run\n  \
         calendar-sync connections resume-sweep {}\n  \
         what is missing is then put back where repair.policy is `repair`, else told as deleted",
        connection.id
    )
}
