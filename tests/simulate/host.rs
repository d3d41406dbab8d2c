//! The one whose calendar it is, and what is done in it by hand.

use booking::CalendarKind;

use crate::calendars::{By, Deed};
use crate::world::World;

/// Deletes the copies: a CalDAV server may let no other event have the UID of one of them, and the dead
/// letter says so to a person.
pub fn tidy_up(world: &World) {
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
pub fn interfere(world: &World) {
    let at = world.elapsed();
    let mut accounts = world.accounts();
    let ours: Vec<(usize, String)> = accounts
        .0
        .iter()
        .enumerate()
        .flat_map(|(number, account)| {
            let made = account.server.live().into_iter();
            let made = made.filter(|event| matches!(event.made_by, By::Request(_)));
            made.map(move |event| (number, event.name.clone())).collect::<Vec<_>>()
        })
        .collect();
    if ours.is_empty() {
        return;
    }
    let (number, deed) = world.chance("host", |dice, _| {
        let (number, name) = dice.pick(&ours).clone();
        let deed = match dice.below(9) {
            0 | 1 => Deed::Delete { name },
            2 => Deed::Edit { name, title: true, time: false },
            3 => Deed::Edit { name, title: false, time: true },
            4 => Deed::Annotate { name },
            // No client shows or drops what Graph keeps beside an event.
            5 if accounts.0[number].kind != CalendarKind::Microsoft => Deed::StripMarker { name },
            6 => Deed::Copy { name },
            7 => Deed::Add,
            _ => Deed::EvictTombstones,
        };
        (number, deed)
    });
    let done = accounts.0[number].server.host(at, &deed);
    drop(accounts);
    world.say(|| format!("by hand in account {number}: {deed:?}: {done}"));
}
