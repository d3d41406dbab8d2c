//! The person on call: connects and removes accounts, answers stopped partitions, reconnects what is
//! parked, and sees to dead letters. Works on the database itself, and never in a hurry.

use std::collections::BTreeMap;
use std::sync::Arc;

use booking::{ConnectionId, ProviderId};
use calendar_sync::clock::Surroundings;
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::redrive::RedriveError;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::{ConnectionState, EFFECT_REJECTED, Resume, Store as _};

use crate::calendars::switches::{AfterDelete, EtagForm, EtagSource, Listing};
use crate::calendars::{Kind, Switches};
use crate::dice::{Chance, SeededDice};
use crate::log::TOPIC;
use crate::plan::HELD_MAX;
use crate::story::{self, Story, provider};
use crate::variant::Variant;
use crate::world::World;

/// The kinds that providers have.
const KINDS: [Kind; 3] = [Kind::Google, Kind::Caldav, Kind::Microsoft];
/// How many accounts a provider has at most.
const ACCOUNTS_MAX: usize = 3;

/// What the person knows.
pub(crate) struct Operator {
    world: Arc<World>,
    pipeline: Pipeline,
    /// Each provider's accounts.
    accounts: BTreeMap<ProviderId, Vec<usize>>,
    /// Where each provider's bookings are to be.
    pub(crate) destinations: BTreeMap<ProviderId, usize>,
}

impl Operator {
    /// Connects each provider's first account.
    pub(crate) async fn begin(world: &Arc<World>) -> Self {
        let dice = SeededDice::new(Chance::of(world.plan.seed, "operator's"));
        let surroundings = Surroundings::new(Arc::clone(&world.clock) as _, Arc::new(dice));
        let store = Arc::clone(&world.store);
        let opened = store.open(Some(story::INSTALLATION), story::INSTALLATION).await;
        opened.expect("the model answers");
        let pipeline =
            Pipeline::new(store as _, Arc::new(NoRegistry), story::rules(), surroundings);
        let mut operator = Self {
            world: Arc::clone(world),
            pipeline,
            accounts: BTreeMap::new(),
            destinations: BTreeMap::new(),
        };
        for number in 0..world.plan.providers {
            let is_later = world.plan.features.connections
                && world.chance("operator", |dice, _| dice.hits(200));
            if !is_later {
                operator.connect_another(provider(number)).await;
            }
        }
        operator
    }

    fn any_provider(&self) -> ProviderId {
        let count = self.world.plan.providers;
        provider(self.world.chance("operator", |dice, _| dice.below(count)))
    }

    /// Makes another of its accounts a provider's destination, a new one or one that it had.
    pub(crate) async fn connect(&mut self) {
        let whose = self.any_provider();
        self.connect_another(whose).await;
    }

    async fn connect_another(&mut self, whose: ProviderId) {
        let theirs = self.accounts.entry(whose).or_default();
        let has_room = theirs.len() < ACCOUNTS_MAX;
        let is_new = theirs.is_empty()
            || (has_room && self.world.chance("operator", |dice, _| dice.hits(500)));
        let account = if is_new {
            let world = &self.world;
            let (kind, switches) = world.chance("calendars", |dice, _| drawn(world, dice));
            let switches = listed(&self.world, kind, switches);
            let account = world.accounts().add(whose, kind, switches.clone());
            world.say(|| format!("account {account} of {whose}: {kind:?} {switches:?}"));
            theirs.push(account);
            account
        } else {
            let theirs = theirs.clone();
            self.world.chance("operator", |dice, _| *dice.pick(&theirs))
        };
        self.put(account, true).await;
    }

    /// Gives a connection new credentials. Where its provider has no destination, it becomes that.
    async fn put(&mut self, number: usize, make_destination: bool) {
        let mut new = {
            let mut accounts = self.world.accounts();
            let account = &mut accounts.0[number];
            account.issued = account.issued.max(account.valid_from);
            account.is_left = false;
            account.connection()
        };
        new.make_destination = make_destination;
        self.world.say(|| format!("account {number} is connected as {}", new.id));
        let put = self.world.store.put_connection(&new).await.expect("the model answers");
        self.world.say(|| format!("account {number}: {put:?}"));
        if put.destination {
            self.destinations.insert(new.provider, number);
        }
        self.world.forget_snapshots();
    }

    /// Removes a provider's destination.
    pub(crate) async fn disconnect(&mut self, withdraw: bool) {
        let whose = self.any_provider();
        let Some(number) = self.destinations.remove(&whose) else {
            return;
        };
        self.world.count(if withdraw { "removed, withdrawing" } else { "removed, leaving" });
        let id = {
            let mut accounts = self.world.accounts();
            accounts.0[number].is_left = !withdraw;
            accounts.0[number].connection
        };
        self.world.say(|| format!("account {number} is removed, withdraw: {withdraw}"));
        let removed = self.world.store.remove_connection(id, withdraw).await;
        removed.expect("the model answers");
        self.world.audit().removed(id);
        self.world.forget_snapshots();
    }

    /// A number of a connected account.
    pub(crate) fn any_account(&self) -> Option<usize> {
        let connected: Vec<usize> = self.destinations.values().copied().collect();
        if connected.is_empty() {
            return None;
        }
        self.world.chance("operator", |dice, _| Some(*dice.pick(&connected)))
    }

    /// Looks at everything once.
    pub(crate) async fn attend(&mut self, story: &mut Story) {
        self.answer_stops(story).await;
        self.reconnect_parked().await;
        self.resume_sweeps().await;
        if self.world.is_calm() {
            self.see_to_letters().await;
        }
    }

