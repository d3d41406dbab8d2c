//! What one sees: lines that stay, and below them on a terminal a few that are redrawn in place.
//! Elsewhere those are printed now and then, without colours.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use console::{Style, Term, measure_text_width, truncate_str};

use super::figures::{Comparison, Totals};
use crate::cli::out::Out;
use crate::clock::Clock;

/// How often the live lines are printed where they cannot be redrawn.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const BAR_WIDTH: usize = 32;

/// The terminal, or whatever takes its place.
pub(super) struct Screen {
    out: Out<Term>,
    term: Term,
    clock: Arc<dyn Clock>,
    redraws: bool,
    colours: bool,
    /// How many lines of the live area are on the screen.
    drawn: usize,
    frame: usize,
    printed_at: Option<Duration>,
}

impl Screen {
    /// On standard error if standard output is for a machine.
    pub(super) fn new(for_machine: bool, clock: Arc<dyn Clock>) -> Self {
        let (term, colours) = if for_machine {
            (Term::stderr(), console::colors_enabled_stderr())
        } else {
            (Term::stdout(), console::colors_enabled())
        };
        let redraws = term.is_term();
        Self {
            out: Out::new(term.clone()),
            term,
            clock,
            redraws,
            colours: colours && redraws,
            drawn: 0,
            frame: 0,
            printed_at: None,
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.colours).apply_to(text).to_string()
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.paint(Style::new().dim(), text)
    }

    pub(super) fn good(&self, text: &str) -> String {
        self.paint(Style::new().green(), text)
    }

    pub(super) fn bad(&self, text: &str) -> String {
        self.paint(Style::new().red().bold(), text)
    }

    /// A line that stays.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        let clear = self.clear();
        self.out.write_all(format!("{clear}{text}\n").as_bytes())?;
        self.out.flush()
    }

    /// Something that was done.
    pub(super) fn done(&mut self, what: &str, detail: &str) -> io::Result<()> {
        let line = format!("  {} {what}  {}", self.good("✓"), self.dim(detail));
        self.line(line.trim_end())
    }

    /// Something bad that was done on purpose.
    pub(super) fn struck(&mut self, what: &str, detail: &str) -> io::Result<()> {
        let mark = self.paint(Style::new().yellow(), "⚡");
        let line = format!("  {mark} {what}  {}", self.dim(detail));
        self.line(line.trim_end())
    }

    /// What goes on, and how far it is.
    pub(super) fn progress(
        &mut self,
        phase: &str,
        compared: &Comparison,
        totals: Totals,
    ) -> io::Result<()> {
        if self.redraws {
            self.redraw(phase, compared, totals)
        } else {
            self.now_and_then(phase, compared, totals)
        }
    }

    fn redraw(&mut self, phase: &str, compared: &Comparison, totals: Totals) -> io::Result<()> {
        self.frame += 1;
        let spinner = self.paint(Style::new().cyan(), SPINNER[self.frame / 2 % SPINNER.len()]);
        let (right, expected) = (compared.right(), compared.expected());
        let filled = (BAR_WIDTH * right).checked_div(expected).unwrap_or_default();
        let bar = self.good(&"█".repeat(filled)) + &self.dim(&"░".repeat(BAR_WIDTH - filled));
        let lines = [
            format!("  {spinner} {phase}"),
            format!("    {bar} {right} of {expected} events as they should be"),
            format!("    {}", self.dim(&counters(totals))),
        ];
        let width = usize::from(self.term.size().1).saturating_sub(1).max(20);
        let mut text = self.clear();
        for line in &lines {
            let line = if measure_text_width(line) > width {
                truncate_str(line, width, "…").into_owned()
            } else {
                line.clone()
            };
            text.push_str(&line);
            text.push('\n');
        }
        self.drawn = lines.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn now_and_then(
        &mut self,
        phase: &str,
        compared: &Comparison,
        totals: Totals,
    ) -> io::Result<()> {
        let now = self.clock.elapsed();
        if self.printed_at.is_some_and(|at| now < at + LINE_INTERVAL) {
            return Ok(());
        }
        self.printed_at = Some(now);
        let (right, expected) = (compared.right(), compared.expected());
        let counters = counters(totals);
        self.line(&format!("    {phase}: {right} of {expected} events right; {counters}"))
    }

    /// What takes the live lines off the screen.
    fn clear(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            // Up so many lines, and everything below goes.
            lines => format!("\u{1b}[{lines}A\r\u{1b}[J"),
        }
    }
}

fn counters(totals: Totals) -> String {
    let Totals { attempts, created, updated, deleted, lost_answers, refused, unanswered } = totals;
    format!(
        "{attempts} calls: {created} created, {updated} updated, {deleted} deleted; \
         {lost_answers} answers lost, {refused} refused, {unanswered} unanswered"
    )
}
