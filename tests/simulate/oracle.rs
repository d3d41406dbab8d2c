//! The judge: compares the calendars with what the booking application knows. Shares no code with
//! the service but the names of providers and bookings; knows what the calendars tell of themselves,
//! and the story. Where a calendar is right, the row that operators look at has to say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use booking::{CalendarKind, IcalUid, ProviderId};
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
            let live = account.server.live().into_iter();
            let found: Vec<&Event> = live
                .filter(|event| is_ours(event) && names.contains(event.name.as_str()))
                .filter(|event| !hand.has_restored(account, event))
                .collect();
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
        let strays = strays(account, &uids, story);
        for wrong in strays.into_iter().chain(repeated_effects(account)) {
            world.wrong(format!("account {number}: {wrong}"));
        }
    }
}

/// How far what a host did by hand excuses what stands there.
#[derive(Debug, Clone, Copy)]
struct Hand {
    /// The calendar is swept: what is ours by its marker is found, wherever it comes from.
    is_swept: bool,
    /// And the host is overruled.
    is_overruled: bool,
    /// And what she has changed is told.
    is_edited_back: bool,
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
        // Graph's texts come back rewritten: nobody can tell.
        let is_edited_back = is_overruled && account.kind != CalendarKind::Microsoft;
        Self { is_swept, is_overruled, is_edited_back }
    }

    /// Whether an event is the host's own, as she has taken it back out of the bin.
    fn has_restored(self, account: &Account, event: &Event) -> bool {
        let is_found = self.is_swept && event.marker.is_some();
        !is_found && is_restored(account, &event.name)
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
    let matters = |change: &&Change| is_live(&change.before) || is_live(&change.after);
    let mut history = account.server.history().iter().rev().filter(matters);
    history.find(|change| change.name == name)
}

/// What became last of the event of an id.
fn last_of<'a>(account: &'a Account, id: &str) -> Option<&'a Change> {
    account.server.history().iter().rev().find(|change| change.id == id)
}

fn is_live(stood: &Stood) -> bool {
    matches!(stood, Stood::Live(_))
}

/// Whether the host took an event back out of the bin, and nobody else has touched it since: it is her
/// own then, as a copy is.
fn is_restored(account: &Account, name: &str) -> bool {
    let its = account.server.history().iter().rev().filter(|change| change.name == name);
    let mut by_hand = its.take_while(|change| change.by == By::Host);
    by_hand.any(|change| !is_live(&change.before) && is_live(&change.after))
}

/// Whether the host has deleted one of these since, or made it her own.
fn was_deleted_by_hand(account: &Account, names: &BTreeSet<&str>, since: Duration) -> bool {
    let mut last = names.iter().filter_map(|name| last(account, name));
    last.any(|last| {
        let is_deleted = !is_live(&last.after) || is_restored(account, &last.name);
        last.by == By::Host && last.at >= since && is_deleted
    })
}

/// Whether the host has changed what is compared since, or has taken our marker out of it last: nothing
/// tells then what of it is whose.
fn was_edited_by_hand(account: &Account, name: &str, since: Duration) -> bool {
    let is_marked = |stood: &Stood| match stood {
        Stood::Live(event) => event.marker.is_some(),
        Stood::Nothing | Stood::Tombstone => false,
    };
    let last = last(account, name);
    if last.is_some_and(|last| last.by == By::Host && last.at >= since && !is_marked(&last.after)) {
        return true;
    }
    account.server.history().iter().any(|change| match (&change.before, &change.after) {
        (Stood::Live(before), Stood::Live(after)) => {
            change.name == name
                && change.by == By::Host
                && change.at >= since
                && (&before.summary, &before.start, &before.end)
                    != (&after.summary, &after.start, &after.end)
        }
        _ => false,
    })
}

/// What is wrong with a booking in one account. What a host has done by hand stands until the booking
/// is told to be something else than it ever was before, or she is overruled.
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
            if hand.is_edited_back || !was_edited_by_hand(account, &event.name, told_at) =>
        {
            wrongs.extend(differences(shown, event));
        }
        (Some(shown), None)
            if hand.is_overruled || !was_deleted_by_hand(account, names, told_at) =>
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
    // What is made again after it was deleted has another life.
    let mut lives: BTreeMap<&str, u32> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, i64, &str, u32), u32> = BTreeMap::new();
    let history = account.server.history();
    for change in history {
        let (Stood::Live(before), Stood::Live(after)) = (&change.before, &change.after) else {
            *lives.entry(&change.id).or_default() += 1;
            continue;
        };
        let (Some(was), Some(is)) = (&before.marker, &after.marker) else {
            continue;
        };
        if matches!(change.by, By::Request(_)) && was.revision != is.revision {
            let life = lives.get(change.id.as_str()).copied().unwrap_or_default();
            *counts.entry((&change.id, is.revision, &is.digest, life)).or_default() += 1;
        }
    }
    let by_hand = |id: &str| history.iter().any(|change| change.id == id && change.by == By::Host);
    counts
        .into_iter()
        .filter(|((id, ..), count)| *count > 1 && !by_hand(id))
        .map(|((id, revision, ..), count)| {
            format!("revision {revision} of {id} took effect {count} times")
        })
        .collect()
}
