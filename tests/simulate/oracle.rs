//! The judge: compares the calendars with what the booking application knows. Shares no code with
//! the service but the names of providers and bookings; knows what the calendars tell of themselves,
//! and the story.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::{IcalUid, ProviderId};
use chrono::SecondsFormat;

use crate::accounts::Account;
use crate::calendars::{By, Change, Event, Stood};
use crate::store::EventLook;
use crate::story::{Booked, Shown, Story};
use crate::world::World;

/// Compares everything.
pub(crate) fn judge(world: &World, story: &Story, destinations: &BTreeMap<ProviderId, usize>) {
    let accounts = world.accounts();
    for (number, account) in accounts.0.iter().enumerate() {
        let uids = uids_by_name(account);
        for booked in &story.bookings {
            let shown = booked.shown();
            let here = shown.filter(|shown| destinations.get(&shown.provider) == Some(&number));
            let is_its = |name: &str| uids.get(name).is_some_and(|of| of == booked.uid.as_str());
            let live = account.server.live().into_iter();
            // What the host took back out of the bin is her own, as a copy is.
            let found: Vec<&Event> = live
                .filter(|event| is_ours(event) && is_its(&event.name))
                .filter(|event| !was_restored(account, &event.name))
                .collect();
            let mut wrongs = compare(account, booked, here.as_ref(), &found, is_its);
            let is_handmade =
                by_hand_at(account, is_its).is_some() || has_restored(account, is_its);
            if wrongs.is_empty() && !is_handmade {
                wrongs.extend(mapped_wrongly(world, account, &booked.uid, &found));
            }
            for wrong in wrongs {
                world.wrong(format!("account {number}, {}: {wrong}", booked.uid));
            }
        }
        let strays = strays(account, &uids, story);
        for wrong in strays.into_iter().chain(repeated_effects(account)) {
            world.wrong(format!("account {number}: {wrong}"));
        }
    }
}

/// Made by the service, not by a host.
fn is_ours(event: &Event) -> bool {
    matches!(event.made_by, By::Request(_)) && event.copy_of.is_none()
}

/// Which booking each name stands for, by any marker that ever stood there.
fn uids_by_name(account: &Account) -> BTreeMap<String, String> {
    let mut uids = BTreeMap::new();
    for change in account.server.history() {
        for stood in [&change.before, &change.after] {
            if let Stood::Live(event) = stood
                && let Some(marker) = &event.marker
                && is_ours(event)
            {
                uids.insert(change.name.clone(), marker.uid.clone());
            }
        }
    }
    uids
}

/// When the host, or the server of its own accord, had the last word about such events. That what was
/// deleted is not remembered any more is nothing that becomes of it.
fn by_hand_at(account: &Account, is_its: impl Fn(&str) -> bool) -> Option<Duration> {
    let is_live = |stood: &Stood| matches!(stood, Stood::Live(_));
    let matters = |change: &&Change| is_live(&change.before) || is_live(&change.after);
    let mut history = account.server.history().iter().rev().filter(matters);
    let last = history.find(|change| is_its(&change.name))?;
    (!matches!(last.by, By::Request(_))).then_some(last.at)
}

/// What is wrong with a booking in one account. What a host has done by hand stands until the booking
/// is told to be something else than it ever was before.
fn compare(
    account: &Account,
    booked: &Booked,
    shown: Option<&Shown>,
    found: &[&Event],
    is_its: impl Fn(&str) -> bool,
) -> Vec<String> {
    let stands = |at: Option<Duration>| at.is_some_and(|at| at >= booked.told_at());
    let mut wrongs = Vec::new();
    if found.len() > 1 && !account.is_left {
        let names: Vec<&str> = found.iter().map(|event| event.name.as_str()).collect();
        wrongs.push(format!("{} live events: {names:?}", found.len()));
    }
    match (shown, found.first()) {
        (Some(shown), Some(event)) => {
            let by_hand = by_hand_at(account, |name| name == event.name);
            wrongs.extend(differences(shown, event).filter(|_| !stands(by_hand)));
        }
        (Some(shown), None)
            if !stands(by_hand_at(account, &is_its)) && !has_restored(account, &is_its) =>
        {
            wrongs.push(format!("`{}` is lost", shown.summary));
        }
        (None, Some(event)) if !account.is_left => {
            wrongs.push(format!("`{}` is left behind", event.summary));
        }
        (Some(_) | None, Some(_) | None) => {}
    }
    wrongs
}