    async fn answer_stops(&self, story: &mut Story) {
        let stopped: Vec<_> = self.world.store.look(|tables| {
            let stopped = tables.cursors().filter(|cursor| cursor.stop.is_some());
            stopped.cloned().collect()
        });
        let mut is_lost = false;
        for cursor in stopped {
            let partition = cursor.fence.partition;
            let kind = cursor.stop.map(|stop| stop.kind).unwrap_or_default();
            let low = self.world.log.ends(partition).map_or(0, |(low, _)| low);
            let how = if kind == "lost_range" {
                Resume::Set { at: low }
            } else {
                Resume::Accept { at: Some(low) }
            };
            self.world.say(|| format!("partition {partition} is stopped ({kind}): {how:?}"));
            let resumed = self.world.store.resume(TOPIC, partition, how).await;
            assert!(resumed.expect("the model answers"), "the cursor is there");
            self.world.audit().resumed(partition);
            is_lost = true;
        }
        if is_lost {
            // Some facts are not in the log any more.
            self.world.forget_snapshots();
            story.publish_all_anew(&self.world);
        }
    }

    async fn reconnect_parked(&mut self) {
        let parked: Vec<(ConnectionId, ConnectionState)> = self.world.store.look(|tables| {
            let is_parked = |state, reason: Option<&str>| match state {
                ConnectionState::Parked => true,
                ConnectionState::Removing => reason.is_some(),
                ConnectionState::Active | ConnectionState::Removed => false,
            };
            let all = tables.connections();
            all.filter(|it| is_parked(it.state, it.parked_reason))
                .map(|it| (it.id, it.state))
                .collect()
        });
        for (id, state) in parked {
            let number = self.world.accounts().of(id);
            let is_destination = self.destinations.values().any(|it| *it == number);
            self.put(number, is_destination).await;
            if state == ConnectionState::Removing {
                // It was to be removed, and had no credentials to do it with.
                let removed = self.world.store.remove_connection(id, true).await;
                removed.expect("the model answers");
                self.world.audit().removed(id);
                self.destinations.retain(|_, it| *it != number);
            }
        }
    }

    /// The person has asked the host, and lets a halted sweep go on.
    async fn resume_sweeps(&self) {
        let halted: Vec<ConnectionId> = self.world.store.look(|tables| {
            tables.connections().filter(|it| it.halted.is_some()).map(|it| it.id).collect()
        });
        for id in halted {
            let resumed = self.world.store.resume_sweep(id).await.expect("the model answers");
            self.world.say(|| format!("the sweep of {id} is resumed: {resumed}"));
            if resumed {
                self.world.count("sweep resumed");
            }
        }
    }

    async fn see_to_letters(&self) {
        let letters: Vec<_> =
            self.world.store.look(|tables| tables.open_dead_letters().cloned().collect());
        for letter in letters {
            if letter.class == EFFECT_REJECTED {
                let revived = self.world.store.revive(letter.id).await;
                self.world.say(|| format!("letter {}: revived: {revived:?}", letter.id));
                continue;
            }
            let redriven = self.pipeline.redrive(letter.id).await;
            self.world.say(|| format!("letter {} ({}): {redriven:?}", letter.id, letter.class));
            match redriven {
                Ok(_) => {}
                Err(RedriveError::StillDead { .. }) if is_garbage(&letter.class) => {
                    let discarded = self.world.store.discard(letter.id).await;
                    discarded.expect("the model answers");
                }
                Err(error) => self.world.wrong(format!("a letter is not redriven: {error}")),
            }
        }
    }
}

/// What no producer of events has written.
fn is_garbage(class: &str) -> bool {
    !matches!(
        class,
        "moved_partition" | "sequence_conflict" | "uid_changed" | "uid_taken" | "refused"
    )
}

/// A new account's kind of calendar, and how its server behaves.
fn drawn(world: &World, dice: &mut Chance) -> (Kind, Switches) {
    let any = *dice.pick(&KINDS);
    let kind = if world.plan.wavers { Kind::Caldav } else { any };
    let mut switches = Switches::draw(kind, &mut |n| dice.below(n));
    if world.plan.wavers {
        // Nothing but the condition tells the one event from the other.
        let caldav = &mut switches.caldav;
        caldav.obeys_if_none_match = true;
        (caldav.etags, caldav.etags_from) = (EtagForm::Strong, EtagSource::Count);
    }
    // Nor does a database that has forgotten a generation use its name again, where that is answered
    // with the event that was deleted.
    if world.plan.features.rewinds {
        switches.microsoft.after_delete = AfterDelete::MakesNew;
    }
    switches.microsoft.takes_copies = world.variant == Variant::CopiesTakenForOurs;
    (kind, switches)
}

/// With how the calendar lists its events.
fn listed(world: &World, kind: Kind, switches: Switches) -> Switches {
    let is_swept = world.plan.sweeps.is_some();
    let listing = is_swept
        .then(|| world.chance("listings", |dice, _| Listing::draw(kind, &mut |n| dice.below(n))));
    let mut switches = Switches { listing: listing.unwrap_or(switches.listing), ..switches };
    // A `transactionId` that is forgotten while a request with it is on its way makes a second event:
    // nothing but the sweep (rule R20) finds it.
    if !is_swept || !switches.listing.is_supported {
        let remembers = &mut switches.microsoft.remembers_for;
        *remembers = remembers.filter(|time| *time > HELD_MAX);
    }
    switches
}
