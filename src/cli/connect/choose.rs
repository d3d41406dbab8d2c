//! Which of an account's calendars is connected: only one that is there and can be written to.

use std::io::{BufRead, Read as _, Write};

use anyhow::bail;

use crate::calendar::caldav::Access;
use crate::calendar::caldav::discovery::FoundCalendar;
use crate::calendar::discovery::ListedCalendar;
use crate::cli::UsageError;
use crate::cli::columns::{Columns, or_dash, printable};
use crate::cli::out::Out;
use crate::connection::calendar_name;
use crate::connection::known::is_name_of;
use booking::CalendarKind;

/// The longest answer that is read, in bytes.
const ANSWER_LEN_MAX: u64 = 100;

/// So often somebody may mistype.
const TRIES_MAX: usize = 3;

/// So many calendars are named in an error.
const NAMED_MAX: usize = 20;

/// A calendar that could be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// As it is stored.
    id: String,
    /// What people call it.
    name: Option<String>,
    is_writable: bool,
    is_primary: bool,
}

impl Choice {
    /// As it is stored, and whether it is also called `primary`.
    pub(super) fn into_id(self) -> (String, bool) {
        (self.id, self.is_primary)
    }
}

/// Which one is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What says so.
    pub(super) option: &'static str,
    /// Its value.
    pub(super) given: Option<&'a str>,
}

impl From<ListedCalendar> for Choice {
    fn from(listed: ListedCalendar) -> Self {
        let ListedCalendar { id, name, is_writable, is_primary } = listed;
        Self { id, name, is_writable, is_primary }
    }
}

impl Choice {
    /// Of a server that does not say whether it can be written to, it is believed that it can. `None`: by
    /// such a URL nothing can be stored.
    pub(super) fn of_caldav(found: FoundCalendar) -> Option<Self> {
        let id = calendar_name(CalendarKind::Caldav, &found.url).ok()?;
        let is_writable = match found.access {
            Access::Writable | Access::NotSaid => true,
            Access::ReadOnly => false,
        };
        Some(Self { id, name: found.name, is_writable, is_primary: false })
    }
}

/// The calendar to connect. `answers` is where somebody may be asked.
pub(super) fn choose(
    wanted: Wanted<'_>,
    choices: Vec<Choice>,
    answers: Option<impl BufRead>,
    out: &mut Out<impl Write>,
) -> anyhow::Result<Choice> {
    if let Some(id) = wanted.given {
        return Ok(named(id, &choices)?.clone());
    }
    let total = choices.len();
    let mut writable: Vec<_> = choices.into_iter().filter(|choice| choice.is_writable).collect();
    match (writable.len(), answers) {
        (0, _) => bail!("none of the account's {total} calendars can be written to"),
        (1, _) => Ok(writable.remove(0)),
        (_, Some(answers)) => ask(writable, answers, out),
        (count, None) => {
            let ids: Vec<_> = writable.iter().take(NAMED_MAX).map(Choice::shown).collect();
            let text = format!(
                "the account has {count} calendars that can be written to; say with {} which one: {}",
                wanted.option,
                ids.join(", ")
            );
            bail!(UsageError(text))
        }
    }
}

/// The calendar of that id, if it can be written to.
pub(super) fn named<'a>(id: &str, choices: &'a [Choice]) -> anyhow::Result<&'a Choice> {
    let is_it = |choice: &&Choice| is_name_of(id, &choice.id, choice.is_primary);
    match choices.iter().find(is_it) {
        Some(choice) if choice.is_writable => Ok(choice),
        Some(choice) => bail!("the account can only read the calendar {}", choice.shown()),
        None => bail!("the account has no calendar {}", printable(id)),
    }
}

fn ask(
    mut choices: Vec<Choice>,
    mut answers: impl BufRead,
    out: &mut Out<impl Write>,
) -> anyhow::Result<Choice> {
    let mut columns = Columns::new(["", "NAME", "ID"]);
    for (number, Choice { id, name, .. }) in choices.iter().enumerate() {
        let name = or_dash(name.as_deref().map(printable));
        columns.row([(number + 1).to_string(), name, id.clone()]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    for _ in 0..TRIES_MAX {
        write!(out, "which one (1 to {})? ", choices.len())?;
        out.flush()?;
        let mut line = String::new();
        if answers.by_ref().take(ANSWER_LEN_MAX).read_line(&mut line)? == 0 {
            break;
        }
        let number = line.trim().parse::<usize>().ok();
        if let Some(at) = number.and_then(|number| number.checked_sub(1))
            && at < choices.len()
        {
            return Ok(choices.swap_remove(at));
        }
    }
    bail!("no calendar was chosen")
}

impl Choice {
    fn shown(&self) -> String {
        let id = printable(&self.id);
        self.name.as_ref().map_or_else(|| id.clone(), |name| format!("{id} ({})", printable(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(id: &str, is_writable: bool) -> Choice {
        let name = Some(format!("{id}'s"));
        Choice { id: id.to_owned(), name, is_writable, is_primary: id == "own" }
    }

    fn chosen(
        given: Option<&str>,
        choices: &[Choice],
        typed: Option<&str>,
    ) -> Result<String, String> {
        let wanted = Wanted { option: "--calendar-id", given };
        let answers = typed.map(str::as_bytes);
        let mut out = Out::new(Vec::new());
        let chosen = choose(wanted, choices.to_vec(), answers, &mut out);
        chosen.map(|choice| choice.id).map_err(|error| error.to_string())
    }

    #[test]
    fn the_only_one_that_can_be_written_to_needs_no_name() {
        let choices = [choice("holidays", false), choice("own", true)];
        assert_eq!(chosen(None, &choices, None), Ok("own".to_owned()));
        let none = chosen(None, &choices[..1], Some("1\n")).unwrap_err();
        assert_eq!(none, "none of the account's 1 calendars can be written to");
    }

    #[test]
    fn what_is_named_must_be_there_and_writable() {
        let choices = [choice("holidays", false), choice("own", true), choice("team", true)];
        assert_eq!(chosen(Some("team"), &choices, None), Ok("team".to_owned()));
        assert_eq!(chosen(Some("primary"), &choices, None), Ok("own".to_owned()));
        let read_only = chosen(Some("holidays"), &choices, None).unwrap_err();
        assert_eq!(read_only, "the account can only read the calendar holidays (holidays's)");
        let unknown = chosen(Some("x\u{1b}"), &choices, None).unwrap_err();
        assert_eq!(unknown, "the account has no calendar x\u{fffd}");
    }

    #[test]
    fn where_nobody_can_be_asked_the_names_are_told() {
        let error = chosen(None, &[choice("own", true), choice("team", true)], None).unwrap_err();
        assert!(error.contains("--calendar-id which one: own (own's), team (team's)"), "{error}");
    }

    #[test]
    fn a_person_has_a_few_tries() {
        let choices = [choice("own", true), choice("team", true)];
        assert_eq!(chosen(None, &choices, Some("0\nteam\n2\n")), Ok("team".to_owned()));
        for typed in ["", "3\n0\nx\n1\n", "99999999999999999999\n"] {
            assert_eq!(
                chosen(None, &choices, Some(typed)),
                Err("no calendar was chosen".to_owned())
            );
        }
    }
}
