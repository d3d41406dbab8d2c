//! The judge: compares the calendars with what the booking application knows. Shares no code with
//! the service but the names of providers and bookings; knows what the calendars tell of themselves,
//! and the story. Where a calendar is right, the row that operators look at has to say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use booking::{IcalUid, ProviderId};
use calendar_sync::emit::drift::Policy;
use calendar_sync::store::ConnectionState;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::accounts::Account;
use crate::calendars::{By, Change, Event, Stood};
use crate::store::EventLook;
use crate::story::{Shown, Story};
use crate::world::World;

/// Compares everything.
pub(crate) fn judge(world: &World, story: &Story, destinations: &BTreeMap<ProviderId, usize>) {
    let accounts = world.accounts();
    for (number, account) in accounts.0.iter().enumerate() {
        let uids = uids_by_name(account);
        let hand = Hand::of(world, account);
        for booked in &story.bookings {
            let shown = booked.shown();
            let here = shown.filter(|shown| destinations.get(&shown.provider) == Some(&number));
            let its = uids.iter().filter(|(_, uid)| uid.as_str() == booked.uid.as_str());
            let names: BTreeSet<&str> = its.map(|(name, _)| name.as_str()).collect();
            let found = found(account, hand, &names);
            let told_at = booked.told_at();
            let mut wrongs = compare(account, hand, told_at, here.as_ref(), &found, &names);
            let of_found = found.iter().filter_map(|event| last_of(account, event.id()));
            let of_names = names.iter().filter_map(|name| last(account, name));
            let mut last = of_found.chain(of_names.filter(|_| found.is_empty()));
            if wrongs.is_empty() && last.all(|last| matches!(last.by, By::Request(_))) {
                wrongs.extend(mapped_wrongly(world, account, &booked.uid, &found));
            }
            for wrong in wrongs {
                world.wrong(format!("account {number}, {}: {wrong}", booked.uid));
            }
        }
        let strays = strays(account, &uids, story).into_iter();
        for wrong in strays.chain(repeated_effects(account)).chain(lost_notes(account)) {
            world.wrong(format!("account {number}: {wrong}"));
        }
        for _ in account.server.history().iter().filter(|change| is_around_a_note(change)) {
            world.count("written around a note");
        }
    }
}

/// What stands of a booking.
fn found<'a>(account: &'a Account, hand: Hand, names: &BTreeSet<&str>) -> Vec<&'a Event> {
    let live = account.server.live().into_iter();
    live.filter(|event| is_ours(event) && names.contains(event.name.as_str()))
        .filter(|event| !hand.has_restored(account, event))
        .collect()
}

/// How far what a host did by hand excuses what stands there.
#[derive(Debug, Clone, Copy, Default)]
struct Hand {
    /// The calendar is swept: what is ours by its marker is found, wherever it comes from.
    is_swept: bool,
    /// And the host is overruled.
    is_overruled: bool,
}

impl Hand {
    fn of(world: &World, account: &Account) -> Self {
        let is_active = world.store.look(|tables| {
            let mut all = tables.connections();
            all.any(|it| it.id == account.connection && it.state == ConnectionState::Active)
        });
        let sweeps = world.plan.sweeps.as_ref();
        let is_swept = sweeps.is_some() && is_active && account.server.is_listed();
        let is_overruled = is_swept && sweeps.is_some_and(|it| it.policy == Policy::Repair);
        Self { is_swept, is_overruled }
    }

    /// Whether an event is the host's own, as she has taken it back out of the bin.
    fn has_restored(self, account: &Account, event: &Event) -> bool {
        let is_found = self.is_swept && event.marker.is_some();
        !is_found && is_restored(account, event)
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

/// What became of the live event of a name last. That a deleted one is not remembered any more is
/// nothing that becomes of it.
fn last<'a>(account: &'a Account, name: &str) -> Option<&'a Change> {
    let matters = |change: &&Change| change.before.is_live() || change.after.is_live();
    let mut history = account.server.history().iter().rev().filter(matters);
    history.find(|change| change.name == name)
}