/// Whether the host took an event back out of the bin.
fn was_restored(account: &Account, name: &str) -> bool {
    let is_live = |stood: &Stood| matches!(stood, Stood::Live(_));
    account.server.history().iter().any(|change| {
        change.name == name
            && change.by == By::Host
            && !is_live(&change.before)
            && is_live(&change.after)
    })
}

/// Whether she did so with any of these.
fn has_restored(account: &Account, is_its: impl Fn(&str) -> bool) -> bool {
    let mut changes = account.server.history().iter();
    changes.any(|change| is_its(&change.name) && was_restored(account, &change.name))
}

/// What the service made and nothing explains; what the host made and the service has touched.
fn strays(account: &Account, uids: &BTreeMap<String, String>, story: &Story) -> Vec<String> {
    let is_known = |uid: &String| story.bookings.iter().any(|booked| booked.uid.as_str() == uid);
    let live = account.server.live().into_iter().filter(|event| is_ours(event));
    let unknown = live.filter(|event| !uids.get(&event.name).is_some_and(is_known));
    let unknown = unknown.map(|event| format!("{} is nobody's", event.name));
    let touched = account.server.history().iter().filter(|change| match &change.before {
        Stood::Live(event) => !is_ours(event) && matches!(change.by, By::Request(_)),
        Stood::Nothing | Stood::Tombstone => false,
    });
    let touched =
        touched.map(|change| format!("{} is the host's own, and was changed", change.name));
    unknown.chain(touched).collect()
}

/// What the row says that operators look at, where it does not say what stands in the calendar.
fn mapped_wrongly(
    world: &World,
    account: &Account,
    uid: &IcalUid,
    found: &[&Event],
) -> Option<String> {
    let said = world.store.look(|tables| {
        let is_its = |row: &EventLook<'_>| {
            row.connection == Some(account.connection) && row.uid == Some(uid)
        };
        let row = tables.events().find(is_its);
        row.map(|row| (row.external_id.to_owned(), row.sync_status, row.is_busy))
    });
    let stands = found.first().map(|event| event.name.as_str());
    let is_right = match (&said, stands) {
        (Some((name, status, is_busy)), Some(stands)) => {
            // What was refused once says so until the next call.
            name == stands && *is_busy && *status != "CANCELLED"
        }
        (Some((_, _, is_busy)), None) => !is_busy,
        (None, None) => true,
        (None, Some(_)) => false,
    };
    // What was left with an account is nobody's.
    let is_wrong = !is_right && !account.is_left;
    is_wrong.then(|| format!("the row says {said:?}, and the calendar has {stands:?}"))
}

fn differences(shown: &Shown, event: &Event) -> Option<String> {
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let wanted = (shown.summary.as_str(), time(shown.start), time(shown.end));
    let stands = (event.summary.as_str(), event.start.clone(), event.end.clone());
    (wanted != stands).then(|| format!("{stands:?} stands there, and it should be {wanted:?}"))
}

/// At most one effect for each revision of an event.
fn repeated_effects(account: &Account) -> Vec<String> {
    if !account.keeps_conditions {
        return Vec::new();
    }
    // A database that fell back gives a revision's number to other content once more.
    // What is made again after it was deleted has another life.
    let mut lives: BTreeMap<&str, u32> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, i64, &str, u32), u32> = BTreeMap::new();
    let history = account.server.history();
    for change in history {
        let (Stood::Live(before), Stood::Live(after)) = (&change.before, &change.after) else {
            *lives.entry(&change.name).or_default() += 1;
            continue;
        };
        let (Some(was), Some(is)) = (&before.marker, &after.marker) else {
            continue;
        };
        if matches!(change.by, By::Request(_)) && was.revision != is.revision {
            let life = lives.get(change.name.as_str()).copied().unwrap_or_default();
            *counts.entry((&change.name, is.revision, &is.digest, life)).or_default() += 1;
        }
    }
    let by_hand =
        |name: &str| history.iter().any(|change| change.name == name && change.by == By::Host);
    counts
        .into_iter()
        .filter(|((name, ..), count)| *count > 1 && !by_hand(name))
        .map(|((name, revision, ..), count)| {
            format!("revision {revision} of {name} took effect {count} times")
        })
        .collect()
}
