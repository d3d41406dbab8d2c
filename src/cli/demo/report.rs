//! What is said in the end.

use std::io;

use super::day::Day;
use super::figures::{Comparison, Figures, Totals};
use super::parts::Parts;
use super::screen::Screen;
use crate::cli::columns::Columns;

/// How many differences are shown.
const DIFFERENCES_MAX: usize = 10;

/// What every calendar holds against what it should.
pub(super) fn table(screen: &mut Screen, day: &Day, compared: &Comparison) -> io::Result<()> {
    let mut columns =
        Columns::new(["CALENDAR", "OF", "TIME ZONE", "EXPECTED", "HELD", "DIFFERING"]);
    for (provider, report) in day.providers.iter().zip(&compared.calendars) {
        columns.row([
            provider.account.to_owned(),
            provider.name.to_owned(),
            provider.zone.name().to_owned(),
            report.expected.to_string(),
            report.held.to_string(),
            report.differing.to_string(),
        ]);
    }
    let marks = compared.calendars.iter().map(|report| match report.differing {
        0 => screen.good("✓"),
        _ => screen.bad("✗"),
    });
    let marks: Vec<_> = std::iter::once(" ".to_owned()).chain(marks).collect();
    screen.line("")?;
    for (row, (line, mark)) in columns.lines().iter().zip(marks).enumerate() {
        let line = if row == 0 { screen.dim(line) } else { line.clone() };
        screen.line(&format!("  {mark} {line}"))?;
    }
    screen.line("")
}

/// The figures.
pub(super) fn totals(screen: &mut Screen, figures: &Figures, seed: u64) -> io::Result<()> {
    let Totals { attempts, created, updated, deleted, lost_answers, .. } = figures.totals;
    let Figures { events, bookings, worker_kills, dead_letters, .. } = figures;
    let Figures { duplicates, lost, out_of_order, seconds, .. } = figures;
    let rows = [
        ("published", format!("{events} events of {bookings} bookings")),
        ("in effect", format!("{created} created, {updated} updated, {deleted} deleted")),
        ("attempts", format!("{attempts} calls, {lost_answers} changes whose answer was lost")),
        ("disturbed", format!("{worker_kills} workers killed, {dead_letters} dead letters")),
        ("wrong", format!("{lost} lost, {duplicates} duplicates, {out_of_order} out of order")),
        ("took", format!("{seconds:.1} s")),
        ("seed", seed.to_string()),
    ];
    for (name, text) in rows {
        let name = screen.dim(&format!("{name:<10}"));
        screen.line(&format!("    {name} {text}"))?;
    }
    screen.line("")
}

/// Whether it holds.
pub(super) fn verdict(
    screen: &mut Screen,
    compared: &Comparison,
    wrong: &[String],
) -> io::Result<()> {
    if wrong.is_empty() {
        let mark = screen.good("✓");
        let text = screen.bold("every calendar holds exactly what it should");
        return screen.line(&format!("  {mark} {text}\n"));
    }
    let mark = screen.bad("✗");
    for what in wrong {
        screen.line(&format!("  {mark} {what}"))?;
    }
    for difference in compared.differences.iter().take(DIFFERENCES_MAX) {
        screen.line(&format!("    {difference}"))?;
    }
    if compared.differences.len() > DIFFERENCES_MAX {
        screen.line("    …")?;
    }
    screen.line("")
}

/// Where everything is, while it stays up.
pub(super) fn places(screen: &mut Screen, day: &Day, parts: &Parts) -> io::Result<()> {
    let rows = [
        ("Kafka", parts.broker.bootstrap().to_owned()),
        ("database", parts.database().display().to_string()),
        ("log", parts.log().display().to_string()),
        ("settings", parts.config().display().to_string()),
    ];
    screen.line("  All of it stays up until Ctrl-C:\n")?;
    for (name, place) in rows {
        let name = screen.dim(&format!("{name:<10}"));
        screen.line(&format!("    {name} {place}"))?;
    }
    screen.line("")?;
    for provider in &day.providers {
        screen.line(&format!("    {}", parts.calendar_url(provider)))?;
    }
    let config = parts.config();
    let provider = &day.providers[0];
    screen.line("\n  Look into it:\n")?;
    screen.line(&format!("    calendar-sync --config {} dead-letters list", config.display()))?;
    screen.line(&format!(
        "    curl -K {} {}\n",
        parts.curl_file(provider).display(),
        parts.calendar_url(provider)
    ))
}