/// What became last of the event of an id, but for what the host has noted on it.
fn last_of<'a>(account: &'a Account, id: &str) -> Option<&'a Change> {
    let mut history = account.server.history().iter().rev();
    history.find(|change| change.id == id && !change.is_note())
}

/// Whether the host took an event back out of the bin, after a worker had been told that it is gone, and
/// nobody else has touched it since: it is her own then, as a copy is, whatever she does with it. Of one
/// that nobody has missed, nobody knows that it was ever away.
fn is_restored(account: &Account, event: &Event) -> bool {
    let its = account.server.history().iter().rev().filter(|change| change.id == event.id());
    let its: Vec<&Change> = its.collect();
    let by_hand = its.iter().take_while(|change| change.by == By::Host).count();
    let Some(first) = its[..by_hand].iter().rposition(|change| change.makes()) else {
        return false;
    };
    let ended =
        its[first..].iter().find(|change| change.before.is_live() && !change.after.is_live());
    let told_at = account.told_gone_at.get(&event.name);
    ended.zip(told_at).is_some_and(|(ended, told_at)| *told_at >= ended.at)
}

/// Whether the host ended the last of these that a call has made, and it had been as it is wanted: what
/// she deletes before, the next call makes anew. What stood under earlier names is nothing but removed,
/// should it be there again (rules R14 and R20).
fn was_deleted_by_hand(
    account: &Account,
    names: &BTreeSet<&str>,
    shown: &Shown,
    told_at: Duration,
) -> bool {
    let history = account.server.history().iter();
    let its: Vec<&Change> = history.filter(|change| names.contains(change.name.as_str())).collect();
    // By the call, as a late one makes what is no more the last.
    let last = its.iter().filter(|change| change.makes()).max_by_key(|change| match change.by {
        By::Request(request) => request,
        By::Host | By::Server => 0,
    });
    let Some(last) = last else {
        return false;
    };
    let mut its = its.iter().rev().filter(|change| change.id == last.id);
    let ended = its.find(|change| change.before.is_live() && !change.after.is_live());
    ended.is_some_and(|ended| ended.by == By::Host)
        && its.any(|change| change.at >= told_at && is_as_wanted(change, shown))
}

/// Whether a call of ours has left an event as it is wanted.
fn is_as_wanted(change: &Change, shown: &Shown) -> bool {
    match &change.after {
        Stood::Live(event) => {
            matches!(change.by, By::Request(_)) && differences(shown, event).is_none()
        }
        Stood::Nothing | Stood::Tombstone => false,
    }
}

/// Whether nobody but the host has touched it since a call of ours left it as it is wanted; or, once
/// one did, she has taken our marker out of it last: nothing tells then what of it is whose. What she
/// did before, to what the event was until then, the call has to overrule.
fn was_edited_by_hand(account: &Account, id: &str, shown: &Shown, told_at: Duration) -> bool {
    let history = account.server.history().iter().rev().filter(|change| change.id == id);
    let its: Vec<&Change> = history.filter(|change| change.at >= told_at).collect();
    let Some(written) = its.iter().position(|change| is_as_wanted(change, shown)) else {
        return false;
    };
    let is_by_host = |change: &&Change| change.by == By::Host;
    let last = its.first().filter(|last| is_by_host(last));
    last.is_some_and(|last| last.after.is_live() && last.after.revision().is_none())
        || its[..written].iter().all(is_by_host)
}

