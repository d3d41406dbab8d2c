//! When all is quiet and nothing goes wrong any more, the host does some more by hand. What becomes of it
//! follows from the policy alone (rule R20): overruled, or left and written down for people.

use std::collections::BTreeMap;
use std::time::Duration;

use calendar_sync::emit::drift::Policy;
use calendar_sync::store::{ConnectionState, DriftKind, Store as _};

use crate::accounts::Account;
use crate::calendars::{By, Change, Deed, Event, Kind, Stood};
use crate::dice::Chance;
use crate::host;
use crate::world::World;

/// What the host has done.
pub(crate) struct Afterwards {
    /// How much had happened in each account before.
    before: Vec<usize>,
    /// Each event that something was done to, by its account and id, and what that is.
    done: BTreeMap<(usize, String), DriftKind>,
}

impl Afterwards {
    /// Does it, where calendars are swept and the host has hands.
    pub(crate) fn begin(world: &World) -> Option<Self> {
        world.plan.sweeps.as_ref().filter(|_| world.plan.features.hand_edits)?;
        world.say(|| "afterwards, by hand".to_owned());
        let (at, active) = (world.elapsed(), active(world));
        let mut accounts = world.accounts();
        let before = accounts.0.iter().map(|account| account.server.history().len()).collect();
        let mut afterwards = Self { before, done: BTreeMap::new() };
        for (number, account) in accounts.0.iter_mut().enumerate() {
            let is_swept = account.server.is_listed() && active.contains(&account.connection);
            let deeds = if is_swept {
                world.chance("afterwards", |dice, _| deeds(account, dice))
            } else {
                Vec::new()
            };
            for (id, deed, kind) in deeds {
                let is_done = account.server.host(at, &deed);
                assert!(is_done, "{deed:?} of {id}");
                world.count("by hand afterwards");
                world.say(|| format!("by hand in account {number}: {deed:?}"));
                let copy = account.server.history().last().map(|change| change.id.clone());
                let id = if kind == DriftKind::Copy { copy.unwrap_or(id) } else { id };
                afterwards.done.insert((number, id), kind);
            }
            if is_swept {
                world.chance("afterwards, notes", |dice, _| note(account, dice, at));
            }
        }
        Some(afterwards)
    }

    /// What of it is not as the policy has it; what is to be shown, the oracle has judged.
    pub(crate) async fn judge(&self, world: &World) {
        let Some(sweeps) = &world.plan.sweeps else {
            return;
        };
        let overrules = sweeps.policy == Policy::Repair;
        let connections: Vec<_> =
            world.accounts().0.iter().map(|account| account.connection).collect();
        let active = active(world);
        for (number, connection) in connections.into_iter().enumerate() {
            if !active.contains(&connection) {
                continue;
            }
            let told = world.store.drift(connection).await.expect("the model answers");
            let told: BTreeMap<String, DriftKind> =
                told.into_iter().map(|drift| (drift.external_id, drift.kind)).collect();
            let accounts = world.accounts();
            let account = &accounts.0[number];
            for ((_, id), kind) in self.done.iter().filter(|((of, _), _)| *of == number) {
                let is_left = !overrules || !kind.is_of_a_row();
                let wanted = is_left.then_some(kind);
                let may_be_lost = *kind == DriftKind::Deleted && forgets(account);
                if told.get(id) != wanted && !may_be_lost {
                    let said = told.get(id);
                    world.wrong(format!("account {number}: {kind:?} of {id} is told as {said:?}"));
                }
            }
            let history = &account.server.history()[self.before[number]..];
            if let Some(change) = history.iter().find(|change| undoes(account, change))
                && !overrules
            {
                world.wrong(format!("account {number}: what the host did was undone: {change:?}"));
            }
        }
    }
}

fn active(world: &World) -> Vec<booking::ConnectionId> {
    world.store.look(|tables| {
        let all = tables.connections().filter(|it| it.state == ConnectionState::Active);
        all.map(|it| it.id).collect()
    })
}

/// What is done to the events that we made there: to all of them at once, or to each something, or nothing.
fn deeds(account: &Account, dice: &mut Chance) -> Vec<(String, Deed, DriftKind)> {
    let live = account.server.live().into_iter();
    let ours: Vec<&Event> = live.filter(|event| is_ours(event)).collect();
    let deletes_all = dice.hits(150);
    let strips = account.server.kind() != Kind::Microsoft;
    let deed = |event: &&Event| {
        let (id, name) = (event.id().to_owned(), event.name.clone());
        let title = dice.hits(500);
        let (deed, kind) = match dice.below(8) {
            _ if deletes_all => (Deed::Delete { name }, DriftKind::Deleted),
            0 | 1 => (Deed::Delete { name }, DriftKind::Deleted),
            2 | 3 => (Deed::Edit { name, title, time: !title }, DriftKind::Edited),
            4 if strips => (Deed::StripMarker { name }, DriftKind::Unmarked),
            5 => (Deed::Copy { name }, DriftKind::Copy),
            _ => return None,
        };
        Some((id, deed, kind))
    };
    ours.iter().filter_map(deed).collect()
}

/// Notes something on some of them besides. It is hers, whatever the policy says.
fn note(account: &mut Account, dice: &mut Chance, at: Duration) {
    let live = account.server.live().into_iter().filter(|event| is_ours(event));
    let names: Vec<String> = live.map(|event| event.name.clone()).collect();
    for name in names {
        if dice.hits(300) {
            account.server.host(at, &host::noting(dice, name));
        }
    }
}

/// An event that we made, with our marker.
fn is_ours(event: &Event) -> bool {
    matches!(event.made_by, By::Request(_)) && event.copy_of.is_none() && event.marker.is_some()
}

/// Whether it may have forgotten what was deleted before anybody looked: that was deleted by nobody then,
/// and is brought back.
fn forgets(account: &Account) -> bool {
    account.server.forgets_deleted()
}

/// Whether a change undoes what the host did.
fn undoes(account: &Account, change: &Change) -> bool {
    let brings_back = change.before == Stood::Nothing && forgets(account);
    matches!(change.by, By::Request(_)) && !brings_back
}
