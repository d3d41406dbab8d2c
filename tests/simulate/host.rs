//! The one whose calendar it is, and what is done in it by hand.

use booking::CalendarKind;

use crate::accounts::{Account, Accounts};
use crate::calendars::{By, Deed, Stood};
use crate::dice::Chance;
use crate::world::World;

/// Deletes the copies: a CalDAV server may let no other event have the UID of one of them, and the dead
/// letter says so to a person.
pub(crate) fn tidy_up(world: &World) {
    let at = world.elapsed();
    for account in &mut world.accounts().0 {
        let copies: Vec<String> =
            account.server.live().into_iter().filter_map(|event| event.copy_of.clone()).collect();
        for name in copies {
            account.server.host(at, &Deed::DeleteCopy { name });
        }
    }
}

/// Does something to some event of ours.
pub(crate) fn interfere(world: &World) {
    let at = world.elapsed();
    let mut accounts = world.accounts();
    let ours = ours(&accounts);
    if ours.is_empty() {
        return;
    }
    let is_swept = world.plan.sweeps.is_some();
    let (number, deed) = world.chance("host", |dice, _| {
        let (number, name) = dice.pick(&ours).clone();
        if is_swept && dice.hits(100) {
            return (number, Deed::DeleteAll);
        }
        let deed = match dice.below(10) {
            0 | 1 => Deed::Delete { name },
            2 => Deed::Edit { name, title: true, time: false },
            3 => Deed::Edit { name, title: false, time: true },
            4 => Deed::Annotate { name },
            // No client shows or drops what Graph keeps beside an event.
            5 if accounts.0[number].kind != CalendarKind::Microsoft => Deed::StripMarker { name },
            6 => Deed::Copy { name },
            7 => Deed::Add,
            8 => deleted(&accounts.0[number]).map_or(Deed::Add, |name| Deed::Restore { name }),
            _ => Deed::EvictTombstones,
        };
        (number, deed)
    });
    let done = accounts.0[number].server.host(at, &deed);
    drop(accounts);
    if done {
        world.count(word(&deed));
    }
    world.say(|| format!("by hand in account {number}: {deed:?}: {done}"));
}

/// Notes something on some event of ours: in its text, or where the service writes nothing.
pub(crate) fn note(world: &World) {
    let at = world.elapsed();
    let mut accounts = world.accounts();
    let ours = ours(&accounts);
    if ours.is_empty() {
        return;
    }
    let (number, deed) = world.chance("notes", |dice, _| {
        let (number, name) = dice.pick(&ours).clone();
        (number, noting(dice, name))
    });
    accounts.0[number].server.host(at, &deed);
    drop(accounts);
    world.count(word(&deed));
    world.say(|| format!("by hand in account {number}: {deed:?}"));
}

/// A note on an event of this name.
pub(crate) fn noting(dice: &mut Chance, name: String) -> Deed {
    if dice.hits(250) {
        Deed::Annotate { name }
    } else {
        Deed::Note { name, first: dice.hits(500) }
    }
}

/// Every event of ours, by its account and name.
fn ours(accounts: &Accounts) -> Vec<(usize, String)> {
    let all = accounts.0.iter().enumerate().flat_map(|(number, account)| {
        let made = account.server.live().into_iter();
        let made = made.filter(|event| matches!(event.made_by, By::Request(_)));
        made.map(move |event| (number, event.name.clone()))
    });
    all.collect()
}

/// What of ours was deleted last, by whomever.
fn deleted(account: &Account) -> Option<String> {
    let history = account.server.history().iter().rev();
    let mut gone = history.filter(|change| match &change.before {
        Stood::Live(event) => {
            matches!(event.made_by, By::Request(_)) && !matches!(change.after, Stood::Live(_))
        }
        Stood::Nothing | Stood::Tombstone => false,
    });
    gone.next().map(|change| change.name.clone())
}

fn word(deed: &Deed) -> &'static str {
    match deed {
        Deed::Delete { .. } => "deleted by hand",
        Deed::Edit { .. } => "edited by hand",
        Deed::Annotate { .. } => "annotated by hand",
        Deed::Note { .. } => "noted by hand",
        Deed::StripMarker { .. } => "marker stripped",
        Deed::Copy { .. } => "copied by hand",
        Deed::DeleteCopy { .. } => "copy deleted by hand",
        Deed::Restore { .. } => "restored by hand",
        Deed::Add => "added by hand",
        Deed::EvictTombstones => "bin emptied",
        Deed::DeleteAll => "all deleted by hand",
    }
}