/// What is wrong with a booking in one account. What a host has done by hand stands from when the event
/// was as the booking is, until the booking is something else;
/// or she is overruled.
fn compare(
    account: &Account,
    hand: Hand,
    told_at: Duration,
    shown: Option<&Shown>,
    found: &[&Event],
    names: &BTreeSet<&str>,
) -> Vec<String> {
    let mut wrongs = Vec::new();
    if found.len() > 1 && !account.is_left {
        let names: Vec<&str> = found.iter().map(|event| event.name.as_str()).collect();
        wrongs.push(format!("{} live events: {names:?}", found.len()));
    }
    match (shown, found.first()) {
        (Some(shown), Some(event))
            if hand.is_overruled || !was_edited_by_hand(account, event.id(), shown, told_at) =>
        {
            wrongs.extend(differences(shown, event));
        }
        (Some(shown), None)
            if hand.is_overruled || !was_deleted_by_hand(account, names, shown, told_at) =>
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
        row.map(|row| {
            let times = (rfc3339(row.start), rfc3339(row.end));
            (row.external_id.to_owned(), row.sync_status, row.is_busy, times)
        })
    });
    let stands = found.first();
    let is_right = match (&said, stands) {
        (Some((name, status, is_busy, (start, end))), Some(event)) => {
            // What was refused once says so until the next call.
            name == event.id()
                && *is_busy
                && *status != "CANCELLED"
                && (*start == event.start && *end == event.end)
        }
        (Some((_, _, is_busy, _)), None) => !is_busy,
        (None, None) => true,
        (None, Some(_)) => false,
    };
    // What was left with an account is nobody's.
    let is_wrong = !is_right && !account.is_left;
    is_wrong.then(|| format!("the row says {said:?}, and there stands {stands:?}"))
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn differences(shown: &Shown, event: &Event) -> Option<String> {
    let wanted = (shown.summary.as_str(), rfc3339(shown.start), rfc3339(shown.end));
    let stands = (event.summary.as_str(), event.start.clone(), event.end.clone());
    (wanted != stands).then(|| format!("{stands:?} stands there, and it should be {wanted:?}"))
}

/// At most one effect for each revision of an event.
fn repeated_effects(account: &Account) -> Vec<String> {
    if !account.keeps_conditions {
        return Vec::new();
    }
    // A database that fell back gives a revision's number to other content once more.
    // What is made again after it was deleted has another life, and so has what a host has changed.
    let mut lives: BTreeMap<&str, u32> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, i64, &str, u32), u32> = BTreeMap::new();
    let history = account.server.history();
    for change in history {
        let live = match (&change.before, &change.after) {
            (Stood::Live(before), Stood::Live(after)) if change.by != By::Host => {
                Some((before, after))
            }
            _ => None,
        };
        let Some((before, after)) = live else {
            *lives.entry(&change.id).or_default() += 1;
            continue;
        };
        let (Some(was), Some(is)) = (&before.marker, &after.marker) else {
            continue;
        };
        if was.revision != is.revision {
            let life = lives.get(change.id.as_str()).copied().unwrap_or_default();
            *counts.entry((&change.id, is.revision, &is.digest, life)).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|((id, revision, ..), count)| {
            format!("revision {revision} of {id} took effect {count} times")
        })
        .collect()
}

/// What the host has noted on an event, and a call of ours has taken away, or written once more. Without
/// our marker nothing tells which words are whose; and where a condition does not hold, a late call
/// writes over what came before it.
fn lost_notes(account: &Account) -> Vec<String> {
    if !account.keeps_conditions {
        return Vec::new();
    }
    let changed = |change: &Change| match (&change.before, &change.after) {
        (Stood::Live(before), Stood::Live(after)) if change.by != By::Host => {
            let (had, has) = (before.noted(), after.noted());
            (before.marker.is_some() && had != has).then(|| {
                let id = &change.id;
                format!("{:?} made {has:?} of what the host had noted on {id}: {had:?}", change.by)
            })
        }
        (_, _) => None,
    };
    account.server.history().iter().filter_map(changed).collect()
}

/// Whether a call of ours has changed an event on which the host had noted something, and left that.
fn is_around_a_note(change: &Change) -> bool {
    match (&change.before, &change.after) {
        (Stood::Live(before), Stood::Live(after)) if matches!(change.by, By::Request(_)) => {
            !before.noted().is_empty() && before.noted() == after.noted()
        }
        (_, _) => false,
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
